//! The same functions in candle's own operations, for CUDA and Metal, and for other types than `f32`.

use candle_core::{Result, Tensor};

use super::Activation;
use super::geometry::Geometry;

/// Rows and columns that the kernel reaches beyond the big side: (above, below), (left, right).
fn padding(g: &Geometry) -> [(usize, usize); 2] {
    let padded = g.padded_big();
    [0, 1].map(|i| (g.pad[i], padded[i] - g.pad[i] - g.big[i]))
}

pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Linear => Ok(x.clone()),
        Activation::Relu => x.relu(),
    }
}

fn add(y: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y.clone()),
    }
}

/// A convolution of an NHWC tensor.
pub(super) fn conv(
    g: &Geometry,
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let n = x.dim(0)?;
    if n == 0 {
        return Tensor::zeros(
            (0, g.small[0], g.small[1], g.small[2]),
            x.dtype(),
            x.device(),
        );
    }
    let [(top, bottom), (left, right)] = padding(g);
    let x = x
        .permute((0, 3, 1, 2))?
        .pad_with_zeros(2, top, bottom)?
        .pad_with_zeros(3, left, right)?
        .contiguous()?;
    // Where the stride skips the last rows of the padded image, candle's gradient needs them cut.
    let reach = |i: usize| (g.small[i] - 1) * g.stride + g.kernel[i];
    let x = x
        .narrow(2, 0, reach(0))?
        .narrow(3, 0, reach(1))?
        .contiguous()?;
    let kernel = kernel.permute((3, 2, 0, 1))?.contiguous()?;
    let y = x.conv2d(&kernel, 0, g.stride, 1, 1)?;
    add(&y.permute((0, 2, 3, 1))?.contiguous()?, bias)
}

/// A transposed convolution of an NHWC tensor.
pub(super) fn conv_transpose(
    g: &Geometry,
    x: &Tensor,
    kernel: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let n = x.dim(0)?;
    if n == 0 {
        return Tensor::zeros((0, g.big[0], g.big[1], g.big[2]), x.dtype(), x.device());
    }
    let x = x.permute((0, 3, 1, 2))?.contiguous()?;
    let kernel = kernel.permute((3, 2, 0, 1))?.contiguous()?;
    let full = x.conv_transpose2d(&kernel, 0, 0, g.stride, 1)?;
    let (_, _, h, w) = full.dims4()?;
    // A kernel shorter than the stride does not reach the last rows: they are zero.
    let full = full
        .pad_with_zeros(2, 0, (g.pad[0] + g.big[0]).saturating_sub(h))?
        .pad_with_zeros(3, 0, (g.pad[1] + g.big[1]).saturating_sub(w))?;
    let cut = full
        .narrow(2, g.pad[0], g.big[0])?
        .narrow(3, g.pad[1], g.big[1])?
        .permute((0, 2, 3, 1))?
        .contiguous()?;
    add(&cut, bias)
}

/// Picks places along an axis.
pub(super) fn select(x: &Tensor, axis: usize, places: &[usize]) -> Result<Tensor> {
    let places: Vec<u32> = places.iter().map(|&place| place as u32).collect();
    let places = Tensor::new(places, x.device())?;
    x.contiguous()?.index_select(&places, axis)
}
