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
    /// Wall time of each epoch in seconds, apart from everything that can be compared.
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
