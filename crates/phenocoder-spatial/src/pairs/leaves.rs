//! Pairs of points of two leaves.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::MANY;
use super::compare::Compare;
use super::even::{Even, Steps};
use super::look_up::{Found, LookUp};
use super::rounded::Seen;
use super::thresholds::{Part, Reach};
use super::tree::{LEAF, Leaf};

/// How many points count up to which of the thresholds; rising.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits<'a> {
    of_all: &'a [(u32, u32)],
    offset: u32,
}

impl<'a> Limits<'a> {
    /// Takes limits among all thresholds, and how many of these come before the ones that are meant.
    pub(super) fn new(of_all: &'a [(u32, u32)], offset: u32) -> Self {
        Self { of_all, offset }
    }

    /// The limits, and how many points have each.
    pub(super) fn iter(self) -> impl Iterator<Item = (usize, usize)> {
        let limits = self.of_all.iter();
        limits.map(move |&(limit, n)| (limit.saturating_sub(self.offset) as usize, n as usize))
    }

    /// Those beyond a threshold.
    pub(super) fn beyond(self, bin: usize) -> impl Iterator<Item = (usize, usize)> {
        self.iter().filter(move |&(limit, _)| limit > bin)
    }

    /// The last one; 0 where there is none.
    pub(super) fn last(self) -> usize {
        let last = self.of_all.last();
        last.map_or(0, |&(limit, _)| limit.saturating_sub(self.offset) as usize)
    }
}

/// Two leaves, and the thresholds among which distances of their points fall: none before the first, all up to the one after
/// the last.
pub(super) struct Pair<'a> {
    pub(super) a: &'a Leaf,
    pub(super) b: &'a Leaf,
    pub(super) limits: Limits<'a>,
    pub(super) thresholds: &'a Part,
    pub(super) bins: Range<usize>,
}

impl Pair<'_> {
    /// Counts the pairs by the first threshold that their distance belongs to.
    pub(super) fn count(&self, found: &mut Found, counts: &mut [u64]) {
        let pair = self;
        Arch::new().dispatch(Count {
            pair,
            found,
            counts,
        });
    }

    /// The points of the first leaf that have a limit beyond the first of the bins, and up to where it reaches.
    pub(super) fn runs(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut end = 0;
        let runs = self.limits.iter().map(move |(limit, n)| {
            let start = end;
            end += n;
            (limit, start..end)
        });
        runs.filter(|&(limit, _)| limit > self.bins.start)
    }

    /// The squared distances of a point of the first leaf from those of the second; NaN where there is none.
    #[inline(always)]
    fn distances(&self, i: usize, squared: &mut [f64; LEAF]) {
        let [az, ay, ax] = &self.a.axes;
        let [bz, by, bx] = &self.b.axes;
        let (z, y, x) = (az[i], ay[i], ax[i]);
        for j in 0..LEAF {
            let (dz, dy, dx) = (z - bz[j], y - by[j], x - bx[j]);
            squared[j] = dz * dz + dy * dy + dx * dx;
        }
    }

    /// Whether all points of both lie in the plane.
    pub(super) fn is_flat(&self) -> bool {
        self.a.is_flat && self.b.is_flat
    }

    /// The first threshold, from `least` on, that the distance of a point of the first leaf from one of the second belongs to.
    #[inline(always)]
    pub(super) fn bin(&self, i: usize, j: usize, least: usize) -> usize {
        let (a, b) = (&self.a.axes, &self.b.axes);
        let squared = super::squared(|axis| a[axis][i] - b[axis][j]);
        let from = self.thresholds.squared[least..].iter();
        least
            + match self.thresholds.reach {
                Reach::Closed => from.take_while(|&&threshold| threshold < squared).count(),
                Reach::Open => from.take_while(|&&threshold| threshold <= squared).count(),
            }
    }

    /// Counts the pairs that belong to a threshold, of those points of the first leaf whose bits are set.
    #[inline(always)]
    pub(super) fn exact(&self, bin: usize, mut points: u32) -> u64 {
        let threshold = self.thresholds.squared[bin];
        let mut squared = [0.0_f64; LEAF];
        // Summed up by lane, and over the lanes once.
        let mut found = [0_u64; LEAF];
        while points != 0 {
            self.distances(points.trailing_zeros() as usize, &mut squared);
            points &= points - 1;
            for (found, &squared) in found.iter_mut().zip(&squared) {
                *found += u64::from(match self.thresholds.reach {
                    Reach::Closed => squared <= threshold,
                    Reach::Open => squared < threshold,
                });
            }
        }
        found.iter().sum()
    }
}

struct Count<'a> {
    pair: &'a Pair<'a>,
    found: &'a mut Found,
    counts: &'a mut [u64],
}

impl WithSimd for Count<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            pair,
            found,
            counts,
        } = self;
        let mut seen = Seen::default();
        let seen = seen.look(pair).then_some(&seen);
        let Part { table, even, .. } = pair.thresholds;
        let steps = match (even, seen) {
            (Some(even), Some(seen)) if pair.bins.len() >= Even::FEWEST => {
                Steps::new(pair, seen, even)
            }
            _ => None,
        };
        match (steps, table, seen) {
            (Some(steps), ..) => steps.count(simd, counts),
            (_, Some(table), Some(seen)) if pair.bins.len() >= MANY && seen.most <= table.most => {
                LookUp { pair, seen, table }.count(found, counts);
            }
            _ => Compare { pair, seen }.count(simd, counts),
        }
    }
}
