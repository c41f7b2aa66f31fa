//! How often long serial loops ask whether to stop.

use phenocoder_core::{Cancelled, Progress};

/// Steps, such as rows or nodes with their edges, after which the caller is asked again.
pub(crate) const PATIENCE: usize = 1 << 16;

/// Before a step of so many: now and then asks whether to stop, and reports the steps until it asks again.
pub(crate) fn ask(step: usize, steps: usize, progress: &dyn Progress) -> Result<(), Cancelled> {
    if step.is_multiple_of(PATIENCE) {
        progress.check()?;
        progress.advance(PATIENCE.min(steps - step) as u64);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{Error, Result};

    /// Stops work that asks more than so many times, and adds up what is announced, done and not finished.
    #[derive(Default)]
    struct Told {
        most: u64,
        asked: AtomicU64,
        announced: AtomicU64,
        done: AtomicU64,
        open: AtomicU64,
    }

    impl Progress for Told {
        fn start(&self, _: &str, total: Option<u64>) {
            self.announced
                .fetch_add(total.unwrap_or(0), Ordering::Relaxed);
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        fn advance(&self, steps: u64) {
            self.done.fetch_add(steps, Ordering::Relaxed);
        }
        fn finish(&self) {
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        fn is_cancelled(&self) -> bool {
            self.asked.fetch_add(1, Ordering::Relaxed) >= self.most
        }
    }

    /// How often work asks whether to stop: it stops each time, and else does as many steps as it announced.
    #[track_caller]
    pub(crate) fn times_asked<T>(work: impl Fn(&dyn Progress) -> Result<T>) -> u64 {
        for most in 0.. {
            let told = Told {
                most,
                ..Told::default()
            };
            match work(&told) {
                Ok(_) => {
                    assert_eq!(told.done.into_inner(), told.announced.into_inner());
                    assert_eq!(told.open.into_inner(), 0);
                    return most;
                }
                Err(error) => assert!(matches!(error, Error::Cancelled(_)), "{error}"),
            }
        }
        unreachable!("work ends")
    }

    #[test]
    fn a_loop_asks_once_for_every_so_many_steps() {
        for (steps, times) in [(0, 0), (1, 1), (PATIENCE, 1), (PATIENCE + 1, 2)] {
            let work = |progress: &dyn Progress| -> Result<()> {
                progress.start("steps", Some(steps as u64));
                for step in 0..steps {
                    ask(step, steps, progress)?;
                }
                progress.finish();
                Ok(())
            };
            assert_eq!(times_asked(work), times);
        }
    }
}
