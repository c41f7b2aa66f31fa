//! Where a trainer gets its batches: from the images themselves, from a patch set, or from several of these at once.
//!
//! All of these are [`PatchSource`]s: patches are read by number, in any order, as
//! `[n, y, x, c]`, so shuffling, batching and reading ahead belong to whoever reads.

mod cached;
mod merged;
mod set;
mod store;
mod subset;

use phenocoder_core::{PatchBatch, PatchSource, ShapeError, SourceError};

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

/// Refuses a batch that a source behind returned if it holds anything but its patches `numbers`: another number or extent of
/// pixels, conditions or views.
fn checked(
    place: &str,
    source: &dyn PatchSource,
    numbers: &[usize],
    batch: PatchBatch,
) -> Result<PatchBatch, SourceError> {
    let (n, shape) = (numbers.len(), source.shape());
    let expected = [n, shape.height, shape.width, shape.channels];
    let refuse = |what: String, expected: &[usize], found: &[usize]| {
        let error = ShapeError::Array {
            what,
            expected: format!("{expected:?}"),
            found: found.to_vec(),
        };
        Err(SourceError::new(place, error))
    };
    if batch.pixels.shape() != expected {
        return refuse("patches".to_owned(), &expected, batch.pixels.shape());
    }
    let conditions = [n, source.n_conditions()];
    if batch.conditions.shape() != conditions {
        return refuse(
            "conditions".to_owned(),
            &conditions,
            batch.conditions.shape(),
        );
    }
    for (i, view) in batch.views.iter().enumerate() {
        if view.shape() != expected {
            return refuse(format!("views[{i}]"), &expected, view.shape());
        }
    }
    Ok(batch)
}

/// Refuses a batch that has not this many views, which its neighbors have.
fn check_views(place: &str, expected: usize, batch: &PatchBatch) -> Result<(), SourceError> {
    ShapeError::check_len("views", expected, batch.views.len())
        .map_err(|e| SourceError::new(place, e))
}
