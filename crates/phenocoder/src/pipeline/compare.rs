//! Whether the batches of a table mix and its labels stay together.

use ndarray::{Array2, Axis};
use phenocoder_core::{Categorical, Progress};
use phenocoder_embed::Error as EmbedError;
use phenocoder_embed::evaluate::labels_of;
use phenocoder_embed::evaluate::mixing::{BatchReport, BatchReportConfig, batch_report};
use phenocoder_io::{Store, Table};
use serde::{Deserialize, Serialize};

use super::source;
use crate::error::{Error, Result};

const STEP: &str = "evaluate_batches";

/// A matrix of a table with one row per row of the table.
///
/// In a configuration file: `"x"`, `{"layer": "smoothed"}` or `{"obsm": "X_pca"}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Representation {
    /// The table's own matrix: latents, or the statistics that components were computed from.
    #[default]
    X,
    /// A layer.
    Layer(String),
    /// An entry of `obsm`, such as `X_pca`, `X_pca_harmony`, `X_corrected` or `X_umap`.
    Obsm(String),
}

impl Representation {
    /// Reads the matrix of the table called `name` for a step, which errors name.
    pub(crate) fn read(
        &self,
        table: &Table,
        name: &str,
        step: &'static str,
    ) -> Result<Array2<f64>> {
        Ok(match self {
            Self::X => table
                .x()?
                .ok_or_else(|| Error::data(step, format!("table `{name}` has no X")))?
                .to_dense_f64()?,
            Self::Layer(layer) => table.layer(layer)?.to_dense_f64()?,
            Self::Obsm(entry) => table.obsm(entry)?,
        })
    }
}

impl std::fmt::Display for Representation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::X => f.write_str("X"),
            Self::Layer(name) => write!(f, "layers/{name}"),
            Self::Obsm(name) => write!(f, "obsm/{name}"),
        }
    }
}

/// Settings of [`evaluate_batches`].
///
/// # Examples
///
/// ```
/// use phenocoder::pipeline::{EvaluationConfig, Representation};
///
/// let config = EvaluationConfig::new("phenocoder", "batch", "cell_type");
/// assert_eq!(config.rows, Representation::X);
/// let corrected = config.with_rows(Representation::Obsm("X_corrected".to_owned()));
/// assert_eq!(corrected.rows.to_string(), "obsm/X_corrected");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EvaluationConfig {
    /// The table.
    pub table: String,
    /// The column of `obs` with the batches.
    pub batch_key: String,
    /// The column of `obs` with what must stay apart.
    pub label_key: String,
    /// The matrix (default `X`).
    #[serde(default)]
    pub rows: Representation,
    /// What is measured, and how.
    #[serde(default)]
    pub measures: BatchReportConfig,
}

impl EvaluationConfig {
    /// All measures in the `X` of a table, by these columns of its `obs`.
    #[must_use]
    pub fn new(
        table: impl Into<String>,
        batch_key: impl Into<String>,
        label_key: impl Into<String>,
    ) -> Self {
        Self {
            table: table.into(),
            batch_key: batch_key.into(),
            label_key: label_key.into(),
            rows: Representation::X,
            measures: BatchReportConfig::default(),
        }
    }

    /// Sets the matrix.
    #[must_use]
    pub fn with_rows(mut self, rows: Representation) -> Self {
        self.rows = rows;
        self
    }

    /// Sets what is measured, and how.
    #[must_use]
    pub fn with_measures(mut self, measures: BatchReportConfig) -> Self {
        self.measures = measures;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Embed`] that names the first setting out of range.
    pub fn validate(&self) -> Result<()> {
        let names = [
            (&self.table, "table"),
            (&self.batch_key, "batch_key"),
            (&self.label_key, "label_key"),
        ];
        match names.into_iter().find(|(name, _)| name.is_empty()) {
            Some((_, field)) => Err(Error::config(STEP, field, "a name")),
            None => Ok(self.measures.validate().map_err(EmbedError::from)?),
        }
    }

    /// The error with the names of table, matrix and columns.
    fn refused(&self, error: &EmbedError) -> Error {
        let Self {
            table,
            batch_key,
            label_key,
            rows,
            ..
        } = self;
        Error::data(
            STEP,
            format!("`{rows}` of table `{table}` by `{batch_key}` and `{label_key}`: {error}"),
        )
    }
}

/// What [`evaluate_batches`] found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The measures.
    pub measures: BatchReport,
    /// Rows that were measured.
    pub rows: usize,
    /// Rows without batch or label, which were left out.
    pub left_out: usize,
}

/// Measures in a matrix of a table whether batches mix and labels stay together: [`batch_report`] of the store's own names.
///
/// To judge a correction, make it of the rows before and after it: [`NeighborRows`](super::NeighborRows) names both.
/// The labels are best known from elsewhere, such as types that somebody assigned: clusters that were found in one of the
/// matrices favour it.
/// Rows without batch or label are left out and counted.
/// The store is only read.
/// Cost: `O(n² p)`; of more than some 100,000 rows take a sample.
///
/// # Errors
///
/// [`Error::Config`] or [`Error::Embed`] for a setting out of range, [`Error::Io`] when the table, the matrix or a column is
/// not there, [`Error::Data`], which names the table and the entry, for a value that is no number, or fewer than three rows,
/// two batches, two labels or one label with two batches (then batch and label are confounded and nothing can be said),
/// [`Error::Cancelled`].
///
/// # Examples
///
/// ```no_run
/// use phenocoder::core::NoProgress;
/// use phenocoder::io::Store;
/// use phenocoder::pipeline::{EvaluationConfig, Representation, evaluate_batches};
///
/// let store = Store::open("tissue.zarr")?;
/// let latents = EvaluationConfig::new("phenocoder", "batch", "cell_type");
/// let corrected = latents.clone().with_rows(Representation::Obsm("X_corrected".to_owned()));
/// let before = evaluate_batches(&store, &latents, &NoProgress)?;
/// let after = evaluate_batches(&store, &corrected, &NoProgress)?;
/// println!("iLISI {} → {}", before.measures.integration_lisi, after.measures.integration_lisi);
/// println!("{} of {} cells have no type", before.left_out, before.left_out + before.rows);
/// # Ok::<(), phenocoder::Error>(())
/// ```
pub fn evaluate_batches(
    store: &Store,
    config: &EvaluationConfig,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    let _span = tracing::info_span!(STEP).entered();
    progress.check()?;
    config.validate()?;
    let table = store.table(&config.table)?;
    let batches = source::labels(&table, &config.batch_key)?;
    let labels = source::labels(&table, &config.label_key)?;
    let kept: Vec<usize> = (0..table.n_obs())
        .filter(|&row| batches.code(row).is_some() && labels.code(row).is_some())
        .collect();
    let codes = |labels: &Categorical| labels_of(&labels.select(&kept));
    let (batches, labels) = (codes(&batches)?, codes(&labels)?);
    let mut matrix = config.rows.read(&table, &config.table, STEP)?;
    if kept.len() < matrix.nrows() {
        matrix = matrix.select(Axis(0), &kept);
    }
    let measures = batch_report(matrix.view(), &batches, &labels, &config.measures, progress)
        .map_err(|error| match error {
            error @ (EmbedError::Cancelled(_) | EmbedError::Config(_)) => error.into(),
            EmbedError::NotFinite { row, column, value } => {
                config.refused(&EmbedError::NotFinite {
                    row: kept.get(row).copied().unwrap_or(row),
                    column,
                    value,
                })
            }
            error => config.refused(&error),
        })?;
    Ok(Evaluation {
        measures,
        rows: kept.len(),
        left_out: table.n_obs() - kept.len(),
    })
}

#[cfg(test)]
mod tests {
    use phenocoder_io::{ContainerVersion, TableData, WriteMode};

    use super::*;

    #[test]
    fn what_is_not_there_is_missed_by_the_step_that_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.zarr");
        let mut store = Store::create(path, ContainerVersion::V02).unwrap();
        let data = TableData::new(vec!["cell".to_owned()], Vec::new(), None);
        store.write_table("t", &data, WriteMode::Create).unwrap();
        let table = store.table("t").unwrap();
        for step in ["evaluate_batches", "cluster_cells"] {
            let error = Representation::X.read(&table, "t", step).unwrap_err();
            assert_eq!(error.to_string(), format!("{step}: table `t` has no X"));
        }
    }
}
