//! Where a trainer gets its batches: from the images themselves, from a patch set, or from several of these at once.
//!
//! All of these are [`PatchSource`](phenocoder_core::PatchSource)s: patches are read by number, in any order, as
//! `[n, y, x, c]`, so shuffling, batching and reading ahead belong to whoever reads.

mod cached;
mod merged;
mod set;
mod store;
mod subset;

use phenocoder_core::{ShapeError, SourceError};

pub use cached::Cached;
pub use merged::Merged;
pub use set::{ArraySource, SetSource};
pub use store::StoreSource;
pub use subset::Subset;

/// Refuses numbers that are no patch.
fn check_numbers(place: &str, n: usize, patches: &[usize]) -> Result<(), SourceError> {
    match patches.iter().find(|&&patch| patch >= n) {
        None => Ok(()),
        Some(&patch) => Err(SourceError::new(
            format!("{place}, patch {patch}"),
            ShapeError::Length {
                what: "patches".to_owned(),
                expected: patch + 1,
                found: n,
            },
        )),
    }
}
