//! Convolutions over slices: forward, adjoint and weight gradient.

use rayon::prelude::*;

use super::geometry::Geometry;
use super::tile::{self, Outer, Packed, Pixel, Product, Segment};

/// Copies `[rows, columns, channels]` into the middle of zeros with `width` columns.
fn copy_padded(
    from: &[f32],
    columns: usize,
    to: &mut [f32],
    width: usize,
    [top, left]: [usize; 2],
) {
    // Both are counted in values: `columns` and `width` include the channels.
    to.fill(0.0);
    for (row, values) in from.chunks_exact(columns).enumerate() {
        let start = (top + row) * width + left;
        to[start..start + columns].copy_from_slice(values);
    }
}

/// The convolution: `small[y, x, :] = Σ big[stride·y + ky − pad, …] · kernel[ky, kx]`, then bias and ReLU.
pub(super) fn big_to_small(
    g: &Geometry,
    big: &[f32],
    kernel: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let (big_len, small_len) = (g.big_len(), g.small_len());
    let samples = big.len().checked_div(big_len).unwrap_or(0);
    let mut small = vec![0.0; samples * small_len];
    if small.is_empty() {
        return small;
    }
    let [cb, cs] = [g.big[2], g.small[2]];
    let [ph, pw] = g.padded_big();
    let padded = ph * pw * cb;
    let run = g.kernel[1] * cb;
    let weights = Packed::new(g.kernel[0] * run, cs, |row, column| {
        kernel[row * cs + column]
    });
    let segments = rows_of_big(g, pw);
    let chunk = g.samples_per_chunk();
    let pixels = pixels_of_big(g, chunk, padded, pw, small_len, cs);
    let per_sample = g.small[0] * g.small[1];
    small
        .par_chunks_mut(chunk * small_len)
        .zip(big.par_chunks(chunk * big_len))
        .for_each_init(
            || vec![0.0; chunk * padded],
            |scratch, (out, big)| {
                for (from, to) in big
                    .chunks_exact(big_len)
                    .zip(scratch.chunks_exact_mut(padded))
                {
                    copy_padded(from, g.big[1] * cb, to, pw * cb, [g.pad[0], g.pad[1] * cb]);
                }
                let samples = out.len() / small_len;
                Product {
                    source: scratch,
                    pixels: &pixels[..samples * per_sample],
                    segments: &segments,
                    weights: &weights,
                    bias,
                    relu,
                    out,
                }
                .run();
            },
        );
    small
}

/// The kernel's rows on the padded big side: one run per kernel row.
fn rows_of_big(g: &Geometry, padded_width: usize) -> Vec<Segment> {
    let run = g.kernel[1] * g.big[2];
    let segment = |ky: usize| Segment {
        source: ky * padded_width * g.big[2],
        row: ky * run,
        len: run,
    };
    (0..g.kernel[0]).map(segment).collect()
}

/// For every small pixel of a chunk of samples: where its patch begins on the padded big side, and its own position.
fn pixels_of_big(
    g: &Geometry,
    chunk: usize,
    padded: usize,
    padded_width: usize,
    out_len: usize,
    out_width: usize,
) -> Vec<Pixel> {
    let mut pixels = Vec::with_capacity(chunk * g.small[0] * g.small[1]);
    for sample in 0..chunk {
        for y in 0..g.small[0] {
            for x in 0..g.small[1] {
                pixels.push(Pixel {
                    source: sample * padded + (y * padded_width + x) * g.stride * g.big[2],
                    out: sample * out_len + (y * g.small[1] + x) * out_width,
                });
            }
        }
    }
    pixels
}

/// The big pixels that share the kernel taps they see.
struct Phase {
    segments: Vec<Segment>,
    pixels: Vec<Pixel>,
    per_sample: usize,
}

/// The adjoint of [`big_to_small`], the transposed convolution; then bias and ReLU.
///
/// Big pixels are gathered by their position modulo the stride: all pixels of such a phase see the same taps, so nothing is
/// scattered and no two threads write the same place.
pub(super) fn small_to_big(
    g: &Geometry,
    small: &[f32],
    kernel: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let (big_len, small_len) = (g.big_len(), g.small_len());
    let samples = small.len().checked_div(small_len).unwrap_or(0);
    let mut big = vec![0.0; samples * big_len];
    if big.is_empty() {
        return big;
    }
    let [cb, cs] = [g.big[2], g.small[2]];
    let halo = g.halo();
    let [ph, pw] = g.padded_small();
    let padded = ph * pw * cs;
    // Rows are (tap, small channel), columns the big channels.
    let weights = Packed::new(g.kernel[0] * g.kernel[1] * cs, cb, |row, column| {
        kernel[(row / cs * cb + column) * cs + row % cs]
    });
    let chunk = g.samples_per_chunk();
    let phases = phases(g, chunk, padded, pw);
    big.par_chunks_mut(chunk * big_len)
        .zip(small.par_chunks(chunk * small_len))
        .for_each_init(
            || vec![0.0; chunk * padded],
            |scratch, (out, small)| {
                for (from, to) in small
                    .chunks_exact(small_len)
                    .zip(scratch.chunks_exact_mut(padded))
                {
                    copy_padded(from, g.small[1] * cs, to, pw * cs, [halo[0], halo[1] * cs]);
                }
                let samples = out.len() / big_len;
                for phase in &phases {
                    Product {
                        source: scratch,
                        pixels: &phase.pixels[..samples * phase.per_sample],
                        segments: &phase.segments,
                        weights: &weights,
                        bias,
                        relu,
                        out,
                    }
                    .run();
                }
            },
        );
    big
}

/// The taps along one axis that a big pixel of `phase` sees: (kernel position, small position of big pixel `phase`).
fn taps(phase: usize, pad: usize, kernel: usize, stride: usize) -> Vec<(usize, isize)> {
    let offset = |k: usize| (phase + pad) as isize - k as isize;
    (0..kernel)
        .filter(|&k| offset(k).rem_euclid(stride as isize) == 0)
        .map(|k| (k, offset(k).div_euclid(stride as isize)))
        .collect()
}

fn phases(g: &Geometry, chunk: usize, padded: usize, padded_width: usize) -> Vec<Phase> {
    let [cb, cs] = [g.big[2], g.small[2]];
    let halo = g.halo();
    let mut phases = Vec::new();
    for py in 0..g.stride.min(g.big[0]) {
        for px in 0..g.stride.min(g.big[1]) {
            let mut segments = Vec::new();
            for (ky, dy) in taps(py, g.pad[0], g.kernel[0], g.stride) {
                for (kx, dx) in taps(px, g.pad[1], g.kernel[1], g.stride) {
                    // A tap lies at most a halo before the image, so both sums are at least 0.
                    let y = halo[0].saturating_add_signed(dy);
                    let x = halo[1].saturating_add_signed(dx);
                    segments.push(Segment {
                        source: (y * padded_width + x) * cs,
                        row: (ky * g.kernel[1] + kx) * cs,
                        len: cs,
                    });
                }
            }
            let rows = (g.big[0] - py).div_ceil(g.stride);
            let columns = (g.big[1] - px).div_ceil(g.stride);
            let mut pixels = Vec::with_capacity(chunk * rows * columns);
            for sample in 0..chunk {
                for y in 0..rows {
                    for x in 0..columns {
                        let (by, bx) = (py + y * g.stride, px + x * g.stride);
                        pixels.push(Pixel {
                            source: sample * padded + (y * padded_width + x) * cs,
                            out: sample * g.big_len() + (by * g.big[1] + bx) * cb,
                        });
                    }
                }
            }
            phases.push(Phase {
                segments,
                pixels,
                per_sample: rows * columns,
            });
        }
    }
    phases
}

/// The gradient of the kernel, `[kernel rows, kernel columns, big channels, small channels]`.
pub(super) fn weight_gradient(g: &Geometry, big: &[f32], small: &[f32]) -> Vec<f32> {
    let (big_len, small_len) = (g.big_len(), g.small_len());
    let [cb, cs] = [g.big[2], g.small[2]];
    if big_len == 0 || small_len == 0 {
        return vec![0.0; g.kernel_len()];
    }
    let arch = tile::arch(cs);
    let lanes = tile::lanes(arch);
    let width = cs.next_multiple_of(lanes);
    let [ph, pw] = g.padded_big();
    let padded = ph * pw * cb;
    let per_sample = g.small[0] * g.small[1];
    let chunk = g.samples_per_chunk();
    let segments = rows_of_big(g, pw);
    let pixels = pixels_of_big(g, chunk, padded, pw, per_sample * width, width);
    let rows = g.kernel[0] * g.kernel[1] * cb;
    let partial: Vec<Vec<f32>> = big
        .par_chunks(chunk * big_len)
        .zip(small.par_chunks(chunk * small_len))
        .map_init(
            || (vec![0.0; chunk * padded], Vec::new()),
            |(scratch, wide): &mut (Vec<f32>, Vec<f32>), (big, small)| {
                for (from, to) in big
                    .chunks_exact(big_len)
                    .zip(scratch.chunks_exact_mut(padded))
                {
                    copy_padded(from, g.big[1] * cb, to, pw * cb, [g.pad[0], g.pad[1] * cb]);
                }
                let gradient = if width == cs {
                    small
                } else {
                    wide.clear();
                    for pixel in small.chunks_exact(cs) {
                        wide.extend_from_slice(pixel);
                        wide.resize(wide.len() + width - cs, 0.0);
                    }
                    wide
                };
                let mut out = vec![0.0; rows * width];
                Outer {
                    source: scratch,
                    pixels: &pixels[..small.len() / small_len * per_sample],
                    segments: &segments,
                    gradient,
                    arch,
                    width,
                    out: &mut out,
                }
                .run();
                out
            },
        )
        .collect();
    let mut sum = vec![0.0; rows * cs];
    for part in &partial {
        for (sum, part) in sum.chunks_exact_mut(cs).zip(part.chunks_exact(width)) {
            for (sum, part) in sum.iter_mut().zip(part) {
                *sum += part;
            }
        }
    }
    sum
}

/// The gradient of the bias: the sum over all pixels of all samples.
pub(super) fn bias_gradient(gradient: &[f32], channels: usize) -> Vec<f32> {
    const PIXELS: usize = 4096;
    let partial: Vec<Vec<f32>> = gradient
        .par_chunks(PIXELS * channels.max(1))
        .map(|part| {
            let mut sum = vec![0.0; channels];
            for pixel in part.chunks_exact(channels) {
                for (sum, value) in sum.iter_mut().zip(pixel) {
                    *sum += value;
                }
            }
            sum
        })
        .collect();
    let mut sum = vec![0.0; channels];
    for part in &partial {
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += part;
        }
    }
    sum
}

/// The gradient before a ReLU: that after it where the output is positive, else 0.
pub(super) fn relu_gradient(gradient: &[f32], output: &[f32]) -> Vec<f32> {
    const CHUNK: usize = 1 << 15;
    let mut masked = vec![0.0; gradient.len()];
    masked
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK).zip(output.par_chunks(CHUNK)))
        .for_each(|(masked, (gradient, output))| {
            for ((masked, &gradient), &output) in masked.iter_mut().zip(gradient).zip(output) {
                *masked = if output > 0.0 { gradient } else { 0.0 };
            }
        });
    masked
}
