use ndarray::array;
use phenocoder_core::{NoProgress, Seed};

use super::*;
use crate::fuzzy::{FuzzyConfig, fuzzy_graph};
use crate::knn::{Metric, nearest_neighbors};
use crate::umap::{Curve, layout};

/// Three groups far apart, each four times as wide as the one before.
fn groups() -> (CsrGraph, Neighbors) {
    let mut stream = Seed::new(5).stream("rows", 0);
    let x = Array2::from_shape_fn((300, 5), |(i, j)| {
        let center = if j == i % 3 { 30.0 } else { 0.0 };
        center + [0.25, 1.0, 4.0][i % 3] * stream.normal()
    });
    let neighbors = nearest_neighbors(x.view(), 14, Metric::Euclidean, &NoProgress).unwrap();
    let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).unwrap();
    (graph, neighbors)
}

fn mean_of_groups(radii: &[f64]) -> [f64; 3] {
    [0, 1, 2].map(|group| radii.iter().skip(group).step_by(3).sum::<f64>() / 100.0)
}

#[test]
fn wider_groups_lie_wider_on_the_map_and_only_with_densities() {
    let (graph, neighbors) = groups();
    let draw = |density: DensityConfig| {
        let config = UmapConfig::default();
        layout_with_density(&graph, &neighbors, &config, &density, &NoProgress).unwrap()
    };
    let (drawn, plain) = (
        draw(DensityConfig::default()),
        draw(DensityConfig::default().with_strength(0.0)),
    );
    assert_eq!(drawn.radii, plain.radii);
    let rows = mean_of_groups(&drawn.radii);
    assert!(
        rows[0] + 2.0 < rows[1] && rows[1] + 2.0 < rows[2],
        "{rows:?}"
    );
    let map = mean_of_groups(&drawn.map_radii);
    assert!(map[0] + 0.3 < map[1] && map[1] + 0.3 < map[2], "{map:?}");
    let map = mean_of_groups(&plain.map_radii);
    assert!((map[0] - map[2]).abs() < 0.3, "{map:?}");
}

#[test]
fn without_strength_or_share_the_map_is_that_of_a_plain_layout() {
    let (graph, neighbors) = groups();
    let config = UmapConfig::default().with_n_epochs(30);
    let plain = layout(&graph, &config, &NoProgress).unwrap();
    let draw = |density: DensityConfig| {
        let drawn = layout_with_density(&graph, &neighbors, &config, &density, &NoProgress);
        drawn.unwrap().map
    };
    let density = DensityConfig::default();
    assert_eq!(draw(density.clone().with_strength(0.0)), plain);
    assert_eq!(draw(density.clone().with_share(0.0)), plain);
    assert_ne!(draw(density), plain);
}

#[test]
fn densities_act_in_the_last_rounds() {
    let (config, pulls) = (
        DensityConfig::default().with_share(0.25),
        Pulls::of_graph(&CsrGraph::empty(1), 8, 1),
    );
    let densities = Densities::new(&[f64::NAN], &pulls, &config);
    let acting: Vec<usize> = (0..8).filter(|&i| densities.act_in(i, 8)).collect();
    assert_eq!(acting, [6, 7]);
}

/// A ring of `n` nodes, each linked with the next and the third next by edges of weight 1.
fn ring(n: usize) -> CsrGraph {
    let (mut indptr, mut indices) = (vec![0], Vec::new());
    for node in 0..n {
        let mut near = [1, 3, n - 3, n - 1].map(|step| ((node + step) % n) as u32);
        near.sort_unstable();
        indices.extend(near);
        indptr.push(indices.len());
    }
    let values = vec![1.0; indices.len()];
    CsrGraph::new(indptr, indices, values).unwrap()
}

#[test]
fn moves_follow_the_gradient_of_the_correlation() {
    const NODES: usize = 40;
    let (graph, curve) = (ring(NODES), Curve { a: 1.6, b: 0.9 });
    let mut stream = Seed::new(6).stream("places", 0);
    let places: Vec<[f32; 2]> = (0..NODES)
        .map(|_| [0, 1].map(|_| stream.normal() as f32))
        .collect();
    let radii: Vec<f64> = (0..NODES).map(|_| 3.0 + stream.normal()).collect();
    let config = DensityConfig::default().with_strength(0.01);
    let pulls = Pulls::of_graph(&graph, 10, 1);
    let densities = Densities::new(&radii, &pulls, &config);
    let rules = Rules {
        step: 1.0,
        key: 0,
        pulls: 1,
        pushes: 0,
        repulsion: 0.0,
        a: curve.a as f32,
        b: curve.b as f32,
    };
    let mut moved = places.clone();
    densities.move_nodes(&places, &mut moved, &rules);

    let exact: Vec<[f64; 2]> = places.iter().map(|place| place.map(f64::from)).collect();
    let objective = |places: &[[f64; 2]]| {
        let radius = |node: usize| {
            let edges = graph.row(node).map(|(other, _)| {
                let square = squared_distance(&places[node], &places[other]);
                (curve.at(square), square)
            });
            Around::of(edges).radius()
        };
        let radii: Vec<f64> = (0..NODES).map(radius).collect();
        let mean = radii.iter().sum::<f64>() / NODES as f64;
        let squares: f64 = radii.iter().map(|radius| (radius - mean).powi(2)).sum();
        let products = radii.iter().zip(densities.wanted.iter().flatten());
        let covariance = products
            .map(|(radius, wanted)| radius * wanted)
            .sum::<f64>()
            / 40.0;
        covariance / (squares / NODES as f64 + config.variance_shift).sqrt()
    };
    // All weights together are two for each node.
    let factor = config.strength * 2.0 * NODES as f64;
    let (mut largest, mut error) = (0.0_f64, 0.0_f64);
    for node in 0..NODES {
        for axis in 0..2 {
            let at = |by: f64| {
                let mut places = exact.clone();
                places[node][axis] += by;
                objective(&places)
            };
            let expected = factor * (at(1e-5) - at(-1e-5)) / 2e-5;
            let found = f64::from(moved[node][axis]) - exact[node][axis];
            largest = largest.max(expected.abs());
            error = error.max((found - expected).abs());
        }
    }
    // The published covariance counts one node less, so one part in forty of it remains.
    assert!(error < 0.03 * largest, "{error} of {largest}");
}

#[test]
fn rows_of_equal_radii_are_not_moved() {
    let (config, graph) = (DensityConfig::default(), ring(20));
    let pulls = Pulls::of_graph(&graph, 10, 1);
    let densities = Densities::new(&[0.1 + 0.2; 20], &pulls, &config);
    assert_eq!(densities.wanted, [Some(0.0); 20]);
}

#[test]
fn a_node_without_edges_has_no_radius() {
    let graph = CsrGraph::new(vec![0, 1, 2, 2], vec![1, 0], vec![0.5, 0.5]).unwrap();
    let neighbors = Neighbors::new(array![[1], [0], [0]], array![[2.0], [2.0], [7.0]]).unwrap();
    let (config, density) = (UmapConfig::default(), DensityConfig::default());
    let drawn = layout_with_density(&graph, &neighbors, &config, &density, &NoProgress).unwrap();
    assert!(drawn.map.iter().all(|v| v.is_finite()));
    assert!((drawn.radii[0] - libm::log(4.0)).abs() < 1e-6);
    assert!(drawn.map_radii[1].is_finite());
    assert!(drawn.radii[2].is_nan() && drawn.map_radii[2].is_nan());
    let none = Neighbors::new(Array2::zeros((0, 3)), Array2::zeros((0, 3))).unwrap();
    let empty = CsrGraph::empty(0);
    let drawn = layout_with_density(&empty, &none, &config, &density, &NoProgress).unwrap();
    assert_eq!((drawn.map.dim(), drawn.radii.len()), ((0, 2), 0));
}

#[test]
fn a_map_without_some_radii_survives_json_and_one_that_lost_others_is_refused() {
    let drawn = DensityMap {
        map: array![[0.1, 0.2], [0.3, 0.4]],
        radii: vec![0.7, f64::NAN],
        map_radii: vec![f64::NAN, -0.3],
    };
    let text = serde_json::to_string(&drawn).unwrap();
    let read: DensityMap = serde_json::from_str(&text).unwrap();
    assert_eq!(read.map, drawn.map);
    assert!(read.radii[0] == 0.7 && read.radii[1].is_nan());
    assert!(read.map_radii[0].is_nan() && read.map_radii[1] == -0.3);
    for (there, wrong) in [("[0.7,null]", "[0.7]"), ("[null,-0.3]", "[null,-0.3,1.0]")] {
        let wrong = text.replace(there, wrong);
        assert_ne!(wrong, text);
        let error = serde_json::from_str::<DensityMap>(&wrong).unwrap_err();
        assert!(error.to_string().contains("radii"), "{error}");
    }
}

#[test]
fn edges_of_rows_that_are_no_neighbours_do_not_count() {
    // Row 2 is a neighbour of row 1 in one direction only, and none of row 0.
    let graph = CsrGraph::new(
        vec![0, 2, 4, 6],
        vec![1, 2, 0, 2, 0, 1],
        vec![1.0, 0.5, 1.0, 0.25, 0.5, 0.25],
    )
    .unwrap();
    let neighbors = Neighbors::new(array![[1], [0], [1]], array![[2.0], [2.0], [4.0]]).unwrap();
    let radii = local_radii(&graph, &neighbors).unwrap();
    let means = [4.0, (4.0 + 0.25 * 16.0) / 1.25, 16.0];
    for (radius, mean) in radii.into_iter().zip(means) {
        assert!((radius - libm::log(mean + 1e-8)).abs() < 1e-12, "{mean}");
    }
}

#[test]
fn bad_settings_and_inputs_are_refused() {
    let density = DensityConfig::default();
    for wrong in [
        density.clone().with_strength(-1.0),
        density.clone().with_strength(f64::NAN),
        density.clone().with_strength(f64::INFINITY),
        density.clone().with_share(-0.1),
        density.clone().with_share(1.1),
        density.clone().with_share(f64::NAN),
        density.clone().with_variance_shift(0.0),
        density.clone().with_variance_shift(f64::INFINITY),
    ] {
        assert!(wrong.validate().is_err(), "{wrong:?}");
        let (graph, neighbors) = (CsrGraph::empty(0), Array2::zeros((0, 1)));
        let neighbors = Neighbors::new(neighbors, Array2::zeros((0, 1))).unwrap();
        let config = UmapConfig::default();
        let drawn = layout_with_density(&graph, &neighbors, &config, &wrong, &NoProgress);
        assert!(matches!(drawn, Err(Error::Config(_))));
    }
    let two =
        |distance: f64| Neighbors::new(array![[1], [0]], array![[distance], [distance]]).unwrap();
    let pair = CsrGraph::new(vec![0, 1, 2], vec![1, 0], vec![1.0, 1.0]).unwrap();
    assert!(local_radii(&pair, &two(1.0)).is_ok());
    assert_eq!(
        local_radii(&pair, &two(1e200)),
        Err(Error::Overflow {
            method: "local radii"
        })
    );
    assert!(matches!(
        local_radii(&CsrGraph::empty(3), &two(1.0)),
        Err(Error::Shape(_))
    ));
    let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![1.0]).unwrap();
    assert!(matches!(
        local_radii(&one_way, &two(1.0)),
        Err(Error::NotSymmetric { .. })
    ));
}

#[test]
fn settings_at_their_bounds_draw_numbers_or_are_an_error() {
    let (graph, neighbors) = groups();
    let config = UmapConfig::default().with_n_epochs(10);
    for strength in [1e-6, MOST] {
        for shift in [f64::MIN_POSITIVE, MOST] {
            let density = DensityConfig::default()
                .with_strength(strength)
                .with_share(1.0)
                .with_variance_shift(shift);
            match layout_with_density(&graph, &neighbors, &config, &density, &NoProgress) {
                Ok(drawn) => assert!(drawn.map.iter().all(|v| v.is_finite()), "{density:?}"),
                Err(error) => assert_eq!(error, Error::Overflow { method: "map" }),
            }
        }
    }
}
