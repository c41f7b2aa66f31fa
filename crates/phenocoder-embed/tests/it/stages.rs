//! The stages of an embedding on points in space and on a degenerate set, against scanpy 1.12.4, scikit-learn 1.9.1,
//! umap-learn 0.5.12 and pandas, and maps of larger sets of both kinds: `tests/data/make_chain.py`.

use ndarray::{Array2, Axis};
use phenocoder_core::{Categorical, CsrGraph, NoProgress};
use phenocoder_embed::batch::{BatchEffect, center, ridge_removal};
use phenocoder_embed::evaluate::{LinearConfig, linear_predictability, trustworthiness};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph, trim};
use phenocoder_embed::knn::{Metric, batch_balanced_neighbors, nearest_neighbors};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::scale::{NanPolicy, ScaleConfig, Scaler};
use phenocoder_embed::umap::{UmapConfig, cross_entropy};
use serde_json::Value;

use crate::golden::{
    assert_all_or_missing, assert_maps_as_good, graph_difference, matrix, max_difference, of,
    undirected,
};

const COMPONENTS: usize = 4;

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/chain.json")).unwrap()
}

fn on_sets(golden: &Value, check: impl Fn(&str, &Value)) {
    for name in ["space", "degenerate"] {
        check(name, &golden[name]);
    }
}

/// The rows of a set, with NaN for a gap.
fn rows(set: &Value) -> Array2<f64> {
    let rows: Vec<Vec<Option<f64>>> = of(&set["x"]);
    let shape = (rows.len(), rows[0].len());
    let values = rows.concat().into_iter().map(|v| v.unwrap_or(f64::NAN));
    Array2::from_shape_vec(shape, values.collect()).unwrap()
}

fn labels(set: &Value, name: &str) -> Categorical {
    let codes: Vec<u32> = of(&set[name]);
    Categorical::from_labels(codes.iter().map(u32::to_string))
}

fn scaled(set: &Value) -> Array2<f64> {
    let x = rows(set);
    let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
    let scaler = Scaler::fit(x.view(), &config).unwrap();
    scaler.transform(x.view()).unwrap()
}

/// Components of what ours leaves of the batches, with the scores of its rows.
fn components(set: &Value) -> (Array2<f64>, Pca, Array2<f64>) {
    let scaled = scaled(set);
    let (batch, kind) = (labels(set, "batch"), labels(set, "kind"));
    let residual = ridge_removal(scaled.view(), &batch, &[&kind], 1.0, &NoProgress)
        .unwrap()
        .residual;
    let pca = Pca::fit(residual.view(), &PcaConfig::new(COMPONENTS)).unwrap();
    let scores = pca.transform(residual.view()).unwrap();
    (residual, pca, scores)
}

fn graph_of(scores: &Array2<f64>) -> CsrGraph {
    let near = nearest_neighbors(scores.view(), 9, Metric::Euclidean, &NoProgress).unwrap();
    fuzzy_graph(&near, &FuzzyConfig::default(), &NoProgress).unwrap()
}

#[test]
fn components_of_what_is_left_of_batches_and_scores_of_new_rows_are_those_of_the_peers() {
    on_sets(&golden(), |name, set| {
        let error = max_difference(&scaled(set), &matrix(&set["scaled"]));
        assert!(error < 1e-10, "{name}: {error:e}");
        let (residual, pca, _) = components(set);
        let error = max_difference(&residual, &matrix(&set["residual"]));
        assert!(error < 1e-10, "{name}: {error:e}");
        let found = pca.components().to_owned();
        let error = max_difference(&found, &matrix(&set["components"]));
        assert!(error < 1e-8, "{name}: {error:e}");
        assert_all_or_missing(pca.explained_variance(), &set["variance"], 1e-10);
        assert_all_or_missing(&pca.explained_variance_ratio(), &set["ratio"], 1e-10);
        let new = pca.transform(matrix(&set["new"]).view()).unwrap();
        let error = max_difference(&new, &matrix(&set["scores_of_new"]));
        assert!(error < 1e-8, "{name}: {error:e}");
    });
}

#[test]
fn distances_to_the_nearest_rows_are_those_of_scikit_learn() {
    on_sets(&golden(), |name, set| {
        let (_, _, scores) = components(set);
        for (metric, expected) in [
            (Metric::Euclidean, "euclidean_distances"),
            (Metric::Cosine, "cosine_distances"),
        ] {
            let near = nearest_neighbors(scores.view(), 5, metric, &NoProgress).unwrap();
            let found = near.distances().to_owned();
            // There, a squared distance or a cosine is a difference of larger numbers: near 0 it is rounding.
            let expected = matrix(&set[expected]);
            for (found, expected) in found.iter().zip(&expected) {
                let error = (found - expected).abs();
                let same = error < 1e-8 || found.max(*expected) < 1e-6;
                assert!(same, "{name} {metric:?}: {found} {expected}");
            }
        }
    });
}

#[test]
fn weights_of_plain_and_balanced_neighbors_are_those_of_umap_learn() {
    on_sets(&golden(), |name, set| {
        let (_, _, scores) = components(set);
        let n = scores.nrows();
        let graph = graph_of(&scores);
        let batch = labels(set, "batch");
        let metric = Metric::Euclidean;
        let near = batch_balanced_neighbors(scores.view(), &batch, 3, metric, &NoProgress).unwrap();
        let balanced = fuzzy_graph(&near, &FuzzyConfig::default(), &NoProgress).unwrap();
        for (stage, found) in [
            ("graph", &graph),
            ("balanced", &trim(&balanced, 90, &NoProgress).unwrap()),
            ("trimmed", &trim(&balanced, 5, &NoProgress).unwrap()),
        ] {
            let error = graph_difference(found, &undirected(n, of(&set[stage])));
            assert!(error < 1e-4, "{name} {stage}: {error:e}");
        }
    });
}

#[test]
fn maps_are_judged_as_by_the_peers() {
    on_sets(&golden(), |name, set| {
        let (_, _, scores) = components(set);
        let graph = graph_of(&scores);
        let curve = UmapConfig::default().curve().unwrap();
        let map = matrix(&set["map"]);
        let expected = set["cross_entropy_of_map"].as_f64().unwrap();
        let found = cross_entropy(&graph, map.view(), curve, &NoProgress).unwrap();
        // Weights differ by the tolerance of the search for their scale.
        assert!(
            (found / expected - 1.0).abs() < 1e-4,
            "{name}: {found} {expected}"
        );
        // Equal rows have their ranks in any order there.
        if name == "space" {
            let found = [1, 5, 20]
                .map(|k| trustworthiness(scores.view(), map.view(), k, &NoProgress).unwrap());
            assert_all_or_missing(&found, &set["trust_of_map"], 1e-10);
        }
    });
}

#[test]
fn maps_are_as_good_as_those_of_umap_learn() {
    let golden: Value = serde_json::from_str(include_str!("../data/chain_maps.json")).unwrap();
    on_sets(&golden, |name, set| {
        let (_, _, scores) = components(set);
        let graph = graph_of(&scores);
        let trust: Vec<f64> = of(&set["trust"]);
        assert_eq!((scores.nrows(), trust.len()), (300, 5));
        let (config, entropies) = (UmapConfig::default(), of(&set["cross_entropies"]));
        assert_maps_as_good(name, &graph, &scores, &config, entropies, &trust);
    });
}

#[test]
fn batches_of_one_spread_filled_gaps_and_numbers_told_are_those_of_the_peers() {
    let golden = golden();
    let space = &golden["space"];
    let x = rows(space);
    let batch = labels(space, "batch");
    let found = center(x.view(), &batch, BatchEffect::MeanAndVariance, &NoProgress).unwrap();
    let error = max_difference(&found, &matrix(&space["of_one_spread"]));
    assert!(error < 1e-10, "{error:e}");
    let (_, _, scores) = components(space);
    let (told, by) = (
        x.slice(ndarray::s![.., 2..5]),
        scores.slice(ndarray::s![.., ..2]),
    );
    let cases = space["predictable"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for case in cases {
        // Every row is a fold, so that the order of rows does not matter.
        let config = LinearConfig::default()
            .with_folds(x.len_of(Axis(0)))
            .with_ridge(case["penalty"].as_f64().unwrap());
        let found = linear_predictability(by, told, &config, &NoProgress).unwrap();
        let expected = case["value"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-8, "{found} {expected}");
    }
    let x = rows(&golden["degenerate"]);
    let config = ScaleConfig::default().with_nan(NanPolicy::ImputeMean);
    let scaler = Scaler::fit(x.view(), &config).unwrap();
    let filled = scaler.transform(x.view()).unwrap();
    assert_all_or_missing(
        &filled.column(7).to_vec(),
        &golden["degenerate"]["filled"],
        1e-10,
    );
}
