//! Points and shapes.

use phenocoder_io::{Error, Geometry, GeometryKind, Points, Shapes};
use serde_json::{Map, Value, json};

use super::columns::{About, all_columns, column};
use super::rasters::transforms;
use super::values::{LISTED, float, sha};

pub(crate) fn points(points: &Points) -> Result<Value, Error> {
    let columns = points.read_columns()?;
    Ok(json!({
        "axes": points.axes(),
        "n_rows": columns.num_rows(),
        "feature_key": points.feature_key(),
        "instance_key": points.instance_key(),
        "column_order": points.column_names(),
        "columns": all_columns(&columns),
        "index": column(&points.index()?, About::default()),
        "transforms": transforms(points.transformations()),
    }))
}

pub(crate) fn shapes(shapes: &Shapes) -> Result<Value, Error> {
    let data = shapes.read_all()?;
    let geometries = &data.geometries;
    let coordinates = geometries.coordinates().iter();
    let bytes: Vec<u8> = coordinates.flat_map(|v| v.to_le_bytes()).collect();
    let mut types = Map::new();
    for kind in geometries.kinds() {
        let n = types.entry(kind.as_str()).or_insert(json!(0));
        *n = json!(n.as_u64().unwrap_or(0) + 1);
    }
    let mut out = json!({
        "n_rows": geometries.len(),
        "has_z": geometries.dimensions() == 3,
        "geometry_types": types,
        "coords_sha256": sha(&bytes),
        "n_vertices": geometries.n_vertices(),
        "column_order": shapes.column_order(),
        "columns": all_columns(&data.columns),
        "index": column(&data.index, About::default()),
        "transforms": transforms(shapes.transformations()),
    });
    if geometries.len() <= LISTED {
        out["geometries"] = geometries.iter().map(|g| geometry(&g)).collect();
    }
    Ok(out)
}

fn geometry(geometry: &Geometry<'_>) -> Value {
    let bounds = geometry.bounds().unwrap_or([f64::NAN; 4]);
    let mut out = json!({
        "type": geometry.kind().as_str(),
        "n_parts": geometry.polygons().len(),
        "n_coords": geometry.coordinates().len() / geometry.dimensions(),
        "area": float(geometry.area()),
        "bounds": bounds.map(float),
    });
    if geometry.kind() != GeometryKind::Point {
        let rings = geometry.polygons().map(|polygon| {
            let lengths: Vec<usize> = polygon.rings().map(|ring| ring.len()).collect();
            json!([lengths.len(), lengths])
        });
        out["rings"] = rings.collect();
    }
    out
}
