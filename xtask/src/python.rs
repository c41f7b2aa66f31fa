//! Python: finding one, and environments with pinned packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::output;

/// The file in an environment that says of what it was made.
const MARK: &str = "made-of";

/// An environment with packages.
#[derive(Debug)]
pub(crate) struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// Opens an environment; makes it when there is none, anew when `requirements` or the interpreter changed.
    ///
    /// A folder that has an environment of other making is taken as it is.
    /// Every package is named in `requirements`, so pip looks for no others.
    ///
    /// # Errors
    ///
    /// When there is no Python of version 3.12 or 3.13, or pip fails.
    pub(crate) fn open(folder: &Path, python: Option<&str>, requirements: &Path) -> Result<Self> {
        let environment = Self {
            folder: folder.to_owned(),
        };
        let mark = folder.join(MARK);
        if environment.python().exists() && !mark.exists() {
            println!("{}: taken as it is", folder.display());
            return Ok(environment);
        }
        make(folder, python, requirements, |python| {
            run(Command::new(python).args(["-m", "venv"]).arg(folder))?;
            let mut pip = pip(&environment.python(), requirements);
            run(&mut pip)
        })?;
        Ok(environment)
    }

    /// The interpreter.
    pub(crate) fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// The folder of an installed package; `None` when it is not there.
    ///
    /// # Errors
    ///
    /// When Python does not start.
    pub(crate) fn package(&self, name: &str) -> Result<Option<PathBuf>> {
        let code = "import importlib.util, sys\n\
            spec = importlib.util.find_spec(sys.argv[1])\n\
            print(spec.submodule_search_locations[0] if spec else '')";
        let text = output(Command::new(self.python()).args(["-c", code, name]))?;
        Ok(Some(text.trim())
            .filter(|path| !path.is_empty())
            .map(PathBuf::from))
    }
}

/// Puts packages into a folder without an interpreter of its own, anew when the list changed.
///
/// # Errors
///
/// As [`Environment::open`].
pub(crate) fn install(folder: &Path, python: Option<&str>, requirements: &Path) -> Result<()> {
    make(folder, python, requirements, |python| {
        run(pip(python, requirements)
            .arg("--no-compile")
            .arg("--target")
            .arg(folder))
    })
}

/// Fills a folder unless it was already made by the same interpreter of the same list.
fn make(
    folder: &Path,
    python: Option<&str>,
    requirements: &Path,
    fill: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    let mark = folder.join(MARK);
    let python = find(python)?;
    let version = output(Command::new(&python).arg("--version"))?;
    let made_of = format!("{version}{}", full_text(requirements)?);
    if fs::read_to_string(&mark).is_ok_and(|text| text == made_of) {
        return Ok(());
    }
    println!(
        "{}: installing {}",
        folder.display(),
        requirements.display()
    );
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    // Written first and completed at the end: a folder that was interrupted is known as ours.
    fs::write(&mark, "unfinished")?;
    fill(&python)?;
    Ok(fs::write(&mark, made_of)?)
}

/// A list of packages with the lists that it names by `-r`.
fn full_text(requirements: &Path) -> Result<String> {
    let name = || requirements.display().to_string();
    let mut text = fs::read_to_string(requirements).with_context(name)?;
    let folder = requirements.parent().unwrap_or(Path::new(""));
    let others: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| Some(folder.join(line.strip_prefix("-r ")?.trim())))
        .collect();
    for other in others {
        text.push_str(&fs::read_to_string(&other).with_context(|| other.display().to_string())?);
    }
    Ok(text)
}

fn pip(python: &Path, requirements: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--no-input", "--no-deps", "--requirement"])
        .arg(requirements);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().context("Python does not start")?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// A Python 3.12 or 3.13: the one asked for, `$PYTHON`, the usual names, or one that pyenv installed.
fn find(asked: Option<&str>) -> Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    match asked {
        Some(path) => candidates.push(path.into()),
        None => {
            candidates.extend(std::env::var_os("PYTHON").map(PathBuf::from));
            candidates.extend(["python3.12", "python3.13", "python3"].map(PathBuf::from));
            candidates.extend(pyenv());
        }
    }
    let fits = |python: &&PathBuf| {
        let code =
            "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 12), (3, 13)))";
        let run = Command::new(python)
            .args(["-c", code])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        run.is_ok_and(|status| status.success())
    };
    match candidates.iter().find(fits) {
        Some(python) => Ok(python.clone()),
        None => bail!("no Python 3.12 or 3.13 found; name one with `--python PATH` or in $PYTHON"),
    }
}

/// What pyenv installed; its shims of the usual names run only for versions that it has switched on.
fn pyenv() -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".pyenv")));
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let mut found: Vec<PathBuf> = versions
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/python")))
        .collect();
    found.sort();
    found
}
