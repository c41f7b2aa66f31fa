//! The settings of the network.

use candle_core::Device;
use phenocoder_core::{PatchShape, Seed};
use serde::{Deserialize, Serialize};

use super::{Fusion, KlForm, MeVae};
use crate::error::{check_count, check_range};
use crate::models::{check_halving, halved, layer_count};
use crate::{ConfigError, Result};

/// How wide the decoder's convolutions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecoderWidths {
    /// As the encoder's, reversed: 64, 32, 16 for 16, 32, 64.
    #[default]
    Mirrored,
    /// Twice as wide, as the original: 128, 64, 32 for 16, 32, 64.
    ///
    /// The original's counter has already been doubled once more when the decoder starts.
    OctaveAbove,
}

/// What the reconstruction part of the loss sums over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Likelihood {
    /// Binary cross-entropy summed over pixels and channels: the logarithm of a Bernoulli likelihood.
    #[default]
    Bernoulli,
    /// Binary cross-entropy summed over pixels, mean over channels, as the original: with more channels each counts less.
    BernoulliChannelMean,
}

/// The settings of a [`MeVae`].
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchShape, Seed};
/// use phenocoder_model::models::mevae::MeVaeConfig;
///
/// // The network of the paper's repository: two encoders of 2,153,600 weights and a decoder of 2,279,937.
/// let config = MeVaeConfig::compat(PatchShape::new(128, 128, 1), 128);
/// assert_eq!(config.parameter_count(), Some(6_587_137));
///
/// let refused = MeVaeConfig::new(PatchShape::new(36, 36, 1), 8).validate().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "patches of 36×36 cannot be halved 3 times: both sides must be divisible by 8, or use fewer layers"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MeVaeConfig {
    /// The patches that every encoder takes.
    pub input: PatchShape,
    /// The number of encoders, one for each view of a cell (default 2); 1 makes a plain variational autoencoder.
    #[serde(default = "default_n_encoders")]
    pub n_encoders: usize,
    /// The channels of each convolution of an encoder (default 16, 32, 64).
    #[serde(default = "default_conv_layers")]
    pub conv_layers: Vec<usize>,
    /// How wide the decoder's convolutions are (default mirrored).
    #[serde(default)]
    pub decoder: DecoderWidths,
    /// Rows and columns of every convolution's kernel (default 3).
    #[serde(default = "default_kernel_size")]
    pub kernel_size: usize,
    /// The width of the encoders' dense layer (default 128).
    #[serde(default = "default_dense_dim")]
    pub dense_dim: usize,
    /// The number of latents.
    pub latent_dim: usize,
    /// How the encoders' latents become one.
    #[serde(default)]
    pub fusion: Fusion,
    /// The form of the Kullback–Leibler part (default standard).
    #[serde(default)]
    pub kl: KlForm,
    /// What the reconstruction part sums over (default pixels and channels).
    #[serde(default)]
    pub likelihood: Likelihood,
    /// The weight of the Kullback–Leibler part (default 1).
    #[serde(default = "one")]
    pub kl_weight: f64,
    /// The standard deviation of the sampler's noise while training (default 1); the original's `epsilon_std`.
    #[serde(default = "one")]
    pub noise_std: f64,
}

fn default_n_encoders() -> usize {
    2
}

fn default_conv_layers() -> Vec<usize> {
    vec![16, 32, 64]
}

fn default_kernel_size() -> usize {
    3
}

fn default_dense_dim() -> usize {
    128
}

fn one() -> f64 {
    1.0
}

impl MeVaeConfig {
    /// The default network for these patches with this many latents and two encoders.
    #[must_use]
    pub fn new(input: PatchShape, latent_dim: usize) -> Self {
        Self {
            input,
            n_encoders: default_n_encoders(),
            conv_layers: default_conv_layers(),
            decoder: DecoderWidths::default(),
            kernel_size: default_kernel_size(),
            dense_dim: default_dense_dim(),
            latent_dim,
            fusion: Fusion::default(),
            kl: KlForm::default(),
            likelihood: Likelihood::default(),
            kl_weight: one(),
            noise_std: one(),
        }
    }

    /// The original's network and loss: latents multiplied, logarithm of the variance doubled in the Kullback–Leibler part,
    /// mean over channels, decoder twice as wide as the encoders.
    #[must_use]
    pub fn compat(input: PatchShape, latent_dim: usize) -> Self {
        Self::new(input, latent_dim)
            .with_decoder(DecoderWidths::OctaveAbove)
            .with_fusion(Fusion::Product)
            .with_kl(KlForm::Doubled)
            .with_likelihood(Likelihood::BernoulliChannelMean)
    }

    /// Sets the number of encoders.
    #[must_use]
    pub fn with_n_encoders(mut self, n_encoders: usize) -> Self {
        self.n_encoders = n_encoders;
        self
    }

    /// Sets the channels of each convolution of an encoder.
    #[must_use]
    pub fn with_conv_layers(mut self, conv_layers: impl Into<Vec<usize>>) -> Self {
        self.conv_layers = conv_layers.into();
        self
    }

    /// Sets how wide the decoder's convolutions are.
    #[must_use]
    pub fn with_decoder(mut self, decoder: DecoderWidths) -> Self {
        self.decoder = decoder;
        self
    }

    /// Sets rows and columns of every kernel.
    #[must_use]
    pub fn with_kernel_size(mut self, kernel_size: usize) -> Self {
        self.kernel_size = kernel_size;
        self
    }

    /// Sets the width of the encoders' dense layer.
    #[must_use]
    pub fn with_dense_dim(mut self, dense_dim: usize) -> Self {
        self.dense_dim = dense_dim;
        self
    }

    /// Sets how the encoders' latents become one.
    #[must_use]
    pub fn with_fusion(mut self, fusion: Fusion) -> Self {
        self.fusion = fusion;
        self
    }

    /// Sets the form of the Kullback–Leibler part.
    #[must_use]
    pub fn with_kl(mut self, kl: KlForm) -> Self {
        self.kl = kl;
        self
    }

    /// Sets what the reconstruction part sums over.
    #[must_use]
    pub fn with_likelihood(mut self, likelihood: Likelihood) -> Self {
        self.likelihood = likelihood;
        self
    }

    /// Sets the weight of the Kullback–Leibler part.
    #[must_use]
    pub fn with_kl_weight(mut self, kl_weight: f64) -> Self {
        self.kl_weight = kl_weight;
        self
    }

    /// Sets the standard deviation of the sampler's noise.
    #[must_use]
    pub fn with_noise_std(mut self, noise_std: f64) -> Self {
        self.noise_std = noise_std;
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
            ("n_encoders", self.n_encoders),
            ("conv_layers", self.conv_layers.len()),
            ("kernel_size", self.kernel_size),
            ("dense_dim", self.dense_dim),
            ("latent_dim", self.latent_dim),
        ];
        let widths = self.conv_layers.iter().map(|&width| ("conv_layers", width));
        for (setting, count) in positive.into_iter().chain(widths) {
            check_count(setting, count)?;
        }
        for (setting, value) in [("kl_weight", self.kl_weight), ("noise_std", self.noise_std)] {
            let valid = value >= 0.0 && value.is_finite();
            check_range(setting, value, valid, "a finite number of at least 0")?;
        }
        check_halving(self.input, self.conv_layers.len())
    }

    /// Builds the network with Glorot-uniform kernels and zero biases drawn from `seed`.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate), and [`Error::Tensor`](crate::Error::Tensor) when the device refuses.
    pub fn build(&self, seed: Seed, device: &Device) -> Result<MeVae> {
        MeVae::new(self, seed, device)
    }

    /// The number of weights of the network, `None` when it is beyond any memory.
    ///
    /// It is computed without building the network.
    #[must_use]
    pub fn parameter_count(&self) -> Option<usize> {
        self.encoder_count()?
            .checked_mul(self.n_encoders)?
            .checked_add(self.decoder_count()?)
    }

    /// The number of weights of one encoder.
    fn encoder_count(&self) -> Option<usize> {
        let mut total = 0_usize;
        let mut channels = self.input.channels;
        for &width in &self.conv_layers {
            total = total.checked_add(layer_count(channels, width, self.taps()?)?)?;
            channels = width;
        }
        let dense = layer_count(self.inner_count()?, self.dense_dim, 1)?;
        let head = layer_count(self.dense_dim, self.latent_dim, 1)?;
        total.checked_add(dense)?.checked_add(head.checked_mul(2)?)
    }

    /// The number of weights of the decoder.
    fn decoder_count(&self) -> Option<usize> {
        let mut total = layer_count(self.latent_dim, self.inner_count()?, 1)?;
        let [_, _, mut channels] = self.bottleneck();
        for width in self.decoder_layers()? {
            total = total.checked_add(layer_count(channels, width, self.taps()?)?)?;
            channels = width;
        }
        total.checked_add(layer_count(channels, self.input.channels, self.taps()?)?)
    }

    fn taps(&self) -> Option<usize> {
        self.kernel_size.checked_mul(self.kernel_size)
    }

    fn inner_count(&self) -> Option<usize> {
        let [h, w, c] = self.bottleneck();
        h.checked_mul(w)?.checked_mul(c)
    }

    /// The channels of each transposed convolution, `None` when a width is beyond any memory.
    pub(super) fn decoder_layers(&self) -> Option<Vec<usize>> {
        let factor = match self.decoder {
            DecoderWidths::Mirrored => 1,
            DecoderWidths::OctaveAbove => 2,
        };
        let reversed = self.conv_layers.iter().rev();
        reversed.map(|width| width.checked_mul(factor)).collect()
    }

    /// Rows, columns and channels of the innermost image.
    pub(super) fn bottleneck(&self) -> [usize; 3] {
        let [h, w] = halved(self.input, self.conv_layers.len());
        [h, w, self.conv_layers.last().copied().unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MeVaeConfig {
        MeVaeConfig::new(PatchShape::new(32, 64, 4), 16)
    }

    #[test]
    fn defaults_are_valid_and_survive_json() {
        config().validate().unwrap();
        let text = serde_json::to_string(&config()).unwrap();
        assert_eq!(
            serde_json::from_str::<MeVaeConfig>(&text).unwrap(),
            config()
        );
        let short = r#"{"input":{"height":32,"width":64,"channels":4},"latent_dim":16}"#;
        assert_eq!(
            serde_json::from_str::<MeVaeConfig>(short).unwrap(),
            config()
        );
        let typo = short.replace("latent_dim", "latent_dims");
        assert!(serde_json::from_str::<MeVaeConfig>(&typo).is_err());
    }

    #[test]
    fn every_rule_is_enforced() {
        let refused = |config: MeVaeConfig| config.validate().unwrap_err().to_string();
        let mut zero = config();
        zero.input.channels = 0;
        for (config, setting) in [
            (zero, "input.channels"),
            (config().with_n_encoders(0), "n_encoders"),
            (config().with_conv_layers([]), "conv_layers"),
            (config().with_conv_layers([8, 0]), "conv_layers"),
            (config().with_kernel_size(0), "kernel_size"),
            (config().with_dense_dim(0), "dense_dim"),
        ] {
            assert_eq!(refused(config), format!("`{setting}` must be at least 1"));
        }
        assert!(refused(config().with_kl_weight(f64::NAN)).starts_with("`kl_weight` is NaN"));
        assert!(refused(config().with_noise_std(-1.0)).starts_with("`noise_std` is -1"));
        assert!(refused(config().with_conv_layers([8; 6])).contains("divisible by 64"));
        assert!(refused(config().with_conv_layers([1; 200])).contains("200 times"));
        let huge = config().with_conv_layers([usize::MAX]);
        assert_eq!(huge.parameter_count(), None);
    }
}
