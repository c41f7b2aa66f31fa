//! `cargo xtask bench-scaling`: how time and memory of statistics of neighborhoods, and of UMAP, grow with the number of cells.
//!
//! Each task runs in a process of its own, which says what it took: the first call, without anything warm but the data.

#![allow(clippy::print_stdout, reason = "the answer")]

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_benches::watch::{Watch, peak_megabytes};
use phenocoder_benches::{SEED, gradients, latents, tissue};
use phenocoder_core::{Categorical, Coords, Features, NoProgress, Unit};
use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
use phenocoder_embed::knn::{
    HnswConfig, HnswIndex, Metric, nearest_neighbors, query_neighbors, recall,
};
use phenocoder_embed::umap::{UmapConfig, layout};
use phenocoder_plot::{Curve, CurvesConfig, curves};
use phenocoder_spatial::autocorrelation::{SpatialWeights, moran_i};
use phenocoder_spatial::co_occurrence::{Neighborhood, co_occurrence};
use phenocoder_spatial::enrichment::enrichment_exact;
use phenocoder_spatial::interactions::{EdgeWeight, interaction_matrix};
use phenocoder_spatial::neighbors::{delaunay_graph, knn_graph};
use phenocoder_spatial::radius_graph;
use phenocoder_spatial::ripley::{RipleyConfig, RipleyFunction, ripley};
use phenocoder_spatial::summary::{StatisticsConfig, spatial_statistics};

/// A cell has ten others within this distance on average.
const RADIUS: f64 = 20.0;
const TYPES: usize = 10;
const FEATURES: usize = 50;
/// Distances of co-occurrence, up to half of the farthest two cells.
const DISTANCES: usize = 50;

/// Columns of the rows that UMAP draws, and their neighbours.
const COLUMNS: usize = 32;
const NEIGHBORS: usize = 14;

/// Rows that an approximate search keeps in view, the rows that judge it, and the least share that it shall find of their
/// neighbours.
const WIDTH: usize = 100;
const OTHERS: usize = 1_000;
const FOUND: f64 = 0.95;

/// Seconds of CPU time from which on growth is told: a shorter run is a single cold call, much of it start-up.
const LONG: f64 = 0.2;

/// The exit status when a bar is missed; that of errors is 1.
const MISSED: u8 = 2;

/// Cells of the runs.
const SIZES: [usize; 7] = [
    10_000, 31_623, 100_000, 316_228, 1_000_000, 3_162_278, 10_000_000,
];

/// What is measured: the most cells to measure it with, and the most seconds and megabytes that it may take then.
const TASKS: [(&str, usize, Option<f64>, Option<f64>); 13] = [
    ("radius graph", 10_000_000, None, None),
    ("10 nearest neighbors", 10_000_000, None, None),
    ("Delaunay graph", 3_162_278, None, None),
    (
        "radius graph, interactions, Moran's I",
        10_000_000,
        None,
        Some(12_000.0),
    ),
    ("exact enrichment", 10_000_000, None, None),
    (
        "six groups, 50 features",
        1_000_000,
        Some(20.0),
        Some(2_000.0),
    ),
    ("Ripley's L up to 200", 1_000_000, None, None),
    ("Ripley's L", 1_000_000, Some(60.0), None),
    ("co-occurrence up to 200", 1_000_000, None, None),
    ("co-occurrence", 1_000_000, Some(60.0), None),
    (
        "UMAP of 32 columns",
        1_000_000,
        Some(1_500.0),
        Some(4_096.0),
    ),
    ("exact neighbours, no clusters", 316_228, None, None),
    ("approximate neighbours, no clusters", 1_000_000, None, None),
];

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let good = match arguments.as_slice() {
        [task, n] if TASKS.iter().any(|(name, ..)| name == task) => {
            work(task, n.parse()?)?;
            true
        }
        [figure, largest, word] => measure(Path::new(figure), largest.parse()?, word)?,
        _ => bail!("expected FIGURE CELLS WORD or TASK CELLS"),
    };
    Ok(match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(MISSED),
    })
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Took {
    cells: usize,
    wall: f64,
    cpu: f64,
    megabytes: f64,
    /// The share of neighbours that an approximate search found.
    found: Option<f64>,
}

/// Measures the tasks with a word in their names, prints a table and verdicts, and draws the figure; `true` when every bar is
/// met.
fn measure(figure: &Path, largest: usize, word: &str) -> Result<bool> {
    let tasks = TASKS.iter().filter(|(name, ..)| name.contains(word));
    let tasks: Vec<_> = tasks.copied().collect();
    ensure!(!tasks.is_empty(), "no task has `{word}` in its name");
    let program = std::env::current_exe()?;
    let mut drawn = Vec::new();
    let mut verdicts = Vec::new();
    println!("| task | cells | wall s | CPU s | MB | slope |\n|---|---:|---:|---:|---:|---:|");
    for (name, most, seconds, memory) in tasks {
        let mut before: Option<Took> = None;
        let mut curve = Curve::new(name, Vec::new(), Vec::new());
        for cells in SIZES.into_iter().filter(|&n| n <= most.min(largest)) {
            let took = run(&program, name, cells)?;
            // How fast time grows between two sizes: 1 where it is of the order of the cells.
            let measured = before.filter(|before| before.cpu >= LONG);
            let slope = measured.map_or(String::new(), |before| {
                let slope =
                    (took.cpu / before.cpu).ln() / (cells as f64 / before.cells as f64).ln();
                format!("{slope:.2}")
            });
            let Took {
                wall,
                cpu,
                megabytes,
                ..
            } = took;
            println!("| {name} | {cells} | {wall:.3} | {cpu:.3} | {megabytes:.0} | {slope} |");
            if let Some(found) = took.found {
                let verdict = if found >= FOUND { "met   " } else { "missed" };
                verdicts.push(format!(
                    "{verdict} {found:.3} of the neighbours, at least {FOUND}: {name}, {cells} cells"
                ));
            }
            curve.x.push(cells as f64);
            curve.y.push(cpu);
            before = Some(took);
            if cells == most {
                let bars = [("seconds", wall, seconds), ("megabytes", megabytes, memory)];
                for (unit, found, bar) in bars {
                    let Some(bar) = bar else { continue };
                    let verdict = if found <= bar { "met   " } else { "missed" };
                    verdicts.push(format!(
                        "{verdict} {found:.1} {unit}, at most {bar}: {name}, {cells} cells"
                    ));
                }
            }
        }
        drawn.push(curve);
    }
    println!("\n```text\n{}\n```", verdicts.join("\n"));
    let config = CurvesConfig::default()
        .with_title("CPU time by number of cells")
        .with_labels("cells", "CPU seconds")
        .with_log_x(true)
        .with_log_y(true)
        .with_size(860.0, 480.0);
    curves(&drawn, &config)?.write(figure)?;
    Ok(verdicts.iter().all(|verdict| verdict.starts_with("met")))
}

/// Runs a task in a process of its own.
fn run(program: &Path, task: &str, cells: usize) -> Result<Took> {
    let output = Command::new(program)
        .args([task, &cells.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "{task} of {cells} cells: {}",
        output.status
    );
    let answer = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = answer
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let (wall, cpu, megabytes, found) = match numbers[..] {
        [wall, cpu, megabytes] => (wall, cpu, megabytes, None),
        [wall, cpu, megabytes, found] => (wall, cpu, megabytes, Some(found)),
        _ => bail!("{task} of {cells} cells answered `{answer}`"),
    };
    Ok(Took {
        cells,
        wall,
        cpu,
        megabytes,
        found,
    })
}

/// Does a task and prints the seconds, CPU seconds and megabytes that it took.
fn work(task: &str, n: usize) -> Result<()> {
    let points = tissue(n, RADIUS * (0.8_f64).sqrt());
    let labels = labels_of(points.view())?;
    let side = points.iter().copied().fold(0.0, f64::max);
    let distances_to = |last: f64| -> Vec<f64> {
        (1..=DISTANCES)
            .map(|i| last * i as f64 / DISTANCES as f64)
            .collect()
    };
    let features = |p: usize| {
        let mut stream = SEED.stream("features", n as u64);
        Array2::from_shape_simple_fn((n, p), || stream.uniform())
    };
    let of_l = |config: RipleyConfig| -> Result<()> {
        ripley(
            points.view(),
            &labels,
            RipleyFunction::L,
            &config,
            &NoProgress,
        )?;
        Ok(())
    };
    let co_occurrence_to = |last: f64| -> Result<()> {
        let (distances, disc) = (distances_to(last), Neighborhood::Disc);
        co_occurrence(points.view(), &labels, &distances, disc, &NoProgress)?;
        Ok(())
    };
    // What a task needs and another makes is made before the time runs.
    let watch;
    match task {
        "radius graph" => {
            watch = Watch::start()?;
            radius_graph(points.view(), RADIUS)?;
        }
        "10 nearest neighbors" => {
            watch = Watch::start()?;
            knn_graph(points.view(), 10)?;
        }
        "Delaunay graph" => {
            watch = Watch::start()?;
            delaunay_graph(points.view())?;
        }
        "radius graph, interactions, Moran's I" => {
            let x = features(FEATURES);
            watch = Watch::start()?;
            let graph = radius_graph(points.view(), RADIUS)?;
            interaction_matrix(&graph, &labels, EdgeWeight::One)?;
            moran_i(&graph, x.view(), &SpatialWeights::default())?;
        }
        "exact enrichment" => {
            let graph = radius_graph(points.view(), RADIUS)?;
            watch = Watch::start()?;
            enrichment_exact(&graph, &labels)?;
        }
        "six groups, 50 features" => {
            let names = (0..FEATURES).map(|i| format!("feature {i}"));
            let features = Features::new(features(FEATURES), names.collect::<Vec<_>>())?;
            let points = Coords::new(points, Unit::Micrometer)?;
            let sample = Categorical::new(vec![0; n], vec!["sample".to_owned()])?;
            let config = StatisticsConfig::new([RADIUS]);
            watch = Watch::start()?;
            spatial_statistics(
                &points,
                &sample,
                &labels,
                Some(&features),
                &config,
                &NoProgress,
            )?;
        }
        "Ripley's L up to 200" => {
            watch = Watch::start()?;
            of_l(RipleyConfig::new().with_max_distance(10.0 * RADIUS))?;
        }
        "Ripley's L" => {
            watch = Watch::start()?;
            of_l(RipleyConfig::new())?;
        }
        "co-occurrence up to 200" => {
            watch = Watch::start()?;
            co_occurrence_to(10.0 * RADIUS)?;
        }
        "co-occurrence" => {
            watch = Watch::start()?;
            co_occurrence_to(side * 2_f64.sqrt() / 2.0)?;
        }
        "UMAP of 32 columns" => {
            let x = latents(n, COLUMNS);
            watch = Watch::start()?;
            map_of(x.view())?;
        }
        "exact neighbours, no clusters" => {
            let x = gradients(n, COLUMNS);
            watch = Watch::start()?;
            nearest_neighbors(x.view(), NEIGHBORS, Metric::Euclidean, &NoProgress)?;
        }
        "approximate neighbours, no clusters" => return approximate(n),
        other => bail!("unknown task `{other}`"),
    }
    answer(watch)
}

fn answer(watch: Watch) -> Result<()> {
    let (wall, cpu) = watch.stop()?;
    println!("{wall} {cpu} {}", peak_megabytes()?);
    Ok(())
}

/// Makes an index and finds the neighbours of its rows; then looks how many of those of other rows it finds.
fn approximate(n: usize) -> Result<()> {
    let x = gradients(n + OTHERS, COLUMNS);
    let (x, others) = x.view().split_at(Axis(0), n);
    let watch = Watch::start()?;
    let index = HnswIndex::build(x, &HnswConfig::new(Metric::Euclidean), &NoProgress)?;
    index.neighbors(NEIGHBORS, WIDTH, &NoProgress)?;
    answer(watch)?;
    let found = index.query(others, NEIGHBORS, WIDTH, &NoProgress)?;
    let nearest = query_neighbors(x, others, NEIGHBORS, Metric::Euclidean, &NoProgress)?;
    println!("{}", recall(&found, &nearest)?);
    Ok(())
}

/// The map of rows, from exact neighbours.
fn map_of(x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
    let neighbors = nearest_neighbors(x, NEIGHBORS, Metric::Euclidean, &NoProgress)?;
    let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
    drop(neighbors);
    Ok(layout(&graph, &UmapConfig::default(), &NoProgress)?)
}

/// Types that lie in stripes, but for one cell in five.
fn labels_of(points: ArrayView2<'_, f64>) -> Result<Categorical> {
    let mut stream = SEED.stream("labels", points.nrows() as u64);
    let codes = points.rows().into_iter().map(|point| {
        let stripe = (point[1] / (10.0 * RADIUS)) as usize % TYPES;
        let code = if stream.chance(0.2) {
            stream.below(TYPES)
        } else {
            stripe
        };
        code as i32
    });
    let names = (0..TYPES).map(|code| format!("type {code}"));
    Categorical::new(codes.collect(), names.collect()).context("labels")
}
