//! Batch effects by ridge regression.

use nalgebra::{Cholesky, DMatrix};
use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, ShapeError};
use serde::{Deserialize, Serialize};

use super::{Batches, places};
use crate::matrix::{check_columns, check_finite};
use crate::{ConfigError, Error, Result};

const METHOD: &str = "ridge removal";
/// The most categories of batch and confounders together: every pair of them has a number, half a gigabyte in all.
const MOST: usize = 8192;

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
/// Categories without rows have no part in it, and no effect.
/// Cost: for `n` rows, `p` columns and `c` categories with rows, `O(n p + c³ + c² p)` time and `O(c² + c p)` memory.
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
    categories: Vec<String>,
    /// One row per batch.
    #[serde(with = "crate::stored")]
    effects: Array2<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    categories: Vec<String>,
    #[serde(with = "crate::stored")]
    effects: Array2<f64>,
}

impl TryFrom<Parts> for RidgeRemoval {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            categories,
            effects,
        } = parts;
        ShapeError::check_len("categories", effects.nrows(), categories.len())?;
        check_finite(effects.view())?;
        Ok(Self {
            categories,
            effects,
        })
    }
}

impl RidgeRemoval {
    /// Learns the effect of each batch on each column.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when `alpha` is not positive, [`Error::Shape`] when labels and rows differ in number,
    /// [`Error::MissingLabel`] for a row without a batch or confounder, [`Error::NotFinite`] for NaN in `x`,
    /// [`Error::TooMany`] for more than 8,192 categories with rows, of batch and confounders together,
    /// [`Error::Overflow`] where an effect is beyond any number.
    pub fn fit(
        x: ArrayView2<'_, f64>,
        batch: &Categorical,
        confounders: &[&Categorical],
        alpha: f64,
    ) -> Result<Self> {
        let positive = alpha > 0.0 && alpha.is_finite();
        ConfigError::check(positive, "alpha", "a positive number", alpha)?;
        check_finite(x)?;
        let (factors, width) = factors(batch, confounders, x.nrows())?;
        let mut gram = DMatrix::<f64>::from_diagonal_element(width, width, alpha);
        let mut moments = DMatrix::<f64>::zeros(width, x.ncols());
        for (row, values) in x.outer_iter().enumerate() {
            for codes in &factors {
                let i = codes[row];
                for others in &factors {
                    gram[(i, others[row])] += 1.0;
                }
                for (column, &value) in values.iter().enumerate() {
                    moments[(i, column)] += value;
                }
            }
        }
        let beta = Cholesky::new(gram)
            .ok_or(Error::Singular { method: METHOD })?
            .solve(&moments);
        if !beta.iter().all(|effect| effect.is_finite()) {
            return Err(Error::Overflow { method: METHOD });
        }
        let sizes = batch.counts();
        let with_rows = (0..sizes.len()).filter(|&code| sizes[code] > 0);
        let mut effects = Array2::<f64>::zeros((sizes.len(), x.ncols()));
        for (place, code) in with_rows.enumerate() {
            for (column, effect) in effects.row_mut(code).iter_mut().enumerate() {
                *effect = beta[(place, column)];
            }
        }
        Ok(Self {
            categories: batch.categories().to_vec(),
            effects,
        })
    }

    /// The effect of each batch (in the order of its categories, 0 of one without rows) on each column, `[batches, p]`.
    #[must_use]
    pub fn effects(&self) -> ArrayView2<'_, f64> {
        self.effects.view()
    }

    /// Takes the effect of its batch from every row.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCategory`] for a batch that the fit did not see, [`Error::MissingLabel`] for a row without one,
    /// [`Error::Shape`] when the columns or labels differ in number.
    pub fn apply(&self, x: ArrayView2<'_, f64>, batch: &Categorical) -> Result<RidgeResult> {
        check_columns(x, self.effects.ncols())?;
        let known = places(&self.categories, batch, "batch", x.nrows())?;
        let mut explained = Array2::zeros(x.raw_dim());
        for (mut row, effect) in explained.outer_iter_mut().zip(known) {
            row.assign(&self.effects.row(effect));
        }
        Ok(RidgeResult {
            residual: &x - &explained,
            explained,
        })
    }
}

/// The category of each row by batch and by each confounder, numbered through, and how many there are; only those with
/// rows count.
fn factors(
    batch: &Categorical,
    confounders: &[&Categorical],
    rows: usize,
) -> Result<(Vec<Vec<usize>>, usize)> {
    let labels = confounders.iter().map(|&labels| (labels, "confounder"));
    let (mut factors, mut width) = (Vec::new(), 0_usize);
    for (labels, what) in std::iter::once((batch, "batch")).chain(labels) {
        let groups = Batches::of(labels, what, rows)?;
        factors.push(groups.codes.iter().map(|code| width + code).collect());
        width += groups.len();
    }
    if width > MOST {
        return Err(Error::TooMany {
            method: METHOD,
            what: "categories",
            most: MOST,
            found: width,
        });
    }
    Ok((factors, width))
}

/// Takes from every column what a ridge regression ascribes to the batches: [`RidgeRemoval`] fitted and applied to one
/// matrix.
///
/// # Errors
///
/// As [`RidgeRemoval::fit`].
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_embed::batch::ridge_removal;
///
/// let x = array![[1.0], [1.0], [5.0], [5.0]];
/// let batch = Categorical::from_labels(["a", "a", "b", "b"]);
/// let result = ridge_removal(x.view(), &batch, &[], 1e-9)?;
/// assert!(result.residual.iter().all(|v| v.abs() < 1e-8));
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn ridge_removal(
    x: ArrayView2<'_, f64>,
    batch: &Categorical,
    confounders: &[&Categorical],
    alpha: f64,
) -> Result<RidgeResult> {
    RidgeRemoval::fit(x, batch, confounders, alpha)?.apply(x, batch)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn what_the_confounder_explains_stays() {
        // The effect is the confounder's alone and both factors are crossed.
        let x = array![[-1.0], [1.0], [-1.0], [1.0]];
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let kind = Categorical::from_labels(["k", "l", "k", "l"]);
        let result = ridge_removal(x.view(), &batch, &[&kind], 1.0).unwrap();
        assert!(result.explained.iter().all(|v| v.abs() < 1e-12));
    }

    #[test]
    fn new_rows_of_a_known_batch_are_corrected_and_of_an_unknown_one_refused() {
        let x = array![[0.0], [4.0]];
        let fitted =
            RidgeRemoval::fit(x.view(), &Categorical::from_labels(["a", "b"]), &[], 1.0).unwrap();
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
        let fitted = RidgeRemoval::fit(x.view(), &batch, &[&kind], 1.0).unwrap();
        let found = fitted.apply(x.view(), &batch).unwrap();
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let kind = Categorical::from_labels(["k", "l", "k", "l"]);
        let expected = ridge_removal(x.view(), &batch, &[&kind], 1.0).unwrap();
        assert_eq!(found, expected);
        let effects = fitted.effects();
        assert_eq!(effects.dim(), (200_000, 2));
        assert!(effects.row(8).iter().all(|&effect| effect == 0.0));
        assert!(effects.row(7).iter().all(|&effect| effect != 0.0));
    }

    #[test]
    fn more_categories_than_there_is_room_for_are_refused() {
        let rows = MOST + 1;
        let each = Categorical::from_labels((0..rows).map(|row| row.to_string()));
        let x = Array2::zeros((rows, 1));
        let error = ridge_removal(x.view(), &each, &[], 1.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ridge removal has room for 8192 categories, found 8193"
        );
        let half = Categorical::from_labels((0..rows).map(|row| (row / 2).to_string()));
        let error = ridge_removal(x.view(), &half, &[&half], 1.0).unwrap_err();
        assert!(matches!(error, Error::TooMany { found: 8194, .. }));
    }

    #[test]
    fn effects_beyond_any_number_are_refused() {
        let x = array![[1.7e308], [1.7e308]];
        let batch = Categorical::from_labels(["a", "a"]);
        let error = ridge_removal(x.view(), &batch, &[], 1.0).unwrap_err();
        assert!(matches!(error, Error::Overflow { .. }));
        for wrong in [f64::NAN, f64::INFINITY] {
            let parts = Parts {
                categories: vec!["a".to_owned()],
                effects: array![[wrong]],
            };
            assert!(RidgeRemoval::try_from(parts).is_err());
        }
    }

    #[test]
    fn bad_input_is_refused() {
        let x = array![[0.0], [4.0]];
        let batch = Categorical::from_labels(["a", "b"]);
        assert!(ridge_removal(x.view(), &batch, &[], 0.0).is_err());
        assert!(ridge_removal(array![[f64::NAN], [0.0]].view(), &batch, &[], 1.0).is_err());
        let missing = Categorical::from_optional_labels([Some("a"), None]);
        let error = ridge_removal(x.view(), &missing, &[], 1.0).unwrap_err();
        assert!(matches!(error, Error::MissingLabel { row: 1, .. }));
        assert!(ridge_removal(x.view(), &Categorical::from_labels(["a"]), &[], 1.0).is_err());
    }
}
