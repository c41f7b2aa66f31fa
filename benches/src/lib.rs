//! Data for the benchmarks in `benches/`: seeded, so that every run measures the same work.
//!
//! How to run them and what they measured is in `docs/benchmarks.md`.

pub mod peers;
pub mod task;
pub mod watch;
pub mod worker;

use ndarray::{Array2, Array4};
use phenocoder_core::{Categorical, Seed};

/// The seed of all data.
pub const SEED: Seed = Seed::new(20_240_817);

/// Cells strewn evenly over a square, so dense that `radius` holds 8 others on average.
///
/// # Shapes
///
/// `[n, 2]` as `(y, x)`.
#[must_use]
pub fn tissue(n: usize, radius: f64) -> Array2<f64> {
    let density = 8.0 / (std::f64::consts::PI * radius * radius);
    let side = (n as f64 / density).sqrt();
    let mut stream = SEED.stream("tissue", n as u64);
    Array2::from_shape_simple_fn((n, 2), || stream.uniform_in(0.0, side))
}

/// One of `k` labels per cell, drawn with equal chance.
#[must_use]
pub fn labels(n: usize, k: usize) -> Categorical {
    let mut stream = SEED.stream("labels", n as u64);
    Categorical::from_labels((0..n).map(|_| format!("type {}", stream.below(k))))
}

/// Rows around 10 centers, as latents of cells of 10 types are.
///
/// # Shapes
///
/// `[n, p]`.
#[must_use]
pub fn latents(n: usize, p: usize) -> Array2<f64> {
    let mut stream = SEED.stream("latents", n as u64);
    let centers = Array2::from_shape_simple_fn((10, p), || 3.0 * stream.normal());
    Array2::from_shape_fn((n, p), |(i, j)| centers[[i % 10, j]] + stream.normal())
}

/// Rows without clusters, as latents of cells that grade into each other are: mixtures of 8 factors, and noise.
///
/// # Shapes
///
/// `[n, p]`.
#[must_use]
pub fn gradients(n: usize, p: usize) -> Array2<f64> {
    let mut stream = SEED.stream("gradients", n as u64);
    let mixing = Array2::from_shape_simple_fn((8, p), || stream.normal());
    let factors = Array2::from_shape_simple_fn((n, 8), || stream.normal());
    let mut x = factors.dot(&mixing);
    x.mapv_inplace(|value| value + 0.5 * stream.normal());
    x
}

/// Pixels drawn evenly from 0 to 1, in any order of axes.
#[must_use]
pub fn pixels(shape: (usize, usize, usize, usize)) -> Array4<f32> {
    let mut stream = SEED.stream("pixels", 0);
    Array4::from_shape_simple_fn(shape, || stream.uniform() as f32)
}
