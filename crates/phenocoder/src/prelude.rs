//! The names that most programs need.

pub use phenocoder_core::{Categorical, Cells, Coords, Features, NoProgress, Progress, Seed};

#[cfg(feature = "io")]
pub use phenocoder_io::Store;

#[cfg(feature = "model")]
pub use phenocoder_model::CvaeConfig;
