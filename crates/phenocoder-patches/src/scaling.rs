//! How pixels are brought to `[0, 1]`: fitted once, stored with the data and the model, applied alike ever after.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::list;
use crate::stats::{SliceStatistics, StatisticsConfig};
use crate::{Error, Result};

/// Over what a scaling range is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScalingMode {
    /// One range per sample and channel: differences in brightness between samples vanish.
    #[default]
    PerSample,
    /// One range per channel: differences in brightness between samples stay.
    Global,
}

/// What happens to a range without extent, as a channel has in which fewer pixels than the percentile are bright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Degenerate {
    /// The range widens to the smallest and largest pixel; where these agree too, every pixel becomes 0.
    #[default]
    FullRange,
    /// 1 is added to the upper end: pixels of an integer image become 0 or 1 (the original's way).
    AddOne,
}

/// The pixel values that become 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelRange {
    /// Pixels up to this value become 0.
    pub low: f64,
    /// Pixels from this value on become 1.
    pub high: f64,
    /// Whether the percentiles left no extent and [`Degenerate`] decided.
    pub degenerate: bool,
}

impl ChannelRange {
    /// `clip((value − low)/(high − low), 0, 1)`, and 0 where the range has no extent.
    #[must_use]
    pub fn apply(&self, value: f32) -> f32 {
        let span = (self.high - self.low) as f32;
        if span > 0.0 {
            ((value - self.low as f32) / span).clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// A fitted scaling: what each channel of each sample is scaled with.
///
/// It is stored with a patch set and with a model, so that new data are scaled exactly as the training data were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    mode: ScalingMode,
    degenerate: Degenerate,
    /// How the images were measured, so that new samples are measured alike.
    #[serde(default)]
    statistics: StatisticsConfig,
    channels: Vec<String>,
    /// Per sample, one range per channel; with [`ScalingMode::Global`] every sample seen has the same ranges.
    samples: BTreeMap<String, Vec<ChannelRange>>,
}

impl Scaling {
    /// Fits with [`Degenerate::FullRange`]; see [`fit_with`](Self::fit_with).
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::Array4;
    /// use phenocoder_core::{MemoryImage, NoProgress};
    /// use phenocoder_patches::{Scaling, ScalingMode, StatisticsConfig, image_statistics};
    ///
    /// let pixels = Array4::from_shape_fn((1, 1, 1, 101), |(_, _, _, x)| x as f32);
    /// let image = MemoryImage::new("ramp", pixels, vec!["DAPI".into()])?;
    /// let statistics = image_statistics(&image, "A", &StatisticsConfig::default(), &NoProgress)?;
    /// let scaling = Scaling::fit(&statistics, ScalingMode::PerSample)?;
    /// assert_eq!(scaling.apply("A", 0, 50.0)?, 0.5);
    /// assert_eq!(
    ///     scaling.apply("B", 0, 50.0).unwrap_err().to_string(),
    ///     "the scaling knows no sample `B`; it was fitted on: A",
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`fit_with`](Self::fit_with).
    pub fn fit(statistics: &[SliceStatistics], mode: ScalingMode) -> Result<Self> {
        Self::fit_with(statistics, mode, Degenerate::default())
    }

    /// Takes the smallest lower and the largest upper percentile over the slices of one sample and channel
    /// ([`ScalingMode::PerSample`]) or over all samples ([`ScalingMode::Global`]).
    ///
    /// Slices without a percentile (no foreground) are left out.
    ///
    /// # Differences from phenocoder (Python)
    ///
    /// A range without extent widens to the full range of the pixels and is reported by
    /// [`degenerate`](Self::degenerate); [`Degenerate::AddOne`] gives the original's numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without statistics, [`Error::MissingStatistics`] when a sample lacks a channel, and
    /// [`Error::Channels`] when two samples name their channels differently.
    pub fn fit_with(
        statistics: &[SliceStatistics],
        mode: ScalingMode,
        degenerate: Degenerate,
    ) -> Result<Self> {
        let count = statistics.iter().map(|row| row.channel + 1).max();
        let count = count.ok_or(Error::Empty {
            what: "the table of image statistics",
        })?;
        let mut found: BTreeMap<&str, Vec<Option<Extent>>> = BTreeMap::new();
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in statistics {
            let extents = found
                .entry(&row.sample)
                .or_insert_with(|| vec![None; count]);
            let extent = Extent::of(row);
            extents[row.channel] =
                Some(extents[row.channel].map_or(extent, |e: Extent| e.join(extent)));
            names.entry(&row.sample).or_insert_with(|| vec![""; count])[row.channel] =
                &row.channel_name;
        }
        let mut complete: BTreeMap<&str, Vec<Extent>> = BTreeMap::new();
        for (sample, extents) in found {
            let missing = |channel| Error::MissingStatistics {
                sample: sample.to_owned(),
                channel,
            };
            let extents = extents
                .into_iter()
                .enumerate()
                .map(|(channel, extent)| extent.ok_or_else(|| missing(channel)))
                .collect::<Result<_>>()?;
            complete.insert(sample, extents);
        }
        let channels = names.values().next().cloned().unwrap_or_default();
        if let Some((sample, other)) = names.iter().find(|(_, other)| **other != channels) {
            return Err(Error::Channels {
                sample: (*sample).to_owned(),
                expected: list(&channels),
                found: list(other),
            });
        }
        if mode == ScalingMode::Global {
            let all = complete.values().cloned().reduce(|a, b| {
                let both = a.iter().zip(&b);
                both.map(|(a, b)| a.join(*b)).collect()
            });
            let all = all.unwrap_or_default();
            complete
                .values_mut()
                .for_each(|extents| extents.clone_from(&all));
        }
        let ranges = |extents: Vec<Extent>| extents.iter().map(|e| e.range(degenerate)).collect();
        Ok(Self {
            mode,
            degenerate,
            statistics: StatisticsConfig::default(),
            channels: channels.into_iter().map(str::to_owned).collect(),
            samples: complete
                .into_iter()
                .map(|(sample, extents)| (sample.to_owned(), ranges(extents)))
                .collect(),
        })
    }

    /// A scaling with these ranges: the way to take over numbers from elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] when a sample has not one range per channel.
    pub fn from_ranges(
        mode: ScalingMode,
        channels: Vec<String>,
        samples: BTreeMap<String, Vec<ChannelRange>>,
    ) -> Result<Self> {
        for (sample, ranges) in &samples {
            phenocoder_core::ShapeError::check_len(
                &format!("ranges of sample {sample}"),
                channels.len(),
                ranges.len(),
            )?;
        }
        Ok(Self {
            mode,
            degenerate: Degenerate::default(),
            statistics: StatisticsConfig::default(),
            channels,
            samples,
        })
    }

    /// The same, with the settings that the images were measured with.
    ///
    /// Say them here when they are not the defaults: samples that are added later ([`extend`](Self::extend)) must be
    /// measured with [`statistics`](Self::statistics) to be comparable.
    #[must_use]
    pub fn with_statistics(mut self, statistics: StatisticsConfig) -> Self {
        self.statistics = statistics;
        self
    }

    /// How the images were measured.
    #[must_use]
    pub fn statistics(&self) -> &StatisticsConfig {
        &self.statistics
    }

    /// What was done with ranges without extent.
    #[must_use]
    pub fn degenerate_policy(&self) -> Degenerate {
        self.degenerate
    }

    /// Over what the ranges were taken.
    #[must_use]
    pub fn mode(&self) -> ScalingMode {
        self.mode
    }

    /// The names of the channels.
    #[must_use]
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    /// The samples it was fitted on, sorted.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &str> {
        self.samples.keys().map(String::as_str)
    }

    /// The ranges of a sample, one per channel.
    ///
    /// A global scaling has the same ranges for every sample, also for those it was not fitted on.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSample`] when the ranges are per sample and this one was not seen.
    pub fn ranges(&self, sample: &str) -> Result<&[ChannelRange]> {
        let seen = self.samples.get(sample);
        let found = match self.mode {
            ScalingMode::PerSample => seen,
            ScalingMode::Global => seen.or_else(|| self.samples.values().next()),
        };
        found
            .map(Vec::as_slice)
            .ok_or_else(|| Error::UnknownSample {
                sample: sample.to_owned(),
                known: list(self.samples.keys()),
            })
    }

    /// Scales one pixel.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSample`] as for [`ranges`](Self::ranges), [`Error::UnknownChannel`] for a channel that is not
    /// there.
    pub fn apply(&self, sample: &str, channel: usize, value: f32) -> Result<f32> {
        let range = self
            .ranges(sample)?
            .get(channel)
            .ok_or(Error::UnknownChannel {
                channel,
                channels: self.channels.len(),
            })?;
        Ok(range.apply(value))
    }

    /// The samples and channels whose percentiles left no extent: look at these channels before you trust them.
    #[must_use]
    pub fn degenerate(&self) -> Vec<(String, usize)> {
        let pairs = self.samples.iter().flat_map(|(sample, ranges)| {
            let channels = ranges
                .iter()
                .enumerate()
                .filter(|(_, range)| range.degenerate);
            channels.map(|(channel, _)| (sample.clone(), channel))
        });
        pairs.collect()
    }

    /// Adds the samples of another scaling, so that new samples can be encoded by a model trained on others.
    ///
    /// Samples that are known keep their ranges.
    ///
    /// # Errors
    ///
    /// [`Error::Channels`] when the channels differ.
    pub fn extend(&mut self, other: &Self) -> Result<()> {
        if self.channels != other.channels {
            return Err(Error::Channels {
                sample: list(other.samples.keys()),
                expected: list(&self.channels),
                found: list(&other.channels),
            });
        }
        // One range for all is what global means.
        let global = match self.mode {
            ScalingMode::PerSample => None,
            ScalingMode::Global => self.samples.values().next().cloned(),
        };
        for (sample, ranges) in &other.samples {
            let ranges = global.as_ref().unwrap_or(ranges);
            self.samples
                .entry(sample.clone())
                .or_insert_with(|| ranges.clone());
        }
        Ok(())
    }
}

/// Percentiles and extremes over some slices.
#[derive(Debug, Clone, Copy)]
struct Extent {
    low: f64,
    high: f64,
    min: f64,
    max: f64,
}

impl Extent {
    fn of(row: &SliceStatistics) -> Self {
        Self {
            low: row.percentile_low,
            high: row.percentile_high,
            min: row.min,
            max: row.max,
        }
    }

    /// NaN gives way to numbers in `f64::min` and `f64::max`.
    fn join(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    fn range(&self, policy: Degenerate) -> ChannelRange {
        if self.high > self.low {
            return ChannelRange {
                low: self.low,
                high: self.high,
                degenerate: false,
            };
        }
        let low = if self.low.is_nan() {
            self.min
        } else {
            self.low
        };
        let (low, high) = match policy {
            Degenerate::FullRange => (self.min, self.max),
            Degenerate::AddOne => (low, low + 1.0),
        };
        ChannelRange {
            low,
            high,
            degenerate: true,
        }
    }
}

#[cfg(test)]
mod tests;
