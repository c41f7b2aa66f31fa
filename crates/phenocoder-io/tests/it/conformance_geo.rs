//! The conformance cases of points and shapes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, Float64Array, RecordBatch};
use arrow::datatypes::DataType;
use phenocoder_io::{GeometryKind, Points, Shapes, Store};
use serde_json::Value;

use crate::conformance::{Check, cases, column, json, same, sha, sorted, transforms};

/// Missing numbers of a float column, which pandas writes for NaN, as NaN.
fn with_nan(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_any().downcast_ref::<Float64Array>().unwrap();
            let values = values.iter().map(|v| v.unwrap_or(f64::NAN));
            Arc::new(values.collect::<Float64Array>())
        }
        DataType::Float32 => {
            let values = array.as_any().downcast_ref::<Float32Array>().unwrap();
            let values = values.iter().map(|v| v.unwrap_or(f32::NAN));
            Arc::new(values.collect::<Float32Array>())
        }
        _ => Arc::clone(array),
    }
}

/// Columns, by name, and their order without the geometry.
fn columns(batch: &RecordBatch, expected: &Value) -> Check {
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        let metadata = field.metadata();
        let nullable = metadata
            .get("anndata.encoding")
            .is_some_and(|e| e.starts_with("nullable"));
        let ordered = metadata.contains_key("anndata.ordered");
        column(
            &with_nan(array),
            nullable,
            ordered,
            &expected["columns"][field.name()],
        )
        .map_err(|e| format!("{}: {e}", field.name()))?;
    }
    Ok(())
}

fn points(points: &Points, expected: &Value) -> Check {
    let failed = |e: phenocoder_io::Error| format!("{e:?}");
    same("axes", points.axes().to_vec(), &expected["axes"])?;
    same(
        "rows",
        points.n_rows().map_err(failed)?,
        &expected["n_rows"],
    )?;
    let key = |key: Option<&str>| key.map_or(Value::Null, Value::from);
    same(
        "feature key",
        key(points.feature_key()),
        &expected["feature_key"],
    )?;
    same(
        "instance key",
        key(points.instance_key()),
        &expected["instance_key"],
    )?;
    same("columns", points.column_names(), &expected["column_order"])?;
    transforms(points.transformations(), &expected["transforms"])?;
    let index = points.index().map_err(failed)?;
    column(&index, false, false, &expected["index"]).map_err(|e| format!("index: {e}"))?;
    let whole = points.read_all().map_err(failed)?;
    columns(&whole, expected)?;
    // Batches hold the same rows, and categories keep their codes.
    let mut at = 0;
    for batch in points.batches(&points.column_names()).map_err(failed)? {
        let batch = batch.map_err(failed)?;
        for (batch, whole) in batch.columns().iter().zip(whole.columns()) {
            let rows = whole.slice(at, batch.len());
            let same = match batch.data_type() {
                DataType::Dictionary(_, _) => {
                    arrow::compute::cast(batch, &DataType::Utf8).unwrap()
                        == arrow::compute::cast(&rows, &DataType::Utf8).unwrap()
                }
                _ => *batch == rows,
            };
            if !same {
                return Err(format!("batch at {at}"));
            }
        }
        at += batch.num_rows();
    }
    same("rows of batches", at, &expected["n_rows"])?;
    let some = points.read_rows(&["y"], 1..2).map_err(failed)?;
    let all = whole.column_by_name("y").unwrap();
    if *some.column(0) != all.slice(1, 1) {
        return Err("one row".into());
    }
    Ok(())
}

fn close(what: &str, found: f64, expected: &Value) -> Check {
    let expected = expected.as_f64().unwrap();
    if (found - expected).abs() <= 1e-12 * expected.abs().max(1.0) {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected}, found {found}"))
    }
}

fn shapes(shapes: &Shapes, expected: &Value) -> Check {
    let failed = |e: phenocoder_io::Error| format!("{e:?}");
    same("rows", shapes.n_rows(), &expected["n_rows"])?;
    same("columns", shapes.column_order(), &expected["column_order"])?;
    transforms(shapes.transformations(), &expected["transforms"])?;
    let data = shapes.read_all().map_err(failed)?;
    let geometries = &data.geometries;
    same("has z", geometries.dimensions() == 3, &expected["has_z"])?;
    same("vertices", geometries.n_vertices(), &expected["n_vertices"])?;
    let bytes: Vec<u8> = geometries
        .coordinates()
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    same("coordinates", sha(&bytes), &expected["coords_sha256"])?;
    let mut types = serde_json::Map::new();
    for kind in geometries.kinds() {
        let n = types
            .get(kind.as_str())
            .and_then(Value::as_u64)
            .unwrap_or(0);
        types.insert(kind.as_str().to_owned(), (n + 1).into());
    }
    types.sort_keys();
    same("types", types, &expected["geometry_types"])?;
    let listed = expected["geometries"].as_array().unwrap();
    for (geometry, expected) in geometries.iter().zip(listed) {
        same("type", geometry.kind().as_str(), &expected["type"])?;
        same("parts", geometry.polygons().len(), &expected["n_parts"])?;
        same(
            "coordinates",
            geometry.coordinates().len() / geometries.dimensions(),
            &expected["n_coords"],
        )?;
        close("area", geometry.area(), &expected["area"])?;
        for (found, expected) in geometry
            .bounds()
            .unwrap()
            .into_iter()
            .zip(expected["bounds"].as_array().unwrap())
        {
            close("bounds", found, expected)?;
        }
        if geometry.kind() != GeometryKind::Point {
            let rings: Vec<Value> = geometry
                .polygons()
                .map(|polygon| {
                    let lengths: Vec<usize> = polygon.rings().map(|ring| ring.len()).collect();
                    serde_json::json!([lengths.len(), lengths])
                })
                .collect();
            same("rings", rings, &expected["rings"])?;
        }
    }
    columns(&data.columns, expected)?;
    column(&data.index, false, false, &expected["index"]).map_err(|e| format!("index: {e}"))?;
    let names: Vec<&str> = shapes.fields().iter().map(|f| f.name().as_str()).collect();
    let mut all = phenocoder_io::Geometries::new(geometries.dimensions()).unwrap();
    for batch in shapes.batches(&names).map_err(failed)? {
        let batch = batch.map_err(failed)?;
        if batch.columns.num_rows() != batch.geometries.len() {
            return Err("a batch's columns".into());
        }
        batch.geometries.iter().for_each(|g| all.push(&g).unwrap());
    }
    let last = shapes.n_rows().saturating_sub(1)..shapes.n_rows();
    let tail = shapes.geometries_of(last).map_err(failed)?;
    if all == *geometries && tail == geometries.select(&[geometries.len() - 1]).unwrap() {
        Ok(())
    } else {
        Err("batches or single rows differ from the whole".into())
    }
}

#[test]
fn points_and_shapes_hold_what_python_reads_in_them() {
    let Some(cases) = cases() else { return };
    let (mut passed, mut failures) = (0, Vec::new());
    for case in sorted(&cases.join("valid")) {
        let expected = json(&case.join("expected.json"));
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let store = Store::open(case.join(expected["store"].as_str().unwrap())).unwrap();
        let mut check = |what: String, result: Check| match result {
            Ok(()) => passed += 1,
            Err(error) => failures.push(format!("{name}/{what}: {error}")),
        };
        for (element, expected) in expected["shapes"].as_object().unwrap() {
            let result = store.shapes(element).map_err(|e| format!("{e:?}"));
            check(
                format!("shapes/{element}"),
                result.and_then(|s| shapes(&s, expected)),
            );
        }
        for (element, expected) in expected["points"].as_object().unwrap() {
            let result = store.points(element).map_err(|e| format!("{e:?}"));
            check(
                format!("points/{element}"),
                result.and_then(|p| points(&p, expected)),
            );
        }
    }
    let total = passed + failures.len();
    println!("points and shapes: {passed} of {total} elements");
    assert!(
        failures.is_empty(),
        "{passed} of {total}\n{}",
        failures.join("\n")
    );
}

/// Reads all of a points or shapes element.
fn read(store: &Store, element: &str) -> Result<(), String> {
    let failed = |e: phenocoder_io::Error| format!("{e:?}");
    match element.split_once('/').unwrap() {
        ("points", name) => {
            let points = store.points(name).map_err(failed)?;
            points.read_all().map_err(failed)?;
            points.index().map_err(failed).map(|_| ())
        }
        ("shapes", name) => {
            let shapes = store.shapes(name).map_err(failed)?;
            shapes.read_all().map_err(failed).map(|_| ())
        }
        (kind, _) => Err(format!("unknown kind {kind}")),
    }
}

#[test]
fn broken_points_and_shapes_are_errors_that_leave_the_others_readable() {
    let Some(cases) = cases() else { return };
    let (mut passed, mut failures) = (0, Vec::new());
    for case in sorted(&cases.join("broken")) {
        let about = json(&case.join("case.json"));
        let element = about["element"].as_str().unwrap_or("");
        if !element.starts_with("points/") && !element.starts_with("shapes/") {
            continue;
        }
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let class = about["expect"]["error_class"].as_str().unwrap();
        let store = Store::open(case.join("store.zarr")).unwrap();
        let wanted = match class {
            "InvalidParquet" => ["Parquet", "MissingMetadata"],
            // Nested deeper than JSON may be.
            "InvalidTransform" => ["InvalidTransform", "Json"],
            "InvalidGeometry" => ["InvalidGeometry", "MissingMetadata"],
            other => [other, other],
        };
        match read(&store, element) {
            Err(error)
                if wanted.iter().any(|w| error.starts_with(w)) && error.contains(element) =>
            {
                passed += 1
            }
            other => failures.push(format!("{name}: expected {class}, found {other:?}")),
        }
        if about["expect"]["stage"] == "open"
            && store.points(element.split_once('/').unwrap().1).is_ok()
        {
            failures.push(format!("{name}: opened"));
        }
        for other in store
            .elements()
            .iter()
            .filter(|e| e.key != element && e.key.starts_with("points/"))
        {
            if let Err(error) = read(&store, &other.key) {
                failures.push(format!("{name}: {} is not readable: {error}", other.key));
            }
        }
    }
    let total = passed + failures.len();
    println!("broken points and shapes: {passed} of {total} cases");
    assert!(
        failures.is_empty(),
        "{passed} of {total}\n{}",
        failures.join("\n")
    );
}
