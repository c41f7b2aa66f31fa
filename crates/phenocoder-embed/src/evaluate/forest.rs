//! Which label do many trees of questions tell?

#[cfg(test)]
mod tests;
mod tree;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::prediction::Prediction;
use super::{check_classes, check_few, ranked, values_of};
use crate::matrix::{check_amounts, check_columns, check_finite, first_largest, row_of};
use crate::{ConfigError, Error, Result};

use tree::{Grown, Training, Tree};

const METHOD: &str = "random forest";
/// Rows that one task asks the trees about.
const ROWS: usize = 256;

/// Settings of a [`RandomForest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ForestConfig {
    /// The number of trees (default 100).
    pub trees: usize,
    /// How many columns each question is chosen from (default `None`: the square root of their number, rounded down).
    pub columns_per_question: Option<usize>,
    /// Decides which rows and columns a tree sees.
    pub seed: Seed,
}

impl Default for ForestConfig {
    fn default() -> Self {
        Self {
            trees: 100,
            columns_per_question: None,
            seed: Seed::default(),
        }
    }
}

impl ForestConfig {
    /// Sets the number of trees.
    #[must_use]
    pub fn with_trees(mut self, trees: usize) -> Self {
        self.trees = trees;
        self
    }

    /// Sets how many columns each question is chosen from.
    #[must_use]
    pub fn with_columns_per_question(mut self, columns: impl Into<Option<usize>>) -> Self {
        self.columns_per_question = columns.into();
        self
    }

    /// Sets what decides on the rows and columns a tree sees.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.trees >= 1, "trees", "at least 1", 0)?;
        let holds = self.columns_per_question != Some(0);
        ConfigError::check(holds, "columns_per_question", "at least 1", 0)
    }
}

/// Labels told by many trees, each grown on rows drawn with replacement (Breiman 2001, doi:10.1023/A:1010933404324).
///
/// A node asks whether the value of a column is at most a threshold.
/// Of the columns drawn for it and all thresholds halfway between values, it takes the question after which the rows on
/// both sides are of fewest kinds: the least Gini impurity, `1 − Σ share²`.
/// A tree grows until its leaves hold one class, or rows that no column tells apart.
/// The probability of a class is the mean over trees of its share in the leaf that the row falls into.
///
/// Units of columns, outliers and columns without meaning matter little, and columns may speak together; where a
/// [`LogisticRegression`](super::LogisticRegression) is as good, the labels lie open.
/// Tree `t` draws from stream `t` of the seed, so the forest is the same on any number of threads.
/// Cost: `O(trees · √p · n log² n + n · classes)` to fit, and trees of about `n / 2` nodes and more to keep;
/// `O(trees · log n + classes)` for each row predicted, and memory for a probability per row and class.
///
/// # Differences from scikit-learn's `RandomForestClassifier`
///
/// The same method with other random numbers, so scores agree in the mean over seeds.
/// Values are compared in 64 bits; there, in 32, where values closer than 1e-7 are one.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{NoProgress, Seed};
/// use phenocoder_embed::evaluate::{ForestConfig, RandomForest};
///
/// // Labels that two columns tell together, and neither alone.
/// let mut stream = Seed::new(3).stream("rows", 0);
/// let x = Array2::from_shape_fn((200, 3), |_| stream.normal());
/// let labels: Vec<u32> = x.outer_iter().map(|row| u32::from(row[0] * row[1] > 0.0)).collect();
/// let forest = RandomForest::fit(x.view(), &labels, &ForestConfig::default(), &NoProgress)?;
/// assert!(forest.out_of_bag_accuracy() > Some(0.8));
/// assert!(forest.importances()[2] < 0.25);
/// let found = forest.predict(ndarray::array![[1.0, -1.0, 0.0]].view(), &NoProgress)?;
/// assert_eq!(found.labels, [0]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "RandomForestClassifier")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct RandomForest {
    config: ForestConfig,
    classes: Vec<u32>,
    out_of_bag: Option<f64>,
    /// One per column.
    importances: Vec<f64>,
    trees: Vec<Tree>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    config: ForestConfig,
    classes: Vec<u32>,
    out_of_bag: Option<f64>,
    importances: Vec<f64>,
    trees: Vec<Tree>,
}

impl TryFrom<Parts> for RandomForest {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            config,
            classes,
            out_of_bag,
            importances,
            trees,
        } = parts;
        config.validate()?;
        check_classes("classes", &classes)?;
        Error::check_enough(METHOD, "classes", 1, classes.len())?;
        let holds = out_of_bag.is_none_or(|share| (0.0..=1.0).contains(&share));
        ConfigError::check(
            holds,
            "out_of_bag",
            "a share from 0 to 1",
            format_args!("{out_of_bag:?}"),
        )?;
        check_amounts("importances", &importances)?;
        ShapeError::check_len("trees", config.trees, trees.len())?;
        for (i, tree) in trees.iter().enumerate() {
            let holds = tree.is_sound(importances.len(), classes.len());
            ConfigError::check(holds, "trees", "trees of these columns and classes", i)?;
        }
        Ok(Self {
            config,
            classes,
            out_of_bag,
            importances,
            trees,
        })
    }
}

impl RandomForest {
    /// Grows the trees.
    ///
    /// # Shapes
    ///
    /// `x`: `[n, p]`; `labels`: one per row.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting out of range or more than 16,384 different labels, [`Error::Shape`] when rows and
    /// labels differ in number, [`Error::TooFew`] without rows, [`Error::NotFinite`] for NaN or infinity,
    /// [`Error::Cancelled`] when the caller stops it.
    pub fn fit(
        x: ArrayView2<'_, f64>,
        labels: &[u32],
        config: &ForestConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        config.validate()?;
        ShapeError::check_len("labels", x.nrows(), labels.len())?;
        check_finite(x)?;
        Error::check_enough(METHOD, "rows", 1, x.nrows())?;
        let (places, counts) = ranked(labels);
        check_few("labels", counts.len())?;
        let per_question = config
            .columns_per_question
            .unwrap_or_else(|| x.ncols().isqrt().max(1));
        let training = Training {
            columns: x.t().as_standard_layout().into_owned(),
            places: &places,
            classes: counts.len(),
            per_question,
        };
        progress.start(METHOD, Some(config.trees as u64));
        let grown: Result<Vec<Grown>> = (0..config.trees)
            .into_par_iter()
            .map(|t| {
                progress.check()?;
                let mut stream = config.seed.stream("forest", t as u64);
                let grown = training.grow(&mut stream, progress)?;
                progress.advance(1);
                Ok(grown)
            })
            .collect();
        let grown = grown?;
        let out_of_bag = out_of_bag_accuracy(x, &places, counts.len(), &grown, progress)?;
        progress.finish();
        let gains: Vec<&[f64]> = grown.iter().map(|grown| &grown.gains[..]).collect();
        Ok(Self {
            config: *config,
            classes: values_of(labels),
            out_of_bag,
            importances: importances(&gains, x.ncols()),
            trees: grown.into_iter().map(|grown| grown.tree).collect(),
        })
    }

    /// The classes, by rising label: the columns of the probabilities.
    #[must_use]
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &ForestConfig {
        &self.config
    }

    /// The share of rows whose label is told by the trees that were grown without them; `None` when every tree has seen
    /// every row.
    ///
    /// An estimate for new rows that costs no folds, but of rows that belong together (cells of one well) some trees have
    /// seen others: [`probe`](super::probe) with groups does not.
    #[must_use]
    pub fn out_of_bag_accuracy(&self) -> Option<f64> {
        self.out_of_bag
    }

    /// How much each column has made leaves purer, `[p]`: the share of the fall of the Gini impurity, the mean over
    /// trees; all 0 when no tree asks anything.
    ///
    /// Columns that say the same share what they say, and of columns that say nothing those with many values have more.
    #[must_use]
    pub fn importances(&self) -> &[f64] {
        &self.importances
    }

    /// The labels of other rows, and how probable each class is.
    ///
    /// # Shapes
    ///
    /// `x`: `[m, p]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns than the fitted rows have, [`Error::NotFinite`] for NaN or
    /// infinity, [`Error::Cancelled`] when the caller stops it.
    pub fn predict(&self, x: ArrayView2<'_, f64>, progress: &dyn Progress) -> Result<Prediction> {
        check_columns("x", x, self.importances.len())?;
        check_finite(x)?;
        let x = x.as_standard_layout();
        let k = self.classes.len();
        let mut votes = Array2::<f64>::zeros((x.nrows(), k));
        progress.start("prediction", Some(x.nrows() as u64));
        votes
            .as_slice_mut()
            .expect("zeros are made row by row")
            .par_chunks_mut(ROWS * k)
            .enumerate()
            .try_for_each(|(part, votes)| {
                progress.check()?;
                for (i, votes) in votes.chunks_exact_mut(k).enumerate() {
                    let row = row_of(&x, part * ROWS + i);
                    self.trees.iter().for_each(|tree| tree.vote(row, votes));
                }
                progress.advance((votes.len() / k) as u64);
                Ok::<(), Error>(())
            })?;
        progress.finish();
        Ok(Prediction::new(&self.classes, votes))
    }
}

/// The share of rows told rightly by the trees that have not seen them.
fn out_of_bag_accuracy(
    x: ArrayView2<'_, f64>,
    places: &[usize],
    classes: usize,
    grown: &[Grown],
    progress: &dyn Progress,
) -> Result<Option<f64>> {
    let x = x.as_standard_layout();
    let n = places.len();
    let is_right = |i: usize| {
        let row = row_of(&x, i);
        let mut votes = vec![0.0; classes];
        let without = grown.iter().filter(|grown| !grown.seen.contains(i));
        without.for_each(|grown| grown.tree.vote(row, &mut votes));
        let is_told = votes.iter().any(|&vote| vote > 0.0);
        is_told.then(|| first_largest(votes.into_iter()) == places[i])
    };
    let parts: Result<Vec<Vec<bool>>> = (0..n.div_ceil(ROWS))
        .into_par_iter()
        .map(|part| {
            progress.check()?;
            let rows = part * ROWS..n.min((part + 1) * ROWS);
            Ok(rows.filter_map(&is_right).collect::<Vec<bool>>())
        })
        .collect();
    let told: Vec<bool> = parts?.concat();
    let right = told.iter().filter(|&&right| right).count();
    Ok((!told.is_empty()).then(|| right as f64 / told.len() as f64))
}

/// The mean over trees of each column's share of the gains.
fn importances(gains: &[&[f64]], columns: usize) -> Vec<f64> {
    let mut sums = vec![0.0; columns];
    for gains in gains {
        add_shares(&mut sums, gains);
    }
    let mut shares = vec![0.0; columns];
    add_shares(&mut shares, &sums);
    shares
}

/// Adds the share of each value in all, if there is anything.
fn add_shares(sums: &mut [f64], values: &[f64]) {
    let all: f64 = values.iter().sum();
    if all > 0.0 {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value / all;
        }
    }
}
