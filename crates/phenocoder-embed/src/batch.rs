//! What differs between batches and should not.
//!
//! | method | takes away | keeps |
//! |---|---|---|
//! | [`center`] | the mean of each batch, or mean and spread | what is the same in all batches |
//! | [`combat`] | the mean and spread of each batch, shrunk towards what its columns share | also what covariates explain |
//! | [`ridge_removal`] | a ridge regression's share of the batch | also what confounders explain |
//! | [`harmony()`] | what batches differ by in each of many soft clusters | what clusters differ by |
//!
//! All learn from one matrix and can be applied to new rows of the same batches; Harmony's result to those of any batch.
//! Rows with NaN or infinity are refused, those of a fit and new ones, and so is a result beyond any number.
//! Batches that differ in what is biology, too, lose that difference unless it is passed as a covariate or confounder.

mod center;
mod combat;
mod harmony;
mod ridge;

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use phenocoder_core::{Cancelled, Categorical, Progress};
use serde::{Deserialize, Serialize};

pub use center::{Centering, center};
pub use combat::{Combat, CombatConfig, Covariate, combat};
pub use harmony::{
    Harmony, HarmonyConfig, HarmonyForm, HarmonyObjective, HarmonyResult, HarmonyRidge, harmony,
};
pub use ridge::{RidgeRemoval, RidgeResult, ridge_removal};

use crate::matrix::full_codes;
use crate::{Error, Result};

/// Rows after which a fit asks whether to stop.
const ROWS: usize = 1024;

/// The most categories of several labels together: every pair of them has a number, half a gigabyte in all.
const MOST_CATEGORIES: usize = 8192;

/// Refuses more categories than equations of all pairs of them have room for.
fn check_categories(method: &'static str, found: usize) -> Result<()> {
    check_pairs(method, "categories", found)
}

/// Refuses more of something than equations of all pairs of them have room for.
fn check_pairs(method: &'static str, what: &'static str, found: usize) -> Result<()> {
    if found <= MOST_CATEGORIES {
        return Ok(());
    }
    Err(Error::TooMany {
        method,
        what,
        most: MOST_CATEGORIES,
        found,
    })
}

/// The mean square of deviations up to which values of at most this size are taken for equal but for rounding.
fn rounding(largest: f64) -> f64 {
    let step = 4.0 * f64::EPSILON * largest;
    step * step
}

/// Looks at every row, and asks on the way whether to stop.
fn each_row<'a>(
    x: ArrayView2<'a, f64>,
    progress: &dyn Progress,
    mut look: impl FnMut(usize, ArrayView1<'a, f64>),
) -> Result<(), Cancelled> {
    for row in 0..x.nrows() {
        if row.is_multiple_of(ROWS) {
            progress.check()?;
        }
        look(row, x.index_axis_move(Axis(0), row));
    }
    Ok(())
}

/// What a batch is taken to have done to its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BatchEffect {
    /// It moved them.
    Mean,
    /// It moved them and changed their spread.
    MeanAndVariance,
}

impl BatchEffect {
    /// The rows that a batch needs to show it.
    fn rows_needed(self) -> usize {
        match self {
            Self::Mean => 1,
            Self::MeanAndVariance => 2,
        }
    }
}

/// The batches that have rows.
#[derive(Debug)]
struct Batches {
    names: Vec<String>,
    /// The batch of each row, a position in `names`.
    codes: Vec<usize>,
    counts: Vec<usize>,
}

impl Batches {
    /// Leaves out the categories without rows and refuses batches of fewer than `needed` rows.
    fn new(batch: &Categorical, rows: usize, needed: usize) -> Result<Self> {
        let found = Self::of(batch, "batch", rows)?;
        match found.counts.iter().position(|&size| size < needed) {
            Some(small) => Err(Error::SmallBatch {
                batch: found.names[small].clone(),
                rows: found.counts[small],
                needed,
            }),
            None => Ok(found),
        }
    }

    /// Leaves out the categories without rows.
    fn of(labels: &Categorical, what: &'static str, rows: usize) -> Result<Self> {
        let all = full_codes(labels, what, rows)?;
        let sizes = labels.counts();
        let mut position = vec![usize::MAX; sizes.len()];
        let (mut names, mut counts) = (Vec::new(), Vec::new());
        for (code, &size) in sizes.iter().enumerate().filter(|(_, size)| **size > 0) {
            position[code] = names.len();
            names.push(labels.categories()[code].clone());
            counts.push(size);
        }
        Ok(Self {
            names,
            codes: all.into_iter().map(|code| position[code]).collect(),
            counts,
        })
    }

    fn len(&self) -> usize {
        self.names.len()
    }

    /// The mean of each batch, `[batches, p]`.
    ///
    /// Summed as differences from the batch's first row, so that the mean of equal values is that value to the bit.
    fn means(
        &self,
        x: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>, Cancelled> {
        let mut sums = Array2::<f64>::zeros((self.len(), x.ncols()));
        let mut first = vec![None; self.len()];
        each_row(x, progress, |row, values| {
            let code = self.codes[row];
            let origin = *first[code].get_or_insert(values);
            for ((sum, &value), &start) in sums.row_mut(code).iter_mut().zip(values).zip(origin) {
                *sum += value - start;
            }
        })?;
        for ((mut sum, &count), origin) in sums.outer_iter_mut().zip(&self.counts).zip(first) {
            for (sum, &start) in sum.iter_mut().zip(origin.iter().flatten()) {
                *sum = start + *sum / count as f64;
            }
        }
        Ok(sums)
    }

    /// The mean of all rows from the means of the batches.
    fn grand_mean(&self, means: ArrayView2<'_, f64>) -> Vec<f64> {
        let n = self.codes.len() as f64;
        means
            .columns()
            .into_iter()
            .map(|column| {
                let origin = column.first().copied().unwrap_or_default();
                let moves = column.iter().zip(&self.counts);
                origin
                    + moves
                        .map(|(&mean, &count)| count as f64 / n * (mean - origin))
                        .sum::<f64>()
            })
            .collect()
    }
}

/// Where the category of each row stands among the `known` ones.
fn places(
    known: &[String],
    labels: &Categorical,
    what: &'static str,
    rows: usize,
) -> Result<Vec<usize>> {
    let codes = full_codes(labels, what, rows)?;
    // Of a name that is there twice the first counts.
    let places = known.iter().enumerate().rev();
    let places: BTreeMap<&str, usize> = places.map(|(i, name)| (name.as_str(), i)).collect();
    let found: Vec<Option<&usize>> = labels
        .categories()
        .iter()
        .map(|category| places.get(category.as_str()))
        .collect();
    codes
        .into_iter()
        .map(|code| {
            found[code].copied().ok_or_else(|| Error::UnknownCategory {
                what,
                category: labels.categories()[code].clone(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::NoProgress;

    use super::*;

    #[test]
    fn means_of_equal_values_are_exact_and_batches_without_rows_left_out() {
        let batch = Categorical::new(
            vec![2, 0, 2, 2],
            ["a", "b", "c"].map(str::to_owned).to_vec(),
        )
        .unwrap();
        let batches = Batches::new(&batch, 4, 1).unwrap();
        assert_eq!(batches.names, ["a", "c"]);
        assert_eq!(
            (&batches.codes[..], &batches.counts[..]),
            (&[1, 0, 1, 1][..], &[1, 3][..])
        );
        let x = array![[0.1, 1.0], [0.7, 5.0], [0.1, 2.0], [0.1, 6.0]];
        let means = batches.means(x.view(), &NoProgress).unwrap();
        assert_eq!(means, array![[0.7, 5.0], [0.1, 3.0]]);
        assert_eq!(batches.grand_mean(means.view())[1], 3.5);
        assert!(matches!(
            Batches::new(&batch, 4, 2),
            Err(Error::SmallBatch {
                rows: 1,
                needed: 2,
                ..
            })
        ));
    }

    #[test]
    fn only_categories_that_occur_must_be_known() {
        let known = ["x".to_owned(), "y".to_owned()];
        let names = ["z", "y"].map(str::to_owned).to_vec();
        let labels = Categorical::new(vec![1, 1], names.clone()).unwrap();
        assert_eq!(places(&known, &labels, "batch", 2).unwrap(), [1, 1]);
        let labels = Categorical::new(vec![1, 0], names).unwrap();
        assert!(matches!(
            places(&known, &labels, "batch", 2),
            Err(Error::UnknownCategory { category, .. }) if category == "z"
        ));
    }
}
