use ndarray::array;
use phenocoder_core::{CancelToken, NoProgress};

use super::*;
use crate::fuzzy::{FuzzyConfig, fuzzy_graph};
use crate::knn::{Metric, nearest_neighbors, query_neighbors};
use crate::patience::tests::times_asked;

/// Rows around `groups` centers, `apart` from each other.
fn rows(n: usize, groups: usize, apart: f64) -> Array2<f64> {
    let mut stream = Seed::new(17).stream("rows", 0);
    Array2::from_shape_fn((n, 6), |(i, j)| {
        let center = if j == i % groups { apart } else { 0.0 };
        center + stream.normal()
    })
}

fn graph_of(x: &Array2<f64>, k: usize) -> CsrGraph {
    let neighbors = nearest_neighbors(x.view(), k, Metric::Euclidean, &NoProgress).unwrap();
    fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).unwrap()
}

fn draw(graph: &CsrGraph, config: &UmapConfig) -> Array2<f64> {
    let map = layout(graph, config, &NoProgress).unwrap();
    assert_eq!(map.dim(), (graph.n_nodes(), config.n_components));
    assert!(map.iter().all(|v| v.is_finite()));
    map
}

fn distance(map: &Array2<f64>, i: usize, j: usize) -> f64 {
    let difference = &map.row(i) - &map.row(j);
    difference.dot(&difference).sqrt()
}

#[test]
fn groups_lie_apart_on_the_map() {
    let x = rows(300, 3, 12.0);
    let map = draw(&graph_of(&x, 10), &UmapConfig::default());
    let labels: Vec<u32> = (0..300).map(|i| i % 3).collect();
    let apart = crate::evaluate::silhouette(map.view(), &labels, &NoProgress).unwrap();
    assert!(apart.mean > 0.7, "{}", apart.mean);
}

#[test]
fn the_same_seed_draws_the_same_map_and_another_seed_another() {
    let graph = graph_of(&rows(200, 2, 3.0), 8);
    let config = UmapConfig::default().with_n_epochs(50);
    let map = draw(&graph, &config);
    assert_eq!(map, draw(&graph, &config));
    assert_ne!(map, draw(&graph, &config.with_seed(Seed::new(1))));
}

/// A ring of weak and strong edges, with a hub that has more of them than a task has nodes; and a start.
fn ring_with_a_hub() -> (CsrGraph, Array2<f64>) {
    let n = 1500_u32;
    let mut edges = std::collections::BTreeMap::new();
    for i in 0..n {
        for (stride, weight) in [(1, 1.0), (7, 0.6), (31, 0.25)] {
            let j = (i + stride) % n;
            let weight = weight * (1.0 - f64::from(i * j % 5) / 10.0);
            edges.extend([((i, j), weight), ((j, i), weight)]);
        }
        if i % 2 == 0 && i > 40 {
            edges.extend([((0, i), 0.4), ((i, 0), 0.4)]);
        }
    }
    let mut indptr = vec![0; n as usize + 1];
    for (i, _) in edges.keys() {
        indptr[*i as usize + 1] += 1;
    }
    for i in 0..n as usize {
        indptr[i + 1] += indptr[i];
    }
    let indices = edges.keys().map(|edge| edge.1).collect();
    let graph = CsrGraph::new(indptr, indices, edges.into_values().collect()).unwrap();
    let mut stream = Seed::new(4).stream("start", 0);
    let start = Array2::from_shape_simple_fn((1500, 3), || stream.uniform_in(0.0, 10.0));
    (graph, start)
}

#[test]
fn the_bits_of_a_map_are_pinned() {
    // Another value changes every map: a behavioural change for the changelog.
    let (graph, start) = ring_with_a_hub();
    let hash = |config: UmapConfig| {
        let start = start.slice(ndarray::s![.., ..config.n_components]);
        let map = layout_from(&graph, start, &config, &NoProgress).unwrap();
        map.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, value| {
            (hash ^ value.to_bits()).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let config = UmapConfig::default().with_n_epochs(40);
    assert_eq!(hash(config.clone()), 0xb28e_3081_da46_4b85);
    let config = config.with_n_components(3).with_edge_pulls(2);
    assert_eq!(hash(config.with_negative_samples(9)), 0x6733_874f_da51_0735);
}

#[test]
fn vectors_of_any_width_draw_the_same_bits() {
    let (graph, start) = ring_with_a_hub();
    let config = UmapConfig::default().with_n_components(3);
    let pulls = Pulls::of_graph(&graph, 20, 1);
    let drawing = Drawing {
        start: start.view(),
        fixed: None,
        pulls: &pulls,
        densities: None,
        config: &config,
        epochs: 20,
    };
    let on = |arch| drawing.on(arch, &NoProgress).unwrap();
    assert_eq!(on(pulp::Arch::Scalar), on(pulp::Arch::new()));
}

#[test]
fn every_number_of_dimensions_and_every_start_works() {
    let graph = graph_of(&rows(150, 2, 4.0), 6);
    for dimensions in [1, 2, 3, 5, 12, 30] {
        for init in [UmapInit::Spectral, UmapInit::Random] {
            let config = UmapConfig::default()
                .with_n_components(dimensions)
                .with_init(init)
                .with_n_epochs(20);
            draw(&graph, &config);
        }
    }
}

#[test]
fn connected_parts_start_and_stay_apart() {
    // Two rings of 200 nodes, large enough for the iterative solver, and a lone node.
    let n = 401;
    let (mut indptr, mut indices) = (vec![0], Vec::new());
    for i in 0..400_usize {
        let base = i / 200 * 200;
        let mut pair = [base + (i - base + 1) % 200, base + (i - base + 199) % 200];
        pair.sort_unstable();
        indices.extend(pair.map(|j| j as u32));
        indptr.push(indices.len());
    }
    indptr.push(indices.len());
    let values = vec![1.0; indices.len()];
    let graph = CsrGraph::new(indptr, indices, values).unwrap();
    let start = spectral::start(&graph, 2, Seed::new(0), &NoProgress).unwrap();
    assert_eq!(start.nrows(), n);
    // A ring starts as a circle: all nodes equally far from the middle of their part.
    let middle = (start.slice(ndarray::s![..200, ..]))
        .mean_axis(Axis(0))
        .unwrap();
    for (i, j) in [(0, 250), (10, 400), (399, 400)] {
        assert!(distance(&start, i, j) > 0.5, "{i} {j}");
    }
    let spread: Vec<f64> = (0..200)
        .map(|i| (start[[i, 0]] - middle[0]).abs())
        .collect();
    assert!(spread.iter().copied().fold(0.0, f64::max) > 0.5);
    let map = draw(&graph, &UmapConfig::default().with_n_epochs(100));
    assert!(distance(&map, 0, 1) < distance(&map, 0, 300));
}

#[test]
fn the_spectral_start_of_a_path_is_its_order() {
    let n = 300_usize;
    let (mut indptr, mut indices) = (vec![0], Vec::new());
    for i in 0..n {
        if i > 0 {
            indices.push(i as u32 - 1);
        }
        if i + 1 < n {
            indices.push(i as u32 + 1);
        }
        indptr.push(indices.len());
    }
    let values = vec![1.0; indices.len()];
    let graph = CsrGraph::new(indptr, indices, values).unwrap();
    let start = spectral::start(&graph, 1, Seed::new(3), &NoProgress).unwrap();
    // The leading eigenvector falls or rises along the path; every tenth node is clear of the noise.
    let steps: Vec<f64> = (1..29)
        .map(|i| start[[10 * i + 10, 0]] - start[[10 * i, 0]])
        .collect();
    assert!(
        steps.iter().all(|&s| s > 0.0) || steps.iter().all(|&s| s < 0.0),
        "{steps:?}"
    );
}

#[test]
fn graphs_of_few_nodes_or_none_are_drawn() {
    let config = UmapConfig::default();
    for nodes in 0..4 {
        draw(&CsrGraph::empty(nodes), &config);
    }
    let pair = CsrGraph::new(vec![0, 1, 2], vec![1, 0], vec![0.3, 0.3]).unwrap();
    let map = draw(&pair, &config);
    assert!(distance(&map, 0, 1) < 10.0);
    // All rows the same.
    draw(&graph_of(&Array2::zeros((40, 3)), 5), &config);
}

#[test]
fn a_start_of_the_callers_is_kept_in_shape() {
    let x = rows(120, 2, 6.0);
    let graph = graph_of(&x, 8);
    let config = UmapConfig::default().with_n_epochs(30);
    let start = x.slice(ndarray::s![.., ..2]);
    let map = layout_from(&graph, start, &config, &NoProgress).unwrap();
    assert_eq!(map.dim(), (120, 2));
    assert!(
        layout_from(
            &graph,
            start.slice(ndarray::s![..5, ..]),
            &config,
            &NoProgress
        )
        .is_err()
    );
    assert!(layout_from(&graph, x.view(), &config, &NoProgress).is_err());
}

#[test]
fn a_start_without_extent_is_left() {
    let x = rows(300, 3, 12.0);
    let graph = graph_of(&x, 10);
    let draw_from = |start: &Array2<f64>, seed| {
        let config = UmapConfig::default().with_n_epochs(100);
        let config = config.with_seed(Seed::new(seed));
        layout_from(&graph, start.view(), &config, &NoProgress).unwrap()
    };
    let point = Array2::<f64>::zeros((300, 2));
    let mut line = x.slice_move(ndarray::s![.., ..2]);
    line.column_mut(1).fill(7.0);
    for start in [&point, &line] {
        let map = draw_from(start, 1);
        for axis in map.columns() {
            let low = axis.iter().copied().fold(f64::INFINITY, f64::min);
            let high = axis.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            assert!(high - low > 3.0, "{low} to {high}");
        }
    }
    // The order of the values in memory is of no account, the seed is.
    let turned = Array2::<f64>::zeros((2, 300)).reversed_axes();
    assert_eq!(draw_from(&turned, 1), draw_from(&point, 1));
    assert_ne!(draw_from(&point, 2), draw_from(&point, 1));
}

#[test]
fn rows_of_a_start_that_repeat_are_parted_and_others_stay() {
    let config = UmapConfig::default();
    // Without edges, nodes end where they start.
    let map = |start: Array2<f64>| {
        let graph = CsrGraph::empty(start.nrows());
        layout_from(&graph, start.view(), &config, &NoProgress).unwrap()
    };
    let apart = map(array![[1.0, 3.0], [2.0, 3.0], [3.0, 5.0]]);
    assert_eq!(apart, array![[0.0, 0.0], [5.0, 0.0], [10.0, 10.0]]);
    assert_eq!(map(array![[1.0, 3.0]]), array![[5.0, 5.0]]);
    let twice = map(array![[1.0, 3.0], [3.0, 5.0], [1.0, 3.0]]);
    assert!(distance(&twice, 0, 2) > 0.0);
    let moved = &twice - &array![[0.0, 0.0], [10.0, 10.0], [0.0, 0.0]];
    assert!(moved.iter().all(|v| v.abs() < 1e-3), "{moved}");
}

#[test]
fn new_rows_can_be_stopped_before_they_move() {
    let config = UmapConfig::default().with_transform_epochs(3);
    let map = Umap::from_embedding(array![[0.0, 1.0]], &config).unwrap();
    let neighbors = Neighbors::new(Array2::zeros((600, 1)), Array2::ones((600, 1))).unwrap();
    // Three blocks for memberships, two for starts, three rounds.
    let asked = times_asked(|progress| map.transform(&neighbors, progress));
    assert_eq!(asked, 8);
}

#[test]
fn new_rows_land_among_their_own() {
    let x = rows(300, 3, 12.0);
    let map = Umap::fit(&graph_of(&x, 10), &UmapConfig::default(), &NoProgress).unwrap();
    let new = rows(330, 3, 12.0).slice_move(ndarray::s![300.., ..]);
    let found = query_neighbors(x.view(), new.view(), 10, Metric::Euclidean, &NoProgress).unwrap();
    let placed = map.transform(&found, &NoProgress).unwrap();
    let nearest = query_neighbors(
        map.embedding(),
        placed.view(),
        1,
        Metric::Euclidean,
        &NoProgress,
    )
    .unwrap();
    for (i, &index) in nearest.indices().iter().enumerate() {
        assert_eq!(index % 3, (300 + i as u32) % 3, "new row {i}");
    }
    let again = map.transform(&found.truncated(10), &NoProgress).unwrap();
    assert_eq!(again, placed);
    let wrong = Neighbors::new(array![[300]], array![[0.0]]).unwrap();
    assert!(matches!(
        map.transform(&wrong, &NoProgress),
        Err(Error::Graph(_))
    ));
}

#[test]
fn new_rows_start_at_a_double_or_else_among_their_neighbours() {
    let config = UmapConfig::default()
        .with_learning_rate(1e-12)
        .with_transform_epochs(1);
    let places = array![[0.0, 0.0], [4.0, 0.0], [0.0, 8.0]];
    let map = Umap::from_embedding(places, &config).unwrap();
    let placed = |indices, distances| {
        let neighbors = Neighbors::new(indices, distances).unwrap();
        map.transform(&neighbors, &NoProgress).unwrap()
    };
    // A double of row 1; a row as far from all three; one too far from its only neighbour for a number.
    let near = placed(
        array![[1, 0, 2], [0, 1, 2]],
        array![[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]],
    );
    let double = array![4.0, 0.0];
    assert!((&near.row(0) - &double).iter().all(|d| d.abs() < 1e-12));
    let middle = array![4.0 / 3.0, 8.0 / 3.0];
    assert!((&near.row(1) - &middle).iter().all(|d| d.abs() < 1e-6));
    assert_eq!(placed(array![[2]], array![[1e6]]), array![[0.0, 8.0]]);
    let none = Neighbors::new(Array2::zeros((1, 0)), Array2::zeros((1, 0))).unwrap();
    assert!(matches!(
        map.transform(&none, &NoProgress),
        Err(Error::TooFew { .. })
    ));
}

#[test]
fn new_rows_take_the_rounds_of_umap_learn_unless_told() {
    let config = UmapConfig::default();
    assert_eq!(
        (config.epochs_of_new(10_000), config.epochs_of_new(10_001)),
        (100, 30)
    );
    let config = config.with_n_epochs(200);
    assert_eq!(config.epochs_of_new(20_000), 66);
    assert_eq!(config.clone().with_n_epochs(2).epochs_of_new(5), 1);
    assert_eq!(config.with_transform_epochs(7).epochs_of_new(5), 7);
}

#[test]
fn bad_graphs_and_settings_are_refused() {
    let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![1.0]).unwrap();
    let config = UmapConfig::default();
    assert!(layout(&one_way, &config, &NoProgress).is_err());
    for wrong in [
        config.clone().with_n_components(0),
        config.clone().with_n_components(65),
        config.clone().with_min_dist(-0.1),
        config.clone().with_min_dist(2.0),
        config.clone().with_spread(0.0),
        config.clone().with_min_dist(0.0).with_spread(1e-8),
        config.clone().with_spread(1e8),
        config.clone().with_n_epochs(0),
        config.clone().with_transform_epochs(0),
        config.clone().with_learning_rate(f64::NAN),
        config.clone().with_learning_rate(0.0),
        config.clone().with_learning_rate(1e300),
        config.clone().with_repulsion(-1.0),
        config.clone().with_repulsion(1e300),
        config.clone().with_edge_pulls(3),
        config.clone().with_negative_samples(1001),
    ] {
        assert!(wrong.validate().is_err(), "{wrong:?}");
    }
    let token = CancelToken::new();
    token.cancel();
    let graph = graph_of(&rows(30, 1, 0.0), 3);
    assert!(matches!(
        layout(&graph, &config, &token),
        Err(Error::Cancelled(_))
    ));
}

#[test]
fn a_map_survives_json_to_the_bit_and_one_of_other_settings_is_refused() {
    let config = UmapConfig::default().with_n_epochs(5);
    let map = Umap::fit(&graph_of(&rows(30, 1, 0.0), 3), &config, &NoProgress).unwrap();
    let text = serde_json::to_string(&map).unwrap();
    assert_eq!(serde_json::from_str::<Umap>(&text).unwrap(), map);
    let other = text.replace(r#""n_components":2"#, r#""n_components":3"#);
    assert!(serde_json::from_str::<Umap>(&other).is_err());
}

#[test]
fn positions_beyond_single_precision_are_refused() {
    let config = UmapConfig::default();
    for value in [1e39, -2e15] {
        assert!(matches!(
            Umap::from_embedding(array![[0.0, value]], &config),
            Err(Error::Config(ConfigError {
                setting: "embedding",
                ..
            }))
        ));
    }
    let map = Umap::from_embedding(array![[0.5, -1e15]], &config).unwrap();
    let text = serde_json::to_string(&map).unwrap();
    assert!(serde_json::from_str::<Umap>(&text.replace("0.5", "1e39")).is_err());
}

#[test]
fn a_start_of_any_extent_fills_the_box() {
    // Twice the third is a number, ten times that is not, and twice the last is none.
    for exponent in [-1000.0, 0.0, 1022.0, 1023.0] {
        let extent = libm::exp2(exponent);
        let start = array![[-extent], [0.0], [0.5 * extent], [extent]];
        let filled = spectral::fill_box(start);
        assert_eq!(filled, array![[0.0], [5.0], [7.5], [10.0]], "{extent}");
    }
    let graph = graph_of(&rows(30, 1, 0.0), 3);
    let start = Array2::from_shape_fn((30, 2), |(i, j)| [1e308, -1e308][(i + j) % 2]);
    let map = layout_from(&graph, start.view(), &UmapConfig::default(), &NoProgress).unwrap();
    assert!(map.iter().all(|v| v.is_finite()));
}

#[test]
fn settings_at_their_bounds_draw_numbers_or_are_an_error() {
    let graph = graph_of(&rows(60, 2, 4.0), 5);
    for spread in [LEAST_SPREAD, 1.0, MOST] {
        for min_dist in [0.0, spread] {
            for rate in [1.0, MOST] {
                let config = UmapConfig::default()
                    .with_spread(spread)
                    .with_min_dist(min_dist)
                    .with_learning_rate(rate)
                    .with_repulsion(MOST)
                    .with_n_epochs(20);
                match layout(&graph, &config, &NoProgress) {
                    Ok(map) => assert!(map.iter().all(|v| v.is_finite()), "{config:?}"),
                    Err(error) => assert_eq!(error, Error::Overflow { method: "map" }),
                }
            }
        }
    }
}

#[test]
fn the_curve_does_not_depend_on_the_unit_of_length() {
    for share in [0.0, 0.1, 0.5, 1.0] {
        let unit = Curve::fit(1.0, share);
        for spread in [1e-8, 1e-6, 1e-3, 1e3, 1e6, 1e8] {
            let curve = Curve::fit(spread, share * spread);
            for d in [0.0, 0.1, 1.0, 2.5] {
                let difference = curve.at((d * spread).powi(2)) - unit.at(d * d);
                assert!(
                    difference.abs() < 1e-6,
                    "{spread} {share} {d}: {difference}"
                );
            }
        }
    }
}

#[test]
fn a_curve_that_does_not_fall_is_neither_read_nor_judged_by() {
    let curve = Curve::fit(1.0, 0.1);
    let text = serde_json::to_string(&curve).unwrap();
    assert_eq!(serde_json::from_str::<Curve>(&text).unwrap(), curve);
    let error = serde_json::from_str::<Curve>(r#"{"a": -1.5, "b": 1.0}"#).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("`a` is -1.5, expected a positive"), "{told}");
    for text in [r#"{"a": 1.0, "b": 0.0}"#, r#"{"a": 1, "b": 1, "c": 1}"#] {
        assert!(serde_json::from_str::<Curve>(text).is_err(), "{text}");
    }
    let (graph, map) = (CsrGraph::empty(2), Array2::zeros((2, 2)));
    for (a, b) in [(0.0, 1.0), (1.0, f64::NAN), (f64::INFINITY, 1.0)] {
        let judged = cross_entropy(&graph, map.view(), Curve { a, b }, &NoProgress);
        assert!(matches!(judged, Err(Error::Config(_))), "{a} {b}");
    }
}

#[test]
fn parts_of_very_weak_edges_still_have_a_place() {
    // Two triangles, one of weights whose product is below the smallest number.
    let triangle = |first: u32| [first + 1, first + 2, first, first + 2, first, first + 1];
    for count in [2, 60] {
        let indices: Vec<u32> = (0..count).flat_map(|part| triangle(3 * part)).collect();
        let values = (0..indices.len()).map(|i| if i < 6 { 1.0 } else { 1e-200 });
        let graph = CsrGraph::new(
            (0..=3 * count as usize).map(|node| 2 * node).collect(),
            indices.clone(),
            values.collect(),
        )
        .unwrap();
        for dimensions in [1, 2] {
            let config = UmapConfig::default()
                .with_n_components(dimensions)
                .with_n_epochs(3);
            let map = layout(&graph, &config, &NoProgress).unwrap();
            assert!(map.iter().all(|v| v.is_finite()), "{map}");
        }
    }
}
