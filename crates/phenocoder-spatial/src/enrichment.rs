//! Whether clusters lie beside each other more often than by chance.

mod edges;
mod moments;

use ndarray::{Array2, Zip};
use phenocoder_core::{Categorical, CsrGraph, Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Error, Result};
use crate::reduce::{WIDE, add};
use edges::{Code, Counts, Edges};
use moments::Moments;

/// The interactions of clusters, compared with those of randomly permuted labels.
///
/// # Shapes
///
/// All matrices: `[k, k]` for k categories.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Enrichment {
    /// The number of edges from every cluster to every cluster, loops left out.
    pub count: Array2<f64>,
    /// The mean of these numbers over permutations of the labels.
    pub mean: Array2<f64>,
    /// Their variance (divided by the number of permutations).
    pub variance: Array2<f64>,
    /// (count − mean) / √variance; NaN where both are 0, infinite where only the variance of permutations is.
    pub z: Array2<f64>,
}

impl Enrichment {
    fn new(count: Array2<f64>, mean: Array2<f64>, variance: Array2<f64>) -> Self {
        let z = Zip::from(&count)
            .and(&mean)
            .and(&variance)
            .map_collect(|count, mean, variance| (count - mean) / variance.sqrt());
        Self {
            count,
            mean,
            variance,
            z,
        }
    }
}

/// Compares the interactions with their exact mean and variance over **all** permutations of the labels.
///
/// With the sizes m of the clusters, rows r and columns c of the adjacency a, and n⁽ʳ⁾ = n (n − 1) … (n − r + 1), the moments
/// are sums over pairs of edges that share no, one or two nodes:
/// for a ≠ b, E M = S₀ mₐ m_b / n⁽²⁾ and
/// E M² = S₂ mₐ m_b / n⁽²⁾ + R mₐ m_b (m_b − 1) / n⁽³⁾ + C mₐ (mₐ − 1) m_b / n⁽³⁾ + T mₐ (mₐ − 1) m_b (m_b − 1) / n⁽⁴⁾,
/// with R = Σ rᵢ² − S₂, C = Σ cⱼ² − S₂ and T the number of ordered pairs of edges without a common node; for a = b likewise.
///
/// The cost is that of counting once, O(edges + k²): take this where only z is asked for.
///
/// # Shapes
///
/// `labels`: n for a graph of n nodes; results: `[k, k]` for k categories.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::{enrichment::enrichment_exact, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [1.0], [5.0], [6.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["a", "a", "b", "b"]);
/// let found = enrichment_exact(&graph, &labels)?;
/// // Of the six ways to place the labels, two link a with a, in both directions.
/// assert!((found.mean[[0, 0]] - 4.0 / 6.0).abs() < 1e-12);
/// assert!(found.z[[0, 0]] > 1.0 && found.z[[0, 1]] < -1.0);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::TooFewCategories`] for fewer than two categories, [`Error::TooManyCategories`] for more than 8,192,
/// [`Error::MissingLabel`] for the first row without a label, [`Error::Shape`] when there is not one label per node.
///
/// # Differences from squidpy
///
/// squidpy draws permutations; this is the limit for infinitely many.
#[doc(alias = "nhood_enrichment")]
pub fn enrichment_exact(graph: &CsrGraph, labels: &Categorical) -> Result<Enrichment> {
    check(graph, labels)?;
    let k = labels.categories().len();
    let nodes: Vec<u32> = (0..graph.n_nodes() as u32).collect();
    let edges = Edges::new(graph);
    let mut moments = Moments::of_constant(Array2::zeros((k, k)));
    moments.add(graph, &edges, labels.codes(), &nodes);
    Ok(moments.compare(edges.count(labels.codes(), k)))
}

/// Compares the interactions with their exact mean and variance over all permutations of the labels **within samples**.
///
/// Samples are permuted independently, so the means and variances of [`enrichment_exact`] add up over them: what differs in
/// composition between samples (or batches, or regions) is no enrichment.
/// Nodes without a sample keep their labels.
/// The cost is O(edges + s · k²) for s samples.
///
/// # Shapes
///
/// `labels`, `samples`: n for a graph of n nodes; results: `[k, k]` for k categories.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::enrichment::{enrichment_exact, enrichment_exact_within};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [5.0], [6.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["a", "a", "b", "b"]);
/// let samples = Categorical::from_labels(["s", "s", "t", "t"]);
/// // Each sample has one type only: nothing is left to chance.
/// assert!(enrichment_exact_within(&graph, &labels, &samples)?.z[[0, 0]].is_nan());
/// assert!(enrichment_exact(&graph, &labels)?.z[[0, 0]] > 1.0);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`enrichment_exact`], [`Error::Shape`] when there is not one sample per node, and [`Error::EdgeBetweenSamples`] for the
/// first edge that links two samples, or a sample and a node without one; [`enrichment_permuted`] takes such graphs.
#[doc(alias = "nhood_enrichment")]
pub fn enrichment_exact_within(
    graph: &CsrGraph,
    labels: &Categorical,
    samples: &Categorical,
) -> Result<Enrichment> {
    check(graph, labels)?;
    ShapeError::check_len("samples", labels.len(), samples.len())?;
    for from in 0..graph.n_nodes() {
        let apart = |&&to: &&u32| samples.code(to as usize) != samples.code(from);
        if let Some(&to) = graph.neighbors(from).iter().find(apart) {
            let to = to as usize;
            return Err(Error::EdgeBetweenSamples { from, to });
        }
    }
    let k = labels.categories().len();
    let mut members = vec![Vec::new(); samples.categories().len()];
    let mut fixed = Vec::new();
    for node in 0..samples.len() {
        match samples.code(node) {
            Some(code) => members[code].push(node as u32),
            None => fixed.push(node as u32),
        }
    }
    let edges = Edges::new(graph);
    let mut moments = Moments::of_constant(edges.count_among(&fixed, labels.codes(), k));
    for nodes in &members {
        moments.add(graph, &edges, labels.codes(), nodes);
    }
    Ok(moments.compare(edges.count(labels.codes(), k)))
}

/// Settings of [`enrichment_permuted`].
///
/// # Examples
///
/// ```
/// use phenocoder_core::Seed;
/// use phenocoder_spatial::enrichment::EnrichmentConfig;
///
/// let config = EnrichmentConfig::new().with_permutations(200).with_seed(Seed::new(7));
/// assert!(config.validate().is_ok());
/// assert!(config.with_permutations(0).validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EnrichmentConfig {
    /// The number of permutations (default 1,000).
    #[doc(alias = "n_perms")]
    pub permutations: usize,
    /// The seed of the permutations (default 0).
    pub seed: Seed,
}

impl Default for EnrichmentConfig {
    fn default() -> Self {
        Self {
            permutations: 1000,
            seed: Seed::new(0),
        }
    }
}

impl EnrichmentConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of permutations.
    #[must_use]
    pub fn with_permutations(mut self, permutations: usize) -> Self {
        self.permutations = permutations;
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

/// Compares the interactions with those of seeded permutations of the labels.
///
/// With `within` labels are permuted only among the nodes of the same sample (nodes without a sample keep theirs).
/// Every permutation has a random stream of its own, so the number of threads does not change a bit.
/// The cost is O(edges) per permutation and O(k²) memory, whatever their number, beside O(edges) per thread.
///
/// # Shapes
///
/// `labels`, `within`: n for a graph of n nodes; results: `[k, k]` for k categories.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_spatial::enrichment::{EnrichmentConfig, enrichment_permuted};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [5.0], [6.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["a", "a", "b", "b"]);
/// let found = enrichment_permuted(&graph, &labels, None, &EnrichmentConfig::new(), &NoProgress)?;
/// assert!((found.mean[[0, 0]] - 4.0 / 6.0).abs() < 0.1);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`enrichment_exact`], those of [`EnrichmentConfig::validate`], [`Error::Shape`] when there is not one sample per node,
/// [`Error::Cancelled`] when `progress` asks to stop.
///
/// # Differences from squidpy
///
/// The draws differ, and do not depend on the number of threads.
#[doc(alias = "nhood_enrichment")]
pub fn enrichment_permuted(
    graph: &CsrGraph,
    labels: &Categorical,
    within: Option<&Categorical>,
    config: &EnrichmentConfig,
    progress: &dyn Progress,
) -> Result<Enrichment> {
    config.validate()?;
    check(graph, labels)?;
    let sets: Vec<Vec<usize>> = match within {
        None => vec![(0..labels.len()).collect()],
        Some(samples) => {
            ShapeError::check_len("samples", labels.len(), samples.len())?;
            (0..samples.categories().len())
                .map(|code| samples.members(code))
                .collect()
        }
    };
    let k = labels.categories().len();
    let edges = Edges::new(graph);
    progress.start("neighborhood enrichment", Some(config.permutations as u64));
    let permuted = Permuted {
        edges: &edges,
        sets: &sets,
        config,
        progress,
    };
    // Small codes stay in the cache.
    let (sum, square) = match u8::try_from(k) {
        Ok(_) => permuted.sums(&edges::codes::<u8>(labels.codes()), k)?,
        Err(_) => permuted.sums(&edges::codes::<u32>(labels.codes()), k)?,
    };
    progress.finish();
    let p = config.permutations as u128;
    let mean = sum.iter().map(|&sum| sum as f64 / p as f64).collect();
    let variance = sum.iter().zip(square).map(|(&sum, square)| {
        // p Σx² − (Σx)² in whole numbers: exact, and never below 0.
        (p * square - u128::from(sum) * u128::from(sum)) as f64 / (p * p) as f64
    });
    let matrix = |values: Vec<f64>| {
        Array2::from_shape_vec((k, k), values).expect("k · k values were summed")
    };
    Ok(Enrichment::new(
        edges.count(labels.codes(), k),
        matrix(mean),
        matrix(variance.collect()),
    ))
}

/// Permutations of labels within sets of nodes.
struct Permuted<'a> {
    edges: &'a Edges,
    sets: &'a [Vec<usize>],
    config: &'a EnrichmentConfig,
    progress: &'a dyn Progress,
}

impl Permuted<'_> {
    /// The sums of the counts and of their squares: whole numbers, so their order does not matter.
    fn sums<C: Code>(&self, codes: &[C], k: usize) -> Result<(Vec<u64>, Vec<u128>)> {
        let zero = || (vec![0_u64; k * k], vec![0_u128; k * k]);
        let permutations = self.config.permutations;
        if k * k <= WIDE {
            return (0..permutations)
                .into_par_iter()
                .map(|i| self.count(i, codes, k))
                .try_fold(zero, |(mut sum, mut square), counts| {
                    counts?.add_to(k, &mut sum, &mut square);
                    Ok((sum, square))
                })
                .try_reduce(zero, |mut a, b| {
                    add(&mut a.0, &b.0);
                    add(&mut a.1, &b.1);
                    Ok(a)
                });
        }
        // Of many clusters there is one pair of matrices, to which the counts of few permutations wait to be added.
        let (mut sum, mut square) = zero();
        let at_once = rayon::current_num_threads();
        for first in (0..permutations).step_by(at_once) {
            let counts: Vec<Counts> = (first..permutations.min(first + at_once))
                .into_par_iter()
                .map(|i| self.count(i, codes, k))
                .collect::<Result<_>>()?;
            for counts in counts {
                counts.add_to(k, &mut sum, &mut square);
            }
        }
        Ok((sum, square))
    }

    fn count<C: Code>(&self, number: usize, codes: &[C], k: usize) -> Result<Counts> {
        self.progress.check()?;
        let seed = self.config.seed;
        let mut stream = seed.stream("neighborhood enrichment", number as u64);
        let mut codes = codes.to_vec();
        for set in self.sets {
            if set.len() == codes.len() {
                stream.shuffle(&mut codes);
                continue;
            }
            let mut mine: Vec<C> = set.iter().map(|&row| codes[row]).collect();
            stream.shuffle(&mut mine);
            for (&row, code) in set.iter().zip(mine) {
                codes[row] = code;
            }
        }
        self.progress.advance(1);
        Ok(self.edges.count_of(&codes, k))
    }
}

fn check(graph: &CsrGraph, labels: &Categorical) -> Result<()> {
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    let found = labels.categories().len();
    if found < 2 {
        return Err(Error::TooFewCategories { found });
    }
    Error::check_categories(found)?;
    match labels.codes().iter().position(|&code| code < 0) {
        Some(row) => Err(Error::MissingLabel { row }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;
    use crate::neighbors::{knn_graph, symmetrized};

    /// One by one.
    fn counts(graph: &CsrGraph, codes: &[i32], k: usize) -> Array2<f64> {
        let mut total = Array2::zeros((k, k));
        for (node, &from) in codes.iter().enumerate() {
            let others = graph.neighbors(node).iter().map(|&other| other as usize);
            for other in others.filter(|&other| other != node) {
                total[[from as usize, codes[other] as usize]] += 1.0;
            }
        }
        total
    }

    fn random(n: usize, k: usize) -> (CsrGraph, Categorical) {
        let mut stream = Seed::new(3).stream("points", 0);
        let points = Array2::from_shape_simple_fn((n, 2), || stream.uniform());
        let labels = Categorical::from_labels((0..n).map(|i| (i % k).to_string()));
        (knn_graph(points.view(), 3).unwrap(), labels)
    }

    #[test]
    fn edges_are_counted_as_one_by_one_for_few_and_many_clusters() {
        for k in [2, 7, 255, 256, 300] {
            let (graph, labels) = random(500, k);
            for graph in [symmetrized(&graph), graph] {
                let edges = Edges::new(&graph);
                let expected = counts(&graph, labels.codes(), k);
                assert_eq!(edges.count(labels.codes(), k), expected, "{k}");
                let all: Vec<u32> = (0..500).collect();
                assert_eq!(edges.count_among(&all, labels.codes(), k), expected, "{k}");
                let none = edges.count_among(&[], labels.codes(), k);
                assert_eq!(none, Array2::<f64>::zeros((k, k)));
            }
        }
    }

    #[test]
    fn thousands_of_clusters_take_memory_of_the_order_of_the_edges_and_too_many_are_refused() {
        // As many clusters as nodes: a matrix per part and permutation would be of 16 megabytes each.
        let (graph, labels) = random(1500, 1450);
        for graph in [symmetrized(&graph), graph] {
            let edges = Edges::new(&graph);
            let Counts::Found { found, .. } =
                edges.count_of(&edges::codes::<u32>(labels.codes()), 1450)
            else {
                panic!("all pairs of clusters are counted");
            };
            assert!(found.len() <= graph.n_edges());
            let expected = counts(&graph, labels.codes(), 1450);
            assert_eq!(edges.count(labels.codes(), 1450), expected);
            let ones = crate::interactions::EdgeWeight::One;
            let found = crate::interactions::interaction_matrix(&graph, &labels, ones);
            assert_eq!(found.unwrap(), expected);
            let config = EnrichmentConfig::new().with_permutations(20);
            let exact = enrichment_exact(&graph, &labels).unwrap();
            let drawn = enrichment_permuted(&graph, &labels, None, &config, &NoProgress).unwrap();
            assert_eq!(drawn.count, expected);
            assert!((drawn.mean.sum() - expected.sum()).abs() < 1e-6);
            // Sums of squares over all pairs have an expectation, too.
            let spread = |found: &Enrichment| found.variance.sum();
            let ratio = spread(&drawn) / spread(&exact) * 20.0 / 19.0;
            assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
        }
        let names = (0..8193).map(|i| i.to_string()).collect();
        let many = Categorical::new(vec![0, 1], names).unwrap();
        let refused = Error::TooManyCategories {
            found: 8193,
            most: 8192,
        };
        let none = CsrGraph::empty(2);
        assert_eq!(enrichment_exact(&none, &many).unwrap_err(), refused);
        let ones = crate::interactions::EdgeWeight::One;
        let found = crate::interactions::interaction_matrix(&none, &many, ones);
        assert_eq!(found.unwrap_err(), refused);
    }

    #[test]
    fn the_exact_moments_are_those_of_all_permutations_one_by_one() {
        let (graph, _) = random(6, 2);
        for sizes in [[3, 3], [1, 5], [0, 6], [2, 4]] {
            let codes: Vec<i32> = (0..6).map(|i| i32::from(i >= sizes[0])).collect();
            let labels = Categorical::new(codes, vec!["a".into(), "b".into()]).unwrap();
            // All ways to choose which nodes are a: the bits of a number.
            let ways: Vec<Array2<f64>> = (0_u32..64)
                .filter(|bits| bits.count_ones() == sizes[0] as u32)
                .map(|bits| {
                    let codes: Vec<i32> = (0..6).map(|i| 1 - (bits >> i & 1) as i32).collect();
                    counts(&graph, &codes, 2)
                })
                .collect();
            let n = ways.len() as f64;
            let mean = ways.iter().fold(Array2::zeros((2, 2)), |s, w| s + w) / n;
            let variance = ways.iter().fold(Array2::zeros((2, 2)), |s, w| {
                s + (w - &mean).mapv(|d| d * d)
            }) / n;
            let found = enrichment_exact(&graph, &labels).unwrap();
            let close = |a: &Array2<f64>, b: &Array2<f64>| (a - b).iter().all(|d| d.abs() < 1e-10);
            assert!(close(&found.mean, &mean), "{sizes:?}");
            assert!(
                close(&found.variance, &variance),
                "{sizes:?}: {} {variance}",
                found.variance
            );
        }
    }

    #[test]
    fn the_exact_moments_of_one_two_and_three_cells_on_a_line_are_known() {
        let moments = |codes: &[i32]| {
            let points = Array2::from_shape_fn((codes.len(), 1), |(i, _)| i as f64);
            let graph = crate::radius_graph(points.view(), 1.0).unwrap();
            let labels = Categorical::new(codes.to_vec(), vec!["a".into(), "b".into()]).unwrap();
            let found = enrichment_exact(&graph, &labels).unwrap();
            [found.mean[[0, 1]], found.variance[[0, 1]]]
        };
        assert_eq!(moments(&[0]), [0.0, 0.0]);
        assert_eq!(moments(&[0, 1]), [1.0, 0.0]);
        // The only cell of its type has 1, 2 or 1 neighbors of the other.
        let [mean, variance] = moments(&[0, 1, 1]);
        assert!((mean - 4.0 / 3.0).abs() < 1e-15, "{mean}");
        assert!((variance - 2.0 / 9.0).abs() < 1e-15, "{variance}");
    }

    #[test]
    fn the_only_edge_of_a_graph_is_not_counted_when_it_is_a_loop() {
        let graph = CsrGraph::new(vec![0, 1, 1], vec![0], vec![1.0]).unwrap();
        let found = enrichment_exact(&graph, &Categorical::from_labels(["a", "b"])).unwrap();
        assert_eq!(found.count, Array2::<f64>::zeros((2, 2)));
        assert_eq!(found.mean, found.count);
    }

    #[test]
    fn the_exact_moments_within_samples_are_those_of_all_permutations_one_by_one() {
        // Two samples of four nodes and a linked pair without a sample, in a graph that links no two of them.
        let (part, _) = random(4, 2);
        let pair = [(8, 9), (9, 8)];
        let links = |node: usize| -> Vec<u32> {
            let own = pair.iter().filter(|p| p.0 == node).map(|p| p.1);
            let from = part
                .neighbors(node % 4)
                .iter()
                .map(|&o| o + 4 * (node / 4) as u32);
            if node < 8 {
                from.collect()
            } else {
                own.collect()
            }
        };
        let rows: Vec<Vec<u32>> = (0..10).map(links).collect();
        let mut indptr = vec![0];
        indptr.extend(rows.iter().scan(0, |sum, row| {
            *sum += row.len();
            Some(*sum)
        }));
        let indices: Vec<u32> = rows.concat();
        let values = vec![1.0; indices.len()];
        let graph = CsrGraph::new(indptr, indices, values).unwrap();
        let codes = [0, 0, 1, 2, 1, 1, 0, 2, 0, 1];
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let labels = Categorical::new(codes.to_vec(), names).unwrap();
        let samples = (0..10).map(|i| Some((i / 4).to_string()).filter(|_| i < 8));
        let samples = Categorical::from_optional_labels(samples);
        let orders: Vec<Vec<usize>> = (0..256_usize)
            .map(|i| (0..4).map(|digit| i >> (2 * digit) & 3).collect())
            .filter(|order: &Vec<usize>| (0..4).all(|i| order.contains(&i)))
            .collect();
        let mut ways = Vec::new();
        for first in &orders {
            for second in &orders {
                let mut permuted = codes;
                for i in 0..4 {
                    permuted[i] = codes[first[i]];
                    permuted[4 + i] = codes[4 + second[i]];
                }
                ways.push(counts(&graph, &permuted, 3));
            }
        }
        let n = ways.len() as f64;
        assert_eq!(n, 576.0);
        let mean = ways.iter().fold(Array2::zeros((3, 3)), |s, w| s + w) / n;
        let squares = ways.iter().map(|way| (way - &mean).mapv(|d| d * d));
        let variance = squares.fold(Array2::zeros((3, 3)), |s, w| s + w) / n;
        let found = enrichment_exact_within(&graph, &labels, &samples).unwrap();
        let error = |a: &Array2<f64>, b: &Array2<f64>| {
            (a - b).iter().fold(0.0, |most: f64, d| most.max(d.abs()))
        };
        assert!(error(&found.mean, &mean) < 1e-10);
        assert!(error(&found.variance, &variance) < 1e-10);
        let config = EnrichmentConfig::new()
            .with_permutations(4000)
            .with_seed(Seed::new(5));
        let sampled = enrichment_permuted(&graph, &labels, Some(&samples), &config, &NoProgress);
        assert!(error(&sampled.unwrap().mean, &mean) < 0.2);
    }

    #[test]
    fn edges_between_samples_are_refused_by_name_and_one_sample_is_the_whole() {
        let (graph, labels) = random(40, 3);
        let one = Categorical::from_labels(["s"; 40]);
        let within = enrichment_exact_within(&graph, &labels, &one).unwrap();
        assert_eq!(within, enrichment_exact(&graph, &labels).unwrap());
        let two = Categorical::from_labels((0..40).map(|i| (i % 2).to_string()));
        let refused = enrichment_exact_within(&graph, &labels, &two).unwrap_err();
        assert!(matches!(refused, Error::EdgeBetweenSamples { .. }));
        let short = Categorical::from_labels(["s"]);
        assert!(enrichment_exact_within(&graph, &labels, &short).is_err());
    }

    #[test]
    fn permutations_stay_within_samples() {
        let (graph, labels) = random(60, 3);
        // Every sample holds one label only, so nothing can change.
        let config = EnrichmentConfig::new().with_permutations(10);
        let found = enrichment_permuted(&graph, &labels, Some(&labels), &config, &NoProgress);
        let found = found.unwrap();
        assert_eq!(found.mean, found.count);
        assert!(found.z.iter().all(|z| z.is_nan()));
    }

    #[test]
    fn missing_labels_single_categories_and_no_permutations_are_refused() {
        let graph = CsrGraph::empty(2);
        let missing = Categorical::new(vec![0, -1], vec!["a".into(), "b".into()]).unwrap();
        assert_eq!(
            enrichment_exact(&graph, &missing),
            Err(Error::MissingLabel { row: 1 })
        );
        let one = Categorical::from_labels(["a", "a"]);
        assert_eq!(
            enrichment_exact(&graph, &one),
            Err(Error::TooFewCategories { found: 1 })
        );
        let two = Categorical::from_labels(["a", "b"]);
        let permuted = |n, progress: &dyn Progress| {
            let config = EnrichmentConfig::new().with_permutations(n);
            enrichment_permuted(&graph, &two, None, &config, progress)
        };
        for n in [0, usize::MAX] {
            assert!(matches!(permuted(n, &NoProgress), Err(Error::Config(_))));
        }
        let token = CancelToken::new();
        token.cancel();
        assert!(matches!(permuted(5, &token), Err(Error::Cancelled(_))));
    }

    #[test]
    fn without_edges_counts_are_zero_and_scores_missing() {
        let labels = Categorical::from_labels(["a", "b"]);
        let found = enrichment_exact(&CsrGraph::empty(2), &labels).unwrap();
        assert_eq!(found.count, array![[0.0, 0.0], [0.0, 0.0]]);
        assert!(found.z.iter().all(|z| z.is_nan()));
    }

    #[test]
    fn one_label_of_many_cells_leaves_nothing_to_chance() {
        // The mean is off by rounding here: pairs times ways have more digits than a number.
        for n in [330_283, 400_003, 500_009] {
            let points = Array2::from_shape_fn((n, 1), |(i, _)| i as f64);
            let graph = crate::radius_graph(points.view(), 1.0).unwrap();
            let labels = Categorical::new(vec![0; n], vec!["a".into(), "b".into()]).unwrap();
            let found = enrichment_exact(&graph, &labels).unwrap();
            assert!(found.z[[0, 0]].is_nan(), "{n}: {found:?}");
        }
    }
}
