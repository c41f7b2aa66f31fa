//! The canonical image of a cell.

use ndarray::{Array3, ArrayView2, ArrayView3};
use serde::{Deserialize, Serialize};

use super::affine::Affine;
use super::pose::derived_mask;
use super::{Polar, PolarRule, Pose};
use crate::{ConfigError, Error, Result};

/// What is corrected in the canonical image of a cell; it is always put into the middle.
///
/// # Examples
///
/// ```
/// use phenocoder_patches::views::CanonicalConfig;
///
/// let config: CanonicalConfig = serde_json::from_str(r#"{"size": null}"#)?;
/// assert_eq!(config, CanonicalConfig::default().with_size(None));
/// assert!(config.with_size(Some(0.0)).validate().is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CanonicalConfig {
    /// Whether the major axis is turned upright (default yes).
    pub rotation: bool,
    /// By what one of the four mirror images is chosen (default by brightness); none keeps the cell as it lies.
    pub polar: Option<PolarRule>,
    /// The channel whose brightness decides on the mirror image (default none: the sum of all).
    pub channel: Option<usize>,
    /// The diameter of the circle of equal area as a fraction of the patch's shorter side (default 0.5); none keeps the size.
    pub size: Option<f64>,
    /// A pixel above this value in any channel belongs to the cell, where no mask is given (default 0).
    pub background: f32,
}

impl Default for CanonicalConfig {
    fn default() -> Self {
        Self {
            rotation: true,
            polar: Some(PolarRule::default()),
            channel: None,
            size: Some(0.5),
            background: 0.0,
        }
    }
}

impl CanonicalConfig {
    /// Sets whether the major axis is turned upright.
    #[must_use]
    pub fn with_rotation(mut self, rotation: bool) -> Self {
        self.rotation = rotation;
        self
    }

    /// Sets by what one of the four mirror images is chosen.
    #[must_use]
    pub fn with_polar(mut self, polar: Option<PolarRule>) -> Self {
        self.polar = polar;
        self
    }

    /// Sets the channel whose brightness decides on the mirror image.
    #[must_use]
    pub fn with_channel(mut self, channel: Option<usize>) -> Self {
        self.channel = channel;
        self
    }

    /// Sets the size as a fraction of the patch's shorter side.
    #[must_use]
    pub fn with_size(mut self, size: Option<f64>) -> Self {
        self.size = size;
        self
    }

    /// Sets the value that a cell's pixels exceed.
    #[must_use]
    pub fn with_background(mut self, background: f32) -> Self {
        self.background = background;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if let Some(size) = self.size {
            let valid = size > 0.0 && size.is_finite();
            ConfigError::check_range("size", size, valid, "above 0 and finite")?;
        }
        let background = f64::from(self.background);
        ConfigError::check_range("background", background, background.is_finite(), "finite")
    }
}

/// The canonical image of a cell.
///
/// `mask`: the cell's own pixels; without one, those above [`CanonicalConfig::background`].
/// Pixels outside of a given mask are taken for 0.
///
/// # Shapes
///
/// `patch` and result: `[y, x, c]`; `mask`: `[y, x]`.
///
/// # Examples
///
/// ```
/// use ndarray::{Array3, s};
/// use phenocoder_patches::views::{CanonicalConfig, canonical};
///
/// // A bar that lies across and is brighter at its right end.
/// let mut patch = Array3::zeros((5, 5, 1));
/// patch.slice_mut(s![1, .., 0]).assign(&ndarray::array![0.1_f32, 0.2, 0.3, 0.4, 0.5]);
/// let image = canonical(patch.view(), None, &CanonicalConfig::default().with_size(None))?;
/// let upright = image.slice(s![.., 2, 0]).to_vec();
/// for (found, expected) in upright.iter().zip([0.5, 0.4, 0.3, 0.2, 0.1]) {
///     assert!((found - expected).abs() < 1e-6, "in the middle, upright, the bright end up");
/// }
/// # Ok::<(), phenocoder_patches::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`] when a setting is out of range or the patch has no such channel; [`Error::Shape`] when the mask has
/// another extent; [`Error::NotFiniteValue`] when a pixel is NaN or infinite.
pub fn canonical(
    patch: ArrayView3<'_, f32>,
    mask: Option<ArrayView2<'_, bool>>,
    config: &CanonicalConfig,
) -> Result<Array3<f32>> {
    config.validate()?;
    Ok(Canonical::new(patch, mask, config)?.image)
}

/// The canonical image with the way to it, for views that are sampled from the patch itself.
pub(super) struct Canonical {
    pub(super) image: Array3<f32>,
    /// From the canonical image to the patch.
    pub(super) affine: Affine,
}

impl Canonical {
    pub(super) fn new(
        patch: ArrayView3<'_, f32>,
        mask: Option<ArrayView2<'_, bool>>,
        config: &CanonicalConfig,
    ) -> Result<Self> {
        let (height, width, channels) = patch.dim();
        if let Some(channel) = config.channel {
            let expected = "below the number of channels";
            ConfigError::check_range("channel", channel as f64, channel < channels, expected)?;
        }
        if let Some(((y, x, channel), &value)) =
            patch.indexed_iter().find(|(_, value)| !value.is_finite())
        {
            return Err(Error::NotFiniteValue {
                y,
                x,
                channel,
                value,
            });
        }
        let masked = match &mask {
            Some(mask) if mask.dim() != (height, width) => {
                return Err(phenocoder_core::ShapeError::Array {
                    what: "mask".to_owned(),
                    expected: format!("[{height}, {width}]"),
                    found: mask.shape().to_vec(),
                }
                .into());
            }
            Some(mask) => {
                let mut masked = patch.to_owned();
                for ((y, x), _) in mask.indexed_iter().filter(|&(_, &inside)| !inside) {
                    masked.slice_mut(ndarray::s![y, x, ..]).fill(0.0);
                }
                Some(masked)
            }
            None => None,
        };
        let pose = match &mask {
            Some(mask) => Pose::of_mask(*mask),
            None => Pose::of_mask(derived_mask(patch, config.background).view()),
        };
        let mut affine = Affine::centered(pose.center);
        if config.rotation {
            affine = affine.upright(pose.orientation);
        }
        if let (Some(size), 1..) = (config.size, pose.area) {
            affine = affine.enlarged(size * height.min(width) as f64 / pose.diameter());
        }
        let patch = masked.as_ref().map_or(patch, |masked| masked.view());
        let image = affine.sample(patch);
        let polar = match config.polar {
            Some(rule) => rule.choose(image.view(), config.channel),
            None => Polar::Identity,
        };
        Ok(Self {
            image: polar.apply(image.view()),
            affine: affine.mirrored(polar.reverses()),
        })
    }
}
