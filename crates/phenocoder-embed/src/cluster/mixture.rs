//! Clusters that are normal distributions.

mod gaussians;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{NoProgress, Progress, Seed};
use serde::{Deserialize, Serialize};

use super::Clustering;
use super::kmeans::{KMeansConfig, rounds};
use crate::matrix::{check_columns, check_finite, first_largest};
use crate::{ConfigError, Error, Result};
use gaussians::Gaussians;

const METHOD: &str = "gaussian mixture";

/// What the covariances of the components of a [`GaussianMixture`] may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Covariance {
    /// A matrix for each component: ellipsoids of any direction and size.
    #[default]
    Full,
    /// One matrix for all components.
    Tied,
    /// A variance for each column and component: ellipsoids along the axes.
    Diagonal,
    /// A variance for each component: balls.
    Spherical,
}

impl Covariance {
    /// The shape of the covariances of `k` components in `p` dimensions.
    fn shape(self, k: usize, p: usize) -> (usize, usize) {
        match self {
            Self::Full => (k.saturating_mul(p), p),
            Self::Tied => (p, p),
            Self::Diagonal => (k, p),
            Self::Spherical => (k, 1),
        }
    }

    /// The number of free numbers in them.
    fn parameters(self, k: usize, p: usize) -> usize {
        match self {
            Self::Full => k * p * (p + 1) / 2,
            Self::Tied => p * (p + 1) / 2,
            Self::Diagonal => k * p,
            Self::Spherical => k,
        }
    }
}

/// The components that [`gaussian_mixture`] begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MixtureStart {
    /// The share of each component in all rows, together 1.
    pub weights: Vec<f64>,
    /// The mean of each component, `[k, p]`.
    #[serde(with = "crate::stored")]
    pub means: Array2<f64>,
    /// The covariances, in the shape of [`GaussianMixture::covariances`].
    #[serde(with = "crate::stored")]
    pub covariances: Array2<f64>,
}

impl MixtureStart {
    /// Begins with these components.
    #[must_use]
    pub fn new(weights: Vec<f64>, means: Array2<f64>, covariances: Array2<f64>) -> Self {
        Self {
            weights,
            means,
            covariances,
        }
    }
}

/// Settings of [`gaussian_mixture`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MixtureConfig {
    /// The number of components.
    pub n_components: usize,
    /// What their covariances may be (default full).
    #[serde(default)]
    pub covariance: Covariance,
    /// The largest number of rounds (default 100).
    #[serde(default = "default_iterations")]
    pub iterations: usize,
    /// The rounds end one after the mean log-likelihood changed by less than this (default 0.001).
    #[serde(default = "default_tolerance")]
    pub tolerance: f64,
    /// What is added to each variance, in squared units of the data, so that none vanishes (default 1e-6).
    #[serde(default = "default_regularization")]
    pub regularization: f64,
    /// Runs from different starts, of which the likeliest of those with the most components is kept (default 1).
    #[serde(default = "default_restarts")]
    pub restarts: usize,
    /// What to begin with; by default clusters of k-means.
    #[serde(default)]
    pub start: Option<MixtureStart>,
    /// The source of chance.
    #[serde(default)]
    pub seed: Seed,
}

fn default_iterations() -> usize {
    100
}

fn default_tolerance() -> f64 {
    1e-3
}

fn default_regularization() -> f64 {
    1e-6
}

fn default_restarts() -> usize {
    1
}

impl MixtureConfig {
    /// Makes this many components.
    #[must_use]
    pub fn new(n_components: usize) -> Self {
        Self {
            n_components,
            covariance: Covariance::default(),
            iterations: default_iterations(),
            tolerance: default_tolerance(),
            regularization: default_regularization(),
            restarts: default_restarts(),
            start: None,
            seed: Seed::default(),
        }
    }

    /// Sets what covariances may be.
    #[must_use]
    pub fn with_covariance(mut self, covariance: Covariance) -> Self {
        self.covariance = covariance;
        self
    }

    /// Sets the largest number of rounds.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Sets the change of the mean log-likelihood that ends the rounds.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Sets what is added to each variance.
    #[must_use]
    pub fn with_regularization(mut self, regularization: f64) -> Self {
        self.regularization = regularization;
        self
    }

    /// Sets the number of runs.
    #[must_use]
    pub fn with_restarts(mut self, restarts: usize) -> Self {
        self.restarts = restarts;
        self
    }

    /// Begins with these components, once, and not with k-means; `None` is the default.
    #[must_use]
    pub fn with_start(mut self, start: impl Into<Option<MixtureStart>>) -> Self {
        self.start = start.into();
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
    /// A [`ConfigError`] when a number is 0, when the tolerance or the regularization is not a finite number of at
    /// least 0, or when the start has another number of components.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let natural = "at least 1";
        ConfigError::check(self.n_components > 0, "n_components", natural, 0)?;
        ConfigError::check(self.iterations > 0, "iterations", natural, 0)?;
        ConfigError::check(self.restarts > 0, "restarts", natural, 0)?;
        for (setting, value) in [
            ("tolerance", self.tolerance),
            ("regularization", self.regularization),
        ] {
            let holds = value >= 0.0 && value.is_finite();
            ConfigError::check(holds, setting, "a finite number of at least 0", value)?;
        }
        let Some(start) = &self.start else {
            return Ok(());
        };
        let found = start.weights.len();
        let same = found == self.n_components;
        ConfigError::check(same, "start", "as many weights as n_components", found)
    }
}

/// The result of [`gaussian_mixture`]: components, which tell the cluster of new rows too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct GaussianMixture {
    components: Gaussians,
    /// Its quality is the mean log-likelihood.
    clustering: Clustering,
    iterations: usize,
    converged: bool,
}

/// What was written, before it is known to fit together.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    components: Gaussians,
    clustering: Clustering,
    iterations: usize,
    converged: bool,
    /// Earlier files hold it beside the quality of the clustering, which it is; it is not used.
    #[serde(rename = "log_likelihood")]
    _log_likelihood: Option<f64>,
}

impl TryFrom<Parts> for GaussianMixture {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let Parts {
            components,
            clustering,
            iterations,
            converged,
            ..
        } = parts;
        let clusters = clustering.n_clusters;
        let possible = clusters <= components.weights().len();
        let expected = "at most the number of components";
        ConfigError::check(possible, "n_clusters", expected, clusters)?;
        let quality = clustering.quality;
        ConfigError::check(quality.is_finite(), "quality", "a finite number", quality)?;
        Ok(Self {
            components,
            clustering,
            iterations,
            converged,
        })
    }
}

impl GaussianMixture {
    /// The likeliest component of each row of the fit, which is its cluster; the quality is the mean log-likelihood.
    ///
    /// Components that are the likeliest of no row come last and are no cluster.
    #[must_use]
    pub fn clustering(&self) -> &Clustering {
        &self.clustering
    }

    /// The share of each component in all rows, together 1.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        self.components.weights()
    }

    /// The mean of each component, `[k, p]`, in the order of the cluster numbers.
    #[must_use]
    pub fn means(&self) -> ArrayView2<'_, f64> {
        self.components.means()
    }

    /// What the covariances may be.
    #[must_use]
    pub fn kind(&self) -> Covariance {
        self.components.kind()
    }

    /// The covariances, whose shape depends on their kind.
    ///
    /// # Shapes
    ///
    /// Full: the matrices one below the other, `[k p, p]`; tied: `[p, p]`; diagonal: `[k, p]`; spherical: `[k, 1]`.
    #[must_use]
    pub fn covariances(&self) -> ArrayView2<'_, f64> {
        self.components.covariances()
    }

    /// The mean logarithm of the density at the rows of the fit.
    #[must_use]
    pub fn log_likelihood(&self) -> f64 {
        self.clustering.quality
    }

    /// The number of rounds made.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// Whether the round before the last one changed as little as was asked for.
    #[must_use]
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// The Bayesian information criterion, `q ln n − 2 n L` with `q` free numbers and the mean log-likelihood `L`.
    ///
    /// Of several mixtures of the same rows, the one with the least is the best (Schwarz 1978,
    /// doi:10.1214/aos/1176344136).
    #[must_use]
    pub fn bic(&self) -> f64 {
        self.deviance() + self.components.parameters() as f64 * libm::log(self.rows())
    }

    /// The criterion of Akaike, `2 q − 2 n L`, which allows more components than [`bic`](Self::bic) (Akaike 1974,
    /// doi:10.1109/TAC.1974.1100705).
    #[must_use]
    pub fn aic(&self) -> f64 {
        self.deviance() + 2.0 * self.components.parameters() as f64
    }

    fn rows(&self) -> f64 {
        self.clustering.labels.len() as f64
    }

    fn deviance(&self) -> f64 {
        -2.0 * self.rows() * self.log_likelihood()
    }

    /// The likeliest component of each row, the first of several.
    ///
    /// # Errors
    ///
    /// As [`probabilities`](Self::probabilities).
    pub fn predict(&self, x: ArrayView2<'_, f64>) -> Result<Vec<u32>> {
        self.predict_with(x, &NoProgress)
    }

    /// The likeliest component of each row as [`predict`](Self::predict), which can be stopped.
    ///
    /// # Errors
    ///
    /// As [`probabilities_with`](Self::probabilities_with).
    pub fn predict_with(
        &self,
        x: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Vec<u32>> {
        Ok(likeliest(&self.probabilities_with(x, progress)?))
    }

    /// The probability of each component given the row, those of a row together 1.
    ///
    /// # Shapes
    ///
    /// `[n, p]` to `[n, k]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another number of columns, [`Error::NotFinite`] for NaN or infinity, [`Error::Overflow`]
    /// for rows so far away that no component has a density there.
    pub fn probabilities(&self, x: ArrayView2<'_, f64>) -> Result<Array2<f64>> {
        self.probabilities_with(x, &NoProgress)
    }

    /// The probability of each component given the row as [`probabilities`](Self::probabilities), which can be stopped
    /// on the way.
    ///
    /// # Shapes
    ///
    /// Those of [`probabilities`](Self::probabilities).
    ///
    /// # Errors
    ///
    /// Those of [`probabilities`](Self::probabilities), and [`Error::Cancelled`] when the caller stops it.
    pub fn probabilities_with(
        &self,
        x: ArrayView2<'_, f64>,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>> {
        check_columns("x", x, self.components.means().ncols())?;
        check_finite(x)?;
        progress.start(METHOD, None);
        let x = x.as_standard_layout();
        let (_, probabilities) = self.components.expect(x.view(), progress)?;
        progress.finish();
        Ok(probabilities)
    }
}

/// Finds the normal distributions that rows are likely drawn from, by expectation and maximization.
///
/// The density is `Σ_c w_c N(x; μ_c, Σ_c)`.
/// A round takes the probabilities `r` of the components given each row, then weights, means and covariances about the
/// means with the rows weighing `r`; the rounds end one after the mean log-likelihood changed by less than the tolerance
/// (Dempster, Laird & Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x).
/// Beside k-means, clusters may have different sizes and directions, a row may belong to several, and
/// [`bic`](GaussianMixture::bic) says how many components the rows speak for.
/// There are fewer components than asked for when there are fewer different rows, or when a cluster of the k-means that
/// the rounds begin with loses all of its rows; among several runs those with the most components come first.
/// Cost: `O(n k p²)` per round, without the square for diagonal and spherical covariances.
///
/// # Shapes
///
/// `x`: `[n, p]`.
///
/// # Differences from scikit-learn's `GaussianMixture`
///
/// [`log_likelihood`](GaussianMixture::log_likelihood) is that of the result (`score`), by which the best of several
/// runs is chosen too; scikit-learn's `lower_bound_` is that of the round before.
/// A start has covariances, not their inverses, and components are numbered by falling size of their clusters.
///
/// # Errors
///
/// [`Error::TooFew`] for fewer rows than components, fewer than two rows, or no column; [`Error::NotFinite`] for NaN or
/// infinity, [`Error::Singular`] when a covariance is not positive definite, [`Error::Overflow`] for values whose
/// squares are beyond any number, [`Error::Config`] for a setting outside its range, [`Error::Shape`] for a start of
/// another shape, [`Error::Cancelled`] when the caller stops it.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{NoProgress, Seed};
/// use phenocoder_embed::cluster::{MixtureConfig, gaussian_mixture};
///
/// // A narrow group at 0 and a wide one at 10.
/// let mut stream = Seed::new(3).stream("rows", 0);
/// let x = Array2::from_shape_fn((90, 1), |(i, _)| {
///     if i < 60 { 0.1 * stream.normal() } else { 10.0 + 2.0 * stream.normal() }
/// });
/// let find = |k| gaussian_mixture(x.view(), &MixtureConfig::new(k), &NoProgress);
/// let (one, two) = (find(1)?, find(2)?);
/// assert!(two.bic() < one.bic());
/// assert_eq!(two.clustering().sizes(), [60, 30]);
/// assert!((two.means()[[1, 0]] - 10.0).abs() < 1.5);
/// # Ok::<(), phenocoder_embed::Error>(())
/// ```
#[doc(alias = "GaussianMixture")]
pub fn gaussian_mixture(
    x: ArrayView2<'_, f64>,
    config: &MixtureConfig,
    progress: &dyn Progress,
) -> Result<GaussianMixture> {
    config.validate()?;
    check_finite(x)?;
    let (n, p) = x.dim();
    Error::check_enough(METHOD, "rows", config.n_components.max(2), n)?;
    Error::check_enough(METHOD, "columns", 1, p)?;
    let x = x.as_standard_layout();
    // A given start leaves nothing to chance.
    let runs = if config.start.is_some() {
        1
    } else {
        config.restarts
    };
    progress.start(METHOD, Some(runs as u64));
    let mut best = Run::new(x.view(), config, 0, progress)?;
    progress.advance(1);
    for restart in 1..runs {
        let run = Run::new(x.view(), config, restart, progress)?;
        if run.beats(&best) {
            best = run;
        }
        progress.advance(1);
    }
    progress.finish();
    Ok(best.finish())
}

/// The rounds from one start.
struct Run {
    components: Gaussians,
    probabilities: Array2<f64>,
    log_likelihood: f64,
    iterations: usize,
    converged: bool,
}

impl Run {
    fn new(
        x: ArrayView2<'_, f64>,
        config: &MixtureConfig,
        restart: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let fit = |probabilities: &Array2<f64>| {
            Gaussians::fit(x, probabilities, config.covariance, config.regularization)
        };
        let mut components = if let Some(start) = &config.start {
            check_columns("start.means", start.means.view(), x.ncols())?;
            Gaussians::new(config.covariance, start.clone())?
        } else {
            let clusters = KMeansConfig::new(config.n_components)
                .with_seed(config.seed.derive("gaussian mixture", restart as u64));
            let (_, labels) = rounds(x, &clusters, 0, progress)?;
            fit(&one_hot(&Clustering::new(&labels, 0.0)))?
        };
        let (mut log_likelihood, mut probabilities) = components.expect(x, progress)?;
        let (mut iterations, mut converged) = (0, false);
        let mut before = f64::NEG_INFINITY;
        while iterations < config.iterations && !converged {
            progress.check()?;
            components = fit(&probabilities)?;
            iterations += 1;
            // As scikit-learn, a round looks at what the one before it has changed.
            converged = (log_likelihood - before).abs() < config.tolerance;
            before = log_likelihood;
            (log_likelihood, probabilities) = components.expect(x, progress)?;
        }
        Ok(Self {
            components,
            probabilities,
            log_likelihood,
            iterations,
            converged,
        })
    }

    /// Whether it has more components, or as many and is likelier.
    fn beats(&self, other: &Self) -> bool {
        let rank = |run: &Self| (run.probabilities.ncols(), run.log_likelihood);
        rank(self) > rank(other)
    }

    /// Numbers the components by falling size of their clusters.
    fn finish(self) -> GaussianMixture {
        let labels = likeliest(&self.probabilities);
        let count = self.probabilities.ncols();
        let (clustering, order) = Clustering::ordered(&labels, count, self.log_likelihood);
        GaussianMixture {
            components: self.components.select(&order),
            clustering,
            iterations: self.iterations,
            converged: self.converged,
        }
    }
}

/// Probability 1 of each row's cluster.
fn one_hot(clustering: &Clustering) -> Array2<f64> {
    let mut probabilities = Array2::zeros((clustering.labels.len(), clustering.n_clusters));
    for (mut row, &label) in probabilities.outer_iter_mut().zip(&clustering.labels) {
        row[label as usize] = 1.0;
    }
    probabilities
}

/// The first column with the largest value of each row.
fn likeliest(probabilities: &Array2<f64>) -> Vec<u32> {
    let rows = probabilities.outer_iter();
    rows.map(|row| first_largest(row.iter().copied()) as u32)
        .collect()
}

#[cfg(test)]
mod tests;
