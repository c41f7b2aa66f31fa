//! How the learning rate changes.

mod cosine;
mod cycle;
mod one_cycle;
mod plateau;
mod poly;
mod steps;
mod tanh;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use cosine::CosineConfig;
pub use cycle::CycleConfig;
pub use one_cycle::{Annealing, OneCycleConfig};
pub use plateau::{Plateau, PlateauConfig};
pub use poly::PolyConfig;
pub use steps::{MilestoneRule, MultiStepConfig, StepConfig};
pub use tanh::TanhConfig;

use crate::error::{check_count, check_range};
use crate::{ConfigError, Error, Result};

/// Gives the learning rate of every update, and can be saved and resumed.
pub trait Schedule: Send {
    /// The learning rate of an update: `epoch` counts the epochs done before it, `update` all updates done before it, both
    /// from the start of training and so from 0 on.
    fn rate(&self, epoch: usize, update: u64, updates_per_epoch: u64) -> f64;

    /// Takes the loss that is watched, after each epoch.
    fn observe(&mut self, watched_loss: f64) {
        let _ = watched_loss;
    }

    /// Everything that later rates depend on, but for the settings; null where there is nothing.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    ///
    /// [`Error::Section`] when the state is not one of this schedule.
    fn restore(&mut self, state: &Value) -> Result<()> {
        restored::<()>(state)
    }
}

fn restored<T: serde::de::DeserializeOwned>(state: &Value) -> Result<T> {
    serde_json::from_value(state.clone()).map_err(|source| Error::Section {
        name: "schedule".to_owned(),
        source,
    })
}

/// Which schedule changes the learning rate, with its settings; the default is Keras' plateau.
///
/// The formulas are timm's, but for [`OneCycle`](Self::OneCycle) (torch's) and [`Plateau`](Self::Plateau) (Keras').
/// The names are ours; theirs, `t_initial`, `lr_min`, `warmup_t` or `pct_start` say, are read as well, those of a warm-up within
/// `warm_up` and those of cycles within `cycle`.
/// What is written has our names.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{CosineConfig, ScheduleConfig, WarmUpConfig};
///
/// let config = CosineConfig::new()
///     .with_epochs(50)
///     .with_min_rate(1e-6)
///     .with_warm_up(WarmUpConfig::new(5, 1e-6));
/// let schedule = ScheduleConfig::from(config).build(1e-4, 125)?;
/// let rate = |epoch| schedule.rate(epoch, 0, 1);
/// assert_eq!((rate(0), rate(60)), (1e-6, 1e-6));
/// assert!((rate(5) - 9.757_73e-5).abs() < 1e-9);
///
/// let config: ScheduleConfig = serde_json::from_str(r#"{"kind": "step", "every": 30}"#)?;
/// assert_eq!(config.build(0.5, 100)?.rate(29, 0, 1), 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScheduleConfig {
    /// The same rate always.
    Constant,
    /// Falls by a factor every so many epochs.
    Step(StepConfig),
    /// Falls by a factor at given epochs.
    #[serde(rename = "multistep")]
    MultiStep(MultiStepConfig),
    /// Falls by half a cosine.
    Cosine(CosineConfig),
    /// Falls by a power of the time left.
    Poly(PolyConfig),
    /// Falls by a hyperbolic tangent.
    Tanh(TanhConfig),
    /// Rises and falls once, update by update.
    OneCycle(OneCycleConfig),
    /// Falls by a factor when the loss stands still.
    Plateau(PlateauConfig),
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self::Plateau(PlateauConfig::default())
    }
}

impl ScheduleConfig {
    /// Keras' plateau.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Constant => Ok(()),
            Self::Step(config) => config.validate(),
            Self::MultiStep(config) => config.validate(),
            Self::Cosine(config) => config.validate(),
            Self::Poly(config) => config.validate(),
            Self::Tanh(config) => config.validate(),
            Self::OneCycle(config) => config.validate(),
            Self::Plateau(config) => config.validate(),
        }
    }

    /// A schedule for a training of this base rate and number of epochs, which is the length of one cycle where the settings
    /// name none.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate); [`ConfigError::Zero`] and [`ConfigError::Range`] also for the arguments, when warm-up and
    /// cool-down leave no epoch for the cycle, and when lengths or rates would leave the range of numbers.
    pub fn build(&self, base_rate: f64, epochs: usize) -> Result<Box<dyn Schedule>, ConfigError> {
        self.validate()?;
        let valid = base_rate > 0.0 && base_rate.is_finite();
        check_range("learning_rate", base_rate, valid, "a finite number above 0")?;
        check_count("epochs", epochs)?;
        Ok(match self.clone() {
            Self::Constant => Box::new(Constant { rate: base_rate }),
            Self::Step(config) => config.build(base_rate),
            Self::MultiStep(config) => config.build(base_rate),
            Self::Cosine(config) => config.build(base_rate, epochs)?,
            Self::Poly(config) => config.build(base_rate, epochs)?,
            Self::Tanh(config) => config.build(base_rate, epochs)?,
            Self::OneCycle(config) => config.build(base_rate, epochs)?,
            Self::Plateau(config) => Box::new(plateau::PlateauSchedule::new(config, base_rate)),
        })
    }
}

macro_rules! from_config {
    ($($config:ident => $variant:ident),*) => {
        $(impl From<$config> for ScheduleConfig {
            fn from(config: $config) -> Self {
                Self::$variant(config)
            }
        })*
    };
}

from_config!(
    StepConfig => Step,
    MultiStepConfig => MultiStep,
    CosineConfig => Cosine,
    PolyConfig => Poly,
    TanhConfig => Tanh,
    OneCycleConfig => OneCycle,
    PlateauConfig => Plateau
);

struct Constant {
    rate: f64,
}

impl Schedule for Constant {
    fn rate(&self, _: usize, _: u64, _: u64) -> f64 {
        self.rate
    }
}

/// When a schedule changes the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScheduleUnit {
    /// Once per epoch.
    #[default]
    Epoch,
    /// With every update: all lengths are still given in epochs.
    #[doc(alias = "sched_on_updates")]
    Update,
}

impl ScheduleUnit {
    /// The time in epochs, and how many epochs one tick of it is.
    fn time(self, epoch: usize, update: u64, updates_per_epoch: u64) -> (f64, f64) {
        match self {
            Self::Epoch => (epoch as f64, 1.0),
            Self::Update => {
                let per_epoch = updates_per_epoch.max(1) as f64;
                (update as f64 / per_epoch, 1.0 / per_epoch)
            }
        }
    }
}

/// Epochs at the start in which the rate rises in equal steps; by default there are none.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct WarmUpConfig {
    /// The number of epochs (default 0).
    #[doc(alias = "warmup_t")]
    #[serde(alias = "warmup_t")]
    pub epochs: usize,
    /// The rate of the first epoch (default 0).
    #[doc(alias = "warmup_lr_init")]
    #[serde(alias = "warmup_lr_init")]
    pub rate: f64,
    /// Whether the schedule proper starts after the warm-up, at its first rate (default false); else it runs beneath, and
    /// the warm-up hides its first epochs.
    #[doc(alias = "warmup_prefix")]
    #[serde(alias = "warmup_prefix")]
    pub prefix: bool,
}

impl WarmUpConfig {
    /// A warm-up of this many epochs from this rate on.
    #[must_use]
    pub fn new(epochs: usize, rate: f64) -> Self {
        Self {
            epochs,
            rate,
            prefix: false,
        }
    }

    /// Sets whether the schedule proper starts after the warm-up.
    #[must_use]
    pub fn with_prefix(mut self, prefix: bool) -> Self {
        self.prefix = prefix;
        self
    }

    fn validate(&self) -> Result<(), ConfigError> {
        check_rate("warm_up.rate", self.rate)
    }

    /// The rate at a time in epochs: rising to `target`, then `after` of the schedule's own time.
    fn rate(&self, time: f64, target: f64, after: impl FnOnce(f64) -> f64) -> f64 {
        let length = self.epochs as f64;
        if time < length {
            return self.rate + time * (target - self.rate) / length;
        }
        after(if self.prefix { time - length } else { time })
    }

    /// The epochs by which this warm-up makes a schedule longer.
    fn added(&self) -> usize {
        if self.prefix { self.epochs } else { 0 }
    }
}

fn check_rate(setting: &str, rate: f64) -> Result<(), ConfigError> {
    let valid = rate >= 0.0 && rate.is_finite();
    check_range(setting, rate, valid, "a finite number of at least 0")
}

fn check_factor(setting: &str, factor: f64) -> Result<(), ConfigError> {
    let valid = factor > 0.0 && factor <= 1.0;
    check_range(setting, factor, valid, "above 0 and at most 1")
}

#[cfg(test)]
mod tests;
