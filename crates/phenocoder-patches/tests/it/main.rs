//! Integration tests: statistics and extraction against naive versions on images with arbitrary chunks, and against the
//! reference data.

#![allow(clippy::unwrap_used, reason = "tests")]

mod extraction;
mod golden;
mod loading;
mod statistics;
mod store;
mod support;
