//! Parity with scanpy, umap-learn, bbknn, igraph, leidenalg, scikit-learn, scib-metrics and harmonypy on reference data,
//! and same bits on any number of threads.

#![allow(clippy::unwrap_used, reason = "tests")]

mod chain;
mod classifiers;
mod clusters;
mod combat;
mod corrections;
mod density;
mod evaluation;
mod golden;
mod harmony;
mod mixing;
mod organoid;
mod pca;
mod spatial;
mod stages;
mod threads;
mod umap;
mod variable;
