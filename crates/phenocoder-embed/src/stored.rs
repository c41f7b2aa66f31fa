//! How the matrices of fitted methods are written, `serde(with = "crate::stored")`, and what numbers are read back.

use ndarray::Array2;
use phenocoder_core::ShapeError;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize)]
struct Written<'a, T> {
    shape: (usize, usize),
    values: Vec<&'a T>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<T> {
    shape: (usize, usize),
    values: Vec<T>,
}

pub(crate) fn serialize<T: Serialize, S: Serializer>(
    matrix: &Array2<T>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let written = Written {
        shape: matrix.dim(),
        values: matrix.iter().collect(),
    };
    written.serialize(to)
}

pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Array2<T>, D::Error> {
    let Read { shape, values } = Read::deserialize(from)?;
    let expected = shape.0.saturating_mul(shape.1);
    ShapeError::check_len("values", expected, values.len()).map_err(D::Error::custom)?;
    Array2::from_shape_vec(shape, values).map_err(D::Error::custom)
}

/// What holds numbers that must all be within a range.
pub(crate) trait Numbers {
    /// The first number that is not.
    fn first_beyond(&self, is_within: fn(f64) -> bool) -> Option<f64>;
}

impl Numbers for f64 {
    fn first_beyond(&self, is_within: fn(f64) -> bool) -> Option<f64> {
        (!is_within(*self)).then_some(*self)
    }
}

impl<T: Numbers> Numbers for Option<T> {
    fn first_beyond(&self, is_within: fn(f64) -> bool) -> Option<f64> {
        self.as_ref()
            .and_then(|there| there.first_beyond(is_within))
    }
}

impl<T: Numbers> Numbers for Vec<T> {
    fn first_beyond(&self, is_within: fn(f64) -> bool) -> Option<f64> {
        self.iter().find_map(|one| one.first_beyond(is_within))
    }
}

impl<T: Numbers> Numbers for (u32, T) {
    // The first is a label.
    fn first_beyond(&self, is_within: fn(f64) -> bool) -> Option<f64> {
        self.1.first_beyond(is_within)
    }
}

/// How far rounding may take a measure beyond its range.
const ROUNDING: f64 = 1e-9;

/// Reads measures from 0 to 1: `serde(deserialize_with = "crate::stored::share")`.
pub(crate) fn share<'de, T: Deserialize<'de> + Numbers, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    let is_within = |value: f64| (-ROUNDING..=1.0 + ROUNDING).contains(&value);
    within(from, is_within, "a number from 0 to 1")
}

/// Reads measures from -1 to 1.
pub(crate) fn balance<'de, T: Deserialize<'de> + Numbers, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    within(from, is_balance, "a number from -1 to 1")
}

/// Whether this can be a measure from -1 to 1.
pub(crate) fn is_balance(value: f64) -> bool {
    value.abs() <= 1.0 + ROUNDING
}

/// Reads measures of at least 0.
pub(crate) fn amount<'de, T: Deserialize<'de> + Numbers, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    let is_within = |value: f64| value.is_finite() && value >= 0.0;
    within(from, is_within, "a finite number of at least 0")
}

fn within<'de, T: Deserialize<'de> + Numbers, D: Deserializer<'de>>(
    from: D,
    is_within: fn(f64) -> bool,
    expected: &str,
) -> Result<T, D::Error> {
    let read = T::deserialize(from)?;
    match read.first_beyond(is_within) {
        None => Ok(read),
        Some(value) => Err(D::Error::custom(format_args!(
            "a measure is {value}, expected {expected}"
        ))),
    }
}

/// How numbers are written of which some are missing: `serde(with = "crate::stored::gaps")`, `null` for NaN.
pub(crate) mod gaps {
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(numbers: &[f64], to: S) -> Result<S::Ok, S::Error> {
        let there = |&number: &f64| (!number.is_nan()).then_some(number);
        let numbers: Vec<Option<f64>> = numbers.iter().map(there).collect();
        numbers.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let numbers: Vec<Option<f64>> = Vec::deserialize(from)?;
        let number = |there: Option<f64>| there.unwrap_or(f64::NAN);
        Ok(numbers.into_iter().map(number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Gaps(#[serde(with = "crate::stored::gaps")] Vec<f64>);

    #[test]
    fn numbers_with_gaps_survive_json() {
        let text = serde_json::to_string(&Gaps(vec![0.1, f64::NAN, -2.0])).unwrap();
        assert_eq!(text, "[0.1,null,-2.0]");
        let Gaps(read) = serde_json::from_str(&text).unwrap();
        assert!(read[0] == 0.1 && read[1].is_nan() && read[2] == -2.0);
    }

    #[derive(Debug, Deserialize)]
    struct Measures {
        #[serde(deserialize_with = "super::share")]
        shares: Vec<(u32, Option<f64>)>,
        #[serde(deserialize_with = "super::balance")]
        mean: f64,
        #[serde(deserialize_with = "super::amount")]
        amounts: Vec<f64>,
    }

    #[test]
    fn measures_beyond_their_range_are_refused_but_for_rounding() {
        let read = |shares: &str, mean: &str, amounts: &str| {
            let text = format!(r#"{{"shares": {shares}, "mean": {mean}, "amounts": {amounts}}}"#);
            serde_json::from_str::<Measures>(&text)
        };
        let good = "[[7, 0.5], [8, null], [9, 1.0000000001]]";
        let found = read(good, "-1.0", "[0.0, 1e300]").unwrap();
        assert_eq!(found.shares[1..], [(8, None), (9, Some(1.000_000_000_1))]);
        assert_eq!((found.mean, &found.amounts[..]), (-1.0, &[0.0, 1e300][..]));
        for (shares, mean, amounts, wrong) in [
            (
                "[[7, 0.5], [8, null], [9, 1.5]]",
                "0.0",
                "[]",
                "is 1.5, expected a number from 0 to 1",
            ),
            (
                good,
                "-1.25",
                "[]",
                "is -1.25, expected a number from -1 to 1",
            ),
            (
                good,
                "0.0",
                "[1.0, -2.5]",
                "is -2.5, expected a finite number of at least 0",
            ),
        ] {
            let error = read(shares, mean, amounts).unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder(#[serde(with = "crate::stored")] Array2<f64>);

    #[test]
    fn matrices_of_any_shape_survive_json_to_the_bit() {
        let wide = Array2::from_shape_fn((2, 3), |(i, j)| 0.1 / (1 + i + 7 * j) as f64);
        for matrix in [wide.clone(), wide.reversed_axes(), Array2::zeros((3, 0))] {
            let text = serde_json::to_string(&Holder(matrix.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Holder>(&text).unwrap().0, matrix);
        }
    }

    #[test]
    fn a_matrix_that_lost_values_is_refused() {
        let text = r#"{"shape": [2, 2], "values": [1.0, 2.0, 3.0]}"#;
        let error = serde_json::from_str::<Holder>(text).unwrap_err();
        assert!(error.to_string().contains("values"), "{error}");
        let huge = format!(r#"{{"shape": [{0}, {0}], "values": []}}"#, usize::MAX);
        assert!(serde_json::from_str::<Holder>(&huge).is_err());
    }
}
