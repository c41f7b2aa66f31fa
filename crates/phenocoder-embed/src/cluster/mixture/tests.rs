use ndarray::{Array2, array, s};
use phenocoder_core::CancelToken;
use proptest::prelude::*;

use super::*;

const KINDS: [Covariance; 4] = [
    Covariance::Full,
    Covariance::Tied,
    Covariance::Diagonal,
    Covariance::Spherical,
];

fn find(x: &Array2<f64>, config: &MixtureConfig) -> Result<GaussianMixture> {
    gaussian_mixture(x.view(), config, &NoProgress)
}

/// Three groups of 40 rows of different width.
fn groups(p: usize, seed: u64) -> Array2<f64> {
    let mut stream = Seed::new(seed).stream("x", 0);
    Array2::from_shape_fn((120, p), |(i, j)| {
        let group = i % 3;
        6.0 * ((group + j) % 3) as f64 + (0.3 + 0.3 * group as f64) * stream.normal()
    })
}

#[track_caller]
fn assert_close(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>, allowed: f64) {
    assert_eq!(a.dim(), b.dim());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= allowed, "{a} {b}");
    }
}

#[test]
fn one_component_is_the_mean_and_the_covariance_of_all_rows() {
    // Mean (1, 2); squares about it 2 and 4, products 2, in four rows.
    let x = array![[0.0, 1.0], [2.0, 3.0], [1.0, 3.0], [1.0, 1.0]];
    for (kind, expected) in [
        (Covariance::Full, array![[0.5, 0.5], [0.5, 1.0]]),
        (Covariance::Tied, array![[0.5, 0.5], [0.5, 1.0]]),
        (Covariance::Diagonal, array![[0.5, 1.0]]),
        (Covariance::Spherical, array![[0.75]]),
    ] {
        let config = MixtureConfig::new(1)
            .with_covariance(kind)
            .with_regularization(0.0);
        let found = find(&x, &config).unwrap();
        assert_close(found.means(), array![[1.0, 2.0]].view(), 1e-14);
        assert_close(found.covariances(), expected.view(), 1e-14);
        assert_eq!(found.weights(), [1.0]);
        assert_eq!(found.clustering().labels, [0; 4]);
        assert!(found.converged());
        assert_eq!(found.iterations(), 2);
    }
}

#[test]
fn likelihood_and_criteria_equal_those_worked_out_by_hand() {
    // Variance 1 about 0: the mean log-density is −½ ln 2π − ½.
    let x = array![[-1.0], [1.0], [-1.0], [1.0]];
    let found = find(&x, &MixtureConfig::new(1).with_regularization(0.0)).unwrap();
    let expected = -0.5 * (2.0 * std::f64::consts::PI).ln() - 0.5;
    assert!((found.log_likelihood() - expected).abs() < 1e-14);
    assert_eq!(found.clustering().quality, found.log_likelihood());
    // A mean and a variance are free.
    let ln_4 = 4.0_f64.ln();
    assert!((found.bic() - (2.0 * ln_4 - 8.0 * expected)).abs() < 1e-12);
    assert!((found.aic() - (4.0 - 8.0 * expected)).abs() < 1e-12);
}

#[test]
fn free_numbers_are_counted_for_each_kind() {
    // Three components in two dimensions: six for means, two for weights.
    for (kind, covariances) in KINDS.into_iter().zip([9, 3, 6, 3]) {
        assert_eq!(kind.parameters(3, 2), covariances, "{kind:?}");
        let mixture = find(&groups(2, 1), &MixtureConfig::new(3).with_covariance(kind)).unwrap();
        let free = (mixture.aic() + 240.0 * mixture.log_likelihood()) / 2.0;
        assert!((free - (covariances + 8) as f64).abs() < 1e-9, "{kind:?}");
    }
}

#[test]
fn a_round_from_a_given_start_is_the_one_worked_out_by_hand() {
    // Both components weigh the middle alike, and the others all but to the one beside them.
    let x = array![[-40.0], [0.0], [40.0]];
    let start = MixtureStart::new(
        vec![0.5, 0.5],
        array![[-20.0], [20.0]],
        array![[1.0], [1.0]],
    );
    let config = MixtureConfig::new(2)
        .with_start(start)
        .with_iterations(1)
        .with_regularization(0.0)
        .with_covariance(Covariance::Spherical);
    let found = find(&x, &config).unwrap();
    // Means ∓40/1.5; variances (40² + 0.5 · 0)/1.5 − mean².
    let mean: f64 = 80.0 / 3.0;
    let variance = 1600.0 / 1.5 - mean * mean;
    assert_close(found.means(), array![[-mean], [mean]].view(), 1e-12);
    assert_close(
        found.covariances(),
        array![[variance], [variance]].view(),
        1e-10,
    );
    assert_eq!(found.clustering().labels, [0, 0, 1]);
    assert!(!found.converged());
    let given = found.probabilities(array![[0.0]].view()).unwrap();
    assert_close(given.view(), array![[0.5, 0.5]].view(), 1e-12);
}

#[test]
fn groups_are_found_by_every_kind_and_told_of_new_rows() {
    let x = groups(3, 5);
    for kind in KINDS {
        let config = MixtureConfig::new(3).with_covariance(kind).with_restarts(3);
        let found = find(&x, &config).unwrap();
        let labels = &found.clustering().labels;
        for i in 3..120 {
            assert_eq!(labels[i], labels[i % 3], "{kind:?}");
        }
        assert_eq!(&found.predict(x.view()).unwrap(), labels);
        assert_eq!(found.predict(x.slice(s![..0, ..])).unwrap(), [0_u32; 0]);
        let probabilities = found.probabilities(x.view()).unwrap();
        for row in probabilities.outer_iter() {
            assert!((row.sum() - 1.0).abs() < 1e-14);
        }
        assert_eq!(found.covariances().dim(), kind.shape(3, 3));
        assert_eq!(found.kind(), kind);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(
            serde_json::from_str::<GaussianMixture>(&text).unwrap(),
            found
        );
    }
}

#[test]
fn rounds_never_make_rows_less_likely() {
    let x = groups(2, 9) * array![[1.0, 0.4]];
    for kind in KINDS {
        let mut last = f64::NEG_INFINITY;
        for iterations in 1..15 {
            let config = MixtureConfig::new(4)
                .with_covariance(kind)
                .with_tolerance(0.0)
                .with_regularization(0.0)
                .with_iterations(iterations);
            let found = find(&x, &config).unwrap();
            assert!(found.log_likelihood() >= last - 1e-12, "{kind:?}");
            assert_eq!((found.iterations(), found.converged()), (iterations, false));
            last = found.log_likelihood();
        }
    }
}

#[test]
fn restarts_keep_the_likeliest() {
    let mut stream = Seed::new(2).stream("x", 0);
    let x = Array2::from_shape_fn((150, 2), |_| stream.normal());
    let likelihood = |restarts: usize| {
        let config = MixtureConfig::new(5).with_restarts(restarts);
        find(&x, &config).unwrap().log_likelihood()
    };
    let (one, eight) = (likelihood(1), likelihood(8));
    assert!(eight > one, "{one} {eight}");
}

#[test]
fn a_run_with_all_components_comes_before_a_likelier_one_with_fewer() {
    let run = |k: usize, log_likelihood: f64| {
        let weights = vec![1.0 / k as f64; k];
        let start = MixtureStart::new(weights, Array2::zeros((k, 1)), Array2::ones((k, 1)));
        Run {
            components: Gaussians::new(Covariance::Spherical, start).unwrap(),
            probabilities: Array2::zeros((4, k)),
            log_likelihood,
            iterations: 1,
            converged: false,
        }
    };
    assert!(run(3, -2.0).beats(&run(2, -1.0)));
    assert!(!run(2, -1.0).beats(&run(3, -2.0)));
    assert!(run(2, -1.0).beats(&run(2, -2.0)));
    assert!(!run(2, -1.0).beats(&run(2, -1.0)));
}

#[test]
fn duplicates_make_fewer_components_and_a_start_may_have_one_without_rows() {
    let x = array![[1.0], [1.0], [2.0]];
    let found = find(&x, &MixtureConfig::new(3)).unwrap();
    assert_eq!(found.weights().len(), 2);
    assert_eq!(found.clustering().labels, [0, 0, 1]);
    let start = MixtureStart::new(
        vec![0.4, 0.3, 0.3],
        array![[1e3], [2.0], [1.0]],
        array![[1.0], [0.1], [0.1]],
    );
    let found = find(&x, &MixtureConfig::new(3).with_start(start)).unwrap();
    assert_eq!(found.clustering().n_clusters, 2);
    assert_eq!(found.weights().len(), 3);
    assert!(found.weights()[2] < 1e-12);
    assert_eq!(found.predict(x.view()).unwrap(), [0, 0, 1]);
}

#[test]
fn a_constant_column_needs_regularization() {
    let x = array![[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]];
    for kind in [Covariance::Full, Covariance::Tied, Covariance::Diagonal] {
        let config = MixtureConfig::new(1).with_covariance(kind);
        assert!(find(&x, &config).is_ok());
        let result = find(&x, &config.with_regularization(0.0));
        assert!(matches!(result, Err(Error::Singular { .. })), "{kind:?}");
    }
}

#[test]
fn a_start_that_makes_no_sense_is_refused() {
    let x = groups(2, 1);
    let good = MixtureStart::new(
        vec![0.5, 0.5],
        Array2::zeros((2, 2)),
        array![[1.0, 0.0], [0.0, 1.0], [1.0, 0.5], [0.5, 1.0]],
    );
    let begin = |start: MixtureStart| find(&x, &MixtureConfig::new(2).with_start(start));
    assert!(begin(good.clone()).is_ok());
    let mut start = good.clone();
    start.weights = vec![0.5, 0.6];
    assert!(matches!(begin(start.clone()), Err(Error::Config(_))));
    start.weights = vec![1.5, -0.5];
    assert!(matches!(begin(start.clone()), Err(Error::Config(_))));
    start.weights = vec![1.0];
    assert!(matches!(begin(start), Err(Error::Config(_))));
    let mut start = good.clone();
    start.covariances[[2, 1]] = 0.4;
    assert!(matches!(begin(start.clone()), Err(Error::Config(_))));
    (start.covariances[[2, 1]], start.covariances[[3, 0]]) = (2.0, 2.0);
    assert!(matches!(begin(start.clone()), Err(Error::Singular { .. })));
    start.covariances[[0, 0]] = f64::NAN;
    assert!(matches!(begin(start.clone()), Err(Error::NotFinite { .. })));
    start.covariances = Array2::ones((2, 2));
    assert!(matches!(begin(start), Err(Error::Shape(_))));
    let mut start = good.clone();
    start.means = Array2::zeros((3, 2));
    assert!(matches!(begin(start.clone()), Err(Error::Shape(_))));
    start.means = Array2::zeros((2, 3));
    assert!(matches!(begin(start), Err(Error::Shape(_))));
    let config = MixtureConfig::new(2).with_start(MixtureStart::new(
        vec![1.0],
        array![[0.0]],
        array![[1.0]],
    ));
    assert!(matches!(find(&x, &config), Err(Error::Config(_))));
}

#[test]
fn starts_in_memory_column_by_column_are_the_same_starts() {
    let x = groups(2, 1);
    let by_columns = |values: &Array2<f64>| {
        let mut turned = Array2::<f64>::zeros((values.ncols(), values.nrows())).reversed_axes();
        turned.assign(values);
        assert!(!turned.is_standard_layout());
        turned
    };
    let means = array![[0.0, 6.0], [7.0, 11.0]];
    for (kind, covariances) in [
        (
            Covariance::Full,
            array![[1.0, 0.2], [0.2, 2.0], [3.0, -0.5], [-0.5, 1.0]],
        ),
        (Covariance::Tied, array![[1.0, 0.3], [0.3, 2.0]]),
        (Covariance::Diagonal, array![[1.0, 9.0], [0.5, 2.0]]),
    ] {
        let begin = |means: Array2<f64>, covariances: Array2<f64>| {
            let start = MixtureStart::new(vec![0.3, 0.7], means, covariances);
            let config = MixtureConfig::new(2)
                .with_covariance(kind)
                .with_iterations(1)
                .with_start(start);
            find(&x, &config).unwrap()
        };
        let turned = begin(by_columns(&means), by_columns(&covariances));
        assert_eq!(turned, begin(means.clone(), covariances), "{kind:?}");
    }
}

#[test]
fn matrices_of_a_start_are_symmetric_each_by_its_own_size() {
    let x = groups(2, 1);
    let begin = |off: f64| {
        let start = MixtureStart::new(
            vec![0.5, 0.5],
            Array2::zeros((2, 2)),
            array![[1.0, 0.4], [off, 1.0], [1e8, 0.0], [0.0, 1e8]],
        );
        find(&x, &MixtureConfig::new(2).with_start(start))
    };
    assert!(begin(0.4).is_ok());
    assert!(matches!(begin(-0.4), Err(Error::Config(_))));
}

#[test]
fn too_few_rows_and_those_that_are_no_numbers_are_refused() {
    let config = MixtureConfig::new(2);
    assert!(matches!(
        find(&array![[1.0], [f64::NAN]], &config),
        Err(Error::NotFinite { row: 1, .. })
    ));
    assert!(matches!(
        find(&array![[1.0]], &MixtureConfig::new(1)),
        Err(Error::TooFew { what: "rows", .. })
    ));
    assert!(matches!(
        find(&Array2::zeros((3, 0)), &config),
        Err(Error::TooFew {
            what: "columns",
            ..
        })
    ));
}

#[test]
fn rows_that_are_too_far_or_of_other_columns_are_refused() {
    let config = MixtureConfig::new(2);
    let far = array![[1e200], [-1e200], [0.0]];
    assert!(matches!(find(&far, &config), Err(Error::Overflow { .. })));
    let found = find(&groups(1, 1), &config).unwrap();
    assert!(matches!(
        found.predict(far.view()),
        Err(Error::Overflow { .. })
    ));
    assert!(matches!(
        found.predict(Array2::zeros((1, 2)).view()),
        Err(Error::Shape(_))
    ));
}

#[test]
fn fits_and_probabilities_can_be_stopped() {
    let stopped = CancelToken::new();
    stopped.cancel();
    let x = groups(1, 1);
    let result = gaussian_mixture(x.view(), &MixtureConfig::new(2), &stopped);
    assert!(matches!(result, Err(Error::Cancelled(_))));
    let found = find(&x, &MixtureConfig::new(2)).unwrap();
    let result = found.probabilities_with(x.view(), &stopped);
    assert!(matches!(result, Err(Error::Cancelled(_))));
    let all = found.probabilities_with(x.view(), &CancelToken::new());
    assert_eq!(all.unwrap(), found.probabilities(x.view()).unwrap());
}

#[test]
fn settings_out_of_range_are_refused() {
    let config = MixtureConfig::new(2);
    for config in [
        MixtureConfig::new(0),
        config.clone().with_iterations(0),
        config.clone().with_restarts(0),
        config.clone().with_tolerance(f64::NAN),
        config.clone().with_regularization(-1.0),
    ] {
        assert!(config.validate().is_err(), "{config:?}");
    }
}

#[test]
fn what_was_written_is_checked_when_it_is_read() {
    let found = find(&groups(1, 1), &MixtureConfig::new(2)).unwrap();
    let mut value = serde_json::to_value(&found).unwrap();
    let covariances = &mut value["components"]["parameters"]["covariances"]["values"];
    covariances[0] = (-1.0).into();
    let error = serde_json::from_value::<GaussianMixture>(value).unwrap_err();
    assert!(error.to_string().contains("unique"), "{error}");
    let mut value = serde_json::to_value(&found).unwrap();
    value["clustering"]["labels"][3] = 7.into();
    let error = serde_json::from_value::<GaussianMixture>(value).unwrap_err();
    assert!(error.to_string().contains("`labels`"), "{error}");
    // Clusters without a component, whose mean a caller would look for.
    let mut value = serde_json::to_value(&found).unwrap();
    value["clustering"]["labels"] = (0..120_u32).map(|i| i % 5).collect();
    value["clustering"]["n_clusters"] = 5.into();
    let error = serde_json::from_value::<GaussianMixture>(value).unwrap_err();
    assert!(error.to_string().contains("`n_clusters`"), "{error}");
    let parts = |quality: f64| Parts {
        components: found.components.clone(),
        clustering: Clustering {
            quality,
            ..found.clustering().clone()
        },
        iterations: 1,
        converged: true,
        _log_likelihood: None,
    };
    assert_eq!(
        GaussianMixture::try_from(parts(-0.5))
            .unwrap()
            .log_likelihood(),
        -0.5
    );
    let refused = GaussianMixture::try_from(parts(f64::NAN));
    assert!(matches!(refused, Err(Error::Config(_))));
    // As it was written before, and what never was.
    let mut value = serde_json::to_value(&found).unwrap();
    value["log_likelihood"] = found.log_likelihood().into();
    let read: GaussianMixture = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(read, found);
    value["likelihood"] = 0.5.into();
    assert!(serde_json::from_value::<GaussianMixture>(value).is_err());
    let text = r#"{"n_components": 3, "covariance": "tied"}"#;
    let config: MixtureConfig = serde_json::from_str(text).unwrap();
    assert_eq!(
        config,
        MixtureConfig::new(3).with_covariance(Covariance::Tied)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_order_of_rows_and_a_shift_of_all_do_not_matter(
        order in Just((0..120).collect::<Vec<usize>>()).prop_shuffle(),
        shift in -1e3..1e3_f64,
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        let x = groups(2, 3);
        let moved = x.select(ndarray::Axis(0), &order) + shift;
        let covariances = match kind {
            Covariance::Full => array![[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]],
            Covariance::Tied => Array2::eye(2),
            _ => Array2::ones(kind.shape(2, 2)),
        };
        let means = array![[1.0, 2.0], [9.0, 9.0]];
        let begin = |x: &Array2<f64>, means: Array2<f64>| {
            let start = MixtureStart::new(vec![0.3, 0.7], means, covariances.clone());
            find(x, &MixtureConfig::new(2).with_covariance(kind).with_start(start)).unwrap()
        };
        let (a, b) = (begin(&x, means.clone()), begin(&moved, means + shift));
        prop_assert_eq!(a.iterations(), b.iterations());
        prop_assert!((a.log_likelihood() - b.log_likelihood()).abs() < 1e-8);
        for (row, &old) in order.iter().enumerate() {
            prop_assert_eq!(b.clustering().labels[row], a.clustering().labels[old]);
        }
        for (a, b) in a.covariances().iter().zip(b.covariances()) {
            prop_assert!((a - b).abs() < 1e-6);
        }
    }
}
