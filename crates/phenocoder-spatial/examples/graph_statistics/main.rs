//! Every statistic of a set of points as JSON: `graph_statistics --help`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to its user"
)]

mod archive;
mod graphs;
mod input;
mod report;
mod ripley;
mod statistics;
mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use ndarray::Array2;
use ndarray_npy::NpzWriter;
use phenocoder_core::{Categorical, Seed};

use input::{Input, Overrides, Parameters};
use report::{Numbers, Report};

const HELP: &str = "\
Graphs of points and every statistic of them, as JSON.

usage: graph_statistics SET.npz [options]
       graph_statistics CELLS.csv [options]
       graph_statistics                       some statistics of a synthetic tissue

SET.npz has `in_coords` [n, d], `in_labels` (codes of n, negative for missing) and may have `in_X` [n, p],
`in_lib` (n libraries), `ripley_F_reference_points` [m, d] and edges of graphs (`g_NAME_conn_indptr`, `…_indices`):
where several graphs are equally right, for points tie, those of the file are taken.
CELLS.csv has a header and one row per cell; an empty label is missing, an empty feature NaN.

  --parameters FILE.json  `inputs` of this file has the settings below    [default: SET.json, where there is one]
  --radii R,S,…           radii: graphs radius0, radius1, …               [default: 40,70,120; of grid2d 10,14.2,25]
  --interval LOW,HIGH     lengths of radius_interval, delaunay_interval   [default: 20,80; of grid2d 11,25]
  --knn K                 number of nearest neighbors                     [default: 6]
  --categories A,B,…      names of the codes (npz)                        [default: the codes]
  --features A,B,…        names of the columns of in_X (npz), or the columns of features (csv)
                                                                          [default: f0,f1,…; all other columns]
  --coordinates Y,X[,Z]   columns of the coordinates (csv)                [default: those of z,y,x that there are]
  --label COLUMN          column of the labels (csv)                      [default: label]
  --library COLUMN        column of the libraries (csv)                   [default: none]
  --set-name NAME         name in the output                              [default: that of the file]
  --only PATH,PATH,…      what begins so: graphs, stats/knn, stats/knn/interaction, co_occurrence, ripley, sepal,
                          phenocoder_row                                  [default: everything]
  --seed N                seed of permutations and locations              [default: 0]
  --out FILE.json         where to write                                  [default: standard output]
  --arrays FILE.npz       where to write edges and statistics of nodes    [default: nowhere]
  --help                  this text

Numbers that JSON lacks are \"NaN\", \"Infinity\" and \"-Infinity\".
A statistic that cannot be computed is {\"error\": KIND, \"message\": WHY}; the others are computed all the same.
Definitions are squidpy 1.8.3's and the original's, faults included; random numbers are our own.";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let run = || match Options::parse(std::env::args().skip(1))? {
        None => {
            println!("{HELP}");
            Ok(())
        }
        Some(options) => options.run(),
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!("\nsee --help");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Options {
    file: Option<PathBuf>,
    overrides: Overrides,
    only: Vec<String>,
    seed: u64,
    out: Option<PathBuf>,
    arrays: Option<PathBuf>,
}

impl Options {
    /// `None` when only the help was asked for.
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut options = Self::default();
        let given = &mut options.overrides;
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--parameters" => given.parameters = Some(value()?.into()),
                "--radii" => given.radii = Some(numbers(&name, &value()?)?),
                "--interval" => {
                    let ends = numbers(&name, &value()?)?;
                    let ends = <[f64; 2]>::try_from(ends);
                    given.interval =
                        Some(ends.map_err(|_| format!("{name}: expected two numbers"))?);
                }
                "--knn" => given.knn = Some(whole(&name, &value()?)?),
                "--categories" => given.categories = Some(list(&value()?)),
                "--features" => given.features = Some(list(&value()?)),
                "--coordinates" => given.coordinates = Some(list(&value()?)),
                "--label" => given.label = Some(value()?),
                "--library" => given.library = Some(value()?),
                "--set-name" => given.name = Some(value()?),
                "--only" => options.only = list(&value()?),
                "--seed" => options.seed = whole(&name, &value()?)?,
                "--out" => options.out = Some(value()?.into()),
                "--arrays" => options.arrays = Some(value()?.into()),
                flag if flag.starts_with("--") => {
                    return Err(format!("there is no `{flag}`").into());
                }
                file if options.file.is_none() => options.file = Some(file.into()),
                file => return Err(format!("`{file}`: one file at a time").into()),
            }
        }
        Ok(Some(options))
    }

    fn run(mut self) -> Result<()> {
        let input = match &self.file {
            Some(file) => Input::read(file, &self.overrides)?,
            None => {
                eprintln!(
                    "a synthetic tissue; your own cells: graph_statistics CELLS.csv, see --help"
                );
                if self.only.is_empty() {
                    let some = ["inputs", "stats/radius1/interaction_normalized"];
                    let exact = "stats/radius1/nhood_exact_permutation_moments";
                    let moran = "stats/radius1/moran_features_rownorm1";
                    self.only = [&some[..], &[exact, moran]]
                        .concat()
                        .iter()
                        .map(ToString::to_string)
                        .collect();
                }
                synthetic(300)
            }
        };
        let mut report = Report::new(&self.only);
        statistics::compute(&input, self.seed, &mut report);
        let (json, arrays) = report.into_parts();
        let text = serde_json::to_string_pretty(&json)?;
        match &self.out {
            // Whoever reads may have read enough.
            None => match writeln!(std::io::stdout(), "{text}") {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                written => written?,
            },
            Some(path) => std::fs::write(path, text + "\n").map_err(|e| at(path, &e))?,
        }
        if let Some(path) = &self.arrays {
            write_arrays(path, &input, arrays).map_err(|e| at(path, e.as_ref()))?;
        }
        Ok(())
    }
}

fn at(path: &std::path::Path, error: &dyn Error) -> String {
    format!("{}: {error}", path.display())
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|s| s.trim().to_owned()).collect()
}

fn numbers(name: &str, text: &str) -> Result<Vec<f64>> {
    let number = |s: &str| {
        let number = s.trim().parse::<f64>();
        number.map_err(|_| format!("{name}: `{s}` is no number").into())
    };
    text.split(',').map(number).collect()
}

fn whole<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    let number = text.parse();
    number.map_err(|_| format!("{name}: `{text}` is no whole number ≥ 0").into())
}

fn write_arrays(
    path: &std::path::Path,
    input: &Input,
    arrays: Vec<(String, Numbers)>,
) -> Result<()> {
    let mut npz = NpzWriter::new(BufWriter::new(File::create(path)?));
    npz.add_array("in_coords", &input.points)?;
    let codes = input.labels.codes().iter().map(|&code| i64::from(code));
    npz.add_array("in_labels", &codes.collect::<ndarray::Array1<i64>>())?;
    npz.add_array("in_X", &input.x)?;
    for (name, numbers) in arrays {
        match numbers {
            Numbers::Real(values) => npz.add_array(name, &values)?,
            Numbers::Whole(values) => npz.add_array(name, &values)?,
            Numbers::Small(values) => npz.add_array(name, &values)?,
        }
    }
    npz.finish()?.flush()?;
    Ok(())
}

/// Cells of two types, each mostly on its own side, and a feature that follows the side.
fn synthetic(n: usize) -> Input {
    let mut stream = Seed::new(1).stream("example", 0);
    let points = Array2::from_shape_simple_fn((n, 2), || stream.uniform_in(0.0, 1000.0));
    let labels = points.rows().into_iter().map(|point| {
        let own_side = stream.chance(0.9);
        if (point[0] < 500.0) == own_side {
            "T"
        } else {
            "B"
        }
    });
    let labels = Categorical::from_labels(labels.collect::<Vec<_>>());
    let x = Array2::from_shape_fn((n, 2), |(row, feature)| {
        let side = if feature == 0 {
            points[[row, 0]] / 100.0
        } else {
            0.0
        };
        side + stream.normal()
    });
    Input {
        name: "synthetic".to_owned(),
        points,
        labels,
        x,
        features: vec!["gradient".to_owned(), "noise".to_owned()],
        libraries: None,
        locations: None,
        edges: BTreeMap::new(),
        parameters: Parameters::of_set("synthetic"),
    }
}
