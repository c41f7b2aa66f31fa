//! The same cells under another condition.

use ndarray::{ArrayView2, Axis};
use phenocoder_core::{PatchSource, Progress, ShapeError};
use serde::{Deserialize, Serialize};

use super::{Generated, Latent, decode, encode_rows};
use crate::{Autoencoder, ConfigError, Result};

/// The settings of [`transfer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TransferConfig {
    /// Which point of the latent distribution stands for a cell (default the mean).
    pub latent: Latent,
    /// Patches per batch (default 64); it does not change the result.
    pub batch_size: usize,
}

impl Default for TransferConfig {
    fn default() -> Self {
        Self {
            latent: Latent::Mean,
            batch_size: 64,
        }
    }
}

impl TransferConfig {
    /// The mean stands for a cell.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets which point of the latent distribution stands for a cell.
    #[must_use]
    pub fn with_latent(mut self, latent: Latent) -> Self {
        self.latent = latent;
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
    /// [`ConfigError::Zero`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        super::check_batch_size(self.batch_size).map(drop)
    }
}

/// Cells as they would look under other conditions: encoded under their own, decoded under these.
///
/// Under their own conditions they are their reconstructions, to the bit on the CPU.
/// What the network has learned of a condition is what differs; what it put into the latents stays.
///
/// # Shapes
///
/// `rows`: the numbers of the cells; `conditions`: `[n, k]`, or `[1, k]` for all cells; result: `[n, …]`.
///
/// # Examples
///
/// ```
/// use ndarray::arr2;
/// use phenocoder_core::{NoProgress, PatchBatch, PatchShape, Seed};
/// use phenocoder_model::{CvaeConfig, TransferConfig, transfer};
///
/// let config = CvaeConfig::new(PatchShape::new(4, 4, 1), 3).with_conv_layers([4]).with_n_conditions(2);
/// let model = config.build(Seed::new(1), &candle_core::Device::Cpu)?;
/// let mut patches = PatchBatch::zeros(5, config.input, 2);
/// patches.conditions.column_mut(0).fill(1.0);
/// let treated = arr2(&[[0.0, 1.0]]);
/// let there = transfer(&model, &patches, &[1, 3], treated.view(), &TransferConfig::new(), &NoProgress)?;
/// assert_eq!(there.patches.dim(), (2, 4, 4, 1));
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`](crate::Error::Config) with [`ConfigError::NoConditions`] when the model has none, or when a setting is
/// out of range; [`Error::Shape`](crate::Error::Shape) when rows or columns of `conditions` do not fit; else as
/// [`encode`](super::encode()).
#[doc(alias = "style_transfer")]
pub fn transfer(
    model: &dyn Autoencoder,
    patches: &dyn PatchSource,
    rows: &[usize],
    conditions: ArrayView2<'_, f32>,
    config: &TransferConfig,
    progress: &dyn Progress,
) -> Result<Generated> {
    config.validate()?;
    if model.n_conditions() == 0 {
        return Err(ConfigError::NoConditions.into());
    }
    ShapeError::check_len(
        "condition columns",
        model.n_conditions(),
        conditions.ncols(),
    )?;
    let conditions = match conditions.nrows() {
        1 => conditions.select(Axis(0), &vec![0; rows.len()]),
        n => {
            ShapeError::check_len("conditions", rows.len(), n)?;
            conditions.to_owned()
        }
    };
    let batch_size = config.batch_size;
    let cells = encode_rows(model, patches, rows, batch_size, config.latent, progress)?;
    let patches = decode(
        model,
        cells.latents.view(),
        conditions.view(),
        batch_size,
        progress,
    )?;
    Ok(Generated {
        latents: cells.latents,
        patches,
    })
}
