//! How good an approximate search is.

use std::collections::BTreeSet;

use super::Neighbors;
use crate::matrix::check_shape;
use crate::{Error, Result};

/// The share of the nearest rows that an approximate search found, from 0 to 1.
///
/// `Σ_i |found_i ∩ exact_i| / (n k)`, where a row that is as near as the farthest of the exact ones counts too: which of
/// equally distant rows are among the `k` nearest is a matter of order.
/// A row that is found twice counts once.
/// Both must hold distances of the same metric; those of `found` are believed, not computed anew.
/// Cost: `O(n k log k)`.
///
/// # Errors
///
/// [`Error::Shape`] when the two are not of the same rows and `k`, [`Error::TooFew`] when there is no neighbour at all.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_embed::knn::{Neighbors, recall};
///
/// let exact = Neighbors::new(array![[1, 2], [0, 2]], array![[1.0, 3.0], [1.0, 2.0]])?;
/// let found = Neighbors::new(array![[1, 4], [0, 3]], array![[1.0, 5.0], [1.0, 2.0]])?;
/// assert_eq!(recall(&found, &exact)?, 0.75);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn recall(found: &Neighbors, exact: &Neighbors) -> Result<f64> {
    let (exact_rows, found_rows) = (exact.indices(), found.indices());
    check_shape("found", exact_rows.shape(), found_rows.shape())?;
    let shape = exact_rows.dim();
    Error::check_enough("recall", "neighbours", 1, shape.0 * shape.1)?;
    let mut hits = 0_usize;
    for row in 0..shape.0 {
        let nearest: BTreeSet<usize> = exact.row(row).map(|(index, _)| index).collect();
        let farthest = exact.row(row).fold(0.0, |_, (_, distance)| distance);
        let mut seen = BTreeSet::new();
        hits += found
            .row(row)
            .filter(|&(index, distance)| {
                seen.insert(index) && (distance <= farthest || nearest.contains(&index))
            })
            .count();
    }
    Ok(hits as f64 / (shape.0 * shape.1) as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn only_what_is_near_enough_counts_and_only_once() {
        let exact = Neighbors::new(array![[3, 1, 2]], array![[1.0, 2.0, 2.0]]).unwrap();
        assert_eq!(recall(&exact, &exact), Ok(1.0));
        let tie = Neighbors::new(array![[3, 2, 7]], array![[1.0, 2.0, 2.0]]).unwrap();
        assert_eq!(recall(&tie, &exact), Ok(1.0));
        let twice = Neighbors::new(array![[3, 3, 8]], array![[1.0, 1.0, 2.5]]).unwrap();
        assert_eq!(recall(&twice, &exact), Ok(1.0 / 3.0));
        // Distances of another library may be rounded otherwise.
        let rounded = Neighbors::new(array![[3, 1, 2]], array![[1.1, 2.1, 2.1]]).unwrap();
        assert_eq!(recall(&rounded, &exact), Ok(1.0));
    }

    #[test]
    fn neighbors_of_other_rows_and_none_are_refused() {
        let one = Neighbors::new(array![[1]], array![[1.0]]).unwrap();
        let two = Neighbors::new(array![[1, 2]], array![[1.0, 1.0]]).unwrap();
        assert!(matches!(recall(&one, &two), Err(Error::Shape(_))));
        let none = Neighbors::new(Array2::zeros((0, 3)), Array2::zeros((0, 3))).unwrap();
        assert!(matches!(recall(&none, &none), Err(Error::TooFew { .. })));
    }
}
