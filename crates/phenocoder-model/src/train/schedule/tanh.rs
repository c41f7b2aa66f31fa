//! Rates that fall by a hyperbolic tangent.

use serde::{Deserialize, Serialize};

use super::cycle::{Common, Curve, CycleConfig, shared_settings};
use super::{Schedule, ScheduleUnit, WarmUpConfig};
use crate::ConfigError;
use crate::error::check_range;

/// The settings of a rate that falls by a hyperbolic tangent:
/// `min + ½ (base − min) (1 − tanh(lower (1 − t/T) + upper t/T))` (arXiv:1806.01593).
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
/// use phenocoder_model::train::{TanhConfig, ScheduleConfig};
///
/// let schedule = ScheduleConfig::from(TanhConfig::new()).build(1.0, 10)?;
/// assert!((schedule.rate(7, 0, 1) - 0.5).abs() < 1e-12);
/// # Ok::<(), phenocoder_model::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "TanhLRScheduler")]
pub struct TanhConfig {
    /// Epochs of the first cycle; none (the default) makes all cycles, warm-up and cool-down fill the training.
    #[doc(alias = "t_initial")]
    #[serde(alias = "t_initial")]
    pub epochs: Option<usize>,
    /// The rate at the end of every cycle and after the last (default 0).
    #[doc(alias = "lr_min")]
    #[serde(alias = "lr_min")]
    pub min_rate: f64,
    /// The argument at the start of a cycle (default -7.0).
    #[doc(alias = "lb")]
    #[serde(alias = "lb")]
    pub lower: f64,
    /// The argument at the end of a cycle (default 3.0).
    #[doc(alias = "ub")]
    #[serde(alias = "ub")]
    pub upper: f64,
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

impl Default for TanhConfig {
    fn default() -> Self {
        Self {
            epochs: None,
            min_rate: 0.0,
            lower: -7.0,
            upper: 3.0,
            warm_up: WarmUpConfig::default(),
            cool_down: 0,
            cycle: CycleConfig::default(),
            unit: ScheduleUnit::default(),
        }
    }
}

shared_settings!(TanhConfig, "tanh");

impl TanhConfig {
    /// One cycle over the whole training, from −7 to 3.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the argument at the start of a cycle.
    #[must_use]
    pub fn with_lower(mut self, lower: f64) -> Self {
        self.lower = lower;
        self
    }

    /// Sets the argument at the end of a cycle.
    #[must_use]
    pub fn with_upper(mut self, upper: f64) -> Self {
        self.upper = upper;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let valid = self.lower.is_finite() && self.upper.is_finite() && self.lower < self.upper;
        let expected = "finite and above `tanh.lower`";
        check_range("tanh.upper", self.upper, valid, expected)?;
        self.common().validate()
    }

    pub(super) fn build(self, base: f64, epochs: usize) -> Result<Box<dyn Schedule>, ConfigError> {
        let curve = Curve::Tanh {
            lower: self.lower,
            upper: self.upper,
        };
        self.common().build(curve, base, epochs)
    }
}
