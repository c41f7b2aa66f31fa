//! From microscopy images of tissue to what cells look like and how those looks are arranged.
//!
//! phenocoder takes a SpatialData-Zarr store (images, label masks, a table with one row per cell), learns a description of
//! each cell's look with a convolutional variational autoencoder, describes the neighbourhood graph of each sample, and
//! writes both back into the store, where Python's spatialdata, scanpy and squidpy open them.
//! No Python is involved.
//!
//! This crate joins the others; each of them can be used alone.
//!
//! # The main job
//!
//! ```no_run
//! use phenocoder::core::NoProgress;
//! use phenocoder::io::Store;
//! use phenocoder::pipeline::{PipelineConfig, StoreKeys, run};
//!
//! let mut store = Store::open("tissue.zarr")?;
//! let keys = StoreKeys::new("cells", "sample", "image");
//! let report = run(&mut store, &PipelineConfig::new(keys), "results".as_ref(), &NoProgress)?;
//! assert!(report.encode.cells > 0);
//! # Ok::<(), phenocoder::Error>(())
//! ```
//!
//! # Catalogue
//!
//! | question | where |
//! |---|---|
//! | What is in my store? | [`io`] |
//! | How do I cut out my cells? | [`patches`] |
//! | What does each cell look like? | [`model`], [`pipeline::fit`], [`pipeline::encode`] |
//! | Which cells look alike? | [`embed`], [`pipeline::cluster_cells`] |
//! | Which cells look most like this one? | [`pipeline::CellLibrary`]: search over tables on disk |
//! | How are they arranged? | [`spatial`], [`pipeline::spatialgraph_stats`] |
//! | Which samples differ? | [`pipeline::spatialgraph_embedding`] |
//! | Is it biology or batch? | [`pipeline::BatchCorrection`] takes the batch away, [`pipeline::evaluate_batches`] measures what is left |
//! | How do I see it? | [`plot`], [`report::figures`] |
//! | How do I show it? | [`report`]: a run as one HTML page |
//! | What can I try it on? | [`datasets`] |
//!
//! # Features
//!
//! * `io`, `patches`, `model`, `spatial`, `embed`, `plot`: one crate each, re-exported under its name.
//! * `train`: training beside encoding.
//! * `pipeline`: the six steps over a store; switches on all of the above.
//! * `report`: a run as one HTML page, and its pictures as files.
//! * `hnsw`: approximate neighbours of many rows (`embed::knn::HnswIndex`), and in the steps (`pipeline::NeighborMethod`).
//! * `progress`: progress bars in the terminal.
//! * `object-store`: stores on servers (S3, Google Cloud Storage, Azure, HTTP).
//! * `full` (default): everything that runs on a CPU.
//! * `cuda`, `cudnn`, `metal`, `mkl`, `accelerate`: handed on to candle; none is on by default.

#[doc(inline)]
pub use phenocoder_core as core;
#[cfg(feature = "embed")]
#[doc(inline)]
pub use phenocoder_embed as embed;
#[cfg(feature = "io")]
#[doc(inline)]
pub use phenocoder_io as io;
#[cfg(feature = "model")]
#[doc(inline)]
pub use phenocoder_model as model;
#[cfg(feature = "patches")]
#[doc(inline)]
pub use phenocoder_patches as patches;
#[cfg(feature = "plot")]
#[doc(inline)]
pub use phenocoder_plot as plot;
#[cfg(feature = "spatial")]
#[doc(inline)]
pub use phenocoder_spatial as spatial;

#[cfg(feature = "io")]
pub mod datasets;
pub mod error;
#[cfg(feature = "pipeline")]
pub mod pipeline;
pub mod prelude;
#[cfg(feature = "progress")]
pub mod progress;
#[cfg(feature = "report")]
pub mod report;

#[doc(inline)]
pub use error::{Error, Result};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/main-job.md")]
mod guide {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/compare-samples.md")]
mod compare_samples {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/from-python.md")]
mod from_python {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/spatial-statistics.md")]
mod spatial_statistics {}

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
