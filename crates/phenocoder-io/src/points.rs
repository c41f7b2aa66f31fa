//! Points: positions with attributes, in Parquet.

mod open;
mod query;
mod write;

pub use open::{PointBatches, Points};
pub use write::{PointsData, PointsWriteOptions};
pub(crate) use write::{check, index_values, write};
