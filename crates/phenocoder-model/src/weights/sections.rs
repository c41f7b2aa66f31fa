//! Free JSON beside the weights.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Result};

/// Named JSON values that are saved with a model: scaling, channel names, condition encoding, training record.
///
/// # Examples
///
/// ```
/// use phenocoder_model::Sections;
///
/// let mut sections = Sections::new();
/// sections.set("channels", &["DAPI", "SOX2"])?;
/// assert_eq!(sections.get::<Vec<String>>("channels")?.as_deref(), Some(&["DAPI".to_owned(), "SOX2".to_owned()][..]));
/// assert_eq!(sections.get::<Vec<String>>("scaling")?, None);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sections(BTreeMap<String, Value>);

impl Sections {
    /// No sections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a section, replacing one of the same name.
    ///
    /// # Errors
    ///
    /// [`Error::Section`] when the value has no JSON form.
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<()> {
        let value = serde_json::to_value(value).map_err(|source| section(name, source))?;
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// Reads a section; `None` when there is none of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Section`] when it does not have the form asked for.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        T::deserialize(value)
            .map(Some)
            .map_err(|source| section(name, source))
    }

    /// Removes a section and returns its JSON.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// The names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
}

fn section(name: &str, source: serde_json::Error) -> Error {
    Error::Section {
        name: name.to_owned(),
        source,
    }
}
