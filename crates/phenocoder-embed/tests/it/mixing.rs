//! How batches mix and labels hold together, against scib-metrics 0.5.10 in double precision, and kBET by label against
//! its definition by NumPy and SciPy: `tests/data/make_mixing.py`.

use ndarray::Array2;
use phenocoder_core::{CsrGraph, NoProgress};
use phenocoder_embed::evaluate::mixing::{
    KbetByLabel, KbetConfig, LisiConfig, batch_variance, batch_variance_removed,
    graph_connectivity, integration_lisi, kbet, kbet_by_label, label_lisi, lisi,
};
use phenocoder_embed::fuzzy::{Directions, FuzzyConfig, fuzzy_graph, to_undirected};
use phenocoder_embed::knn::{Metric, Neighbors, nearest_neighbors};
use phenocoder_embed::pca::{Pca, PcaConfig};
use proptest::prelude::*;
use serde_json::Value;

use crate::golden::{matrix, of};

struct Golden {
    values: Value,
    x: Array2<f64>,
    batch: Vec<u32>,
    label: Vec<u32>,
}

fn golden() -> Golden {
    let values: Value = serde_json::from_str(include_str!("../data/mixing.json")).unwrap();
    let labels = |name: &str| serde_json::from_value(values[name].clone()).unwrap();
    Golden {
        x: matrix(&values["x"]),
        batch: labels("batch"),
        label: labels("label"),
        values,
    }
}

/// The neighbours that scib-metrics calls `count`, the row itself among them.
fn near(x: &Array2<f64>, count: usize) -> Neighbors {
    nearest_neighbors(x.view(), count - 1, Metric::Euclidean, &NoProgress).unwrap()
}

#[track_caller]
fn assert_all(found: &[f64], expected: &Value, allowed: f64) {
    let expected: Vec<f64> = serde_json::from_value(expected.clone()).unwrap();
    assert_eq!(found.len(), expected.len());
    for (row, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (found - expected).abs() <= allowed,
            "row {row}: {found} {expected}"
        );
    }
}

#[track_caller]
fn assert_close(found: f64, expected: &Value, allowed: f64) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() <= allowed, "{found} {expected}");
}

#[test]
fn the_local_inverse_simpson_index_is_that_of_scib_metrics() {
    let Golden {
        values,
        x,
        batch,
        label,
    } = golden();
    let sets = values["sets"].as_array().unwrap();
    assert_eq!(sets.len(), 2);
    for set in sets {
        let near = near(&x, set["neighbors"].as_u64().unwrap() as usize);
        let config = LisiConfig::default();
        let of = |labels: &[u32]| lisi(&near, labels, &config, &NoProgress).unwrap();
        assert_all(&of(&batch), &set["batch_lisi"], 1e-10);
        assert_all(&of(&label), &set["label_lisi"], 1e-10);
        let seven = config.clone().with_perplexity(7.0);
        let seven = lisi(&near, &label, &seven, &NoProgress).unwrap();
        assert_all(&seven[..40], &set["lisi_of_perplexity_7"], 1e-10);
        let found = integration_lisi(&near, &batch, &config, &NoProgress).unwrap();
        assert_close(found, &set["integration_lisi"], 1e-10);
        let found = label_lisi(&near, &label, &config, &NoProgress).unwrap();
        assert_close(found, &set["label_lisi_scaled"], 1e-10);
    }
}

#[test]
fn the_batch_effect_test_is_that_of_scib_metrics() {
    let Golden {
        values, x, batch, ..
    } = golden();
    for set in values["sets"].as_array().unwrap() {
        let near = near(&x, set["neighbors"].as_u64().unwrap() as usize);
        let found = kbet(&near, &batch, &KbetConfig::default(), &NoProgress).unwrap();
        assert_all(&found.statistics, &set["kbet_statistics"], 1e-10);
        assert_all(&found.p_values, &set["kbet_p_values"], 1e-12);
        assert_close(found.acceptance, &set["kbet"], 0.0);
        let config = KbetConfig::default().with_alpha(0.3);
        let found = kbet(&near, &batch, &config, &NoProgress).unwrap();
        assert_close(found.acceptance, &set["kbet_of_alpha_0.3"], 0.0);
    }
}

#[test]
fn the_batch_effect_test_by_label_is_that_of_scib_metrics() {
    let golden = &golden().values["by_label"];
    let labels = |name: &str| -> Vec<u32> { serde_json::from_value(golden[name].clone()).unwrap() };
    let graph = fuzzy_graph(
        &near(&matrix(&golden["x"]), 15),
        &FuzzyConfig::default(),
        &NoProgress,
    )
    .unwrap();
    let (batch, label) = (labels("batch"), labels("label"));
    let config = KbetConfig::default();
    let found = kbet_by_label(&graph, &batch, &label, &config, &NoProgress).unwrap();
    // Its diffusion maps are in single precision.
    assert_shares(&found, &golden["per_label"], 0.02);
    assert_close(found.mean, &golden["mean"], 0.01);
    // A label stays what it is beside others of other names.
    let renamed: Vec<u32> = label.iter().map(|label| 50 - 3 * label).collect();
    let again = kbet_by_label(&graph, &batch, &renamed, &config, &NoProgress).unwrap();
    let back: Vec<_> = again.per_label.iter().rev().map(|label| label.1).collect();
    assert!(back.iter().eq(found.per_label.iter().map(|label| &label.1)));
}

#[track_caller]
fn assert_shares(found: &KbetByLabel, expected: &Value, allowed: f64) {
    let expected: Vec<Option<f64>> = of(expected);
    assert_eq!(found.per_label.len(), expected.len());
    for ((label, found), expected) in found.per_label.iter().zip(&expected) {
        let same = match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() <= allowed,
            (found, expected) => found == expected,
        };
        assert!(same, "label {label}: {found:?} {expected:?}");
    }
}

#[test]
fn the_batch_effect_test_by_label_is_its_definition() {
    let golden = &golden().values["by_label"];
    let x = matrix(&golden["x"]);
    let (batch, label): (Vec<u32>, Vec<u32>) = (of(&golden["batch"]), of(&golden["label"]));
    let cases = golden["by_definition"].as_object().unwrap();
    assert_eq!(cases.len(), 4);
    for (count, expected) in cases {
        let graph = weighted(&near(&x, count.parse().unwrap()));
        let config = KbetConfig::default();
        let found = kbet_by_label(&graph, &batch, &label, &config, &NoProgress).unwrap();
        assert_shares(&found, expected, 1e-6);
    }
}

/// Neighbours of either row, which weigh 1 / (1 + d²).
fn weighted(neighbors: &Neighbors) -> CsrGraph {
    let distances = neighbors.to_graph().unwrap();
    let weights = distances.values().iter().map(|d| 1.0 / (1.0 + d * d));
    let graph = distances.with_values(weights.collect()).unwrap();
    to_undirected(&graph, Directions::Larger, &NoProgress).unwrap()
}

#[test]
fn connectivity_of_labels_is_that_of_scib_metrics() {
    let Golden {
        values, x, label, ..
    } = golden();
    let all = values["graph_connectivity"].as_object().unwrap();
    assert_eq!(all.len(), 4);
    for (count, expected) in all {
        let near = near(&x, count.parse().unwrap());
        let found = graph_connectivity(&near, &label, &NoProgress).unwrap();
        assert_close(found, expected, 1e-14);
    }
}

#[test]
fn variance_between_batches_is_that_of_all_principal_components() {
    let Golden {
        values, x, batch, ..
    } = golden();
    let found = batch_variance(x.view(), &batch, &NoProgress).unwrap();
    assert_close(found, &values["batch_variance"], 1e-12);
    let two = Pca::fit(x.view(), &PcaConfig::new(2))
        .unwrap()
        .transform(x.view())
        .unwrap();
    let found = batch_variance(two.view(), &batch, &NoProgress).unwrap();
    assert_close(found, &values["batch_variance_of_two_components"], 1e-12);
    let corrected = matrix(&values["corrected"]);
    let found = batch_variance_removed(x.view(), corrected.view(), &batch, &NoProgress).unwrap();
    assert_close(found, &values["batch_variance_removed"], 1e-12);
    let back = batch_variance_removed(corrected.view(), x.view(), &batch, &NoProgress).unwrap();
    assert_eq!(back, 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn neither_the_order_of_rows_nor_the_numbers_of_groups_matter(
        order in Just((0..150).collect::<Vec<usize>>()).prop_shuffle(),
        names in Just((3..40_u32).collect::<Vec<u32>>()).prop_shuffle(),
    ) {
        let Golden { x, batch, .. } = golden();
        // Equal rows apart, so that the order of rows decides nothing.
        let x = Array2::from_shape_fn(x.raw_dim(), |(i, c)| x[[i, c]] + 1e-4 * ((i * 7 + c) % 150) as f64);
        let moved = x.select(ndarray::Axis(0), &order);
        let renamed: Vec<u32> = order.iter().map(|&i| names[batch[i] as usize]).collect();
        let (a, b) = (near(&x, 30), near(&moved, 30));
        let config = LisiConfig::default();
        let (before, after) = (
            lisi(&a, &batch, &config, &NoProgress).unwrap(),
            lisi(&b, &renamed, &config, &NoProgress).unwrap(),
        );
        let tests = KbetConfig::default();
        let (tested, tested_after) = (
            kbet(&a, &batch, &tests, &NoProgress).unwrap(),
            kbet(&b, &renamed, &tests, &NoProgress).unwrap(),
        );
        for (row, &old) in order.iter().enumerate() {
            prop_assert!((after[row] - before[old]).abs() < 1e-9);
            prop_assert!((tested_after.statistics[row] - tested.statistics[old]).abs() < 1e-9);
        }
        prop_assert_eq!(tested.acceptance, tested_after.acceptance);
        let connected = |near: &Neighbors, labels: &[u32]| {
            graph_connectivity(near, labels, &NoProgress).unwrap()
        };
        prop_assert!((connected(&a, &batch) - connected(&b, &renamed)).abs() < 1e-12);
        let between = |x: &Array2<f64>, labels: &[u32]| {
            batch_variance(x.view(), labels, &NoProgress).unwrap()
        };
        prop_assert!((between(&x, &batch) - between(&moved, &renamed)).abs() < 1e-12);
    }
}
