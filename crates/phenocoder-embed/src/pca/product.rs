//! Products of a centered matrix, of which a block of rows is copied at a time.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

use ndarray::linalg::general_mat_mul;
use ndarray::{
    Array, Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, Dimension, IntoDimension, s,
};
use phenocoder_core::{Cancelled, Progress};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::squares::{Layout, Squares, contiguous};

/// Numbers in a block of rows, and the most and fewest rows of one.
const BLOCK: usize = 1 << 20;
const ROWS: (usize, usize) = (64, 4096);
/// Numbers in the sums of blocks that wait to be added, and the most such blocks.
const WAITING: (usize, usize) = (1 << 24, 8);

/// A matrix of which each row has lost `mean`.
///
/// Products are made of blocks of rows whose size follows from the number of columns alone, so that the number of threads
/// does not change a bit.
/// They ask whether to stop before each group of blocks.
#[derive(Clone, Copy)]
pub(super) struct Centered<'a> {
    x: ArrayView2<'a, f64>,
    mean: Option<ArrayView1<'a, f64>>,
}

impl<'a> Centered<'a> {
    pub(super) fn new(x: ArrayView2<'a, f64>, mean: ArrayView1<'a, f64>) -> Self {
        Self {
            x,
            mean: Some(mean),
        }
    }

    /// A matrix as it is.
    pub(super) fn plain(x: ArrayView2<'a, f64>) -> Self {
        Self { x, mean: None }
    }

    pub(super) fn dim(&self) -> (usize, usize) {
        self.x.dim()
    }

    /// These rows, copied and centered.
    pub(super) fn rows(&self, rows: Range<usize>) -> Array2<f64> {
        let mut block = self.x.slice(s![rows, ..]).to_owned();
        if let Some(mean) = &self.mean {
            block -= mean;
        }
        block
    }

    /// `aᵀ a`, `[p, p]`.
    pub(super) fn inner(&self, progress: &dyn Progress) -> Result<Array2<f64>, Cancelled> {
        let (n, p) = self.x.dim();
        let height = rows_per_block(self.x.ncols());
        let mean = self.mean.map_or_else(|| vec![0.0; p], |mean| mean.to_vec());
        let layout = Layout::new(p);
        let sums = sum_of_parts(layout.shape(), (0..n).step_by(height), progress, |start| {
            let mut part = Squares::new(layout);
            let end = (start + height).min(n);
            for start in (start..end).step_by(Squares::ROWS) {
                let rows = start..(start + Squares::ROWS).min(end);
                part.add(self.x.slice(s![rows, ..]), &mean);
            }
            part.into_sums()
        })?;
        Ok(layout.symmetric(sums))
    }

    /// `a b`, `[n, l]` for `b` of `[p, l]`.
    pub(super) fn times(
        &self,
        b: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>, Cancelled> {
        let (n, width) = (self.x.nrows(), b.ncols());
        let height = rows_per_block(self.x.ncols().max(width));
        let mut product = vec![0.0; n * width];
        product
            .par_chunks_mut((height * width).max(1))
            .enumerate()
            .try_for_each(|(block, out)| {
                progress.check()?;
                let start = block * height;
                let block = self.rows(start..(start + height).min(n));
                let mut out = ArrayViewMut2::from_shape((block.nrows(), width), out)
                    .expect("a chunk holds whole rows");
                general_mat_mul(1.0, &block, &b, 0.0, &mut out);
                Ok::<(), Cancelled>(())
            })?;
        Ok(Array2::from_shape_vec((n, width), product).expect("as many as were made"))
    }

    /// `aᵀ b`, `[p, l]` for `b` of `[n, l]`.
    pub(super) fn transposed_times(
        &self,
        b: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>, Cancelled> {
        let shape = (self.x.ncols(), b.ncols());
        let height = rows_per_block(self.x.ncols());
        let blocks = (0..self.x.nrows()).step_by(height);
        sum_of_parts(shape, blocks, progress, |start| {
            let end = (start + height).min(self.x.nrows());
            let mut part = Array2::zeros(shape);
            let own = self.rows(start..end);
            general_mat_mul(1.0, &own.t(), &b.slice(s![start..end, ..]), 0.0, &mut part);
            part
        })
    }

    /// The sum of all squares.
    pub(super) fn squares(&self, progress: &dyn Progress) -> Result<f64, Cancelled> {
        let sum = self.sum_over_blocks((1, 1), progress, |block| {
            Array2::from_elem((1, 1), block.iter().map(|v| v * v).sum())
        })?;
        Ok(sum[[0, 0]])
    }

    fn sum_over_blocks(
        &self,
        shape: (usize, usize),
        progress: &dyn Progress,
        part: impl Fn(Array2<f64>) -> Array2<f64> + Sync,
    ) -> Result<Array2<f64>, Cancelled> {
        let height = rows_per_block(self.x.ncols());
        let n = self.x.nrows();
        sum_of_parts(shape, (0..n).step_by(height), progress, |start| {
            part(self.rows(start..(start + height).min(n)))
        })
    }
}

/// The mean of each column, to the same bits for any number of threads and any order of the values in memory.
pub(super) fn column_means(x: ArrayView2<'_, f64>) -> Vec<f64> {
    let groups: Vec<ArrayView2<'_, f64>> = x.axis_chunks_iter(Axis(0), Squares::ROWS).collect();
    let means: Vec<_> = groups.par_iter().map(|rows| mean_of_group(*rows)).collect();
    mean_of_groups(&means, x.dim())
}

/// The number of a few rows, and their mean.
///
/// Summed as differences from the first, so that the mean of equal values is that value to the bit.
fn mean_of_group(rows: ArrayView2<'_, f64>) -> (f64, Vec<f64>) {
    let count = rows.nrows() as f64;
    let mut mean = vec![0.0; rows.ncols()];
    let lines: Vec<_> = rows.outer_iter().map(contiguous).collect();
    let Some(first) = lines.first() else {
        return (count, mean);
    };
    Arch::new().dispatch(Differences {
        lines: &lines,
        first,
        sums: &mut mean,
    });
    for (sum, first) in mean.iter_mut().zip(first.iter()) {
        *sum = first + *sum / count;
    }
    (count, mean)
}

/// Adds to `sums` what rows have more than the first.
struct Differences<'a> {
    lines: &'a [Cow<'a, [f64]>],
    first: &'a [f64],
    sums: &'a mut [f64],
}

impl WithSimd for Differences<'_> {
    type Output = ();

    /// The compiler makes the loops vectors, whose width changes no bit: each column has its own sum.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // Memory delivers several rows at once faster than one after the other.
        let (fours, rest) = self.lines.as_chunks::<4>();
        for [a, b, c, d] in fours {
            let values = a.iter().zip(b.iter()).zip(c.iter().zip(d.iter()));
            let columns = self.sums.iter_mut().zip(self.first);
            for ((sum, first), ((a, b), (c, d))) in columns.zip(values) {
                *sum += ((a - first) + (b - first)) + ((c - first) + (d - first));
            }
        }
        for line in rest {
            let columns = self.sums.iter_mut().zip(self.first);
            for ((sum, first), value) in columns.zip(line.iter()) {
                *sum += value - first;
            }
        }
    }
}

/// Whether the mean of a group is one.
fn is_finite(group: &(f64, Vec<f64>)) -> bool {
    group.1.iter().all(|mean| mean.is_finite())
}

/// The mean of all rows, summed as the differences of groups from the first one.
fn mean_of_groups(groups: &[(f64, Vec<f64>)], (rows, columns): (usize, usize)) -> Vec<f64> {
    let mut mean = vec![0.0; columns];
    let Some(((_, first), others)) = groups.split_first() else {
        return mean;
    };
    for (count, of_group) in others {
        let share = count / rows as f64;
        for ((sum, first), of_group) in mean.iter_mut().zip(first).zip(of_group) {
            *sum += (of_group - first) * share;
        }
    }
    for (sum, first) in mean.iter_mut().zip(first) {
        *sum += first;
    }
    mean
}

/// The mean of each column and the products of columns less their means, `[p, p]`, in one look at the rows.
///
/// A group of rows gives the products about its own mean; how far the means of groups of `m` rows lie from that of all
/// is added as a row each, `√m` times as long (Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115).
/// The look ends at the first group without a finite mean: a mean is not finite then, nor are the products of its column.
pub(super) fn about_mean(
    x: ArrayView2<'_, f64>,
    progress: &dyn Progress,
) -> Result<(Vec<f64>, Array2<f64>), Cancelled> {
    let (n, p) = x.dim();
    let layout = Layout::new(p);
    let height = rows_per_block(p);
    let mut groups: Vec<(f64, Vec<f64>)> = Vec::new();
    let part = |start: usize| {
        let mut part = Squares::new(layout);
        let block = x.slice(s![start..(start + height).min(n), ..]);
        let mut groups = Vec::new();
        for rows in block.axis_chunks_iter(Axis(0), Squares::ROWS) {
            let group = mean_of_group(rows);
            let finite = is_finite(&group);
            if finite {
                part.add(rows, &group.1);
            }
            groups.push(group);
            if !finite {
                break;
            }
        }
        (part.into_sums(), groups)
    };
    let mut sums = Array::zeros(layout.shape());
    for_parts(
        sums.len(),
        (0..n).step_by(height),
        progress,
        part,
        |(part, of_part)| {
            sums += &part;
            groups.extend(of_part);
            if groups.last().is_none_or(is_finite) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    )?;
    let mean = mean_of_groups(&groups, x.dim());
    let mut between = Squares::new(layout);
    for few in groups.chunks(Squares::ROWS) {
        let rows = Array2::from_shape_fn((few.len(), p), |(i, j)| {
            few[i].0.sqrt() * (few[i].1[j] - mean[j])
        });
        between.add(rows.view(), &vec![0.0; p]);
    }
    sums += &between.into_sums();
    Ok((mean, layout.symmetric(sums)))
}

fn rows_per_block(columns: usize) -> usize {
    (BLOCK / columns.max(1)).clamp(ROWS.0, ROWS.1)
}

/// Parts made a few at a time, which bounds the memory, and added in their order.
fn sum_of_parts<D: Dimension>(
    shape: impl IntoDimension<Dim = D>,
    starts: impl Iterator<Item = usize>,
    progress: &dyn Progress,
    part: impl Fn(usize) -> Array<f64, D> + Sync,
) -> Result<Array<f64, D>, Cancelled> {
    let mut sum = Array::zeros(shape.into_dimension());
    for_parts(sum.len(), starts, progress, part, |part| {
        sum += &part;
        ControlFlow::Continue(())
    })?;
    Ok(sum)
}

/// Makes a few parts of so many numbers at a time, and takes them in their order, until `take` has enough.
fn for_parts<T: Send>(
    numbers: usize,
    starts: impl Iterator<Item = usize>,
    progress: &dyn Progress,
    part: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), Cancelled> {
    let starts: Vec<usize> = starts.collect();
    let at_once = (WAITING.0 / numbers.max(1)).clamp(2, WAITING.1);
    for group in starts.chunks(at_once) {
        progress.check()?;
        let parts: Vec<T> = group.par_iter().map(|&start| part(start)).collect();
        if parts.into_iter().try_for_each(&mut take).is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;
    use phenocoder_core::{CancelToken, NoProgress, Seed};

    use super::*;

    #[test]
    fn products_in_blocks_are_those_of_the_whole_matrix() {
        // More than one block of rows, and more than one panel of columns.
        for (n, p) in [(ROWS.1 + 5, 3), (300, 131), (3, 1), (0, 2), (5, 0)] {
            let mut stream = Seed::new(2).stream("x", 0);
            let x = Array2::from_shape_fn((n, p), |_| stream.uniform());
            let mean = Array1::from(column_means(x.view()));
            let whole = &x - &mean;
            let a = Centered::new(x.view(), mean.view());
            let right = Array2::from_shape_fn((p, 4), |_| stream.uniform());
            let left = Array2::from_shape_fn((n, 4), |_| stream.uniform());
            for (found, expected) in [
                (a.inner(&NoProgress), whole.t().dot(&whole)),
                (a.times(right.view(), &NoProgress), whole.dot(&right)),
                (
                    a.transposed_times(left.view(), &NoProgress),
                    whole.t().dot(&left),
                ),
                (
                    Centered::plain(x.t()).times(left.view(), &NoProgress),
                    x.t().dot(&left),
                ),
            ] {
                let found = found.unwrap();
                assert_eq!(found.dim(), expected.dim());
                assert!((&found - &expected).iter().all(|d| d.abs() < 1e-10));
            }
            let squares: f64 = whole.iter().map(|v| v * v).sum();
            assert!((a.squares(&NoProgress).unwrap() - squares).abs() < 1e-10);
        }
    }

    #[test]
    fn one_look_at_the_rows_is_as_exact_as_two() {
        // Groups whose means lie a million deviations apart, more than one block, and rows that change their order in memory.
        for (n, p) in [(ROWS.1 + 300, 3), (300, 131), (1, 2), (5, 0)] {
            let mut stream = Seed::new(4).stream("x", 0);
            let x = Array2::from_shape_fn((n, p), |(i, _)| {
                stream.normal() + if i < 200 { 1e6 } else { -2e6 }
            });
            let (mean, inner) = about_mean(x.view(), &NoProgress).unwrap();
            assert_eq!(mean, column_means(x.view()));
            let whole = &x - &ArrayView1::from(&mean);
            let expected = whole.t().dot(&whole);
            let largest = expected.iter().fold(0.0_f64, |l, v| l.max(v.abs()));
            for (found, expected) in inner.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-13 * largest);
            }
            let turned = x.t().as_standard_layout().into_owned();
            let again = about_mean(turned.t(), &NoProgress).unwrap();
            assert_eq!(again, (mean, inner));
        }
    }

    #[test]
    fn the_mean_of_equal_values_is_that_value_to_the_bit() {
        // A row, less than four, more than four, and more than one group and block.
        for n in [1, 3, 6, 7, 100, 300, ROWS.1 + 5] {
            let x = Array2::from_elem((n, 3), 0.1);
            let (mean, inner) = about_mean(x.view(), &NoProgress).unwrap();
            assert_eq!(mean, [0.1; 3], "{n}");
            assert_eq!(mean, column_means(x.view()));
            assert_eq!(inner, Array2::<f64>::zeros((3, 3)));
        }
    }

    #[test]
    fn a_value_that_is_not_finite_leaves_no_finite_mean_wherever_it_is() {
        let places = [
            (1, 0),
            (7, 0),
            (7, 2),
            (7, 6),
            (300, 0),
            (300, 200),
            (300, 299),
        ];
        for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for (n, row) in places {
                let mut x = Array2::from_elem((n, 2), 0.5);
                x[[row, 1]] = wrong;
                let (mean, _) = about_mean(x.view(), &NoProgress).unwrap();
                for mean in [mean, column_means(x.view())] {
                    assert_eq!(mean[0], 0.5);
                    assert!(!mean[1].is_finite(), "{wrong} in row {row} of {n}");
                }
            }
        }
    }

    #[test]
    fn the_look_ends_at_the_first_mean_that_is_none() {
        for wrong in [f64::NAN, f64::INFINITY] {
            let mut x = Array2::from_elem((2 * ROWS.1, 2), 1.0);
            x.slice_mut(s![Squares::ROWS.., 0]).fill(2.0);
            x[[0, 1]] = wrong;
            let (mean, inner) = about_mean(x.view(), &NoProgress).unwrap();
            // Of the other column, the first group is all that was seen.
            assert_eq!(mean[0], 1.0);
            assert!(!mean[1].is_finite() && inner[[1, 1]].is_nan());
        }
    }

    #[test]
    fn every_product_stops_when_asked() {
        let stopped = CancelToken::new();
        stopped.cancel();
        let x = Array2::<f64>::zeros((3, 2));
        let a = Centered::plain(x.view());
        assert_eq!(a.inner(&stopped), Err(Cancelled));
        assert_eq!(a.times(x.t(), &stopped), Err(Cancelled));
        assert_eq!(a.transposed_times(x.view(), &stopped), Err(Cancelled));
        assert_eq!(a.squares(&stopped), Err(Cancelled));
        assert_eq!(about_mean(x.view(), &stopped), Err(Cancelled));
    }
}
