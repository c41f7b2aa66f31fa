//! At which scales cells of a type are clustered or spread (Ripley 1977, doi:10.1111/j.2517-6161.1977.tb01615.x).

mod envelope;
mod estimate;
mod nearest;

use ndarray::{Array2, ArrayView2};
use phenocoder_core::{Categorical, Progress, Seed, ShapeError};
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Error, Result};
use crate::hull::Region;
use crate::neighbors::padded;
use crate::pairs::{Reach, Thresholds};
use crate::predicates::Point;
use crate::summary::Mode;
use estimate::Pattern;

/// A function of distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RipleyFunction {
    /// The number of further cells of the type within the distance of a cell, divided by their density: an area, or a volume.
    K,
    /// The radius of a disc, or ball, with the size K; the distance itself where cells lie anywhere alike.
    L,
    /// The probability that a cell has another of its type within the distance.
    G,
    /// The probability that a location has a cell of the type within the distance.
    F,
}

/// What is done about the surroundings of the region, of which nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EdgeCorrection {
    /// For each distance only cells (or locations) count that are at least as far from the border.
    #[default]
    Border,
    /// Nothing: what lies outside is taken for empty.
    None,
}

/// Settings of [`ripley`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RipleyConfig {
    /// The largest distance in the unit of the coordinates; by default the root of half the area (in space the cube root of
    /// half the volume).
    pub max_distance: Option<f64>,
    /// The number of distances, from 0 to the largest, evenly spaced (default 50).
    pub steps: usize,
    /// What is done about the border (default: cells near it are left out).
    pub correction: EdgeCorrection,
    /// The number of random patterns to compare with; 0 leaves out the comparison (default 99).
    pub simulations: usize,
    /// The number of locations that [`RipleyFunction::F`] is estimated at (default 1000).
    #[doc(alias = "n_observations")]
    pub locations: usize,
    /// Whose definitions hold (default: the textbook's).
    ///
    /// [`Mode::Compat`]: those of squidpy 1.8.3, without border correction and without simulations. L counts distances
    /// strictly below and divides by the density of all cells; G and F are of the distances to the
    /// [`neighbors`](Self::neighbors) nearest cells, from all cells of *other* types (G), as parts of those up to the
    /// largest distance.
    pub mode: Mode,
    /// How many nearest cells count in [`Mode::Compat`] (default 2).
    #[doc(alias = "n_neigh")]
    pub neighbors: usize,
    /// The seed of locations and simulations (default 0).
    pub seed: Seed,
}

impl Default for RipleyConfig {
    fn default() -> Self {
        Self {
            max_distance: None,
            steps: 50,
            correction: EdgeCorrection::default(),
            simulations: 99,
            locations: 1000,
            mode: Mode::default(),
            neighbors: 2,
            seed: Seed::new(0),
        }
    }
}

impl RipleyConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the largest distance.
    #[must_use]
    pub fn with_max_distance(mut self, distance: f64) -> Self {
        self.max_distance = Some(distance);
        self
    }

    /// Sets the number of distances.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets what is done about the border.
    #[must_use]
    pub fn with_correction(mut self, correction: EdgeCorrection) -> Self {
        self.correction = correction;
        self
    }

    /// Sets the number of random patterns.
    #[must_use]
    pub fn with_simulations(mut self, simulations: usize) -> Self {
        self.simulations = simulations;
        self
    }

    /// Sets the number of locations.
    #[must_use]
    pub fn with_locations(mut self, locations: usize) -> Self {
        self.locations = locations;
        self
    }

    /// Sets whose definitions hold.
    #[must_use]
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TooFew`] for fewer than two steps, [`ConfigError::Zero`] for no locations or neighbors,
    /// [`ConfigError::TooMany`] for steps or simulations that 32 bits cannot count, [`ConfigError::Length`] for a largest
    /// distance that is not a finite number above 0.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.steps < 2 {
            return Err(ConfigError::TooFew {
                setting: "steps",
                least: 2,
                found: self.steps,
            });
        }
        ConfigError::check_some("locations", self.locations)?;
        ConfigError::check_some("neighbors", self.neighbors)?;
        ConfigError::check_countable("steps", self.steps)?;
        ConfigError::check_countable("simulations", self.simulations)?;
        self.max_distance.map_or(Ok(()), |value| {
            ConfigError::check_length("max_distance", value)
        })
    }
}

/// A function of distance for every type.
///
/// # Shapes
///
/// All matrices: `[k, m]` for k categories and m distances.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Ripley {
    /// The distances, rising from 0, in the unit of the coordinates.
    pub distances: Vec<f64>,
    /// The function; NaN for a type of too few cells, and for distances that no cell is as far from the border as.
    pub values: Array2<f64>,
    /// The function of cells that lie anywhere alike and independently, as many and without a border.
    pub expected: Array2<f64>,
    /// How the random patterns compare; `None` when there were none.
    pub comparison: Option<Comparison>,
    /// The area, or volume, of the convex hull of all points.
    pub region_size: f64,
}

/// A function beside those of random patterns of as many cells in the same region.
///
/// # Shapes
///
/// Matrices: `[k, m]`; `p_value`: k.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// The smallest value of the random patterns at each distance.
    pub lower: Array2<f64>,
    /// The largest.
    pub upper: Array2<f64>,
    /// The probability of a value as extreme at each distance, on both sides, among the patterns that have one there.
    pub pointwise_p_value: Array2<f64>,
    /// The probability of a function that anywhere deviates as much from the mean of all (the test of the maximum absolute
    /// deviation: Baddeley et al. 2014, doi:10.1890/13-2042.1): the one to quote, since distances were not chosen before.
    ///
    /// Of the distances those count at which the function and all random patterns are defined; with [`EdgeCorrection::Border`]
    /// and few cells these are the shorter ones.
    /// NaN where there are none.
    pub p_value: Vec<f64>,
}

/// Computes a function of distance of the cells of every type, beside random patterns.
///
/// The region is the convex hull of all points.
/// With |W| its size, n the cells of the type and b their distances from its border:
///
/// * K(t) = |W| / (n − 1) · mean over cells with b ≥ t of the number of others with d ≤ t;
///   L(t) = √(K(t) / π), in space ∛(3 K(t) / 4π).
/// * G(t) = the part of the cells with b ≥ t whose nearest other has d ≤ t; F(t) likewise, of uniform locations.
///
/// Without correction all cells count.
/// Random patterns have as many cells, drawn uniformly from the region, and pass through the same estimate.
/// Those of smaller types are the first cells of those of larger ones, which for K, L and F costs as much as the largest
/// type alone: the comparisons of two types are not independent of each other.
///
/// K and L cost at most the comparison of all pairs of cells of a type, for every 254 distances once; F O(n log n); G that
/// for each number of cells that types have.
/// Memory is of the order of the points, for each thread.
///
/// # Shapes
///
/// `points`: `[n, 2]` or `[n, 3]`; `labels`: n.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_spatial::ripley::{RipleyConfig, RipleyFunction, ripley};
///
/// // A lattice is more regular than chance: no cell has another nearer than 1.
/// let points = Array2::from_shape_fn((100, 2), |(i, axis)| [i / 10, i % 10][axis] as f64);
/// let labels = Categorical::from_labels(["T"; 100]);
/// let config = RipleyConfig::new().with_max_distance(2.0).with_steps(9);
/// let found = ripley(points.view(), &labels, RipleyFunction::G, &config, &NoProgress)?;
/// assert_eq!((found.values[[0, 3]], found.values[[0, 4]]), (0.0, 1.0));
/// assert!(found.comparison.is_some_and(|c| c.p_value[0] <= 0.02));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`RipleyConfig::validate`], [`Error::Degenerate`] when all points lie on a line (in space: in a plane),
/// [`Error::Dimensions`] for points in other than 2 or 3 dimensions, [`ShapeError::Length`] when there is not one label per
/// point, [`Error::Cancelled`] when `progress` asks to stop, and those of [`radius_graph`](crate::radius_graph) for the points.
///
/// # Differences from squidpy
///
/// Those listed at [`RipleyConfig::mode`]; edge correction and three dimensions; every random pattern is drawn anew (squidpy
/// 1.8.3 draws the same one each time); p-values are never 0.
pub fn ripley(
    points: ArrayView2<'_, f64>,
    labels: &Categorical,
    function: RipleyFunction,
    config: &RipleyConfig,
    progress: &dyn Progress,
) -> Result<Ripley> {
    config.validate()?;
    let region = region(points)?;
    let mut stream = config.seed.stream("locations", 0);
    let locations = match function {
        RipleyFunction::F => (0..config.locations)
            .map(|_| region.draw(&mut stream))
            .collect(),
        _ => Vec::new(),
    };
    run(
        points, labels, function, &region, &locations, config, progress,
    )
}

/// Computes [`RipleyFunction::F`] at locations of the caller's choice; otherwise as [`ripley`], at the same cost.
///
/// # Shapes
///
/// `points`: `[n, d]`; `locations`: `[l, d]`, within the hull of the points.
///
/// # Examples
///
/// ```
/// use ndarray::{Array2, array};
/// use phenocoder_core::{Categorical, NoProgress};
/// use phenocoder_spatial::ripley::{EdgeCorrection, RipleyConfig, empty_space_at};
///
/// // The middle of a square of a lattice is 0.71 away from its corners, that of a side 0.5.
/// let points = Array2::from_shape_fn((100, 2), |(i, axis)| [i / 10, i % 10][axis] as f64);
/// let labels = Categorical::from_labels(["T"; 100]);
/// let locations = array![[4.5, 4.5], [4.5, 4.0]];
/// let config = RipleyConfig::new()
///     .with_correction(EdgeCorrection::None)
///     .with_max_distance(0.8)
///     .with_steps(5);
/// let found = empty_space_at(points.view(), &labels, locations.view(), &config, &NoProgress)?;
/// assert_eq!(found.values.row(0).to_vec(), [0.0, 0.0, 0.0, 0.5, 1.0]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`ripley`], [`ShapeError::Length`] for locations with another number of axes, [`Error::NotFinite`] for the first
/// coordinate of theirs that is not finite.
pub fn empty_space_at(
    points: ArrayView2<'_, f64>,
    labels: &Categorical,
    locations: ArrayView2<'_, f64>,
    config: &RipleyConfig,
    progress: &dyn Progress,
) -> Result<Ripley> {
    config.validate()?;
    let region = region(points)?;
    ShapeError::check_len("axes of locations", points.ncols(), locations.ncols())?;
    let locations = padded(locations, None)?;
    run(
        points,
        labels,
        RipleyFunction::F,
        &region,
        &locations,
        config,
        progress,
    )
}

fn region(points: ArrayView2<'_, f64>) -> Result<Region> {
    let d = points.ncols();
    if !(2..=3).contains(&d) {
        return Err(Error::Dimensions {
            expected: "2 or 3",
            found: d,
        });
    }
    crate::neighbors::check_finite(points)?;
    Region::hull(points).ok_or_else(|| Error::Degenerate {
        place: "the whole set".to_owned(),
        expected: if d == 2 {
            "points that are not on a line"
        } else {
            "points that are not in a plane"
        },
    })
}

fn run(
    points: ArrayView2<'_, f64>,
    labels: &Categorical,
    function: RipleyFunction,
    region: &Region,
    locations: &[Point],
    config: &RipleyConfig,
    progress: &dyn Progress,
) -> Result<Ripley> {
    ShapeError::check_len("labels", points.nrows(), labels.len())?;
    let d = points.ncols();
    let points = padded(points, None)?;
    let half = region.measure() / 2.0;
    let largest = config
        .max_distance
        .unwrap_or(if d == 2 { half.sqrt() } else { half.cbrt() });
    let step = largest / (config.steps - 1) as f64;
    let mut distances: Vec<f64> = (0..config.steps).map(|i| i as f64 * step).collect();
    distances[config.steps - 1] = largest;
    let pattern = Pattern {
        function,
        d,
        region,
        distances: &distances,
        thresholds: Thresholds::new(&distances, Reach::Closed),
        config,
    };
    let k = labels.categories().len();
    let m = distances.len();
    let mut values = Array2::from_elem((k, m), f64::NAN);
    let mut expected = Array2::from_elem((k, m), f64::NAN);
    let simulations = match config.mode {
        Mode::Compat => 0,
        Mode::Default => config.simulations,
    };
    let mut comparison = (simulations > 0).then(|| Comparison {
        lower: values.clone(),
        upper: values.clone(),
        pointwise_p_value: values.clone(),
        p_value: vec![f64::NAN; k],
    });
    let sizes: Vec<usize> = labels.counts().to_vec();
    progress.start("Ripley's functions", Some((k + simulations) as u64));
    for code in 0..k {
        let rows = labels.members(code);
        let cells: Vec<Point> = rows.iter().map(|&row| points[row]).collect();
        let found = match config.mode {
            Mode::Default => pattern.estimate(&cells, locations, progress)?,
            Mode::Compat => {
                let others =
                    (0..points.len()).filter(|&row| labels.code(row).is_some_and(|c| c != code));
                let others: Vec<Point> = others.map(|row| points[row]).collect();
                pattern.compat(&cells, &others, locations, progress)?
            }
        };
        for (r, &value) in found.iter().enumerate() {
            values[[code, r]] = value;
            expected[[code, r]] = pattern.theory(cells.len(), distances[r]);
        }
        progress.advance(1);
    }
    if let Some(comparison) = &mut comparison {
        let mut rising = sizes.clone();
        rising.sort_unstable();
        rising.dedup();
        let simulated = envelope::simulate(&pattern, &rising, locations, progress)?;
        for (code, size) in sizes.iter().enumerate() {
            let found = values.row(code).to_vec();
            let at = rising.partition_point(|other| other < size);
            let of_size = simulated.iter().map(|functions| functions[at].as_slice());
            envelope::compare(code, &found, &of_size.collect::<Vec<_>>(), comparison);
        }
    }
    progress.finish();
    Ok(Ripley {
        region_size: region.measure(),
        distances,
        values,
        expected,
        comparison,
    })
}
