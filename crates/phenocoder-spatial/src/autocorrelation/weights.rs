//! The weights of the edges.

use std::borrow::Cow;

use phenocoder_core::CsrGraph;
use serde::{Deserialize, Serialize};

use crate::interactions::EdgeWeight;
use crate::reduce::sum_nodes;

/// How the edges of a node are weighted against each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Normalization {
    /// The weights of every node with neighbors sum to 1.
    #[default]
    Row,
    /// Every edge weighs what it counts.
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
    /// What an edge counts before normalization (default: 1, whatever its value).
    pub edges: EdgeWeight,
    /// How the edges of a node are weighted against each other (default: they sum to 1).
    pub normalization: Normalization,
    /// The precision of the weights (default: 64 bits).
    pub precision: Precision,
}

impl SpatialWeights {
    /// The same weights, but every edge counts this.
    #[must_use]
    pub fn with_edges(mut self, edges: EdgeWeight) -> Self {
        self.edges = edges;
        self
    }

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

    /// The weights of the edges of `graph`.
    pub(super) fn of<'a>(&self, graph: &'a CsrGraph) -> Weights<'a> {
        let n = graph.n_nodes();
        let mut scale = vec![1.0; n];
        let factors = match self.edges {
            EdgeWeight::One => {
                if self.normalization == Normalization::Row {
                    for (node, scale) in scale.iter_mut().enumerate() {
                        *scale = self.rounded(1.0 / graph.degree(node).max(1) as f64);
                    }
                }
                None
            }
            EdgeWeight::Value => {
                if self.normalization == Normalization::Row {
                    for (node, scale) in scale.iter_mut().enumerate() {
                        let sum: f64 = graph.row(node).map(|(_, value)| value.abs()).sum();
                        *scale = if sum > 0.0 { 1.0 / sum } else { 0.0 };
                    }
                }
                match self.precision {
                    Precision::Double => Some(Cow::Borrowed(graph.values())),
                    Precision::Single => {
                        let mut weights = Vec::with_capacity(graph.n_edges());
                        for (node, scale) in scale.iter_mut().enumerate() {
                            weights.extend(graph.row(node).map(|(_, v)| self.rounded(v * *scale)));
                            // Every weight is rounded, so none is left to scale.
                            *scale = 1.0;
                        }
                        Some(Cow::Owned(weights))
                    }
                }
            }
        };
        Weights {
            graph,
            scale,
            factors,
        }
    }

    fn rounded(&self, weight: f64) -> f64 {
        match self.precision {
            Precision::Double => weight,
            Precision::Single => f64::from(weight as f32),
        }
    }
}

/// One weight per edge: a factor of its own times one of the node that it leaves.
pub(super) struct Weights<'a> {
    graph: &'a CsrGraph,
    scale: Vec<f64>,
    /// `None`: all 1.
    factors: Option<Cow<'a, [f64]>>,
}

impl Weights<'_> {
    pub(super) fn n_nodes(&self) -> usize {
        self.graph.n_nodes()
    }

    /// What all weights of a node are multiplied by.
    pub(super) fn scale(&self, node: usize) -> f64 {
        self.scale[node]
    }

    /// The neighbors of a node with their weights but for the [`scale`](Self::scale).
    pub(super) fn factors(&self, node: usize) -> impl Iterator<Item = (usize, f64)> {
        let first = self.graph.indptr()[node];
        let factors = self.factors.as_deref();
        let factor = move |e: usize| factors.map_or(1.0, |factors| factors[e]);
        let neighbors = self.graph.neighbors(node).iter().enumerate();
        neighbors.map(move |(i, &other)| (other as usize, factor(first + i)))
    }

    /// The neighbors of a node with their weights.
    pub(super) fn row(&self, node: usize) -> impl Iterator<Item = (usize, f64)> {
        let scale = self.scale[node];
        self.factors(node)
            .map(move |(other, factor)| (other, scale * factor))
    }

    /// The sum of the squares of all weights.
    pub(super) fn squares(&self) -> f64 {
        let rows = (0..self.n_nodes()).map(|node| {
            let row = self.row(node);
            row.map(|(_, weight)| weight * weight).sum::<f64>()
        });
        rows.sum()
    }

    /// Whether there is an edge from one node to another.
    pub(super) fn has_edge(&self, from: usize, to: usize) -> bool {
        let neighbors = self.graph.neighbors(from);
        neighbors.binary_search(&(to as u32)).is_ok()
    }

    /// The weight of the edge between two nodes, 0 where there is none.
    pub(super) fn between(&self, from: usize, to: usize) -> f64 {
        let found = self.graph.neighbors(from).binary_search(&(to as u32));
        found.map_or(0.0, |i| {
            let e = self.graph.indptr()[from] + i;
            self.scale[from] * self.factors.as_deref().map_or(1.0, |factors| factors[e])
        })
    }

    /// The weights that leave every node, summed.
    pub(super) fn leaving(&self) -> Vec<f64> {
        let sum = |node| self.factors(node).map(|(_, factor)| factor).sum::<f64>();
        (0..self.n_nodes())
            .map(|node| self.scale[node] * sum(node))
            .collect()
    }

    /// The weights that arrive at every node, summed.
    pub(super) fn arriving(&self) -> Vec<f64> {
        let mut arriving = vec![0.0; self.n_nodes()];
        for node in 0..self.n_nodes() {
            for (other, weight) in self.row(node) {
                arriving[other] += weight;
            }
        }
        arriving
    }

    /// S₀, the sum of all weights.
    pub(super) fn total(&self) -> f64 {
        sum_nodes(self.n_nodes(), |node| {
            let sum: f64 = self.factors(node).map(|(_, factor)| factor).sum();
            self.scale[node] * sum
        })
    }

    /// S₀ = Σ g, S₁ = ½ Σ (gᵢⱼ + gⱼᵢ)² and S₂ = Σᵢ (Σⱼ gᵢⱼ + Σⱼ gⱼᵢ)².
    pub(super) fn sums(&self) -> [f64; 3] {
        let n = self.n_nodes();
        let s1 = sum_nodes(n, |i| {
            let pair = |(j, weight): (usize, f64)| {
                if self.has_edge(j, i) {
                    (weight + self.between(j, i)).powi(2)
                } else {
                    // The missing direction adds the same square once more.
                    2.0 * weight * weight
                }
            };
            0.5 * self.row(i).map(pair).sum::<f64>()
        });
        let (leaving, arriving) = (self.leaving(), self.arriving());
        let s2 = sum_nodes(n, |i| (leaving[i] + arriving[i]).powi(2));
        [self.total(), s1, s2]
    }
}
