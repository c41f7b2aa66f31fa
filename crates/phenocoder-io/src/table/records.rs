//! Records: NumPy's structured arrays, as scanpy keeps the results of `rank_genes_groups`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType as ArrowType, Field};
use phenocoder_core::DataType;
use serde_json::{Map, Value, json};

use super::arrow_column::{check_lengths, downcast, numbers_from_arrow, numbers_to_arrow, texts};
use super::foreign::{bytes_type, check_size, data_type_name, split_bytes};
use super::frame::batch;
use crate::array::{ElementType, NumericValues, no_character, places_of, utf32};
use crate::node::ZarrFormat;
use crate::{Error, OpenOptions, Result};

/// Records with a shape: in each place one value of each field.
///
/// NumPy fills up texts and bytes with zeros, and misses no value of records: they are written where no text ends in the
/// character 0, bytes are as in [`Uns::Column`](crate::Uns::Column), and only floats are missing, which become NaN.
/// The fields have different names, and a record has at most 1 MiB.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray};
/// use phenocoder_io::Records;
///
/// let names: ArrayRef = Arc::new(StringArray::from(vec!["CD3", "CD8"]));
/// let scores: ArrayRef = Arc::new(Float32Array::from(vec![2.5, 1.0]));
/// let fields = RecordBatch::try_from_iter([("names", names), ("scores", scores)])?;
/// let records = Records { shape: vec![2], fields };
/// assert_eq!(records.fields.num_columns(), 2);
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "rec-array")]
#[doc(alias = "recarray")]
pub struct Records {
    /// The extent of each axis; empty for a single record.
    pub shape: Vec<usize>,
    /// The fields, with their values in C order.
    pub fields: RecordBatch,
}

/// What one field of a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number(DataType),
    /// Text of at most this many characters.
    Text(usize),
    Bytes {
        size: usize,
        padded: bool,
    },
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::Number(data_type) => data_type.size(),
            Self::Text(length) => length * 4,
            Self::Bytes { size, .. } => size,
        }
    }

    /// How many bytes change places with each other when the byte order does.
    fn unit(self) -> usize {
        match self {
            Self::Number(data_type) => data_type.size(),
            Self::Text(_) => 4,
            Self::Bytes { .. } => 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LayoutField {
    name: String,
    kind: Kind,
    offset: usize,
    big_endian: bool,
}

/// Where the fields of a record lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    fields: Vec<LayoutField>,
    size: usize,
}

/// The most fields of a record.
const MAX_FIELDS: usize = 4096;

impl Layout {
    /// The layout that the metadata of an array describe; `None` where its values are no records.
    pub(crate) fn parse(
        key: &str,
        metadata: &Map<String, Value>,
        data_type: &Value,
        format: ZarrFormat,
    ) -> Result<Option<Self>> {
        let fields = match format {
            ZarrFormat::V2 => data_type.as_array(),
            ZarrFormat::V3 => match data_type.get("name").and_then(Value::as_str) {
                Some("structured" | "struct") => {
                    let configuration = data_type.get("configuration");
                    let fields = configuration.and_then(|c| c.get("fields"));
                    let fields = fields.and_then(Value::as_array);
                    Some(fields.ok_or_else(|| Error::missing(key, "the fields of a record"))?)
                }
                _ => None,
            },
        };
        let Some(fields) = fields else {
            return Ok(None);
        };
        if fields.len() > MAX_FIELDS {
            let found = format!("{} fields", fields.len());
            return Err(Error::invalid(key, "records of at most 4096 fields", found));
        }
        let big_endian = format == ZarrFormat::V3
            && metadata
                .get("codecs")
                .is_some_and(|codecs| has_big_endian(codecs, 0));
        let mut layout = Self {
            fields: Vec::with_capacity(fields.len()),
            size: 0,
        };
        for field in fields {
            layout.add(key, field, format, big_endian)?;
        }
        if layout.fields.is_empty() {
            return Err(Error::invalid(key, "records with a field", "none"));
        }
        Ok(Some(layout))
    }

    fn add(
        &mut self,
        key: &str,
        field: &Value,
        format: ZarrFormat,
        big_endian: bool,
    ) -> Result<()> {
        let unsupported = || Error::DataType {
            key: key.to_owned(),
            expected: "records of numbers, truth values, bytes and text",
            found: field.to_string(),
        };
        let (name, data_type) = match field.as_array().map(Vec::as_slice) {
            Some([Value::String(name), data_type]) => (name.as_str(), data_type),
            Some(_) => return Err(unsupported()),
            None => {
                let name = field.get("name").and_then(Value::as_str);
                let data_type = field.get("data_type");
                name.zip(data_type).ok_or_else(unsupported)?
            }
        };
        let kind = match bytes_type(data_type, format) {
            Some((size, padded)) => Kind::Bytes { size, padded },
            None => {
                let wrapped =
                    Map::from_iter([(data_type_name(format).to_owned(), data_type.clone())]);
                match ElementType::parse(key, &wrapped, format)? {
                    ElementType::Number(data_type) => Kind::Number(data_type),
                    ElementType::Utf32(length) => Kind::Text(length),
                    _ => return Err(unsupported()),
                }
            }
        };
        let offset = self.size;
        self.size = offset.checked_add(kind.size()).ok_or_else(unsupported)?;
        // A field without a name fills up the place before an aligned one.
        if name.is_empty() {
            return Ok(());
        }
        if self.fields.iter().any(|other| other.name == name) {
            return Err(Error::invalid(key, "fields of different names", name));
        }
        let v2_big = data_type.as_str().is_some_and(|name| name.starts_with('>'));
        self.fields.push(LayoutField {
            name: name.to_owned(),
            kind,
            offset,
            big_endian: big_endian || v2_big,
        });
        Ok(())
    }

    /// The bytes of one record.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The record of places that are not stored: base64, or the bytes of it, of which there may not be many.
    pub(crate) fn fill(&self, key: &str, stored: Option<&Value>) -> Result<Value> {
        let values = match stored {
            Some(Value::String(base64)) if !base64.is_empty() => {
                return Ok(Value::String(base64.clone()));
            }
            Some(Value::Object(values)) => values,
            _ => return Ok(json!(vec![0; self.size])),
        };
        let simple = |value: &Value| match value {
            Value::Null => true,
            Value::Bool(truth) => !truth,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if values.values().all(simple) {
            Ok(json!(vec![0; self.size]))
        } else {
            let found = Value::Object(values.clone());
            Err(Error::invalid(
                key,
                "records that are filled with zeros",
                found,
            ))
        }
    }

    /// Takes records apart, which may take `limit` bytes; `bytes` holds whole ones.
    pub(crate) fn decode(
        &self,
        key: &str,
        shape: Vec<usize>,
        bytes: &[u8],
        limit: u64,
    ) -> Result<Records> {
        let rows = bytes.len() / self.size.max(1);
        // Texts and bytes have an offset beside, also those without a length.
        let offsets = self.fields.iter().map(|field| match field.kind {
            Kind::Number(_) => 0,
            Kind::Text(_) | Kind::Bytes { .. } => size_of::<i32>() as u128,
        });
        let found = rows as u128 * (self.size as u128 + offsets.sum::<u128>());
        Error::check_size(key, "records with bytes", found, limit)?;
        let mut fields = Vec::with_capacity(self.fields.len());
        let mut arrays = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let size = field.kind.size();
            let mut values = Vec::with_capacity(rows.saturating_mul(size));
            for record in bytes.chunks_exact(self.size.max(1)) {
                let value = record.get(field.offset..field.offset + size);
                values.extend_from_slice(value.unwrap_or_default());
            }
            if field.big_endian == cfg!(target_endian = "little") {
                let unit = field.kind.unit();
                values.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
            }
            let array: ArrayRef = match field.kind {
                Kind::Number(data_type) => {
                    numbers_to_arrow(NumericValues::from_ne_bytes(data_type, &values), None)
                }
                Kind::Text(0) => Arc::new(StringArray::from_iter_values(vec![""; rows])),
                Kind::Text(length) => {
                    let texts = values.chunks_exact(length * 4).map(utf32);
                    let texts: Option<Vec<String>> = texts.collect();
                    let texts = texts.ok_or_else(|| no_character(key))?;
                    check_lengths(key, texts.iter().map(String::len))?;
                    Arc::new(StringArray::from_iter_values(texts))
                }
                Kind::Bytes { size, padded } => {
                    let values = || split_bytes(&values, size, padded);
                    check_lengths(key, values().map(<[u8]>::len))?;
                    Arc::new(BinaryArray::from_iter_values(values()))
                }
            };
            fields.push(Field::new(&field.name, array.data_type().clone(), false));
            arrays.push(array);
        }
        Ok(Records {
            shape,
            fields: batch(key, fields, arrays, rows)?,
        })
    }
}

/// Whether the codec that makes bytes of values puts the most significant first.
fn has_big_endian(codecs: &Value, depth: usize) -> bool {
    let codecs = codecs.as_array().map(Vec::as_slice).unwrap_or_default();
    codecs.iter().any(|codec| {
        let configuration = codec.get("configuration");
        let part = |name: &str| configuration.and_then(|c| c.get(name));
        match codec.get("name").and_then(Value::as_str) {
            Some("bytes") => part("endian").and_then(Value::as_str) == Some("big"),
            Some("sharding_indexed") if depth < 4 => {
                part("codecs").is_some_and(|codecs| has_big_endian(codecs, depth + 1))
            }
            _ => false,
        }
    })
}

/// Values of one size on their way to the disk: records, or bytes.
pub(crate) struct Encoded {
    pub(crate) size: usize,
    pub(crate) data_type: Value,
    pub(crate) fill_value: Value,
    pub(crate) bytes: Vec<u8>,
}

impl Records {
    /// Checks that there is a value for every place, and that the fields would be read back.
    fn check(&self, key: &str) -> Result<()> {
        let fields = self.fields.schema_ref().fields();
        let names: BTreeSet<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let problem = if places_of(&self.shape) != Some(self.fields.num_rows()) {
            "records have one value of each field for every place"
        } else if !(1..=MAX_FIELDS).contains(&fields.len()) {
            "records have a field, and at most 4096 of them"
        } else if names.contains("") || names.len() < fields.len() {
            "the fields of records have names, no two of them the same"
        } else {
            return Ok(());
        };
        Err(Error::table(key, problem))
    }
}

/// Puts records together, little endian; text gets the width of the longest one.
pub(crate) fn encode(key: &str, records: &Records, format: ZarrFormat) -> Result<Encoded> {
    records.check(key)?;
    let rows = records.fields.num_rows();
    let mut columns = Vec::with_capacity(records.fields.num_columns());
    let mut types = Vec::with_capacity(records.fields.num_columns());
    let fields = records.fields.schema_ref().fields();
    for (field, array) in fields.iter().zip(records.fields.columns()) {
        let place = format!("{key}/{}", field.name());
        let (width, data_type, bytes) = encode_field(&place, array, format)?;
        types.push(json!([field.name(), data_type]));
        columns.push((width, bytes));
    }
    let size: usize = columns.iter().map(|(width, _)| width).sum();
    check_padded(key, rows, size)?;
    let mut bytes = Vec::with_capacity(rows.saturating_mul(size));
    for row in 0..rows {
        for (width, column) in &columns {
            bytes.extend_from_slice(&column[row * width..(row + 1) * width]);
        }
    }
    let data_type = match format {
        ZarrFormat::V2 => json!(types),
        ZarrFormat::V3 => json!({"name": "structured", "configuration": {"fields": types}}),
    };
    Ok(Encoded {
        size,
        data_type,
        fill_value: json!(zeros_in_base64(size)),
        bytes,
    })
}

/// The width of a field, its type, and its values.
fn encode_field(
    key: &str,
    array: &dyn Array,
    format: ZarrFormat,
) -> Result<(usize, Value, Vec<u8>)> {
    match array.data_type() {
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => {
            refuse_missing(key, array)?;
            encode_texts(key, &texts(key, array)?, format)
        }
        ArrowType::Binary => {
            let encoded = encode_bytes(key, &bytes_of(key, array)?, format)?;
            Ok((encoded.size, encoded.data_type, encoded.bytes))
        }
        other => {
            let values = numbers_from_arrow(array).ok_or_else(|| {
                Error::table(key, format!("a field of type {other} cannot be stored"))
            })?;
            let data_type = values.data_type();
            // Floats are missing as NaN.
            if data_type.is_integer() {
                refuse_missing(key, array)?;
            }
            let name = match format {
                ZarrFormat::V2 => crate::array::numpy_name(data_type),
                ZarrFormat::V3 => crate::array::zarr_name(data_type),
            };
            Ok((data_type.size(), json!(name), values.to_le_bytes()))
        }
    }
}

/// Texts of one width, their type, and their characters.
fn encode_texts(
    key: &str,
    texts: &[Option<String>],
    format: ZarrFormat,
) -> Result<(usize, Value, Vec<u8>)> {
    let texts = texts.iter().map(|text| text.as_deref().unwrap_or_default());
    if texts.clone().any(|text| text.ends_with('\0')) {
        let problem = "texts of records cannot end in the character 0, which fills them up";
        return Err(Error::table(key, problem));
    }
    let length = longest(texts.clone().map(|text| text.chars().count()));
    check_padded(key, texts.len(), length.saturating_mul(4))?;
    let data_type = match format {
        ZarrFormat::V2 => json!(format!("<U{length}")),
        ZarrFormat::V3 => json!({
            "name": "fixed_length_utf32",
            "configuration": {"length_bytes": length * 4},
        }),
    };
    let characters = texts.map(|text| text.chars().flat_map(|c| u32::from(c).to_le_bytes()));
    Ok((length * 4, data_type, pad(characters, length * 4)))
}

/// Bytes of one length: that of the longest, with zeros at the end of the others.
///
/// Readers cut these zeros off, so bytes that end in 0 themselves are stored as they are, and have one length by nature.
pub(crate) fn encode_bytes(key: &str, values: &[&[u8]], format: ZarrFormat) -> Result<Encoded> {
    let size = longest(values.iter().map(|value| value.len()));
    check_padded(key, values.len(), size)?;
    let padded = values.iter().all(|value| value.last() != Some(&0));
    if !padded && values.iter().any(|value| value.len() != size) {
        let problem = "bytes of different lengths cannot end in 0, which fills them up";
        return Err(Error::table(key, problem));
    }
    let fill_value = if padded {
        String::new()
    } else {
        zeros_in_base64(size)
    };
    Ok(Encoded {
        size,
        data_type: bytes_data_type(size, padded, format),
        fill_value: json!(fill_value),
        bytes: pad(values.iter().map(|value| value.iter().copied()), size),
    })
}

/// The values of an array of bytes, of which none is missing.
pub(crate) fn bytes_of<'a>(key: &str, array: &'a dyn Array) -> Result<Vec<&'a [u8]>> {
    refuse_missing(key, array)?;
    let values = downcast::<BinaryArray>(array).into_iter();
    Ok(values.flatten().flatten().collect())
}

fn refuse_missing(key: &str, array: &dyn Array) -> Result<()> {
    match array.null_count() {
        0 => Ok(()),
        n => {
            let problem = format!("{n} values are missing, which bytes and records cannot say");
            Err(Error::table(key, problem))
        }
    }
}

/// The greatest length, at least 1: NumPy has no shorter values.
fn longest(lengths: impl Iterator<Item = usize>) -> usize {
    lengths.max().unwrap_or(0).max(1)
}

/// Checks the length that values get, and what they take together then: by default no more is read back.
fn check_padded(key: &str, values: usize, size: usize) -> Result<()> {
    check_size(key, size)?;
    let bytes = values as u128 * size as u128;
    let limit = OpenOptions::default().max_array_bytes;
    Error::check_size(key, "values of one length with bytes", bytes, limit)
}

/// Values one after another, each with zeros at its end up to `size` bytes, which is the most that one has.
fn pad<V>(values: impl ExactSizeIterator<Item = V>, size: usize) -> Vec<u8>
where
    V: IntoIterator<Item = u8>,
{
    let mut bytes = Vec::with_capacity(values.len().saturating_mul(size));
    for value in values {
        let end = bytes.len() + size;
        bytes.extend(value);
        bytes.resize(end, 0);
    }
    bytes
}

/// What the metadata of an array say of values of bytes.
fn bytes_data_type(length: usize, padded: bool, format: ZarrFormat) -> Value {
    let (v2, v3) = if padded {
        ('S', "null_terminated_bytes")
    } else {
        ('V', "raw_bytes")
    };
    match format {
        ZarrFormat::V2 => json!(format!("|{v2}{length}")),
        ZarrFormat::V3 => json!({"name": v3, "configuration": {"length_bytes": length}}),
    }
}

/// This many zero bytes in base64.
fn zeros_in_base64(size: usize) -> String {
    let (whole, rest) = (size / 3, size % 3);
    let mut text = "AAAA".repeat(whole);
    text.push_str(match rest {
        0 => "",
        1 => "AA==",
        _ => "AAA=",
    });
    text
}

#[cfg(test)]
mod tests;
