//! How output and pixels are compared.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::{Reduction, reduce};
use crate::{Result, kernel};

/// How the output of a decoder is compared with the pixels.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::loss::{Reconstruction, Reduction};
///
/// let output = Tensor::new(&[[1.0_f32, 3.0]], &Device::Cpu)?;
/// let pixels = output.zeros_like()?;
/// let whole = Reconstruction::Mse.loss(&output, &pixels, Reduction::SumPerSample)?;
/// let half = Reconstruction::HalfMse.loss(&output, &pixels, Reduction::SumPerSample)?;
/// assert_eq!((whole.to_scalar::<f32>()?, half.to_scalar::<f32>()?), (10.0, 5.0));
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reconstruction {
    /// Binary cross-entropy; the output holds logits.
    #[default]
    Bce,
    /// Squared error; the output holds pixels.
    Mse,
    /// Half the squared error: up to a constant, what a normal distribution of variance 1 round the output gives the pixels.
    HalfMse,
}

impl Reconstruction {
    /// The loss.
    ///
    /// # Shapes
    ///
    /// `output` and `pixels`: the same, samples first; result: a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`](crate::Error::Tensor) when the shapes differ or there is no sample.
    pub fn loss(self, output: &Tensor, pixels: &Tensor, reduction: Reduction) -> Result<Tensor> {
        match self {
            Self::Bce => {
                let sum = kernel::binary_cross_entropy(output, pixels)?;
                reduce(sum, output, reduction)
            }
            Self::Mse => kernel::squared_error(output, pixels, reduction),
            Self::HalfMse => Ok((kernel::squared_error(output, pixels, reduction)? * 0.5)?),
        }
    }

    /// The pixels that an output stands for: the sigmoid of logits, else the output itself.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`](crate::Error::Tensor) when the device fails.
    pub fn pixels(self, output: &Tensor) -> Result<Tensor> {
        match self {
            Self::Bce => Ok(candle_nn::ops::sigmoid(output)?),
            Self::Mse | Self::HalfMse => Ok(output.clone()),
        }
    }
}
