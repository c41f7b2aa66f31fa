//! What was measured, as a table, as JSON, and beside the bars.

use std::fmt::Write;

use serde_json::{Value, json};

use super::contender::Kind;

/// Times of one kind of work.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    /// Repetitions in a turn.
    pub(super) repetitions: usize,
    /// Seconds of all threads for one repetition, by turn.
    pub(super) cpu: Vec<f64>,
    /// Seconds that pass for one repetition, by turn.
    pub(super) wall: Vec<f64>,
}

impl Samples {
    pub(super) const fn new(repetitions: usize) -> Self {
        Self {
            repetitions,
            cpu: Vec::new(),
            wall: Vec::new(),
        }
    }

    fn times(&self, clock: Clock) -> &[f64] {
        match clock {
            Clock::Cpu => &self.cpu,
            Clock::Wall => &self.wall,
        }
    }

    fn least(&self, clock: Clock) -> f64 {
        self.times(clock)
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min)
    }

    fn median(&self, clock: Clock) -> f64 {
        let mut sorted = self.times(clock).to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn json(&self) -> Value {
        json!({ "repetitions": self.repetitions, "cpu_seconds": self.cpu, "wall_seconds": self.wall })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    Cpu,
    Wall,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Train,
    Encode,
}

/// One contender with one size and one number of threads.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) kind: Kind,
    pub(super) version: String,
    pub(super) side: usize,
    pub(super) threads: usize,
    pub(super) train: Samples,
    pub(super) encode: Samples,
}

impl Measured {
    fn samples(&self, work: Work) -> &Samples {
        match work {
            Work::Train => &self.train,
            Work::Encode => &self.encode,
        }
    }
}

/// The memory of one contender's training.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) kind: Kind,
    pub(super) side: usize,
    pub(super) peak_kb: u64,
}

/// All that was measured.
#[derive(Debug)]
pub(super) struct Report {
    machine: Value,
    pub(super) load_after: Option<f64>,
    pub(super) results: Vec<Measured>,
    pub(super) memory: Vec<Memory>,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    /// What is compared.
    what: String,
    found: f64,
    limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    pub(super) fn is_met(&self) -> bool {
        match self.limit {
            Limit::AtLeast(limit) => self.found >= limit,
            Limit::AtMost(limit) => self.found <= limit,
        }
    }

    fn text(&self) -> String {
        let (how, limit) = match self.limit {
            Limit::AtLeast(limit) => ("at least", limit),
            Limit::AtMost(limit) => ("at most", limit),
        };
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        format!(
            "{verdict:<7} {:>6.2}, {how} {limit}: {}",
            self.found, self.what
        )
    }
}

/// `1 thread`, `2 threads`.
pub(super) fn on_threads(threads: usize) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// Side, threads, work, clock, and how many times as fast as the fastest peer we are to be.
const PEER_BARS: [(usize, usize, Work, Clock, f64); 6] = [
    (128, 1, Work::Train, Clock::Cpu, 1.4),
    (32, 1, Work::Train, Clock::Cpu, 1.6),
    (128, 1, Work::Encode, Clock::Cpu, 1.0),
    (32, 1, Work::Encode, Clock::Cpu, 1.5),
    (128, 2, Work::Train, Clock::Wall, 1.25),
    (32, 2, Work::Train, Clock::Wall, 1.5),
];
/// How many times as fast as candle's own operations a step at 128×128 is to be.
const STOCK_CANDLE: f64 = 15.0;
/// The part of Keras' memory that ours may take.
const MEMORY: f64 = 0.6;

impl Report {
    pub(super) const fn new(machine: Value) -> Self {
        Self {
            machine,
            load_after: None,
            results: Vec::new(),
            memory: Vec::new(),
        }
    }

    fn find(&self, kind: Kind, side: usize, threads: usize) -> Option<&Measured> {
        self.results
            .iter()
            .find(|r| (r.kind, r.side, r.threads) == (kind, side, threads))
    }

    fn fastest(&self, side: usize, threads: usize, work: Work, clock: Clock) -> Option<&Measured> {
        let time = |r: &Measured| r.samples(work).least(clock);
        self.results
            .iter()
            .filter(|r| r.kind.is_peer() && (r.side, r.threads) == (side, threads))
            .min_by(|a, b| time(a).total_cmp(&time(b)))
    }

    /// The bars for which there are measurements.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let mut bars = Vec::new();
        for (side, threads, work, clock, limit) in PEER_BARS {
            let ours = self.find(Kind::Ours, side, threads);
            let peer = self.fastest(side, threads, work, clock);
            if let (Some(ours), Some(peer)) = (ours, peer) {
                let time = |r: &Measured| r.samples(work).least(clock);
                let name = match work {
                    Work::Train => "training step",
                    Work::Encode => "encoding",
                };
                let clock = match clock {
                    Clock::Cpu => "CPU time",
                    Clock::Wall => "wall time",
                };
                bars.push(Bar {
                    what: format!(
                        "{name} at {side}×{side}, {}, {clock}, times as fast as {}",
                        on_threads(threads),
                        peer.kind.name()
                    ),
                    found: time(peer) / time(ours),
                    limit: Limit::AtLeast(limit),
                });
            }
        }
        let step = |kind| Some(self.find(kind, 128, 1)?.train.least(Clock::Cpu));
        if let (Some(ours), Some(stock)) = (step(Kind::Ours), step(Kind::StockCandle)) {
            bars.push(Bar {
                what: "training step at 128×128, 1 thread, CPU time, times as fast as stock-candle"
                    .to_owned(),
                found: stock / ours,
                limit: Limit::AtLeast(STOCK_CANDLE),
            });
        }
        let keras = self
            .memory
            .iter()
            .filter(|m| m.kind.is_keras() && m.side == 128);
        let keras = keras.min_by_key(|m| m.peak_kb);
        let ours = self
            .memory
            .iter()
            .find(|m| (m.kind, m.side) == (Kind::Ours, 128));
        if let (Some(ours), Some(keras)) = (ours, keras) {
            bars.push(Bar {
                what: format!(
                    "peak memory of training at 128×128, part of {}",
                    keras.kind.name()
                ),
                found: ours.peak_kb as f64 / keras.peak_kb as f64,
                limit: Limit::AtMost(MEMORY),
            });
        }
        bars
    }

    /// Tables in Markdown.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{}, {:.2} after",
            super::machine::line(&self.machine),
            self.load_after.unwrap_or(f64::NAN)
        );
        let mut settings: Vec<_> = self.results.iter().map(|r| (r.side, r.threads)).collect();
        settings.dedup();
        for (side, threads) in settings {
            let _ = writeln!(
                text,
                "\n{side}×{side}×4, batch 64, {}: milliseconds per batch, fastest round (median)\n",
                on_threads(threads)
            );
            text.push_str("| | training, CPU | × ours | training, wall | × ours | encoding, CPU | × ours | encoding, wall | × ours |\n");
            text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
            let Some(ours) = self.find(Kind::Ours, side, threads) else {
                continue;
            };
            let here = |r: &&Measured| (r.side, r.threads) == (side, threads);
            for result in self.results.iter().filter(here) {
                let _ = write!(text, "| {} ", result.version);
                for work in [Work::Train, Work::Encode] {
                    for clock in [Clock::Cpu, Clock::Wall] {
                        let samples = result.samples(work);
                        let least = samples.least(clock);
                        let _ = write!(
                            text,
                            "| {:.2} ({:.2}) | {:.2} ",
                            least * 1e3,
                            samples.median(clock) * 1e3,
                            least / ours.samples(work).least(clock)
                        );
                    }
                }
                text.push_str("|\n");
            }
        }
        if !self.memory.is_empty() {
            text.push_str("\nPeak resident memory of a process that trains, 1 thread, MB\n\n| | side | peak |\n|---|---:|---:|\n");
        }
        for memory in &self.memory {
            let peak = memory.peak_kb as f64 * 1.024e-3;
            let _ = writeln!(
                text,
                "| {} | {} | {peak:.0} |",
                memory.kind.name(),
                memory.side
            );
        }
        text.push('\n');
        for bar in self.bars() {
            let _ = writeln!(text, "{}", bar.text());
        }
        text
    }

    /// Everything, turn by turn.
    pub(super) fn json(&self) -> Value {
        let result = |r: &Measured| {
            json!({
                "contender": r.kind.name(),
                "version": r.version,
                "side": r.side,
                "threads": r.threads,
                "training_step": r.train.json(),
                "encoding": r.encode.json(),
            })
        };
        let memory = |m: &Memory| json!({ "contender": m.kind.name(), "side": m.side, "peak_kb": m.peak_kb });
        let bar = |bar: &Bar| {
            let (how, limit) = match bar.limit {
                Limit::AtLeast(limit) => ("at_least", limit),
                Limit::AtMost(limit) => ("at_most", limit),
            };
            let mut value = json!({ "what": bar.what, "found": bar.found, "met": bar.is_met() });
            value[how] = json!(limit);
            value
        };
        json!({
            "machine": self.machine,
            "load_after": self.load_after,
            "results": self.results.iter().map(result).collect::<Vec<_>>(),
            "memory": self.memory.iter().map(memory).collect::<Vec<_>>(),
            "bars": self.bars().iter().map(bar).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(kind: Kind, train: f64, encode: f64) -> Measured {
        let samples = |seconds: f64| Samples {
            repetitions: 1,
            cpu: vec![2.0 * seconds, seconds, 3.0 * seconds],
            wall: vec![seconds],
        };
        Measured {
            kind,
            version: kind.name().to_owned(),
            side: 128,
            threads: 1,
            train: samples(train),
            encode: samples(encode),
        }
    }

    fn report() -> Report {
        let mut report = Report::new(Value::Null);
        report.results = vec![
            measured(Kind::Ours, 0.2, 0.02),
            measured(Kind::TorchNchw, 0.5, 0.019),
            measured(Kind::KerasGraph, 0.3, 0.03),
            measured(Kind::StockCandle, 6.0, 0.1),
        ];
        report.memory = [
            (Kind::Ours, 500),
            (Kind::KerasGraph, 1000),
            (Kind::KerasXla, 800),
        ]
        .map(|(kind, peak_kb)| Memory {
            kind,
            side: 128,
            peak_kb,
        })
        .to_vec();
        report
    }

    #[test]
    fn bars_compare_the_fastest_rounds_with_the_fastest_peer() {
        let bars = report().bars();
        let found: Vec<f64> = bars
            .iter()
            .map(|bar| (bar.found * 1e3).round() / 1e3)
            .collect();
        assert_eq!(found, [1.5, 0.95, 30.0, 0.625]);
        let met: Vec<bool> = bars.iter().map(Bar::is_met).collect();
        assert_eq!(met, [true, false, true, false]);
        assert!(bars[0].text().ends_with("times as fast as keras-graph"));
        assert!(bars[1].text().starts_with("MISSED"));
    }

    #[test]
    fn what_was_not_measured_has_no_bar() {
        assert!(Report::new(Value::Null).bars().is_empty());
        let mut report = report();
        report.results.truncate(1);
        report.memory.clear();
        assert!(report.bars().is_empty());
    }

    #[test]
    fn tables_show_fastest_round_median_and_ratio() {
        let text = report().text();
        assert!(
            text.contains("| torch-nchw | 500.00 (1000.00) | 2.50 "),
            "{text}"
        );
        assert!(text.contains("| keras-xla | 128 | 1 |"), "{text}");
    }
}
