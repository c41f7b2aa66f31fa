//! How the chance to meet a type changes with the distance from another.

use ndarray::{Array3, ArrayView2};
use phenocoder_core::{Categorical, Progress, ShapeError};
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Error, Result};
use crate::neighbors::padded;
use crate::pairs::{Reach, Thresholds, Tree, pairs_between, pairs_within};

/// Numbers of pairs of types and distances, of which a result holds two arrays: four gigabytes.
const MOST: usize = 1 << 28;

/// Which neighbors of a cell are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Neighborhood {
    /// Those up to each distance.
    #[default]
    Disc,
    /// Those up to each distance and beyond the one before.
    Annulus,
}

/// Co-occurrence by distance.
///
/// # Shapes
///
/// `ratio`: `[k, k, m]` for k categories and m distances.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CoOccurrence {
    /// The distances, rising, in the unit of the coordinates.
    pub distances: Vec<f64>,
    /// `[a, b, r]`: how much more probable a neighbor of type a is beside a cell of type b than beside any.
    ///
    /// NaN where one of both types has no neighbors within this distance.
    pub ratio: Array3<f64>,
    /// `[a, b, r]`: the number of ordered pairs of different cells of types a and b within this distance.
    pub pairs: Array3<u64>,
}

/// Computes how much more often than expected types lie within each distance of each other.
///
/// With N\[a, b\] the number of ordered pairs of different cells of types a and b that are at most r apart,
/// ratio\[a, b\] = P(a | b) / P(a) = (N\[b, a\] / Σ N\[b, ·\]) / (Σ N\[·, a\] / Σ N).
/// Above 1 types attract each other at this distance, below 1 they avoid each other; the matrix is symmetric.
/// Cells without a label are left out.
///
/// Pairs are counted by pairs of tree nodes, exactly and in memory of the order of the points; the cost is at most that of
/// comparing all pairs, for every 254 distances once, and far less where distances are small against the extent of the tissue.
///
/// # Shapes
///
/// `points`: `[n, d]` with any d from 1 to 3; `labels`: n.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_spatial::co_occurrence::{Neighborhood, co_occurrence};
///
/// let points = array![[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 1.0]];
/// let labels = Categorical::from_labels(["a", "a", "b", "b"]);
/// let found = co_occurrence(points.view(), &labels, &[2.0, 20.0], Neighborhood::Disc, &NoProgress)?;
/// // Close by there are only cells of the same type, farther away all others.
/// assert_eq!(found.ratio[[0, 0, 0]], 2.0);
/// assert_eq!(found.ratio[[0, 1, 0]], 0.0);
/// assert!(found.ratio[[0, 1, 1]] > 1.0);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Empty`] for no distances, [`ConfigError::Radius`] for one that is negative or NaN,
/// [`Error::TooManyCategories`] and [`ConfigError::TooMany`] for more types and distances than a result can hold,
/// [`Error::NoLabels`] when no cell has a label, [`Error::Cancelled`] when `progress` asks to stop, and those of
/// [`radius_graph`](crate::radius_graph) for the points.
///
/// # Differences from squidpy
///
/// * Distances are in 64 bits, and all axes count; squidpy rounds to 32 bits and takes the first two axes only.
/// * Every distance has its result; squidpy drops the first.
/// * An undefined ratio is NaN, not 0, and a category without cells has NaN everywhere; squidpy then reads and writes beyond
///   its arrays.
/// * Annuli can be asked for, as in the paper of the method (Tosti et al. 2021, doi:10.1053/j.gastro.2020.11.010).
#[doc(alias = "co_occurrence_score")]
pub fn co_occurrence(
    points: ArrayView2<'_, f64>,
    labels: &Categorical,
    distances: &[f64],
    neighborhood: Neighborhood,
    progress: &dyn Progress,
) -> Result<CoOccurrence> {
    let mut distances = distances.to_vec();
    if distances.is_empty() {
        let setting = "distances";
        return Err(ConfigError::Empty { setting }.into());
    }
    if let Some(&value) = distances.iter().find(|d| d.is_nan() || **d < 0.0) {
        return Err(ConfigError::Radius { value }.into());
    }
    distances.sort_by(f64::total_cmp);
    ShapeError::check_len("labels", points.nrows(), labels.len())?;
    let points = padded(points, None)?;
    let k = labels.categories().len();
    Error::check_categories(k)?;
    let entries = k
        .checked_mul(k)
        .and_then(|n| n.checked_mul(distances.len()));
    if entries.is_none_or(|entries| entries > MOST) {
        return Err(ConfigError::TooMany {
            setting: "distances",
            most: MOST / (k * k),
            found: distances.len(),
        }
        .into());
    }
    let mut sets = vec![Vec::new(); k];
    for (row, &point) in points.iter().enumerate() {
        if let Some(code) = labels.code(row) {
            sets[code].push(point);
        }
    }
    if sets.iter().all(Vec::is_empty) {
        return Err(Error::NoLabels);
    }
    drop(points);
    let trees: Vec<Tree> = sets.iter().map(|cells| Tree::new(cells)).collect();
    drop(sets);
    let thresholds = Thresholds::new(&distances, Reach::Closed);
    let m = distances.len();
    let mut pairs = Array3::zeros((k, k, m));
    progress.start("co-occurrence", Some((k * (k + 1) / 2) as u64));
    for a in 0..k {
        for b in a..k {
            progress.check()?;
            let up_to = if a == b {
                let once = pairs_within(&trees[a], &thresholds, progress)?;
                once.into_iter().map(|pairs| 2 * pairs).collect()
            } else {
                pairs_between(&trees[a], &trees[b], &thresholds, progress)?
            };
            let mut before = 0;
            for (r, up_to) in up_to.into_iter().enumerate() {
                let count = match neighborhood {
                    Neighborhood::Disc => up_to,
                    Neighborhood::Annulus => up_to - before,
                };
                before = up_to;
                pairs[[a, b, r]] = count;
                pairs[[b, a, r]] = count;
            }
            progress.advance(1);
        }
    }
    progress.finish();
    Ok(CoOccurrence {
        ratio: ratios(&pairs),
        distances,
        pairs,
    })
}

fn ratios(pairs: &Array3<u64>) -> Array3<f64> {
    let (k, _, m) = pairs.dim();
    let mut ratio = Array3::zeros((k, k, m));
    for r in 0..m {
        let row = |a: usize| (0..k).map(|b| pairs[[a, b, r]]).sum::<u64>() as f64;
        let rows: Vec<f64> = (0..k).map(row).collect();
        let total: f64 = rows.iter().sum();
        for a in 0..k {
            for b in 0..k {
                // 0 / 0 where there is nothing to compare.
                ratio[[a, b, r]] = (pairs[[b, a, r]] as f64 / rows[b]) / (rows[a] / total);
            }
        }
    }
    ratio
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::NoProgress;

    use super::*;

    #[test]
    fn settings_and_labels_without_sense_are_refused() {
        let points = array![[0.0], [1.0]];
        let labels = Categorical::from_labels(["a", "b"]);
        let none = Categorical::new(vec![-1, -1], vec!["a".into()]).unwrap();
        let run = |points: &Array2<f64>, labels: &Categorical, distances: &[f64]| {
            let disc = Neighborhood::Disc;
            co_occurrence(points.view(), labels, distances, disc, &NoProgress)
        };
        assert!(matches!(run(&points, &none, &[1.0]), Err(Error::NoLabels)));
        assert!(matches!(run(&points, &labels, &[]), Err(Error::Config(_))));
        assert!(run(&points, &labels, &[1.0, f64::NAN]).is_err());
        assert!(run(&array![[0.0], [f64::NAN]], &labels, &[1.0]).is_err());
        assert!(run(&array![[0.0]], &labels, &[1.0]).is_err());
        let many: Vec<String> = (0..8192).map(|i| i.to_string()).collect();
        let many = Categorical::new(vec![0, 1], many).unwrap();
        let refused = run(&points, &many, &[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(matches!(
            refused,
            Err(Error::Config(ConfigError::TooMany { most: 4, .. }))
        ));
    }

    #[test]
    fn annuli_hold_what_discs_add_and_empty_types_are_undefined() {
        let points = array![[0.0], [1.0], [3.0], [4.0]];
        let labels = Categorical::new(
            vec![0, 0, 2, 2],
            ["a", "none", "b"].map(Into::into).to_vec(),
        );
        let labels = labels.unwrap();
        let run = |neighborhood| {
            co_occurrence(
                points.view(),
                &labels,
                &[3.0, 1.0, 4.0],
                neighborhood,
                &NoProgress,
            )
            .unwrap()
        };
        let (discs, annuli) = (run(Neighborhood::Disc), run(Neighborhood::Annulus));
        assert_eq!(discs.distances, [1.0, 3.0, 4.0]);
        let between =
            |found: &CoOccurrence| (0..3).map(|r| found.pairs[[0, 2, r]]).collect::<Vec<_>>();
        assert_eq!(between(&discs), [0, 3, 4]);
        assert_eq!(between(&annuli), [0, 3, 1]);
        assert!(discs.ratio[[0, 1, 2]].is_nan() && annuli.ratio[[0, 0, 1]] == 0.0);
    }
}
