//! The moves of the nodes.

use std::array::from_fn;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{CsrGraph, Progress};
use rayon::prelude::*;

use super::power::powers;
use super::{Curve, UmapConfig};
use crate::Result;
use crate::knn::Neighbors;

/// The largest number of dimensions: the largest padded width below.
pub(super) const MAX_DIMENSIONS: usize = 64;
/// The largest move along one axis, before the step's factor.
const CLIP: f32 = 4.0;
/// Keeps the push of two nodes at one place finite.
const SOFT: f32 = 0.001;
/// Keeps a squared distance positive; far below what a map resolves.
const TINY: f32 = 1e-30;
/// Nodes that pull or push at once.
const LANES: usize = 8;
/// Nodes per task at least.
const TASK: usize = 128;

/// What draws each node, and how often.
pub(super) struct Pulls {
    indptr: Vec<usize>,
    targets: Vec<u32>,
    /// The share of epochs in which the pull acts, in units of 2⁻³².
    rates: Vec<u64>,
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
        rows: impl Iterator<Item = R>,
        weights: &[f64],
        epochs: usize,
        moves: usize,
    ) -> Self {
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let least = largest / epochs as f64;
        let (mut indptr, mut targets, mut rates) = (vec![0], Vec::new(), Vec::new());
        for row in rows {
            for (target, weight) in row {
                if weight > 0.0 && weight >= least {
                    targets.push(target as u32);
                    rates.push((weight / largest * 4_294_967_296.0) as u64);
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
}

/// The numbers that the moves of one epoch share.
struct Epoch {
    index: u64,
    step: f32,
    key: u64,
    negatives: usize,
    repulsion: f32,
    a: f32,
    b: f32,
}

/// Moves nodes for a number of epochs; `fixed` are the nodes that pull when they are others than those that move.
pub(super) fn optimize(
    start: ArrayView2<'_, f64>,
    fixed: Option<ArrayView2<'_, f64>>,
    pulls: &Pulls,
    config: &UmapConfig,
    epochs: usize,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    // Axes of zeros change no distance and no move, so a few widths serve all numbers of dimensions.
    match config.n_components {
        0..=2 => padded::<2>(start, fixed, pulls, config, epochs, progress),
        3 => padded::<3>(start, fixed, pulls, config, epochs, progress),
        4..=8 => padded::<8>(start, fixed, pulls, config, epochs, progress),
        9..=16 => padded::<16>(start, fixed, pulls, config, epochs, progress),
        _ => padded::<MAX_DIMENSIONS>(start, fixed, pulls, config, epochs, progress),
    }
}

fn padded<const D: usize>(
    start: ArrayView2<'_, f64>,
    fixed: Option<ArrayView2<'_, f64>>,
    pulls: &Pulls,
    config: &UmapConfig,
    epochs: usize,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    let to_positions = |x: ArrayView2<'_, f64>| -> Vec<[f32; D]> {
        let row = |row: ndarray::ArrayView1<'_, f64>| {
            let mut position = [0.0; D];
            for (to, &from) in position.iter_mut().zip(row) {
                *to = from as f32;
            }
            position
        };
        x.outer_iter().map(row).collect()
    };
    let fixed = fixed.map(to_positions);
    let mut current = to_positions(start);
    let mut next = current.clone();
    let Curve { a, b } = Curve::fit(config.spread, config.min_dist);
    progress.start("map", Some(epochs as u64));
    for index in 0..epochs {
        progress.check()?;
        let epoch = Epoch {
            index: index as u64,
            step: (config.learning_rate * (1.0 - index as f64 / epochs as f64)) as f32,
            key: config.seed.derive("umap/push", index as u64).value(),
            negatives: config.negative_samples,
            repulsion: config.repulsion as f32,
            a: a as f32,
            b: b as f32,
        };
        let others = fixed.as_deref().unwrap_or(&current);
        let apart = fixed.is_some();
        next.par_iter_mut()
            .with_min_len(TASK)
            .enumerate()
            .for_each(|(node, position)| {
                *position = current[node];
                move_node(node, position, others, apart, pulls, &epoch);
            });
        std::mem::swap(&mut current, &mut next);
        progress.advance(1);
    }
    progress.finish();
    let shape = (current.len(), config.n_components);
    Ok(Array2::from_shape_fn(shape, |(i, j)| {
        f64::from(current[i][j])
    }))
}

/// Lets all pulls on a node that are due act one after the other, each together with the pushes of random nodes.
fn move_node<const D: usize>(
    node: usize,
    position: &mut [f32; D],
    others: &[[f32; D]],
    apart: bool,
    pulls: &Pulls,
    epoch: &Epoch,
) {
    let mut chance = Draws::new(epoch.key, node as u64);
    for edge in pulls.indptr[node]..pulls.indptr[node + 1] {
        let rate = pulls.rates[edge];
        if ((epoch.index + 1) * rate) >> 32 == (epoch.index * rate) >> 32 {
            continue;
        }
        let target = &others[pulls.targets[edge] as usize];
        for _ in 1..pulls.moves {
            interact(
                node,
                position,
                others,
                apart,
                Some(target),
                0,
                &mut chance,
                epoch,
            );
        }
        let mut target = Some(target);
        let mut left = epoch.negatives;
        while left > 0 || target.is_some() {
            let count = left.min(LANES - 1);
            interact(
                node,
                position,
                others,
                apart,
                target.take(),
                count,
                &mut chance,
                epoch,
            );
            left -= count;
        }
    }
}

/// One node pulls, if there is one, and `count` random nodes, fewer than [`LANES`], push at once.
#[expect(clippy::too_many_arguments, reason = "the innermost loop of a map")]
#[inline]
fn interact<const D: usize>(
    node: usize,
    position: &mut [f32; D],
    others: &[[f32; D]],
    apart: bool,
    target: Option<&[f32; D]>,
    count: usize,
    chance: &mut Draws,
    epoch: &Epoch,
) {
    let mut difference = [[0.0_f32; LANES]; D];
    let mut push = [0.0_f32; LANES];
    // The last lane is the pull's; lanes without a node have no difference and so no effect.
    if let Some(target) = target {
        for axis in 0..D {
            difference[axis][LANES - 1] = position[axis] - target[axis];
        }
    }
    for lane in 0..count {
        let other = chance.below(others.len());
        // A node does not push itself.
        push[lane] = if other == node && !apart {
            0.0
        } else {
            2.0 * epoch.repulsion * epoch.b
        };
        for axis in 0..D {
            difference[axis][lane] = position[axis] - others[other][axis];
        }
    }
    let mut square = [0.0_f32; LANES];
    for axis in &difference {
        square = from_fn(|lane| square[lane] + axis[lane] * axis[lane]);
    }
    square = from_fn(|lane| square[lane] + TINY);
    let raised = powers(square, epoch.b);
    let mut above = push;
    above[LANES - 1] = -2.0 * epoch.a * epoch.b * raised[LANES - 1];
    let mut soft = [SOFT; LANES];
    soft[LANES - 1] = 0.0;
    let below: [f32; LANES] =
        from_fn(|lane| (soft[lane] + square[lane]) * (1.0 + epoch.a * raised[lane]));
    let strength: [f32; LANES] = from_fn(|lane| above[lane] / below[lane]);
    for axis in 0..D {
        let moves: [f32; LANES] = from_fn(|lane| strength[lane] * difference[axis][lane]);
        let moves: [f32; LANES] = from_fn(|lane| {
            if moves[lane] > CLIP {
                CLIP
            } else {
                moves[lane]
            }
        });
        let moves: [f32; LANES] = from_fn(|lane| {
            if moves[lane] < -CLIP {
                -CLIP
            } else {
                moves[lane]
            }
        });
        position[axis] += epoch.step * moves.iter().sum::<f32>();
    }
}

/// Random numbers of one node in one epoch: SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195) keyed by
/// a number that the seed derives for the epoch, since setting up a stream for every node would cost more than its
/// moves.
struct Draws(u64);

impl Draws {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

    fn new(key: u64, node: u64) -> Self {
        Self(Self::mix(key ^ Self::mix(node.wrapping_add(Self::GAMMA))))
    }

    fn mix(mut z: u64) -> u64 {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number in `0..bound`; the bias, `bound / 2⁶⁴`, is of no account here.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(Self::GAMMA);
        ((u128::from(Self::mix(self.0)) * bound as u128) >> 64) as usize
    }
}
