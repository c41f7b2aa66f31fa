//! Every class equally often.

use phenocoder_core::{Categorical, PatchOrder, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use super::digest;
use crate::{ConfigError, Error, Result};

/// How the patches of a class are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Draws {
    /// Classes get equal shares of the epoch, up to one patch, and the patches of a class take turns: none comes once more
    /// before all others of its class have come, so a patch of a class larger than its share comes at most once.
    #[default]
    Even,
    /// Each draw is independent, with replacement: a class, then a patch of it.
    #[doc(alias = "WeightedRandomSampler")]
    Independent,
}

/// Settings of [`Balanced`].
///
/// # Examples
///
/// ```
/// use phenocoder_patches::sample::{BalanceConfig, Draws};
///
/// let config: BalanceConfig = serde_json::from_str(r#"{"column": "well", "draws": "independent"}"#)?;
/// assert_eq!(config, BalanceConfig::new("well").with_draws(Draws::Independent));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BalanceConfig {
    /// The column whose labels are the classes.
    pub column: String,
    /// How patches of a class are drawn (default [`Draws::Even`]).
    #[serde(default)]
    pub draws: Draws,
    /// Patches of an epoch (default: as many as there are).
    #[serde(default)]
    pub patches_per_epoch: Option<usize>,
}

impl BalanceConfig {
    /// Every label of this column equally often.
    #[must_use]
    pub fn new(column: impl Into<String>) -> Self {
        Self {
            column: column.into(),
            draws: Draws::default(),
            patches_per_epoch: None,
        }
    }

    /// Sets how patches of a class are drawn.
    #[must_use]
    pub fn with_draws(mut self, draws: Draws) -> Self {
        self.draws = draws;
        self
    }

    /// Sets the number of patches of an epoch; none is as many as there are.
    #[must_use]
    pub fn with_patches_per_epoch(mut self, patches: Option<usize>) -> Self {
        self.patches_per_epoch = patches;
        self
    }

    /// Checks the number of patches.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] for an epoch without patches.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self.patches_per_epoch {
            Some(0) => Err(ConfigError::Zero {
                field: "balance.patches_per_epoch",
            }),
            _ => Ok(()),
        }
    }

    /// The order of patches with these labels, one per patch.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] as [`validate`](Self::validate), [`Error::Empty`] without patches, and
    /// [`Error::MissingCategory`] when a patch has no label.
    pub fn build(&self, labels: &Categorical) -> Result<Balanced> {
        self.validate()?;
        let mut members = vec![Vec::new(); labels.categories().len()];
        for row in 0..labels.len() {
            let code = labels.code(row).ok_or_else(|| Error::MissingCategory {
                column: self.column.clone(),
                row,
            })?;
            members[code].push(row);
        }
        members.retain(|class| !class.is_empty());
        if members.is_empty() {
            return Err(Error::Empty {
                what: "the list of labels to balance",
            });
        }
        Ok(Balanced {
            config: self.clone(),
            n: labels.len(),
            members,
        })
    }
}

/// Visits patches so that every class is equally likely at every place.
///
/// A patch of a class of `m` patches is drawn with a probability in proportion to `1 / m`, its
/// [weight](Balanced::weights).
///
/// # Examples
///
/// ```
/// use phenocoder_core::{Categorical, PatchOrder, Seed};
/// use phenocoder_patches::sample::BalanceConfig;
///
/// let types = Categorical::from_labels(["rare", "common", "common", "common"]);
/// let order = BalanceConfig::new("type").build(&types)?;
/// let drawn = order.order(4, Seed::new(1))?;
/// assert_eq!(drawn.iter().filter(|&&patch| patch == 0).count(), 2);
/// # Ok::<(), phenocoder_patches::Error>(())
/// ```
///
/// # Differences
///
/// Class-balanced samplers of PyTorch code draw all patches independently from these weights; that is
/// [`Draws::Independent`].
/// The default has the same expectation and less scatter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balanced {
    config: BalanceConfig,
    n: usize,
    /// The patches of each class.
    members: Vec<Vec<usize>>,
}

impl Balanced {
    /// The weight of each patch: 1 over the number of patches of its class.
    #[must_use]
    pub fn weights(&self) -> Vec<f64> {
        let mut weights = vec![0.0; self.n];
        for class in &self.members {
            for &patch in class {
                weights[patch] = 1.0 / class.len() as f64;
            }
        }
        weights
    }

    /// Each class' share of the epoch; which classes get one patch more where they cannot be equal is drawn.
    fn even(&self, count: usize, seed: Seed) -> Vec<usize> {
        let classes = self.members.len();
        let mut shares = vec![count / classes; classes];
        let mut stream = seed.stream("balance remainder", 0);
        for class in stream.choose(classes, count % classes) {
            shares[class] += 1;
        }
        let mut order = Vec::with_capacity(count);
        for (class, (members, share)) in self.members.iter().zip(shares).enumerate() {
            for _ in 0..share / members.len() {
                order.extend_from_slice(members);
            }
            let mut stream = seed.stream("balance class", class as u64);
            let rest = stream.choose(members.len(), share % members.len());
            order.extend(rest.into_iter().map(|place| members[place]));
        }
        seed.stream("order", 0).shuffle(&mut order);
        order
    }

    fn independent(&self, count: usize, seed: Seed) -> Vec<usize> {
        let mut stream = seed.stream("balance", 0);
        let draw = |_| {
            let class = &self.members[stream.below(self.members.len())];
            class[stream.below(class.len())]
        };
        (0..count).map(draw).collect()
    }
}

impl PatchOrder for Balanced {
    fn name(&self) -> &str {
        "balanced"
    }

    fn settings(&self) -> String {
        let classes: Vec<usize> = self.members.iter().map(Vec::len).collect();
        let patches = self.members.iter().flatten().map(|&patch| patch as u64);
        serde_json::json!({
            "config": self.config,
            "patches_per_class": classes,
            "digest": digest(patches),
        })
        .to_string()
    }

    fn length(&self, n: usize) -> usize {
        self.config.patches_per_epoch.unwrap_or(n)
    }

    fn order(&self, n: usize, seed: Seed) -> Result<Vec<usize>, ShapeError> {
        ShapeError::check_len("labels to balance", n, self.n)?;
        let count = self.length(n);
        Ok(match self.config.draws {
            Draws::Even => self.even(count, seed),
            Draws::Independent => self.independent(count, seed),
        })
    }
}
