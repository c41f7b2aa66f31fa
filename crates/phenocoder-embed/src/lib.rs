//! From numbers per cell or per sample to an answer: which rows are alike, which groups there are, and whether it is
//! batch.
//!
//! Takes `ndarray` views and labels, returns arrays and graphs; it knows nothing of images, stores or tables.
//! Take only this crate if you have a matrix and want its principal components, exact neighbours, batch-corrected
//! graph, Leiden clusters and a UMAP that is the same on every run.
//!
//! # Getting started
//!
//! ```
//! use ndarray::Array2;
//! use phenocoder_core::{NoProgress, Seed};
//! use phenocoder_embed::cluster::{LeidenConfig, leiden};
//! use phenocoder_embed::evaluate::adjusted_rand_index;
//! use phenocoder_embed::fuzzy::{FuzzyConfig, fuzzy_graph};
//! use phenocoder_embed::knn::{Metric, nearest_neighbors};
//! use phenocoder_embed::pca::{Pca, PcaConfig};
//! use phenocoder_embed::scale::{ScaleConfig, Scaler};
//! use phenocoder_embed::umap::{UmapConfig, layout};
//!
//! // Two groups of rows in five dimensions.
//! let truth: Vec<u32> = (0..60).map(|i| i % 2).collect();
//! let mut stream = Seed::new(1).stream("rows", 0);
//! let x = Array2::from_shape_fn((60, 5), |(i, _)| 8.0 * f64::from(truth[i]) + stream.normal());
//!
//! let scaled = Scaler::fit(x.view(), &ScaleConfig::default())?.transform(x.view())?;
//! let scores = Pca::fit(scaled.view(), &PcaConfig::new(3))?.transform(scaled.view())?;
//! let neighbors = nearest_neighbors(scores.view(), 14, Metric::Euclidean, &NoProgress)?;
//! let graph = fuzzy_graph(&neighbors, &FuzzyConfig::default(), &NoProgress)?;
//! let map = layout(&graph, &UmapConfig::default(), &NoProgress)?;
//! let clusters = leiden(&graph, &LeidenConfig::default().with_resolution(0.1), &NoProgress)?;
//!
//! assert_eq!(map.dim(), (60, 2));
//! assert_eq!(adjusted_rand_index(&clusters.labels, &truth)?, 1.0);
//! # Ok::<(), phenocoder_embed::Error>(())
//! ```
//!
//! # Catalogue
//!
//! | question | items |
//! |---|---|
//! | How are columns brought to one scale? | [`scale::Scaler`] |
//! | What belongs to the batch and not to the biology? | [`batch::harmony()`], [`batch::combat`], [`batch::center`], [`batch::ridge_removal`], [`knn::batch_balanced_neighbors`] |
//! | Which columns vary, and do not say the same? | [`select::variable_features`] |
//! | In which directions do rows differ? | [`pca::Pca`]; rows in blocks: [`pca::IncrementalPca`] |
//! | Which rows are alike? | [`knn::nearest_neighbors`], [`knn::query_neighbors`]; in a library larger than memory [`knn::NeighborSearch`]; approximately, with the feature `hnsw`, `knn::HnswIndex` |
//! | Which old rows are like new ones, in every batch alike? | [`knn::batch_balanced_query`] |
//! | What share of the nearest rows does an approximate search find? | [`knn::recall`] |
//! | How strongly? | [`fuzzy::fuzzy_graph`], [`fuzzy::trim`], [`fuzzy::to_undirected`] |
//! | And by what is known of them? | [`fuzzy::supervise`] |
//! | What does it look like? | [`umap::layout`], [`umap::Umap`] |
//! | And which groups are dense? | [`umap::layout_with_density`], [`umap::local_radii`] |
//! | Which groups are there? | [`cluster::leiden`], [`cluster::kmeans`], [`cluster::gaussian_mixture`] |
//! | Are they found again? | [`cluster::stability()`], [`cluster::leiden_stability`] |
//! | Do two groupings agree? | [`evaluate::adjusted_rand_index`], [`evaluate::normalized_mutual_information`], [`evaluate::v_measure`], [`evaluate::purity`] |
//! | Are groups apart? | [`evaluate::silhouette`], [`evaluate::silhouette_by_label`], [`evaluate::davies_bouldin`], [`evaluate::calinski_harabasz`] |
//! | Are batches mixed? | [`evaluate::silhouette_by_batch`], [`evaluate::knn_purity`] |
//! | Do neighbourhoods hold all batches, and one label? | [`evaluate::mixing::integration_lisi`], [`evaluate::mixing::kbet`], [`evaluate::mixing::kbet_by_label`], [`evaluate::mixing::label_lisi`], [`evaluate::mixing::graph_connectivity`] |
//! | How much of the variance is between batches? | [`evaluate::mixing::batch_variance`] |
//! | All of that at once, before and after a correction? | [`evaluate::mixing::batch_report`] |
//! | Do near rows tell the label? | [`evaluate::leave_one_out_accuracy`], [`evaluate::KnnClassifier`] |
//! | Does a linear function tell it, or do trees of questions? | [`evaluate::LogisticRegression`], [`evaluate::RandomForest`] |
//! | Can it be told of wells that were not seen? | [`evaluate::probe`] |
//! | Which rows test what others taught? | [`evaluate::stratified_folds`], [`evaluate::group_folds`], [`evaluate::stratified_group_folds`] |
//! | Are predicted labels right? | [`evaluate::classification_report`], [`evaluate::probability_report`] |
//! | Is a map to be trusted? | [`evaluate::trustworthiness`], [`umap::cross_entropy`] |
//!
//! # Features
//!
//! * `hnsw`: approximate neighbours of many rows (`knn::HnswIndex`).
//!
//! # Conventions
//!
//! Rows are observations.
//! Neighbours never include the row itself: `n_neighbors = 15` of scanpy is `k = 14` here.
//! Every random function takes a [`Seed`](phenocoder_core::Seed), and results have the same bits for any number of
//! threads.
//! What is fitted ([`scale::Scaler`], [`batch::Combat`], [`batch::Centering`], [`batch::RidgeRemoval`],
//! [`batch::Harmony`], [`pca::Pca`], [`pca::IncrementalPca`], [`cluster::KMeans`], [`cluster::GaussianMixture`],
//! [`umap::Umap`], [`evaluate::KnnClassifier`], [`evaluate::LogisticRegression`], [`evaluate::RandomForest`] and
//! `knn::HnswIndex`) is written and read back by serde, to the bit where the format keeps all digits.
//! Neighbours, graphs, maps and clusters of the same matrix have the same bits on every processor; what matrix products of
//! ndarray go into (scores of components, corrections, regressions) may differ in the last digit between processors with
//! other vector units.
//!
//! # References
//!
//! Every item cites its paper; the numbers of scanpy 1.12.4, umap-learn 0.5.12, bbknn 1.6.0, igraph 1.0.0,
//! leidenalg 0.12.0, scikit-learn 1.9.1, scib-metrics 0.5.10 and harmonypy 0.0.10 and 2.1.0 are matched as the tests in
//! `tests/it` state.

pub mod batch;
pub mod cluster;
mod eigen;
mod error;
pub mod evaluate;
pub mod fuzzy;
pub mod knn;
mod matrix;
mod patience;
pub mod pca;
pub mod scale;
pub mod select;
mod stored;
pub mod umap;

pub use error::{ConfigError, Error, Result};
