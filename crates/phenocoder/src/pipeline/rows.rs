//! In which rows of a table neighbours were searched, as the table itself says it: `uns/neighbors/phenocoder`.

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
    /// Reads what a table says.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the table is not there, [`Error::Data`] when it does not say it: neighbours were searched by
    /// another program or not at all.
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
        let read: Result<RowsNote, _> = serde_json::from_str(text);
        read.map(|note| note.rows).map_err(|error| {
            let entry = format!("`uns/{NEIGHBORS}/{NOTE}` of table `{name}`");
            Error::data(STEP, format!("{entry} cannot be read: {error}"))
        })
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
#[derive(Serialize, Deserialize)]
pub(super) struct RowsNote {
    /// The step.
    pub(super) step: String,
    pub(super) rows: NeighborRows,
    /// What the step made on its way to the rows, for its next run to remove.
    pub(super) made: Vec<Representation>,
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

/// Removes what an earlier run of a step made on its way to its rows: what its note lists, and nothing else.
///
/// Steps of earlier versions left no note: in a table that they worked on (`is_ours`), these entries of `obsm` go.
pub(super) fn remove_made(
    data: &mut TableData,
    step: &'static str,
    is_ours: bool,
    entries: &[&str],
) {
    let made = match data.uns.get(NEIGHBORS) {
        Some(neighbors) => match note(neighbors) {
            Some(text) => listed(text, step),
            None if is_ours && is_of_a_step(neighbors) => {
                entries.iter().map(|entry| obsm(entry)).collect()
            }
            None => Vec::new(),
        },
        None => Vec::new(),
    };
    for made in made {
        match made {
            Representation::X => {}
            Representation::Layer(name) => {
                data.layers.remove(&name);
            }
            Representation::Obsm(name) => {
                data.obsm.remove(&name);
            }
        }
    }
}

/// What the note of a step lists; also of one whose settings only another version can read.
fn listed(note: &str, step: &str) -> Vec<Representation> {
    let note: Option<Value> = serde_json::from_str(note).ok();
    let own = note.filter(|note| note.get("step").and_then(Value::as_str) == Some(step));
    let made = own.and_then(|mut note| note.get_mut("made").map(Value::take));
    made.and_then(|made| serde_json::from_value(made).ok())
        .unwrap_or_default()
}

/// An entry of `obsm`.
pub(super) fn obsm(name: &str) -> Representation {
    Representation::Obsm(name.to_owned())
}

/// Whether a step searched the neighbours, and no other program, each of which tells more of it.
fn is_of_a_step(neighbors: &Uns) -> bool {
    const TOLD: [&str; 4] = ["method", "metric", "n_neighbors", "use_rep"];
    match neighbors.get("params") {
        Some(Uns::Dict(params)) => params.keys().map(String::as_str).eq(TOLD),
        _ => false,
    }
}
