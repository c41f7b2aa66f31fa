//! A description beside the one that is expected.

use serde_json::Value;

/// Parts of an expected description that say how it was made, and texts that are not compared.
const SKIPPED: [&str; 7] = [
    "case",
    "store",
    "notes",
    "written_by",
    "read_by",
    "hash_rules",
    "wkt_first",
];

/// Notes every place where `found` is not as `expected`.
pub(crate) fn compare(expected: &Value, found: &Value, place: &str, problems: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let skipped = |name: &String| SKIPPED.contains(&name.as_str());
            for (name, expected) in expected.iter().filter(|(name, _)| !skipped(name)) {
                let place = format!("{place}/{name}");
                match found.get(name) {
                    Some(found) => compare(expected, found, &place, problems),
                    None => problems.push(format!("{place}: it is not there")),
                }
            }
            for name in found.keys().filter(|name| !expected.contains_key(*name)) {
                problems.push(format!("{place}/{name}: it should not be there"));
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(expected, found, &format!("{place}[{at}]"), problems);
            }
        }
        (Value::Number(e), Value::Number(f)) if e.is_f64() || f.is_f64() => {
            let (e, f) = (e.as_f64().unwrap(), f.as_f64().unwrap());
            // Python and we add and multiply in different orders there.
            let rounded = ["/matrix", "/area", "/bounds", "/pixel_centers"];
            let tolerance = if rounded.iter().any(|part| place.contains(part)) {
                1e-12 * e.abs().max(1.0)
            } else {
                0.0
            };
            if e != f && (e - f).abs() > tolerance {
                problems.push(format!("{place}: expected {e}, found {f}"));
            }
        }
        _ if expected == found => {}
        _ => problems.push(format!(
            "{place}: expected {}, found {}",
            shorten(expected),
            shorten(found)
        )),
    }
}

fn shorten(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}
