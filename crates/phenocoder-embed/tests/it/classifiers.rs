//! Classifiers and cross-validated predictions beside scikit-learn.
//!
//! `tests/data/classifiers.json` is made by `make_classifiers.py` beside it.

use ndarray::{Array1, Array2, Axis, concatenate, s};
use phenocoder_core::{NoProgress, Seed};
use phenocoder_embed::evaluate::{
    Classifier, ForestConfig, KnnConfig, LogisticConfig, LogisticRegression, ProbeConfig,
    RandomForest, classification_report, probe,
};
use serde_json::Value;

use crate::evaluation::{list, matrix, number, numbers, whole};

/// Forests of this many seeds each are compared in the mean, here as there.
const SEEDS: u64 = 20;
/// Of cross-validated forests, which are five each.
const SEEDS_OF_PROBES: u64 = 10;

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/classifiers.json")).unwrap()
}

fn plain(set: &Value) -> Array2<f64> {
    matrix(set, "x") / number(set, "unit")
}

/// The same rows in columns of odd units.
fn odd(set: &Value) -> Array2<f64> {
    plain(set) * Array1::from(numbers(set, "stretch")) + Array1::from(numbers(set, "shift"))
}

#[track_caller]
fn assert_close(found: f64, expected: f64, tolerance: f64, what: &dyn std::fmt::Debug) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what:?}: {found} instead of {expected}"
    );
}

#[test]
fn no_part_of_the_reference_values_is_left_out() {
    let golden = golden();
    let names: Vec<&String> = golden.as_object().unwrap().keys().collect();
    assert_eq!(names, ["versions", "set", "logistic", "probe", "forest"]);
    let counts = ["logistic", "probe", "forest"].map(|name| list(&golden, name).len());
    assert_eq!(counts, [12, 16, 3]);
}

#[test]
fn coefficients_are_those_of_scikit_learn() {
    let golden = golden();
    let set = &golden["set"];
    let constant = Array2::from_elem((160, 1), number(set, "constant"));
    let with_constant = concatenate![Axis(1), odd(set), constant];
    for entry in list(&golden, "logistic") {
        let name = (&entry["units"], &entry["labels"], &entry["c"]);
        let x = match entry["units"].as_str().unwrap() {
            "plain" => plain(set),
            "odd" => with_constant.clone(),
            other => panic!("{other}"),
        };
        let labels = whole(set, entry["labels"].as_str().unwrap());
        let config = LogisticConfig::default().with_c(number(entry, "c"));
        let model = LogisticRegression::fit(x.view(), &labels, &config, &NoProgress).unwrap();
        let expected = matrix(entry, "coefficients");
        assert_eq!(model.coefficients().dim(), expected.dim());
        // In the unit of each column; of the intercept, in that of all of them together.
        let spread = x.std_axis(Axis(0), 0.0);
        let means = x.mean_axis(Axis(0)).unwrap();
        let shift = |(mean, spread): (&f64, &f64)| {
            if *spread > 1e-9 {
                mean.abs() / spread
            } else {
                0.0
            }
        };
        let shift = means.iter().zip(&spread).map(shift).fold(1.0, f64::max);
        for ((place, found), expected) in model.coefficients().indexed_iter().zip(&expected) {
            let (j, found) = (place.1, *found);
            if spread[j] > 1e-9 {
                assert_close(found * spread[j], expected * spread[j], 1e-6, &name);
            } else {
                assert_eq!(found, 0.0, "the constant column, {name:?}");
            }
        }
        let expected = numbers(entry, "intercepts");
        assert_eq!(model.intercepts().len(), expected.len());
        for (found, expected) in model.intercepts().iter().zip(expected) {
            assert_close(*found, expected, 1e-6 * shift, &name);
        }
        let found = model.predict(x.view(), &NoProgress).unwrap();
        assert_eq!(found.labels, whole(entry, "predicted"), "{name:?}");
        let found = found.probabilities.slice(s![..20, ..]).to_owned();
        for (found, expected) in found.iter().zip(&matrix(entry, "probabilities")) {
            assert_close(*found, *expected, 1e-6, &name);
        }
    }
}

#[test]
fn cross_validated_predictions_are_those_of_scikit_learn() {
    let golden = golden();
    let set = &golden["set"];
    let groups = whole(set, "groups");
    for entry in list(&golden, "probe") {
        let is = |name: &str| entry[name].as_bool().unwrap();
        let classifier = match entry["classifier"].as_str().unwrap() {
            "knn" => Classifier::Knn(KnnConfig::default()),
            "logistic" => Classifier::Logistic(LogisticConfig::default()),
            other => panic!("{other}"),
        };
        let mut config = ProbeConfig::default().with_classifier(classifier);
        let x = if is("scaled") {
            odd(set)
        } else {
            config = config.with_scaling(None);
            plain(set)
        };
        let labels = whole(set, entry["labels"].as_str().unwrap());
        let groups = is("grouped").then_some(&groups[..]);
        let report = probe(x.view(), &labels, groups, &config, &NoProgress).unwrap();
        assert_eq!(
            report.prediction.labels,
            whole(entry, "predicted"),
            "{config:?}"
        );
        let found = report.prediction.probabilities.slice(s![..;8, ..]);
        let expected = matrix(entry, "probabilities");
        assert_eq!(found.dim(), expected.dim());
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(*found, *expected, 1e-6, &config);
        }
        let folds = matrix(entry, "folds");
        assert_eq!(report.folds.len(), folds.nrows());
        for (found, expected) in report.folds.iter().zip(folds.outer_iter()) {
            assert_eq!(found.rows as f64, expected[0], "{config:?}");
            assert_close(found.balanced_accuracy, expected[1], 1e-12, &config);
        }
    }
}

#[test]
fn forests_are_as_good_as_those_of_scikit_learn() {
    for entry in list(&golden(), "forest") {
        let (x, labels) = (matrix(entry, "x"), whole(entry, "labels"));
        let held_out = entry["held_out"].as_u64().unwrap() as usize;
        let (test, train) = (x.slice(s![..held_out, ..]), x.slice(s![held_out.., ..]));
        let mut scores = Vec::new();
        let mut estimates = Vec::new();
        let mut importances = Array1::<f64>::zeros(x.ncols());
        for seed in 0..SEEDS {
            let config = ForestConfig::default().with_seed(Seed::new(seed));
            let known = &labels[held_out..];
            let forest = RandomForest::fit(train, known, &config, &NoProgress).unwrap();
            let found = forest.predict(test, &NoProgress).unwrap();
            let report = classification_report(&labels[..held_out], &found.labels).unwrap();
            scores.push(report.balanced_accuracy);
            estimates.push(forest.out_of_bag_accuracy().unwrap());
            importances += &Array1::from(forest.importances().to_vec());
        }
        let name = &entry["name"];
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert_close(
            mean(&scores),
            number(entry, "balanced_accuracy"),
            0.01,
            name,
        );
        assert_close(
            mean(&scores[..5]),
            number(entry, "balanced_accuracy"),
            0.02,
            name,
        );
        assert_close(mean(&estimates), number(entry, "out_of_bag"), 0.01, name);
        importances /= SEEDS as f64;
        for (found, expected) in importances.iter().zip(numbers(entry, "importances")) {
            assert_close(*found, expected, 0.01, &(name, "importance"));
        }
    }
}

#[test]
fn cross_validated_forests_are_as_good_as_those_of_scikit_learn() {
    let golden = golden();
    let mut compared = 0;
    for entry in list(&golden, "forest") {
        let (x, labels) = (matrix(entry, "x"), whole(entry, "labels"));
        let tens: Vec<u32> = (0..labels.len() as u32).map(|row| row / 10).collect();
        for theirs in list(entry, "probe") {
            let grouped = theirs["grouped"].as_bool().unwrap();
            let groups = grouped.then_some(&tens[..]);
            let (mut accuracies, mut balanced) = (Vec::new(), Vec::new());
            for seed in 0..SEEDS_OF_PROBES {
                let forest = ForestConfig::default().with_seed(Seed::new(seed));
                let config = ProbeConfig::default()
                    .with_classifier(Classifier::Forest(forest))
                    .with_scaling(None);
                let report = probe(x.view(), &labels, groups, &config, &NoProgress).unwrap();
                accuracies.push(report.labels.accuracy);
                balanced.push(report.labels.balanced_accuracy);
            }
            let name = (&entry["name"], grouped);
            assert_in_spread(&accuracies, &numbers(theirs, "accuracies"), &name);
            assert_in_spread(&balanced, &numbers(theirs, "balanced_accuracies"), &name);
            compared += 1;
        }
    }
    assert_eq!(compared, 4);
}

/// Each within 0.01 of the range of theirs, and the mean within 0.01 of their mean.
#[track_caller]
fn assert_in_spread(found: &[f64], theirs: &[f64], what: &dyn std::fmt::Debug) {
    assert_eq!(theirs.len(), SEEDS as usize);
    let least = theirs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = theirs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for value in found {
        let holds = (least - 0.01..=most + 0.01).contains(value);
        assert!(holds, "{what:?}: {value} beside {least} to {most}");
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    assert_close(mean(found), mean(theirs), 0.01, what);
}
