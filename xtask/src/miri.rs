//! `cargo xtask miri`: the kernels under Miri, an interpreter that finds undefined behaviour.
//!
//! There is no unsafe code in what it runs of ours; what runs below (`pulp`, `rayon`, `candle`) has, and is called with our
//! slices.
//! The one file that has, `phenocoder-model/src/kernel/cuda.rs`, launches kernels on GPUs, which Miri never sees.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

/// Tests of `phenocoder-model` that are small enough.
const TESTS: [&str; 5] = [
    "kernel::tests::small",
    "train::optim::tests::steps_of_adam_follow_the_formula",
    "train::optim::tests::steps_of_sgd_follow_the_formula",
    "kernel::geometry",
    "kernel::elementary::tests::what_is_too_large",
];

/// `rayon` spawns threads that never end, and `crossbeam-epoch` below it breaks the older of Miri's two models of aliasing
/// (stacked borrows), so the newer one is used.
const FLAGS: &str =
    "-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks";

/// Runs the tests; `true` when all passed and nothing was found.
///
/// # Errors
///
/// When the nightly toolchain has no Miri.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let nightly = |args: &[&str]| {
        let mut command = Command::new("rustup");
        command.current_dir(&workspace.root);
        command.args(["run", "nightly", "cargo", "miri"]).args(args);
        command
    };
    let version = nightly(&["--version"])
        .output()
        .context("rustup does not start")?;
    ensure!(
        version.status.success(),
        "the nightly toolchain has no Miri; `rustup toolchain install nightly --component miri,rust-src` installs it"
    );
    println!("{}", String::from_utf8_lossy(&version.stdout).trim());
    let mut command = nightly(&[
        "test",
        "--locked",
        "--package",
        "phenocoder-model",
        "--lib",
        "--",
    ]);
    let status = command
        .args(TESTS)
        .env("MIRIFLAGS", FLAGS)
        // Two threads, so that work is handed over.
        .env("RAYON_NUM_THREADS", "2")
        .env("CARGO_TARGET_DIR", workspace.root.join("target/miri-build"))
        .status()
        .context("cargo does not start")?;
    Ok(status.success())
}
