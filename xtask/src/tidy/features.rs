//! Features: a comment above each in `Cargo.toml`, and a mention on the page of the crate.

use crate::workspace::Member;

/// Checks the features of one crate; `read` gives the text of a file below the root.
pub(super) fn check(member: &Member, read: &dyn Fn(&str) -> String) -> Vec<String> {
    let features = member.features();
    if features.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for name in uncommented(&member.text) {
        findings.push(format!(
            "{}/Cargo.toml: feature `{name}` has no comment above it",
            member.dir
        ));
    }
    let lib = format!("{}/src/lib.rs", member.dir);
    let page = page(&read(&lib), &|included| {
        read(&join(&format!("{}/src", member.dir), included))
    });
    for name in features {
        if !page.contains(&format!("`{name}`")) {
            findings.push(format!(
                "{lib}: the crate docs do not mention feature `{name}`"
            ));
        }
    }
    findings
}

/// The features, except `default`, without a comment on the line above.
fn uncommented(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    let mut before = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[features]";
        } else if inside && let Some((name, _)) = line.split_once('=') {
            let name = name.trim().trim_matches('"');
            let is_name = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_alphanumeric() || "-_".contains(c));
            if is_name && name != "default" && !before.starts_with('#') {
                found.push(name.to_owned());
            }
        }
        before = line;
    }
    found
}

/// The docs of the crate: its `//!` lines, and the files that they include.
fn page(lib: &str, include: &dyn Fn(&str) -> String) -> String {
    let mut page = String::new();
    for line in lib.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("//!") {
            page.push_str(text);
            page.push('\n');
        } else if let Some((_, rest)) = line.split_once("include_str!(\"")
            && line.starts_with("#![")
            && let Some((path, _)) = rest.split_once('"')
        {
            page.push_str(&include(path));
            page.push('\n');
        }
    }
    page
}

fn join(dir: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = dir.split('/').collect();
    for part in relative.split('/') {
        match part {
            ".." => {
                parts.pop();
            }
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::member;

    const MANIFEST: &str =
        "[features]\ndefault = [\"a\"]\n# Does a.\na = []\n# Does b.\nb = [\n  \"a\",\n]\n";

    fn findings(manifest: &str, lib: &str) -> Vec<String> {
        let member = member("crates/x", "phenocoder-x", manifest);
        check(&member, &|path| match path {
            "crates/x/src/lib.rs" => lib.to_owned(),
            "crates/x/README.md" => "feature `b`".to_owned(),
            other => panic!("asked for {other}"),
        })
    }

    #[test]
    fn documented_features_pass() {
        assert!(findings(MANIFEST, "//! `a`, `b`").is_empty());
    }

    #[test]
    fn included_pages_count() {
        let lib = "//! `a`\n#![doc = include_str!(\"../README.md\")]";
        assert!(findings(MANIFEST, lib).is_empty());
    }

    #[test]
    fn a_feature_that_the_page_leaves_out_is_found() {
        let found = findings(MANIFEST, "//! `a` only\n// `b`");
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("do not mention feature `b`"));
    }

    #[test]
    fn a_feature_without_comment_is_found() {
        let found = findings(&MANIFEST.replace("# Does b.\n", ""), "//! `a`, `b`");
        assert_eq!(
            found,
            ["crates/x/Cargo.toml: feature `b` has no comment above it"]
        );
    }
}
