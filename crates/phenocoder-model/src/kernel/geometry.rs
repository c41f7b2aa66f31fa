//! Which output pixel sees which input pixels.

/// A convolution as a map from a big image to a small one; its adjoint is the transposed convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Rows, columns and channels of the big side.
    pub(super) big: [usize; 3],
    /// Rows, columns and channels of the small side.
    pub(super) small: [usize; 3],
    /// Rows and columns of the kernel.
    pub(super) kernel: [usize; 2],
    /// The step on the big side from one small pixel to the next.
    pub(super) stride: usize,
    /// Zeros above and left of the big side.
    pub(super) pad: [usize; 2],
}

impl Geometry {
    /// Keras' "same": the small side has `⌈big / stride⌉` pixels, an odd number of zeros puts the extra one behind.
    ///
    /// None where a size does not fit into a `usize`.
    pub(super) fn same(
        big: [usize; 3],
        channels: usize,
        kernel: [usize; 2],
        stride: usize,
    ) -> Option<Self> {
        let small = |i: usize| big[i].div_ceil(stride);
        let pad = |i: usize| {
            let last = small(i).saturating_sub(1).checked_mul(stride)?;
            let covered = last.checked_add(kernel[i])?;
            Some(covered.saturating_sub(big[i]) / 2)
        };
        Some(Self {
            big,
            small: [small(0), small(1), channels],
            kernel,
            stride,
            pad: [pad(0)?, pad(1)?],
        })
    }

    /// Zeros `[before, after]` on each axis; the last pixels are left out where the stride does not reach them.
    ///
    /// None where the kernel is larger than the padded image, or a size does not fit into a `usize`.
    pub(super) fn padded(
        big: [usize; 3],
        channels: usize,
        kernel: [usize; 2],
        stride: usize,
        padding: [[usize; 2]; 2],
    ) -> Option<Self> {
        let small = |i: usize| {
            let padded = big[i]
                .checked_add(padding[i][0])?
                .checked_add(padding[i][1])?;
            Some(padded.checked_sub(kernel[i])? / stride + 1)
        };
        Some(Self {
            big,
            small: [small(0)?, small(1)?, channels],
            kernel,
            stride,
            pad: padding.map(|[before, _]| before),
        })
    }

    /// The adjoint of [`padded`](Self::padded): the image that the small side makes, enlarged by `output_padding`
    /// rows and columns (fewer than the stride), then cut by `cropping` (`[before, after]` on each axis).
    ///
    /// None where nothing is left, or a size does not fit into a `usize`.
    pub(super) fn cropped(
        small: [usize; 3],
        channels: usize,
        kernel: [usize; 2],
        stride: usize,
        cropping: [[usize; 2]; 2],
        output_padding: [usize; 2],
    ) -> Option<Self> {
        let big = |i: usize| {
            let last = small[i].checked_sub(1)?.checked_mul(stride)?;
            let full = last
                .checked_add(kernel[i])?
                .checked_add(output_padding[i])?;
            let cut = cropping[i][0].checked_add(cropping[i][1])?;
            full.checked_sub(cut).filter(|&size| size > 0)
        };
        Some(Self {
            big: [big(0)?, big(1)?, channels],
            small,
            kernel,
            stride,
            pad: cropping.map(|[before, _]| before),
        })
    }

    /// Whether there is no empty side, and every buffer of a batch of `n` can be addressed.
    pub(super) fn is_sound(&self, n: usize) -> bool {
        let sides = self.big.iter().chain(&self.small).chain(&self.kernel);
        let area = |i: usize| {
            let touched = self.small[i].checked_sub(1)?.checked_mul(self.stride)?;
            let big = touched
                .checked_add(self.kernel[i])?
                .max(self.pad[i].checked_add(self.big[i])?);
            let small = self.kernel[i]
                .checked_mul(2)?
                .checked_add(self.small[i])?
                .checked_add(2)?;
            Some([big, small])
        };
        let bytes = |values: [usize; 5]| {
            let sum = values.iter().try_fold(4_usize, |a, &b| a.checked_mul(b));
            sum.is_some_and(|bytes| isize::try_from(bytes).is_ok())
        };
        let (Some(rows), Some(columns)) = (area(0), area(1)) else {
            return false;
        };
        let samples = n.max(16);
        sides.into_iter().all(|&side| side > 0)
            && bytes([samples, rows[0], columns[0], self.big[2], 1])
            && bytes([samples, rows[1], columns[1], self.small[2], 1])
            && bytes([
                1,
                self.kernel[0],
                self.kernel[1],
                self.big[2],
                self.small[2],
            ])
    }

    /// A dense layer: a one-by-one convolution of one-by-one images.
    pub(super) fn dense(inputs: usize, outputs: usize) -> Self {
        Self {
            big: [1, 1, inputs],
            small: [1, 1, outputs],
            kernel: [1, 1],
            stride: 1,
            pad: [0, 0],
        }
    }

    fn is_dense(&self) -> bool {
        *self == Self::dense(self.big[2], self.small[2])
    }

    /// Values of one sample on the big side.
    pub(super) fn big_len(&self) -> usize {
        self.big.iter().product()
    }

    /// Values of one sample on the small side.
    pub(super) fn small_len(&self) -> usize {
        self.small.iter().product()
    }

    /// Values of the kernel.
    pub(super) fn kernel_len(&self) -> usize {
        self.kernel[0] * self.kernel[1] * self.big[2] * self.small[2]
    }

    /// Rows and columns of the big side with every pixel that a kernel placed on the small side touches.
    pub(super) fn padded_big(&self) -> [usize; 2] {
        let side = |i: usize| {
            let touched = self.small[i].saturating_sub(1) * self.stride + self.kernel[i];
            touched.max(self.pad[i] + self.big[i])
        };
        [side(0), side(1)]
    }

    /// Zeros needed around the small side for the adjoint.
    pub(super) fn halo(&self) -> [usize; 2] {
        if self.is_dense() {
            return [0, 0];
        }
        [
            self.kernel[0].div_ceil(self.stride),
            self.kernel[1].div_ceil(self.stride),
        ]
    }

    /// Rows and columns of the small side with its halo.
    pub(super) fn padded_small(&self) -> [usize; 2] {
        let halo = self.halo();
        [self.small[0] + 2 * halo[0], self.small[1] + 2 * halo[1]]
    }

    /// Samples that one thread takes at a time: enough pixels to fill the tiles, few enough to stay in the cache.
    ///
    /// It depends on the shape alone, never on the number of threads: partial sums must not move.
    pub(super) fn samples_per_chunk(&self) -> usize {
        const TARGET: usize = 48 * 1024;
        const LARGEST: usize = 16;
        if self.is_dense() {
            // The weights are read once for each chunk, and they are what is large.
            return LARGEST;
        }
        let [ph, pw] = self.padded_big();
        let [sh, sw] = self.padded_small();
        let values = (ph * pw * self.big[2]).max(sh * sw * self.small[2]);
        (TARGET / values.max(1)).clamp(1, LARGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_that_of_keras() {
        // (size, kernel, stride) -> (output, zeros before)
        for (n, k, s, out, before) in [
            (32, 3, 2, 16, 0),
            (7, 3, 2, 4, 1),
            (32, 3, 1, 32, 1),
            (1, 3, 2, 1, 1),
            (2, 3, 2, 1, 0),
            (9, 5, 3, 3, 1),
            (4, 1, 2, 2, 0),
        ] {
            let g = Geometry::same([n, n, 1], 1, [k, k], s).unwrap();
            assert_eq!((g.small[0], g.pad[0]), (out, before), "n {n}, k {k}, s {s}");
        }
    }

    #[test]
    fn a_window_beyond_all_addresses_has_no_geometry() {
        let same = |window, stride| Geometry::same([4, 4, 1], 1, [window, 1], stride);
        assert!(same(usize::MAX, 1).is_none() && same(usize::MAX - 3, 1).is_some());
    }

    #[test]
    fn what_does_not_fit_has_no_geometry_or_no_sound_one() {
        let padded = |size: usize, kernel: usize, zeros: [usize; 2]| {
            Geometry::padded([size, size, 1], 1, [kernel; 2], 2, [zeros; 2])
        };
        assert_eq!(padded(5, 3, [1, 0]).unwrap().small, [2, 2, 1]);
        assert!(padded(5, 7, [1, 0]).is_none() && padded(5, 3, [usize::MAX, 0]).is_none());
        assert!(!padded(5, 3, [usize::MAX / 8, 0]).unwrap().is_sound(1));
        assert!(!padded(0, 3, [3, 3]).unwrap().is_sound(1));
        let cropped = |size: usize, stride: usize, cut: usize| {
            Geometry::cropped([size, size, 1], 1, [3; 2], stride, [[cut, 0]; 2], [1; 2])
        };
        assert_eq!(cropped(2, 2, 1).unwrap().big, [5, 5, 1]);
        assert!(cropped(2, 2, 6).is_none() && cropped(2, usize::MAX, 0).is_none());
        assert!(cropped(2, 2, 1).unwrap().is_sound(0));
        assert!(!cropped(2, 2, 1).unwrap().is_sound(usize::MAX / 64));
    }
}
