//! Whether neighbors resemble each other: Moran's I and Geary's C, of all cells, of each, and of two features.

mod bivariate;
mod local;
mod permutation;
mod significance;
mod weights;

use ndarray::ArrayView2;
use phenocoder_core::{CsrGraph, ShapeError};

use crate::error::Result;
use crate::reduce::sums_over_nodes;
use crate::scale::scaled;

pub use bivariate::{
    bivariate_geary, bivariate_geary_permuted, bivariate_moran, bivariate_moran_permuted, lee_l,
};
pub use local::{
    LocalAutocorrelation, LocalConfig, LocalNull, Quadrant, local_bivariate_moran, local_geary,
    local_moran,
};
pub use permutation::{
    PermutationConfig, Permuted, PermutedAutocorrelation, geary_permuted, moran_permuted,
};
pub use significance::{
    Assumption, Autocorrelation, Tail, TestConfig, adjust_fdr, geary_test, moran_test,
};
use weights::Weights;
pub use weights::{Normalization, Precision, SpatialWeights};

/// Computes Moran's I of every column of `x`.
///
/// I = (n / S₀) · Σᵢⱼ gᵢⱼ zᵢ zⱼ / Σᵢ zᵢ² with z = x − mean, the weights g of `weights` and S₀ = Σᵢⱼ gᵢⱼ (Moran 1950,
/// doi:10.2307/2332142).
/// Near 1 neighbors are alike, near −1/(n − 1) they are independent, below they differ.
/// Edges count 1 before normalization, whatever their value, unless [`SpatialWeights::edges`] says otherwise.
/// A constant column, one with a NaN, and every column of a graph without edges have NaN.
/// The cost is O(edges · p).
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes; result: p.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::autocorrelation::{SpatialWeights, moran_i};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[0.0, 0.0, 7.0], [0.0, 1.0, 7.0], [1.0, 0.0, 7.0], [1.0, 1.0, 7.0]];
/// let i = moran_i(&graph, x.view(), &SpatialWeights::default())?;
/// assert_eq!(i[..2], [0.5, -1.0]);
/// assert!(i[2].is_nan());
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when `x` has not one row per node.
///
/// # Differences from squidpy
///
/// The weights are kept in double precision; squidpy rounds them to single, which moves I by about 1e-8
/// ([`Precision::Single`] does the same).
/// A graph without edges gives NaN, where squidpy fails.
/// No permutations are made when only I is asked for.
#[doc(alias = "spatial_autocorr")]
#[doc(alias = "moran")]
pub fn moran_i(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    weights: &SpatialWeights,
) -> Result<Vec<f64>> {
    Ok(moran_of(&Centered::new(graph, x)?, &weights.of(graph)))
}

fn moran_of(z: &Centered, weights: &Weights<'_>) -> Vec<f64> {
    let products = z.sum_over_nodes(|node, z, sum| {
        let p = sum.len();
        let mut lag = vec![0.0; p];
        for (other, factor) in weights.factors(node) {
            for (lag, z) in lag.iter_mut().zip(&z[other * p..]) {
                *lag += factor * z;
            }
        }
        for (f, sum) in sum.iter_mut().enumerate() {
            *sum += weights.scale(node) * lag[f] * z[node * p + f];
        }
    });
    let n = weights.n_nodes() as f64;
    let total = weights.total();
    z.per_column(|f| n / total * products[f] / z.squares[f])
}

/// Computes Geary's C of every column of `x`.
///
/// C = (n − 1) · Σᵢⱼ gᵢⱼ (xᵢ − xⱼ)² / (2 S₀ Σᵢ zᵢ²), with the terms of [`moran_i`] (Geary 1954, doi:10.2307/2986645).
/// Below 1 neighbors are alike, above they differ.
/// NaN where [`moran_i`] has NaN.
/// The cost is O(edges · p).
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes; result: p.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::autocorrelation::{SpatialWeights, geary_c};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[0.0], [0.0], [1.0], [1.0]];
/// assert_eq!(geary_c(&graph, x.view(), &SpatialWeights::default())?, [0.375]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when `x` has not one row per node.
///
/// # Differences from squidpy
///
/// Those of [`moran_i`].
#[doc(alias = "geary")]
pub fn geary_c(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    weights: &SpatialWeights,
) -> Result<Vec<f64>> {
    Ok(geary_of(&Centered::new(graph, x)?, &weights.of(graph)))
}

fn geary_of(z: &Centered, weights: &Weights<'_>) -> Vec<f64> {
    let differences = z.sum_over_nodes(|node, z, sum| {
        let p = sum.len();
        for (other, weight) in weights.row(node) {
            for (f, sum) in sum.iter_mut().enumerate() {
                let difference = z[node * p + f] - z[other * p + f];
                *sum += weight * difference * difference;
            }
        }
    });
    let n = weights.n_nodes() as f64;
    let total = weights.total();
    z.per_column(|f| (n - 1.0) * differences[f] / (2.0 * total * z.squares[f]))
}

/// Columns less their means, row after row, in units of [`scaled`].
struct Centered {
    z: Vec<f64>,
    squares: Vec<f64>,
    /// Whether a column has more than one value and no NaN.
    varies: Vec<bool>,
}

impl Centered {
    fn new(graph: &CsrGraph, x: ArrayView2<'_, f64>) -> Result<Self> {
        let (n, p) = x.dim();
        ShapeError::check_len("rows of features", graph.n_nodes(), n)?;
        let mut z: Vec<f64> = scaled(x).iter().copied().collect();
        let column_sums = |z: &[f64], term: fn(f64) -> f64| {
            sums_over_nodes(n, p, |row, sums| {
                for (sum, &value) in sums.iter_mut().zip(&z[row * p..]) {
                    *sum += term(value);
                }
            })
        };
        let mut varies = vec![false; p];
        for row in 1..n {
            for f in 0..p {
                varies[f] |= z[row * p + f] != z[f];
            }
        }
        let sums = column_sums(&z, |value| value);
        for (varies, sum) in varies.iter_mut().zip(&sums) {
            *varies &= sum.is_finite();
        }
        for row in 0..n {
            for (f, sum) in sums.iter().enumerate() {
                z[row * p + f] -= sum / n as f64;
            }
        }
        let squares = column_sums(&z, |value| value * value);
        Ok(Self { z, squares, varies })
    }

    /// One sum per column of what `term` adds for every node.
    fn sum_over_nodes(&self, term: impl Fn(usize, &[f64], &mut [f64]) + Sync) -> Vec<f64> {
        self.sum_over_nodes_of(1, term)
    }

    /// `sums` sums per column.
    fn sum_over_nodes_of(
        &self,
        sums: usize,
        term: impl Fn(usize, &[f64], &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let p = self.squares.len();
        let n = self.z.len().checked_div(p).unwrap_or(0);
        sums_over_nodes(n, sums * p, |node, sums| term(node, &self.z, sums))
    }

    /// n Σ z⁴ / (Σ z²)² of every column.
    fn kurtosis(&self) -> Vec<f64> {
        let p = self.squares.len();
        let fourth = self.sum_over_nodes(|node, z, sum| {
            for (sum, z) in sum.iter_mut().zip(&z[node * p..]) {
                *sum += z.powi(4);
            }
        });
        let n = self.z.len().checked_div(p).unwrap_or(0) as f64;
        self.per_column(|f| n * fourth[f] / self.squares[f].powi(2))
    }

    fn per_column(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let defined = |(f, &varies): (usize, &bool)| if varies { value(f) } else { f64::NAN };
        self.varies.iter().enumerate().map(defined).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::radius_graph;

    #[test]
    fn one_bad_column_does_not_touch_the_others() {
        let graph = radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0).unwrap();
        let x = array![
            [1.0, f64::NAN, 1.0, f64::INFINITY],
            [2.0, 2.0, 1.0, 0.0],
            [4.0, 3.0, 1.0, 0.0]
        ];
        for statistic in [moran_i, geary_c] {
            let values = statistic(&graph, x.view(), &SpatialWeights::default()).unwrap();
            assert!(values[0].is_finite());
            assert!(values[1..].iter().all(|v| v.is_nan()), "{values:?}");
        }
    }

    #[test]
    fn no_edges_no_nodes_and_one_node_have_no_autocorrelation() {
        for n in 0..3 {
            let x = Array2::from_shape_fn((n, 1), |(i, _)| i as f64);
            let graph = CsrGraph::empty(n);
            let i = moran_i(&graph, x.view(), &SpatialWeights::default()).unwrap();
            assert!(i[0].is_nan(), "{n} nodes");
        }
    }

    #[test]
    fn constants_that_round_badly_are_still_constants() {
        let graph = radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0).unwrap();
        let x = Array2::from_elem((3, 1), 0.1);
        assert!(moran_i(&graph, x.view(), &SpatialWeights::default()).unwrap()[0].is_nan());
    }

    #[test]
    fn features_of_another_length_are_refused() {
        let refused = moran_i(
            &CsrGraph::empty(2),
            Array2::zeros((3, 1)).view(),
            &SpatialWeights::default(),
        );
        assert!(refused.is_err());
    }
}
