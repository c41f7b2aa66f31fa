//! Every stored byte of a store, decoded.

use std::collections::BTreeSet;
use std::sync::Arc;

use phenocoder_core::Progress;

use super::{Element, ElementKind, Store};
use crate::array::{ArrayFiles, ChunkFile, ZarrArray};
use crate::columns::Parts;
use crate::node::{Node, ZarrFormat};
use crate::path::{child, prefix};
use crate::points::Points;
use crate::shapes::Shapes;
use crate::{Error, Result, Violation};

/// What [`verify`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Chunks of arrays, and pages and footers of Parquet files, that were decoded.
    pub chunks: u64,
    /// Of them, those that carry no checksum: damage that decodes to other values does not show in them.
    pub without_checksum: u64,
    /// Rows of points and shapes that were decoded.
    pub rows: u64,
    /// What is damaged, was not checked as it cannot be read, or does not belong there.
    pub violations: Vec<Violation>,
}

impl Verification {
    /// Whether nothing was found, and a checksum says so for all that was decoded.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        self.violations.is_empty() && self.without_checksum == 0
    }
}

/// Decodes every chunk of every array and every row of points and shapes, and compares all checksums.
///
/// In arrays that say that all of their chunks are stored, as those of this crate do, missing ones are found too,
/// a thousand per array at most.
/// Damage is collected, not returned as an error: one broken chunk, lost file or folder that cannot be listed does not
/// hide another.
/// A file that the disk or the server does not give out is in the list as "not checked".
/// Memory holds a chunk, or a batch of a column or of geometries at a time; of shapes before SpatialData 0.2.2, all.
///
/// Points and shapes that this crate wrote have a checksum for every byte of their Parquet files; of others pages may
/// have one each, and footers have none.
///
/// # Errors
///
/// [`Error::Cancelled`]; [`Error::TooManyRequests`]; [`Error::Io`] and [`Error::Remote`] when, after a file that cannot be
/// read, not even the metadata of the root can be; and [`Error::NotAStore`] for a server that does not list its files,
/// where arrays do not say that all of their chunks are stored.
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
    for (group, error) in store.unlistable_groups() {
        note(store, group, Err(error), &mut found)?;
    }
    for element in &store.elements {
        progress.check()?;
        let checked = check_element(store, element, progress, &mut found);
        note(store, &element.key, checked, &mut found)?;
        progress.advance(1);
    }
    progress.finish();
    Ok(found)
}

fn check_element(
    store: &Store,
    element: &Element,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    let node = store.element_node(element.kind, &element.name)?;
    let before = found.violations.len();
    let checked = check_node(store, node.clone(), 0, progress, found);
    note(store, &element.key, checked, found)?;
    let is_sound = found.violations.len() == before;
    match element.kind {
        ElementKind::Points => check_points(store, &element.name, &node, progress, found),
        ElementKind::Shapes => check_shapes(store, &element.name, &node, is_sound, progress, found),
        _ => Ok(()),
    }
}

/// Takes note of damage; errors that say nothing of the store are passed on.
fn note(store: &Store, key: &str, checked: Result<()>, found: &mut Verification) -> Result<()> {
    let Err(error) = checked else {
        return Ok(());
    };
    let ends = match error {
        Error::NotAStore { .. } | Error::TooManyRequests { .. } | Error::Cancelled(_) => true,
        // One file that cannot be read, or all.
        Error::Io { .. } | Error::Remote { .. } => !gives_out(store),
        _ => false,
    };
    if ends {
        return Err(error);
    }
    found.violations.push(Violation::error(key, &error));
    Ok(())
}

/// Whether the metadata of the root are given out by what the store lies on, whatever is known of them.
fn gives_out(store: &Store) -> bool {
    let files: &[&str] = match store.format {
        ZarrFormat::V3 => &["zarr.json"],
        ZarrFormat::V2 => &[".zgroup", ".zmetadata"],
    };
    files.iter().any(|file| {
        let file = store.root.ranges(file);
        file.is_ok_and(|file| file.is_some_and(|file| file.read(0, 1).is_ok()))
    })
}

/// Takes note of each of some problems.
fn note_all(store: &Store, problems: Vec<(String, Error)>, found: &mut Verification) -> Result<()> {
    let mut problems = problems.into_iter();
    problems.try_for_each(|(key, error)| note(store, &key, Err(error), found))
}

fn check_points(
    store: &Store,
    name: &str,
    node: &Node,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    let (parts, problems) = Points::survey(&store.root, node)?;
    note_all(store, problems, found)?;
    let Some(parts) = parts.map(Arc::new) else {
        return Ok(());
    };
    check_parts(store, &parts, progress, found)?;
    Points::with_parts(name, node, parts).map(|_| ())
}

/// `is_sound` tells that all arrays of the element are.
fn check_shapes(
    store: &Store,
    name: &str,
    node: &Node,
    is_sound: bool,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    let Some((parts, problems)) = Shapes::survey(&store.root, node)? else {
        // What cannot be decoded was noted with the arrays.
        if is_sound {
            let shapes = Shapes::with_parts(&store.root, name, node, None)?;
            found.rows += shapes.n_rows();
            shapes.read_all()?;
        }
        return Ok(());
    };
    note_all(store, problems, found)?;
    let Some(parts) = parts else {
        return Ok(());
    };
    let before = found.violations.len();
    check_parts(store, &parts, progress, found)?;
    let shapes = Shapes::with_parts(&store.root, name, node, Some(parts))?;
    // What cannot be decoded was noted above.
    if found.violations.len() == before {
        for batch in shapes.batches(&[])? {
            progress.check()?;
            batch?;
        }
        shapes.radii()?;
    }
    Ok(())
}

/// Decodes every page of some Parquet files.
fn check_parts(
    store: &Store,
    parts: &Parts,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    for at in 0..parts.n_files() {
        let file = match parts.file(at) {
            Ok(file) => file,
            Err(error) => {
                note(store, parts.file_key(at), Err(error), found)?;
                continue;
            }
        };
        note(store, file.key(), parts.check_columns(&file), found)?;
        for group in 0..file.n_groups() {
            for column in 0..file.fields().len() {
                let checked = file.values(group, column).and_then(|mut values| {
                    values.try_for_each(|batch| {
                        progress.check()?;
                        batch.map(|_| ())
                    })
                });
                note(store, file.key(), checked, found)?;
            }
        }
        found.rows += file.n_rows();
        let (pages, without) = file.pages();
        // The footer is one more.
        found.chunks += pages + 1;
        found.without_checksum += without + u64::from(!parts.is_sealed(at));
    }
    Ok(())
}

fn check_node(
    store: &Store,
    node: Node,
    depth: usize,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    if depth > store.root.options.max_depth {
        return Err(Error::InvalidPath {
            key: node.key,
            path: "groups nested too deeply".to_owned(),
        });
    }
    if !node.is_group() {
        let array = ZarrArray::from_node(&store.root, node)?;
        return check_array(store, &array, progress, found);
    }
    // Links to folders could lead round in circles.
    for name in store.root.list_folders(&node.key, false)? {
        let key = child(&node.key, &name);
        if name.starts_with('.') || name.ends_with(".parquet") {
            continue;
        }
        let checked = Node::open(&store.root, &key, store.format)
            .and_then(|node| check_node(store, node, depth + 1, progress, found));
        note(store, &key, checked, found)?;
    }
    Ok(())
}

/// The most missing chunks of an array that are listed: metadata can claim any number.
const MOST_MISSING: usize = 1000;

fn check_array(
    store: &Store,
    array: &ZarrArray,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    let ArrayFiles { files, unlisted } = array.files();
    let lists_nothing =
        |error: &Error| error.is_refusal() || matches!(error, Error::NotAStore { .. });
    if unlisted.iter().any(|(_, error)| lists_nothing(error))
        && let Some(required) = array.required_chunks()
    {
        // Where nothing is listed, what must be there is asked for.
        return check_required(store, array, required, progress, found);
    }
    if let Some(required) = array.required_chunks() {
        let stored: BTreeSet<&str> = files.iter().map(String::as_str).collect();
        let is_unlisted = |path: &str| {
            let mut folders = unlisted.iter();
            folders.any(|(folder, _)| path.starts_with(&prefix(folder)))
        };
        let paths = required.map(|index| array.chunk_path(&index));
        for path in paths
            .filter(|path| !stored.contains(path.as_str()) && !is_unlisted(path))
            .take(MOST_MISSING)
        {
            progress.check()?;
            let key = child(array.key(), &path);
            let error = Error::MissingChunk { key: key.clone() };
            found.violations.push(Violation::error(&key, &error));
        }
    }
    let unlisted = unlisted.into_iter().map(|(folder, error)| {
        let key = match folder.as_str() {
            "" => array.key().to_owned(),
            folder => child(array.key(), folder),
        };
        (key, error)
    });
    note_all(store, unlisted.collect(), found)?;
    for relative in files {
        progress.check()?;
        let key = child(array.key(), &relative);
        match array.classify(&relative) {
            ChunkFile::Chunk(index) => {
                check_chunk(store, array, &index, &key, found)?;
            }
            ChunkFile::Other => {}
            ChunkFile::Stray => {
                let problem = "the file is no chunk of the array".to_owned();
                found.violations.push(Violation::warning(&key, problem));
            }
        }
    }
    Ok(())
}

fn check_required(
    store: &Store,
    array: &ZarrArray,
    required: impl Iterator<Item = Vec<u64>>,
    progress: &dyn Progress,
    found: &mut Verification,
) -> Result<()> {
    let mut missing = 0;
    for index in required {
        progress.check()?;
        let key = child(array.key(), &array.chunk_path(&index));
        missing += usize::from(!check_chunk(store, array, &index, &key, found)?);
        if missing == MOST_MISSING {
            break;
        }
    }
    Ok(())
}

/// Decodes a chunk; whether it is sound.
fn check_chunk(
    store: &Store,
    array: &ZarrArray,
    index: &[u64],
    key: &str,
    found: &mut Verification,
) -> Result<bool> {
    match array.check_chunk(index) {
        Ok((blocks, without)) => {
            found.chunks += blocks;
            found.without_checksum += without;
            Ok(true)
        }
        Err(error) => note(store, key, Err(error), found).map(|()| false),
    }
}

#[cfg(test)]
mod tests;
