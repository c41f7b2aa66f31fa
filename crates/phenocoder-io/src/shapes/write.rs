//! New shapes.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Int64Array};
use arrow::datatypes::{DataType, Field};
use serde_json::{Map, Value, json};

use super::data::ShapesData;
use super::geometry::{Geometries, GeometryKind};
use super::open::{RADIUS, check_radii};
use super::wkb;
use crate::columns::{MOST_GROUP_ROWS, NewIndex, NewTable, ParquetCompression, Seals, as_f64};
use crate::disk::Place;
use crate::node::{ZarrFormat, write_group};
use crate::points::index_values;
use crate::store::WriteMode;
use crate::table::downcast;
use crate::transform;
use crate::{Error, Result};

/// How shapes are written.
///
/// # Examples
///
/// ```
/// use phenocoder_io::{ShapesWriteOptions, WriteMode};
///
/// let options = ShapesWriteOptions::default().with_mode(WriteMode::Replace);
/// assert_eq!(options.mode, WriteMode::Replace);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShapesWriteOptions {
    /// How pages are compressed, Snappy by default.
    pub compression: ParquetCompression,
    /// Whether an element of this name may be there already; by default it must not.
    pub mode: WriteMode,
}

impl Default for ShapesWriteOptions {
    fn default() -> Self {
        Self {
            compression: ParquetCompression::default(),
            mode: WriteMode::Create,
        }
    }
}

impl ShapesWriteOptions {
    /// Sets [`compression`](Self::compression).
    #[must_use]
    pub fn with_compression(mut self, compression: ParquetCompression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets [`mode`](Self::mode).
    #[must_use]
    pub fn with_mode(mut self, mode: WriteMode) -> Self {
        self.mode = mode;
        self
    }
}

/// Checks shapes and prepares the table that is written.
pub(crate) fn check(name: &str, shapes: &ShapesData) -> Result<(Map<String, Value>, NewTable)> {
    let key = format!("shapes/{name}");
    let n = shapes.geometries.len();
    let invalid = |problem: &str| Error::InvalidGeometry {
        key: key.clone(),
        problem: problem.to_owned(),
    };
    if shapes.index.len() != n {
        return Err(Error::LengthMismatch {
            key: format!("{key}/index"),
            expected: n as u64,
            found: shapes.index.len() as u64,
        });
    }
    let schema = shapes.columns.schema_ref();
    let mut fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    let mut columns = shapes.columns.columns().to_vec();
    let kinds = shapes.geometries.kinds();
    let points = kinds
        .iter()
        .filter(|kind| **kind == GeometryKind::Point)
        .count();
    if points > 0 {
        if points < n {
            return Err(invalid("points and polygons are mixed"));
        }
        let radius = shapes.columns.column_by_name(RADIUS);
        let radius = radius.ok_or_else(|| invalid("points need a column `radius`"))?;
        if !radius.data_type().is_numeric() {
            return Err(invalid("the column `radius` does not hold numbers"));
        }
        check_radii(&key, &as_f64(&key, radius)?)?;
    }
    if let Some(row) = shapes
        .geometries
        .iter()
        .position(|g| g.coordinates().is_empty())
    {
        return Err(Error::geometry(&key, row as u64, "it has no vertices"));
    }
    let name = &shapes.geometry_column;
    let place = shapes.geometry_place.min(fields.len());
    fields.insert(place, Field::new(name, DataType::Binary, true));
    columns.insert(place, encode(&key, &shapes.geometries)?);
    let index = new_index(
        shapes.index_name.clone(),
        index_values(&key, &shapes.index)?,
    );
    let axes: &[&str] = match shapes.geometries.dimensions() {
        3 => &["x", "y", "z"],
        _ => &["x", "y"],
    };
    let mut attrs = Map::new();
    attrs.insert("encoding-type".to_owned(), json!("ngff:shapes"));
    attrs.insert("axes".to_owned(), json!(axes));
    let transformations = transform::write_all(&key, &shapes.transformations, axes)?;
    attrs.insert("coordinateTransformations".to_owned(), transformations);
    let table = NewTable::new(&key, &fields, &columns, index, n)?
        .with_note("geo", geo(name, &shapes.geometries).to_string());
    Ok((attrs, table))
}

/// An index of numbers in equal steps is noted, any other stored.
fn new_index(name: Option<String>, values: ArrayRef) -> NewIndex {
    if let Some(range) = downcast::<Int64Array>(values.as_ref()) {
        let values = range.values();
        let start = values.first().copied().unwrap_or(0);
        let step = match values.get(1) {
            Some(second) => second.checked_sub(start).filter(|&step| step != 0),
            None => Some(1),
        };
        let is_range = |step: i64| {
            values
                .windows(2)
                .all(|pair| pair[0].checked_add(step) == Some(pair[1]))
        };
        let after = |step: i64| {
            values
                .last()
                .map_or(Some(start), |last| last.checked_add(step))
        };
        if let Some(step) = step.filter(|&step| is_range(step))
            && let Some(stop) = after(step)
        {
            return NewIndex::Range {
                name,
                start,
                stop,
                step,
            };
        }
    }
    NewIndex::Column {
        field: name
            .clone()
            .unwrap_or_else(|| "__index_level_0__".to_owned()),
        name,
        values,
    }
}

fn encode(key: &str, geometries: &Geometries) -> Result<ArrayRef> {
    let mut builder =
        BinaryBuilder::with_capacity(geometries.len(), geometries.coordinates().len() * 9);
    let mut bytes = Vec::new();
    let mut total = 0_u64;
    for geometry in geometries.iter() {
        bytes.clear();
        wkb::write(&geometry, &mut bytes);
        total += bytes.len() as u64;
        Error::check_size(key, "well-known binary with bytes", total, i32::MAX as u64)?;
        builder.append_value(&bytes);
    }
    Ok(Arc::new(builder.finish()))
}

/// The metadata of `GeoParquet` 1.1.0.
fn geo(name: &str, geometries: &Geometries) -> Value {
    let mut types: Vec<String> = geometries
        .kinds()
        .iter()
        .map(|kind| match geometries.dimensions() {
            3 => format!("{} Z", kind.as_str()),
            _ => kind.as_str().to_owned(),
        })
        .collect();
    types.sort_unstable();
    types.dedup();
    let mut column = json!({"encoding": "WKB", "crs": null, "geometry_types": types});
    if let (Some(bounds), Some(column)) = (geometries.bounds(), column.as_object_mut())
        && bounds.iter().all(|v| v.is_finite())
    {
        column.insert("bbox".to_owned(), json!(bounds));
    }
    json!({
        "primary_column": name,
        "columns": {name: column},
        "version": "1.1.0",
        "creator": {"library": "phenocoder-io", "version": env!("CARGO_PKG_VERSION")},
    })
}

/// Writes the element into a folder.
pub(crate) fn write(
    place: &Place,
    format: ZarrFormat,
    mut attrs: Map<String, Value>,
    table: &NewTable,
    options: &ShapesWriteOptions,
) -> Result<()> {
    let version = match format {
        ZarrFormat::V2 => "0.2",
        ZarrFormat::V3 => "0.3",
    };
    attrs.insert("spatialdata_attrs".to_owned(), json!({"version": version}));
    let file = place.join("shapes.parquet");
    let seal = table.write(&file, 0..table.rows(), MOST_GROUP_ROWS, options.compression)?;
    let mut seals = Seals::default();
    seals.add("shapes.parquet", seal);
    seals.note(&mut attrs);
    write_group(place, format, attrs)
}
