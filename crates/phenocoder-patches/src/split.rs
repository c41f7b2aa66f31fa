//! Which patches train a network and which only judge it.

use phenocoder_core::{Categorical, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use crate::{ConfigError, Error, Result};

/// What stays together on one side.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SplitBy {
    /// All patches of a sample: the validation loss then says how well unseen samples are described.
    #[default]
    Sample,
    /// Nothing: each patch is drawn on its own.
    Patch,
    /// All patches with the same label in this column: a donor, a plate.
    Column(String),
}

/// How patches are split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SplitConfig {
    /// What stays together (default [`SplitBy::Sample`]).
    pub by: SplitBy,
    /// The fraction of groups that train (default 0.8).
    pub fraction: f64,
    /// The seed of the draw (default 0).
    pub seed: Seed,
    /// A column within whose labels the fraction holds (default none).
    ///
    /// A group belongs to the label that most of its patches have.
    pub stratify: Option<String>,
    /// Whether to split by patch when there is one group only (default `false`: an error).
    pub fallback_to_patches: bool,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            by: SplitBy::default(),
            fraction: 0.8,
            seed: Seed::default(),
            stratify: None,
            fallback_to_patches: false,
        }
    }
}

impl SplitConfig {
    /// The same with other groups.
    #[must_use]
    pub fn with_by(mut self, by: SplitBy) -> Self {
        self.by = by;
        self
    }

    /// The same with another fraction.
    #[must_use]
    pub fn with_fraction(mut self, fraction: f64) -> Self {
        self.fraction = fraction;
        self
    }

    /// The same with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// The same within the labels of a column.
    #[must_use]
    pub fn with_stratify(mut self, column: impl Into<String>) -> Self {
        self.stratify = Some(column.into());
        self
    }

    /// The same with a split by patch when there is one group only.
    #[must_use]
    pub fn with_fallback_to_patches(mut self) -> Self {
        self.fallback_to_patches = true;
        self
    }

    /// Checks all settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] when the fraction is not between 0 and 1.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let valid = self.fraction > 0.0 && self.fraction < 1.0;
        ConfigError::check_range("fraction", self.fraction, valid, "between 0 and 1")
    }
}

/// The patches of each side, rising; every patch is on exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Split {
    /// Patches that train.
    pub train: Vec<usize>,
    /// Patches that judge.
    pub validation: Vec<usize>,
    /// Whether the split by group was impossible and patches were split one by one.
    pub fell_back: bool,
}

/// Splits patches, given the sample of each and further columns to split or stratify by.
///
/// Of `n ≥ 2` groups (in each stratum) the nearest whole number to `fraction · n` trains,
/// at least one and at most `n − 1`; of a single group in a stratum all patches train.
/// Which groups these are depends on the seed and the names of the groups, not on the order of the rows.
///
/// # Differences from phenocoder (Python)
///
/// Neither side is cut to whole batches, and one sample alone is an error or, when asked, a split by patch.
///
/// # Examples
///
/// ```
/// use phenocoder_core::Categorical;
/// use phenocoder_patches::{SplitConfig, split};
///
/// let samples = Categorical::from_labels(["A", "A", "B", "C", "C"]);
/// let sides = split(&samples, &[], &SplitConfig::default().with_fraction(0.5))?;
/// assert_eq!(sides.train.len() + sides.validation.len(), 5);
///
/// let one = Categorical::from_labels(["A", "A", "A"]);
/// assert!(split(&one, &[], &SplitConfig::default()).is_err());
/// let sides = split(&one, &[], &SplitConfig::default().with_fallback_to_patches())?;
/// assert!(sides.fell_back && sides.train.len() == 2);
/// # Ok::<(), phenocoder_patches::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`] for a fraction out of range, [`Error::Shape`] for a column that is absent or of another length,
/// [`Error::MissingCategory`] for a missing label, [`Error::EmptySide`] when a side would have no patches.
pub fn split(
    samples: &Categorical,
    columns: &[(&str, &Categorical)],
    config: &SplitConfig,
) -> Result<Split> {
    config.validate()?;
    let n = samples.len();
    let find = |name: &str| -> Result<&Categorical> {
        let found = columns.iter().find(|(other, _)| *other == name);
        let (_, column) = found.ok_or_else(|| ShapeError::NoColumn {
            name: name.to_owned(),
            available: crate::error::list(columns.iter().map(|(name, _)| name)),
        })?;
        ShapeError::check_len(name, n, column.len())?;
        Ok(column)
    };
    let strata = match &config.stratify {
        Some(name) => {
            let column = find(name)?;
            // Numbered by name, so that the draw does not depend on the order of the categories.
            let rank = |code: usize| {
                let name = &column.categories()[code];
                column
                    .categories()
                    .iter()
                    .filter(|other| *other < name)
                    .count()
            };
            let ranks: Vec<usize> = (0..column.categories().len()).map(rank).collect();
            codes(name, column)?
                .into_iter()
                .map(|code| ranks[code])
                .collect()
        }
        None => vec![0; n],
    };
    let (by, groups) = match &config.by {
        SplitBy::Sample => ("sample", by_label("sample", samples)?),
        SplitBy::Column(name) => (name.as_str(), by_label(name, find(name)?)?),
        SplitBy::Patch => ("patch", by_patch(n)),
    };
    let (train, validation) = draw(&groups, &strata, config);
    if !train.is_empty() && !validation.is_empty() {
        return Ok(Split {
            train,
            validation,
            fell_back: false,
        });
    }
    if config.fallback_to_patches {
        let (train, validation) = draw(&by_patch(n), &strata, config);
        if !train.is_empty() && !validation.is_empty() {
            return Ok(Split {
                train,
                validation,
                fell_back: true,
            });
        }
    }
    Err(Error::EmptySide {
        side: if train.is_empty() {
            "training"
        } else {
            "validation"
        },
        by: by.to_owned(),
        groups: groups.len(),
        fraction: config.fraction,
    })
}

/// The rows of each group, the groups in the order of their names.
fn by_label(name: &str, labels: &Categorical) -> Result<Vec<Vec<usize>>> {
    let mut named: Vec<(&str, Vec<usize>)> = labels
        .categories()
        .iter()
        .map(|c| (c.as_str(), Vec::new()))
        .collect();
    for (row, code) in codes(name, labels)?.into_iter().enumerate() {
        named[code].1.push(row);
    }
    named.retain(|(_, rows)| !rows.is_empty());
    named.sort_unstable_by(|a, b| a.0.cmp(b.0));
    Ok(named.into_iter().map(|(_, rows)| rows).collect())
}

fn by_patch(n: usize) -> Vec<Vec<usize>> {
    (0..n).map(|row| vec![row]).collect()
}

fn codes(name: &str, labels: &Categorical) -> Result<Vec<usize>> {
    let code = |row| {
        labels.code(row).ok_or_else(|| Error::MissingCategory {
            column: name.to_owned(),
            row,
        })
    };
    (0..labels.len()).map(code).collect()
}

/// Draws the groups that train within each stratum; returns the rows of both sides.
fn draw(groups: &[Vec<usize>], strata: &[usize], config: &SplitConfig) -> (Vec<usize>, Vec<usize>) {
    let mut by_stratum = std::collections::BTreeMap::<usize, Vec<&Vec<usize>>>::new();
    for rows in groups {
        let mut counts = std::collections::BTreeMap::<usize, usize>::new();
        for &row in rows {
            *counts.entry(strata[row]).or_default() += 1;
        }
        // The most frequent label; of equals the first.
        let stratum = counts.iter().rev().max_by_key(|&(_, count)| count);
        by_stratum
            .entry(stratum.map_or(0, |(&s, _)| s))
            .or_default()
            .push(rows);
    }
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (stratum, groups) in by_stratum {
        let n = groups.len();
        let wanted = (config.fraction * n as f64).round() as usize;
        let k = if n < 2 { n } else { wanted.clamp(1, n - 1) };
        let chosen = config.seed.stream("split", stratum as u64).choose(n, k);
        for (i, rows) in groups.into_iter().enumerate() {
            let side = if chosen.binary_search(&i).is_ok() {
                &mut train
            } else {
                &mut validation
            };
            side.extend_from_slice(rows);
        }
    }
    train.sort_unstable();
    validation.sort_unstable();
    (train, validation)
}

#[cfg(test)]
mod tests;
