//! Which points are neighbors of which.
//!
//! A neighborhood is a [`CsrGraph`] over the rows of the points whose values are Euclidean distances.
//! A point is never its own neighbor, but a coincident one is (at distance 0).

mod delaunay;
mod exchange;
mod grid;
mod knn;
mod prune;
mod rings;
mod rows;
mod similarity;
mod symmetry;

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, CsrGraph, ShapeError};
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Error, Result};

pub use delaunay::{delaunay_graph, delaunay_graph_within};
pub use exchange::{from_petgraph, to_petgraph};
pub(crate) use knn::{CityBlock, Tree};
pub use knn::{knn_graph, knn_graph_within};
pub use prune::{PercentileOf, within_distances, within_percentile};
pub use rings::{lattice_graph, rings};
pub(crate) use rows::row_pointers;
pub use similarity::{cosine, spectral};
pub(crate) use symmetry::{each_symmetric, undirected, without_loops};
pub use symmetry::{is_symmetric, mutual, symmetrized, with_loops};

/// A rule that makes a graph of points.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::neighbors::NeighborGraph;
///
/// let points = array![[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]];
/// let graph = NeighborGraph::Radius { radius: 5.0 }.build(points.view(), None)?;
/// assert_eq!(graph.neighbors(0), [1]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum NeighborGraph {
    /// Points at most this far apart, see [`radius_graph`].
    Radius {
        /// The radius in the unit of the coordinates, inclusive.
        radius: f64,
    },
    /// Points whose distance lies in an interval, see [`radius_interval_graph`].
    RadiusInterval {
        /// The least distance, inclusive.
        min: f64,
        /// The greatest distance, inclusive.
        max: f64,
    },
    /// From every point to its nearest others, see [`knn_graph`].
    Knn {
        /// The number of neighbors of every point.
        k: usize,
    },
    /// Points whose Voronoi cells touch, see [`delaunay_graph`].
    Delaunay {
        /// Edges that are longer are left out; in the unit of the coordinates.
        max_length: Option<f64>,
    },
    /// Points of a regular lattice and their surroundings, see [`lattice_graph`].
    Lattice {
        /// The number of nearest neighbors in the lattice: 4 for squares, 6 for hexagons.
        k: usize,
        /// How many rings around every point.
        rings: usize,
    },
}

impl NeighborGraph {
    /// Makes the graph, without edges between different `samples` where they are given.
    ///
    /// # Errors
    ///
    /// Those of the function that the rule names.
    pub fn build(
        &self,
        points: ArrayView2<'_, f64>,
        samples: Option<&Categorical>,
    ) -> Result<CsrGraph> {
        match (*self, samples) {
            (Self::Radius { radius }, None) => radius_graph(points, radius),
            (Self::Radius { radius }, Some(samples)) => {
                radius_graph_within(points, samples, radius)
            }
            (Self::RadiusInterval { min, max }, samples) => {
                radius_interval_graph(points, samples, min, max)
            }
            (Self::Knn { k }, None) => knn_graph(points, k),
            (Self::Knn { k }, Some(samples)) => knn_graph_within(points, samples, k),
            (Self::Delaunay { max_length }, samples) => {
                let max = max_length.map(check_radius).transpose()?;
                let graph = match samples {
                    None => delaunay_graph(points)?,
                    Some(samples) => delaunay_graph_within(points, samples)?,
                };
                match max {
                    None => Ok(graph),
                    Some(max) => within_distances(&graph, 0.0, max),
                }
            }
            (Self::Lattice { k, rings }, samples) => lattice_graph(points, samples, k, rings),
        }
    }
}

/// Links points that are at most `radius` apart; the values are the distances.
///
/// Two points are linked exactly if Σ(Δ²) ≤ radius² in double precision, so the boundary belongs to the neighborhood.
/// Coincident points are linked at distance 0, also when the radius is 0; an infinite radius links all points.
/// The graph is symmetric and the columns of every row rise.
///
/// The points are sorted into cubes of the size of the radius, so the cost is linear in the number of points and edges,
/// whatever the extent of the point set.
/// The number of threads does not change a bit of the result.
///
/// # Shapes
///
/// `points`: `[n, d]` with any d from 1 to 3.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::radius_graph;
///
/// let points = array![[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]];
/// let graph = radius_graph(points.view(), 5.0)?;
/// assert_eq!(graph.row(0).collect::<Vec<_>>(), [(1, 5.0)]);
/// assert_eq!(graph.degree(2), 0);
///
/// let refused = radius_graph(array![[0.0, 0.0], [0.0, f64::NAN]].view(), 5.0);
/// assert_eq!(
///     refused.unwrap_err().to_string(),
///     "row 1, axis 1: the coordinate NaN is not finite",
/// );
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Radius`] for a radius that is negative or NaN, [`Error::NotFinite`] for the first coordinate that is not
/// finite, [`Error::Dimensions`] for points in no or more than three dimensions, [`Error::TooManyPoints`] from 2³² points on.
///
/// # Differences from squidpy
///
/// squidpy stores ones and distances in two matrices and loses the distance 0 of coincident points; here there is one graph
/// in which they keep it.
/// No points at all give an empty graph, not an error.
#[doc(alias = "spatial_neighbors")]
pub fn radius_graph(points: ArrayView2<'_, f64>, radius: f64) -> Result<CsrGraph> {
    grid::build(points, None, 0.0, check_radius(radius)?)
}

/// As [`radius_graph`], without edges between different samples and for points whose sample is missing.
/// The cost is that of [`radius_graph`].
///
/// # Shapes
///
/// `points`: `[n, d]`; `samples`: n.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::radius_graph_within;
///
/// let points = array![[0.0, 0.0], [0.0, 1.0], [0.0, 2.0]];
/// let samples = Categorical::from_labels(["a", "a", "b"]);
/// let graph = radius_graph_within(points.view(), &samples, 1.0)?;
/// assert_eq!((graph.neighbors(1), graph.degree(2)), (&[0][..], 0));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`radius_graph`], and [`ShapeError::Length`] when there is not one sample per point.
#[doc(alias = "library_key")]
pub fn radius_graph_within(
    points: ArrayView2<'_, f64>,
    samples: &Categorical,
    radius: f64,
) -> Result<CsrGraph> {
    grid::build(points, Some(samples), 0.0, check_radius(radius)?)
}

/// Links points whose distance d fulfils `min ≤ d ≤ max`, within `samples` where they are given.
/// The cost is that of [`radius_graph`] up to `max`.
///
/// # Shapes
///
/// `points`: `[n, d]` with any d from 1 to 3; `samples`: n.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::neighbors::radius_interval_graph;
///
/// let points = array![[0.0], [1.0], [3.0]];
/// let graph = radius_interval_graph(points.view(), None, 2.0, 3.0)?;
/// assert_eq!(graph.neighbors(2), [0, 1]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`radius_graph_within`], and [`ConfigError::Interval`] when `min > max`.
///
/// # Differences from squidpy
///
/// The order of the two ends matters.
pub fn radius_interval_graph(
    points: ArrayView2<'_, f64>,
    samples: Option<&Categorical>,
    min: f64,
    max: f64,
) -> Result<CsrGraph> {
    let (min, max) = (check_radius(min)?, check_radius(max)?);
    if min > max {
        return Err(ConfigError::Interval { min, max }.into());
    }
    grid::build(points, samples, min, max)
}

fn check_radius(radius: f64) -> Result<f64, ConfigError> {
    if radius >= 0.0 {
        Ok(radius)
    } else {
        Err(ConfigError::Radius { value: radius })
    }
}

/// Copies the points, with zeros for the axes that they do not have, and checks everything that all graphs need.
pub(crate) fn padded(
    points: ArrayView2<'_, f64>,
    samples: Option<&Categorical>,
) -> Result<Vec<[f64; 3]>> {
    let (n, d) = points.dim();
    if !(1..=3).contains(&d) {
        return Err(Error::Dimensions {
            expected: "1 to 3",
            found: d,
        });
    }
    if u32::try_from(n).is_err() {
        return Err(Error::TooManyPoints { points: n });
    }
    if let Some(samples) = samples {
        ShapeError::check_len("samples", n, samples.len())?;
    }
    check_finite(points)?;
    let pad = |row: ndarray::ArrayView1<'_, f64>| {
        let mut point = [0.0; 3];
        for (slot, &value) in point[3 - d..].iter_mut().zip(row) {
            *slot = value;
        }
        point
    };
    Ok(points.rows().into_iter().map(pad).collect())
}

/// The rows of every sample that has points, with its name in words; all rows where there are no samples.
fn sets_of(n: usize, samples: Option<&Categorical>) -> Vec<(String, Vec<u32>)> {
    let Some(samples) = samples else {
        return vec![("the whole set".to_owned(), (0..n as u32).collect())];
    };
    let names = samples.categories().iter();
    let mut sets: Vec<(String, Vec<u32>)> = names
        .map(|name| (format!("sample `{name}`"), Vec::new()))
        .collect();
    for row in 0..n {
        if let Some(code) = samples.code(row) {
            sets[code].1.push(row as u32);
        }
    }
    sets.retain(|(_, rows)| !rows.is_empty());
    sets
}

/// Names the first coordinate that is not finite.
pub(crate) fn check_finite(points: ArrayView2<'_, f64>) -> Result<()> {
    for (row, point) in points.rows().into_iter().enumerate() {
        if let Some(axis) = point.iter().position(|x| !x.is_finite()) {
            return Err(Error::NotFinite {
                row,
                axis,
                value: point[axis],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
