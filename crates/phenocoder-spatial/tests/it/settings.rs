//! Every rule of the settings: the last value that is accepted and the first that is refused.

use phenocoder_spatial::ConfigError;
use phenocoder_spatial::autocorrelation::{LocalConfig, PermutationConfig};
use phenocoder_spatial::centrality::BetweennessConfig;
use phenocoder_spatial::comparison::ComparisonConfig;
use phenocoder_spatial::enrichment::EnrichmentConfig;
use phenocoder_spatial::ripley::RipleyConfig;
use phenocoder_spatial::sepal::{Lattice, SepalConfig};
use phenocoder_spatial::subunits::SubunitConfig;
use phenocoder_spatial::summary::StatisticsConfig;

/// What the refusal says.
fn refusal(result: Result<(), ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn numbers_at_their_limit_are_accepted_and_those_beyond_are_refused_by_name() {
    let neighbors = |n| {
        let mut config = RipleyConfig::new();
        config.neighbors = n;
        config.validate()
    };
    let ripley = RipleyConfig::new;
    let sepal = || SepalConfig::new(Lattice::Square);
    let steps = |n| ripley().with_steps(n).validate();
    let locations = |n| ripley().with_locations(n).validate();
    let simulations = |n| ripley().with_simulations(n).validate();
    let pivots = |n| BetweennessConfig::new().with_pivots(n).validate();
    let iterations = |n| sepal().with_iterations(n).validate();
    let permuted = |n| PermutationConfig::new(n).validate();
    let local = |n| LocalConfig::new().with_permutations(n).validate();
    let enrichment = |n| EnrichmentConfig::new().with_permutations(n).validate();
    let comparison = |n| ComparisonConfig::new().with_permutations(n).validate();
    let most = u32::MAX as usize - 1;
    type Rule<'a> = (
        &'a str,
        usize,
        usize,
        &'a dyn Fn(usize) -> Result<(), ConfigError>,
    );
    let rules: [Rule<'_>; 11] = [
        ("steps", 2, most, &steps),
        ("locations", 1, usize::MAX, &locations),
        ("neighbors", 1, usize::MAX, &neighbors),
        ("simulations", 0, most, &simulations),
        ("pivots", 1, usize::MAX, &pivots),
        ("iterations", 1, usize::MAX, &iterations),
        ("permutations", 1, most, &permuted),
        ("permutations", 0, most, &local),
        ("permutations", 1, most, &enrichment),
        ("permutations", 1, most, &comparison),
        ("max_obs", 1, usize::MAX, &|n| {
            let config = SubunitConfig::new(1.0).with_min_obs(0);
            config.with_max_obs(Some(n)).validate()
        }),
    ];
    for (name, least, most, validate) in rules {
        assert_eq!(validate(least), Ok(()), "{name}");
        assert_eq!(validate(most), Ok(()), "{name}");
        let beyond = [least.checked_sub(1), most.checked_add(1)];
        for beyond in beyond.into_iter().flatten() {
            let text = refusal(validate(beyond));
            assert!(text.starts_with(&format!("`{name}` ")), "{text}");
        }
    }
}

#[test]
fn lengths_and_rates_are_finite_and_above_zero() {
    let max_distance = |x| RipleyConfig::new().with_max_distance(x).validate();
    let threshold = |x| {
        SepalConfig::new(Lattice::Hexagonal)
            .with_threshold(x)
            .validate()
    };
    let time_step = |x| {
        SepalConfig::new(Lattice::Hexagonal)
            .with_time_step(x)
            .validate()
    };
    let size = |x| SubunitConfig::new(x).validate();
    let rate = |x| {
        StatisticsConfig::new([1.0])
            .with_discovery_rate(x)
            .validate()
    };
    type Rule<'a> = (&'a str, &'a dyn Fn(f64) -> Result<(), ConfigError>);
    let rules: [Rule<'_>; 5] = [
        ("max_distance", &max_distance),
        ("threshold", &threshold),
        ("time_step", &time_step),
        ("size", &size),
        ("discovery_rate", &rate),
    ];
    for (name, validate) in rules {
        assert_eq!(validate(f64::MIN_POSITIVE), Ok(()), "{name}");
        for x in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            let text = refusal(validate(x));
            assert_eq!(
                text,
                format!("`{name}` is {x}, expected a finite number > 0")
            );
        }
    }
    assert_eq!(rate(1.0), Ok(()));
    let text = refusal(rate(1.0 + f64::EPSILON));
    assert!(text.ends_with("expected at most 1"), "{text}");
}

#[test]
fn no_cell_of_a_subunit_is_required_that_may_not_be_kept() {
    let bounds = |least, most| {
        let config = SubunitConfig::new(1.0).with_min_obs(least);
        config.with_max_obs(Some(most)).validate()
    };
    assert_eq!(bounds(2, 2), Ok(()));
    assert_eq!(
        refusal(bounds(3, 2)),
        "`min_obs` is 3, more than `max_obs`, which is 2"
    );
}
