//! Which cells were left out, and how channels were scaled.

use ndarray::Array2;
use phenocoder_plot::{
    Figure, GroupedBarsConfig, Interval, IntervalsConfig, grouped_bars, intervals,
};

use super::{height_of, within_area};
use crate::error::{Error, Result};
use crate::report::page::Material;
use crate::report::sections::quality::fates;
use crate::report::{STEP, known};

/// How many cells were kept, and how many were left out for each reason.
pub(super) fn left_out(material: &Material<'_>) -> Result<Figure> {
    let report = material.run.report;
    let fates = fates(&report.dataset.extract, &report.encode.select);
    let values = Array2::from_shape_fn((fates.len(), 2), |(row, column)| {
        let (_, patches, latents) = fates[row];
        [patches, latents][column] as f64
    });
    let settings = GroupedBarsConfig::default()
        .with_value_label("cells")
        .with_annotate(0)
        .with_size(760.0, height_of(2 * fates.len()));
    let names = fates.map(|(why, ..)| why);
    let series = ["patches for training", "latents"];
    Ok(grouped_bars(values.view(), &names, &series, &settings)?)
}

/// From which brightness to which each channel of each sample reaches; a panel per channel.
pub(super) fn scaling(material: &Material<'_>) -> Result<Figure> {
    let scaling = &known(&material.gathered.manifest)?.scaling;
    let channels = scaling.channels();
    let samples: Vec<&str> = scaling.samples().collect();
    let values = Array2::from_shape_fn((samples.len(), channels.len()), |(row, channel)| {
        let ranges = scaling.ranges(samples[row]).unwrap_or_default();
        match ranges.get(channel) {
            Some(range) => Interval::new(range.low, range.high).with_marked(range.degenerate),
            None => Interval::new(f64::NAN, f64::NAN),
        }
    });
    let width = (240.0 + 160.0 * channels.len() as f64).clamp(560.0, 9_000.0);
    let (width, height) = within_area(width, height_of(samples.len()));
    let mut settings = IntervalsConfig::default()
        .with_value_label("brightness")
        .with_reference(0.0)
        .with_size(width, height);
    if values.iter().any(|interval| interval.marked) {
        settings = settings.with_legend("as measured", "widened");
    }
    Ok(intervals(values.view(), &samples, channels, &settings)?)
}

/// How many pixels of the patches reach the upper end.
pub(super) fn saturation(material: &Material<'_>) -> Result<Figure> {
    let counted = &material.run.report.dataset.extract.saturation;
    if counted.is_empty() {
        return Err(Error::data(STEP, "no pixels were counted"));
    }
    let names: Vec<&str> = counted.iter().map(|s| s.channel.as_str()).collect();
    let values = Array2::from_shape_fn((counted.len(), 2), |(row, column)| {
        let channel = &counted[row];
        let all = [channel.values, channel.nonzero][column];
        // Without a pixel there is no share: 0/0 is no number.
        100.0 * channel.ones as f64 / all as f64
    });
    let settings = GroupedBarsConfig::default()
        .with_value_label("% of the pixels")
        .with_annotate(1)
        .with_size(720.0, height_of(2 * counted.len()));
    let series = ["of all pixels", "of those above 0"];
    Ok(grouped_bars(values.view(), &names, &series, &settings)?)
}
