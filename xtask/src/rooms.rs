//! The list of modules in `docs/architecture.md`, made from the first sentence of each module's docs.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use toml::Value;

use crate::workspace::{Member, Workspace};

/// Where the list stands.
const PAGE: &str = "docs/architecture.md";
const START: &str = "<!-- rooms: made by `cargo xtask tables` -->\n";
const END: &str = "<!-- end of rooms -->\n";
/// The crates in the order in which data flows through them.
const ORDER: [&str; 9] = [
    "core",
    "io",
    "patches",
    "model",
    "spatial",
    "embed",
    "plot",
    "phenocoder",
    "testdata",
];

/// Writes the list anew.
///
/// # Errors
///
/// When the page cannot be read or written or has no place for the list.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let page = workspace.read(PAGE)?;
    let new = renewed(&page, &list(workspace)?).context(PAGE)?;
    if new != page {
        std::fs::write(workspace.root.join(PAGE), new)?;
    }
    Ok(())
}

/// Says whether the list is out of date.
///
/// # Errors
///
/// When a source cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let page = workspace.read(PAGE).unwrap_or_default();
    Ok(match renewed(&page, &list(workspace)?) {
        None => vec![format!("{PAGE}: no place for the list of modules")],
        Some(new) if new != page => vec![format!(
            "{PAGE}: the list of modules is out of date; run `cargo xtask tables`"
        )],
        Some(_) => Vec::new(),
    })
}

/// The page with this list between its marks.
fn renewed(page: &str, list: &str) -> Option<String> {
    let (before, rest) = page.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{START}{list}{END}{after}"))
}

fn list(workspace: &Workspace) -> Result<String> {
    let mut crates: Vec<&Member> = workspace
        .members
        .iter()
        .filter(|m| m.dir.starts_with("crates/"))
        .collect();
    let place = |m: &Member| ORDER.iter().position(|name| *name == m.short);
    crates.sort_by_key(|m| place(m).unwrap_or(ORDER.len()));
    let mut text = String::new();
    for member in crates {
        text.push_str(&of_crate(workspace, member)?);
    }
    text.push('\n');
    Ok(text)
}

fn of_crate(workspace: &Workspace, member: &Member) -> Result<String> {
    let src = format!("{}/src/", member.dir);
    let mut modules: BTreeMap<&str, String> = BTreeMap::new();
    let mut inside: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for path in &workspace.files {
        let module = path
            .strip_prefix(&src)
            .and_then(|rest| rest.strip_suffix(".rs"));
        match module.map(|module| module.split('/').collect::<Vec<_>>()) {
            Some(parts) if parts[..] != ["lib"] => match parts[..] {
                [name] => {
                    modules.insert(name, first_sentence(&workspace.read(path)?));
                }
                [parent, name] if name != "tests" => {
                    inside.entry(parent).or_default().push(name);
                }
                _ => {}
            },
            _ => {}
        }
    }
    let about = member
        .manifest
        .get("package")
        .and_then(|p| p.get("description"));
    let about = about.and_then(Value::as_str).unwrap_or_default();
    let mut text = format!("\n### {}\n\n{about}.\n", member.package);
    if modules.is_empty() {
        return Ok(text);
    }
    text.push_str("\n| module | what lives there | inside |\n|---|---|---|\n");
    for (name, sentence) in &modules {
        let parts = inside.get(name).map(|names| {
            let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
            names.join(", ")
        });
        writeln!(
            text,
            "| `{name}` | {} | {} |",
            sentence.replace('|', "\\|"),
            parts.unwrap_or_default()
        )?;
    }
    Ok(text)
}

/// The first sentence of a module's docs, without links.
fn first_sentence(source: &str) -> String {
    let mut sentence = String::new();
    for line in source.lines() {
        let Some(text) = line.strip_prefix("//!").map(str::trim) else {
            break;
        };
        if text.is_empty() {
            break;
        }
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        if let Some((first, _)) = text.split_once(". ") {
            sentence.push_str(first);
            sentence.push('.');
            break;
        }
        sentence.push_str(text);
        if text.ends_with('.') {
            break;
        }
    }
    // What a link in code font points to is on the page of the crate, not here.
    sentence.replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_may_span_lines_and_ends_at_its_stop() {
        assert_eq!(first_sentence("//! One. Two.\nfn a() {}"), "One.");
        assert_eq!(
            first_sentence("//! One\n//! [`two`].\n//! Three."),
            "One `two`."
        );
        assert_eq!(first_sentence("//! No stop\n\nfn a() {}"), "No stop");
        assert_eq!(first_sentence("fn a() {}"), "");
    }

    #[test]
    fn only_what_stands_between_the_marks_is_renewed() {
        let page = format!("a\n{START}old\n{END}b\n");
        assert_eq!(
            renewed(&page, "new\n").unwrap(),
            format!("a\n{START}new\n{END}b\n")
        );
        assert_eq!(renewed("a\n", "new\n"), None);
    }
}
