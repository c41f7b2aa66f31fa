//! A store in a zip file, which is only read.

mod deflated;
mod directory;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use flate2::Crc;
use zip::CompressionMethod;

use self::deflated::{Unpacked, UnpackedFile, unpack_into};
use super::folder::FileBytes;
use super::{RangeFile, ReadAt, Source, SourceEntry};
use crate::disk::Disk;
use crate::path::{is_component, prefix};
use crate::{Error, OpenOptions, Result};

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
    file: RangeFile,
    path: PathBuf,
    unpacked: Unpacked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ZipEntry {
    header: u64,
    stored: u64,
    size: u64,
    checksum: u32,
    packing: Packing,
}

/// How the bytes of a file lie in the zip file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Stored,
    Deflated,
    /// In another way, which is not read.
    Other(CompressionMethod),
    Encrypted,
}

/// Counts what is read of the directory, whose size is known to its end only.
struct Budget<R> {
    reader: R,
    left: u64,
    is_used_up: Rc<Cell<bool>>,
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left < out.len() as u64 {
            self.is_used_up.set(true);
            return Err(io::Error::other("the directory is larger than the limit"));
        }
        let read = self.reader.read(out)?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Budget<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

/// What a deflated byte unpacks to at most.
const MOST_UNPACKED: u64 = 1032;

/// How much longer than an eighth more than its content a deflated file may be.
const SLACK: u64 = 1 << 16;

/// What may be read before the directory is found: its end stands within the last 64 KiB of the file.
const SEARCHED_BYTES: u64 = 1 << 17;

impl ZipFile {
    /// Reads the directory of a zip file, which counts as the metadata of the root.
    pub(crate) fn open(disk: &Disk, path: &Path, size: u64, options: &OpenOptions) -> Result<Self> {
        let file = disk.open(path).map_err(Error::io(path, "opened"))?;
        let reader = BufReader::new(disk.open(path).map_err(Error::io(path, "opened"))?);
        let disk = disk.clone();
        let path = path.to_owned();
        let bytes = FileBytes { disk, file, path };
        let path = bytes.path.clone();
        Self::read(reader, RangeFile::new(size, bytes), path, options)
    }

    /// As [`open`](Self::open), wherever the bytes are; `reader` and `file` read the same.
    pub(crate) fn read(
        reader: impl Read + Seek,
        file: RangeFile,
        path: PathBuf,
        options: &OpenOptions,
    ) -> Result<Self> {
        let failed = |problem: String| Error::NotAStore {
            path: path.clone(),
            problem,
        };
        let limit = options.max_metadata_bytes.saturating_mul(8);
        let is_used_up = Rc::default();
        let mut reader = Budget {
            reader,
            left: limit.saturating_add(SEARCHED_BYTES),
            is_used_up: Rc::clone(&is_used_up),
        };
        let archive = directory::check(&mut reader, file.size)
            .map_err(zip::result::ZipError::Io)
            .and_then(|()| {
                reader.left = limit.saturating_add(SEARCHED_BYTES);
                zip::ZipArchive::new(reader)
            });
        let archive = match archive {
            Ok(archive) => archive,
            Err(_) if is_used_up.get() => {
                let found = u128::from(limit) + 1;
                let what = "a directory of a zip file with bytes";
                return Err(Error::too_large(
                    path.display().to_string(),
                    what,
                    found,
                    limit,
                ));
            }
            Err(error) => return Err(failed(format!("the zip file is damaged: {error}"))),
        };
        let mut entries = BTreeMap::new();
        for index in 0..archive.len() {
            let entry = archive
                .by_index_data(index)
                .map_err(|error| failed(format!("entry {index} is damaged: {error}")))?;
            let Ok(name) = entry.name() else {
                tracing::warn!(index, "left out: a name that is no text");
                continue;
            };
            if entry.is_dir() {
                continue;
            }
            if entry.is_symlink() || !name.split('/').all(is_component) {
                tracing::warn!(%name, "left out: a link, or no path inside the zip file");
                continue;
            }
            // What cannot be unpacked is an error when it is read, so that the rest of the store can be.
            let packing = match entry.compression() {
                _ if entry.encrypted() => Packing::Encrypted,
                CompressionMethod::Stored => Packing::Stored,
                CompressionMethod::Deflated => Packing::Deflated,
                other => Packing::Other(other),
            };
            let found = ZipEntry {
                header: entry.header_start(),
                stored: entry.compressed_size(),
                size: entry.size(),
                checksum: entry.crc32(),
                packing,
            };
            entries.insert(name.into_owned(), found);
        }
        let capacity = u64::try_from(options.cache_bytes).unwrap_or(u64::MAX);
        Ok(Self {
            archive: Arc::new(Archive {
                file,
                path,
                unpacked: Unpacked::new(capacity),
            }),
            entries: without_top_folder(entries),
            limit: options.max_chunk_bytes,
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
    let prefix = prefix(top);
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
        let unsupported = |problem: String| Error::UnsupportedCodec {
            key: key.to_owned(),
            problem,
        };
        match entry.packing {
            Packing::Stored if entry.size != entry.stored => {
                return Err(damaged("it has two sizes"));
            }
            Packing::Deflated => {
                Error::check_size(key, "a deflated file with bytes", entry.size, self.limit)?;
                if entry.size / MOST_UNPACKED > entry.stored {
                    return Err(damaged("it claims more bytes than it can unpack to"));
                }
                let longest = entry.size.saturating_add(entry.size / 8);
                if entry.stored > longest.saturating_add(SLACK) {
                    let problem = "it is longer than anything that packs so few bytes";
                    return Err(damaged(problem));
                }
            }
            Packing::Stored => {}
            Packing::Other(method) => {
                return Err(unsupported(format!(
                    "the zip file holds it compressed with {method}, not stored or deflated"
                )));
            }
            Packing::Encrypted => {
                return Err(unsupported("the zip file holds it encrypted".to_owned()));
            }
        }
        if entry.header.saturating_add(30) > self.archive.file.size {
            return Err(damaged("it begins beyond the zip file"));
        }
        let header = self.archive.file.read(entry.header, 30)?;
        let number = |at: usize| {
            let bytes = header.get(at..).and_then(<[u8]>::first_chunk::<2>);
            bytes.map_or(0, |bytes| u64::from(u16::from_le_bytes(*bytes)))
        };
        if !header.starts_with(b"PK\x03\x04") {
            return Err(damaged("the zip file has no file here"));
        }
        let start = entry.header + 30 + number(26) + number(28);
        if start.saturating_add(entry.stored) > self.archive.file.size {
            return Err(damaged("it ends beyond the zip file"));
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

    fn unpacked_bytes(&self, key: &str) -> u64 {
        let entry = self.entries.get(key);
        let deflated = entry.filter(|entry| entry.packing == Packing::Deflated);
        deflated.map_or(0, |entry| entry.size)
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        let prefix = prefix(key);
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

/// A file in a zip file.
#[derive(Debug)]
struct ZipBytes {
    archive: Arc<Archive>,
    key: String,
    entry: ZipEntry,
    start: u64,
    unpacked: OnceLock<Arc<UnpackedFile>>,
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

    /// Unpacks the whole of a deflated file.
    fn unpack(&self, out: &mut [u8]) -> Result<()> {
        let stored = usize::try_from(self.entry.stored)
            .map_err(|error| Error::corrupt(self.key.as_str(), error))?;
        let packed = self.archive.file.read(self.start, stored)?;
        unpack_into(&self.key, &packed, out)?;
        self.check(out)
    }
}

impl ReadAt for ZipBytes {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let is_whole = out.len() as u64 == self.entry.size;
        if self.entry.packing == Packing::Stored {
            self.archive.file.read_into(self.start + offset, out)?;
            // The checksum is that of the whole; a part of a file is as good as the file's own checksums.
            return if is_whole { self.check(out) } else { Ok(()) };
        }
        if is_whole {
            return self.unpack(out);
        }
        let file = self
            .unpacked
            .get_or_init(|| self.archive.unpacked.file(self.entry));
        let bytes = file.bytes(|| {
            let size = usize::try_from(self.entry.size)
                .map_err(|error| Error::corrupt(self.key.as_str(), error))?;
            let mut bytes = vec![0; size];
            self.unpack(&mut bytes)?;
            Ok(bytes)
        })?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = bytes.get(from..from.saturating_add(out.len()));
        let part = part.ok_or_else(|| Error::corrupt(self.key.as_str(), "it ends early"))?;
        out.copy_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::disk::faults::{Fault, Faults};

    #[test]
    fn parts_of_a_deflated_file_cost_one_unpacking_within_the_limit_of_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zip");
        let mut writer = zip::ZipWriter::new(File::create(&path).unwrap());
        let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file("shard", deflated).unwrap();
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i % 251) as u8).collect();
        writer.write_all(&bytes).unwrap();
        writer.finish().unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        // Ten times the header of the file and, where it is kept, once its bytes.
        for (cache_bytes, reads) in [(1 << 20, 11), (9_999, 20)] {
            for (allowed, is_enough) in [(reads, true), (reads - 1, false)] {
                let (disk, faults) = Faults::disk(allowed, Fault::Short, false);
                let options = OpenOptions::default().with_cache_bytes(cache_bytes);
                let file = ZipFile::open(&disk, &path, size, &options).unwrap();
                for part in 0..10 {
                    let from = part * 1000;
                    let shard = file.file("shard");
                    if let Ok(read) = shard.and_then(|shard| shard.unwrap().read(from as u64, 1000))
                    {
                        assert_eq!(read, bytes[from..from + 1000]);
                    }
                }
                assert_eq!(
                    faults.hit().is_none(),
                    is_enough,
                    "{allowed} of {reads} reads"
                );
            }
        }
    }
}
