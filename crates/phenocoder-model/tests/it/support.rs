//! What several tests need: an end before the end, and the numbers of a golden or a tensor.

use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Tensor;
use phenocoder_core::Progress;
use serde_json::Value;

/// Asks to stop after so many patches.
pub(crate) struct StopAfter {
    limit: u64,
    done: AtomicU64,
}

impl StopAfter {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            done: AtomicU64::new(0),
        }
    }
}

impl Progress for StopAfter {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Ordering::Relaxed);
    }
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.done.load(Ordering::Relaxed) >= self.limit
    }
}

/// The numbers in nested lists, in order.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(inner) => inner.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// The values of a tensor, in order.
pub(crate) fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}
