//! Every mistake has an error that names the place.

use ndarray::Array2;
use phenocoder::Error;
use phenocoder::core::{Categorical, Column, NoProgress};
use phenocoder::embed::batch::CombatConfig;
use phenocoder::io::{Store, WriteMode};
use phenocoder::patches::SplitConfig;
use phenocoder::pipeline::{
    BatchCorrection, ClusterConfig, PipelineConfig, StoreKeys, cluster_cells, encode, fit,
    generate_dataset, run, spatialgraph_embedding, spatialgraph_stats,
};
use phenocoder::spatial::subunits::SubunitConfig;

use crate::small;

/// Runs all steps on a store that `break_it` has changed, and returns the chain of messages.
fn message(break_it: impl FnOnce(&mut Store, &mut PipelineConfig)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    break_it(&mut store, &mut config);
    // What is broken here are the keys themselves, not that two steps disagree on them.
    config.encode.keys = config.dataset.keys.clone();
    let described = std::mem::replace(&mut config.samples.keys, config.dataset.keys.clone());
    config.samples.keys.table = described.table;
    let error = run(&mut store, &config, &folder.path().join("out"), &NoProgress).unwrap_err();
    let names = small::open(&path).table_names();
    assert!(
        !names.iter().any(|name| name == "phenocoder"),
        "nothing half written: {names:?}"
    );
    chain(&error)
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Replaces the pixel positions of the table `cells`.
fn set_positions(store: &mut Store, change: impl FnOnce(&mut Array2<f64>)) {
    let data = store.table("cells").unwrap().read_all().unwrap();
    let mut positions = data.obsm_matrix("spatial_index").unwrap();
    change(&mut positions);
    store
        .write_table(
            "cells",
            &data.with_obsm("spatial_index", positions),
            WriteMode::Replace,
        )
        .unwrap();
}

/// Adds a column to the table `cells`: what `label` makes of row and label of another column.
fn add_column(store: &mut Store, name: &str, of: &str, label: impl Fn(usize, &str) -> String) {
    let table = store.table("cells").unwrap();
    let others = table.obs_column(of).unwrap().to_categorical();
    let labels = others.labels().enumerate();
    let labels = labels.map(|(row, other)| label(row, other.unwrap()));
    let column = Column::Categorical(Categorical::from_labels(labels));
    let data = table.read_all().unwrap();
    let data = data.with_obs_column(name, column).unwrap();
    store
        .write_table("cells", &data, WriteMode::Replace)
        .unwrap();
}

fn assert_names(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[test]
fn a_table_that_is_not_there_is_named_with_those_that_are() {
    let text = message(|_, config| config.dataset.keys.table = "nuclei".to_owned());
    assert_names(&text, &["nuclei", "cells"]);
}

#[test]
fn a_column_that_is_not_there_is_named() {
    let text = message(|_, config| config.dataset.keys.sample_key = "well".to_owned());
    assert_names(&text, &["well"]);
}

#[test]
fn coordinates_that_are_not_there_are_named() {
    let text = message(|_, config| config.dataset.keys.spatial_index_key = "pixels".to_owned());
    assert_names(&text, &["pixels"]);
}

#[test]
fn a_sample_without_an_image_is_named() {
    let text = message(|_, config| config.dataset.keys.image_key = "IF".to_owned());
    assert_names(&text, &["IF_control_batch_1_1"]);
}

#[test]
fn a_position_that_is_no_number_names_its_row() {
    let text = message(|store, _| set_positions(store, |p| p[[7, 0]] = f64::NAN));
    assert_names(&text, &["7"]);
}

#[test]
fn a_cell_outside_its_image_names_its_row() {
    let text = message(|store, _| set_positions(store, |p| p[[9, 1]] = 1e6));
    assert_names(&text, &["9", "control_batch_1_1"]);
}

#[test]
fn cells_that_cannot_have_a_patch_are_counted_when_dropping_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    set_positions(&mut store, |p| {
        p[[9, 1]] = 1e6;
        p[[11, 0]] = f64::NAN;
    });
    let mut config = small::config(keys).dataset;
    config.patch.select = config.patch.select.with_invalid_dropped();
    let out = folder.path().join("patches.zarr");
    let report = generate_dataset(&store, &config, &out, &NoProgress)
        .unwrap()
        .extract;
    assert_eq!(
        (report.kept, report.dropped_outside, report.dropped_nan),
        (318, 1, 1)
    );
}

#[test]
fn a_patch_that_the_network_cannot_halve_is_refused() {
    let text = message(|_, config| {
        config.dataset.patch.height = 18;
        config.train.conv_layers = vec![4, 8, 16];
    });
    assert_names(&text, &["18"]);
}

#[test]
fn a_loss_that_is_not_finite_names_the_cells_of_its_batch() {
    let text = message(|_, config| config.train.fit.learning_rate = 1e30);
    assert_names(&text, &["epoch 1", "the batch holds cell `", "` at row "]);
    assert_names(&text, &["of sample `", "batch_", "of dataset `dataset`"]);
}

#[test]
fn a_column_that_does_not_hold_the_values_of_the_mask_is_noticed() {
    let text = message(|store, config| {
        let data = store.table("cells").unwrap().read_all().unwrap();
        let running = Column::Int((10_000..10_320).collect());
        let data = data.with_obs_column("running", running).unwrap();
        store
            .write_table("cells", &data, WriteMode::Replace)
            .unwrap();
        config.dataset.patch.mask_neighbors = true;
        config.dataset.patch.mask_column = Some("running".to_owned());
    });
    assert_names(&text, &["running", "mask_column"]);
    let absent = message(|_, config| {
        config.dataset.patch.mask_neighbors = true;
        config.dataset.patch.mask_column = Some("nothing".to_owned());
    });
    assert_names(&absent, &["nothing"]);
    let fraction = message(|_, config| {
        config.dataset.patch.mask_neighbors = true;
        config.dataset.patch.mask_column = Some("mean_DNA".to_owned());
    });
    assert_names(&fraction, &["mean_DNA", "no whole number"]);
}

#[test]
fn an_empty_side_of_the_split_is_refused() {
    let text = message(|_, config| {
        config.train.split = Some(
            SplitConfig::default()
                .with_by(phenocoder::patches::SplitBy::Column("dataset".to_owned())),
        );
    });
    assert_names(&text, &["dataset"]);
}

#[test]
fn an_unseen_condition_names_column_and_value() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys);
    config.dataset = config.dataset.with_metadata_keys(["batch"]);
    config.train = config.train.with_conditions(["batch"]);
    let (patches, model) = (
        folder.path().join("p.zarr"),
        folder.path().join("m.safetensors"),
    );
    generate_dataset(&store, &config.dataset, &patches, &NoProgress).unwrap();
    fit(&[&patches], &config.train, &model, None, &NoProgress).unwrap();
    let data = store.table("cells").unwrap().read_all().unwrap();
    let other = Column::Categorical(Categorical::from_labels(vec!["batch_9"; 320]));
    let data = data.with_obs_column("batch", other).unwrap();
    store
        .write_table("cells", &data, WriteMode::Replace)
        .unwrap();
    let error = encode(&mut store, &model, &config.encode, &NoProgress).unwrap_err();
    assert_names(&chain(&error), &["batch", "batch_9"]);
}

#[test]
fn a_condition_that_the_patch_set_lacks_is_named() {
    let text = message(|_, config| config.train.conditions = vec!["donor".to_owned()]);
    assert_names(&text, &["dataset.metadata_keys"]);

    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let config = small::config(keys);
    let (patches, model) = (
        folder.path().join("p.zarr"),
        folder.path().join("m.safetensors"),
    );
    generate_dataset(&small::open(&path), &config.dataset, &patches, &NoProgress).unwrap();
    let train = config.train.with_conditions(["donor"]);
    let error = fit(&[&patches], &train, &model, None, &NoProgress).unwrap_err();
    assert_names(&chain(&error), &["donor", "dataset", "z"]);
    assert_eq!(
        folder.path().read_dir().unwrap().count(),
        2,
        "no weights are kept"
    );
}

#[test]
fn a_sample_without_an_image_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let data = store.table("cells").unwrap().read_all().unwrap();
    let samples = store
        .table("cells")
        .unwrap()
        .obs_column("sample")
        .unwrap()
        .to_categorical();
    let renamed = samples.labels().map(|label| match label {
        Some("control_batch_1_1") => "nowhere".to_owned(),
        label => label.unwrap().to_owned(),
    });
    let column = Column::Categorical(Categorical::from_labels(renamed));
    store
        .write_table(
            "cells",
            &data.with_obs_column("sample", column).unwrap(),
            WriteMode::Replace,
        )
        .unwrap();
    let config = small::config(keys).with_invalid_dropped();
    let report = run(&mut store, &config, &folder.path().join("out"), &NoProgress).unwrap();
    assert_eq!(
        (report.encode.cells, report.encode.select.dropped_no_image),
        (280, 40)
    );
    assert_eq!(report.samples.units, 7);
}

#[test]
fn a_sample_with_one_cell_and_one_cluster_still_has_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let data = store.table("cells").unwrap().read_all().unwrap();
    let column = |of: &dyn Fn(usize) -> &'static str| {
        Column::Categorical(Categorical::from_labels((0..320).map(of)))
    };
    let lonely = column(&|row| if row == 0 { "lonely" } else { "crowd" });
    let data = data.with_obs_column("sample", lonely).unwrap();
    let data = data.with_obs_column("label", column(&|_| "all")).unwrap();
    store
        .write_table("cells", &data, WriteMode::Replace)
        .unwrap();
    let mut config = small::config(keys).samples;
    config.keys.table = "cells".to_owned();
    config.label_key = "label".to_owned();
    config.feature_tables.clear();
    config.obs_keys.clear();
    let report = spatialgraph_stats(&mut store, &config, None, &NoProgress).unwrap();
    assert_eq!(report.units, 2);
    assert!(report.missing > 0);
}

#[test]
fn what_differs_within_a_sample_cannot_describe_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut config = small::config(keys).samples;
    config.keys.table = "cells".to_owned();
    config.label_key = "true_type".to_owned();
    config.feature_tables.clear();
    config.obs_keys = vec!["domain".to_owned()];
    let error = spatialgraph_stats(&mut store, &config, None, &NoProgress).unwrap_err();
    assert_names(&chain(&error), &["domain", "not constant in sample"]);
}

#[test]
fn steps_out_of_order_say_which_table_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let config = small::config(keys);
    let cluster = cluster_cells(&mut store, &config.cluster, &NoProgress).unwrap_err();
    assert_names(&chain(&cluster), &["phenocoder"]);
    let embedding = spatialgraph_embedding(&mut store, &config.embedding, &NoProgress).unwrap_err();
    assert_names(&chain(&embedding), &["phenocoder_samples"]);
}

#[test]
fn a_model_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let model = folder.path().join("model.safetensors");
    std::fs::write(&model, b"no model").unwrap();
    let config = small::config(keys);
    let error = encode(&mut store, &model, &config.encode, &NoProgress).unwrap_err();
    assert_names(&chain(&error), &["model.safetensors"]);
}

#[test]
fn keys_must_be_names() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = small::tissue(folder.path());
    let mut config = small::config(StoreKeys::new("cells", "", "image"));
    config.dataset.keys.sample_key.clear();
    let out = folder.path().join("out");
    let error = run(&mut small::open(&path), &config, &out, &NoProgress).unwrap_err();
    assert_names(&chain(&error), &["sample_key"]);
}

#[test]
fn no_step_writes_over_what_it_reads() {
    let text = message(|_, config| config.encode.table = "cells".to_owned());
    assert_names(&text, &["encode", "table"]);
    let text = message(|_, config| config.samples.output = "phenocoder".to_owned());
    assert_names(&text, &["spatialgraph_stats", "output"]);
    let text = message(|_, config| config.samples.output = "cells".to_owned());
    assert_names(&text, &["samples.output"]);
}

#[test]
fn steps_that_name_different_tables_are_refused_before_any_work() {
    let text = message(|_, config| config.encode.table = "latents".to_owned());
    assert_names(&text, &["cluster.table"]);
    let text = message(|_, config| config.embedding.table = "other".to_owned());
    assert_names(&text, &["embedding.table"]);
    let text = message(|_, config| config.embedding.batch_key = Some("donor".to_owned()));
    assert_names(&text, &["samples.obs_keys"]);
    let text = message(|_, config| config.encode.dataset = "tuesday".to_owned());
    assert_names(&text, &["encode.dataset"]);
    let text = message(|_, config| config.samples.obs_keys = vec!["domain".to_owned()]);
    assert_names(&text, &["domain", "not constant"]);
}

#[test]
fn a_folder_that_holds_a_run_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("config.json"), "mine").unwrap();
    let error = run(
        &mut small::open(&path),
        &small::config(keys),
        &out,
        &NoProgress,
    )
    .unwrap_err();
    assert_names(&chain(&error), &["config.json", "there already"]);
    assert_eq!(
        std::fs::read_to_string(out.join("config.json")).unwrap(),
        "mine"
    );
    assert_eq!(out.read_dir().unwrap().count(), 1);
}

#[test]
fn a_feature_table_without_a_cell_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let mut store = small::open(&path);
    let mut other = store.table("cells").unwrap().read_all().unwrap();
    other.obs_names[4] = "somebody else".to_owned();
    other.annotation = None;
    store
        .write_table("other", &other, WriteMode::Create)
        .unwrap();
    let mut config = small::config(keys).samples;
    config.keys.table = "cells".to_owned();
    config.label_key = "true_type".to_owned();
    config.feature_tables = vec!["other".to_owned()];
    let error = spatialgraph_stats(&mut store, &config, None, &NoProgress).unwrap_err();
    assert_names(&chain(&error), &["other", "no row for cell `4`"]);
    config.feature_tables = vec!["cells".to_owned(), "cells".to_owned()];
    let error = spatialgraph_stats(&mut store, &config, None, &NoProgress).unwrap_err();
    assert_names(&chain(&error), &["mean_DNA", "there twice"]);
}

/// One label for itself, and one for all others.
fn alone(is_alone: bool) -> String {
    ["rest", "alone"][usize::from(is_alone)].to_owned()
}

#[test]
fn batches_of_cells_that_are_too_small_are_named_before_the_training() {
    let combat = BatchCorrection::Combat(CombatConfig::default());
    let corrected = ClusterConfig::default()
        .with_correction(combat)
        .with_balance_batches(false);
    for (cluster, needed) in [(corrected, 2), (ClusterConfig::default(), 3)] {
        let text = message(|store, config| {
            add_column(store, "day", "batch", |row, _| alone(row == 7));
            config.cluster = cluster.with_batch_key(Some("day".to_owned()));
        });
        let words = format!("batch `alone` has 1 rows, expected at least {needed}");
        assert_names(&text, &["run: `obs/day` of table `cells`: ", &words]);
    }
}

#[test]
fn a_confounder_of_cells_that_is_the_batch_is_named_before_the_training() {
    let text = message(|store, config| {
        add_column(store, "day", "batch", |_, batch| batch.to_owned());
        config.cluster = ClusterConfig::default()
            .with_correction(BatchCorrection::Combat(CombatConfig::default()))
            .with_batch_key(Some("batch".to_owned()))
            .with_confounder_keys(["day"]);
    });
    assert_names(
        &text,
        &["`obs/day` of table `cells` follows from `obs/batch`"],
    );
}

/// The message of a run whose samples, or cubes of them, are corrected for `batch`, which keeps `kept`.
fn of_samples(batch: &str, kept: &[&str], subunits: Option<SubunitConfig>) -> String {
    message(|store, config| {
        add_column(store, "day", "batch", |_, batch| batch.to_owned());
        add_column(store, "plate", "sample", |_, sample| {
            alone(sample == "control_batch_1_1")
        });
        config.samples = (config.samples.clone()).with_obs_keys(["batch", "day", "plate"]);
        config.embedding = (config.embedding.clone())
            .with_correction(BatchCorrection::Combat(CombatConfig::default()))
            .with_batch_key(Some(batch.to_owned()))
            .with_confounder_keys(kept.iter().copied());
        if let Some(subunits) = subunits {
            *config = config.clone().with_subunits(subunits);
        }
    })
}

#[test]
fn batches_of_samples_that_cannot_be_corrected_for_are_named_before_the_training() {
    assert_names(
        &of_samples("plate", &[], None),
        &["`obs/plate` of table `phenocoder_samples`: batch `alone` has 1 rows"],
    );
    let words = |table: &str| format!("`obs/day` of table `{table}` follows from `obs/batch`");
    let text = of_samples("batch", &["day"], None);
    assert_names(&text, &[&words("phenocoder_samples")]);
    let cubes = SubunitConfig::new(40.0);
    let text = of_samples("batch", &["day"], Some(cubes));
    assert_names(&text, &[&words("phenocoder_subunits")]);
}
