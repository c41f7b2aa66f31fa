//! Neighbours from every batch alike.

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, Progress};

use super::search::{Found, Points, search};
use super::{Metric, Neighbors};
use crate::matrix::full_codes;
use crate::{ConfigError, Error, Result};

/// Finds, for every row, its `within_batch` nearest rows in each batch, exactly.
///
/// In its own batch a row counts itself as one of them, so there are `within_batch · batches − 1` neighbours, nearest
/// first.
/// Batches without rows are passed over.
/// Polański et al. 2020, doi:10.1093/bioinformatics/btz625.
///
/// [`fuzzy_graph`](crate::fuzzy::fuzzy_graph) and then [`trim`](crate::fuzzy::trim) with ten times
/// `within_batch · batches` make the graph of that paper.
///
/// # Differences from bbknn
///
/// The search is exact, where its default (`annoy`) is approximate.
/// A row is always counted in its own batch, where a search may lose it among duplicates.
///
/// # Errors
///
/// [`Error::SmallBatch`] for a batch with fewer than `within_batch` rows, [`Error::MissingLabel`] for a row without a
/// batch, [`Error::Config`] when `within_batch` is 0, [`Error::TooFew`] when that leaves no neighbour at all, and as
/// [`nearest_neighbors`](super::nearest_neighbors).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_embed::knn::{Metric, batch_balanced_neighbors};
///
/// let x = array![[0.0], [1.0], [10.0], [12.0]];
/// let batch = Categorical::from_labels(["a", "a", "b", "b"]);
/// let found = batch_balanced_neighbors(x.view(), &batch, 1, Metric::Euclidean, &NoProgress)?;
/// assert_eq!(found.indices(), array![[2], [2], [1], [1]]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "bbknn")]
pub fn batch_balanced_neighbors(
    x: ArrayView2<'_, f64>,
    batch: &Categorical,
    within_batch: usize,
    metric: Metric,
    progress: &dyn Progress,
) -> Result<Neighbors> {
    ConfigError::check(within_batch > 0, "within_batch", "at least 1", within_batch)?;
    let codes = full_codes(batch, "batch", x.nrows())?;
    let present: Vec<usize> = (0..batch.categories().len())
        .filter(|code| codes.contains(code))
        .collect();
    for &code in &present {
        let rows = codes.iter().filter(|&&c| c == code).count();
        if rows < within_batch {
            return Err(Error::SmallBatch {
                batch: batch.categories()[code].clone(),
                rows,
                needed: within_batch,
            });
        }
    }
    let n = x.nrows();
    let k = (within_batch * present.len()).saturating_sub(1);
    if k == 0 {
        return Err(Error::TooFew {
            method: "batch-balanced neighbours",
            what: "batches or neighbours within a batch",
            needed: 2,
            found: within_batch * present.len(),
        });
    }
    let points = Points::new(x, metric)?;
    let mut found: Vec<Vec<(f64, u32)>> = vec![Vec::with_capacity(k); n];
    for &code in &present {
        let members: Vec<usize> = (0..n).filter(|&row| codes[row] == code).collect();
        let others: Vec<usize> = (0..n).filter(|&row| codes[row] != code).collect();
        let reference = points.select(&members);
        let stage = format!("neighbours in `{}`", batch.categories()[code]);
        let mut collect = |rows: &[usize], each: usize, result: Found| {
            for (i, &row) in rows.iter().enumerate() {
                let range = i * each..(i + 1) * each;
                let pairs = result.keys[range.clone()]
                    .iter()
                    .zip(&result.indices[range]);
                found[row].extend(pairs.map(|(&key, &i)| (key, members[i as usize] as u32)));
            }
        };
        if within_batch > 1 {
            let each = within_batch - 1;
            let own = search(&reference, &reference, each, Some, &stage, progress)?;
            collect(&members, each, own);
        }
        if !others.is_empty() {
            let query = points.select(&others);
            let result = search(&query, &reference, within_batch, |_| None, &stage, progress)?;
            collect(&others, within_batch, result);
        }
    }
    let (mut indices, mut distances) = (Array2::zeros((n, k)), Array2::zeros((n, k)));
    for (row, pairs) in found.iter_mut().enumerate() {
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (column, &(key, index)) in pairs.iter().enumerate() {
            indices[[row, column]] = index;
            distances[[row, column]] = Found::distance(metric, key);
        }
    }
    Ok(Neighbors { indices, distances })
}
