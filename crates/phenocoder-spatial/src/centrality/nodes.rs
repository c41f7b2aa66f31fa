//! How central single cells are.

use phenocoder_core::{CsrGraph, Progress};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::search::Search;
use crate::error::Result;
use crate::neighbors::undirected;

/// How the closeness of a node in a graph of several pieces is defined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeCloseness {
    /// r / Σ d · r / (n − 1) for the r nodes that can be reached: a node of a small piece is not central (Wasserman and Faust
    /// 1994). networkx' default.
    #[default]
    #[doc(alias = "wf_improved")]
    Improved,
    /// r / Σ d: only the nodes that can be reached count.
    ReachableOnly,
}

/// Computes which part of the other nodes every node is linked to.
///
/// The graph is taken as undirected, without loops.
/// NaN for a node that is alone in the graph.
/// The cost is O(edges) (Freeman 1978, doi:10.1016/0378-8733(78)90021-7).
///
/// # Shapes
///
/// Result: n for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{centrality::degree_centrality, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0)?;
/// assert_eq!(degree_centrality(&graph), [0.5, 1.0, 0.5]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
#[must_use]
pub fn degree_centrality(graph: &CsrGraph) -> Vec<f64> {
    let graph = undirected(graph);
    let others = graph.n_nodes() as f64 - 1.0;
    (0..graph.n_nodes())
        .map(|node| graph.degree(node) as f64 / others)
        .collect()
}

/// Computes how few steps every node is away from the others (Freeman 1978, doi:10.1016/0378-8733(78)90021-7).
///
/// The graph is taken as undirected and unweighted, without loops; the distances d are in steps.
/// 0 for a node without neighbors.
/// The cost is O(n · edges), nodes in parallel: for samples of up to some 10,000 cells.
///
/// # Shapes
///
/// Result: n for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::centrality::{NodeCloseness, closeness_centrality};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0)?;
/// let closeness = closeness_centrality(&graph, NodeCloseness::Improved, &NoProgress)?;
/// assert_eq!(closeness, [2.0 / 3.0, 1.0, 2.0 / 3.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Cancelled`](crate::Error::Cancelled) when `progress` asks to stop.
pub fn closeness_centrality(
    graph: &CsrGraph,
    definition: NodeCloseness,
    progress: &dyn Progress,
) -> Result<Vec<f64>> {
    let graph = undirected(graph);
    let n = graph.n_nodes();
    progress.start("closeness", Some(n as u64));
    let closeness = (0..n)
        .into_par_iter()
        .map_init(
            || Search::new(n),
            |search, node| {
                progress.check()?;
                search.follow(&graph, node, |_, _| {});
                let reached = search.order.len() - 1;
                let steps = search
                    .order
                    .iter()
                    .map(|&other| search.steps(other as usize));
                let sum: u64 = steps.map(u64::from).sum();
                progress.advance(1);
                let closeness = match sum {
                    0 => 0.0,
                    sum => reached as f64 / sum as f64,
                };
                Ok(match definition {
                    NodeCloseness::Improved if n > 1 => closeness * reached as f64 / (n - 1) as f64,
                    _ => closeness,
                })
            },
        )
        .collect::<Result<_>>()?;
    progress.finish();
    Ok(closeness)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;
    use crate::radius_graph;

    #[test]
    fn pieces_and_single_nodes_have_the_closeness_of_the_definition() {
        let graph = radius_graph(array![[0.0], [1.0], [9.0], [20.0], [20.5]].view(), 1.0).unwrap();
        let improved = closeness_centrality(&graph, NodeCloseness::Improved, &NoProgress).unwrap();
        assert_eq!(improved, [0.25, 0.25, 0.0, 0.25, 0.25]);
        let reachable = NodeCloseness::ReachableOnly;
        let reachable = closeness_centrality(&graph, reachable, &NoProgress).unwrap();
        assert_eq!(reachable, [1.0, 1.0, 0.0, 1.0, 1.0]);
        let one = CsrGraph::empty(1);
        assert!(degree_centrality(&one)[0].is_nan());
        let of_one = closeness_centrality(&one, NodeCloseness::Improved, &NoProgress);
        assert_eq!(of_one.unwrap(), [0.0]);
    }

    #[test]
    fn a_cancelled_search_stops() {
        let token = CancelToken::new();
        token.cancel();
        let stopped = closeness_centrality(&CsrGraph::empty(1), NodeCloseness::Improved, &token);
        assert!(stopped.is_err());
    }
}
