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
///
/// As a whole they are compared where all of them are defined: only then can any of them be the one that is farthest off.
pub(super) fn compare(
    code: usize,
    found: &[f64],
    simulated: &[&[f64]],
    comparison: &mut Comparison,
) {
    if found.iter().all(|value| value.is_nan()) {
        return;
    }
    // The distances at which all are defined, with the means there.
    let mut shared = Vec::with_capacity(found.len());
    for (r, &value) in found.iter().enumerate() {
        let at = || simulated.iter().map(move |function| function[r]);
        let defined = || at().filter(|value| !value.is_nan());
        if !value.is_nan() {
            let all = (1 + defined().count()) as f64;
            let above = 1 + defined().filter(|&v| v >= value).count();
            let below = 1 + defined().filter(|&v| v <= value).count();
            comparison.pointwise_p_value[[code, r]] =
                (2.0 * above.min(below) as f64 / all).min(1.0);
            if at().all(|value| !value.is_nan()) {
                shared.push((r, (defined().sum::<f64>() + value) / all));
            }
        }
        comparison.lower[[code, r]] = defined().fold(f64::NAN, f64::min);
        comparison.upper[[code, r]] = defined().fold(f64::NAN, f64::max);
    }
    if shared.is_empty() {
        return;
    }
    let deviation = |function: &[f64]| {
        let differences = shared.iter().map(|&(r, mean)| (function[r] - mean).abs());
        differences.fold(0.0, f64::max)
    };
    let mine = deviation(found);
    let beyond = simulated
        .iter()
        .filter(|function| deviation(function) >= mine);
    comparison.p_value[code] = (1 + beyond.count()) as f64 / (simulated.len() + 1) as f64;
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use phenocoder_core::{Categorical, NoProgress, Seed};

    use super::super::{RipleyConfig, RipleyFunction, ripley};
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

    #[test]
    fn functions_are_compared_only_where_all_of_them_are_defined() {
        let missing = || Array2::from_elem((1, 2), f64::NAN);
        let empty = || Comparison {
            lower: missing(),
            upper: missing(),
            pointwise_p_value: missing(),
            p_value: vec![f64::NAN],
        };
        let nan = f64::NAN;
        let mut comparison = empty();
        // At the second distance the function is far off, but not every pattern has a value to be judged by.
        let simulated: [&[f64]; 3] = [&[1.0, 2.0], &[2.0, nan], &[6.0, 2.0]];
        compare(0, &[3.0, 99.0], &simulated, &mut comparison);
        assert_eq!(comparison.p_value, [1.0]);
        // There it is one of three.
        assert_eq!(comparison.pointwise_p_value, array![[1.0, 2.0 / 3.0]]);
        let mut comparison = empty();
        compare(0, &[3.0, nan], &[&[nan, 1.0]], &mut comparison);
        assert!(comparison.p_value[0].is_nan());
    }

    #[test]
    fn a_few_cells_that_lie_anywhere_are_rejected_no_more_often_than_promised() {
        let names = vec!["cell".to_owned(), "corner".to_owned()];
        let labels = Categorical::new(vec![0, 0, 0, 0, 0, 1, 1, 1, 1], names).unwrap();
        let runs = 2000;
        let rejected = (0..runs).filter(|&run| {
            let mut stream = Seed::new(run).stream("cells", 0);
            // The corners make the region the unit square.
            let points = Array2::from_shape_fn((9, 2), |(i, axis)| match i {
                0..5 => stream.uniform(),
                _ => ((i - 5) >> axis & 1) as f64,
            });
            let config = RipleyConfig::new()
                .with_steps(20)
                .with_seed(Seed::new(run + runs));
            let found = ripley(
                points.view(),
                &labels,
                RipleyFunction::L,
                &config,
                &NoProgress,
            );
            found.unwrap().comparison.unwrap().p_value[0] <= 0.05
        });
        let rate = rejected.count() as f64 / runs as f64;
        // The standard error of a rate of 0.05 is 0.005.
        assert!((0.02..0.0625).contains(&rate), "{rate}");
    }
}
