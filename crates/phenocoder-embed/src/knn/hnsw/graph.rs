//! Vectors in single precision, links between them, and the walk along the links.

use std::cmp::Ordering;

use phenocoder_core::{GraphError, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Serialize, Serializer};

use crate::Result;
use crate::knn::Metric;
use crate::knn::points::{Points, scale_to_one};

/// Numbers that are summed side by side; rows are filled up with zeros to a multiple.
const LANES: usize = 8;

/// A node and its squared distance from what is looked for; the nearer one is less, and of equally near ones the first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near {
    pub(super) key: f32,
    pub(super) node: u32,
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key
            .total_cmp(&other.key)
            .then(self.node.cmp(&other.node))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Near {}

/// The links of each node of one layer, at most so many.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    most: usize,
    counts: Vec<u32>,
    ends: Vec<u32>,
}

impl Layer {
    /// A layer of one node, which has none to be linked with, and with room for `nodes`.
    pub(super) fn new(most: usize, nodes: usize) -> Self {
        let mut layer = Self {
            most,
            counts: Vec::with_capacity(nodes),
            ends: Vec::with_capacity(nodes * most),
        };
        layer.grow(1);
        layer
    }

    /// Takes the links that were written, when they lead to nodes of the layer.
    pub(super) fn read(lists: &[Vec<u32>], most: usize, nodes: usize) -> Result<Self> {
        ShapeError::check_len("nodes of a layer", nodes, lists.len())?;
        let mut layer = Self::new(most, nodes);
        layer.grow(nodes);
        for (row, list) in lists.iter().enumerate() {
            if list.len() > most {
                ShapeError::check_len("links of a node", most, list.len())?;
            }
            if let Some(&column) = list.iter().find(|&&end| end as usize >= nodes) {
                let column = column as usize;
                return Err(GraphError::Column { row, column, nodes }.into());
            }
            layer.set(row as u32, list.iter().copied());
        }
        Ok(layer)
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Has this many nodes from now on, the new ones without links.
    pub(super) fn grow(&mut self, nodes: usize) {
        self.counts.resize(nodes, 0);
        self.ends.resize(nodes * self.most, 0);
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    pub(super) fn links(&self, node: u32) -> &[u32] {
        let (node, start) = (node as usize, node as usize * self.most);
        &self.ends[start..start + self.counts[node] as usize]
    }

    /// Replaces the links of a node, by no more than there may be.
    pub(super) fn set(&mut self, node: u32, links: impl Iterator<Item = u32>) {
        let (node, start) = (node as usize, node as usize * self.most);
        let places = &mut self.ends[start..start + self.most];
        let mut count = 0;
        for (place, end) in places.iter_mut().zip(links) {
            *place = end;
            count += 1;
        }
        self.counts[node] = count;
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq((0..self.len()).map(|node| self.links(node as u32)))
    }
}

/// The nodes that a walk has met.
#[derive(Debug)]
pub(super) struct Met {
    bits: Vec<u64>,
    nodes: Vec<u32>,
}

impl Met {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            bits: vec![0; nodes.div_ceil(64)],
            nodes: Vec::new(),
        }
    }

    /// Whether the node is met for the first time.
    fn insert(&mut self, node: u32) -> bool {
        let (word, bit) = (node as usize / 64, 1 << (node % 64));
        let new = self.bits[word] & bit == 0;
        if new {
            self.bits[word] |= bit;
            self.nodes.push(node);
        }
        new
    }

    fn clear(&mut self) {
        for node in self.nodes.drain(..) {
            self.bits[node as usize / 64] = 0;
        }
    }
}

/// The different rows in single precision, and which rows have them: the nodes of the graph.
///
/// Nodes are in random order, which depends on the seed and on the vectors, not on the order of the rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vectors {
    metric: Metric,
    center: Vec<f64>,
    scale: f64,
    width: usize,
    values: Vec<f32>,
    /// The rows of node `i` are `rows[starts[i]..starts[i + 1]]`, rising.
    starts: Vec<usize>,
    rows: Vec<u32>,
}

impl Vectors {
    /// Takes at least one row of at least one column.
    pub(super) fn new(points: &Points, seed: Seed) -> Result<Self> {
        let (n, metric) = (points.nrows(), points.metric());
        let (center, scale) = match metric {
            Metric::Euclidean => {
                let center = middle(points);
                let scale = scale_to_one(points.extent(&center), points.ncols())?;
                (center, scale)
            }
            Metric::Cosine => (vec![0.0; points.ncols()], 1.0),
        };
        let columns = points.ncols() + usize::from(metric == Metric::Cosine);
        let mut vectors = Self {
            metric,
            center,
            scale,
            width: columns.next_multiple_of(LANES),
            values: Vec::new(),
            starts: vec![0],
            rows: Vec::with_capacity(n),
        };
        let mut singles = Vec::with_capacity(n * vectors.width);
        for row in 0..n {
            vectors.extend_single(points.row(row), &mut singles);
        }
        let width = vectors.width;
        let of = |row: u32| &singles[row as usize * width..(row as usize + 1) * width];
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.par_sort_unstable_by(|&a, &b| compare(of(a), of(b)).then(a.cmp(&b)));
        let groups: Vec<&[u32]> = order.chunk_by(|&a, &b| of(a) == of(b)).collect();
        vectors.values.reserve_exact(groups.len() * width);
        vectors.starts.reserve_exact(groups.len());
        for place in seed.stream("hnsw/order", 0).permutation(groups.len()) {
            vectors.values.extend_from_slice(of(groups[place][0]));
            vectors.rows.extend_from_slice(groups[place]);
            vectors.starts.push(vectors.rows.len());
        }
        Ok(vectors)
    }

    /// The number of nodes.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// A number that changes when a node is another vector or stands for other rows (FNV-1a, a number at a time).
    pub(super) fn fingerprint(&self) -> u64 {
        let bits = self.values.iter().map(|value| value.to_bits());
        let numbers = bits.chain(self.rows.iter().copied());
        numbers.fold(0xcbf2_9ce4_8422_2325, |hash: u64, number| {
            (hash ^ u64::from(number)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    pub(super) fn of(&self, node: u32) -> &[f32] {
        let start = node as usize * self.width;
        &self.values[start..start + self.width]
    }

    pub(super) fn rows(&self, node: u32) -> &[u32] {
        &self.rows[self.starts[node as usize]..self.starts[node as usize + 1]]
    }

    /// A row in single precision, as the vectors are.
    pub(super) fn single(&self, row: &[f64]) -> Vec<f32> {
        let mut single = Vec::with_capacity(self.width);
        self.extend_single(row, &mut single);
        single
    }

    fn extend_single(&self, row: &[f64], to: &mut Vec<f32>) {
        let end = to.len() + self.width;
        // Adding 0 leaves no −0, so that equal vectors have equal bits.
        let centered = row.iter().zip(&self.center);
        to.extend(centered.map(|(v, c)| ((v - c) * self.scale) as f32 + 0.0));
        if self.metric == Metric::Cosine {
            // A row of zeros is as far from all others as what is at a right angle to them.
            to.push(f32::from(row.iter().all(|&v| v == 0.0)));
        }
        to.resize(end, 0.0);
    }

    fn between(&self, a: u32, b: u32) -> f32 {
        squared_distance(self.of(a), self.of(b))
    }

    /// The links of a node with their distances, nearest first.
    pub(super) fn measured(&self, node: u32, links: &[u32]) -> Vec<Near> {
        let near = |&end: &u32| Near {
            key: self.between(node, end),
            node: end,
        };
        let mut measured: Vec<Near> = links.iter().map(near).collect();
        measured.sort_unstable();
        measured
    }

    /// Of candidates, nearest first, at most so many that lie in different directions (Malkov & Yashunin 2020,
    /// algorithm 4): one is taken when it is nearer to the node than to all that were taken before.
    pub(super) fn diverse(&self, candidates: &[Near], most: usize) -> Vec<Near> {
        let mut taken: Vec<Near> = Vec::with_capacity(most);
        for candidate in candidates {
            if taken.len() == most {
                break;
            }
            let apart = |other: &Near| self.between(candidate.node, other.node) > candidate.key;
            if taken.iter().all(apart) {
                taken.push(*candidate);
            }
        }
        taken
    }

    /// The up to `width` nodes of the last layer that a search finds nearest to `query`, nearest first (algorithm 5).
    ///
    /// Every layer begins with the nodes of the layer before it.
    pub(super) fn search<'a>(
        &self,
        layers: impl IntoIterator<Item = &'a Layer>,
        query: &[f32],
        width: usize,
        met: &mut Met,
    ) -> Vec<Near> {
        let mut layers = layers.into_iter().peekable();
        let mut start = 0;
        while let Some(layer) = layers.next() {
            if layers.peek().is_none() {
                return self.walk(layer, query, start, width, met);
            }
            let nearest = self.walk(layer, query, start, 1, met);
            start = nearest.first().map_or(start, |near| near.node);
        }
        Vec::new()
    }

    /// The up to `width` nodes of a layer that a walk along its links from `start` finds nearest to `query`, nearest first
    /// (algorithm 2).
    fn walk(
        &self,
        layer: &Layer,
        query: &[f32],
        start: u32,
        width: usize,
        met: &mut Met,
    ) -> Vec<Near> {
        let near = |node: u32| Near {
            key: squared_distance(query, self.of(node)),
            node,
        };
        // With each node, whether its links have been followed; all before `from` have.
        let mut beam = Vec::with_capacity((width + 1).min(layer.len()));
        beam.push((near(start), false));
        met.insert(start);
        let mut from = 0;
        while let Some(step) = beam[from..].iter().position(|(_, followed)| !followed) {
            from += step;
            beam[from].1 = true;
            for &node in layer.links(beam[from].0.node) {
                if !met.insert(node) {
                    continue;
                }
                let candidate = near(node);
                if beam.len() >= width && beam.last().is_some_and(|last| candidate > last.0) {
                    continue;
                }
                let at = beam.partition_point(|(other, _)| *other < candidate);
                beam.insert(at, (candidate, false));
                beam.truncate(width);
                from = from.min(at);
            }
        }
        met.clear();
        beam.into_iter().map(|(near, _)| near).collect()
    }
}

/// The middle between the least and the largest value of each column: the same for any order of rows.
fn middle(points: &Points) -> Vec<f64> {
    let mut low = points.row(0).to_vec();
    let mut high = low.clone();
    for row in 1..points.nrows() {
        let bounds = low.iter_mut().zip(&mut high);
        for ((low, high), &value) in bounds.zip(points.row(row)) {
            *low = low.min(value);
            *high = high.max(value);
        }
    }
    let bounds = low.iter().zip(&high);
    bounds.map(|(low, high)| low / 2.0 + high / 2.0).collect()
}

fn compare(a: &[f32], b: &[f32]) -> Ordering {
    let mut pairs = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
    pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// The squared distance of vectors filled up to a multiple of [`LANES`], summed in an order that is the same everywhere.
#[inline]
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    for (u, v) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            let difference = u[lane] - v[lane];
            sums[lane] += difference * difference;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
