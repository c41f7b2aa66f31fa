//! The inside of a convex hull.

use ndarray::ArrayView2;
use phenocoder_core::Stream;

use super::{planar, solid};
use crate::predicates::{Point, cross, dot, sub};

/// A convex region, as simplices that fill it and planes that bound it.
///
/// Points are padded with zeros in front, as everywhere in this crate.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    /// The number of axes.
    d: usize,
    /// Corners of the simplices; those of the plane have a fourth that is not used.
    simplices: Vec<[Point; 4]>,
    /// The area or volume of the simplices up to each.
    up_to: Vec<f64>,
    /// Unit normals that point inward, and a point of each plane.
    planes: Vec<(Point, Point)>,
}

impl Region {
    /// The hull of points in two or three dimensions; `None` when it has no area or volume.
    pub(crate) fn hull(points: ArrayView2<'_, f64>) -> Option<Self> {
        let d = points.ncols();
        let mut simplices = Vec::new();
        let mut planes = Vec::new();
        if d == 2 {
            let corners = planar::corners(points)?;
            let at = |i: usize| {
                let [y, x] = corners[i % corners.len()];
                [0.0, y, x]
            };
            for i in 0..corners.len() {
                let (a, b) = (at(i), at(i + 1));
                let along = sub(b, a);
                planes.push((unit([0.0, -along[2], along[1]]), a));
                if (1..corners.len() - 1).contains(&i) {
                    simplices.push([at(0), a, b, [0.0; 3]]);
                }
            }
        } else {
            let triangles = solid::triangles(points)?;
            let origin = triangles[0][0];
            for [a, b, c] in triangles {
                planes.push((unit(cross(sub(c, a), sub(b, a))), a));
                simplices.push([origin, a, b, c]);
            }
        }
        let mut sum = 0.0;
        let up_to = simplices.iter().map(|&simplex| {
            sum += measure(simplex, d);
            sum
        });
        Some(Self {
            d,
            up_to: up_to.collect(),
            simplices,
            planes,
        })
    }

    /// The area or volume.
    pub(crate) fn measure(&self) -> f64 {
        self.up_to.last().copied().unwrap_or(0.0)
    }

    /// How far a point within is from the border.
    pub(crate) fn border_distance(&self, p: Point) -> f64 {
        let distance = |(normal, at): &(Point, Point)| dot(*normal, sub(p, *at));
        let nearest = self
            .planes
            .iter()
            .map(distance)
            .fold(f64::INFINITY, f64::min);
        // Corners lie on the border to within rounding.
        nearest.max(0.0)
    }

    /// A point drawn uniformly.
    pub(crate) fn draw(&self, stream: &mut Stream) -> Point {
        let place = stream.uniform() * self.measure();
        let simplex = self.up_to.partition_point(|&up_to| up_to <= place);
        let corners = &self.simplices[simplex.min(self.simplices.len() - 1)];
        // The gaps between sorted uniform numbers are uniform weights of the corners.
        let mut cuts = [0.0, 0.0, 0.0];
        for cut in &mut cuts[..self.d] {
            *cut = stream.uniform();
        }
        cuts[..self.d].sort_by(f64::total_cmp);
        let mut p = [0.0; 3];
        let mut before = 0.0;
        for (i, corner) in corners[..=self.d].iter().enumerate() {
            let cut = if i < self.d { cuts[i] } else { 1.0 };
            for (p, c) in p.iter_mut().zip(corner) {
                *p += (cut - before) * c;
            }
            before = cut;
        }
        p
    }
}

fn measure([a, b, c, e]: [Point; 4], d: usize) -> f64 {
    let normal = cross(sub(b, a), sub(c, a));
    if d == 2 {
        dot(normal, normal).sqrt() / 2.0
    } else {
        dot(normal, sub(e, a)).abs() / 6.0
    }
}

fn unit(a: Point) -> Point {
    let length = dot(a, a).sqrt();
    a.map(|x| x / length)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::Seed;

    use super::*;

    #[test]
    fn a_square_and_a_cube_have_their_size_border_and_points() {
        let square = array![[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0], [1.0, 1.5]];
        let cube = Array2::from_shape_fn((8, 3), |(i, axis)| f64::from((i >> axis & 1) as u8 * 2));
        let mut stream = Seed::new(1).stream("region", 0);
        for (points, d, size) in [(square, 2, 4.0), (cube, 3, 8.0)] {
            let region = Region::hull(points.view()).unwrap();
            assert!((region.measure() - size).abs() < 1e-12);
            let mut middle = [1.0, 1.0, 1.0];
            middle[..3 - d].fill(0.0);
            assert!((region.border_distance(middle) - 1.0).abs() < 1e-12);
            let n = 20_000;
            let (mut mean, mut near) = ([0.0; 3], 0);
            for _ in 0..n {
                let p = region.draw(&mut stream);
                for axis in 3 - d..3 {
                    assert!((0.0..=2.0).contains(&p[axis]));
                    mean[axis] += p[axis] / f64::from(n);
                }
                near += u32::from(region.border_distance(p) < 0.5);
            }
            assert!(
                mean[3 - d..].iter().all(|m| (m - 1.0).abs() < 0.02),
                "{mean:?}"
            );
            // The inner half, along each axis, has 2^−d of the area.
            let expected = 1.0 - 0.5_f64.powi(d as i32);
            assert!((f64::from(near) / f64::from(n) - expected).abs() < 0.02);
        }
    }

    #[test]
    fn points_on_a_line_have_no_inside() {
        assert!(Region::hull(array![[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]].view()).is_none());
    }
}
