//! Parity with scanpy, umap-learn, bbknn and igraph on reference data, and same bits on any number of threads.

#![allow(clippy::unwrap_used, reason = "tests")]

mod golden;
mod organoid;
mod spatial;
mod threads;
