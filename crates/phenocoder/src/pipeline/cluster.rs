//! Step 4: which cells look alike.

use ndarray::Array2;
use phenocoder_core::Progress;
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_io::{Store, WriteMode};
use serde::{Deserialize, Serialize};

use super::graph::{GraphConfig, row_graph};
use super::source;
use crate::error::{Error, Result};

const STEP: &str = "cluster_cells";

/// Settings of [`cluster_cells`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The table with one row per cell (default `phenocoder`).
    pub table: String,
    /// A layer to take instead of `X`, such as [`SMOOTHED_LAYER`](super::SMOOTHED_LAYER).
    pub layer: Option<String>,
    /// Principal components to reduce to first; `None` (the default) takes latents as they are.
    pub n_components: Option<usize>,
    /// A column of `obs` whose batches are balanced among the neighbours.
    pub batch_key: Option<String>,
    /// The column of `obs` that gets the clusters (default `phenocoder_cluster`).
    pub column: String,
    /// Neighbours, map and clusters.
    pub graph: GraphConfig,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            table: "phenocoder".to_owned(),
            layer: None,
            n_components: None,
            batch_key: None,
            column: "phenocoder_cluster".to_owned(),
            graph: GraphConfig::default(),
        }
    }
}

impl ClusterConfig {
    /// Sets the table.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets the layer.
    #[must_use]
    pub fn with_layer(mut self, layer: Option<String>) -> Self {
        self.layer = layer;
        self
    }

    /// Sets the batch column.
    #[must_use]
    pub fn with_batch_key(mut self, key: Option<String>) -> Self {
        self.batch_key = key;
        self
    }

    /// Sets the principal components to reduce to first.
    #[must_use]
    pub fn with_n_components(mut self, n: Option<usize>) -> Self {
        self.n_components = n;
        self
    }

    /// Sets the column that gets the clusters.
    #[must_use]
    pub fn with_column(mut self, column: impl Into<String>) -> Self {
        self.column = column.into();
        self
    }

    /// Sets neighbours, map and clusters.
    #[must_use]
    pub fn with_graph(mut self, graph: GraphConfig) -> Self {
        self.graph = graph;
        self
    }
}

/// What [`cluster_cells`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterReport {
    /// Cells joined into the graph.
    pub cells: usize,
    /// Cells of each cluster, largest first; empty when nothing was grouped.
    pub clusters: Vec<usize>,
    /// The quality that Leiden reached.
    pub quality: Option<f64>,
}

/// Joins the cells of a table into a graph, draws it with UMAP and groups it with Leiden.
///
/// The table gains `obsp/distances`, `obsp/connectivities`, `obsm/X_umap`, `uns/neighbors` and the cluster column; with
/// `n_components` also `obsm/X_pca`.
/// What an earlier run left under these names is replaced or, when it is no longer made, removed.
///
/// # Errors
///
/// [`Error::Io`] when table, layer or column is not there, [`Error::Data`] with fewer than 3 cells, [`Error::Embed`],
/// [`Error::Cancelled`].
#[doc(alias("leiden", "neighbors", "umap"))]
pub fn cluster_cells(
    store: &mut Store,
    config: &ClusterConfig,
    progress: &dyn Progress,
) -> Result<ClusterReport> {
    let _span = tracing::info_span!(STEP).entered();
    let table = store.table(&config.table)?;
    let x: Array2<f64> = match &config.layer {
        Some(layer) => table.layer(layer)?.to_dense_f64()?,
        None => table
            .x()?
            .ok_or_else(|| Error::data(STEP, format!("table `{}` has no X", config.table)))?
            .to_dense_f64()?,
    };
    let batch = config
        .batch_key
        .as_ref()
        .map(|key| source::labels(&table, key))
        .transpose()?;
    let scores = match config.n_components {
        Some(n) => Some(Pca::fit(x.view(), &PcaConfig::new(n))?.transform(x.view())?),
        None => None,
    };
    let (rows, representation) = match &scores {
        Some(scores) => (scores.view(), "X_pca"),
        None => (x.view(), "X"),
    };
    let graph = row_graph(rows, batch.as_ref(), &config.graph, STEP, progress)?;
    let report = ClusterReport {
        cells: x.nrows(),
        clusters: graph
            .clusters
            .as_ref()
            .map(|c| c.sizes())
            .unwrap_or_default(),
        quality: graph.clusters.as_ref().map(|c| c.quality),
    };
    let mut data = table.read_all()?;
    if data.uns.contains_key("phenocoder") {
        // On a table of latents, only an earlier run of this step can have made it.
        data.obsm.remove("X_pca");
    }
    data = graph.add_to(data, representation, config.graph.metric, &config.column)?;
    if let Some(scores) = scores {
        data = data.with_obsm("X_pca", scores);
    }
    store.write_table(&config.table, &data, WriteMode::Replace)?;
    Ok(report)
}
