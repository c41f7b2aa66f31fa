//! `cargo xtask bench-scaling`: how time and memory of statistics of neighborhoods grow, as a table and a figure.

use anyhow::{Context, Result, bail};

use crate::peers::{machine, number};
use crate::workspace::{Workspace, cargo};

/// Where the figure goes.
const FIGURE: &str = "docs/images/scaling.png";

/// Reads the arguments: the most cells to measure with, where the user says so.
///
/// # Errors
///
/// When an argument is not known or has no number.
pub(crate) fn parse(arguments: &[&str]) -> Result<Option<usize>> {
    match arguments {
        [] => Ok(None),
        ["--largest", value] => Ok(Some(number("--largest", value)?)),
        other => bail!("`bench-scaling` takes `--largest CELLS`, not {other:?}"),
    }
}

/// Measures, prints the table and draws the figure; `true` when every bar is met.
///
/// # Errors
///
/// When something cannot be built or started.
pub(crate) fn run(workspace: &Workspace, largest: Option<usize>) -> Result<bool> {
    println!("{}\n", machine::line(&machine::describe(&workspace.root)));
    let mut command = cargo(&workspace.root);
    command.args(["run", "--quiet", "--release", "--locked"]);
    command.args(["--package", "phenocoder-benches", "--bin", "scaling", "--"]);
    // A figure of fewer cells is not that of the documentation.
    let figure = match largest {
        None => workspace.root.join(FIGURE),
        Some(_) => crate::check::target_folder(workspace)?.join("scaling.png"),
    };
    command.arg(figure);
    command.args(largest.map(|cells| cells.to_string()));
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
    fn the_most_cells_are_read_and_other_arguments_refused() {
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&["--largest", "100000"]).unwrap(), Some(100_000));
        for wrong in [&["--largest"][..], &["--largest", "0"], &["--rounds", "2"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
