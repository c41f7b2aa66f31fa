//! What one encoder's view of a cell is spoiled in.

use std::f64::consts::TAU;

use phenocoder_core::Stream;
use serde::{Deserialize, Serialize};

use super::Polar;
use crate::ConfigError;

/// What one encoder's view of a cell is spoiled in; all else is as in the canonical image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Nuisance {
    /// The patch as it came: nothing is corrected, nothing is drawn.
    Uncorrected,
    /// Turned by any angle, each equally likely.
    Rotation,
    /// One of the four mirror images of [`Polar`], each equally likely; no value changes.
    Polar,
    /// Enlarged by a factor from `low` to `high`, its logarithm equally likely.
    Size {
        /// The smallest factor.
        low: f64,
        /// The largest factor.
        high: f64,
    },
    /// The cell's pixels times a gain plus an offset, both drawn for each channel and equally likely within their range;
    /// clamped to `[0, 1]`, the background stays 0.
    Intensity {
        /// The smallest and the largest gain.
        gain: [f64; 2],
        /// The smallest and the largest offset.
        offset: [f64; 2],
    },
}

impl Nuisance {
    /// Sizes from 0.7 to 1.4 times the canonical one.
    pub const SIZE: Self = Self::Size {
        low: 0.7,
        high: 1.4,
    };

    /// What is drawn for one cell.
    #[must_use]
    pub fn draw(&self, stream: &mut Stream, channels: usize) -> Draw {
        match *self {
            Self::Uncorrected => Draw::Uncorrected,
            Self::Rotation => Draw::Rotation(stream.uniform_in(0.0, TAU)),
            Self::Polar => Draw::Polar(Polar::ALL[stream.below(Polar::ALL.len())]),
            Self::Size { low, high } => Draw::Size(
                libm::exp(stream.uniform_in(libm::log(low), libm::log(high))).clamp(low, high),
            ),
            Self::Intensity { gain, offset } => {
                let mut draw = |[low, high]: [f64; 2]| stream.uniform_in(low, high);
                Draw::Intensity((0..channels).map(|_| (draw(gain), draw(offset))).collect())
            }
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let check = ConfigError::check_range;
        let rising = "at least the lower bound, and finite";
        match *self {
            Self::Uncorrected | Self::Rotation | Self::Polar => Ok(()),
            Self::Size { low, high } => {
                let valid = low > 0.0 && low.is_finite();
                check("size.low", low, valid, "above 0 and finite")?;
                check("size.high", high, high >= low && high.is_finite(), rising)
            }
            Self::Intensity { gain, offset } => {
                let [low, high] = gain;
                let valid = low >= 0.0 && low.is_finite();
                check("intensity.gain", low, valid, "at least 0 and finite")?;
                let valid = high >= low && high.is_finite();
                check("intensity.gain", high, valid, rising)?;
                let [low, high] = offset;
                check("intensity.offset", low, low.is_finite(), "finite")?;
                let valid = high >= low && high.is_finite();
                check("intensity.offset", high, valid, rising)
            }
        }
    }
}

/// What was drawn for one view of one cell.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Draw {
    /// The patch as it came.
    Uncorrected,
    /// Turned by this angle, from the row axis towards the column axis.
    Rotation(f64),
    /// This mirror image.
    Polar(Polar),
    /// Enlarged by this factor.
    Size(f64),
    /// Gain and offset of each channel.
    Intensity(Vec<(f64, f64)>),
}
