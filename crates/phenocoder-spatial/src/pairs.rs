//! How many pairs of points lie how far apart: exact counts by pairs of tree nodes.
//!
//! Two boxes of points all of whose distances fall between the same two thresholds are counted at once; leaves are compared
//! point by point, 32 at a time. Where distances of two leaves fall among few thresholds, each threshold is compared with all
//! of them; where among many, a table says between which ones a distance falls.

use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::error::Result;
use crate::predicates::Point;
use phenocoder_core::Progress;

/// Points in a leaf. Fewer save comparisons and cost more bookkeeping.
const LEAF: usize = 32;

/// Thresholds among which the distances of two leaves fall, from which on a table is faster than comparing with each.
const MANY: usize = 12;

/// Pairs of nodes that are worked on in parallel, at least, where there are so many.
const TASKS: usize = 512;

/// Which distances belong to a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those up to the threshold.
    Closed,
    /// Those below it.
    Open,
}

/// Thresholds of squared distances, rising.
#[derive(Debug, Clone)]
pub(crate) struct Thresholds {
    squared: Arc<[f64]>,
    /// Those behind the first ones are left out.
    len: usize,
    reach: Reach,
    table: Option<Arc<Table>>,
}

impl Thresholds {
    /// Takes thresholds that are ≥ 0 and rise.
    pub(crate) fn new(thresholds: &[f64], reach: Reach) -> Self {
        let squared: Arc<[f64]> = thresholds.iter().map(|t| t * t).collect();
        Self {
            table: Table::new(&squared).map(Arc::new),
            len: squared.len(),
            squared,
            reach,
        }
    }

    /// The first of them.
    pub(crate) fn first(&self, len: usize) -> Self {
        Self {
            len: len.min(self.len),
            ..self.clone()
        }
    }

    fn squared(&self) -> &[f64] {
        &self.squared[..self.len]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first threshold that the squared distance belongs to.
    fn bin(&self, squared: f64) -> usize {
        match self.reach {
            Reach::Closed => self.squared().partition_point(|&t| t < squared),
            Reach::Open => self.squared().partition_point(|&t| t <= squared),
        }
    }
}

/// The range of squared distances in cells, most of which lie between the same thresholds.
#[derive(Debug, Clone)]
struct Table {
    /// Cells per unit of squared distance.
    scale: f64,
    /// The first threshold that all distances of the cell belong to, or [`Self::MIXED`]; those beyond all are in the last
    /// cell that is used.
    bins: Box<[u8; 2 * Self::CELLS]>,
}

impl Table {
    /// So few that they stay in the fastest cache.
    const CELLS: usize = 1 << 14;

    /// A cell with a threshold in it.
    const MIXED: u8 = u8::MAX;

    /// `None` where thresholds are few, too many, or so large or small that there are no cells.
    fn new(squared: &[f64]) -> Option<Self> {
        let scale = Self::CELLS as f64 / *squared.last()?;
        if !(MANY..Self::MIXED.into()).contains(&squared.len()) || !scale.is_normal() {
            return None;
        }
        let places: Vec<usize> = squared.iter().map(|&s| cell(s, scale) as usize).collect();
        let mut bins = Box::new([squared.len() as u8; 2 * Self::CELLS]);
        let mut from = 0;
        for (bin, place) in places.into_iter().enumerate() {
            if from <= place {
                bins[from..place].fill(bin as u8);
                bins[place] = Self::MIXED;
                from = place + 1;
            }
        }
        Some(Self { scale, bins })
    }
}

/// The cell of a squared distance, never before that of a smaller one.
#[inline(always)]
fn cell(squared: f64, scale: f64) -> u32 {
    // From 2⁵² on the lowest bits of a number are its whole part.
    const WHOLE: f64 = (1_u64 << 52) as f64;
    let place = (squared * scale).min((Table::CELLS + 1) as f64);
    (place + WHOLE).to_bits() as u32
}

/// Points in boxes within boxes.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    leaves: Vec<Leaf>,
}

#[derive(Debug, Clone)]
struct Node {
    low: Point,
    high: Point,
    len: u64,
    /// Its two halves, which follow it and each other, or its leaf.
    below: Below,
}

#[derive(Debug, Clone, Copy)]
enum Below {
    Halves(u32, u32),
    Leaf(u32),
}

/// Coordinates by axis; NaN where there is no point, which is near to nothing.
#[derive(Debug, Clone)]
struct Leaf {
    axes: [[f64; LEAF]; 3],
    len: usize,
    /// Whether the first coordinate of all points is 0.
    is_flat: bool,
}

impl Tree {
    /// Takes finite points.
    pub(crate) fn new(mut points: Vec<Point>) -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            leaves: Vec::with_capacity(points.len().div_ceil(LEAF)),
        };
        if !points.is_empty() {
            tree.grow(&mut points);
        }
        tree
    }

    pub(crate) fn len(&self) -> u64 {
        self.nodes.first().map_or(0, |root| root.len)
    }

    fn grow(&mut self, points: &mut [Point]) -> u32 {
        let mut low = points[0];
        let mut high = points[0];
        for point in points.iter() {
            for axis in 0..3 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        let place = self.nodes.len();
        self.nodes.push(Node {
            low,
            high,
            len: points.len() as u64,
            below: Below::Leaf(self.leaves.len() as u32),
        });
        if points.len() <= LEAF {
            let mut axes = [[f64::NAN; LEAF]; 3];
            for (i, point) in points.iter().enumerate() {
                for axis in 0..3 {
                    axes[axis][i] = point[axis];
                }
            }
            self.leaves.push(Leaf {
                axes,
                len: points.len(),
                is_flat: points.iter().all(|point| point[0] == 0.0),
            });
            return place as u32;
        }
        let longest = |a: &usize, b: &usize| (high[*a] - low[*a]).total_cmp(&(high[*b] - low[*b]));
        let axis = (0..3).max_by(longest).unwrap_or(0);
        // Full leaves on the left, so that no more than one is not.
        let middle = points.len().div_ceil(LEAF).div_ceil(2) * LEAF;
        points.select_nth_unstable_by(middle, |a, b| a[axis].total_cmp(&b[axis]));
        let (left, right) = points.split_at_mut(middle);
        let halves = (self.grow(left), self.grow(right));
        self.nodes[place].below = Below::Halves(halves.0, halves.1);
        place as u32
    }
}

/// Counts the pairs of a point of `a` and one of `b` by the first threshold that their distance belongs to; pairs beyond the
/// last are left out.
pub(crate) fn pairs_between(
    a: &Tree,
    b: &Tree,
    thresholds: &Thresholds,
    progress: &dyn Progress,
) -> Result<Vec<u64>> {
    let mut tasks = Vec::new();
    if a.len() > 0 && b.len() > 0 {
        tasks.push(Task::Two(0, 0));
    }
    count(a, b, thresholds, tasks, progress)
}

/// As [`pairs_between`], the pairs of two different points of one set, each once.
pub(crate) fn pairs_within(
    a: &Tree,
    thresholds: &Thresholds,
    progress: &dyn Progress,
) -> Result<Vec<u64>> {
    let mut tasks = Vec::new();
    if a.len() > 1 {
        tasks.push(Task::One(0));
    }
    count(a, a, thresholds, tasks, progress)
}

/// Pairs within a node, or between a node of the first and one of the second tree.
#[derive(Debug, Clone, Copy)]
enum Task {
    One(u32),
    Two(u32, u32),
}

fn count(
    a: &Tree,
    b: &Tree,
    thresholds: &Thresholds,
    mut tasks: Vec<Task>,
    progress: &dyn Progress,
) -> Result<Vec<u64>> {
    let counter = Counter { a, b, thresholds };
    let mut total = vec![0; thresholds.len()];
    // Breadth first, until there is enough for all threads.
    while !tasks.is_empty() && tasks.len() < TASKS {
        let mut next = Vec::with_capacity(3 * tasks.len());
        for task in tasks {
            counter.step(task, &mut next, &mut total);
        }
        tasks = next;
    }
    let parts: Vec<Result<Vec<u64>>> = tasks
        .into_par_iter()
        .map(|task| {
            progress.check()?;
            let mut part = vec![0; thresholds.len()];
            let mut stack = vec![task];
            while let Some(task) = stack.pop() {
                counter.step(task, &mut stack, &mut part);
            }
            Ok(part)
        })
        .collect();
    for part in parts {
        crate::reduce::add(&mut total, &part?);
    }
    Ok(total)
}

struct Counter<'a> {
    a: &'a Tree,
    b: &'a Tree,
    thresholds: &'a Thresholds,
}

impl Counter<'_> {
    /// Counts the pairs of a task, or leaves smaller ones to `rest`.
    fn step(&self, task: Task, rest: &mut Vec<Task>, total: &mut [u64]) {
        let m = total.len();
        match task {
            Task::One(node) => {
                let node = &self.a.nodes[node as usize];
                let (low, high) = (0.0, farthest(node, node));
                let (first, last) = (self.thresholds.bin(low), self.thresholds.bin(high));
                if first == m {
                } else if first == last {
                    total[first] += node.len * (node.len - 1) / 2;
                } else if let Below::Halves(left, right) = node.below {
                    rest.extend([Task::One(left), Task::One(right), Task::Two(left, right)]);
                } else if let Below::Leaf(leaf) = node.below {
                    let leaf = &self.a.leaves[leaf as usize];
                    let mut ordered = vec![0; m];
                    self.compare(leaf, leaf, first..last, &mut ordered);
                    // Every point is near itself, and every pair was seen from both ends.
                    ordered[first] -= leaf.len as u64;
                    for (total, ordered) in total.iter_mut().zip(ordered) {
                        *total += ordered / 2;
                    }
                }
            }
            Task::Two(i, j) => {
                let (p, q) = (&self.a.nodes[i as usize], &self.b.nodes[j as usize]);
                let first = self.thresholds.bin(nearest(p, q));
                let last = self.thresholds.bin(farthest(p, q));
                if first == m {
                    return;
                }
                if first == last {
                    total[first] += p.len * q.len;
                    return;
                }
                match (p.below, q.below) {
                    (Below::Leaf(a), Below::Leaf(b)) => {
                        let (a, b) = (&self.a.leaves[a as usize], &self.b.leaves[b as usize]);
                        self.compare(a, b, first..last, total);
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

    /// Counts pairs of which none is nearer than the first of the `bins`, and none farther than the one after the last.
    fn compare(&self, a: &Leaf, b: &Leaf, bins: std::ops::Range<usize>, total: &mut [u64]) {
        if let Some(table) = &self.thresholds.table
            && bins.len() >= MANY
        {
            Arch::new().dispatch(LookUp {
                a,
                b,
                table,
                thresholds: self.thresholds,
                total,
            });
            return;
        }
        let up_to = &mut [0; LEAF][..];
        let mut before = 0;
        // A part of the bins at a time, though there are hardly ever so many.
        for bins in
            self.thresholds.squared()[bins.clone()]
                .chunks(LEAF)
                .scan(bins.start, |at, part| {
                    let start = *at;
                    *at += part.len();
                    Some((start, part))
                })
        {
            let (start, part) = bins;
            let up_to = &mut up_to[..part.len()];
            Arch::new().dispatch(Compare {
                a,
                b,
                squared: part,
                reach: self.thresholds.reach,
                up_to,
            });
            for (i, &up_to) in up_to.iter().enumerate() {
                total[start + i] += up_to - before;
                before = up_to;
            }
        }
        if let Some(last) = total.get_mut(bins.end) {
            *last += (a.len * b.len) as u64 - before;
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

fn squared(difference: impl Fn(usize) -> f64) -> f64 {
    let [z, y, x] = [0, 1, 2].map(|axis| {
        let difference = difference(axis);
        difference * difference
    });
    z + y + x
}

/// Counts the pairs of two leaves up to each of some thresholds.
struct Compare<'a> {
    a: &'a Leaf,
    b: &'a Leaf,
    squared: &'a [f64],
    reach: Reach,
    up_to: &'a mut [u64],
}

impl WithSimd for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.reach {
            Reach::Closed => self.run(|squared, threshold| squared <= threshold),
            Reach::Open => self.run(|squared, threshold| squared < threshold),
        }
    }
}

impl Compare<'_> {
    #[inline(always)]
    fn run(self, belongs: impl Fn(f64, f64) -> bool + Copy) {
        let [az, ay, ax] = &self.a.axes;
        let [bz, by, bx] = &self.b.axes;
        self.up_to.fill(0);
        // Points in the plane have zeros there; NaN behind the last point does not matter.
        let flat = self.a.is_flat && self.b.is_flat;
        let mut squared = [0.0_f64; LEAF];
        for i in 0..self.a.len {
            let (z, y, x) = (az[i], ay[i], ax[i]);
            if flat {
                for j in 0..LEAF {
                    let (dy, dx) = (y - by[j], x - bx[j]);
                    squared[j] = dy * dy + dx * dx;
                }
            } else {
                for j in 0..LEAF {
                    let (dz, dy, dx) = (z - bz[j], y - by[j], x - bx[j]);
                    squared[j] = dz * dz + dy * dy + dx * dx;
                }
            }
            for (up_to, &threshold) in self.up_to.iter_mut().zip(self.squared) {
                let mut counts = [0_u64; 8];
                for eight in squared.as_chunks::<8>().0 {
                    for (count, &squared) in counts.iter_mut().zip(eight) {
                        *count += u64::from(belongs(squared, threshold));
                    }
                }
                *up_to += counts.iter().sum::<u64>();
            }
        }
    }
}

/// Counts the pairs of two leaves by the first threshold that each belongs to.
struct LookUp<'a> {
    a: &'a Leaf,
    b: &'a Leaf,
    table: &'a Table,
    thresholds: &'a Thresholds,
    total: &'a mut [u64],
}

impl WithSimd for LookUp<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [az, ay, ax] = &self.a.axes;
        let [bz, by, bx] = &self.b.axes;
        let Table { scale, ref bins } = *self.table;
        // Neighbors mostly fall between the same thresholds: with one counter each would wait for the one before.
        let mut counts = [[0_u32; 256]; 4];
        let mut squared = [0.0_f64; LEAF];
        let mut places = [0_u32; LEAF];
        for i in 0..self.a.len {
            let (z, y, x) = (az[i], ay[i], ax[i]);
            for j in 0..LEAF {
                let (dz, dy, dx) = (z - bz[j], y - by[j], x - bx[j]);
                squared[j] = dz * dz + dy * dy + dx * dx;
                places[j] = cell(squared[j], scale);
            }
            // Behind the last point there is NaN, which is beyond all thresholds.
            let fours = places.as_chunks::<4>().0.iter();
            for (places, squared) in fours.zip(squared.as_chunks::<4>().0) {
                for j in 0..4 {
                    let mut bin = bins[places[j] as usize % bins.len()];
                    if bin == Table::MIXED {
                        bin = self.thresholds.bin(squared[j]) as u8;
                    }
                    counts[j][usize::from(bin)] += 1;
                }
            }
        }
        for (r, total) in self.total.iter_mut().enumerate() {
            *total += counts
                .iter()
                .map(|counts| u64::from(counts[r]))
                .sum::<u64>();
        }
    }
}

#[cfg(test)]
mod tests {
    use phenocoder_core::{NoProgress, Seed};
    use proptest::prelude::*;

    use super::*;

    fn brute(a: &[Point], b: &[Point], same: bool, thresholds: &Thresholds) -> Vec<u64> {
        let mut counts = vec![0; thresholds.len()];
        for (i, p) in a.iter().enumerate() {
            for (j, q) in b.iter().enumerate() {
                if !same || i < j {
                    let bin = thresholds.bin(squared(|axis| p[axis] - q[axis]));
                    if let Some(count) = counts.get_mut(bin) {
                        *count += 1;
                    }
                }
            }
        }
        counts
    }

    fn points(n: usize, seed: u64, steps: f64) -> Vec<Point> {
        let mut stream = Seed::new(seed).stream("points", 0);
        // On a coarse lattice many distances equal a threshold, and points coincide.
        (0..n)
            .map(|_| [0; 3].map(|_| (stream.uniform() * steps).floor()))
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn counts_are_those_of_all_pairs(
            n in 0_usize..400, m in 0_usize..300, seed in 0_u64..1_000, steps in 1.0..40.0, closed: bool, many: bool,
        ) {
            let (a, b) = (points(n, seed, steps), points(m, seed + 1, steps));
            let values: Vec<f64> = if many {
                (0..100).map(|i| f64::from(i) * 0.5).collect()
            } else {
                vec![0.0, 1.0, 5.0, 5.0, 13.0]
            };
            let thresholds = Thresholds::new(&values, if closed { Reach::Closed } else { Reach::Open });
            let (tree_a, tree_b) = (Tree::new(a.clone()), Tree::new(b.clone()));
            let between = pairs_between(&tree_a, &tree_b, &thresholds, &NoProgress).unwrap();
            prop_assert_eq!(between, brute(&a, &b, false, &thresholds));
            let within = pairs_within(&tree_a, &thresholds, &NoProgress).unwrap();
            prop_assert_eq!(&within, &brute(&a, &a, true, &thresholds));
            for some in [0, 1, values.len() / 2, values.len() - 1] {
                let first = pairs_within(&tree_a, &thresholds.first(some), &NoProgress).unwrap();
                prop_assert_eq!(&first, &within[..some]);
            }
        }
    }
}
