//! How the numbers came about: training, cells that are missing, scaling, settings.

use std::fmt::Write as _;

use phenocoder_patches::{ChannelRange, ExtractReport, Scaling};

use super::{either, missing, picture, sentence};
use crate::pipeline::FitReport;
use crate::report::html::{Cell, count, escape, figure, folded, number, percent, table};
use crate::report::page::Material;

pub(super) fn training(material: &Material<'_>) -> String {
    let curves = either(&material.gathered.training, |pictures| {
        let each: String = pictures
            .iter()
            .map(|p| figure(&p.svg, &p.caption))
            .collect();
        format!("<div class=\"grid\">{each}</div>")
    });
    format!(
        "<p>{}</p>{curves}{}",
        escape(&course(&material.run.report.fit)),
        picture(&material.gathered.montage)
    )
}

/// How the training went, in words.
fn course(fit: &FitReport) -> String {
    let record = &fit.record;
    let held_out = match fit.validation {
        0 => "none were held out".to_owned(),
        n if fit.split_by_patch => format!("{} of them held out one by one", count(n)),
        n => format!("{} more held out by sample", count(n)),
    };
    let stopped = match record.stopped_early {
        true => ", stopped early",
        false => "",
    };
    format!(
        "{} patches were trained on, {held_out}; {} weights, {} epochs{stopped}; the weights are those of epoch {}.",
        count(fit.train),
        count(fit.parameters),
        record.epochs.len(),
        record.best_epoch
    )
}

/// What became of the cells, and of how many, with the patches for training and with the latents.
pub(in crate::report) fn fates(
    patches: &ExtractReport,
    latents: &ExtractReport,
) -> [(&'static str, usize, usize); 6] {
    [
        ("kept", patches.kept, latents.kept),
        (
            "the patch reaches over the border",
            patches.dropped_border,
            latents.dropped_border,
        ),
        (
            "outside of the image",
            patches.dropped_outside,
            latents.dropped_outside,
        ),
        ("no position", patches.dropped_nan, latents.dropped_nan),
        (
            "no image of the sample",
            patches.dropped_no_image,
            latents.dropped_no_image,
        ),
        (
            "not drawn, as the settings ask for",
            patches.dropped_sampling,
            latents.dropped_sampling,
        ),
    ]
}

/// How many cells each step left out, by reason.
pub(super) fn left_out(material: &Material<'_>) -> String {
    let report = material.run.report;
    let (patches, latents) = (&report.dataset.extract, &report.encode.select);
    let bar = |n: usize, all: usize| {
        let share = n as f64 / all.max(1) as f64;
        Cell::share(&count(n), share, n as f64)
    };
    let rows: Vec<Vec<Cell>> = fates(patches, latents)
        .into_iter()
        .map(|(why, a, b)| {
            vec![
                Cell::text(why),
                bar(a, patches.cells),
                bar(b, latents.cells),
            ]
        })
        .collect();
    table(
        "Cells of the table",
        &["", "patches for training", "latents"],
        &rows,
        false,
    )
}

/// The range of each channel in each sample, and how much is saturated.
pub(super) fn scaling(material: &Material<'_>) -> String {
    match &material.gathered.manifest {
        Ok(manifest) => {
            let saturated = saturation(&material.run.report.dataset.extract);
            format!("{}{saturated}", ranges(&manifest.scaling))
        }
        Err(why) => missing(why),
    }
}

/// From which brightness to which the channels of each sample reach.
fn ranges(scaling: &Scaling) -> String {
    let channels = scaling.channels();
    let most: Vec<f64> = (0..channels.len())
        .map(|channel| {
            let high = |sample: &str| Some(scaling.ranges(sample).ok()?.get(channel)?.high);
            scaling.samples().filter_map(high).fold(0.0, f64::max)
        })
        .collect();
    let cell = |range: &ChannelRange, most: f64| {
        let place = |v: f64| (v / most.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0) * 100.0;
        let flag = match range.degenerate {
            true => " <strong>widened</strong>",
            false => "",
        };
        let markup = format!(
            "<span class=\"share\"><span>{} – {}{flag}</span><i><b style=\"left:{:.1}%;width:{:.1}%\"></b></i></span>",
            number(range.low),
            number(range.high),
            place(range.low),
            (place(range.high) - place(range.low)).max(0.5)
        );
        Cell::Markup(markup, range.high)
    };
    let rows: Vec<Vec<Cell>> = scaling
        .samples()
        .map(|sample| {
            let mut row = vec![Cell::text(sample)];
            let ranges = scaling.ranges(sample).unwrap_or_default();
            row.extend(
                ranges
                    .iter()
                    .zip(&most)
                    .map(|(range, most)| cell(range, *most)),
            );
            row
        })
        .collect();
    let mut names = vec!["sample"];
    names.extend(channels.iter().map(String::as_str));
    let shown = table("Brightness that becomes 0 and 1", &names, &rows, true);
    match rows.len() > 24 {
        true => folded(&format!("Ranges of {} samples", rows.len()), &shown),
        false => shown,
    }
}

/// How many pixels of the patches reach the upper end.
fn saturation(extract: &ExtractReport) -> String {
    let rows: Vec<Vec<Cell>> = extract
        .saturation
        .iter()
        .map(|s| {
            let (ones, all, above) = (s.ones as f64, s.values as f64, s.nonzero as f64);
            let many = extract.saturated.contains(&s.channel);
            vec![
                Cell::text(&s.channel),
                Cell::Number(ones / all, percent(ones, all)),
                Cell::Number(ones / above, percent(ones, above)),
                Cell::text(if many { "many" } else { "" }),
            ]
        })
        .collect();
    let names = ["channel", "of all pixels", "of those above 0", ""];
    table("Saturated pixels in the patches", &names, &rows, false)
}

/// What was made with what, all settings, and what the page leaves out.
pub(super) fn origin(material: &Material<'_>, notes: &[String]) -> String {
    let rows: Vec<Vec<Cell>> = material
        .gathered
        .origins
        .iter()
        .map(|(name, value)| vec![Cell::text(*name), Cell::text(value)])
        .collect();
    let mut out = table("What was made with what", &["", ""], &rows, false);
    let config = format!(
        "<pre tabindex=\"0\">{}</pre>",
        escape(&material.gathered.config)
    );
    out.push_str(&folded("All settings (config.json)", &config));
    out.push_str("<h3>What this page leaves out</h3>");
    match notes.is_empty() {
        true => out.push_str("<p>Nothing: every cell and every picture is here.</p>"),
        false => {
            out.push_str("<ul>");
            for note in notes {
                let _ = write!(out, "<li>{}</li>", escape(&sentence(note)));
            }
            out.push_str("</ul>");
        }
    }
    out
}
