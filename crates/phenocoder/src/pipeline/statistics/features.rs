//! The matrices of the feature tables, side by side.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, s};
use phenocoder_core::Features;
use phenocoder_io::{Store, Table};

use super::{STEP, SpatialStatsConfig};
use crate::error::{Error, Result};

/// Rows that nobody asked for are read over when they are no more than these between two that somebody did.
const GAP: usize = 1 << 10;

/// Values that are read at once, all columns of a row at the least: 128 MiB.
const VALUES: usize = 1 << 24;

/// Feature tables of which no matrix is read yet.
pub(super) struct FeatureTables {
    parts: Vec<Part>,
    names: Vec<String>,
}

struct Part {
    name: String,
    table: Table,
    /// The row of every cell, where tables have another order than the cells.
    row_of: Option<Vec<usize>>,
}

impl FeatureTables {
    pub(super) fn open(store: &Store, config: &SpatialStatsConfig, cells: &Table) -> Result<Self> {
        let mut parts = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let is_other = |name: &String| *name != config.keys.table;
        let names_of_cells = match config.feature_tables.iter().any(is_other) {
            true => cells.obs_names()?,
            false => Vec::new(),
        };
        for name in &config.feature_tables {
            let table = store.table(name)?;
            if table.x_info()?.is_none() {
                continue;
            }
            let row_of = match is_other(name) {
                true => row_of(name, &table.obs_names()?, &names_of_cells)?,
                false => None,
            };
            for variable in table.var_names()? {
                if !taken.insert(variable.clone()) {
                    return Err(Error::data(
                        STEP,
                        format!(
                            "the variable `{variable}` of feature table `{name}` is there twice, in it or in another"
                        ),
                    ));
                }
                names.push(variable);
            }
            let name = name.clone();
            parts.push(Part {
                name,
                table,
                row_of,
            });
        }
        Ok(Self { parts, names })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The features of these cells; `None` where no table has a matrix.
    pub(super) fn read(&self, cells: &[usize]) -> Result<Option<Features>> {
        if self.parts.is_empty() {
            return Ok(None);
        }
        let mut values = Array2::zeros((cells.len(), self.names.len()));
        let mut first = 0;
        for part in &self.parts {
            let columns = first..first + part.table.n_vars();
            first = columns.end;
            // Where each row goes, in the order of the rows.
            let row_of = |&cell: &usize| part.row_of.as_ref().map_or(cell, |row_of| row_of[cell]);
            let mut wanted: Vec<(usize, usize)> = cells.iter().map(row_of).zip(0..).collect();
            wanted.sort_unstable();
            let at_once = match cells.len() < part.table.n_obs() {
                true => (VALUES / columns.len().max(1)).max(1),
                // All rows are in memory in any case.
                false => usize::MAX,
            };
            for run in runs(&wanted, at_once) {
                let (Some(&(start, _)), Some(&(last, _))) = (run.first(), run.last()) else {
                    continue;
                };
                let x = part.table.x_rows(start..last + 1)?.ok_or_else(|| {
                    let problem = format!("the matrix of feature table `{}` is gone", part.name);
                    Error::data(STEP, problem)
                })?;
                let x = x.to_dense_f64()?;
                for &(row, at) in run {
                    let mut slot = values.slice_mut(s![at, columns.clone()]);
                    slot.assign(&x.row(row - start));
                }
            }
        }
        Ok(Some(Features::new(values, self.names.clone())?))
    }
}

/// Sorted rows in runs that are read at once.
fn runs(mut rows: &[(usize, usize)], at_once: usize) -> impl Iterator<Item = &[(usize, usize)]> {
    std::iter::from_fn(move || {
        let &(start, _) = rows.first()?;
        let mut before = start;
        let belongs = |&&(row, _): &&(usize, usize)| {
            let near = row - before <= GAP && row - start < at_once;
            before = row;
            near
        };
        let n = rows.iter().take_while(belongs).count();
        let (run, rest) = rows.split_at(n);
        rows = rest;
        Some(run)
    })
}

/// The row of a feature table for each cell, by the names of the rows; `None` where it is that of the cell.
fn row_of(table: &str, rows: &[String], cells: &[String]) -> Result<Option<Vec<usize>>> {
    if rows == cells {
        return Ok(None);
    }
    let mut position: BTreeMap<&str, usize> = BTreeMap::new();
    for (row, name) in rows.iter().enumerate() {
        if position.insert(name, row).is_some() {
            let problem =
                format!("feature table `{table}` has two rows `{name}` and cannot be joined");
            return Err(Error::data(STEP, problem));
        }
    }
    let row_of = cells.iter().map(|name| {
        position.get(name.as_str()).copied().ok_or_else(|| {
            Error::data(
                STEP,
                format!("feature table `{table}` has no row for cell `{name}`"),
            )
        })
    });
    row_of.collect::<Result<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_far_apart_and_too_many_rows_are_read_apart() {
        let lengths = |rows: &[usize], at_once: usize| -> Vec<usize> {
            let rows: Vec<(usize, usize)> = rows.iter().copied().zip(0..).collect();
            let runs = runs(&rows, at_once).map(<[_]>::len);
            runs.collect()
        };
        assert_eq!(lengths(&[], 9), [0; 0]);
        assert_eq!(lengths(&[3, 4, 4, 7], 9), [4]);
        assert_eq!(lengths(&[3, 3 + GAP, 4 + 2 * GAP], 1 << 20), [2, 1]);
        assert_eq!(lengths(&[0, 1, 2, 3, 4], 2), [2, 2, 1]);
        assert_eq!(lengths(&[5, 6], 1), [1, 1]);
    }
}
