use nalgebra::{DMatrix, SymmetricEigen};
use phenocoder_core::{CancelToken, NoProgress, Seed};
use proptest::prelude::*;

use super::*;

/// A matrix with these eigenvalues and random vectors.
fn with_spectrum(values: &[f64], seed: u64) -> Array2<f64> {
    let m = values.len();
    let mut stream = Seed::new(seed).stream("vectors", 0);
    let q = DMatrix::from_fn(m, m, |_, _| stream.normal()).qr().q();
    let full = &q * DMatrix::from_diagonal(&values.to_vec().into()) * q.transpose();
    Array2::from_shape_fn((m, m), |(i, j)| 0.5 * (full[(i, j)] + full[(j, i)]))
}

/// The largest entries of `A V − V Λ`, of `Vᵀ V − 1`, and of the differences from nalgebra's eigenvalues.
fn errors(a: &Array2<f64>, k: usize) -> [f64; 3] {
    let m = a.nrows();
    let (values, vectors) = leading_eigenvectors(a.clone(), k, &NoProgress).unwrap();
    assert_eq!((values.len(), vectors.dim()), (k.min(m), (k.min(m), m)));
    let largest = |x: &Array2<f64>| x.iter().fold(0.0_f64, |l, v| l.max(v.abs()));
    let scaled = &vectors * &ArrayView1::from(&values).insert_axis(Axis(1));
    let mut known = SymmetricEigen::new(DMatrix::from_fn(m, m, |i, j| a[[i, j]]))
        .eigenvalues
        .as_slice()
        .to_vec();
    known.sort_by(|a, b| b.total_cmp(a));
    let differences = values
        .iter()
        .zip(known)
        .map(|(a, b)| (a - b.max(0.0)).abs());
    [
        largest(&(vectors.dot(a) - scaled)),
        largest(&(vectors.dot(&vectors.t()) - Array2::<f64>::eye(k.min(m)))),
        differences.fold(0.0, f64::max),
    ]
}

#[track_caller]
fn assert_small(errors: [f64; 3], size: f64) {
    let [residual, orthogonality, values] = errors;
    assert!(
        residual < 1e-12 * size && values < 1e-12 * size,
        "{errors:?}"
    );
    assert!(orthogonality < 1e-11, "{errors:?}");
}

#[test]
fn eigenvectors_of_two_by_two_are_those_worked_out_by_hand() {
    let a = ndarray::array![[2.0, 1.0], [1.0, 2.0]];
    let (values, vectors) = leading_eigenvectors(a, 5, &NoProgress).unwrap();
    assert!((values[0] - 3.0).abs() < 1e-15 && (values[1] - 1.0).abs() < 1e-15);
    let half = 0.5_f64.sqrt();
    assert!(vectors.iter().all(|v| (v.abs() - half).abs() < 1e-14));
    assert!(vectors[[0, 0]] * vectors[[0, 1]] > 0.0 && vectors[[1, 0]] * vectors[[1, 1]] < 0.0);
}

#[test]
fn matrices_of_more_than_a_panel_and_a_task_are_taken_apart() {
    let more_than_a_task = PRODUCTS.isqrt() + PANEL + 7;
    for m in [PANEL - 1, PANEL, PANEL + 1, 2 * PANEL + 3, more_than_a_task] {
        let values: Vec<f64> = (0..m).map(|i| 1.0 / (1.0 + i as f64)).collect();
        let a = with_spectrum(&values, m as u64);
        assert_small(errors(&a, 9), 1.0);
        if m < more_than_a_task {
            assert_small(errors(&a, m), 1.0);
        }
    }
}

#[test]
fn parts_of_a_combination_are_those_of_the_whole_to_the_bit_for_any_width_of_vectors() {
    let mut stream = Seed::new(5).stream("rows", 0);
    for count in [0, 1, 8, 19] {
        let rows = Array2::from_shape_simple_fn((count, 45), || stream.normal());
        let weights: Vec<f64> = (0..count).map(|_| stream.normal()).collect();
        let rows: Vec<_> = weights
            .iter()
            .enumerate()
            .map(|(i, weight)| (row_of(&rows, i), *weight))
            .collect();
        let add = |arch: Arch, first, sum: &mut [f64]| {
            let rows = &rows;
            arch.dispatch(Combination { rows, first, sum });
        };
        let (mut whole, mut parts) = (vec![1.0; 45], vec![1.0; 45]);
        add(Arch::new(), 0, &mut whole);
        add(Arch::Scalar, 0, &mut parts[..7]);
        add(Arch::new(), 7, &mut parts[7..40]);
        add(Arch::new(), 40, &mut parts[40..]);
        assert_eq!(whole, parts);
        let known = |j| {
            1.0 + rows
                .iter()
                .map(|(row, weight)| row[j] * weight)
                .sum::<f64>()
        };
        let right = |(j, sum): (usize, &f64)| (sum - known(j)).abs() < 1e-13;
        assert!(whole.iter().enumerate().all(right));
    }
}

#[test]
fn matrices_without_any_structure_left_are_taken_apart() {
    for k in [1, 7] {
        assert_small(errors(&Array2::zeros((7, 7)), k), 1.0);
        assert_small(errors(&Array2::eye(7), k), 1.0);
        assert_small(errors(&Array2::from_elem((7, 7), 3.0), k), 21.0);
        assert_small(errors(&Array2::from_elem((1, 1), 2.0), k), 1.0);
    }
    let none = leading_eigenvectors(Array2::zeros((0, 0)), 3, &NoProgress).unwrap();
    assert_eq!(none.0.len(), 0);
}

#[test]
fn the_search_stops_when_asked() {
    let stopped = CancelToken::new();
    stopped.cancel();
    let found = leading_eigenvectors(Array2::eye(7), 2, &stopped);
    assert_eq!(found, Err(Cancelled));
    // Also where vectors are turned back.
    let reduced = Reduced::new(with_spectrum(&[3.0, 2.0, 1.0], 1), &NoProgress).unwrap();
    let mut vectors = Array2::eye(3);
    assert_eq!(reduced.turn_back(&mut vectors, &stopped), Err(Cancelled));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_spectrum_is_found_with_orthonormal_vectors(
        seed in any::<u64>(),
        levels in prop::collection::vec((0..7_i32, 1..12_usize), 1..7),
        scale in -280..280_i32,
        noise in prop::sample::select(vec![0.0, 1e-15, 1e-12, 1e-6]),
        share in 0.0..1.0_f64,
    ) {
        // Levels of many equal eigenvalues, over up to 12 orders of magnitude, each only nearly equal.
        let mut stream = Seed::new(seed).stream("noise", 0);
        let mut values = Vec::new();
        for (level, times) in levels {
            for _ in 0..times {
                values.push(10.0_f64.powi(-2 * level) + noise * stream.uniform());
            }
        }
        let k = 1 + (share * (values.len() - 1) as f64) as usize;
        let size = 2.0_f64.powi(scale);
        let a = with_spectrum(&values, seed) * size;
        let [residual, orthogonality, difference] = errors(&a, k);
        prop_assert!(residual < 1e-12 * size, "{residual:e}");
        prop_assert!(difference < 1e-12 * size, "{difference:e}");
        prop_assert!(orthogonality < 1e-11, "{orthogonality:e}");
    }
}
