//! The sums of parts that published models minimize.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Reconstruction, Reduction, kl, reduce};
use crate::error::check_range;
use crate::{ConfigError, Losses, Posterior, Result};

/// The loss of a variational autoencoder: reconstruction plus weighted divergence from the prior.
///
/// The default sums both over the values of a cell and takes the mean over cells, so that one weight means the same for
/// patches and latents of any size; the constructors named after other libraries give their numbers.
/// These differ by orders of magnitude for one network: see the table.
///
/// | constructor | reconstruction | divergence | weight |
/// |---|---|---|---|
/// | [`new`](Self::new) | BCE, sum per cell | sum per cell | 1 |
/// | [`pythae`](Self::pythae) | ½ squared error, sum per cell | sum per cell | 1, β in a β-VAE |
/// | [`autoencoder`](Self::autoencoder) | squared error, sum per cell | | 0 |
/// | [`bolts`](Self::bolts) | squared error, mean | mean over cells and latents | 1 |
/// | [`conv_vae`](Self::conv_vae) | squared error, mean | sum per cell | 0.00025 |
/// | [`legacy_vae`](Self::legacy_vae) | squared error, mean | sum over the batch | 1 |
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::Posterior;
/// use phenocoder_model::loss::VaeLossConfig;
///
/// let output = Tensor::new(&[[1.0_f32, 3.0]], &Device::Cpu)?;
/// let mean = Tensor::new(&[[2.0_f32]], &Device::Cpu)?;
/// let posterior = Posterior::new(mean.clone(), Some(mean.zeros_like()?));
/// let beta_vae = VaeLossConfig::pythae().with_kl_weight(4.0);
/// let losses = beta_vae.losses(&output, &output.zeros_like()?, &posterior)?;
/// assert_eq!(losses.total.to_scalar::<f32>()?, 5.0 + 4.0 * 2.0);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VaeLossConfig {
    /// How output and pixels are compared (default binary cross-entropy).
    pub reconstruction: Reconstruction,
    /// How that becomes one number (default the sum per cell, mean over cells).
    pub reduction: Reduction,
    /// The weight of the divergence, the β of a β-VAE (default 1); 0 leaves it out.
    #[doc(alias = "beta")]
    #[doc(alias = "kl_coeff")]
    pub kl_weight: f64,
    /// How the divergence becomes one number (default the sum per cell, mean over cells).
    pub kl_reduction: Reduction,
}

impl Default for VaeLossConfig {
    fn default() -> Self {
        Self {
            reconstruction: Reconstruction::Bce,
            reduction: Reduction::SumPerSample,
            kl_weight: 1.0,
            kl_reduction: Reduction::SumPerSample,
        }
    }
}

impl VaeLossConfig {
    /// Binary cross-entropy and divergence, each summed over a cell: the negative evidence lower bound
    /// (Kingma and Welling 2014, arXiv:1312.6114).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// pythae's `VAE` and `BetaVAE` with `reconstruction_loss="mse"`: half the squared error.
    /// With `"bce"` they are [`new`](Self::new).
    #[must_use]
    pub fn pythae() -> Self {
        Self::default().with_reconstruction(Reconstruction::HalfMse)
    }

    /// pythae's `AE`: the squared error alone, without ½.
    #[must_use]
    pub fn autoencoder() -> Self {
        Self::default()
            .with_reconstruction(Reconstruction::Mse)
            .with_kl_weight(0.0)
    }

    /// The `VAE` of lightning-bolts: both parts are means over everything, so the divergence counts by the number of pixels
    /// over that of latents more than in the others.
    #[must_use]
    pub fn bolts() -> Self {
        Self::default()
            .with_reconstruction(Reconstruction::Mse)
            .with_reduction(Reduction::Mean)
            .with_kl_reduction(Reduction::Mean)
    }

    /// bioimage_embed's convolutional VAE: mean squared error and 0.00025 times the divergence.
    #[must_use]
    pub fn conv_vae() -> Self {
        Self::default()
            .with_reconstruction(Reconstruction::Mse)
            .with_reduction(Reduction::Mean)
            .with_kl_weight(0.00025)
    }

    /// bioimage_embed's legacy VAE: the divergence is summed over the batch too, so it grows with the batch and outweighs the
    /// mean squared error by far.
    #[must_use]
    pub fn legacy_vae() -> Self {
        Self::default()
            .with_reconstruction(Reconstruction::Mse)
            .with_reduction(Reduction::Mean)
            .with_kl_reduction(Reduction::Sum)
    }

    /// Sets how output and pixels are compared.
    #[must_use]
    pub fn with_reconstruction(mut self, reconstruction: Reconstruction) -> Self {
        self.reconstruction = reconstruction;
        self
    }

    /// Sets how the reconstruction becomes one number.
    #[must_use]
    pub fn with_reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Sets the weight of the divergence.
    #[must_use]
    pub fn with_kl_weight(mut self, kl_weight: f64) -> Self {
        self.kl_weight = kl_weight;
        self
    }

    /// Sets how the divergence becomes one number.
    #[must_use]
    pub fn with_kl_reduction(mut self, kl_reduction: Reduction) -> Self {
        self.kl_reduction = kl_reduction;
        self
    }

    /// Checks the weight.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] when it is negative or not finite.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let valid = self.kl_weight >= 0.0 && self.kl_weight.is_finite();
        let expected = "a finite number of at least 0";
        check_range("kl_weight", self.kl_weight, valid, expected)
    }

    /// The loss of a batch with the parts `reconstruction` and, where there is a variance, `kl` (without its weight).
    ///
    /// # Shapes
    ///
    /// `output` and `pixels`: the same, samples first; `posterior`: `[n, latent]`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`](crate::Error::Tensor) when the shapes do not fit or there is no sample.
    pub fn losses(
        &self,
        output: &Tensor,
        pixels: &Tensor,
        posterior: &Posterior,
    ) -> Result<Losses> {
        let reconstruction = self.reconstruction.loss(output, pixels, self.reduction)?;
        let mut losses = Losses::new(
            reconstruction.clone(),
            vec![("reconstruction", reconstruction)],
        );
        if let Some(log_var) = posterior.log_var.as_ref().filter(|_| self.kl_weight != 0.0) {
            let kl = kl(&posterior.mean, log_var)?;
            let kl = reduce(kl, log_var, self.kl_reduction)?;
            losses.total = (losses.total + (&kl * self.kl_weight)?)?;
            losses.parts.push(("kl", kl));
        }
        Ok(losses)
    }
}

/// How a [`VqLossConfig`] adds up its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VqTotal {
    /// Reconstruction plus quantization.
    #[default]
    Sum,
    /// As bioimage_embed's legacy VQ-VAE: the error summed over the whole batch, plus quantization, less the mean error, which
    /// alone is reported.
    /// The subtraction is a slip of the original.
    Legacy,
}

/// The loss of an autoencoder with a codebook: reconstruction plus the codebook's own loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VqLossConfig {
    /// How output and pixels are compared (default squared error).
    pub reconstruction: Reconstruction,
    /// How that becomes one number (default the sum per cell, mean over cells).
    pub reduction: Reduction,
    /// How the parts are added up (default their sum).
    pub total: VqTotal,
}

impl Default for VqLossConfig {
    fn default() -> Self {
        Self {
            reconstruction: Reconstruction::Mse,
            reduction: Reduction::SumPerSample,
            total: VqTotal::Sum,
        }
    }
}

impl VqLossConfig {
    /// pythae's `VQVAE`: the squared error without ½, summed over a cell, mean over cells, plus the codebook's loss.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// bioimage_embed's legacy VQ-VAE to its number: see [`VqTotal::Legacy`].
    #[must_use]
    pub fn legacy() -> Self {
        Self::default()
            .with_reduction(Reduction::Mean)
            .with_total(VqTotal::Legacy)
    }

    /// Sets how output and pixels are compared.
    #[must_use]
    pub fn with_reconstruction(mut self, reconstruction: Reconstruction) -> Self {
        self.reconstruction = reconstruction;
        self
    }

    /// Sets how the reconstruction becomes one number.
    #[must_use]
    pub fn with_reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Sets how the parts are added up.
    #[must_use]
    pub fn with_total(mut self, total: VqTotal) -> Self {
        self.total = total;
        self
    }

    /// The loss of a batch with the parts `reconstruction` and `quantization`.
    ///
    /// # Shapes
    ///
    /// `output` and `pixels`: the same, samples first; `quantization`: a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`](crate::Error::Tensor) when the shapes do not fit or there is no sample.
    pub fn losses(
        &self,
        output: &Tensor,
        pixels: &Tensor,
        quantization: &Tensor,
    ) -> Result<Losses> {
        let loss = |reduction| self.reconstruction.loss(output, pixels, reduction);
        let reconstruction = loss(self.reduction)?;
        let (total, quantization) = match self.total {
            VqTotal::Sum => ((&reconstruction + quantization)?, quantization.clone()),
            VqTotal::Legacy => {
                let reported = (quantization - &reconstruction)?;
                ((loss(Reduction::Sum)? + &reported)?, reported)
            }
        };
        let parts = vec![
            ("reconstruction", reconstruction),
            ("quantization", quantization),
        ];
        Ok(Losses::new(total, parts))
    }
}
