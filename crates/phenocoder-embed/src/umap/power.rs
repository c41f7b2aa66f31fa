//! Powers in single precision that are fast and the same on every machine.

/// One number for each lane; unlike `array::from_fn`, it is inlined into the vector instructions of its caller.
#[inline(always)]
pub(super) fn each<T: Copy + Default, const N: usize>(of: impl Fn(usize) -> T) -> [T; N] {
    let mut all = [T::default(); N];
    for (lane, one) in all.iter_mut().enumerate() {
        *one = of(lane);
    }
    all
}

/// Each `x` to the power `b`, for positive, normal `x`; the relative error is below 1e-5 for results between 1e-6 and
/// 1e6.
///
/// Every step runs over all lanes, so that the compiler can use vector instructions.
#[inline(always)]
pub(super) fn powers<const N: usize>(x: [f32; N], b: f32) -> [f32; N] {
    let y = log2(x);
    exp2(each(|i| b * y[i]))
}

/// The binary logarithm by the series of the inverse hyperbolic tangent.
#[inline(always)]
fn log2<const N: usize>(x: [f32; N]) -> [f32; N] {
    const TWO_OVER_LN_2: f32 = 2.885_39;
    // The bits of √½: the mantissa is brought into [√½, √2).
    const ROOT: u32 = 0x3f35_04f3;
    let shifted: [u32; N] = each(|i| x[i].to_bits().wrapping_sub(ROOT));
    let exponent: [f32; N] = each(|i| ((shifted[i] as i32) >> 23) as f32);
    let mantissa: [f32; N] =
        each(|i| f32::from_bits((shifted[i] & 0x007f_ffff).wrapping_add(ROOT)));
    let s: [f32; N] = each(|i| (mantissa[i] - 1.0) / (mantissa[i] + 1.0));
    let s2: [f32; N] = each(|i| s[i] * s[i]);
    let mut series = [1.0 / 9.0; N];
    for coefficient in [1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
        series = each(|i| coefficient + s2[i] * series[i]);
    }
    each(|i| exponent[i] + s[i] * series[i] * TWO_OVER_LN_2)
}

/// Two to the power `y` by Taylor's series on `[−½, ½]`.
#[inline(always)]
fn exp2<const N: usize>(y: [f32; N]) -> [f32; N] {
    // Adding 1.5 · 2²³ leaves the nearest whole number in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let y: [f32; N] = each(|i| if y[i] < -126.0 { -126.0 } else { y[i] });
    let y: [f32; N] = each(|i| if y[i] > 126.0 { 126.0 } else { y[i] });
    let rounded: [f32; N] = each(|i| y[i] + ROUND);
    let t: [f32; N] = each(|i| (y[i] - (rounded[i] - ROUND)) * std::f32::consts::LN_2);
    let mut series = [1.0 / 720.0; N];
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = each(|i| coefficient + t[i] * series[i]);
    }
    // The last nine bits of the sum, raised by the bias, are the exponent of the power.
    each(|i| f32::from_bits(rounded[i].to_bits().wrapping_add(127) << 23) * series[i])
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
                let error = (f64::from(powers([x], b)[0]) - exact).abs() / exact;
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

    #[test]
    fn powers_too_large_or_small_stay_finite() {
        let all = powers([f32::MIN_POSITIVE, f32::MAX, 1.0], 3.0);
        assert!(all.iter().all(|v| v.is_finite() && *v > 0.0), "{all:?}");
    }
}
