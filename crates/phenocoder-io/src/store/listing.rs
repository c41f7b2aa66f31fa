//! What a store holds, found by listing its folders.
//!
//! Consolidated metadata can be stale and folders cannot, and listing a few folders costs less than parsing megabytes
//! of JSON.

use std::collections::BTreeMap;

use super::element::{Element, ElementKind};
use crate::disk::{LeftOver, left_over};
use crate::path::child;
use crate::root::Root;
use crate::{Error, Result};

/// The file on a server that says which writer has the store.
pub(super) const LOCK: &str = ".phenocoder-lock";

/// Where SpatialData before 0.1 kept its only table.
pub(super) const OLD_TABLES: &str = "table";

/// What that table is called.
pub(super) const OLD_TABLE: &str = "table";

/// The elements, by kind and then by name.
pub(crate) fn list(root: &Root) -> Result<Vec<Element>> {
    let mut elements = Vec::new();
    for kind in ElementKind::ALL {
        let group = kind.group();
        let folders = folders(root, group)?;
        let of_kind = places(&folders).into_iter().map(|(name, places)| Element {
            kind,
            name: name.to_owned(),
            key: child(group, places.first().copied().unwrap_or(name)),
        });
        elements.extend(of_kind);
    }
    // Tables written later do not hide the old one.
    if elements
        .iter()
        .any(|e| e.kind == ElementKind::Table && e.name == OLD_TABLE)
    {
        return Ok(elements);
    }
    let old = folders(root, OLD_TABLES)?;
    if let Some(place) = places(&old)
        .get(OLD_TABLE)
        .and_then(|places| places.first())
    {
        elements.push(Element {
            kind: ElementKind::Table,
            name: OLD_TABLE.to_owned(),
            key: child(OLD_TABLES, place),
        });
        elements.sort_unstable_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    }
    Ok(elements)
}

/// The folders of a group; none where it cannot be listed, so that the rest of the store is read (see [`unlistable`]).
fn folders(root: &Root, group: &str) -> Result<Vec<String>> {
    match root.folders(group) {
        Err(error) if !error.is_environment() => {
            tracing::warn!(group, %error, "a group cannot be listed");
            Ok(Vec::new())
        }
        folders => folders,
    }
}

/// The elements of a group by their names, with the folders in which they lie.
///
/// That is the name itself, or hidden names of what was set aside by writers that cannot be helped: the store is
/// read-only, or they are still at work. Of several such, nobody knows which is the element.
pub(crate) fn places(folders: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let is_visible = |name: &str| !name.is_empty() && !name.starts_with('.');
    let visible = folders.iter().filter(|name| is_visible(name));
    let mut places: BTreeMap<&str, Vec<&str>> = visible
        .map(|name| (name.as_str(), vec![name.as_str()]))
        .collect();
    for folder in folders {
        if let Some(LeftOver::Old(name)) = left_over(folder)
            && is_visible(name)
        {
            let places = places.entry(name).or_default();
            if places.first() != Some(&name) {
                places.push(folder);
            }
        }
    }
    places
}

/// An error when an element was set aside more than once, so that nobody knows which is the element.
pub(crate) fn must_be_certain(root: &Root, element: &Element) -> Result<()> {
    // One in its place needs no look.
    if !element.key.contains("/.") {
        return Ok(());
    }
    let folders = root.folders(group_of(element))?;
    let places = places(&folders);
    match places.get(element.name.as_str()) {
        Some(places) if places.len() > 1 => Err(locked(root, &element.key)),
        _ => Ok(()),
    }
}

/// The group in which an element lies.
pub(crate) fn group_of(element: &Element) -> &'static str {
    let group = element.key.split('/').next();
    if element.kind == ElementKind::Table && group == Some(OLD_TABLES) {
        OLD_TABLES
    } else {
        element.kind.group()
    }
}

/// Whether there is a table of SpatialData before 0.1, be it in its place or taken out of it; it is seen only where no table
/// in `tables/` has its name.
pub(super) fn has_old_table(root: &Root) -> Result<bool> {
    Ok(places(&folders(root, OLD_TABLES)?).contains_key(OLD_TABLE))
}

/// The groups that cannot be listed, such as a link that leads out of the store.
pub(crate) fn unlistable(root: &Root) -> Vec<(&'static str, Error)> {
    // Elsewhere there are no links, and servers count what they are asked.
    if root.folder().is_none() {
        return Vec::new();
    }
    let groups = ElementKind::ALL.into_iter().map(ElementKind::group);
    groups
        .chain([OLD_TABLES])
        .filter_map(|group| Some((group, root.folders(group).err()?)))
        .collect()
}

/// The error for what somebody has in his hands.
pub(crate) fn locked(root: &Root, key: &str) -> Error {
    let path = match root.folder() {
        Some(folder) => folder.place(key).path().to_owned(),
        None => std::path::Path::new(&root.address()).join(key),
    };
    Error::Locked { path }
}
