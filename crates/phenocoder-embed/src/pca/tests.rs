use ndarray::array;
use phenocoder_core::{CancelToken, Cancelled, Seed};
use proptest::prelude::*;

use super::*;

fn random(n: usize, p: usize) -> Array2<f64> {
    let mut stream = Seed::new(5).stream("data", 0);
    Array2::from_shape_fn((n, p), |(_, j)| stream.normal() * (1.0 + j as f64))
}

fn fit(x: &Array2<f64>, k: usize, solver: PcaSolver) -> Pca {
    Pca::fit(x.view(), &PcaConfig::new(k).with_solver(solver)).unwrap()
}

#[test]
fn both_solvers_agree_in_direction_sign_and_variance() {
    for (n, p) in [(40, 6), (7, 20)] {
        let x = random(n, p);
        let k = n.min(p) - 1;
        let a = fit(&x, k, PcaSolver::Covariance);
        let b = fit(&x, k, PcaSolver::Gram);
        let difference = &a.components() - &b.components();
        assert!(difference.iter().all(|d| d.abs() < 1e-10), "{n} × {p}");
        for (u, v) in a.explained_variance().iter().zip(b.explained_variance()) {
            assert!((u - v).abs() < 1e-10 * u);
        }
    }
}

#[test]
fn components_are_orthonormal_even_without_variance() {
    let mut x = random(5, 8);
    x.row_mut(4)
        .assign(&array![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    let copy = x.row(0).to_owned();
    x.row_mut(1).assign(&copy);
    for data in [x, Array2::zeros((5, 8)), Array2::from_elem((9, 4), 3.25)] {
        for solver in [PcaSolver::Covariance, PcaSolver::Gram] {
            let pca = fit(&data, 8, solver);
            let product = pca.components().dot(&pca.components().t());
            let expected = Array2::<f64>::eye(pca.n_components());
            assert!((&product - &expected).iter().all(|d| d.abs() < 1e-10));
            assert!(pca.explained_variance().windows(2).all(|w| w[0] >= w[1]));
            assert!(pca.explained_variance_ratio().iter().all(|r| r.is_finite()));
        }
    }
}

#[test]
fn rows_that_are_all_the_same_have_no_variance_by_any_solver() {
    // Values whose mean is rounded where they are added, and whose sum is beyond any number.
    for value in [0.1, 1.7e308] {
        for n in [2, 3, 6, 7, 100, 300] {
            let x = Array2::from_elem((n, 3), value);
            for solver in [
                PcaSolver::Auto,
                PcaSolver::Covariance,
                PcaSolver::Gram,
                PcaSolver::Randomized,
            ] {
                let pca = fit(&x, 2, solver);
                assert_eq!(pca.mean(), array![value, value, value], "{solver:?} {n}");
                assert_eq!(pca.total_variance(), 0.0, "{solver:?} {n}");
                assert_eq!(pca.explained_variance_ratio(), [0.0; 2]);
            }
        }
    }
}

#[test]
fn differences_whose_squares_are_too_small_for_numbers_are_no_variance() {
    let x = array![[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]];
    for solver in [
        PcaSolver::Covariance,
        PcaSolver::Gram,
        PcaSolver::Randomized,
    ] {
        let lost = fit(&(&x * 1e-170), 1, solver);
        assert_eq!(lost.explained_variance(), [0.0]);
        let kept = fit(&(&x * 1e-150), 1, solver);
        assert!((kept.components()[[0, 1]] - 0.8_f64.sqrt()).abs() < 1e-10);
    }
}

#[test]
fn all_components_give_the_rows_back() {
    let x = random(30, 4);
    let pca = fit(&x, 99, PcaSolver::Auto);
    assert_eq!(pca.n_components(), 4);
    let scores = pca.transform(x.view()).unwrap();
    let back = pca.inverse_transform(scores.view()).unwrap();
    assert!((&back - &x).iter().all(|d| d.abs() < 1e-10));
    let sum: f64 = pca.explained_variance_ratio().iter().sum();
    assert!((sum - 1.0).abs() < 1e-12);
}

#[test]
fn components_survive_json_to_the_bit_and_what_they_cannot_be_is_refused() {
    let pca = fit(&random(20, 4), 3, PcaSolver::Auto);
    let text = serde_json::to_string(&pca).unwrap();
    assert_eq!(serde_json::from_str::<Pca>(&text).unwrap(), pca);
    let refused = |change: &dyn Fn(&mut Parts)| {
        let mut parts: Parts = serde_json::from_str(&text).unwrap();
        change(&mut parts);
        Pca::try_from(parts).unwrap_err()
    };
    let error = refused(&|parts| parts.mean.truncate(3));
    assert!(matches!(error, Error::Shape(_)), "{error}");
    let error = refused(&|parts| parts.mean[2] = f64::INFINITY);
    assert!(
        matches!(error, Error::NotFinite { column: 2, .. }),
        "{error}"
    );
    let error = refused(&|parts| parts.components[[1, 3]] = f64::NAN);
    let is_named = matches!(
        error,
        Error::NotFinite {
            row: 1,
            column: 3,
            ..
        }
    );
    assert!(is_named, "{error}");
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        let error = refused(&|parts| parts.variance[2] = value);
        assert!(matches!(error, Error::Config(_)), "{error}");
        let error = refused(&|parts| parts.total_variance = value);
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
}

#[test]
fn bad_input_is_refused() {
    let config = PcaConfig::new(2);
    let refused = |x: Array2<f64>| Pca::fit(x.view(), &config).unwrap_err();
    for (n, wrong) in [(9000, 0), (9000, 8999), (3, 1)] {
        let mut x = random(n, 6);
        x[[wrong, 5]] = f64::NAN;
        let error = refused(x);
        assert!(
            matches!(error, Error::NotFinite { row, column: 5, .. } if row == wrong),
            "{error}"
        );
    }
    // Means of finite values may be none either.
    let mut far = Array2::from_elem((300, 2), 1.7e308);
    far[[7, 0]] = -1.7e308;
    assert!(matches!(refused(far), Error::Overflow { .. }));
    assert!(matches!(
        refused(array![[1.0, 2.0]]),
        Error::TooFew {
            what: "rows",
            found: 1,
            ..
        }
    ));
    assert!(matches!(
        refused(array![[1.0], [f64::INFINITY]]),
        Error::NotFinite {
            row: 1,
            column: 0,
            ..
        }
    ));
    assert!(matches!(
        refused(Array2::zeros((3, 0))),
        Error::TooFew {
            what: "columns",
            found: 0,
            ..
        }
    ));
    let huge = random(5, 3) * 1e200;
    assert!(matches!(refused(huge), Error::Overflow { .. }));
    let pca = fit(&random(5, 3), 2, PcaSolver::Auto);
    assert!(matches!(
        pca.transform(random(5, 4).view()),
        Err(Error::Shape(_))
    ));
}

#[test]
fn settings_out_of_range_are_refused() {
    for (config, name) in [
        (PcaConfig::new(0), "n_components"),
        (
            PcaConfig::new(1).with_power_iterations(1001),
            "power_iterations",
        ),
    ] {
        assert_eq!(config.validate().unwrap_err().setting, name);
        assert!(matches!(
            Pca::fit(random(5, 3).view(), &config),
            Err(Error::Config(_))
        ));
    }
    let most = PcaConfig::new(1).with_power_iterations(1000);
    assert!(most.validate().is_ok());
}

#[test]
fn the_total_variance_is_that_of_all_columns() {
    let x = random(30, 4);
    let pca = fit(&x, 1, PcaSolver::Auto);
    let expected: f64 = x.var_axis(Axis(0), 1.0).sum();
    assert!((pca.total_variance() - expected).abs() < 1e-12 * expected);
    let share = pca.explained_variance()[0] / pca.total_variance();
    assert_eq!(pca.explained_variance_ratio(), [share]);
}

#[test]
fn variances_beyond_the_digits_of_the_largest_are_rounding() {
    // The second deviation is 1e-9 of the first.
    let x = Array2::from_shape_fn((100, 2), |(i, j)| match j {
        0 => 1e8 * (i % 2) as f64,
        _ => 0.1 * (i / 2 % 2) as f64,
    });
    for solver in [PcaSolver::Covariance, PcaSolver::Gram] {
        let pca = fit(&x, 2, solver);
        let (largest, other) = (pca.explained_variance()[0], pca.explained_variance()[1]);
        assert!(largest > 2e15);
        assert!(other < 5e-15 * largest, "{other}");
        let product = pca.components().dot(&pca.components().t());
        assert!(
            (&product - &Array2::<f64>::eye(2))
                .iter()
                .all(|d| d.abs() < 1e-12)
        );
    }
}

#[test]
fn scores_and_rows_that_are_no_numbers_are_refused() {
    let pca = fit(
        &array![[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]],
        1,
        PcaSolver::Auto,
    );
    let far = array![[1.7e308, 1.7e308]];
    let overflow = Error::Overflow { method: METHOD };
    assert_eq!(pca.transform(far.view()), Err(overflow));
    for wrong in [f64::NAN, f64::INFINITY] {
        let error = pca.inverse_transform(array![[wrong]].view()).unwrap_err();
        assert!(matches!(
            error,
            Error::NotFinite {
                row: 0,
                column: 0,
                ..
            }
        ));
    }
    let wide = pca
        .inverse_transform(array![[1.0, 2.0]].view())
        .unwrap_err();
    assert!(wide.to_string().contains("scores"), "{wide}");
    let (mean, components) = (vec![1e308], array![[1.0]]);
    let parts = Parts {
        mean,
        components,
        variance: vec![1.0],
        total_variance: 1.0,
    };
    let shifted = Pca::try_from(parts).unwrap();
    let beyond = shifted.inverse_transform(array![[1e308]].view());
    assert_eq!(beyond, Err(Error::Overflow { method: METHOD }));
}

#[test]
fn directions_stop_being_made_orthonormal_when_asked() {
    let stopped = CancelToken::new();
    stopped.cancel();
    let found = Directions::new(vec![1.0], Array2::eye(1), 1.0, &stopped);
    assert_eq!(found.err(), Some(Cancelled));
}

#[test]
fn every_solver_stops_when_asked() {
    let stopped = CancelToken::new();
    stopped.cancel();
    for solver in [
        PcaSolver::Covariance,
        PcaSolver::Gram,
        PcaSolver::Randomized,
    ] {
        let config = PcaConfig::new(2).with_solver(solver);
        let result = Pca::fit_with(random(9, 4).view(), &config, &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))), "{solver:?}");
    }
}

#[test]
fn scores_and_rows_of_them_stop_when_asked() {
    let x = random(9, 4);
    let pca = fit(&x, 2, PcaSolver::Auto);
    let (going, stopped) = (CancelToken::new(), CancelToken::new());
    stopped.cancel();
    let scores = pca.transform(x.view()).unwrap();
    assert_eq!(pca.transform_with(x.view(), &going).as_ref(), Ok(&scores));
    let result = pca.transform_with(x.view(), &stopped);
    assert!(matches!(result, Err(Error::Cancelled(_))));
    let rows = pca.inverse_transform(scores.view());
    assert_eq!(pca.inverse_transform_with(scores.view(), &going), rows);
    let result = pca.inverse_transform_with(scores.view(), &stopped);
    assert!(matches!(result, Err(Error::Cancelled(_))));
}

/// Rows with these standard deviations along random directions.
fn with_spread(n: usize, spreads: &[f64], seed: u64) -> Array2<f64> {
    let p = spreads.len();
    let mut stream = Seed::new(seed).stream("data", 0);
    let turn = Array2::from_shape_fn((p, p), |_| stream.normal());
    let scores = Array2::from_shape_fn((n, p), |(_, j)| stream.normal() * spreads[j]);
    scores.dot(&turn) + 5.0
}

#[test]
fn the_randomized_solver_captures_what_the_exact_one_does() {
    let spreads: Vec<f64> = (0..80).map(|i| 0.8_f64.powi(i) + 0.01).collect();
    for (n, p) in [(200, 80), (50, 80)] {
        let x = with_spread(n, &spreads, 3);
        assert_eq!(x.dim(), (n, p));
        let exact = fit(&x, 6, PcaSolver::Auto);
        let found = fit(&x, 6, PcaSolver::Randomized);
        let sum = |pca: &Pca| pca.explained_variance().iter().sum::<f64>();
        assert!(sum(&found) >= (1.0 - 1e-6) * sum(&exact), "{n} × {p}");
        assert!(sum(&found) <= (1.0 + 1e-12) * sum(&exact), "{n} × {p}");
        let difference = &exact.components() - &found.components();
        assert!(difference.iter().all(|d| d.abs() < 1e-6), "{n} × {p}");
        for (a, b) in exact
            .explained_variance_ratio()
            .iter()
            .zip(found.explained_variance_ratio())
        {
            assert!((a - b).abs() < 1e-9);
        }
        let config = PcaConfig::new(6).with_solver(PcaSolver::Randomized);
        let other = Pca::fit(x.view(), &config.clone().with_seed(Seed::new(9))).unwrap();
        assert_ne!(other, found, "another start");
        let coarse = config.with_oversamples(0).with_power_iterations(0);
        let coarse = Pca::fit(x.view(), &coarse).unwrap();
        assert!(
            sum(&coarse) < (1.0 - 1e-6) * sum(&exact),
            "the settings count"
        );
    }
}

#[test]
fn the_solver_is_chosen_by_the_number_of_multiplications() {
    let ten = PcaConfig::new(10);
    let of = |config: &PcaConfig, n, p| config.solver_for(n, p);
    assert_eq!(of(&ten, 5000, 1000), PcaSolver::Covariance);
    assert_eq!(of(&ten, 5000, 1001), PcaSolver::Randomized);
    assert_eq!(of(&ten, 1001, 5000), PcaSolver::Randomized);
    assert_eq!(of(&ten, 1000, 5000), PcaSolver::Gram);
    // (4 · 7 + 6) (50 + 10) = 2040.
    assert_eq!(of(&PcaConfig::new(50), 5000, 2040), PcaSolver::Covariance);
    assert_eq!(of(&PcaConfig::new(50), 5000, 2041), PcaSolver::Randomized);
    let most = PcaConfig::new(usize::MAX).with_power_iterations(usize::MAX);
    assert_eq!(of(&most, 5000, 2000), PcaSolver::Covariance);
    let given = ten.with_solver(PcaSolver::Gram);
    assert_eq!(of(&given, 5000, 2000), PcaSolver::Gram);
}

#[test]
fn settings_written_without_the_randomized_solver_are_still_read() {
    let old: PcaConfig = serde_json::from_str(r#"{"n_components": 3, "solver": "gram"}"#).unwrap();
    assert_eq!(old, PcaConfig::new(3).with_solver(PcaSolver::Gram));
    let new = old
        .with_power_iterations(2)
        .with_seed(Seed::new(4))
        .with_oversamples(3);
    let text = serde_json::to_string(&new).unwrap();
    assert_eq!(serde_json::from_str::<PcaConfig>(&text).unwrap(), new);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn components_are_orthonormal_and_explain_their_variance_whatever_repeats(
        seed in any::<u64>(),
        n in 2_usize..40,
        p in 1_usize..30,
        k in 1_usize..30,
        copies in 1_usize..4,
        levels in 1_usize..3,
    ) {
        // Rows and columns that repeat, columns without variance, few values: equal and zero eigenvalues.
        let mut stream = Seed::new(seed).stream("data", 0);
        let few = Array2::from_shape_fn((n, p), |_| stream.below(levels + 1) as f64);
        let x = Array2::from_shape_fn((n, p), |(i, j)| few[[i / copies, j - j % copies]]);
        for solver in [PcaSolver::Covariance, PcaSolver::Gram, PcaSolver::Randomized] {
            let pca = fit(&x, k, solver);
            let k = k.min(n).min(p);
            let product = pca.components().dot(&pca.components().t());
            prop_assert!((&product - &Array2::<f64>::eye(k)).iter().all(|d| d.abs() < 1e-10));
            let scores = pca.transform(x.view()).unwrap();
            for (score, variance) in scores.columns().into_iter().zip(pca.explained_variance()) {
                let found = score.dot(&score) / (n - 1) as f64;
                prop_assert!((found - variance).abs() < 1e-12 * n as f64 * p as f64, "{solver:?}");
            }
            let shares: f64 = pca.explained_variance_ratio().iter().sum();
            prop_assert!(shares < 1.0 + 1e-12);
            if solver != PcaSolver::Randomized && k == n.min(p) && pca.explained_variance()[0] > 0.0 {
                prop_assert!(shares > 1.0 - 1e-12, "{shares}");
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(seed in any::<u64>()) {
        let x = with_spread(60, &[5.0, 3.0, 2.0, 1.0], seed);
        let order = Seed::new(seed).stream("order", 0).permutation(60);
        let a = fit(&x, 2, PcaSolver::Auto);
        let b = fit(&x.select(Axis(0), &order), 2, PcaSolver::Auto);
        let v = fit(&x, 4, PcaSolver::Auto).explained_variance().to_vec();
        prop_assume!(v.windows(2).all(|w| w[0] - w[1] > 0.01 * v[0]));
        let difference = &a.components() - &b.components();
        prop_assert!(difference.iter().all(|d| d.abs() < 1e-10));
    }
}
