//! Whether the batches of a table mix and its labels stay together.

use ndarray::Array2;
use phenocoder_core::Progress;
use phenocoder_embed::evaluate::labels_of;
use phenocoder_embed::evaluate::mixing::{BatchReport, BatchReportConfig, batch_report};
use phenocoder_io::{Store, Table};
use serde::{Deserialize, Serialize};

use super::source;
use crate::error::{Error, Result};

const STEP: &str = "evaluate_batches";

/// A matrix of a table with one row per row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Representation {
    /// The table's own matrix: latents, or the statistics that components were computed from.
    X,
    /// A layer.
    Layer(String),
    /// An entry of `obsm`, such as `X_pca`, `X_pca_harmony`, `X_corrected` or `X_umap`.
    Obsm(String),
}

impl Representation {
    /// Reads the matrix.
    fn read(&self, table: &Table, name: &str) -> Result<Array2<f64>> {
        Ok(match self {
            Self::X => table
                .x()?
                .ok_or_else(|| Error::data(STEP, format!("table `{name}` has no X")))?
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

/// Measures in a matrix of a table whether batches mix and labels stay together: [`batch_report`] of the store's own names.
///
/// To judge a correction, make it of the rows before and after: of `X` and of what [`cluster_cells`](super::cluster_cells) or
/// [`spatialgraph_embedding`](super::spatialgraph_embedding) stored.
/// The labels are best known from elsewhere, such as types that somebody assigned: clusters that were found in one of the
/// matrices favour it.
/// The store is only read.
/// Cost: `O(n² p)`; of more than some 100,000 rows take a sample.
///
/// # Errors
///
/// [`Error::Io`] when the table, the matrix or a column is not there, [`Error::Data`], which names the table and the entry,
/// for a row without batch or label, a value that is no number, or fewer than three rows, two batches, two labels or one
/// label with two batches (then batch and label are confounded and nothing can be said); [`Error::Embed`] for a setting out of
/// range, [`Error::Cancelled`].
///
/// # Examples
///
/// ```no_run
/// use phenocoder::core::NoProgress;
/// use phenocoder::embed::evaluate::mixing::BatchReportConfig;
/// use phenocoder::io::Store;
/// use phenocoder::pipeline::{Representation, evaluate_batches};
///
/// let store = Store::open("tissue.zarr")?;
/// let report = |rows: &Representation| {
///     let config = BatchReportConfig::default();
///     evaluate_batches(&store, "phenocoder", rows, "batch", "cell_type", &config, &NoProgress)
/// };
/// let before = report(&Representation::X)?;
/// let after = report(&Representation::Obsm("X_corrected".to_owned()))?;
/// println!("iLISI {} → {}", before.integration_lisi, after.integration_lisi);
/// # Ok::<(), phenocoder::Error>(())
/// ```
pub fn evaluate_batches(
    store: &Store,
    table: &str,
    rows: &Representation,
    batch_key: &str,
    label_key: &str,
    config: &BatchReportConfig,
    progress: &dyn Progress,
) -> Result<BatchReport> {
    let _span = tracing::info_span!(STEP).entered();
    progress.check()?;
    config.validate().map_err(phenocoder_embed::Error::from)?;
    let name = table;
    let table = store.table(name)?;
    let codes = |key: &str| -> Result<Vec<u32>> {
        Ok(labels_of(&source::full_labels(&table, name, key, STEP)?)?)
    };
    let (batches, labels) = (codes(batch_key)?, codes(label_key)?);
    let matrix = rows.read(&table, name)?;
    batch_report(matrix.view(), &batches, &labels, config, progress).map_err(|error| match error {
        phenocoder_embed::Error::Cancelled(cancelled) => cancelled.into(),
        error @ phenocoder_embed::Error::Config(_) => error.into(),
        error => Error::data(
            STEP,
            format!("`{rows}` of table `{name}` by `{batch_key}` and `{label_key}`: {error}"),
        ),
    })
}
