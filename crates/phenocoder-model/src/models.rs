//! The models, one directory each.

pub mod cvae;
