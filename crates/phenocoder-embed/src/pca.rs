//! Principal components.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};
use phenocoder_core::ShapeError;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::matrix::{check_columns, check_finite};
use crate::{ConfigError, Error, Result};

/// How the components are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PcaSolver {
    /// The smaller of the two matrices below.
    #[default]
    Auto,
    /// Eigenvectors of the `p × p` covariance matrix.
    Covariance,
    /// Eigenvectors of the `n × n` matrix of inner products of rows.
    Gram,
}

/// Settings of a [`Pca`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PcaConfig {
    /// How many components are kept; never more than there are rows or columns.
    pub n_components: usize,
    /// How they are found (default: what is smaller).
    #[serde(default)]
    pub solver: PcaSolver,
}

impl PcaConfig {
    /// Keeps up to this many components.
    #[must_use]
    pub fn new(n_components: usize) -> Self {
        Self {
            n_components,
            solver: PcaSolver::Auto,
        }
    }

    /// Sets how the components are found.
    #[must_use]
    pub fn with_solver(mut self, solver: PcaSolver) -> Self {
        self.solver = solver;
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

/// Principal components of a matrix: the directions in which its rows vary most.
///
/// Columns are centered, not scaled.
/// The number of components is the smallest of what was asked for, the number of rows and the number of columns.
/// In every component the entry of largest size (the first of several) is positive, so signs do not depend on the
/// solver.
/// A component without variance is a direction at a right angle to all others.
///
/// # Differences from scanpy's `pp.pca`
///
/// All components are available, where its default solver needs one fewer than the smaller side, and scores stay in
/// double precision.
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
    type Error = ShapeError;

    fn try_from(parts: Parts) -> Result<Self, ShapeError> {
        let Parts {
            mean,
            components,
            variance,
            total_variance,
        } = parts;
        ShapeError::check_len("mean", components.ncols(), mean.len())?;
        ShapeError::check_len("variance", components.nrows(), variance.len())?;
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
    /// # Errors
    ///
    /// [`Error::TooFew`] for fewer than two rows or no column, [`Error::NotFinite`] for NaN or infinity,
    /// [`Error::Overflow`] for values whose squares are beyond any number, [`Error::Config`] when no component is asked
    /// for.
    pub fn fit(x: ArrayView2<'_, f64>, config: &PcaConfig) -> Result<Self> {
        config.validate()?;
        let (n, p) = x.dim();
        for (what, needed, found) in [("rows", 2, n), ("columns", 1, p)] {
            if found < needed {
                return Err(Error::TooFew {
                    method: "principal components",
                    what,
                    needed,
                    found,
                });
            }
        }
        check_finite(x)?;
        let mean = x.sum_axis(Axis(0)) / n as f64;
        let mut centered = x.to_owned();
        centered -= &mean;
        let k = config.n_components.min(n).min(p);
        let by_covariance = match config.solver {
            PcaSolver::Auto => p <= n,
            PcaSolver::Covariance => true,
            PcaSolver::Gram => false,
        };
        let degrees = (n - 1) as f64;
        let total = centered.iter().map(|v| v * v).sum::<f64>();
        // No product of two rows or columns is larger; what is not finite would keep the eigensolver busy for ever.
        if !total.is_finite() {
            return Err(Error::Overflow {
                method: "principal components",
            });
        }
        let total_variance = total / degrees;
        let (squares, mut components) = if by_covariance {
            let (squares, vectors) = leading_eigenvectors(&inner_products(centered.t()), k);
            (squares, vectors)
        } else {
            let (squares, vectors) = leading_eigenvectors(&inner_products(centered.view()), k);
            (squares, vectors.dot(&centered))
        };
        orthonormalize(&mut components);
        for mut component in components.outer_iter_mut() {
            if largest_entry(component.view()) < 0.0 {
                component.mapv_inplace(|v| -v);
            }
        }
        // Below the rounding error of the largest one, a variance is none.
        let floor = squares.first().copied().unwrap_or(0.0) * f64::EPSILON;
        let variance = squares
            .iter()
            .map(|&v| if v > floor { v / degrees } else { 0.0 })
            .collect();
        Ok(Self {
            mean: mean.to_vec(),
            components,
            variance,
            total_variance,
        })
    }

    /// The scores of rows, those of the fit or new ones.
    ///
    /// # Shapes
    ///
    /// `[n, p]` to `[n, k]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns, [`Error::NotFinite`] for NaN or infinity.
    pub fn transform(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_columns(x, self.mean.len())?;
        check_finite(x)?;
        let mut centered = x.to_owned();
        centered -= &self.mean();
        Ok(centered.dot(&self.components.t()))
    }

    /// The rows that belong to scores, as far as the components span them.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when there is not one column per component.
    pub fn inverse_transform(&self, scores: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        check_columns(scores, self.n_components())?;
        Ok(scores.dot(&self.components) + self.mean())
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

    /// The share of each component in the variance of all columns; 0 when nothing varies.
    #[must_use]
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        let total = self.total_variance;
        let share = |&v: &f64| if total > 0.0 { v / total } else { 0.0 };
        self.variance.iter().map(share).collect()
    }
}

/// `a aᵀ`, summed over fixed blocks of columns so that the number of threads does not matter.
fn inner_products(a: ArrayView2<'_, f64>) -> Array2<f64> {
    const BLOCK: usize = 4096;
    let (m, length) = a.dim();
    let starts: Vec<usize> = (0..length).step_by(BLOCK).collect();
    let mut sum = Array2::<f64>::zeros((m, m));
    // A few blocks at a time bound the memory.
    for group in starts.chunks(8) {
        let parts: Vec<Array2<f64>> = group
            .par_iter()
            .map(|&start| {
                let block = a.slice(s![.., start..(start + BLOCK).min(length)]);
                let mut part = Array2::zeros((m, m));
                general_mat_mul(1.0, &block, &block.t(), 0.0, &mut part);
                part
            })
            .collect();
        for part in parts {
            sum += &part;
        }
    }
    sum
}

/// The `k` largest eigenvalues, falling, and their eigenvectors as rows.
fn leading_eigenvectors(symmetric: &Array2<f64>, k: usize) -> (Vec<f64>, Array2<f64>) {
    let m = symmetric.nrows();
    let lower = |i: usize, j: usize| symmetric[[i.max(j), i.min(j)]];
    let eigen = SymmetricEigen::new(DMatrix::from_fn(m, m, lower));
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    order.truncate(k);
    let values = order
        .iter()
        .map(|&i| eigen.eigenvalues[i].max(0.0))
        .collect();
    let vectors = Array2::from_shape_fn((k, m), |(i, j)| eigen.eigenvectors[(j, order[i])]);
    (values, vectors)
}

/// Makes the rows orthonormal in their order; a row that the ones before it span is replaced by another direction.
fn orthonormalize(rows: &mut Array2<f64>) {
    let (k, p) = rows.dim();
    let scale = rows
        .outer_iter()
        .map(|row| row.dot(&row).sqrt())
        .fold(0.0, f64::max);
    let mut axis = 0;
    for i in 0..k {
        let (done, mut rest) = rows.view_mut().split_at(Axis(0), i);
        let mut row = rest.row_mut(0);
        let mut least = scale * 1e-8;
        loop {
            // Twice is enough (Giraud, Langou & Rozložník 2005, doi:10.1007/s00211-005-0615-4).
            for _ in 0..2 {
                for other in done.outer_iter() {
                    let share = other.dot(&row);
                    row.scaled_add(-share, &other);
                }
            }
            let norm = row.dot(&row).sqrt();
            if norm > least {
                row /= norm;
                break;
            }
            // One of the p unit vectors stands out of fewer than p directions by at least 1/√p of its length.
            row.fill(0.0);
            row[axis % p] = 1.0;
            axis += 1;
            least = 0.5 / (p as f64).sqrt();
        }
    }
}

/// The entry of largest size, the first of several.
fn largest_entry(values: ArrayView1<'_, f64>) -> f64 {
    let mut largest = 0.0_f64;
    for &value in values {
        if value.abs() > largest.abs() {
            largest = value;
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::Seed;

    use super::*;

    fn random(n: usize, p: usize) -> Array2<f64> {
        let mut stream = Seed::new(5).stream("data", 0);
        Array2::from_shape_fn((n, p), |(_, j)| stream.normal() * (1.0 + j as f64))
    }

    fn fit(x: &Array2<f64>, k: usize, solver: PcaSolver) -> Pca {
        Pca::fit(x.view(), &PcaConfig::new(k).with_solver(solver)).unwrap()
    }

    #[test]
    fn both_solvers_agree_in_direction_sign_and_variance() {
        for (n, p) in [(40, 6), (7, 20)] {
            let x = random(n, p);
            let k = n.min(p) - 1;
            let a = fit(&x, k, PcaSolver::Covariance);
            let b = fit(&x, k, PcaSolver::Gram);
            let difference = &a.components() - &b.components();
            assert!(difference.iter().all(|d| d.abs() < 1e-10), "{n} × {p}");
            for (u, v) in a.explained_variance().iter().zip(b.explained_variance()) {
                assert!((u - v).abs() < 1e-10 * u);
            }
        }
    }

    #[test]
    fn components_are_orthonormal_even_without_variance() {
        let mut x = random(5, 8);
        x.row_mut(4)
            .assign(&array![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        let copy = x.row(0).to_owned();
        x.row_mut(1).assign(&copy);
        for data in [x, Array2::zeros((5, 8)), Array2::from_elem((9, 4), 3.25)] {
            for solver in [PcaSolver::Covariance, PcaSolver::Gram] {
                let pca = fit(&data, 8, solver);
                let product = pca.components().dot(&pca.components().t());
                let expected = Array2::<f64>::eye(pca.n_components());
                assert!((&product - &expected).iter().all(|d| d.abs() < 1e-10));
                assert!(pca.explained_variance().windows(2).all(|w| w[0] >= w[1]));
                assert!(pca.explained_variance_ratio().iter().all(|r| r.is_finite()));
            }
        }
    }

    #[test]
    fn all_components_give_the_rows_back() {
        let x = random(30, 4);
        let pca = fit(&x, 99, PcaSolver::Auto);
        assert_eq!(pca.n_components(), 4);
        let scores = pca.transform(x.view()).unwrap();
        let back = pca.inverse_transform(scores.view()).unwrap();
        assert!((&back - &x).iter().all(|d| d.abs() < 1e-10));
        let sum: f64 = pca.explained_variance_ratio().iter().sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn components_survive_json_to_the_bit_and_parts_that_do_not_fit_are_refused() {
        let pca = fit(&random(20, 4), 3, PcaSolver::Auto);
        let text = serde_json::to_string(&pca).unwrap();
        assert_eq!(serde_json::from_str::<Pca>(&text).unwrap(), pca);
        let mut parts: serde_json::Value = serde_json::from_str(&text).unwrap();
        parts["mean"].as_array_mut().unwrap().pop();
        assert!(serde_json::from_value::<Pca>(parts).is_err());
    }

    #[test]
    fn bad_input_is_refused() {
        let config = PcaConfig::new(2);
        assert!(Pca::fit(array![[1.0, 2.0]].view(), &config).is_err());
        assert!(Pca::fit(array![[1.0], [f64::INFINITY]].view(), &config).is_err());
        assert!(Pca::fit(Array2::zeros((3, 0)).view(), &config).is_err());
        assert!(PcaConfig::new(0).validate().is_err());
        let huge = random(5, 3) * 1e200;
        assert!(matches!(
            Pca::fit(huge.view(), &config),
            Err(Error::Overflow { .. })
        ));
        let pca = fit(&random(5, 3), 2, PcaSolver::Auto);
        assert!(pca.transform(random(5, 4).view()).is_err());
    }
}
