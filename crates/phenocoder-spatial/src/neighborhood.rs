//! Which types the neighbors of every cell have, and how mixed they are.

mod entropy;

use ndarray::Array2;
use phenocoder_core::{Categorical, CsrGraph, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;

pub use entropy::{
    EntropyUnit, MixingEntropy, label_entropy, mixing_entropy, mixing_entropy_of,
    neighborhood_entropy,
};

/// Whether a cell belongs to its own neighborhood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Center {
    /// It does not: its neighbors only. A loop counts as an edge of the graph.
    #[default]
    Excluded,
    /// It does, once, whether the graph has a loop there or not.
    Included,
}

/// The types of every cell's neighbors.
///
/// # Shapes
///
/// Both: `[n, k]` for n cells and k categories.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NeighborhoodComposition {
    /// How many neighbors of each type a cell has.
    pub counts: Array2<u32>,
    /// The counts divided by their sum; NaN for a cell without neighbors that have a type.
    pub fractions: Array2<f64>,
}

/// Counts the types of every cell's neighbors.
///
/// The rows are what cellular neighborhoods are found from (Schürch et al. 2020, doi:10.1016/j.cell.2020.07.005), and their
/// sums over the cells of each type are [`interaction_matrix`](crate::interactions::interaction_matrix).
/// Edges count once, in the direction stored; neighbors without a type are left out.
/// The cost is O(edges + n · k).
///
/// # Shapes
///
/// `labels`: n for a graph of n nodes; results: `[n, k]` for k categories.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::neighborhood::{Center, neighborhood_composition};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [9.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["T", "B", "B", "T"]);
/// let found = neighborhood_composition(&graph, &labels, Center::Excluded)?;
/// // The columns are B and T.
/// assert_eq!(found.counts, array![[1, 0], [1, 1], [1, 0], [0, 0]]);
/// assert_eq!(found.fractions.row(1), array![0.5, 0.5]);
/// assert!(found.fractions[[3, 0]].is_nan());
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when there is not one label per node.
pub fn neighborhood_composition(
    graph: &CsrGraph,
    labels: &Categorical,
    center: Center,
) -> Result<NeighborhoodComposition> {
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    let (n, k) = (graph.n_nodes(), labels.categories().len());
    let mut counts = vec![0_u32; n * k];
    let mut fractions = vec![f64::NAN; n * k];
    if k > 0 {
        counts
            .par_chunks_mut(k)
            .zip(fractions.par_chunks_mut(k))
            .enumerate()
            .with_min_len(1024)
            .for_each(|(node, (counts, fractions))| {
                let total = count(graph, labels, center, node, counts);
                if total > 0 {
                    for (fraction, &count) in fractions.iter_mut().zip(&*counts) {
                        *fraction = f64::from(count) / f64::from(total);
                    }
                }
            });
    }
    let expect = "n · k numbers were made";
    Ok(NeighborhoodComposition {
        counts: Array2::from_shape_vec((n, k), counts).expect(expect),
        fractions: Array2::from_shape_vec((n, k), fractions).expect(expect),
    })
}

/// Counts the types around a node, and returns their sum.
fn count(
    graph: &CsrGraph,
    labels: &Categorical,
    center: Center,
    node: usize,
    counts: &mut [u32],
) -> u32 {
    counts.fill(0);
    let own = u32::try_from(node)
        .ok()
        .filter(|_| center == Center::Included);
    let others = graph.neighbors(node).iter().copied();
    let others = others.filter(|&other| Some(other) != own);
    let mut total = 0;
    for code in others
        .chain(own)
        .filter_map(|other| labels.code(other as usize))
    {
        counts[code] += 1;
        total += 1;
    }
    total
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};

    use super::*;
    use crate::interactions::{EdgeWeight, interaction_matrix};
    use crate::radius_graph;

    #[test]
    fn neighbors_without_a_type_are_left_out_and_the_center_counts_once() {
        let graph = CsrGraph::new(vec![0, 2, 3], vec![0, 1, 0], vec![1.0; 3]).unwrap();
        let labels = Categorical::from_optional_labels([Some("a"), None]);
        let at = |center| neighborhood_composition(&graph, &labels, center).unwrap();
        assert_eq!(at(Center::Excluded).counts, array![[1], [1]]);
        assert_eq!(at(Center::Included).counts, array![[1], [1]]);
        assert_eq!(at(Center::Included).fractions, array![[1.0], [1.0]]);
    }

    #[test]
    fn the_cells_of_a_type_add_up_to_its_interactions() {
        let points = array![[0.0], [1.0], [2.0], [2.5], [4.0]];
        let graph = radius_graph(points.view(), 1.6).unwrap();
        let labels = Categorical::from_labels(["a", "b", "a", "a", "b"]);
        let found = neighborhood_composition(&graph, &labels, Center::Excluded).unwrap();
        let m = interaction_matrix(&graph, &labels, EdgeWeight::One).unwrap();
        for code in 0..2 {
            let rows = found.counts.select(Axis(0), &labels.members(code));
            assert_eq!(rows.sum_axis(Axis(0)).mapv(f64::from), m.row(code));
        }
    }

    #[test]
    fn no_categories_and_no_cells_give_empty_matrices() {
        let none = Categorical::new(vec![-1, -1], Vec::new()).unwrap();
        let found = neighborhood_composition(&CsrGraph::empty(2), &none, Center::Excluded);
        assert_eq!(found.unwrap().counts.dim(), (2, 0));
        let labels = Categorical::from_labels(["a"]);
        assert!(neighborhood_composition(&CsrGraph::empty(2), &labels, Center::Excluded).is_err());
    }
}
