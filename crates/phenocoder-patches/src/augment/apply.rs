//! What happens to the patches of a batch.

use ndarray::Array4;
use phenocoder_core::{PatchBatch, PatchShape, PatchTransform, Seed, ShapeError, SourceError};
use rayon::prelude::*;

use super::AugmentConfig;
use super::part::ChannelDraw;
use super::warp::Warp;

/// The name in errors.
const PLACE: &str = "augmentation";

impl PatchTransform for AugmentConfig {
    fn name(&self) -> &str {
        "augment"
    }

    fn settings(&self) -> String {
        serde_json::to_string(self).expect("numbers and names have a JSON form")
    }

    fn apply(
        &self,
        batch: &mut PatchBatch,
        numbers: &[usize],
        seed: Seed,
    ) -> Result<(), SourceError> {
        let (n, height, width, channels) = batch.pixels.dim();
        let shape = PatchShape::new(height, width, channels);
        ShapeError::check_len("patch numbers", n, numbers.len())
            .map_err(|e| SourceError::new(PLACE, e))?;
        self.validate_for(shape)
            .map_err(|e| SourceError::new(PLACE, e))?;
        if self.is_none() || shape.is_empty() {
            return Ok(());
        }
        let pixels = std::mem::take(&mut batch.pixels);
        let mut pixels = pixels.as_standard_layout().into_owned();
        change(self, &mut pixels, numbers, seed);
        batch.pixels = pixels;
        Ok(())
    }
}

fn change(config: &AugmentConfig, pixels: &mut Array4<f32>, numbers: &[usize], seed: Seed) {
    let (_, h, w, c) = pixels.dim();
    let Some(flat) = pixels.as_slice_mut() else {
        return;
    };
    // Each patch is changed by one thread from streams of its own.
    flat.par_chunks_exact_mut(h * w * c)
        .zip(numbers)
        .with_min_len(8)
        .for_each_init(
            || vec![0.0; h * w * c],
            |copy, (patch, &number)| {
                let patch = &mut Patch {
                    pixels: patch,
                    copy,
                    shape: (h, w, c),
                };
                patch.turn(config, seed, number as u64);
                patch.warp(config, seed, number as u64);
                patch.scale(config, seed, number as u64);
                patch.add_noise(config, seed, number as u64);
            },
        );
}

struct Patch<'a> {
    pixels: &'a mut [f32],
    /// As long as `pixels`.
    copy: &'a mut Vec<f32>,
    shape: (usize, usize, usize),
}

impl Patch<'_> {
    /// Flips and right angles: pixels change places.
    fn turn(&mut self, config: &AugmentConfig, seed: Seed, number: u64) {
        let (mut horizontal, mut vertical, mut quarters) = (false, false, 0);
        if let Some(flips) = &config.flips {
            let mut stream = seed.stream("flip", number);
            horizontal = stream.chance(flips.horizontal);
            vertical = stream.chance(flips.vertical);
        }
        if let Some(turns) = &config.quarter_turns {
            let mut stream = seed.stream("quarter turn", number);
            if stream.chance(turns.probability) {
                quarters = stream.below(4);
            }
        }
        if !horizontal && !vertical && quarters == 0 {
            return;
        }
        let (h, w, c) = self.shape;
        self.copy.copy_from_slice(self.pixels);
        for (place, to) in self.pixels.chunks_exact_mut(c).enumerate() {
            let (y, x) = (place / w, place % w);
            // Odd turns are for square patches.
            let (y, x) = match quarters {
                0 => (y, x),
                1 => (x, w - 1 - y),
                2 => (h - 1 - y, w - 1 - x),
                _ => (h - 1 - x, y),
            };
            let y = if vertical { h - 1 - y } else { y };
            let x = if horizontal { w - 1 - x } else { x };
            to.copy_from_slice(&self.copy[(y * w + x) * c..][..c]);
        }
    }

    /// Rotation and shift in one interpolation.
    fn warp(&mut self, config: &AugmentConfig, seed: Seed, number: u64) {
        let mut angle = 0.0;
        if let Some(rotation) = &config.rotation {
            let mut stream = seed.stream("rotation", number);
            if stream.chance(rotation.probability) {
                let most = rotation.max_degrees.to_radians();
                angle = stream.uniform_in(-most, most);
            }
        }
        let [mut down, mut right] = [0.0; 2];
        if let Some(shift) = &config.shift {
            let mut stream = seed.stream("shift", number);
            if stream.chance(shift.probability) {
                down = shift.draw(&mut stream);
                right = shift.draw(&mut stream);
            }
        }
        if [angle, down, right] != [0.0; 3] {
            self.copy.copy_from_slice(self.pixels);
            Warp::new(angle, down, right).apply(self.copy, self.pixels, self.shape, config.border);
        }
    }

    /// Brightness and contrast, one channel after the other.
    fn scale(&mut self, config: &AugmentConfig, seed: Seed, number: u64) {
        let c = self.shape.2;
        if let Some(brightness) = &config.brightness {
            let mut stream = seed.stream("brightness", number);
            if stream.chance(brightness.probability) {
                let most = brightness.max_change;
                let factors = factors(c, brightness.channels, || {
                    stream.uniform_in(1.0 - most, 1.0 + most)
                });
                for pixel in self.pixels.chunks_exact_mut(c) {
                    for (value, factor) in pixel.iter_mut().zip(&factors) {
                        *value = (*value * factor).clamp(0.0, 1.0);
                    }
                }
            }
        }
        if let Some(contrast) = &config.contrast {
            let mut stream = seed.stream("contrast", number);
            if stream.chance(contrast.probability) {
                let most = contrast.max_change;
                let factors = factors(c, contrast.channels, || {
                    stream.uniform_in(1.0 - most, 1.0 + most)
                });
                let means = self.means();
                for pixel in self.pixels.chunks_exact_mut(c) {
                    for (value, (factor, mean)) in pixel.iter_mut().zip(factors.iter().zip(&means))
                    {
                        *value = (mean + (*value - mean) * factor).clamp(0.0, 1.0);
                    }
                }
            }
        }
    }

    fn add_noise(&mut self, config: &AugmentConfig, seed: Seed, number: u64) {
        let Some(noise) = &config.noise else {
            return;
        };
        let mut stream = seed.stream("noise", number);
        if stream.chance(noise.probability) {
            for value in &mut *self.pixels {
                *value = (*value + (noise.std * stream.normal()) as f32).clamp(0.0, 1.0);
            }
        }
    }

    /// The mean of each channel.
    fn means(&self) -> Vec<f32> {
        let (h, w, c) = self.shape;
        let mut sums = vec![0.0_f64; c];
        for pixel in self.pixels.chunks_exact(c) {
            for (sum, &value) in sums.iter_mut().zip(pixel) {
                *sum += f64::from(value);
            }
        }
        sums.iter()
            .map(|sum| (sum / (h * w) as f64) as f32)
            .collect()
    }
}

/// One factor per channel.
fn factors(channels: usize, draw: ChannelDraw, mut next: impl FnMut() -> f64) -> Vec<f32> {
    match draw {
        ChannelDraw::Separate => (0..channels).map(|_| next() as f32).collect(),
        ChannelDraw::Together => vec![next() as f32; channels],
    }
}
