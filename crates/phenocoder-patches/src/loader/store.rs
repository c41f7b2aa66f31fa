//! Patches cut from the images when they are asked for.

use ndarray::{Array2, Array4, Axis};
use phenocoder_core::{
    Fingerprint, ImageShape, PatchBatch, PatchShape, PatchSource, ShapeError, SourceError,
};

use super::check_numbers;
use crate::extract::fill::{Layout, Source, fill};
use crate::scaling::Scaling;
use crate::select::{Place, Selection};
use crate::{Images, Masks, PatchConfig, Result};

/// Samples images directly: no patch is ever written to disk.
///
/// Each read decodes the blocks under the patches asked for, so ask for many patches that lie close together where you
/// can ([`reading_order`](PatchSource::reading_order));
/// for many epochs over shuffled patches a patch set on disk is faster, and this is right for a single pass (encoding),
/// for images in memory, and where there is no room for patches.
///
/// # Examples
///
/// ```
/// use std::{collections::BTreeMap, sync::Arc};
/// use ndarray::{Array2, Array4, array};
/// use phenocoder_core::{Categorical, Cells, Column, Coords, MemoryImage, NoProgress, PatchSource, Unit};
/// use phenocoder_patches::*;
///
/// let image = MemoryImage::new("tile", Array4::from_elem((1, 1, 8, 8), 3.0), vec!["DAPI".into()])?;
/// let range = ChannelRange { low: 0.0, high: 6.0, degenerate: false };
/// let scaling = Scaling::from_ranges(
///     ScalingMode::PerSample, vec!["DAPI".into()], BTreeMap::from([("A".into(), vec![range])]),
/// )?;
/// let images: Images = BTreeMap::from([("A".into(), Arc::new(image) as _)]);
/// let positions = Coords::new(array![[4.0, 4.0]], Unit::Pixel)?;
/// let cells = Cells::new(Column::Int(vec![1]), Categorical::from_labels(["A"]), positions)?;
/// let selection = select_cells(&images, &cells, &PatchConfig::new(2, 2))?;
/// let source = StoreSource::new(images, None, selection, scaling, Array2::zeros((1, 0)))?;
/// assert_eq!(source.read(&[0])?.pixels, Array4::from_elem((1, 2, 2, 1), 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StoreSource {
    images: Images,
    masks: Option<Masks>,
    selection: Selection,
    scaling: Scaling,
    conditions: Array2<f32>,
}

impl std::fmt::Debug for StoreSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreSource")
            .field("samples", &self.images.keys())
            .field("patches", &self.selection.len())
            .field("shape", &self.selection.patch_shape())
            .finish_non_exhaustive()
    }
}

impl StoreSource {
    /// Serves the patches of a selection, with one row of `conditions` `[n, k]` each.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) when there is not one row of conditions per patch, else as
    /// [`extract_selection`](crate::extract_selection).
    pub fn new(
        images: Images,
        masks: Option<Masks>,
        selection: Selection,
        scaling: Scaling,
        conditions: Array2<f32>,
    ) -> Result<Self> {
        ShapeError::check_len("conditions", selection.len(), conditions.nrows())?;
        Source::new(&images, masks.as_ref(), &selection, &scaling, None)?;
        Ok(Self {
            images,
            masks,
            selection,
            scaling,
            conditions,
        })
    }

    /// The patches served.
    #[must_use]
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// How they are scaled.
    #[must_use]
    pub fn scaling(&self) -> &Scaling {
        &self.scaling
    }
}

impl PatchSource for StoreSource {
    fn len(&self) -> usize {
        self.selection.len()
    }

    fn shape(&self) -> PatchShape {
        self.selection.patch_shape()
    }

    fn n_conditions(&self) -> usize {
        self.conditions.ncols()
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        check_numbers("images", self.selection.len(), patches)?;
        let wrap = |error| SourceError::new("patches from images", error);
        let source = Source::new(
            &self.images,
            self.masks.as_ref(),
            &self.selection,
            &self.scaling,
            Some(patches),
        )
        .map_err(wrap)?;
        let shape = self.shape();
        let mut pixels = Array4::zeros((patches.len(), shape.height, shape.width, shape.channels));
        let memory = self.selection.config().memory / 2;
        if let Some(out) = pixels.as_slice_mut() {
            fill(
                &source,
                patches,
                Layout::ChannelsLast,
                memory,
                out,
                &mut |_, _| Ok(()),
            )
            .map_err(wrap)?;
        }
        PatchBatch::new(pixels, self.conditions.select(Axis(0), patches))
            .map_err(|e| SourceError::new("store", e))
    }

    /// All patches in the order in which their blocks lie in the images.
    ///
    /// A single pass in this order, in large batches, decodes each block about once, whatever the order of the cells.
    fn reading_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.selection.len()).collect();
        let places = self.selection.places();
        let chunk = |place: &Place| {
            let image = self.images.get(&self.selection.samples()[place.sample]);
            let chunk = image.map_or(ImageShape::new(1, 1, 1, 1), |image| image.chunk_shape());
            let block = |at: usize, size: usize| at / size.max(1);
            (
                place.sample,
                block(place.z, chunk.z),
                block(place.y, chunk.y),
                block(place.x, chunk.x),
            )
        };
        order.sort_by_cached_key(|&i| (chunk(&places[i]), places[i].y, places[i].x));
        order
    }

    fn describe(&self, patch: usize) -> String {
        match self.selection.places().get(patch) {
            Some(place) => format!(
                "cell at row {} of sample `{}`",
                place.row,
                self.selection.samples()[place.sample]
            ),
            None => format!("patch {patch}"),
        }
    }

    /// That of the places in the images, the extents of these, the settings of patches, the scaling and the conditions; no pixel is read.
    fn fingerprint(&self) -> String {
        let selection = &self.selection;
        let places = selection.places().iter().flat_map(|place| {
            let position = [place.sample, place.z, place.y, place.x].map(|at| at as u64);
            let label = place.label.map_or([0, 0], |label| [1, label]);
            position.into_iter().chain(label)
        });
        // How much memory there is decides over nothing else.
        let config = PatchConfig {
            memory: 0,
            ..selection.config().clone()
        };
        // Settings of numbers, names and lists always have a JSON form.
        let config = serde_json::to_string(&config).unwrap_or_default();
        let scaling = serde_json::to_string(&self.scaling).unwrap_or_default();
        let all = Fingerprint::new().text(&config).text(&scaling);
        let channels = selection.channels().iter();
        let all = channels.fold(all, |all, name| all.text(name));
        let samples = selection.samples().iter();
        let all = samples.fold(all, |all, name| {
            let shape = self.images.get(name).map(|image| image.shape());
            let extents = shape.map(|s| [s.c, s.z, s.y, s.x].map(|extent| extent as u64));
            all.text(name).numbers(extents.into_iter().flatten())
        });
        all.numbers(places)
            .numbers([self.conditions.ncols() as u64])
            .values(&self.conditions)
            .finish()
    }
}
