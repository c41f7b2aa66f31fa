//! Native geometries, sound and broken.

use std::sync::Arc;

use arrow::array::{BinaryArray, Float32Array, Int32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Field;

use super::*;

fn numbers(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Vertices as a structure of their coordinates.
fn separate(axes: &[(&str, &[f64])]) -> ArrayRef {
    let fields = axes.iter().map(|(name, values)| {
        let field = Field::new(*name, DataType::Float64, true);
        (Arc::new(field), numbers(values))
    });
    Arc::new(StructArray::from(fields.collect::<Vec<_>>()))
}

/// Vertices as lists of `d` numbers.
fn interleaved(d: i32, values: &[f64]) -> ArrayRef {
    let field = Arc::new(Field::new("xy", DataType::Float64, true));
    Arc::new(FixedSizeListArray::new(field, d, numbers(values), None))
}

fn list(lengths: &[usize], values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(ListArray::new(field, offsets, values, None))
}

fn large_list(lengths: &[usize], values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(LargeListArray::new(field, offsets, values, None))
}

/// Two triangles.
const TRIANGLES: [f64; 16] = [
    0., 0., 2., 0., 0., 2., 0., 0., 5., 5., 7., 5., 5., 7., 5., 5.,
];

fn problem(encoding: Encoding, array: &ArrayRef) -> String {
    match decode("shapes/a", encoding, array, 2, 7) {
        Err(Error::InvalidGeometry { key, problem }) => {
            assert_eq!(key, "shapes/a");
            problem
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn points_are_read_from_both_layouts() {
    for array in [
        separate(&[("x", &[1., 2.]), ("y", &[3., 4.])]),
        interleaved(2, &[1., 3., 2., 4.]),
    ] {
        let points = decode("k", Encoding::Point, &array, 2, 0).unwrap();
        assert_eq!(points.kinds(), [GeometryKind::Point; 2]);
        assert_eq!(points.coordinates(), [1., 3., 2., 4.]);
    }
    for array in [
        separate(&[("x", &[1.]), ("y", &[2.]), ("z", &[3.])]),
        interleaved(3, &[1., 2., 3.]),
    ] {
        let points = decode("k", Encoding::Point, &array, 2, 0).unwrap();
        assert_eq!(points.dimensions(), 3);
        assert_eq!(points.coordinates(), [1., 2., 3.]);
    }
}

#[test]
fn polygons_are_read_from_lists_of_both_sizes_and_from_slices() {
    let rings = list(&[4, 4], interleaved(2, &TRIANGLES));
    let polygons = list(&[1, 1], ArrayRef::clone(&rings));
    let large = large_list(&[1, 1], large_list(&[4, 4], interleaved(2, &TRIANGLES)));
    let expected = decode("k", Encoding::Polygon, &polygons, 2, 0).unwrap();
    assert_eq!(expected.kinds(), [GeometryKind::Polygon; 2]);
    assert_eq!(expected.bounds(), Some([0., 0., 7., 7.]));
    assert_eq!(
        decode("k", Encoding::Polygon, &large, 2, 0).unwrap(),
        expected
    );

    let second = decode("k", Encoding::Polygon, &polygons.slice(1, 1), 2, 0).unwrap();
    assert_eq!(second, expected.select(&[1]).unwrap());
    let none = decode("k", Encoding::Polygon, &polygons.slice(2, 0), 2, 0).unwrap();
    assert!(none.is_empty());

    let one = list(&[2], list(&[1, 1], rings));
    let one = decode("k", Encoding::MultiPolygon, &one, 2, 0).unwrap();
    assert_eq!(one.kinds(), [GeometryKind::MultiPolygon]);
    assert_eq!(one.get(0).unwrap().polygons().len(), 2);
}

#[test]
fn what_is_missing_is_named_with_its_row() {
    let wkb: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(b"x"), None]));
    let error = decode("shapes/a", Encoding::Wkb, &wkb, 2, 7).unwrap_err();
    assert!(
        error.to_string().contains("shapes/a") && error.to_string().contains('8'),
        "{error}"
    );

    let rings = list(&[4, 4], interleaved(2, &TRIANGLES));
    let field = Arc::new(Field::new("item", rings.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([1, 1]);
    let holes = NullBuffer::from(vec![true, false]);
    let multi: ArrayRef = Arc::new(ListArray::new(field, offsets, rings, Some(holes)));
    assert_eq!(
        problem(Encoding::MultiPolygon, &list(&[2], multi)),
        "a part of a geometry is missing"
    );
}

#[test]
fn other_layouts_are_refused() {
    let single: ArrayRef = Arc::new(Float32Array::from(vec![1.0]));
    let field = |name: &str| Arc::new(Field::new(name, DataType::Float32, true));
    let pairs = vec![(field("x"), ArrayRef::clone(&single)), (field("y"), single)];
    let single: ArrayRef = Arc::new(StructArray::from(pairs));
    let whole: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    for (encoding, array, expected) in [
        (Encoding::Point, single, "64 bits"),
        (
            Encoding::Point,
            ArrayRef::clone(&whole),
            "vertices were expected",
        ),
        (Encoding::Point, separate(&[("x", &[1.0])]), "need x and y"),
        (Encoding::Point, interleaved(4, &[0.0; 4]), "4 coordinates"),
        (Encoding::Polygon, whole, "a list was expected"),
        // A ring that does not end where it begins.
        (
            Encoding::Polygon,
            list(&[1], list(&[3], interleaved(2, &TRIANGLES[..6]))),
            "ring",
        ),
    ] {
        let found = problem(encoding, &array);
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn encodings_are_known_by_both_names() {
    for (name, expected) in [
        ("WKB", Encoding::Wkb),
        ("point", Encoding::Point),
        ("geoarrow.point", Encoding::Point),
        ("polygon", Encoding::Polygon),
        ("geoarrow.polygon", Encoding::Polygon),
        ("multipolygon", Encoding::MultiPolygon),
        ("geoarrow.multipolygon", Encoding::MultiPolygon),
    ] {
        assert_eq!(
            Encoding::parse("k", name, &DataType::Binary).unwrap(),
            expected
        );
    }
    assert!(matches!(
        Encoding::parse("k", "linestring", &DataType::Binary),
        Err(Error::UnsupportedEncoding { key, encoding }) if key == "k" && encoding == "linestring"
    ));
    assert!(matches!(
        Encoding::parse("k", "WKB", &DataType::Utf8),
        Err(Error::DataType {
            expected: "bytes",
            ..
        })
    ));
    let numbers = numbers(&[1.0]);
    assert!(matches!(
        decode("k", Encoding::Wkb, &numbers, 2, 0),
        Err(Error::DataType {
            expected: "bytes",
            ..
        })
    ));
}
