//! Groups of samples: what was planted to differ is found, and nothing else.

use ndarray::{Array2, array};
use phenocoder_core::{CancelToken, Categorical, Coords, Features, NoProgress, Seed, Stream, Unit};
use phenocoder_spatial::Error;
use phenocoder_spatial::comparison::{
    ComparisonConfig, Difference, GroupComparison, Scale, compare_groups,
};
use phenocoder_spatial::summary::{Group, StatisticsConfig, spatial_statistics};

/// Regions of a sample, far apart, each with two types of its own and two features.
const REGIONS: usize = 6;
/// The regions in which the two types mix, and the features are smooth, in the second group.
const PLANTED: [usize; 2] = [1, 4];
const CELLS: usize = 80;
const SIDE: f64 = 100.0;

/// The cells of one sample: positions, types, features.
fn sample(random: &mut Stream, is_second: bool) -> (Vec<[f64; 2]>, Vec<String>, Vec<Vec<f64>>) {
    let (mut points, mut types) = (Vec::new(), Vec::new());
    let mut features = vec![Vec::new(); REGIONS];
    for region in 0..REGIONS {
        let differs = is_second && PLANTED.contains(&region);
        for _ in 0..CELLS {
            let [y, x] = [random.uniform_in(0.0, SIDE), random.uniform_in(0.0, SIDE)];
            // Mixed: any type anywhere. Otherwise the upper half is mostly of the first.
            let share = if y < SIDE / 2.0 { 0.85 } else { 0.15 };
            let is_first = random.chance(if differs { 0.5 } else { share });
            points.push([y, x + 3.0 * SIDE * region as f64]);
            types.push(format!("{}{region}", if is_first { "a" } else { "b" }));
            for (other, feature) in features.iter_mut().enumerate() {
                let smooth = (x / 12.0).sin() * f64::from(u8::from(differs && other == region));
                feature.push(random.normal() + 2.0 * smooth);
            }
        }
    }
    (points, types, features)
}

/// The statistics of `n` samples of each group.
fn tissue(n: usize, seed: u64, groups_differ: bool) -> (Features, Categorical) {
    let mut random = Seed::new(seed).stream("tissue", 0);
    let (mut points, mut types, mut samples) = (Vec::new(), Vec::new(), Vec::new());
    let mut features = vec![Vec::new(); REGIONS];
    for number in 0..2 * n {
        let (p, t, f) = sample(&mut random, groups_differ && number >= n);
        samples.extend(vec![format!("s{number:03}"); p.len()]);
        points.extend(p);
        types.extend(t);
        features
            .iter_mut()
            .zip(f)
            .for_each(|(all, f)| all.extend(f));
    }
    let rows = points.len();
    let points = Array2::from_shape_fn((rows, 2), |(i, j)| points[i][j]);
    let features = Array2::from_shape_fn((rows, REGIONS), |(i, j)| features[j][i]);
    let config = StatisticsConfig::new([15.0]).with_groups([
        Group::Interactions,
        Group::Connectivity,
        Group::MoranFeatures,
        Group::MoranClusters,
    ]);
    let names = (0..REGIONS).map(|region| format!("f{region}"));
    let table = spatial_statistics(
        &Coords::new(points, Unit::Micrometer).unwrap(),
        &Categorical::from_labels(samples.iter().map(String::as_str)),
        &Categorical::from_labels(types.iter().map(String::as_str)),
        Some(&Features::new(features, names).unwrap()),
        &config,
        &NoProgress,
    )
    .unwrap();
    let group = |i: usize| if i < n { "control" } else { "treated" };
    let groups = Categorical::from_labels((0..2 * n).map(group));
    (table.to_features().unwrap(), groups)
}

/// Whether the law of a statistic differs: interactions, autocorrelation and features of the planted regions.
fn is_planted(name: &str) -> bool {
    let name = name.split_once("stat:").unwrap().1;
    let region = name.chars().last().and_then(|c| c.to_digit(10));
    let of_planted = region.is_some_and(|region| PLANTED.contains(&(region as usize)));
    of_planted && !name.starts_with("connectivity")
}

fn config(permutations: usize) -> ComparisonConfig {
    ComparisonConfig::new().with_permutations(permutations)
}

#[test]
fn statistics_planted_to_differ_are_found_and_no_others() {
    for scale in [Scale::Values, Scale::Ranks] {
        let (mut found, mut right, mut planted) = (0, 0, 0);
        for seed in 0..5 {
            let (values, groups) = tissue(15, seed, true);
            let config = config(4999).with_scale(scale);
            let result = compare_groups(&values, &groups, None, &config, &NoProgress).unwrap();
            // What is the same in every sample, as that far regions never touch, can be told of no group.
            let tested = result.differences.iter().filter(|d| !d.p_value.is_nan());
            planted += tested.filter(|d| is_planted(&d.name)).count();
            let discoveries = result.discoveries(0.05);
            found += discoveries.len();
            right += discoveries.iter().filter(|d| is_planted(&d.name)).count();
        }
        let precision = right as f64 / found as f64;
        let recall = right as f64 / planted as f64;
        println!(
            "{scale:?}: {planted} planted, {found} found: precision {precision:.3}, recall {recall:.3}"
        );
        assert!(precision >= 0.9 && recall >= 0.9, "{precision} {recall}");
    }
}

#[test]
fn nothing_is_found_where_nothing_differs() {
    let (mut runs, mut low, mut all) = (0, 0, 0);
    for seed in 0..100 {
        let (values, groups) = tissue(6, 1000 + seed, false);
        let result = compare_groups(&values, &groups, None, &config(999), &NoProgress).unwrap();
        runs += usize::from(!result.discoveries(0.05).is_empty());
        let tested = result.differences.iter().filter(|d| !d.p_value.is_nan());
        low += tested.clone().filter(|d| d.p_value <= 0.05).count();
        all += tested.count();
    }
    let share = low as f64 / all as f64;
    println!("{runs} of 100 runs with a discovery at 5 %; {share:.4} of {all} p-values ≤ 0.05");
    assert!(runs <= 5, "{runs}");
    assert!((0.04..0.06).contains(&share), "{share}");
}

fn one_column(values: &[f64]) -> Features {
    let column = Array2::from_shape_vec((values.len(), 1), values.to_vec()).unwrap();
    Features::new(column, ["statistic"]).unwrap()
}

fn compared(values: &[f64], groups: &[&str], blocks: Option<&[&str]>) -> GroupComparison {
    let groups = Categorical::from_labels(groups.iter().copied());
    let blocks = blocks.map(|blocks| Categorical::from_labels(blocks.iter().copied()));
    let values = one_column(values);
    compare_groups(
        &values,
        &groups,
        blocks.as_ref(),
        &config(9999),
        &NoProgress,
    )
    .unwrap()
}

#[test]
fn blocks_hide_no_difference_and_make_none() {
    // Groups differ by 1, batches by 100, and groups are unevenly spread over them.
    let groups = ["a", "a", "a", "b", "b", "a", "a", "b", "b", "b"];
    let blocks = ["1", "1", "1", "1", "1", "2", "2", "2", "2", "2"];
    let noise = [0.0, 0.1, 0.2, 0.15, 0.05, 0.03, 0.17, 0.02, 0.11, 0.14];
    let value = |i: usize, effect: f64| {
        noise[i] + effect * f64::from(groups[i] == "b") + 100.0 * f64::from(blocks[i] == "2")
    };
    let with: Vec<f64> = (0..10).map(|i| value(i, 1.0)).collect();
    let blind = &compared(&with, &groups, None).differences[0];
    assert!(blind.p_value > 0.2, "{blind:?}");
    let found = &compared(&with, &groups, Some(&blocks)).differences[0];
    // One of 10 · 10 arrangements is as good.
    assert_eq!(
        (found.p_value, found.arrangements, found.is_exact),
        (0.01, 100, true)
    );
    assert!(found.effect > 3.0 && found.explained > 0.9, "{found:?}");
    let without: Vec<f64> = (0..10).map(|i| value(i, 0.0)).collect();
    let none = &compared(&without, &groups, Some(&blocks)).differences[0];
    assert!(none.p_value > 0.2, "{none:?}");
}

#[test]
fn the_least_p_value_is_that_of_groups_that_lie_far_apart() {
    type Names = &'static [&'static str];
    let cases: [(Names, Option<Names>, f64); 6] = [
        (&["a", "a", "a", "b", "b", "b"], None, 2.0 / 20.0),
        (&["a", "a", "a", "b", "b", "b", "b"], None, 1.0 / 35.0),
        (&["a", "a", "b", "b", "c", "c"], None, 6.0 / 90.0),
        (&["a", "a", "b", "b", "c", "c", "c"], None, 2.0 / 210.0),
        (
            &["a", "a", "b", "b", "a", "a", "b", "b"],
            Some(&["1", "1", "1", "1", "2", "2", "2", "2"]),
            2.0 / 36.0,
        ),
        (
            &["a", "a", "b", "b", "a", "b", "b"],
            Some(&["1", "1", "1", "1", "2", "2", "2"]),
            1.0 / 18.0,
        ),
    ];
    for (groups, blocks, least) in cases {
        let far = |(i, group): (usize, &&str)| {
            let apart = 10.0 * ["a", "b", "c"].iter().position(|g| g == group).unwrap() as f64;
            apart + 0.01 * (i * i % 7) as f64
        };
        let values: Vec<f64> = groups.iter().enumerate().map(far).collect();
        let found = &compared(&values, groups, blocks).differences[0];
        assert!((found.p_value - least).abs() < 1e-12, "{found:?}");
        assert!((found.least_p_value - least).abs() < 1e-12, "{found:?}");
        // Too many to look at all: the one at hand is one more.
        let groups = Categorical::from_labels(groups.iter().copied());
        let few = compare_groups(&one_column(&values), &groups, None, &config(4), &NoProgress);
        assert_eq!(few.unwrap().differences[0].least_p_value, 1.0 / 5.0);
    }
}

#[test]
fn effects_and_exact_p_values_are_those_of_the_textbook() {
    // scipy.stats.permutation_test with all 126 arrangements; g from means 2.42 and 4.125, pooled standard deviation.
    let values = [2.1, 3.0, 1.9, 2.2, 2.9, 4.4, 2.8, 4.9, 4.4];
    let groups = ["a", "a", "a", "a", "a", "b", "b", "b", "b"];
    let found = &compared(&values, &groups, None).differences[0];
    assert_eq!(found.counts, [5, 4]);
    assert!((found.means[0] - 2.42).abs() < 1e-12 && (found.means[1] - 4.125).abs() < 1e-12);
    assert!((found.p_value - 3.0 / 126.0).abs() < 1e-12, "{found:?}");
    assert!(
        (found.effect - 2.143_043_273_663_433_4).abs() < 1e-10,
        "{found:?}"
    );
    assert!(
        (found.explained - 0.648_889_508_928_571_4).abs() < 1e-12,
        "{found:?}"
    );
    let groups = Categorical::from_labels(groups);
    let ranks = config(9999).with_scale(Scale::Ranks);
    let found = compare_groups(&one_column(&values), &groups, None, &ranks, &NoProgress).unwrap();
    let found = &found.differences[0];
    assert!((found.p_value - 7.0 / 126.0).abs() < 1e-12, "{found:?}");
    assert!((found.effect - 0.8).abs() < 1e-12, "{found:?}");
}

#[test]
fn random_arrangements_come_close_to_all_of_them() {
    let mut random = Seed::new(3).stream("values", 0);
    let values: Vec<f64> = (0..16)
        .map(|i| random.normal() + f64::from(u8::from(i > 7)))
        .collect();
    let groups = Categorical::from_labels((0..16).map(|i| if i < 8 { "a" } else { "b" }));
    let values = one_column(&values);
    // 12,870 arrangements in all.
    let p = |permutations, seed| {
        let config = config(permutations).with_seed(Seed::new(seed));
        let found = compare_groups(&values, &groups, None, &config, &NoProgress).unwrap();
        (found.differences[0].p_value, found.differences[0].is_exact)
    };
    let (exact, is_exact) = p(12_870, 0);
    assert!(is_exact && exact > 0.001 && exact < 0.5, "{exact}");
    for seed in 0..3 {
        let (found, is_exact) = p(5000, seed);
        let deviation = (exact * (1.0 - exact) / 5000.0).sqrt();
        assert!(
            !is_exact && (found - exact).abs() < 4.0 * deviation,
            "{found} {exact}"
        );
    }
    assert_ne!(p(5000, 0), p(5000, 1));
    assert_eq!(p(5000, 1), p(5000, 1));
}

#[test]
fn missing_values_leave_out_their_row_from_their_column_alone() {
    let n = f64::NAN;
    let values = array![
        [1.0, 1.0, 7.0],
        [2.0, n, 7.0],
        [3.0, 3.0, 7.0],
        [4.0, 4.0, 7.0],
        [11.0, 11.0, 7.0],
        [12.0, 12.0, 7.0],
        [13.0, n, 7.0],
        [14.0, 14.0, 7.0],
        [99.0, 99.0, 9.0],
    ];
    let values = Features::new(values, ["full", "gaps", "constant"]).unwrap();
    let groups = Categorical::new(
        vec![0, 0, 0, 0, 2, 2, 2, 2, -1],
        vec!["a".to_owned(), "unused".to_owned(), "b".to_owned()],
    )
    .unwrap();
    let found = compare_groups(&values, &groups, None, &config(999), &NoProgress).unwrap();
    assert_eq!(
        (found.groups.as_slice(), found.rows_left_out),
        (["a".to_owned(), "b".to_owned()].as_slice(), 1)
    );
    let [full, gaps, constant] = found.differences.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        (full.counts.as_slice(), full.arrangements),
        ([4, 4].as_slice(), 70)
    );
    assert_eq!(
        (gaps.counts.as_slice(), gaps.arrangements),
        ([3, 3].as_slice(), 20)
    );
    assert_eq!((full.p_value, gaps.p_value), (2.0 / 70.0, 0.1));
    assert!(constant.p_value.is_nan() && constant.effect.is_nan() && constant.p_adjusted.is_nan());
    assert_eq!((full.least_p_value, gaps.least_p_value), (2.0 / 70.0, 0.1));
    assert!(constant.least_p_value.is_nan());
    assert_eq!(constant.means, [7.0, 7.0]);
    // The constant one does not count in the adjustment.
    assert_eq!(full.p_adjusted, 4.0 / 70.0);
}

#[test]
fn results_do_not_depend_on_threads_units_or_the_order_of_rows() {
    let (values, groups) = tissue(8, 7, true);
    let blocks = Categorical::from_labels((0..16).map(|row| ["x", "y"][row % 2]));
    // Random and, of 70 · 70, all arrangements.
    for (permutations, scale) in [(499, Scale::Values), (4900, Scale::Ranks)] {
        let config = config(permutations).with_scale(scale);
        let run = |values: &Features, groups: &Categorical, blocks: &Categorical| {
            let found = compare_groups(values, groups, Some(blocks), &config, &NoProgress);
            let found = found.unwrap().differences.into_iter();
            let bits = |d: Difference| (d.p_value.to_bits(), d.effect, d.explained, d.is_exact);
            found.map(bits).collect::<Vec<_>>()
        };
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let expected = pool(1).unwrap().install(|| run(&values, &groups, &blocks));
        assert_eq!(expected.iter().any(|found| found.3), permutations == 4900);
        let same = |found: Vec<(u64, f64, f64, bool)>| {
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        };
        for threads in [2, 4, 8] {
            same(
                pool(threads)
                    .unwrap()
                    .install(|| run(&values, &groups, &blocks)),
            );
        }
        for power in [-900, 900] {
            let scaled = values.view().mapv(|x| x * 2_f64.powi(power));
            let scaled = Features::new(scaled, values.names().to_vec()).unwrap();
            same(run(&scaled, &groups, &blocks));
        }
        if permutations == 4900 {
            let rows: Vec<usize> = (0..16).rev().collect();
            let found = run(
                &values.select(&rows),
                &groups.select(&rows),
                &blocks.select(&rows),
            );
            for (found, expected) in found.into_iter().zip(&expected) {
                assert_eq!(found.0, expected.0);
                let is_near = (found.1 - expected.1).abs() < 1e-9 * expected.1.abs();
                assert!(is_near || expected.1.is_nan() || found.1 == expected.1);
            }
        }
    }
}

#[test]
fn values_without_spread_are_certain_or_untold_not_rounding() {
    let groups = ["a", "a", "a", "a", "b", "b", "b", "b"];
    for (low, high) in [(0.1, 0.7), (0.3, 0.4), (1e-200, 3e-200), (1e200, 7e200)] {
        let values = groups.map(|group| if group == "a" { low } else { high });
        let found = &compared(&values, &groups, None).differences[0];
        assert_eq!(
            (found.effect, found.p_value),
            (f64::INFINITY, 2.0 / 70.0),
            "{found:?}"
        );
        assert_eq!(found.means, [low, high]);
    }
    let values = groups.map(|group| if group == "a" { 0.3 } else { 0.1 + 0.2 });
    let groups = Categorical::from_labels(groups);
    for scale in [Scale::Values, Scale::Ranks] {
        let config = config(99).with_scale(scale);
        let found = compare_groups(&one_column(&values), &groups, None, &config, &NoProgress);
        let found = &found.unwrap().differences[0];
        assert!(found.p_value.is_nan() && found.effect.is_nan(), "{found:?}");
        assert_eq!(found.arrangements, 0);
    }
}

#[test]
fn input_that_makes_no_sense_is_an_error() {
    let values = one_column(&[1.0, 2.0, f64::INFINITY]);
    let groups = |labels: [&str; 3]| Categorical::from_labels(labels);
    let compare = |values: &Features, groups: &Categorical, permutations| {
        compare_groups(values, groups, None, &config(permutations), &NoProgress)
    };
    let error = compare(&values, &groups(["a", "b", "b"]), 99).unwrap_err();
    assert!(
        matches!(&error, Error::InfiniteValue { row: 2, column, .. } if column == "statistic"),
        "{error}"
    );
    let values = one_column(&[1.0, 2.0, 3.0]);
    let error = compare(&values, &groups(["a", "a", "a"]), 99).unwrap_err();
    assert_eq!(error, Error::TooFewCategories { found: 1 });
    let error = compare(&values, &groups(["a", "b", "b"]), 0).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
    let short = Categorical::from_labels(["a", "b"]);
    assert!(matches!(compare(&values, &short, 9), Err(Error::Shape(_))));
    let stop = CancelToken::new();
    stop.cancel();
    let result = compare_groups(&values, &groups(["a", "b", "b"]), None, &config(9), &stop);
    assert!(matches!(result, Err(Error::Cancelled(_))), "{result:?}");
}
