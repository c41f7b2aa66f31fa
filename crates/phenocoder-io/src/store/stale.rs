//! Consolidated metadata beside what they should say.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Store;
use super::consolidated::{self, Overlay};
use crate::error::listing as listing_of;
use crate::node::{Node, ZarrFormat};
use crate::path::{child, is_component};
use crate::{Error, Result, Violation, json};

/// The metadata of nodes by their keys.
type Nodes = BTreeMap<String, Value>;

impl Store {
    /// What the consolidated metadata, where there are some, say that is not so; one finding for each element.
    pub(crate) fn stale_metadata(&self) -> Result<Vec<Violation>> {
        let Some((file, stored)) = self.stored_consolidated()? else {
            return Ok(Vec::new());
        };
        let mut found: BTreeMap<String, Violation> = BTreeMap::new();
        let built = consolidated::build(&self.root, self.format, &Overlay::default())?;
        let mut right = Nodes::new();
        for (file, bytes) in &built {
            let object = json::parse_object(file, bytes)?;
            right.extend(nodes(self.format, object).unwrap_or_default());
        }
        for (key, node) in &stored {
            if !key.split('/').all(is_component) {
                let path = key.clone();
                let error = Error::InvalidPath {
                    key: file.to_owned(),
                    path,
                };
                found
                    .entry(file.to_owned())
                    .or_insert_with(|| Violation::warning(file, error.to_string()));
                continue;
            }
            let element = Self::owner(key);
            let problem = match right.get(key) {
                Some(right) if right == node => continue,
                Some(_) => {
                    format!("`{file}` holds other metadata of `{key}` than are stored there")
                }
                None => format!("`{file}` lists `{key}`, which is not there"),
            };
            // Readers that trust the list fail to open an element that is gone; nodes within one do not hurt.
            let is_gone = element.contains('/')
                && self
                    .elements
                    .iter()
                    .all(|e| e.key != element && child(e.kind.group(), &e.name) != element);
            found.entry(element.clone()).or_insert_with(|| {
                let violation = Violation::warning(&element, problem);
                Violation {
                    is_warning: !is_gone,
                    ..violation
                }
            });
        }
        for key in right.keys().filter(|key| !stored.contains_key(*key)) {
            let element = Self::owner(key);
            // An empty group is nothing that anybody misses.
            if !element.contains('/') {
                continue;
            }
            let problem = format!("`{file}` does not list `{key}`");
            found
                .entry(element.clone())
                .or_insert_with(|| Violation::warning(&element, problem));
        }
        Ok(found.into_values().collect())
    }

    /// What the list of masks, which other readers of OME-Zarr need, says that is not so.
    pub(crate) fn unlisted_labels(&self) -> Result<Option<String>> {
        let Some(node) = Node::find(&self.root, "labels", self.format)? else {
            return Ok(None);
        };
        let listing = match self.format {
            ZarrFormat::V3 => node.attributes.get("ome").and_then(|ome| ome.get("labels")),
            ZarrFormat::V2 => node.attributes.get("labels"),
        };
        let mut listed: Vec<&str> = listing
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        listed.sort_unstable();
        let stored = self.label_names();
        Ok((listed != stored).then(|| {
            let (listed, stored) = (listing_of(listed), listing_of(stored));
            format!("the group lists {listed}; there are: {stored}")
        }))
    }

    /// The consolidated metadata as they are stored, with the file that holds them.
    fn stored_consolidated(&self) -> Result<Option<(&'static str, Nodes)>> {
        let files: &[&'static str] = match self.format {
            ZarrFormat::V3 => &["zarr.json"],
            ZarrFormat::V2 => &[".zmetadata", "zmetadata"],
        };
        for &file in files {
            if let Some(bytes) = self.root.read_metadata(file)?
                && let Some(nodes) = nodes(self.format, json::parse_object(file, &bytes)?)
            {
                return Ok(Some((file, nodes)));
            }
        }
        Ok(None)
    }

    /// The element that a node belongs to, or the node.
    fn owner(key: &str) -> String {
        let mut parts = key.splitn(3, '/');
        match (parts.next(), parts.next()) {
            (Some(group), Some(name)) if !name.starts_with(".z") => format!("{group}/{name}"),
            (Some(group), _) => group.to_owned(),
            _ => key.to_owned(),
        }
    }
}

/// The nodes that consolidated metadata list, with what is optional in them filled in.
fn nodes(format: ZarrFormat, mut object: Map<String, Value>) -> Option<Nodes> {
    let metadata = match format {
        ZarrFormat::V3 => object
            .get_mut("consolidated_metadata")?
            .get_mut("metadata")?,
        ZarrFormat::V2 => object.get_mut("metadata")?,
    };
    let nodes = std::mem::take(metadata.as_object_mut()?);
    let complete = nodes.into_iter().map(|(key, mut node)| {
        if let Some(node) = node.as_object_mut() {
            // Writers put it into groups of both formats.
            node.remove("consolidated_metadata");
            if format == ZarrFormat::V3 {
                node.entry("attributes")
                    .or_insert_with(|| Map::new().into());
            }
        }
        (key, node)
    });
    Some(complete.collect())
}
