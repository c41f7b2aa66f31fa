//! What a killed writer leaves behind, and how a store is put in order again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::atomic::{self, Lock};
use super::consolidated::{self, Overlay};
use super::element::ElementKind;
use crate::node::ZarrFormat;
use crate::root::Root;
use crate::{Error, Result, file};

/// The mark of a folder or file that is not yet, or no longer, part of the store.
const NEW: &str = ".phenocoder-new-";
const OLD: &str = ".phenocoder-old-";

/// Something that a writer had in its hands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LeftOver<'a> {
    /// What was to replace, or become, the thing of this name.
    New(&'a str),
    /// What the thing of this name was before.
    Old(&'a str),
}

/// Recognizes the name of a left-over.
pub(crate) fn parse(name: &str) -> Option<LeftOver<'_>> {
    let hidden = name.strip_prefix('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((name, process)) = hidden.rsplit_once(NEW) {
        return is_number(process).then_some(LeftOver::New(name));
    }
    let (name, process) = hidden.rsplit_once(OLD)?;
    is_number(process).then_some(LeftOver::Old(name))
}

/// The hidden name of something that will be called `name`.
pub(crate) fn new_name(name: &str) -> String {
    format!(".{name}{NEW}{}", std::process::id())
}

/// The hidden name of something that was called `name`.
pub(crate) fn old_name(name: &str) -> String {
    format!(".{name}{OLD}{}", std::process::id())
}

/// Puts a store in order when a writer was killed; does nothing while one is at work or where nothing may be written.
pub(crate) fn tidy(root: &Root) -> Result<()> {
    if left_overs(root.path()).is_empty() {
        return Ok(());
    }
    match Lock::acquire(root.path()) {
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
    let found = left_overs(root.path());
    if found.is_empty() {
        return Ok(());
    }
    // Old elements whose place is empty go back first; then nothing that is left is needed.
    for (folder, entry) in &found {
        if let Some(LeftOver::Old(name)) = parse(entry)
            && !folder.join(name).exists()
        {
            file::rename(&folder.join(entry), &folder.join(name))?;
        }
    }
    let format = if root.place("zarr.json").exists() {
        ZarrFormat::V3
    } else {
        ZarrFormat::V2
    };
    if let Some((key, bytes)) = atomic::labels_listing(root, format, &Overlay::default())? {
        file::replace(&root.place(&key), &bytes)?;
    }
    for (key, bytes) in consolidated::build(root, format, &Overlay::default())? {
        file::replace(&root.place(&key), &bytes)?;
    }
    for (folder, entry) in &found {
        file::remove(&folder.join(entry))?;
    }
    let folders: BTreeSet<&Path> = found.iter().map(|(folder, _)| folder.as_path()).collect();
    folders.into_iter().try_for_each(file::sync_folder)
}

/// Folders and names of everything that a writer left behind.
fn left_overs(root: &Path) -> Vec<(std::path::PathBuf, String)> {
    // `table` is where SpatialData before 0.1 kept its only table.
    let groups = ElementKind::ALL
        .into_iter()
        .map(ElementKind::group)
        .chain(["table"])
        .map(|group| root.join(group));
    let mut found = Vec::new();
    for folder in std::iter::once(root.to_owned()).chain(groups) {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            if let Ok(name) = entry.file_name().into_string()
                && parse(&name).is_some()
            {
                found.push((folder.clone(), name));
            }
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_left_overs_are_recognized() {
        assert_eq!(parse(&new_name("a.b")), Some(LeftOver::New("a.b")));
        assert_eq!(
            parse(&old_name("zarr.json")),
            Some(LeftOver::Old("zarr.json"))
        );
        for other in [
            ".zgroup",
            ".x.tmp-1",
            ".x.phenocoder-new-",
            ".x.phenocoder-old-1a",
            "x",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
