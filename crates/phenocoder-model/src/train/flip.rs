//! Random flips of training patches.

use ndarray::{Array4, Axis, s};
use phenocoder_core::Seed;
use serde::{Deserialize, Serialize};

use super::config::check_range;
use crate::ConfigError;

/// Flips each patch at random, drawn from the epoch and the patch's number alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FlipConfig {
    /// The probability of exchanging left and right (default ½).
    pub horizontal: f64,
    /// The probability of exchanging top and bottom (default ½).
    pub vertical: f64,
}

impl Default for FlipConfig {
    fn default() -> Self {
        Self {
            horizontal: 0.5,
            vertical: 0.5,
        }
    }
}

impl FlipConfig {
    /// Both flips with these probabilities.
    #[must_use]
    pub fn new(horizontal: f64, vertical: f64) -> Self {
        Self {
            horizontal,
            vertical,
        }
    }

    /// Checks both probabilities.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] when one is not in `[0, 1]`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (setting, value) in [
            ("augment.horizontal", self.horizontal),
            ("augment.vertical", self.vertical),
        ] {
            let valid = (0.0..=1.0).contains(&value);
            check_range(setting, value, valid, "a probability from 0 to 1")?;
        }
        Ok(())
    }

    /// Flips the patches of these numbers, `[n, y, x, c]`.
    pub(super) fn apply(&self, pixels: &mut Array4<f32>, rows: &[usize], epoch_seed: Seed) {
        for (mut patch, &row) in pixels.outer_iter_mut().zip(rows) {
            let mut stream = epoch_seed.stream("flip", row as u64);
            let (horizontal, vertical) =
                (stream.chance(self.horizontal), stream.chance(self.vertical));
            let steps = [(vertical, Axis(0)), (horizontal, Axis(1))];
            if horizontal || vertical {
                let copy = patch.to_owned();
                let mut view = copy.slice(s![.., .., ..]);
                for (flip, axis) in steps {
                    if flip {
                        view.invert_axis(axis);
                    }
                }
                patch.assign(&view);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flips_turn_whole_patches_and_depend_on_the_patch_alone() {
        let pixels = Array4::from_shape_fn((2, 2, 3, 1), |(n, y, x, _)| (n * 6 + y * 3 + x) as f32);
        let mut both = pixels.clone();
        FlipConfig::new(1.0, 0.0).apply(&mut both, &[0, 1], Seed::new(1));
        let row: Vec<f32> = both.slice(s![0, 0, .., 0]).to_vec();
        assert_eq!(row, [2.0, 1.0, 0.0]);
        let mut down = pixels.clone();
        FlipConfig::new(0.0, 1.0).apply(&mut down, &[0, 1], Seed::new(1));
        let column: Vec<f32> = down.slice(s![1, .., 0, 0]).to_vec();
        assert_eq!(column, [9.0, 6.0]);

        let half = FlipConfig::default();
        for seed in 0..8 {
            let mut together = pixels.clone();
            half.apply(&mut together, &[4, 9], Seed::new(seed));
            let mut alone = pixels.slice(s![1..2, .., .., ..]).to_owned();
            half.apply(&mut alone, &[9], Seed::new(seed));
            assert_eq!(
                together.index_axis(Axis(0), 1),
                alone.index_axis(Axis(0), 0)
            );
        }
        assert!(FlipConfig::new(1.5, 0.0).validate().is_err());
    }
}
