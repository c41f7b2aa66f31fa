//! What may be written as a table, and comes back: names and lengths in data frames, categories, bytes, records and texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use phenocoder_io::{
    ContainerVersion, Error, Frame, RawData, Records, Store, TableData, TextArray, Uns, WriteMode,
};

use crate::store_with;

const VERSIONS: [ContainerVersion; 2] = [ContainerVersion::V02, ContainerVersion::V01];

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn bytes(values: &[&[u8]]) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(values))
}

fn column(values: ArrayRef) -> Uns {
    Uns::Column {
        values,
        ordered: false,
        na_value: None,
    }
}

fn records(fields: Vec<(&str, ArrayRef)>) -> Uns {
    let fields = RecordBatch::try_from_iter(fields).unwrap();
    Uns::from(Records {
        shape: vec![fields.num_rows()],
        fields,
    })
}

/// A data frame of two rows with columns of these names.
fn frame(index_name: Option<&str>, columns: &[&str]) -> Frame {
    let field = |name: &&str| Field::new(*name, DataType::Int64, false);
    let fields: Vec<Field> = columns.iter().map(field).collect();
    let values = |at: usize| Arc::new(Int64Array::from(vec![at as i64, 7])) as ArrayRef;
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let columns = RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        (0..columns.len()).map(values).collect(),
        &options,
    );
    Frame {
        index: texts(&["a", "b"]),
        index_name: index_name.map(str::to_owned),
        columns: columns.unwrap(),
    }
}

/// A table of two rows and two variables.
fn table() -> TableData {
    let names = vec!["a".to_owned(), "b".to_owned()];
    TableData::new(names.clone(), names, None)
}

/// Tables with a value wherever it may lie, and where.
fn everywhere(value: &Uns) -> [(&'static str, TableData); 5] {
    let entry = || BTreeMap::from([("f".to_owned(), value.clone())]);
    let inner = BTreeMap::from([("d".to_owned(), Uns::Dict(entry()))]);
    let mut varm = table();
    varm.varm = entry();
    let mut raw = table();
    raw.raw = Some(RawData {
        var_names: raw.var_names.clone(),
        var_index_name: None,
        var: raw.var.clone(),
        x: None,
        varm: entry(),
    });
    [
        ("uns/f", table().with_uns("f", value.clone())),
        ("uns/c/d/f", table().with_uns("c", Uns::Dict(inner))),
        ("obsm/f", table().with_obsm("f", value.clone())),
        ("varm/f", varm),
        ("raw/varm/f", raw),
    ]
}

fn assert_refused(store: &mut Store, table: &TableData, place: &str) {
    let refused = store.write_table("t", table, WriteMode::Create);
    assert!(
        matches!(&refused, Err(Error::InvalidTable { place: at, .. }) if at == place),
        "{place}: {refused:?}"
    );
    assert!(store.table_names().is_empty());
}

fn assert_comes_back(table: &TableData) {
    for version in VERSIONS {
        let (_folder, path, _) = store_with(version, "t", table);
        let found = Store::open(&path).unwrap().table("t").unwrap();
        assert_eq!(&found.read_all().unwrap(), table, "{version:?}");
    }
}

#[test]
fn names_in_data_frames_lead_to_no_other_place() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("evil");
    let absolute = outside.display().to_string();
    let names = [
        absolute.as_str(),
        // From `a.zarr/tables/t/uns/f`.
        "../../../../../evil",
        "CD3/CD8",
        "a\\b",
        "",
        ".",
        "..",
        ".hidden",
        "zarr.json",
    ];
    for version in VERSIONS {
        let path = folder.path().join(version.as_str());
        let mut store = Store::create(path, version).unwrap();
        for name in names {
            for frame in [frame(None, &["n", name]), frame(Some(name), &["n"])] {
                for (place, table) in everywhere(&Uns::Frame(frame)) {
                    assert_refused(&mut store, &table, &format!("{place}/{name}"));
                }
            }
        }
    }
    assert!(!outside.exists());
}

#[test]
fn columns_and_the_index_of_a_data_frame_do_not_share_a_place() {
    let cases = [
        (frame(Some("gene"), &["n", "gene"]), "gene"),
        (frame(None, &["_index"]), "_index"),
        (frame(None, &["n", "m", "n"]), "n"),
    ];
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("s.zarr"), version).unwrap();
        for (frame, name) in &cases {
            for (place, table) in everywhere(&Uns::Frame(frame.clone())) {
                assert_refused(&mut store, &table, &format!("{place}/{name}"));
            }
        }
    }
}

#[test]
fn columns_of_a_data_frame_have_one_value_for_every_name_of_its_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(path, ContainerVersion::V02).unwrap();
    for index in [vec!["a"], vec!["a", "b", "c"]] {
        let frame = Frame {
            index: texts(&index),
            ..frame(None, &["n"])
        };
        for (place, table) in everywhere(&Uns::Frame(frame)) {
            assert_refused(&mut store, &table, place);
        }
    }
}

/// anndata writes such names of columns, and zarr-python finds them.
#[test]
fn columns_in_data_frames_have_any_other_name() {
    let names = [
        "mean area",
        "a.b",
        "__x",
        "n#1",
        "größe (µm²)",
        "50 %",
        "_index",
        "zmetadata",
    ];
    for (_, table) in everywhere(&Uns::Frame(frame(Some("cell id"), &names))) {
        assert_comes_back(&table);
    }
}

/// anndata gives an index the name of a column where both hold the same.
#[test]
fn a_column_that_is_the_index_too_is_written_back() {
    let index = texts(&["CD3", "CD8"]);
    let columns = vec![("n", texts(&["x", "y"])), ("gene", Arc::clone(&index))];
    let frame = Frame {
        index,
        index_name: Some("gene".to_owned()),
        columns: RecordBatch::try_from_iter(columns).unwrap(),
    };
    for (_, table) in everywhere(&Uns::Frame(frame)) {
        assert_comes_back(&table);
    }
}

/// The codes and the categories of a column.
fn parts(column: &ArrayRef) -> (Vec<Option<i32>>, ArrayRef) {
    let column = column.as_any().downcast_ref::<DictionaryArray<Int32Type>>();
    let column = column.unwrap();
    (column.keys().iter().collect(), Arc::clone(column.values()))
}

/// pandas: "Categorical categories must be unique" and "cannot be null"; concatenated columns of Arrow have such.
#[test]
fn categories_that_are_the_same_are_written_as_one_and_missing_ones_as_missing_values() {
    let categories = |values: ArrayRef| -> ArrayRef {
        let codes = Int32Array::from(vec![Some(0), Some(3), Some(2), Some(4), None]);
        Arc::new(DictionaryArray::new(codes, values))
    };
    let labels = vec![Some("T"), Some("B"), Some("T"), Some("B"), None];
    let labels = categories(Arc::new(StringArray::from(labels)));
    let levels = vec![0.5, 9.0, 0.5, -0.0, f64::NAN];
    let levels = categories(Arc::new(Float64Array::from(levels)));
    let columns = vec![("label", Arc::clone(&labels)), ("level", levels)];
    let names = (0..5).map(|row| row.to_string()).collect();
    let table = TableData::new(names, vec![], None)
        .with_obs(RecordBatch::try_from_iter(columns).unwrap())
        .with_uns("label", column(labels));
    let of_labels = (
        vec![Some(0), Some(1), Some(0), None, None],
        texts(&["T", "B"]),
    );
    let levels: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 9.0, -0.0]));
    let of_levels = (vec![Some(0), Some(2), Some(0), None, None], levels);
    for version in VERSIONS {
        let (_folder, _, store) = store_with(version, "t", &table);
        let found = store.table("t").unwrap().read_all().unwrap();
        assert_eq!(parts(found.obs.column(0)), of_labels);
        assert_eq!(parts(found.obs.column(1)), of_levels);
        let Uns::Column { values, .. } = &found.uns["label"] else {
            panic!("{:?}", found.uns["label"]);
        };
        assert_eq!(parts(values), of_labels);
    }
}

#[test]
fn bytes_that_end_in_zero_come_back() {
    let with_zeros = || bytes(&[b"a\0".as_slice(), b"\0\0"]);
    let without = || bytes(&[b"".as_slice(), b"\0bc"]);
    let mut table = table()
        .with_obs(RecordBatch::try_from_iter([("b", with_zeros())]).unwrap())
        .with_uns("column", column(with_zeros()))
        .with_uns("shorter", column(without()))
        .with_uns(
            "records",
            records(vec![("b", with_zeros()), ("c", without())]),
        );
    let values = [vec![1_u8, 0], vec![0], vec![0; 3], vec![], vec![0, 7]];
    for (at, value) in values.into_iter().enumerate() {
        table = table.with_uns(format!("bytes_{at}"), value);
    }
    assert_comes_back(&table);
}

#[test]
fn what_bytes_and_records_cannot_keep_is_refused_by_name() {
    let of_field = |array: ArrayRef| records(vec![("f", array)]);
    let mixed = || bytes(&[b"a\0".as_slice(), b"abc"]);
    let missing: ArrayRef = Arc::new(BinaryArray::from(vec![Some(b"a".as_slice()), None]));
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let cases = [
        (column(mixed()), "uns/u"),
        (column(Arc::clone(&missing)), "uns/u"),
        (of_field(mixed()), "uns/u/f"),
        (of_field(missing), "uns/u/f"),
        (
            of_field(Arc::new(Int64Array::from(vec![Some(1), None]))),
            "uns/u/f",
        ),
        (
            of_field(Arc::new(BooleanArray::from(vec![Some(true), None]))),
            "uns/u/f",
        ),
        (
            of_field(Arc::new(StringArray::from(vec![Some("a"), None]))),
            "uns/u/f",
        ),
        (of_field(texts(&["a", "b\0"])), "uns/u/f"),
        (records(vec![("", Arc::clone(&ints))]), "uns/u"),
        (
            records(vec![("f", Arc::clone(&ints)), ("f", ints)]),
            "uns/u",
        ),
    ];
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("s.zarr"), version).unwrap();
        for (value, place) in &cases {
            let table = table().with_uns("u", value.clone());
            assert_refused(&mut store, &table, place);
        }
        // The whole path of the entry is told.
        for (place, table) in everywhere(&column(mixed())) {
            assert_refused(&mut store, &table, place);
        }
    }
}

#[test]
fn floats_that_records_miss_are_nan() {
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![Some(1.5), None]));
    let table = table().with_uns("u", records(vec![("f", floats)]));
    for version in VERSIONS {
        let (_folder, _, store) = store_with(version, "t", &table);
        let found = store.table("t").unwrap().uns().unwrap();
        let Uns::Records(found) = &found["u"] else {
            panic!("{found:?}");
        };
        let column = found.fields.column(0).as_any();
        let column: &Float32Array = column.downcast_ref().unwrap();
        assert_eq!(column.value(0), 1.5);
        assert!(column.value(1).is_nan());
    }
}

#[test]
fn there_is_one_text_for_every_place_of_a_shape() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(path, ContainerVersion::V02).unwrap();
    let cases = [
        (vec![2, 2], 3),
        (vec![2, 2], 5),
        (vec![2], 3),
        (vec![2, 0], 1),
        (vec![2, usize::MAX], 2),
        (vec![], 0),
        (vec![], 2),
    ];
    for (shape, n) in cases {
        let values = vec!["x".to_owned(); n];
        let texts = Uns::Texts(TextArray { shape, values });
        for (place, table) in everywhere(&texts) {
            assert_refused(&mut store, &table, place);
        }
    }
}
