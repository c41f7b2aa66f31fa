//! Data frames: an index and columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use serde_json::Value;

use super::arrow_column::{
    ENCODING, NA_VALUE, ORDERED, check_lengths, dictionary, downcast, numbers_to_arrow,
    split_dictionary, texts,
};
use super::data::UnreadColumn;
use super::foreign;
use super::info::ColumnInfo;
use super::value::Context;
use crate::array::{ElementType, NumericValues, ZarrArray};
use crate::node::Node;
use crate::path::{self, child};
use crate::root::Root;
use crate::{Error, Result};

/// What an index without a name is called in a store.
pub(crate) const NAMELESS: &str = "_index";

/// A data frame: named columns and an index.
///
/// To be written, it has as many rows in its columns as in its index, and no name twice: a column is called as the index
/// (`_index` where that has no name) only where both are the same, as in anndata.
/// A name is any that a folder can have which is not hidden, also with spaces and dots in it, but not `zarr.json`.
/// Columns with a `/` in their names, which old versions of anndata wrote, or with a point at their beginning are read and
/// not written: give them another name.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The names of the rows: text, or numbers.
    pub index: ArrayRef,
    /// What the index is called, where it has a name.
    pub index_name: Option<String>,
    /// The columns, in their order.
    pub columns: RecordBatch,
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        *self.index == *other.index
            && self.index_name == other.index_name
            && self.columns == other.columns
    }
}

/// A stored data frame of which only the metadata have been read.
#[derive(Debug, Clone)]
pub(crate) struct LazyFrame {
    key: String,
    index: Node,
    index_key: String,
    names: Vec<String>,
    columns: Vec<Node>,
    n_rows: u64,
}

impl LazyFrame {
    pub(crate) fn open(context: &Context, node: Node) -> Result<Self> {
        let key = node.key.clone();
        let encoding = node.text("encoding-type").unwrap_or("dataframe");
        if encoding != "dataframe" || !node.is_group() {
            // SpatialData never wrote them.
            let encoding = if node.is_group() {
                encoding
            } else {
                "records as anndata before 0.7 wrote them"
            };
            return Err(Error::UnsupportedEncoding {
                encoding: encoding.to_owned(),
                key,
            });
        }
        let index_key = match node.attributes.get("_index") {
            Some(Value::String(name)) => name.clone(),
            found => return Err(Error::not_as(&key, "the attribute `_index` as text", found)),
        };
        let open = |name: &str| {
            let place = path::join(&key, name)?;
            Node::open(&context.root, &place, context.format)
        };
        let index = open(&index_key)?;
        let names: Vec<String> = match node.attributes.get("column-order") {
            None => Vec::new(),
            Some(Value::Array(list)) => list
                .iter()
                .map(|name| name.as_str().map(str::to_owned))
                .collect::<Option<_>>()
                .ok_or_else(|| Error::invalid(&key, "`column-order` with names", "others"))?,
            Some(other) => return Err(Error::invalid(&key, "`column-order` as a list", other)),
        };
        let columns = names
            .iter()
            .map(|name| open(name))
            .collect::<Result<Vec<_>>>()?;
        for column in &columns {
            check_encoding(column)?;
        }
        check_encoding(&index)?;
        let n_rows = length(context, &index)?;
        Ok(Self {
            key,
            index,
            index_key,
            names,
            columns,
            n_rows,
        })
    }

    pub(crate) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn info(&self, context: &Context) -> Result<Vec<ColumnInfo>> {
        let columns = self.names.iter().zip(&self.columns);
        columns
            .map(|(name, node)| ColumnInfo::of(context, name, node, &self.key))
            .collect()
    }

    /// The name of the index, unless it is the name that nameless ones get.
    pub(crate) fn index_name(&self) -> Option<String> {
        (self.index_key != NAMELESS).then(|| self.index_key.clone())
    }

    pub(crate) fn read_index(&self, context: &Context) -> Result<ArrayRef> {
        Ok(read_column(context, self.index.clone(), &self.key)?.0)
    }

    /// The names of the rows as text.
    pub(crate) fn read_names(&self, context: &Context) -> Result<Vec<String>> {
        let index = self.read_index(context)?;
        let names = names_of(
            &self.index.key,
            &index,
            context.root.options.max_array_bytes,
        )?;
        let named = names.into_iter().enumerate().map(|(row, name)| {
            name.ok_or_else(|| {
                let found = format!("none at row {row}");
                Error::invalid(&self.index.key, "a name for every row", found)
            })
        });
        named.collect()
    }

    pub(crate) fn read_all(&self, context: &Context) -> Result<RecordBatch> {
        self.read((0..self.names.len()).collect(), context)
    }

    /// Reads all columns but those of a type that is not read; `frame` is what the table calls the data frame.
    pub(crate) fn read_known(
        &self,
        context: &Context,
        frame: &'static str,
    ) -> Result<(RecordBatch, Vec<UnreadColumn>)> {
        let mut unread = Vec::new();
        let mut columns = Vec::with_capacity(self.names.len());
        for at in 0..self.names.len() {
            match self.read_column(at, context) {
                // Categories that lie elsewhere would be lost when the column is copied.
                Err(error @ Error::DataType { .. })
                    if self.columns[at].text("categories").is_none() =>
                {
                    unread.push(UnreadColumn {
                        frame,
                        name: self.names[at].clone(),
                        at,
                        reason: error.to_string(),
                    });
                }
                column => columns.push(column?),
            }
        }
        Ok((self.batch(columns)?, unread))
    }

    pub(crate) fn read_named(&self, names: &[&str], context: &Context) -> Result<RecordBatch> {
        let places = names
            .iter()
            .map(|name| {
                self.names
                    .iter()
                    .position(|n| n == name)
                    .ok_or_else(|| Error::NoEntry {
                        key: self.key.clone(),
                        what: "column",
                        name: (*name).to_owned(),
                        available: crate::error::listing(&self.names),
                    })
            })
            .collect::<Result<Vec<_>>>()?;
        self.read(places, context)
    }

    fn read(&self, places: Vec<usize>, context: &Context) -> Result<RecordBatch> {
        let columns = places.into_iter().map(|at| self.read_column(at, context));
        self.batch(columns.collect::<Result<_>>()?)
    }

    fn read_column(&self, at: usize, context: &Context) -> Result<(Field, ArrayRef)> {
        let node = self.columns[at].clone();
        let key = node.key.clone();
        let (array, metadata) = read_column(context, node, &self.key)?;
        if array.len() as u64 != self.n_rows {
            return Err(Error::LengthMismatch {
                key,
                expected: self.n_rows,
                found: array.len() as u64,
            });
        }
        Ok((field(&self.names[at], &array, metadata), array))
    }

    fn batch(&self, columns: Vec<(Field, ArrayRef)>) -> Result<RecordBatch> {
        let (fields, arrays) = columns.into_iter().unzip();
        batch(&self.key, fields, arrays, self.n_rows as usize)
    }
}

/// Numbers, texts or categories as texts, which may take `limit` bytes.
fn names_of(key: &str, index: &ArrayRef, limit: u64) -> Result<Vec<Option<String>>> {
    let check = |content: u128| {
        let found = (index.len() * size_of::<String>()) as u128 + content;
        Error::check_size(key, "names of rows with bytes", found, limit)
    };
    if !matches!(index.data_type(), ArrowType::Dictionary(_, _)) {
        let text = downcast::<StringArray>(index).map(|texts| texts.value_data().len());
        let bytes = downcast::<BinaryArray>(index).map(|bytes| bytes.value_data().len());
        // No number and no time is longer.
        let content = text.or(bytes).unwrap_or(32 * index.len());
        check(content as u128)?;
        return texts(key, index);
    }
    let (codes, categories) = split_dictionary(key, index)?;
    let categories = texts(key, &categories)?;
    let name = |code: &Option<i32>| categories[usize::try_from((*code)?).ok()?].as_ref();
    let lengths = codes.iter().filter_map(name).map(|name| name.len() as u128);
    check(lengths.sum())?;
    Ok(codes.iter().map(|code| name(code).cloned()).collect())
}

/// A field for a column; it may hold missing values when it does.
pub(crate) fn field(name: &str, array: &ArrayRef, metadata: HashMap<String, String>) -> Field {
    let nullable = array.null_count() > 0 || metadata.contains_key(ENCODING);
    Field::new(name, array.data_type().clone(), nullable).with_metadata(metadata)
}

/// A record batch, also without columns.
pub(crate) fn batch(
    key: &str,
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(Error::arrow(key))
}

const ENCODINGS: [&str; 7] = [
    "",
    "array",
    "string-array",
    "categorical",
    "nullable-integer",
    "nullable-boolean",
    "nullable-string-array",
];

fn check_encoding(node: &Node) -> Result<()> {
    let encoding = node.text("encoding-type").unwrap_or("");
    if ENCODINGS.contains(&encoding) {
        Ok(())
    } else {
        Err(Error::UnsupportedEncoding {
            key: node.key.clone(),
            encoding: encoding.to_owned(),
        })
    }
}

/// The length of a column, from its metadata.
fn length(context: &Context, node: &Node) -> Result<u64> {
    let array = if node.is_group() {
        let part = match node.text("encoding-type") {
            Some("categorical") => "codes",
            _ => "values",
        };
        ZarrArray::open(&context.root, &child(&node.key, part), context.format)?
    } else {
        foreign::open(context, node.clone())?.0
    };
    match array.shape() {
        [n] => Ok(*n),
        other => Err(Error::invalid(array.key(), "one axis", other.len())),
    }
}

/// Reads an array with one axis, of numbers or text.
pub(crate) fn read_array(root: &Arc<Root>, node: Node) -> Result<ArrayRef> {
    let context = Context {
        root: Arc::clone(root),
        format: node.format,
    };
    read_column(&context, node, "").map(|(array, _)| array)
}

/// Reads a column, with what its Arrow type does not tell; `base` is the data frame.
pub(crate) fn read_column(
    context: &Context,
    node: Node,
    base: &str,
) -> Result<(ArrayRef, HashMap<String, String>)> {
    check_encoding(&node)?;
    let key = node.key.clone();
    let mut metadata = HashMap::new();
    let open = |part: &str| ZarrArray::open(&context.root, &child(&key, part), context.format);
    let is_ordered = |node: &Node| node.attributes.get("ordered").and_then(Value::as_bool);
    let array = match node.text("encoding-type").unwrap_or("") {
        "categorical" => {
            if is_ordered(&node) == Some(true) {
                metadata.insert(ORDERED.to_owned(), "true".to_owned());
            }
            let categories = Node::open(&context.root, &child(&key, "categories"), context.format)?;
            let (categories, _) = read_column(context, categories, base)?;
            categorical(&key, open("codes")?, categories)?
        }
        // anndata 0.7 keeps the categories of all columns in a group beside them.
        "" if node.text("categories").is_some() => {
            let path = node.text("categories").unwrap_or_default();
            let place = path::join(base, path)?;
            let categories = Node::open(&context.root, &place, context.format)?;
            if is_ordered(&categories) == Some(true) {
                metadata.insert(ORDERED.to_owned(), "true".to_owned());
            }
            if categories.text("categories").is_some() {
                return Err(Error::invalid(place, "categories", "codes of categories"));
            }
            let (categories, _) = read_column(context, categories, base)?;
            let codes = ZarrArray::from_node(&context.root, node)?;
            categorical(&key, codes, categories)?
        }
        encoding @ ("nullable-integer" | "nullable-boolean" | "nullable-string-array") => {
            let values = one_axis(open("values")?)?;
            let mask = one_axis(open("mask")?)?;
            if mask.len() != values.len() {
                return Err(Error::LengthMismatch {
                    key: mask.key().to_owned(),
                    expected: values.len(),
                    found: mask.len(),
                });
            }
            let missing = match mask.read_numbers()?.values() {
                NumericValues::Bool(missing) => missing.clone(),
                other => other.to_f64().into_iter().map(|m| m != 0.0).collect(),
            };
            metadata.insert(ENCODING.to_owned(), encoding.to_owned());
            if let Some(na) = node.text("na-value") {
                metadata.insert(NA_VALUE.to_owned(), na.to_owned());
            }
            if encoding == "nullable-string-array" {
                let texts = values.read_texts()?;
                check_lengths(values.key(), texts.iter().map(String::len))?;
                let array: StringArray = texts
                    .into_iter()
                    .zip(missing)
                    .map(|(text, missing)| (!missing).then_some(text))
                    .collect();
                Arc::new(array)
            } else {
                numbers_to_arrow(values.read_numbers()?.into_values(), Some(missing))
            }
        }
        _ => {
            let (array, foreign) = foreign::open(context, node)?;
            let array = one_axis(array)?;
            match (foreign, array.element()) {
                (Some(foreign), _) => foreign::column(&array, &foreign)?,
                (None, ElementType::Number(_)) => {
                    numbers_to_arrow(array.read_numbers()?.into_values(), None)
                }
                (None, _) => {
                    let texts = array.read_texts()?;
                    check_lengths(array.key(), texts.iter().map(String::len))?;
                    Arc::new(StringArray::from_iter_values(texts))
                }
            }
        }
    };
    Ok((array, metadata))
}

/// Codes and categories as a dictionary.
fn categorical(key: &str, codes: ZarrArray, categories: ArrayRef) -> Result<ArrayRef> {
    let codes = one_axis(codes)?;
    let codes = codes.read_vec::<i64>(0..codes.len())?;
    let n = categories.len();
    let wrong = |&code: &i64| code < -1 || code >= n as i64;
    if let Some(row) = codes.iter().position(wrong) {
        return Err(Error::InvalidCategoryCode {
            key: key.to_owned(),
            row,
            code: codes[row],
            categories: n,
        });
    }
    if i32::try_from(n).is_err() {
        return Err(Error::invalid(key, "fewer than 2^31 categories", n));
    }
    let codes = codes.into_iter().map(|c| (c >= 0).then_some(c as i32));
    Ok(Arc::new(dictionary(codes, categories)))
}

fn one_axis(array: ZarrArray) -> Result<ZarrArray> {
    if array.shape().len() == 1 {
        Ok(array)
    } else {
        let found = format!("{} axes", array.shape().len());
        Err(Error::invalid(array.key(), "one axis", found))
    }
}

/// Which values of an array are missing, `None` when none are.
pub(crate) fn missing(array: &dyn Array) -> Option<Vec<bool>> {
    let nulls: &NullBuffer = array.nulls()?;
    (nulls.null_count() > 0).then(|| nulls.iter().map(|valid| !valid).collect())
}

/// A column of truth values without missing ones.
pub(crate) fn is_plain_bool(array: &dyn Array) -> bool {
    array.as_any().is::<BooleanArray>() && array.null_count() == 0
}
