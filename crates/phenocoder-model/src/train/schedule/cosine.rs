//! Rates that fall by half a cosine.

use serde::{Deserialize, Serialize};

use super::cycle::{Common, Curve, CycleConfig, shared_settings};
use super::{Schedule, ScheduleUnit, WarmUpConfig};
use crate::ConfigError;
use crate::error::check_range;

/// The settings of a rate that falls by half a cosine: `min + ½ (base − min) (1 + cos(π tᵏ / Tᵏ))`.
///
/// After the last cycle the rate stays at its minimum.
/// The formula is timm's; its names of the settings, and torch's `T_max` and `eta_min`, can be read too.
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
/// use phenocoder_model::train::{CosineConfig, ScheduleConfig};
///
/// let schedule = ScheduleConfig::from(CosineConfig::new()).build(1.0, 10)?;
/// let rate = |epoch| schedule.rate(epoch, 0, 1);
/// assert!(rate(0) == 1.0 && (rate(5) - 0.5).abs() < 1e-12 && rate(10) == 0.0);
/// # Ok::<(), phenocoder_model::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "CosineLRScheduler")]
#[doc(alias = "CosineAnnealingLR")]
pub struct CosineConfig {
    /// Epochs of the first cycle; none (the default) makes all cycles, warm-up and cool-down fill the training.
    #[doc(alias = "t_initial")]
    #[doc(alias = "T_max")]
    #[serde(alias = "t_initial", alias = "T_max")]
    pub epochs: Option<usize>,
    /// The rate at the end of every cycle and after the last (default 0).
    #[doc(alias = "lr_min")]
    #[doc(alias = "eta_min")]
    #[serde(alias = "lr_min", alias = "eta_min")]
    pub min_rate: f64,
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

impl Default for CosineConfig {
    fn default() -> Self {
        Self {
            epochs: None,
            min_rate: 0.0,
            k_decay: 1.0,
            warm_up: WarmUpConfig::default(),
            cool_down: 0,
            cycle: CycleConfig::default(),
            unit: ScheduleUnit::default(),
        }
    }
}

shared_settings!(CosineConfig, "cosine");

impl CosineConfig {
    /// One cycle down to 0 over the whole training.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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
        let valid = self.k_decay > 0.0 && self.k_decay.is_finite();
        check_range(
            "cosine.k_decay",
            self.k_decay,
            valid,
            "a finite number above 0",
        )?;
        self.common().validate()
    }

    pub(super) fn build(self, base: f64, epochs: usize) -> Result<Box<dyn Schedule>, ConfigError> {
        let curve = Curve::Cosine {
            k_decay: self.k_decay,
        };
        self.common().build(curve, base, epochs)
    }
}
