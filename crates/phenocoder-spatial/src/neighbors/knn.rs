//! Nearest neighbors by a k-d tree.

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, CsrGraph};
use rayon::prelude::*;

use super::{padded, sets_of};
use crate::error::{ConfigError, Error, Result};

/// Points in a leaf at most; below it a scan beats another split.
const LEAF: usize = 16;

/// Points that are not worth the way to another thread.
const FEW: usize = 1 << 14;

/// Links every point to the `k` other points nearest to it; the values are the distances.
///
/// The graph is directed: that b is near a does not make a near b; see [`symmetrized`](super::symmetrized) and
/// [`mutual`](super::mutual).
/// Among points at the same distance the one of the smaller row is nearer, so the graph is unique.
/// The cost is O(n log n + n k log n), expected (Friedman, Bentley and Finkel 1977, doi:10.1145/355744.355745).
///
/// # Shapes
///
/// `points`: `[n, d]` with any d from 1 to 3.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_spatial::neighbors::knn_graph;
///
/// let points = array![[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]];
/// let graph = knn_graph(points.view(), 1)?;
/// assert_eq!(graph.row(2).collect::<Vec<_>>(), [(1, 4.0)]);
/// assert_eq!(graph.neighbors(1), [0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ConfigError::Zero`] for `k = 0`, [`Error::TooManyNeighbors`] when there are not `k` other points, and those of
/// [`radius_graph`](super::radius_graph) for the points.
#[doc(alias = "spatial_neighbors")]
pub fn knn_graph(points: ArrayView2<'_, f64>, k: usize) -> Result<CsrGraph> {
    let points = padded(points, None)?;
    let sets = sets_of(points.len(), None);
    build(&points, k, sets)
}

/// As [`knn_graph`] among the points of the same sample; points whose sample is missing have no neighbors.
/// The cost is that of [`knn_graph`].
///
/// # Shapes
///
/// `points`: `[n, d]` with any d from 1 to 3; `samples`: n.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::Categorical;
/// use phenocoder_spatial::neighbors::knn_graph_within;
///
/// let points = array![[0.0], [1.0], [1.5], [9.0]];
/// let samples = Categorical::from_labels(["a", "b", "a", "b"]);
/// let graph = knn_graph_within(points.view(), &samples, 1)?;
/// assert_eq!((graph.neighbors(0), graph.neighbors(1)), (&[2][..], &[3][..]));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`knn_graph`], where the sample that is too small is named; a sample without points is none.
pub fn knn_graph_within(
    points: ArrayView2<'_, f64>,
    samples: &Categorical,
    k: usize,
) -> Result<CsrGraph> {
    let points = padded(points, Some(samples))?;
    let sets = sets_of(points.len(), Some(samples));
    build(&points, k, sets)
}

fn build(points: &[[f64; 3]], k: usize, sets: Vec<(String, Vec<u32>)>) -> Result<CsrGraph> {
    ConfigError::check_some("k", k)?;
    let mut degree = vec![0_usize; points.len()];
    for (place, rows) in &sets {
        if k >= rows.len() {
            return Err(Error::TooManyNeighbors {
                k,
                place: place.clone(),
                points: rows.len(),
            });
        }
        for &row in rows {
            degree[row as usize] = k;
        }
    }
    let mut indptr = Vec::with_capacity(points.len() + 1);
    indptr.push(0);
    for (row, &k) in degree.iter().enumerate() {
        indptr.push(indptr[row] + k);
    }
    let mut tree_of = vec![u32::MAX; points.len()];
    for (tree, (_, rows)) in sets.iter().enumerate() {
        for &row in rows {
            tree_of[row as usize] = tree as u32;
        }
    }
    let trees: Vec<Tree> = sets
        .into_par_iter()
        .map(|(_, rows)| Tree::new(points, rows))
        .collect();
    let linked: Vec<u32> = (0..points.len() as u32)
        .filter(|&row| tree_of[row as usize] != u32::MAX)
        .collect();
    let mut indices = vec![0_u32; indptr[points.len()]];
    let mut values = vec![0.0; indices.len()];
    indices
        .par_chunks_mut(k)
        .zip(values.par_chunks_mut(k))
        .zip(&linked)
        .for_each_init(Vec::new, |nearest, ((columns, distances), &row)| {
            let tree = &trees[tree_of[row as usize] as usize];
            tree.nearest(points[row as usize], Some(row), k, nearest);
            nearest.sort_unstable_by_key(|&(_, row)| row);
            for (i, &(squared, row)) in nearest.iter().enumerate() {
                columns[i] = row;
                distances[i] = squared.sqrt();
            }
        });
    Ok(CsrGraph::new(indptr, indices, values)?)
}

/// How far points are apart.
pub(crate) trait Metric {
    /// A number that rises with the distance of points that differ so much along the axes.
    fn of(differences: [f64; 3]) -> f64;
}

/// The square of the Euclidean distance.
struct Squared;

impl Metric for Squared {
    fn of([dz, dy, dx]: [f64; 3]) -> f64 {
        dz * dz + dy * dy + dx * dx
    }
}

/// The sum of the differences along the axes.
pub(crate) struct CityBlock;

impl Metric for CityBlock {
    fn of(differences: [f64; 3]) -> f64 {
        differences.iter().map(|d| d.abs()).sum()
    }
}

/// Points split at the median of their longest axis, over and over; node `i` has the children `2i + 1` and `2i + 2`.
pub(crate) struct Tree {
    rows: Vec<u32>,
    /// The points of the rows, in their order: those of a leaf lie side by side.
    points: Vec<[f64; 3]>,
    /// Axis and position of every split.
    splits: Vec<(u8, f64)>,
}

impl Tree {
    pub(crate) fn new(points: &[[f64; 3]], mut rows: Vec<u32>) -> Self {
        let mut splits = vec![(0, 0.0); inner_nodes(rows.len())];
        let mut found = Vec::with_capacity(splits.len());
        split(points, &mut rows, 0, &mut found);
        for (node, axis, at) in found {
            splits[node] = (axis, at);
        }
        Self {
            points: rows.iter().map(|&row| points[row as usize]).collect(),
            rows,
            splits,
        }
    }

    /// The `k` points nearest to `p` but for the one in the row `except`, as squared distance and row.
    pub(crate) fn nearest(
        &self,
        p: [f64; 3],
        except: Option<u32>,
        k: usize,
        nearest: &mut Vec<(f64, u32)>,
    ) {
        self.nearest_by::<Squared>(p, except, k, nearest);
    }

    /// As [`nearest`](Self::nearest) by another distance; of points at the same one that of the smaller row is nearer.
    pub(crate) fn nearest_by<M: Metric>(
        &self,
        p: [f64; 3],
        except: Option<u32>,
        k: usize,
        nearest: &mut Vec<(f64, u32)>,
    ) {
        nearest.clear();
        self.descend::<M>(0, 0..self.rows.len(), (p, except), k, nearest);
    }

    fn descend<M: Metric>(
        &self,
        node: usize,
        range: std::ops::Range<usize>,
        query: ([f64; 3], Option<u32>),
        k: usize,
        nearest: &mut Vec<(f64, u32)>,
    ) {
        let (p, except) = query;
        if range.len() <= LEAF {
            for (&other, q) in self.rows[range.clone()].iter().zip(&self.points[range]) {
                if Some(other) == except {
                    continue;
                }
                let found = (M::of([p[0] - q[0], p[1] - q[1], p[2] - q[2]]), other);
                let is_before = |&(d, r): &(f64, u32)| d < found.0 || (d == found.0 && r < found.1);
                let place = nearest.partition_point(is_before);
                if place < k {
                    nearest.truncate(k - 1);
                    nearest.insert(place, found);
                }
            }
            return;
        }
        let (axis, at) = self.splits[node];
        let middle = range.start + range.len() / 2;
        let offset = p[axis as usize] - at;
        let (low, high) = (range.start..middle, middle..range.end);
        let (near, far) = if offset < 0.0 {
            ((2 * node + 1, low), (2 * node + 2, high))
        } else {
            ((2 * node + 2, high), (2 * node + 1, low))
        };
        self.descend::<M>(near.0, near.1, query, k, nearest);
        if nearest.len() < k || M::of([0.0, 0.0, offset]) <= nearest[k - 1].0 {
            self.descend::<M>(far.0, far.1, query, k, nearest);
        }
    }
}

/// The number of nodes that a tree over `n` points can have.
fn inner_nodes(n: usize) -> usize {
    let mut nodes = 1;
    let mut left = n;
    while left > LEAF {
        left = left.div_ceil(2);
        nodes = 2 * nodes + 1;
    }
    nodes
}

/// Lists the splits of some rows: node, axis and position.
fn split(points: &[[f64; 3]], rows: &mut [u32], node: usize, splits: &mut Vec<(usize, u8, f64)>) {
    if rows.len() <= LEAF {
        return;
    }
    let mut low = [f64::INFINITY; 3];
    let mut high = [f64::NEG_INFINITY; 3];
    for &row in rows.iter() {
        for axis in 0..3 {
            low[axis] = low[axis].min(points[row as usize][axis]);
            high[axis] = high[axis].max(points[row as usize][axis]);
        }
    }
    let longest = |a: &usize, b: &usize| (high[*a] - low[*a]).total_cmp(&(high[*b] - low[*b]));
    let axis = (0..3).max_by(longest).unwrap_or(0);
    let middle = rows.len() / 2;
    let position = |row: &u32| points[*row as usize][axis];
    rows.select_nth_unstable_by(middle, |a, b| {
        position(a).total_cmp(&position(b)).then(a.cmp(b))
    });
    splits.push((node, axis as u8, position(&rows[middle])));
    let (left, right) = rows.split_at_mut(middle);
    if left.len() > FEW {
        let mut of_right = Vec::new();
        rayon::join(
            || split(points, left, 2 * node + 1, splits),
            || split(points, right, 2 * node + 2, &mut of_right),
        );
        splits.append(&mut of_right);
    } else {
        split(points, left, 2 * node + 1, splits);
        split(points, right, 2 * node + 2, splits);
    }
}
