//! Loops over pixels that treat every channel in a way of its own.
//!
//! Channels are the last axis. Where they are few, several pixels are taken as one row, so that rows fill vectors.
//! Pixels are cut into pieces whose size depends on the number of channels alone, and sums over pieces are added in their
//! order.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Mean and variance of every channel.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    /// Values per channel.
    pub(super) count: usize,
    pub(super) mean: Vec<f64>,
    /// The mean of the squares of the differences from the mean.
    pub(super) variance: Vec<f64>,
}

/// The moments of a batch in one pass.
///
/// Values are taken relative to the first of their channel: squares of the shift then weigh at most as much as all squares
/// together, so whatever the mean, the variance has an error of at most about `count · 2⁻⁵³`.
pub(super) fn moments(x: &[f32], channels: usize) -> Moments {
    let count = x.len() / channels;
    let first: Vec<f64> = x[..channels].iter().map(|&v| f64::from(v)).collect();
    let rows = Rows::new(channels);
    let shift = rows.repeat(&first);
    let parts: Vec<[Vec<f64>; 2]> = x
        .par_chunks(rows.chunk)
        .map(|x| {
            let mut sums = [vec![0.0; rows.width], vec![0.0; rows.width]];
            let job = ShiftedSums {
                x,
                shift: &shift,
                sums: &mut sums,
            };
            Arch::new().dispatch(job);
            sums
        })
        .collect();
    let [sum, squares] = rows.fold(&parts);
    let m = count as f64;
    let of = |i: usize| {
        let shifted = sum[i] / m;
        (
            first[i] + shifted,
            (squares[i] / m - shifted * shifted).max(0.0),
        )
    };
    let (mean, variance) = (0..channels).map(of).unzip();
    Moments {
        count,
        mean,
        variance,
    }
}

/// `(x − mean) · factor + constant` for every channel.
///
/// The mean is held in two parts, so that the difference has all digits of single precision however large the mean is.
#[derive(Debug)]
pub(super) struct Affine {
    rows: Rows,
    mean: [Vec<f32>; 2],
    factor: Vec<f32>,
    constant: Vec<f32>,
}

impl Affine {
    /// With mean, factor and constant of every channel.
    pub(super) fn new(channels: usize, of: impl Fn(usize) -> (f64, f64, f64)) -> Self {
        let rows = Rows::new(channels);
        let column = |value: &dyn Fn((f64, f64, f64)) -> f32| {
            let values: Vec<f32> = (0..channels).map(|channel| value(of(channel))).collect();
            rows.repeat(&values)
        };
        Self {
            mean: [
                column(&|(mean, ..)| mean as f32),
                column(&|(mean, ..)| (mean - f64::from(mean as f32)) as f32),
            ],
            factor: column(&|(_, factor, _)| factor as f32),
            constant: column(&|(.., constant)| constant as f32),
            rows,
        }
    }
}

/// An affine map of every channel, then a ReLU where wanted; NaN stays NaN.
pub(super) fn transform(x: &[f32], affine: &Affine, relu: bool) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let chunk = affine.rows.chunk;
    out.par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk))
        .for_each(|(out, x)| {
            Arch::new().dispatch(Transform {
                x,
                affine,
                relu,
                out,
            });
        });
    out
}

/// For every channel `Σ g` and `Σ g · (x − mean)`.
#[derive(Debug)]
pub(super) struct GradientSums {
    pub(super) plain: Vec<f64>,
    pub(super) by_centered: Vec<f64>,
}

/// The sums of a gradient, which is 0 where the `mask` is not positive.
pub(super) fn gradient_sums(
    x: &[f32],
    gradient: &[f32],
    mask: Option<&[f32]>,
    mean: &[f64],
) -> GradientSums {
    let rows = Rows::new(mean.len());
    let shift = rows.repeat(mean);
    // Without a mask any values do that are not looked at.
    let masks = mask.unwrap_or(gradient);
    let parts: Vec<[Vec<f64>; 2]> = x
        .par_chunks(rows.chunk)
        .zip(
            gradient
                .par_chunks(rows.chunk)
                .zip(masks.par_chunks(rows.chunk)),
        )
        .map(|(x, (gradient, masks))| {
            let mut sums = [vec![0.0; rows.width], vec![0.0; rows.width]];
            Arch::new().dispatch(CenteredSums {
                x,
                gradient,
                mask: mask.map(|_| masks),
                shift: &shift,
                sums: &mut sums,
            });
            sums
        })
        .collect();
    let [plain, by_centered] = rows.fold(&parts);
    GradientSums { plain, by_centered }
}

/// `(g + (x − mean) · factor + constant) · outer`, with `g` 0 where the `mask` is not positive.
pub(super) fn input_gradient(
    x: &[f32],
    gradient: &[f32],
    mask: Option<&[f32]>,
    affine: &Affine,
    outer: &[f32],
) -> Vec<f32> {
    let outer = affine.rows.repeat(outer);
    let masks = mask.unwrap_or(gradient);
    let mut out = vec![0.0; x.len()];
    let chunk = affine.rows.chunk;
    let inputs = gradient.par_chunks(chunk).zip(masks.par_chunks(chunk));
    out.par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk).zip(inputs))
        .for_each(|(out, (x, (gradient, masks)))| {
            Arch::new().dispatch(InputGradient {
                x,
                gradient,
                mask: mask.map(|_| masks),
                affine,
                outer: &outer,
                out,
            });
        });
    out
}

/// How pixels are taken together.
#[derive(Debug, Clone, Copy)]
struct Rows {
    channels: usize,
    /// Values of a row: those of one pixel, or of several where channels are few.
    width: usize,
    /// Values per task.
    chunk: usize,
}

impl Rows {
    fn new(channels: usize) -> Self {
        /// Values of a row at least.
        const WIDE: usize = 64;
        /// Values per task, and pixels per task at least, since each task has sums of its own.
        const VALUES: usize = 1 << 14;
        const PIXELS: usize = 256;
        let width = WIDE.div_ceil(channels) * channels;
        let rows = (VALUES / width).max(PIXELS.div_ceil(width / channels));
        Self {
            channels,
            width,
            chunk: rows * width,
        }
    }

    fn repeat<T: Copy>(&self, values: &[T]) -> Vec<T> {
        values.iter().copied().cycle().take(self.width).collect()
    }

    /// Adds the sums of all tasks, and of the pixels that share a row.
    fn fold(&self, parts: &[[Vec<f64>; 2]]) -> [Vec<f64>; 2] {
        [0, 1].map(|which| {
            let mut total = vec![0.0; self.channels];
            for part in parts {
                for pixel in part[which].chunks_exact(self.channels) {
                    for (total, sum) in total.iter_mut().zip(pixel) {
                        *total += sum;
                    }
                }
            }
            total
        })
    }
}

struct ShiftedSums<'a> {
    x: &'a [f32],
    shift: &'a [f64],
    sums: &'a mut [Vec<f64>; 2],
}

impl WithSimd for ShiftedSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [sum, squares] = self.sums;
        for row in self.x.chunks(self.shift.len()) {
            let sums = sum.iter_mut().zip(squares.iter_mut());
            for ((&x, &shift), (sum, squares)) in row.iter().zip(self.shift).zip(sums) {
                let shifted = f64::from(x) - shift;
                *sum += shifted;
                *squares += shifted * shifted;
            }
        }
    }
}

struct Transform<'a> {
    x: &'a [f32],
    affine: &'a Affine,
    relu: bool,
    out: &'a mut [f32],
}

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Affine {
            rows,
            mean: [high, low],
            factor,
            constant,
        } = self.affine;
        let rows = self
            .out
            .chunks_mut(rows.width)
            .zip(self.x.chunks(rows.width));
        for (out, x) in rows {
            let means = high.iter().zip(low);
            let rest = factor.iter().zip(constant).zip(means);
            for ((out, &x), ((factor, constant), (high, low))) in out.iter_mut().zip(x).zip(rest) {
                let y = ((x - high) - low) * factor + constant;
                // Not the maximum with 0, which would turn NaN into 0 and hide it.
                *out = if self.relu && y < 0.0 { 0.0 } else { y };
            }
        }
    }
}

struct CenteredSums<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    mask: Option<&'a [f32]>,
    shift: &'a [f64],
    sums: &'a mut [Vec<f64>; 2],
}

impl WithSimd for CenteredSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.shift.len();
        let [plain, by_centered] = self.sums;
        let masks = self.mask.unwrap_or(self.gradient).chunks(width);
        let rows = self
            .x
            .chunks(width)
            .zip(self.gradient.chunks(width))
            .zip(masks);
        for ((x, gradient), mask) in rows {
            let sums = plain.iter_mut().zip(by_centered.iter_mut());
            let values = x.iter().zip(gradient).zip(mask).zip(self.shift);
            for ((((&x, &g), &m), &shift), (plain, by_centered)) in values.zip(sums) {
                let g = if self.mask.is_some() && m <= 0.0 {
                    0.0
                } else {
                    f64::from(g)
                };
                *plain += g;
                *by_centered += g * (f64::from(x) - shift);
            }
        }
    }
}

struct InputGradient<'a> {
    x: &'a [f32],
    gradient: &'a [f32],
    mask: Option<&'a [f32]>,
    affine: &'a Affine,
    outer: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Affine {
            rows: Rows { width, .. },
            mean: [high, low],
            factor,
            constant,
        } = self.affine;
        let masks = self.mask.unwrap_or(self.gradient).chunks(*width);
        let inputs = self
            .x
            .chunks(*width)
            .zip(self.gradient.chunks(*width))
            .zip(masks);
        for (out, ((x, gradient), mask)) in self.out.chunks_mut(*width).zip(inputs) {
            let coefficients = factor
                .iter()
                .zip(constant)
                .zip(high.iter().zip(low))
                .zip(self.outer);
            let values = out.iter_mut().zip(x.iter().zip(gradient).zip(mask));
            for ((out, ((&x, &g), &m)), (((factor, constant), (high, low)), outer)) in
                values.zip(coefficients)
            {
                let g = if self.mask.is_some() && m <= 0.0 {
                    0.0
                } else {
                    g
                };
                *out = (g + (((x - high) - low) * factor + constant)) * outer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_do_not_depend_on_the_width_of_the_vectors() {
        let mut stream = phenocoder_core::Seed::new(3).stream("channels", 0);
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal() as f32).collect() };
        for channels in [1, 3, 16, 31, 64, 65, 200] {
            let n = 37 * channels;
            let (x, gradient, mask, outer) = (draw(n), draw(n), draw(n), draw(channels));
            let affine = Affine::new(channels, |c| (0.1 * c as f64, 1.0 / 3.0, 0.3));
            let rows = Rows::new(channels);
            let (shift, outer) = (rows.repeat(&vec![0.1; channels]), rows.repeat(&outer));
            let of = |arch: Arch| {
                let zeros = || [vec![0.0; rows.width], vec![0.0; rows.width]];
                let (mut sums, mut gradients) = (zeros(), zeros());
                let (mut y, mut dx) = (vec![0.0; n], vec![0.0; n]);
                arch.dispatch(ShiftedSums {
                    x: &x,
                    shift: &shift,
                    sums: &mut sums,
                });
                arch.dispatch(Transform {
                    x: &x,
                    affine: &affine,
                    relu: true,
                    out: &mut y,
                });
                arch.dispatch(CenteredSums {
                    x: &x,
                    gradient: &gradient,
                    mask: Some(&mask),
                    shift: &shift,
                    sums: &mut gradients,
                });
                arch.dispatch(InputGradient {
                    x: &x,
                    gradient: &gradient,
                    mask: Some(&mask),
                    affine: &affine,
                    outer: &outer,
                    out: &mut dx,
                });
                (sums, gradients, y, dx)
            };
            assert_eq!(of(Arch::Scalar), of(Arch::new()), "{channels} channels");
        }
    }
}
