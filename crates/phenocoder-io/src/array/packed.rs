//! Blocks of whole numbers kept in fewer bits.
//!
//! Neighbors in images and masks differ little: of 64 numbers next to each other the smallest is kept, and of the others
//! how much larger they are, in as many bits as the largest difference needs.
//! A cache of so many bytes then holds about twice as many blocks of a camera's 16-bit pixels and many more of labels.

/// Numbers that share a smallest one and a width.
const GROUP: usize = 64;

/// A block of numbers of 2 or 4 bytes.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// Bytes per number.
    size: usize,
    len: usize,
    groups: Vec<Group>,
    words: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    smallest: u32,
    /// Where its words begin; it has as many as bits per number.
    start: u32,
}

impl Packed {
    /// Packs numbers in native byte order; `None` when that saves less than a quarter, or they have another size.
    pub(crate) fn pack(size: usize, bytes: &[u8]) -> Option<Self> {
        let mut packed = Self {
            size,
            len: bytes.len() / size.max(1),
            groups: Vec::with_capacity(bytes.len() / size.max(1) / GROUP + 2),
            words: Vec::new(),
        };
        let most = bytes.len() / 8 * 3 / 4;
        packed.words.reserve_exact(most.min(1 << 20));
        match size {
            2 => packed.fill(most, bytes.as_chunks::<2>().0, |b| {
                u16::from_ne_bytes(b).into()
            })?,
            4 => packed.fill(most, bytes.as_chunks::<4>().0, u32::from_ne_bytes)?,
            _ => return None,
        }
        packed.words.shrink_to_fit();
        Some(packed)
    }

    fn fill<const N: usize>(
        &mut self,
        most: usize,
        numbers: &[[u8; N]],
        number: impl Fn([u8; N]) -> u32,
    ) -> Option<()> {
        let mut values = [0; GROUP];
        for group in numbers.chunks(GROUP) {
            for (value, &bytes) in values.iter_mut().zip(group) {
                *value = number(bytes);
            }
            let values = &mut values[..group.len()];
            let smallest = values.iter().copied().min()?;
            let mut all = 0;
            for value in values.iter_mut() {
                *value -= smallest;
                all |= *value;
            }
            let bits = (u32::BITS - all.leading_zeros()) as usize;
            let start = u32::try_from(self.words.len()).ok()?;
            self.groups.push(Group { smallest, start });
            if self.words.len() + bits + self.groups.len() > most {
                return None;
            }
            let (mut word, mut used) = (0_u64, 0);
            for &value in values.iter() {
                word |= u64::from(value) << used;
                used += bits;
                if used >= 64 {
                    self.words.push(word);
                    used -= 64;
                    word = u64::from(value)
                        .checked_shr((bits - used) as u32)
                        .unwrap_or(0);
                }
            }
            // The last group may be short; it has all its words as well.
            while self.words.len() < start as usize + bits {
                self.words.push(word);
                word = 0;
            }
        }
        // The end of the last group.
        let start = u32::try_from(self.words.len()).ok()?;
        self.groups.push(Group { smallest: 0, start });
        Some(())
    }

    /// The memory held.
    pub(crate) fn bytes(&self) -> usize {
        self.words.capacity() * 8 + self.groups.capacity() * size_of::<Group>()
    }

    /// Appends the bytes of `len` numbers from place `from` on, as far as there are so many.
    pub(crate) fn unpack(&self, from: usize, len: usize, out: &mut Vec<u8>) {
        let end = from.saturating_add(len).min(self.len);
        let mut at = from;
        while at < end {
            let index = at / GROUP;
            let (Some(group), Some(next)) = (self.groups.get(index), self.groups.get(index + 1))
            else {
                return;
            };
            let words = self.words.get(group.start as usize..next.start as usize);
            let words = words.unwrap_or_default();
            let bits = words.len();
            let mask = (1_u64 << bits) - 1;
            let stop = end.min((index + 1) * GROUP);
            for place in at % GROUP..at % GROUP + (stop - at) {
                let (word, shift) = (place * bits / 64, place * bits % 64);
                let low = words.get(word).copied().unwrap_or(0) >> shift;
                let high = match words.get(word + 1) {
                    Some(next) if shift + bits > 64 => next << (64 - shift),
                    _ => 0,
                };
                let value = group.smallest.wrapping_add(((low | high) & mask) as u32);
                if self.size == 2 {
                    out.extend_from_slice(&(value as u16).to_ne_bytes());
                } else {
                    out.extend_from_slice(&value.to_ne_bytes());
                }
            }
            at = stop;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size: usize, numbers: &[u32], is_packed: bool) {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|n| n.to_ne_bytes()[..size].to_vec())
            .collect();
        let packed = Packed::pack(size, &bytes);
        assert_eq!(packed.is_some(), is_packed);
        let Some(packed) = packed else { return };
        assert!(packed.bytes() < bytes.len());
        for (from, len) in [
            (0, numbers.len()),
            (1, 5),
            (60, 70),
            (63, 1),
            (64, 64),
            (130, 900),
        ] {
            let mut out = vec![9];
            packed.unpack(from, len, &mut out);
            let end = (from + len).min(numbers.len());
            assert!(
                out[1..] == bytes[from * size..end * size],
                "{size}, {from}, {len}"
            );
        }
    }

    #[test]
    fn numbers_come_back_and_what_does_not_shrink_is_not_packed() {
        let mut state = 1_u32;
        let mut noise = |bits: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if bits == 0 { 0 } else { state >> (32 - bits) }
        };
        for bits in [0, 1, 3, 7, 8, 10] {
            for len in [1_000, 1_024, 1_025] {
                let numbers: Vec<u32> = (0..len).map(|_| 40_000 + noise(bits)).collect();
                check(2, &numbers, true);
            }
        }
        for bits in [0, 5, 16, 21] {
            let numbers: Vec<u32> = (0..2_000).map(|_| u32::MAX - noise(bits)).collect();
            check(4, &numbers, true);
        }
        let numbers: Vec<u32> = (0..1_000).map(|_| noise(16)).collect();
        check(2, &numbers, false);
        let mixed: Vec<u32> = (0..4_096).map(|i| noise(i / 512)).collect();
        check(2, &mixed, true);
    }
}
