//! Short texts that change when data change.

use ndarray::{Array, Dimension};

/// The prime of FNV-1a with 128 bits.
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
/// The starting value of FNV-1a with 128 bits.
const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

/// Sums up data in 128 bits, so that two sets of data can be told apart without keeping either.
///
/// It tells apart what differs by accident: other pixels, rows or settings.
/// It is no protection from someone who wants two sets of data to look alike.
/// The result depends on the values and their order alone, and is the same on every platform.
///
/// Definition: FNV-1a over words of 64 bits instead of bytes, with the upper half folded into the lower after each word;
/// everything is preceded by its length.
///
/// # Examples
///
/// ```
/// use phenocoder_core::Fingerprint;
///
/// let of = |rows: &[u64], name: &str| Fingerprint::new().numbers(rows.iter().copied()).text(name).finish();
/// assert_eq!(of(&[1, 2], "a"), of(&[1, 2], "a"));
/// assert_ne!(of(&[1, 2], "a"), of(&[2, 1], "a"));
/// assert_ne!(of(&[1, 2], "a"), of(&[1, 2], "b"));
/// assert_eq!(of(&[], "").len(), 32);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(START)
    }

    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ u128::from(word)).wrapping_mul(PRIME);
        self.0 = mixed ^ (mixed >> 64);
    }

    /// Adds numbers: rows, extents.
    #[must_use]
    pub fn numbers(mut self, numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut n = 0;
        for number in numbers {
            self.word(number);
            n += 1;
        }
        self.word(n);
        self
    }

    /// Adds values, bit by bit: pixels, conditions, weights.
    #[must_use]
    pub fn values<'a>(mut self, values: impl IntoIterator<Item = &'a f32>) -> Self {
        let mut values = values.into_iter();
        let mut n = 0;
        while let Some(low) = values.next() {
            let high = values.next();
            n += 1 + u64::from(high.is_some());
            let high = high.map_or(0, |value| value.to_bits());
            self.word(u64::from(low.to_bits()) | u64::from(high) << 32);
        }
        self.word(n);
        self
    }

    /// Adds an array: its extents, then its values by their place, whatever their order in memory.
    #[must_use]
    pub fn array<D: Dimension>(self, array: &Array<f32, D>) -> Self {
        let all = self.numbers(array.shape().iter().map(|&extent| extent as u64));
        match array.as_slice() {
            Some(values) => all.values(values),
            None => all.values(array),
        }
    }

    /// Adds a text: a name, settings as JSON, another fingerprint.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        for bytes in text.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.word(u64::from_le_bytes(word));
        }
        self.word(text.len() as u64);
        self
    }

    /// The fingerprint as 32 hexadecimal digits.
    #[must_use]
    pub fn finish(&self) -> String {
        format!("{:032x}", self.0)
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn any_change_of_a_value_of_the_order_or_of_a_border_shows() {
        let values: Vec<f32> = (0..999_u16).map(f32::from).collect();
        let whole = Fingerprint::new().values(&values).finish();
        for at in [0, 1, 500, 998] {
            for bit in [0, 22, 31] {
                let mut changed = values.clone();
                changed[at] = f32::from_bits(changed[at].to_bits() ^ 1 << bit);
                assert_ne!(Fingerprint::new().values(&changed).finish(), whole);
            }
        }
        let mut turned = values.clone();
        turned.swap(10, 12);
        assert_ne!(Fingerprint::new().values(&turned).finish(), whole);
        let mut signs = values.clone();
        signs[7] = -signs[7];
        signs[9] = -signs[9];
        assert_ne!(Fingerprint::new().values(&signs).finish(), whole);
        // A border between two parts counts, and so do zeros at the end.
        let two = |a: &[f32], b: &[f32]| Fingerprint::new().values(a).values(b).finish();
        assert_ne!(two(&[0.0], &[0.0, 0.0]), two(&[0.0, 0.0], &[0.0]));
        let text = |a: &str, b: &str| Fingerprint::new().text(a).text(b).finish();
        assert_ne!(text("ab", "c"), text("a", "bc"));
        assert_ne!(text("a\0", ""), text("a", ""));
    }

    #[test]
    fn an_array_is_told_apart_by_its_extents_and_not_by_its_memory() {
        let of = |array: &Array2<f32>| Fingerprint::new().array(array).finish();
        let array = Array2::from_shape_fn((2, 3), |(i, j)| (3 * i + j) as f32);
        let by_hand = Fingerprint::new().numbers([2, 3]).values(&array);
        assert_eq!(of(&array), by_hand.finish());
        let turned = array.t().as_standard_layout().into_owned().reversed_axes();
        assert!(!turned.is_standard_layout());
        assert_eq!(of(&turned), of(&array));
        let other = array.clone().into_shape_with_order((3, 2)).unwrap();
        assert_ne!(of(&other), of(&array));
    }

    #[test]
    fn fingerprints_are_the_same_everywhere() {
        assert_eq!(
            Fingerprint::new().text("phenocoder").numbers([7]).finish(),
            "29eb7370935178937693f0f0c6c03049"
        );
    }
}
