//! What can go wrong, and where.

use phenocoder_core::{Cancelled, GraphError, ShapeError};

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An input from which no statistic can be made.
///
/// Statistics that are merely undefined (the clustering of an empty cluster, say) are no errors: they are NaN.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A coordinate is NaN or infinite.
    #[error("row {row}, axis {axis}: the coordinate {value} is not finite")]
    NotFinite {
        /// The row of the point.
        row: usize,
        /// The axis of the coordinate.
        axis: usize,
        /// The coordinate.
        value: f64,
    },
    /// More points than 32-bit indices can name.
    #[error("{points} points are more than 32-bit indices can name")]
    TooManyPoints {
        /// The number of points.
        points: usize,
    },
    /// Points in another number of dimensions than the function takes.
    #[error("expected points in {expected} dimensions, found {found}")]
    Dimensions {
        /// The numbers of dimensions that are possible, in words.
        expected: &'static str,
        /// The number of columns found.
        found: usize,
    },
    /// As many or more neighbours are asked for than there are other points.
    #[error("{k} neighbours were asked for, but {place} has {points} points")]
    TooManyNeighbors {
        /// The number of neighbours asked for.
        k: usize,
        /// The set of points, in words.
        place: String,
        /// The number of its points.
        points: usize,
    },
    /// Points that span no triangle, or in space no tetrahedron.
    #[error("{place}: expected {expected}")]
    Degenerate {
        /// The set of points, in words.
        place: String,
        /// What is needed, in words.
        expected: &'static str,
    },
    /// A node is named that the graph does not have.
    #[error("node {node} was named, but the graph has {nodes} nodes")]
    UnknownNode {
        /// The node named.
        node: usize,
        /// The number of nodes.
        nodes: usize,
    },
    /// A node has more neighbors than its lattice allows.
    #[error("node {node} has {found} neighbors, expected at most {expected}")]
    Degree {
        /// The node.
        node: usize,
        /// The most neighbors that a node of the lattice has.
        expected: usize,
        /// The number of its neighbors.
        found: usize,
    },
    /// An edge links samples that must be apart.
    #[error("the edge from node {from} to node {to} links two samples")]
    EdgeBetweenSamples {
        /// The node that the edge leaves.
        from: usize,
        /// The node that it leads to.
        to: usize,
    },
    /// A label is missing where every point needs one.
    #[error("row {row} has no label")]
    MissingLabel {
        /// The row.
        row: usize,
    },
    /// A label is none of those that were declared.
    #[error("the label `{label}` is none of `{expected}`")]
    UnknownLabel {
        /// The label.
        label: String,
        /// Those that were declared, in a row.
        expected: String,
    },
    /// No point has a label.
    #[error("no point has a label")]
    NoLabels,
    /// The labels have fewer than two categories, so there is nothing to compare.
    #[error("expected labels of at least 2 categories, found {found}")]
    TooFewCategories {
        /// The number of categories.
        found: usize,
    },
    /// A matrix of all pairs of categories would take more memory than there may be.
    #[error("expected labels of at most {most} categories, found {found}")]
    TooManyCategories {
        /// The number of categories.
        found: usize,
        /// The most that are possible.
        most: usize,
    },
    /// Coordinates are in another unit, or have other axes, than those before.
    #[error(
        "sample `{sample}` has coordinates in another unit or number of axes than the first one"
    )]
    OtherSpace {
        /// The name of the sample.
        sample: String,
    },
    /// A value of a statistic is infinite.
    #[error(
        "row {row}: `{column}` is {value}, expected a finite number, or NaN where it is missing"
    )]
    InfiniteValue {
        /// The row.
        row: usize,
        /// The name of the column.
        column: String,
        /// The value.
        value: f64,
    },
    /// Two inputs do not fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Parts that do not make a graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Error {
    /// Refuses numbers of categories of whose pairs no matrix is made: one of the most is of half a gigabyte.
    pub(crate) fn check_categories(found: usize) -> Result<()> {
        const MOST: usize = 1 << 13;
        match found > MOST {
            true => Err(Self::TooManyCategories { found, most: MOST }),
            false => Ok(()),
        }
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A radius is NaN or negative.
    #[error("the radius {value} is not a number ≥ 0")]
    Radius {
        /// The radius.
        value: f64,
    },
    /// The lower end of an interval lies above its upper end.
    #[error("the interval from {min} to {max} is empty")]
    Interval {
        /// The lower end.
        min: f64,
        /// The upper end.
        max: f64,
    },
    /// A percentile is NaN, negative or above 100.
    #[error("the percentile {value} is not a number from 0 to 100")]
    Percentile {
        /// The percentile.
        value: f64,
    },
    /// A number of things is zero.
    #[error("`{setting}` must be at least 1")]
    Zero {
        /// The name of the setting.
        setting: &'static str,
    },
    /// A number of things is too small.
    #[error("`{setting}` is {found}, expected at least {least}")]
    TooFew {
        /// The name of the setting.
        setting: &'static str,
        /// The least that makes sense.
        least: usize,
        /// The number.
        found: usize,
    },
    /// There are too many of some things.
    #[error("`{setting}` is {found}, expected at most {most}")]
    TooMany {
        /// The name of the setting.
        setting: &'static str,
        /// The most that is possible.
        most: usize,
        /// The number.
        found: usize,
    },
    /// A list is empty.
    #[error("`{setting}` is empty")]
    Empty {
        /// The name of the setting.
        setting: &'static str,
    },
    /// An entry occurs twice in a list.
    #[error("`{entry}` occurs twice in `{setting}`")]
    Twice {
        /// The name of the setting.
        setting: &'static str,
        /// The entry.
        entry: String,
    },
    /// A length is NaN, infinite, zero or negative.
    #[error("`{setting}` is {value}, expected a finite number > 0")]
    Length {
        /// The name of the setting.
        setting: &'static str,
        /// The value.
        value: f64,
    },
    /// A number is too large.
    #[error("`{setting}` is {value}, expected at most {most}")]
    TooLarge {
        /// The name of the setting.
        setting: &'static str,
        /// The most that is possible.
        most: f64,
        /// The value.
        value: f64,
    },
    /// A number is NaN or infinite.
    #[error("`{setting}` is {value}, expected a finite number")]
    NotFinite {
        /// The name of the setting.
        setting: &'static str,
        /// The value.
        value: f64,
    },
    /// A lower bound exceeds an upper one.
    #[error("`{lower}` is {low}, more than `{upper}`, which is {high}")]
    Bounds {
        /// The name of the lower bound.
        lower: &'static str,
        /// The lower bound.
        low: usize,
        /// The name of the upper bound.
        upper: &'static str,
        /// The upper bound.
        high: usize,
    },
}

impl ConfigError {
    /// Refuses 0 of something.
    pub(crate) fn check_some(setting: &'static str, number: usize) -> Result<(), Self> {
        match number {
            0 => Err(Self::Zero { setting }),
            _ => Ok(()),
        }
    }

    /// Refuses numbers of repetitions that 32 bits cannot count, so that sums over them cannot overflow.
    pub(crate) fn check_countable(setting: &'static str, found: usize) -> Result<(), Self> {
        const MOST: usize = u32::MAX as usize - 1;
        match found > MOST {
            true => Err(Self::TooMany {
                setting,
                most: MOST,
                found,
            }),
            false => Ok(()),
        }
    }

    /// Refuses 0 repetitions, and more than can be counted.
    pub(crate) fn check_repetitions(setting: &'static str, number: usize) -> Result<(), Self> {
        Self::check_some(setting, number)?;
        Self::check_countable(setting, number)
    }

    /// Refuses what is no finite number above 0.
    pub(crate) fn check_length(setting: &'static str, value: f64) -> Result<(), Self> {
        match value.is_finite() && value > 0.0 {
            true => Ok(()),
            false => Err(Self::Length { setting, value }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_part_of_what_they_bound() {
        assert_eq!(Error::check_categories(8192), Ok(()));
        let refused = Error::check_categories(8193).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "expected labels of at most 8192 categories, found 8193"
        );
        assert_eq!(ConfigError::check_some("n", 1), Ok(()));
        assert!(ConfigError::check_some("n", 0).is_err());
        assert!(ConfigError::check_repetitions("n", 0).is_err());
        let most = u32::MAX as usize - 1;
        assert_eq!(ConfigError::check_countable("n", most), Ok(()));
        assert_eq!(
            ConfigError::check_countable("n", most + 1)
                .unwrap_err()
                .to_string(),
            "`n` is 4294967295, expected at most 4294967294"
        );
        for value in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(ConfigError::check_length("n", value).is_err(), "{value}");
        }
        assert_eq!(ConfigError::check_length("n", 1e-300), Ok(()));
    }
}
