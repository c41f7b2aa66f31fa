//! Groups and arrays as their metadata files describe them, in Zarr v2 and v3.

use serde_json::{Map, Value, json};

use crate::disk::Place;
use crate::json::{parse_object, text};
use crate::path::child;
use crate::root::Root;
use crate::{Error, Result};

/// The two formats of Zarr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ZarrFormat {
    V2,
    V3,
}

/// A group or array.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) key: String,
    pub(crate) format: ZarrFormat,
    pub(crate) attributes: Map<String, Value>,
    /// The metadata of an array; `None` for a group.
    pub(crate) array: Option<Map<String, Value>>,
}

impl Node {
    /// Reads the metadata of a node; `None` where there is none.
    pub(crate) fn find(root: &Root, key: &str, format: ZarrFormat) -> Result<Option<Self>> {
        match format {
            ZarrFormat::V3 => Self::find_v3(root, key),
            ZarrFormat::V2 => Self::find_v2(root, key),
        }
    }

    /// Reads the metadata of a node that must exist.
    pub(crate) fn open(root: &Root, key: &str, format: ZarrFormat) -> Result<Self> {
        Self::find(root, key, format)?.ok_or_else(|| {
            let file = match format {
                ZarrFormat::V3 => "zarr.json",
                ZarrFormat::V2 => ".zgroup or .zarray",
            };
            Error::missing(key, format!("metadata ({file})"))
        })
    }

    fn find_v3(root: &Root, key: &str) -> Result<Option<Self>> {
        let file = child(key, "zarr.json");
        let Some(bytes) = root.read_metadata(&file)? else {
            return Ok(None);
        };
        let mut metadata = parse_object(&file, &bytes)?;
        check_format(&file, &metadata, 3)?;
        let attributes = match metadata.remove("attributes") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(attributes)) => attributes,
            Some(other) => return Err(Error::invalid(file, "`attributes` as an object", other)),
        };
        let array = match text(&file, &metadata, "node_type")? {
            "group" => {
                check_group(&file, &metadata)?;
                None
            }
            "array" => Some(metadata),
            other => return Err(Error::invalid(file, "`node_type` group or array", other)),
        };
        Ok(Some(Self {
            key: key.to_owned(),
            format: ZarrFormat::V3,
            attributes,
            array,
        }))
    }

    fn find_v2(root: &Root, key: &str) -> Result<Option<Self>> {
        let file = child(key, ".zarray");
        let array = match root.read_metadata(&file)? {
            Some(bytes) => {
                let metadata = parse_object(&file, &bytes)?;
                check_format(&file, &metadata, 2)?;
                Some(metadata)
            }
            None => {
                let file = child(key, ".zgroup");
                let Some(bytes) = root.read_metadata(&file)? else {
                    return Ok(None);
                };
                check_format(&file, &parse_object(&file, &bytes)?, 2)?;
                None
            }
        };
        let file = child(key, ".zattrs");
        let attributes = match root.read_metadata(&file)? {
            Some(bytes) => parse_object(&file, &bytes)?,
            None => Map::new(),
        };
        Ok(Some(Self {
            key: key.to_owned(),
            format: ZarrFormat::V2,
            attributes,
            array,
        }))
    }

    /// The text of an attribute, or `None` when it is absent or something else.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }

    pub(crate) fn is_group(&self) -> bool {
        self.array.is_none()
    }
}

/// Refuses a group with an extension that must be understood.
fn check_group(file: &str, metadata: &Map<String, Value>) -> Result<()> {
    const KNOWN: [&str; 3] = ["zarr_format", "node_type", "consolidated_metadata"];
    let unknown = metadata.iter().find(|(name, value)| {
        let optional = value.get("must_understand").and_then(Value::as_bool) == Some(false);
        !optional && !KNOWN.contains(&name.as_str())
    });
    match unknown {
        None => Ok(()),
        Some((name, _)) => Err(Error::UnsupportedCodec {
            key: file.to_owned(),
            problem: format!("unknown extension `{name}` of the group"),
        }),
    }
}

fn check_format(file: &str, metadata: &Map<String, Value>, expected: u64) -> Result<()> {
    match metadata.get("zarr_format") {
        Some(Value::Number(n)) if n.as_u64() == Some(expected) => Ok(()),
        Some(other) => Err(Error::UnsupportedVersion {
            key: file.to_owned(),
            found: other.to_string(),
            supported: "zarr_format 2 and 3, one of them throughout a store",
        }),
        None => Err(Error::missing(file, "`zarr_format`")),
    }
}

/// Writes the metadata of a group into a folder, which is created.
pub(crate) fn write_group(
    place: &Place,
    format: ZarrFormat,
    attributes: Map<String, Value>,
) -> Result<()> {
    place.create_folder()?;
    match format {
        ZarrFormat::V3 => place.join("zarr.json").write_new_json(
            &json!({"attributes": attributes, "zarr_format": 3, "node_type": "group"}),
        ),
        ZarrFormat::V2 => {
            let group = json!({"zarr_format": 2});
            place.join(".zgroup").write_new_json(&group)?;
            let attributes = Value::Object(attributes);
            place.join(".zattrs").write_new_json(&attributes)
        }
    }
}
