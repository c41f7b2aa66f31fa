//! Latents of patches that lie in no store.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array2, Array4, Axis};
use phenocoder_core::{Categorical, PatchBatch, Progress, ShapeError};
use phenocoder_model::{DeviceChoice, Latent};
use phenocoder_patches::{Scaling, UnseenPolicy};

use super::STEP;
use super::encoder::Encoder;
use crate::error::{Error, Result};

/// Patches as they were cut from an image, not scaled yet, and what the network is told about them.
///
/// The cell's centre is the pixel in row `height / 2` and column `width / 2`.
/// Where the model's patches hide other cells ([`PatchConfig::mask_neighbors`](crate::patches::PatchConfig::mask_neighbors)),
/// set their pixels to a value at or below the lower end of the scaling, which becomes 0: mostly to 0.
///
/// # Shapes
///
/// `pixels`: `[n, y, x, c]`, extent and channels as the model was trained with; samples and each condition: `n` labels.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RawPatches {
    /// Pixels with the values of the image, `[n, y, x, c]`.
    pub pixels: Array4<f32>,
    /// The sample that each comes from: its scaling is used.
    pub samples: Categorical,
    /// The data set of the model that the samples belong to (default `dataset`).
    pub dataset: String,
    /// The scaling of samples that the model does not know (default none).
    ///
    /// A model that scales each sample by itself ([`ScalingMode::PerSample`](crate::patches::ScalingMode::PerSample), the
    /// default) has no range for a sample that it does not know: without this, such a sample is an error.
    /// Measure the sample's whole image with the settings of the model's own scaling
    /// ([`Scaling::statistics`]); samples that the model knows keep theirs.
    ///
    /// A model with one range for all samples ([`ScalingMode::Global`](crate::patches::ScalingMode::Global)) has it for every
    /// sample, also for one whose name is mistyped, and this changes nothing.
    pub scaling: Option<Scaling>,
    /// The labels of the patches for every condition of the model but `dataset` (default none).
    pub conditions: BTreeMap<String, Categorical>,
    /// What becomes of a condition that the model never saw (default an error).
    pub unseen: UnseenPolicy,
    /// Where the network runs.
    pub device: DeviceChoice,
}

impl RawPatches {
    /// Patches of one sample.
    pub fn new(pixels: Array4<f32>, sample: impl AsRef<str>) -> Self {
        let samples = Categorical::from_labels(vec![sample.as_ref(); pixels.dim().0]);
        Self::of_samples(pixels, samples)
    }

    /// Patches of several samples: one label for each.
    pub fn of_samples(pixels: Array4<f32>, samples: Categorical) -> Self {
        Self {
            pixels,
            samples,
            dataset: "dataset".to_owned(),
            scaling: None,
            conditions: BTreeMap::new(),
            unseen: UnseenPolicy::default(),
            device: DeviceChoice::default(),
        }
    }

    /// Sets the data set of the model.
    #[must_use]
    pub fn with_dataset(mut self, name: impl Into<String>) -> Self {
        self.dataset = name.into();
        self
    }

    /// Sets the scaling of samples that the model does not know.
    #[must_use]
    pub fn with_scaling(mut self, scaling: Option<Scaling>) -> Self {
        self.scaling = scaling;
        self
    }

    /// Adds the labels of a condition.
    #[must_use]
    pub fn with_condition(mut self, name: impl Into<String>, labels: Categorical) -> Self {
        self.conditions.insert(name.into(), labels);
        self
    }

    /// Sets what becomes of unseen conditions.
    #[must_use]
    pub fn with_unseen(mut self, unseen: UnseenPolicy) -> Self {
        self.unseen = unseen;
        self
    }

    /// Sets where the network runs.
    #[must_use]
    pub fn with_device(mut self, device: DeviceChoice) -> Self {
        self.device = device;
        self
    }

    /// The means of the posteriors.
    pub(in crate::pipeline) fn latents(
        &self,
        encoder: &Encoder,
        progress: &dyn Progress,
    ) -> Result<Array2<f32>> {
        encoder.latents(&self.scaled(encoder)?, Latent::Mean, progress)
    }

    /// Pixels in `[0, 1]` with one-hot conditions, as the network takes them.
    fn scaled(&self, encoder: &Encoder) -> Result<PatchBatch> {
        let mut scaling = encoder.dataset(&self.dataset)?.scaling.clone();
        if let Some(own) = &self.scaling {
            scaling.extend(own)?;
        }
        let (n, _, _, channels) = self.pixels.dim();
        ShapeError::check_len("samples of patches", n, self.samples.len())?;
        if let Some(((patch, ..), _)) = self.pixels.indexed_iter().find(|(_, v)| v.is_nan()) {
            return Err(Error::data(STEP, format!("patch {patch} holds NaN")));
        }
        let mut pixels = self.pixels.clone();
        let patches = pixels.outer_iter_mut().zip(self.samples.labels());
        for (number, (mut patch, sample)) in patches.enumerate() {
            let sample = sample
                .ok_or_else(|| Error::data(STEP, format!("patch {number} names no sample")))?;
            let ranges = scaling.ranges(sample)?;
            ShapeError::check_len("channels of patches", ranges.len(), channels)?;
            for (mut channel, range) in patch.axis_iter_mut(Axis(2)).zip(ranges) {
                channel.mapv_inplace(|value| range.apply(value));
            }
        }
        let conditions = encoder.conditions(n, &self.dataset, self.unseen, |name| {
            self.conditions.get(name).cloned().ok_or_else(|| {
                Error::data(
                    STEP,
                    format!("the model is told `{name}` of every cell, the patches do not say it"),
                )
            })
        })?;
        Ok(PatchBatch::new(pixels, conditions)?)
    }
}

/// The latents of patches that lie in no store: those that [`encode`](super::encode) gives to the same cells, up to rounding.
///
/// The latent is the mean of the posterior.
/// The model is loaded anew in each call: give it many patches, also of several samples, at once.
///
/// # Shapes
///
/// Result: `[n, latent]`.
///
/// # Examples
///
/// ```no_run
/// use ndarray::Array4;
/// use phenocoder::core::NoProgress;
/// use phenocoder::pipeline::{RawPatches, encode_patches};
///
/// let pixels = Array4::zeros((1, 32, 32, 3));
/// let patches = RawPatches::new(pixels, "control_1");
/// let latents = encode_patches(&patches, "results/model.safetensors".as_ref(), &NoProgress)?;
/// assert_eq!(latents.nrows(), 1);
/// # Ok::<(), phenocoder::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Model`] when the file cannot be read or patches of another extent are given, [`Error::Patches`] for a condition
/// that the model does not know, and a sample that it does not know and cannot scale (see [`RawPatches::scaling`]),
/// [`Error::Data`] for an unknown data set, a sample or condition that is not said or a pixel that is NaN, [`Error::Shape`]
/// for another number of channels or samples, [`Error::Cancelled`].
pub fn encode_patches(
    patches: &RawPatches,
    model: &Path,
    progress: &dyn Progress,
) -> Result<Array2<f32>> {
    let _span = tracing::info_span!("encode_patches").entered();
    patches.latents(&Encoder::load(model, patches.device)?, progress)
}
