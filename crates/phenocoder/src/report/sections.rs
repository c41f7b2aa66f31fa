//! The sections of the page.

pub(super) mod arrangement;
pub(super) mod quality;

use std::fmt::Write as _;

use phenocoder_plot::Mark;

use super::Part;
use super::gather::Picture;
use super::html::{absent, count, escape, figure, number, percent};
use super::marks;
use super::page::{Material, Shown};
use super::traversal::{STEPS, step_name};

/// A part of the page with a heading.
pub(super) struct Section {
    id: &'static str,
    title: &'static str,
    /// What the section answers.
    question: &'static str,
    body: String,
}

impl Section {
    fn new(id: &'static str, title: &'static str, question: &'static str, body: String) -> Self {
        Self {
            id,
            title,
            question,
            body,
        }
    }

    pub(super) fn html(&self) -> String {
        format!(
            "<section id=\"{0}\" aria-labelledby=\"{0}-title\"><h2 id=\"{0}-title\">{1}</h2><p class=\"question\">{2}</p>{3}</section>\n",
            self.id, self.title, self.question, self.body
        )
    }
}

/// All sections in their order: what was found first, how it came about after it.
pub(super) fn all(
    material: &Material<'_>,
    shown: Result<&Shown, &str>,
    notes: &[String],
) -> Vec<Section> {
    let mut sections = found(material, shown);
    sections.extend(made(material, shown, notes));
    sections
}

/// What the cells and the samples are like.
fn found(material: &Material<'_>, shown: Result<&Shown, &str>) -> Vec<Section> {
    let gathered = &material.gathered;
    let mut clusters = gallery(material, shown);
    if let Some(agreement) = &gathered.agreement {
        clusters.push_str(&picture(agreement));
    }
    vec![
        Section::new(
            "cells",
            "Cells",
            "Which cells look alike, and where do they lie?",
            map(shown),
        ),
        Section::new(
            "clusters",
            "Clusters",
            "What does each cluster look like?",
            clusters,
        ),
        Section::new(
            "composition",
            "Composition",
            "What does each sample consist of?",
            either(&gathered.composition, arrangement::composition),
        ),
        Section::new(
            "neighbours",
            "Neighbours",
            "Which cells lie beside which?",
            arrangement::interactions(
                &gathered.interactions,
                &material.run.config.samples.keys.spatial_key,
            ),
        ),
        Section::new(
            "conditions",
            "Conditions",
            "What differs between the conditions?",
            arrangement::comparison(material),
        ),
        Section::new(
            "samples",
            "Samples",
            "Which samples are alike?",
            picture(&gathered.samples),
        ),
        Section::new(
            "batches",
            "Batches",
            "Do the latents know the batch?",
            either(&gathered.mixing, arrangement::mixing),
        ),
    ]
}

/// How that came about.
fn made(material: &Material<'_>, shown: Result<&Shown, &str>, notes: &[String]) -> Vec<Section> {
    vec![
        Section::new(
            "latents",
            "Latents",
            "What do the numbers of a cell mean?",
            latents(material, shown),
        ),
        Section::new(
            "training",
            "Training",
            "Did the network learn to see the cells?",
            quality::training(material),
        ),
        Section::new(
            "left-out",
            "Cells left out",
            "Which cells are missing, and why?",
            quality::left_out(material),
        ),
        Section::new(
            "scaling",
            "Scaling",
            "From which brightness to which does each channel reach?",
            quality::scaling(material),
        ),
        Section::new(
            "origin",
            "Settings and origin",
            "How can this be done again?",
            quality::origin(material, notes),
        ),
    ]
}

/// The links to the sections.
pub(super) fn navigation(sections: &[Section]) -> String {
    let link = |s: &Section| format!("<a href=\"#{}\">{}</a>", s.id, s.title);
    sections.iter().map(link).collect()
}

/// Heading, numbers at a glance, and what to look at first.
pub(super) fn head(material: &Material<'_>, title: &str) -> String {
    let run = &material.run;
    let report = run.report;
    let samples = material
        .cells
        .as_ref()
        .ok()
        .map(|c| c.samples.categories().len());
    let channels = material
        .gathered
        .manifest
        .as_ref()
        .ok()
        .map(|m| m.channels.len());
    let known = |n: Option<usize>| n.map_or_else(|| "–".to_owned(), count);
    let tiles = [
        ("cells", count(report.encode.cells)),
        ("samples", known(samples)),
        ("channels", known(channels)),
        ("latents", count(report.encode.latents)),
        ("clusters", count(report.cluster.clusters.len())),
        ("statistics per sample", count(report.samples.statistics)),
    ];
    let mut out = format!("<h1>{}</h1><dl class=\"facts\">", escape(title));
    for (name, value) in tiles {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    out.push_str("</dl>");
    if let Ok(manifest) = &material.gathered.manifest {
        let shape = report.dataset.shape;
        let _ = write!(
            out,
            "<p>Each cell is a patch of {} × {} pixels in the channels {}.</p>",
            shape.height,
            shape.width,
            escape(&manifest.channels.join(", "))
        );
    }
    let remarks = remarks(material);
    if !remarks.is_empty() {
        out.push_str("<div class=\"remarks\" role=\"note\"><h2>Look at this first</h2><ul>");
        for remark in remarks {
            let _ = write!(out, "<li>{}</li>", escape(&remark));
        }
        out.push_str("</ul></div>");
    }
    out
}

/// What may spoil the results.
fn remarks(material: &Material<'_>) -> Vec<String> {
    let report = material.run.report;
    let extract = &report.dataset.extract;
    let mut remarks = Vec::new();
    let dropped = report.encode.rows.saturating_sub(report.encode.cells);
    if dropped > 0 {
        let (n, all) = (count(dropped), count(report.encode.rows));
        remarks.push(format!(
            "{n} of {all} cells of the table have no latents: see “Cells left out”."
        ));
    }
    if !extract.degenerate.is_empty() {
        let n = extract.degenerate.len();
        remarks.push(format!(
            "{n} times a channel of a sample is nearly empty, so that its range had to be widened: see “Scaling”."
        ));
    }
    if !extract.saturated.is_empty() {
        let channels = extract.saturated.join(", ");
        remarks.push(format!(
            "Many pixels are saturated in {channels}: see “Scaling”."
        ));
    }
    if report.fit.split_by_patch {
        remarks.push(
            "There were too few samples to hold some out: patches were, so the validation loss says little of new samples."
                .to_owned(),
        );
    }
    let record = &report.fit.record;
    if report.fit.validation > 0
        && record.best_epoch == record.epochs.len()
        && !record.stopped_early
    {
        remarks
            .push("The last epoch was the best one: a longer training may give more.".to_owned());
    }
    let dropped = report.samples.notes.dropped.iter();
    let dropped: Vec<(&str, String)> = dropped
        .map(|one| (one.unit.as_str(), one.reason.to_string()))
        .collect();
    remarks.extend(not_described(&dropped));
    remarks
}

/// Samples without statistics, the first ones by name and reason.
fn not_described(dropped: &[(&str, String)]) -> Option<String> {
    const NAMED: usize = 5;
    if dropped.is_empty() {
        return None;
    }
    let named: Vec<String> = dropped
        .iter()
        .take(NAMED)
        .map(|(sample, why)| format!("{sample} ({why})"))
        .collect();
    let more = match dropped.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {} more", count(n)),
    };
    let all = count(dropped.len());
    let named = named.join(", ");
    Some(match dropped.len() {
        1 => format!("A sample was not described: {named}."),
        _ => format!("{all} samples were not described: {named}{more}."),
    })
}

/// The part, or why there is none.
fn either<T>(part: &Part<T>, body: impl Fn(&T) -> String) -> String {
    match part {
        Ok(value) => body(value),
        Err(why) => missing(why),
    }
}

/// Why there is nothing to show.
fn missing(why: &str) -> String {
    absent(&sentence(why))
}

/// Begins with a capital letter and ends with a full stop.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let end = if words.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

fn picture(part: &Part<Picture>) -> String {
    either(part, |picture| figure(&picture.svg, &picture.caption))
}

/// The frame of the map, which the page's program fills.
fn map(shown: Result<&Shown, &str>) -> String {
    if let Err(why) = shown {
        return missing(why);
    }
    include_str!("assets/map.html").to_owned()
}

/// A picture of a cell or of a step of a walk, drawn by the page's program.
fn tile(tile: usize, cell: Option<usize>, label: &str) -> String {
    let label = escape(label);
    match cell {
        Some(cell) => format!(
            "<button type=\"button\" class=\"tile\" data-cell=\"{cell}\" title=\"{label}\" aria-label=\"{label}: show on the map\"><canvas data-tile=\"{tile}\"></canvas></button>"
        ),
        None => format!(
            "<canvas class=\"tile\" data-tile=\"{tile}\" role=\"img\" aria-label=\"{label}\" title=\"{label}\"></canvas>"
        ),
    }
}

/// Typical and odd cells of each cluster.
fn gallery(material: &Material<'_>, shown: Result<&Shown, &str>) -> String {
    let (shown, cells) = match (shown, &material.cells) {
        (Ok(shown), Ok(cells)) => (shown, cells),
        (Err(why), _) => return missing(why),
        (_, Err(why)) => return missing(why),
    };
    let (examples, clusters) = match (&material.examples, &cells.clusters) {
        (Ok(examples), Ok(clusters)) => (examples, clusters),
        (Err(why), _) | (_, Err(why)) => return missing(why),
    };
    let n = clusters.categories().len();
    let mut out = "<div class=\"channels\"></div><div class=\"gallery\">".to_owned();
    for example in examples {
        let strip = |rows: &[usize]| -> String {
            let one = |&row: &usize| {
                let (place, picture) = shown.place(row)?;
                let sample = cells.samples.label(row).unwrap_or("?");
                let label = format!("cell {} of {sample}", cells.ids[row]);
                Some(tile(picture, Some(place), &label))
            };
            match rows.iter().filter_map(one).collect::<String>() {
                none if none.is_empty() => "<span class=\"absent\">no pictures</span>".to_owned(),
                tiles => tiles,
            }
        };
        let _ = write!(
            out,
            "<article><h3>{}Cluster {} <small>{} cells, {}</small></h3>\
             <div class=\"strip\"><h4>typical</h4>{}</div><div class=\"strip\"><h4>odd</h4>{}</div></article>",
            marks::point(Mark::of(example.cluster, n)),
            escape(&clusters.categories()[example.cluster]),
            count(example.cells),
            percent(example.cells as f64, cells.len() as f64),
            strip(&example.typical),
            strip(&example.odd),
        );
    }
    out.push_str(
        "</div><p class=\"caption\">Typical: nearest to the mean of the cluster in latent space. Odd: farthest from it. \
         A click shows the cell on the map.</p>",
    );
    if examples.len() < n {
        let _ = write!(
            out,
            "<p class=\"caption\">The {} largest of {n} clusters.</p>",
            examples.len()
        );
    }
    out
}

/// The mean cell with single latents moved.
fn latents(material: &Material<'_>, shown: Result<&Shown, &str>) -> String {
    let (walks, shown) = match (&material.walks, shown) {
        (Ok(walks), Ok(shown)) => (walks, shown),
        (Err(why), _) => return missing(why),
        (_, Err(why)) => return missing(why),
    };
    if walks.latents.is_empty() {
        return absent("No latents were asked for.");
    }
    if !shown.walks {
        return absent("Left out, for this file would be larger than was allowed.");
    }
    let mut out = "<div class=\"channels\"></div><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Walks along latents\"><table class=\"walks\"><thead><tr><th scope=\"col\">latent</th>".to_owned();
    for step in STEPS {
        let _ = write!(out, "<th scope=\"col\">{}</th>", step_name(step));
    }
    out.push_str("</tr></thead><tbody>");
    for (i, (latent, spread)) in walks.latents.iter().enumerate() {
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}<small>sd {}</small></th>",
            latent + 1,
            number(*spread)
        );
        for (j, step) in STEPS.iter().enumerate() {
            let picture = shown.pictures + i * STEPS.len() + j;
            let label = format!(
                "latent {} at {} standard deviations",
                latent + 1,
                number(*step)
            );
            let _ = write!(out, "<td>{}</td>", tile(picture, None, &label));
        }
        out.push_str("</tr>");
    }
    let under = match walks.conditions.is_empty() {
        true => String::new(),
        false => format!(
            " Decoded under the most frequent conditions: {}.",
            walks.conditions.join(", ")
        ),
    };
    let _ = write!(
        out,
        "</tbody></table></div><p class=\"caption\">The mean of all cells with one latent moved by standard deviations of the cells, decoded by the network: the {} latents that vary most.{}</p>",
        walks.latents.len(),
        escape(&under)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_becomes_a_sentence() {
        assert_eq!(sentence("no map was made"), "No map was made.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn samples_that_are_missing_are_one_remark() {
        assert_eq!(not_described(&[]), None);
        let dropped: Vec<(&str, String)> = ["a", "b", "c", "d", "e", "f"]
            .map(|name| (name, "it has no cells".to_owned()))
            .to_vec();
        assert_eq!(
            not_described(&dropped[..1]).unwrap(),
            "A sample was not described: a (it has no cells)."
        );
        let remark = not_described(&dropped).unwrap();
        assert!(remark.starts_with("6 samples were not described: a (it has no cells), b"));
        assert!(remark.ends_with(" and 1 more."), "{remark}");
    }

    #[test]
    fn the_label_of_a_picture_cannot_end_its_attribute() {
        const EVIL: &str = "\" onmouseover=\"alert(1)</script><img src=x>{{style}}";
        for markup in [tile(3, Some(7), EVIL), tile(3, None, EVIL)] {
            assert!(!markup.contains("\" onmouseover=\""), "{markup}");
            assert!(!markup.contains("<img") && !markup.contains("</script>"));
            assert!(markup.contains("data-tile=\"3\""));
        }
    }
}
