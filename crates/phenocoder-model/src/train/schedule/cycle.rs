//! What rates that fall along a curve share: the curves, and cycles of them.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{Schedule, ScheduleUnit, WarmUpConfig, check_factor, check_rate};
use crate::ConfigError;
use crate::error::{check_count, check_range};

/// How often a falling curve is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CycleConfig {
    /// The number of cycles (default 1); afterwards the rate stays at its minimum.
    #[doc(alias = "cycle_limit")]
    #[serde(alias = "cycle_limit")]
    pub limit: usize,
    /// The length of a cycle over that of the one before (default 1).
    #[doc(alias = "cycle_mul")]
    #[serde(alias = "cycle_mul")]
    pub multiplier: f64,
    /// The first rate of a cycle over that of the one before (default 1).
    #[doc(alias = "cycle_decay")]
    #[serde(alias = "cycle_decay")]
    pub decay: f64,
}

impl Default for CycleConfig {
    fn default() -> Self {
        Self {
            limit: 1,
            multiplier: 1.0,
            decay: 1.0,
        }
    }
}

impl CycleConfig {
    /// This many cycles of equal length and height.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Sets the length of a cycle over that of the one before.
    #[must_use]
    pub fn with_multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// Sets the first rate of a cycle over that of the one before.
    #[must_use]
    pub fn with_decay(mut self, decay: f64) -> Self {
        self.decay = decay;
        self
    }

    fn validate(&self) -> Result<(), ConfigError> {
        check_count("cycle.limit", self.limit)?;
        let valid = self.multiplier >= 1.0 && self.multiplier.is_finite();
        let expected = "a finite number of at least 1";
        check_range("cycle.multiplier", self.multiplier, valid, expected)?;
        check_factor("cycle.decay", self.decay)
    }

    /// The number of a cycle, its length and the time within it, from 0 to that length; `first` is the length of the first.
    fn at(&self, time: f64, first: f64) -> (f64, f64, f64) {
        let (number, length, within) = self.rounded_at(time, first);
        // What is left of a time may come out a rounding error before the start of its cycle, or after its end.
        (number, length, within.min(length).max(0.0))
    }

    fn rounded_at(&self, time: f64, first: f64) -> (f64, f64, f64) {
        let multiplier = self.multiplier;
        if multiplier == 1.0 {
            let number = (time / first).floor();
            return (number, first, time - first * number);
        }
        let start = |number: f64| (1.0 - multiplier.powf(number)) / (1.0 - multiplier) * first;
        let number = (1.0 - time / first * (1.0 - multiplier)).log(multiplier);
        // The logarithm of a power may fall short of a whole number; then the cycle that begins now is the next one.
        let number = match start(number.round()) <= time {
            true => number.round(),
            false => number.floor(),
        };
        let length = multiplier.powf(number) * first;
        (number, length, time - start(number))
    }

    /// The length of all cycles.
    fn total(&self, first: f64) -> f64 {
        match self.multiplier == 1.0 {
            true => first * self.limit as f64,
            false => {
                let grown = self.multiplier.powf(self.limit as f64);
                first * (1.0 - grown) / (1.0 - self.multiplier)
            }
        }
    }
}

/// A curve that falls from 1 to 0 in the time from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) enum Curve {
    Cosine { k_decay: f64 },
    Poly { power: f64, k_decay: f64 },
    Tanh { lower: f64, upper: f64 },
}

impl Curve {
    /// The height at a time from 0 to `length`.
    fn height(self, time: f64, length: f64) -> f64 {
        match self {
            Self::Cosine { k_decay } => 0.5 * (1.0 + stretched(PI, time, length, k_decay).cos()),
            Self::Poly { power, k_decay } => {
                (1.0 - stretched(1.0, time, length, k_decay)).powf(power)
            }
            Self::Tanh { lower, upper } => {
                let part = time / length;
                0.5 * (1.0 - (lower * (1.0 - part) + upper * part).tanh())
            }
        }
    }
}

/// `scale · (time / length)^k`, from 0 to `scale`.
///
/// timm raises time and length to the power apart; so do we, to have its rounding, where neither leaves the range of numbers.
fn stretched(scale: f64, time: f64, length: f64, k: f64) -> f64 {
    let (part, whole) = (time.powf(k), length.powf(k));
    let stretched = match part.is_finite() && whole.is_normal() {
        true => scale * part / whole,
        false => scale * (time / length).powf(k),
    };
    stretched.clamp(0.0, scale)
}

struct Falling {
    base: f64,
    min: f64,
    length: f64,
    curve: Curve,
    warm_up: WarmUpConfig,
    cycle: CycleConfig,
    unit: ScheduleUnit,
}

impl Falling {
    fn fall(&self, time: f64) -> f64 {
        let (number, length, time) = self.cycle.at(time, self.length);
        if number >= self.cycle.limit as f64 {
            return self.min;
        }
        let top = self.base * self.cycle.decay.powf(number);
        self.min + (top - self.min) * self.curve.height(time, length)
    }
}

impl Schedule for Falling {
    fn rate(&self, epoch: usize, update: u64, updates_per_epoch: u64) -> f64 {
        let (time, _) = self.unit.time(epoch, update, updates_per_epoch);
        // timm's tanh warms up to where the curve will be, the others to the base rate.
        let target = match self.curve {
            Curve::Tanh { .. } if !self.warm_up.prefix => self.fall(self.warm_up.epochs as f64),
            _ => self.base,
        };
        self.warm_up.rate(time, target, |time| self.fall(time))
    }
}

/// What the three curves' settings have in common.
///
/// They are fields of each, not a field of their own, because serde reads nested settings as if they were not nested only where
/// it does not refuse unknown ones.
macro_rules! shared_settings {
    ($config:ident, $name:literal) => {
        impl $config {
            /// Sets the epochs of the first cycle.
            #[must_use]
            pub fn with_epochs(mut self, epochs: usize) -> Self {
                self.epochs = Some(epochs);
                self
            }

            /// Sets the rate at the end of every cycle.
            #[must_use]
            pub fn with_min_rate(mut self, min_rate: f64) -> Self {
                self.min_rate = min_rate;
                self
            }

            /// Sets the rise at the start.
            #[must_use]
            pub fn with_warm_up(mut self, warm_up: WarmUpConfig) -> Self {
                self.warm_up = warm_up;
                self
            }

            /// Sets the epochs at the smallest rate after the last cycle.
            #[must_use]
            pub fn with_cool_down(mut self, cool_down: usize) -> Self {
                self.cool_down = cool_down;
                self
            }

            /// Sets how often the curve is repeated.
            #[must_use]
            pub fn with_cycle(mut self, cycle: CycleConfig) -> Self {
                self.cycle = cycle;
                self
            }

            /// Sets when the rate changes.
            #[must_use]
            pub fn with_unit(mut self, unit: ScheduleUnit) -> Self {
                self.unit = unit;
                self
            }

            /// The epochs of all cycles, the warm-up (with prefix) and the cool-down: how long timm trains; none where the
            /// length of a cycle is not set.
            #[must_use]
            pub fn total_epochs(&self) -> Option<usize> {
                self.common().total_epochs()
            }

            fn common(&self) -> Common {
                Common {
                    name: $name,
                    epochs: self.epochs,
                    min_rate: self.min_rate,
                    warm_up: self.warm_up,
                    cool_down: self.cool_down,
                    cycle: self.cycle,
                    unit: self.unit,
                }
            }
        }
    };
}
pub(super) use shared_settings;

/// What the settings of the three curves share.
pub(super) struct Common {
    pub(super) name: &'static str,
    pub(super) epochs: Option<usize>,
    pub(super) min_rate: f64,
    pub(super) warm_up: WarmUpConfig,
    pub(super) cool_down: usize,
    pub(super) cycle: CycleConfig,
    pub(super) unit: ScheduleUnit,
}

impl Common {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if let Some(epochs) = self.epochs {
            check_count(&format!("{}.epochs", self.name), epochs)?;
        }
        check_rate(&format!("{}.min_rate", self.name), self.min_rate)?;
        self.warm_up.validate()?;
        self.cycle.validate()
    }

    /// The length of the first cycle: as set, or what warm-up and cool-down leave of the training.
    fn length(&self, epochs: usize) -> Result<f64, ConfigError> {
        if let Some(epochs) = self.epochs {
            return Ok(epochs as f64);
        }
        let used = self.cool_down.saturating_add(self.warm_up.added());
        let valid = epochs > used;
        let expected = "more than its warm-up and cool-down take";
        check_range("epochs", epochs as f64, valid, expected)?;
        let cycles = self.cycle.total(1.0);
        let expected = "small enough for the number of cycles";
        check_range(
            "cycle.multiplier",
            self.cycle.multiplier,
            cycles.is_finite(),
            expected,
        )?;
        Ok((epochs - used) as f64 / cycles)
    }

    pub(super) fn build(
        self,
        curve: Curve,
        base: f64,
        epochs: usize,
    ) -> Result<Box<dyn Schedule>, ConfigError> {
        Ok(Box::new(Falling {
            base,
            min: self.min_rate,
            length: self.length(epochs)?,
            curve,
            warm_up: self.warm_up,
            cycle: self.cycle,
            unit: self.unit,
        }))
    }

    pub(super) fn total_epochs(&self) -> Option<usize> {
        let cycles = self.cycle.total(self.epochs? as f64);
        let whole = cycles.floor() as usize;
        Some(
            whole
                .saturating_add(self.warm_up.added())
                .saturating_add(self.cool_down),
        )
    }
}
