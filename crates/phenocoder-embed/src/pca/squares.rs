//! Inner products of the columns of a matrix, a few rows at a time.

use std::borrow::Cow;

use ndarray::{Array2, Array4, ArrayView1, ArrayView2, s};
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

/// How the products of every two columns lie in memory: in panels of as many columns as a few vectors hold.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    arch: Arch,
    columns: usize,
    /// Columns of a panel.
    width: usize,
}

impl Layout {
    pub(super) fn new(columns: usize) -> Self {
        Self::on(Arch::new(), columns)
    }

    fn on(arch: Arch, columns: usize) -> Self {
        let width = arch.dispatch(Width);
        Self {
            arch,
            columns,
            width,
        }
    }

    fn panels(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// `[panel, panel, column of the first, column of the second]`.
    pub(super) fn shape(&self) -> (usize, usize, usize, usize) {
        (self.panels(), self.panels(), self.width, self.width)
    }

    /// Sums in this layout as a symmetric matrix, `[columns, columns]`.
    pub(super) fn symmetric(&self, sums: Array4<f64>) -> Array2<f64> {
        let padded = self.panels() * self.width;
        let mut matrix = sums
            .permuted_axes([0, 2, 1, 3])
            .as_standard_layout()
            .into_owned()
            .into_shape_with_order((padded, padded))
            .expect("as many sums as before")
            .slice_move(s![..self.columns, ..self.columns]);
        for i in 0..self.columns {
            for j in 0..i {
                matrix[[j, i]] = matrix[[i, j]];
            }
        }
        matrix.as_standard_layout().into_owned()
    }
}

/// The sums of the products of every two columns.
///
/// Products are added row after row by fused multiply-add, so that the width of the vectors does not change a bit.
pub(super) struct Squares {
    layout: Layout,
    /// In the layout's shape; panels above the diagonal stay empty.
    sums: Vec<f64>,
    /// The rows at hand, `[panel, row, column]`.
    panels: Vec<f64>,
    rows: usize,
}

impl Squares {
    /// Rows that are added at once: so few that they stay near.
    pub(super) const ROWS: usize = 128;

    /// No rows yet.
    pub(super) fn new(layout: Layout) -> Self {
        let padded = layout.panels() * layout.width;
        Self {
            layout,
            sums: vec![0.0; padded * padded],
            panels: vec![0.0; Self::ROWS * padded],
            rows: 0,
        }
    }

    /// Adds the products of these rows, less `mean`, of which there are at most [`ROWS`](Self::ROWS).
    pub(super) fn add(&mut self, rows: ArrayView2<'_, f64>, mean: &[f64]) {
        self.rows = rows.nrows();
        if !rows.is_empty() {
            let squares = self;
            (squares.layout.arch).dispatch(Products {
                rows,
                mean,
                squares,
            });
        }
    }

    /// The sums in the layout's shape; those above the diagonal are of no account.
    pub(super) fn into_sums(self) -> Array4<f64> {
        Array4::from_shape_vec(self.layout.shape(), self.sums).expect("as many as were made")
    }
}

struct Products<'a> {
    rows: ArrayView2<'a, f64>,
    mean: &'a [f64],
    squares: &'a mut Squares,
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        fill_panels(simd, self.rows, self.mean, &mut self.squares.panels);
        // As many columns as the registers hold sums of; a panel holds a whole number of them.
        match S::F64_LANES {
            8 => self.squares.add_panels::<S, 8>(simd),
            4 => self.squares.add_panels::<S, 4>(simd),
            2 => self.squares.add_panels::<S, 4>(simd),
            _ => self.squares.add_panels::<S, 1>(simd),
        }
    }
}

/// The values of a row one after the other.
pub(super) fn contiguous(row: ArrayView1<'_, f64>) -> Cow<'_, [f64]> {
    row.to_slice()
        .map_or_else(|| Cow::Owned(row.to_vec()), Cow::Borrowed)
}

/// Writes rows, less `mean`, into panels; columns beyond the last are of no account.
#[inline(always)]
fn fill_panels<S: Simd>(simd: S, rows: ArrayView2<'_, f64>, mean: &[f64], panels: &mut [f64]) {
    let size = rows.nrows() * VECTORS;
    let panels = S::as_mut_simd_f64s(panels).0;
    for (row, values) in rows.outer_iter().enumerate() {
        let values = contiguous(values);
        let ((values, last), (mean, last_mean)) = (S::as_simd_f64s(&values), S::as_simd_f64s(mean));
        let place = |vector| vector / VECTORS * size + row * VECTORS + vector % VECTORS;
        for (vector, (values, mean)) in values.iter().zip(mean).enumerate() {
            panels[place(vector)] = simd.sub_f64s(*values, *mean);
        }
        if !last.is_empty() {
            let (last, mean) = (
                simd.partial_load_f64s(last),
                simd.partial_load_f64s(last_mean),
            );
            panels[place(values.len())] = simd.sub_f64s(last, mean);
        }
    }
}

impl Squares {
    #[inline(always)]
    fn add_panels<S: Simd, const P: usize>(&mut self, simd: S) {
        let (width, count) = (self.layout.width, self.layout.panels());
        let size = self.rows * width;
        let targets = self.sums.chunks_exact_mut(count * width * width);
        for (i, targets) in targets.enumerate() {
            let first = &self.panels[i * size..(i + 1) * size];
            let targets = targets.chunks_exact_mut(width * width);
            for (j, target) in targets.take(i + 1).enumerate() {
                let second = S::as_simd_f64s(&self.panels[j * size..(j + 1) * size]).0;
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
    use phenocoder_core::Seed;

    use super::*;

    #[test]
    fn sums_are_the_same_to_the_bit_for_any_width_of_vectors() {
        for columns in [1, 5, 16, 37] {
            let mut stream = Seed::new(3).stream("squares", 0);
            let x = Array2::from_shape_fn((50, columns), |_| stream.normal());
            let mean: Vec<f64> = (0..columns).map(|_| stream.normal()).collect();
            let sums = |arch| {
                let layout = Layout::on(arch, columns);
                let mut squares = Squares::new(layout);
                squares.add(x.slice(s![..33, ..]), &mean);
                // Rows that lie one value after the other in memory no more.
                let turned = x
                    .slice(s![33.., ..])
                    .reversed_axes()
                    .as_standard_layout()
                    .into_owned();
                squares.add(turned.t(), &mean);
                layout.symmetric(squares.into_sums())
            };
            let (vectors, scalars) = (sums(Arch::new()), sums(Arch::Scalar));
            let centered = &x - &ArrayView1::from(&mean);
            let whole = centered.t().dot(&centered);
            for i in 0..columns {
                for j in 0..columns {
                    assert_eq!(vectors[[i, j]].to_bits(), scalars[[i, j]].to_bits());
                    assert!((vectors[[i, j]] - whole[[i, j]]).abs() < 1e-12);
                }
            }
        }
    }
}
