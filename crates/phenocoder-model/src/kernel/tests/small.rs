//! Every kernel, forward and backward, on images of a few pixels: what Miri runs (`cargo xtask miri`).
//!
//! A kernel that is linear in an input `x` with gradient `dx` of `Σ w · y` has `Σ w · y = Σ x · dx`.

use candle_core::{DType, Device, Tensor, Var};

use super::random;
use crate::kernel::{
    Activation, BatchNormConfig, ConvConfig, ConvLayer, ConvStack, ConvTransposeConfig, Keep,
    Padding, PoolConfig, Reduction, RunningStatistics, average_pool2d, batch_norm,
    batch_norm_train, binary_cross_entropy, conv_transpose1d, conv_transpose2d_with, conv1d,
    conv2d_with, dense, global_average_pool, kl_divergence, max_pool2d, pad_circular2d,
    resize_nearest2d, sample_normal, squared_error, upsample_nearest2d,
};

fn var(shape: &[usize], name: &str) -> Var {
    let values = random(shape.iter().product(), name, 5);
    Var::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

/// Checks that `y` is linear in each of `inputs`.
fn linear(name: &str, y: &Tensor, inputs: &[&Var]) {
    let weights = random(y.elem_count(), "weights", 6);
    let upstream = Tensor::from_slice(&weights, y.shape(), &Device::Cpu).unwrap();
    let store = (y * upstream)
        .unwrap()
        .sum_all()
        .unwrap()
        .backward()
        .unwrap();
    let value = dot(&flat(y), &weights);
    for (i, input) in inputs.iter().enumerate() {
        let product = dot(&flat(input), &flat(store.get(input).unwrap()));
        assert!(
            (value - product).abs() < 1e-4,
            "{name}, input {i}: {value} {product}"
        );
    }
}

#[test]
fn convolutions() {
    for (padding, stride) in [
        (Padding::Same, 2),
        (Padding::Symmetric(1), 1),
        (Padding::Circular(1), 2),
    ] {
        let (x, k) = (var(&[2, 3, 4, 2], "x"), var(&[3, 3, 2, 3], "k"));
        let config = ConvConfig::new().with_stride(stride).with_padding(padding);
        let y = conv2d_with(&x, &k, None, &config).unwrap();
        linear("conv2d", &y, &[&x, &k]);
        let config = config.with_activation(Activation::Relu);
        let y = conv2d_with(&x, &k, None, &config).unwrap();
        linear("conv2d with ReLU", &y, &[&x, &k]);
    }
    let (x, k) = (var(&[2, 2, 3, 3], "x"), var(&[3, 3, 2, 3], "k"));
    let config = ConvTransposeConfig::new().with_stride(2);
    let y = conv_transpose2d_with(&x, &k, None, &config).unwrap();
    linear("conv_transpose2d", &y, &[&x, &k]);
    let (x, k) = (var(&[2, 5, 2], "x"), var(&[3, 2, 2], "k"));
    let y = conv1d(&x, &k, None, &ConvConfig::new()).unwrap();
    linear("conv1d", &y, &[&x, &k]);
    let y = conv_transpose1d(&x, &k, None, &config).unwrap();
    linear("conv_transpose1d", &y, &[&x, &k]);
}

#[test]
fn dense_layers() {
    let (x, k) = (var(&[3, 4], "x"), var(&[4, 9], "k"));
    let bias = Tensor::zeros(9, DType::F32, &Device::Cpu).unwrap();
    let y = dense(&x, &k, &bias, Activation::Relu).unwrap();
    linear("dense", &y, &[&x, &k]);
}

#[test]
fn stacks() {
    let layers = [
        ConvLayer::conv(3)
            .with_stride(2)
            .with_activation(Activation::Relu),
        ConvLayer::conv_transpose(2).with_stride(2),
    ];
    let stack = ConvStack::new([4, 4, 2], &layers).unwrap();
    let x = var(&[2, 4, 4, 2], "x");
    let (k0, k1) = (var(&[3, 3, 2, 3], "k0"), var(&[3, 3, 2, 3], "k1"));
    let zeros = |n: usize| Tensor::zeros(n, DType::F32, &Device::Cpu).unwrap();
    let (b0, b1) = (zeros(3), zeros(2));
    let parameters: [(&Tensor, &Tensor); 2] = [(&k0, &b0), (&k1, &b1)];
    for keep in [Keep::Gradients, Keep::Nothing] {
        let y = stack.apply(&x, &parameters, keep).unwrap();
        linear("stack", &y, &[&x, &k0, &k1]);
    }
    let targets = x.as_detached_tensor().affine(0.1, 0.5).unwrap();
    let loss = stack
        .cross_entropy(&x, &parameters, &targets, Keep::Gradients)
        .unwrap();
    assert!(
        flat(loss.backward().unwrap().get(&k0).unwrap())
            .iter()
            .any(|&v| v != 0.0)
    );
}

#[test]
fn normalizations() {
    let (x, scale) = (var(&[2, 2, 3, 5], "x"), var(&[5], "scale"));
    let zeros = scale.zeros_like().unwrap().detach();
    let running = RunningStatistics::new(zeros.clone(), scale.ones_like().unwrap().detach());
    let config = BatchNormConfig::new().with_activation(Activation::Relu);
    let (y, after) = batch_norm_train(&x, &scale, &zeros, &running, &config).unwrap();
    linear("batch_norm_train", &y, &[&scale]);
    let dx = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    for channel in 0..5 {
        let values = flat(dx.get(&x).unwrap());
        let sum: f32 = values.iter().skip(channel).step_by(5).sum();
        assert!(sum.abs() < 1e-4, "a constant is normalized away: {sum}");
    }
    let y = batch_norm(&x, &scale, &zeros, &after, &config).unwrap();
    linear("batch_norm", &y, &[&scale]);
}

#[test]
fn poolings_and_resizings() {
    let x = var(&[2, 3, 4, 3], "x");
    let config = PoolConfig::new(3)
        .with_stride(2)
        .with_padding(Padding::Symmetric(1));
    linear("max_pool2d", &max_pool2d(&x, &config).unwrap(), &[&x]);
    linear(
        "average_pool2d",
        &average_pool2d(&x, &config).unwrap(),
        &[&x],
    );
    linear(
        "global_average_pool",
        &global_average_pool(&x).unwrap(),
        &[&x],
    );
    linear(
        "upsample_nearest2d",
        &upsample_nearest2d(&x, 2).unwrap(),
        &[&x],
    );
    linear(
        "resize_nearest2d",
        &resize_nearest2d(&x, [2, 7]).unwrap(),
        &[&x],
    );
    linear("pad_circular2d", &pad_circular2d(&x, 2).unwrap(), &[&x]);
}

#[test]
fn losses_and_samples() {
    // More than 16 values, so that the loop over vectors and the rest are both run.
    let (a, b) = (var(&[3, 7], "a"), var(&[3, 7], "b"));
    let noise = a.as_detached_tensor();
    linear(
        "sample_normal",
        &sample_normal(&a, &a.zeros_like().unwrap().detach(), &noise).unwrap(),
        &[],
    );
    for loss in [
        binary_cross_entropy(&a, &b).unwrap(),
        squared_error(&a, &b, Reduction::Mean).unwrap(),
        kl_divergence(&a, &b, 1.0).unwrap(),
        sample_normal(&a, &b, &noise).unwrap().sum_all().unwrap(),
    ] {
        let store = loss.backward().unwrap();
        let dx = flat(store.get(&a).unwrap());
        assert!(flat(&loss)[0].is_finite() && dx.iter().all(|v| v.is_finite()));
    }
}
