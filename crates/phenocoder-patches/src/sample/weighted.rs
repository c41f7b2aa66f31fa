//! Patches by weights.

use phenocoder_core::{PatchOrder, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use super::digest;
use crate::{ConfigError, Error, Result};

/// Whether a patch can come several times in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Replacement {
    /// Each draw is independent of the others.
    #[default]
    With,
    /// A patch that has come does not come again: draws are from those that are left, by their weights.
    Without,
}

/// Draws patches with a probability in proportion to their weights.
///
/// Without replacement it is the method of Efraimidis and Spirakis (2006, doi:10.1016/j.ipl.2005.11.003).
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchOrder, Seed};
/// use phenocoder_patches::sample::Weighted;
///
/// let order = Weighted::new(vec![1.0, 0.0, 3.0])?.with_patches_per_epoch(4_000);
/// let drawn = order.order(3, Seed::new(1))?;
/// let count = |patch| drawn.iter().filter(|&&p| p == patch).count();
/// assert_eq!(count(1), 0);
/// assert!((2_900..3_100).contains(&count(2)));
/// # Ok::<(), phenocoder_patches::Error>(())
/// ```
#[doc(alias = "WeightedRandomSampler")]
#[derive(Debug, Clone, PartialEq)]
pub struct Weighted {
    weights: Vec<f64>,
    replacement: Replacement,
    patches_per_epoch: usize,
}

impl Weighted {
    /// One weight per patch; an epoch draws as many patches as there are.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] when no weight is above 0, [`Error::Config`] for one that is negative or not finite.
    pub fn new(weights: Vec<f64>) -> Result<Self> {
        for &weight in &weights {
            let valid = weight.is_finite() && weight >= 0.0;
            ConfigError::check_range("weights", weight, valid, "finite numbers from 0 on")?;
        }
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 {
            return Err(Error::Empty {
                what: "the list of weights above 0",
            });
        }
        let expected = "numbers with a finite sum";
        ConfigError::check_range("weights", sum, sum.is_finite(), expected)?;
        Ok(Self {
            patches_per_epoch: weights.len(),
            weights,
            replacement: Replacement::default(),
        })
    }

    /// Sets whether a patch can come several times in an epoch.
    #[must_use]
    pub fn with_replacement(mut self, replacement: Replacement) -> Self {
        self.replacement = replacement;
        self
    }

    /// Sets the number of patches of an epoch; without replacement, no more come than have a weight above 0.
    #[must_use]
    pub fn with_patches_per_epoch(mut self, patches: usize) -> Self {
        self.patches_per_epoch = patches;
        self
    }

    /// The weight of each patch.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    fn repeated(&self, seed: Seed) -> Vec<usize> {
        let mut sum = 0.0;
        // The upper ends of each patch's part of the line from 0 to the sum.
        let ends: Vec<f64> = self
            .weights
            .iter()
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        let last = self.weights.iter().rposition(|&w| w > 0.0).unwrap_or(0);
        let mut stream = seed.stream("weighted", 0);
        let draw = |_| {
            let at = stream.uniform() * sum;
            // A rounding could bring it to the very end.
            ends.partition_point(|&end| end <= at).min(last)
        };
        (0..self.patches_per_epoch).map(draw).collect()
    }

    fn once(&self, seed: Seed) -> Vec<usize> {
        let mut stream = seed.stream("weighted", 0);
        // Each patch waits for a time that is exponential with its weight as rate: the first to come is drawn first.
        let mut times: Vec<(f64, usize)> = self
            .weights
            .iter()
            .enumerate()
            .map(|(patch, &weight)| (-libm::log1p(-stream.uniform()) / weight, patch))
            .filter(|&(_, patch)| self.weights[patch] > 0.0)
            .collect();
        times.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let drawn = times.into_iter().take(self.patches_per_epoch);
        drawn.map(|(_, patch)| patch).collect()
    }
}

impl PatchOrder for Weighted {
    fn name(&self) -> &str {
        "weighted"
    }

    fn settings(&self) -> String {
        serde_json::json!({
            "weights": digest(self.weights.iter().map(|weight| weight.to_bits())),
            "replacement": self.replacement,
            "patches_per_epoch": self.patches_per_epoch,
        })
        .to_string()
    }

    fn length(&self, _: usize) -> usize {
        match self.replacement {
            Replacement::With => self.patches_per_epoch,
            Replacement::Without => {
                let positive = self.weights.iter().filter(|&&weight| weight > 0.0);
                self.patches_per_epoch.min(positive.count())
            }
        }
    }

    fn order(&self, n: usize, seed: Seed) -> Result<Vec<usize>, ShapeError> {
        ShapeError::check_len("weights", n, self.weights.len())?;
        Ok(match self.replacement {
            Replacement::With => self.repeated(seed),
            Replacement::Without => self.once(seed),
        })
    }
}
