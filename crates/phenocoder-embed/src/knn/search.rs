//! Exact search in blocks.

use std::cmp::Ordering;

use ndarray::{Array2, ArrayView2, Axis};
use phenocoder_core::Progress;
use rayon::prelude::*;

use super::groups::{Groups, NONE, parted};
use super::panels::Panels;
use super::{Metric, Neighbors};
use crate::matrix::{check_finite, dot, squared_distance, to_unit_length};
use crate::{ConfigError, Error, Result};

/// Rows of the query that are compared at once.
const QUERY_BLOCK: usize = 128;
/// Candidates per row of the query beyond which the exact distances decide early, in units of the neighbours asked for
/// and at least: where most rows are equal, or one lies very far out, single precision tells nothing apart.
const MOST_PER_NEIGHBOR: usize = 8;
const MOST: usize = 2048;
/// Sums or squares are beyond any number.
pub(super) const OVERFLOW: Error = Error::Overflow {
    method: "neighbours",
};
/// The relative rounding error of single precision, 2⁻²⁴.
const UNIT: f32 = 5.960_464_5e-8;

/// Rows in double precision, for the answer, and in single precision, for the first look.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Points {
    exact: Array2<f64>,
    metric: Metric,
    center: Vec<f64>,
}

/// What moves and scales rows into `[−1, 1]`.
pub(super) struct Frame<'a> {
    center: &'a [f64],
    scale: f64,
}

impl<'a> Frame<'a> {
    /// That of the rows of a reference and of a query.
    pub(super) fn new(reference: &'a Points, query: &Points) -> Result<Self> {
        let center = reference.center.as_slice();
        let extent = reference.extent(center).max(query.extent(center));
        // Beyond the cap, single precision would tell rows apart of which the squares of double precision are all 0.
        let scale = scale_to_one(extent, query.ncols())?.min(libm::exp2(470.0));
        Ok(Self { center, scale })
    }

    /// The values of a row, moved and scaled.
    pub(super) fn values(&self, row: &[f64]) -> impl Iterator<Item = f64> {
        let pairs = row.iter().zip(self.center);
        pairs.map(|(value, center)| (value - center) * self.scale)
    }

    /// Writes a row in single precision and returns its squared length.
    pub(super) fn round(&self, row: &[f64], to: &mut [f32]) -> f32 {
        let mut sum = 0.0;
        for (to, value) in to.iter_mut().zip(self.values(row)) {
            *to = value as f32;
            sum += f64::from(*to) * f64::from(*to);
        }
        sum as f32
    }
}

/// The rows of a reference in single precision, group after group.
struct Rough {
    groups: Groups,
    panels: Panels,
    /// The squared length of each row.
    square: Vec<f32>,
    /// A bound on this row's share in the error of a squared distance.
    error: Vec<f32>,
}

impl Rough {
    /// The rows for a query of as many rows.
    fn new(points: &Points, frame: &Frame<'_>, query: usize) -> Self {
        let groups = Groups::new(points, frame, query);
        // What stands for no row is infinitely far.
        let round = |place: usize, line: &mut [f32]| match groups.order[place] {
            NONE => f32::INFINITY,
            row => points.length(frame.round(points.row(row as usize), line), frame),
        };
        let error = |square: f32| match square.is_finite() {
            true => points.error(square),
            false => 0.0,
        };
        let shape = (groups.order.len(), points.ncols());
        let (panels, square) = Panels::new(shape, round, |square| square - error(square));
        Self {
            groups,
            panels,
            error: square.iter().map(|&square| error(square)).collect(),
            square,
        }
    }
}

impl Points {
    pub(super) fn new(x: ArrayView2<'_, f64>, metric: Metric) -> Result<Self> {
        check_finite(x)?;
        if u32::try_from(x.nrows()).is_err() {
            return Err(Error::TooManyRows { rows: x.nrows() });
        }
        let mut exact = x.as_standard_layout().into_owned();
        let center = match metric {
            Metric::Euclidean => x.mean_axis(Axis(0)).map_or_else(Vec::new, |m| m.to_vec()),
            Metric::Cosine => vec![0.0; x.ncols()],
        };
        if !center.iter().all(|c| c.is_finite()) {
            return Err(OVERFLOW);
        }
        if metric == Metric::Cosine {
            exact.outer_iter_mut().for_each(to_unit_length);
        }
        Ok(Self {
            exact,
            metric,
            center,
        })
    }

    pub(super) fn nrows(&self) -> usize {
        self.exact.nrows()
    }

    pub(super) fn ncols(&self) -> usize {
        self.exact.ncols()
    }

    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    /// All rows; of length 1 or 0 where cosines are asked for.
    #[cfg(feature = "hnsw")]
    pub(super) fn rows(&self) -> &Array2<f64> {
        &self.exact
    }

    /// Takes [`rows`](Self::rows) as they were, to the bit.
    #[cfg(feature = "hnsw")]
    pub(super) fn written(rows: Array2<f64>, metric: Metric) -> Result<Self> {
        let mut points = Self::new(rows.view(), metric)?;
        // A row of length 1 may be rounded otherwise when it is divided by its length again.
        let mut pairs = points.exact.iter().zip(&rows);
        ConfigError::check(
            pairs.all(|(a, b)| (a - b).abs() <= 1e-12),
            "rows",
            "rows of length 1 or 0, as cosines need them",
            "others",
        )?;
        points.exact = rows;
        Ok(points)
    }

    pub(super) fn select(&self, rows: &[usize]) -> Self {
        Self {
            exact: self.exact.select(Axis(0), rows),
            metric: self.metric,
            center: self.center.clone(),
        }
    }

    /// A row; of length 1 or 0 where cosines are asked for.
    pub(super) fn row(&self, row: usize) -> &[f64] {
        let p = self.exact.ncols();
        let all = self
            .exact
            .as_slice()
            .expect("standard layout by construction");
        &all[row * p..(row + 1) * p]
    }

    pub(super) fn extent(&self, center: &[f64]) -> f64 {
        let far = |row: ndarray::ArrayView1<'_, f64>| {
            let offsets = row.into_iter().zip(center).map(|(v, c)| (v - c).abs());
            offsets.fold(0.0_f64, f64::max)
        };
        self.exact.outer_iter().map(far).fold(0.0, f64::max)
    }

    /// The squared length that stands for a row's.
    fn length(&self, square: f32, frame: &Frame<'_>) -> f32 {
        match self.metric {
            // A row of zeros is at a right angle to all others, as a row of length 1 can be.
            Metric::Cosine if square == 0.0 => (frame.scale * frame.scale) as f32,
            _ => square,
        }
    }

    /// A bound on the share, in the error of a squared distance, of a row with this squared length.
    pub(super) fn error(&self, square: f32) -> f32 {
        // The dot product of p terms, the rounding of its factors and the sum of three parts; the constant covers what is
        // lost where products fall below the smallest normal number.
        square * UNIT * (self.ncols() as f32 + 10.0) + 1e-30
    }

    /// What the rows are ordered by: the squared distance, or the cosine distance.
    #[inline]
    pub(super) fn order_key(&self, a: &[f64], b: &[f64]) -> f64 {
        match self.metric {
            Metric::Euclidean => squared_distance(a, b),
            Metric::Cosine => (1.0 - dot(a, b)).max(0.0),
        }
    }
}

/// The rows found: `k` per query, by key and then index.
pub(super) struct Found {
    pub(super) indices: Vec<u32>,
    pub(super) keys: Vec<f64>,
    pub(super) metric: Metric,
}

impl Found {
    fn distance(metric: Metric, key: f64) -> f64 {
        match metric {
            Metric::Euclidean => key.sqrt(),
            Metric::Cosine => key,
        }
    }

    pub(super) fn into_neighbors(self, k: usize) -> Neighbors {
        let n = self.indices.len() / k.max(1);
        let distances = self
            .keys
            .iter()
            .map(|&key| Self::distance(self.metric, key))
            .collect();
        let shape = (n, k);
        Neighbors {
            indices: Array2::from_shape_vec(shape, self.indices).expect("k entries per query"),
            distances: Array2::from_shape_vec(shape, distances).expect("k entries per query"),
        }
    }
}

/// The rows found in several searches for each row of a query, with their keys.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    rows: Vec<Vec<(f64, u32)>>,
    metric: Metric,
}

impl Gathered {
    pub(super) fn new(rows: usize, metric: Metric) -> Self {
        Self {
            rows: vec![Vec::new(); rows],
            metric,
        }
    }

    /// Takes what was found for `rows`, `each` of which has as many; `name` tells the row behind an index.
    pub(super) fn add(
        &mut self,
        rows: impl Iterator<Item = usize>,
        each: usize,
        found: &Found,
        name: impl Fn(u32) -> u32,
    ) {
        let pairs = found.keys.chunks(each).zip(found.indices.chunks(each));
        for (row, (keys, indices)) in rows.zip(pairs) {
            let pairs = keys.iter().zip(indices);
            self.rows[row].extend(pairs.map(|(&key, &index)| (key, name(index))));
        }
    }

    /// Forgets what is not among the `k` nearest of a row.
    pub(super) fn keep(&mut self, k: usize) {
        self.rows.par_iter_mut().for_each(|pairs| {
            pairs.sort_unstable_by(by_key);
            pairs.truncate(k);
        });
    }

    /// The `k` nearest of each row, each of which has found as many.
    pub(super) fn into_neighbors(mut self, k: usize) -> Neighbors {
        self.keep(k);
        let (keys, indices) = self.rows.into_iter().flatten().unzip();
        let metric = self.metric;
        let found = Found {
            indices,
            keys,
            metric,
        };
        found.into_neighbors(k)
    }
}

/// The nearer row first, and of equally near ones the first row.
pub(super) fn by_key(a: &(f64, u32), b: &(f64, u32)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// The power of two, so that no digit changes, that brings lengths up to `extent` into `[0, 1]`.
///
/// # Errors
///
/// [`Error::Overflow`] when the squared distance of two rows of `columns` such lengths is beyond any number.
pub(super) fn scale_to_one(extent: f64, columns: usize) -> Result<f64> {
    if !(4.0 * extent * extent * columns as f64).is_finite() {
        return Err(OVERFLOW);
    }
    // Identical rows need none, and 2¹⁰²³ is the largest.
    Ok(if extent > 0.0 {
        libm::exp2((-libm::ceil(libm::log2(extent))).min(1023.0))
    } else {
        1.0
    })
}

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
    let rough = Rough::new(reference, &frame, n);
    progress.check()?;
    let is_other = parts.is_none() && !std::ptr::eq(query, reference);
    let own = is_other.then(|| parted(query));
    progress.check()?;
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
    let (mut indices, mut keys) = (vec![0_u32; n * k], vec![0.0; n * k]);
    let found = found.iter().flat_map(|block| block.chunks(k));
    for (&row, nearest) in order.iter().flatten().zip(found) {
        let from = row as usize * k;
        for (i, &(key, index)) in nearest.iter().enumerate() {
            (indices[from + i], keys[from + i]) = (index, key);
        }
    }
    progress.finish();
    Ok(Found {
        indices,
        keys,
        metric: query.metric,
    })
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

/// A row that may be among the nearest: its squared distance lies between `low` and `high`, up to the query's own
/// terms.
#[derive(Clone, Copy)]
struct Candidate {
    low: f32,
    high: f32,
    index: u32,
}

/// The number of candidates from which on those that cannot be among the `k` nearest are dropped.
fn fewest(k: usize) -> usize {
    4 * k + 64
}

/// What may be among the `k` nearest of one row of the query.
struct Sieve {
    k: usize,
    excluded: Option<u32>,
    /// The row's own share in the error of a squared distance.
    error: f32,
    /// What is further cannot be among the nearest; it carries the row's own error already.
    cutoff: f32,
    candidates: Vec<Candidate>,
}

impl Sieve {
    fn new(k: usize, excluded: Option<usize>, error: f32) -> Self {
        Self {
            k,
            excluded: excluded.map(|row| row as u32),
            error,
            cutoff: f32::MAX,
            candidates: Vec::with_capacity(fewest(k)),
        }
    }

    /// Takes what may be among the nearest of the rows in these places of the reference, and returns the cutoff;
    /// `products` are −2 times the dot products with them.
    fn sift(
        &mut self,
        first: usize,
        products: &[f32],
        reference: &Rough,
        exact: impl Fn(&Candidate) -> f64,
    ) -> f32 {
        let rows = (reference.groups.order[first..].iter())
            .zip(&reference.square[first..])
            .zip(&reference.error[first..]);
        for (p, ((&index, q), e)) in products.iter().zip(rows) {
            if p + (q - e) > self.cutoff || self.excluded == Some(index) {
                continue;
            }
            let candidate = Candidate {
                low: p + q - e - self.error,
                high: p + q + e + self.error,
                index,
            };
            self.take(candidate, &exact);
        }
        self.cutoff
    }

    fn take(&mut self, candidate: Candidate, exact: impl Fn(&Candidate) -> f64) {
        self.candidates.push(candidate);
        let count = self.candidates.len();
        if count < fewest(self.k) || !count.is_power_of_two() {
            return;
        }
        self.cutoff = shrink(&mut self.candidates, self.k) + self.error;
        if self.candidates.len() > MOST.max(MOST_PER_NEIGHBOR * self.k) {
            let found = std::mem::take(&mut self.candidates);
            let nearest = by_exact_key(found, exact);
            let nearest = nearest.into_iter().take(self.k).map(|pair| pair.1);
            self.candidates.extend(nearest);
        }
    }

    fn finish(mut self) -> Vec<Candidate> {
        shrink(&mut self.candidates, self.k);
        self.candidates
    }
}

/// The candidates with their exact keys, nearest first and of equally near ones the first row first.
fn by_exact_key(
    candidates: Vec<Candidate>,
    key: impl Fn(&Candidate) -> f64,
) -> Vec<(f64, Candidate)> {
    let mut ordered: Vec<(f64, Candidate)> = candidates.into_iter().map(|c| (key(&c), c)).collect();
    ordered.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.index.cmp(&b.1.index)));
    ordered
}

/// Drops what cannot be among the `k` nearest and returns the largest lower bound that still can.
fn shrink(candidates: &mut Vec<Candidate>, k: usize) -> f32 {
    if candidates.len() <= k {
        return f32::INFINITY;
    }
    let mut high: Vec<f32> = candidates.iter().map(|c| c.high).collect();
    let (_, &mut cutoff, _) = high.select_nth_unstable_by(k - 1, f32::total_cmp);
    candidates.retain(|c| c.low <= cutoff);
    cutoff
}
