//! A run that is killed, cut off or damaged and resumed ends as one that was not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use candle_core::Device;
use phenocoder_core::{PatchBatch, PatchShape, Seed};
use phenocoder_model::train::{
    CheckpointConfig, CheckpointInfo, EarlyStoppingConfig, EmaConfig, FitConfig, PlateauConfig,
    Trainer, TrainingRecord, ValidationNoise,
};
use phenocoder_model::{Cvae, CvaeConfig, Result};
use phenocoder_patches::augment::AugmentConfig;
use sha2::{Digest, Sha256};

use crate::synthetic::blobs;

const SHAPE: PatchShape = PatchShape::new(16, 16, 2);
const FOLDER: &str = "PHENOCODER_TEST_RESUME";
const KILLS: usize = 22;

fn data() -> (PatchBatch, PatchBatch) {
    (blobs(70, SHAPE, 3, 1), blobs(20, SHAPE, 3, 2))
}

/// Dropout and noise, so that chance matters, and enough weights that writing takes its time.
fn model() -> Cvae {
    CvaeConfig::new(SHAPE, 6)
        .with_conv_layers([8, 16])
        .with_dense_dim(128)
        .with_dropout(0.3)
        .with_n_conditions(3)
        .build(Seed::new(3), &Device::Cpu)
        .unwrap()
}

/// Nine batches per epoch, three updates of four, four and one batch.
fn settings() -> FitConfig {
    FitConfig::new()
        .with_epochs(24)
        .with_batch_size(8)
        .with_accumulate(4)
        .with_learning_rate(2e-3)
        .with_plateau(Some(PlateauConfig::new().with_patience(1)))
        .with_early_stopping(Some(EarlyStoppingConfig::new().with_patience(22)))
        .with_ema(Some(EmaConfig::new(0.8)))
        .with_validation_noise(ValidationNoise::Sampled)
        .with_seed(Seed::new(u64::MAX - 5))
}

fn train(path: &Path) -> Result<TrainingRecord> {
    let (train, validation) = data();
    let checkpoint = CheckpointConfig::new(path).with_every_batches(Some(2));
    Trainer::new(settings())
        .with_transforms(&[&AugmentConfig::lossless()])
        .with_checkpoint(checkpoint)
        .fit_or_resume(&mut model(), &train, Some(&validation))
}

fn hash(path: &Path) -> String {
    format!("{:x?}", Sha256::digest(fs::read(path).unwrap()).as_slice())
}

/// This test again as a program of its own, which trains in `folder` to the end or until it is killed.
fn start(folder: &Path, threads: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "resume::a_run_that_is_killed_ends_with_the_checkpoint_of_one_that_is_not",
        ])
        .env(FOLDER, folder)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// When a child is killed.
#[derive(Debug)]
enum Moment {
    /// After so much time.
    After(Duration),
    /// When it has begun to write its next checkpoint.
    Writing,
    /// When it has written so many checkpoints.
    Written(usize),
}

/// Waits for the moment; false if the child ended before it.
fn wait(child: &mut Child, path: &Path, moment: &Moment) -> bool {
    let state = || fs::metadata(path).and_then(|m| m.modified()).ok();
    let partial = PathBuf::from(format!("{}.partial", path.display()));
    // What the child before left is not what this one writes.
    let _ = fs::remove_file(&partial);
    let (begin, mut last, mut changes) = (Instant::now(), state(), 0);
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let now = state();
        if now.is_some() && now != last {
            (last, changes) = (now, changes + 1);
        }
        let is_there = match moment {
            Moment::After(duration) => begin.elapsed() >= *duration,
            Moment::Writing => changes > 0 && partial.exists(),
            Moment::Written(n) => changes >= *n,
        };
        if is_there {
            return true;
        }
    }
}

#[test]
fn a_run_that_is_killed_ends_with_the_checkpoint_of_one_that_is_not() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        train(&Path::new(&folder).join("run.safetensors")).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let straight = folder.path().join("straight.safetensors");
    let record = train(&straight).unwrap();
    let expected = hash(&straight);
    for threads in [1, 2] {
        let folder = folder.path().join(threads.to_string());
        fs::create_dir(&folder).unwrap();
        let path = folder.join("run.safetensors");
        let mut stream = Seed::new(7).stream("kill", threads as u64);
        let (mut kills, mut cut) = (0, 0);
        loop {
            let mut child = start(&folder, threads);
            let moment = match stream.below(3) {
                0 => Moment::After(Duration::from_micros(stream.below(60_000) as u64)),
                1 => Moment::Writing,
                _ => Moment::Written(1 + stream.below(2)),
            };
            if kills == KILLS || !wait(&mut child, &path, &moment) {
                assert!(child.wait().unwrap().success());
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            cut += usize::from(folder.join("run.safetensors.partial").exists());
        }
        let info = CheckpointInfo::read(&path).unwrap();
        println!("{threads} threads: {kills} kills, {cut} of them while writing");
        assert!(kills >= 20, "only {kills} kills");
        assert!(cut > 0, "no kill hit a checkpoint being written");
        assert_eq!(info.record, record);
        assert_eq!(hash(&path), expected, "{threads} threads");
    }
}
