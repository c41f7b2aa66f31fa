//! The conformance cases: stores of four generations of Python writers with their logical content, and damaged stores.
//!
//! The cases lie unpacked in a folder that `PHENOCODER_CONFORMANCE` names, or are unpacked once with `tar`.
//! Each store is described by the code of the example `inspect` in a process of its own, with limits on its address
//! space and time.

mod broken;
mod child;
mod compare;
mod valid;

#[path = "../../examples/inspect/describe.rs"]
mod describe;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

pub(crate) fn cases() -> Option<&'static Path> {
    static CASES: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    if let Some(folder) = std::env::var_os("PHENOCODER_CONFORMANCE") {
        static GIVEN: OnceLock<PathBuf> = OnceLock::new();
        return Some(GIVEN.get_or_init(|| PathBuf::from(folder)));
    }
    let unpack = || {
        let archive = phenocoder_testdata::find("conformance/cases.tar.gz")?;
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("tar")
            .arg("xzf")
            .arg(archive)
            .arg("-C")
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success(), "tar failed");
        let path = folder.path().join("public");
        Some((folder, path))
    };
    CASES
        .get_or_init(unpack)
        .as_ref()
        .map(|(_, path)| path.as_path())
}

pub(crate) fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    paths
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn name(case: &Path) -> String {
    case.file_name().unwrap().to_string_lossy().into_owned()
}

/// Writes a line that is seen when the test passes, too.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
}
