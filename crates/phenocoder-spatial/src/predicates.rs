//! Which side of a line or plane a point lies on, exactly (Shewchuk 1997, doi:10.1007/PL00009321).

use robust::{Coord, Coord3D, orient2d, orient3d};

/// A point in space.
pub(crate) type Point = [f64; 3];

/// Positive when `d` lies below the plane in which a, b and c run anticlockwise, 0 in the plane; only the sign is exact.
pub(crate) fn orientation(a: Point, b: Point, c: Point, d: Point) -> f64 {
    orient3d(coord(a), coord(b), coord(c), coord(d))
}

/// Positive when `e` lies within the sphere through the corners of a tetrahedron of positive [`orientation`].
pub(crate) fn in_sphere(corners: [Point; 4], e: Point) -> f64 {
    let [a, b, c, d] = corners.map(coord);
    robust::insphere(a, b, c, d, coord(e))
}

/// Whether three points lie exactly on a line: they do in all three projections.
pub(crate) fn collinear(a: Point, b: Point, c: Point) -> bool {
    [(0, 1), (0, 2), (1, 2)].into_iter().all(|(i, j)| {
        let coord = |p: Point| Coord { x: p[i], y: p[j] };
        orient2d(coord(a), coord(b), coord(c)) == 0.0
    })
}

fn coord([x, y, z]: Point) -> Coord3D<f64> {
    Coord3D { x, y, z }
}
