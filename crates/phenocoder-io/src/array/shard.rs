//! Shards: several chunks in one file, with an index of where each lies.

use serde_json::Value;

use super::chain::Chain;
use super::element::ElementType;
use crate::root::RangeFile;
use crate::{Error, Result, json};

/// How the shards of an array are built.
#[derive(Debug)]
pub(crate) struct Sharding {
    /// The extent of a chunk within a shard.
    pub(crate) inner: Vec<u64>,
    /// The codecs of a chunk within a shard.
    pub(crate) chain: Chain,
    index_first: bool,
    index_checksum: bool,
    index_big_endian: bool,
}

/// Where the chunks of one shard lie.
#[derive(Debug, Clone)]
pub(crate) struct ShardIndex {
    per_shard: Vec<u64>,
    entries: Vec<(u64, u64)>,
}

impl Sharding {
    pub(crate) fn parse(
        key: &str,
        codec: &Value,
        element: ElementType,
        depth: usize,
    ) -> Result<Self> {
        let configuration = codec
            .get("configuration")
            .and_then(Value::as_object)
            .ok_or_else(|| Error::missing(key, "the configuration of `sharding_indexed`"))?;
        let inner = json::counts(key, configuration, "chunk_shape")?;
        let codecs = configuration
            .get("codecs")
            .and_then(Value::as_array)
            .ok_or_else(|| Error::missing(key, "`codecs` of `sharding_indexed`"))?;
        let index_first = match configuration.get("index_location").and_then(Value::as_str) {
            None | Some("end") => false,
            Some("start") => true,
            Some(other) => {
                return Err(Error::invalid(key, "`index_location` start or end", other));
            }
        };
        let mut index_checksum = false;
        let mut index_big_endian = false;
        let index_codecs = configuration.get("index_codecs").and_then(Value::as_array);
        for codec in index_codecs.into_iter().flatten() {
            let name = codec
                .get("name")
                .and_then(Value::as_str)
                .or_else(|| codec.as_str());
            match name {
                Some("bytes") => {
                    let endian = codec
                        .get("configuration")
                        .and_then(|c| c.get("endian"))
                        .and_then(Value::as_str);
                    index_big_endian = endian == Some("big");
                }
                Some("crc32c") => index_checksum = true,
                _ => {
                    return Err(Error::UnsupportedCodec {
                        key: key.to_owned(),
                        problem: format!("shard index with codec {codec}"),
                    });
                }
            }
        }
        Ok(Self {
            inner,
            chain: Chain::parse_nested(key, codecs, element, depth + 1)?,
            index_first,
            index_checksum,
            index_big_endian,
        })
    }

    /// The number of chunks and the bytes of the index, when both are possible for a file of this size.
    fn index_size(&self, key: &str, per_shard: &[u64], size: u64) -> Result<(usize, usize)> {
        let chunks = super::places(per_shard);
        let checksum = if self.index_checksum { 4 } else { 0 };
        let bytes = chunks.saturating_mul(16).saturating_add(checksum);
        if bytes > u128::from(size) {
            return Err(Error::corrupt(key, "it is shorter than its index"));
        }
        match (usize::try_from(chunks), usize::try_from(bytes)) {
            (Ok(chunks), Ok(bytes)) => Ok((chunks, bytes)),
            _ => Err(Error::corrupt(key, "the index is too large")),
        }
    }

    /// Reads the index of a shard file.
    pub(crate) fn read_index(
        &self,
        key: &str,
        file: &RangeFile,
        per_shard: &[u64],
    ) -> Result<ShardIndex> {
        let (chunks, len) = self.index_size(key, per_shard, file.size)?;
        let offset = if self.index_first {
            0
        } else {
            file.size - len as u64
        };
        let bytes = file.read(offset, len)?;
        self.parse_index(key, &bytes, chunks, per_shard)
    }

    /// The index of a shard in memory.
    pub(crate) fn index_of(
        &self,
        key: &str,
        shard: &[u8],
        per_shard: &[u64],
    ) -> Result<ShardIndex> {
        let (chunks, len) = self.index_size(key, per_shard, shard.len() as u64)?;
        let bytes = if self.index_first {
            &shard[..len]
        } else {
            &shard[shard.len() - len..]
        };
        self.parse_index(key, bytes, chunks, per_shard)
    }

    fn parse_index(
        &self,
        key: &str,
        bytes: &[u8],
        chunks: usize,
        per_shard: &[u64],
    ) -> Result<ShardIndex> {
        let (table, checksum) = bytes.split_at(chunks * 16);
        if let Some(stored) = checksum.first_chunk::<4>()
            && crc32c::crc32c(table) != u32::from_le_bytes(*stored)
        {
            return Err(Error::Checksum {
                key: key.to_owned(),
            });
        }
        let number = |bytes: &[u8]| {
            let mut word = [0; 8];
            word.copy_from_slice(bytes);
            if self.index_big_endian {
                u64::from_be_bytes(word)
            } else {
                u64::from_le_bytes(word)
            }
        };
        let entries = table
            .chunks_exact(16)
            .map(|entry| (number(&entry[..8]), number(&entry[8..])))
            .collect();
        Ok(ShardIndex {
            per_shard: per_shard.to_vec(),
            entries,
        })
    }
}

impl ShardIndex {
    /// The memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.len() * size_of::<(u64, u64)>()
    }

    /// Offset and length of a chunk within a shard of `size` bytes; `None` when the chunk is not stored.
    pub(crate) fn locate(&self, key: &str, inner: &[u64], size: u64) -> Result<Option<(u64, u64)>> {
        let place = inner
            .iter()
            .zip(&self.per_shard)
            .fold(0, |place, (i, n)| place * n + i);
        let entry = usize::try_from(place)
            .ok()
            .and_then(|place| self.entries.get(place));
        match entry {
            None => Err(Error::corrupt(key, "the index has no entry for a chunk")),
            Some(&(u64::MAX, u64::MAX)) => Ok(None),
            Some(&(offset, len)) if offset.checked_add(len).is_some_and(|end| end <= size) => {
                Ok(Some((offset, len)))
            }
            Some(_) => Err(Error::corrupt(key, "the index points beyond the shard")),
        }
    }
}

/// The index at the end of a shard: little endian, with a checksum.
pub(crate) fn encode_index(entries: &[(u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * 16 + 4);
    for (offset, len) in entries {
        bytes.extend(offset.to_le_bytes());
        bytes.extend(len.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}
