//! The sets `grid2d` and `random2d` with the results of squidpy 1.8.3, networkx 3.7 and esda 2.10; layout: spatial.md §13.

use ndarray::{Array1, Array2};
use phenocoder_core::{Categorical, CsrGraph};
use phenocoder_testdata::{Npz, find, max_relative_error};
use serde_json::Value;

/// A set of points with everything that the peers make of it.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) npz: Npz,
    pub(crate) json: Value,
    pub(crate) points: Array2<f64>,
    pub(crate) labels: Categorical,
    pub(crate) x: Array2<f64>,
}

pub(crate) fn sets() -> Vec<Set> {
    ["grid2d", "random2d"]
        .into_iter()
        .filter_map(read)
        .collect()
}

fn read(name: &'static str) -> Option<Set> {
    let npz = Npz::open(&find(&format!("spatial/{name}.npz"))?);
    let text = std::fs::read_to_string(find(&format!("spatial/{name}.json"))?).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let codes: Array1<i64> = npz.array("in_labels");
    let categories = strings(&json["inputs"]["categories"]);
    let codes = codes
        .iter()
        .map(|&code| i32::try_from(code).unwrap())
        .collect();
    Some(Set {
        name,
        points: npz.array("in_coords"),
        x: npz.array("in_X"),
        labels: Categorical::new(codes, categories).unwrap(),
        npz,
        json,
    })
}

impl Set {
    pub(crate) fn graph(&self, name: &str, matrix: &str) -> CsrGraph {
        let part = |part: &str| format!("g_{name}_{matrix}_{part}");
        let indptr: Array1<i64> = self.npz.array(&part("indptr"));
        let indices: Array1<i64> = self.npz.array(&part("indices"));
        let values: Array1<f64> = self.npz.array(&part("data"));
        CsrGraph::new(
            indptr
                .iter()
                .map(|&i| usize::try_from(i).unwrap())
                .collect(),
            indices.iter().map(|&i| u32::try_from(i).unwrap()).collect(),
            values.to_vec(),
        )
        .unwrap()
    }

    pub(crate) fn radii(&self) -> Vec<f64> {
        numbers(&self.json["inputs"]["radii"])
    }

    /// The graphs that have all statistics.
    pub(crate) fn graphs(&self) -> Vec<(&str, CsrGraph, &Value)> {
        self.named(&["radius1", "knn", "delaunay"])
    }

    /// The graphs that have interactions and Moran's I of the features only.
    pub(crate) fn further_graphs(&self) -> Vec<(&str, CsrGraph, &Value)> {
        self.named(&["radius0", "radius2", "radius_interval", "grid4"])
    }

    pub(crate) fn named(&self, names: &[&'static str]) -> Vec<(&str, CsrGraph, &Value)> {
        let graph =
            |&name: &&'static str| (name, self.graph(name, "conn"), &self.json["stats"][name]);
        names.iter().map(graph).collect()
    }
}

pub(crate) fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.replace("Infinity", "inf").parse().unwrap(),
        value => value.as_f64().unwrap(),
    }
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    value.as_array().unwrap().iter().map(text).collect()
}

pub(crate) fn matrix(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().flat_map(numbers).collect()
}

pub(crate) fn flat(x: &Array2<f64>) -> Vec<f64> {
    x.iter().copied().collect()
}

pub(crate) fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let error = max_relative_error(found, expected, 1e-9);
    assert!(
        error <= tolerance,
        "{what}: {error:e}\n{found:?}\n{expected:?}"
    );
}

pub(crate) fn assert_same_graph(what: &str, found: &CsrGraph, expected: &CsrGraph) {
    assert_eq!(found.indptr(), expected.indptr(), "{what}");
    assert_eq!(found.indices(), expected.indices(), "{what}");
    assert_close(what, found.values(), expected.values(), 1e-12);
}
