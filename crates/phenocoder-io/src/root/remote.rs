//! A store on a server: S3, Google Cloud Storage, Azure Blob Storage, or plain HTTP.
//!
//! What is asked of the server runs on a small runtime of its own, so that callers may be in any thread, also in one of
//! an asynchronous program, where they wait.

mod client;
mod connection;
#[cfg(test)]
pub(crate) mod faults;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use tokio::runtime::Runtime;
use url::Url;

use self::connection::{Budget, UsedUp, build, is_caused_by};
use self::upload::{Room, Stopped};
use super::{RangeFile, ReadAt, Source, SourceEntry, folders_of, without_secrets};
use crate::path::{child, join, prefix};
use crate::{Error, OpenOptions, Result, json};

/// A store on a server.
#[derive(Debug)]
pub(crate) struct Remote {
    server: Arc<Server>,
    /// Metadata files by key, as the consolidated metadata tell them; `None` where there are none.
    consolidated: Mutex<Option<Consolidated>>,
    metadata_limit: u64,
}

/// Metadata files by key.
type Nodes = BTreeMap<String, Vec<u8>>;

/// What was read of the consolidated metadata, which may not be there.
type Consolidated = Option<Arc<Nodes>>;

/// The connection, which open files share.
pub(crate) struct Server {
    runtime: Option<Runtime>,
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// For messages: without what is secret.
    address: String,
    /// Whether the server lists what it has; plain HTTP does not.
    lists: bool,
    budget: Arc<Budget>,
    room: Room,
    readable: Mutex<Readable>,
    /// How often a lock is renewed.
    renewal: Duration,
}

/// What is known of the right to read.
#[derive(Debug, Default)]
struct Readable {
    /// A file that was read.
    proof: Option<String>,
    /// The first refusal, while nothing was read.
    refusal: Option<Error>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The connection holds credentials.
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A runtime must not wait for its end in a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A version of a file, to replace no other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Version(UpdateVersion);

/// A file as it was stored at some time.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: Version,
    /// When, by the clock of the server.
    written: SystemTime,
}

impl Stored {
    /// How long ago it was written, by the clocks of the server and of this machine.
    pub(crate) fn age(&self) -> Duration {
        self.written.elapsed().unwrap_or_default()
    }
}

impl Server {
    fn connect(address: &str, options: &OpenOptions) -> Result<Self> {
        let shown = without_secrets(address);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| Error::Remote {
            address: shown.clone(),
            key: String::new(),
            source: error,
        };
        let url = Url::parse(address).map_err(|error| failed(error.into()))?;
        // The error of the library would hold the address.
        let (scheme, prefix) = ObjectStoreScheme::parse(&url)
            .map_err(|_| failed("only s3, gs, az, http and https addresses are read".into()))?;
        let lists = scheme != ObjectStoreScheme::Http;
        let budget = Arc::new(Budget::new(options.max_requests));
        let objects =
            build(&url, scheme, options, &budget).map_err(|error| failed(error.into()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("phenocoder-io")
            .enable_all()
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            runtime: Some(runtime),
            objects,
            prefix,
            address: shown,
            lists,
            budget,
            room: Room::default(),
            readable: Mutex::default(),
            renewal: Duration::from_secs(60),
        })
    }

    /// As one that is connected to `objects`, which tests make.
    #[cfg(test)]
    pub(crate) fn on(objects: Arc<dyn ObjectStore>, part: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self {
            runtime: Some(runtime),
            objects,
            prefix: Path::from("s.zarr"),
            address: "test://s.zarr".to_owned(),
            lists: true,
            budget: Arc::new(Budget::new(None)),
            room: Room::new(4 * part, part),
            readable: Mutex::default(),
            renewal: Duration::from_millis(20),
        }
    }

    fn path(&self, key: &str) -> Result<Path> {
        let path = if key.is_empty() {
            self.prefix.as_ref().to_owned()
        } else {
            child(self.prefix.as_ref(), key)
        };
        Path::parse(&path).map_err(|_| Error::InvalidPath {
            key: key.to_owned(),
            path,
        })
    }

    fn failed(&self, key: &str, error: object_store::Error) -> Error {
        if is_caused_by::<UsedUp>(&error) {
            return self.used_up(key);
        }
        if is_caused_by::<Stopped>(&error) {
            return self.lock_lost();
        }
        match error {
            object_store::Error::Precondition { .. } => self.locked(),
            error => Error::Remote {
                address: self.address.clone(),
                key: key.to_owned(),
                source: error.into(),
            },
        }
    }

    fn used_up(&self, key: &str) -> Error {
        Error::TooManyRequests {
            key: key.to_owned(),
            address: self.address.clone(),
            limit: self.budget.limit().unwrap_or(u64::MAX),
        }
    }

    /// The error while somebody else has the lock.
    pub(crate) fn locked(&self) -> Error {
        Error::Locked {
            path: self.address.clone().into(),
        }
    }

    /// The error of what failed on this machine.
    pub(crate) fn failed_here(&self, key: &str, error: std::io::Error) -> Error {
        Error::Remote {
            address: self.address.clone(),
            key: key.to_owned(),
            source: error.into(),
        }
    }

    /// How often a lock is renewed.
    pub(crate) fn renewal(&self) -> Duration {
        self.renewal
    }

    /// The error of a writer whose lock somebody else took away.
    pub(crate) fn lock_lost(&self) -> Error {
        Error::LockLost {
            path: self.address.clone().into(),
        }
    }

    /// Keeps requests for later, to be put back before they are sent.
    pub(crate) fn keep_requests(&self, key: &str, n: u64) -> Result<()> {
        if self.budget.take(n) {
            Ok(())
        } else {
            Err(self.used_up(key))
        }
    }

    pub(crate) fn put_back_requests(&self, n: u64) {
        self.budget.put_back(n);
    }

    /// An error unless so many requests may still be sent.
    pub(crate) fn must_have_requests(&self, key: &str, n: u64) -> Result<()> {
        if self.budget.has(n) {
            Ok(())
        } else {
            Err(self.used_up(key))
        }
    }

    /// Has the runtime do something, and waits for it; `None` when nothing was found.
    fn ask<T, F>(
        &self,
        key: &str,
        work: impl FnOnce(Arc<dyn ObjectStore>, Path) -> F,
    ) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let future = work(Arc::clone(&self.objects), self.path(key)?);
        let (sender, receiver) = mpsc::sync_channel(1);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                // Nobody listens when the caller is gone.
                let _ = sender.send(future.await);
            });
        }
        match receiver.recv() {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(object_store::Error::NotFound { .. })) => Ok(None),
            Ok(Err(error)) => Err(self.failed(key, error)),
            Err(error) => Err(Error::Remote {
                address: self.address.clone(),
                key: key.to_owned(),
                source: error.into(),
            }),
        }
    }

    /// A whole file; `None` where there is none.
    pub(crate) fn get(&self, key: &str, limit: u64) -> Result<Option<Stored>> {
        let found = self.ask(key, |objects, path| async move {
            let result = objects.get(&path).await?;
            let version = UpdateVersion {
                e_tag: result.meta.e_tag.clone(),
                version: result.meta.version.clone(),
            };
            let written = SystemTime::from(result.meta.last_modified);
            let size = result.meta.size;
            // The body of one that is too large is not asked for.
            let bytes = if size > limit {
                None
            } else {
                Some(result.bytes().await?)
            };
            Ok((size, bytes, version, written))
        })?;
        match found {
            None => Ok(None),
            Some((_, Some(bytes), version, written)) => Ok(Some(Stored {
                bytes: bytes.into(),
                version: Version(version),
                written,
            })),
            Some((size, None, ..)) => Err(Error::TooLarge {
                key: key.to_owned(),
                what: "a file with bytes",
                found: size.into(),
                limit,
            }),
        }
    }

    /// As [`get`](Self::get), for a file that need not be there.
    ///
    /// Buckets that may not be listed answer for what is not there as for what may not be read (403).
    fn find(&self, key: &str, limit: u64) -> Result<Option<Stored>> {
        let found = self.get(key, limit);
        if let Ok(Some(_)) = found {
            let mut readable = self.readable();
            if readable.proof.is_none() {
                *readable = Readable {
                    proof: Some(key.to_owned()),
                    refusal: None,
                };
            }
        }
        self.absent_if_refused(found)
    }

    /// Takes a refusal for the answer of a server that has no such file, if a file of the store that was read before can
    /// be read now.
    ///
    /// While none was, as in the middle of opening, it is kept for [`refusal`](Self::refusal).
    fn absent_if_refused<T>(&self, found: Result<Option<T>>) -> Result<Option<T>> {
        let refusal = match found {
            Err(error) if error.is_refusal() => error,
            found => return found,
        };
        let mut readable = self.readable();
        let Some(proof) = readable.proof.clone() else {
            readable.refusal.get_or_insert(refusal);
            return Ok(None);
        };
        drop(readable);
        match self.ask(&proof, head) {
            Ok(Some(_)) => Ok(None),
            _ => Err(refusal),
        }
    }

    fn readable(&self) -> MutexGuard<'_, Readable> {
        self.readable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing could be read, where the server refused.
    fn refusal(&self) -> Option<Error> {
        self.readable().refusal.take()
    }

    /// Writes a file, whole or not at all; with a version only in its place.
    pub(crate) fn put(&self, key: &str, bytes: Vec<u8>, over: Option<Version>) -> Result<Version> {
        let mode = over.map_or(PutMode::Overwrite, |Version(version)| {
            PutMode::Update(version)
        });
        let put = self.ask(key, |objects, path| async move {
            let options = PutOptions::from(mode);
            let payload = PutPayload::from(bytes);
            objects.put_opts(&path, payload, options).await
        })?;
        put.map(|result| Version(result.into()))
            .ok_or_else(|| self.no_bucket(key))
    }

    /// Writes a file where there is none.
    pub(crate) fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Version> {
        let created = self.ask(key, |objects, path| async move {
            let payload = PutPayload::from(bytes);
            match objects
                .put_opts(&path, payload, PutMode::Create.into())
                .await
            {
                Ok(created) => Ok(Some(created)),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        match created {
            Some(Some(created)) => Ok(Version(created.into())),
            Some(None) => Err(Error::Exists {
                path: self.address.clone().into(),
            }),
            None => Err(self.no_bucket(key)),
        }
    }

    /// The version of a file that is there now.
    pub(crate) fn version(&self, key: &str) -> Result<Option<Version>> {
        let meta = self.ask(
            key,
            |objects, path| async move { objects.head(&path).await },
        )?;
        Ok(meta.map(|meta| {
            Version(UpdateVersion {
                e_tag: meta.e_tag,
                version: meta.version,
            })
        }))
    }

    fn no_bucket(&self, key: &str) -> Error {
        Error::Remote {
            address: self.address.clone(),
            key: key.to_owned(),
            source: "there is no such bucket".into(),
        }
    }

    /// Sends files, several at a time, until `stop` is set; each appears whole.
    pub(crate) fn put_all(
        &self,
        files: Vec<(String, std::path::PathBuf)>,
        stop: &Arc<AtomicBool>,
    ) -> Result<()> {
        let files: Vec<(Path, std::path::PathBuf)> = files
            .into_iter()
            .map(|(key, file)| Ok((self.path(&key)?, file)))
            .collect::<Result<_>>()?;
        let (room, stop) = (self.room.clone(), Arc::clone(stop));
        self.ask("", |objects, _| room.send_all(objects, files, stop))?;
        Ok(())
    }

    /// Removes a file.
    pub(crate) fn delete(&self, key: &str) -> Result<()> {
        self.ask(
            key,
            |objects, path| async move { objects.delete(&path).await },
        )?;
        Ok(())
    }

    /// Removes everything below a folder.
    pub(crate) fn remove_folder(&self, key: &str) -> Result<()> {
        self.ask(key, |objects, path| async move {
            let found = objects.list(Some(&path)).map_ok(|meta| meta.location);
            let removed = objects.delete_stream(found.boxed());
            removed.try_for_each(|_| async { Ok(()) }).await
        })?;
        Ok(())
    }

    pub(crate) fn lists(&self) -> bool {
        self.lists
    }
}

impl Remote {
    pub(crate) fn open(address: &str, options: &OpenOptions) -> Result<Self> {
        let server = Server::connect(address.trim_end_matches('/'), options)?;
        Ok(Self {
            server: Arc::new(server),
            consolidated: Mutex::new(None),
            metadata_limit: options.max_metadata_bytes,
        })
    }

    /// As one that was opened, on what tests make.
    #[cfg(test)]
    pub(crate) fn on(server: Server) -> Self {
        Self {
            server: Arc::new(server),
            consolidated: Mutex::new(None),
            metadata_limit: 1 << 20,
        }
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The consolidated metadata; they are read once.
    pub(crate) fn consolidated(&self) -> Result<Option<Arc<Nodes>>> {
        let mut kept = self
            .consolidated
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.as_ref() {
            return Ok(found.clone());
        }
        let found = self.read_consolidated()?.map(Arc::new);
        *kept = Some(found.clone());
        Ok(found)
    }

    /// Has the consolidated metadata read anew.
    pub(crate) fn forget(&self) {
        *self
            .consolidated
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The most bytes that consolidated metadata may have.
    pub(crate) fn contents_limit(&self) -> u64 {
        self.metadata_limit.saturating_mul(8)
    }

    fn read_consolidated(&self) -> Result<Option<Nodes>> {
        let limit = self.contents_limit();
        for file in ["zarr.json", ".zmetadata", "zmetadata"] {
            let Some(Stored { bytes, .. }) = self.server.find(file, limit)? else {
                continue;
            };
            let metadata = json::parse_object(file, &bytes)?;
            let nodes = match file {
                "zarr.json" => metadata
                    .get("consolidated_metadata")
                    .and_then(|c| c.get("metadata")),
                _ => metadata.get("metadata"),
            };
            let Some(nodes) = nodes.and_then(serde_json::Value::as_object) else {
                return Ok(None);
            };
            let mut found = BTreeMap::new();
            for (key, node) in nodes {
                let key = if file == "zarr.json" {
                    child(key, "zarr.json")
                } else {
                    key.clone()
                };
                match join("", &key) {
                    Ok(key) => {
                        found.insert(key, node.to_string().into_bytes());
                    }
                    Err(error) => {
                        tracing::warn!(%error, "left out of the consolidated metadata");
                    }
                }
            }
            if file == "zarr.json" {
                found.insert(file.to_owned(), bytes);
            }
            return Ok(Some(found));
        }
        Ok(None)
    }

    /// What the consolidated metadata say of a metadata file: there, not there, or nothing.
    fn known(&self, key: &str) -> Result<Option<Option<Vec<u8>>>> {
        let Some(nodes) = self.consolidated()? else {
            return Ok(None);
        };
        if let Some(bytes) = nodes.get(key) {
            return Ok(Some(Some(bytes.clone())));
        }
        // Of an element that is listed all nodes are.
        let element = key
            .match_indices('/')
            .nth(1)
            .and_then(|(at, _)| key.get(..=at));
        let listed = element.is_some_and(|element| {
            let first = nodes.range(element.to_owned()..).next();
            first.is_some_and(|(key, _)| key.starts_with(element))
        });
        Ok((listed || !self.server.lists()).then_some(None))
    }
}

async fn head(objects: Arc<dyn ObjectStore>, path: Path) -> object_store::Result<u64> {
    Ok(objects.head(&path).await?.size)
}

impl Source for Remote {
    fn address(&self) -> String {
        self.server.address.clone()
    }

    fn lists(&self) -> bool {
        self.server.lists()
    }

    fn file(&self, key: &str) -> Result<Option<RangeFile>> {
        let size = self.server.ask(key, head)?;
        Ok(size.map(|size| {
            let bytes = RemoteBytes {
                server: Arc::clone(&self.server),
                key: key.to_owned(),
            };
            RangeFile::new(size, bytes)
        }))
    }

    fn probe(&self, key: &str) -> Result<Option<RangeFile>> {
        self.server.absent_if_refused(self.file(key))
    }

    fn refusal(&self) -> Option<Error> {
        self.server.refusal()
    }

    fn read(&self, key: &str, limit: u64, out: &mut Vec<u8>) -> Result<bool> {
        let found = self.server.get(key, limit)?;
        Ok(found.map(|stored| *out = stored.bytes).is_some())
    }

    fn read_metadata(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.known(key)? {
            Some(known) => Ok(known),
            None => Ok(self.server.find(key, limit)?.map(|stored| stored.bytes)),
        }
    }

    fn entries(&self, key: &str) -> Result<Vec<SourceEntry>> {
        if self.server.lists() {
            let listed = self.server.ask(key, |objects, path| async move {
                let listed = objects.list_with_delimiter(Some(&path)).await?;
                let name = |path: &Path| path.filename().unwrap_or_default().to_owned();
                let folders = listed.common_prefixes.iter().map(|p| (name(p), true));
                let files = listed.objects.iter().map(|o| (name(&o.location), false));
                Ok(folders.chain(files).collect::<BTreeMap<String, bool>>())
            })?;
            let listed = listed.unwrap_or_default().into_iter();
            return Ok(listed
                .map(|(name, is_folder)| SourceEntry {
                    name,
                    is_folder,
                    is_link: false,
                })
                .collect());
        }
        Err(Error::NotAStore {
            path: self.address().into(),
            problem: "the server lists nothing".to_owned(),
        })
    }

    fn folders(&self, key: &str, with_links: bool) -> Result<Vec<String>> {
        let Some(nodes) = self.consolidated()? else {
            return Ok(folders_of(self.entries(key)?, with_links));
        };
        let prefix = prefix(key);
        let mut found = Vec::new();
        let below = nodes.keys().filter_map(|key| key.strip_prefix(&prefix));
        for (folder, _) in below.filter_map(|rest| rest.split_once('/')) {
            if found.last().is_none_or(|last| last != folder) {
                found.push(folder.to_owned());
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn remote(&self) -> Option<&Remote> {
        Some(self)
    }
}

/// A file on a server.
#[derive(Debug)]
struct RemoteBytes {
    server: Arc<Server>,
    key: String,
}

impl ReadAt for RemoteBytes {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let range: Range<u64> = offset..offset + out.len() as u64;
        let bytes = self.server.ask(&self.key, |objects, path| async move {
            objects.get_range(&path, range).await
        })?;
        match bytes {
            Some(bytes) if bytes.len() == out.len() => {
                out.copy_from_slice(&bytes);
                Ok(())
            }
            Some(bytes) => {
                let problem = format!("{} bytes were sent, not {}", bytes.len(), out.len());
                Err(Error::corrupt(self.key.as_str(), problem))
            }
            None => Err(Error::missing(self.key.as_str(), "a file")),
        }
    }
}
