//! Are groups compact and far from each other, as their centres tell?

use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_core::{Progress, ShapeError};
use rayon::prelude::*;

use super::{check_groups, ranked};
use crate::matrix::{check_finite, row_of, squared_distance};
use crate::patience::ask;
use crate::{Error, Result};

/// Lengths below this share of the largest value are rounding.
const ROUNDING: f64 = 1e-12;

/// Rows in groups, moved and scaled so that no square overflows; both measures stay the same.
struct Groups {
    x: Array2<f64>,
    groups: Vec<usize>,
    counts: Vec<usize>,
    centers: Array2<f64>,
    /// A length that is not told apart from 0.
    zero: f64,
}

impl Groups {
    fn new(
        x: ArrayView2<'_, f64>,
        labels: &[u32],
        method: &'static str,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let n = x.nrows();
        ShapeError::check_len("labels", n, labels.len())?;
        check_finite(x)?;
        let (groups, counts) = ranked(labels);
        check_groups(counts.len(), method)?;
        Error::check_enough(method, "rows beyond one per group", 1, n - counts.len())?;
        let mut x = x.as_standard_layout().into_owned();
        let largest = to_unit(&mut x);
        if let Some(mean) = x.mean_axis(Axis(0)) {
            x -= &mean;
        }
        let extent = to_unit(&mut x);
        let mut centers = Array2::<f64>::zeros((counts.len(), x.ncols()));
        progress.start("centres of groups", Some(n as u64));
        for (row, (values, &group)) in x.outer_iter().zip(&groups).enumerate() {
            ask(row, n, progress)?;
            let mut center = centers.row_mut(group);
            center += &values;
        }
        progress.finish();
        for (mut center, &count) in centers.outer_iter_mut().zip(&counts) {
            center /= count as f64;
        }
        // `extent` is in units of `largest`, so rounding of the original values is `ROUNDING / extent` now.
        let zero = if largest > 0.0 && extent > 0.0 {
            ROUNDING / extent
        } else {
            f64::INFINITY
        };
        Ok(Self {
            x,
            groups,
            counts,
            centers,
            zero,
        })
    }

    fn center(&self, group: usize) -> &[f64] {
        row_of(&self.centers, group)
    }

    /// Hands on the group of each row, and the squared distance from its centre.
    fn squared_offsets(
        &self,
        progress: &dyn Progress,
        mut take: impl FnMut(usize, f64),
    ) -> Result<()> {
        let n = self.groups.len();
        progress.start("distances from centres", Some(n as u64));
        for (row, &group) in self.groups.iter().enumerate() {
            ask(row, n, progress)?;
            let squared = squared_distance(row_of(&self.x, row), self.center(group));
            take(group, squared);
        }
        progress.finish();
        Ok(())
    }

    /// The mean distance of each group's rows from their centre.
    fn widths(&self, progress: &dyn Progress) -> Result<Vec<f64>> {
        let mut widths = vec![0.0; self.counts.len()];
        self.squared_offsets(progress, |group, squared| widths[group] += squared.sqrt())?;
        for (width, &count) in widths.iter_mut().zip(&self.counts) {
            *width /= count as f64;
        }
        Ok(widths)
    }

    /// For each group the largest ratio of both widths to the distance of the centres, over all other groups.
    ///
    /// Tasks look at each pair once; the largest of several numbers does not depend on their order.
    fn worst_ratios(&self, widths: &[f64], progress: &dyn Progress) -> Result<Vec<f64>> {
        let k = widths.len();
        let zeros = || vec![0.0_f64; k];
        progress.start("Davies-Bouldin index", Some(k as u64));
        let worst = (0..k)
            .into_par_iter()
            .try_fold(zeros, |mut worst, i| {
                progress.check()?;
                for j in i + 1..k {
                    let distance = squared_distance(self.center(i), self.center(j)).sqrt();
                    if distance > self.zero {
                        let ratio = (widths[i] + widths[j]) / distance;
                        worst[i] = worst[i].max(ratio);
                        worst[j] = worst[j].max(ratio);
                    }
                }
                progress.advance(1);
                Ok::<_, Error>(worst)
            })
            .try_reduce(zeros, |mut worst, others| {
                for (worst, other) in worst.iter_mut().zip(others) {
                    *worst = worst.max(other);
                }
                Ok(worst)
            })?;
        progress.finish();
        Ok(worst)
    }
}

/// Divides by a power of two so that all values lie in `[−1, 1]`, and returns the size of the largest before that.
fn to_unit(x: &mut Array2<f64>) -> f64 {
    let largest = x.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    if largest > 0.0 {
        // In two steps, for the power itself may be beyond any number.
        let exponent = -libm::ceil(libm::log2(largest)) as i32;
        let (half, rest) = (exponent / 2, exponent - exponent / 2);
        x.mapv_inplace(|v| libm::ldexp(libm::ldexp(v, half), rest));
    }
    largest
}

/// The Davies–Bouldin index: how wide groups are beside their distance, the mean over groups of the worst other group.
///
/// With `s` the mean Euclidean distance of a group's rows to their centre and `M` the distance of two centres, it is the
/// mean over groups i of the largest `(s_i + s_j) / M_ij`.
/// Lower is better, 0 is the least; groups that are no balls around a centre are not seen as groups.
/// Davies & Bouldin 1979, doi:10.1109/TPAMI.1979.4766909.
/// Cost: `O(n p + k² p)` time, on all threads for the pairs of groups, and `O(n p)` memory.
///
/// # Shapes
///
/// `x`: `[n, p]`; `labels`: one per row, `2 ≤ k ≤ n − 1` different ones.
///
/// # Differences from scikit-learn's `davies_bouldin_score`
///
/// A pair of groups with one centre counts as 0, and the index is 0 when all rows of each group are the same or all
/// centres are, as there.
/// There, lengths up to 1e-8 are the same; here, lengths up to 1e-12 of the largest value, so that the unit does not matter
/// and values may be as large as numbers go.
///
/// # Errors
///
/// [`Error::TooFew`] for fewer than two groups or when each row is a group, [`Error::Shape`] when rows and labels differ in
/// number, [`Error::NotFinite`] for NaN or infinity, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::davies_bouldin;
///
/// // Both groups reach 0.5 from their centres, which are 4 apart.
/// let x = array![[0.0], [1.0], [4.0], [5.0]];
/// assert_eq!(davies_bouldin(x.view(), &[0, 0, 1, 1], &NoProgress)?, 0.25);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "davies_bouldin_score")]
pub fn davies_bouldin(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    progress: &dyn Progress,
) -> Result<f64> {
    let all = Groups::new(x, labels, "the Davies-Bouldin index", progress)?;
    let widths = all.widths(progress)?;
    if widths.iter().all(|&width| width <= all.zero) {
        return Ok(0.0);
    }
    let worst = all.worst_ratios(&widths, progress)?;
    Ok(worst.iter().sum::<f64>() / worst.len() as f64)
}

/// The Calinski–Harabasz index: the variance between groups over the variance within, per degree of freedom.
///
/// `B (n − k) / (W (k − 1))` with `B = Σ n_g |c_g − c|²` and `W = Σ |x − c_g|²`.
/// Higher is better; it has no upper end and grows with the number of rows, so compare it on the same rows only.
/// Caliński & Harabasz 1974, doi:10.1080/03610927408827101.
/// Cost: `O(n p)` time and memory.
///
/// # Shapes
///
/// `x`: `[n, p]`; `labels`: one per row, `2 ≤ k ≤ n − 1` different ones.
///
/// # Differences from scikit-learn's `calinski_harabasz_score`
///
/// It is 1 when all rows of each group are the same, as there; here also when they are but for rounding (mean distances
/// of 1e-12 of the largest value).
///
/// # Errors
///
/// [`Error::TooFew`] for fewer than two groups or when each row is a group, [`Error::Shape`] when rows and labels differ in
/// number, [`Error::NotFinite`] for NaN or infinity, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::calinski_harabasz;
///
/// // Between: 4 · 2² on one degree of freedom; within: 4 · 0.5² on two.
/// let x = array![[0.0], [1.0], [4.0], [5.0]];
/// assert_eq!(calinski_harabasz(x.view(), &[0, 0, 1, 1], &NoProgress)?, 32.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "calinski_harabasz_score")]
pub fn calinski_harabasz(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    progress: &dyn Progress,
) -> Result<f64> {
    let all = Groups::new(x, labels, "the Calinski-Harabasz index", progress)?;
    let (n, k) = (all.x.nrows() as f64, all.counts.len());
    let mut within = 0.0_f64;
    all.squared_offsets(progress, |_, squared| within += squared)?;
    if (within / n).sqrt() <= all.zero {
        return Ok(1.0);
    }
    // The mean of all rows is the origin.
    let origin = vec![0.0; all.x.ncols()];
    let between = (0..k).map(|g| all.counts[g] as f64 * squared_distance(all.center(g), &origin));
    let between: f64 = between.sum();
    Ok(between / within * (n - k as f64) / (k - 1) as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{NoProgress, Seed};
    use proptest::prelude::*;

    use super::*;
    use crate::patience::tests::times_asked;

    /// The Davies–Bouldin and the Calinski–Harabasz index.
    fn both(x: &Array2<f64>, labels: &[u32]) -> (f64, f64) {
        let davies_bouldin = davies_bouldin(x.view(), labels, &NoProgress).unwrap();
        let calinski_harabasz = calinski_harabasz(x.view(), labels, &NoProgress).unwrap();
        (davies_bouldin, calinski_harabasz)
    }

    #[test]
    fn three_groups_equal_values_worked_out_by_hand() {
        let x = array![[0.0, 0.0], [0.0, 2.0], [4.0, 1.0], [0.0, 7.0], [0.0, 9.0]];
        let (davies_bouldin, calinski_harabasz) = both(&x, &[3, 3, 9, 5, 5]);
        // Widths 1, 0, 1; centres (0, 1), (4, 1), (0, 8): 1/4, 2/7 and 1/√65 apart.
        let expected = (2.0 / 7.0 + 2.0 / 7.0 + 0.25) / 3.0;
        assert!((davies_bouldin - expected).abs() < 1e-14);
        // Mean (0.8, 3.8): between 2 (0.64 + 7.84) + (10.24 + 7.84) + 2 (0.64 + 17.64) = 71.6; within 4.
        let expected = 71.6 / 4.0 * 2.0 / 2.0;
        assert!((calinski_harabasz - expected).abs() < 1e-12);
    }

    #[test]
    fn rows_without_any_width_or_distance_are_defined() {
        let labels = [0, 0, 1, 1];
        // 0.1 + 0.2 has no exact mean.
        let same = Array2::from_elem((4, 3), 0.1 + 0.2);
        assert_eq!(both(&same, &labels), (0.0, 1.0));
        assert_eq!(both(&Array2::zeros((4, 3)), &labels), (0.0, 1.0));
        let points = array![[0.1], [0.1], [0.7], [0.7]];
        assert_eq!(both(&points, &labels), (0.0, 1.0));
        let one_center = array![[-0.1], [0.1], [-0.3], [0.3]];
        let (davies_bouldin, calinski_harabasz) = both(&one_center, &labels);
        assert_eq!(davies_bouldin, 0.0);
        assert!(calinski_harabasz < 1e-20, "{calinski_harabasz}");
        assert_eq!(both(&Array2::zeros((4, 0)), &labels), (0.0, 1.0));
    }

    #[test]
    fn values_as_large_and_as_small_as_numbers_go_change_nothing() {
        let x = array![
            [0.0, 0.25],
            [1.0, 0.0],
            [0.5, -1.0],
            [0.75, -0.5],
            [-1.0, 1.0]
        ];
        let labels = [0, 0, 1, 1, 1];
        for power in [-1000, -600, 600, 1023] {
            let scaled = x.mapv(|v| libm::ldexp(v, power));
            assert_eq!(both(&scaled, &labels), both(&x, &labels), "{power}");
        }
    }

    #[test]
    fn what_has_no_index_is_refused() {
        let x = array![[0.0], [1.0], [2.0]];
        for measure in [davies_bouldin, calinski_harabasz] {
            for labels in [[1, 1, 1], [1, 2, 3]] {
                let error = measure(x.view(), &labels, &NoProgress).unwrap_err();
                assert!(matches!(error, Error::TooFew { .. }), "{error}");
            }
            assert!(matches!(
                measure(x.view(), &[0, 1], &NoProgress),
                Err(Error::Shape(_))
            ));
            let wrong = array![[0.0], [f64::NAN], [2.0]];
            assert!(matches!(
                measure(wrong.view(), &[0, 0, 1], &NoProgress),
                Err(Error::NotFinite { row: 1, .. })
            ));
        }
    }

    #[test]
    fn measures_ask_at_rows_and_at_every_group_whether_to_stop() {
        let x = Array2::from_shape_fn((12, 2), |(i, j)| ((i * i + 3 * j) % 7) as f64);
        let labels: Vec<u32> = (0..12).map(|i| i % 5).collect();
        let compact = times_asked(|progress| calinski_harabasz(x.view(), &labels, progress));
        assert_eq!(compact, 2);
        let apart = times_asked(|progress| davies_bouldin(x.view(), &labels, progress));
        assert_eq!(apart, 2 + 5);
    }

    proptest! {
        #[test]
        fn order_of_rows_names_of_groups_and_places_do_not_matter(seed in 0_u64..1000, n in 5_usize..40, k in 2_u32..5) {
            let mut stream = Seed::new(seed).stream("x", 0);
            let labels: Vec<u32> = (0..n as u32).map(|i| i % k).collect();
            let x = Array2::from_shape_fn((n, 3), |(i, _)| f64::from(labels[i]) + stream.normal());
            let order = stream.permutation(n);
            let mixed = x.select(Axis(0), &order) * 3.0 + 50.0;
            let renamed: Vec<u32> = order.iter().map(|&i| 100 - 7 * labels[i]).collect();
            for measure in [davies_bouldin, calinski_harabasz] {
                let a = measure(x.view(), &labels, &NoProgress).unwrap();
                let b = measure(mixed.view(), &renamed, &NoProgress).unwrap();
                prop_assert!(a > 0.0 && (a - b).abs() < 1e-10 * a, "{a} {b}");
            }
        }
    }
}
