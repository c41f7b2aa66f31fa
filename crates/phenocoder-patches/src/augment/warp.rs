//! Patches turned and moved by fractions of a pixel.

use serde::{Deserialize, Serialize};

use crate::extract::window::reflect;

/// What lies outside of a patch when it is rotated or shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Border {
    /// The patch mirrored at its border pixels, which are not repeated (numpy's `reflect`, as
    /// [`BorderPolicy::Reflect`](crate::BorderPolicy::Reflect)).
    #[default]
    Reflect,
    /// The border pixel.
    Nearest,
    /// Zero: right for cells whose surroundings are blanked.
    Zero,
}

impl Border {
    /// The pixel of `0..n` that stands at place `at`.
    fn place(self, at: isize, n: usize) -> Option<usize> {
        if (0..n as isize).contains(&at) {
            return Some(at as usize);
        }
        match self {
            Self::Reflect => Some(reflect(at, n)),
            Self::Nearest => Some(if at < 0 { 0 } else { n - 1 }),
            Self::Zero => None,
        }
    }
}

/// A rotation about the centre of a patch, then a shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Warp {
    sin: f64,
    cos: f64,
    down: f64,
    right: f64,
}

impl Warp {
    /// Turns against the clock by an angle in radians, then moves down and right by pixels.
    ///
    /// Sine and cosine are those of libm, for the same bits on every platform.
    pub(super) fn new(angle: f64, down: f64, right: f64) -> Self {
        let (sin, cos) = libm::sincos(angle);
        Self {
            sin,
            cos,
            down,
            right,
        }
    }

    /// Fills `to` with the moved patch `from`, both `[y, x, c]`, by bilinear interpolation.
    ///
    /// The centre of a patch is that of its pixels' centres, `((h − 1) / 2, (w − 1) / 2)`.
    /// Interpolated values lie between those of their four pixels, up to a rounding.
    pub(super) fn apply(
        &self,
        from: &[f32],
        to: &mut [f32],
        (h, w, c): (usize, usize, usize),
        border: Border,
    ) {
        let zeros = vec![0.0; c];
        let pixel = |y: isize, x: isize| match (border.place(y, h), border.place(x, w)) {
            (Some(y), Some(x)) => &from[(y * w + x) * c..][..c],
            _ => &zeros,
        };
        let (middle_y, middle_x) = ((h as f64 - 1.0) / 2.0, (w as f64 - 1.0) / 2.0);
        for (place, to) in to.chunks_exact_mut(c).enumerate() {
            let dy = (place / w) as f64 - middle_y - self.down;
            let dx = (place % w) as f64 - middle_x - self.right;
            let y = self.cos * dy + self.sin * dx + middle_y;
            let x = self.cos * dx - self.sin * dy + middle_x;
            let (top, left) = (y.floor(), x.floor());
            let (below, beside) = ((y - top) as f32, (x - left) as f32);
            let (top, left) = (top as isize, left as isize);
            let corners = [
                pixel(top, left),
                pixel(top, left + 1),
                pixel(top + 1, left),
                pixel(top + 1, left + 1),
            ];
            for (channel, to) in to.iter_mut().enumerate() {
                let [a, b, c, d] = corners.map(|pixel| pixel[channel]);
                let upper = a + beside * (b - a);
                let lower = c + beside * (d - c);
                *to = upper + below * (lower - upper);
            }
        }
    }
}
