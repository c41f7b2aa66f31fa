//! The settings of the network.

use candle_core::Device;
use phenocoder_core::{PatchShape, Seed};
use serde::{Deserialize, Serialize};

use super::{CondCvae, Cvae};
use crate::error::{check_count, check_range};
use crate::models::{check_halving, halved, layer_count};
use crate::{ConfigError, Result};

/// The settings of a [`Cvae`] or [`CondCvae`].
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchShape, Seed};
/// use phenocoder_model::models::cvae::CvaeConfig;
///
/// let config = CvaeConfig::new(PatchShape::new(32, 32, 4), 32).with_n_conditions(53);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// assert_eq!(model.parameters().count(), 222_628);
///
/// let refused = CvaeConfig::new(PatchShape::new(48, 48, 4), 32).validate().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "patches of 48×48 cannot be halved 5 times: both sides must be divisible by 32, or use fewer layers"
/// );
/// # use phenocoder_model::Autoencoder;
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CvaeConfig {
    /// The patches that the network takes.
    pub input: PatchShape,
    /// The channels of each convolution of the encoder (default 8, 16, 32, 64, 128); the decoder reverses them.
    #[serde(default = "default_conv_layers")]
    pub conv_layers: Vec<usize>,
    /// The width of the encoder's dense layer (default 64).
    #[serde(default = "default_dense_dim")]
    pub dense_dim: usize,
    /// The number of latents.
    pub latent_dim: usize,
    /// The fraction of values dropped after both dense layers while training (default 0.25).
    #[serde(default = "default_dropout")]
    pub dropout: f64,
    /// The weight of the Kullback–Leibler part of the loss (default 0.01).
    #[serde(default = "default_beta")]
    pub beta: f64,
    /// One-hot condition columns; 0 (the default) builds a network without conditions.
    #[serde(default)]
    pub n_conditions: usize,
}

fn default_conv_layers() -> Vec<usize> {
    vec![8, 16, 32, 64, 128]
}

fn default_dense_dim() -> usize {
    64
}

fn default_dropout() -> f64 {
    0.25
}

fn default_beta() -> f64 {
    0.01
}

impl CvaeConfig {
    /// The default network for these patches with this many latents, without conditions.
    #[must_use]
    pub fn new(input: PatchShape, latent_dim: usize) -> Self {
        Self {
            input,
            conv_layers: default_conv_layers(),
            dense_dim: default_dense_dim(),
            latent_dim,
            dropout: default_dropout(),
            beta: default_beta(),
            n_conditions: 0,
        }
    }

    /// Sets the channels of each convolution of the encoder.
    #[must_use]
    pub fn with_conv_layers(mut self, conv_layers: impl Into<Vec<usize>>) -> Self {
        self.conv_layers = conv_layers.into();
        self
    }

    /// Sets the width of the encoder's dense layer.
    #[must_use]
    pub fn with_dense_dim(mut self, dense_dim: usize) -> Self {
        self.dense_dim = dense_dim;
        self
    }

    /// Sets the fraction of values dropped while training.
    #[must_use]
    pub fn with_dropout(mut self, dropout: f64) -> Self {
        self.dropout = dropout;
        self
    }

    /// Sets the weight of the Kullback–Leibler part.
    #[must_use]
    pub fn with_beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Sets the number of one-hot condition columns.
    #[must_use]
    pub fn with_n_conditions(mut self, n_conditions: usize) -> Self {
        self.n_conditions = n_conditions;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Patch`] when a side of the patch is not divisible by 2 to the number of layers;
    /// [`ConfigError::Zero`] and [`ConfigError::Range`] when a number is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("input.height", self.input.height),
            ("input.width", self.input.width),
            ("input.channels", self.input.channels),
            ("conv_layers", self.conv_layers.len()),
            ("dense_dim", self.dense_dim),
            ("latent_dim", self.latent_dim),
        ];
        let widths = self.conv_layers.iter().map(|&width| ("conv_layers", width));
        for (setting, count) in positive.into_iter().chain(widths) {
            check_count(setting, count)?;
        }
        let valid = (0.0..1.0).contains(&self.dropout);
        let expected = "a number from 0 up to but not including 1";
        check_range("dropout", self.dropout, valid, expected)?;
        let valid = self.beta >= 0.0 && self.beta.is_finite();
        check_range("beta", self.beta, valid, "a finite number of at least 0")?;
        check_halving(self.input, self.conv_layers.len())
    }

    /// Builds the network with Glorot-uniform kernels and zero biases drawn from `seed`.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate), and [`Error::Tensor`](crate::Error::Tensor) when the device refuses.
    pub fn build(&self, seed: Seed, device: &Device) -> Result<Cvae> {
        Cvae::new(self, seed, device)
    }

    /// Builds the network and insists on conditions.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build), and [`ConfigError::NoConditions`] when `n_conditions` is 0.
    pub fn build_conditional(&self, seed: Seed, device: &Device) -> Result<CondCvae> {
        if self.n_conditions == 0 {
            return Err(ConfigError::NoConditions.into());
        }
        self.build(seed, device)
    }

    /// The number of weights of the network, `None` when it is beyond any memory.
    ///
    /// It is computed without building the network.
    #[must_use]
    pub fn parameter_count(&self) -> Option<usize> {
        let [h, w, first] = self.bottleneck();
        let mut total = 0_usize;
        let mut add = |count: Option<usize>| {
            total = total.checked_add(count?)?;
            Some(())
        };
        let mut channels = self.input.channels;
        for &width in &self.conv_layers {
            add(layer_count(channels, width, 9))?;
            channels = width;
        }
        let area = h.checked_mul(w)?;
        let flat = area.checked_mul(channels)?.checked_add(self.n_conditions)?;
        add(layer_count(flat, self.dense_dim, 1))?;
        add(layer_count(self.dense_dim, self.latent_dim, 1))?;
        add(layer_count(self.dense_dim, self.latent_dim, 1))?;
        let inner = area.checked_mul(first)?;
        add(layer_count(
            self.latent_dim.checked_add(self.n_conditions)?,
            inner,
            1,
        ))?;
        let mut channels = first;
        for &width in self.conv_layers.iter().rev() {
            add(layer_count(channels, width, 9))?;
            channels = width;
        }
        add(layer_count(channels, self.input.channels, 9))?;
        Some(total)
    }

    /// Rows, columns and channels of the innermost image.
    pub(super) fn bottleneck(&self) -> [usize; 3] {
        let [h, w] = halved(self.input, self.conv_layers.len());
        [h, w, self.conv_layers.first().copied().unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> CvaeConfig {
        CvaeConfig::new(PatchShape::new(32, 64, 4), 16)
    }

    #[test]
    fn defaults_are_valid_and_survive_json() {
        config().validate().unwrap();
        let text = serde_json::to_string(&config()).unwrap();
        assert_eq!(serde_json::from_str::<CvaeConfig>(&text).unwrap(), config());
        let short = r#"{"input":{"height":32,"width":64,"channels":4},"latent_dim":16}"#;
        assert_eq!(serde_json::from_str::<CvaeConfig>(short).unwrap(), config());
        let typo = short.replace("latent_dim", "latent_dims");
        assert!(serde_json::from_str::<CvaeConfig>(&typo).is_err());
    }

    #[test]
    fn every_rule_is_enforced() {
        let refused = |config: CvaeConfig| config.validate().unwrap_err().to_string();
        let mut zero = config();
        zero.input.channels = 0;
        assert_eq!(refused(zero), "`input.channels` must be at least 1");
        assert_eq!(
            refused(config().with_conv_layers([8, 0])),
            "`conv_layers` must be at least 1"
        );
        assert_eq!(
            refused(config().with_conv_layers([])),
            "`conv_layers` must be at least 1"
        );
        assert_eq!(
            refused(config().with_dense_dim(0)),
            "`dense_dim` must be at least 1"
        );
        assert!(refused(config().with_dropout(1.0)).starts_with("`dropout` is 1"));
        assert!(refused(config().with_beta(f64::NAN)).starts_with("`beta` is NaN"));
        assert!(refused(config().with_conv_layers([8; 6])).contains("divisible by 64"));
        assert!(refused(config().with_conv_layers([1; 200])).contains("200 times"));
        let error = config().build_conditional(Seed::new(0), &Device::Cpu);
        assert!(error.is_err());
    }
}
