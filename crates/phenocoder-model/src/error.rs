//! What can go wrong.

use std::path::PathBuf;

use phenocoder_core::{Cancelled, ShapeError, SourceError};

use crate::Precision;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range or two settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A computation on tensors failed.
    #[error("tensor computation failed")]
    Tensor(#[from] candle_core::Error),
    /// Patches could not be read.
    #[error("patches could not be read")]
    Source(#[from] SourceError),
    /// Two arrays that must agree do not.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The patches have another shape or another number of conditions than the model.
    #[error("the model takes {expected}, but the patches are {found}")]
    Patches {
        /// What the model takes, in words.
        expected: String,
        /// What the patches are, in words.
        found: String,
    },
    /// There is nothing to train on, or nothing to validate with.
    #[error("the {split} data holds no patches")]
    Empty {
        /// `training` or `validation`.
        split: &'static str,
    },
    /// A loss or a gradient is infinite or no number; the model holds the weights of the last good epoch.
    #[error(
        "the {quantity} is {value} in epoch {epoch}, batch {batch} ({patches}); \
         the weights of the last good epoch are restored"
    )]
    NonFinite {
        /// `training loss`, `validation loss`, ``gradient of `encoder.dense.kernel` ``.
        quantity: String,
        /// The epoch, from 1 on.
        epoch: usize,
        /// The batch within the epoch, from 1 on.
        batch: usize,
        /// The value.
        value: f64,
        /// The patches at fault where their pixels tell, else those of the batch.
        patches: String,
    },
    /// A weight is infinite or no number after an epoch whose losses were finite; the model holds the last good weights.
    #[error(
        "`{name}` is no longer finite after epoch {epoch}; the weights of the last good epoch are restored, \
         a lower learning rate may help"
    )]
    NonFiniteWeight {
        /// The weight.
        name: String,
        /// The epoch, from 1 on.
        epoch: usize,
    },
    /// A gradient is infinite or no number, and no weight has been changed by it.
    #[error("the gradient of `{name}` is {value}")]
    NonFiniteGradient {
        /// The weight.
        name: String,
        /// The value.
        value: f64,
    },
    /// A model updates a group of weights that it does not have, or a weight that is not in the group.
    #[error("group `{group}` of weights: {problem}")]
    Group {
        /// The group.
        group: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A loss does not depend on a parameter that it should train.
    #[error("parameter `{name}` received no gradient")]
    NoGradient {
        /// The parameter.
        name: String,
    },
    /// A file could not be read or written.
    #[error("`{}` could not be {action}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read`, `written`, …
        action: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is no weights file, or a broken one.
    #[error("`{}` is no usable weights file", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FileError,
    },
    /// A run cannot be resumed with other settings than those it was started with.
    #[error("the checkpoint was made with `{setting}` = {saved}, this run has {given}")]
    Settings {
        /// The first setting that differs, as a path.
        setting: String,
        /// Its value in the checkpoint, as JSON.
        saved: String,
        /// Its value now, as JSON.
        given: String,
    },
    /// There is no checkpoint to resume from.
    #[error("there is no checkpoint at `{}` to resume from", path.display())]
    NoCheckpoint {
        /// The file looked for.
        path: PathBuf,
    },
    /// A value could not be turned into JSON or back.
    #[error("section `{name}` does not have the expected form")]
    Section {
        /// The section.
        name: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// A picture handed to an observer is no PNG.
    #[error("image `{tag}` is no PNG file")]
    Image {
        /// The image's name.
        tag: String,
    },
    /// A device was asked for that is not there.
    #[error("device {device} is not available: {reason}")]
    Device {
        /// The device asked for.
        device: String,
        /// Why it is not available.
        reason: String,
    },
    /// An array of this name is needed but not there, there without being needed, or has another shape.
    #[error("array `{name}`: {problem}")]
    Array {
        /// The array.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// An input or output error at a path.
    pub(crate) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
        source: std::io::Error,
    ) -> Self {
        Self::Io {
            path: path.into(),
            action,
            source,
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number that must be positive is zero.
    #[error("`{setting}` must be at least 1")]
    Zero {
        /// The setting.
        setting: String,
    },
    /// A number is out of its range.
    #[error("`{setting}` is {value}, expected {expected}")]
    Range {
        /// The setting.
        setting: String,
        /// The value given.
        value: f64,
        /// The range, in words.
        expected: &'static str,
    },
    /// The network does not compute in this number type on its device.
    #[error("`precision` is {precision}, but {reason}")]
    Precision {
        /// The number type asked for.
        precision: Precision,
        /// Why it cannot be.
        reason: &'static str,
    },
    /// The network cannot halve the patches as often as it has layers.
    #[error(
        "patches of {height}×{width} cannot be halved {layers} times: \
         both sides must be divisible by {divisor}, or use fewer layers"
    )]
    Patch {
        /// Rows of a patch.
        height: usize,
        /// Columns of a patch.
        width: usize,
        /// Convolution layers.
        layers: usize,
        /// 2 to the number of layers.
        divisor: usize,
    },
    /// A conditional network has no conditions.
    #[error("a conditional network needs at least one condition column")]
    NoConditions,
    /// Something has more values than memory has addresses.
    #[error("`{setting}` asks for more values than memory can hold")]
    TooLarge {
        /// The setting.
        setting: String,
    },
    /// The original has no name for the layers of this network.
    #[error(
        "`conv_layers` holds {width} twice; the original names its layers by their width, so it has no such network"
    )]
    EqualWidths {
        /// The width that occurs twice.
        width: usize,
    },
}

#[cfg(feature = "train")]
impl ConfigError {
    /// The same of a setting that is part of another.
    pub(crate) fn within(mut self, outer: &str) -> Self {
        match &mut self {
            Self::Zero { setting } | Self::Range { setting, .. } | Self::TooLarge { setting } => {
                *setting = format!("{outer}.{setting}");
            }
            _ => {}
        }
        self
    }
}

/// Refuses a count of 0.
pub(crate) fn check_count(setting: &str, count: usize) -> Result<(), ConfigError> {
    match count {
        0 => Err(ConfigError::Zero {
            setting: setting.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Refuses a number that is not `valid`, and says what was `expected`.
pub(crate) fn check_range(
    setting: &str,
    value: f64,
    valid: bool,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if valid {
        return Ok(());
    }
    Err(ConfigError::Range {
        setting: setting.to_owned(),
        value,
        expected,
    })
}

/// What is wrong with a weights file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file ends too early.
    #[error("it is cut off: {expected} bytes expected, {found} found")]
    Truncated {
        /// Bytes that the file should have at least.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// The header is longer than any header of ours.
    #[error("its header claims {found} bytes, at most {limit} are allowed")]
    HeaderLength {
        /// The length claimed.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The header is no safetensors header.
    #[error("its header is no safetensors header: {reason}")]
    Header {
        /// What the parser said.
        reason: String,
    },
    /// The file was not written by this crate.
    #[error("it lacks `{key}` in its metadata, so it was not written by phenocoder")]
    Foreign {
        /// The missing entry.
        key: &'static str,
    },
    /// The file was written in a format that this version does not know.
    #[error("its format version is {found}, this version reads {supported}")]
    Version {
        /// The version found.
        found: String,
        /// The version that can be read.
        supported: u32,
    },
    /// The file holds a model that this version does not know.
    #[error("it holds a `{kind}`, which this version does not know")]
    Kind {
        /// The kind found.
        kind: String,
    },
    /// The tensors are not those that were written.
    #[error("its checksum is {found:08x}, {expected:08x} was written: the file is damaged")]
    Checksum {
        /// The checksum in the header.
        expected: u32,
        /// The checksum of the tensors found.
        found: u32,
    },
    /// Header or tensors are not those that were written.
    #[error("its SHA-256 is {found}, {expected} was written: the file is damaged")]
    Hash {
        /// The hash in the header.
        expected: String,
        /// The hash of what was found.
        found: String,
    },
    /// A tensor is not what it should be.
    #[error("its tensor `{name}` cannot be used: {problem}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An entry of the metadata is not what it should be.
    #[error("its metadata entry `{key}` is malformed: {reason}")]
    Metadata {
        /// The entry.
        key: String,
        /// What is wrong.
        reason: String,
    },
}
