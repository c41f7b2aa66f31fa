//! Groups of rows that belong together.

mod kmeans;
mod leiden;
mod mixture;
mod stability;

use serde::{Deserialize, Serialize};

use crate::{ConfigError, Error, Result};

pub use kmeans::{KMeans, KMeansConfig, KMeansStart, kmeans};
pub use leiden::{LeidenConfig, LeidenObjective, leiden, quality};
pub use mixture::{Covariance, GaussianMixture, MixtureConfig, MixtureStart, gaussian_mixture};
pub use stability::{Stability, leiden_stability, stability};

/// The cluster of every row.
///
/// Clusters are numbered by falling size, and of equal ones the one with the first row comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct Clustering {
    /// The cluster of each row, `0..n_clusters`.
    pub labels: Vec<u32>,
    /// The number of clusters; none is empty.
    pub n_clusters: usize,
    /// The value of the objective that was maximized.
    pub quality: f64,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    labels: Vec<u32>,
    n_clusters: usize,
    quality: f64,
}

impl TryFrom<Parts> for Clustering {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            labels,
            n_clusters,
            quality,
        } = parts;
        // Before memory is taken for so many.
        let possible = n_clusters <= labels.len();
        let expected = "at most the number of rows";
        ConfigError::check(possible, "n_clusters", expected, n_clusters)?;
        let mut held = vec![false; n_clusters];
        for &label in &labels {
            let known = (label as usize) < n_clusters;
            ConfigError::check(known, "labels", "numbers below n_clusters", label)?;
            held[label as usize] = true;
        }
        if let Some(empty) = held.iter().position(|&held| !held) {
            let found = format!("none of cluster {empty}");
            ConfigError::check(false, "labels", "a row of each cluster", found)?;
        }
        Ok(Self {
            labels,
            n_clusters,
            quality,
        })
    }
}

impl Clustering {
    /// Numbers clusters by falling size.
    pub(crate) fn new(labels: &[u32], quality: f64) -> Self {
        let count = labels.iter().max().map_or(0, |&m| m as usize + 1);
        Self::ordered(labels, count, quality).0
    }

    /// Numbers clusters by falling size; also the label that each number stands for, those without rows last.
    fn ordered(labels: &[u32], count: usize, quality: f64) -> (Self, Vec<usize>) {
        let (mut size, mut first) = (vec![0_usize; count], vec![usize::MAX; count]);
        for (row, &label) in labels.iter().enumerate() {
            size[label as usize] += 1;
            first[label as usize] = first[label as usize].min(row);
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&c| (std::cmp::Reverse(size[c]), first[c]));
        let mut number = vec![0_u32; count];
        for (new, &old) in order.iter().enumerate() {
            number[old] = new as u32;
        }
        let clustering = Self {
            labels: labels.iter().map(|&label| number[label as usize]).collect(),
            n_clusters: size.iter().filter(|&&rows| rows > 0).count(),
            quality,
        };
        (clustering, order)
    }

    /// The number of rows of each cluster, falling.
    ///
    /// Where fields were changed so that they do not fit together, no more clusters than rows are counted, and rows of
    /// others not at all.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.n_clusters.min(self.labels.len())];
        for &label in &self.labels {
            if let Some(size) = sizes.get_mut(label as usize) {
                *size += 1;
            }
        }
        sizes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_numbered_by_size_and_first_row() {
        let clustering = Clustering::new(&[7, 2, 2, 4, 4, 9], 0.0);
        assert_eq!(clustering.labels, [2, 0, 0, 1, 1, 3]);
        assert_eq!(clustering.sizes(), [2, 2, 1, 1]);
        assert_eq!(Clustering::new(&[], 0.0).n_clusters, 0);
        let (clustering, order) = Clustering::ordered(&[3, 1, 3], 5, 0.0);
        assert_eq!(clustering.labels, [0, 1, 0]);
        assert_eq!((clustering.n_clusters, order), (2, vec![3, 1, 0, 2, 4]));
    }

    #[test]
    fn what_was_written_is_checked_when_it_is_read() {
        let read = |text: &str| serde_json::from_str::<Clustering>(text);
        for labels in [&[7, 2, 2][..], &[]] {
            let clustering = Clustering::new(labels, -0.5);
            let text = serde_json::to_string(&clustering).unwrap();
            assert_eq!(read(&text).unwrap(), clustering);
        }
        for (text, setting) in [
            (
                r#"{"labels": [0, 2], "n_clusters": 2, "quality": 0.0}"#,
                "labels",
            ),
            (
                r#"{"labels": [0, 0], "n_clusters": 2, "quality": 0.0}"#,
                "labels",
            ),
            (
                r#"{"labels": [0], "n_clusters": 0, "quality": 0.0}"#,
                "labels",
            ),
            (
                r#"{"labels": [0], "n_clusters": 1000000000000000, "quality": 0.0}"#,
                "n_clusters",
            ),
            (
                r#"{"labels": [], "n_clusters": 1, "quality": 0.0}"#,
                "n_clusters",
            ),
            (
                r#"{"labels": [0], "n_clusters": 1, "quality": 0.0, "sizes": [1]}"#,
                "sizes",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(&format!("`{setting}`")), "{error}");
        }
    }

    #[test]
    fn sizes_of_fields_that_do_not_fit_together_are_no_trap() {
        let clustering = Clustering {
            labels: vec![0, u32::MAX, 1, 1],
            n_clusters: usize::MAX,
            quality: 0.0,
        };
        assert_eq!(clustering.sizes(), [1, 2, 0, 0]);
        let clustering = Clustering {
            n_clusters: 1,
            ..clustering
        };
        assert_eq!(clustering.sizes(), [1]);
    }
}
