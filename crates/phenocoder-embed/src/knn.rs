//! The nearest rows of each row.

mod balanced;
mod found;
mod groups;
#[cfg(feature = "hnsw")]
mod hnsw;
mod panels;
mod points;
mod recall;
mod rough;
mod search;
mod sieve;
mod stream;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{CsrGraph, GraphError, Progress};
use serde::{Deserialize, Serialize};

pub use balanced::{batch_balanced_neighbors, batch_balanced_query};
#[cfg(feature = "hnsw")]
pub use hnsw::{HnswConfig, HnswIndex};
pub use recall::recall;
pub use stream::NeighborSearch;

use crate::matrix::check_shape;
use crate::{Error, Result};
use points::Points;
use search::search;

/// How far two rows are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The length of the difference.
    #[default]
    Euclidean,
    /// 1 − the cosine of the angle; a row of zeros is at distance 1 from every row.
    Cosine,
}

/// The nearest other rows of each row, nearest first.
///
/// A row is never its own neighbour, but another row of the same values is, at distance 0.
/// What other libraries call `n_neighbors = 15` counts the row itself and is 14 here.
///
/// # Shapes
///
/// Both `[n, k]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbors {
    indices: Array2<u32>,
    distances: Array2<f64>,
}

impl Neighbors {
    /// Takes neighbours found elsewhere, for example by an approximate search or for new rows among old ones.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when the two shapes differ, [`Error::Distance`] for a distance that is negative, no number or
    /// less than the one before it in its row.
    pub fn new(indices: Array2<u32>, distances: Array2<f64>) -> Result<Self> {
        check_shape("distances", indices.shape(), distances.shape())?;
        for ((row, column), &value) in distances.indexed_iter() {
            let before = if column == 0 {
                0.0
            } else {
                distances[[row, column - 1]]
            };
            if !(value.is_finite() && value >= before) {
                return Err(Error::Distance {
                    row,
                    neighbor: column,
                    distance: value,
                });
            }
        }
        Ok(Self { indices, distances })
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.nrows()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.nrows() == 0
    }

    /// The number of neighbours of each row.
    #[must_use]
    pub fn k(&self) -> usize {
        self.indices.ncols()
    }

    /// The neighbours' rows, `[n, k]`.
    #[must_use]
    pub fn indices(&self) -> ArrayView2<'_, u32> {
        self.indices.view()
    }

    /// The neighbours' distances, rising along a row, `[n, k]`.
    #[must_use]
    pub fn distances(&self) -> ArrayView2<'_, f64> {
        self.distances.view()
    }

    /// The neighbours of a row with their distances, nearest first.
    ///
    /// # Panics
    ///
    /// When `row` is not a row.
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (usize, f64)> + '_ {
        let pairs = self
            .indices
            .row(row)
            .into_iter()
            .zip(self.distances.row(row));
        pairs.map(|(&index, &distance)| (index as usize, distance))
    }

    /// Refuses a neighbour that is none of so many rows.
    pub(crate) fn check_among(&self, rows: usize) -> Result<(), GraphError> {
        for ((row, _), &index) in self.indices.indexed_iter() {
            let column = index as usize;
            if column >= rows {
                return Err(GraphError::Column {
                    row,
                    column,
                    nodes: rows,
                });
            }
        }
        Ok(())
    }

    /// The first `k` neighbours of every row; all of them when there are fewer.
    #[must_use]
    pub fn truncated(&self, k: usize) -> Self {
        let k = k.min(self.k());
        let cut = ndarray::s![.., ..k];
        Self {
            indices: self.indices.slice(cut).to_owned(),
            distances: self.distances.slice(cut).to_owned(),
        }
    }

    /// The distances as a directed graph: what AnnData keeps in `obsp["distances"]`.
    ///
    /// # Errors
    ///
    /// [`Error::Graph`] when an index is not a row or occurs twice in a row, as can be with neighbours found elsewhere.
    pub fn to_graph(&self) -> Result<CsrGraph> {
        let mut indptr = Vec::with_capacity(self.len() + 1);
        indptr.push(0);
        let edges = self.indices.len();
        let (mut indices, mut values) = (Vec::with_capacity(edges), Vec::with_capacity(edges));
        for row in 0..self.len() {
            let mut pairs: Vec<(usize, f64)> = self.row(row).collect();
            pairs.sort_unstable_by_key(|pair| pair.0);
            for (index, distance) in pairs {
                indices.push(index as u32);
                values.push(distance);
            }
            indptr.push(indices.len());
        }
        Ok(CsrGraph::new(indptr, indices, values)?)
    }
}

/// Finds the `k` nearest other rows of every row, exactly.
///
/// Rows are put into groups of near ones, and groups that lie too far from a row are passed over; the others are compared
/// in single precision first, and whatever the rounding leaves open is decided in double precision.
/// So the answer is exact, and of equally distant rows the first comes first.
/// Distances below about 1e-160 come out as 0, for their squares do.
/// Cost: at most `O(n² p)` time, where no rows lie near each other; `O(n (p + k))` memory, and a few bytes for each row
/// and thread.
///
/// # Errors
///
/// [`Error::TooManyNeighbors`] when there are not `k` other rows, [`Error::Config`] when `k` is 0, [`Error::NotFinite`]
/// for NaN or infinity, [`Error::Overflow`] for values whose squares are beyond any number, [`Error::Cancelled`] when the
/// caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::knn::{Metric, nearest_neighbors};
///
/// let x = array![[0.0], [1.0], [3.0]];
/// let neighbors = nearest_neighbors(x.view(), 1, Metric::Euclidean, &NoProgress)?;
/// assert_eq!(neighbors.indices(), array![[1], [0], [1]]);
/// assert_eq!(neighbors.distances(), array![[1.0], [1.0], [2.0]]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "pp.neighbors")]
#[doc(alias = "NearestNeighbors")]
pub fn nearest_neighbors(
    x: ArrayView2<'_, f64>,
    k: usize,
    metric: Metric,
    progress: &dyn Progress,
) -> Result<Neighbors> {
    let points = Points::new(x, metric)?;
    let found = search(&points, None, &points, k, Some, "neighbours", progress)?;
    Ok(found.into_neighbors(k))
}

/// Finds the `k` nearest rows of `reference` for every row of `query`, exactly.
///
/// For new data against old: a row of `query` that also stands in `reference` finds itself.
/// A reference that is larger than memory is searched in blocks by [`NeighborSearch`].
///
/// # Errors
///
/// As [`nearest_neighbors`], and [`Error::Shape`] when the columns differ in number.
pub fn query_neighbors(
    reference: ArrayView2<'_, f64>,
    query: ArrayView2<'_, f64>,
    k: usize,
    metric: Metric,
    progress: &dyn Progress,
) -> Result<Neighbors> {
    crate::matrix::check_columns("query", query, reference.ncols())?;
    let reference = Points::new(reference, metric)?;
    let query = Points::new(query, metric)?;
    let found = search(
        &query,
        None,
        &reference,
        k,
        |_| None,
        "neighbours",
        progress,
    )?;
    Ok(found.into_neighbors(k))
}

#[cfg(test)]
mod tests;
