//! Small patches with a pattern, made from a seed.

use phenocoder_core::{PatchBatch, PatchShape, Seed};

/// Blobs of two kinds (small and bright, large and dim) at random places, with `k` one-hot conditions.
pub(crate) fn blobs(n: usize, shape: PatchShape, k: usize, seed: u64) -> PatchBatch {
    let mut batch = PatchBatch::zeros(n, shape, k);
    for i in 0..n {
        let mut stream = Seed::new(seed).stream("blob", i as u64);
        let large = i % 2 == 0;
        let radius = if large { 0.35 } else { 0.15 };
        let (y0, x0) = (stream.uniform_in(0.35, 0.65), stream.uniform_in(0.35, 0.65));
        for y in 0..shape.height {
            for x in 0..shape.width {
                let dy = (y as f64 + 0.5) / shape.height as f64 - y0;
                let dx = (x as f64 + 0.5) / shape.width as f64 - x0;
                let inside = (-(dy * dy + dx * dx) / (radius * radius)).exp();
                for c in 0..shape.channels {
                    let level = if (c % 2 == 0) == large { 0.9 } else { 0.4 };
                    batch.pixels[[i, y, x, c]] = (inside * level) as f32;
                }
            }
        }
        if k > 0 {
            batch.conditions[[i, i % k]] = 1.0;
        }
    }
    batch
}
