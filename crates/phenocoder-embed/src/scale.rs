//! Columns brought to a common scale.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use phenocoder_core::{NoProgress, Progress, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::matrix::{check_columns, check_divisors, check_finite, sum_rows, within_numbers};
use crate::{ConfigError, Error, Result};

const METHOD: &str = "scaling";
/// Rows that one task changes.
const ROWS: usize = 1024;

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
    /// This is decided when the scaler is fitted: NaN or infinity in a new row costs the row's entry, not the column.
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
/// Differences below about 1e-160 have squares too small for numbers: a column of no others has deviation 1 too.
/// Cost: `O(n p)`, in three looks at the rows; sums are of fixed blocks of rows, so that the number of threads does not
/// change a bit.
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
        Self::fit_with(x, config, &NoProgress)
    }

    /// Learns means and deviations as [`fit`](Self::fit), which can be stopped before each look at the rows.
    ///
    /// # Errors
    ///
    /// Those of [`fit`](Self::fit), and [`Error::Cancelled`] when the caller stops it.
    pub fn fit_with(
        x: ArrayView2<'_, f64>,
        config: &ScaleConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        config.validate()?;
        let (n, p) = x.dim();
        Error::check_enough(METHOD, "rows", 2, n)?;
        progress.start(METHOD, None);
        progress.check()?;
        check_allowed(x, config.nan)?;
        progress.check()?;
        let (mean, counts) = means(x);
        progress.check()?;
        let squares = squares(x, &mean);
        let mut scaler = Self {
            config: config.clone(),
            mean,
            std: vec![1.0; p],
            zeroed: Vec::new(),
        };
        for (column, (&count, square)) in counts.iter().zip(squares).enumerate() {
            if config.nan == NanPolicy::ColumnToZero && count < n as f64 {
                scaler.mean[column] = 0.0;
                scaler.zeroed.push(column);
                continue;
            }
            let variance = square / (count - 1.0);
            if variance > 0.0 {
                scaler.std[column] = variance.sqrt();
            }
            if !(scaler.mean[column].is_finite() && scaler.std[column].is_finite()) {
                return Err(Error::Overflow { method: METHOD });
            }
        }
        progress.finish();
        Ok(scaler)
    }

    /// Scales rows, those of the fit or new ones.
    ///
    /// # Shapes
    ///
    /// `[n, p]` to `[n, p]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns, [`Error::NotFinite`] for a value that the policy does not allow,
    /// [`Error::Overflow`] when a result is beyond any number and there is no `max_value`.
    pub fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_columns("x", x, self.mean.len())?;
        check_allowed(x, self.config.nan)?;
        let given_up = self.given_up();
        let most = self.config.max_value.unwrap_or(f64::INFINITY);
        let least = if self.config.center {
            -most
        } else {
            f64::NEG_INFINITY
        };
        let scaled = changed(x, |column, value| {
            let gap = !value.is_finite();
            if given_up[column] || (gap && self.config.nan == NanPolicy::ColumnToZero) {
                return 0.0;
            }
            let there = if gap { self.mean[column] } else { value };
            ((there - self.shift(column)) / self.std[column]).clamp(least, most)
        });
        within_numbers(METHOD, scaled)
    }

    /// The rows that belong to scaled ones: `scaled · deviation + mean`, without the mean where it was not subtracted.
    ///
    /// What was cut at `max_value` stays cut, gaps stay filled, and columns that were given up stay as they are.
    ///
    /// # Shapes
    ///
    /// `[n, p]` to `[n, p]`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::array;
    /// use phenocoder_embed::scale::{ScaleConfig, Scaler};
    ///
    /// let x = array![[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]];
    /// let scaler = Scaler::fit(x.view(), &ScaleConfig::default())?;
    /// assert_eq!(scaler.inverse_transform(array![[2.0, 0.0]].view())?, array![[6.0, 5.0]]);
    /// # Ok::<(), phenocoder_embed::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns, [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`] when
    /// a result is beyond any number.
    pub fn inverse_transform(&self, scaled: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_columns("scaled", scaled, self.mean.len())?;
        check_finite(scaled)?;
        // Columns that were given up have mean 0 and deviation 1.
        let back = |column: usize, value: f64| value * self.std[column] + self.shift(column);
        within_numbers(METHOD, changed(scaled, back))
    }

    /// What is subtracted from a column.
    fn shift(&self, column: usize) -> f64 {
        if self.config.center {
            self.mean[column]
        } else {
            0.0
        }
    }

    /// Whether each column became 0.
    fn given_up(&self) -> Vec<bool> {
        let mut given_up = vec![false; self.mean.len()];
        for &column in &self.zeroed {
            given_up[column] = true;
        }
        given_up
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

/// Every value of a matrix as `change` makes it of its column and itself, on all threads.
fn changed(x: ArrayView2<'_, f64>, change: impl Fn(usize, f64) -> f64 + Sync) -> Array2<f64> {
    let mut changed = x.to_owned();
    let blocks: Vec<_> = changed.axis_chunks_iter_mut(Axis(0), ROWS).collect();
    blocks.into_par_iter().for_each(|mut rows| {
        for mut row in rows.outer_iter_mut() {
            for (column, value) in row.iter_mut().enumerate() {
                *value = change(column, *value);
            }
        }
    });
    changed
}

/// The mean and the number of the finite values of each column; a mean of 0 where there is none.
///
/// Summed as differences from the first, so that the mean of equal values is that value to the bit.
fn means(x: ArrayView2<'_, f64>) -> (Vec<f64>, Vec<f64>) {
    let (n, p) = x.dim();
    let first = |column: ArrayView1<'_, f64>| column.iter().copied().find(|v| v.is_finite());
    let first: Vec<f64> = (x.columns().into_iter())
        .map(|column| first(column).unwrap_or(0.0))
        .collect();
    let mut sums = sum_rows(n, 2 * p, |rows, sums| {
        let (sums, counts) = sums.split_at_mut(p);
        for row in x.slice(s![rows, ..]).outer_iter() {
            let columns = sums.iter_mut().zip(counts.iter_mut()).zip(&first);
            for (((sum, count), first), &value) in columns.zip(row) {
                if value.is_finite() {
                    *sum += value - first;
                    *count += 1.0;
                }
            }
        }
    });
    let counts = sums.split_off(p);
    for ((sum, count), first) in sums.iter_mut().zip(&counts).zip(first) {
        *sum = first + *sum / f64::max(*count, 1.0);
    }
    (sums, counts)
}

/// The sum of squares of the finite values of each column less its mean.
fn squares(x: ArrayView2<'_, f64>, mean: &[f64]) -> Vec<f64> {
    sum_rows(x.nrows(), mean.len(), |rows, sums| {
        for row in x.slice(s![rows, ..]).outer_iter() {
            for ((sum, mean), &value) in sums.iter_mut().zip(mean).zip(row) {
                if value.is_finite() {
                    *sum += (value - mean) * (value - mean);
                }
            }
        }
    })
}

/// Refuses the first value that the policy does not allow.
pub(crate) fn check_allowed(x: ArrayView2<'_, f64>, policy: NanPolicy) -> Result<()> {
    match policy {
        NanPolicy::Error => check_finite(x),
        NanPolicy::ColumnToZero => Ok(()),
        NanPolicy::ImputeMean => (x.indexed_iter())
            .try_for_each(|((row, column), &value)| refuse(policy, row, column, value)),
    }
}

/// Refuses a value that the policy does not allow.
fn refuse(policy: NanPolicy, row: usize, column: usize, value: f64) -> Result<()> {
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
    fn differences_whose_squares_are_too_small_for_numbers_are_no_variation() {
        let x = array![[0.0, 0.0], [1e-170, 1e-150]];
        let scaler = Scaler::fit(x.view(), &ScaleConfig::default()).unwrap();
        assert_eq!(scaler.std()[0], 1.0);
        assert!((scaler.std()[1] / 1e-150 - 0.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn rows_go_there_and_back() {
        let x = array![[1.0, -2.0, 7.0], [2.0, 4.0, 7.0], [6.0, 9.0, 7.0]];
        for center in [true, false] {
            let config = ScaleConfig::default().with_center(center);
            let scaler = Scaler::fit(x.view(), &config).unwrap();
            let scaled = scaler.transform(x.view()).unwrap();
            assert!((&scaled - &x).iter().any(|d| d.abs() > 0.5));
            let back = scaler.inverse_transform(scaled.view()).unwrap();
            assert!((&back - &x).iter().all(|d| d.abs() < 1e-14), "{back}");
        }
        // What was filled, given up or cut does not come back.
        let filled = ScaleConfig::default().with_nan(NanPolicy::ImputeMean);
        let scaler = Scaler::fit(with_nan().view(), &filled).unwrap();
        let scaled = scaler.transform(with_nan().view()).unwrap();
        assert_eq!(
            scaler.inverse_transform(scaled.view()).unwrap()[[1, 0]],
            2.0
        );
        let given_up = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(with_nan().view(), &given_up).unwrap();
        let back = scaler.inverse_transform(array![[0.0, 0.0]].view()).unwrap();
        assert_eq!(back, array![[0.0, 5.0]]);
        let cut = ScaleConfig::default().with_max_value(0.5);
        let scaler = Scaler::fit(array![[0.0], [2.0], [4.0]].view(), &cut).unwrap();
        let scaled = scaler.transform(array![[9.0]].view()).unwrap();
        assert_eq!(
            scaler.inverse_transform(scaled.view()).unwrap(),
            array![[3.0]]
        );
    }

    #[test]
    fn results_that_are_no_numbers_are_refused_and_cut_ones_are_numbers() {
        let x = array![[0.0], [1e-3]];
        let overflow = Error::Overflow { method: METHOD };
        let far = array![[1.7e308], [-1.7e308]];
        let scaler = Scaler::fit(x.view(), &ScaleConfig::default()).unwrap();
        assert_eq!(scaler.transform(far.view()).unwrap_err(), overflow);
        let cut = ScaleConfig::default().with_max_value(2.0);
        let scaler = Scaler::fit(x.view(), &cut).unwrap();
        assert_eq!(scaler.transform(far.view()).unwrap(), array![[2.0], [-2.0]]);
        let wide = Scaler::fit(array![[0.0], [1e3]].view(), &cut).unwrap();
        assert_eq!(wide.inverse_transform(far.view()).unwrap_err(), overflow);
        let nan = wide.inverse_transform(array![[f64::NAN]].view());
        assert!(matches!(nan, Err(Error::NotFinite { .. })));
    }

    #[test]
    fn a_gap_in_a_new_row_costs_the_entry_and_not_the_column() {
        let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(array![[0.0], [2.0], [4.0]].view(), &config).unwrap();
        let new = array![[f64::NAN], [6.0], [f64::INFINITY]];
        let scaled = scaler.transform(new.view()).unwrap();
        assert_eq!(scaled, array![[0.0], [2.0], [0.0]]);
    }

    #[test]
    fn blocks_of_rows_threads_and_the_order_in_memory_change_nothing() {
        let (n, p) = (2 * ROWS + 77, 5);
        let mut stream = phenocoder_core::Seed::new(3).stream("rows", 0);
        // Means of a million deviations.
        let mut x = Array2::from_shape_fn((n, p), |(_, j)| 1e6 * j as f64 + stream.normal());
        x[[ROWS + 3, 2]] = f64::NAN;
        let config = ScaleConfig::default().with_nan(NanPolicy::ImputeMean);
        let of = |x: ArrayView2<'_, f64>, threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let scaler = Scaler::fit(x, &config).unwrap();
                let scaled = scaler.transform(x).unwrap();
                (scaler, scaled)
            })
        };
        let (scaler, scaled) = of(x.view(), 1);
        for column in 0..p {
            let values = x.column(column);
            let there: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
            let count = there.len() as f64;
            let mean = there.iter().sum::<f64>() / count;
            let squares: f64 = there.iter().map(|v| (v - mean) * (v - mean)).sum();
            let std = (squares / (count - 1.0)).sqrt();
            assert!((scaler.mean()[column] - mean).abs() < 1e-12 * (1.0 + mean.abs()));
            assert!((scaler.std()[column] - std).abs() < 1e-9);
            for row in [0, ROWS - 1, ROWS, n - 1] {
                let expected = (x[[row, column]] - mean) / std;
                assert!((scaled[[row, column]] - expected).abs() < 1e-6);
            }
        }
        assert_eq!(of(x.view(), 4), (scaler.clone(), scaled.clone()));
        let turned = x.t().as_standard_layout().into_owned();
        assert_eq!(of(turned.t(), 2), (scaler, scaled));
    }

    #[test]
    fn scaling_stops_when_asked() {
        let stopped = phenocoder_core::CancelToken::new();
        stopped.cancel();
        let x = array![[1.0], [2.0]];
        let result = Scaler::fit_with(x.view(), &ScaleConfig::default(), &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))));
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
