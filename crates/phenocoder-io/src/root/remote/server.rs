//! What is asked of a server.
//!
//! It runs on a small runtime of its own, so that callers may be in any thread, also in one of an asynchronous program,
//! where they wait.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
pub(crate) use object_store::path::Path as StoredPath;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutMode,
    PutOptions, PutPayload, UpdateVersion,
};
use tokio::runtime::Runtime;
use url::Url;

use super::connection::{Budget, Kept, UsedUp, build, is_caused_by, removed_at_once};
#[cfg(test)]
use super::faults::Faulty;
use super::upload::{self, Outgoing, Room, Stopped};
use crate::path::child;
use crate::root::without_secrets;
use crate::{Error, OpenOptions, Result};

/// The note of a file that tells who created it.
///
/// Azure knows no other names than identifiers.
const WRITER: &str = "phenocoder";

/// A server, as whoever asks it sees it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    connection: Arc<Connection>,
    /// What its requests are taken from, before the budget.
    kept: Option<Arc<Kept>>,
}

/// The connection, which open files share.
struct Connection {
    runtime: Option<Runtime>,
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// For messages: without what is secret.
    address: String,
    /// Whether the server lists what it has; plain HTTP does not.
    lists: bool,
    /// How many files one request removes.
    removed_at_once: u64,
    budget: Arc<Budget>,
    room: Room,
    readable: Mutex<Readable>,
    /// How often a lock is renewed.
    renewal: Duration,
    /// How old the last look at a lock may be when something is written.
    look: Duration,
}

/// What is known of the right to read.
#[derive(Debug, Default)]
struct Readable {
    /// A file that was read.
    proof: Option<String>,
    /// The first refusal, while nothing was read.
    refusal: Option<Error>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is left out holds credentials.
        f.debug_struct("Connection")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for Connection {
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
    pub(super) fn connect(address: &str, options: &OpenOptions) -> Result<Self> {
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
        let removed_at_once = removed_at_once(&scheme, options);
        let budget = Arc::new(Budget::new(options.max_requests));
        let objects =
            build(&url, scheme, options, &budget).map_err(|error| failed(error.into()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("phenocoder-io")
            .enable_all()
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(Self::new(Connection {
            runtime: Some(runtime),
            objects,
            prefix,
            address: shown,
            lists,
            removed_at_once,
            budget,
            room: Room::default(),
            readable: Mutex::default(),
            renewal: Duration::from_secs(60),
            look: Duration::from_secs(1),
        }))
    }

    fn new(connection: Connection) -> Self {
        Self {
            connection: Arc::new(connection),
            kept: None,
        }
    }

    /// As one that is connected to what tests make.
    #[cfg(test)]
    pub(crate) fn on(objects: &Faulty, part: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self::new(Connection {
            runtime: Some(runtime),
            objects: Arc::new(objects.clone()),
            prefix: Path::from("s.zarr"),
            address: "test://s.zarr".to_owned(),
            lists: true,
            removed_at_once: 1,
            budget: Arc::clone(&objects.budget),
            room: Room::new(4 * part, part),
            readable: Mutex::default(),
            renewal: match objects.renewal {
                Duration::ZERO => Duration::from_secs(60),
                renewal => renewal,
            },
            look: Duration::ZERO,
        })
    }

    fn path(&self, key: &str) -> Result<Path> {
        let path = if key.is_empty() {
            self.connection.prefix.as_ref().to_owned()
        } else {
            child(self.connection.prefix.as_ref(), key)
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
                address: self.connection.address.clone(),
                key: key.to_owned(),
                source: error.into(),
            },
        }
    }

    fn used_up(&self, key: &str) -> Error {
        Error::TooManyRequests {
            key: key.to_owned(),
            address: self.connection.address.clone(),
            limit: self.connection.budget.limit().unwrap_or(u64::MAX),
        }
    }

    /// The error while somebody else has the lock.
    pub(crate) fn locked(&self) -> Error {
        Error::Locked {
            path: self.connection.address.clone().into(),
        }
    }

    /// The error of what failed on this machine.
    pub(crate) fn failed_here(&self, key: &str, error: std::io::Error) -> Error {
        Error::Remote {
            address: self.connection.address.clone(),
            key: key.to_owned(),
            source: error.into(),
        }
    }

    /// How often a lock is renewed.
    pub(crate) fn renewal(&self) -> Duration {
        self.connection.renewal
    }

    /// How old the last look at a lock may be when something is written.
    pub(crate) fn look(&self) -> Duration {
        self.connection.look
    }

    /// The error of a writer whose lock somebody else took away.
    pub(crate) fn lock_lost(&self) -> Error {
        Error::LockLost {
            path: self.connection.address.clone().into(),
        }
    }

    /// The server to somebody for whom `n` requests are kept, whatever others ask of it.
    pub(crate) fn keeping(&self, key: &str, n: u64) -> Result<Self> {
        let kept = Kept::of(&self.connection.budget, n).ok_or_else(|| self.used_up(key))?;
        Ok(Self {
            connection: Arc::clone(&self.connection),
            kept: Some(Arc::new(kept)),
        })
    }

    /// The server to somebody for whom nothing is kept.
    pub(crate) fn without_kept(&self) -> Self {
        Self {
            connection: Arc::clone(&self.connection),
            kept: None,
        }
    }

    /// Keeps `n` requests more.
    pub(crate) fn keep(&self, key: &str, n: u64) -> Result<()> {
        match &self.kept {
            Some(kept) if !kept.more(n) => Err(self.used_up(key)),
            _ => Ok(()),
        }
    }

    /// How many requests it takes to remove so many files and to send files of these lengths.
    pub(crate) fn requests(&self, removed: usize, lens: impl IntoIterator<Item = u64>) -> u64 {
        let removals = (removed as u64).div_ceil(self.connection.removed_at_once);
        removals + self.connection.room.requests(lens)
    }

    /// Has the runtime do something, and waits for it; `None` when nothing was found.
    pub(super) fn ask<T, F>(
        &self,
        key: &str,
        work: impl FnOnce(Arc<dyn ObjectStore>, Path) -> F,
    ) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        self.ask_watched(key, None, work)
    }

    /// As [`ask`](Self::ask), and has something done now and then while it waits.
    fn ask_watched<T, F>(
        &self,
        key: &str,
        watch: Option<&dyn Fn()>,
        work: impl FnOnce(Arc<dyn ObjectStore>, Path) -> F,
    ) -> Result<Option<T>>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let future = work(Arc::clone(&self.connection.objects), self.path(key)?);
        let future = Kept::spent_by(self.kept.clone(), future);
        let (sender, receiver) = mpsc::sync_channel(1);
        if let Some(runtime) = &self.connection.runtime {
            runtime.spawn(async move {
                // Nobody listens when the caller is gone.
                let _ = sender.send(future.await);
            });
        }
        let answer = loop {
            let Some(watch) = watch else {
                break receiver.recv().map_err(RecvTimeoutError::from);
            };
            let pause = self.connection.look.max(Duration::from_millis(1));
            match receiver.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => watch(),
                answer => break answer,
            }
        };
        match answer {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(object_store::Error::NotFound { .. })) => Ok(None),
            Ok(Err(error)) => Err(self.failed(key, error)),
            Err(error) => Err(Error::Remote {
                address: self.connection.address.clone(),
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
                Some(collect(result.into_stream(), size).await?)
            };
            Ok((size, bytes, version, written))
        })?;
        match found {
            None => Ok(None),
            Some((_, Some(bytes), version, written)) => Ok(Some(Stored {
                bytes,
                version: Version(version),
                written,
            })),
            Some((size, None, ..)) => Err(Error::too_large(key, "a file with bytes", size, limit)),
        }
    }

    /// A part of a file, or less where it ends; `None` where there is none.
    pub(super) fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        self.ask(key, |objects, path| async move {
            let most = range.end - range.start;
            let options = GetOptions::new().with_range(Some(range));
            let result = objects.get_opts(&path, options).await?;
            collect(result.into_stream(), most).await
        })
    }

    /// As [`get`](Self::get), for a file that need not be there.
    ///
    /// Buckets that may not be listed answer for what is not there as for what may not be read (403).
    pub(super) fn find(&self, key: &str, limit: u64) -> Result<Option<Stored>> {
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
    pub(super) fn absent_if_refused<T>(&self, found: Result<Option<T>>) -> Result<Option<T>> {
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
        self.connection
            .readable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing could be read, where the server refused.
    pub(super) fn refusal(&self) -> Option<Error> {
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
    ///
    /// The `id`, which is like no other, goes with it: so it is known again where the reply was lost.
    pub(crate) fn create(&self, key: &str, bytes: Vec<u8>, id: &str) -> Result<Version> {
        let writer = (Attribute::Metadata(WRITER.into()), id.to_owned());
        let created = self.ask(key, |objects, path| async move {
            let options = PutOptions {
                mode: PutMode::Create,
                attributes: Attributes::from_iter([writer]),
                ..PutOptions::default()
            };
            let payload = PutPayload::from(bytes);
            match objects.put_opts(&path, payload, options).await {
                Ok(created) => Ok(Some(created)),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let error = match created {
            Ok(Some(Some(created))) => return Ok(Version(created.into())),
            Ok(Some(None)) => Error::Exists {
                path: self.connection.address.clone().into(),
            },
            Ok(None) => return Err(self.no_bucket(key)),
            Err(error) => error,
        };
        // The request may have been sent again since the reply was lost.
        match self.version_by(key, Some(id)) {
            Ok(Some(version)) => Ok(version),
            _ => Err(error),
        }
    }

    /// The version of a file that is there now.
    pub(crate) fn version(&self, key: &str) -> Result<Option<Version>> {
        self.version_by(key, None)
    }

    /// The version of a file that is there now, if it is of that writer.
    fn version_by(&self, key: &str, id: Option<&str>) -> Result<Option<Version>> {
        let found = self.ask(key, |objects, path| async move {
            let options = GetOptions::new().with_head(true);
            let found = objects.get_opts(&path, options).await?;
            Ok((found.meta, found.attributes))
        })?;
        let writer = Attribute::Metadata(WRITER.into());
        let found = found.filter(|(_, attributes)| {
            let writer = attributes.get(&writer).map(|writer| &**writer);
            id.is_none() || writer == id
        });
        Ok(found.map(|(meta, _)| {
            Version(UpdateVersion {
                e_tag: meta.e_tag,
                version: meta.version,
            })
        }))
    }

    fn no_bucket(&self, key: &str) -> Error {
        Error::Remote {
            address: self.connection.address.clone(),
            key: key.to_owned(),
            source: "there is no such bucket".into(),
        }
    }

    /// Sends files, several at a time, until `stop` is set; each appears whole.
    ///
    /// `watch` is done now and then meanwhile.
    pub(crate) fn put_all(
        &self,
        files: Vec<(String, std::path::PathBuf)>,
        stop: &Arc<AtomicBool>,
        watch: &dyn Fn(),
    ) -> Result<()> {
        let outgoing = files.into_iter().map(|(key, file)| {
            let path = self.path(&key)?;
            Ok(Outgoing { key, path, file })
        });
        let outgoing = outgoing.collect::<Result<_>>()?;
        let (room, stop) = (self.connection.room.clone(), Arc::clone(stop));
        let sent = self.ask_watched("", Some(watch), |objects, _| async move {
            Ok(room.send_all(objects, outgoing, stop).await)
        })?;
        match sent {
            Some(Err((key, error))) => Err(self.failed(&key, error)),
            _ => Ok(()),
        }
    }

    /// Everything below a folder.
    pub(crate) fn below(&self, key: &str) -> Result<Vec<Path>> {
        let found = self.ask(key, |objects, path| async move {
            let found = objects.list(Some(&path)).map_ok(|meta| meta.location);
            found.try_collect().await
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Removes files until `stop` is set; `watch` is done now and then meanwhile.
    ///
    /// A file that is not there any more is removed: the request may have been sent again since the reply was lost.
    pub(crate) fn remove(
        &self,
        key: &str,
        files: Vec<Path>,
        stop: &Arc<AtomicBool>,
        watch: &dyn Fn(),
    ) -> Result<()> {
        let stop = Arc::clone(stop);
        self.ask_watched(key, Some(watch), |objects, _| async move {
            let files = futures_util::stream::iter(files)
                .map(move |file| upload::unless_stopped(&stop).map(|()| file));
            let mut removed = objects.delete_stream(files.boxed());
            while let Some(removed) = removed.next().await {
                match removed {
                    Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// For messages.
    pub(super) fn address(&self) -> String {
        self.connection.address.clone()
    }

    pub(crate) fn lists(&self) -> bool {
        self.connection.lists
    }
}

/// The source of the error of a server that sends more than it announced or than was asked for.
#[derive(Debug)]
struct TooLong(u64);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} bytes were sent", self.0)
    }
}

impl std::error::Error for TooLong {}

/// Puts together what is sent, which may end early; no more than `most` bytes are taken.
async fn collect(
    mut sent: BoxStream<'static, object_store::Result<Bytes>>,
    most: u64,
) -> object_store::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(most.min(1 << 20) as usize);
    while let Some(part) = sent.try_next().await? {
        if (bytes.len() + part.len()) as u64 > most {
            return Err(object_store::Error::Generic {
                store: "server",
                source: TooLong(most).into(),
            });
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

pub(super) async fn head(objects: Arc<dyn ObjectStore>, path: Path) -> object_store::Result<u64> {
    Ok(objects.head(&path).await?.size)
}
