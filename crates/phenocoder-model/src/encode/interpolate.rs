//! From one cell to another.

use ndarray::{Array2, ArrayView1};
use phenocoder_core::{PatchSource, Progress};
use serde::{Deserialize, Serialize};

use super::{Latent, Walk, encode_rows};
use crate::error::check_range;
use crate::{Autoencoder, ConfigError, Result};

/// The way from one cell to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LatentPath {
    /// A straight line, which passes nearer to the origin than its ends.
    #[default]
    Linear,
    /// The arc of a great circle (White 2016, arXiv:1609.04468), which keeps the distance from the origin that latents of the
    /// prior have; a line where the directions are the same or opposite.
    #[doc(alias = "slerp")]
    Spherical,
}

impl LatentPath {
    /// The point a part of the way from `a` to `b`; the ends are `a` and `b` to the bit.
    fn point(self, a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>, part: f64) -> Vec<f32> {
        let (share_a, share_b) = match self {
            _ if part <= 0.0 => return a.to_vec(),
            _ if part >= 1.0 => return b.to_vec(),
            Self::Linear => (1.0 - part, part),
            Self::Spherical => {
                let dot = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| -> f64 {
                    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
                    products.sum()
                };
                let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                // No number where an end is the origin, which has no direction.
                let angle = cosine.clamp(-1.0, 1.0).acos();
                if angle.sin() > 1e-6 {
                    let share = |part: f64| (part * angle).sin() / angle.sin();
                    (share(1.0 - part), share(part))
                } else {
                    (1.0 - part, part)
                }
            }
        };
        let blend = |(&a, &b)| (share_a * f64::from(a) + share_b * f64::from(b)) as f32;
        a.iter().zip(b.iter()).map(blend).collect()
    }
}

/// The settings of [`interpolate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct InterpolateConfig {
    /// Patches of a way, both ends included (default 10).
    pub steps: usize,
    /// The way (default a straight line).
    pub path: LatentPath,
    /// Patches per batch (default 64); it does not change the result.
    pub batch_size: usize,
}

impl Default for InterpolateConfig {
    fn default() -> Self {
        Self {
            steps: 10,
            path: LatentPath::default(),
            batch_size: 64,
        }
    }
}

impl InterpolateConfig {
    /// Ways of this many patches, both ends included.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self {
            steps,
            ..Self::default()
        }
    }

    /// Sets the way.
    #[must_use]
    pub fn with_path(mut self, path: LatentPath) -> Self {
        self.path = path;
        self
    }

    /// Sets the patches per batch.
    #[must_use]
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] or [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        super::check_batch_size(self.batch_size)?;
        let expected = "at least 2, for both ends";
        check_range("steps", self.steps as f64, self.steps >= 2, expected)
    }
}

/// What lies between two cells: both encoded to the mean, points of the way between them decoded.
///
/// Where their conditions differ, these change along a line with the way.
/// The ends are the reconstructions of the cells, to the bit on the CPU.
///
/// # Shapes
///
/// `pairs`: the numbers of the first and the last cell of each way; result: `[pair, step, …]`.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{NoProgress, PatchBatch, PatchShape, Seed};
/// use phenocoder_model::{CvaeConfig, InterpolateConfig, LatentPath, interpolate};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 3).with_conv_layers([4]);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let patches = PatchBatch::zeros(5, config.input, 0);
/// let settings = InterpolateConfig::new(6).with_path(LatentPath::Spherical);
/// let walk = interpolate(&model, &patches, &[(0, 1), (2, 4)], &settings, &NoProgress)?;
/// assert_eq!(walk.patches.dim(), (2, 6, 4, 4, 1));
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) when a setting is out of range; else as [`encode`](super::encode()).
pub fn interpolate(
    model: &dyn Autoencoder,
    patches: &dyn PatchSource,
    pairs: &[(usize, usize)],
    config: &InterpolateConfig,
    progress: &dyn Progress,
) -> Result<Walk> {
    config.validate()?;
    let (steps, batch_size) = (config.steps, config.batch_size);
    let rows: Vec<usize> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
    let cells = encode_rows(model, patches, &rows, batch_size, Latent::Mean, progress)?;
    let along = |values: &Array2<f32>, path: LatentPath| {
        let mut points = Vec::with_capacity(pairs.len() * steps * values.ncols());
        for pair in 0..pairs.len() {
            let (a, b) = (values.row(2 * pair), values.row(2 * pair + 1));
            for step in 0..steps {
                points.extend(path.point(a, b, step as f64 / (steps - 1) as f64));
            }
        }
        Array2::from_shape_vec((pairs.len() * steps, values.ncols()), points)
    };
    let latents = super::array(along(&cells.latents, config.path), "latents")?;
    let conditions = super::array(along(&cells.conditions, LatentPath::Linear), "conditions")?;
    Walk::decode(model, latents, &conditions, steps, batch_size, progress)
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    #[test]
    fn an_arc_keeps_the_distance_from_the_origin() {
        let (a, b) = (arr1(&[2.0, 0.0]), arr1(&[0.0, 2.0]));
        let middle = LatentPath::Spherical.point(a.view(), b.view(), 0.5);
        assert!((middle[0] - 2.0_f32.sqrt()).abs() < 1e-6 && (middle[1] - middle[0]).abs() < 1e-6);
        assert_eq!(
            LatentPath::Linear.point(a.view(), b.view(), 0.5),
            [1.0, 1.0]
        );
        for part in [0.1, 0.3, 0.9] {
            let point = LatentPath::Spherical.point(a.view(), b.view(), part);
            let length = point.iter().map(|v| v * v).sum::<f32>().sqrt();
            assert!((length - 2.0).abs() < 1e-6);
        }
    }

    #[test]
    fn directions_that_span_no_arc_give_a_line() {
        let a = arr1(&[1.0, 2.0]);
        for b in [arr1(&[2.0, 4.0]), arr1(&[-1.0, -2.0]), arr1(&[0.0, 0.0])] {
            let spherical = LatentPath::Spherical.point(a.view(), b.view(), 0.25);
            assert_eq!(
                spherical,
                LatentPath::Linear.point(a.view(), b.view(), 0.25)
            );
        }
    }
}
