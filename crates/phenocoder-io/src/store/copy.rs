//! A copy of a whole store.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use phenocoder_core::Progress;

use super::atomic::Lock;
use super::listing::{self, LOCK, OLD_TABLES, locked};
use super::repair::is_partial;
use super::{ElementKind, Store};
use crate::disk::{LeftOver, Place, left_over};
use crate::path::child;
use crate::root::{Root, SourceEntry, address_of, without_secrets};
use crate::{Error, OpenOptions, Result};

/// Copies a store to a place of the file system where there is nothing, whole or not at all.
///
/// The source may be a folder, a zip file or, with the feature `object-store`, the address of a server that lists its
/// files. The elements that the store lists are copied with all that is below them, and the files beside them, in the
/// root and in the groups of elements; every byte stays as it is. Left out are other folders, elements that the
/// consolidated metadata of a server do not list, what interrupted writers left, and locks.
/// A folder is kept from being changed meanwhile. A server that somebody writes to before or meanwhile is an error; the
/// lock of a writer that did not renew it for a day is that of one who died.
///
/// # Errors
///
/// [`Error::Exists`] when something is there, [`Error::ReadOnly`] for an address, [`Error::Locked`] while somebody writes
/// to the source or has taken one element out of its place twice, [`Error::InvalidPath`] for a link that leads out of the
/// store and for one to a folder within an element, [`Error::Cancelled`], and those of [`Store::open`].
pub fn copy_store(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    progress: &dyn Progress,
) -> Result<()> {
    copy_store_with(from, to, OpenOptions::default(), progress)
}

/// As [`copy_store`], with the options that the source is opened with.
///
/// # Errors
///
/// As [`copy_store`].
pub fn copy_store_with(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    options: OpenOptions,
    progress: &dyn Progress,
) -> Result<()> {
    if let Some(address) = address_of(to.as_ref()) {
        return Err(Error::ReadOnly {
            place: without_secrets(address),
        });
    }
    let to = Place::new(to.as_ref());
    to.must_be_free()?;
    copy_opened(&Store::open_with(from, options)?, &to, progress)
}

pub(super) fn copy_opened(store: &Store, to: &Place, progress: &dyn Progress) -> Result<()> {
    let folder = store.root.folder();
    let _lock = folder
        .map(|folder| Lock::share(&folder.place("")))
        .transpose()?;
    #[cfg(feature = "object-store")]
    let rest = store.rest()?;
    // Nobody writes from here on, but somebody may have since the store was opened.
    #[cfg(feature = "object-store")]
    if let Some(remote) = store.root.remote() {
        remote.forget();
    }
    let result = to.create_with(|staged| {
        let mut items = Vec::new();
        list_store(&store.root, &mut items)?;
        copy_items(&store.root, &items, staged, progress)?;
        #[cfg(feature = "object-store")]
        store.must_rest_as(&rest)?;
        staged.sync_tree()
    });
    progress.finish();
    result
}

/// Lists what belongs to a store: the files of the root and of the groups of elements, and the elements.
fn list_store(root: &Root, items: &mut Vec<Item>) -> Result<()> {
    // Its elements would be missing.
    if let Some((_, error)) = listing::unlistable(root).into_iter().next() {
        return Err(error);
    }
    let is_group =
        |name: &str| name == OLD_TABLES || ElementKind::ALL.iter().any(|kind| kind.group() == name);
    for (entry, name) in named(root, "")? {
        if !entry.is_folder {
            items.push(Item::new("", &entry, "", &name));
        } else if is_group(&name) {
            items.push(Item::new("", &entry, "", &name));
            let files = named(root, &entry.name)?;
            let files = files.iter().filter(|(entry, _)| !entry.is_folder);
            items.extend(files.map(|(file, to)| Item::new(&entry.name, file, &name, to)));
        }
    }
    for element in &listing::list(root)? {
        listing::must_be_certain(root, element)?;
        let (group, _) = element.key.split_once('/').unwrap_or_default();
        let relative = child(group, &element.name);
        items.push(Item {
            key: element.key.clone(),
            relative: relative.clone(),
            is_folder: true,
        });
        list(root, &element.key, &relative, 2, items)?;
    }
    Ok(())
}

/// Copies a folder of a store with all it holds; nothing is read that lies outside of the store.
pub(crate) fn copy_tree(root: &Root, key: &str, to: &Place, progress: &dyn Progress) -> Result<()> {
    let mut items = Vec::new();
    list(root, key, "", 0, &mut items)?;
    copy_items(root, &items, to, progress)
}

fn copy_items(root: &Root, items: &[Item], to: &Place, progress: &dyn Progress) -> Result<()> {
    progress.start("copy store", Some(items.len() as u64));
    to.create_folder()?;
    for item in items {
        progress.check()?;
        let target = to.join(&item.relative);
        if item.is_folder {
            target.create_folder()?;
        } else {
            copy_file(root, &item.key, &target)?;
        }
        progress.advance(1);
    }
    Ok(())
}

fn copy_file(root: &Root, key: &str, to: &Place) -> Result<()> {
    let Some(file) = root.ranges(key)? else {
        return Err(Error::missing(key, "a file"));
    };
    let mut writer = to.create_file()?;
    let mut buffer = vec![0; file.size.min(1 << 20) as usize];
    let mut offset = 0;
    while offset < file.size {
        let len = (file.size - offset).min(buffer.len() as u64) as usize;
        let part = &mut buffer[..len];
        file.read_into(offset, part)?;
        writer
            .write_all(part)
            .map_err(Error::io(to.path(), "written"))?;
        offset += len as u64;
    }
    writer.finish()
}

/// A file or folder below the one that is copied.
struct Item {
    key: String,
    relative: String,
    is_folder: bool,
}

impl Item {
    /// An entry of a folder, which is called `name` in the copy of the folder.
    fn new(folder: &str, entry: &SourceEntry, relative: &str, name: &str) -> Self {
        Self {
            key: child(folder, &entry.name),
            relative: child(relative, name),
            is_folder: entry.is_folder,
        }
    }
}

/// Lists files and folders, each folder before what it holds.
fn list(
    root: &Root,
    folder: &str,
    relative: &str,
    depth: usize,
    items: &mut Vec<Item>,
) -> Result<()> {
    // More shows a link to a folder above.
    if depth > root.options.max_depth {
        return Err(Error::InvalidPath {
            key: folder.to_owned(),
            path: "folders nested too deeply".to_owned(),
        });
    }
    for (entry, name) in named(root, folder)? {
        let item = Item::new(folder, &entry, relative, &name);
        // Elements may be links; links to folders within them could lead round in circles.
        if entry.is_folder && entry.is_link && depth > 1 {
            return Err(Error::InvalidPath {
                key: item.key,
                path: "a link to a folder".to_owned(),
            });
        }
        let (key, relative) = (item.key.clone(), item.relative.clone());
        items.push(item);
        if entry.is_folder {
            list(root, &key, &relative, depth + 1, items)?;
        }
    }
    Ok(())
}

/// The entries of a folder that are no temporaries, with the names that they have or had.
fn named(root: &Root, folder: &str) -> Result<Vec<(SourceEntry, String)>> {
    let entries = root.entries(folder)?;
    let mut taken: BTreeSet<String> = entries.iter().map(|e| e.name.clone()).collect();
    let mut set_aside = BTreeSet::new();
    let mut found = Vec::new();
    for entry in entries {
        let is_lock = folder.is_empty() && entry.name == LOCK;
        if is_lock || is_partial(&entry.name) {
            continue;
        }
        let name = match left_over(&entry.name) {
            None => entry.name.clone(),
            Some(LeftOver::Old(name)) if set_aside.contains(name) => {
                return Err(locked(root, &child(folder, &entry.name)));
            }
            // Set aside by a writer that has not put another in its place.
            Some(LeftOver::Old(name)) if taken.insert(name.to_owned()) => {
                set_aside.insert(name.to_owned());
                name.to_owned()
            }
            Some(_) => continue,
        };
        found.push((entry, name));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
