//! Changes of a store on a server.
//!
//! A server knows no renaming and no change of several files at once. What it does is replace one file, whole. So the
//! consolidated metadata of the root, one file, decide what the store holds:
//! an element is taken out of them before its files are touched, and put in after all of its files are there.
//! Whoever reads them meanwhile sees the store without the element, never half of one, and a writer that dies leaves
//! files that nobody is told of.
//! Two writers do not meet: a file that only one can create keeps the other out, and each replaces the root only if it
//! is the version that it has read.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::atomic::list_labels;
use super::consolidated::{self, node_of, render_v2, render_v3};
use super::element::{ContainerVersion, ElementKind, WriteMode};
use super::{Store, listing, new_root};
use crate::disk::Place;
use crate::node::ZarrFormat;
use crate::path::{check_name, child, prefix};
use crate::root::{Remote, Root, Server, Version};
use crate::{Error, OpenOptions, Result};

/// The file that one writer at a time creates.
pub(super) const LOCK: &str = ".phenocoder-lock";

/// The right to change a store on a server.
struct RemoteLock<'a>(&'a Server);

impl<'a> RemoteLock<'a> {
    fn acquire(server: &'a Server) -> Result<Self> {
        // One request is kept for the removal.
        server.keep_requests(LOCK, 1)?;
        let who = format!("process {}", std::process::id());
        let created = match server.create(LOCK, who.into_bytes()) {
            Ok(()) => return Ok(Self(server)),
            Err(Error::Exists { path }) => Err(Error::Locked { path }),
            Err(other) => Err(other),
        };
        server.put_back_requests(1);
        created
    }
}

impl Drop for RemoteLock<'_> {
    fn drop(&mut self) {
        self.0.put_back_requests(1);
        // What cannot be removed now is named by the error that the next writer gets.
        let _ = self.0.delete(LOCK);
    }
}

/// The table of contents of a store on a server.
struct Contents<'a> {
    _lock: RemoteLock<'a>,
    server: &'a Server,
    format: ZarrFormat,
    /// The root's own metadata, in Zarr v3.
    group: Map<String, Value>,
    /// The text of each metadata file.
    nodes: BTreeMap<String, String>,
    version: Option<Version>,
}

impl<'a> Contents<'a> {
    fn read(root: &Root, remote: &'a Remote, format: ZarrFormat) -> Result<Self> {
        let server = remote.server();
        if !server.lists() {
            return Err(Error::ReadOnly {
                place: root.address(),
            });
        }
        let lock = RemoteLock::acquire(server)?;
        remote.forget();
        let limit = root.options.max_metadata_bytes.saturating_mul(8);
        let file = Self::file(format);
        let (group, version) = match server.get(file, limit)? {
            Some((bytes, version)) => (crate::json::parse_object(file, &bytes)?, Some(version)),
            None if format == ZarrFormat::V2 => (Map::new(), None),
            None => return Err(Error::missing(file, "the metadata of the store")),
        };
        let mut group = group;
        group.remove("consolidated_metadata");
        let mut nodes = consolidated::nodes(root, format)?;
        if format == ZarrFormat::V3 {
            nodes.remove(file);
        }
        Ok(Self {
            _lock: lock,
            server,
            format,
            group,
            nodes,
            version,
        })
    }

    fn file(format: ZarrFormat) -> &'static str {
        match format {
            ZarrFormat::V3 => "zarr.json",
            ZarrFormat::V2 => ".zmetadata",
        }
    }

    fn has(&self, key: &str) -> bool {
        let prefix = prefix(key);
        let first = self.nodes.range(prefix.clone()..).next();
        first.is_some_and(|(key, _)| key.starts_with(&prefix))
    }

    fn take_out(&mut self, key: &str) {
        let prefix = prefix(key);
        self.nodes.retain(|key, _| !key.starts_with(&prefix));
    }

    /// Makes the table of contents public, unless somebody else did.
    fn publish(&mut self) -> Result<()> {
        let bytes = match self.format {
            ZarrFormat::V3 => {
                let by_node = self
                    .nodes
                    .iter()
                    .map(|(key, text)| (node_of(key).to_owned(), text.clone()));
                render_v3(&self.group, by_node.collect())
            }
            ZarrFormat::V2 => render_v2(self.nodes.clone()),
        };
        let file = Self::file(self.format);
        self.version = Some(self.server.put(file, bytes, self.version.take())?);
        Ok(())
    }

    /// Writes a metadata file and takes note of it.
    fn write(&mut self, key: &str, text: String) -> Result<()> {
        self.server.put(key, text.clone().into_bytes(), None)?;
        self.nodes.insert(key.to_owned(), text);
        Ok(())
    }

    /// Has the group of new elements there.
    fn make_group(&mut self, group: &str) -> Result<()> {
        match self.format {
            ZarrFormat::V3 if !self.nodes.contains_key(&child(group, "zarr.json")) => {
                let metadata = json!({"attributes": {}, "zarr_format": 3, "node_type": "group"});
                self.write(&child(group, "zarr.json"), format!("{metadata:#}"))
            }
            ZarrFormat::V2 if !self.nodes.contains_key(&child(group, ".zgroup")) => {
                self.write(&child(group, ".zattrs"), "{}".to_owned())?;
                let metadata = json!({"zarr_format": 2});
                self.write(&child(group, ".zgroup"), format!("{metadata:#}"))
            }
            _ => Ok(()),
        }
    }

    /// Lists the masks anew.
    fn list_labels(&mut self) -> Result<()> {
        let (key, prefix) = match self.format {
            ZarrFormat::V3 => ("labels/zarr.json", "labels/"),
            ZarrFormat::V2 => ("labels/.zattrs", "labels/"),
        };
        let Some(text) = self.nodes.get(key) else {
            return Ok(());
        };
        let metadata = crate::json::parse_object(key, text.as_bytes())?;
        let folders = self.nodes.keys().filter_map(|key| key.strip_prefix(prefix));
        let mut names: Vec<String> = folders
            .filter_map(|rest| Some(rest.split_once('/')?.0.to_owned()))
            .collect();
        names.dedup();
        self.write(key, list_labels(metadata, self.format, names))
    }
}

impl Store {
    pub(super) fn create_remote(
        address: &str,
        version: ContainerVersion,
        options: OpenOptions,
    ) -> Result<Self> {
        let remote = Remote::open(address, &options)?;
        // The first file decides who of two creates the store.
        for (name, bytes) in new_root(version) {
            remote.server().create(name, bytes)?;
        }
        Self::from_root(Root::new(remote, options))
    }

    pub(super) fn put_remote(
        &mut self,
        kind: ElementKind,
        name: &str,
        mode: WriteMode,
        write: impl FnOnce(&Place, Option<&str>) -> Result<()>,
    ) -> Result<()> {
        let result = self.try_put_remote(kind, name, mode, write);
        if let (Err(_), Some(remote)) = (&result, self.root.remote()) {
            // What is there now is not what this handle knew.
            remote.forget();
            self.cache.forget(&child(kind.group(), name));
            if let Ok(elements) = listing::list(&self.root) {
                self.elements = elements;
            }
        }
        result
    }

    fn try_put_remote(
        &mut self,
        kind: ElementKind,
        name: &str,
        mode: WriteMode,
        write: impl FnOnce(&Place, Option<&str>) -> Result<()>,
    ) -> Result<()> {
        let root = Arc::clone(&self.root);
        let Some(remote) = root.remote() else {
            return Ok(());
        };
        let mut contents = Contents::read(&root, remote, self.format)?;
        self.elements = listing::list(&self.root)?;
        let key = child(kind.group(), name);
        let exists = contents.has(&key);
        match (exists, mode) {
            (true, WriteMode::Create) => {
                return Err(Error::Exists {
                    path: child(&self.root.address(), &key).into(),
                });
            }
            (true, WriteMode::Replace) => {}
            (false, _) => {
                check_name(name)?;
                super::write::check_free(name, self.elements.iter())?;
            }
        }
        let scratch = Scratch::new()?;
        let staged = scratch.0.join(name);
        staged.create_folder()?;
        write(&staged, exists.then_some(key.as_str()))?;
        let files = scratch.files(&key, &staged)?;
        // An element that is taken out and cannot be put back for want of requests would be lost: at least each file
        // is one, and the group, the list of masks and the table of contents are five.
        contents
            .server
            .must_have_requests(&key, files.len() as u64 + 5)?;
        if exists {
            contents.take_out(&key);
            contents.publish()?;
        }
        // What is there, of the old element or of a writer that died, must not mix with the new.
        contents.server.remove_folder(&key)?;
        contents.make_group(kind.group())?;
        let (metadata, data): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(key, _)| is_metadata(key));
        contents.server.put_all(data)?;
        for (key, file) in metadata {
            let text = fs::read_to_string(&file).map_err(Error::io(&file, "read"))?;
            contents.write(&key, text)?;
        }
        if kind == ElementKind::Labels {
            contents.list_labels()?;
        }
        contents.publish()?;
        remote.forget();
        self.cache.forget(&key);
        self.enter(kind, name);
        Ok(())
    }

    /// Replaces the user's attributes; the table of contents, one file, holds them.
    pub(super) fn write_attributes_remote(
        &mut self,
        attributes: &Map<String, Value>,
    ) -> Result<()> {
        let root = Arc::clone(&self.root);
        let Some(remote) = root.remote() else {
            return Ok(());
        };
        let mut contents = Contents::read(&root, remote, self.format)?;
        match self.format {
            ZarrFormat::V3 => {
                let attributes = Value::Object(attributes.clone());
                contents.group.insert("attributes".to_owned(), attributes);
                contents.publish()?;
            }
            ZarrFormat::V2 => {
                let text = format!("{:#}", Value::Object(attributes.clone()));
                contents.nodes.insert(".zattrs".to_owned(), text.clone());
                contents.publish()?;
                // For those who do not read the table of contents.
                contents.write(".zattrs", text)?;
            }
        }
        remote.forget();
        Ok(())
    }

    /// Removes the lock of a writer that died at least `age` ago; whether there was one.
    pub(super) fn repair_remote(&mut self, age: Duration) -> Result<bool> {
        let root = Arc::clone(&self.root);
        let Some(remote) = root.remote() else {
            return Ok(false);
        };
        let server = remote.server();
        if !server.lists() {
            return Err(Error::ReadOnly {
                place: root.address(),
            });
        }
        let Some((found, version)) = server.age(LOCK)? else {
            return Ok(false);
        };
        if found < age {
            return Err(Error::Locked {
                path: child(&root.address(), LOCK).into(),
            });
        }
        // Only one of several who repair replaces this version of the file; it is then theirs to remove.
        server.put(LOCK, b"repair".to_vec(), Some(version))?;
        server.delete(LOCK)?;
        remote.forget();
        self.elements = listing::list(&self.root)?;
        Ok(true)
    }

    pub(super) fn remove_remote(&mut self, kind: ElementKind, name: &str) -> Result<()> {
        let root = Arc::clone(&self.root);
        let Some(remote) = root.remote() else {
            return Ok(());
        };
        let mut contents = Contents::read(&root, remote, self.format)?;
        self.elements = listing::list(&self.root)?;
        let key = self.element(kind, name)?.key.clone();
        contents.take_out(&key);
        if kind == ElementKind::Labels {
            contents.list_labels()?;
        }
        contents.publish()?;
        contents.server.remove_folder(&key)?;
        remote.forget();
        self.cache.forget(&key);
        self.elements.retain(|e| e.key != key);
        Ok(())
    }
}

fn is_metadata(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    matches!(name, "zarr.json" | ".zgroup" | ".zarray" | ".zattrs")
}

/// A folder of the file system in which an element is made before it is sent; nobody else can look into it.
struct Scratch(Place);

impl Scratch {
    fn new() -> Result<Self> {
        loop {
            // Numbers of the operating system that nobody can guess and take before us.
            let random = || RandomState::new().build_hasher().finish();
            let name = format!("phenocoder-{:016x}{:016x}", random(), random());
            let place = Place::new(std::env::temp_dir().join(name));
            if place.create_private_folder()? {
                return Ok(Self(place));
            }
        }
    }

    /// Keys and files of a folder; metadata of nodes after those of the nodes in them.
    fn files(&self, key: &str, folder: &Place) -> Result<Vec<(String, PathBuf)>> {
        let (mut here, mut below) = (Vec::new(), Vec::new());
        for entry in folder.list()? {
            let Ok(name) = entry.name.into_string() else {
                continue;
            };
            let (key, place) = (child(key, &name), folder.join(&name));
            if entry.is_folder {
                below.extend(self.files(&key, &place)?);
            } else {
                here.push((key, place.path().to_owned()));
            }
        }
        below.extend(here);
        Ok(below)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder for temporary files is cleared by the system in the end.
        let _ = self.0.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_made_where_only_this_user_looks() {
        let (a, b) = (Scratch::new().unwrap(), Scratch::new().unwrap());
        assert_ne!(a.0.path(), b.0.path());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(a.0.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        assert!(!b.0.create_private_folder().unwrap(), "it is there already");
        let path = a.0.path().to_owned();
        a.0.join("x/y").write(b"z").unwrap();
        drop(a);
        assert!(!path.exists());
    }
}
