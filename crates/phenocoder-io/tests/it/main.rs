//! Real stores, conformance cases, round trips, interrupted writes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod atomic;
mod bombs;
mod broken_points;
mod conformance;
mod conformance_geo;
mod forms;
#[cfg(unix)]
mod full_disk;
#[cfg(feature = "object-store")]
mod http;
mod kills;
mod lazy;
mod left_overs;
mod organoid;
mod parquet;
mod patchset;
mod pyramids;
mod python_tables;
mod ragged;
mod region;
#[cfg(feature = "object-store")]
mod remote;
mod round_trip;
#[cfg(feature = "object-store")]
mod secrets;
#[cfg(feature = "object-store")]
mod servers;
mod strict;
mod table_rules;
mod tables;
mod texts;
mod vector;
mod vector_metadata;
mod verify;
mod windows;
mod zip_store;

use std::fs;
use std::path::{Path, PathBuf};

use phenocoder_io::{ContainerVersion, Store, TableData, WriteMode};
use tempfile::TempDir;

/// A store with one table, in a folder of its own.
fn store_with(
    version: ContainerVersion,
    name: &str,
    table: &TableData,
) -> (TempDir, PathBuf, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.zarr");
    let mut store = Store::create(&path, version).unwrap();
    store.write_table(name, table, WriteMode::Create).unwrap();
    (folder, path, store)
}

/// All files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A process of this machine that has ended, as the names of left-overs have it; see `disk::owner`.
fn of_this_machine() -> String {
    let hash = |bytes: &[u8]| {
        let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        bytes.iter().fold(0x811c_9dc5, step)
    };
    let host = fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| hash(&id));
    let space = fs::read_link("/proc/self/ns/pid");
    let space = space.map_or(0, |link| hash(link.as_os_str().as_encoded_bytes()));
    format!("{host:08x}{space:08x}-1-1")
}
