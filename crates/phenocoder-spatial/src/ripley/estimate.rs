//! The functions of one pattern.

use std::f64::consts::PI;
use std::ops::Range;

use phenocoder_core::Progress;

use super::nearest::{Nearest, nearest};
use super::{EdgeCorrection, RipleyConfig, RipleyFunction};
use crate::error::Result;
use crate::hull::Region;
use crate::pairs::{Reach, Thresholds, Tree, pairs_between, pairs_within};
use crate::predicates::Point;

/// What all patterns of a run share.
pub(super) struct Pattern<'a> {
    pub(super) function: RipleyFunction,
    pub(super) d: usize,
    pub(super) region: &'a Region,
    pub(super) distances: &'a [f64],
    /// Of the distances, those that are equal among them.
    pub(super) thresholds: Thresholds,
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
        let of_all = self.of_first(cells, &[cells.len()], locations, progress)?;
        Ok(of_all.into_iter().next().unwrap_or_default())
    }

    /// The function of the first cells, for each of these numbers of them, which rise.
    ///
    /// What some have is not counted again when more come; G only asks all cells again where many come at once.
    pub(super) fn of_first(
        &self,
        cells: &[Point],
        sizes: &[usize],
        locations: &[Point],
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>> {
        match self.function {
            RipleyFunction::K => self.k_of_first(cells, sizes, progress),
            RipleyFunction::L => {
                let mut functions = self.k_of_first(cells, sizes, progress)?;
                for value in functions.iter_mut().flatten() {
                    *value = self.radius_of(*value);
                }
                Ok(functions)
            }
            RipleyFunction::G => self.g_of_first(cells, sizes, progress),
            RipleyFunction::F => self.f_of_first(cells, sizes, locations, progress),
        }
    }

    fn f_of_first(
        &self,
        cells: &[Point],
        sizes: &[usize],
        locations: &[Point],
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>> {
        let show = |found: &mut Nearest, fresh: Range<usize>| {
            found.show(&cells[fresh], locations);
            locations.len()
        };
        self.reached_of_first(locations, sizes, 1, show, progress)
    }

    fn g_of_first(
        &self,
        cells: &[Point],
        sizes: &[usize],
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>> {
        let show = |found: &mut Nearest, fresh: Range<usize>| {
            let size = fresh.end;
            found.show_each_other(cells, fresh.start, size);
            size
        };
        self.reached_of_first(cells, sizes, 2, show, progress)
    }

    /// The part of the places that the first cells reach, for each of these numbers of cells, `fewest` at least; `show` shows
    /// the cells that come and says how many places, the first ones, are then looked at.
    fn reached_of_first(
        &self,
        places: &[Point],
        sizes: &[usize],
        fewest: usize,
        show: impl Fn(&mut Nearest, Range<usize>) -> usize,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>> {
        let inside = self.inside_of_all(places);
        let mut found = Nearest::new(places);
        let mut before = 0;
        let mut functions = Vec::with_capacity(sizes.len());
        for &size in sizes {
            progress.check()?;
            let looked_at = show(&mut found, before..size);
            before = size;
            functions.push(match size < fewest {
                true => self.undefined(),
                false => self.reached(&inside[..looked_at], &found.squared[..looked_at]),
            });
        }
        Ok(functions)
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

    /// The first of the distances that is not below this one.
    fn first_from(&self, distance: f64) -> usize {
        // They are multiples of the second one, but for rounding.
        let m = self.distances.len();
        let mut first = ((distance / self.distances[1]) as usize).min(m);
        while first > 0 && self.distances[first - 1] >= distance {
            first -= 1;
        }
        while first < m && self.distances[first] < distance {
            first += 1;
        }
        first
    }

    fn inside_of_all(&self, places: &[Point]) -> Vec<usize> {
        places.iter().map(|place| self.inside(place)).collect()
    }

    fn k_of_first(
        &self,
        cells: &[Point],
        sizes: &[usize],
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<f64>>> {
        let m = self.distances.len();
        // Ordered pairs up to each distance, and the cells that count there.
        let (mut pairs, mut centers) = (vec![0_u64; m], vec![0_u64; m]);
        let mut runs: Vec<Run> = Vec::new();
        let mut before = 0;
        let mut functions = Vec::with_capacity(sizes.len());
        for &size in sizes {
            if size > before {
                let run = Run::new(self, &cells[before..size]);
                run.add_pairs(None, &self.thresholds, &mut pairs, progress)?;
                for other in &runs {
                    run.add_pairs(Some(other), &self.thresholds, &mut pairs, progress)?;
                }
                crate::reduce::add(&mut centers, &run.counted);
                runs.push(run);
            }
            before = size;
            let density = size.saturating_sub(1) as f64 / self.region.measure();
            let k = |(&pairs, &centers): (&u64, &u64)| pairs as f64 / centers as f64 / density;
            functions.push(match size {
                0 | 1 => self.undefined(),
                _ => pairs.iter().zip(&centers).map(k).collect(),
            });
        }
        Ok(functions)
    }

    /// The part of the places that have something within each distance, where `inside` of the distances count for each.
    fn reached(&self, inside: &[usize], squared: &[f64]) -> Vec<f64> {
        let m = self.distances.len();
        // Up to where a place counts, and from where on it is reached: sums over the distances follow.
        let (mut ends, mut reached) = (vec![0_usize; m + 1], vec![0_usize; m + 1]);
        let mut left = vec![0_usize; m + 1];
        for (&inside, &squared) in inside.iter().zip(squared) {
            let first = self.first_from(squared.sqrt());
            ends[inside] += 1;
            if first < inside {
                reached[first] += 1;
                left[inside] += 1;
            }
        }
        let (mut counted, mut within) = (inside.len(), 0);
        (0..m)
            .map(|r| {
                counted -= ends[r];
                within += reached[r];
                within -= left[r];
                within as f64 / counted as f64
            })
            .collect()
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
                let pairs = pairs_within(&Tree::new(cells), &thresholds, progress)?;
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
            RipleyFunction::G => Ok(self.histogram(nearest(cells, others, None, k))),
            RipleyFunction::F => Ok(self.histogram(nearest(cells, locations, None, k))),
        }
    }

    /// The part of distances below each of ours, of those up to the last one.
    fn histogram(&self, squared: Vec<f64>) -> Vec<f64> {
        let mut found: Vec<f64> = squared.into_iter().map(f64::sqrt).collect();
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

/// Some cells.
struct Run {
    all: Tree,
    /// Those that count anywhere, by how many of the distances are at most that from the border; `None` where all count.
    centers: Option<Tree>,
    /// How many cells count at each distance.
    counted: Vec<u64>,
}

impl Run {
    fn new(pattern: &Pattern<'_>, cells: &[Point]) -> Self {
        let m = pattern.distances.len();
        let inside = pattern.inside_of_all(cells);
        let mut counted = vec![0; m];
        for &inside in &inside {
            counted[..inside].iter_mut().for_each(|n| *n += 1);
        }
        let centers = cells.iter().zip(inside).filter(|&(_, inside)| inside > 0);
        Self {
            all: Tree::new(cells),
            centers: (pattern.config.correction == EdgeCorrection::Border)
                .then(|| Tree::limited(centers.map(|(&cell, inside)| (cell, inside as u32)))),
            counted,
        }
    }

    /// Adds the ordered pairs of different cells of this run, or of one of this and one of another, up to each distance.
    fn add_pairs(
        &self,
        other: Option<&Self>,
        thresholds: &Thresholds,
        pairs: &mut [u64],
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut add = |found: Vec<u64>, times: u64| {
            for (pairs, found) in pairs.iter_mut().zip(found) {
                *pairs += times * found;
            }
        };
        match (&self.centers, other) {
            // Each pair counts from both ends.
            (None, None) => add(pairs_within(&self.all, thresholds, progress)?, 2),
            (None, Some(other)) => {
                let found = pairs_between(&self.all, &other.all, thresholds, progress)?;
                add(found, 2);
            }
            (Some(centers), None) => {
                add(pairs_between(centers, &self.all, thresholds, progress)?, 1);
                // Every cell is within any distance of itself.
                for (pairs, counted) in pairs.iter_mut().zip(&self.counted) {
                    *pairs -= counted;
                }
            }
            (Some(centers), Some(other)) => {
                add(pairs_between(centers, &other.all, thresholds, progress)?, 1);
                if let Some(centers) = &other.centers {
                    add(pairs_between(centers, &self.all, thresholds, progress)?, 1);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use phenocoder_core::{NoProgress, Seed};

    use super::*;

    #[test]
    fn functions_of_the_first_cells_are_those_of_these_cells_alone() {
        let mut stream = Seed::new(5).stream("cells", 0);
        for d in [2, 3] {
            let points = Array2::from_shape_simple_fn((300, d), || stream.uniform());
            let region = Region::hull(points.view()).unwrap();
            let cells: Vec<Point> = (0..300).map(|_| region.draw(&mut stream)).collect();
            let locations: Vec<Point> = (0..100).map(|_| region.draw(&mut stream)).collect();
            let distances: Vec<f64> = (0..20).map(|i| f64::from(i) * 0.02).collect();
            let functions = [
                RipleyFunction::K,
                RipleyFunction::L,
                RipleyFunction::G,
                RipleyFunction::F,
            ];
            for function in functions {
                for correction in [EdgeCorrection::None, EdgeCorrection::Border] {
                    let pattern = Pattern {
                        function,
                        d,
                        region: &region,
                        distances: &distances,
                        thresholds: Thresholds::new(&distances, Reach::Closed),
                        config: &RipleyConfig::new().with_correction(correction),
                    };
                    let sizes = [0, 1, 2, 90, 91, 300];
                    let found = pattern.of_first(&cells, &sizes, &locations, &NoProgress);
                    for (found, size) in found.unwrap().iter().zip(sizes) {
                        let alone = pattern.estimate(&cells[..size], &locations, &NoProgress);
                        assert_eq!(
                            format!("{found:?}"),
                            format!("{:?}", alone.unwrap()),
                            "{function:?} {correction:?} {size}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_distance_not_below_another_may_equal_it() {
        let points = ndarray::array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]];
        let distances: Vec<f64> = (0..5).map(|i| f64::from(i) * 0.1).collect();
        let pattern = Pattern {
            function: RipleyFunction::G,
            d: 2,
            region: &Region::hull(points.view()).unwrap(),
            distances: &distances,
            thresholds: Thresholds::new(&distances, Reach::Closed),
            config: &RipleyConfig::new(),
        };
        for (i, &distance) in distances.iter().enumerate() {
            assert_eq!(pattern.first_from(distance), i);
            assert_eq!(pattern.first_from(distance.next_up()), i + 1);
        }
        assert_eq!(pattern.first_from(9.0), 5);
    }
}
