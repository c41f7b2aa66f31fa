//! Checkpoints that are damaged, do not fit, or cannot be written.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use candle_core::Device;
use phenocoder_core::{
    CancelToken, PatchBatch, PatchOrder, PatchShape, PatchSource, Progress, Seed, Sequential,
    ShapeError, SourceError,
};
use phenocoder_model::train::{
    BatchRecord, CheckpointConfig, CheckpointInfo, CosineConfig, EarlyStoppingConfig, EpochRecord,
    FitConfig, Observer, SgdConfig, Trainer, TrainingRecord,
};
use phenocoder_model::{Autoencoder, Cvae, CvaeConfig, Error, FileError, Result, SavedModel};
use phenocoder_patches::augment::{AugmentConfig, FlipConfig};
use tracing::span;

use crate::support::StopAfter;
use crate::synthetic::blobs;

const SHAPE: PatchShape = PatchShape::new(8, 8, 1);

fn model() -> Cvae {
    CvaeConfig::new(SHAPE, 2)
        .with_conv_layers([4])
        .with_dense_dim(8)
        .build(Seed::new(3), &Device::Cpu)
        .unwrap()
}

fn settings() -> FitConfig {
    FitConfig::new().with_epochs(3).with_batch_size(4)
}

fn patches() -> PatchBatch {
    blobs(18, SHAPE, 0, 1)
}

/// A folder with the newest checkpoint of an interrupted run and the one before it.
struct Interrupted {
    _folder: tempfile::TempDir,
    path: PathBuf,
    config: CheckpointConfig,
}

fn interrupted() -> Interrupted {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let config = CheckpointConfig::new(&path).with_every_batches(Some(3));
    let stopped = Trainer::new(settings())
        .with_checkpoint(config.clone())
        .with_progress(&StopAfter::new(18 + 12))
        .fit(&mut model(), &patches(), None);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    let info = CheckpointInfo::read(&path).unwrap();
    assert_eq!((info.epoch, info.batch, info.batches), (2, 3, 8));
    let info = CheckpointInfo::read(config.previous()).unwrap();
    assert_eq!((info.epoch, info.batch), (2, 1), "after six batches");
    Interrupted {
        _folder: folder,
        path,
        config,
    }
}

fn resume(config: &CheckpointConfig) -> Result<TrainingRecord> {
    Trainer::new(settings())
        .with_checkpoint(config.clone())
        .resume(&mut model(), &patches(), None)
}

/// The record and the last checkpoint of a run that is not interrupted.
fn straight(settings: FitConfig) -> (TrainingRecord, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let record = Trainer::new(settings)
        .with_checkpoint(CheckpointConfig::new(&path))
        .fit(&mut model(), &patches(), None)
        .unwrap();
    (record, fs::read(path).unwrap())
}

/// Counts warnings.
struct Warnings(AtomicUsize);

impl tracing::Subscriber for &'static Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_checkpoint_cut_off_anywhere_is_refused_and_the_one_before_it_used() {
    static WARNINGS: Warnings = Warnings(AtomicUsize::new(0));
    let run = interrupted();
    let bytes = fs::read(&run.path).unwrap();
    let before = fs::read(run.config.previous()).unwrap();
    let expected = straight(settings());
    let cuts = (0..bytes.len()).step_by(4096).chain([7, bytes.len() - 1]);
    let mut count = 0;
    for length in cuts {
        fs::write(&run.path, &bytes[..length]).unwrap();
        fs::write(run.config.previous(), &before).unwrap();
        let error = CheckpointInfo::read(&run.path).unwrap_err();
        let Error::File { source, .. } = &error else {
            panic!("{error}")
        };
        assert!(matches!(source, FileError::Truncated { .. }), "{source}");
        let record = tracing::subscriber::with_default(&WARNINGS, || resume(&run.config));
        assert_eq!(record.unwrap(), expected.0, "cut at {length}");
        assert!(fs::read(&run.path).unwrap() == expected.1);
        count += 1;
    }
    assert!(count > 4, "{count} cuts");
    assert_eq!(WARNINGS.0.load(Ordering::Relaxed), count);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let run = interrupted();
    let bytes = fs::read(&run.path).unwrap();
    let mut stream = Seed::new(1).stream("bits", 0);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
    // All bits of the length, and many of the header and of the tensors.
    let mut bits: Vec<usize> = (0..64).collect();
    bits.extend((0..300).map(|_| 64 + stream.below(8 * header - 64)));
    bits.extend((0..100).map(|_| 8 * header + stream.below(8 * (bytes.len() - header))));
    for bit in bits {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(&run.path, &damaged).unwrap();
        let error = CheckpointInfo::read(&run.path).unwrap_err();
        assert!(matches!(error, Error::File { .. }), "bit {bit}: {error}");
    }
}

#[test]
fn the_checkpoint_before_a_damaged_one_survives_until_there_is_a_good_one() {
    let run = interrupted();
    let before = fs::read(run.config.previous()).unwrap();
    fs::write(&run.path, b"damaged").unwrap();
    // The first batch after the previous checkpoint is done, and the next checkpoint is that of stopping.
    let stopped = Trainer::new(settings())
        .with_checkpoint(run.config.clone())
        .with_progress(&StopAfter::new(18 + 8))
        .resume(&mut model(), &patches(), None);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    assert!(fs::read(run.config.previous()).unwrap() == before);
    assert_eq!(CheckpointInfo::read(&run.path).unwrap().batch, 2);
    assert_eq!(resume(&run.config).unwrap(), straight(settings()).0);
}

#[test]
fn without_a_usable_checkpoint_the_error_says_why() {
    let run = interrupted();
    fs::write(run.config.previous(), b"").unwrap();
    fs::write(&run.path, [0xff; 64]).unwrap();
    let error = resume(&run.config).unwrap_err();
    let Error::File { path, source } = &error else {
        panic!("{error}")
    };
    assert_eq!(path, &run.path);
    assert!(matches!(source, FileError::HeaderLength { .. }), "{source}");
    fs::remove_file(&run.path).unwrap();
    let error = resume(&run.config).unwrap_err();
    assert!(matches!(error, Error::File { path, .. } if path == run.config.previous()));
    fs::remove_file(run.config.previous()).unwrap();
    let error = resume(&run.config).unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }), "{error}");
    assert!(error.to_string().contains("run.safetensors"), "{error}");
    let record = Trainer::new(settings())
        .with_checkpoint(run.config)
        .fit_or_resume(&mut model(), &patches(), None);
    assert_eq!(record.unwrap(), straight(settings()).0);
}

#[test]
fn a_model_is_no_checkpoint_and_a_checkpoint_no_model() {
    let run = interrupted();
    let error = SavedModel::load(&run.path, &Device::Cpu).unwrap_err();
    let Error::File { source, .. } = error else {
        panic!("{error}")
    };
    assert!(matches!(&source, FileError::Kind { kind } if kind == "checkpoint"));
    SavedModel::new(model()).save(&run.path).unwrap();
    let error = CheckpointInfo::read(&run.path).unwrap_err();
    let Error::File { source, .. } = error else {
        panic!("{error}")
    };
    assert!(matches!(&source, FileError::Kind { kind } if kind == "cvae"));
}

#[test]
fn a_run_with_other_settings_is_refused_by_the_name_of_the_first() {
    let run = interrupted();
    let longer = blobs(19, SHAPE, 0, 1);
    let flips = AugmentConfig::new().with_flips(Some(FlipConfig::default()));
    let other_model = CvaeConfig::new(SHAPE, 3)
        .with_conv_layers([4])
        .with_dense_dim(8)
        .build(Seed::new(3), &Device::Cpu)
        .unwrap();
    let refused = |trainer: Trainer<'_>, mut model: Cvae, patches: &PatchBatch| {
        let before = model.parameters().snapshot().unwrap();
        let error = trainer
            .with_checkpoint(run.config.clone())
            .fit_or_resume(&mut model, patches, None)
            .unwrap_err();
        let Error::Settings { setting, .. } = error else {
            panic!("{error}")
        };
        let after = model.parameters().snapshot().unwrap();
        let name = "encoder.dense.kernel";
        assert_eq!(before.values(name).unwrap(), after.values(name).unwrap());
        setting
    };
    let mine = patches();
    for (config, setting) in [
        (settings().with_batch_size(5), "fit.batch_size"),
        (settings().with_accumulate(2), "fit.accumulate"),
        (settings().with_seed(Seed::new(1)), "fit.seed"),
        (settings().with_learning_rate(0.5), "fit.learning_rate"),
        (settings().with_early_stopping(None), "fit.early_stopping"),
        (
            settings().with_optimizer(SgdConfig::new()),
            "fit.optimizer.beta_1",
        ),
        (
            settings().with_plateau(None).with_epochs(9),
            "fit.schedule.cooldown",
        ),
    ] {
        assert_eq!(refused(Trainer::new(config), model(), &mine), setting);
    }
    let trainer = || Trainer::new(settings());
    let transforms: [&dyn phenocoder_core::PatchTransform; 1] = [&flips];
    let augmented = trainer().with_transforms(&transforms);
    assert_eq!(refused(augmented, model(), &mine), "transforms");
    let ordered = trainer().with_order(&Sequential);
    assert_eq!(refused(ordered, model(), &mine), "order.name");
    assert_eq!(refused(trainer(), model(), &longer), "data.training.last");
    assert_eq!(
        refused(trainer(), other_model, &mine),
        "model.config.latent_dim"
    );
    // Reading ahead is no such setting.
    let more = Trainer::new(settings().with_prefetch(7))
        .with_checkpoint(run.config.clone())
        .resume(&mut model(), &mine, None);
    assert_eq!(more.unwrap(), straight(settings()).0);
}

#[test]
fn a_finished_run_comes_back_at_once_and_can_be_made_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let config = CheckpointConfig::new(&path);
    let trainer =
        |epochs| Trainer::new(settings().with_epochs(epochs)).with_checkpoint(config.clone());
    let weights = |model: &Cvae| {
        let snapshot = model.parameters().snapshot().unwrap();
        snapshot.values("encoder.dense.kernel").unwrap()
    };
    let mut first = model();
    let record = trainer(3).fit(&mut first, &patches(), None).unwrap();
    let mut again = model();
    let resumed = trainer(3).resume(&mut again, &patches(), None).unwrap();
    assert_eq!(resumed, record);
    assert_eq!(resumed.seconds, [0.0; 3], "checkpoints hold no times");
    assert_eq!(weights(&first), weights(&again));

    let longer = trainer(6).resume(&mut again, &patches(), None).unwrap();
    let (record, bytes) = straight(settings().with_epochs(6));
    assert_eq!(longer, record);
    assert!(fs::read(&path).unwrap() == bytes);

    // Not where the learning rate of every epoch depends on their number.
    let cosine = |epochs| {
        settings()
            .with_schedule(CosineConfig::new())
            .with_epochs(epochs)
    };
    let trainer = |epochs| Trainer::new(cosine(epochs)).with_checkpoint(config.clone());
    trainer(3).fit(&mut model(), &patches(), None).unwrap();
    let error = trainer(6).resume(&mut model(), &patches(), None);
    assert_eq!(
        error.unwrap_err().to_string(),
        "the checkpoint was made with `fit.epochs` = 3, this run has 6"
    );
}

#[test]
fn a_run_that_stopped_early_stays_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let config = CheckpointConfig::new(folder.path().join("run.safetensors"));
    // A rate this large never finds a better epoch than an early one.
    let settings = settings()
        .with_epochs(40)
        .with_learning_rate(0.3)
        .with_early_stopping(Some(EarlyStoppingConfig::new().with_patience(2)));
    let trainer = || Trainer::new(settings.clone()).with_checkpoint(config.clone());
    let record = trainer().fit(&mut model(), &patches(), None).unwrap();
    assert!(record.stopped_early && record.epochs.len() < 40);
    let again = trainer().resume(&mut model(), &patches(), None).unwrap();
    assert_eq!(again, record);
}

/// Remembers what it hears.
#[derive(Default)]
struct Heard(Vec<String>);

impl Observer for Heard {
    fn on_start(&mut self, _: &dyn Autoencoder, epochs: usize) -> Result<()> {
        self.0.push(format!("start {epochs}"));
        Ok(())
    }
    fn on_epoch(&mut self, record: &EpochRecord, _: f64) -> Result<()> {
        self.0.push(format!("{record:?}"));
        Ok(())
    }
    fn on_end(&mut self, _: &dyn Autoencoder, _: &TrainingRecord) -> Result<()> {
        self.0.push("end".to_owned());
        Ok(())
    }
    fn on_failure(&mut self, error: &Error) {
        self.0.push(error.to_string());
    }
}

#[test]
fn an_observer_of_a_resumed_run_hears_all_epochs() {
    let (mut all, mut first, mut second) = (Heard::default(), Heard::default(), Heard::default());
    Trainer::new(settings())
        .with_observer(&mut all)
        .fit(&mut model(), &patches(), None)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = CheckpointConfig::new(folder.path().join("run.safetensors"));
    let stopped = Trainer::new(settings())
        .with_observer(&mut first)
        .with_checkpoint(config.clone())
        .with_progress(&StopAfter::new(18 + 4))
        .fit(&mut model(), &patches(), None);
    assert!(stopped.is_err());
    assert_eq!(first.0.last().unwrap(), "cancelled");
    Trainer::new(settings())
        .with_observer(&mut second)
        .with_checkpoint(config)
        .resume(&mut model(), &patches(), None)
        .unwrap();
    assert_eq!(second.0, all.0);
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_old_one() {
    let run = interrupted();
    let (newest, previous) = (
        fs::read(&run.path).unwrap(),
        fs::read(run.config.previous()).unwrap(),
    );
    let unchanged = || {
        assert!(fs::read(&run.path).unwrap() == newest);
        assert!(fs::read(run.config.previous()).unwrap() == previous);
    };
    let written = |error: Error| match error {
        Error::Io {
            action: "written",
            source,
            ..
        } => source,
        error => panic!("{error}"),
    };
    let partial = PathBuf::from(format!("{}.partial", run.path.display()));
    // Nobody can write a file where a folder is, root included.
    fs::create_dir(&partial).unwrap();
    written(resume(&run.config).unwrap_err());
    unchanged();
    fs::remove_dir(&partial).unwrap();
    #[cfg(target_os = "linux")]
    {
        std::os::unix::fs::symlink("/dev/full", &partial).unwrap();
        let source = written(resume(&run.config).unwrap_err());
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        unchanged();
    }
    assert_eq!(resume(&run.config).unwrap(), straight(settings()).0);
    assert!(!partial.exists());

    let nowhere = CheckpointConfig::new("/nowhere/at/all/run.safetensors");
    let fit = Trainer::new(settings())
        .with_checkpoint(nowhere)
        .fit(&mut model(), &patches(), None);
    assert_eq!(
        written(fit.unwrap_err()).kind(),
        std::io::ErrorKind::NotFound
    );
}

/// Fails after so many batches.
struct FailsAfter(usize);

impl Observer for FailsAfter {
    fn on_batch(&mut self, _: &BatchRecord) -> Result<()> {
        self.0 -= 1;
        match self.0 {
            0 => Err(Error::Image {
                tag: "montage".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// Cannot read its last patch the first time.
struct Flaky {
    patches: PatchBatch,
    is_broken: AtomicBool,
}

impl PatchSource for Flaky {
    fn len(&self) -> usize {
        self.patches.len()
    }
    fn shape(&self) -> PatchShape {
        self.patches.shape()
    }
    fn n_conditions(&self) -> usize {
        0
    }
    fn read(&self, rows: &[usize]) -> Result<PatchBatch, SourceError> {
        match rows.contains(&17) && self.is_broken.load(Ordering::Relaxed) {
            true => self.patches.read(&[99]),
            false => self.patches.read(rows),
        }
    }
}

#[test]
fn the_work_before_an_error_between_batches_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let config = CheckpointConfig::new(folder.path().join("run.safetensors"));
    // Five batches of the first epoch, and two of the second.
    let mut fails = FailsAfter(7);
    let failed = Trainer::new(settings())
        .with_checkpoint(config.clone())
        .with_observer(&mut fails)
        .fit(&mut model(), &patches(), None);
    assert!(matches!(failed, Err(Error::Image { .. })));
    let info = CheckpointInfo::read(&config.path).unwrap();
    assert_eq!((info.epoch, info.batch), (2, 2));
    assert_eq!(resume(&config).unwrap(), straight(settings()).0);
    assert!(fs::read(&config.path).unwrap() == straight(settings()).1);

    let source = Flaky {
        patches: patches(),
        is_broken: AtomicBool::new(true),
    };
    let trainer = || Trainer::new(settings()).with_order(&Sequential);
    let kept = || trainer().with_checkpoint(config.clone());
    let failed = kept().fit(&mut model(), &source, None);
    assert!(matches!(failed, Err(Error::Source(_))));
    let info = CheckpointInfo::read(&config.path).unwrap();
    assert_eq!((info.epoch, info.batch), (1, 4));
    source.is_broken.store(false, Ordering::Relaxed);
    let resumed = kept().resume(&mut model(), &source, None).unwrap();
    let straight = trainer().fit(&mut model(), &source, None).unwrap();
    assert_eq!(resumed, straight);
}

/// Keeps the settings that it is told.
#[derive(Default)]
struct Settings(serde_json::Value);

impl Observer for Settings {
    fn on_settings(&mut self, settings: &serde_json::Value) -> Result<()> {
        self.0 = settings.clone();
        Ok(())
    }
}

#[test]
fn observers_hear_all_settings_and_checkpoints_keep_those_that_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    let mut heard = Settings::default();
    let config = settings().with_prefetch(3).with_read_threads(2);
    Trainer::new(config.clone())
        .with_observer(&mut heard)
        .with_checkpoint(CheckpointConfig::new(&path))
        .fit(&mut model(), &patches(), None)
        .unwrap();
    assert_eq!(heard.0["fit"], serde_json::to_value(config).unwrap());
    let saved = CheckpointInfo::read(&path).unwrap().settings;
    assert_eq!(saved["fit"]["epochs"], 3);
    assert_eq!(saved["fit"].get("prefetch"), None);
    assert_eq!(saved["fit"].get("read_threads"), None);
    assert!(fs::read(&path).unwrap() == straight(settings()).1);
}

/// Hears how much there is to do and how much is done.
#[derive(Default)]
struct Counts {
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress for Counts {
    fn start(&self, _: &str, total: Option<u64>) {
        self.total.store(total.unwrap(), Ordering::Relaxed);
    }
    fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
    }
    fn finish(&self) {}
}

#[test]
fn progress_counts_the_patches_that_an_order_visits() {
    let folder = tempfile::tempdir().unwrap();
    let config = CheckpointConfig::new(folder.path().join("run.safetensors"));
    let trainer = || {
        Trainer::new(settings())
            .with_order(&Twice)
            .with_checkpoint(config.clone())
    };
    let (all, rest) = (Counts::default(), Counts::default());
    let count = |counts: &Counts| {
        let number = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (number(&counts.total), number(&counts.done))
    };
    let (patches, validation) = (patches(), blobs(5, SHAPE, 0, 2));
    trainer()
        .with_progress(&all)
        .fit(&mut model(), &patches, Some(&validation))
        .unwrap();
    assert_eq!(count(&all), (3 * (36 + 5), 3 * (36 + 5)));
    let stop = StopAfter::new(41 + 20);
    let stopped = trainer()
        .with_progress(&stop)
        .fit(&mut model(), &patches, Some(&validation));
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    trainer()
        .with_progress(&rest)
        .resume(&mut model(), &patches, Some(&validation))
        .unwrap();
    assert_eq!(count(&rest), count(&all));

    // As many epochs as there can be are no overflow.
    let stop = StopAfter::new(1);
    let endless = Trainer::new(settings().with_epochs(usize::MAX))
        .with_progress(&stop)
        .fit(&mut model(), &patches, None);
    assert!(matches!(endless, Err(Error::Cancelled(_))));
}

#[test]
fn a_new_run_replaces_the_checkpoints_of_an_old_one() {
    let run = interrupted();
    let stop = CancelToken::new();
    stop.cancel();
    let stopped = Trainer::new(settings())
        .with_checkpoint(run.config.clone())
        .with_progress(&stop)
        .fit(&mut model(), &patches(), None);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    assert_eq!(CheckpointInfo::read(&run.path).unwrap().batches, 0);
    assert!(!run.config.previous().exists());
}

/// Draws some patches twice and others not, as balancing does.
struct Twice;

impl PatchOrder for Twice {
    fn name(&self) -> &str {
        "twice"
    }
    fn length(&self, n: usize) -> usize {
        2 * n
    }
    fn order(&self, n: usize, seed: Seed) -> Result<Vec<usize>, ShapeError> {
        let mut stream = seed.stream("twice", 0);
        Ok((0..2 * n).map(|_| stream.below(n)).collect())
    }
}

struct Wrong(Vec<usize>);

impl PatchOrder for Wrong {
    fn name(&self) -> &str {
        "wrong"
    }
    fn order(&self, _: usize, _: Seed) -> Result<Vec<usize>, ShapeError> {
        Ok(self.0.clone())
    }
}

#[test]
fn orders_of_other_lengths_are_resumed_too_and_wrong_ones_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = |name: &str| CheckpointConfig::new(folder.path().join(name));
    let trainer = |name: &str| {
        Trainer::new(settings())
            .with_order(&Twice)
            .with_checkpoint(config(name))
    };
    let straight = trainer("a").fit(&mut model(), &patches(), None).unwrap();
    let stop = StopAfter::new(36 + 20);
    let stopped = trainer("b")
        .with_progress(&stop)
        .fit(&mut model(), &patches(), None);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    assert_eq!(CheckpointInfo::read(config("b").path).unwrap().batch, 5);
    let resumed = trainer("b").resume(&mut model(), &patches(), None).unwrap();
    assert_eq!(resumed, straight);
    let read = |name: &str| fs::read(config(name).path).unwrap();
    assert!(read("a") == read("b"));

    let refused = |order: Vec<usize>| {
        let order = Wrong(order);
        let mut trainer = Trainer::new(settings()).with_order(&order);
        let error = trainer.fit(&mut model(), &patches(), None).unwrap_err();
        error.to_string()
    };
    assert_eq!(refused(Vec::new()), "the training data holds no patches");
    assert_eq!(
        refused(vec![3, 18]),
        "`order`: expected shape numbers of patches below 18, found [18]"
    );
}

#[test]
fn intervals_of_zero_are_refused() {
    let path = Path::new("run.safetensors");
    for config in [
        CheckpointConfig::new(path).with_every_epochs(Some(0)),
        CheckpointConfig::new(path).with_every_batches(Some(0)),
    ] {
        assert!(config.validate().is_err(), "{config:?}");
    }
    let json = r#"{"path": "run.safetensors", "every_batches": 10}"#;
    let config: CheckpointConfig = serde_json::from_str(json).unwrap();
    assert_eq!(
        config,
        CheckpointConfig::new(path).with_every_batches(Some(10))
    );
}
