//! How often is a predicted label the right one?

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Progress, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::prediction::check_probabilities;
use super::{check_classes, check_few, values_of};
use crate::matrix::{check_finite, check_shape};
use crate::patience::ask;
use crate::{Error, Result};

/// How well one class is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClassScores {
    /// The class.
    pub label: u32,
    /// The share of the rows predicted to be of this class that are; 0 when none is predicted.
    #[serde(deserialize_with = "crate::stored::share")]
    pub precision: f64,
    /// The share of the rows of this class that are predicted to be; 0 when there are none.
    #[serde(deserialize_with = "crate::stored::share")]
    pub recall: f64,
    /// The harmonic mean of both; 0 when both are.
    #[serde(deserialize_with = "crate::stored::share")]
    pub f1: f64,
    /// The number of rows of this class.
    pub support: usize,
}

/// Precision, recall and F1 of all classes together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClassAverages {
    /// The mean precision.
    #[serde(deserialize_with = "crate::stored::share")]
    pub precision: f64,
    /// The mean recall.
    #[serde(deserialize_with = "crate::stored::share")]
    pub recall: f64,
    /// The mean F1, which is not the harmonic mean of the other two.
    #[serde(deserialize_with = "crate::stored::share")]
    pub f1: f64,
}

/// The result of [`classification_report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct ClassificationReport {
    /// The classes that occur in truth or predictions, by rising label.
    pub classes: Vec<ClassScores>,
    /// The number of rows of each true class (row) predicted to be of each class (column), `[classes, classes]`.
    #[serde(with = "crate::stored")]
    pub confusion: Array2<usize>,
    /// The share of rows predicted rightly, which is also precision, recall and F1 of all rows in one ("micro").
    pub accuracy: f64,
    /// The mean recall of the classes that have rows: a rare class counts as much as a common one.
    pub balanced_accuracy: f64,
    /// The means over all classes, also those without rows.
    pub macro_average: ClassAverages,
    /// The means over rows: each class counts by its support.
    pub weighted_average: ClassAverages,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    classes: Vec<ClassScores>,
    #[serde(with = "crate::stored")]
    confusion: Array2<usize>,
    #[serde(deserialize_with = "crate::stored::share")]
    accuracy: f64,
    #[serde(deserialize_with = "crate::stored::share")]
    balanced_accuracy: f64,
    macro_average: ClassAverages,
    weighted_average: ClassAverages,
}

impl TryFrom<Parts> for ClassificationReport {
    type Error = ShapeError;

    fn try_from(parts: Parts) -> Result<Self, ShapeError> {
        let Parts {
            classes,
            confusion,
            accuracy,
            balanced_accuracy,
            macro_average,
            weighted_average,
        } = parts;
        let shape = [classes.len(), classes.len()];
        check_shape("confusion", &shape, confusion.shape())?;
        Ok(Self {
            classes,
            confusion,
            accuracy,
            balanced_accuracy,
            macro_average,
            weighted_average,
        })
    }
}

/// Precision, recall and F1 of each class, their means, accuracy, and which class is taken for which.
///
/// With TP rows of a class predicted as such, FP of others predicted as it and FN of it predicted as others:
/// precision `TP / (TP + FP)`, recall `TP / (TP + FN)`, F1 `2 TP / (2 TP + FP + FN)`; 0 for 0 / 0.
/// Of classes of unlike sizes, read the balanced accuracy: always predicting the commonest class has a high accuracy.
/// Cost: `O(n log n + classes²)`.
///
/// # Shapes
///
/// `truth` and `predicted`: one label per row.
///
/// # Differences from scikit-learn
///
/// None in the numbers of `classification_report`, `balanced_accuracy_score` and `confusion_matrix`.
///
/// # Errors
///
/// [`Error::TooFew`] without rows, [`Error::Shape`] when truth and predictions differ in number, [`Error::Config`] for more
/// than 16,384 different labels, as when numbers of rows are taken for labels.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_embed::evaluate::classification_report;
///
/// let report = classification_report(&[0, 0, 0, 4], &[0, 0, 4, 4])?;
/// assert_eq!(report.confusion, array![[2, 1], [0, 1]]);
/// assert_eq!(report.accuracy, 0.75);
/// assert_eq!(report.classes[1].precision, 0.5);
/// assert_eq!(report.balanced_accuracy, (2.0 / 3.0 + 1.0) / 2.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "precision_recall_fscore_support")]
#[doc(alias = "confusion_matrix")]
#[doc(alias = "balanced_accuracy_score")]
#[doc(alias = "accuracy_score")]
#[doc(alias = "f1_score")]
pub fn classification_report(truth: &[u32], predicted: &[u32]) -> Result<ClassificationReport> {
    ShapeError::check_len("predicted", truth.len(), predicted.len())?;
    Error::check_enough("the classification report", "rows", 1, truth.len())?;
    let labels = values_of(&[values_of(truth), values_of(predicted)].concat());
    check_few("labels", labels.len())?;
    let place = |label: u32| labels.partition_point(|&other| other < label);
    let mut confusion = Array2::<usize>::zeros((labels.len(), labels.len()));
    for (&truth, &predicted) in truth.iter().zip(predicted) {
        confusion[[place(truth), place(predicted)]] += 1;
    }
    let share = |part: usize, whole: usize| {
        if whole == 0 {
            0.0
        } else {
            part as f64 / whole as f64
        }
    };
    let class = |(i, &label): (usize, &u32)| {
        let (right, support) = (confusion[[i, i]], confusion.row(i).sum());
        let found = confusion.column(i).sum();
        ClassScores {
            label,
            precision: share(right, found),
            recall: share(right, support),
            f1: share(2 * right, found + support),
            support,
        }
    };
    let classes: Vec<ClassScores> = labels.iter().enumerate().map(class).collect();
    let right: usize = confusion.diag().sum();
    let present: Vec<&ClassScores> = classes.iter().filter(|c| c.support > 0).collect();
    let mean = |weight: &dyn Fn(&ClassScores) -> f64| {
        let all: f64 = classes.iter().map(weight).sum();
        let of = |score: &dyn Fn(&ClassScores) -> f64| {
            let parts = classes.iter().map(|class| weight(class) * score(class));
            parts.sum::<f64>() / all
        };
        ClassAverages {
            precision: of(&|class| class.precision),
            recall: of(&|class| class.recall),
            f1: of(&|class| class.f1),
        }
    };
    Ok(ClassificationReport {
        accuracy: share(right, truth.len()),
        balanced_accuracy: present.iter().map(|c| c.recall).sum::<f64>() / present.len() as f64,
        macro_average: mean(&|_| 1.0),
        weighted_average: mean(&|class| class.support as f64),
        classes,
        confusion,
    })
}

/// The result of [`probability_report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProbabilityReport {
    /// The mean of −ln p of the true class, in nats: 0 for certainty that is right.
    #[serde(deserialize_with = "crate::stored::amount")]
    pub log_loss: f64,
    /// For each class, how probably a row of it has a higher probability of it than a row of another class; `None` when
    /// there are no rows of it, or no others.
    #[serde(deserialize_with = "crate::stored::share")]
    pub auc_per_class: Vec<Option<f64>>,
    /// The mean of these; `None` when there is none.
    #[serde(deserialize_with = "crate::stored::share")]
    pub auc: Option<f64>,
}

/// How much predicted probabilities tell: log loss, and the area under the curve of each class against all others.
///
/// Both judge how sure a prediction is, which [`classification_report`] does not see.
/// The area counts pairs of rows, one of the class and one of another: ½ for those of equal probability (Hanley & McNeil
/// 1982, doi:10.1148/radiology.143.1.7063747).
/// 0.5 is what a guess reaches.
/// Probabilities are clipped at ε = 2⁻⁵² in the log loss, so one row costs 36 at most.
/// Cost: `O(classes · n log n)`, on all threads, and 16 bytes of memory for each row on each thread.
///
/// # Shapes
///
/// `truth`: one label per row; `classes`: rising labels; `probabilities`: `[n, classes]`.
///
/// # Differences from scikit-learn's `roc_auc_score(multi_class="ovr")`
///
/// A class without rows, or with all of them, has no area and is left out of the mean; there, it is an error or NaN.
///
/// # Errors
///
/// [`Error::TooFew`] without rows, [`Error::Shape`] when the numbers of rows or classes do not fit, [`Error::NotFinite`]
/// for NaN or infinity, [`Error::Config`] unless classes rise and are at most 16,384, and probabilities are from 0 to 1
/// and sum to 1 in each row (to 1e-5), [`Error::UnknownCategory`] for a true label that is not among the classes,
/// [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::probability_report;
///
/// let probabilities = array![[0.75, 0.25], [0.5, 0.5], [0.5, 0.5], [0.25, 0.75]];
/// let report = probability_report(&[0, 0, 1, 1], &[0, 1], probabilities.view(), &NoProgress)?;
/// assert_eq!(report.auc, Some(3.5 / 4.0));
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "roc_auc_score")]
#[doc(alias = "log_loss")]
pub fn probability_report(
    truth: &[u32],
    classes: &[u32],
    probabilities: ArrayView2<'_, f64>,
    progress: &dyn Progress,
) -> Result<ProbabilityReport> {
    let n = truth.len();
    ShapeError::check_len("probabilities", n, probabilities.nrows())?;
    ShapeError::check_len("classes", probabilities.ncols(), classes.len())?;
    Error::check_enough("the report on probabilities", "rows", 1, n)?;
    check_finite(probabilities)?;
    check_classes("classes", classes)?;
    progress.start("probabilities", Some(n as u64));
    for (row, values) in probabilities.outer_iter().enumerate() {
        ask(row, n, progress)?;
        check_probabilities(row, values)?;
    }
    progress.finish();
    let places: Result<Vec<usize>> = truth
        .iter()
        .map(|label| {
            classes
                .binary_search(label)
                .map_err(|_| Error::UnknownCategory {
                    what: "truth",
                    category: label.to_string(),
                })
        })
        .collect();
    let places = places?;
    let mut loss = 0.0;
    for (row, &place) in places.iter().enumerate() {
        let clipped = probabilities[[row, place]].clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        loss -= libm::log(clipped);
    }
    progress.start("areas under curves", Some(classes.len() as u64));
    let auc_per_class: Result<Vec<Option<f64>>> = (0..classes.len())
        .into_par_iter()
        .map(|class| {
            progress.check()?;
            let rows = places.iter().zip(probabilities.column(class));
            let area = area(rows.map(|(&place, &p)| (p, place == class)).collect());
            progress.advance(1);
            Ok(area)
        })
        .collect();
    let auc_per_class = auc_per_class?;
    progress.finish();
    let defined: Vec<f64> = auc_per_class.iter().copied().flatten().collect();
    Ok(ProbabilityReport {
        log_loss: loss / n as f64,
        auc: (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64),
        auc_per_class,
    })
}

/// The share of pairs of a positive and a negative row in which the positive one has the higher score.
fn area(mut rows: Vec<(f64, bool)>) -> Option<f64> {
    let positive = rows.iter().filter(|row| row.1).count();
    let negative = rows.len() - positive;
    if positive == 0 || negative == 0 {
        return None;
    }
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // Twice the number of pairs won, counted in whole numbers.
    let (mut won, mut below) = (0_u128, 0_u128);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let above = tied.iter().filter(|row| row.1).count() as u128;
        let level = tied.len() as u128 - above;
        won += above * (2 * below + level);
        below += level;
    }
    Some(won as f64 / 2.0 / positive as f64 / negative as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{NoProgress, Seed};
    use proptest::prelude::*;

    use super::*;
    use crate::patience::tests::times_asked;

    #[test]
    fn scores_equal_values_worked_out_by_hand() {
        let report = classification_report(&[1, 1, 1, 5, 5, 9], &[1, 1, 5, 5, 9, 1]).unwrap();
        assert_eq!(report.confusion, array![[2, 1, 0], [0, 1, 1], [1, 0, 0]]);
        let scores = |i: usize| {
            let class = report.classes[i];
            (
                class.label,
                class.precision,
                class.recall,
                class.f1,
                class.support,
            )
        };
        assert_eq!(scores(0), (1, 2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3));
        assert_eq!(scores(1), (5, 0.5, 0.5, 0.5, 2));
        assert_eq!(scores(2), (9, 0.0, 0.0, 0.0, 1));
        assert_eq!(report.accuracy, 0.5);
        assert!((report.balanced_accuracy - 7.0 / 18.0).abs() < 1e-15);
        assert!((report.macro_average.f1 - 7.0 / 18.0).abs() < 1e-15);
        assert!((report.weighted_average.precision - 0.5).abs() < 1e-15);
    }

    #[test]
    fn classes_of_one_side_only_count_as_zero_but_not_in_the_balanced_accuracy() {
        let report = classification_report(&[0, 0, 1], &[0, 7, 7]).unwrap();
        let labels: Vec<u32> = report.classes.iter().map(|class| class.label).collect();
        assert_eq!(labels, [0, 1, 7]);
        assert_eq!(report.classes[1].precision, 0.0);
        assert_eq!(report.classes[2].recall, 0.0);
        assert_eq!(report.classes[2].support, 0);
        assert_eq!(report.balanced_accuracy, 0.25);
        assert_eq!(report.macro_average.recall, 0.5 / 3.0);
        let one = classification_report(&[3], &[3]).unwrap();
        assert_eq!((one.accuracy, one.macro_average.f1), (1.0, 1.0));
    }

    #[test]
    fn what_cannot_be_reported_is_refused() {
        let few = classification_report(&[], &[]);
        assert!(matches!(few, Err(Error::TooFew { .. })));
        let shape = classification_report(&[1], &[]);
        assert!(matches!(shape, Err(Error::Shape(_))));
        let ids: Vec<u32> = (0..20_000).collect();
        let many = classification_report(&ids, &ids).unwrap_err();
        assert!(many.to_string().contains("20000"), "{many}");

        let half = array![[0.5, 0.5], [0.5, 0.5]];
        let refused = |truth: &[u32], classes: &[u32], p: &Array2<f64>| {
            probability_report(truth, classes, p.view(), &NoProgress).unwrap_err()
        };
        assert!(matches!(
            refused(&[], &[0, 1], &Array2::zeros((0, 2))),
            Error::TooFew { .. }
        ));
        assert!(matches!(refused(&[0], &[0, 1], &half), Error::Shape(_)));
        assert!(matches!(refused(&[0, 1], &[0], &half), Error::Shape(_)));
        for classes in [[1, 0], [1, 1]] {
            assert!(matches!(
                refused(&[1, 1], &classes, &half),
                Error::Config(_)
            ));
        }
        let nan = array![[0.5, 0.5], [f64::NAN, 0.5]];
        assert!(matches!(
            refused(&[0, 1], &[0, 1], &nan),
            Error::NotFinite { row: 1, .. }
        ));
        for wrong in [[1.5, -0.5], [0.5, 0.4]] {
            let p = array![[0.5, 0.5], wrong];
            let message = refused(&[0, 1], &[0, 1], &p).to_string();
            assert!(message.contains("row 1"), "{message}");
        }
        let message = refused(&[0, 4], &[0, 1], &half).to_string();
        assert!(message.contains("`4`"), "{message}");
    }

    #[test]
    fn a_report_on_probabilities_asks_at_every_class_whether_to_stop() {
        let p = array![[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]];
        let report =
            |progress: &dyn Progress| probability_report(&[2, 4], &[2, 4, 6], p.view(), progress);
        assert_eq!(times_asked(report), 1 + 3);
    }

    #[test]
    fn areas_and_losses_equal_values_worked_out_by_hand() {
        let p = array![[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.5, 0.5, 0.0]];
        let report = probability_report(&[2, 4, 4], &[2, 4, 6], p.view(), &NoProgress).unwrap();
        // Class 2: 0.5 beats 0.25 and ties with 0.5; class 4: 0.5 twice beats 0.25; class 6 has no rows.
        assert_eq!(report.auc_per_class, [Some(0.75), Some(1.0), None]);
        assert_eq!(report.auc, Some(0.875));
        assert!((report.log_loss - libm::log(2.0)).abs() < 1e-15);
        let sure = array![[0.0, 1.0]];
        let right = probability_report(&[1], &[0, 1], sure.view(), &NoProgress).unwrap();
        assert!(right.log_loss > 0.0 && right.log_loss < 1e-15);
        assert_eq!((right.auc, right.auc_per_class), (None, vec![None, None]));
        let wrong = probability_report(&[0], &[0, 1], sure.view(), &NoProgress).unwrap();
        assert!((wrong.log_loss - 52.0 * libm::log(2.0)).abs() < 1e-13);
    }

    #[test]
    fn reports_are_written_and_read_back() {
        let report = classification_report(&[1, 1, 1, 5, 5, 9], &[1, 1, 5, 5, 9, 1]).unwrap();
        let text = serde_json::to_string(&report).unwrap();
        let read: ClassificationReport = serde_json::from_str(&text).unwrap();
        assert_eq!(read, report);
        let other = text.replace(r#""shape":[3,3]"#, r#""shape":[1,9]"#);
        let error = serde_json::from_str::<ClassificationReport>(&other).unwrap_err();
        assert!(error.to_string().contains("confusion"), "{error}");
        let p = array![[0.0, 1.0], [0.25, 0.75]];
        let report = probability_report(&[1, 1], &[0, 1], p.view(), &NoProgress).unwrap();
        let text = serde_json::to_string(&report).unwrap();
        let read: ProbabilityReport = serde_json::from_str(&text).unwrap();
        assert_eq!(read, report);
    }

    #[test]
    fn shares_and_losses_that_are_none_are_not_read_back() {
        let report = classification_report(&[1, 1, 5], &[1, 5, 5]).unwrap();
        let report = serde_json::to_value(&report).unwrap();
        for field in ["accuracy", "balanced_accuracy"] {
            let mut wrong = report.clone();
            wrong[field] = serde_json::json!(7);
            let read = serde_json::from_value::<ClassificationReport>(wrong);
            assert!(read.is_err(), "{field}");
        }
        let mut wrong = report;
        wrong["classes"][0]["f1"] = serde_json::json!(-1);
        assert!(serde_json::from_value::<ClassificationReport>(wrong).is_err());
        let p = array![[0.75, 0.25], [0.25, 0.75]];
        let report = probability_report(&[0, 1], &[0, 1], p.view(), &NoProgress).unwrap();
        let report = serde_json::to_value(&report).unwrap();
        assert!(serde_json::from_value::<ProbabilityReport>(report.clone()).is_ok());
        for (field, value) in [
            ("log_loss", serde_json::json!(-0.5)),
            ("auc", serde_json::json!(7)),
            ("auc_per_class", serde_json::json!([1, 1.5])),
        ] {
            let mut wrong = report.clone();
            wrong[field] = value;
            let read = serde_json::from_value::<ProbabilityReport>(wrong);
            assert!(read.is_err(), "{field}");
        }
    }

    proptest! {
        #[test]
        fn order_of_rows_and_names_of_classes_do_not_matter(
            rows in prop::collection::vec((0_u32..4, 0_u32..4), 1..40),
            seed in 0_u64..1000,
        ) {
            let (truth, predicted): (Vec<u32>, Vec<u32>) = rows.into_iter().unzip();
            let order = Seed::new(seed).stream("order", 0).permutation(truth.len());
            let renamed = |labels: &[u32]| -> Vec<u32> { order.iter().map(|&i| 100 - 7 * labels[i]).collect() };
            let a = classification_report(&truth, &predicted).unwrap();
            let b = classification_report(&renamed(&truth), &renamed(&predicted)).unwrap();
            prop_assert_eq!(a.accuracy, b.accuracy);
            prop_assert!((a.balanced_accuracy - b.balanced_accuracy).abs() < 1e-14);
            prop_assert!((a.macro_average.f1 - b.macro_average.f1).abs() < 1e-14);
            prop_assert!((a.weighted_average.precision - b.weighted_average.precision).abs() < 1e-14);
            prop_assert!((a.weighted_average.recall - a.accuracy).abs() < 1e-14);
            prop_assert_eq!(a.confusion.sum(), truth.len());
            let back: Vec<(f64, f64, usize)> = b.classes.iter().rev().map(|c| (c.precision, c.f1, c.support)).collect();
            let classes: Vec<(f64, f64, usize)> = a.classes.iter().map(|c| (c.precision, c.f1, c.support)).collect();
            prop_assert_eq!(back, classes);
        }
    }
}
