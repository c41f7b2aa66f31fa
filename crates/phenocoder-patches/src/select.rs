//! Which cells get a patch, where its centre lies, and why the other cells get none.

mod config;

use std::collections::BTreeSet;

use phenocoder_core::{Categorical, Cells, Column, PatchShape, Seed, Unit};

pub use config::{BorderPolicy, InvalidPolicy, PatchConfig, Rounding, SelectConfig, Slices};

use crate::error::list;
use crate::{Error, ExtractReport, Images, Result};

/// The centre of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The row of the cell in the table that the selection was made from.
    pub row: usize,
    /// The position of the sample in [`Selection::samples`].
    pub sample: usize,
    /// The slice.
    pub z: usize,
    /// The row of the centre pixel.
    pub y: usize,
    /// The column of the centre pixel.
    pub x: usize,
    /// The value of the cell's own pixels in the label mask, when neighbours are masked.
    pub label: Option<u64>,
}

/// The patches that will be made, in the order of the cells (and of slices within a cell),
/// and an account of all other cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    pub(crate) places: Vec<Place>,
    samples: Vec<String>,
    channels: Vec<String>,
    config: PatchConfig,
    report: ExtractReport,
}

impl Selection {
    /// The number of patches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no patches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The row of the cell of each patch.
    #[must_use]
    pub fn rows(&self) -> Vec<usize> {
        self.places.iter().map(|place| place.row).collect()
    }

    /// The centre of each patch.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The samples that occur among the cells, in the order of their categories.
    #[must_use]
    pub fn samples(&self) -> &[String] {
        &self.samples
    }

    /// The channels of every image.
    #[must_use]
    pub fn channels(&self) -> &[String] {
        &self.channels
    }

    /// The sample of each patch: what [`split`](crate::split()) groups by.
    #[must_use]
    pub fn sample_of_patches(&self) -> Categorical {
        Categorical::from_labels(self.places.iter().map(|place| &self.samples[place.sample]))
    }

    /// The slice of each patch as a condition, in numeric order.
    #[must_use]
    pub fn slice_of_patches(&self) -> Categorical {
        Column::Int(self.places.iter().map(|place| place.z as i64).collect()).to_categorical()
    }

    /// The settings that the selection was made with.
    #[must_use]
    pub fn config(&self) -> &PatchConfig {
        &self.config
    }

    /// How many cells were kept, and how many were not and why.
    #[must_use]
    pub fn report(&self) -> &ExtractReport {
        &self.report
    }

    /// The extent of every patch.
    #[must_use]
    pub fn patch_shape(&self) -> PatchShape {
        PatchShape::new(self.config.height, self.config.width, self.channels.len())
    }
}

/// Decides which cells get a patch.
///
/// Positions are turned into pixels, cells that cannot have a patch are errors or counted drops as
/// [`SelectConfig`] says, the border policy is applied, and the sampling limits come last: first
/// [`SelectConfig::n_samples`], then [`SelectConfig::n_patches_per_sample`], then [`SelectConfig::n_patches`].
///
/// # Differences from phenocoder (Python)
///
/// No cell is dropped in silence, positions are rounded ([`Rounding::Truncate`] is the original's way),
/// cells at the border are kept ([`BorderPolicy::DropCompat`] drops those that the original drops),
/// and sampling is seeded.
///
/// # Examples
///
/// ```
/// use std::{collections::BTreeMap, sync::Arc};
/// use ndarray::{Array4, array};
/// use phenocoder_core::{Categorical, Cells, Column, Coords, MemoryImage, Unit};
/// use phenocoder_patches::{BorderPolicy, Images, PatchConfig, select_cells};
///
/// let image = MemoryImage::new("tile", Array4::zeros((1, 1, 8, 8)), vec!["DAPI".into()])?;
/// let images: Images = BTreeMap::from([("A".to_owned(), Arc::new(image) as _)]);
/// let cells = Cells::new(
///     Column::Int(vec![1, 2]),
///     Categorical::from_labels(["A", "A"]),
///     Coords::new(array![[4.0, 4.0], [1.0, 4.0]], Unit::Pixel)?,
/// )?;
/// let config = PatchConfig::new(4, 4).with_border(BorderPolicy::Drop);
/// let selection = select_cells(&images, &cells, &config)?;
/// assert_eq!(selection.rows(), [0]);
/// assert_eq!(selection.report().dropped_border, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Config`] for settings that make no sense, [`Error::Unit`] for positions that are not in pixels,
/// [`Error::Channels`] when images differ in their channels, [`Error::NoSlice`] for two coordinates in a stack,
/// [`Error::Shape`] when the column of mask labels is absent or holds no whole numbers, and,
/// unless such cells are to be dropped, [`Error::NotFinitePosition`], [`Error::OutsideImage`],
/// [`Error::MissingImage`] and [`Error::NoSample`].
pub fn select_cells(images: &Images, cells: &Cells, config: &PatchConfig) -> Result<Selection> {
    config.validate()?;
    if cells.positions().unit() == Unit::Micrometer {
        return Err(Error::Unit {
            found: "micrometers".to_owned(),
        });
    }
    let samples = cells.samples().categories().to_vec();
    let labels = if config.mask_neighbors {
        Some(own_labels(cells, config)?)
    } else {
        None
    };
    let mut report = ExtractReport {
        cells: cells.len(),
        ..ExtractReport::default()
    };
    let mut channels: Option<&[String]> = None;
    for (code, count) in cells.samples().counts().into_iter().enumerate() {
        let Some(image) = images.get(&samples[code]).filter(|_| count > 0) else {
            continue;
        };
        let expected = *channels.get_or_insert(image.channels());
        if expected != image.channels() {
            return Err(Error::Channels {
                sample: samples[code].clone(),
                expected: list(expected),
                found: list(image.channels()),
            });
        }
    }
    let mut kept: Vec<Place> = Vec::new();
    for row in 0..cells.len() {
        match locate(images, cells, config, row)? {
            Fate::Kept(place) => kept.push(Place {
                label: labels.as_ref().map(|labels| labels[row]),
                ..place
            }),
            Fate::NoImage => report.dropped_no_image += 1,
            Fate::NotFinite => report.dropped_nan += 1,
            Fate::Outside => report.dropped_outside += 1,
            Fate::Border => report.dropped_border += 1,
        }
    }
    let before = kept.len();
    sample(&mut kept, &samples, &config.select);
    report.dropped_sampling = before - kept.len();
    report.kept = kept.len();
    let places = expand(&kept, images, &samples, config.slices);
    report.patches = places.len();
    Ok(Selection {
        places,
        samples,
        channels: channels.map(<[String]>::to_vec).unwrap_or_default(),
        config: config.clone(),
        report,
    })
}

/// What becomes of a cell.
enum Fate {
    Kept(Place),
    NoImage,
    NotFinite,
    Outside,
    Border,
}

/// Finds the centre pixel of a cell, or why it has none.
fn locate(images: &Images, cells: &Cells, config: &PatchConfig, row: usize) -> Result<Fate> {
    let drop = |policy: InvalidPolicy, fate: Fate, error: Error| match policy {
        InvalidPolicy::Error => Err(error),
        InvalidPolicy::Drop => Ok(fate),
    };
    let policies = &config.select;
    let Some(sample) = cells.samples().code(row) else {
        return drop(policies.no_image, Fate::NoImage, Error::NoSample { row });
    };
    let name = &cells.samples().categories()[sample];
    let Some(image) = images.get(name) else {
        let error = Error::MissingImage {
            sample: name.clone(),
            what: "image",
            known: list(images.keys()),
        };
        return drop(policies.no_image, Fate::NoImage, error);
    };
    let shape = image.shape();
    let flat = cells.positions().dim() == 2;
    if flat && shape.z > 1 && config.slices != Slices::All {
        return Err(Error::NoSlice {
            sample: name.clone(),
            slices: shape.z,
        });
    }
    let position = cells.positions().zyx(row);
    if position.iter().any(|p| !p.is_finite()) {
        let error = Error::NotFinitePosition {
            row,
            sample: name.clone(),
            position: format!("{position:?}"),
        };
        return drop(policies.not_finite, Fate::NotFinite, error);
    }
    let pixel = position.map(|p| config.rounding.pixel(p));
    let within = |p: f64, n: usize| (0.0..n as f64).contains(&p).then_some(p as usize);
    // A 2-D image takes cells of every z: it is a projection.
    let z = if shape.z == 1 {
        Some(0)
    } else {
        within(pixel[0], shape.z)
    };
    let (Some(z), Some(y), Some(x)) = (z, within(pixel[1], shape.y), within(pixel[2], shape.x))
    else {
        let error = Error::OutsideImage {
            row,
            sample: name.clone(),
            position: format!("{pixel:?}"),
            extent: format!("{} × {} × {}", shape.z, shape.y, shape.x),
        };
        return drop(policies.outside, Fate::Outside, error);
    };
    let fits = config.border.keeps(y, config.height, shape.y)
        && config.border.keeps(x, config.width, shape.x);
    if !fits {
        return Ok(Fate::Border);
    }
    let place = Place {
        row,
        sample,
        z,
        y,
        x,
        label: None,
    };
    Ok(Fate::Kept(place))
}

/// The value of each cell's own pixels in the mask.
fn own_labels(cells: &Cells, config: &PatchConfig) -> Result<Vec<u64>> {
    let (name, column) = match &config.mask_column {
        Some(name) => (name.as_str(), cells.column(name)?),
        None => ("instances", cells.instances()),
    };
    let wrong = |found| {
        Error::from(phenocoder_core::ShapeError::ColumnType {
            name: name.to_owned(),
            expected: "whole numbers from 0",
            found,
        })
    };
    match column {
        Column::Int(labels) => {
            let label = |&v: &i64| u64::try_from(v).map_err(|_| wrong("negative numbers"));
            labels.iter().map(label).collect()
        }
        // Feature tables often hold the label among measurements, as a float.
        Column::Float(labels) => {
            let label = |&v: &f64| {
                let whole = v >= 0.0 && v.fract() == 0.0;
                whole
                    .then_some(v as u64)
                    .ok_or_else(|| wrong("other numbers"))
            };
            labels.iter().map(label).collect()
        }
        other => Err(wrong(other.type_name())),
    }
}

/// Applies the limits on samples and patches.
fn sample(kept: &mut Vec<Place>, samples: &[String], config: &SelectConfig) {
    let keep_numbers = |kept: &mut Vec<Place>, keep: &BTreeSet<usize>| {
        let mut number = 0;
        kept.retain(|_| {
            number += 1;
            keep.contains(&(number - 1))
        });
    };
    let seed: Seed = config.seed;
    if let Some(n) = config.n_samples {
        let present: BTreeSet<usize> = kept.iter().map(|place| place.sample).collect();
        // By name, so that the choice does not depend on the order of the categories.
        let mut present: Vec<usize> = present.into_iter().collect();
        present.sort_by_key(|&sample| &samples[sample]);
        let chosen = seed.stream("select samples", 0).choose(present.len(), n);
        let chosen: BTreeSet<usize> = chosen.into_iter().map(|i| present[i]).collect();
        kept.retain(|place| chosen.contains(&place.sample));
    }
    if let Some(n) = config.n_patches_per_sample {
        let mut keep = BTreeSet::new();
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); samples.len()];
        for (i, place) in kept.iter().enumerate() {
            members[place.sample].push(i);
        }
        for (name, members) in samples.iter().zip(members) {
            let chosen = seed
                .derive(name, 0)
                .stream("select patches", 0)
                .choose(members.len(), n);
            keep.extend(chosen.into_iter().map(|i| members[i]));
        }
        keep_numbers(kept, &keep);
    }
    if let Some(n) = config.n_patches {
        let chosen = seed.stream("select patches", 0).choose(kept.len(), n);
        keep_numbers(kept, &chosen.into_iter().collect());
    }
}

/// One place per cell and slice.
fn expand(kept: &[Place], images: &Images, samples: &[String], slices: Slices) -> Vec<Place> {
    let depth = |place: &Place| {
        images
            .get(&samples[place.sample])
            .map_or(1, |image| image.shape().z)
    };
    let range = |place: &Place| match slices {
        Slices::Own => place.z..place.z + 1,
        Slices::Around { below, above } => {
            place.z.saturating_sub(below)
                ..place
                    .z
                    .saturating_add(above)
                    .saturating_add(1)
                    .min(depth(place))
        }
        Slices::All => 0..depth(place),
    };
    let places = kept
        .iter()
        .flat_map(|place| range(place).map(move |z| Place { z, ..*place }));
    places.collect()
}

#[cfg(test)]
mod tests;
