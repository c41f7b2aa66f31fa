//! On what was measured.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::workspace::output;

/// Processor, cores, load and commit.
pub(crate) fn describe(root: &Path) -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map(|(_, value)| value.to_owned())
    };
    let flags = field("flags").unwrap_or_default();
    let widest = ["avx512f", "avx2", "sse4_2"];
    let widest = widest
        .into_iter()
        .find(|flag| flags.split(' ').any(|f| f == *flag));
    let git = |arguments: &[&str]| {
        let text = output(Command::new("git").args(arguments).current_dir(root));
        text.map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    json!({
        "processor": field("model name"),
        "vectors": widest,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "load_before": load(),
        "commit": git(&["rev-parse", "--short", "HEAD"]),
        "changed_since": !git(&["status", "--porcelain", "--untracked-files=no"]).is_empty(),
    })
}

/// A description as a line, up to the load.
pub(crate) fn line(machine: &Value) -> String {
    let text = |key: &str| machine[key].to_string().replace('"', "");
    format!(
        "{}, {} cores, {}; commit {}{}; load {} before",
        text("processor"),
        text("cores"),
        text("vectors"),
        text("commit"),
        if machine["changed_since"] == true {
            " with changes"
        } else {
            ""
        },
        text("load_before"),
    )
}

/// The mean number of running programs in the last minute.
pub(crate) fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}
