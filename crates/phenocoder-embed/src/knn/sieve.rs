//! What may be among the nearest, as far as single precision can tell.

use super::rough::Rough;

/// Candidates per row of the query beyond which the exact distances decide early, in units of the neighbours asked for
/// and at least: where most rows are equal, or one lies very far out, single precision tells nothing apart.
const MOST_PER_NEIGHBOR: usize = 8;
const MOST: usize = 2048;

/// What may be among the `k` nearest of one row of the query.
pub(super) struct Sieve {
    k: usize,
    excluded: Option<u32>,
    /// The row's own share in the error of a squared distance.
    error: f32,
    /// What is further cannot be among the nearest; it carries the row's own error already.
    cutoff: f32,
    candidates: Vec<Candidate>,
}

impl Sieve {
    pub(super) fn new(k: usize, excluded: Option<usize>, error: f32) -> Self {
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
    pub(super) fn sift(
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

    pub(super) fn finish(mut self) -> Vec<Candidate> {
        shrink(&mut self.candidates, self.k);
        self.candidates
    }
}

/// A row that may be among the nearest: its squared distance lies between `low` and `high`, up to the query's own
/// terms.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    low: f32,
    high: f32,
    pub(super) index: u32,
}

/// The number of candidates from which on those that cannot be among the `k` nearest are dropped.
fn fewest(k: usize) -> usize {
    4 * k + 64
}

/// The candidates with their exact keys, nearest first and of equally near ones the first row first.
pub(super) fn by_exact_key(
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
