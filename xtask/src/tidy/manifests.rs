//! Manifests: shared lints, one version table, one licence and Rust version.

use toml::{Table, Value};

use crate::workspace::{Member, is_ours};

/// Checks the manifests of all members.
pub(super) fn check(root: &Table, members: &[Member]) -> Vec<String> {
    let mut findings: Vec<String> = members.iter().flat_map(of_member).collect();
    let shared = root
        .get("workspace")
        .and_then(|w| w.get("dependencies"))
        .and_then(Value::as_table);
    // Our own crates are listed whether or not another one needs them.
    let foreign = shared.into_iter().flat_map(Table::keys);
    for name in foreign.filter(|name| !is_ours(name)) {
        let used = |m: &Member| m.dependencies().iter().any(|(n, ..)| n == name);
        if !members.iter().any(used) {
            findings.push(format!(
                "Cargo.toml: nobody uses `{name}` of [workspace.dependencies]"
            ));
        }
    }
    findings
}

fn of_member(member: &Member) -> Vec<String> {
    let place = format!("{}/Cargo.toml", member.dir);
    let inherits = |value: Option<&Value>| {
        let flag = value.and_then(|v| v.get("workspace"));
        flag.and_then(Value::as_bool) == Some(true)
    };
    let mut findings = Vec::new();
    if !inherits(member.manifest.get("lints")) {
        findings.push(format!("{place}: `[lints]` needs `workspace = true`"));
    }
    let package = member.manifest.get("package");
    for key in ["version", "edition", "rust-version", "license"] {
        if !inherits(package.and_then(|p| p.get(key))) {
            findings.push(format!("{place}: `{key}.workspace = true` is missing"));
        }
    }
    if package.and_then(|p| p.get("description")).is_none() {
        findings.push(format!("{place}: no description"));
    }
    let docs = package
        .and_then(|p| p.get("metadata"))
        .and_then(|m| m.get("docs"))
        .and_then(|d| d.get("rs"));
    if docs.and_then(|d| d.get("all-features")).is_some() {
        findings.push(format!(
            "{place}: docs.rs cannot build all features (no GPU toolkit); name them"
        ));
    }
    for (name, value, _) in member.dependencies() {
        if !inherits(Some(value)) {
            findings.push(format!(
                "{place}: `{name}` needs `workspace = true`, its version belongs to the root"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::member;

    const GOOD: &str = "[lints]\nworkspace = true\n[dependencies]\nlibm.workspace = true";
    const ROOT: &str = "[workspace.dependencies]\nlibm = \"1\"";

    fn findings(text: &str) -> Vec<String> {
        let package = "version.workspace = true\nedition.workspace = true\ndescription = \"x\"\n\
             rust-version.workspace = true\nlicense.workspace = true\n";
        let member = member("c", "phenocoder-core", &format!("{package}{text}"));
        check(&ROOT.parse().unwrap(), &[member])
    }

    #[test]
    fn a_manifest_that_inherits_everything_passes() {
        assert!(findings(GOOD).is_empty(), "{:?}", findings(GOOD));
    }

    #[test]
    fn own_lints_and_own_versions_are_found() {
        let lints = GOOD.replace("workspace = true\n[dep", "[lints.rust]\n[dep");
        assert!(findings(&lints)[0].contains("`[lints]`"));
        let version = GOOD.replace("libm.workspace = true", "libm = \"1\"");
        assert!(findings(&version)[0].contains("`libm` needs `workspace = true`"));
    }

    #[test]
    fn an_unused_version_is_found() {
        let unused = GOOD.replace("libm.workspace = true", "");
        assert!(findings(&unused)[0].contains("nobody uses `libm`"));
    }
}
