//! Graphs between the rows of a table.

use phenocoder_core::CsrGraph;

use super::matrix::{Matrix, SparseFormat, SparseMatrix};
use crate::array::NumericValues;
use crate::{Error, Result};

/// A stored matrix as a graph; every stored value is an edge, also one of 0, and in a dense matrix every value but 0.
pub(crate) fn from_matrix(key: &str, matrix: &Matrix) -> Result<CsrGraph> {
    let sparse = match matrix {
        Matrix::Sparse(sparse) => sparse,
        dense => return from_dense(key, dense),
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

fn from_dense(key: &str, matrix: &Matrix) -> Result<CsrGraph> {
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
