//! Exact search in blocks.

use std::borrow::Cow;
use std::cmp::Ordering;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, s};
use phenocoder_core::Progress;
use rayon::prelude::*;

use super::{Metric, Neighbors};
use crate::matrix::{check_finite, dot, squared_distance};
use crate::{ConfigError, Error, Result};

/// Rows of the query that are compared at once.
const QUERY_BLOCK: usize = 128;
/// Rows of the reference that they are compared with at once.
const REFERENCE_BLOCK: usize = 1024;
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

/// Rows moved and scaled into `[−1, 1]` in single precision.
struct Rough {
    values: Array2<f32>,
    /// The squared length of each row.
    square: Vec<f32>,
    /// A bound on this row's share in the error of a squared distance.
    error: Vec<f32>,
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
            for mut row in exact.outer_iter_mut() {
                let largest = row.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
                if largest > 0.0 {
                    row /= largest;
                    let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                    row /= length;
                }
            }
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

    fn rough(&self, center: &[f64], scale: f64) -> Rough {
        let mut values = Array2::<f32>::zeros(self.exact.raw_dim());
        let (mut square, mut error) = (Vec::new(), Vec::new());
        // The dot product of p terms, the rounding of its factors and the sum of three parts.
        let factor = UNIT * (self.exact.ncols() as f32 + 10.0);
        for (mut to, from) in values.outer_iter_mut().zip(self.exact.outer_iter()) {
            let mut sum = 0.0;
            for ((to, from), center) in to.iter_mut().zip(from).zip(center) {
                *to = ((from - center) * scale) as f32;
                sum += f64::from(*to) * f64::from(*to);
            }
            if self.metric == Metric::Cosine && sum == 0.0 {
                // A row of zeros is at a right angle to all others, as a row of length 1 can be.
                sum = scale * scale;
            }
            square.push(sum as f32);
            // The constant covers what is lost where products fall below the smallest normal number.
            error.push(sum as f32 * factor + 1e-30);
        }
        Rough {
            values,
            square,
            error,
        }
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
pub(super) fn search(
    query: &Points,
    reference: &Points,
    k: usize,
    exclude: impl Fn(usize) -> Option<usize> + Sync,
    stage: &str,
    progress: &dyn Progress,
) -> Result<Found> {
    ConfigError::check(k > 0, "k", "at least 1", k)?;
    let excludes = (0..query.nrows()).any(|row| exclude(row).is_some());
    let available = reference.nrows().saturating_sub(usize::from(excludes));
    if k > available {
        return Err(Error::TooManyNeighbors { k, available });
    }
    let center: Cow<'_, [f64]> = Cow::Borrowed(&reference.center);
    let extent = reference.extent(&center).max(query.extent(&center));
    let scale = scale_to_one(extent, query.ncols())?;
    let rough_reference = reference.rough(&center, scale);
    let same = std::ptr::eq(query, reference);
    let own_rough = (!same).then(|| query.rough(&center, scale));
    let rough_query = own_rough.as_ref().unwrap_or(&rough_reference);

    let n = query.nrows();
    let (mut indices, mut keys) = (vec![0_u32; n * k], vec![0.0; n * k]);
    progress.start(stage, Some(n as u64));
    indices
        .par_chunks_mut(QUERY_BLOCK * k)
        .zip(keys.par_chunks_mut(QUERY_BLOCK * k))
        .enumerate()
        .try_for_each(|(block, (indices, keys))| {
            progress.check()?;
            let first = block * QUERY_BLOCK;
            let rows = first..(first + QUERY_BLOCK).min(n);
            let exact = |row: usize, candidate: &Candidate| {
                let other = reference.row(candidate.index as usize);
                query.order_key(query.row(row), other)
            };
            let candidates = rough_candidates(
                rough_query,
                &rough_reference,
                rows.clone(),
                k,
                &exclude,
                &exact,
            );
            let outputs = indices.chunks_mut(k).zip(keys.chunks_mut(k));
            for ((row, candidates), (indices, keys)) in rows.clone().zip(candidates).zip(outputs) {
                let nearest = by_exact_key(candidates, |candidate| exact(row, candidate));
                for (i, (key, candidate)) in nearest.into_iter().take(k).enumerate() {
                    indices[i] = candidate.index;
                    keys[i] = key;
                }
            }
            progress.advance(rows.len() as u64);
            Ok::<(), Error>(())
        })?;
    progress.finish();
    Ok(Found {
        indices,
        keys,
        metric: query.metric,
    })
}

/// A row that may be among the nearest: its squared distance lies between `low` and `high`, up to the query's own
/// terms.
#[derive(Clone, Copy)]
struct Candidate {
    low: f32,
    high: f32,
    index: u32,
}

/// For each query row of a block, all rows that may be among its `k` nearest as far as single precision can tell.
fn rough_candidates(
    query: &Rough,
    reference: &Rough,
    rows: std::ops::Range<usize>,
    k: usize,
    exclude: &(impl Fn(usize) -> Option<usize> + Sync),
    exact: &impl Fn(usize, &Candidate) -> f64,
) -> Vec<Vec<Candidate>> {
    let capacity = 4 * k + 64;
    let most = MOST.max(MOST_PER_NEIGHBOR * k);
    let mut candidates: Vec<Vec<Candidate>> =
        rows.clone().map(|_| Vec::with_capacity(capacity)).collect();
    let mut cutoffs = vec![f32::INFINITY; rows.len()];
    let n = reference.values.nrows();
    let block = query.values.slice(s![rows.clone(), ..]);
    let mut products = Array2::<f32>::zeros((rows.len(), REFERENCE_BLOCK.min(n)));
    for start in (0..n).step_by(REFERENCE_BLOCK) {
        let end = (start + REFERENCE_BLOCK).min(n);
        let others = reference.values.slice(s![start..end, ..]);
        let mut products = products.slice_mut(s![.., ..end - start]);
        general_mat_mul(-2.0, &block, &others.t(), 0.0, &mut products);
        for (i, row) in rows.clone().enumerate() {
            let own_error = query.error[row];
            let excluded = exclude(row);
            let candidates = &mut candidates[i];
            let products = products.row(i);
            let products = products.as_slice().expect("rows are contiguous");
            let squares = &reference.square[start..end];
            let errors = &reference.error[start..end];
            let mut cutoff = cutoffs[i];
            for (chunk, ((p, q), e)) in products
                .chunks(16)
                .zip(squares.chunks(16))
                .zip(errors.chunks(16))
                .enumerate()
            {
                let hit = p
                    .iter()
                    .zip(q)
                    .zip(e)
                    .fold(false, |hit, ((p, q), e)| hit | (p + q - e <= cutoff));
                if !hit {
                    continue;
                }
                for (j, ((p, q), e)) in p.iter().zip(q).zip(e).enumerate() {
                    let (low, high) = (p + q - e - own_error, p + q + e + own_error);
                    let index = start + chunk * 16 + j;
                    // `cutoff` carries the query's own error already.
                    if p + q - e > cutoff || excluded == Some(index) {
                        continue;
                    }
                    candidates.push(Candidate {
                        low,
                        high,
                        index: index as u32,
                    });
                    if candidates.len() >= capacity.max(2 * k) && candidates.len().is_power_of_two()
                    {
                        cutoff = shrink(candidates, k) + own_error;
                        if candidates.len() > most {
                            let found = std::mem::take(candidates);
                            let nearest = by_exact_key(found, |c| exact(row, c));
                            candidates.extend(nearest.into_iter().take(k).map(|pair| pair.1));
                        }
                    }
                }
            }
            cutoffs[i] = cutoff;
        }
    }
    for candidates in &mut candidates {
        shrink(candidates, k);
    }
    candidates
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
