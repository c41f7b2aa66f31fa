//! When training ends before its last epoch.

use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::error::check_range;

/// The settings of [`EarlyStopping`]; the defaults are the original's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EarlyStoppingConfig {
    /// Epochs without improvement after which training ends (default 5).
    pub patience: usize,
    /// The loss must fall by more than this to count as improved (default 0).
    pub min_delta: f64,
}

impl Default for EarlyStoppingConfig {
    fn default() -> Self {
        Self {
            patience: 5,
            min_delta: 0.0,
        }
    }
}

impl EarlyStoppingConfig {
    /// The original's settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the epochs without improvement after which training ends.
    #[must_use]
    pub fn with_patience(mut self, patience: usize) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the fall of the loss that counts as improvement.
    #[must_use]
    pub fn with_min_delta(mut self, min_delta: f64) -> Self {
        self.min_delta = min_delta;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let valid = self.min_delta >= 0.0 && self.min_delta.is_finite();
        let expected = "a finite number of at least 0";
        check_range("early_stopping.min_delta", self.min_delta, valid, expected)
    }
}

/// Watches the loss and says when to stop, by Keras' rules.
///
/// An epoch improves when its loss is below the best so far less `min_delta`; a loss that is no number never does.
/// [`fit`](super::fit) keeps the weights of the best epoch and restores them in the end, stopped early or not.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{EarlyStopping, EarlyStoppingConfig};
///
/// let mut stopping = EarlyStopping::new(EarlyStoppingConfig::new().with_patience(2));
/// let improved: Vec<bool> = [3.0, 2.0, 2.5, 2.0].map(|loss| stopping.observe(loss)).to_vec();
/// assert_eq!(improved, [true, true, false, false]);
/// assert!(stopping.should_stop());
/// assert_eq!(stopping.best_epoch(), Some(2));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyStopping {
    config: EarlyStoppingConfig,
    epoch: usize,
    best: Option<(usize, f64)>,
    wait: usize,
}

impl EarlyStopping {
    /// A watcher that has seen no epoch.
    #[must_use]
    pub fn new(config: EarlyStoppingConfig) -> Self {
        Self {
            config,
            epoch: 0,
            best: None,
            wait: 0,
        }
    }

    /// Takes the loss of the next epoch and says whether it is the best so far.
    pub fn observe(&mut self, loss: f64) -> bool {
        self.epoch += 1;
        let improved = match self.best {
            Some((_, best)) => loss < best - self.config.min_delta,
            None => !loss.is_nan(),
        };
        if improved {
            self.best = Some((self.epoch, loss));
            self.wait = 0;
        } else {
            self.wait += 1;
        }
        improved
    }

    /// Whether `patience` epochs in a row did not improve; never after the first epoch.
    #[must_use]
    pub fn should_stop(&self) -> bool {
        self.wait >= self.config.patience.max(1) && self.epoch > 1
    }

    /// Whether it may have seen so many epochs and no more.
    pub(super) fn has_seen(&self, epochs: usize) -> bool {
        let best = self
            .best_epoch()
            .is_none_or(|best| (1..=epochs).contains(&best));
        self.epoch == epochs && self.wait <= epochs && best
    }

    /// The best epoch so far, from 1 on.
    #[must_use]
    pub fn best_epoch(&self) -> Option<usize> {
        self.best.map(|(epoch, _)| epoch)
    }

    /// The loss of the best epoch.
    #[must_use]
    pub fn best_loss(&self) -> Option<f64> {
        self.best.map(|(_, loss)| loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_of_zero_counts_every_fall() {
        let mut stopping = EarlyStopping::new(EarlyStoppingConfig::new().with_patience(3));
        let mut stops = Vec::new();
        for loss in [5.0, 4.999_999, 5.0, f64::NAN, 4.999_999] {
            stopping.observe(loss);
            stops.push(stopping.should_stop());
        }
        assert_eq!(stops, [false, false, false, false, true]);
        assert_eq!(stopping.best_epoch(), Some(2));
        assert_eq!(stopping.best_loss(), Some(4.999_999));
    }

    #[test]
    fn a_threshold_ignores_small_falls() {
        let config = EarlyStoppingConfig::new()
            .with_patience(2)
            .with_min_delta(0.5);
        let mut stopping = EarlyStopping::new(config);
        let improved = [5.0, 4.6, 4.4, 4.0, 4.0].map(|loss| stopping.observe(loss));
        assert_eq!(improved, [true, false, true, false, false]);
        assert!(stopping.should_stop());
    }

    #[test]
    fn the_first_epoch_never_stops() {
        let mut stopping = EarlyStopping::new(EarlyStoppingConfig::new().with_patience(1));
        assert!(!stopping.observe(f64::NAN));
        assert!(!stopping.should_stop());
        stopping.observe(f64::NAN);
        assert!(stopping.should_stop());
    }
}
