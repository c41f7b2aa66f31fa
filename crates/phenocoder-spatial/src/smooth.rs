//! Mixing every cell's values with those of its neighbors.

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{CsrGraph, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// How the values of a neighborhood are weighted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Smoothing {
    /// The mean over the cell and its neighbors: D⁻¹(A + I)X with the row sums D of A + I.
    #[default]
    Mean,
    /// What the original computes: (A + I)D⁻¹X, where every *neighbor* is divided by the size of its own neighborhood.
    ///
    /// The weights of a cell do not sum to 1, so even a constant input does not stay constant.
    Compat,
}

/// Replaces the values of every node by a weighted sum over the node and its neighbors.
///
/// Edges count 1 whatever their value.
/// NaN spreads to all neighbors.
/// The cost is O(edges · p).
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes; result `[n, p]`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{radius_graph, smooth::{Smoothing, message_passing}};
///
/// let graph = radius_graph(array![[0.0, 0.0], [0.0, 1.0], [0.0, 9.0]].view(), 1.0)?;
/// let smoothed = message_passing(array![[1.0], [3.0], [7.0]].view(), &graph, Smoothing::Mean)?;
/// assert_eq!(smoothed, array![[2.0], [2.0], [7.0]]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when `x` has not one row per node.
///
/// # Differences from the original
///
/// The default is the mean that the original's description promises; [`Smoothing::Compat`] gives its numbers.
/// No n × n matrix is made.
#[doc(alias = "spatial_message_passing")]
pub fn message_passing(
    x: ArrayView2<'_, f64>,
    graph: &CsrGraph,
    smoothing: Smoothing,
) -> Result<Array2<f64>> {
    ShapeError::check_len("rows of features", graph.n_nodes(), x.nrows())?;
    let (n, p) = x.dim();
    let x = x.as_standard_layout();
    let (Some(x), true) = (x.as_slice(), p > 0) else {
        return Ok(Array2::zeros((n, p)));
    };
    let size = |node: usize| (graph.degree(node) + 1) as f64;
    let mut out = vec![0.0; n * p];
    let rows = out.par_chunks_mut(p).enumerate().with_min_len(256);
    rows.for_each(|(node, row)| {
        // The node itself takes its place among the rising columns, so the order of the sum is that of a sparse product.
        let (before, after) = {
            let neighbors = graph.neighbors(node);
            neighbors.split_at(neighbors.partition_point(|&c| (c as usize) < node))
        };
        let sources = before
            .iter()
            .copied()
            .chain([node as u32])
            .chain(after.iter().copied());
        for source in sources.map(|c| c as usize) {
            let weight = match smoothing {
                Smoothing::Mean => 1.0,
                Smoothing::Compat => 1.0 / size(source),
            };
            for (value, &x) in row.iter_mut().zip(&x[source * p..]) {
                *value += weight * x;
            }
        }
        if smoothing == Smoothing::Mean {
            row.iter_mut().for_each(|value| *value /= size(node));
        }
    });
    Ok(Array2::from_shape_vec((n, p), out).expect("the buffer has n · p values"))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::{Error, radius_graph};

    #[test]
    fn a_constant_stays_constant_under_the_mean_only() {
        let points = array![[0.0], [1.0], [2.0], [9.0]];
        let graph = radius_graph(points.view(), 1.0).unwrap();
        let x = Array2::from_elem((4, 2), 3.0);
        let mean = message_passing(x.view(), &graph, Smoothing::Mean).unwrap();
        assert_eq!(mean, x);
        let compat = message_passing(x.view(), &graph, Smoothing::Compat).unwrap();
        // Node 0: 3/2 from itself and 3/3 from the middle.
        assert_eq!(compat.column(0).to_vec(), [2.5, 4.0, 2.5, 3.0]);
    }

    #[test]
    fn no_nodes_and_no_columns_are_fine() {
        let graph = CsrGraph::empty(3);
        let none = Array2::zeros((3, 0));
        let smoothed = message_passing(none.view(), &graph, Smoothing::Mean).unwrap();
        assert_eq!(smoothed, none);
    }

    #[test]
    fn features_of_another_length_are_refused() {
        let x = Array2::zeros((3, 1));
        let refused = message_passing(x.view(), &CsrGraph::empty(2), Smoothing::Mean);
        assert!(matches!(refused, Err(Error::Shape(_))));
    }
}
