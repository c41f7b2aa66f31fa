//! One training step and one encoding of a batch of 64 patches of four channels.

#![allow(clippy::unwrap_used, reason = "the data is valid")]

use candle_core::Device;
use divan::Bencher;
use divan::counter::ItemsCount;
use ndarray::Array2;
use phenocoder_benches::{SEED, pixels};
use phenocoder_core::{PatchBatch, PatchShape};
use phenocoder_model::train::{Adam, AdamConfig, Optimizer};
use phenocoder_model::{Autoencoder, Batch, Cvae, CvaeConfig, Step};

const SIDES: [usize; 2] = [32, 128];
const BATCH: usize = 64;

fn main() {
    divan::main();
}

/// The default network with 32 latents and a batch for it.
fn network(side: usize) -> (Cvae, Batch) {
    let shape = PatchShape::new(side, side, 4);
    let model = CvaeConfig::new(shape, 32)
        .build(SEED, &Device::Cpu)
        .unwrap();
    let patches =
        PatchBatch::new(pixels((BATCH, side, side, 4)), Array2::zeros((BATCH, 0))).unwrap();
    (model, Batch::new(&patches, &Device::Cpu).unwrap())
}

/// Loss, gradients and Adam.
#[divan::bench(args = SIDES, sample_count = 20, sample_size = 1)]
fn training_step_batch_64_side(bencher: Bencher<'_, '_>, side: usize) {
    let (model, batch) = network(side);
    let mut adam = Adam::new(AdamConfig::default());
    let mut index = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let losses = model.loss(&batch, &Step::training(SEED, index)).unwrap();
        let gradients = losses.total.backward().unwrap();
        let gradients = model.parameters().gradients(&gradients).unwrap();
        adam.step(model.parameters(), &gradients, 1e-3).unwrap();
        index += 1;
    });
}

#[divan::bench(args = SIDES, sample_count = 20, sample_size = 1)]
fn encode_batch_64_side(bencher: Bencher<'_, '_>, side: usize) {
    let (model, batch) = network(side);
    bencher
        .counter(ItemsCount::new(BATCH))
        .bench_local(|| model.encode(&batch).unwrap());
}
