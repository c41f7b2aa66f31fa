//! The conversation of a contender with `cargo xtask bench-peers`: commands as lines, answers as lines of JSON.
//!
//! `benches/peers/worker.py` is the same in Python and lists the commands.

use std::io::{self, BufRead, Write};

use anyhow::{Context, Result, bail};

/// The learning rate of all contenders.
pub const LEARNING_RATE: f64 = 1e-3;

/// A network with its batch, ready to work.
pub trait Contender {
    /// One training step, with noise on the latents or without.
    ///
    /// # Errors
    ///
    /// When the library fails.
    fn train(&mut self, noise: bool) -> Result<()>;

    /// Encodes the batch.
    ///
    /// # Errors
    ///
    /// When the library fails.
    fn encode(&mut self) -> Result<()>;

    /// The loss of the batch without noise.
    ///
    /// # Errors
    ///
    /// When the library fails.
    fn loss(&self) -> Result<f64>;

    /// Sets weights and optimizer to what they were at the start.
    ///
    /// # Errors
    ///
    /// When the library fails.
    fn restart(&mut self) -> Result<()>;
}

/// Introduces a contender and answers commands until the input ends.
///
/// # Errors
///
/// When a command is not known, the contender fails, or nobody reads the answers.
pub fn serve(library: &str, version: &str, contender: &mut dyn Contender) -> Result<()> {
    answer(&format!(
        r#"{{"library": "{library}", "version": "{version}"}}"#
    ))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (command, count) = line.split_once(' ').context("expected COMMAND COUNT")?;
        let count: usize = count
            .parse()
            .with_context(|| format!("`{count}` is no number"))?;
        match command {
            "check" => {
                let mut losses = vec![contender.loss()?];
                for _ in 0..count {
                    contender.train(false)?;
                    losses.push(contender.loss()?);
                }
                contender.restart()?;
                answer(&format!(r#"{{"losses": {losses:?}}}"#))?;
                continue;
            }
            "train" => (0..count).try_for_each(|_| contender.train(true))?,
            "encode" => (0..count).try_for_each(|_| contender.encode())?,
            other => bail!("unknown command `{other}`"),
        }
        answer(&format!(r#"{{"done": {count}}}"#))?;
    }
    Ok(())
}

fn answer(json: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{json}")?;
    Ok(out.flush()?)
}
