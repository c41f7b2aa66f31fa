//! Tables in every encoding: what old versions of anndata wrote, rows on demand, and round trips of every type.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, DurationSecondArray, Float32Array,
    Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use phenocoder_io::{
    ContainerVersion, ElementKind, Error, Frame, Matrix, NumericArray, NumericValues, Records,
    SparseFormat, SparseMatrix, Store, TableData, Uns, WriteMode,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};

const VERSIONS: [ContainerVersion; 2] = [ContainerVersion::V02, ContainerVersion::V01];

fn write_json(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).unwrap();
}

fn group(path: &Path, attributes: &Value) {
    fs::create_dir_all(path).unwrap();
    write_json(&path.join(".zgroup"), &json!({"zarr_format": 2}));
    write_json(&path.join(".zattrs"), attributes);
}

/// A Zarr v2 array with one chunk, not compressed.
fn array(path: &Path, shape: &[usize], dtype: &Value, bytes: &[u8], attributes: &Value) {
    fs::create_dir_all(path).unwrap();
    let filters = match dtype.as_str() {
        Some("|O") => json!([{"id": "vlen-utf8"}]),
        _ => Value::Null,
    };
    let chunks: Vec<usize> = shape.iter().map(|&n| n.max(1)).collect();
    write_json(
        &path.join(".zarray"),
        &json!({"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": dtype,
            "compressor": null, "fill_value": null, "order": "C", "filters": filters}),
    );
    write_json(&path.join(".zattrs"), attributes);
    let name = if shape.is_empty() {
        "0".to_owned()
    } else {
        vec!["0"; shape.len()].join(".")
    };
    fs::write(path.join(name), bytes).unwrap();
}

fn texts(texts: &[&str]) -> Vec<u8> {
    let mut bytes = (texts.len() as u32).to_le_bytes().to_vec();
    for text in texts {
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A table as anndata 0.7 wrote it: no encodings but those of data frames and sparse matrices.
fn legacy_store(path: &Path) {
    let none = json!({});
    group(path, &none);
    group(&path.join("table"), &none);
    let table = path.join("table/table");
    group(&table, &none);
    let frame = json!({"encoding-type": "dataframe", "encoding-version": "0.1.0",
        "_index": "cell", "column-order": ["type", "size/px", "count"]});
    let obs = table.join("obs");
    group(&obs, &frame);
    let object = json!("|O");
    array(
        &obs.join("cell"),
        &[3],
        &object,
        &texts(&["a", "b", "c"]),
        &none,
    );
    array(
        &obs.join("type"),
        &[3],
        &json!("|i1"),
        &[1, 0xff, 0],
        &json!({"categories": "__categories/type"}),
    );
    group(&obs.join("__categories"), &none);
    array(
        &obs.join("__categories/type"),
        &[2],
        &object,
        &texts(&["low", "high"]),
        &json!({"ordered": true}),
    );
    group(&obs.join("size"), &none);
    array(
        &obs.join("size/px"),
        &[3],
        &json!("<f4"),
        &floats(&[1.0, 2.0, 3.0]),
        &none,
    );
    array(
        &obs.join("count"),
        &[3],
        &json!(">i2"),
        &[0, 1, 0, 2, 1, 0],
        &none,
    );
    let frame = json!({"encoding-type": "dataframe", "encoding-version": "0.1.0",
        "_index": "_index", "column-order": []});
    group(&table.join("var"), &frame);
    array(
        &table.join("var/_index"),
        &[2],
        &object,
        &texts(&["x", "y"]),
        &none,
    );
    array(
        &table.join("X"),
        &[3, 2],
        &json!("<f4"),
        &floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        &none,
    );
    group(&table.join("uns"), &none);
    array(
        &table.join("uns/title"),
        &[],
        &json!("<U2"),
        &[b'h', 0, 0, 0, b'i', 0, 0, 0],
        &none,
    );
    let mut bytes = Vec::new();
    for (name, score) in [("A", 1.5_f32), ("Bc", 2.5)] {
        let mut text = [0_u8; 8];
        for (at, byte) in name.bytes().enumerate() {
            text[at * 4 + 3] = byte;
        }
        bytes.extend(text);
        bytes.extend(score.to_le_bytes());
    }
    array(
        &table.join("uns/ranks"),
        &[2],
        &json!([["0", ">U2"], ["score", "<f4"]]),
        &bytes,
        &none,
    );
}

fn column<T: 'static>(batch: &RecordBatch, at: usize) -> &T {
    batch.column(at).as_any().downcast_ref().unwrap()
}

#[test]
fn tables_of_anndata_0_7_are_read() {
    let folder = tempfile::tempdir().unwrap();
    legacy_store(folder.path());
    let store = Store::open(folder.path()).unwrap();
    let table = store.table("table").unwrap();
    assert_eq!(table.obs_columns(), ["type", "size/px", "count"]);
    let data = table.read_all().unwrap();
    assert_eq!(data.obs_names, ["a", "b", "c"]);
    assert_eq!(data.obs_index_name.as_deref(), Some("cell"));
    let types: &DictionaryArray<Int32Type> = column(&data.obs, 0);
    assert_eq!(
        types.keys().iter().collect::<Vec<_>>(),
        [Some(1), None, Some(0)]
    );
    let schema = data.obs.schema();
    assert_eq!(schema.field(0).metadata()["anndata.ordered"], "true");
    let sizes: &Float32Array = column(&data.obs, 1);
    assert_eq!(sizes.values(), &[1.0, 2.0, 3.0]);
    assert_eq!(table.obs(&["size/px"]).unwrap().num_columns(), 1);
    assert_eq!(data.uns["title"], Uns::from("hi"));
    let Uns::Records(ranks) = &data.uns["ranks"] else {
        panic!("{:?}", data.uns["ranks"]);
    };
    let names: &StringArray = column(&ranks.fields, 0);
    assert_eq!(names.iter().flatten().collect::<Vec<_>>(), ["A", "Bc"]);
    assert_eq!(ranks.fields.schema().field(0).name(), "0");
}

#[test]
fn a_table_of_spatialdata_before_0_1_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    legacy_store(&path);
    let old = path.join("table/table");
    let open = || Store::open(&path).unwrap();
    let new = TableData::new(vec!["new".into()], vec![], None);
    let written = open().write_table("table", &new, WriteMode::Replace);
    assert!(written.is_ok() && !old.exists());
    assert_eq!(open().table("table").unwrap().n_obs(), 1);
    // Where another program left both, the new one is seen, and goes and moves together with the old one.
    let put_back = |other: &str| {
        legacy_store(&folder.path().join(other));
        fs::create_dir_all(old.parent().unwrap()).unwrap();
        fs::rename(folder.path().join(other).join("table/table"), &old).unwrap();
    };
    put_back("one");
    assert_eq!(open().table("table").unwrap().n_obs(), 1);
    let kind = ElementKind::Table;
    open().rename(kind, "table", "cells").unwrap();
    assert_eq!(open().table_names(), ["cells"]);
    open().rename(kind, "cells", "table").unwrap();
    put_back("two");
    open().remove(kind, "table").unwrap();
    assert_eq!(open().table_names(), [""; 0]);
}

#[test]
fn records_in_the_place_of_a_frame_as_in_anndata_0_6_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    legacy_store(folder.path());
    let obs = folder.path().join("table/table/obs");
    fs::remove_dir_all(&obs).unwrap();
    let record = json!([["index", "|S1"], ["count", "<i4"]]);
    array(&obs, &[1], &record, b"a\x07\0\0\0", &json!({}));
    let refused = Store::open(folder.path()).unwrap().table("table");
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, Error::UnsupportedEncoding { key, .. } if key == "table/table/obs"),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("anndata before 0.7"),
        "{refused}"
    );
}

#[test]
fn columns_whose_names_hold_a_slash_are_read_and_refused_by_name_when_written() {
    // anndata 0.13: "Forward slashes are not allowed in keys"; spatialdata 0.8: "Table contains invalid names".
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.zarr");
    fs::create_dir(&old).unwrap();
    legacy_store(&old);
    let data = Store::open(&old).unwrap().table("table").unwrap();
    let data = data.read_all().unwrap();
    assert!(data.obs.column_by_name("size/px").is_some());
    let mut store = Store::create(folder.path().join("new.zarr"), ContainerVersion::V02).unwrap();
    let refused = store.write_table("t", &data, WriteMode::Create);
    assert!(
        matches!(&refused, Err(Error::InvalidName { name, .. }) if name == "size/px"),
        "{refused:?}"
    );
    assert!(store.table_names().is_empty());
}

#[test]
fn a_region_in_a_list_of_one_stays_a_list_when_it_is_copied() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zarr");
        let mut store = Store::create(&path, version).unwrap();
        let codes = DictionaryArray::<Int32Type>::from_iter(["cells", "cells"]);
        let obs = arrays(vec![
            ("region", Arc::new(codes) as ArrayRef),
            ("instance", Arc::new(Int64Array::from(vec![1, 2]))),
        ]);
        let attributes = |region: Uns| {
            Uns::Dict(BTreeMap::from([
                ("region".to_owned(), region),
                ("region_key".to_owned(), Uns::from("region")),
                ("instance_key".to_owned(), Uns::from("instance")),
            ]))
        };
        let mut table = TableData::new(vec!["a".into(), "b".into()], vec![], None).with_obs(obs);
        table.uns = BTreeMap::from([(
            "other".to_owned(),
            attributes(Uns::from(vec!["cells".to_owned()])),
        )]);
        store.write_table("t", &table, WriteMode::Create).unwrap();
        let uns = path.join("tables/t/uns");
        fs::rename(uns.join("other"), uns.join("spatialdata_attrs")).unwrap();
        let read = store.table("t").unwrap().read_all().unwrap();
        assert_eq!(read.annotation.as_ref().unwrap().regions, ["cells"]);
        store.write_table("copy", &read, WriteMode::Create).unwrap();
        assert_eq!(store.table("copy").unwrap().read_all().unwrap(), read);
        let metadata = |file: &str| -> Value {
            serde_json::from_slice(&fs::read(path.join("tables/copy").join(file)).unwrap()).unwrap()
        };
        let (shape, region) = match version {
            ContainerVersion::V02 => (
                metadata("uns/spatialdata_attrs/region/zarr.json")["shape"].clone(),
                metadata("zarr.json")["attributes"]["region"].clone(),
            ),
            _ => (
                metadata("uns/spatialdata_attrs/region/.zarray")["shape"].clone(),
                metadata(".zattrs")["region"].clone(),
            ),
        };
        assert_eq!((shape, region), (json!([1]), json!(["cells"])));
    }
}

#[test]
fn paths_of_old_tables_cannot_leave_the_table() {
    for bad in ["../X", "/etc/passwd", "a\\b", ".", "type/../count", "a//b"] {
        let folder = tempfile::tempdir().unwrap();
        legacy_store(folder.path());
        let obs = folder.path().join("table/table/obs");
        let attributes = json!({"categories": bad});
        write_json(&obs.join("type/.zattrs"), &attributes);
        let table = Store::open(folder.path()).unwrap().table("table").unwrap();
        let error = table.obs(&["type"]);
        assert!(matches!(error, Err(Error::InvalidPath { .. })), "{bad}");
        let frame = json!({"encoding-type": "dataframe", "_index": "cell", "column-order": [bad]});
        write_json(&obs.join(".zattrs"), &frame);
        let error = Store::open(folder.path()).unwrap().table("table");
        assert!(matches!(error, Err(Error::InvalidPath { .. })), "{bad}");
    }
    // Categories that are codes of categories would never end.
    let folder = tempfile::tempdir().unwrap();
    legacy_store(folder.path());
    let place = folder.path().join("table/table/obs/type/.zattrs");
    write_json(&place, &json!({"categories": "type"}));
    let table = Store::open(folder.path()).unwrap().table("table").unwrap();
    assert!(table.obs(&["type"]).is_err());
}

fn arrays(values: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(values).unwrap()
}

#[test]
fn records_bytes_and_times_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let column = |values: ArrayRef| Uns::Column {
        values,
        ordered: false,
        na_value: None,
    };
    let times = TimestampNanosecondArray::from(vec![Some(1_577_836_800_000_000_000), None]);
    let spans = DurationSecondArray::from(vec![Some(-5), None]);
    let fields = arrays(vec![
        (
            "names",
            Arc::new(StringArray::from(vec!["CD3", "größe", "", "図"])),
        ),
        (
            "scores",
            Arc::new(Float32Array::from(vec![1.0, -0.0, f32::MAX, 2.0])),
        ),
        (
            "ids",
            Arc::new(UInt64Array::from(vec![u64::MAX, 1 << 53, (1 << 53) + 1, 0])),
        ),
        (
            "ok",
            Arc::new(BooleanArray::from(vec![true, false, true, true])),
        ),
        (
            "raw",
            Arc::new(BinaryArray::from(vec![b"a".as_slice(), b"", b"bcd", b"x"])),
        ),
    ]);
    let records = Records {
        shape: vec![2, 2],
        fields,
    };
    let single = Records {
        shape: vec![],
        fields: records.fields.slice(1, 1),
    };
    let none = Records {
        shape: vec![0],
        fields: records.fields.slice(0, 0),
    };
    let u64s = NumericValues::UInt64(vec![u64::MAX, (1 << 53) + 1]);
    let mut table = TableData::new(vec!["a".into(), "b".into()], vec![], None)
        .with_uns("records", records)
        .with_uns("single", single)
        .with_uns("none", none)
        .with_uns("bytes", b"ab\0c".to_vec())
        .with_uns(
            "many",
            column(Arc::new(BinaryArray::from(vec![b"a".as_slice(), b"bc"]))),
        )
        .with_uns("times", column(Arc::new(times.clone())))
        .with_uns("spans", column(Arc::new(spans)))
        .with_uns(
            "u64",
            Uns::Numbers(NumericArray::new(vec![2], u64s).unwrap()),
        )
        .with_uns("i64", i64::MIN + 1);
    let obs: Vec<(&str, ArrayRef)> = vec![
        ("time", Arc::new(times)),
        (
            "id",
            Arc::new(Int64Array::from(vec![i64::MAX, (1 << 53) + 1])),
        ),
    ];
    table = table.with_obs(
        RecordBatch::try_from_iter_with_nullable(obs.into_iter().map(|(name, a)| {
            let nullable = a.null_count() > 0;
            (name, a, nullable)
        }))
        .unwrap(),
    );
    for version in VERSIONS {
        let path = folder.path().join(version.as_str());
        let mut store = Store::create(&path, version).unwrap();
        store.write_table("t", &table, WriteMode::Create).unwrap();
        let found = Store::open(&path).unwrap().table("t").unwrap();
        let found = found.read_all().unwrap();
        for (name, value) in &table.uns {
            assert_eq!(&found.uns[name], value, "{name} in {version:?}");
        }
        assert_eq!(found, table);
    }
}

/// A matrix `[7, 5]` with an empty row and an empty column, in both formats.
fn sparse(format: SparseFormat) -> SparseMatrix {
    let at = |row: usize, column: usize| {
        (row != 3 && column != 2 && (row + column).is_multiple_of(2))
            .then_some((row * 10 + column) as i16)
    };
    let (major, minor) = match format {
        SparseFormat::Csr => (7, 5),
        SparseFormat::Csc => (5, 7),
    };
    let (mut indptr, mut indices, mut values) = (vec![0], vec![], vec![]);
    for i in 0..major {
        for j in (0..minor).rev() {
            let value = match format {
                SparseFormat::Csr => at(i, j),
                SparseFormat::Csc => at(j, i),
            };
            if let Some(value) = value {
                indices.push(j as u32);
                values.push(value);
            }
        }
        indptr.push(indices.len());
    }
    let values = NumericValues::Int16(values);
    SparseMatrix::new(format, (7, 5), indptr, indices, values).unwrap()
}

fn names(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i}")).collect()
}

#[test]
fn rows_of_matrices_are_the_rows_of_the_whole() {
    let folder = scratch();
    let whole = sparse(SparseFormat::Csr).to_dense_f64().unwrap();
    assert_eq!(whole, sparse(SparseFormat::Csc).to_dense_f64().unwrap());
    let matrices = [
        Matrix::Sparse(sparse(SparseFormat::Csr)),
        Matrix::Sparse(sparse(SparseFormat::Csc)),
        Matrix::DenseF32(whole.mapv(|v| v as f32)),
    ];
    for (i, matrix) in matrices.into_iter().enumerate() {
        for version in VERSIONS {
            let path = folder.path().join(format!("{i}_{}", version.as_str()));
            let mut store = Store::create(&path, version).unwrap();
            let table = TableData::new(names("o", 7), names("v", 5), Some(matrix.clone()))
                .with_layer("l", matrix.clone());
            store.write_table("t", &table, WriteMode::Create).unwrap();
            let table = store.table("t").unwrap();
            for start in 0..=7 {
                for end in start..=7 {
                    let rows = table.x_rows(start..end).unwrap().unwrap();
                    let expected = whole.slice(ndarray::s![start..end, ..]);
                    assert_eq!(rows.to_dense_f64().unwrap(), expected, "{start}..{end}");
                    assert_eq!(table.layer_rows("l", start..end).unwrap(), rows);
                }
            }
            assert_eq!(table.x_rows(0..7).unwrap(), Some(matrix.clone()));
            let outside = table.x_rows(5..8);
            assert!(matches!(outside, Err(Error::InvalidMetadata { .. })));
        }
    }
}

/// Replaces a one-dimensional `int32` array of a Zarr v3 table by other numbers.
fn replace(place: &Path, values: &[i32]) {
    let file = place.join("zarr.json");
    let mut node: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    node["shape"] = json!([values.len()]);
    node["chunk_grid"]["configuration"]["chunk_shape"] = json!([values.len()]);
    node["codecs"] = json!([{"name": "bytes", "configuration": {"endian": "little"}}]);
    write_json(&file, &node);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    fs::create_dir_all(place.join("c")).unwrap();
    fs::write(place.join("c/0"), bytes).unwrap();
}

#[test]
fn pointers_and_indices_are_checked_when_rows_are_read() {
    for format in [SparseFormat::Csr, SparseFormat::Csc] {
        let matrix = sparse(format);
        let good: Vec<i32> = matrix.indptr().iter().map(|&p| p as i32).collect();
        let n = *good.last().unwrap();
        let mut falling = good.clone();
        falling[2] = 0;
        let mut negative = good.clone();
        negative[1] = -1;
        let mut first = good.clone();
        first[0] = 1;
        let mut beyond = good.clone();
        *beyond.last_mut().unwrap() = n + 1;
        let mut short = good.clone();
        *short.last_mut().unwrap() = n - 1;
        let indices: Vec<i32> = matrix.indices().iter().map(|&i| i as i32).collect();
        let mut outside = indices.clone();
        outside[0] = 7;
        let cases = [
            ("indptr", falling),
            ("indptr", negative),
            ("indptr", first),
            ("indptr", beyond),
            ("indptr", short),
            ("indices", outside),
        ];
        for (name, values) in cases {
            let folder = scratch();
            let path = folder.path().join("s");
            let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
            let table = TableData::new(names("o", 7), names("v", 5), Some(matrix.clone().into()));
            store.write_table("t", &table, WriteMode::Create).unwrap();
            replace(&path.join("tables/t/X").join(name), &values);
            let table = store.table("t").unwrap();
            let error = table.x_rows(0..7);
            assert!(
                matches!(error, Err(Error::InvalidSparse { .. })),
                "{format:?} {name} {values:?}: {error:?}"
            );
            assert!(matches!(table.x(), Err(Error::InvalidSparse { .. })));
        }
    }
}

#[test]
fn the_kind_of_missing_text_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let mut table = TableData::new(names("o", 2), vec![], None);
    for na in ["NA", "NaN"] {
        for (name, texts) in [("full", ["a", "b"].map(Some)), ("part", [Some("a"), None])] {
            let values: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
            table = table.with_uns(
                format!("{name}_{na}"),
                Uns::Column {
                    values,
                    ordered: false,
                    na_value: Some(na.into()),
                },
            );
        }
    }
    store.write_table("t", &table, WriteMode::Create).unwrap();
    let found = store.table("t").unwrap().read_all().unwrap();
    assert_eq!(found, table);
    let ints: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    assert_eq!(ints.null_count(), 1);
}

fn types() -> impl Strategy<Value = NumericValues> {
    (0..12_usize).prop_flat_map(|kind| {
        let whole = prop::collection::vec(prop_oneof![Just(0_i64), any::<i64>()], 0..40);
        whole.prop_map(move |v| {
            // Exact in 16 bits, and finite.
            let floats = || v.iter().map(|&v| (v % 1024) as f64 / 64.0);
            match kind {
                0 => NumericValues::Bool(v.iter().map(|&v| v % 2 != 0).collect()),
                1 => NumericValues::UInt8(v.iter().map(|&v| v as u8).collect()),
                2 => NumericValues::UInt16(v.iter().map(|&v| v as u16).collect()),
                3 => NumericValues::UInt32(v.iter().map(|&v| v as u32).collect()),
                4 => NumericValues::UInt64(v.iter().map(|&v| v as u64).collect()),
                5 => NumericValues::Int8(v.iter().map(|&v| v as i8).collect()),
                6 => NumericValues::Int16(v.iter().map(|&v| v as i16).collect()),
                7 => NumericValues::Int32(v.iter().map(|&v| v as i32).collect()),
                8 => NumericValues::Int64(v),
                9 => NumericValues::Float16(floats().map(half::f16::from_f64).collect()),
                10 => NumericValues::Float32(floats().map(|v| v as f32).collect()),
                _ => NumericValues::Float64(floats().collect()),
            }
        })
    })
}

/// A sparse matrix of any type, with unsorted indices and stored zeros.
fn sparse_of_any_type() -> impl Strategy<Value = SparseMatrix> {
    (types(), 0..6_usize, 1..7_usize, any::<u64>(), any::<bool>()).prop_map(
        |(values, major, minor, seed, by_rows)| {
            let values = if major == 0 {
                NumericValues::Float32(Vec::new())
            } else {
                values
            };
            let n = values.len();
            let mut cuts: Vec<usize> = (1..major)
                .map(|i| (seed.rotate_left(i as u32 * 7) % (n as u64 + 1)) as usize)
                .collect();
            cuts.sort_unstable();
            let mut indptr = vec![0];
            indptr.extend(cuts);
            if major > 0 {
                indptr.push(n);
            }
            let indices = (0..n)
                .map(|i| (seed.rotate_right(i as u32) % minor as u64) as u32)
                .collect();
            let (format, shape) = if by_rows {
                (SparseFormat::Csr, (major, minor))
            } else {
                (SparseFormat::Csc, (minor, major))
            };
            SparseMatrix::new(format, shape, indptr, indices, values).unwrap()
        },
    )
}

fn field(name: &str, array: &ArrayRef, metadata: &[(&str, &str)]) -> Field {
    let metadata = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let metadata: HashMap<String, String> = metadata.collect();
    let nullable = array.null_count() > 0 || metadata.contains_key("anndata.encoding");
    Field::new(name, array.data_type().clone(), nullable).with_metadata(metadata)
}

/// Values of a kind, some of them missing, with the field that a reader gives them.
fn any_column(rows: usize) -> impl Strategy<Value = (Field, ArrayRef)> {
    let values = prop::collection::vec(prop::option::weighted(0.7, any::<i64>()), rows);
    (0..16_usize, values, any::<bool>()).prop_map(|(kind, values, flag)| {
        let integer = |array: ArrayRef| {
            let field = field("c", &array, &[("anndata.encoding", "nullable-integer")]);
            (field, array)
        };
        macro_rules! nullable {
            ($array:ty, $type:ty) => {
                integer(Arc::new(<$array>::from_iter(
                    values.iter().map(|v| v.map(|v| v as $type)),
                )))
            };
        }
        let codes: Int32Array = values.iter().map(|v| v.map(|v| (v & 1) as i32)).collect();
        let categories = |categories: ArrayRef| {
            let array: ArrayRef = Arc::new(DictionaryArray::new(codes.clone(), categories));
            let ordered: &[_] = if flag {
                &[("anndata.ordered", "true")]
            } else {
                &[]
            };
            (field("c", &array, ordered), array)
        };
        let text = |v: &i64| format!("{}ß", v % 100);
        match kind {
            0 => nullable!(arrow::array::UInt8Array, u8),
            1 => nullable!(arrow::array::UInt16Array, u16),
            2 => nullable!(arrow::array::UInt32Array, u32),
            3 => nullable!(UInt64Array, u64),
            4 => nullable!(arrow::array::Int8Array, i8),
            5 => nullable!(arrow::array::Int16Array, i16),
            6 => nullable!(Int32Array, i32),
            7 => nullable!(Int64Array, i64),
            8 => {
                let array: ArrayRef = Arc::new(BooleanArray::from_iter(
                    values.iter().map(|v| v.map(|v| v > 0)),
                ));
                let encoding = [("anndata.encoding", "nullable-boolean")];
                (field("c", &array, &encoding), array)
            }
            9 => {
                let texts = values.iter().map(|v| v.as_ref().map(text));
                let array: ArrayRef = Arc::new(StringArray::from_iter(texts));
                let na = if flag { "NaN" } else { "NA" };
                let encoding = [
                    ("anndata.encoding", "nullable-string-array"),
                    ("anndata.na-value", na),
                ];
                (field("c", &array, &encoding), array)
            }
            10 => {
                let texts = values.iter().map(|v| text(&v.unwrap_or(0)));
                let array: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
                (field("c", &array, &[]), array)
            }
            11 => categories(Arc::new(StringArray::from(vec!["z", "a", "unused"]))),
            12 => categories(Arc::new(Int64Array::from(vec![i64::MAX, -1]))),
            13 => categories(Arc::new(Float64Array::from(vec![0.5, -0.0]))),
            14 => categories(Arc::new(BooleanArray::from(vec![true, false]))),
            _ => {
                let times = values.iter().map(|v| v.filter(|&v| v != i64::MIN));
                let array: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter(times));
                (field("c", &array, &[]), array)
            }
        }
    })
}

fn any_frame(rows: usize) -> impl Strategy<Value = RecordBatch> {
    prop::collection::vec(any_column(rows), 0..6).prop_map(move |columns| {
        let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns
            .into_iter()
            .enumerate()
            .map(|(i, (field, array))| (field.with_name(format!("c{i}")), array))
            .unzip();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::new(Schema::new(fields));
        RecordBatch::try_new_with_options(schema, arrays, &options).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn columns_of_every_type_come_back_with_what_is_missing(
        (obs, var) in (0..9_usize, 0..5_usize)
            .prop_flat_map(|(n, p)| (any_frame(n), any_frame(p))),
    ) {
        let (n, p) = (obs.num_rows(), var.num_rows());
        let mut table = TableData::new(names("o", n), names("v", p), None)
            .with_obs(obs.clone())
            .with_var(var.clone());
        table.obs_index_name = Some("cell_id".to_owned());
        let index: ArrayRef = Arc::new(Int64Array::from_iter_values(0..p as i64));
        let frame = Frame { index, index_name: None, columns: var };
        let inner = BTreeMap::from([("frame".to_owned(), Uns::Frame(frame))]);
        table = table.with_uns("nested", Uns::Dict(inner));
        let index: ArrayRef = Arc::new(StringArray::from_iter_values(names("o", n)));
        let frame = Frame { index, index_name: Some("i".to_owned()), columns: obs };
        table.obsm.insert("frame".to_owned(), Uns::Frame(frame));
        round_trip(&table)?;
    }

    #[test]
    fn sparse_matrices_of_every_type_come_back(matrix in sparse_of_any_type(), at in 0.0..1.0_f64) {
        let (n, p) = matrix.shape();
        let table = TableData::new(names("o", n), names("v", p), Some(matrix.clone().into()))
            .with_layer("same", matrix.clone())
            .with_uns("free", Uns::Sparse(matrix.clone()));
        round_trip(&table)?;
        // Some rows of it are those rows of the whole.
        let folder = scratch();
        let mut store = Store::create(folder.path().join("s"), ContainerVersion::V02).unwrap();
        store.write_table("t", &table, WriteMode::Create).unwrap();
        let start = (at * n as f64) as usize;
        let rows = store.table("t").unwrap().x_rows(start..n).unwrap().unwrap();
        let whole = matrix.to_dense_f64().unwrap();
        prop_assert_eq!(rows.to_dense_f64().unwrap(), whole.slice(ndarray::s![start.., ..]));
    }

    #[test]
    fn dense_numbers_of_every_type_come_back(values in types(), three in any::<bool>()) {
        let n = values.len();
        let shape = if three { vec![n, 1, 1] } else { vec![1, n] };
        let numbers = NumericArray::new(shape, values).unwrap();
        let table = TableData::new(vec![], vec![], None).with_uns("numbers", Uns::Numbers(numbers));
        round_trip(&table)?;
    }
}

/// A folder in memory where there is one: every write waits for the disk.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// Writes a table in both containers and reads it again.
fn round_trip(table: &TableData) -> Result<(), TestCaseError> {
    let folder = scratch();
    for version in VERSIONS {
        let path = folder.path().join(version.as_str());
        let mut store = Store::create(&path, version).unwrap();
        store.write_table("t", table, WriteMode::Create).unwrap();
        let store = Store::open(&path).unwrap();
        let found = store.table("t").unwrap().read_all().unwrap();
        prop_assert_eq!(&found, table);
        let violations = phenocoder_io::validate(&store);
        prop_assert!(violations.is_empty(), "{violations:?}");
    }
    Ok(())
}
