//! Which rows test what was learned on the others?
//!
//! The rules are those of scikit-learn, so that a comparison with it runs on the same folds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use phenocoder_core::{Progress, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use super::{check_few, check_rising, ranked, values_of};
use crate::{ConfigError, Error, Result};

/// Rows divided into folds: each row tests in one of them and trains in all others.
///
/// # Examples
///
/// ```
/// use phenocoder_embed::evaluate::stratified_folds;
///
/// let folds = stratified_folds(&[0, 0, 0, 0, 1, 1], 2, None)?;
/// for (train, test) in folds.iter() {
///     assert_eq!((train.len(), test.len()), (3, 3));
/// }
/// assert_eq!(folds.test(0), [0, 1, 4]);
/// assert_eq!(folds.train(0), [2, 3, 5]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Folds {
    of_row: Vec<usize>,
    count: usize,
    rare: Vec<u32>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    of_row: Vec<usize>,
    count: usize,
    rare: Vec<u32>,
}

impl TryFrom<Parts> for Folds {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            of_row,
            count,
            rare,
        } = parts;
        check_count(count)?;
        // Going through more folds than rows would take for ever.
        Error::check_enough("folds", "rows", count, of_row.len())?;
        for &fold in &of_row {
            ConfigError::check(fold < count, "of_row", "folds below count", fold)?;
        }
        check_rising("rare", &rare)?;
        Ok(Self {
            of_row,
            count,
            rare,
        })
    }
}

impl Folds {
    /// The number of folds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The fold in which each row tests.
    #[must_use]
    pub fn of_row(&self) -> &[usize] {
        &self.of_row
    }

    /// The labels with fewer rows than there are folds, rising: they are absent from the tests of some folds.
    ///
    /// Empty for [`group_folds`], which knows no labels.
    #[must_use]
    pub fn rare_labels(&self) -> &[u32] {
        &self.rare
    }

    /// The rows that test in this fold, rising; none when there is no such fold.
    #[must_use]
    pub fn test(&self, fold: usize) -> Vec<usize> {
        self.rows(|of_row| of_row == fold)
    }

    /// The rows that train in this fold, rising.
    #[must_use]
    pub fn train(&self, fold: usize) -> Vec<usize> {
        self.rows(|of_row| of_row != fold)
    }

    /// The rows that train and those that test, fold by fold.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Vec<usize>, Vec<usize>)> + '_ {
        (0..self.count).map(|fold| (self.train(fold), self.test(fold)))
    }

    fn rows(&self, belongs: impl Fn(usize) -> bool) -> Vec<usize> {
        let rows = self.of_row.iter().enumerate();
        rows.filter(|&(_, &fold)| belongs(fold))
            .map(|(row, _)| row)
            .collect()
    }
}

/// Folds in which every label has the share it has in all rows.
///
/// The rows of a label go to the folds in their order, in runs, or with `shuffle` in an order drawn from the seed.
/// Rows that belong together, as cells of one well do, must not be torn apart: [`stratified_group_folds`].
/// Cost: `O(n log n)`.
///
/// # Shapes
///
/// `labels`: one per row.
///
/// # Differences from scikit-learn's `StratifiedKFold`
///
/// The same folds without `shuffle`; with it, other random numbers.
///
/// # Errors
///
/// [`Error::Config`] for fewer than two folds, [`Error::TooFew`] when no label has as many rows as there are folds.
///
/// # Examples
///
/// ```
/// use phenocoder_embed::evaluate::stratified_folds;
///
/// let folds = stratified_folds(&[5, 3, 5, 3, 3, 3, 8], 2, None)?;
/// assert_eq!(folds.of_row(), [0, 0, 1, 0, 1, 1, 0]);
/// assert_eq!(folds.rare_labels(), [8]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "StratifiedKFold")]
pub fn stratified_folds(labels: &[u32], count: usize, shuffle: Option<Seed>) -> Result<Folds> {
    let (ranks, counts) = ranked(labels);
    let rare = check_labels(labels, &counts, count, "stratified folds")?;
    // Labels in the order of their first rows, which numbers them whatever their names are.
    let mut order = Vec::with_capacity(counts.len());
    let mut seen = vec![false; counts.len()];
    for &rank in &ranks {
        if !std::mem::replace(&mut seen[rank], true) {
            order.push(rank);
        }
    }
    // All rows sorted by label are dealt to the folds in turn; that says how many rows of a label each fold gets.
    let mut of_rank: Vec<Vec<usize>> = vec![Vec::new(); counts.len()];
    let mut dealt = 0;
    for (number, &rank) in order.iter().enumerate() {
        let mut folds: Vec<usize> = (dealt..dealt + counts[rank]).map(|i| i % count).collect();
        folds.sort_unstable();
        if let Some(seed) = shuffle {
            seed.stream("folds/stratified", number as u64)
                .shuffle(&mut folds);
        }
        dealt += counts[rank];
        of_rank[rank] = folds;
    }
    let mut next = vec![0; counts.len()];
    let of_row = ranks.iter().map(|&rank| {
        next[rank] += 1;
        of_rank[rank][next[rank] - 1]
    });
    Ok(Folds {
        of_row: of_row.collect(),
        count,
        rare,
    })
}

/// Folds that tear no group apart and have about as many rows each.
///
/// The largest group goes first, each to the fold with the fewest rows so far, of equal folds the first; of groups of one
/// size that of the highest number goes first.
/// With `shuffle`, groups in an order drawn from the seed are divided so that folds have as many groups each, whatever
/// their sizes.
/// Cost: `O(n log n)`.
///
/// # Shapes
///
/// `groups`: one per row.
///
/// # Differences from scikit-learn's `GroupKFold`
///
/// The same folds without `shuffle`; with it, other random numbers.
///
/// # Errors
///
/// [`Error::Config`] for fewer than two folds, [`Error::TooFew`] for fewer groups than folds.
///
/// # Examples
///
/// ```
/// use phenocoder_embed::evaluate::group_folds;
///
/// let folds = group_folds(&[7, 7, 7, 4, 4, 9], 2, None)?;
/// assert_eq!(folds.of_row(), [0, 0, 0, 1, 1, 1]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "GroupKFold")]
pub fn group_folds(groups: &[u32], count: usize, shuffle: Option<Seed>) -> Result<Folds> {
    check_count(count)?;
    let (ranks, counts) = ranked(groups);
    Error::check_enough("group folds", "groups", count, counts.len())?;
    let mut of_group = vec![0; counts.len()];
    if let Some(seed) = shuffle {
        let order = seed.stream("folds/groups", 0).permutation(counts.len());
        let (share, more) = (counts.len() / count, counts.len() % count);
        let sizes = (0..count).map(|fold| share + usize::from(fold < more));
        let folds = sizes
            .enumerate()
            .flat_map(|(f, n)| std::iter::repeat_n(f, n));
        for (group, fold) in order.into_iter().zip(folds) {
            of_group[group] = fold;
        }
    } else {
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_unstable_by_key(|&group| Reverse((counts[group], group)));
        // The fold of the fewest rows, of several the first, is taken out and put back.
        let mut folds: BinaryHeap<_> = (0..count).map(|fold| Reverse((0_usize, fold))).collect();
        for group in order {
            if let Some(mut lightest) = folds.peek_mut() {
                let (rows, fold) = &mut lightest.0;
                *rows += counts[group];
                of_group[group] = *fold;
            }
        }
    }
    Ok(Folds {
        of_row: ranks.into_iter().map(|group| of_group[group]).collect(),
        count,
        rare: Vec::new(),
    })
}

/// Folds that tear no group apart and in which every label has about the share it has in all rows.
///
/// Groups whose labels are counted most unevenly (standard deviation of the counts) go first, each to the fold after which
/// the labels' shares vary least over folds: the mean over labels of the standard deviation over folds.
/// Of equal folds the one with the fewest rows is taken.
/// With `shuffle`, the order of equally uneven groups is drawn from the seed.
///
/// With few groups, shares cannot be kept and a fold may even be empty: look at [`Folds::test`].
/// Cost: `O(groups · folds² · labels + n log n)` time, and memory for a number per fold and label.
///
/// # Shapes
///
/// `labels` and `groups`: one per row.
///
/// # Differences from scikit-learn's `StratifiedGroupKFold`
///
/// The same folds without `shuffle`; with it, other random numbers.
/// Sums are rounded in the same order as there, since rounding decides between folds that are the same otherwise: names of
/// labels in another order may exchange such folds.
///
/// # Errors
///
/// [`Error::Config`] for fewer than two folds or more than 16,384 different labels, [`Error::Shape`] when labels and
/// groups differ in number, [`Error::TooFew`] for fewer groups than folds, or when no label has as many rows as there are
/// folds, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::stratified_group_folds;
///
/// // Four wells of two cells, two wells per treatment.
/// let (treatment, well) = ([0, 0, 0, 0, 1, 1, 1, 1], [1, 1, 2, 2, 3, 3, 4, 4]);
/// let folds = stratified_group_folds(&treatment, &well, 2, None, &NoProgress)?;
/// for (_, test) in folds.iter() {
///     assert_eq!(test.iter().filter(|&&row| treatment[row] == 0).count(), 2);
///     assert_eq!(test.len(), 4);
/// }
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "StratifiedGroupKFold")]
pub fn stratified_group_folds(
    labels: &[u32],
    groups: &[u32],
    count: usize,
    shuffle: Option<Seed>,
    progress: &dyn Progress,
) -> Result<Folds> {
    const METHOD: &str = "stratified group folds";
    ShapeError::check_len("groups", labels.len(), groups.len())?;
    let (label_ranks, label_counts) = ranked(labels);
    check_few("labels", label_counts.len())?;
    let rare = check_labels(labels, &label_counts, count, METHOD)?;
    let (group_ranks, group_counts) = ranked(groups);
    Error::check_enough(METHOD, "groups", count, group_counts.len())?;
    let k = label_counts.len();
    let table = label_counts_of(&group_ranks, &label_ranks, group_counts.len());
    // One full row at a time: there may be as many labels as rows.
    let counts_of = |group: usize| {
        let mut counts = vec![0.0; k];
        for &(label, rows) in &table[group] {
            counts[label] = rows as f64;
        }
        counts
    };
    let mut order: Vec<usize> = match shuffle {
        Some(seed) => seed
            .stream("folds/stratified groups", 0)
            .permutation(table.len()),
        None => (0..table.len()).collect(),
    };
    progress.start("folds", Some(table.len() as u64));
    let mut unevenness = Vec::with_capacity(table.len());
    for group in 0..table.len() {
        progress.check()?;
        unevenness.push(deviation(&counts_of(group)));
    }
    order.sort_by(|&a, &b| unevenness[b].total_cmp(&unevenness[a]));
    let totals: Vec<f64> = label_counts.iter().map(|&rows| rows as f64).collect();
    let mut filled = Filled {
        rows: vec![vec![0.0; k]; count],
        totals,
    };
    let mut of_group = vec![0; table.len()];
    for group in order {
        let counts = counts_of(group);
        let best = filled.best_fold(&counts, progress)?;
        filled.add(best, &counts, 1.0);
        of_group[group] = best;
        progress.advance(1);
    }
    progress.finish();
    Ok(Folds {
        of_row: group_ranks
            .into_iter()
            .map(|group| of_group[group])
            .collect(),
        count,
        rare,
    })
}

/// The labels of each group, rising, with their numbers of rows.
fn label_counts_of(groups: &[usize], labels: &[usize], count: usize) -> Vec<Vec<(usize, usize)>> {
    let mut of_pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (&group, &label) in groups.iter().zip(labels) {
        *of_pairs.entry((group, label)).or_insert(0) += 1;
    }
    let mut table = vec![Vec::new(); count];
    for ((group, label), rows) in of_pairs {
        table[group].push((label, rows));
    }
    table
}

/// The rows of each label in each fold so far.
struct Filled {
    rows: Vec<Vec<f64>>,
    /// The rows of each label in all.
    totals: Vec<f64>,
}

impl Filled {
    fn add(&mut self, fold: usize, counts: &[f64], sign: f64) {
        for (rows, more) in self.rows[fold].iter_mut().zip(counts) {
            *rows += sign * more;
        }
    }

    fn best_fold(&mut self, counts: &[f64], progress: &dyn Progress) -> Result<usize> {
        let (mut best, mut least, mut fewest) = (0, f64::INFINITY, f64::INFINITY);
        for fold in 0..self.rows.len() {
            progress.check()?;
            self.add(fold, counts, 1.0);
            let variation = self.variation();
            self.add(fold, counts, -1.0);
            let rows: f64 = self.rows[fold].iter().sum();
            // As NumPy's `isclose`.
            let close = (variation - least).abs() <= 1e-8 + 1e-5 * least && least.is_finite();
            if variation < least || (close && rows < fewest) {
                (best, least, fewest) = (fold, variation, rows);
            }
        }
        Ok(best)
    }

    /// The mean over labels of the standard deviation over folds of the labels' shares.
    fn variation(&self) -> f64 {
        let n = self.rows.len() as f64;
        let over_folds = |label: usize, value: &dyn Fn(f64) -> f64| {
            let values = self
                .rows
                .iter()
                .map(|rows| value(rows[label] / self.totals[label]));
            // NumPy adds the rows of a matrix one by one, and the entries of a single column as those of a vector.
            if self.totals.len() == 1 {
                sum(&values.collect::<Vec<f64>>())
            } else {
                values.fold(0.0, |sum, value| sum + value)
            }
        };
        let deviations: Vec<f64> = (0..self.totals.len())
            .map(|label| {
                let mean = over_folds(label, &|share| share) / n;
                let squares = over_folds(label, &|share| (share - mean) * (share - mean));
                (squares / n).sqrt()
            })
            .collect();
        sum(&deviations) / deviations.len() as f64
    }
}

/// The standard deviation of whole numbers, rounded as NumPy's `std` is.
fn deviation(counts: &[f64]) -> f64 {
    let n = counts.len() as f64;
    let mean = sum(counts) / n;
    let squares: Vec<f64> = counts.iter().map(|v| (v - mean) * (v - mean)).collect();
    (sum(&squares) / n).sqrt()
}

/// The sum of values in the order of NumPy's pairwise summation.
fn sum(values: &[f64]) -> f64 {
    const LANES: usize = 8;
    let n = values.len();
    if n < LANES {
        return values.iter().fold(0.0, |sum, value| sum + value);
    }
    if n > 128 {
        let half = n / 2 - n / 2 % LANES;
        return sum(&values[..half]) + sum(&values[half..]);
    }
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut sums = blocks[0];
    for block in &blocks[1..] {
        for (sum, value) in sums.iter_mut().zip(block) {
            *sum += value;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let whole = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(whole, |sum, value| sum + value)
}

fn check_count(count: usize) -> Result<(), ConfigError> {
    ConfigError::check(count >= 2, "count", "at least 2", count)
}

/// Refuses more folds than the commonest label has rows, and returns the labels with fewer rows than folds.
fn check_labels(
    labels: &[u32],
    counts: &[usize],
    count: usize,
    method: &'static str,
) -> Result<Vec<u32>> {
    check_count(count)?;
    let most = counts.iter().copied().max().unwrap_or(0);
    Error::check_enough(method, "rows of some label", count, most)?;
    let values = values_of(labels).into_iter().zip(counts);
    Ok(values
        .filter(|&(_, &rows)| rows < count)
        .map(|(label, _)| label)
        .collect())
}

#[cfg(test)]
mod tests {
    use phenocoder_core::{CancelToken, NoProgress};
    use proptest::prelude::*;

    use super::*;

    fn both(labels: &[u32], groups: &[u32], count: usize, shuffle: Option<Seed>) -> Result<Folds> {
        stratified_group_folds(labels, groups, count, shuffle, &NoProgress)
    }

    #[test]
    fn the_division_of_groups_can_be_stopped() {
        let labels: Vec<u32> = (0..40).map(|i| i % 3).collect();
        let groups: Vec<u32> = (0..40).map(|i| i / 4).collect();
        let token = CancelToken::new();
        token.cancel();
        let result = stratified_group_folds(&labels, &groups, 2, None, &token);
        assert!(matches!(result, Err(Error::Cancelled(_))));
    }

    #[test]
    fn many_groups_go_to_many_folds_as_to_few() {
        // Of groups of one size the last goes first, to one fold after the other.
        let n = 300_000_u32;
        let groups: Vec<u32> = (0..n).collect();
        let folds = group_folds(&groups, 100_000, None).unwrap();
        let right = |(group, &fold): (usize, &usize)| fold == (n as usize - 1 - group) % 100_000;
        assert!(folds.of_row().iter().enumerate().all(right));
    }

    #[test]
    fn folds_are_checked_when_they_are_read() {
        let folds = stratified_folds(&[5, 3, 5, 3, 3, 3, 8], 2, None).unwrap();
        let text = serde_json::to_string(&folds).unwrap();
        assert_eq!(serde_json::from_str::<Folds>(&text).unwrap(), folds);
        for (from, to) in [
            ("[0,0,1,0,1,1,0]", "[0,0,1,0,1,2,0]"),
            ("\"count\":2", "\"count\":1"),
            ("\"count\":2", "\"count\":1000000000000000"),
            ("[8]", "[8,8]"),
            ("\"rare\"", "\"rarest\""),
        ] {
            let broken = text.replace(from, to);
            assert_ne!(broken, text);
            assert!(serde_json::from_str::<Folds>(&broken).is_err(), "{broken}");
        }
        let error = serde_json::from_str::<Folds>(&text.replace("[8]", "[8,8]")).unwrap_err();
        assert!(error.to_string().contains("`rare`"), "{error}");
    }

    #[test]
    fn stratified_folds_equal_those_worked_out_by_hand() {
        // By first appearance 5, 3, 8: sorted 5 5 3 3 3 3 8 are dealt 0 1 0 1 0 1 0.
        let folds = stratified_folds(&[5, 3, 5, 3, 3, 3, 8], 2, None).unwrap();
        assert_eq!(folds.of_row(), [0, 0, 1, 0, 1, 1, 0]);
        assert_eq!(folds.count(), 2);
        assert_eq!(folds.test(2), [0; 0]);
    }

    #[test]
    fn group_folds_take_the_largest_group_first_and_of_equal_ones_the_last() {
        // Sizes: 1 → 1, 2 → 3, 3 → 2, 4 → 2. Order 2, 4, 3, 1: folds 0, 1, 1, 0.
        let folds = group_folds(&[1, 2, 2, 2, 3, 3, 4, 4], 2, None).unwrap();
        assert_eq!(folds.of_row(), [0, 0, 0, 0, 1, 1, 1, 1]);
        let folds = group_folds(&[1, 2, 3], 3, None).unwrap();
        assert_eq!(folds.of_row(), [2, 1, 0]);
        assert_eq!(folds.rare_labels(), [0; 0]);
    }

    #[test]
    fn shuffling_keeps_the_shares_and_depends_on_the_seed() {
        let labels: Vec<u32> = (0..90).map(|i| u32::from(i % 3 == 0)).collect();
        let shares = |folds: &Folds| -> Vec<(usize, usize)> {
            let of = |rows: Vec<usize>, label| rows.iter().filter(|&&r| labels[r] == label).count();
            (0..5)
                .map(|f| (of(folds.test(f), 0), of(folds.test(f), 1)))
                .collect()
        };
        let draw = |seed| stratified_folds(&labels, 5, Some(Seed::new(seed))).unwrap();
        assert_eq!(shares(&draw(1)), [(12, 6); 5]);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1), stratified_folds(&labels, 5, None).unwrap());

        let groups: Vec<u32> = (0..90).map(|i| i / 8).collect();
        let draw = |seed| group_folds(&groups, 5, Some(Seed::new(seed))).unwrap();
        assert_ne!(draw(1), draw(2));
        // Twelve groups: three in each of the first two folds, two in the others.
        let group_count = |rows: Vec<usize>| {
            values_of(&rows.iter().map(|&r| groups[r]).collect::<Vec<_>>()).len()
        };
        let found: Vec<usize> = (0..5).map(|f| group_count(draw(3).test(f))).collect();
        assert_eq!(found, [3, 3, 2, 2, 2]);
        let draw = |seed| both(&labels, &groups, 5, Some(Seed::new(seed))).unwrap();
        assert_eq!(draw(1), draw(1));
        assert!((2..9).any(|seed| draw(1) != draw(seed)));
    }

    #[test]
    fn what_cannot_be_divided_is_refused() {
        let labels = [0, 0, 1, 1, 1];
        let few = |result: Result<Folds>, needed, found| match result {
            Err(Error::TooFew {
                needed: n,
                found: f,
                ..
            }) => assert_eq!((n, f), (needed, found)),
            other => panic!("{other:?}"),
        };
        few(stratified_folds(&labels, 4, None), 4, 3);
        few(stratified_folds(&[], 2, None), 2, 0);
        few(group_folds(&labels, 3, None), 3, 2);
        few(group_folds(&[], 2, Some(Seed::new(1))), 2, 0);
        few(both(&labels, &labels, 3, None), 3, 2);
        few(both(&labels, &[1, 2, 3, 4, 5], 4, None), 4, 3);
        for count in [0, 1] {
            for result in [
                stratified_folds(&labels, count, None),
                group_folds(&labels, count, None),
                both(&labels, &labels, count, None),
            ] {
                assert!(matches!(result, Err(Error::Config(_))));
            }
        }
        let result = both(&labels, &labels[1..], 2, None);
        assert!(matches!(result, Err(Error::Shape(_))));
        let ids: Vec<u32> = (0..20_000).chain(0..20_000).collect();
        let result = both(&ids, &ids, 2, None);
        assert!(matches!(result, Err(Error::Config(_))));
        assert_eq!(
            stratified_folds(&labels, 3, None).unwrap().rare_labels(),
            [0]
        );
    }

    proptest! {
        #[test]
        fn groups_stay_whole_rows_test_once_and_rising_names_change_nothing(
            rows in prop::collection::vec((0_u32..4, 0_u32..12), 12..60),
            count in 2_usize..5,
            seed in prop::option::of(0_u64..100),
        ) {
            let (labels, groups): (Vec<u32>, Vec<u32>) = rows.into_iter().unzip();
            let renamed = |labels: &[u32]| -> Vec<u32> { labels.iter().map(|l| 7 * l + 5).collect() };
            let seed = seed.map(Seed::new);
            let of_row = |folds: &Result<Folds>| folds.as_ref().ok().map(|folds| folds.of_row().to_vec());
            let stratified = stratified_folds(&labels, count, seed);
            let again = stratified_folds(&renamed(&labels), count, seed);
            prop_assert_eq!(of_row(&stratified), of_row(&again));
            let grouped = group_folds(&groups, count, seed);
            let again = group_folds(&renamed(&groups), count, seed);
            prop_assert_eq!(of_row(&grouped), of_row(&again));
            let of_both = both(&labels, &groups, count, seed);
            let again = both(&renamed(&labels), &renamed(&groups), count, seed);
            prop_assert_eq!(of_row(&of_both), of_row(&again));
            if let Ok(folds) = &stratified {
                // No fold is off by more than one row of all, or of a label.
                for label in 0..4 {
                    let sizes = (0..count).map(|f| folds.test(f).iter().filter(|&&r| labels[r] == label).count());
                    let (least, most) = sizes.fold((usize::MAX, 0), |(a, b), n| (a.min(n), b.max(n)));
                    prop_assert!(most - least <= 1);
                }
                // Any order of names is the same.
                let mirrored: Vec<u32> = labels.iter().map(|l| 100 - l).collect();
                let mirrored = stratified_folds(&mirrored, count, seed).unwrap();
                prop_assert_eq!(mirrored.of_row(), folds.of_row());
            }
            for folds in [grouped, of_both].into_iter().flatten() {
                prop_assert_eq!(folds.of_row().len(), groups.len());
                let mut fold_of = BTreeMap::new();
                for (&group, &fold) in groups.iter().zip(folds.of_row()) {
                    prop_assert_eq!(*fold_of.entry(group).or_insert(fold), fold);
                }
            }
            if let Ok(folds) = stratified {
                let mut tested: Vec<usize> = folds.iter().flat_map(|(_, test)| test).collect();
                tested.sort_unstable();
                prop_assert_eq!(tested, (0..labels.len()).collect::<Vec<_>>());
                for (train, test) in folds.iter() {
                    prop_assert_eq!(train.len() + test.len(), labels.len());
                }
            }
        }
    }
}
