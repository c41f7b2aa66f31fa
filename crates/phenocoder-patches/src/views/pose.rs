//! How a cell lies in its patch.

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView2, ArrayView3};

/// How a cell lies in its patch: where, turned how far, how large.
///
/// # Differences from scikit-image
///
/// The orientation of a mask that is as long as broad is 0, where scikit-image's `regionprops` gives −π/4.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Pose {
    /// Row and column of the mask's centroid; the middle of the patch where the mask is empty.
    pub center: [f64; 2],
    /// The angle of the major axis from the row axis (downwards) towards the column axis (right), in (−π/2, π/2].
    ///
    /// It is 0 where it is not defined: for an empty mask, for one pixel, and for a mask without a longer axis.
    pub orientation: f64,
    /// Pixels of the mask.
    pub area: usize,
}

/// Below this difference of the two second moments, relative to their sum, no axis is longer.
const ROUND: f64 = 1e-6;

impl Pose {
    /// The pose of a mask, from its central moments of second order.
    ///
    /// # Shapes
    ///
    /// `mask`: `[y, x]`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::array;
    /// use phenocoder_patches::views::Pose;
    ///
    /// let bar = array![[true, false, false], [false, true, false], [false, false, true]];
    /// let pose = Pose::of_mask(bar.view());
    /// assert_eq!(pose.center, [1.0, 1.0]);
    /// assert!((pose.orientation - std::f64::consts::FRAC_PI_4).abs() < 1e-12);
    /// ```
    #[doc(alias = "regionprops")]
    #[must_use]
    pub fn of_mask(mask: ArrayView2<'_, bool>) -> Self {
        let (height, width) = mask.dim();
        let (mut area, mut sum_y, mut sum_x) = (0_usize, 0_usize, 0_usize);
        for ((y, x), &inside) in mask.indexed_iter() {
            if inside {
                area += 1;
                sum_y += y;
                sum_x += x;
            }
        }
        if area == 0 {
            return Self {
                center: middle(height, width),
                orientation: 0.0,
                area,
            };
        }
        let n = area as f64;
        let center = [sum_y as f64 / n, sum_x as f64 / n];
        let (mut yy, mut xx, mut xy) = (0.0, 0.0, 0.0);
        for ((y, x), &inside) in mask.indexed_iter() {
            if inside {
                let (dy, dx) = (y as f64 - center[0], x as f64 - center[1]);
                yy += dy * dy;
                xx += dx * dx;
                xy += dy * dx;
            }
        }
        let (along, across) = (yy - xx, 2.0 * xy);
        let orientation = if along.hypot(across) <= ROUND * (yy + xx) {
            0.0
        } else {
            0.5 * libm::atan2(across, along)
        };
        Self {
            center,
            orientation,
            area,
        }
    }

    /// The diameter of the circle that has as many pixels.
    #[must_use]
    pub fn diameter(&self) -> f64 {
        2.0 * (self.area as f64 / PI).sqrt()
    }
}

/// The pixels of a patch that belong to its cell: those above `background` in any channel.
pub(super) fn derived_mask(patch: ArrayView3<'_, f32>, background: f32) -> Array2<bool> {
    let (height, width, _) = patch.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        patch
            .slice(ndarray::s![y, x, ..])
            .iter()
            .any(|&value| value > background)
    })
}

/// Row and column of the middle of a patch.
pub(super) fn middle(height: usize, width: usize) -> [f64; 2] {
    let middle = |n: usize| (n as f64 - 1.0) / 2.0;
    [middle(height), middle(width)]
}
