//! Every stored byte of a store, decoded.

use std::collections::BTreeSet;

use phenocoder_core::Progress;

use super::{ElementKind, Store};
use crate::array::{ChunkFile, ZarrArray};
use crate::node::Node;
use crate::path::child;
use crate::{Error, Result, Violation};

/// What [`verify`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Chunks that were decoded.
    pub chunks: u64,
    /// Of them, those that carry no checksum: damage that decodes to other values does not show in them.
    pub without_checksum: u64,
    /// Rows of points and shapes that were decoded; Parquet files rarely carry checksums.
    pub rows: u64,
    /// What is damaged or does not belong there.
    pub violations: Vec<Violation>,
}

impl Verification {
    /// Whether nothing was found, and a checksum says so for all that was decoded.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.violations.is_empty() && self.without_checksum == 0 && self.rows == 0
    }
}

/// Decodes every chunk of every array and every row of points and shapes, and compares all checksums.
///
/// In arrays that say that all of their chunks are stored, as those of this crate do, missing ones are found too,
/// a thousand per array at most.
/// Damage is collected, not returned as an error: one broken chunk does not hide another.
/// Memory holds a chunk, a row group of points, or the shapes of one element at a time.
///
/// # Errors
///
/// What [`Error::is_environment`] says is no damage, such as [`Error::Cancelled`] and [`Error::Remote`], and
/// [`Error::NotAStore`] for a server that does not list its files.
///
/// # Examples
///
/// ```
/// use phenocoder_core::NoProgress;
/// use phenocoder_io::{ContainerVersion, Store, TableData, WriteMode, verify};
///
/// let folder = tempfile::tempdir()?;
/// let mut store = Store::create(folder.path().join("s.zarr"), ContainerVersion::V02)?;
/// store.write_table("cells", &TableData::new(vec!["a".into()], vec![], None), WriteMode::Create)?;
/// let found = verify(&store, &NoProgress)?;
/// assert!(found.is_certain() && found.chunks > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(store: &Store, progress: &dyn Progress) -> Result<Verification> {
    let mut found = Verification::default();
    progress.start("verify", Some(store.elements.len() as u64));
    for element in &store.elements {
        let checked = match element.kind {
            ElementKind::Points => check_points(store, &element.name, progress, &mut found),
            ElementKind::Shapes => check_shapes(store, &element.name, &mut found),
            _ => Ok(()),
        };
        let checked =
            checked.and_then(|()| check_node(store, &element.key, 0, progress, &mut found));
        note(&element.key, checked, &mut found)?;
        progress.advance(1);
    }
    progress.finish();
    Ok(found)
}

/// Takes note of damage; errors that say nothing of the store are passed on.
fn note(key: &str, checked: Result<()>, found: &mut Verification) -> Result<()> {
    match checked {
        Err(error @ Error::NotAStore { .. }) => Err(error),
        Err(error) if error.is_environment() => Err(error),
        Err(error) => {
            found.violations.push(Violation::error(key, &error));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn check_points(
    store: &Store,
    name: &str,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    let points = store.points(name)?;
    let columns = points.column_names();
    points.index()?;
    for batch in points.batches(&columns)? {
        progress.check()?;
        found.rows += batch?.num_rows() as u64;
    }
    Ok(())
}

fn check_shapes(store: &Store, name: &str, found: &mut Verification) -> Result<()> {
    found.rows += store.shapes(name)?.read_all()?.n_rows() as u64;
    Ok(())
}

fn check_node(
    store: &Store,
    key: &str,
    depth: usize,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    if depth > store.root.options.max_depth {
        return Err(Error::InvalidPath {
            key: key.to_owned(),
            path: "groups nested too deeply".to_owned(),
        });
    }
    let node = Node::open(&store.root, key, store.format)?;
    if !node.is_group() {
        let array = ZarrArray::from_node(&store.root, node)?;
        return check_array(&array, progress, found);
    }
    // Links to folders could lead round in circles.
    for name in store.root.list_folders(key, false)? {
        let key = child(key, &name);
        if name.starts_with('.') || name.ends_with(".parquet") {
            continue;
        }
        let checked = check_node(store, &key, depth + 1, progress, found);
        note(&key, checked, found)?;
    }
    Ok(())
}

/// The most missing chunks of an array that are listed: metadata can claim any number.
const MOST_MISSING: usize = 1000;

fn check_array(array: &ZarrArray, progress: &dyn Progress, found: &mut Verification) -> Result<()> {
    let files = array.files()?;
    if let Some(required) = array.required_chunks() {
        let stored: BTreeSet<&str> = files.iter().map(String::as_str).collect();
        let paths = required.map(|index| array.chunk_path(&index));
        for path in paths
            .filter(|path| !stored.contains(path.as_str()))
            .take(MOST_MISSING)
        {
            progress.check()?;
            let key = child(array.key(), &path);
            let error = Error::MissingChunk { key: key.clone() };
            found.violations.push(Violation::error(&key, &error));
        }
    }
    for relative in files {
        progress.check()?;
        let key = child(array.key(), &relative);
        match array.classify(&relative) {
            ChunkFile::Chunk(index) => match array.check_chunk(&index) {
                Ok((blocks, without)) => {
                    found.chunks += blocks;
                    found.without_checksum += without;
                }
                Err(error) => note(&key, Err(error), found)?,
            },
            ChunkFile::Other => {}
            ChunkFile::Stray => {
                let problem = "the file is no chunk of the array".to_owned();
                found.violations.push(Violation::warning(&key, problem));
            }
        }
    }
    Ok(())
}
