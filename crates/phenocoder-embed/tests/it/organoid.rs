//! The embedding of the subunits of two real wells, as the original makes it.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use phenocoder_core::{Categorical, CsrGraph, NoProgress, Seed};
use phenocoder_embed::batch::ridge_removal;
use phenocoder_embed::evaluate::trustworthiness;
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph, trim};
use phenocoder_embed::knn::{Metric, Neighbors, batch_balanced_neighbors, nearest_neighbors};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::scale::{NanPolicy, ScaleConfig, Scaler};
use phenocoder_embed::umap::{UmapConfig, cross_entropy, layout};
use phenocoder_testdata::{Csv, find, max_relative_error, read_npy};
use serde_json::Value;

use crate::golden::{coo, graph_difference, max_difference};

const ROWS: usize = 113;

fn golden(name: &str) -> Option<PathBuf> {
    find(&format!("organoid/golden/embedding_{name}"))
}

fn matrix(folder: &Path, name: &str) -> Array2<f64> {
    read_npy(&folder.join(name))
}

fn single(folder: &Path, name: &str) -> Array2<f64> {
    read_npy::<f32, ndarray::Ix2>(&folder.join(name)).mapv(f64::from)
}

fn wells(folder: &Path) -> Categorical {
    Categorical::from_labels(Csv::open(&folder.join("obs.csv")).text("well"))
}

/// Neighbours as a table of distances names them, zero distances included.
fn neighbors_of(distances: &CsrGraph) -> Neighbors {
    let k = distances.degree(0);
    let (mut indices, mut values) = (Array2::zeros((ROWS, k)), Array2::zeros((ROWS, k)));
    for row in 0..ROWS {
        let mut pairs: Vec<(usize, f64)> = distances.row(row).collect();
        assert_eq!(pairs.len(), k);
        pairs.sort_by(|a, b| a.1.total_cmp(&b.1));
        for (column, (index, distance)) in pairs.into_iter().enumerate() {
            indices[[row, column]] = index as u32;
            values[[row, column]] = distance;
        }
    }
    Neighbors::new(indices, values).unwrap()
}

#[test]
fn no_file_of_the_two_runs_is_left_out() {
    for (name, more) in [
        ("plain", vec![]),
        ("bbknn", vec!["X_explained.npy", "X_ridge_residual.npy"]),
    ] {
        let Some(folder) = golden(name) else { return };
        let mut expected = vec![
            "PCs.npy",
            "X_after.npy",
            "X_pca.npy",
            "X_raw.npy",
            "X_scaled.npy",
            "X_umap.npy",
            "connectivities_coo.csv",
            "distances_coo.csv",
            "neighbors_params.json",
            "obs.csv",
            "pca_variance.csv",
            "scale_params.csv",
            // Names of columns: nothing to compute.
            "var_names.csv",
        ];
        expected.extend(more);
        let mut found: Vec<String> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        expected.sort_unstable();
        found.sort();
        assert_eq!(found, expected, "{name}");
    }
}

/// The settings that the other tests take from the reference.
#[test]
fn neighbors_were_asked_for_as_the_reference_has_it() {
    for (name, count, detail) in [
        ("plain", "15", Value::Null),
        (
            "bbknn",
            "10",
            Value::from("{'trim': 100, 'computation': 'annoy', 'batch_key': 'well'}"),
        ),
    ] {
        let Some(folder) = golden(name) else { return };
        let text = std::fs::read_to_string(folder.join("neighbors_params.json")).unwrap();
        let settings: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(settings["n_neighbors"], count, "{name}");
        assert_eq!(settings["metric"], "euclidean", "{name}");
        assert_eq!(settings["bbknn"], detail, "{name}");
    }
}

/// Every stage takes what the one before it made here, not what the reference made.
#[test]
fn the_chain_from_the_statistics_reaches_the_graph_and_the_components_of_the_reference() {
    for name in ["plain", "bbknn"] {
        let Some(folder) = golden(name) else { return };
        let raw = matrix(&folder, "X_raw.npy");
        let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(raw.view(), &config).unwrap();
        let mut x = scaler.transform(raw.view()).unwrap();
        if name == "bbknn" {
            let result = ridge_removal(x.view(), &wells(&folder), &[], 1.0).unwrap();
            x = result.residual;
        }
        let error = max_difference(&x, &matrix(&folder, "X_after.npy"));
        assert!(error < 1e-10, "{name}: {error:e}");
        let pca = Pca::fit(x.view(), &PcaConfig::new(32)).unwrap();
        let scores = pca.transform(x.view()).unwrap();
        let error = max_difference(&scores, &single(&folder, "X_pca.npy"));
        assert!(error < 2e-5, "{name}: {error:e}");
        if name == "plain" {
            let metric = Metric::Euclidean;
            let neighbors = nearest_neighbors(scores.view(), 14, metric, &NoProgress).unwrap();
            let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default()).unwrap();
            let expected = coo(&folder.join("connectivities_coo.csv"), ROWS);
            let error = graph_difference(&graph, &expected);
            assert!(error < 1e-4, "{error:e}");
        }
    }
}

/// The reference holds one run of its map and not three.
#[test]
fn maps_of_both_runs_are_as_good_as_those_of_the_reference() {
    for name in ["plain", "bbknn"] {
        let Some(folder) = golden(name) else { return };
        let graph = coo(&folder.join("connectivities_coo.csv"), ROWS);
        let scores = single(&folder, "X_pca.npy");
        let curve = UmapConfig::default().curve().unwrap();
        let judged = |map: &Array2<f64>| {
            (
                cross_entropy(&graph, map.view(), curve, &NoProgress).unwrap(),
                trustworthiness(scores.view(), map.view(), 15, &NoProgress).unwrap(),
            )
        };
        let (least, trust) = judged(&single(&folder, "X_umap.npy"));
        for seed in 0..3 {
            let config = UmapConfig::default().with_seed(Seed::new(seed));
            let ours = judged(&layout(&graph, &config, &NoProgress).unwrap());
            assert!(ours.0 <= 1.05 * least, "{name} {seed}: {ours:?} {least}");
            assert!(ours.1 >= trust - 0.01, "{name} {seed}: {ours:?} {trust}");
        }
    }
}

#[test]
fn scaling_of_both_runs_is_reproduced() {
    for name in ["plain", "bbknn"] {
        let Some(folder) = golden(name) else { return };
        let raw = matrix(&folder, "X_raw.npy");
        let config = ScaleConfig::default().with_nan(NanPolicy::ColumnToZero);
        let scaler = Scaler::fit(raw.view(), &config).unwrap();
        let error = max_difference(
            &scaler.transform(raw.view()).unwrap(),
            &matrix(&folder, "X_scaled.npy"),
        );
        assert!(error < 1e-10, "{name}: {error:e}");
        let parameters = Csv::open(&folder.join("scale_params.csv"));
        assert!(max_relative_error(scaler.mean(), &parameters.floats("mean"), 1e-9) < 1e-10);
        assert!(max_relative_error(scaler.std(), &parameters.floats("std"), 1e-9) < 1e-10);
    }
}

#[test]
fn ridge_removal_of_the_well_is_reproduced() {
    let Some(folder) = golden("bbknn") else {
        return;
    };
    let scaled = matrix(&folder, "X_scaled.npy");
    let result = ridge_removal(scaled.view(), &wells(&folder), &[], 1.0).unwrap();
    let error = max_difference(&result.residual, &matrix(&folder, "X_ridge_residual.npy")).max(
        max_difference(&result.explained, &matrix(&folder, "X_explained.npy")),
    );
    assert!(error < 1e-10, "{error:e}");
}

#[test]
fn components_of_both_runs_are_reproduced_with_their_signs() {
    for name in ["plain", "bbknn"] {
        let Some(folder) = golden(name) else { return };
        let x = matrix(&folder, "X_after.npy");
        let pca = Pca::fit(x.view(), &PcaConfig::new(32)).unwrap();
        let expected = matrix(&folder, "PCs.npy");
        let error = max_difference(&pca.components().t().to_owned(), &expected);
        assert!(error < 1e-8, "{name}: {error:e}");
        let variance = Csv::open(&folder.join("pca_variance.csv"));
        let found = pca.explained_variance();
        assert!(
            max_relative_error(found, &variance.floats("variance"), 1e-9) < 1e-8,
            "{name}"
        );
        let ratio = pca.explained_variance_ratio();
        assert!(
            max_relative_error(&ratio, &variance.floats("variance_ratio"), 1e-9) < 1e-8,
            "{name}"
        );
        let error = max_difference(
            &pca.transform(x.view()).unwrap(),
            &single(&folder, "X_pca.npy"),
        );
        assert!(error < 2e-5, "{name} scores in single precision: {error:e}");
    }
}

#[test]
fn neighbors_and_weights_of_the_plain_run_are_reproduced() {
    let Some(folder) = golden("plain") else {
        return;
    };
    let scores = single(&folder, "X_pca.npy");
    let neighbors = nearest_neighbors(scores.view(), 14, Metric::Euclidean, &NoProgress).unwrap();
    let distances = neighbors.to_graph().unwrap();
    let expected = coo(&folder.join("distances_coo.csv"), ROWS);
    assert_eq!(distances.indices(), expected.indices());
    let error = graph_difference(&distances, &expected);
    assert!(error < 1e-4, "{error:e}");
    let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default()).unwrap();
    let error = graph_difference(&graph, &coo(&folder.join("connectivities_coo.csv"), ROWS));
    assert!(error < 1e-4, "{error:e}");
}

/// The reference searched approximately: its own neighbours must give its weights, and exact ones must be at least as
/// near.
#[test]
fn the_batch_balanced_graph_follows_from_the_neighbors_found() {
    let Some(folder) = golden("bbknn") else {
        return;
    };
    let distances = coo(&folder.join("distances_coo.csv"), ROWS);
    let theirs = neighbors_of(&distances);
    assert_eq!(theirs.k(), 9);
    let mut graph = trim(&fuzzy_graph(&theirs, &FuzzyConfig::default()).unwrap(), 100).unwrap();
    // Drawing the map with 500 epochs set weaker edges of the stored graph to zero: one of them here.
    let weak = graph.values().iter().filter(|&&w| w < 1.0 / 500.0).count();
    assert_eq!(weak, 2, "one edge in both directions");
    graph
        .values_mut()
        .iter_mut()
        .filter(|w| **w < 1.0 / 500.0)
        .for_each(|w| *w = 0.0);
    let error = graph_difference(&graph, &coo(&folder.join("connectivities_coo.csv"), ROWS));
    assert!(error < 1e-5, "{error:e}");
    let scores = single(&folder, "X_pca.npy");
    let ours = batch_balanced_neighbors(
        scores.view(),
        &wells(&folder),
        5,
        Metric::Euclidean,
        &NoProgress,
    )
    .unwrap();
    let (mut same, mut worst) = (0, 0.0_f64);
    for row in 0..ROWS {
        let mine: Vec<(usize, f64)> = ours.row(row).collect();
        for (i, (index, distance)) in theirs.row(row).enumerate() {
            same += usize::from(mine.iter().any(|pair| pair.0 == index));
            worst = worst.max(mine[i].1 - distance);
        }
    }
    assert!(
        worst < 1e-4,
        "exact neighbours are never farther: {worst:e}"
    );
    assert!(same * 100 >= ROWS * 9 * 98, "{same} neighbours agree");
}
