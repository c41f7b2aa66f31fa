//! What a killed writer leaves behind, and how a store is put in order again.

use std::collections::BTreeSet;

use super::atomic::{self, Lock};
use super::consolidated::{self, Overlay};
use super::element::ElementKind;
use crate::disk::{LeftOver, left_over};
use crate::node::ZarrFormat;
use crate::root::Root;
use crate::{Error, Result};

/// Puts a store in order when a writer was killed; does nothing while one is at work or where nothing may be written.
pub(crate) fn tidy(root: &Root) -> Result<()> {
    let Some(folder) = root.folder() else {
        return Ok(());
    };
    if left_overs(root)?.is_empty() {
        return Ok(());
    }
    match Lock::acquire(&folder.place("")) {
        // Where nobody can be kept out, what looks left over may be in somebody's hands.
        Ok(lock) if !lock.holds => Ok(()),
        Ok(lock) => match tidy_locked(root, &lock) {
            Err(error @ Error::Io { .. }) => {
                tracing::warn!(%error, "an interrupted write could not be cleared away");
                Ok(())
            }
            other => other,
        },
        Err(Error::Locked { .. } | Error::Io { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

/// As [`tidy`], for a writer that holds the lock.
pub(crate) fn tidy_locked(root: &Root, _lock: &Lock) -> Result<()> {
    let found = left_overs(root)?;
    if found.is_empty() {
        return Ok(());
    }
    let store = root.writable()?;
    // Old elements whose place is empty go back first; then nothing that is left is needed.
    for (folder, entry) in &found {
        let folder = store.place(folder);
        if let Some(LeftOver::Old(name)) = left_over(entry)
            && !folder.join(name).exists()?
        {
            folder.join(entry).rename(&folder.join(name))?;
        }
    }
    let format = if store.place("zarr.json").exists()? {
        ZarrFormat::V3
    } else {
        ZarrFormat::V2
    };
    match atomic::labels_listing(root, format, &Overlay::default()) {
        Ok(Some((key, bytes))) => store.place(&key).replace(&bytes)?,
        Ok(None) => {}
        Err(error @ Error::Io { .. }) => return Err(error),
        // A group that was broken before stays broken; the rest is put in order.
        Err(error) => tracing::warn!(%error, "the list of masks could not be written"),
    }
    for (key, bytes) in consolidated::build(root, format, &Overlay::default())? {
        store.place(&key).replace(&bytes)?;
    }
    for (folder, entry) in &found {
        store.place(folder).join(entry).remove()?;
    }
    let folders: BTreeSet<&str> = found.iter().map(|(folder, _)| *folder).collect();
    folders
        .into_iter()
        .try_for_each(|folder| store.place(folder).sync_folder())
}

/// Folders and names of everything that a writer left behind.
pub(crate) fn left_overs(root: &Root) -> Result<Vec<(&'static str, String)>> {
    // `table` is where SpatialData before 0.1 kept its only table.
    let groups = ElementKind::ALL.into_iter().map(ElementKind::group);
    let mut found = Vec::new();
    for folder in [""].into_iter().chain(groups).chain(["table"]) {
        // A group that cannot be listed, such as a link that leads out of the store, is nothing that we wrote.
        let entries = match root.entries(folder) {
            Ok(entries) => entries,
            Err(error) if folder.is_empty() => return Err(error),
            Err(_) => continue,
        };
        let names = entries.into_iter().map(|e| e.name);
        found.extend(
            names
                .filter(|n| left_over(n).is_some())
                .map(|n| (folder, n)),
        );
    }
    Ok(found)
}
