//! Convolutions, transposed ones, one-dimensional ones and dense layers.

use candle_core::Tensor;
use phenocoder_model::kernel::{
    Activation, ConvConfig, ConvTransposeConfig, Padding, conv_transpose1d, conv_transpose2d_with,
    conv1d, conv2d_with, dense,
};
use proptest::prelude::*;

use super::{Check, DOUBLE, Input, Sum, sums};

/// One axis of a convolution from `big` to `small` pixels.
#[derive(Debug, Clone, Copy)]
struct Axis {
    big: usize,
    small: usize,
    kernel: usize,
    stride: usize,
    before: usize,
    circular: bool,
}

impl Axis {
    /// The axis of a convolution of `big` pixels; none where the kernel does not fit.
    fn forward(big: usize, kernel: usize, stride: usize, pads: Pads) -> Option<Self> {
        let (before, after) = match pads {
            Pads::Same => {
                let total = ((big.div_ceil(stride) - 1) * stride + kernel).saturating_sub(big);
                (total / 2, total - total / 2)
            }
            Pads::Zeros(before, after) | Pads::Circular(before, after) => (before, after),
        };
        if big + before + after < kernel {
            return None;
        }
        Some(Self {
            big,
            small: (big + before + after - kernel) / stride + 1,
            kernel,
            stride,
            before,
            circular: matches!(pads, Pads::Circular(..)),
        })
    }

    /// The axis of a transposed convolution of `small` pixels; none where nothing is left.
    fn transposed(
        small: usize,
        kernel: usize,
        stride: usize,
        pads: Pads,
        added: usize,
    ) -> Option<Self> {
        let axis = match pads {
            Pads::Same => return Self::forward(small * stride, kernel, stride, pads),
            Pads::Zeros(before, after) => {
                let full = (small - 1) * stride + kernel + added;
                Self {
                    big: full.checked_sub(before + after)?,
                    small,
                    kernel,
                    stride,
                    before,
                    circular: false,
                }
            }
            Pads::Circular(..) => return None,
        };
        (axis.big > 0).then_some(axis)
    }

    /// (small pixel, tap, big pixel) of all connections.
    fn connections(self) -> Vec<[usize; 3]> {
        let mut all = Vec::new();
        for small in 0..self.small {
            for tap in 0..self.kernel {
                let place = (small * self.stride + tap) as isize - self.before as isize;
                let size = self.big as isize;
                let place = if self.circular {
                    place.rem_euclid(size)
                } else {
                    place
                };
                if (0..size).contains(&place) {
                    all.push([small, tap, place as usize]);
                }
            }
        }
        all
    }
}

#[derive(Debug, Clone, Copy)]
enum Pads {
    Same,
    Zeros(usize, usize),
    Circular(usize, usize),
}

fn pads(padding: Padding) -> [Pads; 2] {
    match padding {
        Padding::Same => [Pads::Same; 2],
        Padding::Valid => [Pads::Zeros(0, 0); 2],
        Padding::Symmetric(p) => [Pads::Zeros(p, p); 2],
        Padding::Circular(p) => [Pads::Circular(p, p); 2],
        Padding::Explicit {
            top,
            bottom,
            left,
            right,
        } => [Pads::Zeros(top, bottom), Pads::Zeros(left, right)],
        other => panic!("{other:?} has no loops here"),
    }
}

/// A convolution as loops. A kernel is `[rows, columns, big channels, small channels]`.
struct Loops {
    n: usize,
    axes: [Axis; 2],
    channels: [usize; 2],
}

impl Loops {
    fn big_shape(&self) -> [usize; 4] {
        [self.n, self.axes[0].big, self.axes[1].big, self.channels[0]]
    }

    fn small_shape(&self) -> [usize; 4] {
        [
            self.n,
            self.axes[0].small,
            self.axes[1].small,
            self.channels[1],
        ]
    }

    fn kernel_shape(&self) -> [usize; 4] {
        let [big, small] = self.channels;
        [self.axes[0].kernel, self.axes[1].kernel, big, small]
    }

    /// Calls `f` with the places of every big value, kernel value and small value that are multiplied and summed.
    fn each(&self, mut f: impl FnMut(usize, usize, usize)) {
        let [rows, columns] = self.axes.map(Axis::connections);
        let [cb, cs] = self.channels;
        for sample in 0..self.n {
            for &[sy, ky, by] in &rows {
                for &[sx, kx, bx] in &columns {
                    let small = (sample * self.axes[0].small + sy) * self.axes[1].small + sx;
                    let big = (sample * self.axes[0].big + by) * self.axes[1].big + bx;
                    let tap = ky * self.axes[1].kernel + kx;
                    for i in 0..cb {
                        for o in 0..cs {
                            f(big * cb + i, (tap * cb + i) * cs + o, small * cs + o);
                        }
                    }
                }
            }
        }
    }

    fn small(&self, big: &[f64], kernel: &[f64]) -> Vec<Sum> {
        let mut small = sums(self.small_shape().iter().product());
        self.each(|b, k, s| small[s].add(big[b] * kernel[k]));
        small
    }

    fn big(&self, small: &[f64], kernel: &[f64]) -> Vec<Sum> {
        let mut big = sums(self.big_shape().iter().product());
        self.each(|b, k, s| big[b].add(small[s] * kernel[k]));
        big
    }

    fn kernel(&self, big: &[f64], small: &[f64]) -> Vec<Sum> {
        let mut kernel = sums(self.kernel_shape().iter().product());
        self.each(|b, k, s| kernel[k].add(big[b] * small[s]));
        kernel
    }
}

fn add_bias(mut y: Vec<Sum>, bias: Option<&Vec<f64>>) -> Vec<Sum> {
    if let Some(bias) = bias {
        for (i, y) in y.iter_mut().enumerate() {
            y.add(bias[i % bias.len()]);
        }
    }
    y
}

fn bias_gradient(weights: &[f64], channels: usize) -> Vec<Sum> {
    let mut bias = sums(channels);
    for (i, &w) in weights.iter().enumerate() {
        bias[i % channels].add(w);
    }
    bias
}

/// Drops an axis of one row from shapes.
fn without_row(shape: [usize; 4], row: usize) -> Vec<usize> {
    let mut shape = shape.to_vec();
    shape.remove(row);
    shape
}

#[derive(Debug, Clone)]
struct Case {
    n: usize,
    size: [usize; 2],
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    added: usize,
    bias: bool,
    relu: bool,
    seed: u64,
}

impl Case {
    fn activation(&self) -> Activation {
        match self.relu {
            true => Activation::Relu,
            false => Activation::Linear,
        }
    }

    fn inputs(&self, x: &[usize], kernel: &[usize], outputs: usize) -> Vec<Input> {
        let mut inputs = vec![
            Input::normal(x, "x", self.seed),
            Input::normal(kernel, "kernel", self.seed),
        ];
        if self.bias {
            inputs.push(Input::normal(&[outputs], "bias", self.seed));
        }
        inputs
    }

    fn convolution(&self, one: bool) -> Option<Check<'_>> {
        let pads = pads(self.padding);
        let rows = match one {
            true => Axis::forward(1, 1, 1, Pads::Zeros(0, 0)),
            false => Axis::forward(self.size[0], self.kernel[0], self.stride, pads[0]),
        };
        let columns = Axis::forward(self.size[1], self.kernel[1], self.stride, pads[1]);
        let loops = std::rc::Rc::new(Loops {
            n: self.n,
            axes: [rows?, columns?],
            channels: self.channels,
        });
        let shape = |shape: [usize; 4], row| match one {
            true => without_row(shape, row),
            false => shape.to_vec(),
        };
        let inputs = self.inputs(
            &shape(loops.big_shape(), 1),
            &shape(loops.kernel_shape(), 0),
            self.channels[1],
        );
        let config = ConvConfig::new()
            .with_stride(self.stride)
            .with_padding(self.padding)
            .with_activation(self.activation());
        let again = loops.clone();
        Some(Check {
            inputs,
            kernel: Box::new(move |t: &[Tensor]| match one {
                true => conv1d(&t[0], &t[1], t.get(2), &config),
                false => conv2d_with(&t[0], &t[1], t.get(2), &config),
            }),
            forward: Box::new(move |v| add_bias(loops.small(&v[0], &v[1]), v.get(2))),
            backward: Box::new(move |v, w| {
                let (dx, dk) = (again.big(w, &v[1]), again.kernel(&v[0], w));
                vec![dx, dk, bias_gradient(w, self.channels[1])]
            }),
            relu: self.relu,
            double: DOUBLE,
        })
    }

    fn transposed(&self, one: bool) -> Option<Check<'_>> {
        let pads = pads(self.padding);
        let added = match (self.padding, self.added < self.stride) {
            (Padding::Same, _) | (_, false) => 0,
            _ => self.added,
        };
        let rows = match one {
            true => Axis::forward(1, 1, 1, Pads::Zeros(0, 0)),
            false => Axis::transposed(self.size[0], self.kernel[0], self.stride, pads[0], added),
        };
        let columns = Axis::transposed(self.size[1], self.kernel[1], self.stride, pads[1], added);
        let loops = std::rc::Rc::new(Loops {
            n: self.n,
            axes: [rows?, columns?],
            channels: self.channels,
        });
        let shape = |shape: [usize; 4], row| match one {
            true => without_row(shape, row),
            false => shape.to_vec(),
        };
        let inputs = self.inputs(
            &shape(loops.small_shape(), 1),
            &shape(loops.kernel_shape(), 0),
            self.channels[0],
        );
        let config = ConvTransposeConfig::new()
            .with_stride(self.stride)
            .with_cropping(self.padding)
            .with_output_padding(added)
            .with_activation(self.activation());
        let again = loops.clone();
        Some(Check {
            inputs,
            kernel: Box::new(move |t: &[Tensor]| match one {
                true => conv_transpose1d(&t[0], &t[1], t.get(2), &config),
                false => conv_transpose2d_with(&t[0], &t[1], t.get(2), &config),
            }),
            forward: Box::new(move |v| add_bias(loops.big(&v[0], &v[1]), v.get(2))),
            backward: Box::new(move |v, w| {
                let (dx, dk) = (again.small(w, &v[1]), again.kernel(w, &v[0]));
                vec![dx, dk, bias_gradient(w, self.channels[0])]
            }),
            relu: self.relu,
            double: DOUBLE,
        })
    }
}

fn paddings() -> impl Strategy<Value = Padding> {
    prop_oneof![
        3 => Just(Padding::Same),
        1 => Just(Padding::Valid),
        2 => (0_usize..4).prop_map(Padding::Symmetric),
        3 => (0_usize..4, 0_usize..4, 0_usize..4, 0_usize..4).prop_map(
            |(top, bottom, left, right)| Padding::Explicit { top, bottom, left, right }
        ),
        1 => (0_usize..3).prop_map(Padding::Circular),
    ]
}

prop_compose! {
    fn cases()(
        n in 0_usize..4, size in [1_usize..9, 1_usize..9], channels in [1_usize..19, 1_usize..19],
        kernel in [1_usize..6, 1_usize..6], stride in 1_usize..4, padding in paddings(), added in 0_usize..3,
        bias: bool, relu: bool, seed: u64,
    ) -> Case {
        Case { n, size, channels, kernel, stride, padding, added, bias, relu, seed }
    }
}

impl Case {
    /// Whether a circular padding fits around the image.
    fn wraps(&self, one: bool) -> bool {
        match self.padding {
            Padding::Circular(p) => p <= self.size[1] && (one || p <= self.size[0]),
            _ => true,
        }
    }
}

proptest! {
    #![proptest_config(super::cases(256))]

    #[test]
    fn convolutions(case in cases()) {
        match case.convolution(false) {
            Some(check) if case.wraps(false) => check.run(case.seed)?,
            _ => {}
        }
    }

    #[test]
    fn transposed_convolutions(case in cases()) {
        if let Some(check) = case.transposed(false) {
            check.run(case.seed)?;
        }
    }
}

proptest! {
    #![proptest_config(super::cases(128))]

    #[test]
    fn convolutions_of_signals(case in cases()) {
        match case.convolution(true) {
            Some(check) if case.wraps(true) => check.run(case.seed)?,
            _ => {}
        }
    }

    #[test]
    fn transposed_convolutions_of_signals(case in cases()) {
        if let Some(check) = case.transposed(true) {
            check.run(case.seed)?;
        }
    }

    #[test]
    fn dense_layers(
        n in 0_usize..20, inputs in 1_usize..70, outputs in 1_usize..40, relu: bool, seed: u64,
    ) {
        let activation = if relu { Activation::Relu } else { Activation::Linear };
        let product = |x: &[f64], k: &[f64]| {
            let mut y = sums(n * outputs);
            for row in 0..n {
                for i in 0..inputs {
                    for o in 0..outputs {
                        y[row * outputs + o].add(x[row * inputs + i] * k[i * outputs + o]);
                    }
                }
            }
            y
        };
        Check {
            inputs: vec![
                Input::normal(&[n, inputs], "x", seed),
                Input::normal(&[inputs, outputs], "kernel", seed),
                Input::normal(&[outputs], "bias", seed),
            ],
            kernel: Box::new(|t: &[Tensor]| dense(&t[0], &t[1], &t[2], activation)),
            forward: Box::new(move |v| add_bias(product(&v[0], &v[1]), v.get(2))),
            backward: Box::new(move |v, w| {
                let (mut dx, mut dk) = (sums(n * inputs), sums(inputs * outputs));
                for row in 0..n {
                    for i in 0..inputs {
                        for o in 0..outputs {
                            let (x, k) = (row * inputs + i, i * outputs + o);
                            dx[x].add(w[row * outputs + o] * v[1][k]);
                            dk[k].add(w[row * outputs + o] * v[0][x]);
                        }
                    }
                }
                vec![dx, dk, bias_gradient(w, outputs)]
            }),
            relu,
            double: DOUBLE,
        }
        .run(seed)?;
    }
}
