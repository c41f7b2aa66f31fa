//! Weighted graphs in compressed rows.

use crate::GraphError;

/// A directed, weighted graph in compressed sparse rows; an undirected edge is stored in both directions.
///
/// The form of a SciPy CSR matrix and of what AnnData keeps in `obsp`.
/// Column indices rise strictly within a row.
/// Memory: 8 bytes a node and 12 bytes a directed edge.
///
/// # Examples
///
/// ```
/// use phenocoder_core::CsrGraph;
///
/// // 0 – 1 with weight 2, node 2 alone.
/// let graph = CsrGraph::new(vec![0, 1, 2, 2], vec![1, 0], vec![2.0, 2.0])?;
/// assert_eq!(graph.n_nodes(), 3);
/// assert_eq!(graph.neighbors(0), [1]);
/// assert_eq!(graph.degree(2), 0);
/// # Ok::<(), phenocoder_core::GraphError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CsrGraph {
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
}

impl CsrGraph {
    /// Takes row pointers (one more than nodes), column indices and one value per index.
    ///
    /// # Errors
    ///
    /// A [`GraphError`] that names the row when the parts do not make a graph.
    pub fn new(
        indptr: Vec<usize>,
        indices: Vec<u32>,
        values: Vec<f64>,
    ) -> Result<Self, GraphError> {
        if indices.len() != values.len() {
            return Err(GraphError::Values {
                indices: indices.len(),
                values: values.len(),
            });
        }
        let bad = |row, problem| Err(GraphError::RowPointer { row, problem });
        match (indptr.first(), indptr.last()) {
            (None, _) | (_, None) => return bad(0, "there is none"),
            (Some(&first), _) if first != 0 => return bad(0, "it is not 0"),
            (_, Some(&last)) if last != indices.len() => {
                return bad(indptr.len() - 1, "it is not the number of entries");
            }
            _ => {}
        }
        let nodes = indptr.len() - 1;
        if u32::try_from(nodes).is_err() {
            return Err(GraphError::TooManyNodes { nodes });
        }
        for (row, pair) in indptr.windows(2).enumerate() {
            if pair[1] < pair[0] || pair[1] > indices.len() {
                return bad(row + 1, "it falls or exceeds the number of entries");
            }
            let columns = &indices[pair[0]..pair[1]];
            if columns.windows(2).any(|w| w[1] <= w[0]) {
                return Err(GraphError::Order { row });
            }
            if let Some(&column) = columns.last().filter(|&&c| c as usize >= nodes) {
                return Err(GraphError::Column {
                    row,
                    column: column as usize,
                    nodes,
                });
            }
        }
        Ok(Self {
            indptr,
            indices,
            values,
        })
    }

    /// A graph of `nodes` nodes without edges.
    #[must_use]
    pub fn empty(nodes: usize) -> Self {
        Self {
            indptr: vec![0; nodes + 1],
            indices: Vec::new(),
            values: Vec::new(),
        }
    }

    /// The number of nodes.
    #[must_use]
    pub fn n_nodes(&self) -> usize {
        self.indptr.len() - 1
    }

    /// The number of stored, directed edges.
    #[must_use]
    pub fn n_edges(&self) -> usize {
        self.indices.len()
    }

    /// The row pointers, one more than nodes.
    #[must_use]
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }

    /// The column indices of all rows, one after the other.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The values, aligned to [`indices`](Self::indices).
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// The neighbours of a node, rising.
    ///
    /// # Panics
    ///
    /// When `node` is not a node.
    #[must_use]
    pub fn neighbors(&self, node: usize) -> &[u32] {
        &self.indices[self.indptr[node]..self.indptr[node + 1]]
    }

    /// The neighbours of a node with the values of the edges to them.
    ///
    /// # Panics
    ///
    /// When `node` is not a node.
    pub fn row(&self, node: usize) -> impl ExactSizeIterator<Item = (usize, f64)> {
        let range = self.indptr[node]..self.indptr[node + 1];
        self.indices[range.clone()]
            .iter()
            .zip(&self.values[range])
            .map(|(&column, &value)| (column as usize, value))
    }

    /// The number of edges that leave a node.
    ///
    /// # Panics
    ///
    /// When `node` is not a node.
    #[must_use]
    pub fn degree(&self, node: usize) -> usize {
        self.indptr[node + 1] - self.indptr[node]
    }

    /// The same edges with other values.
    ///
    /// # Errors
    ///
    /// [`GraphError::Values`] when there is not one value per edge.
    pub fn with_values(&self, values: Vec<f64>) -> Result<Self, GraphError> {
        if values.len() != self.indices.len() {
            return Err(GraphError::Values {
                indices: self.indices.len(),
                values: values.len(),
            });
        }
        Ok(Self {
            indptr: self.indptr.clone(),
            indices: self.indices.clone(),
            values,
        })
    }

    /// The graph with every edge turned round.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let n = self.n_nodes();
        let mut indptr = vec![0_usize; n + 1];
        for &column in &self.indices {
            indptr[column as usize + 1] += 1;
        }
        for i in 0..n {
            indptr[i + 1] += indptr[i];
        }
        let mut next = indptr.clone();
        let mut indices = vec![0_u32; self.indices.len()];
        let mut values = vec![0.0; self.indices.len()];
        for row in 0..n {
            for (column, value) in self.row(row) {
                indices[next[column]] = row as u32;
                values[next[column]] = value;
                next[column] += 1;
            }
        }
        Self {
            indptr,
            indices,
            values,
        }
    }

    /// Row pointers, column indices and values.
    #[must_use]
    pub fn into_parts(self) -> (Vec<usize>, Vec<u32>, Vec<f64>) {
        (self.indptr, self.indices, self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_make_no_graph_are_refused() {
        let new =
            |p: &[usize], i: &[u32]| CsrGraph::new(p.to_vec(), i.to_vec(), vec![1.0; i.len()]);
        assert!(matches!(new(&[], &[]), Err(GraphError::RowPointer { .. })));
        assert!(matches!(
            new(&[1, 1], &[0]),
            Err(GraphError::RowPointer { row: 0, .. })
        ));
        assert!(matches!(
            new(&[0, 2, 1], &[0]),
            Err(GraphError::RowPointer { row: 1, .. })
        ));
        assert!(matches!(
            new(&[0, 1], &[1]),
            Err(GraphError::Column { column: 1, .. })
        ));
        assert!(matches!(
            new(&[0, 2, 2], &[1, 1]),
            Err(GraphError::Order { row: 0 })
        ));
        let values = CsrGraph::new(vec![0, 1], vec![0], vec![]);
        assert!(matches!(values, Err(GraphError::Values { .. })));
        assert_eq!(new(&[0], &[]).unwrap(), CsrGraph::empty(0));
    }

    #[test]
    fn turning_round_twice_changes_nothing() {
        let graph = CsrGraph::new(vec![0, 2, 2, 3], vec![1, 2, 0], vec![5.0, 6.0, 7.0]).unwrap();
        let turned = graph.transposed();
        assert_eq!(turned.row(0).collect::<Vec<_>>(), [(2, 7.0)]);
        assert_eq!(turned.transposed(), graph);
    }
}
