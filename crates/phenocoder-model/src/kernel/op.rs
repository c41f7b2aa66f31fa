//! The convolutions as differentiable operations on candle tensors.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Storage, Tensor};

use super::config::Activation;
use super::direct;
use super::geometry::Geometry;
use super::route::Direction;

/// A convolution or its adjoint with fused bias and ReLU.
#[derive(Debug)]
pub(super) struct Convolution {
    geometry: Geometry,
    direction: Direction,
    relu: bool,
}

impl Convolution {
    pub(super) fn new(geometry: Geometry, direction: Direction, activation: Activation) -> Self {
        Self {
            geometry,
            direction,
            relu: activation == Activation::Relu,
        }
    }

    pub(super) fn apply(
        self,
        x: &Tensor,
        kernel: &Tensor,
        bias: Option<&Tensor>,
    ) -> candle_core::Result<Tensor> {
        let (x, kernel) = (x.contiguous()?, kernel.contiguous()?);
        match bias {
            Some(bias) => x.apply_op3(&kernel, &bias.contiguous()?, self),
            None => x.apply_op2(&kernel, self),
        }
    }

    fn label(&self) -> &'static str {
        match self.direction {
            Direction::BigToSmall => "nhwc-conv2d",
            Direction::SmallToBig => "nhwc-conv-transpose2d",
        }
    }

    fn forward(
        &self,
        (x, layout): (&[f32], &Layout),
        kernel: &[f32],
        bias: Option<&[f32]>,
    ) -> (CpuStorage, Shape) {
        let n = layout.dims().first().copied().unwrap_or(0);
        let g = &self.geometry;
        let (out, [h, w, c]) = match self.direction {
            Direction::BigToSmall => (direct::big_to_small(g, x, kernel, bias, self.relu), g.small),
            Direction::SmallToBig => (direct::small_to_big(g, x, kernel, bias, self.relu), g.big),
        };
        (CpuStorage::F32(out), Shape::from((n, h, w, c)))
    }

    /// The gradients of the input, the kernel and the bias; none where nothing depends on them.
    fn backward(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        bias: Option<&Tensor>,
        output: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        let g = &self.geometry;
        let wanted = [
            x.track_op(),
            kernel.track_op(),
            bias.is_some_and(Tensor::track_op),
        ];
        let all = |x: &[f32], kernel: &[f32], gradient: &[f32]| match self.direction {
            Direction::BigToSmall => [
                wanted[0].then(|| direct::small_to_big(g, gradient, kernel, None, false)),
                wanted[1].then(|| direct::weight_gradient(g, x, gradient)),
                wanted[2].then(|| direct::bias_gradient(gradient, g.small[2])),
            ],
            Direction::SmallToBig => [
                wanted[0].then(|| direct::big_to_small(g, gradient, kernel, None, false)),
                wanted[1].then(|| direct::weight_gradient(g, gradient, x)),
                wanted[2].then(|| direct::bias_gradient(gradient, g.big[2])),
            ],
        };
        let [dx, dk, db] = with_slice(x, |x| {
            with_slice(kernel, |kernel| {
                with_slice(gradient, |gradient| {
                    if self.relu {
                        with_slice(output, |output| {
                            all(x, kernel, &direct::relu_gradient(gradient, output))
                        })
                    } else {
                        Ok(all(x, kernel, gradient))
                    }
                })
            })
        })????;
        Ok([
            tensor_like(dx, Some(x))?,
            tensor_like(dk, Some(kernel))?,
            tensor_like(db, bias)?,
        ])
    }
}

/// Values as a tensor of the shape of another.
pub(super) fn tensor_like(
    values: Option<Vec<f32>>,
    like: Option<&Tensor>,
) -> candle_core::Result<Option<Tensor>> {
    let (Some(values), Some(like)) = (values, like) else {
        return Ok(None);
    };
    Tensor::from_vec(values, like.shape(), like.device()).map(Some)
}

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        self.label()
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok(self.forward((slice(s1, l1)?, l1), slice(s2, l2)?, None))
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dk, _] = self.backward(x, kernel, None, output, gradient)?;
        Ok((dx, dk))
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        self.label()
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
        let bias = slice(s3, l3)?;
        Ok(self.forward((slice(s1, l1)?, l1), slice(s2, l2)?, Some(bias)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        kernel: &Tensor,
        bias: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dk, db] = self.backward(x, kernel, Some(bias), output, gradient)?;
        Ok((dx, dk, db))
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
pub(super) fn with_slice<R>(
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
