//! Step 4: which cells look alike.

use ndarray::Array2;
use phenocoder_core::{Progress, WithinStage};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_io::{Store, TableData, WriteMode};
use serde::{Deserialize, Serialize};

use super::compare::Representation;
use super::correction::{
    BatchCorrection, BatchSettings, Batches, CORRECTED_ENTRY, HARMONY_ENTRY, NEEDS_BATCHES,
    PCA_ENTRY, Stage,
};
use super::graph::{GraphConfig, row_graph};
use super::rows::{Made, NeighborRows, RowsNote, obsm, remove_made};
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
    /// A column of `obs` with the batches that are corrected for, and balanced among the neighbours.
    pub batch_key: Option<String>,
    /// Columns of `obs` whose effects are kept while that of the batch is taken away.
    pub confounder_keys: Vec<String>,
    /// How the effect of the batch is taken from the latents (default not at all).
    pub correction: BatchCorrection,
    /// With a batch column: balance batches among the neighbours (default true).
    pub balance_batches: bool,
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
            confounder_keys: Vec::new(),
            correction: BatchCorrection::None,
            balance_batches: true,
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

    /// Sets the columns whose effects are kept.
    #[must_use]
    pub fn with_confounder_keys<S: Into<String>>(
        mut self,
        keys: impl IntoIterator<Item = S>,
    ) -> Self {
        self.confounder_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how the effect of the batch is taken from the latents.
    #[must_use]
    pub fn with_correction(mut self, correction: BatchCorrection) -> Self {
        self.correction = correction;
        self
    }

    /// Sets whether batches are balanced among the neighbours.
    #[must_use]
    pub fn with_balance_batches(mut self, balance: bool) -> Self {
        self.balance_batches = balance;
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

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Embed`] that names the first setting out of range: also a correction without a batch
    /// column, or confounders that no correction keeps.
    pub fn validate(&self) -> Result<()> {
        self.graph.validate()?;
        self.correction.validate()?;
        self.correction
            .check_confounders(self.confounder_keys.len())?;
        match self.correction.is_none() || self.batch_key.is_some() {
            true => Ok(()),
            false => Err(Error::config(STEP, "batch_key", NEEDS_BATCHES)),
        }
    }

    /// The matrix with the latents.
    fn latents(&self) -> Representation {
        match &self.layer {
            Some(layer) => Representation::Layer(layer.clone()),
            None => Representation::X,
        }
    }

    /// What the settings say of batches.
    pub(super) fn batches(&self) -> BatchSettings<'_> {
        BatchSettings {
            table: &self.table,
            batch_key: self.batch_key.as_ref(),
            confounder_keys: &self.confounder_keys,
            correction: &self.correction,
            balanced: self.balance_batches.then_some(self.graph.within_batch),
        }
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
    /// The matrix in which neighbours were searched, and what the correction did to it; `None` in reports of earlier
    /// versions.
    pub neighbors: Option<NeighborRows>,
}

/// Joins the cells of a table into a graph, draws it with UMAP and groups it with Leiden.
///
/// The table gains `obsp/distances`, `obsp/connectivities`, `obsm/X_umap`, `uns/neighbors` and the cluster column; with
/// `n_components` also `obsm/X_pca`.
/// With a [`correction`](ClusterConfig::correction), neighbours are searched in corrected rows, which the table gains, too:
///
/// | | without components | with `n_components` |
/// |---|---|---|
/// | ridge, ComBat, centring | `obsm/X_corrected`: corrected latents | `obsm/X_pca`: components of the corrected latents |
/// | Harmony | `obsm/X_corrected`: corrected latents | `obsm/X_pca_harmony`: corrected components; `obsm/X_pca`: those before |
///
/// `X` and the layers stay as they are.
/// `uns/neighbors` names what was used: as scanpy does (`use_rep`, which is `X` for a layer, too), and for
/// [`NeighborRows::read`], with the correction.
/// Entries of these names are replaced.
/// What an earlier run of this step made and this one does not is removed where it is still that, by its fingerprint; what
/// another program put in its place stays, and so does everything where that searched neighbours since or where an earlier
/// version of this step did.
/// `obsm/X_umap` and the cluster column are the step's own: they are removed, too, where nothing is drawn or grouped.
///
/// # Errors
///
/// [`Error::Config`] for settings out of range, [`Error::Io`] when table, layer or column is not there, [`Error::Data`] with
/// fewer than 3 cells, for a cell without batch or confounder, and for batches that are too small or that a confounder
/// follows from, [`Error::Embed`], [`Error::Cancelled`].
#[doc(alias("leiden", "neighbors", "umap"))]
pub fn cluster_cells(
    store: &mut Store,
    config: &ClusterConfig,
    progress: &dyn Progress,
) -> Result<ClusterReport> {
    let _span = tracing::info_span!(STEP).entered();
    config.validate()?;
    let table = store.table(&config.table)?;
    let latents = config.latents().read(&table, &config.table, STEP)?;
    let batches = Batches::read(&table, config.batches(), STEP)?;
    let rows = Rows::new(latents, &batches, config, progress)?;
    let balanced = batches.batch.as_ref().filter(|_| config.balance_batches);
    let graph = row_graph(rows.used().view(), balanced, &config.graph, STEP, progress)
        .map_err(|error| batches.named(error))?;
    let note = rows.note(&batches, config);
    let report = ClusterReport {
        cells: rows.used().nrows(),
        clusters: graph
            .clusters
            .as_ref()
            .map(|c| c.sizes())
            .unwrap_or_default(),
        quality: graph.clusters.as_ref().map(|c| c.quality),
        neighbors: Some(note.rows.clone()),
    };
    let mut data = table.read_all()?;
    remove_made(&mut data, STEP);
    data = graph.add_to(data, &note, config.graph.metric, &config.column)?;
    data = rows.add_to(data);
    store.write_table(&config.table, &data, WriteMode::Replace)?;
    Ok(report)
}

/// The latents on their way to what neighbours are searched in: each with the entry of `obsm` that it becomes.
struct Rows {
    latents: Array2<f64>,
    made: Vec<(&'static str, Array2<f64>)>,
}

impl Rows {
    /// Corrects, reduces and corrects, as far as the settings ask for it.
    fn new(
        latents: Array2<f64>,
        batches: &Batches<'_>,
        config: &ClusterConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let correct =
            |stage: Stage, rows: &Array2<f64>| batches.correct(stage, rows.view(), progress);
        let mut made = Vec::new();
        let columns = correct(Stage::Columns, &latents)?;
        let reduced = match config.n_components {
            Some(n) => {
                let x = columns.as_ref().unwrap_or(&latents).view();
                let pca = Pca::fit_with(x, &PcaConfig::new(n), progress)?;
                Some(pca.transform_with(x, &WithinStage(progress))?)
            }
            None => None,
        };
        let components = correct(Stage::Components, reduced.as_ref().unwrap_or(&latents))?;
        match reduced {
            Some(scores) => {
                made.push((PCA_ENTRY, scores));
                made.extend(components.map(|rows| (HARMONY_ENTRY, rows)));
            }
            None => made.extend(columns.or(components).map(|rows| (CORRECTED_ENTRY, rows))),
        }
        Ok(Self { latents, made })
    }

    /// The rows that neighbours are searched in.
    fn used(&self) -> &Array2<f64> {
        self.made.last().map_or(&self.latents, |(_, rows)| rows)
    }

    /// What the table is to say of them.
    fn note(&self, batches: &Batches<'_>, config: &ClusterConfig) -> RowsNote {
        let last = self.made.last();
        let used = last.map_or_else(|| config.latents(), |(name, _)| obsm(name));
        let before = match (batches.stage(), config.n_components) {
            (Some(Stage::Components), Some(_)) => obsm(PCA_ENTRY),
            _ => config.latents(),
        };
        let made = self.made.iter();
        let made = made.map(|(name, rows)| Made::new(obsm(name), rows));
        RowsNote {
            step: STEP.to_owned(),
            rows: batches.describe(used.clone(), before, used),
            made: made.collect(),
        }
    }

    fn add_to(self, data: TableData) -> TableData {
        self.made
            .into_iter()
            .fold(data, |data, (name, rows)| data.with_obsm(name, rows))
    }
}
