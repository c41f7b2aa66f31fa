//! Exact search in blocks.

use phenocoder_core::Progress;
use rayon::prelude::*;

use super::found::Found;
use super::groups::parted;
use super::points::{Frame, Points};
use super::rough::Rough;
use super::sieve::{Candidate, Sieve, by_exact_key};
use crate::{ConfigError, Error, Result};

/// Rows of the query that are compared at once.
const QUERY_BLOCK: usize = 128;

/// Finds the `k` nearest rows of `reference`, except `exclude(row)`, for each row of `query`.
///
/// `parts` of the query are made where there are none: whoever searches for the same rows again keeps them.
pub(super) fn search(
    query: &Points,
    parts: Option<&[Vec<u32>]>,
    reference: &Points,
    k: usize,
    exclude: impl Fn(usize) -> Option<usize> + Sync,
    stage: &str,
    progress: &dyn Progress,
) -> Result<Found> {
    let n = query.nrows();
    ConfigError::check(k > 0, "k", "at least 1", k)?;
    let excludes = (0..n).any(|row| exclude(row).is_some());
    let available = reference.nrows().saturating_sub(usize::from(excludes));
    if k > available {
        return Err(Error::TooManyNeighbors { k, available });
    }
    let frame = Frame::new(reference, query)?;
    progress.start(stage, Some(n as u64));
    let rough = Rough::new(reference, &frame, n, progress)?;
    progress.check()?;
    let is_other = parts.is_none() && !std::ptr::eq(query, reference);
    let own = is_other.then(|| parted(query, progress)).transpose()?;
    let order = parts.or(own.as_deref());
    let order = order.unwrap_or(&rough.groups.members);
    let blocks = Blocks {
        query,
        reference,
        rough: &rough,
        frame: &frame,
        k,
        exclude,
    };
    let found: Vec<Vec<(f64, u32)>> = order
        .par_iter()
        .flat_map(|group| group.par_chunks(QUERY_BLOCK))
        .map(|rows| {
            progress.check()?;
            let found = blocks.answer(rows);
            progress.advance(rows.len() as u64);
            Ok(found)
        })
        .collect::<Result<_>>()?;
    progress.finish();
    Ok(Found::in_order(&order.concat(), found, k, query.metric()))
}

/// A search whose query is taken in blocks of rows.
struct Blocks<'a, E> {
    query: &'a Points,
    reference: &'a Points,
    rough: &'a Rough,
    frame: &'a Frame<'a>,
    k: usize,
    exclude: E,
}

impl<E: Fn(usize) -> Option<usize>> Blocks<'_, E> {
    /// The `k` nearest of each of these rows of the query, with their keys.
    fn answer(&self, rows: &[u32]) -> Vec<(f64, u32)> {
        let nearest = rows
            .iter()
            .zip(self.candidates(rows))
            .flat_map(|(&row, found)| {
                let nearest = by_exact_key(found, |candidate| self.exact(row, candidate));
                let pairs = nearest.into_iter().map(|(key, found)| (key, found.index));
                pairs.take(self.k)
            });
        nearest.collect()
    }

    /// For each of these rows of the query, all rows that may be among its `k` nearest as far as single precision can
    /// tell.
    fn candidates(&self, rows: &[u32]) -> Vec<Vec<Candidate>> {
        let (columns, rough) = (self.query.ncols(), self.rough);
        let mut values = vec![0.0; rows.len() * columns];
        let (mut sieves, mut lengths) = (Vec::new(), Vec::new());
        for (i, &row) in rows.iter().enumerate() {
            let line = &mut values[i * columns..(i + 1) * columns];
            let square = self.frame.round(self.query.row(row as usize), line);
            let error = self.query.error(self.query.length(square, self.frame));
            lengths.push((square, error));
            let excluded = (self.exclude)(row as usize);
            sieves.push(Sieve::new(self.k, excluded, error));
        }
        let tiles = rough.panels.tiles(&values, rows.len());
        let mut cutoffs = vec![f32::MAX; rows.len()];
        for (group, bounds) in rough.groups.bounds(&tiles, &lengths) {
            if bounds
                .iter()
                .zip(&cutoffs)
                .all(|(bound, cutoff)| bound > cutoff)
            {
                continue;
            }
            let places = rough.groups.places[group].clone();
            rough
                .panels
                .compare(&tiles, places, &mut cutoffs, |i, first, products| {
                    let exact = |candidate: &Candidate| self.exact(rows[i], candidate);
                    sieves[i].sift(first, products, rough, exact)
                });
        }
        sieves.into_iter().map(Sieve::finish).collect()
    }

    fn exact(&self, row: u32, candidate: &Candidate) -> f64 {
        let other = self.reference.row(candidate.index as usize);
        self.query.order_key(self.query.row(row as usize), other)
    }
}
