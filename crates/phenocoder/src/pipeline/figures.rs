//! What the pictures of a run are coloured by, and what files they become: those of its [page](crate::report) are drawn by
//! [`report::figures`](crate::report::figures).

#[cfg(feature = "report")]
mod drawn;

use serde::{Deserialize, Serialize};

#[cfg(feature = "report")]
pub(crate) use drawn::{Interactions, patches, samples, statistics, words};

/// The files that pictures are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FigureFormat {
    /// Pixels.
    #[default]
    Png,
    /// Lines and text, for print and for changing.
    Svg,
    /// One of each.
    Both,
}

impl FigureFormat {
    /// What the names of the files end with.
    #[cfg(feature = "report")]
    pub(crate) fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Png => &["png"],
            Self::Svg => &["svg"],
            Self::Both => &["png", "svg"],
        }
    }
}

/// What the pictures are coloured by beside what the run itself found, and what files they become.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FigureConfig {
    /// A column of the cells' `obs` that the map of cells is also coloured by.
    pub truth_key: Option<String>,
    /// A column of the samples' `obs` that colours the map of samples.
    pub condition_key: Option<String>,
    /// A column of the samples' `obs` that shapes the map of samples.
    ///
    /// The [page](crate::report) compares conditions within its labels, where none is named within those of the batch column
    /// of [`EmbeddingConfig`](super::EmbeddingConfig) or [`ClusterConfig`](super::ClusterConfig), and says so.
    /// It also measures by it how batches mix among the cells; where none is named, by the latter.
    pub batch_key: Option<String>,
    /// What [`draw`](crate::report::figures::draw) writes (default PNG).
    pub format: FigureFormat,
}

impl FigureConfig {
    /// Colours by what the run found alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also colours cells by this column.
    #[must_use]
    pub fn with_truth_key(mut self, key: Option<String>) -> Self {
        self.truth_key = key;
        self
    }

    /// Colours samples by this column.
    #[must_use]
    pub fn with_condition_key(mut self, key: Option<String>) -> Self {
        self.condition_key = key;
        self
    }

    /// Shapes samples by this column.
    #[must_use]
    pub fn with_batch_key(mut self, key: Option<String>) -> Self {
        self.batch_key = key;
        self
    }

    /// Sets what files are written.
    #[must_use]
    pub fn with_format(mut self, format: FigureFormat) -> Self {
        self.format = format;
        self
    }
}
