//! A copy of a whole store.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use phenocoder_core::Progress;

use super::Store;
use super::atomic::Lock;
use super::listing::locked;
use crate::disk::{LeftOver, Place, left_over};
use crate::path::child;
use crate::root::{Root, address_of, without_secrets};
use crate::{Error, OpenOptions, Result};

/// Copies a store to a place of the file system where there is nothing, whole or not at all.
///
/// The source may be a folder, a zip file or, with the feature `object-store`, the address of a server that lists its
/// files. A folder is kept from being changed meanwhile; what interrupted writers left in it is not copied.
///
/// # Errors
///
/// [`Error::Exists`] when something is there, [`Error::ReadOnly`] for an address, [`Error::Locked`] while somebody writes
/// to the source or has taken one element out of its place twice, [`Error::InvalidPath`] for a link that leads out of the store and for one to a folder within an
/// element, [`Error::Cancelled`], and those of [`Store::open`].
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
    let store = Store::open_with(from, options)?;
    let root = &store.root;
    let folder = root.folder();
    let _lock = folder
        .map(|folder| Lock::share(&folder.place("")))
        .transpose()?;
    let result = to.create_with(|staged| {
        copy_tree(root, "", staged, progress)?;
        staged.sync_tree()
    });
    progress.finish();
    result
}

/// Copies a folder of a store with all it holds; nothing is read that lies outside of the store.
pub(crate) fn copy_tree(root: &Root, key: &str, to: &Place, progress: &dyn Progress) -> Result<()> {
    let mut entries = Vec::new();
    list(root, key, "", 0, &mut entries)?;
    progress.start("copy store", Some(entries.len() as u64));
    to.create_folder()?;
    for entry in &entries {
        progress.check()?;
        let target = to.join(&entry.relative);
        if entry.is_folder {
            target.create_folder()?;
        } else {
            copy_file(root, &entry.key, &target)?;
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
    let entries = root.entries(folder)?;
    let mut taken: BTreeSet<&str> = entries.iter().map(|e| e.name.as_str()).collect();
    let mut set_aside = BTreeSet::new();
    for entry in &entries {
        let name = match left_over(&entry.name) {
            None => entry.name.as_str(),
            Some(LeftOver::Old(name)) if set_aside.contains(name) => {
                return Err(locked(root, &child(folder, &entry.name)));
            }
            // An element set aside by a writer that has not put another in its place.
            Some(LeftOver::Old(name)) if taken.insert(name) => {
                set_aside.insert(name);
                name
            }
            Some(_) => continue,
        };
        let key = child(folder, &entry.name);
        let relative = child(relative, name);
        let is_folder = entry.is_folder;
        // Elements may be links; links to folders within them could lead round in circles.
        if is_folder && entry.is_link && depth > 1 {
            return Err(Error::InvalidPath {
                key,
                path: "a link to a folder".to_owned(),
            });
        }
        items.push(Item {
            key: key.clone(),
            relative: relative.clone(),
            is_folder,
        });
        if is_folder {
            list(root, &key, &relative, depth + 1, items)?;
        }
    }
    Ok(())
}
