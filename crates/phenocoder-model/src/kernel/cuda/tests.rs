use candle_core::{Device, Tensor, Var};
use phenocoder_core::Seed;

use super::super::{Activation, binary_cross_entropy, dense, kl_divergence};
use super::*;

/// The first GPU; without one the tests that need it say so and pass.
fn gpu() -> Option<Device> {
    let device = Device::new_cuda(0);
    if let Err(reason) = &device {
        println!("skipped: no NVIDIA GPU ({reason})");
    }
    device.ok()
}

fn values(n: usize, name: &str) -> Vec<f32> {
    let mut stream = Seed::new(7).stream(name, 0);
    (0..n).map(|_| stream.normal() as f32).collect()
}

/// What `f` gives and its gradients, on the CPU and on the GPU, agree to a thousandth of the largest value.
fn agree(device: &Device, shapes: [&[usize]; 2], f: impl Fn(&Tensor, &Tensor) -> Tensor) {
    let run = |device: &Device| {
        let input = |i: usize| {
            let n = shapes[i].iter().product();
            let values = values(n, &format!("input-{i}"));
            Var::from_vec(values, shapes[i], device).unwrap()
        };
        let (a, b) = (input(0), input(1));
        let result = f(&a, &b);
        let gradients = result.backward().unwrap();
        let gradients = [&a, &b].map(|v| gradients.get(v).cloned());
        let mut found = vec![result];
        found.extend(gradients.into_iter().flatten());
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        found.iter().map(flat).collect::<Vec<_>>()
    };
    let (cpu, gpu) = (run(&Device::Cpu), run(device));
    assert_eq!(cpu.len(), gpu.len());
    for (cpu, gpu) in cpu.iter().zip(&gpu) {
        let scale = cpu.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        for (a, b) in cpu.iter().zip(gpu) {
            assert!((a - b).abs() <= 1e-3 * scale, "{a} {b}");
        }
    }
}

#[test]
fn the_kernels_compile() {
    let ptx = compile().unwrap();
    for function in [
        "cross_entropy",
        "cross_entropy_gradient",
        "divergence",
        "divergence_gradient_mean",
        "divergence_gradient_log_var",
        "bias_relu",
        "relu_gradient",
        "adam_moment",
        "adam_weight",
    ] {
        assert!(ptx.contains(&format!(".entry {function}(")), "{function}");
    }
    assert!(ptx.contains(".target sm_75"));
}

#[test]
fn losses_equal_those_of_the_cpu() {
    let Some(device) = gpu() else { return };
    let shape: &[usize] = &[3, 37, 41, 5];
    agree(&device, [shape, shape], |a, b| {
        binary_cross_entropy(a, b).unwrap()
    });
    agree(&device, [&[7, 33], &[7, 33]], |a, b| {
        kl_divergence(a, b, 2.0).unwrap()
    });
}

#[test]
fn bias_and_relu_equal_those_of_the_cpu() {
    let Some(device) = gpu() else { return };
    agree(&device, [&[9, 4], &[4, 33]], |x, kernel| {
        let bias = Tensor::from_vec(values(33, "bias"), 33, x.device()).unwrap();
        let y = dense(x, kernel, &bias, Activation::Relu).unwrap();
        y.sqr().unwrap().sum_all().unwrap()
    });
}

#[cfg(feature = "train")]
#[test]
fn a_step_of_adam_equals_that_of_the_cpu() {
    use crate::train::{AdamConfig, OptimizerConfig};
    use crate::{Gradients, Parameters, Role};

    let Some(device) = gpu() else { return };
    let run = |device: &Device| {
        let tensor = |name: &str| Tensor::from_vec(values(1000, name), (10, 100), device).unwrap();
        let mut parameters = Parameters::new();
        let weight = parameters
            .insert("w", Role::Weight, &tensor("weight"))
            .unwrap();
        let config = OptimizerConfig::from(AdamConfig::new().with_weight_decay(0.1));
        let mut adam = config.build().unwrap();
        for name in ["first", "second"] {
            let gradients = Gradients::from([("w".to_owned(), tensor(name))]);
            adam.step(&parameters, &gradients, 1e-2).unwrap();
        }
        weight.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    for (a, b) in run(&Device::Cpu).iter().zip(run(&device)) {
        assert!((a - b).abs() <= 1e-5, "{a} {b}");
    }
}

#[test]
fn whole_networks_equal_those_of_the_cpu() {
    use crate::models::mevae::MeVaeConfig;
    use crate::{Autoencoder, Batch, CvaeConfig, Precision, Step};
    use phenocoder_core::{PatchBatch, PatchShape};

    let Some(device) = gpu() else { return };
    let shape = PatchShape::new(16, 16, 3);
    let pixels = |name: &str| {
        let values = values(6 * 16 * 16 * 3, name)
            .iter()
            .map(|v| v.abs().min(1.0))
            .collect();
        ndarray::Array4::from_shape_vec((6, 16, 16, 3), values).unwrap()
    };
    let run = |device: &Device, precision: Precision, several: bool| {
        let model: Box<dyn Autoencoder> = match several {
            false => {
                let config = CvaeConfig::new(shape, 5).with_conv_layers([8, 20]);
                Box::new(config.build(Seed::new(1), device).unwrap())
            }
            true => {
                let config = MeVaeConfig::new(shape, 5)
                    .with_conv_layers([8, 20])
                    .with_n_encoders(2);
                Box::new(config.build(Seed::new(1), device).unwrap())
            }
        };
        let mut patches =
            PatchBatch::new(pixels("pixels"), ndarray::Array2::zeros((6, 0))).unwrap();
        if several {
            patches.views = vec![pixels("one"), pixels("two")];
        }
        let batch = Batch::new(&patches, device).unwrap();
        let step = Step::training(Seed::new(3), 1).with_precision(precision);
        let losses = model.loss(&batch, &step).unwrap();
        let store = losses.total.backward().unwrap();
        let mut found = vec![vec![losses.total.to_scalar::<f32>().unwrap()]];
        for (_, weight) in model.parameters().weights() {
            let gradient = store.get(weight).unwrap().flatten_all().unwrap();
            found.push(gradient.to_vec1::<f32>().unwrap());
        }
        found
    };
    for several in [false, true] {
        let cpu = run(&Device::Cpu, Precision::F32, several);
        for (precision, tolerance) in [(Precision::F32, 1e-3), (Precision::Bf16, 5e-2)] {
            let gpu = run(&device, precision, several);
            for (i, (cpu, gpu)) in cpu.iter().zip(&gpu).enumerate() {
                let scale = cpu.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
                for (a, b) in cpu.iter().zip(gpu) {
                    assert!(
                        (a - b).abs() <= tolerance * scale,
                        "{precision} {i}: {a} {b}"
                    );
                }
            }
        }
    }
}
