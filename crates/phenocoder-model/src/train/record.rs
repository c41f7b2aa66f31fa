//! What is remembered of a training run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A mean loss with its parts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LossRecord {
    /// What is minimized.
    pub total: f64,
    /// The parts by name: `reconstruction`, `kl`, ….
    pub parts: BTreeMap<String, f64>,
}

impl LossRecord {
    /// The part of this name.
    #[must_use]
    pub fn part(&self, name: &str) -> Option<f64> {
        self.parts.get(name).copied()
    }

    /// The reconstruction loss, where the model has one.
    #[must_use]
    pub fn reconstruction(&self) -> Option<f64> {
        self.part("reconstruction")
    }

    /// The Kullback–Leibler divergence, where the model has one.
    #[must_use]
    pub fn kl(&self) -> Option<f64> {
        self.part("kl")
    }
}

/// One training batch, as observers see it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BatchRecord {
    /// The epoch, from 1 on.
    pub epoch: usize,
    /// The largest number of epochs.
    pub epochs: usize,
    /// The batch within the epoch, from 1 on.
    pub batch: usize,
    /// The batches of an epoch.
    pub batches: usize,
    /// The training patches seen in this epoch, those of this batch included.
    pub patches: usize,
    /// The training patches of an epoch.
    pub n_patches: usize,
    /// The mean loss over the patches of this batch.
    pub losses: LossRecord,
    /// The learning rate.
    pub learning_rate: f64,
    /// Seconds since the epoch began or was resumed.
    pub seconds: f64,
    /// The patches of this epoch that were done before it was resumed.
    pub earlier_patches: usize,
}

impl BatchRecord {
    /// Patches per second in this epoch so far; none before any time has passed.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        let patches = self.patches.saturating_sub(self.earlier_patches) as f64;
        (self.seconds > 0.0 && patches > 0.0).then(|| patches / self.seconds)
    }

    /// Seconds until all training patches of this epoch are done, at the rate so far.
    #[must_use]
    pub fn seconds_left(&self) -> Option<f64> {
        let left = self.n_patches.saturating_sub(self.patches) as f64;
        self.rate().map(|rate| left / rate)
    }
}

/// One epoch.
///
/// It holds no times: two runs can be compared bit for bit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EpochRecord {
    /// The epoch, from 1 on.
    pub epoch: usize,
    /// The mean loss over the training patches, each at the weights of its step.
    pub train: LossRecord,
    /// The mean loss over the validation patches after the epoch.
    pub validation: Option<LossRecord>,
    /// The learning rate of the epoch.
    pub learning_rate: f64,
}

/// A training run, epoch by epoch.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainingRecord {
    /// The epochs in order.
    pub epochs: Vec<EpochRecord>,
    /// The epoch whose weights the model has, from 1 on.
    pub best_epoch: usize,
    /// Whether training ended before its last epoch.
    pub stopped_early: bool,
    /// Wall time of each epoch in seconds, apart from everything that can be compared; 0 for epochs before a run was resumed,
    /// for checkpoints hold no times.
    pub seconds: Vec<f64>,
}

impl PartialEq for TrainingRecord {
    /// Compares everything but the times.
    fn eq(&self, other: &Self) -> bool {
        self.epochs == other.epochs
            && self.best_epoch == other.best_epoch
            && self.stopped_early == other.stopped_early
    }
}

impl TrainingRecord {
    /// The record of the epoch whose weights the model has.
    #[must_use]
    pub fn best(&self) -> Option<&EpochRecord> {
        self.epochs.iter().find(|e| e.epoch == self.best_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_follow_from_what_was_timed() {
        let mut batch = BatchRecord {
            epoch: 2,
            epochs: 3,
            batch: 3,
            batches: 5,
            patches: 30,
            n_patches: 50,
            losses: LossRecord::default(),
            learning_rate: 1e-3,
            seconds: 2.0,
            earlier_patches: 10,
        };
        assert_eq!(batch.rate(), Some(10.0));
        assert_eq!(batch.seconds_left(), Some(2.0));
        batch.seconds = 0.0;
        assert_eq!(batch.seconds_left(), None);
    }
}
