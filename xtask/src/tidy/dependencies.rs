//! The table of `docs/dependencies.md`: every crate of others that we name, its version, and who uses it; nothing else.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::{DEPENDENCIES, table};
use crate::workspace::{Member, Use, is_ours};

/// Compares the table with the manifests.
pub(super) fn check(text: &str, root: &Table, members: &[Member]) -> Vec<String> {
    let rows = match table::rows(text, "dependencies") {
        Ok(rows) => rows,
        Err(finding) => return vec![format!("{DEPENDENCIES}: {finding}")],
    };
    let used = used(members);
    let mut findings = Vec::new();
    let mut listed = BTreeSet::new();
    for row in &rows {
        let [name, version, users, purpose, instead] = row[..] else {
            return vec![format!("{DEPENDENCIES}: the table needs five columns")];
        };
        let name = name.trim_matches('`');
        if !listed.insert(name) {
            findings.push(format!("{DEPENDENCIES}: `{name}` is listed twice"));
        }
        let Some(by) = used.get(name) else {
            findings.push(format!("{DEPENDENCIES}: nobody depends on `{name}`"));
            continue;
        };
        let said: BTreeSet<String> = table::items(users).into_iter().map(str::to_owned).collect();
        if said != *by {
            findings.push(format!(
                "{DEPENDENCIES}: `{name}` is used by {}, not by {}",
                join(by),
                join(&said)
            ));
        }
        match version_of(root, name) {
            Some(required) if required == version => {}
            Some(required) => findings.push(format!(
                "{DEPENDENCIES}: `{name}` is required in version {required}, not {version}"
            )),
            None => findings.push(format!(
                "Cargo.toml: `{name}` has no version in [workspace.dependencies]"
            )),
        }
        if purpose.is_empty() || instead.is_empty() {
            findings.push(format!(
                "{DEPENDENCIES}: `{name}` does not say what for, or what instead"
            ));
        }
    }
    for (name, by) in &used {
        if !listed.contains(name) {
            findings.push(format!(
                "{DEPENDENCIES}: `{name}`, used by {}, is missing",
                join(by)
            ));
        }
    }
    findings
}

/// The crates of others, and who depends on each.
fn used(members: &[Member]) -> BTreeMap<&str, BTreeSet<String>> {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for member in members {
        let dependencies = member.dependencies();
        let normal = |name: &str| {
            let mut all = dependencies.iter();
            all.any(|(n, _, kind)| *n == name && *kind == Use::Normal)
        };
        for &(name, _, kind) in dependencies.iter().filter(|(n, ..)| !is_ours(n)) {
            // What a crate depends on anyway needs no second mention for its tests.
            let user = match kind {
                Use::Normal => member.short.clone(),
                Use::Tests if normal(name) => continue,
                Use::Tests => format!("{} (tests)", member.short),
            };
            used.entry(name).or_default().insert(user);
        }
    }
    used
}

/// The page with versions and users as the manifests have them; reasons stay, and are empty where a row is new.
///
/// # Errors
///
/// When there is no table.
pub(super) fn renewed(text: &str, root: &Table, members: &[Member]) -> Result<String, String> {
    let rows = table::rows(text, "dependencies")?;
    let mut reasons = BTreeMap::new();
    for row in &rows {
        if let [name, _, _, purpose, instead] = row[..] {
            reasons.insert(name.trim_matches('`'), (purpose, instead));
        }
    }
    let mut table = String::new();
    for (name, by) in used(members) {
        let (purpose, instead) = reasons.get(name).copied().unwrap_or_default();
        // Those who compile it for every user come before those who test with it.
        let (tests, normal): (Vec<&String>, Vec<&String>) =
            by.iter().partition(|user| user.ends_with("(tests)"));
        let by: Vec<&str> = normal
            .into_iter()
            .chain(tests)
            .map(String::as_str)
            .collect();
        let version = version_of(root, name).unwrap_or_default();
        table += &format!(
            "| `{name}` | {version} | {} | {purpose} | {instead} |\n",
            by.join(", ")
        );
    }
    let (before, rest) = text
        .split_once("<!-- tidy: dependencies -->")
        .unwrap_or((text, ""));
    let mut lines = rest.split_inclusive('\n').peekable();
    let mut page = format!("{before}<!-- tidy: dependencies -->");
    while let Some(line) = lines.next_if(|line| !line.starts_with('|')) {
        page.push_str(line);
    }
    let old: Vec<&str> =
        std::iter::from_fn(|| lines.next_if(|line| line.starts_with('|'))).collect();
    page.extend(old.into_iter().take(2));
    page.push_str(&table);
    page.extend(lines);
    Ok(page)
}

fn join(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "nobody".to_owned();
    }
    names.iter().cloned().collect::<Vec<_>>().join(", ")
}

fn version_of<'a>(root: &'a Table, name: &str) -> Option<&'a str> {
    let entry = root.get("workspace")?.get("dependencies")?.get(name)?;
    entry
        .as_str()
        .or_else(|| entry.get("version").and_then(Value::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::member;

    const ROOT: &str = "[workspace.dependencies]\nlibm = \"0.2\"\nrayon = { version = \"1.1\" }";
    const TABLE: &str = "<!-- tidy: dependencies -->\n| c | v | u | f | i |\n|-|-|-|-|-|\n\
        | `libm` | 0.2 | core, io (tests) | math | std |\n| `rayon` | 1.1 | io | threads | std |\n";

    fn members() -> [Member; 2] {
        [
            member(
                "c",
                "phenocoder-core",
                "[dependencies]\nlibm.workspace = true",
            ),
            member(
                "i",
                "phenocoder-io",
                "[dependencies]\nphenocoder-core = {}\nrayon = {}\n[dev-dependencies]\nlibm = {}\nrayon = {}",
            ),
        ]
    }

    fn findings(text: &str) -> Vec<String> {
        check(text, &ROOT.parse().unwrap(), &members())
    }

    #[test]
    fn a_true_table_passes() {
        assert!(findings(TABLE).is_empty(), "{:?}", findings(TABLE));
    }

    #[test]
    fn renewing_keeps_reasons_and_text_and_corrects_the_rest() {
        let old = TABLE
            .replace("| 1.1 | io |", "| 1.0 | core |")
            .replace("| `libm` | 0.2 | core, io (tests) | math | std |\n", "");
        let page = format!("before\n{old}\nafter\n");
        let new = renewed(&page, &ROOT.parse().unwrap(), &members()).unwrap();
        let expected = TABLE.replace("| math | std |", "|  |  |");
        assert_eq!(new, format!("before\n{expected}\nafter\n"));
    }

    #[test]
    fn a_missing_a_wrong_and_a_superfluous_row_are_found() {
        let missing = TABLE.replace("| `rayon` | 1.1 | io | threads | std |\n", "");
        assert!(findings(&missing)[0].contains("`rayon`, used by io, is missing"));
        let wrong = TABLE.replace("core, io (tests)", "io");
        assert!(findings(&wrong)[0].contains("used by core, io (tests), not by io"));
        let more = format!("{TABLE}| `half` | 2 | io | x | y |\n");
        assert!(findings(&more)[0].contains("nobody depends on `half`"));
    }

    #[test]
    fn another_version_and_an_empty_reason_are_found() {
        let version = TABLE.replace("| 1.1 |", "| 1.0 |");
        assert!(findings(&version)[0].contains("required in version 1.1, not 1.0"));
        let reason = TABLE.replace("| threads |", "| |");
        assert!(findings(&reason)[0].contains("does not say what for"));
    }
}
