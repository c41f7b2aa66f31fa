//! Optimizers, clipping and schedules against values computed with the formulas of timm, torch and Keras.
//!
//! `f64` weights are compared at 1e-9 relative, `f32` weights at 1e-6 absolute.

use std::collections::BTreeMap;
use std::fs;

use candle_core::{DType, Device, Tensor};
use phenocoder_model::train::{
    AdamConfig, AdamWConfig, ClipConfig, CosineConfig, CycleConfig, DecayScope, LambConfig,
    MilestoneRule, MultiStepConfig, OptimizerConfig, PolyConfig, RmsPropConfig, ScheduleConfig,
    StepConfig, TanhConfig, WarmUpConfig, global_norm,
};
use phenocoder_model::{Error, Gradients, Parameters, Role};
use phenocoder_testdata::find;
use serde_json::Value;

use crate::support::numbers;

fn read(name: &str) -> Option<Value> {
    let path = find(&format!("parity/models/{name}"))?;
    Some(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
}

fn shape(value: &Value) -> Vec<usize> {
    match value {
        Value::Array(inner) => [vec![inner.len()], shape(&inner[0])].concat(),
        _ => Vec::new(),
    }
}

fn tensor(value: &Value, dtype: DType) -> Tensor {
    let tensor = Tensor::from_vec(numbers(value), shape(value), &Device::Cpu).unwrap();
    tensor.to_dtype(dtype).unwrap()
}

fn named(values: &[Value], dtype: DType) -> BTreeMap<String, Tensor> {
    let name = |i| format!("w{i}");
    (0..values.len())
        .map(|i| (name(i), tensor(&values[i], dtype)))
        .collect()
}

/// Steps with these gradients; the largest difference from the expected weights after each, over their tolerance.
fn largest_excess(
    config: impl Into<OptimizerConfig>,
    rate: f64,
    dtype: DType,
    start: &[Value],
    gradients: &[&[Value]],
    expected: &[&[Value]],
) -> f64 {
    let mut parameters = Parameters::new();
    for (name, value) in named(start, dtype) {
        parameters.insert(&name, Role::Weight, &value).unwrap();
    }
    let mut optimizer = config.into().build().unwrap();
    let mut largest = 0.0_f64;
    assert_eq!(gradients.len(), expected.len());
    for (&gradients, &expected) in gradients.iter().zip(expected) {
        let gradients: Gradients = named(gradients, dtype);
        optimizer.step(&parameters, &gradients, rate).unwrap();
        for (i, expected) in expected.iter().enumerate() {
            let found = parameters.get(&format!("w{i}")).unwrap();
            let found = found.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
            for (f, e) in found
                .to_vec1::<f64>()
                .unwrap()
                .into_iter()
                .zip(numbers(expected))
            {
                let tolerance = match dtype {
                    DType::F64 => 1e-9 * e.abs().max(1e-3),
                    _ => 1e-6,
                };
                let excess = (f - e).abs() / tolerance;
                assert!(!excess.is_nan());
                largest = largest.max(excess);
            }
        }
    }
    largest
}

const TYPES: [DType; 2] = [DType::F64, DType::F32];

fn rows(value: &Value) -> Vec<&[Value]> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v.as_array().unwrap()[..])
        .collect()
}

#[test]
fn lamb_follows_timm_in_all_variants() {
    let Some(golden) = read("lamb.json") else {
        return;
    };
    let start = golden["params0"].as_array().unwrap();
    let gradients = rows(&golden["grads"]);
    let variants = golden["variants"].as_object().unwrap();
    assert_eq!(variants.len(), 9);
    for (name, variant) in variants {
        let mut config = LambConfig::new().with_decay_scope(DecayScope::All);
        let mut rate = 1e-3;
        for (key, value) in variant["overrides"].as_object().unwrap() {
            config = match key.as_str() {
                "lr" => {
                    rate = value.as_f64().unwrap();
                    config
                }
                "wd" => config.with_weight_decay(value.as_f64().unwrap()),
                "clip" => config.with_trust_clip(value.as_bool().unwrap()),
                "always" => config.with_always_adapt(value.as_bool().unwrap()),
                "maxn" => config.with_max_grad_norm(value.as_f64()),
                "bias" => config.with_bias_correction(value.as_bool().unwrap()),
                "avg" => config.with_grad_averaging(value.as_bool().unwrap()),
                "decoupled" => config.with_decoupled_decay(value.as_bool().unwrap()),
                other => panic!("unknown setting {other}"),
            };
        }
        let steps = variant["steps"].as_array().unwrap();
        let expected: Vec<_> = steps
            .iter()
            .map(|s| &s["params"].as_array().unwrap()[..])
            .collect();
        for dtype in TYPES {
            let excess = largest_excess(config, rate, dtype, start, &gradients, &expected);
            println!("lamb {name} {dtype:?}: {excess:.1e} of the tolerance");
            assert!(excess <= 1.0, "{name} {dtype:?}: {excess}");
        }
    }
    let zero = &golden["zero_weight_tensor"]["steps"][0]["params"]
        .as_array()
        .unwrap()[..];
    let start = [serde_json::json!([0.0, 0.0])];
    let gradient = [serde_json::json!([0.3, -0.1])];
    let config = LambConfig::new().with_decay_scope(DecayScope::All);
    for dtype in TYPES {
        assert!(largest_excess(config, 1e-3, dtype, &start, &[&gradient], &[zero]) <= 1.0);
    }
}

#[test]
fn adam_and_adamw_follow_torch() {
    let (Some(golden), Some(lamb)) = (read("optim_misc.json"), read("lamb.json")) else {
        return;
    };
    let start = &lamb["params0"].as_array().unwrap()[..1];
    let gradients: Vec<_> = rows(&lamb["grads"]).into_iter().map(|g| &g[..1]).collect();
    let adamw = AdamWConfig::new()
        .with_weight_decay(1e-3)
        .with_decay_scope(DecayScope::All);
    let configs: [(&str, OptimizerConfig, f64); 2] = [
        ("adamw", adamw.into(), 1e-4),
        ("adam", AdamConfig::torch().into(), 1e-3),
    ];
    for (name, config, rate) in configs {
        let steps = golden[name]["params"].as_array().unwrap();
        let expected: Vec<_> = steps.iter().map(std::slice::from_ref).collect();
        for dtype in TYPES {
            let excess = largest_excess(config, rate, dtype, start, &gradients, &expected);
            println!("{name} {dtype:?}: {excess:.1e} of the tolerance");
            assert!(excess <= 1.0, "{name} {dtype:?}: {excess}");
        }
    }
}

#[test]
fn rmsprop_follows_keras() {
    let Some(golden) = read("mevae.json") else {
        return;
    };
    let golden = &golden["keras_rmsprop"];
    let start = [golden["param0"].clone()];
    let steps = golden["steps"].as_array().unwrap();
    let gradients: Vec<_> = steps
        .iter()
        .map(|s| std::slice::from_ref(&s["grad"]))
        .collect();
    let expected: Vec<_> = steps
        .iter()
        .map(|s| std::slice::from_ref(&s["param"]))
        .collect();
    let rate = golden["lr"].as_f64().unwrap();
    for dtype in TYPES {
        let config = RmsPropConfig::new();
        let excess = largest_excess(config, rate, dtype, &start, &gradients, &expected);
        println!("rmsprop {dtype:?}: {excess:.1e} of the tolerance");
        assert!(excess <= 1.0, "{dtype:?}: {excess}");
    }
}

#[test]
fn clipping_by_norm_follows_torch() {
    let (Some(golden), Some(lamb)) = (read("optim_misc.json"), read("lamb.json")) else {
        return;
    };
    let golden = &golden["clip_grad_norm_0_5"];
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-6)] {
        let mut gradients = named(lamb["grads"][0].as_array().unwrap(), dtype);
        let norm = ClipConfig::norm(0.5).clip(&mut gradients).unwrap().unwrap();
        assert!((norm - golden["total_norm"].as_f64().unwrap()).abs() < tolerance);
        for (i, gradient) in gradients.values().enumerate() {
            let found = gradient
                .to_dtype(DType::F64)
                .unwrap()
                .flatten_all()
                .unwrap();
            let expected = numbers(&golden["clipped"][i]);
            for (f, e) in found.to_vec1::<f64>().unwrap().into_iter().zip(expected) {
                assert!((f - e).abs() < tolerance, "{f} {e}");
            }
        }
    }
}

#[test]
fn a_small_norm_is_left_and_values_are_held_within_their_limit() {
    let gradient = Tensor::new(&[0.3_f32, -0.4], &Device::Cpu).unwrap();
    let gradients = || Gradients::from([("w".to_owned(), gradient.clone())]);
    let values = |g: &Gradients| g["w"].to_vec1::<f32>().unwrap();
    let mut kept = gradients();
    let norm = ClipConfig::norm(1.0).clip(&mut kept).unwrap().unwrap();
    assert!((norm - 0.5).abs() < 1e-7);
    assert_eq!(values(&kept), [0.3, -0.4]);
    let mut held = gradients();
    assert_eq!(ClipConfig::value(0.35).clip(&mut held).unwrap(), None);
    assert_eq!(values(&held), [0.3, -0.35]);
    for wrong in [ClipConfig::norm(0.0), ClipConfig::value(f64::NAN)] {
        assert!(wrong.validate().is_err());
    }
}

#[test]
fn finite_gradients_have_a_finite_norm_and_others_are_refused_by_name() {
    let of = |value: f32, dtype: DType| {
        let good = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu).unwrap();
        let large = Tensor::full(value, 4, &Device::Cpu).unwrap();
        let large = large.to_dtype(dtype).unwrap();
        Gradients::from([("a".to_owned(), good), ("b".to_owned(), large)])
    };
    // The squares have no `f32`; what is not in `f32` on the CPU is summed as on a GPU.
    for dtype in [DType::F32, DType::BF16] {
        let norm = global_norm(&of(1e30, dtype)).unwrap();
        assert!((norm / 2e30 - 1.0).abs() < 1e-2, "{norm}");
        let mut clipped = of(1e30, dtype);
        ClipConfig::norm(1.0).clip(&mut clipped).unwrap();
        let values = clipped["b"].to_dtype(DType::F32).unwrap();
        for value in values.to_vec1::<f32>().unwrap() {
            assert!((value - 0.5).abs() < 1e-2, "{value}");
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let mut gradients = of(bad, dtype);
            let error = ClipConfig::norm(1.0).clip(&mut gradients).unwrap_err();
            let Error::NonFiniteGradient { name, value } = error else {
                panic!("{error}")
            };
            assert_eq!((name.as_str(), value.is_nan()), ("b", bad.is_nan()));
            let kept = gradients["a"].to_vec1::<f32>().unwrap();
            assert_eq!(kept, [1.0, 2.0], "nothing is clipped");
        }
    }
}

#[test]
fn schedules_follow_timm() {
    let Some(golden) = read("schedules.json") else {
        return;
    };
    let mut compared = 0;
    for (name, case) in golden.as_object().unwrap() {
        let Some(args) = case["args"].as_object() else {
            continue;
        };
        let number = |key: &str| args.get(key).and_then(Value::as_f64);
        let warm_up = WarmUpConfig::new(
            number("warm_t").unwrap_or(0.0) as usize,
            number("warm_lr").unwrap_or(0.0),
        )
        .with_prefix(args.get("prefix").is_some_and(|p| p.as_bool().unwrap()));
        let length = || number("T").unwrap() as usize;
        let min = number("lr_min").unwrap_or(0.0);
        let config: ScheduleConfig = match name.as_str() {
            "step" => StepConfig::new(number("decay_t").unwrap() as usize)
                .with_factor(number("decay_rate").unwrap())
                .with_warm_up(warm_up)
                .into(),
            "multistep" => MultiStepConfig::new(
                numbers(&args["milestones"])
                    .iter()
                    .map(|&m| m as usize)
                    .collect::<Vec<_>>(),
            )
            .with_factor(number("decay_rate").unwrap())
            .with_rule(MilestoneRule::Timm)
            .with_warm_up(warm_up)
            .into(),
            "poly" => PolyConfig::new()
                .with_epochs(length())
                .with_power(number("power").unwrap())
                .with_min_rate(min)
                .with_warm_up(warm_up)
                .into(),
            "tanh" => TanhConfig::new()
                .with_epochs(length())
                .with_lower(number("lb").unwrap())
                .with_upper(number("ub").unwrap())
                .with_min_rate(min)
                .with_warm_up(warm_up)
                .into(),
            _ => CosineConfig::new()
                .with_epochs(length())
                .with_min_rate(min)
                .with_k_decay(number("k").unwrap_or(1.0))
                .with_cycle(
                    CycleConfig::new(number("limit").unwrap_or(1.0) as usize)
                        .with_multiplier(number("mul").unwrap_or(1.0))
                        .with_decay(number("decay").unwrap_or(1.0)),
                )
                .with_warm_up(warm_up)
                .into(),
        };
        let expected = numbers(&case["lr_per_epoch"]);
        let schedule = config
            .build(number("base").unwrap(), expected.len())
            .unwrap();
        let mut largest = 0.0_f64;
        for (epoch, &e) in expected.iter().enumerate() {
            let found = schedule.rate(epoch, 0, 1);
            let difference = (found - e).abs() / e.abs().max(1e-12);
            assert!(difference <= 1e-9, "{name} epoch {epoch}: {found} {e}");
            largest = largest.max(difference);
        }
        println!(
            "{name}: {largest:.1e} relative over {} epochs",
            expected.len()
        );
        compared += 1;
    }
    assert_eq!(compared, 11);
}
