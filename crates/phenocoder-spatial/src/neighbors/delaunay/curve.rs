//! The order in which points are inserted.

use crate::predicates::Point;

/// Bits per axis of a place on the curve.
const BITS: u32 = 21;

/// Rounds of growing size, each along a Hilbert curve (Amenta, Choi and Rote 2003, doi:10.1145/777792.777824): the walk to
/// the next point is short, and few tetrahedra are made in vain.
///
/// Rounds are drawn by a hash of the coordinates, so that the order does not depend on that of the rows.
pub(super) fn insertion_order(points: &[Point], rows: Vec<u32>) -> Vec<u32> {
    let mut low = [f64::INFINITY; 3];
    let mut high = [f64::NEG_INFINITY; 3];
    for &row in &rows {
        for axis in 0..3 {
            low[axis] = low[axis].min(points[row as usize][axis]);
            high[axis] = high[axis].max(points[row as usize][axis]);
        }
    }
    let extent = (0..3).fold(f64::MIN_POSITIVE, |m, axis| m.max(high[axis] - low[axis]));
    let cells = f64::from((1_u32 << BITS) - 1);
    let mut keyed: Vec<(u32, u64, u32)> = rows
        .into_iter()
        .map(|row| {
            let p = points[row as usize];
            let mut cell = [0_u32; 3];
            for axis in 0..3 {
                cell[axis] = ((p[axis] - low[axis]) / extent * cells) as u32;
            }
            // The fewer points have a hash with so many leading zeros, the earlier they come.
            let round = u32::MAX - hash(p).leading_zeros();
            (round, hilbert(cell), row)
        })
        .collect();
    // Within a cell, points stay in the order of their coordinates that they came in.
    keyed.sort_by_key(|&(round, place, _)| (round, place));
    keyed.into_iter().map(|(_, _, row)| row).collect()
}

/// Mixes the bits of the coordinates (the finalizer of Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195).
fn hash(p: Point) -> u64 {
    p.iter().fold(0x9e37_79b9_7f4a_7c15, |state: u64, x| {
        let mut z = state
            .wrapping_add(x.to_bits())
            .wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// The place of a cell on the Hilbert curve (Skilling 2004, doi:10.1063/1.1751381).
fn hilbert(mut x: [u32; 3]) -> u64 {
    let mut bit = 1_u32 << (BITS - 1);
    while bit > 1 {
        let below = bit - 1;
        for axis in 0..3 {
            if x[axis] & bit != 0 {
                x[0] ^= below;
            } else {
                let swapped = (x[0] ^ x[axis]) & below;
                x[0] ^= swapped;
                x[axis] ^= swapped;
            }
        }
        bit >>= 1;
    }
    x[1] ^= x[0];
    x[2] ^= x[1];
    let mut flips = 0;
    let mut bit = 1_u32 << (BITS - 1);
    while bit > 1 {
        if x[2] & bit != 0 {
            flips ^= bit - 1;
        }
        bit >>= 1;
    }
    let x = x.map(|x| x ^ flips);
    let mut place = 0;
    for bit in (0..BITS).rev() {
        for x in x {
            place = place << 1 | u64::from(x >> bit & 1);
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_goes_from_neighbor_to_neighbor_through_every_cell() {
        let cells = (0..512_u32).map(|i| [i >> 6, i >> 3 & 7, i & 7]);
        let mut cells: Vec<[u32; 3]> = cells.collect();
        cells.sort_by_key(|&cell| hilbert(cell));
        for pair in cells.windows(2) {
            let step: u32 = (0..3)
                .map(|axis| pair[0][axis].abs_diff(pair[1][axis]))
                .sum();
            assert_eq!(step, 1, "{pair:?}");
        }
    }
}
