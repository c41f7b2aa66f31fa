//! Ripley's functions in the layout of the peer.

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, NoProgress, Seed};
use phenocoder_spatial::hull::convex_hull;
use phenocoder_spatial::ripley::{Ripley, RipleyConfig, RipleyFunction, empty_space_at, ripley};
use phenocoder_spatial::summary::Mode;
use serde_json::{Map, Value};

use super::input::Input;
use super::report::{Failure, Outcome, Report, number, numbers};

/// The number of distances, of locations, and of random patterns, as in the reference sets.
const STEPS: usize = 30;
const LOCATIONS: usize = 200;
const SIMULATIONS: f64 = 20.0;

/// Computes F, G and L of every type by the peer's definitions.
///
/// The peer's random patterns are all the same draw, and that of the locations of F: where the input has the locations, what
/// the peer makes of its random patterns is known too.
pub(crate) fn compute(input: &Input, seed: u64, report: &mut Report) {
    let labels = input.labels.without_unused();
    for (name, function) in [
        ("F", RipleyFunction::F),
        ("G", RipleyFunction::G),
        ("L", RipleyFunction::L),
    ] {
        report.entry(&["ripley", name], || {
            of_function(input, &labels, function, Seed::new(seed))
        });
    }
    report.entry(&["ripley", "hull_area"], || {
        let hull = convex_hull(input.points.view())?;
        let message = "the points lie on a line, in space in a plane, or are too few";
        let hull = hull.ok_or_else(|| Failure::new("Degenerate", message))?;
        Ok(number(hull.volume))
    });
}

fn of_function(
    input: &Input,
    labels: &Categorical,
    function: RipleyFunction,
    seed: Seed,
) -> Outcome<Value> {
    let points = input.points.view();
    let locations = input.locations.as_ref().map(|l| l.view());
    let config = RipleyConfig::new()
        .with_steps(STEPS)
        .with_locations(LOCATIONS)
        .with_seed(seed)
        .with_mode(Mode::Compat);
    let found = match (function, locations) {
        (RipleyFunction::F, Some(locations)) => {
            empty_space_at(points, labels, locations, &config, &NoProgress)?
        }
        _ => ripley(points, labels, function, &config, &NoProgress)?,
    };
    let mut entries = Map::new();
    entries.insert("bins".to_owned(), numbers(&found.distances));
    let rows = labels.categories().iter().zip(found.values.rows());
    let of_types = rows.map(|(category, row)| (category.clone(), numbers(row)));
    entries.insert("stat".to_owned(), Value::Object(of_types.collect()));
    if let Some(locations) = locations {
        let simulated = simulated(input, function, locations, &config, &found)?;
        let p_value = |(&simulated, &found): (&f64, &f64)| {
            let above = if simulated >= found { SIMULATIONS } else { 0.0 };
            let p: f64 = (above + 1.0) / (SIMULATIONS + 1.0);
            p.min(1.0 - p)
        };
        let rows = found.values.rows().into_iter();
        let p_values = rows.map(|row| {
            let row: Vec<f64> = simulated.iter().zip(row).map(p_value).collect();
            numbers(&row)
        });
        entries.insert("pvalues".to_owned(), p_values.collect());
        entries.insert("sims_first".to_owned(), numbers(&simulated));
    }
    Ok(Value::Object(entries))
}

/// The function of the peer's random pattern.
fn simulated(
    input: &Input,
    function: RipleyFunction,
    pattern: ArrayView2<'_, f64>,
    config: &RipleyConfig,
    found: &Ripley,
) -> Outcome<Vec<f64>> {
    let mut config = config.clone();
    config.max_distance = found.distances.last().copied();
    config.neighbors = 1;
    let one = Categorical::from_labels(vec!["simulated"; pattern.nrows()]);
    let at = |to: ArrayView2<'_, f64>| empty_space_at(pattern, &one, to, &config, &NoProgress);
    Ok(match function {
        RipleyFunction::F => first(&at(pattern)?),
        RipleyFunction::G => first(&at(input.points.view())?),
        _ => {
            let drawn = ripley(pattern, &one, function, &config, &NoProgress)?;
            // The peer takes the number of all points and the hull of all, also for a random pattern.
            let (n, m) = (input.points.nrows() as f64, pattern.nrows() as f64);
            let scale = m * m / drawn.region_size * found.region_size / (n * n);
            let space = input.points.ncols() == 3;
            let scale = if space { scale.cbrt() } else { scale.sqrt() };
            first(&drawn).iter().map(|value| value * scale).collect()
        }
    })
}

/// The function of the only type.
fn first(found: &Ripley) -> Vec<f64> {
    let row = found.values.rows().into_iter().next();
    row.map_or_else(Vec::new, |row| row.to_vec())
}
