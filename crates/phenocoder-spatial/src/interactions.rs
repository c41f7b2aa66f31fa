//! How often cells of one cluster lie beside cells of another.

use ndarray::Array2;
use phenocoder_core::{Categorical, CsrGraph, ShapeError};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::reduce::{add, fold_nodes_wide};

/// What an edge adds to the interaction of its two clusters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EdgeWeight {
    /// 1.
    #[default]
    One,
    /// The value of the edge.
    Value,
}

/// Sums the edges from every cluster to every cluster.
///
/// M\[a, b\] = Σ w over the stored edges from a node of cluster a to a node of cluster b.
/// In a symmetric graph an edge between a and b therefore counts in M\[a, b\] and in M\[b, a\], and one within a counts twice.
/// Nodes without a label are left out; a category without members has zeros.
/// The cost is O(edges + k²).
///
/// # Shapes
///
/// `labels`: n for a graph of n nodes; result: `[k, k]` for k categories.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::interactions::{EdgeWeight, interaction_matrix, row_normalized};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["T", "T", "B"]);
/// let m = interaction_matrix(&graph, &labels, EdgeWeight::One)?;
/// assert_eq!(m, array![[0.0, 1.0], [1.0, 2.0]]);
/// assert_eq!(row_normalized(&m), array![[0.0, 1.0], [1.0 / 3.0, 2.0 / 3.0]]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when there is not one label per node, [`Error::TooManyCategories`] for more than 8,192 categories.
///
/// # Differences from squidpy
///
/// When every label is missing the matrix is zero; squidpy fails.
pub fn interaction_matrix(
    graph: &CsrGraph,
    labels: &Categorical,
    weight: EdgeWeight,
) -> Result<Array2<f64>> {
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    let k = labels.categories().len();
    Error::check_categories(k)?;
    let codes = labels.codes();
    let edges = |node: usize| {
        let from = usize::try_from(codes[node]).ok();
        let row = from.map(|from| (from, graph.row(node)));
        row.into_iter().flat_map(move |(from, row)| {
            row.filter_map(move |(to, value)| {
                let to = usize::try_from(codes[to]).ok()?;
                Some((from * k + to, value))
            })
        })
    };
    let mut total = vec![0.0_f64; k * k];
    // Ones add up without rounding, up to 2⁵³ edges.
    fold_nodes_wide(
        graph.n_nodes(),
        k * k,
        |nodes| {
            let mut part = vec![0.0; k * k];
            for (slot, value) in nodes.flat_map(edges) {
                part[slot] += match weight {
                    EdgeWeight::One => 1.0,
                    EdgeWeight::Value => value,
                };
            }
            part
        },
        |part| add(&mut total, &part),
    );
    Ok(Array2::from_shape_vec((k, k), total).expect("k · k sums were made"))
}

/// Divides every row by its sum; a row of zeros becomes NaN, for a cluster without neighbors has no proportions.
/// The cost is that of reading the matrix.
///
/// # Shapes
///
/// `matrix` and result: `[a, b]`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::interactions::row_normalized;
///
/// let fractions = row_normalized(&array![[1.0, 3.0], [0.0, 0.0]]);
/// assert_eq!(fractions.row(0), array![0.25, 0.75]);
/// assert!(fractions[[1, 0]].is_nan());
/// ```
#[must_use]
pub fn row_normalized(matrix: &Array2<f64>) -> Array2<f64> {
    let mut out = matrix.clone();
    for mut row in out.rows_mut() {
        let sum: f64 = row.iter().sum();
        row.mapv_inplace(|value| value / sum);
    }
    out
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::radius_graph;

    #[test]
    fn nodes_without_a_label_are_left_out_and_values_can_count() {
        let graph = radius_graph(array![[0.0], [2.0], [3.0], [4.0]].view(), 2.0).unwrap();
        let labels = Categorical::from_optional_labels([Some("a"), Some("b"), None, Some("b")]);
        let ones = interaction_matrix(&graph, &labels, EdgeWeight::One).unwrap();
        assert_eq!(ones, array![[0.0, 1.0], [1.0, 2.0]]);
        let lengths = interaction_matrix(&graph, &labels, EdgeWeight::Value).unwrap();
        assert_eq!(lengths, array![[0.0, 2.0], [2.0, 4.0]]);
    }

    #[test]
    fn labels_of_another_length_are_refused() {
        let labels = Categorical::from_labels(["a"]);
        assert!(interaction_matrix(&CsrGraph::empty(2), &labels, EdgeWeight::One).is_err());
    }

    #[test]
    fn all_labels_missing_and_empty_categories_give_zeros() {
        let labels = Categorical::new(vec![-1, -1], vec!["a".into()]).unwrap();
        let m = interaction_matrix(&CsrGraph::empty(2), &labels, EdgeWeight::One).unwrap();
        assert_eq!(m, array![[0.0]]);
        assert!(row_normalized(&m)[[0, 0]].is_nan());
    }
}
