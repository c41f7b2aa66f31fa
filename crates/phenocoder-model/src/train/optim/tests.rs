use candle_core::{DType, Device};

use super::*;
use crate::Role;

fn one(value: f32) -> Parameters {
    let mut parameters = Parameters::new();
    let tensor = Tensor::new(&[value], &Device::Cpu).unwrap();
    parameters.insert("w", Role::Weight, &tensor).unwrap();
    parameters
}

fn run(optimizer: &mut dyn Optimizer, parameters: &Parameters, gradients: &[f32]) -> f32 {
    for &g in gradients {
        let gradient = Tensor::new(&[g], &Device::Cpu).unwrap();
        let gradients = Gradients::from([("w".to_owned(), gradient)]);
        optimizer.step(parameters, &gradients, 0.1).unwrap();
    }
    parameters.get("w").unwrap().to_vec1::<f32>().unwrap()[0]
}

/// Every optimizer in every form that keeps other state or does other arithmetic.
fn all() -> Vec<OptimizerConfig> {
    let all = DecayScope::All;
    vec![
        SgdConfig::plain().into(),
        SgdConfig::new()
            .with_weight_decay(0.1)
            .with_decay_scope(all)
            .into(),
        SgdConfig::new()
            .with_nesterov(false)
            .with_dampening(0.2)
            .into(),
        AdamConfig::new().into(),
        AdamConfig::torch()
            .with_weight_decay(0.1)
            .with_decay_scope(all)
            .into(),
        AdamWConfig::new().with_decay_scope(all).into(),
        AdamWConfig::keras().with_decay_scope(all).into(),
        RmsPropConfig::new().into(),
        RmsPropConfig::new().with_momentum(0.5).into(),
        RmsPropConfig::torch()
            .with_momentum(0.5)
            .with_weight_decay(0.1)
            .into(),
        RmsPropConfig::tensorflow().into(),
        LambConfig::new().with_decay_scope(all).into(),
        LambConfig::lambc()
            .with_decoupled_decay(true)
            .with_decay_scope(all)
            .into(),
        LambConfig::new()
            .with_max_grad_norm(None)
            .with_always_adapt(true)
            .into(),
    ]
}

#[test]
fn steps_of_adam_follow_the_formula() {
    let (mut m, mut v, mut w) = (0.0_f64, 0.0_f64, 1.0_f64);
    let gradients = [0.5_f32, -2.0, 3.0, 1e-4];
    for (t, &g) in gradients.iter().enumerate() {
        let (g, t) = (f64::from(g), t as i32 + 1);
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        let rate = 0.1 * (1.0 - 0.999_f64.powi(t)).sqrt() / (1.0 - 0.9_f64.powi(t));
        w -= rate * m / (v.sqrt() + 1e-7);
    }
    let found = run(&mut Adam::default(), &one(1.0), &gradients);
    assert!((f64::from(found) - w).abs() < 1e-6, "{found} {w}");
}

#[test]
fn steps_of_sgd_follow_the_formula() {
    let gradients = [0.5_f32, -2.0, 3.0];
    for config in [
        SgdConfig::plain(),
        SgdConfig::new(),
        SgdConfig::new().with_nesterov(false).with_dampening(0.25),
        SgdConfig::new()
            .with_weight_decay(0.1)
            .with_decay_scope(DecayScope::All),
    ] {
        let (mut kept, mut w) = (None, 1.0_f64);
        for &g in &gradients {
            let decayed = f64::from(g) + config.weight_decay * w;
            let now = match kept {
                None => decayed,
                Some(kept) => config.momentum * kept + (1.0 - config.dampening) * decayed,
            };
            kept = Some(now);
            w -= 0.1
                * if config.nesterov {
                    decayed + config.momentum * now
                } else if config.momentum > 0.0 {
                    now
                } else {
                    decayed
                };
        }
        let found = run(&mut Sgd::new(config), &one(1.0), &gradients);
        assert!(
            (f64::from(found) - w).abs() < 1e-6,
            "{config:?}: {found} {w}"
        );
    }
}

#[test]
fn the_forms_of_rmsprop_differ_in_start_root_and_rate() {
    let gradients = [0.5_f32, -2.0, 3.0];
    for config in [
        RmsPropConfig::new().with_momentum(0.5),
        RmsPropConfig::torch().with_momentum(0.5).with_epsilon(0.1),
        RmsPropConfig::tensorflow().with_epsilon(0.1),
        RmsPropConfig::tensorflow().with_momentum(0.0),
    ] {
        let inside = config.form == RmsPropForm::Tensorflow;
        let (mut a, mut kept, mut w) = (if inside { 1.0 } else { 0.0 }, 0.0, 1.0);
        for &g in &gradients {
            let g = f64::from(g);
            a = config.rho * a + (1.0 - config.rho) * g * g;
            let root: f64 = match inside {
                true => f64::sqrt(a + config.epsilon),
                false => f64::sqrt(a) + config.epsilon,
            };
            kept = config.momentum * kept + g / root;
            // The rate is constant here, so it may stand before or after the momentum.
            w -= 0.1 * kept;
        }
        let found = run(&mut RmsProp::new(config), &one(1.0), &gradients);
        assert!(
            (f64::from(found) - w).abs() < 1e-6,
            "{config:?}: {found} {w}"
        );
    }
}

#[test]
fn the_rate_of_keras_rmsprop_enters_its_momentum() {
    let step = |config, rates: [f64; 2]| {
        let parameters = one(0.0);
        let mut optimizer = RmsProp::new(config);
        for rate in rates {
            let gradient = Tensor::new(&[1.0_f32], &Device::Cpu).unwrap();
            let gradients = Gradients::from([("w".to_owned(), gradient)]);
            optimizer.step(&parameters, &gradients, rate).unwrap();
        }
        parameters.get("w").unwrap().to_vec1::<f32>().unwrap()[0]
    };
    // With a second rate of 0 Keras still moves by the kept step, torch does not move.
    let config = RmsPropConfig::new().with_rho(0.75).with_momentum(0.5);
    let first = -0.1 / 0.5;
    assert!((step(config, [0.1, 0.0]) - 1.5 * first).abs() < 1e-6);
    let torch = config.with_form(RmsPropForm::Torch);
    assert!((step(torch, [0.1, 0.0]) - first).abs() < 1e-6);
}

#[test]
fn restored_optimizers_continue_to_the_bit() {
    for config in all() {
        let mut whole = config.build().unwrap();
        let straight = run(&mut *whole, &one(1.0), &[1.0, 2.0, -3.0, 4.0]);
        let parameters = one(1.0);
        let mut first = config.build().unwrap();
        run(&mut *first, &parameters, &[1.0, 2.0]);
        let mut second = config.build().unwrap();
        second.restore(&first.state().unwrap()).unwrap();
        assert_eq!(second.steps(), 2);
        let resumed = run(&mut *second, &parameters, &[-3.0, 4.0]);
        assert_eq!(straight.to_bits(), resumed.to_bits(), "{config:?}");
        assert!(second.restore(&BTreeMap::new()).is_err());
        let same = |a: &dyn Optimizer, b: &dyn Optimizer| {
            let flat = |o: &dyn Optimizer| {
                let values = |(k, t): (String, Tensor)| (k, t.to_vec1::<f32>().unwrap());
                o.state()
                    .unwrap()
                    .into_iter()
                    .map(values)
                    .collect::<Vec<_>>()
            };
            flat(a) == flat(b)
        };
        assert!(same(&*whole, &*second), "{config:?}");
    }
}

#[test]
fn a_saved_state_does_not_change_with_the_optimizer() {
    let parameters = one(1.0);
    let mut adam = Adam::default();
    run(&mut adam, &parameters, &[1.0]);
    let state = adam.state().unwrap();
    let before = state["w.m"].to_vec1::<f32>().unwrap();
    run(&mut adam, &parameters, &[5.0]);
    assert_eq!(state["w.m"].to_vec1::<f32>().unwrap(), before);
}

#[test]
fn the_state_of_another_optimizer_is_refused() {
    let mut adam = Adam::default();
    run(&mut adam, &one(1.0), &[1.0]);
    let mut sgd = Sgd::default();
    let error = sgd.restore(&adam.state().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "array `w.m`: this optimizer has no such state"
    );
    let mut half = adam.state().unwrap();
    half.remove("w.v");
    let error = Adam::default().restore(&half).unwrap_err();
    assert_eq!(error.to_string(), "array `w.v`: missing");
}

#[test]
fn a_state_or_gradient_of_other_weights_is_refused_and_changes_nothing() {
    let mut adam = Adam::default();
    run(&mut adam, &one(1.0), &[1.0]);
    let two = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu).unwrap();
    let mut parameters = Parameters::new();
    parameters.insert("a", Role::Weight, &two).unwrap();
    parameters.insert("w", Role::Weight, &two).unwrap();
    let gradients = Gradients::from([("a".to_owned(), two.clone()), ("w".to_owned(), two.clone())]);
    let error = adam.step(&parameters, &gradients, 0.1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "array `w`: expected a state F32 [2], found F32 [1]"
    );
    assert_eq!(adam.steps(), 1);
    assert_eq!(
        parameters.get("a").unwrap().to_vec1::<f32>().unwrap(),
        [1.0, 2.0]
    );
    let wide = Gradients::from([("w".to_owned(), two.to_dtype(DType::F64).unwrap())]);
    let error = Adam::default().step(&parameters, &wide, 0.1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "array `w`: expected a gradient F32 [2], found F64 [2]"
    );
}

#[test]
fn buffers_and_weights_without_gradient_stay() {
    let one = Tensor::new(&[1.0_f32], &Device::Cpu).unwrap();
    let mut parameters = Parameters::new();
    parameters.insert("buffer", Role::Buffer, &one).unwrap();
    parameters.insert("frozen", Role::Weight, &one).unwrap();
    parameters.insert("w", Role::Weight, &one).unwrap();
    let gradients = ["buffer", "w"].map(|name| (name.to_owned(), one.clone()));
    let gradients = Gradients::from(gradients);
    for config in all() {
        let mut optimizer = config.build().unwrap();
        optimizer.step(&parameters, &gradients, 0.1).unwrap();
    }
    let value = |name| parameters.get(name).unwrap().to_vec1::<f32>().unwrap()[0];
    assert_eq!((value("buffer"), value("frozen")), (1.0, 1.0));
    assert_ne!(value("w"), 1.0);
}

#[test]
fn biases_do_not_decay_unless_asked() {
    let mut parameters = Parameters::new();
    let bias = Tensor::new(&[1.0_f32], &Device::Cpu).unwrap();
    let kernel = Tensor::new(&[[1.0_f32]], &Device::Cpu).unwrap();
    parameters.insert("bias", Role::Weight, &bias).unwrap();
    parameters.insert("kernel", Role::Weight, &kernel).unwrap();
    let none = parameters
        .weights()
        .map(|(name, w)| (name.to_owned(), w.zeros_like().unwrap()));
    let none: Gradients = none.collect();
    AdamW::default().step(&parameters, &none, 0.5).unwrap();
    let value = |name: &str| {
        let flat = parameters.get(name).unwrap().flatten_all().unwrap();
        flat.to_vec1::<f32>().unwrap()[0]
    };
    assert_eq!((value("bias"), value("kernel")), (1.0, 0.995));
    let all = AdamWConfig::new().with_decay_scope(DecayScope::All);
    AdamW::new(all).step(&parameters, &none, 0.5).unwrap();
    assert_eq!(value("bias"), 0.995);
}

#[test]
fn weights_have_the_same_bits_on_any_number_of_threads() {
    let n = 3 * (CHUNK + 1001);
    let wave = |phase: f32| {
        let values = (0..n).map(|i| (i as f32 * 0.37 + phase).sin());
        Tensor::from_vec(values.collect::<Vec<_>>(), (n / 3, 3), &Device::Cpu).unwrap()
    };
    for config in all() {
        let train = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let mut parameters = Parameters::new();
                parameters.insert("w", Role::Weight, &wave(0.0)).unwrap();
                let mut optimizer = config.build().unwrap();
                for step in 1..4 {
                    // A gradient that is not contiguous, as a matrix product may leave it.
                    let gradient = wave(step as f32).t().unwrap().contiguous().unwrap();
                    let gradient = gradient.t().unwrap();
                    let gradients = Gradients::from([("w".to_owned(), gradient)]);
                    optimizer.step(&parameters, &gradients, 0.01).unwrap();
                }
                let weight = parameters.get("w").unwrap().flatten_all().unwrap();
                weight.to_vec1::<f32>().unwrap()
            })
        };
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert!(bits(train(1)) == bits(train(4)), "{config:?}");
    }
}

/// The rules for other devices run in CPU memory too, where they can be compared.
#[test]
fn both_forms_of_every_rule_agree() {
    use rule::Rule;
    fn check<const N: usize>(rule: &impl Rule<N>, w: &Tensor, g: &Tensor, state: [Tensor; N]) {
        let flat = |t: &Tensor| t.to_vec1::<f64>().unwrap();
        let (mut weight, gradient) = (flat(w), flat(g));
        let mut arrays = state.each_ref().map(flat);
        let sums = rule.slices(
            &mut weight,
            &gradient,
            arrays.each_mut().map(|a| &mut a[..]),
        );
        let changed = rule.tensors(w, g, state.each_ref()).unwrap();
        let close = |a: &[f64], b: &[f64], bound: f64| {
            assert!(
                a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound),
                "{a:?} {b:?}"
            );
        };
        close(&weight, &flat(changed.weight.as_ref().unwrap_or(w)), 1e-12);
        for (slices, tensor) in arrays.iter().zip(&changed.state) {
            close(slices, &flat(tensor), 1e-12);
        }
        close(&sums, &changed.sums, 1e-6);
    }
    let tensor = |values: [f64; 3]| Tensor::new(&values, &Device::Cpu).unwrap();
    let (w, g) = (tensor([0.5, -1.2, 0.3]), tensor([0.9, -0.4, 1.1]));
    let (m, v) = (tensor([0.1, 0.2, -0.3]), tensor([0.04, 0.01, 0.25]));
    adam::tests::rules()
        .iter()
        .for_each(|rule| check(rule, &w, &g, [m.clone(), v.clone()]));
    for rule in sgd::tests::rules() {
        check::<0>(&rule, &w, &g, []);
        check::<1>(&rule, &w, &g, [m.clone()]);
    }
    for rule in rmsprop::tests::rules() {
        check::<1>(&rule, &w, &g, [v.clone()]);
        check::<2>(&rule, &w, &g, [v.clone(), m.clone()]);
    }
    let (moments, descend) = lamb::tests::rules();
    check(&moments, &w, &g, [m.clone(), v.clone()]);
    check(&descend, &w, &g, [m.clone(), v.clone()]);
}

#[test]
fn constants_out_of_range_are_refused() {
    let wrong: [OptimizerConfig; 14] = [
        AdamConfig::new().with_beta_1(1.0).into(),
        AdamConfig::new().with_beta_2(-0.1).into(),
        AdamConfig::new().with_epsilon(0.0).into(),
        AdamConfig::new().with_weight_decay(-1.0).into(),
        AdamWConfig::new().with_beta_1(f64::NAN).into(),
        AdamWConfig::new().with_weight_decay(f64::INFINITY).into(),
        SgdConfig::new().with_momentum(1.0).into(),
        SgdConfig::new().with_momentum(0.0).into(),
        SgdConfig::new().with_dampening(0.1).into(),
        RmsPropConfig::new().with_rho(1.5).into(),
        RmsPropConfig::new().with_epsilon(-1.0).into(),
        RmsPropConfig::new().with_momentum(-0.5).into(),
        LambConfig::new().with_max_grad_norm(Some(0.0)).into(),
        LambConfig::new().with_epsilon(f64::NAN).into(),
    ];
    for config in wrong {
        assert!(config.validate().is_err(), "{config:?}");
        assert!(config.build().is_err(), "{config:?}");
    }
    for config in all() {
        config.validate().unwrap();
    }
}

#[test]
fn settings_survive_json_and_misspelt_ones_do_not() {
    for config in all() {
        let text = serde_json::to_string(&config).unwrap();
        let read: OptimizerConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(read, config, "{text}");
    }
    let read = serde_json::from_str::<OptimizerConfig>;
    assert_eq!(
        read(r#"{"kind": "adamw"}"#).unwrap(),
        AdamWConfig::new().into()
    );
    assert!(read(r#"{"kind": "adamw", "wieght_decay": 0.1}"#).is_err());
    assert!(read(r#"{"kind": "adamx"}"#).is_err());
}
