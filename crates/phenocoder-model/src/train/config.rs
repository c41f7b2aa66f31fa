//! The settings of a training run.

use std::collections::BTreeMap;

use phenocoder_core::Seed;
use serde::{Deserialize, Serialize};

use super::{
    ClipConfig, EarlyStoppingConfig, EmaConfig, OptimizerConfig, PlateauConfig, ScheduleConfig,
};
use crate::error::{check_count, check_range};
use crate::loader::Prefetch;
use crate::{ConfigError, Precision};

/// Whether latents are sampled when the validation loss is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValidationNoise {
    /// The latent means are decoded: the loss of one set of weights is one number.
    #[default]
    Off,
    /// Latents are sampled, as the original does, with new noise in each epoch.
    Sampled,
}

/// The settings of [`fit`](super::fit).
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::FitConfig;
///
/// let config: FitConfig = serde_json::from_str(r#"{"epochs": 30, "early_stopping": null}"#)?;
/// assert_eq!((config.epochs, config.batch_size), (30, 64));
/// assert_eq!(config.early_stopping, None);
/// assert!(config.with_batch_size(0).validate().is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FitConfig {
    /// The largest number of epochs (default 100).
    pub epochs: usize,
    /// Patches per step (default 64); the last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// Batches whose gradients make one update (default 1).
    ///
    /// Each gradient counts by the patches of its batch, so the update is that of one batch of all of them, as far as the
    /// network computes patch by patch: statistics over a batch are those of the small ones.
    #[doc(alias = "accumulate_grad_batches")]
    pub accumulate: usize,
    /// The learning rate that the schedule starts from (default 1e-3).
    pub learning_rate: f64,
    /// The optimizer (default Adam in Keras' form).
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes (default: falls when the loss stands still, as [`PlateauConfig`]).
    pub schedule: ScheduleConfig,
    /// Keeps gradients from growing too large (default none).
    pub clip: Option<ClipConfig>,
    /// What differs for some groups of weights, by the names of the groups; models without groups of their own have only
    /// [`main`](crate::ParameterGroup::MAIN).
    pub groups: BTreeMap<String, GroupConfig>,
    /// Averages the weights over the updates (default none): the average is validated, and the model ends with it.
    pub ema: Option<EmaConfig>,
    /// The number type of the network's computations (default `f32`); weights and optimizers are `f32` always.
    pub precision: Precision,
    /// Ends training when the loss stands still (default: as [`EarlyStoppingConfig`]); none trains all epochs and keeps the
    /// last weights.
    pub early_stopping: Option<EarlyStoppingConfig>,
    /// The source of all chance (default 0).
    pub seed: Seed,
    /// Whether the validation loss has noise (default off).
    pub validation_noise: ValidationNoise,
    /// Batches read ahead while the network works (default 2, at least 1); so many batches, and the one in work, are in memory.
    pub prefetch: usize,
    /// Threads that read ahead, each a batch of its own (default 1).
    ///
    /// More help with sources that wait, for a network or a slow disk; patch sets and stores decode on all cores anyway.
    #[doc(alias = "num_workers")]
    pub read_threads: usize,
}

impl Default for FitConfig {
    /// The original's settings.
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_size: 64,
            accumulate: 1,
            learning_rate: 1e-3,
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            clip: None,
            groups: BTreeMap::new(),
            ema: None,
            precision: Precision::default(),
            early_stopping: Some(EarlyStoppingConfig::default()),
            seed: Seed::default(),
            validation_noise: ValidationNoise::default(),
            prefetch: 2,
            read_threads: 1,
        }
    }
}

impl FitConfig {
    /// The original's settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the largest number of epochs.
    #[must_use]
    pub fn with_epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets the number of patches per step.
    #[must_use]
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Sets the learning rate to start with.
    #[must_use]
    pub fn with_learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Sets the number of batches whose gradients make one update.
    #[must_use]
    pub fn with_accumulate(mut self, accumulate: usize) -> Self {
        self.accumulate = accumulate;
        self
    }

    /// Sets the optimizer.
    #[must_use]
    pub fn with_optimizer(mut self, optimizer: impl Into<OptimizerConfig>) -> Self {
        self.optimizer = optimizer.into();
        self
    }

    /// Sets how the learning rate changes.
    #[must_use]
    pub fn with_schedule(mut self, schedule: impl Into<ScheduleConfig>) -> Self {
        self.schedule = schedule.into();
        self
    }

    /// Sets the plateau schedule; none keeps the learning rate constant.
    #[must_use]
    pub fn with_plateau(self, plateau: Option<PlateauConfig>) -> Self {
        self.with_schedule(plateau.map_or(ScheduleConfig::Constant, ScheduleConfig::Plateau))
    }

    /// Sets or removes gradient clipping.
    #[must_use]
    pub fn with_clip(mut self, clip: Option<ClipConfig>) -> Self {
        self.clip = clip;
        self
    }

    /// Sets what differs for a group of weights.
    #[must_use]
    pub fn with_group(mut self, name: impl Into<String>, group: GroupConfig) -> Self {
        self.groups.insert(name.into(), group);
        self
    }

    /// Sets or removes the moving average of the weights.
    #[must_use]
    pub fn with_ema(mut self, ema: Option<EmaConfig>) -> Self {
        self.ema = ema;
        self
    }

    /// Sets the number type of the network's computations.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Sets or removes early stopping.
    #[must_use]
    pub fn with_early_stopping(mut self, early_stopping: Option<EarlyStoppingConfig>) -> Self {
        self.early_stopping = early_stopping;
        self
    }

    /// Sets the source of all chance.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Sets whether the validation loss has noise.
    #[must_use]
    pub fn with_validation_noise(mut self, validation_noise: ValidationNoise) -> Self {
        self.validation_noise = validation_noise;
        self
    }

    /// Sets the number of batches read ahead.
    #[must_use]
    pub fn with_prefetch(mut self, prefetch: usize) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Sets the number of threads that read ahead.
    #[must_use]
    pub fn with_read_threads(mut self, threads: usize) -> Self {
        self.read_threads = threads;
        self
    }

    /// How batches are read ahead.
    pub(super) fn reading(&self) -> Prefetch {
        Prefetch {
            batches: self.prefetch,
            threads: self.read_threads,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (setting, value) in [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("accumulate", self.accumulate),
            ("prefetch", self.prefetch),
            ("read_threads", self.read_threads),
        ] {
            check_count(setting, value)?;
        }
        check_learning_rate("learning_rate", self.learning_rate)?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        if let Some(clip) = &self.clip {
            clip.validate()?;
        }
        for (name, group) in &self.groups {
            group.validate(name)?;
        }
        if let Some(ema) = &self.ema {
            ema.validate()?;
        }
        if let Some(early_stopping) = &self.early_stopping {
            early_stopping.validate()?;
        }
        Ok(())
    }

    /// The settings of a group of weights.
    pub(super) fn group(&self, name: &str) -> GroupSettings<'_> {
        let own = self.groups.get(name);
        GroupSettings {
            learning_rate: own
                .and_then(|g| g.learning_rate)
                .unwrap_or(self.learning_rate),
            optimizer: own
                .and_then(|g| g.optimizer.as_ref())
                .unwrap_or(&self.optimizer),
            schedule: own
                .and_then(|g| g.schedule.as_ref())
                .unwrap_or(&self.schedule),
            clip: own.and_then(|g| g.clip.as_ref()).or(self.clip.as_ref()),
        }
    }

    /// All schedules of the run.
    pub(super) fn schedules(&self) -> impl Iterator<Item = &ScheduleConfig> {
        let own = self.groups.values().filter_map(|g| g.schedule.as_ref());
        own.chain([&self.schedule])
    }
}

/// What differs for one group of weights; what is none is as in [`FitConfig`].
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{FitConfig, GroupConfig};
///
/// let json = r#"{"groups": {"adversary": {"learning_rate": 1e-4}}}"#;
/// let config: FitConfig = serde_json::from_str(json)?;
/// let adversary = GroupConfig::new().with_learning_rate(Some(1e-4));
/// assert_eq!(config, FitConfig::new().with_group("adversary", adversary));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "param_groups")]
pub struct GroupConfig {
    /// The learning rate that the schedule starts from.
    pub learning_rate: Option<f64>,
    /// The optimizer.
    pub optimizer: Option<OptimizerConfig>,
    /// How the learning rate changes.
    pub schedule: Option<ScheduleConfig>,
    /// Keeps gradients from growing too large.
    pub clip: Option<ClipConfig>,
}

impl GroupConfig {
    /// Nothing differs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the learning rate that the schedule starts from.
    #[must_use]
    pub fn with_learning_rate(mut self, learning_rate: Option<f64>) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Sets the optimizer.
    #[must_use]
    pub fn with_optimizer(mut self, optimizer: Option<OptimizerConfig>) -> Self {
        self.optimizer = optimizer;
        self
    }

    /// Sets how the learning rate changes.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Option<ScheduleConfig>) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets gradient clipping.
    #[must_use]
    pub fn with_clip(mut self, clip: Option<ClipConfig>) -> Self {
        self.clip = clip;
        self
    }

    fn validate(&self, name: &str) -> Result<(), ConfigError> {
        let rate = self
            .learning_rate
            .map(|rate| check_learning_rate("learning_rate", rate));
        let checks = [
            rate,
            self.optimizer.as_ref().map(OptimizerConfig::validate),
            self.schedule.as_ref().map(ScheduleConfig::validate),
            self.clip.as_ref().map(ClipConfig::validate),
        ];
        let all: Result<(), ConfigError> = checks.into_iter().flatten().collect();
        all.map_err(|error| error.within(&format!("groups.{name}")))
    }
}

/// The settings of a group after its own are put over those of the run.
pub(super) struct GroupSettings<'a> {
    pub(super) learning_rate: f64,
    pub(super) optimizer: &'a OptimizerConfig,
    pub(super) schedule: &'a ScheduleConfig,
    pub(super) clip: Option<&'a ClipConfig>,
}

fn check_learning_rate(setting: &str, rate: f64) -> Result<(), ConfigError> {
    let valid = rate > 0.0 && rate.is_finite();
    check_range(setting, rate, valid, "a finite number above 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{AdamConfig, StepConfig};

    #[test]
    fn a_setting_of_a_group_is_named_with_its_group() {
        let group = GroupConfig::new;
        let refused = |group: GroupConfig| {
            let config = FitConfig::new().with_group("critic", group);
            config.validate().unwrap_err().to_string()
        };
        for (group, setting) in [
            (
                group().with_learning_rate(Some(-1.0)),
                "groups.critic.learning_rate",
            ),
            (
                group().with_optimizer(Some(AdamConfig::new().with_beta_1(2.0).into())),
                "groups.critic.adam.beta_1",
            ),
            (
                group().with_schedule(Some(StepConfig::new(0).into())),
                "groups.critic.step.",
            ),
            (
                group().with_clip(Some(ClipConfig::norm(0.0))),
                "groups.critic.clip.max_norm",
            ),
        ] {
            let message = refused(group);
            assert!(message.contains(&format!("`{setting}")), "{message}");
        }
    }

    #[test]
    fn counts_of_zero_are_refused() {
        for (config, setting) in [
            (FitConfig::new().with_epochs(0), "epochs"),
            (FitConfig::new().with_batch_size(0), "batch_size"),
            (FitConfig::new().with_accumulate(0), "accumulate"),
            (FitConfig::new().with_prefetch(0), "prefetch"),
            (FitConfig::new().with_read_threads(0), "read_threads"),
        ] {
            let zero = ConfigError::Zero {
                setting: setting.to_owned(),
            };
            assert_eq!(config.validate(), Err(zero));
        }
    }
}
