//! How many neighbors cells have, and which pieces the graph falls into.

use petgraph::unionfind::UnionFind;
use phenocoder_core::{Categorical, CsrGraph, ShapeError};

use crate::error::Result;

/// A mean and a standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MeanStd {
    /// The mean; NaN of nothing.
    pub mean: f64,
    /// The population standard deviation (divided by n); NaN of nothing.
    pub std: f64,
}

impl MeanStd {
    /// Of these numbers.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let n = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / n;
        let square = values.map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
        Self {
            mean,
            std: square.sqrt(),
        }
    }
}

/// The number of neighbors of the cells.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DegreeStatistics {
    /// Over all nodes.
    pub overall: MeanStd,
    /// Over the members of every cluster, in the order of the categories.
    pub per_cluster: Vec<MeanStd>,
}

/// Computes mean and standard deviation of the number of edges that arrive at the nodes, overall and per cluster.
///
/// In a symmetric graph that is the number of neighbors.
/// The edges come from all nodes, not from the same cluster only.
/// An empty cluster has NaN.
/// The cost is O(edges).
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
/// use phenocoder_spatial::{connectivity::degree_statistics, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["a", "b", "b"]);
/// let degrees = degree_statistics(&graph, &labels)?;
/// assert_eq!(degrees.overall.mean, 4.0 / 3.0);
/// assert_eq!((degrees.per_cluster[1].mean, degrees.per_cluster[1].std), (1.5, 0.5));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when there is not one label per node.
///
/// # Differences from the original
///
/// Double precision instead of single.
pub fn degree_statistics(graph: &CsrGraph, labels: &Categorical) -> Result<DegreeStatistics> {
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    let mut degree = vec![0_u32; graph.n_nodes()];
    for &column in graph.indices() {
        degree[column as usize] += 1;
    }
    let mut members: Vec<Vec<f64>> = vec![Vec::new(); labels.categories().len()];
    for (node, &d) in degree.iter().enumerate() {
        if let Some(code) = labels.code(node) {
            members[code].push(f64::from(d));
        }
    }
    let per_cluster = members.iter().map(|m| MeanStd::of(m.iter().copied()));
    Ok(DegreeStatistics {
        overall: MeanStd::of(degree.iter().map(|&d| f64::from(d))),
        per_cluster: per_cluster.collect(),
    })
}

/// The pieces of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Components {
    /// The piece of every node; pieces are numbered in the order of their first nodes.
    pub of_node: Vec<u32>,
    /// The number of nodes of every piece.
    pub sizes: Vec<usize>,
}

impl Components {
    /// The nodes of every piece, rising.
    #[must_use]
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members: Vec<Vec<usize>> = self
            .sizes
            .iter()
            .map(|&size| Vec::with_capacity(size))
            .collect();
        for (node, &piece) in self.of_node.iter().enumerate() {
            members[piece as usize].push(node);
        }
        members
    }
}

/// Finds the pieces within which every node can be reached from every other, whatever the direction of the edges.
/// The cost is O(edges) but for the inverse of the Ackermann function (Tarjan 1975, doi:10.1145/321879.321884).
///
/// # Shapes
///
/// [`Components::of_node`]: n for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{connectivity::connected_components, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [9.0], [1.0]].view(), 1.0)?;
/// let pieces = connected_components(&graph);
/// assert_eq!((pieces.of_node, pieces.sizes), (vec![0, 1, 0], vec![2, 1]));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
#[must_use]
pub fn connected_components(graph: &CsrGraph) -> Components {
    let n = graph.n_nodes();
    let mut sets = UnionFind::<u32>::new(n);
    for node in 0..n {
        for &other in graph.neighbors(node) {
            sets.union(node as u32, other);
        }
    }
    let mut piece_of_root = vec![u32::MAX; n];
    let mut sizes = Vec::new();
    let mut of_node = Vec::with_capacity(n);
    for node in 0..n {
        let piece = &mut piece_of_root[sets.find_mut(node as u32) as usize];
        if *piece == u32::MAX {
            *piece = sizes.len() as u32;
            sizes.push(0);
        }
        sizes[*piece as usize] += 1;
        of_node.push(*piece);
    }
    Components { of_node, sizes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_without_members_has_no_mean() {
        let labels = Categorical::new(vec![0, 0], vec!["a".into(), "b".into()]).unwrap();
        let degrees = degree_statistics(&CsrGraph::empty(2), &labels).unwrap();
        assert_eq!(
            degrees.overall,
            MeanStd {
                mean: 0.0,
                std: 0.0
            }
        );
        assert!(degrees.per_cluster[1].mean.is_nan() && degrees.per_cluster[1].std.is_nan());
    }

    #[test]
    fn pieces_ignore_the_direction_of_edges() {
        let graph = CsrGraph::new(vec![0, 0, 1, 2, 2], vec![0, 1], vec![1.0; 2]).unwrap();
        let pieces = connected_components(&graph);
        assert_eq!(pieces.sizes, [3, 1]);
        assert_eq!(pieces.members(), [vec![0, 1, 2], vec![3]]);
    }
}
