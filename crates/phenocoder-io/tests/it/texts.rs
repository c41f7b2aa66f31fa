//! Long texts, texts that claim more than the limits allow, and damaged ones.

use std::path::{Path, PathBuf};

use phenocoder_core::Column;
use phenocoder_io::{ContainerVersion, Error, OpenOptions, Store, TableData};
use tempfile::TempDir;

use crate::{files, store_with};

const MIB: u64 = 1 << 20;

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
    for version in [ContainerVersion::V02, ContainerVersion::V01] {
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
}
