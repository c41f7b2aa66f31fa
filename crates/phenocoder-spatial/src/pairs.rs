//! How many pairs of points lie how far apart: exact counts by pairs of tree nodes.
//!
//! Two boxes of points all of whose distances fall between the same two thresholds are counted at once; leaves are compared
//! point by point, 32 at a time, in 32 bits: only where rounding could matter are exact distances asked. Where distances of
//! two leaves fall among few thresholds, each threshold is compared with those that it may be near to; where among many, the
//! root of a distance tells between which ones it falls, or, where thresholds do not lie evenly, a table.

mod compare;
mod even;
mod leaves;
mod look_up;
mod rounded;
mod thresholds;
mod tree;

use phenocoder_core::Progress;
use rayon::prelude::*;

use crate::error::Result;
use leaves::{Limits, Pair};
use look_up::Found;
use thresholds::Part;
pub(crate) use thresholds::{Reach, Thresholds};
pub(crate) use tree::Tree;
use tree::{Below, Node};

/// Thresholds among which the distances of two leaves fall, from which on a table is faster than comparing with each.
const MANY: usize = 14;

/// Pairs of points, or twice as many, that are not worth the way to other threads.
const FEW: u64 = 1 << 20;

/// Pairs of nodes that are worked on in parallel, at least, where there are so many.
const TASKS: usize = 512;

/// Counts the pairs of a point of `a` and one of `b` up to each threshold, as far as the points of `a` count there.
pub(crate) fn pairs_between(
    a: &Tree,
    b: &Tree,
    thresholds: &Thresholds,
    progress: &dyn Progress,
) -> Result<Vec<u64>> {
    let task = (a.len() > 0 && b.len() > 0).then_some(Task::Two(0, 0));
    count((a, b), thresholds, task, progress)
}

/// Counts the pairs of two different points of one set up to each threshold, each once; all points count everywhere.
pub(crate) fn pairs_within(
    tree: &Tree,
    thresholds: &Thresholds,
    progress: &dyn Progress,
) -> Result<Vec<u64>> {
    let task = (tree.len() > 1).then_some(Task::One(0));
    count((tree, tree), thresholds, task, progress)
}

fn count(
    (a, b): (&Tree, &Tree),
    thresholds: &Thresholds,
    task: Option<Task>,
    progress: &dyn Progress,
) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    for thresholds in &thresholds.parts {
        let tasks = task.into_iter().collect();
        counts.append(&mut Counter { a, b, thresholds }.count(tasks, progress)?);
    }
    Ok(counts)
}

/// Ends the counting of some pairs at the limit of their points, since counts are summed up later.
fn end_at(counts: &mut [u64], limit: usize, pairs: u64) {
    if let Some(count) = counts.get_mut(limit) {
        *count = count.wrapping_sub(pairs);
    }
}

/// Pairs within a node, or between a node of the first and one of the second tree.
#[derive(Debug, Clone, Copy)]
enum Task {
    One(u32),
    Two(u32, u32),
}

/// What some pairs add to the counts: by the first threshold that a distance belongs to, less those whose limit it is; the last
/// one is beyond all.
struct Sums {
    counts: Vec<u64>,
    /// Counts in which each pair is twice.
    twice: Vec<u64>,
    /// Zeros, to count in.
    found: Box<Found>,
}

impl Sums {
    fn new(thresholds: &Part) -> Self {
        let counts = vec![0; thresholds.len() + 1];
        Self {
            twice: counts.clone(),
            counts,
            found: Box::new([[0; 256]; 4]),
        }
    }

    fn add(&mut self, part: &Self) {
        for (sums, part) in [
            (&mut self.counts, &part.counts),
            (&mut self.twice, &part.twice),
        ] {
            for (sum, part) in sums.iter_mut().zip(part) {
                // Some are differences.
                *sum = sum.wrapping_add(*part);
            }
        }
    }

    /// The pairs up to each threshold.
    fn up_to_each(self) -> Vec<u64> {
        let mut counts = self.counts;
        counts.pop();
        let mut up_to = 0_u64;
        for (count, twice) in counts.iter_mut().zip(self.twice) {
            up_to = up_to.wrapping_add(*count).wrapping_add(twice / 2);
            *count = up_to;
        }
        counts
    }
}

struct Counter<'a> {
    a: &'a Tree,
    b: &'a Tree,
    thresholds: &'a Part,
}

impl Counter<'_> {
    fn count(&self, mut tasks: Vec<Task>, progress: &dyn Progress) -> Result<Vec<u64>> {
        let mut total = Sums::new(self.thresholds);
        if self.a.len().saturating_mul(self.b.len()) <= FEW {
            while let Some(task) = tasks.pop() {
                self.step(task, &mut tasks, &mut total);
            }
            return Ok(total.up_to_each());
        }
        // Breadth first, until there is enough for all threads.
        while !tasks.is_empty() && tasks.len() < TASKS {
            let mut next = Vec::with_capacity(3 * tasks.len());
            for task in tasks {
                self.step(task, &mut next, &mut total);
            }
            tasks = next;
        }
        // Whole numbers have the same sum in any order.
        let nothing = || Sums::new(self.thresholds);
        let rest = tasks
            .into_par_iter()
            .try_fold(nothing, |mut part, task| {
                progress.check()?;
                let mut stack = vec![task];
                while let Some(task) = stack.pop() {
                    self.step(task, &mut stack, &mut part);
                }
                Ok::<_, crate::Error>(part)
            })
            .try_reduce(nothing, |mut total, part| {
                total.add(&part);
                Ok(total)
            })?;
        total.add(&rest);
        Ok(total.up_to_each())
    }

    /// Counts the pairs of a task, or leaves smaller ones to `rest`.
    fn step(&self, task: Task, rest: &mut Vec<Task>, sums: &mut Sums) {
        let counts = &mut sums.counts;
        match task {
            Task::One(node) => {
                let node = &self.a.nodes[node as usize];
                let first = self.thresholds.bin(0.0);
                let last = self.thresholds.bin(farthest(node, node));
                if first == last {
                    counts[first] += node.len * (node.len - 1) / 2;
                    return;
                }
                match node.below {
                    Below::Halves(left, right) => {
                        rest.extend([Task::One(left), Task::One(right), Task::Two(left, right)]);
                    }
                    Below::Leaf(leaf) => {
                        let leaf = &self.a.leaves[leaf as usize];
                        let twice = &mut sums.twice;
                        twice[first] = twice[first].wrapping_sub(node.len);
                        let all = [(u32::MAX, leaf.len as u32)];
                        let pair = Pair {
                            a: leaf,
                            b: leaf,
                            limits: Limits::new(&all, self.thresholds.offset),
                            thresholds: self.thresholds,
                            bins: first..last,
                        };
                        pair.count(&mut sums.found, twice);
                    }
                }
            }
            Task::Two(i, j) => {
                let (p, q) = (&self.a.nodes[i as usize], &self.b.nodes[j as usize]);
                let first = self.thresholds.bin(nearest(p, q));
                let limits = Limits::new(self.a.limits(p), self.thresholds.offset);
                let farthest_limit = limits.last();
                if first >= farthest_limit.min(self.thresholds.len()) {
                    return;
                }
                let last = self.thresholds.bin(farthest(p, q));
                if first == last {
                    for (limit, n) in limits.beyond(first) {
                        let pairs = n as u64 * q.len;
                        counts[first] = counts[first].wrapping_add(pairs);
                        end_at(counts, limit, pairs);
                    }
                    return;
                }
                match (p.below, q.below) {
                    (Below::Leaf(a), Below::Leaf(b)) => {
                        let (a, b) = (&self.a.leaves[a as usize], &self.b.leaves[b as usize]);
                        let (thresholds, bins) = (self.thresholds, first..last);
                        let pair = Pair {
                            a,
                            b,
                            limits,
                            thresholds,
                            bins,
                        };
                        pair.count(&mut sums.found, counts);
                    }
                    (Below::Halves(left, right), Below::Leaf(_)) => {
                        rest.extend([Task::Two(left, j), Task::Two(right, j)]);
                    }
                    (Below::Halves(left, right), _) if p.len >= q.len => {
                        rest.extend([Task::Two(left, j), Task::Two(right, j)]);
                    }
                    (_, Below::Halves(left, right)) => {
                        rest.extend([Task::Two(i, left), Task::Two(i, right)]);
                    }
                }
            }
        }
    }
}

/// The least squared distance of points in two boxes, rounded as that of points is: each step keeps the order.
fn nearest(a: &Node, b: &Node) -> f64 {
    squared(|axis| {
        (a.low[axis] - b.high[axis])
            .max(b.low[axis] - a.high[axis])
            .max(0.0)
    })
}

fn farthest(a: &Node, b: &Node) -> f64 {
    squared(|axis| (a.high[axis] - b.low[axis]).max(b.high[axis] - a.low[axis]))
}

#[inline(always)]
fn squared(difference: impl Fn(usize) -> f64) -> f64 {
    let (z, y, x) = (difference(0), difference(1), difference(2));
    z * z + y * y + x * x
}

#[cfg(test)]
mod tests {
    use phenocoder_core::{NoProgress, Seed};
    use proptest::prelude::*;

    use super::*;
    use crate::predicates::Point;

    fn brute(
        a: &[(Point, u32)],
        b: &[(Point, u32)],
        same: bool,
        (values, reach): (&[f64], Reach),
    ) -> Vec<u64> {
        let squares: Vec<f64> = values.iter().map(|value| value * value).collect();
        let mut counts = vec![0_u64; values.len() + 1];
        for (i, (p, limit)) in a.iter().enumerate() {
            for (j, (q, _)) in b.iter().enumerate() {
                if !same || i < j {
                    let squared = squared(|axis| p[axis] - q[axis]);
                    let bin = squares.partition_point(|&square| match reach {
                        Reach::Closed => square < squared,
                        Reach::Open => square <= squared,
                    });
                    let end = values.len().min(*limit as usize);
                    counts[bin.min(end)] += 1;
                    counts[end] = counts[end].wrapping_sub(1);
                }
            }
        }
        counts.pop();
        for bin in 1..counts.len() {
            counts[bin] = counts[bin].wrapping_add(counts[bin - 1]);
        }
        counts
    }

    /// On a coarse lattice many distances equal a threshold, and points coincide.
    fn points(n: usize, seed: u64, place: impl Fn(f64) -> f64, limits: usize) -> Vec<(Point, u32)> {
        let mut stream = Seed::new(seed).stream("points", 0);
        (0..n)
            .map(|_| {
                let point = [0; 3].map(|_| place(stream.uniform()));
                (point, stream.below(limits) as u32)
            })
            .collect()
    }

    /// Few thresholds, many, more than a table holds, such that do not go together, and even ones that begin anywhere.
    fn distances(kind: usize) -> Vec<f64> {
        match kind {
            0 => vec![0.0, 1.0, 5.0, 5.0, 13.0],
            1 => (0..100).map(|i| f64::from(i) * 0.5).collect(),
            2 => (0..600).map(|i| f64::from(i) * 0.07).collect(),
            3 => (0..30).chain([1_000, 1_001]).map(f64::from).collect(),
            _ => (0..40).map(|i| 3.3 + f64::from(i) * 0.7).collect(),
        }
    }

    #[test]
    fn thresholds_that_do_not_go_together_are_counted_apart() {
        let parts = |kind| {
            let thresholds = Thresholds::new(&distances(kind), Reach::Closed);
            let parts = thresholds.parts.iter();
            parts
                .map(|part| (part.offset, part.len(), part.table.is_some()))
                .collect::<Vec<_>>()
        };
        assert_eq!(parts(0), [(0, 5, false)]);
        assert_eq!(parts(1), [(0, 100, true)]);
        assert_eq!(
            parts(2),
            [(0, 254, true), (254, 254, true), (508, 92, true)]
        );
        assert_eq!(parts(3), [(0, 30, true), (30, 2, false)]);
    }

    #[test]
    fn counts_of_large_sets_are_those_of_all_pairs() {
        let place = |part: f64| part * 30.0;
        let (a, b) = (points(2500, 1, place, 32), points(1500, 2, place, 32));
        let free = |points: &[(Point, u32)]| {
            Tree::new(&points.iter().map(|&(point, _)| point).collect::<Vec<_>>())
        };
        assert!(a.len() as u64 * b.len() as u64 > FEW);
        for kind in 0..5 {
            let values = distances(kind);
            let thresholds = Thresholds::new(&values, Reach::Closed);
            let limited = Tree::limited(a.iter().copied());
            let found = pairs_between(&limited, &free(&b), &thresholds, &NoProgress).unwrap();
            assert_eq!(found, brute(&a, &b, false, (&values, Reach::Closed)));
            let all: Vec<_> = a.iter().map(|&(point, _)| (point, u32::MAX)).collect();
            let within = pairs_within(&free(&a), &thresholds, &NoProgress).unwrap();
            assert_eq!(within, brute(&all, &all, true, (&values, Reach::Closed)));
        }
    }

    #[test]
    fn a_point_far_from_all_others_costs_no_digit_of_their_distances() {
        for (kind, far) in [(1, 1e3), (1, 1e5), (4, 3e4), (4, 300.0), (5, 1e5), (5, 1e4)] {
            let mut a = points(31, 7, |part| part * 15.0, 4);
            a.iter_mut().for_each(|(point, _)| point[0] = 0.0);
            a.push(([0.0, far, far], 3));
            let values: Vec<f64> = match kind {
                5 => (0..20).map(f64::from).collect(),
                kind => distances(kind),
            };
            let thresholds = Thresholds::new(&values, Reach::Closed);
            let free = Tree::new(&a.iter().map(|&(point, _)| point).collect::<Vec<_>>());
            let limited = Tree::limited(a.iter().copied());
            let found = pairs_between(&limited, &free, &thresholds, &NoProgress).unwrap();
            assert_eq!(
                found,
                brute(&a, &a, false, (&values, Reach::Closed)),
                "{kind} {far}"
            );
            a.iter_mut().for_each(|(_, limit)| *limit = u32::MAX);
            let within = pairs_within(&free, &thresholds, &NoProgress).unwrap();
            assert_eq!(within, brute(&a, &a, true, (&values, Reach::Closed)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]
        #[test]
        fn counts_are_those_of_all_pairs(
            n in 0_usize..700, m in 0_usize..700, seed in 0_u64..1_000, steps in 1.0..40.0, closed: bool, kind in 0_usize..5,
            flat: bool, lattice: bool, offset in prop::sample::select(vec![0.0, 1e5, -1e9]),
            unit in prop::sample::select(vec![1.0, 1e-3, 1e-18, 1e18]),
        ) {
            let values = distances(kind);
            let values: Vec<f64> = values.into_iter().map(|value| value * unit).collect();
            let place = |part: f64| {
                let step: f64 = part * steps;
                (offset + if lattice { step.floor() } else { step }) * unit
            };
            let limits = values.len() + 2;
            let (mut a, mut b) = (points(n, seed, place, limits), points(m, seed + 1, place, limits));
            if flat {
                a.iter_mut().chain(&mut b).for_each(|(point, _)| point[0] = 0.0);
            }
            let reach = if closed { Reach::Closed } else { Reach::Open };
            let (thresholds, values) = (Thresholds::new(&values, reach), (&values[..], reach));
            let limited = Tree::limited(a.iter().copied());
            let free = |points: &[(Point, u32)]| {
                Tree::new(&points.iter().map(|&(point, _)| point).collect::<Vec<_>>())
            };
            let found = pairs_between(&limited, &free(&b), &thresholds, &NoProgress).unwrap();
            prop_assert_eq!(found, brute(&a, &b, false, values));
            a.iter_mut().for_each(|(_, limit)| *limit = u32::MAX);
            let between = pairs_between(&free(&a), &free(&b), &thresholds, &NoProgress).unwrap();
            prop_assert_eq!(between, brute(&a, &b, false, values));
            let within = pairs_within(&free(&a), &thresholds, &NoProgress).unwrap();
            prop_assert_eq!(within, brute(&a, &a, true, values));
        }
    }
}
