//! What can go wrong in the facade.

use phenocoder_core::{Cancelled, ShapeError, SourceError};

/// The result of the facade's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of one of the crates, or of the pipeline that joins them.
///
/// Most often a key is wrong: the message then names the element or column asked for and lists what there is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is out of range.
    #[error("{step}: `{field}` must be {expected}")]
    Config {
        /// The step of the pipeline.
        step: &'static str,
        /// The field of its configuration.
        field: &'static str,
        /// What the field may be.
        expected: String,
    },
    /// The store lacks something, or holds something that the step cannot use.
    #[error("{step}: {problem}")]
    Data {
        /// The step of the pipeline.
        step: &'static str,
        /// The element, column or row, and what is wrong with it.
        problem: String,
    },
    /// Two things that must agree in form do not.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A graph's parts do not agree.
    #[error(transparent)]
    Graph(#[from] phenocoder_core::GraphError),
    /// A trait object of another crate failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A store.
    #[cfg(feature = "io")]
    #[error(transparent)]
    Io(#[from] phenocoder_io::Error),
    /// Patches.
    #[cfg(feature = "patches")]
    #[error(transparent)]
    Patches(#[from] phenocoder_patches::Error),
    /// A network.
    #[cfg(feature = "model")]
    #[error(transparent)]
    Model(#[from] phenocoder_model::Error),
    /// Spatial statistics.
    #[cfg(feature = "spatial")]
    #[error(transparent)]
    Spatial(#[from] phenocoder_spatial::Error),
    /// An embedding.
    #[cfg(feature = "embed")]
    #[error(transparent)]
    Embed(#[from] phenocoder_embed::Error),
    /// A figure.
    #[cfg(feature = "plot")]
    #[error(transparent)]
    Plot(#[from] phenocoder_plot::Error),
}

#[cfg(feature = "io")]
impl Error {
    pub(crate) fn config(
        step: &'static str,
        field: &'static str,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config {
            step,
            field,
            expected: expected.into(),
        }
    }

    pub(crate) fn data(step: &'static str, problem: impl Into<String>) -> Self {
        Self::Data {
            step,
            problem: problem.into(),
        }
    }
}
