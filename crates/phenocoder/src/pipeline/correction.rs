//! What is taken from rows because of their batch.

use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_core::{Categorical, Progress, Seed};
use phenocoder_embed::Error as EmbedError;
use phenocoder_embed::batch::{
    BatchEffect, CombatConfig, Covariate, HarmonyConfig, center, combat, harmony, ridge_removal,
};
use phenocoder_io::Table;
use serde::{Deserialize, Serialize};

use super::compare::Representation;
use super::rows::NeighborRows;
use super::source;
use crate::error::{Error, Result};

/// The name in messages.
const STEP: &str = "batch correction";
/// What a step's batch column must be where a correction was asked for.
pub(super) const NEEDS_BATCHES: &str =
    "the name of a column, for its batches are to be corrected for";
/// The entry of `obsm` with components: scanpy's name.
pub(super) const PCA_ENTRY: &str = "X_pca";
/// The entry of `obsm` with components that Harmony corrected: scanpy's name.
pub(super) const HARMONY_ENTRY: &str = "X_pca_harmony";
/// The entry of `obsm` with what a correction made of rows that were not reduced to components.
pub(super) const CORRECTED_ENTRY: &str = "X_corrected";

/// How the effect of a batch is taken from rows.
///
/// | variant | acts on | keeps confounders | may be applied to unseen samples |
/// |---|---|---|---|
/// | [`None`](Self::None) | – | all stays | – |
/// | [`Ridge`](Self::Ridge) | columns | yes | of batches that were seen |
/// | [`Combat`](Self::Combat) | columns | yes, as covariates | of batches that were seen |
/// | [`Center`](Self::Center) | columns | no | of batches that were seen |
/// | [`Harmony`](Self::Harmony) | components | no | of any batch |
///
/// What acts on columns comes before the principal components, Harmony after them.
/// The last column is what the functions of [`embed::batch`](phenocoder_embed::batch) offer; here all rows are corrected
/// at once.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder::core::{Categorical, NoProgress};
/// use phenocoder::embed::batch::BatchEffect;
/// use phenocoder::pipeline::BatchCorrection;
///
/// let x = array![[1.0], [3.0], [10.0], [14.0]];
/// let batch = Categorical::from_labels(["a", "a", "b", "b"]);
/// let correction = BatchCorrection::Center(BatchEffect::Mean);
/// let corrected = correction.correct(x.view(), &batch, &[], &NoProgress)?;
/// assert_eq!(corrected, array![[6.0], [8.0], [5.0], [9.0]]);
/// # Ok::<(), phenocoder::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum BatchCorrection {
    /// Nothing is taken.
    #[default]
    None,
    /// What a ridge regression ascribes to the batch: [`ridge_removal`] of the rows about their common mean.
    ///
    /// The regression has no intercept: of columns far from 0 it would take another part of the mean from each batch, as
    /// batches differ in size.
    Ridge {
        /// The penalty; above 0.
        alpha: f64,
    },
    /// Mean and spread of each batch, by empirical Bayes: [`combat`].
    Combat(CombatConfig),
    /// What batches differ by in each of many soft clusters: [`harmony()`].
    Harmony(HarmonyConfig),
    /// The mean of each batch, or mean and spread: [`center`].
    Center(BatchEffect),
}

impl BatchCorrection {
    /// Whether nothing is taken.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Sets where chance comes from, in the corrections that have any.
    #[must_use]
    pub fn with_seed(self, seed: Seed) -> Self {
        match self {
            Self::Harmony(config) => Self::Harmony(config.with_seed(seed.derive("harmony", 0))),
            other => other,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] or [`Error::Embed`] that names the first setting out of range.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Ridge { alpha } if !(*alpha > 0.0 && alpha.is_finite()) => {
                Err(Error::config(STEP, "alpha", "a positive number"))
            }
            Self::Combat(config) => Ok(config.validate().map_err(phenocoder_embed::Error::from)?),
            Self::Harmony(config) => {
                Ok(config.validate().map_err(phenocoder_embed::Error::from)?)
            }
            Self::None | Self::Ridge { .. } | Self::Center(_) => Ok(()),
        }
    }

    /// Refuses confounders that the correction cannot keep.
    pub(super) fn check_confounders(&self, count: usize) -> Result<()> {
        match self {
            Self::None | Self::Harmony(_) | Self::Center(_) if count > 0 => Err(Error::config(
                STEP,
                "confounder_keys",
                "empty: only ridge and ComBat can keep what confounders explain",
            )),
            _ => Ok(()),
        }
    }

    /// Takes the effect of the batch from the rows, and keeps what the labels of `kept` explain.
    ///
    /// # Shapes
    ///
    /// `rows` is `[n, p]`, and so is the result; `batch` and each of `kept` have a label for each row.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting out of range or confounders that the correction cannot keep, [`Error::Embed`] as the
    /// function of the correction, [`Error::Cancelled`].
    pub fn correct(
        &self,
        rows: ArrayView2<'_, f64>,
        batch: &Categorical,
        kept: &[&Categorical],
        progress: &dyn Progress,
    ) -> Result<Array2<f64>> {
        self.validate()?;
        self.check_confounders(kept.len())?;
        progress.check()?;
        Ok(match self {
            Self::None => rows.to_owned(),
            Self::Ridge { alpha } => ridge_about_mean(rows, batch, kept, *alpha, progress)?,
            Self::Combat(config) => {
                let kept: Vec<Covariate<'_>> = kept
                    .iter()
                    .map(|labels| Covariate::Categories(labels))
                    .collect();
                combat(rows, batch, &kept, config, progress)?
            }
            Self::Harmony(config) => harmony(rows, &[batch], config, progress)?.corrected,
            Self::Center(effect) => center(rows, batch, *effect, progress)?,
        })
    }

    /// Where in a step it acts.
    fn stage(&self) -> Option<Stage> {
        match self {
            Self::None => None,
            Self::Ridge { .. } | Self::Combat(_) | Self::Center(_) => Some(Stage::Columns),
            Self::Harmony(_) => Some(Stage::Components),
        }
    }
}

/// Takes from the rows what a ridge regression about their common mean ascribes to the batch.
fn ridge_about_mean(
    rows: ArrayView2<'_, f64>,
    batch: &Categorical,
    kept: &[&Categorical],
    alpha: f64,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    let mean = rows.mean_axis(Axis(0));
    let removed = match mean.filter(|mean| mean.iter().all(|v| v.is_finite())) {
        Some(mean) => ridge_removal((&rows - &mean).view(), batch, kept, alpha, progress)?,
        // It names the value that is no number.
        None => ridge_removal(rows, batch, kept, alpha, progress)?,
    };
    Ok(&rows - &removed.explained)
}

/// Where in a step a correction acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// On columns, before they are reduced.
    Columns,
    /// On components, or on the columns where these are not reduced.
    Components,
}

/// What the settings of a step say of batches.
#[derive(Clone, Copy)]
pub(super) struct BatchSettings<'a> {
    /// The name of the table, for messages.
    pub(super) table: &'a str,
    pub(super) batch_key: Option<&'a String>,
    pub(super) confounder_keys: &'a [String],
    pub(super) correction: &'a BatchCorrection,
    /// Neighbours of each row in each batch, where batches are balanced among them.
    pub(super) balanced: Option<usize>,
}

/// The batch of each row of a table, and what is to be kept beside it.
pub(super) struct Batches<'a> {
    settings: BatchSettings<'a>,
    step: &'static str,
    pub(super) batch: Option<Categorical>,
    kept: Vec<Categorical>,
}

impl<'a> Batches<'a> {
    /// Reads the columns of `obs`; a row without a label is an error.
    pub(super) fn read(
        table: &Table,
        settings: BatchSettings<'a>,
        step: &'static str,
    ) -> Result<Self> {
        let read = |key: &String| source::full_labels(table, settings.table, key, step);
        let kept = settings.confounder_keys.iter().map(read);
        Ok(Self {
            settings,
            step,
            batch: settings.batch_key.map(read).transpose()?,
            kept: kept.collect::<Result<_>>()?,
        })
    }

    /// The same of these rows, which become the rows of the table called `table`.
    pub(super) fn select(&self, rows: &[usize], table: &'a str) -> Self {
        let settings = BatchSettings {
            table,
            ..self.settings
        };
        Self {
            settings,
            step: self.step,
            batch: self.batch.as_ref().map(|batch| batch.select(rows)),
            kept: self.kept.iter().map(|labels| labels.select(rows)).collect(),
        }
    }

    /// Refuses what the correction and the neighbours would refuse of these labels, whatever the rows hold.
    pub(super) fn check(&self, progress: &dyn Progress) -> Result<()> {
        let Some(batch) = &self.batch else {
            return Ok(());
        };
        // Without columns there is nothing to learn but whether batches and confounders can be told apart.
        if self.stage() == Some(Stage::Columns) {
            let none = Array2::<f64>::zeros((batch.len(), 0));
            self.correct(Stage::Columns, none.view(), progress)?;
        }
        let needed = self.settings.balanced.unwrap_or_default();
        let mut sizes = batch.categories().iter().zip(batch.counts());
        match sizes.find(|(_, rows)| (1..needed).contains(rows)) {
            Some((name, rows)) => {
                let batch = name.clone();
                let error = EmbedError::SmallBatch {
                    batch,
                    rows,
                    needed,
                };
                Err(self.named(error.into()))
            }
            None => Ok(()),
        }
    }

    /// Where in the step something is taken from the rows, if anything is.
    pub(super) fn stage(&self) -> Option<Stage> {
        self.batch
            .as_ref()
            .and_then(|_| self.settings.correction.stage())
    }

    /// What the correction makes of the rows, if it acts at this stage and there is a batch.
    pub(super) fn correct(
        &self,
        stage: Stage,
        rows: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Option<Array2<f64>>> {
        let Some(batch) = self.batch.as_ref().filter(|_| self.stage() == Some(stage)) else {
            return Ok(None);
        };
        let kept: Vec<&Categorical> = self.kept.iter().collect();
        let corrected = self
            .settings
            .correction
            .correct(rows, batch, &kept, progress);
        corrected.map(Some).map_err(|error| self.named(error))
    }

    /// The error with the names of table and column, where it is one of their labels.
    pub(super) fn named(&self, error: Error) -> Error {
        let BatchSettings {
            table,
            batch_key,
            confounder_keys,
            ..
        } = self.settings;
        let batch = batch_key.map_or("", String::as_str);
        let problem = match &error {
            Error::Embed(EmbedError::Collinear {
                covariate,
                category,
            }) => {
                let key = confounder_keys.get(*covariate).map_or("", String::as_str);
                let label = category.as_ref();
                let label = label.map_or_else(String::new, |label| format!("label `{label}` of "));
                format!(
                    "{label}`obs/{key}` of table `{table}` follows from `obs/{batch}` and the confounders before it"
                )
            }
            Error::Embed(EmbedError::SmallBatch { .. }) => {
                format!("`obs/{batch}` of table `{table}`: {error}")
            }
            _ => return error,
        };
        Error::data(self.step, problem)
    }

    /// What the table is to say of the rows that neighbours were searched in.
    ///
    /// `before` and `after` are those of the correction; where there is none, they are what is `used`.
    pub(super) fn describe(
        &self,
        used: Representation,
        before: Representation,
        after: Representation,
    ) -> NeighborRows {
        let settings = &self.settings;
        match self.stage() {
            None => NeighborRows {
                before: used.clone(),
                after: used.clone(),
                used,
                correction: BatchCorrection::None,
                batch_key: None,
                confounder_keys: Vec::new(),
            },
            Some(_) => NeighborRows {
                used,
                before,
                after,
                correction: settings.correction.clone(),
                batch_key: settings.batch_key.cloned(),
                confounder_keys: settings.confounder_keys.to_vec(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_survive_json_in_words_one_can_write() {
        for (correction, text) in [
            (BatchCorrection::None, r#""none""#),
            (
                BatchCorrection::Ridge { alpha: 0.5 },
                r#"{"ridge":{"alpha":0.5}}"#,
            ),
            (
                BatchCorrection::Center(BatchEffect::Mean),
                r#"{"center":"mean"}"#,
            ),
            (
                BatchCorrection::Combat(CombatConfig::default()),
                r#"{"combat":{}}"#,
            ),
            (
                BatchCorrection::Harmony(HarmonyConfig::default()),
                r#"{"harmony":{}}"#,
            ),
        ] {
            let read: BatchCorrection = serde_json::from_str(text).unwrap();
            assert_eq!(read, correction, "{text}");
            let written = serde_json::to_string(&correction).unwrap();
            let again: BatchCorrection = serde_json::from_str(&written).unwrap();
            assert_eq!(again, correction, "{written}");
        }
        let mistyped = r#"{"ridge":{"alhpa":1}}"#;
        assert!(serde_json::from_str::<BatchCorrection>(mistyped).is_err());
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (correction, setting) in [
            (BatchCorrection::Ridge { alpha: 0.0 }, "alpha"),
            (BatchCorrection::Ridge { alpha: f64::NAN }, "alpha"),
            (
                BatchCorrection::Combat(CombatConfig::default().with_iterations(0)),
                "iterations",
            ),
            (
                BatchCorrection::Harmony(HarmonyConfig::default().with_theta(-1.0)),
                "theta",
            ),
        ] {
            let message = correction.validate().unwrap_err().to_string();
            assert!(message.contains(setting), "{message}");
        }
    }

    #[test]
    fn what_cannot_keep_confounders_says_so() {
        let rows = ndarray::array![[0.0], [1.0], [5.0], [6.0]];
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let kind = Categorical::from_labels(["k", "l", "k", "l"]);
        for correction in [
            BatchCorrection::None,
            BatchCorrection::Center(BatchEffect::Mean),
            BatchCorrection::Harmony(HarmonyConfig::default()),
        ] {
            let refused =
                correction.correct(rows.view(), &batch, &[&kind], &phenocoder_core::NoProgress);
            let message = refused.unwrap_err().to_string();
            assert!(message.contains("confounder_keys"), "{message}");
        }
    }

    #[test]
    fn what_labels_alone_forbid_is_found_without_columns() {
        let nothing = Array2::<f64>::zeros((4, 0));
        let correct = |correction: &BatchCorrection, batch: &Categorical, kept: &[&Categorical]| {
            correction.correct(nothing.view(), batch, kept, &phenocoder_core::NoProgress)
        };
        let batch = Categorical::from_labels(["a", "a", "b", "b"]);
        let kind = Categorical::from_labels(["k", "l", "k", "l"]);
        let lonely = Categorical::from_labels(["a", "b", "b", "b"]);
        let ridge = BatchCorrection::Ridge { alpha: 1.0 };
        let combat = BatchCorrection::Combat(CombatConfig::default());
        let mean = BatchCorrection::Center(BatchEffect::Mean);
        let spread = BatchCorrection::Center(BatchEffect::MeanAndVariance);
        for correction in [&ridge, &combat, &mean, &spread] {
            assert_eq!(correct(correction, &batch, &[]).unwrap(), nothing);
        }
        for correction in [&ridge, &combat] {
            assert_eq!(correct(correction, &batch, &[&kind]).unwrap(), nothing);
        }
        let collinear = correct(&combat, &batch, &[&kind, &batch]);
        assert!(
            matches!(
                collinear,
                Err(Error::Embed(EmbedError::Collinear { covariate: 1, .. }))
            ),
            "{collinear:?}"
        );
        for correction in [&combat, &spread] {
            let small = correct(correction, &lonely, &[]);
            assert!(
                matches!(small, Err(Error::Embed(EmbedError::SmallBatch { .. }))),
                "{small:?}"
            );
        }
    }

    #[test]
    fn a_ridge_takes_nothing_from_batches_of_unlike_size_that_lie_alike() {
        let is_small = |row: usize| row >= 200;
        let batch = Categorical::from_labels((0..204).map(|row| is_small(row).to_string()));
        let ridge = BatchCorrection::Ridge { alpha: 1.0 };
        let correct = |rows: &Array2<f64>| {
            let none = &phenocoder_core::NoProgress;
            ridge.correct(rows.view(), &batch, &[], none).unwrap()
        };
        // Both have a mean of 100.
        let alike = Array2::from_shape_fn((204, 1), |(row, _)| 99.0 + 2.0 * (row % 2) as f64);
        let taken = &correct(&alike) - &alike;
        assert!(taken.iter().all(|v| v.abs() < 1e-9), "{taken:?}");
        // What a batch has beside the mean goes, but for the share of the penalty.
        let moved = Array2::from_shape_fn((204, 1), |(row, column)| {
            alike[[row, column]] + if is_small(row) { 51.0 } else { 0.0 }
        });
        let taken = &correct(&moved) - &moved;
        assert!(
            (taken[[203, 0]] + 50.0 * 4.0 / 5.0).abs() < 1e-9,
            "{taken:?}"
        );
        assert!((taken[[0, 0]] - 200.0 / 201.0).abs() < 1e-9, "{taken:?}");
        // A value that is none is named where it stands.
        let mut broken = alike;
        broken[[7, 0]] = f64::NAN;
        let none = &phenocoder_core::NoProgress;
        let refused = ridge.correct(broken.view(), &batch, &[], none);
        let message = refused.unwrap_err().to_string();
        assert!(message.starts_with("row 7, column 0"), "{message}");
    }

    #[test]
    fn only_harmony_takes_the_seed() {
        let ridge = BatchCorrection::Ridge { alpha: 1.0 };
        assert_eq!(ridge.clone().with_seed(Seed::new(3)), ridge);
        let harmony = BatchCorrection::Harmony(HarmonyConfig::default());
        let [a, b] = [3, 4].map(|seed| harmony.clone().with_seed(Seed::new(seed)));
        assert_ne!(a, b);
    }
}
