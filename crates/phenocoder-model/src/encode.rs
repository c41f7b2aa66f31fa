//! Patches to latents and back, in batches, and walks through the latents.

mod grid;
mod interpolate;
mod sample;
mod transfer;
mod traverse;

use candle_core::Tensor;
use ndarray::{Array2, Array3, Array4, Array5, ArrayView2};
use phenocoder_core::{PatchSource, Progress, Seed, ShapeError};
use serde::{Deserialize, Serialize};

pub use grid::Grid;
pub use interpolate::{InterpolateConfig, LatentPath, interpolate};
pub use sample::{SampleConfig, sample};
pub use transfer::{TransferConfig, transfer};
pub use traverse::{TraverseConfig, traverse};

use crate::error::check_count;
use crate::loader::{Prefetch, for_each_batch};
use crate::model::check_source;
use crate::{Autoencoder, Batch, ConfigError, Error, Result};

/// Batches read ahead while the network works.
const AHEAD: Prefetch = Prefetch {
    batches: 2,
    threads: 1,
};

/// Which point of the latent distribution stands for a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Latent {
    /// Its mean: the same patch always has the same latents.
    #[default]
    Mean,
    /// A draw from it: each patch has a random stream of its own, so batches and threads do not matter.
    Sampled(Seed),
}

/// The latents of every patch of a source, in its order.
///
/// # Differences from the original
///
/// The original always samples, unseeded; here the default is the mean.
///
/// # Shapes
///
/// Result: `[n, latent]`.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{NoProgress, PatchBatch, PatchShape, Seed};
/// use phenocoder_model::{CvaeConfig, Latent, encode};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 3).with_conv_layers([4]);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let patches = PatchBatch::zeros(5, config.input, 0);
/// let sampled = Latent::Sampled(Seed::new(2));
/// let a = encode(&model, &patches, 2, sampled, &NoProgress)?;
/// let b = encode(&model, &patches, 5, sampled, &NoProgress)?;
/// assert_eq!(a, b);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Patches`] when the patches do not fit the model; [`Error::Source`] when they cannot be read;
/// [`Error::Cancelled`]; [`Error::Tensor`] when the device fails.
pub fn encode(
    model: &dyn Autoencoder,
    patches: &dyn PatchSource,
    batch_size: usize,
    latent: Latent,
    progress: &dyn Progress,
) -> Result<Array2<f32>> {
    let rows: Vec<usize> = (0..patches.len()).collect();
    Ok(encode_rows(model, patches, &rows, batch_size, latent, progress)?.latents)
}

/// Cells in the latent space.
struct Encoded {
    /// `[n, latent]`.
    latents: Array2<f32>,
    /// `[n, k]`.
    conditions: Array2<f32>,
}

/// The latents and the conditions of the patches of these numbers.
fn encode_rows(
    model: &dyn Autoencoder,
    patches: &dyn PatchSource,
    rows: &[usize],
    batch_size: usize,
    latent: Latent,
    progress: &dyn Progress,
) -> Result<Encoded> {
    check_source(model, patches)?;
    let batch_size = check_batch_size(batch_size)?;
    let (n, width) = (rows.len(), model.latent_dim());
    let _span = tracing::info_span!("encode", patches = n).entered();
    let mut latents = Vec::with_capacity(n * width);
    let mut conditions = Vec::with_capacity(n * model.n_conditions());
    progress.start("encode", Some(n as u64));
    for_each_batch(
        patches,
        rows,
        batch_size,
        AHEAD,
        |_, _| Ok(()),
        |_, loaded| {
            progress.check()?;
            let posterior = model.encode(&Batch::new(&loaded.patches, model.device())?)?;
            let z = match latent {
                Latent::Mean => posterior.mean,
                Latent::Sampled(seed) => {
                    let noise = patch_noise(seed, loaded.rows, width);
                    let shape = (loaded.rows.len(), width);
                    posterior.sample(&Tensor::from_vec(noise, shape, model.device())?)?
                }
            };
            latents.extend(z.flatten_all()?.to_vec1::<f32>()?);
            conditions.extend(loaded.patches.conditions.iter().copied());
            progress.advance(loaded.rows.len() as u64);
            Ok(())
        },
    )?;
    progress.finish();
    let latents = Array2::from_shape_vec((n, width), latents);
    let conditions = Array2::from_shape_vec((n, model.n_conditions()), conditions);
    Ok(Encoded {
        latents: array(latents, "latents")?,
        conditions: array(conditions, "conditions")?,
    })
}

/// The patches of these numbers, encoded to the mean and decoded again.
///
/// # Shapes
///
/// Result: `[n, y, x, c]`, values in `[0, 1]`.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{NoProgress, PatchBatch, PatchShape, Seed};
/// use phenocoder_model::{CvaeConfig, reconstruct};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 3).with_conv_layers([4]);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let patches = PatchBatch::zeros(5, config.input, 0);
/// let decoded = reconstruct(&model, &patches, &[4, 0], 64, &NoProgress)?;
/// assert_eq!(decoded.dim(), (2, 4, 4, 1));
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// As [`encode`].
pub fn reconstruct(
    model: &dyn Autoencoder,
    patches: &dyn PatchSource,
    rows: &[usize],
    batch_size: usize,
    progress: &dyn Progress,
) -> Result<Array4<f32>> {
    check_source(model, patches)?;
    let batch_size = check_batch_size(batch_size)?;
    let _span = tracing::info_span!("reconstruct", patches = rows.len()).entered();
    let mut pixels = Vec::with_capacity(rows.len() * model.input().len());
    progress.start("reconstruct", Some(rows.len() as u64));
    for_each_batch(
        patches,
        rows,
        batch_size,
        AHEAD,
        |_, _| Ok(()),
        |_, loaded| {
            progress.check()?;
            let batch = Batch::new(&loaded.patches, model.device())?;
            let mean = model.encode(&batch)?.mean;
            let decoded = model.decode(&mean, batch.conditions.as_ref())?;
            pixels.extend(decoded.flatten_all()?.to_vec1::<f32>()?);
            progress.advance(loaded.rows.len() as u64);
            Ok(())
        },
    )?;
    progress.finish();
    patches_array(model, rows.len(), pixels)
}

/// The patches that belong to latents: samples, interpolations, the same cell under another condition.
///
/// # Shapes
///
/// `latents`: `[n, latent]`; `conditions`: `[n, k]`, with `k = 0` for models without conditions; result: `[n, y, x, c]`.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{NoProgress, PatchShape, Seed};
/// use phenocoder_model::{CvaeConfig, decode};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 3).with_conv_layers([4]);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let latents = Array2::zeros((2, 3));
/// let patches = decode(&model, latents.view(), Array2::zeros((2, 0)).view(), 64, &NoProgress)?;
/// assert_eq!(patches.dim(), (2, 4, 4, 1));
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Patches`] when latents or conditions do not fit the model; [`Error::Shape`] when they differ in rows;
/// [`Error::Cancelled`]; [`Error::Tensor`] when the device fails.
pub fn decode(
    model: &dyn Autoencoder,
    latents: ArrayView2<'_, f32>,
    conditions: ArrayView2<'_, f32>,
    batch_size: usize,
    progress: &dyn Progress,
) -> Result<Array4<f32>> {
    let n = latents.nrows();
    ShapeError::check_len("conditions", n, conditions.nrows())?;
    let batch_size = check_batch_size(batch_size)?;
    let mut pixels = Vec::with_capacity(n * model.input().len());
    progress.start("decode", Some(n as u64));
    for start in (0..n).step_by(batch_size) {
        progress.check()?;
        let rows = start..n.min(start + batch_size);
        let tensor = |all: ArrayView2<'_, f32>| {
            let part = all.slice_move(ndarray::s![rows.clone(), ..]);
            let values: Vec<f32> = part.iter().copied().collect();
            Tensor::from_vec(values, part.dim(), model.device())
        };
        let conditions = match conditions.ncols() {
            0 => None,
            _ => Some(tensor(conditions)?),
        };
        let decoded = model.decode(&tensor(latents)?, conditions.as_ref())?;
        pixels.extend(decoded.flatten_all()?.to_vec1::<f32>()?);
        progress.advance(rows.len() as u64);
    }
    progress.finish();
    patches_array(model, n, pixels)
}

/// Patches decoded from latents, with these latents: the result of [`sample`] and [`transfer`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Generated {
    /// `[n, latent]`.
    pub latents: Array2<f32>,
    /// `[n, y, x, c]`, values in `[0, 1]`.
    pub patches: Array4<f32>,
}

/// A row of patches for each cell or pair of cells: the result of [`traverse`] and [`interpolate`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Walk {
    /// `[cell, step, latent]`.
    pub latents: Array3<f32>,
    /// `[cell, step, y, x, c]`, values in `[0, 1]`.
    pub patches: Array5<f32>,
}

impl Walk {
    /// Decodes walks of equally many steps, `[cell · step, latent]` with `[cell · step, k]`.
    fn decode(
        model: &dyn Autoencoder,
        latents: Array2<f32>,
        conditions: &Array2<f32>,
        steps: usize,
        batch_size: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let patches = decode(
            model,
            latents.view(),
            conditions.view(),
            batch_size,
            progress,
        )?;
        let (cells, width) = (latents.nrows() / steps.max(1), latents.ncols());
        let (_, height, columns, channels) = patches.dim();
        let latents = latents.into_shape_with_order((cells, steps, width));
        let patches = patches.into_shape_with_order((cells, steps, height, columns, channels));
        Ok(Self {
            latents: array(latents, "latents")?,
            patches: array(patches, "patches")?,
        })
    }
}

/// The noise of sampled latents; every patch has a stream of its own.
fn patch_noise(seed: Seed, rows: &[usize], width: usize) -> Vec<f32> {
    let mut noise = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        let mut stream = seed.stream("latent-sample", row as u64);
        noise.extend((0..width).map(|_| stream.normal() as f32));
    }
    noise
}

fn check_batch_size(batch_size: usize) -> Result<usize, ConfigError> {
    check_count("batch_size", batch_size).map(|()| batch_size)
}

fn patches_array(model: &dyn Autoencoder, n: usize, pixels: Vec<f32>) -> Result<Array4<f32>> {
    let shape = model.input();
    let shape = (n, shape.height, shape.width, shape.channels);
    array(Array4::from_shape_vec(shape, pixels), "patches")
}

fn array<T>(array: Result<T, ndarray::ShapeError>, name: &str) -> Result<T> {
    array.map_err(|e| Error::Array {
        name: name.to_owned(),
        problem: e.to_string(),
    })
}
