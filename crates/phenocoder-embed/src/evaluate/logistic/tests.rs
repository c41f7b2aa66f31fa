use ndarray::{Axis, array};
use phenocoder_core::{CancelToken, NoProgress, Seed};
use proptest::prelude::*;

use super::*;

fn fit(x: &Array2<f64>, labels: &[u32], config: &LogisticConfig) -> Result<LogisticRegression> {
    LogisticRegression::fit(x.view(), labels, config, &NoProgress)
}

/// Rows of overlapping classes, in columns of the given units, and their labels.
fn overlapping(seed: u64, n: usize, classes: usize, units: &[f64]) -> (Array2<f64>, Vec<u32>) {
    let mut stream = Seed::new(seed).stream("rows", 0);
    let labels: Vec<u32> = (0..n).map(|i| 3 * (i % classes) as u32 + 1).collect();
    let x = Array2::from_shape_fn((n, units.len()), |(i, j)| {
        let class = (i % classes) as f64;
        units[j] * (class * (j + 1) as f64 * 0.4 + stream.normal() + 5.0)
    });
    (x, labels)
}

#[test]
fn one_coefficient_equals_the_one_worked_out_by_hand() {
    // ½ w² + 2 C ln(1 + e^(−w)) is least where w = 2 C / (1 + e^w): at 1 for C = (1 + e) / 2.
    let x = array![[-1.0], [1.0]];
    let config = LogisticConfig::default().with_c((1.0 + std::f64::consts::E) / 2.0);
    let model = fit(&x, &[4, 6], &config).unwrap();
    assert_eq!(model.classes(), [4, 6]);
    assert_eq!(model.coefficients().dim(), (1, 1));
    assert!(
        (model.coefficients()[[0, 0]] - 1.0).abs() < 1e-9,
        "{model:?}"
    );
    assert!(model.intercepts()[0].abs() < 1e-9, "{model:?}");
    let found = model
        .predict(array![[-0.5], [2.0]].view(), &NoProgress)
        .unwrap();
    assert_eq!(found.labels, [4, 6]);
    let p = 1.0 / (1.0 + (-2.0_f64).exp());
    assert!((found.probabilities[[1, 1]] - p).abs() < 1e-9);
}

#[test]
fn rows_may_lie_in_memory_column_by_column() {
    let (x, labels) = overlapping(2, 60, 3, &[1.0, 0.1, 30.0]);
    let turned = x.t().as_standard_layout().into_owned();
    let by_columns = turned.reversed_axes();
    assert!(!by_columns.is_standard_layout());
    let config = LogisticConfig::default();
    let expected = fit(&x, &labels, &config).unwrap();
    assert_eq!(fit(&by_columns, &labels, &config).unwrap(), expected);
}

#[test]
fn columns_that_say_nothing_have_no_coefficient_and_leave_the_shares_of_the_classes() {
    let x = Array2::from_shape_fn((10, 2), |(_, j)| [0.1, 1e9][j]);
    let labels = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2];
    let model = fit(&x, &labels, &LogisticConfig::default()).unwrap();
    assert!(model.coefficients().iter().all(|&w| w == 0.0), "{model:?}");
    let found = model.predict(x.view(), &NoProgress).unwrap();
    for (p, share) in found.probabilities.row(3).iter().zip([0.5, 0.3, 0.2]) {
        assert!((p - share).abs() < 1e-9, "{found:?}");
    }
    let none = fit(&Array2::zeros((10, 0)), &labels, &LogisticConfig::default()).unwrap();
    let found = none
        .predict(Array2::zeros((1, 0)).view(), &NoProgress)
        .unwrap();
    assert!(
        (found.probabilities[[0, 1]] - 0.3).abs() < 1e-9,
        "{found:?}"
    );
}

#[test]
fn classes_that_a_line_parts_have_a_minimum_too() {
    let (x, labels) = overlapping(1, 60, 3, &[1.0, 1.0]);
    let apart = Array2::from_shape_fn(x.dim(), |(i, j)| x[[i, j]] + 50.0 * f64::from(labels[i]));
    for c in [1e-6, 1.0, 1e6] {
        let model = fit(&apart, &labels, &LogisticConfig::default().with_c(c)).unwrap();
        let found = model.predict(apart.view(), &NoProgress).unwrap();
        assert_eq!(found.labels, labels, "C = {c}");
    }
}

#[test]
fn a_minimum_in_an_almost_flat_valley_is_found() {
    // A line nearly parts these classes.
    let units = [1.0, 1.0, 0.01, 100.0];
    let (x, labels) = overlapping(10, 20, 4, &units);
    let config = LogisticConfig::default().with_c(10_f64.powf(2.055_454_720_271_041));
    let model = fit(&x, &labels, &config.with_iterations(150)).unwrap();
    assert!(model.coefficients().iter().all(|w| w.is_finite()));
}

#[test]
fn settings_out_of_range_are_refused() {
    let (x, labels) = overlapping(2, 30, 3, &[1.0, 1.0]);
    let config = LogisticConfig::default();
    for broken in [
        config.with_c(0.0),
        config.with_c(f64::INFINITY),
        config.with_tolerance(f64::NAN),
        config.with_iterations(0),
    ] {
        let error = fit(&x, &labels, &broken).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
}

#[test]
fn rows_that_cannot_be_fitted_are_refused() {
    let (x, labels) = overlapping(2, 30, 3, &[1.0, 1.0]);
    let config = LogisticConfig::default();
    let error = fit(&x, &labels[1..], &config).unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
    let error = fit(&x, &[5; 30], &config).unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooFew {
                needed: 2,
                found: 1,
                ..
            }
        ),
        "{error}"
    );
    let ids: Vec<u32> = (0..20_000).collect();
    let error = fit(&Array2::zeros((20_000, 1)), &ids, &config).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    let error = fit(&Array2::zeros((0, 2)), &[], &config).unwrap_err();
    assert!(matches!(error, Error::TooFew { found: 0, .. }), "{error}");
    let mut nan = x.clone();
    nan[[4, 1]] = f64::NAN;
    let error = fit(&nan, &labels, &config).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotFinite {
                row: 4,
                column: 1,
                ..
            }
        ),
        "{error}"
    );
    let error = fit(&(&x * 1e200), &labels, &config).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error}");
    let error = fit(&x, &labels, &config.with_c(f64::MAX)).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error}");
}

#[test]
fn a_search_that_does_not_come_to_an_end_is_an_error() {
    let (x, labels) = overlapping(2, 30, 3, &[1.0, 1.0]);
    let config = LogisticConfig::default();
    let error = fit(&x, &labels, &config.with_iterations(2)).unwrap_err();
    assert!(
        matches!(error, Error::NotConverged { iterations: 2, .. }),
        "{error}"
    );
    let error = fit(&x, &labels, &config.with_tolerance(1e-30)).unwrap_err();
    assert!(matches!(error, Error::NotConverged { .. }), "{error}");
    let token = CancelToken::new();
    token.cancel();
    let error = LogisticRegression::fit(x.view(), &labels, &config, &token).unwrap_err();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");
}

#[test]
fn rows_that_cannot_be_predicted_are_refused() {
    let (x, labels) = overlapping(2, 30, 3, &[1.0, 1.0]);
    let config = LogisticConfig::default();
    let model = fit(&x, &labels, &config).unwrap();
    let error = model
        .predict(array![[1.0]].view(), &NoProgress)
        .unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
    let nan = array![[1.0, 2.0], [1.0, f64::NAN]];
    let error = model.predict(nan.view(), &NoProgress).unwrap_err();
    assert!(matches!(error, Error::NotFinite { row: 1, .. }), "{error}");
    let huge = Array2::from_elem((1, 2), f64::MAX);
    let steep = fit(&(&x * 1e-3), &labels, &config.with_c(1e6)).unwrap();
    let error = steep.predict(huge.view(), &NoProgress).unwrap_err();
    assert!(matches!(error, Error::Overflow { .. }), "{error}");
    let token = CancelToken::new();
    token.cancel();
    let error = model.predict(x.view(), &token).unwrap_err();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");
}

#[test]
fn second_derivatives_of_many_rows_can_be_stopped() {
    let (x, labels) = overlapping(2, 30, 3, &[1.0, 1.0]);
    let problem = Problem {
        x,
        places: ranked(&labels).0,
        ridge: vec![1.0; 2],
        classes: 3,
    };
    let d = problem.dimension();
    let (at, mut sums) = (vec![0.1; d], vec![0.0; d * d]);
    let token = CancelToken::new();
    token.cancel();
    problem.add_curvature(&at, 0..30, &mut sums, &token);
    assert!(sums.iter().all(|&sum| sum == 0.0));
    let stopped = problem.curvature(&at, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
    assert!(problem.curvature(&at, &NoProgress).is_ok());
}

#[test]
fn a_model_is_written_and_read_back_and_checked() {
    let (x, labels) = overlapping(3, 30, 3, &[1.0]);
    let model = fit(&x, &labels, &LogisticConfig::default()).unwrap();
    let text = serde_json::to_string(&model).unwrap();
    assert_eq!(
        serde_json::from_str::<LogisticRegression>(&text).unwrap(),
        model
    );
    for (from, to) in [
        ("[1,4,7]", "[1,4]"),
        ("[1,4,7]", "[1,4,4]"),
        ("[1,4,7]", "[1,4,7,8]"),
        ("\"c\":1.0", "\"c\":-1.0"),
        ("\"intercepts\":[", "\"intercepts\":[0.5,"),
        ("\"classes\"", "\"class\""),
    ] {
        let broken = text.replace(from, to);
        assert_ne!(broken, text);
        let read = serde_json::from_str::<LogisticRegression>(&broken);
        assert!(read.is_err(), "{broken}");
    }
}

proptest! {
    #[test]
    fn the_gradient_of_the_definition_is_zero_in_any_units(
        seed in 0_u64..1000,
        n in 20_usize..80,
        classes in 2_usize..5,
        log_c in -3.0_f64..3.0,
        units in prop::collection::vec(-4_i32..5, 1..5),
    ) {
        let units: Vec<f64> = units.into_iter().map(|power| 10_f64.powi(power)).collect();
        let (x, labels) = overlapping(seed, n, classes, &units);
        let c = 10_f64.powf(log_c);
        let model = fit(&x, &labels, &LogisticConfig::default().with_c(c)).unwrap();
        let p = model.predict(x.view(), &NoProgress).unwrap().probabilities;
        let (w, first) = (model.coefficients(), classes - model.intercepts().len());
        for (k, w) in w.outer_iter().enumerate() {
            let class = model.classes()[first + k];
            let excess: Vec<f64> = (0..n).map(|i| p[[i, first + k]] - f64::from(labels[i] == class)).collect();
            let slope = excess.iter().sum::<f64>() / n as f64;
            prop_assert!(slope.abs() < 1e-8, "intercept: {slope}");
            for (j, unit) in units.iter().enumerate() {
                let slope: f64 = (0..n).map(|i| excess[i] * (x[[i, j]] - 5.0 * unit)).sum();
                let slope = (slope + w[j] / c) / n as f64;
                // In the unit of the column, or of the penalty where that is all that counts.
                let scale = unit.max(1.0 / (c * n as f64).sqrt());
                prop_assert!(slope.abs() < 1e-8 * scale, "column {j}: {slope}, {scale}");
            }
        }
    }

    #[test]
    fn order_of_rows_and_names_of_labels_do_not_matter(seed in 0_u64..1000, classes in 2_usize..5) {
        let (x, labels) = overlapping(seed, 40, classes, &[1.0, 3.0, 0.5]);
        let order = Seed::new(seed).stream("order", 0).permutation(40);
        let renamed: Vec<u32> = order.iter().map(|&i| 100 - 7 * labels[i]).collect();
        let config = LogisticConfig::default();
        let a = fit(&x, &labels, &config).unwrap().predict(x.view(), &NoProgress).unwrap();
        let b = fit(&x.select(Axis(0), &order), &renamed, &config).unwrap();
        let b = b.predict(x.view(), &NoProgress).unwrap();
        for (row, other) in a.probabilities.outer_iter().zip(b.probabilities.outer_iter()) {
            for (p, q) in row.iter().zip(other.iter().rev()) {
                prop_assert!((p - q).abs() < 1e-7, "{p} {q}");
            }
        }
        let names: Vec<u32> = a.labels.iter().map(|label| 100 - 7 * label).collect();
        prop_assert_eq!(names, b.labels);
    }
}
