//! A model that Keras saved and `scripts/keras_to_phenocoder.py` converted.
//!
//! Source: `tests/goldens/keras`, made by its `make.py` from `organoid/golden/parity` (the trained CondCVAE of the original).
//! Tolerance: 1e-5 absolute (issue 3, item 8). `scripts/check_keras.py` holds the script to these very bytes.

use std::path::{Path, PathBuf};

use candle_core::Device;
use ndarray::{Array2, Array4};
use phenocoder_core::{NoProgress, PatchBatch};
use phenocoder_model::{Batch, Latent, SavedModel, encode};
use phenocoder_testdata::{Npz, find};

const TOLERANCE: f32 = 1e-5;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens/keras")
        .join(name)
}

fn converted() -> SavedModel {
    SavedModel::load(file("trained_condcvae.safetensors"), &Device::Cpu).unwrap()
}

fn patches(golden: &Npz) -> PatchBatch {
    PatchBatch::new(golden.array("x_nhwc"), golden.array("conditions")).unwrap()
}

fn assert_close(what: &str, found: &[f32], expected: impl Iterator<Item = f32>) {
    let expected: Vec<f32> = expected.collect();
    assert_eq!(found.len(), expected.len());
    let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let worst = apart.clone().fold(0.0, f32::max);
    println!("{what}: {worst:.1e}");
    // One by one, because `f32::max` passes over NaN.
    assert!(
        apart.into_iter().all(|d| d <= TOLERANCE),
        "{what}: {worst:e}"
    );
}

fn encodes_as_keras(golden: &Npz) {
    let saved = converted();
    let model = saved.model.as_ref();
    let patches = patches(golden);
    let mean = encode(model, &patches, 64, Latent::Mean, &NoProgress).unwrap();
    let expected: Array2<f32> = golden.array("z_mean");
    assert_close("z_mean", mean.as_slice().unwrap(), expected.into_iter());
    let batch = Batch::new(&patches, &Device::Cpu).unwrap();
    let log_var = model.encode(&batch).unwrap().log_var.unwrap();
    let expected: Array2<f32> = golden.array("z_log_var");
    let log_var = log_var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_close("z_log_var", &log_var, expected.into_iter());
}

#[test]
fn a_converted_model_encodes_as_keras_does() {
    encodes_as_keras(&Npz::open(&file("patches.npz")));
}

#[test]
fn a_converted_model_encodes_and_decodes_the_whole_golden() {
    let Some(path) = find("organoid/golden/parity/trained_condcvae_forward.npz") else {
        return;
    };
    let golden = Npz::open(&path);
    encodes_as_keras(&golden);
    let saved = converted();
    let batch = Batch::new(&patches(&golden), &Device::Cpu).unwrap();
    let z: Array2<f32> = golden.array("z");
    let shape = z.dim();
    let z = candle_core::Tensor::from_vec(z.into_raw_vec_and_offset().0, shape, &Device::Cpu);
    let decoded = saved
        .model
        .decode(&z.unwrap(), batch.conditions.as_ref())
        .unwrap();
    let expected: Array4<f32> = golden.array("reconstruction");
    let decoded = decoded.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_close("reconstruction", &decoded, expected.into_iter());
}

#[test]
fn a_converted_model_is_saved_again_with_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.safetensors");
    let saved = converted();
    saved.save(&path).unwrap();
    let again = SavedModel::load(&path, &Device::Cpu).unwrap();
    let values = |saved: &SavedModel| {
        let snapshot = saved.model.parameters().snapshot().unwrap();
        let names = snapshot.tensors().keys();
        names
            .map(|name| (name.clone(), snapshot.values(name).unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&saved));
    assert_eq!(
        again.model.config_json().unwrap(),
        saved.model.config_json().unwrap()
    );
}
