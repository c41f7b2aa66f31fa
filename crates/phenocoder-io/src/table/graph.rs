//! Graphs between the rows of a table.

use phenocoder_core::CsrGraph;

use super::matrix::{Matrix, SparseFormat, SparseMatrix};
use crate::array::NumericValues;
use crate::{Error, Result};

/// A stored matrix as a graph; every stored value is an edge, also one of 0, and in a dense matrix every value but 0.
///
/// A dense matrix may take `limit` bytes as `f64`.
pub(crate) fn from_matrix(key: &str, matrix: &Matrix, limit: u64) -> Result<CsrGraph> {
    let sparse = match matrix {
        Matrix::Sparse(sparse) => sparse,
        dense => return from_dense(key, dense, limit),
    };
    let (n, p) = sparse.shape();
    if n != p {
        return Err(Error::invalid(
            key,
            "as many columns as rows",
            format!("{n} × {p}"),
        ));
    }
    let values = sparse.values().to_f64();
    let mut indices = Vec::with_capacity(values.len());
    let mut weights = Vec::with_capacity(values.len());
    let mut row: Vec<(u32, f64)> = Vec::new();
    for range in sparse.indptr().windows(2) {
        let range = range[0]..range[1];
        row.clear();
        row.extend(
            sparse.indices()[range.clone()]
                .iter()
                .copied()
                .zip(values[range].iter().copied()),
        );
        row.sort_by_key(|&(column, _)| column);
        for &(column, value) in &row {
            indices.push(column);
            weights.push(value);
        }
    }
    let graph = CsrGraph::new(sparse.indptr().to_vec(), indices, weights).map_err(|source| {
        Error::Graph {
            key: key.to_owned(),
            source,
        }
    })?;
    Ok(match sparse.format() {
        SparseFormat::Csr => graph,
        SparseFormat::Csc => graph.transposed(),
    })
}

fn from_dense(key: &str, matrix: &Matrix, limit: u64) -> Result<CsrGraph> {
    let (n, p) = matrix.shape();
    let bytes = n as u128 * p as u128 * 8;
    Error::check_size(key, "a matrix of 64-bit floats with bytes", bytes, limit)?;
    let dense = matrix.to_dense_f64()?;
    let mut indptr = vec![0];
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    for row in dense.rows() {
        for (column, &value) in row.iter().enumerate().filter(|(_, v)| **v != 0.0) {
            indices.push(u32::try_from(column).unwrap_or(u32::MAX));
            values.push(value);
        }
        indptr.push(indices.len());
    }
    CsrGraph::new(indptr, indices, values).map_err(|source| Error::Graph {
        key: key.to_owned(),
        source,
    })
}

impl From<&CsrGraph> for SparseMatrix {
    fn from(graph: &CsrGraph) -> Self {
        let n = graph.n_nodes();
        Self::new(
            SparseFormat::Csr,
            (n, n),
            graph.indptr().to_vec(),
            graph.indices().to_vec(),
            NumericValues::Float64(graph.values().to_vec()),
        )
        .expect("a graph is a well-formed matrix")
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn graph(matrix: &Matrix) -> Result<CsrGraph> {
        from_matrix("k", matrix, u64::MAX)
    }

    fn sparse(format: SparseFormat, shape: (usize, usize), indptr: Vec<usize>) -> Matrix {
        let values = NumericValues::Float32(vec![3.0, 0.0, 5.0]);
        let matrix = SparseMatrix::new(format, shape, indptr, vec![1, 0, 0], values);
        Matrix::Sparse(matrix.unwrap())
    }

    #[test]
    fn stored_values_are_edges_from_rows_to_columns() {
        let rows = graph(&sparse(SparseFormat::Csr, (2, 2), vec![0, 2, 3])).unwrap();
        assert_eq!(rows.indptr(), [0, 2, 3]);
        assert_eq!(rows.indices(), [0, 1, 0], "sorted");
        assert_eq!(rows.values(), [0.0, 3.0, 5.0]);
        let columns = graph(&sparse(SparseFormat::Csc, (2, 2), vec![0, 2, 3])).unwrap();
        assert_eq!(columns, rows.transposed());
        assert_eq!(SparseMatrix::from(&rows).shape(), (2, 2));
    }

    #[test]
    fn values_of_a_dense_matrix_that_are_not_zero_are_edges() {
        let dense = Matrix::from(array![[0.0, 2.0], [0.5, 0.0]]);
        let graph = graph(&dense).unwrap();
        assert_eq!(
            (graph.indptr(), graph.indices()),
            (&[0, 1, 2][..], &[1, 0][..])
        );
        assert_eq!(graph.values(), [2.0, 0.5]);
    }

    #[test]
    fn what_is_no_graph_is_an_error_of_its_key() {
        let wide = graph(&sparse(SparseFormat::Csr, (2, 3), vec![0, 2, 3]));
        assert!(matches!(wide, Err(Error::InvalidMetadata { key, .. }) if key == "k"));
        // Two edges from one node to another.
        let values = NumericValues::Float32(vec![1.0, 2.0]);
        let twice = SparseMatrix::new(SparseFormat::Csr, (1, 1), vec![0, 2], vec![0, 0], values);
        let refused = twice.and_then(|twice| graph(&Matrix::Sparse(twice)));
        assert!(refused.is_err(), "{refused:?}");
        let wide = graph(&Matrix::from(array![[0.0, 2.0, 1.0]]));
        assert!(
            matches!(wide, Err(Error::Graph { key, .. }) if key == "k"),
            "no such node"
        );
    }
}
