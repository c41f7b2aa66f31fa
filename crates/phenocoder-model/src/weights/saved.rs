//! Saving and loading models.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use candle_core::Device;
use phenocoder_core::Seed;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Sections, file};
use crate::models::cvae::{Cvae, CvaeConfig};
use crate::models::mevae::{MeVae, MeVaeConfig};
use crate::{Autoencoder, Error, FileError, Result, Snapshot};

/// The version of the format that is written, and the newest that is read.
const FORMAT: u32 = 1;
pub(crate) const FORMAT_KEY: &str = "phenocoder.format";
pub(crate) const CRATE_KEY: &str = "phenocoder.crate";
pub(crate) const KIND_KEY: &str = "phenocoder.kind";
/// What stands in the place of the kind of model in checkpoints.
pub(crate) const CHECKPOINT: &str = "checkpoint";
const CONFIG_KEY: &str = "phenocoder.config";
const CHECKSUM_KEY: &str = "phenocoder.checksum";
const SECTION: &str = "section.";

/// A model with the JSON sections that belong to it.
///
/// # Examples
///
/// ```
/// use candle_core::Device;
/// use phenocoder_core::{PatchShape, Seed};
/// use phenocoder_model::{CvaeConfig, SavedModel};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 3).with_conv_layers([4]);
/// let mut saved = SavedModel::new(config.build(Seed::new(1), &Device::Cpu)?);
/// saved.sections.set("channels", &["DAPI"])?;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.safetensors");
/// saved.save(&path)?;
///
/// let loaded = SavedModel::load(&path, &Device::Cpu)?;
/// assert_eq!(loaded.model.latent_dim(), 3);
/// assert_eq!(loaded.sections.get::<Vec<String>>("channels")?, Some(vec!["DAPI".to_owned()]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[non_exhaustive]
pub struct SavedModel {
    /// The model.
    pub model: Box<dyn Autoencoder>,
    /// What is saved with it.
    pub sections: Sections,
}

impl fmt::Debug for SavedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedModel")
            .field("kind", &self.model.kind())
            .field("parameters", &self.model.parameters().count())
            .field("sections", &self.sections)
            .finish()
    }
}

impl SavedModel {
    /// A model without sections.
    #[must_use]
    pub fn new(model: impl Autoencoder + 'static) -> Self {
        Self {
            model: Box::new(model),
            sections: Sections::new(),
        }
    }

    /// The same with these sections.
    #[must_use]
    pub fn with_sections(mut self, sections: Sections) -> Self {
        self.sections = sections;
        self
    }

    /// Writes everything into one file, atomically.
    ///
    /// # Errors
    ///
    /// As [`save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path, self.model.as_ref(), &self.sections)
    }

    /// Reads a file and builds its model on a device.
    ///
    /// # Errors
    ///
    /// As [`load`].
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        load(path, device)
    }
}

/// Writes a model and its sections into one file, atomically.
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be written (the old file is then untouched); [`Error::Tensor`] when a device cannot be
/// read; [`Error::File`] when a weight is not finite or the sections are larger than a header may be.
pub fn save(path: impl AsRef<Path>, model: &dyn Autoencoder, sections: &Sections) -> Result<()> {
    let snapshot = model.parameters().snapshot()?;
    for (name, tensor) in snapshot.tensors() {
        file::check_finite(name, tensor).map_err(|source| Error::File {
            path: path.as_ref().to_owned(),
            source,
        })?;
    }
    let (payload, checksum) = file::payload(snapshot.tensors())?;
    let mut metadata = BTreeMap::from([
        (FORMAT_KEY.to_owned(), FORMAT.to_string()),
        (CRATE_KEY.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (KIND_KEY.to_owned(), model.kind().to_owned()),
        (CONFIG_KEY.to_owned(), model.config_json()?.to_string()),
        (CHECKSUM_KEY.to_owned(), format!("{checksum:08x}")),
    ]);
    for (name, value) in sections.iter() {
        metadata.insert(format!("{SECTION}{name}"), value.to_string());
    }
    let target = file::Target::new(path.as_ref());
    file::write(target, metadata, snapshot.tensors(), &payload).map(drop)
}

/// Reads a file and builds its model on a device.
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be read; [`Error::File`] with the reason when it is cut off, damaged, foreign, of a
/// newer format or of an unknown kind, or when a weight is not finite; [`Error::Array`] when its tensors are not those of its configuration.
pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<SavedModel> {
    let path = path.as_ref();
    let contents = file::read(path)?;
    let broken = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let text = |key: &'static str| match contents.metadata.get(key) {
        Some(text) => Ok(text.as_str()),
        None => Err(broken(FileError::Foreign { key })),
    };
    let malformed = |key: &str, reason: String| {
        broken(FileError::Metadata {
            key: key.to_owned(),
            reason,
        })
    };
    let format = text(FORMAT_KEY)?;
    if format
        .parse::<u32>()
        .ok()
        .is_none_or(|v| v == 0 || v > FORMAT)
    {
        return Err(broken(FileError::Version {
            found: format.to_owned(),
            supported: FORMAT,
        }));
    }
    if text(KIND_KEY)? == CHECKPOINT {
        return Err(broken(FileError::Kind {
            kind: CHECKPOINT.to_owned(),
        }));
    }
    let expected = u32::from_str_radix(text(CHECKSUM_KEY)?, 16)
        .map_err(|e| malformed(CHECKSUM_KEY, e.to_string()))?;
    if expected != contents.checksum {
        return Err(broken(FileError::Checksum {
            expected,
            found: contents.checksum,
        }));
    }
    let mut sections = Sections::new();
    for (key, text) in &contents.metadata {
        if let Some(name) = key.strip_prefix(SECTION) {
            let value: Value =
                serde_json::from_str(text).map_err(|e| malformed(key, e.to_string()))?;
            sections.insert(name, value);
        }
    }
    let config = text(CONFIG_KEY)?;
    let model: Box<dyn Autoencoder> = match text(KIND_KEY)? {
        Cvae::KIND => {
            let config = config_of(config, &contents, CvaeConfig::parameter_count);
            let config = config.map_err(broken)?;
            Box::new(config.build(Seed::default(), device)?)
        }
        MeVae::KIND => {
            let config = config_of(config, &contents, MeVaeConfig::parameter_count);
            let config = config.map_err(broken)?;
            Box::new(config.build(Seed::default(), device)?)
        }
        kind => {
            return Err(broken(FileError::Kind {
                kind: kind.to_owned(),
            }));
        }
    };
    model.parameters().restore(&Snapshot(contents.tensors))?;
    Ok(SavedModel { model, sections })
}

impl file::Contents {
    /// Refuses what is not as it was written, or holds weights that are not finite.
    fn check(&self) -> Result<(), FileError> {
        self.check_hash()?;
        let mut tensors = self.tensors.iter();
        tensors.try_for_each(|(name, tensor)| file::check_finite(name, tensor))
    }
}

/// The configuration of a network that the tensors in the file can be those of, `count` its number of weights.
fn config_of<C: DeserializeOwned>(
    text: &str,
    contents: &file::Contents,
    count: impl Fn(&C) -> Option<usize>,
) -> Result<C, FileError> {
    let config = serde_json::from_str(text).map_err(|error| FileError::Metadata {
        key: CONFIG_KEY.to_owned(),
        reason: error.to_string(),
    })?;
    check_size(count(&config), contents)?;
    contents.check()?;
    Ok(config)
}

/// Refuses a configuration whose network is larger than the tensors in the file before it is built.
fn check_size(expected: Option<usize>, contents: &file::Contents) -> Result<(), FileError> {
    let found: usize = contents.tensors.values().map(|t| t.elem_count()).sum();
    match expected {
        Some(expected) if expected == found => Ok(()),
        expected => Err(FileError::Metadata {
            key: CONFIG_KEY.to_owned(),
            reason: match expected {
                Some(expected) => {
                    format!("its network has {expected} weights, the file holds {found}")
                }
                None => "its network is too large to exist".to_owned(),
            },
        }),
    }
}
