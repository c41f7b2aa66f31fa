//! Integration tests: golden (values computed by the original in Keras), optimizers, bits, files, training.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "tests show the errors they measured")]

mod bits;
mod blocks;
mod extremes;
mod files;
mod golden;
mod gradient;
mod inference;
mod keras;
mod losses;
mod observers;
mod optimizers;
mod resume;
mod steps;
mod synthetic;
mod training;
