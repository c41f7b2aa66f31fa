//! From cells in images to scaled image patches.
//!
//! A patch is a window of fixed size around a cell.
//! This crate measures images ([`stats`]), fits a scaling on the result ([`scaling`]), decides which cells get a patch
//! ([`select`]), cuts the patches with each stored block of pixels decoded about once ([`extract`]), encodes conditions
//! ([`conditions`]), splits training from validation ([`mod@split`]) and serves batches to a network ([`loader`]),
//! from a patch set or from the images themselves.
//!
//! Take only this crate if you have images and cell positions and a network of your own: it knows no file format and no
//! network; images come in through [`phenocoder_core::ImageSource`], patches go out through
//! [`phenocoder_core::PatchSink`] and [`phenocoder_core::PatchSource`].
//!
//! # Example
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc};
//! use ndarray::{Array4, array};
//! use phenocoder_core::{Categorical, Cells, Column, Coords, MemoryImage, NoProgress, Unit};
//! use phenocoder_patches::{
//!     Images, MemorySink, PatchConfig, Scaling, ScalingMode, StatisticsConfig, extract_patches, image_statistics,
//! };
//!
//! let pixels = Array4::from_shape_fn((1, 1, 9, 9), |(_, _, y, x)| (9 * y + x) as f32);
//! let image = MemoryImage::new("tile", pixels, vec!["DAPI".into()])?;
//! let statistics = image_statistics(&image, "well A", &StatisticsConfig::default(), &NoProgress)?;
//! let scaling = Scaling::fit(&statistics, ScalingMode::PerSample)?;
//!
//! let images: Images = BTreeMap::from([("well A".to_owned(), Arc::new(image) as _)]);
//! let cells = Cells::new(
//!     Column::Int(vec![1, 2]),
//!     Categorical::from_labels(["well A", "well A"]),
//!     Coords::new(array![[4.0, 4.0], [0.0, 8.0]], Unit::Pixel)?,
//! )?;
//! let mut sink = MemorySink::new();
//! let config = PatchConfig::new(3, 5);
//! let report = extract_patches(&images, None, &cells, &scaling, &config, &mut sink, &NoProgress)?;
//! assert_eq!(report.kept, 2);
//! assert_eq!(sink.pixels().shape(), [2, 1, 3, 5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Catalogue
//!
//! | question | items |
//! |---|---|
//! | How bright are the images? | [`image_statistics`], [`SliceStatistics`] |
//! | How are pixels brought to `[0, 1]`? | [`Scaling`], [`ScalingMode`], [`Degenerate`] |
//! | Which cells get a patch, which not and why? | [`select_cells`], [`Selection`], [`ExtractReport`] |
//! | How are patches cut? | [`extract_patches`], [`PatchConfig`], [`BorderPolicy`] |
//! | How do patches reach the network? | [`StoreSource`], [`SetSource`], [`Subset`], [`Merged`], [`Cached`] |
//! | How often does each class come? | [`sample`] |
//! | What else does the network know of a patch? | [`ConditionEncoder`] |
//! | Which patches are for validation? | [`split()`], [`SplitConfig`] |
//! | How are patches changed at random in training? | [`AugmentConfig`], [`augment`] |
//! | How does the ME-VAE see a cell? | [`views`] |
//!
//! # Differences from phenocoder (Python)
//!
//! Each item names its own; in short: cells at the border are kept (reflected) and every dropped cell is counted,
//! positions are rounded and not cut off, the deviation from the median is taken per slice,
//! a scaling range without extent widens instead of binarising, and all patch extents work.
//! `compat` settings give the original's numbers.

pub mod augment;
mod blocks;
pub mod conditions;
mod error;
pub mod extract;
pub mod loader;
pub mod merge;
pub mod resize;
pub mod sample;
pub mod scaling;
pub mod select;
pub mod split;
pub mod stats;
pub mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use phenocoder_core::{ImageSource, LabelSource};

pub use augment::AugmentConfig;
pub use conditions::{ConditionEncoder, UnseenPolicy};
pub use error::{ConfigError, Error, Result};
pub use extract::{
    ChannelSaturation, ExtractReport, MemorySink, extract_patches, extract_selection,
};
pub use loader::{ArraySource, Cached, Merged, SetSource, StoreSource, Subset};
pub use merge::{Dataset, MergedTable};
pub use scaling::{ChannelRange, Degenerate, Scaling, ScalingMode};
pub use select::{
    BorderPolicy, InvalidPolicy, PatchConfig, Place, Rounding, SelectConfig, Selection, Slices,
    select_cells,
};
pub use split::{Split, SplitBy, SplitConfig, split};
pub use stats::{SliceStatistics, StatisticsConfig, image_statistics};
pub use views::{Nuisance, ViewConfig, ViewGenerator};

/// The image of each sample.
pub type Images = BTreeMap<String, Arc<dyn ImageSource>>;

/// The label mask of each sample.
pub type Masks = BTreeMap<String, Arc<dyn LabelSource>>;
