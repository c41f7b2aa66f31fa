//! Parity with scanpy, umap-learn, bbknn, igraph, leidenalg, scikit-learn and scib-metrics on reference data, and same bits on any number of threads.

#![allow(clippy::unwrap_used, reason = "tests")]

mod clusters;
mod combat;
mod evaluation;
mod golden;
mod mixing;
mod organoid;
mod spatial;
mod threads;
