//! A whole sequence of convolutions as one differentiable operation.

mod op;
mod pass;
mod plan;
mod work;

use std::sync::Arc;

use candle_core::{Device, Tensor};

use self::op::{Forward, Loss};
use self::pass::Kept;
use self::plan::Plan;
use super::geometry::Geometry;
use super::op::{tensor_like, with_slice};
use super::route::Direction;
use super::{Activation, binary_cross_entropy, conv_transpose2d, conv2d, is_native};
use crate::error::check_count;
use crate::{ConfigError, Error, Result};

/// One layer of a [`ConvStack`]; its padding is Keras' "same".
///
/// # Examples
///
/// ```
/// use phenocoder_model::kernel::{Activation, ConvLayer};
///
/// let layer = ConvLayer::conv(16).with_stride(2).with_activation(Activation::Relu);
/// assert_eq!(layer.kernel, [3, 3]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConvLayer {
    /// Whether it is a transposed convolution, which makes the image larger.
    pub transposed: bool,
    /// Channels that it makes.
    pub channels: usize,
    /// Rows and columns of its kernel.
    pub kernel: [usize; 2],
    /// The step from one pixel to the next on the larger side.
    pub stride: usize,
    /// What follows the sum.
    pub activation: Activation,
}

impl ConvLayer {
    /// A convolution that makes this many channels: 3×3, stride 1, no activation.
    #[must_use]
    pub const fn conv(channels: usize) -> Self {
        Self {
            transposed: false,
            channels,
            kernel: [3, 3],
            stride: 1,
            activation: Activation::Linear,
        }
    }

    /// A transposed convolution that makes this many channels: 3×3, stride 1, no activation.
    #[must_use]
    pub const fn conv_transpose(channels: usize) -> Self {
        Self {
            transposed: true,
            ..Self::conv(channels)
        }
    }

    /// The same with this kernel, rows and columns.
    #[must_use]
    pub const fn with_kernel(mut self, kernel: [usize; 2]) -> Self {
        self.kernel = kernel;
        self
    }

    /// The same with this stride.
    #[must_use]
    pub const fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// The same with this activation.
    #[must_use]
    pub const fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    fn geometry(&self, [h, w, c]: [usize; 3]) -> Option<Geometry> {
        match self.transposed {
            false => Geometry::same([h, w, c], self.channels, self.kernel, self.stride),
            true => {
                let big = [h * self.stride, w * self.stride, self.channels];
                Geometry::same(big, c, self.kernel, self.stride)
            }
        }
    }

    fn direction(&self) -> Direction {
        match self.transposed {
            false => Direction::BigToSmall,
            true => Direction::SmallToBig,
        }
    }
}

/// Whether an operation keeps what its gradient needs.
///
/// The gradient is right in both cases; where nothing was kept, the forward pass is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// A gradient will be asked for: training.
    Gradients,
    /// Probably none will be: validation, encoding.
    Nothing,
}

/// A sequence of convolutions as one differentiable operation, for the CPU.
///
/// A few samples at a time go through all layers, so that their images stay in the cache, and back again.
/// The memory for them is used again in the next step: a stack, with all its clones, keeps as much as its largest batch
/// needed until [`release`](Self::release) or the end of the last clone.
/// Single operations ([`conv2d`] and so on) give the same up to rounding; they write every image of the batch to memory
/// between layers, and candle's differentiation adds a pass over it for each.
/// On CUDA and Metal, and for other types than `f32`, the layers are these single operations.
///
/// # Examples
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use phenocoder_model::kernel::{Activation, ConvLayer, ConvStack, Keep};
///
/// let layer = ConvLayer::conv(2).with_stride(2).with_activation(Activation::Relu);
/// let stack = ConvStack::new([4, 4, 1], &[layer])?;
/// assert_eq!(stack.output(), [2, 2, 2]);
/// let x = Tensor::ones((5, 4, 4, 1), DType::F32, &Device::Cpu)?;
/// let kernel = Tensor::ones((3, 3, 1, 2), DType::F32, &Device::Cpu)?;
/// let bias = Tensor::zeros(2, DType::F32, &Device::Cpu)?;
/// let y = stack.apply(&x, &[(&kernel, &bias)], Keep::Nothing)?;
/// assert_eq!(y.dims(), [5, 2, 2, 2]);
/// # Ok::<(), phenocoder_model::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConvStack {
    plan: Arc<Plan>,
}

impl ConvStack {
    /// Lays out the layers for images of `input` rows, columns and channels.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`] when there is no layer, or an extent, a channel count or a stride is 0;
    /// [`ConfigError::TooLarge`] when an image has more values than memory has addresses.
    pub fn new(input: [usize; 3], layers: &[ConvLayer]) -> Result<Self, ConfigError> {
        for extent in input {
            check_count("input", extent)?;
        }
        check_count("layers", layers.len())?;
        for layer in layers {
            let [kh, kw] = layer.kernel;
            for (setting, value) in [
                ("channels", layer.channels),
                ("kernel", kh.min(kw)),
                ("stride", layer.stride),
            ] {
                check_count(setting, value)?;
            }
        }
        Ok(Self {
            plan: Arc::new(Plan::new(input, layers)?),
        })
    }

    /// Rows, columns and channels that go in.
    #[must_use]
    pub fn input(&self) -> [usize; 3] {
        self.plan.input()
    }

    /// Rows, columns and channels that come out.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        self.plan.output()
    }

    /// The number of weights.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.plan.parameters()
    }

    /// Gives back the memory that is kept for the next batch; what is in use by another thread comes back later and is kept.
    pub fn release(&self) {
        self.plan.release();
    }

    /// Sends images through all layers.
    ///
    /// # Shapes
    ///
    /// `x`: `[n, y, x, c]`; `parameters`: kernel and bias of every layer, a kernel `[kh, kw, in, out]` (`[kh, kw, out, in]` if
    /// transposed); result: `[n, y, x, c]` of [`output`](Self::output).
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`](crate::Error::Tensor) when shapes do not fit, or types differ or are no floating-point types.
    pub fn apply(
        &self,
        x: &Tensor,
        parameters: &[(&Tensor, &Tensor)],
        keep: Keep,
    ) -> Result<Tensor> {
        self.check(x, parameters)?;
        if !is_native(x) {
            return self.composed(x, parameters);
        }
        let op = Forward::new(&self.plan, keep);
        Ok(x.contiguous()?.apply_op2(&flat(parameters)?, op)?)
    }

    /// The binary cross-entropy between the last layer's output, taken as logits, and targets: summed over pixels and
    /// channels, mean over samples, as [`binary_cross_entropy`].
    ///
    /// With [`Keep::Gradients`] every sample's loss and gradients are computed while its images are in the cache.
    ///
    /// # Shapes
    ///
    /// `x`, `parameters`: as [`apply`](Self::apply); `targets`: as its result; result: a scalar.
    ///
    /// # Errors
    ///
    /// [`Error::Tensor`](crate::Error::Tensor) when shapes do not fit, there is no sample, or types differ or are no
    /// floating-point types.
    pub fn cross_entropy(
        &self,
        x: &Tensor,
        parameters: &[(&Tensor, &Tensor)],
        targets: &Tensor,
        keep: Keep,
    ) -> Result<Tensor> {
        self.check(x, parameters)?;
        self.check_targets(x, targets)?;
        if !is_native(x) {
            return binary_cross_entropy(&self.composed(x, parameters)?, targets);
        }
        let op = Loss::new(&self.plan, keep, x.track_op());
        let (x, targets) = (x.contiguous()?, targets.contiguous()?);
        Ok(x.apply_op3(&flat(parameters)?, &targets, op)?)
    }

    /// [`apply`](Self::apply) on the CPU outside candle's graph, with the way back.
    pub(crate) fn apply_with_tape(
        &self,
        x: &Tensor,
        parameters: &[(&Tensor, &Tensor)],
    ) -> Result<(Tensor, Tape)> {
        self.check(x, parameters)?;
        let flat = flat(parameters)?.detach();
        let kept = with_slice(x, |x| {
            with_slice(&flat, |flat| Kept::forward(&self.plan, x, flat))
        })??;
        let (n, [h, w, c]) = (x.dim(0)?, self.output());
        let y = Tensor::from_vec(kept.output(n), (n, h, w, c), x.device())?;
        Ok((y, Tape { kept }))
    }

    /// [`cross_entropy`](Self::cross_entropy) on the CPU outside candle's graph, with its gradients.
    pub(crate) fn cross_entropy_and_gradients(
        &self,
        x: &Tensor,
        parameters: &[(&Tensor, &Tensor)],
        targets: &Tensor,
    ) -> Result<(f64, Tensor, Vec<[Tensor; 2]>)> {
        self.check(x, parameters)?;
        self.check_targets(x, targets)?;
        let flat = flat(parameters)?.detach();
        let (loss, found) = op::gradients_of_loss(&self.plan, x, &flat, targets, true)?;
        let input = tensor_like(found.input, Some(x))?.ok_or_else(|| Error::NoGradient {
            name: "input".to_owned(),
        })?;
        Ok((loss, input, split(&found.weights, &self.plan)?))
    }

    fn check_targets(&self, x: &Tensor, targets: &Tensor) -> Result<()> {
        let n = x.dim(0)?;
        let [h, w, c] = self.output();
        if targets.dims() == [n, h, w, c] && n > 0 && targets.dtype() == x.dtype() {
            return Ok(());
        }
        Err(candle_core::Error::msg(format!(
            "conv stack: logits {:?} and targets {:?} {:?} do not fit",
            [n, h, w, c],
            targets.dtype(),
            targets.dims()
        ))
        .into())
    }

    fn check(&self, x: &Tensor, parameters: &[(&Tensor, &Tensor)]) -> Result<()> {
        let expected = self.plan.shapes();
        let fits = parameters.len() == expected.len()
            && parameters.iter().zip(&expected).all(|((k, b), shape)| {
                k.dims() == shape.kernel
                    && b.dims() == [shape.bias]
                    && [k, b].iter().all(|t| t.dtype() == x.dtype())
            });
        let [h, w, c] = self.input();
        let (_, height, width, channels) = x.dims4()?;
        if fits && [height, width, channels] == [h, w, c] && x.dtype().is_float() {
            return Ok(());
        }
        let found: Vec<_> = parameters
            .iter()
            .map(|(k, b)| (k.dims(), b.dims()))
            .collect();
        let message = format!(
            "conv stack: expected input {:?} and layers {expected:?}, found {:?} {:?} and {found:?}",
            [h, w, c],
            x.dtype(),
            x.dims(),
        );
        Err(candle_core::Error::msg(message).into())
    }

    fn composed(&self, x: &Tensor, parameters: &[(&Tensor, &Tensor)]) -> Result<Tensor> {
        let mut x = x.clone();
        for (layer, (kernel, bias)) in self.plan.config().iter().zip(parameters) {
            let convolve = match layer.transposed {
                false => conv2d,
                true => conv_transpose2d,
            };
            x = convolve(&x, kernel, bias, layer.stride, layer.activation)?;
        }
        Ok(x)
    }
}

/// What a stack kept of a forward pass for the way back.
#[derive(Debug)]
pub(crate) struct Tape {
    kept: Kept,
}

impl Tape {
    /// The gradients of every layer's kernel and bias from that of the output.
    pub(crate) fn backward(mut self, gradient: &Tensor) -> Result<Vec<[Tensor; 2]>> {
        let kept = &mut self.kept;
        let found = with_slice(gradient, |gradient| kept.backward(gradient, false))?;
        Ok(split(&found.weights, self.kept.plan())?)
    }
}

/// The gradient of all weights as those of every layer's kernel and bias.
fn split(weights: &[f32], plan: &Plan) -> candle_core::Result<Vec<[Tensor; 2]>> {
    let mut rest = weights;
    let mut next = |shape: &[usize]| {
        let (values, others) = rest.split_at(shape.iter().product());
        rest = others;
        Tensor::from_vec(values.to_vec(), shape, &Device::Cpu)
    };
    plan.shapes()
        .iter()
        .map(|shape| Ok([next(&shape.kernel)?, next(&[shape.bias])?]))
        .collect()
}

/// All weights in one vector, layer by layer: kernel, bias.
fn flat(parameters: &[(&Tensor, &Tensor)]) -> candle_core::Result<Tensor> {
    let mut parts = Vec::with_capacity(2 * parameters.len());
    for (kernel, bias) in parameters {
        parts.push(kernel.flatten_all()?);
        parts.push(bias.flatten_all()?);
    }
    Tensor::cat(&parts, 0)
}

#[cfg(test)]
mod tests;
