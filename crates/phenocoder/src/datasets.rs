//! Synthetic tissue with known truth.
//!
//! Examples, tests and benchmarks run on it: cells of several types that differ in size, elongation, texture and channel
//! intensities lie in spatial domains, in samples of two conditions that were stained in two batches.
//!
//! * **Types** (`true_type`): `lymphocyte` (small, round, bright DNA), `epithelial` (large, round, bright rim), `fibroblast`
//!   (elongated, graded marker), `macrophage` (medium, speckled marker).
//! * **Domains** (`domain`): each sample is divided into patches of tissue around random centres.
//!   In the condition `control` a domain consists mostly of one type; in `treated` the types are intermingled.
//!   The proportions of the types are the same in both, so only the arrangement tells the conditions apart.
//! * **Batches** (`batch`): the second one is brighter, has more background and more noise.
//!
//! # Examples
//!
//! ```
//! use phenocoder::core::{ImageSource, NoProgress};
//! use phenocoder::datasets::{TissueConfig, tissue_sample};
//!
//! let config = TissueConfig::default().with_cells_per_sample(30);
//! let sample = tissue_sample(&config, 0)?;
//! assert_eq!(sample.cells.len(), sample.truth.len());
//! assert_eq!(sample.image.channels(), ["DNA", "membrane", "marker"]);
//! # Ok::<(), phenocoder::Error>(())
//! ```

mod planted;
mod render;
mod write;

use ndarray::{Array2, Array3, Array4};
use phenocoder_core::{
    Categorical, Cells, Column, Coords, MemoryImage, MemoryLabels, Seed, Stream, Unit,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
pub use planted::{PLANTED_TYPES, PlantedCells, PlantedConfig, PlantedTruth, planted_cells};
pub use write::{TissueReport, write_tissue};

/// The names of the cell types, in the order of their codes.
pub const CELL_TYPES: [&str; 4] = ["lymphocyte", "epithelial", "fibroblast", "macrophage"];
/// The names of the conditions.
pub const CONDITIONS: [&str; 2] = ["control", "treated"];
/// The names of the batches.
pub const BATCHES: [&str; 2] = ["batch_1", "batch_2"];
/// The names of the channels.
pub const CHANNELS: [&str; 3] = ["DNA", "membrane", "marker"];

/// What synthetic tissue is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TissueConfig {
    /// Samples of each condition in each batch (default 3, so 12 samples).
    pub samples_per_group: usize,
    /// Cells of each sample (default 400).
    pub cells_per_sample: usize,
    /// Slices of each image: 1 makes 2-D images (the default), more make 3-D ones.
    pub slices: usize,
    /// Domains of each sample (default 8).
    pub domains: usize,
    /// The share of a domain's cells that have the domain's type, in control samples (default 0.85).
    pub purity: f64,
    /// Micrometres between pixels of a row and of a column (default 0.5).
    pub pixel_size_um: f64,
    /// Micrometres between slices (default 2).
    pub slice_distance_um: f64,
    /// Whether the second batch differs from the first (default true).
    pub batch_effect: bool,
    /// How much it does (default 1): it is `1 + 0.35 s` times as bright, on `1 + s` times the background, and the noise that
    /// does not depend on the signal has a standard deviation of `25 + 15 s`.
    pub batch_strength: f64,
    /// Where chance comes from.
    pub seed: Seed,
}

impl Default for TissueConfig {
    fn default() -> Self {
        Self {
            samples_per_group: 3,
            cells_per_sample: 400,
            slices: 1,
            domains: 8,
            purity: 0.85,
            pixel_size_um: 0.5,
            slice_distance_um: 2.0,
            batch_effect: true,
            batch_strength: 1.0,
            seed: Seed::new(0),
        }
    }
}

impl TissueConfig {
    /// Sets the number of samples of each condition in each batch.
    #[must_use]
    pub fn with_samples_per_group(mut self, samples: usize) -> Self {
        self.samples_per_group = samples;
        self
    }

    /// Sets the number of cells of each sample.
    #[must_use]
    pub fn with_cells_per_sample(mut self, cells: usize) -> Self {
        self.cells_per_sample = cells;
        self
    }

    /// Sets the number of slices.
    #[must_use]
    pub fn with_slices(mut self, slices: usize) -> Self {
        self.slices = slices;
        self
    }

    /// Sets the share of a domain's cells that have the domain's type; at 0 all types are equally likely everywhere.
    #[must_use]
    pub fn with_purity(mut self, purity: f64) -> Self {
        self.purity = purity;
        self
    }

    /// Sets how much the second batch differs from the first.
    #[must_use]
    pub fn with_batch_strength(mut self, strength: f64) -> Self {
        self.batch_strength = strength;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// The number of samples: conditions × batches × samples of each group.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        CONDITIONS.len() * BATCHES.len() * self.samples_per_group
    }

    /// Checks every rule.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that names the first field outside its range.
    pub fn validate(&self) -> Result<()> {
        let rules = [
            (
                self.samples_per_group >= 1,
                "samples_per_group",
                "at least 1",
            ),
            (self.cells_per_sample >= 1, "cells_per_sample", "at least 1"),
            (self.slices >= 1, "slices", "at least 1"),
            (self.domains >= 1, "domains", "at least 1"),
            (
                (0.0..=1.0).contains(&self.purity),
                "purity",
                "between 0 and 1",
            ),
            (self.pixel_size_um > 0.0, "pixel_size_um", "above 0"),
            (self.slice_distance_um > 0.0, "slice_distance_um", "above 0"),
            (
                (0.0..=10.0).contains(&self.batch_strength),
                "batch_strength",
                "between 0 and 10",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, expected)) => Err(Error::config("tissue", field, expected)),
            None => Ok(()),
        }
    }
}

/// What is true of one cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellTruth {
    /// The position in [`CELL_TYPES`].
    pub cell_type: usize,
    /// The domain of the sample.
    pub domain: usize,
}

/// One sample of synthetic tissue.
#[derive(Debug, Clone)]
pub struct TissueSample {
    /// The name: condition, batch and number.
    pub name: String,
    /// The position in [`CONDITIONS`].
    pub condition: usize,
    /// The position in [`BATCHES`].
    pub batch: usize,
    /// The image, channels [`CHANNELS`].
    pub image: MemoryImage,
    /// The mask; labels are 1, 2, … in the order of `cells`.
    pub labels: MemoryLabels,
    /// The cells with their positions in pixels and the columns `true_type`, `domain`, `condition`, `batch`.
    pub cells: Cells,
    /// What is true of each cell.
    pub truth: Vec<CellTruth>,
}

/// Makes the sample of this number, `0 .. config.n_samples()`.
///
/// Each sample depends on the seed and its own number alone.
///
/// # Errors
///
/// [`Error::Config`] when the configuration is out of range or there is no such sample.
pub fn tissue_sample(config: &TissueConfig, index: usize) -> Result<TissueSample> {
    config.validate()?;
    if index >= config.n_samples() {
        return Err(Error::config(
            "tissue",
            "index",
            "below the number of samples",
        ));
    }
    let group = index / config.samples_per_group;
    let (condition, batch) = (group / BATCHES.len(), group % BATCHES.len());
    let number = index % config.samples_per_group + 1;
    let name = format!("{}_{}_{number}", CONDITIONS[condition], BATCHES[batch]);

    let mut random = config.seed.stream("tissue", index as u64);
    let layout = Layout::new(config, &mut random);
    let truth = assign_types(config, &layout, condition, &mut random);
    let strength = match config.batch_effect && batch == 1 {
        true => config.batch_strength,
        false => 0.0,
    };
    let (pixels, mask) = render::render(&layout, &truth, strength, &mut random);
    let cells = cells(&layout, &truth, &name, condition, batch)?;
    let channels = CHANNELS.map(str::to_owned).to_vec();
    Ok(TissueSample {
        image: MemoryImage::new(format!("image_{name}"), pixels, channels)?,
        labels: MemoryLabels::new(format!("cells_{name}"), mask),
        cells,
        truth,
        name,
        condition,
        batch,
    })
}

/// Where the cells of a sample lie, in pixels.
struct Layout {
    /// `(z, y, x)` of each cell.
    centers: Vec<[f64; 3]>,
    /// `(z, y, x)` of each domain's centre.
    domains: Vec<[f64; 3]>,
    /// Slices, rows, columns of the image.
    extent: [usize; 3],
    /// Pixels of a row that equal the distance of two slices.
    anisotropy: f64,
}

/// The mean distance of two cells, in pixels of a row.
const SPACING: f64 = 20.0;

impl Layout {
    /// A jittered grid that is filled from random places, so that there is room for each cell.
    fn new(config: &TissueConfig, random: &mut Stream) -> Self {
        let anisotropy = config.slice_distance_um / config.pixel_size_um;
        let slice_spacing = SPACING / anisotropy;
        let layers = if config.slices == 1 {
            1
        } else {
            ((config.slices as f64 / slice_spacing).floor() as usize).max(1)
        };
        let per_layer = config.cells_per_sample.div_ceil(layers);
        let side = (per_layer as f64 / 0.95).sqrt().ceil() as usize;
        let places = layers * side * side;
        let extent = [
            config.slices,
            (side as f64 * SPACING) as usize,
            (side as f64 * SPACING) as usize,
        ];
        let jitter = 0.12 * SPACING;
        let centers = random
            .choose(places, config.cells_per_sample)
            .into_iter()
            .map(|place| {
                let (z, y, x) = (place / (side * side), place / side % side, place % side);
                let shifted = if y % 2 == 0 { 0.25 } else { 0.75 };
                let mut at = |cell: f64| cell * SPACING + random.uniform_in(-jitter, jitter);
                let (y, x) = (at(y as f64 + 0.5), at(x as f64 + shifted));
                let z = if layers == 1 {
                    (config.slices - 1) as f64 / 2.0
                } else {
                    (z as f64 + 0.5) * config.slices as f64 / layers as f64 - 0.5
                };
                let last = |n: usize| (n - 1) as f64;
                [
                    z,
                    y.clamp(0.0, last(extent[1])),
                    x.clamp(0.0, last(extent[2])),
                ]
            })
            .collect();
        let domains = (0..config.domains)
            .map(|_| extent.map(|n| random.uniform_in(0.0, n as f64)))
            .collect();
        Self {
            centers,
            domains,
            extent,
            anisotropy,
        }
    }

    /// The domain whose centre is nearest.
    fn domain(&self, [z, y, x]: [f64; 3]) -> usize {
        let distance = |[dz, dy, dx]: &[f64; 3]| {
            ((z - dz) * self.anisotropy).powi(2) + (y - dy).powi(2) + (x - dx).powi(2)
        };
        let nearest = self
            .domains
            .iter()
            .enumerate()
            .min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        nearest.map_or(0, |(domain, _)| domain)
    }
}

/// Gives each cell its type: by domain in control tissue, the same types in random order in treated tissue.
fn assign_types(
    config: &TissueConfig,
    layout: &Layout,
    condition: usize,
    random: &mut Stream,
) -> Vec<CellTruth> {
    let domains: Vec<usize> = layout.centers.iter().map(|&c| layout.domain(c)).collect();
    let mut types: Vec<usize> = domains
        .iter()
        .map(|domain| {
            if random.chance(config.purity) {
                domain % CELL_TYPES.len()
            } else {
                random.below(CELL_TYPES.len())
            }
        })
        .collect();
    if condition == 1 {
        random.shuffle(&mut types);
    }
    types
        .into_iter()
        .zip(domains)
        .map(|(cell_type, domain)| CellTruth { cell_type, domain })
        .collect()
}

fn cells(
    layout: &Layout,
    truth: &[CellTruth],
    name: &str,
    condition: usize,
    batch: usize,
) -> Result<Cells> {
    let n = truth.len();
    let is_3d = layout.extent[0] > 1;
    let positions = Array2::from_shape_fn((n, if is_3d { 3 } else { 2 }), |(row, axis)| {
        layout.centers[row][if is_3d { axis } else { axis + 1 }]
    });
    let mut cells = Cells::new(
        Column::Int((1..=n as i64).collect()),
        Categorical::from_labels(vec![name; n]),
        Coords::new(positions, Unit::Pixel)?,
    )?;
    let code = |codes: Vec<i32>, names: &[&str]| {
        let names = names.iter().map(|&s| s.to_owned()).collect();
        Categorical::new(codes, names).map(Column::Categorical)
    };
    let types = truth.iter().map(|t| t.cell_type as i32).collect();
    cells.insert("true_type", code(types, &CELL_TYPES)?)?;
    let domains = truth.iter().map(|t| format!("domain_{}", t.domain + 1));
    cells.insert(
        "domain",
        Column::Categorical(Categorical::from_labels(domains)),
    )?;
    cells.insert("condition", code(vec![condition as i32; n], &CONDITIONS)?)?;
    cells.insert("batch", code(vec![batch as i32; n], &BATCHES)?)?;
    Ok(cells)
}

/// Pixels `[c, z, y, x]` and the mask `[z, y, x]` of a sample.
type Rendered = (Array4<f32>, Array3<u64>);

#[cfg(test)]
mod tests {
    use super::*;
    use phenocoder_core::{ImageSource, LabelSource};

    fn small() -> TissueConfig {
        TissueConfig::default()
            .with_cells_per_sample(60)
            .with_samples_per_group(1)
    }

    fn mask(sample: &TissueSample) -> Vec<u64> {
        let shape = sample.labels.shape();
        let mut out = vec![0; shape.z * shape.y * shape.x];
        sample
            .labels
            .read_region(&shape.region(), &mut out)
            .unwrap();
        out
    }

    #[test]
    fn the_same_seed_makes_the_same_sample() {
        let (a, b) = (
            tissue_sample(&small(), 2).unwrap(),
            tissue_sample(&small(), 2).unwrap(),
        );
        assert_eq!(a.cells, b.cells);
        assert_eq!(mask(&a), mask(&b));
        let other = tissue_sample(&small().with_seed(Seed::new(1)), 2).unwrap();
        assert_ne!(a.cells, other.cells);
    }

    #[test]
    fn every_cell_covers_its_own_centre() {
        for slices in [1, 12] {
            let sample = tissue_sample(&small().with_slices(slices), 0).unwrap();
            let shape = sample.labels.shape();
            let mask = mask(&sample);
            let covered = (0..sample.cells.len()).filter(|&row| {
                let [z, y, x] = sample
                    .cells
                    .positions()
                    .zyx(row)
                    .map(|v| v.round() as usize);
                mask[(z * shape.y + y) * shape.x + x] == row as u64 + 1
            });
            assert!(
                covered.count() * 100 >= sample.cells.len() * 97,
                "{slices} slices"
            );
        }
    }

    #[test]
    fn neighbours_share_their_type_more_often_in_control_tissue() {
        let config = TissueConfig::default().with_samples_per_group(1);
        let share = |index| {
            let sample = tissue_sample(&config, index).unwrap();
            let p = sample.cells.positions();
            let same = |row: usize| {
                let [_, y, x] = p.zyx(row);
                let near = (0..p.len()).filter(|&o| o != row).min_by(|&a, &b| {
                    let d = |o: usize| (p.zyx(o)[1] - y).powi(2) + (p.zyx(o)[2] - x).powi(2);
                    d(a).total_cmp(&d(b))
                });
                near.is_some_and(|o| sample.truth[o].cell_type == sample.truth[row].cell_type)
            };
            (0..p.len()).filter(|&row| same(row)).count() as f64 / p.len() as f64
        };
        assert!(
            share(0) > share(2) + 0.2,
            "control {}, treated {}",
            share(0),
            share(2)
        );
    }

    #[test]
    fn pixels_stay_within_sixteen_bits() {
        let sample = tissue_sample(&small(), 1).unwrap();
        let shape = sample.image.shape();
        let mut out = vec![0.0; shape.c * shape.y * shape.x];
        sample.image.read_region(&shape.region(), &mut out).unwrap();
        assert!(
            out.iter()
                .all(|v| (0.0..=65_535.0).contains(v) && v.fract() == 0.0)
        );
    }

    #[test]
    fn a_stronger_batch_is_brighter_and_none_is_that_of_strength_zero() {
        let mean = |config: &TissueConfig| {
            let sample = tissue_sample(config, 1).unwrap();
            assert_eq!(sample.batch, 1);
            let shape = sample.image.shape();
            let mut out = vec![0.0; shape.c * shape.y * shape.x];
            sample.image.read_region(&shape.region(), &mut out).unwrap();
            out.iter().sum::<f32>() / out.len() as f32
        };
        let of = |strength| mean(&small().with_batch_strength(strength));
        assert!(of(0.0) < of(1.0) && of(1.0) < of(2.0));
        let none = TissueConfig {
            batch_effect: false,
            ..small()
        };
        assert_eq!(mean(&none), of(0.0));
    }

    #[test]
    fn a_configuration_out_of_range_names_its_field() {
        let config = TissueConfig {
            purity: 1.5,
            ..small()
        };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("purity"), "{message}");
        assert!(tissue_sample(&small(), 4).is_err());
    }
}
