//! The two register-tiled inner loops that all convolutions are made of.
//!
//! Every value is accumulated by fused multiply-add in one fixed order, lane by lane, so the bits do not depend on the
//! width of the vectors either.

use pulp::{Arch, Simd, WithSimd};

/// A run of consecutive values that one output pixel sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// Where the run begins, counted from the pixel's own position in the source.
    pub(super) source: usize,
    /// The row of the weights that belongs to its first value.
    pub(super) row: usize,
    /// Its length.
    pub(super) len: usize,
}

/// Where an output pixel reads and writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pixel {
    /// Position in the source.
    pub(super) source: usize,
    /// Position in the output.
    pub(super) out: usize,
}

/// The widest instruction set that `columns` values fill to at least one vector.
pub(super) fn arch(columns: usize) -> Arch {
    #[cfg(target_arch = "x86_64")]
    if columns <= 8
        && let Some(simd) = pulp::x86::V3::try_new()
    {
        return Arch::V3(simd);
    }
    let _ = columns;
    Arch::new()
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// How many values a vector of `arch` holds.
pub(super) fn lanes(arch: Arch) -> usize {
    arch.dispatch(Lanes)
}

/// Vectors side by side in a panel of weights.
const WIDE: usize = 2;
/// Pixels of a tile on a wide panel: 12 accumulators, which AVX2's 16 registers hold.
const WIDE_PIXELS: usize = 6;
/// Pixels of a tile on a single vector.
const NARROW_PIXELS: usize = 8;

/// Weights `[rows, columns]` cut into panels of whole vectors, padded with zeros.
#[derive(Debug)]
pub(super) struct Packed {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    arch: Arch,
    lanes: usize,
}

impl Packed {
    /// Packs the matrix whose entry is `value(row, column)`.
    pub(super) fn new(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        Self::for_arch(arch(columns), rows, columns, value)
    }

    fn for_arch(
        arch: Arch,
        rows: usize,
        columns: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let lanes = lanes(arch);
        let vectors = columns.div_ceil(lanes);
        let mut values = Vec::with_capacity(rows * vectors * lanes);
        let mut first = 0;
        while first < vectors {
            let width = WIDE.min(vectors - first);
            for row in 0..rows {
                for column in first * lanes..(first + width) * lanes {
                    values.push(if column < columns {
                        value(row, column)
                    } else {
                        0.0
                    });
                }
            }
            first += width;
        }
        Self {
            values,
            rows,
            columns,
            arch,
            lanes,
        }
    }
}

/// `out[pixel, :] = bias + Σ source[pixel …] · weights`, over all segments.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub(super) source: &'a [f32],
    pub(super) pixels: &'a [Pixel],
    pub(super) segments: &'a [Segment],
    pub(super) weights: &'a Packed,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) relu: bool,
    pub(super) out: &'a mut [f32],
}

impl Product<'_> {
    pub(super) fn run(self) {
        self.weights.arch.dispatch(self);
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if self.pixels.is_empty() {
            return;
        }
        let lanes = self.weights.lanes;
        let vectors = self.weights.columns.div_ceil(lanes);
        let weights = self.weights;
        let mut first = 0;
        while first < vectors {
            let width = WIDE.min(vectors - first);
            let start = weights.rows * first * lanes;
            let panel = &weights.values[start..start + weights.rows * width * lanes];
            if width == WIDE {
                product_panel::<S, WIDE_PIXELS, WIDE>(simd, &mut self, panel, first * lanes);
            } else {
                product_panel::<S, NARROW_PIXELS, 1>(simd, &mut self, panel, first * lanes);
            }
            first += width;
        }
    }
}

#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds over register arrays unroll; iterators over them do not always"
)]
fn product_panel<S: Simd, const P: usize, const V: usize>(
    simd: S,
    job: &mut Product<'_>,
    panel: &[f32],
    column: usize,
) {
    let lanes = S::F32_LANES;
    let (rows, _) = S::as_simd_f32s(panel).0.as_chunks::<V>();
    let columns = job.weights.columns;
    let mut start = [simd.splat_f32s(0.0); V];
    if let Some(bias) = job.bias {
        for v in 0..V {
            let from = (column + v * lanes).min(columns);
            start[v] = simd.partial_load_f32s(&bias[from..columns.min(from + lanes)]);
        }
    }
    let zero = simd.splat_f32s(0.0);
    for tile in job.pixels.chunks(P) {
        let mut at = [tile[0].source; P];
        for (at, pixel) in at.iter_mut().zip(tile) {
            *at = pixel.source;
        }
        let mut sums = [start; P];
        for segment in job.segments {
            let weights = &rows[segment.row..segment.row + segment.len];
            let mut runs: [&[f32]; P] = [&[]; P];
            for p in 0..P {
                let from = at[p] + segment.source;
                runs[p] = &job.source[from..from + segment.len];
            }
            for (i, weight) in weights.iter().enumerate() {
                for p in 0..P {
                    let value = simd.splat_f32s(runs[p][i]);
                    for v in 0..V {
                        sums[p][v] = simd.mul_add_f32s(value, weight[v], sums[p][v]);
                    }
                }
            }
        }
        for p in 0..P {
            let Some(pixel) = tile.get(p) else { break };
            for v in 0..V {
                let from = (column + v * lanes).min(columns);
                let to = columns.min(from + lanes);
                let mut sum = sums[p][v];
                if job.relu {
                    // Not the maximum with 0: on some machines that turns NaN into 0 and hides it.
                    sum = simd.select_f32s(simd.less_than_f32s(sum, zero), zero, sum);
                }
                simd.partial_store_f32s(&mut job.out[pixel.out + from..pixel.out + to], sum);
            }
        }
    }
}

/// `out[row, :] += Σ over pixels of source[pixel + row] · gradient[pixel, :]`: the gradient of the weights.
#[derive(Debug)]
pub(super) struct Outer<'a> {
    pub(super) source: &'a [f32],
    /// `source`: where the pixel's patch begins; `out`: its vectors in `gradient`, counted in values.
    pub(super) pixels: &'a [Pixel],
    pub(super) segments: &'a [Segment],
    /// Rows of whole vectors.
    pub(super) gradient: &'a [f32],
    pub(super) arch: Arch,
    /// Values of one row of `gradient` and `out`, a multiple of the lanes.
    pub(super) width: usize,
    pub(super) out: &'a mut [f32],
}

/// Rows of a tile of the weight gradient on two vectors, and on one.
const WIDE_ROWS: usize = 6;
const NARROW_ROWS: usize = 12;

impl Outer<'_> {
    pub(super) fn run(self) {
        self.arch.dispatch(self);
    }
}

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let vectors = self.width / S::F32_LANES;
        for index in 0..self.segments.len() {
            let segment = self.segments[index];
            let mut first = 0;
            while first < vectors {
                let width = WIDE.min(vectors - first);
                let mut row = 0;
                if width == WIDE {
                    while row + WIDE_ROWS <= segment.len {
                        outer_tile::<S, WIDE_ROWS, WIDE>(simd, &mut self, segment, row, first);
                        row += WIDE_ROWS;
                    }
                    while row < segment.len {
                        outer_tile::<S, 1, WIDE>(simd, &mut self, segment, row, first);
                        row += 1;
                    }
                } else {
                    while row + NARROW_ROWS <= segment.len {
                        outer_tile::<S, NARROW_ROWS, 1>(simd, &mut self, segment, row, first);
                        row += NARROW_ROWS;
                    }
                    while row < segment.len {
                        outer_tile::<S, 1, 1>(simd, &mut self, segment, row, first);
                        row += 1;
                    }
                }
                first += width;
            }
        }
    }
}

#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds over register arrays unroll; iterators over them do not always"
)]
fn outer_tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    job: &mut Outer<'_>,
    segment: Segment,
    row: usize,
    first: usize,
) {
    let lanes = S::F32_LANES;
    let gradient = S::as_simd_f32s(job.gradient).0;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for pixel in job.pixels {
        let from = pixel.source + segment.source + row;
        let values = &job.source[from..from + R];
        let vector = pixel.out / lanes + first;
        let vectors = &gradient[vector..vector + V];
        for r in 0..R {
            let value = simd.splat_f32s(values[r]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_f32s(value, vectors[v], sums[r][v]);
            }
        }
    }
    for r in 0..R {
        let from = (segment.row + row + r) * job.width + first * lanes;
        let out = S::as_mut_simd_f32s(&mut job.out[from..from + V * lanes]).0;
        for v in 0..V {
            out[v] = simd.add_f32s(out[v], sums[r][v]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_do_not_depend_on_the_width_of_the_vectors() {
        for columns in [1, 4, 8, 9, 16, 31, 64] {
            let (rows, count) = (37, 13);
            let (source, weights) = (random(rows + count), random(rows * columns + 1));
            let bias = random(columns);
            let pixels: Vec<Pixel> = (0..count)
                .map(|i| Pixel {
                    source: i,
                    out: i * columns,
                })
                .collect();
            let segments = [Segment {
                source: 0,
                row: 0,
                len: rows,
            }];
            let product = |arch| {
                let mut out = vec![0.0; count * columns];
                let value = |row: usize, column: usize| weights[row * columns + column];
                Product {
                    source: &source,
                    pixels: &pixels,
                    segments: &segments,
                    weights: &Packed::for_arch(arch, rows, columns, value),
                    bias: Some(&bias),
                    relu: true,
                    out: &mut out,
                }
                .run();
                out
            };
            let outer = |arch| {
                let width = columns.next_multiple_of(16);
                let gradient = &random(count * width);
                let pixels: Vec<Pixel> = (0..count)
                    .map(|i| Pixel {
                        source: i,
                        out: i * width,
                    })
                    .collect();
                let mut out = vec![0.0; rows * width];
                Outer {
                    source: &source,
                    pixels: &pixels,
                    segments: &segments,
                    gradient,
                    arch,
                    width,
                    out: &mut out,
                }
                .run();
                out
            };
            for wide in [Arch::new(), arch(4)] {
                assert_eq!(product(Arch::Scalar), product(wide), "{columns} columns");
                assert_eq!(outer(Arch::Scalar), outer(wide), "{columns} columns");
            }
        }
    }

    fn random(n: usize) -> Vec<f32> {
        let mut stream = phenocoder_core::Seed::new(2).stream("tile", 0);
        (0..n).map(|_| stream.normal() as f32).collect()
    }
}
