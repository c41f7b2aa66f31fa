//! Neighbours, UMAP and clusters of the rows of a matrix: what cells and samples share.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, Column, CsrGraph, Progress, Seed};
use phenocoder_embed::cluster::{Clustering, LeidenConfig, leiden};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph, trim};
#[cfg(feature = "hnsw")]
use phenocoder_embed::knn::{HnswConfig, HnswIndex};
use phenocoder_embed::knn::{Metric, Neighbors, batch_balanced_neighbors, nearest_neighbors};
use phenocoder_embed::umap::{UmapConfig, layout};
use phenocoder_io::{TableData, Uns};
use serde::{Deserialize, Serialize};

use super::rows::RowsNote;
use crate::error::{Error, Result};

/// What the search must be where batches are balanced.
pub(super) const EXACT_IN_BATCHES: &str = "exact where batches are balanced among the neighbours";

/// How the nearest rows are found.
///
/// In a configuration file: `"exact"`, or `{"hnsw": {"width": 200}}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NeighborMethod {
    /// The nearest, in time that grows with the square of the rows at most.
    #[default]
    Exact,
    /// By an index that finds most of the nearest by walking along a graph, with the feature `hnsw`; of 20,000 rows it takes
    /// longer than the exact search.
    #[cfg(feature = "hnsw")]
    Hnsw(HnswSearch),
}

/// Settings of an approximate search.
///
/// What share of the nearest is found depends on the data, and a run does not measure it.
/// Measure it on some of the rows: [`recall`](crate::embed::knn::recall) compares what
/// [`HnswIndex::query`](crate::embed::knn::HnswIndex::query) finds for them with what
/// [`query_neighbors`](crate::embed::knn::query_neighbors) finds.
///
/// # Examples
///
/// ```
/// use ndarray::{Array2, s};
/// use phenocoder::core::NoProgress;
/// use phenocoder::embed::knn::{HnswIndex, Metric, query_neighbors, recall};
/// use phenocoder::pipeline::{GraphConfig, HnswSearch, NeighborMethod};
///
/// let search = HnswSearch::default().with_width(50);
/// let config = GraphConfig::default().with_search(NeighborMethod::Hnsw(search.clone()));
/// config.validate()?;
///
/// let x = Array2::from_shape_fn((300, 2), |(i, j)| ((i * (j + 3)) as f64).sin());
/// let some = x.slice(s![..20, ..]);
/// let settings = search.index_config(Metric::Euclidean);
/// let index = HnswIndex::build(x.view(), &settings, &NoProgress)?;
/// let found = index.query(some, 5, search.width, &NoProgress)?;
/// let exact = query_neighbors(x.view(), some, 5, Metric::Euclidean, &NoProgress)?;
/// assert!(recall(&found, &exact)? > 0.9);
/// # Ok::<(), phenocoder::Error>(())
/// ```
// Not an `HnswConfig` with a width: that holds the distance, of which the graph has one already, and serde cannot take apart
// the fields of a flattened struct where unknown ones are refused.
#[cfg(feature = "hnsw")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HnswSearch {
    /// How many rows a search keeps in view (default 100): more find more of the nearest, in more time.
    pub width: usize,
    /// Links of a new row in the index (default as [`HnswConfig::links`]).
    pub links: usize,
    /// How many rows are looked at for the links of a new one (default as [`HnswConfig::build_width`]).
    pub build_width: usize,
    /// The source of chance.
    pub seed: Seed,
}

#[cfg(feature = "hnsw")]
impl Default for HnswSearch {
    fn default() -> Self {
        let index = HnswConfig::new(Metric::default());
        Self {
            width: 100,
            links: index.links,
            build_width: index.build_width,
            seed: index.seed,
        }
    }
}

#[cfg(feature = "hnsw")]
impl HnswSearch {
    /// Sets how many rows a search keeps in view.
    #[must_use]
    pub fn with_width(mut self, width: usize) -> Self {
        self.width = width;
        self
    }

    /// Sets the links of a new row.
    #[must_use]
    pub fn with_links(mut self, links: usize) -> Self {
        self.links = links;
        self
    }

    /// Sets how many rows are looked at for the links of a new one.
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

    /// The settings of the index for this distance.
    #[must_use]
    pub fn index_config(&self, metric: Metric) -> HnswConfig {
        HnswConfig::new(metric)
            .with_links(self.links)
            .with_build_width(self.build_width)
            .with_seed(self.seed)
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Embed`] that names the first setting out of range.
    pub fn validate(&self) -> Result<()> {
        if self.width == 0 {
            return Err(Error::config("graph", "search.width", "at least 1"));
        }
        let index = self.index_config(Metric::default());
        Ok(index.validate().map_err(phenocoder_embed::Error::from)?)
    }
}

/// How rows are joined into a graph, drawn and grouped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GraphConfig {
    /// Neighbours of each row, itself counted as scanpy does (default 15); fewer where there are fewer rows.
    pub n_neighbors: usize,
    /// The distance (default Euclidean).
    pub metric: Metric,
    /// How neighbours are found (default exactly); exactly it must be where batches are balanced.
    pub search: NeighborMethod,
    /// With a batch column: neighbours of each row in each batch (default 3).
    pub within_batch: usize,
    /// How the graph is drawn; `None` draws nothing.
    pub umap: Option<UmapConfig>,
    /// How the graph is grouped; `None` groups nothing.
    pub leiden: Option<LeidenConfig>,
}

impl Default for GraphConfig {
    fn default() -> Self {
        Self {
            n_neighbors: 15,
            metric: Metric::default(),
            search: NeighborMethod::default(),
            within_batch: 3,
            umap: Some(UmapConfig::default().with_min_dist(0.1)),
            leiden: Some(LeidenConfig::default()),
        }
    }
}

impl GraphConfig {
    /// Sets the number of neighbours.
    #[must_use]
    pub fn with_n_neighbors(mut self, n: usize) -> Self {
        self.n_neighbors = n;
        self
    }

    /// Sets the distance.
    #[must_use]
    pub fn with_metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// Sets how neighbours are found.
    #[must_use]
    pub fn with_search(mut self, search: NeighborMethod) -> Self {
        self.search = search;
        self
    }

    /// Sets the neighbours of each row in each batch.
    #[must_use]
    pub fn with_within_batch(mut self, n: usize) -> Self {
        self.within_batch = n;
        self
    }

    /// Sets how the graph is drawn.
    #[must_use]
    pub fn with_umap(mut self, umap: Option<UmapConfig>) -> Self {
        self.umap = umap;
        self
    }

    /// Sets how the graph is grouped.
    #[must_use]
    pub fn with_leiden(mut self, leiden: Option<LeidenConfig>) -> Self {
        self.leiden = leiden;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Embed`] that names the first setting out of range.
    pub fn validate(&self) -> Result<()> {
        if self.n_neighbors < 2 {
            return Err(Error::config("graph", "n_neighbors", "at least 2"));
        }
        #[cfg(feature = "hnsw")]
        if let NeighborMethod::Hnsw(search) = &self.search {
            search.validate()?;
        }
        if let Some(umap) = &self.umap {
            umap.validate().map_err(phenocoder_embed::Error::from)?;
        }
        if let Some(leiden) = &self.leiden {
            leiden.validate().map_err(phenocoder_embed::Error::from)?;
        }
        Ok(())
    }

    /// Sets the seed of the map, of the groups and of an approximate search.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        #[cfg(feature = "hnsw")]
        if let NeighborMethod::Hnsw(search) = &mut self.search {
            search.seed = seed.derive("neighbors", 0);
        }
        self.umap = self.umap.map(|umap| umap.with_seed(seed.derive("umap", 0)));
        self.leiden = self
            .leiden
            .map(|leiden| leiden.with_seed(seed.derive("leiden", 0)));
        self
    }
}

/// The graph of the rows with what was made of it.
pub(super) struct RowGraph {
    pub(super) distances: CsrGraph,
    pub(super) connectivities: CsrGraph,
    pub(super) map: Option<Array2<f64>>,
    pub(super) clusters: Option<Clustering>,
    /// Neighbours used, the row itself counted.
    pub(super) n_neighbors: usize,
}

/// Joins, draws and groups the rows of `x`.
pub(super) fn row_graph(
    x: ArrayView2<'_, f64>,
    batch: Option<&Categorical>,
    config: &GraphConfig,
    step: &'static str,
    progress: &dyn Progress,
) -> Result<RowGraph> {
    let n = x.nrows();
    if n < 3 {
        return Err(Error::data(
            step,
            format!("a graph of rows needs at least 3 rows, there are {n}"),
        ));
    }
    config.validate()?;
    let (neighbors, keep) = match batch {
        Some(_) if config.search != NeighborMethod::Exact => {
            return Err(Error::config(step, "graph.search", EXACT_IN_BATCHES));
        }
        Some(batch) => {
            let batch = batch.without_unused();
            let neighbors =
                batch_balanced_neighbors(x, &batch, config.within_batch, config.metric, progress)?;
            // The original trims each row to ten times its neighbours.
            let total = config.within_batch * batch.categories().len();
            (neighbors, Some(10 * total))
        }
        None => {
            let k = (config.n_neighbors - 1).min(n - 1);
            (nearest(x, k, config, progress)?, None)
        }
    };
    let mut connectivities = fuzzy_graph(&neighbors, &FuzzyConfig::default(), progress)?;
    if let Some(keep) = keep {
        connectivities = trim(&connectivities, keep, progress)?;
    }
    let map = match &config.umap {
        Some(umap) => Some(layout(&connectivities, umap, progress)?),
        None => None,
    };
    let clusters = match &config.leiden {
        Some(settings) => Some(leiden(&connectivities, settings, progress)?),
        None => None,
    };
    Ok(RowGraph {
        n_neighbors: neighbors.k() + 1,
        distances: neighbors.to_graph()?,
        connectivities,
        map,
        clusters,
    })
}

/// The `k` nearest other rows of every row, as the configuration finds them.
fn nearest(
    x: ArrayView2<'_, f64>,
    k: usize,
    config: &GraphConfig,
    progress: &dyn Progress,
) -> Result<Neighbors> {
    match &config.search {
        NeighborMethod::Exact => Ok(nearest_neighbors(x, k, config.metric, progress)?),
        #[cfg(feature = "hnsw")]
        NeighborMethod::Hnsw(search) => {
            let index = HnswIndex::build(x, &search.index_config(config.metric), progress)?;
            Ok(index.neighbors(k, search.width, progress)?)
        }
    }
}

impl RowGraph {
    /// Adds graph, map and clusters to a table under the names that scanpy looks for.
    pub(super) fn add_to(
        self,
        mut data: TableData,
        note: &RowsNote,
        metric: Metric,
        column: &str,
    ) -> Result<TableData> {
        let text = |s: &str| Uns::Text(s.to_owned());
        let params = BTreeMap::from([
            ("n_neighbors".to_owned(), Uns::Int(self.n_neighbors as i64)),
            ("method".to_owned(), text("umap")),
            ("metric".to_owned(), text(metric_name(metric))),
            ("use_rep".to_owned(), text(note.rows.use_rep())),
        ]);
        let neighbors = BTreeMap::from([
            ("connectivities_key".to_owned(), text("connectivities")),
            ("distances_key".to_owned(), text("distances")),
            ("params".to_owned(), Uns::Dict(params)),
            note.entry()?,
        ]);
        data = data
            .with_obsp("distances", &self.distances)
            .with_obsp("connectivities", &self.connectivities)
            .with_uns("neighbors", Uns::Dict(neighbors));
        // What an earlier run left of another graph goes.
        data.obsm.remove("X_umap");
        if let Ok(position) = data.obs.schema().index_of(column) {
            data.obs.remove_column(position);
        }
        if let Some(map) = self.map {
            data = data.with_obsm("X_umap", map);
        }
        if let Some(clusters) = self.clusters {
            data = data.with_obs_column(column, Column::Categorical(cluster_labels(&clusters)))?;
        }
        Ok(data)
    }
}

/// Clusters as labels `0`, `1`, … in the order of their size.
pub(super) fn cluster_labels(clusters: &Clustering) -> Categorical {
    Column::Int(
        clusters
            .labels
            .iter()
            .map(|&label| i64::from(label))
            .collect(),
    )
    .to_categorical()
}

fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        _ => "euclidean",
    }
}
