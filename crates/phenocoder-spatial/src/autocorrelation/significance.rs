//! Whether an autocorrelation can be chance.

use ndarray::ArrayView2;
use phenocoder_core::CsrGraph;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::weights::Weights;
use super::{Centered, SpatialWeights, geary_of, moran_of};
use crate::error::Result;

/// Which deviations from the expected value count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Tail {
    /// Those in the direction in which the statistic deviates, as squidpy does by default.
    #[default]
    One,
    /// Those in both directions: twice the p-value.
    Two,
}

impl Tail {
    /// The probability of a deviation of this many standard deviations.
    pub(super) fn of_normal(self, z: f64) -> f64 {
        // The upper tail of the normal distribution, without cancellation.
        self.sides() * 0.5 * libm::erfc(z.abs() * std::f64::consts::FRAC_1_SQRT_2)
    }

    /// The probability of a value as extreme as one that `above` of `n` random ones reach and `below` do not exceed.
    pub(super) fn of_counts(self, above: usize, below: usize, n: usize) -> f64 {
        (self.sides() * (above.min(below) + 1) as f64 / (n + 1) as f64).min(1.0)
    }

    fn sides(self) -> f64 {
        match self {
            Tail::One => 1.0,
            Tail::Two => 2.0,
        }
    }
}

/// What is taken for chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Assumption {
    /// The values are drawn independently from one normal distribution.
    #[default]
    Normality,
    /// The values are as they are, and every arrangement of them over the nodes is equally likely: the limit of
    /// [`Permuted::Values`](super::Permuted::Values) for infinitely many permutations.
    Randomization,
    /// The rows of the weights are permuted but not the columns, as squidpy does: the limit of
    /// [`Permuted::Rows`](super::Permuted::Rows).
    ///
    /// The mean of a node's neighbors is frozen, so a feature with clusters has a wider distribution than by chance.
    RowPermutation,
}

/// Settings of [`moran_test`], [`geary_test`], [`bivariate_moran`](super::bivariate_moran) and
/// [`bivariate_geary`](super::bivariate_geary).
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::autocorrelation::{Assumption, Tail, TestConfig};
///
/// let pysal = TestConfig::new().with_assumption(Assumption::Randomization).with_tail(Tail::Two);
/// assert_ne!(pysal, TestConfig::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TestConfig {
    /// The weights of the edges (default: those of every node sum to 1).
    pub weights: SpatialWeights,
    /// What is taken for chance (default: values drawn from a normal distribution, as squidpy does).
    pub assumption: Assumption,
    /// Which deviations count (default: those in the direction found, as squidpy does).
    #[doc(alias = "two_tailed")]
    pub tail: Tail,
}

impl TestConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weights.
    #[must_use]
    pub fn with_weights(mut self, weights: SpatialWeights) -> Self {
        self.weights = weights;
        self
    }

    /// Sets what is taken for chance.
    #[must_use]
    pub fn with_assumption(mut self, assumption: Assumption) -> Self {
        self.assumption = assumption;
        self
    }

    /// Sets which deviations count.
    #[must_use]
    pub fn with_tail(mut self, tail: Tail) -> Self {
        self.tail = tail;
        self
    }
}

/// A statistic of autocorrelation with its distribution under independence.
///
/// # Shapes
///
/// One entry per column.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Autocorrelation {
    /// The statistic.
    pub statistic: Vec<f64>,
    /// The value expected by chance.
    pub expected: Vec<f64>,
    /// Its variance by chance.
    pub variance: Vec<f64>,
    /// How many standard deviations the statistic is away from what is expected; NaN where it cannot vary, as in a graph that
    /// links all with all.
    pub z: Vec<f64>,
    /// The probability of a value at least as far away, by the normal distribution.
    pub p_value: Vec<f64>,
}

impl Autocorrelation {
    /// Compares the statistics with their moments.
    pub(super) fn new(
        statistic: Vec<f64>,
        moments: impl Fn(usize) -> (f64, f64),
        tail: Tail,
    ) -> Self {
        // Of a single node: 1 / 0.
        let finite = |value: f64| if value.is_finite() { value } else { f64::NAN };
        let (expected, variance): (Vec<f64>, Vec<f64>) = (0..statistic.len())
            .map(moments)
            .map(|(expected, variance)| (finite(expected), finite(variance)))
            .unzip();
        let z: Vec<f64> = statistic
            .iter()
            .zip(expected.iter().zip(&variance))
            .map(|(s, (expected, variance))| score(*s, *expected, *variance))
            .collect();
        let p_value = z.iter().map(|&z| tail.of_normal(z)).collect();
        Self {
            statistic,
            expected,
            variance,
            z,
            p_value,
        }
    }
}

/// Computes [`moran_i`](super::moran_i) with its p-values by the moments of an [`Assumption`] (Cliff and Ord 1981, chapter 2).
///
/// With S₀ = Σ g, S₁ = ½ Σ (gᵢⱼ + gⱼᵢ)², S₂ = Σᵢ (Σⱼ gᵢⱼ + Σⱼ gⱼᵢ)² and b₂ = n Σ z⁴ / (Σ z²)²:
///
/// * normality: E = −1/(n − 1), Var = (n² S₁ − n S₂ + 3 S₀²) / ((n − 1)(n + 1) S₀²) − E²;
/// * randomization: E as before, Var = (n ((n² − 3n + 3) S₁ − n S₂ + 3 S₀²) − b₂ ((n² − n) S₁ − 2n S₂ + 6 S₀²)) /
///   ((n − 1)(n − 2)(n − 3) S₀²) − E², NaN for n < 4;
/// * row permutation: E = 0, Var = (n / (S₀ Σ z²))² Σ z² Σ (l − l̄)² / (n − 1) with the lags l = Σⱼ gᵢⱼ zⱼ.
///
/// The first two hold for graphs without loops.
/// The cost is O(edges · p).
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes; results: p.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::autocorrelation::{TestConfig, moran_test};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[0.0], [0.0], [1.0], [1.0]];
/// let test = moran_test(&graph, x.view(), &TestConfig::new())?;
/// assert_eq!(test.expected, [-1.0 / 3.0]);
/// assert!(test.p_value[0] < 0.1);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`moran_i`](super::moran_i).
pub fn moran_test(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    config: &TestConfig,
) -> Result<Autocorrelation> {
    let z = Centered::new(graph, x)?;
    let weights = config.weights.of(graph);
    let statistic = moran_of(&z, &weights);
    let n = graph.n_nodes() as f64;
    let expected = -1.0 / (n - 1.0);
    let moments: Vec<(f64, f64)> = match config.assumption {
        Assumption::Normality => {
            let [s0, s1, s2] = weights.sums();
            let square = (n * n * s1 - n * s2 + 3.0 * s0 * s0) / ((n - 1.0) * (n + 1.0) * s0 * s0);
            let variance = beyond_rounding(square - expected * expected, square);
            vec![(expected, variance); statistic.len()]
        }
        Assumption::Randomization => {
            let [s0, s1, s2] = weights.sums();
            let moments = |b2: f64| {
                let a = n * ((n * n - 3.0 * n + 3.0) * s1 - n * s2 + 3.0 * s0 * s0);
                let b = b2 * ((n * n - n) * s1 - 2.0 * n * s2 + 6.0 * s0 * s0);
                let square = (a - b) / ((n - 1.0) * (n - 2.0) * (n - 3.0) * s0 * s0);
                let variance = beyond_rounding(square - expected * expected, square);
                (expected, four_or_more(n, variance))
            };
            z.kurtosis().into_iter().map(moments).collect()
        }
        Assumption::RowPermutation => {
            let total = weights.total();
            let rows = RowSums::new(&weights, &z);
            let norm = weights.squares();
            let moments = |f: usize| {
                let spread = spread_of_lags(rows.spread(f, f), norm * z.squares[f]);
                let variance = z.squares[f] * spread / (n - 1.0);
                (0.0, (n / (total * z.squares[f])).powi(2) * variance)
            };
            (0..statistic.len()).map(moments).collect()
        }
    };
    Ok(Autocorrelation::new(statistic, |f| moments[f], config.tail))
}

/// Computes [`geary_c`](super::geary_c) with its p-values by the moments of an [`Assumption`] (Cliff and Ord 1981, chapter 2).
///
/// With the terms of [`moran_test`]:
///
/// * normality: E = 1, Var = ((2 S₁ + S₂)(n − 1) − 4 S₀²) / (2 (n + 1) S₀²);
/// * randomization: E = 1, Var = ((n − 1) S₁ (n² − 3n + 3 − (n − 1) b₂) − ¼ (n − 1) S₂ (n² + 3n − 6 − (n² − n + 2) b₂) +
///   S₀² (n² − 3 − (n − 1)² b₂)) / (n (n − 2)(n − 3) S₀²), NaN for n < 4;
/// * row permutation: the exact moments of Σᵢ (zᵢ² rₚ − 2 zᵢ lₚ) over permutations p, with the sums r and lags l of the rows.
///
/// The first two hold for graphs without loops.
/// The cost is O(edges · p).
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes; results: p.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::autocorrelation::{Assumption, TestConfig, geary_test};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0], [4.0]].view(), 1.0)?;
/// let x = array![[0.0], [0.1], [0.9], [1.0], [1.0]];
/// let config = TestConfig::new().with_assumption(Assumption::Randomization);
/// let test = geary_test(&graph, x.view(), &config)?;
/// assert!(test.statistic[0] < 1.0 && test.z[0] < -1.0);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`geary_c`](super::geary_c).
pub fn geary_test(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    config: &TestConfig,
) -> Result<Autocorrelation> {
    let z = Centered::new(graph, x)?;
    let weights = config.weights.of(graph);
    let statistic = geary_of(&z, &weights);
    let n = graph.n_nodes() as f64;
    let moments: Vec<(f64, f64)> = match config.assumption {
        Assumption::Normality => {
            let [s0, s1, s2] = weights.sums();
            let variance =
                ((2.0 * s1 + s2) * (n - 1.0) - 4.0 * s0 * s0) / (2.0 * (n + 1.0) * s0 * s0);
            let variance = beyond_rounding(variance, 2.0 / (n + 1.0));
            vec![(1.0, variance); statistic.len()]
        }
        Assumption::Randomization => {
            let [s0, s1, s2] = weights.sums();
            let moments = |b2: f64| {
                let a = (n - 1.0) * s1 * (n * n - 3.0 * n + 3.0 - (n - 1.0) * b2);
                let b = 0.25 * (n - 1.0) * s2 * (n * n + 3.0 * n - 6.0 - (n * n - n + 2.0) * b2);
                let c = s0 * s0 * (n * n - 3.0 - (n - 1.0).powi(2) * b2);
                let variance = (a - b + c) / (n * (n - 2.0) * (n - 3.0) * s0 * s0);
                let terms = (a.abs() + b.abs() + c.abs()) / (n * (n - 2.0) * (n - 3.0) * s0 * s0);
                let variance = beyond_rounding(variance, terms);
                (1.0, four_or_more(n, variance))
            };
            z.kurtosis().into_iter().map(moments).collect()
        }
        Assumption::RowPermutation => {
            let total = weights.total();
            let rows = RowSums::new(&weights, &z);
            let norm = weights.squares();
            let p = statistic.len();
            // Squares of z less their mean, beside z.
            let products = z.sum_over_nodes_of(2, |node, z, sum| {
                for f in 0..p {
                    let square = z[node * p + f].powi(2);
                    sum[2 * f] += square * square;
                    sum[2 * f + 1] += square * z[node * p + f];
                }
            });
            let moments = |f: usize| {
                let squares = z.squares[f];
                let mean = total * squares / n + rows.squares[f];
                let fourth = products[2 * f] - squares * squares / n;
                let of_sums = spread_of_lags(rows.spread(p, p), norm * n);
                let of_lags = spread_of_lags(rows.spread(f, f), norm * squares);
                let together = match of_sums == 0.0 || of_lags == 0.0 {
                    true => 0.0,
                    false => rows.spread(p, f),
                };
                let spread = fourth * of_sums - 4.0 * products[2 * f + 1] * together
                    + 4.0 * squares * of_lags;
                let factor = (n - 1.0) / (2.0 * total * squares);
                (factor * mean, factor * factor * spread / (n - 1.0))
            };
            (0..p).map(moments).collect()
        }
    };
    Ok(Autocorrelation::new(statistic, |f| moments[f], config.tail))
}

/// A variance that is a difference of larger terms, 0 where rounding may be all of it.
pub(super) fn beyond_rounding(variance: f64, terms: f64) -> f64 {
    if variance.abs() <= 1e-13 * terms {
        0.0
    } else {
        variance
    }
}

/// The sum of squares about their mean of what weights make of a column, 0 where rounding may be all of it; `most` is the
/// sum of squares of the weights times that of the column, and no lags have a larger one (Cauchy and Schwarz).
pub(super) fn spread_of_lags(spread: f64, most: f64) -> f64 {
    if spread.sqrt() <= 1e-13 * most.sqrt() {
        0.0
    } else {
        spread
    }
}

/// How many standard deviations a value is away from what is expected; NaN for what cannot vary, or more than numbers can.
pub(super) fn score(value: f64, expected: f64, variance: f64) -> f64 {
    if variance > 0.0 && variance.is_finite() {
        (value - expected) / variance.sqrt()
    } else {
        f64::NAN
    }
}

/// The fourth moments of arrangements are those of four different nodes.
fn four_or_more(n: f64, variance: f64) -> f64 {
    if n < 4.0 { f64::NAN } else { variance }
}

/// What the weights make of the columns in every row, and in an additional last column the sum of the weights.
pub(super) struct RowSums {
    /// `[n, p + 1]`.
    pub(super) lags: Vec<f64>,
    /// Σᵢⱼ gᵢⱼ zⱼ² of every column.
    pub(super) squares: Vec<f64>,
    /// Sums of products of the columns of `lags` less their means: with itself, and with the last column.
    spreads: Vec<[f64; 2]>,
}

impl RowSums {
    pub(super) fn new(weights: &Weights<'_>, z: &Centered) -> Self {
        let (n, p) = (weights.n_nodes(), z.squares.len());
        let mut lags = vec![0.0; n * (p + 1)];
        lags.par_chunks_mut(p + 1)
            .enumerate()
            .with_min_len(256)
            .for_each(|(node, lags)| {
                for (other, weight) in weights.row(node) {
                    for (lag, z) in lags.iter_mut().zip(&z.z[other * p..][..p]) {
                        *lag += weight * z;
                    }
                    lags[p] += weight;
                }
            });
        let arriving = weights.arriving();
        let squares = z.sum_over_nodes(|node, z, sum| {
            for (sum, z) in sum.iter_mut().zip(&z[node * p..]) {
                *sum += arriving[node] * z * z;
            }
        });
        let column = |f: usize| lags.iter().skip(f).step_by(p + 1);
        let means: Vec<f64> = (0..=p).map(|f| column(f).sum::<f64>() / n as f64).collect();
        let spread = |f: usize| {
            let pairs = column(f).zip(column(p));
            let mut sums = [0.0; 2];
            for (lag, sum) in pairs {
                let difference = lag - means[f];
                sums[0] += difference * difference;
                sums[1] += difference * (sum - means[p]);
            }
            sums
        };
        let spreads = (0..=p).map(spread).collect();
        Self {
            lags,
            squares,
            spreads,
        }
    }

    /// Of two columns that are the same, or of which one is the last.
    fn spread(&self, a: usize, b: usize) -> f64 {
        if a == b {
            self.spreads[a][0]
        } else {
            self.spreads[a.min(b)][1]
        }
    }
}

/// Adjusts p-values so that the expected fraction of false discoveries is controlled (Benjamini and Hochberg 1995,
/// doi:10.1111/j.2517-6161.1995.tb02031.x).
///
/// The adjusted value of the i-th smallest of m p-values is the least p₍ⱼ₎ m / j of all j ≥ i, at most 1: the least rate at which
/// it is a discovery.
/// The cost is O(m log m).
///
/// # Shapes
///
/// As many values as p-values, in their order.
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::autocorrelation::adjust_fdr;
///
/// let adjusted = adjust_fdr(&[0.01, f64::NAN, 0.5, 0.02]);
/// assert_eq!(adjusted[..1], [0.03]);
/// assert!(adjusted[1].is_nan());
/// assert_eq!(adjusted[2..], [0.5, 0.03]);
/// ```
///
/// # Differences from squidpy
///
/// A NaN stays NaN and is not counted; squidpy makes all values NaN.
#[doc(alias = "fdr_bh")]
#[must_use]
pub fn adjust_fdr(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len())
        .filter(|&i| !p_values[i].is_nan())
        .collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let m = order.len() as f64;
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut least = 1.0_f64;
    for (rank, &i) in order.iter().enumerate().rev() {
        least = least.min(p_values[i] * m / (rank + 1) as f64);
        adjusted[i] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};

    use super::super::{Normalization, geary_c, moran_i};
    use super::*;
    use crate::interactions::EdgeWeight;

    fn orders(n: usize) -> Vec<Vec<usize>> {
        let Some(last) = n.checked_sub(1) else {
            return vec![Vec::new()];
        };
        let with_last = |order: Vec<usize>| {
            (0..n).map(move |place| {
                let mut order = order.clone();
                order.insert(place, last);
                order
            })
        };
        orders(last).into_iter().flat_map(with_last).collect()
    }

    #[test]
    fn moments_of_arrangements_are_those_of_all_of_them_one_by_one() {
        // Rows of different sums, one of them without edges.
        let rows: [&[(u32, f64)]; 5] = [
            &[(1, 2.0), (3, 0.5)],
            &[(0, 1.0), (2, 3.0), (4, 0.25)],
            &[(1, 1.5)],
            &[],
            &[(2, 0.75), (3, 2.0)],
        ];
        let of_rows = |order: &[usize]| {
            let mut parts = (vec![0], Vec::new(), Vec::new());
            for &row in order {
                parts.1.extend(rows[row].iter().map(|edge| edge.0));
                parts.2.extend(rows[row].iter().map(|edge| edge.1));
                parts.0.push(parts.1.len());
            }
            CsrGraph::new(parts.0, parts.1, parts.2).unwrap()
        };
        let graph = of_rows(&[0, 1, 2, 3, 4]);
        let x = array![[0.3], [1.9], [-0.4], [0.8], [5.0]];
        for (edges, normalization) in [
            (EdgeWeight::One, Normalization::None),
            (EdgeWeight::One, Normalization::Row),
            (EdgeWeight::Value, Normalization::None),
            (EdgeWeight::Value, Normalization::Row),
        ] {
            let weights = SpatialWeights::default()
                .with_edges(edges)
                .with_normalization(normalization);
            for assumption in [Assumption::Randomization, Assumption::RowPermutation] {
                let config = TestConfig::new()
                    .with_weights(weights)
                    .with_assumption(assumption);
                let arranged = orders(5).into_iter().map(|order| match assumption {
                    Assumption::RowPermutation => (of_rows(&order), x.clone()),
                    _ => (graph.clone(), x.select(Axis(0), &order)),
                });
                let values: Vec<[f64; 2]> = arranged
                    .map(|(graph, x)| {
                        let moran = moran_i(&graph, x.view(), &weights).unwrap();
                        [moran[0], geary_c(&graph, x.view(), &weights).unwrap()[0]]
                    })
                    .collect();
                let n = values.len() as f64;
                let moran = moran_test(&graph, x.view(), &config).unwrap();
                let geary = geary_test(&graph, x.view(), &config).unwrap();
                for (i, found) in [moran, geary].into_iter().enumerate() {
                    let mean = values.iter().map(|value| value[i]).sum::<f64>() / n;
                    let squares = values.iter().map(|value| (value[i] - mean).powi(2));
                    let variance = squares.sum::<f64>() / n;
                    let case = format!("{edges:?} {normalization:?} {assumption:?} {i}");
                    assert!((found.expected[0] - mean).abs() < 1e-12, "{case}: {mean}");
                    assert!(
                        (found.variance[0] - variance).abs() < 1e-12,
                        "{case}: {variance} {found:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn z_does_not_depend_on_the_unit_of_the_weights() {
        let points = array![[0.0], [1.0], [2.5], [3.0], [4.5]];
        let graph = crate::radius_graph(points.view(), 1.5).unwrap();
        let x = array![[0.3], [1.9], [-0.4], [0.8], [5.0]];
        let weights = SpatialWeights::default()
            .with_edges(EdgeWeight::Value)
            .with_normalization(Normalization::None);
        let config = TestConfig::new()
            .with_weights(weights)
            .with_assumption(Assumption::RowPermutation);
        let run = |unit: f64| {
            let values = graph.values().iter().map(|value| value * unit).collect();
            let graph = graph.clone().with_values(values).unwrap();
            let moran = moran_test(&graph, x.view(), &config).unwrap();
            [moran.z, geary_test(&graph, x.view(), &config).unwrap().z].concat()
        };
        let found = run(1.0);
        assert!(found.iter().all(|z| z.is_finite()), "{found:?}");
        for power in [-70, 70] {
            assert_eq!(run(2.0_f64.powi(power)), found, "{power}");
        }
    }
}
