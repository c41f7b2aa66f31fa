//! The same bits for any number of threads.

use candle_core::{Device, Tensor, Var};
use phenocoder_core::{NoProgress, PatchShape, Seed};
use phenocoder_model::models::mevae::{Fusion, MeVaeConfig};
use phenocoder_model::train::{FitConfig, Trainer, TrainingRecord, fit};
use phenocoder_model::{Autoencoder, CvaeConfig, Latent, encode};
use phenocoder_patches::augment::AugmentConfig;
use sha2::{Digest, Sha256};

use crate::support::flat;
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
fn how_far_and_on_how_many_threads_batches_are_read_ahead_changes_no_bit() {
    let shape = PatchShape::new(8, 8, 2);
    let train = |prefetch: usize, threads: usize| {
        let mut model = CvaeConfig::new(shape, 2)
            .with_conv_layers([4])
            .build(Seed::new(0), &Device::Cpu)
            .unwrap();
        let settings = FitConfig::new()
            .with_epochs(2)
            .with_batch_size(8)
            .with_prefetch(prefetch)
            .with_read_threads(threads);
        let record = Trainer::new(settings)
            .with_transforms(&[&AugmentConfig::lossless()])
            .fit(&mut model, &blobs(50, shape, 0, 1), None)
            .unwrap();
        let snapshot = model.parameters().snapshot().unwrap();
        (record, snapshot.values("encoder.dense.kernel").unwrap())
    };
    let first = train(2, 1);
    for (prefetch, threads) in [(1, 1), (1, 3), (6, 4)] {
        assert_eq!(train(prefetch, threads), first, "{prefetch} {threads}");
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

/// Values and gradients of every kernel on tensors that are cut into several pieces.
fn every_kernel(threads: usize) -> Vec<(&'static str, String)> {
    use phenocoder_model::kernel::*;

    let var = |shape: &[usize], name: &str| {
        let mut stream = Seed::new(3).stream(name, 0);
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| stream.normal() as f32)
            .collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let image = var(&[19, 33, 30, 7], "image");
    let vector = var(&[7], "vector");
    let running =
        RunningStatistics::new(vector.as_detached_tensor(), vector.sqr().unwrap().detach());
    let norm = BatchNormConfig::new().with_activation(Activation::Relu);
    let conv = ConvConfig::new()
        .with_stride(2)
        .with_padding(Padding::Symmetric(1))
        .with_activation(Activation::Relu);
    let transposed = ConvTransposeConfig::new()
        .with_stride(2)
        .with_cropping(Padding::Symmetric(1));
    let pooling = PoolConfig::new(3)
        .with_stride(2)
        .with_padding(Padding::Symmetric(1));
    let signal = var(&[37, 211, 7], "signal");
    let kernel = var(&[3, 3, 7, 7], "kernel");
    let line = var(&[3, 7, 7], "line");
    let rows = var(&[531, 70], "rows");
    let matrix = var(&[70, 45], "matrix");
    let bias = var(&[45], "bias");
    let other = var(&[531, 70], "other");
    let layer = ConvLayer::conv(7)
        .with_stride(2)
        .with_activation(Activation::Relu);
    let stack = ConvStack::new([33, 30, 7], &[layer, ConvLayer::conv_transpose(7)]).unwrap();

    type Kernel<'a> = Box<dyn Fn() -> phenocoder_model::Result<Tensor> + Sync + Send + 'a>;
    let all: Vec<(&str, Kernel<'_>)> = vec![
        (
            "conv2d",
            Box::new(|| conv2d_with(&image, &kernel, Some(&vector), &conv)),
        ),
        (
            "conv_transpose2d",
            Box::new(|| conv_transpose2d_with(&image, &kernel, Some(&vector), &transposed)),
        ),
        ("conv1d", Box::new(|| conv1d(&signal, &line, None, &conv))),
        (
            "conv_transpose1d",
            Box::new(|| conv_transpose1d(&signal, &line, None, &transposed)),
        ),
        (
            "dense",
            Box::new(|| dense(&rows, &matrix, &bias, Activation::Relu)),
        ),
        (
            "stack",
            Box::new(|| {
                stack.apply(
                    &image,
                    &[(&kernel, &vector), (&kernel, &vector)],
                    Keep::Gradients,
                )
            }),
        ),
        (
            "batch_norm_train",
            Box::new(|| Ok(batch_norm_train(&image, &vector, &vector, &running, &norm)?.0)),
        ),
        (
            "running variance",
            Box::new(|| {
                Ok(batch_norm_train(&image, &vector, &vector, &running, &norm)?
                    .1
                    .variance)
            }),
        ),
        (
            "batch_norm",
            Box::new(|| batch_norm(&image, &vector, &vector, &running, &norm)),
        ),
        ("max_pool2d", Box::new(|| max_pool2d(&image, &pooling))),
        (
            "average_pool2d",
            Box::new(|| average_pool2d(&image, &pooling)),
        ),
        (
            "global_average_pool",
            Box::new(|| global_average_pool(&image)),
        ),
        (
            "upsample_nearest2d",
            Box::new(|| upsample_nearest2d(&image, 2)),
        ),
        (
            "resize_nearest2d",
            Box::new(|| resize_nearest2d(&image, [20, 40])),
        ),
        ("pad_circular2d", Box::new(|| pad_circular2d(&image, 2))),
        (
            "binary_cross_entropy",
            Box::new(|| binary_cross_entropy(&rows, &other)),
        ),
        (
            "squared_error",
            Box::new(|| squared_error(&rows, &other, Reduction::Mean)),
        ),
        (
            "kl_divergence",
            Box::new(|| kl_divergence(&rows, &other, 2.0)),
        ),
        (
            "sample_normal",
            Box::new(|| sample_normal(&rows, &other, &rows)),
        ),
    ];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(|| {
        let mut digests = Vec::new();
        for (name, kernel_of) in &all {
            let y = kernel_of().unwrap();
            let mut values = flat(&y);
            let loss = y.sqr().unwrap().sum_all().unwrap();
            let store = loss.backward().unwrap();
            for variable in [
                &image, &vector, &signal, &kernel, &line, &rows, &matrix, &bias, &other,
            ] {
                if let Some(gradient) = store.get(variable) {
                    values.extend(flat(gradient));
                }
            }
            digests.push((*name, digest(values)));
        }
        digests
    })
}

#[test]
fn every_kernel_has_the_same_bits_on_one_to_four_threads() {
    let one = every_kernel(1);
    for threads in 2..=4 {
        assert_eq!(one, every_kernel(threads), "{threads} threads");
    }
}

#[test]
fn a_me_vae_trains_to_the_same_bits_on_one_and_two_threads() {
    let train = |threads: usize, fusion: Fusion| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let shape = PatchShape::new(16, 16, 2);
            let mut patches = blobs(70, shape, 0, 1);
            patches.views = (2..4)
                .map(|seed| blobs(70, shape, 0, seed).pixels)
                .collect();
            let config = MeVaeConfig::new(shape, 5)
                .with_conv_layers([8, 20])
                .with_dense_dim(33)
                .with_fusion(fusion);
            let mut model = config.build(Seed::new(5), &Device::Cpu).unwrap();
            let settings = FitConfig::new()
                .with_epochs(2)
                .with_batch_size(32)
                .with_seed(Seed::new(9));
            let record = fit(&mut model, &patches, None, &settings, &mut [], &NoProgress).unwrap();
            let snapshot = model.parameters().snapshot().unwrap();
            let weights = snapshot
                .tensors()
                .values()
                .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
            let latents = encode(&model, &patches, 16, Latent::Mean, &NoProgress).unwrap();
            (digest(weights), digest(latents), record)
        })
    };
    for fusion in [Fusion::Product, Fusion::ProductOfExperts, Fusion::Mean] {
        let one = train(1, fusion);
        assert_eq!(one, train(2, fusion), "{fusion:?}");
        let first = one.2.epochs[0].train.total;
        assert!(one.2.epochs[1].train.total < first, "{fusion:?} learns");
    }
}
