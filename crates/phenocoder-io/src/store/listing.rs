//! What a store holds, found by listing its folders.
//!
//! Consolidated metadata can be stale and folders cannot, and listing a few folders costs less than parsing megabytes
//! of JSON.

use super::element::{Element, ElementKind};
use crate::Result;
use crate::disk::{LeftOver, left_over};
use crate::root::Root;

/// The elements, by kind and then by name.
pub(crate) fn list(root: &Root) -> Result<Vec<Element>> {
    let mut elements = Vec::new();
    for kind in ElementKind::ALL {
        let group = kind.group();
        let folders = root.folders(group)?;
        let mut of_kind: Vec<Element> = folders
            .iter()
            .filter(|name| !name.starts_with('.'))
            .map(|name| Element {
                kind,
                name: name.clone(),
                key: format!("{group}/{name}"),
            })
            .collect();
        // A table set aside by a writer that cannot be helped: the store is read-only, or the writer is still at work.
        for folder in &folders {
            if let Some(LeftOver::Old(name)) = left_over(folder)
                && !folders.iter().any(|f| f == name)
            {
                of_kind.push(Element {
                    kind,
                    name: name.to_owned(),
                    key: format!("{group}/{folder}"),
                });
            }
        }
        of_kind.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        of_kind.dedup_by(|a, b| a.name == b.name);
        elements.append(&mut of_kind);
    }
    // SpatialData before 0.1 kept its only table here; tables written later do not hide it.
    if !elements
        .iter()
        .any(|e| e.kind == ElementKind::Table && e.name == "table")
        && root.folders("table")?.iter().any(|name| name == "table")
    {
        elements.push(Element {
            kind: ElementKind::Table,
            name: "table".to_owned(),
            key: "table/table".to_owned(),
        });
        elements.sort_unstable_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    }
    Ok(elements)
}
