//! How good a map, a clustering or a correction is.
//!
//! Labels are `&[u32]`, one per row, any numbers; [`labels_of`] takes them from a [`Categorical`].

mod agreement;
mod dispersion;
mod folds;
mod forest;
mod linear;
mod local;
mod logistic;
pub mod mixing;
mod nearest;
mod prediction;
mod probe;
mod report;
mod silhouette;

use phenocoder_core::Categorical;

pub(crate) use agreement::{Contingency, Ranked};
pub use agreement::{
    Purity, VMeasure, adjusted_rand_index, normalized_mutual_information, purity, v_measure,
};
pub use dispersion::{calinski_harabasz, davies_bouldin};
pub use folds::{Folds, group_folds, stratified_folds, stratified_group_folds};
pub use forest::{ForestConfig, RandomForest};
pub use linear::{LinearConfig, linear_predictability};
pub use local::{knn_purity, leave_one_out_accuracy, trustworthiness};
pub use logistic::{LogisticConfig, LogisticRegression};
pub use nearest::{KnnClassifier, KnnConfig, KnnWeights};
pub use prediction::Prediction;
pub use probe::{Classifier, FoldScores, ProbeConfig, ProbeReport, probe};
pub use report::{
    ClassAverages, ClassScores, ClassificationReport, ProbabilityReport, classification_report,
    probability_report,
};
pub use silhouette::{
    BatchSilhouette, OtherGroups, Silhouette, SilhouetteConfig, silhouette, silhouette_by_batch,
    silhouette_by_label, silhouette_with,
};

use crate::{ConfigError, Error, Result};

/// The codes of labels of which none is missing.
///
/// # Errors
///
/// [`Error::MissingLabel`] with the first row that has none.
pub fn labels_of(labels: &Categorical) -> Result<Vec<u32>> {
    let codes = crate::matrix::full_codes(labels, "labels", labels.len())?;
    Ok(codes.into_iter().map(|code| code as u32).collect())
}

/// Refuses classes that do not rise.
fn check_rising(classes: &[u32]) -> Result<(), ConfigError> {
    ConfigError::check(
        classes.is_sorted_by(|a, b| a < b),
        "classes",
        "rising labels",
        format_args!("{classes:?}"),
    )
}

/// Refuses a single group.
fn check_groups(count: usize, method: &'static str) -> Result<()> {
    Error::check_enough(method, "groups", 2, count)
}

/// The different labels, rising.
fn values_of(labels: &[u32]) -> Vec<u32> {
    let mut values = labels.to_vec();
    values.sort_unstable();
    values.dedup();
    values
}

/// Labels numbered `0..count` by rising value, and their counts.
fn ranked(labels: &[u32]) -> (Vec<usize>, Vec<usize>) {
    let values = values_of(labels);
    let mut counts = vec![0; values.len()];
    let ranks = labels
        .iter()
        .map(|label| {
            let rank = values.partition_point(|value| value < label);
            counts[rank] += 1;
            rank
        })
        .collect();
    (ranks, counts)
}
