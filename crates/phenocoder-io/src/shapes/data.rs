//! Shapes in memory.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;

use super::geometry::Geometries;
use crate::transform::Transformation;

/// Shapes in memory, to be written or as they were read.
///
/// # Examples
///
/// ```
/// use phenocoder_io::{Geometries, ShapesData};
///
/// let mut geometries = Geometries::new(2)?;
/// geometries.push_polygon([&[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0][..]])?;
/// let shapes = ShapesData::new(geometries);
/// assert_eq!(shapes.index.len(), 1);
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShapesData {
    /// The geometries, one for each row.
    pub geometries: Geometries,
    /// The columns without the geometry; circles have a column `radius`.
    pub columns: RecordBatch,
    /// The names of the rows: whole numbers or text.
    pub index: ArrayRef,
    /// What the index is called, where it has a name.
    pub index_name: Option<String>,
    /// What the column of geometries is called, `geometry` unless set.
    pub geometry_column: String,
    /// How many columns stand before that of the geometries, 0 unless set.
    pub geometry_place: usize,
    /// The maps into coordinate systems; none is the identity into `global`. One that was read is written as it was, even
    /// if [`Transformation::to_affine`] refuses it.
    pub transformations: Vec<Transformation>,
}

impl PartialEq for ShapesData {
    fn eq(&self, other: &Self) -> bool {
        self.geometries == other.geometries
            && self.columns == other.columns
            && *self.index == *other.index
            && self.index_name == other.index_name
            && self.geometry_column == other.geometry_column
            && self.geometry_place == other.geometry_place
            && self.transformations == other.transformations
    }
}

impl ShapesData {
    /// Geometries without columns, numbered from 0.
    #[must_use]
    pub fn new(geometries: Geometries) -> Self {
        let n = geometries.len();
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        let empty = Arc::new(Schema::empty());
        Self {
            columns: RecordBatch::try_new_with_options(empty, Vec::new(), &options)
                .expect("a table without columns has any number of rows"),
            index: Arc::new(Int64Array::from_iter_values((0_i64..).take(n))),
            index_name: None,
            geometry_column: "geometry".to_owned(),
            geometry_place: 0,
            transformations: Vec::new(),
            geometries,
        }
    }

    /// Sets [`columns`](Self::columns).
    #[must_use]
    pub fn with_columns(mut self, columns: RecordBatch) -> Self {
        self.columns = columns;
        self
    }

    /// Sets [`index`](Self::index) and [`index_name`](Self::index_name).
    #[must_use]
    pub fn with_index(mut self, name: Option<String>, index: ArrayRef) -> Self {
        self.index_name = name;
        self.index = index;
        self
    }

    /// Sets [`transformations`](Self::transformations).
    #[must_use]
    pub fn with_transformations(mut self, transformations: Vec<Transformation>) -> Self {
        self.transformations = transformations;
        self
    }

    /// The number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.index.len()
    }
}
