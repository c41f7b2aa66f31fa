//! Lower learning rates when the loss stands still.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Schedule, restored};
use crate::error::check_range;
use crate::{ConfigError, Result};

/// The settings of a [`Plateau`] schedule; the defaults are the original's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
#[doc(alias = "ReduceLROnPlateau")]
pub struct PlateauConfig {
    /// What the learning rate is multiplied by (default 0.2).
    pub factor: f64,
    /// Epochs without improvement before that happens (default 3).
    pub patience: usize,
    /// The loss must fall by more than this to count as improved (default 1e-4).
    pub min_delta: f64,
    /// Epochs after a reduction in which nothing is counted (default 0).
    pub cooldown: usize,
    /// The learning rate never falls below this (default 1e-4).
    #[doc(alias = "min_lr")]
    #[serde(alias = "min_lr")]
    pub min_learning_rate: f64,
}

impl Default for PlateauConfig {
    fn default() -> Self {
        Self {
            factor: 0.2,
            patience: 3,
            min_delta: 1e-4,
            cooldown: 0,
            min_learning_rate: 1e-4,
        }
    }
}

impl PlateauConfig {
    /// The original's settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the learning rate is multiplied by.
    #[must_use]
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the epochs without improvement before a reduction.
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

    /// Sets the epochs after a reduction in which nothing is counted.
    #[must_use]
    pub fn with_cooldown(mut self, cooldown: usize) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets the smallest learning rate.
    #[must_use]
    pub fn with_min_learning_rate(mut self, min_learning_rate: f64) -> Self {
        self.min_learning_rate = min_learning_rate;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Range`] naming the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let factor = self.factor > 0.0 && self.factor < 1.0;
        check_range("plateau.factor", self.factor, factor, "between 0 and 1")?;
        for (setting, value) in [
            ("plateau.min_delta", self.min_delta),
            ("plateau.min_learning_rate", self.min_learning_rate),
        ] {
            let valid = value >= 0.0 && value.is_finite();
            check_range(setting, value, valid, "a finite number of at least 0")?;
        }
        Ok(())
    }
}

/// Lowers the learning rate when the loss no longer falls, by Keras' rules.
///
/// An epoch improves when its loss is below the best so far less `min_delta`.
/// After `patience` epochs in a row without improvement the rate is multiplied by `factor`, then `cooldown` epochs do not
/// count.
/// A loss that is no number never improves.
///
/// # Differences from timm and torch
///
/// There a loss improves when it is below the best times `1 − 1e-4` (a relative threshold), the rate falls only after
/// `patience + 1` epochs without improvement, and the defaults are a factor of 0.1, a patience of 10 and no smallest rate.
///
/// # Examples
///
/// ```
/// use phenocoder_model::train::{Plateau, PlateauConfig};
///
/// let mut plateau = Plateau::new(PlateauConfig::new().with_patience(2));
/// let mut rate = 1e-3;
/// for loss in [5.0, 4.0, 4.0, 4.0] {
///     rate = plateau.step(loss, rate);
/// }
/// assert_eq!(rate, 2e-4);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    config: PlateauConfig,
    best: Option<f64>,
    wait: usize,
    cooldown: usize,
}

impl Plateau {
    /// A schedule that has seen no epoch.
    #[must_use]
    pub fn new(config: PlateauConfig) -> Self {
        Self {
            config,
            best: None,
            wait: 0,
            cooldown: 0,
        }
    }

    /// Takes the loss of an epoch and its learning rate, returns the rate of the next.
    pub fn step(&mut self, loss: f64, learning_rate: f64) -> f64 {
        if self.cooldown > 0 {
            self.cooldown -= 1;
            self.wait = 0;
        }
        let improved = match self.best {
            Some(best) => loss < best - self.config.min_delta,
            None => !loss.is_nan(),
        };
        if improved {
            self.best = Some(loss);
            self.wait = 0;
        } else if self.cooldown == 0 {
            self.wait += 1;
            if self.wait >= self.config.patience && learning_rate > self.config.min_learning_rate {
                self.cooldown = self.config.cooldown;
                self.wait = 0;
                let lower = learning_rate * self.config.factor;
                return lower.max(self.config.min_learning_rate);
            }
        }
        learning_rate
    }
}

/// A [`Plateau`] with the rate it has come to.
pub(super) struct PlateauSchedule {
    plateau: Plateau,
    rate: f64,
}

impl PlateauSchedule {
    pub(super) fn new(config: PlateauConfig, rate: f64) -> Self {
        let plateau = Plateau::new(config);
        Self { plateau, rate }
    }
}

/// What a checkpoint keeps: the settings are the run's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    best: Option<f64>,
    wait: usize,
    cooldown: usize,
    rate: f64,
}

impl Schedule for PlateauSchedule {
    fn rate(&self, _: usize, _: u64, _: u64) -> f64 {
        self.rate
    }

    fn observe(&mut self, watched_loss: f64) {
        self.rate = self.plateau.step(watched_loss, self.rate);
    }

    fn state(&self) -> Value {
        let Plateau {
            best,
            wait,
            cooldown,
            ..
        } = self.plateau;
        serde_json::json!({"best": best, "wait": wait, "cooldown": cooldown, "rate": self.rate})
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let Saved {
            best,
            wait,
            cooldown,
            rate,
        } = restored(state)?;
        self.plateau.best = best;
        self.plateau.wait = wait;
        self.plateau.cooldown = cooldown;
        self.rate = rate;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(config: PlateauConfig, losses: &[f64]) -> Vec<f64> {
        let mut plateau = Plateau::new(config);
        let mut rate = 1.0;
        let mut step = |&loss: &f64| {
            rate = plateau.step(loss, rate);
            rate
        };
        losses.iter().map(&mut step).collect()
    }

    #[test]
    fn the_rate_falls_after_patience_epochs_without_improvement() {
        let config = PlateauConfig::new()
            .with_factor(0.5)
            .with_patience(2)
            .with_min_learning_rate(0.2);
        // Best 10; 9.99995 is no improvement by 1e-4 (wait 1), 10 (wait 2: reduce); 9 improves; 9, 9: reduce;
        // 9, 9: reduce, held at 0.2; then the rate stays.
        let losses = [10.0, 9.999_95, 10.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0];
        let expected = [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2, 0.2];
        assert_eq!(rates(config, &losses), expected);
    }

    #[test]
    fn nothing_is_counted_while_cooling_down() {
        let config = PlateauConfig::new()
            .with_factor(0.5)
            .with_patience(1)
            .with_cooldown(2)
            .with_min_learning_rate(0.0);
        // Epoch 2 reduces and starts a cool-down of 2; epoch 3 leaves 1 and is not counted; in epoch 4 it ends, so the
        // epoch counts and reduces again; the same for 5 and 6.
        let losses = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(rates(config, &losses), [1.0, 0.5, 0.5, 0.25, 0.25, 0.125]);
    }

    #[test]
    fn a_loss_that_is_no_number_never_improves() {
        let config = PlateauConfig::new().with_factor(0.5).with_patience(1);
        assert_eq!(rates(config, &[f64::NAN, 3.0, f64::NAN]), [0.5, 0.5, 0.25]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for config in [
            PlateauConfig::new().with_factor(1.0),
            PlateauConfig::new().with_factor(f64::NAN),
            PlateauConfig::new().with_min_delta(-1.0),
            PlateauConfig::new().with_min_learning_rate(f64::INFINITY),
        ] {
            assert!(config.validate().is_err(), "{config:?}");
        }
    }
}
