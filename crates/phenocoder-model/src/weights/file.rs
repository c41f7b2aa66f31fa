//! The container: tensors and metadata in one safetensors file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use crate::{Error, FileError, Result};

/// No header of ours comes near this; a hostile one must not make us allocate more.
const HEADER_LIMIT: u64 = 16 << 20;
/// The length of the length.
const PREFIX: u64 = 8;

/// The content of a file.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) checksum: u32,
}

#[derive(Serialize)]
struct Entry {
    dtype: &'static str,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The tensors one after the other, and their CRC-32C.
pub(super) fn payload(tensors: &BTreeMap<String, Tensor>) -> Result<(Vec<u8>, u32)> {
    let mut bytes = Vec::new();
    for tensor in tensors.values() {
        for value in tensor.flatten_all()?.to_vec1::<f32>()? {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
    let checksum = crc32c::crc32c(&bytes);
    Ok((bytes, checksum))
}

/// Writes metadata and tensors, sorted by name.
pub(super) fn write(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    tensors: &BTreeMap<String, Tensor>,
    payload: &[u8],
) -> Result<()> {
    let mut header = serde_json::Map::new();
    let json = |value: Result<serde_json::Value, serde_json::Error>| {
        value.map_err(|source| Error::Section {
            name: "__metadata__".to_owned(),
            source,
        })
    };
    header.insert(
        "__metadata__".to_owned(),
        json(serde_json::to_value(metadata))?,
    );
    let mut from = 0;
    for (name, tensor) in tensors {
        let to = from + tensor.elem_count() * size_of::<f32>();
        let entry = Entry {
            dtype: "F32",
            shape: tensor.dims().to_vec(),
            data_offsets: [from, to],
        };
        header.insert(name.clone(), json(serde_json::to_value(entry))?);
        from = to;
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    // The tensors begin at a multiple of 8 bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = header.len() as u64;
    if length > HEADER_LIMIT {
        let source = FileError::HeaderLength {
            found: length,
            limit: HEADER_LIMIT,
        };
        return Err(Error::File {
            path: path.to_owned(),
            source,
        });
    }
    write_atomically(path, &[&length.to_le_bytes(), &header, payload])
}

/// Writes a file beside `path`, flushes it to the disk and renames it.
fn write_atomically(path: &Path, parts: &[&[u8]]) -> Result<()> {
    // Process and number keep the unfinished files of several writers apart.
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}.partial", std::process::id()));
    let partial = Partial(path.with_file_name(name));
    let write = || {
        let mut file = File::create(&partial.0)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
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
pub(super) fn read(path: &Path) -> Result<Contents> {
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

fn parse(bytes: &[u8]) -> Result<Contents, FileError> {
    let header = |reason: String| FileError::Header { reason };
    let (length, info) = SafeTensors::read_metadata(bytes).map_err(|e| header(e.to_string()))?;
    let payload = &bytes[PREFIX as usize + length..];
    let expected = info.data_len();
    if payload.len() != expected {
        return Err(FileError::Truncated {
            expected: PREFIX + (length + expected) as u64,
            found: bytes.len() as u64,
        });
    }
    let metadata = info.metadata().clone().unwrap_or_default();
    let mut tensors = BTreeMap::new();
    for (name, entry) in info.tensors() {
        if entry.dtype != Dtype::F32 {
            return Err(header(format!(
                "tensor `{name}` is {:?}, expected F32",
                entry.dtype
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
            .map_err(|e| header(e.to_string()))?;
        tensors.insert(name, tensor);
    }
    Ok(Contents {
        metadata: metadata.into_iter().collect(),
        tensors,
        checksum: crc32c::crc32c(payload),
    })
}
