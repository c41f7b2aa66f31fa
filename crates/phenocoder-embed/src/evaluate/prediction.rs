//! What classifiers say of rows.

use ndarray::{Array2, ArrayView1};
use phenocoder_core::ShapeError;
use serde::{Deserialize, Serialize};

use crate::matrix::first_largest;
use crate::{ConfigError, Error, Result};

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
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            labels,
            probabilities,
        } = parts;
        ShapeError::check_len("labels", probabilities.nrows(), labels.len())?;
        for (row, values) in probabilities.outer_iter().enumerate() {
            check_probabilities(row, values)?;
        }
        Ok(Self {
            labels,
            probabilities,
        })
    }
}

/// Refuses what are no probabilities of the classes of a row.
pub(super) fn check_probabilities(
    row: usize,
    values: ArrayView1<'_, f64>,
) -> Result<(), ConfigError> {
    let holds = values.iter().all(|value| (0.0..=1.0).contains(value))
        && (values.sum() - 1.0).abs() <= 1e-5;
    ConfigError::check(
        holds,
        "probabilities",
        "numbers from 0 to 1 with sum 1",
        format_args!("{values} in row {row}"),
    )
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
        for wrong in ["[0.25,7.0,", "[0.25,0.5,", "[1.25,-0.25,"] {
            let wrong = text.replace("[0.25,0.75,", wrong);
            let error = serde_json::from_str::<Prediction>(&wrong).unwrap_err();
            assert!(error.to_string().contains("in row 0"), "{error}");
        }
    }
}
