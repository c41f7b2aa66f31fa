//! Matrices, dense and sparse.

use ndarray::Array2;

use crate::array::{NumericArray, NumericValues};
use crate::path::child;
use crate::{Error, Result};

/// A matrix of a table, in the type in which it is stored.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Matrix {
    /// 64-bit floats, `[n_obs, n_vars]`.
    Dense(Array2<f64>),
    /// 32-bit floats, `[n_obs, n_vars]`.
    DenseF32(Array2<f32>),
    /// Numbers of another type, `[n_obs, n_vars]`.
    DenseOther(NumericArray),
    /// Compressed rows or columns.
    Sparse(SparseMatrix),
}

impl Matrix {
    /// The number of rows and columns.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Dense(m) => m.dim(),
            Self::DenseF32(m) => m.dim(),
            Self::DenseOther(m) => match m.shape() {
                [n] => (*n, 1),
                [n, p, ..] => (*n, *p),
                [] => (1, 1),
            },
            Self::Sparse(m) => m.shape(),
        }
    }

    /// All values as 64-bit floats, `[n_obs, n_vars]`.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when there is no memory for a dense copy of a sparse matrix.
    pub fn to_dense_f64(&self) -> Result<Array2<f64>> {
        match self {
            Self::Dense(m) => Ok(m.clone()),
            Self::DenseF32(m) => Ok(m.mapv(f64::from)),
            Self::DenseOther(m) => m
                .to_matrix()
                .ok_or_else(|| Error::invalid("matrix", "two axes", format!("{:?}", m.shape()))),
            Self::Sparse(m) => m.to_dense_f64(),
        }
    }

    pub(crate) fn from_numbers(array: NumericArray) -> Self {
        let shape = match *array.shape() {
            [n] => (n, 1),
            [n, p] => (n, p),
            _ => return Self::DenseOther(array),
        };
        const WHY: &str = "an array has one value per place";
        match array.into_parts() {
            (_, NumericValues::Float64(v)) => {
                Self::Dense(Array2::from_shape_vec(shape, v).expect(WHY))
            }
            (_, NumericValues::Float32(v)) => {
                Self::DenseF32(Array2::from_shape_vec(shape, v).expect(WHY))
            }
            (shape, values) => Self::DenseOther(NumericArray::new(shape, values).expect(WHY)),
        }
    }

    pub(crate) fn to_numbers(&self) -> Option<NumericArray> {
        match self {
            Self::Dense(m) => Some(m.into()),
            Self::DenseF32(m) => Some(m.into()),
            Self::DenseOther(m) => Some(m.clone()),
            Self::Sparse(_) => None,
        }
    }
}

impl From<Array2<f64>> for Matrix {
    fn from(matrix: Array2<f64>) -> Self {
        Self::Dense(matrix)
    }
}

impl From<Array2<f32>> for Matrix {
    fn from(matrix: Array2<f32>) -> Self {
        Self::DenseF32(matrix)
    }
}

impl From<SparseMatrix> for Matrix {
    fn from(matrix: SparseMatrix) -> Self {
        Self::Sparse(matrix)
    }
}

/// Along which axis a sparse matrix is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SparseFormat {
    /// By rows.
    Csr,
    /// By columns.
    Csc,
}

/// A sparse matrix of numbers of any type.
///
/// # Examples
///
/// ```
/// use phenocoder_io::{NumericValues, SparseFormat, SparseMatrix};
///
/// let values = NumericValues::Float32(vec![2.0]);
/// let m = SparseMatrix::new(SparseFormat::Csr, (2, 3), vec![0, 0, 1], vec![2], values)?;
/// assert_eq!(m.to_dense_f64()?[[1, 2]], 2.0);
/// # Ok::<(), phenocoder_io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SparseMatrix {
    format: SparseFormat,
    shape: (usize, usize),
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: NumericValues,
}

impl SparseMatrix {
    /// A matrix from its parts: pointers (one more than rows or columns), indices in any order within a row or column,
    /// values.
    ///
    /// # Errors
    ///
    /// [`Error::LengthMismatch`] and [`Error::InvalidSparse`] when the parts do not fit together.
    pub fn new(
        format: SparseFormat,
        shape: (usize, usize),
        indptr: Vec<usize>,
        indices: Vec<u32>,
        values: NumericValues,
    ) -> Result<Self> {
        Self::checked("matrix", format, shape, indptr, indices, values)
    }

    pub(crate) fn checked(
        key: &str,
        format: SparseFormat,
        shape: (usize, usize),
        indptr: Vec<usize>,
        indices: Vec<u32>,
        values: NumericValues,
    ) -> Result<Self> {
        let bad = |problem: String| Error::InvalidSparse {
            key: key.to_owned(),
            problem,
        };
        let mismatch = |name: &str, expected: usize, found: usize| Error::LengthMismatch {
            key: child(key, name),
            expected: expected as u64,
            found: found as u64,
        };
        let (major, minor) = match format {
            SparseFormat::Csr => shape,
            SparseFormat::Csc => (shape.1, shape.0),
        };
        if Some(indptr.len()) != major.checked_add(1) {
            return Err(mismatch("indptr", major.saturating_add(1), indptr.len()));
        }
        if indices.len() != values.len() {
            return Err(mismatch("indices", values.len(), indices.len()));
        }
        if indptr.first() != Some(&0) {
            return Err(bad("the first pointer is not 0".to_owned()));
        }
        if let Some(at) = indptr.windows(2).position(|w| w[1] < w[0]) {
            return Err(bad(format!("pointer {} falls", at + 1)));
        }
        if indptr.last() != Some(&indices.len()) {
            let (last, n) = (indptr.last().copied().unwrap_or(0), indices.len());
            return Err(bad(format!("the last pointer is {last} for {n} values")));
        }
        if let Some(&index) = indices.iter().find(|&&i| i as usize >= minor) {
            return Err(bad(format!("index {index} is not below {minor}")));
        }
        Ok(Self {
            format,
            shape,
            indptr,
            indices,
            values,
        })
    }

    /// Along which axis it is compressed.
    #[must_use]
    pub fn format(&self) -> SparseFormat {
        self.format
    }

    /// The number of rows and columns.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// The pointers, one more than rows (or columns).
    #[must_use]
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }

    /// The columns (or rows) of the values.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The stored values.
    #[must_use]
    pub fn values(&self) -> &NumericValues {
        &self.values
    }

    /// All values as 64-bit floats, `[rows, columns]`; values stored for the same place add up.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] when there is no memory for them.
    pub fn to_dense_f64(&self) -> Result<Array2<f64>> {
        let too_large = || {
            let found = self.shape.0 as u128 * self.shape.1 as u128;
            let limit = usize::MAX as u64 / 8;
            Error::too_large("sparse matrix", "a dense copy with values", found, limit)
        };
        let places = self.shape.0.checked_mul(self.shape.1);
        let places = places.ok_or_else(too_large)?;
        let mut dense: Vec<f64> = Vec::new();
        dense.try_reserve_exact(places).map_err(|_| too_large())?;
        dense.resize(places, 0.0);
        let values = self.values.to_f64();
        for (major, range) in self.indptr.windows(2).enumerate() {
            let stored = range[0]..range[1];
            for (&minor, &value) in self.indices[stored.clone()].iter().zip(&values[stored]) {
                let (row, column) = match self.format {
                    SparseFormat::Csr => (major, minor as usize),
                    SparseFormat::Csc => (minor as usize, major),
                };
                dense[row * self.shape.1 + column] += value;
            }
        }
        Array2::from_shape_vec(self.shape, dense)
            .map_err(|error| Error::invalid("sparse matrix", "one value per place", error))
    }
}
