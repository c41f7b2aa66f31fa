//! Patches from the prior.

use ndarray::Array2;
use phenocoder_core::{Progress, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use super::{Generated, decode};
use crate::error::check_range;
use crate::{Autoencoder, ConfigError, Result};

/// The settings of [`sample`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SampleConfig {
    /// The number of patches (default 64).
    pub n: usize,
    /// The source of all chance (default 0); every patch has a stream of its own.
    pub seed: Seed,
    /// The condition of all patches, one number per condition column (default none).
    pub condition: Vec<f32>,
    /// What the latents' standard deviation is multiplied by (default 1); below 1 patches are more typical and less various.
    pub temperature: f64,
    /// Patches per batch (default 64); it does not change the result.
    pub batch_size: usize,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self {
            n: 64,
            seed: Seed::default(),
            condition: Vec::new(),
            temperature: 1.0,
            batch_size: 64,
        }
    }
}

impl SampleConfig {
    /// This many patches.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self {
            n,
            ..Self::default()
        }
    }

    /// Sets the source of all chance.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the condition of all patches.
    #[must_use]
    pub fn with_condition(mut self, condition: impl Into<Vec<f32>>) -> Self {
        self.condition = condition.into();
        self
    }

    /// Sets what the latents' standard deviation is multiplied by.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets the patches per batch.
    #[must_use]
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        super::check_batch_size(self.batch_size)?;
        let valid = self.temperature >= 0.0 && self.temperature.is_finite();
        let expected = "a finite number of at least 0";
        check_range("temperature", self.temperature, valid, expected)
    }
}

/// Patches that the network imagines: latents drawn from its [prior](Autoencoder::sample_prior), decoded under one condition.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{NoProgress, PatchShape, Seed};
/// use phenocoder_model::{CvaeConfig, SampleConfig, sample};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 3).with_conv_layers([4]).with_n_conditions(2);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let settings = SampleConfig::new(5).with_seed(Seed::new(7)).with_condition([0.0, 1.0]);
/// let samples = sample(&model, &settings, &NoProgress)?;
/// assert_eq!((samples.latents.dim(), samples.patches.dim()), ((5, 3), (5, 4, 4, 1)));
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) when a setting is out of range; [`Error::Shape`](crate::Error::Shape) when the
/// condition has not one number per column of the model; [`Error::Cancelled`](crate::Error::Cancelled);
/// [`Error::Tensor`](crate::Error::Tensor) when the device fails.
#[doc(alias = "generate")]
pub fn sample(
    model: &dyn Autoencoder,
    config: &SampleConfig,
    progress: &dyn Progress,
) -> Result<Generated> {
    config.validate()?;
    let k = model.n_conditions();
    ShapeError::check_len("condition", k, config.condition.len())?;
    let (n, width) = (config.n, model.latent_dim());
    let temperature = config.temperature as f32;
    let latents = model.sample_prior(n, config.seed) * temperature;
    ShapeError::check_len("latents", width, latents.ncols())?;
    let conditions = Array2::from_shape_fn((n, k), |(_, column)| config.condition[column]);
    let patches = decode(
        model,
        latents.view(),
        conditions.view(),
        config.batch_size,
        progress,
    )?;
    Ok(Generated { latents, patches })
}
