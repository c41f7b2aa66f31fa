//! Who takes part, and the conversation with one of them.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::python::Environment;
use crate::stand_in;

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    TorchNchw,
    TorchChannelsLast,
    KerasGraph,
    KerasXla,
    StockCandle,
}

/// All of them, ours first.
pub(super) const ALL: [Kind; 6] = [
    Kind::Ours,
    Kind::TorchNchw,
    Kind::TorchChannelsLast,
    Kind::KerasGraph,
    Kind::KerasXla,
    Kind::StockCandle,
];

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "phenocoder",
            Self::TorchNchw => "torch-nchw",
            Self::TorchChannelsLast => "torch-channels-last",
            Self::KerasGraph => "keras-graph",
            Self::KerasXla => "keras-xla",
            Self::StockCandle => "stock-candle",
        }
    }

    pub(super) fn parse(name: &str) -> Result<Self> {
        match ALL.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => Ok(kind),
            None => bail!(
                "there is no contender `{name}`, only {}",
                ALL.map(Self::name).join(", ")
            ),
        }
    }

    pub(super) const fn is_python(self) -> bool {
        !matches!(self, Self::Ours | Self::StockCandle)
    }

    /// Whether ours is to be faster than this one by the bars for peers.
    pub(super) const fn is_peer(self) -> bool {
        self.is_python()
    }

    pub(super) const fn is_keras(self) -> bool {
        matches!(self, Self::KerasGraph | Self::KerasXla)
    }

    /// The script or program with its setting.
    const fn program(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Ours => ("step", &[]),
            Self::StockCandle => ("stock_candle", &[]),
            Self::TorchNchw => ("torch_vae.py", &["nchw"]),
            Self::TorchChannelsLast => ("torch_vae.py", &["channels_last"]),
            Self::KerasGraph => ("keras_vae.py", &["graph"]),
            Self::KerasXla => ("keras_vae.py", &["xla"]),
        }
    }
}

/// Where the contenders lie.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) scripts: PathBuf,
    pub(super) programs: PathBuf,
    /// None when no contender needs Python.
    pub(super) environment: Option<Python>,
    /// Where files of a run go.
    pub(super) folder: PathBuf,
}

/// A Python with the peers, and stand-ins for the CUDA libraries that its PyTorch asks for.
#[derive(Debug)]
pub(super) struct Python {
    environment: Environment,
    libraries: PathBuf,
}

impl Python {
    /// Makes the stand-ins where they are needed.
    pub(super) fn new(environment: Environment, libraries: &Path) -> Result<Self> {
        if let Some(torch) = environment.package("torch")? {
            let needs = stand_in::cuda_needs(&torch.join("lib"))?;
            let nvidia = environment.package("nvidia")?;
            // With NVIDIA's own packages beside it PyTorch loads those.
            for library in needs.iter().filter(|_| nvidia.is_none()) {
                if !libraries.join(&library.soname).exists() {
                    library.build(libraries, &library.soname)?;
                }
            }
        }
        Ok(Self {
            environment,
            libraries: libraries.to_owned(),
        })
    }
}

/// A contender that waits for its turn.
#[derive(Debug)]
pub(super) struct Contender {
    pub(super) kind: Kind,
    pub(super) version: String,
    child: Child,
    input: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: PathBuf,
}

/// What some work cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
}

impl Contender {
    /// Starts it and waits until it has introduced itself.
    pub(super) fn start(place: &Place, kind: Kind, arrays: &Path, threads: usize) -> Result<Self> {
        let (program, settings) = kind.program();
        let mut command = match &place.environment {
            Some(python) if kind.is_python() => {
                let mut command = Command::new(python.environment.python());
                command.arg(place.scripts.join(program));
                command.env("LD_LIBRARY_PATH", &python.libraries);
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            _ => Command::new(place.programs.join(program)),
        };
        for variable in [
            "RAYON_NUM_THREADS",
            "OMP_NUM_THREADS",
            "MKL_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
        ] {
            command.env(variable, threads.to_string());
        }
        let log = place.folder.join(format!("{}.log", kind.name()));
        let mut child = command
            .arg(arrays)
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{} does not start", kind.name()))?;
        let input = child.stdin.take().context("no input")?;
        let answers = BufReader::new(child.stdout.take().context("no output")?);
        let mut contender = Self {
            kind,
            version: String::new(),
            child,
            input,
            answers,
            log,
        };
        let introduction = contender.answer()?;
        let field = |name: &str| introduction[name].as_str().unwrap_or("?").to_owned();
        contender.version = format!("{} {}", field("library"), field("version"));
        Ok(contender)
    }

    /// The losses before and after each of `count` steps without noise.
    pub(super) fn check(&mut self, count: usize) -> Result<Vec<f64>> {
        self.ask("check", count)?;
        let answer = self.answer()?;
        let losses = answer["losses"].as_array();
        let losses = losses.map(|values| values.iter().filter_map(Value::as_f64).collect());
        losses.with_context(|| format!("{}: no losses in {answer}", self.kind.name()))
    }

    /// Lets it work and measures.
    pub(super) fn work(&mut self, command: &str, count: usize) -> Result<Cost> {
        let cpu = self.cpu_time()?;
        let start = Instant::now();
        self.ask(command, count)?;
        let answer = self.answer()?;
        let wall = start.elapsed();
        ensure!(answer["done"] == count, "{}: {answer}", self.kind.name());
        let cpu = self.cpu_time()?.saturating_sub(cpu);
        Ok(Cost { cpu, wall })
    }

    /// The largest resident memory so far, in kB.
    pub(super) fn peak_kb(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.context("the kernel does not say VmHWM")
    }

    /// The time that all threads of the process have run. None of the contenders ends a thread while it works.
    fn cpu_time(&self) -> Result<Duration> {
        let folder = format!("/proc/{}/task", self.child.id());
        let mut nanoseconds = 0;
        for entry in std::fs::read_dir(&folder).with_context(|| folder.clone())? {
            let path = entry?.path().join("schedstat");
            // A thread may end between the listing and the reading.
            let Ok(text) = std::fs::read_to_string(&path) else {
                continue;
            };
            let first = text.split_whitespace().next();
            let first: Option<u64> = first.and_then(|number| number.parse().ok());
            nanoseconds += first.with_context(|| path.display().to_string())?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    fn ask(&mut self, command: &str, count: usize) -> Result<()> {
        writeln!(self.input, "{command} {count}")?;
        Ok(self.input.flush()?)
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(12).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!("{} ended:\n{}", self.kind.name(), last.join("\n"));
        }
        serde_json::from_str(&line).with_context(|| format!("{}: {line}", self.kind.name()))
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        // It ends itself when its input closes; a contender in the middle of something would not.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in ALL {
            assert_eq!(Kind::parse(kind.name()).unwrap(), kind);
        }
        let error = Kind::parse("theano").unwrap_err().to_string();
        assert!(error.contains("only phenocoder, torch-nchw"), "{error}");
    }
}
