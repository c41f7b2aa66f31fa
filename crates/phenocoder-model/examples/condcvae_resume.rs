//! Trains a conditional CVAE, stops in the middle, goes on, and shows that nothing was lost: the weights, the record and the
//! checkpoint are those of a training that was never stopped, bit for bit.
//!
//! ```text
//! cargo run --release -p phenocoder-model --example condcvae_resume
//! cargo run --release -p phenocoder-model --example condcvae_resume FILE
//! ```
//!
//! The first trains twice in a temporary folder, once straight and once stopping itself several times.
//! The second trains into a checkpoint of yours: press Ctrl-C as often as you like, or kill it, and start it again; in the
//! end it prints the same SHA-256 however often it was stopped.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::path::{Path, PathBuf};

use anyhow::ensure;
use candle_core::Device;
use ndarray::Axis;
use phenocoder_core::{CancelToken, PatchBatch, PatchShape, Seed};
use phenocoder_model::train::{
    BatchRecord, CheckpointConfig, CheckpointInfo, EmaConfig, FitConfig, Observer, Trainer,
    TrainingRecord,
};
use phenocoder_model::{Cvae, CvaeConfig, Error};
use phenocoder_patches::augment::AugmentConfig;

const SHAPE: PatchShape = PatchShape::new(16, 16, 2);
const CONDITIONS: usize = 3;
const CELLS: usize = 600;

fn main() -> anyhow::Result<()> {
    println!(
        "Proves that a training that is stopped and resumed ends with the bits of one that is not."
    );
    let stop = CancelToken::new();
    let thrown = stop.clone();
    ctrlc::set_handler(move || thrown.cancel())?;
    match std::env::args_os().nth(1).map(PathBuf::from) {
        Some(path) => yours(&path, &stop),
        None => both_ways(&stop),
    }
}

/// Trains into a file, from where it was stopped.
fn yours(path: &Path, stop: &CancelToken) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    match train(path, 30, &mut lines, stop) {
        Ok(record) => {
            println!("{} epochs done", record.epochs.len());
            println!("SHA-256 {}", CheckpointInfo::read(path)?.sha256);
        }
        Err(Error::Cancelled(_)) => {
            let CheckpointInfo { epoch, batch, .. } = CheckpointInfo::read(path)?;
            println!("stopped in epoch {epoch} after batch {batch}: start it again to go on");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Trains straight and with stops, and compares.
fn both_ways(stop: &CancelToken) -> anyhow::Result<()> {
    const EPOCHS: usize = 6;
    let folder = tempfile::tempdir()?;
    let (a, b) = (
        folder.path().join("straight"),
        folder.path().join("stopped"),
    );
    let straight = train(&a, EPOCHS, &mut Lines::default(), stop)?;
    let mut stops = 0;
    let resumed = loop {
        let own = CancelToken::new();
        let mut after = StopAfter {
            batches: 13 + 4 * stops,
            token: own.clone(),
        };
        match train(&b, EPOCHS, &mut after, &own) {
            Ok(record) => break record,
            Err(Error::Cancelled(_)) if !stop.is_thrown() => {
                let CheckpointInfo { epoch, batch, .. } = CheckpointInfo::read(&b)?;
                println!("stopped in epoch {epoch} after batch {batch}");
                stops += 1;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let hash = |path| CheckpointInfo::read(path).map(|info| info.sha256);
    println!("straight:            SHA-256 {}", hash(&a)?);
    println!("stopped {stops} times:     SHA-256 {}", hash(&b)?);
    ensure!(resumed == straight, "the records differ");
    ensure!(hash(&a)? == hash(&b)?, "the checkpoints differ");
    println!("equal to the bit");
    Ok(())
}

fn train(
    path: &Path,
    epochs: usize,
    observer: &mut dyn Observer,
    stop: &CancelToken,
) -> Result<TrainingRecord, Error> {
    let (patches, validation) = (cells(CELLS, 1), cells(CELLS / 5, 2));
    let settings = FitConfig::new()
        .with_epochs(epochs)
        .with_batch_size(32)
        .with_accumulate(2)
        .with_ema(Some(EmaConfig::new(0.99)));
    let checkpoint = CheckpointConfig::new(path).with_every_batches(Some(10));
    Trainer::new(settings)
        .with_transforms(&[&AugmentConfig::lossless()])
        .with_checkpoint(checkpoint)
        .with_observer(observer)
        .with_progress(stop)
        .fit_or_resume(&mut model()?, &patches, Some(&validation))
}

fn model() -> Result<Cvae, Error> {
    CvaeConfig::new(SHAPE, 8)
        .with_conv_layers([8, 16])
        .with_n_conditions(CONDITIONS)
        .build(Seed::new(1), &Device::Cpu)
}

/// Prints every epoch.
#[derive(Default)]
struct Lines {
    last: usize,
}

impl Observer for Lines {
    fn on_batch(&mut self, batch: &BatchRecord) -> phenocoder_model::Result<()> {
        if batch.epoch != self.last {
            self.last = batch.epoch;
            println!(
                "epoch {} from batch {} on: loss {:.2}",
                batch.epoch, batch.batch, batch.losses.total
            );
        }
        Ok(())
    }
}

/// Asks to stop after so many batches, as Ctrl-C would.
struct StopAfter {
    batches: usize,
    token: CancelToken,
}

impl Observer for StopAfter {
    fn on_batch(&mut self, _: &BatchRecord) -> phenocoder_model::Result<()> {
        self.batches = self.batches.saturating_sub(1);
        if self.batches == 0 {
            self.token.cancel();
        }
        Ok(())
    }
}

/// Round cells of random place, size and brightness, each with one condition.
fn cells(n: usize, seed: u64) -> PatchBatch {
    let mut batch = PatchBatch::zeros(n, SHAPE, CONDITIONS);
    for i in 0..n {
        let mut stream = Seed::new(seed).stream("cell", i as u64);
        let (y0, x0) = (stream.uniform_in(6.0, 10.0), stream.uniform_in(6.0, 10.0));
        let radius = stream.uniform_in(1.5, 5.0);
        let levels = [(); 2].map(|()| stream.uniform());
        for ((y, x, c), value) in batch.pixels.index_axis_mut(Axis(0), i).indexed_iter_mut() {
            let distance = (y as f64 - y0).hypot(x as f64 - x0) / radius;
            *value = (levels[c] * (-distance * distance).exp()) as f32;
        }
        batch.conditions[[i, i % CONDITIONS]] = 1.0;
    }
    batch
}
