//! How a store is opened.

use std::fmt;
use std::time::Duration;

/// What is made of a chunk that an array's metadata describe and that is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MissingChunks {
    /// It is [`Error::MissingChunk`](crate::Error::MissingChunk) where the array says that all of its chunks are stored,
    /// as those that this crate writes do; in other arrays it holds the fill value, as Zarr defines.
    #[default]
    AsDeclared,
    /// It holds the fill value.
    Fill,
    /// It is [`Error::MissingChunk`](crate::Error::MissingChunk): right for stores of other programs that store every chunk.
    Refuse,
}

/// Limits and settings of an open store.
///
/// | setting | default |
/// |---|---|
/// | `cache_bytes` | 256 MiB |
/// | `max_chunk_bytes` | 2 GiB |
/// | `max_array_bytes` | 16 GiB |
/// | `max_metadata_bytes` | 64 MiB |
/// | `max_depth` | 64 |
/// | `max_requests` | none |
/// | `max_retries` | 5 |
/// | `request_timeout` | 30 s |
/// | `follow_links` | no |
/// | `missing_chunks` | an error where the array says that all are stored |
///
/// Every limit is checked against what a file claims before memory is taken for it.
/// JSON nested more than 127 deep is refused whatever the settings.
///
/// # Examples
///
/// ```
/// use phenocoder_io::OpenOptions;
///
/// let small = OpenOptions::default().with_cache_bytes(16 << 20);
/// assert_eq!(small.cache_bytes, 16 << 20);
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Decoded chunks of images and masks that are kept for the next window, in bytes; 0 keeps none.
    /// Of a zip file with deflated shards as many bytes of these are kept beside, as they can be unpacked as a whole only;
    /// a larger shard is unpacked once for each window or number of windows that is read. No more of them are unpacked at
    /// the same time for a window, but for a single one that is larger.
    pub cache_bytes: usize,
    /// The largest decoded chunk that is accepted, in bytes; a text counts as 24 at least.
    pub max_chunk_bytes: u64,
    /// The largest array that is read as a whole (a column, a matrix of a table), in bytes, of texts with 24 for each and
    /// what it holds; of points and shapes, and of other Parquet files, all columns that are read together, and the
    /// categories of a column that is read batch by batch.
    pub max_array_bytes: u64,
    /// The largest metadata file that is read, in bytes; the root's and the directory of a zip file may be eight times as large.
    pub max_metadata_bytes: u64,
    /// How deep groups, dictionaries and folders may be nested. Each level takes some of the stack of the thread that
    /// reads; the default is far from its end.
    pub max_depth: usize,
    /// How many requests may be sent to a server before [`Error::TooManyRequests`](crate::Error::TooManyRequests);
    /// `None` sets no limit. Folders and zip files need none.
    /// Each attempt counts, also retries, redirections, pages of listings, deletions, parts of large files, renewals of
    /// the lock of a writer and questions for credentials. One request is redirected ten times at most.
    /// A change of a store is begun only where all of its requests are left, which are kept for it. What it needs beyond
    /// them, since requests fail or it takes long, is counted and not refused: it would leave the store without an element.
    pub max_requests: Option<u64>,
    /// How often a request that failed on its way is sent again.
    pub max_retries: usize,
    /// How long one attempt at a request may take.
    pub request_timeout: Duration,
    /// Settings of a server by the names that the crate `object_store` gives them, such as `aws_endpoint`, `aws_region`
    /// or `aws_skip_signature`; beside them, the environment is asked for credentials.
    /// `randomize_addresses` changes nothing.
    pub storage_options: Vec<(String, String)>,
    /// Whether links of the file system may lead out of the store.
    pub follow_links: bool,
    /// What is made of chunks that are not stored.
    pub missing_chunks: MissingChunks,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            max_chunk_bytes: 2 << 30,
            max_array_bytes: 16 << 30,
            max_metadata_bytes: 64 << 20,
            max_depth: 64,
            max_requests: None,
            max_retries: 5,
            request_timeout: Duration::from_secs(30),
            storage_options: Vec::new(),
            follow_links: false,
            missing_chunks: MissingChunks::AsDeclared,
        }
    }
}

/// A method that sets a field.
macro_rules! setter {
    ($with:ident, $field:ident, $type:ty) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $with(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    };
}

impl OpenOptions {
    setter!(with_cache_bytes, cache_bytes, usize);
    setter!(with_max_chunk_bytes, max_chunk_bytes, u64);
    setter!(with_max_array_bytes, max_array_bytes, u64);
    setter!(with_max_metadata_bytes, max_metadata_bytes, u64);
    setter!(with_max_depth, max_depth, usize);
    setter!(with_max_requests, max_requests, Option<u64>);
    setter!(with_max_retries, max_retries, usize);
    setter!(with_request_timeout, request_timeout, Duration);
    setter!(with_follow_links, follow_links, bool);
    setter!(with_missing_chunks, missing_chunks, MissingChunks);

    /// Adds a setting of a server to [`storage_options`](Self::storage_options).
    #[must_use]
    pub fn with_storage_option(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.storage_options.push((name.into(), value.into()));
        self
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be credentials.
        let storage_options: Vec<&str> = self
            .storage_options
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        f.debug_struct("OpenOptions")
            .field("cache_bytes", &self.cache_bytes)
            .field("max_chunk_bytes", &self.max_chunk_bytes)
            .field("max_array_bytes", &self.max_array_bytes)
            .field("max_metadata_bytes", &self.max_metadata_bytes)
            .field("max_depth", &self.max_depth)
            .field("max_requests", &self.max_requests)
            .field("max_retries", &self.max_retries)
            .field("request_timeout", &self.request_timeout)
            .field("storage_options", &storage_options)
            .field("follow_links", &self.follow_links)
            .field("missing_chunks", &self.missing_chunks)
            .finish()
    }
}
