//! What classifiers say of rows.

use ndarray::Array2;
use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::matrix::first_largest;

/// The labels that a classifier tells, and how probable it takes each class to be.
///
/// [`KnnClassifier::predict`](super::KnnClassifier::predict),
/// [`LogisticRegression::predict`](super::LogisticRegression::predict) and
/// [`RandomForest::predict`](super::RandomForest::predict) return it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct Prediction {
    /// The most probable label of each row; of equally probable ones the lowest.
    pub labels: Vec<u32>,
    /// The probability of each class, `[n, classes]`; classes by rising label, as those of the classifier.
    #[serde(with = "crate::stored")]
    pub probabilities: Array2<f64>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    labels: Vec<u32>,
    #[serde(with = "crate::stored")]
    probabilities: Array2<f64>,
}

impl TryFrom<Parts> for Prediction {
    type Error = ShapeError;

    fn try_from(parts: Parts) -> Result<Self, ShapeError> {
        let Parts {
            labels,
            probabilities,
        } = parts;
        ShapeError::check_len("labels", probabilities.nrows(), labels.len())?;
        Ok(Self {
            labels,
            probabilities,
        })
    }
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

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_prediction_is_read_back_and_refused_without_a_label_for_each_row() {
        let found = Prediction::new(&[3, 8], array![[1.0, 3.0], [2.0, 2.0]]);
        assert_eq!(
            (&found.labels[..], found.probabilities[[0, 1]]),
            (&[8, 3][..], 0.75)
        );
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Prediction>(&text).unwrap(), found);
        let short = text.replace("[8,3]", "[8]");
        let error = serde_json::from_str::<Prediction>(&short).unwrap_err();
        assert!(error.to_string().contains("labels"), "{error}");
    }
}
