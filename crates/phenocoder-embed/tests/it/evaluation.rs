//! Measures, folds, reports and predictions beside scikit-learn and scib-metrics.
//!
//! `tests/data/evaluation.json` is made by `make_evaluation.py` beside it; `parity/models/evaluation.json` is part of the
//! reference data, which may be absent.

use std::path::Path;

use ndarray::{Array2, Axis, s};
use phenocoder_core::NoProgress;
use phenocoder_embed::evaluate::{
    ClassAverages, Folds, KnnClassifier, KnnConfig, KnnWeights, OtherGroups, SilhouetteConfig,
    adjusted_rand_index, calinski_harabasz, classification_report, davies_bouldin, group_folds,
    knn_purity, leave_one_out_accuracy, normalized_mutual_information, probability_report, purity,
    silhouette_by_batch, silhouette_by_label, silhouette_with, stratified_folds,
    stratified_group_folds, v_measure,
};
use phenocoder_embed::knn::{Metric, nearest_neighbors, query_neighbors};
use phenocoder_testdata::find;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/evaluation.json")).unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name}"))
}

pub(crate) fn numbers(value: &Value, name: &str) -> Vec<f64> {
    list(value, name)
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

pub(crate) fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name}"))
}

pub(crate) fn whole(value: &Value, name: &str) -> Vec<u32> {
    list(value, name)
        .iter()
        .map(|v| u32::try_from(v.as_u64().unwrap()).unwrap())
        .collect()
}

pub(crate) fn matrix(value: &Value, name: &str) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = list(value, name)
        .iter()
        .map(|row| {
            row.as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_f64().unwrap())
                .collect()
        })
        .collect();
    let shape = (rows.len(), rows[0].len());
    Array2::from_shape_vec(shape, rows.concat()).unwrap()
}

/// The rows of the set, in their unit.
fn rows(golden: &Value) -> Array2<f64> {
    matrix(&golden["set"], "x") / number(&golden["set"], "unit")
}

fn metric(entry: &Value) -> Metric {
    match entry["metric"].as_str().unwrap() {
        "euclidean" => Metric::Euclidean,
        "cosine" => Metric::Cosine,
        other => panic!("{other}"),
    }
}

/// To 1e-10 of the larger value, or of 1.
#[track_caller]
fn assert_close(found: f64, expected: f64, what: &dyn std::fmt::Debug) {
    let scale = f64::max(1.0, expected.abs());
    assert!(
        (found - expected).abs() <= 1e-10 * scale,
        "{what:?}: {found} instead of {expected}"
    );
}

#[test]
fn no_part_of_the_reference_values_is_left_out() {
    let golden = golden();
    let counts: Vec<(&str, usize)> = golden
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_array().map_or(0, Vec::len)))
        .collect();
    let expected = [
        ("versions", 0),
        ("set", 0),
        ("agreement", 18),
        ("dispersion", 8),
        ("silhouette", 2),
        ("scib", 6),
        ("folds", 75),
        ("reports", 6),
        ("probabilities", 3),
        ("knn", 12),
        ("local", 6),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn labelings_agree_as_scikit_learn_says() {
    for entry in list(&golden(), "agreement") {
        let (a, b) = (whole(entry, "a"), whole(entry, "b"));
        let measure = v_measure(&a, &b, number(entry, "beta")).unwrap();
        let found = [
            ("homogeneity", measure.homogeneity),
            ("completeness", measure.completeness),
            ("v", measure.v),
            ("ari", adjusted_rand_index(&a, &b).unwrap()),
            ("nmi", normalized_mutual_information(&a, &b).unwrap()),
        ];
        for (name, found) in found {
            assert_close(found, number(entry, name), &(name, &a, &b));
        }
    }
}

#[test]
fn groups_are_as_compact_as_scikit_learn_says() {
    let golden = golden();
    for entry in list(&golden, "dispersion") {
        let x = if entry["x"].is_array() {
            matrix(entry, "x") / number(&golden["set"], "unit")
        } else {
            rows(&golden)
        };
        let groups = whole(entry, "groups");
        let name = &entry["name"];
        let found = davies_bouldin(x.view(), &groups, &NoProgress).unwrap();
        assert_close(found, number(entry, "davies_bouldin"), name);
        let found = calinski_harabasz(x.view(), &groups, &NoProgress).unwrap();
        assert_close(found, number(entry, "calinski_harabasz"), name);
    }
}

#[test]
fn silhouettes_are_those_of_scikit_learn_and_scib() {
    let golden = golden();
    let (x, set) = (rows(&golden), &golden["set"]);
    let (labels, batches) = (whole(set, "labels"), whole(set, "batches"));
    for entry in list(&golden, "silhouette") {
        let config = SilhouetteConfig::default().with_metric(metric(entry));
        let found = silhouette_with(x.view(), &labels, &config, &NoProgress).unwrap();
        assert_close(found.mean, number(entry, "mean"), &config);
        let expected = numbers(entry, "samples");
        assert_eq!(found.samples.len(), expected.len());
        for (row, (found, expected)) in found.samples.iter().zip(expected).enumerate() {
            assert_close(*found, expected, &(config, row));
        }
    }
    for entry in list(&golden, "scib") {
        let others = match entry["others"].as_str().unwrap() {
            "nearest" => OtherGroups::Nearest,
            "mean_other" => OtherGroups::All,
            "furthest" => OtherGroups::Furthest,
            other => panic!("{other}"),
        };
        let config = SilhouetteConfig::default().with_metric(metric(entry));
        let found = silhouette_by_label(x.view(), &labels, &config, &NoProgress).unwrap();
        assert_close(found, number(entry, "by_label"), &config);
        let config = config.with_others(others);
        let found = silhouette_by_batch(x.view(), &batches, &labels, &config, &NoProgress).unwrap();
        assert_close(found.mean, number(entry, "by_batch"), &config);
        let without: Vec<u32> = found
            .per_label
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(label, _)| *label)
            .collect();
        assert_eq!(without, [3, 4, 5]);
    }
}

#[test]
fn folds_are_those_of_scikit_learn_row_by_row() {
    let mut divided = 0;
    for (case, entry) in list(&golden(), "folds").iter().enumerate() {
        let (labels, groups) = (whole(entry, "labels"), whole(entry, "groups"));
        let count = entry["count"].as_u64().unwrap() as usize;
        let found = [
            ("stratified_folds", stratified_folds(&labels, count, None)),
            ("group_folds", group_folds(&groups, count, None)),
            (
                "stratified_group_folds",
                stratified_group_folds(&labels, &groups, count, None, &NoProgress),
            ),
        ];
        for (name, found) in found {
            let found = found.as_ref().ok().map(Folds::of_row);
            let expected = entry[name].is_array().then(|| {
                whole(entry, name)
                    .into_iter()
                    .map(|fold| fold as usize)
                    .collect()
            });
            assert_eq!(
                found.map(<[usize]>::to_vec),
                expected,
                "case {case}: {name}"
            );
            divided += usize::from(expected.is_some());
        }
    }
    assert_eq!(divided, 3 * 75 - 15);
}

#[test]
fn reports_are_those_of_scikit_learn() {
    for entry in list(&golden(), "reports") {
        let (truth, predicted) = (whole(entry, "truth"), whole(entry, "predicted"));
        let report = classification_report(&truth, &predicted).unwrap();
        assert_eq!(
            report.confusion.mapv(|count| count as f64),
            matrix(entry, "confusion")
        );
        let expected = matrix(entry, "classes");
        assert_eq!(report.classes.len(), expected.nrows());
        for (found, expected) in report.classes.iter().zip(expected.outer_iter()) {
            assert_eq!(f64::from(found.label), expected[0]);
            assert_close(found.precision, expected[1], found);
            assert_close(found.recall, expected[2], found);
            assert_close(found.f1, expected[3], found);
            assert_eq!(found.support as f64, expected[4]);
        }
        assert_close(report.accuracy, number(entry, "accuracy"), &"accuracy");
        let expected = number(entry, "balanced_accuracy");
        assert_close(report.balanced_accuracy, expected, &"balanced accuracy");
        assert_averages(&report.macro_average, &numbers(entry, "macro"));
        assert_averages(&report.weighted_average, &numbers(entry, "weighted"));
    }
}

#[track_caller]
fn assert_averages(found: &ClassAverages, expected: &[f64]) {
    let found = [found.precision, found.recall, found.f1];
    for (found, expected) in found.into_iter().zip(expected) {
        assert_close(found, *expected, &"average");
    }
}

#[test]
fn probabilities_are_judged_as_by_scikit_learn() {
    for entry in list(&golden(), "probabilities") {
        let votes = matrix(entry, "votes");
        let p = &votes / &votes.sum_axis(Axis(1)).insert_axis(Axis(1));
        let classes: Vec<u32> = (0..p.ncols() as u32).collect();
        let truth = whole(entry, "truth");
        let report = probability_report(&truth, &classes, p.view(), &NoProgress).unwrap();
        assert_close(report.log_loss, number(entry, "log_loss"), &"log loss");
        assert_close(report.auc.unwrap(), number(entry, "auc"), &"area");
        let expected = numbers(entry, "auc_per_class");
        assert_eq!(report.auc_per_class.len(), expected.len());
        for (found, expected) in report.auc_per_class.iter().zip(expected) {
            assert_close(found.unwrap(), expected, &"area of a class");
        }
    }
}

#[test]
fn nearest_rows_tell_the_labels_that_scikit_learn_tells() {
    let golden = golden();
    let (x, clusters) = (rows(&golden), whole(&golden["set"], "clusters"));
    let (query, known) = (x.slice(s![..30, ..]), x.slice(s![30.., ..]));
    for entry in list(&golden, "knn") {
        let weights = match entry["weights"].as_str().unwrap() {
            "uniform" => KnnWeights::Uniform,
            "distance" => KnnWeights::Distance,
            other => panic!("{other}"),
        };
        let config = KnnConfig::default()
            .with_k(entry["k"].as_u64().unwrap() as usize)
            .with_metric(metric(entry))
            .with_weights(weights);
        let classifier = KnnClassifier::fit(known, &clusters[30..], &config).unwrap();
        assert_eq!(classifier.classes(), whole(entry, "classes"));
        let found = classifier.predict(query, &NoProgress).unwrap();
        assert_eq!(found.labels, whole(entry, "predicted"), "{config:?}");
        let expected = matrix(entry, "probabilities");
        assert_eq!(found.probabilities.dim(), expected.dim());
        for (found, expected) in found.probabilities.iter().zip(&expected) {
            assert_close(*found, *expected, &config);
        }
    }
}

#[test]
fn nearest_rows_are_of_the_label_as_often_as_scikit_learn_says() {
    let golden = golden();
    let x = rows(&golden);
    for entry in list(&golden, "local") {
        let name = (&entry["metric"], &entry["of"]);
        let labels = whole(&golden["set"], entry["of"].as_str().unwrap());
        let metric = metric(entry);
        let purities = entry["purity"].as_object().unwrap();
        assert_eq!(purities.len(), 3);
        for (k, expected) in purities {
            let near = nearest_neighbors(x.view(), k.parse().unwrap(), metric, &NoProgress);
            let found = knn_purity(&near.unwrap(), &labels).unwrap();
            assert_close(found, expected.as_f64().unwrap(), &(name, k));
        }
        let found = leave_one_out_accuracy(x.view(), &labels, metric, &NoProgress).unwrap();
        assert_close(found, number(entry, "leave_one_out"), &name);
    }
}

#[test]
fn the_reference_data_of_the_models_is_reproduced() {
    let Some(path) = find("parity/models/evaluation.json") else {
        return;
    };
    let data = read(&path);
    let labels = whole(&data, "labels");

    let folds = stratified_folds(&labels, 5, None).unwrap();
    let expected = list(&data, "folds_5_noshuffle");
    assert_eq!(expected.len(), folds.count());
    for ((_, found), expected) in folds.iter().zip(expected) {
        let expected: Vec<u64> = expected
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_u64().unwrap())
            .collect();
        assert_eq!(
            found.iter().map(|&row| row as u64).collect::<Vec<_>>(),
            expected
        );
    }

    let metrics = &data["metrics"];
    let report = classification_report(&labels, &whole(metrics, "pred")).unwrap();
    assert_close(report.accuracy, number(metrics, "accuracy"), &"accuracy");
    let expected = number(metrics, "balanced_accuracy");
    assert_close(report.balanced_accuracy, expected, &"balanced accuracy");
    assert_eq!(
        report.confusion.mapv(|count| count as f64),
        matrix(metrics, "confusion")
    );
    let averages = |name: &str| ["precision", "recall", "f1"].map(|s| number(&metrics[name], s));
    assert_averages(&report.macro_average, &averages("macro"));
    assert_averages(&report.weighted_average, &averages("weighted"));
    for micro in averages("micro") {
        assert_close(report.accuracy, micro, &"micro");
    }
    let p = matrix(metrics, "proba");
    let report = probability_report(&labels, &[0, 1, 2], p.view(), &NoProgress).unwrap();
    assert_close(report.log_loss, number(metrics, "log_loss"), &"log loss");
    let expected = number(metrics, "roc_auc_ovr_macro");
    assert_close(report.auc.unwrap(), expected, &"area");

    let knn = &data["knn"];
    let (train, query) = (matrix(knn, "train"), matrix(knn, "query"));
    let all = query_neighbors(
        train.view(),
        query.view(),
        train.nrows(),
        Metric::Euclidean,
        &NoProgress,
    )
    .unwrap();
    assert_eq!(all.indices().mapv(f64::from), matrix(knn, "order"));
    let distances = matrix(knn, "distance");
    for row in 0..all.len() {
        for (neighbor, distance) in all.row(row) {
            assert_close(distance, distances[[row, neighbor]], &(row, neighbor));
        }
    }
    let config = KnnConfig::default().with_k(knn["k"].as_u64().unwrap() as usize);
    let classifier = KnnClassifier::fit(train.view(), &whole(knn, "train_labels"), &config);
    let found = classifier
        .unwrap()
        .predict(query.view(), &NoProgress)
        .unwrap();
    assert_eq!(found.labels, whole(knn, "majority_lowest_label_on_tie"));

    let clusters = &data["cluster_metrics"];
    let found = whole(clusters, "clusters");
    let result = purity(&labels, &found).unwrap();
    assert_close(result.total, number(clusters, "purity_total"), &"purity");
    let expected = clusters["purity_per_cluster"].as_object().unwrap();
    assert_eq!(result.per_group.len(), expected.len());
    for (group, value) in result.per_group {
        assert_close(
            value,
            expected[&group.to_string()].as_f64().unwrap(),
            &group,
        );
    }
    let nmi = number(clusters, "nmi_arithmetic");
    assert_close(
        normalized_mutual_information(&labels, &found).unwrap(),
        nmi,
        &"nmi",
    );
    assert_close(v_measure(&labels, &found, 1.0).unwrap().v, nmi, &"v");
    let ari = number(clusters, "ari");
    assert_close(adjusted_rand_index(&labels, &found).unwrap(), ari, &"ari");
}
