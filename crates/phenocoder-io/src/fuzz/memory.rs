//! Files in memory.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::root::{RangeFile, ReadAt, Source, SourceEntry};
use crate::{Error, Result};

/// The bytes of a file.
#[derive(Debug)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let from = at
            .checked_add(out.len())
            .and_then(|end| self.0.get(at..end));
        let short = std::io::ErrorKind::UnexpectedEof;
        let from =
            from.ok_or_else(|| Error::io(std::path::Path::new("bytes"), "read")(short.into()))?;
        out.copy_from_slice(from);
        Ok(())
    }
}

/// A store in memory.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    /// Adds a metadata file.
    pub(super) fn with(self, key: &str, value: &Value) -> Self {
        self.with_bytes(key, value.to_string().as_bytes())
    }

    /// Adds a file, or replaces it.
    pub(super) fn with_bytes(mut self, key: &str, bytes: &[u8]) -> Self {
        self.0.insert(key.to_owned(), bytes.to_vec());
        self
    }

    #[cfg(test)]
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }
}

impl Source for Files {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        let found = self.0.get(key);
        Ok(found.map(|bytes| RangeFile::new(bytes.len() as u64, Bytes(bytes.clone()))))
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        let prefix = if key.is_empty() {
            String::new()
        } else {
            format!("{key}/")
        };
        let below = self.0.keys().filter_map(|key| key.strip_prefix(&prefix));
        let found: BTreeMap<&str, bool> = below
            .map(|rest| match rest.split_once('/') {
                Some((folder, _)) => (folder, true),
                None => (rest, false),
            })
            .collect();
        Ok(found
            .into_iter()
            .map(|(name, is_folder)| SourceEntry {
                name: name.to_owned(),
                is_folder,
                is_link: false,
            })
            .collect())
    }
}
