//! Bytes or bits sorted by their place in the element, which makes numbers compress better.

/// Puts the bytes of elements of `size` bytes back together; what is left over stays at the end.
///
/// Both slices have the same length.
pub(super) fn unshuffle(size: usize, bytes: &[u8], out: &mut [u8]) {
    if size < 2 {
        out.copy_from_slice(bytes);
        return;
    }
    let elements = bytes.len() / size;
    let (sorted, rest) = bytes.split_at(elements * size);
    let (whole, tail) = out.split_at_mut(elements * size);
    tail.copy_from_slice(rest);
    match size {
        2 => join::<2>(sorted, whole),
        4 => join::<4>(sorted, whole),
        8 => join::<8>(sorted, whole),
        _ if elements > 0 => {
            for (place, column) in sorted.chunks_exact(elements).enumerate() {
                for (element, &byte) in whole.chunks_exact_mut(size).zip(column) {
                    element[place] = byte;
                }
            }
        }
        _ => {}
    }
}

/// Elements of a size that is known when this is compiled.
fn join<const N: usize>(sorted: &[u8], out: &mut [u8]) {
    let elements = sorted.len() / N;
    let columns: [&[u8]; N] =
        std::array::from_fn(|place| &sorted[place * elements..(place + 1) * elements]);
    for (i, element) in out.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        *element = std::array::from_fn(|place| columns[place][i]);
    }
}

/// Sorts the bytes of elements of `size` bytes.
pub(super) fn shuffle(size: usize, bytes: &[u8]) -> Vec<u8> {
    if size < 2 {
        return bytes.to_vec();
    }
    let elements = bytes.len() / size;
    let mut out = Vec::with_capacity(bytes.len());
    for place in 0..size {
        out.extend(bytes.chunks_exact(size).map(|element| element[place]));
    }
    out.extend_from_slice(&bytes[elements * size..]);
    out
}

/// Puts the bits of elements of `size` bytes back together.
///
/// Row `8 b + k` of the sorted data holds bit `k`, the least significant first, of byte `b` of all elements, eight
/// elements to a byte.
/// Elements in a number that is no multiple of eight are stored as they are.
pub(super) fn unshuffle_bits(size: usize, bytes: &[u8], out: &mut [u8]) {
    let elements = bytes.len().checked_div(size).unwrap_or(0);
    if !elements.is_multiple_of(8) || elements == 0 {
        out.copy_from_slice(bytes);
        return;
    }
    let row = elements / 8;
    let (sorted, rest) = bytes.split_at(elements * size);
    let (whole, tail) = out.split_at_mut(elements * size);
    tail.copy_from_slice(rest);
    for (b, rows) in sorted.chunks_exact(row * 8).enumerate() {
        let rows: [&[u8]; 8] = std::array::from_fn(|k| &rows[k * row..(k + 1) * row]);
        for (i, group) in whole.chunks_exact_mut(size * 8).enumerate() {
            let bits = u64::from_le_bytes(std::array::from_fn(|k| rows[k][i]));
            let bytes = transpose(bits).to_le_bytes();
            for (element, byte) in group.chunks_exact_mut(size).zip(bytes) {
                element[b] = byte;
            }
        }
    }
}

/// Swaps rows and columns of 8 × 8 bits, by swapping within blocks of 2 × 2, 4 × 4 and 8 × 8.
fn transpose(mut x: u64) -> u64 {
    for (shift, mask) in [
        (7, 0x00AA_00AA_00AA_00AA_u64),
        (14, 0x0000_CCCC_0000_CCCC),
        (28, 0x0000_0000_F0F0_F0F0),
    ] {
        let swap = (x ^ (x >> shift)) & mask;
        x ^= swap ^ (swap << shift);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_bytes_come_back() {
        for size in [1, 2, 3, 4, 7, 8, 16] {
            for len in [0, 1, 5, 8, 64, 131] {
                let bytes: Vec<u8> = (0..len).map(|i| (i * 37) as u8).collect();
                let mut out = vec![0; bytes.len()];
                unshuffle(size, &shuffle(size, &bytes), &mut out);
                assert_eq!(out, bytes, "{size}, {len}");
            }
        }
        assert_eq!(shuffle(2, &[1, 2, 3, 4, 5]), [1, 3, 2, 4, 5]);
    }

    #[test]
    fn bits_are_transposed() {
        let x = 0x8040_2010_0804_0201;
        assert_eq!(transpose(x), x);
        assert_eq!(transpose(0xFF), 0x0101_0101_0101_0101);
    }
}
