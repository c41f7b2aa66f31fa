//! Hulls in space, by Quickhull with exact predicates.
//!
//! A face is *visible* from a point strictly above its plane.
//! Because that is decided exactly, the faces of one plane are visible together, what is visible is one piece without holes, and
//! no face is ever flat; coplanar input needs no special case.

use ndarray::ArrayView2;

use super::ConvexHull;
use crate::predicates::{Point, collinear, cross, dot, orientation, sub};

pub(super) fn hull(points: ArrayView2<'_, f64>) -> Option<ConvexHull> {
    expanded(points, |quickhull| quickhull.measure())
}

/// The triangles of the hull, anticlockwise from outside; `None` when the points lie in a plane.
pub(super) fn triangles(points: ArrayView2<'_, f64>) -> Option<Vec<[Point; 3]>> {
    expanded(points, |quickhull| {
        let alive = quickhull.faces.iter().filter(|face| face.alive);
        let corners = alive.map(|face| face.corners.map(|i| quickhull.points[i as usize]));
        corners.collect()
    })
}

fn expanded<T>(points: ArrayView2<'_, f64>, result: impl Fn(&Quickhull<'_>) -> T) -> Option<T> {
    let mut points: Vec<Point> = points
        .rows()
        .into_iter()
        // Adding 0 turns −0 into 0, so that equal points sort together.
        .map(|p| [p[0] + 0.0, p[1] + 0.0, p[2] + 0.0])
        .collect();
    points.sort_by(|a, b| {
        let axis = |i: usize| a[i].total_cmp(&b[i]);
        axis(0).then(axis(1)).then(axis(2))
    });
    points.dedup();
    let simplex = simplex(&points)?;
    let mut quickhull = Quickhull::new(&points, simplex);
    while let Some(face) = quickhull.pending.pop() {
        quickhull.expand(face);
    }
    Some(result(&quickhull))
}

/// Four points that do not lie in a plane, the fourth below the others.
fn simplex(points: &[Point]) -> Option<[usize; 4]> {
    let farthest = |measure: &dyn Fn(Point) -> f64| {
        let by_measure = |&a: &usize, &b: &usize| measure(points[a]).total_cmp(&measure(points[b]));
        (0..points.len()).max_by(by_measure)
    };
    let first = *points.first()?;
    let a = 0;
    let b = farthest(&|p| squared(sub(p, first)))?;
    let along = sub(points[b], first);
    let mut c = farthest(&|p| squared(cross(along, sub(p, first))))?;
    if collinear(first, points[b], points[c]) {
        // The farthest by rounded numbers is on the line, yet another may be off it.
        c = (0..points.len()).find(|&c| !collinear(first, points[b], points[c]))?;
    }
    let volume = |p: Point| orientation(first, points[b], points[c], p);
    let d = farthest(&|p| volume(p).abs())?;
    match volume(points[d]) {
        // The sign is exact: all lie in a plane.
        0.0 => None,
        // Positive: the fourth is below the others when these run anticlockwise.
        volume if volume > 0.0 => Some([a, b, c, d]),
        _ => Some([a, c, b, d]),
    }
}

/// A triangle whose corners run anticlockwise when seen from outside.
struct Face {
    corners: [u32; 3],
    /// The faces across the edges from corner 0 to 1, 1 to 2 and 2 to 0.
    across: [u32; 3],
    /// Points above this face that no other face has been given.
    above: Vec<u32>,
    /// The one of `above` that is farthest away.
    farthest: Option<u32>,
    height: f64,
    alive: bool,
}

struct Quickhull<'a> {
    points: &'a [Point],
    faces: Vec<Face>,
    /// Faces that had points above them when they were made.
    pending: Vec<u32>,
}

impl<'a> Quickhull<'a> {
    fn new(points: &'a [Point], [a, b, c, d]: [usize; 4]) -> Self {
        let [a, b, c, d] = [a, b, c, d].map(|i| i as u32);
        let mut hull = Self {
            points,
            faces: Vec::new(),
            pending: Vec::new(),
        };
        // The fourth point is below the first face.
        hull.push([a, b, c], [1, 2, 3]);
        hull.push([b, a, d], [0, 3, 2]);
        hull.push([c, b, d], [0, 1, 3]);
        hull.push([a, c, d], [0, 2, 1]);
        let others = (0..points.len() as u32).filter(|i| ![a, b, c, d].contains(i));
        hull.distribute(others.collect(), &[0, 1, 2, 3]);
        hull
    }

    fn push(&mut self, corners: [u32; 3], across: [u32; 3]) -> u32 {
        self.faces.push(Face {
            corners,
            across,
            above: Vec::new(),
            farthest: None,
            height: 0.0,
            alive: true,
        });
        (self.faces.len() - 1) as u32
    }

    /// How far above a face a point lies, up to a factor of the face; the sign is exact.
    fn height(&self, face: u32, point: u32) -> f64 {
        let [a, b, c] = self.faces[face as usize]
            .corners
            .map(|i| self.points[i as usize]);
        -orientation(a, b, c, self.points[point as usize])
    }

    /// Gives every point to the first of the faces that it is above; the others are inside.
    fn distribute(&mut self, points: Vec<u32>, faces: &[u32]) {
        for point in points {
            let above = faces.iter().find_map(|&face| {
                let height = self.height(face, point);
                (height > 0.0).then_some((face, height))
            });
            if let Some((face, height)) = above {
                let face = &mut self.faces[face as usize];
                if height > face.height {
                    face.height = height;
                    face.farthest = Some(point);
                }
                face.above.push(point);
            }
        }
        let waiting = |&&face: &&u32| self.faces[face as usize].farthest.is_some();
        self.pending.extend(faces.iter().filter(waiting));
    }

    /// Adds the farthest point above a face to the hull.
    fn expand(&mut self, face: u32) {
        let Some(apex) = self.faces[face as usize].farthest else {
            return;
        };
        if !self.faces[face as usize].alive {
            return;
        }
        let horizon = self.remove_visible(face, apex);
        let mut orphans = Vec::new();
        for &removed in &horizon.removed {
            orphans.append(&mut self.faces[removed as usize].above);
        }
        orphans.retain(|&point| point != apex);
        let first = self.faces.len() as u32;
        let n = horizon.edges.len() as u32;
        for (i, edge) in horizon.edges.iter().enumerate() {
            let i = i as u32;
            let (next, previous) = (first + (i + 1) % n, first + (i + n - 1) % n);
            let new = self.push([edge.from, edge.to, apex], [edge.beyond, next, previous]);
            let beyond = &mut self.faces[edge.beyond as usize];
            for side in 0..3 {
                if beyond.corners[side] == edge.to && beyond.corners[(side + 1) % 3] == edge.from {
                    beyond.across[side] = new;
                }
            }
        }
        let new: Vec<u32> = (first..first + n).collect();
        self.distribute(orphans, &new);
    }

    /// Removes the faces visible from a point and walks round their border.
    fn remove_visible(&mut self, face: u32, apex: u32) -> Horizon {
        let mut horizon = Horizon {
            edges: Vec::new(),
            removed: vec![face],
        };
        self.faces[face as usize].alive = false;
        // Depth first, and every face's edges in order from the one entered by: so the border is met edge after edge.
        let mut stack = vec![(face, 0_usize, 3_usize)];
        while let Some((face, side, left)) = stack.pop() {
            if left == 0 {
                continue;
            }
            stack.push((face, (side + 1) % 3, left - 1));
            let across = self.faces[face as usize].across[side];
            if !self.faces[across as usize].alive {
                continue;
            }
            let corners = self.faces[face as usize].corners;
            let (from, to) = (corners[side], corners[(side + 1) % 3]);
            if self.height(across, apex) > 0.0 {
                self.faces[across as usize].alive = false;
                horizon.removed.push(across);
                let theirs = self.faces[across as usize].corners;
                let entry = (0..3).find(|&s| theirs[s] == to).unwrap_or(0);
                stack.push((across, (entry + 1) % 3, 2));
            } else {
                horizon.edges.push(Edge {
                    from,
                    to,
                    beyond: across,
                });
            }
        }
        horizon
    }

    fn measure(&self) -> ConvexHull {
        let alive = || self.faces.iter().filter(|face| face.alive);
        let origin = alive()
            .next()
            .map_or([0.0; 3], |f| self.points[f.corners[0] as usize]);
        let (mut six_volumes, mut twice_area) = (0.0, 0.0);
        let mut corners = Vec::new();
        for face in alive() {
            let [a, b, c] = face.corners.map(|i| self.points[i as usize]);
            let normal = cross(sub(b, a), sub(c, a));
            twice_area += squared(normal).sqrt();
            let to_face = sub(a, origin);
            six_volumes += dot(normal, to_face);
            corners.extend(face.corners);
        }
        corners.sort_unstable();
        corners.dedup();
        ConvexHull {
            volume: six_volumes.abs() / 6.0,
            area: twice_area / 2.0,
            n_vertices: self.count_corners(&corners),
        }
    }

    /// A point within an edge or a facet can be a corner of triangles; it is none of the hull.
    fn count_corners(&self, corners: &[u32]) -> usize {
        let mut normals: Vec<Vec<u32>> = vec![Vec::new(); self.points.len()];
        for (i, face) in self.faces.iter().enumerate() {
            if face.alive {
                for &corner in &face.corners {
                    normals[corner as usize].push(i as u32);
                }
            }
        }
        let is_corner = |&&corner: &&u32| {
            // The planes round the point, each once: a corner has at least three.
            let mut planes: Vec<u32> = Vec::new();
            for &face in &normals[corner as usize] {
                let same = |&other: &u32| {
                    let theirs = self.faces[face as usize].corners;
                    theirs.iter().all(|&p| self.height(other, p) == 0.0)
                };
                if !planes.iter().any(same) {
                    planes.push(face);
                }
            }
            planes.len() >= 3
        };
        corners.iter().filter(is_corner).count()
    }
}

struct Horizon {
    edges: Vec<Edge>,
    removed: Vec<u32>,
}

struct Edge {
    from: u32,
    to: u32,
    beyond: u32,
}

fn squared(a: Point) -> f64 {
    dot(a, a)
}
