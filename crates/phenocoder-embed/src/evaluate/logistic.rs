//! Which label do linear functions of the columns tell?

mod descent;
#[cfg(test)]
mod tests;

use std::ops::Range;

use nalgebra::DMatrix;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use phenocoder_core::{Progress, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::prediction::Prediction;
use super::{check_classes, ranked, values_of};
use crate::matrix::{check_columns, check_finite, dot, exponentials, row_of, sum_rows};
use crate::scale::{ScaleConfig, Scaler};
use crate::{ConfigError, Error, Result};

const METHOD: &str = "logistic regression";
/// Rows per task.
const ROWS: usize = 256;

/// Settings of a [`LogisticRegression`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LogisticConfig {
    /// How much the rows count against coefficients being small: C, one over the ridge penalty (default 1).
    pub c: f64,
    /// The fit ends when no entry of the gradient is larger, of the mean over rows and for columns brought to one scale
    /// (default 1e-10).
    pub tolerance: f64,
    /// The most steps (default 10,000); tens are usual.
    pub iterations: usize,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        Self {
            c: 1.0,
            tolerance: 1e-10,
            iterations: 10_000,
        }
    }
}

impl LogisticConfig {
    /// Sets how much the rows count against coefficients being small.
    #[must_use]
    pub fn with_c(mut self, c: f64) -> Self {
        self.c = c;
        self
    }

    /// Sets the gradient at which the fit ends.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the most steps.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (value, setting) in [(self.c, "c"), (self.tolerance, "tolerance")] {
            let holds = value > 0.0 && value.is_finite();
            ConfigError::check(holds, setting, "a positive number", value)?;
        }
        ConfigError::check(self.iterations >= 1, "iterations", "at least 1", 0)
    }
}

/// Labels told by linear functions of the columns, one for each class: the linear probe of a description.
///
/// The probability of class `k` is `exp(f_k(x)) / Σ_l exp(f_l(x))`, with `f_k(x) = w_k · x + b_k`.
/// Coefficients and intercepts make `½ Σ_k |w_k|² + C Σ_rows −ln p(label)` least; intercepts are not penalized.
/// Of two classes only the higher one has a function, the lower one scores 0.
/// Hastie, Tibshirani & Friedman 2009, doi:10.1007/978-0-387-84858-7, section 4.4.
///
/// When it predicts labels well, they lie open in the columns, and no network is needed to read them.
/// The penalty sees the unit of a column: fit a [`Scaler`] on the same rows before.
///
/// The one minimum is found by L-BFGS in columns brought to mean 0 and to one curvature, so that its speed does not depend
/// on units.
/// A constant column has coefficient 0.
/// Cost: `O(n p classes)` per step; memory for a copy of the rows to fit, and for a probability per row and class to
/// predict.
///
/// # Differences from scikit-learn's `LogisticRegression`
///
/// None in the minimum.
/// scikit-learn by default stops 100 steps or a gradient of 1e-4 away from it; here the search ends at 1e-10 or in an error.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::{LogisticConfig, LogisticRegression};
///
/// let x = array![[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]];
/// let labels = [1, 1, 2, 1, 2, 2];
/// let model = LogisticRegression::fit(x.view(), &labels, &LogisticConfig::default(), &NoProgress)?;
/// let found = model.predict(array![[0.0], [2.5], [9.0]].view(), &NoProgress)?;
/// assert_eq!((found.labels[0], found.labels[2]), (1, 2));
/// assert!((found.probabilities[[1, 0]] - 0.5).abs() < 1e-9);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "linear probe")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct LogisticRegression {
    config: LogisticConfig,
    classes: Vec<u32>,
    #[serde(with = "crate::stored")]
    coefficients: Array2<f64>,
    intercepts: Vec<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    config: LogisticConfig,
    classes: Vec<u32>,
    #[serde(with = "crate::stored")]
    coefficients: Array2<f64>,
    intercepts: Vec<f64>,
}

impl TryFrom<Parts> for LogisticRegression {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            config,
            classes,
            coefficients,
            intercepts,
        } = parts;
        config.validate()?;
        check_several("classes", &classes)?;
        let functions = functions_of(classes.len());
        ShapeError::check_len("coefficients", functions, coefficients.nrows())?;
        ShapeError::check_len("intercepts", functions, intercepts.len())?;
        check_finite(coefficients.view())?;
        check_finite(ArrayView1::from(&intercepts).insert_axis(Axis(0)))?;
        Ok(Self {
            config,
            classes,
            coefficients,
            intercepts,
        })
    }
}

impl LogisticRegression {
    /// Finds the coefficients.
    ///
    /// # Shapes
    ///
    /// `x`: `[n, p]`; `labels`: one per row.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting out of range or more than 16,384 different labels, [`Error::Shape`] when rows and
    /// labels differ in number, [`Error::TooFew`] for fewer than two different labels, [`Error::NotFinite`] for NaN or
    /// infinity, [`Error::Overflow`] when squares of values are beyond any number, or C times the number of rows is,
    /// [`Error::NotConverged`] when the steps do not suffice, [`Error::Cancelled`] when the caller stops it.
    pub fn fit(
        x: ArrayView2<'_, f64>,
        labels: &[u32],
        config: &LogisticConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        config.validate()?;
        ShapeError::check_len("labels", x.nrows(), labels.len())?;
        check_finite(x)?;
        let classes = values_of(labels);
        check_several("labels", &classes)?;
        let scaler = Scaler::fit(x, &ScaleConfig::default())?;
        let (mean, std) = (scaler.mean(), scaler.std());
        // With w = u v and u = √(Cn / (1 + Cn s²)), the loss and the penalty together curve about as much along every v.
        let root = (config.c * x.nrows() as f64).sqrt();
        let mut numbers = mean.iter().chain(std).chain([&root]);
        if !numbers.all(|value| value.is_finite()) {
            return Err(Error::Overflow { method: METHOD });
        }
        let lengths: Vec<f64> = std.iter().map(|s| libm::hypot(1.0, root * s)).collect();
        let mut rows = scaler.transform(x)?;
        if !rows.is_standard_layout() {
            rows = rows.as_standard_layout().into_owned();
        }
        for mut row in rows.outer_iter_mut() {
            for ((value, length), s) in row.iter_mut().zip(&lengths).zip(std) {
                *value *= root * s / length;
            }
        }
        let problem = Problem {
            x: rows,
            places: ranked(labels).0,
            ridge: lengths
                .iter()
                .map(|length| 1.0 / (length * length))
                .collect(),
            classes: classes.len(),
        };
        progress.start(METHOD, None);
        let found = descent::minimize(&problem, config, progress)?;
        progress.finish();
        let (functions, p) = (functions_of(classes.len()), x.ncols());
        let mut coefficients = Array2::from_shape_fn((functions, p), |(k, j)| {
            found[k * (p + 1) + j] * root / lengths[j]
        });
        let at_mean = found.chunks_exact(p + 1).map(|function| function[p]);
        let mut at_mean = Array1::from_iter(at_mean);
        if let (Some(common), Some(level), true) = (
            coefficients.mean_axis(Axis(0)),
            at_mean.mean(),
            functions > 1,
        ) {
            // One function added to all of them changes the penalty alone: the least is where they sum to 0.
            coefficients -= &common;
            at_mean -= level;
        }
        let intercepts = at_mean - coefficients.dot(&Array1::from(mean.to_vec()));
        Ok(Self {
            config: *config,
            classes,
            coefficients,
            intercepts: intercepts.to_vec(),
        })
    }

    /// The classes, by rising label: the columns of the probabilities.
    #[must_use]
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &LogisticConfig {
        &self.config
    }

    /// The coefficients of each class, `[classes, p]`, or of the higher one of two, `[1, p]`.
    #[must_use]
    pub fn coefficients(&self) -> ArrayView2<'_, f64> {
        self.coefficients.view()
    }

    /// The intercept of each class, or of the higher one of two.
    #[must_use]
    pub fn intercepts(&self) -> &[f64] {
        &self.intercepts
    }

    /// The labels of other rows, and how probable each class is.
    ///
    /// # Shapes
    ///
    /// `x`: `[m, p]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns than the fitted rows have, [`Error::NotFinite`] for NaN or
    /// infinity, [`Error::Overflow`] when a score is infinite, [`Error::Cancelled`] when the caller stops it.
    pub fn predict(&self, x: ArrayView2<'_, f64>, progress: &dyn Progress) -> Result<Prediction> {
        check_columns("x", x, self.coefficients.ncols())?;
        check_finite(x)?;
        let mut functions = Vec::with_capacity(self.coefficients.len() + self.intercepts.len());
        for (w, &b) in self.coefficients.outer_iter().zip(&self.intercepts) {
            functions.extend(w.iter().copied().chain([b]));
        }
        let x = x.as_standard_layout();
        let k = self.classes.len();
        let mut weights = Array2::<f64>::zeros((x.nrows(), k));
        progress.start("prediction", Some(x.nrows() as u64));
        weights
            .as_slice_mut()
            .expect("zeros are made row by row")
            .par_chunks_mut(ROWS * k)
            .enumerate()
            .try_for_each(|(part, weights)| {
                progress.check()?;
                for (i, weights) in weights.chunks_exact_mut(k).enumerate() {
                    set_scores(&functions, row_of(&x, part * ROWS + i), weights);
                    if !weights.iter().all(|score| score.is_finite()) {
                        return Err(Error::Overflow { method: METHOD });
                    }
                    exponentials(weights);
                }
                progress.advance((weights.len() / k) as u64);
                Ok::<(), Error>(())
            })?;
        progress.finish();
        Ok(Prediction::new(&self.classes, weights))
    }
}

/// How many functions there are: of two classes the first scores 0.
fn functions_of(classes: usize) -> usize {
    if classes == 2 { 1 } else { classes }
}

fn check_several(what: &'static str, classes: &[u32]) -> Result<()> {
    check_classes(what, classes)?;
    Error::check_enough(METHOD, "different labels", 2, classes.len())
}

/// Sets the score of each class; functions are their coefficients and intercept, one function after the other.
fn set_scores(functions: &[f64], row: &[f64], scores: &mut [f64]) {
    let p = row.len();
    let functions = functions.chunks_exact(p + 1);
    let (without, with) = scores.split_at_mut(scores.len() - functions.len());
    without.fill(0.0);
    for (score, function) in with.iter_mut().zip(functions) {
        *score = dot(&function[..p], row) + function[p];
    }
}

/// The mean loss of rows and the penalty on coefficients, `½ Σ ridge_j v_j²`.
struct Problem {
    x: Array2<f64>,
    /// The class of each row, from 0.
    places: Vec<usize>,
    ridge: Vec<f64>,
    classes: usize,
}

impl Problem {
    /// The number of coefficients and intercepts.
    fn dimension(&self) -> usize {
        functions_of(self.classes) * (self.ridge.len() + 1)
    }

    fn value_and_gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let n = self.places.len();
        let mut gradient = sum_rows(n, at.len() + 1, |rows, sums| self.add_loss(at, rows, sums));
        let mut value = gradient.pop().unwrap_or_default() / n as f64;
        let p = self.ridge.len();
        for (slopes, function) in gradient.chunks_exact_mut(p + 1).zip(at.chunks_exact(p + 1)) {
            slopes[p] /= n as f64;
            for ((slope, v), ridge) in slopes.iter_mut().zip(function).zip(&self.ridge) {
                *slope = *slope / n as f64 + ridge * v;
                value += 0.5 * ridge * v * v;
            }
        }
        (value, gradient)
    }

    /// The lower half of the second derivatives, which is all that a Cholesky decomposition reads.
    fn curvature(&self, at: &[f64], progress: &dyn Progress) -> Result<DMatrix<f64>> {
        let (n, d, p) = (self.places.len(), self.dimension(), self.ridge.len());
        let mut sums = sum_rows(n, d * d, |rows, sums| {
            self.add_curvature(at, rows, sums, progress);
        });
        // Rows are missing where they were stopped.
        progress.check()?;
        sums.iter_mut().for_each(|sum| *sum /= n as f64);
        let mut curvature = DMatrix::from_vec(d, d, sums);
        for i in 0..d {
            if let Some(ridge) = self.ridge.get(i % (p + 1)) {
                curvature[(i, i)] += ridge;
            }
        }
        Ok(curvature)
    }

    /// Adds the second derivatives of the loss of some rows, `[d, d]` by columns; of each pair of functions once.
    ///
    /// Ends early when the caller wants the work to stop.
    fn add_curvature(
        &self,
        at: &[f64],
        rows: Range<usize>,
        sums: &mut [f64],
        progress: &dyn Progress,
    ) {
        let (d, p) = (self.dimension(), self.ridge.len());
        let first = self.classes - functions_of(self.classes);
        let mut scores = vec![0.0; self.classes];
        let mut with_one = vec![1.0; p + 1];
        for i in rows {
            if progress.is_cancelled() {
                return;
            }
            let row = row_of(&self.x, i);
            set_scores(at, row, &mut scores);
            let (_, sum) = exponentials(&mut scores);
            with_one[..p].copy_from_slice(row);
            for (a, sums) in sums.chunks_exact_mut(d).enumerate() {
                let (k, value) = (a / (p + 1), with_one[a % (p + 1)]);
                let share = scores[first + k] / sum;
                for (l, sums) in sums.chunks_exact_mut(p + 1).enumerate().skip(k) {
                    let other = scores[first + l] / sum;
                    let weight = share * (f64::from(k == l) - other) * value;
                    for (sum, with) in sums.iter_mut().zip(&with_one) {
                        *sum += weight * with;
                    }
                }
            }
        }
    }

    /// Adds the gradient of the loss of some rows, and the loss as the last entry.
    fn add_loss(&self, at: &[f64], rows: Range<usize>, sums: &mut [f64]) {
        let Some((loss, gradient)) = sums.split_last_mut() else {
            return;
        };
        let p = self.ridge.len();
        let first = self.classes - functions_of(self.classes);
        let mut scores = vec![0.0; self.classes];
        for i in rows {
            let (row, truth) = (row_of(&self.x, i), self.places[i]);
            set_scores(at, row, &mut scores);
            let right = scores[truth];
            let (largest, sum) = exponentials(&mut scores);
            *loss += libm::log(sum) + (largest - right);
            for (k, slopes) in gradient.chunks_exact_mut(p + 1).enumerate() {
                let excess = scores[first + k] / sum - f64::from(first + k == truth);
                for (slope, value) in slopes.iter_mut().zip(row) {
                    *slope += excess * value;
                }
                slopes[p] += excess;
            }
        }
    }
}
