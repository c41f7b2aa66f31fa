//! The fuzzy graph: how strongly rows belong together.

mod supervise;

use ndarray::{Array2, Axis};
use phenocoder_core::{CsrGraph, Progress};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use supervise::{Target, supervise};

use crate::knn::Neighbors;
use crate::patience::ask;
use crate::{ConfigError, Error, Result};

/// The number of halvings, the tolerance and the least share of the mean distance that a scale may be (McInnes et al.
/// 2018, algorithm 3 and its published implementation).
const HALVINGS: usize = 64;
const TOLERANCE: f64 = 1e-5;
const LEAST_SHARE: f64 = 1e-3;
/// Rows per task.
const ROWS: usize = 256;

/// Settings of [`fuzzy_graph`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FuzzyConfig {
    /// 1 joins two directed weights as "either" (`a + b − ab`), 0 as "both" (`ab`), values between mix them (default
    /// 1).
    pub mix_ratio: f64,
}

impl Default for FuzzyConfig {
    fn default() -> Self {
        Self { mix_ratio: 1.0 }
    }
}

impl FuzzyConfig {
    /// Sets how two directed weights are joined.
    #[must_use]
    pub fn with_mix_ratio(mut self, mix_ratio: f64) -> Self {
        self.mix_ratio = mix_ratio;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `mix_ratio` is outside 0 to 1.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ratio = self.mix_ratio;
        let holds = (0.0..=1.0).contains(&ratio);
        ConfigError::check(holds, "mix_ratio", "a number from 0 to 1", ratio)
    }
}

/// The graph of memberships that UMAP and Leiden work on: what AnnData keeps in `obsp["connectivities"]`.
///
/// A row's distances are measured from its nearest neighbour and scaled so that the weights `exp(−(d − ρ)/σ)` add up to
/// `log₂(k + 1)`; the two directed weights of an edge are joined to `a + b − ab`.
/// The result is undirected with weights in `(0, 1]`.
/// McInnes et al. 2018, arXiv:1802.03426.
///
/// # Differences from umap-learn
///
/// All arithmetic is in double precision, so weights differ by about 1e-6, by the tolerance of the search for σ.
/// The row itself is never among its neighbours, so duplicates cannot push it out.
///
/// # Errors
///
/// [`Error::Graph`] when a neighbour is not a row or occurs twice, [`Error::Config`] for a setting outside its range,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
///
/// let x = array![[0.0], [1.0], [3.0]];
/// let neighbors = nearest_neighbors(x.view(), 1, Metric::Euclidean, &NoProgress)?;
/// let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
/// assert_eq!(graph.row(1).collect::<Vec<_>>(), [(0, 1.0), (2, 1.0)]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "fuzzy_simplicial_set")]
pub fn fuzzy_graph(
    neighbors: &Neighbors,
    config: &FuzzyConfig,
    progress: &dyn Progress,
) -> Result<CsrGraph> {
    config.validate()?;
    // Every row twice: for its weights, and for both directions of its edges.
    progress.start("fuzzy graph", Some(2 * neighbors.len() as u64));
    let graph = symmetrize(&directed(neighbors, progress)?, config.mix_ratio, progress)?;
    progress.finish();
    Ok(graph)
}

/// The weights of the neighbours of each row, as the row sees them.
fn directed(neighbors: &Neighbors, progress: &dyn Progress) -> Result<CsrGraph> {
    progress.check()?;
    let mut directed = neighbors.to_graph()?;
    let mean = neighbors.distances().sum() / (neighbors.len() * (neighbors.k() + 1)).max(1) as f64;
    let n = neighbors.len();
    let scales: Result<Vec<Vec<Scale>>> = (0..n.div_ceil(ROWS))
        .into_par_iter()
        .map(|part| {
            progress.check()?;
            let rows = part * ROWS..n.min((part + 1) * ROWS);
            progress.advance(rows.len() as u64);
            let scales = rows.map(|row| {
                let distances: Vec<f64> = neighbors.row(row).map(|pair| pair.1).collect();
                Scale::of(&distances, mean)
            });
            Ok(scales.collect::<Vec<Scale>>())
        })
        .collect();
    let indptr = directed.indptr().to_vec();
    for (row, scale) in scales?.iter().flatten().enumerate() {
        for value in &mut directed.values_mut()[indptr[row]..indptr[row + 1]] {
            *value = scale.weight(*value);
        }
    }
    Ok(directed)
}

/// The directed weights of new rows towards the rows they have as neighbours, row by row: `[n, k]` beside
/// [`Neighbors::indices`].
///
/// A new row counts its whole distances, `exp(−d/σ)`, and its weights but that of the nearest neighbour add up to
/// `log₂ k`, as in umap-learn's `transform`: only a row at distance 0 belongs fully.
///
/// # Errors
///
/// [`Error::Cancelled`] when the caller stops it.
pub fn membership(neighbors: &Neighbors, progress: &dyn Progress) -> Result<Array2<f64>> {
    let mean = neighbors.distances().mean().unwrap_or(0.0);
    let mut weights = neighbors.distances().to_owned();
    progress.start("memberships", Some(neighbors.len() as u64));
    let blocks: Vec<_> = weights.axis_chunks_iter_mut(Axis(0), ROWS).collect();
    blocks.into_par_iter().try_for_each(|mut rows| {
        progress.check()?;
        for mut row in rows.outer_iter_mut() {
            let scale = Scale::of_new_row(&row.to_vec(), mean);
            row.mapv_inplace(|d| scale.weight(d));
        }
        progress.advance(rows.nrows() as u64);
        Ok::<_, Error>(())
    })?;
    progress.finish();
    Ok(weights)
}

/// Keeps, of each node's edges, those at least as strong as its `keep`-th strongest, and drops every edge that either
/// of its two nodes does not keep; edges of weight 0 are dropped too.
///
/// # Differences from bbknn's `trim`
///
/// None.
///
/// # Errors
///
/// [`Error::Config`] when `keep` is 0, [`Error::EdgeWeight`] for a weight that is negative or no number,
/// [`Error::Cancelled`] when the caller stops it.
pub fn trim(graph: &CsrGraph, keep: usize, progress: &dyn Progress) -> Result<CsrGraph> {
    ConfigError::check(keep > 0, "keep", "at least 1", keep)?;
    check_weights(graph)?;
    let n = graph.n_nodes();
    // Every node twice: for its strongest edges, and for those that are kept.
    progress.start("trimmed graph", Some(2 * n as u64));
    let mut threshold = Vec::with_capacity(n);
    for node in 0..n {
        ask(node, n, progress)?;
        let mut weights: Vec<f64> = graph.row(node).map(|edge| edge.1).collect();
        threshold.push(if weights.len() <= keep {
            0.0
        } else {
            *weights
                .select_nth_unstable_by(keep - 1, |a, b| b.total_cmp(a))
                .1
        });
    }
    let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
    for node in 0..n {
        ask(node, n, progress)?;
        for (other, weight) in graph.row(node) {
            if weight > 0.0 && weight >= threshold[node] && weight >= threshold[other] {
                indices.push(other as u32);
                values.push(weight);
            }
        }
        indptr.push(indices.len());
    }
    progress.finish();
    Ok(CsrGraph::new(indptr, indices, values)?)
}

/// How the weights of the two directions of an edge become one; a direction that is not there weighs 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Directions {
    /// Their sum (default), as scanpy's Leiden of an undirected graph has it.
    #[default]
    Sum,
    /// Half of their sum.
    Mean,
    /// The larger of the two.
    Larger,
    /// The smaller of the two: only edges in both directions are kept.
    Smaller,
}

/// A directed graph without its directions, such as [`layout`](crate::umap::layout) and
/// [`leiden`](crate::cluster::leiden) ask for: every edge has an edge back of the same weight.
///
/// An edge from a node to itself keeps its weight, and edges of weight 0 are left out.
/// Graphs of neighbours are better joined as memberships: [`fuzzy_graph`].
///
/// # Differences from igraph's `as_undirected`
///
/// There, the mean is of the directions that are there; here, one that is not weighs 0.
///
/// # Errors
///
/// [`Error::EdgeWeight`] for a weight that is negative or no number, and for sums beyond any number,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{CsrGraph, NoProgress};
/// use phenocoder_embed::fuzzy::{Directions, to_undirected};
///
/// // 0 → 1 with weight 3, 1 → 0 with weight 1, 1 → 2 with weight 2.
/// let graph = CsrGraph::new(vec![0, 1, 3, 3], vec![1, 0, 2], vec![3.0, 1.0, 2.0])?;
/// let sum = to_undirected(&graph, Directions::Sum, &NoProgress)?;
/// assert_eq!(sum.row(1).collect::<Vec<_>>(), [(0, 4.0), (2, 2.0)]);
/// let smaller = to_undirected(&graph, Directions::Smaller, &NoProgress)?;
/// assert_eq!(smaller.row(1).collect::<Vec<_>>(), [(0, 1.0)]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "as_undirected")]
pub fn to_undirected(
    graph: &CsrGraph,
    directions: Directions,
    progress: &dyn Progress,
) -> Result<CsrGraph> {
    check_weights(graph)?;
    let weight = |row: usize, column: usize, there: Option<f64>, here: Option<f64>| {
        let (there, here) = (there.unwrap_or(0.0), here.unwrap_or(0.0));
        match directions {
            _ if row == column => there,
            Directions::Sum => there + here,
            // Halved first, so that no sum is too large.
            Directions::Mean => there / 2.0 + here / 2.0,
            Directions::Larger => there.max(here),
            Directions::Smaller => there.min(here),
        }
    };
    progress.start("undirected graph", Some(graph.n_nodes() as u64));
    progress.check()?;
    let joined = join(graph, &graph.transposed(), weight, progress)?;
    check_weights(&joined)?;
    progress.finish();
    Ok(joined)
}

/// How a row's distances become weights.
struct Scale {
    rho: f64,
    sigma: f64,
}

impl Scale {
    /// The scale for rising distances to the neighbours; `mean` is that of all rows.
    fn of(distances: &[f64], mean: f64) -> Self {
        let rho = distances.iter().copied().find(|&d| d > 0.0).unwrap_or(0.0);
        let count = distances.len() as f64 + 1.0;
        let typical = if rho > 0.0 {
            distances.iter().sum::<f64>() / count
        } else {
            mean
        };
        Self::search(rho, distances, libm::log2(count), typical)
    }

    /// The scale for rising distances to the neighbours of a row that is none of theirs.
    fn of_new_row(distances: &[f64], mean: f64) -> Self {
        let target = libm::log2(distances.len() as f64);
        Self::search(0.0, distances.get(1..).unwrap_or(&[]), target, mean)
    }

    /// The scale by which the weights of these distances add up to the target.
    fn search(rho: f64, distances: &[f64], target: f64, typical: f64) -> Self {
        let (mut low, mut high, mut sigma) = (0.0, f64::INFINITY, 1.0);
        for _ in 0..HALVINGS {
            let sum: f64 = distances
                .iter()
                .map(|&d| libm::exp(-(d - rho).max(0.0) / sigma))
                .sum();
            if (sum - target).abs() < TOLERANCE {
                break;
            }
            if sum > target {
                high = sigma;
            } else {
                low = sigma;
            }
            sigma = if high == f64::INFINITY {
                sigma * 2.0
            } else {
                (low + high) / 2.0
            };
        }
        Self {
            rho,
            sigma: sigma.max(LEAST_SHARE * typical),
        }
    }

    fn weight(&self, distance: f64) -> f64 {
        if distance <= self.rho || self.sigma == 0.0 {
            1.0
        } else {
            libm::exp(-(distance - self.rho) / self.sigma)
        }
    }
}

/// Joins the two directions of each edge.
fn symmetrize(directed: &CsrGraph, mix_ratio: f64, progress: &dyn Progress) -> Result<CsrGraph> {
    let weight = |row: usize, column: usize, there: Option<f64>, here: Option<f64>| {
        if row == column {
            return 0.0;
        }
        let (there, here) = (there.unwrap_or(0.0), here.unwrap_or(0.0));
        mix_ratio * either(there, here) + (1.0 - mix_ratio) * there * here
    };
    progress.check()?;
    join(directed, &directed.transposed(), weight, progress)
}

/// Equal to `a + b − ab`, and exactly 1 when one of the two is.
fn either(a: f64, b: f64) -> f64 {
    let (large, small) = (a.max(b), a.min(b));
    large + small * (1.0 - large)
}

/// The edges of two graphs of the same nodes with the weights that `weight` gives them from row, column and the two
/// weights; an edge that is given 0 is left out.
///
/// Reports as many steps as there are nodes.
fn join(
    a: &CsrGraph,
    b: &CsrGraph,
    weight: impl Fn(usize, usize, Option<f64>, Option<f64>) -> f64,
    progress: &dyn Progress,
) -> Result<CsrGraph> {
    let nodes = a.n_nodes();
    let most = a.n_edges() + b.n_edges();
    let mut indptr = Vec::with_capacity(nodes + 1);
    indptr.push(0);
    let (mut indices, mut values) = (Vec::with_capacity(most), Vec::with_capacity(most));
    for node in 0..nodes {
        ask(node, nodes, progress)?;
        let (mut a, mut b) = (a.row(node).peekable(), b.row(node).peekable());
        loop {
            let next_a = a.peek().map_or(usize::MAX, |edge| edge.0);
            let next_b = b.peek().map_or(usize::MAX, |edge| edge.0);
            let column = next_a.min(next_b);
            if column == usize::MAX {
                break;
            }
            let of_a = a.next_if(|edge| edge.0 == column).map(|edge| edge.1);
            let of_b = b.next_if(|edge| edge.0 == column).map(|edge| edge.1);
            let weight = weight(node, column, of_a, of_b);
            if weight > 0.0 {
                indices.push(column as u32);
                values.push(weight);
            }
        }
        indptr.push(indices.len());
    }
    indices.shrink_to_fit();
    values.shrink_to_fit();
    Ok(CsrGraph::new(indptr, indices, values)?)
}

/// Refuses negative, infinite and NaN weights.
fn check_weights(graph: &CsrGraph) -> Result<()> {
    for row in 0..graph.n_nodes() {
        for (column, weight) in graph.row(row) {
            if !(weight >= 0.0 && weight.is_finite()) {
                return Err(Error::EdgeWeight {
                    row,
                    column,
                    weight,
                });
            }
        }
    }
    Ok(())
}

/// Refuses negative, infinite and NaN weights and directed edges.
pub(crate) fn check_undirected(graph: &CsrGraph) -> Result<()> {
    check_weights(graph)?;
    let (indices, values) = (graph.indices(), graph.values());
    // The edges into a row, taken row by row, must be those out of it, one after the other.
    let mut next = graph.indptr().to_vec();
    for row in 0..graph.n_nodes() {
        for (column, weight) in graph.row(row) {
            let back = next[column];
            let source = if back < graph.indptr()[column + 1] {
                indices[back] as usize
            } else {
                usize::MAX
            };
            if source < row {
                // The edge before has nothing back.
                return Err(Error::NotSymmetric {
                    row: column,
                    column: source,
                });
            }
            let same =
                source == row && (values[back] - weight).abs() <= 1e-6 * weight.max(values[back]);
            if !same {
                return Err(Error::NotSymmetric { row, column });
            }
            next[column] += 1;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{CancelToken, NoProgress, Seed};

    use super::*;
    use crate::knn::{Metric, nearest_neighbors, query_neighbors};
    use crate::patience::PATIENCE;
    use crate::patience::tests::times_asked;

    fn graph(indptr: &[usize], indices: &[u32], values: &[f64]) -> CsrGraph {
        CsrGraph::new(indptr.to_vec(), indices.to_vec(), values.to_vec()).unwrap()
    }

    fn graph_of(x: &Array2<f64>, k: usize) -> CsrGraph {
        let neighbors = nearest_neighbors(x.view(), k, Metric::Euclidean, &NoProgress).unwrap();
        fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).unwrap()
    }

    #[test]
    fn a_graph_can_be_stopped_on_its_way() {
        let neighbors =
            nearest_neighbors(random(20).view(), 3, Metric::Euclidean, &NoProgress).unwrap();
        let token = CancelToken::new();
        token.cancel();
        let result = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &token);
        assert!(matches!(result, Err(Error::Cancelled(_))));
        let graph = graph_of(&random(20), 3);
        for stopped in [
            symmetrize(&graph, 1.0, &token),
            directed(&neighbors, &token),
        ] {
            assert!(matches!(stopped, Err(Error::Cancelled(_))));
        }
        let stopped = membership(&neighbors, &token);
        assert!(matches!(stopped, Err(Error::Cancelled(_))));
    }

    #[test]
    fn graphs_of_many_nodes_ask_on_their_way_whether_to_stop() {
        // Pairs of nodes.
        let n = PATIENCE + 2;
        let partners = (0..n as u32).map(|node| node ^ 1).collect();
        let pairs = CsrGraph::new((0..=n).collect(), partners, vec![1.0; n]).unwrap();
        assert_eq!(times_asked(|progress| trim(&pairs, 1, progress)), 4);
        let joined = |progress: &dyn Progress| to_undirected(&pairs, Directions::Mean, progress);
        assert_eq!(times_asked(joined), 3);
        let neighbors =
            nearest_neighbors(random(20).view(), 3, Metric::Euclidean, &NoProgress).unwrap();
        let config = FuzzyConfig::default();
        let graph = |progress: &dyn Progress| fuzzy_graph(&neighbors, &config, progress);
        assert_eq!(times_asked(graph), 4);
        let shape = (ROWS + 1, 1);
        let far = Neighbors::new(Array2::zeros(shape), Array2::ones(shape)).unwrap();
        assert_eq!(times_asked(|progress| membership(&far, progress)), 2);
    }

    fn random(n: usize) -> Array2<f64> {
        let mut stream = Seed::new(11).stream("x", 0);
        Array2::from_shape_fn((n, 3), |_| stream.normal())
    }

    #[test]
    fn weights_are_symmetric_and_at_most_one() {
        let graph = graph_of(&random(200), 10);
        assert_eq!(graph, graph.transposed());
        assert!(graph.values().iter().all(|&w| w > 0.0 && w <= 1.0));
        // The nearest neighbour belongs fully.
        for node in 0..200 {
            assert!(graph.row(node).any(|(_, w)| w == 1.0));
        }
    }

    #[test]
    fn directed_weights_add_up_to_the_target() {
        let neighbors =
            nearest_neighbors(random(100).view(), 7, Metric::Euclidean, &NoProgress).unwrap();
        for row in 0..100 {
            let distances: Vec<f64> = neighbors.row(row).map(|pair| pair.1).collect();
            let scale = Scale::of(&distances, 1.0);
            let sum: f64 = distances.iter().map(|&d| scale.weight(d)).sum();
            assert!((sum - 3.0).abs() < 1e-4, "{sum}");
        }
    }

    #[test]
    fn weights_of_new_rows_but_the_nearest_add_up_to_the_target() {
        let (x, new) = (random(100), random(120));
        let new = new.slice(ndarray::s![90.., ..]);
        let neighbors = query_neighbors(x.view(), new, 8, Metric::Euclidean, &NoProgress).unwrap();
        let of = |neighbors: &Neighbors| membership(neighbors, &NoProgress).unwrap();
        for (row, weights) in of(&neighbors).outer_iter().enumerate() {
            let sum: f64 = weights.iter().skip(1).sum();
            assert!((sum - 3.0).abs() < 1e-4, "{sum}");
            // The first ten new rows are rows of the map.
            assert_eq!(weights[0] == 1.0, row < 10, "{row}");
        }
        // One neighbour, none, and rows that are all the same.
        let far = Neighbors::new(array![[0]], array![[2.0]]).unwrap();
        assert_eq!(of(&far), array![[libm::exp(-2.0)]]);
        let none = Neighbors::new(Array2::zeros((2, 0)), Array2::zeros((2, 0))).unwrap();
        assert_eq!(of(&none).dim(), (2, 0));
        let same = Neighbors::new(array![[0, 1, 2]], Array2::zeros((1, 3))).unwrap();
        assert_eq!(of(&same), array![[1.0, 1.0, 1.0]]);
    }

    #[test]
    fn duplicates_belong_fully_together() {
        let x = Array2::from_elem((6, 2), 1.0);
        let graph = graph_of(&x, 5);
        assert!(graph.values().iter().all(|&w| w == 1.0));
        assert_eq!(graph.n_edges(), 30);
    }

    #[test]
    fn both_and_either_bracket_the_mixture() {
        let neighbors =
            nearest_neighbors(random(60).view(), 5, Metric::Euclidean, &NoProgress).unwrap();
        let sum = |ratio| {
            let config = FuzzyConfig::default().with_mix_ratio(ratio);
            fuzzy_graph(&neighbors, &config, &NoProgress)
                .unwrap()
                .values()
                .iter()
                .sum::<f64>()
        };
        assert!(sum(0.0) < sum(0.5) && sum(0.5) < sum(1.0));
        assert!(
            FuzzyConfig::default()
                .with_mix_ratio(1.5)
                .validate()
                .is_err()
        );
    }

    #[test]
    fn directions_are_joined_as_asked_for() {
        // 0 → 0 (5), 0 → 1 (3), 1 → 0 (1), 1 → 2 (2), 2 → 3 (0).
        let directed = graph(
            &[0, 2, 4, 5, 5],
            &[0, 1, 0, 2, 3],
            &[5.0, 3.0, 1.0, 2.0, 0.0],
        );
        for (directions, back_and_forth, one_way) in [
            (Directions::Sum, 4.0, Some(2.0)),
            (Directions::Mean, 2.0, Some(1.0)),
            (Directions::Larger, 3.0, Some(2.0)),
            (Directions::Smaller, 1.0, None),
        ] {
            let joined = to_undirected(&directed, directions, &NoProgress).unwrap();
            assert_eq!(check_undirected(&joined), Ok(()));
            let row: Vec<_> = joined.row(0).collect();
            assert_eq!(row, [(0, 5.0), (1, back_and_forth)], "{directions:?}");
            let weight = joined.row(2).next().map(|edge| edge.1);
            assert_eq!(weight, one_way, "{directions:?}");
            assert_eq!(joined.degree(3), 0);
        }
        assert_eq!(Directions::default(), Directions::Sum);
    }

    #[test]
    fn weights_that_are_none_or_too_large_are_refused() {
        for weight in [-1.0, f64::NAN, f64::INFINITY, f64::MAX] {
            let both = graph(&[0, 1, 2], &[1, 0], &[weight; 2]);
            assert!(matches!(
                to_undirected(&both, Directions::Sum, &NoProgress),
                Err(Error::EdgeWeight { .. })
            ));
        }
        let both = graph(&[0, 1, 2], &[1, 0], &[f64::MAX; 2]);
        assert_eq!(
            to_undirected(&both, Directions::Mean, &NoProgress).unwrap(),
            both
        );
    }

    #[test]
    fn trimming_keeps_the_strongest_of_both_ends() {
        // A star with weights 1, 2, 3 around node 0.
        let graph = CsrGraph::new(
            vec![0, 3, 4, 5, 6],
            vec![1, 2, 3, 0, 0, 0],
            vec![1.0, 2.0, 3.0, 1.0, 2.0, 3.0],
        )
        .unwrap();
        let trimmed = trim(&graph, 2, &NoProgress).unwrap();
        assert_eq!(trimmed.neighbors(0), [2, 3]);
        assert_eq!(trimmed.degree(1), 0);
        assert_eq!(trim(&graph, 3, &NoProgress).unwrap(), graph);
        assert!(trim(&graph, 0, &NoProgress).is_err());
        for weight in [-1.0, f64::NAN, f64::INFINITY] {
            let bad = graph.with_values(vec![1.0, 2.0, weight, 1.0, 2.0, weight]);
            assert!(matches!(
                trim(&bad.unwrap(), 2, &NoProgress),
                Err(Error::EdgeWeight {
                    row: 0,
                    column: 3,
                    ..
                })
            ));
        }
    }

    #[test]
    fn edges_of_weight_0_are_trimmed_however_many_are_kept() {
        let loose = graph(&[0, 2, 3, 4], &[1, 2, 0, 0], &[1.0, 0.0, 1.0, 0.0]);
        let trimmed = trim(&loose, 5, &NoProgress).unwrap();
        assert_eq!(trimmed, graph(&[0, 1, 2, 2], &[1, 0], &[1.0, 1.0]));
    }

    #[test]
    fn directed_graphs_and_bad_weights_are_found() {
        let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![1.0]).unwrap();
        assert_eq!(
            check_undirected(&one_way),
            Err(Error::NotSymmetric { row: 0, column: 1 })
        );
        let uneven = CsrGraph::new(vec![0, 1, 2], vec![1, 0], vec![1.0, 2.0]).unwrap();
        assert!(check_undirected(&uneven).is_err());
        let negative = CsrGraph::new(vec![0, 1, 2], vec![1, 0], vec![-1.0, -1.0]).unwrap();
        assert!(matches!(
            check_undirected(&negative),
            Err(Error::EdgeWeight { .. })
        ));
        assert_eq!(check_undirected(&graph_of(&random(30), 4)), Ok(()));
        // Edges 2 → 0 and 0 → 1 → 0: the first row is in order, the last has nothing back.
        let third = graph(&[0, 1, 2, 3], &[1, 0, 0], &[1.0; 3]);
        assert_eq!(
            check_undirected(&third),
            Err(Error::NotSymmetric { row: 2, column: 0 })
        );
        // Edges 1 → 2, 2 → 0 and 2 → 1: before row 2 answers row 1, its edge to row 0 is found alone.
        let before = graph(&[0, 0, 1, 3], &[2, 0, 1], &[1.0; 3]);
        assert_eq!(
            check_undirected(&before),
            Err(Error::NotSymmetric { row: 2, column: 0 })
        );
        let loops = graph(&[0, 1, 2], &[0, 1], &[1.0, 0.0]);
        assert_eq!(check_undirected(&loops), Ok(()));
        let neighbors = Neighbors::new(array![[9]], array![[1.0]]).unwrap();
        assert!(fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).is_err());
    }
}
