//! The folder of a store: the only module that opens files for reading.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::{Error, OpenOptions, Result};

/// A folder that nothing outside is read from.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    canonical: PathBuf,
    pub(crate) options: OpenOptions,
}

impl Root {
    pub(crate) fn open(path: &Path, options: OpenOptions) -> Result<Self> {
        let canonical = fs::canonicalize(path).map_err(Error::io(path, "opened"))?;
        if !canonical.is_dir() {
            return Err(Error::NotAStore {
                path: path.to_owned(),
                problem: "it is not a folder; zip files and addresses of the web are not read yet"
                    .to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            canonical,
            options,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, without links on the way to it.
    pub(crate) fn canonical(&self) -> &Path {
        &self.canonical
    }

    /// Where a key lies, whether or not it exists.
    pub(crate) fn place(&self, key: &str) -> PathBuf {
        if key.is_empty() {
            self.path.clone()
        } else {
            self.path.join(key)
        }
    }

    /// The file of a key, or `None` where there is none; links that leave the store are refused.
    pub(crate) fn resolve(&self, key: &str) -> Result<Option<PathBuf>> {
        let path = self.place(key);
        match fs::canonicalize(&path) {
            Ok(real) if real.starts_with(&self.canonical) => Ok(Some(real)),
            Ok(real) => Err(Error::InvalidPath {
                key: key.to_owned(),
                path: real.display().to_string(),
            }),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::io(&path, "read")(error)),
        }
    }

    /// The whole of a file, or `None` where there is none.
    pub(crate) fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(RangeFile { file, path, size }) = self.ranges(key)? else {
            return Ok(None);
        };
        if size > limit {
            return Err(Error::TooLarge {
                key: key.to_owned(),
                what: "a file with bytes",
                found: size.into(),
                limit,
            });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(Error::io(&path, "read"))?;
        Ok(Some(bytes))
    }

    /// A metadata file, or `None` where there is none.
    pub(crate) fn read_metadata(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let limit = self.options.max_metadata_bytes;
        let is_root = !key.contains('/');
        self.read(
            key,
            if is_root {
                limit.saturating_mul(8)
            } else {
                limit
            },
        )
    }

    /// A file that is read in ranges, or `None` where there is none.
    pub(crate) fn ranges(&self, key: &str) -> Result<Option<RangeFile>> {
        let Some(path) = self.resolve(key)? else {
            return Ok(None);
        };
        // Asked before it is opened: a pipe would wait for somebody who writes into it.
        let metadata = fs::metadata(&path).map_err(Error::io(&path, "read"))?;
        if !metadata.is_file() {
            let found = if metadata.is_dir() {
                "a folder"
            } else {
                "a pipe or device"
            };
            return Err(Error::invalid(key, "a file", found));
        }
        let file = File::open(&path).map_err(Error::io(&path, "read"))?;
        let size = metadata.len();
        Ok(Some(RangeFile { file, path, size }))
    }

    /// The names of the folders in a folder and of the links to such, sorted; empty where there is none.
    pub(crate) fn folders(&self, key: &str) -> Result<Vec<String>> {
        self.list_folders(key, true)
    }

    /// The names of the folders in a folder, sorted; empty where there is none.
    pub(crate) fn list_folders(&self, key: &str, with_links: bool) -> Result<Vec<String>> {
        let Some(path) = self.resolve(key)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(Error::io(&path, "listed"))? {
            let entry = entry.map_err(Error::io(&path, "listed"))?;
            let kind = entry.file_type().map_err(Error::io(&path, "listed"))?;
            let is_folder =
                kind.is_dir() || (with_links && kind.is_symlink() && entry.path().is_dir());
            if let (true, Ok(name)) = (is_folder, entry.file_name().into_string()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A file of which parts are read, by several threads at once.
#[derive(Debug)]
pub(crate) struct RangeFile {
    file: File,
    path: PathBuf,
    pub(crate) size: u64,
}

impl RangeFile {
    /// The bytes from `offset` on; the caller has checked that they are there.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        read_exact_at(&self.file, &mut bytes, offset).map_err(Error::io(&self.path, "read"))?;
        Ok(bytes)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
