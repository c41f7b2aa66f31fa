//! Coarser levels: the mean of images, the middle of masks.

use half::f16;
use phenocoder_core::{DataType, ImageShape};

use crate::array::StoredPixel;
use crate::{Error, Result};

/// The levels of an image or mask that is written.
///
/// A level has `⌊n / f⌋` pixels along `y` and `x`, but at least one; what is left over at the end is not in it.
/// Along `c` and `z` all levels are alike.
///
/// A pixel of an image is the mean of the `f × f` pixels that it covers.
/// Whole numbers are added exactly and the mean is rounded to the nearest, halves to the even one;
/// floats are added row by row in 64 bits and rounded once to the stored type; truth values take the majority.
/// A pixel of a mask is the one nearest to the middle, above and to the left of it where `f` is even.
///
/// # Differences from Python's `spatialdata`
///
/// Its images are the same up to rounding, its labels are whatever pixel its interpolation hits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pyramid {
    /// One level.
    #[default]
    None,
    /// The levels of the image or mask that is copied, pixel for pixel; one level where there is none to copy.
    Copied,
    /// Halves until the longer side has fewer than 512 pixels.
    Halving,
    /// One coarser level per factor, each relative to the level before.
    #[doc(alias = "scale_factors")]
    Factors(Vec<usize>),
}

/// The largest factor: so many pixels squared become one.
const MAX_FACTOR: usize = 64;

impl Pyramid {
    /// The extents of the coarser levels and how many pixels of the level before become one.
    pub(crate) fn levels(&self, finest: ImageShape) -> Result<Vec<(ImageShape, Factors)>> {
        let mut levels = Vec::new();
        let mut last = finest;
        let mut add = |last: &mut ImageShape, factor: usize| {
            let factors = Factors {
                y: factor.min(last.y),
                x: factor.min(last.x),
            };
            *last = ImageShape::new(last.c, last.z, last.y / factors.y, last.x / factors.x);
            levels.push((*last, factors));
        };
        match self {
            Self::None | Self::Copied => {}
            Self::Halving => {
                while last.y.max(last.x) >= 512 {
                    add(&mut last, 2);
                }
            }
            Self::Factors(factors) => {
                for &factor in factors {
                    if !(2..=MAX_FACTOR).contains(&factor) || last.y.max(last.x) < factor {
                        let problem = format!(
                            "a factor of {factor} for a level of {} × {} pixels",
                            last.y, last.x
                        );
                        return Err(Error::Config {
                            name: "pyramid",
                            problem,
                        });
                    }
                    add(&mut last, factor);
                }
            }
        }
        Ok(levels)
    }
}

/// How several pixels become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reduction {
    Mean,
    Middle,
}

/// Pixels next to each other that become one, along `y` and `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Factors {
    pub(crate) y: usize,
    pub(crate) x: usize,
}

/// Makes planes of `width` pixels in a row smaller; all are bytes in native order.
///
/// Every plane consists of a whole number of `factors.y` rows, and rows of `factors.x` pixels.
pub(crate) fn reduce(
    data_type: DataType,
    reduction: Reduction,
    factors: Factors,
    width: usize,
    source: &[u8],
    out: &mut [u8],
) {
    if reduction == Reduction::Middle {
        return middle(data_type.size(), factors, width, source, out);
    }
    match data_type {
        DataType::Bool => mean::<Truth>(factors, width, source, out),
        DataType::UInt8 => mean::<u8>(factors, width, source, out),
        DataType::UInt16 => mean::<u16>(factors, width, source, out),
        DataType::UInt32 => mean::<u32>(factors, width, source, out),
        DataType::UInt64 => mean::<u64>(factors, width, source, out),
        DataType::Int8 => mean::<i8>(factors, width, source, out),
        DataType::Int16 => mean::<i16>(factors, width, source, out),
        DataType::Int32 => mean::<i32>(factors, width, source, out),
        DataType::Int64 => mean::<i64>(factors, width, source, out),
        DataType::Float16 => mean::<f16>(factors, width, source, out),
        DataType::Float32 => mean::<f32>(factors, width, source, out),
        DataType::Float64 => mean::<f64>(factors, width, source, out),
    }
}

fn middle(size: usize, factors: Factors, width: usize, source: &[u8], out: &mut [u8]) {
    let rows = source
        .chunks_exact(width * size)
        .skip((factors.y - 1) / 2)
        .step_by(factors.y);
    let out_row = width / factors.x * size;
    for (row, out) in rows.zip(out.chunks_exact_mut(out_row)) {
        let pixels = row
            .chunks_exact(size)
            .skip((factors.x - 1) / 2)
            .step_by(factors.x);
        for (pixel, out) in pixels.zip(out.chunks_exact_mut(size)) {
            out.copy_from_slice(pixel);
        }
    }
}

/// A number with a sum that loses nothing, or as little as floats lose.
trait Average: Sized {
    type Sum: Copy + Default;
    const SIZE: usize;
    fn add(sum: &mut Self::Sum, bytes: &[u8]);
    fn finish(sum: Self::Sum, n: usize, out: &mut [u8]);
}

fn mean<T: Average>(factors: Factors, width: usize, source: &[u8], out: &mut [u8]) {
    let out_width = width / factors.x;
    let mut sums = vec![T::Sum::default(); out_width];
    let bands = source.chunks_exact(width * T::SIZE * factors.y);
    for (band, out) in bands.zip(out.chunks_exact_mut(out_width * T::SIZE)) {
        sums.fill(T::Sum::default());
        for row in band.chunks_exact(width * T::SIZE) {
            let groups = row.chunks_exact(factors.x * T::SIZE);
            for (sum, group) in sums.iter_mut().zip(groups) {
                for pixel in group.chunks_exact(T::SIZE) {
                    T::add(sum, pixel);
                }
            }
        }
        for (&sum, out) in sums.iter().zip(out.chunks_exact_mut(T::SIZE)) {
            T::finish(sum, factors.y * factors.x, out);
        }
    }
}

macro_rules! whole {
    ($($type:ty => $sum:ty),*) => {$(
        impl Average for $type {
            type Sum = $sum;
            const SIZE: usize = size_of::<Self>();

            fn add(sum: &mut $sum, bytes: &[u8]) {
                if let Some(&bytes) = bytes.first_chunk() {
                    *sum += <$sum>::from(Self::from_ne_bytes(bytes));
                }
            }

            fn finish(sum: $sum, n: usize, out: &mut [u8]) {
                let n = n as $sum;
                let (down, rest) = (sum.div_euclid(n), sum.rem_euclid(n));
                let up = match (2 * rest).cmp(&n) {
                    std::cmp::Ordering::Less => 0,
                    std::cmp::Ordering::Equal => down & 1,
                    std::cmp::Ordering::Greater => 1,
                };
                out.copy_from_slice(&((down + up) as Self).to_ne_bytes());
            }
        }
    )*};
}
whole!(u8 => i64, u16 => i64, u32 => i64, u64 => i128, i8 => i64, i16 => i64, i32 => i64, i64 => i128);

macro_rules! float {
    ($($type:ty => $narrow:expr),*) => {$(
        impl Average for $type {
            type Sum = f64;
            const SIZE: usize = size_of::<Self>();

            fn add(sum: &mut f64, bytes: &[u8]) {
                if let Some(&bytes) = bytes.first_chunk() {
                    *sum += f64::from(Self::from_ne_bytes(bytes));
                }
            }

            fn finish(sum: f64, n: usize, out: &mut [u8]) {
                let narrow: fn(f64) -> Self = $narrow;
                out.copy_from_slice(&narrow(sum / n as f64).to_ne_bytes());
            }
        }
    )*};
}
float!(f16 => f16::from_f64, f32 => |value| value as f32, f64 => |value| value);

/// A stored truth value.
struct Truth;

impl Average for Truth {
    type Sum = usize;
    const SIZE: usize = <bool as StoredPixel>::DATA_TYPE.size();

    fn add(sum: &mut usize, bytes: &[u8]) {
        *sum += usize::from(bytes != [0]);
    }

    fn finish(sum: usize, n: usize, out: &mut [u8]) {
        out.fill(u8::from(2 * sum > n));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<T: bytemuck::Pod>(values: &[T]) -> &[u8] {
        bytemuck::cast_slice(values)
    }

    fn half<T: bytemuck::Pod>(data_type: DataType, reduction: Reduction, source: &[T]) -> Vec<T> {
        let factors = Factors { y: 2, x: 2 };
        let mut out = vec![0; size_of_val(source) / 4];
        let width = source.len() / 2;
        reduce(
            data_type,
            reduction,
            factors,
            width,
            bytes(source),
            &mut out,
        );
        bytemuck::pod_collect_to_vec(&out)
    }

    #[test]
    fn means_of_whole_numbers_are_exact_and_halves_go_to_the_even() {
        let mean = Reduction::Mean;
        // Sums 2, 6, 5 and 7 of four.
        let source = [0_u8, 1, 1, 2, 1, 1, 2, 2, 0, 1, 1, 2, 1, 2, 2, 1];
        assert_eq!(half(DataType::UInt8, mean, &source), [0, 2, 1, 2]);
        let big = u64::MAX - 1;
        let source = [u64::MAX, big, big, big];
        assert_eq!(half(DataType::UInt64, mean, &source), [big]);
        let source = [i64::MIN, i64::MIN, i64::MIN, i64::MIN + 2];
        assert_eq!(half(DataType::Int64, mean, &source), [i64::MIN]);
        assert_eq!(half(DataType::Int16, mean, &[-1_i16, -2, -1, -2]), [-2]);
        assert_eq!(half(DataType::Int16, mean, &[-1_i16, 0, -1, 0]), [0]);
        assert_eq!(
            half(DataType::Float32, mean, &[1.0_f32, 2.0, 4.0, 8.0]),
            [3.75]
        );
        assert_eq!(half(DataType::Bool, mean, &[7_u8, 0, 1, 0]), [0]);
        assert_eq!(half(DataType::Bool, mean, &[7_u8, 0, 1, 1]), [1]);
    }

    #[test]
    fn the_middle_of_a_mask_is_one_of_its_labels() {
        let source = [1_u32, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(half(DataType::UInt32, Reduction::Middle, &source), [1, 3]);
        let source: Vec<u16> = (0..9).collect();
        let mut out = [0; 2];
        let factors = Factors { y: 3, x: 3 };
        reduce(
            DataType::UInt16,
            Reduction::Middle,
            factors,
            3,
            bytes(&source),
            &mut out,
        );
        assert_eq!(u16::from_ne_bytes(out), 4);
    }

    #[test]
    fn levels_end_below_512_pixels_and_factors_must_fit() {
        let shape = ImageShape::new(3, 2, 1_025, 300);
        let extents = |pyramid: Pyramid| -> Result<Vec<(usize, usize)>> {
            Ok(pyramid
                .levels(shape)?
                .iter()
                .map(|(s, _)| (s.y, s.x))
                .collect())
        };
        let halves = extents(Pyramid::Halving).unwrap();
        assert_eq!(halves, [(512, 150), (256, 75)]);
        let factors = extents(Pyramid::Factors(vec![4, 3])).unwrap();
        assert_eq!(factors, [(256, 75), (85, 25)]);
        let (thin, _) = Pyramid::Factors(vec![2])
            .levels(ImageShape::new(1, 1, 1, 9))
            .unwrap()[0];
        assert_eq!((thin.y, thin.x), (1, 4));
        for bad in [vec![0], vec![1], vec![65], vec![64, 32]] {
            extents(Pyramid::Factors(bad)).unwrap_err();
        }
    }
}
