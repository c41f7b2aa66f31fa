//! Agreement of two labelings of the same rows.

use std::collections::BTreeMap;

use phenocoder_core::ShapeError;

use super::ranked;
use crate::Result;

/// The counts of a contingency table: per pair of labels, per label of `a` and of `b`.
struct Table {
    cells: BTreeMap<(usize, usize), usize>,
    rows: Vec<usize>,
    columns: Vec<usize>,
}

impl Table {
    fn new(a: &[u32], b: &[u32]) -> Result<Self> {
        ShapeError::check_len("labels", a.len(), b.len())?;
        let ((a, rows), (b, columns)) = (ranked(a), ranked(b));
        let mut cells = BTreeMap::new();
        for pair in a.into_iter().zip(b) {
            *cells.entry(pair).or_insert(0) += 1;
        }
        Ok(Self {
            cells,
            rows,
            columns,
        })
    }
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
    let table = Table::new(a, b)?;
    let pairs = |n: usize| n as f64 * (n as f64 - 1.0) / 2.0;
    let together: f64 = table.cells.values().map(|&n| pairs(n)).sum();
    let in_a: f64 = table.rows.iter().map(|&n| pairs(n)).sum();
    let in_b: f64 = table.columns.iter().map(|&n| pairs(n)).sum();
    let all = pairs(a.len());
    let expected = if all > 0.0 { in_a * in_b / all } else { 0.0 };
    let largest = (in_a + in_b) / 2.0;
    if largest == expected {
        return Ok(1.0);
    }
    Ok((together - expected) / (largest - expected))
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
    let table = Table::new(a, b)?;
    let n = a.len() as f64;
    let entropy = |counts: &[usize]| -> f64 {
        let term = |&count: &usize| {
            let p = count as f64 / n;
            -p * libm::log(p)
        };
        counts.iter().map(term).sum()
    };
    let mean = (entropy(&table.rows) + entropy(&table.columns)) / 2.0;
    if mean <= 0.0 {
        return Ok(1.0);
    }
    let term = |(&(i, j), &count): (&(usize, usize), &usize)| {
        let expected = table.rows[i] as f64 * table.columns[j] as f64 / n;
        count as f64 / n * libm::log(count as f64 / expected)
    };
    let mutual: f64 = table.cells.iter().map(term).sum();
    Ok((mutual / mean).clamp(0.0, 1.0))
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

    proptest! {
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
