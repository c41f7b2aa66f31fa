//! Whole numbers of 256 bits.

/// A whole number from 0 to 2²⁵⁶ − 1, lowest digits first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide([u64; 4]);

impl From<u128> for Wide {
    fn from(value: u128) -> Self {
        Self([value as u64, (value >> 64) as u64, 0, 0])
    }
}

impl Wide {
    /// The product, which must fit.
    pub(super) fn times(self, factor: u64) -> Self {
        let mut carry = 0_u128;
        let digits = self.0.map(|digit| {
            // At most (2⁶⁴ − 1)² + 2⁶⁴ − 1.
            carry += u128::from(digit) * u128::from(factor);
            let low = carry as u64;
            carry >>= 64;
            low
        });
        debug_assert_eq!(carry, 0);
        Self(digits)
    }

    /// The sum, which must fit.
    pub(super) fn plus(self, other: Self) -> Self {
        let mut digits = self.0;
        let mut carry = false;
        for (digit, other) in digits.iter_mut().zip(other.0) {
            let (sum, over) = digit.overflowing_add(other);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            (*digit, carry) = (sum, over || again);
        }
        debug_assert!(!carry);
        Self(digits)
    }

    /// The difference to a number that is not larger.
    pub(super) fn minus(self, other: Self) -> Self {
        let mut digits = self.0;
        let mut borrow = false;
        for (digit, other) in digits.iter_mut().zip(other.0) {
            let (rest, over) = digit.overflowing_sub(other);
            let (rest, again) = rest.overflowing_sub(u64::from(borrow));
            (*digit, borrow) = (rest, over || again);
        }
        debug_assert!(!borrow);
        Self(digits)
    }

    /// The number to within four roundings.
    pub(super) fn to_f64(self) -> f64 {
        let next = |high: f64, &digit: &u64| high * 18_446_744_073_709_551_616.0 + digit as f64;
        self.0.iter().rev().fold(0.0, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_carried_and_borrowed() {
        let top = Wide::from(u128::MAX);
        assert_eq!(top.plus(Wide::from(1)), Wide([0, 0, 1, 0]));
        assert_eq!(Wide([0, 0, 1, 0]).minus(Wide::from(1)), top);
        assert_eq!(Wide([0, 0, 0, 7]).minus(Wide([1, 0, 0, 7 - 1])).0[3], 0);
        // (2¹²⁸ − 1)(2⁶⁴ − 1)² = 2²⁵⁶ − 2¹⁹³ + 2¹²⁸ − 2¹²⁸ + 2⁶⁵ − 1.
        let product = top.times(u64::MAX).times(u64::MAX);
        assert_eq!(product, Wide([u64::MAX, 1, 0, u64::MAX - 1]));
        assert_eq!(top.times(0), Wide::from(0));
    }

    #[test]
    fn numbers_are_converted_from_the_highest_digit_down() {
        assert_eq!(Wide::from(12).to_f64(), 12.0);
        assert_eq!(Wide([0, 0, 0, 1]).to_f64(), 2_f64.powi(192));
        let value = (1_u128 << 100) + 12345;
        assert_eq!(Wide::from(value).to_f64(), value as f64);
        assert_eq!(Wide([u64::MAX; 4]).to_f64(), 2_f64.powi(256));
    }
}
