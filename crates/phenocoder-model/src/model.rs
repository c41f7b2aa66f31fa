//! What all models have in common.

use candle_core::{DType, Device, Tensor};
use ndarray::{Array2, Array4};
use phenocoder_core::{PatchBatch, PatchShape, PatchSource, Seed};
use serde::{Deserialize, Serialize};

pub(crate) use crate::kernel::sample_normal as sample;
use crate::{Error, Parameters, Result};

mod update;

pub use update::{ParameterGroup, Update};

/// A batch of patches on a device.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Batch {
    /// Scaled pixels, `[n, y, x, c]`.
    pub pixels: Tensor,
    /// One-hot conditions, `[n, k]`; none when `k = 0`.
    pub conditions: Option<Tensor>,
    /// The same cells seen in other ways, `[n, y, x, c]` each; none for networks that take one image of a cell.
    pub views: Vec<Tensor>,
}

impl Batch {
    /// Copies patches to a device.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device refuses.
    pub fn new(patches: &PatchBatch, device: &Device) -> Result<Self> {
        let copy = |pixels: &Array4<f32>| {
            let pixels = pixels.as_standard_layout().into_owned();
            let shape = pixels.dim();
            Tensor::from_vec(pixels.into_raw_vec_and_offset().0, shape, device)
        };
        let pixels = copy(&patches.pixels)?;
        let views = patches.views.iter().map(copy).collect::<Result<_, _>>()?;
        let conditions = match patches.conditions.dim() {
            (_, 0) => None,
            shape => {
                let flat: Vec<f32> = patches.conditions.iter().copied().collect();
                Some(Tensor::from_vec(flat, shape, device)?)
            }
        };
        Ok(Self {
            pixels,
            conditions,
            views,
        })
    }

    /// The number of patches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pixels.dims().first().copied().unwrap_or(0)
    }

    /// Whether there are no patches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The number type in which a network computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits with the range of 32, on GPUs: convolutions and hidden dense layers take and make numbers rounded to 8
    /// significant bits, and so do their gradients; weights, optimizers, latents and losses stay `f32`, so nothing needs to be
    /// scaled.
    #[doc(alias = "mixed precision")]
    Bf16,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// How a loss is computed: whether the network is being trained, and where its chance comes from.
///
/// Chance is drawn from streams named by what they are for and indexed by the step, so it does not depend on threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Whether dropout is active.
    pub dropout: bool,
    /// Whether latents are sampled; else their mean is decoded.
    pub noise: bool,
    /// The source of all chance.
    pub seed: Seed,
    /// The number of the step.
    pub index: u64,
    /// The number type of the network's computations.
    pub precision: Precision,
}

impl Step {
    /// A training step: dropout and noise.
    #[must_use]
    pub const fn training(seed: Seed, index: u64) -> Self {
        Self {
            dropout: true,
            noise: true,
            seed,
            index,
            precision: Precision::F32,
        }
    }

    /// A step without any chance: no dropout, the latent means are decoded.
    #[must_use]
    pub const fn evaluation() -> Self {
        Self {
            dropout: false,
            noise: false,
            seed: Seed::new(0),
            index: 0,
            precision: Precision::F32,
        }
    }

    /// The same step with or without noise on the latents.
    #[must_use]
    pub const fn with_noise(mut self, noise: bool) -> Self {
        self.noise = noise;
        self
    }

    /// The same step with this source of chance.
    #[must_use]
    pub const fn with_seed(mut self, seed: Seed, index: u64) -> Self {
        self.seed = seed;
        self.index = index;
        self
    }

    /// The same step in this number type.
    #[must_use]
    pub const fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// A tensor in the number type of the step; gradients pass through.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device refuses.
    pub fn cast(&self, tensor: &Tensor) -> Result<Tensor> {
        Ok(match self.precision {
            Precision::F32 => tensor.clone(),
            Precision::Bf16 => tensor.to_dtype(DType::BF16)?,
        })
    }

    /// Standard normal numbers of this shape for the purpose `name`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device refuses.
    pub fn normal(&self, name: &str, shape: (usize, usize), device: &Device) -> Result<Tensor> {
        let mut stream = self.seed.stream(name, self.index);
        let values = (0..shape.0 * shape.1).map(|_| stream.normal() as f32);
        Ok(Tensor::from_vec(values.collect::<Vec<_>>(), shape, device)?)
    }

    /// Applies dropout of this rate to a matrix: kept values are divided by the probability of being kept.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the device refuses.
    pub fn drop_out(&self, name: &str, x: &Tensor, rate: f64) -> Result<Tensor> {
        if !self.dropout || rate <= 0.0 {
            return Ok(x.clone());
        }
        let mut stream = self.seed.stream(name, self.index);
        let kept = (1.0 / (1.0 - rate)) as f32;
        let mut draw = || if stream.chance(rate) { 0.0 } else { kept };
        let mask: Vec<f32> = (0..x.elem_count()).map(|_| draw()).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?;
        Ok((x * mask)?)
    }
}

/// A loss with the parts that make it up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Losses {
    /// What is minimized, a scalar.
    pub total: Tensor,
    /// The parts by name, scalars, in the order in which they are recorded: `reconstruction`, `kl`, …
    pub parts: Vec<(&'static str, Tensor)>,
}

impl Losses {
    /// A loss and its parts.
    #[must_use]
    pub fn new(total: Tensor, parts: Vec<(&'static str, Tensor)>) -> Self {
        Self { total, parts }
    }
}

/// The distribution of the latents of a batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Posterior {
    /// Means, `[n, latent]`.
    pub mean: Tensor,
    /// Logarithms of the variances, `[n, latent]`; none for models without chance.
    pub log_var: Option<Tensor>,
}

impl Posterior {
    /// A distribution with these moments.
    #[must_use]
    pub fn new(mean: Tensor, log_var: Option<Tensor>) -> Self {
        Self { mean, log_var }
    }

    /// `mean + e^(log_var / 2) · noise`; the mean itself where there is no variance.
    ///
    /// # Shapes
    ///
    /// `noise`: `[n, latent]`.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`] when the shapes differ.
    pub fn sample(&self, noise: &Tensor) -> Result<Tensor> {
        match &self.log_var {
            Some(log_var) => sample(&self.mean, log_var, noise),
            None => Ok(self.mean.clone()),
        }
    }
}

/// A network that turns patches into latents and latents into patches.
///
/// Training, encoding and the weights file know models by this trait alone.
pub trait Autoencoder: Send + Sync {
    /// The name of the kind of model in weights files.
    fn kind(&self) -> &'static str;

    /// The configuration as JSON, from which the same network can be built.
    ///
    /// # Errors
    ///
    /// [`Error::Section`] when the configuration has no JSON form.
    fn config_json(&self) -> Result<serde_json::Value>;

    /// The patches that the network takes.
    fn input(&self) -> PatchShape;

    /// The number of one-hot condition columns that the network takes; 0 without conditions.
    fn n_conditions(&self) -> usize;

    /// The number of further images of a cell that the network takes in [`Batch::views`]; none by default.
    fn n_views(&self) -> usize {
        0
    }

    /// The number of latents.
    fn latent_dim(&self) -> usize;

    /// Where the network computes.
    fn device(&self) -> &Device;

    /// The named tensors: weights and running statistics.
    fn parameters(&self) -> &Parameters;

    /// The latents of a batch.
    ///
    /// # Shapes
    ///
    /// `[n, y, x, c]` to `[n, latent]`.
    ///
    /// # Errors
    ///
    /// [`Error::Patches`] when the batch does not fit the network; [`Error::Tensor`] when the device fails.
    fn encode(&self, batch: &Batch) -> Result<Posterior>;

    /// The patches that belong to latents, values in `[0, 1]`.
    ///
    /// # Shapes
    ///
    /// `[n, latent]` (and `[n, k]`) to `[n, y, x, c]`.
    ///
    /// # Errors
    ///
    /// [`Error::Patches`] when latents or conditions do not fit the network; [`Error::Tensor`] when the device fails.
    fn decode(&self, latents: &Tensor, conditions: Option<&Tensor>) -> Result<Tensor>;

    /// Latents of no cell in particular, as the decoder expects them; by default standard normal numbers.
    ///
    /// Every row has a random stream of its own, so the first rows do not depend on `n`.
    ///
    /// # Shapes
    ///
    /// Result: `[n, latent]`.
    fn sample_prior(&self, n: usize, seed: Seed) -> Array2<f32> {
        products_of_normals(n, self.latent_dim(), 1, seed)
    }

    /// The loss of a batch with its parts.
    ///
    /// Running statistics are updated here when `step` is a training step.
    ///
    /// # Errors
    ///
    /// [`Error::Patches`] when the batch does not fit the network; [`Error::Tensor`] when the device fails.
    fn loss(&self, batch: &Batch, step: &Step) -> Result<Losses>;

    /// The number types in which the network computes when a [`Step`] asks for them; `f32` alone by default.
    fn precisions(&self) -> &'static [Precision] {
        &[Precision::F32]
    }

    /// Gives back memory that the network keeps from one batch to the next; by default there is none.
    ///
    /// Training does so at its end; after encoding with large batches a caller can.
    fn release_memory(&self) {}

    /// The groups of weights that have an optimizer each; by default one with all weights.
    fn groups(&self) -> Vec<ParameterGroup> {
        vec![ParameterGroup::all(self.parameters())]
    }

    /// Trains on a batch: computes losses and hands gradients to `update`.
    ///
    /// By default the gradients of [`loss`](Self::loss) are handed to the group [`ParameterGroup::MAIN`] once.
    /// A model with an adversary, a critic or an optimizer that is used twice in a step does it here in its own order;
    /// running statistics and codebooks that no gradient reaches are [`Role::Buffer`](crate::Role::Buffer) and set here too.
    /// All chance must come from `step`, for a run that is resumed repeats the step.
    ///
    /// # Errors
    ///
    /// As [`loss`](Self::loss) and [`Update::apply`]; [`Error::NoGradient`] when the loss does not depend on a weight.
    fn train_step(&self, batch: &Batch, step: &Step, update: &mut dyn Update) -> Result<Losses> {
        train_on_loss(self, batch, step, update)
    }
}

/// Products of so many standard normal numbers each, `[n, width]`; every row has a stream of its own.
pub(crate) fn products_of_normals(
    n: usize,
    width: usize,
    factors: usize,
    seed: Seed,
) -> Array2<f32> {
    let mut all = Array2::zeros((n, width));
    for (row, mut values) in all.outer_iter_mut().enumerate() {
        let mut stream = seed.stream("prior-sample", row as u64);
        let mut products = vec![1.0; width];
        for _ in 0..factors {
            products
                .iter_mut()
                .for_each(|value| *value *= stream.normal());
        }
        for (to, value) in values.iter_mut().zip(products) {
            *to = value as f32;
        }
    }
    all
}

/// Hands the gradients of the loss to the group of all weights.
pub(crate) fn train_on_loss<M: Autoencoder + ?Sized>(
    model: &M,
    batch: &Batch,
    step: &Step,
    update: &mut dyn Update,
) -> Result<Losses> {
    let (losses, gradients) = in_pool(model.device(), || {
        let losses = model.loss(batch, step)?;
        let gradients = model.parameters().gradients(&losses.total.backward()?)?;
        Ok::<_, Error>((losses, gradients))
    })?;
    update.apply(ParameterGroup::MAIN, &gradients)?;
    Ok(losses)
}

/// Does the work of a batch on one of rayon's threads, when it is the CPU's.
///
/// Every parallel loop that begins outside the pool wakes a thread of it and goes to sleep until it is done.
/// A step has a dozen such loops, some of them short: with patches of 32 × 32 pixels that took a tenth of a training step and
/// a fifth of an encoding.
pub(crate) fn in_pool<R: Send>(device: &Device, work: impl FnOnce() -> R + Send) -> R {
    match device.is_cpu() {
        true => rayon::scope(|_| work()),
        false => work(),
    }
}

/// What a model takes, or what patches are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fit {
    shape: PatchShape,
    conditions: usize,
    views: usize,
}

impl Fit {
    fn of(model: &dyn Autoencoder) -> Self {
        Self {
            shape: model.input(),
            conditions: model.n_conditions(),
            views: model.n_views(),
        }
    }

    /// Compares what a model takes with what was found.
    fn check(self, found: Self) -> Result<()> {
        if self == found {
            return Ok(());
        }
        let words = |fit: Self| {
            let PatchShape {
                height,
                width,
                channels,
            } = fit.shape;
            let views = match (self.views, found.views) {
                (a, b) if a == b => String::new(),
                _ => format!(" and {} views", fit.views),
            };
            let conditions = fit.conditions;
            format!("{height}×{width}×{channels} with {conditions} condition columns{views}")
        };
        Err(Error::Patches {
            expected: words(self),
            found: words(found),
        })
    }
}

/// Checks that patches fit a model; how many views there are is seen in the batches.
pub(crate) fn check_source(model: &dyn Autoencoder, source: &dyn PatchSource) -> Result<()> {
    let expected = Fit::of(model);
    expected.check(Fit {
        shape: source.shape(),
        conditions: source.n_conditions(),
        views: expected.views,
    })
}

/// Checks that a batch fits a model.
pub(crate) fn check_batch(model: &dyn Autoencoder, batch: &Batch) -> Result<()> {
    let (n, height, width, channels) = batch.pixels.dims4()?;
    let check_len = phenocoder_core::ShapeError::check_len;
    let conditions = match &batch.conditions {
        Some(conditions) => {
            let (rows, columns) = conditions.dims2()?;
            check_len("conditions", n, rows)?;
            columns
        }
        None => 0,
    };
    let expected = Fit::of(model);
    let found = Fit {
        shape: PatchShape::new(height, width, channels),
        conditions,
        views: batch.views.len(),
    };
    expected.check(found)?;
    for view in &batch.views {
        let (rows, height, width, channels) = view.dims4()?;
        check_len("view", n, rows)?;
        expected.check(Fit {
            shape: PatchShape::new(height, width, channels),
            ..found
        })?;
    }
    Ok(())
}

/// Checks that latents and conditions fit a model's decoder and each other.
pub(crate) fn check_latents(
    model: &dyn Autoencoder,
    latents: &Tensor,
    conditions: Option<&Tensor>,
) -> Result<()> {
    let (n, found) = latents.dims2()?;
    let (rows, columns) = match conditions {
        Some(conditions) => conditions.dims2()?,
        None => (n, 0),
    };
    let (latent_dim, n_conditions) = (model.latent_dim(), model.n_conditions());
    if (found, rows, columns) == (latent_dim, n, n_conditions) {
        return Ok(());
    }
    let words = |l: usize, k: usize| format!("{l} latents with {k} condition columns");
    Err(Error::Patches {
        expected: words(latent_dim, n_conditions),
        found: format!("{} for {rows} of {n} rows", words(found, columns)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_keeps_the_mean_and_repeats() {
        let x = Tensor::ones((50, 40), DType::F32, &Device::Cpu).unwrap();
        let step = Step::training(Seed::new(3), 7);
        let dropped = step.drop_out("dropout", &x, 0.25).unwrap();
        let mean = dropped.mean_all().unwrap().to_scalar::<f32>().unwrap();
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
        let again = step.drop_out("dropout", &x, 0.25).unwrap();
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&dropped), values(&again));
        let next = Step::training(Seed::new(3), 8);
        let other = next.drop_out("dropout", &x, 0.25).unwrap();
        assert_ne!(values(&dropped), values(&other));
        let off = Step::evaluation().drop_out("dropout", &x, 0.25).unwrap();
        assert_eq!(values(&off), values(&x));
    }

    #[test]
    fn views_that_a_network_does_not_take_are_refused() {
        let shape = PatchShape::new(4, 4, 1);
        let config = crate::CvaeConfig::new(shape, 2).with_conv_layers([4]);
        let model = config.build(Seed::new(1), &Device::Cpu).unwrap();
        let mut patches = PatchBatch::zeros(3, shape, 0);
        patches.views.push(patches.pixels.clone());
        let batch = Batch::new(&patches, &Device::Cpu).unwrap();
        assert_eq!(
            model.encode(&batch).unwrap_err().to_string(),
            "the model takes 4×4×1 with 0 condition columns and 0 views, \
             but the patches are 4×4×1 with 0 condition columns and 1 views"
        );
    }
}
