//! Changes of a store on a server.
//!
//! A server knows no renaming and no change of several files at once. What it does is replace one file, whole. So the
//! consolidated metadata of the root, one file, decide what the store holds:
//! an element is taken out of them before its files are touched, and put in after all of its files are there.
//! Whoever reads them meanwhile sees the store without the element, never half of one, and a writer that dies leaves
//! files that nobody is told of.
//! Two writers do not meet: a file that only one can create keeps the other out, and each replaces the root only if it
//! is the version that it has read.
//! Few files outside of elements repeat what the table of contents says: the list of masks and, in Zarr v2, the
//! attributes of the root. They are written after it; the lock notes them before, so that whoever puts the store in order
//! after a writer that died between writes them.

mod lock;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use self::lock::{RemoteLock, must_be_at_rest, new_id};
use super::atomic::list_labels;
use super::consolidated::{self, CONSOLIDATED, node_of, render_v2, render_v3};
use super::element::{ContainerVersion, ElementKind, WriteMode};
use super::{Repair, RepairOptions, Store, listing, new_root};
use crate::disk::{Disk, Place};
use crate::json::{self, Members};
use crate::node::{Node, ZarrFormat};
use crate::path::{check_name, child, prefix};
use crate::root::{Remote, Root, Server, Source, StoredPath, Version};
use crate::{Error, OpenOptions, Result};

/// The copy of `.zmetadata` that SpatialData up to 0.5 reads.
const OLD_COPY: &str = "zmetadata";

/// The table of contents of a store on a server.
struct Contents<'a> {
    lock: RemoteLock,
    remote: &'a Remote,
    format: ZarrFormat,
    /// The root's own metadata, in Zarr v3.
    group: Members,
    /// The text of each metadata file.
    nodes: BTreeMap<String, String>,
    version: Option<Version>,
    /// Files that repeat what is in it, with their new text.
    copies: BTreeMap<String, String>,
    /// Whether SpatialData up to 0.5 wrote a copy of the whole.
    has_old: bool,
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
        // What is read from here on is not what others are about to change.
        remote.forget();
        let file = Self::file(format);
        let (group, version) = match server.get(file, remote.contents_limit())? {
            Some(found) => {
                let group = json::parse_members(file, &found.bytes)?;
                (group, Some(found.version))
            }
            None if format == ZarrFormat::V2 => (Members::new(), None),
            None => return Err(Error::missing(file, "the metadata of the store")),
        };
        let mut group = group;
        group.retain(|(name, _)| name != CONSOLIDATED);
        let mut nodes = consolidated::nodes(root, format)?;
        if format == ZarrFormat::V3 {
            nodes.remove(file);
        }
        Ok(Self {
            lock,
            remote,
            format,
            group,
            nodes,
            version,
            copies: BTreeMap::new(),
            has_old: format == ZarrFormat::V2 && server.version(OLD_COPY)?.is_some(),
        })
    }

    fn server(&self) -> &Server {
        self.lock.server()
    }

    /// Keeps as many requests as a change needs, so that it does not end in the middle: for the table of contents as
    /// often as it is made public, for as many metadata files, and for what else there is.
    fn begin(&self, key: &str, public: u64, metadata: usize, others: u64) -> Result<()> {
        // Before each comes a look at the lock; beside the table of contents, the lock and two copies are written.
        let needed = 2 * (4 * public + metadata as u64) + others;
        self.server().keep(key, needed)
    }

    /// Gives the lock up.
    fn end(self) -> Result<()> {
        self.lock.release()
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

    /// Makes the table of contents public, unless somebody else did or has the lock, and then what repeats it.
    fn publish(&mut self) -> Result<()> {
        let contents = self.render();
        if self.has_old {
            self.copies.insert(OLD_COPY.to_owned(), contents.clone());
        }
        if self.copies.is_empty() {
            self.lock.check()?;
            return self.put_contents(contents);
        }
        self.lock.note(self.copies.keys().cloned())?;
        let published = self.put_contents(contents).and_then(|()| {
            std::mem::take(&mut self.copies)
                .into_iter()
                .try_for_each(|(key, text)| self.put(&key, text))
        });
        match &published {
            Ok(()) => self.lock.finish(),
            // The lock stays where this fails too: repairing goes on from there.
            Err(_) => {
                if let Err(error) = settle(self.remote, &self.lock) {
                    tracing::warn!(%error, "the lock of the store is left, for files that are not in order");
                }
            }
        }
        published
    }

    fn render(&self) -> String {
        match self.format {
            ZarrFormat::V3 => {
                let by_node = self
                    .nodes
                    .iter()
                    .map(|(key, text)| (node_of(key).to_owned(), text.clone()));
                render_v3(&self.group, by_node.collect())
            }
            ZarrFormat::V2 => render_v2(self.nodes.clone()),
        }
    }

    fn put_contents(&mut self, contents: String) -> Result<()> {
        let (file, bytes) = (Self::file(self.format), contents.into_bytes());
        let written = match self.version.take() {
            Some(version) => self.server().put(file, bytes.clone(), Some(version)),
            None => self.server().create(file, bytes.clone(), &new_id()),
        };
        self.version = Some(match written {
            Ok(version) => version,
            // The reply may have been lost, and the request sent again: what it wrote is another version then.
            Err(error) => match self.server().get(file, self.remote.contents_limit()) {
                Ok(Some(found)) if found.bytes == bytes => found.version,
                _ => return Err(error),
            },
        });
        Ok(())
    }

    fn put(&self, key: &str, text: String) -> Result<()> {
        self.lock.check_now_and_then()?;
        self.server().put(key, text.into_bytes(), None)?;
        Ok(())
    }

    /// Writes a metadata file and takes note of it.
    fn write(&mut self, key: &str, text: String) -> Result<()> {
        self.put(key, text.clone())?;
        self.nodes.insert(key.to_owned(), text);
        Ok(())
    }

    /// Takes note of a metadata file that is there already, and writes it when the table of contents is public.
    fn write_copy(&mut self, key: &str, text: String) {
        self.nodes.insert(key.to_owned(), text.clone());
        self.copies.insert(key.to_owned(), text);
    }

    /// Looks at the lock now and then while something else is waited for, which stops when it is lost.
    fn watch(&self) {
        // Another look may succeed.
        let _ = self.lock.check_now_and_then();
    }

    /// Removes files that are below a key.
    fn clear(&self, key: &str, files: Vec<StoredPath>) -> Result<()> {
        self.lock.check_now_and_then()?;
        let watch = || self.watch();
        self.server().remove(key, files, self.lock.taken(), &watch)
    }

    /// Sends files that nobody is told of yet.
    fn send(&self, files: Vec<(String, PathBuf)>) -> Result<()> {
        self.lock.check_now_and_then()?;
        let watch = || self.watch();
        self.server().put_all(files, self.lock.taken(), &watch)
    }

    /// Puts files in the place of an element, which may be there.
    fn put_element(
        &mut self,
        kind: ElementKind,
        key: &str,
        files: Vec<(String, PathBuf)>,
    ) -> Result<()> {
        let (metadata, data): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(key, _)| is_metadata(key));
        // What is there, of the old element or of a writer that died, must not mix with the new.
        let old = self.server().below(key)?;
        let lens = data.iter().map(|(_, file)| {
            let of_file = fs::metadata(file).map_err(Error::io(file, "read"))?;
            Ok(of_file.len())
        });
        let lens: Vec<u64> = lens.collect::<Result<_>>()?;
        // An element that is taken out and cannot be put back for want of requests would be lost. The metadata of the
        // group are two files.
        let others = self.server().requests(old.len(), lens);
        self.begin(key, 2, metadata.len() + 2, others)?;
        if self.has(key) {
            self.take_out(key);
            self.publish()?;
        }
        self.clear(key, old)?;
        self.make_group(kind.group())?;
        self.send(data)?;
        for (key, file) in metadata {
            let text = fs::read_to_string(&file).map_err(Error::io(&file, "read"))?;
            self.write(&key, text)?;
        }
        if kind == ElementKind::Labels {
            self.list_labels()?;
        }
        self.publish()
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
        let folders = self.nodes.keys().filter_map(|key| key.strip_prefix(prefix));
        let mut names: Vec<String> = folders
            .filter_map(|rest| Some(rest.split_once('/')?.0.to_owned()))
            .collect();
        names.dedup();
        let text = list_labels(key, text.as_bytes(), self.format, names)?;
        self.write_copy(key, text);
        Ok(())
    }
}

/// Writes the files that the lock notes as the table of contents has them; those that said something else.
fn settle(remote: &Remote, lock: &RemoteLock) -> Result<Vec<String>> {
    let server = lock.server();
    lock.check()?;
    let nodes = remote.read_consolidated(server)?.unwrap_or_default();
    let limit = remote.contents_limit();
    let mut written = Vec::new();
    for key in lock.unfinished() {
        let right = if key == OLD_COPY {
            let contents = server.get(".zmetadata", limit)?;
            contents.map(|contents| contents.bytes)
        } else {
            nodes.get(&key).cloned()
        };
        let Some(right) = right else { continue };
        let parsed = |bytes: &[u8]| json::parse(&key, bytes).ok();
        let stored = server.get(&key, limit)?;
        if stored.and_then(|stored| parsed(&stored.bytes)) == parsed(&right) {
            continue;
        }
        lock.check_now_and_then()?;
        server.put(&key, right, None)?;
        written.push(key);
    }
    lock.finish();
    Ok(written)
}

impl Store {
    pub(super) fn create_remote(
        address: &str,
        version: ContainerVersion,
        options: OpenOptions,
    ) -> Result<Self> {
        Self::create_on(Remote::open(address, &options)?, version, options)
    }

    /// Whatever request fails, what is there after the first file is a store, and empty.
    fn create_on(remote: Remote, version: ContainerVersion, options: OpenOptions) -> Result<Self> {
        let address = remote.address();
        if !remote.server().lists() {
            return Err(Error::ReadOnly { place: address });
        }
        // One of another version of the container would be hidden by this.
        let entries = remote.entries("")?;
        if entries.iter().any(|entry| entry.name != listing::LOCK) {
            return Err(Error::Exists {
                path: address.into(),
            });
        }
        let files = new_root(version);
        // Each may have to be looked for where the reply is lost.
        let server = remote.server().keeping("", 2 * files.len() as u64)?;
        // The first file decides who of two creates the store.
        for (name, bytes) in files {
            server.create(name, bytes, &new_id())?;
        }
        Self::from_root(Root::new(remote, options))
    }

    /// Makes a change of what is below a key, and sees what is there where it fails.
    fn change_remote(
        &mut self,
        key: &str,
        change: impl FnOnce(&mut Self, Contents<'_>) -> Result<()>,
    ) -> Result<()> {
        let root = Arc::clone(&self.root);
        let Some(remote) = root.remote() else {
            return Ok(());
        };
        let changed = Contents::read(&root, remote, self.format).and_then(|contents| {
            self.elements = listing::list(&self.root)?;
            change(self, contents)
        });
        self.cache.forget(key);
        remote.forget();
        if changed.is_err() {
            self.see_anew();
        }
        changed
    }

    /// Reads the table of contents anew: what is there is not what this handle knew.
    fn see_anew(&mut self) {
        if let Some(remote) = self.root.remote() {
            remote.forget();
        }
        if let Ok(node) = Node::open(&self.root, "", self.format) {
            self.attributes = node.attributes;
        }
        if let Ok(elements) = listing::list(&self.root) {
            self.elements = elements;
        }
    }

    pub(super) fn put_remote(
        &mut self,
        kind: ElementKind,
        name: &str,
        mode: WriteMode,
        write: impl FnOnce(&Place, Option<&str>) -> Result<()>,
    ) -> Result<()> {
        let key = child(kind.group(), name);
        self.change_remote(&key, |store, mut contents| {
            let exists = contents.has(&key);
            match (exists, mode) {
                (true, WriteMode::Create) => {
                    return Err(Error::Exists {
                        path: child(&store.root.address(), &key).into(),
                    });
                }
                (true, WriteMode::Replace) => {}
                (false, _) => {
                    check_name(name)?;
                    super::write::check_free(name, store.elements.iter())?;
                }
            }
            let scratch = Scratch::new()?;
            let staged = scratch.0.join(name);
            staged.create_folder()?;
            write(&staged, exists.then_some(key.as_str()))?;
            contents.put_element(kind, &key, scratch.files(&key, &staged)?)?;
            store.enter(kind, name);
            contents.end()
        })
    }

    /// Replaces the user's attributes; the table of contents, one file, holds them.
    pub(super) fn write_attributes_remote(&mut self, attributes: Map<String, Value>) -> Result<()> {
        self.change_remote("", |store, mut contents| {
            let new = Value::Object(attributes.clone());
            match store.format {
                ZarrFormat::V3 => json::set_member(&mut contents.group, "attributes", &new),
                ZarrFormat::V2 => {
                    let old = contents.nodes.get(".zattrs");
                    let text = json::render_onto(old.map_or("", String::as_str), &new);
                    contents.write_copy(".zattrs", text);
                }
            }
            contents.begin("", 1, 0, 0)?;
            contents.publish()?;
            store.attributes = attributes;
            contents.end()
        })
    }

    /// The table of contents on a server, of a store that nobody writes to.
    pub(super) fn rest(&self) -> Result<Option<Version>> {
        let Some(remote) = self.root.remote() else {
            return Ok(None);
        };
        must_be_at_rest(remote.server(), RepairOptions::default().lock_age)?;
        remote.server().version(Contents::file(self.format))
    }

    /// An error when the table of contents is another one, or somebody writes.
    pub(super) fn must_rest_as(&self, before: &Option<Version>) -> Result<()> {
        if self.rest()? == *before {
            return Ok(());
        }
        Err(listing::locked(&self.root, ""))
    }

    /// Takes the lock of a writer that died at least `age` ago, and puts in order what it notes.
    pub(super) fn repair_remote(&mut self, age: Duration) -> Result<Repair> {
        let root = Arc::clone(&self.root);
        let mut done = Repair::default();
        let Some(remote) = root.remote() else {
            return Ok(done);
        };
        let server = remote.server();
        if !server.lists() {
            return Err(Error::ReadOnly {
                place: root.address(),
            });
        }
        let Some(lock) = RemoteLock::take_over(server, age)? else {
            return Ok(done);
        };
        done.rewritten = settle(remote, &lock)?;
        lock.release()?;
        done.removed.push(listing::LOCK.to_owned());
        self.see_anew();
        Ok(done)
    }

    pub(super) fn remove_remote(&mut self, kind: ElementKind, name: &str) -> Result<()> {
        self.change_remote(&child(kind.group(), name), |store, mut contents| {
            let key = store.element(kind, name)?.key.clone();
            contents.take_out(&key);
            if kind == ElementKind::Labels {
                contents.list_labels()?;
            }
            let old = contents.server().below(&key)?;
            let others = contents.server().requests(old.len(), []);
            contents.begin(&key, 1, 0, others)?;
            contents.publish()?;
            contents.clear(&key, old)?;
            store.elements.retain(|e| e.key != key);
            contents.end()
        })
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
            // A name that nobody can guess and take before us.
            let name = format!("phenocoder-{}", new_id());
            let place = Place::on(&Disk::volatile(), std::env::temp_dir().join(name));
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
mod tests;
