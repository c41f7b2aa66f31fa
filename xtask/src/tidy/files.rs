//! Files of any kind: names, sizes, and what they must not say.

use crate::scan::words;

/// The largest tracked file.
const MOST_BYTES: usize = 1_000_000;
/// The largest file that is neither reference data, nor a picture of the docs, nor the lock file.
const MOST_BYTES_OF_SOURCE: usize = 100_000;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "utils", "util", "helpers", "helper", "misc", "common", "stuff", "types2",
];
/// What every checkout has.
const REQUIRED: [&str; 9] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "docs/architecture.md",
    "docs/correctness.md",
    "docs/dependencies.md",
    "docs/differences.md",
];
/// Folders of one machine. Written in pieces, because this file is checked too.
const MACHINE: [&str; 4] = [
    concat!("/", "work/"),
    concat!("/", "root/"),
    concat!("/", "home/"),
    concat!("/", "Users/"),
];

/// Checks name and size.
pub(super) fn check(path: &str, bytes: &[u8]) -> Vec<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    let mut findings = Vec::new();
    if name == "mod.rs" {
        findings.push(format!(
            "{path}: write `foo.rs` beside `foo/`, not `foo/mod.rs`"
        ));
    }
    if name.ends_with(".rs") && EMPTY_NAMES.contains(&stem) {
        findings.push(format!("{path}: name the file after what is inside"));
    }
    let large = path == "Cargo.lock"
        || path
            .split('/')
            .any(|part| part == "tests" || part == "goldens")
        || (path.starts_with("docs/") && (name.ends_with(".png") || name.ends_with(".svg")));
    let most = if large {
        MOST_BYTES
    } else {
        MOST_BYTES_OF_SOURCE
    };
    if bytes.len() > most {
        findings.push(format!(
            "{path}: {} bytes, at most {most} are allowed here",
            bytes.len()
        ));
    }
    findings
}

/// Checks what a text says.
pub(super) fn check_text(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if let Some(folder) = MACHINE.iter().find(|folder| names(line, folder)) {
            findings.push(format!(
                "{path}:{}: `{folder}` exists on one machine only",
                i + 1
            ));
        }
        let conflict = ["<<<<<<< ", ">>>>>>> "]
            .iter()
            .any(|mark| line.starts_with(mark));
        if conflict {
            findings.push(format!("{path}:{}: a conflict was not resolved", i + 1));
        }
        if !path.ends_with(".rs") {
            findings.extend(left_open(line).map(|word| {
                format!(
                    "{path}:{}: `{word}` without an issue number, as in `{word}(#12)`",
                    i + 1
                )
            }));
        }
    }
    findings
}

/// The files that are missing.
pub(super) fn missing(files: &[String]) -> Vec<String> {
    let absent = REQUIRED
        .iter()
        .filter(|name| !files.iter().any(|f| f == *name));
    absent.map(|name| format!("{name}: missing")).collect()
}

/// The to-do mark of this line that names no issue.
pub(super) fn left_open(line: &str) -> Option<&'static str> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    marks.into_iter().find(|mark| {
        let numbered = line
            .split_once(mark)
            .and_then(|(_, rest)| rest.strip_prefix("(#"))
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        words(line).any(|word| word == *mark) && !numbered
    })
}

/// Whether the line names this absolute folder: as the start of a path, not in the middle of one.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(i, _)| {
        let before = line[..i].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || ".-_/}*)~".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_say_nothing_are_found() {
        assert_eq!(check("crates/x/src/utils.rs", b"").len(), 1);
        assert_eq!(check("crates/x/src/a/mod.rs", b"").len(), 1);
        assert!(check("crates/x/src/utilization.rs", b"").is_empty());
    }

    #[test]
    fn large_files_are_allowed_where_they_belong() {
        let large = vec![0; MOST_BYTES_OF_SOURCE + 1];
        assert_eq!(check("crates/x/src/a.rs", &large).len(), 1);
        assert!(check("crates/x/tests/goldens/a.npy", &large).is_empty());
        assert!(check("docs/images/map.png", &large).is_empty());
        assert_eq!(
            check("docs/images/map.png", &vec![0; MOST_BYTES + 1]).len(),
            1
        );
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let path = format!("open(\"{}x\")", MACHINE[0]);
        assert_eq!(check_text("a.py", &path).len(), 1);
        assert!(check_text("a.py", &format!("target{}x", MACHINE[0])).is_empty());
        assert!(check_text("a.py", &format!("https://x.org{}x", MACHINE[2])).is_empty());
    }

    #[test]
    fn open_ends_need_an_issue() {
        let (mark, other) = (concat!("TO", "DO"), concat!("FIX", "ME"));
        assert_eq!(left_open(&format!("# {mark}: later")), Some(mark));
        assert_eq!(left_open(&format!("# {other}")), Some(other));
        assert_eq!(left_open(&format!("# {mark}(#12): later")), None);
        assert_eq!(left_open(&format!("# {mark}S")), None);
    }

    #[test]
    fn missing_files_are_named() {
        let all: Vec<String> = REQUIRED.iter().map(|&n| n.to_owned()).collect();
        assert!(missing(&all).is_empty());
        assert_eq!(missing(&all[1..]), ["README.md: missing"]);
    }
}
