//! Which cells hang together, and how large the space is that they take.

use ndarray::{ArrayView2, Axis};
use phenocoder_core::{CsrGraph, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{ConvexHull, convex_hull};
use crate::error::{Error, Result};
use crate::neighbors::{check_finite, undirected};

/// How nodes with few neighbors are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DegreeFilter {
    /// All nodes with fewer neighbors than asked for, at once: the order of the nodes does not matter.
    #[default]
    Simultaneous,
    /// As in the original: node after node, each lowering the degrees of its neighbors, so that nodes later in the order meet
    /// lowered degrees; moreover coincident nodes are no neighbors, and where exactly `min_nodes` are left there are no
    /// components.
    Sequential,
}

/// Which parts of a graph are taken for structures that have a hull.
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::hull::ComponentConfig;
///
/// let config = ComponentConfig::default().with_min_nodes(5);
/// assert_eq!((config.min_degree, config.min_nodes), (3, 5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ComponentConfig {
    /// Nodes with fewer neighbors are left out (default 3).
    pub min_degree: usize,
    /// Connected components of fewer nodes are left out (default 10).
    pub min_nodes: usize,
    /// How nodes with few neighbors are left out (default: all at once).
    pub filter: DegreeFilter,
}

impl Default for ComponentConfig {
    fn default() -> Self {
        Self {
            min_degree: 3,
            min_nodes: 10,
            filter: DegreeFilter::default(),
        }
    }
}

impl ComponentConfig {
    /// The same with another least number of neighbors.
    #[must_use]
    pub fn with_min_degree(mut self, min_degree: usize) -> Self {
        self.min_degree = min_degree;
        self
    }

    /// The same with another least number of nodes.
    #[must_use]
    pub fn with_min_nodes(mut self, min_nodes: usize) -> Self {
        self.min_nodes = min_nodes;
        self
    }

    /// The same with another filter.
    #[must_use]
    pub fn with_filter(mut self, filter: DegreeFilter) -> Self {
        self.filter = filter;
        self
    }
}

/// A connected component and its hull.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HullComponent {
    /// The nodes, rising.
    pub nodes: Vec<usize>,
    /// The mean of their coordinates.
    pub centroid: Vec<f64>,
    /// Their convex hull.
    pub hull: ConvexHull,
}

impl HullComponent {
    /// The distance of the centroid to a point.
    #[must_use]
    pub fn distance_to(&self, point: &[f64]) -> f64 {
        let pairs = self.centroid.iter().zip(point);
        pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
    }
}

/// The components of a graph that have a hull.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HullComponents {
    /// The components, in the order of their first nodes.
    pub components: Vec<HullComponent>,
    /// The number of components that are large enough but lie exactly on a line or a plane.
    pub flat: usize,
}

/// Finds the connected components of well linked nodes and their convex hulls.
///
/// Nodes with fewer than `min_degree` neighbors are left out, then components of fewer than `min_nodes` nodes.
/// With `members` (rising) only these nodes and the edges between them are looked at: those of one cluster, say.
/// The cost is O(edges) and that of the hulls.
///
/// # Shapes
///
/// `points`: `[n, 2]` or `[n, 3]` for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::hull::{ComponentConfig, hull_components};
/// use phenocoder_spatial::radius_graph;
///
/// let points = array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [9.0, 9.0]];
/// let graph = radius_graph(points.view(), 1.0)?;
/// let config = ComponentConfig::default().with_min_degree(2).with_min_nodes(4);
/// let found = hull_components(points.view(), &graph, None, &config)?;
/// assert_eq!(found.components[0].nodes, [0, 1, 2, 3]);
/// assert_eq!(found.components[0].hull.volume, 1.0);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Shape`] when there is not one point per node, [`Error::UnknownNode`] for the first of `members` that is not a
/// node, and those of [`convex_hull`] for the points.
///
/// # Differences from the original
///
/// Those that [`DegreeFilter::Sequential`] lists; and no n × n matrix is made.
pub fn hull_components(
    points: ArrayView2<'_, f64>,
    graph: &CsrGraph,
    members: Option<&[usize]>,
    config: &ComponentConfig,
) -> Result<HullComponents> {
    let n = graph.n_nodes();
    ShapeError::check_len("points", n, points.nrows())?;
    check_finite(points)?;
    if !matches!(points.ncols(), 2 | 3) {
        return Err(Error::Dimensions {
            expected: "2 or 3",
            found: points.ncols(),
        });
    }
    let unknown = |&&node: &&usize| node >= n;
    if let Some(&node) = members.unwrap_or_default().iter().find(unknown) {
        return Err(Error::UnknownNode { node, nodes: n });
    }
    of_undirected(points, &undirected(graph), members, config)
}

/// As [`hull_components`] for a graph that is known to be symmetric and without loops, and members that are nodes.
pub(crate) fn of_undirected(
    points: ArrayView2<'_, f64>,
    graph: &CsrGraph,
    members: Option<&[usize]>,
    config: &ComponentConfig,
) -> Result<HullComponents> {
    let n = graph.n_nodes();
    let nodes: Vec<usize> = members.map_or_else(|| (0..n).collect(), <[usize]>::to_vec);
    let mut kept = vec![false; n];
    for &node in &nodes {
        kept[node] = true;
    }
    filter(graph, &nodes, &mut kept, config);

    let pieces: Vec<Vec<usize>> = components(graph, &nodes, kept, config.filter)
        .into_iter()
        .filter(|nodes| nodes.len() >= config.min_nodes)
        .collect();
    let hulls = pieces.into_par_iter().map(|nodes| {
        let mine = points.select(Axis(0), &nodes);
        let hull = convex_hull(mine.view())?;
        Ok(hull.map(|hull| HullComponent {
            centroid: centroid(mine.view()),
            nodes,
            hull,
        }))
    });
    let hulls: Vec<Option<HullComponent>> = hulls.collect::<Result<_>>()?;
    Ok(HullComponents {
        flat: hulls.iter().filter(|hull| hull.is_none()).count(),
        components: hulls.into_iter().flatten().collect(),
    })
}

/// The mean of the rows.
pub(crate) fn centroid(points: ArrayView2<'_, f64>) -> Vec<f64> {
    let n = points.nrows() as f64;
    points.columns().into_iter().map(|x| x.sum() / n).collect()
}

/// The neighbors of a node as the filter understands them.
fn linked(graph: &CsrGraph, node: usize, filter: DegreeFilter) -> impl Iterator<Item = usize> {
    let coincident = filter == DegreeFilter::Simultaneous;
    let row = graph.row(node);
    row.filter(move |&(_, distance)| coincident || distance > 0.0)
        .map(|(other, _)| other)
}

/// Leaves out the nodes with few neighbors.
fn filter(graph: &CsrGraph, nodes: &[usize], kept: &mut [bool], config: &ComponentConfig) {
    let mut degree = vec![0_usize; graph.n_nodes()];
    for &node in nodes {
        degree[node] = linked(graph, node, config.filter)
            .filter(|&other| kept[other])
            .count();
    }
    let mut left = nodes.len();
    for &node in nodes {
        if degree[node] >= config.min_degree {
            continue;
        }
        kept[node] = false;
        left -= 1;
        if config.filter == DegreeFilter::Sequential {
            for other in linked(graph, node, config.filter) {
                degree[other] = degree[other].saturating_sub(1);
            }
        }
    }
    if config.filter == DegreeFilter::Sequential && left <= config.min_nodes {
        kept.fill(false);
    }
}

/// The connected components of the kept nodes, each rising.
fn components(
    graph: &CsrGraph,
    nodes: &[usize],
    mut kept: Vec<bool>,
    filter: DegreeFilter,
) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    for &first in nodes {
        if !std::mem::replace(&mut kept[first], false) {
            continue;
        }
        let mut piece = vec![first];
        let mut next = 0;
        while let Some(&node) = piece.get(next) {
            next += 1;
            for other in linked(graph, node, filter) {
                if std::mem::replace(&mut kept[other], false) {
                    piece.push(other);
                }
            }
        }
        piece.sort_unstable();
        found.push(piece);
    }
    found
}
