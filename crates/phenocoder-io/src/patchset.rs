//! Patch sets on disk: one sharded array of patches, a Parquet file of their cells, and whatever else was noted.
//!
//! ```text
//! patches.zarr/
//!   zarr.json        a group; its attribute `phenocoder` holds the version and the metadata
//!   patches/         float32 [n, c, y, x], one chunk per patch, sharded, with checksums
//!   cells.parquet    one row per patch
//! ```
//!
//! Any Zarr library reads the array.

mod read;
mod write;

pub use read::PatchSet;
pub use write::{PatchSetOptions, PatchSetWriter};

/// The version of the layout.
const VERSION: &str = "1";
/// The attribute of the group.
const ATTRIBUTE: &str = "phenocoder";
