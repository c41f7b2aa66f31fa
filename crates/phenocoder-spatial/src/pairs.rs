//! How many pairs of points lie how far apart: exact counts by pairs of tree nodes.
//!
//! Two boxes of points all of whose distances fall between the same two thresholds are counted at once; leaves are compared
//! point by point, 32 at a time, in 32 bits: only where rounding could matter are exact distances asked. Where distances of
//! two leaves fall among few thresholds, each threshold is compared with those that it may be near to; where among many, a
//! table says between which ones a distance falls.

mod compare;
mod leaves;
mod look_up;
mod rounded;
mod thresholds;
mod tree;

use phenocoder_core::Progress;
use rayon::prelude::*;

use crate::error::Result;
use leaves::Pair;
use look_up::Found;
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
    let tasks = match a.len() > 0 && b.len() > 0 {
        true => vec![Task::Two(0, 0)],
        false => Vec::new(),
    };
    Counter { a, b, thresholds }.count(tasks, progress)
}

/// Counts the pairs of two different points of one set up to each threshold, each once; all points count everywhere.
pub(crate) fn pairs_within(
    tree: &Tree,
    thresholds: &Thresholds,
    progress: &dyn Progress,
) -> Result<Vec<u64>> {
    let tasks = match tree.len() > 1 {
        true => vec![Task::One(0)],
        false => Vec::new(),
    };
    let (a, b) = (tree, tree);
    Counter { a, b, thresholds }.count(tasks, progress)
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
    fn new(thresholds: &Thresholds) -> Self {
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
    thresholds: &'a Thresholds,
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
                        let pair = Pair {
                            a: leaf,
                            b: leaf,
                            limits: &[(u32::MAX, leaf.len as u32)],
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
                let limits = self.a.limits(p);
                let farthest_limit = limits.last().map_or(0, |&(limit, _)| limit as usize);
                if first >= farthest_limit.min(self.thresholds.len()) {
                    return;
                }
                let last = self.thresholds.bin(farthest(p, q));
                if first == last {
                    for &(limit, n) in limits.iter().filter(|&&(limit, _)| limit as usize > first) {
                        let pairs = u64::from(n) * q.len;
                        counts[first] = counts[first].wrapping_add(pairs);
                        end_at(counts, limit as usize, pairs);
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
        thresholds: &Thresholds,
    ) -> Vec<u64> {
        let mut counts = vec![0; thresholds.len()];
        for (i, (p, limit)) in a.iter().enumerate() {
            for (j, (q, _)) in b.iter().enumerate() {
                if !same || i < j {
                    let bin = thresholds.bin(squared(|axis| p[axis] - q[axis]));
                    let end = thresholds.len().min(*limit as usize);
                    counts.iter_mut().take(end).skip(bin).for_each(|n| *n += 1);
                }
            }
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(120))]
        #[test]
        fn counts_are_those_of_all_pairs(
            n in 0_usize..700, m in 0_usize..700, seed in 0_u64..1_000, steps in 1.0..40.0, closed: bool, many: bool,
            flat: bool, lattice: bool, offset in prop::sample::select(vec![0.0, 1e5, -1e9]),
            unit in prop::sample::select(vec![1.0, 1e-3, 1e-18, 1e18]),
        ) {
            let values: Vec<f64> = if many {
                (0..100).map(|i| f64::from(i) * 0.5).collect()
            } else {
                vec![0.0, 1.0, 5.0, 5.0, 13.0]
            };
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
            let thresholds = Thresholds::new(&values, if closed { Reach::Closed } else { Reach::Open });
            let limited = Tree::limited(a.iter().copied());
            let free = |points: &[(Point, u32)]| {
                Tree::new(&points.iter().map(|&(point, _)| point).collect::<Vec<_>>())
            };
            let found = pairs_between(&limited, &free(&b), &thresholds, &NoProgress).unwrap();
            prop_assert_eq!(found, brute(&a, &b, false, &thresholds));
            a.iter_mut().for_each(|(_, limit)| *limit = u32::MAX);
            let between = pairs_between(&free(&a), &free(&b), &thresholds, &NoProgress).unwrap();
            prop_assert_eq!(between, brute(&a, &b, false, &thresholds));
            let within = pairs_within(&free(&a), &thresholds, &NoProgress).unwrap();
            prop_assert_eq!(within, brute(&a, &a, true, &thresholds));
        }
    }
}
