//! Losses: their parts, and the named sums of them that published models minimize.

mod objective;
mod reconstruction;

use candle_core::Tensor;

pub use objective::{VaeLossConfig, VqLossConfig, VqTotal};
pub use reconstruction::Reconstruction;

pub use crate::kernel::Reduction;

use crate::{Result, kernel};

/// The reconstruction loss: binary cross-entropy from the logits, summed over pixels and channels, mean over patches.
///
/// # Shapes
///
/// `logits` and `pixels`: `[n, y, x, c]`; result: a scalar.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when the shapes differ or there is no patch.
#[doc(alias = "binary_crossentropy")]
pub fn reconstruction(logits: &Tensor, pixels: &Tensor) -> Result<Tensor> {
    kernel::binary_cross_entropy(logits, pixels)
}

/// The Kullback–Leibler divergence from a standard normal: `−½ Σ (1 + lv − μ² − e^lv)`, summed over latents, mean over
/// patches (Kingma and Welling 2014, arXiv:1312.6114, appendix B).
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let mean = Tensor::new(&[[2.0_f32, 0.0]], &Device::Cpu)?;
/// let kl = phenocoder_model::loss::kl(&mean, &mean.zeros_like()?)?;
/// assert_eq!(kl.to_scalar::<f32>()?, 2.0);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `mean` and `log_var`: `[n, latent]`; result: a scalar.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when the shapes differ or there is no patch.
pub fn kl(mean: &Tensor, log_var: &Tensor) -> Result<Tensor> {
    kernel::kl_divergence(mean, log_var, 1.0)
}

/// The same with the logarithm of the variance doubled: `−½ Σ (1 + 2s − μ² − e^2s)`.
///
/// It is what a [`kl`] becomes that takes `s` for the logarithm of the standard deviation.
/// The original ME-VAE does so although its sampler takes `s` for the logarithm of the variance.
///
/// # Shapes
///
/// `mean` and `s`: `[n, latent]`; result: a scalar.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when the shapes differ or there is no patch.
pub fn kl_doubled(mean: &Tensor, s: &Tensor) -> Result<Tensor> {
    kernel::kl_divergence(mean, s, 2.0)
}

/// A loss that is summed per sample, reduced in another way; `x` holds the samples.
fn reduce(loss: Tensor, x: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let n = x.dims().first().copied().unwrap_or(1);
    let factor = match reduction {
        Reduction::SumPerSample => return Ok(loss),
        Reduction::Mean => n as f64 / x.elem_count().max(1) as f64,
        Reduction::Sum => n as f64,
    };
    Ok((loss * factor)?)
}
