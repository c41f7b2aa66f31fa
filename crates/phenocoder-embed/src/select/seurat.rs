//! More variance than columns of about the same mean have.

use ndarray::{ArrayView1, ArrayView2};
use phenocoder_core::Progress;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{METHOD, VariableFeatures, moments};
use crate::matrix::check_finite;
use crate::{ConfigError, Error, Result};

/// The most bins: far more than are useful, and little memory.
const MOST_BINS: usize = 1 << 16;

/// Settings of [`VariableFlavor::Seurat`](super::VariableFlavor::Seurat). Defaults are those of scanpy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SeuratConfig {
    /// The number of bins of the mean (default 20, at most 65,536).
    pub n_bins: usize,
    /// The mean must be above this (default 0.0125).
    pub min_mean: f64,
    /// The mean must be below this (default 3).
    pub max_mean: Option<f64>,
    /// The normalized dispersion must be above this (default 0.5).
    pub min_dispersion: f64,
    /// The normalized dispersion must be below this (default none).
    pub max_dispersion: Option<f64>,
}

impl Default for SeuratConfig {
    fn default() -> Self {
        Self {
            n_bins: 20,
            min_mean: 0.0125,
            max_mean: Some(3.0),
            min_dispersion: 0.5,
            max_dispersion: None,
        }
    }
}

impl SeuratConfig {
    /// Sets the number of bins of the mean.
    #[must_use]
    pub fn with_n_bins(mut self, n_bins: usize) -> Self {
        self.n_bins = n_bins;
        self
    }

    /// Sets what the mean must lie between.
    #[must_use]
    pub fn with_mean(mut self, min: f64, max: impl Into<Option<f64>>) -> Self {
        (self.min_mean, self.max_mean) = (min, max.into());
        self
    }

    /// Sets what the normalized dispersion must lie between.
    #[must_use]
    pub fn with_dispersion(mut self, min: f64, max: impl Into<Option<f64>>) -> Self {
        (self.min_dispersion, self.max_dispersion) = (min, max.into());
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when there is no bin or more than 65,536 are, a lower bound is not finite, or an upper one is
    /// NaN.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let bins = (1..=MOST_BINS).contains(&self.n_bins);
        ConfigError::check(bins, "n_bins", "from 1 to 65,536", self.n_bins)?;
        for (name, bound) in [
            ("min_mean", self.min_mean),
            ("min_dispersion", self.min_dispersion),
        ] {
            ConfigError::check(bound.is_finite(), name, "a finite number", bound)?;
        }
        for (name, bound) in [
            ("max_mean", self.max_mean),
            ("max_dispersion", self.max_dispersion),
        ] {
            let bound = bound.unwrap_or(f64::INFINITY);
            ConfigError::check(!bound.is_nan(), name, "a number", bound)?;
        }
        Ok(())
    }
}

pub(super) fn select(
    x: ArrayView2<'_, f64>,
    config: &SeuratConfig,
    n_top: Option<usize>,
    progress: &dyn Progress,
) -> Result<VariableFeatures> {
    check_finite(x)?;
    let found: Result<Vec<(f64, f64)>> = (0..x.ncols())
        .into_par_iter()
        .map(|column| {
            progress.check()?;
            mean_and_dispersion(x.column(column))
        })
        .collect();
    let (means, dispersions): (Vec<f64>, Vec<f64>) = found?.into_iter().unzip();
    let normalized = normalize(&means, &dispersions, config.n_bins);
    let selected = match n_top {
        Some(n) => highest(&normalized, n),
        None => within_bounds(&means, &normalized, config),
    };
    Ok(VariableFeatures {
        selected,
        means,
        dispersions,
        normalized,
    })
}

/// `ln(1 + mean)` and `ln(variance / mean)` of the counts whose logarithms these are, NaN for what there is not.
fn mean_and_dispersion(column: ArrayView1<'_, f64>) -> Result<(f64, f64)> {
    let (_, mean, variance) = moments(column.iter().map(|&v| libm::expm1(v)));
    let mean = if mean == 0.0 { 1e-12 } else { mean };
    let ratio = variance / mean;
    if !(mean.is_finite() && ratio.is_finite()) {
        return Err(Error::Overflow { method: METHOD });
    }
    let log_mean = if mean > -1.0 {
        libm::log1p(mean)
    } else {
        f64::NAN
    };
    let dispersion = if ratio > 0.0 {
        libm::log(ratio)
    } else {
        f64::NAN
    };
    Ok((log_mean, dispersion))
}

/// Dispersions less the mean of their bin, over its deviation; 1 for the only one of a bin.
fn normalize(means: &[f64], dispersions: &[f64], n_bins: usize) -> Vec<f64> {
    let bins = bins(means, n_bins);
    let mut members = vec![Vec::new(); n_bins];
    for (&bin, &dispersion) in bins.iter().zip(dispersions) {
        if !dispersion.is_nan() {
            members[bin].push(dispersion);
        }
    }
    let scales: Vec<(f64, f64)> = members
        .into_iter()
        .map(|members| match moments(members) {
            (1, mean, _) => (0.0, mean),
            (_, mean, variance) => (mean, variance.sqrt()),
        })
        .collect();
    let scaled = bins.iter().zip(dispersions);
    scaled
        .map(|(&bin, dispersion)| (dispersion - scales[bin].0) / scales[bin].1)
        .collect()
}

/// Bins of equal width that are closed on the right, as `pandas.cut` makes them: the first one begins 0.1 % of all of
/// them below the lowest value.
fn bins(values: &[f64], n_bins: usize) -> Vec<usize> {
    let mut low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let mut high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let below = 0.001 * (high - low);
    if low == high {
        let around = 0.001 * if low == 0.0 { 1.0 } else { low.abs() };
        (low, high) = (low - around, high + around);
    }
    let width = (high - low) / n_bins as f64;
    let mut edges: Vec<f64> = (0..n_bins).map(|i| i as f64 * width + low).collect();
    edges[0] -= below;
    edges.push(high);
    let bin = |value: &f64| edges.partition_point(|edge| edge < value);
    let last = n_bins - 1;
    values
        .iter()
        .map(|value| bin(value).saturating_sub(1).min(last))
        .collect()
}

/// The `n` highest and what equals the last of them; NaN is never among them.
fn highest(values: &[f64], n: usize) -> Vec<bool> {
    let mut order: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    order.sort_unstable_by(|a, b| b.total_cmp(a));
    let last = order.get(n.min(order.len()).saturating_sub(1)).copied();
    values
        .iter()
        .map(|&value| last.is_some_and(|last| value >= last))
        .collect()
}

fn within_bounds(means: &[f64], normalized: &[f64], config: &SeuratConfig) -> Vec<bool> {
    let between = |v: f64, low: f64, high: Option<f64>| v > low && high.is_none_or(|h| v < h);
    means
        .iter()
        .zip(normalized)
        .map(|(&mean, &dispersion)| {
            let dispersion = if dispersion.is_nan() { 0.0 } else { dispersion };
            between(mean, config.min_mean, config.max_mean)
                && between(dispersion, config.min_dispersion, config.max_dispersion)
        })
        .collect()
}
