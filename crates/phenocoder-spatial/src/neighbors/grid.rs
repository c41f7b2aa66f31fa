//! Radius graphs by sorting the points into cubes of the size of the radius.

use ndarray::ArrayView2;
use phenocoder_core::{Categorical, CsrGraph};
use rayon::prelude::*;

use super::padded;
use crate::error::Result;

/// Cubes per axis at most, so that three indices and their neighbors fit into 63 bits.
const MAX_CUBES: f64 = (1_u64 << 20) as f64;

/// Cubes are wider than the radius by this factor: indices are rounded, and a neighbor must never be two cubes away.
const MARGIN: f64 = 1.0 + 1e-6;

/// Bits of one index; one is added to every index, so that a step down stays above 0.
const BITS: u32 = 21;

pub(super) fn build(
    points: ArrayView2<'_, f64>,
    samples: Option<&Categorical>,
    min: f64,
    max: f64,
) -> Result<CsrGraph> {
    let points = padded(points, samples)?;
    let n = points.len();
    let grid = Grid::new(&points, samples, max);
    let reach = Reach {
        min,
        squared: max * max,
    };

    let counts: Vec<u32> = grid.map_cells(|cell, members| {
        let candidates = grid.candidates(cell);
        let count = |slot: usize| {
            let mut count = 0;
            grid.scan(&candidates, slot, reach, |_, _| count += 1);
            count
        };
        members.map(count).collect::<Vec<u32>>()
    });
    let mut indptr = vec![0_usize; n + 1];
    for (&row, &count) in grid.rows.iter().zip(&counts) {
        indptr[row as usize + 1] = count as usize;
    }
    for row in 0..n {
        indptr[row + 1] += indptr[row];
    }

    let mut indices = vec![0_u32; indptr[n]];
    let mut values = vec![0.0_f64; indptr[n]];
    {
        let mut slots = row_slices(&grid, &indptr, &mut indices, &mut values);
        let mut tasks = Vec::with_capacity(grid.cells.len());
        let mut rest = slots.as_mut_slice();
        for cell in 0..grid.cells.len() {
            let members = grid.members(cell);
            let (mine, others) = rest.split_at_mut(members.len());
            rest = others;
            tasks.push((cell, mine));
        }
        tasks.into_par_iter().for_each_init(
            Vec::new,
            |found: &mut Vec<(u32, f64)>, (cell, mine)| {
                let candidates = grid.candidates(cell);
                for (slot, (columns, distances)) in grid.members(cell).zip(mine) {
                    found.clear();
                    grid.scan(&candidates, slot, reach, |row, distance| {
                        found.push((row, distance));
                    });
                    found.sort_unstable_by_key(|&(row, _)| row);
                    for (i, &(row, distance)) in found.iter().enumerate() {
                        columns[i] = row;
                        distances[i] = distance;
                    }
                }
            },
        );
    }
    Ok(CsrGraph::new(indptr, indices, values)?)
}

/// The part of every row in the two arrays, in the order of the grid's slots.
fn row_slices<'a>(
    grid: &Grid,
    indptr: &[usize],
    mut indices: &'a mut [u32],
    mut values: &'a mut [f64],
) -> Vec<(&'a mut [u32], &'a mut [f64])> {
    let mut by_row = Vec::with_capacity(indptr.len() - 1);
    for pair in indptr.windows(2) {
        let (columns, later) = indices.split_at_mut(pair[1] - pair[0]);
        indices = later;
        let (distances, later) = values.split_at_mut(pair[1] - pair[0]);
        values = later;
        by_row.push((columns, distances));
    }
    let in_order = grid.rows.iter();
    in_order
        .map(|&row| std::mem::take(&mut by_row[row as usize]))
        .collect()
}

#[derive(Clone, Copy)]
struct Reach {
    min: f64,
    squared: f64,
}

/// The occupied cubes in order, and the points sorted by cube.
struct Grid {
    /// Sample and cube of every occupied cube, rising.
    cells: Vec<(u32, u64)>,
    /// The first slot of every cube, and the number of slots.
    starts: Vec<usize>,
    /// The row of the point in every slot.
    rows: Vec<u32>,
    /// The point in every slot.
    points: Vec<[f64; 3]>,
    /// The sample that stands for none: its points have no neighbors.
    missing: Option<u32>,
    /// Whether all points lie in one layer of cubes along the first axis, as points in the plane do.
    one_layer: bool,
}

impl Grid {
    fn new(points: &[[f64; 3]], samples: Option<&Categorical>, radius: f64) -> Self {
        let mut low = [f64::INFINITY; 3];
        let mut high = [f64::NEG_INFINITY; 3];
        for point in points {
            for axis in 0..3 {
                low[axis] = low[axis].min(point[axis]);
                high[axis] = high[axis].max(point[axis]);
            }
        }
        let extent = (0..3).map(|a| high[a] - low[a]).fold(0.0, f64::max);
        let width = (radius * MARGIN).max(extent / (MAX_CUBES - 2.0));
        let index = |x: f64, low: f64| {
            // One cube for everything where the width or the extent is infinite or zero.
            let i = (x - low) / width;
            if i.is_finite() { i as u64 + 1 } else { 1 }
        };
        let key =
            |point: &[f64; 3]| (0..3).fold(0, |key, a| (key << BITS) | index(point[a], low[a]));
        let missing = samples.map(|s| s.categories().len() as u32);
        let sample = |row: usize| match samples {
            Some(s) => s
                .code(row)
                .map_or(s.categories().len() as u32, |c| c as u32),
            None => 0,
        };
        let mut sorted: Vec<(u32, u64, u32)> = (0..points.len())
            .into_par_iter()
            .map(|row| (sample(row), key(&points[row]), row as u32))
            .collect();
        sorted.par_sort_unstable();
        let mut cells: Vec<(u32, u64)> = Vec::new();
        let mut starts = Vec::new();
        for (slot, &(sample, key, _)) in sorted.iter().enumerate() {
            if cells.last() != Some(&(sample, key)) {
                cells.push((sample, key));
                starts.push(slot);
            }
        }
        starts.push(sorted.len());
        let rows: Vec<u32> = sorted.iter().map(|&(_, _, row)| row).collect();
        let points = rows.iter().map(|&row| points[row as usize]).collect();
        Self {
            cells,
            starts,
            rows,
            points,
            missing,
            one_layer: index(high[0], low[0]) == 1,
        }
    }

    fn members(&self, cell: usize) -> std::ops::Range<usize> {
        self.starts[cell]..self.starts[cell + 1]
    }

    /// The slots that can hold neighbors of a cube's points: nine runs, for cubes that follow each other along the last axis
    /// follow each other in the order of the slots.
    fn candidates(&self, cell: usize) -> Vec<std::ops::Range<usize>> {
        let (sample, key) = self.cells[cell];
        if self.missing == Some(sample) {
            return Vec::new();
        }
        let mut runs = Vec::with_capacity(9);
        let (z, y) = (1_u64 << (2 * BITS), 1_u64 << BITS);
        let layers = [key, key - z, key + z];
        for layer in &layers[..if self.one_layer { 1 } else { 3 }] {
            for middle in [layer - y, *layer, layer + y] {
                let from = self.cells.partition_point(|&c| c < (sample, middle - 1));
                let mut to = from;
                while to < self.cells.len() && self.cells[to] <= (sample, middle + 1) {
                    to += 1;
                }
                if to > from {
                    runs.push(self.starts[from]..self.starts[to]);
                }
            }
        }
        runs
    }

    /// Hands every neighbor of the point in `slot` to `found`, with its row and distance.
    fn scan(
        &self,
        candidates: &[std::ops::Range<usize>],
        slot: usize,
        reach: Reach,
        mut found: impl FnMut(u32, f64),
    ) {
        let p = self.points[slot];
        for run in candidates {
            for other in run.clone() {
                let q = self.points[other];
                let (dz, dy, dx) = (p[0] - q[0], p[1] - q[1], p[2] - q[2]);
                let squared = dz * dz + dy * dy + dx * dx;
                if squared <= reach.squared && other != slot {
                    let distance = squared.sqrt();
                    if distance >= reach.min {
                        found(self.rows[other], distance);
                    }
                }
            }
        }
    }

    /// One result per slot, made cube by cube in parallel.
    fn map_cells<T: Send>(
        &self,
        one: impl Fn(usize, std::ops::Range<usize>) -> Vec<T> + Sync,
    ) -> Vec<T> {
        (0..self.cells.len())
            .into_par_iter()
            .with_min_len(16)
            .flat_map_iter(|cell| one(cell, self.members(cell)))
            .collect()
    }
}
