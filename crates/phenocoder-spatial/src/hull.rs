//! Convex hulls of groups of cells that hang together.

mod components;
mod planar;
mod region;
mod solid;

use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::neighbors::check_finite;

pub use components::{
    ComponentConfig, DegreeFilter, HullComponent, HullComponents, hull_components,
};
pub(crate) use components::{centroid, of_undirected};
pub(crate) use region::Region;

/// The size of a convex hull.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ConvexHull {
    /// The volume in three dimensions, the area in two.
    pub volume: f64,
    /// The surface in three dimensions, the perimeter in two.
    pub area: f64,
    /// The number of points that are corners.
    pub n_vertices: usize,
}

/// Computes the convex hull of points in two or three dimensions, or `None` when it has no volume.
///
/// In two dimensions by a monotone chain (Andrew 1979, doi:10.1016/0020-0190(79)90072-3), in three by Quickhull (Barber,
/// Dobkin and Huhdanpaa 1996, doi:10.1145/235815.235821); on which side of an edge or a face a point lies is decided exactly
/// (Shewchuk 1997, doi:10.1007/PL00009321), so there is no tolerance: `None` means that the points lie exactly on a line or a
/// plane, or are fewer than the corners of a simplex.
/// The cost is O(n log n), in three dimensions expected.
///
/// # Shapes
///
/// `points`: `[n, 2]` or `[n, 3]`.
///
/// # Examples
///
/// ```
/// use ndarray::{Array2, array};
/// use phenocoder_spatial::hull::convex_hull;
///
/// let square = array![[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0], [1.0, 1.0]];
/// let hull = convex_hull(square.view())?.expect("the points do not lie on a line");
/// assert_eq!((hull.volume, hull.area, hull.n_vertices), (4.0, 8.0, 4));
///
/// let flat = array![[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]];
/// assert_eq!(convex_hull(flat.view())?, None);
/// # Ok::<(), phenocoder_spatial::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Dimensions`] for points in other than two or three dimensions, [`Error::NotFinite`] for the first coordinate
/// that is not finite.
///
/// # Differences from SciPy
///
/// Qhull refuses points that are nearly flat; here only those that are exactly flat have no hull.
pub fn convex_hull(points: ArrayView2<'_, f64>) -> Result<Option<ConvexHull>> {
    check_finite(points)?;
    match points.ncols() {
        2 => Ok(planar::hull(points)),
        3 => Ok(solid::hull(points)),
        found => Err(Error::Dimensions {
            expected: "2 or 3",
            found,
        }),
    }
}

#[cfg(test)]
mod tests;
