//! The main job in six steps, each a function over a store with a configuration of its own.
//!
//! | step | function | reads | writes |
//! |---|---|---|---|
//! | 1 | [`generate_dataset`] | images, table | a patch set |
//! | 2 | [`fit`] | patch sets | a model file, records |
//! | 3 | [`encode`] | images, table, model | table `phenocoder`: a latent vector per cell |
//! | 4 | [`cluster_cells`] | that table | its graph, map and clusters |
//! | 5 | [`spatialgraph_stats`] | tables | table `phenocoder_samples` or `phenocoder_subunits`, CSV, Parquet |
//! | 6 | [`spatialgraph_embedding`] | that table | its components, graph, map and groups |
//!
//! [`BatchCorrection`] takes the effect of batches from the cells of step 4 and the samples of step 6, [`NeighborRows`] names
//! the rows before and after it, and [`evaluate_batches`] measures what that did.
//! [`run`] does all six; [`report`](crate::report) puts what came out on one page, or draws it picture by picture by the
//! columns that [`figures`] names.
//! [`CellLibrary`] finds the cells of one or many tables of latents that look most like a cell or a patch.
//! Every configuration can be written as JSON and read back; unknown fields are refused.
//! A table appears in the store whole or not at all, so a killed run leaves the store as it was before the step.
//! With [`Checkpoints::Resume`] a run that was stopped or killed goes on in its folder.

mod cluster;
mod compare;
mod correction;
mod embedding;
mod encode;
pub mod figures;
mod fit;
mod folder;
mod generate;
mod graph;
mod keys;
mod rows;
mod run;
mod search;
pub(crate) mod source;
mod statistics;

pub use cluster::{ClusterConfig, ClusterReport, cluster_cells};
pub use compare::{Evaluation, EvaluationConfig, Representation, evaluate_batches};
pub use correction::BatchCorrection;
pub use embedding::{
    EmbeddingConfig, EmbeddingReport, RAW_LAYER, SCALED_LAYER, spatialgraph_embedding,
};
pub use encode::{
    EncodeConfig, EncodeReport, RawPatches, SMOOTHED_LAYER, SmoothingConfig, encode, encode_patches,
};
pub use fit::{Checkpoints, FitReport, ModelManifest, TrainConfig, fit};
pub use folder::RunFiles;
#[cfg(feature = "report")]
pub(crate) use folder::read_json;
pub use generate::{DatasetConfig, DatasetManifest, DatasetReport, generate_dataset};
#[cfg(feature = "hnsw")]
pub use graph::HnswSearch;
pub use graph::{GraphConfig, NeighborMethod};
pub use keys::{CoordinateOrder, StoreKeys};
pub use rows::NeighborRows;
pub use run::{PipelineConfig, PipelineReport, run};
pub use search::{CellLibrary, Hit, LibraryTable};
#[cfg(feature = "report")]
pub(crate) use statistics::constant_within;
pub use statistics::{
    SpatialStatsConfig, SpatialStatsReport, spatialgraph_stats, statistics_one_by_one,
};
