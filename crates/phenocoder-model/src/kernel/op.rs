//! The kernels as differentiable operations on candle tensors.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Storage, Tensor};

use super::geometry::Geometry;
use super::{direct, fallback};
use crate::Result;

/// What follows a layer's sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// Nothing.
    Linear,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
}

/// Convolves with Keras' "same" padding.
///
/// At stride 2 an even side is padded by one row of zeros behind it, an odd side by one before and one behind.
/// The input receives a gradient only if it depends on a variable.
///
/// # Shapes
///
/// `x`: `[n, y, x, c]`; `kernel`: `[kh, kw, c, out]`; `bias`: `[out]`; result: `[n, ⌈y/stride⌉, ⌈x/stride⌉, out]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes do not fit, a tensor is not `f32`, or the stride is 0.
pub fn conv2d(
    x: &Tensor,
    kernel: &Tensor,
    bias: &Tensor,
    stride: usize,
    activation: Activation,
) -> Result<Tensor> {
    let (_, h, w, c) = x.dims4()?;
    let (kh, kw, c_in, c_out) = kernel.dims4()?;
    check(
        "conv2d",
        stride,
        c == c_in,
        bias.dims() == [c_out],
        x,
        kernel,
        bias,
    )?;
    let geometry = Geometry::same([h, w, c], c_out, [kh, kw], stride);
    apply(geometry, Direction::BigToSmall, x, kernel, bias, activation)
}

/// Convolves transposed, the adjoint of [`conv2d`]: the output has `stride` times the input's rows and columns.
///
/// # Shapes
///
/// `x`: `[n, y, x, c]`; `kernel`: `[kh, kw, out, c]`; `bias`: `[out]`; result: `[n, stride·y, stride·x, out]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes do not fit, a tensor is not `f32`, or the stride is 0.
pub fn conv_transpose2d(
    x: &Tensor,
    kernel: &Tensor,
    bias: &Tensor,
    stride: usize,
    activation: Activation,
) -> Result<Tensor> {
    let (_, h, w, c) = x.dims4()?;
    let (kh, kw, c_out, c_in) = kernel.dims4()?;
    let fits = bias.dims() == [c_out];
    check("conv_transpose2d", stride, c == c_in, fits, x, kernel, bias)?;
    let geometry = Geometry::same([h * stride, w * stride, c_out], c, [kh, kw], stride);
    apply(geometry, Direction::SmallToBig, x, kernel, bias, activation)
}

/// Multiplies by a matrix and adds a bias.
///
/// # Shapes
///
/// `x`: `[n, inputs]`; `kernel`: `[inputs, outputs]`; `bias`: `[outputs]`; result: `[n, outputs]`.
///
/// # Errors
///
/// [`Error::Tensor`](crate::Error::Tensor) when shapes do not fit or a tensor is not `f32`.
pub fn dense(x: &Tensor, kernel: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    let (n, inputs) = x.dims2()?;
    let (rows, outputs) = kernel.dims2()?;
    check(
        "dense",
        1,
        inputs == rows,
        bias.dims() == [outputs],
        x,
        kernel,
        bias,
    )?;
    if !x.device().is_cpu() {
        let y = x.matmul(kernel)?.broadcast_add(bias)?;
        return Ok(fallback::activate(&y, activation)?);
    }
    let x = x.reshape((n, 1, 1, inputs))?;
    let kernel = kernel.reshape((1, 1, inputs, outputs))?;
    let geometry = Geometry::dense(inputs, outputs);
    let y = apply(
        geometry,
        Direction::BigToSmall,
        &x,
        &kernel,
        bias,
        activation,
    )?;
    Ok(y.reshape((n, outputs))?)
}

fn check(
    name: &str,
    stride: usize,
    channels_fit: bool,
    bias_fits: bool,
    x: &Tensor,
    kernel: &Tensor,
    bias: &Tensor,
) -> candle_core::Result<()> {
    let f32s = [x, kernel, bias].iter().all(|t| t.dtype() == DType::F32);
    if stride > 0 && channels_fit && bias_fits && f32s {
        return Ok(());
    }
    let describe = |t: &Tensor| format!("{:?} {:?}", t.dtype(), t.dims());
    candle_core::bail!(
        "{name}: input {}, kernel {}, bias {} and stride {stride} do not fit",
        describe(x),
        describe(kernel),
        describe(bias)
    )
}

fn apply(
    geometry: Geometry,
    direction: Direction,
    x: &Tensor,
    kernel: &Tensor,
    bias: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    if !x.device().is_cpu() {
        let y = match direction {
            Direction::BigToSmall => fallback::conv(&geometry, x, kernel, bias)?,
            Direction::SmallToBig => fallback::conv_transpose(&geometry, x, kernel, bias)?,
        };
        return Ok(fallback::activate(&y, activation)?);
    }
    let op = Convolution {
        geometry,
        direction,
        relu: activation == Activation::Relu,
    };
    let (x, kernel, bias) = (x.contiguous()?, kernel.contiguous()?, bias.contiguous()?);
    Ok(x.apply_op3(&kernel, &bias, op)?)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    BigToSmall,
    SmallToBig,
}

/// A convolution or its adjoint with fused bias and ReLU.
#[derive(Debug)]
struct Convolution {
    geometry: Geometry,
    direction: Direction,
    relu: bool,
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        match self.direction {
            Direction::BigToSmall => "nhwc-conv2d",
            Direction::SmallToBig => "nhwc-conv-transpose2d",
        }
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, kernel, bias) = (slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
        let n = l1.dims().first().copied().unwrap_or(0);
        let g = &self.geometry;
        let (out, [h, w, c]) = match self.direction {
            Direction::BigToSmall => (
                direct::big_to_small(g, x, kernel, Some(bias), self.relu),
                g.small,
            ),
            Direction::SmallToBig => (
                direct::small_to_big(g, x, kernel, Some(bias), self.relu),
                g.big,
            ),
        };
        Ok((CpuStorage::F32(out), Shape::from((n, h, w, c))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let g = &self.geometry;
        let wants_input = x.track_op();
        let backward = |x: &[f32], kernel: &[f32], gradient: &[f32]| match self.direction {
            Direction::BigToSmall => (
                wants_input.then(|| direct::small_to_big(g, gradient, kernel, None, false)),
                direct::weight_gradient(g, x, gradient),
                direct::bias_gradient(gradient, g.small[2]),
            ),
            Direction::SmallToBig => (
                wants_input.then(|| direct::big_to_small(g, gradient, kernel, None, false)),
                direct::weight_gradient(g, gradient, x),
                direct::bias_gradient(gradient, g.big[2]),
            ),
        };
        let (dx, dk, db) = with_slice(x, |x| {
            with_slice(kernel, |kernel| {
                with_slice(gradient, |gradient| {
                    if self.relu {
                        with_slice(output, |output| {
                            backward(x, kernel, &direct::relu_gradient(gradient, output))
                        })
                    } else {
                        Ok(backward(x, kernel, gradient))
                    }
                })
            })
        })????;
        let tensor =
            |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((
            dx.map(|values| tensor(values, x)).transpose()?,
            Some(tensor(dk, kernel)?),
            Some(tensor(db, bias)?),
        ))
    }
}

/// The values of a contiguous `f32` tensor in CPU memory.
pub(super) fn slice<'a>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("the kernels need contiguous tensors, found {layout:?}")
    };
    Ok(&storage.as_slice::<f32>()?[from..to])
}

/// Calls `f` with the values of a CPU tensor, without a copy where it is contiguous.
pub(crate) fn with_slice<R>(
    tensor: &Tensor,
    f: impl FnOnce(&[f32]) -> R,
) -> candle_core::Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(slice(storage, layout)?)),
        _ => candle_core::bail!("expected a tensor in CPU memory"),
    }
}
