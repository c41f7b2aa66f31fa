//! Several views of a cell, for networks that learn what they have in common.
//!
//! A [`ViewGenerator`] makes a *canonical* image of each cell (in the middle of the patch, its long axis upright, of a
//! standard size, its bright end up and left) and, for each encoder of the network, a view that is spoiled in one
//! [`Nuisance`] only.
//! What only one encoder sees does not help to reconstruct the canonical image, so the latents leave it out: the idea of
//! the ME-VAE (Ternes et al. 2022, Communications Biology 5:255, doi 10.1038/s42003-022-03218-x).
//!
//! Patches must show one cell each, with 0 outside of it: the cell's mask is derived from the pixels above
//! [`CanonicalConfig::background`].
//!
//! # What is made of a patch
//!
//! | step | what | where it is not defined |
//! |---|---|---|
//! | centre | the centroid of the mask goes to the middle of the patch | empty mask: nothing moves |
//! | rotation | the major axis, from central moments of second order, goes along the rows (upright) | empty, one pixel, as long as broad: nothing turns |
//! | size | the diameter of the circle of equal area becomes a fraction of the patch's shorter side | empty mask: nothing is scaled |
//! | polar | of the four mirror images the one with the brighter half up and the brighter half left ([`PolarRule`]) | equally bright: the first of identity, up-down, left-right, half a turn |
//!
//! Centre, rotation and size are one bilinear interpolation of the patch, mirror images change no value.
//! A view that is turned or enlarged is interpolated from the patch itself, not from the canonical image, so it is as sharp.
//! What does not fit into the patch is cut off; enlarging by a large factor shows pixels, and cells that are made smaller
//! are not smoothed first.
//!
//! # Limits
//!
//! Batches carry pixels and no masks, so a [`ViewGenerator`] always derives the mask: a cell whose own pixels are as dark as
//! the background, in a bright neighborhood or with dark gaps, is placed by what is brighter.
//! Patches of which neighbors were not blanked
//! ([`PatchConfig::mask_neighbors`](crate::PatchConfig::mask_neighbors)) are placed with them.
//! [`canonical`] takes the cell's own mask where there is one.
//!
//! # Differences from the original
//!
//! The original (ME-VAE_Architecture) holds no generator: its users make files of image triplets by hand.
//! [`ViewConfig::paper`] makes such triplets: the first view is the cell as it came, the second the canonical image in one
//! of its four mirror images, sizes stay as they are.
//! The original divides each image by its own maximum ([`max_normalize`](crate::resize::max_normalize)), which erases
//! intensity and turns an empty image into NaN; here the scaling of the patches is kept.

mod affine;
mod canonical;
mod generator;
mod nuisance;
mod polar;
mod pose;
mod source;

pub use canonical::{CanonicalConfig, canonical};
pub use generator::{ViewConfig, ViewGenerator};
pub use nuisance::{Draw, Nuisance};
pub use polar::{Polar, PolarRule};
pub use pose::Pose;
pub use source::Transformed;

#[cfg(test)]
mod tests;
