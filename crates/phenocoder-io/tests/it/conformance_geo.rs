//! The conformance cases of points and shapes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, Float64Array, RecordBatch};
use arrow::datatypes::DataType;
use phenocoder_io::{Points, Store};
use serde_json::Value;

use crate::conformance::{Check, cases, column, json, same, sorted, transforms};

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
        if !element.starts_with("points/") {
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
