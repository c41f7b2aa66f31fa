//! Rows of numbers, and sums of them by level.

use ndarray::{Array2, ArrayView2, ArrayViewMut1};
use rayon::prelude::*;

use super::METHOD;
use super::levels::Levels;
use crate::matrix::to_unit_length;
use crate::{Error, Result};

/// Rows per task; fixed, so that sums do not depend on the number of threads.
pub(super) const ROWS: usize = 1024;
/// The most tasks whose sums are in memory at once.
const TASKS: usize = 64;
/// Clusters per task, when each of them looks at every row.
const CLUSTERS: usize = 4;

/// Rows of equal width, of one number at least.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    width: usize,
    values: Vec<f64>,
}

impl Rows {
    pub(super) fn zeros(rows: usize, width: usize) -> Self {
        Self {
            width,
            values: vec![0.0; rows * width],
        }
    }

    pub(super) fn of(matrix: ArrayView2<'_, f64>) -> Self {
        Self {
            width: matrix.ncols(),
            values: matrix.iter().copied().collect(),
        }
    }

    pub(super) fn into_array(self) -> Array2<f64> {
        let shape = (self.len(), self.width);
        Array2::from_shape_vec(shape, self.values).expect("all rows are equally wide")
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..][..self.width]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.width..][..self.width]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// Refuses what has grown beyond any number.
    pub(super) fn check_finite(&self) -> Result<()> {
        if self.values.iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(Error::Overflow { method: METHOD })
        }
    }

    /// Changes every row by itself.
    pub(super) fn each(&mut self, change: impl Fn(usize, &mut [f64]) + Sync) {
        self.values
            .par_chunks_exact_mut(self.width)
            .with_min_len(ROWS / 16)
            .enumerate()
            .for_each(|(row, values)| change(row, values));
    }

    /// Adds `factor` times the other rows.
    pub(super) fn add(&mut self, factor: f64, other: &Self) {
        for (to, value) in self.values.iter_mut().zip(&other.values) {
            *to += factor * value;
        }
    }

    /// Every row at unit length; a row of zeros stays one.
    pub(super) fn to_unit(&self) -> Self {
        let mut unit = self.clone();
        unit.each(|_, row| to_unit_length(ArrayViewMut1::from(row)));
        unit
    }

    /// Every row over its sum.
    pub(super) fn into_shares(mut self) -> Self {
        self.each(|_, row| {
            let sum: f64 = row.iter().sum();
            for value in row.iter_mut() {
                *value /= sum;
            }
        });
        self
    }
}

/// Tasks whose sums by level are in memory at once: one, or as many as hold together no more sums than so many rows have
/// memberships.
fn tasks(rows: usize, levels: usize) -> usize {
    (rows / levels.max(1)).clamp(1, TASKS)
}

/// `Σ_i R_ki` over those of the rows `among` that have each level, `[B, K]`.
pub(super) fn mass_by_level(levels: &Levels, memberships: &Rows, among: &[usize]) -> Rows {
    let mut mass = Rows::zeros(levels.len(), memberships.width());
    for span in among.chunks(tasks(among.len(), levels.len()) * ROWS) {
        let parts: Vec<Rows> = span
            .par_chunks(ROWS)
            .map(|rows| {
                let mut part = Rows::zeros(levels.len(), memberships.width());
                for &row in rows {
                    for &level in levels.of(row) {
                        for (to, share) in part.row_mut(level).iter_mut().zip(memberships.row(row))
                        {
                            *to += share;
                        }
                    }
                }
                part
            })
            .collect();
        for part in &parts {
            mass.add(1.0, part);
        }
    }
    mass
}

/// `Σ_i R_ki x_i` over the rows of each level, for every cluster `[B, d]`, each sum in the order of the rows.
pub(super) fn sums_by_level(levels: &Levels, memberships: &Rows, x: &Rows) -> Vec<Rows> {
    let mut sums = vec![Rows::zeros(levels.len(), x.width()); memberships.width()];
    sums.par_chunks_mut(CLUSTERS)
        .enumerate()
        .for_each(|(task, sums)| {
            for (row, values) in x.iter().enumerate() {
                let shares = &memberships.row(row)[task * CLUSTERS..];
                for (sums, share) in sums.iter_mut().zip(shares) {
                    for &level in levels.of(row) {
                        for (to, value) in sums.row_mut(level).iter_mut().zip(values) {
                            *to += share * value;
                        }
                    }
                }
            }
        });
    sums
}

/// `Σ_i R_ki x_i` over all rows, `[K, d]`.
pub(super) fn sums(memberships: &Rows, x: &Rows) -> Rows {
    let whole = Levels::whole(x.len());
    let values = sums_by_level(&whole, memberships, x);
    Rows {
        width: x.width(),
        values: values.into_iter().flat_map(|rows| rows.values).collect(),
    }
}

#[cfg(test)]
mod tests {
    use phenocoder_core::Categorical;

    use super::*;

    #[test]
    fn sums_of_tasks_take_no_more_memory_than_memberships() {
        assert_eq!(tasks(100_000, 10), TASKS);
        assert_eq!(tasks(70_000, 10_000), 7);
        assert_eq!((tasks(5, 10), tasks(5, 0)), (1, 5));
    }

    #[test]
    fn how_many_tasks_are_in_memory_changes_no_bit() {
        // Of two tasks at once, three times, and a rest.
        let (rows, levels) = (6500, 3000);
        assert_eq!(tasks(rows, levels), 2);
        let labels = Categorical::from_labels((0..rows).map(|row| (row % levels).to_string()));
        let levels = Levels::new(&[&labels], rows, 1).unwrap();
        let shares = |(row, cluster): (usize, usize)| 1.0 / (3 + row % 7 + cluster) as f64;
        let memberships = Rows::of(Array2::from_shape_fn((rows, 2), shares).view());
        let all: Vec<usize> = (0..rows).collect();
        let mut expected = Rows::zeros(levels.len(), 2);
        for task in all.chunks(ROWS) {
            expected.add(1.0, &mass_by_level(&levels, &memberships, task));
        }
        let found = mass_by_level(&levels, &memberships, &all);
        assert_eq!(found.values(), expected.values());
    }
}
