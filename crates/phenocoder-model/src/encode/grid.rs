//! The values of a latent on a walk.

use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::error::{check_count, check_range};

/// Which values a latent takes on a walk.
///
/// # Examples
///
/// ```
/// use phenocoder_model::Grid;
///
/// let grid = Grid::quantiles(3);
/// let values = grid.values()?;
/// assert!((values[0] + 1.644_853_6).abs() < 1e-7 && values[1].abs() < 1e-15);
/// # Ok::<(), phenocoder_model::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Grid {
    /// Quantiles of the standard normal prior, at probabilities with equal steps: where the prior is dense, so are they.
    #[doc(alias = "latent_walk")]
    Quantiles {
        /// The number of values.
        n: usize,
        /// The first probability.
        from: f64,
        /// The last probability.
        to: f64,
    },
    /// These values in the place of the cell's own.
    Values {
        /// The values.
        values: Vec<f64>,
    },
    /// The cell's own value plus each of these.
    Offsets {
        /// The differences.
        offsets: Vec<f64>,
    },
}

impl Default for Grid {
    /// Ten quantiles from 0.05 to 0.95.
    fn default() -> Self {
        Self::quantiles(10)
    }
}

impl Grid {
    /// This many quantiles of the standard normal prior from 0.05 to 0.95.
    #[must_use]
    pub const fn quantiles(n: usize) -> Self {
        Self::Quantiles {
            n,
            from: 0.05,
            to: 0.95,
        }
    }

    /// These values in the place of the cell's own.
    #[must_use]
    pub fn at(values: impl Into<Vec<f64>>) -> Self {
        Self::Values {
            values: values.into(),
        }
    }

    /// The cell's own value plus each of these.
    #[must_use]
    pub fn around(offsets: impl Into<Vec<f64>>) -> Self {
        Self::Offsets {
            offsets: offsets.into(),
        }
    }

    /// Checks that there are values, all of them finite, and probabilities within (0, 1).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (n, wrong) = match self {
            Self::Quantiles { n, from, to } => {
                let wrong = [*from, *to].into_iter().find(|p| !(*p > 0.0 && *p < 1.0));
                (*n, wrong.map(|p| (p, "a probability between 0 and 1")))
            }
            Self::Values { values } | Self::Offsets { offsets: values } => {
                let wrong = values.iter().find(|v| !v.is_finite());
                (values.len(), wrong.map(|v| (*v, "a finite number")))
            }
        };
        check_count("grid", n)?;
        wrong.map_or(Ok(()), |(value, expected)| {
            check_range("grid", value, false, expected)
        })
    }

    /// The values, or for [`Offsets`](Self::Offsets) the differences.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn values(&self) -> Result<Vec<f64>, ConfigError> {
        self.validate()?;
        Ok(match self {
            Self::Quantiles { n, from, to } => {
                let step = (to - from) / (n - 1).max(1) as f64;
                (0..*n)
                    .map(|i| normal_quantile(from + step * i as f64))
                    .collect()
            }
            Self::Values { values } | Self::Offsets { offsets: values } => values.clone(),
        })
    }

    /// Where one of the [values](Self::values) puts a latent that is `own`.
    pub(super) fn place(&self, own: f32, value: f64) -> f32 {
        match self {
            Self::Offsets { .. } => (f64::from(own) + value) as f32,
            _ => value as f32,
        }
    }
}

/// The value below which a standard normal number is with this probability, which lies in (0, 1).
///
/// Newton's method on the distribution function from 0 on: above the median it is concave, so no step goes too far.
fn normal_quantile(probability: f64) -> f64 {
    if probability < 0.5 {
        return -normal_quantile(1.0 - probability);
    }
    let mut x = 0.0;
    for _ in 0..200 {
        let density = (-0.5_f64 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let step = (probability - normal_cdf(x, density)) / density;
        x += step;
        if step.abs() <= 1e-15 * x.abs().max(1.0) {
            break;
        }
    }
    x
}

/// `½ + φ(x) (x + x³/3 + x⁵/(3·5) + …)` (Marsaglia 2004, doi:10.18637/jss.v011.i04).
fn normal_cdf(x: f64, density: f64) -> f64 {
    let (mut term, mut sum, mut k) = (x, x, 3.0);
    while term > f64::EPSILON * sum * 0.1 {
        term *= x * x / k;
        sum += term;
        k += 2.0;
    }
    (0.5 + density * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_a_normal_distribution() {
        // R: qnorm(c(0.5, 0.75, 0.95, 0.975, 0.999, 1e-6)).
        for (p, x) in [
            (0.5, 0.0),
            (0.75, 0.674_489_750_196_081_7),
            (0.95, 1.644_853_626_951_472_6),
            (0.025, -1.959_963_984_540_054),
            (0.999, 3.090_232_306_167_813),
            (1e-6, -4.753_424_308_822_899),
        ] {
            let found = normal_quantile(p);
            assert!((found - x).abs() < 1e-9, "{p}: {found} {x}");
        }
    }

    #[test]
    fn a_grid_is_absolute_or_round_the_own_value() {
        let walk = |grid: Grid| -> Vec<f32> {
            let values = grid.values().unwrap().into_iter();
            values.map(|value| grid.place(0.5, value)).collect()
        };
        assert_eq!(walk(Grid::at([1.0, 2.0])), [1.0, 2.0]);
        assert_eq!(walk(Grid::around([0.0, 2.0])), [0.5, 2.5]);
        assert_eq!(Grid::default().values().unwrap().len(), 10);
        let one = Grid::quantiles(1).values().unwrap();
        assert!((one[0] + 1.644_853_626_951_472_6).abs() < 1e-12);
    }

    #[test]
    fn grids_without_values_or_with_impossible_ones_are_refused() {
        let (n, from, to) = (3, 0.0, 0.95);
        for grid in [
            Grid::quantiles(0),
            Grid::Quantiles { n, from, to },
            Grid::at([f64::NAN]),
            Grid::around([]),
        ] {
            assert!(grid.validate().is_err(), "{grid:?}");
        }
    }
}
