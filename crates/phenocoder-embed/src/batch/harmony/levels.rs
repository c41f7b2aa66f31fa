//! The batches of all variables as one set of levels.

use std::ops::Range;

use phenocoder_core::Categorical;

use super::METHOD;
use crate::Result;
use crate::batch::{Batches, check_categories};

/// Batches of one variable or more, numbered through: every row has one level of each variable.
#[derive(Debug)]
pub(super) struct Levels {
    rows: usize,
    variables: usize,
    /// The levels of each row, `[n, variables]`.
    codes: Vec<usize>,
    /// The rows of each level.
    counts: Vec<usize>,
    /// Where the levels of each variable begin, and where those of the last one end.
    starts: Vec<usize>,
}

impl Levels {
    /// Leaves out the categories without rows, and the variables of fewer than `least` batches; of several variables it
    /// refuses more batches than the regression has room for.
    pub(super) fn new(batches: &[&Categorical], rows: usize, least: usize) -> Result<Self> {
        let mut variables = Vec::new();
        for batch in batches {
            let variable = Batches::new(batch, rows, 1)?;
            if variable.len() >= least {
                variables.push(variable);
            }
        }
        let (mut counts, mut starts) = (Vec::new(), vec![0]);
        for variable in &variables {
            counts.extend(&variable.counts);
            starts.push(counts.len());
        }
        if variables.len() > 1 {
            check_categories(METHOD, counts.len())?;
        }
        let mut codes = Vec::with_capacity(rows * variables.len());
        for row in 0..rows {
            for (variable, start) in variables.iter().zip(&starts) {
                codes.push(start + variable.codes[row]);
            }
        }
        Ok(Self {
            rows,
            variables: variables.len(),
            codes,
            counts,
            starts,
        })
    }

    /// One level, of all rows.
    pub(super) fn whole(rows: usize) -> Self {
        Self {
            rows,
            variables: 1,
            codes: vec![0; rows],
            counts: vec![rows],
            starts: vec![0, 1],
        }
    }

    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The levels of each variable.
    pub(super) fn variables(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        self.starts.windows(2).map(|ends| ends[0]..ends[1])
    }

    /// The levels of a row.
    pub(super) fn of(&self, row: usize) -> &[usize] {
        &self.codes[row * self.variables..][..self.variables]
    }

    /// The rows of a level.
    pub(super) fn count(&self, level: usize) -> f64 {
        self.counts[level] as f64
    }

    /// The share of rows that have a level.
    pub(super) fn share(&self, level: usize) -> f64 {
        self.count(level) / self.rows as f64
    }

    /// What the levels of one variable have together, which is what all rows have.
    pub(super) fn total(&self, of: impl Fn(usize) -> f64) -> f64 {
        self.variables().next().into_iter().flatten().map(of).sum()
    }
}
