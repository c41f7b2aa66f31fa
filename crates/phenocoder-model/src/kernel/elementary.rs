//! Exponentials and logarithms that compilers turn into vector code, with the same bits on every machine.

/// `1 / (1 + e^−x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `e^x` to 2 units in the last place; 0 and infinity where the result is too small or too large.
///
/// `e^x = 2^n · e^r` with `n` the nearest whole number to `x / ln 2`, and the Taylor polynomial of degree 7 for `e^r`,
/// `|r| ≤ ln 2 / 2`, whose remainder is below 6e-9.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 · 2^23 rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with trailing zeros so that its product with n is exact (Cody and Waite 1980).
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let n = x.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut p = 1.0 / 5040.0_f32;
    p = p.mul_add(r, 1.0 / 720.0);
    p = p.mul_add(r, 1.0 / 120.0);
    p = p.mul_add(r, 1.0 / 24.0);
    p = p.mul_add(r, 1.0 / 6.0);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r, 1.0);
    p = p.mul_add(r, 1.0);
    // 2^n in two factors: it alone may be too large or too small for a number. For NaN the cast gives 0 and the product
    // stays NaN.
    let n = n as i32;
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n - half)
}

/// `e^x − 1`, accurate where `x` is near 0 too.
#[inline(always)]
pub(super) fn exp_m1(x: f32) -> f32 {
    let near = x * x.mul_add(exp_rest(x), 1.0);
    if x.abs() < NEAR { near } else { exp(x) - 1.0 }
}

/// `e^x − 1 − x`, which is not negative and about `x² / 2` near 0.
#[inline(always)]
pub(super) fn exp_m1_less_x(x: f32) -> f32 {
    let near = x * x * exp_rest(x);
    if x.abs() < NEAR {
        near
    } else {
        exp(x) - 1.0 - x
    }
}

/// Where the series is used: there its remainder is below 1e-8 of the sum.
const NEAR: f32 = 0.35;

/// `(e^x − 1 − x) / x²` by its series, for `|x|` below [`NEAR`].
#[inline(always)]
fn exp_rest(x: f32) -> f32 {
    let mut p = 1.0 / 40_320.0_f32;
    for factorial in [5040.0_f32, 720.0, 120.0, 24.0, 6.0, 2.0] {
        p = p.mul_add(x, 1.0 / factorial);
    }
    p
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
}

/// `ln(1 + e)` for `e` in `[0, 1]`: `2 artanh(e / (2 + e))` by its series, argument at most 1/3, remainder below 2e-9.
#[inline(always)]
pub(super) fn ln_1p(e: f32) -> f32 {
    let z = e / (2.0 + e);
    let z2 = z * z;
    let mut p = 1.0 / 17.0_f32;
    for odd in [15.0_f32, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = p.mul_add(z2, 1.0 / odd);
    }
    2.0 * z * p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elementary_functions_are_accurate() {
        for i in -10_400..=8_872 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            // Below 1e-38 there are fewer digits.
            let bound = (3e-7 * exact).max(1e-45);
            assert!((f64::from(exp(x)) - exact).abs() <= bound, "exp {x}");
        }
        for i in -400..=400 {
            for x in [i as f32 / 100.0, i as f32 * 1e-4, i as f32 * 1e-10] {
                let exact = f64::from(x).exp_m1();
                let error = (f64::from(exp_m1(x)) - exact).abs();
                // Beside the series the digits of 1 are lost: at most two bits.
                assert!(error <= 1e-6 * exact.abs(), "exp_m1 {x}: {error}");
                let less = if x.abs() < 1e-2 {
                    let x = f64::from(x);
                    x * x * (0.5 + x / 6.0 + x * x / 24.0 + x.powi(3) / 120.0)
                } else {
                    exact - f64::from(x)
                };
                let error = (f64::from(exp_m1_less_x(x)) - less).abs();
                assert!(error <= 4e-6 * less, "exp_m1_less_x {x}: {error}");
            }
        }
        for i in 0..=1000 {
            let e = i as f32 / 1000.0;
            let exact = f64::from(e).ln_1p();
            let error = (f64::from(ln_1p(e)) - exact).abs();
            assert!(error <= 3e-7 * exact, "ln_1p {e}: {error}");
        }
    }

    #[test]
    fn what_is_too_large_or_no_number_stays_so() {
        assert_eq!(
            (exp(88.8), exp(f32::INFINITY)),
            (f32::INFINITY, f32::INFINITY)
        );
        assert_eq!((exp(-104.1), exp(f32::NEG_INFINITY)), (0.0, 0.0));
        assert!(exp_m1(f32::NAN).is_nan() && exp_m1_less_x(f32::NAN).is_nan());
        assert_eq!(
            (exp_m1(f32::INFINITY), exp_m1(-200.0)),
            (f32::INFINITY, -1.0)
        );
        assert!(exp(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan() && ln_1p(f32::NAN).is_nan());
        assert_eq!(
            (sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)),
            (1.0, 0.0)
        );
    }
}
