//! Neighbours in a library that comes in blocks.

use std::collections::BTreeMap;

use ndarray::ArrayView2;
use phenocoder_core::Progress;

use super::found::Gathered;
use super::groups::parted;
use super::points::Points;
use super::search::search;
use super::{Metric, Neighbors};
use crate::matrix::check_columns;
use crate::{ConfigError, Error, Result};

/// Finds the `k` nearest rows of a library that is larger than memory, exactly.
///
/// The library comes in blocks of any size and in any order, and only one of them is in memory at a time; what is found
/// is what [`query_neighbors`](super::query_neighbors) finds in the library as a whole, to the bit.
/// A row of the query that also stands in the library finds itself.
/// Cost: `O(m n p)` time for `m` rows of the query, memory for the query, one block and `O(m k)`.
///
/// # Shapes
///
/// Query `[m, p]`, blocks `[any, p]`, the answer `[m, k]`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_embed::knn::{Metric, NeighborSearch};
///
/// let query = array![[0.4], [8.0]];
/// let mut search = NeighborSearch::new(query.view(), 2, Metric::Euclidean, &NoProgress)?;
/// search.add_block(array![[0.0], [10.0]].view(), 0, &NoProgress)?;
/// search.add_block(array![[1.0]].view(), 2, &NoProgress)?;
/// assert_eq!(search.finish()?.indices(), array![[0, 2], [1, 2]]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct NeighborSearch {
    query: Points,
    /// The rows of the query, near ones together.
    parts: Vec<Vec<u32>>,
    k: usize,
    gathered: Gathered,
    /// The first row of each block and the row behind its last.
    blocks: BTreeMap<usize, usize>,
}

impl NeighborSearch {
    /// Prepares the search for these rows.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] when `k` is 0, [`Error::NotFinite`] for NaN or infinity, [`Error::TooManyRows`] for rows beyond
    /// 32-bit numbers, [`Error::Overflow`] for values whose sums are beyond any number, [`Error::Cancelled`] when the
    /// caller stops it.
    pub fn new(
        query: ArrayView2<'_, f64>,
        k: usize,
        metric: Metric,
        progress: &dyn Progress,
    ) -> Result<Self> {
        ConfigError::check(k > 0, "k", "at least 1", k)?;
        let points = Points::new(query, metric)?;
        Ok(Self {
            parts: parted(&points, progress)?,
            query: points,
            k,
            gathered: Gathered::new(query.nrows(), metric),
            blocks: BTreeMap::new(),
        })
    }

    /// Looks through a block of the library whose first row is its row `first_index`.
    ///
    /// After an error the search is as it was before the call.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns than the query has, [`Error::Config`] when the block shares rows
    /// with another one, [`Error::TooManyRows`] when its rows are beyond 32-bit numbers, [`Error::NotFinite`] for NaN or
    /// infinity, [`Error::Overflow`] for values whose squares are beyond any number, [`Error::Cancelled`] when the caller
    /// stops it.
    pub fn add_block(
        &mut self,
        rows: ArrayView2<'_, f64>,
        first_index: u32,
        progress: &dyn Progress,
    ) -> Result<()> {
        check_columns("rows", rows, self.query.ncols())?;
        if rows.nrows() == 0 {
            return Ok(());
        }
        let first = first_index as usize;
        let end = first.saturating_add(rows.nrows());
        if u32::try_from(end).is_err() {
            return Err(Error::TooManyRows { rows: end });
        }
        // Blocks share no rows, so the last one that begins before this one ends reaches furthest.
        let before = self.blocks.range(..end).next_back();
        ConfigError::check(
            before.is_none_or(|(_, &other)| other <= first),
            "first_index",
            "the first row of a block that shares no rows with another",
            first_index,
        )?;
        let block = Points::new(rows, self.query.metric())?;
        let each = self.k.min(rows.nrows());
        let (query, parts) = (&self.query, Some(self.parts.as_slice()));
        let found = search(query, parts, &block, each, |_| None, "neighbours", progress)?;
        let name = |index: u32| first_index + index;
        self.gathered.add(0..self.query.nrows(), each, &found, name);
        self.gathered.keep(self.k);
        self.blocks.insert(first, end);
        Ok(())
    }

    /// The rows of the library seen so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.blocks.iter().map(|(first, end)| end - first).sum()
    }

    /// The nearest rows among all blocks.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyNeighbors`] when the blocks had fewer than `k` rows together.
    pub fn finish(self) -> Result<Neighbors> {
        let available = self.rows();
        if self.k > available {
            let k = self.k;
            return Err(Error::TooManyNeighbors { k, available });
        }
        Ok(self.gathered.into_neighbors(self.k))
    }
}
