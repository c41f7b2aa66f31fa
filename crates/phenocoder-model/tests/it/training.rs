//! The training loop.

use std::sync::Mutex;

use candle_core::Device;
use phenocoder_core::{
    CancelToken, NoProgress, PatchBatch, PatchShape, PatchSource, Seed, SourceError,
};
use phenocoder_model::train::{
    EarlyStoppingConfig, EpochRecord, FitConfig, Observer, PlateauConfig, ValidationNoise, fit,
};
use phenocoder_model::{Autoencoder, Cvae, CvaeConfig, Error, Latent, encode, reconstruct};

use crate::support::StopAfter;
use crate::synthetic::blobs;

const SHAPE: PatchShape = PatchShape::new(16, 16, 2);

fn model(k: usize) -> Cvae {
    CvaeConfig::new(SHAPE, 6)
        .with_conv_layers([8, 16])
        .with_dropout(0.0)
        .with_n_conditions(k)
        .build(Seed::new(3), &Device::Cpu)
        .unwrap()
}

fn dense_kernel(model: &Cvae) -> Vec<f32> {
    let snapshot = model.parameters().snapshot().unwrap();
    snapshot.values("encoder.dense.kernel").unwrap()
}

#[test]
fn a_tiny_set_is_learned_by_heart() {
    let patches = blobs(16, SHAPE, 2, 1);
    let mut model = model(2);
    let settings = FitConfig::new()
        .with_epochs(150)
        .with_batch_size(8)
        .with_learning_rate(3e-3)
        .with_plateau(None)
        .with_early_stopping(None);
    let record = fit(&mut model, &patches, None, &settings, &mut [], &NoProgress).unwrap();
    let (first, last) = (&record.epochs[0].train, &record.epochs[149].train);
    assert!(
        last.total < 0.75 * first.total,
        "{} {}",
        first.total,
        last.total
    );
    let rows: Vec<usize> = (0..16).collect();
    let decoded = reconstruct(&model, &patches, &rows, 5, &NoProgress).unwrap();
    let difference = (&decoded - &patches.pixels).mapv(f32::abs).mean().unwrap();
    assert!(difference < 0.03, "mean difference {difference}");
    // The two kinds of blob must lie apart: the nearest neighbour of each patch is of its kind.
    let latents = encode(&model, &patches, 64, Latent::Mean, &NoProgress).unwrap();
    let right = rows.iter().filter(|&&i| {
        let distance = |j: usize| (&latents.row(i) - &latents.row(j)).mapv(|d| d * d).sum();
        let others = rows.iter().copied().filter(|&j| j != i);
        let nearest = others.min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        nearest.unwrap() % 2 == i % 2
    });
    assert!(right.count() >= 15);
}

/// Remembers which patches were read, and in which batches.
struct Recorded {
    patches: PatchBatch,
    reads: Mutex<Vec<Vec<usize>>>,
}

impl PatchSource for Recorded {
    fn len(&self) -> usize {
        self.patches.len()
    }
    fn shape(&self) -> PatchShape {
        self.patches.shape()
    }
    fn n_conditions(&self) -> usize {
        self.patches.n_conditions()
    }
    fn read(&self, rows: &[usize]) -> Result<PatchBatch, SourceError> {
        self.reads.lock().unwrap().push(rows.to_vec());
        self.patches.read(rows)
    }
    fn describe(&self, patch: usize) -> String {
        format!("cell {patch} of sample S")
    }
}

fn recorded(n: usize) -> Recorded {
    Recorded {
        patches: blobs(n, SHAPE, 0, 4),
        reads: Mutex::default(),
    }
}

#[test]
fn every_epoch_visits_every_patch_once_in_a_new_order() {
    let source = recorded(11);
    let settings = FitConfig::new().with_epochs(2).with_batch_size(4);
    fit(
        &mut model(0),
        &source,
        None,
        &settings,
        &mut [],
        &NoProgress,
    )
    .unwrap();
    let reads = source.reads.into_inner().unwrap();
    let sizes: Vec<usize> = reads.iter().map(Vec::len).collect();
    assert_eq!(sizes, [4, 4, 3, 4, 4, 3], "the last partial batch is used");
    let epochs: Vec<Vec<usize>> = reads.chunks(3).map(|e| e.concat()).collect();
    assert_ne!(epochs[0], epochs[1]);
    for mut epoch in epochs {
        epoch.sort_unstable();
        assert_eq!(epoch, (0..11).collect::<Vec<_>>());
    }
}

/// Collects the epochs and breaks a weight after one of them.
#[derive(Default)]
struct Epochs(Vec<EpochRecord>);

impl Observer for Epochs {
    fn on_epoch(&mut self, record: &EpochRecord, _: f64) -> phenocoder_model::Result<()> {
        self.0.push(record.clone());
        Ok(())
    }
}

#[test]
fn the_best_weights_are_restored_and_the_rate_falls() {
    let train = blobs(24, SHAPE, 0, 1);
    // Validation patches that have nothing in common with the training patches get worse as training goes on.
    let mut validation = blobs(8, SHAPE, 0, 2);
    validation.pixels.mapv_inplace(|v| 1.0 - v);
    let mut model = model(0);
    let settings = FitConfig::new()
        .with_epochs(60)
        .with_batch_size(8)
        .with_learning_rate(2e-3)
        .with_plateau(Some(PlateauConfig::new().with_patience(2)))
        .with_early_stopping(Some(EarlyStoppingConfig::new().with_patience(4)));
    let mut epochs = Epochs::default();
    let record = fit(
        &mut model,
        &train,
        Some(&validation),
        &settings,
        &mut [&mut epochs],
        &NoProgress,
    )
    .unwrap();
    assert!(record.stopped_early && record.epochs.len() < 60);
    assert_eq!(record.epochs.len(), record.best_epoch + 4);
    assert_eq!(epochs.0, record.epochs);
    let best = record.best().unwrap().validation.as_ref().unwrap();
    let rates: Vec<f64> = record.epochs.iter().map(|e| e.learning_rate).collect();
    let after = record.best_epoch - 1;
    assert_eq!(rates[after..after + 3], [rates[after]; 3]);
    assert!((rates[after + 3] - 0.2 * rates[after]).abs() < 1e-12);
    // The model has the weights of the best epoch: its validation loss is the recorded one, bit for bit.
    let again = FitConfig::new()
        .with_epochs(1)
        .with_learning_rate(1e-30)
        .with_plateau(None);
    let check = fit(
        &mut model,
        &train,
        Some(&validation),
        &again,
        &mut [],
        &NoProgress,
    )
    .unwrap();
    let found = check.epochs[0].validation.as_ref().unwrap();
    assert_eq!(found.total.to_bits(), best.total.to_bits());
}

#[test]
fn validation_noise_is_drawn_only_when_asked_for() {
    let patches = blobs(12, SHAPE, 0, 1);
    let validation = |noise| {
        let settings = FitConfig::new()
            .with_epochs(1)
            .with_validation_noise(noise)
            .with_batch_size(6);
        let record = fit(
            &mut model(0),
            &patches,
            Some(&patches),
            &settings,
            &mut [],
            &NoProgress,
        );
        record.unwrap().epochs[0].validation.clone().unwrap()
    };
    let (off, sampled) = (
        validation(ValidationNoise::Off),
        validation(ValidationNoise::Sampled),
    );
    assert_eq!(off.kl(), sampled.kl());
    assert_ne!(off.reconstruction(), sampled.reconstruction());
    assert_eq!(sampled, validation(ValidationNoise::Sampled), "seeded");
}

#[test]
fn a_patch_that_is_no_number_is_named_and_the_weights_stay_good() {
    let mut source = recorded(10);
    source.patches.pixels[[7, 3, 3, 1]] = f32::NAN;
    let mut model = model(0);
    let before = dense_kernel(&model);
    let settings = FitConfig::new().with_epochs(2).with_batch_size(4);
    let error = fit(&mut model, &source, None, &settings, &mut [], &NoProgress).unwrap_err();
    let Error::NonFinite {
        epoch, quantity, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((*epoch, quantity.as_str()), (1, "training loss"));
    assert!(
        error
            .to_string()
            .contains("(not all values are finite in cell 7 of sample S)"),
        "{error}"
    );
    assert_eq!(before, dense_kernel(&model));
}

#[test]
fn an_exploding_loss_ends_with_the_weights_of_the_last_good_epoch() {
    let source = recorded(8);
    let mut model = model(0);
    let settings = FitConfig::new()
        .with_learning_rate(1e6)
        .with_epochs(50)
        .with_batch_size(4);
    let error = fit(&mut model, &source, None, &settings, &mut [], &NoProgress).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
    assert!(
        error.to_string().contains("all pixels are finite"),
        "{error}"
    );
    assert!(dense_kernel(&model).iter().all(|v| v.is_finite()));
}

#[test]
fn an_update_that_breaks_the_weights_is_noticed_though_no_loss_follows_it() {
    let source = recorded(4);
    let mut model = model(0);
    let before = dense_kernel(&model);
    let settings = FitConfig::new().with_learning_rate(1e300).with_epochs(1);
    let error = fit(&mut model, &source, None, &settings, &mut [], &NoProgress).unwrap_err();
    assert!(
        matches!(error, Error::NonFiniteWeight { epoch: 1, .. }),
        "{error}"
    );
    assert_eq!(before, dense_kernel(&model));
}

#[test]
fn data_that_does_not_fit_is_refused_before_training() {
    let refused = |source: &PatchBatch, validation: Option<&dyn PatchSource>| {
        let settings = FitConfig::new().with_epochs(1);
        let error = fit(
            &mut model(3),
            source,
            validation,
            &settings,
            &mut [],
            &NoProgress,
        );
        error.unwrap_err().to_string()
    };
    assert_eq!(
        refused(&blobs(4, SHAPE, 2, 1), None),
        "the model takes 16×16×2 with 3 condition columns, but the patches are 16×16×2 with 2 condition columns"
    );
    let good = blobs(4, SHAPE, 3, 1);
    let empty = PatchBatch::zeros(0, SHAPE, 3);
    assert_eq!(refused(&empty, None), "the training data holds no patches");
    assert_eq!(
        refused(&good, Some(&empty)),
        "the validation data holds no patches"
    );
    let settings = FitConfig::new().with_epochs(0);
    let error = fit(&mut model(3), &good, None, &settings, &mut [], &NoProgress);
    assert_eq!(
        error.unwrap_err().to_string(),
        "`epochs` must be at least 1"
    );
}

#[test]
fn a_cancelled_run_stops_after_the_batch() {
    let token = CancelToken::new();
    token.cancel();
    let source = recorded(8);
    let error = fit(
        &mut model(0),
        &source,
        None,
        &FitConfig::new(),
        &mut [],
        &token,
    );
    assert!(matches!(error, Err(Error::Cancelled(_))));
    let error = encode(&model(0), &source, 4, Latent::Mean, &token);
    assert!(matches!(error, Err(Error::Cancelled(_))));
}

#[test]
fn a_run_that_is_cut_short_leaves_the_weights_of_its_last_whole_epoch() {
    let source = recorded(8);
    let settings = |epochs| FitConfig::new().with_epochs(epochs).with_batch_size(4);
    let mut straight = model(0);
    fit(
        &mut straight,
        &source,
        None,
        &settings(2),
        &mut [],
        &NoProgress,
    )
    .unwrap();

    // Two epochs of two batches, and one batch more.
    let stop = StopAfter::new(8 + 8 + 4);
    let mut cancelled = model(0);
    let error = fit(&mut cancelled, &source, None, &settings(9), &mut [], &stop);
    assert!(matches!(error, Err(Error::Cancelled(_))));
    assert_eq!(dense_kernel(&straight), dense_kernel(&cancelled));
}

#[test]
fn an_unreadable_patch_ends_training_with_its_error() {
    struct Broken(PatchBatch);
    impl PatchSource for Broken {
        fn len(&self) -> usize {
            self.0.len() + 1
        }
        fn shape(&self) -> PatchShape {
            self.0.shape()
        }
        fn n_conditions(&self) -> usize {
            0
        }
        fn read(&self, rows: &[usize]) -> Result<PatchBatch, SourceError> {
            self.0.read(rows)
        }
    }
    let source = Broken(blobs(8, SHAPE, 0, 1));
    let mut model = model(0);
    let before = dense_kernel(&model);
    let settings = FitConfig::new().with_batch_size(1);
    let error = fit(&mut model, &source, None, &settings, &mut [], &NoProgress);
    assert!(matches!(error, Err(Error::Source(_))));
    assert_eq!(before, dense_kernel(&model), "no epoch ended");
}
