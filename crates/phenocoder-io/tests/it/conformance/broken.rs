//! Damaged and hostile stores: the expected outcome, within limits, and nothing outside the store is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::child::{Described, can_watch, inspect};
use super::{cases, json, name, say, sorted};

/// Memory beyond that of reading a good store, in kB.
const EXTRA_KB: u64 = 64 << 10;

/// A store as deep in folders as its paths climb, with something readable wherever they lead.
struct Trap {
    folder: tempfile::TempDir,
    store: PathBuf,
}

impl Trap {
    fn around(case: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join("1/2/3/4");
        fs::create_dir_all(&parent).unwrap();
        let store = parent.join("store.zarr");
        copy(&case.join("store.zarr"), &store);
        let good = ["images/intact", "images/img"]
            .into_iter()
            .map(|name| store.join(name))
            .find(|path| path.exists())
            .unwrap();
        for bait in ["1/etc", "1/2/3/4/evil", "1/2/3/4/passwd"] {
            copy(&good, &folder.path().join(bait));
        }
        Self { folder, store }
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-R").arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cp failed");
}

/// Whether an error of ours is of a class that the cases suggest.
fn fits(class: &str, found: &str) -> bool {
    match (class, found) {
        // A column, or the description of the geometries, that a whole Parquet file does not have.
        ("InvalidParquet" | "InvalidGeometry", "MissingMetadata") => true,
        // Transformations nested deeper than any JSON may be.
        ("InvalidTransform", "InvalidJson") => true,
        _ => class == found,
    }
}

/// What is wrong with the outcome.
fn check(about: &Value, described: &Value) -> Vec<String> {
    let expect = &about["expect"];
    let element = about["element"].as_str().unwrap_or("/");
    let errors = described["errors"].as_array().unwrap();
    let mut problems = Vec::new();
    let mut check_error = |error: &Value| {
        let key = error["key"].as_str().unwrap_or_default();
        if element != "/" && !key.starts_with(element) {
            problems.push(format!("the error is about `{key}`"));
        }
        let class = &expect["error_class"];
        if let Some(class) = class.as_str()
            && !fits(class, error["class"].as_str().unwrap())
        {
            problems.push(format!("expected {class}, found {error}"));
        }
        if expect["stage"] == "open" && error["stage"] != "open" {
            problems.push(format!("found too late: {error}"));
        }
        if !error["message"].as_str().unwrap().contains(key) {
            problems.push(format!("the message does not say where: {error}"));
        }
    };
    match (expect["result"].as_str().unwrap(), errors.as_slice()) {
        ("error" | "error_or_ok", [error]) => check_error(error),
        ("error_or_ok" | "ok" | "ok_with_warning", []) => {}
        ("ok_window_only", []) => {
            let (kind, name) = element.split_once('/').unwrap();
            let level = &described[kind][name]["levels"][0];
            if level["samples"].as_array().is_none_or(|s| s.len() != 2) {
                problems.push(format!("no window of it was read: {level}"));
            }
        }
        (expected, found) => problems.push(format!("expected {expected}, found {found:?}")),
    }
    let warnings = described["warnings"].as_array();
    if expect["result"] == "ok_with_warning" && warnings.is_none_or(Vec::is_empty) {
        problems.push("there is no warning".to_owned());
    }
    if expect["other_elements_still_read"] == true && described.get("images").is_none() {
        problems.push("the other elements are not read".to_owned());
    }
    problems
}

/// What is wrong with the files opened.
fn check_opened(trap: &Trap, described: &Described) -> Vec<String> {
    let allowed = ["/proc/", "/sys/"];
    let inside = |path: &&String| {
        Path::new(path).starts_with(&trap.store) || allowed.iter().any(|a| path.starts_with(a))
    };
    let outside = described.opened.iter().flatten().filter(|p| !inside(p));
    outside.map(|path| format!("it opened {path}")).collect()
}

#[test]
fn broken_stores_give_the_expected_outcome() {
    let Some(cases) = cases() else { return };
    let watch = can_watch();
    let good = inspect(&cases.join("broken/missing_chunk__v3/store.zarr"), false);
    let (mut passed, mut failures) = (0, Vec::new());
    for case in sorted(&cases.join("broken")) {
        let name = name(&case);
        let about = json(&case.join("case.json"));
        let trap = Trap::around(&case);
        let described = inspect(&trap.store, watch);
        let mut problems = match &described.result {
            Ok(description) => check(&about, description),
            Err(problem) => vec![problem.clone()],
        };
        if let (Some(peak), Some(good)) = (described.peak_kb, good.peak_kb)
            && peak > good + EXTRA_KB
        {
            problems.push(format!("it took {peak} kB, {good} kB without the damage"));
        }
        problems.extend(check_opened(&trap, &described));
        drop(trap.folder);
        if problems.is_empty() {
            passed += 1;
        } else {
            failures.push(format!("{name}: {}", problems.join("; ")));
        }
    }
    let total = passed + failures.len();
    let watched = if watch { "watched" } else { "not watched" };
    say(&format!(
        "broken stores: {passed} of {total} cases, opened files {watched}"
    ));
    assert!(
        failures.is_empty(),
        "{passed} of {total}\n{}",
        failures.join("\n")
    );
}
