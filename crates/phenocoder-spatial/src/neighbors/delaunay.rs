//! Graphs of the Delaunay triangulation.

mod curve;
mod solid;

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, CsrGraph};
use rayon::prelude::*;
use spade::{DelaunayTriangulation, HasPosition, Point2, Triangulation};

use super::rows::row_pointers;
use super::{padded, sets_of};
use crate::error::{Error, Result};
use crate::predicates::Point;

/// Smaller coordinates, after scaling by a power of two that brings the largest to about 1, are taken for 0.
///
/// Products of five of them then neither overflow nor lose digits.
const SMALLEST: f64 = 1e-40;

/// Links points whose cells of the Voronoi diagram touch: the edges of the Delaunay triangulation, or of the Delaunay
/// tetrahedra of points in three dimensions; the values are their lengths.
///
/// The graph is symmetric; it has about 6 neighbors per point in the plane and 15 in space, however dense the points lie.
/// Points on the outside are linked over any distance: see [`within_distances`](super::within_distances) and
/// [`within_percentile`](super::within_percentile).
/// Of coincident points the first has the edges, the others have none.
/// Where more than three points (in space: four) lie on an empty circle (sphere), several triangulations are right; which is
/// taken depends on the coordinates only, not on the order of the rows.
///
/// The cost is O(n log n) in the plane; in space that of the tetrahedra, which are about 6.7 n for points without structure.
/// In the plane by [spade](https://docs.rs/spade), in space by insertion with exact predicates.
///
/// # Shapes
///
/// `points`: `[n, 2]` or `[n, 3]`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::neighbors::delaunay_graph;
///
/// let points = array![[0.0, 0.0], [0.0, 4.0], [3.0, 0.0], [9.0, 9.0]];
/// let graph = delaunay_graph(points.view())?;
/// assert_eq!(graph.neighbors(0), [1, 2]);
/// assert_eq!(graph.row(1).next(), Some((0, 4.0)));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Degenerate`] for fewer than d + 2 points, or when all lie on a line (in space: in a plane);
/// [`Error::Dimensions`] for points in other than 2 or 3 dimensions, and those of [`radius_graph`](super::radius_graph) for
/// the points.
///
/// # Differences from squidpy
///
/// Qhull rounds where this is exact, so that nearly cocircular points may be linked otherwise.
#[doc(alias = "spatial_neighbors")]
pub fn delaunay_graph(points: ArrayView2<'_, f64>) -> Result<CsrGraph> {
    build(points, None)
}

/// As [`delaunay_graph`], a triangulation of its own for every sample; points whose sample is missing have no neighbors.
/// The cost is that of [`delaunay_graph`].
///
/// # Shapes
///
/// `points`: `[n, 2]` or `[n, 3]`; `samples`: n.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::neighbors::delaunay_graph_within;
///
/// let points = array![[0.0, 0.0], [0.0, 4.0], [3.0, 0.0], [9.0, 9.0], [1.0, 1.0]];
/// let samples = Categorical::from_optional_labels([Some("a"), Some("a"), Some("a"), Some("a"), None]);
/// let graph = delaunay_graph_within(points.view(), &samples)?;
/// assert_eq!((graph.neighbors(0), graph.degree(4)), (&[1, 2][..], 0));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`delaunay_graph`], where the sample is named; a sample without points is none.
pub fn delaunay_graph_within(
    points: ArrayView2<'_, f64>,
    samples: &Categorical,
) -> Result<CsrGraph> {
    build(points, Some(samples))
}

fn build(points: ArrayView2<'_, f64>, samples: Option<&Categorical>) -> Result<CsrGraph> {
    let d = points.ncols();
    if !(2..=3).contains(&d) {
        return Err(Error::Dimensions {
            expected: "2 or 3",
            found: d,
        });
    }
    let points = padded(points, samples)?;
    let scaled = scaled(&points);
    let sets = sets_of(points.len(), samples);
    let parts: Vec<Result<Vec<(u32, u32)>>> = sets
        .into_par_iter()
        .map(|(place, rows)| {
            let edges = if d == 2 {
                planar_edges(&scaled, rows)
            } else {
                solid_edges(&scaled, rows)
            };
            edges.ok_or(Error::Degenerate {
                place,
                expected: if d == 2 {
                    "at least 4 points that are not on a line"
                } else {
                    "at least 5 points that are not in a plane"
                },
            })
        })
        .collect();
    let mut edges = Vec::new();
    for part in parts {
        edges.extend(part?);
    }
    let indptr = row_pointers(points.len(), edges.iter().map(|edge| edge.0 as usize));
    edges.par_sort_unstable();
    let length = |&(a, b): &(u32, u32)| {
        let (p, q) = (points[a as usize], points[b as usize]);
        let (dz, dy, dx) = (p[0] - q[0], p[1] - q[1], p[2] - q[2]);
        (dz * dz + dy * dy + dx * dx).sqrt()
    };
    let values = edges.par_iter().map(length).collect();
    let indices = edges.par_iter().map(|&(_, to)| to).collect();
    Ok(CsrGraph::new(indptr, indices, values)?)
}

/// The points times a power of two that brings the largest coordinate to about 1.
fn scaled(points: &[Point]) -> Vec<Point> {
    let largest = points.iter().flatten().fold(0.0_f64, |m, x| m.max(x.abs()));
    // Twice, since the factor itself may be out of range.
    let half = (-libm::ilogb(largest.max(f64::MIN_POSITIVE)) as f64 / 2.0).trunc();
    let factor = libm::exp2(half);
    let scale = |x: f64| {
        let x = x * factor * factor;
        // Adding 0 turns −0 into 0.
        if x.abs() < SMALLEST { 0.0 } else { x + 0.0 }
    };
    points.iter().map(|p| p.map(scale)).collect()
}

/// Rows in an order that depends on the coordinates only, of coincident ones the first.
fn distinct(points: &[Point], mut rows: Vec<u32>) -> Vec<u32> {
    let compare = |a: &Point, b: &Point| {
        let axis = |i: usize| a[i].total_cmp(&b[i]);
        axis(0).then(axis(1)).then(axis(2))
    };
    let at = |row: u32| &points[row as usize];
    rows.sort_unstable_by(|&a, &b| compare(at(a), at(b)).then(a.cmp(&b)));
    rows.dedup_by(|a, b| at(*a) == at(*b));
    rows
}

/// A point with the row that it came from.
#[derive(Clone, Copy)]
struct Vertex {
    at: Point2<f64>,
    row: u32,
}

impl HasPosition for Vertex {
    type Scalar = f64;

    fn position(&self) -> Point2<f64> {
        self.at
    }
}

/// Both directions of the edges, by rows; `None` when the points span nothing.
fn planar_edges(points: &[Point], rows: Vec<u32>) -> Option<Vec<(u32, u32)>> {
    let n_points = rows.len();
    let vertex = |row: u32| {
        let [_, y, x] = points[row as usize];
        Vertex {
            at: Point2::new(x, y),
            row,
        }
    };
    let vertices = distinct(points, rows).into_iter().map(vertex).collect();
    let triangulation: DelaunayTriangulation<Vertex> =
        DelaunayTriangulation::bulk_load(vertices).ok()?;
    if n_points < 4 || triangulation.num_inner_faces() == 0 {
        return None;
    }
    let edges = triangulation.undirected_edges().flat_map(|edge| {
        let [a, b] = edge.vertices().map(|vertex| vertex.data().row);
        [(a, b), (b, a)]
    });
    Some(edges.collect())
}

/// As [`planar_edges`], in space.
fn solid_edges(points: &[Point], rows: Vec<u32>) -> Option<Vec<(u32, u32)>> {
    let n_points = rows.len();
    let rows = curve::insertion_order(points, distinct(points, rows));
    let places: Vec<Point> = rows.iter().map(|&row| points[row as usize]).collect();
    let simplex = solid::simplex(&places).filter(|_| n_points >= 5)?;
    let tetrahedra = solid::tetrahedra(&places, simplex);
    Some(edges_of(&tetrahedra, &rows))
}

/// Every edge of the tetrahedra once in each direction.
fn edges_of(tetrahedra: &[[u32; 4]], rows: &[u32]) -> Vec<(u32, u32)> {
    let corners = tetrahedra.iter().flatten().map(|&corner| corner as usize);
    let starts = row_pointers(rows.len(), corners);
    let mut next = starts.clone();
    let mut around = vec![0_u32; 4 * tetrahedra.len()];
    for (tetrahedron, corners) in tetrahedra.iter().enumerate() {
        for &corner in corners {
            around[next[corner as usize]] = tetrahedron as u32;
            next[corner as usize] += 1;
        }
    }
    let neighbors = |place: usize| {
        let mine = &around[starts[place]..starts[place + 1]];
        let corners = mine.iter().flat_map(|&t| tetrahedra[t as usize]);
        let mut found: Vec<u32> = corners.filter(|&corner| corner as usize != place).collect();
        found.sort_unstable();
        found.dedup();
        let edge = move |other: u32| (rows[place], rows[other as usize]);
        found.into_iter().map(edge).collect::<Vec<_>>()
    };
    (0..rows.len())
        .into_par_iter()
        .flat_map_iter(neighbors)
        .collect()
}
