//! Tables on their way to the disk, as anndata 0.12 writes them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Field};
use phenocoder_core::DataType;
use serde_json::{Map, Value, json};

use super::arrow_column::{
    ENCODING, NA_VALUE, ORDERED, check_lengths, check_texts, numbers_from_arrow, texts,
    to_dictionary,
};
use super::data::{Annotation, RawData, TableData, UnreadColumn};
use super::foreign::Time;
use super::frame::{Frame, NAMELESS, is_plain_bool, missing};
use super::matrix::{Matrix, SparseFormat, SparseMatrix};
use super::records::{self, Encoded};
use super::value::{TextArray, Uns};
use crate::array::{
    ArraySpec, ArrayWriter, ElementType, LONGEST_TEXT, NumericArray, NumericValues,
};
use crate::columns::distinct_categories;
use crate::disk::Place;
use crate::node::{ZarrFormat, write_group};
use crate::{Error, Result};

/// About how many bytes of a column or matrix make one chunk.
const CHUNK_BYTES: u64 = 4 << 20;

/// Writes a table into a folder.
pub(crate) fn write(place: &Place, format: ZarrFormat, table: &TableData) -> Result<()> {
    let writer = Writer {
        format,
        table: place.path().to_owned(),
    };
    let annotation = table.annotation.as_ref();
    let region = |a: &Annotation| match a.regions.as_slice() {
        [one] if !table.lists_region.0 => json!(one),
        many => json!(many),
    };
    let mut attributes = encoding("anndata", "0.1.0");
    let entries = [
        ("spatialdata-encoding-type", json!("ngff:regions_table")),
        ("region", annotation.map_or(Value::Null, region)),
        (
            "region_key",
            annotation.map_or(Value::Null, |a| json!(a.region_key)),
        ),
        (
            "instance_key",
            annotation.map_or(Value::Null, |a| json!(a.instance_key)),
        ),
        (
            "version",
            match format {
                ZarrFormat::V3 => json!("0.2"),
                ZarrFormat::V2 => json!("0.1"),
            },
        ),
    ];
    attributes.extend(entries.map(|(name, value)| (name.to_owned(), value)));
    write_group(place, format, attributes)?;
    writer.data_frame(
        &place.join("obs"),
        &Index::Texts(&table.obs_names),
        table.obs_index_name.as_deref(),
        &table.obs,
        table.unread("obs"),
    )?;
    writer.data_frame(
        &place.join("var"),
        &Index::Texts(&table.var_names),
        table.var_index_name.as_deref(),
        &table.var,
        table.unread("var"),
    )?;
    if let Some(x) = &table.x {
        writer.matrix(&place.join("X"), x)?;
    }
    write_group(&place.join("layers"), format, encoding("dict", "0.1.0"))?;
    for (name, layer) in &table.layers {
        writer.matrix(&place.join("layers").join(name), layer)?;
    }
    writer.dict(&place.join("obsm"), &table.obsm)?;
    writer.dict(&place.join("varm"), &table.varm)?;
    writer.dict(&place.join("obsp"), &table.obsp)?;
    writer.dict(&place.join("varp"), &table.varp)?;
    let uns = place.join("uns");
    writer.dict(&uns, &table.uns)?;
    if let Some(annotation) = annotation {
        let attributes = annotation.to_uns(table.lists_region.0);
        writer.value(&uns.join("spatialdata_attrs"), &attributes)?;
    }
    if let Some(raw) = &table.raw {
        writer.raw(&place.join("raw"), raw, table.unread("raw/var"))?;
    }
    Ok(())
}

impl Annotation {
    fn to_uns(&self, lists_region: bool) -> Uns {
        let region = match self.regions.as_slice() {
            [one] if !lists_region => Uns::Text(one.clone()),
            many => Uns::from(many.to_vec()),
        };
        Uns::Dict(BTreeMap::from([
            ("region".to_owned(), region),
            ("region_key".to_owned(), Uns::Text(self.region_key.clone())),
            (
                "instance_key".to_owned(),
                Uns::Text(self.instance_key.clone()),
            ),
        ]))
    }
}

fn encoding(name: &str, version: &str) -> Map<String, Value> {
    Map::from_iter([
        ("encoding-type".to_owned(), json!(name)),
        ("encoding-version".to_owned(), json!(version)),
    ])
}

/// The names of the rows of a data frame.
enum Index<'a> {
    Texts(&'a [String]),
    Array(&'a dyn Array),
}

struct Writer {
    format: ZarrFormat,
    /// The folder of the table, which is a hidden one until it is whole.
    table: PathBuf,
}

impl Writer {
    /// What a place is called in errors: as the entry of the table.
    fn name_of(&self, place: &Place) -> String {
        let path = place.path();
        let path = path.strip_prefix(&self.table).unwrap_or(path);
        let parts = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        parts.collect::<Vec<_>>().join("/")
    }

    fn numbers(
        &self,
        place: &Place,
        array: &NumericArray,
        attributes: Map<String, Value>,
    ) -> Result<()> {
        let data_type = array.values().data_type();
        let shape: Vec<u64> = array.shape().iter().map(|&n| n as u64).collect();
        let (number, size) = (ElementType::Number(data_type), data_type.size());
        let spec = ArraySpec::by_rows(&shape, number, size as u64, CHUNK_BYTES)
            .with_attributes(attributes);
        self.fixed(place, spec, &array.values().to_ne_bytes(), size)
    }

    /// Writes values of `size` bytes each, in native byte order.
    fn fixed(&self, place: &Place, spec: ArraySpec, bytes: &[u8], size: usize) -> Result<()> {
        let (shape, chunk) = (spec.shape.clone(), spec.chunk.clone());
        let writer = ArrayWriter::create(place, self.format, spec)?;
        chunks(&shape, &chunk, size, |index, range, whole| {
            let part = &bytes[range];
            if part.len() == whole {
                writer.write(index, part)
            } else {
                let mut padded = part.to_vec();
                padded.resize(whole, 0);
                writer.write(index, &padded)
            }
        })
    }

    fn texts<S: AsRef<str>>(
        &self,
        place: &Place,
        shape: &[usize],
        texts: &[S],
        attributes: Map<String, Value>,
    ) -> Result<()> {
        // What would not be read back is not written.
        let key = self.name_of(place);
        for text in texts {
            let len = text.as_ref().len() as u64;
            Error::check_size(&key, "a text with bytes", len, LONGEST_TEXT)?;
        }
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let spec = ArraySpec::of_texts(&shape, texts, CHUNK_BYTES).with_attributes(attributes);
        let chunk = spec.chunk.clone();
        let writer = ArrayWriter::create(place, self.format, spec)?;
        chunks(&shape, &chunk, 1, |index, range, whole| {
            let mut part: Vec<&str> = texts[range].iter().map(AsRef::as_ref).collect();
            part.resize(whole, "");
            writer.write_texts(index, &part)
        })
    }

    fn matrix(&self, place: &Place, matrix: &Matrix) -> Result<()> {
        match matrix {
            Matrix::Sparse(sparse) => self.sparse(place, sparse),
            dense => match dense.to_numbers() {
                Some(numbers) => self.numbers(place, &numbers, encoding("array", "0.2.0")),
                None => Err(Error::table(self.name_of(place), "it is no matrix")),
            },
        }
    }

    fn sparse(&self, place: &Place, matrix: &SparseMatrix) -> Result<()> {
        let name = match matrix.format() {
            SparseFormat::Csr => "csr_matrix",
            SparseFormat::Csc => "csc_matrix",
        };
        let mut attributes = encoding(name, "0.1.0");
        let (n, p) = matrix.shape();
        attributes.insert("shape".to_owned(), json!([n, p]));
        write_group(place, self.format, attributes)?;
        let part = |name: &str, values: NumericValues| {
            let array = NumericArray::new(vec![values.len()], values)
                .expect("one axis as long as the values");
            self.numbers(&place.join(name), &array, Map::new())
        };
        // SciPy takes both index arrays in the same width.
        let narrow = |n: usize| i32::try_from(n).is_ok();
        let all_narrow = narrow(matrix.indices().len()) && narrow(n) && narrow(p);
        let (indices, indptr) = if all_narrow {
            (
                NumericValues::Int32(matrix.indices().iter().map(|&i| i as i32).collect()),
                NumericValues::Int32(matrix.indptr().iter().map(|&i| i as i32).collect()),
            )
        } else {
            (
                NumericValues::Int64(matrix.indices().iter().map(|&i| i.into()).collect()),
                NumericValues::Int64(matrix.indptr().iter().map(|&i| i as i64).collect()),
            )
        };
        part("data", matrix.values().clone())?;
        part("indices", indices)?;
        part("indptr", indptr)
    }

    /// Writes a data frame that lists, in their places, columns that are not written here.
    fn data_frame<'a>(
        &self,
        place: &Place,
        index: &Index<'_>,
        index_name: Option<&str>,
        columns: &RecordBatch,
        unread: impl Iterator<Item = &'a UnreadColumn>,
    ) -> Result<()> {
        let fields = columns.schema_ref().fields().iter();
        let mut names: Vec<&String> = fields.map(|f| f.name()).collect();
        for column in unread {
            names.insert(column.at.min(names.len()), &column.name);
        }
        let index_name = index_name.unwrap_or(NAMELESS);
        let mut attributes = encoding("dataframe", "0.2.0");
        attributes.insert("_index".to_owned(), json!(index_name));
        attributes.insert("column-order".to_owned(), json!(names));
        write_group(place, self.format, attributes)?;
        let index_place = place.join(index_name);
        match index {
            Index::Texts(names) => {
                check_lengths(&self.name_of(&index_place), names.iter().map(String::len))?;
                let attributes = encoding("string-array", "0.2.0");
                self.texts(&index_place, &[names.len()], names, attributes)?;
            }
            // A column of this name is the same, and tells more.
            Index::Array(_) if columns.column_by_name(index_name).is_some() => {}
            Index::Array(array) => self.column(&index_place, None, *array)?,
        }
        for (field, array) in columns.schema_ref().fields().iter().zip(columns.columns()) {
            self.column(&place.join(field.name()), Some(field), array)?;
        }
        Ok(())
    }

    fn column(&self, place: &Place, field: Option<&Field>, array: &dyn Array) -> Result<()> {
        let key = self.name_of(place);
        let metadata = |name: &str| field.and_then(|f| f.metadata().get(name));
        if let ArrowType::Dictionary(_, _) = array.data_type() {
            let ordered = metadata(ORDERED).is_some_and(|o| o == "true");
            return self.categorical(place, array, ordered);
        }
        let asked = metadata(ENCODING).map(String::as_str);
        if matches!(
            array.data_type(),
            ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View
        ) {
            check_texts(&key, array)?;
            let values = texts(&key, array)?;
            let na_value = metadata(NA_VALUE).map(String::as_str);
            let nullable = asked == Some("nullable-string-array");
            return self.nullable_texts(place, &values, nullable, na_value);
        }
        if let Some(time) = Time::of(array.data_type()) {
            return self.times(place, time, array);
        }
        if array.data_type() == &ArrowType::Binary {
            let values = records::bytes_of(&key, array)?;
            let encoded = records::encode_bytes(&key, &values, self.format)?;
            let plain = encoding("array", "0.2.0");
            return self.opaque(place, &[array.len()], encoded, plain);
        }
        let values = numbers_from_arrow(array).ok_or_else(|| {
            let problem = format!("a column of type {} cannot be stored", array.data_type());
            Error::table(key, problem)
        })?;
        let missing = missing(array);
        let rows = values.len();
        let is_float = !values.data_type().is_integer();
        let is_nullable = matches!(asked, Some("nullable-integer" | "nullable-boolean"));
        let numbers = |values| NumericArray::new(vec![rows], values).expect("one axis");
        // Floats are missing as NaN.
        if is_float || (missing.is_none() && !is_nullable) {
            return self.numbers(place, &numbers(values), encoding("array", "0.2.0"));
        }
        let name = if values.data_type() == DataType::Bool || is_plain_bool(array) {
            "nullable-boolean"
        } else {
            "nullable-integer"
        };
        write_group(place, self.format, encoding(name, "0.1.0"))?;
        let mask = NumericValues::Bool(missing.unwrap_or_else(|| vec![false; rows]));
        let plain = || encoding("array", "0.2.0");
        self.numbers(&place.join("values"), &numbers(values), plain())?;
        self.numbers(&place.join("mask"), &numbers(mask), plain())
    }

    fn categorical(&self, place: &Place, array: &dyn Array, ordered: bool) -> Result<()> {
        let key = self.name_of(place);
        let column = distinct_categories(&key, &to_dictionary(&key, array)?)?;
        let categories = column.values();
        let mut attributes = encoding("categorical", "0.2.0");
        attributes.insert("ordered".to_owned(), json!(ordered));
        write_group(place, self.format, attributes)?;
        self.column(&place.join("categories"), None, categories)?;
        let codes = column.keys().iter().map(|c| c.unwrap_or(-1));
        // The widths that pandas chooses.
        let codes = match categories.len() {
            0..=127 => NumericValues::Int8(codes.map(|c| c as i8).collect()),
            128..=32_767 => NumericValues::Int16(codes.map(|c| c as i16).collect()),
            _ => NumericValues::Int32(codes.collect()),
        };
        let codes = NumericArray::new(vec![codes.len()], codes).expect("one axis");
        self.numbers(&place.join("codes"), &codes, encoding("array", "0.2.0"))
    }

    fn nullable_texts(
        &self,
        place: &Place,
        values: &[Option<String>],
        nullable: bool,
        na_value: Option<&str>,
    ) -> Result<()> {
        let present: Vec<&str> = values
            .iter()
            .map(|v| v.as_deref().unwrap_or_default())
            .collect();
        let shape = [values.len()];
        let plain = encoding("string-array", "0.2.0");
        if !nullable && values.iter().all(Option::is_some) {
            return self.texts(place, &shape, &present, plain);
        }
        let mut attributes = encoding("nullable-string-array", "0.1.0");
        attributes.insert("na-value".to_owned(), json!(na_value.unwrap_or("NaN")));
        write_group(place, self.format, attributes)?;
        self.texts(&place.join("values"), &shape, &present, plain)?;
        let mask = NumericValues::Bool(values.iter().map(Option::is_none).collect());
        let mask = NumericArray::new(shape.to_vec(), mask).expect("one axis");
        self.numbers(&place.join("mask"), &mask, encoding("array", "0.2.0"))
    }

    fn times(&self, place: &Place, time: Time, array: &dyn Array) -> Result<()> {
        let counts = Time::counts(&self.name_of(place), array)?;
        let shape = [counts.len() as u64];
        let number = ElementType::Number(DataType::Int64);
        let spec = ArraySpec::by_rows(&shape, number, 8, CHUNK_BYTES)
            .with_attributes(encoding("array", "0.2.0"))
            .with_meaning(time.data_type(self.format), json!(0));
        let bytes = NumericValues::Int64(counts).to_ne_bytes();
        self.fixed(place, spec, &bytes, 8)
    }

    /// Writes values of which the array library knows the size only.
    fn opaque(
        &self,
        place: &Place,
        shape: &[usize],
        encoded: Encoded,
        attributes: Map<String, Value>,
    ) -> Result<()> {
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        let (element, size) = (ElementType::Opaque(encoded.size), encoded.size as u64);
        let spec = ArraySpec::by_rows(&shape, element, size, CHUNK_BYTES)
            .with_attributes(attributes)
            .with_meaning(encoded.data_type, encoded.fill_value);
        self.fixed(place, spec, &encoded.bytes, encoded.size)
    }

    fn dict(&self, place: &Place, entries: &BTreeMap<String, Uns>) -> Result<()> {
        write_group(place, self.format, encoding("dict", "0.1.0"))?;
        for (name, value) in entries {
            self.value(&place.join(name), value)?;
        }
        Ok(())
    }

    fn value(&self, place: &Place, value: &Uns) -> Result<()> {
        let scalar = |values: NumericValues| {
            let array = NumericArray::new(Vec::new(), values).expect("one number");
            self.numbers(place, &array, encoding("numeric-scalar", "0.2.0"))
        };
        match value {
            Uns::Null => {
                let array = NumericArray::new(Vec::new(), NumericValues::Bool(vec![true]))
                    .expect("one value");
                self.numbers(place, &array, encoding("null", "0.1.0"))
            }
            Uns::Bool(v) => scalar(NumericValues::Bool(vec![*v])),
            Uns::Int(v) => scalar(NumericValues::Int64(vec![*v])),
            Uns::Float(v) => scalar(NumericValues::Float64(vec![*v])),
            Uns::Text(text) => self.texts(place, &[], &[text], encoding("string", "0.2.0")),
            Uns::Numbers(array) if array.shape().is_empty() => {
                self.numbers(place, array, encoding("numeric-scalar", "0.2.0"))
            }
            Uns::Numbers(array) => self.numbers(place, array, encoding("array", "0.2.0")),
            Uns::Texts(TextArray { shape, values }) => {
                self.texts(place, shape, values, encoding("string-array", "0.2.0"))
            }
            Uns::Sparse(matrix) => self.sparse(place, matrix),
            Uns::Bytes(bytes) => {
                let key = self.name_of(place);
                let encoded = records::encode_bytes(&key, &[bytes.as_slice()], self.format)?;
                self.opaque(place, &[], encoded, encoding("bytes", "0.2.0"))
            }
            Uns::Records(records) => {
                let encoded = records::encode(&self.name_of(place), records, self.format)?;
                let attributes = encoding("rec-array", "0.2.0");
                self.opaque(place, &records.shape, encoded, attributes)
            }
            Uns::Column {
                values,
                ordered,
                na_value,
            } => {
                let encoding = match values.data_type() {
                    ArrowType::Boolean => "nullable-boolean",
                    ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => {
                        "nullable-string-array"
                    }
                    _ => "nullable-integer",
                };
                let mut metadata = HashMap::from([
                    (ENCODING.to_owned(), encoding.to_owned()),
                    (ORDERED.to_owned(), ordered.to_string()),
                ]);
                if let Some(na_value) = na_value {
                    metadata.insert(NA_VALUE.to_owned(), na_value.clone());
                }
                let field =
                    Field::new("column", values.data_type().clone(), true).with_metadata(metadata);
                self.column(place, Some(&field), values)
            }
            Uns::Frame(Frame {
                index,
                index_name,
                columns,
            }) => {
                let (index, name) = (Index::Array(index), index_name.as_deref());
                self.data_frame(place, &index, name, columns, std::iter::empty())
            }
            Uns::Dict(entries) => self.dict(place, entries),
            // Copied from the table that is replaced, once the rest is written.
            Uns::Unsupported(_) => Ok(()),
        }
    }

    fn raw<'a>(
        &self,
        place: &Place,
        raw: &RawData,
        unread: impl Iterator<Item = &'a UnreadColumn>,
    ) -> Result<()> {
        write_group(place, self.format, encoding("raw", "0.1.0"))?;
        let index = Index::Texts(&raw.var_names);
        let name = raw.var_index_name.as_deref();
        self.data_frame(&place.join("var"), &index, name, &raw.var, unread)?;
        if let Some(x) = &raw.x {
            self.matrix(&place.join("X"), x)?;
        }
        self.dict(&place.join("varm"), &raw.varm)
    }
}

/// Calls `write` with the index of each chunk along the first axis, the places it holds and the places of a whole one.
fn chunks(
    shape: &[u64],
    chunk: &[u64],
    size: usize,
    mut write: impl FnMut(&[u64], std::ops::Range<usize>, usize) -> Result<()>,
) -> Result<()> {
    if shape.contains(&0) {
        return Ok(());
    }
    let total = shape.iter().product::<u64>() as usize * size;
    let whole = chunk.iter().product::<u64>() as usize * size;
    let mut index = vec![0; shape.len()];
    for (i, start) in (0..total).step_by(whole.max(1)).enumerate() {
        if let Some(first) = index.first_mut() {
            *first = i as u64;
        }
        write(&index, start..(start + whole).min(total), whole)?;
    }
    Ok(())
}
