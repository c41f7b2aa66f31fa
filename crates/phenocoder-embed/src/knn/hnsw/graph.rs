//! Vectors in single precision, links between them, and the walk along the links.

use std::cmp::Ordering;

use phenocoder_core::{GraphError, Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Serialize, Serializer};

use super::singles::{Line, Singles, numbers};
use crate::Result;
use crate::knn::Metric;
use crate::knn::groups::parted;
use crate::knn::points::{Points, UNIT, scale_to_one};

/// What becomes of a distance whose square is below the smallest normal numbers: those of single precision, and, scaled,
/// those of double precision.
const TINY: f64 = 1e-17;
/// Nodes taken whose distances from a candidate are measured at once.
const TOGETHER: usize = 8;

/// A node and its squared distance from what is looked for; the nearer one is less, and of equally near ones the first.
///
/// The bits of numbers that are not negative rise with the numbers, and the bit of the sign is free: the distance, the node
/// and whether a walk has followed its links are one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Near(u64);

impl Near {
    const FOLLOWED: u64 = 1;

    fn new(key: f32, node: u32) -> Self {
        Self(u64::from(key.to_bits()) << 33 | u64::from(node) << 1)
    }

    pub(super) fn key(self) -> f32 {
        f32::from_bits((self.0 >> 33) as u32)
    }

    pub(super) fn node(self) -> u32 {
        (self.0 >> 1) as u32
    }

    /// Another node at the same distance.
    pub(super) fn with_node(self, node: u32) -> Self {
        Self::new(self.key(), node)
    }

    fn is_followed(self) -> bool {
        self.0 & Self::FOLLOWED != 0
    }
}

/// How far a distance in single precision may be from the one in double precision.
pub(super) struct Doubt {
    per_length: f32,
    constant: f32,
}

impl Doubt {
    /// What the distance is at least and at most, of which this is the square in single precision.
    ///
    /// Either vector is rounded, which moves it by a unit of its length, and the other is at most the distance longer;
    /// differences, squares and sums add a unit for each line and a few more.
    pub(super) fn bounds(&self, square: f32) -> (f32, f32) {
        let distance = square.sqrt();
        let error = self.per_length * distance + self.constant;
        (distance - error, distance + error)
    }
}

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

/// The memory of a walk.
#[derive(Debug)]
pub(super) struct Walk {
    /// Whether each node has been met.
    bits: Vec<u64>,
    /// Those that have.
    met: Vec<u32>,
    /// The squared distances of those met last.
    keys: Vec<f32>,
    /// The nearest so far, nearest first.
    beam: Vec<Near>,
}

impl Walk {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            bits: vec![0; nodes.div_ceil(64)],
            met: Vec::new(),
            keys: Vec::new(),
            beam: Vec::new(),
        }
    }

    /// Takes the nodes that are met for the first time.
    fn meet(&mut self, nodes: &[u32]) {
        let mut count = self.met.len();
        self.met.resize(count + nodes.len(), 0);
        for &node in nodes {
            // Whether a node is new cannot be foreseen, so nothing branches on it.
            let (word, place) = (&mut self.bits[node as usize / 64], node % 64);
            self.met[count] = node;
            count += usize::from(*word >> place & 1 == 0);
            *word |= 1 << place;
        }
        self.met.truncate(count);
    }

    /// Goes along the links of a layer from `start` for the up to `width` nodes nearest to `query`, which the beam has then
    /// (algorithm 2).
    fn run(&mut self, singles: &Singles, layer: &Layer, query: &[Line], start: u32, width: usize) {
        for node in self.met.drain(..) {
            self.bits[node as usize / 64] = 0;
        }
        self.beam.clear();
        // The links of all before `from` have been followed.
        let mut from = 0;
        let mut links: &[u32] = &[start];
        loop {
            let known = self.met.len();
            self.meet(links);
            singles.measure(query, &self.met[known..], &mut self.keys);
            for (&node, &key) in self.met[known..].iter().zip(&self.keys) {
                let near = Near::new(key, node);
                if self.beam.len() == width {
                    if self.beam.last().is_some_and(|last| near > *last) {
                        continue;
                    }
                    self.beam.pop();
                }
                let at = self.beam.partition_point(|other| *other < near);
                self.beam.insert(at, near);
                from = from.min(at);
            }
            let Some(step) = self.beam[from..]
                .iter()
                .position(|near| !near.is_followed())
            else {
                return;
            };
            from += step;
            links = layer.links(self.beam[from].node());
            self.beam[from].0 |= Near::FOLLOWED;
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
    /// What distances of rows are multiplied by, where they are not cosines.
    pub(super) scale: f64,
    singles: Singles,
    /// The rows of node `i` are `rows[starts[i]..starts[i + 1]]`, rising.
    starts: Vec<usize>,
    rows: Vec<u32>,
    /// The rows in an order in which near ones follow each other.
    order: Vec<u32>,
}

impl Vectors {
    /// Takes at least one row of at least one column.
    pub(super) fn new(points: &Points, seed: Seed, progress: &dyn Progress) -> Result<Self> {
        let (n, metric) = (points.nrows(), points.metric());
        let (center, scale) = match metric {
            Metric::Euclidean => {
                let center = middle(points);
                let scale = scale_to_one(points.extent(&center), points.ncols())?;
                // Beyond the cap, single precision would tell rows apart of which the squares of double precision are
                // all 0.
                let scale = scale.min(libm::exp2(470.0));
                (center, scale)
            }
            Metric::Cosine => (vec![0.0; points.ncols()], 1.0),
        };
        let columns = points.ncols() + usize::from(metric == Metric::Cosine);
        let mut vectors = Self {
            metric,
            center,
            scale,
            singles: Singles::new(columns, 0),
            starts: vec![0],
            rows: Vec::with_capacity(n),
            order: parted(points, progress)?.concat(),
        };
        let mut all = Singles::new(columns, n);
        for row in 0..n {
            all.push(vectors.rounded(points.row(row)));
        }
        progress.check()?;
        let mut order: Vec<u32> = (0..n as u32).collect();
        order.par_sort_unstable_by(|&a, &b| compare(all.row(a), all.row(b)).then(a.cmp(&b)));
        let groups: Vec<&[u32]> = order.chunk_by(|&a, &b| all.row(a) == all.row(b)).collect();
        vectors.singles = Singles::new(columns, groups.len());
        vectors.starts.reserve_exact(groups.len());
        for place in seed.stream("hnsw/order", 0).permutation(groups.len()) {
            vectors.singles.extend(all.row(groups[place][0]));
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
        let bits = self.singles.numbers().map(f32::to_bits);
        let numbers = bits.chain(self.rows.iter().copied());
        numbers.fold(0xcbf2_9ce4_8422_2325, |hash: u64, number| {
            (hash ^ u64::from(number)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    pub(super) fn of(&self, node: u32) -> &[Line] {
        self.singles.row(node)
    }

    pub(super) fn rows(&self, node: u32) -> &[u32] {
        &self.rows[self.starts[node as usize]..self.starts[node as usize + 1]]
    }

    /// The rows in an order in which near ones follow each other.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// The node of each row.
    pub(super) fn nodes(&self) -> Vec<u32> {
        let mut nodes = vec![0; self.order.len()];
        for node in 0..self.len() as u32 {
            for &row in self.rows(node) {
                nodes[row as usize] = node;
            }
        }
        nodes
    }

    /// Where each node lies in the order of the rows.
    pub(super) fn places(&self) -> Vec<u32> {
        let (nodes, mut places) = (self.nodes(), vec![0; self.len()]);
        for (place, &row) in (0..).zip(&self.order) {
            places[nodes[row as usize] as usize] = place;
        }
        places
    }

    /// What is not known of distances from a row, of which `single` is the vector.
    pub(super) fn doubt(&self, single: &[Line], row: &[f64]) -> Doubt {
        let squares = numbers(single).map(|value| f64::from(value).powi(2));
        let columns = row.len() as f64;
        let (length, floor) = match self.metric {
            Metric::Euclidean => (squares.sum::<f64>().sqrt(), TINY),
            // All other rows are as far from a row of zeros, whatever its vector is.
            Metric::Cosine if row.iter().all(|&v| v == 0.0) => (f64::INFINITY, TINY),
            // What is left of 1 when a dot product is taken from it is uncertain by that of all its terms.
            Metric::Cosine => (1.0, (4.0 * f64::EPSILON * (columns + 16.0)).sqrt()),
        };
        Doubt {
            per_length: UNIT * (single.len() as f32 + 12.0),
            constant: 3.0 * UNIT * length as f32 + floor as f32,
        }
    }

    /// A row in single precision, as the vectors are.
    pub(super) fn single(&self, row: &[f64]) -> Vec<Line> {
        self.singles.single(self.rounded(row))
    }

    fn rounded(&self, row: &[f64]) -> impl Iterator<Item = f32> {
        // Adding 0 leaves no −0, so that equal vectors have equal bits.
        let centered = row.iter().zip(&self.center);
        let values = centered.map(|(v, c)| ((v - c) * self.scale) as f32 + 0.0);
        // A row of zeros is as far from all others as what is at a right angle to them.
        let zero = || f32::from(row.iter().all(|&v| v == 0.0));
        values.chain((self.metric == Metric::Cosine).then(zero))
    }

    /// The links of a node with their distances, nearest first.
    pub(super) fn measured(&self, node: u32, links: &[u32]) -> Vec<Near> {
        let mut keys = Vec::with_capacity(links.len());
        self.singles.measure(self.of(node), links, &mut keys);
        let pairs = keys.iter().zip(links);
        let mut measured: Vec<Near> = pairs.map(|(&key, &end)| Near::new(key, end)).collect();
        measured.sort_unstable();
        measured
    }

    /// Of candidates, nearest first, at most so many that lie in different directions (Malkov & Yashunin 2020,
    /// algorithm 4): one is taken when it is nearer to the node than to all that were taken before.
    pub(super) fn diverse(&self, candidates: &[Near], most: usize) -> Vec<Near> {
        let mut taken: Vec<Near> = Vec::with_capacity(most);
        let mut nodes: Vec<u32> = Vec::with_capacity(most);
        let mut keys = Vec::with_capacity(TOGETHER);
        for candidate in candidates {
            if taken.len() == most {
                break;
            }
            let vector = self.of(candidate.node());
            // Most of those that are not taken lie near one of the first.
            let apart = nodes.chunks(TOGETHER).all(|nodes| {
                self.singles.measure(vector, nodes, &mut keys);
                keys.iter().all(|&key| key > candidate.key())
            });
            if apart {
                taken.push(*candidate);
                nodes.push(candidate.node());
            }
        }
        taken
    }

    /// The up to `width` nodes of the last layer that a search from node `start` of the first finds nearest to `query`,
    /// nearest first (algorithm 5).
    ///
    /// Every layer begins with the nodes of the layer before it.
    pub(super) fn search<'a, 'w>(
        &self,
        layers: impl IntoIterator<Item = &'a Layer>,
        query: &[Line],
        mut start: u32,
        width: usize,
        walk: &'w mut Walk,
    ) -> &'w [Near] {
        let mut layers = layers.into_iter().peekable();
        while let Some(layer) = layers.next() {
            let width = if layers.peek().is_none() { width } else { 1 };
            walk.run(&self.singles, layer, query, start, width);
            start = walk.beam.first().map_or(start, |near| near.node());
        }
        &walk.beam
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

fn compare(a: &[Line], b: &[Line]) -> Ordering {
    let mut pairs = numbers(a).zip(numbers(b)).map(|(a, b)| a.total_cmp(&b));
    pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}
