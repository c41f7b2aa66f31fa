//! How much closer are rows to their own group than to another one?

use ndarray::{ArrayView2, Axis, CowArray, Ix2};
use phenocoder_core::{Progress, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{check_groups, ranked, values_of};
use crate::knn::Metric;
use crate::matrix::{check_finite, dot, row_of, squared_distance, to_unit_length};
use crate::{Error, Result};

/// Rows per task; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 64;
/// What [`silhouette_by_batch`] needs one of.
pub(super) const MIXED_LABELS: &str = "labels with two batches of which one has two rows";

/// What a row's own group is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OtherGroups {
    /// The group of the smallest mean distance: Rousseeuw's definition.
    #[default]
    Nearest,
    /// All rows of all other groups.
    All,
    /// The group of the largest mean distance.
    Furthest,
}

/// Settings of [`silhouette_with`], [`silhouette_by_label`] and [`silhouette_by_batch`].
///
/// The defaults are those of scikit-learn and scIB: Euclidean distance, nearest other group.
/// Batches that occur with some labels only are judged better by the cosine distance and [`OtherGroups::All`] ("BRAS",
/// Rautenstrauch & Ohler 2025, doi:10.1038/s41587-025-02743-4), which scib-metrics' benchmark uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SilhouetteConfig {
    /// The distance of two rows (default [`Metric::Euclidean`]).
    pub metric: Metric,
    /// What the own group is compared with (default [`OtherGroups::Nearest`]).
    pub others: OtherGroups,
}

impl SilhouetteConfig {
    /// Sets the distance of two rows.
    #[must_use]
    pub fn with_metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// Sets what the own group is compared with.
    #[must_use]
    pub fn with_others(mut self, others: OtherGroups) -> Self {
        self.others = others;
        self
    }
}

/// The result of [`silhouette`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Silhouette {
    /// The mean over all rows, −1 to 1.
    #[serde(deserialize_with = "crate::stored::balance")]
    pub mean: f64,
    /// The value of each row; 0 for a row alone in its group.
    #[serde(deserialize_with = "crate::stored::balance")]
    pub samples: Vec<f64>,
}

/// The silhouette of a grouping by Euclidean distance: `(b − a) / max(a, b)`, with `a` the mean distance to the other
/// rows of a row's group and `b` the smallest mean distance to another group.
///
/// Near 1 groups lie apart, near 0 they overlap; for batches after a correction, near 0 is what one wants.
/// Rousseeuw 1987, doi:10.1016/0377-0427(87)90125-7.
/// Cost: `O(n² p)` time, memory for a copy of `x` and a few numbers per row; the distances are never stored.
///
/// # Shapes
///
/// `x`: `[n, p]`; `labels`: one per row.
///
/// # Differences from scikit-learn's `silhouette_samples`
///
/// Each row may be a group of its own; all values are 0 then, where scikit-learn fails.
///
/// # Errors
///
/// [`Error::TooFew`] for fewer than two groups, [`Error::Shape`] when rows and labels differ in number,
/// [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`] when squares of distances are beyond any number,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::silhouette;
///
/// let x = array![[0.0], [1.0], [4.0], [5.0]];
/// let result = silhouette(x.view(), &[0, 0, 1, 1], &NoProgress)?;
/// assert!((result.samples[0] - (4.5 - 1.0) / 4.5).abs() < 1e-12);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "silhouette_score")]
#[doc(alias = "silhouette_samples")]
pub fn silhouette(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    progress: &dyn Progress,
) -> Result<Silhouette> {
    silhouette_with(x, labels, &SilhouetteConfig::default(), progress)
}

/// [`silhouette`] by another distance, or beside other groups than the nearest.
///
/// A row of zeros is at cosine distance 1 from every other row.
///
/// # Errors
///
/// As [`silhouette`].
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::{SilhouetteConfig, silhouette_with};
/// use phenocoder_embed::knn::Metric;
///
/// // Two directions, whatever the lengths.
/// let x = array![[1.0, 0.0], [9.0, 0.0], [0.0, 2.0], [0.0, 7.0]];
/// let config = SilhouetteConfig::default().with_metric(Metric::Cosine);
/// assert_eq!(silhouette_with(x.view(), &[0, 0, 1, 1], &config, &NoProgress)?.mean, 1.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn silhouette_with(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    config: &SilhouetteConfig,
    progress: &dyn Progress,
) -> Result<Silhouette> {
    ShapeError::check_len("labels", x.nrows(), labels.len())?;
    check_finite(x)?;
    progress.start("silhouette", Some(x.nrows() as u64));
    let samples = samples(x, labels, config, progress)?;
    progress.finish();
    Ok(Silhouette {
        mean: samples.iter().sum::<f64>() / samples.len() as f64,
        samples,
    })
}

/// The value of each row, within a stage of the caller's.
fn samples(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    config: &SilhouetteConfig,
    progress: &dyn Progress,
) -> Result<Vec<f64>> {
    let n = x.nrows();
    let (groups, counts) = ranked(labels);
    check_groups(counts.len(), "the silhouette")?;
    // Rows of a group side by side make the sums per group run over whole ranges.
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&row| groups[row]);
    let mut sorted = x.select(Axis(0), &order);
    if config.metric == Metric::Cosine {
        sorted.outer_iter_mut().for_each(to_unit_length);
    }
    let sorted = Sorted {
        rows: sorted.as_standard_layout(),
        groups: order.iter().map(|&row| groups[row]).collect(),
        starts: counts
            .iter()
            .scan(0, |end, count| Some(std::mem::replace(end, *end + count)))
            .chain([n])
            .collect(),
    };
    let kind = config.others;
    let in_order = match config.metric {
        Metric::Euclidean => {
            sorted.silhouettes(kind, |a, b| squared_distance(a, b).sqrt(), progress)?
        }
        Metric::Cosine => sorted.silhouettes(kind, |a, b| (1.0 - dot(a, b)).max(0.0), progress)?,
    };
    if in_order.iter().any(|value| value.is_nan()) {
        return Err(Error::Overflow {
            method: "the silhouette",
        });
    }
    let mut samples = vec![0.0; n];
    for (&row, value) in order.iter().zip(in_order) {
        samples[row] = value;
    }
    Ok(samples)
}

/// Rows in the order of their groups.
struct Sorted<'a> {
    rows: CowArray<'a, f64, Ix2>,
    groups: Vec<usize>,
    /// Where each group starts, and the number of rows.
    starts: Vec<usize>,
}

impl Sorted<'_> {
    fn row(&self, row: usize) -> &[f64] {
        row_of(&self.rows, row)
    }

    fn silhouettes(
        &self,
        kind: OtherGroups,
        distance: impl Fn(&[f64], &[f64]) -> f64 + Sync,
        progress: &dyn Progress,
    ) -> Result<Vec<f64>> {
        let n = self.groups.len();
        let mut results = vec![0.0; n];
        results
            .par_chunks_mut(ROWS)
            .enumerate()
            .try_for_each(|(block, results)| {
                progress.check()?;
                for (offset, result) in results.iter_mut().enumerate() {
                    *result = self.silhouette(block * ROWS + offset, kind, &distance);
                }
                progress.advance(results.len() as u64);
                Ok::<(), Error>(())
            })?;
        Ok(results)
    }

    fn silhouette(
        &self,
        i: usize,
        kind: OtherGroups,
        distance: &impl Fn(&[f64], &[f64]) -> f64,
    ) -> f64 {
        let (n, own, row) = (self.groups.len(), self.groups[i], self.row(i));
        let count = |group: usize| self.starts[group + 1] - self.starts[group];
        if count(own) == 1 {
            return 0.0;
        }
        // The distance to itself is 0, which rounding of cosines does not always say.
        let sum = |range: std::ops::Range<usize>| {
            let others = range.filter(|&j| j != i);
            others.fold(0.0, |sum, j| sum + distance(row, self.row(j)))
        };
        let (mut within, mut nearest, mut furthest, mut all) = (0.0, f64::INFINITY, 0.0, 0.0);
        for group in 0..self.starts.len() - 1 {
            let sum = sum(self.starts[group]..self.starts[group + 1]);
            if group == own {
                within = sum / (count(own) - 1) as f64;
            } else {
                let mean = sum / count(group) as f64;
                nearest = f64::min(nearest, mean);
                furthest = f64::max(furthest, mean);
                all += sum;
            }
        }
        let other = match kind {
            OtherGroups::Nearest => nearest,
            OtherGroups::All => all / (n - count(own)) as f64,
            OtherGroups::Furthest => furthest,
        };
        let larger = f64::max(within, other);
        if larger > 0.0 {
            (other - within) / larger
        } else {
            0.0
        }
    }
}

/// How well labels are kept apart, from 0 to 1: `(mean silhouette + 1) / 2`.
///
/// One of the measures by which scIB judges integrations: 0.5 means that labels overlap, 1 that they lie apart.
/// Luecken et al. 2022, doi:10.1038/s41592-021-01336-8.
///
/// # Shapes
///
/// `x`: `[n, p]`; `labels`: one per row.
///
/// # Errors
///
/// As [`silhouette`].
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::{SilhouetteConfig, silhouette_by_label};
///
/// let x = array![[0.0], [0.0], [4.0], [4.0]];
/// let config = SilhouetteConfig::default();
/// assert_eq!(silhouette_by_label(x.view(), &[0, 0, 1, 1], &config, &NoProgress)?, 1.0);
/// assert_eq!(silhouette_by_label(x.view(), &[0, 1, 0, 1], &config, &NoProgress)?, 0.25);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "silhouette_label")]
pub fn silhouette_by_label(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    config: &SilhouetteConfig,
    progress: &dyn Progress,
) -> Result<f64> {
    Ok(f64::midpoint(
        silhouette_with(x, labels, config, progress)?.mean,
        1.0,
    ))
}

/// The result of [`silhouette_by_batch`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BatchSilhouette {
    /// The mean over the labels that have a value, 0 to 1.
    #[serde(deserialize_with = "crate::stored::share")]
    pub mean: f64,
    /// The value of each label, by rising label; `None` where all rows are of one batch, or each of another.
    #[serde(deserialize_with = "crate::stored::share")]
    pub per_label: Vec<(u32, Option<f64>)>,
}

/// How well batches are mixed within each label, from 0 to 1: the mean over labels of the mean of `1 − |s|`, with the
/// silhouette s of the batches among the rows of the label.
///
/// 1 means that a row of a label is no nearer to its own batch than to another; labels count alike, however many rows they
/// have.
/// Luecken et al. 2022, doi:10.1038/s41592-021-01336-8.
/// Cost: `O(Σ n_label² p)` time, memory for two copies of the rows of the commonest label.
///
/// # Shapes
///
/// `x`: `[n, p]`; `batches` and `labels`: one per row.
///
/// # Differences from scib-metrics' `silhouette_batch`
///
/// Double precision; the labels that have no value are named.
///
/// # Errors
///
/// [`Error::TooFew`] when no label has a value, [`Error::Shape`] when rows, batches and labels differ in number,
/// [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`] when squares of distances are beyond any number,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::{SilhouetteConfig, silhouette_by_batch};
///
/// // Label 0 is mixed, label 1 is torn into its batches, label 2 has one batch only.
/// let x = array![[0.0], [1.0], [0.0], [1.0], [8.0], [8.0], [9.0], [9.0], [20.0]];
/// let (labels, batches) = ([0, 0, 0, 0, 1, 1, 1, 1, 2], [0, 0, 1, 1, 0, 0, 1, 1, 0]);
/// let config = SilhouetteConfig::default();
/// let result = silhouette_by_batch(x.view(), &batches, &labels, &config, &NoProgress)?;
/// assert_eq!(result.per_label, [(0, Some(0.5)), (1, Some(0.0)), (2, None)]);
/// assert_eq!(result.mean, 0.25);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "silhouette_batch")]
#[doc(alias = "bras")]
pub fn silhouette_by_batch(
    x: ArrayView2<'_, f64>,
    batches: &[u32],
    labels: &[u32],
    config: &SilhouetteConfig,
    progress: &dyn Progress,
) -> Result<BatchSilhouette> {
    ShapeError::check_len("batches", x.nrows(), batches.len())?;
    ShapeError::check_len("labels", x.nrows(), labels.len())?;
    check_finite(x)?;
    let (groups, counts) = ranked(labels);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); counts.len()];
    for (row, &group) in groups.iter().enumerate() {
        members[group].push(row);
    }
    let (mut per_label, mut sum, mut found) = (Vec::new(), 0.0, 0);
    progress.start("silhouette by batch", Some(x.nrows() as u64));
    for (label, rows) in values_of(labels).into_iter().zip(&members) {
        progress.check()?;
        let batches: Vec<u32> = rows.iter().map(|&row| batches[row]).collect();
        let n_batches = values_of(&batches).len();
        let value = if n_batches < 2 || n_batches == rows.len() {
            progress.advance(rows.len() as u64);
            None
        } else {
            let rows = x.select(Axis(0), rows);
            let samples = samples(rows.view(), &batches, config, progress)?;
            let mixed = samples.iter().map(|s| 1.0 - s.abs());
            Some(mixed.sum::<f64>() / samples.len() as f64)
        };
        if let Some(value) = value {
            sum += value;
            found += 1;
        }
        per_label.push((label, value));
    }
    progress.finish();
    Error::check_enough("the silhouette by batch", MIXED_LABELS, 1, found)?;
    Ok(BatchSilhouette {
        mean: sum / found as f64,
        per_label,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::{CancelToken, NoProgress, Seed};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_equal_those_worked_out_by_hand() {
        let x = array![[5.0], [0.0], [1.0], [4.0], [9.0]];
        let result = silhouette(x.view(), &[8, 3, 3, 8, 1], &NoProgress).unwrap();
        // Row 5 is alone; for row 0 the lone row is the nearest other group.
        let expected = [(4.0 - 1.0) / 4.0, 3.5 / 4.5, 2.5 / 3.5, 2.5 / 3.5, 0.0];
        for (a, b) in result.samples.iter().zip(expected) {
            assert!((a - b).abs() < 1e-14, "{:?}", result.samples);
        }
        assert!((result.mean - expected.iter().sum::<f64>() / 5.0).abs() < 1e-14);
        let text = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<Silhouette>(&text).unwrap(), result);
        let wrong = text.replace(",0.0]", ",-7.0]");
        let error = serde_json::from_str::<Silhouette>(&wrong).unwrap_err();
        assert!(error.to_string().contains("from -1 to 1"), "{error}");
    }

    #[test]
    fn one_point_everywhere_has_no_silhouette_and_one_group_is_refused() {
        let x = Array2::zeros((4, 2));
        assert_eq!(
            silhouette(x.view(), &[0, 0, 1, 1], &NoProgress)
                .unwrap()
                .mean,
            0.0
        );
        assert!(matches!(
            silhouette(x.view(), &[1; 4], &NoProgress),
            Err(Error::TooFew { .. })
        ));
        assert!(silhouette(x.view(), &[1; 3], &NoProgress).is_err());
    }

    #[test]
    fn other_groups_and_cosines_equal_values_worked_out_by_hand() {
        // Angles 0°, 90°, 90°, 180°: cosine distances 1 and 2; the lone group is as far as it gets.
        let x = array![[2.0, 0.0], [0.0, 3.0], [0.0, 0.5], [-4.0, 0.0]];
        let labels = [0, 0, 1, 2];
        let sample = |others: OtherGroups| {
            let config = SilhouetteConfig::default()
                .with_metric(Metric::Cosine)
                .with_others(others);
            silhouette_with(x.view(), &labels, &config, &NoProgress)
                .unwrap()
                .samples
        };
        assert_eq!(sample(OtherGroups::Nearest), [0.0, -1.0, 0.0, 0.0]);
        assert_eq!(
            sample(OtherGroups::All),
            [(1.5 - 1.0) / 1.5, -0.5, 0.0, 0.0]
        );
        assert_eq!(sample(OtherGroups::Furthest), [0.5, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_row_of_zeros_is_at_cosine_distance_one_from_all_but_itself() {
        let x = array![[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [3.0, 3.0]];
        let config = SilhouetteConfig::default().with_metric(Metric::Cosine);
        let result = silhouette_with(x.view(), &[0, 0, 1, 1], &config, &NoProgress).unwrap();
        assert!(result.samples[0].abs() < 1e-15, "{result:?}");
        assert!((result.samples[2] - 1.0).abs() < 1e-15, "{result:?}");
    }

    #[test]
    fn rows_that_are_groups_of_their_own_have_value_zero() {
        let x = array![[0.0], [1.0], [2.0]];
        let result = silhouette(x.view(), &[4, 5, 6], &NoProgress).unwrap();
        assert_eq!(result.samples, [0.0; 3]);
    }

    #[test]
    fn labels_without_two_batches_are_named_and_left_out() {
        let x = array![[0.0], [2.0], [1.0], [5.0], [6.0], [9.0]];
        let (labels, batches) = ([7, 7, 7, 3, 3, 5], [0, 0, 1, 0, 1, 0]);
        let config = SilhouetteConfig::default();
        let result =
            silhouette_by_batch(x.view(), &batches, &labels, &config, &NoProgress).unwrap();
        // Label 7: rows 0 and 2 are 2 apart and 1 from the other batch, whose row is alone: (0.5 + 0.5 + 1) / 3.
        let expected = [(3, None), (5, None), (7, Some(2.0 / 3.0))];
        assert_eq!(result.per_label, expected);
        assert_eq!(result.mean, 2.0 / 3.0);
        let text = serde_json::to_string(&result).unwrap();
        assert_eq!(
            serde_json::from_str::<BatchSilhouette>(&text).unwrap(),
            result
        );
        let wrong = text.replace("[3,null]", "[3,7.0]");
        let error = serde_json::from_str::<BatchSilhouette>(&wrong).unwrap_err();
        assert!(error.to_string().contains("from 0 to 1"), "{error}");
        let alone = silhouette_by_batch(x.view(), &[1; 6], &labels, &config, &NoProgress);
        assert!(matches!(alone, Err(Error::TooFew { found: 0, .. })));
    }

    #[test]
    fn what_has_no_silhouette_is_refused() {
        let x = array![[0.0], [1.0], [f64::INFINITY], [3.0]];
        let config = SilhouetteConfig::default();
        let labels = [0, 0, 1, 1];
        for result in [
            silhouette_by_label(x.view(), &labels, &config, &NoProgress),
            silhouette_by_batch(x.view(), &labels, &labels, &config, &NoProgress).map(|r| r.mean),
        ] {
            assert!(matches!(result, Err(Error::NotFinite { row: 2, .. })));
        }
        for (labels, batches) in [(&labels[..3], &labels[..]), (&labels[..], &labels[..3])] {
            let result = silhouette_by_batch(x.view(), batches, labels, &config, &NoProgress);
            assert!(matches!(result, Err(Error::Shape(_))));
        }
        let huge = array![[1e200], [-1e200], [1e200], [-1e200]];
        let result = silhouette(huge.view(), &labels, &NoProgress);
        assert!(matches!(result, Err(Error::Overflow { .. })), "{result:?}");
    }

    #[test]
    fn the_work_stops_when_the_caller_wants_it() {
        let token = CancelToken::new();
        token.cancel();
        let x = Array2::from_shape_fn((20, 1), |(i, _)| i as f64);
        let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
        let (one, config) = ([0; 20], SilhouetteConfig::default());
        assert!(matches!(
            silhouette(x.view(), &labels, &token),
            Err(Error::Cancelled(_))
        ));
        assert!(matches!(
            silhouette_by_batch(x.view(), &labels, &one, &config, &token),
            Err(Error::Cancelled(_))
        ));
    }

    proptest! {
        #[test]
        fn order_of_rows_and_names_do_not_matter(seed in 0_u64..1000, n in 8_usize..40) {
            let mut stream = Seed::new(seed).stream("x", 0);
            let x = Array2::from_shape_fn((n, 3), |_| stream.normal());
            let labels: Vec<u32> = (0..n).map(|_| stream.below(2) as u32).collect();
            let batches: Vec<u32> = (0..n).map(|_| stream.below(3) as u32).collect();
            let order = stream.permutation(n);
            let mixed = x.select(Axis(0), &order);
            let renamed = |labels: &[u32]| -> Vec<u32> { order.iter().map(|&i| 100 - 7 * labels[i]).collect() };
            for metric in [Metric::Euclidean, Metric::Cosine] {
                for others in [OtherGroups::Nearest, OtherGroups::All, OtherGroups::Furthest] {
                    let config = SilhouetteConfig::default().with_metric(metric).with_others(others);
                    let by_batch = |x: &Array2<f64>, batches: &[u32], labels: &[u32]| {
                        silhouette_by_batch(x.view(), batches, labels, &config, &NoProgress).ok().map(|r| r.mean)
                    };
                    let a = by_batch(&x, &batches, &labels);
                    let b = by_batch(&mixed, &renamed(&batches), &renamed(&labels));
                    prop_assert_eq!(a.is_some(), b.is_some());
                    if let (Some(a), Some(b)) = (a, b) {
                        prop_assert!((a - b).abs() < 1e-12 && (0.0..=1.0).contains(&a), "{} {}", a, b);
                    }
                }
            }
        }
    }
}
