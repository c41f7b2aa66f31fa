//! Which label do the nearest labelled rows have?

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::prediction::Prediction;
use super::{check_few, ranked, values_of};
use crate::knn::{Metric, query_neighbors};
use crate::matrix::{check_columns, check_finite};
use crate::{ConfigError, Error, Result};

/// How much each of the nearest rows counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KnnWeights {
    /// All of them alike.
    #[default]
    Uniform,
    /// By one over the distance; where some are at distance 0, only these count, alike.
    Distance,
}

/// Settings of a [`KnnClassifier`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct KnnConfig {
    /// How many of the nearest rows are asked (default 15; scikit-learn: 5).
    pub k: usize,
    /// The distance of two rows (default [`Metric::Euclidean`]).
    pub metric: Metric,
    /// How much each counts (default [`KnnWeights::Uniform`]).
    pub weights: KnnWeights,
}

impl Default for KnnConfig {
    fn default() -> Self {
        Self {
            k: 15,
            metric: Metric::Euclidean,
            weights: KnnWeights::Uniform,
        }
    }
}

impl KnnConfig {
    /// Sets how many of the nearest rows are asked.
    #[must_use]
    pub fn with_k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Sets the distance of two rows.
    #[must_use]
    pub fn with_metric(mut self, metric: Metric) -> Self {
        self.metric = metric;
        self
    }

    /// Sets how much each of the nearest rows counts.
    #[must_use]
    pub fn with_weights(mut self, weights: KnnWeights) -> Self {
        self.weights = weights;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check(self.k >= 1, "k", "at least 1", self.k)
    }
}

/// Labelled rows that tell the labels of others: the probability of a class is its share among the `k` nearest rows.
///
/// A test of a description that has next to nothing to tune: when it predicts labels well, rows of one label are near each
/// other.
/// Distances depend on the scale of columns: fit a [`Scaler`](crate::scale::Scaler) on the same rows before.
/// Cover & Hart 1967, doi:10.1109/TIT.1967.1053964.
/// Cost: nothing to fit; `O(m n p)` to predict `m` rows from `n`, and memory for a probability per row and class.
///
/// # Differences from scikit-learn's `KNeighborsClassifier`
///
/// Of equally distant rows the first are asked; there, any.
/// Of equally probable classes the lowest label is predicted, as there; shares of [`KnnWeights::Distance`] are equal
/// when their bits are.
///
/// # Examples
///
/// Cross-validation with wells kept whole:
///
/// ```
/// use ndarray::{Array2, Axis};
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::evaluate::{
///     KnnClassifier, KnnConfig, classification_report, stratified_group_folds,
/// };
///
/// // Three cells of each of six wells; every other well is treated, which shifts the first column.
/// let wells: Vec<u32> = (0..18).map(|i| i / 3).collect();
/// let labels: Vec<u32> = wells.iter().map(|well| well % 2).collect();
/// let x = Array2::from_shape_fn((18, 2), |(i, j)| ((i * 5 + j) % 3) as f64 + 9.0 * f64::from(labels[i]));
///
/// let mut predicted = vec![0; 18];
/// for (train, test) in stratified_group_folds(&labels, &wells, 3, None, &NoProgress)?.iter() {
///     let known: Vec<u32> = train.iter().map(|&row| labels[row]).collect();
///     let config = KnnConfig::default().with_k(3);
///     let classifier = KnnClassifier::fit(x.select(Axis(0), &train).view(), &known, &config)?;
///     let result = classifier.predict(x.select(Axis(0), &test).view(), &NoProgress)?;
///     for (row, label) in test.into_iter().zip(result.labels) {
///         predicted[row] = label;
///     }
/// }
/// assert_eq!(classification_report(&labels, &predicted)?.balanced_accuracy, 1.0);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "KNeighborsClassifier")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct KnnClassifier {
    #[serde(with = "crate::stored")]
    x: Array2<f64>,
    labels: Vec<u32>,
    config: KnnConfig,
    /// Derived from the labels.
    #[serde(skip)]
    classes: Vec<u32>,
    #[serde(skip)]
    places: Vec<usize>,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    #[serde(with = "crate::stored")]
    x: Array2<f64>,
    labels: Vec<u32>,
    config: KnnConfig,
}

impl TryFrom<Parts> for KnnClassifier {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Self::fit(parts.x.view(), &parts.labels, &parts.config)
    }
}

impl KnnClassifier {
    /// Keeps rows and their labels.
    ///
    /// # Shapes
    ///
    /// `x`: `[n, p]`; `labels`: one per row.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting out of range or more than 16,384 different labels, [`Error::Shape`] when rows and
    /// labels differ in number, [`Error::TooManyNeighbors`] for fewer than `k` rows, [`Error::NotFinite`] for NaN or
    /// infinity.
    pub fn fit(x: ArrayView2<'_, f64>, labels: &[u32], config: &KnnConfig) -> Result<Self> {
        config.validate()?;
        ShapeError::check_len("labels", x.nrows(), labels.len())?;
        check_finite(x)?;
        if x.nrows() < config.k {
            return Err(Error::TooManyNeighbors {
                k: config.k,
                available: x.nrows(),
            });
        }
        let classes = values_of(labels);
        check_few("labels", classes.len())?;
        Ok(Self {
            x: x.as_standard_layout().into_owned(),
            labels: labels.to_vec(),
            config: *config,
            classes,
            places: ranked(labels).0,
        })
    }

    /// The classes, by rising label: the columns of the probabilities.
    #[must_use]
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &KnnConfig {
        &self.config
    }

    /// The labels of other rows, and how probable each class is.
    ///
    /// A row that is also among the fitted ones finds itself.
    ///
    /// # Shapes
    ///
    /// `x`: `[m, p]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns than the fitted rows have, [`Error::NotFinite`] for NaN or
    /// infinity, [`Error::Overflow`] for distances beyond any number, [`Error::Cancelled`] when the caller stops it.
    pub fn predict(&self, x: ArrayView2<'_, f64>, progress: &dyn Progress) -> Result<Prediction> {
        check_columns("x", x, self.x.ncols())?;
        let KnnConfig { k, metric, weights } = self.config;
        let neighbors = query_neighbors(self.x.view(), x, k, metric, progress)?;
        let mut shares = Array2::<f64>::zeros((x.nrows(), self.classes.len()));
        for (row, mut shares) in shares.outer_iter_mut().enumerate() {
            let touching = neighbors.row(row).any(|(_, distance)| distance == 0.0);
            for (neighbor, distance) in neighbors.row(row) {
                shares[self.places[neighbor]] += match weights {
                    KnnWeights::Uniform => 1.0,
                    KnnWeights::Distance if !touching => 1.0 / distance,
                    KnnWeights::Distance => f64::from(distance == 0.0),
                };
            }
        }
        Ok(Prediction::new(&self.classes, shares))
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};
    use phenocoder_core::{CancelToken, NoProgress, Seed};
    use proptest::prelude::*;

    use super::*;

    fn classifier(config: &KnnConfig) -> KnnClassifier {
        let x = array![[0.0], [1.0], [3.0], [7.0]];
        KnnClassifier::fit(x.view(), &[5, 2, 2, 9], config).unwrap()
    }

    #[test]
    fn shares_equal_those_worked_out_by_hand() {
        let config = KnnConfig::default().with_k(3);
        let knn = classifier(&config);
        assert_eq!(knn.classes(), [2, 5, 9]);
        let query = array![[-1.0], [6.0]];
        let uniform = knn.predict(query.view(), &NoProgress).unwrap();
        let third = 1.0 / 3.0;
        assert_eq!(uniform.labels, [2, 2]);
        assert_eq!(
            uniform.probabilities,
            array![[2.0 * third, third, 0.0], [2.0 * third, 0.0, third]]
        );
        // Distances 1 to label 5; 2 and 4 to label 2: 1 against ½ + ¼. Then 1 to label 9; 3 and 5 to label 2.
        let knn = classifier(&config.with_weights(KnnWeights::Distance));
        let weighted = knn.predict(query.view(), &NoProgress).unwrap();
        assert_eq!(weighted.labels, [5, 9]);
        let expected = [0.75 / 1.75, 1.0 / 1.75, 0.0, 8.0 / 23.0, 0.0, 15.0 / 23.0];
        for (a, b) in weighted.probabilities.iter().zip(expected) {
            assert!((a - b).abs() < 1e-15, "{weighted:?}");
        }
    }

    #[test]
    fn of_equally_probable_classes_the_lowest_label_is_taken() {
        let knn = classifier(&KnnConfig::default().with_k(2));
        let result = knn
            .predict(array![[0.4], [5.1]].view(), &NoProgress)
            .unwrap();
        assert_eq!(result.labels, [2, 2]);
        assert_eq!(result.probabilities.row(1).to_vec(), [0.5, 0.0, 0.5]);
    }

    #[test]
    fn rows_at_distance_zero_alone_count_by_distance() {
        let x = array![[0.0], [0.0], [1e-3]];
        let config = KnnConfig::default()
            .with_k(3)
            .with_weights(KnnWeights::Distance);
        let knn = KnnClassifier::fit(x.view(), &[1, 2, 2], &config).unwrap();
        let result = knn.predict(array![[0.0]].view(), &NoProgress).unwrap();
        assert_eq!(result.probabilities, array![[0.5, 0.5]]);
        assert_eq!(result.labels, [1]);
    }

    #[test]
    fn what_cannot_be_fitted_or_predicted_is_refused() {
        let x = array![[0.0], [1.0]];
        let config = KnnConfig::default();
        let fit = |x: &Array2<f64>, labels: &[u32], config: &KnnConfig| {
            KnnClassifier::fit(x.view(), labels, config).unwrap_err()
        };
        assert!(matches!(
            fit(&x, &[0, 1], &config.with_k(0)),
            Error::Config(_)
        ));
        assert!(matches!(fit(&x, &[0], &config.with_k(1)), Error::Shape(_)));
        assert!(matches!(
            fit(&x, &[0, 1], &config.with_k(3)),
            Error::TooManyNeighbors { k: 3, available: 2 }
        ));
        let nan = array![[0.0], [f64::NAN]];
        assert!(matches!(
            fit(&nan, &[0, 1], &config.with_k(1)),
            Error::NotFinite { row: 1, .. }
        ));
        let knn = classifier(&config.with_k(1));
        let predict = |x: Array2<f64>| knn.predict(x.view(), &NoProgress).unwrap_err();
        assert!(matches!(predict(array![[0.0, 1.0]]), Error::Shape(_)));
        assert!(matches!(predict(nan), Error::NotFinite { row: 1, .. }));
        assert!(matches!(predict(array![[1e200]]), Error::Overflow { .. }));
        let ids: Vec<u32> = (0..20_000).collect();
        let refused = fit(&Array2::zeros((20_000, 1)), &ids, &config);
        assert!(matches!(refused, Error::Config(_)), "{refused}");
        let token = CancelToken::new();
        token.cancel();
        assert!(matches!(
            knn.predict(x.view(), &token),
            Err(Error::Cancelled(_))
        ));
        let none = knn
            .predict(Array2::zeros((0, 1)).view(), &NoProgress)
            .unwrap();
        assert_eq!(none.probabilities.dim(), (0, 3));
    }

    #[test]
    fn a_classifier_is_written_and_read_back_and_checked() {
        let knn = classifier(&KnnConfig::default().with_k(2).with_metric(Metric::Cosine));
        let text = serde_json::to_string(&knn).unwrap();
        assert_eq!(serde_json::from_str::<KnnClassifier>(&text).unwrap(), knn);
        for (from, to) in [
            ("[5,2,2,9]", "[5,2,2]"),
            ("\"k\":2", "\"k\":5"),
            ("\"labels\"", "\"label\""),
        ] {
            let broken = text.replace(from, to);
            assert_ne!(broken, text);
            assert!(
                serde_json::from_str::<KnnClassifier>(&broken).is_err(),
                "{broken}"
            );
        }
    }

    proptest! {
        #[test]
        fn order_of_rows_and_names_of_labels_do_not_matter(seed in 0_u64..1000, n in 6_usize..30, k in 1_usize..6) {
            let mut stream = Seed::new(seed).stream("x", 0);
            let x = Array2::from_shape_fn((n, 3), |_| stream.normal());
            let query = Array2::from_shape_fn((9, 3), |_| stream.normal());
            let labels: Vec<u32> = (0..n).map(|_| stream.below(3) as u32).collect();
            let order = stream.permutation(n);
            let renamed: Vec<u32> = order.iter().map(|&i| 7 * labels[i] + 3).collect();
            for metric in [Metric::Euclidean, Metric::Cosine] {
                for weights in [KnnWeights::Uniform, KnnWeights::Distance] {
                    let config = KnnConfig::default().with_k(k).with_metric(metric).with_weights(weights);
                    let a = KnnClassifier::fit(x.view(), &labels, &config).unwrap();
                    let b = KnnClassifier::fit(x.select(Axis(0), &order).view(), &renamed, &config).unwrap();
                    let a = a.predict(query.view(), &NoProgress).unwrap();
                    let b = b.predict(query.view(), &NoProgress).unwrap();
                    let names: Vec<u32> = a.labels.iter().map(|l| 7 * l + 3).collect();
                    prop_assert_eq!(names, b.labels);
                    prop_assert!((&a.probabilities - &b.probabilities).iter().all(|d| d.abs() < 1e-12));
                    prop_assert!(a.probabilities.outer_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12));
                }
            }
        }
    }
}
