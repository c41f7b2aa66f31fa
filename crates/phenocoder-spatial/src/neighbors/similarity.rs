//! Weights from the graph itself.

use phenocoder_core::CsrGraph;

use super::rows::graph_of;

/// Divides every edge by the roots of the numbers of edges that arrive at its two ends.
///
/// D^(−½) A D^(−½) for an adjacency A of ones and its column sums D; in an undirected graph the largest eigenvalue of the
/// result is 1.
/// An edge from a node that no edge arrives at has the value 0.
/// The cost is O(edges).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{neighbors::spectral, radius_graph};
///
/// let chain = radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0)?;
/// assert_eq!(spectral(&chain).row(0).next(), Some((1, 2.0_f64.sqrt().recip())));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Differences from squidpy
///
/// 64 bits where it has 32.
#[must_use]
pub fn spectral(graph: &CsrGraph) -> CsrGraph {
    let mut arriving = vec![0_u32; graph.n_nodes()];
    for &node in graph.indices() {
        arriving[node as usize] += 1;
    }
    let weigh = |a: usize, b: usize| {
        let product = f64::from(arriving[a]) * f64::from(arriving[b]);
        if product > 0.0 {
            product.sqrt().recip()
        } else {
            0.0
        }
    };
    let mut out = graph.clone();
    let rows = graph.indptr().windows(2).enumerate();
    for (node, range) in rows {
        for place in range[0]..range[1] {
            out.values_mut()[place] = weigh(node, graph.indices()[place] as usize);
        }
    }
    out
}

/// Links nodes that have neighbors in common; the values are the cosines of the angles between their rows of the adjacency.
///
/// The number of common neighbors over the root of the product of both degrees: 1 for nodes with the same neighbors, among
/// them a node with itself; nodes without neighbors have no edges.
/// Neighbors themselves are linked only where they have a neighbor in common.
/// The graph has an edge for every pair of nodes two steps apart, which takes memory of that order.
/// The cost is O(Σ degree²) (of an undirected graph).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{neighbors::cosine, radius_graph};
///
/// let chain = radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0)?;
/// // The ends share their only neighbor, the middle.
/// assert_eq!(cosine(&chain).row(0).collect::<Vec<_>>(), [(0, 1.0), (2, 1.0)]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Differences from squidpy
///
/// 64 bits where it has 32.
#[must_use]
pub fn cosine(graph: &CsrGraph) -> CsrGraph {
    let turned = graph.transposed();
    graph_of(
        graph.n_nodes(),
        Vec::new,
        |others: &mut Vec<u32>, node, edges| {
            others.clear();
            for &common in graph.neighbors(node) {
                others.extend_from_slice(turned.neighbors(common as usize));
            }
            others.sort_unstable();
            edges.extend(others.chunk_by(|a, b| a == b).map(|same| {
                let degrees = graph.degree(node) as f64 * graph.degree(same[0] as usize) as f64;
                (same[0], same.len() as f64 / degrees.sqrt())
            }));
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_edges_and_lone_nodes_have_no_infinite_weights() {
        let graph = CsrGraph::new(vec![0, 1, 1, 1], vec![1], vec![9.0]).unwrap();
        assert_eq!(spectral(&graph).values(), [0.0]);
        assert_eq!(cosine(&graph).row(0).collect::<Vec<_>>(), [(0, 1.0)]);
        assert_eq!(cosine(&graph).n_edges(), 1);
    }
}
