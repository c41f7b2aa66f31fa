//! Statistics of the samples of a store of which one at a time fits into memory.
//!
//! Without arguments it looks at synthetic tissue; with `--store` at a store of yours, which is only read.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::path::PathBuf;

use clap::Parser;
use phenocoder::core::NoProgress;
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::io::Store;
use phenocoder::pipeline::{SpatialStatsConfig, StoreKeys, statistics_one_by_one};
use phenocoder::spatial::summary::StatisticsConfig;

/// Statistics that are shown of each sample.
const SHOWN: usize = 4;

/// Statistics of each sample of a SpatialData store, with the features of one sample in memory.
#[derive(Debug, Parser)]
#[command(name = "sample_by_sample", max_term_width = 100)]
struct Arguments {
    /// The SpatialData-Zarr store; without it, synthetic tissue is made.
    #[arg(long)]
    store: Option<PathBuf>,
    /// The table with one row per cell, whose matrix are the features.
    #[arg(long, default_value = "cells")]
    table: String,
    /// The column of `obs` that names the sample of a cell.
    #[arg(long, default_value = "sample")]
    sample_key: String,
    /// The column of `obs` with the types that are compared.
    #[arg(long, default_value = "true_type")]
    label_key: String,
    /// Cells at most this far apart are neighbours.
    #[arg(long, default_value_t = 25.0)]
    radius: f64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let path = match &arguments.store {
        Some(path) => path.clone(),
        None => {
            let path = folder.path().join("tissue.zarr");
            let tissue = TissueConfig::default().with_cells_per_sample(100);
            write_tissue(&path, &tissue, &NoProgress)?;
            path
        }
    };
    let keys = StoreKeys::new(&arguments.table, &arguments.sample_key, "image");
    let statistics = StatisticsConfig::new([arguments.radius]);
    let config = SpatialStatsConfig::new(keys, &arguments.label_key, statistics)
        .with_feature_tables([&arguments.table]);
    let table = statistics_one_by_one(&Store::open(&path)?, &config, &NoProgress)?;
    println!(
        "{} samples, {} statistics\n",
        table.units.len(),
        table.names.len()
    );
    // Moran's I of the features: whether neighbours look alike.
    let shown: Vec<usize> = (0..table.names.len())
        .filter(|&i| table.names[i].contains("stat:moran_features_"))
        .take(SHOWN)
        .collect();
    let names: Vec<&str> = shown
        .iter()
        .filter_map(|&i| table.names[i].split_once("moranI_"))
        .map(|(_, feature)| feature)
        .collect();
    println!("| Moran's I of | {} |", names.join(" | "));
    println!("|---|{}", "---:|".repeat(names.len()));
    for (unit, values) in table.units.iter().zip(table.values.rows()) {
        let cells: Vec<String> = shown.iter().map(|&i| format!("{:.2}", values[i])).collect();
        println!("| {unit} | {} |", cells.join(" | "));
    }
    Ok(())
}
