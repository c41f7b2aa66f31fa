//! A convolution and its adjoint as lists of matrix products over pixels, laid out once for a shape.

use super::geometry::Geometry;
use super::tile::{self, Outer, Packed, Product, Segment};
use super::tiles::{Pixel, Tiles};

/// How the images of a group of samples lie in memory: rows of pixels, with zeros around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    /// Rows, columns and channels without the zeros.
    pub(super) size: [usize; 3],
    /// Where the first pixel lies.
    origin: usize,
    /// From one row to the next.
    row: usize,
    /// From one sample to the next.
    pub(super) len: usize,
}

impl Format {
    /// Images without zeros around them.
    pub(super) fn dense(size: [usize; 3]) -> Self {
        Self::padded(size, [0, 0], [size[0], size[1]])
    }

    /// Images in the middle of `outer` rows and columns, with `before` zeros above and to the left.
    fn padded(size: [usize; 3], before: [usize; 2], outer: [usize; 2]) -> Self {
        let row = outer[1] * size[2];
        Self {
            size,
            origin: before[0] * row + before[1] * size[2],
            row,
            len: outer[0] * row,
        }
    }

    /// The big side with every pixel that a kernel placed on the small side touches.
    pub(super) fn big(g: &Geometry) -> Self {
        Self::padded(g.big, g.pad, g.padded_big())
    }

    /// The small side with the zeros that the adjoint needs.
    pub(super) fn small(g: &Geometry) -> Self {
        Self::padded(g.small, g.halo(), g.padded_small())
    }

    /// The position of a pixel of the first sample.
    fn at(&self, y: usize, x: usize) -> usize {
        self.origin + y * self.row + x * self.size[2]
    }

    /// The rows of every sample in `values`.
    pub(super) fn rows<'a>(&self, values: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        let (format, width) = (*self, self.size[1] * self.size[2]);
        values.chunks_exact(self.len.max(1)).flat_map(move |image| {
            (0..format.size[0]).map(move |y| &image[format.at(y, 0)..format.at(y, 0) + width])
        })
    }

    /// The rows of every sample, to be written.
    pub(super) fn rows_mut<'a>(
        &self,
        values: &'a mut [f32],
    ) -> impl Iterator<Item = &'a mut [f32]> {
        let (format, width) = (*self, self.size[1] * self.size[2]);
        values
            .chunks_exact_mut(self.len.max(1))
            .flat_map(move |image| {
                image[format.origin..]
                    .chunks_mut(format.row.max(1))
                    .take(format.size[0])
                    .map(move |row| &mut row[..width])
            })
    }

    /// Writes dense images into this format; the zeros around them are left as they are.
    pub(super) fn fill(&self, dense: &[f32], to: &mut [f32]) {
        let width = (self.size[1] * self.size[2]).max(1);
        for (from, to) in dense.chunks_exact(width).zip(self.rows_mut(to)) {
            to.copy_from_slice(from);
        }
    }

    /// Adds up every channel over all pixels.
    pub(super) fn channel_sums(&self, values: &[f32], sums: &mut [f32]) {
        // Whole rows first: they are long enough for vectors where a pixel is not.
        let mut row_sums = vec![0.0_f32; self.size[1] * self.size[2]];
        for row in self.rows(values) {
            for (sum, value) in row_sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for pixel in row_sums.chunks_exact(self.size[2].max(1)) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
    }
}

/// Pixels that see the same kernel taps.
#[derive(Debug, Clone)]
struct Set {
    segments: Vec<Segment>,
    tiles: Tiles,
    /// The kernel position and the output pixel of the group behind each block of rows of the weights.
    taps: Vec<Vec<Tap>>,
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
        let lowest = vertical.iter().map(|t| t.1).min().unwrap_or(0);
        // Taps lie at most a halo before the image, so no position is negative.
        let origin = from.at(0, 0) as isize + lowest * from.row as isize + first * cs as isize;
        let mut segments = Vec::new();
        let mut set_taps = Vec::new();
        for (ky, dy) in vertical {
            segments.push(Segment {
                source: (dy - lowest).unsigned_abs() * from.row,
                row: set_taps.len() * cs,
                len: width * cs,
            });
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
        let tiles = Tiles::new(
            [(rows - py).div_ceil(stride), (columns - px).div_ceil(step)],
            |y| Pixel {
                source: origin.unsigned_abs() + y * from.row,
                out: to.at(py + y * stride, px),
                mask: mask.at(py + y * stride, px),
            },
            Pixel {
                source: covered * cs,
                out: step * cb,
                mask: step * cb,
            },
            samples_step(from, to, mask),
            samples,
        );
        Self {
            segments,
            tiles,
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
        let [rows, columns, cs] = g.small;
        let cb = g.big[2];
        let group = group(cs, columns, 1);
        // The first tap of pixel (0, 0) lies `pad` before the image.
        let start = from.at(0, 0) - g.pad[0] * from.row - g.pad[1] * cb;
        let width = g.kernel[1] + (group - 1) * g.stride;
        let segments = (0..g.kernel[0])
            .map(|ky| Segment {
                source: ky * from.row,
                row: ky * width * cb,
                len: width * cb,
            })
            .collect();
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
        let tiles = Tiles::new(
            [rows, columns / group],
            |y| Pixel {
                source: start + y * g.stride * from.row,
                out: to.at(y, 0),
                mask: mask.at(y, 0),
            },
            Pixel {
                source: group * g.stride * cb,
                out: group * cs,
                mask: group * cs,
            },
            samples_step(from, to, mask),
            samples,
        );
        Self {
            sets: vec![Set {
                segments,
                tiles,
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
            Product {
                source,
                tiles: &set.tiles,
                samples,
                segments: &set.segments,
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

/// The gradient of a kernel from both sides of its convolution.
#[derive(Debug, Clone)]
pub(super) struct WeightRoute {
    segments: Vec<Segment>,
    tiles: Tiles,
    columns: usize,
}

impl WeightRoute {
    /// The route for groups of up to `samples` samples.
    pub(super) fn new(g: &Geometry, big: Format, small: Format, samples: usize) -> Self {
        let [rows, columns, cs] = g.small;
        let cb = g.big[2];
        let start = big.at(0, 0) - g.pad[0] * big.row - g.pad[1] * cb;
        let run = g.kernel[1] * cb;
        let segments = (0..g.kernel[0])
            .map(|ky| Segment {
                source: ky * big.row,
                row: ky * run,
                len: run,
            })
            .collect();
        let tiles = Tiles::new(
            [rows, columns],
            |y| Pixel {
                source: start + y * g.stride * big.row,
                out: small.at(y, 0),
                mask: 0,
            },
            Pixel {
                source: g.stride * cb,
                out: cs,
                mask: 0,
            },
            samples_step(big, small, Format::dense([0, 0, 0])),
            samples,
        );
        Self {
            segments,
            tiles,
            columns: cs,
        }
    }

    /// Adds the gradient of `samples` samples to `out`.
    pub(super) fn run(&self, samples: usize, big: &[f32], small: &[f32], out: &mut [f32]) {
        Outer {
            source: big,
            tiles: &self.tiles,
            samples,
            segments: &self.segments,
            gradient: small,
            columns: self.columns,
            out,
        }
        .run();
    }
}
