//! Rates that fall by a factor.

use serde::{Deserialize, Serialize};

use super::{Schedule, ScheduleUnit, WarmUpConfig, check_factor};
use crate::ConfigError;
use crate::error::{check_count, check_range};

/// The settings of a rate that falls by a factor every so many epochs: `base · factor^⌊t / every⌋`.
///
/// timm's and torch's names of the settings can be read too.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{ScheduleConfig, StepConfig};
///
/// let schedule = ScheduleConfig::from(StepConfig::new(10).with_factor(0.5)).build(1.0, 100)?;
/// assert_eq!([9, 10, 20].map(|epoch| schedule.rate(epoch, 0, 1)), [1.0, 0.5, 0.25]);
/// # Ok::<(), phenocoder_model::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "StepLRScheduler")]
pub struct StepConfig {
    /// Epochs between two falls (default 30).
    #[doc(alias = "decay_t")]
    #[doc(alias = "step_size")]
    #[serde(alias = "decay_t", alias = "step_size")]
    pub every: usize,
    /// What the rate is multiplied by (default 0.1).
    #[doc(alias = "decay_rate")]
    #[doc(alias = "gamma")]
    #[serde(alias = "decay_rate", alias = "gamma")]
    pub factor: f64,
    /// The rise at the start (default none).
    pub warm_up: WarmUpConfig,
    /// When the rate changes (default once per epoch).
    pub unit: ScheduleUnit,
}

impl Default for StepConfig {
    fn default() -> Self {
        Self {
            every: 30,
            factor: 0.1,
            warm_up: WarmUpConfig::default(),
            unit: ScheduleUnit::default(),
        }
    }
}

impl StepConfig {
    /// A fall by a factor of 0.1 every so many epochs.
    #[must_use]
    pub fn new(every: usize) -> Self {
        Self {
            every,
            ..Self::default()
        }
    }

    /// Sets what the rate is multiplied by.
    #[must_use]
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the rise at the start.
    #[must_use]
    pub fn with_warm_up(mut self, warm_up: WarmUpConfig) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Sets when the rate changes.
    #[must_use]
    pub fn with_unit(mut self, unit: ScheduleUnit) -> Self {
        self.unit = unit;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_count("step.every", self.every)?;
        check_factor("step.factor", self.factor)?;
        self.warm_up.validate()
    }

    pub(super) fn build(self, base: f64) -> Box<dyn Schedule> {
        Box::new(Falling {
            base,
            factor: self.factor,
            falls: Falls::Every(self.every as f64),
            warm_up: self.warm_up,
            unit: self.unit,
        })
    }
}

/// When a milestone is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MilestoneRule {
    /// Once that many epochs are done: with a milestone of 30 the 31st epoch is the first at the lower rate, as in torch.
    #[default]
    AfterEpochs,
    /// One step before, as in timm: the 30th epoch has the lower rate already.
    Timm,
}

/// The settings of a rate that falls by a factor at each of some epochs.
///
/// timm's and torch's name of the factor can be read too; that of timm's milestones cannot, for they mean other epochs
/// ([`MilestoneRule`]).
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{MultiStepConfig, ScheduleConfig};
///
/// let schedule = ScheduleConfig::from(MultiStepConfig::new([3, 5])).build(1.0, 100)?;
/// assert_eq!([2, 3, 4].map(|epoch| schedule.rate(epoch, 0, 1)), [1.0, 0.1, 0.1]);
/// # Ok::<(), phenocoder_model::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "MultiStepLRScheduler")]
pub struct MultiStepConfig {
    /// The epochs, in ascending order (default none).
    #[doc(alias = "decay_milestones")]
    pub milestones: Vec<usize>,
    /// What the rate is multiplied by (default 0.1).
    #[doc(alias = "decay_rate")]
    #[doc(alias = "gamma")]
    #[serde(alias = "decay_rate", alias = "gamma")]
    pub factor: f64,
    /// When a milestone is reached (default when that many epochs are done).
    pub rule: MilestoneRule,
    /// The rise at the start (default none).
    pub warm_up: WarmUpConfig,
    /// When the rate changes (default once per epoch).
    pub unit: ScheduleUnit,
}

impl Default for MultiStepConfig {
    fn default() -> Self {
        Self {
            milestones: Vec::new(),
            factor: 0.1,
            rule: MilestoneRule::default(),
            warm_up: WarmUpConfig::default(),
            unit: ScheduleUnit::default(),
        }
    }
}

impl MultiStepConfig {
    /// A fall by a factor of 0.1 at each of these epochs.
    #[must_use]
    pub fn new(milestones: impl Into<Vec<usize>>) -> Self {
        Self {
            milestones: milestones.into(),
            ..Self::default()
        }
    }

    /// Sets what the rate is multiplied by.
    #[must_use]
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets when a milestone is reached.
    #[must_use]
    pub fn with_rule(mut self, rule: MilestoneRule) -> Self {
        self.rule = rule;
        self
    }

    /// Sets the rise at the start.
    #[must_use]
    pub fn with_warm_up(mut self, warm_up: WarmUpConfig) -> Self {
        self.warm_up = warm_up;
        self
    }

    /// Sets when the rate changes.
    #[must_use]
    pub fn with_unit(mut self, unit: ScheduleUnit) -> Self {
        self.unit = unit;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for pair in self.milestones.windows(2) {
            let later = pair[1] as f64;
            let expected = "later than the milestone before";
            check_range("multistep.milestones", later, pair[1] > pair[0], expected)?;
        }
        check_factor("multistep.factor", self.factor)?;
        self.warm_up.validate()
    }

    pub(super) fn build(self, base: f64) -> Box<dyn Schedule> {
        let milestones = self.milestones.iter().map(|&m| m as f64).collect();
        Box::new(Falling {
            base,
            factor: self.factor,
            falls: Falls::At(milestones, self.rule),
            warm_up: self.warm_up,
            unit: self.unit,
        })
    }
}

struct Falling {
    base: f64,
    factor: f64,
    falls: Falls,
    warm_up: WarmUpConfig,
    unit: ScheduleUnit,
}

enum Falls {
    Every(f64),
    At(Vec<f64>, MilestoneRule),
}

impl Schedule for Falling {
    fn rate(&self, epoch: usize, update: u64, updates_per_epoch: u64) -> f64 {
        let (time, tick) = self.unit.time(epoch, update, updates_per_epoch);
        self.warm_up.rate(time, self.base, |time| {
            let falls = match &self.falls {
                Falls::Every(epochs) => (time / epochs).floor(),
                Falls::At(milestones, rule) => {
                    let early = match rule {
                        MilestoneRule::AfterEpochs => 0.0,
                        MilestoneRule::Timm => tick,
                    };
                    milestones.partition_point(|&m| m <= time + early) as f64
                }
            };
            self.base * self.factor.powf(falls)
        })
    }
}
