//! What is computed, and how.

use serde::{Deserialize, Serialize};

use crate::centrality::Closeness;
use crate::error::{ConfigError, Result};

/// A group of statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Group {
    /// How often cells of one cluster lie beside cells of another.
    Interactions,
    /// How central the clusters are in the graph.
    Centrality,
    /// How many neighbors the cells have.
    Connectivity,
    /// Moran's I of the features.
    MoranFeatures,
    /// Moran's I of the membership in every cluster.
    MoranClusters,
    /// Convex hulls of the components of the graph.
    Chull,
    /// Whether clusters lie beside each other more often than by chance.
    Enrichment,
    /// Whether edges link like with like.
    Assortativity,
    /// How mixed neighborhoods are.
    Entropy,
    /// How much of the tissue is a hot or cold spot of the features.
    LocalMoran,
}

impl Group {
    /// The groups of the original, in its order: the default.
    pub const ORIGINAL: [Self; 6] = [
        Self::Interactions,
        Self::Centrality,
        Self::Connectivity,
        Self::MoranFeatures,
        Self::MoranClusters,
        Self::Chull,
    ];

    /// All groups: those of the original, then those that it does not have.
    pub const ALL: [Self; 10] = [
        Self::Interactions,
        Self::Centrality,
        Self::Connectivity,
        Self::MoranFeatures,
        Self::MoranClusters,
        Self::Chull,
        Self::Enrichment,
        Self::Assortativity,
        Self::Entropy,
        Self::LocalMoran,
    ];

    /// The name in the columns.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interactions => "interactions",
            Self::Centrality => "centrality",
            Self::Connectivity => "connectivity",
            Self::MoranFeatures => "moran_features",
            Self::MoranClusters => "moran_clusters",
            Self::Chull => "chull",
            Self::Enrichment => "enrichment",
            Self::Assortativity => "assortativity",
            Self::Entropy => "entropy",
            Self::LocalMoran => "local_moran",
        }
    }
}

/// Whose definitions hold where the original's are faulty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// The correct ones.
    #[default]
    Default,
    /// The original's, so that its tables can be reproduced.
    ///
    /// Units with fewer than two labels are dropped; the sequential degree filter; density is volume / n; Moran's weights in
    /// single precision.
    Compat,
}

/// Which components get a hull; see [`ComponentConfig`](crate::hull::ComponentConfig).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HullConfig {
    /// Cells with fewer neighbors are left out (default 3).
    pub min_degree: usize,
    /// Components of fewer cells are left out (default 10).
    pub min_nodes: usize,
}

impl Default for HullConfig {
    fn default() -> Self {
        Self {
            min_degree: 3,
            min_nodes: 10,
        }
    }
}

impl HullConfig {
    /// The same with another least number of neighbors.
    #[must_use]
    pub fn with_min_degree(mut self, min_degree: usize) -> Self {
        self.min_degree = min_degree;
        self
    }

    /// The same with another least number of cells.
    #[must_use]
    pub fn with_min_nodes(mut self, min_nodes: usize) -> Self {
        self.min_nodes = min_nodes;
        self
    }
}

/// Which statistics [`spatial_statistics`](super::spatial_statistics) computes.
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::summary::{Group, Mode, StatisticsConfig};
///
/// let config = StatisticsConfig::new([25.0, 50.0]).with_mode(Mode::Compat);
/// assert_eq!(config.groups, Group::ORIGINAL);
/// assert!(StatisticsConfig::new([]).validate().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StatisticsConfig {
    /// The radii of the graphs in the unit of the coordinates.
    pub radii: Vec<f64>,
    /// The groups of statistics (default: the six of the original).
    #[serde(default = "original_groups")]
    pub groups: Vec<Group>,
    /// Which components get a hull.
    #[serde(default)]
    pub hull: HullConfig,
    /// Which cells the closeness of a cluster counts (default: all, as in the original).
    #[serde(default)]
    pub closeness: Closeness,
    /// Whose definitions hold where the original's are faulty (default: the correct ones).
    #[serde(default)]
    pub mode: Mode,
    /// The rate of false discoveries among the cells that count as hot, cold or outliers in [`Group::LocalMoran`] (default
    /// 0.05).
    #[serde(default = "usual_rate")]
    pub discovery_rate: f64,
}

fn original_groups() -> Vec<Group> {
    Group::ORIGINAL.to_vec()
}

fn usual_rate() -> f64 {
    0.05
}

impl StatisticsConfig {
    /// The groups of the original at these radii.
    #[must_use]
    pub fn new(radii: impl IntoIterator<Item = f64>) -> Self {
        Self {
            radii: radii.into_iter().collect(),
            groups: original_groups(),
            hull: HullConfig::default(),
            closeness: Closeness::default(),
            mode: Mode::default(),
            discovery_rate: usual_rate(),
        }
    }

    /// The same with other groups.
    #[must_use]
    pub fn with_groups(mut self, groups: impl IntoIterator<Item = Group>) -> Self {
        self.groups = groups.into_iter().collect();
        self
    }

    /// The same with other hulls.
    #[must_use]
    pub fn with_hull(mut self, hull: HullConfig) -> Self {
        self.hull = hull;
        self
    }

    /// The same with another closeness.
    #[must_use]
    pub fn with_closeness(mut self, closeness: Closeness) -> Self {
        self.closeness = closeness;
        self
    }

    /// The same in another mode.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// The same with another rate of false discoveries among cells.
    #[must_use]
    pub fn with_discovery_rate(mut self, rate: f64) -> Self {
        self.discovery_rate = rate;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the setting: no radius or group at all, one listed twice, a radius that is negative or
    /// NaN, a rate of false discoveries that is not above 0 and at most 1.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_length("discovery_rate", self.discovery_rate)?;
        if self.discovery_rate > 1.0 {
            return Err(ConfigError::TooLarge {
                setting: "discovery_rate",
                most: 1.0,
                value: self.discovery_rate,
            });
        }
        for (setting, empty) in [
            ("radii", self.radii.is_empty()),
            ("groups", self.groups.is_empty()),
        ] {
            if empty {
                return Err(ConfigError::Empty { setting });
            }
        }
        for (i, &radius) in self.radii.iter().enumerate() {
            if radius.is_nan() || radius < 0.0 {
                return Err(ConfigError::Radius { value: radius });
            }
            if self.radii[..i].contains(&radius) {
                return Err(ConfigError::Twice {
                    setting: "radii",
                    entry: radius.to_string(),
                });
            }
        }
        for (i, group) in self.groups.iter().enumerate() {
            if self.groups[..i].contains(group) {
                return Err(ConfigError::Twice {
                    setting: "groups",
                    entry: group.name().to_owned(),
                });
            }
        }
        Ok(())
    }
}
