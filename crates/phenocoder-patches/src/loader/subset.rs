//! Some patches of a source.

use phenocoder_core::{Fingerprint, PatchBatch, PatchShape, PatchSource, SourceError};

use super::check_numbers;

/// Serves some patches of another source under new numbers: one side of a [`Split`](crate::Split), say.
///
/// # Examples
///
/// ```
/// use phenocoder_core::{PatchBatch, PatchShape, PatchSource};
/// use phenocoder_patches::Subset;
///
/// let all = PatchBatch::zeros(9, PatchShape::new(2, 2, 1), 0);
/// let some = Subset::new(all, vec![8, 3])?;
/// assert_eq!(some.len(), 2);
/// # Ok::<(), phenocoder_core::SourceError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Subset<S> {
    source: S,
    rows: Vec<usize>,
}

impl<S: PatchSource> Subset<S> {
    /// Serves `rows` of `source`, in that order.
    ///
    /// # Errors
    ///
    /// [`SourceError`] when one of them is no patch of the source.
    pub fn new(source: S, rows: Vec<usize>) -> Result<Self, SourceError> {
        check_numbers("subset", source.len(), &rows)?;
        Ok(Self { source, rows })
    }

    /// The numbers of the patches in the source behind.
    #[must_use]
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }
}

impl<S: PatchSource> PatchSource for Subset<S> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn shape(&self) -> PatchShape {
        self.source.shape()
    }

    fn n_conditions(&self) -> usize {
        self.source.n_conditions()
    }

    fn read(&self, patches: &[usize]) -> Result<PatchBatch, SourceError> {
        check_numbers("subset", self.rows.len(), patches)?;
        let rows: Vec<usize> = patches.iter().map(|&patch| self.rows[patch]).collect();
        self.source.read(&rows)
    }

    /// That of the source behind.
    fn reading_order(&self) -> Vec<usize> {
        let mut place = vec![0; self.source.len()];
        for (at, row) in self.source.reading_order().into_iter().enumerate() {
            place[row] = at;
        }
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|&patch| place[self.rows[patch]]);
        order
    }

    fn describe(&self, patch: usize) -> String {
        match self.rows.get(patch) {
            Some(&row) => self.source.describe(row),
            None => format!("patch {patch}"),
        }
    }

    /// That of the source behind and of the rows.
    fn fingerprint(&self) -> String {
        Fingerprint::new()
            .text(&self.source.fingerprint())
            .numbers(self.rows.iter().map(|&row| row as u64))
            .finish()
    }
}
