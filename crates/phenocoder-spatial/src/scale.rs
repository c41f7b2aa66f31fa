//! Features in units in which their fourth powers are neither too large nor too small for numbers.

use ndarray::{ArrayView2, CowArray, Ix2};

/// Columns whose largest value is between 2⁻¹⁰⁰ and 2¹⁰⁰ stay as they are.
const USUAL: i32 = 100;

/// Divides columns of very large or very small values by a power of two, which changes no digit that counts beside the largest value:
/// for statistics that do not
/// depend on the unit of the feature.
pub(crate) fn scaled(x: ArrayView2<'_, f64>) -> CowArray<'_, f64, Ix2> {
    let mut largest = vec![0.0_f64; x.ncols()];
    for row in x.rows() {
        for (largest, value) in largest.iter_mut().zip(row) {
            *largest = largest.max(value.abs());
        }
    }
    let mut x = CowArray::from(x);
    for (f, largest) in largest.into_iter().enumerate() {
        let unit = match largest.is_finite() && largest > 0.0 {
            true => libm::ilogb(largest),
            false => 0,
        };
        if unit.abs() > USUAL {
            x.column_mut(f)
                .mapv_inplace(|value| libm::scalbn(value, -unit));
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn only_columns_beyond_the_usual_are_scaled_and_by_powers_of_two() {
        let x = array![
            [1.5e200, -3e-300, 0.1, f64::INFINITY, 0.0, 5e-324],
            [-1e10, 2e-310, 1e30, 1e300, f64::NAN, 0.0]
        ];
        let found = scaled(x.view());
        for f in [2, 3] {
            assert_eq!(found.column(f), x.column(f));
        }
        assert!(found[[0, 4]] == 0.0 && found[[1, 4]].is_nan());
        for f in [0, 1, 5] {
            let largest = found.column(f).fold(0.0_f64, |most, x| most.max(x.abs()));
            assert!((1.0..2.0).contains(&largest), "{f}: {largest}");
        }
        assert_eq!(found[[0, 0]] / found[[1, 0]], -1.5e190);
        let usual = array![[1.0]];
        assert!(scaled(usual.view()).is_view());
    }
}
