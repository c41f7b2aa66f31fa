//! Pairs of points of two leaves whose distances fall among many thresholds that lie evenly.
//!
//! Which threshold is next to a distance follows from its root. A byte for each pair says to which one it belongs: equal
//! bytes are counted faster than counters are found and raised.

use pulp::Simd;

use super::leaves::Pair;
use super::rounded::{ERROR, Seen};
use super::tree::LEAF;

/// Thresholds that lie evenly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Even {
    /// The first one, in steps from one to the next.
    first: f32,
    /// Squared steps in a squared distance of 1.
    scale: f32,
    /// By how much squared thresholds may be off.
    error: f64,
    /// Up to which squared distance rounding is less than a quarter of a squared step: that far the next threshold but one
    /// always is, also where the one that is taken for the nearest is half a step off.
    most: f64,
}

impl Even {
    /// Thresholds among which distances fall, from which on this is faster than comparing with each.
    pub(super) const FEWEST: usize = 7;

    /// Thresholds at most: each one takes its time. The first may be as many steps away.
    const MOST: usize = 128;

    /// By how much thresholds may be off, as part of the last one.
    const OFF: f64 = 1e-13;

    /// Takes distances that rise; `None` where they do not lie evenly, are too many, or too large or too small for 32 bits.
    pub(super) fn new(thresholds: &[f64]) -> Option<Self> {
        let (&[first, ..], &[.., last]) = (thresholds, thresholds) else {
            return None;
        };
        let step = (last - first) / (thresholds.len() - 1) as f64;
        let is_even = |(i, &threshold): (usize, &f64)| {
            (first + i as f64 * step - threshold).abs() <= Self::OFF * last
        };
        let is_usable = step > 0.0
            && thresholds.iter().enumerate().all(is_even)
            && (1e-15..1e15).contains(&step)
            && thresholds.len() <= Self::MOST
            && first <= Self::MOST as f64 * step;
        is_usable.then(|| Self {
            first: (first / step) as f32,
            scale: (step * step).recip() as f32,
            error: 3.0 * Self::OFF * last * last,
            most: MARGIN / (SLACK * ERROR) * step * step,
        })
    }
}

/// Thresholds are rounded, too: by less than half as many operations as distances.
const SLACK: f64 = 1.5;

/// What rounding may come to, in squared steps.
const MARGIN: f64 = 0.24;

/// The byte of a pair whose rounded distance does not tell, and that of a point that is not there.
const UNSURE: u8 = u8::MAX;
const NONE: u8 = UNSURE - 1;

/// Finds the threshold of each pair.
pub(super) struct Steps<'a> {
    pair: &'a Pair<'a>,
    seen: &'a Seen,
    even: &'a Even,
    /// What squared distances and thresholds may be off, in squared steps.
    error: f32,
}

impl<'a> Steps<'a> {
    /// `None` where the points are too far from each other for the steps.
    pub(super) fn new(pair: &'a Pair<'a>, seen: &'a Seen, even: &'a Even) -> Option<Self> {
        let error = SLACK * f64::from(seen.error) + even.error;
        (seen.most <= even.most).then_some(Self {
            pair,
            seen,
            even,
            error: error as f32 * even.scale,
        })
    }

    #[inline(always)]
    pub(super) fn count<S: Simd>(&self, simd: S, counts: &mut [u64]) {
        let Self { pair, seen, .. } = self;
        let (start, end) = (pair.bins.start, pair.bins.end);
        let mut bins = [[NONE; LEAF]; LEAF];
        let mut pairs = 0;
        for (limit, points) in pair.runs() {
            let last = end.min(limit);
            let farthest = pair.thresholds.squared[last - 1] as f32 + seen.error;
            pairs += (points.len() * pair.b.len) as u64;
            for i in points {
                let bins = &mut bins[i];
                if seen.nearest[i] > farthest {
                    bins.fill(last as u8);
                } else if !self.of_point(simd, i, last, bins) {
                    self.ask(i, last, bins);
                }
                bins[pair.b.len..].fill(NONE);
            }
        }
        for (bin, count) in (start..).zip(&mut counts[start..end]) {
            let found = number_of(bin as u8, &bins);
            *count = count.wrapping_add(found);
            pairs -= found;
        }
        counts[end] = counts[end].wrapping_add(pairs);
        // From their limit on points do not count: what was found there is taken back together with all that is beyond.
        for (limit, n) in pair.limits.beyond(start) {
            super::end_at(counts, limit, (n * pair.b.len) as u64);
        }
    }

    /// The thresholds that the distances of a point of the first leaf belong to, as far as the last that it counts for;
    /// whether all are sure.
    #[inline(always)]
    fn of_point<S: Simd>(&self, simd: S, i: usize, last: usize, bins: &mut [u8; LEAF]) -> bool {
        let mut squared = [0.0_f32; LEAF];
        self.seen
            .squared_distances(simd, i, &self.pair.b.rounded, &mut squared);
        let &Even { first, scale, .. } = self.even;
        let last = last as f32;
        let mut unsure = 0;
        for (bin, squared) in bins.iter_mut().zip(squared) {
            let squared = (squared * scale).max(0.0);
            // One of the two thresholds that the distance is between.
            let near = (root(squared) - first + WHOLE) - WHOLE;
            let beyond = squared - (near + first) * (near + first);
            let found = if beyond > 0.0 { near + 1.0 } else { near };
            let found = (found.max(0.0).min(last) + WHOLE).to_bits() as u8;
            let is_sure = beyond.abs() > self.error || near >= last;
            *bin = if is_sure { found } else { UNSURE };
            unsure |= u8::from(!is_sure);
        }
        unsure == 0
    }

    /// Asks the exact distances of a point where the rounded ones do not tell.
    fn ask(&self, i: usize, last: usize, bins: &mut [u8; LEAF]) {
        let Pair { a, b, .. } = self.pair;
        for (j, bin) in bins[..b.len].iter_mut().enumerate() {
            if *bin == UNSURE {
                let squared = super::squared(|axis| a.axes[axis][i] - b.axes[axis][j]);
                *bin = self.pair.thresholds.bin(squared).min(last) as u8;
            }
        }
    }
}

/// From half of 2²⁴ on the lowest bits of a number are its whole part; in the middle it may be negative, too.
const WHOLE: f32 = (3 << 22) as f32;

/// The square root of a number that is not negative, 0.18 % too low at most: enough to tell which of 256 steps are next.
///
/// Halving the exponent gives the inverse root to 3.5 %, and Newton's method the rest.
#[inline(always)]
fn root(x: f32) -> f32 {
    let inverse = f32::from_bits(0x5f37_59df - (x.to_bits() >> 1));
    x * inverse * (1.5 - 0.5 * x * inverse * inverse)
}

/// How many of the bytes are this one.
#[inline(always)]
fn number_of(byte: u8, bytes: &[[u8; LEAF]; LEAF]) -> u64 {
    let mut found = [0_u8; 2 * LEAF];
    for rows in bytes.as_chunks::<2>().0 {
        for (found, &other) in found.iter_mut().zip(rows.as_flattened()) {
            *found += u8::from(other == byte);
        }
    }
    found.iter().map(|&found| u64::from(found)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_a_little_too_low_at_most() {
        for x in (0..=1 << 20).map(|i| i as f32 / 16.0) {
            let (found, exact) = (f64::from(root(x)), f64::from(x).sqrt());
            let error = (exact - found) / exact.max(f64::MIN_POSITIVE);
            assert!((-1e-6..0.0018).contains(&error) || x == 0.0, "{x}: {found}");
        }
        assert_eq!(root(0.0), 0.0);
    }

    #[test]
    fn only_thresholds_that_lie_evenly_and_are_not_too_many_are_taken() {
        let even = |n: u32, first: f64, step: f64| -> Vec<f64> {
            (0..n).map(|i| first + f64::from(i) * step).collect()
        };
        for usable in [
            even(20, 0.0, 0.1),
            even(128, 3.3, 0.7),
            even(50, 1e9, 1e8),
            even(2, 5.0, 1.0),
        ] {
            assert!(Even::new(&usable).is_some(), "{usable:?}");
        }
        let mut odd = even(20, 0.0, 1.0);
        odd[7] += 1e-9;
        for unusable in [
            vec![],
            vec![1.0],
            vec![1.0, 1.0],
            even(129, 0.0, 1.0),
            even(20, 200.0, 1.0),
            even(20, 0.0, 1e-16),
            even(20, 0.0, 1e16),
            odd,
        ] {
            assert!(Even::new(&unusable).is_none(), "{unusable:?}");
        }
    }
}
