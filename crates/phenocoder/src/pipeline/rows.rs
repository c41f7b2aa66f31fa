//! In which rows of a table neighbours were searched, as the table itself says it: `uns/neighbors/phenocoder`.

use ndarray::Array2;
use phenocoder_core::Fingerprint;
use phenocoder_io::{Store, Table, TableData, Uns};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::compare::Representation;
use super::correction::BatchCorrection;
use crate::error::{Error, Result};

const STEP: &str = "neighbours";
/// The entry of `uns` with what scanpy, too, tells of neighbours.
const NEIGHBORS: &str = "neighbors";
/// What is told in it besides.
const NOTE: &str = "phenocoder";

/// The matrix of a table in which neighbours were searched, and what a correction of batches did to it.
///
/// [`cluster_cells`](super::cluster_cells) and [`spatialgraph_embedding`](super::spatialgraph_embedding) return it in their
/// reports and leave it in the table, where [`read`](Self::read) finds it again.
/// [`evaluate_batches`](super::evaluate_batches) of `before` and of `after` tells what the correction did.
/// With it the table keeps fingerprints of the matrices that the step wrote, so that one which another program put in their
/// place, as scanpy's `pp.pca` does with `obsm/X_pca`, is not taken for them.
///
/// # Examples
///
/// ```no_run
/// use phenocoder::core::NoProgress;
/// use phenocoder::io::Store;
/// use phenocoder::pipeline::{EvaluationConfig, NeighborRows, evaluate_batches};
///
/// let store = Store::open("tissue.zarr")?;
/// let rows = NeighborRows::read(&store, "phenocoder")?;
/// let config = EvaluationConfig::new("phenocoder", "batch", "cell_type");
/// for rows in [rows.before, rows.after] {
///     let found = evaluate_batches(&store, &config.clone().with_rows(rows.clone()), &NoProgress)?;
///     println!("iLISI of {rows}: {}", found.measures.integration_lisi);
/// }
/// # Ok::<(), phenocoder::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeighborRows {
    /// The matrix in which neighbours were searched.
    pub used: Representation,
    /// What was corrected; `used` where nothing was.
    pub before: Representation,
    /// What the correction made of it; `used` where nothing was corrected.
    ///
    /// Of cells whose corrected latents were reduced, it is the components of these: the corrected latents are not kept.
    pub after: Representation,
    /// How the effect of the batch was taken away.
    pub correction: BatchCorrection,
    /// The column of `obs` with the batches that were corrected for.
    pub batch_key: Option<String>,
    /// The columns of `obs` whose effects were kept.
    pub confounder_keys: Vec<String>,
}

impl NeighborRows {
    /// Reads what a table says, and the matrices that the step wrote, to see that they are still there.
    ///
    /// Matrices that it only read, such as the latents, are not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the table or a matrix is not there, [`Error::Data`] when the table does not say it (neighbours
    /// were searched by another program or not at all) and when a matrix is not the one that the step wrote.
    pub fn read(store: &Store, table: &str) -> Result<Self> {
        Self::of(&store.table(table)?, table)
    }

    /// Reads what the table called `name` says.
    pub(crate) fn of(table: &Table, name: &str) -> Result<Self> {
        let is_there = table.uns_keys()?.iter().any(|key| key == NEIGHBORS);
        let neighbors = match is_there {
            true => table.read_entry(&format!("uns/{NEIGHBORS}"))?,
            false => Uns::Null,
        };
        let Some(text) = note(&neighbors) else {
            let problem =
                format!("table `{name}` does not say in which rows its neighbours were searched");
            return Err(Error::data(STEP, problem));
        };
        let unread = |error: serde_json::Error| {
            let entry = format!("`uns/{NEIGHBORS}/{NOTE}` of table `{name}`");
            Error::data(STEP, format!("{entry} cannot be read: {error}"))
        };
        let note: Value = serde_json::from_str(text).map_err(unread)?;
        let rows = note.get("rows").cloned().unwrap_or_default();
        let rows = serde_json::from_value(rows).map_err(unread)?;
        for made in listed(&note) {
            if made.fingerprint != fingerprint(&made.matrix.read(table, name, STEP)?) {
                let (matrix, step) = (made.matrix, step_of(&note));
                let problem = format!(
                    "`{matrix}` of table `{name}` is not the one that {step} wrote: it was replaced since"
                );
                return Err(Error::data(STEP, problem));
            }
        }
        Ok(rows)
    }

    /// What scanpy calls the matrix: it has no name for a layer.
    pub(super) fn use_rep(&self) -> &str {
        match &self.used {
            Representation::X | Representation::Layer(_) => "X",
            Representation::Obsm(entry) => entry,
        }
    }
}

/// What a step leaves in the table.
#[derive(Serialize)]
pub(super) struct RowsNote {
    /// The step.
    pub(super) step: String,
    pub(super) rows: NeighborRows,
    /// What the step wrote on its way to the rows, for its next run to remove.
    pub(super) made: Vec<Made>,
}

/// A matrix that a step wrote, and what tells it from another one in its place.
#[derive(Serialize, Deserialize)]
pub(super) struct Made {
    matrix: Representation,
    fingerprint: String,
}

impl Made {
    pub(super) fn new(matrix: Representation, values: &Array2<f64>) -> Self {
        let fingerprint = fingerprint(values);
        Self {
            matrix,
            fingerprint,
        }
    }

    /// Whether these are its values.
    fn is(&self, values: Option<Array2<f64>>) -> bool {
        values.is_some_and(|values| fingerprint(&values) == self.fingerprint)
    }
}

/// Extents and bits of all values, whatever their order in memory.
fn fingerprint(values: &Array2<f64>) -> String {
    let extents = values.shape().iter().map(|&extent| extent as u64);
    let bits = values.iter().map(|value| value.to_bits());
    Fingerprint::new().numbers(extents).numbers(bits).finish()
}

impl RowsNote {
    /// Key and value for `uns/neighbors`.
    pub(super) fn entry(&self) -> Result<(String, Uns)> {
        let text = serde_json::to_string(self)
            .map_err(|error| Error::data(STEP, format!("the note cannot be written: {error}")))?;
        Ok((NOTE.to_owned(), Uns::Text(text)))
    }
}

fn note(neighbors: &Uns) -> Option<&str> {
    neighbors.get(NOTE).and_then(Uns::as_text)
}

/// Removes what an earlier run of a step wrote on its way to its rows: what its note lists, and only where it is still that.
///
/// Steps of earlier versions left no note, and nothing tells what they wrote from what a user did: all of it stays.
pub(super) fn remove_made(data: &mut TableData, step: &'static str) {
    let text = data.uns.get(NEIGHBORS).and_then(note);
    let note: Value = text
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    if step_of(&note) != step {
        return;
    }
    for made in listed(&note) {
        match &made.matrix {
            Representation::X => {}
            Representation::Layer(name) => {
                let layer = data.layers.get(name);
                if made.is(layer.and_then(|layer| layer.to_dense_f64().ok())) {
                    data.layers.remove(name);
                }
            }
            Representation::Obsm(name) => {
                if made.is(data.obsm_matrix(name)) {
                    data.obsm.remove(name);
                }
            }
        }
    }
}

/// The step that left a note; also one whose settings only another version can read.
fn step_of(note: &Value) -> &str {
    let step = note.get("step").and_then(Value::as_str);
    step.unwrap_or_default()
}

/// What a note lists; nothing where it has no fingerprints.
fn listed(note: &Value) -> Vec<Made> {
    let made = note.get("made").cloned();
    made.and_then(|made| serde_json::from_value(made).ok())
        .unwrap_or_default()
}

/// An entry of `obsm`.
pub(super) fn obsm(name: &str) -> Representation {
    Representation::Obsm(name.to_owned())
}
