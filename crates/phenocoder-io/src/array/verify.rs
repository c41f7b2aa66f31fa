//! Every stored chunk of an array, decoded.

use super::{OpenShards, ZarrArray};
use crate::path::child;
use crate::{Error, Result};

/// A file below an array's folder.
#[derive(Debug)]
pub(crate) enum ChunkFile {
    /// The chunk with this index.
    Chunk(Vec<u64>),
    /// Metadata of the array, or a hidden file.
    Other,
    /// A file that no reader looks at.
    Stray,
}

/// What lies below an array's folder, by its path in it.
#[derive(Debug, Default)]
pub(crate) struct ArrayFiles {
    pub(crate) files: Vec<String>,
    /// The folders that cannot be listed, and why.
    pub(crate) unlisted: Vec<(String, Error)>,
}

impl ZarrArray {
    /// The files below the array's folder.
    pub(crate) fn files(&self) -> ArrayFiles {
        let mut found = ArrayFiles::default();
        self.collect_files("", 0, &mut found);
        found
    }

    fn collect_files(&self, folder: &str, depth: usize, found: &mut ArrayFiles) {
        let key = if folder.is_empty() {
            self.key.clone()
        } else {
            child(&self.key, folder)
        };
        let entries = if depth > self.root.options.max_depth {
            Err(Error::InvalidPath {
                key,
                path: "folders nested too deeply".to_owned(),
            })
        } else {
            self.root.entries(&key)
        };
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                found.unlisted.push((folder.to_owned(), error));
                return;
            }
        };
        for entry in entries {
            let relative = child(folder, &entry.name);
            if entry.is_folder && entry.is_link {
                // Links to folders could lead round in circles; readers find single chunks behind them all the same.
                continue;
            }
            if entry.is_folder {
                self.collect_files(&relative, depth + 1, found);
            } else {
                found.files.push(relative);
            }
        }
    }

    /// What a file below the array's folder is.
    pub(crate) fn classify(&self, relative: &str) -> ChunkFile {
        let name = relative.rsplit('/').next().unwrap_or(relative);
        if name.starts_with('.') || name == "zarr.json" {
            return ChunkFile::Other;
        }
        let numbers = relative.strip_prefix("c/").or(relative.strip_prefix("c."));
        let numbers = numbers.unwrap_or(relative).split(['/', '.']);
        let index: Option<Vec<u64>> = if self.shape.is_empty() {
            Some(Vec::new())
        } else {
            numbers.map(|n| n.parse().ok()).collect()
        };
        match index {
            Some(index) if self.is_in_grid(&index) && self.chunk_path(&index) == relative => {
                ChunkFile::Chunk(index)
            }
            _ => ChunkFile::Stray,
        }
    }

    /// Every chunk that the array has, where each of them must be stored.
    pub(crate) fn required_chunks(&self) -> Option<impl Iterator<Item = Vec<u64>> + use<>> {
        let grid: Vec<u64> = self
            .shape
            .iter()
            .zip(&self.chunk)
            .map(|(n, chunk)| n.div_ceil(*chunk))
            .collect();
        self.needs_all.then(|| super::indices(&grid))
    }

    /// The path of a chunk within the array's folder.
    pub(crate) fn chunk_path(&self, index: &[u64]) -> String {
        self.keys.chunk_key(index).as_str().to_owned()
    }

    fn is_in_grid(&self, index: &[u64]) -> bool {
        index.len() == self.shape.len()
            && index
                .iter()
                .zip(self.shape.iter().zip(&self.chunk))
                .all(|(i, (n, chunk))| *i < n.div_ceil(*chunk))
    }

    /// Decodes everything that a chunk file holds; how many blocks that is, and how many of them have no checksum.
    pub(crate) fn check_chunk(&self, chunk: &[u64]) -> Result<(u64, u64)> {
        let per_chunk: Vec<u64> = self.per_chunk().collect();
        let open = OpenShards::new(1);
        let (mut stored, mut without) = (0, 0);
        for inner in super::indices(&per_chunk) {
            let places = chunk.iter().zip(&per_chunk).zip(&inner);
            let index: Vec<u64> = places.map(|((c, n), i)| c * n + i).collect();
            if let Some(has_checksum) = self.check_block(&index, &open)? {
                stored += 1;
                without += u64::from(!has_checksum);
            }
        }
        Ok((stored, without))
    }
}
