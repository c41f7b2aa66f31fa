//! From directed to undirected graphs.

use std::borrow::Cow;

use phenocoder_core::CsrGraph;

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
