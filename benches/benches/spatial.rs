//! Radius graphs, message passing and all six groups of statistics of one sample.

#![allow(clippy::unwrap_used, reason = "the data is valid")]

use divan::Bencher;
use divan::counter::ItemsCount;
use phenocoder_benches::{labels, latents, tissue};
use phenocoder_core::{Categorical, Coords, Features, NoProgress, Unit};
use phenocoder_spatial::radius_graph;
use phenocoder_spatial::smooth::{Smoothing, message_passing};
use phenocoder_spatial::summary::{Group, StatisticsConfig, spatial_statistics};

const CELLS: [usize; 3] = [10_000, 100_000, 1_000_000];
const RADIUS: f64 = 20.0;

fn main() {
    divan::main();
}

#[divan::bench(args = CELLS, sample_count = 5, sample_size = 1)]
fn radius_graph_cells(bencher: Bencher<'_, '_>, n: usize) {
    let points = tissue(n, RADIUS);
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| radius_graph(points.view(), RADIUS).unwrap());
}

#[divan::bench(args = CELLS, sample_count = 5, sample_size = 1)]
fn message_passing_32_latents_cells(bencher: Bencher<'_, '_>, n: usize) {
    let graph = radius_graph(tissue(n, RADIUS).view(), RADIUS).unwrap();
    let x = latents(n, 32);
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| message_passing(x.view(), &graph, Smoothing::Mean).unwrap());
}

fn statistics(bencher: Bencher<'_, '_>, n: usize, groups: &[Group]) {
    let points = Coords::new(tissue(n, RADIUS), Unit::Micrometer).unwrap();
    let sample = Categorical::from_labels((0..n).map(|_| "sample"));
    let types = labels(n, 8);
    let features = Features::new(latents(n, 8), (0..8).map(|i| format!("latent_{i}"))).unwrap();
    let config = StatisticsConfig::new([RADIUS]).with_groups(groups.to_vec());
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        spatial_statistics(
            &points,
            &sample,
            &types,
            Some(&features),
            &config,
            &NoProgress,
        )
        .unwrap()
    });
}

/// Each time with the graph.
macro_rules! group {
    ($name:ident, $groups:expr) => {
        #[divan::bench(args = CELLS, sample_count = 3, sample_size = 1)]
        fn $name(bencher: Bencher<'_, '_>, n: usize) {
            statistics(bencher, n, &$groups);
        }
    };
}

group!(statistics_interactions_cells, [Group::Interactions]);
group!(statistics_centrality_cells, [Group::Centrality]);
group!(statistics_connectivity_cells, [Group::Connectivity]);
group!(statistics_moran_features_cells, [Group::MoranFeatures]);
group!(statistics_moran_clusters_cells, [Group::MoranClusters]);
group!(statistics_chull_cells, [Group::Chull]);
group!(statistics_all_six_cells, Group::ORIGINAL);
