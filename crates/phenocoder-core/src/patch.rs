//! Image patches on their way to a network.

use ndarray::{Array2, Array4, ArrayView4};
use serde::{Deserialize, Serialize};

use crate::{Fingerprint, Seed, ShapeError, SourceError};

/// The extent of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl PatchShape {
    /// A patch of this many rows, columns and channels.
    #[must_use]
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        Self {
            height,
            width,
            channels,
        }
    }

    /// The number of values in one patch.
    #[must_use]
    pub const fn len(self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether a patch has no values.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Scaled patches with their conditions, ready for a network.
///
/// # Shapes
///
/// `pixels`: `[n, y, x, c]`, values in `[0, 1]`; `conditions`: `[n, k]`, one-hot, `k = 0` without conditions;
/// each of `views`: `[n, y, x, c]` as `pixels`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PatchBatch {
    /// Scaled pixels, `[n, y, x, c]`.
    pub pixels: Array4<f32>,
    /// One-hot conditions, `[n, k]`.
    pub conditions: Array2<f32>,
    /// The same cells seen in other ways, for networks that compare several images of a cell; mostly none.
    pub views: Vec<Array4<f32>>,
}

impl PatchBatch {
    /// Patches with their conditions and without further views.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] when there is not one row of conditions per patch.
    pub fn new(pixels: Array4<f32>, conditions: Array2<f32>) -> Result<Self, ShapeError> {
        ShapeError::check_len("conditions", pixels.shape()[0], conditions.nrows())?;
        Ok(Self {
            pixels,
            conditions,
            views: Vec::new(),
        })
    }

    /// A batch of `n` patches of zeros with `k` condition columns.
    #[must_use]
    pub fn zeros(n: usize, shape: PatchShape, k: usize) -> Self {
        Self {
            pixels: Array4::zeros((n, shape.height, shape.width, shape.channels)),
            conditions: Array2::zeros((n, k)),
            views: Vec::new(),
        }
    }

    /// The number of patches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pixels.shape()[0]
    }

    /// Whether there are no patches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Something that patches can be read from by number: a patch set on disk, a store sampled directly, memory.
pub trait PatchSource: Send + Sync {
    /// The number of patches.
    fn len(&self) -> usize;

    /// Whether there are no patches.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The extent of every patch.
    fn shape(&self) -> PatchShape;

    /// The number of one-hot condition columns; 0 without conditions.
    fn n_conditions(&self) -> usize;

    /// Reads the patches of these numbers, in that order, scaled.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when a number is out of range or the data behind it cannot be read.
    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError>;

    /// All patches in the order in which they are read fastest in one pass; by number unless a source knows better.
    fn reading_order(&self) -> Vec<usize> {
        (0..self.len()).collect()
    }

    /// Names a patch in messages: its cell and sample, say.
    fn describe(&self, patch: usize) -> String {
        format!("patch {patch}")
    }

    /// A short text that is another when the patches are: their number and order, pixels and scaling, or conditions.
    ///
    /// A training that is resumed compares it with that of its beginning.
    /// It is the same for the same data in every process, and is made from what decides over the patches rather than by
    /// reading them: settings and the rows that were chosen ([`Fingerprint`] sums them up).
    /// By default it tells extents only.
    fn fingerprint(&self) -> String {
        let PatchShape {
            height,
            width,
            channels,
        } = self.shape();
        let (n, conditions) = (self.len(), self.n_conditions());
        format!("{n} patches of {height}×{width}×{channels} with {conditions} condition columns")
    }
}

/// Something that changes patches on their way to a network: an augmentation, or the views of a cell.
///
/// What a transform does to a patch depends on the patch's number and the seed alone, never on how patches are put into
/// batches or on the number of threads.
pub trait PatchTransform: Send + Sync {
    /// The name of the kind of transform: `flips`, say.
    fn name(&self) -> &str;

    /// Its settings as JSON; they are kept with checkpoints and models.
    fn settings(&self) -> String;

    /// How many views it leaves in [`PatchBatch::views`]; none if it changes the patches themselves only.
    fn n_views(&self) -> usize {
        0
    }

    /// Whether validation patches go through it too: what a network must always get, as views, and no augmentation.
    ///
    /// By default where there are [views](Self::n_views).
    fn for_validation(&self) -> bool {
        self.n_views() > 0
    }

    /// Changes the patches; `numbers` names each, and every epoch has a seed of its own.
    ///
    /// # Errors
    ///
    /// [`SourceError`] naming the patch that cannot be changed.
    fn apply(
        &self,
        batch: &mut PatchBatch,
        numbers: &[usize],
        seed: Seed,
    ) -> Result<(), SourceError>;
}

/// Something that patches can be written to in any order.
pub trait PatchSink: Send {
    /// Writes patches from number `start` on.
    ///
    /// # Shapes
    ///
    /// `pixels`: `[n, c, y, x]`, the layout of patch sets on disk.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when they cannot be written.
    fn write(&mut self, start: usize, pixels: ArrayView4<'_, f32>) -> Result<(), SourceError>;
}

/// A shared source serves several readers: the two sides of a split, say.
impl<S: PatchSource + ?Sized> PatchSource for std::sync::Arc<S> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn shape(&self) -> PatchShape {
        (**self).shape()
    }

    fn n_conditions(&self) -> usize {
        (**self).n_conditions()
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        (**self).read(patches)
    }

    fn reading_order(&self) -> Vec<usize> {
        (**self).reading_order()
    }

    fn describe(&self, patch: usize) -> String {
        (**self).describe(patch)
    }

    fn fingerprint(&self) -> String {
        (**self).fingerprint()
    }
}

/// Patches in memory.
impl PatchSource for PatchBatch {
    fn len(&self) -> usize {
        self.pixels.shape()[0]
    }

    fn shape(&self) -> PatchShape {
        let (_, height, width, channels) = self.pixels.dim();
        PatchShape {
            height,
            width,
            channels,
        }
    }

    fn n_conditions(&self) -> usize {
        self.conditions.ncols()
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        let n = PatchBatch::len(self);
        if let Some(&found) = patches.iter().find(|&&patch| patch >= n) {
            let error = ShapeError::Length {
                what: "patches".to_owned(),
                expected: found + 1,
                found: n,
            };
            return Err(SourceError::new(format!("patch {found}"), error));
        }
        Ok(Self {
            pixels: self.pixels.select(ndarray::Axis(0), patches),
            conditions: self.conditions.select(ndarray::Axis(0), patches),
            views: self
                .views
                .iter()
                .map(|view| view.select(ndarray::Axis(0), patches))
                .collect(),
        })
    }

    /// That of all values.
    fn fingerprint(&self) -> String {
        let arrays = std::iter::once(&self.pixels).chain(&self.views);
        let images = arrays.fold(Fingerprint::new(), Fingerprint::array);
        let columns = self.conditions.ncols() as u64;
        let all = images.numbers([columns]).values(&self.conditions);
        all.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_serves_patches_in_the_order_asked() {
        let mut batch = PatchBatch::zeros(3, PatchShape::new(2, 2, 1), 1);
        batch.pixels[[2, 0, 0, 0]] = 7.0;
        batch.conditions[[2, 0]] = 1.0;
        let two = batch.read(&[2, 0]).unwrap();
        assert_eq!(two.pixels[[0, 0, 0, 0]], 7.0);
        assert_eq!(two.conditions[[0, 0]], 1.0);
        assert!(batch.read(&[3]).is_err());
    }

    #[test]
    fn a_fingerprint_tells_pixels_conditions_views_and_extents_but_not_memory_orders() {
        let batch = PatchBatch::zeros(3, PatchShape::new(2, 4, 1), 2);
        let first = batch.fingerprint();
        assert_eq!(std::sync::Arc::new(batch.clone()).fingerprint(), first);
        let differs = |change: &dyn Fn(&mut PatchBatch)| {
            let mut other = batch.clone();
            change(&mut other);
            assert_ne!(other.fingerprint(), first);
        };
        differs(&|b| b.pixels[[1, 0, 0, 0]] = 1.0);
        differs(&|b| b.conditions[[2, 1]] = 1.0);
        differs(&|b| b.views.push(b.pixels.clone()));
        differs(&|b| *b = PatchBatch::zeros(3, PatchShape::new(4, 2, 1), 2));
        let mut counted = PatchBatch::zeros(2, PatchShape::new(2, 3, 2), 0);
        let mut next = 0.0;
        counted.pixels.mapv_inplace(|_| {
            next += 1.0;
            next
        });
        let mut turned = counted.clone();
        let axes = [3, 2, 1, 0];
        turned.pixels = counted
            .pixels
            .view()
            .permuted_axes(axes)
            .as_standard_layout()
            .into_owned();
        turned.pixels = turned.pixels.permuted_axes(axes);
        assert!(turned == counted && turned.pixels.as_slice().is_none());
        assert_eq!(turned.fingerprint(), counted.fingerprint());
    }
}
