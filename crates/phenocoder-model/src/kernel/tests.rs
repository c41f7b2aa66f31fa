//! Kernels against naive loops in `f64`, central differences, candle's operations, and other numbers of threads.

use candle_core::{Device, Tensor, Var};
use phenocoder_core::Seed;
use proptest::prelude::*;

use super::geometry::Geometry;
use super::{Activation, conv_transpose2d, conv2d, dense, direct, fallback};

mod small;

fn random(n: usize, name: &str, seed: u64) -> Vec<f32> {
    let mut stream = Seed::new(seed).stream(name, 0);
    (0..n).map(|_| stream.normal() as f32).collect()
}

/// Calls `f(sample, small (y, x), kernel (y, x), big (y, x))` for every pair of pixels that a tap connects.
fn connections(
    g: &Geometry,
    n: usize,
    mut f: impl FnMut(usize, [usize; 2], [usize; 2], [usize; 2]),
) {
    for sample in 0..n {
        for y in 0..g.small[0] {
            for x in 0..g.small[1] {
                for ky in 0..g.kernel[0] {
                    for kx in 0..g.kernel[1] {
                        let by = (y * g.stride + ky).wrapping_sub(g.pad[0]);
                        let bx = (x * g.stride + kx).wrapping_sub(g.pad[1]);
                        if by < g.big[0] && bx < g.big[1] {
                            f(sample, [y, x], [ky, kx], [by, bx]);
                        }
                    }
                }
            }
        }
    }
}

struct Naive {
    small: Vec<f64>,
    big: Vec<f64>,
    kernel: Vec<f64>,
}

/// The three products of two of (big, kernel, small) that the kernels compute, in `f64`.
fn naive(g: &Geometry, n: usize, big: &[f32], kernel: &[f32], small: &[f32]) -> Naive {
    let [cb, cs] = [g.big[2], g.small[2]];
    let mut out = Naive {
        small: vec![0.0; small.len()],
        big: vec![0.0; big.len()],
        kernel: vec![0.0; kernel.len()],
    };
    connections(g, n, |sample, [y, x], [ky, kx], [by, bx]| {
        let s = sample * g.small_len() + (y * g.small[1] + x) * cs;
        let b = sample * g.big_len() + (by * g.big[1] + bx) * cb;
        let k = (ky * g.kernel[1] + kx) * cb * cs;
        for i in 0..cb {
            for o in 0..cs {
                let (sv, bv, kv) = (small[s + o], big[b + i], kernel[k + i * cs + o]);
                out.small[s + o] += f64::from(bv) * f64::from(kv);
                out.big[b + i] += f64::from(sv) * f64::from(kv);
                out.kernel[k + i * cs + o] += f64::from(sv) * f64::from(bv);
            }
        }
    });
    out
}

fn assert_close(what: &str, found: &[f32], expected: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
    for (i, (&a, &b)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(a) - b).abs() / scale;
        prop_assert!(error < 1e-5, "{} at {}: {} {}", what, i, a, b);
    }
    Ok(())
}

prop_compose! {
    fn geometries()(
        height in 1_usize..10, width in 1_usize..10, kh in 1_usize..6, kw in 1_usize..6,
        stride in 1_usize..4, cb in 1_usize..40, cs in 1_usize..40,
    ) -> Geometry {
        Geometry::same([height, width, cb], cs, [kh, kw], stride).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_three_kernels_equal_naive_loops(g in geometries(), n in 1_usize..20, seed in 0_u64..1000) {
        let big = random(n * g.big_len(), "big", seed);
        let small = random(n * g.small_len(), "small", seed);
        let kernel = random(g.kernel_len(), "kernel", seed);
        let expected = naive(&g, n, &big, &kernel, &small);
        let forward = direct::big_to_small(&g, &big, &kernel, None, false);
        assert_close("forward", &forward, &expected.small)?;
        let adjoint = direct::small_to_big(&g, &small, &kernel, None, false);
        assert_close("adjoint", &adjoint, &expected.big)?;
        let gradient = direct::weight_gradient(&g, &big, &small);
        assert_close("weight gradient", &gradient, &expected.kernel)?;
    }

    #[test]
    fn bias_and_relu_follow_the_sum(g in geometries(), seed in 0_u64..1000) {
        let big = random(2 * g.big_len(), "big", seed);
        let kernel = random(g.kernel_len(), "kernel", seed);
        let bias = random(g.small[2], "bias", seed);
        let plain = direct::big_to_small(&g, &big, &kernel, None, false);
        let fused = direct::big_to_small(&g, &big, &kernel, Some(&bias), true);
        for (i, (&fused, &plain)) in fused.iter().zip(&plain).enumerate() {
            let expected = (plain + bias[i % g.small[2]]).max(0.0);
            prop_assert!((fused - expected).abs() <= 1e-4, "{} {}", fused, expected);
        }
    }
}

#[test]
fn maps_of_one_pixel_and_large_odd_sizes_are_right() {
    for g in [
        Geometry::same([1, 1, 3], 7, [3, 3], 2).unwrap(),
        Geometry::same([37, 41, 5], 9, [3, 3], 2).unwrap(),
        Geometry::same([64, 64, 8], 4, [3, 3], 1).unwrap(),
        Geometry::dense(565, 64),
    ] {
        let n = 9;
        let big = random(n * g.big_len(), "big", 1);
        let small = random(n * g.small_len(), "small", 1);
        let kernel = random(g.kernel_len(), "kernel", 1);
        let expected = naive(&g, n, &big, &kernel, &small);
        let check = |found: Vec<f32>, expected: &[f64]| assert_close("", &found, expected).unwrap();
        check(
            direct::big_to_small(&g, &big, &kernel, None, false),
            &expected.small,
        );
        check(
            direct::small_to_big(&g, &small, &kernel, None, false),
            &expected.big,
        );
        check(direct::weight_gradient(&g, &big, &small), &expected.kernel);
    }
}

#[test]
fn an_empty_batch_has_empty_results_and_zero_gradients() {
    let g = Geometry::same([4, 4, 2], 3, [3, 3], 2).unwrap();
    let kernel = random(g.kernel_len(), "kernel", 1);
    assert!(direct::big_to_small(&g, &[], &kernel, None, false).is_empty());
    assert!(direct::small_to_big(&g, &[], &kernel, None, false).is_empty());
    assert_eq!(
        direct::weight_gradient(&g, &[], &[]),
        vec![0.0; g.kernel_len()]
    );
    assert_eq!(direct::bias_gradient(&[], 3), [0.0; 3]);
}

/// Input, kernel and bias of a layer as variables, and weights for a scalar of its output.
struct Layer {
    x: Var,
    kernel: Var,
    bias: Var,
}

fn layer(x: &[usize], kernel: &[usize], outputs: usize, seed: u64) -> Layer {
    let var = |shape: &[usize], name: &str| {
        let values = random(shape.iter().product(), name, seed);
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    Layer {
        x: var(x, "x"),
        kernel: var(kernel, "kernel"),
        bias: var(&[outputs], "bias"),
    }
}

/// `Σ w · y` with fixed weights `w`, in `f64`.
fn scalar(y: &Tensor) -> (Tensor, f64) {
    let weights = random(y.elem_count(), "weights", 77);
    let values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let sum = weights
        .iter()
        .zip(&values)
        .map(|(&w, &v)| f64::from(w) * f64::from(v))
        .sum();
    let weights = Tensor::from_vec(weights, y.shape(), &Device::Cpu).unwrap();
    ((y * weights).unwrap().sum_all().unwrap(), sum)
}

/// Compares the gradients of all three inputs with central differences.
fn check_gradients(layer: &Layer, f: impl Fn(&Layer) -> Tensor) {
    let gradients = scalar(&f(layer)).0.backward().unwrap();
    for var in [&layer.x, &layer.kernel, &layer.bias] {
        let gradient = gradients.get(var).unwrap().flatten_all().unwrap();
        let gradient = gradient.to_vec1::<f32>().unwrap();
        let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let scale = gradient.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
        for i in (0..values.len()).step_by(values.len().div_ceil(40)) {
            // The output is linear in each value up to the kinks of the ReLU, so the step may be large.
            let step = 1e-2_f32;
            let at = |shift: f32| {
                let mut moved = values.clone();
                moved[i] += shift;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap())
                    .unwrap();
                scalar(&f(layer)).1
            };
            let difference = (at(step) - at(-step)) / f64::from(2.0 * step);
            at(0.0);
            let error = (difference - f64::from(gradient[i])).abs() / f64::from(scale);
            assert!(error < 5e-3, "{i}: {difference} {}", gradient[i]);
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    for (h, w, stride) in [(5, 7, 2), (4, 6, 2), (3, 3, 1), (1, 1, 2)] {
        let conv = layer(&[2, h, w, 3], &[3, 3, 3, 5], 5, 11);
        check_gradients(&conv, |l| {
            conv2d(&l.x, &l.kernel, &l.bias, stride, Activation::Linear).unwrap()
        });
        let transposed = layer(&[2, h, w, 5], &[3, 3, 3, 5], 3, 12);
        check_gradients(&transposed, |l| {
            conv_transpose2d(&l.x, &l.kernel, &l.bias, stride, Activation::Linear).unwrap()
        });
    }
    let full = layer(&[7, 11], &[11, 6], 6, 13);
    check_gradients(&full, |l| {
        dense(&l.x, &l.kernel, &l.bias, Activation::Linear).unwrap()
    });
}

#[test]
fn the_relu_blocks_gradients_where_it_is_zero() {
    let l = layer(&[2, 4, 4, 3], &[3, 3, 3, 5], 5, 14);
    let fused = conv2d(&l.x, &l.kernel, &l.bias, 2, Activation::Relu).unwrap();
    let plain = conv2d(&l.x, &l.kernel, &l.bias, 2, Activation::Linear).unwrap();
    let plain = plain.relu().unwrap();
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(values(&fused), values(&plain));
    let (fused, plain) = (
        scalar(&fused).0.backward().unwrap(),
        scalar(&plain).0.backward().unwrap(),
    );
    for var in [&l.x, &l.kernel, &l.bias] {
        assert_eq!(
            values(fused.get(var).unwrap()),
            values(plain.get(var).unwrap())
        );
    }
}

#[test]
fn an_input_without_gradient_gets_none() {
    let l = layer(&[1, 4, 4, 2], &[3, 3, 2, 3], 3, 15);
    let x = l.x.as_detached_tensor();
    let y = conv2d(&x, &l.kernel, &l.bias, 2, Activation::Relu).unwrap();
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&x).is_none() && gradients.get(&l.kernel).is_some());
}

#[test]
fn the_fallback_for_gpus_gives_the_same_values_and_gradients() {
    let biased =
        |y: &Tensor, l: &Layer| fallback::finish(y, Some(&l.bias), Activation::Linear).unwrap();
    for (h, w, k, stride) in [
        (8, 6, 3, 2),
        (7, 5, 3, 2),
        (4, 4, 3, 1),
        (9, 8, 5, 3),
        (4, 4, 1, 2),
    ] {
        let l = layer(&[2, h, w, 3], &[k, k, 3, 5], 5, 16);
        let geometry = Geometry::same([h, w, 3], 5, [k, k], stride).unwrap();
        let ours = conv2d(&l.x, &l.kernel, &l.bias, stride, Activation::Linear).unwrap();
        let candle = fallback::conv(&geometry, &l.x, &l.kernel).unwrap();
        same(&l, &ours, &biased(&candle, &l));

        let l = layer(&[2, h, w, 5], &[k, k, 3, 5], 3, 17);
        let geometry = Geometry::same([h * stride, w * stride, 3], 5, [k, k], stride).unwrap();
        let ours = conv_transpose2d(&l.x, &l.kernel, &l.bias, stride, Activation::Linear).unwrap();
        let candle = fallback::conv_transpose(&geometry, &l.x, &l.kernel).unwrap();
        same(&l, &ours, &biased(&candle, &l));
    }
}

fn same(layer: &Layer, a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims());
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let close = |a: &Tensor, b: &Tensor| {
        for (a, b) in values(a).into_iter().zip(values(b)) {
            assert!((a - b).abs() < 1e-3 * (1.0 + b.abs()), "{a} {b}");
        }
    };
    close(a, b);
    let (ga, gb) = (
        scalar(a).0.backward().unwrap(),
        scalar(b).0.backward().unwrap(),
    );
    for var in [&layer.x, &layer.kernel, &layer.bias] {
        close(ga.get(var).unwrap(), gb.get(var).unwrap());
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused_with_all_of_them() {
    let l = layer(&[1, 4, 4, 2], &[3, 3, 3, 5], 5, 1);
    let error = conv2d(&l.x, &l.kernel, &l.bias, 2, Activation::Relu).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        text.contains("input F32 [1, 4, 4, 2], kernel F32 [3, 3, 3, 5]"),
        "{text}"
    );
    let good = layer(&[1, 4, 4, 3], &[3, 3, 3, 5], 5, 1);
    assert!(conv2d(&good.x, &good.kernel, &good.bias, 0, Activation::Relu).is_err());
    assert!(dense(&good.x, &good.kernel, &good.bias, Activation::Relu).is_err());
}

#[test]
fn the_relu_does_not_hide_what_is_no_number() {
    for width in [1, 8, 24] {
        let x = Tensor::new(&[[f32::NAN], [-1.0], [2.0]], &Device::Cpu).unwrap();
        let kernel = Tensor::ones((1, width), candle_core::DType::F32, &Device::Cpu).unwrap();
        let bias = Tensor::zeros(width, candle_core::DType::F32, &Device::Cpu).unwrap();
        let y = dense(&x, &kernel, &bias, Activation::Relu).unwrap();
        let y = y.to_vec2::<f32>().unwrap();
        assert!(y[0].iter().all(|v| v.is_nan()), "{width}");
        assert_eq!((&y[1], &y[2]), (&vec![0.0; width], &vec![2.0; width]));
    }
}
