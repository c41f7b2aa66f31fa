//! Which statistics differ between groups of samples.
//!
//! A sample, not a cell, is the unit of replication: a million cells of three patients are three observations.
//! So the statistics of every sample are computed first, and then their values are compared between the groups.

mod arrangements;
mod design;

use ndarray::Array2;
use phenocoder_core::{Categorical, Features, Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::autocorrelation::adjust_fdr;
use crate::error::{ConfigError, Error, Result};
use crate::reduce::add;
use arrangements::Arrangements;
use design::{Column, Design};

/// What of the values is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scale {
    /// The values: differences of means.
    #[default]
    Values,
    /// The ranks of the values within their block, equal ones sharing the mean of their ranks: for values with outliers.
    Ranks,
}

/// Settings of [`compare_groups`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ComparisonConfig {
    /// The number of random arrangements of the groups (default 9,999). Where there are no more than that, all of them are
    /// looked at instead, each once.
    pub permutations: usize,
    /// What of the values is compared (default: the values).
    pub scale: Scale,
    /// The seed of the arrangements (default 0).
    pub seed: Seed,
}

impl Default for ComparisonConfig {
    fn default() -> Self {
        Self {
            permutations: 9999,
            scale: Scale::default(),
            seed: Seed::new(0),
        }
    }
}

impl ComparisonConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of random arrangements.
    #[must_use]
    pub fn with_permutations(mut self, permutations: usize) -> Self {
        self.permutations = permutations;
        self
    }

    /// Sets what of the values is compared.
    #[must_use]
    pub fn with_scale(mut self, scale: Scale) -> Self {
        self.scale = scale;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] for no permutations, [`ConfigError::TooMany`] for more than 32-bit numbers can count.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_repetitions("permutations", self.permutations)
    }
}

/// How one statistic differs between the groups.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// The name of the statistic.
    pub name: String,
    /// How many samples of each group have a value.
    pub counts: Vec<usize>,
    /// The mean of each group over all blocks; NaN for one without values.
    ///
    /// Where groups are unevenly spread over blocks that differ, the means can lie the other way round than the effect, which
    /// is of rows of one block.
    pub means: Vec<f64>,
    /// Of two groups, how much higher the second one is; NaN for more groups.
    ///
    /// Of [`Scale::Values`] the difference of the means within the blocks in units of the standard deviation within groups
    /// and blocks, corrected for few samples: Hedges' g.
    /// Of [`Scale::Ranks`] the share of pairs within the blocks in which the second group's value is higher, less the share
    /// in which it is lower: Cliff's delta, from −1 to 1.
    pub effect: f64,
    /// The share of the variance within the blocks that the groups explain (partial η²), from 0 to 1.
    pub explained: f64,
    /// The probability of groups that explain as much or more when they are assigned by chance within the blocks.
    pub p_value: f64,
    /// The p-value adjusted for the number of statistics (Benjamini–Hochberg): the least false discovery rate at which it is
    /// a discovery.
    pub p_adjusted: f64,
    /// The number of arrangements of the groups that were looked at; 0 where nothing can be told.
    pub arrangements: usize,
    /// Whether these were all there are.
    pub is_exact: bool,
    /// The least p-value that any values of so many rows of each group in each block can have; NaN where nothing can be told.
    ///
    /// Of all arrangements, those in which groups of equal size have changed names explain as much as the one at hand: it is
    /// their share, 2/20 for 3 against 3 and 1/35 for 3 against 4. Of `n` random arrangements it is 1/(n + 1).
    /// Where there are three groups or more and some blocks lack one of them, more arrangements can explain as much, and then
    /// no p-value is quite so small.
    pub least_p_value: f64,
}

/// How the statistics of samples differ between groups; returned by [`compare_groups`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct GroupComparison {
    /// The groups, in the order of [`Difference::counts`] and [`Difference::means`].
    pub groups: Vec<String>,
    /// One entry per statistic, in the order of the columns.
    pub differences: Vec<Difference>,
    /// Rows that were left out because they have no group or no block.
    pub rows_left_out: usize,
}

impl GroupComparison {
    /// The statistics that differ at this false discovery rate, the most certain first.
    #[must_use]
    pub fn discoveries(&self, rate: f64) -> Vec<&Difference> {
        let found = self.differences.iter();
        let mut found: Vec<_> = found.filter(|d| d.p_adjusted <= rate).collect();
        found.sort_by(|a, b| {
            let p = a.p_value.total_cmp(&b.p_value);
            p.then(b.explained.total_cmp(&a.explained))
        });
        found
    }
}

/// Compares the values of every column between groups of rows.
///
/// Rows are samples (or subunits, donors, wells), columns are statistics: those of
/// [`spatial_statistics`](crate::summary::spatial_statistics) through
/// [`to_features`](crate::summary::StatisticsTable::to_features), a composition, mean latents.
/// With `blocks`, a batch or donor per row, only rows of one block are compared with each other: differences between blocks
/// neither show up as differences between groups nor hide them.
///
/// The p-value is that of a permutation test: groups are assigned to rows anew, within the blocks, and the share of
/// arrangements is counted in which the groups explain as much of the variance as they do, or more.
/// It needs no normal distribution, only that the rows of a block could be exchanged if the groups did not matter, and is
/// exact for few samples (Good 2005, doi:10.1007/b138696; blocks as in Winkler et al. 2014,
/// doi:10.1016/j.neuroimage.2014.01.060). Random arrangements count the one at hand as one of them, so that no p-value is 0
/// (Phipson and Smyth 2010, doi:10.2202/1544-6115.1585).
/// Effects are Hedges' g (1981, doi:10.3102/10769986006002107) or Cliff's delta (1993, doi:10.1037/0033-2909.114.3.494);
/// p-values are adjusted by [`adjust_fdr`].
///
/// A missing value (NaN) leaves out its row from its column alone.
/// A column has NaN for effect and p-values where nothing can be told: when all its values within a block are equal, or when
/// no block has rows of two groups; such columns do not count in the adjustment.
///
/// Few samples allow few arrangements: 3 against 3 in one block has 20, so no p-value is below 0.1, and 4 against 4 none
/// below 2/70. [`Difference::arrangements`] says how many there were, and [`Difference::least_p_value`] what they allow.
///
/// The cost is O(rows · columns · arrangements), in parallel over arrangements and in O(rows · columns) memory; the number of
/// threads does not change a bit.
///
/// # Shapes
///
/// `values`: `[rows, statistics]`; `groups`, `blocks`: one per row.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, Features, NoProgress};
/// use phenocoder_spatial::comparison::{ComparisonConfig, compare_groups};
///
/// let values = array![[1.0, 5.0], [2.0, 3.0], [3.0, 4.0], [4.0, 1.0],
///     [11.0, 2.0], [12.0, 5.0], [13.0, 3.0], [14.0, 4.0]];
/// let values = Features::new(values, ["moranI_T", "moranI_B"])?;
/// let groups = Categorical::from_labels(["a", "a", "a", "a", "b", "b", "b", "b"]);
/// let found = compare_groups(&values, &groups, None, &ComparisonConfig::new(), &NoProgress)?;
/// let t = &found.differences[0];
/// assert_eq!(t.means, [2.5, 12.5]);
/// // 2 of the 70 arrangements separate the groups so well.
/// assert_eq!((t.p_value, t.is_exact), (2.0 / 70.0, true));
/// assert_eq!(t.least_p_value, t.p_value);
/// assert!(t.effect > 5.0);
/// assert_eq!(found.discoveries(0.1).len(), 1);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`ComparisonConfig::validate`], [`Error::Shape`] when the inputs differ in length, [`Error::TooFewCategories`] when
/// fewer than two groups have rows, [`Error::InfiniteValue`] for a value that is infinite, [`Error::Cancelled`] when
/// `progress` asks to stop.
///
/// # Differences from the original
///
/// The original has no comparison of groups; it shows samples in an embedding.
pub fn compare_groups(
    values: &Features,
    groups: &Categorical,
    blocks: Option<&Categorical>,
    config: &ComparisonConfig,
    progress: &dyn Progress,
) -> Result<GroupComparison> {
    config.validate()?;
    ShapeError::check_len("groups", values.nrows(), groups.len())?;
    if let Some(blocks) = blocks {
        ShapeError::check_len("blocks", values.nrows(), blocks.len())?;
    }
    let has_place = |row: &usize| {
        groups.code(*row).is_some() && blocks.is_none_or(|blocks| blocks.code(*row).is_some())
    };
    let rows: Vec<usize> = (0..values.nrows()).filter(has_place).collect();
    for &row in &rows {
        let found = values
            .view()
            .row(row)
            .into_iter()
            .position(|v| v.is_infinite());
        if let Some(column) = found {
            let value = values.view()[[row, column]];
            let column = values.names()[column].clone();
            return Err(Error::InfiniteValue { row, column, value });
        }
    }
    let categories = groups.select(&rows).without_unused().categories().to_vec();
    if categories.len() < 2 {
        let found = categories.len();
        return Err(Error::TooFewCategories { found });
    }

    let patterns = patterns(values, &rows);
    let mut differences: Vec<Option<Difference>> = vec![None; values.ncols()];
    progress.start("comparison of groups", Some(values.ncols() as u64));
    for (present, columns) in patterns {
        let name = |&row: &usize| {
            groups
                .label(row)
                .and_then(|name| position(&categories, name))
        };
        let groups = present.iter().filter_map(name).collect();
        let block = |&row: &usize| blocks.and_then(|blocks| blocks.code(row)).unwrap_or(0);
        let blocks: Vec<usize> = present.iter().map(block).collect();
        let design = Design::new(groups, categories.len(), &blocks);
        let found = compare(&design, values, &present, &columns, config, progress)?;
        for (column, difference) in columns.into_iter().zip(found) {
            differences[column] = Some(difference);
        }
    }
    progress.finish();
    let mut differences: Vec<Difference> = differences.into_iter().flatten().collect();
    let p_values: Vec<f64> = differences.iter().map(|d| d.p_value).collect();
    for (difference, adjusted) in differences.iter_mut().zip(adjust_fdr(&p_values)) {
        difference.p_adjusted = adjusted;
    }
    Ok(GroupComparison {
        groups: categories,
        differences,
        rows_left_out: values.nrows() - rows.len(),
    })
}

/// The columns that have values in the same rows, with these rows, in the order of their first column.
fn patterns(values: &Features, rows: &[usize]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut patterns: Vec<(Vec<usize>, Vec<usize>)> = Vec::new();
    let mut known = std::collections::BTreeMap::new();
    for (column, all) in values.view().columns().into_iter().enumerate() {
        let present = rows.iter().copied().filter(|&row| !all[row].is_nan());
        let present: Vec<usize> = present.collect();
        let next = patterns.len();
        let at = *known.entry(present.clone()).or_insert(next);
        if at == next {
            patterns.push((present, Vec::new()));
        }
        patterns[at].1.push(column);
    }
    patterns
}

fn position(names: &[String], name: &str) -> Option<usize> {
    names.iter().position(|other| other == name)
}

/// Compares columns that have values in the same rows.
fn compare(
    design: &Design,
    values: &Features,
    rows: &[usize],
    chosen: &[usize],
    config: &ComparisonConfig,
    progress: &dyn Progress,
) -> Result<Vec<Difference>> {
    let (view, names) = (values.view(), values.names());
    let columns: Vec<Column> = chosen
        .iter()
        .map(|&column| {
            let values = rows.iter().map(|&row| view[[row, column]]).collect();
            Column::new(design, values, config.scale)
        })
        .collect();
    let tested: Vec<usize> = (0..columns.len())
        .filter(|&c| columns[c].total > 0.0 && design.compares())
        .collect();
    // A row of it per row of the design: an arrangement goes through them one after another.
    let centered = Array2::from_shape_fn((rows.len(), tested.len()), |(row, c)| {
        columns[tested[c]].centered[row]
    });
    let observed = design.explained(&centered, &design.groups);
    // Rounding makes mirrored arrangements differ in their last bits.
    let bar = tested.iter().zip(&observed);
    let bar: Vec<f64> = bar
        .map(|(&c, observed)| observed - 1e-10 * columns[c].total)
        .collect();

    let arrangements = Arrangements::new(design, config.permutations);
    let looked_at = if tested.is_empty() {
        0
    } else {
        arrangements.len()
    };
    let zero = || vec![0_u64; tested.len()];
    let beyond = (0..looked_at)
        .into_par_iter()
        .map(|number| -> Result<Vec<u64>> {
            progress.check()?;
            let groups = arrangements.arrangement(number, config.seed);
            let explained = design.explained(&centered, &groups);
            let beyond = explained.iter().zip(&bar);
            Ok(beyond.map(|(found, bar)| u64::from(found >= bar)).collect())
        })
        .try_fold(zero, |mut sum, part| {
            add(&mut sum, &part?);
            Ok::<_, Error>(sum)
        })
        .try_reduce(zero, |mut sum, part| {
            add(&mut sum, &part);
            Ok(sum)
        })?;
    progress.advance(columns.len() as u64);

    let mut differences: Vec<Difference> = chosen
        .iter()
        .zip(&columns)
        .map(|(&column, values)| Difference {
            name: names[column].clone(),
            counts: design.counts.clone(),
            means: values.means.clone(),
            effect: f64::NAN,
            explained: f64::NAN,
            p_value: f64::NAN,
            p_adjusted: f64::NAN,
            arrangements: 0,
            is_exact: arrangements.is_exact(),
            least_p_value: f64::NAN,
        })
        .collect();
    // All arrangements have the one at hand among them; to random ones it is added.
    let one = u64::from(!arrangements.is_exact());
    let least_p_value = arrangements.least_p_value();
    for (i, &c) in tested.iter().enumerate() {
        let difference = &mut differences[c];
        difference.p_value = (beyond[i] + one) as f64 / (looked_at as u64 + one) as f64;
        difference.explained = (observed[i] / columns[c].total).clamp(0.0, 1.0);
        difference.effect = columns[c].effect(design, config.scale);
        difference.arrangements = looked_at;
        difference.least_p_value = least_p_value;
    }
    Ok(differences)
}
