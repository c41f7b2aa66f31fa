//! ComBat and centring against scanpy 1.12.4 and pandas: `tests/data/make_combat.py`; corrections of new rows, ridge
//! removal by scikit-learn 1.9.1 among them: `tests/data/make_new_rows.py`.

use ndarray::{Array2, Axis};
use phenocoder_core::{Categorical, NoProgress};
use phenocoder_embed::batch::{
    BatchEffect, Centering, Combat, CombatConfig, Covariate, RidgeRemoval, center, combat,
};
use serde_json::Value;

use crate::golden::{matrix, max_difference};

fn golden() -> Value {
    serde_json::from_str(include_str!("../data/combat.json")).unwrap()
}

fn labels(value: &Value) -> Categorical {
    Categorical::from_labels(
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap()),
    )
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn combat_of_scanpy_is_reproduced_with_and_without_covariates() {
    let golden = golden();
    let x = matrix(&golden["x"]);
    let (batch, kind) = (labels(&golden["batch"]), labels(&golden["kind"]));
    let age = numbers(&golden["age"]);
    let all = [Covariate::Categories(&kind), Covariate::Numbers(&age)];
    for (name, covariates) in [
        ("plain", &all[..0]),
        ("kinds", &all[..1]),
        ("kinds_and_age", &all),
    ] {
        let found = combat(
            x.view(),
            &batch,
            covariates,
            &CombatConfig::default(),
            &NoProgress,
        )
        .unwrap();
        let error = max_difference(&found, &matrix(&golden[name]));
        assert!(error < 1e-10, "{name}: {error:e}");
    }
    let two = x.slice(ndarray::s![.., ..2]);
    let found = combat(
        two,
        &batch,
        &all[1..],
        &CombatConfig::default(),
        &NoProgress,
    )
    .unwrap();
    let error = max_difference(&found, &matrix(&golden["two_columns"]));
    assert!(error < 1e-10, "two columns: {error:e}");
}

#[test]
fn combat_of_two_small_batches_is_reproduced() {
    let golden = golden();
    let rows: Vec<usize> = serde_json::from_value(golden["pair"].clone()).unwrap();
    let x = matrix(&golden["x"]).select(Axis(0), &rows);
    // The categories of the batches without rows are still declared.
    let batch = labels(&golden["batch"]).select(&rows);
    let fitted = Combat::fit(x.view(), &batch, &[], &CombatConfig::default(), &NoProgress).unwrap();
    assert_eq!(fitted.batches(), ["b3", "b4"]);
    let found = fitted.apply(x.view(), &batch, &[]).unwrap();
    let error = max_difference(&found, &matrix(&golden["two_small_batches"]));
    assert!(error < 1e-10, "{error:e}");
}

#[test]
fn centring_equals_the_means_of_groups_in_pandas() {
    let golden = golden();
    let x = matrix(&golden["x"]);
    let found = center(
        x.view(),
        &labels(&golden["batch"]),
        BatchEffect::Mean,
        &NoProgress,
    )
    .unwrap();
    let error = max_difference(&found, &matrix(&golden["centered"]));
    assert!(error < 1e-12, "{error:e}");
}

/// Rows with their batches and what else is known of them, in two parts: those of a fit and others.
struct NewRows {
    golden: Value,
    x: [Array2<f64>; 2],
    batch: [Categorical; 2],
    kind: [Categorical; 2],
    age: [Vec<f64>; 2],
}

fn new_rows() -> NewRows {
    let golden: Value = serde_json::from_str(include_str!("../data/new_rows.json")).unwrap();
    let x = matrix(&golden["x"]);
    let fitted = golden["fitted"].as_u64().unwrap() as usize;
    let (batch, kind) = (labels(&golden["batch"]), labels(&golden["kind"]));
    let age = numbers(&golden["age"]);
    let parts: [Vec<usize>; 2] = [(0..fitted).collect(), (fitted..x.nrows()).collect()];
    NewRows {
        x: parts.each_ref().map(|rows| x.select(Axis(0), rows)),
        batch: parts.each_ref().map(|rows| batch.select(rows)),
        kind: parts.each_ref().map(|rows| kind.select(rows)),
        age: parts
            .each_ref()
            .map(|rows| rows.iter().map(|&row| age[row]).collect()),
        golden,
    }
}

#[track_caller]
fn assert_equal(name: &str, found: &Array2<f64>, expected: &Value) {
    let error = max_difference(found, &matrix(expected));
    assert!(error < 1e-10, "{name}: {error:e}");
}

#[test]
fn ridge_removal_of_new_rows_is_that_of_scikit_learn() {
    let rows = new_rows();
    let runs = rows.golden["ridge"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        let alpha = run["alpha"].as_f64().unwrap();
        let (x, batch) = (rows.x[0].view(), &rows.batch[0]);
        let fitted = RidgeRemoval::fit(x, batch, &[&rows.kind[0]], alpha, &NoProgress).unwrap();
        let found = fitted.apply(rows.x[1].view(), &rows.batch[1]).unwrap();
        assert_equal("ridge", &found.residual, &run["residual"]);
    }
}

#[test]
fn centring_of_new_rows_is_that_of_pandas() {
    let rows = new_rows();
    for (name, effect) in [
        ("means", BatchEffect::Mean),
        ("spreads", BatchEffect::MeanAndVariance),
    ] {
        let (x, batch) = (rows.x[0].view(), &rows.batch[0]);
        let fitted = Centering::fit(x, batch, effect, &NoProgress).unwrap();
        let found = fitted.apply(rows.x[1].view(), &rows.batch[1]).unwrap();
        assert_equal(name, &found, &rows.golden[name]);
    }
}

#[test]
fn combat_of_new_rows_is_that_of_its_definition() {
    let rows = new_rows();
    let known = [0, 1].map(|part: usize| {
        [
            Covariate::Categories(&rows.kind[part]),
            Covariate::Numbers(&rows.age[part]),
        ]
    });
    for (name, count) in [("combat", 0), ("combat_with_covariates", 2)] {
        let (x, batch) = (rows.x[0].view(), &rows.batch[0]);
        let config = CombatConfig::default();
        let fitted = Combat::fit(x, batch, &known[0][..count], &config, &NoProgress).unwrap();
        let found = fitted.apply(rows.x[1].view(), &rows.batch[1], &known[1][..count]);
        assert_equal(name, &found.unwrap(), &rows.golden[name]);
    }
}
