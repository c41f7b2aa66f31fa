//! Positions with their unit.

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use crate::ShapeError;

/// What one step of a coordinate means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// Pixels of the image that the positions belong to; the centre of the first pixel is 0.
    Pixel,
    /// Micrometres.
    Micrometer,
    /// The unit of a coordinate system that does not name one.
    Unspecified,
}

/// Positions in two or three dimensions, in the order `(y, x)` or `(z, y, x)`.
///
/// # Shapes
///
/// `values`: `[n, 2]` or `[n, 3]`.
///
/// # Examples
///
/// ```
/// use ndarray::array;
/// use phenocoder_core::{Coords, Unit};
///
/// let coords = Coords::new(array![[1.0, 2.0, 3.0]], Unit::Micrometer)?;
/// assert_eq!((coords.len(), coords.dim()), (1, 3));
/// assert_eq!(coords.zyx(0), [1.0, 2.0, 3.0]);
/// # Ok::<(), phenocoder_core::ShapeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Coords {
    values: Array2<f64>,
    unit: Unit,
}

impl Coords {
    /// Takes `[n, 2]` values in the order `(y, x)`, or `[n, 3]` values in the order `(z, y, x)`.
    ///
    /// Values that are not finite are let through: the functions that use positions name the row.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Array`] when there are neither two nor three columns.
    pub fn new(values: Array2<f64>, unit: Unit) -> Result<Self, ShapeError> {
        if !matches!(values.ncols(), 2 | 3) {
            return Err(ShapeError::Array {
                what: "coordinates".to_owned(),
                expected: "[n, 2] or [n, 3]".to_owned(),
                found: values.shape().to_vec(),
            });
        }
        Ok(Self { values, unit })
    }

    /// The number of positions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.nrows()
    }

    /// Whether there are no positions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// 2 or 3.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.values.ncols()
    }

    /// What one step means.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// All positions, `[n, 2]` as `(y, x)` or `[n, 3]` as `(z, y, x)`.
    #[must_use]
    pub fn view(&self) -> ArrayView2<'_, f64> {
        self.values.view()
    }

    /// One position as `(z, y, x)`; z is 0 in two dimensions.
    ///
    /// # Panics
    ///
    /// When `row` is not a row.
    #[must_use]
    pub fn zyx(&self, row: usize) -> [f64; 3] {
        let p = self.values.row(row);
        if p.len() == 3 {
            [p[0], p[1], p[2]]
        } else {
            [0.0, p[0], p[1]]
        }
    }

    /// The rows named, in that order.
    ///
    /// # Panics
    ///
    /// When one of `rows` is not a row.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            values: self.values.select(Axis(0), rows),
            unit: self.unit,
        }
    }

    /// The positions with each axis multiplied by a factor, in another unit: pixels to micrometres, say.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] when there is not one factor per axis.
    pub fn scaled(&self, factors: &[f64], unit: Unit) -> Result<Self, ShapeError> {
        ShapeError::check_len("factors", self.dim(), factors.len())?;
        let mut values = self.values.clone();
        for (mut column, &factor) in values.columns_mut().into_iter().zip(factors) {
            column *= factor;
        }
        Ok(Self { values, unit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn one_and_four_dimensions_are_refused() {
        assert!(Coords::new(Array2::zeros((3, 1)), Unit::Pixel).is_err());
        assert!(Coords::new(Array2::zeros((3, 4)), Unit::Pixel).is_err());
    }

    #[test]
    fn scaling_changes_each_axis_and_the_unit() {
        let pixels = Coords::new(array![[1.0, 2.0]], Unit::Pixel).unwrap();
        let um = pixels.scaled(&[0.5, 0.25], Unit::Micrometer).unwrap();
        assert_eq!(um.zyx(0), [0.0, 0.5, 0.5]);
        assert_eq!(um.unit(), Unit::Micrometer);
        assert!(pixels.scaled(&[1.0], Unit::Pixel).is_err());
    }
}
