//! Import edges: the table of `docs/architecture.md` against `[dependencies]`.

use super::{ARCHITECTURE, table};
use crate::workspace::{Member, Use, is_ours, short};

struct Row<'a> {
    krate: &'a str,
    may: Vec<&'a str>,
    never: Vec<&'a str>,
}

/// Compares the table with the manifests.
pub(super) fn check(text: &str, members: &[Member]) -> Vec<String> {
    let rows = match parse(text) {
        Ok(rows) => rows,
        Err(finding) => return vec![format!("{ARCHITECTURE}: {finding}")],
    };
    let mut findings = Vec::new();
    for row in &rows {
        let known = |name: &str| members.iter().any(|m| m.short == name);
        for name in std::iter::once(&row.krate).chain(&row.may) {
            if !known(name) {
                findings.push(format!("{ARCHITECTURE}: there is no crate `{name}`"));
            }
        }
    }
    for member in members {
        let Some(row) = rows.iter().find(|row| row.krate == member.short) else {
            findings.push(format!(
                "{ARCHITECTURE}: crate `{}` is missing in the table of imports",
                member.short
            ));
            continue;
        };
        for (name, _, kind) in member.dependencies() {
            if kind == Use::Normal {
                findings.extend(broken(row, name).map(|why| format!("{}: {why}", member.dir)));
            }
        }
    }
    findings
}

fn parse(text: &str) -> Result<Vec<Row<'_>>, String> {
    let rows = table::rows(text, "imports")?;
    let row = |cells: &Vec<&'_ str>| cells.len() == 4;
    if !rows.iter().all(row) {
        return Err("the table of imports needs four columns".to_owned());
    }
    let rows = rows.into_iter().map(|cells| Row {
        krate: cells[0],
        may: table::items(cells[1]),
        never: table::items(cells[2]),
    });
    Ok(rows.collect())
}

/// Why the crate of this row may not depend on `name`.
fn broken(row: &Row<'_>, name: &str) -> Option<String> {
    if is_ours(name) {
        let allowed = row.may.contains(&short(name));
        return (!allowed).then(|| {
            format!(
                "imports `{name}`, which {ARCHITECTURE} does not allow to `{}`",
                row.krate
            )
        });
    }
    let pattern = row.never.iter().find(|p| matches(p, name))?;
    Some(format!(
        "imports `{name}`, but {ARCHITECTURE} says that `{}` never imports `{pattern}`",
        row.krate
    ))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::member;

    const TABLE: &str = "<!-- tidy: imports -->\n\n| c | m | n | r |\n|-|-|-|-|\n\
        | core | – | `candle-*`, `rayon` | x |\n| io | core | `plotters` | x |\n";

    fn findings(core: &str, io: &str) -> Vec<String> {
        check(
            TABLE,
            &[
                member("crates/core", "phenocoder-core", core),
                member("crates/io", "phenocoder-io", io),
            ],
        )
    }

    #[test]
    fn allowed_edges_and_foreign_crates_pass() {
        let io = "[dependencies]\nphenocoder-core.workspace = true\nzarrs.workspace = true";
        assert!(findings("", io).is_empty());
    }

    #[test]
    fn an_edge_outside_the_table_is_found() {
        let found = findings("[dependencies]\nphenocoder-io.workspace = true", "");
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("crates/core: imports `phenocoder-io`"),
            "{found:?}"
        );
    }

    #[test]
    fn a_foreign_crate_that_is_never_imported_is_found() {
        let found = findings("[dependencies]\ncandle-nn = \"1\"\nrayon = \"1\"", "");
        assert_eq!(found.len(), 2);
        assert!(found[0].contains("never imports `candle-*`"), "{found:?}");
    }

    #[test]
    fn dependencies_of_tests_are_free() {
        let core = "[dev-dependencies]\nphenocoder-io.workspace = true\nrayon = \"1\"";
        assert!(findings(core, "").is_empty());
    }

    #[test]
    fn dependencies_of_a_platform_and_of_build_scripts_count() {
        let core =
            "[target.'cfg(unix)'.dependencies]\nrayon = \"1\"\n[build-dependencies]\nrayon = \"1\"";
        assert_eq!(findings(core, "").len(), 2);
    }

    #[test]
    fn a_crate_without_row_and_a_row_without_crate_are_found() {
        let members = [
            member("crates/core", "phenocoder-core", ""),
            member("crates/new", "phenocoder-new", ""),
        ];
        let found = check(TABLE, &members);
        assert!(found.iter().any(|f| f.contains("no crate `io`")));
        assert!(found.iter().any(|f| f.contains("crate `new` is missing")));
    }
}
