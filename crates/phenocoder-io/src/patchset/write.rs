//! New patch sets.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use ndarray::ArrayView4;
use phenocoder_core::{DataType, PatchShape, PatchSink, ShapeError, SourceError};
use serde_json::{Map, Value, json};

use super::{ATTRIBUTE, VERSION};
use crate::array::{ArraySpec, ArrayWriter, ElementType, encode_index, say_all_stored};
use crate::disk::Place;
use crate::node::{ZarrFormat, write_group};
use crate::{Error, Result, export};

/// How a patch set is stored.
///
/// # Examples
///
/// ```
/// use phenocoder_io::PatchSetOptions;
///
/// assert_eq!(PatchSetOptions::default().with_patches_per_shard(64).patches_per_shard, 64);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PatchSetOptions {
    /// How many patches share a file, 4096 by default.
    pub patches_per_shard: usize,
}

impl Default for PatchSetOptions {
    fn default() -> Self {
        Self {
            patches_per_shard: 4096,
        }
    }
}

impl PatchSetOptions {
    /// Sets [`patches_per_shard`](Self::patches_per_shard).
    #[must_use]
    pub fn with_patches_per_shard(mut self, patches: usize) -> Self {
        self.patches_per_shard = patches;
        self
    }
}

/// Writes patches in any order; the set appears at its path when it is finished, whole or not at all.
///
/// Memory: one compressed patch, and 16 bytes for each patch of the set.
///
/// # Examples
///
/// ```
/// use ndarray::{Array2, Array4};
/// use phenocoder_core::{Column, Features, PatchShape, PatchSink};
/// use phenocoder_io::{PatchSet, PatchSetOptions, PatchSetWriter, features_to_record_batch};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("patches.zarr");
/// let shape = PatchShape::new(4, 4, 2);
/// let mut writer = PatchSetWriter::create(&path, 3, shape, &PatchSetOptions::default())?;
/// writer.write(0, Array4::from_elem((3, 2, 4, 4), 0.5).view())?;
/// let cells = Features::new(Array2::zeros((3, 1)), ["area"])?;
/// let cells = features_to_record_batch(&cells, &[("id", &Column::Int(vec![1, 2, 3]))])?;
/// writer.finish(&cells, &serde_json::json!({"border": 16}))?;
///
/// let set = PatchSet::open(&path)?;
/// assert_eq!(set.cells()?, cells);
/// assert_eq!(set.read_pixels(&[2])?[[0, 1, 3, 3]], 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PatchSetWriter {
    path: Place,
    staged: Place,
    array: ArrayWriter,
    shape: PatchShape,
    per_shard: usize,
    /// Where each patch lies in its shard.
    entries: Vec<Entry>,
    /// The length of each shard so far.
    lengths: Vec<u64>,
    open: Option<(usize, File)>,
    bytes: Vec<u8>,
    finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Unwritten,
    /// All zeros: nothing is stored.
    Empty,
    At(u64, u64),
}

impl PatchSetWriter {
    /// Begins a set of `n` patches at a path where there is nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`], [`Error::Config`] for patches without pixels or too large ones, and [`Error::Io`].
    pub fn create(
        path: impl AsRef<Path>,
        n: usize,
        shape: PatchShape,
        options: &PatchSetOptions,
    ) -> Result<Self> {
        let path = path.as_ref();
        let config = |name, problem: &str| Error::Config {
            name,
            problem: problem.to_owned(),
        };
        if options.patches_per_shard == 0 {
            return Err(config("patches_per_shard", "it must be at least 1"));
        }
        let pixels = shape
            .height
            .checked_mul(shape.width)
            .and_then(|n| n.checked_mul(shape.channels));
        if pixels.is_none_or(|n| n == 0 || n > (1 << 28)) {
            return Err(config(
                "shape",
                "a patch must have between 1 and 2^28 pixels",
            ));
        }
        let path = Place::new(path);
        path.must_be_free()?;
        let staged = path.staged();
        staged.remove()?;
        let per_shard = options.patches_per_shard.min(n.max(1));
        let one = [shape.channels, shape.height, shape.width].map(|n| n as u64);
        let along = |n: usize| vec![n as u64, one[0], one[1], one[2]];
        let mut attributes = Map::new();
        // Each shard has a file, also one without a stored patch.
        say_all_stored(&mut attributes);
        let spec = ArraySpec {
            shape: along(n),
            chunk: along(per_shard),
            element: ElementType::Number(DataType::Float32),
            nested: true,
            dimension_names: Some(["n", "c", "y", "x"].map(str::to_owned).to_vec()),
            inner: Some(along(1)),
            attributes,
            meaning: None,
        };
        let array = ArrayWriter::create(&staged.join("patches"), ZarrFormat::V3, spec)?;
        Ok(Self {
            path,
            staged,
            array,
            shape,
            per_shard,
            entries: vec![Entry::Unwritten; n],
            lengths: vec![0; n.div_ceil(per_shard)],
            open: None,
            bytes: Vec::new(),
            finished: false,
        })
    }

    /// Adds the cells and the notes, and puts the set in its place.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] when there is not one row per patch or a patch was not written, and [`Error::Io`].
    pub fn finish(mut self, cells: &RecordBatch, metadata: &Value) -> Result<()> {
        let n = self.entries.len();
        let written = self
            .entries
            .iter()
            .filter(|e| **e != Entry::Unwritten)
            .count();
        if written != n {
            return Err(Error::LengthMismatch {
                key: self.path.path().display().to_string(),
                expected: n as u64,
                found: written as u64,
            });
        }
        if cells.num_rows() != n {
            return Err(Error::LengthMismatch {
                key: "cells".to_owned(),
                expected: n as u64,
                found: cells.num_rows() as u64,
            });
        }
        export::write_parquet(self.staged.join("cells.parquet").path(), cells)?;
        self.open = None;
        for shard in 0..self.lengths.len() {
            self.close_shard(shard)?;
        }
        let note = json!({"version": VERSION, "metadata": metadata});
        let attributes = Map::from_iter([(ATTRIBUTE.to_owned(), note)]);
        write_group(&self.staged, ZarrFormat::V3, attributes)?;
        self.staged.sync_tree()?;
        self.path.must_be_free()?;
        self.staged.publish(&self.path)?;
        self.finished = true;
        Ok(())
    }

    /// Appends the index.
    fn close_shard(&mut self, shard: usize) -> Result<()> {
        let first = shard * self.per_shard;
        let entries: Vec<(u64, u64)> = (first..first + self.per_shard)
            .map(|patch| match self.entries.get(patch) {
                Some(Entry::At(offset, len)) => (*offset, *len),
                _ => (u64::MAX, u64::MAX),
            })
            .collect();
        let (path, mut file) = self.shard_file(shard)?;
        let index = encode_index(&entries);
        let end = self.lengths[shard] + index.len() as u64;
        file.seek(SeekFrom::Start(self.lengths[shard]))
            .and_then(|_| file.write_all(&index))
            .and_then(|()| file.set_len(end))
            .and_then(|()| file.sync_all())
            .map_err(Error::io(&path, "written"))
    }

    fn shard_file(&self, shard: usize) -> Result<(PathBuf, File)> {
        let path = self
            .array
            .chunk_place(&[shard as u64, 0, 0, 0])
            .path()
            .to_owned();
        if let Some(folder) = path.parent() {
            Place::new(folder).create_folder()?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(&path, "written"))?;
        Ok((path, file))
    }

    fn write_patch(&mut self, patch: usize, pixels: ArrayView4<'_, f32>) -> Result<()> {
        self.bytes.clear();
        self.bytes
            .extend(pixels.iter().flat_map(|v| v.to_ne_bytes()));
        let Some(encoded) = self.array.encode(&self.bytes)? else {
            self.entries[patch] = Entry::Empty;
            return Ok(());
        };
        let shard = patch / self.per_shard;
        if self.open.as_ref().is_none_or(|(open, _)| *open != shard) {
            self.open = Some((shard, self.shard_file(shard)?.1));
        }
        if let Some((_, file)) = &mut self.open {
            // Not simply at the end: a write that failed halfway may have left bytes there.
            file.seek(SeekFrom::Start(self.lengths[shard]))
                .and_then(|_| file.write_all(&encoded))
                .map_err(Error::io(self.staged.path(), "written"))?;
        }
        let len = encoded.len() as u64;
        self.entries[patch] = Entry::At(self.lengths[shard], len);
        self.lengths[shard] += len;
        Ok(())
    }
}

impl PatchSink for PatchSetWriter {
    fn write(&mut self, start: usize, pixels: ArrayView4<'_, f32>) -> Result<(), SourceError> {
        let place = self.path.path().display().to_string();
        let PatchShape {
            height,
            width,
            channels,
        } = self.shape;
        let (n, c, y, x) = pixels.dim();
        if (c, y, x) != (channels, height, width) {
            let error = ShapeError::Array {
                what: "patches".to_owned(),
                expected: format!("[n, {channels}, {height}, {width}]"),
                found: pixels.shape().to_vec(),
            };
            return Err(SourceError::new(place, error));
        }
        let end = start.saturating_add(n);
        if end > self.entries.len() {
            let total = self.entries.len();
            let problem = format!("patches {start}..{end} do not fit a set of {total}");
            return Err(SourceError::new(place, problem));
        }
        for i in 0..n {
            let one = pixels.slice(ndarray::s![i..=i, .., .., ..]);
            self.write_patch(start + i, one)
                .map_err(|error| SourceError::new(place.as_str(), error))?;
        }
        Ok(())
    }
}

impl Drop for PatchSetWriter {
    fn drop(&mut self) {
        if !self.finished {
            // An unfinished set is of no use to anybody.
            self.open = None;
            let _ = self.staged.remove();
        }
    }
}
