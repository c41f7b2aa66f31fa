//! Circles and polygons in flat arrays.

use std::ops::Range;

use crate::{Error, Result};

/// What shapes of one element are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GeometryKind {
    /// A point; with a radius, a circle.
    Point,
    /// An outline with holes.
    Polygon,
    /// Several polygons that are one object.
    MultiPolygon,
}

impl GeometryKind {
    /// The name of OGC's simple features, as Python's `geom_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Point => "Point",
            Self::Polygon => "Polygon",
            Self::MultiPolygon => "MultiPolygon",
        }
    }
}

/// Geometries in flat arrays: coordinates, and offsets of rings, polygons and objects.
///
/// This is the layout of `GeoArrow`: nothing is allocated for an object of its own, and a million outlines are five
/// vectors.
/// Coordinates lie one vertex after the other, `x, y` or `x, y, z`.
///
/// # Examples
///
/// ```
/// use phenocoder_io::{Geometries, GeometryKind};
///
/// let mut shapes = Geometries::new(2)?;
/// let outline = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0], [0.0, 0.0]];
/// let hole = [[1.0, 1.0], [1.0, 2.0], [2.0, 2.0], [1.0, 1.0]];
/// shapes.push_polygon([outline.as_flattened(), hole.as_flattened()])?;
/// assert_eq!(shapes.len(), 1);
/// let shape = shapes.get(0).unwrap();
/// assert_eq!(shape.kind(), GeometryKind::Polygon);
/// assert_eq!(shape.area(), 15.5);
/// assert!(shape.contains([3.0, 3.0]) && !shape.contains([1.25, 1.75]));
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "GeoDataFrame")]
#[doc(alias = "ShapesModel")]
pub struct Geometries {
    dimensions: usize,
    kinds: Vec<GeometryKind>,
    coordinates: Vec<f64>,
    /// For each ring its first vertex, and the end.
    rings: Vec<usize>,
    /// For each polygon its first ring, and the end; a point is a polygon of one ring of one vertex.
    polygons: Vec<usize>,
    /// For each object its first polygon, and the end.
    objects: Vec<usize>,
}

impl Geometries {
    /// No geometries yet, with 2 or 3 dimensions.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for another number of dimensions.
    pub fn new(dimensions: usize) -> Result<Self> {
        if !matches!(dimensions, 2 | 3) {
            return Err(Error::Config {
                name: "dimensions",
                problem: format!("2 or 3 are possible, not {dimensions}"),
            });
        }
        Ok(Self {
            dimensions,
            kinds: Vec::new(),
            coordinates: Vec::new(),
            rings: vec![0],
            polygons: vec![0],
            objects: vec![0],
        })
    }

    /// Points, the centers of circles.
    ///
    /// # Shapes
    ///
    /// `coordinates`: one vertex after the other.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for other than 2 or 3 dimensions, and [`Error::InvalidGeometry`] when the last point is cut short.
    pub fn from_points(dimensions: usize, coordinates: &[f64]) -> Result<Self> {
        let mut out = Self::new(dimensions)?;
        let chunks = coordinates.chunks_exact(dimensions);
        if !chunks.remainder().is_empty() {
            let row = (coordinates.len() / dimensions) as u64;
            return Err(Error::geometry(
                "geometries",
                row,
                "the last point is cut short",
            ));
        }
        chunks.for_each(|point| out.add_point(point));
        Ok(out)
    }

    /// Appends a point.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGeometry`] when it has not as many coordinates as there are dimensions.
    pub fn push_point(&mut self, point: &[f64]) -> Result<()> {
        if point.len() != self.dimensions {
            return Err(self.wrong(format!("a point has {} coordinates", point.len())));
        }
        self.add_point(point);
        Ok(())
    }

    /// Appends a polygon: its outline, then its holes, each as coordinates one vertex after the other.
    ///
    /// The last vertex of a ring repeats the first, as in OGC's simple features; it is added where it does not.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGeometry`] when a ring has fewer than 3 vertices, or one of them is cut short.
    pub fn push_polygon<'a>(&mut self, rings: impl IntoIterator<Item = &'a [f64]>) -> Result<()> {
        self.push_multipolygon_as(GeometryKind::Polygon, [rings])
    }

    /// Appends an object of several polygons.
    ///
    /// # Errors
    ///
    /// As [`push_polygon`](Self::push_polygon).
    pub fn push_multipolygon<'a, R: IntoIterator<Item = &'a [f64]>>(
        &mut self,
        polygons: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        self.push_multipolygon_as(GeometryKind::MultiPolygon, polygons)
    }

    fn push_multipolygon_as<'a, R: IntoIterator<Item = &'a [f64]>>(
        &mut self,
        kind: GeometryKind,
        polygons: impl IntoIterator<Item = R>,
    ) -> Result<()> {
        let mark = self.mark();
        for polygon in polygons {
            for ring in polygon {
                if let Err(error) = self.push_ring(ring) {
                    self.reset(mark);
                    return Err(error);
                }
            }
            self.end_polygon();
        }
        self.end_object(kind);
        Ok(())
    }

    fn push_ring(&mut self, ring: &[f64]) -> Result<()> {
        let d = self.dimensions;
        if !ring.len().is_multiple_of(d) {
            return Err(self.wrong("the last vertex of a ring is cut short".to_owned()));
        }
        if ring.len() < 3 * d {
            return Err(self.wrong(format!("a ring has {} vertices", ring.len() / d)));
        }
        self.coordinates.extend_from_slice(ring);
        let (first, last) = (&ring[..d], &ring[ring.len() - d..]);
        if first != last {
            self.coordinates.extend_from_slice(first);
        }
        self.end_ring();
        Ok(())
    }

    /// Appends a geometry of others.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidGeometry`] when it has another number of dimensions.
    pub fn push(&mut self, geometry: &Geometry<'_>) -> Result<()> {
        if geometry.dimensions() != self.dimensions {
            return Err(self.wrong(format!("it has {} dimensions", geometry.dimensions())));
        }
        for polygon in geometry.polygons() {
            for ring in polygon.rings() {
                self.coordinates.extend_from_slice(ring.coordinates());
                self.end_ring();
            }
            self.end_polygon();
        }
        self.end_object(geometry.kind());
        Ok(())
    }

    fn wrong(&self, problem: String) -> Error {
        Error::geometry("geometries", self.len() as u64, problem)
    }

    /// The number of geometries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// 2, or 3 with `z`.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// What each geometry is.
    #[must_use]
    pub fn kinds(&self) -> &[GeometryKind] {
        &self.kinds
    }

    /// All coordinates, one vertex after the other, in the order of the geometries.
    #[must_use]
    pub fn coordinates(&self) -> &[f64] {
        &self.coordinates
    }

    /// The number of vertices of all geometries.
    #[must_use]
    pub fn n_vertices(&self) -> usize {
        self.coordinates.len() / self.dimensions
    }

    /// For each ring the number of its first vertex, and the number of vertices.
    #[must_use]
    pub fn ring_offsets(&self) -> &[usize] {
        &self.rings
    }

    /// For each polygon the number of its first ring, and the number of rings; a point is a ring of one vertex.
    #[must_use]
    pub fn polygon_offsets(&self) -> &[usize] {
        &self.polygons
    }

    /// For each geometry the number of its first polygon, and the number of polygons.
    #[must_use]
    pub fn geometry_offsets(&self) -> &[usize] {
        &self.objects
    }

    /// A geometry, or `None` beyond the last.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Geometry<'_>> {
        (at < self.len()).then_some(Geometry { all: self, at })
    }

    /// The geometries in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Geometry<'_>> {
        (0..self.len()).map(|at| Geometry { all: self, at })
    }

    /// Some of the geometries, in the order asked for.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] beyond the last.
    pub fn select(&self, places: &[usize]) -> Result<Self> {
        let mut out = Self::new(self.dimensions)?;
        for &at in places {
            let geometry = self.get(at).ok_or_else(|| Error::NoEntry {
                key: "geometries".to_owned(),
                what: "row",
                name: at.to_string(),
                available: format!("0..{}", self.len()),
            })?;
            out.push(&geometry)?;
        }
        Ok(out)
    }

    /// The least and greatest `x, y` of all vertices: `[x_min, y_min, x_max, y_max]`; `None` without any.
    #[must_use]
    pub fn bounds(&self) -> Option<[f64; 4]> {
        bounds(&self.coordinates, self.dimensions)
    }

    /// Appends all of others; `key` is for messages.
    pub(crate) fn append(&mut self, key: &str, other: &Self) -> Result<()> {
        if self.dimensions != other.dimensions {
            if self.is_empty() {
                *self = other.clone();
                return Ok(());
            }
            if !other.is_empty() {
                let problem = "geometries with and without z are mixed";
                return Err(Error::geometry(key, self.len() as u64, problem));
            }
            return Ok(());
        }
        let (v, r, p) = (
            self.n_vertices(),
            self.rings.len() - 1,
            self.polygons.len() - 1,
        );
        self.kinds.extend_from_slice(&other.kinds);
        self.coordinates.extend_from_slice(&other.coordinates);
        self.rings
            .extend(other.rings.iter().skip(1).map(|at| at + v));
        self.polygons
            .extend(other.polygons.iter().skip(1).map(|at| at + r));
        self.objects
            .extend(other.objects.iter().skip(1).map(|at| at + p));
        Ok(())
    }

    /// Takes flat arrays as they are stored, and checks that they fit together.
    pub(crate) fn from_offsets(
        dimensions: usize,
        kinds: Vec<GeometryKind>,
        coordinates: Vec<f64>,
        [rings, polygons, objects]: [Vec<usize>; 3],
    ) -> Result<Self, String> {
        let fits = |offsets: &[usize], n: usize, what: &str| {
            let (first, last) = (offsets.first(), offsets.last());
            let is_right = first == Some(&0) && last == Some(&n) && offsets.is_sorted();
            let problem = || format!("the offsets of {what} do not fit what they point to");
            is_right.then_some(()).ok_or_else(problem)
        };
        if !matches!(dimensions, 2 | 3) || !coordinates.len().is_multiple_of(dimensions) {
            return Err(format!("coordinates do not come in {dimensions}"));
        }
        fits(&rings, coordinates.len() / dimensions, "rings")?;
        fits(&polygons, rings.len() - 1, "polygons")?;
        fits(&objects, polygons.len() - 1, "objects")?;
        if kinds.len() != objects.len() - 1 {
            return Err(format!(
                "{} kinds for {} objects",
                kinds.len(),
                objects.len() - 1
            ));
        }
        let out = Self {
            dimensions,
            kinds,
            coordinates,
            rings,
            polygons,
            objects,
        };
        for geometry in out.iter() {
            let is_right = match geometry.kind() {
                GeometryKind::Point => {
                    let mut polygons = geometry.polygons();
                    polygons.len() == 1 && polygons.all(|p| p.rings().all(|r| r.len() == 1))
                }
                GeometryKind::Polygon => {
                    let mut polygons = geometry.polygons();
                    polygons.len() == 1 && polygons.all(|p| p.rings().all(|r| r.is_closed()))
                }
                GeometryKind::MultiPolygon => geometry
                    .polygons()
                    .all(|p| p.rings().all(|r| r.is_closed())),
            };
            if !is_right {
                return Err(format!("row {}: the rings are not closed", geometry.at));
            }
        }
        Ok(out)
    }

    pub(crate) fn add_point(&mut self, point: &[f64]) {
        self.coordinates.extend_from_slice(point);
        self.end_ring();
        self.end_polygon();
        self.end_object(GeometryKind::Point);
    }

    pub(crate) fn add_vertex(&mut self, vertex: &[f64]) {
        self.coordinates.extend_from_slice(vertex);
    }

    pub(crate) fn reserve_vertices(&mut self, n: usize) {
        self.coordinates.reserve(n.saturating_mul(self.dimensions));
    }

    /// Whether the vertices since the last ring are a closed ring, and none of them is fine.
    pub(crate) fn is_closed(&self) -> bool {
        let d = self.dimensions;
        let start = self.rings.last().map_or(0, |&ring| ring * d);
        let ring = self.coordinates.get(start..).unwrap_or_default();
        ring.is_empty() || ring[..d] == ring[ring.len() - d..]
    }

    pub(crate) fn end_ring(&mut self) {
        self.rings.push(self.n_vertices());
    }

    pub(crate) fn end_polygon(&mut self) {
        self.polygons.push(self.rings.len() - 1);
    }

    pub(crate) fn end_object(&mut self, kind: GeometryKind) {
        self.objects.push(self.polygons.len() - 1);
        self.kinds.push(kind);
    }

    fn mark(&self) -> [usize; 3] {
        [
            self.coordinates.len(),
            self.rings.len(),
            self.polygons.len(),
        ]
    }

    fn reset(&mut self, [coordinates, rings, polygons]: [usize; 3]) {
        self.coordinates.truncate(coordinates);
        self.rings.truncate(rings);
        self.polygons.truncate(polygons);
    }

    fn vertices(&self, vertices: Range<usize>) -> &[f64] {
        let d = self.dimensions;
        &self.coordinates[vertices.start * d..vertices.end * d]
    }
}

fn bounds(coordinates: &[f64], dimensions: usize) -> Option<[f64; 4]> {
    let mut vertices = coordinates.chunks_exact(dimensions);
    let first = vertices.next()?;
    let start = [first[0], first[1], first[0], first[1]];
    Some(vertices.fold(start, |[x0, y0, x1, y1], v| {
        [x0.min(v[0]), y0.min(v[1]), x1.max(v[0]), y1.max(v[1])]
    }))
}

/// One of [`Geometries`].
#[derive(Debug, Clone, Copy)]
pub struct Geometry<'a> {
    all: &'a Geometries,
    at: usize,
}

impl<'a> Geometry<'a> {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> GeometryKind {
        self.all.kinds[self.at]
    }

    /// 2, or 3 with `z`.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.all.dimensions
    }

    /// Its polygons; a point is one of a ring of one vertex.
    pub fn polygons(&self) -> impl ExactSizeIterator<Item = Polygon<'a>> + use<'a> {
        let all = self.all;
        (all.objects[self.at]..all.objects[self.at + 1]).map(|at| Polygon { all, at })
    }

    /// All of its coordinates, one vertex after the other.
    #[must_use]
    pub fn coordinates(&self) -> &'a [f64] {
        let all = self.all;
        let ring = |object: usize| all.rings[all.polygons[all.objects[object]]];
        all.vertices(ring(self.at)..ring(self.at + 1))
    }

    /// The least and greatest `x, y`: `[x_min, y_min, x_max, y_max]`; `None` without vertices.
    #[must_use]
    pub fn bounds(&self) -> Option<[f64; 4]> {
        bounds(self.coordinates(), self.all.dimensions)
    }

    /// The area of the outlines less that of the holes, by the shoelace formula; 0 for a point.
    ///
    /// `z` is not looked at.
    #[must_use]
    pub fn area(&self) -> f64 {
        self.polygons()
            .map(|polygon| {
                let mut rings = polygon.rings().map(|ring| ring.signed_area().abs());
                rings.next().unwrap_or(0.0) - rings.sum::<f64>()
            })
            .sum()
    }

    /// Whether a position lies in one of the polygons and in none of its holes.
    ///
    /// A position on an edge may be inside or outside; that of a hole likewise.
    #[must_use]
    pub fn contains(&self, [x, y]: [f64; 2]) -> bool {
        self.polygons().any(|polygon| {
            // Even and odd over all rings: a hole lies within the outline.
            let crossings = polygon.rings().filter(|ring| ring.surrounds(x, y)).count();
            crossings % 2 == 1
        })
    }
}

/// An outline with holes, of a [`Geometry`].
#[derive(Debug, Clone, Copy)]
pub struct Polygon<'a> {
    all: &'a Geometries,
    at: usize,
}

impl<'a> Polygon<'a> {
    /// The outline, then the holes.
    pub fn rings(&self) -> impl ExactSizeIterator<Item = Ring<'a>> + use<'a> {
        let all = self.all;
        (all.polygons[self.at]..all.polygons[self.at + 1]).map(|at| Ring { all, at })
    }
}

/// A closed line of a [`Polygon`]: the last vertex repeats the first.
#[derive(Debug, Clone, Copy)]
pub struct Ring<'a> {
    all: &'a Geometries,
    at: usize,
}

impl<'a> Ring<'a> {
    /// The coordinates, one vertex after the other.
    #[must_use]
    pub fn coordinates(&self) -> &'a [f64] {
        let all = self.all;
        all.vertices(all.rings[self.at]..all.rings[self.at + 1])
    }

    /// The vertices as `x, y`.
    pub fn vertices(&self) -> impl ExactSizeIterator<Item = [f64; 2]> + use<'a> {
        self.coordinates()
            .chunks_exact(self.all.dimensions)
            .map(|v| [v[0], v[1]])
    }

    /// The number of vertices, with the last one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.rings[self.at + 1] - self.all.rings[self.at]
    }

    /// Whether there are no vertices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is empty, or has at least 4 vertices of which the last repeats the first.
    fn is_closed(&self) -> bool {
        let d = self.all.dimensions;
        let c = self.coordinates();
        self.is_empty() || (self.len() >= 4 && c[..d] == c[c.len() - d..])
    }

    /// The area by the shoelace formula, positive for rings against the clock (with `y` upwards).
    #[must_use]
    pub fn signed_area(&self) -> f64 {
        let Some([x0, y0]) = self.vertices().next() else {
            return 0.0;
        };
        // Relative to the first vertex, so that far from the origin no digits are lost.
        let mut vertices = self.vertices().map(|[x, y]| [x - x0, y - y0]);
        let mut last = vertices.next().unwrap_or_default();
        let mut twice = 0.0;
        for vertex in vertices {
            twice += last[0] * vertex[1] - vertex[0] * last[1];
            last = vertex;
        }
        twice / 2.0
    }

    /// Whether a ray from a position to the right crosses the line an odd number of times.
    fn surrounds(&self, x: f64, y: f64) -> bool {
        let mut inside = false;
        let mut vertices = self.vertices();
        let Some(mut a) = vertices.next() else {
            return false;
        };
        for b in vertices {
            if (a[1] > y) != (b[1] > y) && x < (b[0] - a[0]) * (y - a[1]) / (b[1] - a[1]) + a[0] {
                inside = !inside;
            }
            a = b;
        }
        inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: f64, y: f64, side: f64) -> Vec<f64> {
        [[x, y], [x + side, y], [x + side, y + side], [x, y + side]].concat()
    }

    #[test]
    fn rings_are_closed_and_holes_are_taken_off() {
        let mut shapes = Geometries::new(2).unwrap();
        let (outer, hole) = (square(0.0, 0.0, 4.0), square(1.0, 1.0, 2.0));
        shapes.push_polygon([outer.as_slice(), &hole]).unwrap();
        shapes
            .push_multipolygon([
                vec![outer.as_slice()],
                vec![square(10.0, 0.0, 1.0).as_slice()],
            ])
            .unwrap();
        shapes.push_point(&[7.0, 8.0]).unwrap();
        let areas: Vec<f64> = shapes.iter().map(|shape| shape.area()).collect();
        assert_eq!(areas, [12.0, 17.0, 0.0]);
        assert_eq!(shapes.get(1).unwrap().bounds(), Some([0.0, 0.0, 11.0, 4.0]));
        assert_eq!(shapes.n_vertices(), 21);
        assert_eq!(shapes.get(2).unwrap().coordinates(), [7.0, 8.0]);
        assert!(!shapes.get(0).unwrap().contains([2.0, 2.0]));
        assert!(shapes.get(1).unwrap().contains([10.5, 0.5]));
        let some = shapes.select(&[2, 0]).unwrap();
        assert_eq!(some.kinds(), [GeometryKind::Point, GeometryKind::Polygon]);
        assert!(shapes.select(&[3]).is_err());
        let mut twice = shapes.clone();
        twice.append("k", &some).unwrap();
        assert_eq!(twice.select(&[0, 1, 2]).unwrap(), shapes);
        assert_eq!(twice.select(&[3, 4]).unwrap(), some);
    }

    #[test]
    fn what_is_no_ring_is_refused_and_leaves_the_others() {
        let mut shapes = Geometries::new(2).unwrap();
        let good = square(0.0, 0.0, 1.0);
        assert!(shapes.push_polygon([good.as_slice(), &[1.0, 2.0]]).is_err());
        assert!(shapes.push_polygon([&good[..7]]).is_err());
        assert!(shapes.push_point(&[1.0]).is_err());
        assert_eq!(shapes, Geometries::new(2).unwrap());
        assert!(Geometries::new(4).is_err());
        assert!(Geometries::from_points(2, &[1.0, 2.0, 3.0]).is_err());
    }
}
