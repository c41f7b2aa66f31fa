//! How bright images are: exact statistics of every slice in bounded memory.

mod histogram;
mod quantile;
mod radix;

use phenocoder_core::{DataType, ImageShape, ImageSource, Progress};
use serde::{Deserialize, Deserializer, Serialize};

use crate::blocks::pixels;
use crate::{ConfigError, Error, Result};

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct StatisticsConfig {
    /// The lower percentile, in `[0, 50]`; the upper one is 100 minus this (default 1).
    pub percentile: f64,
    /// Whether percentiles are taken over foreground pixels alone (default `false`).
    pub foreground_only: bool,
    /// Pixels above this value are foreground (default 0).
    pub foreground_threshold: f32,
    /// Whether [`SliceStatistics::mad_compat`] is computed too (default `false`).
    pub mad_compat: bool,
    /// How many bytes of pixels may be held at once (default 64 MiB).
    ///
    /// Pixels of more than 16 bits are read several times when a slice does not fit.
    pub memory: usize,
}

impl Default for StatisticsConfig {
    fn default() -> Self {
        Self {
            percentile: 1.0,
            foreground_only: false,
            foreground_threshold: 0.0,
            mad_compat: false,
            memory: 64 << 20,
        }
    }
}

impl StatisticsConfig {
    /// The same with another lower percentile.
    #[must_use]
    pub fn with_percentile(mut self, percentile: f64) -> Self {
        self.percentile = percentile;
        self
    }

    /// The same with percentiles over pixels above `threshold` alone.
    #[must_use]
    pub fn with_foreground_only(mut self, threshold: f32) -> Self {
        self.foreground_only = true;
        self.foreground_threshold = threshold;
        self
    }

    /// The same with the original's deviation computed too.
    #[must_use]
    pub fn with_mad_compat(mut self) -> Self {
        self.mad_compat = true;
        self
    }

    /// The same with another limit on the pixels held at once, in bytes.
    #[must_use]
    pub fn with_memory(mut self, memory: usize) -> Self {
        self.memory = memory;
        self
    }

    /// Checks all settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] when the percentile is not in `[0, 50]` or the threshold is NaN.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let valid = (0.0..=50.0).contains(&self.percentile);
        ConfigError::check_range("percentile", self.percentile, valid, "in [0, 50]")?;
        let valid = !self.foreground_threshold.is_nan();
        ConfigError::check_range("foreground_threshold", f64::NAN, valid, "a number")
    }
}

/// The statistics of one slice of one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SliceStatistics {
    /// The sample.
    pub sample: String,
    /// The channel, counted from 0.
    pub channel: usize,
    /// The name of the channel.
    pub channel_name: String,
    /// The slice, counted from 0.
    pub z: usize,
    /// The mean.
    pub mean: f64,
    /// The standard deviation with divisor n.
    pub std: f64,
    /// The median.
    pub median: f64,
    /// The median distance from the median of this slice.
    pub mad: f64,
    /// The median distance from the median of the channel's whole stack, when asked for.
    pub mad_compat: Option<f64>,
    /// The smallest pixel.
    pub min: f64,
    /// The largest pixel.
    pub max: f64,
    /// The lower percentile; NaN when only foreground counts and there is none.
    #[serde(deserialize_with = "nan_from_null")]
    pub percentile_low: f64,
    /// The upper percentile; NaN when only foreground counts and there is none.
    #[serde(deserialize_with = "nan_from_null")]
    pub percentile_high: f64,
    /// The number of pixels.
    pub n: u64,
    /// The number of foreground pixels.
    pub n_foreground: u64,
}

/// JSON has no NaN: `null` stands for it.
fn nan_from_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Measures every slice of every channel, in the order channel, z.
///
/// Order statistics are exact: 8- and 16-bit pixels are counted in a histogram in a single pass,
/// others are found digit by digit in several passes over order-preserving keys.
/// Percentiles interpolate linearly, as numpy does by default.
/// The image is never held as a whole.
///
/// # Differences from phenocoder (Python)
///
/// [`SliceStatistics::mad`] is the deviation from the slice's own median;
/// the original's, from the median of the whole stack, is [`SliceStatistics::mad_compat`].
///
/// # Examples
///
/// ```
/// use ndarray::Array4;
/// use phenocoder_core::{MemoryImage, NoProgress};
/// use phenocoder_patches::{StatisticsConfig, image_statistics};
///
/// let pixels = Array4::from_shape_fn((1, 1, 1, 101), |(_, _, _, x)| x as f32);
/// let image = MemoryImage::new("ramp", pixels, vec!["DAPI".into()])?;
/// let rows = image_statistics(&image, "s", &StatisticsConfig::default(), &NoProgress)?;
/// assert_eq!((rows[0].percentile_low, rows[0].median, rows[0].percentile_high), (1.0, 50.0, 99.0));
/// assert_eq!((rows[0].mad, rows[0].n_foreground), (25.0, 100));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`] for settings out of range, [`Error::EmptyImage`] for an image without pixels,
/// [`Error::NotFinitePixel`] for the first NaN or infinite pixel of a block, [`Error::Source`] when reading fails,
/// [`Error::Cancelled`] when the caller stopped.
#[doc(alias = "get_image_stats")]
pub fn image_statistics(
    source: &dyn ImageSource,
    sample: &str,
    config: &StatisticsConfig,
    progress: &dyn Progress,
) -> Result<Vec<SliceStatistics>> {
    config.validate()?;
    let _span = tracing::info_span!("image_statistics", sample).entered();
    let shape = source.shape();
    if pixels(shape) == 0 {
        return Err(Error::EmptyImage {
            image: source.name().to_owned(),
            extent: format!("{} × {} × {} × {}", shape.c, shape.z, shape.y, shape.x),
        });
    }
    let narrow = match source.data_type() {
        DataType::Bool | DataType::UInt8 => Some((0, 256)),
        DataType::Int8 => Some((-128, 256)),
        DataType::UInt16 => Some((0, 65_536)),
        DataType::Int16 => Some((-32_768, 65_536)),
        _ => None,
    };
    let measured = match narrow {
        Some(range) => histogram::measure(source, range, config, progress)?,
        None => radix::measure(source, config, progress)?,
    };
    let rows = measured.into_iter().enumerate().map(|(i, m)| {
        let channel = i / shape.z;
        SliceStatistics {
            sample: sample.to_owned(),
            channel,
            channel_name: source.channels().get(channel).cloned().unwrap_or_default(),
            z: i % shape.z,
            mean: m.mean,
            std: m.std,
            median: m.median,
            mad: m.mad,
            mad_compat: m.mad_compat,
            min: m.min,
            max: m.max,
            percentile_low: m.low,
            percentile_high: m.high,
            n: m.n,
            n_foreground: m.n_foreground,
        }
    });
    Ok(rows.collect())
}

/// The numbers of one slice.
#[derive(Debug, Clone, Default)]
struct Measured {
    n: u64,
    n_foreground: u64,
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
    median: f64,
    mad: f64,
    mad_compat: Option<f64>,
    low: f64,
    high: f64,
}

/// The quantiles of the lower and upper percentile among `n` values of which the `n_foreground` largest are foreground,
/// or `None` when only foreground counts and there is none.
fn percentiles(
    n: u64,
    n_foreground: u64,
    config: &StatisticsConfig,
) -> Option<[quantile::Quantile; 2]> {
    let among = if config.foreground_only {
        n_foreground
    } else {
        n
    };
    if among == 0 {
        return None;
    }
    let at = |p: f64| quantile::Quantile::new(among, p / 100.0).above(n - among);
    Some([at(config.percentile), at(100.0 - config.percentile)])
}

/// The pixels of a slice.
fn slice_pixels(shape: ImageShape) -> u64 {
    shape.y as u64 * shape.x as u64
}
