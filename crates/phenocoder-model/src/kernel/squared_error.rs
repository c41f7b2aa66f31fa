//! Squared errors, forward and backward in one pass each.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::op::{slice, tensor_like, with_slice};
use super::{is_native, pairs};
use crate::Result;

/// How a loss over many values becomes one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reduction {
    /// The sum over the values of a sample, mean over samples.
    #[default]
    SumPerSample,
    /// The mean over all values: PyTorch's `reduction="mean"`.
    Mean,
    /// The sum over all values, which grows with the number of samples: PyTorch's `reduction="sum"`.
    Sum,
}

/// `Σ (a − b)²`, reduced to one number.
///
/// Both sides receive a gradient where they depend on a variable.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::kernel::{Reduction, squared_error};
///
/// let a = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let b = a.zeros_like()?;
/// assert_eq!(squared_error(&a, &b, Reduction::SumPerSample)?.to_scalar::<f32>()?, 15.0);
/// assert_eq!(squared_error(&a, &b, Reduction::Mean)?.to_scalar::<f32>()?, 7.5);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `a` and `b`: the same, samples first; result: a scalar.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes or types differ or there are no values.
#[doc(alias = "mse_loss")]
#[doc(alias = "mean_squared_error")]
pub fn squared_error(a: &Tensor, b: &Tensor, reduction: Reduction) -> Result<Tensor> {
    let values = a.elem_count();
    if a.dims() != b.dims() || a.dtype() != b.dtype() || values == 0 {
        let words = |t: &Tensor| format!("{:?} {:?}", t.dtype(), t.dims());
        let message = format!("squared_error: {} and {} do not fit", words(a), words(b));
        return Err(candle_core::Error::msg(message).into());
    }
    let divisor = match reduction {
        Reduction::SumPerSample => a.dims().first().copied().unwrap_or(1),
        Reduction::Mean => values,
        Reduction::Sum => 1,
    };
    let factor = 1.0 / divisor as f64;
    if !is_native(a) {
        return Ok(((a - b)?.sqr()?.sum_all()? * factor)?);
    }
    Ok(a.contiguous()?
        .apply_op2(&b.contiguous()?, SquaredError { factor })?)
}

#[derive(Debug)]
struct SquaredError {
    factor: f64,
}

impl CustomOp2 for SquaredError {
    fn name(&self) -> &'static str {
        "squared-error"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let sum = pairs::sum(slice(s1, l1)?, slice(s2, l2)?, |a, b| (a - b) * (a - b));
        let value = (sum * self.factor) as f32;
        Ok((CpuStorage::F32(vec![value]), Shape::from(())))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let factor = (2.0 * self.factor * f64::from(gradient.to_scalar::<f32>()?)) as f32;
        let by = |tracked: bool, factor: f32| {
            let values = match tracked {
                true => Some(with_slice(a, |a| {
                    with_slice(b, |b| pairs::map(a, b, |a, b| (a - b) * factor))
                })??),
                false => None,
            };
            tensor_like(values, Some(a))
        };
        Ok((by(a.track_op(), factor)?, by(b.track_op(), -factor)?))
    }
}
