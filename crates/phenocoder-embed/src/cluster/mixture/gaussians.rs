//! The components of a mixture: their densities, and themselves from rows that belong to them in part.

use nalgebra::{Cholesky, DMatrix};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis};
use phenocoder_core::{Cancelled, Progress, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Covariance, METHOD, MixtureStart};
use crate::matrix::{check_finite, check_shape, dot, exponentials, row_of, sum_rows};
use crate::{ConfigError, Error, Result};

/// Rows per task; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 1024;

/// Components, and what makes their densities quick to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub(super) struct Gaussians {
    kind: Covariance,
    parameters: MixtureStart,
    /// In the place of each matrix `Σ = L Lᵀ`, `L⁻¹`; in the place of each variance, one over its root.
    #[serde(skip)]
    factors: Array2<f64>,
    /// The logarithm of each component's share and density at its mean.
    #[serde(skip)]
    peaks: Vec<f64>,
}

/// What was written, before it is known to make sense.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    kind: Covariance,
    parameters: MixtureStart,
}

impl TryFrom<Parts> for Gaussians {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Self::new(parts.kind, parts.parameters)
    }
}

impl Gaussians {
    /// Takes components that somebody made up.
    pub(super) fn new(kind: Covariance, parameters: MixtureStart) -> Result<Self> {
        let (k, p) = parameters.means.dim();
        Error::check_enough(METHOD, "components", 1, k)?;
        Error::check_enough(METHOD, "columns", 1, p)?;
        ShapeError::check_len("weights", k, parameters.weights.len())?;
        let (height, width) = kind.shape(k, p);
        let found = parameters.covariances.shape();
        check_shape("covariances", &[height, width], found)?;
        let total: f64 = parameters.weights.iter().sum();
        let shares = parameters.weights.iter().all(|&w| w >= 0.0) && (total - 1.0).abs() < 1e-6;
        let expected = "no weight below 0, together 1";
        ConfigError::check(shares, "weights", expected, format!("{total} together"))?;
        check_finite(parameters.means.view())?;
        check_finite(parameters.covariances.view())?;
        if matches!(kind, Covariance::Full | Covariance::Tied) {
            let same = symmetric(&parameters.covariances);
            let (expected, found) = ("symmetric matrices", "others");
            ConfigError::check(same, "covariances", expected, found)?;
        }
        // Densities take rows as slices.
        let standard = |values: &Array2<f64>| values.as_standard_layout().into_owned();
        let parameters = MixtureStart {
            means: standard(&parameters.means),
            covariances: standard(&parameters.covariances),
            weights: parameters.weights,
        };
        Self::prepare(kind, parameters)
    }

    /// Components of the largest likelihood, given the probability of each for each row.
    pub(super) fn fit(
        x: ArrayView2<'_, f64>,
        probabilities: &Array2<f64>,
        kind: Covariance,
        regularization: f64,
    ) -> Result<Self> {
        let (k, width) = (probabilities.ncols(), x.ncols() + 1);
        let sums = sum_rows(x.nrows(), k * width, |rows, sums| {
            for row in rows {
                let components = sums.chunks_exact_mut(width).zip(probabilities.row(row));
                for (sums, &share) in components.filter(|own| *own.1 > 0.0) {
                    if let Some((count, sums)) = sums.split_last_mut() {
                        *count += share;
                        let columns = sums.iter_mut().zip(x.row(row));
                        columns.for_each(|(sum, value)| *sum += share * value);
                    }
                }
            }
        });
        let mut means = Array2::zeros((k, x.ncols()));
        let mut counts = vec![0.0; k];
        let components = sums.chunks_exact(width).zip(means.outer_iter_mut());
        for ((sums, mut mean), total) in components.zip(&mut counts) {
            if let Some((count, sums)) = sums.split_last() {
                let own = if *count > 0.0 { *count } else { 1.0 };
                mean.iter_mut()
                    .zip(sums)
                    .for_each(|(mean, sum)| *mean = sum / own);
                // As scikit-learn, so that a component without rows has a weight.
                *total = count + 10.0 * f64::EPSILON;
            }
        }
        let covariances = covariances(x, probabilities, kind, &counts, &means, regularization);
        let finite = |values: &Array2<f64>| values.iter().all(|v| v.is_finite());
        if !finite(&means) || !finite(&covariances) {
            return Err(Error::Overflow { method: METHOD });
        }
        let total: f64 = counts.iter().sum();
        let parameters = MixtureStart {
            weights: counts.iter().map(|count| count / total).collect(),
            means,
            covariances,
        };
        Self::prepare(kind, parameters)
    }

    fn prepare(kind: Covariance, parameters: MixtureStart) -> Result<Self> {
        let p = parameters.means.ncols();
        let mut factors = parameters.covariances.clone();
        let mut roots = Vec::new();
        match kind {
            Covariance::Full | Covariance::Tied => {
                for matrix in factors.axis_chunks_iter_mut(Axis(0), p) {
                    roots.push(invert_root(matrix)?);
                }
            }
            Covariance::Diagonal | Covariance::Spherical => {
                if !factors.iter().all(|&variance| variance > 0.0) {
                    return Err(Error::Singular { method: METHOD });
                }
                // The variance of a ball is that of each column.
                let columns = (p / factors.ncols()) as f64;
                let root =
                    |row: ArrayView1<'_, f64>| row.iter().map(|&v| libm::log(v)).sum::<f64>();
                roots.extend(factors.outer_iter().map(|row| 0.5 * columns * root(row)));
                factors.mapv_inplace(|variance| 1.0 / variance.sqrt());
            }
        }
        let constant = 0.5 * p as f64 * libm::log(2.0 * std::f64::consts::PI);
        // One root for all components if they share a matrix.
        let peaks = parameters.weights.iter().zip(roots.iter().cycle());
        let peaks = peaks
            .map(|(&weight, root)| libm::log(weight) - root - constant)
            .collect();
        Ok(Self {
            kind,
            parameters,
            factors,
            peaks,
        })
    }

    pub(super) fn kind(&self) -> Covariance {
        self.kind
    }

    pub(super) fn weights(&self) -> &[f64] {
        &self.parameters.weights
    }

    pub(super) fn means(&self) -> ArrayView2<'_, f64> {
        self.parameters.means.view()
    }

    pub(super) fn covariances(&self) -> ArrayView2<'_, f64> {
        self.parameters.covariances.view()
    }

    /// The number of numbers that are free: covariances, means, and all weights but one.
    pub(super) fn parameters(&self) -> usize {
        let (k, p) = self.parameters.means.dim();
        self.kind.parameters(k, p) + k * p + k - 1
    }

    /// The components in another order.
    pub(super) fn select(&self, order: &[usize]) -> Self {
        let p = self.parameters.means.ncols();
        let rows: Vec<usize> = match self.kind {
            Covariance::Full => order.iter().flat_map(|&c| c * p..(c + 1) * p).collect(),
            Covariance::Tied => (0..p).collect(),
            Covariance::Diagonal | Covariance::Spherical => order.to_vec(),
        };
        let of = |values: &[f64]| order.iter().map(|&c| values[c]).collect();
        Self {
            kind: self.kind,
            parameters: MixtureStart {
                weights: of(&self.parameters.weights),
                means: self.parameters.means.select(Axis(0), order),
                covariances: self.parameters.covariances.select(Axis(0), &rows),
            },
            factors: self.factors.select(Axis(0), &rows),
            peaks: of(&self.peaks),
        }
    }

    /// The mean logarithm of the density at the rows of `x`, which is in standard layout, and the probability of each
    /// component for each row.
    pub(super) fn expect(
        &self,
        x: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<(f64, Array2<f64>)> {
        let k = self.peaks.len();
        let mut probabilities = Array2::zeros((x.nrows(), k));
        let parts: Result<Vec<f64>, Cancelled> = probabilities
            .as_slice_mut()
            .expect("zeros are made row by row")
            .par_chunks_mut(ROWS * k)
            .enumerate()
            .map(|(block, values)| {
                progress.check()?;
                let mut difference = vec![0.0; x.ncols()];
                let mut sum = 0.0;
                for (offset, values) in values.chunks_exact_mut(k).enumerate() {
                    let row = x.row(block * ROWS + offset);
                    for (component, value) in values.iter_mut().enumerate() {
                        subtract(row, self.means().row(component), &mut difference);
                        *value = self.peaks[component] - 0.5 * self.square(component, &difference);
                    }
                    sum += normalize(values);
                }
                Ok(sum)
            })
            .collect();
        let sum: f64 = parts?.iter().sum();
        if sum.is_finite() {
            Ok((sum / x.nrows().max(1) as f64, probabilities))
        } else {
            Err(Error::Overflow { method: METHOD })
        }
    }

    /// The squared distance from a component's mean in units of its spread (Mahalanobis).
    fn square(&self, component: usize, difference: &[f64]) -> f64 {
        let p = difference.len();
        let row = |i: usize| row_of(&self.factors, i);
        let triangular = |first: usize| {
            let product = |i: usize| dot(&row(first + i)[..=i], &difference[..=i]);
            (0..p).map(product).map(|y| y * y).sum()
        };
        match self.kind {
            Covariance::Full => triangular(component * p),
            Covariance::Tied => triangular(0),
            Covariance::Diagonal => {
                let columns = row(component).iter().zip(difference);
                columns.map(|(f, d)| (f * d) * (f * d)).sum()
            }
            Covariance::Spherical => {
                let factor = self.factors[[component, 0]];
                difference.iter().map(|d| (factor * d) * (factor * d)).sum()
            }
        }
    }
}

/// Whether square matrices, one below the other, are each symmetric to within rounding.
fn symmetric(matrices: &Array2<f64>) -> bool {
    let same = |matrix: ArrayView2<'_, f64>| {
        let largest = matrix.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let mut entries = matrix.indexed_iter();
        entries.all(|((i, j), v)| (v - matrix[[j, i]]).abs() <= 1e-8 * largest)
    };
    let mut blocks = matrices.axis_chunks_iter(Axis(0), matrices.ncols());
    blocks.all(same)
}

/// Puts `L⁻¹` in the place of `Σ = L Lᵀ`; the logarithm of the determinant of `L`.
fn invert_root(mut matrix: ArrayViewMut2<'_, f64>) -> Result<f64> {
    let singular = || Error::Singular { method: METHOD };
    let p = matrix.nrows();
    let root = Cholesky::new(DMatrix::from_fn(p, p, |i, j| matrix[[i, j]]))
        .ok_or_else(singular)?
        .l();
    let inverse = root
        .solve_lower_triangular(&DMatrix::identity(p, p))
        .ok_or_else(singular)?;
    for ((i, j), value) in matrix.indexed_iter_mut() {
        *value = inverse[(i, j)];
    }
    Ok(root.diagonal().iter().map(|&v| libm::log(v)).sum())
}

/// The covariances about the means of rows that belong to each component in part.
fn covariances(
    x: ArrayView2<'_, f64>,
    probabilities: &Array2<f64>,
    kind: Covariance,
    counts: &[f64],
    means: &Array2<f64>,
    regularization: f64,
) -> Array2<f64> {
    let (k, p) = means.dim();
    let (height, width) = kind.shape(k, p);
    let sums = sum_rows(x.nrows(), height * width, |rows, sums| {
        let mut difference = vec![0.0; p];
        for row in rows {
            for (component, &share) in probabilities.row(row).iter().enumerate() {
                if share <= 0.0 {
                    continue;
                }
                subtract(x.row(row), means.row(component), &mut difference);
                match kind {
                    Covariance::Full => {
                        add_products(&mut sums[component * p * p..][..p * p], share, &difference);
                    }
                    Covariance::Tied => add_products(sums, share, &difference),
                    Covariance::Diagonal => {
                        let columns = sums[component * p..].iter_mut().zip(&difference);
                        columns.for_each(|(sum, d)| *sum += share * d * d);
                    }
                    Covariance::Spherical => {
                        sums[component] += share * dot(&difference, &difference) / p as f64;
                    }
                }
            }
        }
    });
    let total: f64 = counts.iter().sum();
    Array2::from_shape_fn((height, width), |(i, j)| match kind {
        Covariance::Full | Covariance::Tied => {
            let (component, i) = (i / p, i % p);
            let count = if kind == Covariance::Full {
                counts[component]
            } else {
                total
            };
            let more = if i == j { regularization } else { 0.0 };
            sums[(component * p + i.max(j)) * p + i.min(j)] / count + more
        }
        Covariance::Diagonal | Covariance::Spherical => {
            sums[i * width + j] / counts[i] + regularization
        }
    })
}

/// Adds the lower half of `share d dᵀ`.
fn add_products(sums: &mut [f64], share: f64, difference: &[f64]) {
    let rows = sums.chunks_exact_mut(difference.len()).zip(difference);
    for (i, (sums, d)) in rows.enumerate() {
        let columns = sums.iter_mut().zip(&difference[..=i]);
        columns.for_each(|(sum, other)| *sum += share * d * other);
    }
}

fn subtract(row: ArrayView1<'_, f64>, mean: ArrayView1<'_, f64>, difference: &mut [f64]) {
    for ((difference, value), mean) in difference.iter_mut().zip(row).zip(mean) {
        *difference = value - mean;
    }
}

/// Turns logarithms of densities into probabilities; the logarithm of the sum of the densities.
fn normalize(values: &mut [f64]) -> f64 {
    let (largest, sum) = exponentials(values);
    for value in values {
        *value /= sum;
    }
    largest + libm::log(sum)
}
