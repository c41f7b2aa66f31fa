//! Which features have a spatial pattern: how long they take to diffuse away.

use ndarray::ArrayView2;
use phenocoder_core::{CsrGraph, Progress, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{ConfigError, Error, Result};
use crate::neighbors::{CityBlock, Tree, padded};
use crate::predicates::Point;
use crate::scale::scaled;

/// The lattice of the spots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lattice {
    /// Six neighbors at the corners of a hexagon, as of Visium: Δc = ⅔ Σ c′ − 4 c.
    #[default]
    Hexagonal,
    /// Four neighbors at right angles: Δc = Σ c′ − 4 c.
    Square,
}

impl Lattice {
    /// The number of neighbors of a spot inside the lattice.
    #[must_use]
    pub fn neighbors(self) -> usize {
        match self {
            Self::Hexagonal => 6,
            Self::Square => 4,
        }
    }

    fn laplacian(self, neighbors: f64, own: f64) -> f64 {
        match self {
            Self::Hexagonal => (2.0 * neighbors - 12.0 * own) / 3.0,
            Self::Square => neighbors - 4.0 * own,
        }
    }
}

/// Settings of [`sepal`].
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::sepal::{Lattice, SepalConfig};
///
/// let config = SepalConfig::new(Lattice::Square).with_iterations(1000);
/// assert!(config.validate().is_ok());
/// assert!(config.with_time_step(0.0).validate().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SepalConfig {
    /// The lattice (default: hexagonal).
    #[doc(alias = "max_neighs")]
    pub lattice: Lattice,
    /// The most steps that are made (default 30,000).
    #[doc(alias = "n_iter")]
    pub iterations: usize,
    /// The time of a step (default 0.001, as the peer's), at most [`Self::LONGEST_STEP`].
    #[doc(alias = "dt")]
    pub time_step: f64,
    /// The change of entropy per spot and step from which on a feature counts as diffused (default 1e-8).
    #[doc(alias = "thresh")]
    pub threshold: f64,
}

impl Default for SepalConfig {
    fn default() -> Self {
        Self::new(Lattice::default())
    }
}

impl SepalConfig {
    /// The longest time of a step in which no spot gives away more than it has: 1/4, as a spot of either lattice gives 4 times
    /// its concentration per time. With longer ones concentrations swing instead of evening out.
    pub const LONGEST_STEP: f64 = 0.25;

    /// The default settings for this lattice.
    #[must_use]
    pub fn new(lattice: Lattice) -> Self {
        Self {
            lattice,
            iterations: 30_000,
            time_step: 0.001,
            threshold: 1e-8,
        }
    }

    /// Sets the most steps.
    #[must_use]
    pub fn with_iterations(mut self, iterations: usize) -> Self {
        self.iterations = iterations;
        self
    }

    /// Sets the time of a step.
    #[must_use]
    pub fn with_time_step(mut self, time: f64) -> Self {
        self.time_step = time;
        self
    }

    /// Sets the change of entropy at which diffusion is over.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] for no iterations, [`ConfigError::Length`] for a time or threshold that is not a finite number
    /// above 0, [`ConfigError::TooLarge`] for a time of more than [`Self::LONGEST_STEP`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_length("time_step", self.time_step)?;
        if self.time_step > Self::LONGEST_STEP {
            return Err(ConfigError::TooLarge {
                setting: "time_step",
                most: Self::LONGEST_STEP,
                value: self.time_step,
            });
        }
        ConfigError::check_length("threshold", self.threshold)?;
        ConfigError::check_some("iterations", self.iterations)
    }
}

/// Computes, for every column of `x`, how long its pattern on a lattice takes to diffuse away.
///
/// The values are concentrations that diffuse between neighboring spots, c ← max(c + Δt · Δc, 0) with the Laplacian of the
/// [`Lattice`], until the entropy −Σ p ln p of the parts p that the inner spots have changes by at most
/// [`SepalConfig::threshold`] per inner spot and step (Andersson and Lundeberg 2021, doi:10.1093/bioinformatics/btab164).
/// The longer that takes, the farther a feature is from an even distribution: rank features by it.
///
/// Inner spots have all neighbors of the lattice; any other spot changes as the first of its neighbors that is one, or else as
/// the inner spot nearest by the sum of the differences of the coordinates (the first of several).
/// NaN where diffusion was not over after [`SepalConfig::iterations`], for a column with a NaN or without anything on the inner
/// spots, and where there is no inner spot.
/// Values are expected to be ≥ 0; negative ones become 0 in the first step.
///
/// The cost is O(edges) per column and step, columns in parallel, and O(n log n) once.
///
/// # Shapes
///
/// `points`: `[n, d]`; `x`: `[n, p]` for a graph of n nodes; result: p.
///
/// # Examples
///
/// ```
/// use ndarray::Array2;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::neighbors::lattice_graph;
/// use phenocoder_spatial::sepal::{Lattice, SepalConfig, sepal};
///
/// let points = Array2::from_shape_fn((100, 2), |(i, axis)| [i / 10, i % 10][axis] as f64);
/// let graph = lattice_graph(points.view(), None, 4, 1)?;
/// // One half against the other, and a checkerboard.
/// let x = Array2::from_shape_fn((100, 2), |(i, f)| [i / 50, (i / 10 + i) % 2][f] as f64);
/// let times = sepal(&graph, points.view(), x.view(), &SepalConfig::new(Lattice::Square), &NoProgress)?;
/// assert!(times[0] > 5.0 * times[1]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`SepalConfig::validate`], [`Error::Degree`] for the first spot with more neighbors than the lattice has,
/// [`ShapeError::Length`] when `points` or `x` has not one row per node, those of [`radius_graph`](crate::radius_graph) for
/// the points, [`Error::Cancelled`] when `progress` asks to stop.
///
/// # Differences from squidpy
///
/// A graph whose largest degree is too *small* has no inner spots and gives NaN; squidpy fails.
/// A time step with which diffusion is not stable is refused; squidpy takes any.
pub fn sepal(
    graph: &CsrGraph,
    points: ArrayView2<'_, f64>,
    x: ArrayView2<'_, f64>,
    config: &SepalConfig,
    progress: &dyn Progress,
) -> Result<Vec<f64>> {
    config.validate()?;
    let n = graph.n_nodes();
    ShapeError::check_len("points", n, points.nrows())?;
    ShapeError::check_len("rows of features", n, x.nrows())?;
    let points = padded(points, None)?;
    let spots = Spots::new(graph, &points, config.lattice)?;
    let x = scaled(x);
    progress.start("sepal", Some(x.ncols() as u64));
    let times = (0..x.ncols())
        .into_par_iter()
        .map(|f| {
            let time = spots.diffuse(x.column(f).to_vec(), config, progress)?;
            progress.advance(1);
            Ok(time)
        })
        .collect::<Result<_>>()?;
    progress.finish();
    Ok(times)
}

/// Steps between two questions whether to stop.
const STEPS: usize = 64;

/// The spots of a lattice, inner ones and others.
struct Spots {
    lattice: Lattice,
    inner: Vec<u32>,
    /// The neighbors of the inner spots, one after the other.
    neighbors: Vec<u32>,
    /// Every other spot, and the position of the inner one whose change it takes.
    outer: Vec<(u32, u32)>,
}

impl Spots {
    fn new(graph: &CsrGraph, points: &[Point], lattice: Lattice) -> Result<Self> {
        let expected = lattice.neighbors();
        let n = graph.n_nodes();
        if let Some(node) = (0..n).find(|&node| graph.degree(node) > expected) {
            let found = graph.degree(node);
            return Err(Error::Degree {
                node,
                expected,
                found,
            });
        }
        let is_inner = |node: u32| graph.degree(node as usize) == expected;
        let inner: Vec<u32> = (0..n as u32).filter(|&node| is_inner(node)).collect();
        let of_inner = inner.iter().map(|&node| graph.neighbors(node as usize));
        let neighbors = of_inner.flatten().copied().collect();
        let position = |node: u32| inner.binary_search(&node).ok();
        let tree = Tree::new(points, inner.clone());
        let outer: Vec<u32> = (0..n as u32).filter(|&node| !is_inner(node)).collect();
        let outer = outer
            .into_par_iter()
            .map_init(Vec::new, |nearest, node| {
                let mut beside = graph.neighbors(node as usize).iter().copied();
                let source = beside.find_map(position).or_else(|| {
                    tree.nearest_by::<CityBlock>(points[node as usize], None, 1, nearest);
                    nearest.first().and_then(|&(_, row)| position(row))
                });
                // Without inner spots nothing is made of it.
                (node, source.unwrap_or(0) as u32)
            })
            .collect();
        Ok(Self {
            lattice,
            inner,
            neighbors,
            outer,
        })
    }

    /// The time until the entropy of the inner spots hardly changes.
    fn diffuse(
        &self,
        mut c: Vec<f64>,
        config: &SepalConfig,
        progress: &dyn Progress,
    ) -> Result<f64> {
        if self.inner.is_empty() || c.iter().any(|c| !c.is_finite()) {
            return Ok(f64::NAN);
        }
        let mut change = vec![0.0; self.inner.len()];
        // The entropy before the first step counts as 1, as in the peer.
        let mut before = 1.0;
        for step in 0..config.iterations {
            if step % STEPS == 0 {
                progress.check()?;
            }
            let neighbors = self.neighbors.chunks_exact(self.lattice.neighbors());
            for (change, (&node, neighbors)) in
                change.iter_mut().zip(self.inner.iter().zip(neighbors))
            {
                let sum: f64 = neighbors.iter().map(|&other| c[other as usize]).sum();
                *change = config.time_step * self.lattice.laplacian(sum, c[node as usize]);
            }
            for (&node, change) in self.inner.iter().zip(&change) {
                c[node as usize] = (c[node as usize] + change).max(0.0);
            }
            for &(node, source) in &self.outer {
                c[node as usize] = (c[node as usize] + change[source as usize]).max(0.0);
            }
            let after = self.entropy(&c) / self.inner.len() as f64;
            if (after - before).abs() <= config.threshold {
                return Ok(config.time_step * step as f64);
            }
            if after.is_nan() {
                break;
            }
            before = after;
        }
        Ok(f64::NAN)
    }

    /// ln s − Σ c ln c / s of concentrations that sum to s; NaN for s = 0.
    fn entropy(&self, c: &[f64]) -> f64 {
        let (mut sum, mut logarithms) = (0.0, 0.0);
        for &node in &self.inner {
            let c = c[node as usize];
            if c > 0.0 {
                sum += c;
                logarithms += c * libm::log(c);
            }
        }
        libm::log(sum) - logarithms / sum
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;
    use crate::radius_graph;

    fn square(edge: usize) -> (Array2<f64>, CsrGraph) {
        let at = |(i, axis): (usize, usize)| [i / edge, i % edge][axis] as f64;
        let points = Array2::from_shape_fn((edge * edge, 2), at);
        let graph = radius_graph(points.view(), 1.0).unwrap();
        (points, graph)
    }

    #[test]
    fn undefined_columns_spoil_only_themselves() {
        let (points, graph) = square(6);
        let mut x = Array2::from_shape_fn((36, 4), |(i, f)| [i as f64, 1.0, 0.0, 1.0][f]);
        x[[7, 3]] = f64::NAN;
        let config = SepalConfig::new(Lattice::Square);
        let times = sepal(&graph, points.view(), x.view(), &config, &NoProgress).unwrap();
        assert!(times[0] > 0.0 && times[1] > 0.0, "{times:?}");
        assert!(times[2].is_nan() && times[3].is_nan(), "{times:?}");
    }

    #[test]
    fn a_lattice_without_inner_spots_has_no_times_and_one_with_too_many_neighbors_is_refused() {
        let (points, graph) = square(2);
        let x = array![[1.0], [2.0], [3.0], [4.0]];
        let config = SepalConfig::new(Lattice::Square);
        let run =
            |config: &SepalConfig, graph: &CsrGraph, points: &Array2<f64>, x: &Array2<f64>| {
                sepal(graph, points.view(), x.view(), config, &NoProgress)
            };
        assert!(run(&config, &graph, &points, &x).unwrap()[0].is_nan());
        let star = Array2::from_shape_fn((7, 2), |(i, axis)| {
            let angle = i as f64;
            [libm::cos(angle), libm::sin(angle)][axis] * f64::from(u8::from(i > 0))
        });
        let all = radius_graph(star.view(), 1.5).unwrap();
        let x = Array2::ones((7, 1));
        assert!(matches!(
            run(&config, &all, &star, &x),
            Err(Error::Degree { expected: 4, .. })
        ));
        assert!(run(&config.with_iterations(0), &all, &star, &x).is_err());
        assert!(run(&config.with_threshold(f64::NAN), &all, &star, &x).is_err());
    }

    #[test]
    fn spots_without_inner_neighbors_take_the_nearest_by_the_sum_of_differences() {
        // Two blocks, and spots anywhere that are linked with none: some as near to several inner ones.
        let mut stream = phenocoder_core::Seed::new(3).stream("spots", 0);
        let (block, _) = square(12);
        let other = &block + &array![[25.0, -20.0]];
        let around =
            Array2::from_shape_simple_fn((300, 2), || stream.uniform_in(-60.0, 60.0).round());
        let points = ndarray::concatenate![ndarray::Axis(0), around, block, other];
        let padded = padded(points.view(), None).unwrap();
        let labels = (0..588).map(|i| (i >= 300).then_some("block"));
        let labels = phenocoder_core::Categorical::from_optional_labels(labels);
        let graph = crate::radius_graph_within(points.view(), &labels, 1.0).unwrap();
        let spots = Spots::new(&graph, &padded, Lattice::Square).unwrap();
        assert_eq!((spots.inner.len(), spots.outer.len()), (200, 388));
        for &(node, source) in &spots.outer {
            let distance = |&other: &u32| {
                let pairs = padded[node as usize].iter().zip(padded[other as usize]);
                pairs.map(|(a, b)| (a - b).abs()).sum::<f64>()
            };
            let nearest = spots.inner.iter().map(distance).enumerate();
            let (nearest, _) = nearest.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            let beside = graph.neighbors(node as usize).iter();
            let beside = beside.filter_map(|other| spots.inner.binary_search(other).ok());
            let expected = beside.min().unwrap_or(nearest);
            assert_eq!(source as usize, expected, "{node}");
        }
    }

    #[test]
    fn a_step_in_which_a_spot_gives_away_more_than_it_has_is_refused() {
        let config = SepalConfig::new(Lattice::Square);
        assert_eq!(config.with_time_step(0.25).validate(), Ok(()));
        let refused = config.with_time_step(0.2501).validate().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`time_step` is 0.2501, expected at most 0.25"
        );
    }

    #[test]
    fn huge_concentrations_diffuse_as_small_ones() {
        let (points, graph) = square(6);
        let x = Array2::from_shape_fn((36, 1), |(i, _)| i as f64);
        let config = SepalConfig::new(Lattice::Square);
        let run = |unit: i32| {
            let x = x.mapv(|x| libm::scalbn(x, unit));
            sepal(&graph, points.view(), x.view(), &config, &NoProgress).unwrap()[0]
        };
        assert!((run(1018) - run(0)).abs() <= 0.001 + 1e-12);
    }

    #[test]
    fn a_cancelled_diffusion_stops() {
        let (points, graph) = square(4);
        let x = Array2::ones((16, 1));
        let token = CancelToken::new();
        token.cancel();
        let config = SepalConfig::new(Lattice::Square);
        let stopped = sepal(&graph, points.view(), x.view(), &config, &token);
        assert!(matches!(stopped, Err(Error::Cancelled(_))));
    }
}
