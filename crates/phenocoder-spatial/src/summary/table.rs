//! The result: a named table, and what is to be known about it.

use ndarray::Array2;
use phenocoder_core::{Features, ShapeError};
use serde::{Deserialize, Serialize};

/// One row of statistics per unit.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StatisticsTable {
    /// The units, the rows of the table.
    pub units: Vec<String>,
    /// The statistics, `[units, names]`; NaN is missing.
    pub values: Array2<f64>,
    /// The names of the columns.
    pub names: Vec<String>,
    /// What was left out or is out of the ordinary.
    pub report: StatisticsReport,
}

impl StatisticsTable {
    /// The values of a column, or `None` when there is none of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<Vec<f64>> {
        let position = self.names.iter().position(|n| n == name)?;
        Some(self.values.column(position).to_vec())
    }

    /// The number of missing values.
    #[must_use]
    pub fn n_missing(&self) -> usize {
        self.values.iter().filter(|value| value.is_nan()).count()
    }

    /// The same table with something in the place of missing values.
    ///
    /// An embedding needs complete rows, but what a missing value means is a decision of its own: that a cluster has no
    /// neighbors is not the same as that there is no such cluster.
    #[must_use]
    pub fn fill(mut self, fill: Fill) -> Self {
        for mut column in self.values.columns_mut() {
            let value = match fill {
                Fill::Zero => 0.0,
                Fill::ColumnMean => {
                    let present = column.iter().filter(|value| !value.is_nan());
                    match present.clone().count() {
                        0 => 0.0,
                        n => present.sum::<f64>() / n as f64,
                    }
                }
            };
            column.mapv_inplace(|old| if old.is_nan() { value } else { old });
        }
        self
    }

    /// The table as a matrix with named columns.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] when names and values were changed so that they do not fit any more.
    pub fn to_features(&self) -> Result<Features, ShapeError> {
        Features::new(self.values.clone(), self.names.iter().cloned())
    }
}

/// What takes the place of missing values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fill {
    /// 0, as in the original.
    Zero,
    /// The mean of the column's other values; 0 for a column that has none.
    ColumnMean,
}

/// What was left out of a [`StatisticsTable`], and what is out of the ordinary in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StatisticsReport {
    /// The number of rows that belong to no unit.
    pub rows_without_unit: usize,
    /// Units that are not in the table.
    pub dropped: Vec<DroppedUnit>,
    /// Units in the table of which something could not be computed, in the order of the table.
    pub notes: Vec<Note>,
}

/// A unit that is not in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DroppedUnit {
    /// The unit.
    pub unit: String,
    /// Why it is not there.
    pub reason: DropReason,
}

/// Why a unit is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DropReason {
    /// The category has no rows.
    #[error("it has no cells")]
    NoRows,
    /// All cells have the same label, or none has one (only with [`Mode::Compat`](super::Mode::Compat)).
    #[error("its cells have fewer than two different labels")]
    SingleLabel,
}

/// Something that could not be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Note {
    /// The unit.
    pub unit: String,
    /// The radius at which it happened.
    pub radius: f64,
    /// What it was.
    pub kind: NoteKind,
}

/// Why statistics are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoteKind {
    /// The graph has no edges, so no autocorrelation and no normalized interactions are defined.
    #[error("no two cells are neighbors")]
    NoEdges,
    /// All cells have the same label, so it has no degree centrality and its membership no autocorrelation.
    #[error("all cells have the same label")]
    SingleLabel,
    /// Components lie exactly on a line or a plane, so they have no hull.
    #[error("{count} components are flat")]
    FlatComponents {
        /// How many.
        count: usize,
    },
}
