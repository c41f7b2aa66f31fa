//! Pairs of points of two leaves.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::thresholds::{Reach, Table, Thresholds, cell};
use super::tree::{LEAF, Leaf};

/// Points of a small leaf.
const FEW: usize = 8;

/// Thresholds that are compared at a time.
const AT_ONCE: usize = 16;

/// Two leaves, and the thresholds among which distances of their points fall: none before the first, all up to the one after
/// the last.
pub(super) struct Pair<'a> {
    pub(super) a: &'a Leaf,
    pub(super) b: &'a Leaf,
    pub(super) limits: &'a [(u32, u32)],
    pub(super) thresholds: &'a Thresholds,
    pub(super) bins: Range<usize>,
}

impl Pair<'_> {
    /// The points of the first leaf that have a limit beyond the first of the bins, and up to where it reaches.
    fn runs(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut end = 0;
        let runs = self.limits.iter().map(move |&(limit, n)| {
            let start = end;
            end += n as usize;
            (limit as usize, start..end)
        });
        runs.filter(|&(limit, _)| limit > self.bins.start)
    }

    /// The squared distances of a point of the first leaf from the first ones of the second.
    #[inline(always)]
    fn distances<const N: usize>(&self, i: usize, flat: bool, squared: &mut [f64; N]) {
        let [az, ay, ax] = &self.a.axes;
        let [bz, by, bx] = &self.b.axes;
        let (z, y, x) = (az[i], ay[i], ax[i]);
        // Points in the plane have zeros there.
        if flat {
            for j in 0..N.min(LEAF) {
                let (dy, dx) = (y - by[j], x - bx[j]);
                squared[j] = dy * dy + dx * dx;
            }
        } else {
            for j in 0..N.min(LEAF) {
                let (dz, dy, dx) = (z - bz[j], y - by[j], x - bx[j]);
                squared[j] = dz * dz + dy * dy + dx * dx;
            }
        }
    }

    fn is_flat(&self) -> bool {
        self.a.is_flat && self.b.is_flat
    }
}

/// Compares all pairs with each of the thresholds.
pub(super) struct Compare<'a> {
    pub(super) pair: Pair<'a>,
    pub(super) counts: &'a mut [u64],
}

impl WithSimd for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.pair.thresholds.reach {
            Reach::Closed => self.of_size(simd, |a, b| simd.less_than_or_equal_f64s(a, b)),
            Reach::Open => self.of_size(simd, |a, b| simd.less_than_f64s(a, b)),
        }
    }
}

impl Compare<'_> {
    #[inline(always)]
    fn of_size<S: Simd>(self, simd: S, belongs: impl Fn(S::f64s, S::f64s) -> S::m64s) {
        if self.pair.b.len <= FEW {
            self.run::<FEW, S>(simd, belongs);
        } else {
            self.run::<LEAF, S>(simd, belongs);
        }
    }

    #[inline(always)]
    fn run<const N: usize, S: Simd>(self, simd: S, belongs: impl Fn(S::f64s, S::f64s) -> S::m64s) {
        let Self { pair, counts } = self;
        let flat = pair.is_flat();
        let (nothing, one) = (simd.splat_u64s(0), simd.splat_u64s(1));
        let mut squared = [0.0_f64; N];
        let mut lanes = [0; 8];
        let lanes = &mut lanes[..S::U64_LANES];
        for (limit, points) in pair.runs() {
            let mut before = 0;
            // A part of the bins at a time, though there are hardly ever so many.
            let end = pair.bins.end.min(limit);
            for start in (pair.bins.start..end).step_by(AT_ONCE) {
                let thresholds = &pair.thresholds.squared[start..end.min(start + AT_ONCE)];
                let mut up_to = [nothing; AT_ONCE];
                for i in points.clone() {
                    pair.distances(i, flat, &mut squared);
                    let (squared, _) = S::as_simd_f64s(&squared);
                    for (up_to, &threshold) in up_to.iter_mut().zip(thresholds) {
                        let threshold = simd.splat_f64s(threshold);
                        for &squared in squared {
                            let is_in = belongs(squared, threshold);
                            *up_to = simd.add_u64s(*up_to, simd.select_u64s(is_in, one, nothing));
                        }
                    }
                }
                for (count, up_to) in counts[start..end].iter_mut().zip(up_to) {
                    simd.partial_store_u64s(lanes, up_to);
                    let up_to: u64 = lanes.iter().sum();
                    *count = count.wrapping_add(up_to - before);
                    before = up_to;
                }
            }
            if end == pair.bins.end {
                let rest = (points.len() * pair.b.len) as u64 - before;
                counts[end] = counts[end].wrapping_add(rest);
                before += rest;
            }
            super::end_at(counts, limit, before);
        }
    }
}

/// Looks up between which thresholds the distance of each pair lies.
pub(super) struct LookUp<'a> {
    pub(super) pair: Pair<'a>,
    pub(super) table: &'a Table,
    pub(super) counts: &'a mut [u64],
}

impl WithSimd for LookUp<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if self.pair.b.len <= FEW {
            self.run::<FEW>();
        } else {
            self.run::<LEAF>();
        }
    }
}

impl LookUp<'_> {
    #[inline(always)]
    fn run<const N: usize>(self) {
        let Self {
            pair,
            table: Table { scale, bins },
            counts,
        } = self;
        let flat = pair.is_flat();
        // Neighbors mostly fall between the same thresholds: with one counter each would wait for the one before.
        let mut found = [[0_u32; 256]; 4];
        let mut squared = [0.0_f64; N];
        let mut places = [0_u32; N];
        for (limit, points) in pair.runs() {
            for i in points {
                pair.distances(i, flat, &mut squared);
                for (place, &squared) in places.iter_mut().zip(&squared) {
                    *place = cell(squared, *scale);
                }
                // Behind the last point there is NaN, which is beyond all thresholds.
                let fours = places.as_chunks::<4>().0.iter();
                for (places, squared) in fours.zip(squared.as_chunks::<4>().0) {
                    for j in 0..4 {
                        let mut bin = bins[places[j] as usize % bins.len()];
                        if bin == Table::MIXED {
                            bin = pair.thresholds.bin(squared[j]) as u8;
                        }
                        found[j][usize::from(bin)] += 1;
                    }
                }
            }
            let end = pair.bins.end.min(limit - 1);
            let mut sum = 0;
            for (bin, count) in counts[..=end].iter_mut().enumerate().skip(pair.bins.start) {
                let found: u64 = found.iter().map(|found| u64::from(found[bin])).sum();
                *count = count.wrapping_add(found);
                sum += found;
            }
            super::end_at(counts, limit, sum);
            for found in &mut found {
                found[pair.bins.start..=pair.bins.end].fill(0);
            }
        }
    }
}
