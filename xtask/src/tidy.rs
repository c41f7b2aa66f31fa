//! Rules that no compiler checks: who imports whom, what is listed where, how files are named.

use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::metadata;
use crate::rooms;
use crate::workspace::Workspace;

mod dependencies;
mod features;
mod files;
mod imports;
mod manifests;
mod sources;
mod table;
mod unused;

/// Where the table of import edges stands.
const ARCHITECTURE: &str = "docs/architecture.md";
/// Where the table of dependencies stands.
const DEPENDENCIES: &str = "docs/dependencies.md";

/// What was found: each line names the place.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Broken rules.
    pub(crate) findings: Vec<String>,
    /// Places worth a look.
    pub(crate) notes: Vec<String>,
}

/// Checks every rule.
///
/// # Errors
///
/// When a file cannot be read; a broken rule is a finding, not an error.
pub(crate) fn run(workspace: &Workspace) -> Result<Report> {
    let mut report = Report::default();
    let Report { findings, notes } = &mut report;
    findings.extend(imports::check(
        &workspace.read(ARCHITECTURE).unwrap_or_default(),
        &workspace.members,
    ));
    findings.extend(dependencies::check(
        &workspace.read(DEPENDENCIES).unwrap_or_default(),
        &workspace.manifest,
        &workspace.members,
    ));
    findings.extend(manifests::check(&workspace.manifest, &workspace.members));
    for member in &workspace.members {
        findings.extend(features::check(member, &|path| {
            workspace.read(path).unwrap_or_default()
        }));
        let inside = |path: &&String| {
            path.strip_prefix(member.dir.as_str())
                .is_some_and(|rest| rest.starts_with("/src/") || rest == "/build.rs")
        };
        let sources = workspace.files.iter().filter(inside);
        let sources = sources
            .map(|path| workspace.read(path))
            .collect::<Result<Vec<_>>>()?;
        findings.extend(unused::check(member, &sources));
    }
    for path in &workspace.files {
        let bytes = std::fs::read(workspace.root.join(path))?;
        findings.extend(files::check(path, &bytes));
        if let Ok(text) = str::from_utf8(&bytes) {
            findings.extend(files::check_text(path, text));
            if path.ends_with(".rs") {
                sources::check(path, text, findings, notes);
            }
        }
    }
    findings.extend(files::missing(&workspace.files));
    findings.extend(rooms::check(workspace)?);
    findings.extend(metadata::check(workspace)?);
    Ok(report)
}

/// Checks every rule and prints what was found; `true` when nothing is broken.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn print(workspace: &Workspace) -> Result<bool> {
    let start = Instant::now();
    let report = run(workspace)?;
    for note in &report.notes {
        println!("note: {note}");
    }
    for finding in &report.findings {
        println!("tidy: {finding}");
    }
    println!(
        "tidy: {} files, {} broken rules, {} notes, {:.1} s",
        workspace.files.len(),
        report.findings.len(),
        report.notes.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(report.findings.is_empty())
}

/// Writes versions and users in the table of dependencies anew.
///
/// # Errors
///
/// When the page has no table or cannot be written.
pub(crate) fn write_dependencies(workspace: &Workspace) -> Result<()> {
    let page = workspace.read(DEPENDENCIES)?;
    let new = dependencies::renewed(&page, &workspace.manifest, &workspace.members)
        .map_err(|why| anyhow!("{DEPENDENCIES}: {why}"))?;
    if new != page {
        std::fs::write(workspace.root.join(DEPENDENCIES), new)?;
    }
    Ok(())
}
