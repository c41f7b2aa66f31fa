//! Batches brought to one mean, and one spread if asked for.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use phenocoder_core::{Categorical, Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::{BatchEffect, Batches, each_row, places, rounding};
use crate::matrix::{check_amounts, check_columns, check_finite, within_numbers};
use crate::{Error, Result};

const METHOD: &str = "centring of batches";

/// The mean of each column in each batch, and its spread if asked for, to bring all batches to those of all rows.
///
/// With [`BatchEffect::Mean`] a value becomes `x − mean_b + mean`; with [`BatchEffect::MeanAndVariance`]
/// `(x − mean_b) · s / s_b + mean`, where `s_b² = Σ (x − mean_b)² / (n_b − 1)` and `s² = Σ_b (n_b − 1) s_b² / Σ_b (n_b − 1)`
/// is the pooled variance within batches.
/// `mean` is that of all rows: of a batch of many rows more than of a small one.
/// A column without spread within a batch, or with no more of it than rounding leaves, keeps what spread it gets there from
/// new rows.
///
/// For few columns, or batches of many rows; [`Combat`](super::Combat) is steadier where batches are small.
/// Cost: `O(n p)`.
///
/// # Differences from limma's `removeBatchEffect` and scanpy's `pp.regress_out`
///
/// The former moves batches to the mean of the batches' means, the latter to 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Centering {
    batches: Vec<String>,
    /// The mean of all rows.
    mean: Vec<f64>,
    /// One row per batch.
    #[serde(with = "crate::stored")]
    means: Array2<f64>,
    /// What the deviation from the batch's mean is multiplied by; one row per batch.
    #[serde(with = "crate::stored")]
    factors: Array2<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    batches: Vec<String>,
    mean: Vec<f64>,
    #[serde(with = "crate::stored")]
    means: Array2<f64>,
    #[serde(with = "crate::stored")]
    factors: Array2<f64>,
}

impl TryFrom<Parts> for Centering {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            batches,
            mean,
            means,
            factors,
        } = parts;
        for matrix in [&means, &factors] {
            ShapeError::check_len("batches", matrix.nrows(), batches.len())?;
            ShapeError::check_len("mean", matrix.ncols(), mean.len())?;
        }
        check_finite(ArrayView1::from(&mean).insert_axis(Axis(0)))?;
        check_finite(means.view())?;
        for factors in factors.outer_iter() {
            check_amounts("factors", &factors.to_vec())?;
        }
        Ok(Self {
            batches,
            mean,
            means,
            factors,
        })
    }
}

impl Centering {
    /// Learns the means, and with [`BatchEffect::MeanAndVariance`] the spreads, of all batches.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when labels and rows differ in number, [`Error::MissingLabel`] for a row without a batch,
    /// [`Error::NotFinite`] for NaN or infinity in `x`, [`Error::SmallBatch`] for a batch of one row whose variance is
    /// asked for, [`Error::Overflow`] when squares, or the ratio of two spreads, are infinite, [`Error::Cancelled`] when
    /// the caller stops it.
    pub fn fit(
        x: ArrayView2<'_, f64>,
        batch: &Categorical,
        effect: BatchEffect,
        progress: &dyn Progress,
    ) -> Result<Self> {
        check_finite(x)?;
        let batches = Batches::new(batch, x.nrows(), effect.rows_needed())?;
        progress.start(METHOD, None);
        let means = batches.means(x, progress)?;
        let mean = batches.grand_mean(means.view());
        if !means.iter().chain(&mean).all(|value| value.is_finite()) {
            return Err(Error::Overflow { method: METHOD });
        }
        let spread = effect == BatchEffect::MeanAndVariance && batches.len() > 1;
        let factors = if spread {
            factors(x, &batches, &means, progress)?
        } else {
            Array2::ones(means.raw_dim())
        };
        progress.finish();
        Ok(Self {
            mean,
            batches: batches.names,
            means,
            factors,
        })
    }

    /// The batches, in the order of the rows of [`means`](Self::means) and [`factors`](Self::factors).
    #[must_use]
    pub fn batches(&self) -> &[String] {
        &self.batches
    }

    /// The mean of each column in each batch, `[batches, p]`.
    #[must_use]
    pub fn means(&self) -> ArrayView2<'_, f64> {
        self.means.view()
    }

    /// The mean of each column over all rows of the fit, to which every batch is brought.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// What the deviation from the batch's mean is multiplied by, `s / s_b`, `[batches, p]`; 1 throughout with
    /// [`BatchEffect::Mean`], and where a column has no spread in a batch but for rounding.
    #[must_use]
    pub fn factors(&self) -> ArrayView2<'_, f64> {
        self.factors.view()
    }

    /// Brings rows, of the fit or new, from their batch's mean and spread to those of all rows.
    ///
    /// What was fitted on one batch returns every row as it is.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCategory`] for a batch that the fit did not see, [`Error::MissingLabel`] for a row without one,
    /// [`Error::Shape`] when the columns or labels differ in number, [`Error::NotFinite`] for NaN or infinity in `x`,
    /// [`Error::Overflow`] when a result is beyond any number.
    pub fn apply(&self, x: ArrayView2<'_, f64>, batch: &Categorical) -> Result<Array2<f64>> {
        check_columns("x", x, self.mean.len())?;
        check_finite(x)?;
        let places = places(&self.batches, batch, "batch", x.nrows())?;
        let mut result = x.to_owned();
        if self.batches.len() == 1 {
            return Ok(result);
        }
        for (mut row, place) in result.outer_iter_mut().zip(places) {
            for (column, value) in row.iter_mut().enumerate() {
                let (own, factor) = (self.means[[place, column]], self.factors[[place, column]]);
                *value = (*value - own) * factor + self.mean[column];
            }
        }
        within_numbers(METHOD, result)
    }
}

/// What brings the spread of each batch to the pooled one, `[batches, p]`.
fn factors(
    x: ArrayView2<'_, f64>,
    batches: &Batches,
    means: &Array2<f64>,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    const OVERFLOW: Error = Error::Overflow { method: METHOD };
    let mut squares = Array2::<f64>::zeros(means.raw_dim());
    let mut largest = Array2::<f64>::zeros(means.raw_dim());
    each_row(x, progress, |row, values| {
        let code = batches.codes[row];
        let sums = squares.row_mut(code);
        for ((sum, &value), &mean) in sums.into_iter().zip(values).zip(means.row(code)) {
            *sum += (value - mean) * (value - mean);
        }
        for (most, value) in largest.row_mut(code).into_iter().zip(values) {
            *most = most.max(value.abs());
        }
    })?;
    let freedom = (x.nrows() - batches.len()) as f64;
    let mut factors = Array2::ones(means.raw_dim());
    for (column, mut factors) in factors.columns_mut().into_iter().enumerate() {
        let pooled = squares.column(column).sum() / freedom;
        if !pooled.is_finite() {
            return Err(OVERFLOW);
        }
        for (code, factor) in factors.iter_mut().enumerate() {
            let own = squares[[code, column]] / (batches.counts[code] - 1) as f64;
            if own > rounding(largest[[code, column]]) {
                *factor = (pooled / own).sqrt();
            }
            if !factor.is_finite() {
                return Err(OVERFLOW);
            }
        }
    }
    Ok(factors)
}

/// Brings every batch to the mean, or mean and spread, of all: [`Centering`] fitted and applied to one matrix.
///
/// # Errors
///
/// As [`Centering::fit`] and [`Centering::apply`].
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_embed::batch::{BatchEffect, center};
///
/// let x = array![[1.0], [3.0], [10.0], [14.0]];
/// let batch = Categorical::from_labels(["a", "a", "b", "b"]);
/// let centered = center(x.view(), &batch, BatchEffect::Mean, &NoProgress)?;
/// assert_eq!(centered, array![[6.0], [8.0], [5.0], [9.0]]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn center(
    x: ArrayView2<'_, f64>,
    batch: &Categorical,
    effect: BatchEffect,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    Centering::fit(x, batch, effect, progress)?.apply(x, batch)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;

    #[test]
    fn spread_becomes_the_pooled_one() {
        let x = array![
            [0.0, 2.0],
            [2.0, 2.0],
            [10.0, 2.0],
            [16.0, 4.0],
            [10.0, 6.0]
        ];
        let batch = Categorical::from_labels(["a", "a", "b", "b", "b"]);
        let result = center(x.view(), &batch, BatchEffect::MeanAndVariance, &NoProgress).unwrap();
        // First column: means 1 and 12, of all 7.6; variances 2 and 12, pooled 26/3.
        let (a, b) = ((26.0_f64 / 6.0).sqrt(), (26.0_f64 / 36.0).sqrt());
        let expected = [
            7.6 - a,
            7.6 + a,
            7.6 - 2.0 * b,
            7.6 + 4.0 * b,
            7.6 - 2.0 * b,
        ];
        for (value, expected) in result.column(0).iter().zip(expected) {
            assert!((value - expected).abs() < 1e-12, "{result}");
        }
        // No spread in the first batch: it is moved only.
        assert!((result[[0, 1]] - 3.2).abs() < 1e-12);
        assert_eq!(result[[0, 1]], result[[1, 1]]);
    }

    #[test]
    fn spread_of_rounding_only_is_none() {
        let x = array![[0.3, 7e9], [0.1 + 0.2, 7e9 + 1e-6], [0.0, 0.0], [2.0, 2.0]];
        assert!(x[[0, 0]] != x[[1, 0]] && x[[0, 1]] != x[[1, 1]]);
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let effect = BatchEffect::MeanAndVariance;
        let fitted = Centering::fit(x.view(), &batch, effect, &NoProgress).unwrap();
        assert_eq!(fitted.factors().row(0), array![1.0, 1.0]);
        let result = fitted.apply(x.view(), &batch).unwrap();
        assert!((result[[0, 0]] - result[[1, 0]]).abs() < 1e-15, "{result}");
        // A step that is small beside another batch only is one.
        let small = array![[0.0], [1e-20], [0.0], [2.0]];
        let fitted = Centering::fit(small.view(), &batch, effect, &NoProgress).unwrap();
        assert!(fitted.factors()[[0, 0]] > 1e19);
    }

    #[test]
    fn new_rows_of_a_known_batch_are_moved_and_of_an_unknown_one_refused() {
        let x = array![[0.0], [4.0]];
        let batch = Categorical::from_labels(["a", "b"]);
        let fitted = Centering::fit(x.view(), &batch, BatchEffect::Mean, &NoProgress).unwrap();
        assert_eq!(fitted.batches(), ["a", "b"]);
        assert_eq!(fitted.means(), x);
        let new = array![[7.0]];
        let known = Categorical::from_labels(["b"]);
        assert_eq!(fitted.apply(new.view(), &known).unwrap(), array![[5.0]]);
        let unknown = fitted.apply(new.view(), &Categorical::from_labels(["c"]));
        assert!(matches!(unknown, Err(Error::UnknownCategory { .. })));
        let text = serde_json::to_string(&fitted).unwrap();
        assert_eq!(serde_json::from_str::<Centering>(&text).unwrap(), fitted);
        let renamed = text.replace(r#"["a","b"]"#, r#"["a"]"#);
        assert!(serde_json::from_str::<Centering>(&renamed).is_err());
    }

    #[test]
    fn means_and_factors_of_the_fit_can_be_read() {
        let x = array![[0.0], [2.0], [10.0], [14.0]];
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let effect = BatchEffect::MeanAndVariance;
        let fitted = Centering::fit(x.view(), &batch, effect, &NoProgress).unwrap();
        assert_eq!(fitted.mean(), [6.5]);
        // Variances 2 and 8, pooled 5.
        let expected = array![[2.5_f64.sqrt()], [0.625_f64.sqrt()]];
        assert!(
            (&fitted.factors() - &expected)
                .iter()
                .all(|d| d.abs() < 1e-15)
        );
        let moved = Centering::fit(x.view(), &batch, BatchEffect::Mean, &NoProgress).unwrap();
        assert_eq!(moved.factors(), array![[1.0], [1.0]]);
    }

    #[test]
    fn new_rows_that_are_no_numbers_or_become_none_are_refused() {
        let x = array![[-1.0], [1.0], [2.0], [2.002]];
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let effect = BatchEffect::MeanAndVariance;
        let fitted = Centering::fit(x.view(), &batch, effect, &NoProgress).unwrap();
        let one = Categorical::from_labels(["a"]);
        let alone = Centering::fit(array![[1.0]].view(), &one, BatchEffect::Mean, &NoProgress);
        for (fitted, batch) in [(&fitted, "b"), (&alone.unwrap(), "a")] {
            let batch = Categorical::from_labels([batch]);
            for wrong in [f64::NAN, f64::INFINITY] {
                let found = fitted.apply(array![[wrong]].view(), &batch);
                assert!(matches!(
                    found,
                    Err(Error::NotFinite {
                        row: 0,
                        column: 0,
                        ..
                    })
                ));
            }
        }
        // Its spread is made hundreds of times as large.
        let far = fitted.apply(array![[1e307]].view(), &Categorical::from_labels(["b"]));
        assert_eq!(far.unwrap_err(), Error::Overflow { method: METHOD });
    }

    #[test]
    fn the_fit_stops_when_asked() {
        let stopped = CancelToken::new();
        stopped.cancel();
        let (x, batch) = (array![[0.0], [4.0]], Categorical::from_labels(["a", "b"]));
        let found = Centering::fit(x.view(), &batch, BatchEffect::Mean, &stopped);
        assert!(matches!(found, Err(Error::Cancelled(_))));
    }

    #[test]
    fn numbers_that_no_centring_has_are_refused() {
        let parts = |mean, own, factor| Parts {
            batches: vec!["a".to_owned()],
            mean: vec![mean],
            means: array![[own]],
            factors: array![[factor]],
        };
        assert!(Centering::try_from(parts(0.0, 1.0, 2.0)).is_ok());
        for (mean, own, factor) in [
            (f64::NAN, 1.0, 2.0),
            (0.0, f64::INFINITY, 2.0),
            (0.0, 1.0, -2.0),
            (0.0, 1.0, f64::NAN),
            (0.0, 1.0, f64::INFINITY),
        ] {
            let found = Centering::try_from(parts(mean, own, factor));
            assert!(found.is_err(), "{mean} {own} {factor}");
        }
    }

    #[test]
    fn one_batch_and_constant_columns_stay_to_the_bit() {
        let x = array![[0.1, 0.3], [0.1, 0.7], [0.1, 0.9]];
        let one = Categorical::from_labels(["a"; 3]);
        for effect in [BatchEffect::Mean, BatchEffect::MeanAndVariance] {
            assert_eq!(center(x.view(), &one, effect, &NoProgress).unwrap(), x);
        }
        let two = Categorical::from_labels(["a", "b", "a"]);
        let result = center(x.view(), &two, BatchEffect::Mean, &NoProgress).unwrap();
        assert_eq!(result.column(0), x.column(0));
        assert_eq!(
            center(
                x.slice(ndarray::s![..0, ..]),
                &Categorical::from_labels([""; 0]),
                BatchEffect::Mean,
                &NoProgress
            )
            .unwrap()
            .dim(),
            (0, 2)
        );
    }

    #[test]
    fn bad_input_is_refused() {
        let x = array![[0.0], [4.0], [5.0]];
        let batch = Categorical::from_labels(["a", "b", "b"]);
        let small = center(x.view(), &batch, BatchEffect::MeanAndVariance, &NoProgress);
        assert!(matches!(small, Err(Error::SmallBatch { .. })));
        let nan = array![[0.0], [f64::NAN], [5.0]];
        assert!(matches!(
            center(nan.view(), &batch, BatchEffect::Mean, &NoProgress),
            Err(Error::NotFinite { row: 1, .. })
        ));
        let short = Categorical::from_labels(["a"]);
        assert!(matches!(
            center(x.view(), &short, BatchEffect::Mean, &NoProgress),
            Err(Error::Shape(_))
        ));
        let missing = Categorical::from_optional_labels([Some("a"), None, Some("b")]);
        assert!(matches!(
            center(x.view(), &missing, BatchEffect::Mean, &NoProgress),
            Err(Error::MissingLabel { row: 1, .. })
        ));
        let huge = array![[-1e200], [1e200], [0.0], [1.0]];
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        // Squares of the second are numbers, but their ratio is not.
        for x in [huge, array![[0.0], [1e-160], [0.0], [1.0]]] {
            assert!(matches!(
                center(x.view(), &batch, BatchEffect::MeanAndVariance, &NoProgress),
                Err(Error::Overflow { .. })
            ));
        }
    }
}
