//! Pictures of a run, by name and as files.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, PatchSource, Progress};
use phenocoder_io::{Store, Table};
use phenocoder_model::{DeviceChoice, SavedModel, reconstruct, select_device};
use phenocoder_plot::{
    ColorBy, Curve, CurvesConfig, Figure, HeatMapConfig, MontageConfig, SampleMapConfig,
    ScatterConfig, curves, heat_map, montage, sample_map, scatter,
};
use serde::{Deserialize, Serialize};

use super::fit::{ENCODE_BATCH, TrainingData};
use super::folder::RunFiles;
use super::run::{PipelineConfig, PipelineReport};
use super::source;
use crate::error::{Error, Result};

const STEP: &str = "figures";

/// The files that pictures are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FigureFormat {
    /// Pixels.
    #[default]
    Png,
    /// Lines and text, for print and for changing.
    Svg,
    /// One of each.
    Both,
}

impl FigureFormat {
    /// What the names of the files end with.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Png => &["png"],
            Self::Svg => &["svg"],
            Self::Both => &["png", "svg"],
        }
    }
}

/// What the pictures are coloured by beside what the run itself found, and what files they become.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FigureConfig {
    /// A column of the cells' `obs` that the map of cells is also coloured by.
    pub truth_key: Option<String>,
    /// A column of the samples' `obs` that colours the map of samples.
    pub condition_key: Option<String>,
    /// A column of the samples' `obs` that shapes the map of samples.
    ///
    /// The [page](crate::report) compares conditions within its labels, where none is named within those of the batch column
    /// of [`EmbeddingConfig`](super::EmbeddingConfig) or [`ClusterConfig`](super::ClusterConfig), and says so.
    /// It also measures by it how batches mix among the cells; where none is named, by the latter.
    pub batch_key: Option<String>,
    /// What [`draw`] writes (default PNG).
    pub format: FigureFormat,
}

impl FigureConfig {
    /// Colours by what the run found alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also colours cells by this column.
    #[must_use]
    pub fn with_truth_key(mut self, key: Option<String>) -> Self {
        self.truth_key = key;
        self
    }

    /// Colours samples by this column.
    #[must_use]
    pub fn with_condition_key(mut self, key: Option<String>) -> Self {
        self.condition_key = key;
        self
    }

    /// Shapes samples by this column.
    #[must_use]
    pub fn with_batch_key(mut self, key: Option<String>) -> Self {
        self.batch_key = key;
        self
    }

    /// Sets what files are written.
    #[must_use]
    pub fn with_format(mut self, format: FigureFormat) -> Self {
        self.format = format;
        self
    }
}

/// A picture with the name that its file has.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NamedFigure {
    /// The name, without extension.
    pub name: &'static str,
    /// The picture.
    pub figure: Figure,
}

/// The pictures of a run of [`run`](super::run()): `training`, `montage`, `interactions`, `cells`, `samples`; the last two only
/// where there is a map.
///
/// # Errors
///
/// [`Error::Io`] when something that the run wrote is gone, [`Error::Cancelled`].
pub fn all(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    files: &RunFiles,
    figures: &FigureConfig,
    progress: &dyn Progress,
) -> Result<Vec<NamedFigure>> {
    let radii = &config.samples.statistics.radii;
    let radius = radii.first().copied().unwrap_or_default();
    let of_patches = MontageConfig::default().with_title("Cells and their reconstructions");
    let of_neighbors = HeatMapConfig::default().with_title(format!("Neighbours within {radius}"));
    let mut drawn = vec![
        ("training", training(report)?),
        (
            "montage",
            patches_with(config, files, &of_patches, progress)?,
        ),
        (
            "interactions",
            interactions_with(store, config, radius, of_neighbors)?,
        ),
    ];
    if config.cluster.graph.umap.is_some() {
        drawn.push(("cells", cells(store, config, figures)?));
    }
    if report.embedding.is_some() && config.embedding.graph.umap.is_some() {
        let title = match config.subunits {
            Some(_) => "Subunits",
            None => "Samples",
        };
        drawn.push(("samples", samples_with(store, config, figures, title)?));
    }
    Ok(drawn
        .into_iter()
        .map(|(name, figure)| NamedFigure { name, figure })
        .collect())
}

/// Writes the pictures of a run, [`all`] of them, into `folder`, in the formats that `figures` names.
///
/// # Errors
///
/// As [`all`], and [`Error::Plot`] when a picture cannot be written.
pub fn draw(
    store: &Store,
    config: &PipelineConfig,
    report: &PipelineReport,
    files: &RunFiles,
    figures: &FigureConfig,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Error::data(
            STEP,
            format!("`{}` cannot be made: {error}", folder.display()),
        )
    })?;
    let mut paths = Vec::new();
    for drawn in all(store, config, report, files, figures, progress)? {
        for extension in figures.format.extensions() {
            let path = folder.join(drawn.name).with_extension(extension);
            drawn.figure.write(&path)?;
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Losses over epochs.
fn training(report: &PipelineReport) -> Result<Figure> {
    let record = &report.fit.record;
    let loss = |of: fn(&phenocoder_model::train::EpochRecord) -> f64| -> Vec<f64> {
        record.epochs.iter().map(of).collect()
    };
    let mut lines = vec![Curve::over_epochs(
        "training",
        loss(|epoch| epoch.train.total),
    )];
    if report.fit.validation > 0 {
        let validation = loss(|epoch| {
            epoch
                .validation
                .as_ref()
                .map_or(f64::NAN, |losses| losses.total)
        });
        lines.push(Curve::over_epochs("validation", validation));
    }
    let settings = CurvesConfig::default()
        .with_title("Training")
        .with_labels("epoch", "loss");
    Ok(curves(&lines, &settings)?)
}

/// Inputs beside reconstructions, for a page with headings of its own.
#[cfg(feature = "report")]
pub(crate) fn patches(
    config: &PipelineConfig,
    files: &RunFiles,
    progress: &dyn Progress,
) -> Result<Figure> {
    patches_with(config, files, &MontageConfig::default(), progress)
}

/// Inputs beside reconstructions.
fn patches_with(
    config: &PipelineConfig,
    files: &RunFiles,
    settings: &MontageConfig,
    progress: &dyn Progress,
) -> Result<Figure> {
    let device = select_device(DeviceChoice::Cpu)?.device;
    let saved = SavedModel::load(&files.model, &device)?;
    let data = TrainingData::open(&[&files.patches], &config.train.conditions, 0)?;
    let shown = config
        .train
        .seed
        .stream("figure", 0)
        .choose(data.source.len(), config.train.montage);
    let inputs = data.source.read(&shown)?;
    let outputs = reconstruct(
        saved.model.as_ref(),
        &data.source,
        &shown,
        ENCODE_BATCH,
        progress,
    )?;
    Ok(montage(
        inputs.pixels.view(),
        outputs.view(),
        data.channels(),
        settings,
    )?)
}

/// The map of cells by cluster, and by a column of the user's.
fn cells(store: &Store, config: &PipelineConfig, figures: &FigureConfig) -> Result<Figure> {
    let table = store.table(&config.cluster.table)?;
    let map = table.obsm("X_umap")?;
    let by = |column: &str, title: &str| -> Result<Figure> {
        let labels = source::labels(&table, column)?;
        let settings = ScatterConfig::embedding("UMAP").with_title(title);
        Ok(scatter(
            map.view(),
            ColorBy::Categories(&labels),
            &settings,
        )?)
    };
    let found = match config.cluster.graph.leiden {
        Some(_) => by(&config.cluster.column, "Cells by cluster found")?,
        None => scatter(map.view(), ColorBy::None, &ScatterConfig::embedding("UMAP"))?,
    };
    match &figures.truth_key {
        Some(key) => Ok(found.beside(by(key, &format!("Cells by {}", words(key)))?)),
        None => Ok(found),
    }
}

/// How often labels lie beside each other within a radius, for a page with headings of its own: two stand side by side.
#[cfg(feature = "report")]
pub(crate) fn interactions(store: &Store, config: &PipelineConfig, radius: f64) -> Result<Figure> {
    let settings = HeatMapConfig::default().with_size(520.0, 440.0);
    interactions_with(store, config, radius, settings)
}

/// How often labels lie beside each other within a radius, averaged over the samples.
fn interactions_with(
    store: &Store,
    config: &PipelineConfig,
    radius: f64,
    settings: HeatMapConfig,
) -> Result<Figure> {
    let table = store.table(&config.samples.output)?;
    let cells = store.table(&config.samples.keys.table)?;
    let labels = source::labels(&cells, &config.samples.label_key)?;
    let names = table.var_names()?;
    let values = statistics(&table)?;
    let categories = labels.categories();
    let k = categories.len();
    let shares = Array2::from_shape_fn((k, k), |(a, b)| {
        let (a, b) = (&categories[a], &categories[b]);
        let name = format!("radius:{radius}_stat:interactions_interaction_norm_{a}_{b}");
        names
            .iter()
            .position(|n| *n == name)
            .map_or(f64::NAN, |column| mean(values.view(), column))
    });
    let settings = settings
        .with_labels("label of the neighbour", "label of the cell")
        .with_value_label("share of neighbours")
        .with_annotate(k <= 12);
    Ok(heat_map(shares.view(), categories, categories, &settings)?)
}

/// The mean of the known values of a column.
fn mean(values: ArrayView2<'_, f64>, column: usize) -> f64 {
    let known: Vec<f64> = values
        .column(column)
        .iter()
        .copied()
        .filter(|v| !v.is_nan())
        .collect();
    known.iter().sum::<f64>() / known.len() as f64
}

/// The statistics as they were before any embedding.
pub(crate) fn statistics(table: &Table) -> Result<Array2<f64>> {
    if table.layers()?.iter().any(|name| name == super::RAW_LAYER) {
        return Ok(table.layer(super::RAW_LAYER)?.to_dense_f64()?);
    }
    let x = table
        .x()?
        .ok_or_else(|| Error::data(STEP, "the table of statistics has no X"))?;
    Ok(x.to_dense_f64()?)
}

/// The map of samples or subunits, for a page with headings of its own.
#[cfg(feature = "report")]
pub(crate) fn samples(
    store: &Store,
    config: &PipelineConfig,
    figures: &FigureConfig,
) -> Result<Figure> {
    samples_with(store, config, figures, "")
}

/// The map of samples or subunits.
fn samples_with(
    store: &Store,
    config: &PipelineConfig,
    figures: &FigureConfig,
    title: &str,
) -> Result<Figure> {
    let table = store.table(&config.embedding.table)?;
    let map = table.obsm("X_umap")?;
    let n = map.nrows();
    let sample_key = &config.samples.keys.sample_key;
    let column = |key: &Option<String>| -> Result<Option<Categorical>> {
        key.as_ref()
            .map(|key| source::labels(&table, key))
            .transpose()
    };
    let condition = match column(&figures.condition_key)? {
        Some(condition) => condition,
        None => source::labels(&table, sample_key)?,
    };
    if config.subunits.is_some() {
        let settings = ScatterConfig::embedding("UMAP").with_title(title);
        return Ok(scatter(
            map.view(),
            ColorBy::Categories(&condition),
            &settings,
        )?);
    }
    let batch =
        column(&figures.batch_key)?.unwrap_or_else(|| Categorical::from_labels(vec![""; n]));
    let names = table.obs_names()?;
    let settings = SampleMapConfig::default()
        .with_title(title)
        .with_labels("UMAP 1", "UMAP 2");
    Ok(sample_map(
        map.view(),
        &names,
        &condition,
        &batch,
        &settings,
    )?)
}

/// A column's name as one would say it.
pub(crate) fn words(key: &str) -> String {
    key.replace('_', " ")
}
