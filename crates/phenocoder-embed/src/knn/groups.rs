//! Rows in groups of near ones, of which whole groups can be passed over.
//!
//! No row of a group is nearer to a row of the query than the group's middle less its radius, by the triangle inequality.

use std::ops::Range;

use phenocoder_core::Progress;
use rayon::prelude::*;

use super::panels::{Panels, Tiles};
use super::points::{Frame, Points};
use crate::Result;
use crate::matrix::{dot, squared_distance};

/// Rows in a group at most, where a query is worth groups.
const GROUP: usize = 256;
/// Rows that are not parted any more even if they fall into two clusters.
const FEWEST: usize = 32;
/// One part of so many is the least that rows are parted in.
const LEAST_SHARE: usize = 16;
/// Rows that tell where to part.
const SAMPLE: usize = 256;
/// How often the two clusters of these are made anew.
const ROUNDS: usize = 4;
/// Stands where a panel of a group has no row.
pub(super) const NONE: u32 = u32::MAX;
/// Rows of a query from which on groups are worth their making.
const MANY: usize = 1024;
/// Rows whose distances one task computes.
const TASK: usize = 4096;
/// What is taken from bounds and added to radii for the rounding of single precision, relatively: 67 units of it, where a
/// root, a difference, a square and the sum that they begin with lose at most three each.
const SLACK: f32 = 4e-6;

/// The rows in groups: they are parted into two clusters, these again, and so on, until few are left that do not fall
/// into two any more.
///
/// Asks whether to stop before it parts rows.
pub(super) fn parted(points: &Points, progress: &dyn Progress) -> Result<Vec<Vec<u32>>> {
    let mut rows: Vec<u32> = (0..points.nrows() as u32).collect();
    let lengths = part(points, &mut rows, progress)?;
    let mut rest = rows.as_slice();
    let mut next = |length| {
        let (group, others) = rest.split_at(length);
        rest = others;
        group.to_vec()
    };
    Ok(lengths.into_iter().map(&mut next).collect())
}

/// Puts the rows into the order of their groups, and returns the lengths of these.
fn part(points: &Points, rows: &mut [u32], progress: &dyn Progress) -> Result<Vec<usize>> {
    progress.check()?;
    let n = rows.len();
    if n <= FEWEST {
        return Ok(vec![n]);
    }
    let Plane {
        along,
        place,
        apart,
    } = Plane::between(points, rows);
    if n <= GROUP && !apart {
        return Ok(vec![n]);
    }
    let mut placed: Vec<(f64, u32)> = (rows.par_iter().with_min_len(TASK))
        .map(|&row| (dot(points.row(row as usize), &along), row))
        .collect();
    let before = placed.iter().filter(|placed| placed.0 < place).count();
    // A few rows far out must not be parted from the rest one by one.
    let middle = before.clamp(n / LEAST_SHARE, n - n / LEAST_SHARE);
    placed.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (row, (_, placed)) in rows.iter_mut().zip(placed) {
        *row = placed;
    }
    let (before, after) = rows.split_at_mut(middle);
    let (lengths, rest) = rayon::join(
        || part(points, before, progress),
        || part(points, after, progress),
    );
    let mut lengths = lengths?;
    lengths.extend(rest?);
    Ok(lengths)
}

/// The plane between two clusters of rows.
struct Plane {
    /// What it stands at a right angle to.
    along: Vec<f64>,
    /// Where it meets that line.
    place: f64,
    /// Whether the clusters lie apart: two middles leave at most half of the squares that one leaves.
    apart: bool,
}

impl Plane {
    /// The plane between the two clusters of some of the rows, of which there are at least two, by a few rounds of
    /// k-means from two rows that lie far apart.
    fn between(points: &Points, rows: &[u32]) -> Self {
        let step = rows.len().div_ceil(SAMPLE);
        let sample: Vec<&[f64]> = (rows.iter().step_by(step))
            .map(|&row| points.row(row as usize))
            .collect();
        let whole = mean(&sample);
        let one = farthest(&sample, &whole);
        let other = farthest(&sample, one);
        let (mut start, mut end) = (one.to_vec(), other.to_vec());
        let plane = |start: &[f64], end: &[f64]| -> (Vec<f64>, f64) {
            let along: Vec<f64> = end.iter().zip(start).map(|(a, b)| a - b).collect();
            let place = 0.5 * (dot(start, &along) + dot(end, &along));
            (along, place)
        };
        let mut left = f64::INFINITY;
        for _ in 0..ROUNDS {
            let (along, place) = plane(&start, &end);
            let (before, after): (Vec<&[f64]>, Vec<&[f64]>) =
                sample.iter().partition(|row| dot(row, &along) < place);
            if before.is_empty() || after.is_empty() {
                break;
            }
            (start, end) = (mean(&before), mean(&after));
            left = squares(&before, &start) + squares(&after, &end);
        }
        let (along, place) = plane(&start, &end);
        Self {
            along,
            place,
            apart: left <= 0.5 * squares(&sample, &whole),
        }
    }
}

fn mean(rows: &[&[f64]]) -> Vec<f64> {
    let mut sums = vec![0.0; rows.first().map_or(0, |row| row.len())];
    for row in rows {
        for (sum, value) in sums.iter_mut().zip(*row) {
            *sum += value / rows.len() as f64;
        }
    }
    sums
}

fn squares(rows: &[&[f64]], from: &[f64]) -> f64 {
    rows.iter().map(|row| squared_distance(row, from)).sum()
}

/// The row that lies farthest from `from`, the first of several.
fn farthest<'a>(rows: &[&'a [f64]], from: &[f64]) -> &'a [f64] {
    let (mut farthest, mut most) = (rows[0], 0.0);
    for row in rows {
        let square = squared_distance(row, from);
        if square > most {
            (farthest, most) = (row, square);
        }
    }
    farthest
}

/// The groups of a reference.
pub(super) struct Groups {
    /// The rows of each group.
    pub(super) members: Vec<Vec<u32>>,
    /// The rows, group after group, each of which fills whole panels with [`NONE`].
    pub(super) order: Vec<u32>,
    /// Where each group lies in the order.
    pub(super) places: Vec<Range<usize>>,
    /// The middle of each group, and a bound on the error of its squared distances.
    middles: Panels,
    square: Vec<f32>,
    error: Vec<f32>,
    /// No row of a group is farther from its middle.
    radius: Vec<f32>,
}

impl Groups {
    /// Groups for as many rows of a query; all rows are one group where these are few.
    pub(super) fn new(
        points: &Points,
        frame: &Frame<'_>,
        query: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let members = match query {
            MANY.. => parted(points, progress)?,
            _ => vec![(0..points.nrows() as u32).collect()],
        };
        let (mut order, mut places) = (Vec::with_capacity(points.nrows()), Vec::new());
        for group in &members {
            let first = order.len();
            order.extend_from_slice(group);
            order.resize(order.len().next_multiple_of(Panels::width()), NONE);
            places.push(first..order.len());
        }
        let columns = points.ncols();
        let (middles, radius): (Vec<Vec<f32>>, Vec<f32>) = members
            .par_iter()
            .map(|rows| middle(points, frame, rows))
            .unzip();
        let fill = |group: usize, line: &mut [f32]| {
            line.copy_from_slice(&middles[group]);
            // In double precision: the bound on the error pays for the dot product alone.
            let squares = line.iter().map(|&v| f64::from(v).powi(2));
            squares.sum::<f64>() as f32
        };
        let (middles, square) = Panels::new((members.len(), columns), fill, |_| 0.0);
        let error = square.iter().map(|&s| points.error(s)).collect();
        Ok(Self {
            middles,
            members,
            order,
            places,
            square,
            error,
            radius,
        })
    }

    /// For rows of a query, `(squared length, error)` each: the nearest group first, and for each group and row a bound
    /// that no squared distance to a row of the group, less the squared length of the row, is below.
    pub(super) fn bounds(&self, tiles: &Tiles, lengths: &[(f32, f32)]) -> Vec<(usize, Vec<f32>)> {
        let groups = self.radius.len();
        let mut bounds = vec![vec![f32::NEG_INFINITY; lengths.len()]; groups];
        if groups == 1 {
            return bounds.into_iter().enumerate().collect();
        }
        let mut nearest = vec![f32::INFINITY; groups];
        let mut cutoffs = vec![f32::MAX; lengths.len()];
        let all = 0..groups;
        self.middles
            .compare(tiles, all, &mut cutoffs, |i, first, products| {
                let (square, error) = lengths[i];
                for (group, product) in (first..groups).zip(products) {
                    let least = product + self.square[group] + square - self.error[group] - error;
                    nearest[group] = nearest[group].min(least);
                    let apart =
                        (least.max(0.0).sqrt() * (1.0 - SLACK) - self.radius[group]).max(0.0);
                    bounds[group][i] = apart * apart * (1.0 - SLACK) - square * (1.0 + SLACK);
                }
                f32::MAX
            });
        let mut bounds: Vec<_> = bounds.into_iter().enumerate().collect();
        bounds.sort_by(|a, b| nearest[a.0].total_cmp(&nearest[b.0]));
        bounds
    }
}

/// The middle of these rows in the frame, and the distance of the farthest of them.
fn middle(points: &Points, frame: &Frame<'_>, rows: &[u32]) -> (Vec<f32>, f32) {
    let values = || {
        rows.iter()
            .map(|&row| frame.values(points.row(row as usize)))
    };
    let mut sums = vec![0.0; points.ncols()];
    for row in values() {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    let count = rows.len().max(1) as f64;
    let middle: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
    let squares = values().map(|row| -> f64 {
        let offsets = row.zip(&middle);
        offsets.map(|(v, &m)| (v - f64::from(m)).powi(2)).sum()
    });
    let radius = squares.fold(0.0, f64::max).sqrt();
    (middle, radius as f32 * (1.0 + SLACK))
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use phenocoder_core::{NoProgress, Seed};

    use super::*;
    use crate::knn::Metric;
    use crate::patience::tests::times_asked;

    fn points(x: &Array2<f64>) -> Points {
        Points::new(x.view(), Metric::Euclidean).unwrap()
    }

    /// Each row is in one group, and no group is too large.
    fn check(groups: &[Vec<u32>], n: usize) {
        let mut rows: Vec<u32> = groups.concat();
        rows.sort_unstable();
        assert_eq!(rows, (0..n as u32).collect::<Vec<_>>());
        assert!(groups.iter().all(|group| group.len() <= GROUP));
    }

    #[test]
    fn a_group_holds_rows_of_one_cluster() {
        let mut stream = Seed::new(1).stream("rows", 0);
        let x = Array2::from_shape_fn((900, 4), |(i, j)| {
            30.0 * f64::from((i % 3 == j) as u8) + stream.normal()
        });
        let points = points(&x);
        let groups = parted(&points, &NoProgress).unwrap();
        check(&groups, 900);
        assert!(
            groups
                .iter()
                .all(|g| g.iter().all(|row| row % 3 == g[0] % 3))
        );
        // Once for each group, and for each time that rows were parted in two.
        let asked = times_asked(|progress| parted(&points, progress));
        assert_eq!(asked, 2 * groups.len() as u64 - 1);
    }

    #[test]
    fn rows_that_are_equal_or_far_out_end_in_groups_too() {
        let equal = Array2::<f64>::zeros((2000, 3));
        let far = Array2::from_shape_fn((700, 1), |(i, _)| libm::exp2(i as f64 / 2.0));
        for x in [equal, far, Array2::zeros((300, 0)), Array2::zeros((0, 2))] {
            let groups = parted(&points(&x), &NoProgress).unwrap();
            check(&groups, x.nrows());
        }
    }

    #[test]
    fn no_row_is_nearer_than_the_bound_of_its_group() {
        let mut stream = Seed::new(2).stream("rows", 0);
        let mut x = Array2::from_shape_fn((1200, 6), |(i, j)| {
            8.0 * f64::from((i % 5 == j) as u8) + stream.normal()
        });
        // One row far out, and rows without direction.
        x.row_mut(7).fill(300.0);
        x.row_mut(11).fill(0.0);
        x.row_mut(12).fill(0.0);
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let points = Points::new(x.view(), metric).unwrap();
            let frame = Frame::new(&points, &points).unwrap();
            let groups = Groups::new(&points, &frame, MANY, &NoProgress).unwrap();
            assert!(groups.members.len() > 5);
            let queries = [0, 7, 11, 12, 999];
            let mut values = vec![0.0; queries.len() * 6];
            let lengths: Vec<(f32, f32)> = (queries.iter().zip(values.chunks_mut(6)))
                .map(|(&row, line)| frame.round(points.row(row), line))
                .map(|square| (square, points.error(square)))
                .collect();
            let tiles = groups.middles.tiles(&values, queries.len());
            let (mut apart, mut order) = (0, Vec::new());
            for (group, bounds) in groups.bounds(&tiles, &lengths) {
                order.push(group);
                for (i, bound) in bounds.iter().enumerate() {
                    let query: Vec<f64> = frame.values(points.row(queries[i])).collect();
                    let own: f64 = query.iter().map(|v| v * v).sum();
                    let squares = groups.members[group].iter().map(|&row| {
                        let row: Vec<f64> = frame.values(points.row(row as usize)).collect();
                        squared_distance(&row, &query)
                    });
                    let nearest = squares.fold(f64::INFINITY, f64::min) - own;
                    assert!(f64::from(*bound) <= nearest, "{bound} {nearest}");
                    apart += usize::from(f64::from(*bound) > -0.9 * own);
                }
            }
            // The bounds tell some groups apart.
            assert!(3 * apart > order.len(), "{apart} of {}", order.len());
            order.sort_unstable();
            assert!(order.into_iter().eq(0..groups.members.len()));
        }
    }
}
