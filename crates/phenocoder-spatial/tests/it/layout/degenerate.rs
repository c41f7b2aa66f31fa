//! Sets at the edge of definition: nothing stops the statistics that are defined.

use std::collections::BTreeMap;

use ndarray::{Array2, array};
use phenocoder_core::{Categorical, Seed};
use serde_json::Value;

use super::compute;
use super::input::{Input, Parameters};
use crate::every_entry::leaves;

fn input(points: Array2<f64>, labels: Categorical, x: Array2<f64>) -> Input {
    Input {
        name: "made".to_owned(),
        libraries: Some(Categorical::from_labels(
            (0..points.nrows()).map(|row| (row % 2).to_string()),
        )),
        points,
        labels,
        features: (0..x.ncols()).map(|f| format!("f{f}")).collect(),
        x,
        locations: None,
        edges: BTreeMap::new(),
        parameters: Parameters::of_set("made"),
    }
}

/// Duplicates, a collinear run, isolated points, a label of one, one of none, features that are constant, zero or have a NaN.
fn degenerate(d: usize) -> Input {
    let n = 130;
    let mut stream = Seed::new(3).stream("points", 0);
    let mut points = Array2::from_shape_simple_fn((n, d), || stream.uniform_in(0.0, 400.0));
    for row in 100..113 {
        let copy = points.row(row - 100).to_owned();
        points.row_mut(row).assign(&copy);
    }
    for row in 113..125 {
        points.row_mut(row).fill(10.0 * (row - 113) as f64);
    }
    for row in 125..n {
        points.row_mut(row).fill(5000.0 * (row - 124) as f64);
    }
    let codes = (0..n).map(|row| if row == 50 { 4 } else { (row % 4) as i32 });
    let names = ["A", "B", "C", "D", "E_single", "F_empty"].map(str::to_owned);
    let labels = Categorical::new(codes.collect(), names.to_vec()).unwrap();
    let x = Array2::from_shape_fn((n, 12), |(row, feature)| match feature {
        9 => 3.5,
        10 => 0.0,
        11 if row == 7 => f64::NAN,
        _ => stream.normal(),
    });
    input(points, labels, x)
}

fn errors(json: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    leaves(json, String::new(), &mut paths);
    let failed = paths.iter().filter_map(|path| path.strip_suffix("/error"));
    failed.map(str::to_owned).collect()
}

fn text(json: &Value, path: &str) -> String {
    let value = json.pointer(path);
    value.unwrap_or_else(|| panic!("no {path}")).to_string()
}

#[test]
fn a_degenerate_set_has_every_statistic() {
    for d in [2, 3] {
        let (json, _) = compute(&degenerate(d), &[]);
        assert_eq!(errors(&json), Vec::<String>::new());
        // What is linked at distance 0 has a connectivity but no distance.
        let nnz = |part: &str| {
            json.pointer(&format!("/graphs/radius1/{part}_nnz"))
                .unwrap()
                .as_u64()
        };
        assert_eq!(nnz("conn"), nnz("dist").map(|edges| edges + 26));
        for feature in [9, 10, 11] {
            let path =
                |key: &str| format!("/stats/radius1/moran_features_rownorm1/{key}/{feature}");
            assert_eq!(text(&json, &path("I")), "\"NaN\"");
        }
        assert!(
            json.pointer("/stats/radius1/moran_features_rownorm1/I/0")
                .unwrap()
                .is_f64()
        );
        let of = |statistic: &str, category: &str| {
            text(&json, &format!("/stats/knn/{statistic}/{category}"))
        };
        assert_eq!(of("closeness_centrality", "F_empty"), "\"NaN\"");
        assert_eq!(of("average_clustering", "F_empty"), "\"NaN\"");
        assert_eq!(of("degree_centrality", "F_empty"), "0.0");
        assert_ne!(of("closeness_centrality", "E_single"), "\"NaN\"");
        // One cell has no pair with itself: the number cannot vary.
        assert_eq!(
            text(&json, "/stats/knn/nhood_exact_permutation_moments/z/4/4"),
            "\"NaN\""
        );
        // Of the five categories that have cells.
        let occ = json.pointer("/co_occurrence/explicit/occ").unwrap();
        assert_eq!(occ.as_array().unwrap().len(), 5);
        assert_eq!(
            json.pointer("/ripley/L/stat")
                .unwrap()
                .as_object()
                .unwrap()
                .len(),
            5
        );
    }
}

#[test]
fn what_fails_does_not_stop_the_rest() {
    // All on a line, of one type, some without a label.
    let points = Array2::from_shape_fn((20, 2), |(row, axis)| 30.0 * row as f64 * [1.0, 2.0][axis]);
    let labels = Categorical::from_optional_labels((0..20).map(|row| (row > 2).then_some("T")));
    let (json, _) = compute(&input(points, labels, Array2::ones((20, 1))), &[]);
    let failed = errors(&json);
    for path in ["/graphs/delaunay", "/stats/delaunay", "/ripley/L"] {
        assert!(failed.iter().any(|f| f == path), "{path}: {failed:?}");
    }
    assert_eq!(text(&json, "/graphs/delaunay/error"), "\"Degenerate\"");
    assert_eq!(
        text(&json, "/stats/radius1/nhood_1000_seed0/error"),
        "\"TooFewCategories\""
    );
    assert!(json.pointer("/stats/knn/interaction/0/0").unwrap().is_f64());
    assert!(
        json.pointer("/phenocoder_row/connectivity")
            .unwrap()
            .is_object()
    );
}

#[test]
fn the_smallest_sets_have_an_answer() {
    let one_type = |n| Categorical::from_labels(vec!["T"; n]);
    for points in [
        Array2::zeros((0, 2)),
        array![[1.0, 2.0]],
        array![[1.0, 2.0], [1.0, 2.0]],
    ] {
        let n = points.nrows();
        let (json, _) = compute(&input(points, one_type(n), Array2::zeros((n, 0))), &[]);
        assert_eq!(text(&json, "/inputs/n"), n.to_string());
        assert!(json.pointer("/stats/radius1/interaction").is_some());
        let too_few = json.pointer("/stats/knn/message").is_some();
        assert!(too_few || n == 0, "fewer points than neighbors");
    }
    let flat = array![[0.0], [1.0], [2.0], [3.0], [9.0]];
    let (json, _) = compute(&input(flat, one_type(5), Array2::zeros((5, 1))), &[]);
    assert_eq!(text(&json, "/graphs/delaunay/error"), "\"Dimensions\"");
}

#[test]
fn only_what_is_asked_for_is_computed() {
    let (json, _) = compute(&degenerate(2), &["stats/knn/interaction", "co_occurrence"]);
    let mut paths = Vec::new();
    leaves(&json, String::new(), &mut paths);
    let kinds: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(kinds, ["stats", "co_occurrence"]);
    assert_eq!(paths[0], "/stats/knn/interaction");
    assert!(json.pointer("/stats/knn/interaction_normalized").is_none());
}
