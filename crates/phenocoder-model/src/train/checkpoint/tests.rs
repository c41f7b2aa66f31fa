use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use phenocoder_core::{PatchBatch, PatchShape, Seed};
use serde_json::json;

use super::*;
use crate::train::{FitConfig, LossRecord, Trainer};
use crate::weights::file::{self, HASH_KEY};
use crate::{Autoencoder, Cvae, CvaeConfig, FileError};

const SHAPE: PatchShape = PatchShape::new(4, 4, 1);

fn model() -> Cvae {
    let config = CvaeConfig::new(SHAPE, 2).with_conv_layers([4]);
    config.build(Seed::new(1), &Device::Cpu).unwrap()
}

/// A checkpoint whose content was changed before it was sealed again: nothing but its content tells.
fn forged(change: impl Fn(&mut file::Metadata, &mut file::Tensors)) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let trainer = || {
        Trainer::new(FitConfig::new().with_epochs(2)).with_checkpoint(CheckpointConfig::new(&path))
    };
    let patches = PatchBatch::zeros(5, SHAPE, 0);
    trainer().fit(&mut model(), &patches, None).unwrap();
    fs::remove_file(CheckpointConfig::new(&path).previous()).unwrap();
    let mut contents = file::read(&path).unwrap();
    contents.metadata.remove(HASH_KEY);
    change(&mut contents.metadata, &mut contents.tensors);
    let (payload, _) = file::payload(&contents.tensors).unwrap();
    let target = Target::new(&path);
    file::write(target, contents.metadata, &contents.tensors, &payload).unwrap();
    let mut model = model();
    let before = model.parameters().snapshot().unwrap();
    let error = trainer().resume(&mut model, &patches, None).unwrap_err();
    let after = model.parameters().snapshot().unwrap();
    let name = "encoder.dense.kernel";
    assert_eq!(before.values(name).unwrap(), after.values(name).unwrap());
    error
}

fn forged_tensor(name: &str, values: &[f32]) -> Error {
    forged(|_, tensors| {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        tensors.insert(name.to_owned(), tensor);
    })
}

fn file_error(error: Error) -> FileError {
    match error {
        Error::File { source, .. } => source,
        error => panic!("{error}"),
    }
}

#[test]
fn a_sealed_checkpoint_with_tensors_that_cannot_be_is_refused() {
    for (name, problem) in [
        ("model/encoder.z_mean.bias", "it is not finite"),
        ("result/encoder.z_mean.bias", "it is not finite"),
        ("wrong/encoder.z_mean.bias", "it is no part of a checkpoint"),
        (
            "average/decoder.output.bias",
            "it is no part of a checkpoint",
        ),
        ("optimizer/7/x", "it is no part of a checkpoint"),
        ("optimizer/x", "it is no part of a checkpoint"),
        ("pending/0/x", "it is no part of a checkpoint"),
        ("nothing", "it is no part of a checkpoint"),
    ] {
        match file_error(forged_tensor(name, &[f32::NAN, 0.0])) {
            FileError::Tensor {
                name: found,
                problem: why,
            } => assert_eq!((found.as_str(), why.as_str()), (name, problem)),
            error => panic!("{error}"),
        }
    }
    let error = forged_tensor("model/encoder.z_mean.bias", &[1.0, 2.0, 3.0]);
    assert_eq!(
        error.to_string(),
        "array `encoder.z_mean.bias`: expected F32 [2], found F32 [3]"
    );
    let error = forged_tensor("model/stranger", &[1.0]);
    assert!(error.to_string().contains("stranger"), "{error}");
    let error = forged(|_, tensors| drop(tensors.remove("result/encoder.z_mean.bias")));
    assert_eq!(error.to_string(), "array `encoder.z_mean.bias`: missing");
    let error = forged_tensor("optimizer/0/steps", &[1.0]);
    assert!(matches!(error, Error::Array { .. }), "{error}");
}

#[test]
fn a_sealed_checkpoint_with_metadata_that_cannot_be_is_refused() {
    let with = |key: &'static str, value: &'static str| {
        file_error(forged(|metadata, _| {
            metadata.insert(key.to_owned(), value.to_owned());
        }))
    };
    assert!(matches!(
        with("phenocoder.format", "2"),
        FileError::Version { .. }
    ));
    assert!(matches!(
        with("checkpoint.state", "{}"),
        FileError::Metadata { .. }
    ));
    assert!(matches!(
        with("checkpoint.settings", "{"),
        FileError::Metadata { .. }
    ));
    let missing = forged(|metadata, _| drop(metadata.remove("checkpoint.state")));
    assert!(matches!(file_error(missing), FileError::Foreign { .. }));
}

#[test]
fn a_sealed_checkpoint_of_a_state_that_no_run_comes_to_is_refused() {
    let with = |at: &'static str, value: Value| {
        let error = file_error(forged(|metadata, _| {
            let text = &metadata["checkpoint.state"];
            let mut state: Value = serde_json::from_str(text).unwrap();
            *state.pointer_mut(at).unwrap() = value.clone();
            metadata.insert("checkpoint.state".to_owned(), state.to_string());
        }));
        match error {
            FileError::Metadata { key, reason } => {
                assert_eq!(key, "checkpoint.state");
                reason
            }
            error => panic!("{at}: {error}"),
        }
    };
    for (at, value, reason) in [
        ("/position/epoch", json!(2), "does not follow"),
        ("/position/epoch", json!(usize::MAX), "does not follow"),
        ("/record/epochs/1/epoch", json!(1), "not numbered"),
        ("/record/best_epoch", json!(3), "best epoch"),
        ("/record/best_epoch", json!(0), "best epoch"),
        ("/position/patches", json!(3), "patches without batches"),
        ("/position/batch", json!(1), "batches without patches"),
        ("/position/batches", json!(u64::MAX), "batches of all"),
        ("/position/updates", json!(u64::MAX), "more updates"),
        ("/position/learning_rate", json!(-1.0), "below 0"),
        ("/record/epochs/0/learning_rate", json!(-1.0), "below 0"),
        ("/stopping/epoch", json!(1), "early stopping"),
        ("/stopping/best/0", json!(7), "early stopping"),
        // A number that is not finite has no JSON.
        ("/position/sum/total", json!(null), "invalid type: null"),
    ] {
        let found = with(at, value);
        assert!(found.contains(reason), "{at}: {found}");
    }
}

#[test]
fn a_position_that_is_not_in_the_order_of_the_patches_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let patches = PatchBatch::zeros(5, SHAPE, 0);
    let trainer = || {
        Trainer::new(FitConfig::new().with_epochs(2).with_batch_size(2))
            .with_checkpoint(CheckpointConfig::new(&path))
    };
    for (batch, done, reason) in [
        (7, 5, "it has done 7 batches with 5 patches of 3 with 5"),
        (2, 3, "it has done 2 batches with 3 patches of 3 with 5"),
    ] {
        trainer().fit(&mut model(), &patches, None).unwrap();
        let (mut state, _) = codec::read(&path).unwrap();
        state.position.epoch = 2;
        state.record.epochs.truncate(1);
        state.record.best_epoch = 1;
        state.stopping = None;
        (state.position.batch, state.position.patches) = (batch, done);
        state.position.batches = 10;
        codec::write(Target::new(&path), &state).unwrap();
        let error = trainer().resume(&mut model(), &patches, None).unwrap_err();
        match file_error(error) {
            FileError::Metadata { reason: found, .. } => assert_eq!(found, reason),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn numbers_keep_their_bits() {
    let mut stream = Seed::new(2).stream("bits", 0);
    let mut draw = || loop {
        let value = f64::from_bits(stream.next_u64());
        if value.is_finite() {
            break value;
        }
    };
    for _ in 0..500 {
        let mut position = Position {
            learning_rate: draw(),
            updates: u64::MAX,
            ..Position::start()
        };
        position.sum = LossRecord {
            total: -0.0,
            parts: BTreeMap::from([("kl".to_owned(), draw())]),
        };
        let text = serde_json::to_string(&position).unwrap();
        let read: Position = serde_json::from_str(&text).unwrap();
        let bits = |p: &Position| {
            let numbers = [p.learning_rate, p.sum.total, p.sum.parts["kl"]];
            numbers.map(f64::to_bits)
        };
        assert_eq!(bits(&read), bits(&position));
        assert_eq!(read.updates, u64::MAX);
    }
}
