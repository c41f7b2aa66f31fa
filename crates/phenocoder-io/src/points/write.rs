//! New points.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use serde_json::{Map, Value, json};

use crate::columns::{MOST_GROUP_ROWS, NewIndex, NewTable, ParquetCompression, Seals};
use crate::disk::Place;
use crate::node::{ZarrFormat, write_group};
use crate::store::WriteMode;
use crate::transform::{self, Transformation};
use crate::{Error, Result};

/// Points in memory, to be written.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use phenocoder_io::PointsData;
///
/// let x = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
/// let columns = RecordBatch::try_from_iter([("x", x.clone()), ("y", x)])?;
/// let points = PointsData::new(columns).with_feature_key("gene");
/// assert_eq!(points.feature_key.as_deref(), Some("gene"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PointsData {
    /// The columns; `x` and `y`, and `z` where there is one, hold the coordinates.
    pub columns: RecordBatch,
    /// The names of the rows: whole numbers or text.
    pub index: ArrayRef,
    /// What the index is called, where it has a name.
    pub index_name: Option<String>,
    /// The column that tells what a point is, such as its gene.
    pub feature_key: Option<String>,
    /// The column that tells the object that a point belongs to.
    pub instance_key: Option<String>,
    /// The maps into coordinate systems; none is the identity into `global`. One that was read is written as it was, even
    /// if [`Transformation::to_affine`] refuses it.
    pub transformations: Vec<Transformation>,
}

impl PointsData {
    /// Points with these columns, numbered from 0.
    #[must_use]
    pub fn new(columns: RecordBatch) -> Self {
        let n = columns.num_rows();
        Self {
            columns,
            index: Arc::new(Int64Array::from_iter_values((0_i64..).take(n))),
            index_name: None,
            feature_key: None,
            instance_key: None,
            transformations: Vec::new(),
        }
    }

    /// Sets [`index`](Self::index) and [`index_name`](Self::index_name).
    #[must_use]
    pub fn with_index(mut self, name: Option<String>, index: ArrayRef) -> Self {
        self.index_name = name;
        self.index = index;
        self
    }

    /// Sets [`feature_key`](Self::feature_key).
    #[must_use]
    pub fn with_feature_key(mut self, column: impl Into<String>) -> Self {
        self.feature_key = Some(column.into());
        self
    }

    /// Sets [`instance_key`](Self::instance_key).
    #[must_use]
    pub fn with_instance_key(mut self, column: impl Into<String>) -> Self {
        self.instance_key = Some(column.into());
        self
    }

    /// Sets [`transformations`](Self::transformations).
    #[must_use]
    pub fn with_transformations(mut self, transformations: Vec<Transformation>) -> Self {
        self.transformations = transformations;
        self
    }
}

/// How points are written.
///
/// # Examples
///
/// ```
/// use phenocoder_io::{ParquetCompression, PointsWriteOptions};
///
/// let options = PointsWriteOptions::default();
/// assert_eq!(options.compression, ParquetCompression::Snappy);
/// assert_eq!(options.with_rows_per_part(1000).rows_per_part, 1000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PointsWriteOptions {
    /// How pages are compressed, Snappy by default.
    pub compression: ParquetCompression,
    /// The most rows of a row group, 1,000,000 by default, which is also the most that is possible.
    ///
    /// Readers of a region skip row groups that lie elsewhere, where points are sorted by position.
    pub rows_per_group: usize,
    /// The most rows of a file, 10,000,000 by default; Python reads files in parallel.
    pub rows_per_part: usize,
    /// Whether an element of this name may be there already; by default it must not.
    pub mode: WriteMode,
}

impl Default for PointsWriteOptions {
    fn default() -> Self {
        Self {
            compression: ParquetCompression::default(),
            rows_per_group: MOST_GROUP_ROWS,
            rows_per_part: 10 * MOST_GROUP_ROWS,
            mode: WriteMode::Create,
        }
    }
}

impl PointsWriteOptions {
    /// Sets [`compression`](Self::compression).
    #[must_use]
    pub fn with_compression(mut self, compression: ParquetCompression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets [`rows_per_group`](Self::rows_per_group).
    #[must_use]
    pub fn with_rows_per_group(mut self, rows: usize) -> Self {
        self.rows_per_group = rows;
        self
    }

    /// Sets [`rows_per_part`](Self::rows_per_part).
    #[must_use]
    pub fn with_rows_per_part(mut self, rows: usize) -> Self {
        self.rows_per_part = rows;
        self
    }

    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn with_mode(mut self, mode: WriteMode) -> Self {
        self.mode = mode;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when a number of rows is 0 or more than are possible.
    pub fn validate(&self) -> Result<()> {
        let problem = |name, problem: &str| {
            Err(Error::Config {
                name,
                problem: problem.to_owned(),
            })
        };
        if !(1..=MOST_GROUP_ROWS).contains(&self.rows_per_group) {
            return problem("rows_per_group", "it must be between 1 and 1,000,000");
        }
        if self.rows_per_part == 0 {
            return problem("rows_per_part", "it must be at least 1");
        }
        Ok(())
    }
}

/// Checks points and prepares the table that is written.
pub(crate) fn check(name: &str, points: &PointsData) -> Result<(Map<String, Value>, NewTable)> {
    let key = format!("points/{name}");
    let schema = points.columns.schema_ref();
    let fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    for axis in ["x", "y", "z"] {
        match fields.iter().find(|field| field.name() == axis) {
            Some(field) if field.data_type().is_numeric() => {}
            None if axis == "z" => {}
            None => {
                return Err(Error::missing(
                    &key,
                    format!("the column `{axis}` of coordinates"),
                ));
            }
            Some(field) => {
                return Err(Error::DataType {
                    key: format!("{key}/{axis}"),
                    expected: "numbers as coordinates",
                    found: field.data_type().to_string(),
                });
            }
        }
    }
    let axes: Vec<&str> = ["x", "y", "z"]
        .into_iter()
        .filter(|axis| fields.iter().any(|field| field.name() == axis))
        .collect();
    for (what, column) in [
        ("feature_key", &points.feature_key),
        ("instance_key", &points.instance_key),
    ] {
        if let Some(column) = column
            .as_ref()
            .filter(|c| !fields.iter().any(|f| f.name() == *c))
        {
            return Err(Error::missing(
                &key,
                format!("the column `{column}` of the {what}"),
            ));
        }
    }
    let transformations = transform::write_all(&key, &points.transformations, &axes)?;
    let mut attrs = Map::new();
    attrs.insert("encoding-type".to_owned(), json!("ngff:points"));
    attrs.insert("axes".to_owned(), json!(axes));
    attrs.insert("coordinateTransformations".to_owned(), transformations);
    let mut about = Map::new();
    for (what, column) in [
        ("feature_key", &points.feature_key),
        ("instance_key", &points.instance_key),
    ] {
        if let Some(column) = column {
            about.insert(what.to_owned(), json!(column));
        }
    }
    attrs.insert("spatialdata_attrs".to_owned(), Value::Object(about));
    let index = NewIndex::Column {
        field: points
            .index_name
            .clone()
            .unwrap_or_else(|| "__null_dask_index__".to_owned()),
        name: Some(
            points
                .index_name
                .clone()
                .unwrap_or_else(|| "__null_dask_index__".to_owned()),
        ),
        values: index_values(&key, &points.index)?,
    };
    let table = NewTable::new(
        &key,
        &fields,
        points.columns.columns(),
        index,
        points.columns.num_rows(),
    )?;
    Ok((attrs, table))
}

/// An index in the types that Python has: whole numbers of 64 bits, or text.
pub(crate) fn index_values(key: &str, index: &ArrayRef) -> Result<ArrayRef> {
    let unfit = |found: String| Error::DataType {
        key: format!("{key}/index"),
        expected: "whole numbers of 64 bits or text, none missing",
        found,
    };
    let to = match index.data_type() {
        t if t.is_integer() => DataType::Int64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, values) if **values == DataType::Utf8 => DataType::Utf8,
        other => return Err(unfit(other.to_string())),
    };
    let values = cast(index, &to).map_err(Error::arrow(key))?;
    if values.null_count() > 0 {
        return Err(unfit("a missing one".to_owned()));
    }
    Ok(values)
}

/// Writes the element into a folder.
pub(crate) fn write(
    place: &Place,
    format: ZarrFormat,
    mut attrs: Map<String, Value>,
    table: &NewTable,
    options: &PointsWriteOptions,
) -> Result<()> {
    let version = match format {
        ZarrFormat::V2 => "0.1",
        ZarrFormat::V3 => "0.2",
    };
    if let Some(Value::Object(about)) = attrs.get_mut("spatialdata_attrs") {
        about.insert("version".to_owned(), json!(version));
    }
    let mut seals = Seals::default();
    let folder = place.join("points.parquet");
    folder.create_folder()?;
    let n = table.rows();
    let mut start = 0;
    let mut part = 0;
    while start < n || part == 0 {
        let end = n.min(start.saturating_add(options.rows_per_part));
        let name = format!("part.{part}.parquet");
        let seal = table.write(
            &folder.join(&name),
            start..end,
            options.rows_per_group,
            options.compression,
        )?;
        seals.add(&format!("points.parquet/{name}"), seal);
        (start, part) = (end, part + 1);
    }
    seals.note(&mut attrs);
    write_group(place, format, attrs)
}
