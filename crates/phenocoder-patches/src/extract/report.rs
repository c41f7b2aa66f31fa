//! The account of an extraction.

use serde::{Deserialize, Serialize};

/// What became of every cell: `kept` and the `dropped_*` add up to `cells`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExtractReport {
    /// The cells given.
    pub cells: usize,
    /// The cells that have a patch.
    pub kept: usize,
    /// The patches: one per kept cell, or more with several slices each.
    pub patches: usize,
    /// Cells dropped because their patch reaches over the border.
    pub dropped_border: usize,
    /// Cells dropped because they lie outside of their image.
    pub dropped_outside: usize,
    /// Cells dropped because their position is NaN or infinite.
    pub dropped_nan: usize,
    /// Cells dropped because they name no sample or their sample has no image.
    pub dropped_no_image: usize,
    /// Cells left out by the limits on samples and patches.
    pub dropped_sampling: usize,
    /// Samples and channels whose scaling range had no extent; see [`Scaling::degenerate`](crate::Scaling::degenerate).
    pub degenerate: Vec<(String, usize)>,
    /// How many values of each channel reached 1; empty before extraction.
    pub saturation: Vec<ChannelSaturation>,
    /// The channels in which more than [`PatchConfig::saturation`](crate::PatchConfig::saturation) of the values
    /// reached 1.
    pub saturated: Vec<String>,
}

/// How many values of a channel reached the upper end of its scaling range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelSaturation {
    /// The name of the channel.
    pub channel: String,
    /// All values.
    pub values: u64,
    /// Values above 0.
    pub nonzero: u64,
    /// Values that are 1.
    pub ones: u64,
}

impl ChannelSaturation {
    pub(crate) fn new(channel: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            values: 0,
            nonzero: 0,
            ones: 0,
        }
    }

    pub(crate) fn count(&mut self, values: &[f32]) {
        self.values += values.len() as u64;
        self.nonzero += values.iter().filter(|&&v| v > 0.0).count() as u64;
        self.ones += values.iter().filter(|&&v| v >= 1.0).count() as u64;
    }

    /// The fraction of all values that are 1; 0 without values.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        self.ones as f64 / self.values.max(1) as f64
    }

    /// The fraction of the values above 0 that are 1; 0 without such values.
    #[must_use]
    pub fn fraction_of_nonzero(&self) -> f64 {
        self.ones as f64 / self.nonzero.max(1) as f64
    }
}
