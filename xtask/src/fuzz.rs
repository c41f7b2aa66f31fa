//! `cargo xtask fuzz`: every fuzz target of `fuzz/`, one after the other, with counts.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{Workspace, cargo, output};

/// Memory that a target may take, in MB.
const MOST_MB: u32 = 512;
/// Seconds that an input may take, on a machine that does nothing else.
const MOST_SECONDS: u32 = 1;

/// What is run, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Options {
    targets: Vec<String>,
    /// Inputs per target.
    runs: Option<u64>,
    /// Minutes per target.
    minutes: Option<u64>,
    /// Keep of the corpora only what is needed for the same coverage.
    minimize: bool,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// For arguments that there are none of.
    pub(crate) fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            let mut number = || -> Result<u64> {
                let next = args
                    .next()
                    .with_context(|| format!("{arg} needs a number"))?;
                next.parse().with_context(|| format!("{arg} {next}"))
            };
            match arg {
                "--runs" => options.runs = Some(number()?),
                "--minutes" => options.minutes = Some(number()?),
                "--minimize" => options.minimize = true,
                _ if arg.starts_with('-') => bail!("there is no argument `{arg}`"),
                _ => options.targets.push(arg.to_owned()),
            }
        }
        Ok(options)
    }
}

/// What became of a target.
#[derive(Debug)]
struct Outcome {
    target: String,
    inputs: u64,
    cpu_seconds: f64,
    edges: u64,
    peak_mb: u64,
    /// Inputs that crashed it, took too long or too much memory.
    found: usize,
}

/// Builds the targets and runs them; `true` when nothing was found.
///
/// # Errors
///
/// When cargo-fuzz or the nightly toolchain is not there, or a target does not build.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let folder = workspace.root.join("fuzz");
    let targets = targets(&folder, &options.targets)?;
    write_seeds(workspace)?;
    let binaries = build(workspace, &folder)?;
    let mut outcomes = Vec::new();
    let mut is_good = true;
    for target in &targets {
        // What is wrong with one target does not keep the others from being run.
        match run_target(&folder, &binaries, target, options) {
            Ok(outcome) => {
                println!("{}", row(&outcome));
                outcomes.push(outcome);
            }
            Err(error) => {
                println!("{target}: {error:#}");
                is_good = false;
            }
        }
    }
    println!("\n{HEAD}");
    for outcome in &outcomes {
        println!("{}", row(outcome));
    }
    Ok(is_good && outcomes.iter().all(|outcome| outcome.found == 0))
}

/// The targets asked for, or all.
fn targets(folder: &Path, asked: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder.join("fuzz_targets"))? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        all.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    all.sort();
    if asked.is_empty() {
        return Ok(all);
    }
    for target in asked {
        ensure!(
            all.contains(target),
            "`{target}` is none of {}",
            all.join(", ")
        );
    }
    Ok(asked.to_vec())
}

/// Where the sound inputs are, which a test of the crate makes.
const SEEDS: &str = "work/seeds";

/// Writes the sound inputs.
fn write_seeds(workspace: &Workspace) -> Result<()> {
    let status = cargo(&workspace.root)
        .args([
            "test",
            "--release",
            "--locked",
            "--quiet",
            "-p",
            "phenocoder-io",
            "--lib",
        ])
        .args(["--", "sound_input_is_written_for_the_fuzzer"])
        .env(
            "PHENOCODER_FUZZ_SEEDS",
            workspace.root.join("fuzz").join(SEEDS),
        )
        .stdout(Stdio::null())
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "the sound inputs could not be written");
    Ok(())
}

/// How the targets are built: no sanitizer, as nothing here is unchecked; `fuzz/Cargo.toml` turns checks of overflow on.
///
/// Comparisons are not traced: that halves the inputs per second, and the dictionary and the mutator know the words.
const BUILD: [&str; 6] = [
    "build",
    "--release",
    "--codegen-units=16",
    "--no-trace-compares",
    "--sanitizer",
    "none",
];

/// A program of the nightly toolchain.
fn nightly(program: &str, folder: &Path) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", program])
        .current_dir(folder)
        // That of the toolchain that runs this program would be found first.
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// The machine that programs are built for, of what `rustc -vV` prints.
fn host(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: "))
}

/// Builds all targets, in a folder of their own wherever the workspace is built.
fn build(workspace: &Workspace, folder: &Path) -> Result<PathBuf> {
    let version = output(nightly("rustc", &workspace.root).arg("-vV"))
        .context("`rustup toolchain install nightly` installs what is needed")?;
    let host = host(&version).context("rustc does not tell its host")?;
    let target = folder.join("target");
    let status = nightly("cargo", &workspace.root)
        .arg("fuzz")
        .args(BUILD)
        .args(["--target", host])
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("rustup does not start")?;
    ensure!(
        status.success(),
        "the targets were not built; `rustup toolchain install nightly` and `cargo install cargo-fuzz` install what is needed"
    );
    Ok(target.join(host).join("release"))
}

fn run_target(folder: &Path, binaries: &Path, target: &str, options: &Options) -> Result<Outcome> {
    let corpus = folder.join("corpus").join(target);
    let artifacts = folder.join("artifacts").join(target);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let work = folder.join("work").join(target);
    fs::create_dir_all(&work)?;
    let seeds = folder.join(SEEDS).join(target);
    let mut command = Command::new(binaries.join(target));
    command
        .arg(format!("-rss_limit_mb={MOST_MB}"))
        .arg(format!("-timeout={MOST_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_len={}", longest(target)))
        .args(["-print_final_stats=1", "-use_value_profile=0", "-reload=0"]);
    if is_json(folder, target)? {
        let words = folder.join("dictionaries/json.dict");
        command.arg(format!("-dict={}", words.display()));
    }
    if let Some(runs) = options.runs {
        command.arg(format!("-runs={runs}"));
    }
    let minutes = match (options.runs, options.minutes) {
        (None, None) => Some(1),
        (_, minutes) => minutes,
    };
    if let Some(minutes) = minutes {
        command.arg(format!("-max_total_time={}", minutes * 60));
    }
    command.args([&work, &corpus, &seeds]);
    let (start, before) = (Instant::now(), children_seconds());
    let started = SystemTime::now();
    let output = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{target} does not start"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let cpu = before.zip(children_seconds()).map_or_else(
        || start.elapsed().as_secs_f64(),
        |(before, after)| after - before,
    );
    if !output.status.success() {
        println!("{log}");
    }
    let inputs = number_after(&log, "stat::number_of_executed_units:").unwrap_or(0);
    let found = count_newer(&artifacts, started)?;
    let was_stopped = minutes.is_some_and(|m| start.elapsed().as_secs() >= m * 60);
    check(
        output.status.success(),
        inputs,
        options.runs.filter(|_| !was_stopped),
        found,
    )?;
    if options.minimize {
        minimize(binaries, target, &corpus, [&work, &seeds])?;
    }
    Ok(Outcome {
        target: target.to_owned(),
        inputs,
        cpu_seconds: cpu,
        edges: log
            .lines()
            .rev()
            .find_map(|line| number_after(line, " cov:"))
            .unwrap_or(0),
        peak_mb: number_after(&log, "stat::peak_rss_mb:").unwrap_or(0),
        found,
    })
}

/// Whether a target that has ended did what it was asked for, or found something.
fn check(is_success: bool, inputs: u64, asked: Option<u64>, found: usize) -> Result<()> {
    if found > 0 {
        return Ok(());
    }
    ensure!(is_success, "it ended without an input that tells why");
    ensure!(inputs > 0, "it read no input");
    let asked = asked.unwrap_or(0);
    ensure!(
        inputs >= asked,
        "it read {inputs} inputs, not {asked}, and found nothing"
    );
    Ok(())
}

/// How many files of a folder were written since then.
fn count_newer(folder: &Path, since: SystemTime) -> Result<usize> {
    let mut newer = 0;
    for entry in fs::read_dir(folder)? {
        newer += usize::from(entry?.metadata()?.modified()? >= since);
    }
    Ok(newer)
}

/// The longest input: no parser of short things learns from long ones.
fn longest(target: &str) -> usize {
    match target {
        "page_header" | "categories" | "sparse" => 256,
        "wkb" | "texts" | "chunk" | "shard" | "differences" | "note_of_headers" => 1024,
        // Files of other programs.
        "parquet" => 8192,
        _ => 4096,
    }
}

fn is_json(folder: &Path, target: &str) -> Result<bool> {
    let source = folder.join("fuzz_targets").join(format!("{target}.rs"));
    Ok(fs::read_to_string(source)?.contains("json_target!"))
}

/// Replaces the corpus by the fewest inputs that reach as much.
fn minimize(binaries: &Path, target: &str, corpus: &Path, [work, seeds]: [&Path; 2]) -> Result<()> {
    let fresh = work.with_extension("minimized");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    let status = Command::new(binaries.join(target))
        .arg("-set_cover_merge=1")
        .args([&fresh, corpus, work, seeds])
        .stderr(Stdio::null())
        .status()?;
    ensure!(
        status.success(),
        "the corpus of {target} could not be minimized"
    );
    for entry in fs::read_dir(corpus)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // What was found once stays.
        if !name.starts_with("found-") {
            fs::remove_file(&path)?;
        }
    }
    for entry in fs::read_dir(&fresh)? {
        let path = entry?.path();
        fs::rename(&path, corpus.join(path.file_name().unwrap_or_default()))?;
    }
    fs::remove_dir_all(&fresh)?;
    Ok(())
}

/// The number that follows a mark.
fn number_after(text: &str, mark: &str) -> Option<u64> {
    let (_, rest) = text.split_once(mark)?;
    let rest = rest.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// User time of all children that have ended, in seconds: Linux only.
fn children_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name in brackets the third field follows; `cutime` is the sixteenth, in hundredths of a second.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: f64 = fields.split_whitespace().nth(13)?.parse().ok()?;
    Some(ticks / 100.0)
}

const HEAD: &str = "\
| target | inputs | CPU time | inputs per CPU-second | edges | peak memory | findings |
|---|---|---|---|---|---|---|";

fn row(outcome: &Outcome) -> String {
    let per_second = outcome.inputs as f64 / outcome.cpu_seconds.max(0.01);
    format!(
        "| `{}` | {} | {:.1} min | {} | {} | {} MB | {} |",
        outcome.target,
        grouped(outcome.inputs),
        outcome.cpu_seconds / 60.0,
        grouped(per_second as u64),
        grouped(outcome.edges),
        outcome.peak_mb,
        outcome.found
    )
}

/// A number with commas between its thousands.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        let _ = write!(text, "{digit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let options = Options::parse(&["--runs", "10", "wkb", "--minimize"]).unwrap();
        assert_eq!((options.runs, options.minutes), (Some(10), None));
        assert_eq!(options.targets, ["wkb"]);
        assert!(options.minimize);
        assert!(Options::parse(&["--runs"]).is_err());
        assert!(Options::parse(&["--fast"]).is_err());
    }

    #[test]
    fn targets_that_end_early_have_failed() {
        assert!(check(true, 10, Some(10), 0).is_ok());
        assert!(check(true, 10, None, 0).is_ok());
        assert!(check(false, 10, None, 1).is_ok());
        assert!(check(false, 10, None, 0).is_err());
        assert!(check(true, 0, None, 0).is_err());
        assert!(check(true, 9, Some(10), 0).is_err());
    }

    #[test]
    fn the_host_is_found() {
        let version = "rustc 1.97.0-nightly\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        assert_eq!(host(version), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(host("rustc"), None);
    }

    #[test]
    fn counts_are_taken_from_what_libfuzzer_prints() {
        let log = "#8 DONE   cov: 312 ft: 9\nstat::number_of_executed_units: 4711\n";
        assert_eq!(number_after(log, " cov:"), Some(312));
        assert_eq!(
            number_after(log, "stat::number_of_executed_units:"),
            Some(4711)
        );
        assert_eq!(number_after(log, "stat::peak_rss_mb:"), None);
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
    }
}
