//! A copy of a whole store.

use std::io::Write;
use std::path::Path;

use phenocoder_core::Progress;

use crate::disk::Place;
use crate::path::child;
use crate::root::{Root, address_of};
use crate::{Error, OpenOptions, Result};

/// Copies a store to a place where there is nothing, whole or not at all.
///
/// # Errors
///
/// [`Error::Exists`] when something is there, [`Error::ReadOnly`] for an address, [`Error::InvalidPath`] for a link that
/// leads out of the store and for one to a folder within an element,
/// [`Error::Cancelled`], and [`Error::Io`].
pub fn copy_store(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    progress: &dyn Progress,
) -> Result<()> {
    if let Some(address) = address_of(to.as_ref()) {
        return Err(Error::ReadOnly {
            place: address.to_owned(),
        });
    }
    let to = Place::new(to.as_ref());
    to.must_be_free()?;
    let root = Root::open(from.as_ref(), OpenOptions::default())?;
    // A killed process of the same number may have left it.
    to.staged().remove()?;
    let result = to.replace_with(|staged| {
        copy_tree(&root, "", staged, progress)?;
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
            copy_file(root, &child(key, &entry.relative), &target)?;
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
    for entry in root.entries(folder)? {
        let key = child(folder, &entry.name);
        let relative = child(relative, &entry.name);
        let is_folder = entry.is_folder;
        // Elements may be links; links to folders within them could lead round in circles.
        if is_folder && entry.is_link && depth > 1 {
            return Err(Error::InvalidPath {
                key,
                path: "a link to a folder".to_owned(),
            });
        }
        items.push(Item {
            relative: relative.clone(),
            is_folder,
        });
        if is_folder {
            list(root, &key, &relative, depth + 1, items)?;
        }
    }
    Ok(())
}
