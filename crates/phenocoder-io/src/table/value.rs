//! Any entry of a table: the values of `uns`, and what `obsm`, `varm` and the like may hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use ndarray::Array2;
use phenocoder_core::CsrGraph;

use super::arrow_column::{NA_VALUE, ORDERED};
use super::foreign::{self, Foreign};
use super::frame::{self, Frame};
use super::matrix::{Matrix, SparseFormat, SparseMatrix};
use super::records::Records;
use super::rows::StoredSparse;
use crate::array::{ElementType, NumericArray, NumericValues, ZarrArray};
use crate::node::{Node, ZarrFormat};
use crate::path::{child, is_component};
use crate::root::Root;
use crate::{Error, Result};

/// Where entries are read from.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) root: Arc<Root>,
    pub(crate) format: ZarrFormat,
}

/// Texts with a shape, in C order; texts of which some are missing are a [`Uns::Column`].
///
/// A table is written only where there is one text for every place of the shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextArray {
    /// The extent of each axis.
    pub shape: Vec<usize>,
    /// The texts.
    pub values: Vec<String>,
}

/// A value of AnnData's `uns`, or an entry of `obsm` and its like: a tree of dictionaries with data at the leaves.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Uns {
    /// Nothing, Python's `None`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Numbers with a shape; no axes for a single number of a shorter type.
    Numbers(NumericArray),
    /// Texts with a shape.
    Texts(TextArray),
    /// Bytes, at most 1 MiB of them.
    ///
    /// Python reads them as `numpy.bytes_`, and as `numpy.void` where the last one is 0, which `numpy.bytes_` drops.
    Bytes(Vec<u8>),
    /// Records with a shape.
    Records(Records),
    /// A sparse matrix.
    Sparse(SparseMatrix),
    /// A column with categories, missing values, times or bytes.
    ///
    /// Bytes are written where none is missing, each has at most 1 MiB, and all have the same length if one ends in 0.
    /// Categories that are missing or the same, which pandas does not have, are written as missing values and as one.
    Column {
        /// The values; categories are a dictionary.
        values: ArrayRef,
        /// Whether the categories have an order.
        ordered: bool,
        /// pandas' kind of missing text (`NaN` or `NA`), where the values are text.
        na_value: Option<String>,
    },
    /// A data frame.
    Frame(Frame),
    /// Named values.
    Dict(BTreeMap<String, Uns>),
    /// Something that is stored but cannot be read, and why.
    ///
    /// It is copied from the old table when that is replaced, and must be
    /// [taken out](crate::TableData::take_unsupported) before the table is written elsewhere.
    Unsupported(String),
}

impl From<Array2<f64>> for Uns {
    fn from(matrix: Array2<f64>) -> Self {
        Self::Numbers((&matrix).into())
    }
}

impl From<Array2<f32>> for Uns {
    fn from(matrix: Array2<f32>) -> Self {
        Self::Numbers((&matrix).into())
    }
}

impl From<&CsrGraph> for Uns {
    fn from(graph: &CsrGraph) -> Self {
        Self::Sparse(graph.into())
    }
}

impl From<&str> for Uns {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<f64> for Uns {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<i64> for Uns {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Uns {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<Vec<String>> for Uns {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(TextArray {
            shape: vec![texts.len()],
            values: texts,
        })
    }
}

impl From<Vec<Option<String>>> for Uns {
    fn from(texts: Vec<Option<String>>) -> Self {
        Self::Column {
            values: Arc::new(StringArray::from(texts)),
            ordered: false,
            na_value: None,
        }
    }
}

impl From<Vec<u8>> for Uns {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Records> for Uns {
    fn from(records: Records) -> Self {
        Self::Records(records)
    }
}

impl Uns {
    /// The value of a key, where this is a dictionary that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The text, where this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of rows of an entry that is aligned to the rows of a table.
    pub(crate) fn n_rows(&self) -> Option<usize> {
        match self {
            Self::Numbers(a) => a.shape().first().copied(),
            Self::Texts(a) => a.shape.first().copied(),
            Self::Records(a) => a.shape.first().copied(),
            Self::Sparse(m) => Some(m.shape().0),
            Self::Column { values, .. } => Some(values.len()),
            Self::Frame(f) => Some(f.index.len()),
            _ => None,
        }
    }

    /// The number of columns of an entry that is a matrix.
    pub(crate) fn n_columns(&self) -> Option<usize> {
        match self {
            Self::Numbers(a) => a.shape().get(1).copied(),
            Self::Texts(a) => a.shape.get(1).copied(),
            Self::Sparse(m) => Some(m.shape().1),
            _ => None,
        }
    }

    /// The number of rows and columns of the entry as a matrix, where it is one.
    pub(crate) fn matrix_shape(&self) -> Option<(usize, usize)> {
        match self {
            Self::Numbers(a) => match *a.shape() {
                [n] => Some((n, 1)),
                [n, p] => Some((n, p)),
                _ => None,
            },
            Self::Sparse(m) => Some(m.shape()),
            _ => None,
        }
    }

    /// The entry as a matrix, where it is one.
    #[must_use]
    pub fn to_matrix(&self) -> Option<Matrix> {
        match self {
            Self::Numbers(a) if matches!(a.shape().len(), 1 | 2) => {
                Some(Matrix::from_numbers(a.clone()))
            }
            Self::Sparse(m) => Some(Matrix::Sparse(m.clone())),
            _ => None,
        }
    }
}

/// Reads any entry; what in a dictionary cannot be read becomes [`Uns::Unsupported`].
pub(crate) fn read(context: &Context, node: Node, depth: usize) -> Result<Uns> {
    let limit = context.root.options.max_depth as u64;
    Error::check_size(&node.key, "a depth of dictionaries", depth as u64, limit)?;
    let encoding = node.text("encoding-type").unwrap_or("").to_owned();
    match encoding.as_str() {
        "null" => Ok(Uns::Null),
        "csr_matrix" => sparse(context, &node, SparseFormat::Csr),
        "csc_matrix" => sparse(context, &node, SparseFormat::Csc),
        "dataframe" => {
            let frame = frame::LazyFrame::open(context, node)?;
            Ok(Uns::Frame(Frame {
                index: frame.read_index(context)?,
                index_name: frame.index_name(),
                columns: frame.read_all(context)?,
            }))
        }
        "categorical" | "nullable-integer" | "nullable-boolean" | "nullable-string-array" => {
            let base = node.key.clone();
            let (values, metadata) = frame::read_column(context, node, &base)?;
            Ok(Uns::Column {
                values,
                ordered: metadata.contains_key(ORDERED),
                na_value: metadata.get(NA_VALUE).cloned(),
            })
        }
        "" | "dict" | "anndata" if node.is_group() => {
            read_dict(context, &node, depth).map(Uns::Dict)
        }
        "" | "array" | "string-array" | "string" | "numeric-scalar" | "rec-array" | "bytes"
            if !node.is_group() =>
        {
            match foreign::open(context, node) {
                Ok((array, None)) => read_array(&array),
                Ok((array, Some(foreign))) => read_foreign(&array, &foreign),
                Err(error) => Err(error),
            }
        }
        other => Err(Error::UnsupportedEncoding {
            encoding: other.to_owned(),
            key: node.key,
        }),
    }
}

fn sparse(context: &Context, node: &Node, format: SparseFormat) -> Result<Uns> {
    let matrix = StoredSparse::open(context, node, format)?;
    matrix.read().map(Uns::Sparse)
}

fn shape_of(array: &ZarrArray) -> Vec<usize> {
    array.shape().iter().map(|&n| n as usize).collect()
}

fn read_foreign(array: &ZarrArray, foreign: &Foreign) -> Result<Uns> {
    if let Foreign::Records(layout) = foreign {
        let bytes = array.read_opaque()?;
        let records = layout.decode(array.key(), shape_of(array), &bytes, array.max_bytes())?;
        return Ok(Uns::Records(records));
    }
    match (array.shape(), foreign) {
        ([], Foreign::Bytes { padded }) => {
            let bytes = array.read_opaque()?;
            let value = foreign::split_bytes(&bytes, bytes.len(), *padded).next();
            Ok(Uns::Bytes(value.unwrap_or_default().to_vec()))
        }
        ([_], _) => Ok(Uns::Column {
            values: foreign::column(array, foreign)?,
            ordered: false,
            na_value: None,
        }),
        (other, _) => Ok(Uns::Unsupported(format!(
            "{}: times and bytes with {} axes are not read",
            array.key(),
            other.len()
        ))),
    }
}

fn read_array(array: &ZarrArray) -> Result<Uns> {
    let shape = shape_of(array);
    if !matches!(array.element(), ElementType::Number(_)) {
        let mut texts = array.read_texts()?;
        return Ok(match (shape.is_empty(), texts.pop()) {
            (true, Some(text)) => Uns::Text(text),
            (_, last) => {
                texts.extend(last);
                Uns::Texts(TextArray {
                    shape,
                    values: texts,
                })
            }
        });
    }
    let numbers = array.read_numbers()?;
    Ok(match (shape.is_empty(), numbers.values()) {
        (true, NumericValues::Bool(v)) if v.len() == 1 => Uns::Bool(v[0]),
        (true, NumericValues::Int64(v)) if v.len() == 1 => Uns::Int(v[0]),
        (true, NumericValues::Float64(v)) if v.len() == 1 => Uns::Float(v[0]),
        _ => Uns::Numbers(numbers),
    })
}

/// Reads every entry of a group.
pub(crate) fn read_dict(
    context: &Context,
    node: &Node,
    depth: usize,
) -> Result<BTreeMap<String, Uns>> {
    let mut entries = BTreeMap::new();
    for name in keys(context, &node.key)? {
        let key = child(&node.key, &name);
        if let Some(node) = Node::find(&context.root, &key, context.format)? {
            let value = match read(context, node, depth + 1) {
                Ok(value) => value,
                // Errors are local: one damaged entry leaves the others.
                Err(error) => Uns::Unsupported(crate::array::with_causes(&error)),
            };
            entries.insert(name, value);
        }
    }
    Ok(entries)
}

/// The names of the nodes in a group, sorted.
pub(crate) fn keys(context: &Context, key: &str) -> Result<Vec<String>> {
    let folders = context.root.folders(key)?;
    let named = folders
        .into_iter()
        .filter(|name| is_component(name) && !name.starts_with('.'));
    Ok(named.collect())
}
