//! Points: positions with attributes, in Parquet.

mod open;

pub use open::{PointBatches, Points};
