//! Turning patches: mirror images and right angles, which lose nothing.

use ndarray::{Array3, ArrayViewMut3, Axis};
use phenocoder_core::{PatchBatch, Seed, Stream};

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

/// Mirrors each patch left to right with probability ½ and, independently, top to bottom with probability ½.
///
/// The draws belong to the patch: `numbers` names each patch of the batch,
/// so that the result does not depend on how patches are put into batches.
///
/// # Panics
///
/// When there is not one number per patch.
pub fn random_flips(batch: &mut PatchBatch, numbers: &[usize], seed: Seed, epoch: u64) {
    assert_eq!(numbers.len(), batch.len(), "one number per patch");
    let seed = seed.derive("flips", epoch);
    for (patch, &number) in batch.pixels.outer_iter_mut().zip(numbers) {
        let mut stream: Stream = seed.stream("patch", number as u64);
        let (horizontal, vertical) = (stream.chance(0.5), stream.chance(0.5));
        let mut patch = patch;
        if horizontal {
            reverse(patch.view_mut(), Axis(1));
        }
        if vertical {
            reverse(patch.view_mut(), Axis(0));
        }
    }
}

fn reverse(mut patch: ArrayViewMut3<'_, f32>, axis: Axis) {
    let mut turned: Array3<f32> = patch.to_owned();
    turned.invert_axis(axis);
    patch.assign(&turned);
}

#[cfg(test)]
mod tests;
