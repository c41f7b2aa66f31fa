//! Shapes of a store.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::Field;
use rayon::prelude::*;
use serde_json::Value;

use super::data::ShapesData;
use super::geometry::{Geometries, GeometryKind};
use super::native::{self, Encoding};
use super::ragged::Ragged;
use crate::columns::{Batches, Files, Parts, Survey, as_f64};
use crate::node::Node;
use crate::path::child;
use crate::root::Root;
use crate::table::downcast;
use crate::transform::{self, Transformation};
use crate::{Error, Result};

/// The file of an element.
const FILE: &str = "shapes.parquet";
/// The column of circles' radii.
pub(super) const RADIUS: &str = "radius";

/// Shapes of a store: circles, polygons, or objects of several polygons, with columns.
///
/// Opening reads the metadata of the element and the footer of its file.
/// Geometries and columns are read when they are asked for, whole or batch by batch.
/// Columns are as those of [`Points`](crate::Points); the index holds the names of the objects, which tables refer to.
///
/// Read are `GeoParquet` with well-known binary or native (`GeoArrow`) geometries, and the ragged arrays of
/// SpatialData before 0.2.2.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, Float64Array, RecordBatch};
/// use phenocoder_io::{ContainerVersion, Geometries, ShapesData, ShapesWriteOptions, Store};
///
/// let folder = tempfile::tempdir()?;
/// let mut store = Store::create(folder.path().join("tissue.zarr"), ContainerVersion::V02)?;
/// let radius = Arc::new(Float64Array::from(vec![5.0, 6.0])) as ArrayRef;
/// let circles = ShapesData::new(Geometries::from_points(2, &[1.0, 2.0, 30.0, 40.0])?)
///     .with_columns(RecordBatch::try_from_iter([("radius", radius)])?);
/// store.write_shapes("cells", &circles, &ShapesWriteOptions::default())?;
///
/// let shapes = store.shapes("cells")?;
/// assert_eq!(shapes.n_rows(), 2);
/// assert_eq!(shapes.radii()?, Some(vec![5.0, 6.0]));
/// assert_eq!(shapes.geometries()?.bounds(), Some([1.0, 2.0, 30.0, 40.0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "ShapesModel")]
#[doc(alias = "GeoDataFrame")]
pub struct Shapes {
    name: String,
    key: String,
    axes: Vec<String>,
    transformations: Vec<Transformation>,
    stored: Stored,
}

#[derive(Debug, Clone)]
enum Stored {
    Parquet(Arc<Table>),
    Ragged(Arc<Ragged>),
}

/// A `GeoParquet` file.
#[derive(Debug)]
struct Table {
    parts: Arc<Parts>,
    geometry: Field,
    encoding: Encoding,
    /// The columns without the geometry.
    fields: Vec<Field>,
    /// How many of them stand before the geometry.
    before: usize,
    n_rows: u64,
}

impl Shapes {
    pub(crate) fn open(root: &Arc<Root>, name: &str, node: &Node) -> Result<Self> {
        let parts = match is_ragged(root, node)? {
            true => None,
            false => Some(Parts::open(root, node, |_| Ok(files(node)))?),
        };
        Self::with_parts(root, name, node, parts)
    }

    /// Opens what can be opened of the file; `None` for ragged arrays.
    pub(crate) fn survey(root: &Arc<Root>, node: &Node) -> Result<Option<Survey>> {
        if is_ragged(root, node)? {
            return Ok(None);
        }
        Parts::survey(root, node, |_| Ok(files(node))).map(Some)
    }

    /// Reads the metadata of the element, the file of which is open; without one it is of ragged arrays.
    pub(crate) fn with_parts(
        root: &Arc<Root>,
        name: &str,
        node: &Node,
        parts: Option<Parts>,
    ) -> Result<Self> {
        let key = node.key.as_str();
        let transformations =
            transform::parse_all(key, node.attributes.get("coordinateTransformations"))?;
        let axes = match node.attributes.get("axes") {
            Some(axes) => transform::spatial_axes(key, axes)?,
            None => vec!["x".to_owned(), "y".to_owned()],
        };
        let attrs = node.attributes.get("spatialdata_attrs");
        let stored = match parts {
            None => Stored::Ragged(Arc::new(Ragged::open(root, node, attrs, axes.len())?)),
            Some(parts) => Stored::Parquet(Arc::new(Table::new(key, parts)?)),
        };
        Ok(Self {
            name: name.to_owned(),
            key: key.to_owned(),
            axes,
            transformations,
            stored,
        })
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The name of the element.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The axes of the geometries: `x, y` or `x, y, z`.
    #[must_use]
    pub fn axes(&self) -> &[String] {
        &self.axes
    }

    /// The maps into coordinate systems.
    #[must_use]
    pub fn transformations(&self) -> &[Transformation] {
        &self.transformations
    }

    /// The columns and their types, without index and geometry.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match &self.stored {
            Stored::Parquet(table) => &table.fields,
            Stored::Ragged(ragged) => ragged.fields(),
        }
    }

    /// The names of all columns in their order, with that of the geometry, without the index.
    #[must_use]
    pub fn column_order(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.fields().iter().map(|f| f.name().as_str()).collect();
        names.insert(
            self.geometry_place().min(names.len()),
            self.geometry_column(),
        );
        names
    }

    /// The name of the column with the geometries, `geometry` as a rule.
    #[must_use]
    pub fn geometry_column(&self) -> &str {
        match &self.stored {
            Stored::Parquet(table) => table.geometry.name(),
            Stored::Ragged(_) => "geometry",
        }
    }

    pub(super) fn geometry_place(&self) -> usize {
        match &self.stored {
            Stored::Parquet(table) => table.before,
            Stored::Ragged(_) => 0,
        }
    }

    /// The number of objects.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        match &self.stored {
            Stored::Parquet(table) => table.n_rows,
            Stored::Ragged(ragged) => ragged.n_rows(),
        }
    }

    /// Whether there is a column `radius`, as circles have it.
    #[must_use]
    pub fn has_radius(&self) -> bool {
        self.fields().iter().any(|field| field.name() == RADIUS)
    }

    /// Reads some columns.
    ///
    /// # Errors
    ///
    /// As [`Points::read`](crate::Points::read).
    pub fn read(&self, columns: &[&str]) -> Result<RecordBatch> {
        self.read_rows(columns, 0..self.n_rows())
    }

    /// Reads some columns of consecutive objects.
    ///
    /// # Errors
    ///
    /// As [`Points::read_rows`](crate::Points::read_rows).
    pub fn read_rows(&self, columns: &[&str], rows: Range<u64>) -> Result<RecordBatch> {
        match &self.stored {
            Stored::Parquet(table) => {
                let fields = table.parts.select(columns)?;
                table.parts.read_batch(fields, rows)
            }
            Stored::Ragged(ragged) => ragged.read(columns, rows),
        }
    }

    /// Reads the index, the names of the objects: numbers or text.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn index(&self) -> Result<ArrayRef> {
        match &self.stored {
            Stored::Parquet(table) => table.parts.index(0..self.n_rows()),
            Stored::Ragged(ragged) => ragged.index(),
        }
    }

    /// What the index is called, where it has a name.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] when the file is damaged.
    pub fn index_name(&self) -> Result<Option<String>> {
        match &self.stored {
            Stored::Parquet(table) => table.parts.index_name(),
            Stored::Ragged(_) => Ok(None),
        }
    }

    /// Reads the geometries, in the element's own system.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGeometry`] when one is missing, damaged or neither point nor polygon, or when points have no
    /// radius; and as [`read`](Self::read).
    pub fn geometries(&self) -> Result<Geometries> {
        self.geometries_of(0..self.n_rows())
    }

    /// Reads the geometries of consecutive objects; only row groups that hold some of them are read.
    ///
    /// # Errors
    ///
    /// As [`geometries`](Self::geometries), and [`Error::NoEntry`] for rows that are not there.
    pub fn geometries_of(&self, rows: Range<u64>) -> Result<Geometries> {
        match &self.stored {
            Stored::Parquet(table) => {
                let pieces = table
                    .parts
                    .pieces(std::slice::from_ref(&table.geometry), rows.clone())?;
                let pieces: Vec<ArrayRef> = pieces.into_iter().flatten().collect();
                let mut starts = Vec::with_capacity(pieces.len());
                let mut start = rows.start;
                for piece in &pieces {
                    starts.push(start);
                    start += piece.len() as u64;
                }
                let read: Vec<Result<Geometries>> = pieces
                    .par_iter()
                    .zip(starts)
                    .map(|(piece, start)| self.decode(table, piece, start))
                    .collect();
                let mut all = Geometries::new(self.axes.len())?;
                for geometries in read {
                    all.append(&self.key, &geometries?)?;
                }
                self.check_kinds(&all)?;
                Ok(all)
            }
            Stored::Ragged(ragged) => ragged.geometries(rows),
        }
    }

    fn decode(&self, table: &Table, array: &ArrayRef, start: u64) -> Result<Geometries> {
        native::decode(&self.key, table.encoding, array, self.axes.len(), start)
    }

    fn check_kinds(&self, geometries: &Geometries) -> Result<()> {
        let kinds = geometries.kinds();
        let points = kinds
            .iter()
            .filter(|kind| **kind == GeometryKind::Point)
            .count();
        let problem = if points > 0 && points < kinds.len() {
            "points and polygons are mixed"
        } else if points > 0 && !self.has_radius() {
            "points need a column `radius`"
        } else {
            return Ok(());
        };
        Err(Error::InvalidGeometry {
            key: self.key.clone(),
            problem: problem.to_owned(),
        })
    }

    /// Reads the radii of circles; `None` for polygons, also where they have a column `radius`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGeometry`] when one is missing or not greater than 0, or the first geometry is damaged, and as
    /// [`read`](Self::read).
    pub fn radii(&self) -> Result<Option<Vec<f64>>> {
        if !self.has_radius() {
            return Ok(None);
        }
        // All are points, or none is.
        let first = self.geometries_of(0..self.n_rows().min(1))?;
        if first
            .kinds()
            .first()
            .is_some_and(|&kind| kind != GeometryKind::Point)
        {
            return Ok(None);
        }
        let batch = self.read(&[RADIUS])?;
        let radii = as_f64(&self.key, batch.column(0))?;
        check_radii(&self.key, &radii)?;
        Ok(Some(radii.values().to_vec()))
    }

    /// Reads all columns, without index and geometry.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_columns(&self) -> Result<RecordBatch> {
        let names: Vec<&str> = self.fields().iter().map(|f| f.name().as_str()).collect();
        self.read(&names)
    }

    /// Reads everything, as it can be written again.
    ///
    /// # Errors
    ///
    /// As [`geometries`](Self::geometries) and [`radii`](Self::radii).
    pub fn read_all(&self) -> Result<ShapesData> {
        let geometries = self.geometries()?;
        if geometries.kinds().first() == Some(&GeometryKind::Point) {
            self.radii()?;
        }
        let mut data = ShapesData::new(geometries)
            .with_columns(self.read_columns()?)
            .with_index(self.index_name()?, self.index()?);
        data.geometry_column = self.geometry_column().to_owned();
        data.geometry_place = self.geometry_place();
        data.transformations = self.transformations.clone();
        Ok(data)
    }

    /// Reads geometries and some columns batch by batch: at most 65,536 objects at a time, in their order.
    /// Shapes of the ragged layout of version 0.1 come as one batch.
    /// For categories see [`Points::batches`](crate::Points::batches).
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a column that is not there; what is damaged is an error of its batch, which is the last,
    /// and in the ragged layout one of this function.
    pub fn batches(&self, columns: &[&str]) -> Result<ShapeBatches> {
        let source = match &self.stored {
            Stored::Parquet(table) => {
                let mut fields = table.parts.select(columns)?;
                fields.push(table.geometry.clone());
                BatchSource::Parquet(Arc::clone(table), table.parts.batches(fields))
            }
            Stored::Ragged(ragged) => {
                let rows = 0..self.n_rows();
                let columns = ragged.read(columns, rows.clone())?;
                BatchSource::Ragged(Some((ragged.geometries(rows)?, columns)))
            }
        };
        Ok(ShapeBatches {
            shapes: self.clone(),
            source,
            row: 0,
        })
    }
}

fn files(node: &Node) -> Files {
    vec![child(&node.key, FILE)].into()
}

/// Whether the element is of ragged arrays, as before SpatialData 0.2.2.
fn is_ragged(root: &Arc<Root>, node: &Node) -> Result<bool> {
    let attrs = node.attributes.get("spatialdata_attrs");
    match attrs.and_then(|attrs| attrs.get("version")) {
        Some(Value::String(version)) if version == "0.1" => Ok(true),
        Some(Value::String(version)) if matches!(version.as_str(), "0.2" | "0.3") => Ok(false),
        None => Ok(root.probe(&child(&node.key, FILE))?.is_none()),
        Some(other) => Err(Error::UnsupportedVersion {
            key: node.key.clone(),
            found: other.to_string(),
            supported: "shapes of version 0.1, 0.2 and 0.3",
        }),
    }
}

/// Checks that every radius is there and greater than 0.
pub(super) fn check_radii(key: &str, radii: &Float64Array) -> Result<()> {
    let is_good = |radius: Option<f64>| radius.is_some_and(|r| r > 0.0 && r.is_finite());
    match radii.iter().position(|radius| !is_good(radius)) {
        None => Ok(()),
        Some(row) => {
            let found = radii.iter().nth(row).flatten();
            let found = found.map_or_else(|| "missing".to_owned(), |r| r.to_string());
            Err(Error::geometry(
                key,
                row as u64,
                format!("the radius is {found}, not greater than 0"),
            ))
        }
    }
}

impl Table {
    fn new(key: &str, parts: Parts) -> Result<Self> {
        let place = child(key, FILE);
        let file = parts.file(0)?;
        let note = file
            .note("geo")
            .ok_or_else(|| Error::missing(&place, "the metadata `geo` of GeoParquet"))?;
        let geo = crate::json::parse_object(&place, note.as_bytes())?;
        let primary = crate::json::text(&place, &geo, "primary_column")?;
        let about = match geo.get("columns").and_then(|columns| columns.get(primary)) {
            Some(Value::Object(about)) => about,
            found => {
                let expected = format!("`columns` of `geo` to describe `{primary}`");
                return Err(Error::not_as(&place, expected, found));
            }
        };
        let place_of = parts.fields().iter().position(|f| f.name() == primary);
        let before = place_of.ok_or_else(|| {
            Error::missing(&place, format!("the column `{primary}` of geometries"))
        })?;
        let mut fields = parts.fields().to_vec();
        let geometry = fields.remove(before);
        let encoding = match about.get("encoding") {
            None => "WKB",
            Some(Value::String(encoding)) => encoding.as_str(),
            Some(other) => return Err(Error::invalid(&place, "`encoding` as text", other)),
        };
        let encoding = Encoding::parse(&child(key, primary), encoding, geometry.data_type())?;
        let types = about.get("geometry_types").and_then(Value::as_array);
        let is_points = types.is_some_and(|types| {
            types
                .iter()
                .any(|t| t.as_str().is_some_and(|t| t == "Point" || t == "Point Z"))
        });
        if is_points || encoding == Encoding::Point {
            let radius = fields.iter().find(|field| field.name() == RADIUS);
            if !radius.is_some_and(|field| field.data_type().is_numeric()) {
                return Err(Error::InvalidGeometry {
                    key: key.to_owned(),
                    problem: "points need a column `radius` of numbers".to_owned(),
                });
            }
        }
        let n_rows = parts.n_rows()?;
        Ok(Self {
            parts: Arc::new(parts),
            geometry,
            encoding,
            fields,
            before,
            n_rows,
        })
    }
}

/// Some objects: their geometries and columns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShapeBatch {
    /// The geometries.
    pub geometries: Geometries,
    /// The columns asked for, of as many rows.
    pub columns: RecordBatch,
}

/// Shapes batch by batch, from [`Shapes::batches`].
#[derive(Debug)]
pub struct ShapeBatches {
    shapes: Shapes,
    source: BatchSource,
    row: u64,
}

#[derive(Debug)]
enum BatchSource {
    Parquet(Arc<Table>, Batches),
    Ragged(Option<(Geometries, RecordBatch)>),
}

impl ShapeBatches {
    fn decode(&self, table: &Table, batch: &RecordBatch) -> Result<ShapeBatch> {
        let (mut columns, n) = (batch.clone(), batch.num_columns());
        let geometry = columns.remove_column(n - 1);
        let geometries = self.shapes.decode(table, &geometry, self.row)?;
        self.shapes.check_kinds(&geometries)?;
        Ok(ShapeBatch {
            geometries,
            columns,
        })
    }
}

impl Iterator for ShapeBatches {
    type Item = Result<ShapeBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match &mut self.source {
            BatchSource::Ragged(all) => {
                let (geometries, columns) = all.take()?;
                return Some(Ok(ShapeBatch {
                    geometries,
                    columns,
                }));
            }
            BatchSource::Parquet(_, batches) => batches.next()?,
        };
        let BatchSource::Parquet(table, _) = &self.source else {
            return None;
        };
        let table = Arc::clone(table);
        let result = batch.and_then(|batch| self.decode(&table, &batch));
        match &result {
            Ok(batch) => self.row += batch.columns.num_rows() as u64,
            Err(_) => self.source = BatchSource::Ragged(None),
        }
        Some(result)
    }
}

/// The bytes of well-known binary, where an array holds them.
pub(super) fn binary(array: &ArrayRef) -> Option<&arrow::array::BinaryArray> {
    downcast(array.as_ref())
}
