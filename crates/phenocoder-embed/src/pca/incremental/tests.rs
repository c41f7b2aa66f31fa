use ndarray::{array, s};
use phenocoder_core::{CancelToken, Seed};
use proptest::prelude::*;

use super::*;
use crate::pca::PcaConfig;

fn random(n: usize, p: usize, seed: u64) -> Array2<f64> {
    let mut stream = Seed::new(seed).stream("data", 0);
    // Far from the origin, so that the means matter.
    Array2::from_shape_fn((n, p), |(_, j)| {
        30.0 + stream.normal() * 1.5_f64.powi(j as i32)
    })
}

fn in_blocks(x: &Array2<f64>, ends: &[usize], config: &IncrementalPcaConfig) -> IncrementalPca {
    let mut growing = IncrementalPca::new(config).unwrap();
    let mut start = 0;
    for &end in ends.iter().chain([&x.nrows()]) {
        growing.partial_fit(x.slice(s![start..end, ..])).unwrap();
        start = end;
    }
    growing
}

fn truncated(n_components: usize) -> IncrementalPcaConfig {
    IncrementalPcaConfig::new(n_components).with_method(IncrementalMethod::Truncated)
}

/// Largest difference of means, components and variances, the latter relative to the first.
fn difference(a: &Pca, b: &Pca) -> f64 {
    let of = |a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>| {
        (&a - &b).fold(0.0_f64, |m, d| m.max(d.abs()))
    };
    let variances = |pca: &Pca| Array1::from(pca.explained_variance().to_vec());
    let (u, v) = (variances(a), variances(b));
    assert_eq!(a.components().dim(), b.components().dim());
    let shares = |pca: &Pca| Array1::from(pca.explained_variance_ratio());
    let components = (&a.components() - &b.components()).fold(0.0_f64, |m, d| m.max(d.abs()));
    [
        of(a.mean(), b.mean()),
        of(u.view(), v.view()) / u[0].max(f64::MIN_POSITIVE),
        of(shares(a).view(), shares(b).view()),
        components,
    ]
    .into_iter()
    .fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sums_of_products_give_the_components_of_all_rows_for_any_blocks(
        seed in any::<u64>(),
        n in 2_usize..80,
        p in 1_usize..9,
        k in 1_usize..10,
        cuts in prop::collection::vec(0_usize..80, 0..7),
    ) {
        let x = random(n, p, seed);
        let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(n)).collect();
        ends.sort_unstable();
        let growing = in_blocks(&x, &ends, &IncrementalPcaConfig::new(k));
        prop_assert_eq!(growing.rows(), n);
        // Components without variance may be any.
        let k = k.min(n - 1);
        let found = in_blocks(&x, &ends, &IncrementalPcaConfig::new(k)).finish().unwrap();
        let at_once = Pca::fit(x.view(), &PcaConfig::new(k)).unwrap();
        let error = difference(&found, &at_once);
        // Two directions of nearly equal variance may turn in their plane.
        let v = at_once.explained_variance();
        let full = Pca::fit(x.view(), &PcaConfig::new(p)).unwrap();
        let gap = full.explained_variance().windows(2).take(k).map(|w| (w[0] - w[1]) / v[0]);
        let gap = gap.fold(1.0, f64::min);
        prop_assert!(error < 1e-10 || error * gap < 1e-12, "{error:e} {gap:e}");
    }

    #[test]
    fn nothing_is_lost_where_all_components_are_kept(
        seed in any::<u64>(),
        n in 12_usize..60,
        cut in 6_usize..60,
    ) {
        let x = random(n, 6, seed);
        let found = in_blocks(&x, &[cut.min(n)], &truncated(6)).finish().unwrap();
        let at_once = Pca::fit(x.view(), &PcaConfig::new(6)).unwrap();
        let gap = at_once.explained_variance().windows(2).map(|w| (w[0] - w[1]) / w[0]);
        prop_assume!(gap.fold(1.0, f64::min) > 1e-3);
        let error = difference(&found, &at_once);
        prop_assert!(error < 1e-9, "{error:e}");
    }
}

#[test]
fn blocks_of_one_row_and_of_none_count() {
    let x = random(9, 3, 4);
    let ends: Vec<usize> = (0..9).flat_map(|i| [i, i]).collect();
    let found = in_blocks(&x, &ends, &IncrementalPcaConfig::new(3));
    let at_once = Pca::fit(x.view(), &PcaConfig::new(3)).unwrap();
    assert!(difference(&found.finish().unwrap(), &at_once) < 1e-10);
}

#[test]
fn rows_that_do_not_vary_have_no_variance_in_any_direction() {
    for (n, ends) in [(7, vec![]), (8, vec![3]), (300, vec![6, 7, 107])] {
        let x = Array2::from_elem((n, 3), 0.1);
        for config in [IncrementalPcaConfig::new(2), truncated(2)] {
            let pca = in_blocks(&x, &ends, &config).finish().unwrap();
            assert_eq!(pca.mean(), array![0.1, 0.1, 0.1]);
            assert_eq!(pca.explained_variance(), [0.0; 2]);
            assert_eq!(pca.explained_variance_ratio(), [0.0; 2]);
            let product = pca.components().dot(&pca.components().t());
            let identity = Array2::<f64>::eye(2);
            assert!((&product - &identity).iter().all(|d| d.abs() < 1e-12));
        }
    }
}

#[test]
fn a_state_that_is_written_between_blocks_goes_on_as_if_it_were_not() {
    let x = random(40, 4, 7);
    for config in [IncrementalPcaConfig::new(2), truncated(2)] {
        let whole = in_blocks(&x, &[25], &config);
        let mut half = IncrementalPca::new(&config).unwrap();
        for rows in [0..25, 25..40] {
            let text = serde_json::to_string(&half).unwrap();
            let read: IncrementalPca = serde_json::from_str(&text).unwrap();
            assert_eq!(read, half);
            half = read;
            half.partial_fit(x.slice(s![rows, ..])).unwrap();
        }
        assert_eq!(half, whole);
        assert_eq!(half.config(), &config);
    }
}

#[test]
fn a_state_whose_parts_do_not_fit_is_refused() {
    for config in [IncrementalPcaConfig::new(2), truncated(2)] {
        let state = in_blocks(&random(9, 3, 1), &[], &config);
        let value = serde_json::to_value(&state).unwrap();
        let broken = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = value.clone();
            change(&mut value);
            serde_json::from_value::<IncrementalPca>(value)
                .unwrap_err()
                .to_string()
        };
        broken(&|v| v["mean"] = serde_json::json!([1.0]));
        let error = broken(&|v| v["rows"] = 0.into());
        assert!(error.contains("no column"), "{error}");
        let error = broken(&|v| v["rows"] = u64::MAX.into());
        assert!(error.contains("2^53"), "{error}");
        let error = broken(&|v| v["total"] = (-1.0).into());
        assert!(error.contains("`total` is -1"), "{error}");
        broken(&|v| v["squares"] = serde_json::json!([1.0]));
        broken(&|v| v["kept"] = serde_json::json!({"shape": [1, 3], "values": [1.0, 0.0, 0.0]}));
        broken(&|v| v["config"]["n_components"] = 0.into());
        broken(&|v| v["more"] = 0.into());
    }
}

#[test]
fn negative_sums_of_squares_are_refused() {
    for (config, place) in [
        (IncrementalPcaConfig::new(2), "/kept/values/0"),
        (truncated(2), "/squares/1"),
    ] {
        let state = in_blocks(&random(9, 3, 1), &[], &config);
        let mut value = serde_json::to_value(&state).unwrap();
        *value.pointer_mut(place).unwrap() = (-1.0).into();
        let error = serde_json::from_value::<IncrementalPca>(value).unwrap_err();
        assert!(error.to_string().contains("at least 0"), "{error}");
    }
}

#[test]
fn products_that_no_columns_have_are_refused() {
    let state = in_blocks(&random(9, 3, 1), &[], &IncrementalPcaConfig::new(2));
    let read = |values: &[f64]| {
        let mut value = serde_json::to_value(&state).unwrap();
        value["kept"]["values"] = serde_json::json!(values);
        serde_json::from_value::<IncrementalPca>(value)
    };
    assert!(read(&[1.0, 0.5, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 4.0]).is_ok());
    // Two equal columns, but for rounding.
    assert!(read(&[1.0, 1.0 + 1e-15, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 4.0]).is_ok());
    // Squares that are too small for numbers, beside a product that is not.
    assert!(read(&[0.0, 1e-160, 0.0, 1e-160, 1.0, 0.0, 0.0, 0.0, 4.0]).is_ok());
    let far = 1.7e308;
    for wrong in [
        [1.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 4.0],
        [1.0, 5.0, 0.0, 5.0, 1.0, 0.0, 0.0, 0.0, 4.0],
        [1.0, far, far, far, 1.0, far, far, far, 1.0],
        [0.0, 0.5, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 4.0],
    ] {
        let error = read(&wrong).unwrap_err();
        assert!(error.to_string().contains("symmetric"), "{error}");
    }
}

#[test]
fn rows_are_not_counted_beyond_what_a_double_holds() {
    let state = in_blocks(&random(9, 3, 1), &[], &IncrementalPcaConfig::new(2));
    let mut value = serde_json::to_value(&state).unwrap();
    value["rows"] = MOST_ROWS.into();
    let mut state: IncrementalPca = serde_json::from_value(value).unwrap();
    let before = state.clone();
    let error = state.partial_fit(random(1, 3, 2).view()).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert_eq!(state, before);
    assert!(sum_of_rows(usize::MAX, 1).is_err());
}

#[test]
fn an_end_that_was_stopped_can_be_made_up_for() {
    let stopped = CancelToken::new();
    stopped.cancel();
    let x = random(9, 3, 1);
    for config in [IncrementalPcaConfig::new(2), truncated(2)] {
        let state = in_blocks(&x, &[4], &config);
        let result = state.finish_with(&stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))));
        let later = state.finish_with(&CancelToken::new()).unwrap();
        assert_eq!(later, state.finish().unwrap());
    }
}

#[test]
fn a_block_that_was_stopped_changes_nothing() {
    let stopped = CancelToken::new();
    stopped.cancel();
    let x = random(9, 3, 1);
    for config in [IncrementalPcaConfig::new(2), truncated(2)] {
        for before in [
            IncrementalPca::new(&config).unwrap(),
            in_blocks(&x, &[], &config),
        ] {
            let mut state = before.clone();
            let result = state.partial_fit_with(x.view(), &stopped);
            assert!(matches!(result, Err(Error::Cancelled(_))));
            assert_eq!(state, before);
        }
    }
}

#[test]
fn blocks_that_cannot_be_taken_in_change_nothing() {
    assert!(IncrementalPca::new(&IncrementalPcaConfig::new(0)).is_err());
    for config in [IncrementalPcaConfig::new(2), truncated(2)] {
        let mut state = IncrementalPca::new(&config).unwrap();
        assert!(matches!(
            state.partial_fit(Array2::zeros((3, 0)).view()),
            Err(Error::TooFew {
                what: "columns",
                ..
            })
        ));
        assert!(matches!(
            state.finish(),
            Err(Error::TooFew { found: 0, .. })
        ));
        state.partial_fit(random(5, 3, 2).view()).unwrap();
        let before = state.clone();
        let nan = array![[0.0, f64::NAN, 0.0]];
        assert!(matches!(
            state.partial_fit(nan.view()),
            Err(Error::NotFinite {
                row: 0,
                column: 1,
                ..
            })
        ));
        assert!(matches!(
            state.partial_fit(Array2::zeros((0, 4)).view()),
            Err(Error::Shape(_))
        ));
        let huge = random(3, 3, 1) * 1e200;
        assert!(matches!(
            state.partial_fit(huge.view()),
            Err(Error::Overflow { .. })
        ));
        assert_eq!(state, before);
    }
}

#[test]
fn each_method_says_what_its_first_block_lacks() {
    let mut state = IncrementalPca::new(&truncated(3)).unwrap();
    assert!(matches!(
        state.partial_fit(random(2, 5, 2).view()),
        Err(Error::TooFew {
            needed: 3,
            found: 2,
            ..
        })
    ));
    // No more components than columns are needed.
    state.partial_fit(random(2, 2, 2).view()).unwrap();
    let mut state = IncrementalPca::new(&IncrementalPcaConfig::new(3)).unwrap();
    let wide = Array2::zeros((1, MOST_COLUMNS + 1));
    assert!(matches!(
        state.partial_fit(wide.view()),
        Err(Error::Config(_))
    ));
    state.partial_fit(random(1, 2, 2).view()).unwrap();
    assert!(matches!(
        state.finish(),
        Err(Error::TooFew { found: 1, .. })
    ));
}
