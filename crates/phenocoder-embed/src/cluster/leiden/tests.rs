use std::sync::atomic::{AtomicUsize, Ordering};

use phenocoder_core::{CancelToken, NoProgress};

use super::*;

/// An undirected graph of weighted edges.
fn graph(n: usize, edges: &[(u32, u32, f64)]) -> CsrGraph {
    let mut all: Vec<(u32, u32, f64)> = edges.to_vec();
    all.extend(
        edges
            .iter()
            .filter(|e| e.0 != e.1)
            .map(|&(a, b, w)| (b, a, w)),
    );
    all.sort_by_key(|edge| (edge.0, edge.1));
    let mut indptr = vec![0; n + 1];
    for edge in &all {
        indptr[edge.0 as usize + 1] += 1;
    }
    for i in 0..n {
        indptr[i + 1] += indptr[i];
    }
    let indices = all.iter().map(|edge| edge.1).collect();
    CsrGraph::new(indptr, indices, all.iter().map(|edge| edge.2).collect()).unwrap()
}

/// `count` cliques of `size` nodes, each joined to the next by one edge.
fn cliques(count: u32, size: u32) -> CsrGraph {
    let mut edges = Vec::new();
    for c in 0..count {
        for i in 0..size {
            for j in i + 1..size {
                edges.push((c * size + i, c * size + j, 1.0));
            }
        }
        if count > 1 {
            let next = (c + 1) % count * size;
            edges.push((c * size + 1, next, 1.0));
        }
    }
    graph((count * size) as usize, &edges)
}

fn random_graph(n: u32, edges: usize, seed: u64) -> CsrGraph {
    let mut stream = Seed::new(seed).stream("graph", 0);
    let mut all = std::collections::BTreeMap::new();
    for _ in 0..edges {
        let (a, b) = (
            stream.below(n as usize) as u32,
            stream.below(n as usize) as u32,
        );
        if a != b {
            all.insert((a.min(b), a.max(b)), 0.1 + stream.uniform());
        }
    }
    let edges: Vec<_> = all.into_iter().map(|((a, b), w)| (a, b, w)).collect();
    graph(n as usize, &edges)
}

fn find(graph: &CsrGraph, config: &LeidenConfig) -> Clustering {
    leiden(graph, config, &NoProgress).unwrap()
}

/// The best objective over all partitions, by trying each.
fn best_of_all(graph: &CsrGraph, config: &LeidenConfig) -> f64 {
    fn extend(labels: &mut Vec<u32>, n: usize, check: &mut dyn FnMut(&[u32])) {
        if labels.len() == n {
            check(labels);
            return;
        }
        let next = labels.iter().max().map_or(0, |m| m + 1);
        for label in 0..=next {
            labels.push(label);
            extend(labels, n, check);
            labels.pop();
        }
    }
    let mut best = f64::NEG_INFINITY;
    extend(&mut Vec::new(), graph.n_nodes(), &mut |labels| {
        best = best.max(quality(graph, labels, config).unwrap());
    });
    best
}

#[test]
fn modularity_equals_the_value_worked_out_by_hand() {
    // Two triangles and one edge between: 2m = 14, inside 6 + 6, strengths 7 and 7.
    let two = graph(
        6,
        &[
            (0, 1, 1.0),
            (0, 2, 1.0),
            (1, 2, 1.0),
            (2, 3, 1.0),
            (3, 4, 1.0),
            (3, 5, 1.0),
            (4, 5, 1.0),
        ],
    );
    let config = LeidenConfig::default();
    let value = quality(&two, &[0, 0, 0, 1, 1, 1], &config).unwrap();
    assert!((value - (12.0 / 14.0 - 0.5)).abs() < 1e-15);
    let found = find(&two, &config);
    assert_eq!(found.labels, [0, 0, 0, 1, 1, 1]);
    assert!((found.quality - value).abs() < 1e-15);
    // The constant Potts model: (12 − γ (9 + 9)) / 14.
    let cpm = config
        .with_objective(LeidenObjective::Cpm)
        .with_resolution(0.5);
    assert!((quality(&two, &[0, 0, 0, 1, 1, 1], &cpm).unwrap() - 3.0 / 14.0).abs() < 1e-15);
    assert_eq!(find(&two, &cpm).labels, [0, 0, 0, 1, 1, 1]);
}

#[test]
fn a_ring_of_cliques_is_taken_apart() {
    let ring = cliques(12, 6);
    let found = find(&ring, &LeidenConfig::default());
    assert_eq!(found.n_clusters, 12);
    for c in 0..12 {
        let labels = &found.labels[c * 6..(c + 1) * 6];
        assert!(labels.iter().all(|&label| label == labels[0]));
    }
}

#[test]
fn small_graphs_reach_the_best_of_all_partitions() {
    for seed in 0..12 {
        let small = random_graph(8, 14, seed);
        for resolution in [0.5, 1.0, 1.7] {
            let config = LeidenConfig::default()
                .with_resolution(resolution)
                .with_restarts(8);
            let (found, best) = (find(&small, &config).quality, best_of_all(&small, &config));
            assert!(found <= best + 1e-12);
            assert!(
                found >= best - 1e-9,
                "seed {seed}, γ {resolution}: {found} < {best}"
            );
        }
    }
}

#[test]
fn communities_are_connected_and_no_single_move_gains() {
    for seed in 0..5 {
        let large = random_graph(300, 1_200, seed);
        let config = LeidenConfig::default()
            .with_iterations(100)
            .with_restarts(1);
        let found = find(&large, &config);
        for community in 0..found.n_clusters as u32 {
            let members: Vec<usize> = (0..300).filter(|&i| found.labels[i] == community).collect();
            let (mut seen, mut at) = (vec![members[0]], 0);
            while at < seen.len() {
                for (other, _) in large.row(seen[at]) {
                    if found.labels[other] == community && !seen.contains(&other) {
                        seen.push(other);
                    }
                }
                at += 1;
            }
            assert_eq!(
                seen.len(),
                members.len(),
                "community {community} falls apart"
            );
        }
        let mut labels = found.labels.clone();
        for node in (0..300).step_by(7) {
            for other in large.neighbors(node) {
                let old = std::mem::replace(&mut labels[node], found.labels[*other as usize]);
                let moved = quality(&large, &labels, &config).unwrap();
                assert!(
                    moved <= found.quality + 1e-9,
                    "node {node}: {moved} > {}",
                    found.quality
                );
                labels[node] = old;
            }
        }
    }
}

#[test]
fn the_resolution_sets_the_number_of_clusters() {
    let ring = cliques(6, 5);
    let count = |gamma| find(&ring, &LeidenConfig::default().with_resolution(gamma)).n_clusters;
    assert_eq!(count(1e-6), 1);
    assert_eq!(count(1.0), 6);
    assert_eq!(count(1e3), 30);
}

#[test]
fn graphs_without_edges_and_lone_nodes_are_clustered() {
    let config = LeidenConfig::default();
    assert_eq!(find(&CsrGraph::empty(0), &config).n_clusters, 0);
    let lone = find(&CsrGraph::empty(3), &config);
    assert_eq!(
        (lone.labels.as_slice(), lone.quality),
        ([0, 1, 2].as_slice(), 0.0)
    );
    let weightless = graph(2, &[(0, 1, 0.0)]);
    assert_eq!(find(&weightless, &config).n_clusters, 2);
    let pair = find(&graph(3, &[(1, 2, 0.5)]), &config);
    assert_eq!(pair.labels, [1, 0, 0]);
}

#[test]
fn a_loop_counts_within_its_node() {
    let looped = graph(2, &[(0, 0, 2.0), (0, 1, 1.0)]);
    // 2m = 4; together all weight is inside.
    let value = quality(&looped, &[0, 0], &LeidenConfig::default()).unwrap();
    assert_eq!(value, 0.0);
    let apart = quality(&looped, &[0, 1], &LeidenConfig::default()).unwrap();
    assert!((apart - (0.5 - 9.0 / 16.0 - 1.0 / 16.0)).abs() < 1e-15);
}

#[test]
fn more_restarts_are_never_worse() {
    let large = random_graph(200, 700, 9);
    let quality = |restarts| find(&large, &LeidenConfig::default().with_restarts(restarts)).quality;
    assert!(quality(6) >= quality(1));
}

#[test]
fn labels_of_any_size_have_the_quality_of_small_ones() {
    let small = random_graph(8, 14, 1);
    let config = LeidenConfig::default();
    let low = quality(&small, &[0, 0, 1, 2, 2, 1, 0, 3], &config).unwrap();
    // As many zeros as the largest label would take 16 GiB.
    let (a, b) = (u32::MAX, u32::MAX - 1);
    let high = quality(&small, &[9, 9, a, b, b, a, 9, 2], &config).unwrap();
    assert_eq!(high, low);
}

/// Counts how often it is asked.
#[derive(Default)]
struct Asked(AtomicUsize);

impl Progress for Asked {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        false
    }
}

#[test]
fn levels_of_many_nodes_ask_on_their_way_whether_to_stop() {
    // Pairs of nodes; every node is looked at at least once.
    let n = 2 * PATIENCE;
    let partners = (0..n as u32).map(|node| node ^ 1).collect();
    let pairs = CsrGraph::new((0..=n).collect(), partners, vec![1.0; n]).unwrap();
    let network = Network::new(&pairs, &LeidenConfig::default());
    let mut stream = Seed::new(1).stream("leiden", 0);
    let mut communities: Vec<u32> = (0..n as u32).collect();
    let asked = Asked::default();
    move_nodes(&network, &mut communities, &mut stream, &asked).unwrap();
    assert!(asked.0.load(Ordering::Relaxed) >= 2);
    let (communities, count) = compact(&communities);
    assert_eq!(count, n / 2);
    let asked = Asked::default();
    refine(&network, &communities, count, &mut stream, &asked).unwrap();
    assert!(asked.0.load(Ordering::Relaxed) >= 2);
    let stopped = CancelToken::new();
    stopped.cancel();
    let result = refine(&network, &communities, count, &mut stream, &stopped);
    assert!(matches!(result, Err(Error::Cancelled(_))));
}

/// The graph with each weight times `2^power`.
fn scaled(graph: &CsrGraph, power: i32) -> CsrGraph {
    let weights = graph.values().iter().map(|&w| libm::scalbn(w, power));
    graph.with_values(weights.collect()).unwrap()
}

#[test]
fn qualities_of_weights_of_any_size_have_the_same_bits() {
    let usual = random_graph(30, 60, 2);
    let labels: Vec<u32> = (0..30).map(|node| node % 4).collect();
    let modularity = LeidenConfig::default().with_resolution(0.7);
    let cpm = modularity.clone().with_objective(LeidenObjective::Cpm);
    let of_usual = quality(&usual, &labels, &modularity).unwrap();
    let cpm_of_usual = quality(&usual, &labels, &cpm).unwrap();
    // Below, squares of weights are 0; above, squares or sums of weights are beyond any number.
    for power in [-1000, -600, -7, 600, 1022] {
        let graph = scaled(&usual, power);
        assert_eq!(
            quality(&graph, &labels, &modularity).unwrap(),
            of_usual,
            "{power}"
        );
        let gamma = libm::scalbn(cpm.resolution, power);
        let found = quality(&graph, &labels, &cpm.clone().with_resolution(gamma)).unwrap();
        assert_eq!(found, cpm_of_usual, "{power}");
    }
}

#[test]
fn communities_of_weights_of_any_size_are_found() {
    let config = LeidenConfig::default();
    let cpm = config.clone().with_objective(LeidenObjective::Cpm);
    let usual = find(&cliques(3, 4), &config);
    assert_eq!(usual.labels, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    // From the least to the largest number that there is.
    for weight in [f64::from_bits(1), 1e-310, 1e-170, 1e200, 1e308, f64::MAX] {
        let one = find(&graph(2, &[(0, 1, weight)]), &config);
        assert_eq!(one.labels, [0, 0], "{weight}");
        assert!(one.quality.abs() < 1e-15, "{weight}");
        let two = find(&graph(4, &[(0, 1, weight), (2, 3, weight)]), &config);
        assert_eq!(two.labels, [0, 0, 1, 1], "{weight}");
        assert!((two.quality - 0.5).abs() < 1e-15, "{weight}");
        let ring = cliques(3, 4);
        let ring = ring.with_values(vec![weight; ring.n_edges()]).unwrap();
        let found = find(&ring, &config);
        assert_eq!(found.labels, usual.labels, "{weight}");
        assert!((found.quality - usual.quality).abs() < 1e-14, "{weight}");
        // The constant Potts model with γ as large as a weight: (36 − 3 · 16) / 42.
        let value = quality(&ring, &found.labels, &cpm.clone().with_resolution(weight));
        assert!((value.unwrap() + 12.0 / 42.0).abs() < 1e-14, "{weight}");
    }
}

#[test]
fn weights_that_are_nothing_beside_the_others_change_nothing() {
    let strong = [(0, 1, 1e300), (2, 3, 1e300)];
    let config = LeidenConfig::default();
    let expected = find(&graph(6, &strong), &config);
    let weak = [strong[0], strong[1], (1, 2, 1e-300), (4, 5, 1e-300)];
    assert_eq!(find(&graph(6, &weak), &config), expected);
    assert_eq!(expected.labels, [0, 0, 1, 1, 2, 3]);
}

#[test]
fn objectives_beyond_any_number_are_refused() {
    let pair = graph(2, &[(0, 1, 1e-170)]);
    let config = LeidenConfig::default()
        .with_objective(LeidenObjective::Cpm)
        .with_resolution(1e300);
    for result in [
        leiden(&pair, &config, &NoProgress).map(|found| found.quality),
        quality(&pair, &[0, 0], &config),
        quality(&pair, &[0, 1], &config),
    ] {
        assert_eq!(result, Err(Error::Overflow { method: METHOD }));
    }
    // Large, and a number still: γ for each of the pair, over twice the weight.
    let config = config.with_resolution(1e130);
    let found = find(&pair, &config);
    assert_eq!(found.labels, [0, 1]);
    assert!((found.quality / -1e300 - 1.0).abs() < 1e-14);
}

#[test]
fn choices_do_not_depend_on_the_unit_of_gains() {
    let choices: [(u32, f64); 3] = [(0, 0.013), (1, 0.004), (2, 0.0171)];
    let draw = |scale: f64| -> Vec<Option<u32>> {
        let choices = choices.map(|(part, gain)| (part, scale * gain));
        let mut stream = Seed::new(3).stream("choices", 0);
        (0..200)
            .map(|_| choose(&choices, scale, &mut stream))
            .collect()
    };
    let expected = draw(1.0);
    for part in [None, Some(0), Some(1), Some(2)] {
        assert!(expected.contains(&part), "{part:?}");
    }
    for power in [-20, 20, 900] {
        assert_eq!(draw(libm::scalbn(1.0, power)), expected, "{power}");
    }
}

#[test]
fn bad_graphs_and_settings_are_refused() {
    let config = LeidenConfig::default();
    assert!(config.clone().with_resolution(0.0).validate().is_err());
    assert!(config.clone().with_iterations(0).validate().is_err());
    assert!(config.clone().with_restarts(0).validate().is_err());
    let one_way = CsrGraph::new(vec![0, 1, 1], vec![1], vec![1.0]).unwrap();
    assert!(leiden(&one_way, &config, &NoProgress).is_err());
    assert!(quality(&CsrGraph::empty(2), &[0], &config).is_err());
    let token = CancelToken::new();
    token.cancel();
    let stopped = leiden(&cliques(2, 3), &config, &token);
    assert!(matches!(stopped, Err(Error::Cancelled(_))));
}
