//! The words that phenocoder's crates exchange.
//!
//! A cell is a row ([`Cells`]), an image is something that a window can be read from ([`ImageSource`]), a patch is a row of
//! a [`PatchBatch`], a neighbourhood is a [`CsrGraph`], and chance comes from a [`Seed`].
//! No algorithm lives here: the crates above are siblings that know only these types, so that each can be used alone.
//!
//! # Catalogue
//!
//! | question | items |
//! |---|---|
//! | Which cells are there, and what is known of each? | [`Cells`], [`Column`], [`Categorical`] |
//! | Where are they? | [`Coords`], [`Unit`] |
//! | How are pixels read? | [`ImageSource`], [`LabelSource`], [`MemoryImage`], [`MemoryLabels`] |
//! | What do networks take? | [`PatchBatch`], [`PatchSource`], [`PatchSink`] |
//! | In which order are patches visited? | [`PatchOrder`], [`Shuffled`], [`Sequential`] |
//! | What comes out? | [`Features`], [`CsrGraph`] |
//! | Are these the same data? | [`Fingerprint`] |
//! | How is chance made repeatable? | [`Seed`], [`Stream`] |
//! | How do long functions report and stop? | [`Progress`], [`NoProgress`], [`WithinStage`], [`CancelToken`], [`Cancelled`] |
//!
//! # Conventions
//!
//! Image axes are `c, z, y, x`; a 2-D image has `z = 1`.
//! Coordinates are `(y, x)` or `(z, y, x)`.
//! Pixels and networks are `f32`, statistics and geometry `f64`.

mod category;
mod cells;
mod coords;
mod error;
mod fingerprint;
mod graph;
mod image;
mod matrix;
mod order;
mod patch;
mod progress;
mod seed;

pub use category::Categorical;
pub use cells::{Cells, Column};
pub use coords::{Coords, Unit};
pub use error::{Cancelled, GraphError, ShapeError, SourceError};
pub use fingerprint::Fingerprint;
pub use graph::CsrGraph;
pub use image::{
    DataType, ImageRegion, ImageShape, ImageSource, LabelSource, MemoryImage, MemoryLabels,
};
pub use matrix::Features;
pub use order::{PatchOrder, Sequential, Shuffled};
pub use patch::{PatchBatch, PatchShape, PatchSink, PatchSource, PatchTransform};
pub use progress::{CancelToken, NoProgress, Progress, WithinStage};
pub use seed::{Seed, Stream};
