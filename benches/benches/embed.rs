//! Principal components, exact neighbours, fuzzy graph, UMAP and Leiden.

#![allow(clippy::unwrap_used, reason = "the data is valid")]

use divan::Bencher;
use divan::counter::ItemsCount;
use phenocoder_benches::latents;
use phenocoder_core::{CsrGraph, NoProgress};
use phenocoder_embed::cluster::{LeidenConfig, leiden};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
use phenocoder_embed::knn::{Metric, nearest_neighbors};
use phenocoder_embed::pca::{Pca, PcaConfig};
use phenocoder_embed::umap::{UmapConfig, layout};

const ROWS: [usize; 2] = [2_000, 10_000];

fn main() {
    divan::main();
}

#[divan::bench(args = ROWS, sample_count = 5, sample_size = 1)]
fn pca_128_to_30_rows(bencher: Bencher<'_, '_>, n: usize) {
    let x = latents(n, 128);
    let config = PcaConfig::new(30);
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        Pca::fit(x.view(), &config)
            .unwrap()
            .transform(x.view())
            .unwrap()
    });
}

#[divan::bench(args = ROWS, sample_count = 5, sample_size = 1)]
fn knn_14_of_30_dimensions_rows(bencher: Bencher<'_, '_>, n: usize) {
    let x = latents(n, 30);
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| nearest_neighbors(x.view(), 14, Metric::Euclidean, &NoProgress).unwrap());
}

fn graph(n: usize) -> CsrGraph {
    let neighbors = nearest_neighbors(latents(n, 30).view(), 14, Metric::Euclidean, &NoProgress);
    fuzzy_graph(&neighbors.unwrap(), &FuzzyConfig::default(), &NoProgress).unwrap()
}

#[divan::bench(args = ROWS, sample_count = 5, sample_size = 1)]
fn fuzzy_graph_rows(bencher: Bencher<'_, '_>, n: usize) {
    let neighbors = nearest_neighbors(latents(n, 30).view(), 14, Metric::Euclidean, &NoProgress);
    let neighbors = neighbors.unwrap();
    let config = FuzzyConfig::default();
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| fuzzy_graph(&neighbors, &config, &NoProgress).unwrap());
}

#[divan::bench(args = ROWS, sample_count = 3, sample_size = 1)]
fn umap_layout_rows(bencher: Bencher<'_, '_>, n: usize) {
    let graph = graph(n);
    let config = UmapConfig::default();
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| layout(&graph, &config, &NoProgress).unwrap());
}

#[divan::bench(args = ROWS, sample_count = 3, sample_size = 1)]
fn leiden_rows(bencher: Bencher<'_, '_>, n: usize) {
    let graph = graph(n);
    let config = LeidenConfig::default();
    bencher
        .counter(ItemsCount::new(n))
        .bench_local(|| leiden(&graph, &config, &NoProgress).unwrap());
}
