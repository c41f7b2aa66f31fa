//! Random patterns to compare with.

use phenocoder_core::Progress;
use rayon::prelude::*;

use super::Comparison;
use super::estimate::Pattern;
use crate::error::Result;
use crate::predicates::Point;

/// Draws random patterns from the region, and computes their functions for each number of cells that a type has.
///
/// A pattern has as many cells as the largest type; smaller types are compared with its first ones.
/// Returns the functions of each simulation in the order of the sizes, which rise.
pub(super) fn simulate(
    pattern: &Pattern<'_>,
    sizes: &[usize],
    locations: &[Point],
    progress: &dyn Progress,
) -> Result<Vec<Vec<Vec<f64>>>> {
    let most = sizes.last().copied().unwrap_or(0);
    let seed = pattern.config.seed.derive("patterns", 0);
    (0..pattern.config.simulations)
        .into_par_iter()
        .map(|i| {
            progress.check()?;
            let mut stream = seed.stream("cells", i as u64);
            let cells: Vec<Point> = (0..most)
                .map(|_| pattern.region.draw(&mut stream))
                .collect();
            let functions = pattern.of_first(&cells, sizes, locations, progress)?;
            progress.advance(1);
            Ok(functions)
        })
        .collect()
}

/// Compares the function of a type with those of random patterns of as many cells.
pub(super) fn compare(
    code: usize,
    found: &[f64],
    simulated: &[&[f64]],
    comparison: &mut Comparison,
) {
    if found.iter().all(|value| value.is_nan()) {
        return;
    }
    let all = (simulated.len() + 1) as f64;
    let mut means = Vec::with_capacity(found.len());
    for (r, &value) in found.iter().enumerate() {
        let at = || simulated.iter().map(move |function| function[r]);
        comparison.lower[[code, r]] = at().fold(f64::NAN, f64::min);
        comparison.upper[[code, r]] = at().fold(f64::NAN, f64::max);
        means.push(
            (at().filter(|v| !v.is_nan()).sum::<f64>() + value)
                / (1 + at().filter(|v| !v.is_nan()).count()) as f64,
        );
        if !value.is_nan() {
            let above = 1 + at().filter(|&v| v >= value).count();
            let below = 1 + at().filter(|&v| v <= value).count();
            comparison.pointwise_p_value[[code, r]] =
                (2.0 * above.min(below) as f64 / all).min(1.0);
        }
    }
    let deviation = |function: &[f64]| {
        let differences = function
            .iter()
            .zip(&means)
            .map(|(value, mean)| (value - mean).abs());
        differences.fold(0.0, f64::max)
    };
    let mine = deviation(found);
    let beyond = simulated
        .iter()
        .filter(|function| deviation(function) >= mine);
    comparison.p_value[code] = (1 + beyond.count()) as f64 / all;
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn p_values_count_the_patterns_that_are_as_far_off() {
        let missing = || Array2::from_elem((1, 4), f64::NAN);
        let mut comparison = Comparison {
            lower: missing(),
            upper: missing(),
            pointwise_p_value: missing(),
            p_value: vec![f64::NAN],
        };
        // Alike, above all, below all, undefined.
        let found = [0.0, 3.0, 0.5, f64::NAN];
        let simulated: [&[f64]; 3] = [
            &[0.0, 1.0, 1.0, 5.0],
            &[0.0, 2.0, 1.5, f64::NAN],
            &[0.0, 2.5, 2.0, 7.0],
        ];
        compare(0, &found, &simulated, &mut comparison);
        assert_eq!(comparison.lower, array![[0.0, 1.0, 1.0, 5.0]]);
        assert_eq!(comparison.upper, array![[0.0, 2.5, 2.0, 7.0]]);
        let p = comparison.pointwise_p_value.row(0).to_vec();
        assert_eq!(p[..3], [1.0, 0.5, 0.5]);
        assert!(p[3].is_nan());
        // Means of all four are 0, 2.125 and 1.25: the first pattern is 1.125 off, the function 0.875, the others less.
        assert_eq!(comparison.p_value, [0.5]);
    }
}
