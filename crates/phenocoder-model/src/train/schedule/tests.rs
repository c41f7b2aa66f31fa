use proptest::prelude::*;

use super::*;

fn rates(config: impl Into<ScheduleConfig>, base: f64, epochs: usize) -> Vec<f64> {
    let schedule = config.into().build(base, epochs).unwrap();
    (0..epochs)
        .map(|epoch| schedule.rate(epoch, 0, 1))
        .collect()
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!(
            (f - e).abs() <= 1e-12 * e.abs().max(1e-3),
            "{found:?} {expected:?}"
        );
    }
}

#[test]
fn a_constant_rate_stays() {
    assert_eq!(rates(ScheduleConfig::Constant, 0.1, 3), [0.1; 3]);
}

#[test]
fn milestones_are_reached_when_their_epochs_are_done_or_one_before() {
    let config = MultiStepConfig::new([2, 4]).with_factor(0.5);
    assert_eq!(
        rates(config.clone(), 1.0, 6),
        [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    );
    let timm = config.with_rule(MilestoneRule::Timm);
    assert_eq!(
        rates(timm.clone(), 1.0, 6),
        [1.0, 0.5, 0.5, 0.25, 0.25, 0.25]
    );
    // Counted in updates, one before is one update before.
    let by_update = ScheduleConfig::from(timm.with_unit(ScheduleUnit::Update));
    let schedule = by_update.build(1.0, 6).unwrap();
    assert_eq!(schedule.rate(1, 18, 10), 1.0);
    assert_eq!(schedule.rate(1, 19, 10), 0.5);
}

#[test]
fn a_curve_without_length_fills_the_training() {
    let warm_up = WarmUpConfig::new(2, 0.0).with_prefix(true);
    let config = CosineConfig::new().with_warm_up(warm_up).with_cool_down(2);
    let half = f64::sqrt(0.5) / 2.0 + 0.5;
    close(
        &rates(config.clone(), 1.0, 8),
        &[0.0, 0.5, 1.0, half, 0.5, 1.0 - half, 0.0, 0.0],
    );
    assert_eq!(config.total_epochs(), None);
    assert_eq!(config.with_epochs(4).total_epochs(), Some(8));
    let cycles = CosineConfig::new().with_cycle(CycleConfig::new(2));
    close(&rates(cycles, 1.0, 4), &[1.0, 0.5, 1.0, 0.5]);
    let growing = CycleConfig::new(2).with_multiplier(3.0);
    let config = CosineConfig::new().with_cycle(growing).with_epochs(2);
    assert_eq!(config.total_epochs(), Some(8));
}

#[test]
fn warm_up_and_cool_down_leave_an_epoch_for_the_cycle() {
    let warm_up = WarmUpConfig::new(5, 0.0).with_prefix(true);
    let config = ScheduleConfig::from(CosineConfig::new().with_warm_up(warm_up));
    assert!(config.build(1.0, 6).is_ok());
    let error = config.build(1.0, 5).err().unwrap();
    let expected = "`epochs` is 5, expected more than its warm-up and cool-down take";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn rates_by_update_pass_through_those_by_epoch() {
    let config = PolyConfig::new().with_warm_up(WarmUpConfig::new(2, 0.1));
    let by_epoch = ScheduleConfig::from(config.clone()).build(1.0, 8).unwrap();
    let by_update = ScheduleConfig::from(config.with_unit(ScheduleUnit::Update));
    let by_update = by_update.build(1.0, 8).unwrap();
    for epoch in 0..8 {
        let update = epoch as u64 * 5;
        let (a, b) = (
            by_epoch.rate(epoch, update, 5),
            by_update.rate(epoch, update, 5),
        );
        assert!((a - b).abs() < 1e-12);
    }
    assert!(by_update.rate(0, 3, 5) > by_update.rate(0, 2, 5));
}

#[test]
fn the_time_within_a_cycle_is_never_before_its_start() {
    for multiplier in [1.0, 1.1] {
        let cycle = CycleConfig::new(7).with_multiplier(multiplier);
        let config = CosineConfig::new()
            .with_cycle(cycle)
            .with_k_decay(1.5)
            .with_unit(ScheduleUnit::Update);
        let schedule = ScheduleConfig::from(config).build(1e-3, 9).unwrap();
        for update in 0..80 {
            let rate = schedule.rate(0, update, 7);
            assert!(
                (0.0..=1e-3).contains(&rate),
                "{multiplier}, {update}: {rate}"
            );
        }
    }
}

#[test]
fn lengths_and_rates_out_of_range_are_refused() {
    let growing = CycleConfig::new(2000).with_multiplier(2.0);
    let cosine = ScheduleConfig::from(CosineConfig::new().with_cycle(growing));
    let error = cosine.build(1.0, 10).err().unwrap().to_string();
    assert!(error.contains("cycle.multiplier"), "{error}");
    let endless = ScheduleConfig::from(CosineConfig::new().with_cool_down(usize::MAX));
    let error = endless.build(1.0, 10).err().unwrap().to_string();
    assert!(error.contains("epochs"), "{error}");
    let tiny = OneCycleConfig::new()
        .with_div_factor(1e-300)
        .with_final_div_factor(1e-300);
    let error = ScheduleConfig::from(tiny).build(1.0, 10).err().unwrap();
    assert!(error.to_string().contains("final_div_factor"), "{error}");
}

/// Any warm-up, cycles and unit.
fn shared() -> impl Strategy<Value = (WarmUpConfig, CycleConfig, ScheduleUnit, Option<usize>)> {
    let warm_up = (0..6_usize, 0.0..1.0, any::<bool>())
        .prop_map(|(epochs, rate, prefix)| WarmUpConfig::new(epochs, rate).with_prefix(prefix));
    let multiplier = prop_oneof![Just(1.0), Just(1.0 + f64::EPSILON), 1.0..3.0];
    let cycle = (1..9_usize, multiplier, 1e-3..=1.0).prop_map(|(limit, multiplier, decay)| {
        CycleConfig::new(limit)
            .with_multiplier(multiplier)
            .with_decay(decay)
    });
    let unit = prop_oneof![Just(ScheduleUnit::Epoch), Just(ScheduleUnit::Update)];
    let epochs = prop_oneof![Just(None), (1..15_usize).prop_map(Some)];
    (warm_up, cycle, unit, epochs)
}

fn any_schedule() -> impl Strategy<Value = ScheduleConfig> {
    let k = || prop_oneof![Just(1.0), 0.05..400.0];
    let min = || prop_oneof![Just(0.0), 0.0..2.0];
    prop_oneof![
        (shared(), k(), min()).prop_map(|((warm_up, cycle, unit, epochs), k_decay, min_rate)| {
            CosineConfig {
                epochs,
                min_rate,
                k_decay,
                warm_up,
                cool_down: 1,
                cycle,
                unit,
            }
            .into()
        }),
        (shared(), k(), min(), 0.01..50.0).prop_map(
            |((warm_up, cycle, unit, epochs), k_decay, min_rate, power)| {
                let cool_down = 0;
                PolyConfig {
                    epochs,
                    min_rate,
                    power,
                    k_decay,
                    warm_up,
                    cool_down,
                    cycle,
                    unit,
                }
                .into()
            }
        ),
        (shared(), min(), -50.0..0.0, 0.1..50.0).prop_map(
            |((warm_up, cycle, unit, epochs), min_rate, lower, upper)| {
                let cool_down = 0;
                TanhConfig {
                    epochs,
                    min_rate,
                    lower,
                    upper,
                    warm_up,
                    cool_down,
                    cycle,
                    unit,
                }
                .into()
            }
        ),
        (
            0.0..=0.5,
            0.1..100.0,
            0.1..1e5,
            any::<bool>(),
            any::<bool>()
        )
            .prop_map(
                |(start_fraction, div_factor, final_div_factor, three_phase, cosine)| {
                    let annealing = match cosine {
                        true => Annealing::Cosine,
                        false => Annealing::Linear,
                    };
                    OneCycleConfig {
                        start_fraction,
                        div_factor,
                        final_div_factor,
                        annealing,
                        three_phase,
                    }
                    .into()
                }
            ),
        (shared(), 1..9_usize, 0.01..=1.0).prop_map(|((warm_up, _, unit, _), every, factor)| {
            StepConfig {
                every,
                factor,
                warm_up,
                unit,
            }
            .into()
        }),
    ]
}

proptest! {
    #[test]
    fn every_rate_is_a_finite_number_of_at_least_zero(
        config in any_schedule(),
        epochs in 7..20_usize,
        per_epoch in 1..12_u64,
        base in prop_oneof![Just(1e-3), 1e-9..10.0],
    ) {
        let schedule = config.build(base, epochs).unwrap();
        // Some updates past the end too.
        for update in 0..(epochs as u64 + 3) * per_epoch {
            let rate = schedule.rate((update / per_epoch) as usize, update, per_epoch);
            prop_assert!(rate.is_finite() && rate >= 0.0, "update {update}: {rate}");
        }
    }
}

#[test]
fn the_names_of_timm_and_torch_are_read() {
    let read = |text: &str| serde_json::from_str::<ScheduleConfig>(text).unwrap();
    let warm_up = WarmUpConfig::new(5, 1e-6).with_prefix(true);
    let timm = r#""warm_up": {"warmup_t": 5, "warmup_lr_init": 1e-6, "warmup_prefix": true},
        "cycle": {"cycle_limit": 2, "cycle_mul": 1.5, "cycle_decay": 0.5}, "t_initial": 40, "lr_min": 1e-5"#;
    let cycle = CycleConfig::new(2).with_multiplier(1.5).with_decay(0.5);
    let cosine = CosineConfig::new()
        .with_epochs(40)
        .with_min_rate(1e-5)
        .with_warm_up(warm_up)
        .with_cycle(cycle);
    assert_eq!(
        read(&format!(
            r#"{{"kind": "cosine", {timm}, "k_decay": 2.0, "cooldown_epochs": 3}}"#
        )),
        cosine.with_k_decay(2.0).with_cool_down(3).into()
    );
    let poly = PolyConfig::new().with_epochs(40).with_min_rate(1e-5);
    let poly = poly.with_warm_up(warm_up).with_cycle(cycle).with_power(2.0);
    let text = format!(r#"{{"kind": "poly", {timm}, "decay_rate": 2.0}}"#);
    assert_eq!(read(&text), poly.into());
    let tanh = TanhConfig::new().with_epochs(40).with_min_rate(1e-5);
    let tanh = tanh.with_warm_up(warm_up).with_cycle(cycle);
    assert_eq!(
        read(&format!(
            r#"{{"kind": "tanh", {timm}, "lb": -6.0, "ub": 4.0}}"#
        )),
        tanh.with_lower(-6.0).with_upper(4.0).into()
    );
    let others: [(&str, ScheduleConfig); 6] = [
        (
            r#"{"kind": "step", "decay_t": 7, "decay_rate": 0.3}"#,
            StepConfig::new(7).with_factor(0.3).into(),
        ),
        (
            r#"{"kind": "step", "step_size": 7, "gamma": 0.3}"#,
            StepConfig::new(7).with_factor(0.3).into(),
        ),
        (
            r#"{"kind": "multistep", "milestones": [3, 5], "gamma": 0.3}"#,
            MultiStepConfig::new([3, 5]).with_factor(0.3).into(),
        ),
        (
            r#"{"kind": "cosine", "T_max": 7, "eta_min": 1e-5}"#,
            CosineConfig::new()
                .with_epochs(7)
                .with_min_rate(1e-5)
                .into(),
        ),
        (
            r#"{"kind": "one_cycle", "pct_start": 0.2, "anneal_strategy": "linear"}"#,
            OneCycleConfig::new()
                .with_start_fraction(0.2)
                .with_annealing(Annealing::Linear)
                .into(),
        ),
        (
            r#"{"kind": "plateau", "min_lr": 1e-6}"#,
            PlateauConfig::new().with_min_learning_rate(1e-6).into(),
        ),
    ];
    for (text, config) in others {
        assert_eq!(read(text), config, "{text}");
    }
    let twice = r#"{"kind": "cosine", "lr_min": 1e-5, "min_rate": 1e-5}"#;
    assert!(serde_json::from_str::<ScheduleConfig>(twice).is_err());
}

#[test]
fn one_cycle_has_torchs_phases() {
    let n = 20_u64;
    let run = |config: OneCycleConfig| {
        let schedule = ScheduleConfig::from(config).build(1.0, 2).unwrap();
        (0..n + 2)
            .map(|u| schedule.rate(0, u, n / 2))
            .collect::<Vec<f64>>()
    };
    let linear = OneCycleConfig::new()
        .with_annealing(Annealing::Linear)
        .with_div_factor(5.0);
    let two = run(linear.clone().with_final_div_factor(2.0));
    // Rises from 0.2 in updates 0 to 5, falls to 0.1 in updates 5 to 19, and stays.
    for (update, &rate) in two.iter().enumerate() {
        let u = update as f64;
        let expected = match update {
            0..=5 => 0.2 + 0.8 * u / 5.0,
            6..=19 => 1.0 - 0.9 * (u - 5.0) / 14.0,
            _ => 0.1,
        };
        assert!(
            (rate - expected).abs() < 1e-12,
            "{update}: {rate} {expected}"
        );
    }
    let three = run(linear.with_three_phase(true).with_final_div_factor(2.0));
    for (update, expected) in [(5, 1.0), (10, 0.2), (19, 0.1)] {
        assert!((three[update] - expected).abs() < 1e-12, "{three:?}");
    }
    let cosine = run(OneCycleConfig::new());
    assert!((cosine[0] - 0.04).abs() < 1e-12 && (cosine[19] - 4e-6).abs() < 1e-12);
    assert!(
        (cosine[12] - (4e-6 + (1.0 - 4e-6) / 2.0)).abs() < 1e-12,
        "the middle of the fall"
    );
    // A training too short for a rise starts at its top.
    let short = ScheduleConfig::from(OneCycleConfig::new())
        .build(1.0, 1)
        .unwrap();
    assert!((0..3).all(|u| short.rate(0, u, 3).is_finite()));
}

#[test]
fn a_restored_plateau_continues() {
    let config = ScheduleConfig::from(PlateauConfig::new().with_patience(2).with_cooldown(1));
    let mut straight = config.build(1.0, 10).unwrap();
    let mut resumed = config.build(1.0, 10).unwrap();
    for (epoch, loss) in [3.0, 3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0]
        .into_iter()
        .enumerate()
    {
        straight.observe(loss);
        resumed.observe(loss);
        let text = resumed.state().to_string();
        resumed = config.build(1.0, 10).unwrap();
        resumed
            .restore(&serde_json::from_str(&text).unwrap())
            .unwrap();
        assert_eq!(straight.rate(epoch, 0, 1), resumed.rate(epoch, 0, 1));
    }
    assert!(straight.rate(8, 0, 1) < 0.1);
}

#[test]
fn states_of_other_schedules_are_refused() {
    let mut constant = ScheduleConfig::Constant.build(1.0, 1).unwrap();
    constant.restore(&constant.state()).unwrap();
    let mut plateau = ScheduleConfig::default().build(1.0, 1).unwrap();
    assert!(constant.restore(&plateau.state()).is_err());
    assert!(plateau.restore(&constant.state()).is_err());
}

#[test]
fn settings_out_of_range_are_refused() {
    let wrong: [ScheduleConfig; 14] = [
        StepConfig::new(0).into(),
        StepConfig::new(1).with_factor(0.0).into(),
        StepConfig::new(1)
            .with_warm_up(WarmUpConfig::new(1, -1.0))
            .into(),
        MultiStepConfig::new([3, 3]).into(),
        MultiStepConfig::new([1]).with_factor(1.5).into(),
        CosineConfig::new().with_epochs(0).into(),
        CosineConfig::new().with_min_rate(f64::NAN).into(),
        CosineConfig::new().with_k_decay(0.0).into(),
        CosineConfig::new().with_cycle(CycleConfig::new(0)).into(),
        CosineConfig::new()
            .with_cycle(CycleConfig::new(1).with_multiplier(0.5))
            .into(),
        PolyConfig::new().with_power(-1.0).into(),
        TanhConfig::new().with_lower(3.0).into(),
        OneCycleConfig::new().with_start_fraction(1.5).into(),
        OneCycleConfig::new().with_div_factor(0.0).into(),
    ];
    for config in wrong {
        assert!(config.validate().is_err(), "{config:?}");
        assert!(config.build(1.0, 10).is_err(), "{config:?}");
    }
    assert!(ScheduleConfig::Constant.build(0.0, 10).is_err());
    assert!(ScheduleConfig::Constant.build(1.0, 0).is_err());
}

#[test]
fn settings_survive_json_and_misspelt_ones_do_not() {
    let configs: [ScheduleConfig; 8] = [
        ScheduleConfig::Constant,
        StepConfig::new(3).into(),
        MultiStepConfig::new([3, 4]).into(),
        CosineConfig::new()
            .with_warm_up(WarmUpConfig::new(5, 1e-6))
            .into(),
        PolyConfig::new().with_unit(ScheduleUnit::Update).into(),
        TanhConfig::new().into(),
        OneCycleConfig::new()
            .with_annealing(Annealing::Linear)
            .into(),
        ScheduleConfig::default(),
    ];
    for config in configs {
        let text = serde_json::to_string(&config).unwrap();
        let read: ScheduleConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(read, config, "{text}");
    }
    let read = serde_json::from_str::<ScheduleConfig>;
    assert_eq!(
        read(r#"{"kind": "multistep"}"#).unwrap(),
        MultiStepConfig::default().into()
    );
    assert!(read(r#"{"kind": "cosine", "t_inital": 3}"#).is_err());
}
