//! Single cells with planted nuisances.

use std::f64::consts::TAU;

use ndarray::Array3;
use phenocoder_core::{PatchBatch, PatchShape, Seed, Stream};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The names of the types of planted cells, in the order of their codes.
pub const PLANTED_TYPES: [&str; 4] = ["capped", "cored", "banded", "spotted"];

/// What cells with planted nuisances are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PlantedConfig {
    /// The number of cells (default 1000).
    pub cells: usize,
    /// Rows and columns of a patch (default 32).
    pub side: usize,
    /// The smallest and the largest size relative to the mean (default 0.7 and 1.4); logarithms are equally likely.
    pub size: [f64; 2],
    /// The standard deviation of the noise of a pixel (default 0.03).
    pub noise: f64,
    /// Where chance comes from.
    pub seed: Seed,
}

impl Default for PlantedConfig {
    fn default() -> Self {
        Self {
            cells: 1000,
            side: 32,
            size: [0.7, 1.4],
            noise: 0.03,
            seed: Seed::new(0),
        }
    }
}

impl PlantedConfig {
    /// Sets the number of cells.
    #[must_use]
    pub fn with_cells(mut self, cells: usize) -> Self {
        self.cells = cells;
        self
    }

    /// Sets rows and columns of a patch.
    #[must_use]
    pub fn with_side(mut self, side: usize) -> Self {
        self.side = side;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks every rule.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names the first field outside its range.
    pub fn validate(&self) -> Result<()> {
        let [low, high] = self.size;
        let rules = [
            (self.cells >= 1, "cells", "at least 1"),
            (self.side >= 8, "side", "at least 8"),
            (
                low > 0.0 && high >= low && high.is_finite(),
                "size",
                "above 0 and rising",
            ),
            (
                self.noise >= 0.0 && self.noise.is_finite(),
                "noise",
                "at least 0 and finite",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, expected)) => Err(Error::config("planted cells", field, expected)),
            None => Ok(()),
        }
    }
}

/// What is true of one planted cell.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PlantedTruth {
    /// The position in [`PLANTED_TYPES`].
    pub cell_type: usize,
    /// The direction of the head in `[0, 2π)`, from the row axis (downwards) towards the column axis (right).
    pub angle: f64,
    /// Whether the cell is mirrored about its long axis.
    pub flip: bool,
    /// Its length relative to the mean.
    pub size: f64,
}

/// Cells with planted nuisances, one per patch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlantedCells {
    /// The patches, one channel, 0 outside of the cell.
    pub patches: PatchBatch,
    /// Each cell's own pixels, `[n, y, x]`.
    pub masks: Array3<bool>,
    /// What is true of each cell.
    pub truth: Vec<PlantedTruth>,
}

/// Makes elongated cells of four types that lie at any angle, are mirrored or not, and differ in size.
///
/// All types have the same outline and about the same brightness; the head is brighter than the tail.
/// They differ in where the brightness of the body gathers: in a `cap` at the head, in a `core` along the long axis, in a
/// `band` across behind the head, or in a `spot` at the side, whose side depends on the mirroring.
/// So the look of a patch depends on the nuisances more than on the type.
/// Each cell depends on the seed and its own number alone.
///
/// # Examples
///
/// ```
/// use phenocoder::datasets::{PlantedConfig, planted_cells};
///
/// let cells = planted_cells(&PlantedConfig::default().with_cells(8))?;
/// assert_eq!(cells.patches.pixels.dim(), (8, 32, 32, 1));
/// assert_eq!(cells.truth.len(), 8);
/// # Ok::<(), phenocoder::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`] when the configuration is out of range.
pub fn planted_cells(config: &PlantedConfig) -> Result<PlantedCells> {
    config.validate()?;
    let (n, side) = (config.cells, config.side);
    let mut patches = PatchBatch::zeros(n, PatchShape::new(side, side, 1), 0);
    let mut masks = Array3::from_elem((n, side, side), false);
    let truth = (0..n)
        .map(|number| {
            let mut random = config.seed.stream("planted", number as u64);
            let cell = Cell::new(config, &mut random);
            let places = ndarray::indices((side, side));
            for (y, x) in places {
                let Some(brightness) = cell.brightness(y as f64, x as f64) else {
                    continue;
                };
                let value = brightness + config.noise * random.normal();
                masks[[number, y, x]] = true;
                // Above 0, so that the mask can be seen.
                patches.pixels[[number, y, x, 0]] = value.clamp(0.02, 1.0) as f32;
            }
            cell.truth
        })
        .collect();
    Ok(PlantedCells {
        patches,
        masks,
        truth,
    })
}

/// One cell: its truth, and what varies from cell to cell without meaning.
struct Cell {
    truth: PlantedTruth,
    center: [f64; 2],
    /// Half the length and half the breadth, in pixels.
    axes: [f64; 2],
    /// Everything of the texture is shifted by this much along and across, relative to the axes.
    shift: [f64; 2],
    gain: f64,
}

impl Cell {
    fn new(config: &PlantedConfig, random: &mut Stream) -> Self {
        let [low, high] = config.size;
        let truth = PlantedTruth {
            cell_type: random.below(PLANTED_TYPES.len()),
            angle: random.uniform_in(0.0, TAU),
            flip: random.chance(0.5),
            size: libm::exp(random.uniform_in(libm::log(low), libm::log(high))),
        };
        let middle = (config.side as f64 - 1.0) / 2.0;
        let mut jitter = |range: f64| random.uniform_in(-range, range);
        let length = 0.32 * config.side as f64 * truth.size;
        Self {
            center: [middle + jitter(1.0), middle + jitter(1.0)],
            axes: [length, length * (0.58 + jitter(0.05))],
            shift: [jitter(0.06), jitter(0.06)],
            gain: 1.0 + jitter(0.1),
            truth,
        }
    }

    /// The brightness at a pixel, none outside of the cell.
    fn brightness(&self, y: f64, x: f64) -> Option<f64> {
        let (sin, cos) = libm::sincos(self.truth.angle);
        let (dy, dx) = (y - self.center[0], x - self.center[1]);
        let along = (cos * dy + sin * dx) / self.axes[0];
        let across = (cos * dx - sin * dy) / self.axes[1];
        let across = if self.truth.flip { -across } else { across };
        if along * along + across * across > 1.0 {
            return None;
        }
        let (u, v) = (along - self.shift[0], across - self.shift[1]);
        let bump = |d: f64, width: f64| libm::exp(-(d / width).powi(2));
        let texture = match self.truth.cell_type {
            0 => 0.65 * bump(u - 0.8, 0.4),
            1 => 0.6 * bump(v, 0.25),
            2 => 0.65 * bump(u - 0.25, 0.2),
            _ => 0.75 * bump(u - 0.3, 0.32) * bump(v - 0.4, 0.35),
        };
        Some(self.gain * (0.2 + 0.1 * u + texture))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_cells_whatever_their_number() {
        let make = |cells, seed| {
            let config = PlantedConfig::default()
                .with_cells(cells)
                .with_seed(Seed::new(seed));
            planted_cells(&config).unwrap()
        };
        let (few, many) = (make(3, 1), make(5, 1));
        assert_eq!(few.truth[2], many.truth[2]);
        assert_ne!(make(3, 2).truth[2], few.truth[2]);
    }

    #[test]
    fn masks_are_the_pixels_above_zero() {
        let cells = planted_cells(&PlantedConfig::default().with_cells(20)).unwrap();
        for (&inside, &value) in cells.masks.iter().zip(&cells.patches.pixels) {
            assert_eq!(inside, value > 0.0);
        }
        let border = |n: usize, i: usize| cells.masks[[n, 0, i]] || cells.masks[[n, i, 31]];
        assert!((0..20).all(|n| (0..32).all(|i| !border(n, i))), "cut off");
    }

    #[test]
    fn a_configuration_out_of_range_names_its_field() {
        let config = PlantedConfig {
            size: [1.0, 0.5],
            ..PlantedConfig::default()
        };
        let message = planted_cells(&config).unwrap_err().to_string();
        assert!(message.contains("size"), "{message}");
    }
}
