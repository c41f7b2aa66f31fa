//! How the matrices of fitted methods are written: `serde(with = "crate::stored")`.

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
