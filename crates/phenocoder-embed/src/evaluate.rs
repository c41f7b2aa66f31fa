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

/// Classes of which a table of all pairs takes 2 GiB; more of them are no classes but numbers of rows.
const MOST_CLASSES: usize = 16_384;

/// Refuses so many different labels that they are most likely numbers of rows.
///
/// It does not bound what a number for each row and label takes, which depends on the rows, too: who takes it, says so.
fn check_few(what: &'static str, classes: usize) -> Result<(), ConfigError> {
    let expected = "at most 16384 different ones";
    ConfigError::check(classes <= MOST_CLASSES, what, expected, classes)
}

/// Refuses classes that do not rise, or are too many.
fn check_classes(what: &'static str, classes: &[u32]) -> Result<(), ConfigError> {
    check_few(what, classes.len())?;
    check_rising(what, classes)
}

/// Refuses labels that do not rise, and names the first.
fn check_rising(what: &'static str, classes: &[u32]) -> Result<(), ConfigError> {
    let fall = classes.windows(2).find(|pair| pair[0] >= pair[1]);
    fall.map_or(Ok(()), |pair| {
        let found = format!("{} before {}", pair[0], pair[1]);
        ConfigError::check(false, what, "rising labels", found)
    })
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
pub(crate) fn ranked(labels: &[u32]) -> (Vec<usize>, Vec<usize>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_classes_that_do_not_rise_are_named_and_no_others() {
        let check_classes = |classes: &[u32]| check_classes("classes", classes);
        assert_eq!(check_classes(&[]), Ok(()));
        assert_eq!(check_classes(&[1, 5, 9]), Ok(()));
        let error = check_classes(&[1, 5, 5, 9, 7]).unwrap_err();
        assert_eq!((error.setting, &error.found[..]), ("classes", "5 before 5"));
        let many: Vec<u32> = (0..=MOST_CLASSES as u32).collect();
        let error = check_classes(&many).unwrap_err();
        assert_eq!((error.setting, &error.found[..]), ("classes", "16385"));
        assert_eq!(check_classes(&many[1..]), Ok(()));
    }
}
