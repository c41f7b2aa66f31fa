//! The state of a run to a file and back.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings::saved;
use crate::train::groups::{OptimizerState, Pending};
use crate::train::{EarlyStopping, LossRecord, TrainingRecord};
use crate::weights::file::{self, Metadata, Target, Tensors};
use crate::weights::{CHECKPOINT, CRATE_KEY, FORMAT_KEY, KIND_KEY};
use crate::{Error, FileError, Parameters, Result, Snapshot};

/// The version of the format that is written, and the newest that is read.
const FORMAT: u32 = 1;
const SETTINGS_KEY: &str = "checkpoint.settings";
pub(in crate::train) const STATE_KEY: &str = "checkpoint.state";

const MODEL: &str = "model";
const RESULT: &str = "result";
const AVERAGE: &str = "average";
const OPTIMIZER: &str = "optimizer";
const PENDING: &str = "pending";

/// Where in its data a run is; the sums are those of the running epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::train) struct Position {
    /// The running epoch, from 1 on; one more than the last when training is over.
    pub(in crate::train) epoch: usize,
    /// Its batches that are done.
    pub(in crate::train) batch: usize,
    /// The batches of all epochs that are done.
    pub(in crate::train) batches: u64,
    /// The updates of all epochs that are done.
    pub(in crate::train) updates: u64,
    /// The patches of this epoch that are done.
    pub(in crate::train) patches: usize,
    /// Their losses times their number.
    pub(in crate::train) sum: LossRecord,
    /// The learning rate at the start of the epoch.
    pub(in crate::train) learning_rate: f64,
}

impl Position {
    /// Before the first batch.
    pub(in crate::train) fn start() -> Self {
        Self {
            epoch: 1,
            batch: 0,
            batches: 0,
            updates: 0,
            patches: 0,
            sum: LossRecord::default(),
            learning_rate: 0.0,
        }
    }

    /// The start of the next epoch.
    pub(in crate::train) fn next_epoch(&self) -> Self {
        Self {
            epoch: self.epoch + 1,
            batches: self.batches,
            updates: self.updates,
            ..Self::start()
        }
    }
}

/// Everything that the rest of a run depends on.
#[derive(Debug)]
pub(in crate::train) struct State {
    pub(in crate::train) settings: Value,
    pub(in crate::train) position: Position,
    /// The epochs that are done, without times.
    pub(in crate::train) record: TrainingRecord,
    pub(in crate::train) stopping: Option<EarlyStopping>,
    /// Optimizer and schedule of every group.
    pub(in crate::train) groups: BTreeMap<String, (OptimizerState, Value)>,
    pub(in crate::train) pending: Vec<Pending>,
    /// The weights and running statistics.
    pub(in crate::train) model: Snapshot,
    /// Those that the run would end with now.
    pub(in crate::train) result: Snapshot,
    pub(in crate::train) average: Option<Tensors>,
}

/// The part of the state that is JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    position: Position,
    record: TrainingRecord,
    stopping: Option<EarlyStopping>,
    /// Names and schedules of the groups, in the order of their numbers in the names of tensors.
    groups: Vec<(String, Value)>,
    /// The groups of the accumulated gradients, likewise.
    pending: Vec<String>,
    average: bool,
}

impl Head {
    /// Says why no run comes to this state, if none does; numbers that are not finite are no JSON.
    fn check(&self) -> Result<(), String> {
        // More batches than any run has, and room to count on.
        const BATCHES: u64 = 1 << 53;
        let (position, record) = (&self.position, &self.record);
        let done = record.epochs.len();
        let rules = [
            (
                position.epoch == done + 1,
                "the running epoch does not follow the last that is done",
            ),
            (
                record
                    .epochs
                    .iter()
                    .zip(1..)
                    .all(|(e, number)| e.epoch == number),
                "the epochs that are done are not numbered from 1 on",
            ),
            (
                record.best_epoch <= done && (record.best_epoch > 0) == (done > 0),
                "the best epoch is not one that is done",
            ),
            (
                (position.batch == 0) == (position.patches == 0),
                "there are batches without patches, or patches without batches",
            ),
            (
                position.batch as u64 <= position.batches && position.batches <= BATCHES,
                "the batches of all epochs are not those of this one and of the ones before",
            ),
            (
                position.updates <= position.batches,
                "there are more updates than batches",
            ),
            (
                record.epochs.iter().all(|e| e.learning_rate >= 0.0)
                    && position.learning_rate >= 0.0,
                "a learning rate is below 0",
            ),
            (
                self.stopping.as_ref().is_none_or(|s| s.has_seen(done)),
                "early stopping has not seen the epochs that are done",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, reason)) => Err((*reason).to_owned()),
            None => Ok(()),
        }
    }
}

/// Writes a state and returns its SHA-256.
pub(super) fn write(target: Target<'_>, state: &State) -> Result<String> {
    let mut tensors = Tensors::new();
    let mut add = |part: &str, values: &Tensors| {
        for (name, tensor) in values {
            tensors.insert(format!("{part}/{name}"), tensor.clone());
        }
    };
    add(MODEL, state.model.tensors());
    add(RESULT, state.result.tensors());
    if let Some(average) = &state.average {
        add(AVERAGE, average);
    }
    for (i, (optimizer, _)) in state.groups.values().enumerate() {
        add(&format!("{OPTIMIZER}/{i}"), optimizer);
    }
    for (i, pending) in state.pending.iter().enumerate() {
        add(&format!("{PENDING}/{i}"), &pending.gradients);
    }
    for tensor in tensors.values_mut() {
        *tensor = tensor.to_device(&candle_core::Device::Cpu)?;
    }
    let head = Head {
        position: state.position.clone(),
        record: TrainingRecord {
            seconds: Vec::new(),
            ..state.record.clone()
        },
        stopping: state.stopping.clone(),
        groups: state
            .groups
            .iter()
            .map(|(name, (_, schedule))| (name.clone(), schedule.clone()))
            .collect(),
        pending: state.pending.iter().map(|p| p.group.clone()).collect(),
        average: state.average.is_some(),
    };
    let head = serde_json::to_string(&head).map_err(|source| Error::Section {
        name: STATE_KEY.to_owned(),
        source,
    })?;
    let metadata = Metadata::from([
        (FORMAT_KEY.to_owned(), FORMAT.to_string()),
        (CRATE_KEY.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (KIND_KEY.to_owned(), CHECKPOINT.to_owned()),
        (SETTINGS_KEY.to_owned(), saved(&state.settings).to_string()),
        (STATE_KEY.to_owned(), head),
    ]);
    let (payload, _) = file::payload(&tensors)?;
    file::write(target, metadata, &tensors, &payload)
}

/// Reads and checks a state, and returns it with its SHA-256.
pub(super) fn read(path: &Path) -> Result<(State, String)> {
    let contents = file::read(path)?;
    parse(contents).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}

fn parse(contents: file::Contents) -> Result<(State, String), FileError> {
    let text = |key: &'static str| match contents.metadata.get(key) {
        Some(text) => Ok(text.as_str()),
        None => Err(FileError::Foreign { key }),
    };
    if text(KIND_KEY)? != CHECKPOINT {
        return Err(FileError::Kind {
            kind: text(KIND_KEY)?.to_owned(),
        });
    }
    if text(FORMAT_KEY)? != FORMAT.to_string() {
        return Err(FileError::Version {
            found: text(FORMAT_KEY)?.to_owned(),
            supported: FORMAT,
        });
    }
    contents.check_hash()?;
    let malformed = |key: &str, reason: String| FileError::Metadata {
        key: key.to_owned(),
        reason,
    };
    let settings = serde_json::from_str(text(SETTINGS_KEY)?)
        .map_err(|e| malformed(SETTINGS_KEY, e.to_string()))?;
    let head: Head =
        serde_json::from_str(text(STATE_KEY)?).map_err(|e| malformed(STATE_KEY, e.to_string()))?;
    head.check()
        .map_err(|reason| malformed(STATE_KEY, reason))?;
    let hash = text(file::HASH_KEY)?.to_owned();

    let (mut model, mut result, mut average) = (Tensors::new(), Tensors::new(), Tensors::new());
    let mut optimizers = vec![OptimizerState::new(); head.groups.len()];
    let mut pending: Vec<Pending> = head
        .pending
        .into_iter()
        .map(|group| Pending {
            group,
            gradients: Tensors::new(),
        })
        .collect();
    for (name, tensor) in contents.tensors {
        let stranger = |problem: &str| FileError::Tensor {
            name: name.clone(),
            problem: problem.to_owned(),
        };
        let unknown = || stranger("it is no part of a checkpoint");
        let (part, rest) = name.split_once('/').ok_or_else(unknown)?;
        let numbered = || {
            let (number, rest) = rest.split_once('/').ok_or_else(unknown)?;
            let number: usize = number.parse().map_err(|_| unknown())?;
            Ok::<_, FileError>((number, rest.to_owned()))
        };
        let (values, rest) = match part {
            MODEL => (Some(&mut model), rest.to_owned()),
            RESULT => (Some(&mut result), rest.to_owned()),
            AVERAGE if head.average => (Some(&mut average), rest.to_owned()),
            OPTIMIZER => {
                let (number, rest) = numbered()?;
                (optimizers.get_mut(number), rest)
            }
            PENDING => {
                let (number, rest) = numbered()?;
                (pending.get_mut(number).map(|p| &mut p.gradients), rest)
            }
            _ => (None, String::new()),
        };
        let values = values.ok_or_else(unknown)?;
        // Moments may overflow without harm, weights may not.
        let is_weight = matches!(part, MODEL | RESULT | AVERAGE);
        if is_weight {
            file::check_finite(&name, &tensor)?;
        }
        values.insert(rest, tensor);
    }
    let groups = head.groups.into_iter().zip(optimizers);
    let state = State {
        settings,
        position: head.position,
        record: head.record,
        stopping: head.stopping,
        groups: groups
            .map(|((name, schedule), optimizer)| (name, (optimizer, schedule)))
            .collect(),
        pending,
        model: Snapshot(model),
        result: Snapshot(result),
        average: head.average.then_some(average),
    };
    Ok((state, hash))
}

impl State {
    /// Checks that the tensors are those of a model.
    pub(super) fn check(&self, parameters: &Parameters) -> Result<()> {
        parameters.check(&self.model)?;
        parameters.check(&self.result)?;
        for pending in &self.pending {
            for (name, gradient) in &pending.gradients {
                let expected = parameters.get(name).map(|weight| weight.dims());
                if expected != Some(gradient.dims()) {
                    return Err(Error::Array {
                        name: name.clone(),
                        problem: format!(
                            "expected {expected:?}, found a gradient {:?}",
                            gradient.dims()
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}
