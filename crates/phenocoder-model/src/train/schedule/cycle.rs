//! Rates that fall along a curve, in one cycle or several.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{Schedule, ScheduleUnit, WarmUpConfig, check_count, check_factor, check_rate};
use crate::ConfigError;
use crate::train::config::check_range;

/// How often a falling curve is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CycleConfig {
    /// The number of cycles (default 1); afterwards the rate stays at its minimum.
    #[doc(alias = "cycle_limit")]
    pub limit: usize,
    /// The length of a cycle over that of the one before (default 1).
    #[doc(alias = "cycle_mul")]
    pub multiplier: f64,
    /// The first rate of a cycle over that of the one before (default 1).
    #[doc(alias = "cycle_decay")]
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

    /// The number of a cycle, its length and the time within it; `first` is the length of the first.
    fn at(&self, time: f64, first: f64) -> (f64, f64, f64) {
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
enum Curve {
    Cosine { k_decay: f64 },
    Poly { power: f64, k_decay: f64 },
    Tanh { lower: f64, upper: f64 },
}

impl Curve {
    /// timm raises time and length to the power `k_decay` apart; so do we, to have its rounding.
    fn height(self, time: f64, length: f64) -> f64 {
        match self {
            Self::Cosine { k_decay } => {
                0.5 * (1.0 + (PI * time.powf(k_decay) / length.powf(k_decay)).cos())
            }
            Self::Poly { power, k_decay } => {
                (1.0 - time.powf(k_decay) / length.powf(k_decay)).powf(power)
            }
            Self::Tanh { lower, upper } => {
                let part = time / length;
                0.5 * (1.0 - (lower * (1.0 - part) + upper * part).tanh())
            }
        }
    }
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

/// What the settings of the three curves share.
struct Common {
    name: &'static str,
    epochs: Option<usize>,
    min_rate: f64,
    warm_up: WarmUpConfig,
    cool_down: usize,
    cycle: CycleConfig,
    unit: ScheduleUnit,
}

impl Common {
    fn validate(&self) -> Result<(), ConfigError> {
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
        let used = self.cool_down + self.warm_up.added();
        let valid = epochs > used;
        let expected = "more than its warm-up and cool-down take";
        check_range("epochs", epochs as f64, valid, expected)?;
        Ok((epochs - used) as f64 / self.cycle.total(1.0))
    }

    fn build(
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

    fn total_epochs(&self) -> Option<usize> {
        let cycles = self.cycle.total(self.epochs? as f64);
        Some(cycles.floor() as usize + self.warm_up.added() + self.cool_down)
    }
}

/// The settings of a rate that falls by half a cosine: `min + ½ (base − min) (1 + cos(π tᵏ / Tᵏ))`.
///
/// After the last cycle the rate stays at its minimum.
/// Names and formulas are timm's.
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
pub struct CosineConfig {
    /// Epochs of the first cycle; none (the default) makes all cycles, warm-up and cool-down fill the training.
    #[doc(alias = "t_initial")]
    pub epochs: Option<usize>,
    /// The rate at the end of every cycle and after the last (default 0).
    #[doc(alias = "lr_min")]
    pub min_rate: f64,
    /// Stretches the curve: above 1 it stays high for longer (default 1.0).
    pub k_decay: f64,
    /// The rise at the start (default none).
    pub warm_up: WarmUpConfig,
    /// Epochs at the smallest rate after the last cycle (default 0); they matter only for
    /// [`total_epochs`](Self::total_epochs) and where `epochs` is none.
    #[doc(alias = "cooldown_epochs")]
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

impl CosineConfig {
    /// One cycle down to 0 over the whole training.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

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

    /// Sets how the curve is stretched.
    #[must_use]
    pub fn with_k_decay(mut self, k_decay: f64) -> Self {
        self.k_decay = k_decay;
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

    /// The epochs of all cycles, the warm-up (with prefix) and the cool-down: how long timm trains; none where the length of a
    /// cycle is not set.
    #[must_use]
    pub fn total_epochs(&self) -> Option<usize> {
        self.common().total_epochs()
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

    fn common(&self) -> Common {
        Common {
            name: "cosine",
            epochs: self.epochs,
            min_rate: self.min_rate,
            warm_up: self.warm_up,
            cool_down: self.cool_down,
            cycle: self.cycle,
            unit: self.unit,
        }
    }

    pub(super) fn build(self, base: f64, epochs: usize) -> Result<Box<dyn Schedule>, ConfigError> {
        let curve = Curve::Cosine {
            k_decay: self.k_decay,
        };
        self.common().build(curve, base, epochs)
    }
}

/// The settings of a rate that falls by a power of the time left: `min + (base − min) (1 − tᵏ / Tᵏ)^power`.
///
/// After the last cycle the rate stays at its minimum.
/// Names and formulas are timm's.
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
    pub epochs: Option<usize>,
    /// The rate at the end of every cycle and after the last (default 0).
    #[doc(alias = "lr_min")]
    pub min_rate: f64,
    /// The exponent (default 0.5).
    #[doc(alias = "decay_rate")]
    pub power: f64,
    /// Stretches the curve: above 1 it stays high for longer (default 1.0).
    pub k_decay: f64,
    /// The rise at the start (default none).
    pub warm_up: WarmUpConfig,
    /// Epochs at the smallest rate after the last cycle (default 0); they matter only for
    /// [`total_epochs`](Self::total_epochs) and where `epochs` is none.
    #[doc(alias = "cooldown_epochs")]
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

impl PolyConfig {
    /// One cycle down to 0 over the whole training, by a square root.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

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

    /// The epochs of all cycles, the warm-up (with prefix) and the cool-down: how long timm trains; none where the length of a
    /// cycle is not set.
    #[must_use]
    pub fn total_epochs(&self) -> Option<usize> {
        self.common().total_epochs()
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

    fn common(&self) -> Common {
        Common {
            name: "poly",
            epochs: self.epochs,
            min_rate: self.min_rate,
            warm_up: self.warm_up,
            cool_down: self.cool_down,
            cycle: self.cycle,
            unit: self.unit,
        }
    }

    pub(super) fn build(self, base: f64, epochs: usize) -> Result<Box<dyn Schedule>, ConfigError> {
        let curve = Curve::Poly {
            power: self.power,
            k_decay: self.k_decay,
        };
        self.common().build(curve, base, epochs)
    }
}

/// The settings of a rate that falls by a hyperbolic tangent:
/// `min + ½ (base − min) (1 − tanh(lower (1 − t/T) + upper t/T))` (arXiv:1806.01593).
///
/// After the last cycle the rate stays at its minimum.
/// Names and formulas are timm's.
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
    pub epochs: Option<usize>,
    /// The rate at the end of every cycle and after the last (default 0).
    #[doc(alias = "lr_min")]
    pub min_rate: f64,
    /// The argument at the start of a cycle (default -7.0).
    #[doc(alias = "lb")]
    pub lower: f64,
    /// The argument at the end of a cycle (default 3.0).
    #[doc(alias = "ub")]
    pub upper: f64,
    /// The rise at the start (default none).
    pub warm_up: WarmUpConfig,
    /// Epochs at the smallest rate after the last cycle (default 0); they matter only for
    /// [`total_epochs`](Self::total_epochs) and where `epochs` is none.
    #[doc(alias = "cooldown_epochs")]
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

impl TanhConfig {
    /// One cycle over the whole training, from −7 to 3.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

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

    /// The epochs of all cycles, the warm-up (with prefix) and the cool-down: how long timm trains; none where the length of a
    /// cycle is not set.
    #[must_use]
    pub fn total_epochs(&self) -> Option<usize> {
        self.common().total_epochs()
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

    fn common(&self) -> Common {
        Common {
            name: "tanh",
            epochs: self.epochs,
            min_rate: self.min_rate,
            warm_up: self.warm_up,
            cool_down: self.cool_down,
            cycle: self.cycle,
            unit: self.unit,
        }
    }

    pub(super) fn build(self, base: f64, epochs: usize) -> Result<Box<dyn Schedule>, ConfigError> {
        let curve = Curve::Tanh {
            lower: self.lower,
            upper: self.upper,
        };
        self.common().build(curve, base, epochs)
    }
}
