//! Types of NumPy that are neither numbers nor text: records, bytes and times.
//!
//! Their arrays are opened as arrays of bytes or whole numbers, and what is read is then taken apart.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use serde_json::{Map, Value, json};

use super::arrow_column::{check_lengths, downcast};
use super::records::Layout;
use super::value::Context;
use crate::array::{MAX_OPAQUE, ZarrArray};
use crate::node::{Node, ZarrFormat};
use crate::{Error, Result};

/// What the values of an array are, where they are neither numbers nor text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Foreign {
    /// Several named values in each place.
    Records(Layout),
    /// Bytes; those of fixed length end before the zeros at their end.
    Bytes { padded: bool },
    /// Points or spans in time: 64-bit counts of the unit, of which the least is none.
    Time(Time),
}

/// A type of points or spans in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) span: bool,
    pub(crate) unit: TimeUnit,
}

/// NumPy's "not a time".
const NO_TIME: i64 = i64::MIN;

/// Opens an array, and says what its values are where they are neither numbers nor text.
pub(crate) fn open(context: &Context, mut node: Node) -> Result<(ZarrArray, Option<Foreign>)> {
    let foreign = recognize(&mut node)?;
    Ok((ZarrArray::from_node(&context.root, node)?, foreign))
}

/// Recognizes a foreign type in the metadata of an array, and puts a type in its place that arrays can have.
pub(crate) fn recognize(node: &mut Node) -> Result<Option<Foreign>> {
    let key = node.key.clone();
    let format = node.format;
    let Some(metadata) = &mut node.array else {
        return Ok(None);
    };
    let name = data_type_name(format);
    let Some(data_type) = metadata.get(name).cloned() else {
        return Ok(None);
    };
    if let Some(layout) = Layout::parse(&key, metadata, &data_type, format)? {
        let size = layout.size();
        check_size(&key, size)?;
        let fill = layout.fill(&key, metadata.get("fill_value"))?;
        set_opaque(metadata, format, size, json!(fill));
        return Ok(Some(Foreign::Records(layout)));
    }
    if let Some((size, padded)) = bytes_type(&data_type, format) {
        check_size(&key, size)?;
        let fill = match metadata.get("fill_value") {
            Some(Value::String(text)) if !text.is_empty() => Value::String(text.clone()),
            _ => json!(vec![0; size]),
        };
        set_opaque(metadata, format, size, fill);
        return Ok(Some(Foreign::Bytes { padded }));
    }
    if let Some((time, whole)) = time_type(&key, &data_type, format)? {
        metadata.insert(name.to_owned(), whole);
        if !metadata.get("fill_value").is_some_and(Value::is_i64) {
            metadata.insert("fill_value".to_owned(), json!(NO_TIME));
        }
        return Ok(Some(Foreign::Time(time)));
    }
    Ok(None)
}

pub(crate) fn data_type_name(format: ZarrFormat) -> &'static str {
    match format {
        ZarrFormat::V2 => "dtype",
        ZarrFormat::V3 => "data_type",
    }
}

/// Checks the size of a record or of bytes: their fill value becomes a list of so many zeros, each of which takes 32 bytes
/// of memory.
pub(crate) fn check_size(key: &str, size: usize) -> Result<()> {
    Error::check_size(key, "one value with bytes", size as u64, MAX_OPAQUE as u64)
}

fn set_opaque(metadata: &mut Map<String, Value>, format: ZarrFormat, size: usize, fill: Value) {
    let name = match format {
        ZarrFormat::V2 => format!("|V{size}"),
        ZarrFormat::V3 => format!("r{}", size.saturating_mul(8)),
    };
    metadata.insert(data_type_name(format).to_owned(), json!(name));
    metadata.insert("fill_value".to_owned(), fill);
}

/// The length of values of bytes, and whether zeros at the end do not belong to them.
pub(crate) fn bytes_type(data_type: &Value, format: ZarrFormat) -> Option<(usize, bool)> {
    let (size, padded) = match format {
        ZarrFormat::V2 => {
            let name = data_type.as_str()?;
            match name.strip_prefix("|S") {
                Some(size) => (size.parse().ok()?, true),
                None => (name.strip_prefix("|V")?.parse().ok()?, false),
            }
        }
        ZarrFormat::V3 => {
            let padded = match data_type.get("name")?.as_str()? {
                "null_terminated_bytes" => true,
                "raw_bytes" => false,
                _ => return None,
            };
            let size = data_type.get("configuration")?.get("length_bytes")?;
            (usize::try_from(size.as_u64()?).ok()?, padded)
        }
    };
    (size > 0).then_some((size, padded))
}

/// The kind of time, and the type of the whole numbers that count it.
fn time_type(key: &str, data_type: &Value, format: ZarrFormat) -> Result<Option<(Time, Value)>> {
    let unknown = || Error::DataType {
        key: key.to_owned(),
        expected: "times in seconds, milliseconds, microseconds or nanoseconds",
        found: data_type.to_string(),
    };
    let unit = |name: &str| match name {
        "s" => Ok(TimeUnit::Second),
        "ms" => Ok(TimeUnit::Millisecond),
        "us" | "μs" => Ok(TimeUnit::Microsecond),
        "ns" => Ok(TimeUnit::Nanosecond),
        _ => Err(unknown()),
    };
    match format {
        ZarrFormat::V2 => {
            let parsed = data_type.as_str().and_then(|name| {
                let (order, rest) = name.split_at_checked(1)?;
                let (kind, rest) = rest.split_at_checked(2)?;
                let span = match kind {
                    "M8" => false,
                    "m8" => true,
                    _ => return None,
                };
                let unit = rest.strip_prefix('[')?.strip_suffix(']')?;
                Some((order, span, unit))
            });
            let Some((order, span, name)) = parsed else {
                return Ok(None);
            };
            let unit = unit(name)?;
            Ok(Some((Time { span, unit }, json!(format!("{order}i8")))))
        }
        ZarrFormat::V3 => {
            let span = match data_type.get("name").and_then(Value::as_str) {
                Some("numpy.datetime64") => false,
                Some("numpy.timedelta64") => true,
                _ => return Ok(None),
            };
            let configuration = data_type.get("configuration");
            let part = |name: &str| configuration.and_then(|c| c.get(name));
            if part("scale_factor").is_some_and(|scale| scale.as_u64() != Some(1)) {
                return Err(unknown());
            }
            let name = part("unit").and_then(Value::as_str).unwrap_or("generic");
            let unit = unit(name)?;
            Ok(Some((Time { span, unit }, json!("int64"))))
        }
    }
}

impl Time {
    /// What the metadata of an array says of the type.
    pub(crate) fn data_type(self, format: ZarrFormat) -> Value {
        let unit = match self.unit {
            TimeUnit::Second => "s",
            TimeUnit::Millisecond => "ms",
            TimeUnit::Microsecond => "us",
            TimeUnit::Nanosecond => "ns",
        };
        match (format, self.span) {
            (ZarrFormat::V2, false) => json!(format!("<M8[{unit}]")),
            (ZarrFormat::V2, true) => json!(format!("<m8[{unit}]")),
            (ZarrFormat::V3, span) => json!({
                "name": if span { "numpy.timedelta64" } else { "numpy.datetime64" },
                "configuration": {"unit": unit, "scale_factor": 1},
            }),
        }
    }

    /// The type of an Arrow array, where it is one that is stored.
    pub(crate) fn of(data_type: &ArrowType) -> Option<Self> {
        match data_type {
            ArrowType::Timestamp(unit, None) => Some(Self {
                span: false,
                unit: *unit,
            }),
            ArrowType::Duration(unit) => Some(Self {
                span: true,
                unit: *unit,
            }),
            _ => None,
        }
    }

    fn arrow_type(self) -> ArrowType {
        if self.span {
            ArrowType::Duration(self.unit)
        } else {
            ArrowType::Timestamp(self.unit, None)
        }
    }

    /// Counts as an Arrow array.
    pub(crate) fn to_arrow(self, key: &str, counts: Vec<i64>) -> Result<ArrayRef> {
        let present = counts.into_iter().map(|c| (c != NO_TIME).then_some(c));
        cast(&Int64Array::from_iter(present), &self.arrow_type()).map_err(Error::arrow(key))
    }

    /// An Arrow array as counts.
    pub(crate) fn counts(key: &str, array: &dyn Array) -> Result<Vec<i64>> {
        let counts = cast(array, &ArrowType::Int64).map_err(Error::arrow(key))?;
        let counts = downcast::<Int64Array>(&counts);
        Ok(counts
            .into_iter()
            .flat_map(|c| c.iter().map(|c| c.unwrap_or(NO_TIME)))
            .collect())
    }
}

/// The values of bytes of one length each, without the zeros at their end where these do not belong to them.
pub(crate) fn split_bytes(bytes: &[u8], size: usize, padded: bool) -> impl Iterator<Item = &[u8]> {
    bytes.chunks_exact(size.max(1)).map(move |value| {
        let zeros = value.iter().rev().take_while(|&&b| padded && b == 0);
        &value[..value.len() - zeros.count()]
    })
}

/// Reads the values of an array of a foreign type with one axis.
pub(crate) fn column(array: &ZarrArray, foreign: &Foreign) -> Result<ArrayRef> {
    match foreign {
        Foreign::Time(time) => time.to_arrow(array.key(), array.read_vec(0..array.len())?),
        Foreign::Bytes { padded } => {
            let bytes = array.read_opaque()?;
            let size = array.element().size().unwrap_or(1);
            let values = || split_bytes(&bytes, size, *padded);
            check_lengths(array.key(), values().map(<[u8]>::len))?;
            Ok(Arc::new(BinaryArray::from_iter_values(values())))
        }
        Foreign::Records(_) => Err(Error::DataType {
            key: array.key().to_owned(),
            expected: "one value in each row",
            found: "records".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(data_type: Value, format: ZarrFormat) -> Option<(Time, Value)> {
        time_type("k", &data_type, format).unwrap_or(None)
    }

    #[test]
    fn types_of_times_come_back() {
        let units = [
            TimeUnit::Second,
            TimeUnit::Millisecond,
            TimeUnit::Microsecond,
            TimeUnit::Nanosecond,
        ];
        for unit in units {
            for span in [false, true] {
                for format in [ZarrFormat::V2, ZarrFormat::V3] {
                    let expected = Time { span, unit };
                    let (found, _) = time(expected.data_type(format), format).unwrap();
                    assert_eq!(found, expected);
                    let array = found.to_arrow("k", vec![-1, NO_TIME]).unwrap();
                    assert_eq!(Time::of(array.data_type()), Some(expected));
                    assert_eq!(array.null_count(), 1);
                    assert_eq!(Time::counts("k", &array).unwrap(), [-1, NO_TIME]);
                }
            }
        }
        let (_, whole) = time(json!(">M8[ns]"), ZarrFormat::V2).unwrap();
        assert_eq!(whole, json!(">i8"));
    }

    #[test]
    fn other_types_of_times_are_refused_and_other_types_left_alone() {
        for bad in ["<M8[D]", "<m8[25s]", "<M8[]"] {
            assert!(
                time_type("k", &json!(bad), ZarrFormat::V2).is_err(),
                "{bad}"
            );
        }
        let scaled = json!({"name": "numpy.datetime64",
            "configuration": {"unit": "s", "scale_factor": 10}});
        assert!(time_type("k", &scaled, ZarrFormat::V3).is_err());
        for other in ["<i8", "M8", "", "ä", "<M8", "<M8[ns"] {
            assert_eq!(time(json!(other), ZarrFormat::V2), None, "{other}");
        }
        assert_eq!(time(json!("int64"), ZarrFormat::V3), None);
    }

    #[test]
    fn zeros_at_the_end_belong_to_bytes_that_are_not_padded() {
        let split = |padded| split_bytes(b"ab\0\0c\0\0\0", 4, padded).collect::<Vec<_>>();
        assert_eq!(split(true), [b"ab".as_slice(), b"c"]);
        assert_eq!(split(false), [b"ab\0\0".as_slice(), b"c\0\0\0"]);
        for bad in [json!("|S0"), json!("|S-1"), json!("S4"), json!(4)] {
            assert_eq!(bytes_type(&bad, ZarrFormat::V2), None, "{bad}");
        }
        let huge = json!({"name": "raw_bytes", "configuration": {"length_bytes": -4}});
        assert_eq!(bytes_type(&huge, ZarrFormat::V3), None);
    }
}
