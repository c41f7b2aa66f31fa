//! Points in space: which side of a line or plane they lie on, exactly (Shewchuk 1997, doi:10.1007/PL00009321), and their
//! differences and products.

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

pub(crate) fn sub(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: Point, b: Point) -> Point {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}
