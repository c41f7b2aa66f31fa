//! Turning, shifting and stretching with linear interpolation.

use ndarray::{Array3, ArrayView3};

use super::pose::middle;

/// From places in a new patch to places in the old one, both in (row, column), the new ones relative to its middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    /// The place that the middle of the new patch shows.
    pub(super) center: [f64; 2],
    matrix: [[f64; 2]; 2],
}

impl Affine {
    /// The new patch shows `center` in its middle.
    pub(super) fn centered(center: [f64; 2]) -> Self {
        Self {
            center,
            matrix: [[1.0, 0.0], [0.0, 1.0]],
        }
    }

    /// The same, with what lies along `angle` in the old patch lying along the rows of the new one.
    pub(super) fn upright(self, angle: f64) -> Self {
        let (sin, cos) = libm::sincos(angle);
        self.then([[cos, -sin], [sin, cos]])
    }

    /// The same, with the new patch turned by `angle` from the row axis towards the column axis.
    pub(super) fn turned(self, angle: f64) -> Self {
        self.upright(-angle)
    }

    /// The same, with the new patch enlarged.
    pub(super) fn enlarged(self, factor: f64) -> Self {
        self.then([[1.0 / factor, 0.0], [0.0, 1.0 / factor]])
    }

    /// The same, mirrored.
    pub(super) fn mirrored(self, (rows, columns): (bool, bool)) -> Self {
        let sign = |reversed| if reversed { -1.0 } else { 1.0 };
        self.then([[sign(rows), 0.0], [0.0, sign(columns)]])
    }

    /// A step that is done on the new patch: its map comes first.
    fn then(self, step: [[f64; 2]; 2]) -> Self {
        let m = self.matrix;
        let entry = |i: usize, j: usize| m[i][0] * step[0][j] + m[i][1] * step[1][j];
        Self {
            center: self.center,
            matrix: [[entry(0, 0), entry(0, 1)], [entry(1, 0), entry(1, 1)]],
        }
    }

    /// The new patch by bilinear interpolation; outside the old one everything is 0, and no value leaves its range.
    pub(super) fn sample(&self, patch: ArrayView3<'_, f32>) -> Array3<f32> {
        let (height, width, channels) = patch.dim();
        let [middle_y, middle_x] = middle(height, width);
        let patch = patch.as_standard_layout();
        let mut out = Array3::zeros((height, width, channels));
        let (Some(old), Some(new)) = (patch.as_slice(), out.as_slice_mut()) else {
            return out;
        };
        if channels == 0 {
            return out;
        }
        let range = ranges(old, channels);
        for (place, pixel) in new.chunks_exact_mut(channels).enumerate() {
            let (dy, dx) = (
                (place / width) as f64 - middle_y,
                (place % width) as f64 - middle_x,
            );
            let [row, column] =
                [0, 1].map(|i| self.center[i] + self.matrix[i][0] * dy + self.matrix[i][1] * dx);
            let (top, left) = (row.floor(), column.floor());
            let (down, right) = (row - top, column - left);
            for (row, weight_y) in [(top, 1.0 - down), (top + 1.0, down)] {
                for (column, weight_x) in [(left, 1.0 - right), (left + 1.0, right)] {
                    let (Some(row), Some(column)) = (inside(row, height), inside(column, width))
                    else {
                        continue;
                    };
                    let weight = (weight_y * weight_x) as f32;
                    let from = &old[(row * width + column) * channels..][..channels];
                    for (to, from) in pixel.iter_mut().zip(from) {
                        *to += weight * from;
                    }
                }
            }
            for (value, &(low, high)) in pixel.iter_mut().zip(&range) {
                *value = value.clamp(low, high);
            }
        }
        out
    }
}

/// The row or column of this place, if there is one.
fn inside(place: f64, n: usize) -> Option<usize> {
    (place >= 0.0 && place < n as f64).then_some(place as usize)
}

/// The range of each channel, 0 included.
fn ranges(values: &[f32], channels: usize) -> Vec<(f32, f32)> {
    let mut ranges = vec![(0.0_f32, 0.0_f32); channels];
    for pixel in values.chunks_exact(channels) {
        for ((low, high), &value) in ranges.iter_mut().zip(pixel) {
            *low = low.min(value);
            *high = high.max(value);
        }
    }
    ranges
}
