//! The parts of the loss that are this model's own.

use candle_core::Tensor;
use phenocoder_core::PatchShape;
use serde::{Deserialize, Serialize};

use super::{Fusion, Likelihood};
use crate::{Posterior, Result, loss};

/// The form of the Kullback–Leibler part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KlForm {
    /// The divergence of the distribution that is sampled: `−½ Σ (1 + s − μ² − e^s)` with `s` the logarithm of the variance.
    #[default]
    Standard,
    /// As the original: `−½ Σ (1 + 2s − μ² − e^2s)`.
    ///
    /// It takes `s` for the logarithm of the standard deviation, while the sampler takes it for that of the variance.
    /// Around `s = 0` it is about four times as steep, so distributions are pulled harder to unit variance.
    Doubled,
}

impl KlForm {
    /// The divergence from a standard normal, summed over latents, mean over patches.
    pub(super) fn divergence(self, mean: &Tensor, log_var: &Tensor) -> Result<Tensor> {
        match self {
            Self::Standard => loss::kl(mean, log_var),
            Self::Doubled => loss::kl_doubled(mean, log_var),
        }
    }
}

/// The Kullback–Leibler part: the mean over encoders where latents are multiplied, else that of the fused distribution.
pub(super) fn divergence(
    form: KlForm,
    fusion: Fusion,
    posteriors: &[(Tensor, Tensor)],
    fused: &Posterior,
) -> Result<Tensor> {
    match (fusion, &fused.log_var) {
        (Fusion::ProductOfExperts | Fusion::Mean, Some(log_var)) => {
            form.divergence(&fused.mean, log_var)
        }
        _ => {
            let mut sum = Tensor::zeros((), candle_core::DType::F32, fused.mean.device())?;
            for (mean, log_var) in posteriors {
                sum = (sum + form.divergence(mean, log_var)?)?;
            }
            Ok((sum / posteriors.len().max(1) as f64)?)
        }
    }
}

/// The reconstruction part from the binary cross-entropy summed over pixels and channels.
pub(super) fn reconstruction(
    likelihood: Likelihood,
    entropy: Tensor,
    input: PatchShape,
) -> Result<Tensor> {
    match likelihood {
        Likelihood::Bernoulli => Ok(entropy),
        Likelihood::BernoulliChannelMean => Ok((entropy / input.channels as f64)?),
    }
}
