//! Rates that fall by a power of the time left.

use serde::{Deserialize, Serialize};

use super::cycle::{Common, Curve, CycleConfig, shared_settings};
use super::{Schedule, ScheduleUnit, WarmUpConfig};
use crate::ConfigError;
use crate::error::check_range;

/// The settings of a rate that falls by a power of the time left: `min + (base − min) (1 − tᵏ / Tᵏ)^power`.
///
/// After the last cycle the rate stays at its minimum.
/// The formula is timm's, and timm's names of the settings can be read too.
///
/// # Differences from timm
///
/// timm prolongs the training by warm-up (with prefix) and cool-down; here its length is
/// [`FitConfig::epochs`](crate::train::FitConfig::epochs), for which [`total_epochs`](Self::total_epochs) gives timm's value.
/// Noise on the rate is not offered.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{PolyConfig, ScheduleConfig};
///
/// let schedule = ScheduleConfig::from(PolyConfig::new().with_power(2.0)).build(1.0, 10)?;
/// assert!((schedule.rate(5, 0, 1) - 0.25).abs() < 1e-12);
/// # Ok::<(), phenocoder_model::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "PolyLRScheduler")]
pub struct PolyConfig {
    /// Epochs of the first cycle; none (the default) makes all cycles, warm-up and cool-down fill the training.
    #[doc(alias = "t_initial")]
    #[serde(alias = "t_initial")]
    pub epochs: Option<usize>,
    /// The rate at the end of every cycle and after the last (default 0).
    #[doc(alias = "lr_min")]
    #[serde(alias = "lr_min")]
    pub min_rate: f64,
    /// The exponent (default 0.5).
    #[doc(alias = "decay_rate")]
    #[serde(alias = "decay_rate")]
    pub power: f64,
    /// Stretches the curve: above 1 it stays high for longer (default 1.0).
    pub k_decay: f64,
    /// The rise at the start (default none).
    pub warm_up: WarmUpConfig,
    /// Epochs at the smallest rate after the last cycle (default 0); they matter only for
    /// [`total_epochs`](Self::total_epochs) and where `epochs` is none.
    #[doc(alias = "cooldown_epochs")]
    #[serde(alias = "cooldown_epochs")]
    pub cool_down: usize,
    /// How often the curve is repeated (default once).
    pub cycle: CycleConfig,
    /// When the rate changes (default once per epoch).
    pub unit: ScheduleUnit,
}

impl Default for PolyConfig {
    fn default() -> Self {
        Self {
            epochs: None,
            min_rate: 0.0,
            power: 0.5,
            k_decay: 1.0,
            warm_up: WarmUpConfig::default(),
            cool_down: 0,
            cycle: CycleConfig::default(),
            unit: ScheduleUnit::default(),
        }
    }
}

shared_settings!(PolyConfig, "poly");

impl PolyConfig {
    /// One cycle down to 0 over the whole training, by a square root.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the exponent.
    #[must_use]
    pub fn with_power(mut self, power: f64) -> Self {
        self.power = power;
        self
    }

    /// Sets how the curve is stretched.
    #[must_use]
    pub fn with_k_decay(mut self, k_decay: f64) -> Self {
        self.k_decay = k_decay;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let valid = self.power > 0.0 && self.power.is_finite();
        check_range("poly.power", self.power, valid, "a finite number above 0")?;
        let valid = self.k_decay > 0.0 && self.k_decay.is_finite();
        check_range(
            "poly.k_decay",
            self.k_decay,
            valid,
            "a finite number above 0",
        )?;
        self.common().validate()
    }

    pub(super) fn build(self, base: f64, epochs: usize) -> Result<Box<dyn Schedule>, ConfigError> {
        let curve = Curve::Poly {
            power: self.power,
            k_decay: self.k_decay,
        };
        self.common().build(curve, base, epochs)
    }
}
