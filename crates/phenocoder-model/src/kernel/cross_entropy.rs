//! Binary cross-entropy from logits, forward and backward in one pass each.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::elementary::{exp, ln_1p, sigmoid};
use super::is_native;
use super::op::{slice, with_slice};
use crate::Result;

/// The binary cross-entropy of `sigmoid(logits)` and `targets`, summed over pixels and channels, mean over samples.
///
/// It is computed as `max(x, 0) − x·t + ln(1 + e^−|x|)`, which neither overflows nor saturates: logit 30 with target 0 gives
/// 30 with gradient 1.
/// Targets receive no gradient.
///
/// # Shapes
///
/// `logits` and `targets`: the same, samples first; result: a scalar.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes or types differ or there is no sample.
pub fn binary_cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let n = logits.dims().first().copied().unwrap_or(0);
    if logits.dims() != targets.dims() || logits.dtype() != targets.dtype() || n == 0 {
        let message = format!(
            "binary_cross_entropy: logits {:?} {:?} and targets {:?} {:?} do not fit",
            logits.dtype(),
            logits.dims(),
            targets.dtype(),
            targets.dims()
        );
        return Err(candle_core::Error::msg(message).into());
    }
    #[cfg(feature = "cuda")]
    if let Some(sum) = super::cuda::cross_entropy(logits, targets)? {
        return Ok((sum / n as f64)?);
    }
    if !is_native(logits) {
        return Ok(composed(logits, &targets.detach(), n)?);
    }
    let (logits, targets) = (logits.contiguous()?, targets.contiguous()?);
    Ok(logits.apply_op2(&targets, CrossEntropy { samples: n })?)
}

/// The same in candle's operations.
fn composed(logits: &Tensor, targets: &Tensor, n: usize) -> candle_core::Result<Tensor> {
    let log_term = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let sum = ((logits.relu()? - (logits * targets)?)? + log_term)?.sum_all()?;
    sum / n as f64
}

#[derive(Debug)]
struct CrossEntropy {
    samples: usize,
}

/// Values per task and per `f32` partial sum; sums of tasks are added in `f64` in their order.
const CHUNK: usize = 1 << 13;

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "binary-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (logits, targets) = (slice(s1, l1)?, slice(s2, l2)?);
        let parts: Vec<f64> = logits
            .par_chunks(CHUNK)
            .zip(targets.par_chunks(CHUNK))
            .map(|(logits, targets)| Arch::new().dispatch(Forward { logits, targets }))
            .collect();
        let mean = parts.iter().sum::<f64>() / self.samples as f64;
        Ok((CpuStorage::F32(vec![mean as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let factor = gradient.to_scalar::<f32>()? / self.samples as f32;
        let values = with_slice(logits, |logits| {
            with_slice(targets, |targets| {
                let mut out = vec![0.0; logits.len()];
                out.par_chunks_mut(CHUNK)
                    .zip(logits.par_chunks(CHUNK).zip(targets.par_chunks(CHUNK)))
                    .for_each(|(out, (logits, targets))| {
                        Arch::new().dispatch(Backward {
                            logits,
                            targets,
                            factor,
                            out,
                        });
                    });
                out
            })
        })??;
        let dx = Tensor::from_vec(values, logits.shape(), logits.device())?;
        Ok((Some(dx), None))
    }
}

struct Forward<'a> {
    logits: &'a [f32],
    targets: &'a [f32],
}

impl WithSimd for Forward<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let mut sums = [0.0_f32; 16];
        let (logits, last) = self.logits.as_chunks::<16>();
        let (targets, last_targets) = self.targets.as_chunks::<16>();
        for (x, t) in logits.iter().zip(targets) {
            for i in 0..16 {
                sums[i] += term(x[i], t[i]);
            }
        }
        for (i, (&x, &t)) in last.iter().zip(last_targets).enumerate() {
            sums[i] += term(x, t);
        }
        sums.iter().map(|&sum| f64::from(sum)).sum()
    }
}

/// The sum over `logits` and `targets`.
pub(super) fn value(logits: &[f32], targets: &[f32]) -> f64 {
    Arch::new().dispatch(Forward { logits, targets })
}

/// The sum over `logits` and `targets`, and its gradient times `factor`.
pub(super) fn value_and_gradient(
    logits: &[f32],
    targets: &[f32],
    factor: f32,
    gradient: &mut [f32],
) -> f64 {
    Arch::new().dispatch(Both {
        logits,
        targets,
        factor,
        gradient,
    })
}

struct Both<'a> {
    logits: &'a [f32],
    targets: &'a [f32],
    factor: f32,
    gradient: &'a mut [f32],
}

impl WithSimd for Both<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let mut sums = [0.0_f32; 16];
        let (logits, last) = self.logits.as_chunks::<16>();
        let (targets, last_targets) = self.targets.as_chunks::<16>();
        let (gradient, last_gradient) = self.gradient.as_chunks_mut::<16>();
        for ((x, t), g) in logits.iter().zip(targets).zip(gradient) {
            for i in 0..16 {
                let (value, slope) = term_and_slope(x[i], t[i]);
                sums[i] += value;
                g[i] = slope * self.factor;
            }
        }
        let rest = last.iter().zip(last_targets).zip(last_gradient);
        for (i, ((&x, &t), g)) in rest.enumerate() {
            let (value, slope) = term_and_slope(x, t);
            sums[i] += value;
            *g = slope * self.factor;
        }
        sums.iter().map(|&sum| f64::from(sum)).sum()
    }
}

/// The term of one value and its derivative by the logit, with one exponential for both.
#[inline(always)]
fn term_and_slope(x: f32, t: f32) -> (f32, f32) {
    let positive = if x < 0.0 { 0.0 } else { x };
    let e = exp(-x.abs());
    let sigmoid = if x < 0.0 { e } else { 1.0 } / (1.0 + e);
    (positive - x * t + ln_1p(e), sigmoid - t)
}

#[inline(always)]
fn term(x: f32, t: f32) -> f32 {
    // `x.max(0.0)` would turn a NaN into 0 and hide it.
    let positive = if x < 0.0 { 0.0 } else { x };
    positive - x * t + ln_1p(exp(-x.abs()))
}

struct Backward<'a> {
    logits: &'a [f32],
    targets: &'a [f32],
    factor: f32,
    out: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((out, &x), &t) in self.out.iter_mut().zip(self.logits).zip(self.targets) {
            *out = (sigmoid(x) - t) * self.factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn the_bits_do_not_depend_on_the_width_of_the_vectors() {
        let mut stream = phenocoder_core::Seed::new(3).stream("bce", 0);
        for n in [1, 16, 17, 1000] {
            let mut draw = || -> Vec<f32> { (0..n).map(|_| stream.normal() as f32).collect() };
            let (logits, targets) = (&draw(), &draw());
            let of = |arch: Arch| {
                let (mut plain, mut both) = (vec![0.0; n], vec![0.0; n]);
                let factor = 0.3;
                let value = arch.dispatch(Forward { logits, targets });
                arch.dispatch(Backward {
                    logits,
                    targets,
                    factor,
                    out: &mut plain,
                });
                let again = arch.dispatch(Both {
                    logits,
                    targets,
                    factor,
                    gradient: &mut both,
                });
                ([value.to_bits(), again.to_bits()], plain, both)
            };
            assert_eq!(of(Arch::Scalar), of(Arch::new()), "{n} values");
        }
    }

    #[test]
    fn what_is_no_number_or_infinite_stays_so() {
        assert!(term(f32::NAN, 0.0).is_nan());
        assert!(!term(f32::INFINITY, 0.0).is_finite());
    }

    #[test]
    fn a_saturated_logit_keeps_its_loss_and_gradient() {
        // The golden's `saturation_logit30_target0`: 30.0 and 1.0, not the 16.118 and 0 of clipped probabilities.
        let logits = Var::new(&[[30.0_f32]], &Device::Cpu).unwrap();
        let targets = Tensor::new(&[[0.0_f32]], &Device::Cpu).unwrap();
        let loss = binary_cross_entropy(&logits, &targets).unwrap();
        assert_eq!(loss.to_scalar::<f32>().unwrap(), 30.0);
        let gradient = loss.backward().unwrap();
        let gradient = gradient.get(&logits).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(gradient, [[1.0]]);
    }

    #[test]
    fn the_fused_operation_equals_the_composed_one() {
        let mut stream = phenocoder_core::Seed::new(5).stream("bce", 0);
        let n = 3 * 5 * 7 * 31;
        let x: Vec<f32> = (0..n).map(|_| (stream.normal() * 4.0) as f32).collect();
        let t: Vec<f32> = (0..n).map(|_| stream.uniform() as f32).collect();
        let logits = Var::from_vec(x, (3, 5, 7, 31), &Device::Cpu).unwrap();
        let targets = Tensor::from_vec(t, (3, 5, 7, 31), &Device::Cpu).unwrap();
        let fused = binary_cross_entropy(&logits, &targets).unwrap();
        let plain = composed(&logits, &targets, 3).unwrap();
        let (a, b) = (
            fused.to_scalar::<f32>().unwrap(),
            plain.to_scalar::<f32>().unwrap(),
        );
        assert!((a - b).abs() <= 1e-5 * b, "{a} {b}");
        let values = |loss: Tensor| {
            let gradients = loss.backward().unwrap();
            let gradient = gradients.get(&logits).unwrap().flatten_all().unwrap();
            gradient.to_vec1::<f32>().unwrap()
        };
        for (a, b) in values(fused).into_iter().zip(values(plain)) {
            assert!((a - b).abs() <= 1e-6, "{a} {b}");
        }
    }
}
