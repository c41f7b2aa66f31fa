//! Batch normalization.

use candle_core::{DType, Device, Tensor};
use phenocoder_model::kernel::{
    Activation, BatchNormConfig, RunningStatistics, RunningVariance, batch_norm, batch_norm_train,
};
use proptest::prelude::*;

use super::{Check, Input, Sum, normal};

/// `(x − mean) / √(variance + ε)` of every value, with `1 / √(variance + ε)` of its channel.
struct Normalized {
    values: Vec<f64>,
    reciprocal: Vec<f64>,
    /// What the rounding of a mean adds to the size of a value; candle's mean has no more digits than its input.
    rounding: Vec<f64>,
}

impl Normalized {
    fn size(&self, i: usize) -> f64 {
        self.values[i].abs() + self.rounding[i % self.rounding.len()]
    }
}

fn moments(x: &[f64], channels: usize) -> [Vec<f64>; 2] {
    let m = (x.len() / channels) as f64;
    let column = |c: usize| x.iter().skip(c).step_by(channels);
    let mean: Vec<f64> = (0..channels).map(|c| column(c).sum::<f64>() / m).collect();
    let square = |c: usize| column(c).map(|v| (v - mean[c]).powi(2)).sum::<f64>() / m;
    let variance = (0..channels).map(square).collect();
    [mean, variance]
}

fn normalize(x: &[f64], [mean, variance]: &[Vec<f64>; 2], epsilon: f64) -> Normalized {
    let channels = mean.len();
    let reciprocal: Vec<f64> = variance
        .iter()
        .map(|v| 1.0 / (v + epsilon).sqrt())
        .collect();
    let value = |(i, x): (usize, &f64)| (x - mean[i % channels]) * reciprocal[i % channels];
    let rounding = mean
        .iter()
        .zip(&reciprocal)
        .map(|(m, r)| 1e-3 * m.abs() * r);
    Normalized {
        values: x.iter().enumerate().map(value).collect(),
        rounding: rounding.collect(),
        reciprocal,
    }
}

fn scaled(n: &Normalized, scale: &[f64], offset: &[f64]) -> Vec<Sum> {
    let value = |(i, v): (usize, &f64)| {
        let c = i % scale.len();
        let product = v * scale[c];
        Sum::of(
            product + offset[c],
            n.size(i) * scale[c].abs() + offset[c].abs(),
        )
    };
    n.values.iter().enumerate().map(value).collect()
}

/// The gradients of scale and offset.
fn vectors(n: &Normalized, w: &[f64], channels: usize) -> [Vec<Sum>; 2] {
    let mut all = [
        vec![Sum::default(); channels],
        vec![Sum::default(); channels],
    ];
    for (i, (value, w)) in n.values.iter().zip(w).enumerate() {
        all[0][i % channels].add(value * w);
        all[0][i % channels].size += (n.size(i) - value.abs()) * w.abs();
        all[1][i % channels].add(*w);
    }
    all
}

prop_compose! {
    fn shapes()(
        images: bool, n in 1_usize..5, h in 1_usize..7, w in 1_usize..7, c in 1_usize..90,
    ) -> Vec<usize> {
        match images {
            true => vec![n, h, w, c],
            false => vec![n * h, c],
        }
    }
}

fn inputs(shape: &[usize], far: f32, seed: u64) -> Vec<Input> {
    let c = shape[shape.len() - 1];
    let mut x = Input::normal(shape, "x", seed);
    let means = normal(c, "means", seed);
    for (i, value) in x.values.iter_mut().enumerate() {
        *value += means[i % c] * far;
    }
    vec![
        x,
        Input::normal(&[c], "scale", seed),
        Input::normal(&[c], "offset", seed),
    ]
}

fn settings(epsilon: f64, relu: bool) -> BatchNormConfig {
    BatchNormConfig::new()
        .with_epsilon(epsilon)
        .with_activation(match relu {
            true => Activation::Relu,
            false => Activation::Linear,
        })
}

fn statistics(t: &Tensor) -> RunningStatistics {
    let c = t.dims()[t.rank() - 1];
    let zeros = Tensor::zeros(c, t.dtype(), t.device()).unwrap();
    RunningStatistics::new(zeros.clone(), zeros)
}

proptest! {
    #![proptest_config(super::cases(128))]

    #[test]
    fn with_the_statistics_of_the_batch(
        shape in shapes(), far in 0.0_f32..100.0, epsilon in 1e-3_f64..1.0, relu: bool, seed: u64,
    ) {
        let c = shape[shape.len() - 1];
        let config = settings(epsilon, relu);
        let normalized = |x: &[f64]| normalize(x, &moments(x, c), epsilon);
        let check = Check {
            inputs: inputs(&shape, far, seed),
            kernel: Box::new(move |t: &[Tensor]| {
                Ok(batch_norm_train(&t[0], &t[1], &t[2], &statistics(&t[0]), &config)?.0)
            }),
            forward: Box::new(move |v| scaled(&normalized(&v[0]), &v[1], &v[2])),
            backward: Box::new(move |v, w| {
                let n = normalized(&v[0]);
                let m = (w.len() / c) as f64;
                let [by_scale, by_offset] = vectors(&n, w, c);
                let dx = n.values.iter().zip(w).enumerate().map(|(i, (value, w))| {
                    let (scale, offset) = (by_scale[i % c], by_offset[i % c]);
                    let factor = v[1][i % c] * n.reciprocal[i % c];
                    Sum::of(
                        factor * (w - offset.value / m - value * scale.value / m),
                        factor.abs() * (w.abs() + (offset.size + n.size(i) * scale.size) / m),
                    )
                });
                vec![dx.collect(), by_scale, by_offset]
            }),
            relu,
            double: 1e-12,
        };
        check.run(seed)?;
    }

    #[test]
    fn with_running_statistics(
        shape in shapes(), far in 0.0_f32..100.0, epsilon in 1e-3_f64..1.0, relu: bool, seed: u64,
    ) {
        let c = shape[shape.len() - 1];
        let config = settings(epsilon, relu);
        let mut all = inputs(&shape, far, seed);
        all.push(Input::normal(&[c], "mean", seed).untrained());
        let variance = normal(c, "variance", seed).into_iter().map(f32::abs).collect();
        all.push(Input::new(&[c], variance).untrained());
        let normalized = |v: &[Vec<f64>]| normalize(&v[0], &[v[3].clone(), v[4].clone()], epsilon);
        let check = Check {
            inputs: all,
            kernel: Box::new(move |t: &[Tensor]| {
                let statistics = RunningStatistics::new(t[3].clone(), t[4].clone());
                batch_norm(&t[0], &t[1], &t[2], &statistics, &config)
            }),
            forward: Box::new(move |v| scaled(&normalized(v), &v[1], &v[2])),
            backward: Box::new(move |v, w| {
                let n = normalized(v);
                let [by_scale, by_offset] = vectors(&n, w, c);
                let dx = w.iter().enumerate().map(|(i, w)| {
                    let slope = w * v[1][i % c] * n.reciprocal[i % c];
                    Sum::of(slope, slope.abs())
                });
                vec![dx.collect(), by_scale, by_offset, Vec::new(), Vec::new()]
            }),
            relu,
            double: 1e-12,
        };
        check.run(seed)?;
    }

    #[test]
    fn running_statistics_follow_the_batches(
        shape in shapes(), far in 0.0_f32..1e4, momentum in 0.0_f64..1.0, biased: bool, seed: u64,
    ) {
        let c = shape[shape.len() - 1];
        let all = inputs(&shape, far, seed);
        let x: Vec<f64> = all[0].values.iter().map(|&v| f64::from(v)).collect();
        let [mean, variance] = moments(&x, c);
        let m = (x.len() / c) as f64;
        let kind = if biased { RunningVariance::Biased } else { RunningVariance::Unbiased };
        let correction = if biased || m == 1.0 { 1.0 } else { m / (m - 1.0) };
        let config = BatchNormConfig::keras().with_momentum(momentum).with_running_variance(kind);
        for dtype in [DType::F32, DType::F64] {
            let tensor = |input: &Input| {
                Tensor::from_slice(&input.values, input.shape.as_slice(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let [x, scale, offset] = [0, 1, 2].map(|i| tensor(&all[i]));
            let before = RunningStatistics::new(scale.clone(), offset.clone());
            let (_, after) = batch_norm_train(&x, &scale, &offset, &before, &config).unwrap();
            let check = |found: &Tensor, old: &Input, new: &[f64], factor: f64| {
                let found: Vec<f64> = found.to_dtype(DType::F64).unwrap().to_vec1().unwrap();
                for (i, found) in found.into_iter().enumerate() {
                    let (old, new) = (f64::from(old.values[i]) * (1.0 - momentum), new[i] * momentum * factor);
                    // The double precision of candle's sums is taken over values as large as `far`.
                    let bound = 3e-7 * (old.abs() + new.abs()) + 1e-9 * f64::from(far).powi(2) * 1e-4;
                    prop_assert!((found - old - new).abs() <= bound, "{:?}: {} {}", dtype, found, old + new);
                }
                Ok(())
            };
            check(&after.mean, &all[1], &mean, 1.0)?;
            check(&after.variance, &all[2], &variance, correction)?;
        }
    }
}

#[test]
fn a_single_value_per_channel_gives_the_offset_and_an_empty_batch_changes_nothing() {
    let device = Device::Cpu;
    let vector = |values: &[f32]| Tensor::new(values, &device).unwrap();
    let (scale, offset) = (vector(&[2.0, 3.0]), vector(&[0.5, -0.5]));
    let before = RunningStatistics::new(vector(&[1.0, 2.0]), vector(&[3.0, 4.0]));
    let config = BatchNormConfig::new().with_momentum(0.5);
    let one = Tensor::new(&[[7.0_f32, 8.0]], &device).unwrap();
    let (y, after) = batch_norm_train(&one, &scale, &offset, &before, &config).unwrap();
    assert_eq!(y.to_vec2::<f32>().unwrap(), [[0.5, -0.5]]);
    assert_eq!(after.mean.to_vec1::<f32>().unwrap(), [4.0, 5.0]);
    assert_eq!(after.variance.to_vec1::<f32>().unwrap(), [1.5, 2.0]);
    let none = Tensor::zeros((0, 3, 3, 2), DType::F32, &device).unwrap();
    let (y, after) = batch_norm_train(&none, &scale, &offset, &before, &config).unwrap();
    assert_eq!(y.dims(), [0, 3, 3, 2]);
    assert_eq!(after.mean.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
}

#[test]
fn a_mean_much_larger_than_the_deviation_costs_no_digits() {
    // Neighbors of 2^20 in single precision are 0.125 apart.
    let values: Vec<f32> = (0..4096)
        .map(|i| 1_048_576.0 + 0.125 * (i % 8) as f32)
        .collect();
    let x = Tensor::from_vec(values, (4096, 1), &Device::Cpu).unwrap();
    let vector = |value: f32| Tensor::new(&[value], &Device::Cpu).unwrap();
    let before = RunningStatistics::new(vector(0.0), vector(0.0));
    let config = BatchNormConfig::new().with_epsilon(0.0).with_momentum(1.0);
    let (y, after) = batch_norm_train(&x, &vector(1.0), &vector(0.0), &before, &config).unwrap();
    let corrected = 21.0 / 256.0 * 4096.0 / 4095.0;
    let found = f64::from(after.variance.to_vec1::<f32>().unwrap()[0]);
    assert!(
        (found - corrected).abs() < 1e-7 * corrected,
        "{found} {corrected}"
    );
    let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (i, &y) in y.iter().take(8).enumerate() {
        let expected = (i as f64 - 3.5) * 0.125 / (21.0_f64 / 256.0).sqrt();
        assert!((f64::from(y) - expected).abs() < 3e-7, "{y} {expected}");
    }
}

#[test]
fn settings_and_shapes_that_cannot_be_are_refused() {
    assert!(
        BatchNormConfig::new()
            .with_momentum(1.5)
            .validate()
            .is_err()
    );
    assert!(
        BatchNormConfig::new()
            .with_epsilon(f64::NAN)
            .validate()
            .is_err()
    );
    let zeros = |c: usize| Tensor::zeros(c, DType::F32, &Device::Cpu).unwrap();
    let x = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    let running = RunningStatistics::new(zeros(3), zeros(2));
    let error =
        batch_norm(&x, &zeros(3), &zeros(3), &running, &BatchNormConfig::new()).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        text.contains("input F32 [2, 3]") && text.contains("variance F32 [2]"),
        "{text}"
    );
}
