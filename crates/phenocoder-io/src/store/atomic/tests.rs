//! A change that fails at any moment leaves the store as it was.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::store::{ContainerVersion, Store};

fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn element(text: &'static str) -> impl FnOnce(&Path) -> Result<()> {
    move |place| {
        write_group(place, ZarrFormat::V3, Map::new())?;
        file::write(&place.join("data"), text.as_bytes())
    }
}

#[test]
fn a_failure_at_any_moment_leaves_everything_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("s.zarr");
    Store::create(&root, ContainerVersion::V02).unwrap();
    let opened = Root::open(&root, crate::OpenOptions::default()).unwrap();
    let lock = Lock::acquire(&root).unwrap();
    let change = Change {
        root: &opened,
        format: ZarrFormat::V3,
        group: "labels",
        name: "a",
    };
    // Creation, replacement and removal, each failing at its n-th moment until it passes.
    for stage in 0..3 {
        for n in 0_usize.. {
            let before = content(&root);
            let left = Cell::new(n);
            let watch = |moment: Moment| {
                if left.get() == 0 {
                    return Err(Error::missing("test", format!("{moment:?}")));
                }
                left.set(left.get().saturating_sub(1));
                Ok(())
            };
            let result = match stage {
                0 => change.put(&lock, &watch, element("old")),
                1 => change.put(&lock, &watch, element("new")),
                _ => change.remove(&lock, &watch),
            };
            let after = content(&root);
            assert!(
                !after
                    .keys()
                    .any(|p| p.display().to_string().contains(".phenocoder-"))
            );
            if result.is_ok() {
                assert!(n >= 3, "too few moments were tried");
                assert_ne!(before, after);
                break;
            }
            assert_eq!(before, after, "stage {stage}, moment {n}");
        }
    }
}

#[test]
fn a_lock_is_given_up_even_while_a_child_process_holds_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("s.zarr");
    Store::create(&root, ContainerVersion::V02).unwrap();
    let lock = Lock::acquire(&root).unwrap();
    // What a process that is being started has until it runs its own program.
    let inherited = lock.file.try_clone().unwrap();
    assert!(matches!(Lock::acquire(&root), Err(Error::Locked { .. })));
    drop(lock);
    Lock::acquire(&root).unwrap();
    drop(inherited);
}
