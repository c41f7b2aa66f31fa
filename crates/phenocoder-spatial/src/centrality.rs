//! How central clusters and cells are in the graph.

mod betweenness;
mod nodes;
mod search;

use std::sync::atomic::{AtomicU64, Ordering};

use phenocoder_core::{Categorical, CsrGraph, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::neighbors::undirected;

pub use betweenness::{
    BetweennessConfig, BetweennessScale, betweenness_centrality, group_betweenness,
};
pub use nodes::{NodeCloseness, closeness_centrality, degree_centrality};

/// Which nodes the closeness of a cluster counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Closeness {
    /// All nodes outside the cluster; those that cannot be reached count as if their distance were 0.
    ///
    /// This is squidpy's and networkx' definition; it exceeds 1 in graphs of several pieces.
    #[default]
    AllNodes,
    /// Only the nodes that can be reached from the cluster.
    ReachableOnly,
}

/// Why a cluster's centralities are what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// The cluster has members, and there are nodes outside it.
    Proper,
    /// The cluster has no members: closeness and clustering are NaN, degree is 0.
    Empty,
    /// Every node is a member: degree is NaN.
    WholeGraph,
}

/// The centralities of every cluster, in the order of the categories.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GroupCentrality {
    /// The fraction of the nodes outside the cluster that touch it.
    pub degree: Vec<f64>,
    /// The mean clustering coefficient of the members.
    pub clustering: Vec<f64>,
    /// The number of nodes outside the cluster, divided by the sum of their distances to it in steps; 0 where the sum is 0.
    pub closeness: Vec<f64>,
    /// Whether the cluster is a proper one.
    pub state: Vec<GroupState>,
}

/// Computes the degree centrality, clustering and closeness of every cluster.
///
/// The graph is taken as undirected and unweighted, without loops.
/// For the members S of a cluster among all nodes V:
/// degree = |N(S) \ S| / |V \ S|; clustering = the mean of [`clustering_coefficients`] over S;
/// closeness = |V \ S| / Σ d(S, v) over the nodes v outside S, with the distance d in steps.
/// Nodes without a label belong to no cluster but to V.
///
/// The cost is one count of triangles and the breadth-first searches of k clusters, 16 at a time.
///
/// # Shapes
///
/// `labels`: n for a graph of n nodes; results: one entry per category.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::centrality::{Closeness, group_centrality};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["a", "a", "b", "b"]);
/// let centrality = group_centrality(&graph, &labels, Closeness::AllNodes)?;
/// assert_eq!(centrality.degree, [0.5, 0.5]);
/// assert_eq!(centrality.closeness[0], 2.0 / (1.0 + 2.0));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when there is not one label per node.
///
/// # Differences from squidpy
///
/// Where squidpy fails (an empty cluster, a cluster that is the whole graph) the value is NaN and
/// [`GroupState`] says why.
#[doc(alias = "centrality_scores")]
pub fn group_centrality(
    graph: &CsrGraph,
    labels: &Categorical,
    closeness: Closeness,
) -> Result<GroupCentrality> {
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    Ok(of_undirected(&undirected(graph), labels, closeness))
}

/// As [`group_centrality`] for a graph that is known to be symmetric and without loops.
pub(crate) fn of_undirected(
    graph: &CsrGraph,
    labels: &Categorical,
    closeness: Closeness,
) -> GroupCentrality {
    let n = graph.n_nodes();
    let coefficients = coefficients(graph);
    let k = labels.categories().len();
    let searches: Vec<Search> = (0..k.div_ceil(LANES))
        .into_par_iter()
        .flat_map_iter(|block| search(graph, labels, block * LANES))
        .collect();
    let mut coefficient_sums = vec![0.0; k];
    for (node, coefficient) in coefficients.iter().enumerate() {
        if let Some(code) = labels.code(node) {
            coefficient_sums[code] += coefficient;
        }
    }
    let sizes = labels.counts();
    let group = |code: usize| {
        let (size, search) = (sizes[code], &searches[code]);
        if size == 0 {
            return (0.0, f64::NAN, f64::NAN, GroupState::Empty);
        }
        let outside = (n - size) as u64;
        let clustering = coefficient_sums[code] / size as f64;
        let counted = match closeness {
            Closeness::AllNodes => outside,
            Closeness::ReachableOnly => search.reached,
        };
        let closeness = match search.steps {
            0 => 0.0,
            steps => counted as f64 / steps as f64,
        };
        if outside == 0 {
            return (f64::NAN, clustering, closeness, GroupState::WholeGraph);
        }
        let degree = search.touching as f64 / outside as f64;
        (degree, clustering, closeness, GroupState::Proper)
    };
    let groups: Vec<(f64, f64, f64, GroupState)> = (0..k).map(group).collect();
    GroupCentrality {
        degree: groups.iter().map(|g| g.0).collect(),
        clustering: groups.iter().map(|g| g.1).collect(),
        closeness: groups.iter().map(|g| g.2).collect(),
        state: groups.iter().map(|g| g.3).collect(),
    }
}

/// Clusters that are searched from at once: the bits of a mask.
const LANES: usize = u16::BITS as usize;

/// What a breadth-first search from all members of a cluster at once finds outside it.
#[derive(Clone, Copy, Default)]
struct Search {
    /// Nodes one step away.
    touching: u64,
    /// Nodes any number of steps away.
    reached: u64,
    /// The sum of the steps to them.
    steps: u64,
}

/// Searches from the clusters `first..first + LANES` together (Then et al. 2014, doi:10.14778/2735496.2735507).
///
/// Where several clusters reach a node after the same number of steps its edges are walked once for all of them.
fn search(graph: &CsrGraph, labels: &Categorical, first: usize) -> Vec<Search> {
    let n = graph.n_nodes();
    let lanes = LANES.min(labels.categories().len() - first);
    let mut found = vec![Search::default(); lanes];
    let lane = |node: usize| {
        labels
            .code(node)?
            .checked_sub(first)
            .filter(|&lane| lane < lanes)
    };
    let mut seen: Vec<u16> = (0..n)
        .map(|node| lane(node).map_or(0, |lane| 1 << lane))
        .collect();
    // The clusters that reached a node in the last step, and those that reach it in this one.
    let mut fresh = seen.clone();
    let mut coming = vec![0_u16; n];
    let mut front: Vec<u32> = (0..n as u32)
        .filter(|&node| seen[node as usize] != 0)
        .collect();
    let mut step = 0;
    while !front.is_empty() {
        step += 1;
        let mut next = Vec::new();
        for &node in &front {
            let mask = fresh[node as usize];
            for &other in graph.neighbors(node as usize) {
                let new = mask & !seen[other as usize];
                if new != 0 {
                    if coming[other as usize] == 0 {
                        next.push(other);
                    }
                    coming[other as usize] |= new;
                }
            }
        }
        for &node in &next {
            let mut new = std::mem::take(&mut coming[node as usize]);
            seen[node as usize] |= new;
            fresh[node as usize] = new;
            while new != 0 {
                let found = &mut found[new.trailing_zeros() as usize];
                found.touching += u64::from(step == 1);
                found.reached += 1;
                found.steps += step;
                new &= new - 1;
            }
        }
        front = next;
    }
    found
}

/// Computes, for every node, which fraction of the pairs of its neighbors are neighbors of each other.
///
/// c = 2 T / (k (k − 1)) for a node in T triangles with k neighbors, 0 for fewer than two neighbors.
/// The graph is taken as undirected and unweighted, without loops.
/// The cost is O(Σ degree²) (the coefficient: Watts and Strogatz 1998, doi:10.1038/30918).
///
/// # Shapes
///
/// Result: n for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{centrality::clustering_coefficients, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [4.0]].view(), 2.0)?;
/// let c = clustering_coefficients(&graph);
/// assert_eq!(c, [1.0, 1.0, 1.0 / 3.0, 0.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
#[doc(alias = "average_clustering")]
#[must_use]
pub fn clustering_coefficients(graph: &CsrGraph) -> Vec<f64> {
    coefficients(&undirected(graph))
}

fn coefficients(graph: &CsrGraph) -> Vec<f64> {
    let coefficient = |(node, triangles): (usize, AtomicU64)| match graph.degree(node) as u64 {
        0 | 1 => 0.0,
        k => (2 * triangles.into_inner()) as f64 / (k * (k - 1)) as f64,
    };
    triangles(graph)
        .into_iter()
        .enumerate()
        .map(coefficient)
        .collect()
}

/// The number of triangles that every node is in.
///
/// Each is found once, from its first node by way of its second, and counted at all three (Schank and Wagner 2005,
/// doi:10.1007/11427186_54): sums of whole numbers, so it does not matter which thread comes first.
fn triangles(graph: &CsrGraph) -> Vec<AtomicU64> {
    let counts: Vec<AtomicU64> = (0..graph.n_nodes()).map(|_| AtomicU64::new(0)).collect();
    let count = |node: usize, found: u64| {
        counts[node].fetch_add(found, Ordering::Relaxed);
    };
    (0..graph.n_nodes())
        .into_par_iter()
        .with_min_len(256)
        .for_each(|first| {
            let mut at_first = 0;
            let mut later = after(graph.neighbors(first), first as u32);
            while let [second, thirds @ ..] = later {
                later = thirds;
                let theirs = after(graph.neighbors(*second as usize), *second);
                let mut at_second = 0;
                for_each_shared(thirds, theirs, |third| {
                    count(third as usize, 1);
                    at_second += 1;
                });
                count(*second as usize, at_second);
                at_first += at_second;
            }
            count(first, at_first);
        });
    counts
}

/// The part of a rising list that lies above `node`.
fn after(neighbors: &[u32], node: u32) -> &[u32] {
    &neighbors[neighbors.partition_point(|&other| other <= node)..]
}

/// Calls `found` with the entries that two rising lists share.
fn for_each_shared(mut a: &[u32], mut b: &[u32], mut found: impl FnMut(u32)) {
    while let (Some(&x), Some(&y)) = (a.first(), b.first()) {
        if x == y {
            found(x);
        }
        a = &a[usize::from(x <= y)..];
        b = &b[usize::from(y <= x)..];
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::radius_graph;

    fn chain(n: usize) -> CsrGraph {
        let points = ndarray::Array2::from_shape_fn((n, 1), |(i, _)| i as f64);
        radius_graph(points.view(), 1.0).unwrap()
    }

    #[test]
    fn an_empty_cluster_and_the_whole_graph_are_flagged() {
        let labels = Categorical::new(vec![1; 3], vec!["none".into(), "all".into()]).unwrap();
        let c = group_centrality(&chain(3), &labels, Closeness::AllNodes).unwrap();
        assert_eq!(c.state, [GroupState::Empty, GroupState::WholeGraph]);
        assert_eq!(
            (c.degree[0], c.closeness[1], c.clustering[1]),
            (0.0, 0.0, 0.0)
        );
        assert!(c.degree[1].is_nan() && c.closeness[0].is_nan() && c.clustering[0].is_nan());
    }

    #[test]
    fn no_edges_give_zeros() {
        let labels = Categorical::from_labels(["a", "b"]);
        let c = group_centrality(&CsrGraph::empty(2), &labels, Closeness::AllNodes).unwrap();
        assert_eq!(
            (c.degree, c.clustering, c.closeness),
            (vec![0.0; 2], vec![0.0; 2], vec![0.0; 2])
        );
    }

    #[test]
    fn closeness_of_a_graph_in_pieces_depends_on_what_is_counted() {
        let graph = radius_graph(array![[0.0], [1.0], [50.0], [51.0]].view(), 1.0).unwrap();
        let labels = Categorical::from_labels(["a", "b", "b", "b"]);
        let all = group_centrality(&graph, &labels, Closeness::AllNodes).unwrap();
        let reachable = group_centrality(&graph, &labels, Closeness::ReachableOnly).unwrap();
        assert_eq!((all.closeness[0], reachable.closeness[0]), (3.0, 1.0));
    }

    #[test]
    fn nodes_without_a_label_stay_in_the_graph() {
        let labels = Categorical::from_optional_labels([Some("a"), None, Some("b")]);
        let c = group_centrality(&chain(3), &labels, Closeness::AllNodes).unwrap();
        assert_eq!(c.degree, [0.5, 0.5]);
        assert_eq!(c.closeness[0], 2.0 / 3.0);
    }

    #[test]
    fn many_clusters_are_searched_from_as_if_each_were_alone() {
        let n = 60;
        let labels = Categorical::from_labels((0..n).map(|i| format!("{:02}", i * 7 % 40)));
        let all = group_centrality(&chain(n), &labels, Closeness::AllNodes).unwrap();
        for code in 0..40 {
            let members = labels.members(code);
            let distance = |i: usize| members.iter().map(|&m| m.abs_diff(i)).min().unwrap();
            let steps: usize = (0..n).map(distance).sum();
            let touching = (0..n).filter(|&i| distance(i) == 1).count();
            let outside = (n - members.len()) as f64;
            assert_eq!(all.closeness[code], outside / steps as f64, "{code}");
            assert_eq!(all.degree[code], touching as f64 / outside, "{code}");
        }
    }

    #[test]
    fn triangles_are_counted_as_if_every_pair_were_looked_at() {
        let mut stream = phenocoder_core::Seed::new(9).stream("points", 0);
        for radius in [2.0, 20.0, f64::INFINITY] {
            let points =
                ndarray::Array2::from_shape_simple_fn((90, 2), || stream.uniform_in(0.0, 60.0));
            let graph = radius_graph(points.view(), radius).unwrap();
            let linked = |a: u32, b: u32| graph.neighbors(a as usize).contains(&b);
            for (node, found) in clustering_coefficients(&graph).into_iter().enumerate() {
                let mine = graph.neighbors(node);
                let ordered = mine.iter().flat_map(|&a| mine.iter().map(move |&b| (a, b)));
                let closed = ordered.filter(|&(a, b)| linked(a, b)).count();
                let pairs = (mine.len() * mine.len().saturating_sub(1)).max(1);
                assert_eq!(found, closed as f64 / pairs as f64, "{radius}, {node}");
            }
        }
    }

    #[test]
    fn a_directed_graph_with_loops_is_taken_as_undirected_and_simple() {
        // 0 → 1 → 2 → 0 and a loop at 0: a triangle.
        let graph = CsrGraph::new(vec![0, 2, 3, 4], vec![0, 1, 2, 0], vec![1.0; 4]).unwrap();
        assert_eq!(clustering_coefficients(&graph), [1.0; 3]);
    }
}
