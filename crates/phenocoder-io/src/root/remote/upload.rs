//! Files on their way to a server.

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many files are sent at the same time.
const TOGETHER: usize = 16;

/// A file on its way, by its key.
pub(super) struct Outgoing {
    pub(super) key: String,
    pub(super) path: Path,
    pub(super) file: PathBuf,
}

/// What kept a file from being sent, with its key.
pub(super) type Failed = (String, object_store::Error);

/// The source of the error of an upload that was told to stop.
#[derive(Debug)]
pub(super) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upload was stopped")
    }
}

impl StdError for Stopped {}

/// Room in memory for what is on its way, of all uploads of one connection.
#[derive(Debug, Clone)]
pub(super) struct Room {
    free: Arc<Semaphore>,
    /// Files larger than this are sent in parts of this size, one after the other.
    part: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self::new(64 << 20, 16 << 20)
    }
}

impl Room {
    /// Room for so many bytes, in parts of so many, which are no more.
    pub(super) fn new(bytes: u32, part: u32) -> Self {
        Self {
            free: Arc::new(Semaphore::new(bytes.max(part) as usize)),
            part,
        }
    }

    /// How many requests it takes to send files of these lengths.
    pub(super) fn requests(&self, lens: impl IntoIterator<Item = u64>) -> u64 {
        let part = u64::from(self.part);
        // A large file is begun, sent and completed.
        let of_file = |len: u64| {
            if len < part {
                1
            } else {
                len.div_ceil(part) + 2
            }
        };
        lens.into_iter().map(of_file).sum()
    }

    /// Sends files, several at a time, until one fails or `stop` is set; what failed first.
    ///
    /// Those on their way then come to an end of their own: servers keep the parts of uploads that are just dropped.
    pub(super) async fn send_all(
        self,
        objects: Arc<dyn ObjectStore>,
        files: Vec<Outgoing>,
        stop: Arc<AtomicBool>,
    ) -> Result<(), Failed> {
        let stop = Stop {
            told: stop,
            failed: Arc::default(),
        };
        let mut all = futures_util::stream::iter(files)
            .map(|Outgoing { key, path, file }| {
                let (objects, room, stop) = (Arc::clone(&objects), self.clone(), stop.clone());
                async move {
                    let failed = Arc::clone(&stop.failed);
                    let sent = async {
                        stop.check()?;
                        send(&*objects, &path, Parts::open(file, room, stop)?).await
                    };
                    sent.await.map_err(|error| {
                        failed.store(true, Ordering::Relaxed);
                        (key, error)
                    })
                }
            })
            .buffer_unordered(TOGETHER);
        let mut first = Ok(());
        while let Some(sent) = all.next().await {
            first = first.and(sent);
        }
        first
    }
}

/// Whether nothing more is to be sent.
#[derive(Debug, Clone, Default)]
struct Stop {
    /// By whoever asked for it.
    told: Arc<AtomicBool>,
    /// Since another file could not be sent.
    failed: Arc<AtomicBool>,
}

impl Stop {
    fn check(&self) -> object_store::Result<()> {
        unless_stopped(&self.told)?;
        unless_stopped(&self.failed)
    }
}

pub(super) fn unless_stopped(stop: &AtomicBool) -> object_store::Result<()> {
    if stop.load(Ordering::Relaxed) {
        return Err(failed(Stopped));
    }
    Ok(())
}

/// Sends a file, in parts where it is large.
async fn send(
    objects: &dyn ObjectStore,
    path: &Path,
    mut parts: Parts<File>,
) -> object_store::Result<()> {
    if parts.left < u64::from(parts.room.part) {
        let mut part = parts.next().await?;
        return objects.put(path, part.payload()).await.map(|_| ());
    }
    let mut upload = objects.put_multipart(path).await?;
    send_parts(upload.as_mut(), &mut parts).await
}

/// Sends parts, which become visible together when the last is there.
async fn send_parts(
    upload: &mut dyn MultipartUpload,
    parts: &mut Parts<impl Read + Send>,
) -> object_store::Result<()> {
    let sent: object_store::Result<()> = async {
        while parts.left > 0 {
            let mut part = parts.next().await?;
            let bytes = std::mem::take(&mut part.bytes);
            upload.put_part(PutPayload::from(bytes)).await?;
        }
        upload.complete().await.map(|_| ())
    }
    .await;
    // The first error says why. A server keeps parts, and S3 bills them, until the upload is completed or aborted.
    if sent.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(%error, "parts of an upload that failed are left on the server");
    }
    sent
}

/// A file to be sent.
struct Parts<R> {
    file: R,
    left: u64,
    room: Room,
    stop: Stop,
}

/// Bytes in memory, with the room that they take until they are sent.
struct Part {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl Parts<File> {
    fn open(file: PathBuf, room: Room, stop: Stop) -> object_store::Result<Self> {
        let file = File::open(file).map_err(unreadable)?;
        let left = file.metadata().map_err(unreadable)?.len();
        Ok(Self {
            file,
            left,
            room,
            stop,
        })
    }
}

impl<R: Read> Parts<R> {
    /// The next bytes, as soon as there is room for them.
    async fn next(&mut self) -> object_store::Result<Part> {
        let len = u32::try_from(self.left).map_or(self.room.part, |left| left.min(self.room.part));
        let room = Arc::clone(&self.room.free).acquire_many_owned(len).await;
        let room = room.map_err(|_| failed(Stopped))?;
        self.stop.check()?;
        let mut bytes = vec![0; len as usize];
        self.file.read_exact(&mut bytes).map_err(unreadable)?;
        self.left -= u64::from(len);
        Ok(Part { bytes, _room: room })
    }
}

impl Part {
    fn payload(&mut self) -> PutPayload {
        PutPayload::from(std::mem::take(&mut self.bytes))
    }
}

fn unreadable(error: std::io::Error) -> object_store::Error {
    failed(error)
}

fn failed(error: impl StdError + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic {
        store: "local file",
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use object_store::{PutResult, UploadPart};

    use super::*;

    /// What was asked of an upload.
    #[derive(Debug, Default)]
    struct Upload(Vec<&'static str>);

    type Answer<'a, T> = Pin<Box<dyn Future<Output = object_store::Result<T>> + Send + 'a>>;

    impl MultipartUpload for Upload {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            self.0.push("part");
            Box::pin(async { Ok(()) })
        }

        fn complete<'a, 'b>(&'a mut self) -> Answer<'b, PutResult>
        where
            'a: 'b,
            Self: 'b,
        {
            self.0.push("complete");
            Box::pin(async {
                Err(object_store::Error::NotImplemented {
                    operation: "complete".to_owned(),
                    implementer: "a test".to_owned(),
                })
            })
        }

        fn abort<'a, 'b>(&'a mut self) -> Answer<'b, ()>
        where
            'a: 'b,
            Self: 'b,
        {
            self.0.push("abort");
            Box::pin(async { Ok(()) })
        }
    }

    /// A file whose reading fails at its second part.
    struct Failing(bool);

    impl Read for Failing {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(std::io::Error::other("the disk is gone"));
            }
            Ok(bytes.len())
        }
    }

    fn parts<R>(file: R, left: u64) -> Parts<R> {
        Parts {
            file,
            left,
            room: Room::new(4, 2),
            stop: Stop::default(),
        }
    }

    #[test]
    fn an_upload_is_aborted_when_reading_or_completing_fails_or_it_is_stopped() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut upload = Upload::default();
        let mut failing = parts(Failing(false), 4);
        let refused = runtime.block_on(send_parts(&mut upload, &mut failing));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("the disk is gone"), "{refused}");
        assert_eq!(upload.0, ["part", "abort"]);
        let mut upload = Upload::default();
        let mut whole = parts(&[1_u8, 2, 3][..], 3);
        let refused = runtime.block_on(send_parts(&mut upload, &mut whole));
        refused.unwrap_err();
        assert_eq!(upload.0, ["part", "part", "complete", "abort"]);
        let mut upload = Upload::default();
        let mut stopped = parts(&[1_u8, 2, 3][..], 3);
        stopped.stop.told.store(true, Ordering::Relaxed);
        let refused = runtime.block_on(send_parts(&mut upload, &mut stopped));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("stopped"), "{refused}");
        assert_eq!(upload.0, ["abort"]);
    }
}
