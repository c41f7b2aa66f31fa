//! Changes of a store that happen whole or not at all.
//!
//! A new element is written to a hidden folder beside its place and waited for until it is on the disk.
//! Then the old element is moved aside, the new one into its place, and the metadata files that mention it are
//! replaced.
//! Whatever fails before the end is undone; whatever kills the program leaves hidden names by which the next to open
//! the store recognizes what happened.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};

use serde_json::{Map, Value, json};

use super::consolidated::{self, Overlay};
use super::listing;
use super::recover::{self, Whose};
use crate::disk::Place;
use crate::node::{Node, ZarrFormat, write_group};
use crate::path::child;
use crate::root::Root;
use crate::{Error, Result, json};

/// The right to change a store, for one handle of one process at a time.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// Whether others are kept out: not every file system knows locks.
    pub(crate) holds: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread is about to start holds the file open for a moment.
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Takes the right, or says that somebody else has it.
    pub(crate) fn acquire(root: &Place) -> Result<Self> {
        Self::acquire_with(root, File::try_lock)
    }

    /// Keeps others from changing the store, or says that somebody does.
    pub(crate) fn share(root: &Place) -> Result<Self> {
        Self::acquire_with(root, File::try_lock_shared)
    }

    fn acquire_with(
        root: &Place,
        lock: impl Fn(&File) -> std::result::Result<(), TryLockError>,
    ) -> Result<Self> {
        // A folder can be locked itself where it can be opened; elsewhere its metadata file is.
        let place = if cfg!(unix) {
            root.clone()
        } else {
            let v3 = root.join("zarr.json");
            if v3.exists()? {
                v3
            } else {
                root.join(".zgroup")
            }
        };
        let place = place.path();
        let file = root.disk().open(place);
        let file = file.map_err(Error::io(place, "locked"))?;
        match lock(&file) {
            Ok(()) => Ok(Self { file, holds: true }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked {
                path: root.path().to_owned(),
            }),
            // A file system without locks: the renames are atomic all the same.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Self { file, holds: false })
            }
            Err(TryLockError::Error(error)) => Err(Error::io(place, "locked")(error)),
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

impl Change<'_> {
    /// Writes the element with `write` and puts it in its place.
    pub(crate) fn put(&self, _lock: &Lock, write: impl FnOnce(&Place) -> Result<()>) -> Result<()> {
        let folder = self.root.writable()?;
        let group = folder.place(self.group);
        let is_new = self.make_group(&group)?;
        let place = group.join(self.name);
        let staged = place.staged();
        let result = (|| {
            staged.create_folder()?;
            write(&staged)?;
            staged.sync_tree()?;
            self.swap(&[Move {
                element: self.name,
                from: Some(staged.name()),
            }])
        })();
        if result.is_err() {
            // The first error says why.
            let _ = staged.remove();
            if is_new {
                remove_empty_group(&group);
            }
        }
        result
    }

    /// Creates the group of the element where there is none, whole; whether it did.
    fn make_group(&self, group: &Place) -> Result<bool> {
        // A link that leads out of the store is an error.
        if Node::find(self.root, self.group, self.format)?.is_some() {
            return Ok(false);
        }
        let is_new = !group.exists()?;
        let staged = group.staged();
        let made = write_group(&staged, self.format, Map::new()).and_then(|()| {
            if is_new {
                staged.sync_folder()?;
                return staged.publish(group);
            }
            // A folder without metadata, as a killed writer of another program leaves it.
            for entry in staged.list()? {
                staged.join(&entry.name).publish(&group.join(&entry.name))?;
            }
            staged.remove()
        });
        if made.is_err() {
            // The first error says why.
            let _ = staged.remove();
            if is_new {
                remove_empty_group(group);
            }
        }
        made.map(|()| is_new)
    }

    /// Removes the element.
    pub(crate) fn remove(&self, _lock: &Lock) -> Result<()> {
        self.swap(&[Move {
            element: self.name,
            from: None,
        }])
    }

    /// Gives the element another name, which must be free.
    pub(crate) fn rename(&self, _lock: &Lock, to: &str) -> Result<()> {
        self.swap(&[
            Move {
                element: to,
                from: Some(self.name.to_owned()),
            },
            Move {
                element: self.name,
                from: None,
            },
        ])
    }

    fn swap(&self, moves: &[Move<'_>]) -> Result<()> {
        let mut swap = Swap::default();
        match self.try_swap(moves, &mut swap) {
            Ok(()) => {
                // The change is on the disk: nothing that fails from here on may be taken for a failure of it.
                swap.clear();
                let _ = self.root.writable()?.place(self.group).sync_folder();
                Ok(())
            }
            Err(error) => {
                swap.undo();
                Err(error)
            }
        }
    }

    fn try_swap(&self, moves: &[Move<'_>], swap: &mut Swap) -> Result<()> {
        let folder = self.root.writable()?;
        let root = folder.place("");
        let group = folder.place(self.group);
        let mut overlay = Overlay::default();
        for Move { element, from } in moves {
            let from = from.as_ref().map(|name| child(self.group, name));
            overlay.elements.insert(child(self.group, element), from);
        }
        if self.group == "labels"
            && let Some((key, bytes)) = labels_listing(self.root, self.format, &overlay)?
        {
            overlay.files.insert(key, bytes);
        }
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        files.extend(overlay.files.clone());
        files.extend(consolidated::build(self.root, self.format, &overlay)?);
        for (key, bytes) in &files {
            swap.stage_file(&folder.place(key), bytes)?;
        }
        root.sync_folder()?;
        for Move { element, from } in moves {
            let place = group.join(element);
            // Where case is not told apart, the new name leads to the element itself, and so does the old one later.
            let is_itself = from
                .as_ref()
                .is_some_and(|from| is_same_but_case(from, element));
            let has_gone = moves.iter().any(|m| m.from.as_deref() == Some(*element));
            if !is_itself && !has_gone && place.exists()? {
                let old = place.set_aside();
                place.rename(&old)?;
                swap.moved.push((old.clone(), place.clone()));
                swap.unwanted.push(old);
                group.sync_folder()?;
            }
            if let Some(from) = from {
                let from = group.join(from);
                from.rename(&place)?;
                swap.moved.push((place, from));
                group.sync_folder()?;
            }
        }
        for _ in &files {
            swap.replace_next_file()?;
        }
        root.sync_folder()?;
        for Move { element, from } in moves {
            let place = group.join(element);
            let old = place.set_aside();
            if from.is_none() && old.exists()? {
                // An old element whose place is empty would be put back by the next to open the store.
                let unwanted = place.staged();
                old.rename(&unwanted)?;
                swap.moved.push((unwanted.clone(), old));
                swap.unwanted.push(unwanted);
                group.sync_folder()?;
            }
        }
        Ok(())
    }
}

/// Replaces the metadata file of the root group.
pub(crate) fn replace_root(
    root: &Root,
    format: ZarrFormat,
    _lock: &Lock,
    key: &str,
    bytes: Vec<u8>,
) -> Result<()> {
    let folder = root.writable()?;
    let mut overlay = Overlay::default();
    overlay.files.insert(key.to_owned(), bytes);
    let mut files = consolidated::build(root, format, &overlay)?;
    // In Zarr v3 the consolidated metadata are part of this file.
    files.extend(
        overlay
            .files
            .into_iter()
            .filter(|(key, _)| key != "zarr.json"),
    );
    let mut swap = Swap::default();
    let result = (|| {
        for (key, bytes) in &files {
            swap.stage_file(&folder.place(key), bytes)?;
        }
        folder.place("").sync_folder()?;
        for _ in &files {
            swap.replace_next_file()?;
        }
        folder.place("").sync_folder()
    })();
    match result {
        Ok(()) => swap.clear(),
        Err(_) => swap.undo(),
    }
    result
}

/// Takes a group back that was made a moment ago, unless somebody has put something into it.
fn remove_empty_group(group: &Place) {
    let is_ours = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        matches!(name.as_ref(), "zarr.json" | ".zgroup" | ".zattrs")
    };
    if group
        .list()
        .is_ok_and(|entries| entries.iter().all(|e| is_ours(&e.name)))
    {
        let _ = group.remove();
    }
}

/// Whether two different names are one where case is not told apart.
pub(crate) fn is_same_but_case(a: &str, b: &str) -> bool {
    a != b && a.to_lowercase() == b.to_lowercase()
}

/// An element that comes from another name, or goes.
#[derive(Debug)]
struct Move<'a> {
    element: &'a str,
    from: Option<String>,
}

/// What has been renamed so far, to be undone.
#[derive(Debug, Default)]
struct Swap {
    /// Staged metadata file, its place, and a copy of what was there.
    files: Vec<(Place, Place, Option<Place>)>,
    replaced: usize,
    /// Where an element is now, where it was.
    moved: Vec<(Place, Place)>,
    /// Elements that are no longer needed.
    unwanted: Vec<Place>,
}

impl Swap {
    fn stage_file(&mut self, place: &Place, bytes: &[u8]) -> Result<()> {
        let staged = place.staged();
        let old = place.exists()?.then(|| place.set_aside());
        self.files
            .push((staged.clone(), place.clone(), old.clone()));
        staged.write(bytes)?;
        if let Some(old) = old {
            old.remove()?;
            place.link(&old)?;
        }
        Ok(())
    }

    fn replace_next_file(&mut self) -> Result<()> {
        if let Some((staged, place, _)) = self.files.get(self.replaced) {
            staged.rename(place)?;
            self.replaced += 1;
        }
        Ok(())
    }

    /// Puts everything back, as far as it can be.
    ///
    /// Elements go back before metadata files do. Where one cannot, for want of room or because the disk is gone, the
    /// hidden files stay: by them the next to open the store writes the metadata anew, for the elements that it finds.
    fn undo(&mut self) {
        if self.remove_new_files().is_err() || self.move_back().is_err() {
            return;
        }
        for (i, (staged, place, old)) in self.files.iter().enumerate() {
            let _ = match old {
                Some(old) if i < self.replaced => old.rename(place),
                Some(old) => old.remove(),
                None => Ok(()),
            };
            let _ = staged.remove();
        }
    }

    /// Removes metadata files in whose place nothing was: no hidden file would tell of them.
    fn remove_new_files(&self) -> Result<()> {
        let replaced = self.files.iter().take(self.replaced);
        let new = replaced.filter(|(_, _, old)| old.is_none());
        new.map(|(_, place, _)| place).try_for_each(Place::remove)
    }

    fn move_back(&self) -> Result<()> {
        let mut moved = self.moved.iter().rev();
        moved.try_for_each(|(now, before)| now.rename(before))
    }

    /// Removes what is no longer needed. What cannot be removed now is removed by the next to open the store.
    fn clear(&mut self) {
        for old in &self.unwanted {
            let _ = old.remove();
        }
        for (_, _, old) in &self.files {
            if let Some(old) = old {
                let _ = old.remove();
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
    if root.writable()?.resolve("labels")?.is_none() {
        return Ok(None);
    }
    let folders = root.folders("labels")?;
    let mut names: BTreeSet<&str> = listing::places(&folders).into_keys().collect();
    for (key, place) in &overlay.elements {
        if let Some(name) = key.strip_prefix("labels/") {
            if place.is_some() {
                names.insert(name);
            } else {
                names.remove(name);
            }
        }
    }
    let names = names.into_iter().map(str::to_owned).collect();
    let key = match format {
        ZarrFormat::V3 => "labels/zarr.json",
        ZarrFormat::V2 => "labels/.zattrs",
    };
    let metadata = match root.read_metadata(key)? {
        Some(bytes) => bytes,
        None if format == ZarrFormat::V2 => b"{}".to_vec(),
        None => return Err(Error::missing(key, "the metadata of the group")),
    };
    let text = list_labels(key, &metadata, format, names)?;
    Ok(Some((key.to_owned(), text.into_bytes())))
}

/// The metadata of the group `labels` with these names.
pub(crate) fn list_labels(
    key: &str,
    old: &[u8],
    format: ZarrFormat,
    names: Vec<String>,
) -> Result<String> {
    let mut metadata = json::parse_object(key, old)?;
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
    let old = String::from_utf8_lossy(old);
    Ok(json::render_onto(&old, &Value::Object(metadata)))
}

/// Clears away what a killed writer left, for a writer that holds the lock.
pub(crate) fn tidy(root: &Root, lock: &Lock) -> Result<()> {
    recover::tidy_locked(root, lock, Whose::OfThisMachine).map(|_| ())
}

#[cfg(test)]
mod tests;
