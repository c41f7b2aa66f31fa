//! The small errors that several crates share.

use std::error::Error;

/// Two things that must agree in length or form do not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A sequence has another length than what it describes.
    #[error("`{what}`: expected {expected} entries, found {found}")]
    Length {
        /// What is too long or too short.
        what: String,
        /// The length that was asked for.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// A categorical code points outside the list of categories.
    #[error("code {code} at row {row} is not one of {categories} categories")]
    Code {
        /// The row of the code.
        row: usize,
        /// The code.
        code: i64,
        /// How many categories there are.
        categories: usize,
    },
    /// The same category, column or name is listed twice.
    #[error("`{name}` is listed twice in `{what}`")]
    Duplicate {
        /// The list.
        what: String,
        /// The name that occurs twice.
        name: String,
    },
    /// An array has another number of axes or another extent than expected.
    #[error("`{what}`: expected shape {expected}, found {found:?}")]
    Array {
        /// The array.
        what: String,
        /// The expected shape, in words.
        expected: String,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A column that was asked for does not exist.
    #[error("there is no column `{name}`; there are: {available}")]
    NoColumn {
        /// The name asked for.
        name: String,
        /// The names that exist, separated by commas.
        available: String,
    },
    /// A column has another type than what is asked of it.
    #[error("column `{name}` holds {found}, expected {expected}")]
    ColumnType {
        /// The column.
        name: String,
        /// The type that was needed.
        expected: &'static str,
        /// The type found.
        found: &'static str,
    },
}

impl ShapeError {
    /// Checks that `found == expected` and names `what` if it is not.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] when the two differ.
    pub fn check_len(what: &str, expected: usize, found: usize) -> Result<(), Self> {
        if expected == found {
            Ok(())
        } else {
            Err(Self::Length {
                what: what.to_owned(),
                expected,
                found,
            })
        }
    }
}

/// A graph in compressed rows is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// `indptr` is empty, does not start at 0, falls, or does not end at the number of entries.
    #[error("row pointer {row}: {problem}")]
    RowPointer {
        /// The position in `indptr`.
        row: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// A column index is not smaller than the number of nodes.
    #[error("row {row} points to column {column}, but there are {nodes} nodes")]
    Column {
        /// The row.
        row: usize,
        /// The column index found.
        column: usize,
        /// The number of nodes.
        nodes: usize,
    },
    /// The column indices of a row do not rise strictly.
    #[error("the column indices of row {row} do not rise strictly")]
    Order {
        /// The row.
        row: usize,
    },
    /// Indices and values differ in number.
    #[error("{indices} indices but {values} values")]
    Values {
        /// The number of indices.
        indices: usize,
        /// The number of values.
        values: usize,
    },
    /// More nodes than 32-bit column indices can name.
    #[error("{nodes} nodes are more than 32-bit column indices can name")]
    TooManyNodes {
        /// The number of nodes.
        nodes: usize,
    },
}

/// Reading from, or writing to, what lies behind a trait of this crate failed.
///
/// The cause is the implementor's own error, so that nothing is lost across the crate boundary.
#[derive(Debug, thiserror::Error)]
#[error("`{place}` could not be accessed")]
pub struct SourceError {
    place: String,
    #[source]
    source: Box<dyn Error + Send + Sync + 'static>,
}

impl SourceError {
    /// An error at `place` (an element, a key, a file) caused by `source`.
    pub fn new(
        place: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync + 'static>>,
    ) -> Self {
        Self {
            place: place.into(),
            source: source.into(),
        }
    }

    /// The element, key or file at which it happened.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// The caller asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;
