//! One rise and one fall.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::Schedule;
use crate::ConfigError;
use crate::error::check_range;

/// The curve between two rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Annealing {
    /// Half a cosine.
    #[default]
    #[serde(rename = "cos")]
    Cosine,
    /// A straight line.
    Linear,
}

impl Annealing {
    fn between(self, from: f64, to: f64, part: f64) -> f64 {
        match self {
            Self::Cosine => to + (from - to) / 2.0 * (1.0 + (PI * part).cos()),
            Self::Linear => from + (to - from) * part,
        }
    }
}

/// The settings of a rate that rises to the base rate and falls far below it, once, update by update
/// (Smith and Topin 2019, arXiv:1708.07120), with torch's formula.
///
/// Torch's names of the settings can be read too; its `max_lr` is the base rate, its `total_steps` the length of the training.
///
/// With `n` updates in all, the rate rises from `base / div_factor` until update `start_fraction · n − 1` and falls to
/// `base / div_factor / final_div_factor` until the last.
///
/// # Differences from torch
///
/// The momentum is not cycled, and later updates keep the last rate instead of failing.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{OneCycleConfig, ScheduleConfig};
///
/// let schedule = ScheduleConfig::from(OneCycleConfig::new()).build(1.0, 10)?;
/// let rate = |update| schedule.rate(0, update, 10);
/// assert!((rate(0) - 0.04).abs() < 1e-12 && (rate(29) - 1.0).abs() < 1e-12 && (rate(99) - 4e-6).abs() < 1e-12);
/// # Ok::<(), phenocoder_model::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "OneCycleLR")]
pub struct OneCycleConfig {
    /// The part of all updates in which the rate rises (default 0.3).
    #[doc(alias = "pct_start")]
    #[serde(alias = "pct_start")]
    pub start_fraction: f64,
    /// The base rate over the first (default 25).
    pub div_factor: f64,
    /// The first rate over the last (default 1e4).
    pub final_div_factor: f64,
    /// The curve (default a cosine).
    #[doc(alias = "anneal_strategy")]
    #[serde(alias = "anneal_strategy")]
    pub annealing: Annealing,
    /// Whether the fall is as long as the rise and ends at the first rate, and a third phase leads from there to the last
    /// (default false).
    pub three_phase: bool,
}

impl Default for OneCycleConfig {
    fn default() -> Self {
        Self {
            start_fraction: 0.3,
            div_factor: 25.0,
            final_div_factor: 1e4,
            annealing: Annealing::default(),
            three_phase: false,
        }
    }
}

impl OneCycleConfig {
    /// Torch's settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the part of all updates in which the rate rises.
    #[must_use]
    pub fn with_start_fraction(mut self, start_fraction: f64) -> Self {
        self.start_fraction = start_fraction;
        self
    }

    /// Sets the base rate over the first.
    #[must_use]
    pub fn with_div_factor(mut self, div_factor: f64) -> Self {
        self.div_factor = div_factor;
        self
    }

    /// Sets the first rate over the last.
    #[must_use]
    pub fn with_final_div_factor(mut self, final_div_factor: f64) -> Self {
        self.final_div_factor = final_div_factor;
        self
    }

    /// Sets the curve.
    #[must_use]
    pub fn with_annealing(mut self, annealing: Annealing) -> Self {
        self.annealing = annealing;
        self
    }

    /// Sets whether there is a third phase.
    #[must_use]
    pub fn with_three_phase(mut self, three_phase: bool) -> Self {
        self.three_phase = three_phase;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (setting, fraction) = ("one_cycle.start_fraction", self.start_fraction);
        let (limit, expected) = match self.three_phase {
            true => (0.5, "from 0 to 0.5 with three phases"),
            false => (1.0, "from 0 to 1"),
        };
        check_range(
            setting,
            fraction,
            (0.0..=limit).contains(&fraction),
            expected,
        )?;
        for (setting, factor) in [
            ("one_cycle.div_factor", self.div_factor),
            ("one_cycle.final_div_factor", self.final_div_factor),
        ] {
            let valid = factor > 0.0 && factor.is_finite();
            check_range(setting, factor, valid, "a finite number above 0")?;
        }
        Ok(())
    }

    pub(super) fn build(self, base: f64, epochs: usize) -> Result<Box<dyn Schedule>, ConfigError> {
        let first = base / self.div_factor;
        for (setting, factor, rate) in [
            ("one_cycle.div_factor", self.div_factor, first),
            (
                "one_cycle.final_div_factor",
                self.final_div_factor,
                first / self.final_div_factor,
            ),
        ] {
            check_range(
                setting,
                factor,
                rate.is_finite(),
                "large enough for a finite rate",
            )?;
        }
        Ok(Box::new(OneCycle {
            config: self,
            base,
            epochs,
        }))
    }
}

struct OneCycle {
    config: OneCycleConfig,
    base: f64,
    epochs: usize,
}

impl Schedule for OneCycle {
    fn rate(&self, _: usize, update: u64, updates_per_epoch: u64) -> f64 {
        let config = &self.config;
        let total = self.epochs as f64 * updates_per_epoch as f64;
        let first = self.base / config.div_factor;
        let last = first / config.final_div_factor;
        let peak = config.start_fraction * total;
        // The last update of each phase and the rate there; phases may be empty.
        let phases = match config.three_phase {
            true => &[
                (peak - 1.0, self.base),
                (2.0 * peak - 2.0, first),
                (total - 1.0, last),
            ][..],
            false => &[(peak - 1.0, self.base), (total - 1.0, last)][..],
        };
        let time = update as f64;
        let (mut start, mut from) = (0.0, first);
        for &(end, to) in phases {
            if time <= end {
                let part = if end > start {
                    (time - start) / (end - start)
                } else {
                    1.0
                };
                return config.annealing.between(from, to, part);
            }
            (start, from) = (end, to);
        }
        last
    }
}
