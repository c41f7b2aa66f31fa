//! Shapes: circles and polygons with columns, in `GeoParquet`.

mod data;
mod geometry;
mod native;
mod open;
mod ragged;
mod wkb;

pub use data::ShapesData;
pub use geometry::{Geometries, Geometry, GeometryKind, Polygon, Ring};
pub use open::{ShapeBatch, ShapeBatches, Shapes};
