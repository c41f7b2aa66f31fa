//! What a process took: wall time, CPU time, memory. Linux only.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

/// Wall time and the CPU time of all threads, also of those that have ended.
#[derive(Debug)]
pub struct Watch {
    begin: Instant,
    cpu: f64,
}

impl Watch {
    /// Starts to measure.
    ///
    /// # Errors
    ///
    /// Where there is no `/proc`.
    pub fn start() -> Result<Self> {
        Ok(Self {
            cpu: cpu_seconds()?,
            begin: Instant::now(),
        })
    }

    /// Seconds and CPU seconds since the start.
    ///
    /// # Errors
    ///
    /// Where there is no `/proc`.
    pub fn stop(self) -> Result<(f64, f64)> {
        let wall = self.begin.elapsed().as_secs_f64();
        Ok((wall, cpu_seconds()? - self.cpu))
    }
}

/// Fields 14 and 15 of `/proc/self/stat`, in hundredths of seconds.
fn cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no fields")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("too few")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// The most resident memory so far, in megabytes.
///
/// # Errors
///
/// Where there is no `/proc`.
pub fn peak_megabytes() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: f64 = number.context("no such line")?.parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}
