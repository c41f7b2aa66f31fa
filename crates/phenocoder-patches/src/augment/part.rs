//! The parts of an augmentation.

use phenocoder_core::Stream;
use serde::{Deserialize, Serialize};

/// Mirror images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FlipConfig {
    /// The probability of exchanging left and right (default ½).
    pub horizontal: f64,
    /// The probability of exchanging top and bottom (default ½).
    pub vertical: f64,
}

/// Right angles.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct QuarterTurnConfig {
    /// The probability of a draw among 0, 1, 2 and 3 right angles, each equally likely (default 1).
    pub probability: f64,
}

/// Turns by any angle about the centre of the patch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RotationConfig {
    /// How often a patch is turned (default 1: always).
    pub probability: f64,
    /// The largest angle, in degrees and in both directions (default 180); all up to it are equally likely.
    pub max_degrees: f64,
}

/// Moves along both axes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ShiftConfig {
    /// How often a patch is moved (default 1: always).
    pub probability: f64,
    /// The largest move along each axis, in pixels and in both directions (default 2).
    pub max_pixels: f64,
    /// Whether moves are whole pixels (default), which do not blur.
    pub steps: ShiftSteps,
}

/// The lengths that a shift may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ShiftSteps {
    /// Whole pixels, all up to the largest equally likely.
    #[default]
    Whole,
    /// Any length up to the largest, equally likely.
    Fractions,
}

/// Values times a factor, clamped to `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct BrightnessConfig {
    /// How often a patch is changed (default 1: always).
    pub probability: f64,
    /// The factor is drawn evenly from 1 minus this to 1 plus this (default 0.2).
    pub max_change: f64,
    /// Whether each channel has a factor of its own (default).
    pub channels: ChannelDraw,
}

/// Distances from the mean of a channel times a factor, clamped to `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ContrastConfig {
    /// How often a patch is changed (default 1: always).
    pub probability: f64,
    /// The factor is drawn evenly from 1 minus this to 1 plus this (default 0.2).
    pub max_change: f64,
    /// Whether each channel has a factor of its own (default).
    pub channels: ChannelDraw,
}

/// Whether the channels of a patch change together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChannelDraw {
    /// Each channel has a factor of its own, as stains of different strength have.
    #[default]
    Separate,
    /// One factor for all channels.
    Together,
}

/// Independent normal noise, clamped to `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct NoiseConfig {
    /// How often a patch is changed (default 1: always).
    pub probability: f64,
    /// The standard deviation (default 0.02).
    pub std: f64,
}

impl Default for FlipConfig {
    fn default() -> Self {
        Self::new(0.5, 0.5)
    }
}

impl FlipConfig {
    /// Both flips with these probabilities.
    #[must_use]
    pub const fn new(horizontal: f64, vertical: f64) -> Self {
        Self {
            horizontal,
            vertical,
        }
    }
}

impl Default for QuarterTurnConfig {
    fn default() -> Self {
        Self { probability: 1.0 }
    }
}

impl QuarterTurnConfig {
    /// Sets how often there is a draw.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }
}

impl Default for RotationConfig {
    fn default() -> Self {
        Self {
            probability: 1.0,
            max_degrees: 180.0,
        }
    }
}

impl RotationConfig {
    /// Sets how often a patch is turned.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the largest angle.
    #[must_use]
    pub fn with_max_degrees(mut self, degrees: f64) -> Self {
        self.max_degrees = degrees;
        self
    }
}

impl Default for ShiftConfig {
    fn default() -> Self {
        Self {
            probability: 1.0,
            max_pixels: 2.0,
            steps: ShiftSteps::default(),
        }
    }
}

impl ShiftConfig {
    /// Sets how often a patch is moved.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the largest move.
    #[must_use]
    pub fn with_max_pixels(mut self, pixels: f64) -> Self {
        self.max_pixels = pixels;
        self
    }

    /// Sets whether moves are whole pixels.
    #[must_use]
    pub fn with_steps(mut self, steps: ShiftSteps) -> Self {
        self.steps = steps;
        self
    }

    /// A move along one axis.
    pub(super) fn draw(&self, stream: &mut Stream) -> f64 {
        let most = self.max_pixels;
        match self.steps {
            ShiftSteps::Whole => {
                let most = most.floor();
                stream.below(2 * most as usize + 1) as f64 - most
            }
            ShiftSteps::Fractions => stream.uniform_in(-most, most),
        }
    }
}

impl Default for BrightnessConfig {
    fn default() -> Self {
        Self {
            probability: 1.0,
            max_change: 0.2,
            channels: ChannelDraw::default(),
        }
    }
}

impl BrightnessConfig {
    /// Sets how often a patch is changed.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Sets how far the factor may be from 1.
    #[must_use]
    pub fn with_max_change(mut self, change: f64) -> Self {
        self.max_change = change;
        self
    }

    /// Sets whether channels change together.
    #[must_use]
    pub fn with_channels(mut self, channels: ChannelDraw) -> Self {
        self.channels = channels;
        self
    }
}

impl Default for ContrastConfig {
    fn default() -> Self {
        Self {
            probability: 1.0,
            max_change: 0.2,
            channels: ChannelDraw::default(),
        }
    }
}

impl ContrastConfig {
    /// Sets how often a patch is changed.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Sets how far the factor may be from 1.
    #[must_use]
    pub fn with_max_change(mut self, change: f64) -> Self {
        self.max_change = change;
        self
    }

    /// Sets whether channels change together.
    #[must_use]
    pub fn with_channels(mut self, channels: ChannelDraw) -> Self {
        self.channels = channels;
        self
    }
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self {
            probability: 1.0,
            std: 0.02,
        }
    }
}

impl NoiseConfig {
    /// Sets how often a patch is changed.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Sets the standard deviation.
    #[must_use]
    pub fn with_std(mut self, std: f64) -> Self {
        self.std = std;
        self
    }
}
