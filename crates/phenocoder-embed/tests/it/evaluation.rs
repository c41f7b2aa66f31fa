//! Measures of groups beside scikit-learn and scib-metrics.
//!
//! `tests/data/evaluation.json` is made by `make_evaluation.py` beside it; `parity/models/evaluation.json` is part of the
//! reference data, which may be absent.

use std::path::Path;

use ndarray::Array2;
use phenocoder_core::NoProgress;
use phenocoder_embed::evaluate::{
    OtherGroups, SilhouetteConfig, adjusted_rand_index, calinski_harabasz, davies_bouldin,
    normalized_mutual_information, purity, silhouette_by_batch, silhouette_by_label,
    silhouette_with, v_measure,
};
use phenocoder_embed::knn::Metric;
use phenocoder_testdata::find;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/evaluation.json")).unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name}"))
}

fn numbers(value: &Value, name: &str) -> Vec<f64> {
    list(value, name)
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name}"))
}

fn whole(value: &Value, name: &str) -> Vec<u32> {
    list(value, name)
        .iter()
        .map(|v| u32::try_from(v.as_u64().unwrap()).unwrap())
        .collect()
}

fn matrix(value: &Value, name: &str) -> Array2<f64> {
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
        let found = davies_bouldin(x.view(), &groups).unwrap();
        assert_close(found, number(entry, "davies_bouldin"), name);
        let found = calinski_harabasz(x.view(), &groups).unwrap();
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
        let found = silhouette_by_batch(x.view(), &labels, &batches, &config, &NoProgress).unwrap();
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
fn the_reference_data_of_the_models_is_reproduced() {
    let Some(path) = find("parity/models/evaluation.json") else {
        return;
    };
    let data = read(&path);
    let labels = whole(&data, "labels");

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
