//! Whether the neighbors' values of one feature go with a cell's own of another.

use ndarray::ArrayView2;
use phenocoder_core::{CsrGraph, Progress, ShapeError};

use super::permutation::{Products, Simulation};
use super::significance::{RowSums, spread_of_lags};
use super::{
    Autocorrelation, Centered, PermutationConfig, PermutedAutocorrelation, SpatialWeights,
    TestConfig,
};
use crate::error::Result;

/// Computes the bivariate Moran's I of every column of `x` with the same column of `y`.
///
/// I = (n / S₀) · Σᵢⱼ gᵢⱼ uᵢ vⱼ / √(Σ uᵢ² Σ vᵢ²) with u = x − mean, v = y − mean, the weights g and S₀ = Σ g (Wartenberg 1985,
/// doi:10.1111/j.1538-4632.1985.tb00849.x; Anselin et al. 2002): whether cells with a high x have neighbors with a high y.
/// With y = x it is [`moran_i`](super::moran_i).
/// It is not symmetric where the weights are not, and says nothing of x and y of the same cell.
///
/// The moments are those of all permutations of y over the cells while x stays, which are exact:
/// E = 0 and Var = (n / S₀)² Σ (a − ā)² / ((n − 1) Σ u²) with aⱼ = Σᵢ gᵢⱼ uᵢ.
/// That x and y of one cell are correlated is therefore part of what is tested.
/// [`TestConfig::assumption`] makes no difference.
/// NaN where one of the columns is constant or has a NaN, and for a graph without edges.
/// The cost is O(edges · p).
///
/// # Shapes
///
/// `x`, `y`: `[n, p]` for a graph of n nodes; results: p.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::autocorrelation::{TestConfig, bivariate_moran};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[0.0], [1.0], [0.0], [1.0]];
/// let y = array![[1.0], [0.0], [1.0], [0.0]];
/// // Where x is high, y of the neighbors is high.
/// let found = bivariate_moran(&graph, x.view(), y.view(), &TestConfig::new())?;
/// assert_eq!(found.statistic, [1.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when `x` or `y` has not one row per node, or one has more columns.
#[doc(alias = "Moran_BV")]
pub fn bivariate_moran(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    config: &TestConfig,
) -> Result<Autocorrelation> {
    let pair = Pair::new(graph, x, y)?;
    let found = pair.arriving(graph, &config.weights);
    let n = graph.n_nodes() as f64;
    let p = found.statistic.len();
    let moments = |f: usize| {
        let column = || found.lags.iter().skip(f).step_by(p);
        let mean = column().sum::<f64>() / n;
        let spread: f64 = column().map(|lag| (lag - mean).powi(2)).sum();
        let spread = spread_of_lags(spread, found.norm * pair.x.squares[f]);
        let factor = n / found.total;
        (
            0.0,
            factor * factor * spread / ((n - 1.0) * pair.x.squares[f]),
        )
    };
    Ok(Autocorrelation::new(
        found.statistic.clone(),
        moments,
        config.tail,
    ))
}

/// Computes the statistic of [`bivariate_moran`] beside that of permutations of y over the cells while x stays.
///
/// [`PermutationConfig::permuted`] makes no difference.
/// The cost is O(n · p) per permutation.
///
/// # Shapes
///
/// `x`, `y`: `[n, p]` for a graph of n nodes; results: p.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::autocorrelation::{PermutationConfig, bivariate_moran_permuted};
/// use phenocoder_spatial::radius_graph;
///
/// let points = Array2::from_shape_fn((20, 1), |(i, _)| i as f64);
/// let graph = radius_graph(points.view(), 1.0)?;
/// let opposite = points.mapv(|x| -x);
/// let config = PermutationConfig::new(99);
/// let found = bivariate_moran_permuted(&graph, points.view(), opposite.view(), &config, &NoProgress)?;
/// assert!(found.statistic[0] < -0.8 && found.p_value[0] <= 0.02);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`bivariate_moran`] and [`moran_permuted`](super::moran_permuted).
pub fn bivariate_moran_permuted(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    config: &PermutationConfig,
    progress: &dyn Progress,
) -> Result<PermutedAutocorrelation> {
    config.validate()?;
    let pair = Pair::new(graph, x, y)?;
    let found = pair.arriving(graph, &config.weights);
    let n = graph.n_nodes() as f64;
    let p = found.statistic.len();
    let simulation = Simulation {
        z: &pair.y.z,
        factors: (0..p).map(|f| n / (found.total * pair.norm(f))).collect(),
        config,
        progress,
    };
    let drawn = simulation.of(&Products::new(&found.lags, p))?;
    Ok(simulation.compare(found.statistic, &drawn))
}

/// Computes Lee's L of every column of `x` with the same column of `y`.
///
/// L = n / Σᵢ (Σⱼ gᵢⱼ)² · Σᵢ (Σⱼ gᵢⱼ uⱼ)(Σⱼ gᵢⱼ vⱼ) / √(Σ uᵢ² Σ vᵢ²), with the terms of [`bivariate_moran`]
/// (Lee 2001, doi:10.1007/s101090100064): the correlation of the two features after both were smoothed over the neighbors,
/// less where smoothing leaves little of them.
/// With y = x it is the part of the variance that smoothing leaves.
/// Lee's weights let a cell be its own neighbor; [`with_loops`](crate::neighbors::with_loops) gives them to a graph.
/// NaN as for [`bivariate_moran`].
/// The cost is O(edges · p).
///
/// # Shapes
///
/// `x`, `y`: `[n, p]` for a graph of n nodes; result: p.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::autocorrelation::{SpatialWeights, lee_l};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[0.0], [1.0], [0.0], [1.0]];
/// let y = array![[1.0], [0.0], [1.0], [0.0]];
/// assert_eq!(lee_l(&graph, x.view(), y.view(), &SpatialWeights::default())?, [-1.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`bivariate_moran`].
#[doc(alias = "Spatial_Pearson")]
pub fn lee_l(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    weights: &SpatialWeights,
) -> Result<Vec<f64>> {
    let pair = Pair::new(graph, x, y)?;
    let weights = weights.of(graph);
    let (n, p) = (graph.n_nodes(), pair.x.squares.len());
    let lags = [&pair.x, &pair.y].map(|z| RowSums::new(&weights, z).lags);
    let products = pair.x.sum_over_nodes(|node, _, sum| {
        let [x, y] = [0, 1].map(|which| &lags[which][node * (p + 1)..][..p]);
        for (sum, (x, y)) in sum.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    });
    let squares: f64 = weights.leaving().iter().map(|sum| sum * sum).sum();
    Ok(pair.per_column(|f| n as f64 / squares * products[f] / pair.norm(f)))
}

/// Two matrices of features, centered.
struct Pair {
    x: Centered,
    y: Centered,
}

/// What x adds at every node of y.
struct Arriving {
    /// `[n, p]`.
    lags: Vec<f64>,
    statistic: Vec<f64>,
    /// The sums of the weights and of their squares.
    total: f64,
    norm: f64,
}

impl Pair {
    fn new(graph: &CsrGraph, x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>) -> Result<Self> {
        ShapeError::check_len("columns of the second features", x.ncols(), y.ncols())?;
        Ok(Self {
            x: Centered::new(graph, x)?,
            y: Centered::new(graph, y)?,
        })
    }

    fn norm(&self, f: usize) -> f64 {
        (self.x.squares[f] * self.y.squares[f]).sqrt()
    }

    fn per_column(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        let defined = |f: usize| self.x.varies[f] && self.y.varies[f];
        let or_nan = |f| if defined(f) { value(f) } else { f64::NAN };
        (0..self.x.squares.len()).map(or_nan).collect()
    }

    fn arriving(&self, graph: &CsrGraph, weights: &SpatialWeights) -> Arriving {
        let weights = weights.of(graph);
        let (n, p) = (graph.n_nodes(), self.x.squares.len());
        let mut lags = vec![0.0; n * p];
        for node in 0..n {
            for (other, weight) in weights.row(node) {
                let lag = lags[other * p..].iter_mut();
                for (lag, x) in lag.zip(&self.x.z[node * p..][..p]) {
                    *lag += weight * x;
                }
            }
        }
        let products = self.y.sum_over_nodes(|node, y, sum| {
            let pairs = lags[node * p..].iter().zip(&y[node * p..]);
            for (sum, (lag, y)) in sum.iter_mut().zip(pairs) {
                *sum += lag * y;
            }
        });
        let total = weights.total();
        let statistic = self.per_column(|f| n as f64 / total * products[f] / self.norm(f));
        Arriving {
            lags,
            statistic,
            total,
            norm: weights.squares(),
        }
    }
}
