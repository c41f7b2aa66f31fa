//! Clusters around means.

use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_core::{Cancelled, NoProgress, Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Clustering;
use crate::matrix::{check_columns, check_finite, check_shape, row_of, squared_distance, sum_rows};
use crate::{ConfigError, Error, Result};

const METHOD: &str = "k-means";
/// Rows per task.
const ROWS: usize = 1024;

/// The centers that [`kmeans`] begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KMeansStart {
    /// A center for each cluster, `[k, p]`.
    #[serde(with = "crate::stored")]
    pub centers: Array2<f64>,
}

impl KMeansStart {
    /// Begins with these centers.
    #[must_use]
    pub fn new(centers: Array2<f64>) -> Self {
        Self { centers }
    }
}

/// Settings of [`kmeans`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KMeansConfig {
    /// The number of clusters.
    pub n_clusters: usize,
    /// The largest number of rounds (default 300).
    #[serde(default = "default_iterations")]
    pub iterations: usize,
    /// Runs from different starts, of which the best is kept (default 4).
    #[serde(default = "default_restarts")]
    pub restarts: usize,
    /// Rows drawn for each center of a start, of which the best is taken (default `2 + ⌊ln n_clusters⌋`); 1 is the plain
    /// k-means++.
    #[serde(default)]
    pub local_trials: Option<usize>,
    /// What to begin with; by default rows that lie apart.
    #[serde(default)]
    pub start: Option<KMeansStart>,
    /// The source of chance.
    #[serde(default)]
    pub seed: Seed,
}

fn default_iterations() -> usize {
    300
}

fn default_restarts() -> usize {
    4
}

impl KMeansConfig {
    /// Makes this many clusters.
    #[must_use]
    pub fn new(n_clusters: usize) -> Self {
        Self {
            n_clusters,
            iterations: default_iterations(),
            restarts: default_restarts(),
            local_trials: None,
            start: None,
            seed: Seed::default(),
        }
    }

    /// Sets the largest number of rounds.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Sets the number of runs.
    #[must_use]
    pub fn with_restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// Sets the number of rows drawn for each center of a start; `None` is the default.
    #[must_use]
    pub fn with_local_trials(mut self, local_trials: impl Into<Option<usize>>) -> Self {
        self.local_trials = local_trials.into();
        self
    }

    /// Begins with these centers, once, and not with rows drawn; `None` is the default.
    #[must_use]
    pub fn with_start(mut self, start: impl Into<Option<KMeansStart>>) -> Self {
        self.start = start.into();
        self
    }

    /// Sets the source of chance.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when a number is 0, or when the start has another number of clusters.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.n_clusters > 0, "n_clusters", "at least 1", 0)?;
        ConfigError::check(self.iterations > 0, "iterations", "at least 1", 0)?;
        ConfigError::check(self.restarts > 0, "restarts", "at least 1", 0)?;
        let trials = self.local_trials.unwrap_or(1);
        ConfigError::check(trials > 0, "local_trials", "at least 1", 0)?;
        let Some(start) = &self.start else {
            return Ok(());
        };
        let found = start.centers.nrows();
        let same = found == self.n_clusters;
        ConfigError::check(same, "start", "as many centers as n_clusters", found)
    }

    /// The rows drawn for each center of a start.
    fn trials(&self) -> usize {
        self.local_trials
            .unwrap_or_else(|| 2 + libm::log(self.n_clusters as f64) as usize)
    }
}

/// The result of [`kmeans`]: clusters and their centers, to which new rows can be assigned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct KMeans {
    /// The clusters; the quality is the negative sum of squared distances to `centers`.
    pub clustering: Clustering,
    /// The mean of each cluster, `[n_clusters, p]`, in the order of the cluster numbers.
    #[serde(with = "crate::stored")]
    pub centers: Array2<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    clustering: Clustering,
    #[serde(with = "crate::stored")]
    centers: Array2<f64>,
}

impl TryFrom<Parts> for KMeans {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            clustering,
            centers,
        } = parts;
        ShapeError::check_len("centers", clustering.n_clusters, centers.nrows())?;
        check_finite(centers.view())?;
        Ok(Self {
            clustering,
            centers,
        })
    }
}

impl KMeans {
    /// The cluster whose center is nearest to each row.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns, [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`]
    /// for rows whose squared distances from the centers are beyond any number.
    pub fn assign(&self, x: ArrayView2<'_, f64>) -> Result<Vec<u32>> {
        self.assign_with(x, &NoProgress)
    }

    /// The cluster whose center is nearest to each row as [`assign`](Self::assign), which can be stopped on the way.
    ///
    /// # Errors
    ///
    /// Those of [`assign`](Self::assign), and [`Error::Cancelled`] when the caller stops it.
    pub fn assign_with(&self, x: ArrayView2<'_, f64>, progress: &dyn Progress) -> Result<Vec<u32>> {
        check_columns("x", x, self.centers.ncols())?;
        check_finite(x)?;
        progress.start(METHOD, None);
        let x = x.as_standard_layout();
        let (labels, cost) = nearest_centers(x.view(), &self.centers, progress)?;
        progress.finish();
        if cost.is_finite() {
            Ok(labels)
        } else {
            Err(Error::Overflow { method: METHOD })
        }
    }
}

/// Finds clusters around means: those with the least sum of squared distances between rows and the mean of their
/// cluster, as far as Lloyd's rounds find them (doi:10.1109/TIT.1982.1056489).
///
/// Starts lie apart (k-means++, Arthur & Vassilvitskii 2007, <https://dl.acm.org/doi/10.5555/1283383.1283494>): for each
/// center a few rows are drawn with a chance in proportion to the squared distance from the centers before, and the one
/// that leaves the least sum of squared distances is taken.
/// [`KMeansConfig::with_start`] begins with given centers instead, and draws nothing.
/// There are fewer clusters than asked for when there are fewer different rows, or when a cluster loses all of its rows.
/// Rows nearer to each other than about 1e-160 are not told apart, for the squares of such distances are 0.
/// The centers are the means of their clusters; where the largest number of rounds ends the search, labels may be one
/// step behind, and another center may be nearer to a row by now.
/// Cost: `O(n k p)` per round; a start takes about as long as `2 + ln k` rounds.
///
/// # Shapes
///
/// `x`: `[n, p]`; the centers are `[k, p]`.
///
/// # Differences from scikit-learn's `KMeans`
///
/// Rounds go on until no row changes its cluster, not until centers move little.
/// Given centers, both do the same rounds.
/// A cluster that loses all of its rows is left out, where scikit-learn moves its center to the row that is furthest from
/// its own; among several starts the best is kept, so that the loss is rarely seen.
/// There are 4 starts, not one.
///
/// # Errors
///
/// [`Error::TooFew`] when there are fewer rows than clusters, [`Error::NotFinite`] for NaN or infinity in the rows or in
/// the start, [`Error::Overflow`] for values whose squares are beyond any number, or a start so far from the rows that
/// squared distances are, [`Error::Config`] for a setting outside its range, [`Error::Shape`] for a start of other columns, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::cluster::{KMeansConfig, kmeans};
///
/// let x = array![[0.0], [0.1], [9.0], [0.2]];
/// let found = kmeans(x.view(), &KMeansConfig::new(2), &NoProgress)?;
/// assert_eq!(found.clustering.labels, [0, 0, 1, 0]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "KMeans")]
pub fn kmeans(
    x: ArrayView2<'_, f64>,
    config: &KMeansConfig,
    progress: &dyn Progress,
) -> Result<KMeans> {
    config.validate()?;
    check_finite(x)?;
    Error::check_enough(METHOD, "rows", config.n_clusters, x.nrows())?;
    if let Some(KMeansStart { centers }) = &config.start {
        check_shape("start", &[config.n_clusters, x.ncols()], centers.shape())?;
        check_finite(centers.view())?;
    }
    let x = x.as_standard_layout();
    // A given start leaves nothing to chance.
    let runs = if config.start.is_some() {
        1
    } else {
        config.restarts
    };
    progress.start(METHOD, Some(runs as u64));
    let mut best: Option<(f64, Vec<u32>)> = None;
    for restart in 0..runs {
        let (cost, labels) = rounds(x.view(), config, restart, progress)?;
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, labels));
        }
        progress.advance(1);
    }
    progress.finish();
    let (_, labels) = best.unwrap_or_default();
    let mut clustering = Clustering::new(&labels, 0.0);
    let mut centers = Array2::zeros((clustering.n_clusters, x.ncols()));
    move_centers(x.view(), &clustering.labels, &mut centers);
    // When rounds run out, this last move makes it less than the rounds know of.
    clustering.quality = -cost_of(x.view(), &clustering.labels, &centers);
    Ok(KMeans {
        clustering,
        centers,
    })
}

/// Lloyd's rounds from one start: the sum of squared distances, and the cluster of each row of `x`, which is in standard
/// layout.
pub(super) fn rounds(
    x: ArrayView2<'_, f64>,
    config: &KMeansConfig,
    restart: usize,
    progress: &dyn Progress,
) -> Result<(f64, Vec<u32>)> {
    let mut centers = match &config.start {
        Some(start) => start.centers.as_standard_layout().into_owned(),
        None => spread_start(x, config, restart, progress)?,
    };
    let (mut labels, mut cost) = nearest_centers(x, &centers, progress)?;
    for _ in 0..config.iterations {
        progress.check()?;
        if !cost.is_finite() {
            break;
        }
        move_centers(x, &labels, &mut centers);
        let (next, next_cost) = nearest_centers(x, &centers, progress)?;
        let same = next == labels;
        (labels, cost) = (next, next_cost);
        if same {
            break;
        }
    }
    if cost.is_finite() {
        Ok((cost, labels))
    } else {
        Err(Error::Overflow { method: METHOD })
    }
}

/// Rows drawn one after the other with a chance in proportion to the squared distance from those drawn before, the best
/// of a few each time.
fn spread_start(
    x: ArrayView2<'_, f64>,
    config: &KMeansConfig,
    restart: usize,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    let mut stream = config.seed.stream("k-means", restart as u64);
    let mut chosen = vec![stream.below(x.nrows())];
    let (mut distances, _) = nearest_starts(x, &vec![f64::INFINITY; x.nrows()], chosen[0]);
    while chosen.len() < config.n_clusters {
        let running: Vec<f64> = distances
            .iter()
            .scan(0.0, |sum, distance| {
                *sum += distance;
                Some(*sum)
            })
            .collect();
        let total = running.last().copied().unwrap_or(0.0);
        if total == 0.0 {
            break;
        }
        let mut best: Option<(usize, (Vec<f64>, f64))> = None;
        for _ in 0..config.trials() {
            progress.check()?;
            // Below the total, so that a row at a distance is drawn.
            let place = (stream.uniform() * total).min(total.next_down());
            let row = running.partition_point(|&sum| sum <= place);
            let trial = nearest_starts(x, &distances, row);
            if best.as_ref().is_none_or(|(_, (_, least))| trial.1 < *least) {
                best = Some((row, trial));
            }
        }
        let Some((row, (nearer, _))) = best else {
            break;
        };
        chosen.push(row);
        distances = nearer;
    }
    Ok(x.select(Axis(0), &chosen))
}

/// The squared distances to the nearest start when a row becomes one too, and their sum.
fn nearest_starts(x: ArrayView2<'_, f64>, distances: &[f64], start: usize) -> (Vec<f64>, f64) {
    let start = row_of(&x, start);
    let nearer: Vec<f64> = distances
        .par_iter()
        .with_min_len(ROWS)
        .enumerate()
        .map(|(i, distance)| distance.min(squared_distance(row_of(&x, i), start)))
        .collect();
    let total = nearer.iter().sum();
    (nearer, total)
}

/// Sets each center to the mean of its rows; one without rows stays.
fn move_centers(x: ArrayView2<'_, f64>, labels: &[u32], centers: &mut Array2<f64>) {
    // The sums of a cluster's columns, and the number of its rows.
    let width = x.ncols() + 1;
    let sums = sum_rows(x.nrows(), centers.nrows() * width, |rows, sums| {
        for row in rows {
            let own = &mut sums[labels[row] as usize * width..][..width];
            if let Some((count, sums)) = own.split_last_mut() {
                *count += 1.0;
                sums.iter_mut()
                    .zip(x.row(row))
                    .for_each(|(sum, value)| *sum += value);
            }
        }
    });
    for (mut center, sums) in centers.outer_iter_mut().zip(sums.chunks_exact(width)) {
        if let Some((&count, sums)) = sums.split_last()
            && count > 0.0
        {
            center
                .iter_mut()
                .zip(sums)
                .for_each(|(c, sum)| *c = sum / count);
        }
    }
}

/// The sum of squared distances of rows from the centers of their clusters.
fn cost_of(x: ArrayView2<'_, f64>, labels: &[u32], centers: &Array2<f64>) -> f64 {
    let squares: Vec<f64> = labels
        .par_iter()
        .with_min_len(ROWS)
        .enumerate()
        .map(|(i, &label)| squared_distance(row_of(&x, i), row_of(centers, label as usize)))
        .collect();
    squares.iter().sum()
}

/// The nearest center of each row, the first of several, and the sum of squared distances.
fn nearest_centers(
    x: ArrayView2<'_, f64>,
    centers: &Array2<f64>,
    progress: &dyn Progress,
) -> Result<(Vec<u32>, f64), Cancelled> {
    let centers = centers.as_standard_layout();
    let mut nearest = vec![(0_u32, f64::INFINITY); x.nrows()];
    let blocks = nearest.par_chunks_mut(ROWS).enumerate();
    blocks.try_for_each(|(block, nearest)| {
        progress.check()?;
        for (offset, best) in nearest.iter_mut().enumerate() {
            let row = row_of(&x, block * ROWS + offset);
            for c in 0..centers.nrows() {
                let distance = squared_distance(row, row_of(&centers, c));
                if distance < best.1 {
                    *best = (c as u32, distance);
                }
            }
        }
        Ok::<(), Cancelled>(())
    })?;
    let cost = nearest.iter().map(|pair| pair.1).sum();
    Ok((nearest.into_iter().map(|pair| pair.0).collect(), cost))
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::CancelToken;

    use super::*;

    #[test]
    fn well_separated_groups_are_found() {
        let mut stream = Seed::new(4).stream("x", 0);
        let x = Array2::from_shape_fn((300, 3), |(i, _)| (i % 5) as f64 * 10.0 + stream.normal());
        let found = kmeans(x.view(), &KMeansConfig::new(5), &NoProgress).unwrap();
        for i in 0..300 {
            assert_eq!(found.clustering.labels[i], found.clustering.labels[i % 5]);
        }
        assert_eq!(found.clustering.sizes(), [60; 5]);
        assert_eq!(found.assign(x.view()).unwrap(), found.clustering.labels);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<KMeans>(&text).unwrap(), found);
    }

    #[test]
    fn duplicates_make_fewer_clusters() {
        let x = array![[1.0], [1.0], [2.0]];
        let found = kmeans(x.view(), &KMeansConfig::new(3), &NoProgress).unwrap();
        assert_eq!(found.clustering.n_clusters, 2);
        assert_eq!(found.centers, array![[1.0], [2.0]]);
        // Squares of less than 1e-162 are 0.
        let x = array![[0.0], [1e-170], [1.0]];
        let found = kmeans(x.view(), &KMeansConfig::new(3), &NoProgress).unwrap();
        assert_eq!(found.clustering.labels, [0, 0, 1]);
    }

    #[test]
    fn the_quality_is_that_of_the_centers_also_when_rounds_run_out() {
        let mut stream = Seed::new(7).stream("x", 0);
        let x = Array2::from_shape_fn((300, 2), |_| stream.normal());
        for iterations in [1, 2, 300] {
            let config = KMeansConfig::new(6)
                .with_iterations(iterations)
                .with_restarts(1);
            let found = kmeans(x.view(), &config, &NoProgress).unwrap();
            let labels = &found.clustering.labels;
            let mut squares = 0.0;
            for (row, &label) in x.outer_iter().zip(labels) {
                for (value, center) in row.iter().zip(found.centers.row(label as usize)) {
                    squares += (value - center) * (value - center);
                }
            }
            let quality = found.clustering.quality;
            assert!(
                (squares + quality).abs() < 1e-9 * squares,
                "{squares} {quality}"
            );
            // After one round there is something left to do.
            let settled = &found.assign(x.view()).unwrap() == labels;
            match iterations {
                1 => assert!(!settled),
                300 => assert!(settled),
                _ => {}
            }
        }
    }

    #[test]
    fn rows_too_far_for_a_distance_have_no_cluster() {
        let x = array![[0.0], [1.0], [9.0]];
        let found = kmeans(x.view(), &KMeansConfig::new(2), &NoProgress).unwrap();
        let far = found.assign(array![[0.5], [1e200]].view());
        assert!(matches!(far, Err(Error::Overflow { .. })));
        assert!(matches!(
            found.assign(array![[f64::NAN]].view()),
            Err(Error::NotFinite { .. })
        ));
        assert!(matches!(
            found.assign(Array2::zeros((1, 2)).view()),
            Err(Error::Shape(_))
        ));
        let none = Array2::zeros((0, 1));
        assert_eq!(found.assign(none.view()).unwrap(), [0_u32; 0]);
    }

    #[test]
    fn what_was_written_is_checked_when_it_is_read() {
        let x = array![[0.0], [1.0], [9.0]];
        let found = kmeans(x.view(), &KMeansConfig::new(2), &NoProgress).unwrap();
        let mut value = serde_json::to_value(&found).unwrap();
        value["centers"] = serde_json::json!({"shape": [1, 1], "values": [0.5]});
        let error = serde_json::from_value::<KMeans>(value).unwrap_err();
        assert!(error.to_string().contains("centers"), "{error}");
        let mut value = serde_json::to_value(&found).unwrap();
        value["clustering"]["labels"][0] = 2.into();
        let error = serde_json::from_value::<KMeans>(value).unwrap_err();
        assert!(error.to_string().contains("labels"), "{error}");
        let result = KMeans::try_from(Parts {
            clustering: found.clustering,
            centers: array![[0.5], [f64::INFINITY]],
        });
        assert!(matches!(result, Err(Error::NotFinite { row: 1, .. })));
    }

    #[test]
    fn trials_grow_with_the_logarithm_of_the_clusters() {
        for (clusters, trials) in [(1, 2), (2, 2), (3, 3), (7, 3), (8, 4), (100, 6)] {
            assert_eq!(KMeansConfig::new(clusters).trials(), trials, "{clusters}");
        }
        let plain = KMeansConfig::new(100).with_local_trials(1);
        assert_eq!(plain.trials(), 1);
        assert_eq!(plain.with_local_trials(None).trials(), 6);
    }

    #[test]
    fn a_start_of_many_trials_leaves_out_no_far_group() {
        // Two rows far from each other and from 200 that fill the space between 0 and 1.
        let x = Array2::from_shape_fn((202, 1), |(i, _)| match i {
            0 => 9.0,
            1 => -8.0,
            _ => (i - 2) as f64 / 199.0,
        });
        for seed in 0..20 {
            let config = KMeansConfig::new(3)
                .with_local_trials(60)
                .with_seed(Seed::new(seed));
            let start = spread_start(x.view(), &config, 0, &NoProgress).unwrap();
            for far in [9.0, -8.0] {
                assert!(start.iter().any(|&v| v == far), "{seed}: {start}");
            }
        }
    }

    #[test]
    fn means_of_more_rows_than_a_task_takes_are_right() {
        let x = Array2::from_shape_fn((5000, 2), |(i, c)| (i * (c + 1)) as f64);
        let labels: Vec<u32> = (0..5000).map(|i| i % 2).collect();
        let mut centers = Array2::from_elem((3, 2), 7.0);
        move_centers(x.view(), &labels, &mut centers);
        let expected = array![[2499.0, 4998.0], [2500.0, 5000.0], [7.0, 7.0]];
        assert_eq!(centers, expected);
    }

    #[test]
    fn rounds_begin_with_the_centers_that_are_given() {
        // At first the second center takes all rows but one.
        let x = array![[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]];
        let begin =
            |centers: Array2<f64>| KMeansConfig::new(2).with_start(KMeansStart::new(centers));
        let one = begin(array![[0.0], [1.0]]).with_iterations(1);
        let found = kmeans(x.view(), &one, &NoProgress).unwrap();
        // Centers 0 and 7.2 after the first move, which take three rows each.
        assert_eq!(found.clustering.labels, [0, 0, 0, 1, 1, 1]);
        assert_eq!(found.centers, array![[1.0], [11.0]]);
        // Memory of columns side by side means the same, and the seed and the number of runs do not matter.
        let plane = Array2::from_shape_fn((40, 3), |(i, j)| ((i * 7 + j * 5) % 11) as f64);
        let centers = plane.select(Axis(0), &[3, 4]);
        let mut by_columns = Array2::<f64>::zeros((3, 2)).reversed_axes();
        by_columns.assign(&centers);
        let find = |config: &KMeansConfig| kmeans(plane.view(), config, &NoProgress).unwrap();
        let expected = find(&begin(centers));
        let config = begin(by_columns).with_seed(Seed::new(9)).with_restarts(7);
        assert_eq!(find(&config), expected);
        let text = serde_json::to_string(&config).unwrap();
        let read: KMeansConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(find(&read), expected);
        assert_eq!(config.with_start(None).start, None);
    }

    #[test]
    fn starts_that_do_not_fit_are_refused() {
        let x = array![[0.0], [1.0], [2.0]];
        let begin = |centers: Array2<f64>| {
            let config = KMeansConfig::new(2).with_start(KMeansStart::new(centers));
            kmeans(x.view(), &config, &NoProgress)
        };
        assert!(matches!(begin(array![[0.0]]), Err(Error::Config(_))));
        assert!(matches!(begin(Array2::zeros((2, 2))), Err(Error::Shape(_))));
        assert!(matches!(
            begin(array![[0.0], [f64::NAN]]),
            Err(Error::NotFinite { row: 1, .. })
        ));
    }

    #[test]
    fn too_few_rows_and_those_that_are_no_numbers_or_too_large_are_refused() {
        let find = |x: &Array2<f64>, k: usize| kmeans(x.view(), &KMeansConfig::new(k), &NoProgress);
        assert!(matches!(
            find(&array![[1.0], [f64::NAN]], 1),
            Err(Error::NotFinite { row: 1, .. })
        ));
        assert!(matches!(
            find(&array![[1.0]], 2),
            Err(Error::TooFew { needed: 2, .. })
        ));
        for huge in [1e200, f64::MAX] {
            assert!(matches!(
                find(&array![[huge], [-huge], [0.0]], 2),
                Err(Error::Overflow { .. })
            ));
        }
    }

    #[test]
    fn starts_and_rounds_can_be_stopped() {
        let stopped = CancelToken::new();
        stopped.cancel();
        let x = array![[1.0], [2.0]];
        for k in [1, 2] {
            let result = kmeans(x.view(), &KMeansConfig::new(k), &stopped);
            assert!(matches!(result, Err(Error::Cancelled(_))));
        }
        let found = kmeans(x.view(), &KMeansConfig::new(2), &NoProgress).unwrap();
        let result = found.assign_with(x.view(), &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))));
    }

    #[test]
    fn rows_of_several_tasks_are_assigned_to_their_own_centers() {
        let x = Array2::from_shape_fn((2 * ROWS + 7, 1), |(i, _)| (i % 3) as f64);
        let begin = KMeansStart::new(array![[0.0], [1.0], [2.0]]);
        let config = KMeansConfig::new(3).with_start(begin);
        let found = kmeans(x.view(), &config, &NoProgress).unwrap();
        let labels = found.assign_with(x.view(), &CancelToken::new()).unwrap();
        for (i, &label) in labels.iter().enumerate() {
            assert_eq!(found.centers[[label as usize, 0]], x[[i, 0]], "{i}");
        }
        assert_eq!(labels, found.clustering.labels);
    }

    #[test]
    fn numbers_of_zero_are_refused() {
        for config in [
            KMeansConfig::new(0),
            KMeansConfig::new(1).with_iterations(0),
            KMeansConfig::new(1).with_restarts(0),
            KMeansConfig::new(1).with_local_trials(0),
        ] {
            assert!(config.validate().is_err(), "{config:?}");
        }
    }
}
