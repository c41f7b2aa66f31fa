//! The two register-tiled inner loops that all convolutions are made of.
//!
//! Every value is accumulated by fused multiply-add in one fixed order, lane by lane, so the bits do not depend on the
//! width of the vectors either.

use pulp::{Arch, Simd, WithSimd};

use super::tiles::{Pixel, Tiles};

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
fn lanes(arch: Arch) -> usize {
    arch.dispatch(Lanes)
}

/// Vectors side by side in a panel of weights.
const WIDE: usize = 2;
/// Pixels of a tile on a wide panel where there are 32 registers, and where there are fewer.
const WIDE_PIXELS: usize = 8;
const FEW_PIXELS: usize = 4;
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
    /// No weights yet, for this instruction set.
    pub(super) fn empty(arch: Arch) -> Self {
        Self {
            values: Vec::new(),
            rows: 0,
            columns: 0,
            arch,
            lanes: lanes(arch),
        }
    }

    /// Packs other weights into the same memory.
    pub(super) fn pack(
        &mut self,
        rows: usize,
        columns: usize,
        mut fill: impl FnMut(usize, &mut [f32]),
    ) {
        let lanes = self.lanes;
        let padded = columns.next_multiple_of(lanes);
        (self.rows, self.columns) = (rows, columns);
        self.values.resize(rows * padded, 0.0);
        let panel = WIDE * lanes;
        let mut line = vec![0.0; padded];
        for row in 0..rows {
            fill(row, &mut line[..columns]);
            for (index, part) in line.chunks(panel).enumerate() {
                let start = index * panel * rows + row * part.len();
                self.values[start..start + part.len()].copy_from_slice(part);
            }
        }
    }
}

/// `out[pixel, :] = bias + Σ source[pixel …] · weights`, over all segments.
#[derive(Debug)]
pub(super) struct Product<'a> {
    pub(super) source: &'a [f32],
    pub(super) tiles: &'a Tiles,
    pub(super) samples: usize,
    pub(super) segments: &'a [Segment],
    pub(super) weights: &'a Packed,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) relu: bool,
    /// Values whose sign decides: where one is 0 or below, the output is 0. This is the gradient of a ReLU; what is no number
    /// lets it pass, so that it is noticed.
    pub(super) mask: Option<&'a [f32]>,
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
        let lanes = self.weights.lanes;
        let vectors = self.weights.columns.div_ceil(lanes);
        let weights = self.weights;
        let mut first = 0;
        while first < vectors {
            let width = WIDE.min(vectors - first);
            let start = weights.rows * first * lanes;
            let panel = &weights.values[start..start + weights.rows * width * lanes];
            let column = first * lanes;
            if width < WIDE {
                product_panel::<S, NARROW_PIXELS, 1>(simd, &mut self, panel, column);
            } else if S::REGISTER_COUNT >= 32 {
                product_panel::<S, WIDE_PIXELS, WIDE>(simd, &mut self, panel, column);
            } else {
                product_panel::<S, FEW_PIXELS, WIDE>(simd, &mut self, panel, column);
            }
            first += width;
        }
    }
}

#[inline(always)]
fn product_panel<S: Simd, const P: usize, const V: usize>(
    simd: S,
    job: &mut Product<'_>,
    panel: &[f32],
    column: usize,
) {
    let (rows, _) = S::as_simd_f32s(panel).0.as_chunks::<V>();
    let columns = job.weights.columns;
    let mut start = [simd.splat_f32s(0.0); V];
    if let Some(bias) = job.bias {
        for (v, start) in start.iter_mut().enumerate() {
            let from = (column + v * S::F32_LANES).min(columns);
            *start = simd.partial_load_f32s(&bias[from..columns.min(from + S::F32_LANES)]);
        }
    }
    let whole = column + V * S::F32_LANES <= columns;
    let tiles = job.tiles;
    for sample in 0..job.samples {
        let origin = tiles.sample.times(sample);
        for run in &tiles.runs {
            let mut first = run.first.plus(origin);
            for _ in 0..run.count / P {
                let mut at = [first; P];
                for (p, at) in at.iter_mut().enumerate() {
                    *at = first.plus(tiles.step.times(p));
                }
                // The compiler would step from pixel to pixel in every row of the weights, one addition after the other,
                // which takes longer than the products.
                let at = std::hint::black_box(at);
                product_tile::<S, P, V>(simd, job, rows, start, column, whole, &at, P);
                first = first.plus(tiles.step.times(P));
            }
        }
    }
    for pixels in job.tiles.rest(job.samples).chunks(P) {
        let mut at = [pixels[0]; P];
        at[..pixels.len()].copy_from_slice(pixels);
        product_tile::<S, P, V>(simd, job, rows, start, column, whole, &at, pixels.len());
    }
}

#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds over register arrays unroll; iterators over them do not always"
)]
#[expect(clippy::too_many_arguments, reason = "an inlined part of one loop")]
fn product_tile<S: Simd, const P: usize, const V: usize>(
    simd: S,
    job: &mut Product<'_>,
    rows: &[[S::f32s; V]],
    start: [S::f32s; V],
    column: usize,
    whole: bool,
    at: &[Pixel; P],
    count: usize,
) {
    let mut sums = [start; P];
    for segment in job.segments {
        let weights = &rows[segment.row..segment.row + segment.len];
        let mut runs: [&[f32]; P] = [&[]; P];
        for p in 0..P {
            let from = at[p].source + segment.source;
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
    let zero = simd.splat_f32s(0.0);
    let columns = job.weights.columns;
    for p in 0..P {
        if p >= count {
            break;
        }
        for v in 0..V {
            let from = (column + v * S::F32_LANES).min(columns);
            let to = columns.min(from + S::F32_LANES);
            let mut sum = sums[p][v];
            if job.relu {
                // Not the maximum with 0: on some machines that turns NaN into 0 and hides it.
                sum = simd.select_f32s(simd.less_than_f32s(sum, zero), zero, sum);
            }
            if let Some(mask) = job.mask {
                let mask = &mask[at[p].mask + from..at[p].mask + to];
                let mask = match whole {
                    true => S::as_simd_f32s(mask).0[0],
                    false => simd.partial_load_f32s(mask),
                };
                sum = simd.select_f32s(simd.less_than_or_equal_f32s(mask, zero), zero, sum);
            }
            let out = &mut job.out[at[p].out + from..at[p].out + to];
            match whole {
                true => S::as_mut_simd_f32s(out).0[0] = sum,
                false => simd.partial_store_f32s(out, sum),
            }
        }
    }
}

/// `out[row, :] += Σ over pixels of source[pixel + row] · gradient[pixel, :]`: the gradient of the weights.
#[derive(Debug)]
pub(super) struct Outer<'a> {
    pub(super) source: &'a [f32],
    /// `source`: where the pixel's patch begins; `out`: its values in `gradient`.
    pub(super) tiles: &'a Tiles,
    pub(super) samples: usize,
    pub(super) segments: &'a [Segment],
    pub(super) gradient: &'a [f32],
    /// Values of one pixel of `gradient` and of one row of `out`.
    pub(super) columns: usize,
    pub(super) out: &'a mut [f32],
}

/// Rows of a tile of the weight gradient.
const MANY_ROWS: usize = 12;
const SOME_ROWS: usize = 6;

impl Outer<'_> {
    pub(super) fn run(self) {
        arch(self.columns).dispatch(self);
    }
}

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = S::F32_LANES;
        let mut first = 0;
        while first < self.columns {
            let left = self.columns - first;
            if left >= 2 * lanes {
                outer_columns::<S, SOME_ROWS, 2, true>(simd, &mut self, first);
                first += 2 * lanes;
            } else if left >= lanes {
                outer_columns::<S, MANY_ROWS, 1, true>(simd, &mut self, first);
                first += lanes;
            } else {
                outer_columns::<S, MANY_ROWS, 1, false>(simd, &mut self, first);
                first = self.columns;
            }
        }
    }
}

#[inline(always)]
fn outer_columns<S: Simd, const R: usize, const V: usize, const WHOLE: bool>(
    simd: S,
    job: &mut Outer<'_>,
    first: usize,
) {
    for segment in job.segments {
        let mut row = 0;
        while row + R <= segment.len {
            outer_tile::<S, R, V, WHOLE>(simd, job, *segment, row, first);
            row += R;
        }
        while row + 4 <= segment.len {
            outer_tile::<S, 4, V, WHOLE>(simd, job, *segment, row, first);
            row += 4;
        }
        while row < segment.len {
            outer_tile::<S, 1, V, WHOLE>(simd, job, *segment, row, first);
            row += 1;
        }
    }
}

#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "constant bounds over register arrays unroll; iterators over them do not always"
)]
fn outer_tile<S: Simd, const R: usize, const V: usize, const WHOLE: bool>(
    simd: S,
    job: &mut Outer<'_>,
    segment: Segment,
    row: usize,
    first: usize,
) {
    let lanes = S::F32_LANES;
    let width = if WHOLE {
        V * lanes
    } else {
        job.columns - first
    };
    let offset = segment.source + row;
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    let step = job.tiles.step;
    for (at, count) in job.tiles.all_runs(job.samples) {
        let (mut from, mut to) = (at.source + offset, at.out + first);
        for _ in 0..count {
            let values = &job.source[from..from + R];
            let vectors = &job.gradient[to..to + width];
            let mut gradient = [simd.splat_f32s(0.0); V];
            if WHOLE {
                let vectors = &S::as_simd_f32s(vectors).0[..V];
                gradient.copy_from_slice(vectors);
            } else {
                gradient[0] = simd.partial_load_f32s(vectors);
            }
            for r in 0..R {
                let value = simd.splat_f32s(values[r]);
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(value, gradient[v], sums[r][v]);
                }
            }
            from += step.source;
            to += step.out;
        }
    }
    for r in 0..R {
        let from = (segment.row + row + r) * job.columns + first;
        let out = &mut job.out[from..from + width];
        if WHOLE {
            let out = &mut S::as_mut_simd_f32s(out).0[..V];
            for v in 0..V {
                out[v] = simd.add_f32s(out[v], sums[r][v]);
            }
        } else {
            let old = simd.partial_load_f32s(out);
            simd.partial_store_f32s(out, simd.add_f32s(old, sums[r][0]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_do_not_depend_on_the_width_of_the_vectors() {
        for columns in [1, 4, 8, 9, 16, 31, 32, 64] {
            let (rows, count) = (37, 29);
            let (source, weights) = (random(rows + count), random(rows * columns));
            let bias = random(columns);
            let step = Pixel {
                source: 1,
                out: columns,
                mask: columns,
            };
            let tiles = Tiles::new([1, count], |_| Pixel::default(), step, Pixel::default(), 1);
            let segments = [Segment {
                source: 0,
                row: 0,
                len: rows,
            }];
            let mask = random(count * columns);
            let product = |arch| {
                let mut packed = Packed::empty(arch);
                packed.pack(rows, columns, |row, line| {
                    line.copy_from_slice(&weights[row * columns..(row + 1) * columns]);
                });
                let mut out = vec![0.0; count * columns];
                Product {
                    source: &source,
                    tiles: &tiles,
                    samples: 1,
                    segments: &segments,
                    weights: &packed,
                    bias: Some(&bias),
                    relu: true,
                    mask: Some(&mask),
                    out: &mut out,
                }
                .run();
                out
            };
            let gradient = random(count * columns);
            let outer = |arch: Arch| {
                let mut out = vec![0.0; rows * columns];
                arch.dispatch(Outer {
                    source: &source,
                    tiles: &tiles,
                    samples: 1,
                    segments: &segments,
                    gradient: &gradient,
                    columns,
                    out: &mut out,
                });
                out
            };
            assert!(product(Arch::Scalar).iter().any(|&v| v > 0.0));
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
