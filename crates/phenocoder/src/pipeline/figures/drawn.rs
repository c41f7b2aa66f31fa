//! Pictures of what lies in the store and beside it, without headings.

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, PatchSource, Progress};
use phenocoder_io::{Store, Table};
use phenocoder_model::{DeviceChoice, SavedModel, select_device};
use phenocoder_plot::{
    ColorBy, Figure, HeatMapConfig, SampleMapConfig, ScatterConfig, heat_map, sample_map, scatter,
};

use super::FigureConfig;
use crate::error::{Error, Result};
use crate::pipeline::fit::TrainingData;
use crate::pipeline::{PipelineConfig, RAW_LAYER, RunFiles, source};

const STEP: &str = "figures";

/// Inputs beside reconstructions.
pub(crate) fn patches(
    config: &PipelineConfig,
    files: &RunFiles,
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
    data.montage(saved.model.as_ref(), &shown, progress)
}

/// How often labels lie beside each other within a radius, averaged over the samples.
pub(crate) fn interactions(store: &Store, config: &PipelineConfig, radius: f64) -> Result<Figure> {
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
    let settings = HeatMapConfig::default()
        .with_size(520.0, 440.0)
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
    if table.layers()?.iter().any(|name| name == RAW_LAYER) {
        return Ok(table.layer(RAW_LAYER)?.to_dense_f64()?);
    }
    let x = table
        .x()?
        .ok_or_else(|| Error::data(STEP, "the table of statistics has no X"))?;
    Ok(x.to_dense_f64()?)
}

/// The map of samples or subunits.
pub(crate) fn samples(
    store: &Store,
    config: &PipelineConfig,
    figures: &FigureConfig,
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
        let settings = ScatterConfig::embedding("UMAP");
        return Ok(scatter(
            map.view(),
            ColorBy::Categories(&condition),
            &settings,
        )?);
    }
    let unknown = || Categorical::from_optional_labels(vec![None::<&str>; n]);
    let batch = column(&figures.batch_key)?.unwrap_or_else(unknown);
    let names = table.obs_names()?;
    let settings = SampleMapConfig::default().with_labels("UMAP 1", "UMAP 2");
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
