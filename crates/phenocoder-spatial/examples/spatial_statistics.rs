//! From a table of cells to a table of spatial statistics, one row per sample: `spatial_statistics --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its user"
)]

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use ndarray::Array2;
use phenocoder_core::{Categorical, Coords, Features, NoProgress, Seed, Unit};
use phenocoder_spatial::radius_graph;
use phenocoder_spatial::subunits::{SubunitConfig, assign_subunits};
use phenocoder_spatial::summary::{
    Fill, Group, Mode, StatisticsConfig, StatisticsTable, spatial_statistics,
};

const HELP: &str = "\
Spatial statistics of cells: neighbours, clusters, autocorrelation, hulls.

usage: spatial_statistics CELLS.csv --radius R [options]
       spatial_statistics [--cells N]        a synthetic tissue, with timings

CELLS.csv has a header and one row per cell. An empty label or sample is missing.

  --coordinates Y,X[,Z]   columns of the coordinates              [default: y,x]
  --label COLUMN          column of the cell types or clusters    [default: cluster]
  --sample COLUMN         column of the samples                   [default: one sample]
  --features A,B,…        columns for Moran's I                   [default: none]
  --radius R              radius of a neighbourhood, in the unit of the coordinates;
                          may be given several times
  --groups G,H,…          of interactions, centrality, connectivity, moran_features,
                          moran_clusters, chull                   [default: these];
                          enrichment, assortativity, entropy, local_moran
  --cube SIZE             one row per cube of this size instead of one per sample
  --min-cells N           with --cube: cubes with fewer cells are left out  [default: 10]
  --fill-zero             write 0 for missing values              [default: empty fields]
  --compat                the numbers of the original, its faults included
  --out FILE.csv          where to write the table                [default: standard output]
  --cells N               size of the synthetic tissue            [default: 2000]
  --help                  this text

The columns of the result are called `radius:R_stat:GROUP_NAME`.
example: spatial_statistics cells.csv --coordinates y,x --label type --sample well --radius 25 --radius 50";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| match options {
        None => {
            println!("{HELP}");
            Ok(())
        }
        Some(options) => options.run(),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}\nsee --help");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    cells: Option<String>,
    coordinates: Vec<String>,
    label: String,
    sample: Option<String>,
    features: Vec<String>,
    radii: Vec<f64>,
    groups: Vec<Group>,
    cube: Option<f64>,
    min_cells: usize,
    fill_zero: bool,
    mode: Mode,
    out: Option<String>,
    synthetic: usize,
}

impl Options {
    /// `None` when only the help was asked for.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self {
            cells: None,
            coordinates: vec!["y".into(), "x".into()],
            label: "cluster".into(),
            sample: None,
            features: Vec::new(),
            radii: Vec::new(),
            groups: Group::ORIGINAL.to_vec(),
            cube: None,
            min_cells: 10,
            fill_zero: false,
            mode: Mode::Default,
            out: None,
            synthetic: 2000,
        };
        let mut arguments = arguments;
        let list = |text: String| {
            text.split(',')
                .map(|s| s.trim().to_owned())
                .collect::<Vec<_>>()
        };
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--coordinates" => options.coordinates = list(value()?),
                "--label" => options.label = value()?,
                "--sample" => options.sample = Some(value()?),
                "--features" => options.features = list(value()?),
                "--radius" => options.radii.push(number(&name, &value()?)?),
                "--groups" => {
                    options.groups = list(value()?)
                        .iter()
                        .map(|g| group(g))
                        .collect::<Result<_>>()?;
                }
                "--cube" => options.cube = Some(number(&name, &value()?)?),
                "--min-cells" => options.min_cells = number(&name, &value()?)? as usize,
                "--fill-zero" => options.fill_zero = true,
                "--compat" => options.mode = Mode::Compat,
                "--out" => options.out = Some(value()?),
                "--cells" => options.synthetic = number(&name, &value()?)? as usize,
                _ if name.starts_with('-') => return Err(format!("unknown option {name}").into()),
                _ => options.cells = Some(name),
            }
        }
        Ok(Some(options))
    }

    fn run(&self) -> Result<()> {
        let Some(path) = &self.cells else {
            return show_synthetic(self.synthetic);
        };
        if self.radii.is_empty() {
            return Err("give at least one --radius".into());
        }
        let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        let csv = Csv::parse(&text).map_err(|e| format!("{path}: {e}"))?;
        let points = Coords::new(csv.matrix(&self.coordinates)?, Unit::Unspecified)?;
        let labels = csv.categories(&self.label)?;
        let samples = match &self.sample {
            Some(column) => csv.categories(column)?,
            None => Categorical::from_labels(vec!["all"; points.len()]),
        };
        let features = Features::new(csv.matrix(&self.features)?, self.features.clone())?;
        let units = match self.cube {
            None => samples,
            Some(size) => {
                let config = SubunitConfig::new(size).with_min_obs(self.min_cells);
                assign_subunits(&points, &samples, &config)?.of_row
            }
        };
        let config = StatisticsConfig::new(self.radii.iter().copied())
            .with_groups(self.groups.iter().copied())
            .with_mode(self.mode);
        let table = spatial_statistics(
            &points,
            &units,
            &labels,
            Some(&features),
            &config,
            &NoProgress,
        )?;
        for dropped in &table.report.dropped {
            eprintln!("left out `{}`: {}", dropped.unit, dropped.reason);
        }
        for note in &table.report.notes {
            eprintln!("`{}` at radius {}: {}", note.unit, note.radius, note.kind);
        }
        let table = if self.fill_zero {
            table.fill(Fill::Zero)
        } else {
            table
        };
        let text = write_csv(&table);
        match &self.out {
            None => print!("{text}"),
            Some(path) => {
                std::fs::write(path, text).map_err(|e| format!("{path}: {e}"))?;
                let (rows, columns) = table.values.dim();
                eprintln!("{rows} rows of {columns} statistics written to {path}");
            }
        }
        Ok(())
    }
}

fn number(name: &str, text: &str) -> Result<f64> {
    text.parse()
        .map_err(|_| format!("{name}: `{text}` is no number").into())
}

fn group(name: &str) -> Result<Group> {
    let found = Group::ALL.into_iter().find(|group| group.name() == name);
    found.ok_or_else(|| format!("--groups: `{name}` is none of the groups").into())
}

/// A header and rows of text.
struct Csv {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Csv {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.is_empty()).map(fields);
        let header = lines.next().ok_or("the file is empty")?;
        let rows: Vec<Vec<String>> = lines.collect();
        match rows.iter().position(|row| row.len() != header.len()) {
            None => Ok(Self { header, rows }),
            Some(row) => {
                let (found, expected) = (rows[row].len(), header.len());
                Err(format!("row {row} has {found} fields, the header has {expected}").into())
            }
        }
    }

    fn column(&self, name: &str) -> Result<usize> {
        let found = self.header.iter().position(|h| h == name);
        found.ok_or_else(|| {
            format!(
                "there is no column `{name}`; there are: {}",
                self.header.join(", ")
            )
            .into()
        })
    }

    fn categories(&self, name: &str) -> Result<Categorical> {
        let column = self.column(name)?;
        let labels = self
            .rows
            .iter()
            .map(|row| Some(&row[column]).filter(|label| !label.is_empty()));
        Ok(Categorical::from_optional_labels(labels))
    }

    /// The numbers of the columns; an empty field is NaN.
    fn matrix(&self, names: &[String]) -> Result<Array2<f64>> {
        let mut values = Array2::zeros((self.rows.len(), names.len()));
        for (j, name) in names.iter().enumerate() {
            let column = self.column(name)?;
            for (i, row) in self.rows.iter().enumerate() {
                values[[i, j]] = match row[column].as_str() {
                    "" => f64::NAN,
                    text => number(&format!("column {name}, row {i}"), text)?,
                };
            }
        }
        Ok(values)
    }
}

/// The fields of a line; those in quotes may contain commas and doubled quotes.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

fn write_csv(table: &StatisticsTable) -> String {
    let quoted = |text: &str| match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut text = String::from("unit");
    for name in &table.names {
        text.push(',');
        text.push_str(&quoted(name));
    }
    text.push('\n');
    for (unit, row) in table.units.iter().zip(table.values.rows()) {
        text.push_str(&quoted(unit));
        for value in row {
            text.push(',');
            if !value.is_nan() {
                let _ = write!(text, "{value}");
            }
        }
        text.push('\n');
    }
    text
}

/// Two samples of the same cells: in one the types are mixed, in the other each keeps to its own side.
fn show_synthetic(n: usize) -> Result<()> {
    let mut stream = Seed::new(1).stream("example", 0);
    // About 12 neighbours at radius 1, whatever the number of cells.
    let edge = (n as f64 / 2.0 * std::f64::consts::PI / 12.0).sqrt();
    let values = Array2::from_shape_simple_fn((n, 2), || stream.uniform_in(0.0, edge));
    let samples = Categorical::from_labels((0..n).map(|i| ["mixed", "sorted"][i % 2]));
    let labels = Categorical::from_labels((0..n).map(|i| {
        let sorted = values[[i, 0]] < edge / 2.0;
        let mixed = stream.chance(0.5);
        if [mixed, sorted][i % 2] { "T" } else { "B" }
    }));
    let points = Coords::new(values, Unit::Unspecified)?;

    let started = Instant::now();
    let graph = radius_graph(points.view(), 1.0)?;
    let graph_time = started.elapsed();
    let size = Features::new(points.view().to_owned(), ["y", "x"])?;
    let started = Instant::now();
    let config = StatisticsConfig::new([1.0]);
    let table = spatial_statistics(
        &points,
        &samples,
        &labels,
        Some(&size),
        &config,
        &NoProgress,
    )?;
    let statistics_time = started.elapsed();

    println!("{n} synthetic cells in two samples, types T and B, neighbours within radius 1\n");
    println!(
        "{:48} {:>8} {:>8}",
        "statistic", table.units[0], table.units[1]
    );
    for (what, name) in [
        ("mean number of neighbours", "connectivity_mean"),
        (
            "fraction of T's neighbours that are T",
            "interactions_interaction_norm_T_T",
        ),
        (
            "fraction of others that touch T",
            "centrality_centrality_T_degree_centrality",
        ),
        ("Moran's I of being T", "moran_clusters_moranI_T"),
        ("pieces of T tissue", "chull_cluster:T_n_obs_chull"),
    ] {
        let column = table
            .column(&format!("radius:1_stat:{name}"))
            .ok_or("no such column")?;
        println!("{what:48} {:8.3} {:8.3}", column[0], column[1]);
    }
    println!(
        "\nall {} statistics of both samples: {statistics_time:.2?}",
        table.names.len()
    );
    println!(
        "the graph of all cells alone ({} directed edges): {graph_time:.2?}",
        graph.n_edges()
    );
    println!("your own cells: spatial_statistics CELLS.csv --radius R, see --help");
    Ok(())
}
