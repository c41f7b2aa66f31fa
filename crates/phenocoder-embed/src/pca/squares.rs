//! Inner products of the columns of a matrix, a few rows at a time.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView2};
use pulp::{Arch, Simd, WithSimd};

/// Vectors side by side in a panel.
const VECTORS: usize = 2;

/// What the registers hold: columns of a panel.
struct Width;

impl WithSimd for Width {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        VECTORS * S::F64_LANES
    }
}

/// The sums of the products of every two columns.
///
/// Products are added row after row by fused multiply-add, so that the width of the vectors does not change a bit.
pub(super) struct Squares {
    arch: Arch,
    columns: usize,
    /// Columns of a panel.
    width: usize,
    /// `[panel, panel, column of the first, column of the second]`; panels above the diagonal stay empty.
    sums: Vec<f64>,
    /// The rows at hand, `[panel, row, column]`.
    panels: Vec<f64>,
    rows: usize,
}

impl Squares {
    /// Rows that are added at once: so few that they stay near.
    pub(super) const ROWS: usize = 128;

    /// No rows yet.
    pub(super) fn new(columns: usize) -> Self {
        Self::on(Arch::new(), columns)
    }

    fn on(arch: Arch, columns: usize) -> Self {
        let width = arch.dispatch(Width);
        let padded = columns.next_multiple_of(width);
        Self {
            arch,
            columns,
            width,
            sums: vec![0.0; padded * padded],
            panels: Vec::new(),
            rows: 0,
        }
    }

    /// Adds the products of these rows, less `mean`, of which there are at most [`ROWS`](Self::ROWS).
    pub(super) fn add(&mut self, rows: ArrayView2<'_, f64>, mean: &[f64]) {
        self.rows = rows.nrows();
        let padded = self.columns.next_multiple_of(self.width);
        self.panels.clear();
        self.panels.resize(self.rows * padded, 0.0);
        if self.panels.is_empty() {
            return;
        }
        let size = self.rows * self.width;
        for (row, values) in rows.outer_iter().enumerate() {
            let values = values
                .to_slice()
                .map_or_else(|| Cow::Owned(values.to_vec()), Cow::Borrowed);
            let parts = values.chunks(self.width).zip(mean.chunks(self.width));
            for (panel, (values, mean)) in parts.enumerate() {
                let line = &mut self.panels[panel * size + row * self.width..][..values.len()];
                for (to, (value, mean)) in line.iter_mut().zip(values.iter().zip(mean)) {
                    *to = value - mean;
                }
            }
        }
        self.arch.dispatch(Products(self));
    }

    /// The sums, `[columns, columns]`; those above the diagonal are of no account.
    pub(super) fn into_lower_half(self) -> Array2<f64> {
        let (width, panels) = (self.width, self.columns.div_ceil(self.width));
        Array2::from_shape_fn((self.columns, self.columns), |(i, j)| {
            let panel = i / width * panels + j / width;
            self.sums[(panel * width + i % width) * width + j % width]
        })
    }
}

struct Products<'a>(&'a mut Squares);

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many columns as the registers hold sums of; a panel holds a whole number of them.
        match S::F64_LANES {
            8 => self.add::<S, 8>(simd),
            4 => self.add::<S, 4>(simd),
            2 => self.add::<S, 4>(simd),
            _ => self.add::<S, 1>(simd),
        }
    }
}

impl Products<'_> {
    #[inline(always)]
    fn add<S: Simd, const P: usize>(self, simd: S) {
        let Squares {
            width,
            sums,
            panels,
            rows,
            ..
        } = self.0;
        let size = *rows * *width;
        let count = panels.len() / size;
        for (i, targets) in sums.chunks_exact_mut(count * *width * *width).enumerate() {
            let first = &panels[i * size..(i + 1) * size];
            for (j, target) in targets
                .chunks_exact_mut(*width * *width)
                .take(i + 1)
                .enumerate()
            {
                let second = S::as_simd_f64s(&panels[j * size..(j + 1) * size]).0;
                let target = S::as_mut_simd_f64s(target).0;
                let (second, _) = second.as_chunks::<VECTORS>();
                let (target, _) = target.as_chunks_mut::<VECTORS>();
                for (part, target) in target.as_chunks_mut::<P>().0.iter_mut().enumerate() {
                    add_products(simd, first, part * P, second, target);
                }
            }
        }
    }
}

/// Adds the products of `P` columns of a panel, the first of which is `column`, with all columns of another.
#[inline(always)]
fn add_products<S: Simd, const P: usize>(
    simd: S,
    first: &[f64],
    column: usize,
    second: &[[S::f64s; VECTORS]],
    target: &mut [[S::f64s; VECTORS]; P],
) {
    let width = VECTORS * S::F64_LANES;
    let mut sums = *target;
    for (line, vectors) in first.chunks_exact(width).zip(second) {
        let values = &line[column..column + P];
        for p in 0..P {
            let value = simd.splat_f64s(values[p]);
            for v in 0..VECTORS {
                sums[p][v] = simd.mul_add_f64s(value, vectors[v], sums[p][v]);
            }
        }
    }
    *target = sums;
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayView1, s};
    use phenocoder_core::Seed;

    use super::*;

    #[test]
    fn sums_are_the_same_to_the_bit_for_any_width_of_vectors() {
        for columns in [1, 5, 16, 37] {
            let mut stream = Seed::new(3).stream("squares", 0);
            let x = Array2::from_shape_fn((50, columns), |_| stream.normal());
            let mean: Vec<f64> = (0..columns).map(|_| stream.normal()).collect();
            let sums = |arch| {
                let mut squares = Squares::on(arch, columns);
                squares.add(x.slice(s![..33, ..]), &mean);
                // Rows that lie one value after the other in memory no more.
                let turned = x
                    .slice(s![33.., ..])
                    .reversed_axes()
                    .as_standard_layout()
                    .into_owned();
                squares.add(turned.t(), &mean);
                squares.into_lower_half()
            };
            let (vectors, scalars) = (sums(Arch::new()), sums(Arch::Scalar));
            let centered = &x - &ArrayView1::from(&mean);
            let whole = centered.t().dot(&centered);
            for i in 0..columns {
                for j in 0..=i {
                    assert_eq!(vectors[[i, j]].to_bits(), scalars[[i, j]].to_bits());
                    assert!((vectors[[i, j]] - whole[[i, j]]).abs() < 1e-12);
                }
            }
        }
    }
}
