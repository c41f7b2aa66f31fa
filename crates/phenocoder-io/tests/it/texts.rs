//! Long texts, texts that claim more than the limits allow, and damaged ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, RecordBatch, StringArray, StringViewArray, UInt32Array,
};
use arrow::compute::take;
use phenocoder_core::Column;
use phenocoder_io::{
    ContainerVersion, Error, OpenOptions, Records, Store, TableData, Uns, WriteMode,
    column_to_arrow,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{files, store_with};

const MIB: u64 = 1 << 20;
const VERSIONS: [ContainerVersion; 2] = [ContainerVersion::V02, ContainerVersion::V01];

fn long_texts(n: usize, len: usize) -> Vec<String> {
    (0..n).map(|at| format!("{at:0len$}")).collect()
}

/// A table of `n` rows with one column of texts.
fn table_of(texts: Vec<String>) -> TableData {
    let names = (0..texts.len()).map(|at| at.to_string()).collect();
    TableData::new(names, vec![], None)
        .with_obs_column("text", Column::Text(texts))
        .unwrap()
}

/// A table in Zarr v3, and where it lies.
fn table(data: &TableData) -> (TempDir, PathBuf, PathBuf) {
    let (folder, path, _) = store_with(ContainerVersion::V02, "t", data);
    let table = path.join("tables/t");
    (folder, path, table)
}

/// Changes the metadata of a node.
fn edit(node: &Path, change: impl FnOnce(&mut Value)) {
    let file = node.join("zarr.json");
    let mut metadata = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut metadata);
    fs::write(file, metadata.to_string()).unwrap();
}

/// Makes an array one of which no chunk is stored.
fn fill(node: &Path, shape: &[u64], data_type: &Value, fill_value: &Value) {
    let chunks = node.join("c");
    let _ = fs::remove_file(&chunks).or_else(|_| fs::remove_dir_all(&chunks));
    edit(node, |metadata| {
        metadata["shape"] = json!(shape);
        metadata["chunk_grid"]["configuration"]["chunk_shape"] = json!(shape);
        metadata["data_type"] = data_type.clone();
        metadata["fill_value"] = fill_value.clone();
        if let Some(attributes) = metadata["attributes"].as_object_mut() {
            attributes.remove("phenocoder");
        }
        if *data_type != "string" {
            metadata["codecs"] = json!([{"name": "bytes", "configuration": {"endian": "little"}}]);
        }
    });
}

fn within(path: &Path, array: u64, chunk: u64) -> Store {
    let options = OpenOptions::default()
        .with_max_array_bytes(array)
        .with_max_chunk_bytes(chunk);
    Store::open_with(path, options).unwrap()
}

fn assert_too_large<T: std::fmt::Debug>(found: phenocoder_io::Result<T>, key: &str) {
    match found {
        Err(Error::TooLarge { key: at, .. }) => assert!(at.contains(key), "{at}"),
        other => panic!("{key}: {:.300}", format!("{other:?}")),
    }
}

#[test]
fn long_texts_come_back() {
    let data = table_of(long_texts(400, 50_000)).with_uns("long", "x".repeat(17 << 20).as_str());
    for version in VERSIONS {
        let (_folder, _, store) = store_with(version, "t", &data);
        let found = store.table("t").unwrap().read_all().unwrap();
        assert!(found == data, "{:?}", found.unsupported());
    }
}

#[test]
fn chunks_of_long_texts_hold_fewer_of_them() {
    let (_folder, _, table) = table(&table_of(long_texts(200, 50_000)));
    let chunks = files(&table.join("obs/text/c")).len();
    assert!((3..=4).contains(&chunks), "{chunks}");
    assert_eq!(files(&table.join("obs/_index/c")).len(), 1);
}

#[test]
fn texts_beyond_the_limits_are_too_large_and_not_damaged() {
    let (_folder, path, _) = table(&table_of(long_texts(40, 50_000)));
    let column = |store: Store| store.table("t").unwrap().obs(&["text"]);
    assert_too_large(column(within(&path, 4 * MIB, MIB)), "obs/text/c/0");
    assert_too_large(column(within(&path, MIB, 4 * MIB)), "obs/text");
    let found = column(within(&path, 4 * MIB, 4 * MIB)).unwrap();
    assert_eq!(found.num_rows(), 40);
    // The chunks are within the limit, and all of them together are not.
    let (_folder, path, _) = table(&table_of(long_texts(200, 50_000)));
    assert_too_large(column(within(&path, 6 * MIB, 6 * MIB)), "obs/text");
}

#[test]
fn a_long_fill_value_in_many_rows_is_too_large() {
    let (_folder, path, table) = table(&table_of(long_texts(4, 1)));
    let long = json!("y".repeat(100_000));
    for node in ["obs/_index", "obs/text"] {
        fill(&table.join(node), &[300], &json!("string"), &long);
    }
    let store = within(&path, MIB, 16 * MIB);
    let found = store.table("t").unwrap();
    assert_too_large(found.obs_names(), "obs/_index");
    assert_too_large(found.obs(&["text"]), "obs/text");
    assert!(!phenocoder_io::validate(&store).is_empty());
    let sound = within(&path, 64 * MIB, 16 * MIB);
    assert_eq!(sound.table("t").unwrap().obs_names().unwrap().len(), 300);
}

/// A table with one entry.
fn with_uns(value: impl Into<Uns>) -> TableData {
    table_of(vec!["x".into()]).with_uns("u", value)
}

/// Refuses to write a table, and names the entry of it that is too large.
fn assert_not_written(store: &mut Store, table: &TableData, entry: &str) {
    let refused = store.write_table("t", table, WriteMode::Create);
    assert!(
        matches!(&refused, Err(Error::TooLarge { key, .. }) if key == entry),
        "{entry}: {refused:?}"
    );
    assert!(store.table_names().is_empty());
}

#[test]
#[cfg(target_pointer_width = "64")]
fn what_is_too_long_to_be_read_back_is_not_written() {
    // Zeros that nobody writes to take no memory.
    let long = String::from_utf8(vec![0; 1 << 31]).unwrap();
    let column = Column::Text(vec![long]);
    let refused = column_to_arrow("c", &column);
    assert!(matches!(&refused, Err(Error::TooLarge { key, .. }) if key == "c"));
    let Column::Text(mut texts) = column else {
        unreachable!()
    };
    let text = with_uns(Uns::Text(texts.remove(0)));
    let bytes = with_uns(vec![0_u8; 1 << 31]);
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("s.zarr"), version).unwrap();
        for table in [&text, &bytes, &with_uns(vec![1_u8; MIB as usize + 1])] {
            assert_not_written(&mut store, table, "uns/u");
        }
        let longest = with_uns(vec![1_u8; MIB as usize]);
        store.write_table("t", &longest, WriteMode::Create).unwrap();
        assert!(store.table("t").unwrap().read_all().unwrap() == longest);
    }
}

#[test]
#[cfg(target_pointer_width = "64")]
fn texts_of_more_than_two_gibibytes_in_all_are_not_written() {
    // Zeros that nobody writes to, and rows that share one text.
    let half = || String::from_utf8(vec![0; 1 << 30]).unwrap();
    let names = TableData::new(vec![half(), half()], vec![], None);
    let text = StringViewArray::from(vec!["x".repeat(MIB as usize)]);
    let column = take(&text, &UInt32Array::from(vec![0; 2048]), None).unwrap();
    let rows = (0..2048).map(|row| row.to_string()).collect();
    let obs = RecordBatch::try_from_iter([("text", column)]).unwrap();
    let column = TableData::new(rows, vec![], None).with_obs(obs);
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("s.zarr"), version).unwrap();
        assert_not_written(&mut store, &names, "obs/_index");
        assert_not_written(&mut store, &column, "obs/text");
    }
}

#[test]
fn a_long_value_among_many_is_refused_before_all_get_its_length() {
    // Bytes of 1 TiB and 2 TiB, and texts of 1 TiB, if they did.
    const ROWS: usize = 1 << 20;
    let of_length = |length: u64| -> ArrayRef {
        let long = vec![1_u8; length as usize];
        let values = (0..ROWS).map(|row| if row == 7 { long.as_slice() } else { b"" });
        Arc::new(BinaryArray::from_iter_values(values))
    };
    let (bytes, longest) = (of_length(2 * MIB), of_length(MIB));
    let long = "x".repeat(MIB as usize / 4 + 1);
    let texts = (0..ROWS).map(|row| if row == 7 { long.as_str() } else { "" });
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
    let records = |field: &ArrayRef| Records {
        shape: vec![ROWS],
        fields: RecordBatch::try_from_iter([("f", Arc::clone(field))]).unwrap(),
    };
    let cases = [
        (with_uns(records(&bytes)), "uns/u/f"),
        (with_uns(records(&longest)), "uns/u/f"),
        (with_uns(records(&texts)), "uns/u/f"),
        (
            with_uns(Uns::Column {
                values: bytes,
                ordered: false,
                na_value: None,
            }),
            "uns/u",
        ),
    ];
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("s.zarr"), version).unwrap();
        for (table, entry) in &cases {
            assert_not_written(&mut store, table, entry);
        }
    }
}

#[test]
fn texts_of_fixed_length_count_with_what_holds_them() {
    let (_folder, path, table) = table(&table_of(long_texts(4, 1)));
    let data_type = json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 40}});
    for node in ["obs/_index", "obs/text"] {
        fill(
            &table.join(node),
            &[20_000],
            &data_type,
            &json!("abcdefghij"),
        );
    }
    // 0.8 MB of characters, and 24 bytes for each of the texts.
    let open = |limit| within(&path, limit, MIB).table("t").unwrap();
    let refused = open(MIB);
    assert_too_large(refused.obs_names(), "obs/_index");
    assert_too_large(refused.obs(&["text"]), "obs/text");
    let found = open(2 * MIB);
    assert_eq!(found.obs_names().unwrap()[19_999], "abcdefghij");
    assert_eq!(found.obs(&["text"]).unwrap().num_rows(), 20_000);
}

#[test]
fn names_that_are_few_bytes_on_the_disk_are_counted() {
    let (_folder, path, table) = table(&table_of(long_texts(4, 1)));
    // Numbers of one byte become texts.
    fill(
        &table.join("obs/_index"),
        &[500_000],
        &json!("int8"),
        &json!(-128),
    );
    let store = within(&path, MIB, 16 * MIB);
    assert_too_large(store.table("t").unwrap().obs_names(), "obs/_index");
    // A category stands for a long text.
    let labels = phenocoder_core::Categorical::from_labels(vec!["z".repeat(10_000); 400]);
    let names = TableData::new((0..400).map(|i| i.to_string()).collect(), vec![], None)
        .with_obs_column("text", Column::Categorical(labels))
        .unwrap();
    let (_folder, path, _) = self::table(&names);
    edit(&path.join("tables/t/obs"), |metadata| {
        metadata["attributes"]["_index"] = json!("text");
        metadata["attributes"]["column-order"] = json!([]);
    });
    let names = |store: Store| store.table("t").unwrap().obs_names();
    assert_too_large(names(within(&path, MIB, MIB)), "obs/text");
    assert_eq!(
        names(within(&path, 16 * MIB, MIB)).unwrap()[399].len(),
        10_000
    );
}

#[test]
fn a_field_of_records_that_takes_no_bytes_counts_for_the_limit() {
    let field: Arc<dyn Array> = Arc::new(StringArray::from(vec!["a"]));
    let fields = RecordBatch::try_from_iter([("a", field)]).unwrap();
    let records = Records {
        shape: vec![1],
        fields,
    };
    let (_folder, path, table) = table(&table_of(vec!["x".into()]).with_uns("r", records));
    let empty = json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 0}});
    let mut fields: Vec<Value> = (0..1000).map(|at| json!([at.to_string(), empty])).collect();
    fields.push(json!(["n", "uint8"]));
    let data_type = json!({"name": "structured", "configuration": {"fields": fields}});
    fill(&table.join("uns/r"), &[20_000], &data_type, &json!("AA=="));
    let uns = |array| within(&path, array, MIB).table("t").unwrap().uns().unwrap();
    let found = &uns(MIB)["r"];
    assert!(
        matches!(found, Uns::Unsupported(why) if why.contains("more than the limit of 1048576")),
        "{:.300}",
        format!("{found:?}")
    );
    assert!(matches!(uns(128 * MIB)["r"], Uns::Records(_)));
}

#[test]
fn a_damaged_character_is_an_error_and_no_other_character() {
    let (_folder, path, table) = table(&table_of(long_texts(1, 1)).with_uns("t", "abc"));
    let texts = json!({"name": "fixed_length_utf32", "configuration": {"length_bytes": 12}});
    let node = table.join("uns/t");
    fill(&node, &[1], &texts, &json!(""));
    fs::create_dir_all(node.join("c")).unwrap();
    let write = |text: [u32; 3]| {
        let bytes: Vec<u8> = text.into_iter().flat_map(u32::to_le_bytes).collect();
        fs::write(node.join("c/0"), bytes).unwrap();
        let store = Store::open(&path).unwrap();
        store.table("t").unwrap().read_entry("uns/t")
    };
    let sound = write([0x61, 0x62, 0]).unwrap();
    assert_eq!(sound, Uns::from(vec!["ab".to_owned()]));
    for damaged in [0x0100_0062, 0xD800] {
        let refused = write([0x61, damaged, 0]).unwrap_err();
        assert!(
            matches!(&refused, Error::CorruptChunk { key, .. } if key.ends_with("uns/t")),
            "{refused}"
        );
    }
    // Records hold such texts as well.
    let data_type = json!({"name": "structured", "configuration": {"fields": [["f", texts]]}});
    edit(&node, |metadata| {
        metadata["data_type"] = data_type;
        metadata["fill_value"] = json!("AAAAAAAAAAAAAAAA");
    });
    assert!(matches!(write([0x61, 0x62, 0]), Ok(Uns::Records(_))));
    let refused = write([0x61, 0x0100_0062, 0]).unwrap_err();
    assert!(matches!(refused, Error::CorruptChunk { .. }), "{refused}");
}

#[test]
fn a_row_without_a_name_is_an_error_and_has_no_empty_name() {
    let names: Vec<String> = vec!["a".into(), "b".into()];
    let texts: Arc<dyn Array> = Arc::new(StringArray::from(vec![Some("a"), None]));
    let obs = RecordBatch::try_from_iter([("name", texts)]).unwrap();
    let (_folder, path, table) = table(&TableData::new(names, vec![], None).with_obs(obs));
    edit(&table.join("obs"), |metadata| {
        metadata["attributes"]["_index"] = json!("name");
        metadata["attributes"]["column-order"] = json!([]);
    });
    let refused = Store::open(&path).unwrap().table("t").unwrap().obs_names();
    let refused = refused.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`tables/t/obs/name`: expected a name for every row, found none at row 1"
    );
}
