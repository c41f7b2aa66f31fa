//! What a run must share with its checkpoint: data, weights to begin with, and what the caller says.

use std::sync::Arc;

use candle_core::Device;
use phenocoder_core::{CancelToken, PatchBatch, PatchShape, PatchSource, Seed};
use phenocoder_model::train::{CheckpointConfig, CheckpointInfo, FitConfig, Trainer};
use phenocoder_model::{Autoencoder, Batch, Cvae, CvaeConfig, Error, Step};
use phenocoder_patches::views::{Transformed, ViewConfig, ViewGenerator};
use phenocoder_patches::{Cached, Merged, Subset};
use serde_json::{Value, json};

use crate::synthetic::blobs;

const SHAPE: PatchShape = PatchShape::new(8, 8, 1);

fn model(seed: u64) -> Cvae {
    CvaeConfig::new(SHAPE, 2)
        .with_conv_layers([4])
        .with_dense_dim(8)
        .with_n_conditions(2)
        .build(Seed::new(seed), &Device::Cpu)
        .unwrap()
}

fn patches() -> PatchBatch {
    blobs(12, SHAPE, 2, 1)
}

fn settings() -> FitConfig {
    FitConfig::new().with_epochs(2).with_batch_size(4)
}

/// A run on disk that has not begun its first batch.
struct Begun {
    _folder: tempfile::TempDir,
    config: CheckpointConfig,
}

fn begun(model: &mut Cvae, train: &dyn PatchSource, validation: Option<&dyn PatchSource>) -> Begun {
    let folder = tempfile::tempdir().unwrap();
    let config = CheckpointConfig::new(folder.path().join("run.safetensors"));
    let stop = CancelToken::new();
    stop.cancel();
    let stopped = Trainer::new(settings())
        .with_checkpoint(config.clone())
        .with_context(json!({"scaling": {"mode": "per_sample"}}))
        .with_progress(&stop)
        .fit(model, train, validation);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    Begun {
        _folder: folder,
        config,
    }
}

impl Begun {
    /// The setting that is refused, if any is.
    fn resume(
        &self,
        model: &mut Cvae,
        train: &dyn PatchSource,
        validation: Option<&dyn PatchSource>,
        context: Value,
    ) -> Option<String> {
        let resumed = Trainer::new(settings())
            .with_checkpoint(self.config.clone())
            .with_context(context)
            .fit_or_resume(model, train, validation);
        match resumed {
            Ok(_) => None,
            Err(Error::Settings { setting, .. }) => Some(setting),
            Err(error) => panic!("{error}"),
        }
    }

    fn refused(&self, train: &dyn PatchSource, validation: &dyn PatchSource) -> Option<String> {
        let context = json!({"scaling": {"mode": "per_sample"}});
        self.resume(&mut model(3), train, Some(validation), context)
    }
}

#[test]
fn other_pixels_conditions_or_rows_behind_equal_ends_are_refused() {
    let all = Arc::new(patches());
    let rows = |rows: &[usize]| Subset::new(Arc::clone(&all), rows.to_vec()).unwrap();
    let (train, validation) = (rows(&[0, 2, 4, 6, 11]), rows(&[1, 3, 5]));
    let run = begun(&mut model(3), &train, Some(&validation));
    let changed = |change: &dyn Fn(&mut PatchBatch)| {
        let mut batch = patches();
        change(&mut batch);
        let train = Subset::new(batch, train.rows().to_vec()).unwrap();
        run.refused(&train, &validation)
    };
    let refused = Some("data.training.source".to_owned());
    assert_eq!(changed(&|b| b.conditions.swap([4, 0], [4, 1])), refused);
    assert_eq!(changed(&|b| b.pixels *= 0.5), refused);
    let others = rows(&[0, 2, 6, 4, 11]);
    assert_eq!(run.refused(&others, &validation), refused);
    assert_eq!(
        run.refused(&train, &rows(&[1, 2, 5])),
        Some("data.validation.source".to_owned())
    );
    // Keeping patches in memory changes none.
    let cached = Cached::new(rows(&[0, 2, 4, 6, 11]), 1 << 20);
    assert_eq!(run.refused(&cached, &validation), None);
}

#[test]
fn other_datasets_or_transforms_of_a_source_are_refused() {
    let views = |views: ViewConfig| views.build().unwrap();
    let (two, one) = (views(ViewConfig::default()), views(ViewConfig::new([])));
    let merged = |name: &str, seed: u64| {
        let parts = [
            (name, blobs(6, SHAPE, 2, 1)),
            ("b", blobs(6, SHAPE, 2, seed)),
        ];
        let parts = parts.map(|(name, part)| (name.to_owned(), Box::new(part) as _));
        Merged::new(parts.into()).unwrap()
    };
    let fingerprint = |name: &str, seed: u64, views: &ViewGenerator, chance: u64| {
        let merged = merged(name, seed);
        Transformed::new(&merged, views, Seed::new(chance)).fingerprint()
    };
    let first = fingerprint("a", 2, &one, 5);
    assert_eq!(fingerprint("a", 2, &one, 5), first);
    for other in [
        fingerprint("z", 2, &one, 5),
        fingerprint("a", 3, &one, 5),
        fingerprint("a", 2, &two, 5),
        fingerprint("a", 2, &one, 6),
    ] {
        assert_ne!(other, first);
    }
}

#[test]
fn weights_from_another_seed_are_refused_and_those_in_training_are_not() {
    let patches = patches();
    let mut trained = model(3);
    let run = begun(&mut trained, &patches, None);
    let context = || json!({"scaling": {"mode": "per_sample"}});
    let other = run.resume(&mut model(4), &patches, None, context());
    assert_eq!(other.as_deref(), Some("model.weights"));
    let begins = CheckpointInfo::read(&run.config.path).unwrap().settings;
    // One epoch, then stopped: the model has its weights, and goes on.
    let stop = crate::support::StopAfter::new(16);
    let stopped = Trainer::new(settings())
        .with_checkpoint(run.config.clone())
        .with_context(context())
        .with_progress(&stop)
        .resume(&mut trained, &patches, None);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    let name = "encoder.dense.kernel";
    let weights = |model: &Cvae| {
        let snapshot = model.parameters().snapshot().unwrap();
        snapshot.values(name).unwrap()
    };
    assert_ne!(weights(&trained), weights(&model(3)));
    assert_eq!(run.resume(&mut trained, &patches, None, context()), None);
    let info = CheckpointInfo::read(&run.config.path).unwrap();
    assert_eq!(info.settings["model"], begins["model"]);
    let straight = Trainer::new(settings()).fit(&mut model(3), &patches, None);
    assert_eq!(info.record, straight.unwrap());
}

#[test]
fn another_context_is_refused_at_the_place_where_it_differs() {
    let patches = patches();
    let run = begun(&mut model(3), &patches, None);
    let refused = |context| run.resume(&mut model(3), &patches, None, context);
    let global = json!({"scaling": {"mode": "global"}});
    assert_eq!(refused(global).as_deref(), Some("context.scaling.mode"));
    assert_eq!(refused(Value::Null).as_deref(), Some("context"));
    let info = CheckpointInfo::read(&run.config.path).unwrap();
    assert_eq!(info.settings["context"]["scaling"]["mode"], "per_sample");
}

#[test]
fn validation_patches_become_canonical_without_further_views_too() {
    let (train, validation) = (patches(), blobs(7, SHAPE, 2, 9));
    let canonical = ViewConfig::new([]).build().unwrap();
    let config = FitConfig::new()
        .with_epochs(1)
        .with_early_stopping(None)
        .with_seed(Seed::new(6));
    let mut model = model(3);
    let record = Trainer::new(config)
        .with_transforms(&[&canonical])
        .fit(&mut model, &train, Some(&validation))
        .unwrap();
    let found = record.epochs[0].validation.as_ref().unwrap().total;
    let seed = Seed::new(6).derive("validation-views", 0);
    let rows: Vec<usize> = (0..7).collect();
    let loss = |source: &dyn PatchSource| {
        let batch = Batch::new(&source.read(&rows).unwrap(), &Device::Cpu).unwrap();
        let losses = model.loss(&batch, &Step::evaluation()).unwrap();
        f64::from(losses.total.to_scalar::<f32>().unwrap())
    };
    assert_eq!(
        found,
        loss(&Transformed::new(&validation, &canonical, seed))
    );
    assert_ne!(found, loss(&validation));
}
