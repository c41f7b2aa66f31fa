//! A file of the file system that belongs to no store.

use std::path::{Path, PathBuf};

use super::folder::FileBytes;
use super::{RangeFile, Source, SourceEntry};
use crate::disk::{Disk, Kind};
use crate::{Error, Result};

/// The only file of its source, whatever the key.
#[derive(Debug)]
pub(crate) struct SingleFile {
    pub(crate) path: PathBuf,
}

impl Source for SingleFile {
    fn address(&self) -> String {
        self.path.display().to_string()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        open(&Disk::default(), key, &self.path).map(Some)
    }

    fn entries(&self, _: &str) -> Result<Vec<SourceEntry>> {
        Ok(Vec::new())
    }
}

/// Opens a file of which parts are read.
pub(super) fn open(disk: &Disk, key: &str, path: &Path) -> Result<RangeFile> {
    // Asked before it is opened: a pipe would wait for somebody who writes into it.
    let size = match disk.kind(path).map_err(Error::io(path, "read"))? {
        Kind::File { size } => size,
        Kind::Folder => return Err(Error::invalid(key, "a file", "a folder")),
        Kind::Other => return Err(Error::invalid(key, "a file", "a pipe or device")),
    };
    let file = disk.open(path).map_err(Error::io(path, "read"))?;
    let (disk, path) = (disk.clone(), path.to_owned());
    Ok(RangeFile::new(size, FileBytes { disk, file, path }))
}
