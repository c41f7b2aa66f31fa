//! Changes of a store that happen whole or not at all.
//!
//! A new element is written to a hidden folder beside its place and waited for until it is on the disk.
//! Then the old element is moved aside, the new one into its place, and the metadata files that mention it are
//! replaced.
//! Whatever fails before the end is undone; whatever kills the program leaves hidden names by which the next to open
//! the store recognizes what happened.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::consolidated::{self, Overlay};
use super::recover::{self, new_name, old_name};
use crate::node::{ZarrFormat, write_group};
use crate::path::child;
use crate::root::Root;
use crate::{Error, Result, file};

/// The right to change a store, for one handle of one process at a time.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread is about to start holds the file open for a moment.
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Takes the right, or says that somebody else has it.
    pub(crate) fn acquire(root: &Path) -> Result<Self> {
        // A folder can be locked itself where it can be opened; elsewhere its metadata file is.
        let place = if cfg!(unix) {
            root.to_owned()
        } else {
            let v3 = root.join("zarr.json");
            if v3.exists() {
                v3
            } else {
                root.join(".zgroup")
            }
        };
        let file = File::open(&place).map_err(Error::io(&place, "locked"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked {
                path: root.to_owned(),
            }),
            // A file system without locks: the renames are atomic all the same.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Self { file })
            }
            Err(TryLockError::Error(error)) => Err(Error::io(&place, "locked")(error)),
        }
    }
}

/// A change of one element.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) root: &'a Root,
    pub(crate) format: ZarrFormat,
    /// The group and the name: `tables`, `cells`.
    pub(crate) group: &'static str,
    pub(crate) name: &'a str,
}

/// The points at which a change can be interrupted, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Staged,
    MetadataStaged,
    OldAside,
    NewInPlace,
    FileReplaced,
}

/// Is told of every moment and may make it fail.
pub(crate) type Watch<'a> = &'a dyn Fn(Moment) -> Result<()>;

pub(crate) fn unwatched(_: Moment) -> Result<()> {
    Ok(())
}

impl Change<'_> {
    /// Writes the element with `write` and puts it in its place.
    pub(crate) fn put(
        &self,
        _lock: &Lock,
        watch: Watch<'_>,
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        // A link that leads out of the store is an error.
        let group_is_new = self.root.resolve(self.group)?.is_none();
        let group = self.root.place(self.group);
        let staged_name = new_name(self.name);
        let staged = group.join(&staged_name);
        let result = (|| {
            if group_is_new {
                write_group(&group, self.format, Map::new())?;
            }
            file::create_folder(&staged)?;
            write(&staged)?;
            file::sync_tree(&staged)?;
            watch(Moment::Staged)?;
            self.swap(Some(&staged_name), watch)
        })();
        if result.is_err() {
            // The first error says why.
            let _ = file::remove(&staged);
            if group_is_new {
                let _ = file::remove(&group);
            }
        }
        result
    }

    /// Removes the element.
    pub(crate) fn remove(&self, _lock: &Lock, watch: Watch<'_>) -> Result<()> {
        self.swap(None, watch)
    }

    fn swap(&self, staged: Option<&str>, watch: Watch<'_>) -> Result<()> {
        let mut swap = Swap::default();
        match self.try_swap(staged, watch, &mut swap) {
            Ok(()) => {
                // The change is on the disk: nothing that fails from here on may be taken for a failure of it.
                swap.clear();
                let _ = file::sync_folder(&self.root.place(self.group));
                Ok(())
            }
            Err(error) => {
                swap.undo();
                Err(error)
            }
        }
    }

    fn try_swap(&self, staged: Option<&str>, watch: Watch<'_>, swap: &mut Swap) -> Result<()> {
        let root = self.root.path();
        let group = self.root.place(self.group);
        let place = group.join(self.name);
        let mut overlay = Overlay::default();
        let key = child(self.group, self.name);
        let from = staged.map(|name| child(self.group, name));
        overlay.elements.insert(key, from);
        if self.group == "labels"
            && let Some((key, bytes)) = labels_listing(self.root, self.format, &overlay)?
        {
            overlay.files.insert(key, bytes);
        }
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        files.extend(overlay.files.clone());
        files.extend(consolidated::build(self.root, self.format, &overlay)?);
        for (key, bytes) in &files {
            swap.stage_file(&self.root.place(key), bytes)?;
        }
        file::sync_folder(root)?;
        watch(Moment::MetadataStaged)?;
        if fs::symlink_metadata(&place).is_ok() {
            let old = group.join(old_name(self.name));
            file::rename(&place, &old)?;
            swap.moved.push((old, place.clone()));
            file::sync_folder(&group)?;
            watch(Moment::OldAside)?;
        }
        if let Some(staged) = staged {
            let staged = group.join(staged);
            file::rename(&staged, &place)?;
            swap.placed = Some((place.clone(), staged));
            file::sync_folder(&group)?;
            watch(Moment::NewInPlace)?;
        }
        for _ in &files {
            swap.replace_next_file()?;
            watch(Moment::FileReplaced)?;
        }
        file::sync_folder(root)
    }
}

/// What has been renamed so far, to be undone.
#[derive(Debug, Default)]
struct Swap {
    /// Staged metadata file, its place, and a copy of what was there.
    files: Vec<(PathBuf, PathBuf, Option<PathBuf>)>,
    replaced: usize,
    /// Old element, its place.
    moved: Vec<(PathBuf, PathBuf)>,
    /// New element's place, where it was staged.
    placed: Option<(PathBuf, PathBuf)>,
}

impl Swap {
    fn stage_file(&mut self, place: &Path, bytes: &[u8]) -> Result<()> {
        let name = place
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let staged = place.with_file_name(new_name(&name));
        self.files.push((staged.clone(), place.to_owned(), None));
        file::write(&staged, bytes)?;
        if place.exists() {
            let old = place.with_file_name(old_name(&name));
            file::remove(&old)?;
            if let Some(entry) = self.files.last_mut() {
                entry.2 = Some(old.clone());
            }
            fs::hard_link(place, &old)
                .or_else(|_| fs::copy(place, &old).map(|_| ()))
                .map_err(Error::io(&old, "written"))?;
        }
        Ok(())
    }

    fn replace_next_file(&mut self) -> Result<()> {
        if let Some((staged, place, _)) = self.files.get(self.replaced) {
            file::rename(staged, place)?;
            self.replaced += 1;
        }
        Ok(())
    }

    /// Puts everything back. What cannot be put back now is put back by the next to open the store.
    fn undo(&mut self) {
        for (i, (staged, place, old)) in self.files.iter().enumerate() {
            let _ = match old {
                Some(old) if i < self.replaced => file::rename(old, place),
                None if i < self.replaced => file::remove(place),
                Some(old) => file::remove(old),
                None => Ok(()),
            };
            let _ = file::remove(staged);
        }
        if let Some((place, staged)) = &self.placed {
            let _ = file::rename(place, staged);
        }
        for (old, place) in &self.moved {
            let _ = file::rename(old, place);
        }
    }

    /// Removes what is no longer needed. What cannot be removed now is removed by the next to open the store.
    fn clear(&mut self) {
        for (old, _) in &self.moved {
            let _ = file::remove(old);
        }
        for (_, _, old) in &self.files {
            if let Some(old) = old {
                let _ = file::remove(old);
            }
        }
    }
}

/// The metadata file of the group `labels` with a complete list of its masks; `None` without the group.
pub(crate) fn labels_listing(
    root: &Root,
    format: ZarrFormat,
    overlay: &Overlay,
) -> Result<Option<(String, Vec<u8>)>> {
    if root.resolve("labels")?.is_none() {
        return Ok(None);
    }
    let mut names = root.folders("labels")?;
    names.retain(|name| !name.starts_with('.'));
    for (key, place) in &overlay.elements {
        if let Some(name) = key.strip_prefix("labels/") {
            names.retain(|n| n != name);
            if place.is_some() {
                names.push(name.to_owned());
            }
        }
    }
    names.sort_unstable();
    let key = match format {
        ZarrFormat::V3 => "labels/zarr.json",
        ZarrFormat::V2 => "labels/.zattrs",
    };
    let mut metadata = match root.read_metadata(key)? {
        Some(bytes) => crate::json::parse_object(key, &bytes)?,
        None if format == ZarrFormat::V2 => Map::new(),
        None => return Err(Error::missing(key, "the metadata of the group")),
    };
    match format {
        ZarrFormat::V2 => {
            metadata.insert("labels".to_owned(), json!(names));
        }
        ZarrFormat::V3 => {
            let ome = metadata
                .entry("attributes")
                .or_insert_with(|| json!({}))
                .as_object_mut()
                .map(|a| a.entry("ome").or_insert_with(|| json!({})));
            if let Some(Value::Object(ome)) = ome {
                ome.insert("labels".to_owned(), json!(names));
            }
        }
    }
    let text = format!("{:#}", Value::Object(metadata));
    Ok(Some((key.to_owned(), text.into_bytes())))
}

/// Clears away what a killed writer left, for a writer that holds the lock.
pub(crate) fn tidy(root: &Root, lock: &Lock) -> Result<()> {
    recover::tidy_locked(root, lock)
}

#[cfg(test)]
mod tests;
