//! What must hold for any points: equivariance, invariance, conservation, determinism.

use ndarray::{Array2, Axis, array};
use phenocoder_core::{Categorical, Coords, Features, NoProgress, Seed, Unit};
use phenocoder_spatial::interactions::{EdgeWeight, interaction_matrix};
use phenocoder_spatial::neighbors::{is_symmetric, knn_graph};
use phenocoder_spatial::radius_graph;
use phenocoder_spatial::smooth::{Smoothing, message_passing};
use phenocoder_spatial::summary::{StatisticsConfig, StatisticsTable, spatial_statistics};
use phenocoder_testdata::max_relative_error;
use proptest::prelude::*;

struct Tissue {
    points: Array2<f64>,
    units: Categorical,
    labels: Categorical,
    features: Features,
}

/// Clumps of cells, some coincident, in two samples, with four types and two measurements.
fn tissue(n: usize, dim: usize, seed: u64) -> Tissue {
    let mut stream = Seed::new(seed).stream("tissue", 0);
    let clumps = Array2::from_shape_simple_fn((6, dim), || stream.uniform_in(0.0, 60.0));
    let mut points = Array2::zeros((n, dim));
    for mut row in points.rows_mut() {
        let clump = clumps.row(stream.below(6));
        row.iter_mut()
            .zip(clump)
            .for_each(|(x, c)| *x = c + 4.0 * stream.normal());
    }
    for i in (0..n / 2).step_by(13) {
        let copy = points.row(i).to_owned();
        points.row_mut(i + 1).assign(&copy);
    }
    let labels = (0..n).map(|_| {
        Some(stream.below(5))
            .filter(|&l| l < 4)
            .map(|l| l.to_string())
    });
    let labels = Categorical::from_optional_labels(labels.collect::<Vec<_>>());
    let units = Categorical::from_labels((0..n).map(|i| if i % 3 == 0 { "u" } else { "v" }));
    let x = Array2::from_shape_simple_fn((n, 2), || stream.normal());
    Tissue {
        points,
        units,
        labels,
        features: Features::new(x, ["f", "g"]).unwrap(),
    }
}

impl Tissue {
    fn statistics(&self) -> StatisticsTable {
        let points = Coords::new(self.points.clone(), Unit::Pixel).unwrap();
        let config = StatisticsConfig::new([3.0, 6.0]);
        let features = Some(&self.features);
        spatial_statistics(
            &points,
            &self.units,
            &self.labels,
            features,
            &config,
            &NoProgress,
        )
        .unwrap()
    }
}

fn assert_same(found: &StatisticsTable, expected: &StatisticsTable, tolerance: f64) {
    assert_eq!(
        (&found.names, &found.units),
        (&expected.names, &expected.units)
    );
    for (i, name) in found.names.iter().enumerate() {
        let column = |table: &StatisticsTable| table.values.column(i).to_vec();
        let error = max_relative_error(&column(found), &column(expected), 1e-3);
        assert!(error <= tolerance, "{name}: {error:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_order_of_the_cells_does_not_matter(seed: u64, dim in 2_usize..=3) {
        let n = 300;
        let tissue = tissue(n, dim, seed);
        let order = Seed::new(seed).stream("order", 0).permutation(n);
        let permuted = Tissue {
            points: tissue.points.select(Axis(0), &order),
            units: tissue.units.select(&order),
            labels: tissue.labels.select(&order),
            features: tissue.features.select(&order),
        };
        assert_same(&permuted.statistics(), &tissue.statistics(), 1e-9);
    }

    #[test]
    fn moving_and_turning_the_tissue_does_not_matter(
        seed: u64,
        angle in 0.0..6.3_f64,
        shift in -1e3..1e3_f64,
    ) {
        let tissue = tissue(300, 3, seed);
        let (s, c) = angle.sin_cos();
        let turn = array![[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]];
        let tilt = array![[1.0, 0.0, 0.0], [0.0, s, c], [0.0, c, -s]];
        let moved = Tissue {
            points: tissue.points.dot(&turn).dot(&tilt) + shift,
            units: tissue.units.clone(),
            labels: tissue.labels.clone(),
            features: tissue.features.clone(),
        };
        // No two distances of random points lie so close to the radius that rounding could move one across.
        assert_same(&moved.statistics(), &tissue.statistics(), 1e-6);
    }

    #[test]
    fn every_edge_is_an_interaction(seed: u64, radius in 0.0..20.0_f64) {
        let tissue = tissue(200, 2, seed);
        let graph = radius_graph(tissue.points.view(), radius).unwrap();
        prop_assert!(is_symmetric(&graph));
        let all = Categorical::from_labels((0..200).map(|i| (i % 7).to_string()));
        let m = interaction_matrix(&graph, &all, EdgeWeight::One).unwrap();
        prop_assert_eq!(m.sum(), graph.n_edges() as f64);
        prop_assert_eq!(&m.t(), &m.view());
    }

    #[test]
    fn a_constant_stays_constant_under_the_mean(seed: u64, value in -1e6..1e6_f64) {
        let tissue = tissue(200, 3, seed);
        let graph = knn_graph(tissue.points.view(), 5).unwrap();
        let x = Array2::from_elem((200, 2), value);
        let smoothed = message_passing(x.view(), &graph, Smoothing::Mean).unwrap();
        for &y in &smoothed {
            prop_assert!((y - value).abs() <= 1e-14 * value.abs());
        }
    }

    #[test]
    fn a_smaller_radius_gives_a_part_of_the_graph(seed: u64, a in 0.0..30.0_f64, b in 0.0..30.0_f64) {
        let tissue = tissue(150, 3, seed);
        let small = radius_graph(tissue.points.view(), a.min(b)).unwrap();
        let large = radius_graph(tissue.points.view(), a.max(b)).unwrap();
        for i in 0..150 {
            for &j in small.neighbors(i) {
                prop_assert!(large.neighbors(i).contains(&j));
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let n = 30_000;
    let mut tissue = tissue(n, 3, 11);
    tissue.points *= 6.0;
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let graph = radius_graph(tissue.points.view(), 5.0).unwrap();
            let nearest = knn_graph(tissue.points.view(), 6).unwrap();
            let smoothed =
                message_passing(tissue.features.view(), &graph, Smoothing::Mean).unwrap();
            let statistics = tissue.statistics();
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
            (
                (graph.indices().to_vec(), bits(graph.values())),
                (nearest.indices().to_vec(), bits(nearest.values())),
                bits(&smoothed.iter().copied().collect::<Vec<_>>()),
                bits(&statistics.values.iter().copied().collect::<Vec<_>>()),
            )
        })
    };
    let one = run(1);
    assert!(one.0.0.len() > n, "the graph has edges");
    for threads in [2, 4] {
        assert!(run(threads) == one, "{threads} threads");
    }
}
