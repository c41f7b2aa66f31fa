//! Where the nodes of a map start.

use std::cmp::Ordering;

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::{Array2, ArrayView1, Axis};
use phenocoder_core::{CsrGraph, Progress, Seed, Stream};
use rayon::prelude::*;

use crate::Result;
use crate::matrix::{largest_entry, make_orthogonal, norm, sum_rows};

/// Parts up to this size are solved densely.
const DENSE: usize = 128;
/// Extra directions that speed the iteration up.
const GUARDS: usize = 6;
/// The degree of the filter, the largest number of rounds and the residual that ends them.
const DEGREE: usize = 20;
const ROUNDS: usize = 40;
const RESIDUAL: f64 = 1e-4;
/// The side of the box that a map starts in, and the deviation of the noise that parts equal nodes.
const SIDE: f64 = 10.0;
const NOISE: f64 = 1e-4;

/// Positions from the leading eigenvectors of `D^−½ W D^−½` without the trivial one, part by part, filling `[0, 10]`.
pub(super) fn start(
    graph: &CsrGraph,
    dimensions: usize,
    seed: Seed,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    let parts = connected_parts(graph);
    let mut positions = Array2::zeros((graph.n_nodes(), dimensions));
    progress.start("spectral start", Some(parts.len() as u64));
    let biggest = parts.iter().map(Vec::len).max().unwrap_or(0);
    // The position of every node in its part.
    let mut local_of = vec![0_u32; graph.n_nodes()];
    for nodes in &parts {
        for (i, &node) in nodes.iter().enumerate() {
            local_of[node] = i as u32;
        }
    }
    let centers = places(parts.len(), dimensions);
    for (index, nodes) in parts.iter().enumerate() {
        progress.check()?;
        let mut stream = seed.stream("umap/spectral", index as u64);
        let mut local = part_positions(graph, nodes, &local_of, dimensions, &mut stream, progress)?;
        let largest = local.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        // A part takes an area in proportion to its nodes.
        let share = libm::pow(nodes.len() as f64 / biggest as f64, 1.0 / dimensions as f64);
        let factor = if largest > 0.0 {
            share * SIDE / largest
        } else {
            0.0
        };
        local.mapv_inplace(|v| v * factor + NOISE * stream.normal());
        let center = centers[index];
        for (row, &node) in local.outer_iter().zip(nodes) {
            for axis in 0..dimensions {
                let center = center.get(axis).copied().unwrap_or(0.0);
                positions[[node, axis]] = row[axis] + 2.5 * SIDE * center;
            }
        }
        progress.advance(1);
    }
    progress.finish();
    Ok(fill_box(positions))
}

/// These positions, filling `[0, 10]`; with noise where moves would not part nodes.
pub(super) fn start_at(positions: Array2<f64>, seed: Seed) -> Array2<f64> {
    let mut positions = fill_box(positions);
    if !are_apart(&positions) {
        let mut stream = seed.stream("umap/noise", 0);
        // Row by row, in whatever order the caller's values are in memory.
        for position in &mut positions {
            *position += NOISE * stream.normal();
        }
    }
    positions
}

/// Whether no two nodes in the box share a place, and no axis is without extent.
fn are_apart(positions: &Array2<f64>) -> bool {
    if positions.nrows() < 2 {
        return true;
    }
    let mut rows: Vec<ArrayView1<'_, f64>> = positions.outer_iter().collect();
    rows.par_sort_unstable_by(|a, b| a.iter().partial_cmp(b).unwrap_or(Ordering::Equal));
    let mut axes = positions.axis_iter(Axis(1));
    rows.windows(2).all(|pair| pair[0] != pair[1])
        && axes.all(|axis| axis.iter().any(|&place| place != SIDE / 2.0))
}

/// Moves and scales every axis to `[0, 10]`; an axis without extent is set to the middle.
pub(super) fn fill_box(mut positions: Array2<f64>) -> Array2<f64> {
    for mut axis in positions.axis_iter_mut(Axis(1)) {
        let low = axis.iter().copied().fold(f64::INFINITY, f64::min);
        let high = axis.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // A power of two leaves all digits as they are where the box times the extent is beyond any number.
        let factor = if (SIDE * (high - low)).is_finite() {
            1.0
        } else {
            1.0 / 32.0
        };
        let low = low * factor;
        let extent = high * factor - low;
        axis.mapv_inplace(|v| {
            if extent > 0.0 {
                SIDE * (v * factor - low) / extent
            } else {
                SIDE / 2.0
            }
        });
    }
    positions
}

/// The places of the parts in the first two dimensions, in units of the distance between parts: a walk outwards over
/// the whole numbers, a square spiral where there are two.
fn places(count: usize, dimensions: usize) -> Vec<[f64; 2]> {
    if dimensions == 1 {
        return (0..count).map(|index| [index as f64, 0.0]).collect();
    }
    let (mut x, mut y, mut dx, mut dy) = (0_i64, 0_i64, 1_i64, 0_i64);
    let (mut run, mut walked, mut turns) = (1, 0, 0);
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        places.push([x as f64, y as f64]);
        x += dx;
        y += dy;
        walked += 1;
        if walked == run {
            walked = 0;
            (dx, dy) = (-dy, dx);
            turns += 1;
            if turns % 2 == 0 {
                run += 1;
            }
        }
    }
    places
}

/// The nodes of each connected part, rising; parts by falling size, then by first node.
pub(crate) fn connected_parts(graph: &CsrGraph) -> Vec<Vec<usize>> {
    let n = graph.n_nodes();
    let mut seen = vec![false; n];
    let mut parts = Vec::new();
    for first in 0..n {
        if seen[first] {
            continue;
        }
        seen[first] = true;
        let (mut nodes, mut at) = (vec![first], 0);
        while at < nodes.len() {
            for (other, weight) in graph.row(nodes[at]) {
                if weight > 0.0 && !seen[other] {
                    seen[other] = true;
                    nodes.push(other);
                }
            }
            at += 1;
        }
        nodes.sort_unstable();
        parts.push(nodes);
    }
    parts.sort_by_key(|nodes| (std::cmp::Reverse(nodes.len()), nodes[0]));
    parts
}

fn part_positions(
    graph: &CsrGraph,
    nodes: &[usize],
    local_of: &[u32],
    dimensions: usize,
    stream: &mut Stream,
    progress: &dyn Progress,
) -> Result<Array2<f64>> {
    let m = nodes.len();
    if m <= dimensions + 1 {
        // Too few nodes for as many directions: anywhere.
        return Ok(Array2::from_shape_simple_fn((m, dimensions), || {
            stream.uniform_in(-1.0, 1.0)
        }));
    }
    let operator = Operator::new(graph, nodes, local_of);
    let mut vectors = if m <= DENSE {
        operator.dense_eigenvectors(dimensions)
    } else {
        operator.eigenvectors(dimensions, stream, progress)?
    };
    for mut column in vectors.axis_iter_mut(Axis(1)) {
        let largest = largest_entry(column.view());
        if largest < 0.0 {
            column.mapv_inplace(|v| -v);
        }
        // Every axis gets the same extent.
        if largest != 0.0 {
            column.mapv_inplace(|v| v / largest.abs());
        }
    }
    Ok(vectors)
}

/// `D^−½ W D^−½` of one connected part.
struct Operator {
    indptr: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
    /// The eigenvector of eigenvalue 1, of length 1.
    trivial: Vec<f64>,
}

impl Operator {
    /// `local_of` is the position in its part of every node of the graph.
    fn new(graph: &CsrGraph, nodes: &[usize], local_of: &[u32]) -> Self {
        let strength: Vec<f64> = nodes
            .iter()
            .map(|&node| graph.row(node).map(|edge| edge.1).sum())
            .collect();
        let (mut indptr, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        for (i, &node) in nodes.iter().enumerate() {
            for (other, weight) in graph.row(node).filter(|edge| edge.1 > 0.0) {
                let j = local_of[other];
                indices.push(j);
                values.push(weight / root_of_product(strength[i], strength[j as usize]));
            }
            indptr.push(indices.len());
        }
        let total: f64 = strength.iter().sum();
        let trivial = strength.iter().map(|s| (s / total).sqrt()).collect();
        Self {
            indptr,
            indices,
            values,
            trivial,
        }
    }

    fn len(&self) -> usize {
        self.trivial.len()
    }

    fn dense_eigenvectors(&self, dimensions: usize) -> Array2<f64> {
        let m = self.len();
        let mut dense = DMatrix::<f64>::zeros(m, m);
        for i in 0..m {
            for at in self.indptr[i]..self.indptr[i + 1] {
                dense[(i, self.indices[at] as usize)] = self.values[at];
            }
            // The trivial eigenvalue is moved from 1 to −2, below all others.
            for j in 0..m {
                dense[(i, j)] -= 3.0 * self.trivial[i] * self.trivial[j];
            }
        }
        let eigen = SymmetricEigen::new(dense);
        let order = falling(eigen.eigenvalues.as_slice());
        Array2::from_shape_fn((m, dimensions), |(i, j)| eigen.eigenvectors[(i, order[j])])
    }

    /// Subspace iteration with a Chebyshev filter (Zhou et al. 2006, doi:10.1016/j.jcp.2006.03.017).
    fn eigenvectors(
        &self,
        dimensions: usize,
        stream: &mut Stream,
        progress: &dyn Progress,
    ) -> Result<Array2<f64>> {
        let m = self.len();
        let width = (dimensions + GUARDS).min(m - 1);
        let mut block = Array2::from_shape_simple_fn((m, width), || stream.normal());
        self.orthonormalize(&mut block, stream);
        let mut cut = 0.5;
        for _ in 0..ROUNDS {
            progress.check()?;
            block = self.filter(block, cut);
            self.orthonormalize(&mut block, stream);
            let image = self.apply(&block);
            let small = columns_by_columns(&block, &image);
            let lower = |i: usize, j: usize| small[[i.max(j), i.min(j)]];
            let eigen = SymmetricEigen::new(DMatrix::from_fn(width, width, lower));
            let order = falling(eigen.eigenvalues.as_slice());
            let turn =
                Array2::from_shape_fn((width, width), |(i, j)| eigen.eigenvectors[(i, order[j])]);
            block = rows_by_columns(&block, &turn);
            let image = rows_by_columns(&image, &turn);
            let mut worst = 0.0_f64;
            for (j, &at) in order.iter().enumerate().take(dimensions) {
                let value = eigen.eigenvalues[at];
                let error: f64 = (0..m)
                    .map(|i| (image[[i, j]] - value * block[[i, j]]).powi(2))
                    .sum();
                worst = worst.max(error.sqrt());
            }
            if worst <= RESIDUAL {
                break;
            }
            cut = eigen.eigenvalues[order[width - 1]].clamp(-0.5, 0.999_999);
        }
        Ok(block.slice_move(ndarray::s![.., ..dimensions]))
    }

    /// A Chebyshev polynomial of the operator that damps eigenvalues from −1 to `cut` and raises those above.
    fn filter(&self, block: Array2<f64>, cut: f64) -> Array2<f64> {
        let (half, middle) = ((cut + 1.0) / 2.0, (cut - 1.0) / 2.0);
        let mut before = block;
        let mut now = self.apply(&before);
        now.zip_mut_with(&before, |y, x| *y = (*y - middle * x) / half);
        for _ in 1..DEGREE {
            let mut next = self.apply(&now);
            next.zip_mut_with(&now, |y, x| *y = 2.0 * (*y - middle * x) / half);
            next -= &before;
            before = now;
            now = next;
        }
        now
    }

    /// The operator on each column of `block`, without the trivial direction.
    fn apply(&self, block: &Array2<f64>) -> Array2<f64> {
        let (m, width) = block.dim();
        let from = contiguous(block);
        let mut to = vec![0.0; m * width];
        to.par_chunks_mut(width)
            .with_min_len(256)
            .enumerate()
            .for_each(|(i, row)| {
                for at in self.indptr[i]..self.indptr[i + 1] {
                    let other = self.indices[at] as usize * width;
                    for (to, from) in row.iter_mut().zip(&from[other..other + width]) {
                        *to += self.values[at] * from;
                    }
                }
            });
        Array2::from_shape_vec((m, width), to).expect("one entry per row and column")
    }

    /// Makes the columns orthonormal and orthogonal to the trivial direction; one that is lost is drawn anew.
    fn orthonormalize(&self, block: &mut Array2<f64>, stream: &mut Stream) {
        let (m, width) = block.dim();
        let mut columns: Vec<Vec<f64>> = Vec::with_capacity(width);
        for j in 0..width {
            let mut column: Vec<f64> = block.column(j).to_vec();
            let mut tries = 0;
            loop {
                let before = norm(&column);
                for _ in 0..2 {
                    // One by one: each takes its share of what those before it left.
                    for other in std::iter::once(&self.trivial).chain(&columns) {
                        make_orthogonal(&mut column, std::slice::from_ref(other));
                    }
                }
                let after = norm(&column);
                if after > 1e-10 * before && after > 0.0 || tries == 8 {
                    let factor = if after > 0.0 { 1.0 / after } else { 0.0 };
                    column.iter_mut().for_each(|v| *v *= factor);
                    break;
                }
                tries += 1;
                column.iter_mut().for_each(|v| *v = stream.normal());
            }
            columns.push(column);
        }
        *block = Array2::from_shape_fn((m, width), |(i, j)| columns[j][i]);
    }
}

/// `√(a b)`, also where the product is too small or too large for a number.
fn root_of_product(a: f64, b: f64) -> f64 {
    let product = a * b;
    if product.is_normal() {
        product.sqrt()
    } else {
        a.sqrt() * b.sqrt()
    }
}

/// `aᵀ b` of two matrices with few columns, summed in an order that is the same on every machine, which `dot` is not.
fn columns_by_columns(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let (m, width) = a.dim();
    let (a, b) = (contiguous(a), contiguous(b));
    let sums = sum_rows(m, width * width, |rows, sums| {
        let rows = rows.start * width..rows.end * width;
        let pairs = a[rows.clone()].chunks(width).zip(b[rows].chunks(width));
        for (a, b) in pairs {
            for (&a, sums) in a.iter().zip(sums.chunks_mut(width)) {
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum += a * b;
                }
            }
        }
    });
    Array2::from_shape_vec((width, width), sums).expect("one entry per pair of columns")
}

/// `a b` of a matrix with few columns and a square one, as [`columns_by_columns`] the same on every machine.
fn rows_by_columns(a: &Array2<f64>, b: &Array2<f64>) -> Array2<f64> {
    let (m, width) = a.dim();
    let (a, b) = (contiguous(a), contiguous(b));
    let mut product = vec![0.0; m * width];
    product
        .par_chunks_mut(width)
        .zip(a.par_chunks(width))
        .with_min_len(256)
        .for_each(|(to, a)| {
            for (&a, b) in a.iter().zip(b.chunks(width)) {
                for (to, b) in to.iter_mut().zip(b) {
                    *to += a * b;
                }
            }
        });
    Array2::from_shape_vec((m, width), product).expect("one entry per row and column")
}

fn contiguous(matrix: &Array2<f64>) -> &[f64] {
    matrix.as_slice().expect("rows one after the other")
}

/// The positions of values by falling value.
fn falling(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

#[cfg(test)]
mod tests;
