//! Unit tests of the orders.

use phenocoder_core::{Categorical, PatchBatch, PatchOrder, PatchShape, PatchSource, Seed};
use phenocoder_testdata::find;

use super::*;
use crate::{Error, Subset};

fn labels(counts: &[usize]) -> Categorical {
    let of = |(class, &n): (usize, &usize)| std::iter::repeat_n(format!("{class}"), n);
    Categorical::from_labels(counts.iter().enumerate().flat_map(of))
}

fn counts(drawn: &[usize], n: usize) -> Vec<usize> {
    let mut counts = vec![0; n];
    drawn.iter().for_each(|&patch| counts[patch] += 1);
    counts
}

/// Pearson's statistic of counts whose expectations are in proportion to `weights`.
fn chi_square(counts: &[usize], weights: &[f64]) -> f64 {
    let scale = counts.iter().sum::<usize>() as f64 / weights.iter().sum::<f64>();
    let terms = counts.iter().zip(weights).map(|(&count, weight)| {
        let expected = weight * scale;
        (count as f64 - expected).powi(2) / expected
    });
    terms.sum()
}

#[test]
fn weights_equal_the_golden() {
    let Some(path) = find("parity/models/evaluation.json") else {
        return;
    };
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let classes: Vec<u64> = serde_json::from_value(golden["labels"].clone()).unwrap();
    let sampler = &golden["class_balanced_sampler"];
    let expected: Vec<f64> = serde_json::from_value(sampler["sample_weight"].clone()).unwrap();
    let labels = Categorical::from_labels(classes.iter().map(ToString::to_string));
    let order = BalanceConfig::new("class").build(&labels).unwrap();
    assert_eq!(order.weights(), expected, "every bit");
    let drawn = order.order(classes.len(), Seed::new(1)).unwrap();
    assert_eq!(Some(drawn.len() as u64), sampler["num_samples"].as_u64());
}

#[test]
fn an_order_visits_as_many_patches_as_it_says() {
    let weighted = |replacement, patches| {
        let order = Weighted::new(vec![0.0, 1.0, 0.0, 2.0, 3.0]).unwrap();
        order
            .with_replacement(replacement)
            .with_patches_per_epoch(patches)
    };
    let balanced = |patches| {
        let config = BalanceConfig::new("class").with_patches_per_epoch(patches);
        config.build(&labels(&[2, 3])).unwrap()
    };
    let orders: [(&dyn PatchOrder, usize); 6] = [
        (&weighted(Replacement::With, 9), 9),
        (&weighted(Replacement::Without, 9), 3),
        (&weighted(Replacement::Without, 2), 2),
        (&balanced(None), 5),
        (&balanced(Some(40)), 40),
        (&phenocoder_core::Shuffled, 5),
    ];
    for (order, expected) in orders {
        let drawn = order.order(5, Seed::new(1)).unwrap();
        assert_eq!((drawn.len(), order.length(5)), (expected, expected));
    }
}

#[test]
fn every_class_is_equally_likely() {
    // 0.1 % points of chi-square: 13.8 with 2 degrees of freedom, 148.2 with 99.
    let classes = [1, 9, 90];
    for draws in [Draws::Even, Draws::Independent] {
        let config = BalanceConfig::new("class").with_draws(draws);
        let order = config.build(&labels(&classes)).unwrap();
        let mut patches = vec![0; 100];
        for epoch in 0..300 {
            let seed = Seed::new(7).derive("epoch", epoch);
            let drawn = order.order(100, seed).unwrap();
            assert_eq!(drawn.len(), 100);
            for (sum, n) in patches.iter_mut().zip(counts(&drawn, 100)) {
                *sum += n;
            }
        }
        let by_class = [0..1, 1..10, 10..100].map(|range| patches[range].iter().sum::<usize>());
        let chi = chi_square(&by_class, &[1.0; 3]);
        assert!(chi < 13.8, "{draws:?}: {by_class:?}");
        let chi = chi_square(&patches, &order.weights());
        assert!(chi < 148.2, "{draws:?}: {chi}");
    }
}

#[test]
fn even_draws_give_equal_shares_and_let_patches_take_turns() {
    let config = BalanceConfig::new("class").with_patches_per_epoch(Some(31));
    let order = config.build(&labels(&[3, 4, 93])).unwrap();
    for epoch in 0..20 {
        let drawn = counts(&order.order(100, Seed::new(epoch)).unwrap(), 100);
        let shares = [0..3, 3..7, 7..100].map(|range| drawn[range].iter().sum::<usize>());
        assert!(shares.iter().all(|n| (10..=11).contains(n)), "{shares:?}");
        assert!(drawn[..3].iter().all(|n| (3..=4).contains(n)));
        assert!(drawn[3..7].iter().all(|n| (2..=3).contains(n)));
        assert!(drawn[7..].iter().all(|&n| n <= 1));
    }
}

#[test]
fn places_in_the_epoch_do_not_tell_the_class() {
    let order = BalanceConfig::new("class").build(&labels(&[2, 8])).unwrap();
    let first = (0..400).filter(|&epoch| order.order(10, Seed::new(epoch)).unwrap()[0] < 2);
    let n = first.count();
    // Four standard deviations of a binomial with ½.
    assert!((160..=240).contains(&n), "{n}");
}

#[test]
fn labels_that_are_missing_or_of_another_number_are_errors() {
    let config = BalanceConfig::new("well");
    let missing = Categorical::from_optional_labels([Some("a"), None]);
    let error = config.build(&missing).unwrap_err();
    assert_eq!(
        error.to_string(),
        "column `well`: the value at row 1 is missing"
    );
    let none = Categorical::from_labels(Vec::<String>::new());
    assert!(matches!(config.build(&none), Err(Error::Empty { .. })));
    let empty = config.clone().with_patches_per_epoch(Some(0));
    assert!(matches!(empty.build(&labels(&[2])), Err(Error::Config(_))));
    let order = config.build(&labels(&[2, 2])).unwrap();
    let error = order.order(5, Seed::new(0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`labels to balance`: expected 5 entries, found 4"
    );
}

#[test]
fn a_class_without_patches_is_no_class() {
    let all = labels(&[3, 2, 1]);
    let two = all.select(&[0, 1, 2, 5]);
    assert_eq!(
        two.categories().len(),
        3,
        "the test needs an unused category"
    );
    let order = BalanceConfig::new("class").build(&two).unwrap();
    let drawn = counts(&order.order(4, Seed::new(1)).unwrap(), 4);
    assert_eq!(drawn[3], 2);
}

#[test]
fn weighted_draws_follow_the_weights() {
    let weights = vec![0.0, 1.0, 2.0, 0.0, 5.0, 0.0];
    let order = Weighted::new(weights.clone()).unwrap();
    let order = order.with_patches_per_epoch(40_000);
    let drawn = counts(&order.order(6, Seed::new(3)).unwrap(), 6);
    assert_eq!((drawn[0], drawn[3], drawn[5]), (0, 0, 0));
    let chi = chi_square(&[drawn[1], drawn[2], drawn[4]], &[1.0, 2.0, 5.0]);
    assert!(chi < 13.8, "{drawn:?}");

    let once = Weighted::new(weights)
        .unwrap()
        .with_replacement(Replacement::Without);
    let mut first = [0; 6];
    for epoch in 0..8_000 {
        let mut drawn = once.order(6, Seed::new(epoch)).unwrap();
        first[drawn[0]] += 1;
        drawn.sort_unstable();
        assert_eq!(drawn, [1, 2, 4], "each that has a weight, once");
    }
    let chi = chi_square(&[first[1], first[2], first[4]], &[1.0, 2.0, 5.0]);
    assert!(chi < 13.8, "{first:?}");
    let two = once.with_patches_per_epoch(2);
    assert_eq!(two.order(6, Seed::new(0)).unwrap().len(), 2);
}

#[test]
fn weights_that_cannot_be_are_errors() {
    for wrong in [vec![1.0, -1.0], vec![f64::NAN], vec![f64::MAX, f64::MAX]] {
        assert!(matches!(Weighted::new(wrong), Err(Error::Config(_))));
    }
    for none in [vec![], vec![0.0, 0.0]] {
        assert!(matches!(Weighted::new(none), Err(Error::Empty { .. })));
    }
    assert!(
        Weighted::new(vec![1.0])
            .unwrap()
            .order(2, Seed::new(0))
            .is_err()
    );
}

#[test]
fn a_local_shuffle_visits_all_once_and_keeps_neighbours_together() {
    let source = PatchBatch::zeros(1003, PatchShape::new(1, 1, 1), 0);
    // A subset in another order is read as it lies in its source.
    let rows: Vec<usize> = (0..1003).map(|i| i * 400 % 1003).collect();
    let subset = Subset::new(source, rows.clone()).unwrap();
    let order = LocalShuffle::of(&subset).with_run(20).with_pool(200);
    let mut firsts = std::collections::BTreeSet::new();
    for epoch in 0..10 {
        let drawn = order.order(1003, Seed::new(epoch)).unwrap();
        firsts.insert(drawn[0]);
        for pool in drawn.chunks(200) {
            let mut places: Vec<usize> = pool.iter().map(|&patch| rows[patch]).collect();
            places.sort_unstable();
            let breaks = places.windows(2).filter(|w| w[1] != w[0] + 1).count();
            assert!(breaks <= 12, "{breaks} gaps between the runs of a pool");
        }
        let mut all = drawn;
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1003));
    }
    assert!(firsts.len() > 8);
    assert!(order.order(1002, Seed::new(0)).is_err());
    let tiny = PatchBatch::zeros(0, PatchShape::new(1, 1, 1), 0);
    assert!(tiny.reading_order().is_empty());
    assert!(
        LocalShuffle::of(&tiny)
            .order(0, Seed::new(0))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn settings_tell_two_orders_apart() {
    let of = |counts: &[usize]| BalanceConfig::new("a").build(&labels(counts)).unwrap();
    assert_ne!(of(&[2, 3]).settings(), of(&[3, 2]).settings());
    assert_eq!(of(&[2, 3]).settings(), of(&[2, 3]).settings());
    let weighted = |weights: &[f64]| Weighted::new(weights.to_vec()).unwrap().settings();
    assert_ne!(weighted(&[1.0, 2.0]), weighted(&[2.0, 1.0]));
    serde_json::from_str::<serde_json::Value>(&weighted(&[1.0])).unwrap();
}
