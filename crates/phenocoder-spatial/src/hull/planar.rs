//! Hulls in the plane.

use ndarray::ArrayView2;
use robust::{Coord, orient2d};

use super::ConvexHull;

/// The corners of the hull, anticlockwise with the first axis to the right; `None` when the points lie on a line.
pub(super) fn corners(points: ArrayView2<'_, f64>) -> Option<Vec<[f64; 2]>> {
    let mut sorted: Vec<[f64; 2]> = points
        .rows()
        .into_iter()
        // Adding 0 turns −0 into 0, which the total order would put before it.
        .map(|p| [p[0] + 0.0, p[1] + 0.0])
        .collect();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    sorted.dedup();
    let lower = half(sorted.iter().copied());
    let upper = half(sorted.iter().rev().copied());
    let corners: Vec<[f64; 2]> = lower.into_iter().chain(upper).collect();
    (corners.len() >= 3).then_some(corners)
}

pub(super) fn hull(points: ArrayView2<'_, f64>) -> Option<ConvexHull> {
    let corners = corners(points)?;
    let next = |i: usize| corners[(i + 1) % corners.len()];
    // Relative to a corner, so that points far from 0 lose no digits.
    let [oy, ox] = corners[0];
    let (mut twice_area, mut perimeter) = (0.0, 0.0);
    for (i, &[ay, ax]) in corners.iter().enumerate() {
        let [by, bx] = next(i);
        twice_area += (ay - oy) * (bx - ox) - (by - oy) * (ax - ox);
        perimeter += (by - ay).hypot(bx - ax);
    }
    Some(ConvexHull {
        volume: twice_area.abs() / 2.0,
        area: perimeter,
        n_vertices: corners.len(),
    })
}

/// The corners from the first to the last point along one side, without the last.
fn half(points: impl Iterator<Item = [f64; 2]>) -> Vec<[f64; 2]> {
    let coord = |p: [f64; 2]| Coord { x: p[0], y: p[1] };
    let mut chain: Vec<[f64; 2]> = Vec::new();
    for point in points {
        while let [.., a, b] = chain[..] {
            if orient2d(coord(a), coord(b), coord(point)) > 0.0 {
                break;
            }
            chain.pop();
        }
        chain.push(point);
    }
    chain.pop();
    chain
}
