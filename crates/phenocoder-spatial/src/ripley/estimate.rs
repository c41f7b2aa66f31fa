//! The functions of one pattern.

use std::f64::consts::PI;

use phenocoder_core::Progress;
use rayon::prelude::*;

use super::{EdgeCorrection, RipleyConfig, RipleyFunction};
use crate::error::Result;
use crate::hull::Region;
use crate::neighbors::Tree as NearestTree;
use crate::pairs::{Reach, Thresholds, Tree, pairs_between, pairs_within};
use crate::predicates::Point;

/// What all patterns of a run share.
pub(super) struct Pattern<'a> {
    pub(super) function: RipleyFunction,
    pub(super) d: usize,
    pub(super) region: &'a Region,
    pub(super) distances: &'a [f64],
    pub(super) config: &'a RipleyConfig,
}

impl Pattern<'_> {
    /// The function of some cells.
    pub(super) fn estimate(
        &self,
        cells: &[Point],
        locations: &[Point],
        progress: &dyn Progress,
    ) -> Result<Vec<f64>> {
        match self.function {
            RipleyFunction::K => self.k(cells, progress),
            RipleyFunction::L => {
                let k = self.k(cells, progress)?;
                Ok(k.into_iter().map(|k| self.radius_of(k)).collect())
            }
            RipleyFunction::G if cells.len() < 2 => Ok(self.undefined()),
            RipleyFunction::G => Ok(self.reached(cells, &nearest(cells, cells, true, 1))),
            RipleyFunction::F if cells.is_empty() => Ok(self.undefined()),
            RipleyFunction::F => Ok(self.reached(locations, &nearest(cells, locations, false, 1))),
        }
    }

    /// The function of independent cells.
    pub(super) fn theory(&self, n: usize, t: f64) -> f64 {
        let ball = if self.d == 2 {
            PI * t * t
        } else {
            4.0 / 3.0 * PI * t * t * t
        };
        match self.function {
            RipleyFunction::K => ball,
            RipleyFunction::L => t,
            RipleyFunction::G | RipleyFunction::F => {
                -libm::expm1(-(n as f64) / self.region.measure() * ball)
            }
        }
    }

    fn undefined(&self) -> Vec<f64> {
        vec![f64::NAN; self.distances.len()]
    }

    fn radius_of(&self, k: f64) -> f64 {
        if self.d == 2 {
            (k / PI).sqrt()
        } else {
            (3.0 * k / (4.0 * PI)).cbrt()
        }
    }

    /// How many of the distances are at most that from the border.
    fn inside(&self, p: &Point) -> usize {
        match self.config.correction {
            EdgeCorrection::None => self.distances.len(),
            EdgeCorrection::Border => {
                let border = self.region.border_distance(*p);
                self.distances.partition_point(|&t| t <= border)
            }
        }
    }

    fn k(&self, cells: &[Point], progress: &dyn Progress) -> Result<Vec<f64>> {
        let n = cells.len();
        if n < 2 {
            return Ok(self.undefined());
        }
        let all = Tree::new(cells.to_vec());
        let m = self.distances.len();
        // Ordered pairs, and cells that count, for each distance.
        let (mut pairs, mut centers) = (vec![0_u64; m], vec![0_u64; m]);
        if self.config.correction == EdgeCorrection::None {
            let thresholds = Thresholds::new(self.distances, Reach::Closed);
            pairs = pairs_within(&all, &thresholds, progress)?;
            pairs.iter_mut().for_each(|pairs| *pairs *= 2);
            rising(&mut pairs);
            centers.fill(n as u64);
        } else {
            let mut groups = vec![Vec::new(); m + 1];
            for cell in cells {
                groups[self.inside(cell)].push(*cell);
            }
            for (inside, group) in groups.into_iter().enumerate().skip(1) {
                let size = group.len() as u64;
                let thresholds = Thresholds::new(&self.distances[..inside], Reach::Closed);
                let mut found = pairs_between(&Tree::new(group), &all, &thresholds, progress)?;
                rising(&mut found);
                for (r, found) in found.into_iter().enumerate() {
                    // Every cell is within any distance of itself.
                    pairs[r] += found - size;
                    centers[r] += size;
                }
            }
        }
        let density = (n - 1) as f64 / self.region.measure();
        let k = |(&pairs, &centers): (&u64, &u64)| pairs as f64 / centers as f64 / density;
        Ok(pairs.iter().zip(&centers).map(k).collect())
    }

    /// The part of the places that have something within each distance.
    fn reached(&self, places: &[Point], nearest: &[f64]) -> Vec<f64> {
        let m = self.distances.len();
        let (mut reached, mut counted) = (vec![0_u64; m], vec![0_u64; m]);
        for (place, &distance) in places.iter().zip(nearest) {
            let inside = self.inside(place);
            let first = self.distances.partition_point(|&t| t < distance);
            counted[..inside].iter_mut().for_each(|n| *n += 1);
            if let Some(reached) = reached.get_mut(first..inside) {
                reached.iter_mut().for_each(|n| *n += 1);
            }
        }
        let part = |(&reached, &counted): (&u64, &u64)| reached as f64 / counted as f64;
        reached.iter().zip(&counted).map(part).collect()
    }

    /// The function as squidpy defines it.
    pub(super) fn compat(
        &self,
        cells: &[Point],
        others: &[Point],
        locations: &[Point],
        progress: &dyn Progress,
    ) -> Result<Vec<f64>> {
        let n_all = (cells.len() + others.len()) as f64;
        let k = self.config.neighbors;
        match self.function {
            RipleyFunction::K | RipleyFunction::L => {
                let thresholds = Thresholds::new(self.distances, Reach::Open);
                let mut pairs = pairs_within(&Tree::new(cells.to_vec()), &thresholds, progress)?;
                rising(&mut pairs);
                let area = self.region.measure();
                let value = |pairs: u64| {
                    let size = pairs as f64 * 2.0 / n_all / (n_all / area);
                    match self.function {
                        RipleyFunction::L => self.radius_of(size),
                        _ => size,
                    }
                };
                Ok(pairs.into_iter().map(value).collect())
            }
            _ if cells.len() < k => Ok(self.undefined()),
            RipleyFunction::G => Ok(self.histogram(nearest(cells, others, false, k))),
            RipleyFunction::F => Ok(self.histogram(nearest(cells, locations, false, k))),
        }
    }

    /// The part of distances below each of ours, of those up to the last one.
    fn histogram(&self, mut found: Vec<f64>) -> Vec<f64> {
        found.sort_unstable_by(f64::total_cmp);
        let last = self.distances.len() - 1;
        let below = |(r, &t): (usize, &f64)| match r {
            r if r == last => found.partition_point(|&d| d <= t),
            _ => found.partition_point(|&d| d < t),
        };
        let counts: Vec<usize> = self.distances.iter().enumerate().map(below).collect();
        let total = counts[last] as f64;
        counts
            .into_iter()
            .map(|count| count as f64 / total)
            .collect()
    }
}

/// The distances from each place to its `k` nearest cells, place after place; with `same`, place i is cell i.
fn nearest(cells: &[Point], places: &[Point], same: bool, k: usize) -> Vec<f64> {
    let tree = NearestTree::new(cells, (0..cells.len() as u32).collect());
    let parts: Vec<Vec<f64>> = places
        .par_chunks(1024)
        .enumerate()
        .map(|(part, places)| {
            let (mut nearest, mut out) = (Vec::new(), Vec::with_capacity(places.len() * k));
            for (i, place) in places.iter().enumerate() {
                let except = same.then_some((part * 1024 + i) as u32);
                tree.nearest(*place, except, k, &mut nearest);
                out.extend(nearest.iter().map(|&(squared, _)| squared.sqrt()));
            }
            out
        })
        .collect();
    parts.concat()
}

/// Sums up to each entry.
fn rising(counts: &mut [u64]) {
    let mut sum = 0;
    for count in counts {
        sum += *count;
        *count = sum;
    }
}
