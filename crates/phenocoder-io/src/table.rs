//! Tables: AnnData in Zarr.

mod arrow_column;
mod carry;
mod data;
mod foreign;
mod frame;
mod graph;
mod info;
mod lazy;
mod matrix;
mod records;
mod rows;
mod rules;
mod value;
mod write;

pub(crate) use arrow_column::{ENCODING, ORDERED, column_field, downcast};
pub use arrow_column::{column_from_arrow, column_to_arrow};
pub(crate) use carry::carry_over;
pub use data::{Annotation, RawData, TableData};
pub use frame::Frame;
pub(crate) use frame::{LazyFrame, batch, read_array};
pub use info::{ColumnInfo, MatrixInfo};
pub use lazy::Table;
pub use matrix::{Matrix, SparseFormat, SparseMatrix};
pub use records::Records;
pub(crate) use rows::StoredMatrix;
pub(crate) use value::{Context, read as read_value};
pub use value::{TextArray, Uns};
pub(crate) use write::write;
