//! Where the pixels of images lie.

use super::geometry::Geometry;

/// How the images of a group of samples lie in memory: rows of pixels, with zeros around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    /// Rows, columns and channels without the zeros.
    pub(super) size: [usize; 3],
    /// Where the first pixel lies.
    origin: usize,
    /// From one row to the next.
    pub(super) row: usize,
    /// From one sample to the next.
    pub(super) len: usize,
}

impl Format {
    /// Images without zeros around them.
    pub(super) fn dense(size: [usize; 3]) -> Self {
        Self::padded(size, [0, 0], [size[0], size[1]])
    }

    /// Images in the middle of `outer` rows and columns, with `before` zeros above and to the left.
    fn padded(size: [usize; 3], before: [usize; 2], outer: [usize; 2]) -> Self {
        let row = outer[1] * size[2];
        Self {
            size,
            origin: before[0] * row + before[1] * size[2],
            row,
            len: outer[0] * row,
        }
    }

    /// The big side with every pixel that a kernel placed on the small side touches.
    pub(super) fn big(g: &Geometry) -> Self {
        Self::padded(g.big, g.pad, g.padded_big())
    }

    /// The small side with the zeros that the adjoint needs.
    pub(super) fn small(g: &Geometry) -> Self {
        Self::padded(g.small, g.halo(), g.padded_small())
    }

    /// The position of a pixel of the first sample.
    pub(super) fn at(&self, y: usize, x: usize) -> usize {
        self.origin + y * self.row + x * self.size[2]
    }

    /// The rows of every sample in `values`.
    pub(super) fn rows<'a>(&self, values: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        let (format, width) = (*self, self.size[1] * self.size[2]);
        values.chunks_exact(self.len.max(1)).flat_map(move |image| {
            (0..format.size[0]).map(move |y| &image[format.at(y, 0)..format.at(y, 0) + width])
        })
    }

    /// The rows of every sample, to be written.
    pub(super) fn rows_mut<'a>(
        &self,
        values: &'a mut [f32],
    ) -> impl Iterator<Item = &'a mut [f32]> {
        let (format, width) = (*self, self.size[1] * self.size[2]);
        values
            .chunks_exact_mut(self.len.max(1))
            .flat_map(move |image| {
                image[format.origin..]
                    .chunks_mut(format.row.max(1))
                    .take(format.size[0])
                    .map(move |row| &mut row[..width])
            })
    }

    /// Writes dense images into this format; the zeros around them are left as they are.
    pub(super) fn fill(&self, dense: &[f32], to: &mut [f32]) {
        let width = (self.size[1] * self.size[2]).max(1);
        for (from, to) in dense.chunks_exact(width).zip(self.rows_mut(to)) {
            to.copy_from_slice(from);
        }
    }

    /// Adds up every channel over all pixels.
    pub(super) fn channel_sums(&self, values: &[f32], sums: &mut [f32]) {
        // Whole rows first: they are long enough for vectors where a pixel is not.
        let mut row_sums = vec![0.0_f32; self.size[1] * self.size[2]];
        for row in self.rows(values) {
            for (sum, value) in row_sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for pixel in row_sums.chunks_exact(self.size[2].max(1)) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
    }
}
