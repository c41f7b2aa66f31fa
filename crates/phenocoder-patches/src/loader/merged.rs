//! Several sources as one.

use ndarray::{Array4, Axis};
use phenocoder_core::{Fingerprint, PatchBatch, PatchShape, PatchSource, SourceError};

use super::{check_numbers, check_views, checked};
use crate::{Error, Result};

/// Serves several sources one after the other under running numbers.
///
/// Where they make [views](PatchBatch::views), all must make the same number of them.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape, PatchSource};
/// use phenocoder_patches::Merged;
///
/// let shape = PatchShape::new(2, 2, 1);
/// let parts = [("a", PatchBatch::zeros(2, shape, 0)), ("b", PatchBatch::zeros(3, shape, 0))];
/// let both = Merged::new(parts.map(|(name, part)| (name.to_owned(), Box::new(part) as _)).into())?;
/// assert_eq!((both.len(), both.locate(3)), (5, Some((1, 1))));
/// # Ok::<(), phenocoder_patches::Error>(())
/// ```
pub struct Merged {
    parts: Vec<(String, Box<dyn PatchSource>)>,
    /// Where each part starts, and the end.
    starts: Vec<usize>,
}

impl std::fmt::Debug for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.parts.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Merged")
            .field("parts", &names)
            .field("starts", &self.starts)
            .finish()
    }
}

impl Merged {
    /// Joins named sources of the same patch extent and number of condition columns.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] without sources, [`Error::DatasetMismatch`] when one differs from the first.
    pub fn new(parts: Vec<(String, Box<dyn PatchSource>)>) -> Result<Self> {
        let Some((_, first)) = parts.first() else {
            return Err(Error::Empty {
                what: "the list of datasets",
            });
        };
        for (name, part) in &parts {
            let mismatch = |what, expected: String, found: String| Error::DatasetMismatch {
                dataset: name.clone(),
                what,
                expected,
                found,
            };
            let (expected, found) = (first.shape(), part.shape());
            if expected != found {
                let words = |s: PatchShape| format!("{} × {} × {}", s.height, s.width, s.channels);
                return Err(mismatch("patch extent", words(expected), words(found)));
            }
            let (expected, found) = (first.n_conditions(), part.n_conditions());
            if expected != found {
                return Err(mismatch(
                    "condition columns",
                    expected.to_string(),
                    found.to_string(),
                ));
            }
        }
        let mut starts = vec![0];
        for (_, part) in &parts {
            starts.push(starts.last().copied().unwrap_or(0) + part.len());
        }
        Ok(Self { parts, starts })
    }

    /// The source that a patch comes from and its number there.
    #[must_use]
    pub fn locate(&self, patch: usize) -> Option<(usize, usize)> {
        (patch < self.len()).then(|| {
            let part = self.starts.partition_point(|&start| start <= patch) - 1;
            (part, patch - self.starts[part])
        })
    }
}

impl PatchSource for Merged {
    fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    fn shape(&self) -> PatchShape {
        self.parts
            .first()
            .map_or(PatchShape::new(0, 0, 0), |(_, part)| part.shape())
    }

    fn n_conditions(&self) -> usize {
        self.parts
            .first()
            .map_or(0, |(_, part)| part.n_conditions())
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        check_numbers("merged datasets", self.len(), patches)?;
        let mut out = PatchBatch::zeros(patches.len(), self.shape(), self.n_conditions());
        let mut n_views = None;
        for (part, (name, source)) in self.parts.iter().enumerate() {
            let range = self.starts[part]..self.starts[part + 1];
            let (slots, numbers): (Vec<usize>, Vec<usize>) = patches
                .iter()
                .enumerate()
                .filter(|(_, patch)| range.contains(patch))
                .map(|(slot, patch)| (slot, patch - range.start))
                .unzip();
            if numbers.is_empty() {
                continue;
            }
            let place = format!("dataset `{name}`");
            let batch = checked(&place, source.as_ref(), &numbers, source.read(&numbers)?)?;
            let n_views = *n_views.get_or_insert(batch.views.len());
            check_views(&place, n_views, &batch)?;
            out.views
                .resize_with(n_views, || Array4::zeros(out.pixels.dim()));
            let images = std::iter::once((&batch.pixels, &mut out.pixels))
                .chain(batch.views.iter().zip(&mut out.views));
            for (from, to) in images {
                for (row, &slot) in slots.iter().enumerate() {
                    to.index_axis_mut(Axis(0), slot)
                        .assign(&from.index_axis(Axis(0), row));
                }
            }
            for (row, &slot) in slots.iter().enumerate() {
                let from = batch.conditions.row(row);
                out.conditions.row_mut(slot).assign(&from);
            }
        }
        Ok(out)
    }

    /// One source after the other.
    fn reading_order(&self) -> Vec<usize> {
        let parts = self.parts.iter().zip(&self.starts);
        parts
            .flat_map(|((_, source), start)| {
                let order = source.reading_order().into_iter();
                order.map(move |patch| start + patch)
            })
            .collect()
    }

    fn describe(&self, patch: usize) -> String {
        match self.locate(patch) {
            Some((part, number)) => {
                let (name, source) = &self.parts[part];
                format!("{} of dataset `{name}`", source.describe(number))
            }
            None => format!("patch {patch}"),
        }
    }

    /// That of the names and fingerprints of the parts.
    fn fingerprint(&self) -> String {
        let parts = self.parts.iter();
        parts
            .fold(Fingerprint::new(), |all, (name, source)| {
                all.text(name).text(&source.fingerprint())
            })
            .finish()
    }
}
