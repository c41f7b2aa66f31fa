//! Columns that vary enough to be looked at, and do not say what another one says.

mod seurat;
mod spread;

use ndarray::ArrayView2;
use phenocoder_core::{Progress, ShapeError};
use serde::{Deserialize, Serialize};

use crate::{ConfigError, Error, Result};

pub use seurat::SeuratConfig;
pub use spread::SpreadConfig;

/// What makes a column variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VariableFlavor {
    /// For numbers of any kind: a robust spread, and no other column that rises and falls with it.
    Spread(SpreadConfig),
    /// For logarithms of counts: more variance than columns of about the same mean have.
    Seurat(SeuratConfig),
}

/// Settings of [`variable_features`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct VariableConfig {
    /// What makes a column variable (default [`VariableFlavor::Spread`]).
    pub flavor: VariableFlavor,
    /// How many columns are selected at most (default: all that are variable).
    ///
    /// With [`VariableFlavor::Seurat`], so many whatever its bounds are, and more where the last ones are equal.
    pub n_top: Option<usize>,
}

impl Default for VariableConfig {
    fn default() -> Self {
        Self {
            flavor: VariableFlavor::Spread(SpreadConfig::default()),
            n_top: None,
        }
    }
}

impl VariableConfig {
    /// Sets what makes a column variable.
    #[must_use]
    pub fn with_flavor(mut self, flavor: VariableFlavor) -> Self {
        self.flavor = flavor;
        self
    }

    /// Sets how many columns are selected.
    #[must_use]
    pub fn with_n_top(mut self, n_top: impl Into<Option<usize>>) -> Self {
        self.n_top = n_top.into();
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let n = self.n_top.unwrap_or(1);
        ConfigError::check(n > 0, "n_top", "at least 1", n)?;
        match &self.flavor {
            VariableFlavor::Spread(config) => config.validate(),
            VariableFlavor::Seurat(config) => config.validate(),
        }
    }
}

/// What [`variable_features`] returns: one entry per column.
///
/// It can be written; NaN becomes `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct VariableFeatures {
    /// Whether the column is selected.
    pub selected: Vec<bool>,
    /// [`VariableFlavor::Spread`]: the median; [`VariableFlavor::Seurat`]: `ln(1 + mean)` of the counts, NaN where there
    /// is none.
    #[serde(with = "crate::stored::gaps")]
    pub means: Vec<f64>,
    /// [`VariableFlavor::Spread`]: the spread; [`VariableFlavor::Seurat`]: `ln(variance / mean)` of the counts.
    #[serde(with = "crate::stored::gaps")]
    pub dispersions: Vec<f64>,
    /// What columns are ranked by; NaN for those that cannot be selected.
    #[serde(with = "crate::stored::gaps")]
    pub normalized: Vec<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    selected: Vec<bool>,
    #[serde(with = "crate::stored::gaps")]
    means: Vec<f64>,
    #[serde(with = "crate::stored::gaps")]
    dispersions: Vec<f64>,
    #[serde(with = "crate::stored::gaps")]
    normalized: Vec<f64>,
}

impl TryFrom<Parts> for VariableFeatures {
    type Error = ShapeError;

    fn try_from(parts: Parts) -> Result<Self, ShapeError> {
        let Parts {
            selected,
            means,
            dispersions,
            normalized,
        } = parts;
        for (what, numbers) in [
            ("means", &means),
            ("dispersions", &dispersions),
            ("normalized", &normalized),
        ] {
            ShapeError::check_len(what, selected.len(), numbers.len())?;
        }
        Ok(Self {
            selected,
            means,
            dispersions,
            normalized,
        })
    }
}

impl VariableFeatures {
    /// The selected columns, rising.
    #[must_use]
    pub fn columns(&self) -> Vec<usize> {
        let selected = self.selected.iter().enumerate();
        selected.filter(|(_, s)| **s).map(|(i, _)| i).collect()
    }
}

/// Selects columns that vary.
///
/// # [`VariableFlavor::Spread`]
///
/// The spread of a column is the median absolute deviation from its median times 1.4826, which is the standard
/// deviation where values are normal; where more than half of the values are equal, so that this is 0, it is the
/// standard deviation (`n − 1` in the denominator).
/// NaN is a gap; a column of which less than half is there, or that does not vary, is not selected.
/// By falling spread, of equal ones the first first, a column is selected unless its correlation with a selected one
/// is too large, positive or negative (Pearson's, over rows where both are there: at least ten, or all of the sparser
/// column where it has fewer, and never fewer than three; of less, or of a column that does not vary there, it is taken
/// for 0).
/// Spreads depend on units: bring columns to one unit before, or take them relative to the median.
/// Cost: `O(s p n)` with `s` columns selected.
///
/// # [`VariableFlavor::Seurat`]
///
/// With `e = exp(x) − 1`, its mean `m` (1e-12 where it is 0) and variance `v` (`n − 1`), the dispersion is `ln(v / m)`.
/// Columns are put into bins of equal width of `ln(1 + m)`; a dispersion is normalized by the mean and the standard
/// deviation of those of its bin, and is 1 where it is alone there (Satija, Farrell, Gennert, Schier & Regev 2015,
/// doi:10.1038/nbt.3192).
/// Selected are those between the bounds of both, or the `n_top` highest.
/// Only for logarithms of counts: with negative means there is no dispersion (NaN, which counts as 0 at the bounds), and
/// with a mean of −1, as of values below −38 throughout, none of either (NaN); such columns are not selected.
/// Cost: `O(n p)`.
///
/// # Differences from scanpy's `pp.highly_variable_genes`
///
/// `Spread` has no counterpart.
/// `Seurat` is that of `flavor="seurat"`, with normalized dispersions in double precision.
/// The variance of a column of one value is 0 here; there it is what rounding leaves.
/// A mean of −1 is minus infinity there.
/// NaN is refused, where that fails.
///
/// # Shapes
///
/// `x`: `[n, p]`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::select::{VariableConfig, variable_features};
///
/// // The second column repeats the first, the third does not vary, the fourth does less than the first.
/// let x = array![
///     [0.0, 0.1, 7.0, 1.0],
///     [4.0, 8.1, 7.0, 3.0],
///     [8.0, 16.1, 7.0, 1.0],
///     [12.0, 24.1, 7.0, 2.0],
/// ];
/// let found = variable_features(x.view(), &VariableConfig::default(), &NoProgress)?;
/// assert_eq!(found.columns(), [1, 3]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`] for a setting outside its range, [`Error::TooFew`] for fewer than two rows or no column,
/// [`Error::NotFinite`] for infinity, and for NaN with `Seurat`, [`Error::Overflow`] where a mean, a variance or a
/// distance from the median is beyond any number, [`Error::Cancelled`] when the caller stops it.
#[doc(alias = "highly_variable_genes")]
#[doc(alias = "hvg")]
pub fn variable_features(
    x: ArrayView2<'_, f64>,
    config: &VariableConfig,
    progress: &dyn Progress,
) -> Result<VariableFeatures> {
    config.validate()?;
    Error::check_enough(METHOD, "rows", 2, x.nrows())?;
    Error::check_enough(METHOD, "columns", 1, x.ncols())?;
    progress.start(METHOD, None);
    let found = match &config.flavor {
        VariableFlavor::Spread(settings) => spread::select(x, settings, config.n_top, progress)?,
        VariableFlavor::Seurat(settings) => seurat::select(x, settings, config.n_top, progress)?,
    };
    progress.finish();
    Ok(found)
}

const METHOD: &str = "variable features";

/// Number, mean and variance (`n − 1` in the denominator, NaN for a single one) of values; equal ones have variance 0
/// exactly (Welford 1962, doi:10.1080/00401706.1962.10490022).
fn moments(values: impl IntoIterator<Item = f64>) -> (usize, f64, f64) {
    let (mut n, mut mean, mut squares) = (0, 0.0, 0.0);
    for value in values {
        n += 1;
        let difference = value - mean;
        mean += difference / n as f64;
        squares += difference * (value - mean);
    }
    match n {
        0 => (0, f64::NAN, f64::NAN),
        1 => (1, mean, f64::NAN),
        _ => (n, mean, squares / (n - 1) as f64),
    }
}

#[cfg(test)]
mod tests;
