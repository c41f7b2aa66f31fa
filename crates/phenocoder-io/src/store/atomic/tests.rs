//! Whatever operation of the file system fails, the store is as it was, and the next attempt succeeds.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Float64Array, RecordBatch};
use arrow::datatypes::Int32Type;
use ndarray::{Array2, Array3, Array4};
use phenocoder_core::{Column, DataType, MemoryImage, MemoryLabels, NoProgress};

use super::*;
use crate::disk::Disk;
use crate::disk::faults::{Fault, Faults, disk_that_folds_case};
use crate::store::{ContainerVersion, ElementKind, Store, WriteMode};
use crate::{
    Geometries, ImageWriteOptions, LabelWriteOptions, OpenOptions, PointsData, PointsWriteOptions,
    ShapesData, ShapesWriteOptions, TableData, Uns,
};

/// A folder in memory where the system has one: nothing waits for a disk there.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// The files of a folder by their paths in it.
fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(root).unwrap().to_owned();
                found.insert(relative, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The files that belong to elements.
fn elements(files: &BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<&Path, &[u8]> {
    files
        .iter()
        .filter(|(path, _)| path.components().count() > 2)
        .map(|(path, bytes)| (path.as_path(), bytes.as_slice()))
        .collect()
}

fn put_back(files: &BTreeMap<PathBuf, Vec<u8>>, root: &Path) {
    let _ = fs::remove_dir_all(root);
    for (relative, bytes) in files {
        let path = root.join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn table(value: f64) -> TableData {
    let names = vec!["a".to_owned(), "b".to_owned()];
    let x = Array2::from_elem((2, 1), value);
    TableData::new(names, vec!["v".into()], Some(x.into()))
        .with_obs_column("value", Column::Float(vec![value; 2]))
        .unwrap()
}

fn image(value: f32) -> MemoryImage {
    MemoryImage::new(
        "i",
        Array4::from_elem((1, 1, 8, 8), value),
        vec!["c".into()],
    )
    .unwrap()
}

/// Points in two files of two row groups, with categories.
fn write_points(store: &mut Store, value: f64, mode: WriteMode) -> Result<()> {
    let x = Arc::new(Float64Array::from(vec![value; 4])) as ArrayRef;
    let gene: DictionaryArray<Int32Type> = ["a", "b", "a", "b"].into_iter().collect();
    let gene = Arc::new(gene) as ArrayRef;
    let columns = RecordBatch::try_from_iter([("x", x.clone()), ("y", x), ("gene", gene)]);
    let options = PointsWriteOptions::default()
        .with_rows_per_group(1)
        .with_rows_per_part(2)
        .with_mode(mode);
    store.write_points("p", &PointsData::new(columns.unwrap()), &options)
}

fn write_shapes(store: &mut Store, value: f64) -> Result<()> {
    let radius = Arc::new(Float64Array::from(vec![value; 2])) as ArrayRef;
    let columns = RecordBatch::try_from_iter([("radius", radius)]).unwrap();
    let circles = Geometries::from_points(2, &[value; 4])?;
    let data = ShapesData::new(circles).with_columns(columns);
    store.write_shapes("s", &data, &ShapesWriteOptions::default())
}

/// A change of a store, and whether the store shows the new state.
type Step = (&'static str, fn(&mut Store) -> Result<()>);

const STEPS: [Step; 13] = [
    ("create a mask", |s| {
        let mask = MemoryLabels::new("l", Array3::from_elem((1, 8, 8), 3));
        s.write_labels("l", &mask, &LabelWriteOptions::default(), &NoProgress)
    }),
    ("create an image", |s| {
        s.write_image(
            "i",
            &image(1.0),
            &ImageWriteOptions::new(DataType::UInt8),
            &NoProgress,
        )
    }),
    ("replace an image", |s| {
        let options = ImageWriteOptions::new(DataType::UInt16).with_mode(WriteMode::Replace);
        s.write_image("i", &image(2.0), &options, &NoProgress)
    }),
    ("rename a mask", |s| s.rename(ElementKind::Labels, "l", "m")),
    ("delete a mask", |s| s.remove(ElementKind::Labels, "m")),
    ("create a table", |s| {
        s.write_table("t", &table(1.0), WriteMode::Create)
    }),
    ("create points", |s| write_points(s, 1.0, WriteMode::Create)),
    ("replace points", |s| {
        write_points(s, 2.0, WriteMode::Replace)
    }),
    ("rename points", |s| s.rename(ElementKind::Points, "p", "q")),
    ("create shapes", |s| write_shapes(s, 1.0)),
    ("delete shapes", |s| s.remove(ElementKind::Shapes, "s")),
    ("write attributes", |s| {
        s.write_attributes(serde_json::from_value(serde_json::json!({"donor": 7})).unwrap())
    }),
    ("replace attributes", |s| {
        s.write_attributes(serde_json::from_value(serde_json::json!({"donor": 8})).unwrap())
    }),
];

fn open_on(disk: &Disk, path: &Path) -> Result<Store> {
    Store::from_root(Root::open_on(disk, path, OpenOptions::default())?)
}

/// Runs one step over and over, each time with another operation that fails.
fn every_operation_fails_once(version: ContainerVersion, fault: Fault, for_good: bool) -> usize {
    let folder = scratch();
    let path = folder.path().join("s.zarr");
    Store::create(&path, version).unwrap();
    if fault == Fault::Unwritable && version == ContainerVersion::V01 {
        // As stores of other programs are, whose metadata were never consolidated.
        fs::remove_file(path.join(".zmetadata")).unwrap();
    }
    let mut failures = 0;
    for (what, step) in STEPS {
        let old = content(&path);
        step(&mut Store::open(&path).unwrap()).unwrap();
        let new = content(&path);
        assert!(old != new, "{what}");
        for n in 0.. {
            put_back(&old, &path);
            let (disk, faults) = Faults::disk(n, fault, for_good);
            let mut handle = None;
            let result = open_on(&disk, &path).and_then(|store| step(handle.insert(store)));
            let Some((operation, place)) = faults.hit() else {
                result.unwrap();
                assert!(n > 5, "{what}: too few operations failed");
                break;
            };
            failures += 1;
            let case = format!("{what}: {fault:?} at operation {n}, {operation:?} of {place:?}");
            let done = result.is_ok();
            if let Err(error) = result {
                assert!(matches!(error, Error::Io { .. }), "{case}: {error:?}");
                if !for_good {
                    assert!(
                        content(&path) == old,
                        "{case}: {error} left something behind"
                    );
                }
            }
            // Whoever opens the store next finds the old or the new state, whole, and can write.
            let mut store = Store::open(&path).unwrap();
            let found = content(&path);
            let is_old = if for_good && !what.ends_with("attributes") {
                // An empty group may be left, which nobody sees.
                elements(&found) == elements(&old)
            } else {
                found == old
            };
            assert!(is_old || found == new, "{case}: neither old nor new");
            assert!(found == new || !done, "{case}: said to be done");
            assert!(crate::validate(&store).is_empty(), "{case}");
            // The handle that failed knows it, unless nothing can be read.
            if let Some(handle) = handle.filter(|_| fault != Fault::Broken || !for_good) {
                let names = |store: &Store| ElementKind::ALL.map(|kind| store.names(kind));
                assert_eq!(names(&handle), names(&store), "{case}");
                assert_eq!(handle.attributes(), store.attributes(), "{case}");
            }
            if is_old {
                step(&mut store).unwrap();
                assert!(
                    content(&path) == new,
                    "{case}: the next attempt wrote something else"
                );
            }
        }
        put_back(&new, &path);
    }
    failures
}

#[test]
fn every_operation_that_fails_once_leaves_the_store_as_it_was() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let failures: usize = Fault::ALL
            .into_iter()
            .map(|fault| every_operation_fails_once(version, fault, false))
            .sum();
        println!("container {version:?}: {failures} failing operations");
        assert!(failures > 2500);
    }
}

#[test]
fn a_disk_that_fails_for_good_leaves_the_old_or_the_new_store() {
    for (version, fault) in [
        (ContainerVersion::V02, Fault::Broken),
        (ContainerVersion::V01, Fault::Unwritable),
        (ContainerVersion::V02, Fault::Unwritable),
        (ContainerVersion::V01, Fault::Full),
        (ContainerVersion::V02, Fault::Full),
    ] {
        let failures = every_operation_fails_once(version, fault, true);
        println!("container {version:?}, {fault:?} for good: {failures} operations");
        assert!(failures > 300);
    }
}

#[test]
fn every_read_of_points_and_shapes_that_fails_is_an_error_of_the_disk() {
    let folder = scratch();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    write_points(&mut store, 1.0, WriteMode::Create).unwrap();
    write_shapes(&mut store, 1.0).unwrap();
    let read = |disk: &Disk| {
        let store = open_on(disk, &path)?;
        let points = store.points("p")?;
        let (columns, index) = (points.read(&points.column_names())?, points.index()?);
        assert_eq!((columns.num_rows(), index.len()), (4, 4));
        assert_eq!(
            points
                .batches(&["gene"])?
                .collect::<Result<Vec<_>>>()?
                .len(),
            4
        );
        assert_eq!(store.shapes("s")?.read_all()?.n_rows(), 2);
        Ok(())
    };
    let mut failures = 0;
    for fault in [Fault::Broken, Fault::Short] {
        for n in 0.. {
            let (disk, faults) = Faults::disk(n, fault, false);
            let result: Result<()> = read(&disk);
            let Some((operation, place)) = faults.hit() else {
                result.unwrap();
                break;
            };
            failures += 1;
            let case = format!("{fault:?} at operation {n}, {operation:?} of {place:?}");
            // A group that cannot be listed is a violation, which leaves the others.
            let is_listing = place.strip_prefix(&path).unwrap().components().count() < 2;
            match result {
                Err(Error::Io { .. }) => {}
                Ok(()) if is_listing => {}
                other => panic!("{case}: {other:?}"),
            }
        }
    }
    println!("points and shapes: {failures} failing reads");
    assert!(failures > 50);
}

#[test]
fn every_operation_of_recovery_may_fail() {
    let folder = scratch();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let write =
        |store: &mut Store, value| store.write_table("t", &table(value), WriteMode::Replace);
    write(&mut store, 1.0).unwrap();
    let old = content(&path);
    write(&mut store, 2.0).unwrap();
    let new = content(&path);
    let mut left_overs = 0;
    for killed_at in (0..).step_by(7) {
        put_back(&old, &path);
        let (disk, faults) = Faults::disk(killed_at, Fault::Broken, true);
        let written = open_on(&disk, &path).and_then(|mut store| write(&mut store, 2.0));
        if faults.hit().is_none() {
            written.unwrap();
            break;
        }
        let left = content(&path);
        if left == old || left == new {
            continue;
        }
        left_overs += 1;
        for n in 0.. {
            put_back(&left, &path);
            let (disk, faults) = Faults::disk(n, Fault::Broken, false);
            if let Err(error) = open_on(&disk, &path) {
                assert!(matches!(error, Error::Io { .. }), "{error:?}");
            }
            Store::open(&path).unwrap();
            let found = content(&path);
            let hit = faults.hit();
            assert!(
                found == old || found == new,
                "killed at {killed_at}, recovery at {n}: {hit:?}"
            );
            if hit.is_none() {
                break;
            }
        }
    }
    assert!(left_overs > 5, "{left_overs}");
}

#[test]
fn a_lock_is_given_up_even_while_a_child_process_holds_its_file() {
    let folder = scratch();
    let root = folder.path().join("s.zarr");
    Store::create(&root, ContainerVersion::V02).unwrap();
    let root = Place::new(root);
    let lock = Lock::acquire(&root).unwrap();
    // What a process that is being started has until it runs its own program.
    let inherited = lock.file.try_clone().unwrap();
    assert!(matches!(Lock::acquire(&root), Err(Error::Locked { .. })));
    drop(lock);
    Lock::acquire(&root).unwrap();
    drop(inherited);
}

#[test]
fn where_case_is_not_told_apart_a_name_changes_in_case_and_replaces_nothing() {
    let folder = scratch();
    let path = folder.path().join("s.zarr");
    Store::create(&path, ContainerVersion::V02).unwrap();
    let disk = disk_that_folds_case();
    assert!(disk.exists(&folder.path().join("S.ZARR")).unwrap());
    let mut store = open_on(&disk, &path).unwrap();
    for (name, value) in [("Zelle", 1.0), ("other", 2.0)] {
        store
            .write_table(name, &table(value), WriteMode::Create)
            .unwrap();
    }
    let before = elements(&content(&path)).len();
    // The element itself is in the way, and is not somebody else's.
    store.rename(ElementKind::Table, "Zelle", "zELLE").unwrap();
    for store in [&store, &open_on(&disk, &path).unwrap()] {
        assert_eq!(store.table_names(), ["other", "zELLE"]);
        let renamed = store.table("zELLE").unwrap().read_all().unwrap();
        assert_eq!(renamed, table(1.0));
        assert!(
            crate::validate(store).is_empty(),
            "{:?}",
            crate::validate(store)
        );
    }
    assert_eq!(elements(&content(&path)).len(), before);
    // Another element is.
    let refused = store.rename(ElementKind::Table, "zELLE", "OTHER");
    assert!(
        matches!(refused, Err(Error::InvalidName { .. })),
        "{refused:?}"
    );
    // So is what is no element.
    fs::write(path.join("tables/notes"), b"notes").unwrap();
    let refused = store.rename(ElementKind::Table, "zELLE", "Notes");
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    let refused = store.write_table("Notes", &table(3.0), WriteMode::Replace);
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
    assert_eq!(fs::read(path.join("tables/notes")).unwrap(), b"notes");
    store.remove(ElementKind::Table, "zELLE").unwrap();
    assert_eq!(open_on(&disk, &path).unwrap().table_names(), ["other"]);
}

#[test]
fn where_case_is_not_told_apart_no_entry_of_a_table_is_written_into_another() {
    let folder = scratch();
    let texts = Uns::from(vec!["one".to_owned()]);
    let group = Uns::Dict(BTreeMap::from([("texts".to_owned(), texts.clone())]));
    let pairs = [
        (&texts, &texts),
        (&texts, &group),
        (&group, &texts),
        (&group, &group),
    ];
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let path = folder.path().join(format!("{version:?}.zarr"));
        Store::create(&path, version).unwrap();
        let before = content(&path);
        for (first, second) in pairs {
            let mut data = table(1.0);
            data.uns.insert("Notes".to_owned(), first.clone());
            data.uns.insert("notes".to_owned(), second.clone());
            let mut store = open_on(&disk_that_folds_case(), &path).unwrap();
            let refused = store.write_table("t", &data, WriteMode::Create);
            let is_there = |path: &Path| {
                path.parent()
                    .is_some_and(|path| path.ends_with("uns/notes"))
            };
            assert!(
                matches!(&refused, Err(Error::Exists { path }) if is_there(path)),
                "{refused:?}"
            );
            assert_eq!(content(&path), before);
            // Elsewhere both have their place.
            let elsewhere = folder.path().join("elsewhere.zarr");
            let mut store = Store::create(&elsewhere, version).unwrap();
            store.write_table("t", &data, WriteMode::Create).unwrap();
            assert_eq!(store.table("t").unwrap().read_all().unwrap(), data);
            fs::remove_dir_all(elsewhere).unwrap();
        }
    }
}

#[test]
fn where_case_is_not_told_apart_no_entry_that_is_carried_over_replaces_a_new_one() {
    let folder = scratch();
    let path = folder.path().join("s.zarr");
    Store::create(&path, ContainerVersion::V02).unwrap();
    let disk = disk_that_folds_case();
    let mut data = table(1.0);
    data.uns.insert("Notes".to_owned(), "one".into());
    let mut store = open_on(&disk, &path).unwrap();
    store.write_table("t", &data, WriteMode::Create).unwrap();
    // What nobody reads is carried over.
    let node = path.join("tables/t/uns/Notes/zarr.json");
    let text = fs::read_to_string(&node).unwrap();
    let strange = text.replace(
        "\"encoding-type\": \"string\"",
        "\"encoding-type\": \"strange\"",
    );
    assert_ne!(strange, text);
    fs::write(&node, strange).unwrap();
    let before = content(&path);
    let mut store = open_on(&disk, &path).unwrap();
    let mut data = store.table("t").unwrap().read_all().unwrap();
    assert!(matches!(data.uns["Notes"], Uns::Unsupported(_)));
    data.uns.insert("notes".to_owned(), "two".into());
    let refused = store.write_table("t", &data, WriteMode::Replace);
    assert!(
        matches!(&refused, Err(Error::Exists { path }) if path.ends_with("uns/Notes")),
        "{refused:?}"
    );
    assert_eq!(content(&path), before);
}

#[test]
fn what_others_left_makes_no_reader_take_the_lock() {
    let folder = scratch();
    let path = folder.path().join("s.zarr");
    Store::create(&path, ContainerVersion::V02).unwrap();
    let left = path.join(".zarr.json.phenocoder-new-0123456789abcdef-1-5");
    fs::write(&left, b"half").unwrap();
    // The only open of the folder itself is that of the lock.
    let opened = |n| {
        let (disk, faults) = Faults::disk(n, Fault::Broken, false);
        let _ = open_on(&disk, &path);
        faults.hit()
    };
    let hits: Vec<_> = (0..).map_while(opened).collect();
    assert!(hits.len() > 5);
    let lock = (crate::disk::Operation::Open, path.clone());
    assert!(!hits.contains(&lock), "{hits:?}");
    let own = Place::new(path.join("zarr.json")).staged();
    fs::write(own.path(), b"half").unwrap();
    let hits: Vec<_> = (0..)
        .map_while(|n| {
            fs::write(own.path(), b"half").unwrap();
            opened(n)
        })
        .collect();
    assert!(!cfg!(unix) || hits.contains(&lock), "{hits:?}");
    assert!(left.exists());
}

#[test]
fn many_who_create_a_store_in_one_place_make_one() {
    let folder = scratch();
    let path = folder.path().join("new/s.zarr");
    let source = folder.path().join("source.zarr");
    Store::create(&source, ContainerVersion::V02)
        .unwrap()
        .write_table("t", &table(1.0), WriteMode::Create)
        .unwrap();
    fs::create_dir(folder.path().join("new")).unwrap();
    // A process of this machine that has ended, if one can see that, one of another, and one that makes another store.
    let own = crate::disk::Owner::own().to_string();
    let mut parts = own.rsplitn(3, '-');
    let (start, process) = (parts.next().unwrap(), parts.next().unwrap());
    let gone = format!("{}-{process}-{}1", parts.next().unwrap(), start);
    let left = [
        format!(".s.zarr.phenocoder-store-0-{gone}"),
        ".s.zarr.phenocoder-store-0-0123456789abcdef-1-5".to_owned(),
        format!(".u.zarr.phenocoder-store-0-{gone}"),
    ];
    for name in &left {
        fs::create_dir(folder.path().join("new").join(name)).unwrap();
    }
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|i| {
                let (path, source) = (&path, &source);
                scope.spawn(move || match i % 2 {
                    0 => Store::create(path, ContainerVersion::V02).map(|_| ()),
                    _ => crate::copy_store(source, path, &NoProgress),
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1, "{refused:?}");
    for error in refused {
        assert!(matches!(error, Err(Error::Exists { .. })), "{error:?}");
    }
    let store = Store::open(&path).unwrap();
    assert!(crate::validate(&store).is_empty());
    let mut names: Vec<String> = fs::read_dir(folder.path().join("new"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut expected = vec![left[1].clone(), left[2].clone(), "s.zarr".to_owned()];
    if start == "0" {
        expected.insert(1, left[0].clone());
    }
    expected.sort();
    assert_eq!(names, expected);
}
