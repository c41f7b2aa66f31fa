//! Graphs of petgraph.

use petgraph::graph::DiGraph;
use petgraph::visit::{EdgeRef, IntoEdgeReferences, NodeIndexable};
use phenocoder_core::{CsrGraph, GraphError};

use super::rows::row_pointers;

/// The same nodes and edges as a graph of petgraph, for its algorithms; nodes have the weight of their row.
/// The cost is O(edges).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use petgraph::algo::connected_components;
/// use phenocoder_spatial::{neighbors::to_petgraph, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [1.0], [9.0]].view(), 1.0)?;
/// assert_eq!(connected_components(&to_petgraph(&graph)), 2);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
#[must_use]
pub fn to_petgraph(graph: &CsrGraph) -> DiGraph<u32, f64> {
    let mut out = DiGraph::with_capacity(graph.n_nodes(), graph.n_edges());
    let nodes: Vec<_> = (0..graph.n_nodes() as u32)
        .map(|row| out.add_node(row))
        .collect();
    for node in 0..graph.n_nodes() {
        for (other, value) in graph.row(node) {
            out.add_edge(nodes[node], nodes[other], value);
        }
    }
    out
}

/// A graph of petgraph, directed or not, as compressed rows; `value` makes the value of an edge.
///
/// The rows are the indices of the nodes; an undirected edge leads in both directions.
/// The cost is O(edges log edges).
///
/// # Examples
///
/// ```
/// use petgraph::graph::UnGraph;
/// use phenocoder_spatial::neighbors::from_petgraph;
///
/// let graph = UnGraph::<(), f64>::from_edges([(0, 1, 2.5)]);
/// let graph = from_petgraph(&graph, |&weight| weight)?;
/// assert_eq!(graph.row(1).collect::<Vec<_>>(), [(0, 2.5)]);
/// # Ok::<(), phenocoder_core::GraphError>(())
/// ```
///
/// # Errors
///
/// [`GraphError::Order`] where two edges lead from the same node to the same other.
pub fn from_petgraph<G>(
    graph: G,
    value: impl Fn(&G::EdgeWeight) -> f64,
) -> Result<CsrGraph, GraphError>
where
    G: IntoEdgeReferences + NodeIndexable + petgraph::visit::GraphProp,
{
    let n = graph.node_bound();
    let mut edges = Vec::new();
    for edge in graph.edge_references() {
        let (from, to) = (graph.to_index(edge.source()), graph.to_index(edge.target()));
        let value = value(edge.weight());
        edges.push((from, to, value));
        if !graph.is_directed() && from != to {
            edges.push((to, from, value));
        }
    }
    edges.sort_by_key(|&(from, to, _)| (from, to));
    if u32::try_from(n).is_err() {
        return Err(GraphError::TooManyNodes { nodes: n });
    }
    let indptr = row_pointers(n, edges.iter().map(|edge| edge.0));
    let indices = edges.iter().map(|&(_, to, _)| to as u32).collect();
    let values = edges.iter().map(|edge| edge.2).collect();
    CsrGraph::new(indptr, indices, values)
}
