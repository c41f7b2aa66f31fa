//! Dependencies that no source names.

use crate::scan::{scan, words};
use crate::workspace::{Member, Use};

/// Finds dependencies that neither `src` nor a build script names.
///
/// One that is there for its features alone stays if a comment above it in the manifest says so.
pub(super) fn check(member: &Member, sources: &[String]) -> Vec<String> {
    let code: Vec<String> = sources
        .iter()
        .flat_map(|text| scan(text))
        .map(|line| line.code)
        .collect();
    let mut findings = Vec::new();
    for (name, _, kind) in member.dependencies() {
        let ident = name.replace('-', "_");
        let named = || code.iter().any(|c| words(c).any(|word| word == ident));
        if kind == Use::Normal && !explained(&member.text, name) && !named() {
            findings.push(format!(
                "{}: nothing in it names the dependency `{name}`; remove it, or say above it in the manifest why it is there",
                member.dir
            ));
        }
    }
    findings
}

/// Whether a comment stands above the line of this dependency.
fn explained(manifest: &str, name: &str) -> bool {
    let mut before = "";
    for line in manifest.lines().map(str::trim) {
        let rest = line.strip_prefix(name);
        if rest.is_some_and(|r| r.starts_with(['.', ' ', '='])) {
            return before.starts_with('#');
        }
        before = line;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::member;

    fn findings(manifest: &str, source: &str) -> Vec<String> {
        check(
            &member("c", "phenocoder-core", manifest),
            &[source.to_owned()],
        )
    }

    #[test]
    fn a_dependency_that_is_named_in_code_passes() {
        let manifest = "[dependencies]\nrand-core.workspace = true";
        assert!(findings(manifest, "use rand_core::Rng;").is_empty());
    }

    #[test]
    fn a_mention_in_a_comment_is_not_enough() {
        let manifest = "[dependencies]\nrand-core.workspace = true";
        assert_eq!(findings(manifest, "// rand_core").len(), 1);
    }

    #[test]
    fn a_comment_in_the_manifest_explains() {
        let manifest = "[dependencies]\n# Turns on AVX-512 below candle.\ngemm.workspace = true";
        assert!(findings(manifest, "").is_empty());
    }

    #[test]
    fn dependencies_of_tests_are_free() {
        assert!(findings("[dev-dependencies]\nsha2 = {}", "").is_empty());
    }
}
