//! How much every cell resembles its neighbors.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Zip};
use phenocoder_core::{CsrGraph, Progress, Seed, ShapeError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::permutation::exceeding;
use super::significance::{beyond_rounding, score};
use super::weights::Weights;
use super::{Centered, SpatialWeights, Tail, adjust_fdr};
use crate::error::{ConfigError, Result};
use crate::neighbors::without_loops;

/// On which side of the mean a cell and the mean of its neighbors lie: the quadrants of the Moran scatter plot.
///
/// A value that equals the mean counts as low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Quadrant {
    /// High among high: a hot spot. PySAL's 1.
    HighHigh,
    /// Low among high. PySAL's 2.
    LowHigh,
    /// Low among low: a cold spot. PySAL's 3.
    LowLow,
    /// High among low. PySAL's 4.
    HighLow,
}

impl Quadrant {
    /// The usual abbreviation: `HH`, `LH`, `LL` or `HL`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::HighHigh => "HH",
            Self::LowHigh => "LH",
            Self::LowLow => "LL",
            Self::HighLow => "HL",
        }
    }

    fn of(own: f64, neighbors: f64) -> Self {
        match (own > 0.0, neighbors > 0.0) {
            (true, true) => Self::HighHigh,
            (false, true) => Self::LowHigh,
            (false, false) => Self::LowLow,
            (true, false) => Self::HighLow,
        }
    }
}

/// Which arrangements of the values the moments of a local statistic are of (Sokal et al. 1998,
/// doi:10.1111/j.1538-4632.1998.tb00406.x).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LocalNull {
    /// The cell keeps its value, those of all others are arranged anew: what permutations sample too.
    #[default]
    Conditional,
    /// The values of all cells are arranged anew (Anselin 1995).
    Total,
}

/// Settings of the local statistics.
///
/// # Examples
///
/// ```
/// use phenocoder_spatial::autocorrelation::{LocalConfig, Tail};
///
/// let pysal = LocalConfig::new().with_permutations(999).with_tail(Tail::One);
/// assert_eq!(pysal.permutations, 999);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LocalConfig {
    /// The weights of the edges (default: those of every cell sum to 1).
    pub weights: SpatialWeights,
    /// Which arrangements the moments are of (default: those that leave the cell its value).
    pub moments: LocalNull,
    /// The number of conditional permutations; with 0, the default, none are made.
    ///
    /// A local statistic of few neighbors is far from normally distributed, so permutations are worth their cost where
    /// p-values matter.
    pub permutations: usize,
    /// Which deviations count (default: those in both directions).
    ///
    /// PySAL counts those in the direction found. Such p-values are half as large, and adjusting them
    /// ([`LocalAutocorrelation::adjusted`]) lets up to twice as many false discoveries through.
    pub tail: Tail,
    /// The seed of the permutations (default 0).
    pub seed: Seed,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            weights: SpatialWeights::default(),
            moments: LocalNull::default(),
            permutations: 0,
            tail: Tail::Two,
            seed: Seed::new(0),
        }
    }
}

impl LocalConfig {
    /// The default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weights.
    #[must_use]
    pub fn with_weights(mut self, weights: SpatialWeights) -> Self {
        self.weights = weights;
        self
    }

    /// Sets which arrangements the moments are of.
    #[must_use]
    pub fn with_moments(mut self, moments: LocalNull) -> Self {
        self.moments = moments;
        self
    }

    /// Sets the number of permutations.
    #[must_use]
    pub fn with_permutations(mut self, permutations: usize) -> Self {
        self.permutations = permutations;
        self
    }

    /// Sets which deviations count.
    #[must_use]
    pub fn with_tail(mut self, tail: Tail) -> Self {
        self.tail = tail;
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
    /// [`ConfigError::TooMany`] for more permutations than 32-bit numbers can count.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::check_countable("permutations", self.permutations)
    }
}

/// A statistic of every cell.
///
/// A cell without neighbors has NaN and no quadrant, and so has every cell of a column that is constant or has a NaN.
///
/// # Shapes
///
/// All matrices: `[n, p]` for n cells and p columns.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LocalAutocorrelation {
    /// The statistic.
    pub statistic: Array2<f64>,
    /// The value expected by chance.
    pub expected: Array2<f64>,
    /// Its variance by chance.
    pub variance: Array2<f64>,
    /// (statistic − expected) / √variance; NaN where the statistic cannot vary, as for a cell that is linked with all others.
    pub z: Array2<f64>,
    /// The probability of such a z, by the normal distribution.
    pub p_value_normal: Array2<f64>,
    /// (k + 1) / (permutations + 1), where k permutations are at least as extreme on the side on which there are fewer;
    /// `None` when none were made.
    #[doc(alias = "p_sim")]
    pub p_value: Option<Array2<f64>>,
    /// Where the cell lies in the Moran scatter plot.
    #[doc(alias = "q")]
    pub quadrant: Array2<Option<Quadrant>>,
}

impl LocalAutocorrelation {
    /// The p-values (of permutations where there are any) of every column, adjusted over its cells by [`adjust_fdr`].
    ///
    /// They should be those of [`Tail::Two`], the default.
    #[must_use]
    pub fn adjusted(&self) -> Array2<f64> {
        let mut adjusted = self
            .p_value
            .as_ref()
            .unwrap_or(&self.p_value_normal)
            .clone();
        for mut column in adjusted.columns_mut() {
            let values = adjust_fdr(&column.to_vec());
            column.iter_mut().zip(values).for_each(|(p, q)| *p = q);
        }
        adjusted
    }

    /// The quadrants of the cells whose [`adjusted`](Self::adjusted) p-value is at most `alpha`.
    #[must_use]
    pub fn significant(&self, alpha: f64) -> Array2<Option<Quadrant>> {
        Zip::from(&self.quadrant)
            .and(&self.adjusted())
            .map_collect(|&quadrant, &p| quadrant.filter(|_| p <= alpha))
    }
}

/// Computes the local Moran's I of every cell and column.
///
/// Iᵢ = (zᵢ / m₂) Σⱼ gᵢⱼ zⱼ with z = x − mean and m₂ = Σ z² / n (Anselin 1995, doi:10.1111/j.1538-4632.1995.tb00338.x).
/// Positive where a cell is like its neighbors, negative where it is unlike them; the sum over all cells is
/// S₀ · [`moran_i`](super::moran_i).
///
/// With the sums w of a cell's weights and w₂ of their squares, and mean μ and variance σ² of the terms zᵢ zⱼ / m₂ over all
/// *other* cells j, E = w μ and Var = σ² ((n − 1) w₂ − w²) / (n − 2): the exact moments of the conditional permutations.
/// Those of [`LocalNull::Total`] follow by averaging over the value that the cell could have.
/// The adjusted p-values are [`LocalAutocorrelation::adjusted`].
///
/// Loops are left out, as the definition has them.
/// The cost is O(edges · p) and that once more for every permutation, in memory that does not grow with their number.
/// All cells share the draws of a permutation, as in PySAL: a cell of k neighbors takes the first k, so its p-value depends
/// neither on how many neighbors other cells have nor on the number of threads.
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::autocorrelation::{LocalConfig, Quadrant, local_moran};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[1.0], [1.0], [3.0], [3.0]];
/// let local = local_moran(&graph, x.view(), &LocalConfig::new(), &NoProgress)?;
/// assert_eq!(local.statistic, array![[1.0], [0.0], [0.0], [1.0]]);
/// assert_eq!(local.quadrant[[3, 0]], Some(Quadrant::HighHigh));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`ShapeError::Length`] when `x` has not one row per node, those of [`LocalConfig::validate`], and
/// [`Error::Cancelled`](crate::Error::Cancelled) when `progress` asks to stop.
///
/// # Differences from PySAL
///
/// PySAL multiplies by (n − 1) / Σ z² instead of n / Σ z², a cell without neighbors has 0, and p-values are one-sided
/// ([`Tail::One`]).
/// The p-values count permutations that tie with the statistic up to rounding on both sides.
#[doc(alias = "Moran_Local")]
pub fn local_moran(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    config: &LocalConfig,
    progress: &dyn Progress,
) -> Result<LocalAutocorrelation> {
    let x = Standard::new(Centered::new(graph, x)?);
    run(graph, &x, &x, Form::Product, config, progress)
}

/// Computes the local bivariate Moran's I of every cell and column.
///
/// Iᵢ = uᵢ Σⱼ gᵢⱼ vⱼ with u and v the columns of `x` and `y`, less their means and divided by their standard deviations
/// (Anselin, Syabri and Smirnov 2002; with y = x it is [`local_moran`]).
/// The sum over all cells is S₀ · [`bivariate_moran`](super::bivariate_moran).
/// The null is that of [`local_moran`]: the cell keeps both of its values, those of `y` of all others are arranged anew.
/// Quadrants are of a cell's `x` and its neighbors' `y`.
/// The cost is that of [`local_moran`].
///
/// # Shapes
///
/// `x`, `y`: `[n, p]` for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::autocorrelation::{LocalConfig, Quadrant, local_bivariate_moran};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[1.0], [1.0], [3.0], [3.0]];
/// let y = array![[5.0], [5.0], [1.0], [1.0]];
/// let local = local_bivariate_moran(&graph, x.view(), y.view(), &LocalConfig::new(), &NoProgress)?;
/// assert_eq!(local.statistic, array![[-1.0], [0.0], [0.0], [-1.0]]);
/// assert_eq!(local.quadrant[[0, 0]], Some(Quadrant::LowHigh));
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`local_moran`], and [`ShapeError::Length`] when `y` has another shape.
#[doc(alias = "Moran_Local_BV")]
pub fn local_bivariate_moran(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    y: ArrayView2<'_, f64>,
    config: &LocalConfig,
    progress: &dyn Progress,
) -> Result<LocalAutocorrelation> {
    ShapeError::check_len("columns of the second features", x.ncols(), y.ncols())?;
    let x = Standard::new(Centered::new(graph, x)?);
    let y = Standard::new(Centered::new(graph, y)?);
    run(graph, &x, &y, Form::Product, config, progress)
}

/// Computes the local Geary's c of every cell and column.
///
/// cᵢ = Σⱼ gᵢⱼ (zᵢ − zⱼ)² / m₂, with the terms of [`local_moran`] (Anselin 1995, 2019, doi:10.1111/gean.12164).
/// Small where a cell is like its neighbors, whatever its value; the sum over all cells is
/// 2 S₀ n / (n − 1) · [`geary_c`](super::geary_c).
/// Moments and permutations are those of [`local_moran`] for the terms (zᵢ − zⱼ)² / m₂, whose mean over other cells is
/// n (zᵢ² / m₂ + 1) / (n − 1).
/// The cost is that of [`local_moran`].
///
/// # Shapes
///
/// `x`: `[n, p]` for a graph of n nodes.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::NoProgress;
/// use phenocoder_spatial::autocorrelation::{LocalConfig, local_geary};
/// use phenocoder_spatial::radius_graph;
///
/// let graph = radius_graph(array![[0.0], [1.0], [2.0], [3.0]].view(), 1.0)?;
/// let x = array![[1.0], [1.0], [3.0], [3.0]];
/// let local = local_geary(&graph, x.view(), &LocalConfig::new(), &NoProgress)?;
/// assert_eq!(local.statistic, array![[0.0], [2.0], [2.0], [0.0]]);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// As [`local_moran`].
#[doc(alias = "Geary_Local")]
pub fn local_geary(
    graph: &CsrGraph,
    x: ArrayView2<'_, f64>,
    config: &LocalConfig,
    progress: &dyn Progress,
) -> Result<LocalAutocorrelation> {
    let x = Standard::new(Centered::new(graph, x)?);
    run(graph, &x, &x, Form::SquaredDifference, config, progress)
}

/// Columns of mean 0 and variance 1, row after row.
struct Standard {
    z: Vec<f64>,
    p: usize,
    varies: Vec<bool>,
}

impl Standard {
    fn new(centered: Centered) -> Self {
        let Centered {
            mut z,
            squares,
            varies,
        } = centered;
        let p = squares.len();
        let n = z.len().checked_div(p).unwrap_or(0) as f64;
        let deviations: Vec<f64> = squares.iter().map(|s| (s / n).sqrt()).collect();
        for (i, z) in z.iter_mut().enumerate() {
            *z /= deviations[i % p];
        }
        Self { z, p, varies }
    }

    fn column(&self, f: usize) -> impl Iterator<Item = f64> {
        self.z.iter().copied().skip(f).step_by(self.p.max(1))
    }
}

/// What a neighbor adds.
#[derive(Clone, Copy)]
enum Form {
    Product,
    SquaredDifference,
}

impl Form {
    fn term(self, own: f64, other: f64) -> f64 {
        match self {
            Self::Product => own * other,
            Self::SquaredDifference => (own - other) * (own - other),
        }
    }

    /// How large the terms of a cell are, as other values are about 1.
    fn size(self, own: f64) -> f64 {
        match self {
            Self::Product => own.abs(),
            Self::SquaredDifference => own * own + 1.0,
        }
    }

    /// Mean and variance of the terms of a cell with all others, `n` with it.
    fn moments(self, n: f64, x: f64, y: f64, third: f64, fourth: f64) -> (f64, f64) {
        let others = n - 1.0;
        match self {
            Self::Product => {
                let mean = -y / others;
                let variance = (n - y * y) / others - mean * mean;
                (x * mean, x * x * variance)
            }
            Self::SquaredDifference => {
                let mean = n * (x * x + 1.0) / others;
                let square = x.powi(4) + 6.0 * x * x - 4.0 * x * third + fourth;
                (mean, n * square / others - mean * mean)
            }
        }
    }
}

/// The moments of one column, over all cells.
struct Column {
    third: f64,
    fourth: f64,
    /// Mean and variance over the cells of the mean of their terms, and the mean of the variances.
    mean: f64,
    between: f64,
    within: f64,
}

impl Column {
    fn new(x: &Standard, y: &Standard, f: usize, form: Form) -> Self {
        let n = x.z.len().checked_div(x.p).unwrap_or(0) as f64;
        let power = |e: i32| x.column(f).map(|z| z.powi(e)).sum::<f64>() / n;
        let (third, fourth) = (power(3), power(4));
        let moments = || {
            let pairs = x.column(f).zip(y.column(f));
            pairs.map(|(x, y)| form.moments(n, x, y, third, fourth))
        };
        let mean = moments().map(|(mean, _)| mean).sum::<f64>() / n;
        Self {
            third,
            fourth,
            mean,
            between: moments().map(|(m, _)| (m - mean).powi(2)).sum::<f64>() / n,
            within: moments().map(|(_, variance)| variance).sum::<f64>() / n,
        }
    }
}

/// One entry of the result.
#[derive(Clone, Copy)]
struct Entry {
    statistic: f64,
    expected: f64,
    variance: f64,
    p_value: f64,
    quadrant: Option<Quadrant>,
}

/// Cells whose entries are made together.
const RUN: usize = 256;

/// Permutations between two questions whether to stop.
const PERMUTATIONS: usize = 16;

fn run(
    graph: &CsrGraph,
    x: &Standard,
    y: &Standard,
    form: Form,
    config: &LocalConfig,
    progress: &dyn Progress,
) -> Result<LocalAutocorrelation> {
    config.validate()?;
    let graph = without_loops(graph);
    let (n, p) = (graph.n_nodes(), x.p);
    let weights = config.weights.of(&graph);
    let columns: Vec<Column> = (0..p).map(|f| Column::new(x, y, f, form)).collect();
    let cells = Cells {
        weights: &weights,
        x,
        y,
        form,
        columns: &columns,
        config,
    };
    let steps = (n as u64).saturating_mul(config.permutations as u64 + 1);
    progress.start("local autocorrelation", Some(steps));
    let others = match config.permutations {
        0 => 0,
        _ => n.saturating_sub(1) as u32,
    };
    let runs: Vec<Vec<Entry>> = (0..n.div_ceil(RUN))
        .into_par_iter()
        .map_init(
            || Draws::new(others),
            |draws, run| {
                progress.check()?;
                let nodes = run * RUN..n.min((run + 1) * RUN);
                let mut entries = Vec::with_capacity(nodes.len() * p);
                nodes
                    .clone()
                    .for_each(|node| cells.append(node, &mut entries));
                progress.advance(nodes.len() as u64);
                if config.permutations > 0 {
                    cells.permute(nodes, &mut entries, draws, progress)?;
                }
                Ok(entries)
            },
        )
        .collect::<Result<_>>()?;
    progress.finish();
    let entries = || runs.iter().flatten();
    let matrix = |value: fn(&Entry) -> f64| {
        let values = entries().map(value).collect();
        Array2::from_shape_vec((n, p), values).expect("every cell has p entries")
    };
    let quadrant = entries().map(|entry| entry.quadrant).collect();
    let (statistic, expected) = (matrix(|e| e.statistic), matrix(|e| e.expected));
    let variance = matrix(|e| e.variance);
    let z = Zip::from(&statistic)
        .and(&expected)
        .and(&variance)
        .map_collect(|&s, &e, &v| score(s, e, v));
    Ok(LocalAutocorrelation {
        p_value_normal: z.mapv(|z| config.tail.of_normal(z)),
        p_value: (config.permutations > 0).then(|| matrix(|e| e.p_value)),
        quadrant: Array2::from_shape_vec((n, p), quadrant).expect("every cell has p entries"),
        statistic,
        expected,
        variance,
        z,
    })
}

/// What the entries of all cells are made of.
struct Cells<'a> {
    weights: &'a Weights<'a>,
    x: &'a Standard,
    y: &'a Standard,
    form: Form,
    columns: &'a [Column],
    config: &'a LocalConfig,
}

impl Cells<'_> {
    /// Appends the entries of a cell, one per column, without p-values.
    fn append(&self, node: usize, entries: &mut Vec<Entry>) {
        let (n, p) = (self.weights.n_nodes() as f64, self.columns.len());
        let own = &self.x.z[node * p..][..p];
        let own_other = &self.y.z[node * p..][..p];
        let edges: Vec<(usize, f64)> = self.weights.row(node).collect();
        let mut lag = vec![0.0; p];
        for &(other, weight) in &edges {
            for (lag, y) in lag.iter_mut().zip(&self.y.z[other * p..]) {
                *lag += weight * y;
            }
        }
        let sum: f64 = edges.iter().map(|(_, w)| w).sum();
        let squares: f64 = edges.iter().map(|(_, w)| w * w).sum();
        // The variance of a weighted sum of draws without replacement, for a variance of 1.
        let spread = beyond_rounding((n - 1.0) * squares - sum * sum, sum * sum);
        // Not `max`, which makes 0 of what is no number.
        let spread = if n <= 2.0 || spread < 0.0 {
            0.0
        } else {
            spread / (n - 2.0)
        };
        let mut found = vec![0.0; p];
        self.sum(own, edges.iter().copied(), &mut found);
        for (f, column) in self.columns.iter().enumerate() {
            if edges.is_empty() || !(self.x.varies[f] && self.y.varies[f]) {
                entries.push(Entry {
                    statistic: f64::NAN,
                    expected: f64::NAN,
                    variance: f64::NAN,
                    p_value: f64::NAN,
                    quadrant: None,
                });
                continue;
            }
            let (mean, variance) = match self.config.moments {
                LocalNull::Conditional => {
                    let (x, y) = (own[f], own_other[f]);
                    let (mean, variance) = self.form.moments(n, x, y, column.third, column.fourth);
                    (mean, variance.max(0.0) * spread)
                }
                LocalNull::Total => {
                    let between = sum * sum * column.between;
                    (column.mean, column.within * spread + between)
                }
            };
            entries.push(Entry {
                statistic: found[f],
                expected: sum * mean,
                variance,
                p_value: f64::NAN,
                quadrant: Some(Quadrant::of(own[f], lag[f])),
            });
        }
    }

    /// Σ w f(own, other) of every column.
    fn sum(&self, own: &[f64], edges: impl Iterator<Item = (usize, f64)>, sums: &mut [f64]) {
        let p = own.len();
        sums.fill(0.0);
        for (other, weight) in edges {
            let others = &self.y.z[other * p..][..p];
            for (sum, (&own, &other)) in sums.iter_mut().zip(own.iter().zip(others)) {
                *sum += weight * self.form.term(own, other);
            }
        }
    }

    /// Sets the p-values of the entries of a run of cells.
    ///
    /// The draws of a permutation are made once for the run and not kept, so that memory does not grow with their number.
    fn permute(
        &self,
        nodes: Range<usize>,
        entries: &mut [Entry],
        draws: &mut Draws,
        progress: &dyn Progress,
    ) -> Result<()> {
        let p = self.columns.len();
        let weights: Vec<Vec<f64>> = nodes
            .clone()
            .map(|node| self.weights.row(node).map(|(_, weight)| weight).collect())
            .collect();
        let most = weights.iter().map(Vec::len).max().unwrap_or(0);
        let totals: Vec<f64> = weights
            .iter()
            .map(|weights| weights.iter().map(|weight| weight.abs()).sum())
            .collect();
        let mut counts = vec![[0_usize; 2]; entries.len()];
        let mut sums = vec![0.0; p];
        let n = self.config.permutations;
        for permutation in 0..n {
            if permutation % PERMUTATIONS == 0 {
                progress.check()?;
                progress.advance((nodes.len() * PERMUTATIONS.min(n - permutation)) as u64);
            }
            let numbers = draws.make(self.config.seed, permutation, most);
            for (i, node) in nodes.clone().enumerate() {
                let own = &self.x.z[node * p..][..p];
                // Numbers from the cell's own on name the cell after.
                let drawn = numbers
                    .iter()
                    .map(|&d| d as usize + usize::from(d as usize >= node));
                self.sum(own, drawn.zip(weights[i].iter().copied()), &mut sums);
                let of_cell = i * p..(i + 1) * p;
                let pairs = entries[of_cell.clone()].iter().zip(&mut counts[of_cell]);
                for (f, (entry, counts)) in pairs.enumerate() {
                    let size = totals[i] * self.form.size(own[f]);
                    let [above, below] = exceeding(entry.statistic, sums[f], size);
                    counts[0] += usize::from(above);
                    counts[1] += usize::from(below);
                }
            }
        }
        for (entry, [above, below]) in entries.iter_mut().zip(counts) {
            if !entry.statistic.is_nan() {
                entry.p_value = self.config.tail.of_counts(above, below, n);
            }
        }
        Ok(())
    }
}

/// Different numbers of other cells, in the order in which they are drawn: a cell of few neighbors takes the first ones.
struct Draws {
    numbers: Vec<u32>,
    /// Which number each of the first ones was exchanged with.
    exchanged: Vec<usize>,
}

impl Draws {
    fn new(others: u32) -> Self {
        Self {
            numbers: (0..others).collect(),
            exchanged: Vec::new(),
        }
    }

    /// The first `k` numbers of a permutation, which are the same whatever `k` is (the first steps of Fisher and Yates).
    fn make(&mut self, seed: Seed, permutation: usize, k: usize) -> &[u32] {
        while let Some(with) = self.exchanged.pop() {
            self.numbers.swap(self.exchanged.len(), with);
        }
        let mut stream = seed.stream("local autocorrelation", permutation as u64);
        for i in 0..k {
            let with = i + stream.below(self.numbers.len() - i);
            self.numbers.swap(i, with);
            self.exchanged.push(with);
        }
        &self.numbers[..k]
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use phenocoder_core::NoProgress;

    use super::*;

    #[test]
    fn values_at_the_mean_are_low_and_so_are_neighbors() {
        let graph = crate::radius_graph(array![[0.0], [1.0], [2.0]].view(), 1.0).unwrap();
        let x = array![[-1.0, 0.0], [0.0, -1.0], [1.0, 1.0]];
        let local = local_moran(&graph, x.view(), &LocalConfig::new(), &NoProgress).unwrap();
        let labels = local.quadrant.map(|quadrant| quadrant.map(Quadrant::label));
        let expected = array![["LL", "LL"], ["LL", "LH"], ["HL", "HL"]];
        assert_eq!(labels, expected.map(|&label| Some(label)));
    }
}
