//! The store: what it holds, and its elements.

mod atomic;
mod consolidated;
mod copy;
mod element;
mod listing;
mod recover;
mod write;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::array::ChunkCache;
use crate::node::{Node, ZarrFormat};
use crate::ome::{Image, Labels};
use crate::root::Root;
use crate::table::Table;
use crate::{Error, OpenOptions, Result, file};

pub use copy::copy_store;
pub(crate) use copy::copy_tree;
pub use element::{ContainerVersion, Element, ElementKind, WriteMode};

/// A SpatialData store in a local folder.
///
/// Opening reads the root's metadata and the names of the elements, nothing else.
///
/// # Examples
///
/// ```
/// use phenocoder_io::{ContainerVersion, Store};
///
/// let folder = tempfile::tempdir()?;
/// let store = Store::create(folder.path().join("new.zarr"), ContainerVersion::V02)?;
/// assert!(store.elements().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[doc(alias = "read_zarr")]
#[doc(alias = "SpatialData")]
pub struct Store {
    root: Arc<Root>,
    cache: Arc<ChunkCache>,
    format: ZarrFormat,
    version: ContainerVersion,
    attributes: Map<String, Value>,
    elements: Vec<Element>,
}

impl Store {
    /// Opens a store with the default [`OpenOptions`].
    ///
    /// A store that a killed program of this crate left behind in the middle of a write is put in order first:
    /// the element being written is then the old or the new one, whole.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStore`] when the folder holds no Zarr group, [`Error::UnsupportedVersion`] for a container of the
    /// future, and errors of the file system and of the root's metadata.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, OpenOptions::default())
    }

    /// Opens a store.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let root = Arc::new(Root::open(path, options)?);
        recover::tidy(&root)?;
        let (node, format) = match Node::find(&root, "", ZarrFormat::V3)? {
            Some(node) => (node, ZarrFormat::V3),
            None => match Node::find(&root, "", ZarrFormat::V2)? {
                Some(node) => (node, ZarrFormat::V2),
                None => {
                    return Err(Error::NotAStore {
                        path: path.to_owned(),
                        problem: "it has neither zarr.json nor .zgroup".to_owned(),
                    });
                }
            },
        };
        if !node.is_group() {
            return Err(Error::NotAStore {
                path: path.to_owned(),
                problem: "it is an array, not a group".to_owned(),
            });
        }
        let version = container_version(&node)?;
        let elements = listing::list(&root)?;
        Ok(Self {
            cache: Arc::new(ChunkCache::new(root.options.cache_bytes)),
            root,
            format,
            version,
            attributes: node.attributes,
            elements,
        })
    }

    /// Creates an empty store at a path where there is nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when something is there, and errors of the file system.
    pub fn create(path: impl AsRef<Path>, version: ContainerVersion) -> Result<Self> {
        let path = path.as_ref();
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(Error::Exists {
                path: path.to_owned(),
            });
        }
        let attributes = json!({"spatialdata_attrs": {
            "version": version.as_str(),
            "spatialdata_software_version": concat!("phenocoder-io ", env!("CARGO_PKG_VERSION")),
        }});
        let staged = file::staged(path);
        // A killed process of the same number may have left it.
        file::remove(&staged)?;
        let made = write_empty(&staged, version, &attributes)
            .and_then(|()| file::sync_tree(&staged))
            .and_then(|()| file::publish(&staged, path));
        if made.is_err() {
            // The first error says why.
            let _ = file::remove(&staged);
        }
        made?;
        Self::open(path)
    }

    /// The folder of the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The version of the container.
    #[must_use]
    pub fn version(&self) -> ContainerVersion {
        self.version
    }

    /// The attributes of the root group.
    #[must_use]
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    /// All elements, by kind and then by name.
    #[must_use]
    pub fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// The names of the images.
    #[must_use]
    pub fn image_names(&self) -> Vec<String> {
        self.names(ElementKind::Image)
    }

    /// The names of the label masks.
    #[must_use]
    pub fn label_names(&self) -> Vec<String> {
        self.names(ElementKind::Labels)
    }

    /// The names of the tables.
    #[must_use]
    pub fn table_names(&self) -> Vec<String> {
        self.names(ElementKind::Table)
    }

    /// The names of the points.
    #[must_use]
    pub fn points_names(&self) -> Vec<String> {
        self.names(ElementKind::Points)
    }

    /// The names of the shapes.
    #[must_use]
    pub fn shapes_names(&self) -> Vec<String> {
        self.names(ElementKind::Shapes)
    }

    fn names(&self, kind: ElementKind) -> Vec<String> {
        let of_kind = self.elements.iter().filter(|e| e.kind == kind);
        of_kind.map(|e| e.name.clone()).collect()
    }

    /// Opens an image; its pixels are read later.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] when there is none of this name, and errors that name what is wrong with its metadata.
    pub fn image(&self, name: &str) -> Result<Image> {
        let node = self.element_node(ElementKind::Image, name)?;
        Image::open(&self.root, &self.cache, name, &node)
    }

    /// Opens a label mask; its pixels are read later.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] when there is none of this name, and errors that name what is wrong with its metadata.
    pub fn labels(&self, name: &str) -> Result<Labels> {
        let node = self.element_node(ElementKind::Labels, name)?;
        Labels::open(&self.root, &self.cache, name, &node)
    }

    /// Opens a table; its columns are read later.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] when there is none of this name, and errors that name what is wrong with its metadata.
    pub fn table(&self, name: &str) -> Result<Table> {
        let node = self.element_node(ElementKind::Table, name)?;
        Table::open(&self.root, &node)
    }

    fn element(&self, kind: ElementKind, name: &str) -> Result<&Element> {
        self.elements
            .iter()
            .find(|e| e.kind == kind && e.name == name)
            .ok_or_else(|| Error::NoElement {
                kind: kind.singular(),
                name: name.to_owned(),
                available: crate::error::listing(self.names(kind)),
            })
    }

    fn element_node(&self, kind: ElementKind, name: &str) -> Result<Node> {
        let element = self.element(kind, name)?;
        Node::open(&self.root, &element.key, self.format)
    }
}

fn container_version(node: &Node) -> Result<ContainerVersion> {
    let found = node
        .attributes
        .get("spatialdata_attrs")
        .and_then(|attrs| attrs.get("version"));
    let version = match found {
        None if node.format == ZarrFormat::V2 => Some(ContainerVersion::V01),
        None => Some(ContainerVersion::V02),
        Some(Value::String(version)) => match (version.as_str(), node.format) {
            ("0.1", ZarrFormat::V2) => Some(ContainerVersion::V01),
            ("0.2", ZarrFormat::V3) => Some(ContainerVersion::V02),
            _ => None,
        },
        Some(_) => None,
    };
    version.ok_or_else(|| Error::UnsupportedVersion {
        key: "spatialdata_attrs".to_owned(),
        found: found.map_or_else(String::new, ToString::to_string),
        supported: "0.1 in Zarr v2 and 0.2 in Zarr v3",
    })
}

fn write_empty(path: &Path, version: ContainerVersion, attributes: &Value) -> Result<()> {
    file::create_folder(path)?;
    match version {
        ContainerVersion::V02 => file::write_json(
            &path.join("zarr.json"),
            &json!({
                "attributes": attributes,
                "zarr_format": 3,
                "consolidated_metadata": {
                    "kind": "inline",
                    "must_understand": false,
                    "metadata": {},
                },
                "node_type": "group",
            }),
        ),
        ContainerVersion::V01 => {
            let group = json!({"zarr_format": 2});
            file::write_json(&path.join(".zgroup"), &group)?;
            file::write_json(&path.join(".zattrs"), attributes)?;
            let metadata = json!({
                "metadata": {".zattrs": attributes, ".zgroup": group},
                "zarr_consolidated_format": 1,
            });
            file::write_json(&path.join(".zmetadata"), &metadata)
        }
    }
}
