//! Step 6: which samples are alike.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1};
use phenocoder_core::{Progress, WithinStage};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::scale::{NanPolicy, ScaleConfig, Scaler};
use phenocoder_io::{Matrix, NumericArray, NumericValues, Store, Table, TableData, Uns, WriteMode};
use serde::{Deserialize, Deserializer, Serialize};

use super::compare::Representation;
use super::correction::{
    BatchCorrection, BatchSettings, Batches, HARMONY_ENTRY, NEEDS_BATCHES, PCA_ENTRY, Stage,
};
use super::graph::{GraphConfig, RowGraph, row_graph};
use super::rows::{Made, NeighborRows, RowsNote, obsm, remove_made};
use crate::error::{Error, Result};

const STEP: &str = "spatialgraph_embedding";

/// The layer that keeps the statistics as they were.
pub const RAW_LAYER: &str = "raw_statistics";
/// The layer that keeps the statistics on one scale as they were before a correction, where one was made of them.
pub const SCALED_LAYER: &str = "scaled_statistics";

/// Settings of [`spatialgraph_embedding`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
#[non_exhaustive]
pub struct EmbeddingConfig {
    /// The table of statistics, one row per sample or subunit (default `phenocoder_samples`).
    pub table: String,
    /// How columns are brought to one scale; what is missing becomes the column's mean by default.
    pub scale: ScaleConfig,
    /// A column of `obs` whose effect is removed.
    pub batch_key: Option<String>,
    /// Columns of `obs` whose effects are kept while that of the batch is removed.
    pub confounder_keys: Vec<String>,
    /// How the effect of the batch is taken away (default by a ridge regression of penalty 1); any other correction needs
    /// a batch column.
    ///
    /// Earlier settings hold the penalty of a ridge as `ridge_alpha`, which is still read.
    pub correction: BatchCorrection,
    /// Balance batches among the neighbours too (default false).
    pub balance_batches: bool,
    /// Principal components (default 32, never more than rows or columns).
    pub n_components: usize,
    /// The column of `obs` that gets the groups (default `phenocoder_group`).
    pub column: String,
    /// Neighbours, map and groups.
    pub graph: GraphConfig,
}

impl Default for EmbeddingConfig {
    fn default() -> Self {
        Self {
            table: "phenocoder_samples".to_owned(),
            scale: ScaleConfig::default().with_nan(NanPolicy::ImputeMean),
            batch_key: None,
            confounder_keys: Vec::new(),
            correction: BatchCorrection::Ridge { alpha: 1.0 },
            balance_batches: false,
            n_components: 32,
            column: "phenocoder_group".to_owned(),
            graph: GraphConfig::default(),
        }
    }
}

/// Settings as they were written, by this version or an earlier one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    table: String,
    scale: ScaleConfig,
    batch_key: Option<String>,
    confounder_keys: Vec<String>,
    #[serde(deserialize_with = "given")]
    correction: Option<BatchCorrection>,
    #[serde(deserialize_with = "given")]
    ridge_alpha: Option<f64>,
    balance_batches: bool,
    n_components: usize,
    column: String,
    graph: GraphConfig,
}

/// A value that may be left out, but is none where it is `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl Default for Written {
    fn default() -> Self {
        let default = EmbeddingConfig::default();
        Self {
            table: default.table,
            scale: default.scale,
            batch_key: default.batch_key,
            confounder_keys: default.confounder_keys,
            correction: None,
            ridge_alpha: None,
            balance_batches: default.balance_batches,
            n_components: default.n_components,
            column: default.column,
            graph: default.graph,
        }
    }
}

impl TryFrom<Written> for EmbeddingConfig {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let correction = match (written.correction, written.ridge_alpha) {
            (Some(_), Some(_)) => {
                return Err("`ridge_alpha` is the earlier form of `correction`: give one of them");
            }
            (Some(correction), None) => correction,
            (None, Some(alpha)) => BatchCorrection::Ridge { alpha },
            (None, None) => Self::default().correction,
        };
        Ok(Self {
            table: written.table,
            scale: written.scale,
            batch_key: written.batch_key,
            confounder_keys: written.confounder_keys,
            correction,
            balance_batches: written.balance_batches,
            n_components: written.n_components,
            column: written.column,
            graph: written.graph,
        })
    }
}

impl EmbeddingConfig {
    /// Sets the table.
    #[must_use]
    pub fn with_table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets the column whose effect is removed.
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

    /// Sets how columns are brought to one scale.
    #[must_use]
    pub fn with_scale(mut self, scale: ScaleConfig) -> Self {
        self.scale = scale;
        self
    }

    /// Sets how the effect of the batch is taken away.
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

    /// Sets the number of principal components.
    #[must_use]
    pub fn with_n_components(mut self, n: usize) -> Self {
        self.n_components = n;
        self
    }

    /// Sets the column that gets the groups.
    #[must_use]
    pub fn with_column(mut self, column: impl Into<String>) -> Self {
        self.column = column.into();
        self
    }

    /// Sets neighbours, map and groups.
    #[must_use]
    pub fn with_graph(mut self, graph: GraphConfig) -> Self {
        self.graph = graph;
        self
    }

    /// Checks every setting but those of the scaling, whose function does.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Embed`] that names the first setting out of range: also confounders that no correction
    /// keeps, and confounders or a correction other than the default without a batch column.
    pub fn validate(&self) -> Result<()> {
        self.graph.validate()?;
        self.correction.validate()?;
        self.correction
            .check_confounders(self.confounder_keys.len())?;
        let is_asked_for = !self.confounder_keys.is_empty()
            || !(self.correction.is_none() || self.correction == Self::default().correction);
        match is_asked_for && self.batch_key.is_none() {
            true => Err(Error::config(STEP, "batch_key", NEEDS_BATCHES)),
            false => Ok(()),
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

/// What [`spatialgraph_embedding`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmbeddingReport {
    /// The table extended.
    pub table: String,
    /// Rows on the map.
    pub rows: usize,
    /// Statistics that are missing, or the same, in all rows, or that [`NanPolicy::ColumnToZero`] gave up: they carry no
    /// weight.
    pub empty_columns: usize,
    /// Single values that were missing and were replaced by their column's mean: none but with [`NanPolicy::ImputeMean`].
    pub imputed: usize,
    /// The share of the variance that each component explains.
    pub explained_variance_ratio: Vec<f64>,
    /// Rows of each group, largest first.
    pub groups: Vec<usize>,
    /// The matrix in which neighbours were searched, and what the correction did to it; `None` in reports of earlier
    /// versions.
    pub neighbors: Option<NeighborRows>,
}

/// Brings the statistics to one scale, removes the effect of the batch, reduces, joins, draws and groups the rows.
///
/// `X` becomes what the components were computed from; the statistics as they were are kept in the layer
/// [`RAW_LAYER`] and taken from there when the step is repeated.
/// The table gains `obsm/X_pca`, `obsm/X_umap`, `obsp/distances`, `obsp/connectivities` and the group column.
///
/// | correction | acts on | before | after | neighbours are searched in |
/// |---|---|---|---|---|
/// | ridge, ComBat, centring | the scaled statistics | the layer [`SCALED_LAYER`] | `X` | `obsm/X_pca` |
/// | Harmony | their components | `obsm/X_pca` | `obsm/X_pca_harmony` | `obsm/X_pca_harmony` |
///
/// [`NeighborRows::read`] tells what was used.
/// Without `batch_key` nothing is corrected.
/// What an earlier run made and this one does not is removed, where it is still that.
///
/// # Errors
///
/// [`Error::Config`] for settings out of range, [`Error::Io`] when the table or a column is not there, [`Error::Data`] with
/// fewer than 3 rows, for a row without batch or confounder, and for batches that are too small or that a confounder
/// follows from, [`Error::Embed`], [`Error::Cancelled`].
#[doc(alias("ridge_regression", "bbknn"))]
pub fn spatialgraph_embedding(
    store: &mut Store,
    config: &EmbeddingConfig,
    progress: &dyn Progress,
) -> Result<EmbeddingReport> {
    let _span = tracing::info_span!(STEP).entered();
    config.validate()?;
    let table = store.table(&config.table)?;
    let repeated = table.layers()?.iter().any(|name| name == RAW_LAYER);
    let raw = raw_statistics(&table, config, repeated)?;
    let batches = Batches::read(&table, config.batches(), STEP)?;
    let rows = Rows::new(&raw, &batches, config, progress)?;
    let balanced = batches.batch.as_ref().filter(|_| config.balance_batches);
    let graph = row_graph(rows.used().view(), balanced, &config.graph, STEP, progress)
        .map_err(|error| batches.named(error))?;
    let note = rows.note(&batches);
    let report = EmbeddingReport {
        neighbors: Some(note.rows.clone()),
        ..report(config, &raw, &rows.pca, &graph)
    };

    let mut data = table.read_all()?;
    remove_made(&mut data, STEP);
    data = graph
        .add_to(data, &note, config.graph.metric, &config.column)?
        .with_layer(RAW_LAYER, raw);
    data = rows.add_to(data);
    store.write_table(&config.table, &data, WriteMode::Replace)?;
    Ok(report)
}

/// The statistics as step 5 wrote them, of enough rows for a map.
fn raw_statistics(table: &Table, config: &EmbeddingConfig, repeated: bool) -> Result<Array2<f64>> {
    let name = &config.table;
    let statistics = match repeated {
        true => Representation::Layer(RAW_LAYER.to_owned()),
        false => Representation::X,
    };
    let raw = statistics.read(table, name, STEP)?;
    match raw.nrows() {
        n @ 0..3 => Err(Error::data(
            STEP,
            format!("a map needs at least 3 rows, table `{name}` has {n}"),
        )),
        _ => Ok(raw),
    }
}

/// The statistics on their way to what neighbours are searched in.
struct Rows {
    /// On one scale, before a correction of them, where one was made.
    scaled: Option<Array2<f64>>,
    /// What the components are computed from.
    x: Array2<f64>,
    pca: Pca,
    scores: Array2<f64>,
    /// What a correction made of the scores, where one did.
    corrected: Option<Array2<f64>>,
}

impl Rows {
    /// Scales, corrects, reduces and corrects, as far as the settings ask for it.
    fn new(
        raw: &Array2<f64>,
        batches: &Batches<'_>,
        config: &EmbeddingConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let scaler = Scaler::fit_with(raw.view(), &config.scale, progress)?;
        let scaled = scaler.transform(raw.view())?;
        let (x, scaled) = match batches.correct(Stage::Columns, scaled.view(), progress)? {
            Some(corrected) => (corrected, Some(scaled)),
            None => (scaled, None),
        };
        let pca = Pca::fit_with(x.view(), &PcaConfig::new(config.n_components), progress)?;
        let scores = pca.transform_with(x.view(), &WithinStage(progress))?;
        Ok(Self {
            corrected: batches.correct(Stage::Components, scores.view(), progress)?,
            scaled,
            x,
            pca,
            scores,
        })
    }

    /// The rows that neighbours are searched in.
    fn used(&self) -> &Array2<f64> {
        self.corrected.as_ref().unwrap_or(&self.scores)
    }

    /// What the table is to say of them.
    fn note(&self, batches: &Batches<'_>) -> RowsNote {
        let (pca, harmony) = (obsm(PCA_ENTRY), obsm(HARMONY_ENTRY));
        let scaled = Representation::Layer(SCALED_LAYER.to_owned());
        let mut made = vec![Made::new(pca.clone(), &self.scores)];
        if let Some(rows) = &self.scaled {
            made.push(Made::new(scaled.clone(), rows));
            made.push(Made::new(Representation::X, &self.x));
        }
        if let Some(rows) = &self.corrected {
            made.push(Made::new(harmony.clone(), rows));
        }
        let rows = match batches.stage() {
            None => batches.describe(pca.clone(), pca.clone(), pca),
            Some(Stage::Columns) => batches.describe(pca, scaled, Representation::X),
            Some(Stage::Components) => batches.describe(harmony.clone(), pca, harmony),
        };
        let step = STEP.to_owned();
        RowsNote { step, rows, made }
    }

    fn add_to(self, data: TableData) -> TableData {
        let mut data = data
            .with_obsm(PCA_ENTRY, self.scores)
            .with_uns("pca", variance(&self.pca));
        if let Some(scaled) = self.scaled {
            data = data.with_layer(SCALED_LAYER, scaled);
        }
        if let Some(corrected) = self.corrected {
            data = data.with_obsm(HARMONY_ENTRY, corrected);
        }
        data.x = Some(Matrix::from(self.x));
        data
    }
}

/// What the components explain, as scanpy keeps it.
fn variance(pca: &Pca) -> Uns {
    Uns::Dict(BTreeMap::from([
        (
            "variance".to_owned(),
            numbers(pca.explained_variance().to_vec()),
        ),
        (
            "variance_ratio".to_owned(),
            numbers(pca.explained_variance_ratio()),
        ),
    ]))
}

/// What was done, in numbers.
fn report(
    config: &EmbeddingConfig,
    raw: &Array2<f64>,
    pca: &Pca,
    graph: &RowGraph,
) -> EmbeddingReport {
    let nan = config.scale.nan;
    let missing = |column: ArrayView1<'_, f64>| column.iter().filter(|v| v.is_nan()).count();
    let gaps = raw.columns().into_iter().map(missing);
    let is_empty = |column: &ArrayView1<'_, f64>| {
        let mut known = column.iter().filter(|v| !v.is_nan());
        let is_given_up = nan == NanPolicy::ColumnToZero && column.iter().any(|v| !v.is_finite());
        is_given_up || known.next().is_none_or(|first| known.all(|v| v == first))
    };
    EmbeddingReport {
        table: config.table.clone(),
        rows: raw.nrows(),
        empty_columns: raw.columns().into_iter().filter(is_empty).count(),
        imputed: match nan {
            NanPolicy::ImputeMean => gaps.filter(|&n| n < raw.nrows()).sum(),
            _ => 0,
        },
        explained_variance_ratio: pca.explained_variance_ratio(),
        groups: graph
            .clusters
            .as_ref()
            .map(|c| c.sizes())
            .unwrap_or_default(),
        neighbors: None,
    }
}

/// A vector for `uns`.
fn numbers(values: Vec<f64>) -> Uns {
    NumericArray::new(vec![values.len()], NumericValues::Float64(values))
        .map_or(Uns::Null, Uns::Numbers)
}
