//! What the samples consist of, who lies beside whom, and what differs.

use std::fmt::Write as _;

use phenocoder_plot::Mark;
use phenocoder_spatial::comparison::{Difference, GroupComparison};
use phenocoder_spatial::composition::Composition;

use super::{missing, picture};
use crate::report::Part;
use crate::report::gather::{Make, Measured, Mixing, Picture};
use crate::report::html::{Cell, absent, count, escape, folded, number, percent, table};
use crate::report::marks;
use crate::report::page::Material;

/// Rows of the comparison of groups that are seen at first.
pub(in crate::report) const DIFFERENCES: usize = 30;
/// A statistic with a q of at most this is a discovery.
pub(in crate::report) const FOUND: f64 = 0.05;

/// One bar per sample, and the numbers.
pub(super) fn composition(make: &Make) -> String {
    let unread = match &make.unread {
        None => String::new(),
        Some(why) => missing(&format!("the conditions of the samples: {why}")),
    };
    let numbers = folded("Numbers", &counts(make));
    format!(
        "{unread}{}{}{numbers}",
        labels(&make.composition.labels),
        bars(make)
    )
}

/// The colours and patterns of the labels.
fn labels(labels: &[String]) -> String {
    let n = labels.len();
    let mut out = "<ul class=\"legend\">".to_owned();
    for (code, label) in labels.iter().enumerate() {
        let swatch = marks::swatch(Mark::of(code, n));
        let _ = write!(out, "<li>{swatch}{}</li>", escape(label));
    }
    out.push_str("</ul>");
    if n > Mark::DISTINCT {
        let _ = write!(
            out,
            "<p class=\"caption\">Colours and patterns come again after {} labels: go by the names and the numbers.</p>",
            Mark::DISTINCT
        );
    }
    out
}

/// A bar per sample, below the name of its condition.
fn bars(make: &Make) -> String {
    let mut out = "<div class=\"bars\">".to_owned();
    let has_groups = make.order.iter().any(|(_, condition)| condition.is_some());
    let mut group: Option<&Option<String>> = None;
    for (sample, condition) in &make.order {
        if has_groups && group != Some(condition) {
            let name = condition.as_deref().unwrap_or("no condition");
            let _ = write!(out, "<h3>{}</h3>", escape(name));
            group = Some(condition);
        }
        let name = escape(&make.composition.units[*sample]);
        let bar = bar(&make.composition, *sample);
        let _ = write!(
            out,
            "<div class=\"name\">{name}</div><div class=\"bar\">{bar}</div>"
        );
    }
    out + "</div>"
}

/// The shares of the labels in a sample.
fn bar(composition: &Composition, sample: usize) -> String {
    let n = composition.labels.len();
    let mut out = String::new();
    for (code, label) in composition.labels.iter().enumerate() {
        let share = composition.fractions[[sample, code]];
        if share.is_nan() || share <= 0.0 {
            continue;
        }
        let mark = Mark::of(code, n);
        let label = escape(label);
        let inside = match share >= 0.06 {
            true => format!("<b>{label}</b>"),
            false => String::new(),
        };
        let _ = write!(
            out,
            "<span class=\"{}\" style=\"width:{:.3}%;{}\" title=\"{label}: {}\">{inside}</span>",
            marks::pattern(mark),
            100.0 * share,
            marks::paint(mark),
            percent(share, 1.0)
        );
    }
    out
}

/// The numbers of cells as a table.
fn counts(make: &Make) -> String {
    let Make {
        composition, order, ..
    } = make;
    let rows = order.iter().map(|(sample, condition)| {
        let mut row = vec![Cell::text(&composition.units[*sample])];
        row.push(Cell::text(condition.clone().unwrap_or_default()));
        let counts = composition.counts.row(*sample);
        row.extend(counts.iter().map(|&n| Cell::count(n as usize)));
        row
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    let mut names = vec!["sample", "condition"];
    names.extend(composition.labels.iter().map(String::as_str));
    table("Cells of each cluster in each sample", &names, &rows, true)
}

/// Who lies beside whom; radii are in the unit of the coordinates under this key.
pub(super) fn interactions(radii: &[(f64, Part<Picture>)], spatial_key: &str) -> String {
    if radii.is_empty() {
        return absent("No radius was asked for.");
    }
    let unit = escape(&unit_of_radii(spatial_key));
    let one = |(radius, part): &(f64, Part<Picture>)| {
        format!(
            "<div><h3>Within {}</h3>{}</div>",
            number(*radius),
            picture(part)
        )
    };
    format!(
        "<p class=\"caption\">{unit}</p><div class=\"grid\">{}</div>",
        radii.iter().map(one).collect::<String>()
    )
}

/// In which unit radii are.
fn unit_of_radii(spatial_key: &str) -> String {
    format!("Radii are in the unit of the coordinates in obsm/{spatial_key}.")
}

/// The statistics that differ most between the conditions.
pub(super) fn comparison(material: &Material<'_>) -> String {
    let (compared, within) = match &material.gathered.comparison {
        Ok(comparison) => (&comparison.found, &comparison.within),
        Err(why) => return missing(why),
    };
    let mut known = ranked(compared);
    let found = known.iter().filter(|d| d.p_adjusted <= FOUND).count();
    let all = known.len();
    let least = least_p_value(&known);
    known.truncate(DIFFERENCES);
    let within = match within {
        Some(words) => format!(" {}", escape(words)),
        None => String::new(),
    };
    let more = match compared.rows_left_out {
        0 => String::new(),
        n => format!(" {n} samples without a condition or a batch were left out."),
    };
    format!(
        "<p>{} of {} statistics differ at a false discovery rate of {} % (samples are compared, not cells).{within}{more}</p>{}\
         <p class=\"caption\">The {} of {} statistics with the smallest p. {} {least} q: adjusted for the \
         number of statistics (Benjamini–Hochberg). {}</p>",
        count(found),
        count(all),
        number(100.0 * FOUND),
        differences(compared, &known),
        count(known.len()),
        count(all),
        escape(&size_of_difference(&compared.groups)),
        escape(&unit_of_radii(
            &material.run.config.samples.keys.spatial_key
        )),
    )
}

/// The statistics of which something can be told, the most certain difference first.
pub(in crate::report) fn ranked(compared: &GroupComparison) -> Vec<&Difference> {
    let known = compared.differences.iter();
    let mut known: Vec<&Difference> = known.filter(|d| !d.p_value.is_nan()).collect();
    known.sort_by(|a, b| {
        let p = a.p_value.total_cmp(&b.p_value);
        p.then(b.explained.total_cmp(&a.explained))
            .then(a.name.cmp(&b.name))
    });
    known
}

/// What p is, and how small it can be.
fn least_p_value(known: &[&Difference]) -> String {
    let by_size = known
        .iter()
        .min_by(|a, b| a.least_p_value.total_cmp(&b.least_p_value));
    let Some(least) = by_size else {
        return "p: permutations.".to_owned();
    };
    let with = match least.is_exact {
        true => "so many samples".to_owned(),
        false => format!("{} of them, drawn at random", count(least.arrangements)),
    };
    format!(
        "p: permutations, at least {} with {with}.",
        number(least.least_p_value)
    )
}

/// What the column between the means and p holds.
fn size_of_difference(groups: &[String]) -> String {
    let words = measure_of_difference(groups);
    match groups {
        [_, _] => format!("Effect: {words}."),
        _ => format!("Explained: the {words}, from 0 to 1."),
    }
}

/// How differences between these groups are measured.
pub(in crate::report) fn measure_of_difference(groups: &[String]) -> String {
    match groups {
        [_, higher] => format!("Hedges’ g, positive where {higher} is higher"),
        _ => "share of the variance that the groups explain".to_owned(),
    }
}

/// A row for each of these statistics.
fn differences(compared: &GroupComparison, shown: &[&Difference]) -> String {
    let two = compared.groups.len() == 2;
    let mut names = vec!["statistic", "radius"];
    names.extend(compared.groups.iter().map(String::as_str));
    names.extend([if two { "effect" } else { "explained" }, "p", "q"]);
    let rows: Vec<Vec<Cell>> = shown
        .iter()
        .map(|d| {
            let (radius, name) = statistic(&d.name);
            let mut row = vec![Cell::text(name), Cell::number(radius)];
            row.extend(d.means.iter().map(|&mean| Cell::number(mean)));
            row.push(match two {
                true => effect(d.effect),
                false => Cell::number(d.explained),
            });
            row.extend([Cell::number(d.p_value), Cell::number(d.p_adjusted)]);
            row
        })
        .collect();
    table("Statistics that differ most", &names, &rows, true)
}

/// An effect as a number and a bar to the left or right.
fn effect(g: f64) -> Cell {
    let width = (g.abs() / 4.0).min(1.0) * 50.0;
    let left = if g < 0.0 { 50.0 - width } else { 50.0 };
    let markup = match g.is_finite() {
        true => format!(
            "<span class=\"effect\"><span>{}</span><i><b style=\"left:{left:.1}%;width:{width:.1}%\"></b></i></span>",
            number(g)
        ),
        false => "–".to_owned(),
    };
    Cell::Markup(markup, g)
}

/// The radius and the name of a statistic, from the name of its column.
pub(in crate::report) fn statistic(column: &str) -> (f64, String) {
    const GROUPS: [&str; 6] = [
        "interactions",
        "centrality",
        "connectivity",
        "moran_features",
        "moran_clusters",
        "chull",
    ];
    let parsed = column.strip_prefix("radius:").and_then(|rest| {
        let (radius, name) = rest.split_once("_stat:")?;
        Some((radius.parse().ok()?, name))
    });
    let Some((radius, name)) = parsed else {
        return (f64::NAN, column.to_owned());
    };
    // `interactions_interaction_norm_a_b` says its group twice.
    let group = GROUPS.iter().find(|group| name.starts_with(*group));
    let rest = group.map_or(name, |group| name[group.len()..].trim_start_matches('_'));
    let words = rest.replace('_', " ");
    match group {
        Some(group) => (radius, format!("{} · {words}", group.replace('_', " "))),
        None => (radius, words),
    }
}

pub(super) fn mixing(mixing: &Mixing) -> String {
    let bar = |value: f64| Cell::share(&number(value), value, value);
    let mut columns = vec!["measure"];
    columns.extend(mixing.measured.iter().map(|(rows, _)| *rows));
    columns.push("what it says");
    let first = mixing.measured.first();
    let rows: Vec<Vec<Cell>> = first
        .into_iter()
        .flat_map(|(_, measures)| measures.iter().enumerate())
        .map(|(i, (name, _, says))| {
            let mut row = vec![Cell::text(*name)];
            let values = mixing
                .measured
                .iter()
                .filter_map(|(_, measures)| measures.get(i));
            row.extend(values.map(|(_, value, _)| bar(*value)));
            row.push(Cell::text(*says));
            row
        })
        .collect();
    let caption = format!("How the labels of {} mix", mixing.batch_key);
    let mut shown = table(&caption, &columns, &rows, false);
    let _ = write!(
        shown,
        "<p class=\"caption\">{} {}</p>",
        escape(&mixing.matrices),
        escape(&measured_cells(mixing))
    );
    let of_clusters = |(_, measures): &Measured| {
        let mut names = measures.iter().map(|(name, ..)| name);
        names.any(|name| name.ends_with("clusters"))
    };
    if mixing.measured.len() > 1 && mixing.measured.iter().any(of_clusters) {
        shown.push_str(
            "<p class=\"caption\">Clusters were found in the corrected cells, which their own measures favour.</p>",
        );
    }
    for why in &mixing.missing {
        shown.push_str(&missing(why));
    }
    shown
}

/// On which cells mixing was measured.
fn measured_cells(mixing: &Mixing) -> String {
    let (n, all) = (count(mixing.cells), count(mixing.with_batch));
    let drawn = match mixing.cells < mixing.with_batch {
        true => format!("On {n} of {all} cells, drawn at random."),
        false => format!("On {n} cells."),
    };
    match mixing.without_batch {
        0 => drawn,
        without => format!(
            "{drawn} Left out: {} cells without a label of {}.",
            count(without),
            mixing.batch_key
        ),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use phenocoder_core::{Categorical, Features, NoProgress};
    use phenocoder_spatial::comparison::{ComparisonConfig, compare_groups};

    use super::*;

    #[test]
    fn cells_that_mixing_was_not_measured_on_are_counted() {
        let on = |cells, with_batch, without_batch| {
            measured_cells(&Mixing {
                batch_key: "run".to_owned(),
                cells,
                with_batch,
                without_batch,
                measured: Vec::new(),
                matrices: String::new(),
                missing: Vec::new(),
            })
        };
        assert_eq!(on(320, 320, 0), "On 320 cells.");
        assert_eq!(
            on(3_000, 9_000, 1_500),
            "On 3,000 of 9,000 cells, drawn at random. Left out: 1,500 cells without a label of run."
        );
    }

    #[test]
    fn a_legend_says_when_marks_come_again() {
        let named = |n: usize| -> Vec<String> { (0..n).map(|i| i.to_string()).collect() };
        assert!(!labels(&named(64)).contains("come again"));
        let many = labels(&named(65));
        assert!(many.contains("come again after 64 labels"), "{many}");
        assert_eq!(many.matches("<li>").count(), 65);
    }

    #[test]
    fn the_size_of_a_difference_is_explained_by_the_number_of_groups() {
        let groups = ["a", "b", "c"].map(str::to_owned);
        assert!(size_of_difference(&groups[..2]).contains("positive where b is higher"));
        let three = size_of_difference(&groups);
        assert!(three.starts_with("Explained") && !three.contains("Hedges"));
    }

    #[test]
    fn the_smallest_p_comes_from_the_samples_or_from_the_number_of_permutations() {
        let with = |permutations: usize| {
            let values = Array2::from_shape_fn((6, 1), |(row, _)| row as f64);
            let values = Features::new(values, ["moranI"]).unwrap();
            let groups = Categorical::from_labels(["a", "a", "a", "b", "b", "b"]);
            let settings = ComparisonConfig::new().with_permutations(permutations);
            let found = compare_groups(&values, &groups, None, &settings, &NoProgress).unwrap();
            least_p_value(&ranked(&found))
        };
        assert_eq!(
            with(20),
            "p: permutations, at least 0.1 with so many samples."
        );
        let drawn = "p: permutations, at least 0.1 with 9 of them, drawn at random.";
        assert_eq!(with(9), drawn);
        assert_eq!(least_p_value(&[]), "p: permutations.");
    }

    #[test]
    fn statistics_are_named_as_one_would_say_them() {
        let name = "radius:25_stat:interactions_interaction_norm_0_1";
        assert_eq!(
            statistic(name),
            (25.0, "interactions · interaction norm 0 1".to_owned())
        );
        let (radius, name) = statistic("of_my_own");
        assert!(radius.is_nan() && name == "of_my_own");
    }
}
