//! The network that all peers are measured on, as one file of arrays.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use ndarray::{Array4, ArrayD};
use ndarray_npy::{NpzReader, NpzWriter};
use phenocoder_core::PatchShape;
use phenocoder_model::train::{Adam, Optimizer};
use phenocoder_model::{Autoencoder, Cvae, CvaeConfig, Gradients, Parameters, Snapshot, Update};

use crate::pixels;
use crate::worker::LEARNING_RATE;

/// Patches in a batch.
pub const BATCH: usize = 64;

/// The default network without dropout for square patches of four channels, 32 latents.
#[must_use]
pub fn config(side: usize) -> CvaeConfig {
    CvaeConfig::new(PatchShape::new(side, side, 4), 32).with_dropout(0.0)
}

/// The patches of the batch, `[n, y, x, c]`.
///
/// Their brightness differs between channels and rises along y and, more, along x, so that a network with mirrored, turned or
/// permuted weights has another loss.
#[must_use]
pub fn batch(side: usize) -> Array4<f32> {
    let mut batch = pixels((BATCH, side, side, 4));
    for ((_, y, x, c), value) in batch.indexed_iter_mut() {
        let rise = (y + 2 * x) as f32 / (3 * side) as f32;
        *value = (*value * rise).powi(c as i32 + 1);
    }
    batch
}

/// Adam with the default settings on all weights of a model, for [`Autoencoder::train_step`].
#[derive(Debug)]
pub struct PlainAdam {
    parameters: Parameters,
    adam: Adam,
}

impl PlainAdam {
    /// The optimizer before its first step.
    #[must_use]
    pub fn new(model: &dyn Autoencoder) -> Self {
        Self {
            parameters: model.parameters().clone(),
            adam: Adam::default(),
        }
    }
}

impl Update for PlainAdam {
    fn apply(&mut self, _group: &str, gradients: &Gradients) -> phenocoder_model::Result<()> {
        self.adam.step(&self.parameters, gradients, LEARNING_RATE)
    }
}

/// Writes `pixels` and `weights/NAME` as `.npz`.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write(path: &Path, model: &Cvae) -> Result<()> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut npz = NpzWriter::new(file);
    npz.add_array("pixels", &batch(model.input().height))?;
    let snapshot = model.parameters().snapshot()?;
    for (name, tensor) in snapshot.tensors() {
        let array = ArrayD::from_shape_vec(tensor.dims(), snapshot.values(name)?)?;
        npz.add_array(format!("weights/{name}"), &array)?;
    }
    npz.finish()?;
    Ok(())
}

/// Reads the weights that [`write()`] wrote.
///
/// # Errors
///
/// When the file cannot be read or holds something else.
pub fn read_weights(path: &Path) -> Result<Snapshot> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut npz = NpzReader::new(file)?;
    let mut snapshot = Snapshot::default();
    for entry in npz.names()? {
        let name = entry.trim_end_matches(".npy");
        if let Some(name) = name.strip_prefix("weights/") {
            let array: ArrayD<f32> = npz.by_name(&entry)?;
            snapshot.set(name, array.iter().copied().collect(), array.shape())?;
        }
    }
    Ok(snapshot)
}

/// Reads the patches that [`write()`] wrote.
///
/// # Errors
///
/// When the file cannot be read or holds something else.
pub fn read_pixels(path: &Path) -> Result<Array4<f32>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut npz = NpzReader::new(file)?;
    npz.by_name("pixels.npy")
        .or_else(|_| npz.by_name("pixels"))
        .map_err(Into::into)
}
