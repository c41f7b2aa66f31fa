//! ComBat and centring against scanpy 1.12.4 and pandas: `tests/data/make_combat.py`.

use phenocoder_core::Categorical;
use phenocoder_embed::batch::{BatchEffect, Combat, CombatConfig, Covariate, center, combat};
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
        let found = combat(x.view(), &batch, covariates, &CombatConfig::default()).unwrap();
        let error = max_difference(&found, &matrix(&golden[name]));
        assert!(error < 1e-10, "{name}: {error:e}");
    }
    let two = x.slice(ndarray::s![.., ..2]);
    let found = combat(two, &batch, &all[1..], &CombatConfig::default()).unwrap();
    let error = max_difference(&found, &matrix(&golden["two_columns"]));
    assert!(error < 1e-10, "two columns: {error:e}");
}

#[test]
fn combat_of_two_small_batches_is_reproduced() {
    let golden = golden();
    let rows: Vec<usize> = serde_json::from_value(golden["pair"].clone()).unwrap();
    let x = matrix(&golden["x"]).select(ndarray::Axis(0), &rows);
    // The categories of the batches without rows are still declared.
    let batch = labels(&golden["batch"]).select(&rows);
    let fitted = Combat::fit(x.view(), &batch, &[], &CombatConfig::default()).unwrap();
    assert_eq!(fitted.batches(), ["b3", "b4"]);
    let found = fitted.apply(x.view(), &batch, &[]).unwrap();
    let error = max_difference(&found, &matrix(&golden["two_small_batches"]));
    assert!(error < 1e-10, "{error:e}");
}

#[test]
fn centring_equals_the_means_of_groups_in_pandas() {
    let golden = golden();
    let x = matrix(&golden["x"]);
    let found = center(x.view(), &labels(&golden["batch"]), BatchEffect::Mean).unwrap();
    let error = max_difference(&found, &matrix(&golden["centered"]));
    assert!(error < 1e-12, "{error:e}");
}
