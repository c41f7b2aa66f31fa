//! Leading eigenvectors of a symmetric matrix.

mod tridiagonal;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, Axis, s};
use phenocoder_core::{Cancelled, Progress};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::matrix::{dot, row_of, to_unit};
use tridiagonal::Tridiagonal;

/// Reflections after which the rest of the matrix changes at once.
const PANEL: usize = 32;
/// Products that one task adds: a task that takes less than what handing it over takes is not worth one.
const PRODUCTS: usize = 1 << 18;

/// The `k` largest eigenvalues, falling and at least 0, and their eigenvectors as orthonormal rows.
///
/// Reflections make the matrix tridiagonal, in panels so that half of the work is a matrix product (Dongarra, Sorensen &
/// Hammarling 1989, doi:10.1016/0377-0427(89)90367-1), and only the vectors asked for are turned back: `4/3 m³` and
/// `k m²` multiplications, where all of them take `9 m³`.
/// The vectors of values that follow each other by less than a thousandth of the largest are made orthogonal to one
/// another: `5 c² m` for each group of `c` of them, which is all of `k` in a matrix of noise.
/// Asks whether to stop before each panel, each group of values and each vector.
/// Every entry must be finite.
pub(super) fn leading_eigenvectors(
    symmetric: Array2<f64>,
    k: usize,
    progress: &dyn Progress,
) -> Result<(Vec<f64>, Array2<f64>), Cancelled> {
    let m = symmetric.nrows();
    let k = k.min(m);
    let largest = symmetric.iter().fold(0.0_f64, |l, v| l.max(v.abs()));
    if largest == 0.0 {
        return Ok((vec![0.0; k], Array2::eye(m).slice_move(s![..k, ..])));
    }
    // Squares stay in range.
    let unit = to_unit(largest);
    let reduced = Reduced::new(symmetric * unit, progress)?;
    let values = reduced.tridiagonal.largest_values(k, progress)?;
    let mut vectors = reduced.tridiagonal.vectors(&values, progress)?;
    reduced.turn_back(&mut vectors, progress)?;
    let values = values.iter().map(|v| v.max(0.0) / unit).collect();
    Ok((values, vectors))
}

/// A symmetric matrix as `H T Hᵀ` with `T` tridiagonal and `H` a product of reflections `1 − 2 v vᵀ`.
struct Reduced {
    tridiagonal: Tridiagonal,
    /// Row `i` holds the `i`-th `v` in columns `i + 1..`; zeros where nothing is reflected.
    reflections: Array2<f64>,
}

impl Reduced {
    fn new(mut a: Array2<f64>, progress: &dyn Progress) -> Result<Self, Cancelled> {
        let m = a.nrows();
        let (mut diagonal, mut off) = (Vec::with_capacity(m), Vec::with_capacity(m));
        // A reflection takes `v wᵀ + w vᵀ` from the matrix; the panel's `w`, beside its `v` in the rows of `a`.
        let mut w = Array2::<f64>::zeros((PANEL, m));
        for start in (0..m).step_by(PANEL) {
            progress.check()?;
            let end = (start + PANEL).min(m);
            for i in start..end {
                bring_row_up_to_date(&mut a, &w, start, i);
                diagonal.push(a[[i, i]]);
                if i + 1 == m {
                    break;
                }
                let mut v = a.slice(s![i, i + 1..]).to_vec();
                off.push(reflect_to_first(&mut v));
                let partner = partner(&a, &w, start, i, &v);
                let own = ArrayView1::from(&v);
                a.slice_mut(s![i, i + 1..]).assign(&own);
                let mut slot = w.row_mut(i - start);
                slot.slice_mut(s![i + 1..])
                    .assign(&ArrayView1::from(&partner));
            }
            let (above, mut below) = a.view_mut().split_at(Axis(0), end);
            // Rows and columns that no reflection of the panel has touched yet.
            let mut rest = below.slice_mut(s![.., end..]);
            let v = above.slice(s![start.., end..]);
            let w = w.slice(s![..end - start, end..]);
            general_mat_mul(-1.0, &v.t(), &w, 1.0, &mut rest);
            general_mat_mul(-1.0, &w.t(), &v, 1.0, &mut rest);
        }
        Ok(Self {
            tridiagonal: Tridiagonal::new(diagonal, off),
            reflections: a,
        })
    }

    /// Makes eigenvectors of the matrix of those of `T`, which are rows.
    fn turn_back(
        &self,
        vectors: &mut Array2<f64>,
        progress: &dyn Progress,
    ) -> Result<(), Cancelled> {
        let m = self.reflections.nrows();
        let rows = vectors.as_slice_mut().expect("vectors are made whole");
        rows.par_chunks_mut(m).try_for_each(|row| {
            progress.check()?;
            for i in (0..m - 1).rev() {
                let v = &row_of(&self.reflections, i)[i + 1..];
                let tail = &mut row[i + 1..];
                let share = 2.0 * dot(v, tail);
                for (value, v) in tail.iter_mut().zip(v) {
                    *value -= share * v;
                }
            }
            Ok::<(), Cancelled>(())
        })
    }
}

/// Takes from row `i`, from its diagonal on, what the panel's reflections so far take.
fn bring_row_up_to_date(a: &mut Array2<f64>, w: &Array2<f64>, start: usize, i: usize) {
    let (above, mut below) = a.view_mut().split_at(Axis(0), i);
    let rows: Vec<_> = (0..i - start)
        .map(|t| (row_of(&above, start + t), row_of(w, t)))
        .flat_map(|(v, w)| [(v, -w[i]), (w, -v[i])])
        .collect();
    let row = below.row_mut(0).into_slice();
    let row = row.expect("rows in standard layout lie in one piece");
    Arch::new().dispatch(Combination {
        rows: &rows,
        first: i,
        sum: &mut row[i..],
    });
}

/// Replaces `x` by the unit vector `v` for which `(1 − 2 v vᵀ) x` is zero but for its first entry, which is returned;
/// by zeros where `x` is of that form already.
fn reflect_to_first(x: &mut [f64]) -> f64 {
    let first = x[0];
    let tail: f64 = x[1..].iter().map(|v| v * v).sum();
    // Squares that lost digits to underflow are nothing beside the largest entry, which is about 1.
    if tail < 1e-280 {
        x.fill(0.0);
        return first;
    }
    let result = -(first * first + tail).sqrt().copysign(first);
    x[0] -= result;
    let length = x.iter().map(|v| v * v).sum::<f64>().sqrt();
    x.iter_mut().for_each(|v| *v /= length);
    result
}

/// The `w` of a reflection: `p − (pᵀv) v` with `p = 2 A v`, where `A` is what the panel's reflections so far leave.
fn partner(a: &Array2<f64>, w: &Array2<f64>, start: usize, i: usize, v: &[f64]) -> Vec<f64> {
    // As `A` is symmetric, the sum of its rows times the entries of `v`; so are what the reflections take from it.
    let rest = (i + 1..a.nrows()).map(|row| &row_of(a, row)[i + 1..]);
    let mut rows: Vec<_> = rest.zip(v.iter().map(|v| 2.0 * v)).collect();
    for t in 0..i - start {
        let (other, w) = (&row_of(a, start + t)[i + 1..], &row_of(w, t)[i + 1..]);
        rows.push((other, -2.0 * dot(w, v)));
        rows.push((w, -2.0 * dot(other, v)));
    }
    let mut p = vec![0.0; v.len()];
    let size = (PRODUCTS / rows.len()).max(1);
    let part = |(part, sum): (usize, &mut [f64])| {
        let (rows, first) = (&rows, part * size);
        Arch::new().dispatch(Combination { rows, first, sum });
    };
    if size >= p.len() {
        part((0, &mut p));
    } else {
        p.par_chunks_mut(size).enumerate().for_each(part);
    }
    let share = dot(&p, v);
    for (p, v) in p.iter_mut().zip(v) {
        *p -= share * v;
    }
    p
}

/// Adds to `sum` the entries of rows from `first` on, each row times its weight.
struct Combination<'a> {
    rows: &'a [(&'a [f64], f64)],
    first: usize,
    sum: &'a mut [f64],
}

impl WithSimd for Combination<'_> {
    type Output = ();

    /// The compiler makes the loops vectors, whose width changes no bit: each entry has its own sum.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        // Rows that are added at once, so that sums are read and written less often.
        const TOGETHER: usize = 8;
        let Self { rows, first, sum } = self;
        let entries = first..first + sum.len();
        let (groups, last) = rows.as_chunks::<TOGETHER>();
        for group in groups {
            let rows = group.map(|(row, _)| &row[entries.clone()]);
            for (j, sum) in sum.iter_mut().enumerate() {
                let mut own = *sum;
                for t in 0..TOGETHER {
                    own += group[t].1 * rows[t][j];
                }
                *sum = own;
            }
        }
        for (row, weight) in last {
            for (sum, value) in sum.iter_mut().zip(&row[entries.clone()]) {
                *sum += weight * value;
            }
        }
    }
}

#[cfg(test)]
mod tests;
