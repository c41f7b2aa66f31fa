//! Stores that Python wrote hold what Python reads in them.

use serde_json::Value;

use super::child::inspect;
use super::compare::compare;
use super::{cases, json, name, say, sorted};

/// The parts of a description.
const PARTS: [&str; 7] = [
    "attrs",
    "coordinate_systems",
    "images",
    "labels",
    "points",
    "shapes",
    "tables",
];

#[test]
fn valid_stores_hold_what_python_reads_in_them() {
    let Some(cases) = cases() else { return };
    let (mut passed, mut total, mut elements) = (0, 0, 0);
    let mut failures = Vec::new();
    for case in sorted(&cases.join("valid")) {
        total += 1;
        let name = name(&case);
        let expected = json(&case.join("expected.json"));
        let store = case.join(expected["store"].as_str().unwrap());
        let described = match inspect(&store, false).result {
            Ok(described) => described,
            Err(problem) => {
                failures.push(format!("{name}: {problem}"));
                continue;
            }
        };
        let mut problems = Vec::new();
        let mut warnings = described["warnings"].as_array().unwrap().clone();
        // Their arrays were made anew after the consolidated metadata were written.
        if name.starts_with("codecs_") {
            warnings.retain(|w| !w["problem"].as_str().unwrap().contains("other metadata"));
        }
        // Its list of masks is left incomplete on purpose: legal, and worth a word.
        if name.starts_with("metadata_odd") {
            let before = warnings.len();
            warnings.retain(|w| w["key"] != "labels");
            if warnings.len() + 1 != before {
                problems.push("the incomplete list of masks is not found".to_owned());
            }
        }
        problems.extend(warnings.iter().map(|w| format!("warning {w}")));
        for part in PARTS {
            let (expected, found) = (&expected[part], &described[part]);
            if part == "attrs" || part == "coordinate_systems" {
                compare(expected, found, part, &mut problems);
                continue;
            }
            let names = |part: &Value| {
                part.as_object()
                    .unwrap()
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
            };
            if names(expected) != names(found) {
                problems.push(format!("{part}: found {:?}", names(found)));
                continue;
            }
            for (element, expected) in expected.as_object().unwrap() {
                elements += 1;
                let found = &found[element];
                // Codecs of the optional tier may be refused, but never misread.
                let refused = found["error"]["class"] == "UnsupportedCodec";
                if !(refused && name.contains("_optional")) {
                    compare(expected, found, &format!("{part}/{element}"), &mut problems);
                }
            }
        }
        if problems.is_empty() {
            passed += 1;
        } else {
            problems.truncate(8);
            failures.push(format!("{name}:\n  {}", problems.join("\n  ")));
        }
    }
    say(&format!(
        "valid stores: {passed} of {total} cases, {elements} elements"
    ));
    assert!(
        failures.is_empty(),
        "{passed} of {total}\n{}",
        failures.join("\n")
    );
}
