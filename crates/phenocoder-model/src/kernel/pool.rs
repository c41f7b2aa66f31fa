//! Pooling.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::config::{Dimensions, Padding, check_stride};
use super::geometry::Geometry;
use super::op::{slice, tensor_like, with_slice};
use super::select::pad_circular;
use super::{fallback, is_native};
use crate::error::check_count;
use crate::{ConfigError, Result};

/// The settings of pooling.
///
/// # Examples
///
/// The pooling behind the first convolution of a ResNet:
///
/// ```
/// use phenocoder_model::kernel::{Padding, PoolConfig};
///
/// let stem = PoolConfig::new(3).with_stride(2).with_padding(Padding::Symmetric(1));
/// assert!(stem.validate().is_ok());
/// assert_eq!(
///     stem.with_padding(Padding::Symmetric(3)).validate().unwrap_err().to_string(),
///     "`padding` is 3, expected less than the window, which would else see nothing"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PoolConfig {
    /// Rows and columns of a window.
    pub window: [usize; 2],
    /// Pixels from one window to the next, on both axes (default: the rows of a window).
    pub stride: usize,
    /// What lies around the image (default [`Padding::Valid`]).
    ///
    /// No maximum is taken from zeros that were put around an image.
    #[serde(default = "valid")]
    pub padding: Padding,
    /// Whether zeros around the image count in an average, as in PyTorch (default no, as in Keras).
    #[serde(default)]
    pub count_padding: bool,
}

fn valid() -> Padding {
    Padding::Valid
}

impl PoolConfig {
    /// Windows of `size × size` side by side.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            window: [size, size],
            stride: size,
            padding: valid(),
            count_padding: false,
        }
    }

    /// Sets the rows and columns of a window.
    #[must_use]
    pub fn with_window(mut self, window: [usize; 2]) -> Self {
        self.window = window;
        self
    }

    /// Sets the stride.
    #[must_use]
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the padding.
    #[must_use]
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Sets whether zeros around the image count in an average.
    #[must_use]
    pub fn with_count_padding(mut self, count_padding: bool) -> Self {
        self.count_padding = count_padding;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when a window is empty, the stride is 0, or a window could lie in the padding alone.
    pub fn validate(&self) -> Result<(), ConfigError> {
        check_stride(self.stride)?;
        check_count("window", self.window[0].min(self.window[1]))?;
        let zeros = self.padding.zeros(Dimensions::Two).unwrap_or_default();
        for (zeros, window) in zeros.iter().zip(self.window) {
            if let Some(&most) = zeros.iter().find(|&&zeros| zeros >= window) {
                return Err(ConfigError::Range {
                    setting: "padding".to_owned(),
                    value: most as f64,
                    expected: "less than the window, which would else see nothing",
                });
            }
        }
        Ok(())
    }
}

/// The maximum of every window, channel by channel.
///
/// Of equal values the first in reading order receives the gradient, as in PyTorch (on a GPU the one that candle's `argmax`
/// finds); a window with NaN gives NaN.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::kernel::{PoolConfig, max_pool2d};
///
/// let x = Tensor::new(&[[[[1.0_f32], [2.0]], [[4.0], [3.0]]]], &Device::Cpu)?;
/// let y = max_pool2d(&x, &PoolConfig::new(2))?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [4.0]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `[n, y, x, c]` to `[n, y', x', c]` with sides as [`Padding`] says.
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) when the settings are not valid; [`Error::Tensor`](crate::Error::Tensor) when a
/// side but the first is empty or a window is larger than the padded image.
#[doc(alias = "MaxPool2d")]
#[doc(alias = "MaxPooling2D")]
pub fn max_pool2d(x: &Tensor, config: &PoolConfig) -> Result<Tensor> {
    pool(x, config, Kind::Max)
}

/// The average of every window, channel by channel.
///
/// # Shapes
///
/// `[n, y, x, c]` to `[n, y', x', c]` with sides as [`Padding`] says.
///
/// # Errors
///
/// As [`max_pool2d`].
#[doc(alias = "AvgPool2d")]
#[doc(alias = "AveragePooling2D")]
pub fn average_pool2d(x: &Tensor, config: &PoolConfig) -> Result<Tensor> {
    let kind = Kind::Average {
        count_padding: config.count_padding,
    };
    pool(x, config, kind)
}

/// The average of every channel over the whole image.
///
/// # Examples
///
/// ```
/// use candle_core::{Device, Tensor};
/// use phenocoder_model::kernel::global_average_pool;
///
/// let x = Tensor::new(&[[[[1.0_f32], [2.0]], [[4.0], [3.0]]]], &Device::Cpu)?;
/// assert_eq!(global_average_pool(&x)?.to_vec2::<f32>()?, [[2.5]]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Shapes
///
/// `[n, y, x, c]` to `[n, c]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when a side but the first is empty.
#[doc(alias = "AdaptiveAvgPool2d")]
#[doc(alias = "GlobalAveragePooling2D")]
pub fn global_average_pool(x: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let whole = PoolConfig::new(1).with_window([h.max(1), w.max(1)]);
    Ok(average_pool2d(x, &whole)?.reshape((n, c))?)
}

fn pool(x: &Tensor, config: &PoolConfig, kind: Kind) -> Result<Tensor> {
    config.validate()?;
    let padded;
    let (x, padding) = match config.padding {
        Padding::Circular(p) => {
            padded = pad_circular(x, p, Dimensions::Two)?;
            (&padded, Padding::Valid)
        }
        other => (x, other),
    };
    let (n, h, w, c) = x.dims4()?;
    let geometry = match padding.zeros(Dimensions::Two) {
        Some(zeros) => Geometry::padded([h, w, c], c, config.window, config.stride, zeros),
        None => Geometry::same([h, w, c], c, config.window, config.stride),
    };
    let op = match geometry {
        Some(geometry) if geometry.is_sound(n) && x.dtype().is_float() => Pool { geometry, kind },
        _ => {
            let message = format!(
                "{}: input {:?} {:?} does not fit {config:?}",
                kind.name(),
                x.dtype(),
                x.dims(),
            );
            return Err(candle_core::Error::msg(message).into());
        }
    };
    if is_native(x) {
        return Ok(x.contiguous()?.apply_op1(op)?);
    }
    Ok(match kind {
        Kind::Max => fallback::max_pool(&op.geometry, x)?,
        Kind::Average { count_padding } => fallback::average_pool(&op.geometry, x, count_padding)?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Max,
    Average { count_padding: bool },
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Max => "max_pool2d",
            Self::Average { .. } => "average_pool2d",
        }
    }
}

#[derive(Debug)]
struct Pool {
    geometry: Geometry,
    kind: Kind,
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Max => "nhwc-max-pool",
            Kind::Average { .. } => "nhwc-average-pool",
        }
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let g = &self.geometry;
        let x = slice(storage, layout)?;
        let n = layout.dims().first().copied().unwrap_or(0);
        let [h, w, c] = g.small;
        let mut out = vec![0.0; n * g.small_len()];
        out.par_chunks_mut(w * c).enumerate().for_each(|(i, out)| {
            let image = &x[i / h * g.big_len()..][..g.big_len()];
            Arch::new().dispatch(Row {
                pool: self,
                image,
                y: i % h,
                out,
            });
        });
        Ok((CpuStorage::F32(out), Shape::from((n, h, w, c))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let (big, small) = (self.geometry.big_len(), self.geometry.small_len());
        let mut dx = vec![0.0; x.elem_count()];
        with_slice(x, |x| {
            with_slice(output, |output| {
                with_slice(gradient, |gradient| {
                    let images = output.par_chunks(small).zip(gradient.par_chunks(small));
                    dx.par_chunks_mut(big)
                        .zip(x.par_chunks(big).zip(images))
                        .for_each(|(dx, (x, (output, gradient)))| {
                            Arch::new().dispatch(Scatter {
                                pool: self,
                                x,
                                output,
                                gradient,
                                dx,
                            });
                        });
                })
            })
        })???;
        tensor_like(Some(dx), Some(x))
    }
}

impl Pool {
    /// The pixels of an axis that window `i` sees.
    fn seen(&self, axis: usize, i: usize) -> std::ops::Range<usize> {
        let g = &self.geometry;
        let from = i * g.stride;
        let to = (from + g.kernel[axis]).saturating_sub(g.pad[axis]);
        from.saturating_sub(g.pad[axis])..to.min(g.big[axis])
    }

    /// By what the sum of a window of `seen` pixels is divided.
    fn divisor(&self, seen: usize) -> f32 {
        let [rows, columns] = self.geometry.kernel;
        match self.kind {
            Kind::Average {
                count_padding: true,
            } => (rows * columns) as f32,
            _ => seen as f32,
        }
    }
}

/// One row of windows.
struct Row<'a> {
    pool: &'a Pool,
    image: &'a [f32],
    y: usize,
    out: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [_, w, c] = self.pool.geometry.big;
        let rows = self.pool.seen(0, self.y);
        for (x, out) in self.out.chunks_exact_mut(c).enumerate() {
            let columns = self.pool.seen(1, x);
            let seen = rows.len() * columns.len();
            if self.pool.kind == Kind::Max {
                out.fill(f32::NEG_INFINITY);
            }
            for y in rows.clone() {
                let run = &self.image[(y * w + columns.start) * c..(y * w + columns.end) * c];
                for pixel in run.chunks_exact(c) {
                    match self.pool.kind {
                        Kind::Max => {
                            for (out, &value) in out.iter_mut().zip(pixel) {
                                // A NaN is taken and then never left.
                                *out = if value > *out || value.is_nan() {
                                    value
                                } else {
                                    *out
                                };
                            }
                        }
                        Kind::Average { .. } => {
                            for (out, &value) in out.iter_mut().zip(pixel) {
                                *out += value;
                            }
                        }
                    }
                }
            }
            if let Kind::Average { .. } = self.pool.kind {
                let divisor = self.pool.divisor(seen);
                for out in out {
                    *out /= divisor;
                }
            }
        }
    }
}

/// The gradient of one image.
struct Scatter<'a> {
    pool: &'a Pool,
    x: &'a [f32],
    output: &'a [f32],
    gradient: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [_, w, c] = self.pool.geometry.big;
        let small = self.pool.geometry.small;
        let windows = self
            .output
            .chunks_exact(c)
            .zip(self.gradient.chunks_exact(c));
        // What of a window's gradient is still to be given away.
        let mut left = vec![0.0_f32; c];
        for (i, (output, gradient)) in windows.enumerate() {
            let (rows, columns) = (
                self.pool.seen(0, i / small[1]),
                self.pool.seen(1, i % small[1]),
            );
            let divisor = self.pool.divisor(rows.len() * columns.len());
            for (left, gradient) in left.iter_mut().zip(gradient) {
                *left = match self.pool.kind {
                    Kind::Max => *gradient,
                    Kind::Average { .. } => gradient / divisor,
                };
            }
            for y in rows {
                let run = (y * w + columns.start) * c..(y * w + columns.end) * c;
                let pixels = self.x[run.clone()].chunks_exact(c);
                for (dx, x) in self.dx[run].chunks_exact_mut(c).zip(pixels) {
                    match self.pool.kind {
                        Kind::Max => {
                            let values = x.iter().zip(output);
                            for ((dx, left), (&x, &output)) in
                                dx.iter_mut().zip(&mut left).zip(values)
                            {
                                let hit = x == output || (x.is_nan() && output.is_nan());
                                *dx += if hit { *left } else { 0.0 };
                                *left = if hit { 0.0 } else { *left };
                            }
                        }
                        Kind::Average { .. } => {
                            for (dx, left) in dx.iter_mut().zip(&left) {
                                *dx += left;
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_do_not_depend_on_the_width_of_the_vectors() {
        let mut stream = phenocoder_core::Seed::new(3).stream("pool", 0);
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal() as f32).collect() };
        for channels in [1, 3, 8, 17, 64] {
            let geometry = Geometry::same([7, 6, channels], channels, [3, 3], 2).unwrap();
            let (image, gradient) = (draw(geometry.big_len()), draw(geometry.small_len()));
            for kind in [
                Kind::Max,
                Kind::Average {
                    count_padding: false,
                },
            ] {
                let pool = Pool { geometry, kind };
                let of = |arch: Arch| {
                    let mut output = vec![0.0; geometry.small_len()];
                    for (y, out) in output
                        .chunks_exact_mut(geometry.small[1] * channels)
                        .enumerate()
                    {
                        arch.dispatch(Row {
                            pool: &pool,
                            image: &image,
                            y,
                            out,
                        });
                    }
                    let mut dx = vec![0.0; geometry.big_len()];
                    arch.dispatch(Scatter {
                        pool: &pool,
                        x: &image,
                        output: &output,
                        gradient: &gradient,
                        dx: &mut dx,
                    });
                    (output, dx)
                };
                assert_eq!(
                    of(Arch::Scalar),
                    of(Arch::new()),
                    "{channels} channels, {kind:?}"
                );
            }
        }
    }
}
