//! Training: the loop, the optimizers, the schedules, checkpoints, and who listens.
//!
//! [`fit`] trains any [`Autoencoder`](crate::Autoencoder) on any [`PatchSource`](phenocoder_core::PatchSource); a
//! [`Trainer`] does the same with transforms, another order of the patches, and checkpoints from which it resumes.
//! Every choice by chance (order of the patches, augmentation, dropout, noise) comes from [`FitConfig::seed`], and on the
//! CPU the trained weights have the same bits for any number of threads, interrupted or not.

mod checkpoint;
mod clip;
mod config;
mod early_stopping;
mod ema;
mod groups;
mod observe;
mod optim;
mod record;
mod run;
mod schedule;
mod trainer;

pub use checkpoint::{CheckpointConfig, CheckpointInfo};
pub use clip::{ClipConfig, global_norm};
pub use config::{FitConfig, GroupConfig, ValidationNoise};
pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
pub use ema::{Ema, EmaConfig, EmaWarmUpConfig};
pub use observe::{CsvObserver, Observer, TensorBoardObserver};
pub use optim::{
    Adam, AdamConfig, AdamForm, AdamW, AdamWConfig, DecayScope, Lamb, LambConfig, Optimizer,
    OptimizerConfig, RmsProp, RmsPropConfig, RmsPropForm, Sgd, SgdConfig,
};
pub use record::{BatchRecord, EpochRecord, LossRecord, TrainingRecord};
pub use schedule::{
    Annealing, CosineConfig, CycleConfig, MilestoneRule, MultiStepConfig, OneCycleConfig, Plateau,
    PlateauConfig, PolyConfig, Schedule, ScheduleConfig, ScheduleUnit, StepConfig, TanhConfig,
    WarmUpConfig,
};
pub use trainer::{Trainer, fit};
