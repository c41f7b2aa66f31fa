//! How long functions report what they do, and how they are stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Cancelled;

/// Receives the progress of a long function and can stop it.
///
/// Every function that can take seconds takes a `&dyn Progress`; pass [`NoProgress`] to hear nothing.
/// Calls may come from several threads at once.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{CancelToken, Cancelled, Progress};
///
/// let token = CancelToken::new();
/// token.cancel();
/// assert_eq!(token.check(), Err(Cancelled));
/// ```
pub trait Progress: Sync {
    /// A stage begins that has `total` steps, where that is known.
    fn start(&self, stage: &str, total: Option<u64>);

    /// `steps` more steps are done.
    fn advance(&self, steps: u64);

    /// The stage is over.
    fn finish(&self);

    /// Whether the caller wants the work to stop.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Turns a wish to stop into an error that `?` hands on.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] when [`is_cancelled`](Self::is_cancelled) says so.
    fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }
}

/// Hears nothing and never stops anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// A part of a stage that its caller reports: asks the caller whether to stop, and shows nothing of its own.
///
/// ```
/// use phenocoder_core::{CancelToken, Progress, WithinStage};
///
/// let switch = CancelToken::new();
/// let part = WithinStage(&switch);
/// assert!(part.check().is_ok());
/// switch.cancel();
/// assert!(part.check().is_err());
/// ```
#[derive(Clone, Copy)]
pub struct WithinStage<'a>(pub &'a dyn Progress);

impl Progress for WithinStage<'_> {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl fmt::Debug for WithinStage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WithinStage").finish_non_exhaustive()
    }
}

/// A switch, shared between threads, that stops a running function.
///
/// It is a silent [`Progress`] of its own; implementations that also show something can hold a clone of it.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A switch that is not thrown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks whoever watches this switch to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`cancel`](Self::cancel) was called on this switch or a clone of it.
    #[must_use]
    pub fn is_thrown(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Progress for CancelToken {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
    fn is_cancelled(&self) -> bool {
        self.is_thrown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thrown_switch_stops_every_clone() {
        let token = CancelToken::new();
        let other = token.clone();
        assert_eq!(other.check(), Ok(()));
        token.cancel();
        assert_eq!(other.check(), Err(Cancelled));
        assert_eq!(NoProgress.check(), Ok(()));
    }
}
