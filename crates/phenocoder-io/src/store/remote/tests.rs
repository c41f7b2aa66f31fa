//! Whatever request fails, a store on a server is as it was or as it was to be, and locks hold.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array3;
use phenocoder_core::{MemoryLabels, NoProgress};

use super::super::copy::copy_opened;
use super::*;
use crate::root::remote::faults::{Failure, Faulty};
use crate::{LabelWriteOptions, TableData};

use locks::take;

mod locks;

const PART: u32 = 1 << 10;

fn open_on(server: &Faulty) -> Result<Store> {
    let remote = Remote::on(Server::on(server, PART));
    Store::from_root(Root::new(remote, OpenOptions::default()))
}

fn create(version: ContainerVersion) -> Faulty {
    let files = new_root(version).into_iter();
    Faulty::with(
        &files
            .map(|(name, bytes)| (format!("s.zarr/{name}"), bytes))
            .collect(),
    )
}

fn table(n: usize) -> TableData {
    TableData::new((0..n).map(|i| format!("c{i}")).collect(), vec![], None)
}

fn write_mask(store: &mut Store, name: &str) -> Result<()> {
    let mask = MemoryLabels::new(name, Array3::from_elem((1, 8, 8), 3));
    store.write_labels(name, &mask, &LabelWriteOptions::default(), &NoProgress)
}

fn attributes(donor: u32) -> Map<String, Value> {
    serde_json::from_value(json!({ "donor": donor })).unwrap()
}

/// A change of a store.
type Step = (&'static str, fn(&mut Store) -> Result<()>);

const STEPS: [Step; 8] = [
    ("create a mask", |s| write_mask(s, "l")),
    ("create another mask", |s| write_mask(s, "m")),
    ("create a table", |s| {
        s.write_table("t", &table(2), WriteMode::Create)
    }),
    ("replace a table", |s| {
        s.write_table("t", &table(3), WriteMode::Replace)
    }),
    ("write attributes", |s| s.write_attributes(attributes(7))),
    ("replace attributes", |s| s.write_attributes(attributes(8))),
    ("delete a mask", |s| s.remove(ElementKind::Labels, "l")),
    ("delete a table", |s| s.remove(ElementKind::Table, "t")),
];

fn lock_key() -> String {
    format!("s.zarr/{}", listing::LOCK)
}

/// Whether somebody has the lock.
fn is_locked(server: &Faulty) -> bool {
    let lock = server.content().remove(&lock_key());
    lock.is_some_and(|lock| {
        let lock: Value = serde_json::from_slice(&lock).unwrap();
        lock.get("is_free").is_none()
    })
}

/// All files but the lock.
fn files(server: &Faulty) -> BTreeMap<String, Vec<u8>> {
    let mut content = server.content();
    content.remove(&lock_key());
    content
}

/// What a store says of itself, and the rows of its tables.
fn shown(store: &Store) -> (Vec<(String, usize)>, Map<String, Value>) {
    let elements = store.elements().iter().map(|element| {
        let rows = match element.kind {
            ElementKind::Table => store.table(&element.name).unwrap().n_obs(),
            _ => 0,
        };
        (element.key.clone(), rows)
    });
    (elements.collect(), store.attributes().clone())
}

/// Every file of metadata is what the table of contents says, where it says something of it.
fn agrees(server: &Faulty, case: &str) {
    let content = server.content();
    let parse = |bytes: &Vec<u8>| serde_json::from_slice::<Value>(bytes).unwrap();
    let (root, field) = match content.get("s.zarr/zarr.json") {
        Some(bytes) => (parse(bytes)["consolidated_metadata"].clone(), "/zarr.json"),
        None => (parse(&content["s.zarr/.zmetadata"]), ""),
    };
    if let Some(copy) = content.get("s.zarr/zmetadata") {
        assert_eq!(parse(copy), root, "{case}");
    }
    for (key, told) in root["metadata"].as_object().unwrap() {
        let stored = parse(&content[&format!("s.zarr/{key}{field}")]);
        assert_eq!(&stored, told, "{case}: {key}");
    }
}

fn every_request_fails_once(version: ContainerVersion, failure: Failure, for_good: bool) -> usize {
    let mut before = create(version).content();
    if let Some(contents) = before.get("s.zarr/.zmetadata") {
        // As SpatialData up to 0.5 reads it.
        before.insert("s.zarr/zmetadata".to_owned(), contents.clone());
    }
    let mut failures = 0;
    for (what, step) in STEPS {
        let old = shown(&open_on(&Faulty::with(&before)).unwrap());
        let server = Faulty::with(&before);
        step(&mut open_on(&server).unwrap()).unwrap();
        agrees(&server, what);
        let after = server.content();
        assert!(!is_locked(&server), "{what}");
        let new = shown(&open_on(&server).unwrap());
        for n in 0.. {
            let server = Faulty::with(&before);
            let mut handle = open_on(&server).unwrap();
            server.fail(n, failure, for_good);
            let result = step(&mut handle);
            let Some(hit) = server.heal() else {
                result.unwrap();
                assert!(n > 5, "{what}: too few requests failed");
                break;
            };
            failures += 1;
            let case = format!("{what}: {failure:?} {n} lost, {hit}");
            let done = result.is_ok();
            // What is sent again finds what was done before; a table of contents that is there is known again.
            let is_contents = hit == format!("put s.zarr/{}", Contents::file(handle.format));
            let is_reply = failure == Failure::Reply && !for_good;
            if failure == Failure::Again || is_reply && is_contents {
                assert!(done, "{case}: {result:?}");
            }
            if done {
                let paths = |content: &BTreeMap<String, Vec<u8>>| {
                    let paths = content.keys().filter(|path| **path != lock_key());
                    paths.cloned().collect::<Vec<_>>()
                };
                assert_eq!(paths(&server.content()), paths(&after), "{case}");
            }
            if let Err(error) = result {
                let is_typed = matches!(
                    error,
                    Error::Remote { .. } | Error::Locked { .. } | Error::LockLost { .. }
                );
                assert!(is_typed, "{case}: {error:?}");
            }
            // Whoever opens it sees the old or the new state; an element that was to be replaced may be gone.
            let mut store = open_on(&server).unwrap();
            let found = shown(&store);
            let mut without = old.clone();
            without.0.retain(|(key, _)| key != "tables/t");
            let is_gone = what == "replace a table" && found == without;
            assert!(found == old || found == new || is_gone, "{case}: {found:?}");
            assert!(found == new || !done, "{case}: said to be done");
            if !for_good {
                assert_eq!(
                    shown(&handle),
                    found,
                    "{case}: the handle shows something else"
                );
            }
            // Where the lock is left, it can be taken away; then all files agree.
            if is_locked(&server) {
                assert!(for_good || hit.contains(listing::LOCK), "{case}: locked");
                let refused = store.write_attributes(attributes(9));
                assert!(matches!(refused, Err(Error::Locked { .. })), "{case}");
                let at_once = RepairOptions::default().with_lock_age(Duration::ZERO);
                assert_eq!(
                    store.repair_with(&at_once).unwrap().removed,
                    [listing::LOCK],
                    "{case}"
                );
            }
            agrees(&server, &case);
            assert_eq!(shown(&open_on(&server).unwrap()), found, "{case}");
            if found == old && found != new {
                step(&mut store).unwrap();
                assert_eq!(shown(&open_on(&server).unwrap()), new, "{case}");
                agrees(&server, &case);
            }
        }
        before = after;
    }
    failures
}

#[test]
fn every_request_that_fails_leaves_the_old_or_the_new_store() {
    // Zarr v2 has more files that must agree.
    for (version, for_good) in [
        (ContainerVersion::V01, false),
        (ContainerVersion::V01, true),
        (ContainerVersion::V02, false),
    ] {
        let failures: usize = [Failure::Request, Failure::Reply]
            .into_iter()
            .map(|failure| every_request_fails_once(version, failure, for_good))
            .sum();
        let how = if for_good { "for good" } else { "once" };
        println!("container {version:?}: {failures} requests that fail {how}");
        assert!(failures > 250);
    }
}

#[test]
fn a_request_that_is_sent_again_since_its_reply_was_lost_is_done() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let again = every_request_fails_once(version, Failure::Again, false);
        println!("container {version:?}: {again} requests that are sent again");
        assert!(again > 150);
    }
}

#[test]
fn what_is_on_its_way_takes_no_more_memory_than_there_is_room_for() {
    let mut server = create(ContainerVersion::V02);
    server.delay = Duration::from_millis(2);
    let mut store = open_on(&server).unwrap();
    let part = PART as usize;
    let write = |place: &Place, _: Option<&str>| {
        // Files in parts, files of just one part, and small ones.
        for i in 0..30 {
            let len = [5 * part + 7, part, part / 2][i % 3];
            place.join(format!("x/{i}")).write(&vec![i as u8; len])?;
        }
        crate::node::write_group(place, ZarrFormat::V3, Map::new())
    };
    store
        .put_remote(ElementKind::Table, "t", WriteMode::Create, write)
        .unwrap();
    assert!(server.peak() <= 4 * part, "{} bytes", server.peak());
    assert!(server.peak() > 2 * part, "several at a time");
    let content = server.content();
    for i in 0..30 {
        let len = [5 * part + 7, part, part / 2][i % 3];
        assert_eq!(
            content[&format!("s.zarr/tables/t/x/{i}")],
            vec![i as u8; len]
        );
    }
}

#[test]
fn numbers_of_python_stay_in_attributes_and_in_the_table_of_contents() {
    let python = r#""x": NaN, "n": 1180591620717411303424,"#;
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let server = create(version);
        write_mask(&mut open_on(&server).unwrap(), "l").unwrap();
        let mut content = server.content();
        // All files and what repeats them: the attributes of the root and of the group of masks.
        for bytes in content.values_mut() {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let text = text.replace("\"labels\":[", "\"labels\": [");
            let text = text.replace("\"labels\": [", &format!("{python} \"labels\": ["));
            let own = text.find("\"spatialdata_software_version\"");
            let root = own.and_then(|own| text[..own].rfind("\"spatialdata_attrs\""));
            let text = match root {
                Some(at) => format!("{}{python} {}", &text[..at], &text[at..]),
                None => text,
            };
            if text.contains(python) {
                *bytes = text.into_bytes();
            }
        }
        let server = Faulty::with(&content);
        let has_all = |what: &str| {
            let content = server.content();
            let (root, labels) = match version {
                ContainerVersion::V01 => (".zmetadata", "labels/.zattrs"),
                _ => ("zarr.json", "labels/zarr.json"),
            };
            for (file, times) in [(root, 2), (labels, 1)] {
                let text = String::from_utf8_lossy(&content[&format!("s.zarr/{file}")]);
                for number in ["NaN", "1180591620717411303424"] {
                    assert_eq!(text.matches(number).count(), times, "{what}: {text}");
                }
                assert!(!text.contains("\"NaN\""), "{what}: {text}");
            }
        };
        has_all("made");
        let mut store = open_on(&server).unwrap();
        write_mask(&mut store, "m").unwrap();
        has_all("a mask");
        let mut attributes = store.attributes().clone();
        attributes.insert("donor".to_owned(), json!(7));
        store.write_attributes(attributes).unwrap();
        has_all("attributes");
        store.remove(ElementKind::Labels, "l").unwrap();
        has_all("removed");
        assert_eq!(open_on(&server).unwrap().attributes()["donor"], 7);
    }
}

#[test]
fn a_copy_of_a_server_holds_what_is_listed_and_is_refused_while_somebody_writes() {
    for version in [ContainerVersion::V01, ContainerVersion::V02] {
        let server = create(version);
        let mut store = open_on(&server).unwrap();
        write_mask(&mut store, "l").unwrap();
        store
            .write_table("t", &table(2), WriteMode::Create)
            .unwrap();
        server.store("s.zarr/README.md", b"text");
        let listed = files(&server);
        // Of a writer that died, of zarr-python, of programs that know nothing of the store.
        let hidden = "0123456789abcdef0123456789abcdef.partial";
        for other in [
            "tables/half/zarr.json".to_owned(),
            format!("tables/t/.zarr.json.{hidden}"),
            format!(".zarr.json.{hidden}"),
            "tables/.t.phenocoder-new-1".to_owned(),
            "backup/zarr.json".to_owned(),
        ] {
            server.store(&format!("s.zarr/{other}"), b"{}");
        }
        let folder = tempfile::tempdir().unwrap();
        let copy = |name: &str| {
            let store = open_on(&server).unwrap();
            copy_opened(&store, &Place::new(folder.path().join(name)), &NoProgress)
        };
        take(&server);
        let refused = copy("locked.zarr");
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
        let at_once = RepairOptions::default().with_lock_age(Duration::ZERO);
        store.repair_with(&at_once).unwrap();
        copy("copy.zarr").unwrap();
        let path = folder.path().join("copy.zarr");
        let mut copied = BTreeMap::new();
        let mut folders = vec![path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let file = entry.unwrap().path();
                if file.is_dir() {
                    folders.push(file);
                } else {
                    let key = file.strip_prefix(&path).unwrap().to_str().unwrap();
                    copied.insert(format!("s.zarr/{key}"), fs::read(&file).unwrap());
                }
            }
        }
        assert!(copied == listed, "{:?}", copied.keys());
        assert!(crate::validate(&Store::open(&path).unwrap()).is_empty());
        // Somebody writes meanwhile, and is done before the end.
        let writer = server.clone();
        let file = Contents::file(store.format);
        server.watch(move |kind, path| {
            if kind == "get" && path.as_ref().ends_with("README.md") {
                let key = format!("s.zarr/{file}");
                let text = writer.content()[&key].clone();
                writer.store(&key, &text);
            }
        });
        let refused = copy("changed.zarr");
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
        assert!(!folder.path().join("changed.zarr").exists());
    }
}

#[test]
fn elements_are_made_where_only_this_user_looks() {
    let (a, b) = (Scratch::new().unwrap(), Scratch::new().unwrap());
    assert_ne!(a.0.path(), b.0.path());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(a.0.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    assert!(!b.0.create_private_folder().unwrap(), "it is there already");
    let path = a.0.path().to_owned();
    a.0.join("x/y").write(b"z").unwrap();
    drop(a);
    assert!(!path.exists());
}

#[test]
fn an_upload_that_fails_leaves_no_parts_of_others_and_names_its_file() {
    let mut server = create(ContainerVersion::V02);
    server.delay = Duration::from_millis(2);
    let mut store = open_on(&server).unwrap();
    let part = PART as usize;
    let write = |place: &Place, _: Option<&str>| {
        for i in 0..40 {
            place.join(format!("x/{i}")).write(&vec![7; 3 * part])?;
        }
        crate::node::write_group(place, ZarrFormat::V3, Map::new())
    };
    for n in [8, 20, 40, 80] {
        let count = AtomicUsize::new(0);
        let (failing, was_open) = (server.clone(), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&was_open);
        server.watch(move |kind, path| {
            // The next request is the one that is being watched.
            if kind == "part" && count.fetch_add(1, Ordering::SeqCst) == n {
                assert!(path.as_ref().contains("tables/t/x/"));
                seen.store(failing.open_uploads(), Ordering::SeqCst);
                failing.fail(0, Failure::Request, false);
            }
        });
        let refused = store
            .put_remote(ElementKind::Table, "t", WriteMode::Create, write)
            .unwrap_err();
        assert!(matches!(refused, Error::Remote { .. }), "{refused:?}");
        assert!(
            refused.key().unwrap().starts_with("tables/t/x/"),
            "{refused:?}"
        );
        let hit = server.heal().unwrap();
        assert!(hit.ends_with(refused.key().unwrap()), "{hit}: {refused:?}");
        assert!(
            was_open.load(Ordering::SeqCst) > 1,
            "others were on their way"
        );
        assert_eq!(server.open_uploads(), 0);
    }
}

#[test]
fn a_change_is_begun_only_where_the_budget_lets_it_end() {
    let part = PART as usize;
    let write = |len: usize| {
        move |place: &Place, _: Option<&str>| {
            for i in 0..6 {
                place
                    .join(format!("x/{i}"))
                    .write(&vec![len as u8; len * part / 2])?;
                crate::node::write_group(&place.join(format!("x{i}")), ZarrFormat::V3, Map::new())?;
            }
            crate::node::write_group(place, ZarrFormat::V3, Map::new())
        }
    };
    let server = create(ContainerVersion::V02);
    let mut store = open_on(&server).unwrap();
    let kind = ElementKind::Labels;
    store
        .put_remote(kind, "l", WriteMode::Create, write(1))
        .unwrap();
    let before = server.content();
    type Change<'a> = &'a dyn Fn(&mut Store) -> Result<()>;
    let changes: [(&str, Change); 3] = [
        ("replace", &|s| {
            s.put_remote(kind, "l", WriteMode::Replace, write(9))
        }),
        ("create", &|s| {
            s.put_remote(kind, "m", WriteMode::Create, write(9))
        }),
        ("remove", &|s| s.remove(kind, "l")),
    ];
    for (what, change) in changes {
        let mut refusals = 0;
        for budget in 0.. {
            let mut server = Faulty::with(&before);
            server.limit(budget);
            let done = open_on(&server).and_then(|mut store| change(&mut store));
            assert!(!is_locked(&server), "{what}: {budget}");
            if done.is_ok() {
                let spare = budget.saturating_sub(server.used());
                println!("{what}: {budget} requests, {spare} of them spare");
                assert!(spare < 30, "{what}: {spare} of {budget} were not needed");
                assert_ne!(files(&server), files(&Faulty::with(&before)));
                break;
            }
            let is_budget = matches!(done, Err(Error::TooManyRequests { .. }));
            assert!(is_budget, "{what}: {budget}: {done:?}");
            assert_eq!(
                files(&server),
                files(&Faulty::with(&before)),
                "{what}: {budget}"
            );
            refusals += 1;
        }
        assert!(refusals > 10, "{what}");
    }
}

fn create_on(server: &Faulty, version: ContainerVersion) -> Result<Store> {
    let remote = Remote::on(Server::on(server, PART));
    Store::create_on(remote, version, OpenOptions::default())
}

#[test]
fn whatever_request_of_creating_a_store_fails_there_is_none_or_an_empty_one() {
    let versions = [ContainerVersion::V01, ContainerVersion::V02];
    let mut failures = 0;
    for version in versions {
        for failure in [Failure::Request, Failure::Reply, Failure::Again] {
            for for_good in [false, true] {
                for n in 0.. {
                    let server = Faulty::default();
                    server.fail(n, failure, for_good);
                    let created = create_on(&server, version);
                    let Some(hit) = server.heal() else {
                        assert_eq!(shown(&created.unwrap()).0, []);
                        agrees(&server, "created");
                        break;
                    };
                    failures += 1;
                    let case = format!("{version:?}: {failure:?} {n}, {hit}, {for_good}");
                    let is_reply = failure == Failure::Reply && !for_good;
                    if failure == Failure::Again || is_reply && hit.starts_with("put") {
                        assert!(created.is_ok(), "{case}: {created:?}");
                    }
                    match open_on(&server) {
                        Ok(mut store) => {
                            assert_eq!(store.version(), version, "{case}");
                            for other in versions {
                                let before = server.content();
                                let refused = create_on(&server, other);
                                assert!(matches!(refused, Err(Error::Exists { .. })), "{case}");
                                assert_eq!(server.content(), before, "{case}");
                            }
                            write_mask(&mut store, "l").unwrap();
                            assert_eq!(open_on(&server).unwrap().label_names(), ["l"]);
                            agrees(&server, &case);
                        }
                        Err(error) => {
                            assert!(
                                matches!(error, Error::NotAStore { .. }),
                                "{case}: {error:?}"
                            );
                            assert!(created.is_err() && server.content().is_empty(), "{case}");
                            create_on(&server, version).unwrap();
                        }
                    }
                }
            }
        }
    }
    println!("{failures} requests of creating a store that fail");
    assert!(failures > 30);
}

#[test]
fn repair_says_what_it_wrote() {
    let server = create(ContainerVersion::V01);
    let mut store = open_on(&server).unwrap();
    write_mask(&mut store, "l").unwrap();
    let other = br#"{"labels": ["m"]}"#;
    server.store("s.zarr/labels/.zattrs", other);
    server.store(
        &lock_key(),
        br#"{"id": "a", "unfinished": ["labels/.zattrs", ".zattrs"]}"#,
    );
    let at_once = RepairOptions::default().with_lock_age(Duration::ZERO);
    let done = store.repair_with(&at_once).unwrap();
    assert_eq!(done.removed, [listing::LOCK]);
    assert_eq!(done.rewritten, ["labels/.zattrs"]);
    agrees(&server, "repaired");
}
