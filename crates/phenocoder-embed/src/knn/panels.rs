//! A first look at many distances, in single precision.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd, bytemuck};
use rayon::prelude::*;

/// Vectors side by side in a panel.
const VECTORS: usize = 2;

/// Rows of a query that meet a panel at once: as many as the registers hold sums of, where there are 32 of them, and
/// where there are fewer.
const TILE: usize = 12;
const SMALL_TILE: usize = 6;

/// What the registers hold: lanes of a vector, and rows of a tile.
struct Registers;

impl WithSimd for Registers {
    type Output = (usize, usize);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (usize, usize) {
        let tile = if S::REGISTER_COUNT >= 32 {
            TILE
        } else {
            SMALL_TILE
        };
        (S::F32_LANES, tile)
    }
}

/// Rows cut into panels as wide as two vectors, each panel column by column, so that a vector holds one column of
/// several rows.
pub(super) struct Panels {
    arch: Arch,
    /// Rows in a panel.
    width: usize,
    /// Rows of a query that meet a panel at once.
    tile: usize,
    columns: usize,
    /// −2 times the values.
    values: Vec<f32>,
    /// The least that a row adds to its product; infinite where the last panel has no row.
    least: Vec<f32>,
}

impl Panels {
    /// Rows in a panel.
    pub(super) fn width() -> usize {
        VECTORS * Arch::new().dispatch(Registers).0
    }

    /// Panels of as many rows and columns, and the squared lengths of the rows.
    ///
    /// `fill` writes the values of a row and returns its squared length; `least` tells what a row of that length adds to
    /// its product at least.
    pub(super) fn new(
        (rows, columns): (usize, usize),
        fill: impl Fn(usize, &mut [f32]) -> f32 + Sync,
        least: impl Fn(f32) -> f32,
    ) -> (Self, Vec<f32>) {
        Self::on(Arch::new(), (rows, columns), fill, least)
    }

    fn on(
        arch: Arch,
        (rows, columns): (usize, usize),
        fill: impl Fn(usize, &mut [f32]) -> f32 + Sync,
        least: impl Fn(f32) -> f32,
    ) -> (Self, Vec<f32>) {
        let (lanes, tile) = arch.dispatch(Registers);
        let width = VECTORS * lanes;
        // A column of zeros changes nothing and spares the case of no column.
        let columns_kept = columns.max(1);
        let padded = rows.next_multiple_of(width);
        let (mut values, mut squares) = (vec![0.0; padded * columns_kept], vec![0.0; rows]);
        let panels = values.par_chunks_mut(width * columns_kept);
        panels
            .zip(squares.par_chunks_mut(width))
            .enumerate()
            .for_each_init(
                || vec![0.0; columns],
                |line, (panel, (values, squares))| {
                    for (lane, square) in squares.iter_mut().enumerate() {
                        *square = fill(panel * width + lane, line);
                        for (column, &value) in line.iter().enumerate() {
                            values[column * width + lane] = -2.0 * value;
                        }
                    }
                },
            );
        let mut least: Vec<f32> = squares.iter().map(|&square| least(square)).collect();
        least.resize(padded, f32::INFINITY);
        let panels = Self {
            arch,
            width,
            tile,
            columns: columns_kept,
            values,
            least,
        };
        (panels, squares)
    }

    /// Rows of a query, `[rows, columns]`, as they are compared with the panels.
    pub(super) fn tiles(&self, query: &[f32], rows: usize) -> Tiles {
        let (tile, columns) = (self.tile, self.columns);
        let mut values = vec![0.0; rows.next_multiple_of(tile) * columns];
        let given = query.len() / rows.max(1);
        for (row, line) in query.chunks_exact(given.max(1)).enumerate() {
            let target = &mut values[row / tile * tile * columns..];
            for (column, &value) in line.iter().enumerate() {
                target[column * tile + row % tile] = value;
            }
        }
        Tiles(values)
    }

    /// Compares rows of a query with these rows of the panels, of which the first begins a panel.
    ///
    /// Where −2 times the dot product of a row of the query and one of a panel, and the least that the latter adds, are
    /// together no more than the cutoff of the former, `hit` is told the row of the query, the first row of the panel
    /// and the products (times −2) with all its rows; it returns the cutoff from then on, at most `f32::MAX`.
    pub(super) fn compare(
        &self,
        tiles: &Tiles,
        rows: Range<usize>,
        cutoffs: &mut Vec<f32>,
        hit: impl FnMut(usize, usize, &[f32]) -> f32,
    ) {
        // Nothing is below minus infinity.
        cutoffs.resize(cutoffs.len().next_multiple_of(self.tile), f32::NEG_INFINITY);
        self.arch.dispatch(Comparison {
            panels: self,
            range: rows.start / self.width..rows.end.div_ceil(self.width),
            tiles: &tiles.0,
            cutoffs,
            hit,
        });
    }
}

/// Rows of a query in tiles, each column by column.
pub(super) struct Tiles(Vec<f32>);

struct Comparison<'a, H> {
    panels: &'a Panels,
    /// Which panels.
    range: Range<usize>,
    tiles: &'a [f32],
    cutoffs: &'a mut [f32],
    hit: H,
}

impl<H: FnMut(usize, usize, &[f32]) -> f32> WithSimd for Comparison<'_, H> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.panels.tile {
            TILE => self.compare::<S, TILE>(simd),
            _ => self.compare::<S, SMALL_TILE>(simd),
        }
    }
}

impl<H: FnMut(usize, usize, &[f32]) -> f32> Comparison<'_, H> {
    #[inline(always)]
    fn compare<S: Simd, const P: usize>(mut self, simd: S) {
        let (columns, width) = (self.panels.columns, self.panels.width);
        let (tiles, _) = self.tiles.as_chunks::<P>();
        let (panels, _) = S::as_simd_f32s(&self.panels.values)
            .0
            .as_chunks::<VECTORS>();
        let (least, _) = S::as_simd_f32s(&self.panels.least).0.as_chunks::<VECTORS>();
        for index in self.range {
            let panel = &panels[index * columns..(index + 1) * columns];
            let least = &least[index];
            let cutoffs = self.cutoffs.chunks_exact_mut(P);
            for (t, (tile, cutoffs)) in tiles.chunks_exact(columns).zip(cutoffs).enumerate() {
                let products = products(simd, tile, panel);
                for (p, (products, cutoff)) in products.iter().zip(cutoffs).enumerate() {
                    let [a, b] = [0, 1].map(|v| simd.add_f32s(products[v], least[v]));
                    let below =
                        simd.less_than_or_equal_f32s(simd.min_f32s(a, b), simd.splat_f32s(*cutoff));
                    if simd.first_true_m32s(below) < S::F32_LANES {
                        let products = bytemuck::cast_slice(products);
                        *cutoff = (self.hit)(t * P + p, index * width, products);
                    }
                }
            }
        }
    }
}

/// The products of `P` rows with a panel, added up column after column.
#[inline(always)]
fn products<S: Simd, const P: usize>(
    simd: S,
    tile: &[[f32; P]],
    panel: &[[S::f32s; VECTORS]],
) -> [[S::f32s; VECTORS]; P] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; P];
    for (values, vectors) in tile.iter().zip(panel) {
        for p in 0..P {
            let value = simd.splat_f32s(values[p]);
            for v in 0..VECTORS {
                sums[p][v] = simd.mul_add_f32s(value, vectors[v], sums[p][v]);
            }
        }
    }
    // The sums are read by a number that is not known here, which would keep them in memory during the loop too.
    let mut found = [[simd.splat_f32s(0.0); VECTORS]; P];
    for p in 0..P {
        for v in 0..VECTORS {
            found[p][v] = sums[p][v];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use phenocoder_core::Seed;

    use super::*;

    #[test]
    fn a_panel_is_told_of_where_a_product_is_below_the_cutoff() {
        for (arch, rows, columns) in [
            (Arch::new(), 70, 5),
            (Arch::new(), 3, 1),
            (Arch::new(), 64, 0),
            (Arch::Scalar, 70, 5),
        ] {
            let mut stream = Seed::new(5).stream("panels", rows as u64);
            let mut draw =
                |n: usize| -> Vec<f32> { (0..n).map(|_| stream.normal() as f32).collect() };
            let (values, least, queries) = (draw(rows * columns), draw(rows), 17);
            let (query, given) = (draw(queries * columns), draw(queries));
            // What a row adds stands for its length.
            let fill = |row: usize, line: &mut [f32]| {
                line.copy_from_slice(&values[row * columns..(row + 1) * columns]);
                least[row]
            };
            let (panels, lengths) = Panels::on(arch, (rows, columns), fill, |length| length);
            assert_eq!(lengths, least);
            let tiles = panels.tiles(&query, queries);
            let mut cutoffs = given.clone();
            let mut told = Vec::new();
            // All panels but the first, where there are several.
            let from = if rows > panels.width { panels.width } else { 0 };
            panels.compare(
                &tiles,
                from..rows,
                &mut cutoffs,
                |query, first, products| {
                    told.push((query, first, products.to_vec()));
                    f32::MAX
                },
            );
            let mut expected = 0;
            for (i, given) in given.iter().enumerate() {
                let mut met = false;
                for first in (from..rows).step_by(panels.width) {
                    let products: Vec<f32> = (first..rows.min(first + panels.width))
                        .map(|row| {
                            let pairs = (0..columns).map(|c| (i * columns + c, row * columns + c));
                            pairs.map(|(q, v)| -2.0 * query[q] * values[v]).sum()
                        })
                        .collect();
                    // The cutoff is the largest number from the first time on.
                    met |= (products.iter().zip(&least[first..])).any(|(p, l)| p + l <= *given);
                    let found = told.iter().find(|told| (told.0, told.1) == (i, first));
                    assert_eq!(found.is_some(), met, "{i} {first}");
                    if let Some((.., found)) = found {
                        expected += 1;
                        let pairs = found.iter().zip(&products);
                        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
                    }
                }
            }
            assert_eq!(told.len(), expected);
        }
    }
}
