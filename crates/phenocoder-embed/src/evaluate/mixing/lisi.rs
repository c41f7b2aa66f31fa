//! How many groups a row's neighbourhood holds.

use phenocoder_core::Progress;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{check_groups, groups_of};
use crate::knn::Neighbors;
use crate::matrix::median;
use crate::{ConfigError, Error, Result};

/// How near the entropy must come, and in how many steps; both as in the original.
const TOLERANCE: f64 = 1e-5;
const TRIES: usize = 50;
/// Rows per task.
const ROWS: usize = 256;
const METHOD: &str = "the local inverse Simpson index";

/// Settings of [`lisi`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LisiConfig {
    /// How many neighbours count in effect (default `None`: a third of the neighbours and the row itself, rounded
    /// down).
    pub perplexity: Option<f64>,
}

impl LisiConfig {
    /// Sets how many neighbours count in effect.
    #[must_use]
    pub fn with_perplexity(mut self, perplexity: impl Into<Option<f64>>) -> Self {
        self.perplexity = perplexity.into();
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `perplexity` is less than 1 or no number.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let perplexity = self.perplexity.unwrap_or(1.0);
        let holds = perplexity >= 1.0 && perplexity.is_finite();
        ConfigError::check(holds, "perplexity", "a number of at least 1", perplexity)
    }

    /// How many of `k` neighbours count in effect.
    pub(super) fn perplexity_of(&self, k: usize) -> Result<f64> {
        if self.perplexity.is_none() {
            Error::check_enough(METHOD, "neighbours", 2, k)?;
        }
        let perplexity = self.perplexity.unwrap_or(((k + 1) / 3) as f64);
        let expected = "at most the number of neighbours";
        ConfigError::check(perplexity <= k as f64, "perplexity", expected, perplexity)?;
        Ok(perplexity)
    }
}

/// The local inverse Simpson index: how many groups there are among a row's neighbours in effect, from 1 to the number
/// of groups.
///
/// The neighbour at distance `d` weighs `exp(−β d)`, with `β` such that the entropy of the weights is the logarithm of
/// the perplexity; with weights that sum to 1, the index is `1 / Σ_group (Σ weight)²`.
/// Two batches mixed evenly give 2, and a row among its own batch 1.
/// Korsunsky et al. 2019, doi:10.1038/s41592-019-0619-0.
/// Cost: `O(n k)`, at most 50 exponentials per neighbour.
///
/// # Differences from scib-metrics' `lisi_knn`
///
/// The nearest distance is taken from all before the exponential, so that far neighbours do not all weigh 0 and no
/// index is −1.
///
/// # Errors
///
/// [`Error::Config`] when the perplexity is less than 1 or more than the neighbours, [`Error::Shape`] when rows and
/// labels differ in number, [`Error::TooFew`] for fewer than two neighbours without a perplexity or none at all,
/// [`Error::Graph`] when a neighbour is not a row, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::mixing::{LisiConfig, lisi};
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
///
/// let x = array![[0.0], [1.0], [-1.0], [9.0], [8.0], [10.0]];
/// let neighbors = nearest_neighbors(x.view(), 2, Metric::Euclidean, &NoProgress)?;
/// let config = LisiConfig::default().with_perplexity(2.0);
/// let indices = lisi(&neighbors, &[0, 0, 1, 2, 2, 2], &config, &NoProgress)?;
/// assert_eq!(indices[0], 2.0);
/// assert_eq!(indices[3], 1.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "lisi_knn")]
pub fn lisi(
    neighbors: &Neighbors,
    labels: &[u32],
    config: &LisiConfig,
    progress: &dyn Progress,
) -> Result<Vec<f64>> {
    config.validate()?;
    let (groups, counts) = groups_of(neighbors, labels, METHOD)?;
    let k = neighbors.k();
    let target = libm::log(config.perplexity_of(k)?);
    let mut indices = vec![0.0; neighbors.len()];
    progress.start("local inverse Simpson index", Some(neighbors.len() as u64));
    indices
        .par_chunks_mut(ROWS)
        .enumerate()
        .try_for_each(|(block, results)| {
            progress.check()?;
            let (mut away, mut weights) = (vec![0.0; k], vec![0.0; k]);
            let mut shares = vec![0.0; counts.len()];
            for (offset, result) in results.iter_mut().enumerate() {
                let row = block * ROWS + offset;
                let distances = neighbors.distances();
                let distances = distances.row(row);
                for (away, &distance) in away.iter_mut().zip(distances) {
                    *away = distance - distances[0];
                }
                weigh(&away, target, &mut weights);
                for ((index, _), weight) in neighbors.row(row).zip(&weights) {
                    shares[groups[index]] += weight;
                }
                let mut simpson = 0.0;
                for (index, _) in neighbors.row(row) {
                    // Each group once.
                    let share = std::mem::take(&mut shares[groups[index]]);
                    simpson += share * share;
                }
                *result = 1.0 / simpson;
            }
            progress.advance(results.len() as u64);
            Ok::<(), Error>(())
        })?;
    progress.finish();
    Ok(indices)
}

/// Weights that sum to 1 and whose entropy is `target`, as nearly as `away` (distances beyond the nearest) allow.
fn weigh(away: &[f64], target: f64, weights: &mut [f64]) {
    let mut entropy = |beta: f64| {
        let (mut sum, mut moment) = (0.0, 0.0);
        for (weight, &distance) in weights.iter_mut().zip(away) {
            *weight = libm::exp(-beta * distance);
            sum += *weight;
            moment += distance * *weight;
        }
        for weight in weights.iter_mut() {
            *weight /= sum;
        }
        libm::log(sum) + beta * moment / sum
    };
    let (mut beta, mut low, mut high) = (1.0, None, None);
    let mut excess = entropy(beta) - target;
    for _ in 0..TRIES {
        if excess.abs() < TOLERANCE {
            break;
        }
        if excess > 0.0 {
            low = Some(beta);
            beta = high.map_or(beta * 2.0, |high| (beta + high) / 2.0);
        } else {
            high = Some(beta);
            beta = low.map_or(beta / 2.0, |low| (beta + low) / 2.0);
        }
        excess = entropy(beta) - target;
    }
}

/// How well batches are mixed: the median [`lisi`] of batches, brought to 0 (apart) … 1 (all alike).
///
/// Reaches 1 only where batches are equally large.
///
/// # Errors
///
/// As [`lisi`], and [`Error::TooFew`] for a single batch.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::mixing::{LisiConfig, integration_lisi};
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
///
/// let x = Array2::from_shape_fn((40, 1), |(i, _)| i as f64);
/// let neighbors = nearest_neighbors(x.view(), 20, Metric::Euclidean, &NoProgress)?;
/// let (mixed, apart): (Vec<u32>, Vec<u32>) = (0..40).map(|i| (i % 2, i / 20)).unzip();
/// let of = |batches: &[u32]| {
///     integration_lisi(&neighbors, batches, &LisiConfig::default(), &NoProgress)
/// };
/// assert!(of(&mixed)? > 0.7 && of(&apart)? < 0.1);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "ilisi_knn")]
#[doc(alias = "iLISI")]
pub fn integration_lisi(
    neighbors: &Neighbors,
    batches: &[u32],
    config: &LisiConfig,
    progress: &dyn Progress,
) -> Result<f64> {
    let (typical, count) = median_lisi(neighbors, batches, config, progress)?;
    Ok((typical - 1.0) / (count - 1.0))
}

/// How well labels keep to themselves: the median [`lisi`] of labels, brought to 0 (all mixed) … 1 (apart).
///
/// # Errors
///
/// As [`lisi`], and [`Error::TooFew`] for a single label.
#[doc(alias = "clisi_knn")]
#[doc(alias = "cLISI")]
pub fn label_lisi(
    neighbors: &Neighbors,
    labels: &[u32],
    config: &LisiConfig,
    progress: &dyn Progress,
) -> Result<f64> {
    let (typical, count) = median_lisi(neighbors, labels, config, progress)?;
    Ok((count - typical) / (count - 1.0))
}

/// The median over all rows, and the number of groups.
fn median_lisi(
    neighbors: &Neighbors,
    labels: &[u32],
    config: &LisiConfig,
    progress: &dyn Progress,
) -> Result<(f64, f64)> {
    let (_, counts) = super::ranked(labels);
    let mut indices = lisi(neighbors, labels, config, progress)?;
    check_groups(counts.len(), "the mean of the local inverse Simpson index")?;
    Ok((median(&mut indices), counts.len() as f64))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;

    fn at(indices: Array2<u32>, distances: Array2<f64>) -> Neighbors {
        Neighbors::new(indices, distances).unwrap()
    }

    #[test]
    fn weights_have_the_entropy_asked_for_in_any_unit() {
        for unit in [1e-6, 1.0, 1e6] {
            let away: Vec<f64> = (0..12).map(|i| f64::from(i) * unit).collect();
            let mut weights = vec![0.0; 12];
            weigh(&away, libm::log(5.0), &mut weights);
            let entropy: f64 = weights.iter().map(|w| -w * w.ln()).sum();
            assert!((entropy - 5.0_f64.ln()).abs() < 1e-5, "{unit}: {entropy}");
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn equal_distances_count_shares_however_far() {
        // Row 0 has two neighbours of group 5 and one each of 7 and 9: 1 / (1/4 + 1/16 + 1/16) = 8/3.
        for distance in [0.0, 1.0, 1e5] {
            let neighbors = at(
                array![
                    [1, 2, 3, 4],
                    [0, 2, 3, 4],
                    [0, 1, 3, 4],
                    [0, 1, 2, 4],
                    [0, 1, 2, 3]
                ],
                Array2::from_elem((5, 4), distance),
            );
            let config = LisiConfig::default().with_perplexity(3.0);
            let found = lisi(&neighbors, &[5, 5, 7, 9, 5], &config, &NoProgress).unwrap();
            assert!((found[0] - 8.0 / 3.0).abs() < 1e-12, "{found:?}");
            assert!((found[2] - 1.6).abs() < 1e-12, "{found:?}");
            // Median of 8/3 (three times) and 8/5.
            let scaled =
                integration_lisi(&neighbors, &[5, 5, 7, 9, 5], &config, &NoProgress).unwrap();
            assert!((scaled - (8.0 / 3.0 - 1.0) / 2.0).abs() < 1e-12);
            let labels = label_lisi(&neighbors, &[5, 5, 7, 9, 5], &config, &NoProgress).unwrap();
            assert!((labels - (3.0 - 8.0 / 3.0) / 2.0).abs() < 1e-12);
        }
    }

    #[test]
    fn an_even_number_of_rows_has_the_mean_of_the_middle_two() {
        let neighbors = at(
            array![[1, 2], [0, 2], [0, 1], [0, 1]],
            Array2::from_elem((4, 2), 1.0),
        );
        // Indices 2, 2, 1 and 1.
        let config = LisiConfig::default().with_perplexity(2.0);
        let found = lisi(&neighbors, &[0, 0, 1, 1], &config, &NoProgress).unwrap();
        assert_eq!(found, [2.0, 2.0, 1.0, 1.0]);
        let scaled = integration_lisi(&neighbors, &[0, 0, 1, 1], &config, &NoProgress).unwrap();
        assert_eq!(scaled, 0.5);
    }

    #[test]
    fn bad_input_is_refused() {
        let near = at(array![[1, 2], [0, 2], [0, 1]], Array2::ones((3, 2)));
        let of = |neighbors: &Neighbors, labels: &[u32], config: &LisiConfig| {
            integration_lisi(neighbors, labels, config, &NoProgress)
        };
        let config = LisiConfig::default();
        assert!(of(&near, &[0, 1, 1], &config).is_ok());
        assert!(matches!(
            of(&near, &[1, 1, 1], &config),
            Err(Error::TooFew { what: "groups", .. })
        ));
        assert!(matches!(
            label_lisi(&near, &[1; 3], &config, &NoProgress),
            Err(Error::TooFew { .. })
        ));
        assert!(matches!(of(&near, &[0, 1], &config), Err(Error::Shape(_))));
        for perplexity in [0.5, 2.5, f64::NAN, f64::INFINITY] {
            let config = LisiConfig::default().with_perplexity(perplexity);
            assert!(
                matches!(of(&near, &[0, 1, 1], &config), Err(Error::Config(_))),
                "{perplexity}"
            );
        }
        let one = near.truncated(1);
        assert!(matches!(
            of(&one, &[0, 1, 1], &config),
            Err(Error::TooFew { needed: 2, .. })
        ));
        let none = near.truncated(0);
        assert!(matches!(
            of(&none, &[0, 1, 1], &config),
            Err(Error::TooFew { needed: 1, .. })
        ));
        let wrong = at(array![[1, 7], [0, 2], [0, 1]], Array2::ones((3, 2)));
        assert!(matches!(
            of(&wrong, &[0, 1, 1], &config),
            Err(Error::Graph(_))
        ));
        let token = CancelToken::new();
        token.cancel();
        assert!(matches!(
            lisi(&near, &[0, 1, 1], &config, &token),
            Err(Error::Cancelled(_))
        ));
    }
}
