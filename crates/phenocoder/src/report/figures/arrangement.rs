//! What the samples consist of, what differs between them, and how batches mix.

use ndarray::Array2;
use phenocoder_core::Categorical;
use phenocoder_plot::{
    BarsConfig, Figure, GroupedBarsConfig, Interval, IntervalsConfig, bars, grouped_bars, intervals,
};
use phenocoder_spatial::comparison::Difference;

use super::{height_of, untaken};
use crate::error::{Error, Result};
use crate::pipeline::figures;
use crate::report::html::number;
use crate::report::page::Material;
use crate::report::sections::arrangement::{
    DIFFERENCES, FOUND, measure_of_difference, ranked, statistic,
};
use crate::report::{STEP, known};

/// A bar per sample, samples of a condition beside each other.
pub(super) fn composition(material: &Material<'_>) -> Result<Figure> {
    let cells = known(&material.cells)?;
    let make = known(&material.gathered.composition)?;
    let clusters = known(&cells.clusters)?;
    let mut places = vec![-1; make.order.len()];
    let mut names: Vec<String> = Vec::with_capacity(make.order.len());
    for (place, (sample, condition)) in make.order.iter().enumerate() {
        places[*sample] = place as i32;
        let sample = &make.composition.units[*sample];
        let name = match condition {
            Some(condition) => format!("{sample} · {condition}"),
            None => sample.clone(),
        };
        // Of `a` in `b · c` and `a · b` in `c` the names are the same.
        let name = untaken(&name, |name| names.iter().any(|taken| taken == name));
        names.push(name);
    }
    // The legend has up to three columns.
    let rows = names.len().max(clusters.categories().len().div_ceil(3));
    let place = |row: usize| cells.samples.code(row).map_or(-1, |sample| places[sample]);
    let samples = Categorical::new((0..cells.len()).map(place).collect(), names)?;
    let settings = BarsConfig::default()
        .with_fractions(true)
        .with_value_label("share of the cells")
        .with_legend_title(figures::words(&material.run.config.cluster.column))
        .with_size(720.0, height_of(rows));
    Ok(bars(clusters, Some(&samples), &settings)?)
}

/// The statistics that differ most between the conditions, as effects.
pub(super) fn comparison(material: &Material<'_>) -> Result<Figure> {
    let compared = &known(&material.gathered.comparison)?.found;
    let mut shown = ranked(compared);
    shown.truncate(DIFFERENCES);
    if shown.is_empty() {
        return Err(Error::data(STEP, "of no statistic can anything be told"));
    }
    let names: Vec<String> = shown.iter().map(|d| name(d)).collect();
    let two = compared.groups.len() == 2;
    let effects = Array2::from_shape_fn((shown.len(), 1), |(row, _)| {
        let d = shown[row];
        let size = if two { d.effect } else { d.explained };
        Interval::effect(size).with_marked(d.p_adjusted <= FOUND)
    });
    let settings = IntervalsConfig::default()
        .with_value_label(measure_of_difference(&compared.groups))
        .with_reference(0.0)
        .with_legend(
            format!("q above {}", number(FOUND)),
            format!("q up to {}", number(FOUND)),
        )
        .with_size(860.0, height_of(shown.len()));
    Ok(intervals(effects.view(), &names, &[""], &settings)?)
}

/// A statistic with its radius.
fn name(difference: &Difference) -> String {
    match statistic(&difference.name) {
        (radius, name) if radius.is_finite() => format!("{name}, {}", number(radius)),
        (_, name) => name,
    }
}

/// Measures of how batches mix: before a correction and, where there is one, after.
pub(super) fn batches(material: &Material<'_>) -> Result<Figure> {
    let mixing = known(&material.gathered.mixing)?;
    let Some((_, first)) = mixing.measured.first() else {
        return Err(Error::data(STEP, "nothing was measured"));
    };
    let names: Vec<&str> = first.iter().map(|(name, ..)| *name).collect();
    let series: Vec<&str> = mixing.measured.iter().map(|(rows, _)| *rows).collect();
    let values = Array2::from_shape_fn((names.len(), series.len()), |(row, column)| {
        let (_, measures) = &mixing.measured[column];
        measures.get(row).map_or(f64::NAN, |(_, value, _)| *value)
    });
    let key = figures::words(&mixing.batch_key);
    let settings = GroupedBarsConfig::default()
        .with_value_label(format!("measures by {key}"))
        .with_annotate(3)
        .with_size(720.0, height_of(values.len()));
    Ok(grouped_bars(values.view(), &names, &series, &settings)?)
}
