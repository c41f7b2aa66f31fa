//! Rings around the points of a lattice.

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, CsrGraph};

use super::prune::filtered;
use super::rows::graph_of;
use super::{knn_graph, knn_graph_within, sets_of};
use crate::error::{ConfigError, Result};

/// Nearest neighbors that are farther away than this many median distances are across the edge of the lattice.
const OUTSIDE: f64 = 1.3;

/// Links the points of a regular lattice with those up to `rings` steps away; the values are the steps.
///
/// A step leads to one of the `k` nearest points (4 for a lattice of squares, 6 for one of hexagons) that is nearer than 1.3
/// times the median distance, so that points at the border have fewer.
/// This is the graph for spots of a capture array, whose coordinates may be jittered.
/// The cost is that of [`knn_graph`] and [`rings`].
///
/// # Shapes
///
/// `points`: `[n, d]` with any d from 1 to 3; `samples`: n.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_spatial::neighbors::lattice_graph;
///
/// // A lattice of 5 × 5 squares.
/// let points = Array2::from_shape_fn((25, 2), |(i, axis)| [i / 5, i % 5][axis] as f64);
/// let graph = lattice_graph(points.view(), None, 4, 2)?;
/// // From the middle: 4 points one step away and 8 two steps away.
/// let steps: Vec<f64> = graph.row(12).map(|(_, steps)| steps).collect();
/// assert_eq!(steps.iter().filter(|&&s| s == 1.0).count(), 4);
/// assert_eq!(steps.iter().filter(|&&s| s == 2.0).count(), 8);
/// assert_eq!(graph.row(0).filter(|edge| edge.1 == 1.0).count(), 2);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Zero`] for no rings, and those of [`knn_graph`].
#[doc(alias = "coord_type")]
pub fn lattice_graph(
    points: ArrayView2<'_, f64>,
    samples: Option<&Categorical>,
    k: usize,
    rings: usize,
) -> Result<CsrGraph> {
    let graph = match samples {
        None => knn_graph(points, k)?,
        Some(samples) => knn_graph_within(points, samples, k)?,
    };
    let mut reach = vec![0.0; graph.n_nodes()];
    for (_, rows) in sets_of(graph.n_nodes(), samples) {
        let distances = rows.iter().flat_map(|&row| graph.row(row as usize));
        let median = median(distances.map(|(_, distance)| distance).collect());
        for row in rows {
            reach[row as usize] = OUTSIDE * median;
        }
    }
    self::rings(
        &filtered(&graph, |node, distance| distance < reach[node]),
        rings,
    )
}

/// The middle value, or the mean of the two in the middle; NaN of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    let is_even = values.len().is_multiple_of(2);
    let (below, &mut high, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if is_even {
        let low = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        f64::midpoint(low, high)
    } else {
        high
    }
}

/// Links every node with those that up to `rings` edges lead to; the values are the least numbers of edges.
///
/// Each node's row is found by breadth-first search, so the cost grows with the number of edges within reach.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{neighbors::rings, radius_graph};
///
/// let chain = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let graph = rings(&chain, 2)?;
/// assert_eq!(graph.row(0).collect::<Vec<_>>(), [(1, 1.0), (2, 2.0)]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Zero`] for no rings.
#[doc(alias = "n_rings")]
pub fn rings(graph: &CsrGraph, rings: usize) -> Result<CsrGraph> {
    ConfigError::check_some("rings", rings)?;
    Ok(graph_of(
        graph.n_nodes(),
        Search::default,
        |search, node, edges| search.around(graph, node, rings, edges),
    ))
}

/// Breadth-first search that takes no memory for what it does not reach.
#[derive(Default)]
struct Search {
    /// All nodes found, rising.
    found: Vec<u32>,
    /// Those found in the last step, and those that they lead to.
    last: Vec<u32>,
    next: Vec<u32>,
}

impl Search {
    fn around(&mut self, graph: &CsrGraph, node: usize, rings: usize, out: &mut Vec<(u32, f64)>) {
        let from = out.len();
        self.found.clear();
        self.found.push(node as u32);
        self.last.clone_from(&self.found);
        for step in 1..=rings {
            self.next.clear();
            for &node in &self.last {
                self.next.extend_from_slice(graph.neighbors(node as usize));
            }
            self.next.sort_unstable();
            self.next.dedup();
            self.next
                .retain(|node| self.found.binary_search(node).is_err());
            if self.next.is_empty() {
                break;
            }
            out.extend(self.next.iter().map(|&node| (node, step as f64)));
            self.found.extend_from_slice(&self.next);
            self.found.sort_unstable();
            std::mem::swap(&mut self.last, &mut self.next);
        }
        out[from..].sort_unstable_by_key(|&(node, _)| node);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn points_across_the_border_are_no_step_away() {
        // Two lattices of 2 × 2 far from each other, the second one wider; samples have their own medians.
        let points = array![
            [0.0, 0.0],
            [0.0, 1.0],
            [1.0, 0.0],
            [1.0, 1.0],
            [50.0, 0.0],
            [50.0, 7.0],
            [57.0, 0.0],
            [57.0, 7.0],
        ];
        let samples = Categorical::from_labels(["a", "a", "a", "a", "b", "b", "b", "b"]);
        let graph = lattice_graph(points.view(), Some(&samples), 2, 1).unwrap();
        assert_eq!(graph.n_edges(), 16);
        let graph = lattice_graph(points.view(), Some(&samples), 3, 1).unwrap();
        assert_eq!(
            graph.neighbors(4),
            [5, 6],
            "the diagonal is longer than 1.3 sides"
        );
    }

    #[test]
    fn zero_rings_are_refused_and_directed_edges_are_followed() {
        let graph = CsrGraph::new(vec![0, 1, 2, 2], vec![1, 2], vec![9.0, 9.0]).unwrap();
        assert!(rings(&graph, 0).is_err());
        let graph = rings(&graph, 5).unwrap();
        assert_eq!(graph.row(0).collect::<Vec<_>>(), [(1, 1.0), (2, 2.0)]);
        assert_eq!(graph.degree(2), 0);
    }
}
