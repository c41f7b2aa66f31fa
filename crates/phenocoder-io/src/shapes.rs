//! Shapes: circles and polygons with columns, in `GeoParquet`.

mod data;
mod geometry;
mod native;
mod open;
mod query;
mod ragged;
mod wkb;
mod write;

pub use data::ShapesData;
pub use geometry::{Geometries, Geometry, GeometryKind, Polygon, Ring};
pub use open::{ShapeBatch, ShapeBatches, Shapes};
pub use write::ShapesWriteOptions;
pub(crate) use write::{check, write};
