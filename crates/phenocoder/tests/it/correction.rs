//! Corrections of batches through the pipeline, on tables with planted latents that are written by hand.

use std::path::Path;

use ndarray::{Array2, Axis};
use phenocoder::Error;
use phenocoder::core::{Categorical, Column, NoProgress, Seed};
use phenocoder::embed::batch::{BatchEffect, CombatConfig, HarmonyConfig};
use phenocoder::embed::evaluate::mixing::{BatchReport, BatchReportConfig};
use phenocoder::io::{ContainerVersion, Matrix, Store, TableData, Uns, WriteMode};
use phenocoder::pipeline::{
    BatchCorrection, Checkpoints, ClusterConfig, ClusterReport, EmbeddingConfig, EmbeddingReport,
    EvaluationConfig, GraphConfig, HnswSearch, NeighborMethod, NeighborRows, PipelineConfig,
    RAW_LAYER, Representation, RunFiles, SCALED_LAYER, StoreKeys, cluster_cells, evaluate_batches,
    run, spatialgraph_embedding,
};
use phenocoder::spatial::summary::Mode;
use serde_json::Value;

use crate::small;
use crate::stop::{StopAt, StopAtOnce, StopIn};

/// Cells of both batches.
pub(crate) const CELLS: usize = 360;
/// The table.
pub(crate) const TABLE: &str = "latents";

/// Cells of up to three kinds, 6 apart, in two batches, of which the second lies 3 higher in two latents.
fn planted(folder: &Path, kind_of: impl Fn(usize) -> usize) -> Store {
    let is_second = |row: usize| row >= CELLS / 2;
    let mut stream = Seed::new(8).stream("cells", 0);
    let x = Array2::from_shape_fn((CELLS, 5), |(row, column)| {
        let shift = if is_second(row) && column < 2 {
            3.0
        } else {
            0.0
        };
        let center = if column == 2 + kind_of(row) { 6.0 } else { 0.0 };
        center + shift + stream.normal()
    });
    let labels = |of: &dyn Fn(usize) -> String| {
        Column::Categorical(Categorical::from_labels((0..CELLS).map(of)))
    };
    let names = |prefix: &str, n: usize| (0..n).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
    let data = TableData::new(names("cell_", CELLS), names("latent_", 5), Some(x.into()))
        .with_obs_column(
            "batch",
            labels(&|row| ["first", "second"][usize::from(is_second(row))].to_owned()),
        )
        .unwrap()
        .with_obs_column("kind", labels(&|row| format!("kind_{}", kind_of(row))))
        .unwrap();
    let mut store = Store::create(folder.join("store.zarr"), ContainerVersion::V02).unwrap();
    store.write_table(TABLE, &data, WriteMode::Create).unwrap();
    store
}

/// As many cells of each kind in either batch.
pub(crate) fn balanced(folder: &Path) -> Store {
    planted(folder, |row| row % 3)
}

fn corrections() -> [BatchCorrection; 5] {
    [
        BatchCorrection::Ridge { alpha: 1.0 },
        BatchCorrection::Combat(CombatConfig::default()),
        BatchCorrection::Center(BatchEffect::Mean),
        BatchCorrection::Center(BatchEffect::MeanAndVariance),
        BatchCorrection::Harmony(HarmonyConfig::default()),
    ]
}

fn is_harmony(correction: &BatchCorrection) -> bool {
    matches!(correction, BatchCorrection::Harmony(_))
}

/// Neighbours only.
fn graph() -> GraphConfig {
    GraphConfig::default().with_umap(None).with_leiden(None)
}

pub(crate) fn cells(correction: BatchCorrection) -> ClusterConfig {
    ClusterConfig::default()
        .with_table(TABLE)
        .with_batch_key(Some("batch".to_owned()))
        .with_balance_batches(false)
        .with_correction(correction)
        .with_graph(graph())
}

pub(crate) fn samples(correction: BatchCorrection) -> EmbeddingConfig {
    EmbeddingConfig::default()
        .with_table(TABLE)
        .with_batch_key(Some("batch".to_owned()))
        .with_correction(correction)
        .with_graph(graph())
}

/// By batch and kind, in this matrix.
fn evaluation(rows: &Representation) -> EvaluationConfig {
    EvaluationConfig::new(TABLE, "batch", "kind").with_rows(rows.clone())
}

fn measure(store: &Store, rows: &Representation) -> BatchReport {
    let measures = BatchReportConfig::default()
        .with_lisi_neighbors(29)
        .with_kbet_neighbors(29);
    let config = evaluation(rows).with_measures(measures);
    let found = evaluate_batches(store, &config, &NoProgress).unwrap();
    assert_eq!((found.rows, found.left_out), (CELLS, 0));
    found.measures
}

fn assert_mixed(before: &BatchReport, after: &BatchReport, what: &str) {
    let told = format!("{what}: {before:?} {after:?}");
    assert!(
        after.integration_lisi >= before.integration_lisi + 0.1,
        "{told}"
    );
    assert!(after.label_lisi >= before.label_lisi - 0.02, "{told}");
    assert!(after.batch_variance < before.batch_variance / 2.0, "{told}");
}

fn obsm(name: &str) -> Representation {
    Representation::Obsm(name.to_owned())
}

/// What the table says of its rows, which scanpy reads too.
pub(crate) fn rows(store: &Store) -> NeighborRows {
    let rows = NeighborRows::read(store, TABLE).unwrap();
    let table = store.table(TABLE).unwrap();
    let neighbors = table.read_entry("uns/neighbors").unwrap();
    let params = neighbors.get("params").unwrap();
    let named = params.get("use_rep").and_then(Uns::as_text).unwrap();
    match &rows.used {
        Representation::Obsm(entry) => assert_eq!(named, entry),
        _ => assert_eq!(named, "X"),
    }
    rows
}

/// Changes the table.
pub(crate) fn edit(store: &mut Store, change: impl Fn(TableData) -> TableData) {
    let data = change(store.table(TABLE).unwrap().read_all().unwrap());
    store.write_table(TABLE, &data, WriteMode::Replace).unwrap();
}

pub(crate) fn entries(store: &Store) -> Vec<String> {
    let mut keys = store.table(TABLE).unwrap().obsm_keys().unwrap();
    keys.sort_unstable();
    keys
}

fn x(store: &Store) -> Array2<f64> {
    let table = store.table(TABLE).unwrap();
    table.x().unwrap().unwrap().to_dense_f64().unwrap()
}

fn x_of(data: &TableData) -> Array2<f64> {
    data.x.as_ref().unwrap().to_dense_f64().unwrap()
}

#[test]
fn every_correction_mixes_the_batches_of_cells_and_leaves_the_latents() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let latents = x(&store);
    let before = measure(&store, &Representation::X);
    assert!(before.integration_lisi < 0.5, "{before:?}");
    for correction in corrections() {
        for components in [None, Some(4)] {
            let what = format!("{correction:?}, {components:?} components");
            let config = cells(correction.clone()).with_n_components(components);
            let report = cluster_cells(&mut store, &config, &NoProgress).unwrap();
            let (start, end) = match (components, is_harmony(&correction)) {
                (None, _) => (Representation::X, "X_corrected"),
                (Some(_), true) => (obsm("X_pca"), "X_pca_harmony"),
                (Some(_), false) => (Representation::X, "X_pca"),
            };
            let rows = rows(&store);
            assert_eq!((&rows.before, &rows.after), (&start, &obsm(end)), "{what}");
            assert_eq!((&rows.used, &rows.correction), (&rows.after, &correction));
            assert_eq!(rows.batch_key.as_deref(), Some("batch"));
            assert_mixed(&before, &measure(&store, &rows.after), &what);
            assert_eq!(report.neighbors, Some(rows));
            assert_eq!(x(&store), latents, "{what}");
        }
    }
}

#[test]
fn every_correction_mixes_the_batches_of_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let raw = x(&store);
    spatialgraph_embedding(&mut store, &samples(BatchCorrection::None), &NoProgress).unwrap();
    let (plain, scaled) = (rows(&store), x(&store));
    assert_eq!(
        (&plain.before, &plain.after),
        (&obsm("X_pca"), &obsm("X_pca"))
    );
    let before = measure(&store, &plain.used);
    for correction in corrections() {
        let what = format!("{correction:?}");
        let report =
            spatialgraph_embedding(&mut store, &samples(correction.clone()), &NoProgress).unwrap();
        let rows = rows(&store);
        let kept = Representation::Layer(SCALED_LAYER.to_owned());
        let (used, start, end) = match is_harmony(&correction) {
            true => ("X_pca_harmony", obsm("X_pca"), obsm("X_pca_harmony")),
            false => ("X_pca", kept, Representation::X),
        };
        assert_eq!(rows.used, obsm(used), "{what}");
        assert_eq!((&rows.before, &rows.after), (&start, &end), "{what}");
        assert_mixed(&before, &measure(&store, &rows.used), &what);
        let both = [&rows.before, &rows.after].map(|rows| measure(&store, rows));
        assert_mixed(&both[0], &both[1], &what);
        assert_eq!(report.neighbors, Some(rows), "{what}");

        let table = store.table(TABLE).unwrap();
        let layer = |name: &str| table.layer(name).unwrap().to_dense_f64().unwrap();
        assert_eq!(layer(RAW_LAYER), raw, "{what}");
        match is_harmony(&correction) {
            true => {
                assert_eq!(table.layers().unwrap(), [RAW_LAYER], "{what}");
                assert_eq!(x(&store), scaled, "{what}");
            }
            false => assert_eq!(layer(SCALED_LAYER), scaled, "{what}"),
        }
    }
    assert_eq!(entries(&store), ["X_pca", "X_pca_harmony"]);
    let ridge = samples(BatchCorrection::Ridge { alpha: 1.0 });
    spatialgraph_embedding(&mut store, &ridge, &NoProgress).unwrap();
    assert_eq!(entries(&store), ["X_pca"], "what is no longer made");
    let clusters = cells(BatchCorrection::None).with_layer(Some(SCALED_LAYER.to_owned()));
    cluster_cells(&mut store, &clusters, &NoProgress).unwrap();
    let layers = store.table(TABLE).unwrap().layers().unwrap();
    assert_eq!(layers, [RAW_LAYER, SCALED_LAYER], "what another step made");
}

#[test]
fn without_a_batch_column_statistics_are_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let mut pca = |config: &EmbeddingConfig| {
        spatialgraph_embedding(&mut store, config, &NoProgress).unwrap();
        store.table(TABLE).unwrap().obsm("X_pca").unwrap()
    };
    let none = pca(&samples(BatchCorrection::None));
    assert_eq!(
        pca(&samples(BatchCorrection::Ridge { alpha: 1.0 }).with_batch_key(None)),
        none
    );
    assert_ne!(pca(&samples(BatchCorrection::Ridge { alpha: 1.0 })), none);
}

#[test]
fn a_layer_is_named_where_nothing_was_made_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    edit(&mut store, |data| {
        let latents = data.x.clone().unwrap();
        data.with_layer("smooth", latents)
    });
    let smooth = Representation::Layer("smooth".to_owned());
    let config = cells(BatchCorrection::None).with_layer(Some("smooth".to_owned()));
    cluster_cells(&mut store, &config, &NoProgress).unwrap();
    let plain = rows(&store);
    assert_eq!((&plain.used, &plain.before), (&smooth, &smooth));
    assert_eq!(
        (plain.correction, plain.batch_key),
        (BatchCorrection::None, None)
    );
    let centering = BatchCorrection::Center(BatchEffect::Mean);
    cluster_cells(&mut store, &config.with_correction(centering), &NoProgress).unwrap();
    assert_eq!(rows(&store).before, smooth);
}

#[test]
fn reports_of_earlier_versions_are_read() {
    let old = r#"{"cells": 9, "clusters": [5, 4], "quality": 0.5}"#;
    let report: ClusterReport = serde_json::from_str(old).unwrap();
    assert_eq!((report.cells, report.neighbors), (9, None));
    let old = r#"{"table": "t", "rows": 4, "empty_columns": 0, "imputed": 0, "explained_variance_ratio": [1.0],
        "groups": [4]}"#;
    let report: EmbeddingReport = serde_json::from_str(old).unwrap();
    assert_eq!((report.rows, report.neighbors), (4, None));
}

#[test]
fn whoever_stops_a_correction_or_the_neighbours_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let harmony = cells(BatchCorrection::Harmony(HarmonyConfig::default()));
    let reduced = harmony.clone().with_n_components(Some(2));
    let even = harmony.clone().with_balance_batches(true);
    let ridge = cells(BatchCorrection::Ridge { alpha: 1.0 });
    let combat = cells(BatchCorrection::Combat(CombatConfig::default()));
    let means = cells(BatchCorrection::Center(BatchEffect::Mean));
    for (stage, config) in [
        ("Harmony", &harmony),
        ("neighbours", &harmony),
        ("trimmed graph", &even),
        ("principal components", &reduced),
        ("ridge removal", &ridge),
        ("ComBat", &combat),
        ("centring of batches", &means),
    ] {
        let stopped = cluster_cells(&mut store, config, &StopAt::new(stage));
        assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
    }
    let config = evaluation(&Representation::X);
    for stage in [
        "neighbours",
        "connectivity of labels",
        "variance between batches",
    ] {
        let stopped = evaluate_batches(&store, &config, &StopAt::new(stage));
        assert!(matches!(stopped, Err(Error::Cancelled(_))), "{stopped:?}");
    }
    assert!(entries(&store).is_empty(), "nothing was written");
}

#[test]
fn kinds_that_batches_hold_unevenly_stay_apart_where_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let kind_of = |row: usize| match row < CELLS / 2 {
        true => [0, 0, 0, 1][row % 4],
        false => [1, 1, 1, 0][row % 4],
    };
    let mut store = planted(folder.path(), kind_of);
    // The distance of the kinds in the latent that tells the first one.
    let mut gap = |correction: &BatchCorrection, kept: &[&str]| {
        let config = cells(correction.clone()).with_confounder_keys(kept.iter().copied());
        cluster_cells(&mut store, &config, &NoProgress).unwrap();
        let rows = store.table(TABLE).unwrap().obsm("X_corrected").unwrap();
        let mean = |kind: usize| {
            let values = (0..CELLS).filter(|&row| kind_of(row) == kind);
            let values: Vec<f64> = values.map(|row| rows[[row, 2]]).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        mean(0) - mean(1)
    };
    let means = CombatConfig::default().with_effect(BatchEffect::Mean);
    for correction in [
        BatchCorrection::Combat(means),
        BatchCorrection::Ridge { alpha: 1.0 },
    ] {
        let (without, with) = (gap(&correction, &[]), gap(&correction, &["kind"]));
        assert!(
            without < 5.2 && with > 5.5,
            "{correction:?}: {without} {with}"
        );
    }
}

#[test]
fn batches_are_balanced_among_neighbors_unless_that_is_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let mut neighbors = |config: &ClusterConfig| {
        cluster_cells(&mut store, config, &NoProgress).unwrap();
        let table = store.table(TABLE).unwrap();
        table.obsp("distances").unwrap().degree(0)
    };
    let config = cells(BatchCorrection::None);
    assert_eq!(neighbors(&config), 14);
    assert_eq!(neighbors(&config.with_balance_batches(true)), 5);
    assert!(ClusterConfig::default().balance_batches);
}

#[test]
fn a_corrected_table_has_the_same_bits_twice_and_on_any_number_of_threads() {
    let on = |threads: usize| {
        small::on_threads(threads, || {
            let folder = tempfile::tempdir().unwrap();
            let mut store = balanced(folder.path());
            let harmony = BatchCorrection::Harmony(HarmonyConfig::default());
            let config = cells(harmony.with_seed(Seed::new(2)))
                .with_n_components(Some(4))
                .with_graph(GraphConfig::default());
            cluster_cells(&mut store, &config, &NoProgress).unwrap();
            store.table(TABLE).unwrap().read_all().unwrap()
        })
    };
    let one = on(1);
    assert!(one.obsm.contains_key("X_pca_harmony"));
    assert!(one == on(1), "a second time");
    assert!(one == on(4), "four threads");
}

#[test]
fn every_step_has_chance_of_its_own() {
    let mut config = PipelineConfig::new(StoreKeys::new("cells", "sample", "image"));
    let harmony = BatchCorrection::Harmony(HarmonyConfig::default());
    config.cluster = config.cluster.with_correction(harmony.clone());
    config.embedding = config.embedding.with_correction(harmony.clone());
    let config = config.with_seed(Seed::new(4));
    assert_ne!(config.cluster.correction, harmony);
    assert_ne!(config.embedding.correction, harmony);
    assert_ne!(config.cluster.correction, config.embedding.correction);
}

/// What a `config.json` of an earlier version held for both steps.
const OLD_CLUSTER: &str = r#"{
    "table": "phenocoder", "layer": null, "n_components": null, "batch_key": "batch",
    "column": "phenocoder_cluster",
    "graph": {"n_neighbors": 15, "metric": "euclidean", "within_batch": 3, "umap": null, "leiden": null}
}"#;
const OLD_EMBEDDING: &str = r#"{
    "table": "phenocoder_samples",
    "scale": {"center": true, "max_value": null, "nan": "impute_mean"},
    "batch_key": "batch", "confounder_keys": ["condition"], "ridge_alpha": 0.5, "balance_batches": false,
    "n_components": 32, "column": "phenocoder_group",
    "graph": {"n_neighbors": 15, "metric": "euclidean", "within_batch": 3, "umap": null, "leiden": null}
}"#;

#[test]
fn settings_of_earlier_runs_are_read() {
    let batch = Some("batch".to_owned());
    let cluster: ClusterConfig = serde_json::from_str(OLD_CLUSTER).unwrap();
    let expected = ClusterConfig::default()
        .with_batch_key(batch.clone())
        .with_graph(graph());
    assert_eq!(cluster, expected);
    let embedding: EmbeddingConfig = serde_json::from_str(OLD_EMBEDDING).unwrap();
    let expected = EmbeddingConfig::default()
        .with_batch_key(batch)
        .with_confounder_keys(["condition"])
        .with_correction(BatchCorrection::Ridge { alpha: 0.5 })
        .with_graph(graph());
    assert_eq!(embedding, expected);
    let text = serde_json::to_string(&embedding).unwrap();
    assert!(
        text.contains(r#""correction":{"ridge":{"alpha":0.5}}"#),
        "{text}"
    );
    assert_eq!(
        serde_json::from_str::<EmbeddingConfig>(&text).unwrap(),
        embedding
    );

    let read = |text: &str| serde_json::from_str::<EmbeddingConfig>(text);
    let default = read("{}").unwrap();
    assert_eq!(default.correction, BatchCorrection::Ridge { alpha: 1.0 });
    assert!(read(r#"{"ridge_alpha": 1.0, "correction": "none"}"#).is_err());
    // A number is a penalty where earlier settings had it, and no correction.
    let integer = read(r#"{"ridge_alpha": 2}"#).unwrap();
    assert_eq!(integer.correction, BatchCorrection::Ridge { alpha: 2.0 });
    for number in ["5", "0.5", "null"] {
        let text = format!(r#"{{"correction": {number}}}"#);
        assert!(read(&text).is_err(), "{text}");
    }
    let message = read(r#"{"correction": {"ridgge": {"alpha": 1.0}}}"#).unwrap_err();
    assert!(message.to_string().contains("ridgge"), "{message}");
}

#[test]
fn a_stopped_run_with_settings_of_an_earlier_version_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    config.train = config.train.with_checkpoints(Checkpoints::Resume);
    let out = folder.path().join("out");
    run(&mut store, &config, &out, &StopIn::new("train", 12)).unwrap_err();
    let file = RunFiles::new(&out).config;
    let mut old: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let embedding = old["embedding"].as_object_mut().unwrap();
    assert!(embedding.shift_remove("correction").is_some());
    let cluster = old["cluster"].as_object_mut().unwrap();
    for new in ["confounder_keys", "correction", "balance_batches"] {
        assert!(cluster.shift_remove(new).is_some(), "{new}");
    }
    let mut begin_with = |alpha: f64| {
        old["embedding"]["ridge_alpha"] = Value::from(alpha);
        std::fs::write(&file, old.to_string()).unwrap();
    };
    begin_with(2.0);
    let refused = run(&mut store, &config, &out, &NoProgress).unwrap_err();
    let message = refused.to_string();
    assert!(message.contains("embedding.correction"), "{message}");
    begin_with(1.0);
    run(&mut store, &config, &out, &NoProgress).unwrap();
}

#[test]
fn a_correction_without_batches_names_the_field() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let ridge = cells(BatchCorrection::Ridge { alpha: 1.0 });
    let error = cluster_cells(&mut store, &ridge.clone().with_batch_key(None), &NoProgress);
    let message = error.unwrap_err().to_string();
    assert!(
        message.starts_with("cluster_cells: `batch_key`"),
        "{message}"
    );

    let mut config = PipelineConfig::new(StoreKeys::new("cells", "sample", "image"));
    config.cluster = config
        .cluster
        .with_correction(BatchCorrection::Ridge { alpha: 1.0 });
    let message = config.validate().unwrap_err().to_string();
    assert!(
        message.starts_with("cluster_cells: `batch_key`"),
        "{message}"
    );

    // Of samples a ridge is the default, which corrects for nothing where no batch is named.
    let kept = samples(BatchCorrection::Ridge { alpha: 1.0 }).with_confounder_keys(["kind"]);
    for config in [
        samples(BatchCorrection::Ridge { alpha: 2.0 }),
        samples(BatchCorrection::Harmony(HarmonyConfig::default())),
        kept,
    ] {
        config.validate().unwrap();
        let message = config.with_batch_key(None).validate().unwrap_err();
        let message = message.to_string();
        assert!(
            message.starts_with("spatialgraph_embedding: `batch_key`"),
            "{message}"
        );
    }

    let nowhere = ridge.with_batch_key(Some("donor".to_owned()));
    let error = cluster_cells(&mut store, &nowhere, &NoProgress).unwrap_err();
    assert!(error.to_string().contains("donor"), "{error}");
    assert!(entries(&store).is_empty(), "nothing was written");
}

#[test]
fn a_cell_without_batch_is_named_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let some = |n: usize| {
        let labels = (0..n).map(|row| (row != 5).then_some(["a", "b"][row % 2]));
        Column::Categorical(Categorical::from_optional_labels(labels))
    };
    edit(&mut store, |data| {
        data.with_obs_column("some", some(CELLS)).unwrap()
    });
    let batch = || Some("some".to_owned());
    let harmony = BatchCorrection::Harmony(HarmonyConfig::default());
    let ridge = BatchCorrection::Ridge { alpha: 1.0 };
    let kept = cells(ridge.clone()).with_confounder_keys(["some"]);
    let of_cells = [cells(harmony).with_batch_key(batch()), kept];
    let mut refused: Vec<String> = Vec::new();
    for config in of_cells {
        let error = cluster_cells(&mut store, &config, &NoProgress).unwrap_err();
        refused.push(error.to_string());
    }
    let of_samples = samples(ridge).with_batch_key(batch());
    let error = spatialgraph_embedding(&mut store, &of_samples, &NoProgress).unwrap_err();
    refused.push(error.to_string());
    for message in refused {
        let words = "`obs/some` is missing for row 5 of table `latents`";
        assert!(message.contains(words), "{message}");
    }

    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut tissue = small::open(&path);
    let data = tissue.table("cells").unwrap().read_all().unwrap();
    let n = data.n_obs();
    let data = data.with_obs_column("some", some(n)).unwrap();
    tissue
        .write_table("cells", &data, WriteMode::Replace)
        .unwrap();
    let mut config = small::config(keys);
    config.cluster.batch_key = batch();
    let out = folder.path().join("out");
    let error = run(&mut tissue, &config, &out, &NoProgress).unwrap_err();
    let words = "`obs/some` is missing for row 5 of table `cells`";
    assert!(error.to_string().contains(words), "{error}");
    assert!(!out.exists(), "nothing was begun");
}

#[test]
fn batches_of_samples_are_counted_beforehand_unless_samples_may_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    config.embedding = config
        .embedding
        .with_batch_key(Some("batch".to_owned()))
        .with_balance_batches(true);
    // Each batch has four samples.
    config.embedding.graph.within_batch = 5;
    let out = folder.path().join("out");
    let refused = run(&mut store, &config, &out, &NoProgress).unwrap_err();
    let message = refused.to_string();
    assert!(message.contains("`obs/batch`"), "{message}");
    assert!(!out.exists(), "nothing was begun");
    config.samples.statistics.mode = Mode::Compat;
    let stopped = run(&mut store, &config, &out, &StopAtOnce::default()).unwrap_err();
    assert!(matches!(stopped, Error::Cancelled(_)), "{stopped}");
    assert!(out.exists(), "it was begun");
    let out = folder.path().join("other");
    config.samples.statistics.mode = Mode::Default;
    config.embedding.graph.within_batch = 4;
    // The ridge that is tried beforehand shows nothing of its own.
    run(&mut store, &config, &out, &StopAtOnce::default()).unwrap_err();
    assert!(out.exists(), "it was begun");
}

#[test]
fn a_batch_that_is_too_small_is_named_with_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let lonely = (0..CELLS).map(|row| if row == 0 { "alone" } else { "rest" });
    let lonely = Column::Categorical(Categorical::from_labels(lonely));
    edit(&mut store, |data| {
        data.with_obs_column("day", lonely.clone()).unwrap()
    });
    let day = Some("day".to_owned());
    for config in [
        cells(BatchCorrection::Combat(CombatConfig::default())),
        cells(BatchCorrection::None).with_balance_batches(true),
    ] {
        let config = config.with_batch_key(day.clone());
        let error = cluster_cells(&mut store, &config, &NoProgress).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("cluster_cells: `obs/day` of table `latents`: batch `alone`"),
            "{message}"
        );
    }
}

#[test]
fn confounders_that_cannot_be_kept_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    for correction in corrections() {
        let keeps = matches!(
            correction,
            BatchCorrection::Ridge { .. } | BatchCorrection::Combat(_)
        );
        let config = cells(correction.clone()).with_confounder_keys(["kind"]);
        let found = cluster_cells(&mut store, &config, &NoProgress);
        assert_eq!(found.is_ok(), keeps, "{correction:?}");
        let config = samples(correction.clone()).with_confounder_keys(["kind"]);
        let found = spatialgraph_embedding(&mut store, &config, &NoProgress);
        assert_eq!(found.is_ok(), keeps, "{correction:?}");
    }
    // Nothing is taken away, so nothing is to be kept.
    let none = cells(BatchCorrection::None).with_confounder_keys(["kind"]);
    let message = none.validate().unwrap_err().to_string();
    assert!(message.contains("`confounder_keys`"), "{message}");
    let none = samples(BatchCorrection::None).with_confounder_keys(["kind"]);
    let message = none.validate().unwrap_err().to_string();
    assert!(message.contains("`confounder_keys`"), "{message}");
}

#[test]
fn an_approximate_search_goes_with_a_correction_where_batches_are_not_balanced() {
    let mut config = small::config(StoreKeys::new("cells", "sample", "image"));
    let search = NeighborMethod::Hnsw(HnswSearch::default());
    config.cluster = cells(BatchCorrection::Harmony(HarmonyConfig::default()))
        .with_table("phenocoder")
        .with_graph(GraphConfig::default().with_search(search));
    config.validate().unwrap();
    config.cluster = config.cluster.with_balance_batches(true);
    let refused = config.validate().unwrap_err().to_string();
    assert!(refused.contains("`cluster.graph.search`"), "{refused}");
}

#[test]
fn a_confounder_that_is_the_batch_is_refused_by_combat_and_by_the_measures() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = planted(folder.path(), |row| usize::from(row >= CELLS / 2));
    let combat = BatchCorrection::Combat(CombatConfig::default());
    let config = cells(combat).with_confounder_keys(["kind"]);
    let error = cluster_cells(&mut store, &config, &NoProgress).unwrap_err();
    let words = "`obs/kind` of table `latents` follows from `obs/batch`";
    assert!(error.to_string().contains(words), "{error}");
    let error = refused(&store, TABLE, &Representation::X, "kind");
    assert!(error.contains("labels with two batches"), "{error}");
}

/// The message of an evaluation that cannot be.
fn refused(store: &Store, table: &str, rows: &Representation, label_key: &str) -> String {
    let config = EvaluationConfig::new(table, "batch", label_key).with_rows(rows.clone());
    let found = evaluate_batches(store, &config, &NoProgress);
    found.unwrap_err().to_string()
}

#[test]
fn what_cannot_be_measured_names_table_and_entry() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let nowhere = Representation::Obsm("X_nowhere".to_owned());
    for (message, words) in [
        (
            refused(&store, "cells", &Representation::X, "kind"),
            ["cells", ""],
        ),
        (refused(&store, TABLE, &nowhere, "kind"), ["X_nowhere", ""]),
        (
            refused(&store, TABLE, &Representation::X, "type"),
            ["type", ""],
        ),
        (
            refused(
                &store,
                TABLE,
                &Representation::Layer("smooth".to_owned()),
                "kind",
            ),
            ["smooth", ""],
        ),
        // Labels of which each has one batch.
        (
            refused(&store, TABLE, &Representation::X, "batch"),
            ["`X`", "`latents`"],
        ),
    ] {
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    }

    let mut data = store.table(TABLE).unwrap().read_all().unwrap();
    let mut broken = x(&store);
    broken[[7, 1]] = f64::NAN;
    data.x = Some(Matrix::from(broken));
    let kinds = (0..CELLS).map(|row| (row != 4).then(|| format!("kind_{}", row % 3)));
    let some = Column::Categorical(Categorical::from_optional_labels(kinds));
    let data = data.with_obs_column("some", some).unwrap();
    store.write_table(TABLE, &data, WriteMode::Replace).unwrap();
    let message = refused(&store, TABLE, &Representation::X, "kind");
    assert!(
        message.contains("`X` of table `latents`") && message.contains("row 7, column 1"),
        "{message}"
    );
    // Rows are those of the table where others were left out before them.
    let message = refused(&store, TABLE, &Representation::X, "some");
    assert!(message.contains("row 7, column 1"), "{message}");

    let measures = BatchReportConfig::default().with_kbet_neighbors(0);
    let config = evaluation(&Representation::X).with_measures(measures);
    let found = evaluate_batches(&store, &config, &NoProgress);
    assert!(matches!(found, Err(Error::Embed(_))), "{found:?}");
    let unnamed = refused(&store, TABLE, &Representation::X, "");
    assert!(unnamed.contains("`label_key` must be a name"), "{unnamed}");
}

#[test]
fn rows_without_batch_or_label_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = balanced(folder.path());
    let config = evaluation(&Representation::X);
    let all = evaluate_batches(&store, &config, &NoProgress).unwrap();
    // Rows that would change everything, if they were looked at.
    edit(&mut store, |data| {
        let (mut latents, mut names) = (x_of(&data), data.obs_names.clone());
        let far = Array2::from_elem((3, latents.ncols()), 1e6);
        latents.append(Axis(0), far.view()).unwrap();
        names.extend(["far_0", "far_1", "far_2"].map(str::to_owned));
        let labels = |of: &dyn Fn(usize) -> String, missing: usize| {
            let labels = (0..CELLS + 3).map(|row| (row < CELLS + missing).then(|| of(row)));
            Column::Categorical(Categorical::from_optional_labels(labels))
        };
        let batch = |row: usize| ["first", "second"][usize::from(row >= CELLS / 2)].to_owned();
        TableData::new(names, data.var_names, Some(latents.into()))
            .with_obs_column("batch", labels(&batch, 1))
            .unwrap()
            .with_obs_column("kind", labels(&|row| format!("kind_{}", row % 3), 0))
            .unwrap()
    });
    let found = evaluate_batches(&store, &config, &NoProgress).unwrap();
    assert_eq!((found.rows, found.left_out), (CELLS, 3));
    assert_eq!(found.measures, all.measures);
}
