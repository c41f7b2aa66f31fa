//! Reading the reference values.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use ndarray::Array2;
use phenocoder_core::{CsrGraph, NoProgress, Seed};
use phenocoder_embed::evaluate::trustworthiness;
use phenocoder_embed::umap::{UmapConfig, cross_entropy, layout};
use phenocoder_testdata::Csv;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a part of a file holds.
pub(crate) fn of<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// A matrix written as a list of rows.
pub(crate) fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = of(value);
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

/// The graph of these entries: row, column and weight.
pub(crate) fn directed(n: usize, mut entries: Vec<(u32, u32, f64)>) -> CsrGraph {
    entries.sort_by_key(|entry| (entry.0, entry.1));
    let before = |node: usize| entries.partition_point(|entry| (entry.0 as usize) < node);
    let indptr = (0..=n).map(before).collect();
    let indices = entries.iter().map(|entry| entry.1).collect();
    let values = entries.iter().map(|entry| entry.2).collect();
    CsrGraph::new(indptr, indices, values).unwrap()
}

/// The graph of edges that are listed once and go both ways.
pub(crate) fn undirected(n: usize, mut edges: Vec<(u32, u32, f64)>) -> CsrGraph {
    let apart = edges.iter().filter(|edge| edge.0 != edge.1);
    let back: Vec<(u32, u32, f64)> = apart.map(|&(i, j, weight)| (j, i, weight)).collect();
    edges.extend(back);
    directed(n, edges)
}

pub(crate) fn coo(path: &Path, n: usize) -> CsrGraph {
    let csv = Csv::open(path);
    let (rows, columns, values) = (csv.floats("row"), csv.floats("col"), csv.floats("value"));
    let entries = rows.iter().zip(columns).zip(values);
    directed(
        n,
        entries
            .map(|((&i, j), value)| (i as u32, j as u32, value))
            .collect(),
    )
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    assert!(values.len() % 2 == 1);
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The numbers under a name, of all runs in a list.
pub(crate) fn of_runs(runs: &Value, name: &str) -> Vec<f64> {
    let runs = runs.as_array().unwrap().iter();
    runs.map(|run| run[name].as_f64().unwrap()).collect()
}

/// What maps have to reach beside those of umap-learn: an objective of at most 1.05 times the median of theirs, and a
/// trustworthiness of at least their least less 0.01.
pub(crate) fn bars_of_maps(entropies: Vec<f64>, trust: &[f64]) -> (f64, f64) {
    assert!(entropies.len() >= 3 && trust.len() == entropies.len());
    let least = trust.iter().copied().fold(1.0, f64::min) - 0.01;
    (1.05 * median(entropies), least)
}

/// The objective and the trustworthiness of maps of three seeds.
pub(crate) fn maps_of_three_seeds(
    graph: &CsrGraph,
    scores: &Array2<f64>,
    config: &UmapConfig,
) -> [(f64, f64); 3] {
    [0, 1, 2].map(|seed| {
        let config = config.clone().with_seed(Seed::new(seed));
        let map = layout(graph, &config, &NoProgress).unwrap();
        judged(graph, scores, &map)
    })
}

/// Three maps of a graph, each as good as those of umap-learn.
#[track_caller]
pub(crate) fn assert_maps_as_good(
    name: &str,
    graph: &CsrGraph,
    scores: &Array2<f64>,
    config: &UmapConfig,
    entropies: Vec<f64>,
    trust: &[f64],
) {
    let (most, least) = bars_of_maps(entropies, trust);
    let maps = maps_of_three_seeds(graph, scores, config);
    for (entropy, trusted) in maps {
        assert!(entropy <= most, "{name}, at most {most}: {maps:?}");
        assert!(trusted >= least, "{name}, at least {least}: {maps:?}");
    }
}

/// The objective of a map, and its trustworthiness of 15 neighbours.
pub(crate) fn judged(graph: &CsrGraph, scores: &Array2<f64>, map: &Array2<f64>) -> (f64, f64) {
    let curve = UmapConfig::default().curve().unwrap();
    (
        cross_entropy(graph, map.view(), curve, &NoProgress).unwrap(),
        trustworthiness(scores.view(), map.view(), 15, &NoProgress).unwrap(),
    )
}

thread_local! {
    /// What this thread has read of the reference data.
    static READ: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// Records that a part of the reference data is read.
pub(crate) fn note(name: String) {
    READ.with_borrow_mut(|read| read.insert(name));
}

/// What tests read of the reference data; each compares what it reads.
pub(crate) fn read_by(tests: &[fn()]) -> BTreeSet<String> {
    READ.take();
    for test in tests {
        test();
    }
    READ.take()
}
