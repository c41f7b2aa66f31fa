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

/// Reads one geometry in well-known binary.
pub(crate) fn read_wkb(bytes: &[u8]) -> crate::Result<()> {
    let failed = |problem| crate::Error::geometry("bytes", 0, problem);
    let dimensions = wkb::dimensions(bytes).map_err(failed)?;
    wkb::read(bytes, &mut Geometries::new(dimensions)?).map_err(failed)
}
