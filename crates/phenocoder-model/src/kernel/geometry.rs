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
    pub(super) fn same(
        big: [usize; 3],
        channels: usize,
        kernel: [usize; 2],
        stride: usize,
    ) -> Self {
        let small = |i: usize| big[i].div_ceil(stride);
        let pad = |i: usize| {
            let covered = small(i).saturating_sub(1) * stride + kernel[i];
            covered.saturating_sub(big[i]) / 2
        };
        Self {
            big,
            small: [small(0), small(1), channels],
            kernel,
            stride,
            pad: [pad(0), pad(1)],
        }
    }

    /// A dense layer: a one-by-one convolution of one-by-one images.
    pub(super) fn dense(inputs: usize, outputs: usize) -> Self {
        Self::same([1, 1, inputs], outputs, [1, 1], 1)
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
        let [ph, pw] = self.padded_big();
        let [sh, sw] = self.padded_small();
        let values = (ph * pw * self.big[2]).max(sh * sw * self.small[2]);
        (TARGET / values.max(1)).clamp(1, 16)
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
            let g = Geometry::same([n, n, 1], 1, [k, k], s);
            assert_eq!((g.small[0], g.pad[0]), (out, before), "n {n}, k {k}, s {s}");
        }
    }
}
