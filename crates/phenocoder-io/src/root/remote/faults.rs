//! A server in memory that fails when it is told to.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::connection::{Budget, UsedUp};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What is done when a request comes: its kind and the path.
type Watch = Box<dyn Fn(&str, &Path) + Send + Sync>;

/// When a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server never gets it.
    Request,
    /// The server does it, and the reply is lost.
    Reply,
    /// As [`Reply`](Self::Reply), and the request is sent again, as `object_store` does: the second reply arrives.
    ///
    /// What is asked for is the same then, and so are parts.
    Again,
}

#[derive(Default)]
struct Plan {
    /// Requests until the first that fails, how, and whether all that follow do.
    failing: Option<(usize, Failure, bool)>,
    hit: Option<String>,
}

/// A server in memory.
#[derive(Clone, Default)]
pub(crate) struct Faulty {
    objects: Arc<InMemory>,
    plan: Arc<Mutex<Plan>>,
    watch: Arc<Mutex<Option<Watch>>>,
    /// How long it takes to store something.
    pub(crate) delay: Duration,
    /// How often locks are renewed; every minute where it is zero.
    pub(crate) renewal: Duration,
    /// Bytes that are being stored, and the most that were at a time.
    in_flight: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
    /// Uploads in parts that were begun and neither completed nor aborted.
    open: Arc<AtomicUsize>,
    /// How much older files are than they are.
    aged: Arc<Mutex<Duration>>,
    pub(super) budget: Arc<Budget>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").finish_non_exhaustive()
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

/// What is in memory is there at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

impl Faulty {
    /// All files by their paths.
    pub(crate) fn content(&self) -> BTreeMap<String, Vec<u8>> {
        now(async {
            let found: Vec<ObjectMeta> = self.objects.list(None).try_collect().await.unwrap();
            let mut content = BTreeMap::new();
            for meta in found {
                let stored = self.objects.get(&meta.location).await.unwrap();
                content.insert(
                    meta.location.to_string(),
                    stored.bytes().await.unwrap().to_vec(),
                );
            }
            content
        })
    }

    /// A server that holds these files.
    pub(crate) fn with(content: &BTreeMap<String, Vec<u8>>) -> Self {
        let server = Self::default();
        for (path, bytes) in content {
            server.store(path, bytes);
        }
        server
    }

    pub(crate) fn store(&self, path: &str, bytes: &[u8]) {
        now(self.objects.put(&Path::from(path), bytes.to_vec().into())).unwrap();
    }

    /// Has the `n`-th request from now on fail, and all that follow if `for_good`.
    pub(crate) fn fail(&self, n: usize, failure: Failure, for_good: bool) {
        *self.plan.lock().unwrap() = Plan {
            failing: Some((n, failure, for_good)),
            hit: None,
        };
    }

    /// Has nothing fail any more; the request that failed first.
    pub(crate) fn heal(&self) -> Option<String> {
        std::mem::take(&mut *self.plan.lock().unwrap()).hit
    }

    /// Has something done when requests come.
    pub(crate) fn watch(&self, watch: impl Fn(&str, &Path) + Send + Sync + 'static) {
        *self.watch.lock().unwrap() = Some(Box::new(watch));
    }

    /// The most bytes that were being stored at a time.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }

    /// How many uploads in parts were begun and neither completed nor aborted.
    pub(crate) fn open_uploads(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Allows so many requests from now on.
    pub(crate) fn limit(&mut self, requests: u64) {
        self.budget = Arc::new(Budget::new(Some(requests)));
    }

    /// How many requests were counted since, with those that are kept for later.
    pub(crate) fn used(&self) -> u64 {
        self.budget.used()
    }

    /// Has files be so much older than they are.
    pub(crate) fn age(&self, by: Duration) {
        *self.aged.lock().unwrap() += by;
    }

    fn next(&self, kind: &str, path: &Path) -> Result<Option<Failure>> {
        if !self.budget.take_one() {
            return Err(object_store::Error::Generic {
                store: "test",
                source: UsedUp.into(),
            });
        }
        Ok(self.failure(kind, path))
    }

    fn failure(&self, kind: &str, path: &Path) -> Option<Failure> {
        if let Some(watch) = &*self.watch.lock().unwrap() {
            watch(kind, path);
        }
        let mut plan = self.plan.lock().unwrap();
        let (left, failure, for_good) = plan.failing.as_mut()?;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let (failure, for_good) = (*failure, *for_good);
        if plan.hit.is_some() && !for_good {
            return None;
        }
        plan.hit.get_or_insert(format!("{kind} {path}"));
        Some(failure)
    }

    async fn request<T>(
        &self,
        kind: &str,
        path: &Path,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.change(kind, path, work, None).await
    }

    /// As [`request`](Self::request), of one that changes something: `again` is the same once more.
    async fn change<F: Future<Output = Result<T>>, T>(
        &self,
        kind: &str,
        path: &Path,
        work: F,
        again: Option<F>,
    ) -> Result<T> {
        let failure = self.next(kind, path)?;
        if failure == Some(Failure::Request) {
            return Err(lost());
        }
        let done = work.await;
        match (failure, again) {
            (Some(Failure::Reply), _) => Err(lost()),
            (Some(Failure::Again), Some(again)) => again.await,
            _ => done,
        }
    }

    async fn hold(&self, path: &Path, bytes: usize) {
        // Of the store, which may write its lock at any time.
        let is_hidden = path.filename().is_some_and(|name| name.starts_with('.'));
        let bytes = if is_hidden { 0 } else { bytes };
        let held = self.in_flight.fetch_add(bytes, Ordering::SeqCst) + bytes;
        self.peak.fetch_max(held, Ordering::SeqCst);
        tokio::time::sleep(self.delay).await;
        self.in_flight.fetch_sub(bytes, Ordering::SeqCst);
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic {
        store: "test",
        source: "injected failure".into(),
    }
}

impl ObjectStore for Faulty {
    fn put_opts<'a, 'b, 't>(
        &'a self,
        location: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<'t, PutResult>
    where
        'a: 't,
        'b: 't,
        Self: 't,
    {
        Box::pin(async move {
            self.hold(location, payload.content_length()).await;
            let put = || {
                self.objects
                    .put_opts(location, payload.clone(), options.clone())
            };
            self.change("put", location, put(), Some(put())).await
        })
    }

    fn put_multipart_opts<'a, 'b, 't>(
        &'a self,
        location: &'b Path,
        options: PutMultipartOptions,
    ) -> Answer<'t, Box<dyn MultipartUpload>>
    where
        'a: 't,
        'b: 't,
        Self: 't,
    {
        Box::pin(async move {
            let work = self.objects.put_multipart_opts(location, options);
            let upload = self.request("upload", location, work).await?;
            self.open.fetch_add(1, Ordering::SeqCst);
            let (server, location) = (self.clone(), location.clone());
            Ok(Box::new(Upload {
                server,
                location,
                upload,
            }) as Box<dyn MultipartUpload>)
        })
    }

    fn get_opts<'a, 'b, 't>(
        &'a self,
        location: &'b Path,
        options: GetOptions,
    ) -> Answer<'t, GetResult>
    where
        'a: 't,
        'b: 't,
        Self: 't,
    {
        Box::pin(async move {
            let work = self.objects.get_opts(location, options);
            let mut found = self.request("get", location, work).await?;
            found.meta.last_modified -= *self.aged.lock().unwrap();
            Ok(found)
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let server = self.clone();
        let removed = locations.then(move |location| {
            let server = server.clone();
            async move {
                let location = location?;
                tokio::time::sleep(server.delay).await;
                // Of what is not there, Google Cloud Storage and Azure say so; S3 does not.
                let remove = || async {
                    server.objects.head(&location).await?;
                    server.objects.delete(&location).await
                };
                let (work, again) = (remove(), Some(remove()));
                server.change("delete", &location, work, again).await?;
                Ok(location)
            }
        });
        removed.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (server, prefix) = (self.clone(), prefix.cloned());
        let folder = prefix.clone().unwrap_or_default();
        // As it is asked, not as it is made.
        let listed = async move {
            match server.next("list", &folder)? {
                None | Some(Failure::Again) => Ok(server.objects.list(prefix.as_ref())),
                Some(_) => Err(lost()),
            }
        };
        stream::once(listed).try_flatten().boxed()
    }

    fn list_with_delimiter<'a, 'b, 't>(&'a self, prefix: Option<&'b Path>) -> Answer<'t, ListResult>
    where
        'a: 't,
        'b: 't,
        Self: 't,
    {
        Box::pin(async move {
            let work = self.objects.list_with_delimiter(prefix);
            let folder = prefix.cloned().unwrap_or_default();
            self.request("list", &folder, work).await
        })
    }

    fn copy_opts<'a, 'b, 'c, 't>(
        &'a self,
        from: &'b Path,
        to: &'c Path,
        options: CopyOptions,
    ) -> Answer<'t, ()>
    where
        'a: 't,
        'b: 't,
        'c: 't,
        Self: 't,
    {
        self.objects.copy_opts(from, to, options)
    }
}

/// An upload in parts.
#[derive(Debug)]
struct Upload {
    server: Faulty,
    location: Path,
    upload: Box<dyn MultipartUpload>,
}

impl MultipartUpload for Upload {
    fn put_part(&mut self, part: PutPayload) -> UploadPart {
        let (server, location) = (self.server.clone(), self.location.clone());
        let len = part.content_length();
        let work = self.upload.put_part(part);
        Box::pin(async move {
            server.hold(&location, len).await;
            server.request("part", &location, work).await
        })
    }

    fn complete<'a, 't>(&'a mut self) -> Answer<'t, PutResult>
    where
        'a: 't,
        Self: 't,
    {
        Box::pin(async move {
            let work = self.upload.complete();
            let completed = self.server.request("complete", &self.location, work).await;
            if completed.is_ok() {
                self.server.open.fetch_sub(1, Ordering::SeqCst);
            }
            completed
        })
    }

    fn abort<'a, 't>(&'a mut self) -> Answer<'t, ()>
    where
        'a: 't,
        Self: 't,
    {
        Box::pin(async move {
            let work = self.upload.abort();
            self.server.request("abort", &self.location, work).await?;
            self.server.open.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        })
    }
}
