//! Neighbours from every batch alike.

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, Progress};

use super::found::Gathered;
use super::groups::parted;
use super::points::Points;
use super::search::search;
use super::{Metric, Neighbors};
use crate::matrix::{check_columns, full_codes};
use crate::{ConfigError, Error, Result};

const METHOD: &str = "batch-balanced neighbours";

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
    let batches = rows_of_batches(batch, x.nrows(), within_batch)?;
    let found = within_batch * batches.len();
    Error::check_enough(METHOD, "batches or neighbours within a batch", 2, found)?;
    let k = found - 1;
    let points = Points::new(x, metric)?;
    let parts = parted(&points, progress)?;
    let mut gathered = Gathered::new(x.nrows(), metric);
    for (name, members) in &batches {
        let (others, parts) = without(&parts, members);
        let reference = points.select(members);
        let row_of = |index: u32| members[index as usize] as u32;
        let stage = format!("neighbours in `{name}`");
        if within_batch > 1 {
            let each = within_batch - 1;
            let own = search(&reference, None, &reference, each, Some, &stage, progress)?;
            gathered.add(members.iter().copied(), each, &own, row_of);
        }
        if !others.is_empty() {
            let query = points.select(&others);
            let found = search(
                &query,
                Some(&parts),
                &reference,
                within_batch,
                |_| None,
                &stage,
                progress,
            )?;
            gathered.add(others.into_iter(), within_batch, &found, row_of);
        }
    }
    Ok(gathered.into_neighbors(k))
}

/// Finds, for every row of `query`, its `within_batch` nearest rows in each batch of `reference`, exactly.
///
/// For new data against old, as [`query_neighbors`](super::query_neighbors): the rows of `query` belong to no batch of
/// `reference`, and each has `within_batch · batches` neighbours, nearest first.
/// With [`Umap::transform`](crate::umap::Umap::transform), new rows are placed among all old batches alike.
///
/// # Errors
///
/// [`Error::SmallBatch`] for a batch with fewer than `within_batch` rows, [`Error::MissingLabel`] for a row of
/// `reference` without a batch, [`Error::Config`] when `within_batch` is 0, [`Error::TooFew`] when `reference` has no
/// row, and as [`query_neighbors`](super::query_neighbors).
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_embed::knn::{Metric, batch_balanced_query};
///
/// let old = array![[0.0], [1.0], [10.0], [12.0]];
/// let batch = Categorical::from_labels(["a", "a", "b", "b"]);
/// let new = array![[9.0]];
/// let found =
///     batch_balanced_query(old.view(), &batch, new.view(), 1, Metric::Euclidean, &NoProgress)?;
/// assert_eq!(found.indices(), array![[2, 1]]);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
pub fn batch_balanced_query(
    reference: ArrayView2<'_, f64>,
    batch: &Categorical,
    query: ArrayView2<'_, f64>,
    within_batch: usize,
    metric: Metric,
    progress: &dyn Progress,
) -> Result<Neighbors> {
    check_columns("query", query, reference.ncols())?;
    let batches = rows_of_batches(batch, reference.nrows(), within_batch)?;
    Error::check_enough(METHOD, "rows", 1, reference.nrows())?;
    let points = Points::new(reference, metric)?;
    let query = Points::new(query, metric)?;
    let parts = parted(&query, progress)?;
    let mut gathered = Gathered::new(query.nrows(), metric);
    for (name, members) in &batches {
        let reference = points.select(members);
        let stage = format!("neighbours in `{name}`");
        let found = search(
            &query,
            Some(&parts),
            &reference,
            within_batch,
            |_| None,
            &stage,
            progress,
        )?;
        let row_of = |index: u32| members[index as usize] as u32;
        gathered.add(0..query.nrows(), within_batch, &found, row_of);
    }
    Ok(gathered.into_neighbors(within_batch * batches.len()))
}

/// The name and the rows of each batch that has any, after a check that each has enough.
fn rows_of_batches(
    batch: &Categorical,
    rows: usize,
    within_batch: usize,
) -> Result<Vec<(&str, Vec<usize>)>> {
    ConfigError::check(within_batch > 0, "within_batch", "at least 1", within_batch)?;
    let codes = full_codes(batch, "batch", rows)?;
    let mut members = vec![Vec::new(); batch.categories().len()];
    for (row, code) in codes.into_iter().enumerate() {
        members[code].push(row);
    }
    let named = batch.categories().iter().map(String::as_str).zip(members);
    let batches: Vec<(&str, Vec<usize>)> = named.filter(|(_, rows)| !rows.is_empty()).collect();
    match batches.iter().find(|(_, rows)| rows.len() < within_batch) {
        Some((name, rows)) => Err(Error::SmallBatch {
            batch: (*name).to_owned(),
            rows: rows.len(),
            needed: within_batch,
        }),
        None => Ok(batches),
    }
}

/// The rows of these parts but for the `members` of a batch, which rise, part after part, and the places of each part among
/// them.
fn without(parts: &[Vec<u32>], members: &[usize]) -> (Vec<usize>, Vec<Vec<u32>>) {
    let is_other = |row: &usize| members.binary_search(row).is_err();
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    for part in parts {
        let first = rows.len() as u32;
        rows.extend(part.iter().map(|&row| row as usize).filter(is_other));
        let end = rows.len() as u32;
        if first < end {
            places.push((first..end).collect());
        }
    }
    (rows, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_without_a_batch_are_those_of_all_rows_without_its_members() {
        let parts = [vec![4, 0], vec![1, 3], vec![5, 2]];
        let (rows, places) = without(&parts, &[0, 1, 3]);
        assert_eq!(rows, [4, 5, 2]);
        assert_eq!(places, [vec![0], vec![1, 2]]);
        let (rows, places) = without(&parts, &[0, 1, 2, 3, 4, 5]);
        assert!(rows.is_empty() && places.is_empty());
    }
}
