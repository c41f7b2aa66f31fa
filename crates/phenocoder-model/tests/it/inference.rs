//! Samples, walks and transfers: what they must equal, that batches and threads do not matter, what is refused.

use candle_core::Device;
use ndarray::{Array2, Array4, Axis, arr2};
use phenocoder_core::{CancelToken, NoProgress, PatchBatch, PatchShape, Progress, Seed};
use phenocoder_model::models::mevae::{Fusion, MeVaeConfig};
use phenocoder_model::{
    ConfigError, Cvae, CvaeConfig, Error, Grid, InterpolateConfig, Latent, LatentPath,
    SampleConfig, TransferConfig, TraverseConfig, decode, encode, interpolate, reconstruct, sample,
    transfer, traverse,
};
use phenocoder_testdata::find;

use crate::synthetic::blobs;

const SHAPE: PatchShape = PatchShape::new(16, 16, 2);

/// A network as initialized: its latents and patches differ from cell to cell and from condition to condition.
fn model(conditions: usize) -> Cvae {
    let config = CvaeConfig::new(SHAPE, 5)
        .with_conv_layers([8, 12])
        .with_n_conditions(conditions);
    config.build(Seed::new(3), &Device::Cpu).unwrap()
}

fn cells(conditions: usize) -> PatchBatch {
    blobs(11, SHAPE, conditions, 4)
}

fn bits<'a>(values: impl IntoIterator<Item = &'a f32>) -> Vec<u32> {
    values.into_iter().map(|v| v.to_bits()).collect()
}

/// Runs with one thread and one batch size after the other, and expects the same bits.
fn for_all_batches_and_threads(run: impl Fn(usize) -> Array4<f32> + Sync) {
    let on = |threads, batch_size| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        pool.install(|| bits(&run(batch_size)))
    };
    let expected = on(1, 64);
    assert!(
        expected.iter().any(|value| *value != expected[0]),
        "not all the same"
    );
    for (threads, batch_size) in [(1, 1), (1, 3), (4, 64), (4, 5)] {
        let same = on(threads, batch_size) == expected;
        assert!(same, "{threads} threads, batches of {batch_size}");
    }
}

#[test]
fn samples_of_a_product_of_encoders_come_from_a_product_of_normals() {
    let shape = PatchShape::new(4, 4, 1);
    let kurtosis = |fusion: Fusion| {
        let config = MeVaeConfig::new(shape, 20)
            .with_conv_layers([4])
            .with_fusion(fusion);
        let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
        let config = SampleConfig::new(4000).with_seed(Seed::new(3));
        let latents = sample(&model, &config, &NoProgress).unwrap().latents;
        let fewer = sample(
            &model,
            &SampleConfig::new(7).with_seed(Seed::new(3)),
            &NoProgress,
        );
        assert_eq!(fewer.unwrap().latents, latents.slice(ndarray::s![..7, ..]));
        let mean = |k: i32| latents.mapv(|z| f64::from(z).powi(k)).mean().unwrap();
        mean(4) / mean(2).powi(2)
    };
    let product = kurtosis(Fusion::Product);
    assert!((7.0..11.0).contains(&product), "3 squared: {product}");
    let experts = kurtosis(Fusion::ProductOfExperts);
    assert!((experts - 3.0).abs() < 0.2, "{experts}");
}

#[test]
fn samples_come_from_the_prior_and_depend_on_the_seed_and_the_condition_alone() {
    let model = model(2);
    let config = SampleConfig::new(7)
        .with_seed(Seed::new(5))
        .with_condition([1.0, 0.0]);
    for_all_batches_and_threads(|batch_size| {
        let config = config.clone().with_batch_size(batch_size);
        sample(&model, &config, &NoProgress).unwrap().patches
    });
    let first = sample(&model, &config, &NoProgress).unwrap();
    let more = SampleConfig::new(9)
        .with_seed(Seed::new(5))
        .with_condition([1.0, 0.0]);
    let more = sample(&model, &more, &NoProgress).unwrap();
    let head = more.latents.slice(ndarray::s![..7, ..]);
    assert_eq!(
        first.latents, head,
        "a sample does not depend on how many follow"
    );
    let other = config.clone().with_condition([0.0, 1.0]);
    let other = sample(&model, &other, &NoProgress).unwrap();
    assert_eq!(first.latents, other.latents);
    assert_ne!(first.patches, other.patches);
    let reseeded = config.clone().with_seed(Seed::new(6));
    let reseeded = sample(&model, &reseeded, &NoProgress).unwrap();
    assert_ne!(first.latents, reseeded.latents);

    let many = SampleConfig::new(2_000).with_condition([1.0, 0.0]);
    let many = sample(&model, &many, &NoProgress).unwrap().latents;
    let n = many.len() as f32;
    let mean = many.sum() / n;
    let variance = many.mapv(|v| v * v).sum() / n - mean * mean;
    assert!(
        mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05,
        "{mean} {variance}"
    );
    let cold = config.with_temperature(0.0);
    let cold = sample(&model, &cold, &NoProgress).unwrap();
    assert!(cold.latents.iter().all(|v| *v == 0.0));
}

#[test]
fn a_walk_at_the_own_value_is_the_reconstruction() {
    for conditions in [0, 2] {
        let (model, cells) = (model(conditions), cells(conditions));
        let rows = [2, 0, 9];
        let expected = reconstruct(&model, &cells, &rows, 64, &NoProgress).unwrap();
        for latent in 0..5 {
            let config = TraverseConfig::new(latent).with_grid(Grid::around([-1.0, 0.0, 1.0]));
            let walk = traverse(&model, &cells, &rows, &config, &NoProgress).unwrap();
            assert_eq!(bits(walk.patches.index_axis(Axis(1), 1)), bits(&expected));
            let other = walk.patches.index_axis(Axis(1), 2);
            assert_ne!(
                bits(other),
                bits(&expected),
                "another value makes another patch"
            );
        }
    }
}

#[test]
fn a_walk_changes_one_latent_alone() {
    let (model, cells) = (model(0), cells(0));
    let encoded = encode(&model, &cells, 64, Latent::Mean, &NoProgress).unwrap();
    let config = TraverseConfig::new(3).with_grid(Grid::at([-2.0, 0.5]));
    let walk = traverse(&model, &cells, &[4, 7], &config, &NoProgress).unwrap();
    for (cell, row) in [4, 7].into_iter().enumerate() {
        for (step, value) in [-2.0, 0.5].into_iter().enumerate() {
            let mut expected = encoded.row(row).to_owned();
            expected[3] = value;
            let found = walk.latents.index_axis(Axis(0), cell);
            assert_eq!(found.row(step), expected);
        }
    }
    let flat = walk.latents.into_shape_with_order((4, 5)).unwrap();
    let none = Array2::zeros((4, 0));
    let decoded = decode(&model, flat.view(), none.view(), 64, &NoProgress).unwrap();
    assert_eq!(bits(&decoded), bits(&walk.patches));
}

#[test]
fn the_default_grid_is_that_of_the_golden() {
    let Some(path) = find("parity/models/mevae.json") else {
        return;
    };
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let grids = golden["latent_walk_grid"].as_object().unwrap();
    let mut compared = 0;
    for (n, expected) in grids {
        let found = Grid::quantiles(n.parse().unwrap()).values().unwrap();
        let expected = expected.as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            let difference = (f - e.as_f64().unwrap()).abs();
            assert!(difference < 1e-12, "{f} {e}");
            compared += 1;
        }
    }
    assert_eq!(compared, 15);
}

#[test]
fn the_ends_of_an_interpolation_are_the_reconstructions() {
    for conditions in [0, 3] {
        let (model, cells) = (model(conditions), cells(conditions));
        let (first, last) = ([1, 5], [8, 6]);
        let pairs = [(1, 8), (5, 6)];
        for path in [LatentPath::Linear, LatentPath::Spherical] {
            let config = InterpolateConfig::new(4).with_path(path);
            let walk = interpolate(&model, &cells, &pairs, &config, &NoProgress).unwrap();
            assert_eq!(walk.patches.dim(), (2, 4, 16, 16, 2));
            for (step, rows) in [(0, first), (3, last)] {
                let expected = reconstruct(&model, &cells, &rows, 64, &NoProgress).unwrap();
                let found = walk.patches.index_axis(Axis(1), step);
                assert_eq!(bits(found), bits(&expected), "{path:?} step {step}");
            }
            let middle = walk.patches.index_axis(Axis(1), 1);
            assert_ne!(bits(middle), bits(walk.patches.index_axis(Axis(1), 0)));
        }
    }
}

#[test]
fn a_transfer_to_the_own_condition_is_the_reconstruction() {
    let (model, cells) = (model(3), cells(3));
    let rows: Vec<usize> = (0..11).collect();
    let run = |conditions: &Array2<f32>, batch_size| {
        let config = TransferConfig::new().with_batch_size(batch_size);
        transfer(
            &model,
            &cells,
            &rows,
            conditions.view(),
            &config,
            &NoProgress,
        )
        .unwrap()
    };
    let own = run(&cells.conditions, 64);
    let expected = reconstruct(&model, &cells, &rows, 64, &NoProgress).unwrap();
    assert_eq!(bits(&own.patches), bits(&expected));
    let target = arr2(&[[0.0, 0.0, 1.0]]);
    let there = run(&target, 64);
    assert_eq!(there.latents, own.latents);
    for row in 0..11 {
        let same = there.patches.index_axis(Axis(0), row) == own.patches.index_axis(Axis(0), row);
        assert_eq!(
            same,
            row % 3 == 2,
            "only cells of the condition stay as they are"
        );
    }
    for_all_batches_and_threads(|batch_size| run(&target, batch_size).patches);
    let config = TransferConfig::new().with_latent(Latent::Sampled(Seed::new(1)));
    let sampled = transfer(&model, &cells, &rows, target.view(), &config, &NoProgress).unwrap();
    assert_ne!(sampled.latents, there.latents);
}

#[test]
fn walks_do_not_depend_on_batches_and_threads() {
    let (model, cells) = (model(2), cells(2));
    let rows: Vec<usize> = (0..11).rev().collect();
    for_all_batches_and_threads(|batch_size| {
        let config = TraverseConfig::new(1).with_batch_size(batch_size);
        let walk = traverse(&model, &cells, &rows, &config, &NoProgress).unwrap();
        walk.patches
            .into_shape_with_order((110, 16, 16, 2))
            .unwrap()
    });
    for_all_batches_and_threads(|batch_size| {
        let config = InterpolateConfig::new(5).with_batch_size(batch_size);
        let walk = interpolate(&model, &cells, &[(0, 3), (9, 2)], &config, &NoProgress).unwrap();
        walk.patches.into_shape_with_order((10, 16, 16, 2)).unwrap()
    });
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (plain, cells) = (model(0), cells(0));
    let conditional = model(2);
    let message = |error: Error| error.to_string();
    let config = SampleConfig::new(1).with_condition([1.0]);
    let error = sample(&conditional, &config, &NoProgress).unwrap_err();
    assert!(message(error).contains("condition"));
    let config = SampleConfig::new(1).with_temperature(f64::NAN);
    assert!(sample(&plain, &config, &NoProgress).is_err());
    let error = traverse(&plain, &cells, &[0], &TraverseConfig::new(5), &NoProgress).unwrap_err();
    assert_eq!(
        message(error),
        "`latent` is 5, expected less than the number of latents"
    );
    let empty = TraverseConfig::new(0).with_grid(Grid::at([]));
    assert!(traverse(&plain, &cells, &[0], &empty, &NoProgress).is_err());
    let one = InterpolateConfig::new(1);
    let error = interpolate(&plain, &cells, &[(0, 1)], &one, &NoProgress).unwrap_err();
    assert_eq!(
        message(error),
        "`steps` is 1, expected at least 2, for both ends"
    );
    let conditions = arr2(&[[1.0_f32, 0.0]]);
    let settings = TransferConfig::new();
    let run = |model: &Cvae, patches: &PatchBatch, conditions: &Array2<f32>| {
        transfer(
            model,
            patches,
            &[0, 1, 2],
            conditions.view(),
            &settings,
            &NoProgress,
        )
    };
    let error = run(&plain, &cells, &conditions).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::NoConditions)));
    let known = blobs(4, SHAPE, 2, 1);
    assert!(matches!(
        run(&conditional, &known, &arr2(&[[1.0]])),
        Err(Error::Shape(_))
    ));
    let two = arr2(&[[1.0, 0.0], [0.0, 1.0]]);
    assert!(matches!(
        run(&conditional, &known, &two),
        Err(Error::Shape(_))
    ));
    assert!(matches!(
        run(&conditional, &cells, &conditions),
        Err(Error::Patches { .. })
    ));
    let batch = TraverseConfig::new(0).with_batch_size(0);
    assert!(traverse(&plain, &cells, &[0], &batch, &NoProgress).is_err());
}

#[test]
fn a_cancelled_walk_ends_and_nothing_is_nothing() {
    let (model, cells) = (model(0), cells(0));
    let cancel = CancelToken::new();
    cancel.cancel();
    let progress: &dyn Progress = &cancel;
    let walk = traverse(&model, &cells, &[0], &TraverseConfig::new(0), progress);
    assert!(matches!(walk, Err(Error::Cancelled(_))));
    let samples = sample(&model, &SampleConfig::new(3), progress);
    assert!(matches!(samples, Err(Error::Cancelled(_))));
    let none = traverse(&model, &cells, &[], &TraverseConfig::new(0), &NoProgress).unwrap();
    assert_eq!(none.patches.dim(), (0, 10, 16, 16, 2));
    let none = sample(&model, &SampleConfig::new(0), &NoProgress).unwrap();
    assert_eq!(none.latents.dim(), (0, 5));
}
