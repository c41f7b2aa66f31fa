//! The kernels composed into the blocks of published networks, against `parity/models/{blocks.npz, mevae.json}`.
//!
//! Tolerance: 1e-5 of the largest value in single precision, 1e-9 in double, as the data's README says; double precision
//! takes candle's operations, as GPUs do.

use candle_core::{DType, Device, Tensor};
use ndarray::ArrayD;
use phenocoder_model::kernel::{
    Activation, BatchNormConfig, ConvConfig, ConvTransposeConfig, Padding, PoolConfig,
    RunningStatistics, batch_norm_train, conv_transpose2d_with, conv2d_with, max_pool2d,
    resize_nearest2d, upsample_nearest2d,
};
use phenocoder_testdata::{Npz, find};
use serde_json::Value;

struct Blocks {
    npz: Npz,
    dtype: DType,
    prefix: &'static str,
}

/// Both precisions with their tolerances.
const PRECISIONS: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-9)];

fn blocks(dtype: DType, prefix: &'static str) -> Option<Blocks> {
    let npz = Npz::open(&find("parity/models/blocks.npz")?);
    Some(Blocks { npz, dtype, prefix })
}

fn tensor(values: &ArrayD<f64>, dtype: DType) -> Tensor {
    let flat: Vec<f64> = values.iter().copied().collect();
    let tensor = Tensor::from_vec(flat, values.shape(), &Device::Cpu).unwrap();
    tensor.to_dtype(dtype).unwrap()
}

impl Blocks {
    /// An array `n, c, y, x` of the file as `n, y, x, c`.
    fn image(&self, name: &str) -> Tensor {
        let image = tensor(&self.npz.dynamic(name), self.dtype);
        image.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap()
    }

    fn conv(&self, x: &Tensor, weights: &str, stride: usize, padding: usize) -> Tensor {
        let name = format!("{}_{weights}", self.prefix);
        let kernel = tensor(&self.npz.dynamic(&name), self.dtype);
        let kernel = kernel.permute((2, 3, 1, 0)).unwrap();
        let config = ConvConfig::new()
            .with_stride(stride)
            .with_padding(Padding::Symmetric(padding));
        conv2d_with(x, &kernel, None, &config).unwrap()
    }

    fn norm(&self, x: &Tensor, name: &str, activation: Activation) -> Tensor {
        let name = format!("{}_{name}", self.prefix);
        let rows = tensor(&self.npz.dynamic(&name), self.dtype);
        let (scale, offset) = (rows.get(0).unwrap(), rows.get(1).unwrap());
        let running =
            RunningStatistics::new(offset.zeros_like().unwrap(), scale.ones_like().unwrap());
        let config = BatchNormConfig::new().with_activation(activation);
        batch_norm_train(x, &scale, &offset, &running, &config)
            .unwrap()
            .0
    }

    fn equals(&self, found: &Tensor, name: &str, tolerance: f64) {
        let expected = self.npz.dynamic::<f64>(name);
        let found = found.permute((0, 3, 1, 2)).unwrap();
        close(name, &found, &expected, tolerance);
    }
}

fn close(name: &str, found: &Tensor, expected: &ArrayD<f64>, tolerance: f64) {
    assert_eq!(found.dims(), expected.shape(), "{name}");
    let values = found.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    let largest = expected.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let mut worst = 0.0_f64;
    for (a, b) in values.to_vec1::<f64>().unwrap().iter().zip(expected) {
        worst = worst.max((a - b).abs() / largest);
    }
    println!(
        "{name} in {:?}: {worst:.1e} of the largest value",
        found.dtype()
    );
    assert!(worst <= tolerance, "{name}: {worst:e}");
}

#[test]
fn the_encoder_block_of_a_resnet_equals_the_reference() {
    for (dtype, tolerance) in PRECISIONS {
        let Some(b) = blocks(dtype, "enc") else {
            return;
        };
        let x = b.image("enc_x");
        let y = b.norm(&b.conv(&x, "w1", 2, 1), "bn1", Activation::Relu);
        let y = b.norm(&b.conv(&y, "w2", 1, 1), "bn2", Activation::Linear);
        let shortcut = b.norm(&b.conv(&x, "wd", 2, 0), "bnd", Activation::Linear);
        let y = (y + shortcut).unwrap().relu().unwrap();
        b.equals(&y, "enc_y", tolerance);
    }
}

#[test]
fn the_decoder_block_of_a_resnet_equals_the_reference() {
    for (dtype, tolerance) in PRECISIONS {
        let Some(b) = blocks(dtype, "dec") else {
            return;
        };
        let x = b.image("dec_x");
        let y = b.norm(&b.conv(&x, "w1", 1, 1), "bn1", Activation::Relu);
        let y = upsample_nearest2d(&y, 2).unwrap();
        let y = b.norm(&b.conv(&y, "w2", 1, 1), "bn2", Activation::Linear);
        let up = upsample_nearest2d(&x, 2).unwrap();
        let shortcut = b.norm(&b.conv(&up, "wd", 1, 0), "bnd", Activation::Linear);
        let y = (y + shortcut).unwrap().relu().unwrap();
        b.equals(&y, "dec_y", tolerance);
    }
}

#[test]
fn the_bottleneck_decoder_block_of_a_resnet_equals_the_reference() {
    for (dtype, tolerance) in PRECISIONS {
        let Some(b) = blocks(dtype, "decb") else {
            return;
        };
        // It takes the input of the encoder block.
        let x = b.image("enc_x");
        let y = b.norm(&b.conv(&x, "w1", 1, 0), "bn1", Activation::Relu);
        let y = upsample_nearest2d(&y, 2).unwrap();
        let y = b.norm(&b.conv(&y, "w2", 1, 1), "bn2", Activation::Relu);
        let y = b.norm(&b.conv(&y, "w3", 1, 0), "bn3", Activation::Linear);
        let up = upsample_nearest2d(&x, 2).unwrap();
        let shortcut = b.norm(&b.conv(&up, "wd", 1, 0), "bnd", Activation::Linear);
        let y = (y + shortcut).unwrap().relu().unwrap();
        b.equals(&y, "decb_y", tolerance);
    }
}

#[test]
fn the_residual_block_of_a_vq_vae_equals_both_references() {
    for (dtype, tolerance) in PRECISIONS {
        let Some(b) = blocks(dtype, "vqres") else {
            return;
        };
        let x = b.image("enc_x");
        let inner = b.conv(&x.relu().unwrap(), "w1", 1, 1).relu().unwrap();
        let inner = b.conv(&inner, "w2", 1, 0);
        b.equals(&(&x + &inner).unwrap(), "vqres_y", tolerance);
        let changed = (x.relu().unwrap() + inner).unwrap();
        b.equals(&changed, "vqres_y_inplace_relu", tolerance);
    }
}

#[test]
fn nearest_resizing_to_a_size_that_is_no_multiple_equals_the_reference() {
    for (dtype, tolerance) in PRECISIONS {
        let Some(b) = blocks(dtype, "near") else {
            return;
        };
        let y = resize_nearest2d(&b.image("near_x"), [7, 7]).unwrap();
        b.equals(&y, "near_7", tolerance);
    }
}

#[test]
fn circular_convolution_and_pooling_equal_the_reference() {
    for (dtype, tolerance) in PRECISIONS {
        let Some(b) = blocks(dtype, "circ") else {
            return;
        };
        let x = b.image("circ_x");
        let kernel = tensor(&b.npz.dynamic("circ_w"), dtype)
            .permute((2, 3, 1, 0))
            .unwrap();
        for (stride, name) in [(1, "circ_conv_s1"), (2, "circ_conv_s2")] {
            let config = ConvConfig::new()
                .with_stride(stride)
                .with_padding(Padding::Circular(1));
            let y = conv2d_with(&x, &kernel, None, &config).unwrap();
            b.equals(&y, name, tolerance);
        }
        let config = PoolConfig::new(3)
            .with_stride(2)
            .with_padding(Padding::Circular(1));
        b.equals(
            &max_pool2d(&x, &config).unwrap(),
            "circ_maxpool3s2",
            tolerance,
        );
    }
}

/// A nested list of numbers.
fn array(value: &Value) -> ArrayD<f64> {
    fn flatten(value: &Value, depth: usize, shape: &mut Vec<usize>, flat: &mut Vec<f64>) {
        match value.as_array() {
            Some(items) => {
                if shape.len() == depth {
                    shape.push(items.len());
                }
                for item in items {
                    flatten(item, depth + 1, shape, flat);
                }
            }
            None => flat.push(value.as_f64().unwrap()),
        }
    }
    let (mut shape, mut flat) = (Vec::new(), Vec::new());
    flatten(value, 0, &mut shape, &mut flat);
    ArrayD::from_shape_vec(shape, flat).unwrap()
}

#[test]
fn convolutions_of_keras_and_of_pytorch_equal_the_reference() {
    let Some(path) = find("parity/models/mevae.json") else {
        return;
    };
    let all: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let torch = Padding::Symmetric(1);
    for (dtype, tolerance) in PRECISIONS {
        let get = |case: &str, name: &str| tensor(&array(&all[case][name]), dtype);

        let case = "conv_same_s2";
        let (x, k, b) = (
            get(case, "x_nhwc"),
            get(case, "kernel_hwio"),
            get(case, "bias"),
        );
        for (padding, name) in [(Padding::Same, "y_tf_same"), (torch, "y_torch_pad1")] {
            let config = ConvConfig::new().with_stride(2).with_padding(padding);
            let y = conv2d_with(&x, &k, Some(&b), &config).unwrap();
            close(name, &y, &array(&all[case][name]), tolerance);
        }

        let case = "convT_same_s2";
        let (x, k, b) = (
            get(case, "x_nhwc"),
            get(case, "kernel_hwoi"),
            get(case, "bias"),
        );
        for (cropping, added, name) in [
            (Padding::Same, 0, "y_tf_same"),
            (Padding::Valid, 0, "full_2n_plus_1"),
            (torch, 1, "y_torch_pad1_outpad1"),
        ] {
            let config = ConvTransposeConfig::new()
                .with_stride(2)
                .with_cropping(cropping)
                .with_output_padding(added);
            let y = conv_transpose2d_with(&x, &k, Some(&b), &config).unwrap();
            close(name, &y, &array(&all[case][name]), tolerance);
        }

        let case = "convT_same_s1";
        let (x, k) = (get(case, "x_nhwc"), get(case, "kernel_hwoi"));
        for cropping in [Padding::Same, torch] {
            let config = ConvTransposeConfig::new().with_cropping(cropping);
            let y = conv_transpose2d_with(&x, &k, None, &config).unwrap();
            close(case, &y, &array(&all[case]["y_tf_same"]), tolerance);
        }
    }
}
