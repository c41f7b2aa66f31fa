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
    Ok(pair.tested(pair.arriving(graph, &config.weights), config))
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
    pair.permuted(pair.arriving(graph, &config.weights), config, progress)
}

/// Computes the bivariate Geary's C of every column of `x` with the same column of `y`.
///
/// C = (n − 1) · Σᵢⱼ gᵢⱼ (xᵢ − xⱼ)(yᵢ − yⱼ) / (2 S₀ √(Σ uᵢ² Σ vᵢ²)), with the terms of [`bivariate_moran`]: whether x and y
/// change together from a cell to its neighbors.
/// It is positive where both change in the same direction, negative where one falls as the other rises, and symmetric in x and
/// y.
/// With y = x it is [`geary_c`](super::geary_c); where whole cells are arranged by chance, each with its x and y, it is the
/// correlation of x and y on average.
///
/// This is the cross-variogram of geostatistics (Wackernagel 2003, doi:10.1007/978-3-662-05294-5), in units of the covariance as
/// Wartenberg (1985, doi:10.1111/j.1538-4632.1985.tb00849.x) has it of Moran's I.
/// The multivariate Geary of Anselin (2019, doi:10.1111/gean.12164) is another one, the sum of those of each feature alone, and
/// so is the mean of (xᵢ − yⱼ)², which compares two features that are of one unit.
///
/// The moments are those of all permutations of y over the cells while x stays, as for [`bivariate_moran`]:
/// C is a sum over cells of vⱼ bⱼ with bⱼ = Σᵢ (gᵢⱼ + gⱼᵢ)(xⱼ − xᵢ), so E = 0 and
/// Var = ((n − 1) / (2 S₀))² Σ b² / ((n − 1) Σ u²).
/// That x and y of one cell are correlated is therefore part of what is tested, a large part of it here: with y = x these are
/// not the moments of [`geary_test`](super::geary_test).
/// [`TestConfig::assumption`] makes no difference.
/// NaN where [`bivariate_moran`] has NaN.
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
/// use phenocoder_spatial::autocorrelation::{TestConfig, bivariate_geary};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[0.0], [1.0], [0.0], [1.0]];
/// let y = array![[1.0], [0.0], [1.0], [0.0]];
/// // Wherever x rises, y falls.
/// let found = bivariate_geary(&graph, x.view(), y.view(), &TestConfig::new())?;
/// assert_eq!(found.statistic, [-1.5]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`bivariate_moran`].
pub fn bivariate_geary(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    config: &TestConfig,
) -> Result<Autocorrelation> {
    let pair = Pair::new(graph, x, y)?;
    Ok(pair.tested(pair.differing(graph, &config.weights), config))
}

/// Computes the statistic of [`bivariate_geary`] beside that of permutations of y over the cells while x stays.
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
/// use phenocoder_spatial::autocorrelation::{PermutationConfig, bivariate_geary_permuted};
/// use phenocoder_spatial::radius_graph;
///
/// let points = Array2::from_shape_fn((20, 1), |(i, _)| i as f64);
/// let graph = radius_graph(points.view(), 1.0)?;
/// let x = Array2::from_shape_fn((20, 1), |(i, _)| (i % 2) as f64);
/// let config = PermutationConfig::new(99);
/// let found = bivariate_geary_permuted(&graph, x.view(), x.view(), &config, &NoProgress)?;
/// assert!(found.statistic[0] > 1.8);
/// assert_eq!(found.p_value, [0.01]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`bivariate_moran_permuted`].
pub fn bivariate_geary_permuted(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    config: &PermutationConfig,
    progress: &dyn Progress,
) -> Result<PermutedAutocorrelation> {
    config.validate()?;
    let pair = Pair::new(graph, x, y)?;
    pair.permuted(pair.differing(graph, &config.weights), config, progress)
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

/// What x adds at every node of y: the statistic is `factor` times the sum of its products with y, over [`Pair::norm`].
struct Arriving {
    /// `[n, p]`.
    lags: Vec<f64>,
    statistic: Vec<f64>,
    factor: f64,
    /// The sum of squares of what x is multiplied by, at most.
    squares: f64,
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
            factor: n as f64 / total,
            squares: weights.squares(),
        }
    }

    fn differing(&self, graph: &CsrGraph, weights: &SpatialWeights) -> Arriving {
        let weights = weights.of(graph);
        let (n, p) = (graph.n_nodes(), self.x.squares.len());
        let mut lags = vec![0.0; n * p];
        for node in 0..n {
            for (other, weight) in weights.row(node) {
                for f in 0..p {
                    let term = weight * (self.x.z[node * p + f] - self.x.z[other * p + f]);
                    lags[node * p + f] += term;
                    lags[other * p + f] -= term;
                }
            }
        }
        let products = self.x.sum_over_nodes(|node, x, sum| {
            let y = &self.y.z;
            for (other, weight) in weights.row(node) {
                for (f, sum) in sum.iter_mut().enumerate() {
                    let (here, there) = (node * p + f, other * p + f);
                    *sum += weight * (x[here] - x[there]) * (y[here] - y[there]);
                }
            }
        });
        let (less, total) = (n as f64 - 1.0, weights.total());
        let statistic = self.per_column(|f| less * products[f] / (2.0 * total * self.norm(f)));
        let ends = weights.leaving().into_iter().zip(weights.arriving());
        let diagonal: f64 = ends.map(|(out, back)| (out + back).powi(2)).sum();
        Arriving {
            lags,
            statistic,
            factor: less / (2.0 * total),
            squares: diagonal + 4.0 * weights.squares(),
        }
    }

    /// Beside the moments of all permutations of y.
    fn tested(&self, found: Arriving, config: &TestConfig) -> Autocorrelation {
        let p = found.statistic.len();
        let moments = |f: usize| {
            let column = || found.lags.iter().skip(f).step_by(p);
            let n = column().len() as f64;
            let mean = column().sum::<f64>() / n;
            let spread: f64 = column().map(|lag| (lag - mean).powi(2)).sum();
            let spread = spread_of_lags(spread, found.squares * self.x.squares[f]);
            let variance = found.factor.powi(2) * spread / ((n - 1.0) * self.x.squares[f]);
            (0.0, variance)
        };
        Autocorrelation::new(found.statistic.clone(), moments, config.tail)
    }

    /// Beside some permutations of y.
    fn permuted(
        &self,
        found: Arriving,
        config: &PermutationConfig,
        progress: &dyn Progress,
    ) -> Result<PermutedAutocorrelation> {
        let p = found.statistic.len();
        let simulation = Simulation {
            z: &self.y.z,
            factors: (0..p).map(|f| found.factor / self.norm(f)).collect(),
            config,
            progress,
        };
        let drawn = simulation.of(&Products::new(&found.lags, p))?;
        Ok(simulation.compare(found.statistic, &drawn))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::{NoProgress, Seed};
    use proptest::prelude::*;

    use super::super::{Normalization, geary_c};
    use super::*;
    use crate::interactions::EdgeWeight;
    use crate::neighbors::knn_graph;

    const WEIGHTS: [(EdgeWeight, Normalization); 4] = [
        (EdgeWeight::One, Normalization::None),
        (EdgeWeight::One, Normalization::Row),
        (EdgeWeight::Value, Normalization::None),
        (EdgeWeight::Value, Normalization::Row),
    ];

    /// By its definition, from a full matrix of weights.
    fn one_by_one(
        graph: &CsrGraph,
        x: &[f64],
        y: &[f64],
        (edges, rows): (EdgeWeight, Normalization),
    ) -> f64 {
        let n = graph.n_nodes();
        let mut g = Array2::<f64>::zeros((n, n));
        for i in 0..n {
            for (j, value) in graph.row(i) {
                g[[i, j]] = if edges == EdgeWeight::One { 1.0 } else { value };
            }
            let sum: f64 = g.row(i).iter().map(|g| g.abs()).sum();
            if rows == Normalization::Row && sum > 0.0 {
                g.row_mut(i).mapv_inplace(|g| g / sum);
            }
        }
        let squares = |x: &[f64]| -> f64 {
            let mean = x.iter().sum::<f64>() / n as f64;
            x.iter().map(|x| (x - mean).powi(2)).sum()
        };
        let terms = g
            .indexed_iter()
            .map(|((i, j), g)| g * (x[i] - x[j]) * (y[i] - y[j]));
        let norm = (squares(x) * squares(y)).sqrt();
        (n as f64 - 1.0) * terms.sum::<f64>() / (2.0 * g.sum() * norm)
    }

    fn random(n: usize, seed: u64) -> (CsrGraph, Array2<f64>, Array2<f64>) {
        let mut stream = Seed::new(seed).stream("points", 0);
        let points = Array2::from_shape_simple_fn((n, 2), || stream.uniform());
        let graph = knn_graph(points.view(), 3).unwrap();
        let y = Array2::from_shape_simple_fn((n, 2), || stream.normal());
        (graph, points, y)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn bivariate_geary_is_what_it_is_defined_as(seed in 0_u64..1000, n in 5_usize..40) {
            let (graph, x, y) = random(n, seed);
            for (edges, normalization) in WEIGHTS {
                let weights = SpatialWeights::default()
                    .with_edges(edges)
                    .with_normalization(normalization);
                let config = TestConfig::new().with_weights(weights);
                let found = bivariate_geary(&graph, x.view(), y.view(), &config).unwrap();
                let turned = bivariate_geary(&graph, y.view(), x.view(), &config).unwrap();
                for f in 0..2 {
                    let [x, y] = [&x, &y].map(|x| x.column(f).to_vec());
                    let expected = one_by_one(&graph, &x, &y, (edges, normalization));
                    prop_assert!((found.statistic[f] - expected).abs() < 1e-12);
                    prop_assert!((turned.statistic[f] - expected).abs() < 1e-12);
                }
                // Of a feature with itself it is Geary's C.
                let alone = bivariate_geary(&graph, x.view(), x.view(), &config).unwrap();
                prop_assert_eq!(alone.statistic, geary_c(&graph, x.view(), &weights).unwrap());
            }
        }
    }

    #[test]
    fn the_moments_of_bivariate_geary_are_those_of_all_permutations_one_by_one() {
        let (graph, x, y) = random(5, 3);
        let orders = (0..3125_usize).map(|i| [0, 1, 2, 3, 4].map(|d| i / 5_usize.pow(d) % 5));
        let orders: Vec<[usize; 5]> = orders.filter(|o| (0..5).all(|i| o.contains(&i))).collect();
        assert_eq!(orders.len(), 120);
        for (edges, normalization) in WEIGHTS {
            let weights = SpatialWeights::default()
                .with_edges(edges)
                .with_normalization(normalization);
            let config = TestConfig::new().with_weights(weights);
            let found = bivariate_geary(&graph, x.view(), y.view(), &config).unwrap();
            let drawn = PermutationConfig::new(4000).with_weights(weights);
            let drawn =
                bivariate_geary_permuted(&graph, x.view(), y.view(), &drawn, &NoProgress).unwrap();
            assert_eq!(drawn.statistic, found.statistic);
            for f in 0..2 {
                let x = x.column(f).to_vec();
                let values: Vec<f64> = orders
                    .iter()
                    .map(|order| {
                        let y = order.map(|i| y[[i, f]]);
                        one_by_one(&graph, &x, &y, (edges, normalization))
                    })
                    .collect();
                let mean = values.iter().sum::<f64>() / 120.0;
                let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 120.0;
                assert!(mean.abs() < 1e-12 && found.expected[f] == 0.0);
                assert!((found.variance[f] / variance - 1.0).abs() < 1e-12);
                assert!((drawn.variance[f] / variance - 1.0).abs() < 0.1);
                let reach = |above: bool| {
                    let statistic = found.statistic[f];
                    let far = |v: &&f64| match above {
                        true => **v >= statistic - 1e-9,
                        false => **v <= statistic + 1e-9,
                    };
                    values.iter().filter(far).count() as f64 / 120.0
                };
                let expected = reach(true).min(reach(false));
                assert!((drawn.p_value[f] - expected).abs() < 0.04);
            }
        }
    }

    #[test]
    fn bivariate_geary_of_what_does_not_vary_is_missing() {
        let (graph, x, _) = random(9, 1);
        let constant = Array2::from_elem((9, 2), 0.1);
        let found = bivariate_geary(&graph, x.view(), constant.view(), &TestConfig::new());
        assert!(found.unwrap().statistic.iter().all(|c| c.is_nan()));
        // x is the same in each of two pieces: neighbors never differ in it.
        let points = array![[0.0], [1.0], [5.0], [6.0]];
        let graph = crate::radius_graph(points.view(), 1.0).unwrap();
        let x = array![[0.1], [0.1], [0.7], [0.7]];
        let found = bivariate_geary(&graph, x.view(), points.view(), &TestConfig::new()).unwrap();
        assert_eq!((found.statistic[0], found.variance[0]), (0.0, 0.0));
        assert!(found.z[0].is_nan());
        let config = PermutationConfig::new(19);
        let found = bivariate_geary_permuted(&graph, x.view(), points.view(), &config, &NoProgress)
            .unwrap();
        assert!(found.z[0].is_nan() && found.p_value[0] == 1.0);
    }
}
