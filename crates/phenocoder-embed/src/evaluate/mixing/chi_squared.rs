//! The upper tail of the chi-squared distribution.

/// Beyond this the first of many terms would be less than any number.
const UNDERFLOW: f64 = 700.0;

/// The probability of at least `value` (not negative) with `freedom` (at least 1) degrees of freedom.
///
/// `Q(a, x)` for `a = freedom / 2` and `x = value / 2` as the finite sum `e^−x Σ x^j / Γ(j + 1)` over `j = a − 1, a − 2, …`
/// down to 0 or 1/2, and `erfc(√x)` besides for odd degrees of freedom (Abramowitz & Stegun 1964, 26.4.4 and 26.4.5):
/// no term is negative, so nothing cancels.
/// The error is below 1e-11 of the tail up to a thousand degrees of freedom.
pub(super) fn upper_tail(freedom: usize, value: f64) -> f64 {
    let (a, x) = (freedom as f64 / 2.0, value / 2.0);
    let odd = freedom % 2 == 1;
    let rest = if odd { libm::erfc(x.sqrt()) } else { 0.0 };
    let terms = freedom / 2;
    if terms == 0 {
        return rest;
    }
    let mut sum = 0.0;
    if x <= UNDERFLOW {
        // From the lowest exponent up.
        let start = if odd { 0.5 } else { 0.0 };
        let mut term = if odd {
            libm::exp(-x) * 2.0 * (x / std::f64::consts::PI).sqrt()
        } else {
            libm::exp(-x)
        };
        for j in 0..terms {
            sum += term;
            term *= x / (start + (j + 1) as f64);
        }
    } else {
        // From the highest down: the terms grow as long as j is above x, and fade below it.
        let mut j = a - 1.0;
        let mut term = libm::exp(j * libm::log(x) - x - libm::lgamma(a));
        for _ in 0..terms {
            sum += term;
            term *= j / x;
            j -= 1.0;
        }
    }
    f64::min(sum + rest, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_of_two_and_of_four_degrees_are_the_known_formulas() {
        for value in [0.0, 0.1, 1.0, 5.0, 60.0, 1399.0, 1401.0] {
            let half: f64 = value / 2.0;
            let error = |found: f64, expected: f64| (found - expected).abs() / expected.max(1e-300);
            assert!(error(upper_tail(2, value), (-half).exp()) < 1e-12);
            assert!(error(upper_tail(4, value), (-half).exp() * (1.0 + half)) < 1e-12);
        }
    }

    #[test]
    fn tails_are_those_of_scipy_however_small() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/data/mixing.json")).unwrap();
        let rows: Vec<(usize, f64, f64)> =
            serde_json::from_value(golden["chi_squared_tails"].clone()).unwrap();
        assert_eq!(rows.len(), 120);
        for (freedom, value, expected) in rows {
            let found = upper_tail(freedom, value);
            // Numbers below 1e-300 keep fewer digits.
            let allowed = 1e-11 * expected + 1e-300;
            assert!(
                (found - expected).abs() <= allowed,
                "{freedom} {value}: {found:e} {expected:e}"
            );
        }
    }

    #[test]
    fn a_statistic_of_zero_is_certain_and_tails_fall() {
        for freedom in [1, 2, 3, 8, 9, 999, 3000] {
            assert_eq!(upper_tail(freedom, 0.0), 1.0);
            let mut last = 1.0;
            for step in 0..400 {
                let tail = upper_tail(freedom, f64::from(step) * 10.0);
                assert!(
                    tail <= last * (1.0 + 1e-10) && tail >= 0.0,
                    "{freedom} {step}: {tail}"
                );
                last = tail;
            }
            assert!(upper_tail(freedom, 1e9) == 0.0);
        }
    }
}
