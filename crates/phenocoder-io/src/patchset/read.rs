//! Stored patch sets.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use ndarray::{Array4, s};
use phenocoder_core::{DataType, PatchShape};
use rayon::prelude::*;
use serde_json::Value;

use super::{ATTRIBUTE, VERSION};
use crate::array::{Block, ElementType, ZarrArray};
use crate::node::{Node, ZarrFormat};
use crate::root::Root;
use crate::{Error, OpenOptions, Result, export};

/// A patch set on disk; patches are read by number.
#[derive(Debug)]
pub struct PatchSet {
    root: Arc<Root>,
    path: PathBuf,
    array: ZarrArray,
    n: usize,
    shape: PatchShape,
    metadata: Value,
}

impl PatchSet {
    /// Opens a set.
    ///
    /// # Errors
    ///
    /// [`Error::NotAStore`] when there is none, [`Error::UnsupportedVersion`] for one of the future,
    /// and errors of its metadata.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let root = Arc::new(Root::open(path, OpenOptions::default())?);
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
        if bytes > u128::from(limit) {
            return Err(Error::TooLarge {
                key: "patches".to_owned(),
                what: "a patch with bytes",
                found: bytes,
                limit,
            });
        }
        let to_usize = |n: u64| usize::try_from(n).map_err(|_| invalid(n.to_string()));
        Ok(Self {
            n: to_usize(n)?,
            shape: PatchShape::new(to_usize(y)?, to_usize(x)?, to_usize(c)?),
            path: path.to_owned(),
            root,
            array,
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
    /// [`Error::Parquet`] when the file is damaged, [`Error::LengthMismatch`] when it has another number of rows.
    pub fn cells(&self) -> Result<RecordBatch> {
        let path = self
            .root
            .resolve("cells.parquet")?
            .ok_or_else(|| Error::missing("cells.parquet", "one row per patch"))?;
        let cells = export::read_parquet(&path)?;
        if cells.num_rows() != self.n {
            return Err(Error::LengthMismatch {
                key: path.display().to_string(),
                expected: self.n as u64,
                found: cells.num_rows() as u64,
            });
        }
        Ok(cells)
    }

    /// Reads the patches of these numbers, in that order.
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
        if let Some(&patch) = patches.iter().find(|&&patch| patch >= self.n) {
            return Err(Error::NoEntry {
                key: self.path.display().to_string(),
                what: "patch",
                name: patch.to_string(),
                available: format!("0..{}", self.n),
            });
        }
        let PatchShape {
            height,
            width,
            channels,
        } = self.shape;
        let fill = self.array.fill().first_chunk::<4>();
        let fill = fill.map_or(0.0, |fill| f32::from_ne_bytes(*fill));
        let mut out = Array4::from_elem((patches.len(), channels, height, width), fill);
        // In the order in which they lie on the disk, each once.
        let mut order: Vec<usize> = (0..patches.len()).collect();
        order.sort_by_key(|&place| patches[place]);
        let groups: Vec<&[usize]> = order.chunk_by(|&a, &b| patches[a] == patches[b]).collect();
        let together = rayon::current_num_threads().max(1) * 16;
        for groups in groups.chunks(together) {
            let blocks: Vec<Result<Block>> = groups
                .par_iter()
                .map(|places| {
                    let patch = places.first().map_or(0, |&place| patches[place]);
                    self.array.block(&[patch as u64, 0, 0, 0])
                })
                .collect();
            for (places, block) in groups.iter().zip(blocks) {
                let Block::Bytes(bytes) = block? else {
                    continue;
                };
                for &place in *places {
                    let values = bytes.as_chunks::<4>().0;
                    out.slice_mut(s![place, .., .., ..])
                        .iter_mut()
                        .zip(values)
                        .for_each(|(to, from)| *to = f32::from_ne_bytes(*from));
                }
            }
        }
        Ok(out)
    }
}
