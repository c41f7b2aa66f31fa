//! Shapes as SpatialData before 0.2.2 stored them: coordinates and offsets in Zarr arrays.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field};
use serde_json::Value;

use super::geometry::{Geometries, GeometryKind};
use super::open::{RADIUS, check_radii};
use crate::array::ZarrArray;
use crate::columns::as_f64;
use crate::node::{Node, ZarrFormat};
use crate::path::child;
use crate::root::Root;
use crate::table::read_array;
use crate::{Error, Result};

/// Ragged arrays of which the metadata have been read.
#[derive(Debug)]
pub(super) struct Ragged {
    root: Arc<Root>,
    key: String,
    format: ZarrFormat,
    kind: GeometryKind,
    dimensions: usize,
    n_rows: u64,
    fields: Vec<Field>,
}

impl Ragged {
    pub(super) fn open(
        root: &Arc<Root>,
        node: &Node,
        attrs: Option<&Value>,
        dimensions: usize,
    ) -> Result<Self> {
        let key = node.key.as_str();
        let geos = attrs.and_then(|attrs| attrs.get("geos"));
        let number = geos
            .and_then(|geos| geos.get("type"))
            .and_then(Value::as_u64);
        let kind = match number {
            Some(0) => GeometryKind::Point,
            Some(3) => GeometryKind::Polygon,
            Some(6) => GeometryKind::MultiPolygon,
            _ => {
                let found = geos.map_or_else(|| "nothing".to_owned(), Value::to_string);
                return Err(Error::invalid(key, "`geos` of type 0, 3 or 6", found));
            }
        };
        let open = |name: &str| ZarrArray::open(root, &child(key, name), node.format);
        let n_rows = open("Index")?.len();
        let dimensions = match open("coords")?.shape() {
            [_, d @ 2..=3] => usize::try_from(*d).unwrap_or(dimensions),
            [_] => dimensions,
            other => {
                let found = format!("{other:?}");
                return Err(Error::invalid(
                    child(key, "coords"),
                    "2 or 3 coordinates a vertex",
                    found,
                ));
            }
        };
        let mut fields = Vec::new();
        if kind == GeometryKind::Point {
            let radius = open("radius").map_err(|_| Error::InvalidGeometry {
                key: key.to_owned(),
                problem: "points need the array `radius`".to_owned(),
            })?;
            check_len(radius.key(), n_rows, radius.len())?;
            fields.push(Field::new(RADIUS, DataType::Float64, false));
        }
        Ok(Self {
            root: Arc::clone(root),
            key: key.to_owned(),
            format: node.format,
            kind,
            dimensions,
            n_rows,
            fields,
        })
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub(super) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    fn array(&self, name: &str) -> Result<ArrayRef> {
        let node = Node::open(&self.root, &child(&self.key, name), self.format)?;
        read_array(&self.root, node)
    }

    pub(super) fn index(&self) -> Result<ArrayRef> {
        self.array("Index")
    }

    pub(super) fn read(&self, columns: &[&str], rows: Range<u64>) -> Result<RecordBatch> {
        let rows = self.check_rows(rows)?;
        let mut arrays = Vec::new();
        let mut fields = Vec::new();
        for &name in columns {
            if !self.fields.iter().any(|field| field.name() == name) {
                return Err(Error::NoEntry {
                    key: self.key.clone(),
                    what: "column",
                    name: name.to_owned(),
                    available: crate::error::listing(self.fields.iter().map(Field::name)),
                });
            }
            let array = self.array(name)?;
            fields.push(Field::new(name, array.data_type().clone(), false));
            arrays.push(array.slice(rows.start, rows.len()));
        }
        crate::table::batch(&self.key, fields, arrays, rows.len())
    }

    fn check_rows(&self, rows: Range<u64>) -> Result<Range<usize>> {
        let to_usize = |row: u64| usize::try_from(row).ok();
        match (to_usize(rows.start), to_usize(rows.end)) {
            (Some(start), Some(end)) if start <= end && rows.end <= self.n_rows => Ok(start..end),
            _ => Err(Error::NoEntry {
                key: self.key.clone(),
                what: "rows",
                name: format!("{rows:?}"),
                available: format!("0..{}", self.n_rows),
            }),
        }
    }

    fn offsets(&self, name: &str) -> Result<Vec<usize>> {
        let key = child(&self.key, name);
        let array = ZarrArray::open(&self.root, &key, self.format)?;
        let numbers = array.read_numbers()?.into_values().to_i64();
        let offsets: Option<Vec<usize>> = numbers
            .and_then(|numbers| numbers.iter().map(|&at| usize::try_from(at).ok()).collect());
        offsets.ok_or_else(|| Error::invalid(key, "offsets of at least 0", "others"))
    }

    pub(super) fn geometries(&self, rows: Range<u64>) -> Result<Geometries> {
        let rows = self.check_rows(rows)?;
        let place = child(&self.key, "coords");
        let coordinates = ZarrArray::open(&self.root, &place, self.format)?;
        let coordinates = coordinates.read_numbers()?.into_values().to_f64();
        let n_vertices = coordinates.len() / self.dimensions;
        let numbers = |n: usize| (0..=n).collect::<Vec<usize>>();
        let rings = match self.kind {
            GeometryKind::Point => numbers(n_vertices),
            _ => self.offsets("offset0")?,
        };
        let polygons = match self.kind {
            GeometryKind::Point => numbers(rings.len().saturating_sub(1)),
            _ => self.offsets("offset1")?,
        };
        let objects = match self.kind {
            GeometryKind::MultiPolygon => self.offsets("offset2")?,
            _ => numbers(polygons.len().saturating_sub(1)),
        };
        let n = objects.len().saturating_sub(1);
        check_len(&place, self.n_rows, n as u64)?;
        if self.kind == GeometryKind::Point {
            check_radii(&self.key, &as_f64(&self.key, &self.array(RADIUS)?)?)?;
        }
        let kinds = vec![self.kind; n];
        let all = Geometries::from_offsets(
            self.dimensions,
            kinds,
            coordinates,
            [rings, polygons, objects],
        );
        let all = all.map_err(|problem| Error::InvalidGeometry {
            key: self.key.clone(),
            problem,
        })?;
        if rows.len() == n {
            return Ok(all);
        }
        all.select(&rows.collect::<Vec<usize>>())
    }
}

fn check_len(key: &str, expected: u64, found: u64) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::LengthMismatch {
        key: key.to_owned(),
        expected,
        found,
    })
}
