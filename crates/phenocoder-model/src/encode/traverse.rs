//! What one latent does.

use ndarray::{Array2, Axis};
use phenocoder_core::{PatchSource, Progress};
use serde::{Deserialize, Serialize};

use super::{Grid, Latent, Walk, encode_rows};
use crate::error::check_range;
use crate::{Autoencoder, ConfigError, Result};

/// The settings of [`traverse`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TraverseConfig {
    /// The latent that changes.
    pub latent: usize,
    /// Its values (default ten quantiles of the prior from 0.05 to 0.95).
    #[serde(default)]
    pub grid: Grid,
    /// Patches per batch (default 64); it does not change the result.
    #[serde(default = "default_batch_size")]
    pub batch_size: usize,
}

fn default_batch_size() -> usize {
    64
}

impl TraverseConfig {
    /// A walk along this latent.
    #[must_use]
    pub fn new(latent: usize) -> Self {
        Self {
            latent,
            grid: Grid::default(),
            batch_size: default_batch_size(),
        }
    }

    /// Sets the values of the latent.
    #[must_use]
    pub fn with_grid(mut self, grid: Grid) -> Self {
        self.grid = grid;
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
        self.grid.validate()
    }
}

/// Cells as they would look with other values of one latent: encoded to the mean, that latent replaced by each value of a
/// grid, decoded under their own conditions.
///
/// At the cell's own value ([`Grid::around`] with an offset of 0) the patch is its reconstruction, to the bit on the CPU.
///
/// # Shapes
///
/// `rows`: the numbers of the cells; result: `[cell, step, …]`.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{NoProgress, PatchBatch, PatchShape, Seed};
/// use phenocoder_model::{CvaeConfig, Grid, TraverseConfig, traverse};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 3).with_conv_layers([4]);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let patches = PatchBatch::zeros(5, config.input, 0);
/// let settings = TraverseConfig::new(2).with_grid(Grid::quantiles(7));
/// let walk = traverse(&model, &patches, &[0, 4], &settings, &NoProgress)?;
/// assert_eq!(walk.patches.dim(), (2, 7, 4, 4, 1));
/// assert!((walk.latents[[1, 6, 2]] - 1.644_853_6).abs() < 1e-6);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) when a setting is out of range or the model has no such latent; else as
/// [`encode`](super::encode()).
#[doc(alias = "latent_walk")]
#[doc(alias = "latent_traversal")]
pub fn traverse(
    model: &dyn Autoencoder,
    patches: &dyn PatchSource,
    rows: &[usize],
    config: &TraverseConfig,
    progress: &dyn Progress,
) -> Result<Walk> {
    config.validate()?;
    let valid = config.latent < model.latent_dim();
    let expected = "less than the number of latents";
    check_range("latent", config.latent as f64, valid, expected)?;
    let batch_size = config.batch_size;
    let cells = encode_rows(model, patches, rows, batch_size, Latent::Mean, progress)?;
    let values = config.grid.values()?;
    let steps = values.len();
    let width = cells.latents.ncols();
    let mut latents = Vec::with_capacity(rows.len() * steps * width);
    for own in cells.latents.outer_iter() {
        for &value in &values {
            let start = latents.len();
            latents.extend(own.iter());
            latents[start + config.latent] = config.grid.place(own[config.latent], value);
        }
    }
    let latents = Array2::from_shape_vec((rows.len() * steps, width), latents);
    let latents = super::array(latents, "latents")?;
    let repeated: Vec<usize> = (0..rows.len() * steps).map(|i| i / steps).collect();
    let conditions = cells.conditions.select(Axis(0), &repeated);
    Walk::decode(model, latents, &conditions, steps, batch_size, progress)
}
