//! Do two labelings of the same rows agree?

use std::collections::BTreeMap;

use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use super::{ranked, values_of};
use crate::{ConfigError, Result};

/// A labeling, numbered once to be compared with several others.
pub(crate) struct Ranked {
    ranks: Vec<usize>,
    counts: Vec<usize>,
}

impl Ranked {
    pub(crate) fn new(labels: &[u32]) -> Self {
        let (ranks, counts) = ranked(labels);
        Self { ranks, counts }
    }
}

/// The counts of a contingency table: per pair of labels, per label of `a` and of `b`.
pub(crate) struct Contingency {
    cells: BTreeMap<(usize, usize), usize>,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Contingency {
    fn new(a: &[u32], b: &[u32]) -> Result<Self> {
        Self::of(&Ranked::new(a), &Ranked::new(b))
    }

    pub(crate) fn of(a: &Ranked, b: &Ranked) -> Result<Self> {
        ShapeError::check_len("labels", a.ranks.len(), b.ranks.len())?;
        let mut cells = BTreeMap::new();
        for (&i, &j) in a.ranks.iter().zip(&b.ranks) {
            *cells.entry((i, j)).or_insert(0) += 1;
        }
        Ok(Self {
            cells,
            rows: a.counts.clone(),
            columns: b.counts.clone(),
        })
    }

    /// The [`adjusted_rand_index`].
    pub(crate) fn rand_index(&self) -> f64 {
        // Pairs are counted in whole numbers: their products are nearly equal where most rows are in one group.
        let pairs = |&n: &usize| n as u128 * (n as u128).saturating_sub(1) / 2;
        let together: u128 = self.cells.values().map(pairs).sum();
        let in_a: u128 = self.rows.iter().map(pairs).sum();
        let in_b: u128 = self.columns.iter().map(pairs).sum();
        let all = pairs(&self.rows.iter().sum());
        if together == in_a && together == in_b {
            return 1.0;
        }
        let apart = all + together - in_a - in_b;
        let agreement = difference((together, apart), (in_a - together, in_b - together));
        let scale = in_a as f64 * (all - in_b) as f64 + in_b as f64 * (all - in_a) as f64;
        2.0 * agreement / scale
    }

    /// For each group of `a`, by rising label, the largest share that its rows in a group of `b` have in the rows of
    /// both.
    pub(crate) fn best_overlaps(&self) -> Vec<f64> {
        let mut best = vec![0.0_f64; self.rows.len()];
        for (&(i, j), &shared) in &self.cells {
            let both = self.rows[i] + self.columns[j] - shared;
            best[i] = best[i].max(shared as f64 / both as f64);
        }
        best
    }

    /// The mutual information of the two labelings in nats.
    fn information(&self, n: f64) -> f64 {
        let term = |(&(i, j), &count): (&(usize, usize), &usize)| {
            let expected = self.rows[i] as f64 * self.columns[j] as f64 / n;
            let term = count as f64 / n * libm::log(count as f64 / expected);
            // What is rounding only is none, so that unrelated labelings share exactly nothing.
            if term.abs() < f64::EPSILON { 0.0 } else { term }
        };
        self.cells.iter().map(term).sum::<f64>().max(0.0)
    }
}

/// The entropy of groups of these sizes in nats.
fn entropy(counts: &[usize], n: f64) -> f64 {
    let term = |&count: &usize| {
        let p = count as f64 / n;
        -p * libm::log(p)
    };
    counts.iter().map(term).sum()
}

/// The adjusted Rand index: 1 for the same grouping, about 0 for unrelated ones, negative for less than chance.
///
/// The names of the labels do not matter.
/// Two labelings that both put everything into one group, or every row into its own, agree fully: 1.
/// Hubert & Arabie 1985, doi:10.1007/BF01908075.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when the labelings differ in length.
///
/// # Examples
///
/// ```
/// use phenocoder_embed::evaluate::adjusted_rand_index;
///
/// assert_eq!(adjusted_rand_index(&[0, 0, 1, 1], &[5, 5, 3, 3])?, 1.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "adjusted_rand_score")]
pub fn adjusted_rand_index(a: &[u32], b: &[u32]) -> Result<f64> {
    Ok(Contingency::new(a, b)?.rand_index())
}

/// The difference of two products, exact below 2³² rows.
fn difference(p: (u128, u128), q: (u128, u128)) -> f64 {
    match (p.0.checked_mul(p.1), q.0.checked_mul(q.1)) {
        (Some(p), Some(q)) if p >= q => (p - q) as f64,
        (Some(p), Some(q)) => -((q - p) as f64),
        _ => p.0 as f64 * p.1 as f64 - q.0 as f64 * q.1 as f64,
    }
}

/// The mutual information of two labelings over the mean of their entropies: 1 for the same grouping, 0 for none
/// shared.
///
/// Two labelings that both put everything into one group agree fully: 1.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when the labelings differ in length.
#[doc(alias = "normalized_mutual_info_score")]
pub fn normalized_mutual_information(a: &[u32], b: &[u32]) -> Result<f64> {
    let table = Contingency::new(a, b)?;
    let n = a.len() as f64;
    let mean = f64::midpoint(entropy(&table.rows, n), entropy(&table.columns, n));
    if mean <= 0.0 {
        return Ok(1.0);
    }
    Ok((table.information(n) / mean).clamp(0.0, 1.0))
}

/// The result of [`v_measure`]: three numbers from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct VMeasure {
    /// How far each group found holds rows of one true label only.
    #[serde(deserialize_with = "crate::stored::share")]
    pub homogeneity: f64,
    /// How far the rows of a true label lie in one group.
    #[serde(deserialize_with = "crate::stored::share")]
    pub completeness: f64,
    /// The weighted harmonic mean of the two.
    #[serde(deserialize_with = "crate::stored::share")]
    pub v: f64,
}

/// How far groups hold one label each, how far labels stay in one group, and the mean of both.
///
/// With the mutual information I and the entropies H: homogeneity `h = I / H(truth)`, completeness `c = I / H(found)`,
/// and `v = (1 + β) h c / (β h + c)`; `beta` above 1 gives completeness more weight.
/// For `beta = 1`, `v` equals [`normalized_mutual_information`].
/// Where all rows have one true label, homogeneity is 1; where there is one group, completeness is 1.
/// Rosenberg & Hirschberg 2007, <https://aclanthology.org/D07-1043>.
/// Cost: `O(n log n)`.
///
/// # Shapes
///
/// `truth` and `found`: one label per row.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when the labelings differ in length, [`Error::Config`](crate::Error::Config)
/// unless `beta` is finite and at least 0.
///
/// # Examples
///
/// ```
/// use phenocoder_embed::evaluate::v_measure;
///
/// // Every group is pure, but each label is torn into two of them.
/// let measure = v_measure(&[0, 0, 1, 1], &[0, 1, 2, 3], 1.0)?;
/// assert_eq!(measure.homogeneity, 1.0);
/// assert_eq!(measure.completeness, 0.5);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "homogeneity_completeness_v_measure")]
#[doc(alias = "v_measure_score")]
#[doc(alias = "homogeneity_score")]
#[doc(alias = "completeness_score")]
pub fn v_measure(truth: &[u32], found: &[u32], beta: f64) -> Result<VMeasure> {
    let holds = beta >= 0.0 && beta.is_finite();
    ConfigError::check(holds, "beta", "a finite number of at least 0", beta)?;
    let table = Contingency::new(truth, found)?;
    let n = truth.len() as f64;
    let information = table.information(n);
    let share = |counts: &[usize]| {
        let whole = entropy(counts, n);
        if whole > 0.0 {
            f64::min(information / whole, 1.0)
        } else {
            1.0
        }
    };
    let (homogeneity, completeness) = (share(&table.rows), share(&table.columns));
    let product = homogeneity * completeness;
    let v = if product > 0.0 {
        // Divided by the larger weight first: `beta` may be as large as numbers go.
        let (a, b) = (1.0 / (1.0 + beta), beta / (1.0 + beta));
        product / (b * homogeneity + a * completeness)
    } else {
        0.0
    };
    Ok(VMeasure {
        homogeneity,
        completeness,
        v,
    })
}

/// The result of [`purity`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Purity {
    /// The share of all rows that have the commonest true label of their group.
    #[serde(deserialize_with = "crate::stored::share")]
    pub total: f64,
    /// The same within each group, by rising number of the group.
    #[serde(deserialize_with = "crate::stored::share")]
    pub per_group: Vec<(u32, f64)>,
}

/// How far groups are of one true label: the share of rows that have the commonest label of their group.
///
/// 1 is reached by any grouping fine enough, with one row per group at the latest, so compare it between groupings of
/// as many groups only.
/// Cost: `O(n log n)`.
///
/// # Shapes
///
/// `truth` and `found`: one label per row.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when the labelings differ in length.
///
/// # Examples
///
/// ```
/// use phenocoder_embed::evaluate::purity;
///
/// let purity = purity(&[0, 0, 1, 1, 1], &[7, 7, 7, 9, 9])?;
/// assert_eq!(purity.total, 0.8);
/// assert_eq!(purity.per_group, [(7, 2.0 / 3.0), (9, 1.0)]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn purity(truth: &[u32], found: &[u32]) -> Result<Purity> {
    let table = Contingency::new(truth, found)?;
    let mut commonest = vec![0; table.columns.len()];
    for (&(_, group), &count) in &table.cells {
        commonest[group] = commonest[group].max(count);
    }
    let total = if truth.is_empty() {
        1.0
    } else {
        commonest.iter().sum::<usize>() as f64 / truth.len() as f64
    };
    let shares = commonest.iter().zip(&table.columns);
    let shares = shares.map(|(&most, &all)| most as f64 / all as f64);
    Ok(Purity {
        total,
        per_group: values_of(found).into_iter().zip(shares).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_index_equals_values_worked_out_by_hand() {
        // Contingency [[2, 1], [0, 3]]: pairs 1 + 3 = 4, rows 3 + 3, columns 1 + 6, all 15: (4 − 2.8) / (6.5 − 2.8).
        let (a, b) = ([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1]);
        assert!((adjusted_rand_index(&a, &b).unwrap() - 1.2 / 3.7).abs() < 1e-15);
        // Fully crossed pairs are worse than chance: (0 − 2/3) / (2 − 2/3).
        assert!((adjusted_rand_index(&[0, 0, 1, 1], &[0, 1, 0, 1]).unwrap() + 0.5).abs() < 1e-15);
        assert_eq!(adjusted_rand_index(&[0, 0], &[1, 1]).unwrap(), 1.0);
        assert_eq!(adjusted_rand_index(&[], &[]).unwrap(), 1.0);
        assert!(adjusted_rand_index(&[0], &[]).is_err());
    }

    #[test]
    fn mutual_information_equals_values_worked_out_by_hand() {
        let crossed = normalized_mutual_information(&[0, 0, 1, 1], &[0, 1, 0, 1]).unwrap();
        assert!(crossed.abs() < 1e-15);
        // A halves, b quarters: information ln 2 over the mean of ln 2 and ln 4.
        let nested = normalized_mutual_information(&[0, 0, 1, 1], &[0, 1, 2, 3]).unwrap();
        assert!((nested - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(
            normalized_mutual_information(&[3, 3], &[1, 1]).unwrap(),
            1.0
        );
    }

    #[test]
    fn the_index_keeps_its_digits_where_pairs_of_pairs_are_many() {
        // Two halves of which one row has changed sides: 1 − 4 / n to first order.
        let n = 2_000_000_u32;
        let a: Vec<u32> = (0..n).map(|i| u32::from(i < n / 2)).collect();
        let b: Vec<u32> = (0..n).map(|i| u32::from(i <= n / 2)).collect();
        let value = adjusted_rand_index(&a, &b).unwrap();
        assert!((1.0 - value - 4.0 / f64::from(n)).abs() < 1e-11, "{value}");
        assert_eq!(adjusted_rand_index(&a, &a).unwrap(), 1.0);
    }

    #[test]
    fn the_v_measure_equals_values_worked_out_by_hand() {
        // Information ln 2; entropies ln 2 of the truth and ln 4 of the groups.
        let (a, b) = ([0, 0, 1, 1], [0, 1, 2, 3]);
        let measure = v_measure(&a, &b, 1.0).unwrap();
        assert_eq!((measure.homogeneity, measure.completeness), (1.0, 0.5));
        assert!((measure.v - 2.0 / 3.0).abs() < 1e-15);
        let back = v_measure(&b, &a, 1.0).unwrap();
        assert_eq!((back.homogeneity, back.completeness), (0.5, 1.0));
        // (1 + 3) · 0.5 / (3 + 0.5); with no weight on completeness the value is homogeneity, with all completeness.
        assert!((v_measure(&a, &b, 3.0).unwrap().v - 2.0 / 3.5).abs() < 1e-15);
        assert_eq!(v_measure(&a, &b, 0.0).unwrap().v, 1.0);
        assert_eq!(v_measure(&a, &b, f64::MAX).unwrap().v, 0.5);
    }

    #[test]
    fn the_v_measure_is_defined_where_an_entropy_is_zero() {
        let measure = |a: &[u32], b: &[u32], beta: f64| {
            let m = v_measure(a, b, beta).unwrap();
            [m.homogeneity, m.completeness, m.v]
        };
        assert_eq!(measure(&[1, 1], &[4, 4], 1.0), [1.0; 3]);
        assert_eq!(measure(&[], &[], 1.0), [1.0; 3]);
        assert_eq!(measure(&[1, 1], &[4, 5], 1.0), [1.0, 0.0, 0.0]);
        assert_eq!(measure(&[1, 1], &[4, 5], 0.0), [1.0, 0.0, 0.0]);
        assert_eq!(measure(&[1, 2], &[4, 4], 1.0), [0.0, 1.0, 0.0]);
        // Unrelated labelings of 3 × 3 rows share exactly nothing, though ninths are rounded.
        let (a, b) = ([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(measure(&a, &b, 1.0), [0.0; 3]);
    }

    #[test]
    fn weights_and_lengths_that_make_no_sense_are_refused() {
        for beta in [-1.0, f64::NAN, f64::INFINITY] {
            let error = v_measure(&[0], &[0], beta).unwrap_err();
            assert!(error.to_string().contains("beta"), "{error}");
        }
        assert!(matches!(
            v_measure(&[0], &[], 1.0),
            Err(crate::Error::Shape(_))
        ));
        assert!(matches!(purity(&[0], &[]), Err(crate::Error::Shape(_))));
    }

    #[test]
    fn purity_equals_values_worked_out_by_hand() {
        let result = purity(&[5, 5, 6, 6, 7], &[3, 3, 3, 1, 1]).unwrap();
        assert_eq!(result.total, 0.6);
        assert_eq!(result.per_group, [(1, 0.5), (3, 2.0 / 3.0)]);
        assert_eq!(purity(&[], &[]).unwrap().total, 1.0);
    }

    #[test]
    fn results_are_written_and_read_back() {
        let measure = v_measure(&[0, 0, 1, 1], &[0, 1, 2, 2], 0.3).unwrap();
        let text = serde_json::to_string(&measure).unwrap();
        assert_eq!(serde_json::from_str::<VMeasure>(&text).unwrap(), measure);
        let found = purity(&[5, 5, 6, 6, 7], &[3, 3, 3, 1, 1]).unwrap();
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Purity>(&text).unwrap(), found);
        assert!(
            serde_json::from_str::<Purity>(r#"{"total": 1.0, "per_group": [], "n": 1}"#).is_err()
        );
    }

    proptest! {
        #[test]
        fn the_v_measure_of_equal_weights_is_the_information_and_swaps_its_parts(
            pairs in prop::collection::vec((0_u32..4, 0_u32..5), 1..40),
        ) {
            let (a, b): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
            let renamed: Vec<u32> = b.iter().map(|label| 100 - 7 * label).collect();
            let measure = v_measure(&a, &renamed, 1.0).unwrap();
            let back = v_measure(&b, &a, 1.0).unwrap();
            prop_assert!((measure.homogeneity - back.completeness).abs() < 1e-12);
            prop_assert!((measure.completeness - back.homogeneity).abs() < 1e-12);
            let information = normalized_mutual_information(&a, &b).unwrap();
            prop_assert!((measure.v - information).abs() < 1e-12);
            prop_assert_eq!(purity(&a, &b).unwrap().total, purity(&a, &renamed).unwrap().total);
            prop_assert_eq!(purity(&a, &a).unwrap().total, 1.0);
        }

        #[test]
        fn both_are_symmetric_and_blind_to_names(pairs in prop::collection::vec((0_u32..4, 0_u32..5), 1..40)) {
            let (a, b): (Vec<u32>, Vec<u32>) = pairs.into_iter().unzip();
            let renamed: Vec<u32> = a.iter().map(|label| 100 - 7 * label).collect();
            for measure in [adjusted_rand_index, normalized_mutual_information] {
                let value = measure(&a, &b).unwrap();
                prop_assert!((value - measure(&b, &a).unwrap()).abs() < 1e-12);
                prop_assert!((value - measure(&renamed, &b).unwrap()).abs() < 1e-12);
                prop_assert!(value <= 1.0 + 1e-12);
                prop_assert!((measure(&a, &renamed).unwrap() - 1.0).abs() < 1e-12);
            }
        }
    }
}
