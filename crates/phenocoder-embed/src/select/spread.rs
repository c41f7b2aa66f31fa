//! A robust spread, and no selected column that says the same.

use ndarray::ArrayView2;
use phenocoder_core::Progress;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{METHOD, VariableFeatures, moments};
use crate::matrix::{median, to_unit};
use crate::scale::{NanPolicy, check_allowed};
use crate::{ConfigError, Error, Result};

/// Rows that two columns must share to be compared, where the sparser one has as many: of few, unlike columns correlate too.
const SHARED: usize = 10;
/// The standard deviation of a normal distribution over its median absolute deviation, 1 / Φ⁻¹(3/4).
const NORMAL: f64 = 1.482_602_218_505_602;

/// Settings of [`VariableFlavor::Spread`](super::VariableFlavor::Spread).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SpreadConfig {
    /// Whether the spread is divided by the size of the median, at least 1e-12 (default no).
    ///
    /// Only for columns of positive numbers.
    pub relative: bool,
    /// The spread must be above this (default 0).
    pub min_spread: f64,
    /// The largest correlation with a selected column (default 0.98); none for any.
    pub max_correlation: Option<f64>,
}

impl Default for SpreadConfig {
    fn default() -> Self {
        Self {
            relative: false,
            min_spread: 0.0,
            max_correlation: Some(0.98),
        }
    }
}

impl SpreadConfig {
    /// Sets whether the spread is divided by the size of the median.
    #[must_use]
    pub fn with_relative(mut self, relative: bool) -> Self {
        self.relative = relative;
        self
    }

    /// Sets what the spread must be above.
    #[must_use]
    pub fn with_min_spread(mut self, min_spread: f64) -> Self {
        self.min_spread = min_spread;
        self
    }

    /// Sets the largest correlation with a selected column.
    #[must_use]
    pub fn with_max_correlation(mut self, max_correlation: impl Into<Option<f64>>) -> Self {
        self.max_correlation = max_correlation.into();
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `min_spread` is negative or `max_correlation` is not between 0 and 1.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let least = self.min_spread;
        ConfigError::check(least >= 0.0, "min_spread", "a number of at least 0", least)?;
        let most = self.max_correlation.unwrap_or(1.0);
        let share = (0.0..=1.0).contains(&most);
        ConfigError::check(share, "max_correlation", "a number from 0 to 1", most)
    }
}

/// A column and what is known of it.
struct Column {
    /// As they are; quarters of them where a difference of two could be beyond any number.
    values: Vec<f64>,
    /// How many of them are there.
    count: usize,
    median: f64,
    spread: f64,
    /// NaN where the column cannot be selected.
    rank: f64,
}

pub(super) fn select(
    x: ArrayView2<'_, f64>,
    config: &SpreadConfig,
    n_top: Option<usize>,
    progress: &dyn Progress,
) -> Result<VariableFeatures> {
    check_allowed(x, NanPolicy::ImputeMean)?;
    let columns: Result<Vec<Column>> = (0..x.ncols())
        .into_par_iter()
        .map(|column| {
            progress.check()?;
            Column::new(x.column(column).to_vec(), config)
        })
        .collect();
    let columns = columns?;
    let mut order: Vec<usize> = (0..columns.len())
        .filter(|&c| columns[c].rank > config.min_spread)
        .collect();
    order.sort_by(|&a, &b| columns[b].rank.total_cmp(&columns[a].rank));
    let mut kept: Vec<usize> = Vec::new();
    for column in order {
        if n_top.is_some_and(|n| kept.len() == n) {
            break;
        }
        progress.check()?;
        let repeats = config.max_correlation.is_some_and(|most| {
            kept.par_iter()
                .any(|&other| columns[column].correlation(&columns[other]).abs() > most)
        });
        if !repeats {
            kept.push(column);
        }
    }
    let mut selected = vec![false; columns.len()];
    for column in kept {
        selected[column] = true;
    }
    Ok(VariableFeatures {
        selected,
        means: columns.iter().map(|c| c.median).collect(),
        dispersions: columns.iter().map(|c| c.spread).collect(),
        normalized: columns.iter().map(|c| c.rank).collect(),
    })
}

impl Column {
    fn new(mut values: Vec<f64>, config: &SpreadConfig) -> Result<Self> {
        let mut there: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        let count = there.len();
        let enough = 2 * count >= values.len() && count > 1;
        let middle = median(&mut there);
        let mut distances: Vec<f64> = there.iter().map(|v| (v - middle).abs()).collect();
        let mut spread = NORMAL * median(&mut distances);
        // The median has sorted them.
        let largest = distances.last().copied().unwrap_or(0.0);
        if spread == 0.0 {
            spread = moments(there).2.sqrt();
        }
        if enough && !(spread.is_finite() && largest.is_finite()) {
            return Err(Error::Overflow { method: METHOD });
        }
        let size = if config.relative {
            middle.abs().max(1e-12)
        } else {
            1.0
        };
        let varies = enough && spread > 0.0;
        if largest > f64::MAX / 4.0 {
            values.iter_mut().for_each(|v| *v /= 4.0);
        }
        Ok(Self {
            values,
            count,
            median: middle,
            spread,
            rank: if varies { spread / size } else { f64::NAN },
        })
    }

    /// Pearson's correlation over rows where both are there; 0 for too few, or where one does not vary.
    fn correlation(&self, other: &Self) -> f64 {
        let both = || {
            let pairs = self.values.iter().zip(&other.values);
            pairs.filter(|(a, b)| !(a.is_nan() || b.is_nan()))
        };
        let Some((&a_first, &b_first)) = both().next() else {
            return 0.0;
        };
        // Less the first, so that the rounding of a mean does not make equal values vary.
        let moved = || both().map(|(a, b)| (a - a_first, b - b_first));
        let (mut n, mut a_most, mut b_most) = (0, 0.0_f64, 0.0_f64);
        for (a, b) in moved() {
            (n, a_most, b_most) = (n + 1, a_most.max(a.abs()), b_most.max(b.abs()));
        }
        let enough = n >= SHARED.min(self.count).min(other.count).max(3);
        if !enough || a_most == 0.0 || b_most == 0.0 {
            return 0.0;
        }
        // Near 1, so that no square is beyond any number, nor all are 0 beside an outlier in another row.
        let (a_unit, b_unit) = (to_unit(a_most), to_unit(b_most));
        let scaled = || moved().map(|(a, b)| (a * a_unit, b * b_unit));
        let (mut a_sum, mut b_sum) = (0.0, 0.0);
        for (a, b) in scaled() {
            (a_sum, b_sum) = (a_sum + a, b_sum + b);
        }
        let (a_mean, b_mean) = (a_sum / n as f64, b_sum / n as f64);
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        for (a, b) in scaled() {
            let (a, b) = (a - a_mean, b - b_mean);
            (aa, bb, ab) = (aa + a * a, bb + b * b, ab + a * b);
        }
        (ab / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0)
    }
}
