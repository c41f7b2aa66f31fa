//! In which order patches are visited.

use crate::{Seed, ShapeError};

/// Chooses the patches of an epoch and their order: all of them shuffled, or drawn with weights.
///
/// The order depends on the number of patches and the seed alone, never on threads.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchOrder, Seed, Shuffled};
///
/// let mut order = Shuffled.order(5, Seed::new(1))?;
/// assert_eq!(order, Shuffled.order(5, Seed::new(1))?);
/// order.sort_unstable();
/// assert_eq!(order, [0, 1, 2, 3, 4]);
/// # Ok::<(), phenocoder_core::ShapeError>(())
/// ```
pub trait PatchOrder: Send + Sync {
    /// The name of the kind of order: `shuffled`, say.
    fn name(&self) -> &str;

    /// Its settings as JSON; they are kept with checkpoints.
    fn settings(&self) -> String {
        "{}".to_owned()
    }

    /// How many patches [`order`](Self::order) visits in one epoch of a source of `n` patches; `n` by default.
    fn length(&self, n: usize) -> usize {
        n
    }

    /// The patches of one epoch of a source of `n` patches, in the order of their visit.
    ///
    /// Every epoch has a `seed` of its own.
    /// A patch may come several times or not at all.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] when the order was made for another number of patches.
    fn order(&self, n: usize, seed: Seed) -> Result<Vec<usize>, ShapeError>;
}

/// Visits every patch once, in a new random order in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shuffled;

impl PatchOrder for Shuffled {
    fn name(&self) -> &str {
        "shuffled"
    }

    fn order(&self, n: usize, seed: Seed) -> Result<Vec<usize>, ShapeError> {
        Ok(seed.stream("order", 0).permutation(n))
    }
}

/// Visits every patch once, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sequential;

impl PatchOrder for Sequential {
    fn name(&self) -> &str {
        "sequential"
    }

    fn order(&self, n: usize, _: Seed) -> Result<Vec<usize>, ShapeError> {
        Ok((0..n).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_visits_all_and_sequential_in_order() {
        let seed = Seed::new(4);
        let mut shuffled = Shuffled.order(100, seed).unwrap();
        assert_eq!(shuffled, Shuffled.order(100, seed).unwrap());
        assert_ne!(shuffled, Shuffled.order(100, Seed::new(5)).unwrap());
        assert_ne!(shuffled, Sequential.order(100, seed).unwrap());
        shuffled.sort_unstable();
        assert_eq!(shuffled, Sequential.order(100, seed).unwrap());
        assert!(Shuffled.order(0, seed).unwrap().is_empty());
    }
}
