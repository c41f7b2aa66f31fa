//! Step 1: image patches around every cell.

use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use phenocoder_core::{Cells, Column, ImageSource, PatchShape, Progress};
use phenocoder_io::{PatchSet, PatchSetOptions, PatchSetWriter, Store, column_to_arrow};
use phenocoder_patches::{
    Degenerate, ExtractReport, Images, PatchConfig, Scaling, ScalingMode, Selection,
    SliceStatistics, StatisticsConfig, extract_selection, image_statistics, select_cells,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::keys::StoreKeys;
use super::source;
use crate::error::{Error, Result};

const STEP: &str = "generate_dataset";

/// Settings of [`generate_dataset`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DatasetConfig {
    /// Where the store keeps its cells and images.
    pub keys: StoreKeys,
    /// The name of the data set: the value of the condition `dataset` (default `dataset`).
    pub name: String,
    /// What a patch is.
    pub patch: PatchConfig,
    /// How the brightness of images is measured.
    #[serde(default)]
    pub statistics: StatisticsConfig,
    /// Whether each sample is scaled by itself (default) or all alike.
    #[serde(default)]
    pub scaling: ScalingMode,
    /// What becomes of a channel whose range has no extent.
    #[serde(default)]
    pub degenerate: Degenerate,
    /// Columns of `obs` that are kept beside the patches, for conditions and splits.
    #[serde(default)]
    pub metadata_keys: Vec<String>,
}

impl DatasetConfig {
    /// Square patches of this side around the cells that `keys` name.
    #[must_use]
    pub fn new(keys: StoreKeys, side: usize) -> Self {
        Self {
            keys,
            name: "dataset".to_owned(),
            patch: PatchConfig::new(side, side),
            statistics: StatisticsConfig::default(),
            scaling: ScalingMode::default(),
            degenerate: Degenerate::default(),
            metadata_keys: Vec::new(),
        }
    }

    /// Sets the name of the data set.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets what a patch is.
    #[must_use]
    pub fn with_patch(mut self, patch: PatchConfig) -> Self {
        self.patch = patch;
        self
    }

    /// Sets the scaling.
    #[must_use]
    pub fn with_scaling(mut self, scaling: ScalingMode) -> Self {
        self.scaling = scaling;
        self
    }

    /// Sets how the brightness of images is measured.
    #[must_use]
    pub fn with_statistics(mut self, statistics: StatisticsConfig) -> Self {
        self.statistics = statistics;
        self
    }

    /// Sets what becomes of a channel whose range has no extent.
    #[must_use]
    pub fn with_degenerate(mut self, degenerate: Degenerate) -> Self {
        self.degenerate = degenerate;
        self
    }

    /// Keeps these columns of `obs` beside the patches.
    #[must_use]
    pub fn with_metadata_keys<S: Into<String>>(
        mut self,
        keys: impl IntoIterator<Item = S>,
    ) -> Self {
        self.metadata_keys = keys.into_iter().map(Into::into).collect();
        self
    }

    /// The original's choices: cut-off positions, its border test, 1 added to a range without extent.
    #[must_use]
    pub fn compat(mut self) -> Self {
        self.patch = self.patch.compat();
        self.degenerate = Degenerate::AddOne;
        self
    }
}

/// What a patch set says about itself: everything that encoding must repeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DatasetManifest {
    /// The settings that made it.
    pub config: DatasetConfig,
    /// The scaling that was fitted.
    pub scaling: Scaling,
    /// The channels.
    pub channels: Vec<String>,
    /// What became of every cell.
    pub report: ExtractReport,
    /// The version of the program.
    pub version: String,
}

impl DatasetManifest {
    /// Reads the manifest of a patch set.
    ///
    /// # Errors
    ///
    /// [`Error::Data`] when the patch set was not made by [`generate_dataset`].
    pub fn read(patches: &PatchSet) -> Result<Self> {
        serde_json::from_value(patches.metadata().clone()).map_err(|error| {
            Error::data(
                STEP,
                format!("the patch set has no usable manifest: {error}"),
            )
        })
    }
}

/// What [`generate_dataset`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DatasetReport {
    /// Where the patch set lies.
    pub path: PathBuf,
    /// The number of patches.
    pub patches: usize,
    /// The extent of a patch.
    pub shape: PatchShape,
    /// What became of every cell, and which channels are degenerate or saturated.
    pub extract: ExtractReport,
    /// Mean, percentiles and the rest of every slice.
    pub statistics: Vec<SliceStatistics>,
}

/// Cuts a scaled patch around every cell and writes them as a patch set.
///
/// The patch set at `path` appears whole when all patches are written, or not at all.
/// It holds the array `patches` `[n, c, y, x]`, one row per patch in `cells.parquet` (`row` in the table, `sample`, `id`,
/// `z`, `y`, `x`, then `metadata_keys`), and a [`DatasetManifest`].
///
/// # Errors
///
/// [`Error::Io`] when an element or a key is not there, [`Error::Patches`] for cells that cannot have a patch (unless the
/// configuration drops and counts them), [`Error::Cancelled`].
pub fn generate_dataset(
    store: &Store,
    config: &DatasetConfig,
    path: &Path,
    progress: &dyn Progress,
) -> Result<DatasetReport> {
    let _span = tracing::info_span!(STEP).entered();
    config.keys.validate()?;
    let table = store.table(&config.keys.table)?;
    let cells = source::cells(
        &table,
        &config.keys,
        &config.metadata_keys,
        config.patch.mask_column.as_ref(),
        STEP,
    )?;
    let images = source::images(
        store,
        &config.keys,
        cells.samples().categories(),
        config.patch.select.no_image,
    )?;
    let selection = select_cells(&images, &cells, &config.patch)?;
    if selection.is_empty() {
        return Err(Error::data(
            STEP,
            format!(
                "no cell of table `{}` has a patch: {:?}",
                config.keys.table,
                selection.report()
            ),
        ));
    }
    let masks = if config.patch.mask_neighbors {
        source::masks(store, &config.keys, &images)?
    } else {
        None
    };
    if let Some(masks) = &masks {
        source::check_masks(masks, &selection, STEP)?;
    }
    let statistics = measure(&images, &config.statistics, progress)?;
    let scaling = Scaling::fit_with(&statistics, config.scaling, config.degenerate)?;

    let shape = selection.patch_shape();
    let options = PatchSetOptions::default();
    let mut writer = PatchSetWriter::create(path, selection.len(), shape, &options)?;
    let extract = extract_selection(
        &images,
        masks.as_ref(),
        &selection,
        &scaling,
        &mut writer,
        progress,
    )?;
    let manifest = DatasetManifest {
        config: config.clone(),
        channels: selection.channels().to_vec(),
        scaling,
        report: extract.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let manifest = serde_json::to_value(&manifest)
        .map_err(|error| Error::data(STEP, format!("the manifest cannot be written: {error}")))?;
    writer.finish(&patch_rows(&selection, &cells)?, &manifest)?;
    Ok(DatasetReport {
        path: path.to_owned(),
        patches: selection.len(),
        shape,
        extract,
        statistics,
    })
}

/// Measures every slice of these images.
pub(super) fn measure(
    images: &Images,
    config: &StatisticsConfig,
    progress: &dyn Progress,
) -> Result<Vec<SliceStatistics>> {
    let mut statistics = Vec::new();
    for (sample, image) in images {
        let image: &dyn ImageSource = image.as_ref();
        statistics.extend(image_statistics(image, sample, config, progress)?);
    }
    Ok(statistics)
}

/// One row per patch.
fn patch_rows(selection: &Selection, cells: &Cells) -> Result<RecordBatch> {
    let rows = selection.rows();
    let place = |value: fn(&phenocoder_patches::Place) -> usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            selection.places().iter().map(|place| value(place) as i64),
        ))
    };
    let samples = Column::Categorical(cells.samples().select(&rows));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("row".to_owned(), place(|p| p.row)),
        ("sample".to_owned(), column_to_arrow("sample", &samples)?),
        (
            "id".to_owned(),
            column_to_arrow("id", &cells.instances().select(&rows))?,
        ),
        ("z".to_owned(), place(|p| p.z)),
        ("y".to_owned(), place(|p| p.y)),
        ("x".to_owned(), place(|p| p.x)),
    ];
    for (name, column) in cells.columns() {
        if columns.iter().any(|(taken, _)| taken == name) {
            return Err(Error::data(
                STEP,
                format!("the metadata column `{name}` has the name of a column of the patch set"),
            ));
        }
        let array = column_to_arrow(name, &column.select(&rows))?;
        columns.push((name.to_owned(), array));
    }
    record_batch(columns, STEP)
}

/// Columns of equal length as a record batch; all may hold missing values.
pub(super) fn record_batch(
    columns: Vec<(String, ArrayRef)>,
    step: &'static str,
) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|error| Error::data(step, format!("columns do not make a table: {error}")))
}
