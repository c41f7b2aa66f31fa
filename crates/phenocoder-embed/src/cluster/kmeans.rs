//! Clusters around means.

use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_core::{Progress, Seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Clustering;
use crate::matrix::{check_columns, check_finite, squared_distance};
use crate::{ConfigError, Error, Result};

/// Rows per task; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 1024;

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
    /// A [`ConfigError`] when a number is 0.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.n_clusters > 0, "n_clusters", "at least 1", 0)?;
        ConfigError::check(self.iterations > 0, "iterations", "at least 1", 0)?;
        ConfigError::check(self.restarts > 0, "restarts", "at least 1", 0)
    }
}

/// The result of [`kmeans`]: clusters and their centers, to which new rows can be assigned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KMeans {
    /// The clusters; the quality is the negative sum of squared distances to the centers.
    pub clustering: Clustering,
    /// The mean of each cluster, `[n_clusters, p]`, in the order of the cluster numbers.
    #[serde(with = "crate::stored")]
    pub centers: Array2<f64>,
}

impl KMeans {
    /// The cluster whose center is nearest to each row.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns, [`Error::NotFinite`] for NaN or infinity.
    pub fn assign(&self, x: ArrayView2<'_, f64>) -> Result<Vec<u32>> {
        check_columns(x, self.centers.ncols())?;
        check_finite(x)?;
        let x = x.as_standard_layout();
        Ok(nearest_centers(x.view(), &self.centers).0)
    }
}

/// Finds clusters around means (Lloyd's rounds) from starts that lie apart (k-means++, Arthur & Vassilvitskii 2007).
///
/// There are fewer clusters than asked for when there are fewer different rows.
///
/// # Errors
///
/// [`Error::TooFew`] when there are fewer rows than clusters, [`Error::NotFinite`] for NaN or infinity,
/// [`Error::Config`] for a setting outside its range, [`Error::Cancelled`] when the caller stops it.
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
    if x.nrows() < config.n_clusters {
        return Err(Error::TooFew {
            method: "k-means",
            what: "rows",
            needed: config.n_clusters,
            found: x.nrows(),
        });
    }
    let x = x.as_standard_layout();
    progress.start("k-means", Some(config.restarts as u64));
    let mut best: Option<(f64, Vec<u32>)> = None;
    for restart in 0..config.restarts {
        let mut centers = spread_start(x.view(), config, restart);
        let (mut labels, mut cost) = nearest_centers(x.view(), &centers);
        for _ in 0..config.iterations {
            progress.check()?;
            move_centers(x.view(), &labels, &mut centers);
            let (next, next_cost) = nearest_centers(x.view(), &centers);
            let same = next == labels;
            (labels, cost) = (next, next_cost);
            if same {
                break;
            }
        }
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, labels));
        }
        progress.advance(1);
    }
    progress.finish();
    let (cost, labels) = best.unwrap_or_default();
    let clustering = Clustering::new(&labels, -cost);
    let mut centers = Array2::zeros((clustering.n_clusters, x.ncols()));
    move_centers(x.view(), &clustering.labels, &mut centers);
    Ok(KMeans {
        clustering,
        centers,
    })
}

/// Rows drawn one after the other with a chance in proportion to the squared distance from those drawn before.
fn spread_start(x: ArrayView2<'_, f64>, config: &KMeansConfig, restart: usize) -> Array2<f64> {
    let mut stream = config.seed.stream("k-means", restart as u64);
    let row = |i: usize| x.row(i).to_slice().unwrap_or_default();
    let mut chosen = vec![stream.below(x.nrows())];
    let mut distance = vec![f64::INFINITY; x.nrows()];
    while chosen.len() < config.n_clusters {
        let last = row(chosen[chosen.len() - 1]);
        distance
            .par_iter_mut()
            .with_min_len(ROWS)
            .enumerate()
            .for_each(|(i, d)| *d = d.min(squared_distance(row(i), last)));
        let total: f64 = distance.iter().sum();
        if total == 0.0 {
            break;
        }
        let mut left = stream.uniform() * total;
        let next = distance.iter().position(|&d| {
            left -= d;
            left < 0.0
        });
        let farthest = || distance.iter().rposition(|&d| d > 0.0).unwrap_or(0);
        chosen.push(next.unwrap_or_else(farthest));
    }
    x.select(Axis(0), &chosen)
}

/// Sets each center to the mean of its rows; one without rows stays.
fn move_centers(x: ArrayView2<'_, f64>, labels: &[u32], centers: &mut Array2<f64>) {
    let mut sums = Array2::<f64>::zeros(centers.raw_dim());
    let mut counts = vec![0_usize; centers.nrows()];
    for (row, &label) in x.outer_iter().zip(labels) {
        let mut sum = sums.row_mut(label as usize);
        sum += &row;
        counts[label as usize] += 1;
    }
    for ((mut center, sum), count) in centers.outer_iter_mut().zip(sums.outer_iter()).zip(counts) {
        if count > 0 {
            center.assign(&(&sum / count as f64));
        }
    }
}

/// The nearest center of each row, the first of several, and the sum of squared distances.
fn nearest_centers(x: ArrayView2<'_, f64>, centers: &Array2<f64>) -> (Vec<u32>, f64) {
    let centers = centers.as_standard_layout();
    let row = |i: usize| x.row(i).to_slice().unwrap_or_default();
    let nearest: Vec<(u32, f64)> = (0..x.nrows())
        .into_par_iter()
        .with_min_len(ROWS)
        .map(|i| {
            let mut best = (0, f64::INFINITY);
            for (c, center) in centers.outer_iter().enumerate() {
                let distance = squared_distance(row(i), center.to_slice().unwrap_or_default());
                if distance < best.1 {
                    best = (c as u32, distance);
                }
            }
            best
        })
        .collect();
    let cost = nearest.iter().map(|pair| pair.1).sum();
    (nearest.into_iter().map(|pair| pair.0).collect(), cost)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::NoProgress;

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
    }

    #[test]
    fn bad_input_is_refused() {
        let x = array![[1.0], [f64::NAN]];
        assert!(kmeans(x.view(), &KMeansConfig::new(1), &NoProgress).is_err());
        let x = array![[1.0]];
        assert!(kmeans(x.view(), &KMeansConfig::new(2), &NoProgress).is_err());
        assert!(KMeansConfig::new(0).validate().is_err());
    }
}
