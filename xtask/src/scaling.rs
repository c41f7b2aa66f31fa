//! `cargo xtask bench-scaling`: how time and memory of statistics of neighborhoods, and of UMAP, grow, as a table and a figure.

use anyhow::{Context, Result, bail};

use crate::peers::{machine, number};
use crate::workspace::{Workspace, cargo};

/// Where the figure goes.
const FIGURE: &str = "docs/images/scaling.png";

/// What the user asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The most cells to measure with.
    largest: Option<usize>,
    /// A word in the names of the tasks.
    only: Option<String>,
}

impl Options {
    /// Reads the arguments behind the name of the benchmark.
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
                "--largest" => options.largest = Some(number(name, value)?),
                "--only" => options.only = Some(value.to_owned()),
                other => bail!("`bench-scaling` has no argument `{other}`"),
            }
        }
        Ok(options)
    }
}

/// Measures, prints the table and draws the figure; `true` when every bar is met.
///
/// # Errors
///
/// When something cannot be built or started.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    println!("{}\n", machine::line(&machine::describe(&workspace.root)));
    let mut command = cargo(&workspace.root);
    command.args(["run", "--quiet", "--release", "--locked"]);
    command.args(["--package", "phenocoder-benches", "--bin", "scaling", "--"]);
    // A figure of fewer cells or tasks is not that of the documentation.
    let figure = match *options == Options::default() {
        true => workspace.root.join(FIGURE),
        false => crate::check::target_folder(workspace)?.join("scaling.png"),
    };
    command.arg(figure);
    command.arg(options.largest.unwrap_or(usize::MAX).to_string());
    command.arg(options.only.as_deref().unwrap_or_default());
    let status = command.status().context("cargo does not start")?;
    match status.code() {
        Some(0) => Ok(true),
        // A bar is missed.
        Some(2) => Ok(false),
        _ => bail!("the benchmark failed: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        let options = Options::parse(&["--only", "UMAP", "--largest", "100000"]).unwrap();
        assert_eq!(options.largest, Some(100_000));
        assert_eq!(options.only.as_deref(), Some("UMAP"));
        for wrong in [&["--largest"][..], &["--largest", "0"], &["--rounds", "2"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
