//! Integration tests: golden (values computed by the original in Keras), bits, files, training.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "tests show the errors they measured")]

mod bits;
mod files;
mod golden;
mod gradient;
mod observers;
mod synthetic;
mod training;
