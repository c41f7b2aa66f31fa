//! How a store is opened.

/// Limits and settings of an open store.
///
/// | setting | default |
/// |---|---|
/// | `cache_bytes` | 256 MiB |
/// | `max_chunk_bytes` | 2 GiB |
/// | `max_array_bytes` | 16 GiB |
/// | `max_metadata_bytes` | 64 MiB |
///
/// Every limit is checked against what a file claims before memory is taken for it.
///
/// # Examples
///
/// ```
/// use phenocoder_io::OpenOptions;
///
/// let small = OpenOptions::default().with_cache_bytes(16 << 20);
/// assert_eq!(small.cache_bytes, 16 << 20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Decoded chunks of images and masks that are kept for the next window, in bytes; 0 keeps none.
    pub cache_bytes: usize,
    /// The largest decoded chunk that is accepted, in bytes.
    pub max_chunk_bytes: u64,
    /// The largest array that is read as a whole (a column, a matrix of a table), in bytes.
    pub max_array_bytes: u64,
    /// The largest metadata file that is read, in bytes; the root's may be eight times as large.
    pub max_metadata_bytes: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            max_chunk_bytes: 2 << 30,
            max_array_bytes: 16 << 30,
            max_metadata_bytes: 64 << 20,
        }
    }
}

impl OpenOptions {
    /// Sets [`cache_bytes`](Self::cache_bytes).
    #[must_use]
    pub fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Sets [`max_chunk_bytes`](Self::max_chunk_bytes).
    #[must_use]
    pub fn with_max_chunk_bytes(mut self, bytes: u64) -> Self {
        self.max_chunk_bytes = bytes;
        self
    }

    /// Sets [`max_array_bytes`](Self::max_array_bytes).
    #[must_use]
    pub fn with_max_array_bytes(mut self, bytes: u64) -> Self {
        self.max_array_bytes = bytes;
        self
    }

    /// Sets [`max_metadata_bytes`](Self::max_metadata_bytes).
    #[must_use]
    pub fn with_max_metadata_bytes(mut self, bytes: u64) -> Self {
        self.max_metadata_bytes = bytes;
        self
    }
}
