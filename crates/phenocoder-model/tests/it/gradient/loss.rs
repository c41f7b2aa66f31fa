//! Losses, and what happens between an encoder and a decoder.

use candle_core::Tensor;
use phenocoder_core::Seed;
use phenocoder_model::Step;
use phenocoder_model::kernel::{
    Reduction, binary_cross_entropy, kl_divergence, sample_normal, squared_error,
};
use proptest::prelude::*;

use super::{Check, DOUBLE, Input, Sum};

/// A number from terms given as (value, the sum of what it is computed from).
fn total(terms: impl Iterator<Item = (f64, f64)>, factor: f64) -> Vec<Sum> {
    let mut sum = Sum::default();
    for (value, size) in terms {
        sum.value += value * factor;
        sum.size += size * factor;
        sum.terms += 1.0;
    }
    // Sums are kept in 16 parts and added in double precision every 8,192 values.
    sum.terms = (sum.terms / 16.0).min(512.0) + 8.0;
    vec![sum]
}

fn each<'a>(v: &'a [Vec<f64>]) -> impl Iterator<Item = (f64, f64)> + 'a {
    v[0].iter().copied().zip(v[1].iter().copied())
}

fn scaled(input: Input, by: f32) -> Input {
    let values = input.values.iter().map(|v| v * by).collect();
    Input { values, ..input }
}

prop_compose! {
    /// Samples first.
    fn shapes()(n in 1_usize..6, rest in prop::collection::vec(1_usize..9, 1..4)) -> Vec<usize> {
        std::iter::once(n).chain(rest).collect()
    }
}

proptest! {
    #![proptest_config(super::cases(64))]

    #[test]
    fn cross_entropy_from_logits(shape in shapes(), by in 0.1_f32..30.0, seed: u64) {
        let n = shape[0] as f64;
        let mut draw = Seed::new(seed).stream("targets", 0);
        let targets = (0..shape.iter().product()).map(|_| draw.uniform() as f32).collect();
        Check {
            inputs: vec![
                scaled(Input::normal(&shape, "logits", seed), by),
                Input::new(&shape, targets).untrained(),
            ],
            kernel: Box::new(|t: &[Tensor]| binary_cross_entropy(&t[0], &t[1])),
            forward: Box::new(move |v| {
                let term = |(x, t): (f64, f64)| {
                    let log = (-x.abs()).exp().ln_1p();
                    (x.max(0.0) - x * t + log, x.max(0.0) + (x * t).abs() + log)
                };
                total(each(v).map(term), 1.0 / n)
            }),
            backward: Box::new(move |v, w| {
                let slope = |(x, t): (f64, f64)| {
                    let sigmoid = 1.0 / (1.0 + (-x).exp());
                    let factor = w[0] / n;
                    Sum::of((sigmoid - t) * factor, (1.0 + t) * factor.abs())
                };
                vec![each(v).map(slope).collect(), Vec::new()]
            }),
            relu: false,
            double: DOUBLE,
        }
        .run(seed)?;
    }

    #[test]
    fn divergence_from_the_prior(shape in shapes(), doubled: bool, seed: u64) {
        let k = if doubled { 2.0 } else { 1.0 };
        let n = shape[0] as f64;
        Check {
            inputs: vec![
                Input::normal(&shape, "mean", seed),
                scaled(Input::normal(&shape, "log_var", seed), 2.0),
            ],
            kernel: Box::new(move |t: &[Tensor]| kl_divergence(&t[0], &t[1], k)),
            forward: Box::new(move |v| {
                let term = |(m, s): (f64, f64)| {
                    let s = k * s;
                    (m * m + s.exp() - 1.0 - s, m * m + s.exp() * (1.0 + s.abs()) + 1.0 + s.abs())
                };
                total(each(v).map(term), 0.5 / n)
            }),
            backward: Box::new(move |v, w| {
                let factor = w[0] / n;
                let by_mean = |&m: &f64| Sum::of(m * factor, (m * factor).abs());
                let by_log_var = |&s: &f64| {
                    let e = (k * s).exp();
                    let size = e * (1.0 + (k * s).abs()) + 1.0;
                    Sum::of(0.5 * k * factor * (e - 1.0), 0.5 * k * factor.abs() * size)
                };
                vec![v[0].iter().map(by_mean).collect(), v[1].iter().map(by_log_var).collect()]
            }),
            relu: false,
            double: DOUBLE,
        }
        .run(seed)?;
    }

    #[test]
    fn squared_errors(shape in shapes(), which in 0_usize..3, seed: u64) {
        let (reduction, count) = [
            (Reduction::Mean, shape.iter().product()),
            (Reduction::SumPerSample, shape[0]),
            (Reduction::Sum, 1),
        ][which];
        let count = count as f64;
        Check {
            inputs: vec![Input::normal(&shape, "a", seed), Input::normal(&shape, "b", seed)],
            kernel: Box::new(move |t: &[Tensor]| squared_error(&t[0], &t[1], reduction)),
            forward: Box::new(move |v| {
                let term = |(a, b): (f64, f64)| ((a - b).powi(2), (a.abs() + b.abs()).powi(2));
                total(each(v).map(term), 1.0 / count)
            }),
            backward: Box::new(move |v, w| {
                let factor = 2.0 * w[0] / count;
                let slope = |(a, b): (f64, f64), sign: f64| {
                    Sum::of(sign * (a - b) * factor, (a.abs() + b.abs()) * factor.abs())
                };
                vec![
                    each(v).map(|pair| slope(pair, 1.0)).collect(),
                    each(v).map(|pair| slope(pair, -1.0)).collect(),
                ]
            }),
            relu: false,
            double: DOUBLE,
        }
        .run(seed)?;
    }

    #[test]
    fn samples_of_the_latents(shape in shapes(), seed: u64) {
        let spread = |s: f64| (0.5 * s).exp();
        Check {
            inputs: vec![
                Input::normal(&shape, "mean", seed),
                scaled(Input::normal(&shape, "log_var", seed), 3.0),
                Input::normal(&shape, "noise", seed).untrained(),
            ],
            kernel: Box::new(|t: &[Tensor]| sample_normal(&t[0], &t[1], &t[2])),
            forward: Box::new(move |v| {
                let value = |(i, (m, s)): (usize, (f64, f64))| {
                    let shift = spread(s) * v[2][i];
                    Sum::of(m + shift, m.abs() + shift.abs() * (1.0 + s.abs()))
                };
                each(v).enumerate().map(value).collect()
            }),
            backward: Box::new(move |v, w| {
                let by_mean = w.iter().map(|&w| Sum::of(w, w.abs())).collect();
                let slope = |(i, &s): (usize, &f64)| {
                    let slope = 0.5 * spread(s) * v[2][i] * w[i];
                    Sum::of(slope, slope.abs() * (1.0 + s.abs()))
                };
                vec![by_mean, v[1].iter().enumerate().map(slope).collect(), Vec::new()]
            }),
            relu: false,
            double: DOUBLE,
        }
        .run(seed)?;
    }

    #[test]
    fn dropout_scales_what_it_keeps_and_its_gradient_alike(
        rows in 1_usize..20, columns in 1_usize..20, rate in 0.0_f64..0.9, index in 0_u64..50, seed: u64,
    ) {
        let step = Step::training(Seed::new(seed), index);
        let ones = Tensor::ones((rows, columns), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let mask = step.drop_out("layer", &ones, rate).unwrap();
        let mask: Vec<f32> = mask.flatten_all().unwrap().to_vec1().unwrap();
        let kept = 1.0 / (1.0 - rate);
        for &m in &mask {
            prop_assert!(m == 0.0 || (f64::from(m) - kept).abs() < 1e-6 * kept, "{} {}", m, kept);
        }
        let mask: Vec<f64> = mask.into_iter().map(f64::from).collect();
        let again = mask.clone();
        let check = Check {
            inputs: vec![Input::normal(&[rows, columns], "x", seed)],
            kernel: Box::new(|t: &[Tensor]| match t[0].dtype() {
                candle_core::DType::F32 => step.drop_out("layer", &t[0], rate),
                _ => Ok((&t[0] * Tensor::from_slice(&again, t[0].shape(), t[0].device())?)?),
            }),
            forward: Box::new(|v| {
                v[0].iter().zip(&mask).map(|(x, m)| Sum::of(x * m, (x * m).abs())).collect()
            }),
            backward: Box::new(|_, w| {
                vec![w.iter().zip(&mask).map(|(w, m)| Sum::of(w * m, (w * m).abs())).collect()]
            }),
            relu: false,
            double: DOUBLE,
        };
        check.run(seed)?;
    }
}
