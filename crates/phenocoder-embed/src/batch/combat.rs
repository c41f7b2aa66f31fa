//! Batch effects on mean and spread, estimated for all columns together.

mod design;
mod shrink;
#[cfg(test)]
mod tests;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use phenocoder_core::{Categorical, Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::{BatchEffect, Batches, places};
use crate::matrix::{check_columns, check_divisors, check_finite, within_numbers};
use crate::{ConfigError, Error, Result};

use design::{Encoding, Fit};

const METHOD: &str = "ComBat";

/// Something known of every row whose effect is not the batch's and stays.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Covariate<'a> {
    /// A group of each row, for example a treatment.
    Categories(&'a Categorical),
    /// A number of each row that values are taken to change with linearly, for example an age.
    Numbers(&'a [f64]),
}

/// Settings of a [`Combat`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CombatConfig {
    /// What is taken away (default mean and variance).
    pub effect: BatchEffect,
    /// The iteration ends when no estimate of a batch changes by more than this share of itself (default 1e-4, as in
    /// the original).
    pub tolerance: f64,
    /// The most rounds per batch (default 1,000); a handful is usual.
    pub iterations: usize,
}

impl Default for CombatConfig {
    fn default() -> Self {
        Self {
            effect: BatchEffect::MeanAndVariance,
            tolerance: 1e-4,
            iterations: 1000,
        }
    }
}

impl CombatConfig {
    /// Sets what is taken away.
    #[must_use]
    pub fn with_effect(mut self, effect: BatchEffect) -> Self {
        self.effect = effect;
        self
    }

    /// Sets the change at which the iteration ends.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the most rounds per batch.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `tolerance` is not positive or `iterations` is 0.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = self.tolerance > 0.0 && self.tolerance.is_finite();
        ConfigError::check(positive, "tolerance", "a positive number", self.tolerance)?;
        let some = self.iterations > 0;
        ConfigError::check(some, "iterations", "at least 1", self.iterations)
    }
}

/// How each batch moved each column and changed its spread, by empirical Bayes: what all columns of a batch share
/// steadies the estimate of each.
///
/// Every column is regressed on the batches and the covariates; `stand` is the fitted value without the batch's part,
/// `v` the mean square of the residuals, and `S = (x − stand) / √v`.
/// In batch `i` with `n_i` rows, `ĝ` and `d̂` are the mean and the variance (`n_i − 1` in the denominator) of `S`, and the
/// priors are a normal distribution of `ĝ` (mean `ḡ`, variance `t²` over the columns, `p` in the denominator) and an
/// inverse gamma distribution of `d̂` with its mean `m` and variance `s²` over the columns (`p − 1`):
/// `a = (2 s² + m²) / s²`, `b = (m s² + m³) / s²`.
/// Mean and variance given the other follow each other until they stay:
///
/// ```text
/// g = (t² n_i ĝ + d ḡ) / (t² n_i + d)
/// d = (½ Σ (S − g)² + b) / (n_i / 2 + a − 1)
/// ```
///
/// A value becomes `(S − g) / √d · √v + stand`.
/// With [`BatchEffect::Mean`], `d` is 1 throughout.
/// Johnson, Li & Rabinovic 2007, doi:10.1093/biostatistics/kxj037.
///
/// For tables of many columns in the same unit, or [scaled](crate::scale::Scaler): the priors take the columns for
/// alike.
/// Cost: `O(n (p + q) q)` for `q` columns of covariates, memory for `2 n q + q²` numbers besides the result.
///
/// # Differences from scanpy's `pp.combat`
///
/// The numbers are the same (to 1e-10 in `tests/it/combat.rs`), but
///
/// - categories become a column each but the first; there all of them do, which leaves the equations without a unique
///   solution and the result to rounding,
/// - a column that batches and covariates explain fully has no part in the priors; it loses its differences between
///   batches, and new rows of it keep their spread,
/// - one batch stays as it is, where there its variances are drawn together,
/// - a single column, or a batch without any spread, gives numbers (there: NaN, or rounding divided by rounding),
/// - what was fitted can be applied to new rows.
///
/// Whether the mean has settled is asked where it was positive only, there as here, so that both stop in the same
/// round.
/// Mean-only correction weighs a batch by its rows; R's `sva` takes every batch for one row then.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Combat {
    batches: Vec<String>,
    covariates: Vec<Encoding>,
    /// The mean of each column without batch and covariates.
    grand: Vec<f64>,
    /// The effect of each column of the covariates, `[q, p]`.
    #[serde(with = "crate::stored")]
    slopes: Array2<f64>,
    /// How far each batch moved each column, in the unit of the data, `[batches, p]`.
    #[serde(with = "crate::stored")]
    shifts: Array2<f64>,
    /// How many times the spread a batch has, `[batches, p]`.
    #[serde(with = "crate::stored")]
    scales: Array2<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    batches: Vec<String>,
    covariates: Vec<Encoding>,
    grand: Vec<f64>,
    #[serde(with = "crate::stored")]
    slopes: Array2<f64>,
    #[serde(with = "crate::stored")]
    shifts: Array2<f64>,
    #[serde(with = "crate::stored")]
    scales: Array2<f64>,
}

impl TryFrom<Parts> for Combat {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            batches,
            covariates,
            grand,
            slopes,
            shifts,
            scales,
        } = parts;
        let width = covariates.iter().map(Encoding::width).sum();
        ShapeError::check_len("covariates", slopes.nrows(), width)?;
        ShapeError::check_len("slopes", grand.len(), slopes.ncols())?;
        for matrix in [&shifts, &scales] {
            ShapeError::check_len("batches", matrix.nrows(), batches.len())?;
            ShapeError::check_len("grand", matrix.ncols(), grand.len())?;
        }
        check_finite(ArrayView1::from(&grand).insert_axis(Axis(0)))?;
        check_finite(slopes.view())?;
        check_finite(shifts.view())?;
        check_divisors("scales", &scales)?;
        Ok(Self {
            batches,
            covariates,
            grand,
            slopes,
            shifts,
            scales,
        })
    }
}

impl Combat {
    /// Learns the effect of each batch on each column.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for settings out of range, [`Error::Shape`] when labels, covariates and rows differ in number,
    /// [`Error::MissingLabel`] for a row without a batch or a covariate's category, [`Error::NotFinite`] for NaN or
    /// infinity in `x` or in the numbers of a covariate (its position is then the column),
    /// [`Error::SmallBatch`] for a batch of one row whose variance is asked for, [`Error::Collinear`] for a covariate
    /// that the batches and the covariates before it tell already, so that its effect cannot be told from theirs (with more
    /// columns of covariates than there are rows less batches, the first that there is no room for, even where another one
    /// follows from those before), [`Error::TooMany`] for more than 8,192 columns of covariates, [`Error::NotConverged`] when `iterations` do not
    /// suffice, [`Error::Overflow`] when squares are infinite, [`Error::Cancelled`] when the caller stops it.
    pub fn fit(
        x: ArrayView2<'_, f64>,
        batch: &Categorical,
        covariates: &[Covariate<'_>],
        config: &CombatConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        config.validate()?;
        check_finite(x)?;
        let batches = Batches::new(batch, x.nrows(), config.effect.rows_needed())?;
        let encodings: Vec<Encoding> = covariates.iter().map(Encoding::new).collect();
        design::check_room(&encodings, covariates, x.nrows(), batches.len())?;
        let columns = design::columns(&encodings, covariates, x.nrows())?;
        progress.start(METHOD, None);
        let fit = Fit::new(x, &batches, &encodings, columns, progress)?;
        let (shifts, scales) = effects(&fit, &batches.counts, config, progress)?;
        progress.finish();
        Ok(Self {
            batches: batches.names,
            covariates: encodings,
            grand: fit.grand,
            slopes: fit.slopes,
            shifts,
            scales,
        })
    }

    /// The batches, in the order of the rows of [`shifts`](Self::shifts) and [`scales`](Self::scales).
    #[must_use]
    pub fn batches(&self) -> &[String] {
        &self.batches
    }

    /// How far each batch moved each column, in the unit of the data (`g √v`), `[batches, p]`.
    #[must_use]
    pub fn shifts(&self) -> ArrayView2<'_, f64> {
        self.shifts.view()
    }

    /// How many times the common spread each column has in each batch (`√d`), `[batches, p]`.
    #[must_use]
    pub fn scales(&self) -> ArrayView2<'_, f64> {
        self.scales.view()
    }

    /// Takes the effect of its batch from every row, of the fit or new.
    ///
    /// The covariates are those of the fit, in its order, for these rows.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCategory`] for a batch or a covariate's category that the fit did not see,
    /// [`Error::MissingLabel`] for a row without one, [`Error::NotFinite`] for NaN or infinity in `x` or in the numbers of
    /// a covariate (its position is then the column), [`Error::Shape`] when the columns, labels or covariates differ in
    /// number or a covariate in kind, [`Error::Overflow`] when a result is beyond any number.
    pub fn apply(
        &self,
        x: ArrayView2<'_, f64>,
        batch: &Categorical,
        covariates: &[Covariate<'_>],
    ) -> Result<Array2<f64>> {
        check_columns("x", x, self.grand.len())?;
        check_finite(x)?;
        let places = places(&self.batches, batch, "batch", x.nrows())?;
        let columns = design::columns(&self.covariates, covariates, x.nrows())?;
        let mut result = x.to_owned();
        for ((mut row, place), known) in result
            .outer_iter_mut()
            .zip(places)
            .zip(columns.outer_iter())
        {
            for (column, value) in row.iter_mut().enumerate() {
                let (shift, scale) = (self.shifts[[place, column]], self.scales[[place, column]]);
                if scale == 1.0 {
                    *value -= shift;
                } else {
                    let stand = self.stand(column, known);
                    *value = (*value - stand - shift) / scale + stand;
                }
            }
        }
        within_numbers(METHOD, result)
    }

    /// What is expected of a row of no batch.
    fn stand(&self, column: usize, known: ArrayView1<'_, f64>) -> f64 {
        let slopes = self.slopes.column(column);
        let explained = slopes.iter().zip(known).map(|(slope, value)| slope * value);
        self.grand[column] + explained.sum::<f64>()
    }
}

/// How far each of the batches of so many rows moved each column, and how many times the spread it has there.
fn effects(
    fit: &Fit,
    counts: &[usize],
    config: &CombatConfig,
    progress: &dyn Progress,
) -> Result<(Array2<f64>, Array2<f64>)> {
    let shape = fit.intercepts.dim();
    let (mut shifts, mut scales) = (Array2::zeros(shape), Array2::ones(shape));
    if counts.len() < 2 {
        return Ok((shifts, scales));
    }
    let spread: Vec<f64> = fit.variances.iter().map(|v| v.sqrt()).collect();
    let varying: Vec<usize> = (0..shape.1).filter(|&c| spread[c] > 0.0).collect();
    for (code, &rows) in counts.iter().enumerate() {
        let rows = rows as f64;
        let own = fit.intercepts.row(code);
        for (column, shift) in shifts.row_mut(code).iter_mut().enumerate() {
            *shift = own[column] - fit.grand[column];
        }
        let means: Vec<f64> = varying
            .iter()
            .map(|&c| shifts[[code, c]] / spread[c])
            .collect();
        let variances: Option<Vec<f64>> = match config.effect {
            BatchEffect::Mean => None,
            BatchEffect::MeanAndVariance => Some(
                varying
                    .iter()
                    .map(|&c| fit.squares[[code, c]] / fit.variances[c] / (rows - 1.0))
                    .collect(),
            ),
        };
        let shrunk = shrink::shrink(&means, variances.as_deref(), rows, config, progress)?;
        for (&column, (mean, variance)) in varying.iter().zip(shrunk) {
            shifts[[code, column]] = spread[column] * mean;
            scales[[code, column]] = variance.sqrt();
        }
    }
    Ok((shifts, scales))
}

/// Takes from every column how its batch moved and spread it: [`Combat`] fitted and applied to one matrix.
///
/// # Errors
///
/// As [`Combat::fit`] and [`Combat::apply`].
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{Categorical, NoProgress, Seed};
/// use phenocoder_embed::batch::{CombatConfig, Covariate, combat};
///
/// // Treated rows are 3 higher, rows of the second batch 5, and in it fewer rows are treated.
/// let treated: Vec<f64> = (0..60).map(|i| f64::from(i % 2 == 0 || i < 20)).collect();
/// let mut stream = Seed::new(1).stream("rows", 0);
/// let x = Array2::from_shape_fn((60, 8), |(i, _)| {
///     3.0 * treated[i] + if i < 30 { 0.0 } else { 5.0 } + stream.normal()
/// });
/// let batch = Categorical::from_labels((0..60).map(|i| if i < 30 { "a" } else { "b" }));
/// let covariate = Covariate::Numbers(&treated);
/// let config = CombatConfig::default();
/// let corrected = combat(x.view(), &batch, &[covariate], &config, &NoProgress)?;
///
/// let mean = |rows: [usize; 4]| rows.map(|i| corrected.row(i).sum()).iter().sum::<f64>() / 32.0;
/// let (untreated_a, untreated_b) = (mean([21, 23, 25, 27]), mean([31, 33, 35, 37]));
/// assert!((untreated_a - untreated_b).abs() < 1.0);
/// assert!((mean([30, 32, 34, 36]) - untreated_b - 3.0).abs() < 1.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "pp.combat")]
#[doc(alias = "pycombat")]
pub fn combat(
    x: ArrayView2<'_, f64>,
    batch: &Categorical,
    covariates: &[Covariate<'_>],
    config: &CombatConfig,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    Combat::fit(x, batch, covariates, config, progress)?.apply(x, batch, covariates)
}
