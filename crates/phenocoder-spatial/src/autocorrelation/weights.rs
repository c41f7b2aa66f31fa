//! The weights of the edges.

use phenocoder_core::CsrGraph;
use serde::{Deserialize, Serialize};

use crate::reduce::sum_nodes;

/// How the edges of a node are weighted against each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Normalization {
    /// The weights of every node with neighbors sum to 1.
    #[default]
    Row,
    /// Every edge weighs 1.
    None,
}

/// The precision of the weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Precision {
    /// 64 bits.
    #[default]
    Double,
    /// Rounded to 32 bits, as squidpy does; all sums remain in 64 bits.
    Single,
}

/// The weights of a spatial statistic.
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::autocorrelation::{Normalization, SpatialWeights};
///
/// let binary = SpatialWeights::default().with_normalization(Normalization::None);
/// assert_ne!(binary, SpatialWeights::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SpatialWeights {
    /// How the edges of a node are weighted against each other (default: they sum to 1).
    pub normalization: Normalization,
    /// The precision of the weights (default: 64 bits).
    pub precision: Precision,
}

impl SpatialWeights {
    /// The same weights, normalized otherwise.
    #[must_use]
    pub fn with_normalization(mut self, normalization: Normalization) -> Self {
        self.normalization = normalization;
        self
    }

    /// The same weights in another precision.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The weight of the edges that leave every node; 0 for a node without edges.
    pub(super) fn row_scales(&self, graph: &CsrGraph) -> Vec<f64> {
        let scale = |node: usize| match (graph.degree(node), self.normalization) {
            (0, _) => 0.0,
            (_, Normalization::None) => 1.0,
            (degree, Normalization::Row) => match self.precision {
                Precision::Double => 1.0 / degree as f64,
                Precision::Single => f64::from(1.0_f32 / degree as f32),
            },
        };
        (0..graph.n_nodes()).map(scale).collect()
    }

    /// The sum of all weights.
    pub(super) fn total(&self, graph: &CsrGraph, scale: &[f64]) -> f64 {
        sum_nodes(graph.n_nodes(), |node| {
            graph.degree(node) as f64 * scale[node]
        })
    }
}
