//! Training: the loop, the optimizer, the schedule, and who listens.
//!
//! [`fit`] trains any [`Autoencoder`](crate::Autoencoder) on any [`PatchSource`](phenocoder_core::PatchSource).
//! Every choice by chance (order of the patches, flips, dropout, noise) comes from [`FitConfig::seed`], and on the CPU the
//! trained weights have the same bits for any number of threads.

mod clip;
mod config;
mod early_stopping;
mod ema;
mod flip;
mod observe;
mod optim;
mod record;
mod schedule;
mod trainer;

pub use clip::{ClipConfig, global_norm};
pub use config::{FitConfig, ValidationNoise};
pub use early_stopping::{EarlyStopping, EarlyStoppingConfig};
pub use ema::{Ema, EmaConfig, EmaWarmUpConfig};
pub use flip::FlipConfig;
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
pub use trainer::fit;
