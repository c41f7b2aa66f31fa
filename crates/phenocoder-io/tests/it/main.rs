//! Real stores, conformance cases, round trips, interrupted writes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod atomic;
mod bombs;
mod broken_points;
mod conformance;
mod conformance_geo;
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
mod tables;
mod vector;
mod verify;
mod windows;
mod zip_store;

use std::fs;
use std::path::{Path, PathBuf};

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
