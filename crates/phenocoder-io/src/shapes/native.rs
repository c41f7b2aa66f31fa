//! Columns of geometries: well-known binary, and the native encodings of `GeoArrow`.

use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, Float64Array, LargeListArray, ListArray, StructArray,
};
use arrow::datatypes::DataType;

use super::geometry::{Geometries, GeometryKind};
use super::open::binary;
use super::wkb;
use crate::table::downcast;
use crate::{Error, Result};

/// How geometries are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Wkb,
    Point,
    Polygon,
    MultiPolygon,
}

impl Encoding {
    pub(super) fn parse(key: &str, name: &str, data_type: &DataType) -> Result<Self> {
        let encoding = match name {
            "WKB" | "wkb" => Self::Wkb,
            "point" | "geoarrow.point" => Self::Point,
            "polygon" | "geoarrow.polygon" => Self::Polygon,
            "multipolygon" | "geoarrow.multipolygon" => Self::MultiPolygon,
            other => {
                return Err(Error::UnsupportedEncoding {
                    key: key.to_owned(),
                    encoding: other.to_owned(),
                });
            }
        };
        if encoding == Self::Wkb && *data_type != DataType::Binary {
            return Err(Error::DataType {
                key: key.to_owned(),
                expected: "bytes",
                found: data_type.to_string(),
            });
        }
        Ok(encoding)
    }
}

/// Reads the geometries of an array; `start` is the number of its first row, for messages.
pub(super) fn decode(
    key: &str,
    encoding: Encoding,
    array: &ArrayRef,
    dimensions: usize,
    start: u64,
) -> Result<Geometries> {
    if let Some(row) = (0..array.len()).find(|&row| array.is_null(row)) {
        return Err(Error::geometry(key, start + row as u64, "it is missing"));
    }
    if encoding == Encoding::Wkb {
        return decode_wkb(key, array, dimensions, start);
    }
    decode_native(encoding, array).map_err(|problem| Error::InvalidGeometry {
        key: key.to_owned(),
        problem,
    })
}

fn decode_wkb(key: &str, array: &ArrayRef, dimensions: usize, start: u64) -> Result<Geometries> {
    let array = binary(array).ok_or_else(|| Error::DataType {
        key: key.to_owned(),
        expected: "bytes",
        found: array.data_type().to_string(),
    })?;
    let failed = |row: usize| move |problem| Error::geometry(key, start + row as u64, problem);
    let dimensions = match array.iter().next().flatten() {
        Some(first) => wkb::dimensions(first).map_err(failed(0))?,
        None => dimensions,
    };
    let mut out = Geometries::new(dimensions)?;
    for (row, bytes) in array.iter().enumerate() {
        wkb::read(bytes.unwrap_or_default(), &mut out).map_err(failed(row))?;
    }
    Ok(out)
}

fn decode_native(encoding: Encoding, array: &ArrayRef) -> std::result::Result<Geometries, String> {
    let mut offsets: Vec<Vec<usize>> = Vec::new();
    let mut array = ArrayRef::clone(array);
    let lists = match encoding {
        Encoding::Wkb | Encoding::Point => 0,
        Encoding::Polygon => 2,
        Encoding::MultiPolygon => 3,
    };
    let n = array.len();
    for _ in 0..lists {
        let (list, values) = unnest(&array)?;
        offsets.push(list);
        array = values;
    }
    let (dimensions, coordinates) = vertices(&array)?;
    let n_vertices = array.len();
    let numbers = |n: usize| (0..=n).collect::<Vec<usize>>();
    let kind = match encoding {
        Encoding::Wkb | Encoding::Point => GeometryKind::Point,
        Encoding::Polygon => GeometryKind::Polygon,
        Encoding::MultiPolygon => GeometryKind::MultiPolygon,
    };
    // From the innermost list to the outermost; what has no list of its own has one of each.
    let rings = offsets.pop().unwrap_or_else(|| numbers(n_vertices));
    let polygons = offsets.pop().unwrap_or_else(|| numbers(rings.len() - 1));
    let objects = offsets.pop().unwrap_or_else(|| numbers(polygons.len() - 1));
    let kinds = vec![kind; n];
    Geometries::from_offsets(dimensions, kinds, coordinates, [rings, polygons, objects])
}

/// The offsets of a list relative to its first value, and its values.
fn unnest(array: &ArrayRef) -> std::result::Result<(Vec<usize>, ArrayRef), String> {
    if array.null_count() > 0 {
        return Err("a part of a geometry is missing".to_owned());
    }
    let array = array.as_ref();
    let (offsets, values): (Vec<usize>, &ArrayRef) =
        if let Some(list) = downcast::<ListArray>(array) {
            let offsets = list.value_offsets().iter();
            (
                offsets
                    .map(|&at| usize::try_from(at).unwrap_or(0))
                    .collect(),
                list.values(),
            )
        } else if let Some(list) = downcast::<LargeListArray>(array) {
            let offsets = list.value_offsets().iter();
            (
                offsets
                    .map(|&at| usize::try_from(at).unwrap_or(0))
                    .collect(),
                list.values(),
            )
        } else {
            return Err(format!("a list was expected, found {}", array.data_type()));
        };
    let (first, last) = match offsets.as_slice() {
        [first, .., last] => (*first, *last),
        [only] => (*only, *only),
        [] => (0, 0),
    };
    let relative = offsets.iter().map(|at| at - first).collect();
    Ok((relative, values.slice(first, last - first)))
}

/// The vertices, as a structure of `x, y, z` or as lists of a fixed length.
fn vertices(array: &ArrayRef) -> std::result::Result<(usize, Vec<f64>), String> {
    let numbers = |array: &ArrayRef| {
        let values = downcast::<Float64Array>(array.as_ref()).filter(|v| v.null_count() == 0);
        let values =
            values.ok_or_else(|| "coordinates are numbers of 64 bits, none missing".to_owned());
        values.map(|values| values.values().to_vec())
    };
    if array.null_count() > 0 {
        return Err("a vertex is missing".to_owned());
    }
    if let Some(list) = downcast::<FixedSizeListArray>(array.as_ref()) {
        let d = usize::try_from(list.value_length()).unwrap_or(0);
        if !matches!(d, 2 | 3) {
            return Err(format!("vertices have {d} coordinates"));
        }
        let values = list.values().slice(list.value_offset_at(0), list.len() * d);
        return Ok((d, numbers(&values)?));
    }
    let vertices = downcast::<StructArray>(array.as_ref())
        .ok_or_else(|| format!("vertices were expected, found {}", array.data_type()))?;
    let axis = |name: &str| vertices.column_by_name(name).map(numbers).transpose();
    let (Some(x), Some(y), z) = (axis("x")?, axis("y")?, axis("z")?) else {
        return Err("vertices need x and y".to_owned());
    };
    Ok(match z {
        None => (2, x.into_iter().zip(y).flat_map(|(x, y)| [x, y]).collect()),
        Some(z) => {
            let xyz = x.into_iter().zip(y).zip(z);
            (3, xyz.flat_map(|((x, y), z)| [x, y, z]).collect())
        }
    })
}

#[cfg(test)]
mod tests;
