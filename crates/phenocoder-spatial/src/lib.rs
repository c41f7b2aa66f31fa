//! Neighborhoods of cells and their statistics.
//!
//! Take only this crate if you have coordinates and labels and want to know who lies beside whom: no images, no networks and
//! no file formats are involved.
//!
//! ```
//! use ndarray::array;
//! use phenocoder_core::{Categorical, Coords, NoProgress, Unit};
//! use phenocoder_spatial::summary::{StatisticsConfig, spatial_statistics};
//!
//! // (y, x) in micrometers, one sample and one type per cell.
//! let points = array![[0.0, 0.0], [0.0, 8.0], [6.0, 0.0], [40.0, 40.0], [40.0, 45.0]];
//! let points = Coords::new(points, Unit::Micrometer)?;
//! let samples = Categorical::from_labels(["s1", "s1", "s1", "s2", "s2"]);
//! let types = Categorical::from_labels(["T", "T", "B", "T", "B"]);
//!
//! let config = StatisticsConfig::new([10.0]);
//! let table = spatial_statistics(&points, &samples, &types, None, &config, &NoProgress)?;
//! assert_eq!(table.units, ["s1", "s2"]);
//! assert_eq!(table.column("radius:10_stat:interactions_interaction_B_T"), Some(vec![2.0, 1.0]));
//! # Ok::<(), phenocoder_spatial::Error>(())
//! ```
//!
//! # Catalogue
//!
//! | question | items |
//! |---|---|
//! | Who is a neighbor of whom? | [`radius_graph`], [`radius_graph_within`], [`neighbors::radius_interval_graph`], [`neighbors::knn_graph`], [`neighbors::delaunay_graph`], [`neighbors::lattice_graph`], [`NeighborGraph`]; within samples [`neighbors::knn_graph_within`], [`neighbors::delaunay_graph_within`] |
//! | Which of these links are to be kept, and how are they weighted? | [`neighbors::within_distances`], [`neighbors::within_percentile`], [`neighbors::mutual`], [`neighbors::symmetrized`], [`neighbors::is_symmetric`], [`neighbors::with_loops`], [`neighbors::rings`], [`neighbors::spectral`], [`neighbors::cosine`] |
//! | How do graphs get to petgraph and back? | [`neighbors::to_petgraph`], [`neighbors::from_petgraph`] |
//! | Which types lie beside which? | [`interactions::interaction_matrix`], [`interactions::row_normalized`] |
//! | Which types avoid each other, or seek each other, more than by chance? | [`enrichment::enrichment_exact`], [`enrichment::enrichment_exact_within`] samples, [`enrichment::enrichment_permuted`] |
//! | Which types lie how far from each other? | [`co_occurrence::co_occurrence`] |
//! | Are cells of a type clustered or spread, and at which scale? | [`ripley::ripley`], [`ripley::empty_space_at`] |
//! | Do edges link like with like? | [`assortativity::assortativity`], [`assortativity::assortativity_of`], [`assortativity::numeric_assortativity`] |
//! | What are the neighbors of every cell, and how mixed? | [`neighborhood::neighborhood_composition`], [`neighborhood::neighborhood_entropy`], [`neighborhood::mixing_entropy`], [`neighborhood::mixing_entropy_of`], [`neighborhood::label_entropy`] |
//! | Which types are in the middle of things? | [`centrality::group_centrality`], [`centrality::group_betweenness`], [`centrality::clustering_coefficients`] |
//! | Which cells are? | [`centrality::degree_centrality`], [`centrality::closeness_centrality`], [`centrality::betweenness_centrality`] |
//! | How crowded is it, and what hangs together? | [`connectivity::degree_statistics`], [`connectivity::connected_components`] |
//! | Do neighbors resemble each other? | [`autocorrelation::moran_i`], [`autocorrelation::geary_c`] |
//! | Do they more than by chance? | [`autocorrelation::moran_test`], [`autocorrelation::geary_test`], [`autocorrelation::moran_permuted`], [`autocorrelation::geary_permuted`], [`autocorrelation::adjust_fdr`] |
//! | Where are hot and cold spots, and outliers? | [`autocorrelation::local_moran`], [`autocorrelation::local_geary`] |
//! | Does one feature go with the neighbors' values of another? | [`autocorrelation::bivariate_moran`], [`autocorrelation::bivariate_moran_permuted`], [`autocorrelation::local_bivariate_moran`], [`autocorrelation::lee_l`] |
//! | Do two features change together from a cell to its neighbors? | [`autocorrelation::bivariate_geary`], [`autocorrelation::bivariate_geary_permuted`] |
//! | Which features have a spatial pattern at all? | [`autocorrelation::moran_test`]; on a lattice of spots [`sepal::sepal`] |
//! | How large are the structures? | [`hull::hull_components`], [`hull::convex_hull`] |
//! | What does a sample consist of? | [`composition::composition`] |
//! | What is a cell like together with its neighbors? | [`smooth::message_passing`] |
//! | How are large samples cut into pieces? | [`subunits::assign_subunits`] |
//! | All of it, as one table of all samples? | [`summary::spatial_statistics`]; of samples that come one after another [`summary::StatisticsBuilder`] |
//! | Which of it differs between groups of samples? | [`comparison::compare_groups`] |
//!
//! # Conventions
//!
//! Points are the rows of a matrix, in any axis order that all axes share a unit in: distances are Euclidean, so scale
//! anisotropic voxels first ([`Coords::scaled`](phenocoder_core::Coords::scaled)).
//! Every radius, distance and size is in the unit of the points that it is asked of, whichever that is, so names have none;
//! [`Coords`](phenocoder_core::Coords) carries the unit to where results tell it.
//! Graphs are [`CsrGraph`](phenocoder_core::CsrGraph)s whose values are distances; statistics count edges, not distances, unless they say so.
//! They hold up to 2³² points and any number of edges.
//! What is not defined is NaN; what cannot be understood is an [`Error`].
//! The number of threads never changes a bit of a result.
//!
//! # Differences from squidpy and the original
//!
//! Every item lists its own. `Compat` variants ([`summary::Mode::Compat`], [`smooth::Smoothing::Compat`]) give the original's
//! numbers.

pub mod assortativity;
pub mod autocorrelation;
pub mod centrality;
pub mod co_occurrence;
pub mod comparison;
pub mod composition;
pub mod connectivity;
pub mod enrichment;
mod error;
pub mod hull;
pub mod interactions;
pub mod neighborhood;
pub mod neighbors;
mod pairs;
mod predicates;
mod reduce;
pub mod ripley;
mod scale;
pub mod sepal;
pub mod smooth;
pub mod subunits;
pub mod summary;

pub use error::{ConfigError, Error, Result};
pub use neighbors::{NeighborGraph, radius_graph, radius_graph_within};
