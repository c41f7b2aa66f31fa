//! Rounds: everyone works a little, in an order that changes, again and again.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::contender::{Contender, Cost, Kind, Place};
use super::report::{Measured, Memory, Samples};

/// Losses may differ by this fraction; two networks that are not the same differ by more than ten times as much.
const TOLERANCE: f64 = 1e-4;
/// Steps without noise before the measurement.
const CHECKED_STEPS: usize = 3;
/// Stock candle needs seconds for a step: it takes part in so many rounds only.
const SLOW_ROUNDS: usize = 3;
/// Steps whose memory is measured.
const MEMORY_STEPS: usize = 6;

/// What is measured.
#[derive(Debug)]
pub(super) struct Task<'a> {
    pub(super) side: usize,
    pub(super) threads: usize,
    pub(super) arrays: &'a Path,
    pub(super) rounds: usize,
    /// Wall time of one contender's turn at one kind of work.
    pub(super) seconds: f64,
}

/// Stock candle is compared on one thread.
pub(super) fn taking_part(kinds: &[Kind], threads: usize) -> Vec<Kind> {
    let takes_part = |kind: &&Kind| threads == 1 || **kind != Kind::StockCandle;
    kinds.iter().filter(takes_part).copied().collect()
}

struct Player {
    contender: Contender,
    train: Samples,
    encode: Samples,
    rounds: usize,
}

/// Starts the contenders, checks that they compute the same, and lets them work in turns.
pub(super) fn measure(place: &Place, task: &Task<'_>, kinds: &[Kind]) -> Result<Vec<Measured>> {
    let mut players = Vec::new();
    let mut expected: Vec<f64> = Vec::new();
    for &kind in kinds {
        let mut contender = Contender::start(place, kind, task.arrays, task.threads)?;
        let slow = kind == Kind::StockCandle;
        let losses = contender.check(if slow { 1 } else { CHECKED_STEPS })?;
        if expected.is_empty() {
            expected.clone_from(&losses);
        }
        let error = disagreement(&losses, &expected);
        println!(
            "{:<20} {}: losses {losses:.2?}, apart by {error:.1e}",
            kind.name(),
            contender.version
        );
        ensure!(
            error <= TOLERANCE,
            "{} computes another network: its losses are {losses:?}, ours {expected:?}",
            kind.name()
        );
        let mut player = Player {
            train: Samples::new(warm_up(&mut contender, "train", task.seconds, slow)?),
            encode: Samples::new(warm_up(&mut contender, "encode", task.seconds, slow)?),
            rounds: if slow {
                SLOW_ROUNDS.min(task.rounds)
            } else {
                task.rounds
            },
            contender,
        };
        player.contender.work("train", 1)?;
        players.push(player);
    }
    for round in 0..task.rounds {
        let count = players.len();
        for i in 0..count {
            let player = &mut players[(round + i) % count];
            if round >= player.rounds {
                continue;
            }
            turn(&mut player.contender, "train", &mut player.train)?;
            turn(&mut player.contender, "encode", &mut player.encode)?;
        }
    }
    let measured = |player: Player| Measured {
        kind: player.contender.kind,
        version: player.contender.version.clone(),
        side: task.side,
        threads: task.threads,
        train: player.train,
        encode: player.encode,
    };
    Ok(players.into_iter().map(measured).collect())
}

/// The number of repetitions that fill a turn.
fn warm_up(contender: &mut Contender, command: &str, seconds: f64, slow: bool) -> Result<usize> {
    if slow {
        return Ok(1);
    }
    contender.work(command, 2)?;
    let Cost { wall, .. } = contender.work(command, 2)?;
    let repetitions = seconds / (wall.as_secs_f64() / 2.0).max(1e-6);
    Ok((repetitions.round() as usize).max(1))
}

fn turn(contender: &mut Contender, command: &str, samples: &mut Samples) -> Result<()> {
    // Threads of the last contender that still spin for more work go to sleep meanwhile.
    sleep(Duration::from_millis(20));
    let cost = contender.work(command, samples.repetitions)?;
    let each = |time: Duration| time.as_secs_f64() / samples.repetitions as f64;
    samples.cpu.push(each(cost.cpu));
    samples.wall.push(each(cost.wall));
    Ok(())
}

/// The largest relative difference of losses; infinite where one is no number or there are none.
fn disagreement(losses: &[f64], expected: &[f64]) -> f64 {
    if losses.is_empty() {
        return f64::INFINITY;
    }
    let apart = |(a, b): (&f64, &f64)| match ((a - b) / b).abs() {
        apart if apart.is_nan() => f64::INFINITY,
        apart => apart,
    };
    losses.iter().zip(expected).map(apart).fold(0.0, f64::max)
}

/// The largest resident memory of a fresh process that trains.
pub(super) fn peak_memory(
    place: &Place,
    arrays: &Path,
    side: usize,
    kinds: &[Kind],
) -> Result<Vec<Memory>> {
    let mut found = Vec::new();
    for &kind in kinds.iter().filter(|kind| **kind != Kind::StockCandle) {
        let mut contender = Contender::start(place, kind, arrays, 1)?;
        contender.work("train", MEMORY_STEPS)?;
        found.push(Memory {
            kind,
            side,
            peak_kb: contender.peak_kb()?,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_compared_one_by_one() {
        assert_eq!(disagreement(&[2.0, 4.0], &[2.0, 4.0, 5.0]), 0.0);
        assert!((disagreement(&[2.0, 4.4], &[2.0, 4.0]) - 0.1).abs() < 1e-12);
        assert_eq!(disagreement(&[f64::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(disagreement(&[], &[1.0]), f64::INFINITY);
    }

    #[test]
    fn stock_candle_runs_on_one_thread_only() {
        let kinds = [Kind::Ours, Kind::StockCandle];
        assert_eq!(taking_part(&kinds, 1), kinds);
        assert_eq!(taking_part(&kinds, 2), [Kind::Ours]);
    }
}
