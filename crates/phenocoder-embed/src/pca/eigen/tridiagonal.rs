//! Leading eigenvectors of a symmetric tridiagonal matrix: values by bisection, vectors by inverse iteration.

use std::array;

use ndarray::Array2;
use phenocoder_core::{Cancelled, Progress, Seed};
use rayon::prelude::*;

use crate::matrix::{make_orthogonal, norm};

/// Eigenvalues that differ by less than this share of the matrix' size are of one cluster, whose vectors are made
/// orthogonal (Dhillon & Parlett 2004, doi:10.1016/j.laa.2003.12.028, on why; the share is LAPACK's in `dstein`).
const CLUSTER: f64 = 1e-3;
/// Rounds of inverse iteration; one or two are enough for a random start.
const ROUNDS: usize = 3;

/// Eigenvalues that are looked for side by side, so that no division waits for the one before.
const LANES: usize = 8;

pub(super) struct Tridiagonal {
    diagonal: Vec<f64>,
    off: Vec<f64>,
    /// Squares of `off`.
    squares: Vec<f64>,
    /// The smallest pivot that no square overflows on.
    least: f64,
    /// At least the size of any eigenvalue.
    size: f64,
}

impl Tridiagonal {
    /// `diagonal` must not be empty and has one entry more than `off`.
    pub(super) fn new(diagonal: Vec<f64>, off: Vec<f64>) -> Self {
        let side = |i: Option<usize>| i.and_then(|i| off.get(i)).map_or(0.0, |v| v.abs());
        let size = diagonal
            .iter()
            .enumerate()
            .map(|(i, d)| d.abs() + side(i.checked_sub(1)) + side(Some(i)))
            .fold(f64::MIN_POSITIVE, f64::max);
        let squares: Vec<f64> = off.iter().map(|v| v * v).collect();
        let least = f64::MIN_POSITIVE * squares.iter().fold(1.0, |l, &v| f64::max(l, v));
        Self {
            diagonal,
            off,
            squares,
            least,
            size,
        }
    }

    /// The `k` largest eigenvalues, falling, to `ε` of the matrix' size.
    ///
    /// All of them walk down the same tree of halves, so they cannot get out of order.
    pub(super) fn largest_values(
        &self,
        k: usize,
        progress: &dyn Progress,
    ) -> Result<Vec<f64>, Cancelled> {
        let m = self.diagonal.len();
        let values = |first: usize| {
            let (mut low, mut high) = ([-self.size; LANES], [self.size; LANES]);
            for _ in 0..54 {
                let middle = array::from_fn(|lane| 0.5 * (low[lane] + high[lane]));
                for (lane, below) in self.count_below(middle).into_iter().enumerate() {
                    if below + (first + lane) >= m {
                        high[lane] = middle[lane];
                    } else {
                        low[lane] = middle[lane];
                    }
                }
            }
            let value = move |lane| 0.5 * (low[lane] + high[lane]);
            (0..LANES.min(k - first)).map(value)
        };
        let of_group = |group: usize| -> Result<Vec<f64>, Cancelled> {
            progress.check()?;
            Ok(values(group * LANES).collect())
        };
        let groups = (0..k.div_ceil(LANES)).into_par_iter().map(of_group);
        let groups: Vec<Vec<f64>> = groups.collect::<Result<_, Cancelled>>()?;
        Ok(groups.concat())
    }

    /// How many eigenvalues are below each `x`: the negative pivots of `T − x` (Sylvester's law of inertia).
    fn count_below(&self, x: [f64; LANES]) -> [usize; LANES] {
        let mut pivots = [1.0; LANES];
        let mut counts = [0; LANES];
        let before = std::iter::once(&0.0).chain(&self.squares);
        for (d, square) in self.diagonal.iter().zip(before) {
            for lane in 0..LANES {
                let pivot = d - x[lane] - square / pivots[lane];
                let small = pivot.abs() < self.least;
                pivots[lane] = if small { -self.least } else { pivot };
                counts[lane] += usize::from(pivots[lane] < 0.0);
            }
        }
        counts
    }

    /// An orthonormal eigenvector for each of these falling eigenvalues, `[k, m]`.
    pub(super) fn vectors(
        &self,
        values: &[f64],
        progress: &dyn Progress,
    ) -> Result<Array2<f64>, Cancelled> {
        let m = self.diagonal.len();
        let mut vectors = vec![0.0; values.len() * m];
        let mut cluster = 0;
        for (i, &value) in values.iter().enumerate() {
            progress.check()?;
            if i > 0 && values[i - 1] - value > CLUSTER * self.size {
                cluster = i;
            }
            let (done, rest) = vectors.split_at_mut(i * m);
            let done: Vec<&[f64]> = done[cluster * m..].chunks_exact(m).collect();
            let x = &mut rest[..m];
            let factors = Factors::new(self, value);
            let mut stream = Seed::new(0).stream("start of inverse iteration", i as u64);
            x.fill_with(|| stream.uniform_in(-1.0, 1.0));
            for _ in 0..ROUNDS {
                make_orthogonal(x, &done);
                factors.solve(x);
                normalize(x);
            }
            for _ in 0..2 {
                make_orthogonal(x, &done);
                normalize(x);
            }
        }
        Ok(Array2::from_shape_vec((values.len(), m), vectors).expect("one vector for each value"))
    }
}

fn normalize(x: &mut [f64]) {
    let largest = x.iter().fold(0.0_f64, |l, v| l.max(v.abs()));
    x.iter_mut().for_each(|v| *v /= largest);
    let length = norm(x);
    x.iter_mut().for_each(|v| *v /= length);
}

/// `T − x` as a product of triangular matrices, by elimination with exchanges of neighbouring rows.
struct Factors {
    /// The diagonal of the upper factor and the two lines above it.
    lines: [Vec<f64>; 3],
    /// How much of each row the next one loses, and whether the two were exchanged before.
    steps: Vec<(f64, bool)>,
}

impl Factors {
    fn new(matrix: &Tridiagonal, x: f64) -> Self {
        let m = matrix.diagonal.len();
        let least = f64::EPSILON * matrix.size;
        let pivot = |v: f64| {
            if v.abs() < least {
                least.copysign(v)
            } else {
                v
            }
        };
        let mut lines = [(); 3].map(|()| Vec::with_capacity(m));
        let mut steps = Vec::with_capacity(m);
        let off = |i: usize| matrix.off.get(i).copied().unwrap_or(0.0);
        // What is left of the row above, in its first two columns.
        let (mut first, mut second) = (matrix.diagonal[0] - x, off(0));
        for i in 1..m {
            let row = [off(i - 1), matrix.diagonal[i] - x, off(i)];
            let exchanged = row[0].abs() > first.abs();
            let (upper, share);
            if exchanged {
                share = first / row[0];
                upper = row;
                (first, second) = (second - share * row[1], -share * row[2]);
            } else {
                upper = [pivot(first), second, 0.0];
                share = row[0] / upper[0];
                (first, second) = (row[1] - share * second, row[2]);
            }
            for (line, entry) in lines.iter_mut().zip(upper) {
                line.push(entry);
            }
            steps.push((share, exchanged));
        }
        for (line, entry) in lines.iter_mut().zip([pivot(first), 0.0, 0.0]) {
            line.push(entry);
        }
        Self { lines, steps }
    }

    fn solve(&self, x: &mut [f64]) {
        for (i, &(share, exchanged)) in self.steps.iter().enumerate() {
            if exchanged {
                x.swap(i, i + 1);
            }
            x[i + 1] -= share * x[i];
        }
        let [diagonal, first, second] = &self.lines;
        let (mut next, mut after) = (0.0, 0.0);
        for i in (0..diagonal.len()).rev() {
            let value = (x[i] - first[i] * next - second[i] * after) / diagonal[i];
            (next, after) = (value, next);
            x[i] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayView1;
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;

    fn residual(matrix: &Tridiagonal, value: f64, x: ArrayView1<'_, f64>) -> f64 {
        let m = x.len();
        (0..m)
            .map(|i| {
                let before = if i > 0 {
                    matrix.off[i - 1] * x[i - 1]
                } else {
                    0.0
                };
                let after = if i + 1 < m {
                    matrix.off[i] * x[i + 1]
                } else {
                    0.0
                };
                (before + after + (matrix.diagonal[i] - value) * x[i]).abs()
            })
            .fold(0.0, f64::max)
    }

    #[track_caller]
    fn check(diagonal: Vec<f64>, off: Vec<f64>) -> Vec<f64> {
        let m = diagonal.len();
        let matrix = Tridiagonal::new(diagonal, off);
        let values = matrix.largest_values(m, &NoProgress).unwrap();
        let vectors = matrix.vectors(&values, &NoProgress).unwrap();
        for (value, vector) in values.iter().zip(vectors.outer_iter()) {
            let error = residual(&matrix, *value, vector);
            assert!(error < 1e-13 * matrix.size * m as f64, "{value}: {error:e}");
        }
        let product = vectors.dot(&vectors.t());
        let error = (&product - &Array2::<f64>::eye(m))
            .iter()
            .fold(0.0_f64, |l, v| l.max(v.abs()));
        assert!(error < 1e-11, "{error:e}");
        values
    }

    #[test]
    fn every_part_of_the_search_stops_when_asked() {
        let matrix = Tridiagonal::new(vec![2.0; 9], vec![-1.0; 8]);
        let stopped = CancelToken::new();
        stopped.cancel();
        assert_eq!(matrix.largest_values(3, &stopped), Err(Cancelled));
        let values = matrix.largest_values(3, &NoProgress).unwrap();
        assert_eq!(matrix.vectors(&values, &stopped), Err(Cancelled));
    }

    #[test]
    fn values_of_the_second_difference_are_known() {
        let m = 40;
        let values = check(vec![2.0; m], vec![-1.0; m - 1]);
        for (i, value) in values.iter().enumerate() {
            let angle = std::f64::consts::PI * (m - i) as f64 / (m + 1) as f64;
            assert!((value - (2.0 - 2.0 * angle.cos())).abs() < 1e-14, "{i}");
        }
    }

    #[test]
    fn equal_and_nearly_equal_eigenvalues_have_orthonormal_vectors() {
        assert_eq!(check(vec![3.0], vec![]).len(), 1);
        check(vec![1.0; 30], vec![0.0; 29]);
        check(
            vec![0.0; 9],
            vec![0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1e-200],
        );
        // Wilkinson's: pairs that differ by rounding although nothing is split; then two of them, glued.
        let wilkinson = |m: i32| (-m..=m).map(|i| f64::from(i.abs())).collect::<Vec<f64>>();
        let values = check(wilkinson(10), vec![1.0; 20]);
        assert!(values[0] - values[1] < 1e-13 && values[0] > 10.7);
        let mut off = vec![1.0; 41];
        off[20] = 1e-10;
        check([wilkinson(10), wilkinson(10)].concat(), off);
        // Graded over all sizes.
        let grades: Vec<f64> = (0..40).map(|i| 10.0_f64.powi(-8 * i)).collect();
        check(grades.clone(), grades[1..].to_vec());
    }
}
