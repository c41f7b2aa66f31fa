//! What can go wrong, and where.

use std::io;
use std::path::{Path, PathBuf};

use phenocoder_core::{Cancelled, GraphError, ShapeError, SourceError};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A store could not be read or written.
///
/// Every variant names the place: `key` is the path of the node inside the store, `path` a path of the file system.
/// Bad data is never a panic: what a file says is checked before it is believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("`{}` could not be {action}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: "read", "written", "renamed".
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The folder holds no Zarr group.
    #[error("`{}` is no SpatialData store: {problem}", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What is missing, and what to do where that is known.
        problem: String,
    },
    /// The store lies where it cannot be changed: in a zip file, or on a server that takes no writes.
    #[error("`{place}` cannot be written to")]
    ReadOnly {
        /// The path or address of the store.
        place: String,
    },
    /// Something is in the place that should be written to.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// Another process or handle writes to the store at this moment.
    ///
    /// On a server, a writer that died leaves `.phenocoder-lock` at the root of the store with his name in it, and on a
    /// file system that several machines share, hidden names; [`Store::repair`](crate::Store::repair) frees the lock and
    /// removes the names, when nobody writes.
    #[error("`{}` is being written to by somebody else, or was left behind (see `Store::repair`)", path.display())]
    Locked {
        /// The store, or what a writer has in its hands.
        path: PathBuf,
    },
    /// Somebody took the lock of this writer away while it wrote to a server; it stopped when it saw that.
    ///
    /// That is what [`Store::repair`](crate::Store::repair) does to a writer that it takes for dead.
    /// The writer looks at its lock before it writes, files of data within the last second, but what was on its way by then
    /// is written: open the store anew to see whether it shows the change, and make it again if not.
    /// An element that was to be replaced may be missing, and where another writer wrote the same element meanwhile, its
    /// files may be mixed with those of this one: write it again.
    #[error("the lock of `{}` was taken away by somebody else while it was written to", path.display())]
    LockLost {
        /// The store.
        path: PathBuf,
    },
    /// A metadata file is not JSON, or nested too deeply.
    #[error("`{key}`: the metadata is not valid JSON")]
    Json {
        /// The metadata file.
        key: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Text is not UTF-8.
    #[error("`{key}`: the text is not UTF-8")]
    NotUtf8 {
        /// The node or file.
        key: String,
    },
    /// Something is larger than the limit of [`OpenOptions`](crate::OpenOptions).
    #[error("`{key}`: {what} of {found} is more than the limit of {limit}")]
    TooLarge {
        /// The node or file.
        key: String,
        /// What is large, with its unit.
        what: &'static str,
        /// How large it claims to be; of what was unpacked until then, one more than the limit.
        found: u128,
        /// The limit.
        limit: u64,
    },
    /// A server could not be reached, or refused.
    #[error("`{address}`: the request for `{key}` failed")]
    Remote {
        /// The store.
        address: String,
        /// The file in it.
        key: String,
        /// What the connection says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// More requests would be sent to a server than [`OpenOptions`](crate::OpenOptions) allow.
    #[error("`{key}`: the budget of {limit} requests to `{address}` is used up")]
    TooManyRequests {
        /// The file that was to be read.
        key: String,
        /// The store.
        address: String,
        /// How many requests were allowed.
        limit: u64,
    },
    /// A chunk is not stored although it should be; see [`MissingChunks`](crate::MissingChunks).
    #[error(
        "`{key}`: the chunk is missing (one of an array is its fill value with `MissingChunks::Fill`)"
    )]
    MissingChunk {
        /// Where it should be.
        key: String,
    },
    /// A path inside the metadata leaves its group, or is no path.
    #[error("`{key}`: `{path}` is not a path inside the store")]
    InvalidPath {
        /// The node whose metadata holds the path.
        key: String,
        /// The path.
        path: String,
    },
    /// A new element's name breaks the rules of SpatialData.
    #[error("`{name}` cannot name an element: {problem}")]
    InvalidName {
        /// The name.
        name: String,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// Metadata that must be there is not.
    #[error("`{key}`: expected {expected}, found nothing")]
    MissingMetadata {
        /// The node.
        key: String,
        /// What should be there.
        expected: String,
    },
    /// Metadata says something that cannot be.
    #[error("`{key}`: expected {expected}, found {found}")]
    InvalidMetadata {
        /// The node.
        key: String,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A format version that this crate does not know.
    #[error("`{key}`: version {found} is not supported; supported are {supported}")]
    UnsupportedVersion {
        /// The node.
        key: String,
        /// The version found.
        found: String,
        /// The versions that can be read.
        supported: &'static str,
    },
    /// An array uses a codec, or another extension, that this crate does not know, or a zip file packs a file so.
    #[error("`{key}` cannot be decoded: {problem}")]
    UnsupportedCodec {
        /// The array, or the file of a zip file.
        key: String,
        /// What is not known.
        problem: String,
    },
    /// The pixels or values have a type that cannot be used here.
    #[error("`{key}`: expected {expected}, found data type {found}")]
    DataType {
        /// The array.
        key: String,
        /// What could be used.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// An AnnData entry has an encoding that this crate does not read.
    #[error("`{key}`: the encoding `{encoding}` is not supported")]
    UnsupportedEncoding {
        /// The node.
        key: String,
        /// Its `encoding-type`.
        encoding: String,
    },
    /// A coordinate transformation cannot be understood.
    #[error("`{key}`: the coordinate transformation is not valid: {problem}")]
    InvalidTransform {
        /// The element.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A shape is damaged, or not one that SpatialData knows.
    #[error("`{key}`: the geometry is not valid: {problem}")]
    InvalidGeometry {
        /// The element.
        key: String,
        /// What is wrong, with the row where one is.
        problem: String,
    },
    /// A stored chunk is damaged.
    #[error("`{key}`: the chunk is damaged: {problem}")]
    CorruptChunk {
        /// The chunk.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A stored checksum does not fit the data.
    #[error("`{key}`: the checksum does not match the data")]
    Checksum {
        /// The chunk.
        key: String,
    },
    /// Two things that belong together differ in length.
    #[error("`{key}`: expected {expected} entries, found {found}")]
    LengthMismatch {
        /// The node.
        key: String,
        /// The length of what it belongs to.
        expected: u64,
        /// Its own length.
        found: u64,
    },
    /// A categorical code points to no category.
    #[error("`{key}`: the code {code} at row {row} is not one of {categories} categories")]
    InvalidCategoryCode {
        /// The column.
        key: String,
        /// The row.
        row: usize,
        /// The code.
        code: i64,
        /// How many categories there are.
        categories: usize,
    },
    /// The parts of a sparse matrix do not fit together.
    #[error("`{key}`: the sparse matrix is not well formed: {problem}")]
    InvalidSparse {
        /// The matrix.
        key: String,
        /// What does not fit.
        problem: String,
    },
    /// The store has no element of this kind and name.
    #[error("there is no {kind} `{name}`; there are: {available}")]
    NoElement {
        /// The kind of element.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The names that exist, separated by commas.
        available: String,
    },
    /// A table, image or element has no entry of this name.
    #[error("`{key}` has no {what} `{name}`; there are: {available}")]
    NoEntry {
        /// The element.
        key: String,
        /// What was asked for: "column", "level".
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The names that exist, separated by commas.
        available: String,
    },
    /// A table to be written breaks a rule of AnnData or SpatialData.
    #[error("table entry `{place}`: {problem}")]
    InvalidTable {
        /// The entry.
        place: String,
        /// The rule that it breaks.
        problem: String,
    },
    /// A pixel does not fit the type that it should be stored as.
    #[error("`{element}`: the value {value} cannot be stored as {data_type:?}")]
    OutOfRange {
        /// The element to be written.
        element: String,
        /// The value.
        value: String,
        /// The type that was asked for.
        data_type: phenocoder_core::DataType,
    },
    /// A setting is not possible.
    #[error("setting `{name}`: {problem}")]
    Config {
        /// The setting.
        name: &'static str,
        /// Why it is not possible.
        problem: String,
    },
    /// Arrow refuses what was made of the data.
    #[error("`{place}`: the columns do not make a table")]
    Arrow {
        /// The table or file.
        place: String,
        /// What Arrow says.
        source: arrow::error::ArrowError,
    },
    /// A Parquet file is damaged or cannot be written.
    #[error("`{}`: the Parquet file could not be read or written", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the Parquet library says.
        source: parquet::errors::ParquetError,
    },
    /// A graph in a table is not well formed.
    #[error("`{key}`: the entry is no graph")]
    Graph {
        /// The node.
        key: String,
        /// What is wrong.
        source: GraphError,
    },
    /// The lengths of what was passed in do not fit.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The image or mask to be written could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Error {
    /// The node, file or element inside the store that the error is about, where it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Json { key, .. }
            | Self::NotUtf8 { key }
            | Self::TooLarge { key, .. }
            | Self::Remote { key, .. }
            | Self::TooManyRequests { key, .. }
            | Self::MissingChunk { key }
            | Self::InvalidPath { key, .. }
            | Self::MissingMetadata { key, .. }
            | Self::InvalidMetadata { key, .. }
            | Self::UnsupportedVersion { key, .. }
            | Self::UnsupportedCodec { key, .. }
            | Self::DataType { key, .. }
            | Self::UnsupportedEncoding { key, .. }
            | Self::InvalidTransform { key, .. }
            | Self::CorruptChunk { key, .. }
            | Self::Checksum { key }
            | Self::LengthMismatch { key, .. }
            | Self::InvalidCategoryCode { key, .. }
            | Self::InvalidSparse { key, .. }
            | Self::InvalidGeometry { key, .. }
            | Self::NoEntry { key, .. }
            | Self::Graph { key, .. } => Some(key),
            Self::InvalidTable { place, .. } | Self::Arrow { place, .. } => Some(place),
            _ => None,
        }
    }

    /// Whether the error comes from around a store rather than from what it holds: the file system or a server failed,
    /// a budget is used up, somebody else writes, or the caller asked to stop.
    ///
    /// Another attempt may succeed, and nothing is said about the store; every other error is one of the store, of an
    /// element in it, or of what was asked for.
    /// Names that no file can have and links that lead round in circles are of the store.
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_io::Error;
    ///
    /// assert!(!Error::Checksum { key: "images/i/s0/c/0/0/0".into() }.is_environment());
    /// assert!(Error::Locked { path: "s.zarr".into() }.is_environment());
    /// ```
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Io { source, .. } => !is_of_the_store(source),
            Self::Remote { .. }
            | Self::TooManyRequests { .. }
            | Self::Locked { .. }
            | Self::LockLost { .. }
            | Self::Cancelled(_) => true,
            // Pixels are read through traits that know this error as a cause.
            Self::Source(error) => {
                let cause = std::error::Error::source(error);
                let own = cause.and_then(|cause| cause.downcast_ref::<Self>());
                own.is_none_or(Self::is_environment)
            }
            _ => false,
        }
    }

    /// Whether a server refused to tell.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Remote { source, .. } if is_refusal(&**source))
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }

    pub(crate) fn invalid(
        key: impl Into<String>,
        expected: impl Into<String>,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::InvalidMetadata {
            key: key.into(),
            expected: expected.into(),
            found: shorten(&found.to_string()),
        }
    }

    /// A value of the metadata that is not there, or is not what it should be.
    pub(crate) fn not_as(
        key: &str,
        expected: impl Into<String>,
        found: Option<&serde_json::Value>,
    ) -> Self {
        match found {
            None => Self::missing(key, expected),
            Some(found) => Self::invalid(key, expected, found),
        }
    }

    pub(crate) fn missing(key: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::MissingMetadata {
            key: key.into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn corrupt(key: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::CorruptChunk {
            key: key.into(),
            problem: shorten(&problem.to_string()),
        }
    }

    pub(crate) fn too_large(
        key: impl Into<String>,
        what: &'static str,
        found: impl Into<u128>,
        limit: u64,
    ) -> Self {
        Self::TooLarge {
            key: key.into(),
            what,
            found: found.into(),
            limit,
        }
    }

    /// An error when something is larger than it may be.
    pub(crate) fn check_size(
        key: &str,
        what: &'static str,
        found: impl Into<u128>,
        limit: u64,
    ) -> Result<()> {
        let found = found.into();
        match found > u128::from(limit) {
            true => Err(Self::too_large(key, what, found, limit)),
            false => Ok(()),
        }
    }

    pub(crate) fn geometry(key: &str, row: u64, problem: impl std::fmt::Display) -> Self {
        Self::InvalidGeometry {
            key: key.to_owned(),
            problem: shorten(&format!("row {row}: {problem}")),
        }
    }

    pub(crate) fn table(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::InvalidTable {
            place: place.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn arrow(place: impl Into<String>) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        let place = place.into();
        move |source| Self::Arrow { place, source }
    }
}

/// Whether the file system refused what a store says, not what was asked of it.
fn is_of_the_store(error: &io::Error) -> bool {
    // Too many links; the kind has no stable name yet.
    let circle = if cfg!(any(target_os = "linux", target_os = "android")) {
        40
    } else {
        62
    };
    matches!(
        error.kind(),
        io::ErrorKind::InvalidFilename | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    ) || (cfg!(unix) && error.raw_os_error() == Some(circle))
}

#[cfg(feature = "object-store")]
fn is_refusal(source: &(dyn std::error::Error + 'static)) -> bool {
    let cause = source.downcast_ref::<object_store::Error>();
    matches!(cause, Some(object_store::Error::PermissionDenied { .. }))
}

#[cfg(not(feature = "object-store"))]
fn is_refusal(_: &(dyn std::error::Error + 'static)) -> bool {
    false
}

/// Keeps what a file says from filling a screen.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 200;
    if text.chars().count() <= LIMIT {
        return text.to_owned();
    }
    text.chars().take(LIMIT).chain("…".chars()).collect()
}

/// Names in the order given, for messages.
pub(crate) fn listing<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|n| n.as_ref().to_owned()).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
