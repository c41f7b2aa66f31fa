//! Principal components of all rows, of a random subspace and of rows in blocks, against scikit-learn 1.9.1:
//! `tests/data/make_pca.py`.

use ndarray::{Array2, s};
use phenocoder_embed::pca::{
    IncrementalMethod, IncrementalPca, IncrementalPcaConfig, Pca, PcaConfig, PcaSolver,
};
use serde_json::Value;

use crate::golden::{matrix, max_difference};

const COMPONENTS: usize = 5;

fn golden() -> (Array2<f64>, Value) {
    let values: Value = serde_json::from_str(include_str!("../data/pca.json")).unwrap();
    (matrix(&values["x"]), values)
}

/// Components and means by their difference, variances and shares by their relative difference.
#[track_caller]
fn assert_equal(found: &Pca, expected: &Value, allowed: f64) {
    let error = max_difference(
        &found.components().to_owned(),
        &matrix(&expected["components"]),
    );
    assert!(error < allowed, "components: {error:e}");
    let ratio = found.explained_variance_ratio();
    for (name, found) in [
        ("mean", &found.mean().to_vec()),
        ("variance", &found.explained_variance().to_vec()),
        ("ratio", &ratio),
    ] {
        let expected: Vec<f64> = serde_json::from_value(expected[name].clone()).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(expected) {
            let error = (found - expected).abs() / expected.abs();
            assert!(error < allowed, "{name}: {found} {expected}");
        }
    }
}

#[test]
fn exact_components_are_those_of_scikit_learn() {
    let (x, values) = golden();
    for solver in [PcaSolver::Auto, PcaSolver::Covariance, PcaSolver::Gram] {
        let config = PcaConfig::new(COMPONENTS).with_solver(solver);
        let pca = Pca::fit(x.view(), &config).unwrap();
        assert_equal(&pca, &values["full"], 1e-10);
    }
}

#[test]
fn a_random_subspace_captures_what_that_of_scikit_learn_captures() {
    let (x, values) = golden();
    let config = PcaConfig::new(COMPONENTS)
        .with_solver(PcaSolver::Randomized)
        .with_power_iterations(7);
    let pca = Pca::fit(x.view(), &config).unwrap();
    let expected: Vec<f64> =
        serde_json::from_value(values["randomized"]["variance"].clone()).unwrap();
    let (found, expected) = (
        pca.explained_variance().iter().sum::<f64>(),
        expected.iter().sum::<f64>(),
    );
    assert!(found >= (1.0 - 1e-9) * expected, "{found} {expected}");
    // All components asked for stand out of the next one by a gap.
    assert_equal(&pca, &values["randomized"], 1e-6);
    assert_equal(&pca, &values["full"], 1e-6);
}

#[test]
fn components_of_rows_in_blocks_are_those_of_scikit_learn() {
    let (x, values) = golden();
    let runs = values["incremental"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    for run in runs {
        let config =
            IncrementalPcaConfig::new(COMPONENTS).with_method(IncrementalMethod::Truncated);
        let mut truncated = IncrementalPca::new(&config).unwrap();
        let mut exact = IncrementalPca::new(&IncrementalPcaConfig::new(COMPONENTS)).unwrap();
        let mut ends: Vec<usize> = serde_json::from_value(run["ends"].clone()).unwrap();
        ends.push(x.nrows());
        let mut start = 0;
        for end in ends {
            for state in [&mut truncated, &mut exact] {
                state.partial_fit(x.slice(s![start..end, ..])).unwrap();
            }
            start = end;
        }
        assert_equal(&truncated.finish().unwrap(), run, 1e-8);
        assert_equal(&exact.finish().unwrap(), &values["full"], 1e-10);
    }
}
