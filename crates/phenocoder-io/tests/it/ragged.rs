//! Shapes of SpatialData before 0.2.2: arrays of coordinates and offsets.

use std::fs;
use std::path::Path;

use phenocoder_io::{Error, GeometryKind, Shapes, Store};
use serde_json::{Value, json};

fn group(path: &Path, attributes: &Value) {
    fs::create_dir_all(path).unwrap();
    fs::write(path.join(".zgroup"), r#"{"zarr_format": 2}"#).unwrap();
    fs::write(path.join(".zattrs"), attributes.to_string()).unwrap();
}

/// An array with one chunk, not compressed.
fn array(path: &Path, shape: &[usize], dtype: &str, bytes: &[u8]) {
    fs::create_dir_all(path).unwrap();
    let chunks: Vec<usize> = shape.iter().map(|&n| n.max(1)).collect();
    let metadata = json!({
        "zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": dtype, "compressor": null,
        "fill_value": 0, "order": "C", "filters": null,
    });
    fs::write(path.join(".zarray"), metadata.to_string()).unwrap();
    fs::write(path.join(vec!["0"; shape.len()].join(".")), bytes).unwrap();
}

fn floats(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn whole(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A store with the shapes `a` of so many rows, whose geometries have this number in shapely.
fn store(folder: &Path, kind: u64, rows: usize) {
    group(folder, &json!({}));
    group(&folder.join("shapes"), &json!({}));
    let output = json!({"name": "global", "axes": [{"name": "x", "type": "space"}, {"name": "y", "type": "space"}]});
    group(
        &folder.join("shapes/a"),
        &json!({
            "encoding-type": "ngff:shapes", "axes": ["x", "y"],
            "spatialdata_attrs": {"version": "0.1", "geos": {"name": "X", "type": kind}},
            "coordinateTransformations": [{"type": "identity", "input": {"name": "xy", "axes": output["axes"]}, "output": output}],
        }),
    );
    let names: Vec<i64> = (10..).take(rows).collect();
    array(
        &folder.join("shapes/a/Index"),
        &[rows],
        "<i8",
        &whole(&names),
    );
}

/// Three triangles, of which the last has a hole.
fn triangles(folder: &Path) {
    let ring = |x: f64| [x, 0., x + 4., 0., x, 4., x, 0.];
    let hole = [21., 1., 22., 1., 21., 2., 21., 1.];
    let coordinates = [ring(0.), ring(10.), ring(20.), hole].concat();
    array(
        &folder.join("shapes/a/coords"),
        &[16, 2],
        "<f8",
        &floats(&coordinates),
    );
    array(
        &folder.join("shapes/a/offset0"),
        &[5],
        "<i8",
        &whole(&[0, 4, 8, 12, 16]),
    );
}

fn open(folder: &Path) -> Result<Shapes, Error> {
    Store::open(folder)?.shapes("a")
}

#[test]
fn polygons_and_objects_of_several_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    store(path, 3, 3);
    triangles(path);
    array(
        &path.join("shapes/a/offset1"),
        &[4],
        "<i8",
        &whole(&[0, 1, 2, 4]),
    );
    let shapes = open(path).unwrap();
    assert_eq!(
        (shapes.n_rows(), shapes.axes()),
        (3, ["x".to_owned(), "y".to_owned()].as_slice())
    );
    let all = shapes.geometries().unwrap();
    assert_eq!(all.kinds(), [GeometryKind::Polygon; 3]);
    let areas: Vec<f64> = all.iter().map(|g| g.area()).collect();
    assert_eq!(areas, [8.0, 8.0, 7.5]);
    assert_eq!(shapes.radii().unwrap(), None);
    assert_eq!(shapes.read_all().unwrap().n_rows(), 3);

    store(path, 6, 2);
    array(
        &path.join("shapes/a/offset2"),
        &[3],
        "<i8",
        &whole(&[0, 1, 3]),
    );
    let all = open(path).unwrap().geometries().unwrap();
    assert_eq!(all.kinds(), [GeometryKind::MultiPolygon; 2]);
    assert_eq!(all.get(1).unwrap().polygons().len(), 2);
}

#[test]
fn circles_are_read_with_their_radii() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    store(path, 0, 2);
    array(
        &path.join("shapes/a/coords"),
        &[2, 2],
        "<f8",
        &floats(&[1., 2., 3., 4.]),
    );
    assert!(matches!(open(path), Err(Error::InvalidGeometry { key, .. }) if key == "shapes/a"));
    array(&path.join("shapes/a/radius"), &[1], "<f8", &floats(&[5.]));
    assert!(matches!(
        open(path),
        Err(Error::LengthMismatch { key, expected: 2, found: 1 }) if key == "shapes/a/radius"
    ));
    array(
        &path.join("shapes/a/radius"),
        &[2],
        "<f8",
        &floats(&[5., 6.]),
    );
    let shapes = open(path).unwrap();
    assert_eq!(shapes.radii().unwrap(), Some(vec![5.0, 6.0]));
    assert_eq!(shapes.geometries().unwrap().coordinates(), [1., 2., 3., 4.]);
    array(
        &path.join("shapes/a/radius"),
        &[2],
        "<f8",
        &floats(&[5., -6.]),
    );
    assert!(open(path).unwrap().geometries().is_err());
}

#[test]
fn arrays_that_do_not_fit_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    store(path, 3, 3);
    triangles(path);
    let offsets = path.join("shapes/a/offset1");

    array(&offsets, &[4], "<i8", &whole(&[0, 1, 2, -4]));
    assert!(matches!(
        open(path).unwrap().geometries(),
        Err(Error::InvalidMetadata { key, .. }) if key == "shapes/a/offset1"
    ));
    array(&offsets, &[4], "<i8", &whole(&[0, 2, 1, 4]));
    assert!(matches!(
        open(path).unwrap().geometries(),
        Err(Error::InvalidGeometry { key, .. }) if key == "shapes/a"
    ));
    array(&offsets, &[3], "<i8", &whole(&[0, 2, 4]));
    assert!(matches!(
        open(path).unwrap().geometries(),
        Err(Error::LengthMismatch {
            expected: 3,
            found: 2,
            ..
        })
    ));

    array(
        &path.join("shapes/a/coords"),
        &[4, 4],
        "<f8",
        &floats(&[0.0; 16]),
    );
    assert!(matches!(
        open(path),
        Err(Error::InvalidMetadata { key, .. }) if key == "shapes/a/coords"
    ));
    store(path, 2, 3);
    assert!(matches!(open(path), Err(Error::InvalidMetadata { key, .. }) if key == "shapes/a"));
}
