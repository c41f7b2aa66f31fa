//! Whether an autocorrelation can be chance.

use ndarray::ArrayView2;
use phenocoder_core::CsrGraph;
use serde::{Deserialize, Serialize};

use super::{SpatialWeights, geary_c, moran_i};
use crate::error::Result;
use crate::reduce::sum_nodes;

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

/// A statistic of autocorrelation with its distribution under independence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Autocorrelation {
    /// The statistic of every column.
    pub statistic: Vec<f64>,
    /// The value expected of independent values.
    pub expected: f64,
    /// The variance of the statistic for normally distributed, independent values.
    pub variance: f64,
    /// How many standard deviations every statistic is away from what is expected.
    pub z: Vec<f64>,
    /// The probability of a value at least as far away.
    pub p_value: Vec<f64>,
}

/// Computes [`moran_i`] with its p-values under the assumption of normality (Cliff and Ord 1981, chapter 2).
///
/// Expected −1/(n − 1), variance (n² S₁ − n S₂ + 3 S₀²) / ((n − 1)(n + 1) S₀²) − 1/(n − 1)².
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::autocorrelation::{SpatialWeights, Tail, moran_test};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[0.0], [0.0], [1.0], [1.0]];
/// let test = moran_test(&graph, x.view(), &SpatialWeights::default(), Tail::One)?;
/// assert_eq!(test.expected, -1.0 / 3.0);
/// assert!(test.p_value[0] < 0.1);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`moran_i`].
pub fn moran_test(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    weights: &SpatialWeights,
    tail: Tail,
) -> Result<Autocorrelation> {
    let n = graph.n_nodes() as f64;
    let [s0, s1, s2] = weight_sums(graph, weights);
    let expected = -1.0 / (n - 1.0);
    let variance = (n * n * s1 - n * s2 + 3.0 * s0 * s0) / ((n - 1.0) * (n + 1.0) * s0 * s0)
        - expected * expected;
    let statistic = moran_i(graph, x, weights)?;
    Ok(test(statistic, expected, variance, tail))
}

/// Computes [`geary_c`] with its p-values under the assumption of normality (Cliff and Ord 1981, chapter 2).
///
/// Expected 1, variance ((2 S₁ + S₂)(n − 1) − 4 S₀²) / (2 (n + 1) S₀²).
///
/// # Errors
///
/// As [`geary_c`].
pub fn geary_test(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    weights: &SpatialWeights,
    tail: Tail,
) -> Result<Autocorrelation> {
    let n = graph.n_nodes() as f64;
    let [s0, s1, s2] = weight_sums(graph, weights);
    let variance = ((2.0 * s1 + s2) * (n - 1.0) - 4.0 * s0 * s0) / (2.0 * (n + 1.0) * s0 * s0);
    let statistic = geary_c(graph, x, weights)?;
    Ok(test(statistic, 1.0, variance, tail))
}

fn test(statistic: Vec<f64>, expected: f64, variance: f64, tail: Tail) -> Autocorrelation {
    let z: Vec<f64> = statistic
        .iter()
        .map(|s| (s - expected) / variance.sqrt())
        .collect();
    let sides = match tail {
        Tail::One => 1.0,
        Tail::Two => 2.0,
    };
    // The upper tail of the normal distribution, without cancellation.
    let upper = |z: &f64| 0.5 * libm::erfc(z.abs() * std::f64::consts::FRAC_1_SQRT_2);
    let p_value = z.iter().map(|z| sides * upper(z)).collect();
    Autocorrelation {
        statistic,
        expected,
        variance,
        z,
        p_value,
    }
}

/// S₀ = Σ g, S₁ = ½ Σ (gᵢⱼ + gⱼᵢ)² and S₂ = Σᵢ (Σⱼ gᵢⱼ + Σⱼ gⱼᵢ)².
fn weight_sums(graph: &CsrGraph, weights: &SpatialWeights) -> [f64; 3] {
    let n = graph.n_nodes();
    let scale = weights.row_scales(graph);
    let s1 = sum_nodes(n, |i| {
        let pair = |&j: &u32| {
            let back = graph
                .neighbors(j as usize)
                .binary_search(&(i as u32))
                .is_ok();
            if back {
                (scale[i] + scale[j as usize]).powi(2)
            } else {
                // The missing direction adds the same square once more.
                2.0 * scale[i] * scale[i]
            }
        };
        0.5 * graph.neighbors(i).iter().map(pair).sum::<f64>()
    });
    let mut arriving = vec![0.0; n];
    for (i, scale) in scale.iter().enumerate() {
        for &j in graph.neighbors(i) {
            arriving[j as usize] += scale;
        }
    }
    let s2 = sum_nodes(n, |i| {
        (graph.degree(i) as f64 * scale[i] + arriving[i]).powi(2)
    });
    [weights.total(graph, &scale), s1, s2]
}

/// Adjusts p-values so that the expected fraction of false discoveries is controlled (Benjamini and Hochberg 1995,
/// doi:10.1111/j.2517-6161.1995.tb02031.x).
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
