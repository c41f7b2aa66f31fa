//! Stored patch sets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use ndarray::Array4;
use phenocoder_core::{DataType, PatchShape};
use rayon::prelude::*;
use serde_json::Value;

use super::{ATTRIBUTE, VERSION};
use crate::array::{Block, ElementType, OpenShards, ZarrArray};
use crate::columns::Parts;
use crate::node::{Node, ZarrFormat};
use crate::root::Root;
use crate::{Error, OpenOptions, Result};

/// A patch set on disk; patches are read by number.
#[derive(Debug)]
pub struct PatchSet {
    root: Arc<Root>,
    path: PathBuf,
    array: ZarrArray,
    /// A set never changes once it is there, so its files can stay open.
    open: OpenShards,
    n: usize,
    shape: PatchShape,
    metadata: Value,
}

impl PatchSet {
    /// Opens a set with the default limits of [`OpenOptions`].
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, OpenOptions::default())
    }

    /// Opens a set: a patch takes [`max_chunk_bytes`](OpenOptions::max_chunk_bytes) at most,
    /// and what is known of the cells [`max_array_bytes`](OpenOptions::max_array_bytes).
    ///
    /// # Errors
    ///
    /// [`Error::NotAStore`] when there is none, [`Error::UnsupportedVersion`] for one of the future,
    /// [`Error::TooLarge`] where a patch is, and errors of its metadata.
    pub fn open_with(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let root = Arc::new(Root::open(path, options)?);
        let not_one = |problem: &str| Error::NotAStore {
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        let group =
            Node::find(&root, "", ZarrFormat::V3)?.ok_or_else(|| not_one("it has no zarr.json"))?;
        let note = group
            .attributes
            .get(ATTRIBUTE)
            .ok_or_else(|| not_one("it is no patch set"))?;
        let version = note
            .get("version")
            .and_then(Value::as_str)
            .unwrap_or("none");
        if version != VERSION {
            return Err(Error::UnsupportedVersion {
                key: path.display().to_string(),
                found: version.to_owned(),
                supported: "patch sets of version 1",
            });
        }
        let metadata = note.get("metadata").cloned().unwrap_or(Value::Null);
        let array = ZarrArray::open(&root, "patches", ZarrFormat::V3)?;
        let invalid = |found: String| Error::invalid("patches", "four axes: n, c, y, x", found);
        let &[n, c, y, x] = array.shape() else {
            return Err(invalid(format!("{:?}", array.shape())));
        };
        if array.block_shape() != [1, c, y, x] {
            let found = format!("{:?}", array.block_shape());
            return Err(Error::invalid("patches", "one chunk per patch", found));
        }
        if array.element() != ElementType::Number(DataType::Float32) {
            return Err(Error::DataType {
                key: "patches".to_owned(),
                expected: "float32",
                found: format!("{:?}", array.element()),
            });
        }
        let bytes = [c, y, x]
            .iter()
            .fold(4, |n: u128, &m| n.saturating_mul(m.into()));
        let limit = root.options.max_chunk_bytes;
        Error::check_size("patches", "a patch with bytes", bytes, limit)?;
        let to_usize = |n: u64| usize::try_from(n).map_err(|_| invalid(n.to_string()));
        Ok(Self {
            n: to_usize(n)?,
            shape: PatchShape::new(to_usize(y)?, to_usize(x)?, to_usize(c)?),
            path: path.to_owned(),
            root,
            array,
            open: OpenShards::default(),
            metadata,
        })
    }

    /// The number of patches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are no patches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The extent of every patch.
    #[must_use]
    pub fn shape(&self) -> PatchShape {
        self.shape
    }

    /// What was noted when the set was written.
    #[must_use]
    pub fn metadata(&self) -> &Value {
        &self.metadata
    }

    /// One row per patch: what is known of its cell.
    ///
    /// # Errors
    ///
    /// As [`read_parquet_with`](crate::read_parquet_with), and [`Error::LengthMismatch`] when the file has another number
    /// of rows.
    pub fn cells(&self) -> Result<RecordBatch> {
        let key = "cells.parquet";
        let cells = Parts::read_file(&self.root, key)?;
        if cells.num_rows() != self.n {
            return Err(Error::LengthMismatch {
                key: key.to_owned(),
                expected: self.n as u64,
                found: cells.num_rows() as u64,
            });
        }
        Ok(cells)
    }

    /// Reads the patches of these numbers, in that order.
    ///
    /// Each patch is a chunk of its own: whatever the order, nothing else is decoded.
    /// Patches are decoded in the order in which they lie on the disk, on all threads.
    ///
    /// # Shapes
    ///
    /// Returns `[patches.len(), c, y, x]`.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a number beyond the set, [`Error::Checksum`] and [`Error::CorruptChunk`] for damaged
    /// data.
    pub fn read_pixels(&self, patches: &[usize]) -> Result<Array4<f32>> {
        let PatchShape {
            height,
            width,
            channels,
        } = self.shape;
        let shape = (patches.len(), channels, height, width);
        self.read(patches, shape, |values, to| {
            for (to, from) in to.iter_mut().zip(values) {
                *to = f32::from_ne_bytes(*from);
            }
        })
    }

    /// As [`read_pixels`](Self::read_pixels), in the layout of networks.
    ///
    /// # Shapes
    ///
    /// Returns `[patches.len(), y, x, c]`.
    ///
    /// # Errors
    ///
    /// As [`read_pixels`](Self::read_pixels).
    pub fn read_channels_last(&self, patches: &[usize]) -> Result<Array4<f32>> {
        let PatchShape {
            height,
            width,
            channels,
        } = self.shape;
        let shape = (patches.len(), height, width, channels);
        self.read(patches, shape, |values, to| {
            let planes = values.chunks_exact(height * width);
            for (channel, plane) in planes.enumerate() {
                for (to, from) in to.chunks_exact_mut(channels).zip(plane) {
                    to[channel] = f32::from_ne_bytes(*from);
                }
            }
        })
    }

    /// Decodes patches; `copy` brings one from its layout on the disk to that of `shape`.
    fn read(
        &self,
        patches: &[usize],
        shape: (usize, usize, usize, usize),
        copy: impl Fn(&[[u8; 4]], &mut [f32]) + Sync,
    ) -> Result<Array4<f32>> {
        if let Some(&patch) = patches.iter().find(|&&patch| patch >= self.n) {
            return Err(Error::NoEntry {
                key: self.path.display().to_string(),
                what: "patch",
                name: patch.to_string(),
                available: format!("0..{}", self.n),
            });
        }
        let fill = self.array.fill().first_chunk::<4>();
        let fill = fill.map_or(0.0, |fill| f32::from_ne_bytes(*fill));
        let mut out = vec![fill; patches.len() * self.shape.len()];
        // In the order in which they lie on the disk.
        let places = out.chunks_exact_mut(self.shape.len().max(1));
        let mut places: Vec<(usize, &mut [f32])> = patches.iter().copied().zip(places).collect();
        places.sort_by_key(|(patch, _)| *patch);
        let decode = |(patch, to): &mut (usize, &mut [f32])| {
            let index = [*patch as u64, 0, 0, 0];
            if let Block::Bytes(bytes) = self.array.block(&index, &self.open)? {
                copy(bytes.as_chunks::<4>().0, to);
            }
            Ok(())
        };
        let results: Vec<Result<()>> = places.par_iter_mut().map(decode).collect();
        // The first error by place, whichever thread was faster.
        results.into_iter().collect::<Result<()>>()?;
        Array4::from_shape_vec(shape, out)
            .map_err(|error| Error::invalid("patches", format!("{shape:?}"), error))
    }
}
