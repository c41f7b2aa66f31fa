//! Shapes in a region.

use arrow::array::UInt64Array;
use arrow::compute::{take, take_record_batch};
use rayon::prelude::*;

use super::data::ShapesData;
use super::geometry::{Geometries, Geometry, GeometryKind, Polygon};
use super::open::Shapes;
use crate::region::{BoundingBox, Extent, affine_into};
use crate::transform::Affine;
use crate::{Error, Result};

impl Shapes {
    /// The numbers of the objects that meet a box, in their order.
    ///
    /// A polygon does when it shares a position with the box, be it on the edge; its outline is mapped into the system
    /// of the box, so that the answer is the same however the element lies in it.
    /// A circle does when its center lies in the box, as in Python.
    /// Where the box is limited along `z`, one vertex of an object with `z` must lie between.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] when the element has no map into the system, [`Error::InvalidTransform`] when it has one that
    /// cannot be used, and as [`geometries`](Self::geometries).
    #[doc(alias = "bounding_box_query")]
    pub fn rows_within(&self, region: &BoundingBox) -> Result<Vec<u64>> {
        Ok(self.within(region)?.0)
    }

    /// Reads the objects that meet a box; see [`rows_within`](Self::rows_within).
    ///
    /// # Errors
    ///
    /// As [`rows_within`](Self::rows_within) and [`read`](Self::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use phenocoder_io::{
    ///     BoundingBox, ContainerVersion, Geometries, ShapesData, ShapesWriteOptions, Store,
    /// };
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("tissue.zarr"), ContainerVersion::V02)?;
    /// let mut cells = Geometries::new(2)?;
    /// cells.push_polygon([&[0.0, 0.0, 9.0, 0.0, 9.0, 9.0][..]])?;
    /// cells.push_polygon([&[20.0, 0.0, 29.0, 0.0, 29.0, 9.0][..]])?;
    /// store.write_shapes("cells", &ShapesData::new(cells), &ShapesWriteOptions::default())?;
    ///
    /// let region = BoundingBox::new("global", &["x", "y"], &[7.0, 1.0], &[8.0, 2.0])?;
    /// let found = store.shapes("cells")?.read_within(&region)?;
    /// assert_eq!(found.n_rows(), 1);
    /// assert_eq!(found.geometries.bounds(), Some([0.0, 0.0, 9.0, 9.0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_within(&self, region: &BoundingBox) -> Result<ShapesData> {
        let (rows, geometries) = self.within(region)?;
        let rows = UInt64Array::from(rows);
        let names: Vec<&str> = self.fields().iter().map(|f| f.name().as_str()).collect();
        let failed = |error| Error::arrow(self.key())(error);
        let columns = if names.is_empty() {
            ShapesData::new(geometries.clone()).columns
        } else {
            take_record_batch(&self.read(&names)?, &rows).map_err(failed)?
        };
        let index = take(&self.index()?, &rows, None).map_err(failed)?;
        let mut data = ShapesData::new(geometries)
            .with_columns(columns)
            .with_index(self.index_name()?, index)
            .with_transformations(self.transformations().to_vec());
        data.geometry_column = self.geometry_column().to_owned();
        data.geometry_place = self.geometry_place();
        Ok(data)
    }

    fn within(&self, region: &BoundingBox) -> Result<(Vec<u64>, Geometries)> {
        let affine = region.map(self.key(), self.transformations())?;
        let mut rows = Vec::new();
        let mut found = Geometries::new(self.axes().len())?;
        let mut start = 0;
        for batch in self.batches(&[])? {
            let geometries = batch?.geometries;
            let places: Vec<usize> = (0..geometries.len())
                .into_par_iter()
                .filter(|&at| {
                    geometries
                        .get(at)
                        .is_some_and(|g| meets(&g, &affine, region))
                })
                .collect();
            rows.extend(places.iter().map(|&at| start + at as u64));
            found.append(self.key(), &geometries.select(&places)?)?;
            start += geometries.len() as u64;
        }
        Ok((rows, found))
    }

    /// The smallest box around all objects in a coordinate system; `None` without any.
    ///
    /// Circles count with their radius along `x` and `y`: a map that stretches them makes ellipses of them.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] when the element has no map into the system, [`Error::InvalidTransform`] when it has one that
    /// cannot be used, and as [`geometries`](Self::geometries) and [`radii`](Self::radii).
    #[doc(alias = "get_extent")]
    pub fn extent(&self, system: &str) -> Result<Option<BoundingBox>> {
        let affine = affine_into(self.key(), self.transformations(), system)?;
        let mut extent = Extent::new(&affine.axes);
        let radii = self.radii()?;
        let mut start = 0;
        for batch in self.batches(&[])? {
            let geometries = batch?.geometries;
            for (row, geometry) in geometries.iter().enumerate() {
                let radius = match (&radii, geometry.kind()) {
                    (Some(radii), GeometryKind::Point) => radii.get(start + row).copied(),
                    _ => None,
                };
                for vertex in geometry.coordinates().chunks_exact(geometries.dimensions()) {
                    for (axis, name) in affine.axes.iter().enumerate() {
                        let value = affine.coordinate(axis, vertex);
                        let (x, y) = (affine.factor(name, "x"), affine.factor(name, "y"));
                        let reach = radius.unwrap_or(0.0) * x.hypot(y);
                        extent.add(axis, value - reach, value + reach);
                    }
                }
            }
            start += geometries.len();
        }
        Ok(extent.finish(system))
    }
}

/// Whether an object shares a position with a box.
fn meets(geometry: &Geometry<'_>, affine: &Affine, region: &BoundingBox) -> bool {
    let [x, y, z] = ["x", "y", "z"].map(|axis| region.range(axis));
    let everywhere = (f64::NEG_INFINITY, f64::INFINITY);
    let (x, y) = (x.unwrap_or(everywhere), y.unwrap_or(everywhere));
    let mut vertices = geometry.coordinates().chunks_exact(geometry.dimensions());
    if let (Some((low, high)), Some(row)) = (z, affine.axes.iter().position(|a| a == "z"))
        && !vertices.any(|v| (low..=high).contains(&affine.coordinate(row, v)))
    {
        return false;
    }
    if geometry.kind() == GeometryKind::Point {
        let center = geometry.coordinates();
        let inside = |axis: usize, (low, high): (f64, f64)| {
            (low..=high).contains(&affine.coordinate(axis, center))
        };
        return inside(0, x) && inside(1, y);
    }
    geometry
        .polygons()
        .any(|polygon| polygon_meets(&polygon, geometry.dimensions(), affine, x, y))
}

fn polygon_meets(
    polygon: &Polygon<'_>,
    dimensions: usize,
    affine: &Affine,
    x: (f64, f64),
    y: (f64, f64),
) -> bool {
    // A position of the box, for the case that all of it lies within the polygon.
    let probe = [(x.0 + x.1) / 2.0, (y.0 + y.1) / 2.0];
    let mut is_around = false;
    for ring in polygon.rings() {
        let mut last: Option<[f64; 2]> = None;
        for vertex in ring.coordinates().chunks_exact(dimensions) {
            // The first two axes of a map are x and y.
            let b = [affine.coordinate(0, vertex), affine.coordinate(1, vertex)];
            if let Some(a) = last {
                if segment_meets(a, b, x, y) {
                    return true;
                }
                if (a[1] > probe[1]) != (b[1] > probe[1])
                    && probe[0] < (b[0] - a[0]) * (probe[1] - a[1]) / (b[1] - a[1]) + a[0]
                {
                    is_around = !is_around;
                }
            }
            last = Some(b);
        }
    }
    is_around
}

/// Whether a line between two positions has one in a box, by the method of Liang and Barsky (1984).
fn segment_meets(a: [f64; 2], b: [f64; 2], x: (f64, f64), y: (f64, f64)) -> bool {
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for (a, b, (low, high)) in [(a[0], b[0], x), (a[1], b[1], y)] {
        let step = b - a;
        if !step.is_finite() {
            return false;
        }
        if step == 0.0 {
            if a < low || a > high {
                return false;
            }
            continue;
        }
        let (enter, leave) = ((low - a) / step, (high - a) / step);
        first = first.max(enter.min(leave));
        last = last.min(enter.max(leave));
    }
    first <= last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_meet_a_box_also_at_its_edge() {
        let (x, y) = ((0.0, 2.0), (0.0, 1.0));
        let meets = |a, b| segment_meets(a, b, x, y);
        assert!(meets([-1.0, 0.5], [3.0, 0.5]));
        assert!(meets([-1.0, -1.0], [0.0, 0.0]));
        assert!(meets([0.5, 0.5], [0.6, 0.6]));
        assert!(meets([2.0, -5.0], [2.0, 5.0]));
        assert!(!meets([-1.0, 0.0], [0.0, 2.0]));
        assert!(!meets([2.1, -5.0], [2.1, 5.0]));
        assert!(!meets([f64::NAN, 0.0], [1.0, 0.5]));
        let everywhere = (f64::NEG_INFINITY, f64::INFINITY);
        assert!(segment_meets(
            [5.0, 5.0],
            [6.0, 7.0],
            everywhere,
            everywhere
        ));
    }

    #[test]
    fn a_box_within_a_polygon_meets_it_and_one_within_its_hole_does_not() {
        let mut shapes = Geometries::new(2).unwrap();
        let square = |s: f64| [-s, -s, s, -s, s, s, -s, s];
        shapes
            .push_polygon([&square(10.0)[..], &square(5.0)[..]])
            .unwrap();
        let shape = shapes.get(0).unwrap();
        let affine = Affine::identity(2).unwrap();
        let region = |from: f64, to: f64| {
            BoundingBox::new("global", &["x", "y"], &[from, from], &[to, to]).unwrap()
        };
        assert!(meets(&shape, &affine, &region(6.0, 7.0)));
        assert!(!meets(&shape, &affine, &region(-1.0, 1.0)));
        assert!(meets(&shape, &affine, &region(-50.0, 50.0)));
        assert!(meets(&shape, &affine, &region(10.0, 11.0)));
        assert!(!meets(&shape, &affine, &region(10.1, 11.0)));
    }
}
