use std::collections::BTreeSet;

use ndarray::{Array2, array};
use phenocoder_core::Seed;

use super::*;

fn random(n: usize, d: usize, seed: u64) -> Array2<f64> {
    let mut stream = Seed::new(seed).stream("points", 0);
    Array2::from_shape_simple_fn((n, d), || stream.uniform())
}

/// All pairs, one by one.
fn brute_force(points: &Array2<f64>, radius: f64) -> Vec<Vec<(usize, f64)>> {
    let n = points.nrows();
    let squared = |i: usize, j: usize| {
        let difference = &points.row(i) - &points.row(j);
        difference.iter().fold(0.0, |s, d| s + d * d)
    };
    (0..n)
        .map(|i| {
            let near = (0..n).filter(|&j| j != i && squared(i, j) <= radius * radius);
            near.map(|j| (j, squared(i, j).sqrt())).collect()
        })
        .collect()
}

fn rows(graph: &CsrGraph) -> Vec<Vec<(usize, f64)>> {
    (0..graph.n_nodes())
        .map(|i| graph.row(i).collect())
        .collect()
}

#[test]
fn the_radius_graph_is_what_all_pairs_say_in_one_two_and_three_dimensions() {
    for (d, radius) in [(1, 0.01), (2, 0.1), (3, 0.2), (2, 0.0), (3, 5.0)] {
        let points = random(300, d, d as u64);
        let graph = radius_graph(points.view(), radius).unwrap();
        assert_eq!(
            rows(&graph),
            brute_force(&points, radius),
            "{d}-D, {radius}"
        );
    }
}

#[test]
fn the_boundary_belongs_to_the_neighborhood_to_the_last_bit() {
    let points = array![[0.0, 0.0], [3.0, 4.0]];
    assert_eq!(radius_graph(points.view(), 5.0).unwrap().n_edges(), 2);
    let below = radius_graph(points.view(), 5.0_f64.next_down()).unwrap();
    assert_eq!(below.n_edges(), 0);
    let rounded = array![[0.0], [0.1 + 0.2]];
    assert_eq!(radius_graph(rounded.view(), 0.3).unwrap().n_edges(), 0);
}

#[test]
fn coincident_points_are_linked_at_distance_zero() {
    let points = array![[1.0, 1.0], [1.0, 1.0], [2.0, 1.0]];
    let graph = radius_graph(points.view(), 0.0).unwrap();
    assert_eq!(rows(&graph), [vec![(1, 0.0)], vec![(0, 0.0)], vec![]]);
}

#[test]
fn far_outliers_and_infinite_radii_are_no_trouble() {
    let points = array![
        [0.0, 0.0],
        [1e-3, 0.0],
        [1e300, -1e300],
        [-1.7e308, 1.7e308]
    ];
    let graph = radius_graph(points.view(), 1.0).unwrap();
    assert_eq!(
        rows(&graph)[..3],
        [vec![(1, 1e-3)], vec![(0, 1e-3)], vec![]]
    );
    let all = radius_graph(random(20, 2, 1).view(), f64::INFINITY).unwrap();
    assert_eq!(all.n_edges(), 20 * 19);
}

#[test]
fn no_points_and_one_point_have_no_edges() {
    for n in [0, 1] {
        let graph = radius_graph(Array2::zeros((n, 3)).view(), 1.0).unwrap();
        assert_eq!((graph.n_nodes(), graph.n_edges()), (n, 0));
    }
}

#[test]
fn bad_points_and_radii_are_refused_by_name() {
    let points = array![[0.0, 0.0], [f64::INFINITY, 0.0]];
    let refused = radius_graph(points.view(), 1.0).unwrap_err();
    assert_eq!(
        refused,
        Error::NotFinite {
            row: 1,
            axis: 0,
            value: f64::INFINITY
        }
    );
    for radius in [-1.0, f64::NAN] {
        let refused = radius_graph(random(3, 2, 0).view(), radius);
        assert!(matches!(
            refused,
            Err(Error::Config(ConfigError::Radius { .. }))
        ));
    }
    let four = radius_graph(Array2::zeros((2, 4)).view(), 1.0);
    assert!(matches!(four, Err(Error::Dimensions { found: 4, .. })));
}

#[test]
fn samples_are_never_linked_with_each_other_and_missing_ones_with_nothing() {
    let points = random(200, 2, 5);
    let codes: Vec<i32> = (0..200).map(|i| i % 4 - 1).collect();
    let samples = Categorical::new(codes, vec!["a".into(), "b".into(), "c".into()]).unwrap();
    let graph = radius_graph_within(points.view(), &samples, 0.2).unwrap();
    let expected: Vec<Vec<(usize, f64)>> = brute_force(&points, 0.2)
        .into_iter()
        .enumerate()
        .map(|(i, row)| {
            let same = |&(j, _): &(usize, f64)| {
                samples.code(i).is_some() && samples.code(i) == samples.code(j)
            };
            row.into_iter().filter(same).collect()
        })
        .collect();
    assert_eq!(rows(&graph), expected);
}

#[test]
fn an_interval_keeps_both_ends() {
    let points = array![[0.0], [1.0], [2.0], [3.5]];
    let graph = radius_interval_graph(points.view(), None, 1.0, 2.0).unwrap();
    let columns: Vec<Vec<usize>> = rows(&graph)
        .iter()
        .map(|row| row.iter().map(|&(j, _)| j).collect())
        .collect();
    assert_eq!(columns, [vec![1, 2], vec![0, 2], vec![0, 1, 3], vec![2]]);
    assert!(radius_interval_graph(points.view(), None, 2.0, 1.0).is_err());
}

#[test]
fn nearest_neighbors_are_what_all_pairs_say_also_with_ties() {
    let mut points = random(400, 3, 8);
    // Many equal distances: half of the points on a lattice, some of them coincident.
    for i in 0..200 {
        points[[i, 0]] = (i % 5) as f64 / 5.0;
        points[[i, 1]] = (i / 5 % 5) as f64 / 5.0;
        points[[i, 2]] = (i / 25 % 5) as f64 / 5.0;
    }
    let k = 7;
    let graph = knn_graph(points.view(), k).unwrap();
    for (i, mut all) in brute_force(&points, 10.0).into_iter().enumerate() {
        all.sort_by(|a, b| (a.1 * a.1).total_cmp(&(b.1 * b.1)).then(a.0.cmp(&b.0)));
        let expected: Vec<f64> = all[..k].iter().map(|&(_, d)| d).collect();
        let mut found: Vec<f64> = graph.row(i).map(|(_, d)| d).collect();
        found.sort_by(f64::total_cmp);
        assert_eq!(found, expected, "row {i}");
    }
}

#[test]
fn nearest_neighbors_among_many_points_are_what_all_pairs_say() {
    // So many that the tree grows on several threads.
    let points = random(70_000, 2, 5);
    let graph = knn_graph(points.view(), 4).unwrap();
    for i in (0..points.nrows()).step_by(1_759) {
        let squared = |j: usize| {
            let [y, x] = [0, 1].map(|axis| points[[i, axis]] - points[[j, axis]]);
            y * y + x * x
        };
        let mut all: Vec<usize> = (0..points.nrows()).filter(|&j| j != i).collect();
        all.sort_by(|&a, &b| squared(a).total_cmp(&squared(b)));
        let mut expected: Vec<u32> = all[..4].iter().map(|&j| j as u32).collect();
        expected.sort_unstable();
        assert_eq!(graph.neighbors(i), expected, "row {i}");
    }
}

#[test]
fn more_neighbors_than_points_are_refused_with_the_sample() {
    let points = random(5, 2, 3);
    assert!(matches!(
        knn_graph(points.view(), 5),
        Err(Error::TooManyNeighbors {
            k: 5,
            points: 5,
            ..
        })
    ));
    let samples = Categorical::from_labels(["a", "b", "b", "a", "b"]);
    let refused = knn_graph_within(points.view(), &samples, 2).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "2 neighbours were asked for, but sample `a` has 2 points"
    );
    let graph = knn_graph_within(points.view(), &samples, 1).unwrap();
    assert_eq!(graph.neighbors(0), [3]);
}

#[test]
fn symmetrizing_and_the_mutual_graph_enclose_the_directed_one() {
    let graph = knn_graph(random(100, 2, 4).view(), 3).unwrap();
    let (union, both) = (symmetrized(&graph), mutual(&graph));
    assert!(!is_symmetric(&graph) && is_symmetric(&union) && is_symmetric(&both));
    assert_eq!(union.n_edges() + both.n_edges(), 2 * graph.n_edges());
}

#[test]
fn a_graph_rule_reads_back_from_json() {
    let rule = NeighborGraph::Radius { radius: 25.0 };
    let text = serde_json::to_string(&rule).unwrap();
    assert_eq!(text, r#"{"radius":{"radius":25.0}}"#);
    assert_eq!(serde_json::from_str::<NeighborGraph>(&text).unwrap(), rule);
}

#[test]
fn symmetry_is_what_every_edge_and_its_reverse_say() {
    let mut symmetric = 0;
    for number in 0..3000 {
        let mut random = Seed::new(number).stream("graphs", 0);
        let n = 1 + random.below(5);
        let probability = random.uniform();
        let mut edges: BTreeSet<(usize, usize)> = BTreeSet::new();
        for i in 0..n {
            for j in 0..=i {
                if random.chance(probability) {
                    edges.extend([(i, j), (j, i)]);
                }
            }
        }
        // Half of them lose or gain an edge, some of them both.
        for _ in 0..2 {
            let pair = (random.below(n), random.below(n));
            if random.chance(0.3) && !edges.remove(&pair) {
                edges.insert(pair);
            }
        }
        let mut indptr = vec![0; n + 1];
        edges.iter().for_each(|&(i, _)| indptr[i + 1] += 1);
        (0..n).for_each(|i| indptr[i + 1] += indptr[i]);
        let indices: Vec<u32> = edges.iter().map(|&(_, j)| j as u32).collect();
        let values = vec![1.0; indices.len()];
        let graph = CsrGraph::new(indptr, indices, values).unwrap();
        let expected = edges.iter().all(|&(i, j)| edges.contains(&(j, i)));
        assert_eq!(is_symmetric(&graph), expected, "{edges:?}");
        symmetric += u32::from(expected);
    }
    assert!((500..2500).contains(&symmetric), "{symmetric}");
}

#[test]
fn loops_are_added_once_and_taken_out_again() {
    let graph = CsrGraph::new(
        vec![0, 2, 4, 4, 5],
        vec![1, 3, 1, 2, 0],
        vec![1.0, 2.0, 3.0, 4.0, 5.0],
    );
    let graph = graph.unwrap();
    let looped = with_loops(&graph, 7.0);
    assert_eq!(looped.indptr(), [0, 3, 5, 6, 8]);
    assert_eq!(looped.indices(), [0, 1, 3, 1, 2, 2, 0, 3]);
    assert_eq!(looped.values(), [7.0, 1.0, 2.0, 7.0, 4.0, 7.0, 5.0, 7.0]);
    assert_eq!(with_loops(&looped, 7.0), looped);
    assert_eq!(*without_loops(&looped), *without_loops(&graph));
}
