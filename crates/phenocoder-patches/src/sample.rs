//! Which patches an epoch visits, and in which order: classes equally often, by weights, or neighbours together.
//!
//! All of these are [`PatchOrder`](phenocoder_core::PatchOrder)s, as [`Shuffled`](phenocoder_core::Shuffled) and
//! [`Sequential`](phenocoder_core::Sequential) are.
//! An order depends on its settings and the seed of the epoch alone.

mod balanced;
mod local;
mod weighted;

pub use balanced::{BalanceConfig, Balanced, Draws};
pub use local::LocalShuffle;
pub use weighted::{Replacement, Weighted};

/// A short name for many numbers, so that settings tell two lists apart (FNV-1a).
fn digest(numbers: impl Iterator<Item = u64>) -> String {
    let hash = numbers
        .flat_map(u64::to_le_bytes)
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests;
