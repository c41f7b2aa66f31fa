//! The models, one directory each.

pub mod cvae;
pub mod mevae;

use phenocoder_core::PatchShape;

use crate::ConfigError;

/// Refuses patches that this many layers of stride 2 cannot halve without a remainder.
pub(crate) fn check_halving(patch: PatchShape, layers: usize) -> Result<(), ConfigError> {
    let divisor = u32::try_from(layers)
        .ok()
        .and_then(|layers| 1_usize.checked_shl(layers))
        .unwrap_or(usize::MAX);
    let PatchShape { height, width, .. } = patch;
    if height.is_multiple_of(divisor) && width.is_multiple_of(divisor) {
        return Ok(());
    }
    Err(ConfigError::Patch {
        height,
        width,
        layers,
        divisor,
    })
}

/// Rows and columns of a patch after this many layers of stride 2.
pub(crate) fn halved(patch: PatchShape, layers: usize) -> [usize; 2] {
    let layers = u32::try_from(layers).ok();
    [patch.height, patch.width].map(|side| layers.and_then(|l| side.checked_shr(l)).unwrap_or(0))
}

/// The number of weights of one layer, kernel and bias; `None` when it is beyond any memory.
pub(crate) fn layer_count(inputs: usize, outputs: usize, taps: usize) -> Option<usize> {
    inputs
        .checked_mul(taps)?
        .checked_add(1)?
        .checked_mul(outputs)
}
