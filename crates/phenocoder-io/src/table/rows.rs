//! Stored matrices: as a whole, or some of their rows.

use std::ops::Range;

use phenocoder_core::DataType;

use super::info::MatrixInfo;
use super::matrix::{Matrix, SparseFormat, SparseMatrix};
use super::value::Context;
use crate::array::{NumericValues, ZarrArray};
use crate::node::Node;
use crate::path::child;
use crate::{Error, Result};

/// How many values of a matrix by columns are looked through at once for those of some rows.
const SCANNED: usize = 1 << 20;

/// A stored matrix of which only the metadata have been read.
#[derive(Debug)]
pub(crate) enum StoredMatrix {
    Dense(Box<ZarrArray>),
    Sparse(Box<StoredSparse>),
}

impl StoredMatrix {
    pub(crate) fn open(context: &Context, node: Node) -> Result<Self> {
        match node.text("encoding-type") {
            Some("csr_matrix") => StoredSparse::open(context, &node, SparseFormat::Csr)
                .map(|m| Self::Sparse(Box::new(m))),
            Some("csc_matrix") => StoredSparse::open(context, &node, SparseFormat::Csc)
                .map(|m| Self::Sparse(Box::new(m))),
            None | Some("array" | "") if !node.is_group() => {
                let array = ZarrArray::from_node(&context.root, node)?;
                if array.shape().len() > 2 || array.shape().is_empty() {
                    let found = array.shape().len();
                    return Err(Error::invalid(array.key(), "a matrix with two axes", found));
                }
                Ok(Self::Dense(Box::new(array)))
            }
            other => Err(Error::UnsupportedEncoding {
                key: node.key.clone(),
                encoding: other.unwrap_or("none").to_owned(),
            }),
        }
    }

    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Dense(array) => array.key(),
            Self::Sparse(matrix) => &matrix.key,
        }
    }

    /// The number of rows and columns.
    pub(crate) fn shape(&self) -> (u64, u64) {
        match self {
            Self::Dense(array) => match *array.shape() {
                [n, p] => (n, p),
                [n] => (n, 1),
                _ => (0, 0),
            },
            Self::Sparse(matrix) => (matrix.shape.0 as u64, matrix.shape.1 as u64),
        }
    }

    /// What the metadata say.
    pub(crate) fn info(&self) -> Result<MatrixInfo> {
        let (values, format) = match self {
            Self::Dense(array) => (array.as_ref(), None),
            Self::Sparse(matrix) => (&matrix.data, Some(matrix.format)),
        };
        let (n, p) = self.shape();
        Ok(MatrixInfo {
            shape: (n as usize, p as usize),
            data_type: values.element().number(values.key(), "numbers")?,
            format,
            n_stored: format.map(|_| values.len()),
            chunk: values.block_shape().to_vec(),
        })
    }

    pub(crate) fn read(&self) -> Result<Matrix> {
        match self {
            Self::Dense(array) => array.read_numbers().map(Matrix::from_numbers),
            Self::Sparse(matrix) => matrix.read().map(Matrix::Sparse),
        }
    }

    /// Some rows, `[rows.len(), columns]`.
    pub(crate) fn read_rows(&self, rows: &Range<usize>) -> Result<Matrix> {
        let (n, _) = self.shape();
        if rows.start > rows.end || rows.end as u64 > n {
            let found = format!("{rows:?}");
            return Err(Error::invalid(self.key(), format!("rows in 0..{n}"), found));
        }
        match self {
            Self::Dense(array) => {
                let rows = rows.start as u64..rows.end as u64;
                let columns = array.shape().iter().skip(1).map(|&p| 0..p);
                let window: Vec<Range<u64>> = std::iter::once(rows).chain(columns).collect();
                array.read_numbers_of(&window).map(Matrix::from_numbers)
            }
            Self::Sparse(matrix) => match matrix.format {
                SparseFormat::Csr => matrix.read_major(rows),
                SparseFormat::Csc => matrix.read_minor(rows),
            }
            .map(Matrix::Sparse),
        }
    }
}

/// A stored sparse matrix; its arrays fit together as far as their lengths tell.
#[derive(Debug)]
pub(crate) struct StoredSparse {
    key: String,
    format: SparseFormat,
    shape: (usize, usize),
    data: ZarrArray,
    indices: ZarrArray,
    indptr: ZarrArray,
}

impl StoredSparse {
    pub(crate) fn open(context: &Context, node: &Node, format: SparseFormat) -> Result<Self> {
        let key = node.key.as_str();
        let stored = node.attributes.get("shape");
        let shape = stored
            .and_then(serde_json::Value::as_array)
            .and_then(|s| match s.as_slice() {
                [n, p] => Some((
                    usize::try_from(n.as_u64()?).ok()?,
                    usize::try_from(p.as_u64()?).ok()?,
                )),
                _ => None,
            })
            .ok_or_else(|| Error::not_as(key, "the attribute `shape` with two counts", stored))?;
        let (major, minor) = match format {
            SparseFormat::Csr => (shape.0 as u64, shape.1 as u64),
            SparseFormat::Csc => (shape.1 as u64, shape.0 as u64),
        };
        // Pointers take eight bytes each, and indices have 32 bits.
        let most = [
            (major, context.root.options.max_array_bytes / 8),
            (minor, 1 << 32),
        ];
        for (found, limit) in most {
            Error::check_size(key, "a sparse matrix with rows or columns", found, limit)?;
        }
        let open = |name: &str| ZarrArray::open(&context.root, &child(key, name), node.format);
        let (data, indices, indptr) = (open("data")?, open("indices")?, open("indptr")?);
        for array in [&data, &indices, &indptr] {
            if array.shape().len() != 1 {
                return Err(Error::invalid(array.key(), "one axis", array.shape().len()));
            }
        }
        let expected = major.saturating_add(1);
        if indptr.len() != expected {
            return Err(Error::LengthMismatch {
                key: indptr.key().to_owned(),
                expected,
                found: indptr.len(),
            });
        }
        if indices.len() != data.len() {
            return Err(Error::LengthMismatch {
                key: indices.key().to_owned(),
                expected: data.len(),
                found: indices.len(),
            });
        }
        for array in [&indices, &indptr] {
            let data_type = array.element().number(array.key(), "whole numbers")?;
            if !data_type.is_integer() || data_type == DataType::Bool {
                return Err(Error::DataType {
                    key: array.key().to_owned(),
                    expected: "whole numbers",
                    found: format!("{data_type:?}"),
                });
            }
        }
        Ok(Self {
            key: key.to_owned(),
            format,
            shape,
            data,
            indices,
            indptr,
        })
    }

    /// Reads the whole matrix.
    pub(crate) fn read(&self) -> Result<SparseMatrix> {
        let pointers = self.pointers(0..self.indptr.len())?;
        let indices = self.indices(0..self.indices.len())?;
        let values = self.data.read_numbers()?.into_values();
        SparseMatrix::checked(
            &self.key,
            self.format,
            self.shape,
            pointers,
            indices,
            values,
        )
    }

    fn bad(&self, problem: String) -> Error {
        Error::InvalidSparse {
            key: self.key.clone(),
            problem,
        }
    }

    fn pointers(&self, range: Range<u64>) -> Result<Vec<usize>> {
        let pointers = self.indptr.read_vec::<i64>(range)?;
        let checked = pointers.into_iter().map(usize::try_from);
        checked
            .collect::<Result<_, _>>()
            .map_err(|_| self.bad("a pointer is negative or too large".to_owned()))
    }

    fn indices(&self, range: Range<u64>) -> Result<Vec<u32>> {
        let indices = self.indices.read_vec::<i64>(range)?;
        let checked = indices.into_iter().map(u32::try_from);
        checked
            .collect::<Result<_, _>>()
            .map_err(|_| self.bad("an index is negative or too large".to_owned()))
    }

    /// The pointers of a range of rows (or columns), checked as far as they are read.
    fn pointers_of(&self, range: &Range<usize>) -> Result<Vec<usize>> {
        let pointers = self.pointers(range.start as u64..range.end as u64 + 1)?;
        let stored = self.data.len();
        if range.start == 0 && pointers.first() != Some(&0) {
            return Err(self.bad("the first pointer is not 0".to_owned()));
        }
        if let Some(at) = pointers.windows(2).position(|w| w[1] < w[0]) {
            return Err(self.bad(format!("pointer {} falls", range.start + at + 1)));
        }
        let last = pointers.last().copied().unwrap_or(0) as u64;
        let is_end = range.end as u64 + 1 == self.indptr.len();
        if last > stored || (is_end && last != stored) {
            return Err(self.bad(format!("the last pointer is {last} for {stored} values")));
        }
        Ok(pointers)
    }

    /// Some rows of a matrix by rows.
    fn read_major(&self, rows: &Range<usize>) -> Result<SparseMatrix> {
        let mut pointers = self.pointers_of(rows)?;
        let first = pointers.first().copied().unwrap_or(0);
        let last = pointers.last().copied().unwrap_or(0);
        pointers.iter_mut().for_each(|p| *p -= first);
        let stored = first as u64..last as u64;
        let indices = self.indices(stored.clone())?;
        let window = std::slice::from_ref(&stored);
        let values = self.data.read_numbers_of(window)?.into_values();
        let shape = (rows.len(), self.shape.1);
        SparseMatrix::checked(&self.key, self.format, shape, pointers, indices, values)
    }

    /// Some rows of a matrix by columns: all columns are looked through, part by part.
    fn read_minor(&self, rows: &Range<usize>) -> Result<SparseMatrix> {
        let (n, p) = self.shape;
        let pointers = self.pointers_of(&(0..p))?;
        let data_type = self.data.element().number(self.data.key(), "numbers")?;
        let size = data_type.size();
        let mut kept_pointers = Vec::with_capacity(pointers.len());
        kept_pointers.push(0);
        let (mut kept, mut bytes) = (Vec::new(), Vec::new());
        let total = pointers.last().copied().unwrap_or(0);
        // Where the columns not yet closed end.
        let mut ends = pointers.iter().skip(1).copied().peekable();
        let mut start = 0;
        while start < total {
            let end = (start + SCANNED).min(total);
            let stored = start as u64..end as u64;
            let indices = self.indices(stored.clone())?;
            let values = self.data.read_numbers_of(std::slice::from_ref(&stored))?;
            let values = values.values().to_ne_bytes();
            for ((at, &row), value) in (start..).zip(&indices).zip(values.chunks_exact(size)) {
                while ends.next_if(|&end| end <= at).is_some() {
                    kept_pointers.push(kept.len());
                }
                let row = row as usize;
                if row >= n {
                    return Err(self.bad(format!("index {row} is not below {n}")));
                }
                if rows.contains(&row) {
                    kept.push((row - rows.start) as u32);
                    bytes.extend_from_slice(value);
                }
            }
            let held = (kept.len() * size_of::<u32>() + bytes.len()) as u64;
            Error::check_size(&self.key, "rows with bytes", held, self.data.max_bytes())?;
            start = end;
        }
        kept_pointers.resize(p.saturating_add(1), kept.len());
        let values = NumericValues::from_ne_bytes(data_type, &bytes);
        let shape = (rows.len(), p);
        SparseMatrix::checked(&self.key, self.format, shape, kept_pointers, kept, values)
    }
}
