//! A model file that is opened to encode.

use std::path::Path;

use ndarray::Array2;
use phenocoder_core::{Categorical, Fingerprint, PatchSource, Progress};
use phenocoder_model::{DeviceChoice, Latent, SavedModel, select_device};
use phenocoder_patches::UnseenPolicy;

use super::STEP;
use crate::error::{Error, Result};
use crate::pipeline::fit::{ENCODE_BATCH, ModelManifest};
use crate::pipeline::generate::DatasetManifest;

/// A network with what it knows of the data sets that it was trained on.
pub(in crate::pipeline) struct Encoder {
    model: SavedModel,
    pub(super) manifest: ModelManifest,
}

impl Encoder {
    pub(in crate::pipeline) fn load(path: &Path, device: DeviceChoice) -> Result<Self> {
        let device = select_device(device)?.device;
        let model = SavedModel::load(path, &device)?;
        let manifest = ModelManifest::read(&model)?;
        Ok(Self { model, manifest })
    }

    /// The data set of this name.
    pub(super) fn dataset(&self, name: &str) -> Result<&DatasetManifest> {
        let datasets = &self.manifest.datasets;
        datasets.get(name).ok_or_else(|| {
            let known: Vec<&str> = datasets.keys().map(String::as_str).collect();
            let known = known.join(", ");
            Error::data(
                STEP,
                format!("the model knows no data set `{name}`; it knows: {known}"),
            )
        })
    }

    /// One row of one-hot conditions for each of `n` patches of a data set; `labels` tells those of the other conditions.
    pub(super) fn conditions(
        &self,
        n: usize,
        dataset: &str,
        unseen: UnseenPolicy,
        labels: impl Fn(&str) -> Result<Categorical>,
    ) -> Result<Array2<f32>> {
        let names = self.manifest.config.conditions.iter();
        let columns: Vec<Categorical> = names
            .map(|name| match name.as_str() {
                "dataset" => Ok(Categorical::from_labels(vec![dataset; n])),
                name => labels(name),
            })
            .collect::<Result<_>>()?;
        let columns: Vec<&Categorical> = columns.iter().collect();
        let encoder = self.manifest.conditions.clone().with_unseen(unseen);
        Ok(encoder.encode_rows(n, &columns)?)
    }

    /// The latents of patches, `[n, latent]`.
    pub(super) fn latents(
        &self,
        patches: &dyn PatchSource,
        latent: Latent,
        progress: &dyn Progress,
    ) -> Result<Array2<f32>> {
        let model = self.model.model.as_ref();
        Ok(phenocoder_model::encode(
            model,
            patches,
            ENCODE_BATCH,
            latent,
            progress,
        )?)
    }

    /// A short text that is another when the weights are.
    pub(in crate::pipeline) fn fingerprint(&self) -> Result<String> {
        let model = self.model.model.as_ref();
        let weights = model.parameters().snapshot()?;
        let mut all = Fingerprint::new().text(model.kind());
        for name in weights.tensors().keys() {
            all = all.text(name).values(&weights.values(name)?);
        }
        Ok(all.finish())
    }
}
