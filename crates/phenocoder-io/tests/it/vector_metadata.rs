//! Metadata of points and shapes that say too little, or what cannot be.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use phenocoder_io::{
    ContainerVersion, Error, Geometries, PointsData, PointsWriteOptions, Result, Shapes,
    ShapesData, ShapesWriteOptions, Store,
};
use serde_json::{Map, Value, json};

/// Points `p` in three dimensions and one polygon, `s`.
fn store(folder: &Path) -> PathBuf {
    let path = folder.join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let column = |values: [Option<f64>; 3]| Arc::new(Float64Array::from_iter(values)) as ArrayRef;
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let columns = RecordBatch::try_from_iter([
        ("x", column([Some(1.0), None, Some(3.0)])),
        ("y", column([Some(4.0), Some(5.0), Some(f64::NAN)])),
        ("z", column([Some(7.0), Some(8.0), Some(9.0)])),
        ("name", names),
    ]);
    let points = PointsData::new(columns.unwrap());
    store
        .write_points("p", &points, &PointsWriteOptions::default())
        .unwrap();
    let mut shapes = Geometries::new(2).unwrap();
    shapes
        .push_polygon([[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0].as_slice()])
        .unwrap();
    let shapes = ShapesData::new(shapes);
    store
        .write_shapes("s", &shapes, &ShapesWriteOptions::default())
        .unwrap();
    path
}

/// Changes the attributes of an element.
fn edit(element: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    let file = element.join("zarr.json");
    let mut metadata: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(metadata["attributes"].as_object_mut().unwrap());
    fs::write(file, metadata.to_string()).unwrap();
}

#[test]
fn points_are_read_without_what_older_stores_leave_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    edit(&path.join("points/p"), |attributes| {
        attributes.remove("axes");
        attributes.remove("spatialdata_attrs");
    });
    let points = Store::open(&path).unwrap().points("p").unwrap();
    assert_eq!((points.name(), points.axes().len()), ("p", 3));
    assert_eq!((points.feature_key(), points.instance_key()), (None, None));
    let found = points.coordinates().unwrap();
    assert_eq!(found.row(0).to_vec(), [1.0, 4.0, 7.0]);
    // A coordinate that is missing, and one that is not a number.
    assert!(found[[1, 0]].is_nan() && found[[2, 1]].is_nan());
    assert_eq!((found[[1, 2]], found[[2, 0]]), (8.0, 3.0));
}

#[test]
fn metadata_of_points_that_cannot_be_are_errors_that_name_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let element = path.join("points/p");
    let before = fs::read(element.join("zarr.json")).unwrap();
    let refused = |change: &dyn Fn(&mut Map<String, Value>)| {
        edit(&element, change);
        let error = Store::open(&path).unwrap().points("p").unwrap_err();
        fs::write(element.join("zarr.json"), &before).unwrap();
        error
    };
    let error = refused(&|a| a["spatialdata_attrs"]["version"] = json!("0.3"));
    assert!(matches!(&error, Error::UnsupportedVersion { key, .. } if key == "points/p"));
    let error = refused(&|a| a["axes"] = json!(["y", "x"]));
    assert!(matches!(&error, Error::InvalidMetadata { key, .. } if key == "points/p"));
    let error = refused(&|a| a["coordinateTransformations"] = json!([]));
    assert!(matches!(&error, Error::InvalidTransform { key, .. } if key == "points/p"));

    // Text, and nothing, as coordinates; whoever wrote them does not tell what the files are.
    edit(&element, |attributes| {
        attributes.remove("phenocoder");
    });
    let place = element.join("points.parquet/part.0.parquet");
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let number: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let write = |columns: Vec<(&str, ArrayRef)>| {
        let columns = RecordBatch::try_from_iter(columns).unwrap();
        let file = fs::File::create(&place).unwrap();
        let mut writer = ArrowWriter::try_new(file, columns.schema(), None).unwrap();
        writer.write(&columns).unwrap();
        writer.close().unwrap();
        Store::open(&path).unwrap().points("p").unwrap_err()
    };
    let error = write(vec![
        ("x", number.clone()),
        ("y", text),
        ("z", number.clone()),
    ]);
    assert!(matches!(&error, Error::DataType { key, .. } if key == "points/p/y"));
    let error = write(vec![("x", number.clone()), ("y", number)]);
    assert!(
        matches!(&error, Error::MissingMetadata { expected, .. } if expected.contains("`z`")),
        "{error:?}"
    );
    fs::remove_file(&place).unwrap();
    fs::write(element.join("points.parquet/_SUCCESS"), b"").unwrap();
    let error = Store::open(&path).unwrap().points("p").unwrap_err();
    assert!(
        matches!(&error, Error::MissingMetadata { key, .. } if key == "points/p/points.parquet")
    );
    fs::remove_dir_all(element.join("points.parquet")).unwrap();
    let error = Store::open(&path).unwrap().points("p").unwrap_err();
    assert!(matches!(error, Error::MissingMetadata { .. }));
}

/// Well-known binary of a point, and of a triangle.
fn wkb() -> [Vec<u8>; 2] {
    let numbers = |values: &[f64]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let point = [&[1, 1, 0, 0, 0][..], &numbers(&[1.0, 2.0])].concat();
    let ring = numbers(&[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    let polygon = [&[1, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0][..], &ring].concat();
    [point, polygon]
}

/// Writes shapes as another program would, with `geo` as it is given, and opens them.
fn written(path: &Path, geometries: &[&[u8]], geo: &Value) -> Result<Shapes> {
    edit(&path.join("shapes/s"), |attributes| {
        attributes.remove("phenocoder");
    });
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(geometries));
    let columns = RecordBatch::try_from_iter([("geometry", column)]).unwrap();
    let file = fs::File::create(path.join("shapes/s/shapes.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, columns.schema(), None).unwrap();
    writer.append_key_value_metadata(KeyValue::new("geo".to_owned(), geo.to_string()));
    writer.write(&columns).unwrap();
    writer.close().unwrap();
    Store::open(path)?.shapes("s")
}

#[test]
fn metadata_of_shapes_that_cannot_be_are_errors_that_name_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = store(folder.path());
    let element = path.join("shapes/s");
    let before = fs::read(element.join("zarr.json")).unwrap();
    edit(&element, |a| a["spatialdata_attrs"]["version"] = json!(0.2));
    let error = Store::open(&path).unwrap().shapes("s").unwrap_err();
    assert!(matches!(&error, Error::UnsupportedVersion { key, .. } if key == "shapes/s"));
    fs::write(element.join("zarr.json"), before).unwrap();
    // Without a version the file tells, and without axes they are x and y.
    edit(&element, |attributes| {
        attributes.remove("axes");
        attributes.remove("spatialdata_attrs");
    });
    let shapes = Store::open(&path).unwrap().shapes("s").unwrap();
    assert_eq!((shapes.name(), shapes.n_rows()), ("s", 1));
    assert_eq!(shapes.axes(), ["x", "y"]);

    let [point, polygon] = wkb();
    let of = |about: Value| json!({"primary_column": "geometry", "columns": {"geometry": about}});
    let plain = of(json!({}));
    let shapes = written(&path, &[&polygon, &polygon], &plain).unwrap();
    assert_eq!(shapes.geometries().unwrap().len(), 2);
    for (geo, problem) in [
        (json!({"columns": {}}), "primary_column"),
        (json!({"primary_column": "geometry"}), "`columns`"),
        (
            json!({"primary_column": "outline", "columns": {"outline": {}}}),
            "`outline`",
        ),
        (of(json!("WKB")), "`geometry`"),
        (of(json!({"encoding": 3})), "`encoding`"),
        (of(json!({"encoding": "point"})), "geometry"),
        (of(json!({"encoding": "curve"})), "curve"),
    ] {
        let error = written(&path, &[&polygon], &geo).unwrap_err();
        let place = error.key().unwrap();
        assert!(place.starts_with("shapes/s"), "{geo}: {error:?}");
        assert!(error.to_string().contains(problem), "{geo}: {error}");
    }
    // Points that say to be such are refused when they are opened, others when they are read.
    let declared = of(json!({"geometry_types": ["Point"]}));
    let error = written(&path, &[&point], &declared).unwrap_err();
    assert!(matches!(&error, Error::InvalidGeometry { problem, .. } if problem.contains("radius")));
    for (geometries, problem) in [
        (vec![point.as_slice()], "radius"),
        (vec![point.as_slice(), &polygon], "mixed"),
    ] {
        let shapes = written(&path, &geometries, &plain).unwrap();
        for error in [
            shapes.geometries().err(),
            shapes.batches(&[]).unwrap().find_map(Result::err),
        ] {
            let error = error.unwrap();
            assert!(
                matches!(&error, Error::InvalidGeometry { key, problem: found } if key == "shapes/s" && found.contains(problem)),
                "{error:?}"
            );
        }
    }
    // What is damaged is the last batch.
    let shapes = written(&path, &[&polygon[..20]], &plain).unwrap();
    let mut batches = shapes.batches(&[]).unwrap();
    assert!(matches!(
        batches.next(),
        Some(Err(Error::InvalidGeometry { .. }))
    ));
    assert!(batches.next().is_none());
}
