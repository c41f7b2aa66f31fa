//! Batch effects by ridge regression.

use nalgebra::{Cholesky, DMatrix};
use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, ShapeError};
use serde::{Deserialize, Serialize};

use super::places;
use crate::matrix::{check_columns, check_finite, full_codes};
use crate::{ConfigError, Error, Result};

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
    type Error = ShapeError;

    fn try_from(parts: Parts) -> Result<Self, ShapeError> {
        let Parts {
            categories,
            effects,
        } = parts;
        ShapeError::check_len("categories", effects.nrows(), categories.len())?;
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
    /// [`Error::MissingLabel`] for a row without a batch or confounder, [`Error::NotFinite`] for NaN in `x`.
    pub fn fit(
        x: ArrayView2<'_, f64>,
        batch: &Categorical,
        confounders: &[&Categorical],
        alpha: f64,
    ) -> Result<Self> {
        let positive = alpha > 0.0 && alpha.is_finite();
        ConfigError::check(positive, "alpha", "a positive number", alpha)?;
        check_finite(x)?;
        let mut factors = vec![(full_codes(batch, "batch", x.nrows())?, 0)];
        let mut width = batch.categories().len();
        for confounder in confounders {
            factors.push((full_codes(confounder, "confounder", x.nrows())?, width));
            width += confounder.categories().len();
        }
        let mut gram = DMatrix::<f64>::from_diagonal_element(width, width, alpha);
        let mut moments = DMatrix::<f64>::zeros(width, x.ncols());
        for (row, values) in x.outer_iter().enumerate() {
            for (codes, offset) in &factors {
                let i = offset + codes[row];
                for (others, other_offset) in &factors {
                    gram[(i, other_offset + others[row])] += 1.0;
                }
                for (column, &value) in values.iter().enumerate() {
                    moments[(i, column)] += value;
                }
            }
        }
        let beta = Cholesky::new(gram)
            .ok_or(Error::Singular {
                method: "ridge removal",
            })?
            .solve(&moments);
        let shape = (batch.categories().len(), x.ncols());
        Ok(Self {
            categories: batch.categories().to_vec(),
            effects: Array2::from_shape_fn(shape, |at| beta[at]),
        })
    }

    /// The effect of each batch (in the order of its categories) on each column, `[batches, p]`.
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
