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
/// With `members` only these nodes and the edges between them are looked at: those of one cluster, say.
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
/// [`Error::Shape`] when there is not one point per node, and those of [`convex_hull`] for the points.
///
/// # Panics
///
/// When one of `members` is not a node.
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
    if !(2..=3).contains(&points.ncols()) {
        return Err(Error::Dimensions {
            expected: "2 or 3",
            found: points.ncols(),
        });
    }
    let mut kept = vec![members.is_none(); n];
    for &node in members.unwrap_or_default() {
        kept[node] = true;
    }
    let graph = &*undirected(graph);
    filter(graph, &mut kept, config);

    let pieces: Vec<Vec<usize>> = components(graph, kept, config.filter)
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
fn filter(graph: &CsrGraph, kept: &mut [bool], config: &ComponentConfig) {
    let degree = |node: usize| {
        linked(graph, node, config.filter)
            .filter(|&o| kept[o])
            .count()
    };
    let mut degree: Vec<usize> = (0..graph.n_nodes()).map(degree).collect();
    for node in 0..graph.n_nodes() {
        if !kept[node] || degree[node] >= config.min_degree {
            continue;
        }
        kept[node] = false;
        if config.filter == DegreeFilter::Sequential {
            for other in linked(graph, node, config.filter) {
                degree[other] = degree[other].saturating_sub(1);
            }
        }
    }
    let left = kept.iter().filter(|&&kept| kept).count();
    if config.filter == DegreeFilter::Sequential && left <= config.min_nodes {
        kept.fill(false);
    }
}

/// The connected components of the kept nodes, each rising.
fn components(graph: &CsrGraph, mut kept: Vec<bool>, filter: DegreeFilter) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    for first in 0..graph.n_nodes() {
        if !kept[first] {
            continue;
        }
        kept[first] = false;
        let mut nodes = vec![first];
        let mut next = 0;
        while let Some(&node) = nodes.get(next) {
            next += 1;
            for other in linked(graph, node, filter) {
                if std::mem::replace(&mut kept[other], false) {
                    nodes.push(other);
                }
            }
        }
        nodes.sort_unstable();
        found.push(nodes);
    }
    found
}
