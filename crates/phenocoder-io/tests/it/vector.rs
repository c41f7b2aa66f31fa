//! Points and shapes that are written and read back, and files that are damaged.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, RecordBatch, StringArray, UInt8Array,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use phenocoder_core::NoProgress;
use phenocoder_io::{
    BoundingBox, ContainerVersion, Error, Geometries, OpenOptions, ParquetCompression, PointsData,
    PointsWriteOptions, ShapesData, ShapesWriteOptions, Store, Transformation, WriteMode, verify,
};
use proptest::prelude::*;

fn store(folder: &tempfile::TempDir, version: ContainerVersion) -> Store {
    Store::create(folder.path().join("s.zarr"), version).unwrap()
}

fn dictionary(codes: Vec<Option<i32>>, values: &[&str]) -> ArrayRef {
    let values = Arc::new(StringArray::from_iter_values(values));
    Arc::new(DictionaryArray::<Int32Type>::try_new(codes.into(), values).unwrap())
}

/// Points with a column of every kind; the ordered categories are not in the order of the values and some are unused.
pub(super) fn points(n: usize) -> PointsData {
    let float =
        |f: fn(usize) -> f64| Arc::new(Float64Array::from_iter_values((0..n).map(f))) as ArrayRef;
    let codes = (0..n)
        .map(|i| (i % 7 != 3).then_some((i % 3) as i32 + 1))
        .collect();
    let ordered = HashMap::from([("anndata.ordered".to_owned(), "true".to_owned())]);
    let columns: Vec<(Field, ArrayRef)> = [
        ("x", float(|i| i as f64 * 0.5)),
        ("y", float(|i| 1e4 - i as f64)),
        (
            "z",
            Arc::new(UInt8Array::from_iter_values((0..n).map(|i| i as u8))) as ArrayRef,
        ),
        ("gene", dictionary(codes, &["unused", "b", "ü", "a"])),
        (
            "note",
            Arc::new(
                (0..n)
                    .map(|i| (i % 2 == 0).then(|| format!("t{i}")))
                    .collect::<LargeStringArray>(),
            ),
        ),
        (
            "flag",
            Arc::new((0..n).map(|i| Some(i % 3 == 0)).collect::<BooleanArray>()),
        ),
        (
            "count",
            Arc::new(
                (0..n)
                    .map(|i| (i % 5 != 0).then_some(i as i32))
                    .collect::<Int32Array>(),
            ),
        ),
    ]
    .into_iter()
    .map(|(name, array): (&str, ArrayRef)| {
        let field = Field::new(name, array.data_type().clone(), true);
        (
            if name == "gene" {
                field.with_metadata(ordered.clone())
            } else {
                field
            },
            array,
        )
    })
    .collect();
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    PointsData::new(batch).with_feature_key("gene")
}

/// The same values, whatever the type of text and the metadata of fields.
fn assert_same_values(found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.num_columns(), expected.num_columns());
    for (field, (found, expected)) in found
        .schema()
        .fields()
        .iter()
        .zip(found.columns().iter().zip(expected.columns()))
    {
        let expected = arrow::compute::cast(expected, found.data_type()).unwrap();
        assert_eq!(found.as_ref(), expected.as_ref(), "{}", field.name());
    }
}

#[test]
fn points_are_read_as_they_were_written_by_every_compression_and_partition() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, version);
        let data = points(1000);
        for (at, compression) in [
            ParquetCompression::None,
            ParquetCompression::Snappy,
            ParquetCompression::Zstd,
        ]
        .into_iter()
        .enumerate()
        {
            let options = PointsWriteOptions::default()
                .with_compression(compression)
                .with_rows_per_group(70)
                .with_rows_per_part(90);
            let name = format!("p{at}");
            store.write_points(&name, &data, &options).unwrap();
            let points = Store::open(store.path().unwrap())
                .unwrap()
                .points(&name)
                .unwrap();
            assert_eq!((points.n_parts(), points.n_rows().unwrap()), (12, 1000));
            assert_eq!(points.axes(), ["x", "y", "z"]);
            assert_eq!(points.feature_key(), Some("gene"));
            let all = points.read_columns().unwrap();
            assert_same_values(&all, &data.columns);
            let gene: &DictionaryArray<Int32Type> = all.column(3).as_any().downcast_ref().unwrap();
            let categories: Vec<&str> = gene
                .values()
                .as_any()
                .downcast_ref::<StringArray>()
                .unwrap()
                .iter()
                .flatten()
                .collect();
            assert_eq!(categories, ["unused", "b", "ü", "a"]);
            assert!(
                all.schema()
                    .field(3)
                    .metadata()
                    .contains_key("anndata.ordered")
            );
            assert_eq!(
                *points.index().unwrap(),
                Int64Array::from_iter_values(0..1000)
            );
            let some = points.read_rows(&["gene", "x"], 85..333).unwrap();
            let expected = data.columns.slice(85, 248).project(&[3, 0]).unwrap();
            assert_same_values(&some, &expected);
            let mut at = 0;
            for batch in points.batches(&["count", "gene"]).unwrap() {
                let batch = batch.unwrap();
                assert!(batch.num_rows() <= 70);
                let rows = data.columns.slice(at, batch.num_rows());
                assert_same_values(&batch, &rows.project(&[6, 3]).unwrap());
                at += batch.num_rows();
            }
            assert_eq!(at, 1000);
        }
    }
}

#[test]
fn categories_that_are_the_same_are_written_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    let x = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
    let twice = dictionary(vec![Some(2), Some(0), Some(1)], &["a", "b", "a"]);
    let columns = RecordBatch::try_from_iter([("x", x.clone()), ("y", x), ("gene", twice)]);
    let data = PointsData::new(columns.unwrap());
    let options = PointsWriteOptions::default();
    store.write_points("p", &data, &options).unwrap();
    let found = store.points("p").unwrap().read(&["gene"]).unwrap();
    assert_eq!(
        found.column(0).to_data(),
        dictionary(vec![Some(0), Some(0), Some(1)], &["a", "b"]).to_data()
    );
}

#[test]
fn values_of_a_missing_category_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    let x = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
    let texts = Arc::new(StringArray::from(vec![None, Some("a")]));
    let gene = categories(texts, vec![Some(1), Some(0), None]);
    let columns = RecordBatch::try_from_iter([("x", x.clone()), ("y", x), ("gene", gene)]);
    let data = PointsData::new(columns.unwrap());
    let options = PointsWriteOptions::default();
    store.write_points("p", &data, &options).unwrap();
    let found = store.points("p").unwrap().read(&["gene"]).unwrap();
    let expected = dictionary(vec![Some(0), None, None], &["a"]);
    assert_eq!(found.column(0).to_data(), expected.to_data());
}

#[test]
fn a_named_index_of_text_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(["p", "q", "r"]));
    let data = points(3).with_index(Some("transcript".into()), names.clone());
    store
        .write_points("p", &data, &PointsWriteOptions::default())
        .unwrap();
    let points = store.points("p").unwrap();
    assert_eq!(points.index().unwrap().to_data(), names.to_data());
    assert_eq!(points.index_name().unwrap().as_deref(), Some("transcript"));
    assert_eq!(
        points.column_names(),
        data.columns
            .schema()
            .fields()
            .iter()
            .map(|f| f.name())
            .collect::<Vec<_>>()
    );
}

#[test]
fn no_points_are_points() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    store
        .write_points("none", &points(0), &PointsWriteOptions::default())
        .unwrap();
    let points = store.points("none").unwrap();
    assert_eq!(points.n_rows().unwrap(), 0);
    assert_eq!(points.read_columns().unwrap().num_rows(), 0);
    assert_eq!(points.coordinates().unwrap().dim(), (0, 3));
    assert_eq!(points.batches(&["x"]).unwrap().count(), 0);
}

#[test]
fn points_that_break_a_rule_are_refused_and_leave_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    let good = points(4);
    let without_y = PointsData::new(good.columns.project(&[0, 3]).unwrap());
    let mut short = good.clone();
    short.index = Arc::new(Int64Array::from(vec![1]));
    let mut keyed = good.clone();
    keyed.feature_key = Some("nothing".into());
    let mut same = good.clone();
    same.index_name = Some("gene".into());
    let text = RecordBatch::try_from_iter([
        ("x", good.columns.column(4).clone()),
        ("y", good.columns.column(1).clone()),
    ]);
    let text = PointsData::new(text.unwrap());
    let yx = Transformation::scale(&["y"], &[2.0], "global").unwrap();
    let mapped = good.clone().with_transformations(vec![yx]);
    for bad in [without_y, short, keyed, same, text, mapped] {
        let refused = store.write_points("p", &bad, &PointsWriteOptions::default());
        assert!(refused.is_err());
        assert!(store.points_names().is_empty());
    }
    let options = PointsWriteOptions::default().with_rows_per_group(0);
    assert!(matches!(
        store.write_points("p", &good, &options),
        Err(Error::Config { .. })
    ));
    store
        .write_points("p", &good, &PointsWriteOptions::default())
        .unwrap();
    let again = store.write_points("p", &good, &PointsWriteOptions::default());
    assert!(matches!(again, Err(Error::Exists { .. })));
    let replace = PointsWriteOptions::default().with_mode(WriteMode::Replace);
    store.write_points("p", &points(5), &replace).unwrap();
    assert_eq!(store.points("p").unwrap().n_rows().unwrap(), 5);
}

pub(super) fn polygons() -> Geometries {
    let mut shapes = Geometries::new(2).unwrap();
    let ring = [0.0, 0.0, 3.0, 0.0, 3.0, 3.0, 0.0, 0.0];
    let hole = [1.0, 0.5, 2.0, 0.5, 2.0, 1.0, 1.0, 0.5];
    shapes.push_polygon([ring.as_slice(), &hole]).unwrap();
    shapes
        .push_multipolygon([vec![ring.as_slice()], vec![hole.as_slice()]])
        .unwrap();
    shapes.push_polygon([hole.as_slice()]).unwrap();
    shapes
}

#[test]
fn shapes_are_read_as_they_were_written() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, version);
        let kind = dictionary(vec![Some(2), None, Some(0)], &["z", "unused", "a"]);
        let area = Arc::new(Float64Array::from(vec![1.0, f64::NAN, 3.0])) as ArrayRef;
        let columns = RecordBatch::try_from_iter([("kind", kind), ("area", area)]).unwrap();
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(["a", "b", "c"]));
        let scale = Transformation::scale(&["x", "y"], &[2.0, 3.0], "aligned").unwrap();
        let mut data = ShapesData::new(polygons())
            .with_columns(columns.clone())
            .with_index(Some("cell_id".into()), names)
            .with_transformations(vec![scale]);
        data.geometry_place = 1;
        store
            .write_shapes("cells", &data, &ShapesWriteOptions::default())
            .unwrap();
        let shapes = Store::open(store.path().unwrap())
            .unwrap()
            .shapes("cells")
            .unwrap();
        let found = shapes.read_all().unwrap();
        assert_eq!(found.geometries, data.geometries);
        assert_eq!(found.index.to_data(), data.index.to_data());
        assert_eq!(found.index_name, data.index_name);
        assert_eq!(found.transformations, data.transformations);
        assert_eq!(shapes.column_order(), ["kind", "geometry", "area"]);
        assert_same_values(&found.columns, &columns);
        assert_eq!(shapes.radii().unwrap(), None);
        assert_eq!(
            shapes.geometries_of(1..3).unwrap(),
            data.geometries.select(&[1, 2]).unwrap()
        );
    }
}

#[test]
fn an_index_in_equal_steps_is_noted_and_any_other_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    for (at, index) in [
        vec![5, 7, 9],
        vec![9, 5, 7],
        vec![3, 3, 3],
        vec![i64::MIN, 0, i64::MAX],
    ]
    .into_iter()
    .enumerate()
    {
        let values: ArrayRef = Arc::new(Int64Array::from(index));
        let data = ShapesData::new(polygons()).with_index(None, values.clone());
        let name = format!("s{at}");
        store
            .write_shapes(&name, &data, &ShapesWriteOptions::default())
            .unwrap();
        let shapes = store.shapes(&name).unwrap();
        assert_eq!(shapes.index().unwrap().to_data(), values.to_data());
        assert_eq!(shapes.index_name().unwrap(), None);
    }
}

#[test]
fn circles_need_a_radius_greater_than_zero() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    let circles =
        ShapesData::new(Geometries::from_points(3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap());
    let with = |radius: Vec<f64>| {
        let radius = Arc::new(Float64Array::from(radius)) as ArrayRef;
        circles
            .clone()
            .with_columns(RecordBatch::try_from_iter([("radius", radius)]).unwrap())
    };
    for bad in [
        circles.clone(),
        with(vec![1.0, 0.0]),
        with(vec![f64::NAN, 1.0]),
        with(vec![-1.0, 1.0]),
    ] {
        let refused = store.write_shapes("c", &bad, &ShapesWriteOptions::default());
        assert!(
            matches!(refused, Err(Error::InvalidGeometry { .. })),
            "{refused:?}"
        );
    }
    store
        .write_shapes("c", &with(vec![1.0, 2.5]), &ShapesWriteOptions::default())
        .unwrap();
    let shapes = store.shapes("c").unwrap();
    assert_eq!(shapes.axes(), ["x", "y", "z"]);
    assert_eq!(shapes.radii().unwrap(), Some(vec![1.0, 2.5]));
    assert_eq!(shapes.geometries().unwrap(), circles.geometries);
}

#[test]
fn polygons_with_a_column_radius_are_no_circles() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    let polygons = polygons();
    let radius: ArrayRef = Arc::new(Float64Array::from(vec![0.0; polygons.len()]));
    let shapes = ShapesData::new(polygons)
        .with_columns(RecordBatch::try_from_iter([("radius", radius)]).unwrap());
    store
        .write_shapes("p", &shapes, &ShapesWriteOptions::default())
        .unwrap();
    let found = store.shapes("p").unwrap();
    assert_eq!(found.radii().unwrap(), None);
    assert!(found.extent("global").unwrap().is_some());
    assert!(verify(&store, &NoProgress).unwrap().violations.is_empty());
}

fn file_of(store: &Store, element: &str) -> std::path::PathBuf {
    let folder = store.path().unwrap().join(element);
    let file = folder.join("shapes.parquet");
    if file.exists() {
        file
    } else {
        folder.join("points.parquet/part.0.parquet")
    }
}

fn read(path: &Path) -> Result<(), Error> {
    let limits = OpenOptions::default()
        .with_max_chunk_bytes(1 << 20)
        .with_max_array_bytes(8 << 20);
    let store = Store::open_with(path, limits)?;
    for name in store.points_names() {
        let points = store.points(&name)?;
        points.read_all()?;
        points.index()?;
    }
    for name in store.shapes_names() {
        store.shapes(&name)?.read_all()?;
    }
    Ok(())
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let mut points_store =
        Store::create(folder.path().join("p.zarr"), ContainerVersion::V02).unwrap();
    let options = PointsWriteOptions::default().with_rows_per_group(20);
    points_store
        .write_points("p", &points(50), &options)
        .unwrap();
    let mut shapes_store =
        Store::create(folder.path().join("s.zarr"), ContainerVersion::V02).unwrap();
    shapes_store
        .write_shapes(
            "s",
            &ShapesData::new(polygons()),
            &ShapesWriteOptions::default(),
        )
        .unwrap();
    for (store, element) in [(&points_store, "points/p"), (&shapes_store, "shapes/s")] {
        let file = file_of(store, element);
        let whole = fs::read(&file).unwrap();
        read(store.path().unwrap()).unwrap();
        for len in (0..whole.len()).step_by(23) {
            fs::write(&file, &whole[..len]).unwrap();
            assert!(
                read(store.path().unwrap()).is_err(),
                "cut to {len} of {}",
                whole.len()
            );
        }
        // Every byte has a checksum; the parsers behind those are fuzzed.
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&file, &flipped).unwrap();
            assert!(read(store.path().unwrap()).is_err(), "{element}: byte {at}");
        }
        fs::write(&file, &whole).unwrap();
        read(store.path().unwrap()).unwrap();
    }
}

#[test]
fn limits_are_checked_before_columns_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    store
        .write_points("p", &points(1000), &PointsWriteOptions::default())
        .unwrap();
    let small = OpenOptions::default().with_max_array_bytes(4000);
    let points = Store::open_with(store.path().unwrap(), small)
        .unwrap()
        .points("p")
        .unwrap();
    assert!(matches!(points.read(&["x"]), Err(Error::TooLarge { .. })));
    assert!(points.read(&["flag"]).is_ok());
    assert!(matches!(
        points.read(&["nothing"]),
        Err(Error::NoEntry { .. })
    ));
    assert!(matches!(
        points.read_rows(&["flag"], 5..1001),
        Err(Error::NoEntry { .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_points_are_read_as_they_were_written(
        x in prop::collection::vec(prop::num::f64::ANY, 0..200),
        codes in prop::collection::vec(prop::option::of(0..5_i32), 200),
        group in 1..70_usize,
        part in 1..200_usize,
    ) {
        let n = x.len();
        let x: ArrayRef = Arc::new(Float64Array::from(x));
        let gene = dictionary(codes[..n].to_vec(), &["e", "d", "c", "b", "a"]);
        let columns = RecordBatch::try_from_iter([("x", x.clone()), ("y", x), ("gene", gene)]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, ContainerVersion::V02);
        let options = PointsWriteOptions::default().with_rows_per_group(group).with_rows_per_part(part);
        store.write_points("p", &PointsData::new(columns.clone()), &options).unwrap();
        let found = store.points("p").unwrap().read_columns().unwrap();
        // By bits, as NaN differs from itself.
        let bits = |batch: &RecordBatch| {
            let x: &Float64Array = batch.column(0).as_any().downcast_ref().unwrap();
            x.values().iter().map(|v| v.to_bits()).collect::<Vec<u64>>()
        };
        prop_assert_eq!(bits(&found), bits(&columns));
        if n > 0 {
            prop_assert_eq!(found.column(2), columns.column(2));
        }
    }

    #[test]
    fn any_geometries_are_read_as_they_were_written(
        objects in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(
                prop::collection::vec(prop::collection::vec(-1e9..1e9_f64, 9..30), 1..4), 1..4)),
            1..30),
        dimensions in 2..4_usize,
    ) {
        let mut geometries = Geometries::new(dimensions).unwrap();
        for (single, polygons) in &objects {
            let fit = |ring: &Vec<f64>| ring[..ring.len() / dimensions * dimensions].to_vec();
            let polygons: Vec<Vec<Vec<f64>>> =
                polygons.iter().map(|rings| rings.iter().map(fit).collect()).collect();
            if *single {
                geometries.push_polygon(polygons[0].iter().map(Vec::as_slice)).unwrap();
            } else {
                let polygons = polygons.iter().map(|rings| rings.iter().map(Vec::as_slice));
                geometries.push_multipolygon(polygons).unwrap();
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, ContainerVersion::V02);
        store.write_shapes("s", &ShapesData::new(geometries.clone()), &ShapesWriteOptions::default()).unwrap();
        prop_assert_eq!(store.shapes("s").unwrap().geometries().unwrap(), geometries);
    }
}

fn categories(values: ArrayRef, codes: Vec<Option<i32>>) -> ArrayRef {
    let codes = Int32Array::from(codes);
    Arc::new(DictionaryArray::<Int32Type>::try_new(codes, values).unwrap())
}

/// pandas' note of a file: the kind of each column.
fn kinds(file: &Path) -> Vec<(String, bool)> {
    let file = parquet::file::reader::SerializedFileReader::try_from(file).unwrap();
    let notes = parquet::file::reader::FileReader::metadata(&file)
        .file_metadata()
        .key_value_metadata()
        .unwrap();
    let note = notes.iter().find(|note| note.key == "pandas").unwrap();
    let note: serde_json::Value = serde_json::from_str(note.value.as_ref().unwrap()).unwrap();
    let columns = note["columns"].as_array().unwrap().iter();
    columns
        .map(|column| {
            let kind = column["pandas_type"].as_str().unwrap().to_owned();
            (kind, column["metadata"]["ordered"] == true)
        })
        .collect()
}

#[test]
fn categories_of_numbers_come_back_as_categories() {
    let x: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0, 4.0]));
    let codes = || vec![Some(1), None, Some(0), Some(1)];
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![9, -2, 5]));
    let halves: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.25]));
    let truths: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
    let columns = RecordBatch::try_from_iter([
        ("x", x.clone()),
        ("y", x),
        ("layer", categories(numbers, codes())),
        ("half", categories(halves, codes())),
        ("truth", categories(truths, codes())),
    ])
    .unwrap();
    let schema = columns.schema();
    let ordered = HashMap::from([("anndata.ordered".to_owned(), "true".to_owned())]);
    let fields = schema.fields().iter().map(|field| {
        let field = field.as_ref().clone();
        if field.name() == "layer" {
            field.with_metadata(ordered.clone())
        } else {
            field
        }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.with_schema(schema).unwrap();
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, version);
        // Two files, one with two row groups: each has other numbers.
        let options = PointsWriteOptions::default()
            .with_rows_per_group(2)
            .with_rows_per_part(3);
        let data = PointsData::new(columns.clone());
        store.write_points("p", &data, &options).unwrap();
        let points = store.points("p").unwrap();
        let read = points.read_columns().unwrap();
        // As pandas and dask make categories of numbers: those that occur, in their order.
        let expected: [ArrayRef; 3] = [
            Arc::new(Int64Array::from(vec![-2, 9])),
            Arc::new(Float64Array::from(vec![0.25, 0.5])),
            Arc::new(BooleanArray::from(vec![false, true])),
        ];
        for (column, expected) in read.columns()[2..].iter().zip(expected) {
            let found: &DictionaryArray<Int32Type> = column.as_any().downcast_ref().unwrap();
            assert_eq!(found.values(), &expected);
            let codes: Vec<Option<i32>> = found.keys().iter().collect();
            assert_eq!(codes, [Some(0), None, Some(1), Some(0)]);
        }
        let is_ordered = |at: usize| {
            let field = read.schema().field(at).clone();
            field.metadata().contains_key("anndata.ordered")
        };
        assert!(is_ordered(2) && !is_ordered(3));
        // All batches have the categories of the whole column.
        let halves: ArrayRef = Arc::new(Float64Array::from(vec![0.25, 0.5]));
        for batch in points.batches(&["half"]).unwrap() {
            let column = batch.unwrap().column(0).clone();
            let column: &DictionaryArray<Int32Type> = column.as_any().downcast_ref().unwrap();
            assert_eq!(column.values(), &halves);
        }
        let path = folder.path().join("s.zarr");
        for (limit, is_enough) in [(16, true), (15, false)] {
            let options = OpenOptions::default().with_max_array_bytes(limit);
            let limited = Store::open_with(&path, options).unwrap();
            let first = limited
                .points("p")
                .unwrap()
                .batches(&["half"])
                .unwrap()
                .next();
            match first.unwrap() {
                Ok(_) => assert!(is_enough),
                Err(Error::TooLarge { what, found, .. }) => {
                    assert!(!is_enough);
                    assert_eq!((what, found), ("categories with bytes", 16));
                }
                Err(other) => panic!("{other}"),
            }
        }
        // What lies in a box has the categories that occur there.
        let region = BoundingBox::new("global", &["x"], &[0.5], &[2.5]).unwrap();
        let within = points.read_within(&["layer"], &region).unwrap();
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![-2]));
        let expected = categories(numbers, vec![Some(0), None]);
        assert_eq!(within.column(0), &expected);
        let batches = points.batches(&["layer"]).unwrap();
        let layers: Vec<_> = batches
            .flat_map(|batch| {
                let column = batch.unwrap().column(0).clone();
                let column = arrow::compute::cast(&column, &arrow::datatypes::DataType::Int64);
                let column = column.unwrap();
                let column: &Int64Array = column.as_any().downcast_ref().unwrap();
                column.iter().collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(layers, [Some(-2), None, Some(9), Some(-2)]);
        let file = folder
            .path()
            .join("s.zarr/points/p/points.parquet/part.0.parquet");
        let categorical = |ordered| ("categorical".to_owned(), ordered);
        let found = kinds(&file);
        assert_eq!(found[2..5], [true, false, false].map(categorical));
        // What was read is written as it was.
        let again = points.read_all().unwrap();
        store.write_points("q", &again, &options).unwrap();
        assert_eq!(store.points("q").unwrap().read_columns().unwrap(), read);
    }
}

#[test]
fn categories_of_numbers_that_pandas_wrote_are_categories() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, ContainerVersion::V02);
    let data = PointsData::new(points(4).columns.project(&[0, 1]).unwrap());
    store
        .write_points("p", &data, &PointsWriteOptions::default())
        .unwrap();
    let place = folder
        .path()
        .join("s.zarr/points/p/points.parquet/part.0.parquet");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/categories.parquet");
    fs::copy(golden, place).unwrap();
    let read = store.points("p").unwrap().read_columns().unwrap();
    let schema = read.schema();
    let types: Vec<String> = schema
        .fields()
        .iter()
        .map(|f| f.data_type().to_string())
        .collect();
    let of = |values: &str| format!("Dictionary(Int32, {values})");
    assert_eq!(
        types[2..],
        [
            of("Int64"),
            of("Float64"),
            of("Boolean"),
            of("Utf8"),
            of("Int8")
        ]
    );
    assert!(schema.field(6).metadata().contains_key("anndata.ordered"));
    let small: &DictionaryArray<Int32Type> = read.column(6).as_any().downcast_ref().unwrap();
    let values: ArrayRef = Arc::new(arrow::array::Int8Array::from(vec![1, 3]));
    assert_eq!(small.values(), &values);
    assert_eq!(small.keys().values(), &[1, 0, 1]);
}
