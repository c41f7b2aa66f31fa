//! Patches kept in memory once they were read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Axis;
use phenocoder_core::{PatchBatch, PatchShape, PatchSource, Progress, SourceError};

use super::{check_numbers, check_views, checked};
use crate::{Error, Result};

/// The name in errors.
const PLACE: &str = "cached patches";

/// Patches read at once by [`Cached::fill`].
const FILL: usize = 1024;

/// Keeps patches of a source in memory, up to a number of bytes, so that later epochs read them from there.
///
/// Patches stay from their first reading on until there is no room: none makes room for another, for in shuffled epochs
/// every patch is as likely as any other to be wanted next.
/// What is read does not depend on what is kept.
///
/// Memory: `bytes` for patches with their conditions, and 24 bytes for each patch of the source.
/// Batches with [views](PatchBatch::views) are passed on and not kept.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape, PatchSource};
/// use phenocoder_patches::Cached;
///
/// let slow = PatchBatch::zeros(100, PatchShape::new(8, 8, 2), 3);
/// let source = Cached::new(slow, 10 << 10);
/// source.read(&[5, 7])?;
/// assert_eq!((source.kept(), source.capacity()), (2, 19));
/// # Ok::<(), phenocoder_core::SourceError>(())
/// ```
#[derive(Debug)]
pub struct Cached<S> {
    source: S,
    /// The pixels, then the conditions of each patch that is kept.
    slots: Vec<OnceLock<Box<[f32]>>>,
    capacity: usize,
    kept: AtomicUsize,
}

impl<S: PatchSource> Cached<S> {
    /// Keeps patches of `source` in at most `bytes` of memory.
    #[must_use]
    pub fn new(source: S, bytes: usize) -> Self {
        let n = source.len();
        let one = (source.shape().len() + source.n_conditions()).saturating_mul(size_of::<f32>());
        let capacity = bytes.checked_div(one).unwrap_or(0).min(n);
        let slots = if capacity == 0 { 0 } else { n };
        Self {
            source,
            slots: (0..slots).map(|_| OnceLock::new()).collect(),
            capacity,
            kept: AtomicUsize::new(0),
        }
    }

    /// How many patches there is room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many patches are kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed).min(self.capacity)
    }

    /// The source behind.
    #[must_use]
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Reads patches until there is no room, in the [order](PatchSource::reading_order) in which that is fastest.
    ///
    /// # Errors
    ///
    /// [`Error::Source`] when patches cannot be read, [`Error::Cancelled`].
    pub fn fill(&self, progress: &dyn Progress) -> Result<()> {
        if self.capacity == 0 {
            return Ok(());
        }
        let order = self.source.reading_order();
        progress.start("read patches", Some(self.capacity as u64));
        for numbers in order[..self.capacity.min(order.len())].chunks(FILL) {
            progress.check().map_err(Error::Cancelled)?;
            self.read(numbers)?;
            progress.advance(numbers.len() as u64);
        }
        progress.finish();
        Ok(())
    }

    fn slot(&self, patch: usize) -> Option<&[f32]> {
        self.slots.get(patch)?.get().map(AsRef::as_ref)
    }

    fn keep_all(&self, patches: &[usize], batch: &PatchBatch) {
        if !batch.views.is_empty() || self.kept.load(Ordering::Relaxed) >= self.capacity {
            return;
        }
        let rows = batch.pixels.outer_iter().zip(batch.conditions.outer_iter());
        for (&patch, (pixels, conditions)) in patches.iter().zip(rows) {
            let pixels = pixels.as_standard_layout();
            if let Some(pixels) = pixels.as_slice() {
                self.keep(patch, pixels, conditions.iter().copied());
            }
        }
    }

    /// Keeps a patch, if there is room.
    fn keep(&self, patch: usize, pixels: &[f32], conditions: impl Iterator<Item = f32>) {
        let Some(slot) = self.slots.get(patch) else {
            return;
        };
        if slot.get().is_some() {
            return;
        }
        if self.kept.fetch_add(1, Ordering::Relaxed) >= self.capacity {
            self.kept.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let mut values = Vec::with_capacity(pixels.len() + self.source.n_conditions());
        values.extend_from_slice(pixels);
        values.extend(conditions);
        if slot.set(values.into_boxed_slice()).is_err() {
            // Another thread read the same patch meanwhile.
            self.kept.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<S: PatchSource> PatchSource for Cached<S> {
    fn len(&self) -> usize {
        self.source.len()
    }

    fn shape(&self) -> PatchShape {
        self.source.shape()
    }

    fn n_conditions(&self) -> usize {
        self.source.n_conditions()
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        check_numbers(PLACE, self.source.len(), patches)?;
        let missing: Vec<usize> = patches
            .iter()
            .copied()
            .filter(|&patch| self.slot(patch).is_none())
            .collect();
        if missing.len() == patches.len() {
            let batch = checked(PLACE, &self.source, patches, self.source.read(patches)?)?;
            self.keep_all(patches, &batch);
            return Ok(batch);
        }
        let read = match missing.is_empty() {
            true => None,
            false => {
                let batch = self.source.read(&missing)?;
                let batch = checked(PLACE, &self.source, &missing, batch)?;
                // What is kept has no views, so a source that makes them for some patches only cannot be served.
                check_views(PLACE, 0, &batch)?;
                Some(batch)
            }
        };
        let mut out = PatchBatch::zeros(patches.len(), self.shape(), self.n_conditions());
        let (len, mut next) = (self.shape().len(), 0);
        for (i, &patch) in patches.iter().enumerate() {
            let mut pixels = out.pixels.index_axis_mut(Axis(0), i);
            let mut conditions = out.conditions.row_mut(i);
            match (&read, missing.get(next) == Some(&patch)) {
                (Some(batch), true) => {
                    pixels.assign(&batch.pixels.index_axis(Axis(0), next));
                    conditions.assign(&batch.conditions.row(next));
                    next += 1;
                }
                _ => {
                    let slot = self
                        .slot(patch)
                        .expect("what was not missing is kept for good");
                    let (from, told) = slot.split_at(len);
                    if let Some(to) = pixels.as_slice_mut() {
                        to.copy_from_slice(from);
                    }
                    conditions.iter_mut().zip(told).for_each(|(to, v)| *to = *v);
                }
            }
        }
        if let Some(batch) = &read {
            self.keep_all(&missing, batch);
        }
        Ok(out)
    }

    fn reading_order(&self) -> Vec<usize> {
        self.source.reading_order()
    }

    fn describe(&self, patch: usize) -> String {
        self.source.describe(patch)
    }

    fn fingerprint(&self) -> String {
        self.source.fingerprint()
    }
}
