//! A run on disk: everything that its rest depends on, in one file.
//!
//! A checkpoint is a weights file (see [`weights`](crate::weights)) of the kind `checkpoint`.
//! Its tensors are the weights and running statistics, those that the run would end with now, the moments of every
//! optimizer, moving averages, and the gradients of an update that is not complete; its metadata are the settings of the
//! whole run and its position: epoch, batch, losses so far, schedules, early stopping, the epochs that are done.
//! All chance of a run is derived from the seed, the epoch and the number of the batch, so its position is the state of its
//! random streams too.
//!
//! The epochs that are done stand in the header, which has at most 16 MiB: room for about 25,000 epochs.
//! A longer run ends with [`FileError::HeaderLength`](crate::FileError::HeaderLength) when that is reached, and the
//! checkpoint before stays; more patches to an epoch ([`PatchOrder`](phenocoder_core::PatchOrder)) make fewer epochs.
//!
//! The file is sealed with SHA-256 and holds nothing that differs between two runs that do the same: no times, no paths.
//! A run that was interrupted, in whatever way and however often, and resumed ends with the same checkpoint as one that was
//! not, to the bit, on the CPU and for any number of threads.
//!
//! It is written beside its target, flushed to the disk and renamed, and the one before is kept as `NAME.previous`: where
//! the newest cannot be read, a run is resumed from that one.

mod codec;
mod settings;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use codec::{Position, STATE_KEY, State};
use settings::{accept_weights, first_difference};
pub(super) use settings::{may_be_longer, of_run};

use super::TrainingRecord;
use crate::error::check_count;
use crate::weights::file::Target;
use crate::{ConfigError, Error, Parameters, Result};

/// Where a run is kept and how often it is written there; it is always written at its end and when it is cancelled.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::CheckpointConfig;
///
/// let config = CheckpointConfig::new("run/checkpoint.safetensors").with_every_batches(Some(500));
/// assert_eq!(config.every_epochs, Some(1));
/// assert_eq!(config.previous().file_name().unwrap(), "checkpoint.safetensors.previous");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
#[doc(alias = "BackupAndRestore")]
#[doc(alias = "ModelCheckpoint")]
pub struct CheckpointConfig {
    /// The file.
    pub path: PathBuf,
    /// Writes after every so many epochs (default 1); none never does.
    #[serde(default = "one")]
    pub every_epochs: Option<usize>,
    /// Writes after every so many batches of training (default none).
    #[serde(default)]
    pub every_batches: Option<usize>,
}

fn one() -> Option<usize> {
    Some(1)
}

impl CheckpointConfig {
    /// Writes to this file after every epoch.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            every_epochs: one(),
            every_batches: None,
        }
    }

    /// Sets after how many epochs a checkpoint is written.
    #[must_use]
    pub fn with_every_epochs(mut self, every_epochs: Option<usize>) -> Self {
        self.every_epochs = every_epochs;
        self
    }

    /// Sets after how many batches a checkpoint is written.
    #[must_use]
    pub fn with_every_batches(mut self, every_batches: Option<usize>) -> Self {
        self.every_batches = every_batches;
        self
    }

    /// The file that holds the checkpoint before the newest.
    #[must_use]
    pub fn previous(&self) -> PathBuf {
        beside(&self.path, ".previous")
    }

    /// Checks both intervals.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (setting, value) in [
            ("checkpoint.every_epochs", self.every_epochs),
            ("checkpoint.every_batches", self.every_batches),
        ] {
            value.map_or(Ok(()), |value| check_count(setting, value))?;
        }
        Ok(())
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// What a checkpoint says of its run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// The running epoch, from 1 on; one more than the last when training is over.
    pub epoch: usize,
    /// The batches of the running epoch that are done.
    pub batch: usize,
    /// The batches of all epochs that are done.
    pub batches: u64,
    /// The updates that are done.
    pub updates: u64,
    /// The epochs that are done; without times.
    pub record: TrainingRecord,
    /// The settings of the run: `model`, `fit` (without `prefetch` and `read_threads`, which change nothing but speed),
    /// `transforms`, `order`, `data`, `context`.
    pub settings: Value,
    /// The SHA-256 of the content, in hexadecimal digits; equal for equal states.
    pub sha256: String,
}

impl CheckpointInfo {
    /// Reads and checks a whole checkpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read; [`Error::File`] with the reason when it is cut off, damaged, of a newer
    /// format or no checkpoint.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let (state, sha256) = codec::read(path.as_ref())?;
        Ok(Self {
            epoch: state.position.epoch,
            batch: state.position.batch,
            batches: state.position.batches,
            updates: state.position.updates,
            record: state.record,
            settings: state.settings,
            sha256,
        })
    }
}

/// Writes the checkpoints of a run.
#[derive(Debug)]
pub(super) struct Writer {
    config: CheckpointConfig,
    /// Whether the file at the path is known to be a checkpoint of this run: only such a one is kept as the previous.
    is_good: bool,
    /// Whether a previous checkpoint may be there that belongs to another run.
    has_stale: bool,
    /// The position that was written last.
    written: Option<Position>,
}

impl Writer {
    /// A run that starts anew.
    pub(super) fn new(config: CheckpointConfig) -> Self {
        Self {
            config,
            is_good: false,
            has_stale: true,
            written: None,
        }
    }

    /// A run that continues, with its state; none when there is neither a checkpoint nor a previous one.
    ///
    /// When the newest checkpoint cannot be used, the previous one is; that it was made with other settings is an error.
    pub(super) fn open(
        config: CheckpointConfig,
        settings: &mut Value,
        may_be_longer: bool,
        parameters: &Parameters,
    ) -> Result<Option<(Self, State)>> {
        let mut read = |path: &Path| {
            let (state, _) = codec::read(path)?;
            accept_weights(settings, &state.settings, &state.result)?;
            if let Some(difference) = first_difference(&state.settings, settings, may_be_longer) {
                return Err(difference);
            }
            state.check(parameters)?;
            Ok(state)
        };
        let previous = config.previous();
        let path = config.path.clone();
        let mut writer = Self {
            has_stale: false,
            ..Self::new(config)
        };
        let error = match read(&path) {
            Ok(state) => {
                writer.is_good = true;
                writer.written = Some(state.position.clone());
                return Ok(Some((writer, state)));
            }
            Err(error @ Error::Settings { .. }) => return Err(error),
            Err(error) => error,
        };
        match read(&previous) {
            Ok(state) => {
                tracing::warn!(
                    checkpoint = %path.display(),
                    reason = %reasons(&error),
                    "the newest checkpoint cannot be used, the previous one is"
                );
                Ok(Some((writer, state)))
            }
            Err(other) if is_absent(&error) && is_absent(&other) => Ok(None),
            Err(other) if is_absent(&error) => Err(other),
            Err(_) => Err(error),
        }
    }

    /// Whether a checkpoint is due after a batch.
    pub(super) fn is_due_after_batch(&self, position: &Position) -> bool {
        let every = self.config.every_batches;
        every.is_some_and(|n| position.batches.is_multiple_of(n.max(1) as u64))
    }

    /// Whether a checkpoint is due after an epoch.
    pub(super) fn is_due_after_epoch(&self, done: usize) -> bool {
        let every = self.config.every_epochs;
        every.is_some_and(|n| done.is_multiple_of(n.max(1)))
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.config.path
    }

    /// Whether the file holds this position.
    pub(super) fn has(&self, position: &Position) -> bool {
        self.written.as_ref() == Some(position)
    }

    /// Writes a state, keeping the checkpoint before it.
    pub(super) fn write(&mut self, state: &State) -> Result<()> {
        let previous = self.config.previous();
        let partial = beside(&self.config.path, ".partial");
        let mut target = Target::new(&self.config.path);
        target.partial = Some(&partial);
        target.previous = self.is_good.then_some(previous.as_path());
        let hash = codec::write(target, state)?;
        tracing::debug!(
            epoch = state.position.epoch,
            batch = state.position.batch,
            sha256 = hash,
            "checkpoint written"
        );
        self.is_good = true;
        self.written = Some(state.position.clone());
        if self.has_stale {
            self.has_stale = false;
            match fs::remove_file(&previous) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(|source| Error::io(previous, "removed", source))?,
            }
        }
        Ok(())
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

/// An error with its causes.
fn reasons(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
