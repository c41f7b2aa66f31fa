//! Draws synthetic groups as a map, clusters them, and compares with the truth.
//!
//! `cargo run --release -p phenocoder-embed --example umap_only -- [ROWS] [COLUMNS]`

#![expect(clippy::print_stdout, reason = "an example reports to the terminal")]

use std::time::Instant;

use ndarray::Array2;
use phenocoder_core::{NoProgress, Seed};
use phenocoder_embed::cluster::{LeidenConfig, leiden};
use phenocoder_embed::evaluate::{adjusted_rand_index, knn_purity, silhouette};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
use phenocoder_embed::knn::{Metric, nearest_neighbors};
use phenocoder_embed::umap::{UmapConfig, cross_entropy, layout};

const GROUPS: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sizes = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let rows = sizes.next().transpose()?.unwrap_or(2_000);
    let columns = sizes.next().transpose()?.unwrap_or(16);

    let mut stream = Seed::new(7).stream("groups", 0);
    let centers = Array2::from_shape_simple_fn((GROUPS, columns), || 3.0 * stream.normal());
    let truth: Vec<u32> = (0..rows).map(|row| (row % GROUPS) as u32).collect();
    let x = Array2::from_shape_fn((rows, columns), |(row, column)| {
        centers[[row % GROUPS, column]] + stream.normal()
    });

    let mut clock = Instant::now();
    let mut lap = |what: &str| {
        println!("{what:<22} {:>8.3} s", clock.elapsed().as_secs_f64());
        clock = Instant::now();
    };
    let neighbors = nearest_neighbors(x.view(), 14, Metric::Euclidean, &NoProgress)?;
    lap("neighbours");
    let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
    lap("fuzzy graph");
    let config = UmapConfig::default();
    let map = layout(&graph, &config, &NoProgress)?;
    lap("map");
    let clusters = leiden(
        &graph,
        &LeidenConfig::default().with_resolution(0.2),
        &NoProgress,
    )?;
    lap("clusters");
    let objective = cross_entropy(&graph, map.view(), config.curve()?, &NoProgress)?;
    lap("objective");
    let apart = silhouette(map.view(), &truth, &NoProgress)?;
    lap("silhouette");

    println!("cross entropy per row  {:>8.3}", objective / rows as f64);
    println!("silhouette on the map  {:>8.3}", apart.mean);
    println!(
        "purity of neighbours   {:>8.3}",
        knn_purity(&neighbors, &truth)?
    );
    println!("clusters               {:>8}", clusters.n_clusters);
    println!(
        "adjusted Rand index    {:>8.3}",
        adjusted_rand_index(&clusters.labels, &truth)?
    );
    Ok(())
}
