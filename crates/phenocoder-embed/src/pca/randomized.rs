//! A few leading components of a large matrix, by random projection.

use ndarray::{Array2, s};
use phenocoder_core::{Progress, Seed};

use super::eigen::leading_eigenvectors;
use super::exact::{Directions, finite_total};
use super::product::Centered;
use crate::Result;

/// What the projection is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Projection {
    /// Directions beyond those asked for.
    pub(super) oversamples: usize,
    /// How often directions are multiplied by `aᵀ a` after the first time.
    pub(super) power_iterations: usize,
    pub(super) seed: Seed,
}

impl Directions {
    /// Those that stand out of the span of `(aᵀ a)^(q + 1) Ω` with `Ω` random and `q` the power iterations.
    pub(super) fn randomized(
        a: &Centered<'_>,
        k: usize,
        projection: Projection,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let (n, p) = a.dim();
        let total = finite_total(a.squares(progress)?)?;
        let mut components = Array2::zeros((k, p));
        let mut squares = vec![0.0; k];
        if total == 0.0 {
            return Ok(Self::new(squares, components, total, progress)?);
        }
        let width = k.saturating_add(projection.oversamples).min(n).min(p);
        let mut stream = projection.seed.stream("random projection", 0);
        let mut span = Array2::from_shape_fn((p, width), |_| stream.normal());
        for _ in 0..=projection.power_iterations {
            progress.check()?;
            let image = basis(a.times(span.view(), progress)?, progress)?;
            span = basis(a.transposed_times(image.view(), progress)?, progress)?;
        }
        // Once more, for a first basis of nearly parallel columns is one to few digits.
        let span = basis(span, progress)?;
        let image = a.times(span.view(), progress)?;
        let inner = Centered::plain(image.view()).inner(progress)?;
        let (found, vectors) = leading_eigenvectors(inner, k, progress)?;
        let found_rows = s![..found.len(), ..];
        components
            .slice_mut(found_rows)
            .assign(&vectors.dot(&span.t()));
        squares[..found.len()].copy_from_slice(&found);
        Ok(Self::new(squares, components, total, progress)?)
    }
}

/// Orthonormal columns with the span of these, fewer where some depend on others in double precision
/// (Stathopoulos & Wu 2002, doi:10.1137/S1064827500370883).
fn basis(mut columns: Array2<f64>, progress: &dyn Progress) -> Result<Array2<f64>> {
    let largest = columns.iter().fold(0.0_f64, |l, v| l.max(v.abs()));
    if largest > 0.0 {
        columns /= largest;
    }
    let inner = Centered::plain(columns.view()).inner(progress)?;
    let (values, mut vectors) = leading_eigenvectors(inner, columns.ncols(), progress)?;
    let least = values.first().map_or(0.0, |v| v * f64::EPSILON);
    let kept = values.iter().take_while(|&&v| v > least).count();
    for (mut vector, value) in vectors.outer_iter_mut().zip(&values).take(kept) {
        vector /= value.sqrt();
    }
    let kept = vectors.slice(s![..kept, ..]);
    Ok(Centered::plain(columns.view()).times(kept.t(), progress)?)
}

#[cfg(test)]
mod tests {
    use phenocoder_core::NoProgress;

    use super::*;

    #[test]
    fn a_basis_spans_its_columns_and_drops_what_depends_on_others() {
        let mut stream = Seed::new(1).stream("x", 0);
        let mut x = Array2::from_shape_fn((50, 4), |_| stream.normal() * 1e-170);
        let sum = &x.column(0) + &x.column(1);
        x.column_mut(3).assign(&sum);
        let of = |columns: Array2<f64>| basis(columns, &NoProgress).unwrap();
        let q = of(of(x.clone()));
        assert_eq!(q.dim(), (50, 3));
        let identity = Array2::<f64>::eye(3);
        assert!((q.t().dot(&q) - identity).iter().all(|d| d.abs() < 1e-14));
        let lost = &x - &q.dot(&q.t().dot(&x));
        assert!(lost.iter().all(|d| d.abs() < 1e-183), "{lost}");
        assert_eq!(of(Array2::zeros((5, 2))).dim(), (5, 0));
    }
}
