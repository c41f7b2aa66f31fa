//! Writes that fail or are killed leave the old or the new element.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::{Array2, Array4};
use phenocoder_core::{CancelToken, Column, DataType, MemoryImage, NoProgress};
use phenocoder_io::{
    ContainerVersion, ElementKind, Error, ImageWriteOptions, OpenOptions, Store, TableData,
    WriteMode, copy_store, validate,
};
use tempfile::TempDir;

use crate::{of_this_machine, store_with};

const ROWS: usize = 50;

fn table(value: f64) -> TableData {
    let names = (0..ROWS).map(|i| format!("cell_{i}")).collect();
    TableData::new(
        names,
        vec!["a".into()],
        Some(Array2::from_elem((ROWS, 1), value).into()),
    )
    .with_obs_column("value", Column::Float(vec![value; ROWS]))
    .unwrap()
    .with_obsm("spatial", Array2::from_elem((ROWS, 2), value))
}

/// A store of container 0.2 with the table `t`, in a folder of its own.
fn store_with_table() -> (TempDir, PathBuf, Store) {
    store_with(ContainerVersion::V02, "t", &table(1.0))
}

/// The value that fills the whole table.
fn value(store: &Store) -> f64 {
    let data = store.table("t").unwrap().read_all().unwrap();
    let x = data.x.as_ref().unwrap().to_dense_f64().unwrap();
    let value = x[[0, 0]];
    assert!(value > 0.0);
    assert_eq!(data, table(value), "parts of two tables are mixed");
    value
}

/// Whatever the folder holds, as text.
fn content(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push((path.display().to_string(), fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn consolidated_is_right(path: &Path) {
    let root: serde_json::Value = match fs::read(path.join("zarr.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
        Err(_) => {
            let bytes = fs::read(path.join(".zmetadata")).unwrap();
            let all: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let listed = all["metadata"].as_object().unwrap();
            let mut on_disk = 0;
            for (file, bytes) in content(path) {
                let file = file
                    .strip_prefix(&format!("{}/", path.display()))
                    .unwrap()
                    .to_owned();
                if file.ends_with(".zarray")
                    || file.ends_with(".zgroup")
                    || file.ends_with(".zattrs")
                {
                    let node: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                    assert_eq!(listed.get(&file), Some(&node), "{file}");
                    on_disk += 1;
                }
            }
            assert_eq!(listed.len(), on_disk);
            return;
        }
    };
    let listed = root["consolidated_metadata"]["metadata"]
        .as_object()
        .unwrap();
    let mut on_disk = 0;
    for (file, bytes) in content(path) {
        let file = file
            .strip_prefix(&format!("{}/", path.display()))
            .unwrap()
            .to_owned();
        if let Some(key) = file.strip_suffix("/zarr.json") {
            let node: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(listed.get(key), Some(&node), "{key}");
            on_disk += 1;
        }
    }
    assert_eq!(listed.len(), on_disk);
    let keys: Vec<&String> = listed.keys().collect();
    assert!(keys.is_sorted());
}

/// A store with a table and with links: one to a folder of its own, one out of it.
#[cfg(unix)]
#[test]
fn links_within_a_store_are_listed_and_those_out_of_it_are_not_touched() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let outside = folder.path().join("outside");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    store
        .write_table("t", &table(1.0), WriteMode::Create)
        .unwrap();
    copy_store(&path, &outside, &NoProgress).unwrap();
    symlink("t", path.join("tables/inner")).unwrap();
    symlink(outside.join("tables/t"), path.join("tables/outer")).unwrap();
    symlink(&path, path.join("tables/t/uns/loop")).unwrap();
    let before = content(&outside);
    store
        .write_table("u", &table(2.0), WriteMode::Create)
        .unwrap();
    let root = fs::read_to_string(path.join("zarr.json")).unwrap();
    assert!(root.contains("\"tables/inner/obs\""));
    assert!(!root.contains("tables/outer") && !root.contains("uns/loop"));
    assert!(matches!(
        store.table("outer"),
        Err(Error::InvalidPath { .. })
    ));

    // A group that leads out of the store is not written to.
    fs::create_dir(outside.join("images")).unwrap();
    symlink(outside.join("images"), path.join("images")).unwrap();
    let image = MemoryImage::new("i", Array4::zeros((1, 1, 2, 2)), vec!["a".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt8);
    let refused = store.write_image("i", &image, &options, &NoProgress);
    assert!(refused.is_err());
    assert_eq!(content(&outside), before);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_file_is_an_error_and_not_waited_for() {
    let (folder, path, store) = store_with_table();
    let chunk = path.join("tables/t/obs/value/c/0");
    fs::remove_file(&chunk).unwrap();
    let made = Command::new("mkfifo").arg(&chunk).status().unwrap();
    assert!(made.success());
    let error = store.table("t").unwrap().obs_column("value").unwrap_err();
    assert!(error.to_string().ends_with("found a pipe or device"));
    let copy = copy_store(&path, folder.path().join("copy"), &NoProgress);
    assert!(copy.is_err());
}

#[test]
fn a_table_of_the_first_releases_is_not_hidden_by_new_ones() {
    let (_folder, path, _) = store_with(ContainerVersion::V01, "t", &table(1.0));
    fs::create_dir(path.join("table")).unwrap();
    fs::rename(path.join("tables/t"), path.join("table/table")).unwrap();
    fs::copy(path.join("tables/.zgroup"), path.join("table/.zgroup")).unwrap();
    let mut store = Store::open(&path).unwrap();
    store
        .write_table("a", &table(2.0), WriteMode::Create)
        .unwrap();
    assert_eq!(store.table_names(), ["a", "table"]);
    let old = store.table("table").unwrap().obs_column("value").unwrap();
    assert_eq!(old, Column::Float(vec![1.0; ROWS]));

    // A removal that was killed before its end is undone.
    let aside = path.join(format!("table/.table.phenocoder-old-{}", of_this_machine()));
    fs::rename(path.join("table/table"), &aside).unwrap();
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.table_names(), ["a", "table"]);
    store.remove(ElementKind::Table, "table").unwrap();
    assert_eq!(store.table_names(), ["a"]);
}

#[test]
#[cfg(unix)]
fn a_link_in_the_place_of_the_first_tables_stops_no_write() {
    let (folder, path, mut store) = store_with_table();
    std::os::unix::fs::symlink(folder.path(), path.join("table")).unwrap();
    for mode in [WriteMode::Create, WriteMode::Replace] {
        store.write_table("table", &table(2.0), mode).unwrap();
    }
    store.rename(ElementKind::Table, "table", "u").unwrap();
    store.rename(ElementKind::Table, "u", "table").unwrap();
    store.remove(ElementKind::Table, "table").unwrap();
    assert_eq!(store.table_names(), ["t"]);
    assert!(path.exists() && folder.path().exists());
}

#[test]
fn tables_are_created_replaced_and_removed() {
    for version in [ContainerVersion::V02, ContainerVersion::V01] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zarr");
        let mut store = Store::create(&path, version).unwrap();
        store
            .write_table("t", &table(1.0), WriteMode::Create)
            .unwrap();
        consolidated_is_right(&path);
        let refused = store.write_table("t", &table(2.0), WriteMode::Create);
        assert!(matches!(refused, Err(Error::Exists { .. })));
        let refused = store.write_table("T", &table(2.0), WriteMode::Replace);
        assert!(matches!(refused, Err(Error::InvalidName { .. })));
        assert_eq!(value(&store), 1.0);
        store
            .write_table("t", &table(2.0), WriteMode::Replace)
            .unwrap();
        assert_eq!(value(&Store::open(&path).unwrap()), 2.0);
        consolidated_is_right(&path);
        assert!(validate(&store).is_empty());
        store.remove(ElementKind::Table, "t").unwrap();
        assert!(store.table_names().is_empty());
        assert!(matches!(
            store.remove(ElementKind::Table, "t"),
            Err(Error::NoElement { .. })
        ));
        consolidated_is_right(&path);
        assert!(matches!(
            Store::create(&path, version),
            Err(Error::Exists { .. })
        ));
    }
}

#[test]
fn equal_stores_have_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let written = ["a", "b"].map(|name| {
        let path = folder.path().join(name);
        let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
        store
            .write_table("t", &table(1.0), WriteMode::Create)
            .unwrap();
        let strip = |p: String| {
            p.strip_prefix(&path.display().to_string())
                .unwrap()
                .to_owned()
        };
        content(&path)
            .into_iter()
            .map(|(p, b)| (strip(p), b))
            .collect::<Vec<_>>()
    });
    assert_eq!(written[0], written[1]);
}

#[test]
fn a_table_that_breaks_a_rule_is_not_written() {
    let (_folder, path, mut store) = store_with_table();
    let before = content(&path);
    let short = table(2.0).with_obsm("bad", Array2::<f64>::zeros((ROWS - 1, 2)));
    let refused = store.write_table("t", &short, WriteMode::Replace);
    assert!(matches!(refused, Err(Error::InvalidTable { .. })));
    for name in ["", "..", "a/b", "__x", "a b"] {
        assert!(
            store
                .write_table(name, &table(1.0), WriteMode::Create)
                .is_err()
        );
    }
    assert_eq!(content(&path), before);
}

#[test]
fn a_cancelled_or_impossible_image_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let before = content(&path);
    let pixels = Array4::from_elem((1, 1, 8, 8), 300.0);
    let image = MemoryImage::new("i", pixels, vec!["a".into()]).unwrap();
    let options = ImageWriteOptions::new(DataType::UInt8);
    let refused = store.write_image("i", &image, &options, &NoProgress);
    assert!(matches!(refused, Err(Error::OutOfRange { .. })));
    let token = CancelToken::new();
    token.cancel();
    let options = ImageWriteOptions::new(DataType::UInt16);
    let refused = store.write_image("i", &image, &options, &token);
    assert!(matches!(refused, Err(Error::Cancelled(_))));
    assert_eq!(content(&path), before);
    assert!(!path.join("images").exists());
}

#[test]
fn somebody_elses_write_is_waited_for_by_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    let refused = store.write_table("t", &table(1.0), WriteMode::Create);
    assert!(matches!(refused, Err(Error::Locked { .. })));
    drop(held);
    store
        .write_table("t", &table(1.0), WriteMode::Create)
        .unwrap();
}

#[test]
fn a_store_left_between_the_two_renames_gets_its_old_table_back() {
    let (_folder, path, _) = store_with_table();
    let tables = path.join("tables");
    let own = |what| tables.join(format!(".t.phenocoder-{what}-{}", of_this_machine()));
    fs::rename(tables.join("t"), own("old")).unwrap();
    fs::create_dir(own("new")).unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(value(&store), 1.0);
    let mut names: Vec<_> = fs::read_dir(&tables)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["t", "zarr.json"]);
}

#[test]
fn a_read_only_store_is_an_error_that_names_the_place() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path, mut store) = store_with_table();
    let tables = path.join("tables");
    let writable = fs::metadata(&tables).unwrap().permissions();
    fs::set_permissions(&tables, fs::Permissions::from_mode(0o555)).unwrap();
    let result = store.write_table("t", &table(2.0), WriteMode::Replace);
    fs::set_permissions(&tables, writable).unwrap();
    // The super-user may write all the same.
    match result {
        Ok(()) => assert_eq!(value(&store), 2.0),
        Err(Error::Io { path, .. }) => {
            assert!(path.starts_with(&tables));
            assert_eq!(value(&store), 1.0);
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_place_that_cannot_hold_a_store_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    let refused = Store::create(file.join("s.zarr"), ContainerVersion::V02);
    assert!(matches!(refused, Err(Error::Io { .. })));
    assert!(matches!(Store::open(&file), Err(Error::NotAStore { .. })));
    assert!(matches!(
        Store::open(folder.path()),
        Err(Error::NotAStore { .. })
    ));
    let missing = Store::open_with(folder.path().join("no"), OpenOptions::default());
    assert!(matches!(missing, Err(Error::Io { .. })));
}

#[test]
fn a_copy_is_whole_and_links_out_of_the_store_are_refused() {
    let (folder, path, store) = store_with_table();
    let copy = folder.path().join("copy.zarr");
    copy_store(&path, &copy, &NoProgress).unwrap();
    assert_eq!(value(&Store::open(&copy).unwrap()), 1.0);
    assert!(matches!(
        copy_store(&path, &copy, &NoProgress),
        Err(Error::Exists { .. })
    ));
    let secret = folder.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let index = path.join("tables/t/obs/value/zarr.json");
    fs::remove_file(&index).unwrap();
    std::os::unix::fs::symlink(&secret, &index).unwrap();
    let refused = copy_store(&path, folder.path().join("other.zarr"), &NoProgress);
    assert!(matches!(refused, Err(Error::InvalidPath { .. })));
    assert!(!folder.path().join("other.zarr").exists());
    assert!(matches!(store.table("t"), Err(Error::InvalidPath { .. })));
}

#[test]
fn nothing_but_an_element_is_replaced_and_strays_do_not_hide_a_store() {
    let (_folder, path, mut store) = store_with_table();
    for name in ["zarr.json", "zmetadata"] {
        let refused = store.write_table(name, &table(2.0), WriteMode::Replace);
        assert!(
            matches!(refused, Err(Error::InvalidName { .. })),
            "{refused:?}"
        );
    }
    fs::write(path.join("tables/notes"), b"text").unwrap();
    let refused = store.write_table("notes", &table(2.0), WriteMode::Replace);
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    assert_eq!(fs::read(path.join("tables/notes")).unwrap(), b"text");
    // Files where groups would be.
    for stray in ["images", "points", "table"] {
        fs::write(path.join(stray), b"text").unwrap();
    }
    let store = Store::open(&path).unwrap();
    assert_eq!(store.table_names(), ["t"]);
    let copy = copy_store(&path, "s3://bucket/copy.zarr", &NoProgress);
    assert!(matches!(copy, Err(Error::ReadOnly { .. })), "{copy:?}");
}

#[test]
fn a_left_over_beside_a_broken_group_does_not_close_the_store() {
    let (_folder, path, _) = store_with_table();
    fs::create_dir_all(path.join("labels/l")).unwrap();
    let left = path.join(format!("tables/.x.phenocoder-new-{}", of_this_machine()));
    fs::write(&left, b"half").unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(value(&store), 1.0);
    assert!(!left.exists());
}
