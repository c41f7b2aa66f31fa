//! A map in few dimensions that keeps neighbours together.
//!
//! [`layout`] draws a [fuzzy graph](crate::fuzzy::fuzzy_graph), [`layout_with_density`] one on whose map dense groups
//! stay dense; [`Umap`] is a finished map that takes new rows in.
//! Every node reads the positions of the epoch before and moves only itself, with random numbers of its own, so the
//! bits do not depend on the number of threads.
//!
//! McInnes, Healy & Melville 2018, arXiv:1802.03426.

mod curve;
mod density;
mod lanes;
mod objective;
mod optimize;
mod power;
mod spectral;

use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_core::{CsrGraph, Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use curve::Curve;
pub use density::{DensityConfig, DensityMap, layout_with_density, local_radii};
pub use objective::cross_entropy;

use crate::fuzzy::{check_undirected, membership};
use crate::knn::Neighbors;
use crate::matrix::{check_columns, check_finite};
use crate::{ConfigError, Error, Result};
use optimize::{Drawing, Pulls, TASK};
pub(crate) use spectral::connected_parts;

/// The bounds of settings and of positions: moves are computed in single precision, whose numbers end at 3e38.
const LEAST_SPREAD: f64 = 1e-6;
const MOST: f64 = 1e6;
const MOST_OF_POSITION: f64 = 1e15;

/// Where the nodes of a map start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UmapInit {
    /// At the leading eigenvectors of the normalized graph, each connected part on its own.
    ///
    /// To start at principal components or at another map, use [`layout_from`].
    #[default]
    Spectral,
    /// Anywhere in the box from 0 to 10.
    Random,
}

/// Settings of [`layout`] and [`Umap`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct UmapConfig {
    /// Dimensions of the map, 1 to 64 (default 2).
    pub n_components: usize,
    /// How closely points may lie (default 0.1; scanpy's default is 0.5).
    pub min_dist: f64,
    /// How far the map spreads, 1e-6 to 1e6 (default 1).
    pub spread: f64,
    /// Rounds of the layout (default: 500 for up to 10,000 nodes, else 200).
    pub n_epochs: Option<usize>,
    /// The step of the first round, at most 1e6; it falls to 0 (default 1).
    pub learning_rate: f64,
    /// Random nodes that push a node away for each neighbour that draws it near (default 5).
    pub negative_samples: usize,
    /// The weight of that push, at most 1e6 (default 1).
    pub repulsion: f64,
    /// How often an edge draws each of its two nodes when it acts: 1 (default), or 2 as in umap-learn.
    ///
    /// With 2, nodes of a group lie closer than their memberships ask for; with 1 the objective comes out a third to a
    /// half lower and neighbourhoods are kept better on the reference sets.
    pub edge_pulls: usize,
    /// Rounds in which new rows are placed on the map (default: a third of `n_epochs` where that is set, else 100 for
    /// up to 10,000 new rows and 30 for more).
    pub transform_epochs: Option<usize>,
    /// Where the nodes start (default spectral).
    pub init: UmapInit,
    /// The source of chance.
    pub seed: Seed,
}

impl Default for UmapConfig {
    fn default() -> Self {
        Self {
            n_components: 2,
            min_dist: 0.1,
            spread: 1.0,
            n_epochs: None,
            learning_rate: 1.0,
            negative_samples: 5,
            repulsion: 1.0,
            edge_pulls: 1,
            transform_epochs: None,
            init: UmapInit::Spectral,
            seed: Seed::default(),
        }
    }
}

impl UmapConfig {
    /// Sets the dimensions of the map.
    #[must_use]
    pub fn with_n_components(mut self, n_components: usize) -> Self {
        self.n_components = n_components;
        self
    }

    /// Sets how closely points may lie.
    #[must_use]
    pub fn with_min_dist(mut self, min_dist: f64) -> Self {
        self.min_dist = min_dist;
        self
    }

    /// Sets how far the map spreads.
    #[must_use]
    pub fn with_spread(mut self, spread: f64) -> Self {
        self.spread = spread;
        self
    }

    /// Sets the number of rounds.
    #[must_use]
    pub fn with_n_epochs(mut self, n_epochs: impl Into<Option<usize>>) -> Self {
        self.n_epochs = n_epochs.into();
        self
    }

    /// Sets the step of the first round.
    #[must_use]
    pub fn with_learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Sets the number of random nodes that push.
    #[must_use]
    pub fn with_negative_samples(mut self, negative_samples: usize) -> Self {
        self.negative_samples = negative_samples;
        self
    }

    /// Sets the weight of the push.
    #[must_use]
    pub fn with_repulsion(mut self, repulsion: f64) -> Self {
        self.repulsion = repulsion;
        self
    }

    /// Sets how often an edge draws each of its nodes.
    #[must_use]
    pub fn with_edge_pulls(mut self, edge_pulls: usize) -> Self {
        self.edge_pulls = edge_pulls;
        self
    }

    /// Sets the number of rounds in which new rows are placed.
    #[must_use]
    pub fn with_transform_epochs(mut self, transform_epochs: impl Into<Option<usize>>) -> Self {
        self.transform_epochs = transform_epochs.into();
        self
    }

    /// Sets where the nodes start.
    #[must_use]
    pub fn with_init(mut self, init: UmapInit) -> Self {
        self.init = init;
        self
    }

    /// Sets the source of chance.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the first setting outside its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let n = self.n_components;
        ConfigError::check(
            (1..=optimize::MAX_DIMENSIONS).contains(&n),
            "n_components",
            "1 to 64",
            n,
        )?;
        ConfigError::check(
            (LEAST_SPREAD..=MOST).contains(&self.spread),
            "spread",
            "a number from 1e-6 to 1e6",
            self.spread,
        )?;
        let allowed = (0.0..=self.spread).contains(&self.min_dist);
        ConfigError::check(
            allowed,
            "min_dist",
            "a number from 0 to spread",
            self.min_dist,
        )?;
        for (epochs, setting) in [
            (self.n_epochs, "n_epochs"),
            (self.transform_epochs, "transform_epochs"),
        ] {
            ConfigError::check(epochs != Some(0), setting, "at least 1", 0)?;
        }
        let rate = self.learning_rate;
        ConfigError::check(
            rate > 0.0 && rate <= MOST,
            "learning_rate",
            "a positive number of at most 1e6",
            rate,
        )?;
        let push = self.repulsion;
        ConfigError::check(
            (0.0..=MOST).contains(&push),
            "repulsion",
            "a number from 0 to 1e6",
            push,
        )?;
        let pulls = self.edge_pulls;
        ConfigError::check((1..=2).contains(&pulls), "edge_pulls", "1 or 2", pulls)?;
        let samples = self.negative_samples;
        ConfigError::check(samples <= 1000, "negative_samples", "at most 1000", samples)
    }

    /// The curve that turns distances on the map into memberships.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `spread` or `min_dist` is outside its range.
    pub fn curve(&self) -> Result<Curve, ConfigError> {
        self.validate()?;
        Ok(Curve::fit(self.spread, self.min_dist))
    }

    fn epochs(&self, nodes: usize) -> usize {
        self.n_epochs
            .unwrap_or(if nodes <= 10_000 { 500 } else { 200 })
    }

    fn epochs_of_new(&self, rows: usize) -> usize {
        self.transform_epochs
            .or(self.n_epochs.map(|epochs| (epochs / 3).max(1)))
            .unwrap_or(if rows <= 10_000 { 100 } else { 30 })
    }
}

/// Draws a graph of memberships: positions `[n, n_components]`.
///
/// A node without edges stays where it starts; connected parts start apart.
/// Cost: each epoch visits the edges in proportion to their weights, in parallel.
///
/// # Differences from umap-learn
///
/// A node's moves within an epoch see the other nodes as they were before it, so that nodes can move in parallel and
/// the result does not depend on the number of threads.
/// An edge, which stands in the graph in both directions, draws its nodes once when it acts and not once per direction
/// ([`UmapConfig::edge_pulls`] = 2 is umap-learn's way); the objective is lower for it and trustworthiness no worse.
/// Powers are computed in single precision with a relative error below 1e-5, the same on every machine.
///
/// # Errors
///
/// [`Error::Config`] for a setting outside its range, [`Error::NotSymmetric`] or [`Error::EdgeWeight`] for a graph that
/// is not one of memberships, [`Error::Overflow`] where settings together drive nodes beyond any number,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{CsrGraph, NoProgress};
/// use phenocoder_embed::umap::{UmapConfig, layout};
///
/// let graph = CsrGraph::new(vec![0, 1, 2], vec![1, 0], vec![1.0, 1.0])?;
/// let map = layout(&graph, &UmapConfig::default(), &NoProgress)?;
/// assert_eq!(map.dim(), (2, 2));
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "tl.umap")]
#[doc(alias = "simplicial_set_embedding")]
pub fn layout(
    graph: &CsrGraph,
    config: &UmapConfig,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    config.validate()?;
    check_undirected(graph)?;
    run(graph, start(graph, config, progress)?, config, progress)
}

/// Where the settings let the nodes start.
fn start(graph: &CsrGraph, config: &UmapConfig, progress: &dyn Progress) -> Result<Array2<f64>> {
    match config.init {
        UmapInit::Spectral => spectral::start(graph, config.n_components, config.seed, progress),
        UmapInit::Random => {
            let mut stream = config.seed.stream("umap/start", 0);
            let shape = (graph.n_nodes(), config.n_components);
            Ok(Array2::from_shape_simple_fn(shape, || {
                stream.uniform_in(0.0, 10.0)
            }))
        }
    }
}

/// Draws a graph of memberships from a start of the caller's: principal components, or the map of an earlier run.
///
/// The start is moved and scaled so that it fills the box from 0 to 10; its number of columns is the number of
/// dimensions.
/// Where rows of it repeat, or a column has one value only, every coordinate then gets noise of deviation 1e-4 from the
/// seed: nodes at one place neither pull nor push each other, and none leaves a coordinate that all share.
/// Nodes on a line in another direction, as that of two equal columns, stay on it.
///
/// # Differences from umap-learn
///
/// There, noise is added where rows repeat only, before scaling and of a thousandth of the mean distance of nearest
/// rows; without it, a column of one value becomes NaN.
///
/// # Errors
///
/// As [`layout`], and [`Error::Shape`] when the start has not one row per node, [`Error::NotFinite`] for NaN in it.
pub fn layout_from(
    graph: &CsrGraph,
    start: ArrayView2<'_, f64>,
    config: &UmapConfig,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    config.validate()?;
    check_undirected(graph)?;
    check_finite(start)?;
    ShapeError::check_len("start", graph.n_nodes(), start.nrows())?;
    check_columns("start", start, config.n_components)?;
    let start = spectral::start_at(start.to_owned(), config.seed);
    run(graph, start, config, progress)
}

fn run(
    graph: &CsrGraph,
    start: Array2<f64>,
    config: &UmapConfig,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    let epochs = config.epochs(graph.n_nodes());
    let pulls = Pulls::of_graph(graph, epochs, config.edge_pulls);
    let drawing = Drawing {
        start: start.view(),
        fixed: None,
        pulls: &pulls,
        densities: None,
        config,
        epochs,
    };
    drawing.optimize(progress)
}

/// A finished map that takes new rows in.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
/// use phenocoder_embed::knn::{Metric, nearest_neighbors, query_neighbors};
/// use phenocoder_embed::umap::{Umap, UmapConfig};
///
/// let x = array![[0.0], [1.0], [2.0], [3.0]];
/// let neighbors = nearest_neighbors(x.view(), 2, Metric::Euclidean, &NoProgress)?;
/// let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
/// let map = Umap::fit(&graph, &UmapConfig::default(), &NoProgress)?;
///
/// let new = array![[0.1]];
/// let found = query_neighbors(x.view(), new.view(), 2, Metric::Euclidean, &NoProgress)?;
/// assert_eq!(map.transform(&found, &NoProgress)?.dim(), (1, 2));
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "UMAP")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Umap {
    config: UmapConfig,
    #[serde(with = "crate::stored")]
    embedding: Array2<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    config: UmapConfig,
    #[serde(with = "crate::stored")]
    embedding: Array2<f64>,
}

impl TryFrom<Parts> for Umap {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Self::from_embedding(parts.embedding, &parts.config)
    }
}

impl Umap {
    /// Draws a graph of memberships; see [`layout`].
    ///
    /// # Errors
    ///
    /// As [`layout`], and as [`from_embedding`](Self::from_embedding).
    pub fn fit(graph: &CsrGraph, config: &UmapConfig, progress: &dyn Progress) -> Result<Self> {
        Self::from_embedding(layout(graph, config, progress)?, config)
    }

    /// Takes a map that was drawn before with these settings.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting outside its range and for a position beyond 1e15, [`Error::Shape`] for another
    /// number of columns than `n_components`, [`Error::NotFinite`] for NaN.
    pub fn from_embedding(embedding: Array2<f64>, config: &UmapConfig) -> Result<Self> {
        config.validate()?;
        check_columns("embedding", embedding.view(), config.n_components)?;
        check_finite(embedding.view())?;
        for &value in &embedding {
            ConfigError::check(
                value.abs() <= MOST_OF_POSITION,
                "embedding",
                "positions from -1e15 to 1e15",
                value,
            )?;
        }
        Ok(Self {
            config: config.clone(),
            embedding,
        })
    }

    /// The positions, `[n, n_components]`.
    #[must_use]
    pub fn embedding(&self) -> ArrayView2<'_, f64> {
        self.embedding.view()
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &UmapConfig {
        &self.config
    }

    /// Places new rows, given their nearest rows among those of the map; the map itself does not move.
    ///
    /// A new row starts at the mean of its neighbours, weighted by [`membership`], or at one at distance 0, and then
    /// moves for [`UmapConfig::transform_epochs`] with a quarter of the step.
    /// New rows do not pull or push one another; they share the largest membership, in proportion to which neighbours
    /// pull, and the mean distance, which bounds the scale of a row from below.
    ///
    /// # Differences from umap-learn
    ///
    /// The map never moves: there, it does when as many rows are placed as it has.
    ///
    /// # Shapes
    ///
    /// `neighbors`: `[m, k]` with indices into the map, from [`query_neighbors`](crate::knn::query_neighbors); result
    /// `[m, n_components]`.
    ///
    /// # Errors
    ///
    /// [`Error::Graph`] when a neighbour is not a row of the map, [`Error::TooFew`] without neighbours,
    /// [`Error::Overflow`] where settings together drive rows beyond any number, [`Error::Cancelled`] when the caller
    /// stops it.
    pub fn transform(&self, neighbors: &Neighbors, progress: &dyn Progress) -> Result<Array2<f64>> {
        neighbors.check_among(self.embedding.nrows())?;
        Error::check_enough("placing rows on a map", "neighbours", 1, neighbors.k())?;
        let weights = membership(neighbors, progress)?;
        let start = self.start_of_new(neighbors, &weights, progress)?;
        let epochs = self.config.epochs_of_new(neighbors.len());
        let pulls = Pulls::of_neighbors(neighbors, &weights, epochs);
        // A quarter of the step: the rows start close to where they belong.
        let config = self
            .config
            .clone()
            .with_learning_rate(self.config.learning_rate / 4.0);
        let drawing = Drawing {
            start: start.view(),
            fixed: Some(self.embedding.view()),
            pulls: &pulls,
            densities: None,
            config: &config,
            epochs,
        };
        drawing.optimize(progress)
    }

    /// The mean of the neighbours of each new row by these weights, or the place of one at distance 0.
    fn start_of_new(
        &self,
        neighbors: &Neighbors,
        weights: &Array2<f64>,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>> {
        let indices = neighbors.indices();
        let mut start = Array2::<f64>::zeros((neighbors.len(), self.config.n_components));
        let blocks: Vec<_> = start.axis_chunks_iter_mut(Axis(0), TASK).collect();
        let blocks = blocks.into_par_iter().enumerate();
        blocks.try_for_each(|(block, mut rows)| {
            progress.check()?;
            for (row, mut to) in (block * TASK..).zip(rows.outer_iter_mut()) {
                let (indices, weights) = (indices.row(row), weights.row(row));
                let total: f64 = weights.sum();
                if weights[0] == 1.0 || total == 0.0 {
                    to.assign(&self.embedding.row(indices[0] as usize));
                    continue;
                }
                for (&index, weight) in indices.iter().zip(&weights) {
                    to.scaled_add(weight / total, &self.embedding.row(index as usize));
                }
            }
            Ok::<_, Error>(())
        })?;
        Ok(start)
    }
}

#[cfg(test)]
mod tests;
