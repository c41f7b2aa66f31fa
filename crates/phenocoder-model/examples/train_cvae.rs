//! Trains a conditional CVAE on patches made in memory, and times its training step.
//!
//! It proves that the crate works alone: no store, no table, only patches.
//! Run it with `cargo run --release -p phenocoder-model --example train_cvae [FOLDER]`; with a folder it writes the history
//! there as CSV and as TensorBoard event file. `RAYON_NUM_THREADS` sets the threads.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::path::PathBuf;
use std::time::Instant;

use candle_core::Device;
use ndarray::Axis;
use phenocoder_core::{NoProgress, PatchBatch, PatchShape, Seed};
use phenocoder_model::train::{
    Adam, CsvObserver, FitConfig, Observer, Optimizer, TensorBoardObserver, Trainer,
};
use phenocoder_model::{Autoencoder, Batch, CvaeConfig, Latent, SavedModel, Step, encode};
use phenocoder_patches::augment::AugmentConfig;

const SHAPE: PatchShape = PatchShape::new(32, 32, 4);
const CONDITIONS: usize = 53;

fn main() -> anyhow::Result<()> {
    let config = CvaeConfig::new(SHAPE, 32).with_n_conditions(CONDITIONS);
    let mut model = config.build(Seed::new(1), &Device::Cpu)?;
    println!("{} weights", model.parameters().count());

    time_steps(&model)?;

    let (train, validation) = (cells(512, 1), cells(128, 2));
    let augment = AugmentConfig::lossless();
    let mut observers: Vec<Box<dyn Observer>> = Vec::new();
    if let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) {
        observers.push(Box::new(TensorBoardObserver::create(&folder)?));
        observers.push(Box::new(CsvObserver::create(folder.join("history.csv"))?));
    }
    let mut trainer = Trainer::new(FitConfig::new().with_epochs(5)).with_transforms(&[&augment]);
    for observer in &mut observers {
        trainer = trainer.with_observer(observer.as_mut());
    }
    let record = trainer.fit(&mut model, &train, Some(&validation))?;
    for (epoch, seconds) in record.epochs.iter().zip(&record.seconds) {
        let validation = epoch.validation.as_ref().map_or(f64::NAN, |v| v.total);
        println!(
            "epoch {}: train {:.1}, validation {validation:.1}, {seconds:.2} s",
            epoch.epoch, epoch.train.total
        );
    }
    let latents = encode(&model, &validation, 64, Latent::Mean, &NoProgress)?;
    println!("latents: {:?}", latents.dim());

    let mut saved = SavedModel::new(model);
    saved.sections.set("training", &record)?;
    let path = std::env::temp_dir().join(format!("train_cvae-{}.safetensors", std::process::id()));
    saved.save(&path)?;
    let loaded = SavedModel::load(&path, &Device::Cpu)?;
    std::fs::remove_file(&path)?;
    let again = encode(
        loaded.model.as_ref(),
        &validation,
        64,
        Latent::Mean,
        &NoProgress,
    )?;
    println!("the loaded model encodes the same: {}", latents == again);
    Ok(())
}

/// Round cells of random place, size and brightness, each with one condition.
fn cells(n: usize, seed: u64) -> PatchBatch {
    let mut batch = PatchBatch::zeros(n, SHAPE, CONDITIONS);
    for i in 0..n {
        let mut stream = Seed::new(seed).stream("cell", i as u64);
        let (y0, x0) = (stream.uniform_in(12.0, 20.0), stream.uniform_in(12.0, 20.0));
        let radius = stream.uniform_in(3.0, 10.0);
        let levels = [(); 4].map(|()| stream.uniform());
        for ((y, x, c), value) in batch.pixels.index_axis_mut(Axis(0), i).indexed_iter_mut() {
            let distance = (y as f64 - y0).hypot(x as f64 - x0) / radius;
            *value = (levels[c] * (-distance * distance).exp()) as f32;
        }
        batch.conditions[[i, i % CONDITIONS]] = 1.0;
    }
    batch
}

/// Milliseconds per training step and per encoded batch, the best of several.
fn time_steps(model: &dyn Autoencoder) -> anyhow::Result<()> {
    let batch = Batch::new(&cells(64, 3), model.device())?;
    let before = model.parameters().snapshot()?;
    let mut adam = Adam::default();
    let (mut step_time, mut encode_time) = (f64::INFINITY, f64::INFINITY);
    for index in 0..30 {
        let start = Instant::now();
        let losses = model.loss(&batch, &Step::training(Seed::new(1), index))?;
        let gradients = model.parameters().gradients(&losses.total.backward()?)?;
        adam.step(model.parameters(), &gradients, 1e-3)?;
        step_time = step_time.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        model.encode(&batch)?;
        encode_time = encode_time.min(start.elapsed().as_secs_f64());
    }
    model.parameters().restore(&before)?;
    let (step, encode) = (step_time * 1e3, encode_time * 1e3);
    println!(
        "batch of 64 on {} threads: training step {step:.1} ms, encoding {encode:.2} ms",
        rayon::current_num_threads()
    );
    Ok(())
}
