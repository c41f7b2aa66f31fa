//! Can labels be read from a description?

use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_core::{Progress, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use super::folds::{Folds, stratified_folds, stratified_group_folds};
use super::forest::{ForestConfig, RandomForest};
use super::logistic::{LogisticConfig, LogisticRegression};
use super::nearest::{KnnClassifier, KnnConfig};
use super::prediction::Prediction;
use super::report::{
    ClassificationReport, ProbabilityReport, classification_report, probability_report,
};
use super::{check_few, values_of};
use crate::scale::{NanPolicy, ScaleConfig, Scaler, check_allowed};
use crate::{ConfigError, Result};

/// What learns labels from rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Classifier {
    /// The labels of the nearest rows: a [`KnnClassifier`].
    Knn(KnnConfig),
    /// Linear functions of the columns: a [`LogisticRegression`].
    Logistic(LogisticConfig),
    /// Trees of questions: a [`RandomForest`].
    Forest(ForestConfig),
}

impl Default for Classifier {
    fn default() -> Self {
        Self::Logistic(LogisticConfig::default())
    }
}

impl Classifier {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self {
            Self::Knn(config) => config.validate(),
            Self::Logistic(config) => config.validate(),
            Self::Forest(config) => config.validate(),
        }
    }

    /// Learns the labels of some rows and tells those of others, with the classes that were learned.
    fn tell(
        &self,
        known: ArrayView2<'_, f64>,
        labels: &[u32],
        asked: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<(Vec<u32>, Prediction)> {
        let prediction = match self {
            Self::Knn(config) => {
                KnnClassifier::fit(known, labels, config)?.predict(asked, progress)?
            }
            Self::Logistic(config) => LogisticRegression::fit(known, labels, config, progress)?
                .predict(asked, progress)?,
            Self::Forest(config) => {
                RandomForest::fit(known, labels, config, progress)?.predict(asked, progress)?
            }
        };
        Ok((values_of(labels), prediction))
    }
}

/// Settings of [`probe`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ProbeConfig {
    /// What learns the labels (default a logistic regression).
    pub classifier: Classifier,
    /// The number of folds (default 5).
    pub folds: usize,
    /// Draws the order in which rows, or groups, go to the folds (default `None`: as they come).
    pub shuffle: Option<Seed>,
    /// How columns are scaled, by what the training rows of each fold say (default to mean 0 and deviation 1; `None`: not).
    pub scaling: Option<ScaleConfig>,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            classifier: Classifier::default(),
            folds: 5,
            shuffle: None,
            scaling: Some(ScaleConfig::default()),
        }
    }
}

impl ProbeConfig {
    /// Sets what learns the labels.
    #[must_use]
    pub fn with_classifier(mut self, classifier: Classifier) -> Self {
        self.classifier = classifier;
        self
    }

    /// Sets the number of folds.
    #[must_use]
    pub fn with_folds(mut self, folds: usize) -> Self {
        self.folds = folds;
        self
    }

    /// Sets what draws the order in which rows go to the folds.
    #[must_use]
    pub fn with_shuffle(mut self, shuffle: impl Into<Option<Seed>>) -> Self {
        self.shuffle = shuffle.into();
        self
    }

    /// Sets how columns are scaled.
    #[must_use]
    pub fn with_scaling(mut self, scaling: impl Into<Option<ScaleConfig>>) -> Self {
        self.scaling = scaling.into();
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.folds >= 2, "folds", "at least 2", self.folds)?;
        self.scaling
            .as_ref()
            .map_or(Ok(()), ScaleConfig::validate)?;
        self.classifier.validate()
    }
}

/// How well the rows of one fold are told by the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FoldScores {
    /// Which fold.
    pub fold: usize,
    /// The number of rows that test in it.
    pub rows: usize,
    /// The share of them that is told rightly.
    #[serde(deserialize_with = "crate::stored::share")]
    pub accuracy: f64,
    /// The mean recall of the classes that they are of.
    #[serde(deserialize_with = "crate::stored::share")]
    pub balanced_accuracy: f64,
}

/// The result of [`probe`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct ProbeReport {
    /// How often the labels that were told are right, over all rows.
    pub labels: ClassificationReport,
    /// How much the probabilities tell, over all rows.
    pub probabilities: ProbabilityReport,
    /// The same fold by fold, without those that no row tests in: how much the result depends on which rows were known.
    pub folds: Vec<FoldScores>,
    /// The labels with fewer rows than there are folds, rising.
    pub rare_labels: Vec<u32>,
    /// The classes, by rising label: the columns of the probabilities.
    pub classes: Vec<u32>,
    /// What was told of each row when it was not among the known ones; a class that no known row was of has
    /// probability 0.
    pub prediction: Prediction,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    labels: ClassificationReport,
    probabilities: ProbabilityReport,
    folds: Vec<FoldScores>,
    rare_labels: Vec<u32>,
    classes: Vec<u32>,
    prediction: Prediction,
}

impl TryFrom<Parts> for ProbeReport {
    type Error = ShapeError;

    fn try_from(parts: Parts) -> Result<Self, ShapeError> {
        let Parts {
            labels,
            probabilities,
            folds,
            rare_labels,
            classes,
            prediction,
        } = parts;
        let columns = prediction.probabilities.ncols();
        ShapeError::check_len("classes", columns, classes.len())?;
        let areas = probabilities.auc_per_class.len();
        ShapeError::check_len("auc_per_class", columns, areas)?;
        Ok(Self {
            labels,
            probabilities,
            folds,
            rare_labels,
            classes,
            prediction,
        })
    }
}

/// Whether labels can be read from rows: each row is told by a classifier that learned from the rows of other folds.
///
/// With groups, all rows of a group are in the same fold ([`stratified_group_folds`]); give the wells, donors or slides,
/// else a row is told by its neighbours of the same well, and the result is that of recognising wells.
/// The number of folds is then at most the number of groups: 2 for two wells.
/// Without groups, folds are those of [`stratified_folds`].
///
/// Scaling is learned from the training rows of each fold alone.
/// Of classes of unlike sizes, read the balanced accuracy: a guess reaches one over the number of classes.
/// Cost: that of fitting the classifier once per fold, and memory for a probability per row and label.
///
/// # Shapes
///
/// `x`: `[n, p]`; `labels` and `groups`: one per row.
///
/// # Differences from scikit-learn's `cross_val_predict`
///
/// A column's deviation is that of a sample, `n − 1` in the denominator, where `StandardScaler` has `n`; the penalty of a
/// logistic regression sees that.
/// A class that a fold's training rows lack has probability 0 in that fold; there, too, with a warning.
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) for a setting out of range or more than 16,384 different labels, as when numbers
/// of rows are taken for labels, [`Error::Shape`](crate::Error::Shape) when rows, labels and groups differ in number,
/// [`Error::TooFew`](crate::Error::TooFew) when folds cannot be made ([`stratified_folds`], [`stratified_group_folds`]) or
/// the training rows of one have too few labels, [`Error::NotFinite`](crate::Error::NotFinite) for a value that the
/// scaling does not allow, whatever else fitting the classifier does not allow,
/// [`Error::Cancelled`](crate::Error::Cancelled) when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{NoProgress, Seed};
/// use phenocoder_embed::evaluate::{Classifier, KnnConfig, ProbeConfig, probe};
///
/// // Three cells of each of six wells; every other well is treated, which shifts the first column.
/// let wells: Vec<u32> = (0..18).map(|i| i / 3).collect();
/// let treated: Vec<u32> = wells.iter().map(|well| well % 2).collect();
/// let mut stream = Seed::new(1).stream("cells", 0);
/// let x = Array2::from_shape_fn((18, 2), |(i, j)| {
///     stream.normal() + if j == 0 { 9.0 * f64::from(treated[i]) } else { 0.0 }
/// });
///
/// let config = ProbeConfig::default().with_folds(3);
/// let linear = probe(x.view(), &treated, Some(&wells), &config, &NoProgress)?;
/// assert_eq!(linear.labels.balanced_accuracy, 1.0);
/// let nearest = Classifier::Knn(KnnConfig::default().with_k(3));
/// let config = config.with_classifier(nearest);
/// let nearest = probe(x.view(), &treated, Some(&wells), &config, &NoProgress)?;
/// assert_eq!(nearest.labels.balanced_accuracy, 1.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "cross_val_predict")]
#[doc(alias = "cross_val_score")]
pub fn probe(
    x: ArrayView2<'_, f64>,
    labels: &[u32],
    groups: Option<&[u32]>,
    config: &ProbeConfig,
    progress: &dyn Progress,
) -> Result<ProbeReport> {
    config.validate()?;
    ShapeError::check_len("labels", x.nrows(), labels.len())?;
    // Here, so that the row that is named is one of `x` and not one of a fold.
    let scaling = config.scaling.as_ref();
    let policy = scaling.map_or(NanPolicy::Error, |scaling| scaling.nan);
    check_allowed(x, policy)?;
    let classes = values_of(labels);
    check_few("labels", classes.len())?;
    let division = divide(labels, groups, config, progress)?;
    let mut told = vec![0; labels.len()];
    let mut probabilities = Array2::<f64>::zeros((labels.len(), classes.len()));
    let mut folds = Vec::with_capacity(division.count());
    for (fold, (train, test)) in division.iter().enumerate() {
        if test.is_empty() {
            continue;
        }
        progress.check()?;
        let (known, asked) = scaled(x, &train, &test, scaling)?;
        let of = |rows: &[usize]| -> Vec<u32> { rows.iter().map(|&row| labels[row]).collect() };
        let (learned, found) =
            config
                .classifier
                .tell(known.view(), &of(&train), asked.view(), progress)?;
        let scores = classification_report(&of(&test), &found.labels)?;
        folds.push(FoldScores {
            fold,
            rows: test.len(),
            accuracy: scores.accuracy,
            balanced_accuracy: scores.balanced_accuracy,
        });
        for (i, &row) in test.iter().enumerate() {
            told[row] = found.labels[i];
            for (label, &p) in learned.iter().zip(found.probabilities.row(i)) {
                let class = classes.partition_point(|class| class < label);
                probabilities[[row, class]] = p;
            }
        }
    }
    Ok(ProbeReport {
        labels: classification_report(labels, &told)?,
        probabilities: probability_report(labels, &classes, probabilities.view(), progress)?,
        folds,
        rare_labels: division.rare_labels().to_vec(),
        classes,
        prediction: Prediction {
            labels: told,
            probabilities,
        },
    })
}

/// The folds of the rows, or of their groups.
fn divide(
    labels: &[u32],
    groups: Option<&[u32]>,
    config: &ProbeConfig,
    progress: &dyn Progress,
) -> Result<Folds> {
    let (count, shuffle) = (config.folds, config.shuffle);
    match groups {
        Some(groups) => stratified_group_folds(labels, groups, count, shuffle, progress),
        None => stratified_folds(labels, count, shuffle),
    }
}

/// Training and testing rows, scaled by what the training rows say.
fn scaled(
    x: ArrayView2<'_, f64>,
    train: &[usize],
    test: &[usize],
    scaling: Option<&ScaleConfig>,
) -> Result<(Array2<f64>, Array2<f64>)> {
    let (known, asked) = (x.select(Axis(0), train), x.select(Axis(0), test));
    let Some(scaling) = scaling else {
        return Ok((known, asked));
    };
    let scaler = Scaler::fit(known.view(), scaling)?;
    Ok((
        scaler.transform(known.view())?,
        scaler.transform(asked.view())?,
    ))
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::{CancelToken, NoProgress};
    use proptest::prelude::*;

    use super::*;
    use crate::Error;

    fn nearest(k: usize) -> ProbeConfig {
        let classifier = Classifier::Knn(KnnConfig::default().with_k(k));
        ProbeConfig::default().with_classifier(classifier)
    }

    fn all_classifiers() -> [Classifier; 3] {
        [
            Classifier::Knn(KnnConfig::default().with_k(3)),
            Classifier::default(),
            Classifier::Forest(ForestConfig::default().with_trees(7)),
        ]
    }

    #[test]
    fn every_row_is_told_by_the_other_folds_as_worked_out_by_hand() {
        // Folds 0 0 1 0 1 1: the nearest row of the other fold has the label 5 5 5 8 8 5.
        let x = array![[0.0], [1.0], [2.0], [9.0], [10.0], [3.0]];
        let labels = [5, 5, 5, 8, 8, 8];
        let config = nearest(1).with_folds(2).with_scaling(None);
        let report = probe(x.view(), &labels, None, &config, &NoProgress).unwrap();
        assert_eq!(report.prediction.labels, [5, 5, 5, 8, 8, 5]);
        assert_eq!(report.classes, [5, 8]);
        assert_eq!(report.labels.confusion, array![[3, 0], [1, 2]]);
        assert_eq!(report.labels.accuracy, 5.0 / 6.0);
        let folds: Vec<(usize, usize, f64, f64)> = report
            .folds
            .iter()
            .map(|fold| (fold.fold, fold.rows, fold.accuracy, fold.balanced_accuracy))
            .collect();
        assert_eq!(folds, [(0, 3, 1.0, 1.0), (1, 3, 2.0 / 3.0, 0.75)]);
        assert_eq!(report.prediction.probabilities.row(5).to_vec(), [1.0, 0.0]);
        assert_eq!(report.rare_labels, [0; 0]);
    }

    #[test]
    fn scaling_is_learned_from_the_training_rows_of_the_fold() {
        // The second column is wide in the rows that test alone: were it scaled by them too, the first column would decide.
        let x = array![
            [0.0, 0.0],
            [0.0, 0.1],
            [1.0, 0.0],
            [1.0, 0.1],
            [0.0, 900.0],
            [1.0, 900.0]
        ];
        let labels = [0, 0, 1, 1, 0, 1];
        let groups = [1, 1, 1, 1, 2, 2];
        let config = nearest(2).with_folds(2);
        let report = probe(x.view(), &labels, Some(&groups), &config, &NoProgress).unwrap();
        let (train, test) = ([0, 1, 2, 3], [4, 5]);
        let known = x.select(Axis(0), &train);
        let scaler = Scaler::fit(known.view(), &ScaleConfig::default()).unwrap();
        let knn = KnnClassifier::fit(
            scaler.transform(known.view()).unwrap().view(),
            &[0, 0, 1, 1],
            &KnnConfig::default().with_k(2),
        )
        .unwrap();
        let asked = scaler.transform(x.select(Axis(0), &test).view()).unwrap();
        let expected = knn.predict(asked.view(), &NoProgress).unwrap();
        assert_eq!(report.prediction.labels[4..], expected.labels);
        assert_eq!(expected.probabilities.row(0).to_vec(), [0.5, 0.5]);
        assert_eq!(report.prediction.probabilities.row(4).to_vec(), [0.5, 0.5]);
    }

    #[test]
    fn groups_keep_a_classifier_from_recognising_the_well() {
        // Each well has a place of its own, and its treatment has nothing to do with it.
        let mut stream = Seed::new(4).stream("wells", 0);
        let places: Vec<[f64; 3]> = (0..24)
            .map(|_| [(); 3].map(|()| 20.0 * stream.normal()))
            .collect();
        let wells: Vec<u32> = (0..240).map(|i| i / 10).collect();
        let treated: Vec<u32> = wells.iter().map(|well| well % 2).collect();
        let x = Array2::from_shape_fn((240, 3), |(i, j)| places[i / 10][j] + stream.normal());
        let shuffled = nearest(5).with_shuffle(Seed::new(1));
        let without = probe(x.view(), &treated, None, &shuffled, &NoProgress).unwrap();
        let with = probe(x.view(), &treated, Some(&wells), &shuffled, &NoProgress).unwrap();
        assert!(
            without.labels.balanced_accuracy > 0.95,
            "{:?}",
            without.labels
        );
        assert!(with.labels.balanced_accuracy < 0.75, "{:?}", with.labels);
        assert!(without.probabilities.auc > Some(0.95));
    }

    #[test]
    fn labels_that_a_training_fold_lacks_have_no_probability_there() {
        let x = array![[0.0], [1.0], [2.0], [3.0], [0.5], [2.5], [1.5]];
        let labels = [0, 0, 1, 1, 0, 1, 7];
        for classifier in all_classifiers() {
            let config = ProbeConfig::default()
                .with_folds(3)
                .with_classifier(classifier);
            let report = probe(x.view(), &labels, None, &config, &NoProgress).unwrap();
            assert_eq!(report.rare_labels, [7]);
            assert_eq!(report.prediction.probabilities[[6, 2]], 0.0);
            assert!(report.labels.classes[2].recall == 0.0);
            assert_eq!(report.folds.len(), 3);
        }
    }

    fn twelve_rows() -> (Array2<f64>, Vec<u32>) {
        let x = Array2::from_shape_fn((12, 2), |(i, j)| ((i * 7 + j * 3) % 5) as f64);
        (x, (0..12).map(|i| i % 2).collect())
    }

    fn refused(
        x: &Array2<f64>,
        labels: &[u32],
        groups: Option<&[u32]>,
        config: &ProbeConfig,
    ) -> Error {
        probe(x.view(), labels, groups, config, &NoProgress).unwrap_err()
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let (x, labels) = twelve_rows();
        let config = nearest(2);
        for broken in [
            config.clone().with_folds(1),
            nearest(0),
            config
                .clone()
                .with_scaling(ScaleConfig::default().with_max_value(-1.0)),
            config
                .clone()
                .with_classifier(Classifier::Logistic(LogisticConfig::default().with_c(0.0))),
            config
                .clone()
                .with_classifier(Classifier::Forest(ForestConfig::default().with_trees(0))),
        ] {
            assert!(
                matches!(refused(&x, &labels, None, &broken), Error::Config(_)),
                "{broken:?}"
            );
        }
    }

    #[test]
    fn labels_and_groups_that_do_not_fit_are_refused() {
        let (x, labels) = twelve_rows();
        let config = nearest(2);
        assert!(matches!(
            refused(&x, &labels[1..], None, &config),
            Error::Shape(_)
        ));
        let error = refused(&x, &labels, Some(&labels[1..]), &config);
        assert!(matches!(error, Error::Shape(_)), "{error}");
        let error = refused(&x, &labels, Some(&labels), &config);
        assert!(
            matches!(
                error,
                Error::TooFew {
                    what: "groups",
                    found: 2,
                    ..
                }
            ),
            "{error}"
        );
        let error = refused(&x, &labels, None, &nearest(11));
        assert!(
            matches!(error, Error::TooManyNeighbors { k: 11, .. }),
            "{error}"
        );
        // Every label in a well of its own: the training rows of a fold have one.
        let linear = ProbeConfig::default().with_folds(2);
        let error = refused(&x, &labels, Some(&labels), &linear);
        assert!(
            matches!(
                error,
                Error::TooFew {
                    what: "different labels",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn values_that_the_scaling_does_not_allow_are_named_by_their_row() {
        let (x, labels) = twelve_rows();
        let config = nearest(2);
        let filled = ScaleConfig::default().with_nan(NanPolicy::ImputeMean);
        let filled = config.clone().with_scaling(filled);
        let (mut nan, mut infinite) = (x.clone(), x);
        nan[[10, 1]] = f64::NAN;
        infinite[[10, 1]] = f64::INFINITY;
        for (x, config) in [
            (&nan, &config),
            (&nan, &config.clone().with_scaling(None)),
            (&infinite, &config),
            (&infinite, &filled),
        ] {
            let error = refused(x, &labels, None, config);
            assert!(
                matches!(
                    error,
                    Error::NotFinite {
                        row: 10,
                        column: 1,
                        ..
                    }
                ),
                "{error}"
            );
        }
        assert!(probe(nan.view(), &labels, None, &filled, &NoProgress).is_ok());
    }

    #[test]
    fn numbers_of_rows_are_no_labels() {
        // Memory for every row and every label would be half a terabyte.
        let x = Array2::zeros((500_000, 1));
        let ids: Vec<u32> = (0..500_000).map(|row| row / 2).collect();
        for groups in [None, Some(&ids[..])] {
            let error = refused(&x, &ids, groups, &ProbeConfig::default().with_folds(2));
            assert!(matches!(error, Error::Config(_)), "{error}");
        }
    }

    #[test]
    fn a_report_is_written_and_read_back() {
        let (x, labels) = twelve_rows();
        let report = probe(x.view(), &labels, None, &nearest(2), &NoProgress).unwrap();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<ProbeReport>(&text).unwrap(), report);
        let mut other = serde_json::to_value(&report).unwrap();
        let mut wrong = other.clone();
        other["classes"] = serde_json::json!([0]);
        let error = serde_json::from_value::<ProbeReport>(other).unwrap_err();
        assert!(error.to_string().contains("classes"), "{error}");
        wrong["folds"][1]["accuracy"] = serde_json::json!(7);
        let error = serde_json::from_value::<ProbeReport>(wrong).unwrap_err();
        assert!(error.to_string().contains("from 0 to 1"), "{error}");
    }

    #[test]
    fn a_probe_stops_when_asked() {
        let (x, labels) = twelve_rows();
        let config = nearest(2);
        let token = CancelToken::new();
        token.cancel();
        let error = probe(x.view(), &labels, None, &config, &token).unwrap_err();
        assert!(matches!(error, Error::Cancelled(_)), "{error}");
    }

    #[test]
    fn settings_survive_json() {
        for classifier in all_classifiers() {
            let config = ProbeConfig::default()
                .with_classifier(classifier)
                .with_shuffle(Seed::new(3))
                .with_scaling(None);
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ProbeConfig>(&text).unwrap(), config);
        }
        let text = r#"{"classifier": {"knn": {"k": 4}}}"#;
        assert_eq!(
            serde_json::from_str::<ProbeConfig>(text).unwrap(),
            nearest(4)
        );
        assert!(serde_json::from_str::<ProbeConfig>(r#"{"fold": 4}"#).is_err());
    }

    proptest! {
        #[test]
        fn rising_names_of_labels_and_units_of_columns_do_not_matter(seed in 0_u64..1000, n in 24_usize..60) {
            let mut stream = Seed::new(seed).stream("x", 0);
            let labels: Vec<u32> = (0..n).map(|i| (i % 3) as u32).collect();
            let groups: Vec<u32> = (0..n).map(|_| stream.below(8) as u32).collect();
            let x = Array2::from_shape_fn((n, 3), |(i, _)| stream.normal() + f64::from(labels[i]));
            let renamed: Vec<u32> = labels.iter().map(|label| 7 * label + 3).collect();
            for classifier in all_classifiers() {
                let config = ProbeConfig::default().with_folds(3).with_classifier(classifier);
                let told = |x: &Array2<f64>, labels: &[u32]| {
                    probe(x.view(), labels, Some(&groups), &config, &NoProgress).map(|report| report.prediction)
                };
                let (a, b) = (told(&x, &labels), told(&(&x * 8.0), &renamed));
                prop_assert_eq!(a.is_ok(), b.is_ok());
                if let (Ok(a), Ok(b)) = (a, b) {
                    let names: Vec<u32> = a.labels.iter().map(|label| 7 * label + 3).collect();
                    prop_assert_eq!(names, b.labels);
                    prop_assert!((&a.probabilities - &b.probabilities).iter().all(|d| d.abs() < 1e-9));
                }
            }
        }
    }
}
