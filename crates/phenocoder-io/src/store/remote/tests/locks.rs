//! Locks that are renewed, given up and taken away.

use super::*;

#[test]
fn a_lock_that_is_another_version_each_time_is_given_up_for_lost() {
    // Of a server that changes the version of what it holds whenever it is asked.
    let server = create(ContainerVersion::V01);
    let mut store = open_on(&server).unwrap();
    let (moody, puts) = (server.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&puts);
    server.watch(move |kind, path| {
        let is_put = kind == "put" && path.as_ref() == lock_key();
        // It is no loop without an end where it is one.
        if is_put && is_locked(&moody) && count.fetch_add(1, Ordering::SeqCst) < 40 {
            let lock = moody.content()[&lock_key()].clone();
            moody.store(&lock_key(), &lock);
        }
    });
    let before = files(&server);
    let refused = store.write_attributes(attributes(7));
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    // Three to note what is written, and three to give the lock up.
    assert_eq!(puts.load(Ordering::SeqCst), 6);
    assert_eq!(files(&server), before);
    server.watch(|_, _| {});
    let at_once = RepairOptions::default().with_lock_age(Duration::ZERO);
    assert_eq!(
        store.repair_with(&at_once).unwrap().removed,
        [listing::LOCK]
    );
    store.write_attributes(attributes(7)).unwrap();
}

/// What another writer puts in the place of the lock.
const TAKEN: &[u8] = br#"{"id": "somebody else"}"#;

pub(super) fn take(server: &Faulty) {
    server.store(&lock_key(), TAKEN);
}

fn put(store: &mut Store, name: &str, meanwhile: impl FnOnce()) -> Result<()> {
    let write = |place: &Place, _: Option<&str>| {
        meanwhile();
        crate::node::write_group(place, ZarrFormat::V3, Map::new())
    };
    store.put_remote(ElementKind::Table, name, WriteMode::Replace, write)
}

#[test]
fn a_writer_that_takes_long_renews_its_lock() {
    let mut server = create(ContainerVersion::V02);
    server.renewal = Duration::from_millis(20);
    let mut store = open_on(&server).unwrap();
    let mut other = open_on(&server).unwrap();
    let age = RepairOptions::default().with_lock_age(Duration::from_secs(60));
    let (renewed, renewals) = std::sync::mpsc::channel();
    server.watch(move |kind, path| {
        if kind == "put" && path.as_ref() == lock_key() {
            // Nobody listens in the end.
            let _ = renewed.send(());
        }
    });
    put(&mut store, "t", || {
        let first = server.content()[&lock_key()].clone();
        // That it was taken, and that it was renewed twice: the last is there before the next begins.
        for _ in 0..3 {
            renewals.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        assert_ne!(server.content()[&lock_key()], first);
        let refused = other.repair_with(&age);
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    })
    .unwrap();
    assert!(!is_locked(&server));
    // The lock of one that died is not renewed.
    take(&server);
    let refused = other.repair_with(&age);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    server.age(Duration::from_secs(61));
    assert_eq!(other.repair_with(&age).unwrap().removed, [listing::LOCK]);
    assert_eq!(other.repair_with(&age).unwrap(), Repair::default());
    assert_eq!(open_on(&server).unwrap().table_names(), ["t"]);
}

#[test]
fn a_lock_that_is_given_up_twice_is_nobody_elses() {
    // The reply to giving it up is lost, and the next writer has the lock before that is known.
    let server = create(ContainerVersion::V02);
    let (thief, given_up) = (server.clone(), AtomicUsize::new(0));
    server.watch(move |kind, path| {
        let is_lock = path.as_ref() == lock_key();
        let is_last = kind == "put" && thief.content().contains_key("s.zarr/tables/t/zarr.json");
        match (is_lock, given_up.load(Ordering::SeqCst)) {
            (true, 0)
                if is_last
                    && files(&thief)["s.zarr/zarr.json"]
                        .windows(8)
                        .any(|w| w == b"tables/t") =>
            {
                given_up.store(1, Ordering::SeqCst);
                thief.fail(0, Failure::Reply, false);
            }
            (true, 1) => {
                given_up.store(2, Ordering::SeqCst);
                assert!(!is_locked(&thief), "it was given up");
                take(&thief);
            }
            _ => {}
        }
    });
    let mut store = open_on(&server).unwrap();
    put(&mut store, "t", || {}).unwrap();
    assert_eq!(
        server.heal().as_deref(),
        Some("put s.zarr/.phenocoder-lock")
    );
    assert_eq!(server.content()[&lock_key()], TAKEN);
}

#[test]
fn a_writer_whose_lock_was_taken_stops_and_publishes_nothing() {
    let server = create(ContainerVersion::V02);
    let mut store = open_on(&server).unwrap();
    put(&mut store, "t", || {}).unwrap();
    let before = files(&server);
    let refused = put(&mut store, "t", || take(&server)).unwrap_err();
    assert!(matches!(refused, Error::LockLost { .. }), "{refused:?}");
    assert!(refused.is_environment());
    // Nor is the lock of whoever took it given up.
    assert_eq!(server.content()[&lock_key()], TAKEN);
    assert_eq!(files(&server), before);
    let refused = store.write_attributes(attributes(7)).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused:?}");
    let at_once = RepairOptions::default().with_lock_age(Duration::ZERO);
    // Repairing takes it, and a writer that goes on meanwhile finds none.
    let mut other = open_on(&server).unwrap();
    other.repair_with(&at_once).unwrap();
    let refused = put(&mut store, "t", || {
        other.repair_with(&at_once).unwrap();
    });
    assert!(
        matches!(refused, Err(Error::LockLost { .. })),
        "{refused:?}"
    );
    assert_eq!(files(&server), before);
}

#[test]
fn a_lock_is_looked_at_before_each_step_that_others_would_miss() {
    // Whatever request it is that the lock is taken at, no metadata are written after it, and the lock stays taken.
    let mut taken = 0;
    for (what, step) in STEPS {
        let prepared = create(ContainerVersion::V01);
        let mut store = open_on(&prepared).unwrap();
        for (_, earlier) in STEPS.iter().take_while(|(name, _)| *name != what) {
            earlier(&mut store).unwrap();
        }
        let before = prepared.content();
        for n in 0.. {
            let server = Faulty::with(&before);
            let mut store = open_on(&server).unwrap();
            let (asked, thief) = (Arc::new(AtomicUsize::new(0)), Faulty::clone(&server));
            let at = Arc::clone(&asked);
            let written: Arc<Mutex<Vec<String>>> = Arc::default();
            let later = Arc::clone(&written);
            server.watch(move |kind, path| {
                let now = at.fetch_add(1, Ordering::SeqCst);
                let path = path.as_ref();
                if now == n && is_locked(&thief) {
                    take(&thief);
                } else if now > n && kind == "put" && is_metadata_or_copy(path) {
                    later.lock().unwrap().push(path.to_owned());
                }
            });
            let result = step(&mut store);
            let requests = asked.load(Ordering::SeqCst);
            server.watch(|_, _| {});
            if n >= requests {
                result.unwrap();
                assert!(n > 5, "{what}");
                break;
            }
            let lock = server.content().remove(&lock_key());
            if lock.as_deref() == Some(TAKEN) {
                taken += 1;
                let written = written.lock().unwrap();
                assert!(written.is_empty(), "{what}: taken at {n}, then {written:?}");
                // What was done by then, but for the lock, is done.
                let is_lost = matches!(result, Err(Error::LockLost { .. }));
                assert!(
                    is_lost || result.is_ok() && n + 3 >= requests,
                    "{what}: {result:?}"
                );
            } else {
                // Nobody had it at that moment.
                result.unwrap();
                assert!(!is_locked(&server), "{what}: taken at {n}");
            }
        }
    }
    println!(
        "a lock taken away at {taken} requests of {} changes",
        STEPS.len()
    );
    assert!(taken > 200);
}

fn is_metadata_or_copy(path: &str) -> bool {
    is_metadata(path) || path.ends_with("zmetadata")
}

#[test]
fn a_removal_stops_when_the_lock_is_taken() {
    let mut server = create(ContainerVersion::V02);
    let write = |place: &Place, _: Option<&str>| {
        for i in 0..500 {
            place.join(format!("x/{i}")).write(&[1])?;
        }
        crate::node::write_group(place, ZarrFormat::V3, Map::new())
    };
    let mut store = open_on(&server).unwrap();
    store
        .put_remote(ElementKind::Table, "t", WriteMode::Create, write)
        .unwrap();
    server.delay = Duration::from_millis(5);
    let mut store = open_on(&server).unwrap();
    let (thief, removed) = (server.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&removed);
    server.watch(move |kind, _| {
        if kind == "delete" && count.fetch_add(1, Ordering::SeqCst) == 3 {
            take(&thief);
        }
    });
    let refused = store.remove(ElementKind::Table, "t");
    assert!(
        matches!(refused, Err(Error::LockLost { .. })),
        "{refused:?}"
    );
    assert!(removed.load(Ordering::SeqCst) < 400, "{removed:?}");
    assert!(store.table_names().is_empty());
}

#[test]
fn an_upload_stops_when_the_lock_is_taken() {
    let mut server = create(ContainerVersion::V02);
    server.delay = Duration::from_millis(5);
    let mut store = open_on(&server).unwrap();
    let (thief, sent) = (server.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&sent);
    server.watch(move |kind, path| {
        let is_chunk = path.as_ref().contains("tables/t/x/");
        if kind == "put" && is_chunk && count.fetch_add(1, Ordering::SeqCst) == 3 {
            take(&thief);
        }
    });
    let before = server.content();
    let write = |place: &Place, _: Option<&str>| {
        for i in 0..2000 {
            place.join(format!("x/{i}")).write(&[1])?;
        }
        crate::node::write_group(place, ZarrFormat::V3, Map::new())
    };
    let refused = store.put_remote(ElementKind::Table, "t", WriteMode::Create, write);
    assert!(
        matches!(refused, Err(Error::LockLost { .. })),
        "{refused:?}"
    );
    assert!(sent.load(Ordering::SeqCst) < 1500, "{sent:?}");
    let after = server.content();
    assert_eq!(after["s.zarr/zarr.json"], before["s.zarr/zarr.json"]);
    assert!(store.table_names().is_empty());
}
