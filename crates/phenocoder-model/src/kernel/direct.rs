//! Convolutions over slices: forward, adjoint and weight gradient.

use rayon::prelude::*;

use super::format::Format;
use super::geometry::Geometry;
use super::route::{Direction, Epilogue, Route, WeightRoute};

/// The convolution: `small[y, x, :] = Σ big[stride·y + ky − pad, …] · kernel[ky, kx]`, then bias and ReLU.
pub(super) fn big_to_small(
    g: &Geometry,
    big: &[f32],
    kernel: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    convolve(g, Direction::BigToSmall, big, kernel, bias, relu)
}

/// The adjoint of [`big_to_small`], the transposed convolution; then bias and ReLU.
pub(super) fn small_to_big(
    g: &Geometry,
    small: &[f32],
    kernel: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    convolve(g, Direction::SmallToBig, small, kernel, bias, relu)
}

fn convolve(
    g: &Geometry,
    direction: Direction,
    source: &[f32],
    kernel: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
) -> Vec<f32> {
    let (from, to) = match direction {
        Direction::BigToSmall => (Format::big(g), Format::dense(g.small)),
        Direction::SmallToBig => (Format::small(g), Format::dense(g.big)),
    };
    let source_len: usize = from.size.iter().product();
    let samples = source.len().checked_div(source_len).unwrap_or(0);
    let mut out = vec![0.0; samples * to.len];
    if out.is_empty() {
        return out;
    }
    let chunk = g.samples_per_chunk();
    let route = Route::new(g, direction, from, to, to, chunk);
    let mut weights = route.weights();
    route.pack(kernel, bias, &mut weights);
    let epilogue = Epilogue { relu, mask: None };
    out.par_chunks_mut(chunk * to.len)
        .zip(source.par_chunks(chunk * source_len))
        .for_each_init(
            || vec![0.0; chunk * from.len],
            |padded, (out, source)| {
                from.fill(source, padded);
                route.run(&weights, epilogue, out.len() / to.len, padded, out);
            },
        );
    out
}

/// Partial sums of the gradient of a kernel at most.
const MOST_SUMS: usize = 16;

/// The gradient of the kernel, `[kernel rows, kernel columns, big channels, small channels]`.
pub(super) fn weight_gradient(g: &Geometry, big: &[f32], small: &[f32]) -> Vec<f32> {
    let (from, to) = (Format::big(g), Format::dense(g.small));
    let (big_len, small_len) = (g.big_len(), g.small_len());
    if big_len == 0 || small_len == 0 {
        return vec![0.0; g.kernel_len()];
    }
    let chunk = g.samples_per_chunk();
    let route = WeightRoute::new(g, from, to, chunk);
    // Each task has a sum of its own, as large as the kernel: their number is bounded, and depends on the batch alone.
    let chunks = (big.len() / big_len).div_ceil(chunk);
    let task = chunks.div_ceil(MOST_SUMS).max(1) * chunk;
    let partial: Vec<Vec<f32>> = big
        .par_chunks(task * big_len)
        .zip(small.par_chunks(task * small_len))
        .map(|(big, small)| {
            let mut padded = vec![0.0; chunk * from.len];
            let mut out = vec![0.0; g.kernel_len()];
            let groups = big
                .chunks(chunk * big_len)
                .zip(small.chunks(chunk * small_len));
            for (big, small) in groups {
                from.fill(big, &mut padded);
                route.run(small.len() / small_len, &padded, small, &mut out);
            }
            out
        })
        .collect();
    let parts: Vec<&[f32]> = partial.iter().map(Vec::as_slice).collect();
    add_up(&parts, g.kernel_len())
}

/// Adds partial sums in their order.
pub(super) fn add_up(partial: &[&[f32]], len: usize) -> Vec<f32> {
    const CHUNK: usize = 1 << 12;
    let mut sum = vec![0.0_f32; len];
    sum.par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(index, sum)| {
            let from = index * CHUNK;
            for part in partial {
                for (sum, part) in sum.iter_mut().zip(&part[from..]) {
                    *sum += part;
                }
            }
        });
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

/// The gradient before a ReLU: 0 where the output is, else that after it, also where the output is no number.
pub(super) fn relu_gradient(gradient: &[f32], output: &[f32]) -> Vec<f32> {
    const CHUNK: usize = 1 << 15;
    let mut masked = vec![0.0; gradient.len()];
    masked
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK).zip(output.par_chunks(CHUNK)))
        .for_each(|(masked, (gradient, output))| {
            for ((masked, &gradient), &output) in masked.iter_mut().zip(gradient).zip(output) {
                *masked = if output <= 0.0 { 0.0 } else { gradient };
            }
        });
    masked
}
