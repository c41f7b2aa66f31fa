//! Copies of stores that others change.

use phenocoder_core::NoProgress;

use super::*;
use crate::{ContainerVersion, TableData, WriteMode, validate};

fn table(rows: usize) -> TableData {
    TableData::new((0..rows).map(|i| format!("c{i}")).collect(), vec![], None)
}

/// The tables of a store and their rows.
fn rows(store: &Store) -> Vec<(String, usize)> {
    let names = store.table_names().into_iter();
    names
        .map(|name| {
            let rows = store.table(&name).unwrap().n_obs();
            (name, rows)
        })
        .collect()
}

/// Copies a store that was opened before somebody else wrote, renamed, replaced and removed.
fn copy_after_changes(open: impl Fn() -> Store) {
    let mut writer = open();
    let is_folder = writer.path().is_some();
    for name in ["gone", "kept", "renamed", "replaced"] {
        writer
            .write_table(name, &table(1), WriteMode::Create)
            .unwrap();
    }
    let opened = open();
    opened.table("kept").unwrap();
    writer
        .write_table("new", &table(3), WriteMode::Create)
        .unwrap();
    writer
        .write_table("replaced", &table(2), WriteMode::Replace)
        .unwrap();
    writer.remove(ElementKind::Table, "gone").unwrap();
    if is_folder {
        writer
            .rename(ElementKind::Table, "renamed", "other")
            .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.zarr");
    copy_opened(&opened, &Place::new(&to), &NoProgress).unwrap();
    let copy = Store::open(&to).unwrap();
    let renamed = if is_folder { "other" } else { "renamed" };
    let mut expected = [("kept", 1), ("new", 3), (renamed, 1), ("replaced", 2)];
    expected.sort_unstable();
    let expected = expected.map(|(name, rows)| (name.to_owned(), rows));
    assert_eq!(rows(&copy), expected);
    assert!(validate(&copy).is_empty());
}

#[test]
fn a_copy_is_of_the_folder_as_it_is_when_it_begins() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zarr");
        Store::create(&path, version).unwrap();
        copy_after_changes(|| Store::open(&path).unwrap());
    }
}

#[cfg(feature = "object-store")]
#[test]
fn a_copy_is_of_the_server_as_it_is_when_it_begins() {
    use crate::root::remote::faults::Faulty;
    use crate::root::{Remote, Server};

    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let files = super::super::new_root(version).into_iter();
        let files = files.map(|(name, bytes)| (format!("s.zarr/{name}"), bytes));
        let server = Faulty::with(&files.collect());
        copy_after_changes(|| {
            let server = Server::on(&server, 1 << 10);
            let root = Root::new(Remote::on(server), OpenOptions::default());
            Store::from_root(root).unwrap()
        });
    }
}
