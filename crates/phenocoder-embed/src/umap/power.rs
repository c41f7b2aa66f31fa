//! Powers in single precision that are fast and the same on every machine.

/// `x` to the power `b` for positive, normal `x`; the relative error is below 1e-5 for results between 1e-6 and 1e6.
#[inline]
pub(super) fn power(x: f32, b: f32) -> f32 {
    exp2(b * log2(x))
}

/// The binary logarithm by the series of the inverse hyperbolic tangent.
#[inline]
fn log2(x: f32) -> f32 {
    const TWO_OVER_LN_2: f32 = 2.885_39;
    // The bits of √½: the mantissa is brought into [√½, √2).
    const ROOT: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_sub(ROOT);
    let exponent = (shifted as i32) >> 23;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(ROOT));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = 1.0 + s2 * (1.0 / 3.0 + s2 * (1.0 / 5.0 + s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0))));
    exponent as f32 + s * series * TWO_OVER_LN_2
}

/// Two to the power `y` by Taylor's series on `[−½, ½]`.
#[inline]
fn exp2(y: f32) -> f32 {
    // Adding 1.5 · 2²³ leaves the nearest whole number in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let y = y.clamp(-126.0, 126.0);
    let whole = (y + ROUND) - ROUND;
    let t = (y - whole) * std::f32::consts::LN_2;
    let series = 1.0
        + t * (1.0
            + t * (0.5
                + t * (1.0 / 6.0 + t * (1.0 / 24.0 + t * (1.0 / 120.0 + t * (1.0 / 720.0))))));
    f32::from_bits(((whole as i32 + 127) as u32) << 23) * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_right_over_the_range_that_maps_use() {
        for b in [0.5_f32, 0.895_060_9, 1.334_167, 2.0] {
            let mut x = 1e-8_f32;
            while x < 1e4 {
                let exact = libm::pow(f64::from(x), f64::from(b));
                let error = (f64::from(power(x, b)) - exact).abs() / exact;
                let bound = if (1e-6..1e6).contains(&exact) {
                    1e-5
                } else {
                    1e-4
                };
                assert!(error < bound, "{x}^{b}: {error}");
                x *= 1.0137;
            }
        }
    }
}
