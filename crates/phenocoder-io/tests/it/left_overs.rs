//! What writers on other machines left, copies beside it, and names that differ in case.

use std::fs;
use std::path::{Path, PathBuf};

use phenocoder_core::{Column, NoProgress};
use phenocoder_io::{
    ContainerVersion, ElementKind, Error, OpenOptions, Store, TableData, WriteMode, copy_store,
    copy_store_with, validate,
};

/// A process of another machine.
const ELSEWHERE: &str = "0123456789abcdef-1-5";

fn table(value: f64) -> TableData {
    TableData::new(vec!["a".into()], vec![], None)
        .with_obs_column("value", Column::Float(vec![value]))
        .unwrap()
}

/// A store with the tables `t` and `u`, the first of which another machine has just set aside.
fn interrupted(folder: &Path) -> (PathBuf, [String; 2]) {
    let path = folder.join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    for name in ["t", "u"] {
        store
            .write_table(name, &table(1.0), WriteMode::Create)
            .unwrap();
    }
    let names = [
        format!("tables/.t.phenocoder-old-{ELSEWHERE}"),
        format!("tables/.t.phenocoder-new-{ELSEWHERE}"),
    ];
    fs::rename(path.join("tables/t"), path.join(&names[0])).unwrap();
    fs::create_dir(path.join(&names[1])).unwrap();
    fs::write(path.join(&names[1]).join("half"), b"half").unwrap();
    (path, names)
}

#[test]
fn what_another_machine_has_in_its_hands_is_read_shown_and_moved_by_repair_only() {
    let folder = tempfile::tempdir().unwrap();
    let (path, names) = interrupted(folder.path());
    let mut store = Store::open(&path).unwrap();
    let still_there = || names.iter().all(|name| path.join(name).exists());
    assert!(still_there());
    assert_eq!(store.table_names(), ["t", "u"]);
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
    let shown = validate(&store);
    for name in &names {
        assert!(
            shown.iter().any(|v| v.key == *name && v.is_warning),
            "{shown:?}"
        );
    }
    store
        .write_table("v", &table(2.0), WriteMode::Create)
        .unwrap();
    let refused = store.remove(ElementKind::Table, "t");
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    let refused = store.rename(ElementKind::Table, "t", "w");
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    assert!(still_there());

    let mut done = store.repair().unwrap().removed;
    done.sort();
    let mut expected = names.to_vec();
    expected.sort();
    assert_eq!(done, expected);
    assert!(names.iter().all(|name| !path.join(name).exists()));
    assert_eq!(store.table_names(), ["t", "u", "v"]);
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
    assert!(validate(&store).is_empty(), "{:?}", validate(&store));
    store.remove(ElementKind::Table, "t").unwrap();
}

#[test]
fn a_copy_holds_each_element_in_its_place_and_no_left_overs() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = interrupted(folder.path());
    let copy = folder.path().join("copy.zarr");
    copy_store(&path, &copy, &NoProgress).unwrap();
    let mut names: Vec<_> = fs::read_dir(copy.join("tables"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["t", "u", "zarr.json"]);
    let store = Store::open(&copy).unwrap();
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
}

#[test]
fn only_stores_at_rest_are_copied_and_within_the_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    Store::create(&path, ContainerVersion::V02).unwrap();
    let copy = folder.path().join("copy.zarr");
    let options = OpenOptions::default().with_max_metadata_bytes(1);
    let refused = copy_store_with(&path, &copy, options, &NoProgress);
    assert!(
        matches!(refused, Err(Error::TooLarge { .. })),
        "{refused:?}"
    );
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let refused = copy_store(&other, &copy, &NoProgress);
    assert!(
        matches!(refused, Err(Error::NotAStore { .. })),
        "{refused:?}"
    );
    #[cfg(unix)]
    {
        // As a writer holds it.
        let held = fs::File::open(&path).unwrap();
        held.lock().unwrap();
        let refused = copy_store(&path, &copy, &NoProgress);
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
        held.unlock().unwrap();
        // Two copies are made at once.
        held.lock_shared().unwrap();
        copy_store(&path, &copy, &NoProgress).unwrap();
        fs::remove_dir_all(&copy).unwrap();
        held.unlock().unwrap();
    }
    assert!(!copy.exists());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    copy_store(&path, &copy, &NoProgress).unwrap();
    assert!(Store::open(&copy).is_ok());
}

#[test]
fn a_name_that_changes_in_case_only_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    store
        .write_table("Zelle", &table(1.0), WriteMode::Create)
        .unwrap();
    store.rename(ElementKind::Table, "Zelle", "zelle").unwrap();
    assert_eq!(store.table_names(), ["zelle"]);
    assert_eq!(
        store.table("zelle").unwrap().read_all().unwrap(),
        table(1.0)
    );
    assert!(validate(&Store::open(&path).unwrap()).is_empty());
    // Where case is told apart, a file of the other name may be there that is no element.
    let stray = path.join("tables/ZELLE");
    if stray.exists() {
        return;
    }
    fs::write(&stray, b"notes").unwrap();
    let refused = store.rename(ElementKind::Table, "zelle", "ZELLE");
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    assert_eq!(fs::read(&stray).unwrap(), b"notes");
    assert_eq!(
        store.table("zelle").unwrap().read_all().unwrap(),
        table(1.0)
    );
}
