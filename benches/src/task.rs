//! A task of a worker that a script in `benches/peers` calls: done several times, it prints what one call takes.

#![allow(clippy::print_stdout, reason = "the answer")]

use anyhow::{Result, ensure};

use crate::watch::{Watch, peak_megabytes};

/// Seconds of CPU time after which a task is not done again, as in `contest.py`.
const ENOUGH: f64 = 2.0;

/// Does a task and prints the least seconds and CPU seconds of one call, what the contenders must agree in, and resident
/// megabytes; `compared` takes that from what came out, and is not timed.
///
/// As `best_of` of `contest.py`: once before it is measured, each call timed alone, without dropping what came out.
///
/// # Errors
///
/// When the task fails, when the clock does not tell that a call took time, or elsewhere than on Linux.
pub fn measure<T>(
    task: impl Fn() -> Result<T>,
    compared: impl FnOnce(T) -> Result<Vec<f64>>,
) -> Result<()> {
    let answer = compared(task()?)?;
    let (mut wall, mut cpu, mut spent) = (f64::INFINITY, f64::INFINITY, 0.0);
    while spent < ENOUGH {
        let watch = Watch::start()?;
        let answer = task()?;
        let (seconds, cpu_seconds) = watch.stop()?;
        drop(answer);
        ensure!(cpu_seconds > 0.0, "a call is too short for the clock");
        spent += cpu_seconds;
        wall = wall.min(seconds);
        cpu = cpu.min(cpu_seconds);
    }
    let answer: Vec<String> = answer.iter().map(f64::to_string).collect();
    println!(
        "[{wall}, {cpu}, [{}], {}]",
        answer.join(", "),
        peak_megabytes()?
    );
    Ok(())
}
