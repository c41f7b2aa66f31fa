//! Files in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::root::{RangeFile, ReadAt, Source, SourceEntry};
use crate::{Error, Result};

/// The bytes of a file.
#[derive(Debug, Clone)]
pub(super) struct Bytes(pub(super) Arc<[u8]>);

impl Bytes {
    pub(super) fn open(self) -> RangeFile {
        RangeFile::new(self.0.len() as u64, self)
    }
}

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

/// A store in memory; copies share the bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    files: Arc<BTreeMap<String, Bytes>>,
    /// Files in the place of others, so that a copy with one more file costs nothing.
    replaced: Vec<(&'static str, Bytes)>,
}

impl Files {
    /// Adds a metadata file.
    pub(super) fn with(self, key: &str, value: &Value) -> Self {
        self.with_bytes(key, value.to_string().as_bytes())
    }

    /// Adds a file.
    pub(super) fn with_bytes(mut self, key: &str, bytes: &[u8]) -> Self {
        Arc::make_mut(&mut self.files).insert(key.to_owned(), Bytes(bytes.into()));
        self
    }

    /// The same store with other bytes in one of its files.
    pub(super) fn replacing(&self, key: &'static str, bytes: &[u8]) -> Self {
        let mut changed = self.clone();
        changed.replaced.push((key, Bytes(bytes.into())));
        changed
    }

    /// The names and bytes of all files.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .map(|(key, bytes)| (key.as_str(), &*bytes.0))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Bytes> {
        let replaced = self.replaced.iter().find(|(name, _)| *name == key);
        replaced
            .map(|(_, bytes)| bytes)
            .or_else(|| self.files.get(key))
    }
}

impl Source for Files {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        Ok(self.get(key).cloned().map(Bytes::open))
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        let prefix = if key.is_empty() {
            String::new()
        } else {
            format!("{key}/")
        };
        let below = self
            .files
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix));
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

/// A store of which files are replaced while it is open.
#[derive(Debug, Clone)]
pub(super) struct Replaced(Arc<(Files, Mutex<Files>)>);

impl Replaced {
    pub(super) fn new(files: Files) -> Self {
        Self(Arc::new((files.clone(), Mutex::new(files))))
    }

    /// Replaces these files, and puts back what was replaced before.
    pub(super) fn replace<const N: usize>(&self, files: [(&'static str, &[u8]); N]) {
        let (sound, now) = &*self.0;
        let replaced = files
            .iter()
            .fold(sound.clone(), |all, (key, bytes)| all.replacing(key, bytes));
        *now.lock().unwrap_or_else(PoisonError::into_inner) = replaced;
    }

    fn now(&self) -> Files {
        let (_, now) = &*self.0;
        now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source for Replaced {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        self.now().file(key)
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        self.now().entries(key)
    }
}
