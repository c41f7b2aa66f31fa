//! Points in boxes within boxes.

use std::ops::Range;

use super::rounded::Rounded;
use crate::predicates::Point;

/// Points in a leaf. Fewer save comparisons and cost more bookkeeping.
pub(super) const LEAF: usize = 32;

/// Points in boxes within boxes, and how many of the thresholds the pairs of each count at.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) leaves: Vec<Leaf>,
    /// How many points of which limit the nodes hold, each limit that a node has once, rising.
    limits: Vec<(u32, u32)>,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) low: Point,
    pub(super) high: Point,
    pub(super) len: u64,
    /// Its two halves, which follow it and each other, or its leaf.
    pub(super) below: Below,
    limits: Range<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Below {
    Halves(u32, u32),
    Leaf(u32),
}

/// Points by limit; coordinates by axis; NaN where there is no point, which is near to nothing.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) axes: [[f64; LEAF]; 3],
    pub(super) len: usize,
    /// Whether the first coordinate of all points is 0.
    pub(super) is_flat: bool,
    pub(super) rounded: Rounded,
}

impl Tree {
    /// Takes finite points whose pairs count at all thresholds.
    pub(crate) fn new(points: &[Point]) -> Self {
        Self::limited(points.iter().map(|&point| (point, u32::MAX)))
    }

    /// Takes finite points and at how many of the thresholds, the first ones, their pairs count.
    pub(crate) fn limited(points: impl IntoIterator<Item = (Point, u32)>) -> Self {
        let mut points: Vec<(Point, u32)> = points.into_iter().collect();
        let mut tree = Self {
            nodes: Vec::new(),
            leaves: Vec::new(),
            limits: Vec::new(),
        };
        if !points.is_empty() {
            tree.grow(&mut points);
        }
        tree
    }

    pub(crate) fn len(&self) -> u64 {
        self.nodes.first().map_or(0, |root| root.len)
    }

    /// The limits of a node, rising, and how many points it has of each.
    pub(super) fn limits(&self, node: &Node) -> &[(u32, u32)] {
        &self.limits[node.limits.clone()]
    }

    fn grow(&mut self, points: &mut [(Point, u32)]) -> u32 {
        let (mut low, mut high) = (points[0].0, points[0].0);
        for (point, _) in points.iter() {
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
            limits: 0..0,
        });
        if points.len() <= LEAF {
            points.sort_unstable_by_key(|&(_, limit)| limit);
            let begin = self.limits.len();
            for run in points.chunk_by(|a, b| a.1 == b.1) {
                self.limits.push((run[0].1, run.len() as u32));
            }
            self.nodes[place].limits = begin..self.limits.len();
            self.leaves.push(Leaf::new(points, low, high));
            return place as u32;
        }
        let longest = |a: &usize, b: &usize| (high[*a] - low[*a]).total_cmp(&(high[*b] - low[*b]));
        let axis = (0..3).max_by(longest).unwrap_or(0);
        // Full leaves on the left, so that no more than one is not.
        let middle = points.len().div_ceil(LEAF).div_ceil(2) * LEAF;
        points.select_nth_unstable_by(middle, |a, b| a.0[axis].total_cmp(&b.0[axis]));
        let (left, right) = points.split_at_mut(middle);
        let (left, right) = (self.grow(left), self.grow(right));
        self.nodes[place].below = Below::Halves(left, right);
        self.nodes[place].limits = self.merged(left, right);
        place as u32
    }

    /// Lists the limits of two nodes together.
    fn merged(&mut self, left: u32, right: u32) -> Range<usize> {
        let of = |node: u32| self.nodes[node as usize].limits.clone();
        let (mut left, mut right) = (of(left), of(right));
        let begin = self.limits.len();
        while let Some(limit) = [&left, &right]
            .into_iter()
            .filter_map(|range| Some(self.limits.get(range.clone())?.first()?.0))
            .min()
        {
            let mut count = 0;
            for range in [&mut left, &mut right] {
                if let Some(&(first, n)) = self.limits[range.clone()].first()
                    && first == limit
                {
                    count += n;
                    range.start += 1;
                }
            }
            self.limits.push((limit, count));
        }
        begin..self.limits.len()
    }
}

impl Leaf {
    fn new(points: &[(Point, u32)], low: Point, high: Point) -> Self {
        let mut axes = [[f64::NAN; LEAF]; 3];
        for (i, (point, _)) in points.iter().enumerate() {
            for axis in 0..3 {
                axes[axis][i] = point[axis];
            }
        }
        Self {
            rounded: Rounded::new(&axes, low, high),
            axes,
            len: points.len(),
            is_flat: points.iter().all(|(point, _)| point[0] == 0.0),
        }
    }
}
