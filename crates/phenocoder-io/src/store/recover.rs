//! What a killed writer leaves behind, and how a store is put in order again.

use std::collections::{BTreeMap, BTreeSet};

use super::atomic::{self, Lock};
use super::consolidated::{self, Overlay};
use super::element::ElementKind;
use super::listing::locked;
use crate::disk::{LeftOver, left_over, owner_of};
use crate::node::ZarrFormat;
use crate::path::child;
use crate::root::{Folder, Root};
use crate::{Error, Result};

/// Puts a store in order when a writer was killed; does nothing while one is at work or where nothing may be written.
pub(crate) fn tidy(root: &Root) -> Result<()> {
    let Some(folder) = root.folder() else {
        return Ok(());
    };
    // What others left stays where it is: nobody is to wait for that.
    let all = left_overs(root)?;
    if Whose::OfThisMachine.of(folder, &all).is_empty() {
        return Ok(());
    }
    match Lock::acquire(&folder.place("")) {
        Ok(lock) => match tidy_locked(root, &lock, Whose::OfThisMachine) {
            // Nothing of it is needed to read.
            Err(error) => {
                tracing::warn!(%error, "an interrupted write could not be cleared away");
                Ok(())
            }
            Ok(_) => Ok(()),
        },
        Err(Error::Locked { .. } | Error::Io { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Whose left-overs are cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those of processes of this machine that have ended: locks keep those that run out.
    /// What was set aside before the machine was started anew is among them.
    OfThisMachine,
    /// All, on request: nobody can see from here whether a process of another machine still writes.
    /// One that is seen to run is an error.
    All,
}

impl Whose {
    /// Those of some left-overs, by folder and name.
    fn of<'a>(self, store: &Folder, all: &[(&'a str, String)]) -> Vec<(&'a str, String)> {
        let includes = |folder: &str, name: &str| {
            let Some(owner) = owner_of(name) else {
                return self == Self::All;
            };
            // What cannot be looked at is left to repair.
            let was_here = || {
                let changed = store.place(folder).join(name).changed().ok().flatten();
                owner.is_of_earlier_boot(changed)
            };
            self == Self::All
                || (owner.is_here() && !owner.runs())
                || (matches!(left_over(name), Some(LeftOver::Old(_))) && was_here())
        };
        let all = all.iter().filter(|(folder, name)| includes(folder, name));
        all.cloned().collect()
    }
}

/// What was put in order, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Tidied {
    /// The keys of left-overs that are gone.
    pub(crate) removed: Vec<String>,
    pub(crate) problems: Vec<String>,
}

/// As [`tidy`], for a writer that holds the lock.
pub(crate) fn tidy_locked(root: &Root, lock: &Lock, whose: Whose) -> Result<Tidied> {
    let mut done = Tidied::default();
    // Where nobody can be kept out, what looks left over may be in somebody's hands.
    if whose == Whose::OfThisMachine && !lock.holds {
        return Ok(done);
    }
    let all = left_overs(root)?;
    let store = root.writable()?;
    let mut found = whose.of(store, &all);
    if found.is_empty() {
        return Ok(done);
    }
    if let Some((folder, name)) = found
        .iter()
        .find(|(_, name)| owner_of(name).is_some_and(|owner| owner.runs()))
    {
        return Err(locked(root, &child(folder, name)));
    }
    // Of several that were set aside in one place, nobody knows which belongs there.
    let mut set_aside: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (folder, entry) in &all {
        if let Some(LeftOver::Old(name)) = left_over(entry) {
            set_aside.entry((folder, name)).or_default().push(entry);
        }
    }
    let mut uncertain = BTreeSet::new();
    for ((folder, name), entries) in set_aside {
        if entries.len() > 1 && !store.place(folder).join(name).exists()? {
            done.problems.push(format!(
                "`{}` is not there, and several that were in its place are: rename the right one to \
                 `{name}` and remove the others ({})",
                child(folder, name),
                entries.join(", ")
            ));
            uncertain.extend(entries.into_iter().map(|entry| (folder, entry)));
        }
    }
    found.retain(|(folder, entry)| !uncertain.contains(&(*folder, entry.as_str())));
    if found.is_empty() {
        return Ok(done);
    }
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
        Err(error) if error.is_environment() => return Err(error),
        // A group that was broken before stays broken; the rest is put in order. Repair says it.
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
        .try_for_each(|folder| store.place(folder).sync_folder())?;
    let removed = found.iter().map(|(folder, name)| child(folder, name));
    done.removed.extend(removed);
    Ok(done)
}

/// The keys of left-overs of other machines, which stay until somebody asks for repair.
pub(crate) fn of_others(root: &Root) -> Result<Vec<String>> {
    if root.folder().is_none() {
        return Ok(Vec::new());
    }
    let mut found = left_overs(root)?;
    found.retain(|(_, name)| owner_of(name).is_some_and(|owner| !owner.is_here()));
    Ok(found
        .into_iter()
        .map(|(folder, name)| child(folder, &name))
        .collect())
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

#[cfg(test)]
mod tests;
