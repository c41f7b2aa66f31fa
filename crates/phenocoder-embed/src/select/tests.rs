use ndarray::{Array2, Axis, array};
use phenocoder_core::{CancelToken, NoProgress, Seed};
use proptest::prelude::*;

use super::*;

fn spread(config: SpreadConfig) -> VariableConfig {
    VariableConfig::default().with_flavor(VariableFlavor::Spread(config))
}

fn seurat(config: SeuratConfig) -> VariableConfig {
    VariableConfig::default().with_flavor(VariableFlavor::Seurat(config))
}

fn columns(x: &Array2<f64>, config: &VariableConfig) -> Vec<usize> {
    variable_features(x.view(), config, &NoProgress)
        .unwrap()
        .columns()
}

/// Logarithms of counts whose variance over mean varies.
fn counts(n: usize, p: usize, seed: u64) -> Array2<f64> {
    let mut stream = Seed::new(seed).stream("counts", 0);
    Array2::from_shape_fn((n, p), |(_, j)| {
        let high = stream.chance(0.1 + 0.3 / (1 + j) as f64);
        (stream.below(3 + j) as f64 * if high { 4.0 } else { 1.0 }).ln_1p()
    })
}

#[test]
fn spreads_equal_those_worked_out_by_hand() {
    let nan = f64::NAN;
    // Deviations 4, 1, 0, 1, 6 from the median 5; more than half equal, so that the standard deviation counts; a
    // constant; less than half there.
    let x = array![
        [1.0, 2.0, 0.1, nan],
        [4.0, 2.0, 0.1, 9.0],
        [5.0, 2.0, nan, nan],
        [6.0, 7.0, 0.1, 1.0],
        [11.0, 2.0, 0.1, nan],
    ];
    let found = variable_features(x.view(), &VariableConfig::default(), &NoProgress).unwrap();
    assert_eq!(found.means, [5.0, 2.0, 0.1, 5.0]);
    assert!((found.dispersions[0] - 1.482_602_218_505_602).abs() < 1e-15);
    assert!((found.dispersions[1] - 5.0_f64.sqrt()).abs() < 1e-15);
    assert_eq!(found.dispersions[2], 0.0);
    assert!(found.normalized[2].is_nan() && found.normalized[3].is_nan());
    assert_eq!(found.normalized[..2], found.dispersions[..2]);
    assert_eq!(found.columns(), [0, 1]);
    let relative = spread(SpreadConfig::default().with_relative(true));
    let found = variable_features(x.view(), &relative, &NoProgress).unwrap();
    assert!((found.normalized[1] - 5.0_f64.sqrt() / 2.0).abs() < 1e-15);
    assert_eq!(columns(&x, &relative.clone().with_n_top(1)), [1]);
    assert_eq!(
        columns(&x, &spread(SpreadConfig::default().with_min_spread(2.0))),
        [1]
    );
}

#[test]
fn of_columns_that_say_the_same_the_one_of_larger_spread_is_kept() {
    let mut stream = Seed::new(3).stream("x", 0);
    let base: Vec<[f64; 2]> = (0..50)
        .map(|_| [stream.normal(), stream.normal()])
        .collect();
    let noise: Vec<f64> = (0..50).map(|_| stream.normal()).collect();
    // A, −2 A with a little noise, B, A again, and A to a correlation of about 0.9.
    let x = Array2::from_shape_fn((50, 5), |(i, j)| match j {
        1 => -2.0 * base[i][0] + 0.01 * noise[i],
        2 => 1.5 * base[i][1],
        4 => base[i][0] + 0.5 * noise[i],
        _ => base[i][0],
    });
    assert_eq!(columns(&x, &VariableConfig::default()), [1, 2, 4]);
    let all = spread(SpreadConfig::default().with_max_correlation(None));
    assert_eq!(columns(&x, &all), [0, 1, 2, 3, 4]);
    let few = spread(SpreadConfig::default().with_max_correlation(0.5));
    assert_eq!(columns(&x, &few), [1, 2]);
    // Gaps: only rows where both are there count, and two of them are not enough.
    let mut gaps = x.clone();
    gaps.slice_mut(ndarray::s![..24, 0]).fill(f64::NAN);
    assert!(!columns(&gaps, &VariableConfig::default()).contains(&0));
    let mut apart = x;
    apart.slice_mut(ndarray::s![..25, 0]).fill(f64::NAN);
    apart.slice_mut(ndarray::s![27.., 1]).fill(f64::NAN);
    apart.slice_mut(ndarray::s![..25, 3]).fill(0.0);
    assert!(columns(&apart, &VariableConfig::default()).contains(&0));
}

#[test]
fn dispersions_equal_those_worked_out_by_hand() {
    // Counts with means 1, 1, 3 and variances 2, 4, 4/3; two bins of ln 2 to ln 4.
    let counts: Array2<f64> = array![
        [0.0, 0.0, 2.0],
        [0.0, 0.0, 2.0],
        [1.0, 0.0, 4.0],
        [3.0, 4.0, 4.0]
    ];
    let x = counts.mapv(f64::ln_1p);
    let config = seurat(SeuratConfig::default().with_n_bins(2));
    let found = variable_features(x.view(), &config, &NoProgress).unwrap();
    let log = |v: f64| v.ln();
    let expected = [log(2.0), log(4.0), log(4.0 / 9.0)];
    for (a, b) in found.dispersions.iter().zip(expected) {
        assert!((a - b).abs() < 1e-14, "{found:?}");
    }
    for (a, b) in found.means.iter().zip([log(2.0), log(2.0), log(4.0)]) {
        assert!((a - b).abs() < 1e-14, "{found:?}");
    }
    let half = 0.5_f64.sqrt();
    for (a, b) in found.normalized.iter().zip([-half, half, 1.0]) {
        assert!((a - b).abs() < 1e-14, "{found:?}");
    }
    assert_eq!(found.columns(), [1, 2]);
    let narrow = SeuratConfig::default().with_n_bins(2);
    assert_eq!(
        columns(&x, &seurat(narrow.clone().with_mean(0.7, 2.0))),
        [2]
    );
    assert_eq!(
        columns(
            &x,
            &seurat(
                narrow
                    .clone()
                    .with_mean(0.5, None)
                    .with_dispersion(0.5, 1.0)
            )
        ),
        [1]
    );
    assert_eq!(columns(&x, &seurat(narrow.clone()).with_n_top(1)), [2]);
    assert_eq!(columns(&x, &seurat(narrow).with_n_top(9)), [0, 1, 2]);
}

#[test]
fn columns_without_a_dispersion_are_not_selected() {
    // Zeros; a constant that rounding would give a variance; counts below zero.
    let mut x = counts(20, 6, 1);
    x.column_mut(1).fill(0.0);
    x.column_mut(2).fill(0.1);
    x.column_mut(3).mapv_inplace(|v| -v);
    let config = seurat(SeuratConfig::default().with_n_bins(3));
    for config in [config.clone(), config.with_n_top(6)] {
        let found = variable_features(x.view(), &config, &NoProgress).unwrap();
        for column in 1..4 {
            assert!(found.dispersions[column].is_nan() && found.normalized[column].is_nan());
            assert!(!found.selected[column]);
        }
        assert_eq!(found.means[1], libm::log1p(1e-12));
        assert!(!found.columns().is_empty());
    }
    // All means equal; nothing has a dispersion at all.
    for value in [0.0, 0.5] {
        let x = Array2::from_elem((4, 3), value);
        for config in [
            seurat(SeuratConfig::default()),
            seurat(SeuratConfig::default()).with_n_top(2),
        ] {
            assert!(columns(&x, &config).is_empty());
        }
    }
}

#[test]
fn columns_without_a_mean_are_not_selected_and_the_others_are() {
    // e^−50 − 1 is −1, of which one more has no logarithm.
    let mut x = counts(20, 6, 1);
    let all = seurat(SeuratConfig::default().with_n_bins(3));
    let without = variable_features(x.slice(ndarray::s![.., 1..]), &all, &NoProgress).unwrap();
    x.column_mut(0).fill(-50.0);
    for config in [all.clone(), all.with_n_top(6)] {
        let found = variable_features(x.view(), &config, &NoProgress).unwrap();
        assert!(found.means[0].is_nan() && found.dispersions[0].is_nan());
        assert!(found.normalized[0].is_nan() && !found.selected[0]);
        assert_eq!(found.means[1..], without.means);
        assert_eq!(found.normalized[1..], without.normalized);
    }
    // Nothing has a mean at all.
    assert!(
        columns(
            &Array2::from_elem((4, 3), -50.0),
            &seurat(SeuratConfig::default())
        )
        .is_empty()
    );
}

#[test]
fn columns_that_are_constant_where_both_are_there_do_not_correlate() {
    // The shared rows hold one number throughout, whose mean is rounded.
    for shared in 10..40 {
        let n = 3 * shared;
        let x = Array2::from_shape_fn((n, 2), |(i, j)| {
            let own = (i as f64 * 0.37).sin();
            match (i / shared, j) {
                (0, 0) => 5.1,
                (0, _) => -3.7,
                (1, 0) | (2, 1) => own,
                _ => f64::NAN,
            }
        });
        assert_eq!(columns(&x, &VariableConfig::default()), [0, 1], "{shared}");
    }
}

#[test]
fn few_shared_rows_do_not_make_a_repeat() {
    // Rows that both have rise together; nine of them are too few, ten are not.
    for (shared, kept) in [(9, vec![0, 1]), (10, vec![1])] {
        let x = Array2::from_shape_fn((30, 2), |(i, j)| {
            let value = (i * (j + 1)) as f64;
            match (i < shared, i % 2 == j) {
                (true, _) | (_, true) => value,
                _ => f64::NAN,
            }
        });
        assert_eq!(columns(&x, &VariableConfig::default()), kept, "{shared}");
    }
    // Where there are no more rows than that, all of them count.
    let few = Array2::from_shape_fn((4, 2), |(i, j)| (i * (j + 1)) as f64);
    assert_eq!(columns(&few, &VariableConfig::default()), [1]);
    // Nor has a copy with gaps where its original has them: eight rows of 15.
    let value = |i: usize, j: usize| {
        if i.is_multiple_of(2) {
            (i * (j + 1)) as f64
        } else {
            f64::NAN
        }
    };
    let gaps = Array2::from_shape_fn((15, 2), |(i, j)| value(i, j));
    assert_eq!(columns(&gaps, &VariableConfig::default()), [1]);
    // Seven of eight are not all.
    let mut fewer = gaps;
    (fewer[[1, 0]], fewer[[14, 0]]) = (1.0, f64::NAN);
    assert_eq!(columns(&fewer, &VariableConfig::default()), [0, 1]);
}

#[test]
fn what_was_found_survives_json() {
    let mut x = counts(20, 6, 1);
    x.column_mut(1).fill(0.0);
    let found = variable_features(x.view(), &seurat(SeuratConfig::default()), &NoProgress).unwrap();
    assert!(found.normalized[1].is_nan());
    let text = serde_json::to_string(&found).unwrap();
    let read: VariableFeatures = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&read.selected, &read.means),
        (&found.selected, &found.means)
    );
    for (read, found) in [
        (&read.dispersions, &found.dispersions),
        (&read.normalized, &found.normalized),
    ] {
        let mut pairs = read.iter().zip(found);
        assert_eq!(read.len(), found.len());
        assert!(pairs.all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
    }
    let short = text.replace(r#""selected":["#, r#""selected":[true,"#);
    let error = serde_json::from_str::<VariableFeatures>(&short).unwrap_err();
    assert!(error.to_string().contains("means"), "{error}");
}

#[test]
fn settings_survive_json_and_are_checked() {
    for config in [
        VariableConfig::default().with_n_top(7),
        seurat(SeuratConfig::default().with_mean(-1.0, None)),
        spread(
            SpreadConfig::default()
                .with_relative(true)
                .with_max_correlation(None),
        ),
    ] {
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<VariableConfig>(&text).unwrap(),
            config
        );
    }
    assert!(serde_json::from_str::<VariableConfig>(r#"{"flavour": null}"#).is_err());
    for (config, name) in [
        (VariableConfig::default().with_n_top(0), "n_top"),
        (
            spread(SpreadConfig::default().with_min_spread(-1.0)),
            "min_spread",
        ),
        (
            spread(SpreadConfig::default().with_max_correlation(1.5)),
            "max_correlation",
        ),
        (seurat(SeuratConfig::default().with_n_bins(0)), "n_bins"),
        (
            seurat(SeuratConfig::default().with_n_bins(usize::MAX)),
            "n_bins",
        ),
        (
            seurat(SeuratConfig::default().with_dispersion(f64::NEG_INFINITY, None)),
            "min_dispersion",
        ),
        (
            seurat(SeuratConfig::default().with_mean(f64::NAN, None)),
            "min_mean",
        ),
        (
            seurat(SeuratConfig::default().with_dispersion(0.0, f64::NAN)),
            "max_dispersion",
        ),
    ] {
        assert_eq!(config.validate().unwrap_err().setting, name);
        let x = counts(5, 2, 0);
        assert!(matches!(
            variable_features(x.view(), &config, &NoProgress),
            Err(Error::Config(_))
        ));
    }
}

#[test]
fn what_cannot_be_ranked_is_refused() {
    let (ours, theirs) = (VariableConfig::default(), seurat(SeuratConfig::default()));
    let of = |x: Array2<f64>, config: &VariableConfig| {
        variable_features(x.view(), config, &NoProgress).unwrap_err()
    };
    for config in [&ours, &theirs] {
        assert!(matches!(
            of(Array2::zeros((1, 3)), config),
            Error::TooFew { what: "rows", .. }
        ));
        assert!(matches!(
            of(Array2::zeros((3, 0)), config),
            Error::TooFew {
                what: "columns",
                ..
            }
        ));
        let infinite = array![[0.0, 1.0], [1.0, f64::INFINITY]];
        assert!(matches!(
            of(infinite, config),
            Error::NotFinite {
                row: 1,
                column: 1,
                ..
            }
        ));
    }
    let nan = array![[0.0, f64::NAN], [1.0, 1.0]];
    assert!(matches!(
        of(nan, &theirs),
        Error::NotFinite {
            row: 0,
            column: 1,
            ..
        }
    ));
    // e^400 has no square, e^800 is no number.
    for x in [array![[400.0], [1.0]], array![[800.0], [1.0]]] {
        assert!(matches!(of(x, &theirs), Error::Overflow { .. }));
    }
    let far = array![[1.7e308], [-1.7e308]];
    assert!(matches!(of(far, &ours), Error::Overflow { .. }));
    // More than half of the values are equal, and the deviation of the others is no number.
    let most = array![[0.0], [0.0], [0.0], [1.7e308], [-1.7e308]];
    assert!(matches!(of(most, &ours), Error::Overflow { .. }));
    // The spread is a number, and a distance from the median is not.
    let one = array![[1.7e308], [1.65e308], [1.6e308], [1.55e308], [-1.7e308]];
    assert!(matches!(of(one, &ours), Error::Overflow { .. }));
    // Columns of which too little is there are not looked at.
    let nan = f64::NAN;
    let gaps = array![
        [1.7e308, 0.0],
        [-1.7e308, 1.0],
        [nan, 2.0],
        [nan, 3.0],
        [nan, 4.0]
    ];
    assert_eq!(columns(&gaps, &ours), [1]);
}

#[test]
fn columns_with_an_outlier_are_compared_too() {
    // Over the spread, the square of the outlier would be beyond any number.
    let base = [0.0, 1.0, 2.0, 3.0, 1e200];
    let x = Array2::from_shape_fn((5, 2), |(i, j)| base[i] * [2.0, 1.0][j]);
    assert_eq!(columns(&x, &VariableConfig::default()), [0]);
    // No correlation is larger than 1, whatever rounding leaves.
    let any = spread(SpreadConfig::default().with_max_correlation(1.0));
    assert_eq!(columns(&x, &any), [0, 1]);
}

#[test]
fn an_outlier_in_a_row_that_is_not_shared_hides_no_repetition() {
    // Beside it, the squares of all others are 0, or they themselves are.
    for outlier in [1e170, 1e308] {
        for unit in [1.0, f64::MIN_POSITIVE] {
            let x = Array2::from_shape_fn((21, 2), |(i, j)| match (i, j) {
                (20, 0) => outlier,
                (20, 1) => f64::NAN,
                _ => unit * i as f64,
            });
            assert_eq!(
                columns(&x, &VariableConfig::default()),
                [0],
                "{outlier} {unit}"
            );
        }
    }
    // On both sides of the others, further apart than any number.
    let x = Array2::from_shape_fn((21, 2), |(i, j)| match i {
        19 => 1.2e308,
        20 => -1.2e308,
        _ => (i + j) as f64,
    });
    assert_eq!(columns(&x, &VariableConfig::default()), [0]);
}

#[test]
fn columns_of_one_value_do_not_vary_however_large_it_is() {
    let x = array![[1.7e308, 0.0], [1.7e308, 1.0]];
    let found = variable_features(x.view(), &VariableConfig::default(), &NoProgress).unwrap();
    assert_eq!((found.means[0], found.dispersions[0]), (1.7e308, 0.0));
    assert_eq!(found.columns(), [1]);
}

#[test]
fn the_selection_stops_when_asked() {
    let stopped = CancelToken::new();
    stopped.cancel();
    for config in [VariableConfig::default(), seurat(SeuratConfig::default())] {
        let result = variable_features(counts(9, 3, 1).view(), &config, &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))), "{config:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_order_of_rows_and_columns_does_not_matter(seed in any::<u64>()) {
        let x = counts(40, 12, seed);
        let mut stream = Seed::new(seed).stream("order", 0);
        let (rows, places) = (stream.permutation(40), stream.permutation(12));
        let moved = x.select(Axis(0), &rows).select(Axis(1), &places);
        let base = seurat(SeuratConfig::default().with_n_bins(4));
        for config in [base.clone(), base.with_n_top(5), VariableConfig::default()] {
            let a = variable_features(x.view(), &config, &NoProgress).unwrap();
            let b = variable_features(moved.view(), &config, &NoProgress).unwrap();
            for (new, &old) in places.iter().enumerate() {
                for (a, b) in [(&a.means, &b.means), (&a.dispersions, &b.dispersions)] {
                    prop_assert!((a[old] - b[new]).abs() < 1e-12);
                }
            }
            // Of equal spreads the first column counts, so only what is unequal is compared.
            let mut ranks = a.normalized.clone();
            ranks.sort_by(f64::total_cmp);
            let close = ranks.windows(2).any(|w| (w[1] - w[0]).abs() < 1e-9);
            let bound = ranks.iter().any(|v| (v - 0.5).abs() < 1e-9);
            if !close && !bound {
                for (new, &old) in places.iter().enumerate() {
                    prop_assert_eq!(a.selected[old], b.selected[new]);
                }
            }
        }
    }

    #[test]
    fn no_two_selected_columns_correlate_and_all_others_do_with_one(seed in any::<u64>(), most in 0.05..0.9_f64) {
        let mut stream = Seed::new(seed).stream("x", 0);
        let x = Array2::from_shape_fn((30, 10), |(_, j)| stream.normal() * (1.0 + j as f64));
        let kept = columns(&x, &spread(SpreadConfig::default().with_max_correlation(most)));
        let centered = &x - &x.mean_axis(Axis(0)).unwrap();
        let products = centered.t().dot(&centered);
        let correlation = |a: usize, b: usize| {
            (products[[a, b]] / (products[[a, a]] * products[[b, b]]).sqrt()).abs()
        };
        for column in 0..10 {
            let near = kept.iter().filter(|&&k| k != column).map(|&k| correlation(column, k));
            let nearest = near.fold(0.0, f64::max);
            if kept.contains(&column) {
                prop_assert!(nearest <= most + 1e-12);
            } else {
                prop_assert!(nearest > most - 1e-12);
            }
        }
    }
}
