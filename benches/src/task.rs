//! A task of a worker that a script in `benches/peers` calls: done several times, it prints what one call takes.

#![allow(clippy::print_stdout, reason = "the answer")]

use anyhow::Result;

use crate::watch::{Watch, peak_megabytes};

/// Seconds of CPU time after which a task is not done again.
const ENOUGH: f64 = 2.0;
/// Seconds of CPU time that can be measured to 5 %.
const LONG: f64 = 0.2;

/// Does a task and prints the least seconds and CPU seconds of one call, what the contenders must agree in, and resident
/// megabytes; `compared` takes that from what came out, and is not timed.
///
/// # Errors
///
/// When the task fails, or where there is no `/proc`.
pub fn measure<T>(
    task: impl Fn() -> Result<T>,
    compared: impl FnOnce(T) -> Result<Vec<f64>>,
) -> Result<()> {
    let answer = compared(task()?)?;
    let (mut wall, mut cpu, mut spent) = (f64::INFINITY, f64::INFINITY, 0.0);
    // The clock of CPU time has ticks of 10 ms: short tasks are done often and divided.
    let mut repeats = 1;
    while spent < ENOUGH {
        let watch = Watch::start()?;
        for _ in 0..repeats {
            task()?;
        }
        let (seconds, cpu_seconds) = watch.stop()?;
        if cpu_seconds < LONG {
            repeats *= 2;
            continue;
        }
        spent += cpu_seconds;
        wall = wall.min(seconds / f64::from(repeats));
        cpu = cpu.min(cpu_seconds / f64::from(repeats));
    }
    let answer: Vec<String> = answer.iter().map(f64::to_string).collect();
    println!(
        "[{wall}, {cpu}, [{}], {}]",
        answer.join(", "),
        peak_megabytes()?
    );
    Ok(())
}
