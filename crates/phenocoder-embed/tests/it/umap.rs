//! Graphs that ask for both directions of an edge, supervised graphs, weights of new rows and where they land, against
//! umap-learn 0.5.12: `tests/data/make_umap.py`.

use ndarray::{Array2, s};
use phenocoder_core::{Categorical, CsrGraph, NoProgress, Seed};
use phenocoder_embed::evaluate::{KnnClassifier, KnnConfig};
use phenocoder_embed::fuzzy::{FuzzyConfig, Target, fuzzy_graph, membership, supervise};
use phenocoder_embed::knn::{Metric, Neighbors, nearest_neighbors, query_neighbors};
use phenocoder_embed::umap::{Umap, UmapConfig};
use serde_json::Value;

use crate::golden::{graph_difference, matrix, max_difference, of, of_runs, undirected};

/// Rows that the map does not know, and rows of the supervised graphs.
const HELD_OUT: usize = 60;
const SUPERVISED: usize = 80;

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/umap.json")).unwrap()
}

fn x(golden: &Value) -> Array2<f64> {
    matrix(&golden["x_times_1024"]) / 1024.0
}

fn near(x: &Array2<f64>) -> Neighbors {
    nearest_neighbors(x.view(), 7, Metric::Euclidean, &NoProgress).unwrap()
}

fn graph_of(x: &Array2<f64>) -> CsrGraph {
    fuzzy_graph(&near(x), &FuzzyConfig::default(), &NoProgress).unwrap()
}

/// Compares with all cases, which hold the edges above the diagonal.
fn assert_graphs(cases: &Value, count: usize, find: impl Fn(f64) -> CsrGraph) {
    let mut all = Vec::new();
    for case in cases.as_array().unwrap() {
        let (rows, columns): (Vec<u32>, Vec<u32>) = (of(&case["rows"]), of(&case["columns"]));
        let weights: Vec<f64> = of(&case["values"]);
        let edges = rows.into_iter().zip(columns).zip(weights);
        let edges = edges.map(|((i, j), weight)| (i, j, weight)).collect();
        let expected = undirected(SUPERVISED, edges);
        let found = find(case["weight"].as_f64().unwrap());
        let difference = graph_difference(&found, &expected);
        assert!(difference < 1e-4, "weight {}: {difference}", case["weight"]);
        all.push(expected);
    }
    // The cases differ, so the comparison can fail.
    assert_eq!(all.len(), count);
    assert!(
        all.windows(2)
            .all(|pair| graph_difference(&pair[0], &pair[1]) > 0.01)
    );
}

fn assert_supervised(cases: &Value, graph: &CsrGraph, target: Target<'_>) {
    assert_graphs(cases, 4, |weight| {
        supervise(graph, target, weight, &NoProgress).unwrap()
    });
}

#[test]
fn graphs_that_ask_for_both_directions_are_those_of_umap_learn() {
    let golden = golden();
    let neighbors = near(&x(&golden).slice_move(s![..SUPERVISED, ..]));
    assert_graphs(&golden["of_both_directions"], 2, |ratio| {
        fuzzy_graph(
            &neighbors,
            &FuzzyConfig::default().with_mix_ratio(ratio),
            &NoProgress,
        )
        .unwrap()
    });
}

#[test]
fn graphs_supervised_by_categories_are_those_of_umap_learn() {
    let golden = golden();
    let graph = graph_of(&x(&golden).slice_move(s![..SUPERVISED, ..]));
    let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
    let labels = Categorical::new(of(&golden["label"]), names).unwrap();
    assert_supervised(
        &golden["of_categories"],
        &graph,
        Target::Categories(&labels),
    );
}

#[test]
fn graphs_supervised_by_numbers_are_those_of_umap_learn() {
    let golden = golden();
    let graph = graph_of(&x(&golden).slice_move(s![..SUPERVISED, ..]));
    let numbers = Array2::from_shape_vec((SUPERVISED, 1), of(&golden["number"])).unwrap();
    let neighbors = near(&numbers);
    let target = Target::Neighbors(&neighbors);
    assert_supervised(&golden["of_numbers"], &graph, target);
}

/// The neighbours of the held-out rows among the others.
fn new_neighbors(golden: &Value) -> Neighbors {
    let x = x(golden);
    let (known, new) = x.view().split_at(ndarray::Axis(0), x.nrows() - HELD_OUT);
    query_neighbors(known, new, 10, Metric::Euclidean, &NoProgress).unwrap()
}

#[test]
fn weights_of_new_rows_are_those_of_umap_learn() {
    let golden = golden();
    let neighbors = new_neighbors(&golden);
    let indices = neighbors.indices().mapv(f64::from);
    assert_eq!(indices, matrix(&golden["new_neighbors"]));
    let weights = membership(&neighbors, &NoProgress).unwrap();
    let difference = max_difference(&weights, &matrix(&golden["new_weights"]));
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn new_rows_land_as_near_to_their_own_as_those_of_umap_learn() {
    let golden = golden();
    let neighbors = new_neighbors(&golden);
    let places = matrix(&golden["places"]);
    let group: Vec<u32> = of(&golden["group"]);
    let (known, new) = group.split_at(group.len() - HELD_OUT);
    let (mut distance, mut purity) = (0.0, 0.0);
    for seed in 0..10 {
        let config = UmapConfig::default().with_seed(Seed::new(seed));
        let map = Umap::from_embedding(places.clone(), &config).unwrap();
        let placed = map.transform(&neighbors, &NoProgress).unwrap();
        for ((row, _), &index) in neighbors.indices().indexed_iter() {
            let way = &placed.row(row) - &places.row(index as usize);
            distance += way.dot(&way).sqrt() / 6000.0;
        }
        let classifier =
            KnnClassifier::fit(places.view(), known, &KnnConfig::default().with_k(10)).unwrap();
        let told = classifier.predict(placed.view(), &NoProgress).unwrap();
        for (row, &label) in new.iter().enumerate() {
            purity += told.probabilities[[row, label as usize]] / 600.0;
        }
    }
    let theirs = |name: &str| {
        let runs = of_runs(&golden["new_rows"], name);
        assert_eq!(runs.len(), 10);
        runs.iter().sum::<f64>() / 10.0
    };
    let limit = 1.01 * theirs("distance_to_neighbors");
    assert!(distance <= limit, "{distance}, at most {limit}");
    let limit = 0.99 * theirs("purity");
    assert!(purity >= limit, "{purity}, at least {limit}");
}
