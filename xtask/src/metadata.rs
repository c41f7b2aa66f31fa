//! What the dependencies say of themselves: the Rust version that they need, and their licences.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace::{Workspace, cargo, output};

/// Licences that our own allow to combine with.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Packages with another licence, each with the reason why it is no harm.
const EXCEPTIONS: [(&str, &str); 2] = [
    (
        "intel-mkl-src",
        "feature `mkl` only, which the user asks for",
    ),
    (
        "option-ext",
        "MPL-2.0, runs in the build script of intel-mkl-src only",
    ),
];

/// Compares every package of the lock file, of all features and platforms, with what we promise.
///
/// # Errors
///
/// When cargo does not answer, for instance because `Cargo.lock` is out of date.
pub(crate) fn check(workspace: &Workspace) -> Result<Vec<String>> {
    let text = output(cargo(&workspace.root).args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--all-features",
    ]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let ours = workspace
        .manifest
        .get("workspace")
        .and_then(|w| w.get("package"))
        .and_then(|p| p.get("rust-version"))
        .and_then(toml::Value::as_str)
        .context("Cargo.toml: no rust-version")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    Ok(packages.iter().flat_map(|p| of_package(p, ours)).collect())
}

fn of_package(package: &Value, ours: &str) -> Vec<String> {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    let place = format!("{} {}", text("name"), text("version"));
    let mut findings = Vec::new();
    if let Some(needed) = package["rust_version"].as_str()
        && version(needed) > version(ours)
    {
        findings.push(format!("{place} needs Rust {needed}, we promise {ours}"));
    }
    let excepted = EXCEPTIONS.iter().any(|(name, _)| *name == text("name"));
    if !excepted && !is_permitted(text("license")) {
        let said = package["license"].as_str().unwrap_or("none");
        findings.push(format!(
            "{place} has licence `{said}`, which is not among ours"
        ));
    }
    findings
}

fn version(text: &str) -> Vec<u64> {
    let mut parts: Vec<u64> = text.split('.').map(|p| p.parse().unwrap_or(0)).collect();
    parts.resize(3, 0);
    parts
}

/// Whether an SPDX expression can be met with [`LICENCES`]; `A/B` is the old way to write `A OR B`.
fn is_permitted(expression: &str) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let permitted = any(&mut rest);
    permitted && rest.is_empty()
}

fn any(rest: &mut &[&str]) -> bool {
    let mut permitted = all(rest);
    while let Some((&"OR", after)) = rest.split_first() {
        *rest = after;
        permitted |= all(rest);
    }
    permitted
}

fn all(rest: &mut &[&str]) -> bool {
    let mut permitted = one(rest);
    while let Some((&"AND", after)) = rest.split_first() {
        *rest = after;
        permitted &= one(rest);
    }
    permitted
}

fn one(rest: &mut &[&str]) -> bool {
    let Some((&first, after)) = rest.split_first() else {
        return false;
    };
    *rest = after;
    if first == "(" {
        let permitted = any(rest);
        if let Some((&")", after)) = rest.split_first() {
            *rest = after;
        }
        return permitted;
    }
    // An exception only adds permissions.
    if let [with, _, after @ ..] = *rest
        && *with == "WITH"
    {
        *rest = after;
    }
    LICENCES.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_permitted_licence_of_a_choice_is_enough() {
        assert!(is_permitted("MIT OR GPL-3.0-only"));
        assert!(is_permitted("MIT/Apache-2.0"));
        assert!(is_permitted(
            "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT"
        ));
        assert!(is_permitted("(GPL-2.0 OR MIT) AND Unicode-3.0"));
    }

    #[test]
    fn every_licence_of_a_sum_is_needed() {
        assert!(!is_permitted("MIT AND GPL-3.0-only"));
        assert!(!is_permitted("(MIT AND GPL-3.0-only) OR MPL-2.0"));
        assert!(!is_permitted(""));
        assert!(!is_permitted("MIT)"));
    }

    #[test]
    fn a_newer_rust_is_found() {
        let package = serde_json::json!({
            "name": "a", "version": "1.0.0", "license": "MIT", "rust_version": "1.92"
        });
        assert_eq!(
            of_package(&package, "1.91"),
            ["a 1.0.0 needs Rust 1.92, we promise 1.91"]
        );
        assert!(of_package(&package, "1.92").is_empty());
        assert!(of_package(&package, "1.100").is_empty());
    }
}
