//! Against umap-learn 0.5.12: `tests/data/make_spectral.py`.

use ndarray::Array1;
use phenocoder_core::NoProgress;
use serde_json::Value;

use super::*;

fn golden(case: &str) -> Value {
    let all: Value =
        serde_json::from_str(include_str!("../../../tests/data/spectral.json")).unwrap();
    all[case].clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn indices(value: &Value) -> Vec<usize> {
    serde_json::from_value(value.clone()).unwrap()
}

fn graph_of(case: &Value) -> CsrGraph {
    let ends = indices(&case["rows"])
        .into_iter()
        .zip(indices(&case["columns"]));
    let mut edges = std::collections::BTreeMap::new();
    for ((i, j), weight) in ends.zip(numbers(&case["weights_times_1024"])) {
        edges.insert((i, j), weight / 1024.0);
        edges.insert((j, i), weight / 1024.0);
    }
    let nodes = indices(&case["part"]).len();
    let before = |node: usize| edges.keys().filter(|edge| edge.0 < node).count();
    let indptr = (0..=nodes).map(before).collect();
    let targets = edges.keys().map(|edge| edge.1 as u32).collect();
    CsrGraph::new(indptr, targets, edges.into_values().collect()).unwrap()
}

fn places_of(case: &Value) -> Array2<f64> {
    let rows: Vec<[f64; 2]> = serde_json::from_value(case["places"].clone()).unwrap();
    Array2::from_shape_fn((rows.len(), 2), |(i, j)| rows[i][j])
}

/// Which eigenvectors of a part the reference has, and where.
struct Part<'a> {
    nodes: &'a [usize],
    places: Array2<f64>,
    /// Its two eigenvalues below 1, and the one after them.
    values: Vec<f64>,
}

/// Compares the eigenvectors that a part starts at: they span the plane of the reference, and each is one.
///
/// A dense solver has all digits; the other one stops at a residual, and a vector of residual `r` is within `r / gap` of
/// the plane (Davis & Kahan 1970, doi:10.1137/0707001).
fn assert_eigenvectors(graph: &CsrGraph, local_of: &[u32], part: &Part<'_>) {
    let mut stream = Seed::new(0).stream("test", 0);
    let found = part_positions(graph, part.nodes, local_of, 2, &mut stream, &NoProgress).unwrap();
    let operator = Operator::new(graph, part.nodes, local_of);
    let plane = orthonormal(&part.places);
    let (residual, away) = if part.nodes.len() <= DENSE {
        (1e-12, 1e-6)
    } else {
        (RESIDUAL, RESIDUAL / (part.values[1] - part.values[2]))
    };
    for (axis, &expected) in found.columns().into_iter().zip(&part.values) {
        let length = axis.dot(&axis).sqrt();
        let vector = axis.mapv(|v| v / length);
        let column = Array2::from_shape_fn((vector.len(), 1), |(i, _)| vector[i]);
        let image = operator.apply(&column);
        let image = image.column(0);
        let value = image.dot(&vector);
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        let error = &image - &(&vector * value);
        let error = error.dot(&error).sqrt();
        assert!(error <= residual, "{error:e}, at most {residual:e}");
        let mut rest = vector;
        for base in &plane {
            let share = rest.dot(base);
            rest.scaled_add(-share, base);
        }
        let error = rest.dot(&rest).sqrt();
        assert!(error <= away, "{error:e}, at most {away:e}");
    }
}

/// An orthonormal base of what two columns span.
fn orthonormal(columns: &Array2<f64>) -> [Array1<f64>; 2] {
    let unit = |v: Array1<f64>| {
        let length = v.dot(&v).sqrt();
        v / length
    };
    let first = unit(columns.column(0).to_owned());
    let second = columns.column(1).to_owned();
    let share = second.dot(&first);
    let second = unit(second - &first * share);
    [first, second]
}

#[test]
fn the_start_of_a_connected_graph_is_that_of_umap_learn_but_for_signs() {
    let case = golden("connected");
    let (graph, places) = (graph_of(&case), places_of(&case));
    let nodes: Vec<usize> = (0..graph.n_nodes()).collect();
    let local_of: Vec<u32> = (0..graph.n_nodes() as u32).collect();
    let part = Part {
        nodes: &nodes,
        places: places.clone(),
        values: numbers(&case["values"][0]),
    };
    assert_eigenvectors(&graph, &local_of, &part);

    let found = start(&graph, 2, Seed::new(0), &NoProgress).unwrap();
    let expected = fill_box(places);
    for (found, expected) in found.columns().into_iter().zip(expected.columns()) {
        let pairs = found.iter().zip(expected);
        let (same, turned) = pairs.fold((0.0_f64, 0.0_f64), |(same, turned), (v, e)| {
            (same.max((v - e).abs()), turned.max((SIDE - v - e).abs()))
        });
        // What the residual and the noise leave in a box of side 10.
        assert!(same.min(turned) < 0.02, "{same} {turned}");
    }
}

#[test]
fn each_of_two_parts_starts_in_the_plane_of_umap_learn() {
    let case = golden("two_parts");
    let (graph, places) = (graph_of(&case), places_of(&case));
    let parts = connected_parts(&graph);
    assert_eq!(parts.len(), 2);
    let of = indices(&case["part"]);
    for nodes in &parts {
        // Theirs lie around (1, 0) and (-1, 0).
        let index = of[nodes[0]];
        assert!(nodes.iter().all(|&node| of[node] == index));
        let center = [1.0 - 2.0 * index as f64, 0.0];
        let mut local_of = vec![0; graph.n_nodes()];
        for (i, &node) in nodes.iter().enumerate() {
            local_of[node] = i as u32;
        }
        let part = Part {
            nodes,
            places: Array2::from_shape_fn((nodes.len(), 2), |(i, axis)| {
                places[[nodes[i], axis]] - center[axis]
            }),
            values: numbers(&case["values"][index]),
        };
        assert_eigenvectors(&graph, &local_of, &part);
    }
}
