//! What can go wrong.

use phenocoder_core::{Cancelled, GraphError, ShapeError};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What this crate reports when a caller's data or settings do not allow an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value is NaN or infinite where a number is needed.
    #[error("row {row}, column {column} holds {value}, expected a finite number")]
    NotFinite {
        /// The row of the value.
        row: usize,
        /// The column of the value.
        column: usize,
        /// The value.
        value: f64,
    },
    /// A distance is negative, NaN, infinite, or less than the one before it in its row.
    #[error(
        "neighbour {neighbor} of row {row} is at {distance}, expected a finite distance not below the one before it"
    )]
    Distance {
        /// The row.
        row: usize,
        /// Which of its neighbours, from 0.
        neighbor: usize,
        /// The distance.
        distance: f64,
    },
    /// There are fewer rows, columns, labels or nodes than the method needs.
    #[error("{method} needs at least {needed} {what}, found {found}")]
    TooFew {
        /// The method.
        method: &'static str,
        /// What there is too little of.
        what: &'static str,
        /// The smallest number that works.
        needed: usize,
        /// The number given.
        found: usize,
    },
    /// There are more categories than the equations of a method have room for.
    #[error("{method} has room for {most} {what}, found {found}")]
    TooMany {
        /// The method.
        method: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// The largest number that works.
        most: usize,
        /// The number given.
        found: usize,
    },
    /// More rows than 32-bit neighbour indices can name.
    #[error("{rows} rows are more than 32-bit neighbour indices can name")]
    TooManyRows {
        /// The number of rows.
        rows: usize,
    },
    /// More neighbours are asked for than there are other rows.
    #[error("{k} neighbours are asked for, but there are only {available} rows to choose from")]
    TooManyNeighbors {
        /// The number of neighbours asked for.
        k: usize,
        /// The number of rows that can be a neighbour.
        available: usize,
    },
    /// A batch has fewer rows than are needed of it: neighbours to be taken, or two for a variance.
    #[error("batch `{batch}` has {rows} rows, expected at least {needed}")]
    SmallBatch {
        /// The batch.
        batch: String,
        /// Its number of rows.
        rows: usize,
        /// The number of rows needed.
        needed: usize,
    },
    /// A row has no label where every row needs one.
    #[error("`{what}`: row {row} has no label")]
    MissingLabel {
        /// The labels.
        what: &'static str,
        /// The row.
        row: usize,
    },
    /// Labels that a fitted method does not know.
    #[error("`{what}`: category `{category}` was not there when the method was fitted")]
    UnknownCategory {
        /// The labels.
        what: &'static str,
        /// The unknown category.
        category: String,
    },
    /// An edge weight is negative, NaN or infinite.
    #[error(
        "the edge from {row} to {column} weighs {weight}, expected a finite number of at least 0"
    )]
    EdgeWeight {
        /// The node the edge leaves.
        row: usize,
        /// The node it reaches.
        column: usize,
        /// Its weight.
        weight: f64,
    },
    /// A graph that should be undirected holds an edge in one direction only, or with two weights.
    #[error(
        "the edge from {row} to {column} differs from the edge back, expected an undirected graph"
    )]
    NotSymmetric {
        /// The node the edge leaves.
        row: usize,
        /// The node it reaches.
        column: usize,
    },
    /// Values or settings are finite and what is computed of them is not: a square, a sum, a product, or a quotient by what is
    /// next to 0.
    #[error(
        "{method}: values or settings are so large, or so small, that a result is beyond any number"
    )]
    Overflow {
        /// The method.
        method: &'static str,
    },
    /// A system of equations has no unique solution.
    #[error("{method}: the equations have no unique solution")]
    Singular {
        /// The method.
        method: &'static str,
    },
    /// A covariate's effect cannot be told from those of the batches and of the covariates before it.
    #[error(
        "covariate {covariate}{} follows from the batches and the covariates before it",
        .category.as_ref().map(|c| format!(", category `{c}`,")).unwrap_or_default()
    )]
    Collinear {
        /// Which of the covariates, from 0.
        covariate: usize,
        /// Its category, if it has any.
        category: Option<String>,
    },
    /// An iteration did not come to rest.
    #[error("{method} still changes after {iterations} iterations")]
    NotConverged {
        /// The method.
        method: &'static str,
        /// The number of iterations that were allowed.
        iterations: usize,
    },
    /// A setting is outside its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Two inputs do not fit together.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A graph is not well formed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Error {
    /// Checks that there is as much of something as a method needs.
    pub(crate) fn check_enough(
        method: &'static str,
        what: &'static str,
        needed: usize,
        found: usize,
    ) -> Result<()> {
        if found >= needed {
            Ok(())
        } else {
            Err(Self::TooFew {
                method,
                what,
                needed,
                found,
            })
        }
    }
}

/// A setting is outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("setting `{setting}` is {found}, expected {expected}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The name of the setting.
    pub setting: &'static str,
    /// What is allowed, in words.
    pub expected: &'static str,
    /// What was given.
    pub found: String,
}

impl ConfigError {
    /// Checks a rule on a setting and names the setting when it is broken.
    pub(crate) fn check(
        holds: bool,
        setting: &'static str,
        expected: &'static str,
        found: impl ToString,
    ) -> Result<(), Self> {
        if holds {
            Ok(())
        } else {
            Err(Self {
                setting,
                expected,
                found: found.to_string(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_place_and_what_was_expected() {
        let error = Error::SmallBatch {
            batch: "b1".to_owned(),
            rows: 2,
            needed: 3,
        };
        assert_eq!(
            error.to_string(),
            "batch `b1` has 2 rows, expected at least 3"
        );
        let error = Error::Collinear {
            covariate: 1,
            category: Some("x".to_owned()),
        };
        assert_eq!(
            error.to_string(),
            "covariate 1, category `x`, follows from the batches and the covariates before it"
        );
        let error = Error::check_enough("scaling", "rows", 2, 1).unwrap_err();
        assert_eq!(error.to_string(), "scaling needs at least 2 rows, found 1");
        assert_eq!(Error::check_enough("scaling", "rows", 2, 2), Ok(()));
        let error = ConfigError::check(false, "alpha", "a positive number", -1.0).unwrap_err();
        assert_eq!(
            Error::from(error).to_string(),
            "setting `alpha` is -1, expected a positive number"
        );
    }
}
