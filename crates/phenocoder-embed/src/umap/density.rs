//! Does a group that is dense among the rows lie dense on the map?
//!
//! A plain map shows every group about equally dense.
//! Here the local radius of a node, the logarithm of the mean squared distance to its neighbours, weighted by
//! membership, is to rise and fall on the map as it does among the rows.
//!
//! Narayan, Berger & Cho 2021 (densMAP), doi:10.1038/s41587-020-00801-7.

use ndarray::Array2;
use phenocoder_core::{CsrGraph, Progress, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::lanes::{CLIP, LANES, Rules, TINY};
use super::optimize::{Drawing, Pulls, TASK};
use super::power::{each, powers};
use super::{MOST, UmapConfig, start};
use crate::fuzzy::check_undirected;
use crate::knn::Neighbors;
use crate::matrix::{check_finite, row_of, squared_distance, sum_rows};
use crate::{ConfigError, Error, Result};

/// Keeps the logarithm of a mean squared distance finite (the published implementation).
const LEAST: f64 = 1e-8;
/// Radii that deviate less than this from one another differ by rounding only.
const LEAST_DEVIATION: f64 = 1e-9;
/// Rounds beyond those of a plain layout (the published implementation).
const MORE_EPOCHS: usize = 200;

/// Settings of [`layout_with_density`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DensityConfig {
    /// The weight of the densities beside the memberships, 0 to 1e6 (default 2).
    pub strength: f64,
    /// The share of the rounds, the last ones, in which densities count (default 0.3).
    pub share: f64,
    /// What is added to the variance of the map's radii, so that equal ones can be told apart; positive and at most 1e6
    /// (default 0.1).
    pub variance_shift: f64,
}

impl Default for DensityConfig {
    fn default() -> Self {
        Self {
            strength: 2.0,
            share: 0.3,
            variance_shift: 0.1,
        }
    }
}

impl DensityConfig {
    /// Sets the weight of the densities.
    #[must_use]
    pub fn with_strength(mut self, strength: f64) -> Self {
        self.strength = strength;
        self
    }

    /// Sets the share of the rounds in which densities count.
    #[must_use]
    pub fn with_share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Sets what is added to the variance of the map's radii.
    #[must_use]
    pub fn with_variance_shift(mut self, variance_shift: f64) -> Self {
        self.variance_shift = variance_shift;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first setting outside its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check(
            (0.0..=MOST).contains(&self.strength),
            "strength",
            "a number from 0 to 1e6",
            self.strength,
        )?;
        ConfigError::check(
            (0.0..=1.0).contains(&self.share),
            "share",
            "a number from 0 to 1",
            self.share,
        )?;
        let shift = self.variance_shift;
        ConfigError::check(
            shift > 0.0 && shift <= MOST,
            "variance_shift",
            "a positive number of at most 1e6",
            shift,
        )
    }
}

/// The result of [`layout_with_density`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct DensityMap {
    /// The positions, `[n, n_components]`.
    #[serde(with = "crate::stored")]
    pub map: Array2<f64>,
    /// The local radius of each node among the rows: [`local_radii`].
    #[serde(with = "crate::stored::gaps")]
    pub radii: Vec<f64>,
    /// The local radius of each node on the map, over all its edges, weighted by the map's memberships; NaN for a node
    /// without edges.
    #[serde(with = "crate::stored::gaps")]
    pub map_radii: Vec<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    #[serde(with = "crate::stored")]
    map: Array2<f64>,
    #[serde(with = "crate::stored::gaps")]
    radii: Vec<f64>,
    #[serde(with = "crate::stored::gaps")]
    map_radii: Vec<f64>,
}

impl TryFrom<Parts> for DensityMap {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            map,
            radii,
            map_radii,
        } = parts;
        check_finite(map.view())?;
        for (radii, what) in [(&radii, "radii"), (&map_radii, "map_radii")] {
            ShapeError::check_len(what, map.nrows(), radii.len())?;
        }
        Ok(Self {
            map,
            radii,
            map_radii,
        })
    }
}

/// Draws a graph of memberships so that dense groups lie dense on the map.
///
/// As [`layout`](super::layout), 200 rounds longer where [`UmapConfig::n_epochs`] is not set; in the last ones
/// ([`DensityConfig::share`]) the correlation of the local radii among the rows and on the map is raised too.
/// Use it where the extent of groups is to be compared by eye; a plain map says nothing of it.
/// As in umap-learn, it takes no new rows in.
///
/// The radius of a node is `ln(1e-8 + Σ p d² / Σ p)` over its edges, among the rows with the graph's weights for `p`
/// ([`local_radii`]), on the map with the memberships of its [`Curve`](super::Curve).
/// The moves of a round follow the gradient of `strength · μ · r`.
/// There, `μ` is the sum of the weights of all edges in units of the largest, and `r` the covariance of the two radii,
/// those among the rows standardized, divided by `√(variance + variance_shift)` of those on the map.
/// Cost: as [`layout`](super::layout), and two sweeps over all edges in each of the last rounds, in parallel.
///
/// Narayan, Berger & Cho 2021 (densMAP), doi:10.1038/s41587-020-00801-7.
///
/// # Differences from umap-learn
///
/// In every one of the last rounds all edges draw their nodes by densities, each as strongly as umap-learn's does on
/// average, from where the nodes were before the round; there, an edge does so when it acts.
/// Radii of the map are of squared distances like those of the rows; `rad_emb` of umap-learn is the logarithm
/// of the mean distance, not squared, in a fuzzy graph of the map.
/// For squared ones, call [`local_radii`] with the neighbours on the map.
/// A row without edges has no radius, and the others' radii do not depend on it.
///
/// # Shapes
///
/// `neighbors`: `[n, k]`, those that the graph of `n` nodes was made of.
///
/// # Errors
///
/// As [`layout`](super::layout) and [`local_radii`], and [`Error::Config`] for a setting outside its range.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
/// use phenocoder_embed::umap::{DensityConfig, UmapConfig, layout_with_density};
///
/// let x = array![[0.0], [0.1], [0.2], [5.0], [6.0], [7.0]];
/// let neighbors = nearest_neighbors(x.view(), 2, Metric::Euclidean, &NoProgress)?;
/// let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
/// let (config, density) = (UmapConfig::default(), DensityConfig::default());
/// let drawn = layout_with_density(&graph, &neighbors, &config, &density, &NoProgress)?;
/// assert_eq!(drawn.map.dim(), (6, 2));
/// assert!(drawn.radii[1] < drawn.radii[4]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "densMAP")]
#[doc(alias = "densmap")]
pub fn layout_with_density(
    graph: &CsrGraph,
    neighbors: &Neighbors,
    config: &UmapConfig,
    density: &DensityConfig,
    progress: &dyn Progress,
) -> Result<DensityMap> {
    config.validate()?;
    density.validate()?;
    let radii = local_radii(graph, neighbors)?;
    let start = start(graph, config, progress)?;
    let default = || config.epochs(graph.n_nodes()) + MORE_EPOCHS;
    let epochs = config.n_epochs.unwrap_or_else(default);
    let pulls = Pulls::of_graph(graph, epochs, config.edge_pulls);
    let densities = Densities::new(&radii, &pulls, density);
    let drawing = Drawing {
        start: start.view(),
        fixed: None,
        pulls: &pulls,
        densities: Some(&densities),
        config,
        epochs,
    };
    let map = drawing.optimize(progress)?;
    let map_radii = radii_on(&map, graph, config)?;
    Ok(DensityMap {
        map,
        radii,
        map_radii,
    })
}

/// The local radius of every row: `ln(1e-8 + Σ p d² / Σ p)` over its edges of weight `p` between neighbours at distance
/// `d`.
///
/// The larger, the less dense; differences are of logarithms of squared distances.
/// An edge between rows of which neither is a neighbour of the other has no distance and does not count; NaN stands for
/// a row without edges that do.
/// Narayan, Berger & Cho 2021, doi:10.1038/s41587-020-00801-7.
///
/// # Differences from umap-learn
///
/// Edges that are too weak to act in the layout count too; of four synthetic sets, no radius differed by more than 0.002
/// for it.
///
/// # Shapes
///
/// `neighbors`: `[n, k]`, those that the graph of `n` nodes was made of; result `n`.
///
/// # Errors
///
/// [`Error::NotSymmetric`] or [`Error::EdgeWeight`] for a graph that is not one of memberships, [`Error::Shape`] when
/// neighbours and graph differ in length, [`Error::Graph`] when a neighbour is not a row or occurs twice,
/// [`Error::Overflow`] for distances whose squares are beyond any number.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
/// use phenocoder_embed::umap::local_radii;
///
/// let x = array![[0.0], [1.0], [3.0]];
/// let neighbors = nearest_neighbors(x.view(), 1, Metric::Euclidean, &NoProgress)?;
/// let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
/// // Row 1 has edges of weight 1 to both others, at distances 1 and 2.
/// let radii = local_radii(&graph, &neighbors)?;
/// assert!((radii[1] - 2.5_f64.ln()).abs() < 1e-6);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn local_radii(graph: &CsrGraph, neighbors: &Neighbors) -> Result<Vec<f64>> {
    check_undirected(graph)?;
    ShapeError::check_len("neighbors", graph.n_nodes(), neighbors.len())?;
    let distances = neighbors.to_graph()?;
    let square = |node, other| {
        let both = [
            value(&distances, node, other),
            value(&distances, other, node),
        ];
        let distance = both.into_iter().flatten().reduce(f64::max)?;
        Some(distance * distance)
    };
    let radii = radii_by(graph, |node, other, weight| {
        Some((weight, square(node, other)?))
    });
    if radii.iter().any(|radius| radius.is_infinite()) {
        return Err(Error::Overflow {
            method: "local radii",
        });
    }
    Ok(radii)
}

/// The value of an edge, where there is one.
fn value(graph: &CsrGraph, node: usize, other: usize) -> Option<f64> {
    let at = graph.neighbors(node).binary_search(&(other as u32)).ok()?;
    Some(graph.values()[graph.indptr()[node] + at])
}

/// The radii of the nodes of a map.
fn radii_on(map: &Array2<f64>, graph: &CsrGraph, config: &UmapConfig) -> Result<Vec<f64>> {
    let (curve, map) = (config.curve()?, map.as_standard_layout());
    Ok(radii_by(graph, |node, other, _| {
        let square = squared_distance(row_of(&map, node), row_of(&map, other));
        Some((curve.at(square), square))
    }))
}

/// The radii of the nodes of a graph by the weight and squared distance that `of` gives each edge.
fn radii_by(
    graph: &CsrGraph,
    of: impl Fn(usize, usize, f64) -> Option<(f64, f64)> + Sync,
) -> Vec<f64> {
    (0..graph.n_nodes())
        .into_par_iter()
        .with_min_len(TASK)
        .map(|node| {
            let edges = graph.row(node).filter(|edge| edge.1 > 0.0);
            Around::of(edges.filter_map(|(other, weight)| of(node, other, weight))).radius()
        })
        .collect()
}

/// The neighbourhood of a node.
struct Around {
    /// The sum of the weights of its edges.
    weight: f64,
    /// The mean squared distance along them; NaN without any.
    square: f64,
}

impl Around {
    /// Sums up edges by their weight and squared distance.
    fn of(edges: impl Iterator<Item = (f64, f64)>) -> Self {
        let (mut total, mut sum) = (0.0, 0.0);
        for (weight, square) in edges {
            total += weight;
            sum += weight * square;
        }
        Self {
            weight: total,
            square: LEAST + sum / total,
        }
    }

    fn radius(&self) -> f64 {
        libm::log(self.square)
    }
}

/// What the radii of a map are drawn to.
pub(super) struct Densities<'a> {
    pulls: &'a Pulls,
    config: &'a DensityConfig,
    /// The standardized radii of the nodes that have one and are drawn at all.
    wanted: Vec<Option<f64>>,
}

impl<'a> Densities<'a> {
    /// Takes the radii of the rows, NaN for those without.
    pub(super) fn new(radii: &[f64], pulls: &'a Pulls, config: &'a DensityConfig) -> Self {
        let known = |(node, &radius): (usize, &f64)| {
            let drawn = !pulls.of(node).0.is_empty();
            (drawn && !radius.is_nan()).then_some(radius)
        };
        let mut wanted: Vec<Option<f64>> = radii.iter().enumerate().map(known).collect();
        let count = wanted.iter().flatten().count() as f64;
        let mean = wanted.iter().flatten().sum::<f64>() / count;
        let squares = wanted
            .iter()
            .flatten()
            .map(|radius| (radius - mean).powi(2));
        let deviation = (squares.sum::<f64>() / count).sqrt();
        for radius in wanted.iter_mut().flatten() {
            *radius = if deviation > LEAST_DEVIATION {
                (*radius - mean) / deviation
            } else {
                0.0
            };
        }
        Self {
            pulls,
            config,
            wanted,
        }
    }

    /// Whether densities count in a round.
    pub(super) fn act_in(&self, epoch: usize, epochs: usize) -> bool {
        let without = (1.0 - self.config.share) * epochs as f64;
        self.config.strength > 0.0 && (epoch + 1) as f64 > without
    }

    /// Adds the moves that densities ask for, by the positions before the round.
    ///
    /// An edge moves a node along an axis by no more than a pull does on average.
    pub(super) fn move_nodes<const D: usize>(
        &self,
        before: &[[f32; D]],
        moved: &mut [[f32; D]],
        rules: &Rules,
    ) {
        let forces = self.forces(before, rules);
        let step = rules.step * rules.pulls as f32;
        let nodes = moved.par_iter_mut().with_min_len(TASK).enumerate();
        nodes.for_each(|(node, moved)| {
            for edge in self.edges(node, before, rules) {
                let strength = edge.strength(&forces[node], &forces[edge.target], rules.b);
                let bound = CLIP * edge.share;
                let places = before[node].iter().zip(&before[edge.target]);
                for (moved, (here, there)) in moved.iter_mut().zip(places) {
                    *moved += step * (strength * (here - there)).clamp(-bound, bound);
                }
            }
        });
    }

    /// What each node gives to the moves along its edges.
    fn forces<const D: usize>(&self, places: &[[f32; D]], rules: &Rules) -> Vec<Force> {
        let nodes = (0..places.len()).into_par_iter().with_min_len(TASK);
        let around: Vec<Around> = nodes
            .map(|node| {
                let edges = self.edges(node, places, rules);
                Around::of(edges.map(|edge| (f64::from(edge.membership), f64::from(edge.square))))
            })
            .collect();
        let sums = sum_rows(places.len(), 4, |nodes, sums| {
            for node in nodes {
                if let Some(wanted) = self.wanted[node].filter(|_| around[node].weight > 0.0) {
                    let radius = around[node].radius();
                    let values = [1.0, radius, radius * radius, radius * wanted];
                    for (sum, value) in sums.iter_mut().zip(values) {
                        *sum += value;
                    }
                }
            }
        });
        let (count, mean) = (sums[0], sums[1] / sums[0]);
        let variance = (sums[2] / count - mean * mean).max(0.0) + self.config.variance_shift;
        let covariance = sums[3] / (count - 1.0).max(1.0);
        // Twice, for the derivative of a squared distance; half, since every edge is there in both directions.
        let factor = self.config.strength * self.pulls.total() / (variance.sqrt() * count);
        let force = |(around, wanted): (&Around, &Option<f64>)| {
            let Some(wanted) = wanted.filter(|_| around.weight > 0.0) else {
                return Force::default();
            };
            let pull = wanted - covariance * (around.radius() - mean) / variance;
            let by_membership = factor * pull / around.weight;
            Force {
                by_membership: by_membership as f32,
                by_square: (by_membership / around.square) as f32,
            }
        };
        around.iter().zip(&self.wanted).map(force).collect()
    }

    /// The edges that draw a node, as they are on the map.
    fn edges<const D: usize>(
        &self,
        node: usize,
        places: &[[f32; D]],
        rules: &Rules,
    ) -> impl Iterator<Item = Edge> {
        let (targets, rates) = self.pulls.of(node);
        let (here, a, b) = (&places[node], rules.a, rules.b);
        let chunks = targets.chunks(LANES).zip(rates.chunks(LANES));
        chunks.flat_map(move |(targets, rates)| {
            let squares: [f32; LANES] = each(|lane| {
                let there = targets.get(lane).map(|&target| &places[target as usize]);
                there.map_or(1.0, |there| squared(here, there))
            });
            let raised = powers(squares, b);
            let edges = targets.iter().zip(rates);
            edges.zip(squares.into_iter().zip(raised)).map(
                move |((&target, &rate), (square, raised))| Edge {
                    target: target as usize,
                    share: Pulls::share(rate) as f32,
                    square,
                    membership: 1.0 / (1.0 + a * raised),
                },
            )
        })
    }
}

/// The squared distance between two places, kept positive.
fn squared<const D: usize>(here: &[f32; D], there: &[f32; D]) -> f32 {
    let pairs = here.iter().zip(there);
    pairs.fold(TINY, |sum, (u, v)| sum + (u - v) * (u - v))
}

/// An edge on the map.
struct Edge {
    target: usize,
    /// Its weight in the graph, in units of the largest.
    share: f32,
    square: f32,
    membership: f32,
}

impl Edge {
    /// How far, in differences of its two nodes, the edge wants to move them apart.
    ///
    /// The derivative of a radius by the squared distance `s` along an edge of membership `φ` is
    /// `φ/Σφ · ((1 − b(1 − φ))/e^radius + b(1 − φ)/s)`.
    fn strength(&self, here: &Force, there: &Force, b: f32) -> f32 {
        let fall = b * (1.0 - self.membership);
        let by_square = (1.0 - fall) * (here.by_square + there.by_square);
        let by_membership = fall / self.square * (here.by_membership + there.by_membership);
        self.membership * (by_square + by_membership)
    }
}

/// What the correlation gains from the radius of a node, divided by the sum of the memberships around it.
#[derive(Default)]
struct Force {
    by_membership: f32,
    /// Divided by the mean squared distance too.
    by_square: f32,
}

#[cfg(test)]
mod tests;
