//! A scatter plot as PNG at twice the resolution of a screen.

#![allow(clippy::unwrap_used, reason = "the data is valid")]

use divan::Bencher;
use divan::counter::ItemsCount;
use phenocoder_benches::{labels, latents};
use phenocoder_plot::{ColorBy, ScatterConfig, scatter};

fn main() {
    divan::main();
}

#[divan::bench(args = [10_000, 100_000], sample_count = 5, sample_size = 1)]
fn scatter_png_points(bencher: Bencher<'_, '_>, n: usize) {
    let points = latents(n, 2);
    let types = labels(n, 8);
    let config = ScatterConfig::embedding("UMAP");
    bencher.counter(ItemsCount::new(n)).bench_local(|| {
        let figure = scatter(points.view(), ColorBy::Categories(&types), &config).unwrap();
        figure.to_png(2.0).unwrap()
    });
}
