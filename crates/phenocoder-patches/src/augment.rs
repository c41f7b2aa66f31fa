//! Changing patches at random, so that a network sees no patch twice alike.
//!
//! [`AugmentConfig`] says what may happen to a patch: flips, right-angle turns, free rotation, shifts, brightness, contrast
//! and noise.
//! It is a [`PatchTransform`](phenocoder_core::PatchTransform): a trainer applies it to every training patch, with new
//! draws in each epoch, and its settings are kept with checkpoints and models.

mod apply;
mod config;
mod part;
mod warp;

pub use config::AugmentConfig;
pub use part::{
    BrightnessConfig, ChannelDraw, ContrastConfig, FlipConfig, NoiseConfig, QuarterTurnConfig,
    RotationConfig, ShiftConfig, ShiftSteps,
};
pub use warp::Border;

#[cfg(test)]
mod tests;
