//! The store: what it holds, and its elements.

mod atomic;
mod consolidated;
mod copy;
mod element;
mod listing;
mod recover;
#[cfg(feature = "object-store")]
mod remote;
mod repair;
mod stale;
mod verify;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::array::ChunkCache;
use crate::disk::Place;
use crate::node::{Node, ZarrFormat};
use crate::ome::{Image, Labels};
use crate::points::Points;
#[cfg(feature = "object-store")]
use crate::root::address_of;
use crate::root::{Folder, Root};
use crate::shapes::Shapes;
use crate::table::Table;
use crate::transform;
use crate::{Error, OpenOptions, Result};

pub(crate) use copy::copy_tree;
pub use copy::{copy_store, copy_store_with};
pub use element::{ContainerVersion, Element, ElementKind, WriteMode};
pub use repair::{Repair, RepairOptions};
pub use verify::{Verification, verify};

/// A SpatialData store: a folder, a zip file or, with the feature `object-store`, a place on a server.
///
/// Opening reads the root's metadata and the names of the elements, nothing else.
/// A handle shows what was there when it was opened or when it wrote last; open the store again to see what others wrote.
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
    /// What a program on another machine left, which may still be at work, stays where it is; [`validate`](crate::validate)
    /// shows it and [`repair`](Self::repair) removes it.
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
        Self::from_root(Root::open(path.as_ref(), options)?)
    }

    pub(crate) fn from_root(root: Root) -> Result<Self> {
        let root = Arc::new(root);
        recover::tidy(&root)?;
        let not_a_store = |problem: &str| Error::NotAStore {
            path: root.address().into(),
            problem: problem.to_owned(),
        };
        let (node, format) = match Node::find(&root, "", ZarrFormat::V3)? {
            Some(node) => (node, ZarrFormat::V3),
            None => match Node::find(&root, "", ZarrFormat::V2)? {
                Some(node) => (node, ZarrFormat::V2),
                None => {
                    let refusal = root.refusal();
                    let nothing = || not_a_store("it has neither zarr.json nor .zgroup");
                    return Err(refusal.unwrap_or_else(nothing));
                }
            },
        };
        if !node.is_group() {
            return Err(not_a_store("it is an array, not a group"));
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
        Self::create_with(path, version, OpenOptions::default())
    }

    /// Creates an empty store at a path or address where there is nothing.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create), and errors of the server.
    pub fn create_with(
        path: impl AsRef<Path>,
        version: ContainerVersion,
        options: OpenOptions,
    ) -> Result<Self> {
        #[cfg(feature = "object-store")]
        if let Some(address) = address_of(path.as_ref()) {
            return Self::create_remote(address, version, options);
        }
        let place = Place::new(path.as_ref());
        Self::create_at(&place, version)?;
        Self::open_with(place.path(), options)
    }

    fn create_at(place: &Place, version: ContainerVersion) -> Result<()> {
        place.create_with(|staged| {
            for (name, bytes) in new_root(version) {
                staged.join(name).write(&bytes)?;
            }
            staged.sync_folder()
        })
    }

    /// Where the store lies: a path, or the address of a server.
    #[must_use]
    pub fn address(&self) -> String {
        self.root.address()
    }

    /// The folder of the store; `None` for a zip file or a server.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.root.folder().map(Folder::path)
    }

    /// The version of the container.
    #[must_use]
    pub fn version(&self) -> ContainerVersion {
        self.version
    }

    /// The attributes of the root group.
    ///
    /// The bare numbers `NaN` and `Infinity` that Python writes are texts here, and whole numbers of more than 64 bits the
    /// nearest floats. In the store they stay what they are, whatever is written to it.
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

    /// Opens points; their columns are read later.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] when there is none of this name, and errors that name what is wrong with its metadata.
    pub fn points(&self, name: &str) -> Result<Points> {
        let node = self.element_node(ElementKind::Points, name)?;
        Points::open(&self.root, name, &node)
    }

    /// Opens shapes; their geometries and columns are read later.
    ///
    /// # Errors
    ///
    /// [`Error::NoElement`] when there is none of this name, and errors that name what is wrong with its metadata.
    pub fn shapes(&self, name: &str) -> Result<Shapes> {
        let node = self.element_node(ElementKind::Shapes, name)?;
        Shapes::open(&self.root, name, &node)
    }

    /// The names of all coordinate systems that an element has a map into, sorted.
    ///
    /// Reads the metadata of every image, mask, points and shapes; an element with broken ones is passed over.
    ///
    /// # Errors
    ///
    /// Those of the file system or the server; see [`Error::is_environment`].
    pub fn coordinate_systems(&self) -> Result<Vec<String>> {
        let mut systems = std::collections::BTreeSet::new();
        for element in self
            .elements
            .iter()
            .filter(|e| e.kind != ElementKind::Table)
        {
            match Node::open(&self.root, &element.key, self.format) {
                Ok(node) => systems.extend(transform::targets(&node.attributes)),
                Err(error) if error.is_environment() => return Err(error),
                Err(_) => {}
            }
        }
        Ok(systems.into_iter().collect())
    }

    /// What writers on other machines left or are at work on.
    pub(crate) fn left_overs_of_others(&self) -> Result<Vec<String>> {
        recover::of_others(&self.root)
    }

    /// The groups whose elements cannot be listed.
    pub(crate) fn unlistable_groups(&self) -> Vec<(&'static str, Error)> {
        listing::unlistable(&self.root)
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
        listing::must_be_certain(&self.root, element)?;
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

/// The files of an empty store.
fn new_root(version: ContainerVersion) -> Vec<(&'static str, Vec<u8>)> {
    let versions = json!({
        "version": version.as_str(),
        "spatialdata_software_version": concat!("phenocoder-io ", env!("CARGO_PKG_VERSION")),
    });
    let attributes = json!({"spatialdata_attrs": versions});
    match version {
        ContainerVersion::V02 => {
            let member = |name: &str, value: &Value| (name.to_owned(), value.to_string());
            let group = vec![
                member("attributes", &attributes),
                member("zarr_format", &json!(3)),
                member("node_type", &json!("group")),
            ];
            let bytes = consolidated::render_v3(&group, BTreeMap::new()).into_bytes();
            vec![("zarr.json", bytes)]
        }
        ContainerVersion::V01 => {
            let group = format!("{:#}", json!({"zarr_format": 2}));
            let attributes = format!("{attributes:#}");
            let nodes = BTreeMap::from([
                (".zgroup".to_owned(), group.clone()),
                (".zattrs".to_owned(), attributes.clone()),
            ]);
            vec![
                (".zgroup", group.into_bytes()),
                (".zattrs", attributes.into_bytes()),
                (".zmetadata", consolidated::render_v2(nodes).into_bytes()),
            ]
        }
    }
}

#[cfg(test)]
mod tests;
