//! What a map is judged by.

use ndarray::ArrayView2;
use phenocoder_core::{CsrGraph, Progress, ShapeError};
use rayon::prelude::*;

use super::Curve;
use crate::Result;
use crate::fuzzy::check_undirected;
use crate::matrix::{check_finite, row_of, squared_distance};

/// Rows per task; fixed, so that sums do not depend on the number of threads.
const ROWS: usize = 64;
/// Memberships are kept this far from 0 and 1, so that logarithms are finite.
const MARGIN: f64 = 1e-12;

/// The fuzzy cross entropy between a graph and a map of it, over all pairs of nodes: smaller is better.
///
/// `Σ p ln(p/q) + (1 − p) ln((1 − p)/(1 − q))` over `i < j`, with `p` the edge's weight and `q` the map's membership.
/// UMAP minimizes it by sampling; this is the exact value, at `O(n²)` time.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) when the map has not one row per node,
/// [`Error::NotSymmetric`](crate::Error::NotSymmetric) or [`Error::EdgeWeight`](crate::Error::EdgeWeight) for a graph
/// that is not one of memberships, [`Error::Config`](crate::Error::Config) for a curve that does not fall,
/// [`Error::NotFinite`](crate::Error::NotFinite) for NaN in the map, [`Error::Cancelled`](crate::Error::Cancelled) when the
/// caller stops it.
pub fn cross_entropy(
    graph: &CsrGraph,
    map: ArrayView2<'_, f64>,
    curve: Curve,
    progress: &dyn Progress,
) -> Result<f64> {
    ShapeError::check_len("map", graph.n_nodes(), map.nrows())?;
    check_undirected(graph)?;
    curve.validate()?;
    check_finite(map)?;
    let map = map.as_standard_layout();
    let n = map.nrows();
    let starts: Vec<usize> = (0..n).step_by(ROWS).collect();
    progress.start("cross entropy", Some(n as u64));
    let parts: Result<Vec<f64>> = starts
        .into_par_iter()
        .map(|start| {
            progress.check()?;
            let end = (start + ROWS).min(n);
            let mut sum = 0.0;
            for i in start..end {
                let mut edges = graph.row(i).filter(|edge| edge.0 > i).peekable();
                for j in i + 1..n {
                    let p = edges
                        .next_if(|edge| edge.0 == j)
                        .map_or(0.0, |edge| edge.1.min(1.0));
                    let q = curve
                        .at(squared_distance(row_of(&map, i), row_of(&map, j)))
                        .clamp(MARGIN, 1.0 - MARGIN);
                    if p > 0.0 {
                        sum += p * libm::log(p / q);
                    }
                    if p < 1.0 {
                        sum += (1.0 - p) * libm::log((1.0 - p) / (1.0 - q));
                    }
                }
            }
            progress.advance((end - start) as u64);
            Ok(sum)
        })
        .collect();
    progress.finish();
    Ok(parts?.into_iter().sum())
}
