//! Autocorrelation beside that of random arrangements.

use ndarray::ArrayView2;
use phenocoder_core::{CsrGraph, Progress, Seed};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::significance::{RowSums, beyond_rounding, score};
use super::weights::Weights;
use super::{Centered, SpatialWeights, Tail, geary_of, moran_of};
use crate::error::{ConfigError, Result};

/// What is permuted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Permuted {
    /// The values over the nodes, as PySAL does.
    #[default]
    Values,
    /// The rows of the weights but not their columns, as squidpy does.
    ///
    /// The mean of a node's neighbors is frozen: Moran's I then has mean 0 instead of −1/(n − 1), and a feature with clusters
    /// has a wider distribution than by chance, so p-values are too large.
    Rows,
}

/// Settings of [`moran_permuted`], [`geary_permuted`], [`bivariate_moran_permuted`](super::bivariate_moran_permuted) and
/// [`bivariate_geary_permuted`](super::bivariate_geary_permuted).
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::autocorrelation::{Permuted, PermutationConfig};
///
/// let squidpy = PermutationConfig::new(100).with_permuted(Permuted::Rows);
/// assert!(squidpy.validate().is_ok());
/// assert!(PermutationConfig::new(0).validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PermutationConfig {
    /// The weights of the edges (default: those of every node sum to 1).
    pub weights: SpatialWeights,
    /// The number of permutations (default 999).
    #[doc(alias = "n_perms")]
    pub permutations: usize,
    /// What is permuted (default: the values).
    pub permuted: Permuted,
    /// Which deviations count (default: those in the direction found, as PySAL and squidpy do).
    #[doc(alias = "two_tailed")]
    pub tail: Tail,
    /// The seed of the permutations (default 0).
    pub seed: Seed,
}

impl Default for PermutationConfig {
    fn default() -> Self {
        Self::new(999)
    }
}

impl PermutationConfig {
    /// The default settings with this number of permutations.
    #[must_use]
    pub fn new(permutations: usize) -> Self {
        Self {
            weights: SpatialWeights::default(),
            permutations,
            permuted: Permuted::default(),
            tail: Tail::default(),
            seed: Seed::new(0),
        }
    }

    /// Sets the weights.
    #[must_use]
    pub fn with_weights(mut self, weights: SpatialWeights) -> Self {
        self.weights = weights;
        self
    }

    /// Sets what is permuted.
    #[must_use]
    pub fn with_permuted(mut self, permuted: Permuted) -> Self {
        self.permuted = permuted;
        self
    }

    /// Sets which deviations count.
    #[must_use]
    pub fn with_tail(mut self, tail: Tail) -> Self {
        self.tail = tail;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] for no permutations, [`ConfigError::TooMany`] for more than 32-bit numbers can count.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_repetitions("permutations", self.permutations)
    }
}

/// A statistic of autocorrelation with its distribution over permutations.
///
/// # Shapes
///
/// One entry per column.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PermutedAutocorrelation {
    /// The statistic.
    pub statistic: Vec<f64>,
    /// Its mean over the permutations.
    pub mean: Vec<f64>,
    /// Its variance over the permutations (divided by their number).
    #[doc(alias = "var_sim")]
    pub variance: Vec<f64>,
    /// (statistic − mean) / √variance; NaN where the statistic cannot vary.
    pub z: Vec<f64>,
    /// The probability of such a z, by the normal distribution.
    #[doc(alias = "pval_z_sim")]
    pub p_value_normal: Vec<f64>,
    /// (k + 1) / (permutations + 1), where k permutations are at least as extreme on the side on which there are fewer.
    #[doc(alias = "pval_sim")]
    pub p_value: Vec<f64>,
}

/// Computes [`moran_i`](super::moran_i) beside that of permutations.
///
/// Every permutation is the same for all columns and has a random stream of its own, so the number of threads does not change
/// a bit.
/// The cost is O(edges · p) per permutation, O(n · p) for [`Permuted::Rows`], in memory that does not grow with their number;
/// [`moran_test`](super::moran_test) has the moments of infinitely many permutations at the cost of one.
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes; results: p.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::autocorrelation::{PermutationConfig, moran_permuted};
/// use phenocoder_spatial::radius_graph;
///
/// let points = Array2::from_shape_fn((20, 1), |(i, _)| i as f64);
/// let graph = radius_graph(points.view(), 1.0)?;
/// let found = moran_permuted(&graph, points.view(), &PermutationConfig::new(99), &NoProgress)?;
/// // A gradient: none of 99 permutations is as smooth.
/// assert_eq!(found.p_value, [0.01]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`moran_i`](super::moran_i), those of [`PermutationConfig::validate`], and [`Error::Cancelled`](crate::Error::Cancelled) when
/// `progress` asks to stop.
///
/// # Differences from squidpy
///
/// Values are permuted, see [`Permuted::Rows`] for what squidpy does.
/// Permutations that equal the statistic up to rounding count as extreme on both sides; squidpy counts them above only.
#[doc(alias = "spatial_autocorr")]
pub fn moran_permuted(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    config: &PermutationConfig,
    progress: &dyn Progress,
) -> Result<PermutedAutocorrelation> {
    permuted(Statistic::Moran, graph, x, config, progress)
}

/// Computes [`geary_c`](super::geary_c) beside that of permutations; otherwise as [`moran_permuted`].
/// The cost is that of [`moran_permuted`].
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes; results: p.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::autocorrelation::{PermutationConfig, Permuted, geary_permuted};
/// use phenocoder_spatial::radius_graph;
///
/// let points = Array2::from_shape_fn((20, 1), |(i, _)| i as f64);
/// let graph = radius_graph(points.view(), 1.0)?;
/// // As squidpy does it, with 100 permutations.
/// let config = PermutationConfig::new(100).with_permuted(Permuted::Rows);
/// let found = geary_permuted(&graph, points.view(), &config, &NoProgress)?;
/// assert_eq!(found.p_value, [1.0 / 101.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`moran_permuted`].
pub fn geary_permuted(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    config: &PermutationConfig,
    progress: &dyn Progress,
) -> Result<PermutedAutocorrelation> {
    permuted(Statistic::Geary, graph, x, config, progress)
}

/// What is computed of every permutation.
#[derive(Clone, Copy)]
enum Statistic {
    Moran,
    Geary,
}

fn permuted(
    statistic: Statistic,
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    config: &PermutationConfig,
    progress: &dyn Progress,
) -> Result<PermutedAutocorrelation> {
    config.validate()?;
    let z = Centered::new(graph, x)?;
    let weights = config.weights.of(graph);
    let (n, total) = (graph.n_nodes() as f64, weights.total());
    let (found, of_squares): (Vec<f64>, &dyn Fn(f64) -> f64) = match statistic {
        Statistic::Moran => (moran_of(&z, &weights), &|squares| n / (total * squares)),
        Statistic::Geary => (geary_of(&z, &weights), &|squares| {
            (n - 1.0) / (2.0 * total * squares)
        }),
    };
    let simulation = Simulation {
        z: &z.z,
        factors: z
            .squares
            .iter()
            .map(|&squares| of_squares(squares))
            .collect(),
        config,
        progress,
    };
    let drawn = match (config.permuted, statistic) {
        (Permuted::Values, Statistic::Moran) => {
            simulation.of(&Arrangement::new(&weights, |a, b| a * b))?
        }
        (Permuted::Values, Statistic::Geary) => {
            simulation.of(&Arrangement::new(&weights, |a, b| (a - b) * (a - b)))?
        }
        (Permuted::Rows, Statistic::Moran) => {
            let rows = RowSums::new(&weights, &z);
            simulation.of(&Products::new(&rows.lags, found.len() + 1))?
        }
        (Permuted::Rows, Statistic::Geary) => {
            let rows = RowSums::new(&weights, &z);
            let mut drawn = simulation.of(&RowDifferences {
                lags: &rows.lags,
                width: found.len() + 1,
            })?;
            // What a neighbor's own square adds is the same in every order.
            for (drawn, squares) in drawn.iter_mut().zip(&rows.squares) {
                drawn.found += squares;
                drawn.mean += squares;
            }
            drawn
        }
    };
    Ok(simulation.compare(found, &drawn))
}

/// What a permutation makes of some columns; the first order is the one of the nodes.
pub(super) trait Kernel: Sync {
    /// The sums of the columns `first..first + lanes` whose values are `z`.
    fn sums<const L: usize>(
        &self,
        first: usize,
        lanes: usize,
        z: &[[f64; L]],
        order: &[u32],
        scratch: &mut Vec<[f64; L]>,
    ) -> [f64; L];
}

/// Σ gᵢⱼ f(zᵢ, zⱼ) for a symmetric f.
struct Arrangement<F> {
    pairs: Pairs,
    term: F,
}

impl<F> Arrangement<F> {
    fn new(weights: &Weights<'_>, term: F) -> Self {
        Self {
            pairs: Pairs::new(weights),
            term,
        }
    }
}

impl<F: Fn(f64, f64) -> f64 + Sync> Kernel for Arrangement<F> {
    fn sums<const L: usize>(
        &self,
        _: usize,
        _: usize,
        z: &[[f64; L]],
        order: &[u32],
        scratch: &mut Vec<[f64; L]>,
    ) -> [f64; L] {
        scratch.clear();
        scratch.extend(order.iter().map(|&node| z[node as usize]));
        let mut total = [0.0; L];
        for (node, here) in scratch.iter().enumerate() {
            let mut sum = [0.0; L];
            for (other, weight) in self.pairs.row(node) {
                let there = &scratch[other];
                for lane in 0..L {
                    sum[lane] += weight * (self.term)(here[lane], there[lane]);
                }
            }
            for lane in 0..L {
                total[lane] += sum[lane];
            }
        }
        total
    }
}

/// Σ zᵢ bₚ₍ᵢ₎ with the columns of a matrix b.
pub(super) struct Products<'a> {
    b: &'a [f64],
    width: usize,
}

impl<'a> Products<'a> {
    pub(super) fn new(b: &'a [f64], width: usize) -> Self {
        Self { b, width }
    }
}

impl Kernel for Products<'_> {
    fn sums<const L: usize>(
        &self,
        first: usize,
        lanes: usize,
        z: &[[f64; L]],
        order: &[u32],
        _: &mut Vec<[f64; L]>,
    ) -> [f64; L] {
        let mut total = [0.0; L];
        for (z, &row) in z.iter().zip(order) {
            let b = &self.b[row as usize * self.width + first..][..lanes];
            for (lane, b) in b.iter().enumerate() {
                total[lane] += z[lane] * b;
            }
        }
        total
    }
}

/// Σ (zᵢ² rₚ₍ᵢ₎ − 2 zᵢ lₚ₍ᵢ₎) with lags l and, in the last column, the sums r of the rows.
struct RowDifferences<'a> {
    lags: &'a [f64],
    width: usize,
}

impl Kernel for RowDifferences<'_> {
    fn sums<const L: usize>(
        &self,
        first: usize,
        lanes: usize,
        z: &[[f64; L]],
        order: &[u32],
        _: &mut Vec<[f64; L]>,
    ) -> [f64; L] {
        let mut total = [0.0; L];
        for (z, &row) in z.iter().zip(order) {
            let lags = &self.lags[row as usize * self.width..][..self.width];
            let sum = lags[self.width - 1];
            for (lane, lag) in lags[first..][..lanes].iter().enumerate() {
                total[lane] += z[lane] * (z[lane] * sum - 2.0 * lag);
            }
        }
        total
    }
}

/// Every pair of linked nodes once, with the weights of both directions.
struct Pairs {
    starts: Vec<usize>,
    others: Vec<u32>,
    weights: Vec<f64>,
}

impl Pairs {
    fn new(weights: &Weights<'_>) -> Self {
        let n = weights.n_nodes();
        let mut pairs = Self {
            starts: vec![0],
            others: Vec::new(),
            weights: Vec::new(),
        };
        for node in 0..n {
            for (other, weight) in weights.row(node) {
                let back = weights.has_edge(other, node);
                if other == node || !back {
                    pairs.push(other, weight);
                } else if other > node {
                    pairs.push(other, weight + weights.between(other, node));
                }
            }
            pairs.starts.push(pairs.others.len());
        }
        pairs
    }

    fn push(&mut self, other: usize, weight: f64) {
        self.others.push(other as u32);
        self.weights.push(weight);
    }

    fn row(&self, node: usize) -> impl Iterator<Item = (usize, f64)> {
        let range = self.starts[node]..self.starts[node + 1];
        let others = self.others[range.clone()].iter();
        others
            .zip(&self.weights[range])
            .map(|(&other, &weight)| (other as usize, weight))
    }
}

/// Permutations that are kept until they are added to the moments: a constant, so that rounding is the same on every machine.
const KEPT: usize = 4096;

/// Columns and their permutations.
pub(super) struct Simulation<'a> {
    /// `[n, p]`.
    pub(super) z: &'a [f64],
    /// What the sums of every column are multiplied by; their terms then add up to about 1.
    pub(super) factors: Vec<f64>,
    pub(super) config: &'a PermutationConfig,
    pub(super) progress: &'a dyn Progress,
}

/// The sum of a column in the order of the nodes, and those of its permutations.
#[derive(Clone, Copy, Default)]
pub(super) struct Drawn {
    pub(super) found: f64,
    /// The number of permutations, the mean of their sums, and the sum of the squares about it.
    n: f64,
    pub(super) mean: f64,
    squares: f64,
    above: usize,
    below: usize,
}

impl Drawn {
    /// Adds permutations; `size` is that of the terms of their sums.
    fn add(&mut self, sums: &[f64], size: f64) {
        let n = sums.len() as f64;
        let mean = sums.iter().sum::<f64>() / n;
        let squares: f64 = sums.iter().map(|s| (s - mean) * (s - mean)).sum();
        // Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115.
        let difference = mean - self.mean;
        let all = self.n + n;
        self.squares += squares + difference * difference * self.n * n / all;
        self.mean += difference * n / all;
        self.n = all;
        for &sum in sums {
            let [above, below] = exceeding(self.found, sum, size);
            self.above += usize::from(above);
            self.below += usize::from(below);
        }
    }
}

impl Simulation<'_> {
    /// For every column its sum in the order of the nodes and in every permutation.
    pub(super) fn of<K: Kernel>(&self, kernel: &K) -> Result<Vec<Drawn>> {
        let p = self.factors.len();
        let steps = (self.config.permutations as u64).saturating_mul(p as u64);
        self.progress.start("permutations", Some(steps));
        let mut drawn = Vec::with_capacity(p);
        // Blocks of columns bound the memory of a permuted copy.
        while drawn.len() < p {
            match p - drawn.len() {
                1 => self.block::<1, K>(kernel, &mut drawn)?,
                2..=4 => self.block::<4, K>(kernel, &mut drawn)?,
                _ => self.block::<8, K>(kernel, &mut drawn)?,
            }
        }
        self.progress.finish();
        Ok(drawn)
    }

    fn block<const L: usize, K: Kernel>(&self, kernel: &K, drawn: &mut Vec<Drawn>) -> Result<()> {
        let (first, p) = (drawn.len(), self.factors.len());
        let lanes = L.min(p - first);
        let mut columns = vec![[0.0; L]; self.z.len() / p];
        for (lanes_of, row) in columns.iter_mut().zip(self.z.chunks_exact(p)) {
            lanes_of[..lanes].copy_from_slice(&row[first..][..lanes]);
        }
        let in_order: Vec<u32> = (0..columns.len() as u32).collect();
        let found = kernel.sums(first, lanes, &columns, &in_order, &mut Vec::new());
        drawn.extend(found[..lanes].iter().map(|&found| Drawn {
            found,
            ..Drawn::default()
        }));
        let permutations = self.config.permutations;
        for start in (0..permutations).step_by(KEPT) {
            let sums: Vec<[f64; L]> = (start..permutations.min(start + KEPT))
                .into_par_iter()
                .map_init(
                    || (in_order.clone(), Vec::new()),
                    |(order, scratch), i| {
                        self.progress.check()?;
                        order.copy_from_slice(&in_order);
                        let mut stream = self.config.seed.stream("autocorrelation", i as u64);
                        stream.shuffle(order);
                        self.progress.advance(lanes as u64);
                        Ok(kernel.sums(first, lanes, &columns, order, scratch))
                    },
                )
                .collect::<Result<_>>()?;
            for (lane, drawn) in drawn[first..].iter_mut().enumerate() {
                let sums: Vec<f64> = sums.iter().map(|sums| sums[lane]).collect();
                drawn.add(&sums, 1.0 / self.factors[first + lane].abs());
            }
        }
        Ok(())
    }

    /// Compares the sum of every column with those of its permutations.
    pub(super) fn compare(&self, statistic: Vec<f64>, drawn: &[Drawn]) -> PermutedAutocorrelation {
        let tail = self.config.tail;
        let mut out = PermutedAutocorrelation {
            mean: Vec::with_capacity(statistic.len()),
            variance: Vec::with_capacity(statistic.len()),
            z: Vec::with_capacity(statistic.len()),
            p_value_normal: Vec::with_capacity(statistic.len()),
            p_value: Vec::with_capacity(statistic.len()),
            statistic,
        };
        for (f, (drawn, &factor)) in drawn.iter().zip(&self.factors).enumerate() {
            let defined = !out.statistic[f].is_nan();
            let or_nan = |value: f64| if defined { value } else { f64::NAN };
            let deviation = (drawn.squares / drawn.n).sqrt();
            let variance = beyond_rounding(deviation, 10.0 / factor.abs()).powi(2);
            // Weights that sum to less than 0 turn the statistic around.
            let z = or_nan(score(drawn.found, drawn.mean, variance) * factor.signum());
            let p_value = tail.of_counts(drawn.above, drawn.below, self.config.permutations);
            out.mean.push(or_nan(drawn.mean * factor));
            out.variance.push(or_nan(variance * factor.powi(2)));
            out.z.push(z);
            out.p_value_normal.push(tail.of_normal(z));
            out.p_value.push(or_nan(p_value));
        }
        out
    }
}

/// Differences below this part of what a statistic is summed from are rounding: a permutation that ties with the data must not
/// fall on one side of it by chance.
const ROUNDING: f64 = 1e-12;

/// Whether a value is at least, and whether it is at most, the one found; `size` is that of their terms.
pub(super) fn exceeding(found: f64, value: f64, size: f64) -> [bool; 2] {
    let rounding = ROUNDING * size;
    [value >= found - rounding, value <= found + rounding]
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::NoProgress;

    use super::super::{
        Assumption, LocalConfig, Normalization, TestConfig, bivariate_moran,
        bivariate_moran_permuted, local_geary, local_moran, moran_test,
    };
    use super::*;
    use crate::interactions::EdgeWeight;
    use crate::neighbors::knn_graph;

    #[test]
    fn ties_are_ties_whatever_the_unit_and_however_sums_round() {
        let mut stream = Seed::new(2).stream("points", 0);
        let points = Array2::from_shape_simple_fn((90, 2), || stream.uniform());
        let graph = knn_graph(points.view(), 9).unwrap();
        // A third of the cells is high: with 3 of 9 neighbors high a sum is 0, or what rounding leaves.
        let x = Array2::from_shape_fn((90, 1), |(i, _)| f64::from(u8::from(i % 3 == 0)));
        let config = LocalConfig::new().with_permutations(199);
        let run = |x: &Array2<f64>| {
            let moran = local_moran(&graph, x.view(), &config, &NoProgress).unwrap();
            let geary = local_geary(&graph, x.view(), &config, &NoProgress).unwrap();
            (moran.p_value.unwrap(), geary.p_value.unwrap())
        };
        let expected = run(&x);
        // Cells whose sum is 0 are in the middle of what ties with them.
        assert!(expected.0.iter().filter(|&&p| p == 1.0).count() > 10);
        for (factor, shift) in [(0.3, 0.1), (7.0, -2.9), (1e-9, 1e-3)] {
            assert_eq!(
                run(&x.mapv(|x| factor * x + shift)),
                expected,
                "{factor} {shift}"
            );
        }
    }

    #[test]
    fn moments_of_parts_are_those_of_the_whole() {
        let mut drawn = Drawn {
            found: 3.0,
            ..Drawn::default()
        };
        for part in [&[1.0, 2.0, 3.0][..], &[10.0], &[4.0, 16.0]] {
            drawn.add(part, 1.0);
        }
        // Of 1, 2, 3, 4, 10 and 16: a mean of 6 and squares about it of 25 + 16 + 9 + 4 + 16 + 100.
        assert!((drawn.mean - 6.0).abs() < 1e-12 && (drawn.squares - 170.0).abs() < 1e-10);
        assert_eq!((drawn.n, drawn.above, drawn.below), (6.0, 4, 3));
    }

    #[test]
    fn z_has_the_sign_of_the_deviation_also_when_weights_sum_to_less_than_nothing() {
        let mut stream = Seed::new(3).stream("points", 0);
        let points = Array2::from_shape_simple_fn((40, 2), || stream.uniform());
        let graph = knn_graph(points.view(), 4).unwrap();
        let values = vec![-1.0; graph.n_edges()];
        let graph = graph.with_values(values).unwrap();
        let weights = SpatialWeights::default()
            .with_edges(EdgeWeight::Value)
            .with_normalization(Normalization::None);
        let config = PermutationConfig::new(99).with_weights(weights);
        let moran = moran_permuted(&graph, points.view(), &config, &NoProgress).unwrap();
        let geary = geary_permuted(&graph, points.view(), &config, &NoProgress).unwrap();
        for found in [moran, geary] {
            for f in 0..2 {
                let z = (found.statistic[f] - found.mean[f]) / found.variance[f].sqrt();
                assert!(
                    (found.z[f] / z - 1.0).abs() < 1e-9 && z.abs() > 2.0,
                    "{found:?}"
                );
            }
        }
    }

    #[test]
    fn what_all_cells_share_alike_cannot_vary() {
        // Every cell is linked with every one, itself too: all have the same neighbors.
        let n = 7;
        let indices: Vec<u32> = (0..n * n).map(|i| (i % n) as u32).collect();
        let indptr: Vec<usize> = (0..=n).map(|i| i * n).collect();
        let graph = CsrGraph::new(indptr, indices, vec![1.0; n * n]).unwrap();
        let x = array![[0.1], [0.7], [0.3], [0.9], [0.2], [0.35], [0.61]];
        let y = x.mapv(|x| x * x);
        let config = PermutationConfig::new(99);
        for permuted in [Permuted::Values, Permuted::Rows] {
            let config = config.with_permuted(permuted);
            let found = moran_permuted(&graph, x.view(), &config, &NoProgress).unwrap();
            assert!(found.z[0].is_nan() && found.p_value[0] == 1.0, "{found:?}");
        }
        let by_rows = config.with_permuted(Permuted::Rows);
        let found = geary_permuted(&graph, x.view(), &by_rows, &NoProgress).unwrap();
        assert!(found.z[0].is_nan() && found.p_value[0] == 1.0, "{found:?}");
        let rows = TestConfig::new().with_assumption(Assumption::RowPermutation);
        for found in [
            moran_test(&graph, x.view(), &rows).unwrap(),
            super::super::geary_test(&graph, x.view(), &rows).unwrap(),
        ] {
            assert!(found.z[0].is_nan(), "{found:?}");
        }
        let found = bivariate_moran(&graph, x.view(), y.view(), &rows).unwrap();
        assert!(found.z[0].is_nan(), "{found:?}");
        let found = bivariate_moran_permuted(&graph, x.view(), y.view(), &config, &NoProgress);
        assert!(found.unwrap().z[0].is_nan());
    }
}
