use ndarray::{Array2, array};
use phenocoder_core::{CancelToken, NoProgress, Seed};
use proptest::prelude::*;

use super::tree::Training;
use super::*;

fn fit(x: &Array2<f64>, labels: &[u32], config: &ForestConfig) -> Result<RandomForest> {
    RandomForest::fit(x.view(), labels, config, &NoProgress)
}

fn predict(forest: &RandomForest, x: &Array2<f64>) -> Prediction {
    forest.predict(x.view(), &NoProgress).unwrap()
}

/// Rows of three classes that overlap in the first column; the others say nothing.
fn overlapping(seed: u64, n: usize) -> (Array2<f64>, Vec<u32>) {
    let mut stream = Seed::new(seed).stream("rows", 0);
    let x = Array2::from_shape_fn((n, 4), |(i, j)| {
        stream.normal() + if j == 0 { 2.0 * (i % 3) as f64 } else { 0.0 }
    });
    (x, (0..n).map(|i| 2 + 5 * (i % 3) as u32).collect())
}

#[test]
fn trees_hold_every_row_they_have_seen_in_a_leaf_of_its_class() {
    let (x, labels) = overlapping(1, 120);
    let (places, _) = ranked(&labels);
    let training = Training {
        columns: x.t().as_standard_layout().into_owned(),
        places: &places,
        classes: 3,
        per_question: 2,
    };
    for index in 0..5 {
        let mut stream = Seed::new(2).stream("forest", index);
        let grown = training.grow(&mut stream, &NoProgress).unwrap();
        let seen = (0..120).filter(|&i| grown.seen.contains(i)).count();
        assert!((60..95).contains(&seen), "{seen} of 120 rows were drawn");
        for (i, row) in x.outer_iter().enumerate() {
            let mut votes = [0.0; 3];
            grown.tree.vote(row.as_slice().unwrap(), &mut votes);
            assert_eq!(votes.iter().sum::<f64>(), 1.0);
            assert!(
                !grown.seen.contains(i) || votes[places[i]] == 1.0,
                "row {i}"
            );
        }
        // All questions together gain the impurity of the root, which is about ⅔ for each of the 120 draws.
        let gained = grown.gains.iter().sum::<f64>() / 120.0;
        assert!((0.6..=2.0 / 3.0 + 1e-12).contains(&gained), "{gained}");
    }
}

#[test]
fn importances_say_which_columns_tell() {
    let (x, labels) = overlapping(3, 300);
    let forest = fit(&x, &labels, &ForestConfig::default()).unwrap();
    let importances = forest.importances();
    assert!((importances.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(importances[0] > 0.5, "{importances:?}");
    assert_eq!(
        super::importances(&[&[1.0, 3.0], &[0.0, 0.0]], 2),
        [0.25, 0.75]
    );
    assert_eq!(
        super::importances(&[&[1.0, 3.0], &[2.0, 0.0]], 2),
        [0.625, 0.375]
    );
}

#[test]
fn rows_left_out_are_told_as_well_as_new_ones() {
    let config = ForestConfig::default();
    let (x, labels) = overlapping(4, 600);
    let forest = fit(&x, &labels, &config).unwrap();
    let (new, truth) = overlapping(5, 600);
    let found = predict(&forest, &new).labels;
    let right = found.iter().zip(&truth).filter(|(a, b)| a == b).count() as f64 / 600.0;
    let estimate = forest.out_of_bag_accuracy().unwrap();
    assert!((estimate - right).abs() < 0.06, "{estimate} {right}");
    // The rows of the fit are all told rightly, which says nothing.
    assert_eq!(predict(&forest, &x).labels, labels);

    let mut stream = Seed::new(6).stream("noise", 0);
    let noise: Vec<u32> = (0..600).map(|_| stream.below(3) as u32).collect();
    let guess = fit(&x, &noise, &config)
        .unwrap()
        .out_of_bag_accuracy()
        .unwrap();
    assert!((0.25..0.42).contains(&guess), "{guess}");
    assert_eq!(
        fit(&array![[1.0]], &[4], &config)
            .unwrap()
            .out_of_bag_accuracy(),
        None
    );
}

#[test]
fn rows_that_no_column_tells_apart_have_the_shares_of_the_classes() {
    let labels: Vec<u32> = (0..50).map(|i| u32::from(i % 5 == 0)).collect();
    for x in [Array2::zeros((50, 2)), Array2::zeros((50, 0))] {
        let forest = fit(&x, &labels, &ForestConfig::default()).unwrap();
        let p = predict(&forest, &x).probabilities;
        assert!((p[[7, 1]] - 0.2).abs() < 0.03, "{p}");
        assert!(forest.importances().iter().all(|&share| share == 0.0));
    }
    let one = fit(&Array2::zeros((5, 2)), &[9; 5], &ForestConfig::default()).unwrap();
    assert_eq!(predict(&one, &Array2::zeros((1, 2))).labels, [9]);
}

#[test]
fn constant_columns_are_passed_over() {
    let x = Array2::from_shape_fn((40, 9), |(i, j)| if j == 8 { (i % 2) as f64 } else { 1.0 });
    let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
    let config = ForestConfig::default()
        .with_trees(5)
        .with_columns_per_question(1);
    let forest = fit(&x, &labels, &config).unwrap();
    assert_eq!(forest.importances()[8], 1.0);
    assert_eq!(forest.out_of_bag_accuracy(), Some(1.0));
}

#[test]
fn a_forest_is_that_of_its_seed() {
    let (x, labels) = overlapping(7, 90);
    let config = ForestConfig::default().with_trees(10);
    let of = |seed| fit(&x, &labels, &config.with_seed(Seed::new(seed))).unwrap();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1).trees, of(2).trees);
    // More trees are the same trees and others.
    let more = fit(&x, &labels, &config.with_seed(Seed::new(1)).with_trees(12)).unwrap();
    assert_eq!(more.trees[..10], of(1).trees);
    assert_ne!(more.trees[0], more.trees[1]);
}

#[test]
fn what_cannot_be_fitted_or_predicted_is_refused() {
    let (x, labels) = overlapping(8, 30);
    let config = ForestConfig::default().with_trees(3);
    for broken in [config.with_trees(0), config.with_columns_per_question(0)] {
        let error = fit(&x, &labels, &broken).unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{error}");
    }
    let error = fit(&x, &labels[1..], &config).unwrap_err();
    assert!(matches!(error, Error::Shape(_)), "{error}");
    let error = fit(&Array2::zeros((0, 4)), &[], &config).unwrap_err();
    assert!(matches!(error, Error::TooFew { needed: 1, .. }), "{error}");
    let ids: Vec<u32> = (0..20_000).collect();
    let error = fit(&Array2::zeros((20_000, 1)), &ids, &config).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
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
    let token = CancelToken::new();
    token.cancel();
    let error = RandomForest::fit(x.view(), &labels, &config, &token).unwrap_err();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");

    let forest = fit(&x, &labels, &config).unwrap();
    let refused = |x: &Array2<f64>| forest.predict(x.view(), &NoProgress).unwrap_err();
    assert!(matches!(refused(&array![[1.0]]), Error::Shape(_)));
    assert!(matches!(refused(&nan), Error::NotFinite { row: 4, .. }));
    let error = forest.predict(x.view(), &token).unwrap_err();
    assert!(matches!(error, Error::Cancelled(_)), "{error}");
    let none = predict(&forest, &Array2::zeros((0, 4)));
    assert_eq!(none.probabilities.dim(), (0, 3));
}

#[test]
fn a_forest_is_written_and_read_back_and_checked() {
    let (x, labels) = overlapping(9, 40);
    let forest = fit(&x, &labels, &ForestConfig::default().with_trees(2)).unwrap();
    let text = serde_json::to_string(&forest).unwrap();
    assert_eq!(serde_json::from_str::<RandomForest>(&text).unwrap(), forest);
    for (from, to) in [
        ("[2,7,12]", "[2,7]"),
        ("[2,7,12]", "[7,2,12]"),
        ("\"trees\":2", "\"trees\":3"),
        ("\"low\":1}", "\"low\":0}"),
        ("\"low\":1}", "\"low\":100000}"),
        ("\"column\":0", "\"column\":4"),
        ("\"first\":0", "\"first\":100000"),
        ("\"first\":0", "\"first\":1"),
        (",1.0]", ",-1.0]"),
        ("\"nodes\"", "\"knots\""),
        ("\"out_of_bag\":0", "\"out_of_bag\":7"),
        ("\"out_of_bag\":0", "\"out_of_bag\":-1"),
        ("\"importances\":[", "\"importances\":[-"),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from}");
        let read = serde_json::from_str::<RandomForest>(&broken);
        assert!(read.is_err(), "{from} → {to}");
    }
}

proptest! {
    #[test]
    fn names_of_labels_and_units_of_columns_do_not_matter(
        seed in 0_u64..1000,
        n in 5_usize..40,
        power in -20_i32..20,
        trees in 1_usize..8,
    ) {
        let (x, labels) = overlapping(seed, n);
        let config = ForestConfig::default().with_trees(trees).with_seed(Seed::new(seed));
        let renamed: Vec<u32> = labels.iter().map(|label| 100 - label).collect();
        let scaled = &x * 2_f64.powi(power);
        let a = fit(&x, &labels, &config).unwrap();
        let b = fit(&scaled, &renamed, &config).unwrap();
        prop_assert_eq!(a.out_of_bag_accuracy().is_some(), b.out_of_bag_accuracy().is_some());
        prop_assert_eq!(a.importances(), b.importances());
        let a = predict(&a, &x).probabilities;
        let b = predict(&b, &scaled).probabilities;
        for (row, other) in a.outer_iter().zip(b.outer_iter()) {
            prop_assert!((row.sum() - 1.0).abs() < 1e-12);
            for (p, q) in row.iter().zip(other.iter().rev()) {
                prop_assert!((p - q).abs() < 1e-12);
            }
        }
    }
}
