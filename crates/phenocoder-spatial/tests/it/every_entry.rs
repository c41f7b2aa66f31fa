//! Every entry of the sets `grid2d` and `random2d` at the tolerances of spatial.md §14, and how many of how many agree.
//!
//! An entry is a leaf of the JSON file (a number or an array of numbers) or an array of the NPZ file.
//! None is left out silently: what is no result of this crate is listed by [`not_ours`] with the reason, and the test fails
//! when an entry is neither compared nor listed.

mod graphs;
mod statistics;

use std::collections::{BTreeMap, BTreeSet};

use ndarray::Array1;
use serde_json::Value;

use crate::sets::{Set, number, sets};

#[test]
fn every_entry_agrees_or_is_listed() {
    for set in sets() {
        let mut ledger = Ledger::new(&set);
        graphs::compare(&set, &mut ledger);
        statistics::compare(&set, &mut ledger);
        ledger.report();
    }
}

/// Why an entry is no result that this crate could be compared with.
pub(crate) fn not_ours(path: &str) -> Option<&'static str> {
    let first = path.trim_start_matches('/').split('/').next()?;
    let last = path.rsplit('/').next()?;
    Some(match first {
        "set" | "notes" | "versions" => "description of the set",
        "inputs" => "input",
        "embed" => "results of phenocoder-embed",
        _ if path.starts_with("npz/e_") => "results of phenocoder-embed",
        _ if path.starts_with("npz/in_") || last == "ripley_F_reference_points" => "input",
        "graphs" if path.contains("/params/") => "input",
        "graphs" if last.ends_with("_dtype") => "how the peer stores numbers; ours have 64 bits",
        "stats" if last == "message_passing" => "points to the NPZ file",
        _ => return None,
    })
}

/// How the numbers of an entry are compared.
#[derive(Clone, Copy)]
pub(crate) enum Within {
    /// The largest relative error, of numbers that are not tiny.
    Relative(f64),
    /// The largest absolute error.
    Absolute(f64),
}

impl Within {
    fn error(self, found: f64, expected: f64) -> f64 {
        if found == expected || (found.is_nan() && expected.is_nan()) {
            return 0.0;
        }
        let difference = (found - expected).abs();
        let error = match self {
            Self::Relative(_) => difference / expected.abs().max(1e-9),
            Self::Absolute(_) => difference,
        };
        if error.is_nan() { f64::INFINITY } else { error }
    }

    fn tolerance(self) -> f64 {
        match self {
            Self::Relative(tolerance) | Self::Absolute(tolerance) => tolerance,
        }
    }
}

/// What was compared with what result.
pub(crate) struct Ledger<'a> {
    set: &'a Set,
    groups: BTreeMap<String, Group>,
    seen: BTreeSet<String>,
}

/// A line of the table.
#[derive(Default)]
struct Group {
    entries: usize,
    agreed: usize,
    numbers: usize,
    /// The largest error as a part of its tolerance, the error, and the entry.
    worst: (f64, f64, String),
    failed: Vec<String>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(set: &'a Set) -> Self {
        Self {
            set,
            groups: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Compares an entry of the JSON file.
    pub(crate) fn json(&mut self, path: &str, found: &[f64], within: Within) {
        let value = self.set.json.pointer(path);
        let value = value.unwrap_or_else(|| panic!("there is no entry {path}"));
        let mut expected = Vec::new();
        flatten(value, &mut expected);
        self.compare(path, found, &expected, within);
    }

    /// Compares an array of the NPZ file.
    pub(crate) fn npz(&mut self, name: &str, found: &[f64], within: Within) {
        let expected = npz_numbers(self.set, name);
        self.compare(&format!("npz/{name}"), found, &expected, within);
    }

    /// Records the outcome of a comparison of another kind; `error` is a part of what is allowed.
    pub(crate) fn judged(&mut self, path: &str, numbers: usize, error: f64) {
        self.record(path, numbers, error, error);
    }

    fn compare(&mut self, path: &str, found: &[f64], expected: &[f64], within: Within) {
        let error = if found.len() == expected.len() {
            let errors = found.iter().zip(expected);
            errors.fold(0.0, |most: f64, (f, e)| most.max(within.error(*f, *e)))
        } else {
            f64::INFINITY
        };
        let part = match within.tolerance() {
            0.0 if error == 0.0 => 0.0,
            tolerance => error / tolerance,
        };
        self.record(path, expected.len(), part, error);
    }

    fn record(&mut self, path: &str, numbers: usize, part: f64, error: f64) {
        assert!(
            self.seen.insert(path.to_owned()),
            "{path} was compared twice"
        );
        assert!(not_ours(path).is_none(), "{path} is listed as not ours");
        let group = self.groups.entry(group_of(path)).or_default();
        group.entries += 1;
        group.numbers += numbers;
        if part <= 1.0 {
            group.agreed += 1;
        } else {
            group.failed.push(format!("{path}: {error:e}"));
        }
        if part >= group.worst.0 {
            group.worst = (part, error, path.to_owned());
        }
    }

    /// Prints the table, and fails where an entry does not agree or was left out.
    pub(crate) fn report(&self) {
        let mut paths = Vec::new();
        leaves(&self.set.json, String::new(), &mut paths);
        paths.extend(
            self.set
                .npz
                .names()
                .iter()
                .map(|name| format!("npz/{name}")),
        );
        let mut others: BTreeMap<&str, usize> = BTreeMap::new();
        let mut missing = Vec::new();
        for path in &paths {
            match not_ours(path) {
                Some(reason) => *others.entry(reason).or_default() += 1,
                None if self.seen.contains(path) => {}
                None => missing.push(path.clone()),
            }
        }
        println!("\n{}: entries that agree, of how many", self.set.name);
        println!(
            "{:34} {:>13} {:>9} {:>9}  worst entry",
            "", "entries", "numbers", "max error"
        );
        let (mut agreed, mut entries, mut numbers) = (0, 0, 0);
        for (name, group) in &self.groups {
            let (_, error, path) = &group.worst;
            let count = format!("{} of {}", group.agreed, group.entries);
            println!(
                "{name:34} {count:>13} {:>9} {error:>9.1e}  {path}",
                group.numbers
            );
            agreed += group.agreed;
            entries += group.entries;
            numbers += group.numbers;
        }
        let count = format!("{agreed} of {}", entries + missing.len());
        println!(
            "{:34} {count:>13} {numbers:>9}",
            "all results of this crate"
        );
        for (reason, count) in &others {
            println!("not compared: {count:4} ({reason})");
        }
        println!("of random results the error is the part of what chance allows");
        println!("{} entries in the two files", paths.len());
        let failed: Vec<&String> = self.groups.values().flat_map(|g| &g.failed).collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert!(missing.is_empty(), "not compared: {missing:#?}");
        assert_eq!(entries + others.values().sum::<usize>(), paths.len());
    }
}

/// The line of the table that an entry belongs to.
fn group_of(path: &str) -> String {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        ["npz", name] if name.starts_with("g_") => "edges and their values (NPZ)".to_owned(),
        ["npz", _] => "statistics of nodes (NPZ)".to_owned(),
        ["stats", _, statistic, ..] => {
            let kind = statistic.split("_rownorm").next().unwrap_or(statistic);
            let kind = kind
                .split("_1000")
                .next()
                .and_then(|k| k.split("_20000").next());
            let permuted = if statistic.contains("perm2000") {
                ", permuted"
            } else {
                ""
            };
            format!("stats: {}{permuted}", kind.unwrap_or(statistic))
        }
        [first, second, ..] if first == "ripley" || first == "phenocoder_row" => {
            format!("{first}: {second}")
        }
        [first, ..] => first.to_owned(),
        [] => String::new(),
    }
}

pub(crate) fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                leaves(value, format!("{path}/{key}"), out);
            }
        }
        _ => out.push(path),
    }
}

pub(crate) fn flatten(value: &Value, out: &mut Vec<f64>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, out)),
        Value::Bool(value) => out.push(f64::from(u8::from(*value))),
        value => out.push(number(value)),
    }
}

/// An array of the NPZ file, whatever its type.
pub(crate) fn npz_numbers(set: &Set, name: &str) -> Vec<f64> {
    let whole = ["indptr", "indices", "degree_undirected"];
    if whole.iter().any(|end| name.ends_with(end)) {
        let values: ndarray::ArrayD<i64> = set.npz.dynamic(name);
        values.iter().map(|&value| value as f64).collect()
    } else if name.ends_with("components") {
        let values: Array1<i32> = set.npz.array(name);
        values.iter().map(|&value| f64::from(value)).collect()
    } else {
        let values: ndarray::ArrayD<f64> = set.npz.dynamic(name);
        values.iter().copied().collect()
    }
}
