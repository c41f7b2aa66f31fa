//! A store on a server: S3, Google Cloud Storage, Azure Blob Storage, or plain HTTP.

mod client;
mod connection;
#[cfg(test)]
pub(crate) mod faults;
mod redirect;
mod server;
mod upload;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path;

use self::server::head;
pub(crate) use self::server::{Server, Stored, StoredPath, Version};
use super::{RangeFile, ReadAt, Source, SourceEntry, folders_of};
use crate::path::{child, join, prefix};
use crate::{Error, OpenOptions, Result, json};

/// A store on a server.
#[derive(Debug)]
pub(crate) struct Remote {
    server: Server,
    /// Metadata files by key, as the consolidated metadata tell them; `None` where there are none.
    consolidated: Mutex<Option<Consolidated>>,
    metadata_limit: u64,
}

/// Metadata files by key.
type Nodes = BTreeMap<String, Vec<u8>>;

/// What was read of the consolidated metadata, which may not be there.
type Consolidated = Option<Arc<Nodes>>;

impl Remote {
    pub(crate) fn open(address: &str, options: &OpenOptions) -> Result<Self> {
        let server = Server::connect(address.trim_end_matches('/'), options)?;
        Ok(Self {
            server,
            consolidated: Mutex::new(None),
            metadata_limit: options.max_metadata_bytes,
        })
    }

    /// As one that was opened, on what tests make.
    #[cfg(test)]
    pub(crate) fn on(server: Server) -> Self {
        Self {
            server,
            consolidated: Mutex::new(None),
            metadata_limit: 1 << 20,
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The consolidated metadata; they are read once.
    pub(crate) fn consolidated(&self) -> Result<Option<Arc<Nodes>>> {
        let mut kept = self
            .consolidated
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.as_ref() {
            return Ok(found.clone());
        }
        let found = self.read_consolidated(&self.server)?.map(Arc::new);
        *kept = Some(found.clone());
        Ok(found)
    }

    /// Has the consolidated metadata read anew.
    pub(crate) fn forget(&self) {
        *self
            .consolidated
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The most bytes that consolidated metadata may have.
    pub(crate) fn contents_limit(&self) -> u64 {
        self.metadata_limit.saturating_mul(8)
    }

    /// The consolidated metadata as they are now.
    pub(crate) fn read_consolidated(&self, server: &Server) -> Result<Option<Nodes>> {
        let limit = self.contents_limit();
        for file in ["zarr.json", ".zmetadata", "zmetadata"] {
            let Some(Stored { bytes, .. }) = server.find(file, limit)? else {
                continue;
            };
            // As they are written: a change of the store writes them again.
            let text = json::check_object(file, &bytes)?;
            let nodes = match file {
                "zarr.json" => json::member(text, "consolidated_metadata")
                    .and_then(|consolidated| json::member(consolidated, "metadata")),
                _ => json::member(text, "metadata"),
            };
            let Some(nodes) = nodes.and_then(json::members) else {
                return Ok(None);
            };
            let mut found = BTreeMap::new();
            for (key, node) in nodes {
                let key = if file == "zarr.json" {
                    child(&key, "zarr.json")
                } else {
                    key
                };
                match join("", &key) {
                    Ok(key) => {
                        found.insert(key, node.as_bytes().to_vec());
                    }
                    Err(error) => {
                        tracing::warn!(%error, "left out of the consolidated metadata");
                    }
                }
            }
            if file == "zarr.json" {
                found.insert(file.to_owned(), bytes);
            }
            return Ok(Some(found));
        }
        Ok(None)
    }

    /// What the consolidated metadata say of a metadata file: there, not there, or nothing.
    fn known(&self, key: &str) -> Result<Option<Option<Vec<u8>>>> {
        let Some(nodes) = self.consolidated()? else {
            return Ok(None);
        };
        if let Some(bytes) = nodes.get(key) {
            return Ok(Some(Some(bytes.clone())));
        }
        // Of an element that is listed all nodes are.
        let element = key
            .match_indices('/')
            .nth(1)
            .and_then(|(at, _)| key.get(..=at));
        let listed = element.is_some_and(|element| {
            let first = nodes.range(element.to_owned()..).next();
            first.is_some_and(|(key, _)| key.starts_with(element))
        });
        Ok((listed || !self.server.lists()).then_some(None))
    }
}

impl Source for Remote {
    fn address(&self) -> String {
        self.server.address()
    }

    fn lists(&self) -> bool {
        self.server.lists()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        let size = self.server.ask(key, head)?;
        Ok(size.map(|size| {
            let bytes = RemoteBytes {
                server: self.server.clone(),
                key: key.to_owned(),
            };
            RangeFile::new(size, bytes)
        }))
    }

    fn probe(&self, key: &str) -> Result<Option<RangeFile>> {
        self.server.absent_if_refused(self.file(key))
    }

    fn refusal(&self) -> Option<Error> {
        self.server.refusal()
    }

    fn read(&self, key: &str, limit: u64, out: &mut Vec<u8>) -> Result<bool> {
        let found = self.server.get(key, limit)?;
        Ok(found.map(|stored| *out = stored.bytes).is_some())
    }

    fn read_metadata(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.known(key)? {
            Some(known) => Ok(known),
            None => Ok(self.server.find(key, limit)?.map(|stored| stored.bytes)),
        }
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        if self.server.lists() {
            let listed = self.server.ask(key, |objects, path| async move {
                let listed = objects.list_with_delimiter(Some(&path)).await?;
                let name = |path: &Path| path.filename().unwrap_or_default().to_owned();
                let folders = listed.common_prefixes.iter().map(|p| (name(p), true));
                // A folder that was made by hand is an empty file of its name.
                let files = listed.objects.iter().filter(|o| o.location != path);
                let files = files.map(|o| (name(&o.location), false));
                Ok(folders.chain(files).collect::<BTreeMap<String, bool>>())
            })?;
            let listed = listed.unwrap_or_default().into_iter();
            return Ok(listed
                .map(|(name, is_folder)| SourceEntry {
                    name,
                    is_folder,
                    is_link: false,
                })
                .collect());
        }
        Err(Error::NotAStore {
            path: self.address().into(),
            problem: "the server lists nothing".to_owned(),
        })
    }

    fn folders(&self, key: &str, with_links: bool) -> Result<Vec<String>> {
        let Some(nodes) = self.consolidated()? else {
            return Ok(folders_of(self.entries(key)?, with_links));
        };
        let prefix = prefix(key);
        let mut found = Vec::new();
        let below = nodes.keys().filter_map(|key| key.strip_prefix(&prefix));
        for (folder, _) in below.filter_map(|rest| rest.split_once('/')) {
            if found.last().is_none_or(|last| last != folder) {
                found.push(folder.to_owned());
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn remote(&self) -> Option<&Remote> {
        Some(self)
    }
}

/// A file on a server.
#[derive(Debug)]
struct RemoteBytes {
    server: Server,
    key: String,
}

impl ReadAt for RemoteBytes {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let range = offset..offset + out.len() as u64;
        match self.server.get_range(&self.key, range)? {
            Some(bytes) if bytes.len() == out.len() => {
                out.copy_from_slice(&bytes);
                Ok(())
            }
            Some(bytes) => {
                let problem = format!("{} bytes were sent, not {}", bytes.len(), out.len());
                Err(Error::corrupt(self.key.as_str(), problem))
            }
            None => Err(Error::missing(self.key.as_str(), "a file")),
        }
    }
}
