//! What a table of latents says about how it was made: `uns/phenocoder`.

use std::collections::BTreeMap;

use phenocoder_io::{Table, Uns};
use serde_json::Value;

use super::{EncodeConfig, STEP};
use crate::error::{Error, Result};

/// The entry of `uns`.
pub(super) const NOTES: &str = "phenocoder";
const CONFIG: &str = "config";
const MODEL: &str = "model";

/// The settings, the program's version and the fingerprint of the model's weights.
pub(super) fn notes(config: &EncodeConfig, model: String) -> Result<Uns> {
    let settings = serde_json::to_string(config)
        .map_err(|error| Error::data(STEP, format!("the settings cannot be written: {error}")))?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(Uns::Dict(BTreeMap::from([
        (CONFIG.to_owned(), Uns::Text(settings)),
        (MODEL.to_owned(), Uns::Text(model)),
        ("version".to_owned(), Uns::Text(version)),
    ])))
}

/// Where the cells of a table come from, as far as it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pipeline) struct Origin {
    /// The column of `obs` with the sample of each cell.
    pub(in crate::pipeline) sample_key: Option<String>,
    /// The fingerprint of the weights that made the latents.
    pub(in crate::pipeline) model: Option<String>,
}

impl Origin {
    /// Reads what a table says; one that step 3 did not write says nothing.
    pub(in crate::pipeline) fn of(table: &Table) -> Result<Self> {
        if !table.uns_keys()?.iter().any(|key| key == NOTES) {
            return Ok(Self::default());
        }
        let Uns::Dict(notes) = table.read_entry(&format!("uns/{NOTES}"))? else {
            return Ok(Self::default());
        };
        let text = |key: &str| match notes.get(key) {
            Some(Uns::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        // Another version may have had other settings, but this one among them.
        let config: Option<Value> =
            text(CONFIG).and_then(|config| serde_json::from_str(config).ok());
        let sample_key = config.as_ref().and_then(|config| {
            let key = config.pointer("/keys/sample_key")?.as_str()?;
            let mut columns = table.obs_columns().iter();
            columns.find(|column| *column == key).cloned()
        });
        Ok(Self {
            sample_key,
            model: text(MODEL).map(str::to_owned),
        })
    }
}
