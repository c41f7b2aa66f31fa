//! The models, one directory each.

pub mod cvae;
pub mod mevae;
