//! What a linear model can read from a description.

use nalgebra::DMatrix;
use ndarray::{ArrayView1, ArrayView2, Axis};
use phenocoder_core::{Progress, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use crate::matrix::{COLUMNS, check_finite, solve_symmetric};
use crate::{ConfigError, Error, Result};

const METHOD: &str = "linear predictability";
const OVERFLOW: Error = Error::Overflow { method: METHOD };

/// Settings of [`linear_predictability`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LinearConfig {
    /// The number of folds (default 5).
    pub folds: usize,
    /// The ridge penalty, per row, on columns of variance 1 (default 1e-6: practically least squares).
    pub ridge: f64,
    /// Decides which row falls into which fold.
    pub seed: Seed,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self {
            folds: 5,
            ridge: 1e-6,
            seed: Seed::default(),
        }
    }
}

impl LinearConfig {
    /// Sets the number of folds.
    #[must_use]
    pub fn with_folds(mut self, folds: usize) -> Self {
        self.folds = folds;
        self
    }

    /// Sets the ridge penalty.
    #[must_use]
    pub fn with_ridge(mut self, ridge: f64) -> Self {
        self.ridge = ridge;
        self
    }

    /// Sets what decides on the folds.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.folds >= 2, "folds", "at least 2", self.folds)?;
        let holds = self.ridge >= 0.0 && self.ridge.is_finite();
        ConfigError::check(holds, "ridge", "a finite number of at least 0", self.ridge)
    }
}

/// How well linear functions of `x` predict `y` for rows they were not fitted on: the coefficient of determination R² over
/// all columns of `y` together, 1 − Σ (y − ŷ)² / Σ (y − ȳ)².
///
/// Each fold is predicted by a ridge regression with intercept on the others, on columns of `x` standardized there.
/// 1 is a perfect prediction, 0 is as good as the mean; below 0 is worse than the mean, which happens by chance when there is
/// nothing to predict from.
/// Columns of `y` that are constant, but for rounding, have no part in it, and it is NaN when all of them are.
///
/// An angle θ is no number to predict, since 359° and 1° are neighbours: its targets are the two columns cos kθ and sin kθ,
/// with k = 2 for the orientation of an axis without direction.
///
/// Cost: `O(folds (n p (p + q) + p³))` time, and memory for a copy of `x` and two of `y`.
///
/// # Shapes
///
/// `x`: `[n, p]`; `y`: `[n, q]`.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::{LinearConfig, linear_predictability};
///
/// let x = Array2::from_shape_fn((40, 2), |(row, column)| ((row * 7 + column * 3) % 11) as f64);
/// let y = Array2::from_shape_fn((40, 1), |(row, _)| 2.0 * x[[row, 0]] - x[[row, 1]] + 5.0);
/// let r2 = linear_predictability(x.view(), y.view(), &LinearConfig::default(), &NoProgress)?;
/// assert!(r2 > 0.999);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`] for a setting out of range, [`Error::Shape`] when x and y differ in rows, [`Error::TooFew`] when there
/// are fewer rows than folds, [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`] for values whose squares are
/// beyond any number, [`Error::Singular`] when the other columns of `x` tell all of a column but 1e-10 of its variance, or
/// less, and the ridge is not above that, [`Error::Cancelled`] when the caller stops it, which waits for the decomposition of
/// a fold's equations, `p³ / 3` multiplications.
#[doc(alias = "Ridge")]
#[doc(alias = "cross_val_predict")]
pub fn linear_predictability(
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    config: &LinearConfig,
    progress: &dyn Progress,
) -> Result<f64> {
    config.validate()?;
    let n = x.nrows();
    ShapeError::check_len("y", n, y.nrows())?;
    check_finite(x)?;
    check_finite(y)?;
    Error::check_enough(METHOD, "rows", config.folds, n)?;
    let varying: Vec<usize> = (0..y.ncols()).filter(|&c| varies(y.column(c))).collect();
    if varying.is_empty() {
        return Ok(f64::NAN);
    }
    let some;
    let y = if varying.len() == y.ncols() {
        y
    } else {
        some = y.select(Axis(1), &varying);
        some.view()
    };
    let order = config.seed.stream("folds", 0).permutation(n);
    let mut unexplained = 0.0;
    progress.start(METHOD, Some(config.folds as u64));
    for fold in 0..config.folds {
        progress.check()?;
        let is_test = |&(place, _): &(usize, usize)| place % config.folds == fold;
        let rows = || order.iter().copied().enumerate();
        let test: Vec<usize> = rows().filter(is_test).map(|(_, row)| row).collect();
        let train: Vec<usize> = rows().filter(|r| !is_test(r)).map(|(_, row)| row).collect();
        unexplained += Fold::new(x, y, &train)?.error(x, y, &test, config.ridge, progress)?;
        progress.advance(1);
    }
    progress.finish();
    let total = squares(y);
    if !(total.is_finite() && unexplained.is_finite()) {
        return Err(OVERFLOW);
    }
    if total == 0.0 {
        return Ok(f64::NAN);
    }
    Ok(1.0 - unexplained / total)
}

/// Whether values differ by more than rounding.
fn varies(column: ArrayView1<'_, f64>) -> bool {
    let (low, high) = column
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        });
    high - low > 4.0 * f64::EPSILON * low.abs().max(high.abs())
}

/// The sum of the squared deviations of all values from the means of their columns, in the order of rows.
fn squares(y: ArrayView2<'_, f64>) -> f64 {
    let mean = |column: ArrayView1<'_, f64>| mean_of(column.iter().copied());
    let means: Vec<f64> = y.columns().into_iter().map(mean).collect();
    let mut sum = 0.0;
    for row in y.rows() {
        for (value, mean) in row.iter().zip(&means) {
            sum += (value - mean) * (value - mean);
        }
    }
    sum
}

/// The mean, by differences from the first value, so that small ones are not lost in the rounding of a large sum.
fn mean_of(values: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let n = values.len() as f64;
    let first = values.clone().next().unwrap_or(f64::NAN);
    first + values.map(|value| value - first).sum::<f64>() / n
}

/// The rows that a model is fitted on.
struct Fold {
    /// Mean and one over the standard deviation of each column of `x`; 0 for a constant column.
    scaling: Vec<(f64, f64)>,
    means: Vec<f64>,
    x: DMatrix<f64>,
    y: DMatrix<f64>,
}

impl Fold {
    fn new(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>, rows: &[usize]) -> Result<Self> {
        let n = rows.len() as f64;
        let mean = |data: ArrayView2<'_, f64>, column: usize| {
            mean_of(rows.iter().map(|&row| data[[row, column]]))
        };
        let scaling: Result<Vec<(f64, f64)>> = (0..x.ncols())
            .map(|column| {
                let mean = mean(x, column);
                let squares = rows.iter().map(|&row| (x[[row, column]] - mean).powi(2));
                let deviation = (squares.sum::<f64>() / n).sqrt();
                // One over an infinite deviation would turn the column into a constant.
                if !(mean.is_finite() && deviation.is_finite()) {
                    return Err(OVERFLOW);
                }
                // A deviation of rounding errors only is none.
                let is_constant = deviation <= 1e-12 * mean.abs();
                Ok((mean, if is_constant { 0.0 } else { 1.0 / deviation }))
            })
            .collect();
        let means: Vec<f64> = (0..y.ncols()).map(|column| mean(y, column)).collect();
        let fitted = DMatrix::from_fn(rows.len(), y.ncols(), |i, column| {
            y[[rows[i], column]] - means[column]
        });
        let mut fold = Self {
            scaling: scaling?,
            means,
            x: DMatrix::zeros(0, 0),
            y: fitted,
        };
        fold.x = fold.standardized(x, rows);
        Ok(fold)
    }

    fn standardized(&self, x: ArrayView2<'_, f64>, rows: &[usize]) -> DMatrix<f64> {
        DMatrix::from_fn(rows.len(), x.ncols(), |i, column| {
            let (mean, factor) = self.scaling[column];
            (x[[rows[i], column]] - mean) * factor
        })
    }

    /// The squared error of the predictions for other rows.
    fn error(
        &self,
        x: ArrayView2<'_, f64>,
        y: ArrayView2<'_, f64>,
        rows: &[usize],
        ridge: f64,
        progress: &dyn Progress,
    ) -> Result<f64> {
        let p = self.x.ncols();
        let mut system = DMatrix::<f64>::zeros(p, p);
        for start in (0..p).step_by(COLUMNS) {
            progress.check()?;
            let width = COLUMNS.min(p - start);
            let products = self.x.tr_mul(&self.x.columns(start, width));
            system.columns_mut(start, width).copy_from(&products);
        }
        progress.check()?;
        for (column, (_, factor)) in self.scaling.iter().enumerate() {
            // A constant column has no part in the prediction, whatever its weight.
            let unit = if *factor == 0.0 { 1.0 } else { 0.0 };
            system[(column, column)] += ridge * self.x.nrows() as f64 + unit;
        }
        let weights = solve_symmetric(METHOD, system, self.x.tr_mul(&self.y), progress)?;
        let predicted = self.standardized(x, rows) * weights;
        let errors = rows.iter().enumerate().flat_map(|(i, &row)| {
            let predicted = &predicted;
            (0..y.ncols())
                .map(move |column| y[[row, column]] - self.means[column] - predicted[(i, column)])
        });
        Ok(errors.map(|error| error * error).sum())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;

    fn told(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>, config: &LinearConfig) -> Result<f64> {
        linear_predictability(x, y, config, &NoProgress)
    }

    #[test]
    fn memory_column_by_column_gives_the_same_bits() {
        for seed in 0..20 {
            // Means that rounding decides on.
            let (x, y) = (normal(300, 2, seed), normal(300, 3, seed + 100) * 1e3 + 1e9);
            let by_columns = |values: &Array2<f64>| {
                let turned = (values.ncols(), values.nrows());
                let mut turned = Array2::<f64>::zeros(turned).reversed_axes();
                turned.assign(values);
                turned
            };
            let config = LinearConfig::default();
            let found = told(by_columns(&x).view(), by_columns(&y).view(), &config).unwrap();
            let expected = told(x.view(), y.view(), &config).unwrap();
            assert_eq!(found.to_bits(), expected.to_bits(), "{seed}");
        }
    }

    #[test]
    fn more_columns_than_one_block_are_told_apart() {
        let x = normal(400, 2 * COLUMNS + 7, 8);
        let y = Array2::from_shape_fn((400, 1), |(row, _)| x[[row, 3]] - x[[row, 2 * COLUMNS + 5]]);
        let r2 = told(x.view(), y.view(), &LinearConfig::default()).unwrap();
        assert!(r2 > 1.0 - 1e-6, "{r2}");
    }

    #[test]
    fn predictions_can_be_stopped() {
        let x = normal(20, 2, 5);
        let token = CancelToken::new();
        token.cancel();
        let result = linear_predictability(x.view(), x.view(), &LinearConfig::default(), &token);
        assert!(matches!(result, Err(Error::Cancelled(_))));
    }

    fn normal(rows: usize, columns: usize, seed: u64) -> Array2<f64> {
        let mut stream = Seed::new(seed).stream("normal", 0);
        Array2::from_shape_fn((rows, columns), |_| stream.normal())
    }

    #[test]
    fn half_the_variance_is_noise() {
        let (x, noise) = (normal(4_000, 3, 1), normal(4_000, 2, 2));
        let y = Array2::from_shape_fn((4_000, 2), |(row, column)| {
            x[[row, column]] + noise[[row, column]]
        });
        let r2 = told(x.view(), y.view(), &LinearConfig::default()).unwrap();
        assert!((r2 - 0.5).abs() < 0.03, "{r2}");
    }

    #[test]
    fn nothing_is_read_from_noise() {
        let (x, y) = (normal(300, 20, 3), normal(300, 1, 4));
        let r2 = told(x.view(), y.view(), &LinearConfig::default()).unwrap();
        assert!((-0.3..0.05).contains(&r2), "{r2}");
    }

    #[test]
    fn a_circle_is_read_from_its_two_coordinates_and_not_from_one() {
        let angle = |row: usize| row as f64 * 0.7;
        let circle = Array2::from_shape_fn((500, 2), |(row, column)| match column {
            0 => angle(row).cos(),
            _ => angle(row).sin(),
        });
        let config = LinearConfig::default();
        let both = told(circle.view(), circle.view(), &config).unwrap();
        assert!(both > 1.0 - 1e-9, "{both}");
        let one = circle.slice(ndarray::s![.., ..1]);
        let one = told(one, circle.view(), &config).unwrap();
        assert!((one - 0.5).abs() < 0.02, "{one}");
    }

    #[test]
    fn squares_beyond_any_number_are_refused() {
        let (x, huge) = (normal(20, 2, 6), normal(20, 2, 7) * 1e200);
        let config = LinearConfig::default();
        for (x, y) in [(&x, &huge), (&huge, &x), (&huge, &huge)] {
            let found = told(x.view(), y.view(), &config);
            assert!(matches!(found, Err(Error::Overflow { .. })), "{found:?}");
        }
        // Their sum is, though none of them is.
        let most = Array2::from_shape_fn((20, 1), |(row, _)| 1.7e308 - 1e300 * row as f64);
        let found = told(most.view(), x.view(), &config);
        assert!(matches!(found, Err(Error::Overflow { .. })), "{found:?}");
    }

    #[test]
    fn constant_columns_are_nothing_to_predict_whatever_rounding_makes_of_their_mean() {
        for (n, folds) in [(3, 2), (6, 5), (20, 5), (100, 5), (3000, 7)] {
            let x = normal(n, 2, 11);
            let config = LinearConfig::default().with_folds(folds);
            let constant = Array2::from_elem((n, 2), 0.1);
            let sums = Array2::from_shape_fn((n, 1), |(i, _)| [0.3, 0.1 + 0.2][i % 2]);
            for y in [&constant, &sums] {
                let r2 = told(x.view(), y.view(), &config).unwrap();
                assert!(r2.is_nan(), "{n} {folds}: {r2}");
            }
            // Beside one that varies they change nothing, however large they are.
            let y = normal(n, 1, 12);
            let beside = ndarray::concatenate![Axis(1), constant * 1e9, y, sums];
            let expected = told(x.view(), y.view(), &config).unwrap();
            let found = told(x.view(), beside.view(), &config).unwrap();
            assert_eq!(found.to_bits(), expected.to_bits(), "{n} {folds}");
        }
    }

    #[test]
    fn variation_far_below_the_mean_is_predicted() {
        let x = Array2::from_shape_fn((20_000, 1), |(i, _)| (i % 2) as f64);
        for size in [1e-12, 1e-13] {
            let y = x.mapv(|x| 0.1 * (1.0 + size * x));
            let r2 = told(x.view(), y.view(), &LinearConfig::default()).unwrap();
            assert!(r2 > 0.999, "{size}: {r2}");
        }
    }

    #[test]
    fn columns_that_follow_from_others_need_a_ridge() {
        let config = LinearConfig::default();
        let plain = config.with_ridge(0.0);
        for seed in 0..20 {
            let (x, noise) = (normal(60, 3, seed), normal(60, 1, seed + 100));
            assert!(told(x.view(), x.view(), &plain).unwrap() > 1.0 - 1e-9);
            let sum = Array2::from_shape_fn((60, 1), |(row, _)| x[[row, 0]] + x[[row, 1]]);
            let twice = x.slice(ndarray::s![.., ..1]).to_owned() * 3.0;
            // Rounding decides on the first two; the last one is told apart by seven digits only.
            for column in [&sum, &twice, &(&sum + &(noise * 1e-7))] {
                let more = ndarray::concatenate![Axis(1), x, *column];
                let found = told(more.view(), x.view(), &plain);
                assert!(matches!(found, Err(Error::Singular { .. })), "{found:?}");
                assert!(told(more.view(), x.view(), &config).unwrap() > 0.999);
            }
        }
        // As many columns as rows, and more, leave nothing of their own.
        let wide = normal(20, 30, 1);
        let found = told(wide.view(), wide.view(), &plain);
        assert!(matches!(found, Err(Error::Singular { .. })), "{found:?}");
        assert!(told(wide.view(), wide.view(), &config).is_ok());
        // A constant column has no variance.
        let constant =
            ndarray::concatenate![Axis(1), normal(20, 1, 2), Array2::<f64>::ones((20, 1))];
        assert!(told(constant.view(), constant.view(), &plain).is_ok());
    }

    #[test]
    fn degenerate_inputs_are_defined() {
        let x = normal(20, 2, 5);
        let constant = Array2::from_elem((20, 2), 3.0);
        let config = LinearConfig::default();
        let r2 = told(constant.view(), x.view(), &config).unwrap();
        assert!(r2 <= 0.0 && r2.is_finite(), "{r2}");
        assert!(told(x.view(), constant.view(), &config).unwrap().is_nan());
        assert!(told(x.view(), x.view(), &config.with_folds(21)).is_err());
        assert!(told(x.view(), x.view(), &config.with_folds(1)).is_err());
    }
}
