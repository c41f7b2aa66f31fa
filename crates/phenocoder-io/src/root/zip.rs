//! A store in a zip file, which is only read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use zip::CompressionMethod;

use super::{RangeFile, ReadAt, Source, SourceEntry};
use crate::disk::Disk;
use crate::path::is_component;
use crate::{Error, Result};

/// A zip file and the names in it.
#[derive(Debug)]
pub(crate) struct ZipFile {
    archive: Arc<Archive>,
    entries: BTreeMap<String, ZipEntry>,
    /// The largest deflated file that is unpacked, in bytes.
    limit: u64,
}

#[derive(Debug)]
struct Archive {
    disk: Disk,
    file: File,
    path: PathBuf,
    size: u64,
}

#[derive(Debug, Clone, Copy)]
struct ZipEntry {
    header: u64,
    stored: u64,
    size: u64,
    checksum: u32,
    is_deflated: bool,
}

impl ZipFile {
    /// Reads the directory of a zip file.
    pub(crate) fn open(disk: &Disk, path: &Path, size: u64, limit: u64) -> Result<Self> {
        let failed = |problem: String| Error::NotAStore {
            path: path.to_owned(),
            problem,
        };
        let file = disk.open(path).map_err(Error::io(path, "opened"))?;
        let reader = BufReader::new(disk.open(path).map_err(Error::io(path, "opened"))?);
        let archive = zip::ZipArchive::new(reader)
            .map_err(|error| failed(format!("the zip file is damaged: {error}")))?;
        let mut entries = BTreeMap::new();
        for index in 0..archive.len() {
            let entry = archive
                .by_index_data(index)
                .map_err(|error| failed(format!("entry {index} is damaged: {error}")))?;
            let Ok(name) = entry.name() else {
                return Err(failed(format!("the name of entry {index} is no text")));
            };
            if entry.is_dir() {
                continue;
            }
            if entry.is_symlink() || !name.split('/').all(is_component) {
                tracing::warn!(%name, "left out: a link, or no path inside the zip file");
                continue;
            }
            let is_deflated = match entry.compression() {
                CompressionMethod::Stored => false,
                CompressionMethod::Deflated => true,
                method => return Err(failed(format!("`{name}` is compressed with {method}"))),
            };
            if entry.encrypted() {
                return Err(failed(format!("`{name}` is encrypted")));
            }
            let found = ZipEntry {
                header: entry.header_start(),
                stored: entry.compressed_size(),
                size: entry.size(),
                checksum: entry.crc32(),
                is_deflated,
            };
            entries.insert(name.into_owned(), found);
        }
        Ok(Self {
            archive: Arc::new(Archive {
                disk: disk.clone(),
                file,
                path: path.to_owned(),
                size,
            }),
            entries: without_top_folder(entries),
            limit,
        })
    }
}

/// Zipping a store as a folder puts its name before every other; that is taken away.
fn without_top_folder(entries: BTreeMap<String, ZipEntry>) -> BTreeMap<String, ZipEntry> {
    let is_root = |name: &str| matches!(name, "zarr.json" | ".zgroup");
    if entries.keys().any(|name| is_root(name)) {
        return entries;
    }
    let top = entries
        .keys()
        .find_map(|name| name.split_once('/').filter(|(_, rest)| is_root(rest)));
    let Some((top, _)) = top else {
        return entries;
    };
    let prefix = format!("{top}/");
    entries
        .iter()
        .filter_map(|(name, entry)| Some((name.strip_prefix(&prefix)?.to_owned(), *entry)))
        .collect()
}

impl Source for ZipFile {
    fn address(&self) -> String {
        self.archive.path.display().to_string()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        let Some(&entry) = self.entries.get(key) else {
            return Ok(None);
        };
        let damaged = |problem: &str| Error::corrupt(key, problem);
        let header = self.archive.read(entry.header, 30)?;
        let number = |at: usize| {
            let bytes = header.get(at..).and_then(<[u8]>::first_chunk::<2>);
            bytes.map_or(0, |bytes| u64::from(u16::from_le_bytes(*bytes)))
        };
        if !header.starts_with(b"PK\x03\x04") {
            return Err(damaged("the zip file has no file here"));
        }
        let start = entry.header + 30 + number(26) + number(28);
        if start.saturating_add(entry.stored) > self.archive.size {
            return Err(damaged("it ends beyond the zip file"));
        }
        if entry.is_deflated && entry.size > self.limit {
            return Err(Error::TooLarge {
                key: key.to_owned(),
                what: "a deflated file with bytes",
                found: entry.size.into(),
                limit: self.limit,
            });
        }
        if !entry.is_deflated && entry.size != entry.stored {
            return Err(damaged("it has two sizes"));
        }
        let bytes = ZipBytes {
            archive: Arc::clone(&self.archive),
            key: key.to_owned(),
            entry,
            start,
            unpacked: OnceLock::new(),
        };
        Ok(Some(RangeFile::new(entry.size, bytes)))
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        let prefix = if key.is_empty() {
            String::new()
        } else {
            format!("{key}/")
        };
        let mut found: Vec<SourceEntry> = Vec::new();
        let below = self.entries.range(prefix.clone()..);
        for (name, _) in below.take_while(|(name, _)| name.starts_with(&prefix)) {
            let rest = name.get(prefix.len()..).unwrap_or_default();
            let (name, is_folder) = match rest.split_once('/') {
                Some((folder, _)) => (folder, true),
                None => (rest, false),
            };
            if found.last().is_none_or(|last| last.name != name) {
                found.push(SourceEntry {
                    name: name.to_owned(),
                    is_folder,
                    is_link: false,
                });
            }
        }
        // `a-b` comes before `a/c` but after `a`.
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found.dedup_by(|a, b| a.name == b.name);
        Ok(found)
    }
}

impl Archive {
    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn read_into(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let read = self.disk.read_exact_at(&self.file, &self.path, out, offset);
        read.map_err(Error::io(&self.path, "read"))
    }
}

/// A file in a zip file.
#[derive(Debug)]
struct ZipBytes {
    archive: Arc<Archive>,
    key: String,
    entry: ZipEntry,
    start: u64,
    unpacked: OnceLock<Vec<u8>>,
}

impl ZipBytes {
    fn check(&self, bytes: &[u8]) -> Result<()> {
        let mut checksum = Crc::new();
        checksum.update(bytes);
        if checksum.sum() == self.entry.checksum {
            return Ok(());
        }
        Err(Error::Checksum {
            key: self.key.clone(),
        })
    }

    /// The whole of a deflated file, which cannot be read in parts.
    fn unpack(&self) -> Result<Vec<u8>> {
        let stored = usize::try_from(self.entry.stored)
            .map_err(|error| Error::corrupt(self.key.as_str(), error))?;
        let packed = self.archive.read(self.start, stored)?;
        let mut bytes = Vec::new();
        DeflateDecoder::new(packed.as_slice())
            .take(self.entry.size.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| Error::corrupt(self.key.as_str(), error))?;
        if bytes.len() as u64 != self.entry.size {
            let problem = format!("it does not hold {} bytes", self.entry.size);
            return Err(Error::corrupt(self.key.as_str(), problem));
        }
        self.check(&bytes)?;
        Ok(bytes)
    }
}

impl ReadAt for ZipBytes {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        if !self.entry.is_deflated {
            self.archive.read_into(self.start + offset, out)?;
            // The checksum is that of the whole; a part of a file is as good as the file's own checksums.
            return if out.len() as u64 == self.entry.size {
                self.check(out)
            } else {
                Ok(())
            };
        }
        let bytes = match self.unpacked.get() {
            Some(bytes) => bytes,
            None => {
                let bytes = self.unpack()?;
                self.unpacked.get_or_init(|| bytes)
            }
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = bytes.get(from..from.saturating_add(out.len()));
        let part = part.ok_or_else(|| Error::corrupt(self.key.as_str(), "it ends early"))?;
        out.copy_from_slice(part);
        Ok(())
    }
}
