//! Stores are described in a process of their own, which may be killed, run out of memory or of time.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use phenocoder_io::Store;
use serde_json::{Value, json};

use super::describe;

/// The address space of the process, in kB: enough for its threads and 64 MB.
const ADDRESS_SPACE_KB: u64 = 1 << 20;
const SECONDS: u64 = 10;

const STORE: &str = "PHENOCODER_INSPECT_STORE";
const OUT: &str = "PHENOCODER_INSPECT_OUT";

/// What became of a process that described a store.
pub(crate) struct Described {
    /// The description, or what ended the process.
    pub(crate) result: Result<Value, String>,
    /// The most memory that it held, in kB, where that is known.
    pub(crate) peak_kb: Option<u64>,
    /// The files that it opened, where they could be watched.
    pub(crate) opened: Option<Vec<String>>,
}

/// The test that the process runs: it does nothing in the run of all tests.
#[test]
fn a_store_is_described() {
    let (Some(store), Some(out)) = (std::env::var_os(STORE), std::env::var_os(OUT)) else {
        return;
    };
    // Files opened from here on are the store's.
    let _ = fs::File::open(BEGIN);
    let description = match Store::open(store) {
        Ok(store) => describe::describe(&store),
        Err(error) => json!({"errors": [describe::error_entry(&error, "", "open")]}),
    };
    let _ = fs::File::open(END);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| {
        let value = line.strip_prefix("VmHWM:")?.trim();
        value.strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let text = json!({"description": description, "peak_kb": peak}).to_string();
    fs::write(out, text).unwrap();
}

const BEGIN: &str = "/phenocoder-reading-begins";
const END: &str = "/phenocoder-reading-ends";

/// Describes a store within limits; `watch` notes the files opened, where `strace` is to be had.
pub(crate) fn inspect(store: &Path, watch: bool) -> Described {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    let log = folder.path().join("strace.log");
    let mut command = Command::new("sh");
    // Not every system limits the address space.
    let script = "ulimit -v \"$1\" 2>/dev/null; shift; exec \"$@\"";
    command.args(["-c", script, "sh"]);
    command.arg(ADDRESS_SPACE_KB.to_string());
    if watch {
        command
            .args(["strace", "-f", "-e", "trace=open,openat", "-o"])
            .arg(&log);
    }
    let test = concat!(module_path!(), "::a_store_is_described");
    let test = test.split_once("::").map_or(test, |(_, path)| path);
    command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1"])
        .env(STORE, store)
        .env(OUT, &out)
        // Every thread and every arena takes a part of the address space.
        .env("RAYON_NUM_THREADS", "2")
        .env("MALLOC_ARENA_MAX", "2")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Ok(status);
        }
        if begin.elapsed() > Duration::from_secs(SECONDS) {
            child.kill().unwrap();
            child.wait().unwrap();
            break Err(format!("it took more than {SECONDS} s"));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let written = fs::read(&out).ok();
    let written = written.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let peak_kb = written.as_ref().and_then(|w| w["peak_kb"].as_u64());
    let result = ended.and_then(|status| match written {
        Some(mut written) if status.success() => Ok(written["description"].take()),
        _ => Err(format!("the process ended with {status}")),
    });
    let opened = watch.then(|| opened(&fs::read_to_string(log).unwrap_or_default()));
    Described {
        result,
        peak_kb,
        opened,
    }
}

/// The paths of the files opened between the two marks.
fn opened(log: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        if line.contains(BEGIN) {
            inside = true;
        } else if line.contains(END) {
            inside = false;
        } else if inside && let Some(path) = line.split('"').nth(1) {
            paths.push(path.to_owned());
        }
    }
    paths
}

/// Whether files that a process opens can be watched here.
pub(crate) fn can_watch() -> bool {
    let watched = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    watched.is_ok_and(|status| status.success())
}
