//! Parity with scanpy, umap-learn, bbknn, igraph, leidenalg, scikit-learn and scib-metrics on reference data, and same bits on any number of threads.
//! Parity with scanpy, umap-learn, bbknn, igraph, scikit-learn, scib-metrics and harmonypy on reference data, and same bits on any number of threads.

#![allow(clippy::unwrap_used, reason = "tests")]

mod clusters;
mod classifiers;
mod combat;
mod corrections;
mod evaluation;
mod golden;
mod harmony;
mod mixing;
mod organoid;
mod pca;
mod spatial;
mod threads;
mod variable;
mod umap;
