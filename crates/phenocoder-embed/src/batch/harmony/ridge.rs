//! What the batches of a cluster differ by: a ridge regression in each.

use nalgebra::DMatrix;
use phenocoder_core::Progress;
use rayon::prelude::*;

use super::METHOD;
use super::levels::Levels;
use super::rows::{Rows, mass_by_level, sums_by_level};
use crate::Result;
use crate::matrix::solve_symmetric;

/// Rows that are there already and of no batch: Symphony's reference.
#[derive(Debug)]
pub(super) struct Reference<'a> {
    /// `Σ_i R_ki`.
    pub(super) counts: &'a [f64],
    /// `Σ_i R_ki z_i`, `[K, d]`.
    pub(super) sums: &'a Rows,
}

/// The regression of each cluster on the levels, every row with its membership as weight.
#[derive(Debug)]
pub(super) struct Regression {
    /// What is left of a cluster without batches, `[K, d]`.
    pub(super) intercepts: Rows,
    /// For every cluster `[B, d]`.
    effects: Vec<Rows>,
}

impl Regression {
    /// Fits it with `penalties` of the levels of a cluster, given how much of each it holds.
    ///
    /// An infinite penalty leaves a level out, and rows of which all levels are left out have no part in the cluster's
    /// regression; where all rows are left out there is no intercept: 0.
    /// Asks for every cluster whether to stop.
    pub(super) fn fit(
        levels: &Levels,
        memberships: &Rows,
        x: &Rows,
        penalties: impl Fn(&[f64]) -> Vec<f64> + Sync,
        reference: Option<&Reference<'_>>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let all: Vec<usize> = (0..x.len()).collect();
        let mass = mass_by_level(levels, memberships, &all);
        let solved: Vec<(Vec<f64>, Rows)> = sums_by_level(levels, memberships, x)
            .into_par_iter()
            .enumerate()
            .map(|(cluster, sums)| -> Result<(Vec<f64>, Rows)> {
                progress.check()?;
                let mass: Vec<f64> = mass.iter().map(|level| level[cluster]).collect();
                let equations = Equations {
                    penalties: penalties(&mass),
                    start: reference.map_or_else(
                        || (0.0, vec![0.0; x.width()]),
                        |known| (known.counts[cluster], known.sums.row(cluster).to_vec()),
                    ),
                    mass,
                    sums,
                };
                if levels.variables().len() > 1 {
                    let held = held(levels, memberships, x, cluster, &equations.penalties);
                    let crossed = crossed(levels, memberships, cluster);
                    equations.solve_all(&crossed, held, progress)
                } else {
                    Ok(equations.solve_one())
                }
            })
            .collect::<Result<_>>()?;
        let mut intercepts = Rows::zeros(solved.len(), x.width());
        let mut effects = Vec::with_capacity(solved.len());
        for (cluster, (intercept, effect)) in solved.into_iter().enumerate() {
            intercepts.row_mut(cluster).copy_from_slice(&intercept);
            effects.push(effect);
        }
        Ok(Self {
            intercepts,
            effects,
        })
    }

    /// Takes the effects of its levels from every row.
    pub(super) fn apply(&self, levels: &Levels, memberships: &Rows, x: &Rows) -> Rows {
        let mut corrected = x.clone();
        corrected.each(|row, values| {
            for (share, effects) in memberships.row(row).iter().zip(&self.effects) {
                for &level in levels.of(row) {
                    for (value, effect) in values.iter_mut().zip(effects.row(level)) {
                        *value -= share * effect;
                    }
                }
            }
        });
        corrected
    }
}

/// How much of a cluster has both of two levels, `[B, B]`.
fn crossed(levels: &Levels, memberships: &Rows, cluster: usize) -> Rows {
    let mut crossed = Rows::zeros(levels.len(), levels.len());
    for (row, shares) in memberships.iter().enumerate() {
        for &level in levels.of(row) {
            for &other in levels.of(row) {
                crossed.row_mut(level)[other] += shares[cluster];
            }
        }
    }
    crossed
}

/// `Σ_i R_ki` and `Σ_i R_ki x_i` over the rows of which a level is not left out.
fn held(
    levels: &Levels,
    memberships: &Rows,
    x: &Rows,
    cluster: usize,
    penalties: &[f64],
) -> (f64, Vec<f64>) {
    let (mut total, mut sum) = (0.0, vec![0.0; x.width()]);
    for (row, (shares, values)) in memberships.iter().zip(x.iter()).enumerate() {
        let mut own = levels.of(row).iter();
        if own.any(|&level| penalties[level].is_finite()) {
            let share = shares[cluster];
            total += share;
            for (to, value) in sum.iter_mut().zip(values) {
                *to += share * value;
            }
        }
    }
    (total, sum)
}

/// The normal equations of one cluster.
#[derive(Debug)]
pub(super) struct Equations {
    /// `Σ_i R_ki` by level.
    pub(super) mass: Vec<f64>,
    /// `Σ_i R_ki x_i` by level.
    pub(super) sums: Rows,
    /// `λ` of each level, infinite for those left out.
    pub(super) penalties: Vec<f64>,
    /// Count and sum of rows without a level.
    pub(super) start: (f64, Vec<f64>),
}

impl Equations {
    /// The intercept and the effects of the levels of one variable.
    ///
    /// Every row has one of them, so that without the effects `β_b = (m_b − O_b β_0) / (O_b + λ_b)` the intercept is a
    /// weighted mean: `β_0 = Σ_b w_b m_b / Σ_b w_b O_b` with `w_b = λ_b / (O_b + λ_b)`, over the levels not left out.
    pub(super) fn solve_one(self) -> (Vec<f64>, Rows) {
        let (mut total, mut intercept) = self.start;
        for ((mass, penalty), sum) in self.mass.iter().zip(&self.penalties).zip(self.sums.iter()) {
            // As in harmonypy 2.
            if penalty.is_infinite() {
                continue;
            }
            let weight = 1.0 / (1.0 + mass / penalty);
            total += weight * mass;
            for (to, value) in intercept.iter_mut().zip(sum) {
                *to += weight * value;
            }
        }
        for value in &mut intercept {
            *value = if total > 0.0 { *value / total } else { 0.0 };
        }
        let mut effects = self.sums;
        for (level, (mass, penalty)) in self.mass.iter().zip(&self.penalties).enumerate() {
            for (effect, value) in effects.row_mut(level).iter_mut().zip(&intercept) {
                *effect = (*effect - mass * value) / (mass + penalty);
            }
        }
        (intercept, effects)
    }

    /// The same for levels of several variables, given what has both of two levels, and count and sum of the rows that
    /// are not left out.
    pub(super) fn solve_all(
        self,
        crossed: &Rows,
        held: (f64, Vec<f64>),
        progress: &dyn Progress,
    ) -> Result<(Vec<f64>, Rows)> {
        let (levels, d) = (self.mass.len(), self.sums.width());
        let (mut total, mut sum) = self.start;
        total += held.0;
        for (to, value) in sum.iter_mut().zip(held.1) {
            *to += value;
        }
        if total <= 0.0 {
            return Ok((vec![0.0; d], Rows::zeros(levels, d)));
        }
        let kept: Vec<usize> = (0..levels)
            .filter(|&level| self.penalties[level].is_finite())
            .collect();
        let size = kept.len() + 1;
        let gram = DMatrix::from_fn(size, size, |i, j| {
            match (i.checked_sub(1), j.checked_sub(1)) {
                (None, None) => total,
                (Some(i), None) => self.mass[kept[i]],
                (None, Some(j)) => self.mass[kept[j]],
                (Some(i), Some(j)) => {
                    let penalty = if i == j { self.penalties[kept[i]] } else { 0.0 };
                    crossed.row(kept[i])[kept[j]] + penalty
                }
            }
        });
        let moments = DMatrix::from_fn(size, d, |i, column| match i.checked_sub(1) {
            None => sum[column],
            Some(i) => self.sums.row(kept[i])[column],
        });
        let solved = solve_symmetric(METHOD, gram, moments, progress)?;
        let mut effects = Rows::zeros(levels, d);
        for (position, &level) in kept.iter().enumerate() {
            for (column, effect) in effects.row_mut(level).iter_mut().enumerate() {
                *effect = solved[(position + 1, column)];
            }
        }
        let intercept = (0..d).map(|column| solved[(0, column)]).collect();
        Ok((intercept, effects))
    }
}
