//! The default network without conditions: a training step and an encoding of a batch of 64, an epoch and an encoding of many.

#![allow(clippy::unwrap_used, reason = "the data is valid")]

use candle_core::Device;
use divan::Bencher;
use divan::counter::ItemsCount;
use ndarray::Array2;
use phenocoder_benches::peers::{BATCH, PlainAdam, config};
use phenocoder_benches::{SEED, pixels};
use phenocoder_core::{NoProgress, PatchBatch};
use phenocoder_model::train::{FitConfig, fit};
use phenocoder_model::{Autoencoder, Batch, Cvae, Latent, Step, encode};

const SIDES: [usize; 2] = [32, 128];
/// Patches of an epoch.
const PATCHES: usize = 1024;

fn main() {
    divan::main();
}

fn network(side: usize) -> Cvae {
    config(side).build(SEED, &Device::Cpu).unwrap()
}

fn patches(n: usize, side: usize) -> PatchBatch {
    PatchBatch::new(pixels((n, side, side, 4)), Array2::zeros((n, 0))).unwrap()
}

/// Loss, gradients and Adam.
#[divan::bench(args = SIDES, sample_count = 20, sample_size = 1)]
fn training_step_batch_64_side(bencher: Bencher<'_, '_>, side: usize) {
    let model = network(side);
    let batch = Batch::new(&patches(BATCH, side), &Device::Cpu).unwrap();
    let mut adam = PlainAdam::new(&model);
    let mut index = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let step = Step::training(SEED, index);
        model.train_step(&batch, &step, &mut adam).unwrap();
        index += 1;
    });
}

#[divan::bench(args = SIDES, sample_count = 20, sample_size = 1)]
fn encode_batch_64_side(bencher: Bencher<'_, '_>, side: usize) {
    let model = network(side);
    let batch = Batch::new(&patches(BATCH, side), &Device::Cpu).unwrap();
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| model.encode(&batch).unwrap());
}

/// What the trainer adds to its steps: shuffling, copies into batches, records.
#[divan::bench(args = SIDES, sample_count = 5, sample_size = 1)]
fn epoch_of_1024_patches_in_memory_side(bencher: Bencher<'_, '_>, side: usize) {
    let patches = patches(PATCHES, side);
    let settings = FitConfig::new().with_epochs(1).with_batch_size(BATCH);
    bencher
        .counter(ItemsCount::new(PATCHES))
        .with_inputs(|| network(side))
        .bench_local_refs(|model| {
            fit(model, &patches, None, &settings, &mut [], &NoProgress).unwrap()
        });
}

#[divan::bench(args = SIDES, sample_count = 5, sample_size = 1)]
fn encode_1024_patches_in_memory_side(bencher: Bencher<'_, '_>, side: usize) {
    let (model, patches) = (network(side), patches(PATCHES, side));
    bencher
        .counter(ItemsCount::new(PATCHES))
        .bench_local(|| encode(&model, &patches, BATCH, Latent::Mean, &NoProgress).unwrap());
}
