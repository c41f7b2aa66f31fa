//! Batch normalization.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Shape, Tensor};
use serde::{Deserialize, Serialize};

use super::channels::{self, Affine, Moments};
use super::op::{slice, tensor_like, with_slice};
use super::{Activation, fallback, is_native};
use crate::error::check_range;
use crate::{ConfigError, Result};

/// How the variance of a batch enters the running one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunningVariance {
    /// Times `m / (m − 1)` for `m` values per channel, the estimate without bias: PyTorch, and TensorFlow's fused
    /// operation on images.
    #[default]
    Unbiased,
    /// As it normalizes: Keras on rows of features.
    Biased,
}

/// The settings of batch normalization.
///
/// # Examples
///
/// ```
/// use phenocoder_model::kernel::{BatchNormConfig, RunningVariance};
///
/// let torch = BatchNormConfig::new();
/// assert_eq!((torch.epsilon, torch.momentum), (1e-5, 0.1));
/// let keras = BatchNormConfig::keras().with_running_variance(RunningVariance::Biased);
/// assert_eq!(keras.epsilon, 1e-3);
/// assert!(keras.with_epsilon(-1.0).validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BatchNormConfig {
    /// Added to the variance before its root (default 1e-5, PyTorch's).
    pub epsilon: f64,
    /// The weight of the batch in the running statistics (default 0.1, PyTorch's; Keras gives that of the past, 0.99).
    pub momentum: f64,
    /// How the variance of a batch enters the running one (default [`RunningVariance::Unbiased`]).
    pub running_variance: RunningVariance,
    /// What follows (default [`Activation::Linear`]).
    pub activation: Activation,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchNormConfig {
    /// PyTorch's settings.
    #[must_use]
    pub fn new() -> Self {
        Self {
            epsilon: 1e-5,
            momentum: 0.1,
            running_variance: RunningVariance::Unbiased,
            activation: Activation::Linear,
        }
    }

    /// Keras' settings: epsilon 1e-3, the batch weighs 0.01.
    #[must_use]
    pub fn keras() -> Self {
        Self {
            epsilon: 1e-3,
            momentum: 0.01,
            ..Self::new()
        }
    }

    /// Sets what is added to the variance.
    #[must_use]
    pub fn with_epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets the weight of the batch in the running statistics.
    #[must_use]
    pub fn with_momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets how the variance of a batch enters the running one.
    #[must_use]
    pub fn with_running_variance(mut self, running_variance: RunningVariance) -> Self {
        self.running_variance = running_variance;
        self
    }

    /// Sets the activation.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the epsilon is negative or infinite, or the momentum outside 0 to 1.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let valid = self.epsilon.is_finite() && self.epsilon >= 0.0;
        check_range("epsilon", self.epsilon, valid, "a finite number from 0 on")?;
        let valid = (0.0..=1.0).contains(&self.momentum);
        check_range("momentum", self.momentum, valid, "a number from 0 to 1")
    }
}

/// The running mean and variance of every channel, which a model keeps as [`Role::Buffer`](crate::Role::Buffer).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunningStatistics {
    /// Means, `[c]`.
    pub mean: Tensor,
    /// Variances, `[c]`.
    pub variance: Tensor,
}

impl RunningStatistics {
    /// Statistics with these values.
    #[must_use]
    pub fn new(mean: Tensor, variance: Tensor) -> Self {
        Self { mean, variance }
    }
}

/// Normalizes with running statistics: `(x − mean) / √(variance + ε) · scale + offset`, then the activation.
///
/// The statistics are constants; input, scale and offset receive gradients.
///
/// # Shapes
///
/// `x`: `[…, c]`; `scale`, `offset` and the statistics: `[c]`; result: as `x`.
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) when the settings are not valid; [`Error::Tensor`](crate::Error::Tensor) when
/// shapes or types do not fit.
#[doc(alias = "BatchNorm2d")]
#[doc(alias = "BatchNormalization")]
pub fn batch_norm(
    x: &Tensor,
    scale: &Tensor,
    offset: &Tensor,
    statistics: &RunningStatistics,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    config.validate()?;
    check(x, scale, offset, statistics)?;
    let RunningStatistics { mean, variance } = statistics;
    if !is_native(x) {
        let (mean, variance) = (mean.detach(), variance.detach());
        let deviation = (variance + config.epsilon)?.sqrt()?;
        let y = x.broadcast_sub(&mean)?.broadcast_div(&deviation)?;
        let y = y.broadcast_mul(scale)?.broadcast_add(offset)?;
        return Ok(fallback::activate(&y, config.activation)?);
    }
    let values = |t: &Tensor| t.to_dtype(DType::F64)?.to_vec1::<f64>();
    let moments = Moments {
        count: 0,
        mean: values(mean)?,
        variance: values(variance)?,
    };
    apply(x, scale, offset, moments, false, config)
}

/// Normalizes with the mean and the variance of the batch, and returns the running statistics after it.
///
/// Means and variances are taken in double precision, and centered before they are squared, so that a large mean costs no
/// digits; the gradient flows through them (Ioffe and Szegedy 2015, arXiv:1502.03167, §3).
///
/// Differences from PyTorch: a batch with one value per channel is no error; it gives the offset, and its variance enters
/// the running one as it is (as in TensorFlow). An empty batch leaves the running statistics as they are.
///
/// # Examples
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use phenocoder_model::kernel::{BatchNormConfig, RunningStatistics, batch_norm_train};
///
/// let vector = |value: f32| Tensor::new(&[value], &Device::Cpu);
/// let x = Tensor::new(&[[1.0_f32], [3.0]], &Device::Cpu)?;
/// let before = RunningStatistics::new(vector(0.0)?, vector(1.0)?);
/// let config = BatchNormConfig::new().with_epsilon(0.0);
/// let (y, after) = batch_norm_train(&x, &vector(1.0)?, &vector(0.0)?, &before, &config)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[-1.0], [1.0]]);
/// assert_eq!(after.mean.to_vec1::<f32>()?, [0.2]);
/// assert_eq!(after.variance.to_vec1::<f32>()?, [1.1]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `x`: `[…, c]`; `scale`, `offset` and the statistics: `[c]`; result: as `x`.
///
/// # Errors
///
/// As [`batch_norm`].
pub fn batch_norm_train(
    x: &Tensor,
    scale: &Tensor,
    offset: &Tensor,
    statistics: &RunningStatistics,
    config: &BatchNormConfig,
) -> Result<(Tensor, RunningStatistics)> {
    config.validate()?;
    let channels = check(x, scale, offset, statistics)?;
    if x.elem_count() == 0 {
        return Ok((
            batch_norm(x, scale, offset, statistics, config)?,
            statistics.clone(),
        ));
    }
    if !is_native(x) {
        return composed(x, scale, offset, statistics, config);
    }
    let moments = with_slice(x, |x| channels::moments(x, channels))?;
    let vector = |values: Vec<f64>| {
        let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
        Tensor::from_vec(values, channels, x.device())
    };
    let batch = RunningStatistics::new(
        vector(moments.mean.clone())?,
        vector(moments.variance.clone())?,
    );
    let running = update(statistics, &batch, moments.count, config)?;
    Ok((apply(x, scale, offset, moments, true, config)?, running))
}

/// The same in candle's operations.
fn composed(
    x: &Tensor,
    scale: &Tensor,
    offset: &Tensor,
    statistics: &RunningStatistics,
    config: &BatchNormConfig,
) -> Result<(Tensor, RunningStatistics)> {
    let channels = x.dim(D::Minus1)?;
    let rows = x.reshape(((), channels))?;
    let mean = rows.mean(0)?;
    let centered = rows.broadcast_sub(&mean)?;
    let variance = centered.sqr()?.mean(0)?;
    let deviation = (&variance + config.epsilon)?.sqrt()?;
    let y = centered.broadcast_div(&deviation)?;
    let y = y.broadcast_mul(scale)?.broadcast_add(offset)?;
    let y = fallback::activate(&y.reshape(x.shape())?, config.activation)?;
    let batch = RunningStatistics::new(mean.detach(), variance.detach());
    Ok((y, update(statistics, &batch, rows.dim(0)?, config)?))
}

/// The running statistics after a batch with `count` values per channel.
fn update(
    old: &RunningStatistics,
    batch: &RunningStatistics,
    count: usize,
    config: &BatchNormConfig,
) -> Result<RunningStatistics> {
    let correction = match config.running_variance {
        RunningVariance::Unbiased => count as f64 / count.saturating_sub(1).max(1) as f64,
        RunningVariance::Biased => 1.0,
    };
    let mix = |old: &Tensor, new: &Tensor, factor: f64| {
        (old.detach() * (1.0 - config.momentum))? + (new * (config.momentum * factor))?
    };
    Ok(RunningStatistics {
        mean: mix(&old.mean, &batch.mean, 1.0)?,
        variance: mix(&old.variance, &batch.variance, correction)?,
    })
}

/// Returns the number of channels.
fn check(
    x: &Tensor,
    scale: &Tensor,
    offset: &Tensor,
    statistics: &RunningStatistics,
) -> Result<usize> {
    let vectors = [scale, offset, &statistics.mean, &statistics.variance];
    let channels = x.dims().last().copied().unwrap_or(0);
    let fits = |t: &&Tensor| t.dims() == [channels] && t.dtype() == x.dtype();
    if channels > 0 && x.dtype().is_float() && vectors.iter().all(fits) {
        return Ok(channels);
    }
    let words = |t: &Tensor| format!("{:?} {:?}", t.dtype(), t.dims());
    let message = format!(
        "batch_norm: input {}, scale {}, offset {}, mean {} and variance {} do not fit",
        words(x),
        words(scale),
        words(offset),
        words(&statistics.mean),
        words(&statistics.variance)
    );
    Err(candle_core::Error::msg(message).into())
}

fn apply(
    x: &Tensor,
    scale: &Tensor,
    offset: &Tensor,
    moments: Moments,
    of_batch: bool,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    let op = Normalize {
        moments,
        of_batch,
        epsilon: config.epsilon,
        relu: config.activation == Activation::Relu,
    };
    let (scale, offset) = (scale.contiguous()?, offset.contiguous()?);
    Ok(x.contiguous()?.apply_op3(&scale, &offset, op)?)
}

#[derive(Debug)]
struct Normalize {
    moments: Moments,
    /// Whether the moments are those of the input, so that its gradient flows through them too.
    of_batch: bool,
    epsilon: f64,
    relu: bool,
}

impl Normalize {
    /// `1 / √(variance + ε)` of a channel.
    fn reciprocal(&self, channel: usize) -> f64 {
        1.0 / (self.moments.variance[channel] + self.epsilon).sqrt()
    }

    fn affine(&self, channels: usize, of: impl Fn(usize) -> [f64; 2]) -> Affine {
        Affine::new(channels, |channel| {
            let [factor, constant] = of(channel);
            (self.moments.mean[channel], factor, constant)
        })
    }
}

impl CustomOp3 for Normalize {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, scale, offset) = (slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
        let affine = self.affine(scale.len(), |channel| {
            let factor = f64::from(scale[channel]) * self.reciprocal(channel);
            [factor, f64::from(offset[channel])]
        });
        let y = channels::transform(x, &affine, self.relu);
        Ok((CpuStorage::F32(y), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        offset: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let channels = self.moments.mean.len();
        let scales = scale.to_vec1::<f32>()?;
        let wants_input = x.track_op();
        let (dx, sums) = with_slice(x, |x| {
            with_slice(gradient, |gradient| {
                with_slice(output, |output| {
                    let mask = self.relu.then_some(output);
                    let sums = channels::gradient_sums(x, gradient, mask, &self.moments.mean);
                    let dx = wants_input.then(|| {
                        // g − mean(g) − (x − mean) · mean(g · (x − mean)) / (variance + ε), times scale / deviation.
                        let count = (self.moments.count.max(1)) as f64;
                        let affine = self.affine(channels, |channel| match self.of_batch {
                            true => {
                                let slope = sums.by_centered[channel] / count;
                                let reciprocal = self.reciprocal(channel);
                                [
                                    -slope * reciprocal * reciprocal,
                                    -sums.plain[channel] / count,
                                ]
                            }
                            false => [0.0, 0.0],
                        });
                        let factors: Vec<f32> = (0..channels)
                            .map(|c| (f64::from(scales[c]) * self.reciprocal(c)) as f32)
                            .collect();
                        channels::input_gradient(x, gradient, mask, &affine, &factors)
                    });
                    (dx, sums)
                })
            })
        })???;
        let d_scale = (0..channels).map(|c| (sums.by_centered[c] * self.reciprocal(c)) as f32);
        let d_offset = sums.plain.iter().map(|&sum| sum as f32);
        Ok((
            tensor_like(dx, Some(x))?,
            tensor_like(Some(d_scale.collect()), Some(scale))?,
            tensor_like(Some(d_offset.collect()), Some(offset))?,
        ))
    }
}
