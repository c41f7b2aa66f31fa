//! All eigenvectors that are asked for, to rounding.

use ndarray::Array2;
use phenocoder_core::{Cancelled, Progress};

use super::METHOD;
use super::eigen::leading_eigenvectors;
use super::product::Centered;
use crate::matrix::{largest_entry, make_orthonormal};
use crate::{Error, Result};

/// What a solver finds.
pub(super) struct Directions {
    /// The sum of squares along each component, falling.
    pub(super) squares: Vec<f64>,
    /// The components, one a row, orthonormal and with their signs.
    pub(super) components: Array2<f64>,
    /// The sum of squares of all columns.
    pub(super) total: f64,
}

impl Directions {
    /// Makes the components orthonormal and gives them their signs; rows that are missing or zero are filled.
    pub(super) fn new(
        squares: Vec<f64>,
        components: Array2<f64>,
        total: f64,
        progress: &dyn Progress,
    ) -> Result<Self, Cancelled> {
        let mut components = orthonormal(components, progress)?;
        for mut component in components.outer_iter_mut() {
            if largest_entry(component.view()) < 0.0 {
                component.mapv_inplace(|v| -v);
            }
        }
        Ok(Self {
            squares,
            components,
            total,
        })
    }

    /// Those of a matrix of inner products of columns.
    pub(super) fn of_inner_products(
        inner: Array2<f64>,
        k: usize,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let total = finite_total(inner.diag().sum())?;
        let (squares, vectors) = leading_eigenvectors(inner, k, progress)?;
        Ok(Self::new(squares, vectors, total, progress)?)
    }

    /// Those of the smaller of `aᵀ a` and `a aᵀ`.
    pub(super) fn smaller(a: &Centered<'_>, k: usize, progress: &dyn Progress) -> Result<Self> {
        let (n, p) = a.dim();
        if p <= n {
            Self::of_inner_products(a.inner(progress)?, k, progress)
        } else {
            Self::of_rows(a, k, progress)
        }
    }

    /// By the matrix of inner products of rows, which are copied whole.
    pub(super) fn of_rows(a: &Centered<'_>, k: usize, progress: &dyn Progress) -> Result<Self> {
        let all = a.rows(0..a.dim().0);
        let inner = Centered::plain(all.t()).inner(progress)?;
        let total = finite_total(inner.diag().sum())?;
        let (squares, vectors) = leading_eigenvectors(inner, k, progress)?;
        let components = Centered::plain(all.view()).transposed_times(vectors.t(), progress)?;
        let components = components.reversed_axes();
        Ok(Self::new(squares, components, total, progress)?)
    }
}

/// No product of two rows or columns is larger than the sum of all squares, so that no other number overflows.
pub(super) fn finite_total(total: f64) -> Result<f64> {
    if total.is_finite() {
        Ok(total)
    } else {
        Err(Error::Overflow { method: METHOD })
    }
}

/// The rows made orthonormal in their order; a row that the ones before it span is replaced by another direction.
fn orthonormal(rows: Array2<f64>, progress: &dyn Progress) -> Result<Array2<f64>, Cancelled> {
    let (k, p) = rows.dim();
    let mut values: Vec<f64> = rows.iter().copied().collect();
    let scale = rows
        .outer_iter()
        .map(|row| row.dot(&row).sqrt())
        .fold(0.0, f64::max);
    let mut axis = 0;
    for i in 0..k {
        progress.check()?;
        let (done, rest) = values.split_at_mut(i * p);
        let done: Vec<&[f64]> = done.chunks_exact(p).collect();
        let row = &mut rest[..p];
        let mut least = scale * 1e-8;
        while !make_orthonormal(row, &done, least) {
            // One of the p unit vectors stands out of fewer than p directions by at least 1/√p of its length.
            row.fill(0.0);
            row[axis % p] = 1.0;
            axis += 1;
            least = 0.5 / (p as f64).sqrt();
        }
    }
    Ok(Array2::from_shape_vec((k, p), values).expect("as many values as before"))
}
