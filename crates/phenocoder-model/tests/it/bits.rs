//! The same bits for any number of threads.

use candle_core::Device;
use phenocoder_core::{NoProgress, PatchShape, Seed};
use phenocoder_model::train::{FitConfig, Trainer, TrainingRecord, fit};
use phenocoder_model::{Autoencoder, CvaeConfig, Latent, encode};
use phenocoder_patches::augment::AugmentConfig;
use sha2::{Digest, Sha256};

use crate::synthetic::blobs;

fn digest(values: impl IntoIterator<Item = f32>) -> String {
    let mut hash = Sha256::new();
    for value in values {
        hash.update(value.to_bits().to_le_bytes());
    }
    format!("{:x?}", hash.finalize().as_slice())
}

fn train(threads: usize, dim: usize) -> (String, String, TrainingRecord) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(|| {
        let shape = PatchShape::new(dim, dim, 3);
        let patches = blobs(70, shape, 4, 1);
        let config = CvaeConfig::new(shape, 8)
            .with_conv_layers([8, 20, 33])
            .with_n_conditions(4);
        let mut model = config.build(Seed::new(5), &Device::Cpu).unwrap();
        let settings = FitConfig::new()
            .with_epochs(2)
            .with_batch_size(32)
            .with_seed(Seed::new(9));
        let validation = blobs(20, shape, 4, 2);
        let record = Trainer::new(settings)
            .with_transforms(&[&AugmentConfig::lossless()])
            .fit(&mut model, &patches, Some(&validation))
            .unwrap();
        let snapshot = model.parameters().snapshot().unwrap();
        let weights = snapshot
            .tensors()
            .values()
            .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        let latents = encode(&model, &patches, 16, Latent::Mean, &NoProgress).unwrap();
        (digest(weights), digest(latents), record)
    })
}

#[test]
fn training_and_encoding_have_the_same_bits_on_one_two_and_four_threads() {
    let one = train(1, 32);
    for threads in [2, 4] {
        let many = train(threads, 32);
        assert_eq!(one.0, many.0, "weights on {threads} threads");
        assert_eq!(one.1, many.1, "latents on {threads} threads");
        assert_eq!(one.2, many.2, "record on {threads} threads");
    }
}

#[test]
fn another_seed_trains_other_weights() {
    let shape = PatchShape::new(8, 8, 1);
    let weights = |seed: u64| {
        let mut model = CvaeConfig::new(shape, 2)
            .with_conv_layers([4])
            .build(Seed::new(0), &Device::Cpu)
            .unwrap();
        let settings = FitConfig::new().with_epochs(1).with_seed(Seed::new(seed));
        let patches = blobs(10, shape, 0, 1);
        fit(&mut model, &patches, None, &settings, &mut [], &NoProgress).unwrap();
        let snapshot = model.parameters().snapshot().unwrap();
        snapshot.values("encoder.dense.kernel").unwrap()
    };
    assert_ne!(weights(1), weights(2));
}
