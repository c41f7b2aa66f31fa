//! The moves of several nodes at once, each in its own lane of the vectors.

use super::power::{each, powers};

/// Nodes that move side by side; no number depends on it.
pub(super) const LANES: usize = 16;
/// Random nodes that push at once.
const PUSHES: usize = 7;
/// The largest move along one axis, before the step's factor.
pub(super) const CLIP: f32 = 4.0;
/// Keeps the push of two nodes at one place finite.
const SOFT: f32 = 0.001;
/// Keeps a squared distance positive; far below what a map resolves.
pub(super) const TINY: f32 = 1e-30;

type Vector = [f32; LANES];

/// What the moves of one epoch go by.
pub(super) struct Rules {
    pub(super) step: f32,
    /// The key of the epoch's random numbers.
    pub(super) key: u64,
    /// How often a pull that is due moves the node.
    pub(super) pulls: usize,
    /// Random nodes that push for each pull.
    pub(super) pushes: usize,
    pub(super) repulsion: f32,
    pub(super) a: f32,
    pub(super) b: f32,
}

/// The nodes that move.
pub(super) struct Lanes<const D: usize> {
    /// Which of the other nodes each is; one that is none of them has the largest number.
    nodes: [u32; LANES],
    positions: [Vector; D],
    draws: Draws,
}

impl<const D: usize> Lanes<D> {
    /// Lanes without nodes: their moves are computed and are of no account.
    #[inline(always)]
    pub(super) fn idle() -> Self {
        Self {
            nodes: [u32::MAX; LANES],
            positions: [[0.0; LANES]; D],
            draws: Draws([0; LANES]),
        }
    }

    /// Sets a node on a lane; `among` says whether it is one of the others, and so does not push itself.
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        lane: usize,
        node: u32,
        among: bool,
        position: &[f32; D],
        rules: &Rules,
    ) {
        self.nodes[lane] = if among { node } else { u32::MAX };
        self.draws.0[lane] = Draws::start(rules.key, u64::from(node));
        for (axis, &place) in self.positions.iter_mut().zip(position) {
            axis[lane] = place;
        }
    }

    #[inline(always)]
    pub(super) fn position(&self, lane: usize) -> [f32; D] {
        let mut position = [0.0; D];
        for (place, axis) in position.iter_mut().zip(&self.positions) {
            *place = axis[lane];
        }
        position
    }

    /// One of the others pulls on each lane, and random ones push.
    #[inline(always)]
    pub(super) fn act(&mut self, targets: &[u32; LANES], others: &[[f32; D]], rules: &Rules) {
        let target = gather(others, targets);
        for _ in 1..rules.pulls {
            let mut moves = [[0.0; LANES]; D];
            self.pull(&target, rules, &mut moves);
            self.step(&moves, rules);
        }
        let (mut left, mut pulled) = (rules.pushes, false);
        while left > 0 || !pulled {
            let count = left.min(PUSHES);
            let mut moves = [[0.0; LANES]; D];
            for _ in 0..count {
                self.push(others, rules, &mut moves);
            }
            if !pulled {
                self.pull(&target, rules, &mut moves);
                pulled = true;
            }
            self.step(&moves, rules);
            left -= count;
        }
    }

    #[inline(always)]
    fn pull(&self, target: &[Vector; D], rules: &Rules, moves: &mut [Vector; D]) {
        let (difference, square) = self.difference(target);
        let raised = powers(square, rules.b);
        let above = each(|lane| -2.0 * rules.a * rules.b * raised[lane]);
        let below = each(|lane| square[lane] * (1.0 + rules.a * raised[lane]));
        add(&difference, above, below, moves);
    }

    #[inline(always)]
    fn push(&mut self, others: &[[f32; D]], rules: &Rules, moves: &mut [Vector; D]) {
        let drawn = self.draws.below(others.len() as u32);
        let (difference, square) = self.difference(&gather(others, &drawn));
        let raised = powers(square, rules.b);
        let strength = 2.0 * rules.repulsion * rules.b;
        // A node does not push itself.
        let above = each(|lane| {
            if drawn[lane] == self.nodes[lane] {
                0.0
            } else {
                strength
            }
        });
        let below = each(|lane| (SOFT + square[lane]) * (1.0 + rules.a * raised[lane]));
        add(&difference, above, below, moves);
    }

    /// The way from `places` to the nodes, and its square.
    #[inline(always)]
    fn difference(&self, places: &[Vector; D]) -> ([Vector; D], Vector) {
        let mut difference = [[0.0; LANES]; D];
        let mut square = [0.0; LANES];
        for axis in 0..D {
            let along: Vector = each(|lane| self.positions[axis][lane] - places[axis][lane]);
            square = each(|lane| square[lane] + along[lane] * along[lane]);
            difference[axis] = along;
        }
        (difference, each(|lane| square[lane] + TINY))
    }

    #[inline(always)]
    fn step(&mut self, moves: &[Vector; D], rules: &Rules) {
        for (position, moves) in self.positions.iter_mut().zip(moves) {
            *position = each(|lane| position[lane] + rules.step * moves[lane]);
        }
    }
}

/// The places of nodes, by axis.
#[inline(always)]
fn gather<const D: usize>(others: &[[f32; D]], nodes: &[u32; LANES]) -> [Vector; D] {
    let mut places = [[0.0; LANES]; D];
    for (lane, &node) in nodes.iter().enumerate() {
        let place = others[node as usize];
        for axis in 0..D {
            places[axis][lane] = place[axis];
        }
    }
    places
}

/// Adds `above / below` times the difference, within bounds, to the moves.
#[inline(always)]
fn add<const D: usize>(
    difference: &[Vector; D],
    above: Vector,
    below: Vector,
    moves: &mut [Vector; D],
) {
    let strength: Vector = each(|lane| above[lane] / below[lane]);
    for (moves, difference) in moves.iter_mut().zip(difference) {
        let wanted: Vector = each(|lane| strength[lane] * difference[lane]);
        let wanted: Vector = each(|lane| {
            if wanted[lane] > CLIP {
                CLIP
            } else {
                wanted[lane]
            }
        });
        *moves = each(|lane| {
            moves[lane]
                + if wanted[lane] < -CLIP {
                    -CLIP
                } else {
                    wanted[lane]
                }
        });
    }
}

/// Random numbers of each lane's node in one epoch: SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195)
/// keyed by a number that the seed derives for the epoch, since setting up a stream for every node would cost more than
/// its moves.
struct Draws([u64; LANES]);

impl Draws {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

    #[inline(always)]
    fn start(key: u64, node: u64) -> u64 {
        Self::mix(key ^ Self::mix(node.wrapping_add(Self::GAMMA)))
    }

    #[inline(always)]
    fn mix(mut z: u64) -> u64 {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whole numbers in `0..bound`; the bias, `bound / 2⁶⁴`, is of no account here.
    #[inline(always)]
    fn below(&mut self, bound: u32) -> [u32; LANES] {
        let bound = u64::from(bound);
        self.0 = each(|lane| self.0[lane].wrapping_add(Self::GAMMA));
        let drawn: [u64; LANES] = each(|lane| Self::mix(self.0[lane]));
        // The upper half of the product of 64 by 32 bits, in halves that vectors can multiply.
        each(|lane| {
            let (high, low) = (drawn[lane] >> 32, drawn[lane] & 0xffff_ffff);
            ((high * bound + ((low * bound) >> 32)) >> 32) as u32
        })
    }
}
