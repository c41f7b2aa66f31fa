//! Matrices over named axes.

use ndarray::{Array2, ArrayViewMut2};

use crate::{Error, Result};

/// A homogeneous matrix over named spatial axes.
///
/// # Examples
///
/// ```
/// use phenocoder_io::Transformation;
///
/// let scale = Transformation::scale(&["x", "y"], &[2.0, 4.0], "global")?.to_affine()?;
/// assert_eq!(scale.apply(&[1.0, 1.0]), [2.0, 4.0]);
/// let back = scale.inverse().unwrap();
/// assert_eq!(back.apply(&[2.0, 4.0]), [1.0, 1.0]);
/// assert_eq!(scale.then(&back)?, phenocoder_io::Affine::identity(2)?);
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    pub(crate) axes: Vec<String>,
    pub(crate) matrix: Array2<f64>,
}

impl Affine {
    /// A homogeneous matrix over axes.
    ///
    /// # Shapes
    ///
    /// `[axes + 1, axes + 1]`; the last row is 0, …, 0, 1.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`] for axes other than `x, y` or `x, y, z`, a matrix of another size, with another last row or
    /// with a number that is not finite.
    ///
    /// # Examples
    ///
    /// ```
    /// use ndarray::array;
    /// use phenocoder_io::Affine;
    ///
    /// let shift = array![[1.0, 0.0, 5.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    /// assert_eq!(Affine::new(&["x", "y"], shift.clone())?.apply(&[1.0, 1.0]), [6.0, 1.0]);
    /// assert!(Affine::new(&["x", "y", "z"], shift).is_err());
    /// # Ok::<(), phenocoder_io::Error>(())
    /// ```
    pub fn new(axes: &[&str], matrix: Array2<f64>) -> Result<Self> {
        let refused = |problem: String| Error::InvalidTransform {
            key: "affine".to_owned(),
            problem,
        };
        let n = axes.len();
        if matrix.dim() != (n + 1, n + 1) {
            let (rows, columns) = matrix.dim();
            return Err(refused(format!(
                "a matrix over {n} axes has {} rows and columns, not {rows} and {columns}",
                n + 1
            )));
        }
        if !matches!(axes, ["x", "y"] | ["x", "y", "z"]) {
            let axes = axes.join(", ");
            return Err(refused(format!("its axes are {axes}, not x, y or x, y, z")));
        }
        super::check_finite(matrix.iter(), "the matrix", "affine")?;
        let last = matrix.row(n);
        if last.iter().take(n).any(|&v| v != 0.0) || last[n] != 1.0 {
            return Err(refused("the last row is not 0, …, 0, 1".to_owned()));
        }
        Ok(Self {
            axes: axes.iter().map(|&axis| axis.to_owned()).collect(),
            matrix,
        })
    }

    /// The axes of rows and columns: `x, y` or `x, y, z`.
    #[must_use]
    pub fn axes(&self) -> &[String] {
        &self.axes
    }

    /// The matrix: one row and column per axis and one more.
    #[must_use]
    pub fn matrix(&self) -> &Array2<f64> {
        &self.matrix
    }

    /// The map of `x` and `y` (and `z`, with `d` = 3) that changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`] for another number of axes than 2 or 3.
    pub fn identity(d: usize) -> Result<Self> {
        let axes = ["x", "y", "z"];
        Self::new(axes.get(..d).unwrap_or(&[]), Array2::eye(d.min(3) + 1))
    }

    /// How long one step along an input axis is in the target system, or `None` for an axis that is not there.
    #[must_use]
    pub fn step_length(&self, axis: &str) -> Option<f64> {
        let column = self.axes.iter().position(|a| a == axis)?;
        let rows = 0..self.axes.len();
        Some(
            rows.map(|r| self.matrix[[r, column]].powi(2))
                .sum::<f64>()
                .sqrt(),
        )
    }

    /// Where a position goes; its coordinates are in the order of the axes.
    ///
    /// Coordinates beyond those given are 0, so that a position in a plane can be mapped in three dimensions.
    #[must_use]
    pub fn apply(&self, position: &[f64]) -> Vec<f64> {
        let n = self.axes.len();
        (0..n).map(|row| self.coordinate(row, position)).collect()
    }

    /// One coordinate of where a position goes.
    pub(crate) fn coordinate(&self, row: usize, position: &[f64]) -> f64 {
        let n = self.axes.len();
        let row = self.matrix.row(row);
        // A factor of 0 takes the coordinate out, also where it is infinite or missing.
        let terms = row
            .iter()
            .take(n)
            .zip(position)
            .filter(|(factor, _)| **factor != 0.0);
        terms.map(|(factor, value)| factor * value).sum::<f64>() + row[n]
    }

    /// Maps positions in place.
    ///
    /// # Shapes
    ///
    /// `[n, axes]`.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] for another number of coordinates.
    pub fn apply_all(&self, mut positions: ArrayViewMut2<'_, f64>) -> Result<()> {
        if positions.ncols() != self.axes.len() {
            return Err(Error::LengthMismatch {
                key: "positions".to_owned(),
                expected: self.axes.len() as u64,
                found: positions.ncols() as u64,
            });
        }
        for mut row in positions.rows_mut() {
            let mapped = self.apply(&row.to_vec());
            row.iter_mut().zip(mapped).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }

    /// This map, then another.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`] when the axes differ.
    pub fn then(&self, next: &Self) -> Result<Self> {
        if self.axes != next.axes {
            return Err(Error::InvalidTransform {
                key: "affine".to_owned(),
                problem: format!(
                    "a map of the axes {} cannot follow one of {}",
                    next.axes.concat(),
                    self.axes.concat()
                ),
            });
        }
        Ok(Self {
            axes: self.axes.clone(),
            matrix: next.matrix.dot(&self.matrix),
        })
    }

    /// The map back, or `None` where several positions go to the same.
    #[must_use]
    pub fn inverse(&self) -> Option<Self> {
        let n = self.axes.len() + 1;
        let mut left = self.matrix.clone();
        let mut right = Array2::<f64>::eye(n);
        // Gauss and Jordan with the largest element of each column; there are at most four.
        for column in 0..n {
            let pivot = (column..n)
                .max_by(|&a, &b| left[[a, column]].abs().total_cmp(&left[[b, column]].abs()))?;
            let value = left[[pivot, column]];
            if value == 0.0 || !value.is_finite() {
                return None;
            }
            for matrix in [&mut left, &mut right] {
                for k in 0..n {
                    matrix.swap([pivot, k], [column, k]);
                }
                for k in 0..n {
                    matrix[[column, k]] /= value;
                }
            }
            for row in (0..n).filter(|&row| row != column) {
                let factor = left[[row, column]];
                if factor != 0.0 {
                    for matrix in [&mut left, &mut right] {
                        for k in 0..n {
                            let change = factor * matrix[[column, k]];
                            matrix[[row, k]] -= change;
                        }
                    }
                }
            }
        }
        right.iter().all(|v| v.is_finite()).then(|| Self {
            axes: self.axes.clone(),
            matrix: right,
        })
    }

    /// The factors between one input axis and one output axis; 0 for axes that are not there.
    pub(crate) fn factor(&self, output: &str, input: &str) -> f64 {
        let place = |axis: &str| self.axes.iter().position(|a| a == axis);
        match (place(output), place(input)) {
            (Some(row), Some(column)) => self.matrix[[row, column]],
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_map_and_its_inverse_change_nothing() {
        let affine = Affine {
            axes: vec!["x".into(), "y".into()],
            matrix: array![[0.0, -2.0, 10.0], [3.0, 1.0, -4.0], [0.0, 0.0, 1.0]],
        };
        let back = affine.inverse().unwrap();
        let both = affine.then(&back).unwrap().matrix - Array2::<f64>::eye(3);
        assert!(both.iter().all(|v| v.abs() < 1e-12));
        let there = affine.apply(&[5.0, 7.0]);
        assert_eq!(there, [-4.0, 18.0]);
        let mut all = array![[5.0, 7.0], [0.0, 0.0]];
        affine.apply_all(all.view_mut()).unwrap();
        assert_eq!(all, array![[-4.0, 18.0], [10.0, -4.0]]);
        assert!(affine.apply_all(Array2::zeros((1, 3)).view_mut()).is_err());
    }

    #[test]
    fn what_is_no_homogeneous_matrix_is_refused() {
        let eye = Array2::<f64>::eye;
        for (axes, matrix) in [
            (&["x", "y"][..], eye(2)),
            (&["x", "y", "z"], eye(3)),
            (&["x", "x"], eye(3)),
            (&["y", "x"], eye(3)),
            (&["x", "y"], eye(3) * f64::NAN),
            (&["x", "y"], Array2::zeros((3, 4))),
            (&["x", "y"], Array2::ones((3, 3))),
            (&["x", "y"], Array2::zeros((3, 3))),
        ] {
            let refused = Affine::new(axes, matrix);
            assert!(matches!(refused, Err(Error::InvalidTransform { .. })));
        }
        assert_eq!(
            Affine::new(&["x", "y"], eye(3)).unwrap(),
            Affine::identity(2).unwrap()
        );
        assert!(Affine::identity(0).is_err() && Affine::identity(4).is_err());
    }

    #[test]
    fn a_singular_map_has_no_inverse() {
        let mut affine = Affine::identity(2).unwrap();
        affine.matrix[[1, 1]] = 0.0;
        assert_eq!(affine.inverse(), None);
        affine.matrix[[1, 1]] = f64::NAN;
        assert_eq!(affine.inverse(), None);
    }
}
