//! From directed to undirected graphs, and the loops of nodes.

use std::borrow::Cow;

use phenocoder_core::CsrGraph;

use super::rows::graph_of;

/// Whether every edge has a counterpart in the other direction; values are not compared.
/// The cost is O(edges).
///
/// # Examples
///
/// ```
/// use phenocoder_core::CsrGraph;
/// use phenocoder_spatial::neighbors::is_symmetric;
///
/// let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![2.0])?;
/// assert!(!is_symmetric(&one_way));
/// # Ok::<(), phenocoder_core::GraphError>(())
/// ```
#[must_use]
pub fn is_symmetric(graph: &CsrGraph) -> bool {
    each_symmetric(graph, |_| {})
}

/// As [`is_symmetric`], and passes on the neighbors of each node that are higher than it, as far as the graph is symmetric.
pub(crate) fn each_symmetric(graph: &CsrGraph, mut higher: impl FnMut(&[u32])) -> bool {
    let (pointers, indices) = (graph.indptr(), graph.indices());
    // As nodes rise, each edge to a higher node is the next one that the higher node has back.
    let mut next: Vec<usize> = pointers[..graph.n_nodes()].to_vec();
    for node in 0..graph.n_nodes() {
        let others = graph.neighbors(node);
        // All lower ones were met; what is left has no counterpart, and what is too much was taken from the next node.
        let lower = next[node] - pointers[node];
        let above = others.get(lower).map(|&other| other as usize);
        if lower > others.len() || above.is_some_and(|above| above < node) {
            return false;
        }
        let above = &others[lower + usize::from(above == Some(node))..];
        for &other in above {
            let back = &mut next[other as usize];
            if indices.get(*back) != Some(&(node as u32)) {
                return false;
            }
            *back += 1;
        }
        higher(above);
    }
    true
}

/// The graph with every edge in both directions and without loops; where both directions exist, each keeps its value.
/// The cost is O(edges).
///
/// # Examples
///
/// ```
/// use phenocoder_core::CsrGraph;
/// use phenocoder_spatial::neighbors::symmetrized;
///
/// let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![2.0])?;
/// assert_eq!(symmetrized(&one_way).row(1).collect::<Vec<_>>(), [(0, 2.0)]);
/// # Ok::<(), phenocoder_core::GraphError>(())
/// ```
#[must_use]
pub fn symmetrized(graph: &CsrGraph) -> CsrGraph {
    merged(graph, true)
}

/// The edges that exist in both directions, without loops.
/// The cost is O(edges).
///
/// # Examples
///
/// ```
/// use phenocoder_core::CsrGraph;
/// use phenocoder_spatial::neighbors::mutual;
///
/// let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![2.0])?;
/// assert_eq!(mutual(&one_way).n_edges(), 0);
/// # Ok::<(), phenocoder_core::GraphError>(())
/// ```
#[must_use]
pub fn mutual(graph: &CsrGraph) -> CsrGraph {
    merged(graph, false)
}

/// The graph with an edge of this value from every node to itself, in place of such as there are.
///
/// The graphs of this crate have none: a cell is not its own neighbor.
/// Averages over a cell and its neighbors, such as those that [`lee_l`](crate::autocorrelation::lee_l) was defined with, need
/// them.
/// The cost is O(edges).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{neighbors::with_loops, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [2.0], [9.0]].view(), 2.0)?;
/// let graph = with_loops(&graph, 0.0);
/// assert_eq!(graph.row(1).collect::<Vec<_>>(), [(0, 2.0), (1, 0.0)]);
/// assert_eq!(graph.neighbors(2), [2]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Differences from squidpy
///
/// squidpy puts 1 on the diagonal of its connectivities and 0 on that of its distances, while the graph is made.
/// Here statistics that count edges count a loop as 1 whatever its value, and functions that weigh edges by their value are
/// given the one that suits them.
#[doc(alias = "set_diag")]
#[must_use]
pub fn with_loops(graph: &CsrGraph, value: f64) -> CsrGraph {
    graph_of(
        graph.n_nodes(),
        || (),
        |(), node, edges| {
            let row = graph.row(node).filter(|&(other, _)| other != node);
            let lower = graph
                .neighbors(node)
                .partition_point(|&other| (other as usize) < node);
            let place = edges.len() + lower;
            edges.extend(row.map(|(other, value)| (other as u32, value)));
            edges.insert(place, (node as u32, value));
        },
    )
}

/// The graph itself where it is undirected and has no loops, or else its symmetrized form.
pub(crate) fn undirected(graph: &CsrGraph) -> Cow<'_, CsrGraph> {
    if is_symmetric(graph) && !has_loops(graph) {
        Cow::Borrowed(graph)
    } else {
        Cow::Owned(symmetrized(graph))
    }
}

fn has_loops(graph: &CsrGraph) -> bool {
    let looped = |row: usize| graph.neighbors(row).binary_search(&(row as u32)).is_ok();
    (0..graph.n_nodes()).any(looped)
}

/// The graph itself where it has no loops, or else its other edges.
pub(crate) fn without_loops(graph: &CsrGraph) -> Cow<'_, CsrGraph> {
    if !has_loops(graph) {
        return Cow::Borrowed(graph);
    }
    let mut indptr = vec![0];
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    for row in 0..graph.n_nodes() {
        for (column, value) in graph.row(row).filter(|&(column, _)| column != row) {
            indices.push(column as u32);
            values.push(value);
        }
        indptr.push(indices.len());
    }
    Cow::Owned(CsrGraph::new(indptr, indices, values).expect("a part of a graph is a graph"))
}

fn merged(graph: &CsrGraph, either: bool) -> CsrGraph {
    let turned = graph.transposed();
    let mut indptr = vec![0];
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    for row in 0..graph.n_nodes() {
        let mut there = graph.row(row).peekable();
        let mut back = turned.row(row).peekable();
        loop {
            let (column, value, both) = match (there.peek().copied(), back.peek().copied()) {
                (None, None) => break,
                (Some((a, value)), Some((b, _))) if a == b => {
                    there.next();
                    back.next();
                    (a, value, true)
                }
                (Some((a, value)), other) if other.is_none_or(|(b, _)| a < b) => {
                    there.next();
                    (a, value, false)
                }
                (_, Some((b, value))) => {
                    back.next();
                    (b, value, false)
                }
                (Some(_), None) => break,
            };
            if column != row && (either || both) {
                indices.push(column as u32);
                values.push(value);
            }
        }
        indptr.push(indices.len());
    }
    CsrGraph::new(indptr, indices, values).expect("merging two sorted rows gives a sorted row")
}
