//! What the training step lets users choose of its data: augmentation, balance, memory, reading ahead.

use std::path::Path;

use phenocoder::Error;
use phenocoder::core::NoProgress;
use phenocoder::core::{Progress, Seed};
use phenocoder::model::{DeviceChoice, SavedModel, select_device};
use phenocoder::patches::AugmentConfig;
use phenocoder::patches::ScalingMode;
use phenocoder::patches::augment::{NoiseConfig, RotationConfig};
use phenocoder::patches::sample::{BalanceConfig, Draws};
use phenocoder::pipeline::Checkpoints;
use phenocoder::pipeline::{FitReport, ModelManifest, TrainConfig, fit, generate_dataset};

use crate::small;
use crate::stop::StopIn;

/// A patch set, and the settings of a small network for it.
fn patches(folder: &Path) -> (std::path::PathBuf, TrainConfig) {
    let (path, keys) = small::tissue(folder);
    let mut config = small::config(keys);
    config.dataset = config.dataset.with_metadata_keys(["true_type"]);
    let set = folder.join("patches.zarr");
    generate_dataset(&small::open(&path), &config.dataset, &set, &NoProgress).unwrap();
    (set, config.train)
}

fn train(set: &Path, config: &TrainConfig, name: &str) -> Result<FitReport, Error> {
    let path = set.with_file_name(format!("{name}.safetensors"));
    fit(&[set], config, &path, None, &NoProgress)
}

fn load(set: &Path, name: &str) -> SavedModel {
    let device = select_device(DeviceChoice::Cpu).unwrap().device;
    SavedModel::load(set.with_file_name(format!("{name}.safetensors")), &device).unwrap()
}

#[test]
fn augmentation_and_balance_train_and_are_kept_in_the_model_file() {
    let folder = tempfile::tempdir().unwrap();
    let (set, plain) = patches(folder.path());
    let augment = AugmentConfig::lossless()
        .with_rotation(Some(RotationConfig::default()))
        .with_noise(Some(NoiseConfig::default()));
    let balance = BalanceConfig::new("true_type")
        .with_draws(Draws::Independent)
        .with_patches_per_epoch(Some(100));
    let config = plain
        .clone()
        .with_augment(augment)
        .with_balance(Some(balance));
    let report = train(&set, &config, "changed").unwrap();
    let other = train(&set, &plain, "plain").unwrap();
    assert_ne!(report.record, other.record);
    let model = load(&set, "changed");
    assert_eq!(ModelManifest::read(&model).unwrap().config, config);
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(json["augment"]["rotation"]["max_degrees"], 180.0);
    assert_eq!(json["balance"]["column"], "true_type");
}

#[test]
fn memory_and_reading_ahead_change_no_bit_of_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (set, config) = patches(folder.path());
    let config = config
        .with_augment(AugmentConfig::lossless())
        .with_balance(Some(BalanceConfig::new("sample")));
    let first = train(&set, &config, "a").unwrap();
    for (bytes, ahead, threads) in [(0, 1, 1), (40_000, 4, 3)] {
        let mut other = config.clone().with_cache_bytes(bytes);
        other.fit = other.fit.with_prefetch(ahead).with_read_threads(threads);
        let report = train(&set, &other, "b").unwrap();
        assert_eq!(report.record, first.record);
        let weights = |name: &str| {
            let parameters = load(&set, name).model.parameters().snapshot().unwrap();
            parameters.values("encoder.dense.kernel").unwrap()
        };
        assert_eq!(weights("a"), weights("b"));
    }
}

#[test]
fn a_montage_that_no_picture_file_could_hold_is_refused() {
    let mut config = TrainConfig::default();
    config.montage = 200;
    config.validate().unwrap();
    config.montage = 201;
    let message = config.validate().unwrap_err().to_string();
    assert!(message.contains("`montage`"), "{message}");
}

#[test]
fn a_training_goes_on_with_its_own_patches_conditions_and_seed_only() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = small::tissue(folder.path());
    let store = small::open(&path);
    let mut config = small::config(keys);
    config.dataset = config.dataset.with_metadata_keys(["condition", "batch"]);
    let generate = |name: &str, scaling| {
        let set = folder.path().join(name);
        let dataset = config.dataset.clone().with_scaling(scaling);
        generate_dataset(&store, &dataset, &set, &NoProgress).unwrap();
        set
    };
    let own = generate("own.zarr", ScalingMode::PerSample);
    let scaled = generate("scaled.zarr", ScalingMode::Global);
    let (model, logs) = (
        folder.path().join("m.safetensors"),
        folder.path().join("logs"),
    );
    let train = config
        .train
        .with_conditions(["condition"])
        .with_checkpoints(Checkpoints::Resume);
    let go = |set: &Path, config: &TrainConfig, progress: &dyn Progress| {
        fit(&[set], config, &model, Some(&logs), progress).map_err(|error| error.to_string())
    };
    go(&own, &train, &StopIn::new("train", 1)).unwrap_err();
    let files = [
        model.with_extension("checkpoint.safetensors"),
        logs.join("training.csv"),
    ];
    let before = files.clone().map(|file| std::fs::read(file).unwrap());

    let batch = train.clone().with_conditions(["batch"]);
    let mut seed = train.clone();
    seed.seed = Seed::new(99);
    for (set, config, differs) in [
        (&scaled, &train, "context.datasets.dataset.config.scaling"),
        (&own, &batch, "context.conditions"),
        (&own, &seed, "context.seed"),
    ] {
        let error = go(set, config, &NoProgress).unwrap_err();
        assert!(error.contains(differs), "{differs}: {error}");
        let after = files.clone().map(|file| std::fs::read(file).unwrap());
        assert!(
            after == before && !model.exists(),
            "{differs}: written over"
        );
    }
    go(&own, &train, &NoProgress).unwrap();
}

#[test]
fn the_folder_of_the_records_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (set, config) = patches(folder.path());
    let (model, logs) = (set.with_file_name("m.safetensors"), set.with_file_name("a"));
    let logs = logs.join("new").join("one");
    let report = fit(&[&set], &config, &model, Some(&logs), &NoProgress).unwrap();
    let csv = std::fs::read_to_string(logs.join("training.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + report.record.epochs.len());
    assert_eq!(
        logs.read_dir().unwrap().count(),
        2,
        "the table and the event file"
    );
}

#[test]
fn columns_and_settings_that_cannot_be_are_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let (set, config) = patches(folder.path());
    let unknown = config
        .clone()
        .with_balance(Some(BalanceConfig::new("nothing")));
    let error = train(&set, &unknown, "x").unwrap_err().to_string();
    assert!(
        error.contains("nothing") || error.contains("do not fit"),
        "{error}"
    );
    let wrong = AugmentConfig::new().with_noise(Some(NoiseConfig::default().with_std(2.0)));
    let wrong = config.clone().with_augment(wrong);
    assert!(matches!(wrong.validate(), Err(Error::Patches(_))));
    assert!(train(&set, &wrong, "x").is_err());
    assert!(!set.with_file_name("x.safetensors").exists());

    let mut pipeline = small::config(small::tissue(&folder.path().join("again")).1);
    pipeline.train = pipeline
        .train
        .with_balance(Some(BalanceConfig::new("batch")));
    let error = pipeline.validate().unwrap_err().to_string();
    assert!(error.contains("dataset.metadata_keys"), "{error}");
    pipeline.dataset = pipeline.dataset.with_metadata_keys(["batch"]);
    pipeline.validate().unwrap();
}

#[test]
fn the_settings_can_be_written_by_hand() {
    let config: TrainConfig = serde_json::from_str(
        r#"{"augment": {"flips": {}, "quarter_turns": {}}, "balance": {"column": "well"}, "cache_bytes": 0}"#,
    )
    .unwrap();
    assert_eq!(config.augment, AugmentConfig::lossless());
    assert_eq!(config.balance, Some(BalanceConfig::new("well")));
    assert!(serde_json::from_str::<TrainConfig>(r#"{"augmentation": {}}"#).is_err());
}
