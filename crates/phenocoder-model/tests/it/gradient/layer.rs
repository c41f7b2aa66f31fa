//! Whole networks: the same function in single and in double precision, and its central differences.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use ndarray::Array2;
use phenocoder_core::{PatchBatch, PatchShape, Seed};
use phenocoder_model::kernel::{
    Activation, BatchNormConfig, ConvConfig, ConvTransposeConfig, Padding, PoolConfig, Reduction,
    RunningStatistics, average_pool2d, batch_norm, batch_norm_train, binary_cross_entropy,
    conv_transpose2d, conv_transpose2d_with, conv1d, conv2d, conv2d_with, dense, kl_divergence,
    max_pool2d, resize_nearest2d, sample_normal, squared_error, upsample_nearest2d,
};
use phenocoder_model::{Autoencoder, Batch, CvaeConfig, Result, Step};

use super::normal;

type Weights = BTreeMap<String, Tensor>;

/// Weights or gradients by name.
type Values = BTreeMap<String, Vec<f64>>;

fn flat(t: &Tensor) -> Vec<f64> {
    let t = t.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    t.to_vec1().unwrap()
}

/// The loss of a network in a precision, and its gradients.
fn evaluate(
    weights: &Values,
    shapes: &BTreeMap<String, Vec<usize>>,
    dtype: DType,
    loss: &dyn Fn(&Weights) -> Result<Tensor>,
) -> (f64, Values) {
    let variables: BTreeMap<String, Var> = weights
        .iter()
        .map(|(name, values)| {
            let t = Tensor::from_slice(values, shapes[name].as_slice(), &Device::Cpu).unwrap();
            (
                name.clone(),
                Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap(),
            )
        })
        .collect();
    let tensors = variables
        .iter()
        .map(|(name, v)| (name.clone(), v.as_tensor().clone()))
        .collect();
    let loss = loss(&tensors).unwrap();
    let store = loss.backward().unwrap();
    let slope = |(name, v): (&String, &Var)| (name.clone(), flat(store.get(v).unwrap()));
    (flat(&loss)[0], variables.iter().map(slope).collect())
}

/// Largest difference of two gradients, relative to the largest value.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-6_f64, |m, v| m.max(v.abs()));
    a.iter()
        .zip(b)
        .fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()))
        / largest
}

/// Compares gradients in double precision with central differences of the loss, at three places of every weight.
fn differences(weights: &Values, slopes: &Values, seed: u64, loss: &dyn Fn(&Values) -> f64) {
    const STEP: f64 = 1e-5;
    let mut places = Seed::new(seed).stream("places", 0);
    for (name, slope) in slopes {
        let scale = slope.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
        for _ in 0..3 {
            let place = places.below(slope.len());
            let at = |shift: f64| {
                let mut moved = weights.clone();
                moved.get_mut(name).unwrap()[place] += shift;
                loss(&moved)
            };
            let (right, left) = (at(STEP), at(-STEP));
            let error = ((right - left) / (2.0 * STEP) - slope[place]).abs();
            // The loss is rounded too.
            let bound = 1e-6 * scale + 1e-14 * right.abs() / STEP;
            assert!(
                error < bound,
                "{name} at {place}: {} off by {error:e}",
                slope[place]
            );
        }
    }
}

/// The loss of the CVAE, out of single layers.
fn cvae(
    w: &Weights,
    config: &CvaeConfig,
    [pixels, conditions, noise]: [&Tensor; 3],
) -> Result<Tensor> {
    let dtype = w["encoder.dense.bias"].dtype();
    let [pixels, conditions, noise] =
        [pixels, conditions, noise].map(|t| t.to_dtype(dtype).unwrap());
    let layer = |name: &str| (&w[&format!("{name}.kernel")], &w[&format!("{name}.bias")]);
    let join = |x: &Tensor| match config.n_conditions {
        0 => Ok(x.clone()),
        _ => Tensor::cat(&[x, &conditions], 1),
    };
    let layers = config.conv_layers.len();
    let mut x = pixels.clone();
    for i in 0..layers {
        let (kernel, bias) = layer(&format!("encoder.conv.{i}"));
        x = conv2d(&x, kernel, bias, 2, Activation::Relu)?;
    }
    let (_, h, width, _) = x.dims4()?;
    let dense = |x: &Tensor, name: &str, activation| {
        let (kernel, bias) = layer(name);
        dense(x, kernel, bias, activation)
    };
    let x = dense(
        &join(&x.flatten_from(1)?)?,
        "encoder.dense",
        Activation::Relu,
    )?;
    let mean = dense(&x, "encoder.z_mean", Activation::Linear)?;
    let log_var = dense(&x, "encoder.z_log_var", Activation::Linear)?;
    let z = sample_normal(&mean, &log_var, &noise)?;
    let x = dense(&join(&z)?, "decoder.dense", Activation::Relu)?;
    // The original begins the decoder with the first width, not the last.
    let mut x = x.reshape(((), h, width, config.conv_layers[0]))?;
    for i in 0..layers {
        let (kernel, bias) = layer(&format!("decoder.conv.{i}"));
        x = conv_transpose2d(&x, kernel, bias, 2, Activation::Relu)?;
    }
    let (kernel, bias) = layer("decoder.output");
    let logits = conv_transpose2d(&x, kernel, bias, 1, Activation::Linear)?;
    let kl = (kl_divergence(&mean, &log_var, 1.0)? * config.beta)?;
    Ok((binary_cross_entropy(&logits, &pixels)? + kl)?)
}

#[test]
fn the_gradients_of_a_whole_cvae_are_those_of_its_loss() {
    let mut worst = 0.0_f64;
    for case in 0..16_u64 {
        let mut draw = Seed::new(case).stream("case", 0);
        let depth = 1 + draw.below(3);
        let side = (1 << depth) * (1 + draw.below(2));
        let shape = PatchShape::new(side, 2 * side, 1 + draw.below(4));
        let widths: Vec<usize> = (0..depth).map(|_| 2 + draw.below(12)).collect();
        let (n, conditions) = (2 + draw.below(3), 2 * draw.below(2));
        let config = CvaeConfig::new(shape, 1 + draw.below(5))
            .with_conv_layers(widths)
            .with_dense_dim(4 + draw.below(8))
            .with_dropout(0.0)
            .with_beta(draw.uniform())
            .with_n_conditions(conditions);
        let model = config.build(Seed::new(case), &Device::Cpu).unwrap();
        // Biases of 0 make sums of exactly 0 behind a dead unit, where a ReLU has no derivative.
        for (name, variable) in model.parameters().iter() {
            if name.ends_with("bias") {
                let values: Vec<f32> = normal(variable.elem_count(), name, case);
                let values = values.into_iter().map(|v| v * 0.3).collect::<Vec<f32>>();
                let bias = Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap();
                variable.set(&bias).unwrap();
            }
        }
        let mut patches = PatchBatch::zeros(n, shape, conditions);
        patches.pixels.mapv_inplace(|_| draw.uniform() as f32);
        if conditions > 0 {
            let columns = Array2::from_shape_fn((n, conditions), |(i, j)| {
                f32::from(u8::from(i % conditions == j))
            });
            patches.conditions.assign(&columns);
        }
        let batch = Batch::new(&patches, &Device::Cpu).unwrap();
        let noise = normal(n * config.latent_dim, "noise", case);
        let noise = Tensor::from_vec(noise, (n, config.latent_dim), &Device::Cpu).unwrap();

        let losses = model
            .loss_with_noise(&batch, Some(&noise), &Step::training(Seed::new(case), 0))
            .unwrap();
        let single = model
            .parameters()
            .gradients(&losses.total.backward().unwrap())
            .unwrap();

        let columns = batch.conditions.clone().unwrap_or_else(|| noise.clone());
        let inputs = [&batch.pixels, &columns, &noise];
        let weights: Values = model
            .parameters()
            .iter()
            .map(|(name, v)| (name.to_owned(), flat(v)))
            .collect();
        let shapes: BTreeMap<String, Vec<usize>> = model
            .parameters()
            .iter()
            .map(|(name, v)| (name.to_owned(), v.dims().to_vec()))
            .collect();
        let loss = |w: &Weights| cvae(w, &config, inputs);
        let (value, slopes) = evaluate(&weights, &shapes, DType::F64, &loss);
        let found = flat(&losses.total)[0];
        assert!(
            (found - value).abs() < 1e-6 * value.abs(),
            "case {case}: {found} {value}"
        );
        for (name, slope) in &slopes {
            let error = distance(&flat(&single[name]), slope);
            worst = worst.max(error);
            assert!(error < 1e-5, "case {case}, {name}: {error:e}");
        }
        differences(&weights, &slopes, case, &|weights| {
            evaluate(weights, &shapes, DType::F64, &loss).0
        });
    }
    println!("gradients of the CVAE: {worst:.1e} of the largest value");
}

/// A network with one of every other layer: normalizations, poolings, resizings, signals, all paddings.
fn every_layer(w: &Weights, pixels: &Tensor) -> Result<Tensor> {
    let dtype = w["a"].dtype();
    let pixels = pixels.to_dtype(dtype)?;
    let relu = |config: BatchNormConfig| config.with_activation(Activation::Relu);
    let constant = |value: f64, like: &Tensor| like.ones_like()?.detach().affine(value, 0.0);
    let running = RunningStatistics::new(constant(0.1, &w["scale"])?, constant(1.3, &w["scale"])?);
    let circular = ConvConfig::new().with_padding(Padding::Circular(1));
    let x = conv2d_with(&pixels, &w["a"], None, &circular)?;
    let (x, _) = batch_norm_train(
        &x,
        &w["scale"],
        &w["offset"],
        &running,
        &relu(BatchNormConfig::keras()),
    )?;
    let stem = PoolConfig::new(3)
        .with_stride(2)
        .with_padding(Padding::Symmetric(1));
    let x = max_pool2d(&x, &stem)?;
    let padding = Padding::Explicit {
        top: 0,
        bottom: 2,
        left: 1,
        right: 0,
    };
    let x = conv2d_with(
        &x,
        &w["b"],
        Some(&w["bias"]),
        &ConvConfig::new().with_padding(padding),
    )?;
    let x = batch_norm(
        &x,
        &w["scale2"],
        &w["offset2"],
        &RunningStatistics::new(constant(0.2, &w["scale2"])?, constant(0.7, &w["scale2"])?),
        &BatchNormConfig::new(),
    )?;
    let down = average_pool2d(&x, &PoolConfig::new(2).with_padding(Padding::Same))?;
    let (n, h, width, c) = down.dims4()?;
    let signal = conv1d(
        &down.reshape((n, h * width, c))?,
        &w["signal"],
        None,
        &ConvConfig::new(),
    )?;
    let squares = (signal.reshape((n, h, width, c))? + &down)?;
    let x = upsample_nearest2d(&squares, 2)?;
    let torch = ConvTransposeConfig::new()
        .with_stride(2)
        .with_cropping(Padding::Symmetric(1))
        .with_output_padding(1);
    let x = conv_transpose2d_with(&x, &w["c"], None, &torch)?;
    let (_, height, width, _) = pixels.dims4()?;
    squared_error(
        &resize_nearest2d(&x, [height, width])?,
        &pixels,
        Reduction::SumPerSample,
    )
}

#[test]
fn the_gradients_of_a_network_with_every_layer_are_those_of_its_loss() {
    let mut worst = 0.0_f64;
    for case in 0..16_u64 {
        let mut draw = Seed::new(case).stream("case", 0);
        let (n, side, c, wide) = (
            2 + draw.below(3),
            5 + draw.below(6),
            1 + draw.below(4),
            2 + draw.below(9),
        );
        let shapes: BTreeMap<String, Vec<usize>> = [
            ("a", vec![3, 3, c, wide]),
            ("scale", vec![wide]),
            ("offset", vec![wide]),
            ("b", vec![3, 2, wide, wide + 1]),
            ("bias", vec![wide + 1]),
            ("scale2", vec![wide + 1]),
            ("offset2", vec![wide + 1]),
            ("signal", vec![3, wide + 1, wide + 1]),
            ("c", vec![3, 3, c, wide + 1]),
        ]
        .map(|(name, shape)| (name.to_owned(), shape))
        .into();
        let weights: Values = shapes
            .iter()
            .map(|(name, shape)| {
                let values = normal(shape.iter().product(), name, case);
                (
                    name.clone(),
                    values.into_iter().map(|v| f64::from(v * 0.5)).collect(),
                )
            })
            .collect();
        let pixels = normal(n * side * side * c, "pixels", case);
        let pixels = Tensor::from_vec(pixels, (n, side, side, c), &Device::Cpu).unwrap();
        let loss = |w: &Weights| every_layer(w, &pixels);
        let (found, single) = evaluate(&weights, &shapes, DType::F32, &loss);
        let (value, slopes) = evaluate(&weights, &shapes, DType::F64, &loss);
        assert!(
            (found - value).abs() < 1e-6 * value.abs(),
            "case {case}: {found} {value}"
        );
        for (name, slope) in &slopes {
            let error = distance(&single[name], slope);
            worst = worst.max(error);
            assert!(error < 1e-5, "case {case}, {name}: {error:e}");
        }
        differences(&weights, &slopes, case, &|weights| {
            evaluate(weights, &shapes, DType::F64, &loss).0
        });
    }
    println!("gradients of the network with every layer: {worst:.1e} of the largest value");
}
