//! What is known of matrices and columns before they are read.

use phenocoder_core::DataType;

use super::foreign;
use super::matrix::SparseFormat;
use super::value::Context;
use crate::array::{ElementType, ZarrArray};
use crate::node::Node;
use crate::path::child;
use crate::{Error, Result};

/// What the metadata of a matrix say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MatrixInfo {
    /// The number of rows and columns.
    pub shape: (usize, usize),
    /// The type of its values.
    pub data_type: DataType,
    /// Along which axis it is compressed, where it is sparse.
    pub format: Option<SparseFormat>,
    /// The number of stored values, where it is sparse.
    pub n_stored: Option<u64>,
    /// What is decoded at once: rows and columns, or stored values.
    pub chunk: Vec<u64>,
}

/// What the metadata of a column say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ColumnInfo {
    /// Its name.
    pub name: String,
    /// Its AnnData encoding: `array`, `categorical`, `nullable-integer` and so on.
    pub encoding: String,
    /// The type of its values, where they are numbers or truth values that can be read; of the categories, where it has some.
    pub data_type: Option<DataType>,
    /// The number of categories, where it has some.
    pub n_categories: Option<u64>,
}

impl ColumnInfo {
    pub(crate) fn of(context: &Context, name: &str, node: &Node, base: &str) -> Result<Self> {
        let encoding = node.text("encoding-type");
        let open = |key: &str| {
            let node = Node::open(&context.root, key, context.format)?;
            open_values(context, node)
        };
        let (values, n_categories) = match (encoding, node.text("categories")) {
            (Some("categorical"), _) => {
                let categories = open(&child(&node.key, "categories"))?;
                let n = categories.len();
                (categories, Some(n))
            }
            (None, Some(path)) => {
                let categories = open(&crate::path::join(base, path)?)?;
                let n = categories.len();
                (categories, Some(n))
            }
            _ => match open_values(context, node.clone()) {
                // Complex numbers and the like are errors of whoever reads the column, not of the others.
                Err(Error::DataType { .. }) => {
                    return Ok(Self {
                        name: name.to_owned(),
                        encoding: encoding.unwrap_or("array").to_owned(),
                        data_type: None,
                        n_categories: None,
                    });
                }
                values => (values?, None),
            },
        };
        let data_type = match values.element() {
            ElementType::Number(data_type) => Some(data_type),
            _ => None,
        };
        let encoding = match (encoding, n_categories, data_type) {
            (Some(encoding), ..) => encoding,
            (None, Some(_), _) => "categorical",
            (None, None, Some(_)) => "array",
            (None, None, None) => "string-array",
        };
        Ok(Self {
            name: name.to_owned(),
            encoding: encoding.to_owned(),
            data_type,
            n_categories,
        })
    }
}

/// The array of a column's values, which lies deeper where some are missing.
fn open_values(context: &Context, node: Node) -> Result<ZarrArray> {
    if node.is_group() {
        let key = child(&node.key, "values");
        return ZarrArray::open(&context.root, &key, context.format);
    }
    Ok(foreign::open(context, node)?.0)
}
