//! Pictures of what lies in the store and beside it, without headings.

use std::collections::BTreeMap;

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
pub(crate) struct Patches {
    /// Of all cells that the settings ask for.
    pub(crate) all: Figure,
    /// Of some of them.
    pub(crate) some: Figure,
    /// How many cells the settings ask for and there are.
    pub(crate) cells: usize,
}

/// Inputs beside reconstructions: of all cells that the settings ask for, and of at most so many of them.
pub(crate) fn patches(
    config: &PipelineConfig,
    files: &RunFiles,
    most: usize,
    progress: &dyn Progress,
) -> Result<Patches> {
    let device = select_device(DeviceChoice::Cpu)?.device;
    let saved = SavedModel::load(&files.model, &device)?;
    let data = TrainingData::open(&[&files.patches], &config.train.conditions, 0)?;
    let shown = config
        .train
        .seed
        .stream("figure", 0)
        .choose(data.source.len(), config.train.montage);
    let (model, cells) = (saved.model.as_ref(), shown.len());
    let all = data.montage(model, &shown, progress)?;
    let some = match cells > most {
        true => {
            // They are sorted: the first ones could all be of one sample.
            let spread: Vec<usize> = (0..most).map(|i| shown[i * cells / most]).collect();
            data.montage(model, &spread, progress)?
        }
        false => all.clone(),
    };
    Ok(Patches { all, some, cells })
}

/// How often labels lie beside each other, as the statistics of the samples tell it.
pub(crate) struct Interactions {
    labels: Vec<String>,
    /// The first column of each name.
    columns: BTreeMap<String, usize>,
    values: Array2<f64>,
}

impl Interactions {
    /// Reads the statistics once for all radii.
    pub(crate) fn read(store: &Store, config: &PipelineConfig) -> Result<Self> {
        let table = store.table(&config.samples.output)?;
        let cells = store.table(&config.samples.keys.table)?;
        let labels = source::labels(&cells, &config.samples.label_key)?;
        let names = table.var_names()?.into_iter().enumerate();
        Ok(Self {
            labels: labels.categories().to_vec(),
            columns: names.rev().map(|(column, name)| (name, column)).collect(),
            values: statistics(&table)?,
        })
    }

    /// The shares within a radius, averaged over the samples.
    pub(crate) fn within(&self, radius: f64) -> Result<Figure> {
        let labels = &self.labels;
        let k = labels.len();
        let shares = Array2::from_shape_fn((k, k), |(a, b)| {
            let (a, b) = (&labels[a], &labels[b]);
            let name = format!("radius:{radius}_stat:interactions_interaction_norm_{a}_{b}");
            self.columns
                .get(&name)
                .map_or(f64::NAN, |&column| mean(self.values.view(), column))
        });
        let settings = HeatMapConfig::default()
            .with_size(520.0, 440.0)
            .with_labels("label of the neighbour", "label of the cell")
            .with_value_label("share of neighbours")
            .with_annotate(k <= 12);
        Ok(heat_map(shares.view(), labels, labels, &settings)?)
    }
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
    // Where no conditions are named, each sample has a colour of its own.
    let of_samples = &config.samples.keys.sample_key;
    let condition_key = figures.condition_key.as_ref().unwrap_or(of_samples);
    let condition = source::labels(&table, condition_key)?;
    if config.subunits.is_some() {
        let settings = ScatterConfig::embedding("UMAP").with_legend_title(words(condition_key));
        return Ok(scatter(
            map.view(),
            ColorBy::Categories(&condition),
            &settings,
        )?);
    }
    let (batch, batch_key) = match &figures.batch_key {
        Some(key) => (source::labels(&table, key)?, key.as_str()),
        None => (Categorical::from_optional_labels(vec![None::<&str>; n]), ""),
    };
    let names = table.obs_names()?;
    let settings = SampleMapConfig::default()
        .with_labels("UMAP 1", "UMAP 2")
        .with_legend_titles(words(condition_key), words(batch_key));
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

#[cfg(test)]
mod tests {
    use phenocoder_core::Column;
    use phenocoder_io::{ContainerVersion, TableData, WriteMode};
    use phenocoder_spatial::subunits::SubunitConfig;

    use super::*;
    use crate::pipeline::StoreKeys;

    fn column(labels: [&str; 3]) -> Column {
        Column::Categorical(Categorical::from_labels(labels))
    }

    /// Three samples with a map of them and statistics of who lies beside whom, and three cells with labels.
    fn store(folder: &std::path::Path, config: &PipelineConfig) -> Store {
        let names = |prefix: &str| (0..3).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
        let statistics = [(5, "a_a"), (5, "a_b"), (25, "a_a"), (5, "a_b")];
        let statistics = statistics.map(|(radius, labels)| {
            format!("radius:{radius}_stat:interactions_interaction_norm_{labels}")
        });
        let values = Array2::from_shape_fn((3, 4), |(row, column)| match (row, column) {
            (1, 0) => f64::NAN,
            _ => row as f64 / 4.0 + column as f64 + 0.13,
        });
        let map = Array2::from_shape_fn((3, 2), |(row, column)| (row + column) as f64);
        let samples = TableData::new(names("sample_"), statistics.into(), Some(values.into()))
            .with_obsm("X_umap", map)
            .with_obs_column("donor_id", column(["d1", "d2", "d3"]))
            .unwrap()
            .with_obs_column("drug_dose", column(["low", "high", "low"]))
            .unwrap()
            .with_obs_column("stain_run", column(["r1", "r1", "r2"]))
            .unwrap();
        let label_key = &config.samples.label_key;
        let cells = TableData::new(names("cell_"), Vec::new(), None)
            .with_obs_column(label_key, column(["a", "b", "b"]))
            .unwrap();
        let mut store = Store::create(folder.join("store.zarr"), ContainerVersion::V02).unwrap();
        for (name, data) in [
            (&config.samples.output, samples),
            (&config.samples.keys.table, cells),
        ] {
            store.write_table(name, &data, WriteMode::Create).unwrap();
        }
        store
    }

    fn config() -> PipelineConfig {
        PipelineConfig::new(StoreKeys::new("cells", "donor_id", "image"))
    }

    #[test]
    fn legends_of_the_map_of_samples_are_headed_by_their_columns() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config();
        let store = store(folder.path(), &config);
        let plain = FigureConfig::new();
        let named = FigureConfig::new()
            .with_condition_key(Some("drug_dose".to_owned()))
            .with_batch_key(Some("stain_run".to_owned()));
        let headings = ["condition", "batch", "donor id", "drug dose", "stain run"];
        let found = |config: &PipelineConfig, figures: &FigureConfig| {
            let svg = samples(&store, config, figures).unwrap().to_svg().unwrap();
            headings.map(|heading| svg.contains(&format!(">{heading}</text>")))
        };
        let of_samples = [false, false, true, false, false];
        assert_eq!(found(&config, &plain), of_samples);
        assert_eq!(found(&config, &named), [false, false, false, true, true]);
        config = config.with_subunits(SubunitConfig::new(40.0));
        config.embedding.table.clone_from(&config.samples.output);
        assert_eq!(found(&config, &plain), of_samples);
        assert_eq!(found(&config, &named), [false, false, false, true, false]);
    }

    #[test]
    fn neighbours_are_means_of_the_first_column_of_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let config = config();
        let all = Interactions::read(&store(folder.path(), &config), &config).unwrap();
        let shown = |radius, numbers: &[&str]| {
            let svg = all.within(radius).unwrap().to_svg().unwrap();
            for number in numbers {
                assert!(
                    svg.contains(&format!(">{number}</text>")),
                    "{number}: {svg}"
                );
            }
        };
        // a beside a: without the sample that has no number.
        shown(5.0, &["0.38", "1.38"]);
        shown(25.0, &["2.38"]);
    }
}
