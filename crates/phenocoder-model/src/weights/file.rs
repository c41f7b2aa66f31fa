//! The container: tensors and metadata in one safetensors file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{Error, FileError, Result};

/// No header of ours comes near this; a hostile one must not make us allocate more.
const HEADER_LIMIT: u64 = 16 << 20;
/// The length of the length.
const PREFIX: u64 = 8;

/// The metadata entry that holds the SHA-256 of everything else.
pub(crate) const HASH_KEY: &str = "phenocoder.sha256";

pub(crate) type Metadata = BTreeMap<String, String>;
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// The content of a file.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Tensors,
    /// CRC-32C of the tensors.
    pub(crate) checksum: u32,
    /// SHA-256 of the header without [`HASH_KEY`] and of the tensors; only where the file has this entry.
    hash: Option<String>,
}

impl Contents {
    /// Compares the SHA-256 of the content with the one that was written.
    pub(crate) fn check_hash(&self) -> Result<(), FileError> {
        match (self.metadata.get(HASH_KEY), &self.hash) {
            (Some(expected), Some(found)) if expected == found => Ok(()),
            (Some(expected), Some(found)) => Err(FileError::Hash {
                expected: expected.clone(),
                found: found.clone(),
            }),
            _ => Err(FileError::Foreign { key: HASH_KEY }),
        }
    }
}

/// Refuses a tensor with a value that is infinite or no number.
pub(crate) fn check_finite(name: &str, tensor: &Tensor) -> Result<(), FileError> {
    let problem = match tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()) {
        Ok(values) if values.iter().all(|v| v.is_finite()) => return Ok(()),
        Ok(_) => "it is not finite".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(FileError::Tensor {
        name: name.to_owned(),
        problem,
    })
}

#[derive(Serialize)]
struct Entry {
    dtype: &'static str,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The tensors one after the other, and their CRC-32C.
pub(crate) fn payload(tensors: &Tensors) -> Result<(Vec<u8>, u32)> {
    let values: usize = tensors.values().map(Tensor::elem_count).sum();
    let mut bytes = Vec::with_capacity(values * size_of::<f32>());
    for tensor in tensors.values() {
        for value in tensor.flatten_all()?.to_vec1::<f32>()? {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
    let checksum = crc32c::crc32c(&bytes);
    Ok((bytes, checksum))
}

/// The header as JSON, sorted by name.
fn header<'a>(
    metadata: &Metadata,
    shapes: impl Iterator<Item = (&'a str, &'a [usize])>,
) -> Result<String, serde_json::Error> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::to_value(metadata)?);
    let mut from = 0;
    for (name, shape) in shapes {
        let to = from + shape.iter().product::<usize>() * size_of::<f32>();
        let entry = Entry {
            dtype: "F32",
            shape: shape.to_vec(),
            data_offsets: [from, to],
        };
        header.insert(name.to_owned(), serde_json::to_value(entry)?);
        from = to;
    }
    Ok(Value::Object(header).to_string())
}

fn header_of(metadata: &Metadata, tensors: &Tensors) -> Result<String, serde_json::Error> {
    header(
        metadata,
        tensors.iter().map(|(name, t)| (name.as_str(), t.dims())),
    )
}

fn hash(header: &str, payload: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    hash.update(header.as_bytes());
    hash.update(payload);
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn no_json(source: serde_json::Error) -> Error {
    Error::Section {
        name: "__metadata__".to_owned(),
        source,
    }
}

/// Where a file is written, and what becomes of the one that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a Path,
    /// The name of the unfinished file; by default one that no other writer has.
    pub(crate) partial: Option<&'a Path>,
    /// The file that is there gets this name; by default it is replaced.
    pub(crate) previous: Option<&'a Path>,
}

impl<'a> Target<'a> {
    pub(crate) fn new(path: &'a Path) -> Self {
        Self {
            path,
            partial: None,
            previous: None,
        }
    }
}

/// Writes metadata and tensors, sorted by name, with the SHA-256 of both, which it returns.
pub(crate) fn write(
    target: Target<'_>,
    mut metadata: Metadata,
    tensors: &Tensors,
    payload: &[u8],
) -> Result<String> {
    let hash = hash(&header_of(&metadata, tensors).map_err(no_json)?, payload);
    metadata.insert(HASH_KEY.to_owned(), hash.clone());
    let mut header = header_of(&metadata, tensors).map_err(no_json)?.into_bytes();
    // The tensors begin at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = header.len() as u64;
    if length > HEADER_LIMIT {
        let source = FileError::HeaderLength {
            found: length,
            limit: HEADER_LIMIT,
        };
        return Err(Error::File {
            path: target.path.to_owned(),
            source,
        });
    }
    write_atomically(target, &[&length.to_le_bytes(), &header, payload])?;
    Ok(hash)
}

/// Writes a file beside its target, flushes it to the disk and renames it.
fn write_atomically(target: Target<'_>, parts: &[&[u8]]) -> Result<()> {
    // Process and number keep the unfinished files of several writers apart.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let path = target.path;
    let partial = Partial(target.partial.map_or_else(
        || {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}-{number}.partial", std::process::id()));
            path.with_file_name(name)
        },
        Path::to_owned,
    ));
    let write = || {
        let mut file = File::create(&partial.0)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        drop(file);
        if let Some(previous) = target.previous {
            match fs::rename(path, previous) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        fs::rename(&partial.0, path)?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        // A folder can be flushed on Unix only; elsewhere opening it fails, and the rename itself is all there is.
        if let Ok(folder) = File::open(parent.unwrap_or(Path::new("."))) {
            folder.sync_all()?;
        }
        Ok(())
    };
    write().map_err(|source| Error::io(path, "written", source))
}

/// Removes the unfinished file when writing fails.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing to remove, and after a failure nothing more to do.
        let _ = fs::remove_file(&self.0);
    }
}

/// Reads a whole file; nothing is allocated beyond its true size.
pub(crate) fn read(path: &Path) -> Result<Contents> {
    let broken = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let io = |source| Error::io(path, "read", source);
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size < PREFIX {
        return Err(broken(FileError::Truncated {
            expected: PREFIX,
            found: size,
        }));
    }
    let mut prefix = [0; PREFIX as usize];
    file.read_exact(&mut prefix).map_err(io)?;
    let length = u64::from_le_bytes(prefix);
    if length > HEADER_LIMIT {
        return Err(broken(FileError::HeaderLength {
            found: length,
            limit: HEADER_LIMIT,
        }));
    }
    if PREFIX + length > size {
        return Err(broken(FileError::Truncated {
            expected: PREFIX + length,
            found: size,
        }));
    }
    let mut bytes = prefix.to_vec();
    file.read_to_end(&mut bytes).map_err(io)?;
    parse(&bytes).map_err(broken)
}

/// The length that a file should have at least, when it is shorter.
fn cut_off(bytes: &[u8], error: &SafeTensorError) -> Option<u64> {
    if !matches!(error, SafeTensorError::MetadataIncompleteBuffer) {
        return None;
    }
    let (prefix, rest) = bytes.split_first_chunk()?;
    let length = u64::from_le_bytes(*prefix);
    let header = rest.get(..usize::try_from(length).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let ends = header.as_object()?.values();
    let end = ends.filter_map(|e| e.get("data_offsets")?.get(1)?.as_u64());
    let expected = PREFIX.checked_add(length)?.checked_add(end.max()?)?;
    (expected > bytes.len() as u64).then_some(expected)
}

fn parse(bytes: &[u8]) -> Result<Contents, FileError> {
    let header_error = |reason: String| FileError::Header { reason };
    let (length, info) =
        SafeTensors::read_metadata(bytes).map_err(|e| match cut_off(bytes, &e) {
            Some(expected) => FileError::Truncated {
                expected,
                found: bytes.len() as u64,
            },
            None => header_error(e.to_string()),
        })?;
    let payload = &bytes[PREFIX as usize + length..];
    let expected = info.data_len();
    if payload.len() != expected {
        return Err(FileError::Truncated {
            expected: PREFIX + (length + expected) as u64,
            found: bytes.len() as u64,
        });
    }
    let mut metadata: Metadata = info
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    let mut tensors = Tensors::new();
    for (name, entry) in info.tensors() {
        if entry.dtype != Dtype::F32 {
            return Err(header_error(format!(
                "tensor `{name}` is {:?}, expected F32",
                entry.dtype
            )));
        }
        // An axis of no extent hides those that are too large from the parser.
        let extents = entry.shape.iter().filter(|&&extent| extent > 0);
        let values = extents.copied().try_fold(1_usize, usize::checked_mul);
        if values
            .and_then(|n| n.checked_mul(size_of::<f32>()))
            .is_none()
        {
            return Err(header_error(format!(
                "tensor `{name}` claims the shape {:?}",
                entry.shape
            )));
        }
        let (from, to) = entry.data_offsets;
        let values: Vec<f32> = payload[from..to]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect();
        let tensor = Tensor::from_vec(values, entry.shape.as_slice(), &Device::Cpu)
            .map_err(|e| header_error(e.to_string()))?;
        tensors.insert(name, tensor);
    }
    let hash = match metadata.remove(HASH_KEY) {
        None => None,
        Some(written) => {
            let header = header_of(&metadata, &tensors).map_err(|e| header_error(e.to_string()))?;
            metadata.insert(HASH_KEY.to_owned(), written);
            Some(hash(&header, payload))
        }
    };
    Ok(Contents {
        metadata,
        tensors,
        checksum: crc32c::crc32c(payload),
        hash,
    })
}
