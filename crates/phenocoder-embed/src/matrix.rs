//! Small things that several methods do to a matrix.

use std::ops::Range;

use nalgebra::{Cholesky, DMatrix, Dyn};
use ndarray::{Array2, ArrayRef2, ArrayView1, ArrayView2, ArrayViewMut1};
use phenocoder_core::{Cancelled, Categorical, Progress, ShapeError};
use rayon::prelude::*;

use crate::{ConfigError, Error, Result};

/// Columns of a system of equations that are made or solved before the caller is asked again whether to stop.
pub(crate) const COLUMNS: usize = 64;
/// By how many times the variance of an unknown may grow by not knowing the others: from here on, ten or more of sixteen digits
/// are rounding.
const MOST_INFLATION: f64 = 1e10;

/// Refuses NaN and infinity and names the first one.
pub(crate) fn check_finite(x: ArrayView2<'_, f64>) -> Result<()> {
    // Without a way out within a chunk, several values are looked at at once.
    let all = |chunk: &[f64]| chunk.iter().fold(true, |all, v| all & v.is_finite());
    if (x.as_slice_memory_order()).is_some_and(|values| values.chunks(1024).all(all)) {
        return Ok(());
    }
    for ((row, column), &value) in x.indexed_iter() {
        if !value.is_finite() {
            return Err(Error::NotFinite { row, column, value });
        }
    }
    Ok(())
}

/// Hands on what a method makes of finite values, unless some of it is beyond any number.
pub(crate) fn within_numbers(method: &'static str, made: Array2<f64>) -> Result<Array2<f64>> {
    match check_finite(made.view()) {
        Ok(()) => Ok(made),
        Err(_) => Err(Error::Overflow { method }),
    }
}

/// Refuses an array of another shape.
pub(crate) fn check_shape(
    what: &str,
    expected: &[usize],
    found: &[usize],
) -> Result<(), ShapeError> {
    if found == expected {
        return Ok(());
    }
    Err(ShapeError::Array {
        what: what.to_owned(),
        expected: format!("{expected:?}"),
        found: found.to_vec(),
    })
}

/// Refuses what no count, share, variance or sum of squares can be.
pub(crate) fn check_amounts(what: &'static str, values: &[f64]) -> Result<(), ConfigError> {
    for &value in values {
        let holds = value.is_finite() && value >= 0.0;
        ConfigError::check(holds, what, "finite and at least 0", value)?;
    }
    Ok(())
}

/// Refuses what no deviation is that values are divided by.
pub(crate) fn check_divisors<'a>(
    what: &'static str,
    values: impl IntoIterator<Item = &'a f64>,
) -> Result<(), ConfigError> {
    for &value in values {
        let holds = value.is_finite() && value > 0.0;
        ConfigError::check(holds, what, "finite and above 0", value)?;
    }
    Ok(())
}

/// Refuses a matrix with another number of columns than a method was fitted on; `what` is its name.
pub(crate) fn check_columns(what: &str, x: ArrayView2<'_, f64>, expected: usize) -> Result<()> {
    if x.ncols() == expected {
        return Ok(());
    }
    Err(ShapeError::Array {
        what: what.to_owned(),
        expected: format!("[n, {expected}]"),
        found: x.shape().to_vec(),
    }
    .into())
}

/// The codes of labels of which none may be missing.
pub(crate) fn full_codes(
    labels: &Categorical,
    what: &'static str,
    rows: usize,
) -> Result<Vec<usize>> {
    ShapeError::check_len(what, rows, labels.len())?;
    (0..rows)
        .map(|row| labels.code(row).ok_or(Error::MissingLabel { what, row }))
        .collect()
}

/// A row of a matrix in standard layout.
#[inline]
pub(crate) fn row_of(x: &ArrayRef2<f64>, row: usize) -> &[f64] {
    let values = x.row(row).to_slice();
    values.expect("rows in standard layout lie in one piece")
}

/// The squared Euclidean distance, summed in an order that is the same everywhere.
#[inline]
pub(crate) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 4;
    let mut sums = [0.0; LANES];
    let (heads_a, tail_a) = a.as_chunks::<LANES>();
    let (heads_b, tail_b) = b.as_chunks::<LANES>();
    for (u, v) in heads_a.iter().zip(heads_b) {
        for lane in 0..LANES {
            let difference = u[lane] - v[lane];
            sums[lane] += difference * difference;
        }
    }
    let mut rest = 0.0;
    for (u, v) in tail_a.iter().zip(tail_b) {
        rest += (u - v) * (u - v);
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3]) + rest
}

/// The dot product, summed in an order that is the same everywhere.
#[inline]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 4;
    let mut sums = [0.0; LANES];
    let (heads_a, tail_a) = a.as_chunks::<LANES>();
    let (heads_b, tail_b) = b.as_chunks::<LANES>();
    for (u, v) in heads_a.iter().zip(heads_b) {
        for lane in 0..LANES {
            sums[lane] += u[lane] * v[lane];
        }
    }
    let mut rest = 0.0;
    for (u, v) in tail_a.iter().zip(tail_b) {
        rest += u * v;
    }
    (sums[0] + sums[2]) + (sums[1] + sums[3]) + rest
}

/// The Euclidean length.
pub(crate) fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// Brings a row to length 1; a row of zeros stays one.
pub(crate) fn to_unit_length(mut row: ArrayViewMut1<'_, f64>) {
    // By the largest first, so that no square is infinite.
    let largest = row.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    if largest > 0.0 {
        row /= largest;
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        row /= length;
    }
}

/// Takes from `x` what lies along the others, which are of its length and orthonormal.
///
/// Once leaves what the rounding of the first products makes; twice is enough (Giraud, Langou & Rozložník 2005,
/// doi:10.1007/s00211-005-0615-4).
pub(crate) fn make_orthogonal<V: AsRef<[f64]> + Sync>(x: &mut [f64], others: &[V]) {
    // Entries that one task changes, and products from which tasks are worth their while.
    const ENTRIES: usize = 1024;
    const WORTH: usize = 1 << 17;
    let own: &[f64] = x;
    let share = |other: &V| dot(other.as_ref(), own);
    let apart = others.len().saturating_mul(own.len()) >= WORTH;
    let shares: Vec<f64> = if apart {
        others.par_iter().map(share).collect()
    } else {
        others.iter().map(share).collect()
    };
    let take = |(part, values): (usize, &mut [f64])| {
        for (share, other) in shares.iter().zip(others) {
            let along = &other.as_ref()[part * ENTRIES..];
            for (value, along) in values.iter_mut().zip(along) {
                *value -= share * along;
            }
        }
    };
    if apart {
        x.par_chunks_mut(ENTRIES).enumerate().for_each(take);
    } else {
        x.chunks_mut(ENTRIES).enumerate().for_each(take);
    }
}

/// Takes from `x`, twice, what lies along the others, which are of its length and orthonormal, and brings the rest to
/// length 1 where it is longer than `least`; says whether it was.
pub(crate) fn make_orthonormal<V: AsRef<[f64]> + Sync>(
    x: &mut [f64],
    others: &[V],
    least: f64,
) -> bool {
    for _ in 0..2 {
        make_orthogonal(x, others);
    }
    let length = norm(x);
    let enough = length > least;
    if enough {
        x.iter_mut().for_each(|value| *value /= length);
    }
    enough
}

/// As many sums as `length` over the rows `0..rows`; `add` adds what a range of rows contributes.
///
/// The ranges do not depend on the number of threads, nor does the order in which they are added.
/// There are few enough of them that all sums together take no more memory than four columns.
pub(crate) fn sum_rows(
    rows: usize,
    length: usize,
    add: impl Fn(Range<usize>, &mut [f64]) + Sync,
) -> Vec<f64> {
    const LEAST: usize = 1024;
    let step = LEAST.max(length / 4);
    let parts: Vec<Vec<f64>> = (0..rows.div_ceil(step))
        .into_par_iter()
        .map(|part| {
            let mut sums = vec![0.0; length];
            add(part * step..rows.min((part + 1) * step), &mut sums);
            sums
        })
        .collect();
    let mut sums = vec![0.0; length];
    for part in parts {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sums
}

/// The solution of equations `A x = b` with a symmetric matrix, for every column of `right`; asks on the way whether to stop.
///
/// Refuses what rounding decides: equations of which an unknown has a variance inflation factor `A_jj (A⁻¹)_jj` above 1e10
/// (Marquardt 1970, doi:10.1080/00401706.1970.10488699).
/// It is 1 for an unknown that has nothing in common with the others, and infinite for one that follows from them; other than
/// the pivots of a decomposition, it does not depend on the order of the unknowns and on their units.
/// Cost: as much as the decomposition once more, and memory for a block of columns.
pub(crate) fn solve_symmetric(
    method: &'static str,
    system: DMatrix<f64>,
    right: DMatrix<f64>,
    progress: &dyn Progress,
) -> Result<DMatrix<f64>> {
    let singular = Error::Singular { method };
    let diagonal = system.diagonal();
    progress.check()?;
    let Some(factors) = Cholesky::new(system) else {
        return Err(singular);
    };
    if !are_told_apart(&factors, diagonal.as_slice(), progress)? {
        return Err(singular);
    }
    Ok(solve_columns(&factors, right, progress)?)
}

/// Whether no variance inflation factor is too large, of equations that are decomposed, given the diagonal of their matrix.
fn are_told_apart(
    factors: &Cholesky<f64, Dyn>,
    diagonal: &[f64],
    progress: &dyn Progress,
) -> Result<bool, Cancelled> {
    let lower = factors.l_dirty();
    for (block, own) in diagonal.chunks(COLUMNS).enumerate() {
        progress.check()?;
        let start = block * COLUMNS;
        let rest = diagonal.len() - start;
        // (A⁻¹)_jj is the squared length of column j of L⁻¹, in which all above row j is 0.
        // Scaled first, so that the square of no scale is infinite.
        let roots: Vec<f64> = own.iter().map(|value| value.sqrt()).collect();
        let mut columns = DMatrix::from_partial_diagonal(rest, own.len(), &roots);
        lower
            .view((start, start), (rest, rest))
            .solve_lower_triangular_unchecked_mut(&mut columns);
        let mut inflations = columns.column_iter().map(|column| column.norm_squared());
        if !inflations.all(|inflation| inflation <= MOST_INFLATION) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The solution of equations whose matrix is decomposed, for every column of `right`; asks on the way whether to stop.
pub(crate) fn solve_columns(
    factors: &Cholesky<f64, Dyn>,
    mut right: DMatrix<f64>,
    progress: &dyn Progress,
) -> Result<DMatrix<f64>, Cancelled> {
    for start in (0..right.ncols()).step_by(COLUMNS) {
        progress.check()?;
        let width = COLUMNS.min(right.ncols() - start);
        factors.solve_mut(&mut right.columns_mut(start, width));
    }
    Ok(right)
}

/// Puts `exp(score − largest)` in place of scores and returns the largest and the sum.
pub(crate) fn exponentials(scores: &mut [f64]) -> (f64, f64) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores {
        *score = libm::exp(*score - largest);
        sum += *score;
    }
    (largest, sum)
}

/// The place of the largest value, of several the first; 0 when there is none.
pub(crate) fn first_largest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (place, value) in values.enumerate() {
        if value > best.1 {
            best = (place, value);
        }
    }
    best.0
}

/// The power of two by which the largest of some values comes near 1: it changes no digit of theirs.
///
/// At most `2^±1000`, so that one over it is a power of two as well.
pub(crate) fn to_unit(largest: f64) -> f64 {
    libm::exp2((-libm::ceil(libm::log2(largest))).clamp(-1000.0, 1000.0))
}

/// The entry of largest size, of several the first; 0 when there is none.
pub(crate) fn largest_entry(values: ArrayView1<'_, f64>) -> f64 {
    let mut largest = 0.0_f64;
    for &value in values {
        if value.abs() > largest.abs() {
            largest = value;
        }
    }
    largest
}

/// Sorts the values and returns the middle one, or the mean of the two middle ones; NaN for none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.is_empty() {
        f64::NAN
    } else if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use phenocoder_core::NoProgress;

    use super::*;

    /// Stops when it has been asked so often.
    struct StopAfter(usize, AtomicUsize);

    impl Progress for StopAfter {
        fn start(&self, _: &str, _: Option<u64>) {}
        fn advance(&self, _: u64) {}
        fn finish(&self) {}
        fn is_cancelled(&self) -> bool {
            self.1.fetch_add(1, Ordering::Relaxed) >= self.0
        }
    }

    #[test]
    fn equations_are_solved_in_blocks_and_stop_between_them() {
        let system = DMatrix::from_fn(3, 3, |i, j| {
            if i == j {
                4.0
            } else {
                1.0 / (1 + i + j) as f64
            }
        });
        let factors = Cholesky::new(system).unwrap();
        let right = DMatrix::from_fn(3, 2 * COLUMNS + 5, |i, j| (7 * i + 3 * j) as f64);
        let asked = |times| StopAfter(times, AtomicUsize::new(0));
        let found = solve_columns(&factors, right.clone(), &asked(3)).unwrap();
        assert_eq!(found, factors.solve(&right));
        for times in 0..3 {
            let stopped = solve_columns(&factors, right.clone(), &asked(times));
            assert_eq!(stopped, Err(Cancelled));
        }
    }

    #[test]
    fn unknowns_are_told_apart_whatever_their_order_and_units() {
        // Of two unknowns with correlation r the variance grows by 1 / (1 − r²).
        for (rest, is_solved) in [(0.5, true), (2e-10, true), (5e-11, false), (1e-13, false)] {
            let r = f64::sqrt(1.0 - rest);
            for (a, b) in [(1.0, 1.0), (1e-8, 1e8), (1e8, 1e-8), (1e-150, 1e3)] {
                let system = DMatrix::from_row_slice(2, 2, &[a * a, r * a * b, r * a * b, b * b]);
                let right = DMatrix::from_row_slice(2, 1, &[a, b]);
                let found = solve_symmetric("it", system, right, &NoProgress);
                if is_solved {
                    // Both unknowns are 1 / (1 + r) in units of 1.
                    let found = found.unwrap();
                    for (found, unit) in [(found[0], a), (found[1], b)] {
                        assert!(
                            (found * unit * (1.0 + r) - 1.0).abs() < 1e-4,
                            "{found} {unit}"
                        );
                    }
                } else {
                    assert_eq!(
                        found,
                        Err(Error::Singular { method: "it" }),
                        "{rest} {a} {b}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_unknown_in_any_block_that_follows_from_one_in_another_is_found() {
        let n = 2 * COLUMNS + 5;
        for (i, j) in [(0, n - 1), (3, 4), (COLUMNS, 2 * COLUMNS)] {
            for (shared, is_solved) in [(1.0 - 1e-9, true), (1.0 - 1e-12, false)] {
                let mut system = DMatrix::<f64>::identity(n, n);
                (system[(i, j)], system[(j, i)]) = (shared, shared);
                let found = solve_symmetric("it", system, DMatrix::zeros(n, 1), &NoProgress);
                assert_eq!(found.is_ok(), is_solved, "{i} {j}");
            }
        }
        // Asked before the decomposition, for three blocks of unknowns and for one of right sides.
        let of = |times| {
            let (system, right) = (DMatrix::identity(n, n), DMatrix::zeros(n, 1));
            let asked = StopAfter(times, AtomicUsize::new(0));
            solve_symmetric("it", system, right, &asked)
        };
        for times in 0..5 {
            assert_eq!(of(times), Err(Error::Cancelled(Cancelled)));
        }
        assert!(of(5).is_ok());
    }

    #[test]
    fn every_row_is_in_one_range() {
        for (rows, length) in [(0, 3), (1, 1), (1024, 2), (1025, 2), (9000, 8000)] {
            let sums = sum_rows(rows, length, |range, sums| {
                for row in range {
                    sums[row % length] += 1.0 + row as f64;
                }
            });
            let sum: f64 = sums.iter().sum();
            assert_eq!(sum, (rows * (rows + 1) / 2) as f64, "{rows} {length}");
            assert_eq!(sums.len(), length);
        }
    }

    #[test]
    fn distances_and_products_of_any_length_are_right() {
        for n in 0..11_u32 {
            let a: Vec<f64> = (0..n).map(f64::from).collect();
            let b: Vec<f64> = (0..n).map(|i| f64::from(i) + 2.0).collect();
            assert_eq!(squared_distance(&a, &b), 4.0 * f64::from(n));
            let sum: f64 = (0..n).map(|i| f64::from(i * (i + 2))).sum();
            assert_eq!(dot(&a, &b), sum);
        }
    }

    #[test]
    fn the_first_bad_value_is_named() {
        let x = ndarray::array![[0.0, 1.0], [f64::NAN, 2.0]];
        assert!(matches!(
            check_finite(x.view()),
            Err(Error::NotFinite {
                row: 1,
                column: 0,
                ..
            })
        ));
    }

    #[test]
    fn a_matrix_of_another_width_is_named() {
        let query = Array2::<f64>::zeros((3, 2));
        assert!(check_columns("query", query.view(), 2).is_ok());
        let error = check_columns("query", query.view(), 4).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("query") && message.contains("[n, 4]"),
            "{message}"
        );
    }

    #[test]
    fn what_is_beyond_any_number_is_not_handed_on() {
        let made = ndarray::array![[1.0, f64::MAX]];
        assert_eq!(within_numbers("it", made.clone()).unwrap(), made);
        for beyond in [f64::INFINITY, f64::NAN] {
            let error = within_numbers("it", ndarray::array![[1.0, beyond]]).unwrap_err();
            assert_eq!(error, Error::Overflow { method: "it" });
        }
    }

    #[test]
    fn rows_of_any_size_have_length_one_and_zeros_stay() {
        for (row, expected) in [
            ([3.0, -4.0], [0.6, -0.8]),
            ([3e200, -4e200], [0.6, -0.8]),
            ([3e-200, -4e-200], [0.6, -0.8]),
            ([0.0, 0.0], [0.0, 0.0]),
        ] {
            let mut found = row;
            to_unit_length(ArrayViewMut1::from(&mut found[..]));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-15, "{row:?}");
            }
        }
    }

    #[test]
    fn what_lies_along_others_goes_whether_tasks_share_the_work_or_not() {
        // The last of them is a sum of unit vectors, so that it has a part in every entry.
        for (length, count) in [(5, 2), (3000, 70)] {
            let mut others = vec![vec![0.0; length]; count];
            for (i, other) in others.iter_mut().enumerate() {
                other[i] = 1.0;
            }
            let rest = (length - count + 1) as f64;
            others[count - 1][count - 1..].fill(1.0 / rest.sqrt());
            let mut x: Vec<f64> = (0..length).map(|i| (i % 7) as f64).collect();
            make_orthogonal(&mut x, &others);
            assert!(x.iter().any(|value| value.abs() > 0.5));
            for other in &others {
                assert!(dot(other, &x).abs() < 1e-12 * length as f64);
            }
        }
    }

    #[test]
    fn what_others_leave_gets_length_one_where_it_is_long_enough() {
        let others = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        let mut x = [3.0, 4.0, 2.0];
        assert!(make_orthonormal(&mut x, &others, 1.0));
        assert_eq!(x, [0.0, 0.0, 1.0]);
        let mut x = [3.0, 4.0, 2.0];
        assert!(!make_orthonormal(&mut x, &others, 2.0));
        assert_eq!(x, [0.0, 0.0, 2.0]);
    }

    #[test]
    fn the_entry_of_largest_size_keeps_its_sign() {
        assert_eq!(largest_entry(ndarray::aview1(&[1.0, -3.0, 3.0, 2.0])), -3.0);
        assert_eq!(largest_entry(ndarray::aview1(&[])), 0.0);
    }

    #[test]
    fn amounts_below_zero_and_beyond_numbers_are_refused() {
        assert!(check_amounts("counts", &[0.0, 0.5, f64::MAX]).is_ok());
        for wrong in [-1e-300, f64::NAN, f64::INFINITY] {
            let error = check_amounts("counts", &[1.0, wrong]).unwrap_err();
            assert_eq!((error.setting, error.found), ("counts", wrong.to_string()));
        }
    }

    #[test]
    fn divisors_are_above_zero() {
        assert!(check_divisors("std", &[1e-300, f64::MAX]).is_ok());
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = check_divisors("std", &[1.0, wrong]).unwrap_err();
            assert_eq!((error.setting, error.found), ("std", wrong.to_string()));
        }
    }

    #[test]
    fn the_largest_value_is_found_and_exponentials_are_shares_of_it() {
        let mut scores = [-800.0, 700.0, 700.0 - libm::log(4.0), f64::NEG_INFINITY];
        assert_eq!(first_largest(scores.into_iter()), 1);
        let (largest, sum) = exponentials(&mut scores);
        assert_eq!(
            (largest, scores[0], scores[1], scores[3]),
            (700.0, 0.0, 1.0, 0.0)
        );
        assert!((scores[2] - 0.25).abs() < 1e-12 && sum == 1.0 + scores[2]);
        assert_eq!(first_largest([0.5, 1.0, 1.0].into_iter()), 1);
        assert_eq!(first_largest(std::iter::empty()), 0);
    }

    #[test]
    fn the_median_is_the_middle_value_or_between_two() {
        assert_eq!(median(&mut [3.0, -1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [3.0, -1.0, 2.0, 4.0]), 2.5);
        // The sum of these is beyond any number.
        assert_eq!(median(&mut [f64::MAX, f64::MAX]), f64::MAX);
        assert!(median(&mut []).is_nan());
    }
}
