//! The crates together, by behaviour: the main job on small synthetic tissue, bad input, and the organoid store's golden.
//!
//! Kinds: integration; sameness (SHA-256 of everything a run writes, on one and two threads); parity
//! (`shared/data/organoid`, skipped where it is absent).
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod comparison;
mod correction;
mod figures;
mod golden;
mod mevae;
mod one_by_one;
mod pipeline;
mod report;
mod rows;
mod search;
mod small;
mod stop;
mod training;
