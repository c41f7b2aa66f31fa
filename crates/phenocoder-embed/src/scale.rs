//! Columns brought to a common scale.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::matrix::{check_columns, check_divisors, check_finite};
use crate::{ConfigError, Error, Result};

/// What to do with NaN when columns are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NanPolicy {
    /// Refuse it and name the place.
    #[default]
    Error,
    /// Set every entry of a column to 0 as soon as one entry is NaN or infinite, which is what the original does.
    ///
    /// The column then says nothing about the other rows either; [`ImputeMean`](Self::ImputeMean) keeps them.
    ColumnToZero,
    /// Compute mean and deviation from the entries that are there and put the column's mean in place of NaN.
    ///
    /// Infinity is refused.
    ImputeMean,
}

/// Settings of a [`Scaler`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ScaleConfig {
    /// Whether the mean is subtracted (default yes).
    pub center: bool,
    /// Values beyond this are set to it, below its negative too when `center` (default none).
    pub max_value: Option<f64>,
    /// What to do with NaN (default refuse).
    pub nan: NanPolicy,
}

impl Default for ScaleConfig {
    fn default() -> Self {
        Self {
            center: true,
            max_value: None,
            nan: NanPolicy::Error,
        }
    }
}

impl ScaleConfig {
    /// Sets whether the mean is subtracted.
    #[must_use]
    pub fn with_center(mut self, center: bool) -> Self {
        self.center = center;
        self
    }

    /// Sets the largest value that is kept.
    #[must_use]
    pub fn with_max_value(mut self, max_value: impl Into<Option<f64>>) -> Self {
        self.max_value = max_value.into();
        self
    }

    /// Sets what happens to NaN.
    #[must_use]
    pub fn with_nan(mut self, nan: NanPolicy) -> Self {
        self.nan = nan;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `max_value` is not positive.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let max = self.max_value.unwrap_or(1.0);
        ConfigError::check(max > 0.0, "max_value", "a positive number", max)
    }
}

/// The means and deviations of columns, to scale the rows they came from and new ones.
///
/// A value becomes `(x − mean) / deviation`; the deviation is that of a sample (`n − 1` in the denominator).
/// A column without variation has deviation 1 and becomes 0.
///
/// # Differences from scanpy's `pp.scale`
///
/// What happens to NaN is a choice ([`NanPolicy`]), not a column of NaN.
/// Deviations are those from the mean, where it takes the mean of the squares less the square of the mean: there, a
/// column of one value may become rounding divided by rounding, or NaN, and digits are lost where a mean is much larger
/// than its deviation.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_embed::scale::{ScaleConfig, Scaler};
///
/// let x = array![[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]];
/// let scaler = Scaler::fit(x.view(), &ScaleConfig::default())?;
/// assert_eq!(scaler.transform(x.view())?, array![[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "pp.scale")]
#[doc(alias = "StandardScaler")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Scaler {
    config: ScaleConfig,
    mean: Vec<f64>,
    std: Vec<f64>,
    /// Rising positions of columns that [`NanPolicy::ColumnToZero`] gave up.
    zeroed: Vec<usize>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    config: ScaleConfig,
    mean: Vec<f64>,
    std: Vec<f64>,
    zeroed: Vec<usize>,
}

impl TryFrom<Parts> for Scaler {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            config,
            mean,
            std,
            mut zeroed,
        } = parts;
        config.validate()?;
        ShapeError::check_len("std", mean.len(), std.len())?;
        check_finite(ArrayView1::from(&mean).insert_axis(Axis(0)))?;
        check_divisors("std", &std)?;
        for &column in &zeroed {
            let there = column < mean.len();
            ConfigError::check(there, "zeroed", "numbers of columns", column)?;
        }
        zeroed.sort_unstable();
        Ok(Self {
            config,
            mean,
            std,
            zeroed,
        })
    }
}

impl Scaler {
    /// Learns means and deviations.
    ///
    /// # Errors
    ///
    /// [`Error::TooFew`] for fewer than two rows, [`Error::NotFinite`] for a value that the policy does not allow,
    /// [`Error::Overflow`] where a mean or a deviation is beyond any number, [`Error::Config`] for a setting outside its
    /// range.
    pub fn fit(x: ArrayView2<'_, f64>, config: &ScaleConfig) -> Result<Self> {
        config.validate()?;
        Error::check_enough("scaling", "rows", 2, x.nrows())?;
        let p = x.ncols();
        let (mut mean, mut std, mut zeroed) = (vec![0.0; p], vec![1.0; p], Vec::new());
        for (column, values) in x.axis_iter(Axis(1)).enumerate() {
            for (row, &value) in values.iter().enumerate() {
                refuse(config.nan, row, column, value)?;
            }
            if config.nan == NanPolicy::ColumnToZero && values.iter().any(|v| !v.is_finite()) {
                zeroed.push(column);
                continue;
            }
            let there = || values.iter().copied().filter(|v| !v.is_nan());
            let n = there().count() as f64;
            if n > 0.0 {
                mean[column] = there().sum::<f64>() / n;
            }
            if n > 1.0 {
                let m = mean[column];
                let first = there().next().unwrap_or(m);
                let constant = there().all(|v| v == first);
                let variance = there().map(|v| (v - m) * (v - m)).sum::<f64>() / (n - 1.0);
                if variance > 0.0 && !constant {
                    std[column] = variance.sqrt();
                } else if constant {
                    // The rounding of the mean must not turn a constant into a signal.
                    mean[column] = first;
                }
            }
            if !(mean[column].is_finite() && std[column].is_finite()) {
                return Err(Error::Overflow { method: "scaling" });
            }
        }
        Ok(Self {
            config: config.clone(),
            mean,
            std,
            zeroed,
        })
    }

    /// Scales rows, those of the fit or new ones.
    ///
    /// # Shapes
    ///
    /// `[n, p]` to `[n, p]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns, [`Error::NotFinite`] for a value that the policy does not allow.
    pub fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_columns("x", x, self.mean.len())?;
        let mut scaled = x.to_owned();
        for (column, mut values) in scaled.axis_iter_mut(Axis(1)).enumerate() {
            if self.zeroed.binary_search(&column).is_ok() {
                values.fill(0.0);
                continue;
            }
            let (mean, std) = (self.mean[column], self.std[column]);
            let shift = if self.config.center { mean } else { 0.0 };
            for (row, value) in values.iter_mut().enumerate() {
                refuse(self.config.nan, row, column, *value)?;
                if self.config.nan == NanPolicy::ColumnToZero && !value.is_finite() {
                    *value = 0.0;
                    continue;
                }
                let there = if value.is_nan() { mean } else { *value };
                *value = (there - shift) / std;
                if let Some(max) = self.config.max_value {
                    *value = value.min(max);
                    if self.config.center {
                        *value = value.max(-max);
                    }
                }
            }
        }
        Ok(scaled)
    }

    /// The mean of each column.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The deviation of each column, 1 where there is no variation.
    #[must_use]
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// The columns, rising, that became 0 because they held NaN or infinity ([`NanPolicy::ColumnToZero`]).
    #[must_use]
    pub fn zeroed_columns(&self) -> &[usize] {
        &self.zeroed
    }
}

/// Refuses a value that the policy does not allow.
pub(crate) fn refuse(policy: NanPolicy, row: usize, column: usize, value: f64) -> Result<()> {
    let bad = match policy {
        NanPolicy::Error => !value.is_finite(),
        NanPolicy::ImputeMean => value.is_infinite(),
        NanPolicy::ColumnToZero => false,
    };
    if bad {
        Err(Error::NotFinite { row, column, value })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn with_nan() -> Array2<f64> {
        array![[1.0, 2.0], [f64::NAN, 4.0], [3.0, 9.0]]
    }

    #[test]
    fn nan_is_refused_by_default() {
        let error = Scaler::fit(with_nan().view(), &ScaleConfig::default()).unwrap_err();
        assert!(matches!(
            error,
            Error::NotFinite {
                row: 1,
                column: 0,
                ..
            }
        ));
    }

    #[test]
    fn nan_gives_the_column_up_in_compat() {
        let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(with_nan().view(), &config).unwrap();
        let scaled = scaler.transform(with_nan().view()).unwrap();
        assert_eq!(scaled.column(0), array![0.0, 0.0, 0.0]);
        assert!(scaled.column(1).iter().any(|&v| v != 0.0));
        assert_eq!(scaler.zeroed_columns(), [0]);
    }

    #[test]
    fn nan_becomes_the_mean_when_imputed() {
        let config = ScaleConfig::default().with_nan(NanPolicy::ImputeMean);
        let scaler = Scaler::fit(with_nan().view(), &config).unwrap();
        assert_eq!(scaler.mean()[0], 2.0);
        let scaled = scaler.transform(with_nan().view()).unwrap();
        assert_eq!(scaled[[1, 0]], 0.0);
        assert!((scaled[[0, 0]] + 0.5_f64.sqrt()).abs() < 1e-15);
        let infinite = array![[f64::INFINITY, 0.0], [0.0, 0.0]];
        assert!(Scaler::fit(infinite.view(), &config).is_err());
    }

    #[test]
    fn a_constant_column_becomes_exactly_zero() {
        let x = Array2::from_elem((7, 1), 0.1);
        let scaler = Scaler::fit(x.view(), &ScaleConfig::default()).unwrap();
        assert!(
            scaler
                .transform(x.view())
                .unwrap()
                .iter()
                .all(|&v| v == 0.0)
        );
        assert_eq!(scaler.std(), [1.0]);

        let mut gap = x.clone();
        gap[[0, 0]] = f64::NAN;
        let config = ScaleConfig::default().with_nan(NanPolicy::ImputeMean);
        let scaler = Scaler::fit(gap.view(), &config).unwrap();
        assert_eq!((scaler.mean(), scaler.std()), (&[0.1][..], &[1.0][..]));
    }

    #[test]
    fn one_row_and_wrong_columns_are_refused() {
        let config = ScaleConfig::default();
        let x = array![[1.0]];
        assert!(matches!(
            Scaler::fit(x.view(), &config),
            Err(Error::TooFew { .. })
        ));
        let scaler = Scaler::fit(array![[1.0], [2.0]].view(), &config).unwrap();
        assert!(scaler.transform(array![[1.0, 2.0]].view()).is_err());
        assert!(config.with_max_value(0.0).validate().is_err());
    }

    #[test]
    fn means_and_deviations_beyond_any_number_are_refused() {
        for config in [
            ScaleConfig::default(),
            ScaleConfig::default().with_nan(NanPolicy::ColumnToZero),
            ScaleConfig::default().with_nan(NanPolicy::ImputeMean),
        ] {
            for x in [array![[1.7e308], [1.6e308]], array![[1e200], [-1e200]]] {
                assert!(matches!(
                    Scaler::fit(x.view(), &config),
                    Err(Error::Overflow { .. })
                ));
            }
            // Of one value throughout there is nothing to add.
            let x = array![[1.7e308], [1.7e308]];
            let scaler = Scaler::fit(x.view(), &config).unwrap();
            assert_eq!(scaler.transform(x.view()).unwrap(), array![[0.0], [0.0]]);
        }
    }

    #[test]
    fn a_scaler_survives_json() {
        let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(with_nan().view(), &config).unwrap();
        let text = serde_json::to_string(&scaler).unwrap();
        assert_eq!(serde_json::from_str::<Scaler>(&text).unwrap(), scaler);
        let parts: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (name, wrong) in [
            ("std", serde_json::json!([1.0])),
            ("std", serde_json::json!([1.0, 0.0])),
            ("std", serde_json::json!([1.0, -2.0])),
            ("zeroed", serde_json::json!([2])),
        ] {
            let mut parts = parts.clone();
            parts[name] = wrong;
            let error = serde_json::from_value::<Scaler>(parts).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn numbers_that_no_scaler_has_are_refused() {
        let parts = |mean, std| Parts {
            config: ScaleConfig::default(),
            mean: vec![mean],
            std: vec![std],
            zeroed: vec![0],
        };
        assert!(Scaler::try_from(parts(0.0, 1.0)).is_ok());
        for (mean, std) in [
            (f64::NAN, 1.0),
            (f64::INFINITY, 1.0),
            (0.0, f64::NAN),
            (0.0, f64::INFINITY),
        ] {
            assert!(Scaler::try_from(parts(mean, std)).is_err(), "{mean} {std}");
        }
    }
}
