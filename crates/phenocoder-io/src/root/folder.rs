//! A store in a folder of the file system.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{RangeFile, ReadAt, Source, SourceEntry, single};
use crate::disk::{Disk, Kind, Place, is_absent};
use crate::{Error, Result};

/// A folder that nothing outside is read from.
#[derive(Debug)]
pub(crate) struct Folder {
    place: Place,
    canonical: PathBuf,
    follow_links: bool,
}

impl Folder {
    pub(crate) fn open(disk: &Disk, path: &Path, follow_links: bool) -> Result<Self> {
        let opened = Error::io(path, "opened");
        let canonical = disk.canonicalize(path).map_err(opened)?;
        Ok(Self {
            place: Place::on(disk, path),
            canonical,
            follow_links,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// Where a key lies, whether or not it exists.
    pub(crate) fn place(&self, key: &str) -> Place {
        if key.is_empty() {
            self.place.clone()
        } else {
            self.place.join(key)
        }
    }

    /// What a key leads to, or `None` where there is nothing; links that leave the store are refused.
    pub(crate) fn resolve(&self, key: &str) -> Result<Option<PathBuf>> {
        let place = self.place(key);
        match place.disk().canonicalize(place.path()) {
            Ok(real) if self.follow_links || real.starts_with(&self.canonical) => Ok(Some(real)),
            Ok(real) => Err(Error::InvalidPath {
                key: key.to_owned(),
                path: real.display().to_string(),
            }),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(Error::io(place.path(), "read")(error)),
        }
    }
}

impl Source for Folder {
    fn address(&self) -> String {
        self.path().display().to_string()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        let Some(path) = self.resolve(key)? else {
            return Ok(None);
        };
        single::open(self.place.disk(), key, &path).map(Some)
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        let Some(path) = self.resolve(key)? else {
            return Ok(Vec::new());
        };
        let kind = self.place.disk().kind(&path);
        if kind.map_err(Error::io(&path, "read"))? != Kind::Folder {
            return Ok(Vec::new());
        }
        let entries = self.place.disk().list(&path);
        let entries = entries.map_err(Error::io(&path, "listed"))?.into_iter();
        Ok(entries
            .filter_map(|entry| {
                Some(SourceEntry {
                    name: entry.name.into_string().ok()?,
                    is_folder: entry.is_folder,
                    is_link: entry.is_link,
                })
            })
            .collect())
    }

    fn folder(&self) -> Option<&Folder> {
        Some(self)
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct FileBytes {
    pub(super) disk: Disk,
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl ReadAt for FileBytes {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let read = self.disk.read_exact_at(&self.file, &self.path, out, offset);
        read.map_err(Error::io(&self.path, "read"))
    }
}
