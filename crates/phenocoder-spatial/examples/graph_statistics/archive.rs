//! Points from an `.npz` archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use ndarray::{Array, Array1, Array2, Dimension, Ix1, Ix2};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpzError, ReadableElement};
use phenocoder_core::Categorical;

use super::input::{
    Described, Edges, Input, InputError, Overrides, Result, name_of, names, parameters,
};

struct Archive {
    path: PathBuf,
    reader: NpzReader<BufReader<File>>,
    names: Vec<String>,
}

impl Archive {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| InputError::Read {
            path: path.to_owned(),
            source,
        })?;
        let archive = |source| InputError::Archive {
            path: path.to_owned(),
            source,
        };
        let mut reader = NpzReader::new(BufReader::new(file)).map_err(archive)?;
        let names = reader.names().map_err(archive)?;
        Ok(Self {
            path: path.to_owned(),
            reader,
            names,
        })
    }

    fn entry(&self, name: &str) -> Option<String> {
        let is = |entry: &&String| entry.trim_end_matches(".npy") == name;
        self.names.iter().find(is).cloned()
    }

    fn typed<T: ReadableElement, D: Dimension>(
        &mut self,
        name: &str,
    ) -> Result<Array<T, D>, ReadNpzError> {
        let entry = self.entry(name).unwrap_or_else(|| name.to_owned());
        self.reader.by_name(&entry)
    }

    /// The numbers of an array, whatever its type.
    fn numbers<D: Dimension>(&mut self, name: &str) -> Result<Array<f64, D>> {
        fn other_type<T>(found: &Result<T, ReadNpzError>) -> bool {
            matches!(
                found,
                Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_)))
            )
        }
        let mut found = self.typed::<f64, D>(name);
        if other_type(&found) {
            found = self.typed::<f32, D>(name).map(|a| a.mapv(f64::from));
        }
        if other_type(&found) {
            found = self.typed::<i64, D>(name).map(|a| a.mapv(|v| v as f64));
        }
        if other_type(&found) {
            found = self.typed::<i32, D>(name).map(|a| a.mapv(f64::from));
        }
        if other_type(&found) {
            found = self.typed::<i16, D>(name).map(|a| a.mapv(f64::from));
        }
        if other_type(&found) {
            found = self.typed::<i8, D>(name).map(|a| a.mapv(f64::from));
        }
        found.map_err(|source| InputError::Array {
            path: self.path.clone(),
            name: name.to_owned(),
            source,
        })
    }

    /// The numbers of an array that need not be there.
    fn optional<D: Dimension>(&mut self, name: &str) -> Result<Option<Array<f64, D>>> {
        match self.entry(name) {
            None => Ok(None),
            Some(_) => self.numbers(name).map(Some),
        }
    }

    fn has_length(&self, name: &str, found: usize, expected: usize) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        Err(InputError::Shape {
            path: self.path.clone(),
            name: name.to_owned(),
            found: format!("{found} rows"),
            expected: format!("{expected}, one per point"),
        })
    }

    /// All graphs whose edges are in the archive and fit the points.
    fn edges(&mut self, n: usize) -> Result<BTreeMap<String, Edges>> {
        let suffix = "_conn_indptr";
        let graphs: Vec<String> = self
            .names
            .iter()
            .map(|name| name.trim_end_matches(".npy"))
            .filter_map(|name| name.strip_prefix("g_")?.strip_suffix(suffix))
            .map(str::to_owned)
            .collect();
        let mut edges = BTreeMap::new();
        for graph in graphs {
            let indptr: Array1<f64> = self.numbers(&format!("g_{graph}{suffix}"))?;
            let indices: Array1<f64> = self.numbers(&format!("g_{graph}_conn_indices"))?;
            let fits = indptr.len() == n + 1 && indices.iter().all(|&i| i >= 0.0 && i < n as f64);
            if fits {
                let edge = Edges {
                    indptr: indptr.iter().map(|&i| i as usize).collect(),
                    indices: indices.iter().map(|&i| i as u32).collect(),
                };
                edges.insert(graph, edge);
            }
        }
        Ok(edges)
    }
}

/// Reads an archive in the layout of the reference sets.
pub(super) fn read(path: &Path, overrides: &Overrides) -> Result<Input> {
    let mut archive = Archive::open(path)?;
    let name = name_of(path, overrides);
    let described = Described::read(path, overrides)?;
    let points: Array<f64, Ix2> = archive.numbers("in_coords")?;
    let n = points.nrows();
    let odd = points.indexed_iter().find(|(_, value)| !value.is_finite());
    if let Some(((row, column), &value)) = odd {
        return Err(InputError::Coordinate {
            path: path.to_owned(),
            place: format!("row {row}, column {column} of `in_coords`"),
            value,
        });
    }
    let codes: Array<f64, Ix1> = archive.numbers("in_labels")?;
    archive.has_length("in_labels", codes.len(), n)?;
    let x = match archive.optional::<Ix2>("in_X")? {
        None => Array2::zeros((n, 0)),
        Some(x) => x,
    };
    archive.has_length("in_X", x.nrows(), n)?;
    let libraries = match archive.optional::<Ix1>("in_lib")? {
        None => None,
        Some(codes) => {
            archive.has_length("in_lib", codes.len(), n)?;
            Some(Categorical::from_labels(
                codes.iter().map(ToString::to_string),
            ))
        }
    };
    let locations = archive.optional::<Ix2>("ripley_F_reference_points")?;
    let edges = archive.edges(n)?;
    let parameters = parameters(&name, &described, overrides);
    let categories = overrides.categories.clone().or(described.categories);
    let features = overrides.features.clone().or(described.features);
    Ok(Input {
        features: names(features, "f", x.ncols()),
        labels: labels(path, &codes, categories)?,
        name,
        points,
        x,
        libraries,
        locations,
        edges,
        parameters,
    })
}

fn labels(
    path: &Path,
    codes: &Array1<f64>,
    categories: Option<Vec<String>>,
) -> Result<Categorical> {
    let most = codes.iter().fold(-1.0_f64, |most, &code| most.max(code));
    let categories = categories.unwrap_or_else(|| {
        // More categories than points are a mistake that is found below.
        let n = (most + 1.0).clamp(0.0, codes.len() as f64) as usize;
        (0..n).map(|code| code.to_string()).collect()
    });
    let k = categories.len();
    let mut whole = Vec::with_capacity(codes.len());
    for (row, &code) in codes.iter().enumerate() {
        // NaN and negative numbers stand for a missing label.
        whole.push(match code {
            code if code.is_nan() || code < 0.0 => -1,
            code if code < k as f64 => code as i32,
            code => {
                return Err(InputError::Code {
                    path: path.to_owned(),
                    row,
                    code: code as i64,
                    categories: k,
                });
            }
        });
    }
    Categorical::new(whole, categories.clone()).map_err(|_| {
        let twice = (1..k).find(|&i| categories[..i].contains(&categories[i]));
        InputError::Category {
            path: path.to_owned(),
            name: twice.map_or_else(String::new, |i| categories[i].clone()),
        }
    })
}
