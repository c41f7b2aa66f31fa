//! Principal components: the directions in which rows differ most.

mod eigen;
mod exact;
mod incremental;
mod product;
mod randomized;
mod squares;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use phenocoder_core::{NoProgress, Progress, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use crate::matrix::{check_amounts, check_columns, check_finite, within_numbers};
use crate::{ConfigError, Error, Result};

use exact::Directions;
pub use incremental::{IncrementalMethod, IncrementalPca, IncrementalPcaConfig};
use product::{Centered, about_mean, column_means};
use randomized::Projection;

const METHOD: &str = "principal components";
/// The most power iterations: far more than any matrix needs, and few enough to come to an end.
const MOST_ITERATIONS: usize = 1000;

/// How the components are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PcaSolver {
    /// The smaller of the two matrices below; [`Randomized`](Self::Randomized) where the smaller side is above 1,000
    /// and more than `(4 q + 6) (k + o)`, with `k` components, `o` oversamples and `q` power iterations, from where on
    /// it takes fewer multiplications.
    #[default]
    Auto,
    /// Eigenvectors of the `p × p` covariance matrix; variances of less than some 1e-15 of the largest are lost.
    Covariance,
    /// Eigenvectors of the `n × n` matrix of inner products of rows; the same variances are lost.
    Gram,
    /// Eigenvectors within a random subspace that power iterations turn to the leading components (Halko, Martinsson &
    /// Tropp 2011, doi:10.1137/090771806).
    ///
    /// An approximation for a few components of a large matrix, by [`PcaConfig::seed`]: the captured variance is right
    /// to about `(v' / v)^(2 q + 2)`, where `v'` is the variance of the first component beyond the oversamples, and
    /// components are as far as they stand out of what follows them.
    Randomized,
}

/// Settings of a [`Pca`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PcaConfig {
    /// How many components are kept; never more than there are rows or columns.
    pub n_components: usize,
    /// How they are found (default: what is cheapest).
    #[serde(default)]
    pub solver: PcaSolver,
    /// Directions that [`PcaSolver::Randomized`] draws beyond those asked for (default 10).
    #[serde(default = "default_oversamples")]
    pub oversamples: usize,
    /// How often [`PcaSolver::Randomized`] multiplies them by the covariance after the first time (default: 7 where
    /// less than a tenth of all components is asked for, otherwise 4; at most 1,000).
    #[serde(default)]
    pub power_iterations: Option<usize>,
    /// Where [`PcaSolver::Randomized`] starts.
    #[serde(default)]
    pub seed: Seed,
}

fn default_oversamples() -> usize {
    10
}

impl PcaConfig {
    /// Keeps up to this many components.
    #[must_use]
    pub fn new(n_components: usize) -> Self {
        Self {
            n_components,
            solver: PcaSolver::Auto,
            oversamples: default_oversamples(),
            power_iterations: None,
            seed: Seed::default(),
        }
    }

    /// Sets how the components are found.
    #[must_use]
    pub fn with_solver(mut self, solver: PcaSolver) -> Self {
        self.solver = solver;
        self
    }

    /// Sets how many directions the randomized solver draws beyond those asked for.
    #[must_use]
    pub fn with_oversamples(mut self, oversamples: usize) -> Self {
        self.oversamples = oversamples;
        self
    }

    /// Sets the power iterations of the randomized solver.
    #[must_use]
    pub fn with_power_iterations(mut self, iterations: impl Into<Option<usize>>) -> Self {
        self.power_iterations = iterations.into();
        self
    }

    /// Sets where the randomized solver starts.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when no component is asked for, or more than 1,000 power iterations are.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let n = self.n_components;
        ConfigError::check(n > 0, "n_components", "at least 1", n)?;
        let q = self.power_iterations.unwrap_or(0);
        ConfigError::check(q <= MOST_ITERATIONS, "power_iterations", "at most 1,000", q)
    }

    fn projection(&self, n: usize, p: usize) -> Projection {
        let few = self.n_components.saturating_mul(10) < n.min(p);
        Projection {
            oversamples: self.oversamples,
            power_iterations: self.power_iterations.unwrap_or(if few { 7 } else { 4 }),
            seed: self.seed,
        }
    }

    /// The solver that `Auto` stands for.
    fn solver_for(&self, n: usize, p: usize) -> PcaSolver {
        let smaller = n.min(p);
        let products = self.projection(n, p).power_iterations.saturating_mul(4);
        let width = self.n_components.saturating_add(self.oversamples);
        let randomized = products.saturating_add(6).saturating_mul(width);
        match self.solver {
            PcaSolver::Auto if smaller > 1000 && randomized < smaller => PcaSolver::Randomized,
            PcaSolver::Auto if p <= n => PcaSolver::Covariance,
            PcaSolver::Auto => PcaSolver::Gram,
            given => given,
        }
    }
}

/// Principal components of a matrix: the directions in which its rows vary most.
///
/// Columns are centered, not scaled.
/// The number of components is the smallest of what was asked for, the number of rows and the number of columns.
/// In every component the entry of largest size (the first of several) is positive, so signs do not depend on the
/// solver.
/// A component without variance is a direction at a right angle to all others.
///
/// Cost: `n p m` multiplications with `m = min(n, p)`, then `4/3 m³ + k m²`, and up to `7 k² m` where variances follow each
/// other by less than a thousandth of the largest; `(4 q + 6) n p (k + o)` randomized.
/// A solver that is asked for by name has its own side for `m`: `p` or `n`.
///
/// Memory besides `x`, in numbers: `3 m²`, up to `9 m²` where `m` is below 2,900, and a few times `k p`;
/// [`PcaSolver::Gram`] takes a centered copy of `x` as well.
/// Randomized: a few times `(n + p) (k + o)`, and for each thread a block of a million numbers or 64 rows.
///
/// The products of columns (or rows) hold the squares of what is looked for: a variance of a few 1e-15 of the largest, a
/// deviation of 5e-8 of it, is what rounding left, and 0 below 2.2e-16; its component is any direction at a right angle to
/// the others.
/// Where columns differ that much in size, [scale](crate::scale::Scaler) them first.
/// Differences below about 1e-160 have squares too small for numbers, and count as none.
///
/// Rows that memory does not hold at once: [`IncrementalPca`].
///
/// # Differences from scanpy's `pp.pca`
///
/// All components can be asked for, where its default solver needs one fewer than the smaller side, and scores stay in
/// double precision.
/// Variances of less than a few 1e-15 of the largest are rounding, where scikit-learn's solver `full`, a decomposition of the
/// rows themselves, has digits of them.
/// [`PcaSolver::Randomized`] captures what that of scikit-learn captures, from other random numbers.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_embed::pca::{Pca, PcaConfig};
///
/// let x = array![[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]];
/// let pca = Pca::fit(x.view(), &PcaConfig::new(1))?;
/// assert!((pca.explained_variance()[0] - 2.0).abs() < 1e-12);
/// assert!((pca.transform(x.view())?[[2, 0]] - 2.0_f64.sqrt()).abs() < 1e-12);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "pp.pca")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Pca {
    mean: Vec<f64>,
    #[serde(with = "crate::stored")]
    components: Array2<f64>,
    variance: Vec<f64>,
    total_variance: f64,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    mean: Vec<f64>,
    #[serde(with = "crate::stored")]
    components: Array2<f64>,
    variance: Vec<f64>,
    total_variance: f64,
}

impl TryFrom<Parts> for Pca {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            mean,
            components,
            variance,
            total_variance,
        } = parts;
        ShapeError::check_len("mean", components.ncols(), mean.len())?;
        ShapeError::check_len("variance", components.nrows(), variance.len())?;
        check_finite(ArrayView1::from(&mean).insert_axis(Axis(0)))?;
        check_finite(components.view())?;
        check_amounts("variance", &variance)?;
        check_amounts("total_variance", &[total_variance])?;
        Ok(Self {
            mean,
            components,
            variance,
            total_variance,
        })
    }
}

impl Pca {
    /// Finds the components.
    ///
    /// # Shapes
    ///
    /// `x`: `[n, p]`; components: `[k, p]`, with `k` the smallest of those asked for, `n` and `p`.
    ///
    /// # Errors
    ///
    /// [`Error::TooFew`] for fewer than two rows or no column, [`Error::NotFinite`] for NaN or infinity,
    /// [`Error::Overflow`] for values whose differences have squares beyond any number, [`Error::Config`] for a setting
    /// outside its range.
    pub fn fit(x: ArrayView2<'_, f64>, config: &PcaConfig) -> Result<Self> {
        Self::fit_with(x, config, &NoProgress)
    }

    /// Finds the components as [`fit`](Self::fit), which can be stopped on the way.
    ///
    /// # Shapes
    ///
    /// Those of [`fit`](Self::fit).
    ///
    /// # Errors
    ///
    /// Those of [`fit`](Self::fit), and [`Error::Cancelled`] when the caller stops it.
    pub fn fit_with(
        x: ArrayView2<'_, f64>,
        config: &PcaConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        config.validate()?;
        let (n, p) = x.dim();
        Error::check_enough(METHOD, "rows", 2, n)?;
        Error::check_enough(METHOD, "columns", 1, p)?;
        progress.start(METHOD, None);
        let k = config.n_components.min(n).min(p);
        let (mean, directions) = match config.solver_for(n, p) {
            PcaSolver::Covariance | PcaSolver::Auto => {
                let (mean, inner) = about_mean(x, progress)?;
                check_finite_means(x, &mean)?;
                (mean, Directions::of_inner_products(inner, k, progress)?)
            }
            solver => {
                let mean = column_means(x);
                check_finite_means(x, &mean)?;
                let centered = Centered::new(x, mean.as_slice().into());
                let directions = match solver {
                    PcaSolver::Gram => Directions::of_rows(&centered, k, progress)?,
                    _ => Directions::randomized(&centered, k, config.projection(n, p), progress)?,
                };
                (mean, directions)
            }
        };
        progress.finish();
        Ok(Self::of(mean, n, directions))
    }

    fn of(mean: Vec<f64>, rows: usize, directions: Directions) -> Self {
        let degrees = (rows - 1) as f64;
        let Directions {
            squares,
            components,
            total,
        } = directions;
        // So far below the largest one, a variance is none.
        let floor = squares.first().copied().unwrap_or(0.0) * f64::EPSILON;
        let variance = squares
            .iter()
            .map(|&v| if v > floor { v / degrees } else { 0.0 })
            .collect();
        Self {
            mean,
            components,
            variance,
            total_variance: total / degrees,
        }
    }

    /// The scores of rows, those of the fit or new ones.
    ///
    /// # Shapes
    ///
    /// `[n, p]` to `[n, k]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns, [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`] when
    /// a score is beyond any number.
    pub fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.transform_with(x, &NoProgress)
    }

    /// The scores of rows as [`transform`](Self::transform), which can be stopped on the way.
    ///
    /// Cost: `n p k` multiplications, on all threads.
    ///
    /// # Shapes
    ///
    /// Those of [`transform`](Self::transform).
    ///
    /// # Errors
    ///
    /// Those of [`transform`](Self::transform), and [`Error::Cancelled`] when the caller stops it.
    pub fn transform_with(
        &self,
        x: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>> {
        check_columns("x", x, self.mean.len())?;
        check_finite(x)?;
        progress.start("scores of principal components", None);
        let centered = Centered::new(x, self.mean());
        let scores = centered.times(self.components.t(), progress)?;
        progress.finish();
        within_numbers(METHOD, scores)
    }

    /// The rows that belong to scores, as far as the components span them.
    ///
    /// # Shapes
    ///
    /// `[n, k]` to `[n, p]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when there is not one column per component, [`Error::NotFinite`] for NaN or infinity,
    /// [`Error::Overflow`] when a value is beyond any number.
    pub fn inverse_transform(&self, scores: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.inverse_transform_with(scores, &NoProgress)
    }

    /// The rows of scores as [`inverse_transform`](Self::inverse_transform), which can be stopped on the way.
    ///
    /// Cost: `n p k` multiplications, on all threads.
    ///
    /// # Shapes
    ///
    /// Those of [`inverse_transform`](Self::inverse_transform).
    ///
    /// # Errors
    ///
    /// Those of [`inverse_transform`](Self::inverse_transform), and [`Error::Cancelled`] when the caller stops it.
    pub fn inverse_transform_with(
        &self,
        scores: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>> {
        check_columns("scores", scores, self.n_components())?;
        check_finite(scores)?;
        progress.start("rows of principal components", None);
        let rows = Centered::plain(scores).times(self.components(), progress)?;
        progress.finish();
        within_numbers(METHOD, rows + self.mean())
    }

    /// The number of components.
    #[must_use]
    pub fn n_components(&self) -> usize {
        self.components.nrows()
    }

    /// The mean of each column.
    #[must_use]
    pub fn mean(&self) -> ArrayView1<'_, f64> {
        ArrayView1::from(&self.mean)
    }

    /// The components, one a row, by falling variance, `[k, p]`.
    #[must_use]
    pub fn components(&self) -> ArrayView2<'_, f64> {
        self.components.view()
    }

    /// The variance (`n − 1` in the denominator) along each component.
    #[must_use]
    pub fn explained_variance(&self) -> &[f64] {
        &self.variance
    }

    /// The variance of all columns together (`n − 1` in the denominator), of which each component explains a part.
    #[must_use]
    pub fn total_variance(&self) -> f64 {
        self.total_variance
    }

    /// The share of each component in the variance of all columns; 0 when nothing varies.
    #[must_use]
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        let total = self.total_variance;
        let share = |&v: &f64| if total > 0.0 { v / total } else { 0.0 };
        self.variance.iter().map(share).collect()
    }
}

/// A column with NaN or infinity has no finite mean.
fn check_finite_means(x: ArrayView2<'_, f64>, mean: &[f64]) -> Result<()> {
    if mean.iter().all(|mean| mean.is_finite()) {
        return Ok(());
    }
    check_finite(x)
}

#[cfg(test)]
mod tests;
