//! Unit and property tests of the split.

use proptest::prelude::*;

use super::*;

#[test]
fn one_sample_is_an_error_that_says_what_to_do() {
    let one = Categorical::from_labels(["A", "A"]);
    let error = split(&one, &[], &SplitConfig::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the validation side of the split by sample would be empty (1 groups, fraction 0.8); add samples, choose \
         another fraction, split by patch, or allow the fallback to a split by patch"
    );
    let single = Categorical::from_labels(["A"]);
    let config = SplitConfig::default().with_fallback_to_patches();
    assert!(matches!(
        split(&single, &[], &config),
        Err(Error::EmptySide { .. })
    ));
    let none = Categorical::from_labels::<&str>([]);
    assert!(matches!(
        split(&none, &[], &config),
        Err(Error::EmptySide {
            side: "training",
            ..
        })
    ));
}

#[test]
fn two_samples_leave_one_for_validation() {
    let two = Categorical::from_labels(["A", "B", "A"]);
    let sides = split(&two, &[], &SplitConfig::default()).unwrap();
    assert!(!sides.train.is_empty() && !sides.validation.is_empty());
}

#[test]
fn exact_multiples_of_a_batch_are_not_lost() {
    let samples = Categorical::from_labels((0..160).map(|i| format!("s{}", i / 16)));
    let sides = split(&samples, &[], &SplitConfig::default()).unwrap();
    assert_eq!((sides.train.len(), sides.validation.len()), (128, 32));
}

#[test]
fn strata_keep_their_fraction() {
    let samples = Categorical::from_labels((0..20).map(|i| format!("s{i:02}")));
    let arm = Categorical::from_labels((0..20).map(|i| if i < 10 { "drug" } else { "control" }));
    let config = SplitConfig::default().with_stratify("arm");
    let sides = split(&samples, &[("arm", &arm)], &config).unwrap();
    let drug = sides.train.iter().filter(|&&row| row < 10).count();
    assert_eq!((sides.train.len(), drug), (16, 8));
    assert!(
        split(&samples, &[], &config).is_err(),
        "the column is absent"
    );
}

#[test]
fn a_missing_label_names_its_row() {
    let samples = Categorical::from_optional_labels([Some("A"), None]);
    let error = split(&samples, &[], &SplitConfig::default()).unwrap_err();
    assert!(matches!(error, Error::MissingCategory { row: 1, .. }));
    let by_patch = SplitConfig::default().with_by(SplitBy::Patch);
    assert!(split(&samples, &[], &by_patch).is_ok());
}

#[test]
fn fractions_outside_of_zero_and_one_are_refused() {
    for fraction in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(
            SplitConfig::default()
                .with_fraction(fraction)
                .validate()
                .is_err()
        );
    }
}

#[test]
fn another_seed_makes_another_split() {
    let samples = Categorical::from_labels((0..40).map(|i| format!("s{i}")));
    let draw = |seed| {
        split(
            &samples,
            &[],
            &SplitConfig::default().with_seed(Seed::new(seed)),
        )
        .unwrap()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

proptest! {
    #[test]
    fn no_group_is_on_both_sides_and_no_patch_is_lost(
        labels in prop::collection::vec(0_u8..6, 2..60),
        fraction in 0.05_f64..0.95,
        seed in any::<u64>(),
    ) {
        let samples = Categorical::from_labels(labels.iter().map(|l| format!("s{l}")));
        let config = SplitConfig::default().with_fraction(fraction).with_seed(Seed::new(seed));
        let column = config.clone().with_by(SplitBy::Column("donor".into()));
        let by_column = split(&samples, &[("donor", &samples)], &column);
        match split(&samples, &[], &config) {
            Ok(sides) => {
                let mut all: Vec<usize> = sides.train.iter().chain(&sides.validation).copied().collect();
                all.sort_unstable();
                prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
                for &row in &sides.train {
                    prop_assert!(sides.validation.iter().all(|&other| labels[other] != labels[row]));
                }
                prop_assert_eq!(by_column.unwrap(), sides);
            }
            Err(Error::EmptySide { groups, .. }) => prop_assert_eq!(groups, 1),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn the_order_of_rows_does_not_move_a_sample(seed in any::<u64>()) {
        let forward: Vec<String> = (0..12).map(|i| format!("s{}", i % 5)).collect();
        let backward: Vec<String> = forward.iter().rev().cloned().collect();
        let train = |labels: &[String]| {
            let config = SplitConfig::default().with_fraction(0.5).with_seed(Seed::new(seed));
            let sides = split(&Categorical::from_labels(labels), &[], &config).unwrap();
            sides.train.iter().map(|&row| labels[row].clone()).collect::<std::collections::BTreeSet<_>>()
        };
        prop_assert_eq!(train(&forward), train(&backward));
    }
}
