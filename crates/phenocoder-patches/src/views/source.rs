//! Patches that are transformed as they are read.

use phenocoder_core::{
    Fingerprint, PatchBatch, PatchShape, PatchSource, PatchTransform, Seed, SourceError,
};

/// A source whose patches go through a transform as they are read, always with the same seed.
///
/// Training draws anew in every epoch; validation and encoding should see the same views each time, which is what this
/// source is for.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape, PatchSource, Seed};
/// use phenocoder_patches::views::{Transformed, ViewConfig};
///
/// let cells = PatchBatch::zeros(4, PatchShape::new(8, 8, 1), 0);
/// let views = ViewConfig::default().build()?;
/// let source = Transformed::new(&cells, &views, Seed::new(3));
/// let batch = source.read(&[2, 0])?;
/// assert_eq!((batch.len(), batch.views.len()), (2, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Transformed<'a> {
    source: &'a dyn PatchSource,
    transform: &'a dyn PatchTransform,
    seed: Seed,
}

impl std::fmt::Debug for Transformed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transformed")
            .field("patches", &self.source.len())
            .field("transform", &self.transform.name())
            .field("seed", &self.seed)
            .finish()
    }
}

impl<'a> Transformed<'a> {
    /// Patches of `source` as `transform` makes them with `seed`.
    #[must_use]
    pub fn new(source: &'a dyn PatchSource, transform: &'a dyn PatchTransform, seed: Seed) -> Self {
        Self {
            source,
            transform,
            seed,
        }
    }
}

impl PatchSource for Transformed<'_> {
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
        let mut batch = self.source.read(patches)?;
        self.transform.apply(&mut batch, patches, self.seed)?;
        Ok(batch)
    }

    fn reading_order(&self) -> Vec<usize> {
        self.source.reading_order()
    }

    fn describe(&self, patch: usize) -> String {
        self.source.describe(patch)
    }

    fn fingerprint(&self) -> String {
        Fingerprint::new()
            .text(&self.source.fingerprint())
            .text(self.transform.name())
            .text(&self.transform.settings())
            .numbers([self.seed.value()])
            .finish()
    }
}
