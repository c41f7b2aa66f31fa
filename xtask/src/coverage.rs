//! `cargo xtask coverage`: how many lines of the parsers in `phenocoder-io` its tests run.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::scan::scan;
use crate::workspace::{Workspace, cargo};

/// Lines of each group that must be run, in hundredths.
const LEAST: f64 = 90.0;

/// Where the sources are.
const SOURCES: &str = "crates/phenocoder-io/src/";

/// What parses bytes of a store, by what it parses: files, or folders with the file of the same name.
const GROUPS: [(&str, &[&str]); 8] = [
    ("metadata", &["json", "path", "node"]),
    (
        "arrays",
        &[
            "array",
            "array/codec",
            "array/shard",
            "array/vlen",
            "array/numbers",
            "array/packed",
            "array/chain",
            "array/element",
        ],
    ),
    ("columns", &["columns"]),
    (
        "shapes and points",
        &[
            "shapes/wkb",
            "shapes/native",
            "shapes/ragged",
            "shapes/geometry",
            "shapes/open",
            "points/open",
        ],
    ),
    ("transformations", &["transform"]),
    ("images", &["ome/multiscale"]),
    (
        "tables",
        &[
            "table/frame",
            "table/value",
            "table/records",
            "table/rows",
            "table/matrix",
            "table/lazy",
            "table/foreign",
            "table/graph",
            "table/info",
            "table/data",
        ],
    ),
    (
        "stores",
        &["root/zip", "store/consolidated", "store/listing"],
    ),
];

/// Lines that were run, of those that can be.
#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    run: usize,
    all: usize,
}

impl Lines {
    fn percent(self) -> f64 {
        100.0 * self.run as f64 / self.all.max(1) as f64
    }

    fn add(&mut self, other: Self) {
        self.run += other.run;
        self.all += other.all;
    }
}

/// Runs the tests of the crate with counters and prints the files; `true` when each group is covered.
///
/// # Errors
///
/// When cargo-llvm-cov is not there, or a test fails.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let folder = workspace.root.join("target");
    fs::create_dir_all(&folder)?;
    let report = folder.join("coverage.lcov");
    let status = cargo(&workspace.root)
        .args([
            "llvm-cov",
            "--release",
            "--locked",
            "-p",
            "phenocoder-io",
            "--lib",
            "--test",
            "it",
        ])
        // Tests that kill programs leave profiles that are cut.
        .args(["--failure-mode", "all", "--lcov"])
        .arg("--output-path")
        .arg(&report)
        .status()
        .context("cargo does not start")?;
    ensure!(
        status.success(),
        "a test failed, or `cargo install cargo-llvm-cov` and `rustup component add llvm-tools` are needed"
    );
    let text = fs::read_to_string(&report)?;
    let files = lines_of_files(&text, &|path| workspace.read(path).unwrap_or_default());
    Ok(print(&files))
}

/// What a report in the format of lcov says of each file below [`SOURCES`]; tests within the files do not count.
fn lines_of_files(report: &str, read: &dyn Fn(&str) -> String) -> BTreeMap<String, Lines> {
    let mut files = BTreeMap::new();
    for record in report.split("end_of_record") {
        let Some(file) = record.lines().find_map(|line| line.strip_prefix("SF:")) else {
            continue;
        };
        let Some((_, name)) = file.split_once(SOURCES) else {
            continue;
        };
        let source = scan(&read(&format!("{SOURCES}{name}")));
        let mut lines = Lines::default();
        for line in record.lines().filter_map(|line| line.strip_prefix("DA:")) {
            let mut numbers = line.split(',').map(str::parse::<usize>);
            let (Some(Ok(number)), Some(Ok(count))) = (numbers.next(), numbers.next()) else {
                continue;
            };
            if source.get(number.wrapping_sub(1)).is_some_and(|l| l.test) {
                continue;
            }
            lines.all += 1;
            lines.run += usize::from(count > 0);
        }
        files.insert(name.to_owned(), lines);
    }
    files
}

fn print(files: &BTreeMap<String, Lines>) -> bool {
    println!("| what is parsed | lines | run | |\n|---|---|---|---|");
    let mut good = true;
    let mut sum = Lines::default();
    for (group, modules) in GROUPS {
        let of_group = files
            .iter()
            .filter(|(name, _)| modules.iter().any(|module| belongs(name, module, modules)));
        let of_group: Vec<_> = of_group.collect();
        let mut total = Lines::default();
        for (_, lines) in &of_group {
            total.add(**lines);
        }
        sum.add(total);
        let is_covered = total.percent() >= LEAST;
        good &= is_covered;
        let mark = if is_covered { "" } else { "too few" };
        println!(
            "| **{group}** | {} | {:.1} % | {mark} |",
            total.all,
            total.percent()
        );
        for (name, lines) in of_group {
            println!("| `{name}` | {} | {:.1} % | |", lines.all, lines.percent());
        }
    }
    println!("| **together** | {} | {:.1} % | |", sum.all, sum.percent());
    good
}

/// Whether a file is a module, or lies within; `array` is only the file, as the group names what within it parses.
fn belongs(name: &str, module: &str, modules: &[&str]) -> bool {
    let Some(rest) = name.strip_prefix(module) else {
        return false;
    };
    let names_parts = modules
        .iter()
        .any(|m| m.strip_prefix(module).is_some_and(|m| m.starts_with('/')));
    rest == ".rs" || (rest.starts_with('/') && !names_parts && !rest.ends_with("/tests.rs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tests_do_not_count() {
        let report =
            "SF:/a/crates/phenocoder-io/src/json.rs\nDA:1,5\nDA:2,0\nDA:5,1\nend_of_record\n";
        let source = "fn a() {}\nfn b() {}\n#[cfg(test)]\nmod tests {\n fn c() {}\n}\n";
        let files = lines_of_files(report, &|_| source.to_owned());
        assert_eq!((files["json.rs"].run, files["json.rs"].all), (1, 2));
    }

    #[test]
    fn files_belong_to_their_modules() {
        let modules = ["array", "array/codec", "columns"];
        assert!(belongs("array.rs", "array", &modules));
        assert!(!belongs("array/window.rs", "array", &modules));
        assert!(belongs("array/codec/lz4.rs", "array/codec", &modules));
        assert!(!belongs("array/codec/tests.rs", "array/codec", &modules));
        assert!(belongs("columns/page.rs", "columns", &modules));
    }
}
