//! Maps that keep densities, against umap-learn 0.5.12: `tests/data/make_densmap.py`.

use phenocoder_core::{CsrGraph, NoProgress, Seed};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
use phenocoder_embed::knn::{Metric, Neighbors, nearest_neighbors};
use phenocoder_embed::umap::{
    DensityConfig, UmapConfig, cross_entropy, layout_with_density, local_radii,
};
use serde_json::Value;

use crate::golden::{assert_all_or_missing, matrix, median, of_runs};

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let mut sums = [0.0; 3];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        sums[0] += a * a;
        sums[1] += b * b;
        sums[2] += a * b;
    }
    sums[2] / (sums[0] * sums[1]).sqrt()
}

/// The reference, and the rows' neighbours and graph.
fn golden() -> (Value, Neighbors, CsrGraph) {
    let golden: Value = serde_json::from_str(include_str!("../data/densmap.json")).unwrap();
    let x = matrix(&golden["x_times_1024"]) / 1024.0;
    let neighbors = nearest_neighbors(x.view(), 14, Metric::Euclidean, &NoProgress).unwrap();
    let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress).unwrap();
    (golden, neighbors, graph)
}

/// Theirs are sums in single precision, without the edges that are too weak to act in any of 700 rounds.
#[test]
fn radii_of_rows_are_those_of_umap_learn() {
    let (golden, neighbors, mut graph) = golden();
    let least = graph.values().iter().copied().fold(0.0, f64::max) / 700.0;
    let weak = graph.values_mut().iter_mut().filter(|w| **w < least);
    weak.for_each(|w| *w = 0.0);
    let radii = local_radii(&graph, &neighbors).unwrap();
    assert_all_or_missing(&radii, &golden["radii"], 1e-5);
}

#[test]
fn densities_are_kept_as_well_as_by_umap_learn() {
    let (golden, neighbors, graph) = golden();
    let radii = local_radii(&graph, &neighbors).unwrap();
    let theirs = |name: &str| of_runs(&golden["runs"], name);
    // 1 % below the median of their runs, or their worst run.
    let least_of = |name: &str| {
        let worst = theirs(name).into_iter().fold(1.0, f64::min);
        worst.min(0.99 * median(theirs(name)))
    };
    for seed in 0..3 {
        let config = UmapConfig::default().with_seed(Seed::new(seed));
        let density = DensityConfig::default();
        let drawn = layout_with_density(&graph, &neighbors, &config, &density, &NoProgress);
        let drawn = drawn.unwrap();
        assert_eq!(drawn.radii, radii);
        let found = correlation(&radii, &drawn.map_radii);
        let least = least_of("correlation_of_edges");
        assert!(found >= least, "{seed}: {found}, at least {least}");

        let map = drawn.map.view();
        let near = nearest_neighbors(map, 14, Metric::Euclidean, &NoProgress).unwrap();
        let of_map = fuzzy_graph(&near, &FuzzyConfig::default(), &NoProgress).unwrap();
        let found = correlation(&radii, &local_radii(&of_map, &near).unwrap());
        let least = least_of("correlation_in_graph");
        assert!(found >= least, "{seed}: {found}, at least {least}");

        let curve = config.curve().unwrap();
        let found = cross_entropy(&graph, map, curve, &NoProgress).unwrap();
        let most = 1.01 * median(theirs("objective"));
        assert!(found <= most, "{seed}: {found}, at most {most}");
    }
}
