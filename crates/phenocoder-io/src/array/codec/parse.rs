//! Which codecs the metadata of an array name.

use serde_json::{Map, Value};

use super::checksum::{Checksum, ChecksumKind};
use super::{BytesCodec, BytesCodecs, MAX_CODECS};
use crate::{Error, Result};

impl BytesCodecs {
    /// Takes the bytes-to-bytes codecs off the end of a Zarr v3 list.
    ///
    /// Returns them and what comes before them.
    pub(crate) fn split_v3<'a>(key: &str, list: &'a [Value]) -> Result<(Self, &'a [Value])> {
        let parsed: Vec<Option<BytesCodec>> = list
            .iter()
            .map(|codec| {
                let configuration = codec.get("configuration").and_then(Value::as_object);
                let name = codec.as_str().or_else(|| codec.get("name")?.as_str());
                match name {
                    Some(name) => from_v3(key, name, configuration),
                    None => Ok(None),
                }
            })
            .collect::<Result<_>>()?;
        Self::split(key, parsed, list, |codec| codec.get("name"))
    }

    /// Takes the bytes-to-bytes codecs off the end of Zarr v2 filters and puts the compressor after them.
    pub(crate) fn split_v2<'a>(
        key: &str,
        filters: &'a [Value],
        compressor: Option<&Value>,
    ) -> Result<(Self, &'a [Value])> {
        let parsed: Vec<Option<BytesCodec>> = filters
            .iter()
            .map(|filter| from_v2(key, filter))
            .collect::<Result<_>>()?;
        let (mut codecs, filters) = Self::split(key, parsed, filters, |filter| filter.get("id"))?;
        if let Some(compressor) = compressor {
            match from_v2(key, compressor)? {
                Some(codec) => codecs.0.push(codec),
                None => return Err(unknown(key, compressor.get("id"), compressor)),
            }
        }
        Ok((codecs, filters))
    }

    fn split<'a>(
        key: &str,
        parsed: Vec<Option<BytesCodec>>,
        list: &'a [Value],
        name: impl Fn(&Value) -> Option<&Value>,
    ) -> Result<(Self, &'a [Value])> {
        let first = parsed
            .iter()
            .position(Option::is_some)
            .unwrap_or(parsed.len());
        if parsed.len() - first > MAX_CODECS {
            return Err(Error::UnsupportedCodec {
                key: key.to_owned(),
                problem: format!("more than {MAX_CODECS} codecs on bytes"),
            });
        }
        let mut codecs = Vec::with_capacity(parsed.len() - first);
        for (codec, value) in parsed.into_iter().zip(list).skip(first) {
            match codec {
                Some(codec) => codecs.push(codec),
                None => return Err(unknown(key, name(value), value)),
            }
        }
        Ok((Self(codecs), list.get(..first).unwrap_or_default()))
    }

    /// zstd and CRC-32C, or zstd with its own checksum in Zarr v2, where few programs know CRC-32C.
    pub(crate) fn of_new_arrays(is_v3: bool) -> Self {
        let mut codecs = vec![BytesCodec::Zstd {
            level: 0,
            checksum: !is_v3,
        }];
        if is_v3 {
            codecs.push(BytesCodec::Checksum(Checksum::CRC32C));
        }
        Self(codecs)
    }
}

fn unknown(key: &str, name: Option<&Value>, codec: &Value) -> Error {
    let name = name
        .or(Some(codec))
        .and_then(Value::as_str)
        .unwrap_or("without a name");
    Error::UnsupportedCodec {
        key: key.to_owned(),
        problem: format!("unknown codec `{name}` on bytes"),
    }
}

/// A codec of Zarr v3, or `None` when it is none on bytes that we know.
fn from_v3(
    key: &str,
    name: &str,
    configuration: Option<&Map<String, Value>>,
) -> Result<Option<BytesCodec>> {
    match name.strip_prefix("numcodecs.") {
        Some(name) => from_numcodecs(key, name, configuration),
        // Checksums of numcodecs may lie elsewhere than Zarr's own.
        None if name == "crc32c" => Ok(Some(BytesCodec::Checksum(Checksum::CRC32C))),
        None => from_numcodecs(key, name, configuration),
    }
}

fn from_v2(key: &str, codec: &Value) -> Result<Option<BytesCodec>> {
    match codec.get("id").and_then(Value::as_str) {
        Some(name) => from_numcodecs(key, name, codec.as_object()),
        None => Ok(None),
    }
}

fn from_numcodecs(
    key: &str,
    name: &str,
    configuration: Option<&Map<String, Value>>,
) -> Result<Option<BytesCodec>> {
    let setting = |name: &str| configuration.and_then(|c| c.get(name));
    let checksum = |kind, first_by_default: bool| {
        let first = match setting("location").and_then(Value::as_str) {
            Some("start") => true,
            Some("end") => false,
            _ => first_by_default,
        };
        BytesCodec::Checksum(Checksum { kind, first })
    };
    Ok(Some(match name {
        "zstd" => BytesCodec::Zstd {
            level: setting("level")
                .and_then(Value::as_i64)
                .and_then(|level| level.try_into().ok())
                .unwrap_or(0),
            checksum: setting("checksum").and_then(Value::as_bool) == Some(true),
        },
        "blosc" => BytesCodec::Blosc,
        "gzip" => BytesCodec::Gzip,
        "zlib" => BytesCodec::Zlib,
        "lz4" => BytesCodec::Lz4,
        "shuffle" => {
            let size = setting("elementsize").map_or(Some(4), Value::as_u64);
            let size = size
                .and_then(|size| usize::try_from(size).ok())
                .filter(|size| (1..=1 << 16).contains(size))
                .ok_or_else(|| {
                    let found = setting("elementsize").cloned().unwrap_or_default();
                    Error::invalid(key, "`elementsize` from 1 to 65536", found)
                })?;
            BytesCodec::Shuffle(size)
        }
        "crc32c" => checksum(ChecksumKind::Crc32c, false),
        "crc32" => checksum(ChecksumKind::Crc32, true),
        "adler32" => checksum(ChecksumKind::Adler32, true),
        _ => return Ok(None),
    }))
}
