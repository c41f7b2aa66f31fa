//! The settings of a training run.

use phenocoder_core::Seed;
use serde::{Deserialize, Serialize};

use super::{AdamConfig, EarlyStoppingConfig, FlipConfig, PlateauConfig};
use crate::ConfigError;

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
    /// The learning rate to start with (default 1e-3).
    pub learning_rate: f64,
    /// The constants of the optimizer.
    pub adam: AdamConfig,
    /// Lowers the learning rate when the loss stands still (default: as [`PlateauConfig`]); none keeps it constant.
    pub plateau: Option<PlateauConfig>,
    /// Ends training when the loss stands still (default: as [`EarlyStoppingConfig`]); none trains all epochs and keeps the
    /// last weights.
    pub early_stopping: Option<EarlyStoppingConfig>,
    /// The source of all chance (default 0).
    pub seed: Seed,
    /// Whether the validation loss has noise (default off).
    pub validation_noise: ValidationNoise,
    /// Random flips of the training patches (default none), drawn anew for each patch in each epoch.
    pub augment: Option<FlipConfig>,
    /// Batches read ahead while the network works (default 2).
    pub prefetch: usize,
}

impl Default for FitConfig {
    /// The original's settings.
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_size: 64,
            learning_rate: 1e-3,
            adam: AdamConfig::default(),
            plateau: Some(PlateauConfig::default()),
            early_stopping: Some(EarlyStoppingConfig::default()),
            seed: Seed::default(),
            validation_noise: ValidationNoise::default(),
            augment: None,
            prefetch: 2,
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

    /// Sets the constants of the optimizer.
    #[must_use]
    pub fn with_adam(mut self, adam: AdamConfig) -> Self {
        self.adam = adam;
        self
    }

    /// Sets or removes the plateau schedule.
    #[must_use]
    pub fn with_plateau(mut self, plateau: Option<PlateauConfig>) -> Self {
        self.plateau = plateau;
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

    /// Sets or removes random flips.
    #[must_use]
    pub fn with_augment(mut self, augment: Option<FlipConfig>) -> Self {
        self.augment = augment;
        self
    }

    /// Sets the number of batches read ahead.
    #[must_use]
    pub fn with_prefetch(mut self, prefetch: usize) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (setting, value) in [("epochs", self.epochs), ("batch_size", self.batch_size)] {
            if value == 0 {
                return Err(ConfigError::Zero {
                    setting: setting.to_owned(),
                });
            }
        }
        check_range(
            "learning_rate",
            self.learning_rate,
            self.learning_rate > 0.0 && self.learning_rate.is_finite(),
            "a finite number above 0",
        )?;
        self.adam.validate()?;
        if let Some(plateau) = &self.plateau {
            plateau.validate()?;
        }
        if let Some(early_stopping) = &self.early_stopping {
            early_stopping.validate()?;
        }
        if let Some(augment) = &self.augment {
            augment.validate()?;
        }
        Ok(())
    }
}

pub(super) fn check_range(
    setting: &str,
    value: f64,
    valid: bool,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if valid {
        return Ok(());
    }
    Err(ConfigError::Range {
        setting: setting.to_owned(),
        value,
        expected,
    })
}
