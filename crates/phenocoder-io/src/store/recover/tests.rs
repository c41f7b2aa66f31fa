//! What a machine left that was started anew since.

use std::fs;

use super::*;
use crate::disk::Disk;
use crate::disk::faults::ancient_disk;
use crate::store::{ContainerVersion, Store, WriteMode};
use crate::{OpenOptions, TableData};

#[test]
#[cfg(target_os = "linux")]
fn what_was_set_aside_before_the_machine_was_started_anew_goes_back() {
    let own = crate::disk::Owner::own().to_string();
    let (place, rest) = own.split_once('-').unwrap();
    let (host, rest_of_place) = place.split_at(8);
    if rest_of_place.ends_with("00000000") {
        println!("skipped: this machine has no /etc/machine-id");
        return;
    }
    let host = u32::from_str_radix(host, 16).unwrap() ^ 1;
    let earlier = format!("{host:08x}{rest_of_place}-{rest}");
    let elsewhere = format!("{host:08x}0123456789abcdef-{rest}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, ContainerVersion::V02).unwrap();
    let table = TableData::new(vec!["a".into()], vec![], None);
    for name in ["t", "u"] {
        store.write_table(name, &table, WriteMode::Create).unwrap();
    }
    let tables = path.join("tables");
    let old = |name: &str, owner: &str| tables.join(format!(".{name}.phenocoder-old-{owner}"));
    let new = tables.join(format!(".t.phenocoder-new-{earlier}"));
    fs::rename(tables.join("t"), old("t", &earlier)).unwrap();
    fs::rename(tables.join("u"), old("u", &elsewhere)).unwrap();
    fs::create_dir(&new).unwrap();
    let open_on = |disk: &Disk| {
        let root = Root::open_on(disk, &path, OpenOptions::default()).unwrap();
        Store::from_root(root).unwrap()
    };
    // They were renamed since: perhaps by a copy of this machine.
    let store = open_on(&Disk::default());
    assert_eq!(store.table_names(), ["t", "u"]);
    assert!(old("t", &earlier).exists());
    let mut store = open_on(&ancient_disk());
    assert_eq!(store.table_names(), ["t", "u"]);
    assert!(tables.join("t").exists() && !old("t", &earlier).exists());
    // What it was to be replaced with is nothing that anybody needs, and what others have stays.
    assert!(new.exists() && old("u", &elsewhere).exists() && !tables.join("u").exists());
    store.write_table("t", &table, WriteMode::Replace).unwrap();
    store.repair().unwrap();
    assert!(!new.exists() && tables.join("u").exists());
    assert!(crate::validate(&store).is_empty());
}
