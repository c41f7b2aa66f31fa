//! What classifiers say of rows.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::matrix::first_largest;

/// The labels that a classifier tells, and how probable it takes each class to be.
///
/// [`KnnClassifier::predict`](super::KnnClassifier::predict),
/// [`LogisticRegression::predict`](super::LogisticRegression::predict) and
/// [`RandomForest::predict`](super::RandomForest::predict) return it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Prediction {
    /// The most probable label of each row; of equally probable ones the lowest.
    pub labels: Vec<u32>,
    /// The probability of each class, `[n, classes]`; classes by rising label, as those of the classifier.
    #[serde(with = "crate::stored")]
    pub probabilities: Array2<f64>,
}

impl Prediction {
    /// From how much speaks for each class, `[n, classes]`: numbers of at least 0, not all of a row 0.
    pub(super) fn new(classes: &[u32], mut weights: Array2<f64>) -> Self {
        let mut labels = Vec::with_capacity(weights.nrows());
        for mut row in weights.outer_iter_mut() {
            labels.push(classes[first_largest(row.iter().copied())]);
            let all = row.sum();
            row /= all;
        }
        Self {
            labels,
            probabilities: weights,
        }
    }
}
