//! Whether neighbourhoods hold batches in the shares of the whole.

use phenocoder_core::Progress;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::{check_groups, groups_of};
use crate::knn::Neighbors;
use crate::{ConfigError, Error, Result};

/// Rows per task.
const ROWS: usize = 256;

/// Settings of [`kbet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KbetConfig {
    /// A neighbourhood passes with a p-value of at least this (default 0.05).
    pub alpha: f64,
}

impl Default for KbetConfig {
    fn default() -> Self {
        Self { alpha: 0.05 }
    }
}

impl KbetConfig {
    /// Sets the p-value at which a neighbourhood passes.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `alpha` is not between 0 and 1.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let between = self.alpha > 0.0 && self.alpha < 1.0;
        ConfigError::check(between, "alpha", "a number between 0 and 1", self.alpha)
    }
}

/// The result of [`kbet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Kbet {
    /// The share of neighbourhoods that pass, 0 (batches apart) to 1 (mixed as by chance).
    #[serde(deserialize_with = "crate::stored::share")]
    pub acceptance: f64,
    /// The statistic of each row, 0 where its neighbourhood is just like the whole.
    #[serde(deserialize_with = "crate::stored::amount")]
    pub statistics: Vec<f64>,
    /// The p-value of each row.
    #[serde(deserialize_with = "crate::stored::share")]
    pub p_values: Vec<f64>,
}

/// The k-nearest-neighbour batch effect test: the share of rows whose neighbourhood holds the batches as the whole does.
///
/// Of the `k` neighbours and the row itself, `o_b` are of batch `b` and `e_b = (k + 1) n_b / n` are expected;
/// `Σ (o_b − e_b)² / e_b` is compared with the chi-squared distribution of one degree of freedom less than batches.
/// Büttner et al. 2019, doi:10.1038/s41592-018-0254-1.
/// The test is strict: what the eye takes for mixed may fail it, and where `e_b` is below about 5 for a batch the
/// distribution is a rough one.
/// Where batches hold labels in different shares, test the rows of one label at a time.
/// Cost: `O(n (k + B))`.
///
/// # Differences from scib-metrics' `kbet` and R's `kBET`
///
/// As the former, it uses the neighbours as they are and every row; the latter looks for a `k` and takes a sample of
/// rows.
///
/// # Errors
///
/// [`Error::Config`] when `alpha` is not between 0 and 1, [`Error::Shape`] when rows and labels differ in number,
/// [`Error::TooFew`] for a single batch or no neighbours, [`Error::Graph`] when a neighbour is not a row,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::mixing::{KbetConfig, kbet};
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
///
/// let x = Array2::from_shape_fn((60, 1), |(i, _)| i as f64);
/// let neighbors = nearest_neighbors(x.view(), 19, Metric::Euclidean, &NoProgress)?;
/// let (mixed, apart): (Vec<u32>, Vec<u32>) = (0..60).map(|i| (i % 2, i / 30)).unzip();
/// let config = KbetConfig::default();
/// assert_eq!(kbet(&neighbors, &mixed, &config, &NoProgress)?.acceptance, 1.0);
/// assert!(kbet(&neighbors, &apart, &config, &NoProgress)?.acceptance < 0.3);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn kbet(
    neighbors: &Neighbors,
    batches: &[u32],
    config: &KbetConfig,
    progress: &dyn Progress,
) -> Result<Kbet> {
    const METHOD: &str = "the batch effect test";
    config.validate()?;
    let (groups, counts) = groups_of(neighbors, batches, METHOD)?;
    check_groups(counts.len(), METHOD)?;
    let (n, around) = (neighbors.len() as f64, (neighbors.k() + 1) as f64);
    let expected: Vec<f64> = counts.iter().map(|&c| c as f64 / n * around).collect();
    let mut results = vec![(0.0, 0.0); neighbors.len()];
    progress.start("kBET", Some(neighbors.len() as u64));
    results
        .par_chunks_mut(ROWS)
        .enumerate()
        .try_for_each(|(block, results)| {
            progress.check()?;
            let mut observed = vec![0_usize; counts.len()];
            for (offset, result) in results.iter_mut().enumerate() {
                let row = block * ROWS + offset;
                observed.fill(0);
                observed[groups[row]] += 1;
                for (index, _) in neighbors.row(row) {
                    observed[groups[index]] += 1;
                }
                let terms = observed.iter().zip(&expected).map(|(&found, expected)| {
                    let excess = found as f64 - expected;
                    excess * excess / expected
                });
                let statistic = terms.sum();
                *result = (statistic, upper_tail(counts.len() - 1, statistic));
            }
            progress.advance(results.len() as u64);
            Ok::<(), Error>(())
        })?;
    progress.finish();
    let (statistics, p_values): (Vec<f64>, Vec<f64>) = results.into_iter().unzip();
    let passed = p_values.iter().filter(|&&p| p >= config.alpha).count();
    Ok(Kbet {
        acceptance: passed as f64 / n,
        statistics,
        p_values,
    })
}

/// The probability of at least `value` with `freedom`, at least 1, degrees of freedom.
fn upper_tail(freedom: usize, value: f64) -> f64 {
    ChiSquared::new(freedom as f64).map_or(f64::NAN, |distribution| distribution.sf(value))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;

    fn kbet_of(near: &Neighbors, batches: &[u32], config: &KbetConfig) -> Result<Kbet> {
        kbet(near, batches, config, &NoProgress)
    }

    #[test]
    fn a_test_can_be_stopped() {
        let near = Neighbors::new(array![[1], [0]], Array2::ones((2, 1))).unwrap();
        let token = CancelToken::new();
        token.cancel();
        let result = kbet(&near, &[0, 1], &KbetConfig::default(), &token);
        assert!(matches!(result, Err(Error::Cancelled(_))));
    }

    #[test]
    fn statistics_equal_those_worked_out_by_hand() {
        // Three rows of one batch and one of the other; with two neighbours 9/4 and 3/4 are expected.
        let near =
            Neighbors::new(array![[1, 2], [0, 2], [3, 0], [2, 1]], Array2::ones((4, 2))).unwrap();
        let result = kbet_of(&near, &[4, 4, 4, 1], &KbetConfig::default().with_alpha(0.5)).unwrap();
        // 3 and 0 of them: (3/4)² (4/9 + 4/3) = 1; 2 and 1: (1/4)² · 16/9 = 1/9.
        for (found, expected) in result
            .statistics
            .iter()
            .zip([1.0, 1.0, 1.0 / 9.0, 1.0 / 9.0])
        {
            assert!((found - expected).abs() < 1e-14, "{:?}", result.statistics);
        }
        // One degree of freedom: p = erfc(√(χ²/2)).
        assert!((result.p_values[0] - 0.317_310_507_862_914_04).abs() < 1e-14);
        assert_eq!(result.acceptance, 0.5);
        let text = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<Kbet>(&text).unwrap(), result);
        for field in ["acceptance", "statistics", "p_values"] {
            let mut wrong = serde_json::to_value(&result).unwrap();
            wrong[field] = match field {
                "acceptance" => serde_json::json!(7),
                _ => serde_json::json!([0.5, -1]),
            };
            assert!(serde_json::from_value::<Kbet>(wrong).is_err(), "{field}");
        }
    }

    #[test]
    fn bad_input_is_refused() {
        let near = Neighbors::new(array![[1, 2], [0, 2], [0, 1]], Array2::ones((3, 2))).unwrap();
        let config = KbetConfig::default();
        assert!(kbet_of(&near, &[0, 1, 1], &config).is_ok());
        assert!(matches!(
            kbet_of(&near, &[1; 3], &config),
            Err(Error::TooFew { what: "groups", .. })
        ));
        assert!(matches!(
            kbet_of(&near, &[1; 2], &config),
            Err(Error::Shape(_))
        ));
        assert!(matches!(
            kbet_of(&near.truncated(0), &[0, 1, 1], &config),
            Err(Error::TooFew {
                what: "neighbours",
                ..
            })
        ));
        for alpha in [0.0, 1.0, f64::NAN] {
            let config = KbetConfig::default().with_alpha(alpha);
            assert!(matches!(
                kbet_of(&near, &[0, 1, 1], &config),
                Err(Error::Config(_))
            ));
        }
        let wrong = Neighbors::new(array![[3]], array![[0.0]]).unwrap();
        assert!(matches!(
            kbet_of(&wrong, &[0], &config),
            Err(Error::Graph(_))
        ));
    }

    #[test]
    fn tails_of_two_and_of_four_degrees_are_the_known_formulas() {
        for value in [0.0, 0.1, 1.0, 5.0, 60.0, 1399.0, 1401.0] {
            let half: f64 = value / 2.0;
            let error = |found: f64, expected: f64| (found - expected).abs() / expected.max(1e-300);
            assert!(error(upper_tail(2, value), (-half).exp()) < 1e-12);
            assert!(error(upper_tail(4, value), (-half).exp() * (1.0 + half)) < 1e-12);
        }
    }

    #[test]
    fn tails_are_those_of_scipy_however_small() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/data/mixing.json")).unwrap();
        let rows: Vec<(usize, f64, f64)> =
            serde_json::from_value(golden["chi_squared_tails"].clone()).unwrap();
        assert_eq!(rows.len(), 120);
        for (freedom, value, expected) in rows {
            let found = upper_tail(freedom, value);
            // Numbers below 1e-300 keep fewer digits.
            let allowed = 1e-11 * expected + 1e-300;
            assert!(
                (found - expected).abs() <= allowed,
                "{freedom} {value}: {found:e} {expected:e}"
            );
        }
    }

    #[test]
    fn a_statistic_of_zero_is_certain_and_tails_fall() {
        for freedom in [1, 2, 3, 8, 9, 999, 3000] {
            assert_eq!(upper_tail(freedom, 0.0), 1.0);
            let mut last = 1.0;
            for step in 0..400 {
                let tail = upper_tail(freedom, f64::from(step) * 10.0);
                assert!(
                    tail <= last * (1.0 + 1e-10) && tail >= 0.0,
                    "{freedom} {step}: {tail}"
                );
                last = tail;
            }
            assert!(upper_tail(freedom, 1e9) == 0.0);
        }
    }
}
