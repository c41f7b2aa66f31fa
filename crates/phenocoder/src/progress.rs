//! Progress and training metrics in the terminal.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use phenocoder_core::{CancelToken, Progress};

/// Shows each stage as a bar with rate and time left, on standard error, when that is a terminal.
///
/// A clone of its [`CancelToken`] stops the work from another thread.
///
/// # Examples
///
/// ```
/// use phenocoder::core::Progress;
/// use phenocoder::progress::Bars;
///
/// let bars = Bars::new();
/// bars.start("extract", Some(10));
/// bars.advance(10);
/// bars.finish();
/// ```
#[derive(Debug, Default)]
pub struct Bars {
    current: Mutex<Option<ProgressBar>>,
    cancel: CancelToken,
}

impl Bars {
    /// Bars that nothing stops but a call of the token's `cancel`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bars that also watch this switch.
    #[must_use]
    pub fn with_cancel(cancel: CancelToken) -> Self {
        Self {
            current: Mutex::default(),
            cancel,
        }
    }

    fn with_bar(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        // A panic of another thread while it held the lock leaves the bar usable.
        act(&mut self
            .current
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bars {
    fn start(&self, stage: &str, total: Option<u64>) {
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if total.is_some() {
            "{msg:24} {bar:32} {pos}/{len} {per_sec} {eta}"
        } else {
            "{msg:24} {spinner} {pos} {per_sec}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(stage.to_owned());
        self.with_bar(|current| {
            if let Some(old) = current.replace(bar) {
                old.finish_and_clear();
            }
        });
    }

    fn advance(&self, steps: u64) {
        self.with_bar(|current| {
            if let Some(bar) = current {
                bar.inc(steps);
            }
        });
    }

    fn finish(&self) {
        self.with_bar(|current| {
            if let Some(bar) = current.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_thrown()
    }
}
