//! Integration tests: golden (values computed by the original in Keras), optimizers, bits, files, training.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "tests show the errors they measured")]

mod adversarial;
mod bits;
mod blocks;
mod checkpoints;
mod extremes;
mod files;
mod golden;
mod gradient;
mod inference;
mod keras;
mod losses;
mod non_finite;
mod observers;
mod optimizers;
mod precision;
mod resume;
mod same_run;
mod steps;
mod support;
mod synthetic;
mod training;
