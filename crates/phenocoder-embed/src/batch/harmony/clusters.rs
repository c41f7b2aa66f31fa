//! Soft clusters in which every batch is to have its share.

use phenocoder_core::Progress;
use rayon::prelude::*;

use super::levels::Levels;
use super::rows::{ROWS, Rows, mass_by_level, sums};
use super::{HarmonyConfig, HarmonyForm, HarmonyObjective};
use crate::Result;
use crate::matrix::dot;

/// Rounds before the objective is asked whether they suffice, and of how many the sums are compared.
const WINDOW: usize = 3;

/// The clusters, and how much of every level each of them holds.
#[derive(Debug)]
pub(super) struct Clusters<'a> {
    levels: &'a Levels,
    config: &'a HarmonyConfig,
    /// The exponent of the penalty on each level.
    theta: Vec<f64>,
    /// The data at unit length, `[n, d]`.
    unit: Rows,
    /// At unit length, `[K, d]`.
    centers: Rows,
    /// What [`pulls`] says of them.
    pulls: Rows,
    /// `R`, `[n, K]`.
    memberships: Rows,
    /// `O`, `[B, K]`.
    observed: Rows,
}

impl<'a> Clusters<'a> {
    /// Every row in the clusters that are near it, whatever its batch.
    pub(super) fn new(
        levels: &'a Levels,
        config: &'a HarmonyConfig,
        unit: Rows,
        centers: Rows,
    ) -> Self {
        let theta = (0..levels.len()).map(|level| {
            if config.tau > 0.0 {
                let full = levels.count(level) / (centers.len() as f64 * config.tau);
                config.theta * (1.0 - libm::exp(-full * full))
            } else {
                config.theta
            }
        });
        let memberships = pulls(&unit, &centers, config.sigma).into_shares();
        let mut clusters = Self {
            levels,
            config,
            theta: theta.collect(),
            pulls: Rows::zeros(0, centers.len()),
            unit,
            centers,
            observed: Rows::zeros(0, memberships.width()),
            memberships: Rows::zeros(0, memberships.width()),
        };
        clusters.start_from(memberships);
        clusters
    }

    pub(super) fn memberships(&self) -> &Rows {
        &self.memberships
    }

    pub(super) fn into_memberships(self) -> Rows {
        self.memberships
    }

    fn start_from(&mut self, memberships: Rows) {
        let all: Vec<usize> = (0..self.levels.rows()).collect();
        self.observed = mass_by_level(self.levels, &memberships, &all);
        self.memberships = memberships;
    }

    /// Takes the data as corrected; the centers go with it, in form two to what is left of them without batches.
    pub(super) fn follow(&mut self, corrected: &Rows, intercepts: &Rows) {
        self.unit = corrected.to_unit();
        if self.config.form == HarmonyForm::Two {
            self.place(&intercepts.to_unit());
        }
    }

    /// Sets the centers; one without a direction stays where it is.
    fn place(&mut self, centers: &Rows) {
        for (cluster, center) in centers.iter().enumerate() {
            if center.iter().any(|&value| value != 0.0) {
                self.centers.row_mut(cluster).copy_from_slice(center);
            }
        }
    }

    /// Rounds of updates in random order, until the objective stays or there were enough of them.
    pub(super) fn settle(&mut self, iteration: usize, progress: &dyn Progress) -> Result<()> {
        let config = self.config;
        let n = self.levels.rows();
        let blocks = ((1.0 / config.block_share).ceil() as usize).min(n);
        // Form one moves the centers first in every round.
        if config.form == HarmonyForm::Two {
            self.pulls = pulls(&self.unit, &self.centers, config.sigma);
            if iteration > 0 {
                self.start_from(self.pulls.clone().into_shares());
            }
        }
        let watched = config.cluster_iterations > WINDOW + 1;
        let mut totals = Vec::new();
        for round in 0..config.cluster_iterations {
            if config.form == HarmonyForm::One {
                self.place(&sums(&self.memberships, &self.unit).to_unit());
                self.pulls = pulls(&self.unit, &self.centers, config.sigma);
            }
            // A number of rounds that no run makes may wrap: the order of each round is still a random one.
            let before = iteration.wrapping_mul(config.cluster_iterations);
            let draw = before.wrapping_add(round) as u64;
            let mut chance = config.seed.stream("harmony/order", draw);
            let mut order = chance.permutation(n);
            for block in 0..blocks {
                progress.check()?;
                let block = &mut order[block * n / blocks..(block + 1) * n / blocks];
                // Any order within a block gives the same; this one goes through memory once.
                block.sort_unstable();
                self.update(block);
            }
            if watched {
                totals.push(self.objective().total());
                if round > WINDOW && settled(&totals, config.cluster_tolerance) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Draws the memberships of some rows anew, given those of all others.
    pub(super) fn update(&mut self, block: &[usize]) {
        let before = mass_by_level(self.levels, &self.memberships, block);
        self.observed.add(-1.0, &before);
        let penalties = self.penalties();
        let mut fresh = Rows::zeros(block.len(), self.centers.len());
        fresh.each(|position, shares| {
            let row = block[position];
            for &level in self.levels.of(row) {
                for (share, penalty) in shares.iter_mut().zip(penalties.row(level)) {
                    *share += penalty;
                }
            }
            for (share, pull) in shares.iter_mut().zip(self.pulls.row(row)) {
                *share *= pull;
            }
        });
        let fresh = fresh.into_shares();
        for (shares, &row) in fresh.iter().zip(block) {
            self.memberships.row_mut(row).copy_from_slice(shares);
        }
        let after = mass_by_level(self.levels, &self.memberships, block);
        self.observed.add(1.0, &after);
    }

    /// `q^−θ` of every level in every cluster, `[B, K]`.
    fn penalties(&self) -> Rows {
        let mut penalties = Rows::zeros(self.levels.len(), self.centers.len());
        let totals = self.totals();
        for (level, &theta) in self.theta.iter().enumerate() {
            let observed = self.observed.row(level);
            let found = observed.iter().zip(&totals);
            for (penalty, (&observed, total)) in penalties.row_mut(level).iter_mut().zip(found) {
                let excess = self.excess(observed, total * self.levels.share(level));
                *penalty = libm::pow(excess, -theta);
            }
        }
        penalties
    }

    /// `q`: how many times more of a level there is than expected.
    fn excess(&self, observed: f64, expected: f64) -> f64 {
        // What was taken out may leave less than nothing, by rounding.
        let observed = observed.max(0.0);
        match self.config.form {
            HarmonyForm::One => (observed + 1.0) / (expected + 1.0),
            HarmonyForm::Two => (observed + expected + 1.0) / (2.0 * expected + 1.0),
        }
    }

    /// `Σ_i R_ki`.
    fn totals(&self) -> Vec<f64> {
        (0..self.centers.len())
            .map(|cluster| {
                let held: f64 = self.levels.total(|level| self.observed.row(level)[cluster]);
                held.max(0.0)
            })
            .collect()
    }

    pub(super) fn objective(&self) -> HarmonyObjective {
        let k = self.centers.len();
        let parts: Vec<(f64, f64)> = self
            .memberships
            .values()
            .par_chunks(ROWS * k)
            .enumerate()
            .map(|(chunk, memberships)| {
                let (mut distances, mut entropy) = (0.0, 0.0);
                for (offset, shares) in memberships.chunks_exact(k).enumerate() {
                    let unit = self.unit.row(chunk * ROWS + offset);
                    for (&share, center) in shares.iter().zip(self.centers.iter()) {
                        distances += share * 2.0 * (1.0 - dot(unit, center));
                        if share > 0.0 {
                            entropy += share * libm::log(share);
                        }
                    }
                }
                (distances, entropy)
            })
            .collect();
        let totals = self.totals();
        let mut diversity = 0.0;
        for (level, theta) in self.theta.iter().enumerate() {
            for (&observed, total) in self.observed.row(level).iter().zip(&totals) {
                let excess = self.excess(observed, total * self.levels.share(level));
                diversity += theta * observed * libm::log(excess);
            }
        }
        let scale = match self.config.form {
            HarmonyForm::One => 1.0,
            HarmonyForm::Two => 2000.0 / self.levels.rows() as f64,
        };
        HarmonyObjective {
            distances: scale * parts.iter().map(|part| part.0).sum::<f64>(),
            entropy: scale * self.config.sigma * parts.iter().map(|part| part.1).sum::<f64>(),
            diversity: scale * self.config.sigma * diversity,
        }
    }
}

/// `exp(−D / σ)` for the distance `D = 2 − 2 cos` of each row from each center, times what makes the largest of a row 1.
pub(super) fn pulls(unit: &Rows, centers: &Rows, sigma: f64) -> Rows {
    let mut pulls = Rows::zeros(unit.len(), centers.len());
    pulls.each(|row, pulls| {
        let unit = unit.row(row);
        let mut nearest = f64::NEG_INFINITY;
        for (pull, center) in pulls.iter_mut().zip(centers.iter()) {
            *pull = dot(unit, center);
            nearest = nearest.max(*pull);
        }
        for pull in pulls.iter_mut() {
            *pull = libm::exp(2.0 * (*pull - nearest) / sigma);
        }
    });
    pulls
}

/// Whether the last sums over a few rounds differ by at most a share of themselves.
fn settled(totals: &[f64], tolerance: f64) -> bool {
    let sum = |skip: usize| -> f64 { totals.iter().rev().skip(skip).take(WINDOW).sum() };
    let (before, now) = (sum(1), sum(0));
    (before - now).abs() <= tolerance * before.abs()
}

#[cfg(test)]
impl<'a> Clusters<'a> {
    pub(super) fn theta(&self) -> &[f64] {
        &self.theta
    }

    /// In the midst of it, for comparison with values of others.
    pub(super) fn resume(
        levels: &'a Levels,
        config: &'a HarmonyConfig,
        unit: Rows,
        centers: Rows,
        memberships: Rows,
    ) -> Self {
        let mut clusters = Self::new(levels, config, unit, centers);
        clusters.pulls = pulls(&clusters.unit, &clusters.centers, config.sigma);
        clusters.start_from(memberships);
        clusters
    }
}
