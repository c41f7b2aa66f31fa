//! Places that are written to.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::{Disk, Entry, Owner, is_absent};
use crate::{Error, Result};

/// The mark of a folder or file that is not yet, or no longer, in its place.
const NEW: &str = ".phenocoder-new-";
const OLD: &str = ".phenocoder-old-";
/// The mark of a store that is not yet in its place; many may be made there at once.
const STORE: &str = ".phenocoder-store-";

/// The hidden name of something that will be called `name`.
pub(crate) fn new_name(name: &str) -> String {
    format!(".{name}{NEW}{}", Owner::own())
}

/// The hidden name of something that was called `name`.
pub(crate) fn old_name(name: &str) -> String {
    format!(".{name}{OLD}{}", Owner::own())
}

/// Something that a writer had in its hands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LeftOver<'a> {
    /// What was to replace, or become, the thing of this name.
    New(&'a str),
    /// What the thing of this name was before.
    Old(&'a str),
}

/// Recognizes the name of a left-over.
pub(crate) fn left_over(name: &str) -> Option<LeftOver<'_>> {
    parse(name).map(|(left_over, _)| left_over)
}

/// Who left it over.
pub(crate) fn owner_of(name: &str) -> Option<Owner> {
    parse(name).map(|(_, owner)| owner)
}

fn parse(name: &str) -> Option<(LeftOver<'_>, Owner)> {
    let hidden = name.strip_prefix('.')?;
    if let Some((name, owner)) = hidden.rsplit_once(NEW) {
        return Some((LeftOver::New(name), Owner::parse(owner)?));
    }
    let (name, owner) = hidden.rsplit_once(OLD)?;
    Some((LeftOver::Old(name), Owner::parse(owner)?))
}

/// The hidden name of a store that will be called `name`, for one of several threads.
fn numbered_name(name: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!(".{name}{STORE}{number}-{}", Owner::own())
}

/// Who gave the [`numbered_name`] of a store called `name`.
fn numbered_owner(hidden: &str, name: &str) -> Option<Owner> {
    let rest = hidden.strip_prefix('.')?.strip_prefix(name)?;
    let (_, owner) = rest.strip_prefix(STORE)?.split_once('-')?;
    Owner::parse(owner)
}

/// A path on a disk.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    disk: Disk,
    path: PathBuf,
}

impl Place {
    /// A path of the file system.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self::on(&Disk::default(), path)
    }

    pub(crate) fn on(disk: &Disk, path: impl Into<PathBuf>) -> Self {
        Self {
            disk: disk.clone(),
            path: path.into(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// A place in this folder.
    pub(crate) fn join(&self, relative: impl AsRef<Path>) -> Self {
        Self::on(&self.disk, self.path.join(relative))
    }

    /// A place beside this one.
    pub(crate) fn beside(&self, name: impl AsRef<std::ffi::OsStr>) -> Self {
        Self::on(&self.disk, self.path.with_file_name(name))
    }

    /// The last component of the path.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name();
        name.map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// A hidden place beside this one, for what will be here; no other process uses it.
    pub(crate) fn staged(&self) -> Self {
        self.beside(new_name(&self.name()))
    }

    /// A hidden place beside this one, for what was here.
    pub(crate) fn set_aside(&self) -> Self {
        self.beside(old_name(&self.name()))
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        Error::io(&self.path, action)
    }

    /// Whether anything is here, a broken link too.
    pub(crate) fn exists(&self) -> Result<bool> {
        self.disk.exists(&self.path).map_err(self.failed("read"))
    }

    /// An error when anything is here.
    pub(crate) fn must_be_free(&self) -> Result<()> {
        if self.exists()? {
            return Err(Error::Exists {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// When this was last changed or renamed, in seconds since 1970, where the system tells.
    pub(crate) fn changed(&self) -> Result<Option<u64>> {
        self.disk.changed(&self.path).map_err(self.failed("read"))
    }

    /// The entries of this folder, sorted by name.
    pub(crate) fn list(&self) -> Result<Vec<Entry>> {
        self.disk.list(&self.path).map_err(self.failed("listed"))
    }

    /// Creates this folder and those above it.
    pub(crate) fn create_folder(&self) -> Result<()> {
        let made = self.disk.create_folder(&self.path);
        made.map_err(self.failed("created"))
    }

    /// Creates this folder for this user alone, where there is nothing; whether there was.
    #[cfg(feature = "object-store")]
    pub(crate) fn create_private_folder(&self) -> Result<bool> {
        match self.disk.create_private_folder(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(self.failed("created")(error)),
        }
    }

    /// Creates this file, empty, and the folders above it.
    pub(crate) fn create_file(&self) -> Result<FileWriter> {
        let file = match self.disk.create(&self.path) {
            // Asked for second: of many files in a folder only the first finds it missing.
            Err(error) if is_absent(&error) => {
                if let Some(folder) = self.path.parent() {
                    Self::on(&self.disk, folder).create_folder()?;
                }
                self.disk.create(&self.path)
            }
            created => created,
        };
        Ok(FileWriter {
            file: file.map_err(self.failed("written"))?,
            place: self.clone(),
            failure: None,
        })
    }

    /// Writes this file and waits until it is on the disk.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut file = self.create_file()?;
        file.write_all(bytes).map_err(self.failed("written"))?;
        file.finish()
    }

    /// Writes a metadata file of something new. Where case is not told apart, another thing may have taken its place.
    pub(crate) fn write_new_json(&self, value: &Value) -> Result<()> {
        self.must_be_free()?;
        self.write_json(value)
    }

    /// Writes a metadata file.
    pub(crate) fn write_json(&self, value: &Value) -> Result<()> {
        self.write(format!("{value:#}").as_bytes())
    }

    /// Waits until the names in this folder are on the disk, where the system can.
    pub(crate) fn sync_folder(&self) -> Result<()> {
        if cfg!(unix) {
            let synced = self.disk.open(&self.path);
            let synced = synced.and_then(|folder| self.disk.sync(&folder, &self.path));
            synced.map_err(self.failed("synchronized"))
        } else {
            Ok(())
        }
    }

    /// Waits until all folders of this tree are on the disk.
    pub(crate) fn sync_tree(&self) -> Result<()> {
        for entry in self.list()? {
            if entry.is_folder && !entry.is_link {
                self.join(entry.name).sync_tree()?;
            }
        }
        self.sync_folder()
    }

    /// Gives what is here another place.
    pub(crate) fn rename(&self, to: &Self) -> Result<()> {
        let renamed = self.disk.rename(&self.path, &to.path);
        renamed.map_err(to.failed("renamed"))
    }

    /// Gives the file another name as well.
    pub(crate) fn link(&self, to: &Self) -> Result<()> {
        let linked = self.disk.link(&self.path, &to.path);
        linked.map_err(to.failed("written"))
    }

    /// Renames what was written beside `to` into it and waits until the new name is on the disk.
    pub(crate) fn publish(&self, to: &Self) -> Result<()> {
        self.rename(to)?;
        let folder = to.path.parent().filter(|f| !f.as_os_str().is_empty());
        Self::on(&self.disk, folder.unwrap_or_else(|| Path::new("."))).sync_folder()
    }

    /// Removes a file or a folder with all it holds; one that is not there is fine.
    pub(crate) fn remove(&self) -> Result<()> {
        match self.disk.remove(&self.path) {
            Err(error) if !is_absent(&error) => Err(self.failed("removed")(error)),
            _ => Ok(()),
        }
    }

    /// Writes beside this place and renames the result into it, so that the old or the new is here, whole.
    pub(crate) fn replace_with(&self, write: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let staged = self.staged();
        let written = write(&staged).and_then(|()| staged.publish(self));
        if written.is_err() {
            // The first error says why; readers ignore a left-over.
            let _ = staged.remove();
        }
        written
    }

    /// Fills a new folder beside this place and renames it into it, where nothing may be.
    ///
    /// Several threads and processes may try so at once: one succeeds, the others find the place taken.
    pub(crate) fn create_with(&self, write: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.must_be_free()?;
        let parent = self.path.parent().filter(|f| !f.as_os_str().is_empty());
        let parent = Self::on(&self.disk, parent.unwrap_or_else(|| Path::new(".")));
        parent.create_folder()?;
        self.remove_abandoned(&parent);
        let staged = self.create_numbered()?;
        let made = write(&staged)
            .and_then(|()| self.must_be_free())
            .and_then(|()| match staged.publish(self) {
                // A folder is not renamed into one that holds something.
                Err(_) if staged.exists()? && self.exists()? => self.must_be_free(),
                published => published,
            });
        if made.is_err() {
            // The first error says why.
            let _ = staged.remove();
        }
        made
    }

    /// A new folder beside this place that no other thread uses.
    fn create_numbered(&self) -> Result<Self> {
        loop {
            let staged = self.beside(numbered_name(&self.name()));
            match self.disk.create_new_folder(&staged.path) {
                // A process of this number that has ended left it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(staged.failed("created")(error)),
                Ok(()) => return Ok(staged),
            }
        }
    }

    /// Removes what processes that have ended meant to put here.
    fn remove_abandoned(&self, parent: &Self) {
        let name = self.name();
        // Nothing depends on it.
        for entry in parent.list().unwrap_or_default() {
            let owner = entry.name.to_str().and_then(|n| numbered_owner(n, &name));
            if owner.is_some_and(|owner| owner.has_ended()) {
                let _ = self.beside(entry.name).remove();
            }
        }
    }

    /// Replaces the file.
    pub(crate) fn replace(&self, bytes: &[u8]) -> Result<()> {
        self.replace_with(|staged| staged.write(bytes))
    }
}

/// A new file.
#[derive(Debug)]
pub(crate) struct FileWriter {
    file: File,
    place: Place,
    /// Why it could not be written: who writes through this one may keep no more of an error than its text.
    failure: Option<io::Error>,
}

impl FileWriter {
    /// The error of the disk, where there was one, or that of who wrote.
    pub(crate) fn error_or(&mut self, other: impl FnOnce() -> Error) -> Error {
        match self.failure.take() {
            Some(failure) => self.place.failed("written")(failure),
            None => other(),
        }
    }

    /// Waits until the file is on the disk.
    pub(crate) fn finish(self) -> Result<()> {
        let synced = self.place.disk.sync(&self.file, &self.place.path);
        synced.map_err(self.place.failed("written"))
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self
            .place
            .disk
            .write(&mut self.file, &self.place.path, bytes);
        let written = match written {
            Ok(0) if !bytes.is_empty() => Err(ErrorKind::WriteZero.into()),
            written => written,
        };
        written.inspect_err(|error| {
            // Errors have no copies.
            self.failure = Some(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            });
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_left_overs_are_recognized() {
        assert_eq!(left_over(&new_name("a.b")), Some(LeftOver::New("a.b")));
        assert_eq!(
            left_over(&old_name("zarr.json")),
            Some(LeftOver::Old("zarr.json"))
        );
        for other in [
            ".zgroup",
            ".x.tmp-1",
            ".x.phenocoder-new-",
            ".x.phenocoder-old-1a",
            "x",
        ] {
            assert_eq!(left_over(other), None, "{other}");
        }
    }
}
