//! Finds and reads the reference data of the tests.
//!
//! The large data lies in `shared/data` beside the clone (or where `PHENOCODER_TEST_DATA` points) and may be absent;
//! tests then say that they skipped.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use ndarray::{Array, ArrayD, Dimension, IxDyn};
use ndarray_npy::{NpzReader, ReadNpyExt, ReadableElement};

/// A file or folder of the reference data, or `None` (said on standard error) when it is not there.
#[must_use]
pub fn find(relative: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PHENOCODER_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(relative);
    if path.exists() {
        return Some(path);
    }
    skipped(&format!("the reference data `{relative}` is not here"));
    None
}

/// A variable of the environment that tells where something is that a test needs, or `None` (said on standard error) when
/// it is not set.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    if value.is_none() {
        skipped(&format!("`{name}` is not set"));
    }
    value
}

/// Says that a test was skipped, also where the output of tests that pass is not shown.
fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Nobody is there to be told.
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Reads an `.npy` file.
///
/// # Panics
///
/// When the file is missing or holds something else.
#[must_use]
pub fn read_npy<T: ReadableElement, D: Dimension>(path: &Path) -> Array<T, D> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Array::<T, D>::read_npy(Cursor::new(bytes))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// An `.npz` archive held in memory.
#[derive(Debug)]
pub struct Npz {
    bytes: Vec<u8>,
    path: PathBuf,
}

impl Npz {
    /// Reads the archive.
    ///
    /// # Panics
    ///
    /// When the file cannot be read.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self {
            bytes,
            path: path.to_owned(),
        }
    }

    fn reader(&self) -> NpzReader<Cursor<&[u8]>> {
        NpzReader::new(Cursor::new(self.bytes.as_slice()))
            .unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    /// The names of the arrays, without `.npy`.
    ///
    /// # Panics
    ///
    /// When the archive is broken.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = self
            .reader()
            .names()
            .unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        names
            .into_iter()
            .map(|n| n.trim_end_matches(".npy").to_owned())
            .collect()
    }

    /// The array of this name.
    ///
    /// # Panics
    ///
    /// When there is none or it has another type.
    #[must_use]
    pub fn array<T: ReadableElement, D: Dimension>(&self, name: &str) -> Array<T, D> {
        let mut reader = self.reader();
        reader
            .by_name(&format!("{name}.npy"))
            .or_else(|_| reader.by_name(name))
            .unwrap_or_else(|e| panic!("{}: {name}: {e}", self.path.display()))
    }

    /// The array of this name with any number of axes.
    ///
    /// # Panics
    ///
    /// When there is none or it has another type.
    #[must_use]
    pub fn dynamic<T: ReadableElement>(&self, name: &str) -> ArrayD<T> {
        self.array::<T, IxDyn>(name)
    }
}

/// A small CSV file: a header and rows of text, with quoted fields understood.
#[derive(Debug)]
pub struct Csv {
    /// The names of the columns.
    pub header: Vec<String>,
    /// The fields of each row.
    pub rows: Vec<Vec<String>>,
}

impl Csv {
    /// Reads the file.
    ///
    /// # Panics
    ///
    /// When it is missing, empty, or a row is longer or shorter than the header.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut lines = text.lines().map(split_fields);
        let header = lines
            .next()
            .unwrap_or_else(|| panic!("{}: no header", path.display()));
        let rows: Vec<Vec<String>> = lines.collect();
        for row in &rows {
            assert_eq!(row.len(), header.len(), "{}: {row:?}", path.display());
        }
        Self { header, rows }
    }

    /// The position of a column.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    #[must_use]
    pub fn position(&self, name: &str) -> usize {
        let found = self.header.iter().position(|h| h == name);
        found.unwrap_or_else(|| panic!("no column `{name}` in {:?}", self.header))
    }

    /// The text of a column.
    ///
    /// # Panics
    ///
    /// When there is none of this name.
    #[must_use]
    pub fn text(&self, name: &str) -> Vec<&str> {
        let i = self.position(name);
        self.rows.iter().map(|row| row[i].as_str()).collect()
    }

    /// The numbers of a column; an empty field is NaN.
    ///
    /// # Panics
    ///
    /// When there is none of this name or a field is no number.
    #[must_use]
    pub fn floats(&self, name: &str) -> Vec<f64> {
        let parse = |s: &str| match s {
            "" => f64::NAN,
            s => s
                .parse()
                .unwrap_or_else(|_| panic!("column `{name}`: `{s}` is no number")),
        };
        self.text(name).into_iter().map(parse).collect()
    }
}

fn split_fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    fields
}

/// The largest `|a − b| / max(|a|, |b|, floor)` over all pairs; two NaN are equal, one is infinitely far.
///
/// # Panics
///
/// When the two differ in length.
#[must_use]
pub fn max_relative_error(a: &[f64], b: &[f64], floor: f64) -> f64 {
    assert_eq!(a.len(), b.len(), "lengths differ");
    let error = |(&a, &b): (&f64, &f64)| match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) if a == b => 0.0,
        (false, false) => (a - b).abs() / a.abs().max(b.abs()).max(floor),
        _ => f64::INFINITY,
    };
    a.iter().zip(b).map(error).fold(0.0, f64::max)
}
