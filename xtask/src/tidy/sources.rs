//! Rust sources: docs at the top, length, and words that must not stand there.

use super::files::left_open;
use crate::scan::{Line, scan, words};

/// The most lines of a file, tests left out.
const MOST_LINES: usize = 800;

/// The only file with code that the compiler cannot check: it launches kernels on a GPU.
const UNCHECKED: &str = "crates/phenocoder-model/src/kernel/cuda.rs";

/// Checks one source file.
pub(super) fn check(path: &str, text: &str, findings: &mut Vec<String>, notes: &mut Vec<String>) {
    let lines = scan(text);
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        findings.push(format!("{path}:1: start with `//!`: what is in this file?"));
    }
    let code_lines = lines.iter().filter(|line| !line.test).count();
    if !is_test && code_lines > MOST_LINES {
        findings.push(format!(
            "{path}: {code_lines} lines without tests, at most {MOST_LINES} are allowed"
        ));
    }
    for (i, line) in lines.iter().enumerate() {
        let place = format!("{path}:{}", i + 1);
        let found = match path == UNCHECKED && is_unchecked(line) {
            true => {
                (!justified(&lines, i)).then(|| "say why it is sound: `// SAFETY: …`".to_owned())
            }
            false => forbidden(line),
        };
        findings.extend(found.map(|why| format!("{place}: {why}")));
        if !is_test && !line.test && unordered(line) && !commented(&lines, i) {
            notes.push(format!(
                "{place}: a hash map or set; a comment should say why its order reaches no output"
            ));
        }
    }
}

/// Whether there is code on the line that the compiler does not check.
fn is_unchecked(line: &Line) -> bool {
    words(&line.code).any(|word| word == concat!("un", "safe"))
}

/// Whether the comment right above the line says why it is sound.
fn justified(lines: &[Line], i: usize) -> bool {
    let above = lines[..i].iter().rev();
    let comment = above.take_while(|line| line.code.trim().is_empty() && !line.comment.is_empty());
    comment
        .into_iter()
        .any(|line| line.comment.contains("SAFETY: "))
}

fn forbidden(line: &Line) -> Option<String> {
    if is_unchecked(line) {
        return Some("no unsafe code".to_owned());
    }
    let allows = ["allow(", "expect("].iter().any(|a| line.code.contains(a));
    if allows && words(&line.code).any(|word| word == "unsafe_code") {
        return Some("the lint against unsafe code stays on".to_owned());
    }
    if line.code.contains("#[ignore]") {
        return Some("an ignored test says why: `#[ignore = \"…\"]`".to_owned());
    }
    left_open(&line.comment)
        .map(|word| format!("`{word}` without an issue number, as in `{word}(#12)`"))
}

fn unordered(line: &Line) -> bool {
    let imports = line.code.trim_start().starts_with("use ");
    !imports && words(&line.code).any(|word| word == "HashMap" || word == "HashSet")
}

/// Whether a comment stands on this line or on one of the three above.
fn commented(lines: &[Line], i: usize) -> bool {
    lines[i.saturating_sub(3)..=i]
        .iter()
        .any(|line| !line.comment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(path: &str, text: &str) -> (Vec<String>, Vec<String>) {
        let (mut findings, mut notes) = (Vec::new(), Vec::new());
        check(path, text, &mut findings, &mut notes);
        (findings, notes)
    }

    fn findings(text: &str) -> Vec<String> {
        run("crates/x/src/a.rs", text).0
    }

    #[test]
    fn a_file_without_docs_is_found() {
        assert_eq!(findings("fn a() {}").len(), 1);
        assert!(findings("//! A.\nfn a() {}").is_empty());
        assert!(run("crates/x/src/a/tests.rs", "fn a() {}").0.is_empty());
    }

    #[test]
    fn only_lines_outside_of_tests_count() {
        let long = format!("//! A.\n{}", "fn a() {}\n".repeat(MOST_LINES));
        assert!(findings(&long)[0].contains("lines without tests"));
        let tests = format!(
            "//! A.\n#[cfg(test)]\nmod tests {{\n{}}}",
            "fn a() {}\n".repeat(MOST_LINES)
        );
        assert!(findings(&tests).is_empty());
        assert!(run("crates/x/tests/it/a.rs", &long).0.is_empty());
    }

    #[test]
    fn the_one_file_that_launches_kernels_says_why_it_is_sound() {
        let word = concat!("un", "safe");
        let launch = format!("//! A.\n// SAFETY: because.\n// More.\n{word} {{ a() }}");
        assert!(run(UNCHECKED, &launch).0.is_empty());
        assert_eq!(
            run(UNCHECKED, &format!("//! A.\n{word} {{ a() }}")).0.len(),
            1
        );
        assert_eq!(run("crates/x/src/cuda.rs", &launch).0.len(), 1);
    }

    #[test]
    fn forbidden_words_are_found_in_code_only() {
        let word = concat!("un", "safe");
        assert_eq!(findings(&format!("//! A.\n{word} fn a() {{}}")).len(), 1);
        assert!(findings(&format!("//! {word}.\nconst A: &str = \"{word}\";")).is_empty());
        assert_eq!(findings("//! A.\n#![allow(unsafe_code)]").len(), 1);
        assert!(findings("//! A.\n#![forbid(unsafe_code)]").is_empty());
    }

    #[test]
    fn an_ignored_test_needs_a_reason() {
        assert_eq!(findings("//! A.\n#[ignore]\nfn a() {}").len(), 1);
        assert!(findings("//! A.\n#[ignore = \"slow\"]\nfn a() {}").is_empty());
    }

    #[test]
    fn a_hash_map_without_comment_is_noted() {
        let path = "crates/x/src/a.rs";
        let bare =
            "//! A.\nuse std::collections::HashMap;\n\nfn a() {}\nfn b(m: HashMap<u8, u8>) {}";
        let (findings, notes) = run(path, bare);
        assert!(findings.is_empty());
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with("crates/x/src/a.rs:5"));
        let said = bare.replace("\nfn b", "\n// Looked up by key only.\nfn b");
        assert!(run(path, &said).1.is_empty());
    }
}
