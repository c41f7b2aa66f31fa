//! The kernels on the layers of the default network, batch 64, four channels, forward and backward, beside candle's own
//! operations.
//!
//! candle gets its own layout (`[n, c, y, x]`), so nothing is transposed on the way.
#![allow(clippy::unwrap_used, reason = "the data is valid")]

use candle_core::{DType, Device, Tensor, Var};
use divan::Bencher;
use divan::counter::ItemsCount;
use phenocoder_benches::SEED;
use phenocoder_benches::peers::BATCH;
use phenocoder_model::kernel::{
    Activation, BatchNormConfig, PoolConfig, RunningStatistics, batch_norm_train,
    binary_cross_entropy, conv_transpose2d, conv2d, dense, kl_divergence, max_pool2d,
    upsample_nearest2d,
};

const WIDTHS: [usize; 5] = [8, 16, 32, 64, 128];

fn main() {
    divan::main();
}

#[divan::bench(args = cases(32), sample_count = 10, sample_size = 1)]
fn side_32(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case);
}

#[divan::bench(args = cases(128), sample_count = 3, sample_size = 1)]
fn side_128(bencher: Bencher<'_, '_>, case: &Case) {
    measure(bencher, case);
}

fn measure(bencher: Bencher<'_, '_>, case: &Case) {
    let run = case.prepare();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(run);
}

/// One kernel on one shape, ours or candle's.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    kind: Kind,
    /// Rows and columns, channels in, channels out.
    shape: [usize; 3],
    candle: bool,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, {}",
            self.name,
            if self.candle { "candle" } else { "ours" }
        )
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// 3×3 with this stride, bias and ReLU.
    Conv(usize),
    Transposed(usize),
    Dense,
    BatchNorm,
    MaxPool,
    Upsample,
    CrossEntropy,
    Divergence,
}

/// Every kernel, ours then candle's.
fn cases(side: usize) -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |name: String, kind: Kind, shape: [usize; 3]| {
        for candle in [false, true] {
            let name = name.clone();
            all.push(Case {
                name,
                kind,
                shape,
                candle,
            });
        }
    };
    let (mut rows, mut channels) = (side, 4);
    for (i, width) in WIDTHS.into_iter().enumerate() {
        let name = format!("encoder.conv.{i} {channels}→{width}");
        add(name, Kind::Conv(2), [rows, channels, width]);
        (rows, channels) = (rows / 2, width);
    }
    let inner = rows * rows;
    add(
        "encoder.dense".to_owned(),
        Kind::Dense,
        [1, inner * channels, 64],
    );
    add(
        "decoder.dense".to_owned(),
        Kind::Dense,
        [1, 32, inner * WIDTHS[0]],
    );
    // The original begins the decoder with the first width, not the last.
    channels = WIDTHS[0];
    for (i, width) in WIDTHS.into_iter().rev().enumerate() {
        let name = format!("decoder.conv.{i} {channels}→{width}");
        add(name, Kind::Transposed(2), [rows, channels, width]);
        (rows, channels) = (2 * rows, width);
    }
    add(
        format!("decoder.output {channels}→4"),
        Kind::Transposed(1),
        [rows, channels, 4],
    );
    add("cross-entropy".to_owned(), Kind::CrossEntropy, [side, 4, 4]);
    add("divergence".to_owned(), Kind::Divergence, [1, 32, 32]);
    add(
        "batch norm, ReLU, 16".to_owned(),
        Kind::BatchNorm,
        [side / 2, 16, 16],
    );
    add(
        "max pool 2×2, 16".to_owned(),
        Kind::MaxPool,
        [side / 2, 16, 16],
    );
    add(
        "nearest ×2, 16".to_owned(),
        Kind::Upsample,
        [side / 2, 16, 16],
    );
    all
}

fn var(shape: &[usize], name: &str) -> Var {
    let mut stream = SEED.stream(name, 0);
    let values = (0..shape.iter().product()).map(|_| stream.normal() as f32);
    Var::from_vec(values.collect(), shape, &Device::Cpu).unwrap()
}

/// A function that runs a kernel and its gradients.
type Run = Box<dyn Fn()>;

impl Case {
    fn image(&self) -> Var {
        let [rows, channels, _] = self.shape;
        match self.candle {
            true => var(&[BATCH, channels, rows, rows], "image"),
            false => var(&[BATCH, rows, rows, channels], "image"),
        }
    }

    fn prepare(&self) -> Run {
        let [_, c, out] = self.shape;
        let run = |f: Box<dyn Fn() -> Tensor>| -> Run {
            Box::new(move || {
                // An upstream gradient of ones.
                divan::black_box(f().sum_all().unwrap().backward().unwrap());
            })
        };
        let (bias, candle) = (var(&[out], "bias"), self.candle);
        let relu = Activation::Relu;
        match self.kind {
            Kind::Conv(stride) => {
                let x = self.image();
                match candle {
                    false => {
                        let kernel = var(&[3, 3, c, out], "kernel");
                        run(Box::new(move || {
                            conv2d(&x, &kernel, &bias, stride, relu).unwrap()
                        }))
                    }
                    true => {
                        let kernel = var(&[out, c, 3, 3], "kernel");
                        run(Box::new(move || {
                            let y = x.conv2d(&kernel, 1, stride, 1, 1).unwrap();
                            biased(&y, &bias).relu().unwrap()
                        }))
                    }
                }
            }
            Kind::Transposed(stride) => {
                let x = self.image();
                match candle {
                    false => {
                        let kernel = var(&[3, 3, out, c], "kernel");
                        run(Box::new(move || {
                            conv_transpose2d(&x, &kernel, &bias, stride, relu).unwrap()
                        }))
                    }
                    true => {
                        let kernel = var(&[c, out, 3, 3], "kernel");
                        run(Box::new(move || {
                            let y = x
                                .conv_transpose2d(&kernel, 1, stride - 1, stride, 1)
                                .unwrap();
                            biased(&y, &bias).relu().unwrap()
                        }))
                    }
                }
            }
            Kind::Dense => {
                let (x, kernel) = (var(&[BATCH, c], "rows"), var(&[c, out], "kernel"));
                run(Box::new(move || match candle {
                    false => dense(&x, &kernel, &bias, relu).unwrap(),
                    true => x
                        .matmul(&kernel)
                        .unwrap()
                        .broadcast_add(&bias)
                        .unwrap()
                        .relu()
                        .unwrap(),
                }))
            }
            Kind::BatchNorm => {
                let (x, scale) = (self.image(), var(&[c], "scale"));
                match candle {
                    false => {
                        let running = RunningStatistics::new(
                            Tensor::zeros(c, DType::F32, &Device::Cpu).unwrap(),
                            Tensor::ones(c, DType::F32, &Device::Cpu).unwrap(),
                        );
                        let config = BatchNormConfig::new().with_activation(relu);
                        run(Box::new(move || {
                            batch_norm_train(&x, &scale, &bias, &running, &config)
                                .unwrap()
                                .0
                        }))
                    }
                    true => {
                        let zeros = Tensor::zeros(c, DType::F32, &Device::Cpu).unwrap();
                        let ones = Tensor::ones(c, DType::F32, &Device::Cpu).unwrap();
                        let (scale, bias) = (scale.as_tensor().clone(), bias.as_tensor().clone());
                        let norm =
                            candle_nn::BatchNorm::new(c, zeros, ones, scale, bias, 1e-5).unwrap();
                        run(Box::new(move || {
                            norm.forward_train(&x).unwrap().relu().unwrap()
                        }))
                    }
                }
            }
            Kind::MaxPool => {
                let x = self.image();
                run(Box::new(move || match candle {
                    false => max_pool2d(&x, &PoolConfig::new(2)).unwrap(),
                    true => x.max_pool2d(2).unwrap(),
                }))
            }
            Kind::Upsample => {
                let (x, [rows, ..]) = (self.image(), self.shape);
                run(Box::new(move || match candle {
                    false => upsample_nearest2d(&x, 2).unwrap(),
                    true => x.upsample_nearest2d(2 * rows, 2 * rows).unwrap(),
                }))
            }
            Kind::CrossEntropy => {
                let logits = self.image();
                let targets = candle_nn::ops::sigmoid(&logits).unwrap().detach();
                run(Box::new(move || match candle {
                    false => binary_cross_entropy(&logits, &targets).unwrap(),
                    true => {
                        let log =
                            (logits.abs().unwrap().neg().unwrap().exp().unwrap() + 1.0).unwrap();
                        let linear = (logits.relu().unwrap()
                            - (logits.as_tensor() * &targets).unwrap())
                        .unwrap();
                        let sum = (linear + log.log().unwrap()).unwrap().sum_all().unwrap();
                        (sum / BATCH as f64).unwrap()
                    }
                }))
            }
            Kind::Divergence => {
                let (mean, s) = (var(&[BATCH, c], "mean"), var(&[BATCH, c], "log_var"));
                run(Box::new(move || match candle {
                    false => kl_divergence(&mean, &s, 1.0).unwrap(),
                    true => {
                        let linear =
                            ((s.as_tensor() + 1.0).unwrap() - mean.sqr().unwrap()).unwrap();
                        let sum = (linear - s.exp().unwrap()).unwrap().sum_all().unwrap();
                        (sum * (-0.5 / BATCH as f64)).unwrap()
                    }
                }))
            }
        }
    }
}

fn biased(y: &Tensor, bias: &Tensor) -> Tensor {
    y.broadcast_add(&bias.reshape((1, (), 1, 1)).unwrap())
        .unwrap()
}
