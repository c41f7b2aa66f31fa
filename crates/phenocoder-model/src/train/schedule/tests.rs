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
