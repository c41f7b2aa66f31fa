//! All six steps.

use std::path::{Path, PathBuf};

use phenocoder_core::{Progress, Seed};
use phenocoder_io::Store;
use phenocoder_spatial::subunits::SubunitConfig;
use phenocoder_spatial::summary::StatisticsConfig;
use serde::{Deserialize, Serialize};

use super::cluster::{ClusterConfig, ClusterReport, cluster_cells};
use super::embedding::{EmbeddingConfig, EmbeddingReport, spatialgraph_embedding};
use super::encode::{EncodeConfig, EncodeReport, encode};
use super::fit::{FitReport, TrainConfig, fit};
use super::generate::{DatasetConfig, DatasetReport, generate_dataset};
use super::keys::StoreKeys;
use super::statistics::{SpatialStatsConfig, SpatialStatsReport, spatialgraph_stats};
use crate::error::{Error, Result};

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
    /// Step 5, of cubes of the samples.
    #[serde(default)]
    pub subunits: Option<SpatialStatsConfig>,
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

    /// Sets the seed of every step.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.dataset.patch.select.seed = seed.derive("select", 0);
        self.train = self.train.with_seed(seed.derive("train", 0));
        if let Some(split) = &mut self.train.split {
            split.seed = seed.derive("split", 0);
        }
        self.cluster.graph = self.cluster.graph.with_seed(seed.derive("cells", 0));
        self.embedding.graph = self.embedding.graph.with_seed(seed.derive("samples", 0));
        self
    }

    /// Describes cubes of the samples too, with the statistics of the samples, and maps them.
    #[must_use]
    pub fn with_subunits(mut self, subunits: SubunitConfig) -> Self {
        let config = self.samples.clone().with_subunits(subunits);
        self.embedding.table.clone_from(&config.output);
        self.subunits = Some(config);
        self
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
    /// Step 6; `None` when there are fewer than three samples and no subunits to map.
    pub embedding: Option<EmbeddingReport>,
}

/// The files that [`run`] writes into its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFiles {
    /// The patch set.
    pub patches: PathBuf,
    /// The model.
    pub model: PathBuf,
    /// `training.csv` and the TensorBoard event file.
    pub logs: PathBuf,
    /// The statistics of the samples.
    pub samples: PathBuf,
    /// The statistics of the subunits.
    pub subunits: PathBuf,
    /// The settings.
    pub config: PathBuf,
    /// The report.
    pub report: PathBuf,
}

impl RunFiles {
    /// The files within this folder.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            patches: folder.join("patches.zarr"),
            model: folder.join("model.safetensors"),
            logs: folder.join("logs"),
            samples: folder.join("samples.csv"),
            subunits: folder.join("subunits.csv"),
            config: folder.join("config.json"),
            report: folder.join("report.json"),
        }
    }
}

/// Runs all six steps on a store: the tables go into the store, everything else into `folder`.
///
/// # Errors
///
/// As the steps; [`Error::Data`] when `folder` cannot be made or holds a run already.
/// What earlier steps wrote stays: each step writes its own result whole or not at all.
pub fn run(
    store: &mut Store,
    config: &PipelineConfig,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<PipelineReport> {
    let files = RunFiles::new(folder);
    std::fs::create_dir_all(&files.logs).map_err(|error| {
        Error::data(
            "run",
            format!("`{}` cannot be made: {error}", files.logs.display()),
        )
    })?;
    write_json(&files.config, config)?;
    let dataset = generate_dataset(store, &config.dataset, &files.patches, progress)?;
    let patches = files.patches.as_path();
    let fit = fit(
        &[patches],
        &config.train,
        &files.model,
        Some(&files.logs),
        progress,
    )?;
    let encode = encode(store, &files.model, &config.encode, progress)?;
    let cluster = cluster_cells(store, &config.cluster, progress)?;
    let samples = spatialgraph_stats(store, &config.samples, Some(&files.samples), progress)?;
    let subunits = match &config.subunits {
        Some(subunits) => Some(spatialgraph_stats(
            store,
            subunits,
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
    Ok(report)
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let failed = |error: String| Error::data("run", format!("`{}`: {error}", path.display()));
    let text = serde_json::to_string_pretty(value).map_err(|error| failed(error.to_string()))?;
    // Beside its place first, so that a reader never meets half a file.
    let part = path.with_extension("json.part");
    std::fs::write(&part, text + "\n")
        .and_then(|()| std::fs::rename(&part, path))
        .map_err(|error| failed(error.to_string()))
}
