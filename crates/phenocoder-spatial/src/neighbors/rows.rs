//! Graphs made row by row, and where rows begin.

use phenocoder_core::CsrGraph;
use rayon::prelude::*;

/// Nodes that a task makes the rows of.
const RUN: usize = 8192;

/// The rows of a run of nodes: where each ends, and the edges of all.
struct Run {
    ends: Vec<usize>,
    edges: Vec<(u32, f64)>,
}

/// Makes the rows in parallel; `row` appends the edges of a node, columns rising, and has a `state` of its own thread.
pub(super) fn graph_of<S>(
    n: usize,
    state: impl Fn() -> S + Sync,
    row: impl Fn(&mut S, usize, &mut Vec<(u32, f64)>) + Sync,
) -> CsrGraph {
    let runs: Vec<Run> = (0..n.div_ceil(RUN))
        .into_par_iter()
        .map(|run| {
            let mut state = state();
            let mut edges = Vec::new();
            let nodes = run * RUN..n.min((run + 1) * RUN);
            let ends = nodes.map(|node| {
                row(&mut state, node, &mut edges);
                edges.len()
            });
            Run {
                ends: ends.collect(),
                edges,
            }
        })
        .collect();
    let mut indptr = Vec::with_capacity(n + 1);
    indptr.push(0);
    let total = runs.iter().map(|run| run.edges.len()).sum();
    let (mut indices, mut values) = (Vec::with_capacity(total), Vec::with_capacity(total));
    for run in runs {
        let before = indices.len();
        indptr.extend(run.ends.into_iter().map(|end| before + end));
        indices.extend(run.edges.iter().map(|edge| edge.0));
        values.extend(run.edges.iter().map(|edge| edge.1));
    }
    CsrGraph::new(indptr, indices, values).expect("rows with rising columns make a graph")
}

/// Where each of `n` rows begins, and the last ends, from the rows of all entries in any order.
pub(crate) fn row_pointers(n: usize, rows: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut pointers = vec![0; n + 1];
    for row in rows {
        pointers[row + 1] += 1;
    }
    for row in 0..n {
        pointers[row + 1] += pointers[row];
    }
    pointers
}
