//! Some eigenvectors of a large symmetric matrix of which most entries are 0.

use nalgebra::{DMatrix, SymmetricEigen};
use ndarray::Array2;
use phenocoder_core::{CsrGraph, Progress, Seed, Stream};
use rayon::prelude::*;

use crate::matrix::{dot, make_orthonormal, norm};
use crate::{Error, Result};

const METHOD: &str = "eigenvectors of a graph";
/// Matrices up to this size are solved densely, as are those of which a quarter of all vectors is asked for.
const DENSE: usize = 256;
/// The length of `A v − λ v` that ends the rounds, and the largest number of them.
const RESIDUAL: f64 = 1e-9;
const ROUNDS: usize = 300;

/// The eigenvalues of largest magnitude, falling by it, of an undirected graph's matrix, and their vectors of length 1,
/// `[count, n]`.
///
/// Lanczos' method, restarted with the best part of the space (Wu & Simon 2000, doi:10.1137/S0895479898334605).
/// Its tolerance is absolute: it comes to rest for values of about 1, in a matrix whose two halves differ by rounding
/// only.
pub(crate) fn leading_eigenvectors(
    matrix: &CsrGraph,
    count: usize,
    progress: &dyn Progress,
) -> Result<(Vec<f64>, Array2<f64>)> {
    let n = matrix.n_nodes();
    let count = count.min(n);
    let (values, vectors): (Vec<f64>, Vec<Vec<f64>>) = if n <= DENSE.max(4 * count) {
        let mut dense = DMatrix::<f64>::zeros(n, n);
        for row in 0..n {
            for (column, value) in matrix.row(row) {
                dense[(row, column)] = value;
            }
        }
        let (values, vectors) = ritz(dense, count);
        let vectors = vectors.column_iter().map(|v| v.iter().copied().collect());
        (values, vectors.collect())
    } else {
        restarted(matrix, count, progress)?
    };
    let vectors = Array2::from_shape_fn((count, n), |(i, j)| vectors[i][j]);
    Ok((values, vectors))
}

fn restarted(
    matrix: &CsrGraph,
    count: usize,
    progress: &dyn Progress,
) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    let n = matrix.n_nodes();
    // Twice as many directions as are asked for, half of the others kept: as ARPACK.
    let (width, kept) = (2 * count + 20, count + count / 2 + 10);
    // Where the search begins does not matter for where it ends.
    let mut stream = Seed::default().stream("eigenvectors", 0);
    let mut next: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
    let (mut vectors, mut images): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        while vectors.len() < width {
            progress.check()?;
            orthonormalize(&mut next, &vectors, &mut stream);
            let image = multiply(matrix, &next);
            vectors.push(std::mem::replace(&mut next, image.clone()));
            images.push(image);
        }
        let small = products(&vectors, &images);
        let (values, turn) = ritz(small, kept);
        vectors = combine(&vectors, &turn);
        images = combine(&images, &turn);
        let mut worst = 0.0;
        for ((value, vector), image) in values.iter().zip(&vectors).zip(&images).take(count) {
            let pairs = image.iter().zip(vector);
            let residual: Vec<f64> = pairs.map(|(image, v)| image - value * v).collect();
            let length = norm(&residual);
            if length > worst {
                (worst, next) = (length, residual);
            }
        }
        if worst <= RESIDUAL {
            vectors.truncate(count);
            return Ok((values.into_iter().take(count).collect(), vectors));
        }
    }
    Err(Error::NotConverged {
        method: METHOD,
        iterations: ROUNDS,
    })
}

/// `VᵀA V`.
fn products(vectors: &[Vec<f64>], images: &[Vec<f64>]) -> DMatrix<f64> {
    let width = vectors.len();
    let rows: Vec<Vec<f64>> = vectors
        .par_iter()
        .enumerate()
        .map(|(i, vector)| {
            images[..=i]
                .iter()
                .map(|image| dot(vector, image))
                .collect()
        })
        .collect();
    DMatrix::from_fn(width, width, |i, j| rows[i.max(j)][i.min(j)])
}

/// The `count` eigenvalues of largest magnitude and their vectors as columns.
fn ritz(matrix: DMatrix<f64>, count: usize) -> (Vec<f64>, DMatrix<f64>) {
    let n = matrix.nrows();
    let eigen = SymmetricEigen::new(matrix);
    let mut order: Vec<usize> = (0..n).collect();
    let size = |i: usize| eigen.eigenvalues[i].abs();
    order.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
    order.truncate(count);
    let values = order.iter().map(|&i| eigen.eigenvalues[i]).collect();
    let vectors = DMatrix::from_fn(n, order.len(), |i, j| eigen.eigenvectors[(i, order[j])]);
    (values, vectors)
}

/// Sums of the vectors, each weighing the entries of a column.
fn combine(vectors: &[Vec<f64>], turn: &DMatrix<f64>) -> Vec<Vec<f64>> {
    let length = vectors.first().map_or(0, Vec::len);
    (0..turn.ncols())
        .into_par_iter()
        .map(|column| {
            let mut sum = vec![0.0; length];
            for (vector, weight) in vectors.iter().zip(turn.column(column).iter()) {
                for (sum, value) in sum.iter_mut().zip(vector) {
                    *sum += weight * value;
                }
            }
            sum
        })
        .collect()
}

fn multiply(matrix: &CsrGraph, vector: &[f64]) -> Vec<f64> {
    (0..matrix.n_nodes())
        .into_par_iter()
        .with_min_len(1024)
        .map(|row| {
            let products = matrix
                .row(row)
                .map(|(column, value)| value * vector[column]);
            products.sum::<f64>()
        })
        .collect()
}

/// Takes from `vector` what lies along the others, which are orthonormal, and gives it length 1; draws it anew when
/// nothing is left.
fn orthonormalize(vector: &mut [f64], others: &[Vec<f64>], stream: &mut Stream) {
    // More than one new draw is needed only by chance of rounding.
    for _ in 0..8 {
        let least = 1e-12 * norm(vector);
        if make_orthonormal(vector, others, least) {
            return;
        }
        vector.iter_mut().for_each(|value| *value = stream.normal());
    }
}

#[cfg(test)]
mod tests {
    use phenocoder_core::{CancelToken, NoProgress};

    use super::*;

    /// A ring of edges and some across it, of random weights.
    fn graph(n: usize) -> CsrGraph {
        let mut stream = Seed::new(8).stream("graph", 0);
        let mut dense = Array2::<f64>::zeros((n, n));
        for i in 0..n {
            for j in [(i + 1) % n, stream.below(n)] {
                if i != j {
                    let weight = stream.uniform_in(-1.0, 1.0);
                    (dense[[i, j]], dense[[j, i]]) = (weight, weight);
                }
            }
        }
        let mut parts = (vec![0], Vec::new(), Vec::new());
        for row in dense.outer_iter() {
            for (column, &value) in row.iter().enumerate().filter(|entry| *entry.1 != 0.0) {
                parts.1.push(column as u32);
                parts.2.push(value);
            }
            parts.0.push(parts.1.len());
        }
        CsrGraph::new(parts.0, parts.1, parts.2).unwrap()
    }

    #[test]
    fn restarts_find_the_eigenvalues_of_the_dense_matrix() {
        let graph = graph(200);
        let (values, vectors) = restarted(&graph, 20, &NoProgress).unwrap();
        let (dense, _) = leading_eigenvectors(&graph, 200, &NoProgress).unwrap();
        assert_eq!((values.len(), vectors.len(), dense.len()), (20, 20, 200));
        for (found, expected) in values.iter().zip(&dense) {
            assert!(
                (found.abs() - expected.abs()).abs() < 1e-10,
                "{found} {expected}"
            );
        }
        for (i, a) in vectors.iter().enumerate() {
            for (j, b) in vectors.iter().enumerate() {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((dot(a, b) - expected).abs() < 1e-10, "{i} {j}");
            }
            let image = multiply(&graph, a);
            let worst = image.iter().zip(a).map(|(y, x)| (y - values[i] * x).abs());
            assert!(worst.fold(0.0, f64::max) < 1e-8, "{i}");
        }
    }

    #[test]
    fn vectors_of_several_tasks_are_orthonormalized_as_by_one_loop() {
        let n = (1 << 16) + 7;
        let mut stream = Seed::new(9).stream("vectors", 0);
        let mut others: Vec<Vec<f64>> = Vec::new();
        for _ in 0..4 {
            let mut found: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
            let mut expected = found.clone();
            for _ in 0..2 {
                let shares: Vec<f64> = others.iter().map(|other| dot(other, &expected)).collect();
                for (share, other) in shares.iter().zip(&others) {
                    for (value, along) in expected.iter_mut().zip(other) {
                        *value -= share * along;
                    }
                }
            }
            let length = dot(&expected, &expected).sqrt();
            expected.iter_mut().for_each(|value| *value /= length);
            orthonormalize(&mut found, &others, &mut stream);
            assert_eq!(found, expected);
            others.push(found);
        }
    }

    #[test]
    fn large_and_small_matrices_are_solved_alike() {
        let graph = graph(DENSE + 60);
        let (values, vectors) = leading_eigenvectors(&graph, 5, &NoProgress).unwrap();
        let (dense, others) = leading_eigenvectors(&graph, 200, &NoProgress).unwrap();
        assert_eq!((vectors.dim(), others.dim()), ((5, 316), (200, 316)));
        for (i, (found, expected)) in values.iter().zip(&dense).enumerate() {
            assert!((found - expected).abs() < 1e-10, "{found} {expected}");
            let cosine = vectors.row(i).dot(&others.row(i)).abs();
            assert!((cosine - 1.0).abs() < 1e-8, "{i}: {cosine}");
        }
        let stopped = CancelToken::new();
        stopped.cancel();
        let result = leading_eigenvectors(&graph, 5, &stopped);
        assert!(matches!(result, Err(Error::Cancelled(_))));
    }

    #[test]
    fn a_matrix_of_few_eigenvalues_is_no_trap() {
        // All eigenvalues are 1: every direction is an eigenvector, and the first image adds none.
        let n = 300;
        let one = CsrGraph::new((0..=n).collect(), (0..n as u32).collect(), vec![1.0; n]).unwrap();
        let (values, vectors) = leading_eigenvectors(&one, 3, &NoProgress).unwrap();
        assert!(values.iter().all(|v| (v - 1.0).abs() < 1e-12), "{values:?}");
        let products = vectors.dot(&vectors.t());
        assert!(
            (products - Array2::<f64>::eye(3))
                .iter()
                .all(|v| v.abs() < 1e-10)
        );
    }
}
