//! Real stores, conformance cases, round trips, interrupted writes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod atomic;
mod conformance;
mod conformance_geo;
#[cfg(unix)]
mod full_disk;
mod organoid;
mod patchset;
mod region;
mod round_trip;
mod tables;
mod vector;
mod windows;
mod zip_store;
