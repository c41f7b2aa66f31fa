//! How mixed neighborhoods are.

use ndarray::Array2;
use phenocoder_core::{Categorical, CsrGraph, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Center, count};
use crate::error::Result;
use crate::interactions::{EdgeWeight, interaction_matrix};

/// What an entropy is measured in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EntropyUnit {
    /// Natural logarithms.
    #[default]
    Nats,
    /// Logarithms to base 2.
    Bits,
    /// Parts of the largest possible entropy, ln k for k categories (empty ones too): 0 for one type, 1 for all types alike
    /// (Pielou 1966, doi:10.1016/0022-5193(66)90013-0). NaN for one category.
    Evenness,
}

impl EntropyUnit {
    fn of_nats(self, nats: f64, k: usize) -> f64 {
        match self {
            Self::Nats => nats,
            Self::Bits => nats * std::f64::consts::LOG2_E,
            Self::Evenness => nats / libm::log(k as f64),
        }
    }
}

/// Computes the entropy of the types in every cell's neighborhood.
///
/// H = −Σ pₐ ln pₐ with the fractions p of
/// [`neighborhood_composition`](super::neighborhood_composition) (Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x).
/// 0 where all neighbors are of one type; NaN for a cell without neighbors that have a type.
/// Few neighbors cannot be very mixed: H ≤ ln of their number, so compare cells of graphs with a fixed number of neighbors.
/// The cost is O(edges + n · k).
///
/// # Shapes
///
/// `labels`: n for a graph of n nodes; result: n.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::neighborhood::{Center, EntropyUnit, neighborhood_entropy};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [9.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["T", "B", "B", "T"]);
/// let bits = neighborhood_entropy(&graph, &labels, Center::Excluded, EntropyUnit::Bits)?;
/// assert_eq!(bits[..3], [0.0, 1.0, 0.0]);
/// assert!(bits[3].is_nan());
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when there is not one label per node.
pub fn neighborhood_entropy(
    graph: &CsrGraph,
    labels: &Categorical,
    center: Center,
    unit: EntropyUnit,
) -> Result<Vec<f64>> {
    ShapeError::check_len("labels", graph.n_nodes(), labels.len())?;
    let k = labels.categories().len();
    let entropy = |counts: &mut Vec<u32>, node: usize| {
        count(graph, labels, center, node, counts);
        unit.of_nats(entropy(counts.iter().copied().map(f64::from)), k)
    };
    let nodes = (0..graph.n_nodes()).into_par_iter().with_min_len(1024);
    Ok(nodes.map_init(|| vec![0; k], entropy).collect())
}

/// Computes the entropy of the types of all cells, wherever they are.
///
/// H = −Σ pₐ ln pₐ with the part p of the cells that have each type; NaN where no cell has one.
/// It is what the means of [`neighborhood_entropy`] are to be compared with: where they are as large, neighborhoods are as
/// mixed as the whole.
/// The cost is O(n) (Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x).
///
/// # Shapes
///
/// `labels`: n.
///
/// # Examples
///
/// ```
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::neighborhood::{EntropyUnit, label_entropy};
///
/// let labels = Categorical::from_labels(["T", "B", "B", "T"]);
/// assert_eq!(label_entropy(&labels, EntropyUnit::Bits), 1.0);
/// ```
#[must_use]
pub fn label_entropy(labels: &Categorical, unit: EntropyUnit) -> f64 {
    let counts = labels.counts();
    let nats = entropy(counts.iter().map(|&count| count as f64));
    unit.of_nats(nats, counts.len())
}

/// How much the type of a cell says about the types of its neighbors.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MixingEntropy {
    /// Of the pairs of types at the two ends of an edge: the co-occurrence entropy of Leibovici (2009,
    /// doi:10.1007/978-3-642-03832-7_24) for pairs of neighbors.
    pub joint: f64,
    /// Of the types at the first ends.
    pub first: f64,
    /// Of the types at the second ends; in an undirected graph as at the first.
    pub second: f64,
    /// Of the second end where the first is known: joint − first.
    pub conditional: f64,
    /// What one end says of the other: first + second − joint, the spatial mutual information of Altieri, Cocchi and Roli
    /// (2018, doi:10.1007/s10651-017-0383-1) for neighbors. 0 where types mix at random, never below.
    pub mutual_information: f64,
}

/// Computes the entropy of the pairs of types that edges link.
///
/// With the part e of the edges that lead from one type to another: joint = −Σ eₐᵦ ln eₐᵦ, and those of its row and column
/// sums.
/// Edges of cells without a type are left out; all is NaN without edges.
/// The cost is O(edges + k²).
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
/// use phenocoder_spatial::neighborhood::mixing_entropy;
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [5.0], [6.0]].view(), 1.0)?;
/// let labels = Categorical::from_labels(["a", "a", "b", "b"]);
/// let found = mixing_entropy(&graph, &labels)?;
/// // The type of a cell says everything about its neighbor.
/// assert_eq!(found.conditional, 0.0);
/// assert_eq!(found.mutual_information, 2.0_f64.ln());
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when there is not one label per node.
pub fn mixing_entropy(graph: &CsrGraph, labels: &Categorical) -> Result<MixingEntropy> {
    let edges = interaction_matrix(graph, labels, EdgeWeight::One)?;
    Ok(mixing_entropy_of(&edges))
}

/// Computes [`mixing_entropy`] from the number of edges between types, as [`interaction_matrix`] counts them.
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
/// use phenocoder_spatial::neighborhood::mixing_entropy_of;
///
/// let found = mixing_entropy_of(&array![[2.0, 2.0], [2.0, 2.0]]);
/// assert_eq!(found.mutual_information, 0.0);
/// ```
#[must_use]
pub fn mixing_entropy_of(edges: &Array2<f64>) -> MixingEntropy {
    let joint = entropy(edges.iter().copied());
    let first = entropy(edges.rows().into_iter().map(|row| row.sum()));
    let second = entropy(edges.columns().into_iter().map(|column| column.sum()));
    // Rounding must not make less than nothing of nothing.
    let at_least_zero = |value: f64| if value < 0.0 { 0.0 } else { value };
    MixingEntropy {
        joint,
        first,
        second,
        conditional: at_least_zero(joint - first),
        mutual_information: at_least_zero(first + second - joint),
    }
}

/// ln N − Σ c ln c / N of counts that sum to N; NaN for N = 0.
fn entropy(counts: impl Iterator<Item = f64> + Clone) -> f64 {
    let total: f64 = counts.clone().sum();
    if total == 0.0 {
        return f64::NAN;
    }
    let present = counts.filter(|&count| count > 0.0);
    let sum: f64 = present.map(|count| count * libm::log(count / total)).sum();
    // Not −0.
    0.0 - sum / total
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn units_are_multiples_of_each_other() {
        let labels = Categorical::from_labels(["a", "b", "c", "c"]);
        let [nats, bits, even] = [EntropyUnit::Nats, EntropyUnit::Bits, EntropyUnit::Evenness]
            .map(|unit| label_entropy(&labels, unit));
        assert!((bits - 1.5).abs() < 1e-15);
        assert!((nats - 1.5 * 2.0_f64.ln()).abs() < 1e-15);
        assert!((even - 1.5 * 2.0_f64.ln() / 3.0_f64.ln()).abs() < 1e-15);
        let one = Categorical::from_labels(["a"]);
        assert_eq!(label_entropy(&one, EntropyUnit::Nats), 0.0);
        assert!(label_entropy(&one, EntropyUnit::Evenness).is_nan());
    }

    #[test]
    fn types_that_mix_at_random_say_nothing_of_each_other() {
        let found = mixing_entropy_of(&array![[1.0, 3.0], [3.0, 9.0]]);
        assert!(found.mutual_information < 1e-15);
        assert!((found.conditional - found.second).abs() < 1e-15);
        let none = mixing_entropy_of(&array![[0.0, 0.0], [0.0, 0.0]]);
        assert!(none.joint.is_nan() && none.mutual_information.is_nan());
    }

    #[test]
    fn neighborhoods_of_no_types_have_no_entropy() {
        let labels = Categorical::from_optional_labels::<&str>([None, None]);
        let graph = CsrGraph::new(vec![0, 1, 2], vec![1, 0], vec![1.0; 2]).unwrap();
        for unit in [EntropyUnit::Nats, EntropyUnit::Evenness] {
            let found = neighborhood_entropy(&graph, &labels, Center::Included, unit).unwrap();
            assert!(found.iter().all(|h| h.is_nan()));
        }
        assert!(mixing_entropy(&graph, &labels).unwrap().joint.is_nan());
    }
}
