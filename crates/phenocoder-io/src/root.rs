//! What a store is read from: a folder, a zip file or a server.
//!
//! Nothing else of this crate reads files of a store, so that limits and links are checked in one place.

mod folder;
#[cfg(feature = "object-store")]
pub(crate) mod remote;
mod single;
mod zip;

use std::fmt::Debug;
use std::path::Path;

use crate::disk::{Disk, Kind};
use crate::{Error, OpenOptions, Result};

pub(crate) use folder::Folder;
#[cfg(feature = "object-store")]
pub(crate) use remote::{Remote, Server, Stored, StoredPath, Version};
pub(crate) use single::SingleFile;
pub(crate) use zip::ZipFile;

/// Something that holds files under keys such as `images/a/zarr.json`.
///
/// Keys consist of components that were checked to be harmless.
pub(crate) trait Source: Debug + Send + Sync {
    /// The path or address, for messages.
    fn address(&self) -> String;

    /// A file, or `None` where there is none.
    fn file(&self, key: &str) -> Result<Option<RangeFile>>;

    /// As [`file`](Self::file), for one that need not be there.
    fn probe(&self, key: &str) -> Result<Option<RangeFile>> {
        self.file(key)
    }

    /// Why nothing could be read, where that was taken for nothing being there.
    fn refusal(&self) -> Option<Error> {
        None
    }

    /// The names of the folders and files in a folder, sorted; empty where there is none.
    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>>;

    /// The memory that a file takes while it is open since it is unpacked as a whole.
    fn unpacked_bytes(&self, _key: &str) -> u64 {
        0
    }

    /// Whether folders can be listed.
    fn lists(&self) -> bool {
        true
    }

    /// Reads the whole of a file into `out`, whatever that held; `false` where there is none.
    fn read(&self, key: &str, limit: u64, out: &mut Vec<u8>) -> Result<bool> {
        let Some(file) = self.file(key)? else {
            return Ok(false);
        };
        let len = usize::try_from(file.size)
            .ok()
            .filter(|_| file.size <= limit)
            .ok_or_else(|| Error::too_large(key, "a file with bytes", file.size, limit))?;
        out.resize(len, 0);
        file.read_into(0, out)?;
        Ok(true)
    }

    /// A metadata file, or `None` where there is none.
    fn read_metadata(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let found = self.read(key, limit, &mut bytes)?;
        Ok(found.then_some(bytes))
    }

    /// The names of the folders that are nodes, sorted; empty where there is none.
    fn folders(&self, key: &str, with_links: bool) -> Result<Vec<String>> {
        Ok(folders_of(self.entries(key)?, with_links))
    }

    /// The folder of the file system, where the store is one.
    fn folder(&self) -> Option<&Folder> {
        None
    }

    /// The server, where the store lies on one.
    #[cfg(feature = "object-store")]
    fn remote(&self) -> Option<&Remote> {
        None
    }
}

/// An entry of a folder in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceEntry {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    /// Whether a link leads here; only folders of the file system have them.
    pub(crate) is_link: bool,
}

fn folders_of(entries: Vec<SourceEntry>, with_links: bool) -> Vec<String> {
    let folders = entries
        .into_iter()
        .filter(|e| e.is_folder && (with_links || !e.is_link));
    folders.map(|e| e.name).collect()
}

/// A file of which parts are read, by several threads at once.
#[derive(Debug)]
pub(crate) struct RangeFile {
    pub(crate) size: u64,
    bytes: Box<dyn ReadAt>,
}

/// The bytes of a file.
pub(crate) trait ReadAt: Debug + Send + Sync {
    /// Fills `out` with the bytes from `offset` on, which are within the file.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()>;
}

impl RangeFile {
    pub(crate) fn new(size: u64, bytes: impl ReadAt + 'static) -> Self {
        let bytes = Box::new(bytes);
        Self { size, bytes }
    }

    /// The bytes from `offset` on; the caller has checked that they are there.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; len];
        self.bytes.read_at(offset, &mut out)?;
        Ok(out)
    }

    /// As [`read`](Self::read), into a buffer that is there.
    pub(crate) fn read_into(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.bytes.read_at(offset, out)
    }
}

/// A store as a source of files, with the limits of whoever opened it.
#[derive(Debug)]
pub(crate) struct Root {
    source: Box<dyn Source>,
    pub(crate) options: OpenOptions,
}

impl Root {
    /// A folder or zip file of the file system, or an address.
    pub(crate) fn open(path: &Path, options: OpenOptions) -> Result<Self> {
        if let Some(address) = address_of(path) {
            return Self::open_address(address, options);
        }
        Self::open_on(&Disk::default(), path, options)
    }

    #[cfg(feature = "object-store")]
    fn open_address(address: &str, options: OpenOptions) -> Result<Self> {
        Ok(Self::new(Remote::open(address, &options)?, options))
    }

    #[cfg(not(feature = "object-store"))]
    fn open_address(address: &str, _: OpenOptions) -> Result<Self> {
        Err(Error::NotAStore {
            path: without_secrets(address).into(),
            problem: "addresses are read with the feature `object-store` of phenocoder-io"
                .to_owned(),
        })
    }

    pub(crate) fn open_on(disk: &Disk, path: &Path, options: OpenOptions) -> Result<Self> {
        let kind = disk.kind(path).map_err(Error::io(path, "opened"))?;
        match kind {
            Kind::Folder => {
                let folder = Folder::open(disk, path, options.follow_links)?;
                Ok(Self::new(folder, options))
            }
            Kind::File { size } => {
                let file = ZipFile::open(disk, path, size, &options)?;
                Ok(Self::new(file, options))
            }
            Kind::Other => Err(Error::NotAStore {
                path: path.to_owned(),
                problem: "it is a pipe or device".to_owned(),
            }),
        }
    }

    pub(crate) fn new(source: impl Source + 'static, options: OpenOptions) -> Self {
        Self {
            source: Box::new(source),
            options,
        }
    }

    /// The path or address, for messages.
    pub(crate) fn address(&self) -> String {
        self.source.address()
    }

    /// The folder of the file system, where the store is one.
    pub(crate) fn folder(&self) -> Option<&Folder> {
        self.source.folder()
    }

    /// The folder of a store that is to be changed.
    pub(crate) fn writable(&self) -> Result<&Folder> {
        self.folder().ok_or_else(|| Error::ReadOnly {
            place: self.address(),
        })
    }

    /// The server, where the store lies on one.
    #[cfg(feature = "object-store")]
    pub(crate) fn remote(&self) -> Option<&Remote> {
        self.source.remote()
    }

    /// Reads the whole of a file into `out`, whatever that held; `false` where there is none.
    pub(crate) fn read(&self, key: &str, limit: u64, out: &mut Vec<u8>) -> Result<bool> {
        self.source.read(key, limit, out)
    }

    /// A metadata file, or `None` where there is none.
    pub(crate) fn read_metadata(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let limit = self.options.max_metadata_bytes;
        let is_root = !key.contains('/');
        let limit = if is_root {
            limit.saturating_mul(8)
        } else {
            limit
        };
        self.source.read_metadata(key, limit)
    }

    /// A file that is read in ranges, or `None` where there is none.
    pub(crate) fn ranges(&self, key: &str) -> Result<Option<RangeFile>> {
        self.source.file(key)
    }

    /// As [`ranges`](Self::ranges), for a file that need not be there.
    pub(crate) fn probe(&self, key: &str) -> Result<Option<RangeFile>> {
        self.source.probe(key)
    }

    /// The memory that a file takes while it is open since it is unpacked as a whole.
    pub(crate) fn unpacked_bytes(&self, key: &str) -> u64 {
        self.source.unpacked_bytes(key)
    }

    /// Why nothing could be read, where that was taken for nothing being there.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.source.refusal()
    }

    /// Whether folders can be listed; not on a web server.
    pub(crate) fn lists(&self) -> bool {
        self.source.lists()
    }

    /// The entries of a folder, sorted by name; empty where there is none.
    pub(crate) fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        self.source.entries(key)
    }

    /// The names of the folders in a folder and of the links to such, sorted; empty where there is none.
    pub(crate) fn folders(&self, key: &str) -> Result<Vec<String>> {
        self.list_folders(key, true)
    }

    /// The names of the folders in a folder, sorted; empty where there is none.
    pub(crate) fn list_folders(&self, key: &str, with_links: bool) -> Result<Vec<String>> {
        self.source.folders(key, with_links)
    }
}

/// The address, where this is none of the file system.
pub(crate) fn address_of(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = scheme.bytes().all(|b| b.is_ascii_alphanumeric()) && scheme.len() > 1;
    is_scheme.then_some(text)
}

/// An address without what it may keep secret: who asks, and the query.
pub(crate) fn without_secrets(address: &str) -> String {
    const HIDDEN: &str = "***";
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (place, query) = rest.split_at(end);
    let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    let host = match host.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => host.to_owned(),
    };
    let query = match query.chars().next() {
        Some(mark) => format!("{mark}{HIDDEN}"),
        None => String::new(),
    };
    let scheme = if scheme.is_empty() {
        String::new()
    } else {
        format!("{scheme}://")
    };
    format!("{scheme}{host}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_without_what_is_secret() {
        for (address, expected) in [
            ("https://h/a.zarr", "https://h/a.zarr"),
            ("https://u:p@h:80/a@b", "https://***@h:80/a@b"),
            ("https://u@h", "https://***@h"),
            ("https://u:p@x@h/a", "https://***@h/a"),
            ("https://h/a?token=x#y", "https://h/a?***"),
            ("https://h?token=a@b/c", "https://h?***"),
            ("s3://bucket/a", "s3://bucket/a"),
        ] {
            assert_eq!(without_secrets(address), expected);
        }
    }
}
