//! A model in one file: weights, configuration, and everything that must be the same when it is used again.
//!
//! The file is a [safetensors](https://github.com/huggingface/safetensors) file that any reader of that format opens.
//! Its `__metadata__` holds:
//!
//! | entry | content |
//! |---|---|
//! | `phenocoder.format` | the version of this list, `1` |
//! | `phenocoder.crate` | the version of this crate that wrote the file |
//! | `phenocoder.kind` | the kind of model, `cvae` or `me_vae` |
//! | `phenocoder.config` | the model's configuration as JSON |
//! | `phenocoder.checksum` | CRC-32C of the tensors, 8 hexadecimal digits |
//! | `phenocoder.sha256` | SHA-256 of the header without this entry, as compact JSON, followed by the tensors |
//! | `section.NAME` | JSON of the caller: scaling, channels, conditions, training record |
//!
//! Tensors and entries are sorted by name, so the same model always makes the same bytes.
//! A file is written beside its target, flushed to the disk and renamed, so a crash leaves the old file or the new one.

pub(crate) mod file;
pub mod names;
mod saved;
mod sections;

pub use names::load_arrays;
#[cfg(feature = "train")]
pub(crate) use saved::{CHECKPOINT, CRATE_KEY, FORMAT_KEY, KIND_KEY};
pub use saved::{SavedModel, load, save};
pub use sections::Sections;
