//! Points of leaves in 32 bits.
//!
//! Relative to the center of a leaf that is near they are good enough to tell almost all distances from a threshold: what
//! rounding can do to a squared distance is known, and where it could matter the exact distances are asked.

use pulp::Simd;

use super::leaves::Pair;
use super::tree::LEAF;
use crate::predicates::Point;

/// What rounding does to a squared distance, as part of the largest one: a point that is seen is off by 3 · 2⁻²⁴ of its distance
/// at most, which makes 6 · 2⁻²⁴, and fewer than 26 operations round by 2⁻²⁴ each.
pub(super) const ERROR: f64 = 32.0 / (1 << 24) as f64;

/// Points of a leaf relative to the center of their box, rounded; NaN where there is no point.
#[derive(Debug, Clone)]
pub(super) struct Rounded {
    center: Point,
    /// Half of the sides of the box.
    half: [f32; 3],
    /// Half of its diagonal.
    radius: f64,
    pub(super) axes: [[f32; LEAF]; 3],
    /// Squared distances from the center.
    pub(super) squared: [f32; LEAF],
}

impl Rounded {
    /// Takes the points of a leaf and the corners of their box.
    pub(super) fn new(axes: &[[f64; LEAF]; 3], low: Point, high: Point) -> Self {
        let center = [0, 1, 2].map(|axis| low[axis] + (high[axis] - low[axis]) / 2.0);
        let half = [0, 1, 2].map(|axis| (high[axis] - center[axis]).max(center[axis] - low[axis]));
        let axes = [0, 1, 2].map(|axis| axes[axis].map(|value| (value - center[axis]) as f32));
        let [z, y, x] = &axes;
        let squared = std::array::from_fn(|i| z[i] * z[i] + y[i] * y[i] + x[i] * x[i]);
        Self {
            center,
            half: half.map(|half| half as f32),
            radius: super::squared(|axis| half[axis]).sqrt(),
            axes,
            squared,
        }
    }
}

/// The points of the first leaf as seen from the center of the second.
#[derive(Default)]
pub(super) struct Seen {
    /// Coordinates by −2.
    pub(super) axes: [[f32; LEAF]; 3],
    pub(super) squared: [f32; LEAF],
    /// Squared distances to the nearest and the farthest place in the box of the second.
    pub(super) nearest: [f32; LEAF],
    pub(super) farthest: [f32; LEAF],
    pub(super) flat: bool,
    /// What no squared distance exceeds.
    pub(super) most: f64,
    /// More than what rounding does to a squared distance.
    pub(super) error: f32,
}

impl Seen {
    /// Looks at the points of a pair; `false` where squares are too large or too small for 32 bits.
    #[inline(always)]
    pub(super) fn look(&mut self, pair: &Pair<'_>) -> bool {
        let (a, b) = (&pair.a.rounded, &pair.b.rounded);
        let shift = |axis: usize| a.center[axis] - b.center[axis];
        let reach = super::squared(shift).sqrt() + a.radius + b.radius;
        self.most = reach * reach;
        self.error = (self.most * ERROR) as f32;
        self.flat = pair.is_flat();
        for axis in usize::from(self.flat)..3 {
            let (shift, half) = (shift(axis) as f32, b.half[axis]);
            for i in 0..LEAF {
                let from = a.axes[axis][i] + shift;
                let (near, far) = ((from.abs() - half).max(0.0), from.abs() + half);
                self.axes[axis][i] = -2.0 * from;
                self.squared[i] += from * from;
                self.nearest[i] += near * near;
                self.farthest[i] += far * far;
            }
        }
        (1e-20..1e30).contains(&self.most)
    }

    /// The squared distances of one of the points from those of the second leaf; NaN where there is none.
    #[inline(always)]
    pub(super) fn squared_distances<S: Simd>(
        &self,
        simd: S,
        i: usize,
        b: &Rounded,
        squared: &mut [f32; LEAF],
    ) {
        let [bz, by, bx] = &b.axes;
        let (bz, by, bx) = (
            S::as_simd_f32s(bz).0,
            S::as_simd_f32s(by).0,
            S::as_simd_f32s(bx).0,
        );
        let (of_b, _) = S::as_simd_f32s(&b.squared);
        let own = simd.splat_f32s(self.squared[i]);
        let z = simd.splat_f32s(self.axes[0][i]);
        let y = simd.splat_f32s(self.axes[1][i]);
        let x = simd.splat_f32s(self.axes[2][i]);
        let (squared, _) = S::as_mut_simd_f32s(squared);
        for (j, squared) in squared.iter_mut().enumerate() {
            let mut sum = simd.add_f32s(of_b[j], own);
            sum = simd.mul_add_e_f32s(x, bx[j], sum);
            sum = simd.mul_add_e_f32s(y, by[j], sum);
            if !self.flat {
                sum = simd.mul_add_e_f32s(z, bz[j], sum);
            }
            *squared = sum;
        }
    }
}
