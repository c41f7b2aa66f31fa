//! Components of rows that come in blocks.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use phenocoder_core::{NoProgress, Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::exact::{Directions, finite_total};
use super::product::{Centered, column_means};
use super::{METHOD, Pca};
use crate::matrix::{check_amounts, check_columns, check_finite};
use crate::{ConfigError, Error, Result};

/// The most columns that [`IncrementalMethod::Covariance`] takes: half a GiB for the sums, and about 2 GiB while a block
/// is taken in, which has sums of its own.
const MOST_COLUMNS: usize = 8192;
/// The most rows: up to here a double holds each number of rows.
const MOST_ROWS: u64 = 1 << 53;

/// What is kept of the rows seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IncrementalMethod {
    /// The products of all columns, `[p, p]`: what [`Pca::fit`] finds in all rows at once, to rounding, however they are
    /// cut into blocks.
    /// Variances of less than some 1e-15 of the largest are rounding, as there.
    ///
    /// For up to 8,192 columns, of which the products take half a GiB, and about 2 GiB while a block is taken in.
    #[default]
    Covariance,
    /// The components asked for and their variances, `[k, p]`: what a block adds outside of them is lost after it.
    ///
    /// An approximation whose result depends on the blocks and their order; exact when all components are kept.
    ///
    /// While a block is taken in, memory holds it and the components up to three times, and the products of its rows or
    /// columns, whichever are fewer, as a fit by [`Pca`] does.
    Truncated,
}

/// Settings of an [`IncrementalPca`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IncrementalPcaConfig {
    /// How many components are kept; never more than there are rows or columns.
    pub n_components: usize,
    /// What is kept of the rows seen so far (default [`IncrementalMethod::Covariance`]).
    #[serde(default)]
    pub method: IncrementalMethod,
}

impl IncrementalPcaConfig {
    /// Keeps up to this many components.
    #[must_use]
    pub fn new(n_components: usize) -> Self {
        Self {
            n_components,
            method: IncrementalMethod::Covariance,
        }
    }

    /// Sets what is kept of the rows seen so far.
    #[must_use]
    pub fn with_method(mut self, method: IncrementalMethod) -> Self {
        self.method = method;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when no component is asked for.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let n = self.n_components;
        ConfigError::check(n > 0, "n_components", "at least 1", n)
    }
}

/// Principal components of more rows than memory holds: they are given in blocks, each seen once.
///
/// With `n` rows seen, `m` new ones, and `d` the difference of their means:
///
/// * [`Covariance`](IncrementalMethod::Covariance): the sums of products of centered columns are those of the rows seen,
///   those of the block, and `d dᵀ n m / (n + m)` (Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115).
///   Cost of a block: `O(m p²)`; memory `O(p²)`.
/// * [`Truncated`](IncrementalMethod::Truncated): the components of the rows seen, each as long as the root of its sum of
///   squares, the block, centered by its own mean, and `√(n m / (n + m)) d`, one above the other, are a matrix whose
///   components are kept (Ross, Lim, Lin & Yang 2008, doi:10.1007/s11263-007-0075-7).
///   Cost of a block: `O((k + m) p min(k + m, p))`; memory `O(k p)`, and `O((k + m) p)` while a block is taken in.
///
/// The state can be written between two blocks and be continued elsewhere.
///
/// # Differences from scikit-learn's `IncrementalPCA`
///
/// That is the method `Truncated`, to rounding; the default here is exact.
/// Later blocks may have any number of rows in both, and none at all here.
///
/// # Examples
///
/// ```
/// use ndarray::{Array2, s};
/// use phenocoder_core::Seed;
/// use phenocoder_embed::pca::{IncrementalPca, IncrementalPcaConfig, Pca, PcaConfig};
///
/// let mut stream = Seed::new(1).stream("rows", 0);
/// let x = Array2::from_shape_fn((100, 4), |(_, j)| stream.normal() * (1.0 + j as f64));
///
/// let mut growing = IncrementalPca::new(&IncrementalPcaConfig::new(2))?;
/// growing.partial_fit(x.slice(s![..70, ..]))?;
/// growing.partial_fit(x.slice(s![70.., ..]))?;
/// let (pca, at_once) = (growing.finish()?, Pca::fit(x.view(), &PcaConfig::new(2))?);
/// let difference = &pca.components() - &at_once.components();
/// assert!(difference.iter().all(|d| d.abs() < 1e-12));
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "IncrementalPCA")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct IncrementalPca {
    config: IncrementalPcaConfig,
    rows: usize,
    mean: Vec<f64>,
    /// `Covariance`: sums of products `[p, p]`; `Truncated`: components `[k, p]`; `[0, 0]` before the first block.
    #[serde(with = "crate::stored")]
    kept: Array2<f64>,
    /// `Truncated`: the sum of squares along each component.
    squares: Vec<f64>,
    /// The sum of squares of all columns.
    total: f64,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    config: IncrementalPcaConfig,
    rows: usize,
    mean: Vec<f64>,
    #[serde(with = "crate::stored")]
    kept: Array2<f64>,
    squares: Vec<f64>,
    total: f64,
}

impl TryFrom<Parts> for IncrementalPca {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            config,
            rows,
            mean,
            kept,
            squares,
            total,
        } = parts;
        config.validate()?;
        ShapeError::check_len("mean", kept.ncols(), mean.len())?;
        ConfigError::check(
            (rows > 0) != mean.is_empty(),
            "rows",
            "0 where there is no column yet, and more where there is one",
            rows,
        )?;
        sum_of_rows(rows, 0)?;
        let (expected, sums) = match config.method {
            IncrementalMethod::Covariance => (mean.len(), 0),
            IncrementalMethod::Truncated => {
                let k = config.n_components.min(mean.len());
                (k, k)
            }
        };
        ShapeError::check_len("kept", expected, kept.nrows())?;
        ShapeError::check_len("squares", sums, squares.len())?;
        check_finite(kept.view())?;
        check_finite(ArrayView1::from(&mean).insert_axis(Axis(0)))?;
        check_amounts("squares", &squares)?;
        check_amounts("total", &[total])?;
        if config.method == IncrementalMethod::Covariance {
            check_products(&kept)?;
        }
        Ok(Self {
            config,
            rows,
            mean,
            kept,
            squares,
            total,
        })
    }
}

impl IncrementalPca {
    /// Has seen no row yet.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when no component is asked for.
    pub fn new(config: &IncrementalPcaConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config: config.clone(),
            rows: 0,
            mean: Vec::new(),
            kept: Array2::zeros((0, 0)),
            squares: Vec::new(),
            total: 0.0,
        })
    }

    /// The number of rows seen.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &IncrementalPcaConfig {
        &self.config
    }

    /// Takes in a block of rows; a block without rows changes nothing, nor does one that is refused.
    ///
    /// # Shapes
    ///
    /// `[m, p]`, with the same `p` in every block.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns than before, [`Error::NotFinite`] for NaN or infinity,
    /// [`Error::TooFew`] for no column, or fewer rows than components in the first block of
    /// [`IncrementalMethod::Truncated`], [`Error::Config`] for more than 8,192 columns with
    /// [`IncrementalMethod::Covariance`] or more than 2^53 rows, [`Error::Overflow`] for values whose differences have
    /// squares beyond any number.
    pub fn partial_fit(&mut self, block: ArrayView2<'_, f64>) -> Result<()> {
        self.partial_fit_with(block, &NoProgress)
    }

    /// As [`partial_fit`](Self::partial_fit), and asks on the way whether to stop.
    ///
    /// A block is a part of the caller's stage, so that nothing is reported.
    /// A block that was stopped changes nothing.
    ///
    /// # Shapes
    ///
    /// `[m, p]`, with the same `p` in every block.
    ///
    /// # Errors
    ///
    /// Those of [`partial_fit`](Self::partial_fit), and [`Error::Cancelled`] when the caller stops it.
    pub fn partial_fit_with(
        &mut self,
        block: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let (m, p) = block.dim();
        if self.rows > 0 {
            check_columns("block", block, self.mean.len())?;
        }
        if m == 0 {
            return Ok(());
        }
        if self.rows == 0 {
            self.check_first(m, p)?;
        }
        check_finite(block)?;
        let rows = sum_of_rows(self.rows, m)?;
        let mean = Array1::from(column_means(block));
        if self.rows == 0 {
            self.begin(block, mean.view(), progress)?;
            self.mean = mean.to_vec();
        } else {
            let difference = &mean - &ArrayView1::from(&self.mean);
            self.extend(block, mean.view(), difference.view(), progress)?;
            let share = m as f64 / rows as f64;
            for (old, difference) in self.mean.iter_mut().zip(difference) {
                *old += difference * share;
            }
        }
        self.rows = rows;
        Ok(())
    }

    fn check_first(&self, rows: usize, columns: usize) -> Result<()> {
        Error::check_enough(METHOD, "columns", 1, columns)?;
        match self.config.method {
            IncrementalMethod::Covariance => Ok(ConfigError::check(
                columns <= MOST_COLUMNS,
                "method",
                "`Truncated` for more than 8,192 columns",
                "`Covariance`",
            )?),
            IncrementalMethod::Truncated => {
                let k = self.config.n_components.min(columns);
                Error::check_enough(METHOD, "rows in the first block", k, rows)
            }
        }
    }

    fn begin(
        &mut self,
        block: ArrayView2<'_, f64>,
        mean: ArrayView1<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let centered = Centered::new(block, mean);
        match self.config.method {
            IncrementalMethod::Covariance => {
                let kept = centered.inner(progress)?;
                self.total = finite_total(kept.diag().sum())?;
                self.kept = kept;
            }
            IncrementalMethod::Truncated => {
                let k = self.config.n_components.min(block.ncols());
                let found = Directions::smaller(&centered, k, progress)?;
                self.total = found.total;
                (self.kept, self.squares) = (found.components, found.squares);
            }
        }
        Ok(())
    }

    fn extend(
        &mut self,
        block: ArrayView2<'_, f64>,
        mean: ArrayView1<'_, f64>,
        difference: ArrayView1<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let (n, m) = (self.rows as f64, block.nrows() as f64);
        // A row that stands for the distance of the means.
        let between = (&difference * (n / (n + m) * m).sqrt()).insert_axis(Axis(0));
        let centered = Centered::new(block, mean);
        match self.config.method {
            IncrementalMethod::Covariance => {
                let mut added = centered.inner(progress)?;
                general_mat_mul(1.0, &between.t(), &between, 1.0, &mut added);
                self.total = finite_total(self.total + added.diag().sum())?;
                self.kept += &added;
            }
            IncrementalMethod::Truncated => {
                let lengths: Vec<f64> = self.squares.iter().map(|v| v.sqrt()).collect();
                let old = &self.kept * &ArrayView1::from(&lengths).insert_axis(Axis(1));
                let own = centered.rows(0..block.nrows());
                let new = own.iter().chain(&between).map(|v| v * v).sum::<f64>();
                let total = finite_total(self.total + new)?;
                let stack = concatenate![Axis(0), old, own, between];
                let k = self.squares.len();
                let found = Directions::smaller(&Centered::plain(stack.view()), k, progress)?;
                self.total = total;
                (self.kept, self.squares) = (found.components, found.squares);
            }
        }
        Ok(())
    }

    /// The components of the rows seen; more can be taken in afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::TooFew`] for fewer than two rows.
    pub fn finish(&self) -> Result<Pca> {
        self.finish_with(&NoProgress)
    }

    /// As [`finish`](Self::finish), and asks on the way whether to stop.
    ///
    /// The end is a part of the caller's stage, so that nothing is reported.
    /// With [`IncrementalMethod::Covariance`] it takes `4/3 p³ + k p²` multiplications, and up to `7 k² p` more where
    /// variances follow each other by less than a thousandth of the largest, whatever the number of rows.
    ///
    /// # Errors
    ///
    /// Those of [`finish`](Self::finish), and [`Error::Cancelled`] when the caller stops it.
    pub fn finish_with(&self, progress: &dyn Progress) -> Result<Pca> {
        Error::check_enough(METHOD, "rows", 2, self.rows)?;
        progress.check()?;
        let k = self.config.n_components.min(self.rows).min(self.mean.len());
        let directions = match self.config.method {
            IncrementalMethod::Covariance => {
                Directions::of_inner_products(self.kept.clone(), k, progress)?
            }
            IncrementalMethod::Truncated => {
                let (squares, kept) = (self.squares.clone(), self.kept.clone());
                Directions::new(squares, kept, self.total, progress)?
            }
        };
        Ok(Pca::of(self.mean.clone(), self.rows, directions))
    }
}

/// Refuses what sums of products of columns cannot be: a square below 0, two halves that differ by more than rounding,
/// or a product of two columns beyond that of their lengths (Cauchy & Schwarz).
fn check_products(kept: &Array2<f64>) -> Result<(), ConfigError> {
    /// The rounding of sums over many rows.
    const ROUNDING: f64 = 1e-6;
    /// What squares may lose, all together, that are too small for numbers.
    const UNDERFLOW: f64 = 1e-290;
    let squares = kept.diag().to_vec();
    check_amounts("kept", &squares)?;
    let lengths: Vec<f64> = squares.iter().map(|v| (v + UNDERFLOW).sqrt()).collect();
    for ((i, j), &product) in kept.indexed_iter() {
        let (other, most) = (kept[[j, i]], lengths[i] * lengths[j]);
        let even = (product - other).abs() <= ROUNDING * most;
        let holds = even && product.abs() <= (1.0 + ROUNDING) * most;
        let expected = "the sums of products of columns, which are symmetric and at most those of their lengths";
        ConfigError::check(holds, "kept", expected, product)?;
    }
    Ok(())
}

/// The number of rows after a block, which can be as wrong as the state that was read.
fn sum_of_rows(rows: usize, more: usize) -> Result<usize, ConfigError> {
    let sum = rows
        .checked_add(more)
        .filter(|&sum| sum as u64 <= MOST_ROWS);
    sum.ok_or_else(|| ConfigError {
        setting: "rows",
        expected: "at most 2^53",
        found: (rows as u128 + more as u128).to_string(),
    })
}

#[cfg(test)]
mod tests;
