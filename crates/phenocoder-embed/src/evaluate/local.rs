//! Measures of neighbourhoods.

use ndarray::ArrayView2;
use phenocoder_core::{Progress, ShapeError};
use rayon::prelude::*;

use crate::knn::{Metric, Neighbors, nearest_neighbors};
use crate::matrix::{check_finite, row_of, squared_distance};
use crate::{ConfigError, Error, Result};

/// The mean share of a row's neighbours that have its label: 1 when neighbourhoods are pure.
///
/// # Errors
///
/// [`Error::Shape`] when rows and labels differ in number, [`Error::TooFew`] without neighbours, [`Error::Graph`] when
/// a neighbour is not a row.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::knn_purity;
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
///
/// let x = array![[0.0], [1.0], [3.0]];
/// let neighbors = nearest_neighbors(x.view(), 1, Metric::Euclidean, &NoProgress)?;
/// assert_eq!(knn_purity(&neighbors, &[0, 0, 1])?, 2.0 / 3.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn knn_purity(neighbors: &Neighbors, labels: &[u32]) -> Result<f64> {
    ShapeError::check_len("labels", neighbors.len(), labels.len())?;
    let found = neighbors.indices().len();
    Error::check_enough("the purity of neighbourhoods", "neighbours", 1, found)?;
    neighbors.check_among(labels.len())?;
    let indices = neighbors.indices();
    let pairs = indices.indexed_iter();
    let same = pairs.filter(|&((row, _), &index)| labels[index as usize] == labels[row]);
    Ok(same.count() as f64 / found as f64)
}

/// The share of rows whose nearest other row has the same label.
///
/// Of equally near rows the first counts.
///
/// # Errors
///
/// As [`nearest_neighbors`], and [`Error::Shape`] when rows and labels differ in number.
pub fn leave_one_out_accuracy(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    metric: Metric,
    progress: &dyn Progress,
) -> Result<f64> {
    ShapeError::check_len("labels", x.nrows(), labels.len())?;
    knn_purity(&nearest_neighbors(x, 1, metric, progress)?, labels)
}

/// How far the neighbours on a map are neighbours in the data: 1 when every one of the `k` nearest rows on the map is
/// among the `k` nearest in the data, less by the ranks of those that are not.
///
/// Euclidean distance in both.
/// Venna & Kaski 2001, doi:10.1007/3-540-44668-0_68.
/// Cost: `O(n² (p + log n))` time, and 24 bytes of memory for each row on each thread beside the neighbours on the map.
///
/// # Errors
///
/// [`Error::Config`] unless `k` is at least 1 and below half the number of rows, [`Error::Shape`] when data and map
/// differ in rows, [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`] for values whose squares are beyond any
/// number, [`Error::Cancelled`] when the caller stops it.
pub fn trustworthiness(
    x: ArrayView2<'_, f64>,
    map: ArrayView2<'_, f64>,
    k: usize,
    progress: &dyn Progress,
) -> Result<f64> {
    let n = x.nrows();
    ShapeError::check_len("map", n, map.nrows())?;
    check_finite(x)?;
    let holds = k > 0 && k < n.div_ceil(2);
    ConfigError::check(
        holds,
        "k",
        "at least 1 and below half the number of rows",
        k,
    )?;
    let neighbors = nearest_neighbors(map, k, Metric::Euclidean, progress)?;
    let x = x.as_standard_layout();
    let row = |i: usize| row_of(&x, i);
    progress.start("trustworthiness", Some(n as u64));
    let penalties: Result<Vec<u64>> = (0..n)
        .into_par_iter()
        .map(|i| {
            progress.check()?;
            let mut order: Vec<(f64, u32)> = (0..i)
                .chain(i + 1..n)
                .map(|j| (squared_distance(row(i), row(j)), j as u32))
                .collect();
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            // Infinite distances have no order.
            if order.last().is_some_and(|furthest| !furthest.0.is_finite()) {
                return Err(Error::Overflow {
                    method: "trustworthiness",
                });
            }
            let mut rank = vec![0_u64; n];
            for (r, &(_, j)) in order.iter().enumerate() {
                rank[j as usize] = r as u64 + 1;
            }
            progress.advance(1);
            Ok(neighbors
                .row(i)
                .map(|(j, _)| rank[j].saturating_sub(k as u64))
                .sum())
        })
        .collect();
    progress.finish();
    let penalty = penalties?.into_iter().sum::<u64>() as f64;
    let (n, k) = (n as f64, k as f64);
    Ok(1.0 - 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)) * penalty)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::NoProgress;

    use super::*;

    #[test]
    fn a_map_that_keeps_all_neighbors_is_fully_trusted() {
        let x = array![[0.0], [1.0], [3.0], [7.0], [15.0]];
        assert_eq!(
            trustworthiness(x.view(), x.view(), 2, &NoProgress).unwrap(),
            1.0
        );
        // Twice the last but one is 0 in the bits of a number.
        for k in [0, 3, usize::MAX / 2 + 1, usize::MAX] {
            let refused = trustworthiness(x.view(), x.view(), k, &NoProgress);
            assert!(matches!(refused, Err(Error::Config(_))), "{k}: {refused:?}");
        }
    }

    #[test]
    fn a_false_neighbor_costs_its_rank() {
        let x = array![[0.0], [1.0], [3.0], [7.0]];
        let map = array![[0.0], [9.0], [10.0], [0.5]];
        // Ranks of the nearest on the map: 3 → row 3 is 3rd of row 0; row 2 is 2nd of row 1; row 1 is 1st of row 2;
        // row 0 is 3rd of row 3. Penalties 2 + 1 + 0 + 2 = 5; 1 − 2/(4·1·4)·5.
        let value = trustworthiness(x.view(), map.view(), 1, &NoProgress).unwrap();
        assert!((value - 0.375).abs() < 1e-15, "{value}");
    }

    #[test]
    fn distances_beyond_any_number_are_refused() {
        let x = array![[0.0], [1e200], [-1e200], [3e200], [2e200]];
        let map = array![[0.0], [1.0], [3.0], [7.0], [15.0]];
        for (x, map) in [(&x, &map), (&map, &x)] {
            let found = trustworthiness(x.view(), map.view(), 1, &NoProgress);
            assert!(matches!(found, Err(Error::Overflow { .. })), "{found:?}");
        }
    }

    #[test]
    fn accuracy_counts_the_nearest_other_row() {
        let x = array![[0.0], [1.0], [3.0], [3.5]];
        let accuracy =
            leave_one_out_accuracy(x.view(), &[0, 0, 1, 0], Metric::Euclidean, &NoProgress)
                .unwrap();
        assert_eq!(accuracy, 0.5);
        assert!(leave_one_out_accuracy(x.view(), &[0], Metric::Euclidean, &NoProgress).is_err());
    }

    #[test]
    fn purity_needs_neighbors_that_exist() {
        let wrong = Neighbors::new(array![[5]], array![[0.0]]).unwrap();
        assert!(matches!(knn_purity(&wrong, &[0]), Err(Error::Graph(_))));
        let none = Neighbors::new(
            ndarray::Array2::zeros((1, 0)),
            ndarray::Array2::zeros((1, 0)),
        )
        .unwrap();
        assert!(knn_purity(&none, &[0]).is_err());
    }
}
