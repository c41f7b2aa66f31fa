//! What may happen to a patch.

use phenocoder_core::PatchShape;
use serde::{Deserialize, Serialize};

use super::Border;
use super::part::{
    BrightnessConfig, ContrastConfig, FlipConfig, NoiseConfig, QuarterTurnConfig, RotationConfig,
    ShiftConfig,
};
use crate::ConfigError;

/// What may happen to each training patch; every part is off unless it is given.
///
/// The parts act in the order of the fields: flips and right angles change the places of pixels; rotation and shift are one
/// bilinear interpolation; brightness, contrast and noise change values and clamp them to `[0, 1]`.
/// All draws belong to the patch's number and the seed of the epoch: what happens to a patch depends neither on the batch
/// it is in nor on threads, and switching one part on or off leaves the draws of the others as they are.
///
/// Only [`PatchBatch::pixels`](phenocoder_core::PatchBatch::pixels) change: put augmentation before a transform that makes
/// views.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape, PatchTransform, Seed};
/// use phenocoder_patches::augment::{AugmentConfig, FlipConfig, RotationConfig};
///
/// let config = AugmentConfig::new()
///     .with_flips(Some(FlipConfig::default()))
///     .with_rotation(Some(RotationConfig::default().with_max_degrees(15.0)));
/// let same: AugmentConfig = serde_json::from_str(r#"{"flips": {}, "rotation": {"max_degrees": 15}}"#)?;
/// assert_eq!(same, config);
///
/// let mut batch = PatchBatch::zeros(2, PatchShape::new(8, 8, 1), 0);
/// config.apply(&mut batch, &[17, 4], Seed::new(1).derive("epoch", 3))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Differences
///
/// Brightness multiplies and contrast blends with a mean, as in torchvision's `ColorJitter`; here the mean is that of each
/// channel, channels may be drawn apart, and the order is fixed.
#[doc(alias = "ColorJitter")]
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AugmentConfig {
    /// Mirror images.
    pub flips: Option<FlipConfig>,
    /// Right angles, for square patches.
    pub quarter_turns: Option<QuarterTurnConfig>,
    /// Turns by any angle.
    pub rotation: Option<RotationConfig>,
    /// The cell is not quite in the middle.
    pub shift: Option<ShiftConfig>,
    /// What rotation and shift find outside of the patch (default [`Border::Reflect`]).
    pub border: Border,
    /// All values times a factor.
    pub brightness: Option<BrightnessConfig>,
    /// Distances from the mean times a factor.
    pub contrast: Option<ContrastConfig>,
    /// Normal noise on every value.
    pub noise: Option<NoiseConfig>,
}

impl AugmentConfig {
    /// No change at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Flips and right angles: eight views of each square patch that are as good as the patch itself.
    #[must_use]
    pub fn lossless() -> Self {
        Self::new()
            .with_flips(Some(FlipConfig::default()))
            .with_quarter_turns(Some(QuarterTurnConfig::default()))
    }

    /// Sets or removes mirror images.
    #[must_use]
    pub fn with_flips(mut self, flips: Option<FlipConfig>) -> Self {
        self.flips = flips;
        self
    }

    /// Sets or removes right angles.
    #[must_use]
    pub fn with_quarter_turns(mut self, quarter_turns: Option<QuarterTurnConfig>) -> Self {
        self.quarter_turns = quarter_turns;
        self
    }

    /// Sets or removes free rotation.
    #[must_use]
    pub fn with_rotation(mut self, rotation: Option<RotationConfig>) -> Self {
        self.rotation = rotation;
        self
    }

    /// Sets or removes shifts.
    #[must_use]
    pub fn with_shift(mut self, shift: Option<ShiftConfig>) -> Self {
        self.shift = shift;
        self
    }

    /// Sets what lies outside of a patch.
    #[must_use]
    pub fn with_border(mut self, border: Border) -> Self {
        self.border = border;
        self
    }

    /// Sets or removes changes of brightness.
    #[must_use]
    pub fn with_brightness(mut self, brightness: Option<BrightnessConfig>) -> Self {
        self.brightness = brightness;
        self
    }

    /// Sets or removes changes of contrast.
    #[must_use]
    pub fn with_contrast(mut self, contrast: Option<ContrastConfig>) -> Self {
        self.contrast = contrast;
        self
    }

    /// Sets or removes noise.
    #[must_use]
    pub fn with_noise(mut self, noise: Option<NoiseConfig>) -> Self {
        self.noise = noise;
        self
    }

    /// Whether every part is off.
    #[must_use]
    pub fn is_none(&self) -> bool {
        Self {
            border: Border::default(),
            ..self.clone()
        } == Self::default()
    }

    /// Checks every part.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(flips) = &self.flips {
            probability("augment.flips.horizontal", flips.horizontal)?;
            probability("augment.flips.vertical", flips.vertical)?;
        }
        if let Some(turns) = &self.quarter_turns {
            probability("augment.quarter_turns.probability", turns.probability)?;
        }
        if let Some(rotation) = &self.rotation {
            probability("augment.rotation.probability", rotation.probability)?;
            let degrees = rotation.max_degrees;
            range(
                "augment.rotation.max_degrees",
                degrees,
                180.0,
                "between 0 and 180",
            )?;
        }
        if let Some(shift) = &self.shift {
            probability("augment.shift.probability", shift.probability)?;
            let (pixels, most) = (shift.max_pixels, f64::from(u16::MAX));
            let expected = "a finite number from 0 to 65535";
            range("augment.shift.max_pixels", pixels, most, expected)?;
        }
        let expected = "between 0 and 1";
        if let Some(brightness) = &self.brightness {
            probability("augment.brightness.probability", brightness.probability)?;
            let change = brightness.max_change;
            range("augment.brightness.max_change", change, 1.0, expected)?;
        }
        if let Some(contrast) = &self.contrast {
            probability("augment.contrast.probability", contrast.probability)?;
            let change = contrast.max_change;
            range("augment.contrast.max_change", change, 1.0, expected)?;
        }
        if let Some(noise) = &self.noise {
            probability("augment.noise.probability", noise.probability)?;
            range("augment.noise.std", noise.std, 1.0, expected)?;
        }
        Ok(())
    }

    /// Checks every part, and that patches of this extent can be changed in all these ways.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate), and [`ConfigError::NotSquare`] for right angles of patches that are not square.
    pub fn validate_for(&self, shape: PatchShape) -> Result<(), ConfigError> {
        self.validate()?;
        if self.quarter_turns.is_some() && shape.height != shape.width {
            return Err(ConfigError::NotSquare {
                field: "augment.quarter_turns",
                height: shape.height,
                width: shape.width,
            });
        }
        Ok(())
    }
}

fn probability(field: &'static str, value: f64) -> Result<(), ConfigError> {
    range(field, value, 1.0, "a probability from 0 to 1")
}

fn range(
    field: &'static str,
    value: f64,
    most: f64,
    expected: &'static str,
) -> Result<(), ConfigError> {
    ConfigError::check_range(field, value, (0.0..=most).contains(&value), expected)
}
