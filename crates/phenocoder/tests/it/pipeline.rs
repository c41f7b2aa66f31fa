//! All six steps on small tissue.

use std::collections::BTreeMap;
use std::path::Path;

use phenocoder::core::{CancelToken, NoProgress, Progress};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::io::{Matrix, PatchSet, TableData, WriteMode};
use phenocoder::pipeline::figures::FigureConfig;
use phenocoder::pipeline::{
    Checkpoints, DatasetManifest, EncodeConfig, PipelineConfig, RAW_LAYER, RunFiles,
    SMOOTHED_LAYER, SmoothingConfig, cluster_cells, encode, fit, generate_dataset, run,
    spatialgraph_embedding, spatialgraph_stats,
};
use phenocoder::report::ReportConfig;
use phenocoder::report::figures::draw;
use phenocoder::spatial::subunits::SubunitConfig;
use sha2::{Digest as _, Sha256};

use crate::small;
use crate::stop::{StopAfter, StopIn};

#[test]
fn all_six_steps_leave_complete_tables() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys).with_subunits(SubunitConfig::new(40.0).with_min_obs(4));
    config.encode = config
        .encode
        .with_smoothing(Some(SmoothingConfig::new(15.0)));
    let out = folder.path().join("out");
    let report = run(&mut store, &config, &out, &NoProgress).unwrap();
    assert_eq!((report.dataset.patches, report.encode.cells), (320, 320));
    assert_eq!(report.fit.train + report.fit.validation, 320);
    assert_eq!(report.samples.units, 8);

    let store = small::open(&path);
    let cells = store.table("phenocoder").unwrap();
    let input = store.table("cells").unwrap();
    assert_eq!(cells.obs_names().unwrap(), input.obs_names().unwrap());
    assert_eq!(cells.annotation(), input.annotation());
    assert_eq!(cells.var_names().unwrap()[3], "phc_latent_4");
    assert_eq!(
        cells.obsm("spatial").unwrap(),
        input.obsm("spatial").unwrap()
    );
    assert_eq!(cells.obsm("X_umap").unwrap().dim(), (320, 2));
    assert_eq!(cells.layers().unwrap(), [SMOOTHED_LAYER]);
    assert_eq!(cells.obsp("connectivities").unwrap().n_nodes(), 320);
    let clusters = cells
        .obs_column("phenocoder_cluster")
        .unwrap()
        .to_categorical();
    assert_eq!(clusters.counts(), report.cluster.clusters);

    let samples = store.table("phenocoder_samples").unwrap();
    let conditions = samples.obs_column("condition").unwrap().to_categorical();
    assert_eq!(conditions.counts(), [4, 4]);
    assert!(
        samples
            .var_names()
            .unwrap()
            .iter()
            .all(|name| name.starts_with("radius:15_stat:"))
    );

    let subunits = store.table("phenocoder_subunits").unwrap();
    let raw = subunits.layer(RAW_LAYER).unwrap().to_dense_f64().unwrap();
    assert!(
        raw.iter().any(|v| v.is_nan()),
        "what is not defined stays missing"
    );
    let x = subunits.x().unwrap().unwrap().to_dense_f64().unwrap();
    assert!(x.iter().all(|v| v.is_finite()));
    assert_eq!(
        subunits.obsm("X_umap").unwrap().nrows(),
        report.embedding.unwrap().rows
    );
}

#[test]
fn the_patch_set_says_how_it_was_made() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let config = small::config(keys);
    let out = folder.path().join("patches.zarr");
    let store = small::open(&path);
    generate_dataset(&store, &config.dataset, &out, &NoProgress).unwrap();
    let set = PatchSet::open(&out).unwrap();
    let manifest = DatasetManifest::read(&set).unwrap();
    assert_eq!(manifest.config, config.dataset);
    assert_eq!(manifest.channels, ["DNA", "membrane", "marker"]);
    assert_eq!(set.cells().unwrap().num_rows(), set.len());
}

#[test]
fn a_repeated_embedding_starts_from_the_raw_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let config = small::config(keys);
    run(&mut store, &config, &folder.path().join("out"), &NoProgress).unwrap();
    let before = small::open(&path)
        .table("phenocoder_samples")
        .unwrap()
        .read_all()
        .unwrap();
    spatialgraph_embedding(&mut store, &config.embedding, &NoProgress).unwrap();
    let after = small::open(&path)
        .table("phenocoder_samples")
        .unwrap()
        .read_all()
        .unwrap();
    assert_eq!(before.obsm_matrix("X_umap"), after.obsm_matrix("X_umap"));
    assert_eq!(before.obs, after.obs);
}

#[test]
fn encoding_twice_gives_the_same_table_and_a_loaded_model_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    config.dataset = config.dataset.with_metadata_keys(["batch"]);
    config.train = config.train.with_conditions(["dataset", "batch"]);
    let out = folder.path().join("out");
    run(&mut store, &config, &out, &NoProgress).unwrap();
    let x = |name: &str| {
        let table = small::open(&path).table(name).unwrap();
        table.x().unwrap().unwrap().to_dense_f64().unwrap()
    };
    let again = EncodeConfig::new(config.dataset.keys.clone()).with_table("again");
    encode(&mut store, &RunFiles::new(&out).model, &again, &NoProgress).unwrap();
    assert_eq!(x("phenocoder"), x("again"));
}

#[test]
fn stacks_go_through_all_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.zarr");
    let tissue = TissueConfig::default()
        .with_cells_per_sample(60)
        .with_samples_per_group(1)
        .with_slices(12);
    let keys = write_tissue(&path, &tissue, &NoProgress).unwrap().keys;
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    config.train = config.train.with_conditions(["z"]);
    config.dataset.patch.mask_neighbors = true;
    let out = folder.path().join("out");
    let report = run(&mut store, &config, &out, &NoProgress).unwrap();
    assert_eq!(report.encode.cells, 240);
    assert!(report.fit.conditions > 1, "cells lie in several slices");
    let hulls = report.samples.statistics;
    assert!(hulls > 0);
    let cells = small::open(&path).table("phenocoder").unwrap();
    assert_eq!(cells.obsm("spatial").unwrap().ncols(), 3);
}

#[test]
fn two_data_sets_train_one_model_that_encodes_both() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let config = small::config(keys.clone());
    let sets = ["monday", "tuesday"].map(|name| {
        let out = folder.path().join(name);
        let dataset = config.dataset.clone().with_name(name);
        generate_dataset(&store, &dataset, &out, &NoProgress).unwrap();
        out
    });
    let train = config.train.clone().with_conditions(["dataset"]);
    let model = folder.path().join("model.safetensors");
    let paths: Vec<&Path> = sets.iter().map(|path| path.as_path()).collect();
    let report = fit(&paths, &train, &model, None, &NoProgress).unwrap();
    assert_eq!(
        (report.train + report.validation, report.conditions),
        (640, 2)
    );
    for name in ["monday", "tuesday"] {
        let config = EncodeConfig::new(keys.clone())
            .with_dataset(name)
            .with_table(name);
        encode(&mut store, &model, &config, &NoProgress).unwrap();
    }
    let x = |name: &str| {
        store
            .table(name)
            .unwrap()
            .x()
            .unwrap()
            .unwrap()
            .to_dense_f64()
            .unwrap()
    };
    assert_ne!(
        x("monday"),
        x("tuesday"),
        "the condition is part of the code"
    );
    let other = EncodeConfig::new(keys).with_dataset("sunday");
    let error = encode(&mut store, &model, &other, &NoProgress)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("sunday") && error.contains("monday, tuesday"),
        "{error}"
    );
}

#[test]
fn cells_that_cannot_have_a_patch_are_left_out_of_every_step_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let data = store.table("cells").unwrap().read_all().unwrap();
    let mut positions = data.obsm_matrix("spatial_index").unwrap();
    positions[[9, 1]] = 1e6;
    positions[[11, 0]] = f64::NAN;
    let data = data.with_obsm("spatial_index", positions);
    store
        .write_table("cells", &data, WriteMode::Replace)
        .unwrap();
    let mut config = small::config(keys).with_invalid_dropped();
    let features = ["cells", "phenocoder"];
    config.samples = config.samples.with_feature_tables(features);
    let report = run(&mut store, &config, &folder.path().join("out"), &NoProgress).unwrap();
    assert_eq!(
        (
            report.dataset.patches,
            report.encode.cells,
            report.encode.rows
        ),
        (318, 318, 320)
    );
    assert_eq!(
        (
            report.encode.select.dropped_outside,
            report.encode.select.dropped_nan
        ),
        (1, 1)
    );
    let cells = store.table("phenocoder").unwrap();
    assert_eq!(cells.n_obs(), 318);
    assert_eq!(cells.obs_names().unwrap()[9], "10", "rows keep their names");
}

#[test]
fn a_repeated_step_leaves_nothing_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    run(&mut store, &config, &folder.path().join("out"), &NoProgress).unwrap();
    config.cluster.graph = config.cluster.graph.with_umap(None).with_leiden(None);
    cluster_cells(&mut store, &config.cluster, &NoProgress).unwrap();
    let cells = store.table("phenocoder").unwrap();
    assert!(cells.obsm("X_umap").is_err());
    assert!(cells.obs_column("phenocoder_cluster").is_err());
    assert!(cells.obsp("connectivities").is_ok());
}

#[test]
fn features_are_joined_by_the_names_of_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let table = store.table("cells").unwrap();
    let names: Vec<String> = table.obs_names().unwrap().into_iter().rev().collect();
    let x = table.x().unwrap().unwrap().to_dense_f64().unwrap();
    let x = x.slice(ndarray::s![..;-1, ..]).to_owned();
    let reversed = TableData::new(names, table.var_names().unwrap(), Some(Matrix::from(x)));
    store
        .write_table("reversed", &reversed, WriteMode::Create)
        .unwrap();
    let mut config = small::config(keys).samples.with_output("statistics");
    config.keys.table = "cells".to_owned();
    config.label_key = "true_type".to_owned();
    let mut moran = |features: &str| {
        let config = config.clone().with_feature_tables([features]);
        spatialgraph_stats(&mut store, &config, None, &NoProgress).unwrap();
        store
            .table("statistics")
            .unwrap()
            .x()
            .unwrap()
            .unwrap()
            .to_dense_f64()
            .unwrap()
    };
    let (straight, reversed) = (moran("cells"), moran("reversed"));
    assert!(
        straight
            .iter()
            .zip(&reversed)
            .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
    );
}

#[test]
fn a_run_that_is_stopped_goes_on_to_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let begin = |name: &str| {
        let folder = folder.path().join(name);
        let (path, keys) = small::tissue(&folder);
        let mut config = small::config(keys);
        config.train = config.train.with_checkpoints(Checkpoints::Resume);
        // A number that single precision does not have.
        config.dataset.statistics = config.dataset.statistics.with_foreground_only(0.1);
        (small::open(&path), config, folder.join("out"))
    };
    // What holds no times.
    let results = |name: &str| {
        let mut all = hashes(&folder.path().join(name));
        all.retain(|name, _| !name.starts_with("out/logs") && !name.ends_with("report.json"));
        all
    };
    let (mut store, config, out) = begin("straight");
    let straight = run(&mut store, &config, &out, &NoProgress).unwrap();

    let (mut store, config, out) = begin("stopped");
    let files = RunFiles::new(&out);
    let mut go = |config: &PipelineConfig, progress: &dyn Progress| {
        let report = run(&mut store, config, &out, progress);
        report.map_err(|error| error.to_string())
    };
    let changed = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    // Within the second epoch, then in what comes after training.
    go(&config, &StopIn::new("train", 12)).unwrap_err();
    assert!(files.patches.exists() && !files.model.exists());
    let patches = changed(&files.patches.join("cells.parquet"));

    // Other settings or cells are not mixed with what is there.
    let before = hashes(&out);
    let mut other = config.clone();
    other.train.latent_dim = 3;
    let error = go(&other, &NoProgress).unwrap_err();
    assert!(
        error.contains("`train.latent_dim` = 4, this one has 3"),
        "{error}"
    );
    let (mut elsewhere, _, _) = begin("elsewhere");
    let table = elsewhere.table("cells").unwrap().read_all().unwrap();
    let mut places = table.obsm_matrix("spatial_index").unwrap();
    places[[3, 0]] += 1.0;
    let table = table.with_obsm("spatial_index", places);
    elsewhere
        .write_table("cells", &table, WriteMode::Replace)
        .unwrap();
    let error = run(&mut elsewhere, &config, &out, &NoProgress).unwrap_err();
    assert!(error.to_string().contains("other cells"), "{error}");
    assert_eq!(hashes(&out), before);

    go(&config, &StopIn::new("spatial statistics", 1)).unwrap_err();
    assert!(files.model.exists());
    let model = changed(&files.model);
    // The same folder by another path.
    let around = out.join("../out");
    let resumed = run(&mut store, &config, &around, &NoProgress).unwrap();
    let mut go = |config: &PipelineConfig, progress: &dyn Progress| {
        let report = run(&mut store, config, &out, progress);
        report.map_err(|error| error.to_string())
    };
    assert_eq!(resumed.fit.record.epochs, straight.fit.record.epochs);
    assert_eq!(changed(&files.patches.join("cells.parquet")), patches);
    assert_eq!(changed(&files.model), model);
    assert_eq!(results("stopped"), results("straight"));
    let csv = |name: &str| {
        let path = folder.path().join(name).join("out/logs/training.csv");
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .map(|line| line.rsplit_once(',').unwrap().0.to_owned());
        lines.collect::<Vec<_>>()
    };
    assert_eq!(csv("stopped"), csv("straight"), "all but the times");

    let error = go(&config, &NoProgress).unwrap_err();
    assert!(error.contains("report.json` is there already"), "{error}");
}

#[test]
fn a_training_that_is_stopped_keeps_its_last_good_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let store = small::open(&path);
    let config = small::config(keys);
    let patches = folder.path().join("patches.zarr");
    generate_dataset(&store, &config.dataset, &patches, &NoProgress).unwrap();
    let model = folder.path().join("model.safetensors");
    let stop = StopAfter::new(12);
    let error = fit(&[&patches], &config.train, &model, None, &stop).unwrap_err();
    assert!(error.to_string().contains("cancelled"), "{error}");
    assert!(!model.exists());
    let kept = folder.path().join("model.interrupted.safetensors");
    let mut store = store;
    encode(&mut store, &kept, &config.encode, &NoProgress).unwrap();
}

#[test]
fn a_training_that_is_stopped_goes_on_to_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let store = small::open(&path);
    let mut config = small::config(keys);
    config.train = config.train.with_checkpoints(Checkpoints::Resume);
    let patches = folder.path().join("patches.zarr");
    generate_dataset(&store, &config.dataset, &patches, &NoProgress).unwrap();
    let train = |name: &str, progress: &dyn Progress| {
        let model = folder.path().join(name);
        let report = fit(&[&patches], &config.train, &model, None, progress);
        report.map(|report| (std::fs::read(&model).unwrap(), report.record))
    };
    let straight = train("straight.safetensors", &NoProgress).unwrap();
    for stops in [3, 12] {
        train("stopped.safetensors", &StopAfter::new(stops)).unwrap_err();
        let checkpoint = folder.path().join("stopped.checkpoint.safetensors");
        assert!(checkpoint.exists());
    }
    assert!(train("stopped.safetensors", &NoProgress).unwrap() == straight);
    let left = std::fs::read_dir(folder.path()).unwrap();
    let left = left.filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("checkpoint")
    });
    assert_eq!(left.count(), 0, "checkpoints of finished trainings");
}

#[test]
fn a_cancelled_run_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let before = hashes(&path);
    let cancel = CancelToken::new();
    cancel.cancel();
    let config = small::config(keys);
    let out = folder.path().join("out");
    let stopped = run(&mut small::open(&path), &config, &out, &cancel).unwrap_err();
    assert!(stopped.to_string().contains("cancelled"), "{stopped}");
    assert_eq!(hashes(&path), before);
    assert!(!RunFiles::new(&out).patches.exists());
}

#[test]
fn the_configuration_survives_json() {
    let folder = tempfile::tempdir().unwrap();
    let (_, keys) = small::tissue(folder.path());
    let config = small::config(keys).with_subunits(SubunitConfig::new(40.0));
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<PipelineConfig>(&text).unwrap(),
        config
    );
}

#[test]
fn one_and_two_threads_and_a_second_run_write_the_same_bytes() {
    let whole_run = |threads: usize| {
        small::on_threads(threads, || {
            let folder = tempfile::tempdir().unwrap();
            let (path, keys) = small::tissue(folder.path());
            let mut store = small::open(&path);
            let config = small::config(keys);
            let out = folder.path().join("out");
            let report = run(&mut store, &config, &out, &NoProgress).unwrap();
            let files = RunFiles::new(&out);
            let figures = FigureConfig::new().with_truth_key(Some("true_type".to_owned()));
            let settings = ReportConfig::new().with_figures(figures);
            let pictures = out.join("figures");
            draw(
                &store,
                &config,
                &report,
                &files,
                &settings,
                &pictures,
                &NoProgress,
            )
            .unwrap();
            // The report and the records hold times.
            std::fs::remove_file(&files.report).unwrap();
            std::fs::remove_dir_all(&files.logs).unwrap();
            hashes(folder.path())
        })
    };
    let one = whole_run(1);
    assert!(one.keys().any(|name| name.ends_with("model.safetensors")));
    assert!(one.keys().any(|name| name.ends_with("cells.png")));
    assert_eq!(one, whole_run(2), "two threads");
    assert_eq!(one, whole_run(1), "a second run");
}

/// The SHA-256 of every file below a folder.
fn hashes(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                let digest = Sha256::digest(std::fs::read(&path).unwrap());
                let hex = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                found.insert(name, hex);
            }
        }
    }
    found
}
