//! Batch effects by ridge regression.

use nalgebra::DMatrix;
use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::{Batches, check_categories, each_row, places};
use crate::matrix::{check_columns, check_finite, solve_symmetric, within_numbers};
use crate::{ConfigError, Error, Result};

const METHOD: &str = "ridge removal";

/// What [`ridge_removal`] returns.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RidgeResult {
    /// The data without the part that the batches explain, `[n, p]`.
    pub residual: Array2<f64>,
    /// The part that the batches explain, `[n, p]`.
    pub explained: Array2<f64>,
}

/// The part of each column that belongs to a row's batch, learned beside the parts that belong to other labels.
///
/// A ridge regression of every column on the one-hot columns of the batch and of all confounders, without an intercept:
/// `β = (ZᵀZ + αI)⁻¹ ZᵀX`.
/// Only the batch's share `Z_batch β_batch` is taken away, so what the confounders explain stays.
/// Park et al. 2020, doi:10.1126/science.aay3224.
/// Categories without rows have no part in it, and are unknown to it afterwards.
/// Batches and confounders together tell everything twice (the sum of either is 1 in every row), so that only `α`
/// parts them: choose it well above 1e-10 of the rows of the largest category; 1 is usual.
/// Cost: for `n` rows, `p` columns and `c` categories with rows, `O(n p + c³ + c² p)` time and `O(c² + c p)` memory besides the result.
///
/// # Differences from bbknn's `ridge_regression`
///
/// There, a confounder whose name begins with the batch column's name counts as batch; here a label is what it is
/// passed as.
/// A fitted removal can be applied to new rows of known batches.
#[doc(alias = "ridge_regression")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct RidgeRemoval {
    batches: Vec<String>,
    /// One row per batch.
    #[serde(with = "crate::stored")]
    effects: Array2<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    batches: Vec<String>,
    #[serde(with = "crate::stored")]
    effects: Array2<f64>,
}

impl TryFrom<Parts> for RidgeRemoval {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts { batches, effects } = parts;
        ShapeError::check_len("batches", effects.nrows(), batches.len())?;
        check_finite(effects.view())?;
        Ok(Self { batches, effects })
    }
}

impl RidgeRemoval {
    /// Learns the effect of each batch on each column.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when `alpha` is not positive, [`Error::Shape`] when labels and rows differ in number,
    /// [`Error::MissingLabel`] for a row without a batch or confounder, [`Error::NotFinite`] for NaN or infinity in `x`,
    /// [`Error::TooMany`] for more than 8,192 categories with rows, of batch and confounders together,
    /// [`Error::Singular`] when `alpha` is so small beside the number of rows that batches and confounders cannot be told
    /// apart in double precision, [`Error::Overflow`] where an effect is beyond any number, [`Error::Cancelled`] when the
    /// caller stops it, which waits for the decomposition of the equations, `c³ / 3` multiplications for `c` categories.
    pub fn fit(
        x: ArrayView2<'_, f64>,
        batch: &Categorical,
        confounders: &[&Categorical],
        alpha: f64,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let positive = alpha > 0.0 && alpha.is_finite();
        ConfigError::check(positive, "alpha", "a positive number", alpha)?;
        check_finite(x)?;
        let (batches, factors, width) = factors(batch, confounders, x.nrows())?;
        progress.start(METHOD, None);
        let mut gram = DMatrix::<f64>::from_diagonal_element(width, width, alpha);
        let mut moments = DMatrix::<f64>::zeros(width, x.ncols());
        each_row(x, progress, |row, values| {
            for codes in &factors {
                let i = codes[row];
                for others in &factors {
                    gram[(i, others[row])] += 1.0;
                }
                for (column, &value) in values.iter().enumerate() {
                    moments[(i, column)] += value;
                }
            }
        })?;
        let beta = solve_symmetric(METHOD, gram, moments, progress)?;
        let shape = (batches.len(), x.ncols());
        let effects = Array2::from_shape_fn(shape, |place| beta[place]);
        let effects = within_numbers(METHOD, effects)?;
        progress.finish();
        Ok(Self { batches, effects })
    }

    /// The batches, in the order of the rows of [`effects`](Self::effects).
    #[must_use]
    pub fn batches(&self) -> &[String] {
        &self.batches
    }

    /// The effect of each batch on each column, `[batches, p]`.
    #[must_use]
    pub fn effects(&self) -> ArrayView2<'_, f64> {
        self.effects.view()
    }

    /// Takes the effect of its batch from every row, of the fit or new.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCategory`] for a batch that the fit did not see, [`Error::MissingLabel`] for a row without one,
    /// [`Error::Shape`] when the columns or labels differ in number, [`Error::NotFinite`] for NaN or infinity in `x`,
    /// [`Error::Overflow`] when a result is beyond any number.
    pub fn apply(&self, x: ArrayView2<'_, f64>, batch: &Categorical) -> Result<RidgeResult> {
        check_columns("x", x, self.effects.ncols())?;
        check_finite(x)?;
        let known = places(&self.batches, batch, "batch", x.nrows())?;
        let mut explained = Array2::zeros(x.raw_dim());
        for (mut row, effect) in explained.outer_iter_mut().zip(known) {
            row.assign(&self.effects.row(effect));
        }
        Ok(RidgeResult {
            residual: within_numbers(METHOD, &x - &explained)?,
            explained,
        })
    }
}

/// The batches; the category of each row by batch and by each confounder, numbered through; and how many there are.
/// Only those with rows count.
fn factors(
    batch: &Categorical,
    confounders: &[&Categorical],
    rows: usize,
) -> Result<(Vec<String>, Vec<Vec<usize>>, usize)> {
    let batches = Batches::of(batch, "batch", rows)?;
    let mut width = batches.len();
    let mut factors = vec![batches.codes];
    for labels in confounders {
        let groups = Batches::of(labels, "confounder", rows)?;
        factors.push(groups.codes.iter().map(|code| width + code).collect());
        width += groups.len();
    }
    check_categories(METHOD, width)?;
    Ok((batches.names, factors, width))
}

/// Takes from every column what a ridge regression ascribes to the batches: [`RidgeRemoval`] fitted and applied to one
/// matrix.
///
/// # Errors
///
/// As [`RidgeRemoval::fit`] and [`RidgeRemoval::apply`].
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_embed::batch::ridge_removal;
///
/// let x = array![[1.0], [2.0], [1.0], [5.0], [4.0], [7.0]];
/// let batch = Categorical::from_labels(["a", "a", "a", "b", "b", "b"]);
/// let result = ridge_removal(x.view(), &batch, &[], 1.0, &NoProgress)?;
/// // Of three rows and a penalty of 1, three quarters of the mean are the batch's.
/// assert_eq!(result.explained, array![[1.0], [1.0], [1.0], [4.0], [4.0], [4.0]]);
/// assert_eq!(result.residual, array![[0.0], [1.0], [0.0], [1.0], [0.0], [3.0]]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn ridge_removal(
    x: ArrayView2<'_, f64>,
    batch: &Categorical,
    confounders: &[&Categorical],
    alpha: f64,
    progress: &dyn Progress,
) -> Result<RidgeResult> {
    RidgeRemoval::fit(x, batch, confounders, alpha, progress)?.apply(x, batch)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{CancelToken, NoProgress};

    use super::super::MOST_CATEGORIES;
    use super::*;

    #[test]
    fn what_the_confounder_explains_stays() {
        // The effect is the confounder's alone and both factors are crossed.
        let x = array![[-1.0], [1.0], [-1.0], [1.0]];
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let kind = Categorical::from_labels(["k", "l", "k", "l"]);
        let result = ridge_removal(x.view(), &batch, &[&kind], 1.0, &NoProgress).unwrap();
        assert!(result.explained.iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn new_rows_of_a_known_batch_are_corrected_and_of_an_unknown_one_refused() {
        let x = array![[0.0], [4.0]];
        let batch = Categorical::from_labels(["a", "b"]);
        let fitted = RidgeRemoval::fit(x.view(), &batch, &[], 1.0, &NoProgress).unwrap();
        let new = fitted
            .apply(array![[7.0]].view(), &Categorical::from_labels(["b"]))
            .unwrap();
        assert_eq!(new.residual, array![[5.0]]);
        let unknown = fitted.apply(array![[7.0]].view(), &Categorical::from_labels(["c"]));
        assert!(matches!(unknown, Err(Error::UnknownCategory { .. })));
        let text = serde_json::to_string(&fitted).unwrap();
        assert_eq!(serde_json::from_str::<RidgeRemoval>(&text).unwrap(), fitted);
        let renamed = text.replace(r#"["a","b"]"#, r#"["a"]"#);
        assert!(serde_json::from_str::<RidgeRemoval>(&renamed).is_err());
    }

    #[test]
    fn categories_without_rows_cost_nothing_and_change_nothing() {
        let x = array![[1.0, 0.5], [2.0, -3.0], [6.0, 4.0], [5.0, 0.0]];
        // A matrix of all pairs of names would take 320 GB.
        let names: Vec<String> = (0..200_000).map(|i| format!("{i:06}")).collect();
        let batch = Categorical::new(vec![7, 7, 150_000, 150_000], names.clone()).unwrap();
        let kind = Categorical::new(vec![3, 199_999, 3, 199_999], names).unwrap();
        let fitted = RidgeRemoval::fit(x.view(), &batch, &[&kind], 1.0, &NoProgress).unwrap();
        let found = fitted.apply(x.view(), &batch).unwrap();
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let kind = Categorical::from_labels(["k", "l", "k", "l"]);
        let expected = ridge_removal(x.view(), &batch, &[&kind], 1.0, &NoProgress).unwrap();
        assert_eq!(found, expected);
        assert_eq!(fitted.batches(), ["000007", "150000"]);
        assert_eq!(fitted.effects().dim(), (2, 2));
        assert!(fitted.effects().iter().all(|&effect| effect != 0.0));
    }

    #[test]
    fn a_batch_that_had_no_rows_is_unknown() {
        // As a table has it of which some rows were taken.
        let batch = Categorical::from_labels(["a", "b", "c", "a"]);
        let x = array![[0.0], [4.0], [9.0], [2.0]];
        let rows = [0, 1, 3];
        let some = x.select(ndarray::Axis(0), &rows);
        let known = batch.select(&rows);
        assert_eq!(known.categories(), ["a", "b", "c"]);
        let fitted = RidgeRemoval::fit(some.view(), &known, &[], 1.0, &NoProgress).unwrap();
        assert_eq!(fitted.batches(), ["a", "b"]);
        assert!(fitted.apply(some.view(), &known).is_ok());
        assert!(matches!(
            fitted.apply(x.view(), &batch),
            Err(Error::UnknownCategory { category, .. }) if category == "c"
        ));
    }

    #[test]
    fn a_penalty_that_rounding_swallows_is_refused() {
        let batch = Categorical::from_labels((0..10_000).map(|i| ["a", "b", "c"][i % 3]));
        let kind = Categorical::from_labels((0..10_000).map(|i| ["k", "l", "m", "n"][i % 4]));
        let x = Array2::from_shape_fn((10_000, 1), |(i, _)| (i % 3 + i % 4) as f64);
        let of = |alpha| RidgeRemoval::fit(x.view(), &batch, &[&kind], alpha, &NoProgress);
        // The seven categories leave 7 α of one of them, and the largest has 3,334 rows.
        for alpha in [4.7e-8, 1e-9, 1e-11, 1e-12, 1e-14] {
            let error = of(alpha).unwrap_err();
            assert_eq!(error, Error::Singular { method: METHOD }, "{alpha}");
        }
        // Between batches the effect is 1, and what is in all of them is shared with the kinds.
        for (alpha, allowed) in [(1.0, 1e-3), (1e-4, 1e-6), (4.9e-8, 1e-4)] {
            let fitted = of(alpha).unwrap();
            let effects = fitted.effects();
            let steps = [
                effects[[1, 0]] - effects[[0, 0]],
                effects[[2, 0]] - effects[[1, 0]],
            ];
            for step in steps {
                assert!((step - 1.0).abs() < allowed, "{effects}");
            }
        }
        // Batches alone are told apart by any penalty.
        assert!(RidgeRemoval::fit(x.view(), &batch, &[], 1e-14, &NoProgress).is_ok());
    }

    #[test]
    fn what_penalty_is_too_small_does_not_depend_on_the_order_of_categories() {
        // Of 7,000, 2,000 and 1,000 rows.
        let places = [0_usize, 0, 0, 0, 0, 0, 0, 1, 1, 2];
        let kind = Categorical::from_labels((0..10_000).map(|i| ["k", "l", "m", "n"][i / 10 % 4]));
        let x = Array2::from_shape_fn((10_000, 1), |(i, _)| (i % 10) as f64);
        for names in [["a", "b", "c"], ["b", "c", "a"], ["c", "b", "a"]] {
            let batch = Categorical::from_labels((0..10_000).map(|i| names[places[i % 10]]));
            let of = |alpha| RidgeRemoval::fit(x.view(), &batch, &[&kind], alpha, &NoProgress);
            assert!(of(0.9e-7).is_err(), "{names:?}");
            assert!(of(1.1e-7).is_ok(), "{names:?}");
        }
    }

    #[test]
    fn new_rows_that_are_no_numbers_or_become_none_are_refused() {
        let (x, batch) = (array![[-1.7e308]], Categorical::from_labels(["a"]));
        let fitted = RidgeRemoval::fit(x.view(), &batch, &[], 1.0, &NoProgress).unwrap();
        for wrong in [f64::NAN, f64::INFINITY] {
            let found = fitted.apply(array![[wrong]].view(), &batch);
            assert!(matches!(found, Err(Error::NotFinite { row: 0, .. })));
        }
        let far = fitted.apply(array![[1.7e308]].view(), &batch);
        assert_eq!(far.unwrap_err(), Error::Overflow { method: METHOD });
    }

    #[test]
    fn the_fit_stops_when_asked() {
        let stopped = CancelToken::new();
        stopped.cancel();
        let (x, batch) = (array![[0.0], [4.0]], Categorical::from_labels(["a", "b"]));
        let found = RidgeRemoval::fit(x.view(), &batch, &[], 1.0, &stopped);
        assert!(matches!(found, Err(Error::Cancelled(_))));
    }

    #[test]
    fn more_categories_than_there_is_room_for_are_refused() {
        let rows = MOST_CATEGORIES + 1;
        let each = Categorical::from_labels((0..rows).map(|row| row.to_string()));
        let x = Array2::zeros((rows, 1));
        let error = ridge_removal(x.view(), &each, &[], 1.0, &NoProgress).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ridge removal has room for 8192 categories, found 8193"
        );
        let half = Categorical::from_labels((0..rows).map(|row| (row / 2).to_string()));
        let error = ridge_removal(x.view(), &half, &[&half], 1.0, &NoProgress).unwrap_err();
        assert!(matches!(error, Error::TooMany { found: 8194, .. }));
    }

    #[test]
    fn effects_beyond_any_number_are_refused() {
        let x = array![[1.7e308], [1.7e308]];
        let batch = Categorical::from_labels(["a", "a"]);
        let error = ridge_removal(x.view(), &batch, &[], 1.0, &NoProgress).unwrap_err();
        assert!(matches!(error, Error::Overflow { .. }));
        for wrong in [f64::NAN, f64::INFINITY] {
            let parts = Parts {
                batches: vec!["a".to_owned()],
                effects: array![[wrong]],
            };
            assert!(RidgeRemoval::try_from(parts).is_err());
        }
    }

    #[test]
    fn bad_input_is_refused() {
        let x = array![[0.0], [4.0]];
        let batch = Categorical::from_labels(["a", "b"]);
        assert!(ridge_removal(x.view(), &batch, &[], 0.0, &NoProgress).is_err());
        let nan = array![[f64::NAN], [0.0]];
        assert!(ridge_removal(nan.view(), &batch, &[], 1.0, &NoProgress).is_err());
        let missing = Categorical::from_optional_labels([Some("a"), None]);
        let error = ridge_removal(x.view(), &missing, &[], 1.0, &NoProgress).unwrap_err();
        assert!(matches!(error, Error::MissingLabel { row: 1, .. }));
        let short = Categorical::from_labels(["a"]);
        assert!(ridge_removal(x.view(), &short, &[], 1.0, &NoProgress).is_err());
    }
}
