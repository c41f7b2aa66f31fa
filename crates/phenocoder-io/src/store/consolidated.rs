//! Consolidated metadata: the metadata files of all nodes in one.
//!
//! Each node's file is copied as it stands, because readers compare or interpret it themselves, and the keys are sorted, so that
//! equal stores have equal bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::node::ZarrFormat;
use crate::path::child;
use crate::{Error, Result, json};

/// A store as it will be once staged folders and files are in place.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    /// Elements that come from another folder, or go.
    pub(crate) elements: BTreeMap<String, Option<PathBuf>>,
    /// Metadata files with new content.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// The files to write at the root of a store so that its consolidated metadata are right.
pub(crate) fn build(
    root: &Path,
    format: ZarrFormat,
    overlay: &Overlay,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut nodes = BTreeMap::new();
    collect(root, "", format, overlay, &mut nodes)?;
    for (key, bytes) in &overlay.files {
        if let Some(text) = valid(key, bytes) {
            nodes.insert(key.clone(), text);
        }
    }
    match format {
        ZarrFormat::V3 => {
            let path = root.join("zarr.json");
            let bytes = fs::read(&path).map_err(Error::io(&path, "read"))?;
            let mut group = json::parse_object("zarr.json", &bytes)?;
            group.remove("consolidated_metadata");
            nodes.remove("zarr.json");
            // Sorted again: `a-b` comes before `a/zarr.json` but after `a`.
            let nodes: BTreeMap<String, String> = nodes
                .into_iter()
                .map(|(key, text)| (key.trim_end_matches("/zarr.json").to_owned(), text))
                .collect();
            let mut text = open_object(&group);
            text.push_str(
                "\"consolidated_metadata\": {\"kind\": \"inline\", \"must_understand\": false, \
                 \"metadata\": {",
            );
            push_all(&mut text, nodes.into_iter());
            text.push_str("}}}");
            Ok(vec![("zarr.json".to_owned(), text.into_bytes())])
        }
        ZarrFormat::V2 => {
            let mut text = "{\"metadata\": {".to_owned();
            push_all(&mut text, nodes.into_iter());
            text.push_str("}, \"zarr_consolidated_format\": 1}");
            let bytes = text.into_bytes();
            let mut files = vec![(".zmetadata".to_owned(), bytes.clone())];
            // SpatialData up to 0.5 reads and writes it without the dot.
            if root.join("zmetadata").exists() {
                files.push(("zmetadata".to_owned(), bytes));
            }
            Ok(files)
        }
    }
}

/// An object without its closing brace, ready for another key.
fn open_object(object: &Map<String, Value>) -> String {
    let mut text = "{".to_owned();
    for (key, value) in object {
        text.push_str(&Value::String(key.clone()).to_string());
        text.push_str(": ");
        text.push_str(&value.to_string());
        text.push_str(", ");
    }
    text
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

/// Gathers the metadata files of a folder and of the groups in it.
fn collect(
    folder: &Path,
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
        let path = folder.join(name);
        let Ok(bytes) = fs::read(&path) else {
            continue;
        };
        // A file that is not JSON would spoil the others.
        let Some(text) = valid(&child(key, name), &bytes) else {
            continue;
        };
        is_array |= name == ".zarray" || (name == "zarr.json" && is_v3_array(&text));
        is_group |= name == ".zgroup" || (name == "zarr.json" && !is_v3_array(&text));
        nodes.insert(child(key, name), text);
    }
    if is_array || !is_group {
        return Ok(());
    }
    let mut folders = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder, "listed"))? {
        let entry = entry.map_err(Error::io(folder, "listed"))?;
        let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if let (true, Ok(name)) = (is_folder, entry.file_name().into_string())
            && !name.starts_with('.')
        {
            folders.insert(child(key, &name), entry.path());
        }
    }
    let parent = if key.is_empty() {
        String::new()
    } else {
        format!("{key}/")
    };
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
        collect(&folder, &key, format, overlay, nodes)?;
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
