//! Products of a centered matrix that is never copied whole.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, s};
use phenocoder_core::{Cancelled, Progress};
use rayon::prelude::*;

use super::squares::Squares;

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

    fn rows_per_block(&self) -> usize {
        (BLOCK / self.x.ncols().max(1)).clamp(ROWS.0, ROWS.1)
    }

    /// `aᵀ a`, `[p, p]`.
    pub(super) fn inner(&self, progress: &dyn Progress) -> Result<Array2<f64>, Cancelled> {
        let (n, p) = self.x.dim();
        let height = self.rows_per_block();
        let mean = self.mean.map_or_else(|| vec![0.0; p], |mean| mean.to_vec());
        let mut sum = sum_of_parts((p, p), (0..n).step_by(height), progress, |start| {
            let mut part = Squares::new(p);
            let end = (start + height).min(n);
            for start in (start..end).step_by(Squares::ROWS) {
                let rows = start..(start + Squares::ROWS).min(end);
                part.add(self.x.slice(s![rows, ..]), &mean);
            }
            part.into_lower_half()
        })?;
        for i in 0..p {
            for j in 0..i {
                sum[[j, i]] = sum[[i, j]];
            }
        }
        Ok(sum)
    }

    /// `a b`, `[n, l]` for `b` of `[p, l]`.
    pub(super) fn times(
        &self,
        b: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>, Cancelled> {
        let (n, width) = (self.x.nrows(), b.ncols());
        let height = self.rows_per_block();
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
        let height = self.rows_per_block();
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
        let height = self.rows_per_block();
        let n = self.x.nrows();
        sum_of_parts(shape, (0..n).step_by(height), progress, |start| {
            part(self.rows(start..(start + height).min(n)))
        })
    }
}

/// Parts made a few at a time, which bounds the memory, and added in their order.
fn sum_of_parts(
    shape: (usize, usize),
    starts: impl Iterator<Item = usize>,
    progress: &dyn Progress,
    part: impl Fn(usize) -> Array2<f64> + Sync,
) -> Result<Array2<f64>, Cancelled> {
    let starts: Vec<usize> = starts.collect();
    let at_once = (WAITING.0 / (shape.0 * shape.1).max(1)).clamp(2, WAITING.1);
    let mut sum = Array2::<f64>::zeros(shape);
    for group in starts.chunks(at_once) {
        progress.check()?;
        let parts: Vec<Array2<f64>> = group.par_iter().map(|&start| part(start)).collect();
        for part in parts {
            sum += &part;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use ndarray::Axis;
    use phenocoder_core::{CancelToken, NoProgress, Seed};

    use super::*;

    #[test]
    fn products_in_blocks_are_those_of_the_whole_matrix() {
        // More than one block of rows, and more than one panel of columns.
        for (n, p) in [(ROWS.1 + 5, 3), (300, 131), (3, 1), (0, 2), (5, 0)] {
            let mut stream = Seed::new(2).stream("x", 0);
            let x = Array2::from_shape_fn((n, p), |_| stream.uniform());
            let mean = x.sum_axis(Axis(0)) / (n.max(1)) as f64;
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
    fn every_product_stops_when_asked() {
        let stopped = CancelToken::new();
        stopped.cancel();
        let x = Array2::<f64>::zeros((3, 2));
        let a = Centered::plain(x.view());
        assert_eq!(a.inner(&stopped), Err(Cancelled));
        assert_eq!(a.times(x.t(), &stopped), Err(Cancelled));
        assert_eq!(a.transposed_times(x.view(), &stopped), Err(Cancelled));
        assert_eq!(a.squares(&stopped), Err(Cancelled));
    }
}
