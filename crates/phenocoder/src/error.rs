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
    /// The caller asked to stop, in whatever crate the work was.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A store.
    #[cfg(feature = "io")]
    #[error(transparent)]
    Io(phenocoder_io::Error),
    /// Patches.
    #[cfg(feature = "patches")]
    #[error(transparent)]
    Patches(phenocoder_patches::Error),
    /// A network.
    #[cfg(feature = "model")]
    #[error(transparent)]
    Model(phenocoder_model::Error),
    /// Spatial statistics.
    #[cfg(feature = "spatial")]
    #[error(transparent)]
    Spatial(phenocoder_spatial::Error),
    /// An embedding.
    #[cfg(feature = "embed")]
    #[error(transparent)]
    Embed(phenocoder_embed::Error),
    /// A figure.
    #[cfg(feature = "plot")]
    #[error(transparent)]
    Plot(#[from] phenocoder_plot::Error),
}

/// Wraps the errors of the crates, but for the wish to stop, which is [`Error::Cancelled`] whoever heard it.
macro_rules! from_crates {
    ($(#[$feature:meta] $krate:ident => $variant:ident,)*) => {$(
        #[$feature]
        impl From<$krate::Error> for Error {
            fn from(error: $krate::Error) -> Self {
                match error {
                    $krate::Error::Cancelled(cancelled) => Self::Cancelled(cancelled),
                    error => Self::$variant(error),
                }
            }
        }
    )*};
}

from_crates! {
    #[cfg(feature = "io")]
    phenocoder_io => Io,
    #[cfg(feature = "patches")]
    phenocoder_patches => Patches,
    #[cfg(feature = "model")]
    phenocoder_model => Model,
    #[cfg(feature = "spatial")]
    phenocoder_spatial => Spatial,
    #[cfg(feature = "embed")]
    phenocoder_embed => Embed,
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

#[cfg(all(test, feature = "pipeline"))]
mod tests {
    use super::*;

    #[test]
    fn the_wish_to_stop_is_the_same_error_from_every_crate() {
        let heard: [Error; 6] = [
            Cancelled.into(),
            phenocoder_io::Error::from(Cancelled).into(),
            phenocoder_patches::Error::from(Cancelled).into(),
            phenocoder_model::Error::from(Cancelled).into(),
            phenocoder_spatial::Error::from(Cancelled).into(),
            phenocoder_embed::Error::from(Cancelled).into(),
        ];
        for error in heard {
            assert!(matches!(error, Error::Cancelled(_)), "{error:?}");
        }
    }
}
