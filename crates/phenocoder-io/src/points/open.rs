//! Points of a store.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Field;
use ndarray::Array2;
use serde_json::Value;

use super::write::PointsData;
use crate::columns::{Batches, ColumnFile, Files, Parts, Seals, Survey, as_f64};
use crate::node::Node;
use crate::path::child;
use crate::root::Root;
use crate::transform::{self, Transformation};
use crate::{Error, Result};

/// Points of a store: positions with attributes, such as the transcripts of a slide.
///
/// Opening reads the metadata of the element and the footer of its first file.
/// Columns are read when they are asked for, whole, by rows, or batch by batch for more than fits into memory.
///
/// Text is `utf8` and categories are `dictionary<int32, utf8>`, however a file stores them; categories of numbers or
/// truth values have these as values, those that occur, in their order.
/// Each file, and each row group of it, has its own list of categories: where all are the same, that is the list,
/// otherwise values are added in the order in which they are seen.
/// The field of a column with ordered categories has the metadata `anndata.ordered`.
/// A missing value is a null; NaN is a value.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, Float64Array, RecordBatch};
/// use phenocoder_io::{ContainerVersion, PointsData, PointsWriteOptions, Store};
///
/// let folder = tempfile::tempdir()?;
/// let mut store = Store::create(folder.path().join("tissue.zarr"), ContainerVersion::V02)?;
/// let columns = RecordBatch::try_from_iter([
///     ("x", Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef),
///     ("y", Arc::new(Float64Array::from(vec![3.0, 4.0])) as ArrayRef),
/// ])?;
/// store.write_points("transcripts", &PointsData::new(columns), &PointsWriteOptions::default())?;
///
/// let points = store.points("transcripts")?;
/// assert_eq!(points.n_rows()?, 2);
/// assert_eq!(points.column_names(), ["x", "y"]);
/// assert_eq!(points.coordinates()?[[1, 1]], 4.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "PointsModel")]
pub struct Points {
    name: String,
    axes: Vec<String>,
    feature_key: Option<String>,
    instance_key: Option<String>,
    transformations: Vec<Transformation>,
    parts: Arc<Parts>,
}

impl Points {
    pub(crate) fn open(root: &Arc<Root>, name: &str, node: &Node) -> Result<Self> {
        check_version(&node.key, node.attributes.get("spatialdata_attrs"))?;
        let parts = Parts::open(root, node, |seals| files(root, &node.key, seals))?;
        Self::with_parts(name, node, Arc::new(parts))
    }

    /// Opens what can be opened of the files.
    pub(crate) fn survey(root: &Arc<Root>, node: &Node) -> Result<Survey> {
        Parts::survey(root, node, |seals| files(root, &node.key, seals))
    }

    /// Reads the metadata of the element, the files of which are open.
    pub(crate) fn with_parts(name: &str, node: &Node, parts: Arc<Parts>) -> Result<Self> {
        let key = node.key.as_str();
        let attrs = node.attributes.get("spatialdata_attrs");
        check_version(key, attrs)?;
        let transformations =
            transform::parse_all(key, node.attributes.get("coordinateTransformations"))?;
        let axes = match node.attributes.get("axes") {
            Some(axes) => transform::spatial_axes(key, axes)?,
            None => ["x", "y", "z"]
                .into_iter()
                .filter(|axis| parts.fields().iter().any(|f| f.name() == axis))
                .map(str::to_owned)
                .collect(),
        };
        for axis in ["x", "y"]
            .into_iter()
            .chain(axes.iter().map(String::as_str))
        {
            let field = parts
                .fields()
                .iter()
                .find(|f| f.name() == axis)
                .ok_or_else(|| {
                    Error::missing(key, format!("the column `{axis}` of coordinates"))
                })?;
            if !field.data_type().is_numeric() {
                return Err(Error::DataType {
                    key: child(key, axis),
                    expected: "numbers as coordinates",
                    found: field.data_type().to_string(),
                });
            }
        }
        let text = |name: &str| {
            let value = attrs.and_then(|attrs| attrs.get(name))?;
            value.as_str().map(str::to_owned)
        };
        Ok(Self {
            name: name.to_owned(),
            axes,
            feature_key: text("feature_key"),
            instance_key: text("instance_key"),
            transformations,
            parts,
        })
    }

    pub(crate) fn parts(&self) -> &Arc<Parts> {
        &self.parts
    }

    /// The name of the element.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The columns that hold coordinates: `x, y` or `x, y, z`.
    #[must_use]
    pub fn axes(&self) -> &[String] {
        &self.axes
    }

    /// The column that tells what a point is, such as its gene, where the element names one.
    #[must_use]
    pub fn feature_key(&self) -> Option<&str> {
        self.feature_key.as_deref()
    }

    /// The column that tells the object that a point belongs to, where the element names one.
    #[must_use]
    pub fn instance_key(&self) -> Option<&str> {
        self.instance_key.as_deref()
    }

    /// The maps into coordinate systems.
    #[must_use]
    pub fn transformations(&self) -> &[Transformation] {
        &self.transformations
    }

    /// The columns and their types, without the index.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        self.parts.fields()
    }

    /// The names of the columns, without the index.
    #[must_use]
    pub fn column_names(&self) -> Vec<&str> {
        self.fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect()
    }

    /// The number of files.
    #[must_use]
    pub fn n_parts(&self) -> usize {
        self.parts.n_files()
    }

    /// The number of points; reads the footers of all files.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] when a file is damaged.
    pub fn n_rows(&self) -> Result<u64> {
        self.parts.n_rows()
    }

    /// Reads some columns.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a column that is not there, [`Error::TooLarge`] when the columns are larger than
    /// [`max_array_bytes`](crate::OpenOptions::max_array_bytes), [`Error::InvalidMetadata`] when a column has
    /// another type in another file, and errors of damaged files.
    pub fn read(&self, columns: &[&str]) -> Result<RecordBatch> {
        self.read_rows(columns, 0..self.n_rows()?)
    }

    /// Reads all columns, without the index.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_columns(&self) -> Result<RecordBatch> {
        self.read(&self.column_names())
    }

    /// Reads everything, as it can be written again.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_all(&self) -> Result<PointsData> {
        let mut data =
            PointsData::new(self.read_columns()?).with_index(self.index_name()?, self.index()?);
        data.feature_key = self.feature_key.clone();
        data.instance_key = self.instance_key.clone();
        data.transformations = self.transformations.clone();
        Ok(data)
    }

    /// Reads some columns of consecutive points; only row groups that hold some of them are read.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for rows that are not there, and as [`read`](Self::read).
    pub fn read_rows(&self, columns: &[&str], rows: Range<u64>) -> Result<RecordBatch> {
        self.parts.read_batch(self.parts.select(columns)?, rows)
    }

    /// Reads some columns batch by batch: at most 65,536 points at a time, in their order.
    ///
    /// Categories have the same codes in all batches; later ones may have more categories at the end.
    /// Those of numbers are all there from the first batch on, for which the column is read once more.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a column that is not there; what is damaged is an error of its batch, which is the last,
    /// and so are categories that together take more than `max_array_bytes` ([`Error::TooLarge`]).
    pub fn batches(&self, columns: &[&str]) -> Result<PointBatches> {
        let fields = self.parts.select(columns)?;
        Ok(PointBatches(self.parts.batches(fields)))
    }

    /// Reads the index, the names of the rows: numbers or text.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn index(&self) -> Result<ArrayRef> {
        self.parts.index(0..self.n_rows()?)
    }

    /// What the index is called, where it has a name.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] when the first file is damaged.
    pub fn index_name(&self) -> Result<Option<String>> {
        self.parts.index_name()
    }

    /// Reads the coordinates, in the element's own system; missing ones are NaN.
    ///
    /// # Shapes
    ///
    /// `[n, axes]`, in the order of [`axes`](Self::axes).
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn coordinates(&self) -> Result<Array2<f64>> {
        let axes: Vec<&str> = self.axes.iter().map(String::as_str).collect();
        let batch = self.read(&axes)?;
        let mut out = Array2::zeros((batch.num_rows(), axes.len()));
        for (at, column) in batch.columns().iter().enumerate() {
            let values = as_f64(self.parts.key(), column)?;
            out.column_mut(at)
                .iter_mut()
                .zip(values.iter())
                .for_each(|(to, from)| {
                    *to = from.unwrap_or(f64::NAN);
                });
        }
        Ok(out)
    }
}

/// Points batch by batch, from [`Points::batches`].
#[derive(Debug)]
pub struct PointBatches(Batches);

impl Iterator for PointBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

fn check_version(key: &str, attrs: Option<&Value>) -> Result<()> {
    match attrs.and_then(|attrs| attrs.get("version")) {
        None => Ok(()),
        Some(Value::String(version)) if matches!(version.as_str(), "0.1" | "0.2") => Ok(()),
        Some(other) => Err(Error::UnsupportedVersion {
            key: key.to_owned(),
            found: other.to_string(),
            supported: "points of version 0.1 and 0.2",
        }),
    }
}

/// The file, or the files in the folder, in natural order.
fn files(root: &Arc<Root>, key: &str, seals: &Seals) -> Result<Files> {
    let place = child(key, "points.parquet");
    if !root.lists() {
        return unlisted(root, key, &place, seals);
    }
    let missing = || Error::missing(&place, "a Parquet file or a folder of such");
    let entries = match root.entries(key) {
        // A bucket that may be read and not listed.
        Err(error) if error.is_refusal() => return unlisted(root, key, &place, seals),
        entries => entries?,
    };
    let entry = entries.into_iter().find(|e| e.name == "points.parquet");
    if !entry.ok_or_else(missing)?.is_folder {
        return Ok(vec![place].into());
    }
    let mut names: Vec<String> = root
        .entries(&place)?
        .into_iter()
        .filter(|e| !e.is_folder && !e.name.starts_with(['.', '_']) && e.name.contains(".par"))
        .map(|e| e.name)
        .collect();
    if names.is_empty() {
        return Err(missing());
    }
    names.sort_by(|a, b| natural(a, b));
    let keys: Vec<String> = names.iter().map(|name| child(&place, name)).collect();
    Ok(keys.into())
}

/// The files where nothing can be listed, as on a web server: those that the element tells, parts as Python names
/// them, or one file.
fn unlisted(root: &Arc<Root>, key: &str, place: &str, seals: &Seals) -> Result<Files> {
    /// The most parts that are asked for.
    const MOST: usize = 10_000;
    let mut files: Vec<String> = seals.paths().map(|path| child(key, path)).collect();
    files.sort_by(|a, b| natural(a, b));
    let mut opened = None;
    if let Some(first) = files.first() {
        // What cannot be read is told once more when it is read.
        let Ok(Some(found)) = root.probe(first) else {
            return Ok(files.into());
        };
        let Ok(file) = ColumnFile::read_footer(found, first, root.options.clone()) else {
            return Ok(files.into());
        };
        if file.is_told(seals.of(key, first)) {
            return Ok(Files {
                keys: files,
                first: Some(file),
            });
        }
        opened = Some(file);
    }
    // Another program has written the files anew.
    files.clear();
    // Some servers have a page for every address.
    let is_parquet = |file: &str| -> Result<bool> {
        if opened.as_ref().is_some_and(|open| open.key() == file) {
            return Ok(true);
        }
        match root.probe(file)? {
            Some(found) if found.size >= 12 => Ok(found.read(0, 4)? == b"PAR1"),
            _ => Ok(false),
        }
    };
    loop {
        if files.len() == MOST {
            let (found, limit) = (MOST as u64 + 1, MOST as u64);
            return Err(Error::too_large(place, "a number of parts", found, limit));
        }
        let file = child(place, &format!("part.{}.parquet", files.len()));
        if !is_parquet(&file)? {
            break;
        }
        files.push(file);
    }
    if files.is_empty() {
        if !is_parquet(place)? {
            return Err(Error::missing(place, "a Parquet file or parts of such"));
        }
        files.push(place.to_owned());
    }
    let first = opened.filter(|open| files.first().is_some_and(|first| first == open.key()));
    Ok(Files { keys: files, first })
}

/// Compares names with numbers in them: `part.9` comes before `part.10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    loop {
        let (number_a, tail_a) = leading_number(rest_a);
        let (number_b, tail_b) = leading_number(rest_b);
        if !number_a.is_empty() && !number_b.is_empty() {
            let (n, m) = (
                number_a.trim_start_matches('0'),
                number_b.trim_start_matches('0'),
            );
            match n.len().cmp(&m.len()).then_with(|| n.cmp(m)) {
                Ordering::Equal => (rest_a, rest_b) = (tail_a, tail_b),
                other => return other,
            }
            continue;
        }
        let (mut chars_a, mut chars_b) = (rest_a.chars(), rest_b.chars());
        match (chars_a.next(), chars_b.next()) {
            (Some(c), Some(d)) if c == d => (rest_a, rest_b) = (chars_a.as_str(), chars_b.as_str()),
            // Names that differ in zeros only.
            (None, None) => return a.cmp(b),
            (c, d) => return c.cmp(&d),
        }
    }
}

fn leading_number(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_sorted_by_their_numbers() {
        let mut names = [
            "part.10.parquet",
            "part.9.parquet",
            "part.0.parquet",
            "b",
            "part.010.parquet",
        ];
        names.sort_by(|a, b| natural(a, b));
        let expected = [
            "b",
            "part.0.parquet",
            "part.9.parquet",
            "part.010.parquet",
            "part.10.parquet",
        ];
        assert_eq!(names, expected);
    }
}
