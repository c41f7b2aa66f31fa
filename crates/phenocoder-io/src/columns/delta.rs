//! What values take that are stored as differences, counted before they are made.
//!
//! A page of a few bytes may stand for any number of long texts: each begins with as much of the last one as it says.
//! The parquet crate takes memory for as many values as the encoding claims, so that the claim is checked here.
//! Encodings: <https://parquet.apache.org/docs/file-format/data-pages/encodings/#delta-encoding-delta_binary_packed--5>.

/// What is wrong with a page.
type Problem = &'static str;
type Result<T> = std::result::Result<T, Problem>;

const CUT: Problem = "the differences of a page are cut short";
const WRONG: Problem = "the differences of a page are damaged";

/// The most values of a block; writers have 128 or some more.
const MOST_BLOCK: u64 = 1 << 16;

/// The values of a data page of the first version after its levels; `None` where they are cut short.
///
/// `most` are the greatest repetition and definition level.
pub(super) fn after_levels(mut page: &[u8], most: [i16; 2]) -> Option<&[u8]> {
    for most in most {
        if most > 0 {
            let (length, rest) = page.split_first_chunk::<4>()?;
            page = rest.get(u32::from_le_bytes(*length) as usize..)?;
        }
    }
    Some(page)
}

/// Checks that numbers are no more than `n`.
pub(super) fn check_numbers(bytes: &[u8], n: u32) -> Result<()> {
    if bytes.is_empty() {
        // A page without a value.
        return Ok(());
    }
    Numbers::new(bytes, n).map(|_| ())
}

/// What texts take once they are made of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Expanded {
    /// How many there are.
    pub(super) texts: u64,
    /// The bytes of all.
    pub(super) bytes: u64,
    /// The bytes of the longest.
    pub(super) longest: u64,
}

/// What texts take that begin with a part of the last one: at most `n` texts.
pub(super) fn expanded(bytes: &[u8], n: u32) -> Result<Expanded> {
    if bytes.is_empty() {
        return Ok(Expanded::default());
    }
    // The second stream of numbers begins where the first ends.
    let mut first = Numbers::new(bytes, n)?;
    let mut prefixes = first.clone();
    while first.next()?.is_some() {}
    let mut suffixes = Numbers::new(first.rest, n)?;
    if suffixes.left != prefixes.left {
        return Err(WRONG);
    }
    let mut all = Expanded {
        texts: prefixes.left,
        ..Expanded::default()
    };
    let mut last = 0_u64;
    while let (Some(prefix), Some(suffix)) = (prefixes.next()?, suffixes.next()?) {
        let prefix = u64::try_from(prefix).map_err(|_| WRONG)?;
        let suffix = u64::try_from(suffix).map_err(|_| WRONG)?;
        if prefix > last {
            return Err(WRONG);
        }
        last = prefix + suffix;
        all.bytes = all.bytes.saturating_add(last);
        all.longest = all.longest.max(last);
    }
    Ok(all)
}

/// Numbers of 32 bits as differences, read one by one.
#[derive(Debug, Clone)]
struct Numbers<'a> {
    rest: &'a [u8],
    /// How many are to come.
    left: u64,
    is_first: bool,
    value: i32,
    per_miniblock: u64,
    miniblocks: u64,
    least: i64,
    /// The widths of the miniblocks of this block that are to come.
    widths: &'a [u8],
    /// The bits of this miniblock, its width, and how many of its numbers were taken.
    packed: &'a [u8],
    width: u8,
    taken: u64,
}

impl<'a> Numbers<'a> {
    fn new(bytes: &'a [u8], most: u32) -> Result<Self> {
        let mut rest = bytes;
        let block = varint(&mut rest)?;
        let miniblocks = varint(&mut rest)?;
        let left = varint(&mut rest)?;
        let first = zigzag(&mut rest)?;
        let fits = miniblocks > 0 && block <= MOST_BLOCK && block % miniblocks == 0;
        if !fits || block == 0 || (block / miniblocks) % 8 != 0 {
            return Err(WRONG);
        }
        if left > u64::from(most) {
            return Err("there are more differences than values in a page");
        }
        Ok(Self {
            rest,
            left,
            is_first: true,
            // Wraps around, as decoders have it.
            value: first as i32,
            per_miniblock: block / miniblocks,
            miniblocks,
            least: 0,
            widths: &[],
            packed: &[],
            width: 0,
            taken: block / miniblocks,
        })
    }

    fn next(&mut self) -> Result<Option<i32>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if std::mem::take(&mut self.is_first) {
            return Ok(Some(self.value));
        }
        if self.taken == self.per_miniblock {
            self.next_miniblock()?;
        }
        let first = self.taken * u64::from(self.width);
        let (byte, shift) = ((first / 8) as usize, first % 8);
        let len = (shift + u64::from(self.width)).div_ceil(8) as usize;
        let bytes = self.packed.get(byte..byte + len).ok_or(CUT)?;
        // At most 64 bits and a shift of 7: nine bytes.
        let bits = bytes
            .iter()
            .rev()
            .fold(0_u128, |bits, &byte| bits << 8 | u128::from(byte));
        let difference = (bits >> shift & ((1 << self.width) - 1)) as u64;
        self.taken += 1;
        let difference = self.least.wrapping_add(difference.cast_signed());
        self.value = self.value.wrapping_add(difference as i32);
        Ok(Some(self.value))
    }

    fn next_miniblock(&mut self) -> Result<()> {
        if self.widths.is_empty() {
            self.least = zigzag(&mut self.rest)?;
            let n = usize::try_from(self.miniblocks).map_err(|_| WRONG)?;
            (self.widths, self.rest) = self.rest.split_at_checked(n).ok_or(CUT)?;
        }
        let (&width, widths) = self.widths.split_first().ok_or(CUT)?;
        if width > 64 {
            return Err(WRONG);
        }
        (self.width, self.widths, self.taken) = (width, widths, 0);
        let bytes = self.per_miniblock * u64::from(width) / 8;
        let bytes = usize::try_from(bytes).map_err(|_| WRONG)?;
        // The last miniblock may leave out what nobody needs.
        (self.packed, self.rest) = self.rest.split_at(bytes.min(self.rest.len()));
        Ok(())
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(CUT)?;
        *rest = tail;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WRONG)
}

fn zigzag(rest: &mut &[u8]) -> Result<i64> {
    let value = varint(rest)?;
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification: 7, 5, 3, 1, 2, 3, 4, 5 in one block of 128 values.
    const NUMBERS: &[u8] = &[
        0x80,
        0x01,
        4,
        8,
        14,
        3,
        2,
        0,
        0,
        0,
        0b1100_0000,
        0b0011_1111,
        0,
        0,
        0,
        0,
        0,
        0,
    ];

    fn numbers(bytes: &[u8]) -> Result<Vec<i32>> {
        let mut numbers = Numbers::new(bytes, 100)?;
        let mut found = Vec::new();
        while let Some(number) = numbers.next()? {
            found.push(number);
        }
        Ok(found)
    }

    /// A stream of `n` times the same number.
    fn same(n: u64, number: u64) -> Vec<u8> {
        let mut out = vec![0x80, 0x01, 4];
        for mut value in [n, number << 1] {
            while value >= 0x80 {
                out.push((value & 0x7F) as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        }
        for _ in 0..n.saturating_sub(1).div_ceil(128) {
            out.extend([0, 0, 0, 0, 0]);
        }
        out
    }

    #[test]
    fn differences_are_read() {
        assert_eq!(numbers(NUMBERS).unwrap(), [7, 5, 3, 1, 2, 3, 4, 5]);
        assert_eq!(numbers(&same(3, 9)).unwrap(), [9, 9, 9]);
        assert_eq!(numbers(&same(0, 0)).unwrap(), [0; 0]);
    }

    #[test]
    fn texts_that_repeat_the_last_one_are_counted() {
        // Prefixes of 0, 7, 7, 7, 7 bytes and suffixes of 7, 0, 0, 0, 0: differences of 3 bits.
        let prefixes = [&[0x80, 0x01, 4, 5, 0, 0, 3, 0, 0, 0, 7][..], &[0; 11]].concat();
        let suffixes = [
            &[0x80, 0x01, 4, 5, 14, 13, 3, 0, 0, 0, 0xF8, 0x0F][..],
            &[0; 10],
        ]
        .concat();
        assert_eq!(numbers(&prefixes).unwrap(), [0, 7, 7, 7, 7]);
        assert_eq!(numbers(&suffixes).unwrap(), [7, 0, 0, 0, 0]);
        let five = Expanded {
            texts: 5,
            bytes: 35,
            longest: 7,
        };
        assert_eq!(expanded(&[prefixes, suffixes].concat(), 5), Ok(five));
        let same_texts = [same(5, 0), same(5, 7)].concat();
        assert_eq!(expanded(&same_texts, 5), Ok(five));
        assert_eq!(
            expanded(&same_texts, 4),
            Err("there are more differences than values in a page")
        );
        assert_eq!(expanded(&[same(5, 1), same(5, 7)].concat(), 5), Err(WRONG));
        assert_eq!(expanded(&[same(4, 0), same(5, 7)].concat(), 5), Err(WRONG));
        assert_eq!(expanded(&[], 5), Ok(Expanded::default()));
    }

    #[test]
    fn claims_that_cannot_be_are_refused() {
        assert!(check_numbers(&same(u64::from(u32::MAX), 0)[..8], 1000).is_err());
        for len in 0..NUMBERS.len() {
            // The last miniblock may be left out from where nobody needs it.
            let cut = numbers(&NUMBERS[..len]);
            assert!(cut.is_err() || cut.unwrap().len() == 8, "{len}");
        }
        for wrong in [
            [0x80, 0x01, 0, 8, 14],
            [0x80, 0x01, 3, 8, 14],
            [0, 4, 8, 14, 0],
            [0xFF, 0xFF, 0xFF, 0x7F, 1],
        ] {
            assert!(check_numbers(&wrong, 100).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn any_flipped_bit_is_survived() {
        let bytes = [NUMBERS, NUMBERS].concat();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = expanded(&flipped, 8);
        }
    }
}
