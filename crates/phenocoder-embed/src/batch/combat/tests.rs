use ndarray::{Array2, array, s};
use phenocoder_core::{CancelToken, NoProgress, Seed};
use proptest::prelude::*;

use super::*;

/// Rows of three batches, the second moved and spread, with a treatment.
fn planted(seed: u64) -> (Array2<f64>, Vec<&'static str>, Vec<&'static str>) {
    let mut stream = Seed::new(seed).stream("combat", 0);
    let batch: Vec<&str> = (0..45).map(|i| ["a", "b", "c"][i % 3]).collect();
    let kind: Vec<&str> = (0..45).map(|i| ["k", "l"][(i / 3 + i / 11) % 2]).collect();
    let x = Array2::from_shape_fn((45, 7), |(i, c)| {
        let gain = if batch[i] == "b" { 2.5 } else { 1.0 };
        let shift = if batch[i] == "b" { 4.0 + c as f64 } else { 0.0 };
        let effect = if kind[i] == "l" { 3.0 } else { 0.0 };
        effect + shift + gain * stream.normal()
    });
    (x, batch, kind)
}

fn difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    (a - b).iter().fold(0.0, |m, d| f64::max(m, d.abs()))
}

#[test]
fn two_columns_without_noise_in_their_spread_equal_those_worked_out_by_hand() {
    // Both batches have variance 2 in both columns; means of the first column 1 and 5, of the second 3 and 3.
    let x = array![[0.0, 2.0], [2.0, 4.0], [4.0, 2.0], [6.0, 4.0]];
    let batch = Categorical::from_labels(["a", "a", "b", "b"]);
    let fitted = Combat::fit(x.view(), &batch, &[], &CombatConfig::default(), &NoProgress).unwrap();
    // v = 1; ĝ of batch a = (−2, 0), ḡ = −1, t² = 1; d̂ = 2 for all, so d = 2:
    // g = (2 ĝ + 2 ḡ) / (2 + 2) = (−1.5, −0.5).
    let shifts = array![[-1.5, -0.5], [1.5, 0.5]];
    assert!(
        difference(&fitted.shifts().to_owned(), &shifts) < 1e-14,
        "{:?}",
        fitted.shifts()
    );
    assert!(
        fitted
            .scales()
            .iter()
            .all(|s| (s - 2.0_f64.sqrt()).abs() < 1e-14)
    );
    let result = fitted.apply(x.view(), &batch, &[]).unwrap();
    let expected = 3.0 + (0.0 - 3.0 + 1.5) / 2.0_f64.sqrt();
    assert!((result[[0, 0]] - expected).abs() < 1e-14, "{result}");
}

#[test]
fn the_batch_goes_and_the_covariate_stays() {
    let (x, batch, kind) = planted(1);
    let (labels, treatment) = (
        Categorical::from_labels(&batch),
        Categorical::from_labels(&kind),
    );
    let covariates = [Covariate::Categories(&treatment)];
    let result = combat(
        x.view(),
        &labels,
        &covariates,
        &CombatConfig::default(),
        &NoProgress,
    )
    .unwrap();
    let mean = |x: &Array2<f64>, b: &str, k: &str| {
        let rows: Vec<usize> = (0..45).filter(|&i| batch[i] == b && kind[i] == k).collect();
        x.select(Axis(0), &rows).mean().unwrap()
    };
    assert!(mean(&x, "b", "k") - mean(&x, "a", "k") > 5.0);
    assert!((mean(&result, "b", "k") - mean(&result, "a", "k")).abs() < 0.8);
    for b in ["a", "b", "c"] {
        assert!((mean(&result, b, "l") - mean(&result, b, "k") - 3.0).abs() < 1.0);
    }
    // Only the mean: the spread of the second batch stays.
    let config = CombatConfig::default().with_effect(BatchEffect::Mean);
    let moved = combat(x.view(), &labels, &covariates, &config, &NoProgress).unwrap();
    assert!((mean(&moved, "b", "k") - mean(&moved, "a", "k")).abs() < 1.2);
    let fitted = Combat::fit(x.view(), &labels, &covariates, &config, &NoProgress).unwrap();
    assert!(fitted.scales().iter().all(|&scale| scale == 1.0));
}

#[test]
fn rows_of_the_fit_and_new_ones_are_corrected_alike_and_the_fit_can_be_written() {
    let (x, batch, kind) = planted(2);
    let ages: Vec<f64> = (0..45).map(|i| f64::from(i * i % 17)).collect();
    let (labels, treatment) = (
        Categorical::from_labels(&batch),
        Categorical::from_labels(&kind),
    );
    let covariates = [Covariate::Categories(&treatment), Covariate::Numbers(&ages)];
    let fitted = Combat::fit(
        x.view(),
        &labels,
        &covariates,
        &CombatConfig::default(),
        &NoProgress,
    )
    .unwrap();
    assert_eq!(fitted.batches(), ["a", "b", "c"]);
    let all = fitted.apply(x.view(), &labels, &covariates).unwrap();
    // The rows of one batch only, with categories of their own.
    let rows = [1, 4, 7, 10];
    let some = fitted
        .apply(
            x.select(Axis(0), &rows).view(),
            &Categorical::from_labels(["b"; 4]),
            &[
                Covariate::Categories(&Categorical::from_labels(rows.map(|i| kind[i]))),
                Covariate::Numbers(&rows.map(|i| ages[i])),
            ],
        )
        .unwrap();
    assert_eq!(some, all.select(Axis(0), &rows));
    let text = serde_json::to_string(&fitted).unwrap();
    let read = serde_json::from_str::<Combat>(&text).unwrap();
    assert_eq!(read.apply(x.view(), &labels, &covariates).unwrap(), all);
    for (from, to) in [
        (r#"["a","b","c"]"#, r#"["a","b"]"#),
        (r#"{"categories":["k","l"]}"#, r#""numbers","numbers""#),
        (r#""grand":["#, r#""grand":[0.5,"#),
    ] {
        assert!(text.contains(from), "{text}");
        assert!(serde_json::from_str::<Combat>(&text.replacen(from, to, 1)).is_err());
    }
    let parts = |grand, slope, shift, scale| Parts {
        batches: vec!["a".to_owned()],
        covariates: vec![Encoding::Numbers],
        grand: vec![grand],
        slopes: array![[slope]],
        shifts: array![[shift]],
        scales: array![[scale]],
    };
    assert!(Combat::try_from(parts(0.0, 1.0, -2.0, 3.0)).is_ok());
    for wrong in [
        parts(f64::NAN, 1.0, -2.0, 3.0),
        parts(0.0, f64::INFINITY, -2.0, 3.0),
        parts(0.0, 1.0, f64::NAN, 3.0),
        parts(0.0, 1.0, -2.0, 0.0),
        parts(0.0, 1.0, -2.0, -3.0),
    ] {
        assert!(Combat::try_from(wrong).is_err());
    }
}

#[test]
fn what_was_not_fitted_is_refused() {
    let (x, batch, kind) = planted(3);
    let (labels, treatment) = (
        Categorical::from_labels(&batch),
        Categorical::from_labels(&kind),
    );
    let covariates = [Covariate::Categories(&treatment)];
    let fitted = Combat::fit(
        x.view(),
        &labels,
        &covariates,
        &CombatConfig::default(),
        &NoProgress,
    )
    .unwrap();
    let row = x.slice(s![..1, ..]);
    let (a, k) = (
        Categorical::from_labels(["a"]),
        Categorical::from_labels(["k"]),
    );
    let known = [Covariate::Categories(&k)];
    assert!(fitted.apply(row, &a, &known).is_ok());
    let other = Categorical::from_labels(["z"]);
    assert!(matches!(
        fitted.apply(row, &other, &known),
        Err(Error::UnknownCategory { what: "batch", .. })
    ));
    assert!(matches!(
        fitted.apply(row, &a, &[Covariate::Categories(&other)]),
        Err(Error::UnknownCategory {
            what: "covariate",
            ..
        })
    ));
    assert!(matches!(fitted.apply(row, &a, &[]), Err(Error::Shape(_))));
    assert!(matches!(
        fitted.apply(row, &a, &[Covariate::Numbers(&[1.0])]),
        Err(Error::Shape(ShapeError::ColumnType { .. }))
    ));
    assert!(matches!(
        fitted.apply(x.slice(s![..1, ..3]), &a, &known),
        Err(Error::Shape(_))
    ));
    let numbers = Combat::fit(
        x.view(),
        &labels,
        &[Covariate::Numbers(&[0.5; 45])],
        &CombatConfig::default(),
        &NoProgress,
    );
    assert!(matches!(
        numbers,
        Err(Error::Collinear {
            covariate: 0,
            category: None
        })
    ));
}

#[test]
fn new_rows_that_are_no_numbers_or_become_none_are_refused() {
    let x = array![[0.0, 2.0], [2.0, 4.0], [4.0, 2.0], [6.0, 4.0]];
    let batch = Categorical::from_labels(["a", "a", "b", "b"]);
    let config = CombatConfig::default();
    let fitted = Combat::fit(x.view(), &batch, &[], &config, &NoProgress).unwrap();
    let row = Categorical::from_labels(["b"]);
    for wrong in [f64::NAN, f64::NEG_INFINITY] {
        let found = fitted.apply(array![[0.0, wrong]].view(), &row, &[]);
        assert!(matches!(
            found,
            Err(Error::NotFinite {
                row: 0,
                column: 1,
                ..
            })
        ));
    }
    let wide = Combat {
        scales: array![[1.0, 1.0], [0.5, 1.0]],
        ..fitted
    };
    let far = wide.apply(array![[1.7e308, 0.0]].view(), &row, &[]);
    assert_eq!(far.unwrap_err(), Error::Overflow { method: METHOD });
}

#[test]
fn the_fit_stops_when_asked() {
    let stopped = CancelToken::new();
    stopped.cancel();
    let (x, batch, _) = planted(8);
    let labels = Categorical::from_labels(&batch);
    let found = Combat::fit(x.view(), &labels, &[], &CombatConfig::default(), &stopped);
    assert!(matches!(found, Err(Error::Cancelled(_))));
}

#[test]
fn bad_input_is_refused() {
    let (x, batch, kind) = planted(4);
    let labels = Categorical::from_labels(&batch);
    let treatment = Categorical::from_labels(&kind);
    let fit = |x: &Array2<f64>, batch: &Categorical, covariates: &[Covariate<'_>]| {
        Combat::fit(
            x.view(),
            batch,
            covariates,
            &CombatConfig::default(),
            &NoProgress,
        )
    };
    let mut nan = x.clone();
    nan[[3, 2]] = f64::NAN;
    assert!(matches!(
        fit(&nan, &labels, &[]),
        Err(Error::NotFinite {
            row: 3,
            column: 2,
            ..
        })
    ));
    let mut ages = [1.0; 45];
    ages[7] = f64::INFINITY;
    assert!(matches!(
        fit(
            &x,
            &labels,
            &[Covariate::Categories(&treatment), Covariate::Numbers(&ages)]
        ),
        Err(Error::NotFinite {
            row: 7,
            column: 1,
            ..
        })
    ));
    assert!(matches!(
        fit(&x, &labels, &[Covariate::Numbers(&[1.0])]),
        Err(Error::Shape(_))
    ));
    let missing = Categorical::from_optional_labels((0..45).map(|i| (i != 9).then_some(batch[i])));
    assert!(matches!(
        fit(&x, &missing, &[]),
        Err(Error::MissingLabel { row: 9, .. })
    ));
    assert!(matches!(
        fit(&x, &labels, &[Covariate::Categories(&missing)]),
        Err(Error::MissingLabel { row: 9, .. })
    ));
    let lone = Categorical::from_labels((0..45).map(|i| if i == 9 { "z" } else { batch[i] }));
    assert!(matches!(
        fit(&x, &lone, &[]),
        Err(Error::SmallBatch { rows: 1, .. })
    ));
    let moved = CombatConfig::default().with_effect(BatchEffect::Mean);
    assert!(Combat::fit(x.view(), &lone, &[], &moved, &NoProgress).is_ok());
    assert!(matches!(
        fit(&(&x * 1e200), &labels, &[]),
        Err(Error::Overflow { .. })
    ));
    let wide: Vec<f64> = (0..45).map(|i| f64::from(i) * 1e200).collect();
    assert!(matches!(
        fit(&x, &labels, &[Covariate::Numbers(&wide)]),
        Err(Error::Overflow { .. })
    ));
    for config in [
        CombatConfig::default().with_tolerance(0.0),
        CombatConfig::default().with_tolerance(f64::NAN),
        CombatConfig::default().with_iterations(0),
    ] {
        assert!(matches!(
            combat(x.view(), &labels, &[], &config, &NoProgress),
            Err(Error::Config(_))
        ));
    }
    let few = CombatConfig::default()
        .with_iterations(1)
        .with_tolerance(1e-14);
    assert!(matches!(
        combat(x.view(), &labels, &[], &few, &NoProgress),
        Err(Error::NotConverged { .. })
    ));
}

#[test]
fn a_covariate_that_the_batches_tell_is_named() {
    let (x, batch, kind) = planted(5);
    let labels = Categorical::from_labels(&batch);
    let treatment = Categorical::from_labels(&kind);
    let fit = |covariates: &[Covariate<'_>]| {
        Combat::fit(
            x.view(),
            &labels,
            covariates,
            &CombatConfig::default(),
            &NoProgress,
        )
        .unwrap_err()
    };
    // The batch under another name, after a covariate that is well.
    let plate = Categorical::from_labels(batch.iter().map(|b| if *b == "c" { "p2" } else { "p1" }));
    assert_eq!(
        fit(&[
            Covariate::Categories(&treatment),
            Covariate::Categories(&plate)
        ]),
        Error::Collinear {
            covariate: 1,
            category: Some("p2".to_owned())
        }
    );
    // Twice the same, as words and as a number far from 0.
    let dates: Vec<f64> = kind
        .iter()
        .map(|k| if *k == "l" { 1.7e9 + 3.0 } else { 1.7e9 })
        .collect();
    assert_eq!(
        fit(&[
            Covariate::Categories(&treatment),
            Covariate::Numbers(&dates)
        ]),
        Error::Collinear {
            covariate: 1,
            category: None
        }
    );
    let days = [Covariate::Numbers(&dates[..])];
    assert!(
        Combat::fit(
            x.view(),
            &labels,
            &days,
            &CombatConfig::default(),
            &NoProgress
        )
        .is_ok()
    );
    // A covariate of one category is no covariate.
    let one = Categorical::from_labels(["same"; 45]);
    let none = combat(
        x.view(),
        &labels,
        &[],
        &CombatConfig::default(),
        &NoProgress,
    )
    .unwrap();
    let with = [Covariate::Categories(&one)];
    assert_eq!(
        combat(
            x.view(),
            &labels,
            &with,
            &CombatConfig::default(),
            &NoProgress
        )
        .unwrap(),
        none
    );
}

#[test]
fn more_columns_of_covariates_than_rows_are_refused_before_they_take_memory() {
    // A column for each cell would take 320 GB.
    let cell = Categorical::from_labels((0..200_000).map(|i| format!("{i:06}")));
    let batch = Categorical::from_labels((0..200_000).map(|i| ["a", "b"][i % 2]));
    let x = Array2::zeros((200_000, 1));
    let config = CombatConfig::default();
    let of = |covariates: &[Covariate<'_>]| {
        Combat::fit(x.view(), &batch, covariates, &config, &NoProgress).unwrap_err()
    };
    // All categories have a column but the first, and the batches leave room for two fewer than there are rows.
    let expected = Error::Collinear {
        covariate: 0,
        category: Some("199999".to_owned()),
    };
    assert_eq!(of(&[Covariate::Categories(&cell)]), expected);
    // A covariate of another length is not one of too many categories.
    let longer = Categorical::from_labels((0..200_001).map(|i| i.to_string()));
    let error = of(&[Covariate::Categories(&longer)]);
    assert!(matches!(error, Error::Shape(_)), "{error}");
    // Rows leave room for these, memory does not.
    let twenty = Categorical::from_labels((0..200_000).map(|i| (i / 20).to_string()));
    let expected = Error::TooMany {
        method: METHOD,
        what: "columns of covariates",
        most: 8192,
        found: 9999,
    };
    assert_eq!(of(&[Covariate::Categories(&twenty)]), expected);
}

#[test]
fn as_many_columns_of_covariates_as_rows_leave_room_for_are_fitted() {
    // Four rows of two batches leave two dimensions.
    let x = array![[0.0], [1.0], [5.0], [8.0]];
    let batch = Categorical::from_labels(["a", "a", "b", "b"]);
    let (first, second) = ([0.0, 1.0, 0.0, 2.0], [0.0, 1.0, 0.0, 0.0]);
    let third = [0.0, 0.0, 1.0, 5.0];
    let covariates = [&first, &second, &third].map(|values| Covariate::Numbers(&values[..]));
    let config = CombatConfig::default();
    let fit = |covariates: &[Covariate<'_>]| {
        Combat::fit(x.view(), &batch, covariates, &config, &NoProgress)
    };
    assert!(fit(&covariates[..2]).is_ok());
    let expected = Error::Collinear {
        covariate: 2,
        category: None,
    };
    assert_eq!(fit(&covariates).unwrap_err(), expected);
}

#[test]
fn columns_without_residuals_do_not_touch_the_others() {
    let (x, batch, _) = planted(6);
    let labels = Categorical::from_labels(&batch);
    let config = CombatConfig::default();
    let alone = combat(x.view(), &labels, &[], &config, &NoProgress).unwrap();
    let mut wide = Array2::zeros((45, 9));
    wide.slice_mut(s![.., ..7]).assign(&x);
    wide.column_mut(7).fill(0.1);
    for i in 0..45 {
        wide[[i, 8]] = if batch[i] == "b" { 0.7 } else { 0.1 };
    }
    let result = combat(wide.view(), &labels, &[], &config, &NoProgress).unwrap();
    assert_eq!(result.slice(s![.., ..7]), alone);
    assert_eq!(result.column(7), wide.column(7));
    // What the batch explains fully goes.
    for value in result.column(8) {
        assert!((value - 0.3).abs() < 1e-15);
    }
}

#[test]
fn degenerate_sizes_give_numbers() {
    let (x, batch, _) = planted(7);
    let config = CombatConfig::default();
    let one = Categorical::from_labels(["a"; 45]);
    assert_eq!(
        combat(x.view(), &one, &[], &config, &NoProgress).unwrap(),
        x
    );
    let labels = Categorical::from_labels(&batch);
    let column = combat(x.slice(s![.., ..1]), &labels, &[], &config, &NoProgress).unwrap();
    assert!(column.iter().all(|value| value.is_finite()));
    // No column, no row.
    assert_eq!(
        combat(x.slice(s![.., ..0]), &labels, &[], &config, &NoProgress)
            .unwrap()
            .dim(),
        (45, 0)
    );
    let nobody = Categorical::from_labels([""; 0]);
    assert_eq!(
        combat(x.slice(s![..0, ..]), &nobody, &[], &config, &NoProgress)
            .unwrap()
            .dim(),
        (0, 7)
    );
    // A batch that is the same throughout, and one where a single column varies.
    let mut still = x.clone();
    for i in (0..45).filter(|i| batch[*i] != "a") {
        let keep = if batch[i] == "c" { 1 } else { 0 };
        for c in keep..7 {
            still[[i, c]] = c as f64;
        }
    }
    let result = combat(still.view(), &labels, &[], &config, &NoProgress).unwrap();
    assert!(result.iter().all(|value| value.is_finite()));
}

proptest! {
    #[test]
    fn neither_order_of_rows_nor_names_nor_units_matter(
        seed in 0_u64..1000,
        order in Just((0..45).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let (x, batch, kind) = planted(seed);
        let config = CombatConfig::default().with_tolerance(1e-12);
        let treatment = Categorical::from_labels(&kind);
        let result = combat(
            x.view(),
            &Categorical::from_labels(&batch),
            &[Covariate::Categories(&treatment)],
            &config, &NoProgress
        ).unwrap();
        let renamed = Categorical::from_labels(order.iter().map(|&i| match batch[i] {
            "a" => "z",
            "b" => "y",
            _ => "x",
        }));
        let kinds = Categorical::from_labels(order.iter().map(|&i| if kind[i] == "k" { "2" } else { "1" }));
        let scaled = x.select(Axis(0), &order) * 1e3;
        let other = combat(scaled.view(), &renamed, &[Covariate::Categories(&kinds)], &config, &NoProgress).unwrap();
        let expected = result.select(Axis(0), &order) * 1e3;
        prop_assert!(difference(&other, &expected) < 1e-7);
    }
}
