//! Points in a region.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use rayon::prelude::*;

use super::Points;
use crate::columns::{Group, as_f64};
use crate::region::{BoundingBox, Extent, affine_into, reach};
use crate::transform::Affine;
use crate::{Error, Result};

impl Points {
    /// The numbers of the points inside a box, in their order.
    ///
    /// A point is inside when each of its coordinates, mapped into the system of the box, is greater than the least and
    /// less than the greatest, as in Python; one without a coordinate that counts is not.
    /// Row groups that lie elsewhere, as the file's statistics tell, are not read.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] when the element has no map into the system, [`Error::InvalidTransform`] when it has one that
    /// cannot be used, and as [`read`](Self::read).
    #[doc(alias = "bounding_box_query")]
    pub fn rows_within(&self, region: &BoundingBox) -> Result<Vec<u64>> {
        let mut rows = Vec::new();
        for (group, inside) in self.within(region)? {
            rows.extend(inside.into_iter().map(|row| group.start + u64::from(row)));
        }
        Ok(rows)
    }

    /// Reads some columns of the points inside a box; see [`rows_within`](Self::rows_within).
    ///
    /// # Errors
    ///
    /// As [`rows_within`](Self::rows_within).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    /// use phenocoder_io::{
    ///     BoundingBox, ContainerVersion, PointsData, PointsWriteOptions, Store, Transformation,
    /// };
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut store = Store::create(folder.path().join("tissue.zarr"), ContainerVersion::V02)?;
    /// let x = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
    /// let data = PointsData::new(RecordBatch::try_from_iter([("x", x.clone()), ("y", x)])?)
    ///     .with_transformations(vec![Transformation::scale(&["x", "y"], &[10.0, 10.0], "um")?]);
    /// store.write_points("spots", &data, &PointsWriteOptions::default())?;
    ///
    /// let region = BoundingBox::new("um", &["x"], &[15.0], &[100.0])?;
    /// let spots = store.points("spots")?.read_within(&["x"], &region)?;
    /// assert_eq!(spots.num_rows(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_within(&self, columns: &[&str], region: &BoundingBox) -> Result<RecordBatch> {
        let parts = self.parts();
        let fields = parts.select(columns)?;
        let mut pieces: Vec<Vec<ArrayRef>> = vec![Vec::new(); fields.len()];
        let mut n = 0;
        for (group, inside) in self.within(region)? {
            if inside.is_empty() {
                continue;
            }
            n += inside.len();
            let inside = UInt32Array::from(inside);
            let whole = parts.read(&fields, group.start..group.start + group.rows)?;
            for (piece, column) in pieces.iter_mut().zip(whole) {
                piece.push(take(&column, &inside, None).map_err(Error::arrow(parts.key()))?);
            }
        }
        let columns = fields
            .iter()
            .zip(pieces)
            .map(|(field, pieces)| parts.concat(field, pieces))
            .collect::<Result<_>>()?;
        crate::table::batch(parts.key(), fields, columns, n)
    }

    /// The smallest box around all points in a coordinate system; `None` without points.
    ///
    /// Reads the coordinates batch by batch.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] when the element has no map into the system, [`Error::InvalidTransform`] when it has one that
    /// cannot be used, and as [`read`](Self::read).
    #[doc(alias = "get_extent")]
    pub fn extent(&self, system: &str) -> Result<Option<BoundingBox>> {
        let affine = affine_into(self.parts().key(), self.transformations(), system)?;
        let axes: Vec<&str> = affine.axes.iter().map(String::as_str).collect();
        let mut extent = Extent::new(&affine.axes);
        for batch in self.batches(&axes)? {
            let batch = batch?;
            let positions = positions(self.parts().key(), batch.columns())?;
            let mut position = vec![0.0; axes.len()];
            for row in 0..batch.num_rows() {
                fill(&mut position, &positions, row);
                for axis in 0..axes.len() {
                    let value = affine.coordinate(axis, &position);
                    extent.add(axis, value, value);
                }
            }
        }
        Ok(extent.finish(system))
    }

    /// For each row group the rows of it that are inside.
    fn within(&self, region: &BoundingBox) -> Result<Vec<(Group, Vec<u32>)>> {
        let parts = self.parts();
        let affine = region.map(parts.key(), self.transformations())?;
        let groups: Vec<Group> = parts.groups()?.into_iter().filter(|g| g.rows > 0).collect();
        let found: Vec<Result<(Group, Vec<u32>)>> = groups
            .into_par_iter()
            .map(|group| Ok((group, self.within_group(group, &affine, region)?)))
            .collect();
        found.into_iter().collect()
    }

    fn within_group(
        &self,
        group: Group,
        affine: &Affine,
        region: &BoundingBox,
    ) -> Result<Vec<u32>> {
        let parts = self.parts();
        let ranges = region.ranges(&affine.axes);
        let axes: Vec<&str> = affine.axes.iter().map(String::as_str).collect();
        if let Some(extents) = parts.extents(group, &axes)? {
            let apart = |((low, high), (least, greatest)): (&(f64, f64), &(f64, f64))| {
                let is_limited = (*least, *greatest) != (f64::NEG_INFINITY, f64::INFINITY);
                is_limited && (high <= least || low >= greatest)
            };
            if reach(affine, &extents).iter().zip(&ranges).any(apart) {
                return Ok(Vec::new());
            }
        }
        let fields = parts.select(&axes)?;
        let columns = parts.read(&fields, group.start..group.start + group.rows)?;
        let positions = positions(parts.key(), &columns)?;
        let mut position = vec![0.0; axes.len()];
        let mut inside = Vec::new();
        let rows = u32::try_from(group.rows).map_err(|_| {
            Error::invalid(parts.key(), "row groups of less than 2^32 rows", group.rows)
        })?;
        for row in 0..rows {
            fill(&mut position, &positions, row as usize);
            let is_inside = ranges.iter().enumerate().all(|(axis, &(least, greatest))| {
                let value = affine.coordinate(axis, &position);
                // An axis without limits takes every value, NaN too.
                (least < value && value < greatest)
                    || (least, greatest) == (f64::NEG_INFINITY, f64::INFINITY)
            });
            if is_inside {
                inside.push(row);
            }
        }
        Ok(inside)
    }
}

fn positions(key: &str, columns: &[ArrayRef]) -> Result<Vec<Arc<Float64Array>>> {
    columns
        .iter()
        .map(|column| as_f64(key, column).map(Arc::new))
        .collect()
}

fn fill(position: &mut [f64], columns: &[Arc<Float64Array>], row: usize) {
    for (value, column) in position.iter_mut().zip(columns) {
        *value = if column.is_null(row) {
            f64::NAN
        } else {
            column.value(row)
        };
    }
}
