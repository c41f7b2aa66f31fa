//! Delaunay tetrahedra, by inserting one point after the other (Bowyer 1981, doi:10.1093/comjnl/24.2.162; Watson 1981,
//! doi:10.1093/comjnl/24.2.167) with exact predicates.
//!
//! All space is covered: outside the hull every face has a *ghost*, a tetrahedron whose fourth corner is infinitely far.
//! A new point is in *conflict* with the tetrahedra whose circumscribed spheres hold it; these are removed and the hole is
//! filled with tetrahedra that have the new point as a corner.
//! A point on a sphere is in no conflict with it, as if every point lay a little higher than those before it on the
//! paraboloid that turns spheres into planes: this makes the result unique for an order of the points, and no tetrahedron
//! is ever flat.

use crate::predicates::{Point, collinear, in_sphere, orientation};

/// The corner at infinity.
const GHOST: u32 = u32::MAX;

/// No tetrahedron.
const NONE: u32 = u32::MAX;

/// Four points that span space, by their places; `None` when there are none.
pub(super) fn simplex(points: &[Point]) -> Option<[usize; 4]> {
    let first = points.first()?;
    let b = (1..points.len()).find(|&b| points[b] != *first)?;
    let c = (b + 1..points.len()).find(|&c| !collinear(*first, points[b], points[c]))?;
    let d = (c + 1..points.len())
        .find(|&d| orientation(*first, points[b], points[c], points[d]) != 0.0)?;
    Some(
        if orientation(*first, points[b], points[c], points[d]) > 0.0 {
            [0, b, c, d]
        } else {
            [0, c, b, d]
        },
    )
}

/// The tetrahedra of distinct points, by the places of their corners; `simplex` are four that span space.
pub(super) fn tetrahedra(points: &[Point], simplex: [usize; 4]) -> Vec<[u32; 4]> {
    let mut mesh = Mesh::new(points, simplex.map(|place| place as u32));
    for place in 0..points.len() {
        if !simplex.contains(&place) {
            mesh.insert(place as u32);
        }
    }
    mesh.into_tetrahedra()
}

/// Tetrahedra with their neighbors across the face opposite to each corner.
///
/// Corners are in the order that makes [`orientation`] positive; for a ghost, when a point outside stands in for infinity.
struct Mesh<'a> {
    points: &'a [Point],
    corners: Vec<[u32; 4]>,
    across: Vec<[u32; 4]>,
    /// Places in the two lists above that can be used again.
    free: Vec<u32>,
    /// When a tetrahedron was last asked for a conflict and what came out: 2 × round + (0 or 1).
    asked: Vec<u64>,
    round: u64,
    /// Where the last point was inserted.
    last: u32,
    scratch: Scratch,
}

#[derive(Default)]
struct Scratch {
    cavity: Vec<u32>,
    /// Faces of the cavity: a tetrahedron within, the corner opposite to the face, and the tetrahedron outside.
    rim: Vec<(u32, usize, u32)>,
    /// Edges of the faces of the cavity: two corners, a new tetrahedron and its corner opposite to the face at that edge.
    edges: Vec<(u32, u32, u32, usize)>,
}

impl<'a> Mesh<'a> {
    fn new(points: &'a [Point], first: [u32; 4]) -> Self {
        let mut mesh = Self {
            points,
            corners: vec![first],
            across: vec![[1, 2, 3, 4]],
            free: Vec::new(),
            asked: vec![0; 5],
            round: 1,
            last: 0,
            scratch: Scratch::default(),
        };
        for opposite in 0..4 {
            // Two corners trade places, since infinity lies on the other side of the face than the corner it stands for.
            let mut corners = first;
            corners[opposite] = GHOST;
            corners.swap((opposite + 1) % 4, (opposite + 2) % 4);
            mesh.corners.push(corners);
        }
        for ghost in 1..5_u32 {
            let corners = mesh.corners[ghost as usize];
            let mut across = [NONE; 4];
            for (slot, &corner) in corners.iter().enumerate() {
                across[slot] = match first.iter().position(|&c| c == corner) {
                    // Across the face without this corner lies the ghost that stands for it.
                    Some(place) => place as u32 + 1,
                    None => 0,
                };
            }
            mesh.across.push(across);
        }
        mesh
    }

    fn insert(&mut self, point: u32) {
        self.round += 1;
        let start = self.locate(point);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.cavity.clear();
        scratch.rim.clear();
        scratch.edges.clear();
        scratch.cavity.push(start);
        self.asked[start as usize] = 2 * self.round + 1;
        let mut next = 0;
        while let Some(&tetrahedron) = scratch.cavity.get(next) {
            next += 1;
            for opposite in 0..4 {
                let other = self.across[tetrahedron as usize][opposite];
                let asked = self.asked[other as usize];
                if asked == 2 * self.round + 1 {
                    continue;
                }
                if asked != 2 * self.round && self.is_in_conflict(other, point) {
                    self.asked[other as usize] = 2 * self.round + 1;
                    scratch.cavity.push(other);
                } else {
                    self.asked[other as usize] = 2 * self.round;
                    scratch.rim.push((tetrahedron, opposite, other));
                }
            }
        }
        self.fill(point, &mut scratch);
        self.free.extend_from_slice(&scratch.cavity);
        self.scratch = scratch;
    }

    /// Puts tetrahedra between the new point and the faces of the cavity.
    fn fill(&mut self, point: u32, scratch: &mut Scratch) {
        for &(within, opposite, outside) in &scratch.rim {
            let mut corners = self.corners[within as usize];
            corners[opposite] = point;
            let mut across = [NONE; 4];
            across[opposite] = outside;
            let new = self.add(corners, across);
            if let Some(back) = self.across[outside as usize]
                .iter()
                .position(|&n| n == within)
            {
                self.across[outside as usize][back] = new;
            }
            for slot in (0..4).filter(|&slot| slot != opposite) {
                let mut ends = (0..4)
                    .filter(|&end| end != slot && end != opposite)
                    .map(|end| corners[end]);
                let (a, b) = (ends.next().unwrap_or(GHOST), ends.next().unwrap_or(GHOST));
                scratch.edges.push((a.min(b), a.max(b), new, slot));
            }
            self.last = new;
        }
        // Every edge belongs to two faces of the cavity.
        scratch.edges.sort_unstable();
        for pair in scratch.edges.chunks_exact(2) {
            let (_, _, a, slot_a) = pair[0];
            let (_, _, b, slot_b) = pair[1];
            self.across[a as usize][slot_a] = b;
            self.across[b as usize][slot_b] = a;
        }
    }

    fn add(&mut self, corners: [u32; 4], across: [u32; 4]) -> u32 {
        if let Some(place) = self.free.pop() {
            self.corners[place as usize] = corners;
            self.across[place as usize] = across;
            self.asked[place as usize] = 0;
            return place;
        }
        self.corners.push(corners);
        self.across.push(across);
        self.asked.push(0);
        self.corners.len() as u32 - 1
    }

    /// A tetrahedron in conflict with the point: one that holds it, or a ghost whose face sees it.
    ///
    /// Walks from the last point through faces that have the new point behind them; in Delaunay tetrahedra such a walk
    /// never comes back to where it was (Edelsbrunner 1990, doi:10.1007/BF02122778).
    fn locate(&self, point: u32) -> u32 {
        let p = self.points[point as usize];
        let mut at = self.last;
        if let Some(ghost) = self.corners[at as usize].iter().position(|&c| c == GHOST) {
            at = self.across[at as usize][ghost];
        }
        'walk: loop {
            let corners = self.corners[at as usize];
            if corners.contains(&GHOST) {
                return at;
            }
            let mut places = corners.map(|corner| self.points[corner as usize]);
            for opposite in 0..4 {
                let corner = std::mem::replace(&mut places[opposite], p);
                if orientation(places[0], places[1], places[2], places[3]) < 0.0 {
                    at = self.across[at as usize][opposite];
                    continue 'walk;
                }
                places[opposite] = corner;
            }
            return at;
        }
    }

    fn is_in_conflict(&self, tetrahedron: u32, point: u32) -> bool {
        let corners = self.corners[tetrahedron as usize];
        let p = self.points[point as usize];
        let place = |corner: u32| self.points[corner as usize];
        let Some(ghost) = corners.iter().position(|&corner| corner == GHOST) else {
            return in_sphere(corners.map(place), p) > 0.0;
        };
        let [a, b, c, d] = corners.map(|corner| if corner == GHOST { p } else { place(corner) });
        let side = orientation(a, b, c, d);
        // In the plane of the face, the sphere of the tetrahedron within cuts out the circle of the face.
        side > 0.0
            || (side == 0.0 && self.is_in_conflict(self.across[tetrahedron as usize][ghost], point))
    }

    fn into_tetrahedra(mut self) -> Vec<[u32; 4]> {
        for &place in &self.free {
            self.corners[place as usize] = [GHOST; 4];
        }
        self.corners.retain(|corners| !corners.contains(&GHOST));
        self.corners
    }
}
