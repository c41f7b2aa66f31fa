//! All six steps.

use std::collections::BTreeMap;
use std::path::Path;

use phenocoder_core::{Categorical, Coords, Progress, Seed, Unit, WithinStage};
use phenocoder_io::{Store, Table};
use phenocoder_patches::SelectConfig;
use phenocoder_spatial::subunits::SubunitConfig;
use phenocoder_spatial::summary::{Mode, StatisticsConfig};
use serde::{Deserialize, Serialize};

use super::cluster::{ClusterConfig, ClusterReport, cluster_cells};
use super::correction::{BatchSettings, Batches};
use super::embedding::{EmbeddingConfig, EmbeddingReport, spatialgraph_embedding};
use super::encode::{EncodeConfig, EncodeReport, encode};
use super::fit::{Checkpoints, FitReport, TrainConfig, fit};
use super::folder::{self, Done, RunFiles, write_json};
use super::generate::{DatasetConfig, DatasetReport, generate_dataset};
use super::graph::{EXACT_IN_BATCHES, NeighborMethod};
use super::keys::StoreKeys;
use super::source;
use super::statistics::{
    SpatialStatsConfig, SpatialStatsReport, Units, constant_within, spatialgraph_stats,
};
use crate::error::{Error, Result};

const STEP: &str = "run";

/// Settings of all six steps.
///
/// [`new`](Self::new) makes settings that fit each other; change what you need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PipelineConfig {
    /// Step 1.
    pub dataset: DatasetConfig,
    /// Step 2.
    pub train: TrainConfig,
    /// Step 3.
    pub encode: EncodeConfig,
    /// Step 4.
    pub cluster: ClusterConfig,
    /// Step 5, of whole samples.
    pub samples: SpatialStatsConfig,
    /// Step 5 once more, with the settings of `samples`, of cubes of the samples: table `phenocoder_subunits`.
    #[serde(default)]
    pub subunits: Option<SubunitConfig>,
    /// Step 6, of the subunits if there are any, else of the samples.
    pub embedding: EmbeddingConfig,
}

impl PipelineConfig {
    /// 32 × 32 patches, latents of 32 dimensions, statistics of the clusters found at radii 25 and 50.
    #[must_use]
    pub fn new(keys: StoreKeys) -> Self {
        let encode = EncodeConfig::new(keys.clone());
        let cluster = ClusterConfig::default();
        let mut described = keys.clone();
        described.table.clone_from(&encode.table);
        let samples = SpatialStatsConfig::new(
            described,
            &cluster.column,
            StatisticsConfig::new([25.0, 50.0]),
        )
        .with_feature_tables([&encode.table]);
        Self {
            dataset: DatasetConfig::new(keys, 32),
            train: TrainConfig::default(),
            encode,
            cluster,
            samples,
            subunits: None,
            embedding: EmbeddingConfig::default(),
        }
    }

    /// Sets the seed of every step that is configured so far.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.dataset.patch.select.seed = seed.derive("select", 0);
        self.train = self.train.with_seed(seed.derive("train", 0));
        if let Some(split) = &mut self.train.split {
            split.seed = seed.derive("split", 0);
        }
        if let Some(subunits) = &mut self.subunits {
            subunits.seed = seed.derive("subunits", 0);
        }
        let (cells, samples) = (seed.derive("cells", 0), seed.derive("samples", 0));
        self.cluster.graph = self.cluster.graph.with_seed(cells);
        self.cluster.correction = self.cluster.correction.with_seed(cells);
        self.embedding.graph = self.embedding.graph.with_seed(samples);
        self.embedding.correction = self.embedding.correction.with_seed(samples);
        self
    }

    /// Describes cubes of the samples too, with the statistics of the samples, and maps them.
    #[must_use]
    pub fn with_subunits(mut self, subunits: SubunitConfig) -> Self {
        self.subunits = Some(subunits);
        if let Some(described) = self.subunit_statistics() {
            self.embedding.table = described.output;
        }
        self
    }

    /// Leaves out, and counts, cells that cannot have a patch: outside their image, without position, without image.
    #[must_use]
    pub fn with_invalid_dropped(mut self) -> Self {
        self.dataset.patch.select = self.dataset.patch.select.with_invalid_dropped();
        self.encode.select = self.encode.select.with_invalid_dropped();
        self
    }

    /// The settings that describe the cubes.
    fn subunit_statistics(&self) -> Option<SpatialStatsConfig> {
        self.subunits
            .clone()
            .map(|subunits| self.samples.clone().with_subunits(subunits))
    }

    /// Checks each step, and that the steps name the same store keys, data set and tables.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names the first setting that does not fit.
    pub fn validate(&self) -> Result<()> {
        self.dataset.keys.validate()?;
        self.train.validate()?;
        let statistics = &self.samples.statistics;
        statistics
            .validate()
            .map_err(phenocoder_spatial::Error::from)?;
        if let Some(subunits) = &self.subunits {
            subunits
                .validate()
                .map_err(phenocoder_spatial::Error::from)?;
        }
        self.cluster.validate()?;
        self.embedding.validate()?;
        self.encode.validate()?;
        self.samples.validate()?;
        let described = self.subunit_statistics();
        if let Some(described) = &described {
            described.validate()?;
        }
        let mapped = described
            .as_ref()
            .map_or(&self.samples.output, |described| &described.output);
        let written = [&self.dataset.keys.table, &self.encode.table];
        let is_described = |key: &String| {
            *key == self.samples.keys.sample_key || self.samples.obs_keys.contains(key)
        };
        let mut removed = self
            .embedding
            .batch_key
            .iter()
            .chain(&self.embedding.confounder_keys);
        let rules: [(bool, &'static str, &'static str); 15] = [
            (
                removed.all(is_described),
                "samples.obs_keys",
                "given the batch and confounder columns of the embedding too",
            ),
            (
                self.encode.keys == self.dataset.keys,
                "encode.keys",
                "the keys of the data set",
            ),
            (
                self.encode.dataset == self.dataset.name,
                "encode.dataset",
                "the name of the data set",
            ),
            (
                self.cluster.table == self.encode.table,
                "cluster.table",
                "the table that is encoded",
            ),
            (
                written.contains(&&self.samples.keys.table),
                "samples.keys.table",
                "the table that is encoded, or the input's",
            ),
            (
                !written.contains(&&self.samples.output) && !written.contains(&mapped),
                "samples.output",
                "neither the input's table nor the one that is encoded",
            ),
            (
                described
                    .as_ref()
                    .is_none_or(|cubes| cubes.output != self.samples.output),
                "samples.output",
                "another table than that of the subunits",
            ),
            (
                StoreKeys {
                    table: self.dataset.keys.table.clone(),
                    ..self.samples.keys.clone()
                } == self.dataset.keys,
                "samples.keys",
                "the keys of the data set, but for the table",
            ),
            (
                self.samples.label_key != self.cluster.column
                    || (self.cluster.graph.leiden.is_some()
                        && self.samples.keys.table == self.encode.table),
                "samples.label_key",
                "a column of the input, or the clusters of the table that is encoded",
            ),
            (
                self.train.balance.as_ref().is_none_or(|by| {
                    matches!(by.column.as_str(), "sample" | "dataset" | "z")
                        || self.dataset.metadata_keys.contains(&by.column)
                }),
                "dataset.metadata_keys",
                "given the column that training is balanced by too",
            ),
            (
                self.train.conditions.iter().all(|name| {
                    matches!(name.as_str(), "dataset" | "z")
                        || self.dataset.metadata_keys.contains(name)
                }),
                "dataset.metadata_keys",
                "given the conditions of the training too",
            ),
            (
                self.samples.keys.table == self.encode.table
                    || !self.samples.feature_tables.contains(&self.encode.table)
                    || self.encode.select == SelectConfig::default(),
                "samples.keys.table",
                "the table that is encoded, when cells may be left out",
            ),
            (
                self.cluster.batch_key.is_none()
                    || !self.cluster.balance_batches
                    || self.cluster.graph.search == NeighborMethod::Exact,
                "cluster.graph.search",
                EXACT_IN_BATCHES,
            ),
            (
                self.embedding.batch_key.is_none()
                    || !self.embedding.balance_batches
                    || self.embedding.graph.search == NeighborMethod::Exact,
                "embedding.graph.search",
                EXACT_IN_BATCHES,
            ),
            (
                *mapped == self.embedding.table,
                "embedding.table",
                "the table of statistics that is mapped",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, expected)) => Err(Error::config(STEP, field, expected)),
            None => Ok(()),
        }
    }
}

/// What [`run`] did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PipelineReport {
    /// Step 1.
    pub dataset: DatasetReport,
    /// Step 2.
    pub fit: FitReport,
    /// Step 3.
    pub encode: EncodeReport,
    /// Step 4.
    pub cluster: ClusterReport,
    /// Step 5, samples.
    pub samples: SpatialStatsReport,
    /// Step 5, subunits.
    pub subunits: Option<SpatialStatsReport>,
    /// Step 6; `None` when fewer than three samples (or subunits, if they are asked for) were described.
    pub embedding: Option<EmbeddingReport>,
}

/// Runs all six steps on a store: the tables go into the store, everything else into `folder`.
///
/// A run that was stopped goes on in its folder, when it has [`Checkpoints::Resume`] and the settings and cells that the
/// folder was begun with: patch set and model are kept if they are whole, training is continued where it was stopped, and the
/// steps after it are repeated.
/// It ends with the results of one that was not stopped, to the bit on the CPU.
///
/// # Errors
///
/// As the steps; [`Error::Config`] when the settings of the steps do not fit each other, [`Error::Data`] when `folder` cannot be
/// made or holds a run already that is complete or of other settings or cells (the first that differs is named), a column
/// that a later step needs is not there, or batches are too small or a confounder follows from them.
/// Where cells may be left out, it shows later which of them have labels and whether these can be corrected for; so it does of
/// samples and subunits where [`Mode::Compat`] drops those of a single label.
/// What earlier steps wrote stays: each step writes its own result whole or not at all.
pub fn run(
    store: &mut Store,
    config: &PipelineConfig,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<PipelineReport> {
    config.validate()?;
    preflight(store, config, progress)?;
    let files = RunFiles::new(folder);
    let cells = folder::cells_of(store, &config.dataset.keys)?;
    let goes_on = config.train.checkpoints == Checkpoints::Resume && files.config.exists();
    let mut done = match goes_on {
        true => Done::of_stopped(&files, config, cells)?,
        false => Done::begin(&files, cells)?,
    };
    std::fs::create_dir_all(&files.logs).map_err(|error| {
        Error::data(
            STEP,
            format!("`{}` cannot be made: {error}", files.logs.display()),
        )
    })?;
    if !goes_on {
        write_json(&files.config, config)?;
    }
    done.write(&files)?;
    let dataset = match done.dataset(&files, config) {
        Some(report) => report,
        None => {
            // A model of other patches does not count any more.
            done.forget_all(&files)?;
            remove_folder(&files.patches)?;
            generate_dataset(store, &config.dataset, &files.patches, progress)?
        }
    };
    done.keep_dataset(&files, &dataset)?;
    let fit = match done.fit(&files, config) {
        Some(report) => report,
        None => {
            let patches = files.patches.as_path();
            let logs = Some(files.logs.as_path());
            fit(&[patches], &config.train, &files.model, logs, progress)?
        }
    };
    done.keep_fit(&files, &fit)?;
    let encode = encode(store, &files.model, &config.encode, progress)?;
    let cluster = cluster_cells(store, &config.cluster, progress)?;
    let samples = spatialgraph_stats(store, &config.samples, Some(&files.samples), progress)?;
    let subunits = match config.subunit_statistics() {
        Some(subunits) => Some(spatialgraph_stats(
            store,
            &subunits,
            Some(&files.subunits),
            progress,
        )?),
        None => None,
    };
    let mapped = subunits.as_ref().unwrap_or(&samples);
    let embedding = match mapped.units {
        0..3 => None,
        _ => Some(spatialgraph_embedding(store, &config.embedding, progress)?),
    };
    let report = PipelineReport {
        dataset,
        fit,
        encode,
        cluster,
        samples,
        subunits,
        embedding,
    };
    write_json(&files.report, &report)?;
    if let Err(error) = std::fs::remove_file(&files.steps) {
        tracing::warn!("`{}` cannot be removed: {error}", files.steps.display());
    }
    Ok(report)
}

/// Removes what a run that was stopped left half done.
fn remove_folder(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::data(
            STEP,
            format!("`{}` cannot be removed: {error}", path.display()),
        )),
        _ => Ok(()),
    }
}

/// Finds out before any work what a later step would stumble on: columns that are not there or cannot describe a sample,
/// and batches that cannot be corrected for.
fn preflight(store: &Store, config: &PipelineConfig, progress: &dyn Progress) -> Result<()> {
    let keys = &config.dataset.keys;
    let table = store.table(&keys.table)?;
    let samples = source::samples(&table, keys, STEP)?;
    for key in &config.samples.obs_keys {
        constant_within(&source::labels(&table, key)?, &samples, key, STEP)?;
    }
    if config.samples.label_key != config.cluster.column {
        source::labels(&table, &config.samples.label_key)?;
    }
    let places = source::coordinates(&table, keys, &keys.spatial_key, Unit::Unspecified, STEP)?;
    let pixels = source::coordinates(&table, keys, &keys.spatial_index_key, Unit::Pixel, STEP)?;
    let known = |points: &Coords, row: usize| points.zyx(row).iter().all(|v| v.is_finite());
    if let Some(row) = (0..samples.len()).find(|&row| known(&pixels, row) && !known(&places, row)) {
        return Err(Error::data(
            STEP,
            format!("`obsm/{}` of row {row} is not finite", keys.spatial_key),
        ));
    }
    check_batches(&table, config, &samples, &places, progress)
}

/// Finds out whether the batches of cells, and of samples or subunits, can be corrected for.
fn check_batches(
    table: &Table,
    config: &PipelineConfig,
    samples: &Categorical,
    places: &Coords,
    progress: &dyn Progress,
) -> Result<()> {
    let settings = [config.cluster.batches(), config.embedding.batches()];
    if config.encode.select != SelectConfig::default() {
        // Where cells may be left out, later steps find out what the others are like.
        for settings in settings {
            for key in settings
                .batch_key
                .into_iter()
                .chain(settings.confounder_keys)
            {
                source::labels(table, key)?;
            }
        }
        return Ok(());
    }
    let name = &config.dataset.keys.table;
    let [of_cells, of_units] = settings.map(|settings| {
        let settings = BatchSettings {
            table: name,
            ..settings
        };
        Batches::read(table, settings, STEP)
    });
    // What a correction tells of its progress would look like a step of the run.
    let within = WithinStage(progress);
    of_cells?.check(&within)?;
    let of_units = of_units?;
    // Which units have two labels and are kept, shows when the labels are there.
    if of_units.batch.is_none() || config.samples.statistics.mode == Mode::Compat {
        return Ok(());
    }
    let subunits = config.subunit_statistics();
    let units = Units::new(
        places,
        samples,
        subunits.as_ref().unwrap_or(&config.samples),
    )?
    .of_row;
    let mut first = BTreeMap::new();
    for row in 0..units.len() {
        if let Some(unit) = units.code(row) {
            first.entry(unit).or_insert(row);
        }
    }
    let first: Vec<usize> = first.into_values().collect();
    match first.len() {
        // They are not mapped.
        0..3 => Ok(()),
        _ => {
            let of_units = of_units.select(&first, &config.embedding.table);
            of_units.check(&within)
        }
    }
}
