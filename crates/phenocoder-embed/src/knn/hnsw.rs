//! Neighbours by a graph that one walks along: approximate, for a query meets a small part of the rows only.

mod build;
mod graph;
mod singles;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{NoProgress, Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize, Serializer};

use super::found::{Found, by_key};
use super::groups::parted;
use super::points::{OVERFLOW, Points};
use super::{Metric, Neighbors};
use crate::matrix::check_columns;
use crate::{ConfigError, Error, Result};
use build::{build, layer_sizes};
use graph::{Layer, Vectors, Walk};

const METHOD: &str = "approximate index";
/// Rows per task, which share the memory of a walk.
const ROWS: usize = 128;
/// The most rows of one node that a search measures, unless it keeps more in view.
const MOST_OF_NODE: usize = 2048;
/// After so many times as many rows, a search measures those of no other node.
const ENOUGH: usize = 4;

/// Settings of an [`HnswIndex`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HnswConfig {
    /// How far two rows are apart.
    pub metric: Metric,
    /// Links of a new node, from 2 to 128 (default 16); nodes have up to twice as many, which others made.
    ///
    /// More take memory, `8 · links` bytes a row, and time, and find more where rows have many dimensions.
    #[serde(default = "default_links")]
    pub links: usize,
    /// How many of the nodes nearest to a new one are looked at for its links, from `links` to 65,536 (default 100).
    ///
    /// More take time when the index is made, and make it better.
    #[serde(default = "default_build_width")]
    pub build_width: usize,
    /// The source of chance.
    #[serde(default)]
    pub seed: Seed,
}

fn default_links() -> usize {
    16
}

fn default_build_width() -> usize {
    100
}

impl HnswConfig {
    /// The default settings for this distance.
    #[must_use]
    pub fn new(metric: Metric) -> Self {
        Self {
            metric,
            links: default_links(),
            build_width: default_build_width(),
            seed: Seed::default(),
        }
    }

    /// Sets the links of a new node.
    #[must_use]
    pub fn with_links(mut self, links: usize) -> Self {
        self.links = links;
        self
    }

    /// Sets how many nodes are looked at for the links of a new one.
    #[must_use]
    pub fn with_build_width(mut self, build_width: usize) -> Self {
        self.build_width = build_width;
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
    /// A [`ConfigError`] for a number outside its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let links = self.links;
        ConfigError::check((2..=128).contains(&links), "links", "2 to 128", links)?;
        ConfigError::check(
            (links..=65_536).contains(&self.build_width),
            "build_width",
            "at least `links` and at most 65,536",
            self.build_width,
        )
    }
}

/// Rows among which neighbours are found approximately, by a hierarchical navigable small world graph.
///
/// Every row is linked with rows near it that lie in different directions; a search walks along the links from a few
/// rows that stand for all to those nearest to what is looked for, and keeps the `width` best it has met.
/// Malkov & Yashunin 2020, doi:10.1109/TPAMI.2018.2889473; made in batches as Manohar et al. 2024,
/// doi:10.1145/3627535.3638475.
///
/// The exact search, [`nearest_neighbors`](super::nearest_neighbors), is fast: it passes over groups of rows that are too
/// far away. Of rows of 32 columns without clusters the index takes less time than it from somewhere between 100,000 and
/// 316,228 rows on, of rows in clusters from more on; `docs/benchmarks.md` has the numbers.
/// On a processor without fused multiply-add, the sums of the index are much slower.
/// [`recall`](super::recall) on some of the rows, against [`query_neighbors`](super::query_neighbors), tells what share of
/// the neighbours is found; a larger `width` finds more.
/// Walks compare distances in single precision; of the rows in view, those that may be among the `k` nearest as far as it
/// can tell are measured in double precision, so what comes out is exact distances.
/// A search that meets too few rows looks at all of them, so there are always `k`.
/// Of rows that single precision does not tell apart, a search measures the first 2,048 only (the first `width` where
/// that is more), and about four times as many in all, so that many equal rows do not take time in their square; of
/// equally distant rows the first still comes first.
/// Cost: about `O(n log n · build_width · links · p)` to make, `O(log n · width · links · p)` for each row that is looked
/// for; memory `O(n (p + links))`.
///
/// The index has the same bits for any number of threads and on every machine, and links the same rows in whatever order
/// they come.
///
/// # Differences from hnswlib
///
/// New nodes see those of earlier batches only, where hnswlib's see whatever other threads have finished.
/// The heights of nodes are not drawn one by one: the first nodes of a random order are the higher layers, and a layer is
/// the whole graph at the time when it had only these.
/// Rows that single precision does not tell apart are one node, so that many equal rows do not use up each other's links.
///
/// # Shapes
///
/// Rows `[n, p]`, answers `[n, k]`.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::knn::{HnswConfig, HnswIndex, Metric, nearest_neighbors, recall};
///
/// let x = Array2::from_shape_fn((300, 2), |(i, j)| ((i * (j + 3)) as f64).sin());
/// let index = HnswIndex::build(x.view(), &HnswConfig::new(Metric::Euclidean), &NoProgress)?;
/// let found = index.neighbors(5, 50, &NoProgress)?;
/// let exact = nearest_neighbors(x.view(), 5, Metric::Euclidean, &NoProgress)?;
/// assert!(recall(&found, &exact)? > 0.99);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "hnswlib")]
#[doc(alias = "pynndescent")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct HnswIndex {
    config: HnswConfig,
    #[serde(rename = "rows", serialize_with = "write_rows")]
    points: Points,
    /// From the highest down to the one that has all nodes.
    layers: Vec<Layer>,
    /// The nodes that the links lead to, as a number: a file does not hold them, they follow from rows and seed.
    nodes: u64,
    #[serde(skip_serializing)]
    vectors: Vectors,
}

fn write_rows<S: Serializer>(points: &Points, to: S) -> Result<S::Ok, S::Error> {
    crate::stored::serialize(points.rows(), to)
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    config: HnswConfig,
    #[serde(with = "crate::stored")]
    rows: Array2<f64>,
    layers: Vec<Vec<Vec<u32>>>,
    nodes: u64,
}

impl TryFrom<Parts> for HnswIndex {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let config = parts.config;
        config.validate()?;
        check_extent(parts.rows.view())?;
        let points = Points::written(parts.rows, config.metric)?;
        let vectors = Vectors::new(&points, config.seed, &NoProgress)?;
        let nodes = vectors.fingerprint();
        ConfigError::check(
            nodes == parts.nodes,
            "nodes",
            "the number of the rows and the seed that the links were made for",
            parts.nodes,
        )?;
        let sizes = layer_sizes(vectors.len(), config.links);
        ShapeError::check_len("layers", sizes.len(), parts.layers.len())?;
        let layers = parts.layers.iter().zip(sizes).map(|(lists, nodes)| {
            let all = nodes == vectors.len();
            let most = if all { 2 * config.links } else { config.links };
            Layer::read(lists, most, nodes)
        });
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            config,
            points,
            nodes,
            vectors,
        })
    }
}

fn check_extent(x: ArrayView2<'_, f64>) -> Result<()> {
    Error::check_enough(METHOD, "rows", 1, x.nrows())?;
    Error::check_enough(METHOD, "columns", 1, x.ncols())
}

impl HnswIndex {
    /// Makes the index.
    ///
    /// # Errors
    ///
    /// [`Error::TooFew`] without rows or columns, [`Error::NotFinite`] for NaN or infinity, [`Error::TooManyRows`] for
    /// rows beyond 32-bit numbers, [`Error::Overflow`] for values whose squares are beyond any number, [`Error::Config`]
    /// for a setting outside its range, [`Error::Cancelled`] when the caller stops it.
    pub fn build(
        x: ArrayView2<'_, f64>,
        config: &HnswConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        config.validate()?;
        check_extent(x)?;
        let points = Points::new(x, config.metric)?;
        progress.check()?;
        let vectors = Vectors::new(&points, config.seed, progress)?;
        progress.check()?;
        Ok(Self {
            layers: build(&vectors, config, progress)?,
            config: config.clone(),
            points,
            nodes: vectors.fingerprint(),
            vectors,
        })
    }

    /// The settings it was made with.
    #[must_use]
    pub fn config(&self) -> &HnswConfig {
        &self.config
    }

    /// The number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.points.nrows()
    }

    /// Finds `k` near other rows of every row of the index; most of them are the nearest.
    ///
    /// `width` is how many rows a search keeps in view, `k + 1` at least: 100 is a good start.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyNeighbors`] when there are not `k` other rows, [`Error::Config`] when `k` is 0,
    /// [`Error::Cancelled`] when the caller stops it.
    pub fn neighbors(&self, k: usize, width: usize, progress: &dyn Progress) -> Result<Neighbors> {
        let (order, nodes) = (self.vectors.order(), self.vectors.nodes());
        self.search(&self.points, order, Some(&nodes), k, width, progress)
    }

    /// Finds `k` near rows of the index for every row of `query`; most of them are the nearest.
    ///
    /// As [`neighbors`](Self::neighbors), for new rows; one that also stands in the index finds itself.
    /// The farther a row lies from those of the index, by Euclidean distance, the fewer of these single precision tells
    /// apart: where it lies more than about 10⁷ times as far away as they reach, none, and any `k` rows are found.
    /// [`query_neighbors`](super::query_neighbors) finds the nearest of such a row too.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyNeighbors`] when there are not `k` rows, [`Error::Shape`] for another number of columns,
    /// [`Error::Config`] when `k` is 0, [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`] where squares of
    /// distances are beyond any number, [`Error::Cancelled`] when the caller stops it.
    pub fn query(
        &self,
        query: ArrayView2<'_, f64>,
        k: usize,
        width: usize,
        progress: &dyn Progress,
    ) -> Result<Neighbors> {
        check_columns("query", query, self.points.ncols())?;
        let query = Points::new(query, self.config.metric)?;
        let order = parted(&query, progress)?.concat();
        self.search(&query, &order, None, k, width, progress)
    }

    /// Searches for rows in an order in which near ones follow each other, so that their walks meet what is still at hand;
    /// `nodes` are theirs where they are the rows of the index.
    fn search(
        &self,
        query: &Points,
        order: &[u32],
        nodes: Option<&[u32]>,
        k: usize,
        width: usize,
        progress: &dyn Progress,
    ) -> Result<Neighbors> {
        ConfigError::check(k > 0, "k", "at least 1", k)?;
        let available = self.n_rows() - usize::from(nodes.is_some());
        if k > available {
            return Err(Error::TooManyNeighbors { k, available });
        }
        progress.start("approximate neighbours", Some(query.nrows() as u64));
        let width = width.min(self.n_rows()).max(k + 1);
        let tasks: Vec<Vec<(f64, u32)>> = order
            .par_chunks(ROWS)
            .map(|rows| {
                progress.check()?;
                let mut walk = Walk::new(self.vectors.len());
                let mut found = Vec::with_capacity(rows.len() * k);
                for &row in rows {
                    let values = query.row(row as usize);
                    let own = nodes.map(|nodes| (row, nodes[row as usize]));
                    found.extend(self.nearest(values, own, k, width, &mut walk));
                }
                progress.advance(rows.len() as u64);
                Ok(found)
            })
            .collect::<Result<_>>()?;
        progress.finish();
        let found = Found::in_order(order, tasks, k, self.config.metric);
        if !found.keys.iter().all(|key| key.is_finite()) {
            return Err(OVERFLOW);
        }
        Ok(found.into_neighbors(k))
    }

    /// The `k` nearest of the rows found for one row, with their exact keys; `own` is its place in the index and its node
    /// there.
    fn nearest(
        &self,
        query: &[f64],
        own: Option<(u32, u32)>,
        k: usize,
        width: usize,
        walk: &mut Walk,
    ) -> Vec<(f64, u32)> {
        let others = |row: &u32| own.is_none_or(|(own, _)| *row != own);
        let measured = |row: u32| {
            let key = self.points.order_key(query, self.points.row(row as usize));
            (key, row)
        };
        let single = self.vectors.single(query);
        let doubt = self.vectors.doubt(&single, query);
        // What is in the index begins where it is.
        let (start, first) = own.map_or((0, 0), |(_, node)| (node, self.layers.len() - 1));
        let layers = &self.layers[first..];
        let of_node = MOST_OF_NODE.max(width);
        let mut rows = Vec::with_capacity(width);
        let mut cutoff = f32::INFINITY;
        for near in self.vectors.search(layers, &single, start, width, walk) {
            let (least, most) = doubt.bounds(near.key());
            if rows.len() >= ENOUGH * of_node || least > cutoff {
                break;
            }
            let same = self.vectors.rows(near.node()).iter().copied();
            rows.extend(same.filter(others).take(of_node).map(measured));
            if rows.len() >= k {
                cutoff = cutoff.min(most);
            }
        }
        if rows.len() < k {
            let all = 0..self.n_rows() as u32;
            rows = all.filter(others).map(measured).collect();
        }
        rows.sort_unstable_by(by_key);
        rows.truncate(k);
        rows
    }
}

#[cfg(test)]
mod tests;
