//! The conformance cases of points and shapes.

use arrow::datatypes::DataType;
use phenocoder_io::{ElementKind, Points, Shapes, Store};

use crate::conformance::{cases, json, sorted};

/// What does not agree.
type Check = Result<(), String>;

/// Batches and single rows are parts of the whole.
fn points(points: &Points) -> Check {
    let failed = |e: phenocoder_io::Error| format!("{e:?}");
    let whole = points.read_columns().map_err(failed)?;
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
    if at != whole.num_rows() || points.n_rows().map_err(failed)? != at as u64 {
        return Err(format!("batches hold {at} rows"));
    }
    let some = points.read_rows(&["y"], 1..2).map_err(failed)?;
    let all = whole.column_by_name("y").unwrap();
    if *some.column(0) != all.slice(1, 1) {
        return Err("one row".into());
    }
    Ok(())
}

fn shapes(shapes: &Shapes) -> Check {
    let failed = |e: phenocoder_io::Error| format!("{e:?}");
    let data = shapes.read_all().map_err(failed)?;
    let geometries = &data.geometries;
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
fn batches_of_points_and_shapes_are_parts_of_the_whole() {
    let Some(cases) = cases() else { return };
    let (mut checked, mut failures) = (0, Vec::new());
    for case in sorted(&cases.join("valid")) {
        let expected = json(&case.join("expected.json"));
        let store = Store::open(case.join(expected["store"].as_str().unwrap())).unwrap();
        for element in store.elements() {
            let result = match element.kind {
                ElementKind::Points => points(&store.points(&element.name).unwrap()),
                ElementKind::Shapes => shapes(&store.shapes(&element.name).unwrap()),
                _ => continue,
            };
            checked += 1;
            if let Err(problem) = result {
                failures.push(format!("{}/{}: {problem}", case.display(), element.key));
            }
        }
    }
    println!("points and shapes: {checked} elements");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
