//! Work that is stopped before its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use phenocoder::core::Progress;

/// Asks to stop after some steps.
pub(crate) struct StopAfter(AtomicU64);

impl StopAfter {
    pub(crate) fn new(steps: u64) -> Self {
        Self(AtomicU64::new(steps))
    }
}

impl Progress for StopAfter {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(1), Ordering::Relaxed);
    }
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Asks to stop after some steps of work of this name.
pub(crate) struct StopIn(&'static str, StopAfter, AtomicBool);

impl StopIn {
    pub(crate) fn new(work: &'static str, steps: u64) -> Self {
        Self(work, StopAfter::new(steps), AtomicBool::new(false))
    }
}

impl Progress for StopIn {
    fn start(&self, name: &str, _: Option<u64>) {
        self.2.store(name == self.0, Ordering::Relaxed);
    }
    fn advance(&self, n: u64) {
        if self.2.load(Ordering::Relaxed) {
            self.1.advance(n);
        }
    }
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.1.is_cancelled()
    }
}

/// Asks to stop as soon as any work begins.
#[derive(Default)]
pub(crate) struct StopAtOnce(AtomicBool);

impl Progress for StopAtOnce {
    fn start(&self, _: &str, _: Option<u64>) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Asks to stop as soon as work of this name begins.
pub(crate) struct StopAt(&'static str, AtomicBool);

impl StopAt {
    pub(crate) fn new(work: &'static str) -> Self {
        Self(work, AtomicBool::new(false))
    }
}

impl Progress for StopAt {
    fn start(&self, name: &str, _: Option<u64>) {
        self.1.fetch_or(name == self.0, Ordering::Relaxed);
    }
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed)
    }
}
