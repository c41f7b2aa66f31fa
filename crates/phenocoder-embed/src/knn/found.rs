//! What a search has found, and what several have found together.

use std::cmp::Ordering;

use ndarray::Array2;
use rayon::prelude::*;

use super::{Metric, Neighbors};

/// The rows found: `k` per query, by key and then index.
pub(super) struct Found {
    pub(super) indices: Vec<u32>,
    pub(super) keys: Vec<f64>,
    pub(super) metric: Metric,
}

impl Found {
    /// What was found for the rows in this order, `k` for each, block after block.
    pub(super) fn in_order(
        order: &[u32],
        blocks: Vec<Vec<(f64, u32)>>,
        k: usize,
        metric: Metric,
    ) -> Self {
        let (mut indices, mut keys) = (vec![0; order.len() * k], vec![0.0; order.len() * k]);
        let mut rows = order.iter();
        // By value: the memory of a block is free when its pairs are in their places.
        for block in blocks {
            for (nearest, &row) in block.chunks(k).zip(&mut rows) {
                let from = row as usize * k;
                for (i, &(key, index)) in nearest.iter().enumerate() {
                    (indices[from + i], keys[from + i]) = (index, key);
                }
            }
        }
        Self {
            indices,
            keys,
            metric,
        }
    }

    fn distance(metric: Metric, key: f64) -> f64 {
        match metric {
            Metric::Euclidean => key.sqrt(),
            Metric::Cosine => key,
        }
    }

    pub(super) fn into_neighbors(self, k: usize) -> Neighbors {
        let n = self.indices.len() / k.max(1);
        let mut distances = self.keys;
        for key in &mut distances {
            *key = Self::distance(self.metric, *key);
        }
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
