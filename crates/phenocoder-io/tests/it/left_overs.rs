//! What writers on other machines left, copies beside it, and names that differ in case.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array3;
use phenocoder_core::{Column, NoProgress};
use phenocoder_io::{
    ContainerVersion, ElementKind, Error, LabelWriteOptions, OpenOptions, Store, TableData,
    WriteMode, copy_store, copy_store_with, validate,
};

use crate::store_with;

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
    // Other readers still find it in the list.
    let listed = |name: &str| {
        let root: serde_json::Value =
            serde_json::from_slice(&fs::read(path.join("zarr.json")).unwrap()).unwrap();
        let metadata = &root["consolidated_metadata"]["metadata"];
        metadata.get(format!("tables/{name}/obs")).is_some()
    };
    assert!(listed("t") && listed("u") && listed("v"));
    let refused = store.write_table("t", &table(2.0), WriteMode::Replace);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
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
fn the_only_table_of_old_stores_is_read_where_another_machine_set_it_aside() {
    let (_folder, path, _) = store_with(ContainerVersion::V01, "t", &table(1.0));
    fs::rename(path.join("tables"), path.join("table")).unwrap();
    let aside = path.join(format!("table/.table.phenocoder-old-{ELSEWHERE}"));
    fs::rename(path.join("table/t"), &aside).unwrap();
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.table_names(), ["table"]);
    let read = store.table("table").unwrap().obs_column("value").unwrap();
    assert_eq!(read, Column::Float(vec![1.0]));
    for refused in [
        store.remove(ElementKind::Table, "table"),
        store
            .write_table("u", &table(1.0), WriteMode::Create)
            .and(store.rename(ElementKind::Table, "table", "v")),
    ] {
        refused.unwrap_err();
    }
    assert!(aside.exists());
    let second = path.join(format!("table/.table.phenocoder-old-{ELSEWHERE}0"));
    fs::create_dir(&second).unwrap();
    let refused = store.table("table").map(|_| ());
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    fs::remove_dir(second).unwrap();
    store.repair().unwrap();
    assert!(path.join("table/table").exists() && !aside.exists());
    let read = store.table("table").unwrap().obs_column("value").unwrap();
    assert_eq!(read, Column::Float(vec![1.0]));
    store.remove(ElementKind::Table, "table").unwrap();
    assert_eq!(Store::open(&path).unwrap().table_names(), ["u"]);
}

#[test]
fn what_nobody_known_left_is_not_of_a_machine_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (path, names) = interrupted(folder.path());
    let unknown = ["0000000000000000-1-0", "77"];
    for (name, owner) in names.iter().zip(unknown) {
        fs::rename(path.join(name), path.join(name.replace(ELSEWHERE, owner))).unwrap();
    }
    let left = || {
        let names = fs::read_dir(path.join("tables")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.')).count()
    };
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
    // Where the system does not tell which machine this is, it may be any that is not known.
    assert_eq!(left(), if cfg!(target_os = "linux") { 2 } else { 0 });
    store.repair().unwrap();
    assert_eq!(left(), 0);
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
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
fn a_name_that_changes_in_case_only_replaces_no_stray_file() {
    let (_folder, path, mut store) = store_with(ContainerVersion::V02, "Zelle", &table(1.0));
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

#[test]
fn what_was_replaced_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    for (name, value) in [("t", 1.0), ("u", 2.0)] {
        store
            .write_table(name, &table(value), WriteMode::Create)
            .unwrap();
    }
    // A writer on another machine was killed when it removed what it had replaced.
    let old = path.join(format!("tables/.t.phenocoder-old-{ELSEWHERE}"));
    fs::create_dir(&old).unwrap();
    fs::copy(path.join("tables/t/zarr.json"), old.join("zarr.json")).unwrap();
    let refused = [
        store.remove(ElementKind::Table, "t"),
        store.rename(ElementKind::Table, "t", "w"),
        store.rename(ElementKind::Table, "u", "t"),
        store.write_table("t", &table(3.0), WriteMode::Replace),
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(
            matches!(&error, Error::Locked { path } if *path == old),
            "{error:?}"
        );
        assert!(error.to_string().contains("repair"), "{error}");
    }
    store
        .write_table("u", &table(4.0), WriteMode::Replace)
        .unwrap();
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.table_names(), ["t", "u"]);
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
    assert_eq!(store.repair().unwrap().removed.len(), 1);
    store.remove(ElementKind::Table, "t").unwrap();
    let mut store = Store::open(&path).unwrap();
    store.repair().unwrap();
    assert_eq!(store.table_names(), ["u"]);
    assert!(validate(&store).is_empty());
}

#[test]
fn of_two_that_were_taken_out_of_one_place_none_is_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let (path, names) = interrupted(folder.path());
    let second = format!("tables/.t.phenocoder-old-{ELSEWHERE}0");
    fs::create_dir(path.join(&second)).unwrap();
    fs::copy(
        path.join("tables/u/zarr.json"),
        path.join(&second).join("zarr.json"),
    )
    .unwrap();
    let copy = folder.path().join("copy.zarr");
    let refused = copy_store(&path, &copy, &NoProgress);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    assert!(!copy.exists());

    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.table_names(), ["t", "u"]);
    let refused = store.table("t").map(|_| ());
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    assert!(validate(&store).iter().any(|v| !v.is_warning));
    let refused = store.write_table("t", &table(3.0), WriteMode::Replace);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    let done = store.repair().unwrap();
    assert_eq!(done.removed, [names[1].clone()]);
    let [problem] = &done.problems[..] else {
        panic!("{:?}", done.problems);
    };
    for name in [&names[0], &second] {
        assert!(path.join(name).exists());
        assert!(problem.contains(name.strip_prefix("tables/").unwrap()));
    }
    // As the message says.
    fs::rename(path.join(&names[0]), path.join("tables/t")).unwrap();
    fs::remove_dir_all(path.join(&second)).unwrap();
    assert_eq!(store.repair().unwrap().problems, [""; 0]);
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
    assert!(validate(&store).is_empty(), "{:?}", validate(&store));
}

#[test]
fn a_mask_that_was_set_aside_stays_in_the_list() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.zarr");
        let mut store = Store::create(&path, version).unwrap();
        let mask = |value: u32| Array3::from_elem((1, 4, 4), value);
        let write = |store: &mut Store, name: &str| {
            let options = LabelWriteOptions::default();
            store.write_label_pixels(name, mask(1).view(), &options, &NoProgress)
        };
        write(&mut store, "l").unwrap();
        let old = path.join(format!("labels/.l.phenocoder-old-{ELSEWHERE}"));
        fs::rename(path.join("labels/l"), old).unwrap();
        write(&mut store, "m").unwrap();
        assert_eq!(store.label_names(), ["l", "m"]);
        // Nothing is wrong but that it is not in its place.
        let found = validate(&store);
        assert_eq!(found.len(), 1, "{found:?}");
        store.repair().unwrap();
        assert!(validate(&store).is_empty(), "{:?}", validate(&store));
        assert_eq!(store.repair().unwrap().rewritten, [""; 0]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn repair_takes_nothing_from_a_process_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    // As the names are made; see `disk::owner`.
    let hash = |bytes: &[u8]| {
        let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        bytes.iter().fold(0x811c_9dc5, step)
    };
    let host = hash(&fs::read("/proc/sys/kernel/random/boot_id").unwrap());
    let space = fs::read_link("/proc/self/ns/pid").unwrap();
    let space = hash(space.as_os_str().as_encoded_bytes());
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    let start = fields.split_whitespace().nth(19).unwrap();
    let name = format!(
        ".zarr.json.phenocoder-new-{host:08x}{space:08x}-{}-{start}",
        child.id()
    );
    let left = path.join(&name);
    fs::write(&left, b"half").unwrap();
    let refused = store.repair();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        matches!(&refused, Err(Error::Locked { path }) if *path == left),
        "{refused:?}"
    );
    assert!(left.exists());
    assert_eq!(store.repair().unwrap().removed, [name]);
}

#[test]
fn a_broken_list_of_masks_keeps_the_rest_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = interrupted(folder.path());
    fs::create_dir(path.join("labels")).unwrap();
    fs::write(path.join("labels/zarr.json"), b"{").unwrap();
    let mut store = Store::open(&path).unwrap();
    let done = store.repair().unwrap();
    assert_eq!(done.removed.len(), 2);
    let [problem] = &done.problems[..] else {
        panic!("{:?}", done.problems);
    };
    assert!(problem.contains("labels/zarr.json"), "{problem}");
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
}

#[test]
#[cfg(unix)]
fn a_group_that_leads_out_of_the_store_hides_no_other() {
    let (folder, path, _) = store_with(ContainerVersion::V02, "t", &table(1.0));
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(
        outside.join(".a.0123456789abcdef0123456789abcdef.partial"),
        b"",
    )
    .unwrap();
    for group in ["images", "table"] {
        std::os::unix::fs::symlink(&outside, path.join(group)).unwrap();
    }
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.table("t").unwrap().read_all().unwrap(), table(1.0));
    let found = validate(&store);
    for group in ["images", "table"] {
        let is_said = found.iter().any(|v| v.key == group && !v.is_warning);
        assert!(is_said, "{found:?}");
    }
    let done = store.repair().unwrap();
    assert_eq!(done.removed, [""; 0]);
    assert!(
        done.problems.iter().any(|p| p.contains("images")),
        "{done:?}"
    );
    store
        .write_table("u", &table(2.0), WriteMode::Create)
        .unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}
