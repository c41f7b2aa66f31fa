//! Step 3: a latent vector for every cell.

mod encoder;
mod notes;
mod raw;

use std::path::Path;

use ndarray::Array2;
use phenocoder_core::{Progress, Unit};
use phenocoder_io::{Matrix, Store, Table, TableData, WriteMode};
use phenocoder_model::{DeviceChoice, Latent};
use phenocoder_patches::{
    BorderPolicy, ExtractReport, Images, PatchConfig, Scaling, SelectConfig, Slices, StoreSource,
    UnseenPolicy, select_cells,
};
use phenocoder_spatial::radius_graph_within;
use phenocoder_spatial::smooth::{Smoothing, message_passing};
use serde::{Deserialize, Serialize};

use super::generate::{DatasetManifest, measure};
use super::keys::StoreKeys;
use super::source;
use crate::error::{Error, Result};
pub(super) use encoder::Encoder;
pub(super) use notes::Origin;
use notes::{NOTES, notes};
pub use raw::{RawPatches, encode_patches};

const STEP: &str = "encode";

/// The name of the layer with smoothed latents.
pub const SMOOTHED_LAYER: &str = "spatial_message_passing";

/// Averages latents over each cell's neighbours within a radius.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SmoothingConfig {
    /// The radius, in the unit of [`StoreKeys::spatial_key`].
    pub radius: f64,
    /// The mean (default) or the original's normalization.
    #[serde(default)]
    pub smoothing: Smoothing,
}

impl SmoothingConfig {
    /// The mean over neighbours within this radius.
    #[must_use]
    pub fn new(radius: f64) -> Self {
        Self {
            radius,
            smoothing: Smoothing::default(),
        }
    }
}

/// Settings of [`encode`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EncodeConfig {
    /// Where the store keeps its cells and images.
    pub keys: StoreKeys,
    /// The data set of the model that this store is (default `dataset`): its scaling is used for the samples that it knows.
    ///
    /// Samples that it does not know are measured and scaled in the same way.
    pub dataset: String,
    /// The table that is written (default `phenocoder`).
    pub table: String,
    /// The mean of the posterior (default) or a seeded draw.
    #[serde(default)]
    pub latent: Latent,
    /// Also write latents averaged over neighbours.
    #[serde(default)]
    pub smoothing: Option<SmoothingConfig>,
    /// What becomes of a condition that the model never saw (default an error).
    #[serde(default)]
    pub unseen: UnseenPolicy,
    /// Which cells are taken: with the default every one, and a cell outside its image is an error.
    #[serde(default)]
    pub select: SelectConfig,
    /// Where the network runs.
    #[serde(default)]
    pub device: DeviceChoice,
}

impl EncodeConfig {
    /// Encodes every cell that `keys` name into the table `phenocoder`.
    #[must_use]
    pub fn new(keys: StoreKeys) -> Self {
        Self {
            keys,
            dataset: "dataset".to_owned(),
            table: "phenocoder".to_owned(),
            latent: Latent::default(),
            smoothing: None,
            unseen: UnseenPolicy::default(),
            select: SelectConfig::default(),
            device: DeviceChoice::default(),
        }
    }

    /// Sets the data set of the model.
    #[must_use]
    pub fn with_dataset(mut self, name: impl Into<String>) -> Self {
        self.dataset = name.into();
        self
    }

    /// Sets the table that is written.
    #[must_use]
    pub fn with_table(mut self, name: impl Into<String>) -> Self {
        self.table = name.into();
        self
    }

    /// Sets which latent is written.
    #[must_use]
    pub fn with_latent(mut self, latent: Latent) -> Self {
        self.latent = latent;
        self
    }

    /// Sets the smoothing.
    #[must_use]
    pub fn with_smoothing(mut self, smoothing: Option<SmoothingConfig>) -> Self {
        self.smoothing = smoothing;
        self
    }

    /// Sets what becomes of unseen conditions.
    #[must_use]
    pub fn with_unseen(mut self, unseen: UnseenPolicy) -> Self {
        self.unseen = unseen;
        self
    }

    /// Sets which cells are taken.
    #[must_use]
    pub fn with_select(mut self, select: SelectConfig) -> Self {
        self.select = select;
        self
    }

    /// Checks that the table written is not the one that is read.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names the first field outside its range.
    pub fn validate(&self) -> Result<()> {
        self.keys.validate()?;
        if self.table.is_empty() || self.table == self.keys.table {
            return Err(Error::config(
                STEP,
                "table",
                "the name of another table than the input's",
            ));
        }
        Ok(())
    }

    /// Sets where the network runs.
    #[must_use]
    pub fn with_device(mut self, device: DeviceChoice) -> Self {
        self.device = device;
        self
    }
}

/// What [`encode`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EncodeReport {
    /// The table written.
    pub table: String,
    /// Rows of the input table.
    pub rows: usize,
    /// Cells encoded.
    pub cells: usize,
    /// Latent dimensions.
    pub latents: usize,
    /// What became of every cell.
    pub select: ExtractReport,
    /// Samples that the model's data set did not know and that were measured anew.
    ///
    /// Samples are known by name: in another store, give samples other names than those trained on.
    pub new_samples: Vec<String>,
    /// Matrices of the input that were not carried over: embeddings (`X_…`) of other features.
    pub left_out: Vec<String>,
}

/// Encodes every cell of the store and writes the table `phenocoder`.
///
/// The table has the rows, `obs`, `obsm` and annotation of the input table; its variables are `phc_latent_1` … `phc_latent_n`.
/// `uns/phenocoder` holds the settings, the version and a fingerprint of the model's weights, by which
/// [`CellLibrary`](super::CellLibrary) knows tables of the same model.
/// Entries of `obsm` called `X_…` are embeddings of the input's own features and are not carried over, for scanpy would take
/// them for embeddings of the latents.
/// A patch of a stack is that of the cell's own slice, and cells at the border are continued by reflection where the model's
/// patches were dropped there: every cell has a latent.
///
/// # Errors
///
/// [`Error::Io`] when an element or key is not there, [`Error::Data`] when the model knows no such data set or other channels,
/// [`Error::Patches`] for an unseen condition or a cell that cannot have a patch, [`Error::Cancelled`].
/// The store is changed only when everything has succeeded.
pub fn encode(
    store: &mut Store,
    model: &Path,
    config: &EncodeConfig,
    progress: &dyn Progress,
) -> Result<EncodeReport> {
    let _span = tracing::info_span!(STEP).entered();
    config.validate()?;
    let encoder = Encoder::load(model, config.device)?;
    let dataset = encoder.dataset(&config.dataset)?;

    let table = store.table(&config.keys.table)?;
    let named = |name: &&String| !matches!(name.as_str(), "dataset" | "z");
    let metadata: Vec<String> = encoder
        .manifest
        .config
        .conditions
        .iter()
        .filter(named)
        .cloned()
        .collect();
    let cells = source::cells(
        &table,
        &config.keys,
        &metadata,
        dataset.config.patch.mask_column.as_ref(),
        STEP,
    )?;
    let images = source::images(
        store,
        &config.keys,
        cells.samples().categories(),
        config.select.no_image,
    )?;
    let patch = every_cell(&dataset.config.patch, &config.select);
    let selection = select_cells(&images, &cells, &patch)?;
    if selection.channels() != dataset.channels {
        let (found, expected) = (selection.channels(), &dataset.channels);
        return Err(Error::data(
            STEP,
            format!("images have the channels {found:?}, the model {expected:?}"),
        ));
    }
    let masks = match patch.mask_neighbors {
        true => source::masks(store, &config.keys, &images)?,
        false => None,
    };
    if let Some(masks) = &masks {
        source::check_masks(masks, &selection, STEP)?;
    }
    let (scaling, new_samples) = complete_scaling(dataset, &images, progress)?;
    let (rows, select) = (selection.rows(), selection.report().clone());
    let conditions =
        encoder.conditions(
            rows.len(),
            &config.dataset,
            config.unseen,
            |name| match name {
                "z" => Ok(selection.slice_of_patches()),
                name => Ok(cells.column(name)?.select(&rows).to_categorical()),
            },
        )?;
    let patches = StoreSource::new(images, masks, selection, scaling, conditions)?;
    let latents = encoder.latents(&patches, config.latent, progress)?;

    let smoothed = match &config.smoothing {
        Some(smoothing) => Some(smooth(&table, config, *smoothing, &rows, &latents)?),
        None => None,
    };
    let (data, left_out) = latent_table(&table, &rows, latents, smoothed)?;
    let data = data.with_uns(NOTES, notes(config, encoder.fingerprint()?)?);
    let report = EncodeReport {
        table: config.table.clone(),
        rows: cells.len(),
        cells: rows.len(),
        latents: data.n_vars(),
        select,
        new_samples,
        left_out,
    };
    store.write_table(&config.table, &data, WriteMode::Replace)?;
    Ok(report)
}

/// The patch of the model, but for every cell.
fn every_cell(patch: &PatchConfig, select: &SelectConfig) -> PatchConfig {
    let border = match patch.border {
        BorderPolicy::Drop | BorderPolicy::DropCompat => BorderPolicy::Reflect,
        kept => kept,
    };
    patch
        .clone()
        .with_border(border)
        .with_slices(Slices::Own)
        .with_select(select.clone())
}

/// The data set's scaling, with samples that it does not know measured and added.
fn complete_scaling(
    dataset: &DatasetManifest,
    images: &Images,
    progress: &dyn Progress,
) -> Result<(Scaling, Vec<String>)> {
    let mut scaling = dataset.scaling.clone();
    let unknown: Images = images
        .iter()
        .filter(|(sample, _)| scaling.ranges(sample).is_err())
        .map(|(sample, image)| (sample.clone(), std::sync::Arc::clone(image)))
        .collect();
    if !unknown.is_empty() {
        let statistics = measure(&unknown, &dataset.config.statistics, progress)?;
        let settings = &dataset.config;
        scaling.extend(&Scaling::fit_with(
            &statistics,
            settings.scaling,
            settings.degenerate,
        )?)?;
    }
    Ok((scaling, unknown.into_keys().collect()))
}

/// Latents averaged over neighbours of the same sample.
fn smooth(
    table: &Table,
    config: &EncodeConfig,
    smoothing: SmoothingConfig,
    rows: &[usize],
    latents: &Array2<f32>,
) -> Result<Array2<f64>> {
    let keys = &config.keys;
    let points = source::coordinates(table, keys, &keys.spatial_key, Unit::Unspecified, STEP)?;
    let samples = source::samples(table, keys, STEP)?.select(rows);
    let graph = radius_graph_within(points.select(rows).view(), &samples, smoothing.radius)?;
    Ok(message_passing(
        latents.mapv(f64::from).view(),
        &graph,
        smoothing.smoothing,
    )?)
}

/// The input table's rows with latents in place of its matrix.
fn latent_table(
    table: &Table,
    rows: &[usize],
    latents: Array2<f32>,
    smoothed: Option<Array2<f64>>,
) -> Result<(TableData, Vec<String>)> {
    let var_names = (1..=latents.ncols())
        .map(|i| format!("phc_latent_{i}"))
        .collect();
    let names = table.obs_names()?;
    let obs_names = rows.iter().map(|&row| names[row].clone()).collect();
    let mut data = TableData::new(obs_names, var_names, Some(Matrix::from(latents)));
    let obs = table.obs_all()?;
    let indices = arrow::array::UInt64Array::from_iter_values(rows.iter().map(|&row| row as u64));
    let obs = arrow::compute::take_record_batch(&obs, &indices)
        .map_err(|error| Error::data(STEP, format!("rows of `obs` cannot be taken: {error}")))?;
    data = data.with_obs(obs);
    let (left_out, carried): (Vec<String>, Vec<String>) = table
        .obsm_keys()?
        .into_iter()
        .partition(|key| key.starts_with("X_"));
    for key in carried {
        let all = table.obsm(&key)?;
        data = data.with_obsm(key, all.select(ndarray::Axis(0), rows));
    }
    if let Some(smoothed) = smoothed {
        data = data.with_layer(SMOOTHED_LAYER, Matrix::from(smoothed.mapv(|v| v as f32)));
    }
    if let Some(annotation) = table.annotation() {
        // A region all of whose cells were left out is annotated no more.
        let of_row = source::labels(table, &annotation.region_key)?
            .select(rows)
            .without_unused();
        let mut annotation = annotation.clone();
        annotation
            .regions
            .retain(|region| of_row.position(region).is_some());
        data = data.with_annotation(annotation);
    }
    Ok((data, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_encoded_even_if_training_dropped_some() {
        let trained = PatchConfig::new(8, 8).compat();
        let patch = every_cell(&trained, &SelectConfig::default());
        assert_eq!(patch.border, BorderPolicy::Reflect);
        assert_eq!(patch.rounding, trained.rounding);
    }

    #[test]
    fn settings_survive_json() {
        let config = EncodeConfig::new(StoreKeys::new("t", "s", "i"))
            .with_smoothing(Some(SmoothingConfig::new(25.0)));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<EncodeConfig>(&text).unwrap(), config);
    }
}
