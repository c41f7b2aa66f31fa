//! Changing patches at random, so that a network sees no patch twice alike.
//!
//! [`AugmentConfig`] says what may happen to a patch: flips, right-angle turns, free rotation, shifts, brightness, contrast
//! and noise.
//! It is a [`PatchTransform`](phenocoder_core::PatchTransform): a trainer applies it to every training patch, with new
//! draws in each epoch, and its settings are kept with checkpoints and models.
//! The functions turn all patches of a batch in one way.

mod apply;
mod config;
mod part;
mod warp;

use ndarray::{Array3, ArrayViewMut3, Axis};
use phenocoder_core::PatchBatch;

pub use config::AugmentConfig;
pub use part::{
    BrightnessConfig, ChannelDraw, ContrastConfig, FlipConfig, NoiseConfig, QuarterTurnConfig,
    RotationConfig, ShiftConfig, ShiftSteps,
};
pub use warp::Border;

/// Mirrors every patch left to right.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape};
/// use phenocoder_patches::augment::flip_horizontal;
///
/// let mut batch = PatchBatch::zeros(1, PatchShape::new(1, 3, 1), 0);
/// batch.pixels[[0, 0, 0, 0]] = 1.0;
/// flip_horizontal(&mut batch);
/// assert_eq!(batch.pixels[[0, 0, 2, 0]], 1.0);
/// ```
pub fn flip_horizontal(batch: &mut PatchBatch) {
    batch
        .pixels
        .outer_iter_mut()
        .for_each(|patch| reverse(patch, Axis(1)));
}

/// Mirrors every patch top to bottom.
pub fn flip_vertical(batch: &mut PatchBatch) {
    batch
        .pixels
        .outer_iter_mut()
        .for_each(|patch| reverse(patch, Axis(0)));
}

/// Turns every patch by `quarters` right angles against the clock; rows and columns trade places for odd numbers.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape};
/// use phenocoder_patches::augment::rotate_quarters;
///
/// let mut batch = PatchBatch::zeros(1, PatchShape::new(2, 3, 1), 0);
/// batch.pixels[[0, 0, 2, 0]] = 1.0;
/// rotate_quarters(&mut batch, 1);
/// assert_eq!(batch.pixels.shape(), [1, 3, 2, 1]);
/// assert_eq!(batch.pixels[[0, 0, 0, 0]], 1.0, "the upper right corner is now the upper left one");
/// ```
pub fn rotate_quarters(batch: &mut PatchBatch, quarters: u32) {
    let mut view = std::mem::take(&mut batch.pixels);
    if quarters % 2 == 1 {
        view.swap_axes(1, 2);
    }
    // Against the clock: transpose, then top to bottom. Twice: both mirrors. Three times:
    // transpose, then left to right.
    match quarters % 4 {
        1 => view.invert_axis(Axis(1)),
        2 => {
            view.invert_axis(Axis(1));
            view.invert_axis(Axis(2));
        }
        3 => view.invert_axis(Axis(2)),
        _ => {}
    }
    batch.pixels = view.as_standard_layout().into_owned();
}

fn reverse(mut patch: ArrayViewMut3<'_, f32>, axis: Axis) {
    let mut turned: Array3<f32> = patch.to_owned();
    turned.invert_axis(axis);
    patch.assign(&turned);
}

#[cfg(test)]
mod tests;
