//! Batches mixed in every cluster of rows, rather than all at once.

mod clusters;
mod levels;
mod mapping;
mod ridge;
mod rows;
#[cfg(test)]
mod tests;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, Progress, Seed, WithinStage};
use serde::{Deserialize, Serialize};

use crate::cluster::{KMeansConfig, kmeans};
use crate::matrix::{check_amounts, check_finite, check_shape};
use crate::{ConfigError, Error, Result};

use clusters::Clusters;
use levels::Levels;
pub use mapping::Harmony;
use ridge::Regression;
use rows::Rows;

const METHOD: &str = "Harmony";
/// Rounds of k-means at the start.
const START_ROUNDS: usize = 25;
/// An objective of less than this for each row is nothing but rounding.
const ROUNDING: f64 = 1e-9;

/// Which of the two published versions of the method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HarmonyForm {
    /// The paper's, as in harmonypy up to 0.0.10: centers follow the rows in every round.
    One,
    /// That of harmonypy 2 and R's harmony from 1.2 on: centers follow the regression, and small batches weigh less.
    Two,
}

/// How much the regression is drawn towards no effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HarmonyRidge {
    /// By the same penalty for every batch in every cluster: a batch with few rows in a cluster is moved less.
    Fixed(f64),
    /// By this share of the rows that are expected of the batch in the cluster.
    Dynamic(f64),
}

/// Settings of [`harmony`].
///
/// What is not written has the default of the form that is: see [`new`](Self::new).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Options")]
#[non_exhaustive]
pub struct HarmonyConfig {
    /// The version of the method (default two).
    pub form: HarmonyForm,
    /// How strongly clusters are to hold all batches, 0 (not at all) to 30 (default 2).
    pub theta: f64,
    /// How soft the clusters are: what a squared distance of unit vectors is divided by (default 0.1).
    pub sigma: f64,
    /// How much batch effects are drawn towards none (default a share of 0.2 of what is expected; form one: 1).
    pub ridge: HarmonyRidge,
    /// The number of clusters (default `None`: one for 30 rows, at least 1 and at most 100).
    pub n_clusters: Option<usize>,
    /// Runs of k-means, of which that of the lowest objective is the start (default 10).
    pub starts: usize,
    /// Rows per cluster below which a batch is asked for less strongly: `θ (1 − exp(−(n_b / (K τ))²))` (default 0: every
    /// batch alike).
    pub tau: f64,
    /// The share of rows whose clusters are found at a time (default 0.05).
    pub block_share: f64,
    /// The most corrections (default 10).
    pub iterations: usize,
    /// The most rounds between two corrections (default 4; form one: 20).
    pub cluster_iterations: usize,
    /// Ends when the objective falls by at most this share of itself (default 1e-2; form one: 1e-4).
    pub tolerance: f64,
    /// Ends the rounds between two corrections, when there were five or more of them (default 1e-3; form one: 1e-5).
    pub cluster_tolerance: f64,
    /// A batch of which a cluster holds at most this share is no part of the cluster's regression (default 1e-5; form
    /// one: 0).
    pub least_share: f64,
    /// The source of chance.
    pub seed: Seed,
}

/// Settings as they are written, of which any may be left to the form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    form: Option<HarmonyForm>,
    theta: Option<f64>,
    sigma: Option<f64>,
    ridge: Option<HarmonyRidge>,
    n_clusters: Option<usize>,
    starts: Option<usize>,
    tau: Option<f64>,
    block_share: Option<f64>,
    iterations: Option<usize>,
    cluster_iterations: Option<usize>,
    tolerance: Option<f64>,
    cluster_tolerance: Option<f64>,
    least_share: Option<f64>,
    seed: Option<Seed>,
}

impl From<Options> for HarmonyConfig {
    fn from(options: Options) -> Self {
        let usual = Self::new(options.form.unwrap_or(HarmonyForm::Two));
        Self {
            form: usual.form,
            theta: options.theta.unwrap_or(usual.theta),
            sigma: options.sigma.unwrap_or(usual.sigma),
            ridge: options.ridge.unwrap_or(usual.ridge),
            n_clusters: options.n_clusters.or(usual.n_clusters),
            starts: options.starts.unwrap_or(usual.starts),
            tau: options.tau.unwrap_or(usual.tau),
            block_share: options.block_share.unwrap_or(usual.block_share),
            iterations: options.iterations.unwrap_or(usual.iterations),
            cluster_iterations: options
                .cluster_iterations
                .unwrap_or(usual.cluster_iterations),
            tolerance: options.tolerance.unwrap_or(usual.tolerance),
            cluster_tolerance: options.cluster_tolerance.unwrap_or(usual.cluster_tolerance),
            least_share: options.least_share.unwrap_or(usual.least_share),
            seed: options.seed.unwrap_or(usual.seed),
        }
    }
}

impl Default for HarmonyConfig {
    fn default() -> Self {
        Self::new(HarmonyForm::Two)
    }
}

impl HarmonyConfig {
    /// The settings that a form comes with.
    #[must_use]
    pub fn new(form: HarmonyForm) -> Self {
        let two = Self {
            form,
            theta: 2.0,
            sigma: 0.1,
            ridge: HarmonyRidge::Dynamic(0.2),
            n_clusters: None,
            starts: 10,
            tau: 0.0,
            block_share: 0.05,
            iterations: 10,
            cluster_iterations: 4,
            tolerance: 1e-2,
            cluster_tolerance: 1e-3,
            least_share: 1e-5,
            seed: Seed::default(),
        };
        match form {
            HarmonyForm::Two => two,
            HarmonyForm::One => Self {
                ridge: HarmonyRidge::Fixed(1.0),
                cluster_iterations: 20,
                tolerance: 1e-4,
                cluster_tolerance: 1e-5,
                least_share: 0.0,
                ..two
            },
        }
    }

    /// Sets how strongly clusters are to hold all batches.
    #[must_use]
    pub fn with_theta(mut self, theta: f64) -> Self {
        self.theta = theta;
        self
    }

    /// Sets how soft the clusters are.
    #[must_use]
    pub fn with_sigma(mut self, sigma: f64) -> Self {
        self.sigma = sigma;
        self
    }

    /// Sets how much batch effects are drawn towards none.
    #[must_use]
    pub fn with_ridge(mut self, ridge: HarmonyRidge) -> Self {
        self.ridge = ridge;
        self
    }

    /// Sets the number of clusters.
    #[must_use]
    pub fn with_n_clusters(mut self, n_clusters: impl Into<Option<usize>>) -> Self {
        self.n_clusters = n_clusters.into();
        self
    }

    /// Sets the number of runs of k-means.
    #[must_use]
    pub fn with_starts(mut self, starts: usize) -> Self {
        self.starts = starts;
        self
    }

    /// Sets the rows per cluster below which a batch is asked for less strongly.
    #[must_use]
    pub fn with_tau(mut self, tau: f64) -> Self {
        self.tau = tau;
        self
    }

    /// Sets the share of rows whose clusters are found at a time.
    #[must_use]
    pub fn with_block_share(mut self, block_share: f64) -> Self {
        self.block_share = block_share;
        self
    }

    /// Sets the most corrections.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Sets the most rounds between two corrections.
    #[must_use]
    pub fn with_cluster_iterations(mut self, cluster_iterations: usize) -> Self {
        self.cluster_iterations = cluster_iterations;
        self
    }

    /// Sets the share of the objective at which the corrections end.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets the share of the objective at which the rounds between two corrections end.
    #[must_use]
    pub fn with_cluster_tolerance(mut self, cluster_tolerance: f64) -> Self {
        self.cluster_tolerance = cluster_tolerance;
        self
    }

    /// Sets the share of a batch that a cluster must hold more of.
    #[must_use]
    pub fn with_least_share(mut self, least_share: f64) -> Self {
        self.least_share = least_share;
        self
    }

    /// Sets the source of chance.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks all rules.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] when `theta` is not from 0 to 30, `sigma` or the ridge is not positive, `tau` or a tolerance
    /// is negative, `block_share` is not in `(0, 1]`, `least_share` is not in `[0, 1)`, or a number of clusters,
    /// starts, rounds or corrections is 0.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const POSITIVE: &str = "a positive number";
        const NUMBER: &str = "a number of at least 0";
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let number = |value: f64| value >= 0.0 && value.is_finite();
        let strength = (0.0..=30.0).contains(&self.theta);
        ConfigError::check(strength, "theta", "a number from 0 to 30", self.theta)?;
        ConfigError::check(positive(self.sigma), "sigma", POSITIVE, self.sigma)?;
        let (HarmonyRidge::Fixed(ridge) | HarmonyRidge::Dynamic(ridge)) = self.ridge;
        ConfigError::check(positive(ridge), "ridge", POSITIVE, ridge)?;
        ConfigError::check(number(self.tau), "tau", NUMBER, self.tau)?;
        let share = self.block_share > 0.0 && self.block_share <= 1.0;
        let expected = "more than 0 and at most 1";
        ConfigError::check(share, "block_share", expected, self.block_share)?;
        for (value, name) in [
            (self.tolerance, "tolerance"),
            (self.cluster_tolerance, "cluster_tolerance"),
        ] {
            ConfigError::check(number(value), name, NUMBER, value)?;
        }
        let share = (0.0..1.0).contains(&self.least_share);
        let expected = "at least 0 and less than 1";
        ConfigError::check(share, "least_share", expected, self.least_share)?;
        for (value, name) in [
            (self.n_clusters.unwrap_or(1), "n_clusters"),
            (self.starts, "starts"),
            (self.iterations, "iterations"),
            (self.cluster_iterations, "cluster_iterations"),
        ] {
            ConfigError::check(value > 0, name, "at least 1", value)?;
        }
        Ok(())
    }

    /// The penalty on each batch's effect in a cluster that holds so much of each; infinite for those left out.
    fn penalties(&self, levels: &Levels, mass: &[f64]) -> Vec<f64> {
        let total = levels.total(|level| mass[level]);
        let mut penalties = vec![f64::INFINITY; levels.len()];
        for variable in levels.variables() {
            let holds = |level: &usize| mass[*level] > self.least_share * levels.count(*level);
            let held: Vec<usize> = variable.filter(holds).collect();
            // One batch alone does not differ from others.
            if held.len() < 2 {
                continue;
            }
            for level in held {
                let penalty = match self.ridge {
                    HarmonyRidge::Fixed(penalty) => penalty,
                    HarmonyRidge::Dynamic(share) => share * total * levels.share(level),
                };
                if penalty > 0.0 {
                    penalties[level] = penalty;
                }
            }
        }
        penalties
    }
}

/// What [`harmony`] brings down, in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ObjectiveParts")]
#[non_exhaustive]
pub struct HarmonyObjective {
    /// `Σ R D`: how far rows are from their clusters.
    pub distances: f64,
    /// `σ Σ R ln R`: how hard the clusters are; negative.
    pub entropy: f64,
    /// `σ Σ_kb O_kb θ_b ln q_kb`: how uneven the batches of the clusters are.
    pub diversity: f64,
}

/// What was written, before it is known to be numbers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectiveParts {
    distances: f64,
    entropy: f64,
    diversity: f64,
}

impl TryFrom<ObjectiveParts> for HarmonyObjective {
    type Error = ConfigError;

    fn try_from(parts: ObjectiveParts) -> Result<Self, ConfigError> {
        let ObjectiveParts {
            distances,
            entropy,
            diversity,
        } = parts;
        for (name, value) in [
            ("distances", distances),
            ("entropy", entropy),
            ("diversity", diversity),
        ] {
            ConfigError::check(value.is_finite(), name, "a finite number", value)?;
        }
        Ok(Self {
            distances,
            entropy,
            diversity,
        })
    }
}

impl HarmonyObjective {
    /// The sum of the parts.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.distances + self.entropy + self.diversity
    }
}

/// The result of [`harmony`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ResultParts")]
#[non_exhaustive]
pub struct HarmonyResult {
    /// The rows without the effects of their batches, `[n, d]`.
    #[serde(with = "crate::stored")]
    pub corrected: Array2<f64>,
    /// How much each row belongs to each cluster, `[n, K]`; every row sums to 1.
    #[serde(with = "crate::stored")]
    pub memberships: Array2<f64>,
    /// The objective at the start and before every correction.
    pub objective: Vec<HarmonyObjective>,
    /// Whether the objective came to rest.
    pub converged: bool,
    /// What new rows are brought there by.
    pub model: Harmony,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultParts {
    #[serde(with = "crate::stored")]
    corrected: Array2<f64>,
    #[serde(with = "crate::stored")]
    memberships: Array2<f64>,
    objective: Vec<HarmonyObjective>,
    converged: bool,
    model: Harmony,
}

impl TryFrom<ResultParts> for HarmonyResult {
    type Error = Error;

    fn try_from(parts: ResultParts) -> Result<Self> {
        let ResultParts {
            corrected,
            memberships,
            objective,
            converged,
            model,
        } = parts;
        let (rows, (clusters, columns)) = (corrected.nrows(), model.dim());
        check_shape("corrected", &[rows, columns], corrected.shape())?;
        check_shape("memberships", &[rows, clusters], memberships.shape())?;
        check_finite(corrected.view())?;
        for shares in memberships.outer_iter() {
            check_amounts("memberships", &shares.to_vec())?;
            let sum = shares.sum();
            let holds = (sum - 1.0).abs() <= 1e-6;
            ConfigError::check(holds, "memberships", "rows with sum 1", sum)?;
        }
        Ok(Self {
            corrected,
            memberships,
            objective,
            converged,
            model,
        })
    }
}

/// Takes from the rows of every cluster what their batches differ by there: an effect need not be the same for all
/// kinds of cells.
///
/// With rows `z_i` (components of [`Pca`](crate::pca::Pca), or latents), `ẑ_i` the same at unit length, centers `Y_k` of
/// unit length found by k-means, and `D_ki = 2 (1 − Y_k·ẑ_i)`, rows belong to clusters by
///
/// ```text
/// R_ki ∝ exp(−D_ki / σ) Σ_b q_kb^−θ_b          b: the batches of row i, one for each variable
/// q_kb = (O_kb + 1) / (E_kb + 1)               form one
/// q_kb = (O_kb + E_kb + 1) / (2 E_kb + 1)      form two
/// ```
///
/// where `O_kb = Σ_i R_ki [i in b]` and `E_kb` is the batch's share of all rows times `Σ_i R_ki`, so that a batch is
/// pushed out of clusters that hold too much of it.
/// Rows follow each other in random blocks, given all others.
/// This lowers `Σ R D + σ Σ R ln R + σ Σ_kb O_kb θ_b ln q_kb`, form two's over 2,000 rows.
/// Then a ridge regression of the original rows on the batches in each cluster, weighted by `R`, gives each batch's
/// effect there; `z_i − Σ_k R_ki β_k,b(i)` is the corrected row, from which the next round goes on.
/// Korsunsky et al. 2019, doi:10.1038/s41592-019-0619-0.
///
/// For components of which each holds as much as it varies; not for columns scaled one by one.
/// What kinds of cells only one batch has stays, as far as they are clusters of their own.
/// Cost: `O(n K d)` for each round and variable, with several variables of `B` batches in all also `O(K B³)`;
/// `32 n K + 8 B K d` bytes, with several variables also `16 B²` for each thread.
///
/// # Differences from harmonypy
///
/// The formulas are those of 0.0.10 (form one; every step to 1e-9) and of 2.1.0 (form two; the regression to 1e-5, as
/// it computes in single precision); the random order and the start are ours, so that whole runs agree in the objective
/// and in how well batches mix (`tests/it/harmony.rs`).
///
/// - `theta` is 2 in form one too, as in the paper and R; harmonypy 0.0.10 takes 1.
/// - Form one there divides a row by its largest entry first, which turns rows of negative entries round; not here.
/// - Of the runs of k-means at the start that of the lowest objective is kept, not that of the lowest sum of squares as
///   in 0.0.10: the end depends less on the seed.
/// - A row of zeros belongs to all clusters alike; 0.0.10 fails.
/// - Several variables that only a tiny penalty parts are refused; there the correction is rounding.
///
/// One batch in all leaves the rows as they are, there and here.
///
/// # Shapes
///
/// `x` is `[n, d]`; each of `batches` has a label for each row.
///
/// # Errors
///
/// [`Error::Config`] for a setting outside its range, [`Error::TooFew`] without rows, columns or batch variables, or with
/// fewer rows than clusters, [`Error::NotFinite`] for NaN or infinity, [`Error::Shape`] when rows and labels differ in
/// number, [`Error::MissingLabel`] for a row without a batch, [`Error::TooMany`] for several variables of more than 8,192
/// batches with rows together, [`Error::Singular`] when a penalty is so small that several variables cannot be told apart
/// in double precision, from some 1e-10 of the rows of a cluster down, [`Error::Overflow`] when sums are infinite,
/// [`Error::Cancelled`] when the caller stops it, which waits for the decomposition of a cluster's equations, `B³ / 3`
/// multiplications.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{Categorical, NoProgress, Seed};
/// use phenocoder_embed::batch::{HarmonyConfig, harmony};
///
/// // Two groups; the second batch is 3 higher in the first column.
/// let mut stream = Seed::new(1).stream("rows", 0);
/// let x = Array2::from_shape_fn((120, 4), |(i, c)| {
///     let shift = if c == 0 && i >= 60 { 3.0 } else { 0.0 };
///     [6.0, -6.0][i % 2] + shift + stream.normal()
/// });
/// let batch = Categorical::from_labels((0..120).map(|i| if i < 60 { "a" } else { "b" }));
/// let result = harmony(x.view(), &[&batch], &HarmonyConfig::default(), &NoProgress)?;
///
/// let gap = |x: &Array2<f64>| (x.column(0).iter().skip(60).sum::<f64>() - x.column(0).iter().take(60).sum::<f64>()) / 60.0;
/// assert!(gap(&x) > 2.5 && gap(&result.corrected).abs() < 0.5);
/// assert!(result.objective.last().unwrap().total() < result.objective[0].total());
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "run_harmony")]
#[doc(alias = "RunHarmony")]
#[doc(alias = "harmony_integrate")]
pub fn harmony(
    x: ArrayView2<'_, f64>,
    batches: &[&Categorical],
    config: &HarmonyConfig,
    progress: &dyn Progress,
) -> Result<HarmonyResult> {
    config.validate()?;
    check_finite(x)?;
    check_batches(batches)?;
    Error::check_enough(METHOD, "rows", 1, x.nrows())?;
    Error::check_enough(METHOD, "columns", 1, x.ncols())?;
    // A variable of one batch says nothing.
    let levels = Levels::new(batches, x.nrows(), 2)?;
    let x = Rows::of(x);
    progress.start(METHOD, Some(config.iterations as u64));
    let mut clusters = start(&x.to_unit(), &levels, config, progress)?;
    let mut objective = vec![clusters.objective()];
    let mut corrected = x.clone();
    let mut converged = levels.len() == 0;
    for iteration in 0..config.iterations {
        if converged {
            break;
        }
        clusters.settle(iteration, progress)?;
        let (before, now) = (objective[iteration].total(), clusters.objective());
        objective.push(now);
        let penalties = |mass: &[f64]| config.penalties(&levels, mass);
        let memberships = clusters.memberships();
        let regression = Regression::fit(&levels, memberships, &x, penalties, None, progress)?;
        progress.check()?;
        corrected = regression.apply(&levels, memberships, &x);
        corrected.check_finite()?;
        clusters.follow(&corrected, &regression.intercepts);
        let scale = before.abs().max(ROUNDING * x.len() as f64);
        converged = before - now.total() <= config.tolerance * scale;
        progress.advance(1);
    }
    progress.finish();
    let memberships = clusters.into_memberships();
    Ok(HarmonyResult {
        model: Harmony::learn(config.sigma, &memberships, &corrected)?,
        corrected: corrected.into_array(),
        memberships: memberships.into_array(),
        objective,
        converged,
    })
}

/// Clusters around centers by k-means of rows of unit length: of several runs the one with the lowest objective.
///
/// Its objective tells more of that at the end than its sum of squares does.
fn start<'a>(
    unit: &Rows,
    levels: &'a Levels,
    config: &'a HarmonyConfig,
    progress: &dyn Progress,
) -> Result<Clusters<'a>> {
    let usual = (unit.len() as f64 / 30.0).round().clamp(1.0, 100.0) as usize;
    let means = KMeansConfig::new(config.n_clusters.unwrap_or(usual))
        .with_iterations(START_ROUNDS)
        .with_restarts(1);
    let x = unit.clone().into_array();
    let run = |index: usize| -> Result<(f64, Clusters<'a>)> {
        let seed = config.seed.derive("harmony/start", index as u64);
        let found = kmeans(
            x.view(),
            &means.clone().with_seed(seed),
            &WithinStage(progress),
        )?;
        let centers = Rows::of(found.centers.view()).to_unit();
        let clusters = Clusters::new(levels, config, unit.clone(), centers);
        Ok((clusters.objective().total(), clusters))
    };
    let mut best = run(0)?;
    for index in 1..config.starts {
        let other = run(index)?;
        if other.0 < best.0 {
            best = other;
        }
    }
    Ok(best.1)
}

fn check_batches(batches: &[&Categorical]) -> Result<()> {
    Error::check_enough(METHOD, "batch variables", 1, batches.len())
}
