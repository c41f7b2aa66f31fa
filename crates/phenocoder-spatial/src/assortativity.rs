//! Whether edges link like with like.

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, CsrGraph, ShapeError};

use crate::error::Result;
use crate::interactions::{EdgeWeight, interaction_matrix};
use crate::reduce::sums_over_nodes;
use crate::scale::scaled;

/// Computes how much more often than by chance edges link cells of the same category.
///
/// r = (Σ eₐₐ − Σ aₐ bₐ) / (1 − Σ aₐ bₐ), with the part e of the edges that lead from one category to another and its row and
/// column sums a and b (Newman 2003, doi:10.1103/PhysRevE.67.026126, equation 2).
/// 1 where all edges are within categories, 0 where categories mix at random; the least possible value lies between −1 and 0.
/// Edges count as they are stored: both directions of an undirected one, and loops.
/// Those of cells without a category are left out.
/// NaN without edges and where all ends have one category.
/// The cost is O(edges).
///
/// # Shapes
///
/// `labels`: n for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::{assortativity::assortativity, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [1.0], [5.0], [6.0]].view(), 1.0)?;
/// let apart = Categorical::from_labels(["a", "a", "b", "b"]);
/// assert_eq!(assortativity(&graph, &apart)?, 1.0);
/// let mixed = Categorical::from_labels(["a", "b", "a", "b"]);
/// assert_eq!(assortativity(&graph, &mixed)?, -1.0);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when there is not one label per node.
#[doc(alias = "attribute_assortativity_coefficient")]
pub fn assortativity(graph: &CsrGraph, labels: &Categorical) -> Result<f64> {
    let edges = interaction_matrix(graph, labels, EdgeWeight::One)?;
    Ok(assortativity_of(&edges))
}

/// Computes [`assortativity`] from the number of edges between categories, as
/// [`interaction_matrix`] counts them.
/// The cost is O(k²).
///
/// # Shapes
///
/// `edges`: `[k, k]`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::assortativity::assortativity_of;
///
/// assert_eq!(assortativity_of(&array![[3.0, 1.0], [1.0, 3.0]]), 0.5);
/// ```
#[must_use]
pub fn assortativity_of(edges: &Array2<f64>) -> f64 {
    let total = edges.sum();
    let within = edges.diag().sum() / total;
    let (rows, columns) = (edges.rows(), edges.columns());
    let products = rows
        .into_iter()
        .zip(columns)
        .map(|(a, b)| a.sum() * b.sum());
    let by_chance = products.sum::<f64>() / (total * total);
    (within - by_chance) / (1.0 - by_chance)
}

/// Computes the correlation of the values at both ends of the edges, for every column of `x`.
///
/// r = Σ (xᵢ − x̄)(xⱼ − x̃) / √(Σ (xᵢ − x̄)² Σ (xⱼ − x̃)²), summed over the edges from i to j, with the means over the first and
/// second ends (Newman 2003, doi:10.1103/PhysRevE.67.026126, equation 21).
/// Unlike Moran's I, cells count once for each of their edges.
/// With the number of neighbors as a column this is the assortativity by degree.
/// NaN where the values at one of the ends are all the same or a NaN is among those of the column, and without edges.
/// The cost is O(edges · p).
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes; result: p.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::{assortativity::numeric_assortativity, radius_graph};
///
/// let graph = radius_graph(array![[0.0], [1.0], [5.0], [6.0]].view(), 1.0)?;
/// let x = array![[1.0, 1.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]];
/// assert_eq!(numeric_assortativity(&graph, x.view())?, [1.0, -1.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when `x` has not one row per node.
#[doc(alias = "numeric_assortativity_coefficient")]
pub fn numeric_assortativity(graph: &CsrGraph, x: ArrayView2<'_, f64>) -> Result<Vec<f64>> {
    ShapeError::check_len("rows of features", graph.n_nodes(), x.nrows())?;
    let x = scaled(x);
    let (n, p) = x.dim();
    let mut arriving = vec![0_u64; n];
    for &other in graph.indices() {
        arriving[other as usize] += 1;
    }
    let edges = graph.n_edges() as f64;
    let means = sums_over_nodes(n, 2 * p, |node, sum| {
        let ends = [graph.degree(node) as f64, arriving[node] as f64];
        for (f, &value) in x.row(node).iter().enumerate() {
            sum[2 * f] += ends[0] * value;
            sum[2 * f + 1] += ends[1] * value;
        }
    });
    let means: Vec<f64> = means.into_iter().map(|sum| sum / edges).collect();
    let squares = sums_over_nodes(n, 3 * p, |node, sum| {
        let ends = [graph.degree(node) as f64, arriving[node] as f64];
        for (f, &value) in x.row(node).iter().enumerate() {
            let (from, to) = (value - means[2 * f], value - means[2 * f + 1]);
            sum[3 * f] += ends[0] * from * from;
            sum[3 * f + 1] += ends[1] * to * to;
            let others = graph.neighbors(node).iter();
            let others = others.map(|&other| x[[other as usize, f]] - means[2 * f + 1]);
            sum[3 * f + 2] += from * others.sum::<f64>();
        }
    });
    // Values that are the same but for rounding of their mean have no correlation.
    let vary = |f: usize, is_end: &dyn Fn(usize) -> bool| {
        let mut values = (0..n).filter(|&node| is_end(node)).map(|node| x[[node, f]]);
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    let correlation = |f: usize| {
        let nan = (0..n).any(|node| !x[[node, f]].is_finite());
        let firsts = vary(f, &|node| graph.degree(node) > 0);
        let seconds = vary(f, &|node| arriving[node] > 0);
        if nan || !firsts || !seconds {
            return f64::NAN;
        }
        squares[3 * f + 2] / (squares[3 * f] * squares[3 * f + 1]).sqrt()
    };
    Ok((0..p).map(correlation).collect())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::radius_graph;

    #[test]
    fn what_has_no_spread_has_no_assortativity() {
        let graph = radius_graph(array![[0.0], [1.0], [9.0]].view(), 1.0).unwrap();
        let one = Categorical::from_labels(["a", "a", "b"]);
        assert!(assortativity(&graph, &one).unwrap().is_nan());
        assert!(assortativity(&CsrGraph::empty(3), &one).unwrap().is_nan());
        // The third cell has no edges, so its value does not count; but a NaN is a NaN.
        let x = array![[0.1, 1.0, 1.0], [0.1, 2.0, 2.0], [7.0, 7.0, f64::NAN]];
        let r = numeric_assortativity(&graph, x.view()).unwrap();
        assert!(r[0].is_nan() && r[1] == -1.0 && r[2].is_nan(), "{r:?}");
        let none = numeric_assortativity(&CsrGraph::empty(3), x.view()).unwrap();
        assert!(none.iter().all(|r| r.is_nan()));
    }

    #[test]
    fn directed_edges_have_first_and_second_ends() {
        // 0 → 1, 1 → 2, 2 → 0: every cell is once a first and once a second end.
        let graph = CsrGraph::new(vec![0, 1, 2, 3], vec![1, 2, 0], vec![1.0; 3]).unwrap();
        let x = array![[0.0], [0.0], [3.0]];
        let r = numeric_assortativity(&graph, x.view()).unwrap()[0];
        // Pairs (0, 0), (0, 3), (3, 0) about the mean 1: 1 − 2 − 2 over 6.
        assert!((r + 0.5).abs() < 1e-15);
        // 0 → 2, 0 → 3, 1 → 4: the first ends are the same, but not the second ones.
        let graph = CsrGraph::new(vec![0, 2, 3, 3, 3, 3], vec![2, 3, 4], vec![1.0; 3]).unwrap();
        let x = array![[0.1], [0.1], [0.2], [0.3], [0.7]];
        assert!(numeric_assortativity(&graph, x.view()).unwrap()[0].is_nan());
    }

    #[test]
    fn inputs_of_another_length_are_refused() {
        let graph = CsrGraph::empty(2);
        assert!(assortativity(&graph, &Categorical::from_labels(["a"])).is_err());
        assert!(numeric_assortativity(&graph, array![[1.0]].view()).is_err());
    }
}
