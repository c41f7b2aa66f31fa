//! Reading the reference values.

use std::path::Path;

use ndarray::{Array1, Array2};
use phenocoder_core::{Categorical, CsrGraph};
use phenocoder_testdata::{Csv, Npz};
use serde_json::Value;

/// A matrix written as a list of rows.
pub(crate) fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    let shape = (rows.len(), rows[0].len());
    Array2::from_shape_vec(shape, rows.concat()).unwrap()
}

/// Numbers by their difference; `null` or `"NaN"` stands for NaN.
#[track_caller]
pub(crate) fn assert_all_or_missing(found: &[f64], expected: &Value, allowed: f64) {
    let expected = expected.as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let right = match expected.as_f64() {
            Some(expected) => (found - expected).abs() <= allowed,
            None => found.is_nan() && (expected.is_null() || expected == "NaN"),
        };
        assert!(right, "{i}: {found} and {expected}");
    }
}

pub(crate) fn max_difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    (a - b).iter().fold(0.0, |m, d| {
        if d.is_nan() {
            f64::INFINITY
        } else {
            f64::max(m, d.abs())
        }
    })
}

pub(crate) fn dense(graph: &CsrGraph) -> Array2<f64> {
    let n = graph.n_nodes();
    let mut matrix = Array2::zeros((n, n));
    for row in 0..n {
        for (column, value) in graph.row(row) {
            matrix[[row, column]] = value;
        }
    }
    matrix
}

/// The largest difference between two graphs' weights, an absent edge weighing 0.
pub(crate) fn graph_difference(a: &CsrGraph, b: &CsrGraph) -> f64 {
    max_difference(&dense(a), &dense(b))
}

pub(crate) fn csr(npz: &Npz, name: &str) -> CsrGraph {
    let integers = |part: &str| npz.array::<i64, ndarray::Ix1>(&format!("{name}_{part}"));
    let values: Array1<f64> = npz.array(&format!("{name}_data"));
    CsrGraph::new(
        integers("indptr").iter().map(|&v| v as usize).collect(),
        integers("indices").iter().map(|&v| v as u32).collect(),
        values.to_vec(),
    )
    .unwrap()
}

pub(crate) fn coo(path: &Path, n: usize) -> CsrGraph {
    let csv = Csv::open(path);
    let (rows, columns, values) = (csv.floats("row"), csv.floats("col"), csv.floats("value"));
    let mut entries: Vec<(usize, u32, f64)> = (0..rows.len())
        .map(|i| (rows[i] as usize, columns[i] as u32, values[i]))
        .collect();
    entries.sort_by_key(|entry| (entry.0, entry.1));
    let mut indptr = vec![0; n + 1];
    for entry in &entries {
        indptr[entry.0 + 1] += 1;
    }
    for i in 0..n {
        indptr[i + 1] += indptr[i];
    }
    let indices = entries.iter().map(|entry| entry.1).collect();
    CsrGraph::new(
        indptr,
        indices,
        entries.iter().map(|entry| entry.2).collect(),
    )
    .unwrap()
}

pub(crate) fn categorical(npz: &Npz, name: &str) -> Categorical {
    let codes: Array1<i64> = npz.array(name);
    Categorical::from_labels(codes.iter().map(|code| format!("{code:03}")))
}
