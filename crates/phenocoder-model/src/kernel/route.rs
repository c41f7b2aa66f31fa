//! A convolution and its adjoint as lists of matrix products over pixels, laid out once for a shape.

use super::format::Format;
use super::geometry::Geometry;
use super::spans::{Span, spans};
use super::tile::{self, Outer, Packed, Product, Segment};
use super::tiles::{Pixel, Tiles};

/// Output pixels that share their weights.
#[derive(Debug, Clone)]
struct Set {
    parts: Vec<Part>,
    /// The kernel position and the output pixel of the group behind each block of rows of the weights.
    taps: Vec<Vec<Tap>>,
}

/// Pixels that see the same rows of the weights.
#[derive(Debug, Clone)]
struct Part {
    segments: Vec<Segment>,
    tiles: Tiles,
}

/// A kernel entry that acts from a source pixel on a pixel of an output group.
#[derive(Debug, Clone, Copy)]
struct Tap {
    kernel: [usize; 2],
    member: usize,
}

impl Set {
    /// The groups of `members` neighbouring big pixels whose first lies at `phase` modulo the stride.
    fn phase(
        g: &Geometry,
        [from, to, mask]: [Format; 3],
        phase: [usize; 2],
        members: usize,
        samples: usize,
    ) -> Self {
        let [py, px] = phase;
        let [rows, columns, cb] = g.big;
        let (cs, stride) = (g.small[2], g.stride);
        let vertical = taps(py, g.pad[0], g.kernel[0], stride);
        // All (small column, kernel column, member) that meet.
        let horizontal: Vec<(isize, usize, usize)> = (0..members)
            .flat_map(|member| {
                taps(px + member, g.pad[1], g.kernel[1], stride)
                    .into_iter()
                    .map(move |(kx, dx)| (dx, kx, member))
            })
            .collect();
        let first = horizontal.iter().map(|t| t.0).min().unwrap_or(0);
        let last = horizontal.iter().map(|t| t.0).max().unwrap_or(first - 1);
        let width = (last - first + 1).unsigned_abs();
        let mut set_taps = Vec::new();
        for &(ky, _) in &vertical {
            for column in first..=last {
                let here = horizontal.iter().filter(|t| t.0 == column);
                let tap = |&(_, kx, member): &(isize, usize, usize)| Tap {
                    kernel: [ky, kx],
                    member,
                };
                set_taps.push(here.map(tap).collect());
            }
        }
        // A group covers `members / stride` small columns, a single phase one.
        let (step, covered) = match members {
            1 => (stride, 1),
            _ => (members, members / stride),
        };
        let [down, across] = [(rows - py).div_ceil(stride), (columns - px).div_ceil(step)];
        let inside = |at: isize, len: usize| (0..len as isize).contains(&at);
        let down = spans(down, vertical.len(), |y, tap| {
            inside(y as isize + vertical[tap].1, g.small[0])
        });
        let across = match members {
            1 => spans(across, width, |x, tap| {
                inside((x + tap) as isize + first, g.small[1])
            }),
            _ => vec![Span::all(across, width)],
        };
        let part = |(down, across): (&Span, &Span)| {
            let seen = &vertical[down.taps.clone()];
            let lowest = seen.iter().map(|t| t.1).min().unwrap_or(0);
            let left = first + across.taps.start as isize;
            // Taps lie at most a halo before the image, so no position is negative.
            let origin = from.at(down.first, across.first * covered) as isize
                + lowest * from.row as isize
                + left * cs as isize;
            let segments = seen
                .iter()
                .zip(down.taps.clone())
                .map(|(&(_, dy), tap)| Segment {
                    source: (dy - lowest).unsigned_abs() * from.row,
                    row: (tap * width + across.taps.start) * cs,
                    len: across.taps.len() * cs,
                });
            let at = |format: &Format, y: usize| {
                format.at(py + (down.first + y) * stride, px + across.first * step)
            };
            let tiles = Tiles::new(
                [down.len, across.len],
                |y| Pixel {
                    source: origin.unsigned_abs() + y * from.row,
                    out: at(&to, y),
                    mask: at(&mask, y),
                },
                Pixel {
                    source: covered * cs,
                    out: step * cb,
                    mask: step * cb,
                },
                samples_step(from, to, mask),
                samples,
            );
            Part {
                segments: segments.collect(),
                tiles,
            }
        };
        Self {
            parts: pairs(&down, &across).map(part).collect(),
            taps: set_taps,
        }
    }
}

/// A map from images in one format to images in another.
#[derive(Debug, Clone)]
pub(super) struct Route {
    sets: Vec<Set>,
    direction: Direction,
    geometry: Geometry,
    /// Neighbouring output pixels that are computed as one, so that their channels fill a vector.
    group: usize,
}

/// Which way a [`Route`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// The convolution.
    BigToSmall,
    /// Its adjoint, the transposed convolution.
    SmallToBig,
}

impl Direction {
    /// The way back.
    pub(super) fn reversed(self) -> Self {
        match self {
            Self::BigToSmall => Self::SmallToBig,
            Self::SmallToBig => Self::BigToSmall,
        }
    }
}

/// Weights in the order of a [`Route`].
#[derive(Debug)]
pub(super) struct RouteWeights {
    sets: Vec<Packed>,
    bias: Option<Vec<f32>>,
}

/// Values that a group of neighbouring pixels has at most.
///
/// The pixels of a group see each other's taps, with weights of zero: the wider a group, the more of these.
/// Eight values fill a vector of AVX2, which many processors multiply at twice the rate of AVX-512's 16; the number is the same
/// on all machines, so every machine makes the same sums.
const GROUP_COLUMNS: usize = 8;

/// How many neighbouring pixels of `channels` values make a group; their steps of `step` columns must fit the row.
fn group(channels: usize, columns: usize, step: usize) -> usize {
    let mut group = 1;
    while 2 * group * channels <= GROUP_COLUMNS && columns.is_multiple_of(2 * group * step.max(1)) {
        group *= 2;
    }
    group
}

impl Route {
    /// The route for groups of up to `samples` samples; `mask` is the format of what masks the output.
    pub(super) fn new(
        g: &Geometry,
        direction: Direction,
        from: Format,
        to: Format,
        mask: Format,
        samples: usize,
    ) -> Self {
        match direction {
            Direction::BigToSmall => Self::big_to_small(g, from, to, mask, samples),
            Direction::SmallToBig => Self::small_to_big(g, from, to, mask, samples),
        }
    }

    fn big_to_small(g: &Geometry, from: Format, to: Format, mask: Format, samples: usize) -> Self {
        let [_, columns, cs] = g.small;
        let cb = g.big[2];
        let group = group(cs, columns, 1);
        // The first tap of pixel (0, 0) lies `pad` before the image.
        let start = from.at(0, 0) - g.pad[0] * from.row - g.pad[1] * cb;
        let width = g.kernel[1] + (group - 1) * g.stride;
        let taps = (0..g.kernel[0] * width)
            .map(|i| {
                let (ky, column) = (i / width, i % width);
                let reach = |member: usize| column.checked_sub(member * g.stride);
                (0..group)
                    .filter_map(|member| Some((member, reach(member)?)))
                    .filter(|&(_, kx)| kx < g.kernel[1])
                    .map(|(member, kx)| Tap {
                        kernel: [ky, kx],
                        member,
                    })
                    .collect()
            })
            .collect();
        let (down, across) = match group {
            1 => (small_spans(g, 0), small_spans(g, 1)),
            _ => (small_spans(g, 0), vec![Span::all(columns / group, width)]),
        };
        let part = |(down, across): (&Span, &Span)| Part {
            segments: segments(down, across, from.row, width, cb),
            tiles: Tiles::new(
                [down.len, across.len],
                |y| Pixel {
                    source: start
                        + ((down.first + y) * g.stride + down.taps.start) * from.row
                        + (across.first * group * g.stride + across.taps.start) * cb,
                    out: to.at(down.first + y, across.first * group),
                    mask: mask.at(down.first + y, across.first * group),
                },
                Pixel {
                    source: group * g.stride * cb,
                    out: group * cs,
                    mask: group * cs,
                },
                samples_step(from, to, mask),
                samples,
            ),
        };
        Self {
            sets: vec![Set {
                parts: pairs(&down, &across).map(part).collect(),
                taps,
            }],
            direction: Direction::BigToSmall,
            geometry: *g,
            group,
        }
    }

    /// Big pixels are gathered by their position modulo the stride: all pixels of such a phase see the same taps, so
    /// nothing is scattered and no two threads write the same place.
    /// Where channels are few, the phases of a row are computed together.
    fn small_to_big(g: &Geometry, from: Format, to: Format, mask: Format, samples: usize) -> Self {
        let [rows, columns, cb] = g.big;
        let stride = g.stride;
        let members = match cb * stride <= GROUP_COLUMNS && columns.is_multiple_of(stride) {
            true => stride * group(cb * stride, columns, stride),
            false => 1,
        };
        // Without groups every position modulo the stride is a phase; a group holds all of them.
        let starts = if members == 1 { stride.min(columns) } else { 1 };
        let images = [from, to, mask];
        let sets = (0..stride.min(rows))
            .flat_map(|py| (0..starts).map(move |px| [py, px]))
            .map(|phase| Set::phase(g, images, phase, members, samples))
            .collect();
        Self {
            sets,
            direction: Direction::SmallToBig,
            geometry: *g,
            group: members,
        }
    }

    /// Channels of the source and of the output.
    fn channels(&self) -> (usize, usize) {
        let [big, small] = [self.geometry.big[2], self.geometry.small[2]];
        match self.direction {
            Direction::BigToSmall => (big, small),
            Direction::SmallToBig => (small, big),
        }
    }

    /// No weights yet.
    pub(super) fn weights(&self) -> RouteWeights {
        let columns = self.group * self.channels().1;
        let empty = |_: &Set| Packed::empty(tile::arch(columns));
        RouteWeights {
            sets: self.sets.iter().map(empty).collect(),
            bias: None,
        }
    }

    /// Brings a kernel `[kernel rows, kernel columns, big channels, small channels]` and a bias into order.
    pub(super) fn pack(&self, kernel: &[f32], bias: Option<&[f32]>, to: &mut RouteWeights) {
        let (sources, outputs) = self.channels();
        let columns = self.group * outputs;
        let width = self.geometry.kernel[1];
        let [cb, cs] = [self.geometry.big[2], self.geometry.small[2]];
        for (set, packed) in self.sets.iter().zip(&mut to.sets) {
            packed.pack(set.taps.len() * sources, columns, |row, line| {
                let (taps, channel) = (&set.taps[row / sources], row % sources);
                if taps.len() < self.group {
                    line.fill(0.0);
                }
                for tap in taps {
                    let block = (tap.kernel[0] * width + tap.kernel[1]) * cb * cs;
                    let line = &mut line[tap.member * outputs..(tap.member + 1) * outputs];
                    match self.direction {
                        Direction::BigToSmall => {
                            let from = block + channel * cs;
                            line.copy_from_slice(&kernel[from..from + cs]);
                        }
                        Direction::SmallToBig => {
                            let block = &kernel[block + channel..block + cb * cs];
                            for (to, from) in line.iter_mut().zip(block.iter().step_by(cs)) {
                                *to = *from;
                            }
                        }
                    }
                }
            });
        }
        to.bias = bias.map(|bias| bias.repeat(self.group));
    }

    /// Computes the outputs of `samples` samples.
    pub(super) fn run(
        &self,
        weights: &RouteWeights,
        epilogue: Epilogue<'_>,
        samples: usize,
        source: &[f32],
        out: &mut [f32],
    ) {
        for (set, packed) in self.sets.iter().zip(&weights.sets) {
            for part in &set.parts {
                Product {
                    source,
                    tiles: &part.tiles,
                    samples,
                    segments: &part.segments,
                    weights: packed,
                    bias: weights.bias.as_deref(),
                    relu: epilogue.relu,
                    mask: epilogue.mask,
                    out,
                }
                .run();
            }
        }
    }
}

/// What follows the sums.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Epilogue<'a> {
    pub(super) relu: bool,
    pub(super) mask: Option<&'a [f32]>,
}

fn samples_step(from: Format, to: Format, mask: Format) -> Pixel {
    Pixel {
        source: from.len,
        out: to.len,
        mask: mask.len,
    }
}

/// The taps along one axis that a big pixel sees: (kernel position, small position relative to the first pixel's).
fn taps(position: usize, pad: usize, kernel: usize, stride: usize) -> Vec<(usize, isize)> {
    let offset = |k: usize| (position + pad) as isize - k as isize;
    (0..kernel)
        .filter(|&k| offset(k).rem_euclid(stride as isize) == 0)
        .map(|k| (k, offset(k).div_euclid(stride as isize)))
        .collect()
}

/// The kernel taps that the small pixels along one axis see.
fn small_spans(g: &Geometry, axis: usize) -> Vec<Span> {
    spans(g.small[axis], g.kernel[axis], |at, tap| {
        (g.pad[axis]..g.pad[axis] + g.big[axis]).contains(&(at * g.stride + tap))
    })
}

/// The rows of a kernel of `width` columns that small pixels see.
fn segments(down: &Span, across: &Span, row: usize, width: usize, channels: usize) -> Vec<Segment> {
    let segment = |ky: usize| Segment {
        source: (ky - down.taps.start) * row,
        row: (ky * width + across.taps.start) * channels,
        len: across.taps.len() * channels,
    };
    down.taps.clone().map(segment).collect()
}

fn pairs<'a>(down: &'a [Span], across: &'a [Span]) -> impl Iterator<Item = (&'a Span, &'a Span)> {
    down.iter()
        .flat_map(move |down| across.iter().map(move |across| (down, across)))
}

/// The gradient of a kernel from both sides of its convolution.
#[derive(Debug, Clone)]
pub(super) struct WeightRoute {
    parts: Vec<Part>,
    columns: usize,
}

impl WeightRoute {
    /// The route for groups of up to `samples` samples.
    pub(super) fn new(g: &Geometry, big: Format, small: Format, samples: usize) -> Self {
        let (cb, cs) = (g.big[2], g.small[2]);
        let start = big.at(0, 0) - g.pad[0] * big.row - g.pad[1] * cb;
        let part = |(down, across): (&Span, &Span)| Part {
            segments: segments(down, across, big.row, g.kernel[1], cb),
            tiles: Tiles::new(
                [down.len, across.len],
                |y| Pixel {
                    source: start
                        + ((down.first + y) * g.stride + down.taps.start) * big.row
                        + (across.first * g.stride + across.taps.start) * cb,
                    out: small.at(down.first + y, across.first),
                    mask: 0,
                },
                Pixel {
                    source: g.stride * cb,
                    out: cs,
                    mask: 0,
                },
                samples_step(big, small, Format::dense([0, 0, 0])),
                samples,
            ),
        };
        let (down, across) = (small_spans(g, 0), small_spans(g, 1));
        Self {
            parts: pairs(&down, &across).map(part).collect(),
            columns: cs,
        }
    }

    /// Adds the gradient of `samples` samples to `out`.
    pub(super) fn run(&self, samples: usize, big: &[f32], small: &[f32], out: &mut [f32]) {
        for part in &self.parts {
            Outer {
                source: big,
                tiles: &part.tiles,
                samples,
                segments: &part.segments,
                gradient: small,
                columns: self.columns,
                out,
            }
            .run();
        }
    }
}
