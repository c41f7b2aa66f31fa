//! Consolidated metadata: the metadata files of all nodes in one.
//!
//! Each node's file is copied as it stands, because readers compare or interpret it themselves,
//! and the keys are sorted, so that equal stores have equal bytes.

use serde_json::Value;
use std::collections::BTreeMap;

use super::listing;
use crate::json::{self, Members};
use crate::node::ZarrFormat;
use crate::path::{child, prefix};
use crate::root::Root;
use crate::{Error, Result};

/// Where the root's `zarr.json` has the metadata of all nodes.
pub(crate) const CONSOLIDATED: &str = "consolidated_metadata";

/// A store as it will be once staged folders and files are in place.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Elements that come from another folder of the store, or go.
    pub(crate) elements: BTreeMap<String, Option<String>>,
    /// Metadata files with new content.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// The files to write at the root of a store so that its consolidated metadata are right.
pub(crate) fn build(
    root: &Root,
    format: ZarrFormat,
    overlay: &Overlay,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut nodes = BTreeMap::new();
    collect(root, "", "", format, overlay, &mut nodes)?;
    for (key, bytes) in &overlay.files {
        if let Some(text) = valid(key, bytes) {
            nodes.insert(key.clone(), text);
        }
    }
    match format {
        ZarrFormat::V3 => {
            let bytes = match overlay.files.get("zarr.json") {
                Some(bytes) => bytes.clone(),
                None => root
                    .read_metadata("zarr.json")?
                    .ok_or_else(|| Error::missing("zarr.json", "the metadata of the store"))?,
            };
            let mut group = json::parse_members("zarr.json", &bytes)?;
            group.retain(|(name, _)| name != CONSOLIDATED);
            nodes.remove("zarr.json");
            // Sorted again: `a-b` comes before `a/zarr.json` but after `a`.
            let nodes = nodes
                .into_iter()
                .map(|(key, text)| (node_of(&key).to_owned(), text))
                .collect();
            let text = render_v3(&group, nodes);
            Ok(vec![("zarr.json".to_owned(), text.into_bytes())])
        }
        ZarrFormat::V2 => {
            let bytes = render_v2(nodes).into_bytes();
            let mut files = vec![(".zmetadata".to_owned(), bytes.clone())];
            // SpatialData up to 0.5 reads and writes it without the dot.
            if root.probe("zmetadata")?.is_some() {
                files.push(("zmetadata".to_owned(), bytes));
            }
            Ok(files)
        }
    }
}

/// The node that a file `zarr.json` describes.
pub(crate) fn node_of(key: &str) -> &str {
    key.strip_suffix("/zarr.json").unwrap_or(key)
}

/// The root's `zarr.json`: its own metadata, as they were written, and those of all nodes.
pub(crate) fn render_v3(group: &Members, nodes: BTreeMap<String, String>) -> String {
    let mut metadata =
        "{\"kind\": \"inline\", \"must_understand\": false, \"metadata\": {".to_owned();
    push_all(&mut metadata, nodes.into_iter());
    metadata.push_str("}}");
    let mut group = group.clone();
    group.push((CONSOLIDATED.to_owned(), metadata));
    json::object(&group)
}

/// The file `.zmetadata`.
pub(crate) fn render_v2(nodes: BTreeMap<String, String>) -> String {
    let mut text = "{\"metadata\": {".to_owned();
    push_all(&mut text, nodes.into_iter());
    text.push_str("}, \"zarr_consolidated_format\": 1}");
    text
}

/// The text of every metadata file, by its key.
#[cfg(feature = "object-store")]
pub(crate) fn nodes(root: &Root, format: ZarrFormat) -> Result<BTreeMap<String, String>> {
    let mut nodes = BTreeMap::new();
    collect(root, "", "", format, &Overlay::default(), &mut nodes)?;
    Ok(nodes)
}

fn push_all(text: &mut String, nodes: impl Iterator<Item = (String, String)>) {
    for (i, (key, node)) in nodes.enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push('\n');
        text.push_str(&Value::String(key).to_string());
        text.push_str(": ");
        text.push_str(&node);
    }
}

/// Gathers the metadata files of the node `key`, which lies in `folder`, and of the nodes in it.
///
/// Links are followed as far as elements; what they lead to outside of the store is left out, as nobody reads it.
fn collect(
    root: &Root,
    folder: &str,
    key: &str,
    format: ZarrFormat,
    overlay: &Overlay,
    nodes: &mut BTreeMap<String, String>,
) -> Result<()> {
    let names: &[&str] = match format {
        ZarrFormat::V3 => &["zarr.json"],
        ZarrFormat::V2 => &[".zarray", ".zgroup", ".zattrs"],
    };
    let mut is_array = false;
    let mut is_group = false;
    for &name in names {
        let text = match root.read_metadata(&child(folder, name)) {
            // A file that is not JSON would spoil the others.
            Ok(Some(bytes)) => valid(&child(key, name), &bytes),
            Ok(None) => None,
            Err(error) if error.is_environment() => return Err(error),
            Err(error) => {
                tracing::warn!(key, %error, "left out of the consolidated metadata");
                None
            }
        };
        let Some(text) = text else {
            continue;
        };
        is_array |= name == ".zarray" || (name == "zarr.json" && is_v3_array(&text));
        is_group |= name == ".zgroup" || (name == "zarr.json" && !is_v3_array(&text));
        nodes.insert(child(key, name), text);
    }
    if is_array || !is_group {
        return Ok(());
    }
    let (depth, limit) = (key.split('/').count() as u64, root.options.max_depth as u64);
    Error::check_size(key, "a depth of groups", depth, limit)?;
    let mut folders = BTreeMap::new();
    let names = root.list_folders(folder, !key.contains('/'))?;
    if key.is_empty() || key.contains('/') {
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            folders.insert(child(key, name), child(folder, name));
        }
    } else {
        // An element that somebody has set aside is still one.
        for (name, places) in listing::places(&names) {
            if let [place] = places[..] {
                folders.insert(child(key, name), child(folder, place));
            }
        }
    }
    let parent = prefix(key);
    for (element, place) in &overlay.elements {
        let within = element.strip_prefix(&parent);
        if !within.is_some_and(|rest| !rest.is_empty() && !rest.contains('/')) {
            continue;
        }
        match place {
            Some(place) => folders.insert(element.clone(), place.clone()),
            None => folders.remove(element),
        };
    }
    for (key, folder) in folders {
        collect(root, &folder, &key, format, overlay, nodes)?;
    }
    Ok(())
}

fn valid(key: &str, bytes: &[u8]) -> Option<String> {
    match json::parse_object(key, bytes) {
        Ok(_) => std::str::from_utf8(bytes).ok().map(|t| t.trim().to_owned()),
        Err(error) => {
            tracing::warn!(key, %error, "left out of the consolidated metadata");
            None
        }
    }
}

fn is_v3_array(text: &str) -> bool {
    serde_json::from_str::<Value>(text)
        .is_ok_and(|node| node.get("node_type").and_then(Value::as_str) == Some("array"))
}
