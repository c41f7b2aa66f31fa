//! Values, numbers and sizes beyond the usual: right answers in bounded memory, or typed errors.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ndarray::{Array2, array, concatenate, s};
use phenocoder_core::{Categorical, CsrGraph, NoProgress, Progress, Seed};
use phenocoder_spatial::assortativity::numeric_assortativity;
use phenocoder_spatial::autocorrelation::{
    Assumption, LocalAutocorrelation, LocalConfig, LocalNull, Normalization, PermutationConfig,
    Permuted, SpatialWeights, TestConfig, bivariate_geary, bivariate_geary_permuted,
    bivariate_moran, bivariate_moran_permuted, geary_c, geary_permuted, geary_test, lee_l,
    local_bivariate_moran, local_geary, local_moran, moran_i, moran_permuted, moran_test,
};
use phenocoder_spatial::centrality::{
    BetweennessConfig, NodeCloseness, betweenness_centrality, closeness_centrality,
    group_betweenness,
};
use phenocoder_spatial::comparison::ComparisonConfig;
use phenocoder_spatial::enrichment::{EnrichmentConfig, enrichment_permuted};
use phenocoder_spatial::interactions::EdgeWeight;
use phenocoder_spatial::neighbors::knn_graph;
use phenocoder_spatial::ripley::{RipleyConfig, RipleyFunction, ripley};
use phenocoder_spatial::sepal::{Lattice, SepalConfig, sepal};
use phenocoder_spatial::{ConfigError, Error};

/// Asks to stop after so many questions whether to.
struct Patience(AtomicUsize);

impl Patience {
    fn of(questions: usize) -> Self {
        Self(AtomicUsize::new(questions))
    }
}

impl Progress for Patience {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}

    fn is_cancelled(&self) -> bool {
        let less = |n: usize| n.checked_sub(1);
        let left = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        left.is_err()
    }
}

fn random(n: usize) -> (Array2<f64>, CsrGraph) {
    let mut stream = Seed::new(6).stream("points", 0);
    let points = Array2::from_shape_simple_fn((n, 2), || stream.uniform());
    let graph = knn_graph(points.view(), 5).unwrap();
    (points, graph)
}

/// A graph of values 1.
fn of_rows(rows: &[Vec<u32>]) -> CsrGraph {
    let ends = rows.iter().scan(0, |sum, row| {
        *sum += row.len();
        Some(*sum)
    });
    let indptr = [0].into_iter().chain(ends).collect();
    let indices = rows.concat();
    let values = vec![1.0; indices.len()];
    CsrGraph::new(indptr, indices, values).unwrap()
}

/// Counts the steps that were announced and made.
#[derive(Default)]
struct Steps {
    total: AtomicU64,
    made: AtomicU64,
    finished: AtomicUsize,
}

impl Progress for Steps {
    fn start(&self, _: &str, total: Option<u64>) {
        self.total.store(total.unwrap(), Ordering::Relaxed);
    }

    fn advance(&self, steps: u64) {
        self.made.fetch_add(steps, Ordering::Relaxed);
    }

    fn finish(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn all_steps_that_are_announced_are_made() {
    let (x, graph) = random(300);
    let (x, y) = (x.view(), x.view());
    let three = concatenate![ndarray::Axis(1), x, x.slice(s![.., ..1])];
    let labels = Categorical::from_labels((0..300).map(|i| (i % 130).to_string()));
    let permuted = PermutationConfig::new(7);
    let local = LocalConfig::new().with_permutations(23);
    let grid = Array2::from_shape_fn((25, 2), |(i, axis)| [i / 5, i % 5][axis] as f64);
    let square = phenocoder_spatial::radius_graph(grid.view(), 1.0).unwrap();
    let spots = SepalConfig::new(Lattice::Square);
    let pivots = BetweennessConfig::new().with_pivots(70);
    let enrichment = EnrichmentConfig::new().with_permutations(41);
    type Work<'a> = (&'a str, u64, &'a dyn Fn(&Steps));
    let work: [Work<'_>; 10] = [
        ("Moran", 7 * 3, &|p| {
            moran_permuted(&graph, three.view(), &permuted, p).unwrap();
        }),
        ("bivariate", 7 * 2, &|p| {
            bivariate_moran_permuted(&graph, x, y, &permuted, p).unwrap();
        }),
        ("bivariate Geary", 7 * 2, &|p| {
            bivariate_geary_permuted(&graph, x, y, &permuted, p).unwrap();
        }),
        ("local", 24 * 300, &|p| {
            local_moran(&graph, x, &local, p).unwrap();
        }),
        ("local without permutations", 300, &|p| {
            local_geary(&graph, x, &LocalConfig::new(), p).unwrap();
        }),
        ("closeness", 300, &|p| {
            closeness_centrality(&graph, NodeCloseness::Improved, p).unwrap();
        }),
        ("betweenness", 70, &|p| {
            betweenness_centrality(&graph, &pivots, p).unwrap();
        }),
        ("groups", 3 * 70, &|p| {
            group_betweenness(&graph, &labels, &pivots, p).unwrap();
        }),
        ("enrichment", 41, &|p| {
            enrichment_permuted(&graph, &labels, None, &enrichment, p).unwrap();
        }),
        ("sepal", 2, &|p| {
            sepal(&square, grid.view(), grid.view(), &spots, p).unwrap();
        }),
    ];
    for (name, steps, work) in work {
        let progress = Steps::default();
        work(&progress);
        let counts = [&progress.total, &progress.made].map(|n| n.load(Ordering::Relaxed));
        assert_eq!(counts, [steps; 2], "{name}");
        assert_eq!(progress.finished.into_inner(), 1, "{name}");
    }
}

#[test]
fn a_diffusion_stops_in_the_middle() {
    let grid = Array2::from_shape_fn((400, 2), |(i, axis)| [i / 20, i % 20][axis] as f64);
    let graph = phenocoder_spatial::radius_graph(grid.view(), 1.0).unwrap();
    // A gradient would diffuse at once: what flows in flows out.
    let x = grid.slice(s![.., ..1]).mapv(|y| y * y);
    let config = SepalConfig::new(Lattice::Square);
    let run = |questions| {
        sepal(
            &graph,
            grid.view(),
            x.view(),
            &config,
            &Patience::of(questions),
        )
    };
    assert!(matches!(run(2), Err(Error::Cancelled(_))));
    assert!(run(500).is_ok());
}

#[test]
fn weights_whose_squares_are_no_numbers_have_no_z() {
    let (x, graph) = random(30);
    let weights = SpatialWeights::default()
        .with_edges(EdgeWeight::Value)
        .with_normalization(Normalization::None);
    let config = LocalConfig::new().with_weights(weights);
    // The square of the first is a number, but not that of a cell's weights times the number of cells.
    for weight in [2e153, 1e200] {
        let graph = graph.with_values(vec![weight; graph.n_edges()]).unwrap();
        let found = local_moran(&graph, x.view(), &config, &NoProgress).unwrap();
        assert!(found.statistic.iter().all(|i| i.is_finite()));
        assert!(found.variance.iter().all(|v| !v.is_finite()), "{weight}");
        assert!(
            found
                .z
                .iter()
                .chain(&found.p_value_normal)
                .all(|z| z.is_nan())
        );
    }
}

#[test]
fn statistics_do_not_depend_on_the_unit_of_a_feature_however_large_or_small() {
    let (x, graph) = random(80);
    let y = x.mapv(|x| x * x);
    let (weights, test) = (SpatialWeights::default(), TestConfig::new());
    let permuted = PermutationConfig::new(19);
    let rows = permuted.with_permuted(Permuted::Rows);
    let local = LocalConfig::new().with_permutations(19);
    let total = local.with_moments(LocalNull::Total);
    let flat = |found: LocalAutocorrelation| -> Vec<f64> {
        let matrices = [found.statistic, found.expected, found.variance, found.z];
        let p = [found.p_value_normal, found.p_value.unwrap()];
        matrices.into_iter().chain(p).flatten().collect()
    };
    let all = |x: &Array2<f64>, y: &Array2<f64>| -> Vec<(&str, Vec<f64>)> {
        let (x, y) = (x.view(), y.view());
        let mut found = vec![
            ("Moran", moran_i(&graph, x, &weights).unwrap()),
            ("Geary", geary_c(&graph, x, &weights).unwrap()),
            ("Lee", lee_l(&graph, x, y, &weights).unwrap()),
            ("assortativity", numeric_assortativity(&graph, x).unwrap()),
        ];
        for assumption in [
            Assumption::Normality,
            Assumption::Randomization,
            Assumption::RowPermutation,
        ] {
            let config = test.with_assumption(assumption);
            let moran = moran_test(&graph, x, &config).unwrap();
            let geary = geary_test(&graph, x, &config).unwrap();
            found.extend([("Moran, tested", moran.z), ("Geary, tested", geary.z)]);
        }
        let both = bivariate_moran(&graph, x, y, &test).unwrap();
        let differing = bivariate_geary(&graph, x, y, &test).unwrap();
        found.extend([("bivariate", both.z), ("bivariate Geary", differing.z)]);
        for config in [&permuted, &rows] {
            let moran = moran_permuted(&graph, x, config, &NoProgress).unwrap();
            let geary = geary_permuted(&graph, x, config, &NoProgress).unwrap();
            let both = bivariate_moran_permuted(&graph, x, y, config, &NoProgress).unwrap();
            let differing = bivariate_geary_permuted(&graph, x, y, config, &NoProgress).unwrap();
            for found_in in [moran, geary, both, differing] {
                found.push(("permuted", [found_in.z, found_in.p_value].concat()));
            }
        }
        for config in [&local, &total] {
            let moran = local_moran(&graph, x, config, &NoProgress).unwrap();
            let geary = local_geary(&graph, x, config, &NoProgress).unwrap();
            let both = local_bivariate_moran(&graph, x, y, config, &NoProgress).unwrap();
            for found_in in [moran, geary, both] {
                found.push(("local", flat(found_in)));
            }
        }
        found
    };
    let expected = all(&x, &y);
    assert!(
        expected
            .iter()
            .all(|(_, v)| v.iter().all(|v| v.is_finite()))
    );
    // Powers of two change no digit, so neither may they change a bit.
    for unit in [1000, -1000] {
        let large = |x: &Array2<f64>| x.mapv(|x| libm::scalbn(x, unit));
        assert_eq!(all(&large(&x), &large(&y)), expected, "{unit}");
        assert_eq!(all(&x, &large(&y)), expected, "{unit} in y");
    }
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * b.abs().max(1e-3);
    for (found, expected) in all(&(&x * 1e200), &(&y * 1e-200)).iter().zip(&expected) {
        let values = found.1.iter().zip(&expected.1);
        assert!(values.clone().all(close), "{found:?} {expected:?}");
    }
}

#[test]
fn p_values_of_a_cell_do_not_depend_on_how_many_neighbors_others_have() {
    let (x, graph) = random(300);
    let config = LocalConfig::new().with_permutations(99);
    let expected = local_moran(&graph, x.view(), &config, &NoProgress).unwrap();
    // One in the middle gets every other one as neighbor.
    let hub = 150;
    let rows = (0..300).map(|node| -> Vec<u32> {
        match node == hub {
            true => (0..300).filter(|&other| other != hub as u32).collect(),
            false => graph.neighbors(node).to_vec(),
        }
    });
    let rows: Vec<Vec<u32>> = rows.collect();
    let graph = of_rows(&rows);
    let found = local_moran(&graph, x.view(), &config, &NoProgress).unwrap();
    let (found, expected) = (found.p_value.unwrap(), expected.p_value.unwrap());
    for cells in [s![..hub, ..], s![hub + 1.., ..]] {
        assert_eq!(found.slice(cells), expected.slice(cells));
    }
    // Linked with all others it has the same neighbors in every permutation.
    assert_eq!(found.row(hub), array![1.0, 1.0]);
}

#[test]
fn a_billion_permutations_take_no_memory_and_stop_when_asked() {
    let (x, graph) = random(600);
    let x = concatenate![ndarray::Axis(1), x, x];
    let many = 1 << 30;
    let local = LocalConfig::new().with_permutations(many);
    let permuted = PermutationConfig::new(many);
    let stopped = [
        local_moran(&graph, x.view(), &local, &Patience::of(20)).err(),
        local_geary(&graph, x.view(), &local, &Patience::of(20)).err(),
        moran_permuted(&graph, x.view(), &permuted, &Patience::of(9000)).err(),
    ];
    for error in stopped {
        assert!(matches!(error, Some(Error::Cancelled(_))), "{error:?}");
    }
}

#[test]
fn more_permutations_than_can_be_counted_are_refused_by_name() {
    let (x, graph) = random(20);
    let many = usize::MAX;
    let refused = Error::Config(ConfigError::TooMany {
        setting: "permutations",
        most: u32::MAX as usize - 1,
        found: many,
    });
    let local = LocalConfig::new().with_permutations(many);
    let found = local_moran(&graph, x.view(), &local, &NoProgress);
    assert_eq!(found.unwrap_err(), refused);
    let permuted = PermutationConfig::new(many);
    let found = moran_permuted(&graph, x.view(), &permuted, &NoProgress);
    assert_eq!(found.unwrap_err(), refused);
    let comparison = ComparisonConfig::new().with_permutations(many);
    assert_eq!(Error::Config(comparison.validate().unwrap_err()), refused);
    let most = ComparisonConfig::new().with_permutations(u32::MAX as usize - 1);
    assert_eq!(most.validate(), Ok(()));
    let one_more = LocalConfig::new().with_permutations(u32::MAX as usize);
    assert!(one_more.validate().is_err());
}

#[test]
fn moments_of_many_permutations_are_those_of_all_together() {
    moments_of_many();
    // Those that are not kept with the first ones are none of them.
    let (x, graph) = random(20);
    let mean = |n: usize| {
        let config = PermutationConfig::new(n);
        let found = moran_permuted(&graph, x.view(), &config, &NoProgress).unwrap();
        found.mean[0] * n as f64
    };
    let last = mean(4097) - mean(4096);
    assert!((last - mean(1)).abs() > 1e-6, "{last}");
}

fn moments_of_many() {
    // More than are kept at once; the exact moments are those of infinitely many.
    let (x, graph) = random(40);
    let config = PermutationConfig::new(20_000);
    let found = moran_permuted(&graph, x.view(), &config, &NoProgress).unwrap();
    let exact = TestConfig::new().with_assumption(Assumption::Randomization);
    let exact = moran_test(&graph, x.view(), &exact).unwrap();
    for f in 0..2 {
        let error = (found.mean[f] - exact.expected[f]) / exact.variance[f].sqrt();
        assert!(error.abs() < 0.03, "{error}");
        let ratio = found.variance[f] / exact.variance[f];
        assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
        assert!((found.z[f] - exact.z[f]).abs() < 0.05 * exact.z[f].abs().max(1.0));
    }
}

#[test]
fn a_random_pattern_that_has_begun_stops_when_asked() {
    let points = random(3000).0;
    let labels = Categorical::from_labels(vec!["a"; 3000]);
    // One simulation asks once before it begins; its own questions are those of its pairs and of its sizes.
    let config = RipleyConfig::new().with_simulations(1);
    let run = |function, config: &RipleyConfig, questions| {
        let patience = Patience::of(questions);
        let error = ripley(points.view(), &labels, function, config, &patience).err();
        (error, patience.0.into_inner())
    };
    for function in [RipleyFunction::L, RipleyFunction::G, RipleyFunction::F] {
        let asked = |config: &RipleyConfig| {
            let (error, left) = run(function, config, 1 << 20);
            assert!(error.is_none(), "{error:?}");
            (1 << 20) - left
        };
        let without = asked(&config.clone().with_simulations(0));
        assert!(asked(&config) > without + 1, "{function:?}");
        let (error, _) = run(function, &config, without + 1);
        assert!(matches!(error, Some(Error::Cancelled(_))), "{function:?}");
    }
}
