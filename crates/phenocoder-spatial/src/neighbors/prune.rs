//! Leaving edges out by their length.

use phenocoder_core::CsrGraph;
use serde::{Deserialize, Serialize};

use super::check_radius;
use super::rows::graph_of;
use crate::error::{ConfigError, Result};

/// Keeps the edges whose value d fulfils `min ≤ d ≤ max`.
/// The cost is O(edges).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::neighbors::{delaunay_graph, within_distances};
///
/// let points = array![[0.0, 0.0], [0.0, 4.0], [3.0, 0.0], [9.0, 9.0]];
/// let graph = within_distances(&delaunay_graph(points.view())?, 0.0, 5.0)?;
/// assert_eq!(graph.degree(3), 0);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Radius`] for an end that is negative or NaN, [`ConfigError::Interval`] when `min > max`.
///
/// # Differences from squidpy
///
/// The order of the two ends matters.
pub fn within_distances(graph: &CsrGraph, min: f64, max: f64) -> Result<CsrGraph> {
    let (min, max) = (check_radius(min)?, check_radius(max)?);
    if min > max {
        return Err(ConfigError::Interval { min, max }.into());
    }
    Ok(filtered(graph, |_, d| min <= d && d <= max))
}

/// Which numbers a percentile is taken of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PercentileOf {
    /// The values of the edges.
    #[default]
    Edges,
    /// The values of the edges and a zero for every node, as squidpy takes it by storing its diagonal.
    EdgesAndNodes,
}

/// Keeps the edges whose value is at most the `percentile` of all values, interpolated between the two nearest ranks.
/// The cost is O(edges).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::neighbors::{PercentileOf, knn_graph, within_percentile};
///
/// let graph = knn_graph(array![[0.0], [1.0], [3.0], [9.0]].view(), 1)?;
/// // Of the distances 1, 1, 2, 6 three quarters are at most 3.
/// let shorter = within_percentile(&graph, 75.0, PercentileOf::Edges)?;
/// assert_eq!((shorter.n_edges(), shorter.degree(3)), (3, 0));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Percentile`] for a number that is not from 0 to 100.
///
/// # Differences from squidpy
///
/// [`PercentileOf::EdgesAndNodes`] gives its number; zeros make the threshold too low, the more so the fewer edges there are.
pub fn within_percentile(graph: &CsrGraph, percentile: f64, of: PercentileOf) -> Result<CsrGraph> {
    if !(0.0..=100.0).contains(&percentile) {
        return Err(ConfigError::Percentile { value: percentile }.into());
    }
    let mut values = graph.values().to_vec();
    if of == PercentileOf::EdgesAndNodes {
        values.resize(values.len() + graph.n_nodes(), 0.0);
    }
    if values.is_empty() {
        return Ok(graph.clone());
    }
    let last = values.len() - 1;
    let rank = percentile / 100.0 * last as f64;
    let (_, &mut low, above) = values.select_nth_unstable_by(rank as usize, f64::total_cmp);
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    let part = rank.fract();
    // The form that numpy takes, so that a percentile that is a rank is exactly its value.
    let threshold = match part {
        0.0 => low,
        part if part < 0.5 => low + (high - low) * part,
        part => high - (high - low) * (1.0 - part),
    };
    Ok(filtered(graph, |_, d| d <= threshold))
}

/// The edges that are to be kept, by the node that they leave and their value.
pub(super) fn filtered(graph: &CsrGraph, keep: impl Fn(usize, f64) -> bool + Sync) -> CsrGraph {
    graph_of(
        graph.n_nodes(),
        || (),
        |(), node, edges| {
            let kept = graph.row(node).filter(|&(_, value)| keep(node, value));
            edges.extend(kept.map(|(other, value)| (other as u32, value)));
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_sense_are_refused_and_no_edges_are_fine() {
        let graph = CsrGraph::empty(3);
        assert!(within_distances(&graph, 2.0, 1.0).is_err());
        assert!(within_distances(&graph, -1.0, 1.0).is_err());
        for percentile in [-1.0, 101.0, f64::NAN] {
            assert!(within_percentile(&graph, percentile, PercentileOf::Edges).is_err());
        }
        assert_eq!(
            within_percentile(&graph, 50.0, PercentileOf::Edges).unwrap(),
            graph
        );
        assert_eq!(
            within_percentile(&graph, 50.0, PercentileOf::EdgesAndNodes).unwrap(),
            graph
        );
    }

    #[test]
    fn the_ends_keep_the_shortest_and_all() {
        let graph = CsrGraph::new(vec![0, 2, 3, 3], vec![1, 2, 2], vec![3.0, 1.0, 2.0]).unwrap();
        let edges = |percentile| {
            let kept = within_percentile(&graph, percentile, PercentileOf::Edges);
            kept.unwrap().values().to_vec()
        };
        assert_eq!(edges(0.0), [1.0]);
        assert_eq!(edges(50.0), [1.0, 2.0]);
        assert_eq!(edges(99.0), [1.0, 2.0]);
        assert_eq!(edges(100.0), [3.0, 1.0, 2.0]);
    }
}
