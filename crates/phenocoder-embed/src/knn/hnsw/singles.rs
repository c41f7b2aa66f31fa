//! Rows in single precision, and the squared distances between them.

use pulp::{Arch, Simd, WithSimd, bytemuck};

/// Numbers that are summed side by side, for any width of the vectors: as many as the widest one holds.
const LANES: usize = 16;
/// Rows that are measured at once: while the numbers of one are awaited, others are summed.
const TILE: usize = 4;

/// As many numbers as a line of a cache holds.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(64))]
pub(super) struct Line([f32; LANES]);

/// Rows of as many lines each, of which the last is filled up with zeros.
///
/// Squared distances are summed by fused multiply-add in [`LANES`] sums that are added in one order, so that the width of
/// the vectors does not change a bit.
#[derive(Debug, Clone)]
pub(super) struct Singles {
    arch: Arch,
    columns: usize,
    /// Lines of a row.
    width: usize,
    lines: Vec<Line>,
}

impl PartialEq for Singles {
    fn eq(&self, other: &Self) -> bool {
        (self.columns, &self.lines) == (other.columns, &other.lines)
    }
}

impl Singles {
    /// No rows yet, but room for some.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        Self::on(Arch::new(), columns, rows)
    }

    fn on(arch: Arch, columns: usize, rows: usize) -> Self {
        let width = columns.div_ceil(LANES);
        Self {
            arch,
            columns,
            width,
            lines: Vec::with_capacity(rows * width),
        }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, mut values: impl Iterator<Item = f32>) {
        for _ in 0..self.width {
            let mut line = [0.0; LANES];
            for (place, value) in line.iter_mut().zip(values.by_ref()) {
                *place = value;
            }
            self.lines.push(Line(line));
        }
    }

    /// A row on its own.
    pub(super) fn single(&self, values: impl Iterator<Item = f32>) -> Vec<Line> {
        let mut row = Self::on(self.arch, self.width * LANES, 1);
        row.push(values);
        row.lines
    }

    /// Adds a row as it was [added](Self::push) elsewhere.
    pub(super) fn extend(&mut self, row: &[Line]) {
        self.lines.extend_from_slice(row);
    }

    #[inline(always)]
    pub(super) fn row(&self, row: u32) -> &[Line] {
        &self.lines[row as usize * self.width..][..self.width]
    }

    /// The numbers of all rows, without the zeros.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f32> {
        let rows = self.lines.chunks(self.width.max(1));
        rows.flat_map(move |row| numbers(row).take(self.columns))
    }

    /// Puts the squared distances of these rows from `from` in the place of what `keys` has.
    pub(super) fn measure(&self, from: &[Line], rows: &[u32], keys: &mut Vec<f32>) {
        keys.clear();
        keys.resize(rows.len(), 0.0);
        self.arch.dispatch(Distances {
            singles: self,
            from,
            rows,
            keys,
        });
    }
}

/// The numbers of a row.
pub(super) fn numbers(row: &[Line]) -> impl Iterator<Item = f32> {
    row.iter().flat_map(|line| line.0)
}

struct Distances<'a> {
    singles: &'a Singles,
    from: &'a [Line],
    rows: &'a [u32],
    keys: &'a mut [f32],
}

impl WithSimd for Distances<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.measure::<S, 1>(simd),
            8 => self.measure::<S, 2>(simd),
            4 => self.measure::<S, 4>(simd),
            _ => self.measure::<S, LANES>(simd),
        }
    }
}

impl Distances<'_> {
    /// `V` vectors are a line.
    #[inline(always)]
    fn measure<S: Simd, const V: usize>(self, simd: S) {
        let (tiles, rest) = self.rows.as_chunks::<TILE>();
        let (keys, rest_keys) = self.keys.as_chunks_mut::<TILE>();
        for (tile, keys) in tiles.iter().zip(keys) {
            self.singles
                .squares::<S, V, TILE>(simd, self.from, tile, keys);
        }
        let (rest, _) = rest.as_chunks::<1>();
        for (row, key) in rest.iter().zip(rest_keys.as_chunks_mut::<1>().0) {
            self.singles.squares::<S, V, 1>(simd, self.from, row, key);
        }
    }
}

impl Singles {
    /// The squared distances of `N` rows from another.
    ///
    /// Without closures, which would not be compiled for the vectors.
    #[inline(always)]
    fn squares<S: Simd, const V: usize, const N: usize>(
        &self,
        simd: S,
        from: &[Line],
        rows: &[u32; N],
        keys: &mut [f32; N],
    ) {
        let from = &from[..self.width];
        let mut lines: [&[Line]; N] = [&[]; N];
        for n in 0..N {
            lines[n] = self.row(rows[n]);
        }
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        for at in 0..self.width {
            let from = vectors::<S, V>(&from[at]);
            for n in 0..N {
                let row = vectors::<S, V>(&lines[n][at]);
                for v in 0..V {
                    let difference = simd.sub_f32s(from[v], row[v]);
                    sums[n][v] = simd.mul_add_f32s(difference, difference, sums[n][v]);
                }
            }
        }
        for n in 0..N {
            keys[n] = total(bytemuck::cast_slice(&sums[n]));
        }
    }
}

#[inline(always)]
fn vectors<S: Simd, const V: usize>(line: &Line) -> &[S::f32s; V] {
    &S::as_simd_f32s(&line.0).0.as_chunks::<V>().0[0]
}

/// The sum of [`LANES`] numbers: those half of them apart are added first, then those a quarter apart.
#[inline(always)]
fn total(sums: &[f32]) -> f32 {
    let [sum] = halved(&halved::<2>(&halved::<4>(&halved::<8>(sums))));
    sum
}

#[inline(always)]
fn halved<const N: usize>(numbers: &[f32]) -> [f32; N] {
    let mut sums = [0.0; N];
    for n in 0..N {
        sums[n] = numbers[n] + numbers[n + N];
    }
    sums
}

#[cfg(test)]
mod tests {
    use phenocoder_core::Seed;
    use pulp::{Scalar, Scalar128b, Scalar256b, Scalar512b};

    use super::*;

    fn measured(singles: &Singles, from: &[Line], rows: &[u32], simd: impl Simd) -> Vec<f32> {
        let mut keys = vec![0.0; rows.len()];
        let distances = Distances {
            singles,
            from,
            rows,
            keys: &mut keys,
        };
        distances.with_simd(simd);
        keys
    }

    #[test]
    fn distances_are_the_same_to_the_bit_for_any_width_of_vectors() {
        for columns in [1, 15, 16, 33, 300] {
            let mut stream = Seed::new(6).stream("singles", columns as u64);
            let rows: Vec<Vec<f32>> = (0..10)
                .map(|_| (0..columns).map(|_| stream.normal() as f32).collect())
                .collect();
            let nodes = [3, 0, 9, 9, 1, 2, 5];
            let mut singles = Singles::new(columns, rows.len());
            for row in &rows {
                singles.push(row.iter().copied());
            }
            let from = singles.single(rows[9].iter().copied());
            let mut vectors = vec![7.0; 2];
            singles.measure(&from, &nodes, &mut vectors);
            // No distance is −0 or no number, so equal ones have equal bits.
            assert_eq!(vectors, measured(&singles, &from, &nodes, Scalar));
            assert_eq!(vectors, measured(&singles, &from, &nodes, Scalar128b));
            assert_eq!(vectors, measured(&singles, &from, &nodes, Scalar256b));
            assert_eq!(vectors, measured(&singles, &from, &nodes, Scalar512b));
            for (&node, vector) in nodes.iter().zip(&vectors) {
                let pairs = rows[node as usize].iter().zip(&rows[9]);
                let square: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
                assert!((f64::from(*vector) - square).abs() <= 1e-6 * square);
            }
            assert_eq!(vectors.len(), nodes.len());
            assert!(singles.numbers().eq(rows.into_iter().flatten()));
        }
    }
}
