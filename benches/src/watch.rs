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
    /// Elsewhere than on Linux.
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
    /// Elsewhere than on Linux.
    pub fn stop(self) -> Result<(f64, f64)> {
        let wall = self.begin.elapsed().as_secs_f64();
        Ok((wall, cpu_seconds()? - self.cpu))
    }
}

/// What the process has taken so far, by the clock that Python's `time.process_time` reads, to the nanosecond.
#[cfg(target_os = "linux")]
fn cpu_seconds() -> Result<f64> {
    use rustix::time::{ClockId, clock_gettime};

    let time = clock_gettime(ClockId::ProcessCPUTime);
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

#[cfg(not(target_os = "linux"))]
fn cpu_seconds() -> Result<f64> {
    anyhow::bail!("CPU time is measured on Linux only")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_thread_that_has_ended_counts_and_a_millisecond_is_not_lost() {
        let work = || {
            let begin = cpu_seconds().unwrap();
            while cpu_seconds().unwrap() < begin + 0.003 {}
        };
        let tries = [(); 10].map(|()| {
            let watch = Watch::start().unwrap();
            std::thread::spawn(work).join().unwrap();
            watch.stop().unwrap().1
        });
        // A machine that does other things too makes some of them longer.
        let least = tries.into_iter().fold(f64::INFINITY, f64::min);
        assert!((0.003..0.01).contains(&least), "{tries:?}");
    }
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
