//! Step 6: which samples are alike.

use std::collections::BTreeMap;

use phenocoder_core::{Categorical, Progress};
use phenocoder_embed::batch::ridge_removal;
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::scale::{NanPolicy, ScaleConfig, Scaler};
use phenocoder_io::{Matrix, NumericArray, NumericValues, Store, Uns, WriteMode};
use serde::{Deserialize, Serialize};

use super::graph::{GraphConfig, row_graph};
use super::source;
use crate::error::{Error, Result};

const STEP: &str = "spatialgraph_embedding";

/// The layer that keeps the statistics as they were.
pub const RAW_LAYER: &str = "raw_statistics";

/// Settings of [`spatialgraph_embedding`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
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
    /// The penalty of the ridge removal (default 1).
    pub ridge_alpha: f64,
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
            ridge_alpha: 1.0,
            balance_batches: false,
            n_components: 32,
            column: "phenocoder_group".to_owned(),
            graph: GraphConfig::default(),
        }
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

    /// Sets the penalty of the ridge removal.
    #[must_use]
    pub fn with_ridge_alpha(mut self, alpha: f64) -> Self {
        self.ridge_alpha = alpha;
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
}

/// What [`spatialgraph_embedding`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EmbeddingReport {
    /// The table extended.
    pub table: String,
    /// Rows on the map.
    pub rows: usize,
    /// Statistics that are missing, or the same, in all rows: they carry no weight.
    pub empty_columns: usize,
    /// Single values that were missing and were replaced by their column's mean.
    pub imputed: usize,
    /// The share of the variance that each component explains.
    pub explained_variance_ratio: Vec<f64>,
    /// Rows of each group, largest first.
    pub groups: Vec<usize>,
}

/// Brings the statistics to one scale, removes the effect of the batch, reduces, joins, draws and groups the rows.
///
/// `X` becomes what the components were computed from; the statistics as they were are kept in the layer
/// [`RAW_LAYER`] and taken from there when the step is repeated.
/// The table gains `obsm/X_pca`, `obsm/X_umap`, `obsp/distances`, `obsp/connectivities` and the group column.
///
/// # Errors
///
/// [`Error::Io`] when the table or a column is not there, [`Error::Data`] with fewer than 3 rows, [`Error::Embed`],
/// [`Error::Cancelled`].
#[doc(alias("ridge_regression", "bbknn"))]
pub fn spatialgraph_embedding(
    store: &mut Store,
    config: &EmbeddingConfig,
    progress: &dyn Progress,
) -> Result<EmbeddingReport> {
    let _span = tracing::info_span!(STEP).entered();
    let table = store.table(&config.table)?;
    let raw = match table.layers()?.iter().any(|name| name == RAW_LAYER) {
        true => table.layer(RAW_LAYER)?,
        false => table
            .x()?
            .ok_or_else(|| Error::data(STEP, format!("table `{}` has no X", config.table)))?,
    }
    .to_dense_f64()?;
    if raw.nrows() < 3 {
        let (name, n) = (&config.table, raw.nrows());
        return Err(Error::data(
            STEP,
            format!("a map needs at least 3 rows, table `{name}` has {n}"),
        ));
    }
    let batch = config
        .batch_key
        .as_ref()
        .map(|key| source::labels(&table, key))
        .transpose()?;
    let confounders: Vec<Categorical> = config
        .confounder_keys
        .iter()
        .map(|key| source::labels(&table, key))
        .collect::<Result<_>>()?;

    let scaler = Scaler::fit(raw.view(), &config.scale)?;
    let mut x = scaler.transform(raw.view())?;
    if let Some(batch) = &batch {
        let confounders: Vec<&Categorical> = confounders.iter().collect();
        x = ridge_removal(x.view(), batch, &confounders, config.ridge_alpha)?.residual;
    }
    let pca = Pca::fit(x.view(), &PcaConfig::new(config.n_components))?;
    let scores = pca.transform(x.view())?;
    let balanced = batch.as_ref().filter(|_| config.balance_batches);
    let graph = row_graph(scores.view(), balanced, &config.graph, STEP, progress)?;

    let missing =
        |column: &ndarray::ArrayView1<'_, f64>| column.iter().filter(|v| v.is_nan()).count();
    let gaps: Vec<usize> = raw.columns().into_iter().map(|c| missing(&c)).collect();
    let is_empty = |column: ndarray::ArrayView1<'_, f64>| {
        let mut known = column.iter().filter(|v| !v.is_nan());
        known.next().is_none_or(|first| known.all(|v| v == first))
    };
    let report = EmbeddingReport {
        table: config.table.clone(),
        rows: raw.nrows(),
        empty_columns: raw.columns().into_iter().filter(|c| is_empty(*c)).count(),
        imputed: gaps.iter().filter(|&&n| n < raw.nrows()).sum(),
        explained_variance_ratio: pca.explained_variance_ratio(),
        groups: graph
            .clusters
            .as_ref()
            .map(|c| c.sizes())
            .unwrap_or_default(),
    };
    let ratio: Vec<f64> = pca.explained_variance_ratio();
    let variance = BTreeMap::from([
        (
            "variance".to_owned(),
            numbers(pca.explained_variance().to_vec()),
        ),
        ("variance_ratio".to_owned(), numbers(ratio)),
    ]);
    let mut data = table
        .read_all()?
        .with_layer(RAW_LAYER, Matrix::from(raw))
        .with_obsm("X_pca", scores)
        .with_uns("pca", Uns::Dict(variance));
    data.x = Some(Matrix::from(x));
    let data = graph.add_to(data, "X_pca", config.graph.metric, &config.column)?;
    store.write_table(&config.table, &data, WriteMode::Replace)?;
    Ok(report)
}

/// A vector for `uns`.
fn numbers(values: Vec<f64>) -> Uns {
    NumericArray::new(vec![values.len()], NumericValues::Float64(values))
        .map_or(Uns::Null, Uns::Numbers)
}
