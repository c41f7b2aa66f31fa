//! `cargo xtask bench-peers`: our training step and encoding beside PyTorch, Keras and stock candle, in turns.
//!
//! Every contender is a process of its own that is kept alive and works only when it is its turn, so that a disturbance of
//! the machine hits all of them alike, and the smallest of several rounds is what the work costs.
//! CPU time is that of all threads of the process, read from the kernel in nanoseconds.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::python::Environment;
use crate::workspace::{Workspace, cargo};

mod contender;
pub(crate) mod machine;
mod report;
mod rounds;

use contender::{ALL, Kind};
use report::Report;

/// What the user asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    venv: Option<PathBuf>,
    python: Option<String>,
    json: Option<PathBuf>,
    sides: Vec<usize>,
    threads: Vec<usize>,
    kinds: Vec<Kind>,
    rounds: usize,
    seconds: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            venv: None,
            python: None,
            json: None,
            sides: vec![32, 128],
            threads: vec![1, 2],
            kinds: ALL.to_vec(),
            rounds: 9,
            seconds: 1.0,
        }
    }
}

impl Options {
    /// Reads the arguments behind `bench-peers`.
    ///
    /// # Errors
    ///
    /// When one is not known or has no value.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(&name) = arguments.next() {
            let value = arguments.next().copied();
            let value = value.with_context(|| format!("`{name}` needs a value"))?;
            match name {
                "--venv" => options.venv = Some(value.into()),
                "--python" => options.python = Some(value.to_owned()),
                "--json" => options.json = Some(value.into()),
                "--sides" => options.sides = numbers(name, value)?,
                "--threads" => options.threads = numbers(name, value)?,
                "--rounds" => options.rounds = number(name, value)?,
                "--seconds" => {
                    let seconds = value.parse().ok().filter(|s: &f64| *s > 0.0);
                    options.seconds = seconds.with_context(|| not_positive(name, value))?;
                }
                "--only" => {
                    options.kinds = value.split(',').map(Kind::parse).collect::<Result<_>>()?;
                }
                other => bail!("`bench-peers` has no argument `{other}`"),
            }
        }
        ensure!(
            options.kinds.contains(&Kind::Ours),
            "`--only` must name `{}`: everything is compared with it",
            Kind::Ours.name()
        );
        Ok(options)
    }
}

fn numbers(name: &str, value: &str) -> Result<Vec<usize>> {
    value.split(',').map(|part| number(name, part)).collect()
}

/// A number above 0 that an argument has.
pub(crate) fn number(name: &str, value: &str) -> Result<usize> {
    let number = value.parse().ok().filter(|n| *n > 0);
    number.with_context(|| not_positive(name, value))
}

fn not_positive(name: &str, value: &str) -> String {
    format!("`{name}`: `{value}` is no number above 0")
}

/// Measures and prints; `true` when every bar that was measured is met.
///
/// # Errors
///
/// When something cannot be built, installed or started, or a contender computes something else than ours.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let target = crate::check::target_folder(workspace)?;
    let folder = target.join("peers");
    std::fs::create_dir_all(&folder)?;
    build(workspace)?;
    let python = options.kinds.iter().any(|kind| kind.is_python());
    let environment = match python {
        true => Some(environment(workspace, options, &folder)?),
        false => None,
    };
    let place = contender::Place {
        scripts: workspace.root.join("benches/peers"),
        programs: target.join("release"),
        environment,
        folder,
    };
    let mut report = Report::new(machine::describe(&workspace.root));
    for &side in &options.sides {
        let arrays = place.folder.join(format!("arrays_{side}.npz"));
        let status = Command::new(place.programs.join("step"))
            .args(["--write", &side.to_string()])
            .arg(&arrays)
            .status()?;
        ensure!(status.success(), "the network was not written");
        for &threads in &options.threads {
            let task = rounds::Task {
                side,
                threads,
                arrays: &arrays,
                rounds: options.rounds,
                seconds: options.seconds,
            };
            println!("\n== {side}×{side}×4, {}", report::on_threads(threads));
            let kinds = rounds::taking_part(&options.kinds, threads);
            report
                .results
                .extend(rounds::measure(&place, &task, &kinds)?);
        }
        for result in rounds::peak_memory(&place, &arrays, side, &options.kinds)? {
            report.memory.push(result);
        }
    }
    report.load_after = machine::load();
    println!("\n{}", report.text());
    if let Some(path) = &options.json {
        let mut value = report.json();
        value["options"] = json!({ "rounds": options.rounds, "seconds": options.seconds });
        std::fs::write(path, format!("{value:#}\n")).with_context(|| path.display().to_string())?;
    }
    Ok(report.bars().iter().all(|bar| bar.is_met()))
}

fn build(workspace: &Workspace) -> Result<()> {
    let status = cargo(&workspace.root)
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "phenocoder-benches",
            "--bins",
        ])
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "our contenders do not compile");
    Ok(())
}

fn environment(
    workspace: &Workspace,
    options: &Options,
    folder: &std::path::Path,
) -> Result<contender::Python> {
    let venv = options.venv.clone().unwrap_or_else(|| folder.join("venv"));
    let requirements = workspace.root.join("benches/peers/requirements.txt");
    let environment = Environment::open(&venv, options.python.as_deref(), &requirements)?;
    contender::Python::new(environment, &folder.join("stand-ins"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let options = Options::parse(&["--sides", "32", "--threads", "1,2", "--seconds", "0.5"]);
        let options = options.unwrap();
        assert_eq!((options.sides, options.threads), (vec![32], vec![1, 2]));
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        for wrong in [
            &["--sides"][..],
            &["--sides", "0"],
            &["--seconds", "-1"],
            &["--only", "keras-graph"],
            &["--only", "phenocoder,theano"],
            &["--fast", "1"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
