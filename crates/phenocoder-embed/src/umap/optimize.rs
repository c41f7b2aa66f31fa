//! The moves of the nodes.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, ArrayView2};
use phenocoder_core::{CsrGraph, Progress};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::density::Densities;
use super::lanes::{LANES, Lanes, Rules};
use super::{Curve, UmapConfig};
use crate::knn::Neighbors;
use crate::{Error, Result};

/// The largest number of dimensions: the largest padded width below.
pub(super) const MAX_DIMENSIONS: usize = 64;
/// Nodes per task.
pub(super) const TASK: usize = 512;
/// How many units of a rate make a pull that acts in every epoch.
const UNITS: f64 = 4_294_967_296.0;

/// What draws each node, and how often.
pub(super) struct Pulls {
    indptr: Vec<usize>,
    targets: Vec<u32>,
    /// The share of epochs in which the pull acts, in units of 2⁻³², less one unit so that always fits too.
    rates: Vec<u32>,
    /// How often a pull that is due moves the node.
    moves: usize,
}

impl Pulls {
    /// The pulls along the edges of a graph; those too weak to act even once are left out.
    pub(super) fn of_graph(graph: &CsrGraph, epochs: usize, moves: usize) -> Self {
        let rows = (0..graph.n_nodes()).map(|node| graph.row(node));
        Self::collect(rows, graph.values(), epochs, moves)
    }

    /// The pulls of a map's nodes on new rows.
    pub(super) fn of_neighbors(
        neighbors: &Neighbors,
        weights: &Array2<f64>,
        epochs: usize,
    ) -> Self {
        let rows = (0..neighbors.len()).map(|row| {
            let weights = weights.row(row).to_vec();
            neighbors
                .row(row)
                .zip(weights)
                .map(|((index, _), weight)| (index, weight))
        });
        let all: Vec<f64> = weights.iter().copied().collect();
        Self::collect(rows, &all, epochs, 1)
    }

    fn collect<R: Iterator<Item = (usize, f64)>>(
        rows: impl ExactSizeIterator<Item = R>,
        weights: &[f64],
        epochs: usize,
        moves: usize,
    ) -> Self {
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let least = largest / epochs as f64;
        let acts = |weight: f64| weight > 0.0 && weight >= least;
        let count = weights.iter().filter(|&&weight| acts(weight)).count();
        let mut indptr = Vec::with_capacity(rows.len() + 1);
        indptr.push(0);
        let (mut targets, mut rates) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for row in rows {
            for (target, weight) in row {
                if acts(weight) {
                    targets.push(target as u32);
                    let rate = (weight / largest * UNITS) as u64;
                    rates.push(rate.saturating_sub(1) as u32);
                }
            }
            indptr.push(targets.len());
        }
        Self {
            indptr,
            targets,
            rates,
            moves,
        }
    }

    /// What draws a node, and the rates of these pulls.
    pub(super) fn of(&self, node: usize) -> (&[u32], &[u32]) {
        let edges = self.indptr[node]..self.indptr[node + 1];
        (&self.targets[edges.clone()], &self.rates[edges])
    }

    /// The share of epochs in which a pull of such a rate acts: its weight in units of the largest.
    pub(super) fn share(rate: u32) -> f64 {
        (f64::from(rate) + 1.0) / UNITS
    }

    /// The sum of the shares of all pulls.
    pub(super) fn total(&self) -> f64 {
        self.rates.iter().map(|&rate| Self::share(rate)).sum()
    }

    /// The targets of the pulls on `nodes` that are due, and which of them are whose; nodes without any are left out.
    ///
    /// A pull of rate `r` is due when `⌊t r⌋` grows from this epoch `t` to the next.
    #[inline(always)]
    fn due(&self, nodes: Range<usize>, epoch: u32) -> (Vec<u32>, Vec<Span>) {
        let mut due = vec![0; self.indptr[nodes.end] - self.indptr[nodes.start]];
        let (mut count, mut spans) = (0, Vec::with_capacity(nodes.len()));
        for (node, row) in self.indptr[nodes.start..=nodes.end].windows(2).enumerate() {
            let at = count;
            let edges = row[0]..row[1];
            for (&target, &rate) in self.targets[edges.clone()].iter().zip(&self.rates[edges]) {
                let passed = epoch.wrapping_mul(rate).wrapping_add(epoch);
                // Without a branch: which pulls are due cannot be foretold.
                due[count] = target;
                count += usize::from(passed >= !rate);
            }
            if count > at {
                let end = count;
                spans.push(Span { node, at, end });
            }
        }
        (due, spans)
    }
}

/// The pulls on a node of a task that are yet to act.
#[derive(Default)]
struct Span {
    node: usize,
    at: usize,
    end: usize,
}

/// Nodes that are to be moved for a number of epochs.
pub(super) struct Drawing<'a> {
    pub(super) start: ArrayView2<'a, f64>,
    /// The nodes that pull and push when they are others than those that move.
    pub(super) fixed: Option<ArrayView2<'a, f64>>,
    pub(super) pulls: &'a Pulls,
    /// What the densities of the map are drawn to, if to any.
    pub(super) densities: Option<&'a Densities<'a>>,
    pub(super) config: &'a UmapConfig,
    pub(super) epochs: usize,
}

impl Drawing<'_> {
    /// Moves the nodes.
    ///
    /// # Errors
    ///
    /// [`Error::Overflow`] where a position is no number in single precision, [`Error::Cancelled`] when the caller stops
    /// it.
    pub(super) fn optimize(&self, progress: &dyn Progress) -> Result<Array2<f64>> {
        self.on(Arch::new(), progress)
    }

    /// [`optimize`](Self::optimize) with the instructions of `arch`, which changes no bit.
    pub(super) fn on(&self, arch: Arch, progress: &dyn Progress) -> Result<Array2<f64>> {
        // Axes of zeros change no distance and no move, so a few widths serve all numbers of dimensions.
        match self.config.n_components {
            0..=2 => self.padded::<2>(arch, progress),
            3..=4 => self.padded::<4>(arch, progress),
            5..=8 => self.padded::<8>(arch, progress),
            9..=16 => self.padded::<16>(arch, progress),
            17..=32 => self.padded::<32>(arch, progress),
            _ => self.padded::<MAX_DIMENSIONS>(arch, progress),
        }
    }

    fn padded<const D: usize>(&self, arch: Arch, progress: &dyn Progress) -> Result<Array2<f64>> {
        let fixed: Option<Vec<[f32; D]>> = self.fixed.map(to_positions);
        let mut current: Vec<[f32; D]> = to_positions(self.start);
        let mut next = current.clone();
        let curve = Curve::fit(self.config.spread, self.config.min_dist);
        progress.start("map", Some(self.epochs as u64));
        for index in 0..self.epochs {
            progress.check()?;
            let rules = self.rules(index, curve);
            let chunks = next.par_chunks_mut(TASK).zip(current.par_chunks(TASK));
            chunks.enumerate().for_each(|(chunk, (moved, before))| {
                moved.copy_from_slice(before);
                arch.dispatch(Task {
                    first: chunk * TASK,
                    moved,
                    others: fixed.as_deref().unwrap_or(&current),
                    apart: fixed.is_some(),
                    pulls: self.pulls,
                    epoch: index as u32,
                    rules: &rules,
                });
            });
            if let Some(densities) = self.densities
                && densities.act_in(index, self.epochs)
            {
                densities.move_nodes(&current, &mut next, &rules);
            }
            std::mem::swap(&mut current, &mut next);
            progress.advance(1);
        }
        progress.finish();
        if !current.iter().flatten().all(|place| place.is_finite()) {
            return Err(Error::Overflow { method: "map" });
        }
        let shape = (current.len(), self.config.n_components);
        Ok(Array2::from_shape_fn(shape, |(i, j)| {
            f64::from(current[i][j])
        }))
    }

    /// What the moves of an epoch go by.
    fn rules(&self, epoch: usize, curve: Curve) -> Rules {
        let config = self.config;
        Rules {
            step: (config.learning_rate * (1.0 - epoch as f64 / self.epochs as f64)) as f32,
            key: config.seed.derive("umap/push", epoch as u64).value(),
            pulls: self.pulls.moves,
            pushes: config.negative_samples,
            repulsion: config.repulsion as f32,
            a: curve.a as f32,
            b: curve.b as f32,
        }
    }
}

/// Rows in single precision, filled up with zeros.
fn to_positions<const D: usize>(x: ArrayView2<'_, f64>) -> Vec<[f32; D]> {
    let row = |row: ArrayView1<'_, f64>| {
        let mut position = [0.0; D];
        for (to, &from) in position.iter_mut().zip(row) {
            *to = from as f32;
        }
        position
    };
    x.outer_iter().map(row).collect()
}

/// The moves of neighbouring nodes in one epoch.
struct Task<'a, const D: usize> {
    /// The number of the first node.
    first: usize,
    /// The positions before, to be moved.
    moved: &'a mut [[f32; D]],
    others: &'a [[f32; D]],
    /// Whether the nodes that pull and push are others than those that move.
    apart: bool,
    pulls: &'a Pulls,
    epoch: u32,
    rules: &'a Rules,
}

impl<const D: usize> WithSimd for Task<'_, D> {
    type Output = ();

    /// Lets all pulls on a node that are due act one after the other, each together with the pushes of random nodes.
    ///
    /// Nodes do not see each other's moves, so every lane takes a node, and the next one when it is done with it.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let nodes = self.first..self.first + self.moved.len();
        let (due, spans) = self.pulls.due(nodes, self.epoch);
        let mut waiting = spans.into_iter();
        let mut lanes = Lanes::idle();
        let mut spans: [Span; LANES] = Default::default();
        loop {
            let mut targets = [0; LANES];
            let mut busy = false;
            for (lane, span) in spans.iter_mut().enumerate() {
                if span.at == span.end {
                    if span.end > 0 {
                        self.moved[span.node] = lanes.position(lane);
                    }
                    *span = waiting.next().unwrap_or_default();
                    if span.end > 0 {
                        let name = (self.first + span.node) as u32;
                        let position = &self.moved[span.node];
                        lanes.take(lane, name, !self.apart, position, self.rules);
                    }
                }
                if span.at < span.end {
                    targets[lane] = due[span.at];
                    span.at += 1;
                    busy = true;
                }
            }
            if !busy {
                break;
            }
            lanes.act(&targets, self.others, self.rules);
        }
    }
}
