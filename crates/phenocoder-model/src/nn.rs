//! Layers with named, seeded weights.

use candle_core::{DType, Device, Tensor, Var};
use phenocoder_core::Seed;

use crate::kernel::{Activation, ConvLayer, ConvStack, Keep, Tape, binary_cross_entropy, dense};
use crate::{ConfigError, Gradients, Parameters, Precision, Result, Role, Step};

/// A kernel and its bias.
#[derive(Debug)]
pub(crate) struct Layer {
    name: String,
    pub(crate) kernel: Var,
    pub(crate) bias: Var,
}

impl Layer {
    pub(crate) fn dense(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        dense(x, &self.kernel, &self.bias, activation)
    }

    /// [`dense`](Self::dense) in the number type of the step, from `f32` to `f32`.
    pub(crate) fn dense_in(
        &self,
        x: &Tensor,
        activation: Activation,
        step: &Step,
    ) -> Result<Tensor> {
        if step.precision == Precision::F32 {
            return self.dense(x, activation);
        }
        let (kernel, bias) = (step.cast(&self.kernel)?, step.cast(&self.bias)?);
        Ok(dense(&step.cast(x)?, &kernel, &bias, activation)?.to_dtype(DType::F32)?)
    }
}

/// Convolutions that follow each other, with their weights.
#[derive(Debug)]
pub(crate) struct Convolutions {
    stack: ConvStack,
    layers: Vec<Layer>,
}

impl Convolutions {
    /// Joins layers with their weights; there is one of each.
    pub(crate) fn new(
        input: [usize; 3],
        layers: Vec<(ConvLayer, Layer)>,
    ) -> Result<Self, ConfigError> {
        let (shapes, layers): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
        let stack = ConvStack::new(input, &shapes)?;
        Ok(Self { stack, layers })
    }

    /// Gives back the memory that is kept for the next batch.
    pub(crate) fn release(&self) {
        self.stack.release();
    }

    fn parameters(&self) -> Vec<(&Tensor, &Tensor)> {
        let layers = self.layers.iter();
        layers
            .map(|layer| (layer.kernel.as_tensor(), layer.bias.as_tensor()))
            .collect()
    }

    /// `[n, y, x, c]` to `[n, y, x, c]` in the number type of the step, from `f32` to `f32`.
    pub(crate) fn apply(&self, x: &Tensor, step: &Step) -> Result<Tensor> {
        if step.precision == Precision::F32 {
            return self.stack.apply(x, &self.parameters(), keep(step));
        }
        let cast = |layer: &Layer| Ok((step.cast(&layer.kernel)?, step.cast(&layer.bias)?));
        let cast = self.layers.iter().map(cast).collect::<Result<Vec<_>>>()?;
        let parameters: Vec<_> = cast.iter().map(|(kernel, bias)| (kernel, bias)).collect();
        let y = self.stack.apply(&step.cast(x)?, &parameters, keep(step))?;
        Ok(y.to_dtype(DType::F32)?)
    }

    /// The same outside candle's graph, on the CPU, with the way back.
    pub(crate) fn apply_with_tape(&self, x: &Tensor) -> Result<(Tensor, Tape)> {
        self.stack.apply_with_tape(x, &self.parameters())
    }

    /// The gradients of the weights from that of what [`apply_with_tape`](Self::apply_with_tape) made.
    pub(crate) fn backward(&self, tape: Tape, gradient: &Tensor) -> Result<Found<'_>> {
        Ok(Found(&self.layers, tape.backward(gradient)?))
    }

    /// [`cross_entropy`](Self::cross_entropy) outside candle's graph, on the CPU, with the gradients of `x` and the weights.
    pub(crate) fn cross_entropy_and_gradients(
        &self,
        x: &Tensor,
        targets: &Tensor,
    ) -> Result<(f64, Tensor, Found<'_>)> {
        let parameters = self.parameters();
        let (loss, input, found) =
            self.stack
                .cross_entropy_and_gradients(x, &parameters, targets)?;
        Ok((loss, input, Found(&self.layers, found)))
    }

    /// The binary cross-entropy between the images, as logits, and `targets`; always in `f32`.
    pub(crate) fn cross_entropy(
        &self,
        x: &Tensor,
        targets: &Tensor,
        step: &Step,
    ) -> Result<Tensor> {
        if step.precision != Precision::F32 {
            return binary_cross_entropy(&self.apply(x, step)?, targets);
        }
        let parameters = self.parameters();
        self.stack
            .cross_entropy(x, &parameters, targets, keep(step))
    }
}

/// Gradients of convolutions that were computed outside candle's graph.
pub(crate) struct Found<'a>(&'a [Layer], Vec<[Tensor; 2]>);

impl Found<'_> {
    /// Adds them to those of a model under their names.
    pub(crate) fn add_to(self, gradients: &mut Gradients) {
        for (layer, [kernel, bias]) in self.0.iter().zip(self.1) {
            gradients.insert(format!("{}.kernel", layer.name), kernel);
            gradients.insert(format!("{}.bias", layer.name), bias);
        }
    }
}

/// A step with chance is one of training: its gradient will be asked for.
fn keep(step: &Step) -> Keep {
    match step.dropout {
        true => Keep::Gradients,
        false => Keep::Nothing,
    }
}

/// Makes layers with seeded weights under their names.
pub(crate) struct LayerBuilder<'a> {
    parameters: Parameters,
    seed: Seed,
    device: &'a Device,
}

impl<'a> LayerBuilder<'a> {
    pub(crate) fn new(seed: Seed, device: &'a Device) -> Self {
        Self {
            parameters: Parameters::new(),
            seed: seed.derive("initialization", 0),
            device,
        }
    }

    /// A kernel with `outputs` on its last axis, or last but one where it is transposed, and its bias.
    pub(crate) fn layer(&mut self, name: &str, shape: &[usize], outputs: usize) -> Result<Layer> {
        let kernel_name = format!("{name}.kernel");
        // Glorot and Bengio (2010), uniform: ±√(6 / (fan in + fan out)); the taps of a kernel count in both fans.
        let values: usize = shape.iter().product();
        let (a, b) = match shape {
            [.., a, b] => (*a, *b),
            _ => (1, 1),
        };
        let taps = values / (a * b);
        let limit = (6.0 / (taps * (a + b)) as f64).sqrt();
        let mut stream = self.seed.stream(&kernel_name, 0);
        let drawn = (0..values).map(|_| stream.uniform_in(-limit, limit) as f32);
        let kernel = Tensor::from_vec(drawn.collect::<Vec<_>>(), shape, self.device)?;
        let bias = Tensor::zeros(outputs, DType::F32, self.device)?;
        let bias_name = format!("{name}.bias");
        Ok(Layer {
            name: name.to_owned(),
            kernel: self
                .parameters
                .insert(&kernel_name, Role::Weight, &kernel)?,
            bias: self.parameters.insert(&bias_name, Role::Weight, &bias)?,
        })
    }

    /// The weights of all layers made.
    pub(crate) fn into_parameters(self) -> Parameters {
        self.parameters
    }
}
