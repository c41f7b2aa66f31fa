//! What the statistics are made of: an `.npz` archive with its parameters, or a CSV file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use ndarray_npy::ReadNpzError;
use phenocoder_core::Categorical;
use serde_json::Value;

use super::{archive, table};

/// A file that cannot be understood, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{path}: cannot be read")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: expected a file called .npz or .csv")]
    Format { path: PathBuf },
    #[error("{path}: no readable .npz archive")]
    Archive { path: PathBuf, source: ReadNpzError },
    #[error("{path}: the array `{name}` cannot be read")]
    Array {
        path: PathBuf,
        name: String,
        source: ReadNpzError,
    },
    #[error("{path}: the array `{name}` has {found}, expected {expected}")]
    Shape {
        path: PathBuf,
        name: String,
        found: String,
        expected: String,
    },
    #[error("{path}: no readable JSON")]
    Json {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{path}: `inputs/{name}`: expected {expected}")]
    Parameter {
        path: PathBuf,
        name: &'static str,
        expected: &'static str,
    },
    #[error("{path}, line {line}: {found} fields, the header has {expected}")]
    Fields {
        path: PathBuf,
        line: usize,
        found: usize,
        expected: usize,
    },
    #[error("{path}, line {line}: a quote is not closed")]
    Quote { path: PathBuf, line: usize },
    #[error("{path}: no header")]
    NoHeader { path: PathBuf },
    #[error("{path}: there is no column `{name}`; there are: {columns}")]
    Column {
        path: PathBuf,
        name: String,
        columns: String,
    },
    #[error("{path}: the header has two columns `{name}`")]
    Twice { path: PathBuf, name: String },
    #[error("{path}, line {line}, column `{column}`: `{text}` is no number")]
    Number {
        path: PathBuf,
        line: usize,
        column: String,
        text: String,
    },
    #[error("{path}, {place}: the coordinate {value} is not finite")]
    Coordinate {
        path: PathBuf,
        place: String,
        value: f64,
    },
    #[error("{path}, row {row} of `in_labels`: there is no category {code}, only {categories}")]
    Code {
        path: PathBuf,
        row: usize,
        code: i64,
        categories: usize,
    },
    #[error("{path}: the category `{name}` occurs twice")]
    Category { path: PathBuf, name: String },
}

pub(super) type Result<T, E = InputError> = std::result::Result<T, E>;

/// What the graphs are made with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameters {
    /// The radii of the radius graphs, rising.
    pub(crate) radii: Vec<f64>,
    /// The ends of the interval of lengths.
    pub(crate) interval: [f64; 2],
    /// The number of nearest neighbors.
    pub(crate) knn: usize,
}

impl Parameters {
    /// Those of the reference set of this name; of any other, those of `random2d`.
    pub(crate) fn of_set(name: &str) -> Self {
        let (radii, interval) = match name {
            "grid2d" => (vec![10.0, 14.2, 25.0], [11.0, 25.0]),
            _ => (vec![40.0, 70.0, 120.0], [20.0, 80.0]),
        };
        Self {
            radii,
            interval,
            knn: 6,
        }
    }
}

/// Settings that stand above what the files say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) name: Option<String>,
    pub(crate) parameters: Option<PathBuf>,
    pub(crate) radii: Option<Vec<f64>>,
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) knn: Option<usize>,
    pub(crate) categories: Option<Vec<String>>,
    pub(crate) features: Option<Vec<String>>,
    pub(crate) coordinates: Option<Vec<String>>,
    pub(crate) label: Option<String>,
    pub(crate) library: Option<String>,
}

/// The edges of a graph without lengths: as a file has them.
#[derive(Debug, Clone)]
pub(crate) struct Edges {
    pub(crate) indptr: Vec<usize>,
    pub(crate) indices: Vec<u32>,
}

/// Points with labels and features.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) points: Array2<f64>,
    pub(crate) labels: Categorical,
    pub(crate) x: Array2<f64>,
    pub(crate) features: Vec<String>,
    pub(crate) libraries: Option<Categorical>,
    /// Locations in the hull of the points, of which Ripley's F is.
    pub(crate) locations: Option<Array2<f64>>,
    /// Graphs that the file has: they decide where several are right.
    pub(crate) edges: BTreeMap<String, Edges>,
    pub(crate) parameters: Parameters,
}

impl Input {
    /// Reads an archive or a table.
    ///
    /// # Errors
    ///
    /// When the file, or the one with the parameters, cannot be understood.
    pub(crate) fn read(path: &Path, overrides: &Overrides) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("npz") => archive::read(path, overrides),
            Some("csv") => table::read(path, overrides),
            _ => Err(InputError::Format {
                path: path.to_owned(),
            }),
        }
    }
}

pub(super) fn name_of(path: &Path, overrides: &Overrides) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = overrides.name.clone();
    name.unwrap_or_else(|| stem.into_owned())
}

/// What a JSON file says about a set, under `inputs`.
#[derive(Default)]
pub(super) struct Described {
    pub(super) radii: Option<Vec<f64>>,
    pub(super) interval: Option<[f64; 2]>,
    pub(super) knn: Option<usize>,
    pub(super) categories: Option<Vec<String>>,
    pub(super) features: Option<Vec<String>>,
}

impl Described {
    /// Of the file named, or else of the one beside the archive, if there is one.
    pub(super) fn read(path: &Path, overrides: &Overrides) -> Result<Self> {
        let beside = path.with_extension("json");
        let path = match &overrides.parameters {
            Some(path) => path.clone(),
            None if beside.exists() => beside,
            None => return Ok(Self::default()),
        };
        let text = read_text(&path)?;
        let json: Value = serde_json::from_str(&text).map_err(|source| InputError::Json {
            path: path.clone(),
            source,
        })?;
        let inputs = &json["inputs"];
        let wrong = |name, expected| InputError::Parameter {
            path: path.clone(),
            name,
            expected,
        };
        let numbers = |name| -> Result<Option<Vec<f64>>> {
            let list = |value: &Value| -> Option<Vec<f64>> {
                value.as_array()?.iter().map(Value::as_f64).collect()
            };
            match &inputs[name] {
                Value::Null => Ok(None),
                value => list(value)
                    .map(Some)
                    .ok_or_else(|| wrong(name, "a list of numbers")),
            }
        };
        let texts = |name| -> Result<Option<Vec<String>>> {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let list = |value: &Value| -> Option<Vec<String>> {
                value.as_array()?.iter().map(text).collect()
            };
            match &inputs[name] {
                Value::Null => Ok(None),
                value => list(value)
                    .map(Some)
                    .ok_or_else(|| wrong(name, "a list of texts")),
            }
        };
        let interval = match numbers("interval")? {
            None => None,
            Some(ends) => {
                Some(<[f64; 2]>::try_from(ends).map_err(|_| wrong("interval", "two numbers"))?)
            }
        };
        let knn = match &inputs["knn"] {
            Value::Null => None,
            value => {
                let whole = value.as_u64().and_then(|knn| usize::try_from(knn).ok());
                Some(whole.ok_or_else(|| wrong("knn", "a whole number"))?)
            }
        };
        Ok(Self {
            radii: numbers("radii")?,
            interval,
            knn,
            categories: texts("categories")?,
            features: texts("features")?,
        })
    }
}

pub(super) fn parameters(name: &str, described: &Described, overrides: &Overrides) -> Parameters {
    let default = Parameters::of_set(name);
    let either = |a: &Option<Vec<f64>>, b: &Option<Vec<f64>>| a.clone().or_else(|| b.clone());
    Parameters {
        radii: either(&overrides.radii, &described.radii).unwrap_or(default.radii),
        interval: overrides
            .interval
            .or(described.interval)
            .unwrap_or(default.interval),
        knn: overrides.knn.or(described.knn).unwrap_or(default.knn),
    }
}

pub(super) fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| InputError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Names for `n` things, numbered unless enough are given.
pub(super) fn names(given: Option<Vec<String>>, prefix: &str, n: usize) -> Vec<String> {
    match given {
        Some(given) if given.len() == n => given,
        _ => (0..n).map(|i| format!("{prefix}{i}")).collect(),
    }
}
