//! What must hold for every statistic of the crate: the same bits on any number of threads, the same values in any order of the
//! cells and after any rigid motion, and an answer or a typed error for input at the edge of definition.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ndarray::{Array2, Axis, array};
use phenocoder_core::{CancelToken, Categorical, Seed};
use phenocoder_spatial::autocorrelation::{
    Assumption, LocalConfig, LocalNull, PermutationConfig, Permuted, SpatialWeights, Tail,
    TestConfig, bivariate_geary_permuted, bivariate_moran_permuted, geary_permuted,
    local_bivariate_moran, local_geary, local_moran, moran_permuted,
};
use phenocoder_spatial::centrality::{
    BetweennessConfig, BetweennessScale, NodeCloseness, betweenness_centrality,
    closeness_centrality, group_betweenness,
};
use phenocoder_spatial::co_occurrence::{Neighborhood, co_occurrence};
use phenocoder_spatial::comparison::{ComparisonConfig, Scale};
use phenocoder_spatial::enrichment::{EnrichmentConfig, enrichment_permuted};
use phenocoder_spatial::interactions::EdgeWeight;
use phenocoder_spatial::ripley::{RipleyConfig, RipleyFunction, ripley};
use phenocoder_spatial::sepal::{Lattice, SepalConfig, sepal};
use phenocoder_spatial::{Error, radius_graph};
use phenocoder_testdata::max_relative_error;
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

use crate::catalogue::{Catalogue, Entry, Input, Kind, Of, all, sepal_of};

/// A hash of all bits, and of the errors.
fn hash(entry: &Entry) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |word: u64| hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    match &entry.values {
        Ok(values) => values.iter().for_each(|v| add(v.to_bits())),
        Err(error) => error.to_string().bytes().for_each(|b| add(u64::from(b))),
    }
    hash
}

fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(work)
}

#[test]
fn every_statistic_has_the_same_bits_on_1_2_4_and_8_threads() {
    for (n, d) in [(1_500, 3), (9_000, 2)] {
        let input = Input::clumps(n, d, 5);
        let hashes = |threads| -> Vec<(String, u64)> {
            let Catalogue(entries) = on_threads(threads, || all(&input));
            entries.iter().map(|e| (e.name.clone(), hash(e))).collect()
        };
        let one = hashes(1);
        println!("{n} cells: {} statistics", one.len());
        for threads in [2, 4, 8] {
            assert_eq!(hashes(threads), one, "{threads} threads");
        }
    }
    let (points, x) = lattice(40);
    let one = on_threads(1, || sepal_of(&points, &x, Lattice::Square));
    for threads in [2, 4, 8] {
        assert_eq!(
            on_threads(threads, || sepal_of(&points, &x, Lattice::Square)),
            one
        );
    }
}

/// A square lattice with two edges between high and low, and noise.
fn lattice(edge: usize) -> (Array2<f64>, Array2<f64>) {
    let at = |i: usize, axis: usize| [i / edge, i % edge][axis] as f64;
    let points = Array2::from_shape_fn((edge * edge, 2), |(i, axis)| at(i, axis));
    let mut stream = Seed::new(8).stream("lattice", 0);
    let x = Array2::from_shape_fn((edge * edge, 3), |(i, f)| match f {
        0 | 1 if at(i, f) < 0.4 * edge as f64 => 9.0,
        0 | 1 => 1.0,
        _ => stream.uniform(),
    });
    (points, x)
}

/// The numbers of the rows or edges of a permuted input, in the order of the original.
fn in_order(entry: &Entry, order: &[usize], values: &[f64]) -> Vec<f64> {
    let n = order.len();
    match entry.of {
        Of::All => values.to_vec(),
        Of::Nodes => {
            let width = values.len() / n;
            let mut back = vec![0.0; values.len()];
            for (row, &original) in values.chunks_exact(width).zip(order) {
                back[original * width..][..width].copy_from_slice(row);
            }
            back
        }
        Of::Edges => {
            let edges = values.chunks_exact(3);
            let original = |node: f64| order[node as usize];
            let edges = edges.map(|e| ((original(e[0]), original(e[1])), e[2]));
            // Columns may be out of order now.
            let sorted: BTreeMap<(usize, usize), f64> = edges.collect();
            let triple = |((a, b), value): (&(usize, usize), &f64)| [*a as f64, *b as f64, *value];
            sorted.iter().flat_map(triple).collect()
        }
    }
}

fn assert_same(entry: &Entry, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{}", entry.name);
    let error = max_relative_error(found, expected, 1e-3);
    assert!(error <= tolerance, "{}: {error:e}", entry.name);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn no_statistic_depends_on_the_order_of_the_cells(seed: u64, d in 2_usize..=3) {
        let input = Input::clumps(240, d, seed);
        let order = Seed::new(seed).stream("order", 0).permutation(240);
        let (Catalogue(expected), Catalogue(found)) = (all(&input), all(&input.select(&order)));
        for (found, expected) in found.iter().zip(&expected) {
            if expected.kind == Kind::Exact {
                let (a, b) = (found.values.as_ref().unwrap(), expected.values.as_ref().unwrap());
                assert_same(expected, &in_order(expected, &order, a), b, 1e-8);
            }
        }
    }

    #[test]
    fn no_statistic_depends_on_where_the_tissue_lies(
        seed: u64,
        angle in 0.0..6.3_f64,
        shift in -1e3..1e3_f64,
        d in 2_usize..=3,
    ) {
        let input = Input::clumps(240, d, seed);
        let (s, c) = angle.sin_cos();
        let turn = match d {
            2 => array![[c, -s], [s, c]],
            _ => array![[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]
                .dot(&array![[1.0, 0.0, 0.0], [0.0, s, c], [0.0, c, -s]]),
        };
        let moved = Input { points: input.points.dot(&turn) + shift, ..input.clone() };
        let (Catalogue(expected), Catalogue(found)) = (all(&input), all(&moved));
        for (found, expected) in found.iter().zip(&expected) {
            if expected.kind != Kind::Placed {
                let (a, b) = (found.values.as_ref().unwrap(), expected.values.as_ref().unwrap());
                assert_same(expected, a, b, 1e-7);
            }
        }
    }
}

#[test]
fn sepal_depends_neither_on_the_order_of_the_spots_nor_on_where_they_lie() {
    for kind in [Lattice::Square, Lattice::Hexagonal] {
        let (mut points, x) = lattice(14);
        if kind == Lattice::Hexagonal {
            for mut row in points.rows_mut() {
                row[1] += 0.5 * (row[0] % 2.0);
                row[0] *= 0.75_f64.sqrt();
            }
        }
        let times = sepal_of(&points, &x, kind);
        assert!(times[0] > times[2] && times[1] > times[2], "{times:?}");
        let moved = sepal_of(&(&points + 77.0), &x, kind);
        assert_eq!(moved, times);
        // A quarter turn; the differences of coordinates change only their places.
        let turned = points.dot(&array![[0.0, 1.0], [-1.0, 0.0]]);
        assert_eq!(sepal_of(&turned, &x, kind), times);
        if kind == Lattice::Square {
            // Without holes, a spot at the edge has one neighbor inside.
            let order = Seed::new(2).stream("order", 0).permutation(points.nrows());
            let permuted = [&points, &x].map(|m| m.select(Axis(0), &order));
            let found = sepal_of(&permuted[0], &permuted[1], kind);
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 0.001 + 1e-12;
            assert!(found.iter().zip(&times).all(close), "{found:?} {times:?}");
        }
    }
}

#[test]
fn every_function_that_can_take_long_stops_when_asked() {
    let token = CancelToken::new();
    token.cancel();
    let input = Input::clumps(60, 2, 3);
    let graph = radius_graph(input.points.view(), input.radius).unwrap();
    let (x, y, labels) = (input.x.view(), input.y.view(), &input.labels);
    let (permuted, local) = (PermutationConfig::new(9), LocalConfig::new());
    let paths = BetweennessConfig::new();
    let square = SepalConfig::new(Lattice::Square);
    let (points, spots) = lattice(5);
    let grid = radius_graph(points.view(), 1.0).unwrap();
    let distances = RipleyConfig::new();
    let discs = Neighborhood::Disc;
    let stopped: [(&str, Option<Error>); 14] = [
        ("Moran", moran_permuted(&graph, x, &permuted, &token).err()),
        ("Geary", geary_permuted(&graph, x, &permuted, &token).err()),
        (
            "bivariate",
            bivariate_moran_permuted(&graph, x, y, &permuted, &token).err(),
        ),
        (
            "bivariate Geary",
            bivariate_geary_permuted(&graph, x, y, &permuted, &token).err(),
        ),
        ("local Moran", local_moran(&graph, x, &local, &token).err()),
        ("local Geary", local_geary(&graph, x, &local, &token).err()),
        (
            "local bivariate",
            local_bivariate_moran(&graph, x, y, &local, &token).err(),
        ),
        (
            "closeness",
            closeness_centrality(&graph, NodeCloseness::Improved, &token).err(),
        ),
        (
            "betweenness",
            betweenness_centrality(&graph, &paths, &token).err(),
        ),
        (
            "groups",
            group_betweenness(&graph, labels, &paths, &token).err(),
        ),
        (
            "sepal",
            sepal(&grid, points.view(), spots.view(), &square, &token).err(),
        ),
        (
            "enrichment",
            enrichment_permuted(&graph, labels, None, &EnrichmentConfig::new(), &token).err(),
        ),
        (
            "Ripley",
            ripley(
                input.points.view(),
                labels,
                RipleyFunction::K,
                &distances,
                &token,
            )
            .err(),
        ),
        (
            "co-occurrence",
            co_occurrence(input.points.view(), labels, &[1.0], discs, &token).err(),
        ),
    ];
    for (name, error) in stopped {
        assert!(
            matches!(error, Some(Error::Cancelled(_))),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn settings_read_back_from_json_and_misspelt_ones_are_refused() {
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(config: T, field: &str) {
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(field), "{text}");
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), config);
        let misspelt = text.replace(field, &format!("{field}s"));
        assert!(serde_json::from_str::<T>(&misspelt).is_err(), "{misspelt}");
        // Anything left out has its default.
        assert!(serde_json::from_str::<T>("{}").is_ok());
    }
    let weights = SpatialWeights::default().with_edges(EdgeWeight::Value);
    check(weights, "normalization");
    let permuted = PermutationConfig::new(5).with_permuted(Permuted::Rows);
    check(permuted.with_tail(Tail::Two), "permutations");
    let local = LocalConfig::new().with_moments(LocalNull::Total);
    check(local.with_seed(Seed::new(4)), "moments");
    let pairs = BetweennessConfig::new().with_scale(BetweennessScale::Pairs);
    check(pairs.with_pivots(3), "pivots");
    check(
        SepalConfig::new(Lattice::Square).with_threshold(1e-7),
        "time_step",
    );
    let test = TestConfig::new().with_assumption(Assumption::RowPermutation);
    check(test.with_tail(Tail::Two), "assumption");
    let enrichment = EnrichmentConfig::new().with_seed(Seed::new(4));
    check(enrichment.with_permutations(7), "permutations");
    let comparison = ComparisonConfig::new().with_scale(Scale::Ranks);
    check(comparison.with_seed(Seed::new(5)), "scale");
}

fn categories(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Input at the edge of definition, by name, with the errors that are allowed besides values.
fn degenerate() -> Vec<(&'static str, Input)> {
    let whole = Input::clumps(60, 2, 3);
    let first = |n: usize| whole.select(&(0..n).collect::<Vec<_>>());
    let with = |change: &dyn Fn(&mut Input)| {
        let mut input = whole.clone();
        change(&mut input);
        input
    };
    vec![
        ("no cells", first(0)),
        ("one cell", first(1)),
        ("two cells", first(2)),
        ("three cells", first(3)),
        ("all points coincide", with(&|input| input.points.fill(3.0))),
        (
            "pairs of coincident points",
            with(&|input| {
                for i in (0..60).step_by(2) {
                    let row = input.points.row(i).to_owned();
                    input.points.row_mut(i + 1).assign(&row);
                }
            }),
        ),
        (
            "all points on a line",
            with(&|input| input.points.column_mut(1).fill(1.0)),
        ),
        ("no edges", with(&|input| input.radius = 0.0)),
        (
            "all linked with all",
            with(&|input| input.radius = f64::INFINITY),
        ),
        (
            "one cluster",
            with(&|input| input.labels = Categorical::from_labels(["a"; 60])),
        ),
        (
            "every cell a cluster",
            with(&|input| {
                input.labels = Categorical::from_labels((0..60).map(|i| i.to_string()));
            }),
        ),
        (
            "empty categories",
            with(&|input| {
                let codes = input
                    .labels
                    .codes()
                    .iter()
                    .map(|code| 2 * code + 1)
                    .collect();
                let names = categories(&["none", "a", "nor", "b", "neither", "c", "nobody"]);
                input.labels = Categorical::new(codes, names).unwrap();
            }),
        ),
        (
            "labels missing",
            with(&|input| {
                let labels = input.labels.labels().enumerate();
                let some: Vec<_> = labels
                    .map(|(i, label)| label.filter(|_| i % 4 > 0))
                    .collect();
                input.labels = Categorical::from_optional_labels(some);
            }),
        ),
        (
            "no labels",
            with(&|input| {
                input.labels = Categorical::new(vec![-1; 60], categories(&["a", "b"])).unwrap();
                input.samples = Categorical::new(vec![-1; 60], Vec::new()).unwrap();
            }),
        ),
        (
            "a NaN and an infinity in the features",
            with(&|input| {
                input.x[[7, 0]] = f64::NAN;
                input.y[[9, 0]] = f64::INFINITY;
            }),
        ),
        (
            "constant features",
            with(&|input| {
                input.x.fill(0.1);
                input.y.fill(-1e300);
            }),
        ),
        (
            "no features",
            with(&|input| {
                input.x = Array2::zeros((60, 0));
                input.y = Array2::zeros((60, 0));
            }),
        ),
        (
            "a coordinate that is not finite",
            with(&|input| input.points[[5, 1]] = f64::NAN),
        ),
    ]
}

#[test]
fn input_at_the_edge_of_definition_has_values_or_typed_errors() {
    for (name, input) in degenerate() {
        let Catalogue(entries) = all(&input);
        assert!(!entries.is_empty(), "{name}");
        for entry in &entries {
            let place = format!("{name}: {}", entry.name);
            match &entry.values {
                Err(Error::NotFinite {
                    row: 5, axis: 1, ..
                }) => {
                    assert_eq!(name, "a coordinate that is not finite", "{place}");
                }
                Err(Error::TooManyNeighbors { points, .. }) => assert!(*points <= 4, "{place}"),
                Err(Error::Degenerate { .. }) => {
                    let flat = input.points.nrows() < 4 || name.starts_with("all points");
                    assert!(flat, "{place}");
                }
                Err(Error::TooFewCategories { .. }) => {
                    assert!(entry.name.starts_with("enrichment"), "{place}");
                    assert!(input.labels.categories().len() < 2, "{place}");
                }
                Err(Error::MissingLabel { .. }) => {
                    assert!(entry.name.starts_with("enrichment"), "{place}");
                    assert!(name.contains("labels"), "{place}");
                }
                Err(Error::NoLabels) => assert!(entry.name == "co-occurrence", "{place}"),
                Err(error) => panic!("{place}: {error}"),
                Ok(values) => {
                    let infinite = values.iter().filter(|v| v.is_infinite()).count();
                    // A count that cannot vary and yet differs from its mean has an infinite z; a NaN or an infinity of a cell
                    // reaches its neighbors' means.
                    let allowed = entry.name.starts_with("enrichment") || entry.name == "smoothing";
                    assert!(infinite == 0 || allowed, "{place}: {values:?}");
                }
            }
        }
    }
}

/// The values of a statistic, of which there may be several variants.
fn values<'a>(entries: &'a [Entry], name: &str) -> Vec<&'a Vec<f64>> {
    let found: Vec<&Vec<f64>> = entries
        .iter()
        .filter(|entry| entry.name == name)
        .map(|entry| entry.values.as_ref().unwrap())
        .collect();
    assert!(!found.is_empty(), "{name}");
    found
}

#[test]
fn what_is_not_defined_is_nan_and_nothing_else_is() {
    let of_features = [
        "Moran's I",
        "Geary's C",
        "Lee's L",
        "local Moran",
        "local Geary",
        "local bivariate Moran",
        "numeric assortativity",
    ];
    let of_edges = ["assortativity", "mixing entropy"];
    let zero_without_edges = [
        "clustering",
        "degree centrality",
        "closeness",
        "betweenness",
    ];
    for (name, input) in degenerate() {
        let Catalogue(entries) = all(&input);
        // Quadrants are 0 where there are none.
        let undefined = |statistic: &str| {
            let mut all = values(&entries, statistic).into_iter().flatten();
            all.all(|v| v.is_nan() || (statistic.starts_with("local") && *v == 0.0))
        };
        match name {
            "no edges" => {
                let all = of_features.iter().chain(&of_edges);
                all.for_each(|statistic| assert!(undefined(statistic), "{name}: {statistic}"));
                // With the cell itself in it, a neighborhood is never empty.
                let [empty, own] = values(&entries, "entropy of neighborhoods")[..] else {
                    panic!("two definitions")
                };
                assert!(empty.iter().all(|h| h.is_nan()) && own.iter().all(|h| *h == 0.0));
                for statistic in zero_without_edges {
                    let mut all = values(&entries, statistic).into_iter().flatten();
                    assert!(all.all(|v| *v == 0.0), "{name}: {statistic}");
                }
            }
            "constant features" => {
                for statistic in of_features {
                    assert!(undefined(statistic), "{name}: {statistic}");
                }
            }
            "a NaN and an infinity in the features" => {
                for statistic in ["Moran's I", "Geary's C", "numeric assortativity"] {
                    for found in values(&entries, statistic) {
                        assert!(found[0].is_nan() && found[1].is_finite(), "{statistic}");
                    }
                }
            }
            "all linked with all" => {
                let betweenness = values(&entries, "betweenness");
                assert!(betweenness.into_iter().flatten().all(|v| *v == 0.0));
                let degree = values(&entries, "degree centrality");
                assert!(degree.into_iter().flatten().all(|v| *v == 1.0));
                // Every value meets all others: I is what chance expects, and cannot be anything else.
                for found in values(&entries, "Moran, tested").into_iter().take(2) {
                    assert!(
                        found[4..].iter().all(|v| v.is_nan() || *v == 0.0),
                        "{found:?}"
                    );
                }
                for found in values(&entries, "Moran's I") {
                    assert!(
                        found.iter().all(|i| (i + 1.0 / 59.0).abs() < 1e-12),
                        "{found:?}"
                    );
                }
            }
            "all points coincide" => {
                let graph = radius_graph(input.points.view(), 0.0).unwrap();
                assert_eq!(graph.n_edges(), 60 * 59);
            }
            _ => {}
        }
    }
}

#[test]
fn unused_categories_change_nothing_but_their_own_rows() {
    let whole = Input::clumps(60, 2, 3);
    let mut unused = whole.clone();
    let codes = whole.labels.codes().iter().map(|code| 2 * code).collect();
    let names = categories(&["a", "unused", "b", "unused too", "c"]);
    unused.labels = Categorical::new(codes, names).unwrap();
    let (Catalogue(expected), Catalogue(found)) = (all(&whole), all(&unused));
    let mut compared = 0;
    for (expected, found) in expected.iter().zip(&found) {
        let (a, b) = (
            expected.values.as_ref().unwrap(),
            found.values.as_ref().unwrap(),
        );
        // The positions of the old categories, for results that have one, two or no axes of them.
        let kept: Vec<f64> = match expected.name.as_str() {
            "interactions"
            | "enrichment"
            | "enrichment within samples"
            | "enrichment, permuted" => {
                let used = |i: usize| i.is_multiple_of(2);
                let is_kept = |i: &usize| used(i / 5 % 5) && used(i % 5);
                (0..b.len()).filter(is_kept).map(|i| b[i]).collect()
            }
            "co-occurrence" => {
                let used = |i: usize| i.is_multiple_of(2);
                let is_kept = |i: &usize| used(i / 10) && used(i / 2 % 5);
                (0..b.len()).filter(is_kept).map(|i| b[i]).collect()
            }
            "centrality of groups"
            | "betweenness of groups"
            | "composition"
            | "composition of neighborhoods" => (0..b.len())
                .filter(|i| i % 5 % 2 == 0)
                .map(|i| b[i])
                .collect(),
            "degrees" => (0..b.len())
                .filter(|i| *i < 2 || (i - 2) / 2 % 2 == 0)
                .map(|i| b[i])
                .collect(),
            // A part of the entropy of all categories, used or not.
            "entropy of neighborhoods" => {
                b.iter().map(|h| h * 5.0_f64.ln() / 3.0_f64.ln()).collect()
            }
            name if name.starts_with("Ripley") => continue,
            _ => b.clone(),
        };
        assert_same(expected, &kept, a, 1e-12);
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}
