//! Columns and data frames.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float16Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType as ArrowType, Field, Int32Type, TimeUnit};
use phenocoder_io::{NumericValues, Records};
use serde_json::{Map, Value, json};

use super::values::{
    LISTED, float, number, numbers, python_float, sha, sha_texts, text_array, type_name,
};

/// What the type of a column does not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct About {
    /// Values may be missing, even where none are.
    pub(crate) nullable: bool,
    /// The categories have an order.
    pub(crate) ordered: bool,
}

impl About {
    /// From the metadata of a field of a table.
    pub(crate) fn of(field: &Field) -> Self {
        let metadata = field.metadata();
        let encoding = metadata.get("anndata.encoding");
        Self {
            nullable: encoding.is_some_and(|e| e.starts_with("nullable")),
            ordered: metadata.get("anndata.ordered").is_some_and(|o| o == "true"),
        }
    }
}

/// The numbers of an array, with 0 where one is missing.
pub(crate) fn plain_numbers(array: &dyn Array) -> Option<NumericValues> {
    macro_rules! numbers {
        ($($variant:ident $array:ty),*) => {
            $(if let Some(v) = array.as_any().downcast_ref::<$array>() {
                return Some(NumericValues::$variant(v.iter().map(Option::unwrap_or_default).collect()));
            })*
        };
    }
    numbers!(
        Bool BooleanArray, UInt8 UInt8Array, UInt16 UInt16Array, UInt32 UInt32Array,
        UInt64 UInt64Array, Int8 Int8Array, Int16 Int16Array, Int32 Int32Array,
        Int64 Int64Array, Float16 Float16Array, Float32 Float32Array, Float64 Float64Array
    );
    None
}

fn texts(array: &dyn Array) -> Option<Vec<Option<String>>> {
    let array = cast(array, &ArrowType::Utf8).ok()?;
    let texts = array.as_any().downcast_ref::<StringArray>()?;
    Some(texts.iter().map(|t| t.map(str::to_owned)).collect())
}

/// Adds all values, or the first and last.
fn list(out: &mut Map<String, Value>, key: &str, values: Vec<Value>) {
    if values.len() <= LISTED {
        out.insert(key.to_owned(), values.into());
        return;
    }
    out.insert(format!("{key}_head"), values[..10].to_vec().into());
    let tail = values[values.len() - 5..].to_vec();
    out.insert(format!("{key}_tail"), tail.into());
}

/// A column.
pub(crate) fn column(array: &ArrayRef, about: About) -> Value {
    let n = array.len();
    let mut out = Map::new();
    out.insert("n".to_owned(), n.into());
    let kind = match array.data_type() {
        ArrowType::Dictionary(_, _) => {
            categorical(array, about, &mut out);
            "categorical"
        }
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => {
            let texts = texts(array).unwrap_or_default();
            out.insert("n_missing".to_owned(), array.null_count().into());
            out.insert(
                "sha256".to_owned(),
                sha_texts(texts.iter().map(Option::as_ref)).into(),
            );
            list(
                &mut out,
                "values",
                texts.into_iter().map(Value::from).collect(),
            );
            "string"
        }
        ArrowType::Timestamp(_, None) | ArrowType::Duration(_) => {
            times(array, &mut out);
            "datetime-ns"
        }
        ArrowType::Null => {
            out.insert("n_missing".to_owned(), n.into());
            let texts = std::iter::repeat_n(None::<&str>, n);
            out.insert("sha256".to_owned(), sha_texts(texts).into());
            list(&mut out, "values", vec![Value::Null; n]);
            "string"
        }
        _ => match plain_numbers(array) {
            Some(values) if about.nullable || is_masked(array) => masked(array, &values, &mut out),
            Some(values) => {
                let values = with_nan(array, values);
                out.insert("dtype".to_owned(), type_name(values.data_type()).into());
                out.insert("sha256".to_owned(), sha(&values.to_le_bytes()).into());
                list(&mut out, "values", numbers(&values));
                "array"
            }
            None => {
                out.insert("type".to_owned(), array.data_type().to_string().into());
                "other"
            }
        },
    };
    out.insert("kind".to_owned(), kind.into());
    out.into()
}

/// Whether missing values need a mask: floating-point numbers are missing as NaN.
fn is_masked(array: &ArrayRef) -> bool {
    array.null_count() > 0 && !array.data_type().is_floating()
}

fn with_nan(array: &ArrayRef, values: NumericValues) -> NumericValues {
    macro_rules! nan {
        ($variant:ident, $values:expr, $nan:expr) => {
            NumericValues::$variant(
                $values
                    .into_iter()
                    .enumerate()
                    .map(|(row, v)| if array.is_null(row) { $nan } else { v })
                    .collect(),
            )
        };
    }
    match values {
        NumericValues::Float32(v) => nan!(Float32, v, f32::NAN),
        NumericValues::Float64(v) => nan!(Float64, v, f64::NAN),
        other => other,
    }
}

fn masked(array: &ArrayRef, values: &NumericValues, out: &mut Map<String, Value>) -> &'static str {
    let is_bool = matches!(values, NumericValues::Bool(_));
    let size = values.data_type().size();
    let mut bytes = values.to_le_bytes();
    for row in (0..array.len()).filter(|&row| array.is_null(row)) {
        bytes[row * size..(row + 1) * size].fill(0);
    }
    bytes.extend((0..array.len()).map(|row| u8::from(array.is_null(row))));
    out.insert("sha256".to_owned(), sha(&bytes).into());
    out.insert("n_missing".to_owned(), array.null_count().into());
    if !is_bool {
        out.insert("dtype".to_owned(), type_name(values.data_type()).into());
    }
    let shown = |row| match array.is_null(row) {
        true => Value::Null,
        false => number(values, row),
    };
    list(out, "values", (0..array.len()).map(shown).collect());
    if is_bool {
        "nullable-boolean"
    } else {
        "nullable-integer"
    }
}

fn times(array: &ArrayRef, out: &mut Map<String, Value>) {
    let to = match array.data_type() {
        ArrowType::Duration(_) => ArrowType::Duration(TimeUnit::Nanosecond),
        _ => ArrowType::Timestamp(TimeUnit::Nanosecond, None),
    };
    let counts = cast(array, &to).and_then(|a| cast(&a, &ArrowType::Int64));
    let counts: Vec<i64> = counts
        .ok()
        .and_then(|a| {
            let counts = a.as_any().downcast_ref::<Int64Array>()?;
            Some(counts.iter().map(|c| c.unwrap_or(i64::MIN)).collect())
        })
        .unwrap_or_default();
    let bytes: Vec<u8> = counts.iter().flat_map(|c| c.to_le_bytes()).collect();
    out.insert("sha256".to_owned(), sha(&bytes).into());
    list(out, "values", counts.into_iter().map(Value::from).collect());
}

fn categorical(array: &ArrayRef, about: About, out: &mut Map<String, Value>) {
    let ArrowType::Dictionary(_, values) = array.data_type() else {
        return;
    };
    let to = ArrowType::Dictionary(Box::new(ArrowType::Int32), values.clone());
    let Ok(cast) = cast(array, &to) else { return };
    let Some(dictionary) = cast.as_any().downcast_ref::<DictionaryArray<Int32Type>>() else {
        return;
    };
    let categories = dictionary.values();
    let shown = shown(categories);
    let codes: Vec<i64> = dictionary
        .keys()
        .iter()
        .map(|code| code.map_or(-1, i64::from))
        .collect();
    let labels = codes.iter().map(|&code| {
        let at = usize::try_from(code).ok()?;
        shown.get(at)
    });
    out.insert("values_sha256".to_owned(), sha_texts(labels).into());
    let bytes: Vec<u8> = codes.iter().flat_map(|c| c.to_le_bytes()).collect();
    out.insert("codes_sha256".to_owned(), sha(&bytes).into());
    let missing = codes.iter().filter(|&&c| c < 0).count();
    out.insert("n_missing".to_owned(), missing.into());
    out.insert("ordered".to_owned(), about.ordered.into());
    out.insert(
        "categories".to_owned(),
        column(categories, About::default()),
    );
    list(out, "codes", codes.into_iter().map(Value::from).collect());
}

/// Every value as Python's `str` shows it.
fn shown(array: &ArrayRef) -> Vec<String> {
    match plain_numbers(array) {
        Some(NumericValues::Bool(v)) => {
            let names = v.iter().map(|&v| if v { "True" } else { "False" });
            names.map(str::to_owned).collect()
        }
        Some(values) if !values.data_type().is_integer() => {
            values.to_f64().into_iter().map(python_float).collect()
        }
        Some(values) => numbers(&values).iter().map(Value::to_string).collect(),
        None => {
            let texts = texts(array).unwrap_or_default();
            texts.into_iter().map(Option::unwrap_or_default).collect()
        }
    }
}

/// A data frame: its index and columns.
pub(crate) fn frame(index: &ArrayRef, index_name: Option<&str>, columns: &RecordBatch) -> Value {
    json!({
        "kind": "dataframe",
        "n_rows": index.len(),
        "column_order": names(columns),
        "index_name": index_name,
        "index": column(index, About::default()),
        "columns": all_columns(columns),
    })
}

pub(crate) fn names(columns: &RecordBatch) -> Vec<String> {
    let schema = columns.schema();
    schema.fields().iter().map(|f| f.name().clone()).collect()
}

pub(crate) fn all_columns(columns: &RecordBatch) -> Map<String, Value> {
    let schema = columns.schema();
    let pairs = schema.fields().iter().zip(columns.columns());
    pairs
        .map(|(field, array)| {
            let about = About::of(field);
            (field.name().clone(), column(array, about))
        })
        .collect()
}

pub(crate) fn text_index(names: &[String]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(names))
}

/// Records, field by field.
pub(crate) fn records(records: &Records) -> Value {
    let schema = records.fields.schema();
    let fields = schema.fields().iter().zip(records.fields.columns());
    let fields: Map<String, Value> = fields
        .map(|(field, array)| {
            let described = match plain_numbers(array) {
                Some(values) => super::values::array(&records.shape, &values),
                None => {
                    let texts: Vec<String> = match array.as_any().downcast_ref::<BinaryArray>() {
                        Some(bytes) => bytes
                            .iter()
                            .map(|b| String::from_utf8_lossy(b.unwrap_or_default()).into_owned())
                            .collect(),
                        None => shown(array),
                    };
                    text_array(&records.shape, &texts)
                }
            };
            (field.name().clone(), described)
        })
        .collect();
    json!({"kind": "rec-array", "shape": records.shape, "fields": fields})
}

/// A single number; Python knows one kind of each.
pub(crate) fn scalar(values: &NumericValues) -> Value {
    let (dtype, value) = match values {
        NumericValues::Bool(_) => ("bool", number(values, 0)),
        NumericValues::UInt64(v) if i64::try_from(v[0]).is_err() => ("uint64", v[0].into()),
        values if values.data_type().is_integer() => ("int64", number(values, 0)),
        values => ("float64", float(values.to_f64()[0])),
    };
    json!({"kind": "numeric-scalar", "dtype": dtype, "value": value})
}
