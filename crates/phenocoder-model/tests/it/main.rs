//! Integration tests: golden (values computed by the original in Keras), bits, files, training.

#![allow(clippy::unwrap_used, reason = "tests")]

mod bits;
mod files;
mod golden;
mod observers;
mod synthetic;
mod training;
