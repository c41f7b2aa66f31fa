//! How far the nearest cell is: by a tree, or by comparing all where cells are few.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::neighbors::Tree;
use crate::predicates::Point;

/// Cells up to which comparing each place with all of them is faster than a tree over them.
const FEW: usize = 128;

/// Places at a time, which stay in the fastest cache while all cells pass by.
const BLOCK: usize = 256;

/// Places, and the squared distance of each to the nearest cell of those that were shown.
pub(super) struct Nearest {
    axes: [Vec<f64>; 3],
    pub(super) squared: Vec<f64>,
}

impl Nearest {
    /// Places that no cell was shown to.
    pub(super) fn new(places: &[Point]) -> Self {
        Self {
            axes: [0, 1, 2].map(|axis| places.iter().map(|place| place[axis]).collect()),
            squared: vec![f64::INFINITY; places.len()],
        }
    }

    /// Shows cells to all places.
    pub(super) fn show(&mut self, cells: &[Point], places: &[Point]) {
        if cells.len() <= FEW {
            self.compare(cells, 0..places.len());
            return;
        }
        for (least, found) in self.squared.iter_mut().zip(nearest(cells, places, None, 1)) {
            *least = least.min(found);
        }
    }

    /// Where the places are the cells themselves: shows those from `before` to `size` and those before them to each other.
    pub(super) fn show_each_other(&mut self, cells: &[Point], before: usize, size: usize) {
        let (old, fresh) = (&cells[..before], &cells[before..size]);
        if fresh.len() <= FEW {
            self.compare(fresh, 0..before);
            self.compare(old, before..size);
            for (i, cell) in fresh.iter().enumerate() {
                let cell = std::slice::from_ref(cell);
                self.compare(cell, before..before + i);
                self.compare(cell, before + i + 1..size);
            }
            return;
        }
        if !old.is_empty() {
            for (least, found) in self.squared.iter_mut().zip(nearest(fresh, old, None, 1)) {
                *least = least.min(found);
            }
        }
        let found = nearest(&cells[..size], fresh, Some(before), 1);
        self.squared[before..size].copy_from_slice(&found);
    }

    fn compare(&mut self, cells: &[Point], places: std::ops::Range<usize>) {
        Arch::new().dispatch(Compare {
            axes: [0, 1, 2].map(|axis| &self.axes[axis][places.clone()]),
            squared: &mut self.squared[places],
            cells,
        });
    }
}

struct Compare<'a> {
    axes: [&'a [f64]; 3],
    squared: &'a mut [f64],
    cells: &'a [Point],
}

impl WithSimd for Compare<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let [z, y, x] = self.axes.map(|axis| axis.chunks(BLOCK));
        for (((least, z), y), x) in self.squared.chunks_mut(BLOCK).zip(z).zip(y).zip(x) {
            for cell in self.cells {
                for (((least, z), y), x) in least.iter_mut().zip(z).zip(y).zip(x) {
                    let (dz, dy, dx) = (z - cell[0], y - cell[1], x - cell[2]);
                    let squared = dz * dz + dy * dy + dx * dx;
                    *least = if squared < *least { squared } else { *least };
                }
            }
        }
    }
}

/// The squared distances from each place to its `k` nearest cells, place after place; with `from`, the places are the cells
/// from there on, and none is near itself.
pub(super) fn nearest(
    cells: &[Point],
    places: &[Point],
    from: Option<usize>,
    k: usize,
) -> Vec<f64> {
    let tree = Tree::new(cells, (0..cells.len() as u32).collect());
    let parts: Vec<Vec<f64>> = places
        .par_chunks(1024)
        .enumerate()
        .map(|(part, places)| {
            let (mut nearest, mut out) = (Vec::new(), Vec::with_capacity(places.len() * k));
            for (i, place) in places.iter().enumerate() {
                let itself = from.map(|from| (from + part * 1024 + i) as u32);
                tree.nearest(*place, itself, k, &mut nearest);
                out.extend(nearest.iter().map(|&(squared, _)| squared));
            }
            out
        })
        .collect();
    parts.concat()
}
