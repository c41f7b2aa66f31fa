//! Statistics of neighbourhoods, question by question, for each sample of a store: what `docs/guide/spatial-statistics.md`
//! walks through.
//!
//! Without arguments it looks at synthetic tissue; with `--store` at a store of yours, which is only read.
#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Parser;
use ndarray::{Array2, ArrayView2};
use phenocoder::core::{Categorical, CsrGraph, NoProgress, Seed};
use phenocoder::datasets::{TissueConfig, write_tissue};
use phenocoder::io::Store;
use phenocoder::plot::{Curve, CurvesConfig, Figure, HeatMapConfig, curves, heat_map};
use phenocoder::spatial::assortativity::assortativity;
use phenocoder::spatial::autocorrelation::{Assumption, Tail, TestConfig, adjust_fdr, moran_test};
use phenocoder::spatial::co_occurrence::{Neighborhood, co_occurrence};
use phenocoder::spatial::connectivity::{connected_components, degree_statistics};
use phenocoder::spatial::enrichment::enrichment_exact;
use phenocoder::spatial::radius_graph;
use phenocoder::spatial::ripley::{RipleyConfig, RipleyFunction, ripley};

/// Distances of the curves of co-occurrence.
const DISTANCES: usize = 40;

/// Features that are shown of those that neighbors share.
const SHOWN: usize = 5;

/// Statistics of neighbourhoods of each sample of a SpatialData store.
#[derive(Debug, Parser)]
#[command(name = "neighborhoods", max_term_width = 100)]
struct Arguments {
    /// The SpatialData-Zarr store; without it, synthetic tissue is made.
    #[arg(long)]
    store: Option<PathBuf>,
    /// The table with one row per cell.
    #[arg(long, default_value = "cells")]
    table: String,
    /// The column of `obs` that names the sample of a cell.
    #[arg(long, default_value = "sample")]
    sample_key: String,
    /// The column of `obs` with the types that are compared.
    #[arg(long, default_value = "true_type")]
    label_key: String,
    /// The entry of `obsm` with coordinates in one unit.
    #[arg(long, default_value = "spatial")]
    spatial_key: String,
    /// Cells at most this far apart are neighbours.
    #[arg(long, default_value_t = 25.0)]
    radius: f64,
    /// Distances are looked at up to this one [default: eight radii]
    #[arg(long)]
    max_distance: Option<f64>,
    /// Where figures go (PNG); without it there are none.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where chance comes from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The cells of one sample.
struct Sample<'a> {
    name: &'a str,
    points: Array2<f64>,
    labels: Categorical,
    features: Array2<f64>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let path = match &arguments.store {
        Some(path) => path.clone(),
        None => {
            let path = folder.path().join("tissue.zarr");
            let tissue = TissueConfig::default().with_seed(Seed::new(arguments.seed));
            let keys = write_tissue(&path, &tissue, &NoProgress)?.keys;
            (arguments.table, arguments.sample_key) = (keys.table, keys.sample_key);
            path
        }
    };
    if let Some(out) = &arguments.out {
        std::fs::create_dir_all(out)?;
    }
    let store = Store::open(&path)?;
    let table = store.table(&arguments.table)?;
    let samples = table.obs_column(&arguments.sample_key)?.to_categorical();
    let labels = table.obs_column(&arguments.label_key)?.to_categorical();
    let points = table.obsm(&arguments.spatial_key)?;
    let names = table.var_names()?;
    let features = match table.x()? {
        Some(x) => x.to_dense_f64()?,
        None => Array2::zeros((points.nrows(), 0)),
    };
    println!(
        "{} cells, {} types\n",
        labels.len(),
        labels.categories().len()
    );
    for (code, name) in samples.categories().iter().enumerate() {
        let mut rows = samples.members(code);
        let all = rows.len();
        rows.retain(|&row| labels.code(row).is_some());
        if rows.len() < all {
            println!(
                "{name}: {} cells without a type are left out\n",
                all - rows.len()
            );
        }
        if rows.is_empty() {
            continue;
        }
        let sample = Sample {
            name,
            points: points.select(ndarray::Axis(0), &rows),
            labels: labels.select(&rows),
            features: features.select(ndarray::Axis(0), &rows),
        };
        sample.describe(&arguments, &names)?;
    }
    Ok(())
}

impl Sample<'_> {
    fn describe(&self, arguments: &Arguments, names: &[String]) -> anyhow::Result<()> {
        let Self {
            name,
            points,
            labels,
            ..
        } = self;
        println!("## {name}\n");
        let graph = radius_graph(points.view(), arguments.radius)?;
        let degrees = degree_statistics(&graph, labels)?;
        let components = connected_components(&graph);
        println!(
            "{} cells, {:.1} ± {:.1} neighbours, {} components, the largest with {} cells",
            points.nrows(),
            degrees.overall.mean,
            degrees.overall.std,
            components.sizes.len(),
            components.sizes.iter().max().unwrap_or(&0),
        );
        println!(
            "like with like (assortativity): {:.3}\n",
            assortativity(&graph, labels)?
        );
        let save = |figure: Figure, what: &str| save(&figure, arguments.out.as_deref(), name, what);
        save(self.enrichment(&graph)?, "enrichment")?;
        let largest = arguments.max_distance.unwrap_or(8.0 * arguments.radius);
        save(self.co_occurrence(largest)?, "co_occurrence")?;
        match self.ripley(largest, Seed::new(arguments.seed)) {
            Ok(figure) => save(figure, "ripley")?,
            // Few cells, or cells on a line, have no hull to strew others over.
            Err(error) => println!("no region: {error}\n"),
        }
        self.moran(&graph, names)
    }

    /// Which types lie beside each other more or less than by chance.
    fn enrichment(&self, graph: &CsrGraph) -> anyhow::Result<Figure> {
        let found = enrichment_exact(graph, &self.labels)?;
        let types = self.labels.categories();
        println!("| beside | {} |", types.join(" | "));
        println!("|---|{}", "---:|".repeat(types.len()));
        for (of, row) in types.iter().zip(found.z.rows()) {
            let cells: Vec<String> = row.iter().map(|z| number(*z, 1)).collect();
            println!("| {of} | {} |", cells.join(" | "));
        }
        println!();
        let config = HeatMapConfig::diverging()
            .with_title(format!("{}: neighbours beside chance", self.name))
            .with_value_label("z")
            .with_annotate(true)
            .with_decimals(1);
        Ok(heat_map(found.z.view(), types, types, &config)?)
    }

    /// How far the company of a type reaches.
    fn co_occurrence(&self, largest: f64) -> anyhow::Result<Figure> {
        let distances: Vec<f64> = (1..=DISTANCES)
            .map(|i| largest * i as f64 / DISTANCES as f64)
            .collect();
        let found = co_occurrence(
            self.points.view(),
            &self.labels,
            &distances,
            Neighborhood::Annulus,
            &NoProgress,
        )?;
        let of_type = |(code, name): (usize, &String)| {
            let ratio = found.ratio.slice(ndarray::s![code, code, ..]).to_vec();
            Curve::new(name, found.distances.clone(), ratio)
        };
        let drawn: Vec<Curve> = self
            .labels
            .categories()
            .iter()
            .enumerate()
            .map(of_type)
            .collect();
        let config = CurvesConfig::default()
            .with_title(format!(
                "{}: how much more probable the same type is",
                self.name
            ))
            .with_labels("distance", "ratio");
        Ok(curves(&drawn, &config)?)
    }

    /// Whether the cells of a type are clustered or spread.
    fn ripley(&self, largest: f64, seed: Seed) -> anyhow::Result<Figure> {
        let config = RipleyConfig::new()
            .with_max_distance(largest)
            .with_seed(seed);
        let found = ripley(
            self.points.view(),
            &self.labels,
            RipleyFunction::L,
            &config,
            &NoProgress,
        )?;
        let comparison = found.comparison.context("patterns to compare with")?;
        println!("| type | cells | largest L(t) − t | at | p |\n|---|---:|---:|---:|---:|");
        let mut drawn = Vec::new();
        for (code, name) in self.labels.categories().iter().enumerate() {
            let beyond = |values: ArrayView2<'_, f64>| -> Vec<f64> {
                let row = values.row(code);
                row.iter()
                    .zip(&found.distances)
                    .map(|(l, t)| l - t)
                    .collect()
            };
            let excess = beyond(found.values.view());
            let largest = excess
                .iter()
                .zip(&found.distances)
                .filter(|(excess, _)| excess.is_finite())
                .max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
            let (excess_at, at) =
                largest.map_or((f64::NAN, f64::NAN), |(excess, at)| (*excess, *at));
            println!(
                "| {name} | {} | {} | {} | {} |",
                self.labels.counts()[code],
                number(excess_at, 1),
                number(at, 0),
                number(comparison.p_value[code], 2)
            );
            drawn.push(Curve::new(name, found.distances.clone(), excess));
        }
        println!();
        let config = CurvesConfig::default()
            .with_title(format!("{}: clustered above 0, spread below", self.name))
            .with_labels("distance t", "L(t) − t");
        Ok(curves(&drawn, &config)?)
    }

    /// Which features neighbors share.
    fn moran(&self, graph: &CsrGraph, names: &[String]) -> anyhow::Result<()> {
        ensure!(self.features.ncols() == names.len(), "one name per feature");
        let config = TestConfig::new()
            .with_assumption(Assumption::Randomization)
            .with_tail(Tail::Two);
        let found = moran_test(graph, self.features.view(), &config)?;
        let adjusted = adjust_fdr(&found.p_value);
        let mut order: Vec<usize> = (0..names.len())
            .filter(|&i| found.statistic[i].is_finite())
            .collect();
        order.sort_by(|&a, &b| found.statistic[b].total_cmp(&found.statistic[a]));
        println!("| feature | Moran's I | adjusted p |\n|---|---:|---:|");
        for &i in order.iter().take(SHOWN) {
            let (statistic, p) = (found.statistic[i], adjusted[i]);
            println!("| {} | {statistic:.3} | {p:.1e} |", names[i]);
        }
        println!();
        Ok(())
    }
}

/// A number, or a dash where there is none.
fn number(value: f64, decimals: usize) -> String {
    match value.is_nan() {
        true => "–".to_owned(),
        false => format!("{value:.decimals$}"),
    }
}

fn save(figure: &Figure, out: Option<&Path>, sample: &str, what: &str) -> anyhow::Result<()> {
    if let Some(out) = out {
        // A name is one file, whatever it has in it.
        let name: String = sample
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect();
        figure.write(out.join(format!("{name}_{what}.png")))?;
    }
    Ok(())
}
