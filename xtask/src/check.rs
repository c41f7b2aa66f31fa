//! `cargo xtask check`: the steps, the cheapest first, each with its time.
//!
//! Every step uses the release profile, so that the tree of dependencies is compiled for one profile only.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::tidy;
use crate::workspace::{Member, Workspace, cargo, output};

/// Features that need a GPU, an operating system or a library that is not here.
const NOT_HERE: [&str; 5] = ["accelerate", "cuda", "cudnn", "metal", "mkl"];

/// What the user asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    fast: bool,
    keep_going: bool,
    skipped_examples: Vec<String>,
}

impl Options {
    /// Reads the arguments behind `check`.
    ///
    /// # Errors
    ///
    /// When one is not known.
    pub(crate) fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            match arg {
                "--fast" => options.fast = true,
                "--keep-going" => options.keep_going = true,
                "--skip-example" => {
                    let name = args.next().context("`--skip-example` needs a name")?;
                    options.skipped_examples.push((*name).to_owned());
                }
                other => bail!("`check` has no argument `{other}`"),
            }
        }
        Ok(options)
    }
}

/// One step.
struct Step {
    name: String,
    action: Action,
}

enum Action {
    Tidy,
    Cargo(Vec<String>),
    Examples,
}

/// Runs the steps; `true` when all passed.
///
/// # Errors
///
/// When nothing can be printed; a step that fails, for whatever reason, is a verdict.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let steps = steps(&workspace.members, options);
    let count = steps.len();
    let mut verdicts: Vec<(String, Duration, bool)> = Vec::new();
    for (i, step) in steps.into_iter().enumerate() {
        println!("== {}/{count} {}", i + 1, step.name);
        std::io::stdout().flush()?;
        let start = Instant::now();
        let result = match &step.action {
            Action::Tidy => tidy::print(workspace),
            Action::Cargo(args) => run_cargo(workspace, args),
            Action::Examples => run_examples(workspace, options),
        };
        let passed = result.unwrap_or_else(|error| {
            println!("{error:#}");
            false
        });
        verdicts.push((step.name, start.elapsed(), passed));
        if !passed && !options.keep_going {
            break;
        }
    }
    println!("\n== check");
    for (name, time, passed) in &verdicts {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{:>8.1} s  {verdict:<6}  {name}", time.as_secs_f64());
    }
    let good = verdicts.len() == count && verdicts.iter().all(|(.., passed)| *passed);
    let left = count - verdicts.len();
    match (good, left) {
        (true, _) => println!("check: all {count} steps passed"),
        (false, 0) => println!("check: FAILED"),
        (false, left) => println!("check: FAILED, {left} steps not run"),
    }
    Ok(good)
}

fn steps(members: &[Member], options: &Options) -> Vec<Step> {
    let cargo = |name: String, args: &str| Step {
        name,
        action: Action::Cargo(args.split_whitespace().map(str::to_owned).collect()),
    };
    let mut steps = vec![
        cargo("format".to_owned(), "fmt --all --check"),
        Step {
            name: "tidy".to_owned(),
            action: Action::Tidy,
        },
        cargo(
            "clippy, default features, all targets".to_owned(),
            "clippy --release --locked --workspace --all-targets -- -D warnings",
        ),
    ];
    for member in members {
        for (label, features) in feature_sets(member) {
            let package = &member.package;
            steps.push(cargo(
                format!("clippy, {package} with {label}"),
                &format!(
                    "clippy --release --locked --package {package} --lib --no-default-features {features} -- -D warnings"
                ),
            ));
        }
    }
    if !options.fast {
        steps.push(cargo(
            "documentation".to_owned(),
            "doc --release --locked --workspace --no-deps",
        ));
        steps.push(Step {
            name: "examples".to_owned(),
            action: Action::Examples,
        });
    }
    steps
}

/// None, and each feature alone, as far as they can be compiled here; the default set is checked with the workspace.
fn feature_sets(member: &Member) -> Vec<(String, String)> {
    let features = member.features();
    if features.is_empty() {
        return Vec::new();
    }
    let here = features.into_iter().filter(|name| !NOT_HERE.contains(name));
    let alone = here.map(|name| (format!("`{name}` alone"), format!("--features {name}")));
    std::iter::once(("no features".to_owned(), String::new()))
        .chain(alone)
        .collect()
}

fn run_cargo(workspace: &Workspace, args: &[String]) -> Result<bool> {
    let mut command = cargo(&workspace.root);
    command.args(args);
    if args.first().is_some_and(|a| a == "doc") {
        command.env("RUSTDOCFLAGS", "-D warnings");
    }
    Ok(command.status().context("cargo does not start")?.success())
}

/// Builds all examples at once, so that they share one set of features, and runs them without arguments.
fn run_examples(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut programs = build_examples(workspace)?;
    for path in &workspace.files {
        let Some(name) = example_name(path) else {
            continue;
        };
        ensure!(
            programs.contains_key(name),
            "{path} is no example that cargo builds: does it need `required-features`?"
        );
    }
    for name in &options.skipped_examples {
        ensure!(
            programs.remove(name).is_some(),
            "there is no example `{name}` to skip"
        );
        println!("   skipped: {name}");
    }
    let folder = target_folder(workspace)?.join("examples-output");
    std::fs::create_dir_all(&folder)?;
    let mut good = true;
    for (name, program) in &programs {
        let start = Instant::now();
        let run = std::process::Command::new(program)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("example `{name}` does not start"))?;
        let passed = run.status.success();
        let verdict = if passed { "ok" } else { "FAILED" };
        println!(
            "{:>8.1} s  {verdict:<6}  example {name}",
            start.elapsed().as_secs_f64()
        );
        if !passed {
            println!("{}", String::from_utf8_lossy(&run.stdout));
            println!("{}", String::from_utf8_lossy(&run.stderr));
        }
        good &= passed;
    }
    Ok(good)
}

/// The name of the example in this file: `crates/x/examples/NAME.rs` or `crates/x/examples/NAME/main.rs`.
fn example_name(path: &str) -> Option<&str> {
    let (_, rest) = path.strip_prefix("crates/")?.split_once("/examples/")?;
    let name = rest.strip_suffix("/main.rs").or(rest.strip_suffix(".rs"))?;
    (!name.contains('/')).then_some(name)
}

fn build_examples(workspace: &Workspace) -> Result<BTreeMap<String, PathBuf>> {
    let build = cargo(&workspace.root)
        .args([
            "build",
            "--release",
            "--locked",
            "--workspace",
            "--examples",
            "--message-format=json-render-diagnostics",
        ])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    ensure!(build.status.success(), "the examples do not compile");
    let mut programs = BTreeMap::new();
    for line in String::from_utf8(build.stdout)?.lines() {
        let message: Value = serde_json::from_str(line)?;
        let target = &message["target"];
        let is_example = target["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|kind| kind == "example"));
        if let (true, Some(name), Some(program)) = (
            is_example,
            target["name"].as_str(),
            message["executable"].as_str(),
        ) {
            let before = programs.insert(name.to_owned(), PathBuf::from(program));
            ensure!(before.is_none(), "two examples are called `{name}`");
        }
    }
    Ok(programs)
}

/// Where cargo puts what it builds.
///
/// # Errors
///
/// When cargo does not say.
pub(crate) fn target_folder(workspace: &Workspace) -> Result<PathBuf> {
    let text = output(cargo(&workspace.root).args([
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--locked",
    ]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let folder = metadata["target_directory"].as_str();
    Ok(PathBuf::from(folder.context("no target directory")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::member;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let options = Options::parse(&["--fast", "--skip-example", "quickstart"]).unwrap();
        assert!(options.fast && !options.keep_going);
        assert_eq!(options.skipped_examples, ["quickstart"]);
        assert!(Options::parse(&["--skip-example"]).is_err());
        assert!(Options::parse(&["--slow"]).is_err());
    }

    #[test]
    fn each_feature_is_checked_alone_except_those_of_other_machines() {
        let text = "[features]\ndefault = [\"a\"]\na = []\ncuda = []\nb = []";
        let sets = feature_sets(&member("crates/x", "phenocoder-x", text));
        let features: Vec<&str> = sets.iter().map(|(_, f)| f.as_str()).collect();
        assert_eq!(features, ["", "--features a", "--features b"]);
        assert!(feature_sets(&member("crates/x", "phenocoder-x", "")).is_empty());
    }

    #[test]
    fn the_cheapest_steps_come_first_and_fast_leaves_out_the_slow_ones() {
        let names = |fast| -> Vec<String> {
            let options = Options {
                fast,
                ..Options::default()
            };
            steps(&[], &options).into_iter().map(|s| s.name).collect()
        };
        assert_eq!(names(true).len(), 3);
        assert_eq!(names(true)[..2], ["format", "tidy"]);
        assert_eq!(names(false)[3..], ["documentation", "examples"]);
    }

    #[test]
    fn example_names_come_from_both_forms() {
        assert_eq!(example_name("crates/x/examples/a.rs"), Some("a"));
        assert_eq!(example_name("crates/x/examples/b/main.rs"), Some("b"));
        assert_eq!(example_name("crates/x/examples/b/part.rs"), None);
        assert_eq!(example_name("crates/x/src/a.rs"), None);
    }
}
