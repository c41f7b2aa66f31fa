//! The example `graph_statistics`: its modules are those of the example, not copies.
//!
//! What it makes of the reference sets is compared with every entry of their files, what it makes of sets at the edge of
//! definition must be complete, and what it says about files that it cannot read must name the place.

#[path = "../../examples/graph_statistics/archive.rs"]
mod archive;
#[path = "../../examples/graph_statistics/graphs.rs"]
mod graphs;
#[path = "../../examples/graph_statistics/input.rs"]
mod input;
#[path = "../../examples/graph_statistics/report.rs"]
mod report;
#[path = "../../examples/graph_statistics/ripley.rs"]
mod ripley;
#[path = "../../examples/graph_statistics/statistics.rs"]
mod statistics;
#[path = "../../examples/graph_statistics/table.rs"]
mod table;

mod degenerate;
mod files;

use std::collections::BTreeMap;

use phenocoder_spatial::autocorrelation::adjust_fdr;
use phenocoder_testdata::find;
use serde_json::Value;

use crate::every_entry::{Ledger, Within, flatten, leaves, not_ours};
use crate::sets::{numbers, sets};
use input::{Input, Overrides};
use report::{Numbers, Report};

const EXACT: Within = Within::Absolute(0.0);
const TIGHT: Within = Within::Relative(1e-12);
const SINGLE: Within = Within::Relative(1e-6);
const P_VALUE: Within = Within::Absolute(1e-6);

/// Two random results agree within this many standard errors of their difference.
const ERRORS: f64 = 4.0;
const PERMUTATIONS: f64 = 2000.0;

fn compute(input: &Input, only: &[&str]) -> (Value, BTreeMap<String, Vec<f64>>) {
    let only: Vec<String> = only.iter().map(ToString::to_string).collect();
    let mut report = Report::new(&only);
    statistics::compute(input, 0, &mut report);
    let (json, arrays) = report.into_parts();
    let flat = |numbers| match numbers {
        Numbers::Real(values) => values.into_iter().collect(),
        Numbers::Whole(values) => values.into_iter().map(|v| v as f64).collect(),
        Numbers::Small(values) => values.into_iter().map(f64::from).collect(),
    };
    let arrays = arrays.into_iter().map(|(name, n)| (name, flat(n)));
    (json, arrays.collect())
}

#[test]
fn the_example_prints_every_entry_of_the_reference_sets() {
    for set in sets() {
        let Some(path) = find(&format!("spatial/{}.npz", set.name)) else {
            return;
        };
        let input = Input::read(&path, &Overrides::default()).unwrap();
        let (found, arrays) = compute(&input, &[]);
        let ties = numbers_of_ties(&found);
        assert_eq!(ties, if set.name == "grid2d" { 3 } else { 0 });
        let mut ledger = Ledger::new(&set);
        let mut paths = Vec::new();
        leaves(&set.json, String::new(), &mut paths);
        for path in paths.iter().filter(|path| not_ours(path).is_none()) {
            let ours = found.pointer(path);
            let ours = ours.unwrap_or_else(|| panic!("the example has no {path}"));
            let mut values = Vec::new();
            flatten(ours, &mut values);
            match chance(path, &found, &set.json, &values) {
                Some(error) => ledger.judged(path, values.len(), error),
                None => ledger.json(path, &values, within(path)),
            }
        }
        for name in set.npz.names() {
            if not_ours(&format!("npz/{name}")).is_none() {
                let values = arrays.get(&name);
                let values = values.unwrap_or_else(|| panic!("the example has no array {name}"));
                ledger.npz(&name, values, within_of_array(&name));
            }
        }
        ledger.report();
    }
}

fn numbers_of_ties(found: &Value) -> usize {
    found["notes"].as_array().unwrap().len()
}

/// The tolerance of an entry (spatial.md §14).
fn within(path: &str) -> Within {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let last = parts[parts.len() - 1];
    match parts[..] {
        ["graphs", ..] => match last {
            "conn_sum" | "diag_sum" => SINGLE,
            "dist_sum" => TIGHT,
            _ => EXACT,
        },
        ["stats", graph, statistic, ..] => match statistic {
            "interaction_weights" if graph.ends_with("spectral") || graph.ends_with("cosine") => {
                SINGLE
            }
            "interaction_normalized" => TIGHT,
            s if s.starts_with("interaction") => EXACT,
            s if s.starts_with("degree_col_sum") => SINGLE,
            "nhood_exact_permutation_moments" => Within::Relative(1e-10),
            s if s.starts_with("nhood") => EXACT,
            _ if last.starts_with("p_") || last.starts_with("pval") => P_VALUE,
            _ if last == "var_norm" => Within::Relative(1e-5),
            s if s.starts_with("moran") || s.starts_with("geary") => SINGLE,
            _ => TIGHT,
        },
        ["ripley", ..] => match last {
            "hull_area" => Within::Relative(1e-10),
            "bins" => TIGHT,
            "pvalues" => P_VALUE,
            _ => Within::Relative(1e-9),
        },
        ["sepal", ..] => Within::Absolute(0.001),
        ["phenocoder_row", "interactions" | "centrality", ..] => TIGHT,
        ["phenocoder_row", "chull", ..] => Within::Relative(1e-10),
        _ => SINGLE,
    }
}

fn within_of_array(name: &str) -> Within {
    match name {
        "g_radius1_spectral_conn_data" | "g_radius1_cosine_conn_data" => Within::Absolute(1e-6),
        name if name.ends_with("message_passing_A_Dinv_X") => Within::Absolute(1e-6),
        name if name.ends_with("data") || name.ends_with("clustering") => TIGHT,
        _ => EXACT,
    }
}

/// How far two random results are apart, as a part of what chance allows; `None` for what is not random.
fn chance(path: &str, found: &Value, golden: &Value, ours: &[f64]) -> Option<f64> {
    let entry = path.rsplit('/').next()?;
    let mut theirs = Vec::new();
    flatten(golden.pointer(path)?, &mut theirs);
    let worst = |error: &dyn Fn(f64, f64) -> f64| {
        let pairs = ours.iter().zip(&theirs);
        let error = pairs.fold(0.0, |most: f64, (&a, &b)| most.max(error(a, b)));
        if ours.len() == theirs.len() {
            error
        } else {
            f64::INFINITY
        }
    };
    let spread = |z: f64, n: f64| 1.0 / n.sqrt() + z.abs() / (2.0 * n).sqrt();
    if let Some(n) = [("1000_seed0", 1e3), ("20000_seed1", 2e4)]
        .into_iter()
        .find_map(|(name, n)| path.contains(name).then_some(n))
        && entry == "zscore"
    {
        return Some(worst(&|a, b| (a - b).abs() / (ERRORS * spread(b, n))));
    }
    if !path.contains("perm2000") {
        return None;
    }
    let both = std::f64::consts::SQRT_2;
    match entry {
        "var_sim" => {
            let allowed = ERRORS * both * (2.0 / PERMUTATIONS).sqrt();
            Some(worst(&|a, b| (a / b - 1.0).abs() / allowed))
        }
        "pval_z_sim" => Some(worst(&|a, b| {
            // The peer's are 1 less a number near 1.
            let (a, b) = (z_of(a.max(1e-14)), z_of(b.max(1e-14)));
            (a - b).abs() / (ERRORS * both * spread(b, PERMUTATIONS))
        })),
        "pval_sim" => Some(worst(&|a, b| {
            let variance = a.max(b) * (1.0 - a.min(b)) * 2.0 / PERMUTATIONS;
            (a - b).abs() / (ERRORS * variance.sqrt() + 1.0 / PERMUTATIONS)
        })),
        "pval_z_sim_fdr_bh" | "pval_sim_fdr_bh" => {
            // Adjusted from the p-values printed beside it.
            let of = path.trim_end_matches("_fdr_bh");
            let adjusted = adjust_fdr(&numbers(found.pointer(of)?));
            let same = adjusted
                .iter()
                .zip(ours)
                .all(|(a, b)| (a - b).abs() <= 1e-12);
            Some(if same { 0.0 } else { f64::INFINITY })
        }
        _ => None,
    }
}

/// The number of standard deviations beyond which the normal distribution has this part.
fn z_of(p: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 10.0);
    for _ in 0..80 {
        let z = 0.5 * (low + high);
        let upper = 0.5 * libm::erfc(z / std::f64::consts::SQRT_2);
        if upper > p { low = z } else { high = z }
    }
    low
}
