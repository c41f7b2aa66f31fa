//! Points whose files or metadata do not fit.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray};
use ndarray::array;
use phenocoder_io::{ContainerVersion, Error, Points, PointsData, PointsWriteOptions, Store};
use serde_json::{Value, json};

/// A store with the points `a`: `x`, `y`, `gene`.
fn written(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let x: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.0), None]));
    let y: ArrayRef = Arc::new(Float32Array::from(vec![3.0, 4.0]));
    let gene: ArrayRef = Arc::new(StringArray::from(vec!["g", "h"]));
    let columns = RecordBatch::try_from_iter([("x", x), ("y", y), ("gene", gene)]).unwrap();
    let points = PointsData::new(columns).with_feature_key("gene");
    store
        .write_points("a", &points, &PointsWriteOptions::default())
        .unwrap();
    path
}

fn open(path: &Path) -> Result<Points, Error> {
    Store::open(path)?.points("a")
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let file = path.join("points/a/zarr.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut value["attributes"]);
    fs::write(file, value.to_string()).unwrap();
}

#[test]
fn what_the_metadata_say_is_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(&folder);
    let points = open(&path).unwrap();
    assert_eq!(
        (points.name(), points.axes()),
        ("a", ["x".to_owned(), "y".to_owned()].as_slice())
    );
    assert_eq!(
        (points.feature_key(), points.instance_key()),
        (Some("gene"), None)
    );
    assert_eq!(points.transformations().len(), 1);
    let coordinates = points.coordinates().unwrap();
    assert!(coordinates[[0, 0]] == 1.0 && coordinates[[1, 0]].is_nan());
    assert_eq!(coordinates.column(1), array![3.0, 4.0]);
    let data = points.read_all().unwrap();
    assert_eq!(data.feature_key.as_deref(), Some("gene"));
    // Axes are those of the columns where the metadata name none.
    edit(&path, |attributes| {
        attributes.as_object_mut().unwrap().remove("axes");
        attributes["spatialdata_attrs"]
            .as_object_mut()
            .unwrap()
            .remove("version");
    });
    assert_eq!(open(&path).unwrap().axes().len(), 2);
}

#[test]
fn metadata_that_do_not_fit_are_errors_that_name_the_element() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(&folder);
    edit(&path, |attributes| {
        attributes["axes"] = json!(["x", "y", "z"])
    });
    assert!(matches!(
        open(&path),
        Err(Error::MissingMetadata { key, expected }) if key == "points/a" && expected.contains("`z`")
    ));
    edit(&path, |attributes| {
        attributes["axes"] = json!(["x", "y"]);
        attributes["spatialdata_attrs"]["version"] = json!("0.9");
    });
    assert!(matches!(
        open(&path),
        Err(Error::UnsupportedVersion { key, found, .. }) if key == "points/a" && found.contains("0.9")
    ));
}

#[test]
fn coordinates_that_are_no_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(&folder);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "2"]));
    let columns =
        RecordBatch::try_from_iter([("x", ArrayRef::clone(&texts)), ("y", texts)]).unwrap();
    let file = path.join("points/a/points.parquet");
    let _ = fs::remove_dir_all(&file).or_else(|_| fs::remove_file(&file));
    phenocoder_io::write_parquet(&file, &columns).unwrap();
    assert!(matches!(
        open(&path),
        Err(Error::DataType { key, found, .. }) if key == "points/a/x" && found.contains("Utf8")
    ));
}

#[test]
fn parts_are_read_in_the_order_of_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(&folder);
    let place = path.join("points/a/points.parquet");
    let _ = fs::remove_dir_all(&place).or_else(|_| fs::remove_file(&place));
    fs::create_dir(&place).unwrap();
    assert!(matches!(
        open(&path),
        Err(Error::MissingMetadata { key, .. }) if key == "points/a/points.parquet"
    ));
    for part in [10_u8, 9, 0] {
        let number: ArrayRef = Arc::new(Float32Array::from(vec![f32::from(part)]));
        let columns =
            RecordBatch::try_from_iter([("x", ArrayRef::clone(&number)), ("y", number)]).unwrap();
        phenocoder_io::write_parquet(place.join(format!("part.{part}.parquet")), &columns).unwrap();
    }
    fs::write(place.join("_metadata"), b"x").unwrap();
    let points = open(&path).unwrap();
    assert_eq!(points.n_rows().unwrap(), 3);
    assert_eq!(
        points.coordinates().unwrap().column(0),
        array![0.0, 9.0, 10.0]
    );

    fs::remove_dir_all(&place).unwrap();
    assert!(matches!(
        open(&path),
        Err(Error::MissingMetadata { key, .. }) if key == "points/a/points.parquet"
    ));
}
