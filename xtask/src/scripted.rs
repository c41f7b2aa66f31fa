//! `cargo xtask bench-io`, `bench-spatial` and `bench-embed`: benchmarks whose contenders, table and verdicts are those of a script in `benches/peers`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::peers::{machine, number};
use crate::python::Environment;
use crate::workspace::{Workspace, cargo};

/// A benchmark: what it is called and the name of its script, program, list of packages and folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bench {
    Io,
    Spatial,
    Embed,
}

impl Bench {
    /// The benchmark that a command names.
    pub(crate) fn of_command(command: &str) -> Option<Self> {
        let all = [Self::Io, Self::Spatial, Self::Embed];
        let name = command.strip_prefix("bench-")?;
        all.into_iter().find(|bench| bench.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Spatial => "spatial",
            Self::Embed => "embed",
        }
    }
}

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    bench: Bench,
    venv: Option<PathBuf>,
    python: Option<String>,
    data: Option<PathBuf>,
    rounds: usize,
}

impl Options {
    /// Reads the arguments behind the name of the benchmark.
    ///
    /// # Errors
    ///
    /// When one is not known or has no value.
    pub(crate) fn parse(bench: Bench, arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            bench,
            venv: None,
            python: None,
            data: None,
            rounds: 3,
        };
        let mut arguments = arguments.iter();
        while let Some(&name) = arguments.next() {
            let value = arguments.next().copied();
            let value = value.with_context(|| format!("`{name}` needs a value"))?;
            match name {
                "--venv" => options.venv = Some(value.into()),
                "--python" => options.python = Some(value.to_owned()),
                "--data" => options.data = Some(value.into()),
                "--rounds" => options.rounds = number(name, value)?,
                other => bail!("`bench-{}` has no argument `{other}`", bench.name()),
            }
        }
        Ok(options)
    }
}

/// Measures and prints; `true` when every bar is met.
///
/// # Errors
///
/// When something cannot be built, installed or started, or contenders compute different things.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let name = options.bench.name();
    let target = crate::check::target_folder(workspace)?;
    let worker = format!("{name}_worker");
    let status = cargo(&workspace.root)
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "phenocoder-benches",
            "--bin",
            &worker,
        ])
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "our contender does not compile");
    let scripts = workspace.root.join("benches/peers");
    let folder = target.join("peers");
    std::fs::create_dir_all(&folder)?;
    let venv = options
        .venv
        .clone()
        .unwrap_or_else(|| folder.join(format!("venv_{name}")));
    let requirements = scripts.join(format!("requirements_{name}.txt"));
    let environment = Environment::open(&venv, options.python.as_deref(), &requirements)?;
    let data = options.data.clone().unwrap_or_else(|| folder.join(name));
    println!("{}\n", machine::line(&machine::describe(&workspace.root)));
    let status = Command::new(environment.python())
        .arg(scripts.join(format!("{name}.py")))
        .arg("run")
        .args([data, target.join("release").join(worker)])
        .arg(options.rounds.to_string())
        // What the scripts share is imported, and leaves nothing in the checkout.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .status()
        .context("Python does not start")?;
    verdict(status.code()).with_context(|| format!("{name}.py failed: {status}"))
}

/// Whether all bars are met, by the exit status of a script; none where it failed: Python's own is 1 after an error.
fn verdict(code: Option<i32>) -> Option<bool> {
    match code? {
        0 => Some(true),
        3 => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_name_benchmarks() {
        assert_eq!(Bench::of_command("bench-embed"), Some(Bench::Embed));
        assert_eq!(Bench::of_command("bench-peers"), None);
        assert_eq!(Bench::of_command("io"), None);
    }

    #[test]
    fn a_missed_bar_is_no_error_and_an_error_no_missed_bar() {
        assert_eq!(verdict(Some(0)), Some(true));
        assert_eq!(verdict(Some(3)), Some(false));
        for failed in [Some(1), Some(2), Some(101), None] {
            assert_eq!(verdict(failed), None);
        }
    }

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let options = Options::parse(Bench::Io, &["--rounds", "5", "--data", "x"]).unwrap();
        assert_eq!((options.rounds, options.data), (5, Some("x".into())));
        for wrong in [&["--rounds"][..], &["--rounds", "0"], &["--sides", "32"]] {
            assert!(Options::parse(Bench::Io, wrong).is_err(), "{wrong:?}");
        }
    }
}
