//! Estimates of one batch drawn towards what its columns share.

use phenocoder_core::Progress;

use super::{CombatConfig, Error, METHOD, Result};

/// The mean and the variance of each column given all: `(g, d)` from `ĝ` and `d̂` of a batch of `rows` rows.
///
/// Without variances they are 1.
pub(super) fn shrink(
    means: &[f64],
    variances: Option<&[f64]>,
    rows: f64,
    config: &CombatConfig,
    progress: &dyn Progress,
) -> Result<Vec<(f64, f64)>> {
    let count = means.len() as f64;
    let center = means.iter().sum::<f64>() / count;
    let spread = means
        .iter()
        .map(|g| (g - center) * (g - center))
        .sum::<f64>()
        / count;
    // Where the means do not differ the prior is the mean, also of a column without variance.
    let mean_given = |mean: f64, variance: f64| {
        let weight = spread * rows + variance;
        if weight > 0.0 {
            (spread * rows * mean + variance * center) / weight
        } else {
            mean
        }
    };
    let Some(variances) = variances else {
        return Ok(means.iter().map(|&g| (mean_given(g, 1.0), 1.0)).collect());
    };
    let typical = variances.iter().sum::<f64>() / count;
    let squares = variances.iter().map(|d| (d - typical) * (d - typical));
    let width = squares.sum::<f64>() / (count - 1.0);
    if typical == 0.0 {
        // No column has any spread in this batch: nothing to scale.
        return Ok(means.iter().map(|&g| (g, 1.0)).collect());
    }
    // One column, or variances that do not differ: the limit of the prior at their mean.
    if width.is_nan() || width <= 1e-24 * typical * typical {
        let pairs = means.iter().map(|&g| (mean_given(g, typical), typical));
        return Ok(pairs.collect());
    }
    let a = (2.0 * width + typical * typical) / width;
    let b = (typical * width + typical * typical * typical) / width;
    let mut current: Vec<(f64, f64)> = means
        .iter()
        .copied()
        .zip(variances.iter().copied())
        .collect();
    for _ in 0..config.iterations {
        progress.check()?;
        let mut change = 0.0_f64;
        for ((now, &mean), &variance) in current.iter_mut().zip(means).zip(variances) {
            let (old_mean, old_variance) = *now;
            let new_mean = mean_given(mean, old_variance);
            // Σ (S − g)² from the squares about the own mean.
            let sum = (rows - 1.0) * variance + rows * (mean - new_mean) * (mean - new_mean);
            let new_variance = (0.5 * sum + b) / (rows / 2.0 + a - 1.0);
            change = change
                .max(relative(old_mean, new_mean))
                .max(relative(old_variance, new_variance));
            *now = (new_mean, new_variance);
        }
        if change <= config.tolerance {
            return Ok(current);
        }
    }
    Err(Error::NotConverged {
        method: METHOD,
        iterations: config.iterations,
    })
}

/// The change as a share of the old value, of its sign as in the original.
fn relative(old: f64, new: f64) -> f64 {
    if old == new {
        0.0
    } else {
        (new - old).abs() / old
    }
}

#[cfg(test)]
mod tests {
    use phenocoder_core::NoProgress;

    use super::*;

    #[test]
    fn one_column_and_equal_variances_are_the_limit_of_the_prior() {
        let config = CombatConfig::default();
        assert_eq!(
            shrink(&[0.5], Some(&[2.0]), 4.0, &config, &NoProgress).unwrap(),
            [(0.5, 2.0)]
        );
        let pair = shrink(&[0.0, 1.0], Some(&[2.0, 2.0]), 4.0, &config, &NoProgress).unwrap();
        // t² = 1/4: weights 1 of the own and 2 of the common mean 1/2.
        assert!((pair[0].0 - 1.0 / 3.0).abs() < 1e-15 && (pair[1].0 - 2.0 / 3.0).abs() < 1e-15);
        assert_eq!(pair[0].1, 2.0);
        // As those of nearly equal variances.
        let near = shrink(
            &[0.0, 1.0],
            Some(&[2.0, 2.0 + 1e-9]),
            4.0,
            &config,
            &NoProgress,
        )
        .unwrap();
        assert!((near[0].0 - pair[0].0).abs() < 1e-8 && (near[0].1 - 2.0).abs() < 1e-8);
    }

    #[test]
    fn what_has_no_spread_gives_numbers() {
        let config = CombatConfig::default();
        let still = shrink(&[0.5, -1.0], Some(&[0.0, 0.0]), 4.0, &config, &NoProgress).unwrap();
        assert_eq!(still, [(0.5, 1.0), (-1.0, 1.0)]);
        let half = shrink(&[0.5, 0.5], Some(&[0.0, 3.0]), 4.0, &config, &NoProgress).unwrap();
        assert!(
            half.iter()
                .all(|(g, d)| *g == 0.5 && *d > 0.0 && d.is_finite()),
            "{half:?}"
        );
        assert!(
            shrink(&[], Some(&[]), 4.0, &config, &NoProgress)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_mean_of_zero_settles_and_a_mean_only_effect_is_one_step() {
        let config = CombatConfig::default();
        let means = [0.0, 0.5, -0.5];
        let shrunk = shrink(&means, Some(&[1.0, 2.0, 0.5]), 10.0, &config, &NoProgress).unwrap();
        assert_eq!(shrunk[0].0, 0.0);
        let only = shrink(&means, None, 10.0, &config, &NoProgress).unwrap();
        // t² = 1/6, ten rows: 10/6 of 10/6 + 1.
        assert!((only[1].0 - 0.5 * 0.625).abs() < 1e-15);
        assert!(only.iter().all(|pair| pair.1 == 1.0));
    }

    #[test]
    fn rounds_that_do_not_suffice_are_an_error() {
        let config = CombatConfig::default()
            .with_tolerance(1e-14)
            .with_iterations(2);
        let error = shrink(
            &[0.1, 0.5, -0.5],
            Some(&[1.0, 2.0, 0.5]),
            10.0,
            &config,
            &NoProgress,
        );
        assert!(matches!(
            error,
            Err(Error::NotConverged { iterations: 2, .. })
        ));
    }
}
