//! The `multiscales` metadata of an image or mask.

use serde_json::{Map, Value};

use crate::node::{Node, ZarrFormat};
use crate::transform::{self, Transformation};
use crate::{Error, Result};

/// How many levels a pyramid may have; half of the size each would end after 64.
const MAX_LEVELS: usize = 1000;

/// What the group of an image or mask says.
#[derive(Debug, Clone)]
pub(crate) struct Multiscale {
    pub(crate) axes: Vec<String>,
    /// The paths of the levels, the finest first.
    pub(crate) paths: Vec<String>,
    pub(crate) transformations: Vec<Transformation>,
    /// The names of the channels as they are stored: text or whole numbers.
    pub(crate) channels: Option<Vec<Value>>,
    pub(crate) omero: Option<Value>,
}

impl Multiscale {
    /// Reads the attributes of a group.
    pub(crate) fn parse(node: &Node, is_labels: bool) -> Result<Self> {
        let key = node.key.as_str();
        check_element_version(node)?;
        let ome = match (node.format, node.attributes.get("ome")) {
            (ZarrFormat::V3, Some(Value::Object(ome))) => ome,
            (ZarrFormat::V3, _) => return Err(Error::missing(key, "the attribute `ome`")),
            (ZarrFormat::V2, _) => &node.attributes,
        };
        let multiscales = match ome.get("multiscales") {
            Some(Value::Array(multiscales)) => multiscales,
            found => return Err(Error::not_as(key, "`multiscales`", found)),
        };
        let [Value::Object(multiscale)] = multiscales.as_slice() else {
            let found = format!("{} entries", multiscales.len());
            return Err(Error::invalid(key, "`multiscales` with one object", found));
        };
        check_ngff_version(key, ome, multiscale)?;
        let axes = axes(key, multiscale)?;
        let allowed: [&[&str]; 2] = if is_labels {
            [&["y", "x"], &["z", "y", "x"]]
        } else {
            [&["c", "y", "x"], &["c", "z", "y", "x"]]
        };
        if !allowed.iter().any(|a| axes.iter().eq(a.iter())) {
            let expected = if is_labels {
                "yx or zyx"
            } else {
                "cyx or czyx"
            };
            return Err(Error::invalid(
                key,
                format!("axes {expected}"),
                axes.concat(),
            ));
        }
        let datasets = match multiscale.get("datasets") {
            Some(Value::Array(list)) if (1..=MAX_LEVELS).contains(&list.len()) => list,
            found => {
                let expected = format!("`datasets` as a list of 1 to {MAX_LEVELS} levels");
                return Err(Error::not_as(key, expected, found));
            }
        };
        let mut paths = Vec::with_capacity(datasets.len());
        for dataset in datasets {
            let path = match dataset.get("path") {
                Some(Value::String(path)) => path,
                found => return Err(Error::not_as(key, "`path` of each dataset", found)),
            };
            check_level_scale(key, dataset, axes.len())?;
            paths.push(path.clone());
        }
        let list = multiscale.get("coordinateTransformations");
        Ok(Self {
            transformations: transform::parse_all(key, list)?,
            channels: channels(key, ome, multiscale)?,
            omero: omero(ome, multiscale).cloned(),
            axes,
            paths,
        })
    }
}

fn axes(key: &str, multiscale: &Map<String, Value>) -> Result<Vec<String>> {
    let found = multiscale.get("axes");
    found
        .and_then(Value::as_array)
        .and_then(|axes| {
            axes.iter()
                .map(|axis| match axis {
                    Value::String(name) => Some(name.clone()),
                    axis => axis.get("name")?.as_str().map(str::to_owned),
                })
                .collect()
        })
        .ok_or_else(|| Error::not_as(key, "`axes` with names", found))
}

/// The scale of a level is not used, as in SpatialData, but one of a wrong length shows a broken file.
fn check_level_scale(key: &str, dataset: &Value, axes: usize) -> Result<()> {
    let list = dataset
        .get("coordinateTransformations")
        .and_then(Value::as_array);
    for transformation in list.into_iter().flatten() {
        for name in ["scale", "translation"] {
            let found = transformation.get(name).and_then(Value::as_array);
            if let Some(found) = found.filter(|found| found.len() != axes) {
                return Err(Error::InvalidTransform {
                    key: key.to_owned(),
                    problem: format!(
                        "`{name}` of a level has {} numbers for {axes} axes",
                        found.len()
                    ),
                });
            }
        }
    }
    Ok(())
}

fn check_element_version(node: &Node) -> Result<()> {
    let found = node
        .attributes
        .get("spatialdata_attrs")
        .and_then(|attrs| attrs.get("version"));
    let known: &[&str] = match node.format {
        ZarrFormat::V2 => &["0.1", "0.2"],
        ZarrFormat::V3 => &["0.3"],
    };
    match found {
        None => Ok(()),
        Some(Value::String(version)) if known.contains(&version.as_str()) => Ok(()),
        Some(other) => Err(Error::UnsupportedVersion {
            key: node.key.clone(),
            found: other.to_string(),
            supported: "raster 0.1 and 0.2 in Zarr v2, 0.3 in Zarr v3",
        }),
    }
}

fn check_ngff_version(
    key: &str,
    ome: &Map<String, Value>,
    multiscale: &Map<String, Value>,
) -> Result<()> {
    const KNOWN: [&str; 5] = [
        "0.4",
        "0.4-dev-spatialdata",
        "0.5",
        "0.5-dev-spatialdata",
        "0.5-dev",
    ];
    match ome.get("version").or_else(|| multiscale.get("version")) {
        None => Ok(()),
        Some(Value::String(version)) if KNOWN.contains(&version.as_str()) => Ok(()),
        Some(other) => Err(Error::UnsupportedVersion {
            key: key.to_owned(),
            found: other.to_string(),
            supported: "OME-NGFF 0.4 and 0.5",
        }),
    }
}

/// How viewers show the image; older writers kept it elsewhere.
fn omero<'a>(ome: &'a Map<String, Value>, multiscale: &'a Map<String, Value>) -> Option<&'a Value> {
    ome.get("omero")
        .or_else(|| multiscale.get("metadata").and_then(|m| m.get("omero")))
}

fn channels(
    key: &str,
    ome: &Map<String, Value>,
    multiscale: &Map<String, Value>,
) -> Result<Option<Vec<Value>>> {
    let list = omero(ome, multiscale)
        .or_else(|| ome.get("channels_metadata"))
        .and_then(|o| o.get("channels"));
    let Some(list) = list else {
        return Ok(None);
    };
    let labels: Option<Vec<Value>> = list.as_array().and_then(|list| {
        list.iter()
            .enumerate()
            .map(|(i, channel)| match channel.get("label") {
                None => Some(Value::from(i)),
                Some(label @ (Value::String(_) | Value::Number(_))) => Some(label.clone()),
                Some(_) => None,
            })
            .collect()
    });
    labels
        .map(Some)
        .ok_or_else(|| Error::invalid(key, "channels with labels of text or whole numbers", list))
}

/// The text of a channel's name.
pub(crate) fn channel_name(label: &Value) -> String {
    match label {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
