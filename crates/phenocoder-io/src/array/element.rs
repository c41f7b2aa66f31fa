//! The types of values that SpatialData stores hold.

use phenocoder_core::DataType;
use serde_json::{Map, Value};

use crate::node::ZarrFormat;
use crate::{Error, Result, json};

/// What one place of an array holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElementType {
    Number(DataType),
    /// Text of any length, `vlen-utf8`.
    Text,
    /// Text of at most this many characters of four bytes.
    Utf32(usize),
    /// This many bytes, which the reader of the array takes apart.
    Opaque(usize),
}

/// The most bytes of a place whose content is not known.
pub(crate) const MAX_OPAQUE: usize = 1 << 20;

/// The most characters of a text of fixed length: a single one then has at most 1 GiB.
const MAX_UTF32: usize = 1 << 28;

impl ElementType {
    pub(crate) fn parse(
        key: &str,
        metadata: &Map<String, Value>,
        format: ZarrFormat,
    ) -> Result<Self> {
        let parsed = match format {
            ZarrFormat::V2 => {
                let dtype = metadata
                    .get("dtype")
                    .ok_or_else(|| Error::missing(key, "`dtype`"))?;
                (dtype.as_str().and_then(Self::from_numpy), dtype)
            }
            ZarrFormat::V3 => {
                let dtype = metadata
                    .get("data_type")
                    .ok_or_else(|| Error::missing(key, "`data_type`"))?;
                let parsed = match dtype {
                    Value::String(name) => Self::from_zarr(name),
                    Value::Object(object) => Self::from_extension(key, object)?,
                    _ => None,
                };
                (parsed, dtype)
            }
        };
        parsed.0.ok_or_else(|| Error::DataType {
            key: key.to_owned(),
            expected: "whole numbers, floating-point numbers, truth values or text",
            found: parsed.1.to_string(),
        })
    }

    fn from_numpy(name: &str) -> Option<Self> {
        let (order, rest) = name.split_at_checked(1)?;
        if !matches!(order, "<" | ">" | "|") {
            return None;
        }
        if let Some(length) = rest.strip_prefix('U') {
            return length.parse().ok().and_then(Self::utf32);
        }
        if let Some(length) = name.strip_prefix("|V") {
            return length.parse().ok().and_then(Self::opaque);
        }
        Some(Self::Number(match rest {
            "O" => return Some(Self::Text),
            "b1" => DataType::Bool,
            "u1" => DataType::UInt8,
            "u2" => DataType::UInt16,
            "u4" => DataType::UInt32,
            "u8" => DataType::UInt64,
            "i1" => DataType::Int8,
            "i2" => DataType::Int16,
            "i4" => DataType::Int32,
            "i8" => DataType::Int64,
            "f2" => DataType::Float16,
            "f4" => DataType::Float32,
            "f8" => DataType::Float64,
            _ => return None,
        }))
    }

    fn from_zarr(name: &str) -> Option<Self> {
        if let Some(bits) = name.strip_prefix('r') {
            let bits: usize = bits.parse().ok()?;
            return bits
                .is_multiple_of(8)
                .then_some(bits / 8)
                .and_then(Self::opaque);
        }
        Some(Self::Number(match name {
            "string" => return Some(Self::Text),
            "bool" => DataType::Bool,
            "uint8" => DataType::UInt8,
            "uint16" => DataType::UInt16,
            "uint32" => DataType::UInt32,
            "uint64" => DataType::UInt64,
            "int8" => DataType::Int8,
            "int16" => DataType::Int16,
            "int32" => DataType::Int32,
            "int64" => DataType::Int64,
            "float16" => DataType::Float16,
            "float32" => DataType::Float32,
            "float64" => DataType::Float64,
            _ => return None,
        }))
    }

    fn from_extension(key: &str, object: &Map<String, Value>) -> Result<Option<Self>> {
        let name = json::text(key, object, "name")?;
        if name != "fixed_length_utf32" {
            return Ok(Self::from_zarr(name));
        }
        let bytes = object
            .get("configuration")
            .and_then(|c| c.get("length_bytes"))
            .and_then(Value::as_u64);
        match bytes {
            Some(bytes) if bytes % 4 == 0 => {
                Ok(usize::try_from(bytes / 4).ok().and_then(Self::utf32))
            }
            _ => Err(Error::invalid(
                key,
                "`length_bytes` as a multiple of 4",
                Value::Object(object.clone()),
            )),
        }
    }

    /// Text of at most `length` characters, when that is within reason.
    fn utf32(length: usize) -> Option<Self> {
        (length <= MAX_UTF32).then_some(Self::Utf32(length))
    }

    /// Bytes without a meaning, when there are some and not too many.
    fn opaque(length: usize) -> Option<Self> {
        (1..=MAX_OPAQUE)
            .contains(&length)
            .then_some(Self::Opaque(length))
    }

    /// Bytes per place; `None` for text of any length.
    pub(crate) fn size(self) -> Option<usize> {
        match self {
            Self::Number(data_type) => Some(data_type.size()),
            Self::Text => None,
            Self::Utf32(length) => Some(length * 4),
            Self::Opaque(length) => Some(length),
        }
    }

    /// Bytes whose order is that of the machine that wrote them.
    pub(crate) fn word(self) -> usize {
        match self {
            Self::Number(data_type) => data_type.size(),
            Self::Text | Self::Opaque(_) => 1,
            Self::Utf32(_) => 4,
        }
    }

    /// The type of numbers, or an error that says what was needed.
    pub(crate) fn number(self, key: &str, expected: &'static str) -> Result<DataType> {
        match self {
            Self::Number(data_type) => Ok(data_type),
            Self::Text | Self::Utf32(_) | Self::Opaque(_) => Err(Error::DataType {
                key: key.to_owned(),
                expected,
                found: match self {
                    Self::Opaque(_) => "bytes",
                    _ => "text",
                }
                .to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_length_beyond_reason_are_refused() {
        assert_eq!(
            ElementType::from_numpy("<U12"),
            Some(ElementType::Utf32(12))
        );
        // Four times this length is 2^64.
        for length in ["4611686018427387904", "268435457", "-1", ""] {
            assert_eq!(ElementType::from_numpy(&format!("<U{length}")), None);
        }
    }
}
