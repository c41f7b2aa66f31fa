//! What happens between an encoder and a decoder: the divergence from the prior, and a sample.

use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, Layout, Result as CandleResult, Shape, Tensor,
};

use super::elementary::{exp, exp_m1, exp_m1_less_x};
use super::op::{slice, tensor_like, with_slice};
use super::{is_native, pairs};
use crate::Result;

/// `−½ Σ (1 + k·s − μ² − e^(k·s))` with `k` the `factor` and `s` the `log_var`, summed over latents, mean over samples.
///
/// With factor 1 it is the Kullback–Leibler divergence of `N(μ, e^s)` from a standard normal (Kingma and Welling 2014,
/// arXiv:1312.6114, appendix B); with factor 2 that of `N(μ, e^2s)`, for encoders whose `s` is the logarithm of the
/// standard deviation.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::kernel::kl_divergence;
///
/// let mean = Tensor::new(&[[1.0_f32, 0.0], [0.0, 2.0]], &Device::Cpu)?;
/// let kl = kl_divergence(&mean, &mean.zeros_like()?, 1.0)?;
/// assert_eq!(kl.to_scalar::<f32>()?, 1.25);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `mean` and `log_var`: the same, samples first; result: a scalar.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes or types differ or there is no sample.
#[doc(alias = "kl_loss")]
pub fn kl_divergence(mean: &Tensor, log_var: &Tensor, factor: f64) -> Result<Tensor> {
    let n = mean.dims().first().copied().unwrap_or(0);
    if n == 0 || !alike(mean, log_var) {
        return Err(refuse("kl_divergence", &[mean, log_var]));
    }
    #[cfg(feature = "cuda")]
    if let Some(sum) = super::cuda::divergence(mean, log_var, factor)? {
        return Ok((sum / n as f64)?);
    }
    if !is_native(mean) {
        let s = (log_var * factor)?;
        let terms = ((&s + 1.0)? - mean.sqr()?)?.sub(&s.exp()?)?;
        return Ok((terms.sum_all()? * (-0.5 / n as f64))?);
    }
    let op = Divergence { samples: n, factor };
    Ok(mean.contiguous()?.apply_op2(&log_var.contiguous()?, op)?)
}

/// A sample of `N(mean, e^log_var)` from standard normal noise: `mean + e^(log_var / 2) · noise`.
///
/// The noise receives no gradient (Kingma and Welling 2014, arXiv:1312.6114, §2.4: the reparameterization).
///
/// # Shapes
///
/// All three the same; the result too.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes or types differ.
#[doc(alias = "reparameterize")]
#[doc(alias = "Sampling")]
pub fn sample_normal(mean: &Tensor, log_var: &Tensor, noise: &Tensor) -> Result<Tensor> {
    if !alike(mean, log_var) || !alike(mean, noise) {
        return Err(refuse("sample_normal", &[mean, log_var, noise]));
    }
    if !is_native(mean) {
        let spread = (log_var * 0.5)?.exp()?;
        return Ok((spread * noise.detach())?.add(mean)?);
    }
    let (mean, log_var) = (mean.contiguous()?, log_var.contiguous()?);
    Ok(mean.apply_op3(&log_var, &noise.contiguous()?, Sample)?)
}

fn alike(a: &Tensor, b: &Tensor) -> bool {
    a.dims() == b.dims() && a.dtype() == b.dtype()
}

fn refuse(name: &str, tensors: &[&Tensor]) -> crate::Error {
    let words: Vec<String> = tensors
        .iter()
        .map(|t| format!("{:?} {:?}", t.dtype(), t.dims()))
        .collect();
    candle_core::Error::msg(format!("{name}: {} do not fit", words.join(", "))).into()
}

#[derive(Debug)]
struct Divergence {
    samples: usize,
    factor: f64,
}

impl CustomOp2 for Divergence {
    fn name(&self) -> &'static str {
        "kl-divergence"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let k = self.factor as f32;
        let sum = pairs::sum(slice(s1, l1)?, slice(s2, l2)?, |mean, s| {
            exp_m1_less_x(k * s) + mean * mean
        });
        let mean = (0.5 * sum / self.samples as f64) as f32;
        Ok((CpuStorage::F32(vec![mean]), Shape::from(())))
    }

    fn bwd(
        &self,
        mean: &Tensor,
        log_var: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>)> {
        let (factor, k) = (
            gradient.to_scalar::<f32>()? / self.samples as f32,
            self.factor as f32,
        );
        let by = |x: &Tensor, slope: &(dyn Fn(&[f32]) -> Vec<f32> + Sync)| {
            let values = match x.track_op() {
                true => Some(with_slice(x, slope)?),
                false => None,
            };
            tensor_like(values, Some(x))
        };
        Ok((
            by(mean, &|m| pairs::map(m, m, |m, _| m * factor))?,
            by(log_var, &|s| {
                pairs::map(s, s, |s, _| 0.5 * k * factor * exp_m1(k * s))
            })?,
        ))
    }
}

#[derive(Debug)]
struct Sample;

impl CustomOp3 for Sample {
    fn name(&self) -> &'static str {
        "sample-normal"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> CandleResult<(CpuStorage, Shape)> {
        let (mean, log_var, noise) = (slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
        let z = pairs::map3(mean, log_var, noise, |m, s, e| exp(0.5 * s).mul_add(e, m));
        Ok((CpuStorage::F32(z), l1.shape().clone()))
    }

    fn bwd(
        &self,
        mean: &Tensor,
        log_var: &Tensor,
        noise: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> CandleResult<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let by_log_var = match log_var.track_op() {
            true => Some(with_slice(log_var, |s| {
                with_slice(noise, |noise| {
                    with_slice(gradient, |gradient| {
                        pairs::map3(s, noise, gradient, |s, e, g| 0.5 * exp(0.5 * s) * e * g)
                    })
                })
            })???),
            false => None,
        };
        let by_mean = mean.track_op().then(|| gradient.clone());
        Ok((by_mean, tensor_like(by_log_var, Some(log_var))?, None))
    }
}
